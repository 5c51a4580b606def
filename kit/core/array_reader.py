"""Rows of memory-mapped files by positional reads. Knows bytes and shapes; nothing of what they mean.

A page of a memory map that was looked at stays in the process until the system wants it back, so a pass over mapped
files ends with all of them resident. Positional reads into one buffer keep the process as small as that buffer, let
threads share one descriptor, and cost one copy.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

import numpy as np

from kit.errors import DamagedStore


class ArrayReader:
    """Reads rows `[start, start + n)` along the first axis of a mapped array into a buffer; safe between threads.

    The file is closed by `close`, or with the last reference.
    """

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
        self._closer = weakref.finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size == self._offset + array.nbytes:
            self._array = None  # keep no page of the map
        else:  # a view of a map keeps the map's offset, which is not its own
            self.close()

    def read(self, start: int, out: np.ndarray) -> np.ndarray:
        """Fill `out` (C-contiguous, `(n, *shape[1:])`, same dtype) with `n` rows from `start`; return it.

        Raises:
            DamagedStore: the file ends before the last row.
        """
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
            self._closer()
            self._file = None
