"""The whole exploration on small competitions in which something was planted: it is found, and nothing else is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from support.toy import TOY, make_toy_files

from kit.core.storage import to_json
from kit.core.workspace import Workspace
from kit.data.pack import build_pack
from kit.data.project import Project
from kit.data.splitting import make_folds
from kit.errors import MissingStep
from kit.exploring import Exploration, explore
from kit.exploring.apart import apart_of
from kit.exploring.known import statistics_of
from kit.imaging.holes import Box, boxes_from_text, boxes_to_text, hole_of
from kit.imaging.images import load_image, save_image

Change = Callable[[Path], None]


def nothing(root: Path) -> None:
    """Leave the competition as it is."""


def explored(path: Path, change: Change = nothing, photos: int = 60, test: int = 40) -> tuple[Project, Exploration]:
    """A toy competition of 48x48, changed before it is fetched."""
    workspace = make_toy_files(path, photos=photos, test=test, size=48, box=10, seed=3)
    change(path)
    build_pack(workspace, TOY)
    project = Project(workspace)
    return project, explore(project)


def table(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "data/toy/raw/boxes.csv", dtype=str, keep_default_na=False)


def write_hidden(root: Path, row: pd.Series, photo: np.ndarray) -> None:
    """Write a photo with its holes black."""
    hidden = photo.copy()
    hidden[hole_of(boxes_from_text(row["boxes"]), *photo.shape[:2])] = 0
    save_image(root / "data/toy/raw" / row["image"], hidden)


def rows_of_test(root: Path) -> pd.DataFrame:
    rows = table(root)
    return rows[rows["split"] == "test"]


def said(found: Exploration, about: str) -> list[str]:
    return [f"{one.weight}: {one.text}" for one in found.verdicts if one.about == about]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Exploration]:
    return explored(tmp_path_factory.mktemp("plain"))


def test_where_nothing_is_planted_nothing_is_found(plain: tuple[Project, Exploration]) -> None:
    _, found = plain
    assert found.photos == (60, 40)
    assert found.verdicts[0].about == "leaks" and not found.copies.leaks
    assert not [one for one in found.verdicts if one.weight in ("news", "differs")]
    assert found.apart is not None and not found.apart.differs and found.apart.area.low < 0.5
    assert not any(one.differs for one in found.measures)
    assert found.spectrum is not None and not any(found.spectrum.differs) and min(found.spectrum.photos) >= 36
    assert [(one.name, one.train, one.test) for one in found.classes] == [("Cat", 30, 20), ("Dog", 30, 20)]


def test_the_map_of_holes_is_the_share_of_photos_that_hide(plain: tuple[Project, Exploration]) -> None:
    project, found = plain
    for split, grid in (("train", found.holes.train), ("test", found.holes.test)):
        holes = np.mean([row.hole for row in project.index.split(split)], axis=0)  # type: ignore[arg-type]
        assert np.mean(grid) == pytest.approx(holes.mean(), abs=1e-3)
    assert [(one.height, one.width, one.train, one.test) for one in found.holes.boxes] == [(10, 10, 120, 80)]
    assert found.holes.overlapping[0] >= 20  # every third, and some by chance


def test_the_same_data_give_the_same_bytes(plain: tuple[Project, Exploration]) -> None:
    project, found = plain
    assert to_json(explore(Project(project.workspace))) == to_json(found)


def test_folds_change_nothing_but_the_time(tmp_path: Path) -> None:
    project, before = explored(tmp_path, photos=12, test=3)
    make_folds(project, k=3)
    assert to_json(explore(Project(project.workspace))) == to_json(before)
    assert before.apart is None  # three test photos are too few
    assert any("too few photos" in line for line in said(before, "apart"))


def test_a_leak_is_said_first_whichever_way_it_is_turned(tmp_path: Path) -> None:
    def change(root: Path) -> None:
        for place, turn in ((0, 0), (1, 1)):
            row = rows_of_test(root).iloc[place]
            photo = load_image(root / f"data/toy/raw/train/truth/{('Cat', 'Dog')[place]} ({place}).png")
            write_hidden(root, row, np.ascontiguousarray(photo[:, ::-1] if turn else photo))

    _, found = explored(tmp_path, change, photos=24, test=12)
    leaks = [(one.train, one.test) for one in found.copies.leaks]
    assert leaks == [("train/Cat/Cat (0).png", "test/Cat (24).png"), ("train/Dog/Dog (1).png", "test/Dog (25).png")]
    first = found.verdicts[0]
    assert first.weight == "news" and first.text.startswith("2 training photos are near duplicates of 2 of 12 test")


def test_copies_within_a_split_and_in_two_classes_are_found(tmp_path: Path) -> None:
    def change(root: Path) -> None:
        rows = table(root)
        one, other = (rows[rows["name"] == name].iloc[0] for name in ("Cat (0).png", "Dog (5).png"))
        photo = load_image(root / "data/toy/raw" / one["target"])
        save_image(root / "data/toy/raw" / other["target"], photo)
        write_hidden(root, other, photo)
        first, second = (rows_of_test(root).iloc[place] for place in (2, 7))
        write_hidden(root, second, load_image(root / f"truth/{first['name']}")[::-1].copy())

    _, found = explored(tmp_path, change, photos=24, test=12)
    assert [group.ids for group in found.copies.train] == [("train/Cat/Cat (0).png", "train/Dog/Dog (5).png")]
    assert found.copies.train[0].classes == ("Cat", "Dog")
    assert [group.ids for group in found.copies.test] == [("test/Cat (26).png", "test/Dog (31).png")]
    assert any(
        line.startswith("differs: 1 group of near duplicates in several classes") for line in said(found, "copies")
    )


def test_test_photos_that_are_lighter_are_told_apart_and_it_is_said_by_what(tmp_path: Path) -> None:
    def change(root: Path) -> None:
        for _, row in rows_of_test(root).iterrows():
            photo = load_image(root / f"truth/{row['name']}")
            write_hidden(root, row, np.clip(photo.astype(int) + 60, 0, 255).astype(np.uint8))

    _, found = explored(tmp_path, change)
    assert found.apart is not None and found.apart.differs and found.apart.area.low > 0.6
    assert found.apart.by and len(found.apart.unlike) == 8
    assert {one.name for one in found.measures if one.differs} >= {"brightness"}
    assert "brightness higher" in said(found, "photos")[0]


def test_another_spectrum_is_seen(tmp_path: Path) -> None:
    def change(root: Path) -> None:
        for _, row in rows_of_test(root).iterrows():
            photo = cv2.GaussianBlur(load_image(root / f"truth/{row['name']}"), (0, 0), 1.0)
            write_hidden(root, row, photo)

    _, found = explored(tmp_path, change)
    assert found.spectrum is not None and found.spectrum.differs[-1]
    assert found.spectrum.difference[-1].high < 0
    assert said(found, "spectrum")[0].startswith("differs")


def test_holes_elsewhere_are_seen_but_give_no_photo_away(tmp_path: Path) -> None:
    def change(root: Path) -> None:
        """Every photo is light at the top, where only test photos are hidden: what is left of them is darker."""
        rows, raw = table(root), root / "data/toy/raw"
        sky = np.linspace(90, -90, 48)[:, None, None]
        for place in range(len(rows)):
            is_test = rows.loc[place, "split"] == "test"
            if is_test:
                rows.loc[place, "boxes"] = boxes_to_text([Box(0, 0, 22, 22), Box(0, 25, 12, 12)])
            whole = root / f"truth/{rows.loc[place, 'name']}" if is_test else raw / rows.loc[place, "target"]
            photo = np.clip(load_image(whole) + sky, 0, 255).astype(np.uint8)
            save_image(whole, photo)
            write_hidden(root, rows.loc[place], photo)
        rows.to_csv(raw / "boxes.csv", index=False, lineterminator="\n")

    project, found = explored(tmp_path, change)
    differing = {one.name for one in found.measures if one.differs}
    assert {"hidden share", "middle, down"} <= differing and {one.about for one in found.measures if one.differs} <= {
        "holes",
        "files",
    }
    assert found.apart is not None and not found.apart.differs and found.apart.area.low < 0.5
    assert found.spectrum is not None and not any(found.spectrum.differs)
    assert "boxes of sizes that one split alone has: 10x10, 12x12, 22x22" in said(found, "holes")[-1]
    # through each photo's own hole they would be told apart, for nothing
    own = np.stack(
        [
            statistics_of(np.asarray(photo), ~row.hole)
            for split in ("train", "test")
            for photo, row in zip(project.pack.image(split), project.index.split(split), strict=True)  # type: ignore[arg-type]
        ]
    )
    unfair = apart_of(project.index, own, np.arange(100) >= 60, np.arange(100))
    assert unfair is not None and unfair.differs


def refilled(seed: int) -> Change:
    """What holes hide is noise, in files whose size does not tell of it."""

    def change(root: Path) -> None:
        rng = np.random.default_rng(seed)
        for _, row in table(root).iterrows():
            path = root / "data/toy/raw" / row["image"]
            photo, hole = load_image(path), hole_of(boxes_from_text(row["boxes"]), 48, 48)
            photo[hole] = rng.integers(60, 256, (int(hole.sum()), 3))
            path.write_bytes(cv2.imencode(".bmp", photo[..., ::-1])[1].tobytes())

    return change


def test_what_holes_hide_changes_no_output(tmp_path: Path) -> None:
    (one, first), (other, second) = (
        explored(tmp_path / str(seed), refilled(seed), photos=24, test=12) for seed in (1, 2)
    )
    assert first.index != second.index  # the files do differ
    first, second = (dataclasses.replace(found, index="") for found in (first, second))
    assert to_json(first) == to_json(second)
    from kit.report.explore.page import page_of

    assert page_of(one, first) == page_of(other, second)


def test_odd_photos_are_named_with_their_reason(tmp_path: Path) -> None:
    def change(root: Path) -> None:
        rows = rows_of_test(root)
        photos = [load_image(root / f"truth/{name}") for name in rows["name"]]
        photos[0] = np.dstack([photos[0][..., 0]] * 3)
        photos[1][:8], photos[1][-8:] = 255, 255
        photos[2] = np.full_like(photos[2], 128) + photos[2] // 64
        photos[3][:, :30] = 0
        for place in range(4):
            write_hidden(root, rows.iloc[place], photos[place])
        path = root / "data/toy/raw" / rows.iloc[4]["image"]
        path.write_bytes(cv2.imencode(".jpg", cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes())

    _, found = explored(tmp_path, change, photos=24, test=12)
    odd = {kind.kind: [one.id for one in kind.photos] for kind in found.odd}
    names = [f"test/{('Cat', 'Dog')[number % 2]} ({number}).png" for number in range(24, 29)]
    for place, kind in ((0, "grey"), (1, "framed"), (2, "faint"), (2, "narrow"), (3, "clipped"), (4, "misnamed")):
        assert names[place] in odd[kind], (kind, odd)
    assert any("another format than its name says" in line for line in said(found, "odd"))


def test_files_that_are_gone_stop_nothing(tmp_path: Path) -> None:
    project, before = explored(tmp_path, photos=12, test=12)
    for path in (project.workspace.raw / "train").rglob("*.png"):
        path.unlink()
    found = explore(Project(project.workspace))
    assert [one.missing for one in found.files] == [12, 12, 0]
    assert found.measures[0] == before.measures[0]
    assert any("24 of 36 files are not there any more" in line for line in said(found, "files"))


@pytest.mark.parametrize("empty", ["train", "test"])
def test_a_split_without_photos_is_no_difference(tmp_path: Path, empty: str) -> None:
    project, _ = explored(tmp_path, photos=12, test=3)
    pack = project.pack
    vars(project)["index"] = dataclasses.replace(project.index, **{empty: ()})
    names = ("train_image", "train_target") if empty == "train" else ("test_image",)
    vars(project)["pack"] = dataclasses.replace(pack, **{name: getattr(pack, name)[:0] for name in names})
    found = explore(project)
    assert found.measures == () and found.spectrum is None and found.apart is None
    assert not [one for one in found.verdicts if one.weight in ("news", "differs")]


def test_before_the_data_are_fetched_the_next_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingStep, match="kit fetch"):
        explore(Project(Workspace(tmp_path)))
