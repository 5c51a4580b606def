"""Is a bundle as it was written, and is a submission the one that its maker noted?"""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit.bundling.bundle import MANIFEST, digests_of
from kit.core.storage import digest_file
from kit.core.tables import Shown
from kit.errors import DamagedStore, SubmissionError
from kit.submission.csv_rows import numbers, open_rows
from kit.submission.pictures import picture_means

_NAMED = 5  # files in one message


@dataclass(frozen=True)
class Verified(Shown):
    """A bundle that is whole."""

    document: dict[str, Any]
    files: int
    bytes: int


@dataclass(frozen=True)
class Comparison(Shown):
    """A submission beside the one that was noted."""

    same_bytes: bool
    compared: int
    """Rows; 0 where no id is in both, as with a hidden test set."""
    difference: float
    """Root of the mean squared difference over them."""
    largest: float


def verify_bundle(folder: Path) -> Verified:
    """Read every file of a bundle and compare it with the digest that was noted.

    Raises:
        DamagedStore: files are missing, changed, or were not there when it was made.
    """
    if not (folder / MANIFEST).is_file():
        raise DamagedStore(f"{folder} holds no {MANIFEST}, so it is no bundle. Make one: kit bundle --out FOLDER")
    place = f"--out {shlex.quote(str(folder))} --force"
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        noted = document["files"]
        again = f"kit bundle {shlex.quote(str(document['name']))} {place}"
        if not isinstance(noted, dict):
            raise TypeError("files")
    except (ValueError, KeyError, TypeError):
        raise DamagedStore(
            f"{folder / MANIFEST} is not what kit wrote. Take another copy, or make it again: kit bundle NAME {place}"
        ) from None
    found = digests_of(folder)
    kinds = {
        "missing": [name for name in noted if name not in found],
        "changed": [name for name in noted if name in found and found[name] != noted[name]],
        "not of the bundle": [name for name in found if name not in noted],
    }
    wrong = [f"{_some(names)} {'is' if len(names) == 1 else 'are'} {kind}" for kind, names in kinds.items() if names]
    if wrong:
        raise DamagedStore(f"{folder}: {'; '.join(wrong)}. Take another copy, or make it again: {again}")
    return Verified(document, len(found), sum(entry["bytes"] for entry in found.values()))


def compare_submission(document: dict[str, Any], path: Path) -> Comparison:
    """Compare a submission with the one that was noted when the bundle was made.

    Raises:
        SubmissionError: the file cannot be read, or the bundle notes no submission.
    """
    noted = document.get("submission")
    if not isinstance(noted, dict) or not isinstance(noted.get("sample"), dict):
        raise SubmissionError("The bundle notes no submission to compare with. Make it again: kit bundle --force")
    if path.is_file() and digest_file(path) == noted["digest"]:
        return Comparison(True, noted["rows"], 0.0, 0.0)
    differences = np.array([value - noted["sample"][name] for name, value in _values_of(path, noted["sample"])])
    if not len(differences):
        return Comparison(False, 0, math.nan, math.nan)
    return Comparison(
        False, len(differences), float(np.sqrt(np.mean(differences**2))), float(np.max(np.abs(differences)))
    )


def _values_of(path: Path, wanted: dict[str, float]) -> list[tuple[str, float]]:
    if any(name.endswith(".png") for name in wanted):
        return [(name, value) for name, value in picture_means(path).items() if name in wanted]
    values: list[tuple[str, float]] = []
    with open_rows(path) as rows:
        while True:
            ids, texts = rows.take_block()
            if not len(ids):
                return values
            parsed = numbers(rows, texts)
            values += [(name, float(parsed[place])) for place, name in enumerate(ids.to_pylist()) if name in wanted]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
