"""Plain folders as a competition: what is found and paired, what is refused, what the files may be guessed to be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.command import kit, ok
from support.strokes import Strokes, make_strokes

from kit.competitions.folder import folder_competition
from kit.competitions.guess import guess_folders
from kit.errors import DataError, KitError, UsageError
from kit.imaging.holes import boxes_from_text, hole_of
from kit.imaging.images import load_image, save_image

OPTIONS = {"images": "train", "masks": "train_masks", "test_images": "test", "test_masks": "test_masks"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Strokes:
    """Six training and two test pictures of three sizes."""
    return make_strokes(tmp_path_factory.mktemp("strokes"), train=6, test=2)


@pytest.fixture
def root(made: Strokes, tmp_path: Path) -> Path:
    """A copy of its folders, to be written to."""
    return Path(shutil.copytree(made.root, tmp_path / "strokes"))


def rows_of(root: Path, **options: str):
    return folder_competition("cats", {**OPTIONS, **options}).index(root).rows


def holes_of(root: Path, **options: str) -> dict[str, np.ndarray]:
    rows = rows_of(root, **options)
    sizes = {row.id: load_image(root / row.image).shape[:2] for row in rows.itertuples()}
    return {row.id: hole_of(boxes_from_text(row.boxes), *sizes[row.id]) for row in rows.itertuples()}


def mask(path: Path) -> np.ndarray:
    return load_image(path)[..., 0] >= 128


def test_what_is_white_is_hidden_and_classes_are_folders(root: Path) -> None:
    for split in ("train", "train_masks"):
        for klass, number in (("Cat", 0), ("Dog", 1)):
            (root / split / klass).mkdir()
            (root / split / f"{number:03}.png").rename(root / split / klass / f"{number:03}.png")
    rows = rows_of(root)
    assert rows["klass"].tolist() == ["Cat", "Dog", "", "", "", "", "", ""] or set(rows["klass"]) == {"Cat", "Dog", ""}
    assert rows["split"].tolist() == ["train"] * 6 + ["test"] * 2
    for photo, hole in holes_of(root).items():
        split, name = photo.split("/", 1)
        found = next((root / f"{split}_masks").rglob(Path(name).name))
        assert np.array_equal(hole, mask(found))


def test_black_may_be_hidden_instead(root: Path) -> None:
    white, black = holes_of(root), holes_of(root, hidden="black")
    assert all(np.array_equal(black[photo], ~white[photo]) for photo in white)


def test_pairs_in_one_folder_are_a_photo_for_each_mask(root: Path) -> None:
    """The way of LaMa's evaluation: image.png beside image_mask000.png and image_mask001.png."""
    for split in ("train", "test"):
        for path in sorted((root / f"{split}_masks").iterdir()):
            shutil.copy(path, root / split / f"{path.stem}_mask000.png")
            save_image(root / split / f"{path.stem}_mask001.png", load_image(path)[::-1])
    rows = folder_competition("lama", {"images": "train", "test_images": "test"}).index(root).rows
    assert len(rows) == 16 and len(set(rows["id"])) == 16
    assert {name for name in rows["name"] if name.startswith("000")} == {"000_mask000.png", "000_mask001.png"}


def test_training_pictures_without_masks_are_hidden_by_the_shapes_of_the_test_masks(root: Path) -> None:
    layout = folder_competition("cats", {name: text for name, text in OPTIONS.items() if name != "masks"})
    found = layout.index(root)
    assert "the holes of the 2 test pictures are laid on them" in found.notes[0]
    assert all(found.rows["boxes"]) and layout.index(root).rows.equals(found.rows)


def test_holes_of_one_colour_and_of_alpha_are_those_of_the_masks(root: Path) -> None:
    (root / "clear").mkdir()
    for path in sorted((root / "test").iterdir()):
        hidden = mask(root / "test_masks" / path.name)
        photo = load_image(path)
        alpha = np.where(hidden, 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "clear" / path.name), np.dstack([photo[..., ::-1], alpha]))
        photo[hidden] = (255, 0, 255)
        save_image(root / "test" / path.name, photo)
    masks = {photo: hole for photo, hole in holes_of(root).items() if photo.startswith("test")}
    for options in ({"hole": "#ff00ff"}, {"hole": "alpha", "test_images": "clear"}):
        base = {name: text for name, text in OPTIONS.items() if name != "test_masks"}
        rows = folder_competition("cats", {**base, **options}).index(root).rows
        for row in rows[rows["split"] == "test"].itertuples():
            assert np.array_equal(hole_of(boxes_from_text(row.boxes), *masks[row.id].shape), masks[row.id])


