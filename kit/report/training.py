"""A training on its way as two pictures: its curves, and some of its validation photos. Knows numbers and photos alone.

progress.png    verdict; the fold's RMSE against the fill's, losses, learning rate, photos/s
strip.png       eight photos of the fold: hidden, predicted, truth; never one that is trained on
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.core.moments import Moment
from kit.core.storage import writing
from kit.core.workspace import FULL, Fold
from kit.data.project import Project
from kit.imaging.holes import scored_pixels
from kit.imaging.images import save_image
from kit.report.picking import pick_among
from kit.report.strip import strip_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROGRESS, STRIP = "progress.png", "strip.png"
SHOWN = 8  # photos of the strip
SHARE = 0.02  # of a training's time that drawing may take on its way; one more drawing at its end
FIRST_SECONDS = 1.0  # what the first drawing takes, matplotlib's import included: a guess until it is measured

_WIDTH, _HEIGHT, _DPI = 9.0, 6.6, 100  # 900 pixels wide
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_MARKS = "osv^D"
_COLOURS = ("#2f6fa8", "#cc6a1f", "#1f2328", "#8a929b", "#6a51a3")  # apart by hue and by lightness; lines differ too


class TrainingPictures:
    """Draws the pictures of one training into its folder, so seldom that it costs a small share of the time."""

    def __init__(self, project: Project, source: str, fold: Fold, folder: Path) -> None:
        """
        Args:
            folder: of the training.
        """
        self._project, self._source, self._fold, self._folder = project, source, fold, folder
        self.positions: Sequence[int] = () if fold == FULL else _positions(project, fold)
        self._began, self._spent, self._last = time.monotonic(), 0.0, FIRST_SECONDS
        self._drawn = -1  # the epoch of the strip

    def draw(self, moment: Moment) -> np.ndarray | None:
        """Write `progress.png` if there is time for it, and `strip.png` if photos were predicted since.

        Returns:
            The strip, uint8 RGB `(H, W, 3)`; None if it was not drawn.

        Raises:
            KitError: no room, or no permission.
        """
        started = time.monotonic()
        if not moment.is_last and self._spent + self._last > SHARE * (started - self._began):
            return None
        picture = progress_picture(f"{self._source}, fold {self._fold}", moment)
        with writing(self._folder / PROGRESS) as file:
            file.write(picture)
        strip = None
        if moment.values and moment.measured != self._drawn:
            strip = self._strip(moment)
            save_image(self._folder / STRIP, strip)
            self._drawn = moment.measured
        self._last = time.monotonic() - started
        self._spent += self._last
        return strip

    def _strip(self, moment: Moment) -> np.ndarray:
        fills = self._project.predictions.read(moment.base, "oof", partial=True)
        there = set(fills.photos.tolist())
        alone = {position: fills.values(position) for position in moment.values if position in there}
        title = f"{self._source}, fold {self._fold}, after epoch {moment.measured}"
        return strip_of(self._project, title, moment.base, moment.values, alone)


def _positions(project: Project, fold: int) -> list[int]:
    """Return the positions of photos of a fold with something hidden, from the classes in turn."""
    rows = project.index.train
    usable = [int(one) for one in project.folds.valid_positions(fold) if len(scored_pixels(rows[int(one)].boxes)[0])]
    return pick_among(rows, usable, SHOWN)


@dataclass(frozen=True)
class Verdict:
    """How good a training is, in words."""

    said: str
    """The answer: `BETTER than fractional alone: RMSE 0.1517, 0.0104 lower`."""
    more: str
    """Best epoch and how far it is."""
    is_better: bool | None
    """Than the fill alone; None: nobody knows."""


def verdict(moment: Moment) -> Verdict:
    """Say whether a training is better than its fill alone: of the weights that it will keep, the last or the best."""
    epoch, planned = len(moment.rows), moment.planned
    where = f"done after {epoch} epochs" if epoch >= planned else f"epoch {epoch} of {planned}"
    measured = _measured(moment.rows)
    if moment.fill_rmse is None:
        return Verdict("Full model: no photo is left to measure on", where, None)
    if not measured:
        return Verdict(f"Not measured yet; {moment.base} alone {moment.fill_rmse:.4f}", where, None)
    best = min(measured, key=lambda one: one[1])
    kept = best if moment.keeps_best else measured[-1]
    gain = moment.fill_rmse - kept[1]
    word, way = ("BETTER", "lower") if gain > 0 else ("WORSE", "higher")
    said = f"{word} than {moment.base} alone: RMSE {kept[1]:.4f}, {abs(gain):.4f} {way}"
    since = f"best {best[1]:.4f} at epoch {best[0]}"
    if best[0] < measured[-1][0]:
        kind = "the best is kept" if moment.keeps_best else "the last is kept; patience keeps the best"
        since += f", not bettered in {len([one for one in measured if one[0] > best[0]])} measurements ({kind})"
    return Verdict(said, f"{since}; {where}", gain > 0)


def _measured(rows: Sequence[Mapping[str, float]]) -> list[tuple[int, float]]:
    return [(int(row["epoch"]), row["fold_rmse"]) for row in rows if "fold_rmse" in row]


def progress_picture(title: str, moment: Moment) -> bytes:
    """Return `progress.png`: the verdict, and a panel for each thing that changes; 900 pixels wide."""
    import io

    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with matplotlib.style.context(["default", {"font.size": 9, "text.parse_math": False}]):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure)  # no backend of pyplot's is looked for
        found = verdict(moment)
        colour = _COLOURS[2] if found.is_better is None else _COLOURS[0] if found.is_better else _COLOURS[1]
        figure.text(0.02, 0.965, found.said, size=12, weight="bold", color=colour, va="center")
        figure.text(0.02, 0.925, f"{title}: {found.more}", size=9, color="#5d6670", va="center")
        panels: list[Callable[[Axes, Moment], None]] = [_losses, _rates, _speeds]
        panels = panels if moment.fill_rmse is None else [_scores, *panels]
        for place, panel in enumerate(panels):
            left, low = 0.08 + 0.49 * (place % 2), 0.52 if place < 2 else 0.07
            axes = figure.add_axes((left, low, 0.405, 0.325))
            _plain(axes, len(moment.rows))
            panel(axes, moment)
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _plain(axes: Axes, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(True, color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch", size=8, color="#5d6670", loc="right", labelpad=1)
    axes.set_xlim(min(0.5, epochs - 1), epochs + 0.5)


def _heading(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", size=9.5, weight="bold", color="#1f2328")


def _scores(axes: Axes, moment: Moment) -> None:
    measured, fill = _measured(moment.rows), moment.fill_rmse or 0.0
    _heading(axes, "RMSE on the fold's photos (lower is better)")
    axes.axhline(fill, color=_COLOURS[1], linestyle="--", linewidth=1.4, label=f"{moment.base} alone {fill:.4f}")
    if measured:
        xs, ys = zip(*measured, strict=True)
        axes.plot(xs, ys, "-o", color=_COLOURS[0], markersize=3.5, linewidth=1.4, label=f"model {ys[-1]:.4f}")
        best = min(measured, key=lambda one: one[1])
        axes.plot(*best, marker="*", color=_COLOURS[2], markersize=11, linestyle="none", label=f"best {best[1]:.4f}")
        # the first epochs may be so bad that they would press the rest into a line
        usual = sorted(ys)[: max(2, round(len(ys) * 0.8))]
        low, high = min(*usual, fill), max(*usual, fill)
        axes.set_ylim(low - 0.08 * (high - low) - 1e-5, high + 0.5 * (high - low) + 1e-5)
    axes.legend(fontsize=8, frameon=False, loc="upper right")


def _losses(axes: Axes, moment: Moment) -> None:
    names = [name for name in dict.fromkeys(name for row in moment.rows for name in row) if _is_loss(name)]
    _heading(axes, "Losses, mean of each epoch")
    shown: list[float] = []
    for place, name in enumerate(names):
        points = [(int(row["epoch"]), row[name]) for row in moment.rows if name in row]
        xs, ys = zip(*points, strict=True)
        (line,) = axes.plot(xs, ys, marker=_MARKS[place % 5], color=_COLOURS[place % 5], markersize=2.5, linewidth=1.3)
        line.set(linestyle=_LINES[place % 5], label=f"{name} {ys[-1]:.4g}")
        shown += ys
    if shown and min(shown) > 0 and max(shown) > 20 * min(shown):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.legend(fontsize=8, frameon=False, loc="best")


def _is_loss(name: str) -> bool:
    return name not in ("epoch", "learning_rate", "fold_rmse")


def _rates(axes: Axes, moment: Moment) -> None:
    _heading(axes, "Learning rate, at the end of each epoch")
    xs = [int(row["epoch"]) for row in moment.rows]
    axes.plot(xs, [row["learning_rate"] for row in moment.rows], "-o", color=_COLOURS[0], markersize=2.5, linewidth=1.3)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _speeds(axes: Axes, moment: Moment) -> None:
    newest = f", now {moment.speeds[max(moment.speeds)]:.0f}" if moment.speeds else ""
    _heading(axes, f"Photos/s{newest}")
    xs = sorted(moment.speeds)
    axes.plot(xs, [moment.speeds[x] for x in xs], "-o", color=_COLOURS[0], markersize=2.5, linewidth=1.3)
    axes.set_ylim(bottom=0)
