"""Spectra of both splits beside each other. Knows powers by photo, and groups of near duplicates."""

from __future__ import annotations

import numpy as np

from kit.exploring.auc import is_credible
from kit.exploring.comparing import LEAST
from kit.exploring.known import frequencies
from kit.exploring.result import Spectrum, rounded, rounded_estimate
from kit.imaging.metrics import Estimate, student_quantile


def compared_spectra(spectra: np.ndarray, of_test: np.ndarray, groups: np.ndarray, tile: int) -> Spectrum | None:
    """Return mean spectra with 95 % intervals over groups; None where too few photos have room for a square.

    Args:
        spectra: `(N, tile / 2)` float64 in decibels; NaN of photos without room.
        of_test: `(N,)` bool.
        groups: `(N,)` int, near duplicates share a number.
    """
    told = np.isfinite(spectra).all(axis=1) if tile else np.zeros(len(of_test), bool)
    spectra, of_test, groups = spectra[told], of_test[told], groups[told]
    if min(len(np.unique(groups[side])) for side in (of_test, ~of_test)) < LEAST:
        return None
    sides = [_influences(spectra, side) for side in (~of_test, of_test)]
    influences = [sides[0], sides[1], (sides[1][0] - sides[0][0], sides[1][1] - sides[0][1])]
    means, errors = zip(*(_with_errors(*one, groups) for one in influences), strict=True)
    count, asked = len(np.unique(groups)), spectra.shape[1]
    estimates = [_estimates(*one, count) for one in zip(means, errors, strict=True)]
    differs = [
        bool(error > 0) and is_credible(mean / error, count, asked)
        for mean, error in zip(means[2].tolist(), errors[2].tolist(), strict=True)
    ]
    return Spectrum(
        tile=tile,
        frequency=tuple(rounded(one) for one in frequencies(tile).tolist()),
        train=estimates[0],
        test=estimates[1],
        difference=estimates[2],
        differs=tuple(differs),
        photos=(int((~of_test).sum()), int(of_test.sum())),
    )


def _influences(spectra: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean spectrum of one side, and what each photo adds to its error, `(N, n)`; 0 of the other side."""
    mean = spectra[side].mean(axis=0)
    return mean, np.where(side[:, None], spectra - mean, 0.0) / side.sum()


def _with_errors(mean: np.ndarray, influences: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a mean and its standard error, with near duplicates as one."""
    _, number = np.unique(groups, return_inverse=True)
    summed = np.zeros((int(number.max()) + 1, influences.shape[1]))
    np.add.at(summed, number, influences)
    return mean, np.sqrt(np.square(summed).sum(axis=0) * len(summed) / max(1, len(summed) - 1))


def _estimates(means: np.ndarray, errors: np.ndarray, groups: int) -> tuple[Estimate, ...]:
    half = student_quantile(max(1, groups - 1)) * errors
    return tuple(
        rounded_estimate(Estimate(*map(float, one))) for one in zip(means, means - half, means + half, strict=True)
    )
