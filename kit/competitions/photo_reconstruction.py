"""The layout of Kaggle's `photo-reconstruction` (2023). Knows folders, CSV, BGR and min-max; knows no model.

    Dataset/Training_Data/<Class>/Masked_Train/<file>     boxes painted black
    Dataset/Training_Data/<Class>/Unmasked_Train/<file>   the same file names
    Dataset/Testing_Data/<file>
    masked_info.csv   beside the masked photos; in some copies one file serves all classes
    sample_submission.csv   `<file>_box<1|2>_<row>_<col>_<channel>,value`, channel 0, 1, 2 = B, G, R

Source: the competition's data page, and published notebooks (they disagree on `value` or `Value`: the sample decides).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competitions import Competition, Layout, open_sample, sample_path
from kit.errors import ArchiveError, TableError
from kit.imaging.holes import Box, boxes_to_text, scored_pixels
from kit.imaging.images import IMAGE_SUFFIXES, channel_range

BOX_SIZE = 75
BOX_COLUMNS = ["box1_row", "box1_col", "box2_row", "box2_col"]
TITLE = "Photo Reconstruction"
METRIC = "rmse"
SAMPLE = "sample_submission.csv"
DECIMALS = 6  # `_decimal` writes them as three and three


def index(raw: Path) -> Layout:
    """Find every photo below `raw`. Raises `ArchiveError` or `TableError`."""
    training = _folder(raw, "Training_Data")
    testing = _folder(raw, "Testing_Data")
    notes: list[str] = []
    rows: list[dict[str, str]] = []
    classes = sorted(folder for folder in training.iterdir() if (folder / "Masked_Train").is_dir())
    if not classes:
        raise ArchiveError(
            f"{training} has no <Class>/Masked_Train folder. Give the competition's archive: kit fetch --from ZIP"
        )
    for folder in classes:
        rows += _training_rows(raw, folder, notes)
    rows += _in_sample_order(raw, _testing_rows(raw, testing, [folder.name for folder in classes], notes), notes)
    try:
        sample_path(raw, SAMPLE)
    except ArchiveError:  # hours of training later would be late
        notes.append(f"{SAMPLE} is not among the competition's files: without it no submission can be written")
    return Layout(pd.DataFrame(rows), tuple(notes))


def index_test(raw: Path, classes: Sequence[str]) -> Layout:
    """Find every test photo below `raw`, in the sample's order if a sample is there; training photos are not looked at.

    Args:
        classes: those that a test photo's name may say.

    Raises:
        ArchiveError, TableError: as `index`.
    """
    notes: list[str] = []
    rows = _testing_rows(raw, _folder(raw, "Testing_Data"), classes, notes)
    columns = ["id", "split", "klass", "name", "image", "target", "boxes"]
    return Layout(pd.DataFrame(_in_sample_order(raw, rows, notes), columns=columns), tuple(notes))


def holds(folder: Path) -> bool:
    """Return whether the folders of training and test photos are there."""
    try:
        return all(_folder(folder, name).is_dir() for name in ("Training_Data", "Testing_Data"))
    except ArchiveError:
        return False


def _folder(raw: Path, name: str) -> Path:
    """Return the folder `name`, wherever the archive nests it, but not inside another one of that name."""
    for depth in ("", "*/", "*/*/"):
        found = sorted(path for path in raw.glob(f"{depth}{name}") if path.is_dir())
        if found:
            return found[0]
    inner = next(iter(sorted(path for path in raw.rglob("*.zip") if not path.name.startswith(SAMPLE))), None)
    if inner is not None:
        raise ArchiveError(
            f"{raw} holds no {name} folder but {inner.relative_to(raw)}, an archive in the archive. Unpack both into "
            "one folder, then: kit fetch --from FOLDER"
        )
    raise ArchiveError(
        f"{raw} holds no {name} folder, so it is not the photo-reconstruction archive. Give it: kit fetch --from ZIP"
    )


def _training_rows(raw: Path, folder: Path, notes: list[str]) -> list[dict[str, str]]:
    masked, unmasked = folder / "Masked_Train", folder / "Unmasked_Train"
    table = _masked_info(masked, stop=raw)
    present = _pictures(masked)
    listed = _listed_here(table, masked, present)
    asked = listed["filename"]
    spelled, whole = _Spellings(present, asked), _Spellings(_pictures(unmasked) if unmasked.is_dir() else (), asked)
    _note_unlisted(masked, present, {spelled.find(name) or name for name in listed["filename"]}, notes)
    rows = []
    for name, boxes in _named_boxes(listed, masked):
        found = [names.find(name) for names in (spelled, whole)]
        for folder_of, one in zip((masked, unmasked), found, strict=True):
            if one is None:
                raise ArchiveError(
                    f"{folder_of / name} is missing but masked_info.csv lists it. Fetch again: kit fetch --force"
                )
        rows.append(
            {
                "id": f"train/{folder.name}/{name}",
                "split": "train",
                "klass": folder.name,
                "name": name,
                "image": (masked / str(found[0])).relative_to(raw).as_posix(),
                "target": (unmasked / str(found[1])).relative_to(raw).as_posix(),
                "boxes": boxes,
            }
        )
    if not rows:
        raise TableError(
            f"masked_info.csv lists none of the {len(present)} pictures in {masked}. Fetch again: kit fetch --force"
        )
    return rows


def _testing_rows(raw: Path, folder: Path, classes: Sequence[str], notes: list[str]) -> list[dict[str, str]]:
    table = _masked_info(folder, stop=raw)
    present = _pictures(folder)
    table = _listed_here(table, folder, present)
    spelled = _Spellings(present, table["filename"])
    _note_unlisted(folder, present, {spelled.find(name) or name for name in table["filename"]}, notes)
    rows = []
    for name, boxes in _named_boxes(table, folder):
        found = spelled.find(name)
        if found is None:
            raise ArchiveError(
                f"{folder / name} is missing but masked_info.csv lists it. Fetch again: kit fetch --force"
            )
        rows.append(
            {
                "id": f"test/{name}",
                "split": "test",
                "klass": _class_of(name, classes),
                "name": name,
                "image": (folder / found).relative_to(raw).as_posix(),
                "target": "",
                "boxes": boxes,
            }
        )
    return rows


def _class_of(name: str, classes: Sequence[str]) -> str:
    # the first word of a test photo's name is its class here; other layouts have no such rule, so it may be empty
    match = re.match(r"[A-Za-z]+", name)
    word = match.group().casefold() if match else ""
    return next((klass for klass in classes if klass.casefold() == word), "")


def _pictures(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}


class _Spellings:
    """Names as they are spelled in one place, found by how they are spelled in another.

    Archives that were packed on a Mac have another Unicode form, cameras and Windows write `.PNG`.
    """

    def __init__(self, names: Iterable[str], asked: Iterable[str] = ()) -> None:
        """
        Args:
            asked: all names that will be asked for; one that is there by itself is nobody else's.
        """
        self._names, self._asked = set(names), set(asked)
        self._alike: dict[str, set[str]] = {}
        for name in self._names:
            self._alike.setdefault(_folded(name), set()).add(name)

    def find(self, name: str) -> str | None:
        """Return the very name, or the only one that differs in nothing but form and case."""
        if name in self._names:
            return name
        alike = self._alike.get(_folded(name), set()) - self._asked
        return next(iter(alike)) if len(alike) == 1 else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _note_unlisted(folder: Path, present: set[str], listed: set[str], notes: list[str]) -> None:
    unlisted = sorted(present - listed)
    if unlisted:
        notes.append(
            f"{folder}: {len(unlisted)} pictures without a row in masked_info.csv left out (first: {unlisted[0]!r})"
        )


def _listed_here(table: pd.DataFrame, folder: Path, present: set[str]) -> pd.DataFrame:
    """Return the rows about `folder`: all of its own table; of a table for several folders, those that it has pictures
    for."""
    if (folder / "masked_info.csv").is_file():
        return table
    spelled = _Spellings(present)
    return table[np.array([spelled.find(name) is not None for name in table["filename"]], bool)]


def _in_sample_order(raw: Path, rows: list[dict[str, str]], notes: list[str]) -> list[dict[str, str]]:
    """Return test photos in the order in which the sample submission asks for them."""
    try:
        asked = _sample_names(sample_path(raw, SAMPLE))
    except (ArchiveError, TableError):
        return rows  # said where the sample is needed: at `kit upload`
    spelled = _Spellings(asked, [row["name"] for row in rows])  # a submission has to call photos as the sample does
    rows = [{**row, "name": spelled.find(row["name"]) or row["name"]} for row in rows]
    places = {name: place for place, name in reversed(list(enumerate(asked)))}
    unasked = [row["name"] for row in rows if row["name"] not in places]
    if unasked or len(places) != len(rows):
        absent = sorted(places.keys() - {row["name"] for row in rows})
        notes.append(
            f"{SAMPLE} asks for {len(places)} photos, Testing_Data has {len(rows)}"
            + (f"; not asked for: {unasked[0]!r}" if unasked else "")
            + (f"; not there: {absent[0]!r}" if absent else "")
        )
        return rows
    return sorted(rows, key=lambda row: places[row["name"]])


_ROWS_A_PHOTO = 2 * BOX_SIZE * BOX_SIZE * 3


def _sample_names(path: Path) -> list[str]:
    """Return photo names in the sample's order, from the first row of each photo. Raises `TableError`."""
    names = _names_of_plain_table(path)
    return _names_of_any_table(path) if names is None else names


