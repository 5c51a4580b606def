"""An opened workspace: what the commands do, as methods. Computes nothing itself."""

from __future__ import annotations

from kit.api.chain import Chain
from kit.api.keeping import Keeping
from kit.api.learning import Learning
from kit.api.looping import Looping
from kit.api.seeing import Seeing
from kit.api.sharing import Sharing


class Project(Chain, Learning, Sharing, Keeping, Looping, Seeing):
    """A workspace, opened: `kit.open(".")`. Every method reads what is on the disk when it is called.

    Methods have their commands' names. What stays with the shell: `kit new` (a file to begin with, for an editor) and
    `kit demo` (a whole chain, for who has never seen one).
    """
