"""Shortened texts keep both ends and stay different from each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kit.core.shortening import shortened, shortened_apart, text_width


def test_the_middle_goes() -> None:
    assert shortened("regress-imagenet", 9) == "regr…enet" and shortened("regress", 7) == "regress"
    assert shortened("regress", 1) == "…" and shortened("regress", 0) == ""


def test_wide_letters_take_two_columns() -> None:
    assert text_width("猫cat") == 5 and text_width("e\u0301") == 1
    assert text_width(shortened("猫猫猫猫猫猫", 7)) <= 7


def test_names_that_differ_in_the_middle_stay_two_names() -> None:
    names = ["regress-long-seed-1-of-three-on-large-photos", "regress-long-seed-2-of-three-on-large-photos"]
    short = shortened_apart([*names, names[0]], 22)
    assert len(set(short)) == 2 and short[0] == short[2] and max(map(len, short)) <= 22


@given(st.lists(st.text("ab-", max_size=40), max_size=30), st.integers(6, 20))
def test_different_texts_stay_different_and_fit(texts: list[str], width: int) -> None:
    short = shortened_apart(texts, width)
    assert len(set(short)) == len(set(texts)) and all(text_width(text) <= width for text in short)
    assert all(was == now for was, now in zip(texts, short, strict=True) if len(was) <= width)
