"""How far the trainings of a workspace have come, read from their folders. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.storage import holder
from kit.core.workspace import FULL, Fold, Workspace, is_name

NOTE = "progress.json"
"""Beside a training's log while it is trained: step, speed, seconds left. Gone when it is done."""
RECORDS = "trackers.json"
"""Beside a training's log: which record of each tracker is its own."""
_FOLDER = re.compile(r"fold_(\d+|full)")
_CHECKPOINT = re.compile(r"checkpoint_(\d+)\.pt")


@dataclass(frozen=True)
class Training:
    """One fold of an experiment, begun or done."""

    name: str
    fold: Fold
    epoch: int
    """Of the last checkpoint, or of the end."""
    epochs: int | None
    """That it is to have; None where its folder does not tell."""
    is_done: bool
    held_by: str | None
    """The process that trains it now."""
    stamp: dict[str, Any]
    """What it depends on, `{}` where that cannot be read."""


def list_trainings(workspace: Workspace) -> Iterator[Training]:
    """Yield every fold that has a folder, by name and fold, the full model last. Names that no source can have are
    not kit's."""
    found = []
    for path in workspace.runs.glob("*/fold_*"):
        match = _FOLDER.fullmatch(path.name)
        if match and is_name(path.parent.name) and (path / "experiment.json").is_file():
            found.append((path.parent.name, match[1] == FULL, FULL if match[1] == FULL else int(match[1]), path))
    for name, _, fold, path in sorted(found, key=lambda one: (one[0], one[1], str(one[2]).zfill(9))):
        stamp, done = read_object(path / "experiment.json"), read_object(path / "run.json")
        settings = stamp.get("experiment")
        epochs = settings.get("epochs") if isinstance(settings, dict) else None
        checkpoints = [int(match[1]) for file in path.iterdir() if (match := _CHECKPOINT.fullmatch(file.name))]
        is_done = (path / "run.json").is_file() and (path / "model.safetensors").is_file()
        epoch = done.get("epochs", 0) if is_done else max(checkpoints, default=0)
        yield Training(
            name,
            fold,
            epoch if isinstance(epoch, int) else 0,
            epochs if isinstance(epochs, int) else None,
            is_done,
            holder(path),
            stamp,
        )


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object, `{}` where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
