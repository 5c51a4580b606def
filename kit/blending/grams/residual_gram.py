"""Residual Grams: all that a squared-error blend needs to know of the pixels. Knows sources, photos and score space.

For photo i, region r and members 1..K the residuals in score space are `z_k = s_i(p_k) - y_i`, where `s_i` scales by
the extremes estimated from the known pixels, which is all that a test photo gives, and `y_i` is the truth by the true
extremes: the error of the extremes is part of the score here as on the leaderboard. Then `G_ir[k, l] = z_k . z_l`, and
for weights that sum to one the squared error of the blend on any set of photos and regions is `w^T (sum G_ir) w`,
exactly. A region is a ring of pixels by their distance to the nearest known one (`kit.imaging.holes.RINGS`), in one
channel.

One pass over the pixels makes the Grams of all photos, in float64. Photos are independent, each pair of members is
summed in an order that depends on the photo's boxes alone, and photos are pooled in index order: any number of workers
gives the same bits, and so does adding a member to a Gram that is there.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kit.competitions import score_scale
from kit.core.array_reader import Rows
from kit.core.parallel import cores
from kit.core.progress import progress
from kit.data.index import Index
from kit.data.pack import Pack
from kit.data.predictions import Predictions
from kit.errors import UsageError
from kit.imaging.holes import RINGS

CHUNK = 4  # photos a worker takes at a time: of ten members they stay in the cache between reading and multiplying
REGIONS = 3 * len(RINGS)
BUFFER = 12 << 20  # bytes of predictions that a worker holds: fewer photos at a time where there are many members
LARGEST = 512 << 20  # bytes of products by region; above, a Gram knows whole photos only


@dataclass(frozen=True)
class ResidualGram:
    """Residual products of K members, photo by photo and region by region."""

    members: tuple[str, ...]
    digests: tuple[str, ...]
    """Of each member's OOF values."""
    photos: np.ndarray
    """`(P,)` int, positions in the index's training photos, ascending."""
    by_region: np.ndarray
    """`(P, R, K, K)` float64; R is `REGIONS`, region `3 * ring + channel`, or 1 where that would not fit."""
    region_sums: np.ndarray
    """`(P, R, K)` float64, sums of residuals: for an intercept, and for correlations about the mean."""
    region_counts: np.ndarray
    """`(P, R)` int, values."""

    @classmethod
    def of_photos(
        cls,
        members: tuple[str, ...],
        digests: tuple[str, ...],
        photos: np.ndarray,
        products: np.ndarray,
        sums: np.ndarray,
        counts: np.ndarray,
    ) -> ResidualGram:
        """Of whole photos: `(P, K, K)`, `(P, K)`, `(P,)`."""
        return cls(members, digests, photos, products[:, None], sums[:, None], counts[:, None])

    def __len__(self) -> int:
        return len(self.photos)

    @cached_property
    def products(self) -> np.ndarray:
        """`(P, K, K)` float64, of whole photos."""
        return self.by_region.sum(axis=1)

    @cached_property
    def sums(self) -> np.ndarray:
        """`(P, K)` float64, of whole photos."""
        return self.region_sums.sum(axis=1)

    @cached_property
    def counts(self) -> np.ndarray:
        """`(P,)` int, values of each photo: three a scored pixel."""
        return self.region_counts.sum(axis=1)

    @property
    def sse(self) -> np.ndarray:
        """`(P, K)` float64, each member's squared error on each photo."""
        return np.ascontiguousarray(np.diagonal(self.products, axis1=1, axis2=2))

    def of(self, member: str) -> int:
        """The member's column."""
        return self.members.index(member)

    def on(self, photos: np.ndarray) -> ResidualGram:
        """The rows of these photos (positions in the index), which must be covered."""
        return self.of_rows(np.searchsorted(self.photos, photos))

    def of_rows(self, rows: np.ndarray) -> ResidualGram:
        """These rows, by number or by a bool for each."""
        parts = (self.by_region[rows], self.region_sums[rows], self.region_counts[rows])
        return ResidualGram(self.members, self.digests, self.photos[rows], *parts)

    def of_members(self, members: Sequence[int]) -> ResidualGram:
        """These columns, in this order."""
        use = np.asarray(members)
        names = tuple(self.members[k] for k in members), tuple(self.digests[k] for k in members)
        # laid out like any other Gram: later sums go along memory, and their last bits with it
        products = np.ascontiguousarray(self.by_region[:, :, use[:, None], use])
        sums = np.ascontiguousarray(self.region_sums[:, :, use])
        return ResidualGram(*names, self.photos, products, sums, self.region_counts)


