"""Submissions: what is written is what is asked for, what is wrong is named, and the truth grades nought."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy import Toy

from kit.competitions import competition, sample_path, to_score_space
from kit.core.archive import extract
from kit.core.storage import digest_file
from kit.core.workspace import Workspace
from kit.data.pack import build_pack
from kit.data.project import Project
from kit.data.sample_competition import make_demo_archive
from kit.errors import ArchiveError, ImageError, KitError, PredictionsError, SubmissionError, TableError
from kit.imaging.holes import scored_pixels
from kit.imaging.images import load_image, save_image
from kit.imaging.metrics import rmse
from kit.submission import csv_rows as row_stream
from kit.submission import ledger
from kit.submission.grade import grade_submission
from kit.submission.ledger import LedgerRow, append_ledger, read_ledger, update_ledger
from kit.submission.write import check_submission, check_written, sample_of, write_submission, zip_submission

pytestmark = pytest.mark.toy(shared=True, photos=6, k=2, seed=4)  # some boxes overlap, and some hide the darkest pixel


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a toy file has many blocks."""
    monkeypatch.setattr(row_stream, "_BLOCK", 4096)


def truth_dir(toy: Toy) -> Path:
    return toy.workspace.root / "truth"


def truth_values(toy: Toy) -> Iterator[np.ndarray]:
    for photo_row, photo in zip(toy.index.test, toy.truth, strict=True):
        yield photo[scored_pixels(photo_row.boxes)] / 255.0


def grey_values(toy: Toy) -> Iterator[np.ndarray]:
    for photo_row in toy.index.test:
        yield np.full((photo_row.scored, 3), 0.5)


def with_true_value_range(project: Project, photos: Sequence[np.ndarray]) -> Project:
    """The project, as if the known pixels of its test photos told their whole range."""
    true = np.stack([project.layout.value_range(photo, None) for photo in photos])
    project.__dict__["pack"] = dataclasses.replace(project.pack, test_estimated_range=true)
    return project


def write(toy: Toy, values: Iterator[np.ndarray], name: str, project: Project | None = None) -> Path:
    return write_submission(project or toy.project, values, name).path


@pytest.fixture(scope="module")
def lines(shared_toy: Toy) -> list[str]:
    """Lines of a good submission, header first."""
    return write(shared_toy, truth_values(shared_toy), "good").read_text().splitlines()


def put(tmp_path: Path, lines: list[str]) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


# --- writing


def test_a_submission_has_the_sample_s_ids_and_the_values_in_score_space(toy: Toy) -> None:
    rng = np.random.default_rng(0)
    values = [rng.random((photo_row.scored, 3)) for photo_row in toy.index.test]
    path = write(toy, iter(values), "random")
    rows = list(csv.reader(path.open(newline="")))
    assert [row[0] for row in rows] == [row[0] for row in csv.reader(sample_of(toy.workspace, toy.layout).open())]
    written = np.array([float(row[1]) for row in rows[1:]]).reshape(-1, 3)[:, ::-1]
    scored = [to_score_space(one, low) for one, low in zip(values, toy.pack.test_estimated_range, strict=True)]
    np.testing.assert_allclose(written, np.clip(np.concatenate(scored), 0, 1), atol=5.1e-7)


def test_what_is_returned_describes_the_file(toy: Toy) -> None:
    done = write_submission(toy.project, grey_values(toy), "described")
    assert done.path == toy.workspace.submission("described")
    assert done.rows == 6 * 2 * 10 * 10 * 3
    assert done.digest == digest_file(done.path)
    check = check_submission(done.path, sample_of(toy.workspace, toy.layout))
    assert (check.rows, check.digest) == (done.rows, done.digest)


@pytest.mark.parametrize("broken", ["few", "many", "shape", "nan"])
def test_wrong_values_leave_the_old_file_alone(toy: Toy, broken: str) -> None:
    path = write(toy, grey_values(toy), "kept")
    before = path.read_bytes()
    values = list(grey_values(toy))
    if broken == "few":
        values.pop()
    elif broken == "many":
        values.append(values[0])
    elif broken == "shape":
        values[3] = values[3][:-1]
    else:
        values[3][7, 1] = np.nan
    with pytest.raises(PredictionsError, match="kept"):
        write(toy, iter(values), "kept")
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".partial-*"))


