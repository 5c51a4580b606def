"""The numbers of the page, from the stores: plain values that JSON can hold. Draws nothing.

Scores are by the competition's metric; parts of pictures, which not every metric has, by RMSE in score space.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit.blending import Blend, ResidualGram, SourceScore, blend_oof_values, read_blend, score_sources
from kit.blending.evaluation.pixels import photo_scores, source_errors
from kit.blending.grams.cache import cached_gram
from kit.blending.result import ring_names
from kit.core.storage import read_json
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.errors import KitError, MissingStep
from kit.imaging.holes import RINGS, Box
from kit.imaging.metrics import RMSE, Estimate, Metric
from kit.report.page.line import leaderboard_line
from kit.submission.ledger import read_ledger

POINTS = 240  # of a curve: more cannot be told apart

OofValues = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Scored:
    """Every training photo by every source and the blend."""

    columns: tuple[str, ...]
    """Sources, then the blend under the name `blend`."""
    scores: np.ndarray
    """`(P, C)` by the metric, NaN where there is none."""


@dataclass(frozen=True)
class Numbers:
    """What the page tells without its gallery."""

    project: Project
    metric: Metric
    sources: list[SourceScore]
    blend: Blend | None
    oof_values: OofValues | None
    """The blend's, where it can still be applied."""
    scored: Scored
    notes: list[str]
    parts: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Return the sources with a score, the best first."""
        return [one.name for one in self.sources if one.score is not None]


def read_numbers(project: Project, blend: str | None = None) -> Numbers:
    """Read scores of sources, a blend (by default the newest) and its photos.

    Raises:
        MissingStep: there is no source.
        UnknownName: no such blend.
    """
    metric = project.layout.measured_by
    sources = score_sources(project, metric=metric)
    if not any(one.score for one in sources):
        raise MissingStep("There is no source to report on. Run: kit fill all")
    notes = [f"{one.name}: {one.problem}" for one in sources if one.problem]
    made, values = _blend(project, blend, notes)
    grams = _grams(project, [one for one in sources if one.score is not None])
    columns = {name: _by_photo(project, gram, name, metric) for name, gram in grams.items()}
    if values is not None:
        columns["blend"] = _of_blend(project, values, metric)
    scored = Scored(tuple(columns), np.column_stack(list(columns.values())))
    return Numbers(project, metric, sources, made, values, scored, notes, _parts(project, grams))


def _blend(project: Project, name: str | None, notes: list[str]) -> tuple[Blend | None, OofValues | None]:
    try:
        made = read_blend(project.workspace, name)
    except MissingStep:
        return None, None
    try:
        return made, blend_oof_values(project, made)
    except KitError as error:
        notes.append(str(error))
        return made, None


def _grams(project: Project, sources: Sequence[SourceScore]) -> dict[str, ResidualGram]:
    """Return for each source a Gram that it is a member of; the complete ones share one."""
    complete = [one.name for one in sources if one.complete]
    shared = cached_gram(project, complete) if complete else None
    found = {}
    for one in sources:
        if one.complete:
            assert shared is not None
            found[one.name] = shared
        else:
            found[one.name] = cached_gram(project, [one.name], partial=True)
    return found


def _by_photo(project: Project, gram: ResidualGram, name: str, metric: Metric) -> np.ndarray:
    found = np.full(len(project.index.train), np.nan)
    errors = source_errors(project, gram, metric)[:, gram.of(name)]
    found[gram.photos] = _scores(metric, errors, gram.counts)
    return found


def _of_blend(project: Project, values: OofValues, metric: Metric) -> np.ndarray:
    photos = np.arange(len(project.index.train))
    errors = photo_scores(project, metric, photos, lambda photo: [values(photo)])[:, 0]
    return _scores(metric, errors, np.array([3 * row.scored for row in project.index.train]))


def _scores(metric: Metric, errors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    above, below = metric.statistics(errors, counts)
    return np.where(counts > 0, metric.value(above, below), np.nan)


def _of_parts(metric: Metric) -> Metric:
    """Return the metric of parts of photos: the competition's where it is made of all values alike, else RMSE."""
    return metric if metric.is_square else RMSE


