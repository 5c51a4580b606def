"""The layout: which photos it finds in which folders, and which bytes it makes of values."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.competitions import competition, to_score_space
from kit.competitions.photo_reconstruction import (
    DECIMALS,
    _names_of_any_table,
    _names_of_plain_table,
    decode,
    encode,
    header,
    index,
    value_range,
)
from kit.core.workspace import Workspace
from kit.data.pack import build_pack
from kit.errors import ArchiveError, TableError
from kit.imaging.holes import Box, boxes_from_text, hole_of, scored_count, scored_pixels
from kit.imaging.images import save_image

INFO = ",filename,box1_row,box1_col,box2_row,box2_col\n"


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def info(*names: str) -> str:
    return INFO + "".join(f"{place},{name},1,2,30,40\n" for place, name in enumerate(names))


def make_raw(raw: Path, *, top: str = "", header_line: str = "filename_box_pixel,value") -> Path:
    """Two classes, two photos each, two test photos; the layout looks at names alone, so the pictures are empty."""
    base = raw / top
    for klass in ("Cat", "Dog"):
        names = [f"{klass}-Train (2).jpeg", f"{klass}-Train (2).jpg"]
        for name in names:
            put(base / "Dataset/Training_Data" / klass / "Masked_Train" / name)
            put(base / "Dataset/Training_Data" / klass / "Unmasked_Train" / name)
        put(base / "Dataset/Training_Data" / klass / "Masked_Train/masked_info.csv", info(*names))
    for name in ("Dog (7).png", "Cat (9).jpeg"):
        put(base / "Dataset/Testing_Data" / name)
    put(base / "Dataset/Testing_Data/masked_info.csv", info("Dog (7).png", "Cat (9).jpeg"))
    put(base / "sample_submission.csv", f"{header_line}\n")
    return base


def test_every_photo_is_found_with_its_class_and_boxes(tmp_path: Path) -> None:
    make_raw(tmp_path)
    rows = index(tmp_path).rows
    assert list(rows["id"]) == [
        "train/Cat/Cat-Train (2).jpeg",
        "train/Cat/Cat-Train (2).jpg",
        "train/Dog/Dog-Train (2).jpeg",
        "train/Dog/Dog-Train (2).jpg",
        "test/Dog (7).png",
        "test/Cat (9).jpeg",
    ]
    assert list(rows["klass"]) == ["Cat", "Cat", "Dog", "Dog", "Dog", "Cat"]
    assert boxes_from_text(rows["boxes"].iloc[0]) == (Box(1, 2, 75, 75), Box(30, 40, 75, 75))
    assert all((tmp_path / path).is_file() for column in ("image", "target") for path in rows[column] if path)
    assert list(rows["target"].iloc[4:]) == ["", ""]


def test_a_top_folder_around_everything_changes_nothing_but_paths(tmp_path: Path) -> None:
    make_raw(tmp_path / "plain")
    make_raw(tmp_path / "nested", top="photos")
    plain, nested = index(tmp_path / "plain").rows, index(tmp_path / "nested").rows
    same = ["id", "split", "klass", "name", "boxes"]
    assert plain[same].equals(nested[same])
    assert nested["image"].str.startswith("photos/Dataset/").all()
    assert header(tmp_path / "nested") == b"filename_box_pixel,value\n"


@pytest.mark.parametrize("place", ["Dataset/Training_Data", "Dataset"])
def test_one_masked_info_may_serve_all_classes(tmp_path: Path, place: str) -> None:
    make_raw(tmp_path)
    expected = index(tmp_path).rows
    names = []
    for klass in ("Cat", "Dog"):
        (tmp_path / f"Dataset/Training_Data/{klass}/Masked_Train/masked_info.csv").unlink()
        names += [f"{klass}-Train (2).jpeg", f"{klass}-Train (2).jpg"]
    if place == "Dataset":
        (tmp_path / "Dataset/Testing_Data/masked_info.csv").unlink()
        names += ["Dog (7).png", "Cat (9).jpeg"]
    put(tmp_path / place / "masked_info.csv", info(*names))
    assert index(tmp_path).rows.equals(expected)


def test_a_picture_without_a_row_is_left_out_and_said(tmp_path: Path) -> None:
    make_raw(tmp_path)
    put(tmp_path / "Dataset/Testing_Data/Cat (99).jpeg")
    found = index(tmp_path)
    assert not found.rows["name"].str.contains("99").any()
    assert any("'Cat (99).jpeg'" in note for note in found.notes)


@pytest.mark.parametrize("folder", ["Masked_Train", "Unmasked_Train"])
def test_a_listed_picture_that_is_missing_is_named(tmp_path: Path, folder: str) -> None:
    make_raw(tmp_path)
    path = tmp_path / "Dataset/Training_Data/Dog" / folder / "Dog-Train (2).jpg"
    path.unlink()
    with pytest.raises(ArchiveError, match=r"missing but masked_info\.csv lists it") as caught:
        index(tmp_path)
    assert str(path) in str(caught.value)


def test_a_missing_test_picture_is_named(tmp_path: Path) -> None:
    make_raw(tmp_path)
    (tmp_path / "Dataset/Testing_Data/Cat (9).jpeg").unlink()
    with pytest.raises(ArchiveError, match=r"Cat \(9\)\.jpeg is missing"):
        index(tmp_path)


@pytest.mark.parametrize("folder", ["Training_Data", "Testing_Data"])
def test_another_archive_is_refused_by_what_it_lacks(tmp_path: Path, folder: str) -> None:
    make_raw(tmp_path)
    (tmp_path / "Dataset" / folder).rename(tmp_path / "elsewhere")
    with pytest.raises(ArchiveError, match=f"no {folder} folder"):
        index(tmp_path)


@pytest.mark.parametrize(
    ("table", "there"),
    [("Cat (9).png", "Cat (9).PNG"), ("Élan (9).png", unicodedata.normalize("NFD", "Élan (9).png"))],
    ids=["case", "Unicode form"],
)
def test_a_name_of_another_form_or_case_is_found_where_only_one_file_is_meant(
    tmp_path: Path, table: str, there: str
) -> None:
    base = make_raw(tmp_path)
    for folder in ("Training_Data/Cat/Masked_Train", "Training_Data/Cat/Unmasked_Train", "Testing_Data"):
        put(base / "Dataset" / folder / there)
        if not folder.endswith("Unmasked_Train"):
            put(base / "Dataset" / folder / "masked_info.csv", info(table))
    sample = unicodedata.normalize("NFC", there)
    put(base / "sample_submission.csv", sample_text(sample))
    rows = index(tmp_path).rows
    train, test = rows[rows["klass"] == "Cat"].iloc[0], rows.iloc[-1]
    assert (train["name"], train["target"].rsplit("/")[-1]) == (table, there)
    assert (test["name"], test["image"].rsplit("/")[-1]) == (sample, there), "a submission says what the sample says"


def test_a_name_that_two_files_may_mean_is_missing(tmp_path: Path) -> None:
    base = make_raw(tmp_path)
    for name in ("Cat (1).PNG", "CAT (1).png"):
        put(base / "Dataset/Testing_Data" / name)
    put(base / "Dataset/Testing_Data/masked_info.csv", info("Cat (1).png"))
    with pytest.raises(ArchiveError, match=r"Cat \(1\)\.png is missing"):
        index(tmp_path)


def test_a_file_that_is_named_by_itself_is_nobody_else_s(tmp_path: Path) -> None:
    base = make_raw(tmp_path)
    put(base / "Dataset/Testing_Data/cat (1).png")
    put(base / "Dataset/Testing_Data/masked_info.csv", info("cat (1).png", "Cat (1).png"))
    with pytest.raises(ArchiveError, match=r"Cat \(1\)\.png is missing"):
        index(tmp_path)


def test_an_archive_in_the_archive_is_said(tmp_path: Path) -> None:
    put(tmp_path / "sample_submission.csv", "id,value\n")
    put(tmp_path / "files/Dataset.zip")
    with pytest.raises(ArchiveError, match=r"files/Dataset\.zip, an archive in the archive\. Unpack both"):
        index(tmp_path)


def test_no_masked_info_at_all_is_an_error(tmp_path: Path) -> None:
    make_raw(tmp_path)
    (tmp_path / "Dataset/Testing_Data/masked_info.csv").unlink()
    with pytest.raises(ArchiveError, match=r"no masked_info\.csv"):
        index(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a CSV table"),
        (",filename,box1_row,box1_col,box2_row\n0,Dog (7).png,1,2,3\n", "lacks the columns box2_col"),
        (INFO + "0,Dog (7).png,1,2,,4\n", "line 2: an empty cell"),
        (INFO + "0,Dog (7).png,1,2,3,4\n1,Cat (9).jpeg,1,x,3,4\n", "line 3: box1_col is 'x'"),
        (INFO + "0,Dog (7).png,1,2,-3,4\n", "line 2: box2_row is '-3'"),
        (INFO + "0,Dog (7).png,1.5,2,3,4\n", "line 2: box1_row is '1.5'"),
        (INFO + "0,Dog (7).png,1,2,3,4\n1,Dog (7).png,1,2,3,4\n", "line 3: 'Dog (7).png' is listed twice"),
        (INFO + "0,../Dog (7).png,1,2,3,4\n", "is not a file name"),
    ],
)
def test_a_wrong_masked_info_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    make_raw(tmp_path)
    put(tmp_path / "Dataset/Testing_Data/masked_info.csv", text)
    with pytest.raises(TableError) as caught:
        index(tmp_path)
    assert said in str(caught.value)


def test_a_box_that_leaves_the_photo_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_raw(workspace.raw)
    for path in workspace.raw.rglob("*.*p*g"):
        save_image(path, np.zeros((256, 256, 3), np.uint8))
    outside = INFO + "0,Dog (7).png,1,2,30,182\n1,Cat (9).jpeg,1,2,3,4\n"
    put(workspace.raw / "Dataset/Testing_Data/masked_info.csv", outside)
    with pytest.raises(TableError, match="box 30,182 of 75x75 leaves the photo"):
        build_pack(workspace, competition("photo-reconstruction"))
    assert not workspace.index.exists()


def sample_text(*names: str) -> str:
    rows = [encode(name, [Box(1, 2), Box(30, 40)], np.zeros((11250, 3))).decode() for name in names]
    return "filename_box_pixel,value\n" + "".join(rows)


def test_test_photos_stand_in_the_order_of_the_sample(tmp_path: Path) -> None:
    make_raw(tmp_path)
    put(tmp_path / "sample_submission.csv", sample_text("Cat (9).jpeg", "Dog (7).png"))
    found = index(tmp_path)
    assert list(found.rows["name"].iloc[-2:]) == ["Cat (9).jpeg", "Dog (7).png"]
    assert found.notes == ()


def test_counting_line_ends_finds_the_names_that_parsing_finds(tmp_path: Path) -> None:
    path = tmp_path / "sample_submission.csv"
    put(path, sample_text("Cat (9).jpeg", "Dog (7).png", "été.jpg"))
    assert _names_of_plain_table(path) == _names_of_any_table(path) == ["Cat (9).jpeg", "Dog (7).png", "été.jpg"]


@pytest.mark.parametrize("spoiled", ['"Cat, 9.jpeg_box1_0_0_0",0', "three,cells,here", "one cell", ""])
def test_a_table_that_is_not_plain_is_parsed(tmp_path: Path, spoiled: str) -> None:
    path = tmp_path / "sample_submission.csv"
    put(path, sample_text("Cat (9).jpeg") + spoiled + "\n")
    assert _names_of_plain_table(path) is None


def test_a_sample_that_asks_for_other_photos_is_said(tmp_path: Path) -> None:
    make_raw(tmp_path)
    put(tmp_path / "sample_submission.csv", sample_text("Cat (9).jpeg", "Tiger (1).jpeg"))
    found = index(tmp_path)
    assert list(found.rows["name"].iloc[-2:]) == ["Dog (7).png", "Cat (9).jpeg"]
    assert any("'Dog (7).png'" in note and "'Tiger (1).jpeg'" in note for note in found.notes)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r" + "a,0\r" * 9])
@pytest.mark.parametrize("value", ["value", "Value", "\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_the_header_is_the_sample_s(tmp_path: Path, value: str, end: str) -> None:
    with (tmp_path / "sample_submission.csv").open("w", newline="") as file:
        file.write(f"filename_box_pixel,{value}{end}")
    assert header(tmp_path) == f"filename_box_pixel,{value}\n".encode()


def test_a_sample_without_two_columns_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "sample_submission.csv", "<html>\n")
    with pytest.raises(TableError, match="two column names"):
        header(tmp_path)


def test_a_missing_sample_says_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="kit fetch"):
        header(tmp_path)


def slow_encode(name: str, boxes: Sequence[Box], values: np.ndarray) -> bytes:
    """The format of the data page, row by row with the standard library's CSV writer."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    place = 0
    for number, box in enumerate(boxes, 1):
        for row in range(box.row, box.row + box.height):
            for col in range(box.col, box.col + box.width):
                for channel, of_rgb in enumerate((2, 1, 0)):
                    value = min(1.0, max(0.0, float(values[place, of_rgb])))
                    # the nearest multiple of 1e-6, ties to even, as numpy rounds
                    value = round(value * 10**DECIMALS) / 10**DECIMALS
                    table.writerow([f"{name}_box{number}_{row}_{col}_{channel}", f"{value:.{DECIMALS}f}"])
                place += 1
    return text.getvalue().encode()


