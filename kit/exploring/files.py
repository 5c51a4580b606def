"""The competition's own files, by their headers: formats, quality, Exif, what is cut or gone. Decodes none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.data.index import Index, PhotoRow
from kit.exploring.comparing import spread_of
from kit.exploring.result import Files
from kit.imaging.headers import Header, read_header

ROLES = ("training, with holes", "training, whole", "test")
MEASURES = (
    ("bytes a pixel", "size of the file by the photo's pixels"),
    ("JPEG", "whether the file is a JPEG"),
    ("quality", "quality of a JPEG, as guessed from its tables"),
)


def read_headers(raw: Path, index: Index) -> dict[str, list[Header | None]]:
    """Read the header of every file, by role; None for a file that is gone."""
    paths = {
        ROLES[0]: [row.image for row in index.train],
        ROLES[1]: [row.target for row in index.train],
        ROLES[2]: [row.image for row in index.test],
    }
    total = sum(map(len, paths.values()))
    found = track(
        map_in_order(partial(_header, raw), [path for role in ROLES for path in paths[role]]),
        "Reading files",
        total,
        "files",
    )
    every = list(found)
    starts = np.cumsum([0, *(len(paths[role]) for role in ROLES)])
    return {role: every[starts[place] : starts[place + 1]] for place, role in enumerate(ROLES)}


def _header(raw: Path, path: str) -> Header | None:
    try:
        return read_header((raw / path).read_bytes())
    except OSError:  # used in place and gone, or deleted: a workspace works without them
        return None


def files_of(role: str, rows: Sequence[PhotoRow], headers: Sequence[Header | None]) -> Files:
    """Return what is told of the files of one role."""
    there = [header for header in headers if header is not None]
    return Files(
        role=role,
        photos=len(headers),
        missing=len(headers) - len(there),
        formats=_counted(header.format or "unknown" for header in there),
        channels=_counted(_channels(header) for header in there),
        quality=spread_of([header.quality for header in there if header.quality is not None]),
        bytes_a_pixel=spread_of(file_measures(rows, headers)[:, 0]),
    )


def _channels(header: Header) -> str:
    return f"{header.channels or 'unknown'}{f', {header.bits} bits' if header.bits != 8 else ''}"


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))


def file_measures(rows: Sequence[PhotoRow], headers: Sequence[Header | None]) -> np.ndarray:
    """Return `MEASURES` of each file, `(N, 3)` float64; NaN of a file that is gone."""
    found = np.full((len(headers), len(MEASURES)), np.nan)
    for place, (row, header) in enumerate(zip(rows, headers, strict=True)):
        if header is not None:
            quality = float("nan") if header.quality is None else float(header.quality)
            found[place] = header.bytes / (row.height * row.width), float(header.format == "JPEG"), quality
    return found


def misnamed(row: PhotoRow, header: Header) -> bool:
    """Return whether a file's name says another format than its bytes."""
    named = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WebP", ".bmp": "BMP"}
    return named.get(Path(row.image).suffix.lower(), header.format) != header.format
