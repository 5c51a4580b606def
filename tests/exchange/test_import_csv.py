"""Imports of CSV tables: rows in any order of photos, twins, and other spaces."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.command import ok
from support.imports import (
    READY,
    SPLITS,
    csv_of,
    faded,
    photos_shuffled,
    pictures_of,
    project_of,
    stored,
    values_of,
)
from support.toy import Toy, make_toy_files, write_toy_source

from kit.competitions import to_score_space
from kit.core.workspace import PredictionSplit
from kit.data.pack import build_pack, read_pack
from kit.errors import PredictionsError, TableError
from kit.exchange import import_part
from kit.exchange.values import Photos, from_score_space
from kit.imaging.holes import boxes_from_text, hole_of
from kit.imaging.images import load_image, save_image, to_uint8

pytestmark = pytest.mark.toy(**READY)


def in_order(parts: list[bytes]) -> bytes:
    return b"".join(parts)


def sorted_as_text(parts: list[bytes]) -> bytes:
    return parts[0] + b"".join(sorted(b"".join(parts[1:]).splitlines(keepends=True)))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("order", [in_order, photos_shuffled, sorted_as_text], ids=lambda order: order.__name__)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".zip"])
def test_a_csv_in_any_order_gives_the_values_of_its_rows(
    toy: Toy, tmp_path: Path, split: PredictionSplit, order: Callable, suffix: str
) -> None:
    data, path = order(csv_of(toy, "good", split)), tmp_path / f"rows{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("rows.csv", data)
    else:
        path.write_bytes(gzip.compress(data) if suffix == ".csv.gz" else data)
    import_part(project_of(toy), "mate", split, path)
    photos = Photos.of(project_of(toy), split)
    clipped = [  # a submission's values end at 0 and 1 of score space
        from_score_space(np.clip(to_score_space(values, value_range), 0, 1).round(6), value_range)
        for values, value_range in zip(values_of(toy, "good", split), photos.estimated_range, strict=True)
    ]
    assert np.array_equal(stored(toy, "mate", split), np.concatenate(clipped).astype(np.float16))
    assert not list(toy.workspace.root.rglob(".partial-*"))


def test_a_submission_written_from_an_imported_submission_is_the_same(toy: Toy, tmp_path: Path) -> None:
    root = toy.workspace.root
    ok(f"-w {root} upload good --dry-run")
    first = toy.workspace.submission("good")
    ok(f"-w {root} import mate --test {first}")
    ok(f"-w {root} upload mate --dry-run")
    pairs = zip(
        first.read_text().splitlines()[1:], toy.workspace.submission("mate").read_text().splitlines()[1:], strict=True
    )
    rows = [(one.rsplit(",", 1), other.rsplit(",", 1)) for one, other in pairs]
    assert all(one[0] == other[0] for one, other in rows)
    assert max(abs(float(one[1]) - float(other[1])) for one, other in rows) < 1e-3  # the store has float16


def twins(tmp_path: Path, same_boxes: bool) -> Toy:
    """A competition in which two training photos of different classes have one file name."""
    workspace = make_toy_files(tmp_path / "w", photos=6)
    table = workspace.raw / "boxes.csv"
    lines = table.read_text().splitlines()
    first, second = lines[1].split(","), lines[2].split(",")
    second[3] = first[3]
    if same_boxes:
        second[6] = first[6]
        whole = load_image(workspace.raw / second[5])
        hole = hole_of(boxes_from_text(first[6]), *whole.shape[:2])
        save_image(workspace.raw / second[4], np.where(hole[..., None], np.uint8(0), whole))
    lines[2] = ",".join(second)
    table.write_text("\n".join(lines) + "\n")
    from support.toy import TOY

    index, _ = build_pack(workspace, TOY)
    assert index.train[0].name == index.train[1].name and index.train[0].klass != index.train[1].klass
    pack = read_pack(workspace, index)
    toy = Toy(workspace, TOY, index, pack, None, np.zeros((6, 32, 32, 3), np.uint8))  # type: ignore[arg-type]
    write_toy_source(toy, "good", predict=faded(0.3), splits=["oof"])
    return toy


@pytest.mark.parametrize("same_boxes", [False, True])
def test_photos_of_one_name_are_told_apart_by_their_boxes_or_their_order(tmp_path: Path, same_boxes: bool) -> None:
    toy = twins(tmp_path, same_boxes)
    parts = csv_of(toy, "good", "oof")
    if not same_boxes:
        parts[1], parts[2] = parts[2], parts[1]
    (tmp_path / "rows.csv").write_bytes(b"".join(parts))
    done = import_part(project_of(toy), "mate", "oof", tmp_path / "rows.csv")
    assert np.allclose(stored(toy, "mate", "oof"), stored(toy, "good", "oof"), atol=0.1)
    assert any("taken in the order of the index" in note for note in done.notes) == same_boxes


def test_arrays_and_pictures_of_one_name_need_more_than_that_name(tmp_path: Path) -> None:
    toy = twins(tmp_path, False)
    photo_rows, pictures = toy.index.train, pictures_of(toy, "good", "oof")
    np.savez(tmp_path / "file.npz", **{one.name: each for one, each in zip(photo_rows, pictures, strict=True)})
    with pytest.raises(PredictionsError, match=r"could be train/Cat/Cat \(0\)\.png or train/Dog/Dog \(1\)\.png"):
        import_part(project_of(toy), "mate", "oof", tmp_path / "file.npz")
    for photo_row, picture in zip(photo_rows, pictures, strict=True):
        save_image(tmp_path / "flat" / photo_row.name, to_uint8(picture))
        save_image(tmp_path / "classes" / photo_row.klass.lower() / photo_row.name, to_uint8(picture))
    with pytest.raises(PredictionsError, match="Put the pictures in a folder for each class"):
        import_part(project_of(toy), "mate", "oof", tmp_path / "flat")
    import_part(project_of(toy), "mate", "oof", tmp_path / "classes")
    assert np.allclose(stored(toy, "mate", "oof"), stored(toy, "good", "oof"), atol=0.004)


def rows_shuffled(toy: Toy, path: Path, split: PredictionSplit = "oof", keep: int = 1) -> Path:
    header, *rows = b"".join(csv_of(toy, "good", split)).splitlines()
    order = np.random.default_rng(1).permutation(len(rows))[:: 1 if keep else 2]
    path.write_bytes(b"\n".join([header, *(rows[place] for place in order), b""]))
    return path


def test_rows_in_any_order_are_sorted_by_id(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "in-order.csv").write_bytes(b"".join(csv_of(toy, "good", "oof")))
    import_part(project_of(toy), "whole", "oof", tmp_path / "in-order.csv")
    part = import_part(project_of(toy), "mixed", "oof", rows_shuffled(toy, tmp_path / "mixed.csv"))
    assert "sorted by id" in part.how
    np.testing.assert_array_equal(stored(toy, "mixed", "oof"), stored(toy, "whole", "oof"))


def test_shuffled_rows_that_lack_some_are_named(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"lacks rows of train/Cat/Cat \(0\)\.png, first 'Cat \(0\)\.png_box1"):
        import_part(project_of(toy), "mixed", "oof", rows_shuffled(toy, tmp_path / "half.csv", keep=0))


def test_a_table_s_index_and_ids_without_suffix_are_told_at_once(toy: Toy, tmp_path: Path) -> None:
    header, *rows = b"".join(csv_of(toy, "good", "oof")).decode().splitlines()
    path = tmp_path / "a.csv"
    path.write_text("\n".join([f",{header}", *(f"{place},{row}" for place, row in enumerate(rows))]))
    with pytest.raises(TableError, match=r"is a table's index\. Write it without: table\.to_csv\(path, index=False\)"):
        import_part(project_of(toy), "mine", "oof", path)
    path.write_text("\n".join([header, *(row.replace(".png", "") for row in rows)]))
    with pytest.raises(PredictionsError, match=r"line 2: the id .* lacks the suffix of 'Cat \(0\)\.png'"):
        import_part(project_of(toy), "mine", "oof", path)