small_boxes = st.builds(Box, st.integers(0, 12000), st.integers(0, 300), st.integers(1, 4), st.integers(1, 4))
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12) | st.sampled_from(
    ["Tiger (1024).jpeg", 'a,"b".png', "Katze ü 猫.jpg", "x_box1_2.png"]
)


@settings(max_examples=80, deadline=None)
@given(name=names, boxes=st.lists(small_boxes, min_size=0, max_size=11), seed=st.integers(0, 2**32 - 1))
def test_encode_writes_what_plain_python_writes(name: str, boxes: list[Box], seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-0.2, 1.2, (scored_count(boxes), 3))
    assert encode(name, boxes, values) == slow_encode(name, boxes, values)


def test_encode_writes_what_plain_python_writes_for_a_whole_photo() -> None:
    boxes = [Box(0, 181), Box(58, 27)]
    values = np.random.default_rng(0).random((11250, 3)).astype(np.float32)
    assert encode("Tiger (1024).jpeg", boxes, values) == slow_encode("Tiger (1024).jpeg", boxes, values)


@settings(max_examples=50, deadline=None)
@given(name=names, boxes=st.lists(small_boxes, min_size=1, max_size=3), seed=st.integers(0, 2**32 - 1))
def test_decode_takes_back_what_encode_wrote(name: str, boxes: list[Box], seed: int) -> None:
    values = np.random.default_rng(seed).random((scored_count(boxes), 3))
    rows = list(csv.reader(io.StringIO(encode(name, boxes, values).decode(), newline="")))
    read = decode(np.array([float(row[1]) for row in rows]))
    assert np.abs(read - values).max() <= 0.5 * 10**-DECIMALS + 1e-12
    assert all(row[0].startswith(f"{name}_box") for row in rows)


