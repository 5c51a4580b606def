"""The index of a competition: one row a photo, with holes, size, digest and perceptual hash. Knows no pixels' values.

`index.csv` is a plain table, `index.json` its manifest (digest, raw folder, counts). Everything later names the index's
digest; another index means other photos, and what was made from the old one is refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.core.storage import digest_bytes, digest_of, read_json, write_json, write_text
from kit.core.workspace import Split, Workspace
from kit.errors import DamagedStore, MissingStep, UsageError
from kit.imaging.holes import Box, BoxArray, boxes_from_text, hole_of, scored_count

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["id", "split", "klass", "name", "image", "target", "boxes", "height", "width", "digest", "phash"]


@dataclass(frozen=True)
class PhotoRow:
    """One photo: a row of the index."""

    id: str
    klass: str
    """Class name, "" where the layout gives none."""
    name: str
    """The name by which a submission calls it."""
    image: str
    """Path below raw/ of the photo with its holes."""
    target: str
    """Path below raw/ of the whole photo, "" in the test split."""
    boxes: tuple[Box, ...] | BoxArray
    height: int
    width: int
    digest: str
    phash: str

    @property
    def hole(self) -> np.ndarray:
        """Return bool `(H, W)`, True = missing."""
        return hole_of(self.boxes, self.height, self.width)

    @property
    def scored(self) -> int:
        """Return the number of scored pixels."""
        return scored_count(self.boxes)


@dataclass(frozen=True)
class Index:
    """All photos, in the order of the file; each split in the order in which its pixels are stored and scored."""

    train: tuple[PhotoRow, ...]
    test: tuple[PhotoRow, ...]
    digest: str

    def split(self, split: Split) -> tuple[PhotoRow, ...]:
        """Return the photos of one split."""
        return self.train if split == "train" else self.test

    @cached_property
    def classes(self) -> list[str]:
        """Return class names, sorted."""
        return sorted({photo_row.klass for photo_row in self.train})

    @cached_property
    def positions(self) -> dict[str, int]:
        """Return the position of each training photo by its id."""
        return {photo_row.id: position for position, photo_row in enumerate(self.train)}


def index_digest(table: bytes, layout: str = "") -> str:
    """Return what names an index: its table, and the layout that it was read by where that was given by hand."""
    return digest_of([digest_bytes(table), layout]) if layout else digest_bytes(table)


def write_index(
    workspace: Workspace, rows: pd.DataFrame, notes: Sequence[str] = (), *, layout: str = "", sample: str = ""
) -> str:
    """Write `index.csv` and its manifest; return the digest.

    Args:
        layout: digest of a layout that was given by hand.
        sample: digest of the sample submission.
    """
    text = rows[COLUMNS].to_csv(index=False, lineterminator="\n")
    digest = index_digest(text.encode(), layout)
    write_text(workspace.index, text)
    write_json(
        workspace.index.with_suffix(".json"),
        {
            "slug": workspace.slug,
            "digest": digest,
            "train": int((rows["split"] == "train").sum()),
            "test": int((rows["split"] == "test").sum()),
            "notes": list(notes),
            **({"layout": layout} if layout else {}),
            **({"sample": sample} if sample else {}),
        },
    )
    return digest


def fetched_sample(workspace: Workspace) -> str:
    """Return the digest of the sample submission as it was fetched, "" where nothing notes it."""
    manifest = read_json(workspace.index.with_suffix(".json"), made_by="kit fetch")
    return str(manifest.get("sample", ""))


def read_index(workspace: Workspace) -> Index:
    """Read the index of the workspace's competition.

    Raises:
        MissingStep: `kit fetch` has not been run here.
        DamagedStore: the table was changed after it was written.
    """
    again = "kit fetch"
    if not workspace.data.exists():
        raise MissingStep(
            f"{workspace.root} holds no data of {workspace.slug} yet. Is your work elsewhere? Go there, or name it by "
            f"-w. Else begin here. Run: {again}"
        )
    manifest = read_json(workspace.index.with_suffix(".json"), made_by=again)
    try:
        data = workspace.index.read_bytes()
    except FileNotFoundError:
        raise MissingStep(f"{workspace.index} is missing. Run: {again}") from None
    if index_digest(data, manifest.get("layout", "")) != manifest.get("digest"):
        raise DamagedStore(f"{workspace.index} was changed after kit wrote it. Make it again: {again} --force")
    csv.field_size_limit(1 << 30)  # the boxes of a free-form hole are many
    photo_rows: dict[str, list[PhotoRow]] = {"train": [], "test": []}
    for row in csv.DictReader(io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")):
        photo_rows[row["split"]].append(
            PhotoRow(
                id=row["id"],
                klass=row["klass"],
                name=row["name"],
                image=row["image"],
                target=row["target"],
                boxes=boxes_from_text(row["boxes"]),
                height=int(row["height"]),
                width=int(row["width"]),
                digest=row["digest"],
                phash=row["phash"],
            )
        )
    return Index(tuple(photo_rows["train"]), tuple(photo_rows["test"]), manifest["digest"])


def evenly_spread(count: int, most: int) -> list[int]:
    """Return so many positions of `count` at most, the first and the last among them."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(most, count))})


def checked_folder(root: Path) -> Path:
    """Return a workspace's root with `~` replaced. Raises `UsageError` where a file has that name."""
    folder = root.expanduser()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file and not a folder. Give the folder that holds the work: --workspace DIR")
    return folder


def open_workspace(root: Path, slug: str | None) -> Workspace:
    """Return the workspace at `root`; without a slug, that of the only competition fetched there, else the default.

    Raises:
        UsageError: it is a file; several competitions are there and none was named.
    """
    folder = checked_folder(root)
    if slug is not None:
        return Workspace(folder, slug)
    found = sorted(path.parent.name for path in folder.glob("data/*/index.json"))
    if len(found) > 1:
        raise UsageError(
            f"{folder / 'data'} holds several competitions ({', '.join(found)}). Name one: --competition SLUG"
        )
    return Workspace(folder, found[0]) if found else Workspace(folder)
