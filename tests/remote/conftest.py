"""The service with a stand-in behind it, for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kaggle_standin import SLUG, KaggleStandIn
from support.remote import Time, zip_of

from kit.remote import Remote


@pytest.fixture
def time_() -> Time:
    return Time()


@pytest.fixture
def remote(time_: Time) -> Remote:
    return Remote(SLUG, timeout=5.0, sleep=time_.sleep, clock=time_.clock)


@pytest.fixture
def archive(kaggle_service: KaggleStandIn) -> bytes:
    kaggle_service.archive = zip_of(3_500_000)
    return kaggle_service.archive


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "blend.csv"
    path.write_text("filename_box_pixel,value\nTiger (1).jpeg_box1_0_0_0,0.5\n" * 3000)
    return path