def test_channels_stand_in_the_order_blue_green_red() -> None:
    rows = encode("a.png", [Box(5, 6, 1, 1)], np.array([[0.9, 0.5, 0.1]])).decode().splitlines()
    assert rows == ["a.png_box1_5_6_0,0.100000", "a.png_box1_5_6_1,0.500000", "a.png_box1_5_6_2,0.900000"]


def test_a_pixel_inside_both_boxes_is_asked_for_twice() -> None:
    boxes = [Box(0, 0, 2, 2), Box(1, 1, 2, 2)]
    text = encode("a.png", boxes, np.zeros((8, 3))).decode()
    assert text.count("_1_1_0,") == 2
    assert text.count("\n") == 24


def test_values_outside_the_range_are_clipped() -> None:
    rows = encode("a.png", [Box(0, 0, 1, 1)], np.array([[-1e9, 0.5, 1e9]])).decode().splitlines()
    assert [row.split(",")[1] for row in rows] == ["1.000000", "0.500000", "0.000000"]


def test_score_space_is_opencv_s_min_max_of_each_channel() -> None:
    photo = np.random.default_rng(0).integers(20, 200, (40, 50, 3)).astype(np.uint8)
    ours = to_score_space(photo / 255.0, value_range(photo, None))
    for channel in range(3):
        theirs = cv2.normalize(photo[..., channel].astype(np.float64), None, 0, 1, cv2.NORM_MINMAX)
        np.testing.assert_allclose(ours[..., channel], theirs, atol=1e-12)


