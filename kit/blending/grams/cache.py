"""Grams on disk: read again when nothing has changed, and extended when a member has come. Prints nothing."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kit.blending.grams.residual_gram import ResidualGram, residual_gram
from kit.core.storage import digest_bytes, digest_of, sweep, to_json, writing
from kit.data.predictions import Predictions
from kit.data.project import Project
from kit.errors import KitError

GRAM_VERSION = 4  # part of every cache key: raise it when the numbers change
CACHE_BYTES = 1 << 30  # Grams kept on disk; the oldest go first
# what a file that kit did not write, or not to its end, makes numpy and json raise
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
_ARRAYS = ("photos", "by_region", "region_sums", "region_counts")


class Member(NamedTuple):
    """What names a member's very values; the files' times make a file changed by hand another one."""

    source: str
    digest: str
    files: tuple[tuple[str, int, int], ...]
    """Name, bytes and time of change in nanoseconds of each."""

    @classmethod
    def of(cls, one: Predictions) -> Member:
        """Name these predictions."""
        files = [(part.path.name, part.path.stat()) for part in one.parts]
        return cls(one.source, one.digest, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in files))


def cached_gram(
    project: Project, sources: Sequence[str], *, partial: bool = False, workers: int | None = None
) -> ResidualGram:
    """Return the Gram of these sources' OOF predictions, from disk when this very one has been made before.

    When one of some of them is there, one pass makes only the products with the others.

    Raises:
        KitError: see `PredictionStore.read` and `residual_gram`.
    """
    predictions = [project.predictions.read(source, "oof", partial=partial) for source in sources]
    folder, base = project.workspace.blends / ".cache", cache_base(project)
    wanted = [Member.of(one) for one in predictions]
    path = folder / f"{digest_of([base, wanted])}.npz"
    found = _read(path, wanted)
    if found is not None:
        return found
    known = _best_part(folder, base, wanted)
    if known is None:
        gram = residual_gram(project.index.train, project.pack, predictions, workers=workers)
    else:
        order = [wanted.index(one) for one in known[0]]
        order += [k for k in range(len(wanted)) if k not in order]
        gram = residual_gram(
            project.index.train, project.pack, [predictions[k] for k in order], known=known[1], workers=workers
        )
        gram = gram.of_members(np.argsort(order).tolist())
    with contextlib.suppress(OSError, KitError):  # a full disk, a workspace that is only read: it works without
        _write(path, gram, base, wanted)
    return gram


def cache_base(project: Project) -> str:
    """Name what all members share: photos, folds and value ranges."""
    arrays = (project.pack.train_value_range, project.pack.train_estimated_range)
    value_ranges = [digest_bytes(np.ascontiguousarray(array).tobytes()) for array in arrays]
    return digest_of([GRAM_VERSION, project.index.digest, project.folds.digest, value_ranges])


def _read(path: Path, wanted: list[Member]) -> ResidualGram | None:
    """Return the cached Gram, or None when there is none or it is damaged: a cache is never worth an error."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if _members_in(json.loads(str(stored["header"]))) != wanted:
                return None
            photos, products, sums, counts = (stored[name] for name in _ARRAYS)
    except _DAMAGE:
        return None
    P, K, R = len(photos), len(wanted), counts.shape[-1]
    if products.shape != (P, R, K, K) or sums.shape != (P, R, K) or counts.shape != (P, R):
        return None
    names, digests = tuple(one.source for one in wanted), tuple(one.digest for one in wanted)
    return ResidualGram(names, digests, photos, products, sums, counts)


def _best_part(folder: Path, base: str, wanted: list[Member]) -> tuple[list[Member], ResidualGram] | None:
    """Return the Gram of as many of these members as there is one for; at least two, or no product is saved."""
    best: tuple[list[Member], Path] | None = None
    for path in sorted(folder.glob("*.npz")):
        members = _members_of(path, base)
        if len(members) >= max(2, len(best[0]) + 1 if best else 0) and all(one in wanted for one in members):
            best = members, path
    if best is None:
        return None
    gram = _read(best[1], best[0])
    return None if gram is None else (best[0], gram)


def _members_in(header: dict[str, Any]) -> list[Member]:
    """Return the members in a file's header, where JSON has made lists of the tuples."""
    return [
        Member(source, digest, tuple((name, size, time) for name, size, time in files))
        for source, digest, files in header["members"]
    ]


def _members_of(path: Path, base: str) -> list[Member]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
        return _members_in(header) if header["base"] == base else []
    except _DAMAGE:
        return []


def _write(path: Path, gram: ResidualGram, base: str, members: list[Member]) -> None:
    sweep(path.parent)
    header = np.array(to_json({"base": base, "members": members}))
    with writing(path) as file:
        np.savez(file, header=header, **{name: getattr(gram, name) for name in _ARRAYS})
    kept = 0
    for other in sorted(path.parent.glob("*.np[yz]"), key=lambda other: (other != path, -other.stat().st_mtime_ns)):
        kept += other.stat().st_size
        if kept > CACHE_BYTES and other != path:
            other.unlink(missing_ok=True)
