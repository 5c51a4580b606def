"""As much is said as was asked for, by this process and by those that it starts; warnings always."""

from __future__ import annotations

import pytest

from kit.core import speech
from kit.core.speech import Verbosity


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(speech.VARIABLE, raising=False)
    monkeypatch.setattr(speech, "_chosen", None)
    speech.begin_command()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    speech.say("said")
    speech.warn("warned")
    speech.detail("told")
    out, err = capsys.readouterr()
    assert out == ""
    return " ".join(err.split())


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (Verbosity.QUIET, "warned"),
        (Verbosity.USUAL, "said warned"),
        (Verbosity.VERBOSE, "said warned told"),
        (None, "said warned"),
    ],
)
def test_each_level_says_more(level: Verbosity | None, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    speech.set_verbosity(level)
    assert said(capsys) == expected


@pytest.mark.parametrize(("word", "level"), [("quiet", 0), ("Verbose", 2), ("loud", 1), ("", 1)])
def test_the_variable_speaks_where_nothing_is_chosen(word: str, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(speech.VARIABLE, word)
    assert speech.verbosity() == level and speech.speech_environment() == {}
    speech.set_verbosity(Verbosity.USUAL)
    assert speech.verbosity() == 1 and speech.speech_environment() == {speech.VARIABLE: "usual"}


def test_a_detail_that_repeats_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    speech.detail_once("told")  # not to be told, and so not noted
    speech.set_verbosity(Verbosity.VERBOSE)
    for _ in range(2):
        speech.detail_once("told")
    assert capsys.readouterr().err == "told\n"


def test_a_line_is_said_once_also_as_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        speech.say_once("one", about="the same")
        speech.warn_once("two", about="the same")
        speech.warn_once("three")
    assert capsys.readouterr().err.split() == ["one", "three"]
