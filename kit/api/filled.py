"""Pictures of one's own that were filled, as a notebook shows them."""

from __future__ import annotations

from dataclasses import dataclass

from kit.api.pictures import html_of_folder
from kit.applying.pictures import FilledPictures
from kit.core.tables import Shown


@dataclass(frozen=True)
class FilledFolder(Shown, FilledPictures):
    """Pictures that were filled; a notebook shows the first ones of their folder."""

    def _repr_html_(self) -> str:
        return Shown._repr_html_(self) + html_of_folder(self.folder)
