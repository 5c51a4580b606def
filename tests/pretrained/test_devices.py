"""Which precision a GPU gets, by what it says of itself."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch

from kit.learning.experiments import experiment
from kit.learning.training.state import precision_on
from kit.pretrained.devices import half_precision_on

CARDS = {"T4": (7, 5), "V100": (7, 0), "P100": (6, 0), "A100": (8, 0), "RTX 4090": (8, 9), "H200": (9, 0)}
GPU = torch.device("cuda", 1)


@pytest.fixture(params=list(CARDS))
def card(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A card whose driver says its capability, asked through torch's own functions; `cuda:1` of two."""
    major, minor = CARDS[request.param]
    chosen: list[torch.device] = []

    @contextlib.contextmanager
    def device(named: torch.device):  # type: ignore[no-untyped-def]
        chosen.append(named)
        yield
        chosen.pop()

    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: chosen[-1].index if chosen else 0)
    cards = [SimpleNamespace(major=3, minor=0), SimpleNamespace(major=major, minor=minor)]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: cards[index])
    return str(request.param)


def test_bfloat16_only_where_the_card_computes_in_it(card: str) -> None:
    wanted = torch.bfloat16 if CARDS[card] >= (8, 0) else torch.float16
    assert half_precision_on(GPU) == wanted
    assert precision_on(experiment("regress"), GPU) == wanted


def test_a_named_precision_is_taken_and_a_cpu_has_float32(card: str) -> None:
    assert precision_on(experiment("regress", ["precision=bfloat16"]), GPU) == torch.bfloat16
    assert precision_on(experiment("regress"), torch.device("cpu")) == torch.float32


def test_float16_gets_a_scaler(card: str) -> None:
    wanted = precision_on(experiment("regress"), GPU) == torch.float16
    assert torch.amp.GradScaler("cuda", enabled=wanted).is_enabled() == wanted
