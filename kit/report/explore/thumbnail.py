"""Small pictures of photos as text that a page can hold. Hidden pixels are shown as one grey."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from kit.core.workspace import Split
from kit.data.project import Project
from kit.imaging.images import resize

SIDE = 128  # pixels of the longer side, twice what a phone shows
_GREY = 128
_QUALITY = 82


def thumbnail_of(project: Project, split: Split, position: int, *, whole: bool = False) -> str:
    """Return a `data:` address of a photo as given, or of a training photo as a whole.

    Args:
        whole: of a training photo; a test photo's hole stays grey.
    """
    pack, row = project.pack, project.index.split(split)[position]
    if whole and split == "train":
        photo = np.array(pack.train_target[position])
    else:
        photo = np.array(pack.image(split)[position])
        photo[row.hole] = _GREY
    scale = min(1.0, SIDE / max(row.height, row.width))
    small = resize(photo, max(1, round(scale * row.height)), max(1, round(scale * row.width)))
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
