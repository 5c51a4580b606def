"""A bar's line fits the terminal whole: what matters least goes, nothing is cut off at the edge."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from kit.core import bars
from kit.core.bar_line import Reading, fitted, plain_line, rate_text

TRAINING = Reading(
    "Training regress-imagenet, fold 0", 1234, 3200, "steps", 754.0, 980.0, "55.3 photos/s", "mse 0.0123, RMSE 0.1502"
)


def drawn(one: Reading, width: int) -> str:
    line = fitted(one, width)
    return " ".join(part for part in (line.before, "#" * line.bar, line.behind) if part)


def test_on_a_wide_terminal_everything_is_shown() -> None:
    text = drawn(TRAINING, 160)
    for part in (
        TRAINING.description,
        "1234/3200 steps",
        "12:34",
        "16:20 left",
        "55.3 photos/s",
        TRAINING.note,
        "####",
    ):
        assert part in text


@pytest.mark.parametrize("width", [*range(24, 81, 4), 100, 120])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    for one in (TRAINING, replace(TRAINING, description="Filling", note="", speed=""), replace(TRAINING, total=None)):
        assert len(drawn(one, width)) <= width


def test_at_80_columns_count_time_left_and_score_are_whole() -> None:
    text = drawn(TRAINING, 79)
    assert all(part in text for part in ("1234/3200 steps", "16:20 left", "RMSE 0.1502", "######", "Training"))
    filling = "Filling fractional (test)"
    text = drawn(Reading(filling, 37, 102, "photos", 9.0, 12.0, "4.1 photos/s"), 79)
    assert all(part in text for part in (filling, "37/102 photos", "0:09", "0:12 left", "4.1 photos/s"))


def test_the_bar_stays_where_it_is_while_numbers_grow() -> None:
    begun = Reading("Filling fractional (test)", 0, 102, "photos")
    later = replace(begun, done=37, elapsed=9.0, left=12.0, speed="4.1 photos/s")
    done = replace(begun, done=102, elapsed=25.0, speed="4.1 photos/s")
    assert len({(line.before, line.bar) for line in (fitted(one, 79) for one in (begun, later, done))}) == 1


def test_speeds_are_said_in_the_time_in_which_they_are_no_fraction() -> None:
    speeds = [rate_text(one, "photos") for one in (1234.4, 12.34, 0.05, 0.001)]
    assert speeds == ["1,234 photos/s", "12.3 photos/s", "3.0 photos/min", "3.6 photos/h"]


def test_a_plain_line_has_speed_and_score() -> None:
    expected = "Training regress-imagenet, fold 0: 1234/3200 steps, 16:20 left, 55.3 photos/s  mse 0.0123, RMSE 0.1502"
    assert plain_line(TRAINING) == expected


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}, {}])
def test_a_bar_has_colours_where_they_are_wanted(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", **variables}.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with bars.new_bars(lambda task: TRAINING) as shown:
        shown.add_task("", total=3200)
        shown.refresh()
    text = stream.getvalue()
    assert "━━━" in text and "1234/3200 steps" in text
    assert ("[38;" in text or "[9" in text or "[3" in text.replace("[?", "")) == ("NO_COLOR" not in variables)
