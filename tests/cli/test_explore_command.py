"""`kit explore` as it is typed: verdicts first, tables of 80 columns, JSON, a page; photos of several sizes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.command import kit, ok
from support.toy import Toy

from kit.imaging.images import save_image

pytestmark = pytest.mark.toy(photos=24, test=12, size=48, seed=3)


def test_verdicts_come_first_and_tables_fit(toy: Toy) -> None:
    root = toy.workspace.root
    lines = ok(f"-w {root} explore").splitlines()
    assert lines[0] == "toy: 24 training and 12 test photos"
    assert lines[1] == "ok leaks: no training photo is a near duplicate of a test photo"
    begins = lines.index("")
    assert all(line[:3] in ("ok ", "-  ", "!  ", "!! ") for line in lines[1:begins])
    assert max(len(line) for line in lines[begins:] if not line.startswith("Written")) <= 80
    assert lines[-1] == f"Written: {root / 'report' / 'explore.html'}"
    assert (root / "report" / "explore.html").is_file()


def test_json_has_everything_and_is_all_that_is_printed(toy: Toy) -> None:
    root = toy.workspace.root
    found = json.loads(ok(f"-w {root} explore --json --no-page"))
    assert not (root / "report").exists()
    assert {"verdicts", "classes", "copies", "holes", "measures", "spectrum", "apart", "files", "odd"} <= set(found)
    assert found["verdicts"][0]["about"] == "leaks"


def test_the_page_goes_where_it_is_asked_and_nowhere_else(toy: Toy, tmp_path: Path) -> None:
    root = toy.workspace.root
    assert f"Written: {tmp_path / 'p.html'}" in ok(f"-w {root} explore --out {tmp_path / 'p.html'}")
    for wrong, said in (
        (f"--out {tmp_path / 'p.pdf'}", "does not end in .html"),
        (f"--out {root / 'folds' / 'p.html'}", "lies among kit's own files"),
    ):
        done = kit(f"-w {root} explore {wrong}")
        assert done.is_one_error_line and said in done.err


def test_before_fetch_the_next_command_is_named(tmp_path: Path) -> None:
    done = kit(f"-w {tmp_path / 'new'} explore")
    assert done.is_one_error_line and "kit fetch" in done.err


def test_photos_of_several_sizes_with_holes_of_any_shape(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        height, width = (40, 56) if number % 4 else (64, 48)
        called = "train" if number < 24 else "test"
        photo = cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (width, height))
        mask = np.zeros((height, width), np.uint8)
        cv2.line(mask, (5, 5), tuple(int(end) for end in rng.integers(20, 40, 2)), 255, 5)
        if number == 30:
            mask[:] = 255  # hides everything
        save_image(tmp_path / "given" / called / f"{number}.png", photo)
        save_image(tmp_path / "given" / f"{called}_masks" / f"{number}.png", np.dstack([mask] * 3))
    root = tmp_path / "w"
    folders = "--images train --masks train_masks --test-images test --test-masks test_masks"
    ok(f"-w {root} fetch shapes --from {tmp_path / 'given'} {folders}")
    found = json.loads(ok(f"-w {root} explore --json"))
    assert [(one["height"], one["width"]) for one in found["sizes"]] == [(40, 56), (64, 48)]
    assert found["holes"]["boxes"] == []
    assert "test/30.png" in {
        photo["id"] for kind in found["odd"] if kind["kind"] == "hidden" for photo in kind["photos"]
    }
    text = ok(f"-w {root} explore --no-page")
    assert "photos have several sizes: 56x40, 48x64" in text and "Next: kit folds" in text
