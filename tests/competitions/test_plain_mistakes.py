"""Plain folders as people have them: whole training pictures, tables with mistakes, outputs named like inputs."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.command import kit, ok

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.images import load_image, save_image


def photos(folder: Path, count: int, hidden: str = "") -> None:
    """Write smooth photos of 24x24, with a box of magenta or of nothing where `hidden` says so."""
    rng = np.random.default_rng(len(str(folder)))
    for number in range(count):
        coarse = rng.uniform(0, 255, (4, 4, 3)).astype(np.uint8)
        photo = cv2.resize(coarse, (24, 24), interpolation=cv2.INTER_CUBIC)
        row, column = rng.integers(2, 12, 2)
        path = folder / f"{folder.name[0]}{number:02}.png"
        if hidden == "colour":
            photo[row : row + 8, column : column + 8] = (255, 0, 255)
        if hidden == "alpha":
            alpha = np.full((24, 24, 1), 255, np.uint8)
            alpha[row : row + 8, column : column + 8] = 0
            folder.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), np.concatenate([photo, alpha], axis=2))
        else:
            save_image(path, photo)


@pytest.mark.parametrize(("hidden", "option"), [("colour", "'#ff00ff'"), ("alpha", "alpha")])
def test_whole_training_pictures_get_the_holes_of_the_test_pictures(tmp_path: Path, hidden: str, option: str) -> None:
    photos(tmp_path / "train", 8)
    photos(tmp_path / "test", 3, hidden)
    w = f"-w {tmp_path / 'w'}"
    said = kit(f"{w} fetch c --images {tmp_path / 'train'} --test-images {tmp_path / 'test'} --hole {option}")
    assert said.code == 0 and "the holes of the 3 test pictures are laid on them" in said.err + said.out, said
    project = Project(Workspace(tmp_path / "w", "c"))
    assert all(row.scored == 64 for row in (*project.index.train, *project.index.test))
    ok(f"{w} folds --k 2")
    ok(f"{w} fill mean harmonic")
    assert "0.0000" not in ok(f"{w} sources")


def boxes(folder: Path, *lines: str) -> str:
    (folder / "boxes.csv").write_text("\n".join(["name,row,col,height,width", *lines, ""]))
    flags = f"--images {folder / 'train'} --test-images {folder / 'test'} --boxes {folder / 'boxes.csv'}"
    return f"-w {folder / 'w'} fetch c {flags}"


def test_a_table_of_boxes_has_a_row_of_every_picture_or_says_which_it_lacks(tmp_path: Path) -> None:
    photos(tmp_path / "train", 3)
    photos(tmp_path / "test", 2)
    rest = ["t01,1,2,8,8", "t02.png,3,4,8,8", "t00.png,2,2,8,8", "t01.png,2,2,8,8"]
    done = kit(boxes(tmp_path, *(line for line in rest if "t02" not in line)))
    assert done.is_one_error_line and "no row of t02.png" in done.err, done
    for wrong, words in (("t00,3.5,4,5,6", "line 2: row, col, height and width"), ("t00,1e400,4,5,6", "whole numbers")):
        done = kit(boxes(tmp_path, wrong, *rest))
        assert done.is_one_error_line and words in done.err, done
    done = kit(boxes(tmp_path, "zzz,1,2,8,8", "yyy,1,2,8,8"))
    assert done.is_one_error_line and "names 'yyy', and no picture is called that" in done.err, done
    done = kit(boxes(tmp_path, "zzz.png,1,2,8,8", "t02,1.0,2,8,8", *rest))
    assert done.code == 0 and "1 names in" in done.err + done.out and "zzz.png" in done.err + done.out, done


def test_no_output_takes_the_place_of_a_photo_that_is_read_where_it_is(tmp_path: Path) -> None:
    photos(tmp_path / "train", 6)
    photos(tmp_path / "test", 2, "colour")
    w = f"-w {tmp_path / 'w'}"
    ok(f"{w} fetch c --images {tmp_path / 'train'} --test-images {tmp_path / 'test'} --hole '#ff00ff'")
    ok(f"{w} folds --k 2")
    ok(f"{w} fill mean harmonic")
    photo = tmp_path / "train" / "t00.png"
    before = photo.read_bytes()
    for line in (
        f"show t01 --out {photo}",
        f"figure mean --out {photo}",
        f"figure --out {tmp_path / 'test' / 't01.png'}",
    ):
        done = kit(f"{w} {line}")
        assert done.is_one_error_line and "is a file of the competition" in done.err, done
    assert photo.read_bytes() == before
    ok(f"{w} show t01 --out {tmp_path / 'train' / 'new.png'}")
    for line in ("report --out .", "report --out ''", f"report --out {tmp_path / 'w' / 'blends' / 'x.html'}"):
        assert kit(f"{w} {line}").is_one_error_line, line
    assert "harmonic is better than mean: +" in ok(f"{w} compare harmonic mean")


def test_a_damaged_picture_is_mended_where_it_is_and_the_line_works_when_typed(tmp_path: Path) -> None:
    photos(tmp_path / "train", 6)
    photos(tmp_path / "test", 2, "colour")
    photo = tmp_path / "train" / "t03.png"
    whole = photo.read_bytes()
    photo.write_bytes(whole[: len(whole) // 2])
    w = f"-w {tmp_path / 'w'}"
    line = f"fetch c --images {tmp_path / 'train'} --test-images {tmp_path / 'test'} --hole '#ff00ff'"
    done = kit(f"{w} {line}")
    assert done.is_one_error_line and "t03.png is truncated" in done.err and "Put a whole one there, then: " in done.err
    photo.write_bytes(whole)
    typed = done.err.partition("then: kit ")[2].strip()
    assert "6 training and 2 test photos" in ok(f"{w} {typed}")
    said = ok(f"{w} {line}")
    assert "There already" in said and "add --force" in said
    photo.write_bytes(whole[: len(whole) // 2])
    done = kit(f"{w} fetch --force")
    assert done.is_one_error_line and "Put a whole one there" in done.err, done
    assert "6 training" in ok(f"{w} fetch")


def test_boxes_and_holes_by_colour_may_not_contradict_each_other(tmp_path: Path) -> None:
    photos(tmp_path / "train", 3)
    photos(tmp_path / "test", 2, "colour")
    rows = ["t00,1,1,20,20", "t01,1,1,20,20", "t02,1,1,20,20"]
    done = kit(boxes(tmp_path, *rows) + " --hole '#ff00ff'")
    assert "--hole" not in done.err, done
    done = kit(f"{boxes(tmp_path, 't01,0,0,2,2', *rows[::2])} --hole '#ff00ff' --force")
    assert done.is_one_error_line and "lie outside its boxes" in done.err, done
    done = kit(boxes(tmp_path, *rows).replace("boxes.csv", "none.csv"))
    assert done.is_one_error_line and "Give a CSV that is" in done.err, done


def test_pictures_that_kit_cannot_read_are_counted_and_what_is_hidden_is_said(tmp_path: Path) -> None:
    photos(tmp_path / "train", 3)
    photos(tmp_path / "test", 2)
    for number in range(3):
        (tmp_path / "train" / f"more{number}.gif").write_bytes(b"GIF89a")
    for split in ("train", "test"):
        for path in sorted((tmp_path / split).glob("*.png")):
            black = np.zeros((24, 24, 3), np.uint8)
            black[4:20, 4:20] = 255
            save_image(tmp_path / f"{split}_masks" / path.name, black if split == "test" else 255 - black)
    folders = f"--images {tmp_path / 'train'} --test-images {tmp_path / 'test'}"
    masks = f"--masks {tmp_path / 'train_masks'} --test-masks {tmp_path / 'test_masks'}"
    said = ok(f"-w {tmp_path / 'w'} fetch c {folders} {masks}")
    assert "3 files in train left out (first: more0.gif)" in said
    assert "55.6% of a training photo and 44.4% of a test photo" in said and "--hidden black" not in said
    same = f"--images {tmp_path / 'train'} --masks {tmp_path / 'train_masks'}"
    said = ok(f"-w {tmp_path / 'v'} fetch c {same} {same.replace('--', '--test-')}")
    assert "more than half is hidden" in said and "--hidden black" in said


def test_a_folder_of_masks_or_of_holed_photos_is_no_truth(tmp_path: Path) -> None:
    photos(tmp_path / "train", 6)
    photos(tmp_path / "whole" / "test", 2)
    photos(tmp_path / "test", 2, "colour")
    w = f"-w {tmp_path / 'w'}"
    ok(f"{w} fetch c --images {tmp_path / 'train'} --test-images {tmp_path / 'test'} --hole '#ff00ff' --metric mse")
    ok(f"{w} folds --k 2")
    ok(f"{w} fill harmonic mean")
    ok(f"{w} upload harmonic --dry-run")
    sent = f"{w} grade {tmp_path / 'w' / 'submissions' / 'harmonic.zip'}"
    done = kit(f"{sent} --truth {tmp_path / 'test'}")
    assert done.is_one_error_line and "one colour where the photo is hidden" in done.err, done
    for path in sorted((tmp_path / "test").glob("*.png")):
        save_image(tmp_path / "masks" / path.name, np.full((24, 24, 3), 255, np.uint8))
    done = kit(f"{sent} --truth {tmp_path / 'masks'}")
    assert done.is_one_error_line and "is another picture than the test photo" in done.err, done
    done = kit(f"{w} upload harmonic --dry-run --out x.csv")
    assert done.is_one_error_line and "x.zip" in done.err, done


def test_no_picture_is_in_a_zip_twice(tmp_path: Path) -> None:
    photos(tmp_path / "train", 4)
    photos(tmp_path / "test", 2, "colour")
    w = f"-w {tmp_path / 'w'}"
    ok(f"{w} fetch c --images {tmp_path / 'train'} --test-images {tmp_path / 'test'} --hole '#ff00ff'")
    ok(f"{w} folds --k 2")
    ok(f"{w} fill mean")
    ok(f"{w} upload mean --dry-run")
    path = tmp_path / "w" / "submissions" / "mean.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")  # of Python's: duplicate name
        archive.writestr("t00.png", archive.read("t00.png"))
    done = kit(f"{w} check {path}")
    assert done.is_one_error_line and "holds t00.png twice" in done.err, done


def test_originals_may_lie_in_the_folders_of_their_classes(tmp_path: Path) -> None:
    for split in ("train", "test", "originals"):
        photos(tmp_path / split / "cats", 6 if split == "train" else 2, "colour" if split == "test" else "")
        photos(tmp_path / split / "dogs", 6 if split == "train" else 2, "colour" if split == "test" else "")
    w = f"-w {tmp_path / 'w'}"
    ok(f"{w} fetch c --images {tmp_path / 'train'} --test-images {tmp_path / 'test'} --hole '#ff00ff' --metric mse")
    ok(f"{w} folds --k 2")
    ok(f"{w} fill harmonic mean")
    ok(f"{w} upload harmonic --dry-run")
    for path in sorted((tmp_path / "test").rglob("*.png")):
        whole, given = (
            load_image(tmp_path / folder / path.parent.name / path.name) for folder in ("originals", "test")
        )
        hidden = (given == (255, 0, 255)).all(axis=2)
        save_image(tmp_path / "originals" / path.parent.name / path.name, np.where(hidden[..., None], whole, given))
    said = ok(f"{w} grade {tmp_path / 'w' / 'submissions' / 'harmonic.zip'} --truth {tmp_path / 'originals'}")
    assert "MSE 0." in said and "of 4 photos" in said
    original = next((tmp_path / "originals" / "dogs").iterdir())
    original.rename(tmp_path / original.name)
    line = f"{w} grade {tmp_path / 'w' / 'submissions' / 'harmonic.zip'} --truth {tmp_path / 'originals'}"
    assert "lacks 1 of the 4 original test photos" in kit(line).err
    (tmp_path / original.name).rename(original)
    assert ok(line) == said  # what was missing a moment ago is found where it is now
    shown = ok(f"{w} figure harmonic mean --out {tmp_path / 'f.png'}")
    assert "Written" in shown
    (tmp_path / "train" / "dogs" / "d00.png").rename(tmp_path / "train" / "dogs" / "c00.png")
    ok(f"{w} fetch --force")
    done = kit(f"{w} show c00")  # of cats and of dogs
    assert done.is_one_error_line and "2 photos are called 'c00'" in done.err, done
    for name in ("truth", "hidden", "blend"):
        done = kit(f"{w} import {name} --test {tmp_path / 'w' / 'submissions' / 'harmonic.zip'}")
        assert done.is_one_error_line and "is the word for" in done.err, done
