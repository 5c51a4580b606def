"""What looks wrong is said, and what is right is not; folds of others are compared with ours."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.command import kit, ok
from support.imports import (
    READY,
    csv_of,
    faded,
    flat,
    project_of,
    stored,
    values_of,
)
from support.toy import Toy, make_toy_workspace, noisy, write_toy_source

from kit.competitions import to_score_space
from kit.data.pack import build_pack
from kit.data.project import Project
from kit.errors import TableError
from kit.exchange import compare_folds, doubts_about, doubts_about_submission, import_part
from kit.exchange.continuity import other_reading, steps
from kit.exchange.values import Photos
from kit.imaging.images import save_image, to_uint8

pytestmark = pytest.mark.toy(**READY)


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
    stretches = Photos.of(project_of(toy), "oof").estimated_range

    def stretched(values: np.ndarray) -> np.ndarray:
        return np.stack([to_score_space(one, value_range) for one, value_range in zip(values, stretches, strict=True)])

    assert "if they were in score space" in doubts(toy, tmp_path, stretched, source="sharp")


def test_test_predictions_in_another_order_are_said_where_known_pixels_tell_it(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path / "w", photos=24, test=24)
    rng = np.random.default_rng(0)
    for split, folder in (("train", "train/truth"), ("train", "train/image"), ("test", "test")):
        for photo_row in toy.index.split(split):  # photos that differ in how light they are
            level = np.random.default_rng(len(photo_row.name) + sum(photo_row.name.encode())).uniform(0.2, 0.8)
            photo = np.clip(level + rng.normal(0, 0.05, (32, 32, 3)), 0, 1)
            save_image(toy.workspace.raw / folder / photo_row.name, to_uint8(photo))
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


def test_a_team_mates_folds_are_compared_with_ours(toy: Toy, tmp_path: Path) -> None:
    project, path = project_of(toy), tmp_path / "folds.csv"
    table = "\n".join(f"{row.id},{2 - fold}" for row, fold in zip(toy.index.train, toy.folds.fold, strict=True))
    path.write_text(f"id,fold\n{table}\n")
    assert "the folds are those of" in compare_folds(project, path)[0]  # other numbers, the same folds
    path.write_text("name,fold\n" + "\n".join(f"{row.name},{k % 3}" for k, row in enumerate(toy.index.train)))
    assert "are not those of" in compare_folds(project, path)[0]
    oof = flat(toy, "oof", tmp_path / "oof")
    assert "Note:" in ok(f"-w {toy.workspace.root} import mate --oof {oof} --folds {path}")


def test_near_duplicates_in_two_of_their_folds_are_said(tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path / "w", duplicates=3)
    path = tmp_path / "folds.csv"
    path.write_text("id,fold\n" + "\n".join(f"{row.id},{k % 2}" for k, row in enumerate(toy.index.train)))
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


def in_boxes(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Change the 10x10 values of each of the two boxes of each photo."""
    return lambda values: change(values.reshape(len(values), 2, 10, 10, 3)).reshape(values.shape)


ORDERS = {
    "red and blue exchanged": lambda values: values[..., ::-1],
    "the channels taken as green, blue, red": in_boxes(lambda boxes: boxes[..., [1, 2, 0]]),
    "green and blue exchanged": in_boxes(lambda boxes: boxes[..., [0, 2, 1]]),
    "the boxes exchanged": in_boxes(lambda boxes: boxes[:, ::-1]),
    "rows and columns exchanged": in_boxes(lambda boxes: boxes.swapaxes(2, 3)),
    "upside down": in_boxes(lambda boxes: boxes[:, :, ::-1]),
    "mirrored": in_boxes(lambda boxes: boxes[:, :, :, ::-1]),
    "turned by 180 degrees": in_boxes(lambda boxes: boxes[:, :, ::-1, ::-1]),
    "a pixel further up": in_boxes(lambda boxes: np.roll(boxes, 1, 2)),
    "a pixel further right": in_boxes(lambda boxes: np.roll(boxes, -1, 3)),
}


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Photos with test photos enough to tell, and a source that knows the truth but for some noise and fading."""
    toy = make_toy_workspace(tmp_path_factory.mktemp("smooth") / "w", photos=24, test=24)
    write_toy_source(toy, "good", predict=faded(0.1))
    write_toy_source(toy, "poor", noise=0.15)
    write_toy_source(toy, "grey", predict=faded(0.9))
    return toy


@pytest.mark.parametrize("split", ["oof", "test"])
@pytest.mark.parametrize("said", list(ORDERS))
def test_values_in_another_order_are_said_with_the_order_for_each_split_by_itself(
    smooth: Toy, said: str, split: str
) -> None:
    found = [look(smooth, "good", split, ORDERS[said], place) for place in range(24)]
    meant = other_reading(found)
    assert meant is not None and meant[0].endswith(said) and meant[1] < 0.7 * meant[2]


@pytest.mark.parametrize("source", ["good", "poor", "grey"])
def test_right_values_and_merely_poor_ones_are_not_read_otherwise(smooth: Toy, source: str) -> None:
    for split in ("oof", "test"):
        assert other_reading([look(smooth, source, split, lambda values: values, place) for place in range(24)]) is None


def look(toy: Toy, source: str, split: str, change: Callable, place: int) -> dict[str, float]:
    values = change(np.asarray(values_of(toy, source, split)[place], np.float64)[None])[0]
    photos = Photos.of(project_of(toy), split)
    found = steps(values, photos.photo_rows[place].boxes, photos.images[place], photos.photo_rows[place].hole)
    assert found is not None
    return found


def test_an_import_in_another_order_warns(toy: Toy, tmp_path: Path) -> None:
    said = doubts(toy, tmp_path, ORDERS["the boxes exchanged"])
    assert "mate, OOF: at the boxes' edges the values would continue the known pixels far better" in said
    assert "with the boxes exchanged. Box after box as in index.csv" in said


def test_a_submission_of_another_order_and_the_untouched_sample_are_said(smooth: Toy, tmp_path: Path) -> None:
    lines = csv_of(smooth, "good", "test")
    right = tmp_path / "right.csv"
    right.write_bytes(b"".join(lines))
    project = project_of(smooth)
    assert doubts_about_submission(project, right, 0.0, 1.0) == []
    swapped = tmp_path / "swapped.csv"
    swapped.write_bytes(right.read_bytes().replace(b"_0,", b"_X,").replace(b"_2,", b"_0,").replace(b"_X,", b"_2,"))
    (said,) = doubts_about_submission(project, swapped, 0.0, 1.0)
    assert "red and blue exchanged" in said and str(swapped) in said
    (said,) = doubts_about_submission(project, right, 0.0, 0.0)
    assert "every value is 0. Is it the untouched sample?" in said
    assert doubts_about_submission(project, tmp_path / "none.csv", 0.0, 1.0) == []
