"""A submission that is a zip of whole pictures: each test picture as PNG, its hidden pixels filled. Knows no network.

Known pixels are those of the picture as given, bit for bit; in the zip a picture has its own name with the suffix .png.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from kit.competitions import Competition, to_score_space
from kit.core.progress import track
from kit.core.storage import digest_file, writing
from kit.data.index import Index, PhotoRow
from kit.data.project import Project
from kit.errors import KitError, SubmissionError
from kit.imaging.holes import scored_pixels
from kit.imaging.images import MAX_PIXELS, composite_values, decode_image
from kit.imaging.metrics import Metric
from kit.submission.csv_rows import AGAIN
from kit.submission.originals import Originals
from kit.submission.photo_error import photo_error
from kit.submission.write import Check, SubmissionFile, checked_values, target_of

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def entry_of(name: str) -> str:
    """Return what a test picture is called in the zip."""
    return PurePosixPath(name).with_suffix(".png").as_posix()


def write_pictures(
    project: Project, values: Iterable[np.ndarray], name: str, folder: Path | None = None
) -> SubmissionFile:
    """Write `<name>.zip`, whole or not at all; the same values give the same bytes.

    Args:
        values: for each test photo in index order `(n, 3)` RGB in [0, 1].
        folder: where, by default the workspace's `submissions/`.

    Raises:
        PredictionsError: values that are not finite, or not one `(n, 3)` array for each test photo.
    """
    path = target_of(project, name, folder, ".zip")
    with writing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for row, picture in _painted(project, values, name):
            entry = zipfile.ZipInfo(entry_of(row.name), (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, _png(picture))
    return SubmissionFile(path, len(project.index.test), digest_file(path))


def write_array(
    project: Project, values: Iterable[np.ndarray], name: str, folder: Path | None = None
) -> SubmissionFile:
    """Write `<name>.npy`, uint8 RGB `(M, H, W, 3)` in the order of the index, whole or not at all; see
    `write_pictures`.

    Raises:
        SubmissionError: photos of several sizes, of which there is no array.
    """
    first = project.index.test[0]
    if any((row.height, row.width) != (first.height, first.width) for row in project.index.test):
        raise SubmissionError("Photos of several sizes are no array. Let the layout say SUBMISSION = 'pictures'.")
    path = target_of(project, name, folder, ".npy")
    shape = (len(project.index.test), first.height, first.width, 3)
    with writing(path) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for _, picture in _painted(project, values, name):
            file.write(picture.tobytes())
    return SubmissionFile(path, shape[0], digest_file(path))


def _painted(project: Project, values: Iterable[np.ndarray], name: str) -> Iterator[tuple[PhotoRow, np.ndarray]]:
    """Yield each test photo with its hidden pixels filled, uint8 RGB."""
    for position, chunk in enumerate(checked_values(values, project.index, name)):
        row = project.index.test[position]
        yield row, composite_values(np.asarray(project.pack.test_image[position]), chunk, row.boxes, 0, 0)


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def check_pictures(path: Path, project: Project) -> Check:
    """Compare a zip of pictures with the test photos: names, number, sizes, and known pixels.

    Raises:
        SubmissionError: the first thing that is wrong.
    """
    lowest, highest = 1.0, 0.0
    for position, (row, picture) in enumerate(_pictures(path, project.index)):
        given, hole = np.asarray(project.pack.test_image[position]), row.hole
        wrong = np.argwhere((picture != given).any(axis=2) & ~hole)
        if len(wrong):
            place = ", ".join(map(str, wrong[0].tolist()))
            raise SubmissionError(
                f"{path}: {entry_of(row.name)} has changed {len(wrong)} known pixels (first: row and column {place}). "
                f"{AGAIN}"
            )
        inside = picture[hole]
        if inside.size:
            lowest, highest = min(lowest, inside.min() / 255), max(highest, inside.max() / 255)
    return Check(path, len(project.index.test), min(lowest, highest), highest, digest_file(path), True)


def graded_pictures(
    path: Path, originals: Originals, index: Index, layout: Competition, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Return errors by the metric and hidden values by photo, two of `(M,)`.

    Raises:
        SubmissionError: pictures are missing, too many, or of another size.
        ImageError: an original cannot be read, or is of another size.
    """
    errors, counts = np.zeros(len(index.test)), np.zeros(len(index.test), np.int64)
    for position, (row, picture) in enumerate(_pictures(path, index, "Grading")):
        whole = originals.load(row)
        estimated = layout.value_range(whole, row.hole)  # known pixels alone: what a submission is scaled by
        values = to_score_space(picture[scored_pixels(row.boxes)] / 255.0, estimated).clip(0, 1)
        errors[position] = photo_error(metric, layout, row, whole, values)
        counts[position] = values.size
    return errors, counts


