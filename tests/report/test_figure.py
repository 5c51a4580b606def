"""The picture: known pixels as they are, hidden ones as predicted, numbers as the competition computes them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.toy import Toy, make_toy_workspace, write_toy_source

from kit.blending import make_blend, read_blend
from kit.errors import ImageError, Mismatch, UnknownName, UsageError
from kit.imaging.holes import scored_pixels
from kit.imaging.images import load_image, to_uint8
from kit.report import figure
from kit.report.figure import (
    Column,
    blend_column,
    photo_score,
    save_figure,
    side_by_side,
    source_column,
)
from kit.report.picking import choose_photos, pick_photos
from kit.submission.grade import grade_submission
from kit.submission.write import write_submission

SIZE = 48  # so large that a column of it is drawn without shrinking


pytestmark = pytest.mark.toy(
    shared=True,
    test=4,
    size=SIZE,
    box=14,
    seed=4,
    sources=[
        {"name": "good", "noise": 0.05, "seed": 1},
        {"name": "fair", "noise": 0.08, "seed": 2, "by_fold": True},
        {"name": "partial", "noise": 0.1, "seed": 3, "by_fold": True, "present": [0, 2]},  # fold 1 has not been trained
    ],
)


def draw(toy: Toy, **changes: object) -> np.ndarray:
    given = {"photos": [0, 1], "columns": ["good"], "split": "train"} | changes
    return side_by_side(toy.project, **given)  # type: ignore[arg-type]


def cells(image: np.ndarray, columns: int, rows: int) -> list[list[np.ndarray]]:
    """The photos on the sheet, by the module's own measures."""
    lefts = [figure._MARGIN + place * (SIZE + figure._GUTTER) for place in range(columns)]
    tops = [figure._MARGIN + figure._HEADING + place * (SIZE + figure._CAPTION) for place in range(rows)]
    return [[image[top : top + SIZE, left : left + SIZE] for left in lefts] for top in tops]


def test_columns_are_hidden_prediction_and_truth_bit_by_bit(toy: Toy) -> None:
    grid = cells(draw(toy, photos=[0, 5]), 3, 2)
    values = toy.project.predictions.read("good", "oof")
    for photo, (hidden, predicted, truth) in zip([0, 5], grid, strict=True):
        photo_row = toy.index.train[photo]
        np.testing.assert_array_equal(hidden, toy.pack.train_image[photo])
        np.testing.assert_array_equal(truth, toy.pack.train_target[photo])
        np.testing.assert_array_equal(predicted[~photo_row.hole], hidden[~photo_row.hole])
        expected = hidden.copy()
        expected[scored_pixels(photo_row.boxes)] = to_uint8(values.values(photo))  # box 2 over box 1
        np.testing.assert_array_equal(predicted, expected)


def test_test_photos_have_a_truth_only_where_a_folder_is_given(toy: Toy) -> None:
    without = draw(toy, split="test", photos=[2])
    given = draw(toy, split="test", photos=[2], truth=toy.workspace.root / "truth")
    assert without.shape[1] < given.shape[1]
    np.testing.assert_array_equal(cells(given, 3, 1)[0][2], toy.truth[2])
    np.testing.assert_array_equal(cells(without, 2, 1)[0][1], cells(given, 3, 1)[0][1])


def test_a_photo_that_no_fold_has_predicted_leaves_a_gap(toy: Toy) -> None:
    there = int(toy.folds.valid_positions(0)[0])
    absent = int(toy.folds.valid_positions(1)[0])
    grid = cells(draw(toy, photos=[there, absent], columns=["partial"]), 3, 2)
    assert (grid[0][1] != 255).any()
    assert (grid[1][1][0] == 255).all() and grid[1][1].mean() > 150  # a white cell with two words in it


def test_the_number_under_a_test_photo_is_the_one_that_grading_gives(toy: Toy) -> None:
    workspace, index, pack = toy.workspace, toy.index, toy.pack
    predictions = toy.project.predictions.read("fair", "test")
    values = [predictions.values(photo) for photo in range(len(index.test))]
    done = write_submission(toy.project, iter(values), "fair")
    grade = grade_submission(done.path, workspace.root / "truth", index, toy.layout)
    for place, photo in enumerate(grade.photos):
        mine = photo_score(
            index.test[place], values[place], toy.truth[place], pack.test_estimated_range[place], toy.layout
        )
        assert mine == pytest.approx(photo.score, abs=1e-6)


