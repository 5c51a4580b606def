"""Whole predicted pictures: brought to the photo's size, and compared with it where the photo is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kit.errors import PredictionsError
from kit.exchange.values import Photos, ReaderLog, ValueFormat, to_pixels
from kit.imaging.holes import scored_pixels
from kit.imaging.images import resize

DIFFERENT = 0.1  # mean difference, of 1, from which a picture is not that of the photo: networks repaint to within 0.05
SURE = 0.02  # below this no other order of the channels is thought of
EARLY = 20  # photos after which a wholly wrong file is given up


class KnownPixels:
    """Takes hidden pixels out of whole pictures and keeps count of how well the others agree with the photos."""

    def __init__(self, path: Path, photos: Photos, value_format: ValueFormat, log: ReaderLog) -> None:
        self.path, self.photos, self.value_format, self.log = path, photos, value_format, log
        self._labels: list[str] = []
        self._differences: list[tuple[float, float]] = []
        """Of each photo with known pixels to compare: mean absolute difference, as it is and with R and B exchanged."""
        self._resized: dict[tuple[int, int], int] = {}
        self._blank = 0

    def hidden(self, picture: np.ndarray, position: int, label: str) -> np.ndarray:
        """Return the scored pixels `(n, 3)` RGB in pixel space of a whole picture `(h, w, 3)` of any type.

        Raises:
            PredictionsError: of another shape than the photo; see also `kit.exchange.values.to_pixels`; or nearly
                all of the first pictures are not those of the photos.
        """
        photo_row, ours = self.photos.photo_rows[position], self.photos.images[position]
        picture = self._at_size(picture, position, label)
        some = (slice(None, None, 2), slice(None, None, 2))  # a quarter of the known pixels tells as much as all
        theirs = to_pixels(picture[some], self.photos, position, self.value_format, label)
        self._compare(theirs, ours[some] / 255.0, ~photo_row.hole[some], label)
        return to_pixels(picture[scored_pixels(photo_row.boxes)], self.photos, position, self.value_format, label)

    def _at_size(self, picture: np.ndarray, position: int, label: str) -> np.ndarray:
        photo_row = self.photos.photo_rows[position]
        height, width = picture.shape[:2]
        if (height, width) == (photo_row.height, photo_row.width):
            return picture
        ours, theirs = width * photo_row.height, height * photo_row.width
        if abs(ours - theirs) > 0.01 * max(ours, theirs):
            raise PredictionsError(
                f"{label} is {width}x{height}, but {photo_row.id} is {photo_row.width}x{photo_row.height}: another "
                "shape, so it was cropped or padded. Give whole pictures."
            )
        self._resized[height, width] = self._resized.get((height, width), 0) + 1
        # whole numbers come out as floats, which mean 0 to 1 unless something else was said
        values = picture / self.value_format.scale_of(picture.dtype) * (self.value_format.scale or 1.0)
        return resize(np.ascontiguousarray(values, np.float32), photo_row.height, photo_row.width)

    def _compare(self, theirs: np.ndarray, ours: np.ndarray, known: np.ndarray, label: str) -> None:
        ours, theirs = ours[known], theirs[known]
        if not len(ours):
            return
        if np.ptp(theirs) == 0 and np.ptp(ours) > 0:  # only the boxes were painted: nothing to compare
            self._blank += 1
            return
        self._labels.append(label)
        self._differences.append((float(np.abs(theirs - ours).mean()), float(np.abs(theirs[:, ::-1] - ours).mean())))
        if len(self._labels) == EARLY:
            self._refuse(0.5)

    def judge(self) -> None:
        """Say what the comparison has shown.

        Raises:
            PredictionsError: these are other pictures, or their channels are the other way round.
        """
        for (height, width), count in self._resized.items():
            self.log.notes.append(f"{self.path}: {count} pictures of {width}x{height} resized to the photos' size.")
        if self._blank:
            self.log.notes.append(f"{self.path}: {_pictures(self._blank)} blank outside the boxes: not compared.")
        if not self._labels:
            return
        self._refuse(0.1)
        wrong = [(label, direct) for label, (direct, _) in self._each() if direct > DIFFERENT]
        if wrong:
            self.log.warnings.append(
                f"{_differs(*wrong[0])}; {len(wrong)} of {len(self._labels)} pictures are like that."
            )

    def _each(self) -> Iterator[tuple[str, tuple[float, float]]]:
        return zip(self._labels, self._differences, strict=True)

    def _refuse(self, share: float) -> None:
        """Raise `PredictionsError` when red and blue are exchanged, or more than this share is of other photos."""
        direct, swapped = np.mean(self._differences, axis=0)
        if direct > SURE and swapped < 0.5 * direct:
            other = "rgb" if self.value_format.channels == "bgr" else "bgr"
            raise PredictionsError(
                f"{self.path}: known pixels differ from the photos by {direct:.3f} on average, but only by "
                f"{swapped:.3f} with red and blue exchanged. Import it with: --channels {other}"
            )
        wrong = [(label, direct) for label, (direct, _) in self._each() if direct > DIFFERENT]
        if len(wrong) > share * len(self._labels):
            raise PredictionsError(
                f"{_differs(*wrong[0])}, and so do those of {len(wrong)} of {len(self._labels)} pictures: other "
                "photos, another order than the index has, or another range (--space, --scale)."
            )


def _differs(label: str, difference: float) -> str:
    return f"{label}: its known pixels differ from the photo by {difference:.3f} on average (black to white is 1)"


def _pictures(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count} pictures are"
