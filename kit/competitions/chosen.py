"""Which layout `kit fetch` reads the files by, from its options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.competitions.loading import LayoutChoice

_USUAL = {"hidden": "white", "metric": "rmse"}


def chosen_layout(
    layout: str | None, folders: Mapping[str, Path | None], texts: Mapping[str, str | None], source: Path | None
) -> tuple[LayoutChoice | None, Path | None]:
    """Return the layout that was asked for, None where it was not, and the folder that holds plain folders.

    Args:
        layout: of `--layout`.
        folders: of `--images` and so on: below `source` where that is given, else anywhere.
        texts: other options of plain folders.

    Raises:
        UsageError: options that do not go together, or folders that are not there.
    """
    from kit.competitions.folder import NAME
    from kit.competitions.loading import LayoutChoice, layout_choice

    given = {name: path for name, path in folders.items() if path is not None}
    said = {name: text for name, text in texts.items() if text and text != _USUAL.get(name)}
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
            raise UsageError(f"--{option_of(name)} {path} is not there. Give a folder that is.")
    real = {name: path.expanduser().resolve() for name, path in given.items()}
    base = Path(os.path.commonpath([path.parent for path in real.values()]))
    options = {name: path.relative_to(base).as_posix() for name, path in real.items()}
    return LayoutChoice(NAME, None, {**options, **said}), base


def option_of(name: str) -> str:
    return name.replace("_", "-")
