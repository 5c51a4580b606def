"""Which layout `kit fetch` reads the files by, from its options."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.competitions.loading import LayoutChoice

_USUAL = {"hidden": "white", "metric": "rmse"}


@dataclass(frozen=True)
class PlainFolders:
    """What is said of a competition that is plain folders: `--images` and so on, below a source or anywhere."""

    images: Path | None = None
    masks: Path | None = None
    test_images: Path | None = None
    test_masks: Path | None = None
    targets: Path | None = None
    boxes: Path | None = None
    columns: str | None = None
    hole: str | None = None
    hidden: str = _USUAL["hidden"]
    metric: str = _USUAL["metric"]

    @property
    def paths(self) -> dict[str, Path]:
        """Return the files and folders that are named."""
        return {name: one for name, one in vars(self).items() if isinstance(one, Path)}

    @property
    def texts(self) -> dict[str, str]:
        """Return what else is said, and is not the usual."""
        return {
            name: one for name, one in vars(self).items() if name not in self.paths and one and one != _USUAL.get(name)
        }


def chosen_layout(
    layout: str | None, plain: PlainFolders, source: Path | None
) -> tuple[LayoutChoice | None, Path | None]:
    """Return the layout that was asked for, None where it was not, and the folder that holds plain folders.

    Args:
        layout: of `--layout`.
        source: what the files and folders of `plain` are below, where it is given.

    Raises:
        UsageError: options that do not go together, or folders that are not there.
    """
    from kit.competitions.folder import NAME
    from kit.competitions.loading import LayoutChoice, layout_choice

    given, said = plain.paths, plain.texts
    if not given and not said:
        if layout == NAME:
            raise UsageError("--layout folder: name the folders, --images DIR --test-images DIR and their masks.")
        return (layout_choice(layout) if layout else None), None
    if layout not in (None, NAME):
        raise UsageError(
            f"--layout {layout} knows its files; --{option_of([*given, *said][0])} is of plain folders. Give one."
        )
    absent = [name for name in ("images", "test_images") if name not in given]
    if absent:
        raise UsageError(f"--{option_of(absent[0])} is missing: kit fetch NAME --images DIR --test-images DIR ...")
    if source is not None:
        return LayoutChoice(NAME, None, {**{name: path.as_posix() for name, path in given.items()}, **said}), None
    for name, path in given.items():
        if not path.expanduser().exists():
            kind = "CSV" if name == "boxes" else "folder"
            raise UsageError(f"--{option_of(name)} {path} is not there. Give a {kind} that is.")
    real = {name: path.expanduser().resolve() for name, path in given.items()}
    base = Path(os.path.commonpath([path.parent for path in real.values()]))
    options = {name: path.relative_to(base).as_posix() for name, path in real.items()}
    return LayoutChoice(NAME, None, {**options, **said}), base


def option_of(name: str) -> str:
    return name.replace("_", "-")
