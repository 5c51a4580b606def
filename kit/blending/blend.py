"""Blends on disk: made, written, read and applied. Knows the stores; prints nothing.

`blends/<name>.json` says all there is to say: members and the digests of their predictions, weights, scores with
intervals, what leaving each member out costs. The same inputs give the same name and the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kit.blending.cache import cached_gram
from kit.blending.fit import Blend, MemberRow, RungRow, fit_blend
from kit.blending.scores import complete_sources
from kit.errors import DamagedStore, Mismatch, MissingStep, UnknownName, UsageError
from kit.folds import Folds
from kit.index import Index
from kit.metrics import Estimate
from kit.pack import Pack
from kit.predictions import Predictions, list_sources, read_predictions
from kit.storage import read_json, write_json
from kit.workspace import PredictionSplit, Workspace, checked_name


def make_blend(
    workspace: Workspace,
    index: Index,
    folds: Folds,
    pack: Pack,
    sources: Sequence[str] | None = None,
    *,
    name: str | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> Blend:
    """Blend these sources, by default every complete one, and write `blends/<name>.json`.

    Raises:
        UsageError: a source named twice, a name that cannot be a file's, photos in one fold or group.
        UnknownName: no such source.
        MissingStep: a source lacks folds or test predictions; or there is no complete source at all.
        Mismatch: predictions for another index or other folds.
        PredictionsError: a value is not finite.
    """
    if name is not None:
        checked_name("The blend", name)
        if name in list_sources(workspace):  # what is uploaded or shown by that name would be the source
            raise UsageError(f"{name} is the name of a source. Choose another one with --name.")
    chosen = _chosen(workspace, index, folds, sources)
    for source in chosen:  # before the long pass
        read_predictions(workspace, index, folds, source, "oof")
    tests = [read_predictions(workspace, index, folds, source, "test") for source in chosen]
    gram = cached_gram(workspace, index, folds, pack, chosen, workers=workers)
    blend = fit_blend(
        gram,
        folds,
        competition=workspace.slug,
        index=index.digest,
        test_digests=[test.digest for test in tests],
        name=name,
        seed=seed,
    )
    write_json(workspace.blend(blend.name), blend)
    return blend


def _chosen(workspace: Workspace, index: Index, folds: Folds, sources: Sequence[str] | None) -> list[str]:
    """The members by name: their order is not part of a blend."""
    if sources:
        twice = sorted({source for source in sources if list(sources).count(source) > 1})
        if twice:
            raise UsageError(f"{', '.join(twice)} is named twice: name each source once.")
        return sorted(sources)
    complete = complete_sources(workspace, index, folds)
    if not complete:
        raise MissingStep("There is no source with all OOF and test predictions. Run: kit fill all")
    return complete


def read_blend(workspace: Workspace, name: str | None = None) -> Blend:
    """Read one blend, by default the newest of this competition.

    Raises:
        MissingStep: there is none.
        UnknownName: there is none of that name.
        Mismatch: it is another competition's.
        DamagedStore: the file is not a blend.
    """
    paths = sorted(workspace.blends.glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    if name is not None:
        path = workspace.blend(name)
        if path not in paths:
            raise UnknownName("blend", name, [other.stem for other in paths])
        blend = _parse(path)
        if blend.competition != workspace.slug:
            raise Mismatch(f"{path} is a blend for {blend.competition}. Add: --competition {blend.competition}")
        return blend
    for path in paths:
        blend = _parse(path)
        if blend.competition == workspace.slug:
            return blend
    raise MissingStep(f"There is no blend for {workspace.slug} in {workspace.blends}. Run: kit blend")


def _parse(path: Path) -> Blend:
    fields = read_json(path, made_by="kit blend")
    try:
        blend = Blend(
            **{
                **fields,
                **{key: _estimate(fields[key]) for key in ("cv", "best_single_cv", "gain")},
                "members": tuple(
                    MemberRow(
                        **{**row, "cv": _estimate(row["cv"]), "without": row["without"] and _estimate(row["without"])}
                    )
                    for row in fields["members"]
                ),
                "correlation": tuple(map(tuple, fields["correlation"])),
                "ladder": tuple(RungRow(row["rung"], _estimate(row["cv"])) for row in fields["ladder"]),
                "trajectory": tuple((source, error) for source, error in fields["trajectory"]),
            }
        )
        weights = np.array([row.weight for row in blend.members], np.float64)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and abs(weights.sum() - 1) < 1e-6):
            raise ValueError(f"weights {weights.tolist()} are not positive shares of one")
        return blend
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStore(
            f"{path} is not a blend that kit wrote ({error!r}). Delete it, then run: kit blend"
        ) from None


def _estimate(fields: dict[str, Any]) -> Estimate:
    return Estimate(float(fields["value"]), float(fields["low"]), float(fields["high"]))


def blend_test_values(workspace: Workspace, index: Index, folds: Folds, blend: Blend) -> Iterator[np.ndarray]:
    """The blend of each test photo in order, `(n, 3)` float32 RGB in [0, 1] in the order of its scored pixels.

    Weighted in pixel space, which is the same as in score space: all members share the photo's extremes, and the
    weights sum to one. Streams; the checks are made at once, before the first photo is asked for.

    Raises:
        Mismatch: index, folds or a member's predictions are not those of the blend.
        PredictionsError: a value is not finite.
    """
    for what, mine, here in (("index", blend.index, index.digest), ("folds", blend.folds, folds.digest)):
        if mine != here:
            raise Mismatch(f"Blend {blend.name} was made with another {what} ({mine}, here {here}). Run: kit blend")
    weighted = [row for row in blend.members if row.weight != 0.0]  # the others may be gone
    tests = []
    for row in weighted:
        _checked(workspace, index, folds, blend, row, "oof")
        tests.append(_checked(workspace, index, folds, blend, row, "test"))
    return _weighted(tests, [row.weight for row in weighted], len(index.test))


def _checked(
    workspace: Workspace, index: Index, folds: Folds, blend: Blend, row: MemberRow, split: PredictionSplit
) -> Predictions:
    predictions = read_predictions(workspace, index, folds, row.name, split)
    expected = row.oof if split == "oof" else row.test
    if predictions.digest != expected:
        raise Mismatch(
            f"The {split} predictions of {row.name} have changed since blend {blend.name} was made "
            f"({expected}, now {predictions.digest}). Run: kit blend"
        )
    return predictions


def _weighted(tests: list[Predictions], weights: list[float], photos: int) -> Iterator[np.ndarray]:
    for photo in range(photos):
        yield _sum(tests, weights, photo)


def _sum(members: list[Predictions], weights: list[float], photo: int) -> np.ndarray:
    total = members[0].values(photo) * np.float64(weights[0])
    for member, weight in zip(members[1:], weights[1:], strict=True):
        total += member.values(photo) * np.float64(weight)
    return total.astype(np.float32)
