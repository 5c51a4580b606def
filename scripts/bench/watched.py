"""What it costs to watch a training: drawing and notes against the time that the training takes, and the same bytes.

    python scripts/bench/watched.py WORKSPACE                       # regress, 40 epochs, fold 0
    python scripts/bench/watched.py WORKSPACE 200 size=32           # so many epochs, with these settings

Trains in a copy of the workspace (hard links), which is gone afterwards: once watched, once not.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from kit.core.moments import Moment
from kit.core.storage import digest_file
from kit.data.index import open_workspace
from kit.data.project import Project
from kit.learning.experiments import experiment
from kit.learning.training import Options
from kit.learning.training.fit import base_fills, fit_fold
from kit.learning.training.watching import Watch
from kit.report.training import TrainingPictures

spent: dict[str, list[float]] = {"drawing on the way": [], "drawing at the end": [], "notes": []}


class Timed(TrainingPictures):
    """Pictures that note what each drawing took."""

    def draw(self, moment: Moment) -> np.ndarray | None:
        """Draw, and note the seconds if something was drawn."""
        before, started = self._spent, time.perf_counter()
        strip = super().draw(moment)
        if self._spent > before:
            which = "drawing at the end" if moment.is_last else "drawing on the way"
            spent[which].append(time.perf_counter() - started)
        return strip


class TimedWatch(Watch):
    """Notes for `kit watch`, timed."""

    def step(self, speed: float) -> None:
        """Keep the seconds that it takes."""
        started = time.perf_counter()
        super().step(speed)
        spent["notes"].append(time.perf_counter() - started)


def train(given: Path, epochs: int, settings: list[str], pictures: bool) -> tuple[float, str]:
    """Return the seconds of the training's epochs, and the digest of its weights."""
    one = experiment("regress", [f"epochs={epochs}", *settings], rename="watched")
    with tempfile.TemporaryDirectory(dir=given.absolute().parent) as place:
        folder = Path(place) / "copy"
        shutil.copytree(given, folder, copy_function=os.link, ignore=shutil.ignore_patterns("runs", "blends", "report"))
        project = Project(open_workspace(folder, None))
        base_fills(project, one)
        started = time.perf_counter()
        options = Options(pictures=Timed if pictures else None)
        run = fit_fold(project, one, 0, device="auto", options=options)
        return time.perf_counter() - started, digest_file(run.folder / "model.safetensors")


def main() -> None:
    """Run."""
    import kit.learning.training.engine as engine

    given, rest = Path(sys.argv[1]), sys.argv[2:]
    epochs = int(rest.pop(0)) if rest and rest[0].isdigit() else 40
    engine.Watch = TimedWatch
    seconds, digest = train(given, epochs, rest, pictures=True)
    found = {what: [*times] for what, times in spent.items()}
    noted = sum(found.pop("notes"))
    plain, other = train(given, epochs, rest, pictures=False)
    print(f"{epochs} epochs with pictures {seconds:.1f} s, without {plain:.1f} s; same weights: {digest == other}")
    for what, times in found.items():
        print(f"{what}: {len(times)} times, {sum(times):.2f} s, {100 * sum(times) / seconds:.2f} % of the training")
    print(f"notes: {noted:.2f} s, {100 * noted / seconds:.2f} %")


if __name__ == "__main__":
    main()
