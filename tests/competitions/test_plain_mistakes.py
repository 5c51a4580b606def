"""Plain folders as people have them: whole training pictures, tables with mistakes, outputs named like inputs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from support.command import kit, ok

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.images import save_image


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