def test_boxes_come_from_a_table_with_any_columns(root: Path) -> None:
    lines = ["file,y,x,h,w", *(f"{number:03}.png,{number},2,30,{20 + number}" for number in range(6))]
    (root / "boxes.csv").write_text("\n".join(lines))
    options = {"images": "train", "test_images": "test", "boxes": "boxes.csv"}
    columns = "name=file,row=y,col=x,height=h,width=w"
    rows = folder_competition("cats", {**options, "columns": columns}).index(root).rows
    assert rows["boxes"].tolist()[:2] == ["0:2:30:20", "1:2:30:21"] and len(rows) == 8
    with pytest.raises(DataError, match="lacks name, row, col, height, width"):
        folder_competition("cats", options).index(root)
    (root / "boxes.csv").write_text("file,y,x,h,w\n000.png,a,2,3,4\n")
    with pytest.raises(DataError, match=r"boxes.csv, line 2: row, col, height and width have to be whole numbers"):
        folder_competition("cats", {**options, "columns": columns}).index(root)
    (root / "boxes.csv").write_text("file,y,x,h,w\n000.png,350,2,30,4\n")
    with pytest.raises(DataError, match=r"leaves 000\.png"):
        folder_competition("cats", {**options, "columns": columns}).index(root)


def gone(root: Path) -> None:
    (root / "train_masks" / "001.png").unlink()


def twice(root: Path) -> None:
    shutil.copy(root / "train_masks" / "001.png", root / "train_masks" / "001.bmp")


def other_size(root: Path) -> None:
    save_image(root / "test_masks" / "001.png", np.zeros((20, 30, 3), np.uint8))


def grey(root: Path) -> None:
    shutil.copy(root / "train" / "002.png", root / "train_masks" / "002.png")


def cut(root: Path) -> None:
    path = root / "test" / "000.png"
    path.write_bytes(path.read_bytes()[:-40])


def nothing_hidden(root: Path) -> None:
    for path in (root / "test_masks").iterdir():
        save_image(path, np.zeros_like(load_image(path)))
    shutil.rmtree(root / "train_masks")
    (root / "train_masks").mkdir()


def no_tests(root: Path) -> None:
    shutil.rmtree(root / "test")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (gone, "train/001.png has no mask. Put one there: "),
        (twice, "001.png has two masks, "),
        (other_size, "test_masks/001.png is 30x20, but "),
        (grey, "train_masks/002.png is no mask in black and white: "),
        (cut, "000.png is truncated"),
        (nothing_hidden, "train_masks holds no pictures"),
        (no_tests, "test is not there. Name the folder of pictures: --test-images DIR"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_kept(
    harm: Callable[[Path], None], said: str, root: Path, tmp_path: Path
) -> None:
    harm(root)
    flags = " ".join(f"--{name.replace('_', '-')} {text}" for name, text in OPTIONS.items())
    for source in (root, Path(shutil.make_archive(str(tmp_path / "strokes"), "zip", root))):
        done = kit(f"-w {tmp_path / 'w'} fetch cats --from {source} {flags}")
        assert done.is_one_error_line and said in done.err, done
        assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({**OPTIONS, "hidden": "grey"}, "--hidden grey"),
        ({"images": "a", "test_images": "b", "hole": "blue"}, "--hole blue: give alpha, or a colour as #rrggbb"),
        ({**OPTIONS, "metric": "f1"}, "There is no metric 'f1'"),
        ({**OPTIONS, "maks": "x"}, "has no option maks"),
    ],
)
def test_options_that_cannot_be_are_told(options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        folder_competition("cats", options)


# --- an unknown archive


def test_unknown_folders_are_guessed_and_nobody_is_believed_unasked(root: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "strokes"), "zip", root))
    for source in (root, archive):
        found = guess_folders(source)
        assert found is not None and found.options == OPTIONS
        done = kit(f"-w {tmp_path / 'w'} fetch cats --from {source}")
        assert done.code == 2 and "train_masks: their masks (6)" in done.out and not (tmp_path / "w").exists()
        (typed,) = [line.partition("type: kit ")[2] for line in done.err.splitlines()]
        assert "6 training and 2 test photos" in ok(f"-w {tmp_path / ('of-' + source.name)} {typed}")
    shutil.rmtree(root / "test")
    assert guess_folders(root) is None
    done = kit(f"-w {tmp_path / 'w'} fetch cats --from {root}")
    assert done.is_one_error_line and "kit new competition" in done.err


