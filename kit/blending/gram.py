"""Residual Grams: all that a squared-error blend needs to know of the pixels. Knows sources, photos and score space.

For photo i, region r and members 1..K the residuals in score space are `z_k = s_i(p_k) - y_i`, where `s_i` scales by
the extremes estimated from the known pixels, which is all that a test photo gives, and `y_i` is the truth by the true
extremes: the error of the extremes is part of the score here as on the leaderboard. Then `G_ir[k, l] = z_k . z_l`, and
for weights that sum to one the squared error of the blend on any set of photos and regions is `w^T (sum G_ir) w`,
exactly. A region is a ring of pixels by their distance to the nearest known one (`kit.holes.RINGS`), in one channel.

One pass over the pixels makes the Grams of all photos, in float64. Photos are independent, each pair of members is
summed in an order that depends on the photo's boxes alone, and photos are pooled in index order: any number of workers
gives the same bits, and so does adding a member to a Gram that is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kit.competitions import score_scale
from kit.errors import UsageError
from kit.holes import RINGS, Box, rings_of
from kit.index import Index
from kit.pack import Pack
from kit.predictions import Predictions
from kit.progress import progress
from kit.reading import Rows, is_finite

CHUNK = 16  # photos a worker takes at a time
REGIONS = 3 * len(RINGS)
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
        at = np.searchsorted(self.photos, photos)
        parts = (self.by_region[at], self.region_sums[at], self.region_counts[at])
        return ResidualGram(self.members, self.digests, photos, *parts)

    def of_members(self, members: Sequence[int]) -> ResidualGram:
        """These columns, in this order."""
        use = np.asarray(members)
        names = tuple(self.members[k] for k in members), tuple(self.digests[k] for k in members)
        products = self.by_region[:, :, use[:, None], use]
        return ResidualGram(*names, self.photos, products, self.region_sums[:, :, use], self.region_counts)


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

    Memory: one photo's values for each worker, and the Grams; it does not grow with the pixels.

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
    K = len(predictions)
    regions = REGIONS if len(photos) * REGIONS * K * K * 8 <= LARGEST else 1
    if known is not None and (known.by_region.shape[1] != regions or not np.array_equal(known.photos, photos)):
        known = None
    even = K + K % 2
    products, sums = np.zeros((len(photos), regions, even, even)), np.zeros((len(photos), regions, even))
    counts = np.zeros((len(photos), regions), np.int64)
    members = [one.opened() for one in predictions]
    first = len(known.members) // 2 * 2 if known is not None else 0
    largest = int(max(index.train[photo].scored for photo in photos))
    with progress("Residuals", len(photos), "photos") as bar:
        target = Rows(pack.train_target)
        local = threading.local()

        def work(start: int) -> int:
            if not hasattr(local, "worker"):
                local.worker = _Worker(index, pack, members, target, regions, largest, first)
            stop = min(start + max(1, chunk), len(photos))
            for row in range(start, stop):
                local.worker.add(int(photos[row]), products[row], sums[row], counts[row])
            return stop - start

        pool = ThreadPoolExecutor(workers or _cores())  # reads and the kernel release the GIL
        try:
            for done in pool.map(work, range(0, len(photos), max(1, chunk))):
                bar.update(done)
        finally:
            pool.shutdown(cancel_futures=True)
            target.close()
    products, sums = products[:, :, :K, :K], sums[:, :, :K]
    rows, columns = np.triu_indices(K, 1)
    products[:, :, rows, columns] = products[:, :, columns, rows]
    if known is not None:
        products[:, :, :first, :first] = known.by_region[:, :, :first, :first]
        sums[:, :, :first] = known.region_sums[:, :, :first]
    identity = tuple(one.source for one in predictions), tuple(one.digest for one in predictions)
    parts = np.ascontiguousarray(products), np.ascontiguousarray(sums)
    return ResidualGram(*identity, photos, *parts, counts)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _common_photos(predictions: Sequence[Predictions]) -> np.ndarray:
    common = predictions[0].photos
    for one in predictions[1:]:
        common = np.intersect1d(common, one.photos, assume_unique=True)
    return common


class _Worker:
    """One thread's buffers, for one photo after another."""

    def __init__(
        self,
        index: Index,
        pack: Pack,
        members: list[Predictions],
        target: Rows,
        regions: int,
        pixels: int,
        first: int,
    ) -> None:
        """
        Args:
            regions: `REGIONS`, or 1 to add them up.
            pixels: of the largest photo.
            first: members before this even number are not multiplied with one another.
        """
        from kit.blending.kernel import TILE  # numba takes a while to import, and `kit --help` needs none

        self.index, self.pack, self.members, self.target = index, pack, members, target
        self.regions, self.first = regions, first
        K, tiles = len(members), 3 * pixels // TILE + REGIONS + 1
        even = K + K % 2
        self.photo = np.empty((1, *pack.train_target.shape[1:]), np.uint8)
        self.raw = np.zeros((K, 3 * pixels + 1), np.float16)
        self.truth = np.zeros(3 * pixels + 1, np.uint8)
        self.order, self.region_of = np.empty(tiles * TILE, np.uint32), np.empty(tiles, np.uint8)
        self.sorted = np.empty((K, tiles * TILE), np.uint16)
        self.z = np.zeros((even, TILE))
        self.products, self.sums = np.empty((REGIONS, even, even)), np.empty((REGIONS, even))
        estimated, extremes = np.asarray(pack.train_estimated), np.asarray(pack.train_extremes)
        self.low, self.gain = extremes[:, 0], score_scale(extremes[:, 0], extremes[:, 1])
        # s(p) = p * scale + shift
        self.scale = score_scale(estimated[:, 0], estimated[:, 1])
        self.shift = -estimated[:, 0] * self.scale
        self.rings = np.empty(0, np.uint8)
        self.tiles, self.counts = 0, np.zeros(REGIONS, np.int64)

    def add(self, photo: int, products: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> None:
        """Write one photo's rows, `(R, K', K')`, `(R, K')` and `(R,)`, on and below the diagonal."""
        from kit.blending.kernel import TILE, photo_products

        sample = self.index.train[photo]
        values = 3 * sample.scored
        self._sort(rings_of(sample.boxes, sample.height, sample.width))
        scored = _scored_values(self.target.read(photo, self.photo)[0], sample.boxes)
        self.truth[:values] = scored
        raw = self.raw[:, : values + 1]
        raw[:, values] = 0
        for member, row in zip(self.members, raw, strict=True):
            member.raw(photo, 0, row[:values].reshape(-1, 3))
            if not is_finite(row[:values]):
                raise member.not_finite(photo)
        alone = self.regions == REGIONS
        into = (products, sums) if alone else (self.products, self.sums)
        for array in into:
            array[...] = 0.0
        photo_products(
            raw.view(np.uint16),
            self.truth[: values + 1],
            self.order[: self.tiles * TILE],
            self.region_of[: self.tiles],
            self.scale[photo],
            self.shift[photo],
            self.low[photo],
            self.gain[photo],
            self.first,
            self.sorted[:, : self.tiles * TILE],
            self.z,
            *into,
        )
        counts[:] = self.counts if alone else values
        if not alone:
            products[0], sums[0] = self.products.sum(axis=0), self.sums.sum(axis=0)

    def _sort(self, rings: np.ndarray) -> None:
        """Tiles of these pixels; most photos' holes have the same rings as the last one's."""
        from kit.blending.kernel import sort_values

        if not np.array_equal(rings, self.rings):
            self.tiles = sort_values(rings, REGIONS, self.order, self.region_of)
            self.rings = rings
            self.counts = np.repeat(np.bincount(rings, minlength=len(RINGS)), 3)


def _scored_values(photo: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """`photo[scored_pixels(boxes)].reshape(-1)`, by slices: a tenth of the time."""
    parts = [photo[box.row : box.row + box.height, box.col : box.col + box.width].reshape(-1) for box in boxes]
    return np.concatenate(parts)