def residual_gram(
    index: Index,
    pack: Pack,
    predictions: Sequence[Predictions],
    *,
    known: ResidualGram | None = None,
    workers: int | None = None,
    chunk: int = CHUNK,
) -> ResidualGram:
    """Make the Grams of the photos that all these OOF predictions cover, in one streaming pass.

    Memory: a chunk's values for each worker, and the Grams; it does not grow with the pixels.

    Args:
        known: the Gram of the first of these predictions, on all of their common photos; only the products with
            later ones are made.
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
    P, K = len(photos), len(predictions)
    chunk = max(1, min(chunk, P, BUFFER // (6 * K * int(predictions[0].counts[photos].max()))))
    regions = REGIONS if P * REGIONS * K * K * 8 <= LARGEST else 1
    if known is not None and (known.by_region.shape[1] != regions or not np.array_equal(known.photos, photos)):
        known = None
    first = len(known.members) // 2 * 2 if known is not None else 0
    products, sums = np.zeros((P, regions, K, K)), np.zeros((P, regions, K))
    counts = np.zeros((P, regions), np.int64)
    if known is not None:
        products[:, :, :first, :first] = known.by_region[:, :, :first, :first]
    work = _Work(index, pack, [one.opened() for one in predictions], photos, first)
    with progress("Residuals", P, "photos") as bar:
        local = threading.local()

        def add(start: int) -> int:
            if not hasattr(local, "worker"):
                local.worker = _Worker(work, chunk)
            stop = min(start + chunk, P)
            local.worker.add(start, stop, products, sums, counts)
            return stop - start

        pool = ThreadPoolExecutor(workers or cores())  # reads and the kernel release the GIL
        try:
            for done in pool.map(add, range(0, P, chunk)):
                bar.update(done)
        finally:
            pool.shutdown(cancel_futures=True)
            work.target.close()
    identity = tuple(one.source for one in predictions), tuple(one.digest for one in predictions)
    return ResidualGram(*identity, photos, products, sums, counts)


def _common_photos(predictions: Sequence[Predictions]) -> np.ndarray:
    common = predictions[0].photos
    for one in predictions[1:]:
        common = np.intersect1d(common, one.photos, assume_unique=True)
    return common


class _Work:
    """What all workers share: the photos in the order in which they are worked on, and where their values are."""

    def __init__(self, index: Index, pack: Pack, members: list[Predictions], photos: np.ndarray, first: int) -> None:
        """
        Args:
            first: members before this even number are not multiplied with one another.
        """
        self.members, self.photos, self.first = members, photos, first
        # rows of Grams: photos of a part after one another, as they lie in the files of sources that have folds
        self.order = np.lexsort([photos, *(one.places[photos, 0, 0] for one in members)])
        sizes = members[0].counts[photos][self.order]
        self.ends, self.largest = np.concatenate([[0], np.cumsum(sizes)]), int(sizes.max())
        self.follows = [self._follows(one.places[photos, 0][self.order], sizes) for one in members]
        samples = [index.train[photo] for photo in photos]
        self.tops = np.array([min(box.row for box in sample.boxes) for sample in samples])
        self.bottoms = np.array([max(box.row + box.height for box in sample.boxes) for sample in samples])
        ordered = [samples[row].boxes for row in self.order]
        self.boxes = np.array([(box.row, box.col, box.height, box.width) for boxes in ordered for box in boxes])
        self.owners = np.cumsum([0, *map(len, ordered)])
        self.size = pack.train_target.shape[1:3]
        self.target = Rows(pack.train_target.reshape(-1, *pack.train_target.shape[2:]))  # boxes need a part of the rows
        estimated, extremes = np.asarray(pack.train_estimated)[photos], np.asarray(pack.train_extremes)[photos]
        low, gain = extremes[:, 0], score_scale(extremes[:, 0], extremes[:, 1])
        scale = score_scale(estimated[:, 0], estimated[:, 1])
        self.factors = scale, -estimated[:, 0] * scale, np.ascontiguousarray(low), gain  # s(p) = p * scale + shift

    @staticmethod
    def _follows(places: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Bool `(P,)`: whether a photo's values begin where those of the one before it end."""
        ends = places + np.stack([np.zeros_like(sizes), sizes], axis=1)
        return np.concatenate([[False], (places[1:] == ends[:-1]).all(axis=1)])


