"""How far sound photos stay from what `kit fetch` calls a contradiction, and what share of damaged ones it finds.

    python scripts/bench/soundness.py --archive FOLDER [--every 5]

FOLDER is an unpacked archive. Every so many training photos are damaged in each way, or painted and compressed anew.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from kit.competitions.photo_reconstruction import index
from kit.data.soundness import MISFIT, doubt_about, misfit
from kit.imaging.holes import Box, boxes_from_text, hole_of
from kit.imaging.images import load_image

Case = tuple[str, np.ndarray, tuple[Box, ...], "np.ndarray | None"]


def compressed(photo: np.ndarray, quality: int) -> np.ndarray:
    """Return the photo after JPEG."""
    return cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def cases(masked: np.ndarray, whole: np.ndarray, boxes: tuple[Box, ...], other: np.ndarray) -> Iterator[Case]:
    """Yield sound and damaged versions of one photo: name, masked, boxes, whole."""
    height, width = whole.shape[:2]
    painted = whole.copy()
    painted[hole_of(boxes, height, width)] = 0
    for quality in (20, 30, 50, 75):
        yield f"sound, JPEG {quality}", compressed(painted, quality), boxes, whole
    yield "another photo", masked, boxes, other
    yield "mirrored", masked, boxes, np.ascontiguousarray(whole[:, ::-1])
    yield "turned by 180 degrees", masked, boxes, np.ascontiguousarray(whole[::-1, ::-1])
    if height == width:
        yield "turned by 90 degrees", masked, boxes, np.ascontiguousarray(np.rot90(whole))
        swapped = tuple(Box(box.col, box.row, box.width, box.height) for box in boxes)
        yield "boxes: rows and columns, pair", masked, swapped, whole
        yield "boxes: rows and columns, test", masked, swapped, None
    yield "channels exchanged", masked, boxes, np.ascontiguousarray(whole[..., ::-1])
    for share in (8, 16):
        cut = whole.copy()
        cut[-height // share :] = 128
        yield f"last 1/{share} grey", masked, boxes, cut
    for pixels in (1, 2):
        moved = tuple(
            Box(min(box.row + pixels, height - box.height), min(box.col + pixels, width - box.width), *sizes)
            for box in boxes
            for sizes in [(box.height, box.width)]
        )
        yield f"boxes: {pixels} down and right, test", masked, moved, None


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="the competition's files, unpacked")
    parser.add_argument("--every", type=int, default=5)
    arguments = parser.parse_args()
    rows = index(arguments.archive).rows
    doubts, worst = Counter[str](), 0.0
    found: dict[str, Counter[bool]] = {}
    pairs = []
    for image, target, text in zip(rows["image"], rows["target"], rows["boxes"], strict=True):
        masked, boxes = load_image(arguments.archive / image), boxes_from_text(text)
        whole = load_image(arguments.archive / target) if target else None
        hole = hole_of(boxes, *masked.shape[:2])
        doubts[str(doubt_about(masked, boxes, hole, whole))] += 1
        if whole is not None:
            worst = max(worst, misfit(masked, whole, hole))
            pairs.append((masked, whole, boxes))
    print(f"{len(rows)} photos as they are: {dict(doubts)}; worst pair {worst:.1f} of {MISFIT:g} grey levels")
    chosen = pairs[:: arguments.every]
    for place, (masked, whole, boxes) in enumerate(chosen):
        for name, shown, where, full in cases(masked, whole, boxes, chosen[place - 1][1]):
            doubt = doubt_about(shown, where, hole_of(where, *shown.shape[:2]), full)
            found.setdefault(name, Counter())[doubt is not None] += 1
    for name, counts in found.items():
        print(f"{name:32} doubted {counts[True]:4} of {counts.total()}")


if __name__ == "__main__":
    main()