def _parts(project: Project, grams: dict[str, ResidualGram]) -> dict[str, Any]:
    """Return errors by distance, channel, class, overlap of boxes: for each a list of names and a table of sources."""
    rows, metric = project.index.train, project.layout.measured_by
    klass = np.array([row.klass or "none" for row in rows])
    overlap = np.array(["boxes overlap" if _overlap(row.boxes) else "apart" for row in rows])
    found: dict[str, Any] = {
        "distance": {"title": "pixels to the nearest known one", "names": ring_names(), "rows": {}},
        "channel": {"title": "channel", "names": ["red", "green", "blue"], "rows": {}},
        "class": {"title": "class", "names": sorted(set(klass.tolist())), "rows": {}},
        "boxes": {"title": "boxes", "names": sorted(set(overlap.tolist())), "rows": {}},
    }
    for name, gram in grams.items():
        k = gram.of(name)
        squares, counts = gram.by_region[:, :, k, k], gram.region_counts
        if counts.shape[1] == 3 * len(RINGS):
            by = (len(gram), len(RINGS), 3)
            for part, axes in (("distance", (0, 2)), ("channel", (0, 1))):
                found[part]["rows"][name] = _mean_errors(
                    metric, squares.reshape(by).sum(axes), counts.reshape(by).sum(axes)
                )
        for part, labels in (("class", klass[gram.photos]), ("boxes", overlap[gram.photos])):
            groups = [labels == one for one in found[part]["names"]]
            found[part]["rows"][name] = _mean_errors(
                metric,
                np.array([squares[group].sum() for group in groups]),
                np.array([counts[group].sum() for group in groups]),
            )
    return {part: one for part, one in found.items() if one["rows"] and len(one["names"]) > 1}


def _overlap(boxes: Sequence[Box]) -> bool:
    return any(
        one.row < other.row + other.height
        and other.row < one.row + one.height
        and one.col < other.col + other.width
        and other.col < one.col + one.width
        for place, one in enumerate(boxes[:50])  # a free-form hole has hundreds, and they never do
        for other in boxes[:place]
    )


def _mean_errors(metric: Metric, squares: np.ndarray, counts: np.ndarray) -> list[float | None]:
    scores = _of_parts(metric).value(squares, counts.astype(np.float64))
    return [rounded(float(one)) if count else None for one, count in zip(scores, counts.tolist(), strict=True)]


def as_plain(numbers: Numbers) -> dict[str, Any]:
    """Return everything but the gallery as JSON can hold it."""
    project, workspace = numbers.project, numbers.project.workspace
    metric = numbers.metric
    return {
        "competition": workspace.slug,
        "metric": {
            "name": metric.name,
            "label": metric.label,
            "higher": metric.higher_is_better,
            "parts": _of_parts(metric).label,
        },
        "photos": {"train": len(project.index.train), "test": len(project.index.test)},
        "sources": [_source(one) for one in numbers.sources],
        "blend": None if numbers.blend is None else _plain_blend(numbers.blend),
        "parts": numbers.parts,
        "scores": {
            "columns": list(numbers.scored.columns),
            "rows": [[rounded(one) for one in row] for row in numbers.scored.scores.tolist()],
            "names": [row.name for row in project.index.train],
            "classes": [row.klass for row in project.index.train],
        },
        "sent": _sent(numbers),
        "runs": read_runs(workspace),
        "notes": numbers.notes,
    }


def estimate(one: Estimate | None) -> list[float | None] | None:
    """Return value, low and high."""
    return None if one is None else [rounded(one.value), rounded(one.low), rounded(one.high)]


def rounded(number: float | None) -> float | None:
    """Return a number with six digits, None where it is none: a page is not made larger by noise."""
    return None if number is None or not math.isfinite(number) else float(f"{number:.6g}")


