"""Importing: every format gives back the values that were put in, and every wrong file is refused with a reason."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.command import Done, kit, ok
from support.toy import Predictor, Toy, make_toy_files, make_toy_workspace, noisy, write_toy_source

from kit.competitions import to_score_space
from kit.core.storage import read_json
from kit.core.workspace import PredictionSplit
from kit.data.pack import build_pack, read_pack
from kit.data.project import Project
from kit.errors import PredictionsError, StoreError, TableError
from kit.exchange import compare_folds, doubts_about, export_source, import_part
from kit.exchange.values import Heard, Meaning, Photos, from_score_space, to_pixels
from kit.imaging.holes import scored_pixels
from kit.imaging.images import load_image, resize, save_image, to_uint8

SPLITS: tuple[PredictionSplit, PredictionSplit] = ("oof", "test")


def faded(share: float) -> Predictor:
    """Truth drawn toward grey: the same for a pixel in both boxes, as it is in a picture."""
    return lambda split, photo, truth: truth + share * (0.5 - truth) + 0.05 * ((photo % 3) - 1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """30 training and 6 test photos with a source `good`. Shared: imports go into `toy`, a copy."""
    toy = make_toy_workspace(tmp_path_factory.mktemp("base"), photos=30)
    write_toy_source(toy, "good", predict=faded(0.3))
    write_toy_source(toy, "other", 0.2, 2)
    write_toy_source(toy, "unet", 0.05, 3, by_fold=True)
    return toy


@pytest.fixture
def toy(base: Toy, tmp_path: Path) -> Toy:
    """A workspace to be written to."""
    root = tmp_path / "w"
    shutil.copytree(base.workspace.root, root)
    project = Project(type(base.workspace)(root, base.workspace.slug))
    return Toy(project.workspace, base.layout, project.index, project.pack, project.folds, base.truth)


def project_of(toy: Toy) -> Project:
    return Project(toy.workspace)


def stored(toy: Toy, name: str, split: PredictionSplit) -> np.ndarray:
    """The values of a source in the store, `(values, 3)` float16."""
    return np.array(np.load(toy.workspace.source(name, split) / "all.npy"))


def values_of(toy: Toy, name: str, split: PredictionSplit) -> list[np.ndarray]:
    predictions = toy.project.predictions.read(name, split)
    return [predictions.values(photo) for photo in range(len(predictions.counts))]


def pictures_of(toy: Toy, name: str, split: PredictionSplit) -> list[np.ndarray]:
    """Whole pictures, float32 `(H, W, 3)`: the photo with the predictions in its hole."""
    photos = Photos.of(project_of(toy), split)
    pictures = []
    for position, values in enumerate(values_of(toy, name, split)):
        picture = (photos.images[position] / 255.0).astype(np.float32)
        picture[scored_pixels(photos.samples[position].boxes)] = values
        pictures.append(picture)
    return pictures


def csv_of(toy: Toy, name: str, split: PredictionSplit) -> list[bytes]:
    """The CSV lines of each photo, the header first."""
    photos = Photos.of(project_of(toy), split)
    lines = [toy.layout.header(toy.workspace.raw)]
    for sample, values, extremes in zip(photos.samples, values_of(toy, name, split), photos.estimated, strict=True):
        lines.append(toy.layout.encode(sample.name, sample.boxes, to_score_space(values, extremes)))
    return lines


# --- round trips ----------------------------------------------------------------


def flat(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.concatenate(values_of(toy, "good", split)).astype(np.float16))
    return path.with_suffix(".npy")


def by_photo(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.stack(values_of(toy, "good", split)))
    return path.with_suffix(".npy")


def fortran(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.asfortranarray(np.stack(values_of(toy, "good", split)).astype(">f8")))
    return path.with_suffix(".npy")


def flat_fortran(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.asfortranarray(np.concatenate(values_of(toy, "good", split))))
    return path.with_suffix(".npy")


def whole(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.stack(pictures_of(toy, "good", split)))
    return path.with_suffix(".npy")


def channels_first(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.stack(pictures_of(toy, "good", split)).transpose(0, 3, 1, 2))
    return path.with_suffix(".npy")


def by_id(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    samples = Photos.of(project_of(toy), split).samples
    named = {sample.id: values for sample, values in zip(samples, values_of(toy, "good", split), strict=True)}
    np.savez_compressed(path.with_suffix(".npz"), **dict(reversed(named.items())))
    return path.with_suffix(".npz")


def by_file_name(toy: Toy, split: PredictionSplit, path: Path) -> Path:
    samples = Photos.of(project_of(toy), split).samples
    pictures = pictures_of(toy, "good", split)
    np.savez(path.with_suffix(".npz"), **{one.name: each for one, each in zip(samples, pictures, strict=True)})
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


def test_score_space_is_stretched_by_the_extremes_of_the_known_pixels(toy: Toy, tmp_path: Path) -> None:
    photos = Photos.of(project_of(toy), "oof")
    pairs = zip(values_of(toy, "good", "oof"), photos.estimated, strict=True)
    np.save(tmp_path / "file.npy", np.stack([to_score_space(values, extremes) for values, extremes in pairs]))
    import_part(project_of(toy), "mate", "oof", tmp_path / "file.npy", space="score")
    assert np.allclose(stored(toy, "mate", "oof"), stored(toy, "good", "oof"), atol=1e-3)


@given(arrays(np.float64, (7, 3), elements=st.floats(0, 1)), arrays(np.float64, (2, 3), elements=st.floats(0, 1)))
def test_score_space_and_back_is_where_it_began(values: np.ndarray, extremes: np.ndarray) -> None:
    extremes = np.sort(extremes, axis=0)
    extremes[1] += 0.01
    assert np.allclose(from_score_space(to_score_space(values, extremes), extremes), values, atol=1e-9)


@given(values=arrays(np.float32, (200, 3), elements=st.floats(0, 1, width=32)), scale=st.sampled_from([1, 100, 255]))
def test_a_range_and_an_order_of_channels_are_undone(base: Toy, values: np.ndarray, scale: float) -> None:
    photos = Photos.of(project_of(base), "oof")
    written = values[:, ::-1].astype(np.float64) * scale
    read = to_pixels(written, photos, 0, Meaning(channels="bgr", scale=scale), "file")
    assert np.allclose(read, values, atol=1e-12)


# --- CSV ------------------------------------------------------------------------


def in_order(parts: list[bytes]) -> bytes:
    return b"".join(parts)


def photos_shuffled(parts: list[bytes]) -> bytes:
    header, *photos = parts
    return header + b"".join(photos[place] for place in np.random.default_rng(0).permutation(len(photos)))


def sorted_as_text(parts: list[bytes]) -> bytes:
    return parts[0] + b"".join(sorted(b"".join(parts[1:]).splitlines(keepends=True)))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("order", [in_order, photos_shuffled, sorted_as_text], ids=lambda order: order.__name__)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
def test_a_csv_in_any_order_gives_the_values_of_its_rows(
    toy: Toy, tmp_path: Path, split: PredictionSplit, order: Callable, suffix: str
) -> None:
    data, path = order(csv_of(toy, "good", split)), tmp_path / f"rows{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("rows.csv", data)
    else:
        path.write_bytes(gzip.compress(data) if suffix == ".csv.gz" else data)
    import_part(project_of(toy), "mate", split, path)
    photos = Photos.of(project_of(toy), split)
    clipped = [  # a submission's values end at 0 and 1 of score space
        from_score_space(np.clip(to_score_space(values, extremes), 0, 1).round(6), extremes)
        for values, extremes in zip(values_of(toy, "good", split), photos.estimated, strict=True)
    ]
    assert np.array_equal(stored(toy, "mate", split), np.concatenate(clipped).astype(np.float16))
    assert not list(toy.workspace.root.rglob(".partial-*"))


def test_a_submission_written_from_an_imported_submission_is_the_same(toy: Toy, tmp_path: Path) -> None:
    root = toy.workspace.root
    ok(f"-w {root} upload good --dry-run")
    first = toy.workspace.submission("good")
    ok(f"-w {root} import mate --test {first}")
    ok(f"-w {root} upload mate --dry-run")
    pairs = zip(
        first.read_text().splitlines()[1:], toy.workspace.submission("mate").read_text().splitlines()[1:], strict=True
    )
    rows = [(one.rsplit(",", 1), other.rsplit(",", 1)) for one, other in pairs]
    assert all(one[0] == other[0] for one, other in rows)
    assert max(abs(float(one[1]) - float(other[1])) for one, other in rows) < 1e-3  # the store has float16


def twins(tmp_path: Path, same_boxes: bool) -> Toy:
    """A competition in which two training photos of different classes have one file name."""
    workspace = make_toy_files(tmp_path / "w", photos=6)
    table = workspace.raw / "boxes.csv"
    lines = table.read_text().splitlines()
    first, second = lines[1].split(","), lines[2].split(",")
    second[3] = first[3]
    if same_boxes:
        second[6] = first[6]
    lines[2] = ",".join(second)
    table.write_text("\n".join(lines) + "\n")
    from support.toy import TOY

    index, _ = build_pack(workspace, TOY)
    assert index.train[0].name == index.train[1].name and index.train[0].klass != index.train[1].klass
    pack = read_pack(workspace, index)
    toy = Toy(workspace, TOY, index, pack, None, np.zeros((6, 32, 32, 3), np.uint8))  # type: ignore[arg-type]
    write_toy_source(toy, "good", predict=faded(0.3), splits=["oof"])
    return toy


@pytest.mark.parametrize("same_boxes", [False, True])
def test_photos_of_one_name_are_told_apart_by_their_boxes_or_their_order(tmp_path: Path, same_boxes: bool) -> None:
    toy = twins(tmp_path, same_boxes)
    parts = csv_of(toy, "good", "oof")
    if not same_boxes:
        parts[1], parts[2] = parts[2], parts[1]
    (tmp_path / "rows.csv").write_bytes(b"".join(parts))
    done = import_part(project_of(toy), "mate", "oof", tmp_path / "rows.csv")
    assert np.allclose(stored(toy, "mate", "oof"), stored(toy, "good", "oof"), atol=0.1)
    assert any("taken in the order of the index" in note for note in done.notes) == same_boxes


def test_arrays_and_pictures_of_one_name_need_more_than_that_name(tmp_path: Path) -> None:
    toy = twins(tmp_path, False)
    samples, pictures = toy.index.train, pictures_of(toy, "good", "oof")
    np.savez(tmp_path / "file.npz", **{one.name: each for one, each in zip(samples, pictures, strict=True)})
    with pytest.raises(PredictionsError, match=r"could be train/Cat/Cat \(0\)\.png or train/Dog/Dog \(1\)\.png"):
        import_part(project_of(toy), "mate", "oof", tmp_path / "file.npz")
    for sample, picture in zip(samples, pictures, strict=True):
        save_image(tmp_path / "flat" / sample.name, to_uint8(picture))
        save_image(tmp_path / "classes" / sample.klass.lower() / sample.name, to_uint8(picture))
    with pytest.raises(PredictionsError, match="Put the pictures in a folder for each class"):
        import_part(project_of(toy), "mate", "oof", tmp_path / "flat")
    import_part(project_of(toy), "mate", "oof", tmp_path / "classes")
    assert np.allclose(stored(toy, "mate", "oof"), stored(toy, "good", "oof"), atol=0.004)


# --- pictures -------------------------------------------------------------------


def painted(toy: Toy, folder: Path, split: PredictionSplit = "oof", suffix: str = "", swap: bool = False) -> Path:
    photos = Photos.of(project_of(toy), split)
    for sample, picture in zip(photos.samples, pictures_of(toy, "good", split), strict=True):
        name = f"{Path(sample.name).stem}{suffix}" if suffix else sample.name
        save_image(folder / name, to_uint8(picture[..., ::-1] if swap else picture))
    return folder


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("suffix", ["", ".bmp", ".webp", ".png.png"])
def test_a_folder_of_pictures_gives_their_hidden_pixels(
    toy: Toy, tmp_path: Path, split: PredictionSplit, suffix: str
) -> None:
    folder = painted(toy, tmp_path / "painted", split, suffix)
    import_part(project_of(toy), "mate", split, folder)
    photos = Photos.of(project_of(toy), split)
    names = [f"{Path(sample.name).stem}{suffix}" if suffix else sample.name for sample in photos.samples]
    expected = [
        load_image(folder / name)[scored_pixels(sample.boxes)] / 255.0
        for name, sample in zip(names, photos.samples, strict=True)
    ]
    assert np.array_equal(stored(toy, "mate", split), np.concatenate(expected).astype(np.float16))


def test_pictures_of_another_size_are_resized_and_cropped_ones_refused(toy: Toy, tmp_path: Path) -> None:
    small = np.stack([resize(picture, 16, 16) for picture in pictures_of(toy, "good", "oof")])
    np.save(tmp_path / "small.npy", to_uint8(small))
    done = import_part(project_of(toy), "mate", "oof", tmp_path / "small.npy")
    assert any("30 pictures of 16x16 resized" in note for note in done.notes)
    expected = resize(to_uint8(small[3]) / 255.0, 32, 32)[scored_pixels(toy.index.train[3].boxes)]
    assert np.allclose(values_of(toy, "mate", "oof")[3], np.clip(expected, 0, 1), atol=1e-3)
    np.save(tmp_path / "cropped.npy", small[:, :12])
    with pytest.raises(PredictionsError, match=r"16x12, but train/.* is 32x32: another shape"):
        import_part(project_of(toy), "cropped", "oof", tmp_path / "cropped.npy")


def test_channels_the_other_way_round_are_noticed(toy: Toy, tmp_path: Path) -> None:
    folder = painted(toy, tmp_path / "bgr", swap=True)
    with pytest.raises(PredictionsError, match=r"red and blue exchanged\. Import it with: --channels bgr"):
        import_part(project_of(toy), "mate", "oof", folder)
    import_part(project_of(toy), "mate", "oof", folder, channels="bgr")
    with pytest.raises(PredictionsError, match="--channels rgb"):
        import_part(project_of(toy), "right", "oof", painted(toy, tmp_path / "rgb"), channels="bgr")


def test_pictures_of_other_photos_are_refused_and_one_of_them_is_said(toy: Toy, tmp_path: Path) -> None:
    pictures = pictures_of(toy, "good", "oof")
    np.save(tmp_path / "rolled.npy", np.stack(pictures[1:] + pictures[:1]))
    with pytest.raises(PredictionsError, match=r"differ from the photo by 0\.\d+ .* another order"):
        import_part(project_of(toy), "mate", "oof", tmp_path / "rolled.npy")
    pictures[4] = 1 - pictures[4]
    np.save(tmp_path / "one.npy", np.stack(pictures))
    done = import_part(project_of(toy), "mate", "oof", tmp_path / "one.npy")
    assert any("1 of 30 pictures are like that" in warning for warning in done.warnings)


def test_boxes_painted_on_black_are_taken_and_said(toy: Toy, tmp_path: Path) -> None:
    pictures = pictures_of(toy, "good", "test")
    for picture, sample in zip(pictures, toy.index.test, strict=True):
        picture[~sample.hole] = 0
    np.save(tmp_path / "boxes.npy", np.stack(pictures))
    done = import_part(project_of(toy), "mate", "test", tmp_path / "boxes.npy")
    assert any("6 pictures are blank outside the boxes" in note for note in done.notes)
    assert np.array_equal(stored(toy, "mate", "test"), stored(toy, "good", "test"))


# --- the source -----------------------------------------------------------------


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
        ("all", "is the word for all fills"),
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
    (toy.workspace.runs / "begun").mkdir(parents=True)
    ok(f"-w {toy.workspace.root} blend good other --name blended")
    before = digests(toy.workspace.root)
    for more in ("", "--force"):
        done = kit(f"-w {toy.workspace.root} import '{name}' --oof {path} {more}")
        assert done.is_one_error_line and said in done.err, done
    assert digests(toy.workspace.root) == before


# --- export ---------------------------------------------------------------------


def test_export_and_import_give_the_same_values(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = toy.workspace.root
    said = ok(f"-w {root} export good")
    assert "30 training photos and 6 test photos, to good.npz" in said
    ok(f"-w {root} import mate --oof good.npz --test good.npz")
    for split in SPLITS:
        assert np.array_equal(stored(toy, "mate", split), stored(toy, "good", split))
    ok(f"-w {root} export mate")
    assert (tmp_path / "mate.npz").read_bytes() == (tmp_path / "good.npz").read_bytes()
    done = kit(f"-w {root} export good")
    assert done.is_one_error_line and "good.npz is there already" in done.err and "--force" in done.err
    ok(f"-w {root} export good --force")
    assert "is a .npz file" in kit(f"-w {root} export good --out good.csv").err
    assert "There is no source 'nobody'" in kit(f"-w {root} export nobody").err


def test_an_export_of_folds_has_the_mean_of_their_test_predictions(toy: Toy, tmp_path: Path) -> None:
    export_source(project_of(toy), "unet", tmp_path / "unet.npz")
    with np.load(tmp_path / "unet.npz") as file:
        for split in SPLITS:
            for sample, values in zip(
                Photos.of(project_of(toy), split).samples, values_of(toy, "unet", split), strict=True
            ):
                assert np.array_equal(file[sample.id], values.astype(np.float16))


def test_half_an_import_can_be_exported_and_half_a_training_cannot(toy: Toy, tmp_path: Path) -> None:
    import_part(project_of(toy), "mate", "test", flat(toy, "test", tmp_path / "file"))
    assert export_source(project_of(toy), "mate", tmp_path / "mate.npz").photos == {"test": 6}
    write_toy_source(toy, "part", by_fold=True, present=[0])
    done = kit(f"-w {toy.workspace.root} export part --out {tmp_path / 'part.npz'}")
    assert done.is_one_error_line and "lacks the oof predictions of folds 1, 2" in done.err
    assert not (tmp_path / "part.npz").exists()


# --- what looks wrong -----------------------------------------------------------


def doubts(
    toy: Toy, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], splits: tuple = ("oof",), source: str = "good"
) -> str:
    for split in splits:
        np.save(tmp_path / f"{split}.npy", change(np.stack(values_of(toy, source, split))))
        import_part(project_of(toy), "mate", split, tmp_path / f"{split}.npy")
    return " ".join(doubts_about(project_of(toy), "mate"))


def test_right_predictions_raise_no_doubt(toy: Toy, tmp_path: Path) -> None:
    assert doubts(toy, tmp_path, lambda values: values, ("oof", "test")) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values[::-1], "in the order of index.csv"),
        (lambda values: np.full_like(values, 0.5), "predicted as 0.500 everywhere"),
        (lambda values: np.broadcast_to(np.linspace(0, 1, values.shape[1])[:, None], values.shape), "the same level"),
        (lambda values: values[..., ::-1], "red and blue exchanged"),
    ],
    ids=["order", "constant", "one level", "channels"],
)
def test_predictions_that_look_wrong_are_said(toy: Toy, tmp_path: Path, change: Callable, said: str) -> None:
    assert said in doubts(toy, tmp_path, change)


def test_values_in_the_other_space_are_said(toy: Toy, tmp_path: Path) -> None:
    write_toy_source(toy, "sharp", predict=faded(0.0), splits=["oof"])
    stretches = Photos.of(project_of(toy), "oof").estimated

    def stretched(values: np.ndarray) -> np.ndarray:
        return np.stack([to_score_space(one, extremes) for one, extremes in zip(values, stretches, strict=True)])

    assert "if they were in score space" in doubts(toy, tmp_path, stretched, source="sharp")


def test_test_predictions_in_another_order_are_said_where_known_pixels_tell_it(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path / "w", photos=24, test=24)
    rng = np.random.default_rng(0)
    for split, folder in (("train", "train/truth"), ("train", "train/image"), ("test", "test")):
        for sample in toy.index.split(split):  # photos that differ in how light they are
            level = np.random.default_rng(len(sample.name) + sum(sample.name.encode())).uniform(0.2, 0.8)
            photo = np.clip(level + rng.normal(0, 0.05, (32, 32, 3)), 0, 1)
            save_image(toy.workspace.raw / folder / sample.name, to_uint8(photo))
    index, _ = build_pack(toy.workspace, toy.layout)
    project = Project(toy.workspace)
    around = [image[~one.hole].mean() / 255 for one, image in zip(index.test, project.pack.test_image, strict=True)]
    values = np.stack([np.full((200, 3), level) for level in around])
    for order, said in ((slice(None), ""), (slice(None, None, -1), "with their known pixels")):
        np.save(tmp_path / "test.npy", values[order])
        import_part(project, "mate", "test", tmp_path / "test.npy", force=True)
        assert said in (found := " ".join(doubts_about(project, "mate"))) and bool(said) == bool(found)


def test_test_predictions_that_are_lighter_than_the_oof_are_said(toy: Toy, tmp_path: Path) -> None:
    import_part(project_of(toy), "mate", "oof", flat(toy, "oof", tmp_path / "oof"))
    np.save(tmp_path / "test.npy", np.clip(np.stack(values_of(toy, "good", "test")) + 0.4, 0, 1))
    import_part(project_of(toy), "mate", "test", tmp_path / "test.npy")
    assert "lighter than OOF ones" in " ".join(doubts_about(project_of(toy), "mate"))


@pytest.mark.parametrize(("noise", "said"), [(0.0, "as good as the truth itself"), (0.015, "less than half of")])
def test_oof_predictions_that_know_the_answer_are_said(toy: Toy, tmp_path: Path, noise: float, said: str) -> None:
    write_toy_source(toy, "cheat", predict=noisy(noise))
    np.save(tmp_path / "oof.npy", stored(toy, "cheat", "oof"))
    shutil.rmtree(toy.workspace.predictions / "cheat")
    done = kit(f"-w {toy.workspace.root} import mate --oof {tmp_path / 'oof.npy'}")
    assert done.code == 0 and said in done.err and "Did its models see these photos?" in done.err, done


def test_values_a_little_outside_are_cut_and_counted_and_black_ones_said(toy: Toy, tmp_path: Path) -> None:
    values = np.concatenate(values_of(toy, "good", "oof")).astype(np.float64)
    values[:5] = [1.1, -0.1, 0.5]
    np.save(tmp_path / "over.npy", values)
    done = import_part(project_of(toy), "mate", "oof", tmp_path / "over.npy")
    assert any("10 of 18000 values lay outside [0, 1]" in note for note in done.notes), done
    np.save(tmp_path / "black.npy", values / 255)
    done = import_part(project_of(toy), "black", "oof", tmp_path / "black.npy")
    assert any("everything is black" in warning for warning in done.warnings)


# --- folds ----------------------------------------------------------------------


def test_a_team_mates_folds_are_compared_with_ours(toy: Toy, tmp_path: Path) -> None:
    project, path = project_of(toy), tmp_path / "folds.csv"
    table = "\n".join(f"{sample.id},{2 - fold}" for sample, fold in zip(toy.index.train, toy.folds.fold, strict=True))
    path.write_text(f"id,fold\n{table}\n")
    assert "the folds are those of" in compare_folds(project, path)[0]  # other numbers, the same folds
    path.write_text("name,fold\n" + "\n".join(f"{sample.name},{k % 3}" for k, sample in enumerate(toy.index.train)))
    assert "are not those of" in compare_folds(project, path)[0]
    oof = flat(toy, "oof", tmp_path / "oof")
    assert "Note:" in ok(f"-w {toy.workspace.root} import mate --oof {oof} --folds {path}")


def test_near_duplicates_in_two_of_their_folds_are_said(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path / "w", duplicates=3)
    path = tmp_path / "folds.csv"
    path.write_text("id,fold\n" + "\n".join(f"{sample.id},{k % 2}" for k, sample in enumerate(toy.index.train)))
    assert any("near duplicates lie in more than one" in note for note in compare_folds(project_of(toy), path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("photo,fold\na,1\n", "has the columns photo, fold"),
        ("id,fold\na,1\na,2\n", "lists 'a' twice"),
        ("id,fold\na,1\n", "lacks 30 of the 30 training photos"),
        ("", "is not a CSV table"),
        (None, "is not a file"),
    ],
)
def test_folds_that_are_no_folds_of_these_photos_are_refused(
    toy: Toy, tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "folds.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TableError, match=said):
        compare_folds(project_of(toy), path)


# --- bad files ------------------------------------------------------------------


Write = Callable[[Toy, Path], Path]


def npy(change: Callable[[np.ndarray], np.ndarray]) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        np.save(folder / "bad.npy", change(np.stack(values_of(toy, "good", "oof"))), allow_pickle=True)
        return folder / "bad.npy"

    return write


def npz(change: Callable[[dict[str, np.ndarray]], None]) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        named = {one.id: values for one, values in zip(toy.index.train, values_of(toy, "good", "oof"), strict=True)}
        change(named)
        np.savez(folder / "bad.npz", **named)
        return folder / "bad.npz"

    return write


def csv(change: Callable[[list[bytes]], list[bytes]]) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        lines = b"".join(csv_of(toy, "good", "oof")).splitlines(keepends=True)
        (folder / "bad.csv").write_bytes(b"".join(change(lines)))
        return folder / "bad.csv"

    return write


def raw(name: str, data: bytes) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def cut(write: Write) -> Write:
    def then_cut(toy: Toy, folder: Path) -> Path:
        path = write(toy, folder)
        path.write_bytes(path.read_bytes()[:-4000])
        return path

    return then_cut


def pictures(change: Callable[[Path], object]) -> Write:
    def write(toy: Toy, folder: Path) -> Path:
        painted(toy, folder / "bad")
        change(folder / "bad")
        return folder / "bad"

    return write


def set_nan(values: np.ndarray) -> np.ndarray:
    values[3, 5, 1] = np.nan
    return values


def drop_two(named: dict[str, np.ndarray]) -> None:
    for key in list(named)[4:6]:
        del named[key]


def of_two_names(toy: Toy, folder: Path) -> Path:
    path = npz(lambda named: None)(toy, folder)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"")
    return path


def gzipped(toy: Toy, folder: Path) -> Path:
    data = gzip.compress(b"".join(csv_of(toy, "good", "oof")))
    (folder / "bad.csv.gz").write_bytes(data[: len(data) // 2])
    return folder / "bad.csv.gz"


def two_in_a_zip(toy: Toy, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        archive.writestr("a.csv", "id,value\n")
        archive.writestr("b.csv", "id,value\n")
    return folder / "bad.zip"


def flipped_bit(toy: Toy, folder: Path) -> Path:
    path = npz(lambda named: None)(toy, folder)
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    return path


def nothing(toy: Toy, folder: Path) -> Path:
    return folder / "nowhere.npz"


def a_text(toy: Toy, folder: Path) -> Path:
    (folder / "bad.txt").write_text("values")
    return folder / "bad.txt"


def of_test(toy: Toy, folder: Path) -> Path:
    return by_photo(toy, "test", folder / "bad")


def empty_folder(toy: Toy, folder: Path) -> Path:
    (folder / "bad.csv").mkdir()
    return folder / "bad.csv"


def both_suffixes(folder: Path) -> None:
    shutil.copy(folder / "Cat (0).png", folder / "deep.png")
    (folder / "x").mkdir()
    (folder / "deep.png").rename(folder / "x" / "Cat (0).png")


BAD: dict[str, tuple[Write, str]] = {
    "not there": (nothing, "is not there"),
    "unknown format": (a_text, "kit imports .npz, .npy, .csv"),
    "nan": (npz(lambda named: named.__setitem__("train/Cat/Cat (0).png", set_nan(np.zeros((6, 200, 3)))[3])),
            "1 of the 600 values of train/Cat/Cat (0).png are not finite"),
    "nan in an array": (npy(set_nan), "1 of the 600 values"),
    "infinite": (npy(lambda values: np.where(values > 0.5, np.inf, values)), "are not finite"),
    "0 to 255": (npy(lambda values: values * 255), "If they are 0 to 255, add: --scale 255"),
    "-1 to 1": (npy(lambda values: values * 2 - 1), "store (v + 1) / 2"),
    "huge": (npy(lambda values: values * 65535), "Say what stands for white: --scale N"),
    "one photo less": (npy(lambda values: values[1:]), "has the shape (29, 200, 3); for the 30 training photos"),
    "the other split": (of_test, "--oof and --test exchanged?"),
    "one number": (npy(lambda values: values.sum()), "has the shape ()"),
    "two channels": (npy(lambda values: values[..., :2]), "has the shape (30, 200, 2)"),
    "a pickle": (npy(lambda values: np.array([{"a": values}, None], object)), "holds a pickle of Python objects"),
    "texts": (npy(lambda values: values.astype(str)), "not numbers"),
    "complex": (npy(lambda values: values * 1j), "holds complex64, not numbers"),
    "bool": (npy(lambda values: values > 0.5), "holds bool, not numbers"),
    "cut npy": (cut(npy(lambda values: values)), "ends too early"),
    "cut npz": (cut(npz(lambda named: None)), "is damaged or no .npz file"),
    "a bit flipped": (flipped_bit, "is damaged or no .npz file"),
    "no npy": (raw("bad.npy", b"filename,value\n1,2\n"), "is not a .npy file"),
    "a bare pickle": (raw("bad.npy", b"\x80\x04\x95."), "is not a .npy file"),
    "empty npy": (raw("bad.npy", b""), "is not a .npy file"),
    "header of nonsense": (raw("bad.npy", b"\x93NUMPY\x01\x00\x04\x00{(:\n"), "is not a .npy file"),
    "no npz": (raw("bad.npz", b"PK"), "is damaged or no .npz file"),
    "photos missing": (npz(drop_two), "lacks 2 of the 30 training photos: 'train/Cat/Cat (4).png'"),
    "a photo of another shape": (
        npz(lambda named: named.__setitem__("train/Cat/Cat (0).png", np.zeros((7, 3)))),
        "has the shape (7, 3); (200, 3)"),
    "arrays of strange names": (npz(lambda named: (named.clear(), named.update(a=np.zeros(3), b=np.zeros(3)))),
                                "none named like a training photo"),
    "no array at all": (npz(dict.clear), "holds 0 arrays"),
    "a name twice": (of_two_names, "two arrays of one name: 'train/Cat/Cat (0).png'"),
    "no header": (csv(lambda lines: lines[1:]), "expected a header"),
    "empty csv": (raw("bad.csv", b""), "found 0 columns"),
    "only a header": (csv(lambda lines: lines[:1]), "lacks 30 of the 30 training photos"),
    "three columns": (csv(lambda lines: [line.replace(b",", b",1,") for line in lines]), "found 3 columns"),
    "a short row": (csv(lambda lines: [*lines[:9], b"x\n", *lines[9:]]), "line 10: found 1 columns"),
    "a row missing": (csv(lambda lines: lines[:9] + lines[10:]), "but it is none of train/Cat/Cat (0).png"),
    "a row twice": (csv(lambda lines: [*lines[:9], *lines[8:]]), "line 10: the id 'Cat (0).png_box1"),
    "a photo twice": (csv(lambda lines: lines + lines[1:601]), "the photo 'Cat (0).png' is there twice"),
    "a photo missing": (csv(lambda lines: lines[:1] + lines[601:]), "lacks 1 of the 30 training photos"),
    "cut csv": (csv(lambda lines: lines[:-7]), "after 593 of the 600 rows of train/Dog/Dog (29).png"),
    "a word": (csv(lambda lines: [*lines[:9], lines[9].split(b",")[0] + b",grey\n", *lines[10:]]),
               "line 10: found the value 'grey', not a finite number"),
    "no value": (csv(lambda lines: [*lines[:9], lines[9].split(b",")[0] + b",\n", *lines[10:]]),
                 "line 10: found the value '', not a finite number"),
    "nan in csv": (csv(lambda lines: [*lines[:9], lines[9].split(b",")[0] + b",nan\n", *lines[10:]]),
                   "line 10: found the value 'nan'"),
    "csv of 0 to 255": (csv(lambda lines: [line.replace(b",0.", b",9") for line in lines]), "far outside 0 to 1"),
    "latin-1": (csv(lambda lines: [*lines[:9], b"caf\xe9,1\n", *lines[9:]]), "expected UTF-8"),
    "cut gz": (gzipped, "is damaged"),
    "no zip": (raw("bad.zip", b"PK"), "is damaged"),
    "two in a zip": (two_in_a_zip, "holds 2 files, expected one CSV"),
    "a folder for a csv": (empty_folder, "is a folder without pictures"),
    "a picture missing": (pictures(lambda folder: (folder / "Cat (4).png").unlink()),
                          "lacks the pictures of 1 of the 30 training photos: 'train/Cat/Cat (4).png'"),
    "a cut picture": (pictures(lambda folder: (folder / "Cat (4).png").write_bytes(b"\x89PNG")),
                      "Cat (4).png is no whole picture (4 bytes)"),
    "two pictures of one": (pictures(both_suffixes), "holds 2 pictures of train/Cat/Cat (0).png"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(BAD))
def test_a_bad_file_is_one_line_and_leaves_nothing(toy: Toy, tmp_path: Path, digests: Callable, what: str) -> None:
    write, said = BAD[what]
    (tmp_path / "files").mkdir()
    path = write(toy, tmp_path / "files")
    before = digests(toy.workspace.root)
    done: Done = kit(f"-w {toy.workspace.root} import mate --oof {path}")
    assert done.is_one_error_line and said in done.err, done
    assert path.name in done.err
    assert digests(toy.workspace.root) == before
    assert not (toy.workspace.predictions / "mate").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import mate", "Give --oof FILE, --test FILE or both"),
        ("import mate --oof {csv} --channels bgr", "a CSV's rows name their channels"),
        ("import mate --oof {npy} --channels grb", "is not one of"),
        ("import mate --oof {npy} --space lab", "is not one of"),
        ("import mate --oof {npy} --scale 0", "--scale"),
        ("import mate --oof {npy} --scale nan", "--scale"),
        ("import --oof {npy}", "Missing argument"),
    ],
)
def test_options_that_cannot_be_are_one_line(toy: Toy, tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "rows.csv").write_bytes(b"".join(csv_of(toy, "good", "oof")))
    path = flat(toy, "oof", tmp_path / "flat")
    done = kit(f"-w {toy.workspace.root} {line.format(csv=tmp_path / 'rows.csv', npy=path)}")
    assert done.is_one_error_line and said in done.err, done


def test_extra_photos_are_left_and_said(toy: Toy, tmp_path: Path) -> None:
    named = {one.id: values for one, values in zip(toy.index.train, values_of(toy, "good", "oof"), strict=True)}
    np.savez(tmp_path / "more.npz", stranger=np.zeros((3, 3)), **named)
    done = import_part(project_of(toy), "npz", "oof", tmp_path / "more.npz")
    assert any("1 arrays are of no training photo and were left: 'stranger'" in note for note in done.notes)
    header, *photos = csv_of(toy, "good", "oof")
    strange = b"Cow (1).png_box1_0_0_0,0.5\n"
    (tmp_path / "more.csv").write_bytes(
        b"".join([header, *csv_of(toy, "good", "test")[1:], *photos[:9], strange, *photos[9:]])
    )
    done = import_part(project_of(toy), "csv", "oof", tmp_path / "more.csv")
    assert any("3601 rows are of no training photo" in note for note in done.notes), done
    folder = painted(toy, tmp_path / "painted")
    save_image(folder / "extra.png", np.zeros((4, 4, 3), np.uint8))
    done = import_part(project_of(toy), "pictures", "oof", folder)
    assert any("1 pictures are of no training photo and were left: 'extra.png'" in note for note in done.notes)


def test_a_picture_that_could_be_of_two_photos_is_refused(toy: Toy, tmp_path: Path) -> None:
    from kit.exchange.pictures import find_pictures

    first, second, *rest = toy.index.train
    photos = Photos.of(project_of(toy), "oof")
    names = ["a.jpeg", "a.jpg", *(sample.name for sample in rest)]
    samples = tuple(
        type(one)(**{**one.__dict__, "name": name, "klass": "Cat"})
        for one, name in zip(photos.samples, names, strict=True)
    )
    photos = Photos("oof", samples, (), photos.images, photos.estimated, photos.layout)
    folder = painted(toy, tmp_path / "painted")
    for sample in (first, second):
        (folder / sample.name).unlink()
    picture = np.zeros((32, 32, 3), np.uint8)
    save_image(folder / "a.png", picture)
    with pytest.raises(
        PredictionsError, match=r"a\.png could be of .* or of .* keep the photo's whole name: 'a\.jpg\.png'"
    ):
        find_pictures(folder, photos, Heard())
    save_image(folder / "a.jpg", picture)  # then a.png is left for a.jpeg
    assert [path.name for path in find_pictures(folder, photos, Heard())[:2]] == ["a.png", "a.jpg"]
    (folder / "a.png").unlink()
    with pytest.raises(PredictionsError, match="lacks the pictures of 1"):  # a.jpg is no picture of a.jpeg
        find_pictures(folder, photos, Heard())
    save_image(folder / "a.jpeg.png", picture)
    assert [path.name for path in find_pictures(folder, photos, Heard())[:2]] == ["a.jpeg.png", "a.jpg"]


# --- disks and kills ------------------------------------------------------------


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
