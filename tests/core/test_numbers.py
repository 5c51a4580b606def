"""Scores as text: small ones keep digits, and what rounds to zero has no sign."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.numbers import change_text, score_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.16411, "0.1641"), (23.4567, "23.4567"), (0.0053, "0.00530"), (4.2e-5, "0.0000420"), (0.0, "0.0000")],
)
def test_a_score_shows_four_decimals_or_three_digits(value: float, text: str) -> None:
    assert score_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0005, "+0.00050"), (-3.2e-6, "-0.0000032"), (3e-5, "+0.00003"), (0.0, "0.00000"), (-1e-12, "0.00000")],
)
def test_a_change_has_a_sign_unless_it_is_nothing(value: float, text: str) -> None:
    assert change_text(value) == text


@given(st.floats(1e-7, 100))
def test_what_is_shown_is_near_what_it_is(value: float) -> None:
    assert float(score_text(value)) == pytest.approx(value, rel=0.06)
    assert float(change_text(-value)) == pytest.approx(-value, rel=0.5)
