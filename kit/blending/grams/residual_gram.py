"""Residual Grams: all that a squared-error blend needs of the pixels. Knows sources, photos and score space.

For photo i, region r and members 1..K the residuals in score space are `z_k = s_i(p_k) - y_i`, where `s_i` scales by
the value range estimated from the known pixels, all that a test photo gives, and `y_i` is the truth by the true one:
the error of the value range is part of the score here as on the leaderboard. Then `G_ir[k, l] = z_k . z_l`, and for
weights that sum to one the squared error of the blend on any set of photos and regions is `w^T (sum G_ir) w`,
exactly. A region is a ring of pixels by their distance to the nearest known one (`kit.imaging.holes.RINGS`), in one
channel.

One pass over the pixels makes the Grams of all photos, in float64. Photos are independent, each pair of members is
summed in an order that depends on the photo's boxes alone, and photos are pooled in index order: any number of workers
gives the same bits, and so does adding a member to a Gram that is there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kit.competitions import score_scale
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.data.index import PhotoRow
from kit.data.pack import Pack
from kit.data.photo_list import PhotoReader
from kit.data.predictions import Predictions
from kit.errors import UsageError
from kit.imaging.holes import RINGS, cut_boxes, rings_of

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

    def __len__(self) -> int:
        return len(self.photos)

    @cached_property
    def products(self) -> np.ndarray:
        """Return `(P, K, K)` float64, of whole photos."""
        return np.asarray(self.by_region.sum(axis=1))

    @cached_property
    def sums(self) -> np.ndarray:
        """Return `(P, K)` float64, of whole photos."""
        return np.asarray(self.region_sums.sum(axis=1))

    @cached_property
    def counts(self) -> np.ndarray:
        """Return `(P,)` int, values of each photo: three a scored pixel."""
        return np.asarray(self.region_counts.sum(axis=1))

    @property
    def sse(self) -> np.ndarray:
        """Return `(P, K)` float64, each member's squared error on each photo."""
        return np.ascontiguousarray(np.diagonal(self.products, axis1=1, axis2=2))

    def of(self, member: str) -> int:
        """Return the member's column."""
        return self.members.index(member)

    def on(self, photos: np.ndarray) -> ResidualGram:
        """Return the rows of these photos (positions in the index), which must be covered."""
        return self.of_rows(np.searchsorted(self.photos, photos))

    def of_rows(self, rows: np.ndarray) -> ResidualGram:
        """Return these rows, by number or by a bool for each."""
        parts = (self.by_region[rows], self.region_sums[rows], self.region_counts[rows])
        return ResidualGram(self.members, self.digests, self.photos[rows], *parts)

    def of_members(self, members: Sequence[int]) -> ResidualGram:
        """Return these columns, in this order."""
        use = np.asarray(members)
        names = tuple(self.members[k] for k in members), tuple(self.digests[k] for k in members)
        # laid out like any other Gram: later sums go along memory, and their last bits with it
        products = np.ascontiguousarray(self.by_region[:, :, use[:, None], use])
        sums = np.ascontiguousarray(self.region_sums[:, :, use])
        return ResidualGram(*names, self.photos, products, sums, self.region_counts)


