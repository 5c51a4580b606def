"""Cached samples measured on training photos: the m-curve, and what each prompt is worth. Knows the stores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kit.competitions import to_score_space
from kit.core.progress import track
from kit.data.project import Project
from kit.errors import UsageError
from kit.imaging.holes import cut_boxes
from kit.imaging.metrics import Estimate, score_by_photo
from kit.pretrained.diffusion.curve import Curve, pair_terms
from kit.pretrained.diffusion.samples import Samples, templates_in


@dataclass(frozen=True)
class CurveReport:
    """Samples against the truth, in score space, value ranges estimated as they are for test photos."""

    curve: Curve
    prompts: dict[str, Estimate]
    """RMSE of a single sample of each template."""


def measure_samples(project: Project, samples: Samples) -> CurveReport:
    """Read every sample of the training photos once.

    Raises:
        UsageError: fewer than two samples of each photo.
    """
    if len(samples.specs) < 2:
        raise UsageError(
            f"A curve takes two samples of each photo, and the cache has {len(samples.specs)} of all of them. "
            "Draw more: kit sd run --samples 2"
        )
    places, templates = samples.photos.positions("oof"), templates_in(samples.specs)
    which = np.array([templates.index(spec.template) for spec in samples.specs])
    terms, squares = np.zeros((len(places), 2)), np.zeros((len(places), len(templates)))
    for row, place in enumerate(track(places, "Measuring samples", len(places), "photos")):
        predicted = to_score_space(samples.values("oof", place), project.pack.train_estimated_range[place])
        errors = predicted - truth_of(project, place)
        terms[row] = pair_terms(errors)
        each = np.einsum("mnc,mnc->m", errors, errors)
        squares[row] = [each[which == number].mean() for number in range(len(templates))]
    counts = np.array([3 * project.index.train[place].scored for place in places])
    folds = project.folds_if_any
    groups = np.arange(len(places)) if folds is None else folds.group[places]
    prompts = {template: score_by_photo(squares[:, place], counts, groups) for place, template in enumerate(templates)}
    return CurveReport(Curve(len(samples.specs), len(places), terms[:, 0], terms[:, 1], counts, groups), prompts)


def truth_of(project: Project, place: int) -> np.ndarray:
    """Return the scored pixels of a training photo, `(n, 3)` float64 in score space."""
    photo_row, pack = project.index.train[place], project.pack
    truth = cut_boxes(np.asarray(pack.train_target[place]), photo_row.boxes) / 255.0
    return to_score_space(truth, pack.train_value_range[place])
