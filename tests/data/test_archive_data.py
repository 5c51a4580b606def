"""The real archive, where it lies beside the repository: photos, ids and a few fills as they should be."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kit.competitions import to_score_space
from kit.competitions.photo_reconstruction import PHOTO_RECONSTRUCTION as LAYOUT
from kit.core.archive import verify
from kit.imaging.fills import fill_photo
from kit.imaging.holes import boxes_from_text, hole_of, scored_count, scored_pixels
from kit.imaging.images import load_image

ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "photo-reconstruction.zip"

pytestmark = [
    pytest.mark.archive,
    pytest.mark.skipif(not ARCHIVE.is_file(), reason="the archive is not beside the repository, in ../shared/data"),
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's tables and test photos, and empty files for the other photos."""
    raw = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(ARCHIVE) as archive:
        for info in archive.infolist():
            path = raw / info.filename
            if info.is_dir():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            wanted = path.suffix == ".csv" or "Testing_Data" in path.parts
            path.write_bytes(archive.read(info) if wanted else b"")
    return raw


def test_the_archive_is_sound() -> None:
    verify(ARCHIVE)
    assert ARCHIVE.stat().st_size > 1 << 20


def test_every_photo_is_in_the_index(raw: Path) -> None:
    found = LAYOUT.index(raw)
    rows = found.rows
    train, test = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
    assert found.notes == ()
    assert sorted(train["klass"].unique()) == ["Cat", "Dog", "Elephant", "Tiger"]
    assert len(train) == len(list(raw.glob("Dataset/Training_Data/*/Unmasked_Train/*.*")))
    assert len(test) == 200 and set(test["klass"]) == set(train["klass"])
    assert rows["id"].is_unique


def test_ids_are_those_of_the_sample_line_by_line(raw: Path) -> None:
    rows = LAYOUT.index(raw).rows
    with (raw / LAYOUT.sample).open("rb") as sample:
        assert LAYOUT.header(raw) == sample.readline()
        count = 0
        for row in rows[rows["split"] == "test"].to_dict("records"):
            boxes = boxes_from_text(row["boxes"])
            lines = LAYOUT.encode(row["name"], boxes, np.zeros((scored_count(boxes), 3)))
            lines = lines.replace(b",0.000000\n", b",0\n")  # the sample has a bare 0
            assert sample.read(len(lines)) == lines, row["name"]
            count += lines.count(b"\n")
        assert count == 6_750_000 and sample.readline() == b""


def test_boxes_are_black_in_the_test_photos(raw: Path) -> None:
    rows = LAYOUT.index(raw).rows
    for row in rows[rows["split"] == "test"].iloc[::20].to_dict("records"):
        photo = load_image(raw / row["image"])
        hole = hole_of(boxes_from_text(row["boxes"]), *photo.shape[:2])
        assert photo.shape == (256, 256, 3)
        assert photo[hole].mean() < 4 < photo[~hole].mean()


def test_better_fills_are_better_on_real_photos(raw: Path) -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        folder = "Dataset/Training_Data/Cat"
        table = io.StringIO(archive.read(f"{folder}/Masked_Train/masked_info.csv").decode())
        names = [row["filename"] for row in csv.DictReader(table)][:12]
        rows = LAYOUT.index(raw).rows.set_index("id")
        errors = {"mean": 0.0, "harmonic": 0.0, "fractional": 0.0}
        for name in names:
            for kind in ("Masked_Train", "Unmasked_Train"):
                (raw / folder / kind / name).write_bytes(archive.read(f"{folder}/{kind}/{name}"))
            boxes = boxes_from_text(rows.loc[f"train/Cat/{name}", "boxes"])
            masked, whole = (load_image(raw / folder / kind / name) for kind in ("Masked_Train", "Unmasked_Train"))
            hole, pixels = hole_of(boxes, 256, 256), scored_pixels(boxes)
            truth = to_score_space(whole[pixels] / 255.0, LAYOUT.value_range(whole, None))
            for fill in errors:
                values = to_score_space(fill_photo(fill, masked, hole)[pixels], LAYOUT.value_range(masked, hole))
                errors[fill] += float(((np.clip(values, 0, 1) - truth) ** 2).mean())
    assert errors["fractional"] < errors["harmonic"] < errors["mean"]
    assert 0.1 < np.sqrt(errors["fractional"] / len(names)) < 0.25
