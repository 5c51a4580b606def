"""The state of the work and of the machine, and things to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.api.folder import Folder

if TYPE_CHECKING:
    from kit.upkeep.status import Status


class Keeping(Folder):
    """What is here, whether it is whole, and what it looks like."""

    def status(self) -> Status:
        """Return what is here, what is stale and why, what runs, and what to do next, as `kit status`.

        >>> kit.open(".").status().data
        '12 training and 4 test photos, of unknown origin'
        """
        from kit.upkeep.status import read_status

        return read_status(self.opened)
