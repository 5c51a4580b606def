"""One photo of any size with a hole of any shape, through every experiment's network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kit.data.own_pictures import OwnPicture, window_of
from kit.imaging.fills import FILLS, fill_photo
from kit.imaging.holes import Box, hole_of, scored_pixels
from kit.learning.experiments import EXPERIMENTS, experiment
from kit.learning.models import build_generator
from kit.learning.one_photo import _hidden_share, _predicted

CPU = torch.device("cpu")
TINY = [
    "encoder=tu-test_efficientnet",
    "encoder_weights=none",
    "decoder_channels=16,16,16",
    "size=64",
    "width=16",
    "blocks=1",
    "latent=8",
    "search_steps=3",
]
OWN = OwnPicture(Path("one.png"), Path("one.png"))  # no file is read here


def scribble(height: int, width: int) -> np.ndarray:
    """A hole as somebody draws it: a disc, a thin line to the picture's edge, single pixels."""
    drawn = np.zeros((height, width), np.uint8)
    cv2.circle(drawn, (width // 2, height // 2), min(height, width) // 5, 1, -1)
    cv2.line(drawn, (0, 0), (width // 2, height // 3), 1, 1)
    drawn[-1, ::7] = 1
    return drawn.astype(bool)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_network_takes_any_hole_and_any_size(name: str) -> None:
    one = experiment(name, TINY)
    torch.manual_seed(0)
    generator = build_generator(one, pretrained=False).eval().requires_grad_(False)
    for shape in ((50, 170), (300, 260)):
        hole = scribble(*shape)
        window = window_of(OWN, picture(*shape), hole, (256, 256))
        base = fill_photo("harmonic", window.image, window.row.hole)[scored_pixels(window.row.boxes)]
        values = _predicted(generator, one, window.image, window.row, base, None, CPU)
        assert values.shape == base.shape and np.isfinite(values).all()
        assert values.min() >= 0 and values.max() <= 1


@pytest.mark.parametrize("name", FILLS)
def test_every_fill_takes_any_hole(name: str) -> None:
    for shape in ((16, 20), (60, 170)):
        image, hole = picture(*shape), scribble(*shape)
        filled = fill_photo(name, image, hole)
        assert np.isfinite(filled).all() and np.array_equal(filled[~hole], image[~hole] / np.float32(255))


def test_the_hidden_share_of_boxes_apart_is_that_of_training_and_of_other_shapes_the_area() -> None:
    boxes = hole_of([Box(10, 20, 75, 75), Box(150, 120, 75, 75)], 256, 256)
    disc = scribble(256, 256)
    for hole in (boxes, disc):
        row = window_of(OWN, picture(256, 256), hole, (256, 256)).row
        share = _hidden_share(row, 64)[0, 0].numpy()
        assert np.allclose(share, hole.reshape(64, 4, 64, 4).mean(axis=(1, 3)), atol=1e-6)


def test_a_window_is_the_whole_of_a_picture_no_larger_than_the_competitions_else_three_times_the_hole() -> None:
    def cut(shape: tuple[int, int], *boxes: Box) -> tuple[int, int, int, int]:
        window = window_of(OWN, picture(*shape), hole_of(boxes, *shape), (256, 256))
        assert window.row.scored == sum(box.height * box.width for box in boxes)
        return window.top, window.left, window.row.height, window.row.width

    assert cut((256, 256), Box(0, 0, 75, 75)) == (0, 0, 256, 256)
    assert cut((200, 100), Box(0, 0, 150, 75)) == (0, 0, 200, 100)
    assert cut((1000, 2000), Box(500, 1000, 50, 50)) == (397, 897, 256, 256)
    assert cut((1000, 2000), Box(990, 0, 10, 10)) == (744, 0, 256, 256)
    assert cut((1000, 2000), Box(400, 1000, 200, 100)) == (200, 750, 600, 600)
    assert cut((1000, 2000), Box(0, 0, 9, 9), Box(991, 1991, 9, 9)) == (0, 0, 1000, 2000)