def picture_means(path: Path) -> dict[str, float]:
    """Return the mean of each picture in a zip, in [0, 1], by its name there."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir()]
            return {one.filename: float(_decoded(archive, one, path).mean()) / 255 for one in entries}
    except (*_DAMAGE, OSError) as error:
        raise SubmissionError(f"{path} is no zip that can be read ({error}). {AGAIN}") from None


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the files in a zip by name. Raises `SubmissionError` where a name is there twice."""
    found: dict[str, zipfile.ZipInfo] = {}
    for one in archive.infolist():
        if one.is_dir():
            continue
        if one.filename in found:
            raise SubmissionError(f"{path} holds {one.filename} twice. {AGAIN}")
        found[one.filename] = one
    return found


def _pictures(path: Path, index: Index, title: str = "Checking") -> Iterator[tuple[PhotoRow, np.ndarray]]:
    """Yield each test photo with its picture, uint8 RGB of the photo's size, from a zip or an array."""
    if path.suffix.lower() == ".npy":
        yield from _of_array(path, index, title)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            there = _entries(archive, path)
            wanted = {entry_of(row.name) for row in index.test}
            for what, names in (("lacks", wanted - there.keys()), ("holds", there.keys() - wanted)):
                if names:
                    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                    tail = (
                        f"of the {len(wanted)} test pictures" if what == "lacks" else "which no test picture is called"
                    )
                    raise SubmissionError(f"{path} {what} {min(names)}{more}, {tail}. {AGAIN}")
            for row in track(index.test, title, len(index.test), "pictures"):
                picture = _decoded(archive, there[entry_of(row.name)], path)
                if picture.shape[:2] != (row.height, row.width):
                    raise SubmissionError(
                        f"{path}: {entry_of(row.name)} is {picture.shape[1]}x{picture.shape[0]}, expected "
                        f"{row.width}x{row.height}. {AGAIN}"
                    )
                yield row, picture
    except FileNotFoundError:
        raise SubmissionError(f"{path} is not a file. {AGAIN}") from None
    except (*_DAMAGE, OSError) as error:
        raise SubmissionError(f"{path} is no zip that can be read ({error}). {AGAIN}") from None


def _of_array(path: Path, index: Index, title: str) -> Iterator[tuple[PhotoRow, np.ndarray]]:
    first = index.test[0]
    wanted = (len(index.test), first.height, first.width, 3)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise SubmissionError(f"{path} is not a file. {AGAIN}") from None
    except (OSError, ValueError, EOFError) as error:
        raise SubmissionError(f"{path} is no array that can be read ({error}). {AGAIN}") from None
    if array.dtype != np.uint8 or array.shape != wanted:
        raise SubmissionError(f"{path} holds {array.dtype} {array.shape}, expected uint8 {wanted}. {AGAIN}")
    for position, row in enumerate(track(index.test, title, len(index.test), "pictures")):
        yield row, np.asarray(array[position])


def _decoded(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> np.ndarray:
    if entry.file_size > 4 * MAX_PIXELS:
        raise SubmissionError(f"{path}: {entry.filename} claims {entry.file_size:,} bytes. {AGAIN}")
    try:
        return decode_image(archive.read(entry), Path(entry.filename))
    except KitError as error:
        what = str(error).split(" Fetch it again")[0]
        raise SubmissionError(f"{path}: {what} {AGAIN}") from None
