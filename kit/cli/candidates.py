"""What may be typed at a place of the command line: names of sources, blends, experiments, settings, photos.

Looks at names of files alone and imports no torch and no pandas, for a shell waits for it. What is damaged or not there
gives nothing, and no error.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from kit.core.workspace import Workspace

RUNGS = ("auto", "single", "mean", "simplex", "ridge", "intercept", "features", "direct", "regions", "stack",
         "hill-climb", "bagged")  # fmt: skip  # kit.blending's own take a third of a second to import
_MOST_PHOTOS = 100_000  # of whose ids a shell can make anything

Found = list[str] | list[tuple[str, str]]
"""Words, or words with what they mean."""


def _of_workspace(find: Callable[[Workspace], Iterable[str]]) -> Callable[..., list[str]]:
    """Return a completion for Typer: what `find` finds in the workspace that the command line names so far."""

    @functools.wraps(find)
    def found(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            head = incomplete[: incomplete.rfind(",") + 1]  # of names with commas between, the last one is completed
            return [f"{head}{name}" for name in dict.fromkeys(find(_workspace(ctx)))]
        except Exception:  # whatever it is: a shell has no place for it, and the command itself will say it
            return []

    found.__annotations__ = {"ctx": typer.Context, "incomplete": str, "return": list}
    del found.__wrapped__  # whose parameters Typer would take for this one's
    return found


def _workspace(ctx: typer.Context) -> Workspace:
    from kit.data.index import open_workspace

    given = ctx.find_root().params
    return open_workspace(Path(given.get("workspace") or "."), given.get("competition"))


def _folders(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("*") if one.is_dir() and not one.name.startswith("."))


def _stems(folder: Path, suffix: str) -> list[str]:
    return sorted(one.stem for one in folder.glob(f"*{suffix}") if not one.name.startswith("."))


@_of_workspace
def sources(workspace: Workspace) -> Iterable[str]:
    """Return the names of sources."""
    return _folders(workspace.predictions)


@_of_workspace
def blends(workspace: Workspace) -> Iterable[str]:
    """Return the names of blends."""
    return _stems(workspace.blends, ".json")


@_of_workspace
def sources_and_blends(workspace: Workspace) -> Iterable[str]:
    """Return the names of both."""
    return [*_folders(workspace.predictions), *_stems(workspace.blends, ".json")]


@_of_workspace
def trained(workspace: Workspace) -> Iterable[str]:
    """Return the names of sources with a training, finished or not."""
    return _folders(workspace.runs)


@_of_workspace
def experiments(workspace: Workspace) -> Iterable[str]:
    """Return what can be trained: experiments, and sources that go on."""
    from kit.learning.experiments.catalog import EXPERIMENTS

    return [*EXPERIMENTS, *_folders(workspace.runs)]


@_of_workspace
def removable(workspace: Workspace) -> Iterable[str]:
    """Return the names of all that can be deleted."""
    stems = (*_stems(workspace.blends, ".json"), *_stems(workspace.submissions, ".csv"))
    return [*_folders(workspace.predictions), *_folders(workspace.runs), *stems, *_stems(workspace.root / "tuning", "")]


@_of_workspace
def folds(workspace: Workspace) -> Iterable[str]:
    """Return the folds' numbers, and the words for several."""
    with workspace.folds.open(encoding="utf-8", newline="") as file:
        return [*sorted({row["fold"] for row in csv.DictReader(file)}, key=int), "all", "full"]


@_of_workspace
def photos(workspace: Workspace) -> Iterable[str]:
    """Return the photos' names, and their ids, which begin with the split."""
    with workspace.index.open(encoding="utf-8", newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(_MOST_PHOTOS), strict=False)]
    return [*(row["name"] for row in rows), *(row["id"] for row in rows)]


@_of_workspace
def fills(workspace: Workspace) -> Iterable[str]:
    """Return the fills, and `all`."""
    from kit.imaging.fills import FILLS

    return [*FILLS, "all"]


@_of_workspace
def metrics(workspace: Workspace) -> Iterable[str]:
    """Return the metrics."""
    from kit.imaging.metrics import METRICS

    return METRICS


@_of_workspace
def trackers(workspace: Workspace) -> Iterable[str]:
    """Return the trackers."""
    from kit.core.trackers import TRACKERS

    return TRACKERS


def settings(incomplete: str) -> Found:
    """Return the settings of a training as `field=`, and of one alone its values."""
    from kit.learning.experiments import setting_fields
    from kit.learning.experiments.listing import explanations

    fields = setting_fields()
    named = [name for name in fields if name.startswith(incomplete.partition("=")[0])]
    if "=" in incomplete or len(named) == 1:
        name = incomplete.partition("=")[0] if "=" in incomplete else named[0]
        return [f"{name}=", *(f"{name}={value}" for value in _values(fields[name]))] if name in fields else []
    about = explanations()
    return [(f"{name}=", about[name]) for name in named]


def _values(field: Any) -> list[str]:
    from kit.learning.experiments.limits import as_text, choices_of, kind_of

    choices = ("true", "false") if kind_of(field) is bool else choices_of(field)
    return list(dict.fromkeys(as_text(value) for value in choices or (field.get_default(),)))


def among(*words: str) -> Callable[..., list[str]]:
    """Return a completion that offers these words."""

    def found(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    found.__annotations__ = {"incomplete": str, "return": list}
    return found


DEVICES = among("auto", "cpu", "cuda")