def test_the_header_is_read_from_the_sample(toy: Toy, tmp_path: Path) -> None:
    sample = tmp_path / "data" / toy.workspace.slug / "raw" / "sample_submission.csv"
    sample.parent.mkdir(parents=True)
    text = sample_of(toy.workspace, toy.layout).read_text()
    sample.write_text(text.replace("filename_box_pixel,value", "filename_box_pixel,Value"))
    project = Project(Workspace(tmp_path, toy.workspace.slug))
    project.__dict__.update(index=toy.index, pack=toy.pack)
    done = write_submission(project, grey_values(toy), "capital")
    assert done.path.open().readline() == "filename_box_pixel,Value\n"
    assert check_submission(done.path, sample).rows == done.rows
    with pytest.raises(SubmissionError, match="line 1: found the header 'filename_box_pixel,Value', expected"):
        check_submission(done.path, sample_of(toy.workspace, toy.layout))


def test_without_a_sample_there_is_no_submission(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="kit fetch"):
        project = Project(Workspace(tmp_path, toy.workspace.slug))
        project.__dict__.update(index=toy.index, pack=toy.pack)
        write_submission(project, grey_values(toy), "x")


# --- checking


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
def test_a_good_submission_passes_in_every_packing(
    toy: Toy, lines: list[str], tmp_path: Path, suffix: str, small_blocks: None
) -> None:
    text = "\n".join(lines) + "\n"
    path = tmp_path / f"good{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("good.csv", text)
    else:
        path.write_bytes(gzip.compress(text.encode()) if suffix == ".csv.gz" else text.encode())
    check = check_submission(path, sample_of(toy.workspace, toy.layout))
    assert check.rows == len(lines) - 1
    assert 0 <= check.lowest < check.highest <= 1
    assert grade_submission(path, truth_dir(toy), toy.index, toy.layout).rows == check.rows


def test_a_zipped_submission_is_the_same_bytes_each_time_and_passes_as_the_csv_does(toy: Toy, tmp_path: Path) -> None:
    path = write_submission(toy.project, grey_values(toy), "zipped").path
    first = zip_submission(path)
    before = first.read_bytes()
    assert zip_submission(path).read_bytes() == before
    assert len(before) < path.stat().st_size / 4
    sample = sample_of(toy.workspace, toy.layout)
    assert check_submission(first, sample).rows == check_submission(path, sample).rows


