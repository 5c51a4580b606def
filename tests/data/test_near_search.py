"""Near duplicates among very many photos: found by cells, as without them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kit.core import speech
from kit.data import near_search
from kit.data.cropped import grey_pictures, near_pairs
from kit.data.duplicates import duplicate_groups, duplicates_of_masked
from kit.data.likeness import perceptual_hash, thumbnails_of
from kit.data.near_search import Cells, is_many, near_pairs_of_many

faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed")


def photos(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return pictures of 96x96 that differ, then copies of the first ones: turned, mirrored, inverted, cut, shifted."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        layers = [
            cv2.resize(rng.uniform(-1, 1, (side, side, 3)), (96, 96), interpolation=cv2.INTER_CUBIC)
            for side in (5, 12, 30)
        ]
        made.append(np.clip(128 + 90 * layers[0] + 50 * layers[1] + 40 * layers[2], 0, 255).astype(np.uint8))
    copies = [
        np.rot90(made[0]),
        made[1][:, ::-1],
        255 - made[2],
        cv2.resize(made[3][4:92, 4:92], (96, 96)),
        cv2.warpAffine(made[4], np.array([[1, 0, 5], [0, 1, -4]], np.float32), (96, 96)),
    ]
    return [np.ascontiguousarray(one) for one in (*made, *copies)]


def described(made: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hashes = np.array([int(perceptual_hash(one), 16) for one in made], np.uint64)
    return hashes, thumbnails_of(made, len(made)), grey_pictures(made, len(made))


def test_copies_are_found_as_by_comparing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = photos(400)
    exact = duplicate_groups(*described(made))
    assert (exact[:5] == exact[400:]).all() and len(set(exact.tolist())) == 400
    monkeypatch.setattr(near_search, "EXACT", 0)
    found = duplicate_groups(*described(made))
    assert len(set(found.tolist())) == 400 and (found[:5] == found[400:]).all()
    assert np.array_equal(duplicate_groups(*described(made)), found)


def test_windows_that_come_near_are_those_of_comparing_all() -> None:
    _, _, greys = described(photos(60))
    exact = {(one.first, one.second, one.turn, one.middle) for one in near_pairs(greys)}
    found = {(one.first, one.second, one.turn, one.middle) for one in near_pairs_of_many(greys)}
    assert found <= exact and len(found) >= 0.9 * len(exact) > 5


def test_little_memory_splits_the_windows_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, greys = described(photos(60))
    whole = {(one.first, one.second) for one in near_pairs_of_many(greys)}
    monkeypatch.setattr(near_search, "MOST_BYTES", 1)
    assert {(one.first, one.second) for one in near_pairs_of_many(greys)} >= whole


def test_photos_with_holes_are_found_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    made = photos(300)
    small = thumbnails_of(made[:300], 300)
    rng, known = np.random.default_rng(1), np.ones((40, 32, 32), bool)
    for hole in known:
        row, column = rng.integers(0, 22, 2)
        hole[row : row + 10, column : column + 10] = False
    masked = np.where(known, small[np.arange(0, 80, 2)][:, ::-1], 0).astype(np.uint8)
    exact = duplicates_of_masked(small, masked, known)
    assert (exact[np.arange(0, 80, 2)] == np.arange(40)).all() and (exact >= 0).sum() == 40
    monkeypatch.setattr(near_search, "EXACT", 0)
    assert (duplicates_of_masked(small, masked, known) == exact).mean() > 0.99


def test_vectors_of_nothing_and_opposite_ones_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 35)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0
    found = {(row, place) for row, place, _ in Cells([vectors.__getitem__], len(vectors)).near(-vectors, 0.99)}
    assert found == {(place, place) for place in range(500) if place != 7}


def test_without_faiss_all_are_compared_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not is_many(near_search.EXACT) and is_many(near_search.EXACT + 1)
    monkeypatch.setattr(near_search, "is_installed", lambda module: False)
    speech.begin_command()
    assert not is_many(near_search.EXACT + 1) and not is_many(near_search.EXACT + 1)
    assert capsys.readouterr().err.count("pip install 'hole-kit[many]'") == 1
