"""Rows of memory-mapped files by positional reads. Knows bytes and the prediction store's places; scores nothing.

A page of a memory map that was looked at stays in the process until the system wants it back, so a pass over mapped
files ends with all of them resident. Positional reads into one buffer keep the process as small as that buffer, let
threads share one descriptor, and cost one copy.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kit.errors import DamagedStore, PredictionsError
from kit.predictions import Part, Predictions
from kit.storage import map_array

_ONE = 0x3C00  # 1.0 in float16; read as unsigned numbers all of [0, 1] are at most this, and NaN and infinity above


class Rows:
    """Reads rows `[start, start + n)` along the first axis of a mapped array into a buffer; safe between threads."""

    def __init__(self, array: np.ndarray) -> None:
        self._array: np.ndarray | None = array
        self._file: int | None = None
        self._lock = threading.Lock()
        filename = getattr(array, "filename", None)
        if filename is None or not array.flags.c_contiguous:
            return
        self._path, self._offset = Path(filename), int(getattr(array, "offset", 0))
        self._row_bytes = array.strides[0]
        self._file = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        if os.fstat(self._file).st_size == self._offset + array.nbytes:
            self._array = None  # keep no page of the map
        else:  # a view of a map keeps the map's offset, which is not its own
            self.close()

    def read(self, start: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` (C-contiguous, `(n, *shape[1:])`, same dtype) with `n` rows from `start`; return it."""
        if self._array is not None:
            out[...] = self._array[start : start + len(out)]
            return out
        view = out.data.cast("B") if out.size else memoryview(b"")
        position = self._offset + start * self._row_bytes
        while len(view):
            read = self._read_some(view, position)
            if not read:
                raise DamagedStore(
                    f"{self._path} ends too early. Delete it, then make it again (kit sources lists how)."
                )
            view, position = view[read:], position + read
        return out

    def _read_some(self, view: memoryview, position: int) -> int:
        assert self._file is not None
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [view], position)
        with self._lock:  # systems without positional reads
            os.lseek(self._file, position, os.SEEK_SET)
            data = os.read(self._file, len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Member:
    """One source's values, photo by photo, without mapping them."""

    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions
        self._files: list[Rows] = []

    def __enter__(self) -> Member:
        for part in self.predictions.parts:
            self._files.append(Rows(map_array(part.path, made_by=part.manifest["made_by"])))
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
        self._files.clear()

    def raw(self, photo: int, copy: int, out: np.ndarray) -> np.ndarray:
        """One copy of a photo's values as stored, float16 `(n, 3)`, into `out`."""
        part, start = self.predictions.places[photo, copy]
        return self._files[part].read(int(start), out)

    def values(self, photo: int) -> np.ndarray:
        """What `Predictions.values` gives, bit for bit."""
        buffer = np.empty((int(self.predictions.counts[photo]), 3), np.float16)
        copies = self.predictions.places.shape[1]
        values = self.raw(photo, 0, buffer).astype(np.float32)
        for copy in range(1, copies):
            values += self.raw(photo, copy, buffer)
        if copies > 1:
            values /= copies
        if not np.isfinite(values).all():
            raise self.not_finite(photo)
        return values

    def not_finite(self, photo: int) -> PredictionsError:
        """The error for a photo with values that are not finite."""
        parts = [self.predictions.parts[part] for part in self.predictions.places[photo, :, 0]]
        part: Part = parts[0] if len(parts) == 1 else next((p for p in parts if _has_gaps(p)), parts[0])
        return PredictionsError(
            f"{part.path} holds values that are not finite (NaN or infinite). Make it again: "
            f"{part.manifest['made_by']} --force"
        )


def _has_gaps(part: Part) -> bool:
    values = map_array(part.path, made_by=part.manifest["made_by"])
    return not all(np.isfinite(values[start : start + 65536]).all() for start in range(0, len(values), 65536))


@contextlib.contextmanager
def opened(predictions: list[Predictions]) -> Iterator[list[Member]]:
    """Members of all these sources, closed when the block ends."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Member(one)) for one in predictions]


def is_finite(raw: np.ndarray) -> bool:
    """Whether all of these float16 values are finite; quick when all lie in [0, 1], as the store writes them."""
    return not raw.size or int(raw.view(np.uint16).max()) <= _ONE or bool(np.isfinite(raw).all())
