"""Tiny pipelines and a small competition to draw samples in."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_diffusion import save_tiny
from support.toy import Toy, make_toy_workspace


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind in ("inpaint", "plain", "xl", "other"):
        save_tiny(folder / kind, kind)
    return folder


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Shared: work on a copy (`Toy.copy`)."""
    return make_toy_workspace(tmp_path_factory.mktemp("fetched"), photos=8, test=4, size=32, k=2)
