"""What share of changed copies is found as near duplicates, how many photos as they are, and how long it takes.

    python scripts/bench/duplicates.py --workspace DIR [--every 17] [--many]

Of every so many training photos one copy of each kind is made, compressed again, and put beside them. With --many it is
put beside all photos, and these are searched by cells, as more than 20,000 are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from kit.core.workspace import Workspace
from kit.data import near_search
from kit.data.cropped import grey_pictures
from kit.data.duplicates import duplicate_groups
from kit.data.leaks import note_test_copies
from kit.data.likeness import perceptual_hash, thumbnails_of
from kit.data.project import Project

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def cropped(share: float) -> Change:
    """Cut a square of this share of the side from anywhere, and bring it to the photo's size."""

    def change(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        side, size = int(photo.shape[0] * share), photo.shape[:2][::-1]
        row, column = rng.integers(0, photo.shape[0] - side + 1, 2)
        return cv2.resize(np.ascontiguousarray(photo[row : row + side, column : column + side]), size)

    return change


def shifted(share: float) -> Change:
    """Move the photo by this share of its side in any direction; black comes in."""

    def change(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        angle, length = rng.uniform(0, 2 * np.pi), share * photo.shape[0]
        matrix = np.array([[1, 0, length * np.cos(angle)], [0, 1, length * np.sin(angle)]], np.float32)
        return cv2.warpAffine(photo, matrix, photo.shape[:2][::-1])

    return change


KINDS: dict[str, Change] = {
    "compressed": lambda photo, rng: photo,
    "mirrored": lambda photo, rng: photo[:, ::-1],
    "upside down": lambda photo, rng: photo[::-1],
    "turned by 90 degrees": lambda photo, rng: np.rot90(photo, rng.choice([1, 3])),
    "turned by 180 degrees": lambda photo, rng: photo[::-1, ::-1],
    "transposed": lambda photo, rng: photo.transpose(1, 0, 2),
    "inverted": lambda photo, rng: 255 - photo,
    "channels exchanged": lambda photo, rng: photo[..., rng.permutation([1, 2, 0])],
    **{f"cropped to {share:.0%} of the side": cropped(share) for share in (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)},
    **{f"shifted by {share:.0%} of the side": shifted(share) for share in (0.02, 0.05, 0.1)},
    "cropped to 90 % and turned": lambda photo, rng: np.rot90(cropped(0.9)(photo, rng)),
    "cropped to 90 % and inverted": lambda photo, rng: 255 - cropped(0.9)(photo, rng),
}


def groups(photos: Sequence[np.ndarray]) -> np.ndarray:
    """Group photos as `kit folds` does."""
    hashes = np.array([int(perceptual_hash(photo), 16) for photo in photos], np.uint64)
    small, greys = thumbnails_of(photos, len(photos)), grey_pictures(photos, len(photos))
    return duplicate_groups(hashes, small, greys)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True, help="after kit fetch")
    parser.add_argument("--every", type=int, default=17)
    parser.add_argument("--many", action="store_true", help="search by cells")
    arguments = parser.parse_args()
    if arguments.many:
        near_search.EXACT = 0
    project = Project(Workspace(arguments.workspace))
    photos = [np.asarray(photo) for photo in project.pack.train_target]
    started = time.perf_counter()
    alone = groups(photos)
    seconds = time.perf_counter() - started
    print(f"{len(photos)} photos as they are: {len(alone) - len(set(alone.tolist()))} near duplicates, {seconds:.1f} s")
    started = time.perf_counter()
    print(f"near duplicates of test photos: {note_test_copies(project)}, {time.perf_counter() - started:.1f} s")
    some, rng = photos[:: arguments.every], np.random.default_rng(0)
    for kind, change in KINDS.items():
        changed = [np.ascontiguousarray(change(photo, rng)) for photo in some]
        copies = [cv2.imdecode(cv2.imencode(".jpg", copy, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], 1) for copy in changed]
        beside = photos if arguments.many else some
        found = groups([*beside, *copies])
        own = found[: len(beside) : arguments.every] if arguments.many else found[: len(some)]
        share = np.mean(own == found[len(beside) :])
        others = len(some) - len(set(own.tolist()))
        print(f"{kind:32} {share:6.1%} of {len(some)} found, {others} others taken for copies")


if __name__ == "__main__":
    main()