def test_a_channel_without_contrast_is_zero_in_score_space() -> None:
    photo = np.full((8, 8, 3), 77, np.uint8)
    assert not to_score_space(photo / 255.0, value_range(photo, None)).any()


def test_the_estimated_value_range_does_not_depend_on_what_is_under_the_hole() -> None:
    rng = np.random.default_rng(1)
    photo = rng.integers(50, 200, (100, 100, 3)).astype(np.uint8)
    hole = hole_of([Box(10, 10), Box(20, 25)], 100, 100)
    expected = value_range(photo, hole)
    photo[hole] = rng.integers(0, 256, (int(hole.sum()), 3))
    np.testing.assert_array_equal(value_range(photo, hole), expected)


def test_a_photo_hidden_as_a_whole_has_the_full_range() -> None:
    np.testing.assert_array_equal(
        value_range(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool)), np.stack([np.zeros(3), np.ones(3)])
    )


def test_scored_pixels_and_rows_agree() -> None:
    boxes = [Box(3, 4, 2, 3), Box(4, 5, 2, 2)]
    rows, columns = scored_pixels(boxes)
    ids = [line.split(",")[0] for line in encode("n", boxes, np.zeros((10, 3))).decode().splitlines()]
    assert [tuple(map(int, one.split("_")[2:4])) for one in ids[::3]] == list(zip(rows, columns, strict=True))