def test_line_ends_of_windows_and_a_last_line_without_one_pass(toy: Toy, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    path.write_bytes("\r\n".join(lines).encode())
    assert check_submission(path, sample_of(toy.workspace, toy.layout)).rows == len(lines) - 1


def swapped(lines: list[str]) -> list[str]:
    return [*lines[:9], lines[10], lines[9], *lines[11:]]


ID = "Cat (6).png_box1"
BROKEN = {
    "without a row": (lambda L: L[:1000] + L[1001:], ["line 1001", "is missing"]),
    "with a row twice": (lambda L: L[:1000] + L[999:], ["line 1001", "is there twice, in lines 1000 and 1001"]),
    "in another order": (swapped, ["line 10", "not in the sample's order", "in line 11"]),
    "with a row of another photo": (
        lambda L: [*L[:5], "Bird (1).png_box1_0_0_0,0.5", *L[6:]],
        ["line 6", "found the id 'Bird (1).png_box1_0_0_0'", "is not in the sample"],
    ),
    "cut after some rows": (lambda L: L[:2000], ["line 2001", "after 1999 rows, expected 3600", "is missing"]),
    "cut inside a row": (lambda L: [*L[:2000], L[2000][:9]], ["line 2001", "found 1 columns", "expected 2"]),
    "with a row too many": (
        lambda L: [*L, L[5]],
        ["line 3602", "lines 6 and 3602", "expected the end after 3600 rows"],
    ),
    "with a third column": (lambda L: [*L[:700], L[700] + ",1", *L[701:]], ["line 701", "found 3 columns"]),
    "with NaN": (
        lambda L: [*L[:900], L[900].split(",")[0] + ",nan", *L[901:]],
        ["line 901", "found the value 'nan', expected a finite number"],
    ),
    "with a word": (
        lambda L: [*L[:900], L[900].split(",")[0] + ",none", *L[901:]],
        ["line 901", "found the value 'none', expected a number"],
    ),
    "with an empty value": (
        lambda L: [*L[:900], L[900].split(",")[0] + ",", *L[901:]],
        ["line 901", "found the value '', expected a number"],
    ),
    "with infinity": (lambda L: [*L[:2], L[2].split(",")[0] + ",-inf", *L[3:]], ["line 3", "'-inf'", "finite"]),
    "above one": (
        lambda L: [*L[:3000], L[3000].split(",")[0] + ",1.000001", *L[3001:]],
        ["line 3001", "found the value '1.000001', expected a value in [0, 1]"],
    ),
    "below nought": (lambda L: [*L[:-1], L[-1].split(",")[0] + ",-0.1"], ["line 3601", "'-0.1'", "[0, 1]"]),
    "without a header": (lambda L: L[1:], ["line 1", "header"]),
    "with other columns": (lambda L: ["id,value", *L[1:]], ["line 1", "'id,value'", "'filename_box_pixel,value'"]),
    "of a header alone": (lambda L: L[:1], ["after 0 rows", "expected 3600"]),
    "of nothing": (lambda L: [], ["line 1", "header"]),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_submission_is_refused_with_line_found_and_expected(
    toy: Toy, lines: list[str], tmp_path: Path, how: str, small_blocks: None
) -> None:
    spoil, said = BROKEN[how]
    path = put(tmp_path, spoil(list(lines)))
    with pytest.raises(SubmissionError) as caught:
        check_submission(path, sample_of(toy.workspace, toy.layout))
    message = str(caught.value)
    assert str(path) in message
    assert "kit upload" in message
    for words in said:
        assert words in message


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_single_changed_line_is_refused_by_its_number(
    shared_toy: Toy, lines: list[str], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = data.draw(st.integers(1, len(lines) - 1))
    line = data.draw(st.text(st.characters(codec="ascii", exclude_characters='",\r\n'), min_size=1, max_size=8))
    path = put(tmp_path_factory.mktemp("changed"), [*lines[:place], f"{line},0.5", *lines[place + 1 :]])
    with pytest.raises(SubmissionError, match=f"line {place + 1}: "):
        check_submission(path, sample_of(shared_toy.workspace, shared_toy.layout))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("gone.csv", None, "is not a file"),
        ("bytes.csv", b"filename_box_pixel,value\n\xff\xfe\xfd,1\n", "UTF-8"),
        ("photo.zip", b"PK but not really", "damaged"),
        ("photo.csv.gz", b"not gzip", "damaged"),
        ("cut.csv.gz", gzip.compress(os.urandom(9000).hex().encode())[:-900], "damaged"),
    ],
    ids=["gone", "bytes", "zip", "gz", "cut"],  # random bytes in a name are another test in each process
)
def test_a_file_that_is_no_csv_is_refused(toy: Toy, tmp_path: Path, name: str, data: bytes | None, said: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SubmissionError) as caught:
        check_submission(path, sample_of(toy.workspace, toy.layout))
    assert said in str(caught.value) or "header" in str(caught.value)


def test_a_gz_that_was_cut_inside_its_rows_is_refused(toy: Toy, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode())[:-400])
    with pytest.raises(SubmissionError, match="damaged"):
        check_submission(path, sample_of(toy.workspace, toy.layout))


