"""The prediction store: what goes in comes out, in order, or a line says what is wrong and what to run."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command import kit, ok
from support.toy import Toy, make_toy_workspace, noisy, write_toy_source

from kit.core.speech import begin_command
from kit.core.storage import read_json, write_json
from kit.data.folds import Folds
from kit.data.prediction_store import ALL, PredictionStore, fold_part
from kit.data.predictions import Part, Predictions
from kit.data.splitting import make_folds
from kit.errors import (
    DamagedStore,
    KitError,
    Mismatch,
    MissingStep,
    PredictionsError,
    UnknownName,
    UsageError,
)
from kit.imaging.holes import scored_pixels

RECIPE = {"kind": "test"}


pytestmark = pytest.mark.toy(photos=12, test=3)


def store(toy: Toy, folds: Folds | None) -> PredictionStore:
    return PredictionStore(toy.workspace, toy.index, lambda: folds)


def write(toy: Toy, values: list[np.ndarray], source: str = "s", **options: object) -> None:
    store(toy, toy.folds).write(source, "test", values, made_by=f"kit fill {source}", recipe=RECIPE, **options)


def zeros(toy: Toy) -> list[np.ndarray]:
    return [np.zeros((photo_row.scored, 3)) for photo_row in toy.index.test]


# --- round trip ---------------------------------------------------------------


@pytest.mark.parametrize("by_fold", [False, True])
@pytest.mark.parametrize("split", ["oof", "test"])
def test_values_come_back_in_index_order_to_float16_precision(toy: Toy, split: str, by_fold: bool) -> None:
    write_toy_source(toy, "exact", predict=lambda split, photo, truth: truth, by_fold=by_fold)
    predictions = toy.project.predictions.read("exact", split)
    photos = len(toy.index.train if split == "oof" else toy.index.test)
    np.testing.assert_array_equal(predictions.photos, np.arange(photos))
    for photo in range(photos):
        values, truth = predictions.values(photo), toy.true_values(split, photo)
        assert values.dtype == np.float32 and values.shape == truth.shape
        assert np.abs(values - truth).max() <= 2**-12  # half a step of float16 just below 1


def test_a_pixel_inside_both_boxes_is_stored_twice(toy: Toy) -> None:
    write_toy_source(toy, "exact", predict=lambda split, photo, truth: truth)
    photo_row = toy.index.train[0]  # its boxes overlap
    assert photo_row.hole.sum() < photo_row.scored == 200
    values = toy.project.predictions.read("exact", "oof").values(0)
    rows, cols = scored_pixels(photo_row.boxes)

    assert len(values) == 200
    pairs = {}
    for place, pixel in enumerate(zip(rows.tolist(), cols.tolist(), strict=True)):
        pairs.setdefault(pixel, []).append(place)
    twice = [places for places in pairs.values() if len(places) == 2]
    assert len(twice) == 200 - photo_row.hole.sum()
    for one, two in twice:
        np.testing.assert_array_equal(values[one], values[two])


def test_test_predictions_of_the_folds_are_averaged(toy: Toy) -> None:
    write_toy_source(toy, "m", predict=noisy(0.05), by_fold=True)
    for fold in range(3):  # another value for each fold, all representable in float16
        values = [np.full((photo_row.scored, 3), [0.0, 0.25, 0.5][fold]) for photo_row in toy.index.test]
        write(toy, values, "m", fold=fold)
    predictions = toy.project.predictions.read("m", "test")
    for photo in range(3):
        np.testing.assert_allclose(predictions.values(photo), 0.25, atol=1e-7)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), chosen=st.lists(st.integers(0, 11), min_size=1, max_size=8))
def test_photos_may_be_read_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chosen: list[int]
) -> None:
    toy = _shared(tmp_path_factory)
    predictions = toy.project.predictions.read("m", "oof")
    whole = {photo: predictions.values(photo).tobytes() for photo in range(12)}
    fresh = toy.project.predictions.read("m", "oof").opened()
    assert all(fresh.values(photo).tobytes() == whole[photo] for photo in chosen)


_toys: list[Toy] = []


def _shared(factory: pytest.TempPathFactory) -> Toy:
    if not _toys:
        _toys.append(make_toy_workspace(factory.mktemp("shared"), photos=12, test=3, k=3))
        write_toy_source(_toys[0], "m", 0.1, by_fold=True)
    return _toys[0]


def test_values_outside_the_range_are_clipped_and_the_same_input_gives_the_same_bytes(toy: Toy) -> None:
    values = [np.linspace(-1, 2, photo_row.scored * 3).reshape(-1, 3) for photo_row in toy.index.test]
    write(toy, values, "a")
    write(toy, [value.astype(np.float32) for value in values], "b")
    paths = [toy.workspace.source(name, "test") / "all.npy" for name in "ab"]
    first, second = (np.load(path) for path in paths)
    assert first.min() == 0 and first.max() == 1 and first.dtype == np.float16
    np.testing.assert_allclose(first, second, atol=2**-11)
    write(toy, values, "b")
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_values_are_a_plain_npy_file_of_the_hidden_pixels_alone(toy: Toy) -> None:
    write_toy_source(toy, "m", by_fold=True)
    for fold in range(3):
        array = np.load(toy.workspace.source("m", "oof") / f"fold_{fold}.npy")
        assert array.shape == (sum(toy.index.train[p].scored for p in toy.folds.valid_positions(fold)), 3)
    assert np.load(toy.workspace.source("m", "test") / "fold_0.npy").shape == (600, 3)


def test_reading_does_not_keep_the_pages(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=12, test=3)
    write_toy_source(toy, "m")
    predictions = toy.project.predictions.read("m", "oof")
    kept = predictions.values(0)
    assert kept.base is None or not isinstance(kept.base, np.memmap)
    assert all(file._array is None for file in predictions._files)  # no map is held: residency cannot grow


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
def test_a_pass_over_a_large_source_leaves_no_file_in_memory(tmp_path: Path) -> None:
    count, photos = 50_000, 100
    path = tmp_path / "all.npy"
    np.save(path, np.zeros((count * photos, 3), np.float16))  # 30 MB
    places = np.stack([np.zeros(photos, int), np.arange(photos) * count], axis=1)[:, None]
    part = Part(ALL, path, {"made_by": "kit fill x"})
    predictions = Predictions("x", "test", (part,), places, np.full(photos, count))

    def mapped_kib() -> int:
        (line,) = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("RssFile")]
        return int(line.split()[1])

    predictions.values(0)
    before = mapped_kib()
    for photo in range(photos):
        predictions.values(photo)
    assert mapped_kib() - before < 3000


# --- writing ------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_the_old_part_stays(toy: Toy, bad: float, digests) -> None:
    write(toy, zeros(toy))
    before = digests(toy.workspace.predictions)
    values = zeros(toy)
    values[2][7, 1] = bad
    with pytest.raises(PredictionsError, match=r"1 of the 600 values of .* are not finite"):
        write(toy, values)
    assert digests(toy.workspace.predictions) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v[:-1], "values for 2 photos, but the part has 3"),
        (lambda v: [*v, v[0]], "values for more than the 3 photos"),
        (lambda v: [], "values for 0 photos"),
        (lambda v: [v[0][:-1], *v[1:]], r"needs values of shape \(200, 3\), got \(199, 3\)"),
        (lambda v: [v[0][:, :2], *v[1:]], r"got \(200, 2\)"),
        (lambda v: [v[0].T, *v[1:]], r"got \(3, 200\)"),
        (lambda v: [v[0].ravel(), *v[1:]], r"got \(600,\)"),
    ],
)
def test_wrong_shapes_and_counts_are_refused_and_nothing_is_left(
    toy: Toy, change: Callable[[list[np.ndarray]], list[np.ndarray]], said: str
) -> None:
    with pytest.raises(PredictionsError, match=said):
        write(toy, change(zeros(toy)))
    assert list(toy.workspace.source("s", "test").iterdir()) == [] and toy.project.predictions.sources() == []


def test_a_writer_that_dies_leaves_the_old_part(toy: Toy, digests) -> None:
    write(toy, zeros(toy))
    before = digests(toy.workspace.predictions)

    def dying() -> Iterator[np.ndarray]:
        yield zeros(toy)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(toy, dying())
    assert digests(toy.workspace.predictions) == before


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_the_old_part_whole(toy: Toy, monkeypatch: pytest.MonkeyPatch, digests, call: str) -> None:
    write(toy, zeros(toy))
    before = digests(toy.workspace.predictions)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr("numpy.lib.format.write_array_header_1_0", full)
    with pytest.raises(KitError, match="No room left on the disk"):
        write(toy, [value + 0.5 for value in zeros(toy)])
    monkeypatch.undo()
    assert digests(toy.workspace.predictions) == before
    assert toy.project.predictions.read("s", "test").values(0).max() == 0


def test_a_manifest_never_vouches_for_other_values(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    write(toy, zeros(toy))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kit.data.prediction_store.write_json", killed)  # between values and manifest
    with pytest.raises(KeyboardInterrupt):
        write(toy, [value + 0.5 for value in zeros(toy)])
    assert toy.project.predictions.manifest("s", "test", None) is None
    assert not toy.project.predictions.is_done("s", "test", RECIPE)


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b"])
def test_names_that_cannot_be_folders_are_refused(toy: Toy, name: str) -> None:
    with pytest.raises(UsageError):
        write(toy, zeros(toy), name)
    with pytest.raises(UsageError):
        toy.project.predictions.read(name, "test")


# --- what is there ------------------------------------------------------------


def test_only_the_same_recipe_index_and_folds_count_as_done(toy: Toy) -> None:
    write(toy, zeros(toy), "s", fold=1)
    ours = store(toy, toy.folds)
    assert ours.is_done("s", "test", RECIPE, fold=1)
    assert not ours.is_done("s", "test", {"kind": "other"}, fold=1)
    assert not ours.is_done("s", "test", RECIPE, fold=0)
    assert not ours.is_done("s", "oof", RECIPE, fold=1)
    other = make_folds(toy.project, k=3, seed=5)
    assert not store(toy, other).is_done("s", "test", RECIPE, fold=1)


def test_an_unknown_source_is_named_with_those_that_are_there(toy: Toy) -> None:
    with pytest.raises(UnknownName, match=r"There is no source 'x'. Known: none yet"):
        toy.project.predictions.read("x", "oof")
    write(toy, zeros(toy), "b")
    write(toy, zeros(toy), "a")
    with pytest.raises(UnknownName, match="Known: a, b"):
        toy.project.predictions.read("x", "oof")


@pytest.mark.parametrize("folder", ["fine", "fine/oof"])
def test_a_source_whose_folder_may_not_be_read_is_told_of_with_its_path(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    write_toy_source(toy, "fine")
    closed, inner = toy.workspace.predictions / folder, Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return inner(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    for line in ("sources", "blend fine", "upload fine --dry-run"):
        done = kit(f"-w {toy.workspace.root} {line}")
        assert done.is_one_error_line and f"{closed}: Permission denied" in done.err, done


@pytest.mark.parametrize(
    ("present", "said"),
    [
        ([0, 2], "lacks the oof predictions of folds 1. Run: kit train m --fold 1"),
        ([1], "folds 0, 2. Run: kit train m --fold 0 --fold 2"),
    ],
)
def test_missing_folds_are_named_with_the_next_command(toy: Toy, present: list[int], said: str) -> None:
    write_toy_source(toy, "m", by_fold=True, present=present)
    with pytest.raises(MissingStep, match=said):
        toy.project.predictions.read("m", "oof")
    partial = toy.project.predictions.read("m", "oof", partial=True)
    assert set(toy.folds.fold[partial.photos].tolist()) == set(present)
    assert toy.project.predictions.missing_folds("m", "test") == [f for f in range(3) if f not in present]


def test_folds_that_were_trained_but_not_predicted_say_predict(toy: Toy) -> None:
    write_toy_source(toy, "m", by_fold=True, present=[0, 1])
    folder = toy.workspace.run("m", 2)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    with pytest.raises(MissingStep, match="Run: kit predict m --fold 2"):
        toy.project.predictions.read("m", "oof")


def test_a_source_made_by_fold_needs_the_folds(toy: Toy) -> None:
    write_toy_source(toy, "m", by_fold=True)
    with pytest.raises(MissingStep, match="Run: kit folds"):
        store(toy, None).read("m", "oof")
    write_toy_source(toy, "f")
    assert len(store(toy, None).read("f", "oof").photos) == 12


def test_other_folds_another_index_or_another_recipe_are_refused(toy: Toy, tmp_path: Path) -> None:
    write_toy_source(toy, "m", by_fold=True)
    write_toy_source(toy, "f")
    other = make_folds(toy.project, k=3, seed=5)
    with pytest.raises(Mismatch, match=r"made with other folds .* Run: kit train m --fold all --force"):
        store(toy, other).read("m", "oof")
    elsewhere = make_toy_workspace(tmp_path / "other", photos=12, test=3, k=3, seed=9)
    with pytest.raises(Mismatch, match=r"made for another index .* Run: kit fill f --force"):
        PredictionStore(toy.workspace, elsewhere.index).read("f", "oof")
    path = toy.workspace.source("m", "oof") / "fold_1.json"
    write_json(path, {**read_json(path, made_by=""), "recipe": {"name": "otherwise"}})
    with pytest.raises(Mismatch, match="trained with different settings"):
        store(toy, toy.folds).read("m", "oof")


def test_the_digest_names_the_values_and_seconds_add_up(toy: Toy) -> None:
    write_toy_source(toy, "a", by_fold=True, seconds=2.0)
    write_toy_source(toy, "b", by_fold=True)
    one, same = (toy.project.predictions.read(name, "oof") for name in "ab")
    assert one.digest == same.digest and one.seconds == 6.0
    write_toy_source(toy, "b", seed=1, by_fold=True)
    assert toy.project.predictions.read("b", "oof").digest != one.digest


# --- damage -------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10])


def other_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float32))


def swapped_bytes(path: Path) -> None:
    np.save(path, np.load(path).astype(">f2"))


def other_shape(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def flat(path: Path) -> None:
    np.save(path, np.load(path).ravel())


def longer_with_its_manifest(path: Path) -> None:
    values = np.load(path)[:-5]
    np.save(path, values)
    manifest = path.with_suffix(".json")
    write_json(manifest, {**read_json(manifest, made_by=""), "values": len(values)})


@pytest.mark.parametrize(
    "spoil", [truncate, cut_header, other_type, swapped_bytes, other_shape, flat, longer_with_its_manifest]
)
def test_damaged_values_are_refused_with_the_command_that_makes_them_again(
    toy: Toy, spoil: Callable[[Path], None]
) -> None:
    write_toy_source(toy, "m")
    spoil(toy.workspace.source("m", "oof") / "all.npy")
    with pytest.raises(DamagedStore, match=r"all\.npy .*[Rr]un: kit fill m --force"):
        toy.project.predictions.read("m", "oof")


KEYS = ["source", "split", "part", "made_by", "recipe", "index", "folds", "values", "digest", "seconds"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("wrong", ["absent", [1]])
@pytest.mark.parametrize("by_fold", [False, True])
def test_a_manifest_with_a_key_missing_or_of_another_kind_is_damaged(
    toy: Toy, key: str, wrong: object, by_fold: bool
) -> None:
    write_toy_source(toy, "m", by_fold=by_fold)
    part = fold_part(1) if by_fold else ALL
    path = toy.workspace.source("m", "oof") / f"{part}.json"
    manifest = read_json(path, made_by="")
    write_json(path, {k: v for k, v in {**manifest, key: wrong}.items() if k != key or wrong != "absent"})
    again = "kit predict m --fold 1" if by_fold else "kit import m --oof FILE"
    with pytest.raises(DamagedStore, match=f"{part}.json is not the manifest .*{key}.* Delete it, then run: {again}"):
        toy.project.predictions.read("m", "oof")
    with pytest.raises(DamagedStore):
        toy.project.predictions.is_done("m", "oof", RECIPE, fold=1 if by_fold else None)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_manifest_that_is_no_json_is_damaged(toy: Toy, text: str) -> None:
    write_toy_source(toy, "m")
    (toy.workspace.source("m", "oof") / "all.json").write_text(text)
    with pytest.raises(DamagedStore, match="Delete it, then run: kit import m --oof FILE"):
        toy.project.predictions.read("m", "oof")


def test_a_part_copied_to_another_name_is_refused(toy: Toy) -> None:
    write_toy_source(toy, "m", by_fold=True)
    folder = toy.workspace.source("m", "oof")
    for suffix in (".npy", ".json"):
        (folder / f"fold_1{suffix}").write_bytes((folder / f"fold_0{suffix}").read_bytes())
    with pytest.raises(DamagedStore, match="of another source or part"):
        toy.project.predictions.read("m", "oof")


def test_planted_nan_is_named_with_the_part_that_holds_it(toy: Toy) -> None:
    write_toy_source(toy, "m", by_fold=True)
    path = toy.workspace.source("m", "test") / "fold_2.npy"
    values = np.load(path)
    values[250, 1] = np.nan
    np.save(path, values)
    predictions = toy.project.predictions.read("m", "test")
    assert np.isfinite(predictions.values(0)).all()
    with pytest.raises(
        PredictionsError, match=r"test/fold_2\.npy holds values that are not finite.*kit train m --force"
    ):
        predictions.values(1)


def test_a_folder_without_a_manifest_is_no_source(toy: Toy) -> None:
    (toy.workspace.predictions / "empty" / "oof").mkdir(parents=True)
    (toy.workspace.predictions / "empty" / "oof" / "all.npy").touch()
    (toy.workspace.predictions / "a file").touch()
    assert toy.project.predictions.sources() == []


def test_a_folder_whose_name_no_source_can_have_stops_nothing(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    folder = toy.workspace.predictions
    ok(f"-w {toy.workspace.root} fill mean")
    for name in ("a b", "<b>x", ".x", "new\nline"):
        shutil.copytree(folder / "mean", folder / name)
    (folder / "no source").mkdir()  # holds no predictions, and is nobody's business
    begin_command()
    assert toy.project.predictions.sources() == ["mean"] == toy.project.predictions.sources()
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and f"Passed over in {folder}: '.x', '<b>x', 'a b', 'new\\nline'; " in line
    done = kit(f"-w {toy.workspace.root} sources --json")
    assert done.code == 0 and [one["name"] for one in json.loads(done.out)] == ["mean"]
    assert done.err.count("Passed over in ") == 1
