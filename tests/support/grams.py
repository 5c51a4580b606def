"""Residual Grams made of chosen residuals, and stored values changed by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.candidates import Designs
from kit.blending.weights.features import PhotoFeatures

REGIONS = 15


def residuals(rng: np.random.Generator, P: int = 40, K: int = 3, n: int = 8, R: int = REGIONS) -> np.ndarray:
    """`(P, R, K, n)`: members that share a part, and differ by photo and by value."""
    shared = rng.normal(0, 0.1, (P, R, 1, n))
    own = rng.normal(0, 0.1, (P, R, K, n)) * np.linspace(0.6, 1.2, K)[:, None]
    return shared + rng.normal(0, 0.03, (P, 1, K, 1)) + own


def gram_of(z: np.ndarray) -> ResidualGram:
    P, R, K, n = z.shape
    names = tuple(f"m{k}" for k in range(K))
    return ResidualGram(names, names, np.arange(P), z @ z.transpose(0, 1, 3, 2), z.sum(axis=3), np.full((P, R), n))


def features_of(P: int, seed: int = 0) -> PhotoFeatures:
    rng = np.random.default_rng(seed)
    return PhotoFeatures(tuple(rng.choice(["Cat", "Dog", ""], P)), rng.integers(80, 120, P), rng.gamma(10, 0.02, P))


def designs_of(gram: ResidualGram, fold: np.ndarray, features: PhotoFeatures | None = None) -> Designs:
    return Designs(gram, features or features_of(len(gram)), fold)


def mixed_errors(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Squared error of each photo on the values themselves; weights and intercept `(P, R, K + 1)`."""
    blended = np.einsum("prk,prkn->prn", weights[..., :-1], z) + weights[..., -1:]
    return (blended**2).sum(axis=(1, 2))


def poke(path: Path, row: int, value: float) -> None:
    array = np.load(path, mmap_mode="r+")
    array[row, 1] = value
    array.flush()
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))  # clocks of file systems can be coarse


def slsqp_on_pixels(z: np.ndarray) -> np.ndarray:
    """Simplex weights found on the pixels by scipy, starting from equal weights."""
    K, n = z.shape
    found = minimize(
        lambda w: float(((w @ z) ** 2).mean()),
        np.full(K, 1.0 / K),
        jac=lambda w: 2.0 * (z @ (w @ z)) / n,
        bounds=[(0.0, 1.0)] * K,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": lambda w: np.ones(K)},
        method="SLSQP",
        options={"ftol": 1e-16, "maxiter": 1000},
    )
    return found.x


def kkt_violation(G: np.ndarray, weights: np.ndarray) -> float:
    """How far weights on the simplex are from optimal; 0 at a minimum of `w^T G w`, rounding errors elsewhere.

    The conditions are `(G w)_k >= w^T G w` for all k. They imply equality where `w_k > 0`, because the left side's
    average by `w` is the right side, and as the problem is convex they are sufficient. Returned is the largest
    shortfall, in units of `sqrt(G_kk min G_jj)`, the size that rounding gives it.
    """
    gradient, diagonal = G @ weights, np.diagonal(G)
    shortfall = np.maximum(float(weights @ gradient) - gradient, 0.0)
    unit = np.sqrt(diagonal * diagonal.min())
    return float(np.divide(shortfall, unit, out=shortfall, where=unit > 0).max())
