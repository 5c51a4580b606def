"""Pictures in and out: RGB everywhere, whole or refused, known pixels untouched."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kit.errors import ImageError
from kit.imaging.holes import Box, hole_of
from kit.imaging.images import (
    channel_range,
    composite,
    decode_image,
    image_size,
    load_image,
    resize,
    save_image,
    to_uint8,
)

RNG = np.random.default_rng(0)
PHOTO = cv2.resize(RNG.integers(0, 256, (8, 10, 3)).astype(np.uint8), (50, 40), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG"])
def test_a_lossless_picture_comes_back_bit_for_bit_in_rgb(tmp_path: Path, suffix: str) -> None:
    save_image(tmp_path / f"a{suffix}", PHOTO)
    np.testing.assert_array_equal(load_image(tmp_path / f"a{suffix}"), PHOTO)
    bgr = cv2.imread(str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(bgr[..., ::-1], PHOTO)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_a_lossy_picture_comes_back_nearly(tmp_path: Path, suffix: str) -> None:
    save_image(tmp_path / f"a{suffix}", PHOTO, jpeg_quality=98)
    assert np.abs(load_image(tmp_path / f"a{suffix}").astype(int) - PHOTO).mean() < 8


def test_grey_alpha_and_deep_pictures_become_three_channels_of_bytes(tmp_path: Path) -> None:
    grey = PHOTO[..., 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    np.testing.assert_array_equal(load_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2))
    alpha = np.dstack([PHOTO[..., ::-1], np.full((40, 50), 7, np.uint8)])
    cv2.imwrite(str(tmp_path / "alpha.png"), alpha)
    np.testing.assert_array_equal(load_image(tmp_path / "alpha.png"), PHOTO)
    cv2.imwrite(str(tmp_path / "deep.png"), PHOTO[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(load_image(tmp_path / "deep.png"), PHOTO)


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".webp", ".bmp"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_the_size_is_that_of_the_loaded_picture(tmp_path: Path, suffix: str, orientation: int | None) -> None:
    path, exif = tmp_path / f"a{suffix}", Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation  # 6 and 8: to be turned by 90 degrees
    for mode in ("RGB", "L"):
        Image.fromarray(PHOTO).convert(mode).save(path, **({} if orientation is None else {"exif": exif}))
        assert image_size(path) == load_image(path).shape[:2]


def test_the_size_of_a_picture_is_told_without_its_pixels_and_of_none_not_at_all(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", PHOTO)
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[60:90] = bytes(30)  # among the pixels
    (tmp_path / "a.png").write_bytes(data)
    assert image_size(tmp_path / "a.png") == (40, 50)
    for wrong in (b"", b"<html>", bytes(data[:90]), bytes(data[:16]) + b"\xff" * 8 + bytes(data[24:])):
        (tmp_path / "b.png").write_bytes(wrong)
        with pytest.raises(ImageError, match=r"b\.png"):
            image_size(tmp_path / "b.png")
    with pytest.raises(ImageError, match=r"none\.png is missing"):
        image_size(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.98])
def test_a_truncated_picture_is_refused_and_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    save_image(path, PHOTO)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ImageError, match=rf"a{suffix}"):
        load_image(path)


def test_what_is_no_picture_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>")
    with pytest.raises(ImageError, match="not a picture that OpenCV can read"):
        load_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"is missing. Run: kit fetch"):
        load_image(tmp_path / "b.png")
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_picture_or_an_image_error(data: bytes) -> None:
    for head in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF"):
        try:
            assert decode_image(head + data, Path("x")).ndim == 3
        except ImageError as error:
            assert "x " in str(error)


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.csv"])
def test_a_format_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="cannot write"):
        save_image(tmp_path / name, PHOTO)
    assert list(tmp_path.iterdir()) == []


def test_resizing_keeps_the_mean_and_equal_sizes_are_untouched() -> None:
    assert resize(PHOTO, 40, 50) is PHOTO
    floats = PHOTO.astype(np.float32)
    small = resize(floats, 10, 25)
    assert small.shape == (10, 25, 3) and np.allclose(small.mean((0, 1)), floats.mean((0, 1)), atol=1e-2)
    assert resize(floats[..., 0], 80, 100).shape == (80, 100)
    many = np.dstack([floats, floats[..., ::-1]])
    for size in ((10, 25), (27, 31), (80, 100)):  # also by a factor that is not whole
        np.testing.assert_allclose(resize(many, *size)[..., :3], resize(floats, *size), atol=1e-4)


def test_floats_become_bytes_by_rounding_and_clipping() -> None:
    np.testing.assert_array_equal(
        to_uint8(np.array([-1.0, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 2.0])), [0, 0, 0, 1, 255, 255]
    )
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(every / 255.0), every)


@given(st.integers(0, 20), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_composite_leaves_known_pixels_untouched(row: int, col: int, seed: int) -> None:
    hole = hole_of([Box(row, col, 15, 12)], 40, 50)
    predicted = np.random.default_rng(seed).integers(0, 256, PHOTO.shape).astype(np.uint8)
    merged = composite(predicted, PHOTO, hole)
    np.testing.assert_array_equal(merged[~hole], PHOTO[~hole])
    np.testing.assert_array_equal(merged[hole], predicted[hole])


def test_the_range_of_each_channel_is_numpys() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(20, 200, (17, 23, 3), dtype=np.uint8)
    hole = rng.random((17, 23)) < 0.5
    for pixels, found in ((image.reshape(-1, 3), channel_range(image)), (image[~hole], channel_range(image, hole))):
        np.testing.assert_array_equal(found, np.stack([pixels.min(axis=0), pixels.max(axis=0)]))


def test_bytes_behind_the_end_do_no_harm_and_an_end_in_a_thumbnail_is_none(tmp_path: Path) -> None:
    thumbnail = cv2.imencode(".jpg", PHOTO[:8, :8])[1].tobytes()
    for suffix in (".jpeg", ".png"):
        path = tmp_path / f"a{suffix}"
        save_image(path, PHOTO)
        whole, photo = path.read_bytes(), load_image(path)
        path.write_bytes(whole + bytes(5000) + thumbnail)
        np.testing.assert_array_equal(load_image(path), photo)
        segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail if suffix == ".jpeg" else b""
        path.write_bytes(whole[:2] + segment + whole[2 : len(whole) * 2 // 3])
        with pytest.raises(ImageError, match="is truncated"):
            load_image(path)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpeg"])
def test_a_picture_that_claims_to_be_huge_is_not_decoded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save_image(path, PHOTO)
    data = bytearray(path.read_bytes())
    if suffix == ".png":
        data[16:24] = (1 << 15).to_bytes(4) * 2
    elif suffix == ".bmp":
        data[18:26] = (1 << 15).to_bytes(4, "little") * 2
    else:
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = b"\xff\xf0\xff\xf0"
    path.write_bytes(bytes(data))
    with pytest.raises(ImageError, match="claims to hold"):
        load_image(path)


def test_a_picture_of_another_kind_than_its_name_says_is_read_by_its_bytes(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", PHOTO)
    (tmp_path / "a.jpeg").write_bytes((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(load_image(tmp_path / "a.jpeg"), PHOTO)


@pytest.mark.parametrize("kind", ["CMYK", "palette", "16 bits", "animated PNG", "animated WebP", "black and white"])
def test_every_kind_of_picture_is_three_channels_of_bytes(kind: str) -> None:
    image, data = Image.fromarray(PHOTO), io.BytesIO()
    other = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    if kind == "CMYK":
        image.convert("CMYK").save(data, "JPEG", quality=95)
    elif kind == "palette":
        image.quantize(256).save(data, "PNG")
    elif kind == "16 bits":
        Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257).save(data, "PNG")
    elif kind == "black and white":
        image.convert("1").save(data, "PNG")
    else:
        options = {"lossless": True} if kind.endswith("WebP") else {}
        image.save(data, kind.split()[1], save_all=True, append_images=other, **options)
    if kind == "animated WebP" and tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 11):
        with pytest.raises(ImageError, match="not a picture that OpenCV can read"):  # it came with 4.11
            decode_image(data.getvalue(), Path("a.png"))
        return
    found = decode_image(data.getvalue(), Path("a.png"))
    assert found.shape == PHOTO.shape and found.dtype == np.uint8
    if kind not in ("16 bits", "black and white"):
        assert np.abs(found.astype(int) - PHOTO).mean() < 12, "the first picture, in its own colours"


def test_a_camera_s_turn_is_followed_as_opencv_does() -> None:
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(PHOTO).save(data, "JPEG", exif=exif, quality=98)
    assert np.abs(np.rot90(decode_image(data.getvalue(), Path("a.jpg"))).astype(int) - PHOTO).mean() < 8
