"""Residual Grams: all that a squared-error blend needs to know of the pixels. Knows sources, photos and score space.

For photo i and members 1..K the residuals in score space are `z_k = s_i(p_k) - y_i`, where `s_i` scales by the extremes
estimated from the known pixels, which is all that a test photo gives, and `y_i` is the truth by the true extremes: the
error of the extremes is part of the score here as on the leaderboard. Then `G_i[k, l] = z_k . z_l`, and for weights
that sum to one the squared error of the blend on any set of photos is `w^T (sum_i G_i) w`, exactly.

One pass over the pixels makes the Grams of all photos. Photos are independent, each is summed in an order that depends
on K and its size alone, and pooled in index order: any number of workers gives the same bits.
"""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.competitions import to_score_space
from kit.errors import UsageError
from kit.folds import Folds
from kit.holes import Box
from kit.index import Index
from kit.pack import Pack
from kit.predictions import Predictions, read_predictions
from kit.progress import progress
from kit.reading import Rows, is_finite
from kit.storage import digest_bytes, digest_of, sweep, writing
from kit.workspace import Workspace

GRAM_VERSION = 1  # part of every cache key: raise it when the numbers change
CHUNK = 16  # photos a worker takes at a time
CACHE_BYTES = 1 << 30  # Grams kept on disk; the oldest go first


@dataclass(frozen=True)
class ResidualGram:
    """Residual products of K members, photo by photo."""

    members: tuple[str, ...]
    digests: tuple[str, ...]
    """Of each member's OOF values."""
    photos: np.ndarray
    """`(P,)` int, positions in the index's training photos, ascending."""
    products: np.ndarray
    """`(P, K, K)` float64."""
    sums: np.ndarray
    """`(P, K)` float64, sums of residuals: for an intercept, and for correlations about the mean."""
    counts: np.ndarray
    """`(P,)` int, values (three a scored pixel)."""

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def sse(self) -> np.ndarray:
        """`(P, K)` float64, each member's squared error on each photo."""
        return np.ascontiguousarray(np.diagonal(self.products, axis1=1, axis2=2))

    def of(self, member: str) -> int:
        """The member's column."""
        return self.members.index(member)

    def on(self, photos: np.ndarray) -> ResidualGram:
        """The rows of these photos (positions in the index), which must be covered."""
        at = np.searchsorted(self.photos, photos)
        return ResidualGram(self.members, self.digests, photos, self.products[at], self.sums[at], self.counts[at])


