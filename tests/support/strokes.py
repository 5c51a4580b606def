"""A competition that is plain folders: real photos of several sizes, hidden by strokes of a brush, in the project's own
words that of DTU's 2023 "Paint the Cat", and pairs in one folder as LaMa's evaluation has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kit.core.archive import extract
from kit.data.sample_competition import make_demo_archive
from kit.imaging.images import load_image, resize, save_image

SIZES = ((360, 360), (360, 300), (280, 360))


@dataclass(frozen=True)
class Strokes:
    """Where everything lies."""

    root: Path
    """`train`, `train_masks`, `test`, `test_masks`."""
    truth: Path
    """The whole test pictures."""


def stroke_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A few brush strokes of random walks, uint8 `(H, W)`, 255 = hidden."""
    mask = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(2, 5))):
        place, angle = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(3, 8))):
            angle += rng.normal(0, 0.7)
            following = place + rng.uniform(15, 50) * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(mask, place.astype(int).tolist(), following.astype(int).tolist(), 255, int(rng.integers(8, 24)))
            place = following
    return mask


def make_strokes(folder: Path, *, train: int = 24, test: int = 6, mixed: bool = True, seed: int = 0) -> Strokes:
    """Write the pictures and masks below `folder`."""
    rng = np.random.default_rng(seed)
    made = make_demo_archive(folder / "made", seed=seed, train=train, test=test)
    extract(made.archive, folder / "made" / "raw")
    whole = sorted((folder / "made" / "raw").glob("**/Unmasked_Train/*.*"))
    originals = sorted(path for path in made.truth.rglob("*.*") if path.is_file())
    root = folder / "strokes"
    for split, paths in (("train", whole), ("test", originals)):
        for number, path in enumerate(paths):
            height, width = SIZES[number % len(SIZES)] if mixed else SIZES[0]
            photo = resize(load_image(path), height, width)
            mask = stroke_mask(rng, height, width)
            save_image(root / f"{split}_masks" / f"{number:03}.png", np.repeat(mask[..., None], 3, axis=2))
            if split == "train":
                save_image(root / split / f"{number:03}.png", photo)
                continue
            save_image(folder / "truth" / f"{number:03}.png", photo)
            photo[mask > 0] = 255
            save_image(root / split / f"{number:03}.png", photo)
    return Strokes(root, folder / "truth")
