"""The demo's competition: like Kaggle's, from installed photos, with no pixel shared between training and test."""

from __future__ import annotations

import csv
import io
import socket
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from kit.competitions import competition
from kit.core.archive import extract
from kit.core.storage import digest_file
from kit.core.workspace import Workspace
from kit.data import sample_competition as demo
from kit.data.pack import build_pack, read_pack
from kit.data.sample_competition import SOURCES, DemoArchive, choose_crops, halves, make_demo_archive, source_path
from kit.errors import DataError, UsageError
from kit.imaging.holes import Box, hole_of
from kit.imaging.images import decode_image, load_image


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> DemoArchive:
    """The demo as `kit demo` makes it."""
    return make_demo_archive(tmp_path_factory.mktemp("demo"))


def names_below(archive: zipfile.ZipFile, folder: str) -> list[str]:
    return [
        PurePosixPath(name).name
        for name in archive.namelist()
        if name.startswith(folder) and not name.endswith("masked_info.csv")
    ]


def test_the_demo_has_about_a_hundred_training_and_24_test_photos_of_several_classes(whole: DemoArchive) -> None:
    with zipfile.ZipFile(whole.archive) as archive:
        classes = {name.split("/")[2] for name in archive.namelist() if name.startswith("Dataset/Training_Data/")}
        counts = [len(names_below(archive, f"Dataset/Training_Data/{klass}/Masked_Train")) for klass in classes]
        assert len(classes) >= 4
        assert sum(counts) == whole.train == 102
        assert min(counts) >= 15
        assert len(names_below(archive, "Dataset/Testing_Data")) == whole.test == 24


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    one, two, other = (
        make_demo_archive(tmp_path / folder, seed=seed, train=13, test=3)
        for folder, seed in (("one", 5), ("two", 5), ("other", 6))
    )
    assert one.archive.read_bytes() == two.archive.read_bytes()
    assert one.archive.read_bytes() != other.archive.read_bytes()
    assert {path.name: digest_file(path) for path in one.truth.iterdir()} == {
        path.name: digest_file(path) for path in two.truth.iterdir()
    }


def test_making_it_again_replaces_it_whole(tmp_path: Path) -> None:
    make_demo_archive(tmp_path, seed=1, train=3, test=6)
    again = make_demo_archive(tmp_path, seed=2, train=3, test=2)
    assert len(list(again.truth.iterdir())) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [again.archive.name, again.truth.name]


def test_the_layout_finds_every_photo_and_has_nothing_to_remark(whole: DemoArchive, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    extract(whole.archive, workspace.raw)
    index, notes = build_pack(workspace, competition(workspace.slug))
    pack = read_pack(workspace, index)
    assert (len(index.train), len(index.test), notes) == (102, 24, ())
    assert pack.train_target.shape == (102, 256, 256, 3)
    assert {photo_row.klass for photo_row in index.test} == set(index.classes)
    for photo_row in (*index.train, *index.test):
        assert [(box.height, box.width) for box in photo_row.boxes] == [(75, 75), (75, 75)]


def test_known_pixels_are_close_to_the_original_and_hidden_ones_are_black(whole: DemoArchive) -> None:
    with zipfile.ZipFile(whole.archive) as archive:
        table = list(csv.DictReader(io.TextIOWrapper(archive.open("Dataset/Testing_Data/masked_info.csv"))))
        for row in table:
            name = row["filename"]
            boxes = [Box(int(row[f"box{box}_row"]), int(row[f"box{box}_col"])) for box in (1, 2)]
            hole = hole_of(boxes, 256, 256)
            shown = decode_image(archive.read(f"Dataset/Testing_Data/{name}"), Path(name)).astype(int)
            original = load_image(whole.truth / name).astype(int)
            assert shown[hole].mean() < 3
            assert np.abs(shown - original)[~hole].mean() < 3


def test_boxes_overlap_somewhere_in_each_split(whole: DemoArchive) -> None:
    with zipfile.ZipFile(whole.archive) as archive:
        for path in ("Dataset/Training_Data/Person/Masked_Train", "Dataset/Testing_Data"):
            table = csv.DictReader(io.TextIOWrapper(archive.open(f"{path}/masked_info.csv")))
            apart = [
                max(abs(int(row["box1_row"]) - int(row["box2_row"])), abs(int(row["box1_col"]) - int(row["box2_col"])))
                for row in table
            ]
            assert min(apart) < 75


def test_the_truth_is_beside_the_archive_and_not_in_it(whole: DemoArchive) -> None:
    truth = {path.name: path.read_bytes() for path in whole.truth.iterdir()}
    with zipfile.ZipFile(whole.archive) as archive:
        assert set(truth) == set(names_below(archive, "Dataset/Testing_Data"))
        inside = {archive.read(name) for name in archive.namelist()}
    assert not inside & set(truth.values())


def test_names_are_as_awkward_as_in_the_real_archive(whole: DemoArchive) -> None:
    with zipfile.ZipFile(whole.archive) as archive:
        for folder in ("Dataset/Training_Data", "Dataset/Testing_Data"):
            names = [name for name in names_below(archive, folder) if "Unmasked" not in name]
            assert all(" (" in name and ")." in name for name in names)
            assert {Path(name).suffix for name in names} == {".jpeg", ".jpg", ".png"}
            twins = [name for name in names if name.endswith(".jpg") and name.replace(".jpg", ".jpeg") in names]
            assert twins
        unmasked = {name: archive.read(name) for name in archive.namelist() if "/Unmasked_Train/" in name}
    assert len(set(unmasked.values())) == len(unmasked)  # twins are different photos


def test_the_sample_asks_for_every_row_once_in_the_layout_s_order(whole: DemoArchive) -> None:
    with zipfile.ZipFile(whole.archive) as archive:
        lines = archive.read("sample_submission.csv").decode().splitlines()
        table = list(csv.DictReader(io.TextIOWrapper(archive.open("Dataset/Testing_Data/masked_info.csv"))))
    assert lines[0] == "filename_box_pixel,value"
    assert len(lines) - 1 == 24 * 2 * 75 * 75 * 3
    first, last = table[0], table[-1]
    assert lines[1] == f"{first['filename']}_box1_{first['box1_row']}_{first['box1_col']}_0,0"
    end = f"{int(last['box2_row']) + 74}_{int(last['box2_col']) + 74}_2,0"
    assert lines[-1] == f"{last['filename']}_box2_{end}"
    assert list(Counter(line.rsplit("_box", 1)[0] for line in lines[1:])) == [row["filename"] for row in table]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.file)
