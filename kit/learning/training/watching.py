"""All that shows a training on its way: pictures, trackers, and a note for `kit watch`. Changes nothing of what is
trained: it is told numbers and predictions that are computed anyway, and what fails here is a warning."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from kit.core.moments import Moment, Pictures
from kit.core.secrets import without_secrets
from kit.core.speech import warn_once
from kit.core.storage import write_json
from kit.errors import NotFinished
from kit.learning.experiments import Experiment
from kit.learning.experiments.progress import NOTE, read_object
from kit.learning.training.state import State
from kit.learning.training.trackers import Tracker

NOTE_SECONDS = 3.0  # between two notes


@dataclass
class Watch:
    """One fold's watchers, in the main process; in the others, and where nobody watches, it does nothing."""

    folder: Path
    experiment: Experiment
    state: State
    fill_rmse: float | None
    pictures: Pictures | None = None
    trackers: list[Tracker] = field(default_factory=list)
    is_silent: bool = False
    """Whether this is no main process."""
    values: dict[int, np.ndarray] = field(default_factory=dict)
    measured: int = 0
    speeds: dict[int, float] = field(default_factory=dict)
    _steps: int = 1
    """Of an epoch."""
    _began: float = 0.0
    _first: int = 0
    _speed: float = 0.0
    _noted: float = -NOTE_SECONDS
    _ends: float | None = None

    def begin(self, steps: int, seconds: float | None) -> None:
        """Begin, or go on with what an earlier process noted.

        Args:
            steps: of an epoch.
            seconds: that `--max-minutes` leaves.
        """
        self._steps, self._began, self._first = steps, time.monotonic(), self.state.step
        self._ends = None if seconds is None else self._began + seconds
        before = read_object(self.folder / NOTE).get("speeds")
        if isinstance(before, dict):
            kept = {int(epoch): float(speed) for epoch, speed in before.items() if str(epoch).isdigit()}
            self.speeds = {epoch: speed for epoch, speed in kept.items() if epoch <= self.state.epoch}

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, NotFinished):
            self._draw(is_last=True)
        for tracker in list(self.trackers):
            with self._warned(f"The tracker {tracker.name}", lambda: None):
                tracker.close()

    def see(self, position: int, values: np.ndarray) -> None:
        """Keep what was predicted for a photo of the fold, `(n, 3)` in [0, 1], if it is one of those that are shown."""
        if self.pictures is not None and position in self.pictures.positions:
            self.values[position] = values.copy()
            self.measured = self.state.epoch

    def step(self, speed: float) -> None:
        """Note how far it is, if that is some seconds ago.

        Args:
            speed: photos a second in this epoch.
        """
        self._speed = speed
        if not self.is_silent and time.monotonic() - self._noted >= NOTE_SECONDS:
            self._note()

    def epoch(self, row: dict[str, float]) -> None:
        """Show an epoch that has come to its end and whose row is in the log."""
        if self.is_silent:
            return
        self.speeds[self.state.epoch] = self._speed
        for tracker in list(self.trackers):
            with self._warned(f"The tracker {tracker.name}", partial(self.trackers.remove, tracker)):
                tracker.scalars(self.state.step, row)
        self.step(self._speed)
        self._draw(is_last=False)

    def _draw(self, *, is_last: bool) -> None:
        if self.pictures is None or not self.state.log:
            return
        strip = None
        with self._warned("Drawing the training", self._without_pictures):
            strip = self.pictures.draw(self._moment(is_last))
        if strip is None:
            return
        for tracker in list(self.trackers):
            with self._warned(f"The tracker {tracker.name}", partial(self.trackers.remove, tracker)):
                tracker.picture(self.state.step, strip)

    def _moment(self, is_last: bool) -> Moment:
        state = self.state
        return Moment(
            rows=list(state.log),
            planned=state.planned,
            speeds=dict(self.speeds),
            base=self.experiment.base,
            fill_rmse=self.fill_rmse,
            values=dict(self.values),
            measured=self.measured,
            keeps_best=bool(self.experiment.patience),
            is_last=is_last,
        )

    def _note(self) -> None:
        self._noted, state = time.monotonic(), self.state
        done, total = state.step - self._first, state.planned * self._steps
        left = (total - state.step) * (self._noted - self._began) / done if done else None
        if self._ends is not None and left is not None:
            left = min(left, max(0.0, self._ends - self._noted))
        found = {
            "step": state.step,
            "steps": total,
            "planned": state.planned,
            "base": self.experiment.base,
            "fill_rmse": self.fill_rmse,
            "photos_per_second": round(self._speed, 2),
            "seconds_left": None if left is None else round(left, 1),
            "speeds": {str(epoch): round(one, 2) for epoch, one in self.speeds.items()},
        }
        with self._warned(f"Writing {self.folder / NOTE}", lambda: None):
            write_json(self.folder / NOTE, found)

    def _without_pictures(self) -> None:
        self.pictures = None

    @contextlib.contextmanager
    def _warned(self, what: str, give_up: Callable[[], None]) -> Iterator[None]:
        """Let the training go on whatever fails in the block: each package raises its own."""
        try:
            yield
        except Exception as error:
            reason = without_secrets(" ".join((str(error) or type(error).__name__).split()))[:160]
            warn_once(f"Warning: {what} failed ({reason}); the training goes on without it.")
            give_up()
