"""What `kit new competition` writes: a layout that works on plain folders, to be changed until it fits."""

SKELETON = '''"""How the files of a competition are read, and what it is sent.

    kit check-layout {file} --from DATA      # is it right? DATA: the competition's zip or folder
    kit fetch SLUG --layout {file}           # then fetch with it; the workspace keeps a copy

As it stands: train/*.png whole, train_masks/*.png (white = hidden), test/*.png, test_masks/*.png, and
sample_submission.csv with a row for each hidden value: `NAME_ROW_COL_CHANNEL,value`, channels red, green, blue.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from kit.competitions import Layout, open_sample, sample_path
from kit.imaging.holes import boxes_of, boxes_to_text, scored_pixels
from kit.imaging.masks import read_mask

TITLE = "{stem}"
METRIC = "rmse"  # rmse, mse, psnr (mean over the photos' own), or mae (of `kit grade`; CV is RMSE then)
SAMPLE = "sample_submission.csv"  # below the competition's folder
# "csv": a row a value; "cells": a row a photo, such as `NAME,RUNS`, whose second cell `decode` is given; "pictures": a
# zip of the test pictures as PNG; "npy": uint8 (M, H, W, 3). Of the last two header, encode and decode are not asked.
SUBMISSION = "csv"
PAINTED = False  # True where holes are black in the pictures as given: then kit compares them with the boxes
MIXED_SIZES = True  # False: a photo of another size is an error


def index(raw: Path) -> Layout:
    """Return a row for each photo, training photos first, each split in the order in which it is scored.

    Paths are relative to `raw`. `boxes` says what is hidden: rectangles, of which any shape can be made (`boxes_of`).
    `name` is what a submission calls the photo; `klass` is "" where there are no classes. `target` is the whole photo,
    "" for test photos. Notes are shown to whoever fetches.
    """
    rows = []
    for split in ("train", "test"):
        for path in sorted((raw / split).glob("*.png")):
            hole = read_mask(raw / f"{{split}}_masks" / path.name)  # bool (H, W), True = hidden
            rows.append(
                {{
                    "id": f"{{split}}/{{path.name}}",
                    "split": split,
                    "klass": "",
                    "name": path.name,
                    "image": f"{{split}}/{{path.name}}",
                    "target": f"{{split}}/{{path.name}}" if split == "train" else "",
                    "boxes": boxes_to_text(boxes_of(hole)),
                }}
            )
    return Layout(pd.DataFrame(rows), notes=())


def value_range(image, hole):
    """Return low and high of each channel, `(2, 3)` in [0, 1]: the score is taken after `(value - low) / (high - low)`.

    Here values are scored as they are. With a hole, hidden pixels must not be looked at: a test photo has none.
    """
    return np.stack([np.zeros(3), np.ones(3)])


def header(raw: Path) -> bytes:
    """Return the first line of a submission, with its line end."""
    with open_sample(sample_path(raw, SAMPLE)) as file:
        return file.readline()


def encode(name, boxes, values) -> bytes:
    """Return the CSV lines of one photo. `values` is `(n, 3)` RGB, in the order of `scored_pixels(boxes)`."""
    rows, columns = scored_pixels(boxes)
    lines = []
    for row, column, pixel in zip(rows, columns, np.clip(values, 0, 1)):
        lines += [f"{{name}}_{{row}}_{{column}}_{{channel}},{{value:.6f}}\\n" for channel, value in enumerate(pixel)]
    return "".join(lines).encode()


def decode(values: np.ndarray) -> np.ndarray:
    """Return `(n, 3)` RGB of one photo's `(n * 3,)` values as they stand in the file: what `encode` has written."""
    return values.reshape(-1, 3)
'''