def test_training_and_test_crops_share_no_pixel_of_a_photo(source: demo._Source) -> None:
    image = load_image(source_path(source))
    height, width = image.shape[:2]
    claimed = {}
    for split, region in zip(("train", "test"), halves(source, height, width), strict=True):
        claimed[split] = np.zeros((height, width), bool)
        for seed in range(5):
            for crop in choose_crops(np.random.default_rng(seed), image, region, 9):
                assert crop.fits(height, width)
                claimed[split][crop.row : crop.row + crop.height, crop.col : crop.col + crop.width] = True
    assert not (claimed["train"] & claimed["test"]).any()
    assert claimed["train"].any() and claimed["test"].any()


def test_crops_are_of_several_scales_and_none_is_blank(whole: DemoArchive) -> None:
    with zipfile.ZipFile(whole.archive) as archive:
        for name in archive.namelist():
            if "/Unmasked_Train/" in name:
                photo = decode_image(archive.read(name), Path(name))
                assert photo.std() > 8
                assert (photo.reshape(-1, 3).max(axis=0) > photo.reshape(-1, 3).min(axis=0)).all()
    image = load_image(source_path(SOURCES[0]))
    crops = choose_crops(np.random.default_rng(0), image, halves(SOURCES[0], *image.shape[:2])[0], 9)
    assert len({crop.height for crop in crops}) > 3


def test_a_photo_without_any_contrast_still_gives_crops() -> None:
    crops = choose_crops(np.random.default_rng(0), np.zeros((300, 300, 3), np.uint8), Box(0, 0, 300, 200), 4)
    assert len(crops) == 4


def test_nothing_is_fetched_from_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the demo opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert make_demo_archive(tmp_path, train=12, test=12).archive.is_file()


def test_importing_the_demo_imports_neither_torch_nor_scikit_learn() -> None:
    heavy = ["torch", "sklearn", "skimage"]
    code = f"import sys, kit.data.sample_competition\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_installation_without_its_photos_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "SOURCES", (demo._Source("Person", "skimage/data", "nobody.png", "right"),))
    with pytest.raises(DataError, match=r"nobody\.png is missing"):
        make_demo_archive(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_s_experiment_can_be_trained_as_it_is() -> None:
    pytest.importorskip("torch")
    from kit.learning.experiments import DEFAULT, demo_settings, experiment
    from kit.learning.training import check_buildable
    from kit.pretrained.weights.places import at_hand

    chosen = experiment(DEFAULT, [*demo_settings(), "seed=3"])
    check_buildable(chosen, photos=51)
    assert at_hand(chosen.encoder.removeprefix("tu-"))  # nothing is fetched


def test_a_competition_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        make_demo_archive(tmp_path, test=0)
