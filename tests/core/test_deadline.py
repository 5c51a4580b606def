"""Times to stop: what people type means what they think, and nothing else passes."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import deadline
from kit.core.deadline import parse_stop
from kit.core.progress import track
from kit.errors import NotFinished, UsageError

MOMENTS = st.floats(1.5e9, 2e9).map(round).map(float)  # years in which the clock is like today's
SHORT = st.integers(0, 59)


@given(started=MOMENTS, days=st.integers(0, 300), hours=st.integers(0, 99), minutes=SHORT, seconds=SHORT)
def test_a_duration_is_the_sum_of_its_parts(started: float, days: int, hours: int, minutes: int, seconds: int) -> None:
    parts = {"d": days, "h": hours, "m": minutes, "s": seconds}
    text = "".join(f"{number}{unit}" for unit, number in parts.items() if number)
    wanted = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    if text:
        assert parse_stop(text, started) - started == wanted
        assert parse_stop(f" {text.upper()} ", started) - started == wanted


@given(started=MOMENTS, minutes=st.integers(1, 100_000))
def test_a_bare_number_means_minutes(started: float, minutes: int) -> None:
    assert parse_stop(str(minutes), started) == parse_stop(f"{minutes}m", started) == started + 60 * minutes


@given(started=MOMENTS, hour=st.integers(0, 23), minute=SHORT)
def test_a_time_of_day_is_the_next_one(started: float, hour: int, minute: int) -> None:
    moment = parse_stop(f"{hour}:{minute:02d}", started)
    assert moment == parse_stop(f"{hour:02d}:{minute:02d}:00", started)
    assert 0 < moment - started <= 25 * 3600  # 25: the night in which summer time ends
    shown = datetime.fromtimestamp(moment)
    # in spring one hour is no time of day
    assert (shown.hour, shown.minute) == (hour, minute) or shown.hour == hour + 1


@given(started=MOMENTS, later=st.integers(-(10**6), 10**6))
def test_a_date_and_time_is_that_moment_also_when_it_is_over(started: float, later: int) -> None:
    moment = started + later
    assert parse_stop(datetime.fromtimestamp(moment).astimezone().isoformat(), started) == moment


@given(st.text(max_size=12), MOMENTS)
def test_anything_else_is_refused_by_a_line_that_shows_what_is_right(text: str, started: float) -> None:
    try:
        assert parse_stop(text, started) - started < 11 * 366 * 86400
    except UsageError as error:
        assert "11h30m" in str(error) and error.exit_code == 2


@pytest.mark.parametrize(
    "text", ["", "0", "0m", "-5", "1h30", "30m1h", "h", "25:00", "12:60", "2026-01-31", "nan", "9e9d"]
)
def test_what_could_mean_two_things_or_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_stop(text, 1.7e9)


@pytest.mark.parametrize(("text", "seconds"), [("1.5h", 5400), ("2.5", 150), ("0.5s", 0.5), ("1h30m", 5400)])
def test_parts_of_units(text: str, seconds: float) -> None:
    assert parse_stop(text, 1.7e9) == 1.7e9 + seconds


def test_a_loop_stops_after_a_unit_of_its_work_and_never_when_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "_at", 0.0)
    done = []
    with pytest.raises(NotFinished, match="Filling: 1 of 3 photos"):
        for item in track(range(3), "Filling", 3, "photos"):
            done.append(item)
    assert done == [0] and list(track(range(1), "Filling", 1, "photos")) == [0]


def test_processes_that_are_started_stop_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "_at", 1.7e9 + 0.25)
    (text,) = deadline.stop_environment().values()
    assert parse_stop(text, 1.7e9) == 1.7e9 + 0.25
    monkeypatch.setattr(deadline, "_at", float("inf"))
    assert deadline.stop_environment() == {}
