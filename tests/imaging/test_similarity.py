"""SSIM, computed around the hole alone, against scikit-image on the whole picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from kit.errors import ImageError
from kit.imaging.similarity import ssim


@given(
    st.integers(11, 60),
    st.integers(11, 60),
    st.lists(st.tuples(*[st.integers(0, 59)] * 2, *[st.integers(1, 30)] * 2), max_size=3),
    st.integers(0, 5),
)
def test_it_is_that_of_the_whole_picture(
    height: int, width: int, boxes: list[tuple[int, int, int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 2)
    hole = np.zeros((height, width), bool)
    for row, column, tall, wide in boxes:
        hole[row : row + tall, column : column + wide] = True
    filled = np.where(hole[..., None], rng.random((height, width, 3)), truth)
    whole = structural_similarity(
        truth, filled, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=2
    )
    assert ssim(filled, truth, hole) == pytest.approx(whole, abs=1e-10)


def test_a_picture_smaller_than_the_window_has_none() -> None:
    with pytest.raises(ImageError, match="20x10 has no SSIM"):
        ssim(np.zeros((10, 20, 3)), np.zeros((10, 20, 3)), np.ones((10, 20), bool))
