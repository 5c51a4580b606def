"""Positional reads: the bits of a memory map, without its pages."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kit.core.array_reader import ArrayReader
from kit.core.storage import map_array
from kit.errors import DamagedStore


def test_rows_of_maps_views_and_plain_arrays(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float32).reshape(20, 3)
    np.save(tmp_path / "a.npy", array)
    mapped = map_array(tmp_path / "a.npy", made_by="")
    for rows, whole in ((mapped, array), (array, array), (mapped[5:], array[5:]), (mapped[:, :2], array[:, :2])):
        reader = ArrayReader(rows)
        out = np.empty((4, whole.shape[1]), np.float32)
        np.testing.assert_array_equal(reader.read(3, out), whole[3:7])
        reader.close()


def test_a_system_without_positional_reads_gives_the_same_even_between_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.arange(3000, dtype=np.float16).reshape(1000, 3)
    np.save(tmp_path / "a.npy", array)
    monkeypatch.delattr(os, "preadv")
    reader = ArrayReader(map_array(tmp_path / "a.npy", made_by=""))
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda start: reader.read(start, np.empty((10, 3), np.float16)), range(0, 1000, 10)))
    np.testing.assert_array_equal(np.concatenate(rows), array)


def test_a_file_that_ends_too_early_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((10, 3)))
    reader = ArrayReader(map_array(tmp_path / "a.npy", made_by=""))
    with pytest.raises(DamagedStore, match=r"a\.npy ends too early"):
        reader.read(9, np.empty((2, 3)))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_the_last_reference_closes_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((10, 3)))
    gc.collect()  # what other tests left open
    before = len(list(Path("/proc/self/fd").iterdir()))
    readers = [ArrayReader(map_array(tmp_path / "a.npy", made_by="")) for _ in range(5)]
    assert len(list(Path("/proc/self/fd").iterdir())) >= before + 5
    readers.clear()
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
