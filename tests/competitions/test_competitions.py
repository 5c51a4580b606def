"""The contract that every registered competition layout keeps."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.small import Small
from support.toy import TOY, make_toy_files

from kit import competitions
from kit.competitions import Competition, competition, sample_path, to_score_space
from kit.competitions.photo_reconstruction import PHOTO_RECONSTRUCTION
from kit.errors import ArchiveError, UnknownName
from kit.imaging.holes import boxes_from_text, scored_count, scored_pixels
from kit.imaging.images import load_image
from kit.imaging.metrics import rmse

REGISTERED = [PHOTO_RECONSTRUCTION, TOY]


@dataclass(frozen=True)
class Example:
    """A layout and a raw folder that it can read."""

    layout: Competition
    raw: Path


@pytest.fixture(params=REGISTERED, ids=lambda layout: layout.slug)
def example(request: pytest.FixtureRequest, small: Small, tmp_path: Path) -> Example:
    layout: Competition = request.param
    if layout is TOY:
        return Example(layout, make_toy_files(tmp_path, photos=9, test=4).raw)
    return Example(layout, small.project.workspace.raw)


def test_every_registered_layout_has_an_example_here() -> None:
    assert {layout.slug for layout in competitions._REGISTERED} | {PHOTO_RECONSTRUCTION.slug} == {
        layout.slug for layout in REGISTERED
    }


def test_a_layout_is_found_by_its_slug(example: Example) -> None:
    assert competition(example.layout.slug) is example.layout
    assert example.layout.title and example.layout.metric == "rmse"


def test_an_unknown_slug_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"There is no competition layout 'titanic'. Known: .*photo-reconstruction"):
        competition("titanic")


def test_rows_are_whole_training_first_and_lead_to_files(example: Example) -> None:
    rows = example.layout.index(example.raw).rows
    assert {"id", "split", "klass", "name", "image", "target", "boxes"} <= set(rows.columns)
    assert rows["id"].is_unique and set(rows["split"]) == {"train", "test"}
    assert (rows["split"].to_numpy()[: int((rows["split"] == "train").sum())] == "train").all()
    for row in rows.to_dict("records"):
        photo = load_image(example.raw / row["image"])
        boxes = boxes_from_text(row["boxes"])
        assert boxes and all(box.fits(*photo.shape[:2]) for box in boxes)
        assert (row["target"] != "") is (row["split"] == "train")
        assert not row["target"] or load_image(example.raw / row["target"]).shape == photo.shape


def test_a_layout_finds_the_same_every_time(example: Example) -> None:
    first, second = (example.layout.index(example.raw) for _ in range(2))
    pd.testing.assert_frame_equal(first.rows, second.rows)
    assert first.notes == second.notes


def truths(example: Example) -> Iterator[tuple[str, tuple, np.ndarray]]:
    """Name, boxes and score-space truth of each training photo."""
    rows = example.layout.index(example.raw).rows
    for row in rows[rows["split"] == "train"].to_dict("records"):
        photo, boxes = load_image(example.raw / row["target"]), boxes_from_text(row["boxes"])
        values = to_score_space(photo[scored_pixels(boxes)] / 255.0, example.layout.value_range(photo, None))
        yield row["name"], boxes, values


def test_encode_and_decode_are_inverse_up_to_rounding(example: Example) -> None:
    for name, boxes, values in truths(example):
        assert values.min() >= -1e-9 and values.max() <= 1 + 1e-9
        table = pd.read_csv(io.BytesIO(example.layout.header(example.raw) + example.layout.encode(name, boxes, values)))
        assert len(table) == 3 * scored_count(boxes) and table.iloc[:, 0].str.startswith(name).all()
        decoded = example.layout.decode(table.iloc[:, 1].to_numpy())
        assert rmse(decoded, values) < 1e-6
        grey = np.full_like(values, 0.5)
        assert rmse(grey, values) > 0.01  # and what is not the truth is not perfect


def test_the_sample_asks_for_what_encode_writes(example: Example) -> None:
    rows = example.layout.index(example.raw).rows
    lines = [example.layout.header(example.raw)]
    for row in rows[rows["split"] == "test"].to_dict("records"):
        boxes = boxes_from_text(row["boxes"])
        lines.append(example.layout.encode(row["name"], boxes, np.zeros((scored_count(boxes), 3))))
    ours = [line.split(b",")[0] for line in b"".join(lines).splitlines()]
    sample = [line.split(b",")[0] for line in sample_path(example.raw, example.layout.sample).read_bytes().splitlines()]
    assert ours == sample


def test_the_value_range_does_not_depend_on_what_is_under_the_hole(example: Example) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(60, 200, (20, 30, 3)).astype(np.uint8)
    hole = np.zeros((20, 30), bool)
    hole[5:15, 5:20] = True
    known = example.layout.value_range(photo, hole)
    photo[hole] = rng.integers(0, 256, (int(hole.sum()), 3))
    np.testing.assert_array_equal(example.layout.value_range(photo, hole), known)
    whole = example.layout.value_range(photo, None)
    assert whole.shape == (2, 3) and (whole[0] <= known[0]).all() and (whole[1] >= known[1]).all()


def test_score_space_is_a_stretch_and_flat_channels_are_zero() -> None:
    value_range = np.array([[0.2, 0.0, 0.5], [0.7, 1.0, 0.5]])
    np.testing.assert_allclose(
        to_score_space(np.array([[0.2, 0.25, 0.5], [0.7, 1.0, 0.9]]), value_range), [[0, 0.25, 0], [1, 1, 0]]
    )


def test_the_sample_is_found_a_folder_or_two_down_and_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"sample\.csv is missing. Fetch again: kit fetch --force"):
        sample_path(tmp_path, "sample.csv")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "sample.csv").touch()
    assert sample_path(tmp_path, "sample.csv") == tmp_path / "a" / "b" / "sample.csv"
    (tmp_path / "sample.csv").touch()
    assert sample_path(tmp_path, "sample.csv") == tmp_path / "sample.csv"