def _names_of_plain_table(path: Path) -> list[str] | None:
    """Return the names by counting line ends, many times faster than parsing; None if quotes or odd rows forbid it."""
    starts: list[int] = []
    position, lines, commas = 0, 0, 0
    with open_sample(path) as file:
        while chunk := file.read(1 << 20):
            values = np.frombuffer(chunk, np.uint8)
            if (values == ord('"')).any():
                return None
            commas += int(np.count_nonzero(values == ord(",")))
            ends = np.count_nonzero(values == ord("\n"))
            due = 1 + len(starts) * _ROWS_A_PHOTO  # the line of the next photo begins behind this many line ends
            if lines + ends >= due:
                starts += (
                    position + np.flatnonzero(values == ord("\n"))[due - 1 - lines :: _ROWS_A_PHOTO] + 1
                ).tolist()
            position, lines = position + len(chunk), lines + int(ends)
        if commas != lines or not lines:
            return None  # more columns than two, blank lines, or no end of the last line
        names = []
        for start in starts[:-1] if starts and starts[-1] == position else starts:
            file.seek(start)
            try:
                names.append(file.readline(1 << 16).decode().split(",")[0].rsplit("_box", 1)[0])
            except UnicodeDecodeError:
                return None
    return names


def _names_of_any_table(path: Path) -> list[str]:
    import pyarrow
    import pyarrow.csv

    names = []
    due = 0
    try:
        with open_sample(path) as file:
            reader = pyarrow.csv.open_csv(file, read_options=pyarrow.csv.ReadOptions(block_size=1 << 20))
            for batch in reader:
                while due < len(batch):
                    names.append(str(batch.column(0)[due].as_py()).rsplit("_box", 1)[0])
                    due += _ROWS_A_PHOTO
                due -= len(batch)
    except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
        raise TableError(f"{path} is not a CSV table ({error}). Fetch again: kit fetch --force") from None
    return names


