"""What is being trained, how good it is and when it is done: read from the runs' folders alone. Changes nothing."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kit.core.workspace import Fold, Workspace
from kit.errors import UnknownName
from kit.learning.experiments.progress import NOTE, Training, list_trainings, read_object

PROGRESS, STRIP = "progress.png", "strip.png"
State = Literal["running", "interrupted", "done"]


@dataclass(frozen=True)
class Watched:
    """One fold of a source, as far as it is."""

    name: str
    fold: Fold
    state: State
    held_by: str | None
    """The process that trains it now."""
    epoch: float
    """So many are done; of a running one with the share of the present one."""
    epochs: int | None
    """That it is to have; None where nothing tells."""
    rmse: float | None
    """On the fold's photos, as last measured; None of a full model, and before the first measurement."""
    base: str | None
    """The fill under it."""
    fill_rmse: float | None
    """Of that fill alone; None where nothing tells."""
    best_rmse: float | None
    best_epoch: int | None
    photos_per_second: float | None
    seconds_left: float | None
    """Till the end of the training, its predictions not counted; None unless it runs."""
    pictures: tuple[Path, ...]
    """`progress.png` and `strip.png`, where they are."""

    @property
    def gain(self) -> float | None:
        """Return by how much it is better than its fill alone."""
        return None if self.rmse is None or self.fill_rmse is None else self.fill_rmse - self.rmse


def read_watched(workspace: Workspace, name: str | None = None) -> tuple[Watched, ...]:
    """Read the trainings of a source, by fold.

    Args:
        name: of the source; None: of all that are trained now, or else of the one that was trained last.

    Raises:
        UnknownName: no source of that name has been trained.
    """
    trainings = list(list_trainings(workspace))
    if name is not None and name not in {one.name for one in trainings}:
        known = {one.name for one in trainings}
        raise UnknownName("training", name, known, otherwise="Begin one: kit train")
    names = {name} if name is not None else _present(workspace, trainings)
    return tuple(_watched(workspace, one) for one in trainings if one.name in names)


def _present(workspace: Workspace, trainings: Iterable[Training]) -> set[str]:
    """Return the sources that are trained now, or else the one that was trained last."""
    found = {one.name: 0.0 for one in trainings if one.held_by}
    if found:
        return set(found)
    for one in trainings:
        folder = workspace.run(one.name, one.fold)
        times = [path.stat().st_mtime for path in (folder / "run.json", folder / "log.csv") if path.is_file()]
        found[one.name] = max([found.get(one.name, 0.0), *times])
    return set(sorted(found, key=lambda name: (found[name], name))[-1:])


def _watched(workspace: Workspace, one: Training) -> Watched:
    folder = workspace.run(one.name, one.fold)
    done, note, scores = read_object(folder / "run.json"), read_object(folder / NOTE), _scores(folder / "log.csv")
    state: State = "done" if one.is_done and not one.held_by else "running" if one.held_by else "interrupted"
    known = done if one.is_done else note
    settings = one.stamp.get("experiment")
    best = min(scores, key=lambda score: score[1], default=None)
    step, steps, planned = (_number(note.get(key)) for key in ("step", "steps", "planned"))
    epoch = float(one.epoch)
    if state == "running" and step is not None and steps and planned:
        epoch = max(epoch, step / steps * planned)
    last = _number(done.get("fold_rmse")) if one.is_done else scores[-1][1] if scores else None
    return Watched(
        name=one.name,
        fold=one.fold,
        state=state,
        held_by=one.held_by,
        epoch=round(epoch, 2),
        epochs=one.epoch if one.is_done else int(planned) if planned else one.epochs,
        rmse=last,
        base=str(settings["base"]) if isinstance(settings, dict) and "base" in settings else None,
        fill_rmse=_number(known.get("fill_rmse")),
        best_rmse=None if best is None else best[1],
        best_epoch=None if best is None else best[0],
        photos_per_second=_number(known.get("photos_per_second")),
        seconds_left=_left(folder / NOTE, note) if state == "running" and not one.is_done else None,
        pictures=tuple(path for path in (folder / PROGRESS, folder / STRIP) if path.is_file()),
    )


def _left(path: Path, note: dict[str, Any]) -> float | None:
    """Return the seconds that were left when the note was written, less those since."""
    left = _number(note.get("seconds_left"))
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:  # the training has just ended
        return None
    return None if left is None else round(max(0.0, left - max(0.0, age)), 1)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _scores(path: Path) -> list[tuple[int, float]]:
    """Return the epochs after which the fold was measured, with its RMSE; of a file that cannot be read, nothing."""
    found = []
    try:
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            if row.get("fold_rmse"):
                found.append((int(float(row["epoch"])), float(row["fold_rmse"])))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []
    return found


def summary(found: Sequence[Watched]) -> str:
    """Return in one line what matters: what runs, and whether it is better than the fill alone."""
    running = [one for one in found if one.state == "running"]
    interrupted = [one for one in found if one.state == "interrupted"]
    better = [one for one in found if one.gain is not None and one.gain > 0]
    measured = [one for one in found if one.gain is not None]
    counts = [(len(running), "running"), (sum(one.state == "done" for one in found), "done")]
    counts += [(len(interrupted), "interrupted")]
    said = ", ".join(f"{count} {word}" for count, word in counts if count) or "No training"
    if measured:
        said += f"; better than their fill alone: {len(better)} of {len(measured)}"
    return said
