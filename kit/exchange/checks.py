"""Checks of imported predictions that can be read but look wrong. Reads the store; changes nothing.

A wrong order of photos, channels or spaces leaves numbers that are numbers: only beside the photos do they look odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.blending import score_sources
from kit.core.progress import track
from kit.core.workspace import PredictionSplit
from kit.data.index import PhotoRow, evenly_spread
from kit.data.prediction_store import SPLITS
from kit.data.project import Project
from kit.exchange.continuity import other_reading, steps
from kit.exchange.values import Photos, from_score_space
from kit.imaging.holes import scored_pixels
from kit.imaging.metrics import RMSE, Estimate

LOOKED_AT = 500  # photos, evenly spread: more would say the same
LEAST = 20  # photos from which a correlation means something
UNRELATED = 0.3  # correlation of the predicted mean levels with the true ones; beyond 0.9 for any sensible model
TELLING = 0.5  # where hidden and known levels of whole photos are this correlated, the known ones tell the order
CLOSER = 0.99  # another reading whose RMSE is below this share of that of the one chosen was probably meant,
CREDIBLE = 3.5  # if by photo the difference is so many of its standard errors: no right file of nine sources came near
ORDER = "Box after box as in index.csv, each row by row, is what kit reads"
OFF = 0.05  # difference of the mean levels of OOF and test, each less that of the known pixels around
NEAR_TRUTH = 0.02  # score space: no prediction is that good, the unknown value range alone costs about 0.01


@dataclass(frozen=True)
class _Looks:
    """Measurements on some photos of one split, each array `(photos,)` of mean levels or mean squared errors."""

    level: np.ndarray
    known: np.ndarray
    truth: np.ndarray
    """Empty for test photos, as `errors` is."""
    lowest: float
    highest: float
    errors: dict[str, np.ndarray]
    """Pixel space, by how the values are read; empty for test photos."""
    steps: list[dict[str, float]]
    """See `kit.exchange.continuity`."""


def doubts_about(project: Project, name: str) -> list[str]:
    """Return one line for each thing that looks wrong with an imported source.

    Raises:
        KitError: its predictions cannot be read.
    """
    looks = {split: _look(project, name, split) for split in SPLITS if project.predictions.manifest(name, split, None)}
    doubts = [doubt for split, found in looks.items() for doubt in _of_levels(name, split, found)]
    if "test" in looks and not doubts:
        doubts += _of_order(project, name, looks["test"])
    reread = {split: doubt for split, found in looks.items() if (doubt := _of_steps(name, split, found.steps))}
    doubts += reread.values()
    if "oof" in looks and "oof" not in reread:
        doubts += _of_errors(name, looks["oof"].errors)
    if len(looks) == 2 and not doubts:  # otherwise it is said already
        doubts += _of_both(name, looks["oof"], looks["test"])
    return doubts


def _look(project: Project, name: str, split: PredictionSplit) -> _Looks:
    photos = Photos.of(project, split)
    predictions = project.predictions.read(name, split)
    chosen = _some(photos.photo_rows)
    level, known, truths, bounds = (np.zeros((len(chosen), *shape)) for shape in ((), (), (), (2,)))
    errors: dict[str, list[float]] = {}
    across: list[dict[str, float]] = []
    for place, position in enumerate(track(chosen.tolist(), f"Looking at {name} ({split})", len(chosen), "photos")):
        photo_row, values = photos.photo_rows[position], predictions.values(position)
        around = photos.images[position][~photo_row.hole] / 255.0
        level[place], known[place] = values.mean(), around.mean() if around.size else values.mean()
        bounds[place] = values.min(), values.max()
        found = steps(np.asarray(values, np.float64), photo_row.boxes, photos.images[position], photo_row.hole)
        across += [found] if found else []
        if split == "oof":
            truth = project.pack.train_target[position][scored_pixels(photo_row.boxes)] / 255.0
            truths[place] = truth.mean()
            for reading, error in _errors(values, truth, around, photos.estimated_range[position]).items():
                errors.setdefault(reading, []).append(error)
    return _Looks(
        level,
        known,
        truths if split == "oof" else np.zeros(0),
        float(bounds[:, 0].min()),
        float(bounds[:, 1].max()),
        {key: np.array(each) for key, each in errors.items()},
        across,
    )


def _some(photo_rows: Sequence[PhotoRow]) -> np.ndarray:
    """Return the positions of some photos that hide something, evenly spread."""
    hiding = [position for position, row in enumerate(photo_rows) if row.boxes]
    return np.array([hiding[place] for place in evenly_spread(len(hiding), LOOKED_AT)], int)


def _errors(values: np.ndarray, truth: np.ndarray, around: np.ndarray, estimated_range: np.ndarray) -> dict[str, float]:
    low, high = estimated_range
    unstretched = np.divide(values - low, high - low, out=np.zeros(values.shape), where=high > low)
    readings = {
        "as imported": values,
        "exchanged": values[:, ::-1],
        "score": from_score_space(values, estimated_range),
        "pixel": unstretched,
        "mean": np.broadcast_to(around.mean(axis=0) if len(around) else 0.5, truth.shape),
    }
    return {reading: float(((one - truth) ** 2).mean()) for reading, one in readings.items()}


def _of_levels(name: str, split: PredictionSplit, looks: _Looks) -> list[str]:
    what = f"{name}, {'OOF' if split == 'oof' else split}"
    if looks.highest - looks.lowest < 1e-3:
        return [f"{what}: every photo is predicted as {looks.highest:.3f} everywhere."]
    if np.ptp(looks.level) < 1e-3:
        return [f"{what}: the same level is predicted for every photo ({looks.level.mean():.3f} on average)."]
    if len(looks.truth) >= LEAST and (related := _correlation(looks.level, looks.truth)) < UNRELATED:
        return [
            f"{what}: how light photos are predicted has little to do with how light they are (correlation "
            f"{related:.2f}). Are they in the order of index.csv?"
        ]
    return []


def _of_order(project: Project, name: str, looks: _Looks) -> list[str]:
    """Test photos have no truth, but known pixels; how much these tell of the hidden ones, training photos show."""
    if len(looks.level) < LEAST:
        return []
    photos = Photos.of(project, "oof")
    pairs = []
    for position in _some(photos.photo_rows).tolist():
        hole, target = photos.photo_rows[position].hole, project.pack.train_target[position]
        if hole.any() and not hole.all():
            pairs.append((target[hole].mean(), target[~hole].mean()))
    usual, related = _correlation(*np.array(pairs).T), _correlation(looks.level, looks.known)
    if usual < TELLING or related > 0.5 * usual:
        return []
    return [
        f"{name}, test: how light photos are predicted has little to do with their known pixels (correlation "
        f"{related:.2f}, {usual:.2f} for training photos). Are they in the order of index.csv?"
    ]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1]) if np.ptp(first) > 0 and np.ptp(second) > 0 else 1.0


def _of_steps(name: str, split: PredictionSplit, across: list[dict[str, float]]) -> str:
    """Return whether hidden pixels continue the known ones better in another reading, "" where they do not."""
    found = other_reading(across)
    if found is None:
        return ""
    reading, other, own = found
    way = "See --channels" if reading == "with red and blue exchanged" else ORDER
    return (
        f"{name}, {'OOF' if split == 'oof' else split}: at the boxes' edges the values would continue the known pixels "
        f"far better (a step of {other:.3f}, now {own:.3f}) {reading}. {way}"
    )


def _of_errors(name: str, errors: dict[str, np.ndarray]) -> list[str]:
    rmse = {reading: float(np.sqrt(each.mean())) for reading, each in errors.items()}
    own = rmse["as imported"]
    meant = {
        "exchanged": "with red and blue exchanged. See --channels",
        "score": "if they were in score space. See --space",
        "pixel": "if they were in pixel space. See --space",
    }
    best = min(meant, key=lambda reading: rmse[reading])
    gains = errors["as imported"] - errors[best]
    if rmse[best] < CLOSER * own and gains.mean() > CREDIBLE * gains.std() / np.sqrt(len(gains)):
        return [
            f"{name}, OOF: the values would be closer to the photos ({rmse[best]:.3f}, now {own:.3f}) {meant[best]}."
        ]
    if own > rmse["mean"]:
        return [
            f"{name}, OOF: worse than the mean colour of the known pixels (RMSE {own:.3f} against "
            f"{rmse['mean']:.3f} in pixel space). Are these the right photos, order and range?"
        ]
    return []


def _of_both(name: str, oof: _Looks, test: _Looks) -> list[str]:
    """Return levels beside those of the known pixels: the photos differ, their surroundings with them."""
    sides = [looks.level - looks.known for looks in (oof, test)]
    difference = float(sides[1].mean() - sides[0].mean())
    deviation = float(np.sqrt(sum(side.var() / max(1, len(side)) for side in sides)))
    if abs(difference) < OFF or abs(difference) < 5 * deviation:
        return []
    return [
        f"{name}: test photos are predicted {abs(difference):.3f} {'lighter' if difference > 0 else 'darker'} than OOF "
        "ones, beside their known pixels. Were both made in the same way?"
    ]


@dataclass(frozen=True)
class OwnScore:
    """The score of a source, and the best of the others."""

    cv: Estimate
    photos: int
    complete: bool
    best: str
    """The best complete other source, "" when there is none."""
    best_cv: Estimate | None


def own_score(project: Project, name: str) -> OwnScore | None:
    """Return the CV RMSE of a source that has OOF predictions, else None.

    Raises:
        KitError: there are no folds, or some source cannot be read.
    """
    scores = score_sources(project, metric=RMSE)
    own = next((one for one in scores if one.name == name), None)
    if own is None or own.score is None:
        return None
    others = [one for one in scores if one.complete and one.name != name and one.score is not None]
    best = min(others, key=lambda one: one.score.value if one.score else np.inf, default=None)
    return OwnScore(own.score, own.photos, own.complete, best.name if best else "", best.score if best else None)


def doubts_about_score(name: str, score: OwnScore) -> list[str]:
    """Return whether OOF predictions are too good to be OOF."""
    cv = score.cv.value
    if cv < NEAR_TRUTH:
        return [f"{name}: a CV RMSE of {cv:.4f} is as good as the truth itself. Did its models see these photos?"]
    if score.best_cv is not None and cv < 0.5 * score.best_cv.value:
        return [
            f"{name}: its CV RMSE of {cv:.4f} is less than half of {score.best_cv.value:.4f}, the best other source's "
            f"({score.best}). Did its models see these photos?"
        ]
    return []
