"""Archives that are wrong in one way each, made from a good one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kit.errors import ArchiveError, ImageError, KitError, TableError

Change = Callable[[bytes], "bytes | None"]


def changed(archive: Path, target: Path, part: str, change: Change, *, every: bool = False) -> Path:
    """Write `archive` to `target` with `change` made to the first member (or every one) whose path holds `part`.

    A change to None leaves the member out.
    """
    done = False
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data: bytes | None = old.read(info)
            if part in info.filename and (every or not done):
                assert data is not None
                data, done = change(data), True
            if data is not None:
                new.writestr(info.filename, data)
    assert done, f"{archive} has no member with {part} in its path"
    return target


def zip_of(files: dict[str, bytes]) -> bytes:
    """The bytes of a zip that holds these files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return data.getvalue()


@dataclass(frozen=True)
class Broken:
    """One way in which an archive may be wrong."""

    name: str
    part: str
    change: Change
    error: type[KitError]
    said: str
    every: bool = False

    def __str__(self) -> str:
        return self.name

    def made_from(self, archive: Path, target: Path) -> Path:
        """The broken archive."""
        return changed(archive, target, self.part, self.change, every=self.every)


def _box_outside(table: bytes) -> bytes:
    header, first, *_ = table.splitlines()
    return header + b"\n0," + first.split(b",")[1] + b",250,0,0,0\n"


def _header_alone(table: bytes) -> bytes:
    return table.splitlines()[0] + b"\n"


BROKEN = [
    Broken("a truncated photo", "Masked_Train/Person", lambda d: d[: len(d) // 2], ImageError, "is truncated"),
    Broken("an empty test photo", "Testing_Data/Person", lambda d: b"", ImageError, "is empty"),
    Broken(
        "wrong columns",
        "masked_info.csv",
        lambda d: d.replace(b"box1_row", b"row1"),
        TableError,
        "lacks the columns box1_row",
    ),
    Broken("a box outside", "masked_info.csv", _box_outside, TableError, "leaves the photo of 256x256"),
    Broken("an empty table", "masked_info.csv", lambda d: b"", TableError, "is not a CSV table"),
    Broken("no training data", "Training_Data", lambda d: None, ArchiveError, "no Training_Data folder", every=True),
    Broken("no test data", "Testing_Data", lambda d: None, ArchiveError, "no Testing_Data folder", every=True),
    Broken("no test photo listed", "Testing_Data/masked_info.csv", _header_alone, ArchiveError, "holds no test photos"),
    Broken(
        "a missing original", "Unmasked_Train/", lambda d: None, ArchiveError, "is missing but masked_info.csv lists it"
    ),
]
