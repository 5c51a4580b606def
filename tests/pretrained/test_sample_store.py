"""Stored samples and their locks: what a kill, damage or a full disk costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.errors import DamagedStore, KitError
from kit.pretrained.diffusion.locks import SampleLocks
from kit.pretrained.diffusion.sample_store import Cache, Record, Writer


def record(number: int, pixels: int = 20) -> Record:
    rng = np.random.default_rng(number)
    values = rng.integers(0, 256, (pixels, 3)).astype(np.uint8)
    return Record(values, rng.normal(size=(2, 3)).astype(np.float32), float(number), number % 2)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def write(folder: Path, *numbers: int) -> None:
    writer = Writer(folder)
    for number in numbers:
        writer.append([(key(number), record(number))])
    writer.close()


def same(first: Record, second: Record) -> bool:
    return (
        np.array_equal(first.values, second.values)
        and np.array_equal(first.shifts, second.shifts)
        and (first.seconds, first.flags) == (second.seconds, second.flags)
    )


# --- records ------------------------------------------------------------------


def test_records_of_several_writers_are_read_back_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    cache = Cache(tmp_path).refresh()
    assert key(1) in cache and key(3) not in cache
    write(tmp_path, 3)
    assert key(3) in cache.refresh()
    assert all(same(cache.read(key(number)), record(number)) for number in (1, 2, 3))
    assert cache.check() == 0 and len(list(tmp_path.iterdir())) == 2


@given(st.data())
@settings(max_examples=30)
def test_a_file_cut_anywhere_loses_only_the_records_behind_the_cut(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, 1, 2, 3)
        (path,) = folder.iterdir()
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        cache = Cache(folder).refresh()
        there = [number for number in (1, 2, 3) if key(number) in cache]
        assert there == [1, 2, 3][: cut * 3 // len(whole)] and cache.check() == 0
        assert all(same(cache.read(key(number)), record(number)) for number in there)
        path.write_bytes(whole)  # the writer was alive after all: its rest arrives
        assert all(key(number) in cache.refresh() for number in (1, 2, 3))


@given(st.integers(0, 10**9), st.integers(1, 255))
@settings(max_examples=200)
def test_a_changed_byte_costs_its_record_and_no_other(place: int, change: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, 1, 2, 3)
        (path,) = folder.iterdir()
        whole = bytearray(path.read_bytes())
        place %= len(whole)
        hit = place * 3 // len(whole) + 1
        whole[place] ^= change
        path.write_bytes(bytes(whole))
        cache = Cache(folder).refresh()
        cache.check()
        for number in {1, 2, 3} - {hit}:
            assert same(cache.read(key(number)), record(number))
        assert key(hit) not in cache and len(cache.entries) == 2


def test_a_damaged_record_that_was_made_again_is_read_from_the_new_file(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    (tmp_path / "0-first.bin").write_bytes(bytes(data))
    cache = Cache(tmp_path).refresh()
    with pytest.raises(DamagedStore, match="0-first"):
        cache.read(key(1))
    assert key(1) not in cache
    write(tmp_path, 1)
    fresh = Cache(tmp_path).refresh()
    assert fresh.check() == 0 and same(fresh.read(key(1)), record(1))


def test_a_full_disk_is_one_line_and_costs_only_the_last_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path)
    writer.append([(key(1), record(1))])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KitError, match="No room left"):
            writer.append([(key(2), record(2)), (key(3), record(3))])
    cache = Cache(tmp_path).refresh()
    assert key(1) in cache and key(2) not in cache and cache.check() == 0
    writer.append([(key(2), record(2))])
    writer.close()
    assert same(cache.refresh().read(key(2)), record(2))


def test_a_writer_that_never_wrote_leaves_no_file(tmp_path: Path) -> None:
    Writer(tmp_path).close()
    assert not list(tmp_path.iterdir())


# --- locks --------------------------------------------------------------------


def test_a_lock_keeps_other_processes_away_and_dies_with_its_process(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from kit.pretrained.diffusion.locks import SampleLocks
with SampleLocks(Path({str(tmp_path)!r})) as locks:
    print(locks.acquire({key(1)!r}), locks.acquire({(b"x" * 16)!r}), flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "True True\n"
    with SampleLocks(tmp_path) as locks:
        assert not locks.acquire(b"x" * 16) and locks.acquire(b"y" * 16)
        other.kill()
        other.wait()
        assert locks.acquire(b"x" * 16)
        locks.release(b"x" * 16)
