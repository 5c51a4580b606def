"""Importing: every format gives back the values that were put in, and every wrong file is refused with a reason."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.command import kit, ok
from support.imports import (
    READY,
    SPLITS,
    by_photo,
    csv_of,
    flat,
    photos_shuffled,
    pictures_of,
    project_of,
    stored,
    values_of,
    whole,
)
from support.toy import Toy

from kit.competitions import to_score_space
from kit.core.storage import read_json, write_json
from kit.core.workspace import PredictionSplit
from kit.errors import StoreError
from kit.exchange import import_part
from kit.exchange.values import Photos, ValueFormat, from_score_space, to_pixels
from kit.imaging.images import to_uint8

pytestmark = pytest.mark.toy(**READY)


def fortran(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.asfortranarray(np.stack(values_of(toy, "good", split)).astype(">f8")))
    return path.with_suffix(".npy")


def flat_fortran(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.asfortranarray(np.concatenate(values_of(toy, "good", split))))
    return path.with_suffix(".npy")


def channels_first(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.stack(pictures_of(toy, "good", split)).transpose(0, 3, 1, 2))
    return path.with_suffix(".npy")


def by_id(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    photo_rows = Photos.of(project_of(toy), split).photo_rows
    named = {photo_row.id: values for photo_row, values in zip(photo_rows, values_of(toy, "good", split), strict=True)}
    np.savez_compressed(path.with_suffix(".npz"), **dict(reversed(named.items())))
    return path.with_suffix(".npz")


def by_file_name(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    photo_rows = Photos.of(project_of(toy), split).photo_rows
    pictures = pictures_of(toy, "good", split)
    np.savez(path.with_suffix(".npz"), **{one.name: each for one, each in zip(photo_rows, pictures, strict=True)})
    return path.with_suffix(".npz")


def named_for_the_split(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    both = {name: np.concatenate(values_of(toy, "good", name)) for name in SPLITS}
    np.savez(path.with_suffix(".npz"), **both)
    return path.with_suffix(".npz")


def only_one_array(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), whatever=np.stack(values_of(toy, "good", split)))
    return path.with_suffix(".npz")


EXACT = [
    flat, by_photo, fortran, flat_fortran, whole, channels_first, by_id, by_file_name, named_for_the_split,
    only_one_array,
]  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("write", EXACT, ids=lambda write: write.__name__)
def test_arrays_come_back_bit_for_bit(toy: Toy, tmp_path: Path, split: PredictionSplit, write: Callable) -> None:
    done = import_part(project_of(toy), "mate", split, write(toy, split, tmp_path / "file"))
    assert done.made and done.photos == len(toy.target(split)) and not done.notes and not done.warnings
    assert np.array_equal(stored(toy, "mate", split), stored(toy, "good", split))


def test_blue_first_and_another_white(toy: Toy, tmp_path: Path) -> None:
    values = np.concatenate(values_of(toy, "good", "oof"))
    np.save(tmp_path / "bgr.npy", values[:, ::-1].astype(np.float64) * 100)
    import_part(project_of(toy), "mate", "oof", tmp_path / "bgr.npy", channels="bgr", scale=100)
    assert np.array_equal(stored(toy, "mate", "oof"), stored(toy, "good", "oof"))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_whole_numbers_are_taken_as_0_to_255_and_it_says_so(toy: Toy, tmp_path: Path, dtype: type) -> None:
    values = to_uint8(np.concatenate(values_of(toy, "good", "oof")))
    np.save(tmp_path / "file.npy", values.astype(dtype))
    done = import_part(project_of(toy), "mate", "oof", tmp_path / "file.npy")
    assert f"{np.dtype(dtype)} taken as 0 to 255" in done.how
    assert np.array_equal(stored(toy, "mate", "oof"), (values / 255.0).astype(np.float16))


def test_score_space_is_stretched_by_the_value_range_of_the_known_pixels(toy: Toy, tmp_path: Path) -> None:
    photos = Photos.of(project_of(toy), "oof")
    pairs = zip(values_of(toy, "good", "oof"), photos.estimated_range, strict=True)
    np.save(tmp_path / "file.npy", np.stack([to_score_space(values, value_range) for values, value_range in pairs]))
    import_part(project_of(toy), "mate", "oof", tmp_path / "file.npy", space="score")
    assert np.allclose(stored(toy, "mate", "oof"), stored(toy, "good", "oof"), atol=1e-3)


@given(arrays(np.float64, (7, 3), elements=st.floats(0, 1)), arrays(np.float64, (2, 3), elements=st.floats(0, 1)))
def test_score_space_and_back_is_where_it_began(values: np.ndarray, value_range: np.ndarray) -> None:
    value_range = np.sort(value_range, axis=0)
    value_range[1] += 0.01
    assert np.allclose(from_score_space(to_score_space(values, value_range), value_range), values, atol=1e-9)


@given(values=arrays(np.float32, (200, 3), elements=st.floats(0, 1, width=32)), scale=st.sampled_from([1, 100, 255]))
def test_a_range_and_an_order_of_channels_are_undone(shared_toy: Toy, values: np.ndarray, scale: float) -> None:
    photos = Photos.of(project_of(shared_toy), "oof")
    written = values[:, ::-1].astype(np.float64) * scale
    read = to_pixels(written, photos, 0, ValueFormat(channels="bgr", scale=scale), "file")
    assert np.allclose(read, values, atol=1e-12)


def test_one_split_now_and_the_other_later_and_the_same_again_is_there_already(toy: Toy, tmp_path: Path) -> None:
    root = toy.workspace.root
    oof, test = by_id(toy, "oof", tmp_path / "my oof"), flat(toy, "test", tmp_path / "test")
    first = ok(f"-w {root} import mate --oof '{oof}'")
    assert "Imported: mate, OOF of 30 photos" in first and "Next: kit import mate --test FILE" in first
    assert f"import mate --oof '{oof}'" in str(toy.project.predictions.manifest("mate", "oof", None))
    second = ok(f"-w {root} import mate --test {test}")
    assert "CV RMSE 0." in second and "best other source: unet" in second and "Next: kit blend" in second
    again = ok(f"-w {root} import mate --oof '{oof}' --test {test}")
    assert again.count("There already: mate") == 2 and "CV RMSE 0." in again
    assert "mate" in ok(f"-w {root} sources") and "mate" in ok(f"-w {root} blend mate other good")


def test_another_file_replaces_the_first_only_when_told_to(toy: Toy, tmp_path: Path, digests: Callable) -> None:
    import_part(project_of(toy), "mate", "oof", flat(toy, "oof", tmp_path / "first"))
    before = digests(toy.workspace.root)
    np.save(tmp_path / "second.npy", np.concatenate(values_of(toy, "other", "oof")))
    with pytest.raises(StoreError, match=r"has other OOF predictions already.*second\.npy.* --force"):
        import_part(project_of(toy), "mate", "oof", tmp_path / "second.npy")
    with pytest.raises(StoreError, match="--channels bgr --force"):  # the same file read otherwise is something else
        import_part(project_of(toy), "mate", "oof", tmp_path / "first.npy", channels="bgr")
    assert digests(toy.workspace.root) == before
    import_part(project_of(toy), "mate", "oof", tmp_path / "second.npy", force=True)
    assert np.array_equal(stored(toy, "mate", "oof"), stored(toy, "other", "oof"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("good", "is the name of a fill"),
        ("unet", "is the name of a trained experiment"),
        ("harmonic", "is the name of a fill"),
        ("all", "is the word for every source"),
        ("regress", "is an experiment"),
        ("begun", "is the name of a trained experiment"),
        ("blended", "is the name of a blend"),
        ("mine.csv", "looks like a file"),
        ("a/b", "cannot be a file name"),
        ("", "cannot be a file name"),
    ],
)
def test_names_that_belong_to_something_else_are_refused(
    toy: Toy, tmp_path: Path, digests: Callable, name: str, said: str
) -> None:
    path = flat(toy, "oof", tmp_path / "file")
    write_json(toy.workspace.run("begun", 0) / "experiment.json", {})
    ok(f"-w {toy.workspace.root} blend good other --name blended")
    before = digests(toy.workspace.root)
    for more in ("", "--force"):
        done = kit(f"-w {toy.workspace.root} import '{name}' --oof {path} {more}")
        assert done.is_one_error_line and said in done.err, done
    assert digests(toy.workspace.root) == before


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digests: Callable
) -> None:
    root = toy.workspace.root
    import_part(project_of(toy), "mate", "oof", flat(toy, "oof", tmp_path / "first"))
    (tmp_path / "rows.csv").write_bytes(photos_shuffled(csv_of(toy, "other", "oof")))
    before = digests(root)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for line in (f"import mate --oof {tmp_path / 'rows.csv'} --force", f"export good --out {tmp_path / 'good.npz'}"):
        done = kit(f"-w {root} {line}")
        assert done.is_one_error_line and "No room left on the disk" in done.err, done
    assert digests(root) == before and not (tmp_path / "good.npz").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_import_leaves_no_source_and_the_next_one_is_whole(toy: Toy, tmp_path: Path, how: int) -> None:
    root, path = toy.workspace.root, flat(toy, "oof", tmp_path / "slow")
    code = (  # a disk that is slow after the first photos, so that there is time for a kill
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import time, support.toy, kit.exchange.importing as storing\n"
        "real = storing.npy_values\n"
        "def slow(*args):\n"
        "    for place, values in enumerate(real(*args)):\n"
        "        time.sleep(0 if place < 5 else 60)\n"
        "        yield values\n"
        "storing.npy_values = slow\n"
        f"sys.argv = ['kit', '-w', {str(root)!r}, 'import', 'mate', '--oof', {str(path)!r}]\n"
        "from kit.cli import run\n"
        "run()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(root.glob("predictions/mate/oof/.partial-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err and process.returncode in (130, -signal.SIGKILL)
    assert "mate" not in ok(f"-w {root} sources")
    ok(f"-w {root} import mate --oof {path}")
    assert np.array_equal(stored(toy, "mate", "oof"), stored(toy, "good", "oof"))
    assert not list(root.rglob(".partial-*"))


def test_a_damaged_manifest_of_an_import_is_one_line(toy: Toy, tmp_path: Path) -> None:
    path = flat(toy, "oof", tmp_path / "file")
    import_part(project_of(toy), "mate", "oof", path)
    manifest = toy.workspace.source("mate", "oof") / "all.json"
    for text in ("{", "{}", "[]"):
        manifest.write_text(text)
        done = kit(f"-w {toy.workspace.root} import mate --oof {path}")
        assert done.is_one_error_line and "all.json" in done.err, done
    manifest.unlink()
    import_part(project_of(toy), "mate", "oof", path)
    assert read_json(manifest, made_by="")["recipe"]["kind"] == "import"


def test_without_folds_an_import_works_and_says_what_is_missing(toy: Toy, tmp_path: Path) -> None:
    shutil.rmtree(toy.workspace.folds.parent)
    said = ok(f"-w {toy.workspace.root} import mate --oof {flat(toy, 'oof', tmp_path / 'file')}")
    assert "Imported: mate" in said and "Not scored" in said and "kit folds" in said
