"""Progress speaks on standard error only: a line now and then, or a bar on a terminal."""

from __future__ import annotations

import pytest

from kit.core import progress as module
from kit.core.progress import Progress, byte_progress, progress, track


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in its only element."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(5), "Counting", 5, "things")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr() == ("", "")


def test_long_work_says_how_far_it_is_and_how_long_it_takes(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in track(range(100), "Filling", 100, "photos"):
        clock[0] += 1.0
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and lines[0] == "Filling: 10/100 photos, 1:30 left, 1.0 photos/s"
    assert len(lines) == 9 and lines[-1] == "Filling: 100/100 photos, 1.0 photos/s  done in 1:40"


def test_a_night_of_plain_lines_is_a_page(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in track(range(8 * 3600), "Training", 8 * 3600, "steps"):
        clock[0] += 1.0
    assert 40 < len(capsys.readouterr().err.splitlines()) < 80


def test_in_a_notebook_one_line_moves_about_once_a_second_and_a_night_is_not_megabytes(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    for _ in track(range(80), "Quick", 80, "photos"):
        clock[0] += 0.1
    quick = capsys.readouterr().err
    assert quick.count("\n") == 0 and quick.count("\rQuick: ") == 7 and quick.endswith(" \r")
    for _ in track(range(80 * 3600), "Training", 80 * 3600, "steps"):
        clock[0] += 0.1
    night = capsys.readouterr().err
    assert night.count("\n") == 1 and night.endswith("done in 8:00:00\n") and len(night) < 500_000


def test_a_resumed_job_counts_only_what_is_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Training", 1000, "steps") as bar:
        bar.start_at(900)
        clock[0] = 10.0
        bar.update(10, "loss 0.5")
    assert capsys.readouterr().err.splitlines()[0] == "Training: 910/1000 steps, 1:30 left, 1.0 steps/s  loss 0.5"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_times_are_short(seconds: float, text: str) -> None:
    assert module.time_text(seconds) == text


def test_an_error_in_the_work_comes_out_and_closes_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(Progress, "close", lambda self: closed.append(self.description))
    with pytest.raises(RuntimeError):
        for number in track(range(3), "Failing", 3, "photos"):
            if number:
                raise RuntimeError
    assert closed == ["Failing"]


def test_bytes_are_shown_in_mebibytes(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with byte_progress("Downloading") as report:
        report(0, 100 << 20)
        clock[0] = 20.0
        report(50 << 20, 100 << 20)
    assert capsys.readouterr().err.splitlines()[0] == "Downloading: 50/100 MiB, 0:20 left, 2.5 MiB/s"
    with byte_progress("Nothing to do"):
        pass
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar_with_notes_and_a_total_that_may_shrink(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    with progress("Training", 100, "steps") as bar:
        assert bar._bar is not None
        bar.total = 50
        bar.update(25, "loss 0.25")
        task = bar._bar.tasks[0]
        assert (task.completed, task.total) == (25, 50) and bar.reading().note == "loss 0.25"
        bar.start_at(30)
        assert task.completed == 30
    assert capsys.readouterr().out == ""


def test_a_limit_holds_from_the_first_second(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Training", 1000, "steps") as bar:
        bar.limit(60.0)
        clock[0] = 10.0
        bar.update(0)
        clock[0] = 20.0
        bar.update(1)  # by the count alone it would be hours
        bar.limit(None)
        clock[0] = 30.0
        bar.update(999)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["Training: 0/1000 steps, 0:50 left", "Training: 1/1000 steps, 0:40 left, 3.0 steps/min"]
    assert lines[2] == "Training: 1000/1000 steps, 33.3 steps/s"


def test_a_process_reports_what_another_one_shows(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(module.REPORTS, "reports")
    with progress("Training", 100, "steps") as bar:
        clock[0] = 10.0
        bar.update(50, "loss 0.5")
    (line, *_) = capsys.readouterr().err.splitlines()
    assert module.read_report(line) == ("Training", 50, 100, "steps", 10.0, "5.0 steps/s", "loss 0.5")
    assert module.read_report("Training: 50/100 steps") is None and module.read_report(line[:20]) is None


def test_a_quiet_command_shows_no_bar_and_no_line(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KIT_VERBOSITY", "quiet")
    for terminal in (False, True):
        monkeypatch.setattr(module.sys.stderr, "isatty", lambda terminal=terminal: terminal, raising=False)
        for _ in track(range(100), "Filling", 100, "photos"):
            clock[0] += 1.0
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    for _ in track(range(100), "Filling", 100, "photos"):
        clock[0] += 1.0
    assert capsys.readouterr() == ("", "")


def test_a_verbose_command_says_how_long_each_step_took(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KIT_VERBOSITY", "verbose")
    for _ in track(range(4), "Filling", 4, "photos"):
        clock[0] += 0.5
    assert capsys.readouterr().err == "Filling: 4 of 4 photos in 2.0 s, 2.0 photos/s\n"


def test_a_terminal_that_cannot_move_gets_plain_lines(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    for _ in track(range(100), "Filling", 100, "photos"):
        clock[0] += 1.0
    err = capsys.readouterr().err
    assert "\x1b" not in err and "\r" not in err and err.startswith("Filling: 10/100 photos, 1:30 left")