def test_a_zip_of_two_files_is_refused(toy: Toy, tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    with pytest.raises(SubmissionError, match="holds 2 files, expected one CSV"):
        check_submission(path, sample_of(toy.workspace, toy.layout))


def test_a_broken_sample_is_not_the_submission_s_fault(toy: Toy, lines: list[str], tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join(lines[:50]) + "\nthree,cells,here\n")
    with pytest.raises(TableError, match=r"sample\.csv, line 51.*kit fetch --force"):
        check_submission(put(tmp_path, lines), sample)
    with pytest.raises(TableError, match="kit fetch"):
        check_submission(put(tmp_path, lines), tmp_path / "none.csv")


# --- grading


def test_the_truth_with_the_true_value_range_grades_exactly_zero(toy: Toy) -> None:
    path = write(toy, truth_values(toy), "truth", with_true_value_range(toy.project, toy.truth))
    grade = grade_submission(path, truth_dir(toy), toy.index, toy.layout)
    assert (grade.score.value, grade.score.low, grade.score.high) == (0.0, 0.0, 0.0)
    assert all(photo.score == 0.0 for photo in grade.photos)


def test_the_truth_with_the_estimated_value_range_grades_little_and_grey_much(toy: Toy) -> None:
    truth = grade_submission(write(toy, truth_values(toy), "estimated"), truth_dir(toy), toy.index, toy.layout)
    grey = grade_submission(write(toy, grey_values(toy), "grey"), truth_dir(toy), toy.index, toy.layout)
    sample = grade_submission(sample_of(toy.workspace, toy.layout), truth_dir(toy), toy.index, toy.layout)
    assert 0 < truth.score.value < 0.1 < grey.score.value
    assert sample.score.value > truth.score.value
    assert grey.score.low <= grey.score.value <= grey.score.high


def test_the_grade_is_the_rmse_over_all_rows_with_overlaps_twice(toy: Toy) -> None:
    rng = np.random.default_rng(3)
    values = [rng.random((photo_row.scored, 3)) for photo_row in toy.index.test]
    grade = grade_submission(write(toy, iter(values), "noise"), truth_dir(toy), toy.index, toy.layout)
    predicted, expected = [], []
    for place, (photo_row, photo) in enumerate(zip(toy.index.test, toy.truth, strict=True)):
        low, high = photo.min(axis=(0, 1)).astype(float), photo.max(axis=(0, 1)).astype(float)
        stretched = (photo - low) / (high - low)
        start = 0
        for box in photo_row.boxes:  # as the data page has it, box after box
            expected.append(stretched[box.row : box.row + 10, box.col : box.col + 10].reshape(-1, 3))
            seen = values[place][start : start + 100]
            start += 100
            predicted.append(np.clip(to_score_space(seen, toy.pack.test_estimated_range[place]), 0, 1))
    assert grade.score.value == pytest.approx(rmse(np.concatenate(predicted), np.concatenate(expected)), abs=1e-6)
    assert grade.rows == 3600
    one = rmse(np.concatenate(predicted[:2]), np.concatenate(expected[:2]))
    assert grade.photos[0].score == pytest.approx(one, abs=1e-6)


def copied_truth(toy: Toy, tmp_path: Path) -> Path:
    for path in truth_dir(toy).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("broken", ["missing", "truncated", "empty", "size"])
def test_a_truth_photo_that_cannot_be_used_is_named(toy: Toy, lines: list[str], tmp_path: Path, broken: str) -> None:
    csv_path = put(tmp_path, lines)
    truth = tmp_path / "originals"
    truth.mkdir()
    copied_truth(toy, truth)
    path = truth / toy.index.test[2].name
    if broken == "missing":
        path.unlink()
    elif broken == "truncated":
        path.write_bytes(path.read_bytes()[:-30])
    elif broken == "empty":
        path.write_bytes(b"")
    else:
        save_image(path, np.zeros((31, 32, 3), np.uint8))
    with pytest.raises(ImageError) as caught:
        grade_submission(csv_path, truth, toy.index, toy.layout)
    assert toy.index.test[2].name in str(caught.value)
    assert "--truth DIR" in str(caught.value)


def test_a_truth_folder_that_is_none_is_said(toy: Toy, lines: list[str], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is not a folder"):
        grade_submission(put(tmp_path, lines), tmp_path / "nowhere", toy.index, toy.layout)


@pytest.mark.parametrize("how", ["without a row", "with a row too many", "cut after some rows", "with NaN"])
def test_a_submission_that_would_be_refused_is_not_graded(toy: Toy, lines: list[str], tmp_path: Path, how: str) -> None:
    with pytest.raises(SubmissionError, match=r"bad\.csv"):
        grade_submission(put(tmp_path, BROKEN[how][0](list(lines))), truth_dir(toy), toy.index, toy.layout)


def test_real_photos_in_kaggle_s_layout_go_the_whole_way(tmp_path: Path) -> None:
    demo = make_demo_archive(tmp_path / "demo", train=2, test=3)
    workspace = Workspace(tmp_path / "work")
    layout = competition(workspace.slug)
    extract(demo.archive, workspace.raw)
    index, _ = build_pack(workspace, layout)
    photos = [load_image(demo.truth / photo_row.name) for photo_row in index.test]
    values = [
        photo[scored_pixels(photo_row.boxes)] / 255.0 for photo, photo_row in zip(photos, index.test, strict=True)
    ]
    perfect = write_submission(with_true_value_range(Project(workspace), photos), iter(values), "perfect")
    assert check_submission(perfect.path, sample_of(workspace, layout)).rows == 3 * 2 * 75 * 75 * 3
    assert grade_submission(perfect.path, demo.truth, index, layout).score.value == 0.0
    estimated_range = write_submission(Project(workspace), iter(values), "estimated")
    assert 0 < grade_submission(estimated_range.path, demo.truth, index, layout).score.value < 0.1


def as_fetched(toy: Toy) -> None:
    """Note the sample that lies there as the one that was fetched."""
    noted = toy.workspace.index.with_suffix(".json")
    document = json.loads(noted.read_text())
    path = sample_path(toy.workspace.raw, toy.layout.sample)
    noted.write_text(json.dumps({**document, "sample": digest_file(path)}))


def sample_with(toy: Toy, rows: Callable[[list[str]], list[str]], end: str = "\n", bom: str = "") -> None:
    """Change the rows of the workspace's sample."""
    path = sample_of(toy.workspace, toy.layout)
    header, *old = path.read_text().splitlines()
    path.write_bytes((bom + end.join([header, *rows(old), ""])).encode())
    as_fetched(toy)


ORDERS = {
    "photos": lambda rows: [row for start in (1200, 600, 0) for row in rows[start : start + 600]],
    "sorted": sorted,
    "shuffled": lambda rows: [rows[place] for place in np.random.default_rng(0).permutation(len(rows))],
    "some photos": lambda rows: rows[600:],
}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("order", list(ORDERS))
def test_what_kit_writes_has_the_rows_of_the_sample_in_its_order_and_kit_takes_it(
    toy: Toy, tmp_path: Path, order: str, end: str
) -> None:
    toy = toy.copy(tmp_path / "w")
    sample_with(toy, ORDERS[order], end, "\ufeff")
    sample = sample_of(toy.workspace, toy.layout)
    written = write_submission(with_true_value_range(toy.project, list(toy.truth)), truth_values(toy), "mine")
    ordered, check = check_written(written, sample)
    asked = sample.read_bytes().decode("utf-8-sig").replace(end, "\n").splitlines()
    assert [line.split(",")[0] for line in ordered.path.read_text().splitlines()] == [
        line.split(",")[0] for line in asked
    ]
    assert (ordered.rows, check.rows, ordered.digest) == (len(asked) - 1, len(asked) - 1, check.digest)
    grade = grade_submission(ordered.path, truth_dir(toy), toy.index, toy.layout)
    assert grade.score.value == 0.0 and grade.rows == len(asked) - 1


def test_a_zipped_sample_is_a_sample(toy: Toy, tmp_path: Path) -> None:
    toy = toy.copy(tmp_path / "w")
    path = sample_of(toy.workspace, toy.layout)
    with zipfile.ZipFile(path.with_name(f"{path.name}.zip"), "w") as archive:
        archive.write(path, path.name)
    path.unlink()
    as_fetched(toy)
    written = write_submission(toy.project, truth_values(toy), "mine")
    assert check_written(written, sample_of(toy.workspace, toy.layout))[1].rows == written.rows


def test_a_sample_of_other_photos_says_which_row_has_no_value(toy: Toy, tmp_path: Path) -> None:
    toy = toy.copy(tmp_path / "w")
    sample_with(toy, lambda rows: [*rows, "Bird (1).png_box1_0_0_0,0"])
    written = write_submission(toy.project, truth_values(toy), "mine")
    with pytest.raises(
        SubmissionError, match=r"asks for 1 rows that no photo of the index has, first 'Bird \(1\)\.png"
    ):
        check_written(written, sample_of(toy.workspace, toy.layout))


# --- the ledger

ROW = LedgerRow("2024-05-01T12:00:00+00:00", "toy", "a.csv", "0123456789abcdef", "blend", 0.1234567890123, 0.1, 0.2)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
floats = st.none() | st.floats(allow_nan=False)
places, answers = st.none() | st.integers(1, 9999), st.none() | st.booleans()
rows = st.builds(
    LedgerRow, texts, texts, texts, texts, texts, floats, floats, floats, texts, texts, floats, texts,
    floats, places, answers, texts, texts, texts,
)  # fmt: skip


def test_there_is_no_ledger_at_first(tmp_path: Path) -> None:
    assert read_ledger(Workspace(tmp_path)) == []


@settings(max_examples=25, deadline=None)
@given(noted=st.lists(rows, max_size=4))
def test_the_ledger_gives_back_what_was_noted(tmp_path_factory: pytest.TempPathFactory, noted: list[LedgerRow]) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("ledger"))
    for row in noted:
        append_ledger(workspace, row)
    assert read_ledger(workspace) == noted


def test_a_score_that_arrives_changes_its_row_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    other = dataclasses.replace(ROW, file="b.csv", message='well, "so"\r\nit is')
    assert other.message == 'well, "so" it is'
    append_ledger(workspace, ROW)
    append_ledger(workspace, other)
    scored = dataclasses.replace(ROW, ref="77", status="complete", public_score=0.2033)
    update_ledger(workspace, scored)
    assert read_ledger(workspace) == [scored, other]
    with pytest.raises(KitError, match=r"no row of c\.csv"):
        update_ledger(workspace, dataclasses.replace(ROW, file="c.csv"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("when,what\n", "has the columns 'when,what'"),
        ("", "has the columns ''"),
        (",".join(ledger._LEDGER) + "\na,b\n", "line 2: expected 18 cells"),
        (",".join(ledger._LEDGER) + "\na,b,c,d,e,high,,,,,,,,,,,,\n", "line 2: cv is 'high'"),
    ],
)
def test_a_ledger_that_was_spoilt_by_hand_is_refused_and_kept(tmp_path: Path, text: str, said: str) -> None:
    workspace = Workspace(tmp_path)
    workspace.submissions.mkdir()
    workspace.ledger.write_text(text)
    with pytest.raises(TableError) as caught:
        append_ledger(workspace, ROW)
    assert said in str(caught.value)
    assert workspace.ledger.read_text() == text


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_never_leaves_half_a_ledger(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from dataclasses import replace
from kit.submission.ledger import LedgerRow, append_ledger, read_ledger
from kit.core.workspace import Workspace
workspace = Workspace(Path({str(tmp_path)!r}))
row = LedgerRow("now", "toy", "a.csv", "d", "csv", message="x" * 20000)
print("ready", flush=True)
while True:
    append_ledger(workspace, row)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    time.sleep(0.3)
    process.kill()
    process.wait()
    process.stdout.close()
    noted = read_ledger(Workspace(tmp_path))
    assert noted and all(len(row.message) == 20000 for row in noted)
    append_ledger(Workspace(tmp_path), ROW)
    assert read_ledger(Workspace(tmp_path))[-1] == ROW
    assert not list((tmp_path / "submissions").glob(".partial-*"))