def residual_gram(
    index: Index,
    pack: Pack,
    predictions: Sequence[Predictions],
    *,
    workers: int | None = None,
    chunk: int = CHUNK,
) -> ResidualGram:
    """Make the Grams of the photos that all these OOF predictions cover, in one streaming pass.

    Memory: one photo's residuals for each worker, and the Grams; it does not grow with the pixels.

    Args:
        workers: threads, by default one for each core; the result does not depend on it.
        chunk: photos a worker takes at a time; the result does not depend on it.

    Raises:
        UsageError: no predictions, or no photo that all of them cover.
        PredictionsError: a value is not finite; names the file and the command that makes it again.
    """
    if not predictions:
        raise UsageError("There is nothing to score: name at least one source. See what there is: kit sources")
    photos = _common_photos(predictions)
    if not len(photos):
        names = ", ".join(one.source for one in predictions)
        raise UsageError(f"No photo is predicted by all of {names}. See which folds are there: kit sources")
    K = len(predictions)
    counts = np.array([3 * index.train[photo].scored for photo in photos], np.int64)
    products, sums = np.empty((len(photos), K, K)), np.empty((len(photos), K))
    starts = range(0, len(photos), max(1, chunk))
    members = [one.opened() for one in predictions]
    with progress("Residuals", len(photos), "photos") as bar:
        target = Rows(pack.train_target)

        local = threading.local()

        def work(start: int) -> int:
            if not hasattr(local, "scratch"):
                local.scratch = _Scratch(K, int(counts.max()), pack.train_target.shape[1:])
            stop = min(start + max(1, chunk), len(photos))
            for row in range(start, stop):
                z = _residuals(index, pack, members, target, int(photos[row]), local.scratch)
                products[row], sums[row] = _products(z), z.sum(axis=1)
            return stop - start

        pool = ThreadPoolExecutor(workers or _cores())  # reads, ufuncs and GEMM all release the GIL
        try:
            for done in pool.map(work, starts):
                bar.update(done)
        finally:
            pool.shutdown(cancel_futures=True)
            target.close()
    return ResidualGram(
        tuple(one.source for one in predictions),
        tuple(one.digest for one in predictions),
        photos,
        products,
        sums,
        counts,
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _common_photos(predictions: Sequence[Predictions]) -> np.ndarray:
    common = predictions[0].photos
    for one in predictions[1:]:
        common = np.intersect1d(common, one.photos, assume_unique=True)
    return common


class _Scratch:
    """Buffers of one worker for one photo after another."""

    def __init__(self, K: int, values: int, photo: tuple[int, ...]) -> None:
        block = _block(K)
        padded = -(-values // block) * block
        self.raw = np.empty(values, np.float16)
        self.z = np.empty((K, padded))
        self.target = np.empty((1, *photo), np.uint8)


def _block(K: int) -> int:
    """Columns in one GEMM: a function of K alone, and so small that BLAS stays on the thread that calls it."""
    return 1 << min(10, max(6, (32768 // (K * K)).bit_length() - 1))


def _residuals(
    index: Index, pack: Pack, members: list[Predictions], target: Rows, photo: int, scratch: _Scratch
) -> np.ndarray:
    """Residuals in score space, `(K, padded)` float64 inside `scratch`, zero behind the photo's values."""
    truth = _scored_values(target.read(photo, scratch.target)[0], index.train[photo].boxes)
    count, block = len(truth), _block(len(members))
    # s(p) = p * scale + shift, so z = p * scale - (y - shift); a table has y - shift for each of the 256 bytes
    shift = to_score_space(np.zeros(3), pack.train_estimated[photo])
    scale = _repeated(to_score_space(np.ones(3), pack.train_estimated[photo]) - shift, count)
    table = to_score_space(np.repeat(np.arange(256.0)[:, None] / 255.0, 3, axis=1), pack.train_extremes[photo]) - shift
    offset = table.reshape(-1)[3 * truth.astype(np.int64) + _repeated(np.arange(3), count)]
    z = scratch.z[:, : -(-count // block) * block]
    z[:, count:] = 0.0
    raw = scratch.raw[:count]
    for member, residual in zip(members, z, strict=True):
        member.raw(photo, 0, raw.reshape(-1, 3))
        if not is_finite(raw):
            raise member.not_finite(photo)
        values = residual[:count]
        np.copyto(values, raw)
        values *= scale
        values -= offset
    return z


def _scored_values(photo: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """`photo[scored_pixels(boxes)].reshape(-1)`, by slices: a tenth of the time."""
    parts = [photo[box.row : box.row + box.height, box.col : box.col + box.width].reshape(-1) for box in boxes]
    return np.concatenate(parts)


def _repeated(channels: np.ndarray, count: int) -> np.ndarray:
    """`np.tile(channels, count / 3)`, faster by copying long stretches."""
    return np.resize(np.tile(channels, 256), count)


def _products(z: np.ndarray) -> np.ndarray:
    """`z z^T` as a sum of block products in their order."""
    K = len(z)
    blocks = z.reshape(K, -1, _block(K)).transpose(1, 0, 2)
    return np.matmul(blocks, blocks.transpose(0, 2, 1)).sum(axis=0)


def cached_gram(
    workspace: Workspace,
    index: Index,
    folds: Folds,
    pack: Pack,
    sources: Sequence[str],
    *,
    partial: bool = False,
    workers: int | None = None,
) -> ResidualGram:
    """The Gram of these sources' OOF predictions, from disk when this very one has been made before.

    Raises:
        KitError: see `kit.predictions.read_predictions` and `residual_gram`.
    """
    predictions = [read_predictions(workspace, index, folds, source, "oof", partial=partial) for source in sources]
    path = workspace.blends / ".cache" / f"{_key(index, folds, pack, predictions)}.npz"
    found = _read_cache(path, predictions)
    if found is not None:
        return found
    gram = residual_gram(index, pack, predictions, workers=workers)
    _write_cache(path, gram)
    return gram


def _key(index: Index, folds: Folds, pack: Pack, predictions: Sequence[Predictions]) -> str:
    """Names everything that the numbers depend on; the files' times make a file changed by hand another one."""
    files = [(part.path, part.path.stat()) for one in predictions for part in one.parts]
    return digest_of(
        {
            "version": GRAM_VERSION,
            "index": index.digest,
            "folds": folds.digest,
            "extremes": [
                digest_bytes(np.ascontiguousarray(array).tobytes())
                for array in (pack.train_extremes, pack.train_estimated)
            ],
            "members": [(one.source, one.digest) for one in predictions],
            "files": [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in files],
        }
    )


def _read_cache(path: Path, predictions: Sequence[Predictions]) -> ResidualGram | None:
    """The cached Gram, or None when there is none or it is damaged: a cache is never worth an error."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            photos, products, sums, counts = (stored[name] for name in ("photos", "products", "sums", "counts"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    P, K = len(photos), len(predictions)
    if products.shape != (P, K, K) or sums.shape != (P, K) or counts.shape != (P,):
        return None
    names, digests = tuple(one.source for one in predictions), tuple(one.digest for one in predictions)
    return ResidualGram(names, digests, photos, products, sums, counts)


def _write_cache(path: Path, gram: ResidualGram) -> None:
    sweep(path.parent)
    with writing(path) as file:
        np.savez(file, photos=gram.photos, products=gram.products, sums=gram.sums, counts=gram.counts)
    kept = 0
    for other in sorted(path.parent.glob("*.npz"), key=lambda other: (other != path, -other.stat().st_mtime_ns)):
        kept += other.stat().st_size
        if kept > CACHE_BYTES and other != path:
            other.unlink(missing_ok=True)
