"""The ways to find blend weights that `blend.py` compares. `blend_child.py` measures them.

Every contender gets the same values of the same photos and gives weights (and an intercept). The others get arrays in
score space; kit reads its float16 files, so its calls hold the whole way from the page cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Options:
    """What may be chosen."""

    trials: int
    """Of Optuna."""
    steps: int
    """Of the plain hill climb."""


@dataclass(frozen=True)
class Found:
    """What a contender gives."""

    weights: np.ndarray
    intercept: float = 0.0
    note: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of its parts."""
    test_sse: Callable[[], np.ndarray] | None = None
    """Where weights alone do not say what it predicts: `(photos,)` squared errors on the held-out photos."""


@dataclass(frozen=True)
class Contender:
    """One way to find weights."""

    label: str
    imports: tuple[str, ...]
    prepare: Callable[[Path], Any]
    run: Callable[[Any, Options], Found]
    package: str = ""
    """The distribution that it needs beyond kit's own."""


def rmse(truth: np.ndarray, values: np.ndarray) -> float:
    """Plain numpy; scikit-learn's checks its arguments too, which takes as long again."""
    error = np.asarray(values) - np.asarray(truth)
    return float(np.sqrt(np.mean(np.square(error, out=error))))


def by_member(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """`(K, N)` and `(N,)`: a member's values lie together."""
    return np.load(folder / "oof-x.npy"), np.load(folder / "oof-y.npy")


def by_value(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """`(N, K)` and `(N,)`: what `np.column_stack` and scikit-learn's users make."""
    return np.ascontiguousarray(np.load(folder / "oof-x.npy", mmap_mode="r").T), np.load(folder / "oof-y.npy")


def frame(folder: Path) -> tuple[Any, np.ndarray]:
    """A DataFrame with a column for each member."""
    import pandas as pd

    x, y = by_member(folder)
    return pd.DataFrame(x.T, columns=[f"m{k}" for k in range(len(x))], copy=False), y


def workspace(folder: Path) -> Any:
    """The stores, opened; no value is read."""
    from blend_data import opened

    from kit.core.workspace import Workspace

    return opened(Workspace(folder))


def kit_weights(data: Any, _: Options) -> Found:
    """One streaming pass, weights on the simplex, and their scores nested by fold."""
    from kit.blending import residual_gram
    from kit.blending.evaluation.intervals import pooled
    from kit.blending.weights.solvers import simplex

    marks = [time.perf_counter()]
    gram = residual_gram(data.project.index.train, data.project.pack, data.predictions)
    marks.append(time.perf_counter())
    fold = data.project.folds.fold[gram.photos]
    by_fold = [pooled(gram, fold == number) for number in np.unique(fold)]
    G = np.sum(by_fold, axis=0)
    marks.append(time.perf_counter())
    weights = simplex(G)
    marks.append(time.perf_counter())
    nested = [(simplex(G - one), one) for one in by_fold]
    score = np.sqrt(sum(w @ one @ w for w, one in nested) / gram.counts.sum())
    marks.append(time.perf_counter())
    parts = dict(zip(("Gram pass", "sums by fold", "simplex on the Gram", "nested"), np.diff(marks), strict=True))
    return Found(weights, note=f"nested CV {score:.7f}", seconds=parts)


def kit_blend(data: Any, _: Options) -> Found:
    """`kit blend` as it is typed, without a Gram in the cache: every rung nested, gates, intervals, a file."""
    from kit.blending import blend_test_values, make_blend

    for gram in (data.project.workspace.blends / ".cache").glob("*"):
        gram.unlink()
    blend = make_blend(data.project)

    answers = data.project.workspace.root / "test-y.npy"

    def test_sse() -> np.ndarray:
        from kit.competitions import to_score_space

        truth = np.load(answers)
        predicted = blend_test_values(data.project, blend)
        scored = [
            to_score_space(v, e).ravel() for v, e in zip(predicted, data.project.pack.test_estimated_range, strict=True)
        ]
        return ((np.array(scored) - truth.reshape(len(scored), -1)) ** 2).sum(axis=1)

    weights = np.array([member.weight for member in blend.members])
    note = f"{blend.rung}, nested CV {blend.cv.value:.7f}"
    return Found(weights, note=note, test_sse=test_sse if answers.exists() else None)


def hillclimbers(metric: str) -> Callable[[Any, Options], Found]:
    """`hillclimbers.climb_hill` with its defaults: precision 0.01, no negative weights."""

    def run(data: tuple[Any, np.ndarray], _: Options) -> Found:
        import pandas as pd
        from hillclimbers import climb_hill, partial

        oof, y = data
        # it gives test predictions and keeps the weights to itself: those of unit vectors are the weights
        units = pd.DataFrame(np.eye(oof.shape[1]), columns=oof.columns)
        weights = climb_hill(
            train=pd.DataFrame({"y": y}, copy=False),
            oof_pred_df=oof,
            test_pred_df=units,
            target="y",
            objective="minimize",
            eval_metric=partial(_metric(metric)),
            plot_hill=False,
        )
        return Found(np.asarray(weights))

    return run


def hill_climbing(metric: str) -> Callable[[Any, Options], Found]:
    """`hill_climbing.Climber` as in its README: precision 0.01, a process for each core."""

    def run(data: tuple[Any, np.ndarray], _: Options) -> Found:
        from hill_climbing import Climber

        oof, y = data
        climber = Climber(objective="minimize", eval_metric=_metric(metric))
        climber.fit(oof, y)
        weights = dict(zip(climber.history["model"], climber.history["coef"], strict=True))
        return Found(np.array([weights.get(name, 0.0) for name in oof.columns]))

    return run


def _metric(name: str) -> Callable[..., float]:
    if name == "numpy":
        return rmse
    from sklearn.metrics import root_mean_squared_error

    return root_mean_squared_error


def linear_regression(intercept: bool) -> Callable[[Any, Options], Found]:
    """scikit-learn's non-negative least squares; its weights need not sum to one."""

    def run(data: tuple[np.ndarray, np.ndarray], _: Options) -> Found:
        from sklearn.linear_model import LinearRegression

        model = LinearRegression(positive=True, fit_intercept=intercept).fit(*data)
        return Found(model.coef_, float(model.intercept_), f"sum {model.coef_.sum():.4f}")

    return run


def slsqp(data: tuple[np.ndarray, np.ndarray], _: Options) -> Found:
    """The weights of many notebooks: RMSE over the pixels, from equal weights, with scipy's own tolerance."""
    from scipy.optimize import minimize

    x, y = data
    K = x.shape[1]
    result = minimize(
        lambda weights: rmse(y, x @ weights),
        np.full(K, 1.0 / K),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * K,
        constraints={"type": "eq", "fun": lambda weights: 1.0 - weights.sum()},
    )
    return Found(result.x, note=f"{result.nfev} evaluations")


def optuna_tpe(data: tuple[np.ndarray, np.ndarray], options: Options) -> Found:
    """Weights in [0, 1] by TPE, divided by their sum."""
    import optuna

    x, y = data
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def normalised(raw: list[float]) -> np.ndarray:
        return np.array(raw) / max(sum(raw), 1e-12)

    def objective(trial: Any) -> float:
        return rmse(y, x @ normalised([trial.suggest_float(f"w{k}", 0.0, 1.0) for k in range(x.shape[1])]))

    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=options.trials)
    best = normalised([study.best_params[f"w{k}"] for k in range(x.shape[1])])
    return Found(best, note=f"{options.trials} trials")


def caruana(data: tuple[np.ndarray, np.ndarray], options: Options) -> Found:
    """Greedy selection with replacement (Caruana et al. 2004) on the pixels, and the best prefix of it."""
    x, y = data
    total, taken = np.zeros_like(y), np.zeros(len(x))
    best, weights = np.inf, taken
    for step in range(1, options.steps + 1):
        errors = [rmse(y, (total + member) / step) for member in x]
        pick = int(np.argmin(errors))
        total += x[pick]
        taken[pick] += 1.0
        if errors[pick] < best:
            best, weights = errors[pick], taken / step
    return Found(weights, note=f"{options.steps} steps")


def loaded_gram(data: tuple[np.ndarray, np.ndarray], _: Options) -> Found:
    """kit's idea without kit's files: one Gram of the whole array by BLAS, and the same solver."""
    from kit.blending.weights.solvers import simplex

    x, y = data
    residuals = x - y
    return Found(simplex(residuals @ residuals.T))


_KIT = ("kit.blending", "kit.blending.grams.kernel")
CONTENDERS = {
    "kit": Contender("kit: weights", _KIT, workspace, kit_weights),
    "kit-blend": Contender("all of `kit blend`", _KIT, workspace, kit_blend),
    "hillclimbers": Contender(
        "hillclimbers", ("hillclimbers", "sklearn.metrics"), frame, hillclimbers("sklearn"), "hillclimbers"
    ),
    "hillclimbers-numpy": Contender(
        "hillclimbers, numpy RMSE", ("hillclimbers",), frame, hillclimbers("numpy"), "hillclimbers"
    ),
    "hill-climbing": Contender(
        "hill-climbing", ("hill_climbing", "sklearn.metrics"), frame, hill_climbing("sklearn"), "hill-climbing"
    ),
    "hill-climbing-numpy": Contender(
        "hill-climbing, numpy RMSE", ("hill_climbing",), frame, hill_climbing("numpy"), "hill-climbing"
    ),
    "caruana": Contender("plain numpy hill climb", (), by_member, caruana),
    "linear": Contender("LinearRegression(positive)", ("sklearn.linear_model",), by_value, linear_regression(False)),
    "linear-intercept": Contender(
        "the same with intercept", ("sklearn.linear_model",), by_value, linear_regression(True)
    ),
    "slsqp": Contender("SLSQP on pixels", ("scipy.optimize",), by_value, slsqp),
    "optuna": Contender("Optuna TPE", ("optuna",), by_value, optuna_tpe, "optuna"),
    "loaded-gram": Contender("Gram of loaded arrays", ("kit.blending.weights.solvers",), by_member, loaded_gram),
}
