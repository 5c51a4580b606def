"""A small competition made of photos that are already installed. Knows Kaggle's layout; knows no model, no network.

The photos are those inside the wheels of scikit-image and scikit-learn (scikit-image has more, but fetches them on
demand: none of those is used). Each is cut in two by a straight line; training photos are crops from one side, test
photos from the other, so that no test pixel is in any training photo. Everything else is as in the real archive:
256x256, two 75x75 boxes, names with blanks and parentheses, JPEG twice (`kit.competitions.photo_reconstruction`).
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kit.competitions.photo_reconstruction import BOX_COLUMNS, BOX_SIZE, SAMPLE, encode
from kit.core.extras import is_installed, missing_package
from kit.core.progress import track
from kit.core.storage import writing, writing_folder
from kit.data.origin import TRUTH
from kit.errors import DataError, UsageError
from kit.imaging.holes import Box, hole_of, random_boxes, scored_count
from kit.imaging.images import decode_image, load_image, resize

SIZE = 256
ARCHIVE = "photo-reconstruction.zip"
TRAIN, TEST = 102, 24

TEST_SHARE = 0.4  # of a source photo, along the cut
MIN_CONTRAST = 14.0  # grey levels of standard deviation; a crop below it is close to blank
MIN_CROP = 140  # pixels; smaller crops would be mostly interpolation at 256
ORIGINAL_QUALITY, MASKED_QUALITY = 90, 95

_ZIP_TIME = (2023, 4, 1, 0, 0, 0)  # fixed: the same seed gives the same bytes


@dataclass(frozen=True)
class _Source:
    """One installed photo: its class, where it is, and which side of it the test photos come from."""

    klass: str
    package: str
    file: str
    side: str


_SKIMAGE, _SKLEARN = "skimage/data", "sklearn/datasets/images"

# the stereo partner of the motorcycle is left out: it shows the same scene, so it would carry test pixels into training
SOURCES = (
    _Source("Person", _SKIMAGE, "astronaut.png", "bottom"),
    _Source("Nature", _SKIMAGE, "chelsea.png", "right"),
    _Source("Place", _SKLEARN, "china.jpg", "left"),
    _Source("Thing", _SKIMAGE, "coffee.png", "right"),
    _Source("Space", _SKIMAGE, "hubble_deep_field.jpg", "right"),
    _Source("Medicine", _SKIMAGE, "ihc.png", "bottom"),
    _Source("Person", _SKIMAGE, "camera.png", "right"),
    _Source("Nature", _SKLEARN, "flower.jpg", "left"),
    _Source("Place", _SKIMAGE, "rocket.jpg", "right"),
    _Source("Thing", _SKIMAGE, "motorcycle_left.png", "left"),
    _Source("Space", _SKIMAGE, "moon.png", "bottom"),
    _Source("Medicine", _SKIMAGE, "retina.jpg", "right"),
)


@dataclass(frozen=True)
class DemoArchive:
    """Files that `make_demo_archive` leaves behind."""

    archive: Path
    """The zip, for `kit fetch --from`."""
    truth: Path
    """Folder of the whole test photos, under their own names, for `kit grade --truth`. Not in the zip."""
    train: int
    test: int


@dataclass(frozen=True)
class _Photo:
    """One photo of the demo: the bytes of its files and what is hidden."""

    klass: str
    name: str
    boxes: tuple[Box, ...]
    original: bytes
    masked: bytes


def make_demo_archive(folder: Path, *, seed: int = 0, train: int = TRAIN, test: int = TEST) -> DemoArchive:
    """Write the demo's archive and, beside it, the truth of its test photos.

    Args:
        folder: gets `photo-reconstruction.zip` and `truth/`; made when absent.
        seed: crops, boxes and names follow from it; the same seed gives the same bytes.
        train, test: how many photos, dealt out over the classes in turn.

    Raises:
        UsageError: fewer than one photo of either kind.
        MissingPackage: scikit-image or scikit-learn is not installed.
        DataError: one of them is installed without its photos.
    """
    if train < 1 or test < 1:
        raise UsageError(f"A competition of {train} training and {test} test photos cannot be: at least 1 of each.")
    rng = np.random.default_rng(seed)
    photos = list(track(_photos(rng, train, test), "Making the demo", train + test, "photos"))
    training, testing = photos[:train], photos[train:]
    with writing_folder(folder / TRUTH) as truth:
        for photo in testing:
            (truth / photo.name).write_bytes(photo.original)
    with writing(folder / ARCHIVE) as file, zipfile.ZipFile(file, "w") as archive:
        for path, data in _members(training, testing):
            info = zipfile.ZipInfo(path, _ZIP_TIME)
            info.external_attr = 0o644 << 16
            squeezes = path.endswith(".csv")
            archive.writestr(info, data, zipfile.ZIP_DEFLATED if squeezes else zipfile.ZIP_STORED, 1)
    return DemoArchive(folder / ARCHIVE, folder / TRUTH, train, test)


def source_path(source: _Source) -> Path:
    """Return where the photo lies on this machine. Raises `MissingPackage`, `DataError`."""
    package, _, below = source.package.partition("/")
    spec = importlib.util.find_spec(package) if is_installed(package) else None  # importing it would take a second
    if spec is None or not spec.submodule_search_locations:
        raise missing_package(package)
    path = Path(spec.submodule_search_locations[0]) / below / source.file
    if not path.is_file():
        raise DataError(f"{path} is missing: this {package} came without its photos. Install the one from PyPI.")
    return path


def halves(source: _Source, height: int, width: int) -> tuple[Box, Box]:
    """Return the regions of a source photo that training and test photos are cut from; they share no pixel."""
    down = source.side in ("top", "bottom")
    length = height if down else width
    share = round(length * TEST_SHARE)
    first = share if source.side in ("top", "left") else length - share
    if down:
        before, after = Box(0, 0, first, width), Box(first, 0, height - first, width)
    else:
        before, after = Box(0, 0, height, first), Box(0, first, height, width - first)
    return (after, before) if source.side in ("top", "left") else (before, after)


def choose_crops(rng: np.random.Generator, image: np.ndarray, region: Box, count: int) -> list[Box]:
    """Choose `count` square crops in `region`, of several scales, none nearly blank, overlapping as little as they
    can."""
    if not count:
        return []
    largest = min(region.height, region.width)
    sides = rng.integers(min(MIN_CROP, largest), largest + 1, 16 * count)
    crops = [
        Box(
            region.row + int(rng.integers(0, region.height - side + 1)),
            region.col + int(rng.integers(0, region.width - side + 1)),
            int(side),
            int(side),
        )
        for side in sides
    ]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    contrast = np.array([cv2.meanStdDev(_cut(grey, crop))[1].item() for crop in crops])
    enough = np.flatnonzero(contrast >= MIN_CONTRAST)
    if len(enough) < count:
        enough = np.argsort(-contrast, kind="stable")[: 2 * count]
    candidates = [crops[position] for position in enough]
    chosen = [candidates.pop(0)]
    while len(chosen) < count:
        overlaps = [max(_overlap(crop, other) for other in chosen) for crop in candidates]
        chosen.append(candidates.pop(int(np.argmin(overlaps))))
    return chosen


def _overlap(first: Box, second: Box) -> float:
    """Return the shared area as a part of the smaller box."""
    rows = min(first.row + first.height, second.row + second.height) - max(first.row, second.row)
    columns = min(first.col + first.width, second.col + second.width) - max(first.col, second.col)
    return max(0, rows) * max(0, columns) / min(first.height * first.width, second.height * second.width)


def _cut(image: np.ndarray, box: Box) -> np.ndarray:
    return image[box.row : box.row + box.height, box.col : box.col + box.width]


def _photos(rng: np.random.Generator, train: int, test: int) -> Iterator[_Photo]:
    """Yield training photos, then test photos, each dealt out over the sources in turn."""
    deal = {"train": train, "test": test}
    crops: dict[str, list[list[np.ndarray]]] = {"train": [], "test": []}
    for position, source in enumerate(SOURCES):
        image = load_image(source_path(source))
        for split, region in zip(deal, halves(source, *image.shape[:2]), strict=True):
            count = len(range(position, deal[split], len(SOURCES)))
            # cut first, resize then: no pixel from outside the region can reach the photo
            cuts = [_cut(image, crop) for crop in choose_crops(rng, image, region, count)]
            crops[split].append([resize(np.ascontiguousarray(cut), SIZE, SIZE) for cut in cuts])
    names = _names(rng, train, test)
    for split, count in deal.items():
        for position in range(count):
            turn, place = divmod(position, len(SOURCES))
            boxes = _boxes(rng, overlapping=position == 0)
            yield _photo(SOURCES[place].klass, names[split][position], boxes, crops[split][place][turn])


def _boxes(rng: np.random.Generator, *, overlapping: bool) -> tuple[Box, ...]:
    """Draw two boxes anywhere; the first photo of each split has overlapping ones, so that a demo always meets some."""
    like = [Box(0, 0, BOX_SIZE, BOX_SIZE)] * 2
    while True:
        first, second = random_boxes(rng, like, SIZE, SIZE)
        if not overlapping or 0 < _overlap(first, second) < 1:
            return first, second


def _names(rng: np.random.Generator, train: int, test: int) -> dict[str, list[str]]:
    """Return names as in the real archive: `Cat-Train (24).jpeg`, now and then with a twin that ends in `.jpg`."""
    names: dict[str, list[str]] = {}
    numbers = {klass: list(rng.permutation(np.arange(1, train + test + 1))) for klass in _classes()}
    for split, count in (("train", train), ("test", test)):
        given: list[str] = []
        for position in range(count):
            klass = SOURCES[position % len(SOURCES)].klass
            twins = [name for name in given if name.startswith(klass) and name.endswith(".jpeg")]
            if position % 10 == 9 and twins:
                twin = twins[-1].removesuffix("jpeg") + "jpg"
                if twin not in given:
                    given.append(twin)
                    continue
            suffix = "png" if position % 25 == 7 else "jpg" if position % 25 == 15 else "jpeg"
            given.append(f"{klass}-Train ({numbers[klass].pop()}).{suffix}")
        names[split] = given
    return names


def _classes() -> list[str]:
    return list(dict.fromkeys(source.klass for source in SOURCES))


def _photo(klass: str, name: str, boxes: tuple[Box, ...], image: np.ndarray) -> _Photo:
    suffix = Path(name).suffix
    original = _encoded(image, suffix, ORIGINAL_QUALITY)
    shown = decode_image(original, Path(name))  # boxes are painted on what the original's file holds
    shown[hole_of(boxes, SIZE, SIZE)] = 0
    return _Photo(klass, name, boxes, original, _encoded(shown, suffix, MASKED_QUALITY))


def _encoded(image: np.ndarray, suffix: str, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix != ".png" else []
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _members(training: Sequence[_Photo], testing: Sequence[_Photo]) -> Iterator[tuple[str, bytes]]:
    """Yield the path and bytes of every file of the archive."""
    for klass in _classes():
        photos = [photo for photo in training if photo.klass == klass]
        below = f"Dataset/Training_Data/{klass}"
        for photo in photos:
            yield f"{below}/Masked_Train/{photo.name}", photo.masked
            yield f"{below}/Unmasked_Train/{photo.name}", photo.original
        if photos:
            yield f"{below}/Masked_Train/masked_info.csv", _masked_info(photos)
    for photo in testing:
        yield f"Dataset/Testing_Data/{photo.name}", photo.masked
    yield "Dataset/Testing_Data/masked_info.csv", _masked_info(testing)
    yield SAMPLE, b"filename_box_pixel,value\n" + b"".join(map(_sample_rows, testing))


def _masked_info(photos: Sequence[_Photo]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["", "filename", *BOX_COLUMNS])
    for position, photo in enumerate(photos):
        table.writerow([position, photo.name, *(place for box in photo.boxes for place in (box.row, box.col))])
    return text.getvalue().encode()


def _sample_rows(photo: _Photo) -> bytes:
    rows = encode(photo.name, photo.boxes, np.zeros((scored_count(photo.boxes), 3)))
    return rows.replace(b",0.000000\n", b",0\n")  # Kaggle's sample has a bare 0
