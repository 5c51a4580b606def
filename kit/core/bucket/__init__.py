"""Workspaces whose jobs run where no folder is shared: what a job reads goes there by way of an object store, and what
it writes comes back, checkpoints included.

    inputs/<version>.json, inputs/parts/<digest>             what jobs read; never changed once it is there
    outputs/<subject>/<name>/manifest.json, <digest>         what one job has written so far; gone once it is home

Files are cut into parts, each an object named by its digest; a list that names them is written last. So whoever reads
sees the old files or the new ones, what was sent is not sent again, and a kill anywhere leaves nothing half.
"""

from kit.core.bucket.errand import Errand, run_errand
from kit.core.bucket.exchange import Exchange, take_leftovers
from kit.core.bucket.objects import checked_bucket

__all__ = ["Errand", "Exchange", "checked_bucket", "run_errand", "take_leftovers"]