def _source(one: SourceScore) -> dict[str, Any]:
    return {
        "name": one.name,
        "score": estimate(one.score),
        "photos": one.photos,
        "complete": one.complete,
        "trained": one.trained,
        "full": one.full,
        "seconds": rounded(one.seconds),
        "problem": one.problem,
    }


def _plain_blend(blend: Blend) -> dict[str, Any]:
    names = [row.name for row in blend.members]
    return {
        "name": blend.name,
        "rung": blend.rung,
        "reason": blend.reason,
        "cv": estimate(blend.cv),
        "best": blend.best_single,
        "best_cv": estimate(blend.best_single_cv),
        "gain": estimate(blend.gain),
        "expected": {
            "photos": blend.leaderboard.photos,
            "score": estimate(blend.leaderboard.score),
            "sampling": rounded(blend.leaderboard.sampling),
            "estimation": rounded(blend.leaderboard.estimation),
        },
        "fitted": blend.fitted,
        "members": [
            {"name": row.name, "weight": rounded(row.weight), "cv": estimate(row.cv), "without": estimate(row.without)}
            for row in blend.members
        ],
        "correlation": {"names": names, "rows": [[rounded(one) for one in row] for row in blend.correlation]},
        "ladder": [
            {"rung": row.rung, "cv": estimate(row.cv), "gain": estimate(row.gain), "below": row.below}
            | {"taken": row.taken, "on_ladder": row.on_ladder}
            for row in blend.ladder
        ],
    }


def _sent(numbers: Numbers) -> dict[str, Any]:
    """Return what was sent, the line of public scores against CV, and how many fell into the interval expected."""
    try:
        rows = [row for row in read_ledger(numbers.project.workspace) if row.ref]
    except (KitError, OSError) as error:
        numbers.notes.append(str(error))
        rows = []
    found: list[dict[str, Any]] = []
    for row in rows:
        expected = _expected(numbers.project.workspace, row.what)
        scores = {name: rounded(getattr(row, name)) for name in ("cv", "public_score", "private_score")}
        found.append({"when": row.when, "what": row.what, "message": row.message, "expected": expected, **scores})
    pairs = [(row.cv, row.public_score) for row in rows]
    line = leaderboard_line([(cv, public) for cv, public in pairs if cv is not None and public is not None])
    return {"rows": found, "line": None if line is None else asdict(line)}


def _expected(workspace: Workspace, what: str) -> list[float | None] | None:
    try:
        blend = read_blend(workspace, what.removeprefix("blend ")) if what.startswith("blend ") else None
    except KitError:
        return None
    return None if blend is None else estimate(blend.leaderboard.score)


def read_runs(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the curves of every training, finished or not, by name and fold; a log that cannot be read is left out."""
    found = []
    for path in sorted(workspace.runs.glob("*/fold_*/log.csv")):
        try:
            rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
            done = read_json(path.parent / "run.json", made_by="kit train") if _is_done(path) else {}
        except (OSError, UnicodeDecodeError, KitError, csv.Error):
            continue
        curve = _curve(rows)
        if curve["epochs"]:
            facts = {key: done.get(key) for key in ("fill_rmse", "fold_rmse", "best_epoch", "seconds")}
            fold = path.parent.name.removeprefix("fold_")
            found.append({"name": path.parent.parent.name, "fold": fold, "done": bool(done), **facts, **curve})
    return found


def _is_done(log: Path) -> bool:
    return (log.parent / "run.json").is_file()


def _curve(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return epochs and columns of a log, thinned; rows that were measured on the fold all stay."""
    step = max(1, -(-len(rows) // POINTS))
    kept = [
        row for place, row in enumerate(rows) if place % step == 0 or row.get("fold_rmse") or place == len(rows) - 1
    ]
    columns = [name for name in (rows[0] if rows else ()) if name and name != "epoch"]
    return {
        "epochs": [_number(row.get("epoch")) for row in kept],
        "columns": {name: [_number(row.get(name)) for row in kept] for name in columns},
    }


def _number(text: Any) -> float | None:
    try:
        return rounded(float(text))
    except (TypeError, ValueError):
        return None
