"""Tables fit the terminal: long texts are shortened, columns go or are folded, and no two names become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.shortening import text_width
from kit.core.tables import table

LONG = [f"regress-on-{number}-large-photos-with-a-very-long-name-{'ab'[number % 2]}" for number in range(4)]
SCORE = "0.1502 [0.1483, 0.1521]"


def widest(text: str) -> int:
    return max(map(text_width, text.splitlines()))


def test_a_table_that_fits_stays_as_it_is() -> None:
    text = table(["name", "score"], [["one", "1.5"], ["three", "12.5"]], width=20)
    assert text.splitlines() == ["name   score", "-----  -----", "one      1.5", "three   12.5"]


def test_long_names_are_shortened_and_stay_different() -> None:
    text = table(["source", "CV", "digest"], [[name, SCORE, "0123abcd"] for name in LONG], width=60)
    names = [line.split()[0] for line in text.splitlines()[2:]]
    assert widest(text) <= 60 and len(set(names)) == 4 and all("…" in name for name in names)
    assert text.count(SCORE) == 4


def test_intervals_go_before_columns_and_columns_are_named() -> None:
    rows = [[name, SCORE, SCORE, "12", "0123abcd"] for name in LONG]
    heading = ["source", "CV [95 %]", "other [95 %]", "seconds", "digest"]
    text = table(heading, rows, bare=["CV [95 %]"], drop=["digest", "seconds"], width=70)
    assert widest(text) <= 70 and "CV  " in text and "other [95 %]" in text and text.count(SCORE) == 4
    assert text.splitlines()[-1] == "No room here for: digest."
    assert "No room" not in table(heading, rows, drop=["digest"], width=200)


def test_what_does_not_fit_at_all_is_folded() -> None:
    heading = ["class", *(f"as {number}" for number in range(40))]
    text = table(heading, [["cat", *map(str, range(40))], ["dog", *map(str, range(40))]], width=80)
    assert widest(text) <= 80 and text.count("class") == text.count("cat") == text.count("\n\n") + 1 > 1
    assert all(title in text for title in heading)


def test_wide_letters_do_not_push_the_columns() -> None:
    text = table(["class", "count"], [["猫", "1"], ["cat", "22"]], width=80)
    assert len({text_width(line) for line in text.splitlines()}) == 1


@pytest.mark.parametrize(("columns", "fits"), [("", 80), ("100", 100), ("wide", 80)])
def test_the_width_is_that_of_the_output(columns: str, fits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = table(["source", "what"], [[name * 2, name * 2] for name in LONG])
    assert widest(text) == fits


@given(
    st.lists(st.text("ab…1 猫", max_size=60), min_size=1, max_size=8, unique=True),
    st.lists(st.sampled_from(["1.5", SCORE, "-", "long-text-" * 6]), min_size=1, max_size=9),
    st.integers(60, 120),
)
def test_nothing_is_wider_than_asked_and_no_two_names_are_one(names: list[str], cells: list[str], width: int) -> None:
    text = table(["name", *(f"column {place}" for place in range(len(cells)))], [[name, *cells] for name in names],
                 width=width)  # fmt: skip
    assert widest(text) <= width