def test_the_cv_over_a_column_is_that_of_the_blend_s_member(toy: Toy) -> None:
    blend = make_blend(toy.project, ["good", "fair"], name="pair")
    for row in blend.members:
        for split in ("train", "test"):
            column = source_column(toy.project, row.name, split)  # type: ignore[arg-type]
            assert column.cv == pytest.approx(row.cv.value, rel=1e-9)
    assert blend_column(toy.project, "pair", "test").cv == blend.cv.value


def test_a_blend_is_the_weighted_sum_of_its_members_on_both_splits(toy: Toy) -> None:
    make_blend(toy.project, ["good", "fair"], name="sum")
    blend = read_blend(toy.workspace, "sum")
    for split, which in (("train", "oof"), ("test", "test")):
        column = blend_column(toy.project, "sum", split)  # type: ignore[arg-type]
        expected = sum(
            row.weight * toy.project.predictions.read(row.name, which).values(3)  # type: ignore[arg-type]
            for row in blend.members
        )
        np.testing.assert_allclose(column.values(3), np.clip(expected, 0, 1), atol=1e-6)
    assert draw(toy, columns=["good", "sum"]).shape[1] > draw(toy, columns=["good"]).shape[1]


def test_a_blend_of_predictions_that_have_changed_is_refused(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path, photos=24, test=2, k=2)
    write_toy_source(toy, "good", noise=0.05)
    make_blend(toy.project, ["good"], name="old")
    write_toy_source(toy, "good", noise=0.06)
    with pytest.raises(Mismatch, match="kit blend"):
        draw(toy, columns=["old"])
    project = toy.project
    vars(project)["index"] = dataclasses.replace(toy.index, digest="other")
    with pytest.raises(Mismatch, match="another index"):
        blend_column(project, "old", "test")


def test_a_column_may_bring_its_own_values(toy: Toy) -> None:
    column = Column("grey", lambda photo: np.full((toy.index.train[photo].scored, 3), 0.5))
    grid = cells(draw(toy, columns=[column]), 3, 2)
    assert (grid[0][1][toy.index.train[0].hole] == 128).all()
    with pytest.raises(UsageError, match="needs values of shape"):
        draw(toy, columns=[Column("short", lambda _: np.zeros((3, 3)))])


def test_narrow_photos_are_drawn_at_their_own_size(tmp_path: Path) -> None:
    small = make_toy_workspace(tmp_path / "w", photos=4, test=2, size=24, box=6, k=2)
    write_toy_source(small, "good", noise=0.05)
    sheet = draw(small, photos=[0])
    assert sheet.shape[1] == 3 * 24 + 2 * figure._GUTTER + 2 * figure._MARGIN
    with pytest.raises(UsageError, match="3 columns do not fit into 60 pixels"):
        draw(small, width=60)


def test_photos_are_found_by_position_id_or_name(toy: Toy) -> None:
    photo_row = toy.index.train[3]
    by_position, by_id, by_name = (draw(toy, photos=[key]) for key in (3, photo_row.id, photo_row.name))
    np.testing.assert_array_equal(by_position, by_id)
    np.testing.assert_array_equal(by_position, by_name)


