"""Terms that weights may depend on: functions of a photo and of a region of its hole. Knows no predictions.

A weight is a sum over terms, `w_k(photo, region) = sum_j f_j(photo, region) v_jk` (feature-weighted linear stacking,
Sill et al. 2009, arXiv:0911.0460). Every term is known for a test photo before anything is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kit.competitions import score_scale
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.data.index import PhotoRow
from kit.data.photo_list import PhotoArray
from kit.imaging.holes import RINGS

ONE = "one"
CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class PhotoFeatures:
    """Facts of P photos that weights may depend on."""

    klass: tuple[str, ...]
    """"" where the layout gives none."""
    scored: np.ndarray
    """`(P,)` int, scored pixels."""
    contrast: np.ndarray
    """`(P,)` float64, standard deviation of the known pixels in score space, the mean of the three channels."""

    def __len__(self) -> int:
        return len(self.klass)

    def of(self, rows: np.ndarray) -> PhotoFeatures:
        """Return those of some photos."""
        klass = tuple(self.klass[row] for row in rows)
        return PhotoFeatures(klass, self.scored[rows], self.contrast[rows])


def photo_features(photo_rows: Sequence[PhotoRow], images: PhotoArray, estimated_range: np.ndarray) -> PhotoFeatures:
    """Return the features of all photos of a split, from what is known of them alone.

    Args:
        images: `(N, H, W, 3)` uint8, as given.
        estimated_range: `(N, 2, 3)`, the value range of each photo's known pixels.
    """
    photos = range(len(photo_rows))
    each = map_in_order(lambda photo: features_of(photo_rows[photo], images[photo], estimated_range[photo]), photos)
    found = list(track(each, "Contrast", len(photos), "photos"))
    return PhotoFeatures(
        tuple(one.klass[0] for one in found),
        np.array([one.scored[0] for one in found], np.int64),
        np.array([one.contrast[0] for one in found], np.float64),
    )


def features_of(photo_row: PhotoRow, image: np.ndarray, estimated_range: np.ndarray) -> PhotoFeatures:
    """Return the features of one photo, `(H, W, 3)` uint8 with value range `(2, 3)`."""
    known = (~photo_row.hole).astype(np.uint8)
    deviation = cv2.meanStdDev(image, mask=known)[1][:, 0] / 255.0
    contrast = float((deviation * score_scale(*estimated_range)).mean())
    return PhotoFeatures((photo_row.klass,), np.array([photo_row.scored], np.int64), np.array([contrast]))


@dataclass(frozen=True)
class Term:
    """One function of photo and region: `(raw - centre) / scale`."""

    name: str
    centre: float = 0.0
    scale: float = 1.0

    def values(self, features: PhotoFeatures, regions: int) -> np.ndarray:
        """Return `(P, R)` float64; region `3 * ring + channel`."""
        raw = _raw(self.name, features, regions)
        return np.broadcast_to((raw - self.centre) / self.scale, (len(features), regions))


def _raw(name: str, features: PhotoFeatures, regions: int) -> np.ndarray:
    """Return a term before it is centred, to be broadcast to `(P, R)`."""
    kind, _, of = name.partition(":")
    region = np.arange(regions)
    if kind == ONE:
        return np.ones((1, 1))
    if kind == "region":
        return np.asarray(region == int(of), np.float64)[None]
    if kind == "channel":
        return np.asarray(region % 3 == CHANNELS.index(of), np.float64)[None]
    if kind == "depth":
        return np.asarray(np.log2(_middle_of_rings())[region // 3])[None]
    if kind == "class":
        # a photo of no known class is an average one
        known = np.array([klass != "" for klass in features.klass])
        return np.where(known, np.array([klass == of for klass in features.klass], np.float64), np.nan)[:, None]
    if kind == "size":
        return np.asarray(np.log2(np.maximum(features.scored, 1).astype(np.float64)))[:, None]
    if kind == "contrast":
        return np.asarray(np.log(np.maximum(features.contrast, 1e-3)))[:, None]
    raise ValueError(f"{name!r} is not a term")


def _middle_of_rings() -> np.ndarray:
    last = 2 * RINGS[-1] - RINGS[-2]
    return np.asarray((np.array(RINGS) + np.array([*RINGS[1:], last]) - 1) / 2.0)


def region_terms(regions: int) -> tuple[Term, ...]:
    """Return one weight for all, and for each region its own deviation."""
    return (Term(ONE), *(Term(f"region:{region}") for region in range(regions if regions > 1 else 0)))


def feature_terms(features: PhotoFeatures, counts: np.ndarray) -> tuple[Term, ...]:
    """Return depth, channel, class, size of the hole and contrast of the photo, each with mean 0 and deviation 1.

    Args:
        counts: `(P, R)` values behind each photo and region: the weights of the mean.
    """
    regions = counts.shape[1]
    names = [f"class:{klass}" for klass in sorted(set(features.klass) - {""})] + ["size", "contrast"]
    if regions > 1:
        names += ["depth", *(f"channel:{channel}" for channel in CHANNELS)]
    terms = [Term(ONE)]
    for name in names:
        raw = np.broadcast_to(_raw(name, features, regions), counts.shape)
        there = np.isfinite(raw) & (counts > 0)
        if not there.any():
            continue
        mean = float(np.average(raw[there], weights=counts[there]))
        deviation = float(np.sqrt(np.average((raw[there] - mean) ** 2, weights=counts[there])))
        if deviation > 1e-6:
            terms.append(Term(name, mean, deviation))
    return tuple(terms)


def term_values(terms: Sequence[Term], features: PhotoFeatures, regions: int) -> np.ndarray:
    """Return `(P, R, J)` float64; 0, the average, where a term is not known."""
    return np.asarray(np.nan_to_num(np.stack([term.values(features, regions) for term in terms], axis=2)))
