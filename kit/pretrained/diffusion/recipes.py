"""The recipes that a workspace has samples of, and what was last asked of each. Knows files; no model and no torch.

sd/<digest>/recipe.json     settings and model
sd/<digest>/asked.json      what `kit sd run` was last asked for; workspaces of before have none
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.core.storage import read_json, write_json
from kit.core.workspace import Workspace
from kit.errors import DamagedStore, MissingStep
from kit.pretrained.diffusion.settings import SamplingRecipe, SamplingSettings, cache_root

RUN = "kit sd run"


@dataclass(frozen=True)
class Asked:
    """The last request of a recipe, as far as `status` and `curve` need it."""

    templates: tuple[str, ...] = ()
    samples: int = 1
    limit: int | None = None
    matched: bool = True
    clip: str | None = None


@dataclass(frozen=True)
class StoredRecipe:
    """One folder of samples."""

    recipe: SamplingRecipe
    asked: Asked
    used: int
    """When it was last used, in nanoseconds."""


def note_asked(workspace: Workspace, recipe: SamplingRecipe, asked: Asked) -> None:
    """Write down what a recipe is asked for, which makes it the last one used."""
    write_json(recipe.folder(workspace) / "asked.json", asdict(asked))


def stored_recipes(workspace: Workspace) -> list[StoredRecipe]:
    """Return all recipes with a folder here, the last used one first.

    Raises:
        DamagedStore: a file that kit did not write.
    """
    found = [_stored(path) for path in cache_root(workspace).glob("*/recipe.json")]
    return sorted(found, key=lambda one: one.used, reverse=True)


def _stored(path: Path) -> StoredRecipe:
    fields = read_json(path, made_by=RUN)
    try:
        recipe = SamplingRecipe(SamplingSettings(**fields["settings"]), fields["model"], fields["label"])
    except (KeyError, TypeError):
        raise DamagedStore(f"{path} is not what kit wrote. Delete it, then run: {RUN}") from None
    files = [path, path.with_name("asked.json"), *path.parent.glob("samples/*.bin")]
    return StoredRecipe(recipe, _asked(path.with_name("asked.json")), max(_changed(file) for file in files))


def _changed(file: Path) -> int:
    return file.stat().st_mtime_ns if file.is_file() else 0


def _asked(path: Path) -> Asked:
    try:
        fields: dict[str, Any] = read_json(path, made_by=RUN)
    except MissingStep:
        return Asked()
    try:
        return Asked(**{**fields, "templates": tuple(fields["templates"])})
    except (KeyError, TypeError):
        raise DamagedStore(f"{path} is not what kit wrote. Delete it, then run: {RUN}") from None