class _Worker:
    """One thread's buffers, for one chunk of photos after another."""

    def __init__(self, work: _Work, chunk: int) -> None:
        from kit.blending.grams.kernel import SLACK  # numba takes a while to import, and `kit --help` needs none

        self.work, pixels = work, chunk * work.largest
        self.stride = 3 * pixels
        self.raw = np.zeros(len(work.members) * self.stride + SLACK, np.float16)
        self.rows = np.empty((chunk, *work.size, 3), np.uint8)
        self.truth = np.zeros(3 * pixels + SLACK, np.uint8)
        self.spans = np.empty((len(RINGS), work.largest, 2), np.int32)
        self.moves = np.empty(pixels, np.int32), np.empty(pixels, np.int32)
        self.rings = np.array(RINGS)

    def add(self, start: int, stop: int, products: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> None:
        """Write rows `work.order[start:stop]` of `(P, R, K, K)`, `(P, R, K)` and `(P, R)`."""
        from kit.blending.grams.kernel import add_photos
        from kit.blending.grams.layout import lay_out

        work, rows = self.work, self.work.order[start:stop]
        ends = work.ends[start : stop + 1] - work.ends[start]
        for k in range(len(work.members)):
            self._read(k, start, stop, ends)
        for n, row in enumerate(rows.tolist()):
            top, bottom = work.tops[row], work.bottoms[row]
            work.target.read(int(work.photos[row]) * work.size[0] + top, self.rows[n, : bottom - top])
        owners = work.owners[start : stop + 1]
        laid = np.empty((len(rows), 2, len(RINGS)), np.int64)
        photos, layout = (
            (work.boxes, owners, self.rows, work.tops[rows], self.rings, work.size, ends),
            (self.moves, laid),
        )
        lay_out(*photos, self.spans, *layout, self.truth)
        raw = self.raw.view(np.uint16)
        photo, member = add_photos(
            raw, self.stride, self.truth, ends, *layout, work.factors, work.first, rows, products, sums
        )
        if photo >= 0:
            raise work.members[member].not_finite(int(work.photos[rows[photo]]))
        pixels = laid[:, 1]
        counts[rows] = np.repeat(pixels, 3, axis=1) if counts.shape[1] > 1 else 3 * pixels.sum(axis=1, keepdims=True)

    def _read(self, k: int, start: int, stop: int, ends: np.ndarray) -> None:
        """One member's values of these photos, at once where they follow one another in its file."""
        work = self.work
        begins = np.flatnonzero(~work.follows[k][start + 1 : stop]) + 1
        for begin, end in itertools.pairwise([0, *begins.tolist(), stop - start]):
            out = self.raw[k * self.stride + 3 * ends[begin] : k * self.stride + 3 * ends[end]]
            work.members[k].raw(int(work.photos[work.order[start + begin]]), 0, out.reshape(-1, 3))
