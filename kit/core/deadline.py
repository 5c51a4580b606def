"""The time at which this process is to stop by itself (`--stop-after`), and the one place that looks at it.

Long loops call `check` between two units of their work; most do so through `kit.core.progress`. Knows no work.
"""

from __future__ import annotations

import math
import re
import time
from datetime import datetime, timedelta

from kit.errors import NotFinished, UsageError

VARIABLE = "KIT_STOP_AT"
FORMS = "such as 11h30m, 90m, 45s, 1d, a number of minutes, 17:30, or 2026-01-31T17:30"

_STARTED = time.time()  # the command line imports this first
_LONGEST = 10 * 365 * 86400.0  # seconds
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ONE_UNIT = re.compile(r"(\d+\.\d+)([dhm])")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0}

_at = math.inf  # in `time.time()`'s seconds; one a process, as its command line is


def parse_stop(text: str, started: float) -> float:
    """Return the moment that a text means, in seconds since the epoch.

    Args:
        text: a duration (`1d2h30m15s`, `1.5h`, `90` minutes), a time of day (the next one), or an ISO date and time.
        started: what durations and times of day are counted from, in seconds since the epoch.

    Raises:
        UsageError: it is none of these.
    """
    words = text.strip()
    seconds = _duration(words.lower())
    moment = started + seconds if seconds is not None else _moment(words, started)
    if moment is None or not moment - started <= _LONGEST:
        raise UsageError(f"{text!r} is no time to stop. Give one {FORMS}.")
    return moment


def _duration(text: str) -> float | None:
    """Return seconds, or None for what is no duration; nothing at all is none."""
    if _NUMBER.fullmatch(text):
        seconds = 60 * float(text)
    elif one := _ONE_UNIT.fullmatch(text):
        seconds = float(one[1]) * _SECONDS[one[2]]
    elif text and (found := _DURATION.fullmatch(text)):
        days, hours, minutes, rest = (float(part or 0) for part in found.groups())
        seconds = 86400 * days + 3600 * hours + 60 * minutes + rest
    else:
        return None
    return seconds if seconds > 0 else None


def _moment(text: str, started: float) -> float | None:
    """Return the moment of a time of day or of an ISO date and time, or None for what is neither."""
    try:
        if _CLOCK.fullmatch(text):
            return _next(datetime.fromisoformat(f"2000-01-01T{text.zfill(5 if text.count(':') == 1 else 8)}"), started)
        if len(text) <= len("2000-01-01"):  # a date alone would mean midnight, and hardly ever does
            return None
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _next(clock: datetime, started: float) -> float:
    """Return when the clock next shows this time of day."""
    now = datetime.fromtimestamp(started)
    today = now.replace(hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=0)
    return (today if today.timestamp() > started else today + timedelta(days=1)).timestamp()


def set_stop(text: str | None, started: float | None = None) -> None:
    """Let this process stop then; None lets it run on.

    Args:
        started: what durations are counted from, by default the start of this process.

    Raises:
        UsageError: the text is no time.
    """
    global _at
    _at = math.inf if text is None else parse_stop(text, _STARTED if started is None else started)


def is_set() -> bool:
    """Return whether this process is to stop by itself at all."""
    return math.isfinite(_at)


def remaining() -> float:
    """Return the seconds that are left, negative after the time; infinite where none was given."""
    return _at - time.time()


def is_over() -> bool:
    """Return whether the time is over."""
    return remaining() <= 0


def check(left: str) -> None:
    """Raise `NotFinished` if the time is over.

    Args:
        left: what is not done yet, for the message.
    """
    if is_over():
        raise NotFinished(left)


def stop_environment() -> dict[str, str]:
    """Return the variable by which processes that this one starts stop at the same moment."""
    return {VARIABLE: datetime.fromtimestamp(_at).astimezone().isoformat()} if is_set() else {}