def _masked_info(folder: Path, *, stop: Path) -> pd.DataFrame:
    """Return the nearest masked_info.csv at or above `folder`, checked."""
    for place in (folder, *folder.parents):
        path = place / "masked_info.csv"
        if path.is_file():
            return _read_masked_info(path)
        if place == stop:
            break
    raise ArchiveError(f"There is no masked_info.csv in {folder} or above it. Fetch again: kit fetch --force")


def _read_masked_info(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"filename": str}, keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise TableError(f"{path} is not a CSV table ({error}). Fetch again: kit fetch --force") from None
    missing = [column for column in ["filename", *BOX_COLUMNS] if column not in table.columns]
    if missing:
        raise TableError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, table.columns))}.")
    bad = table[["filename", *BOX_COLUMNS]].isna().any(axis=1)
    if bad.any():
        raise TableError(f"{path}, line {_first(bad) + 2}: an empty cell. Fetch again: kit fetch --force")
    for column in BOX_COLUMNS:
        numbers = pd.to_numeric(table[column], errors="coerce")
        wrong = numbers.isna() | (numbers != numbers.round()) | (numbers < 0)
        if wrong.any():
            line = _first(wrong)
            raise TableError(
                f"{path}, line {line + 2}: {column} is {str(table[column].iloc[line])!r}, not a pixel coordinate."
            )
        table[column] = numbers.astype(int)
    twice = table["filename"].duplicated()
    if twice.any():
        raise TableError(
            f"{path}, line {_first(twice) + 2}: {table['filename'].iloc[_first(twice)]!r} is listed twice."
        )
    return table


def _first(flags: pd.Series) -> int:
    return int(np.flatnonzero(flags)[0])


def _named_boxes(table: pd.DataFrame, folder: Path) -> list[tuple[str, str]]:
    pairs = []
    for name, row1, col1, row2, col2 in table[["filename", *BOX_COLUMNS]].itertuples(index=False):
        if "/" in name or "\\" in name or name in (".", ".."):
            raise TableError(f"masked_info.csv for {folder}: {name!r} is not a file name.")
        pairs.append((name, boxes_to_text([Box(row1, col1, BOX_SIZE, BOX_SIZE), Box(row2, col2, BOX_SIZE, BOX_SIZE)])))
    return pairs


