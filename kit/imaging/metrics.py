"""Scores in float64. Knows arrays only; which space they are in is the caller's business."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from kit.core.numbers import change_decimals, decimals, signed_text
from kit.errors import UnknownName
from kit.imaging.similarity import ssim


def sse(predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the sum of squared errors, float64. Same shape, any float dtype."""
    difference = predicted.astype(np.float64) - target.astype(np.float64)
    return float(np.vdot(difference, difference))


def rmse(predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the root of the mean squared error over all values."""
    return float(np.sqrt(sse(predicted, target) / predicted.size))


MOST_DECIBELS = 100.0  # of a photo that is predicted without any error


Of = Literal["squares", "absolutes", "pictures"]


@dataclass(frozen=True)
class Metric:
    """A competition's score, made of its photos' own parts."""

    name: str
    label: str
    higher_is_better: bool = False
    by_photo: bool = False
    """Whether it is the mean of the photos' own scores, and not one score of all values."""
    of: Of = "squares"
    """What it is made of: squared errors, which a blend's Grams have; absolute ones, which pixels alone have; or whole
    pictures."""
    compare: Callable[[np.ndarray, np.ndarray, np.ndarray], float] | None = None
    """Of pictures: `(predicted (H, W, 3), truth (H, W, 3), hole bool (H, W))`, RGB in [0, 1], to the photo's score."""
    blends: bool = True
    """Whether sources and blends are measured by it; else a finished submission alone, by `kit grade`."""

    @property
    def is_square(self) -> bool:
        """Return whether weights of least squared errors are the best by it, exactly."""
        return self.of == "squares" and not self.by_photo

    def errors(self, difference: np.ndarray) -> float:
        """Return the sum over a photo's values, squared or as they are, that `statistics` wants."""
        flat = difference.reshape(-1).astype(np.float64)
        return float(np.abs(flat).sum() if self.of == "absolutes" else np.vdot(flat, flat))

    def statistics(self, errors: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what each photo adds above and below the line of the score, two of `(P,)` float64.

        Args:
            errors: `(P,)` squared errors in score space, or absolute ones, or the photos' scores by `compare`.
            counts: `(P,)` values behind each.
        """
        if not self.by_photo:
            return errors, counts.astype(np.float64)
        hides = (counts > 0).astype(np.float64)  # a photo that hides nothing has no score
        return (decibels(errors, counts) if self.of == "squares" else errors) * hides, hides

    def value(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """Return the score of sums of `statistics`."""
        mean = above / np.maximum(below, 1)  # photos that were drawn may hide nothing
        return np.asarray(np.sqrt(mean) if self.name == "rmse" else mean)

    def gain(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return by how much the second score is better: above 0 it is."""
        return np.asarray(after - before if self.higher_is_better else before - after)

    def is_better(self, first: float, second: float) -> bool:
        """Return whether the first score is better than the second."""
        return float(self.gain(np.asarray(second), np.asarray(first))) > 0

    @property
    def least(self) -> float:
        """Return the lowest value that it can have."""
        return -np.inf if self.higher_is_better else 0.0

    @property
    def most(self) -> float:
        """Return the highest value that it can have."""
        return {"ssim": 1.0, "psnr": MOST_DECIBELS}.get(self.name, np.inf)


def decibels(sse: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio of each photo, `(P,)`, at most `MOST_DECIBELS`."""
    with np.errstate(divide="ignore"):
        found: np.ndarray = np.minimum(-10.0 * np.log10(sse / np.maximum(counts, 1)), MOST_DECIBELS)
    return found


RMSE = Metric("rmse", "RMSE")
METRICS = {
    "rmse": RMSE,
    "mse": Metric("mse", "MSE"),
    "mae": Metric("mae", "MAE", of="absolutes"),
    # Huynh-Thu and Ghanbari 2008: comparable where the content is the same, so photo by photo
    "psnr": Metric("psnr", "PSNR", higher_is_better=True, by_photo=True),
    "ssim": Metric("ssim", "SSIM", higher_is_better=True, by_photo=True, of="pictures", compare=ssim),
    # its network is loaded by kit.pretrained.lpips, and is too slow to find weights by
    "lpips": Metric("lpips", "LPIPS", by_photo=True, of="pictures", blends=False),
}


def metric_named(name: str) -> Metric:
    """Return a metric. Raises `UnknownName`."""
    if name not in METRICS:
        raise UnknownName("metric", name, METRICS)
    return METRICS[name]


@dataclass(frozen=True)
class Estimate:
    """A score with an interval from resampling photos (the sample is photos, not pixels)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        places = decimals(self.value, 4)
        return f"{self.value:.{places}f} [{self.low:.{places}f}, {self.high:.{places}f}]"

    @property
    def signed(self) -> str:
        """Return it as a difference, `+0.00051 [+0.00039, +0.00062]`; what rounds to zero has no sign."""
        places = change_decimals(max(map(abs, (self.value, self.low, self.high))))
        return f"{signed_text(self.value, places)} [{signed_text(self.low, places)}, {signed_text(self.high, places)}]"


def resample_counts(groups: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return how often each photo is drawn, `(draws, N)` float64, when whole groups are drawn with replacement.

    Args:
        groups: `(N,)` int, near duplicates share a number: they come and go together.
    """
    _, inverse = np.unique(groups, return_inverse=True)
    size = int(inverse.max()) + 1
    return draw_counts(np.random.default_rng(seed), size, draws)[:, inverse]


def draw_counts(rng: np.random.Generator, size: int, draws: int) -> np.ndarray:
    """Draw `size` of `size` things with replacement, many times; return how often each came, `(draws, size)`
    float64."""
    drawn = rng.integers(0, size, (draws, size))  # and counted: twenty times faster than multinomial numbers
    drawn += size * np.arange(draws)[:, None]
    return np.bincount(drawn.reshape(-1), minlength=draws * size).reshape(draws, size).astype(np.float64)


def interval(
    value: float | np.ndarray, drawn: np.ndarray, groups: int, *, least: float = -np.inf, most: float = np.inf
) -> Estimate:
    """Return a value with the 95 % percentile interval of its bootstrap draws, widened as Student's t is for few
    groups.

    Percentiles alone are too narrow by `sqrt((n - 1) / n)` and take no account of the spread being estimated
    (Hesterberg 2015, The American Statistician 69, 371-386); at a thousand groups it makes no difference.
    """
    low, high = np.quantile(drawn, [0.025, 0.975])
    widened = student_quantile(groups - 1) / _NORMAL_QUANTILE * np.sqrt(groups / (groups - 1)) if groups > 1 else 1.0
    low, high = (float(value + (end - value) * widened) for end in (low, high))
    return Estimate(float(value), max(least, low), min(most, high))


_NORMAL_QUANTILE = 1.959963984540054


@cache
def student_quantile(freedom: int) -> float:
    """Return the 0.975 quantile of Student's t; scipy.special, which has it, takes longer to import than all the rest.

    Newton's method on the distribution function, whose integral over `atan(t / sqrt(freedom))` is Gauss and Legendre's.
    """
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    t = _NORMAL_QUANTILE
    for _ in range(30):
        angle = math.atan(t / math.sqrt(freedom))
        below = 0.5 + scale * angle / 2 * float(weights @ np.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))
        density = scale / math.sqrt(freedom) * math.cos(angle) ** (freedom + 1)
        t += (0.975 - below) / density
    return t


def score_by_photo(
    errors_per_photo: np.ndarray,
    count_per_photo: np.ndarray,
    groups: np.ndarray,
    *,
    metric: Metric = RMSE,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return the score and its 95 % percentile bootstrap interval over photos.

    Args:
        errors_per_photo: `(N,)` float64, as `Metric.statistics` takes them.
        count_per_photo: `(N,)`, values behind each sum.
        groups: `(N,)` int, see `resample_counts`.
    """
    above, below = metric.statistics(errors_per_photo, count_per_photo)
    value = float(metric.value(above.sum(), below.sum()))
    counts = resample_counts(groups, draws, seed)
    scores = metric.value(counts @ above, counts @ below)
    return interval(value, scores, len(np.unique(groups)), least=metric.least, most=metric.most)
