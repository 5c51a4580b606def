"""Logistic regression with a ridge, small enough to need no package. Knows arrays alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""What is tried; features have a spread of 1, so that a penalty means the same for each."""
_STEPS = 50
_CLOSE = 1e-9  # relative gain of a step below which the fit is done


def fit(features: np.ndarray, of_test: np.ndarray, penalty: float) -> np.ndarray:
    """Return the coefficients `(d + 1,)` float64, the intercept first, which is not shrunk.

    They minimise `sum(log loss) + penalty / 2 * |w|^2`, by Newton's steps that are halved where they overshoot
    (iteratively reweighted least squares: Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning,
    section 4.4.1). The sum is convex, so the minimum is the one there is.

    Args:
        features: `(N, d)` float64.
        of_test: `(N,)` bool.
    """
    design = np.column_stack([np.ones(len(features)), features])
    ridge = np.full(design.shape[1], penalty)
    ridge[0] = 0.0
    coefficients = np.zeros(design.shape[1])
    loss = _loss(design, of_test, coefficients, ridge)
    for _ in range(_STEPS):
        chance = _sigmoid(design @ coefficients)
        slope = design.T @ (chance - of_test) + ridge * coefficients
        weight = np.maximum(chance * (1 - chance), 1e-10)
        step = np.linalg.solve(design.T @ (design * weight[:, None]) + np.diag(ridge + 1e-12), slope)
        size = 1.0
        while size > 1e-6 and (now := _loss(design, of_test, coefficients - size * step, ridge)) > loss:
            size /= 2
        if size <= 1e-6:
            break
        coefficients = coefficients - size * step
        is_done, loss = loss - now <= _CLOSE * max(1.0, abs(loss)), now
        if is_done:
            break
    return coefficients


def scores(features: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the log odds of being a test photo, `(N,)` float64."""
    found: np.ndarray = coefficients[0] + features @ coefficients[1:]
    return found


def scores_out_of_fold(features: np.ndarray, of_test: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return each photo's log odds by a model that has not seen its fold, `(N,)` float64.

    Centre, spread and penalty are found in the other folds alone.

    Args:
        features: `(N, d)` float64, of any scale; NaN where a photo does not tell.
        of_test: `(N,)` bool.
        fold: `(N,)` int.
    """
    found = np.zeros(len(features))
    for held_out in np.unique(fold):
        seen = fold != held_out
        ready, now = _standardised(features[seen], features[~seen])
        penalty = _best_penalty(ready, of_test[seen], fold[seen])
        found[~seen] = scores(now, fit(ready, of_test[seen], penalty))
    return found


def _best_penalty(features: np.ndarray, of_test: np.ndarray, fold: np.ndarray) -> float:
    """Return the penalty with the least log loss, each fold predicted by the others."""
    losses = [
        sum(_held_out_loss(features, of_test, seen, penalty) for seen in _seen(fold, of_test)) for penalty in PENALTIES
    ]
    return PENALTIES[int(np.argmin(losses))]


def _seen(fold: np.ndarray, of_test: np.ndarray) -> Iterator[np.ndarray]:
    for held_out in np.unique(fold):
        seen = fold != held_out
        if 0 < of_test[seen].sum() < seen.sum():
            yield seen


def _held_out_loss(features: np.ndarray, of_test: np.ndarray, seen: np.ndarray, penalty: float) -> float:
    odds = scores(features[~seen], fit(features[seen], of_test[seen], penalty))
    return float(np.logaddexp(0.0, np.where(of_test[~seen], -odds, odds)).sum())


def _standardised(seen: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both with mean 0 and spread 1 of the first, and their squares: a difference in spread tells, too.

    What is missing is the mean; what lies beyond five spreads is drawn in, so that one photo decides nothing.
    """
    with np.errstate(invalid="ignore"):
        there = np.isfinite(seen)
        count = np.maximum(there.sum(axis=0), 1)
        mean = np.where(there, seen, 0).sum(axis=0) / count
        spread = np.sqrt(np.where(there, (seen - mean) ** 2, 0).sum(axis=0) / count)
        spread[spread < 1e-9] = np.inf  # says nothing
        first, second = (np.clip(np.nan_to_num((one - mean) / spread), -5, 5) for one in (seen, others))
    squares = np.square(first)
    centre, width = squares.mean(axis=0), np.maximum(squares.std(axis=0), 1e-9)
    return (
        np.column_stack([first, (squares - centre) / width]),
        np.column_stack([second, np.clip((np.square(second) - centre) / width, -5, 5)]),
    )


def _sigmoid(odds: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(odds / 2)))  # overflows nowhere


def _loss(design: np.ndarray, of_test: np.ndarray, coefficients: np.ndarray, ridge: np.ndarray) -> float:
    odds = design @ coefficients
    return float(np.logaddexp(0.0, np.where(of_test, -odds, odds)).sum() + (ridge * coefficients**2).sum() / 2)