def value_range(image: np.ndarray, hole: np.ndarray | None) -> np.ndarray:
    """Return low and high of each channel, `(2, 3)` float64 in [0, 1]; with a hole, of the known pixels alone.

    With `hole=None` this is the true value range of an original photo. The hidden pixels of a test photo take part in
    the true ones, so the estimate is off for some: EXPERIMENTS.md says by how much (`scripts/bench/extremes.py`).
    """
    if hole is not None and hole.all():
        return np.stack([np.zeros(3), np.ones(3)])
    return channel_range(image, hole) / 255.0


def header(raw: Path) -> bytes:
    """Return the sample's first line. Raises `ArchiveError` or `TableError`."""
    path = sample_path(raw, SAMPLE)
    with open_sample(path) as file:
        line = file.readline(4096).removeprefix(b"\xef\xbb\xbf")
    line = line.split(b"\r")[0] + b"\n" if b"\r" in line else line  # a Mac's lines end with that alone
    if line.count(b",") != 1 or not line.endswith(b"\n"):
        raise TableError(
            f"{path} does not begin with two column names but with {line[:60]!r}. Fetch again: kit fetch --force"
        )
    return line


def encode(name: str, boxes: Sequence[Box], values: np.ndarray) -> bytes:
    """Write the CSV lines of one photo: box 1 row by row, then box 2, channels B, G, R innermost.

    All rows are laid out at once in one `(rows, width)` byte matrix with zero bytes for absent leading digits, which
    are squeezed out at the end: several times faster than formatting row by row (`scripts/bench/submission.py`).

    Args:
        values: `(n, 3)` RGB in score space, clipped here to [0, 1].
    """
    if not boxes:
        return b""
    rows, columns = scored_pixels(boxes)
    number = np.concatenate([np.full(box.height * box.width, position + 1) for position, box in enumerate(boxes)])
    start, end = _cell(name)
    count = len(rows) * 3
    bgr = np.clip(values[:, ::-1].astype(np.float64), 0.0, 1.0)
    parts = [
        _constant(start, count),
        _digits(np.repeat(number, 3)),
        _constant(b"_", count),
        _digits(np.repeat(rows, 3)),
        _constant(b"_", count),
        _digits(np.repeat(columns, 3)),
        _constant(b"_", count),
        _digits(np.tile(np.arange(3), len(rows))),
        _constant(end, count),
        _decimal(bgr.reshape(-1)),
        _constant(b"\n", count),
    ]
    matrix = np.concatenate(parts, axis=1)
    text: bytes = matrix[matrix != 0].tobytes()
    return text


def _cell(name: str) -> tuple[bytes, bytes]:
    """Return how the id cell begins and ends: some letters put the cell in quotes, as CSV has it."""
    if any(letter in name for letter in ',"\r\n'):
        return ('"' + name.replace('"', '""') + "_box").encode(), b'",'
    return f"{name}_box".encode(), b","


def _constant(text: bytes, count: int) -> np.ndarray:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (count, len(text)))


def _digits(numbers: np.ndarray) -> np.ndarray:
    """Return decimal digits `(count, width of the largest)`, leading zeros as zero bytes; looked up, not computed."""
    table = _digits_below(int(numbers.max()) + 1)
    every = np.arange(len(table))[:, None]
    powers = 10 ** np.arange(table.shape[1] - 1, -1, -1)
    digits: np.ndarray = np.where((every < powers) & (powers > 1), 0, table).astype(np.uint8)[numbers]
    return digits


def _digits_below(count: int) -> np.ndarray:
    """Return ASCII digits of 0, 1, .. count - 1, with leading zeros, `(count, width)` uint8."""
    powers = 10 ** np.arange(len(str(count - 1)) - 1, -1, -1)
    return ((np.arange(count)[:, None] // powers) % 10 + ord("0")).astype(np.uint8)


def _decimal(values: np.ndarray) -> np.ndarray:
    """Return `d.dddddd` of values in [0, 1]."""
    scaled = np.rint(values * 10**DECIMALS).astype(np.int32)
    first, rest = np.divmod(scaled, 1000)  # 0..1000 thousandths, then three more digits
    before = _digits_below(1001)  # dddd
    point = np.full((len(before), 1), ord("."), np.uint8)
    before = np.concatenate([before[:, :1], point, before[:, 1:]], axis=1)
    return np.concatenate([before[first], _digits_below(1000)[rest]], axis=1)


def decode(values: np.ndarray) -> np.ndarray:
    """Turn `(n * 3,)` values of one photo in file order into `(n, 3)` RGB in score space."""
    return values.reshape(-1, 3)[:, ::-1]


PHOTO_RECONSTRUCTION = Competition(
    slug="photo-reconstruction",
    title=TITLE,
    metric=METRIC,
    sample=SAMPLE,
    index=index,
    value_range=value_range,
    header=header,
    encode=encode,
    decode=decode,
    holds=holds,
    index_test=index_test,
)