def test_the_sheet_is_no_wider_than_asked_and_enlarges_nothing(toy: Toy) -> None:
    assert draw(toy, width=900).shape[1] < 900
    narrow = draw(toy, columns=["good", "fair"], width=220)
    assert narrow.shape[1] <= 220
    with pytest.raises(UsageError, match="do not fit"):
        draw(toy, width=100)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"columns": ["unet"]}, UnknownName, "no source or blend 'unet'. Known: fair, good"),
        ({"photos": ["Bird (1).png"]}, UnknownName, "no train photo 'Bird (1).png'"),
        ({"photos": [24]}, UsageError, "no train photo 24: they are 0 to 23"),
        ({"photos": []}, UsageError, "no photo to show"),
        ({"split": "test", "truth": Path("nowhere")}, ImageError, "--truth DIR"),
    ],
)
def test_what_is_not_there_is_said(toy: Toy, changes: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        draw(toy, **changes)
    assert said in str(caught.value)


def test_the_same_input_gives_the_same_file_and_it_is_a_whole_png(toy: Toy, tmp_path: Path) -> None:
    image = draw(toy)
    save_figure(tmp_path / "deep" / "one.png", image)
    save_figure(tmp_path / "two.png", draw(toy))
    assert (tmp_path / "deep" / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    np.testing.assert_array_equal(load_image(tmp_path / "two.png"), image)
    with pytest.raises(UsageError, match=r"\.png"):
        save_figure(tmp_path / "three.jpg", image)


def test_long_and_foreign_names_do_not_leave_their_column(toy: Toy) -> None:
    title = "unet_convnext_tiny_with_a_very_long_name_猫_$x^2$"
    image = draw(toy, columns=[Column(title, lambda _: None), "good"])
    heading = image[: figure._MARGIN + figure._HEADING]
    gutter = figure._MARGIN + SIZE
    assert (heading[:, gutter + 2 : gutter + figure._GUTTER - 2] > 200).all()


def test_photos_are_picked_from_the_classes_in_turn(toy: Toy) -> None:
    picked = pick_photos(toy.index, "train", 4)
    assert len({toy.index.train[place].klass for place in picked[:2]}) == 2
    assert len(set(picked)) == 4
    assert len(pick_photos(toy.index, "test", 99)) == 4


def test_photos_are_the_worst_the_best_or_of_a_class_and_predicted_by_every_column(toy: Toy) -> None:
    project, rows = toy.project, toy.index.train
    every = choose_photos(project, ["fair", "good"], "train", 99, order="worst")
    assert sorted(every) == list(range(len(rows)))
    assert choose_photos(project, ["good"], "train", 99, order="best") == every[::-1]
    column = [source_column(project, "good", "train")]
    scores = [figure._row(project, "train", place, column, None).scores[0] for place in every]
    assert scores == sorted(scores, key=lambda one: -float(one or 0))
    of_class = choose_photos(project, ["good"], "train", 3, order="random", klass=rows[0].klass, seed=1)
    assert {rows[place].klass for place in of_class} == {rows[0].klass}
    assert of_class != choose_photos(project, ["good"], "train", 3, order="random", klass=rows[0].klass, seed=2)
    there = set(project.predictions.read("partial", "oof", partial=True).photos.tolist())
    assert set(choose_photos(project, ["good", "partial"], "train", 99)) == there < set(every)
    with pytest.raises(UnknownName, match="class 'Do'"):
        choose_photos(project, ["good"], "train", 3, klass="Do")
    with pytest.raises(UsageError, match="nobody knows"):
        choose_photos(project, ["good"], "test", 3, order="worst")


def test_a_map_of_errors_stands_behind_each_prediction(toy: Toy) -> None:
    plain, image = draw(toy), draw(toy, errors=True)
    step = SIZE + figure._GUTTER
    assert image.shape[1] == plain.shape[1] + step
    top, left = figure._MARGIN + figure._HEADING, figure._MARGIN + 2 * step
    shown = image[top : top + SIZE, left : left + SIZE]
    hole = toy.index.train[0].hole
    assert (shown[~hole] == figure._KNOWN).all() and not (shown[hole] == figure._KNOWN).all()
    assert source_column(toy.project, "partial", "train").covers == f" of {2 * len(toy.index.train) // 3} photos"


def test_the_numbers_are_the_competition_s_metric(toy: Toy) -> None:
    row, column = toy.index.train[0], source_column(toy.project, "good", "train")
    values, target = column.values(0), np.asarray(toy.pack.train_target[0])
    assert values is not None
    args = (row, values, target, toy.pack.train_estimated_range[0])
    squared = dataclasses.replace(toy.layout, metric="mse")
    assert photo_score(*args, squared) == pytest.approx(photo_score(*args, toy.layout) ** 2)
    assert photo_score(*args, dataclasses.replace(toy.layout, metric="ssim")) < 1