def residual_gram(
    photo_rows: Sequence[PhotoRow],
    pack: Pack,
    predictions: Sequence[Predictions],
    *,
    known: ResidualGram | None = None,
    workers: int | None = None,
) -> ResidualGram:
    """Make the Grams of the photos that all these OOF predictions cover, in one streaming pass.

    Memory: a photo's values for each worker, and the Grams; it does not grow with the pixels.

    Args:
        photo_rows: all training photos of the pack.
        known: the Gram of the first of these predictions, on all of their common photos; only the products with
            later ones are made.
        workers: threads, by default one for each core; the result does not depend on it.

    Raises:
        UsageError: no predictions, or no photo that all of them cover.
        PredictionsError: a value is not finite; names the file and the command that makes it again.
    """
    photos = _common_photos(predictions)
    P, K = len(photos), len(predictions)
    regions = REGIONS if P * REGIONS * K * K * 8 <= LARGEST else 1
    if known is not None and (known.by_region.shape[1] != regions or not np.array_equal(known.photos, photos)):
        known = None
    first = len(known.members) if known is not None else 0
    products, sums = np.zeros((P, regions, K, K)), np.zeros((P, regions, K))
    counts = np.zeros((P, regions), np.int64)
    if known is not None:
        products[:, :, :first, :first] = known.by_region
    one_photo = _PhotoResiduals(photo_rows, pack, predictions)

    def add(row: int) -> None:
        one_photo.add(int(photos[row]), first, products[row], sums[row], counts[row])

    # reads and the kernel release the GIL; the threads have ended before the file that they read is closed
    with closing(one_photo.target), closing(map_in_order(add, range(P), workers=workers)) as done:
        for _ in track(done, "Residuals", P, "photos"):
            pass
    identity = tuple(one.source for one in predictions), tuple(one.digest for one in predictions)
    return ResidualGram(*identity, photos, products, sums, counts)


def _common_photos(predictions: Sequence[Predictions]) -> np.ndarray:
    if not predictions:
        raise UsageError("There is nothing to score: name at least one source. See what there is: kit sources")
    common = predictions[0].photos
    for one in predictions[1:]:
        common = np.intersect1d(common, one.photos, assume_unique=True)
    if not len(common):
        names = ", ".join(one.source for one in predictions)
        raise UsageError(f"No photo is predicted by all of {names}. See which folds are there: kit sources")
    return common


class _PhotoResiduals:
    """The residuals of one photo after another; shared by all workers."""

    def __init__(self, photo_rows: Sequence[PhotoRow], pack: Pack, predictions: Sequence[Predictions]) -> None:
        self.photo_rows, self.members = photo_rows, [one.opened() for one in predictions]
        self.target = PhotoReader(pack.train_target)
        self._largest, self._local = max(int(one.counts.max()) for one in predictions), threading.local()
        estimated_range, value_range = np.asarray(pack.train_estimated_range), np.asarray(pack.train_value_range)
        scale = score_scale(estimated_range[:, 0], estimated_range[:, 1])
        gain = score_scale(value_range[:, 0], value_range[:, 1])
        # s(p) = p * scale + shift, y = (truth - low) * gain
        self.factors = np.stack([scale, -estimated_range[:, 0] * scale, value_range[:, 0], gain], axis=1)

    def _buffers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return this thread's arrays for stored values, picture and residuals; fresh ones would cost page faults."""
        if not hasattr(self._local, "buffers"):
            K, n = len(self.members), self._largest
            self._local.buffers = (
                np.empty((K, n, 3), np.float16),
                self.target.buffer(),
                np.empty((K + 1, 3, n)),
            )
        buffers: tuple[np.ndarray, np.ndarray, np.ndarray] = self._local.buffers
        return buffers

    def add(self, photo: int, first: int, products: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> None:
        """Add to the `(R, K, K)`, `(R, K)` and `(R,)` of this photo, a position in the index."""
        from kit.blending.grams.kernel import HALVES, add_photo  # numba takes a while to import

        photo_row = self.photo_rows[photo]
        stored, picture, residuals = self._buffers()
        stored = stored[:, : photo_row.scored]
        for member, into in zip(self.members, stored, strict=True):
            member.raw(photo, 0, into)
        whole = self.target.read(photo, picture)
        rings = rings_of(photo_row.boxes, photo_row.height, photo_row.width)
        truth = cut_boxes(whole, photo_row.boxes)
        factors = self.factors[photo]
        add_photo(stored.view(np.uint16), truth, rings, factors, HALVES, residuals, first, products, sums, counts)
        bad = np.flatnonzero(~np.isfinite(sums.sum(axis=0)))
        if len(bad):
            raise self.members[bad[0]].not_finite(photo)