def test_a_table_of_boxes_is_guessed_by_its_columns(root: Path) -> None:
    for name in ("train_masks", "test_masks"):
        shutil.rmtree(root / name)
    (root / "where.csv").write_text("filename,ymin,xmin,h,w\n000.png,1,2,3,4\n")
    found = guess_folders(root)
    assert found is not None and found.options["boxes"] == "where.csv"
    assert found.options["columns"] == "name=filename,row=ymin,col=xmin,height=h,width=w"


@pytest.mark.parametrize("colour", ["#ff00ff", "alpha"])
def test_holes_without_masks_are_guessed_from_the_test_pictures(root: Path, tmp_path: Path, colour: str) -> None:
    for path in sorted((root / "test").iterdir()):
        photo, hidden = load_image(path), mask(root / "test_masks" / path.name)
        if colour == "alpha":
            clear = np.where(hidden, 0, 255).astype(np.uint8)
            assert cv2.imwrite(str(path), np.dstack([photo[..., ::-1], clear]))
        else:
            photo[hidden] = (255, 0, 255)
            save_image(path, photo)
    for name in ("train_masks", "test_masks"):
        shutil.rmtree(root / name)
    for source in (root, Path(shutil.make_archive(str(tmp_path / "holes"), "zip", root))):
        found = guess_folders(source)
        assert found is not None and found.options == {"images": "train", "test_images": "test", "hole": colour}, found
        done = kit(f"-w {tmp_path / 'w'} fetch cats --from {source}")
        (typed,) = [line.partition("type: kit ")[2] for line in done.err.splitlines()]
        assert "the holes of the 2 test pictures" in ok(f"-w {tmp_path / ('of-' + source.name)} {typed}")


def test_where_nothing_says_what_is_hidden_the_line_says_how_to(root: Path, tmp_path: Path) -> None:
    for path in sorted((root / "test").iterdir()):
        shutil.copy(root / "train" / path.name, path)
    for name in ("train_masks", "test_masks"):
        shutil.rmtree(root / name)
    done = kit(f"-w {tmp_path / 'w'} fetch cats --from {root}")
    assert done.code == 2 and "Nothing says what is hidden" in done.err and "--hole alpha" in done.err, done
    assert not (tmp_path / "w").exists()


def test_whole_test_pictures_and_what_kit_wrote_are_no_training_pictures(root: Path) -> None:
    shutil.copytree(root / "test", root / "originals")
    shutil.rmtree(root / "train_masks")
    shutil.move(root / "test_masks", root / "masks")
    (root / "data" / "cats").mkdir(parents=True)
    (root / "data" / "cats" / "index.json").write_text("{}")
    for number in range(20):
        save_image(root / "report" / f"picture-{number}.png", np.zeros((8, 8, 3), np.uint8))
    found = guess_folders(root)
    assert found is not None
    assert found.options == {"images": "train", "test_images": "test", "test_masks": "masks"}
    assert any("originals" in line and "kit grade --truth" in line for line in found.lines)


def test_a_layout_says_what_it_lacks(root: Path) -> None:
    with pytest.raises(KitError, match="--images is missing"):
        raise_from(f"fetch cats --masks {root / 'train_masks'}")


def raise_from(line: str) -> None:
    done = kit(line)
    assert done.is_one_error_line
    raise UsageError(done.err)
