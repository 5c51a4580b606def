"""Every failure that a user can mend, as one tree, and exit codes. Knows nothing of how it will be shown.

    KitError
      UsageError               a flag, a name or a config value that cannot be
        UnknownName            a name that is not registered; the message lists those that are, the nearest first
      MissingPackage           a package that only some commands need
      DataError                the competition's own files
        ArchiveError           not a zip, a damaged member, an unsafe path, no room
        ImageError             a picture that is missing, truncated or of the wrong size
        TableError             a CSV with wrong columns, rows or values
      StoreError               what the kit has written, or not yet written
        MissingStep            an earlier command has not been run
        Mismatch               two artefacts that were not made from each other
        DamagedStore           a file that is not what its manifest says
        PredictionsError       values that are not finite or not of the right number
        Busy                   another process is at it
      TrainingError            a training that cannot go on (divergence, missing weights)
      SubmissionError          a file that the competition would refuse
      RemoteError              the service said no, or nothing
        CredentialsError       401, or no credentials at all
        RulesNotAccepted       403
        NotFound               404
        QuotaReached           no submission left today
        RemoteUnavailable      timeouts, 5xx, no network
    NotFinished                the time that was given is over. No failure: what mends or reports failures lets it pass

A message is one line that names the file, the value, and the command to type next. The command line turns any of these
into that line on standard error and the error's exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

FAILED = 1
WRONG_USAGE = 2
UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h: a fault of kit or of a library, with a report in a file
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command later may do it
INTERRUPTED = 130  # 128 + SIGINT: Ctrl-C, as shells say it
TERMINATED = 143  # 128 + SIGTERM


class KitError(Exception):
    """Base of the tree. `str(error)` is one line for a person."""

    exit_code: ClassVar[int] = FAILED

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UsageError(KitError):
    """A flag, a name or a config value that cannot be."""

    exit_code = WRONG_USAGE


class UnknownName(UsageError):
    """A name that is not registered."""

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        suggestion: str | None = None,
        listed_by: str | None = None,
        otherwise: str = "",
    ) -> None:
        """
        Args:
            known: the names that there are; the nearest is suggested.
            suggestion: what is suggested instead of the nearest.
            listed_by: a command that lists the names, where they are too many for one line.
            otherwise: what can be done where none of them was meant.
        """
        names = sorted(known)
        nearest = suggestion or closest_name(name, names)
        meant = f" Did you mean {nearest}?" if nearest else ""
        listed = f"All of them: {listed_by}" if listed_by else f"Known: {', '.join(names) or 'none yet'}."
        super().__init__(f"There is no {kind} {name!r}.{meant} {listed} {otherwise}")


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the name that was probably meant, or None."""
    by_lower = {one.lower(): one for one in known}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[nearest[0]] if nearest else None


class NoPermission(KitError):
    """A place that this user may not write to."""


class MissingPackage(KitError):
    """A package that only some commands need is not installed; the message says which command brings it."""


class DataError(KitError):
    """The competition's own files."""


class ArchiveError(DataError):
    """Not a zip, a damaged member, an unsafe path, or no room to unpack."""


class ImageError(DataError):
    """A picture that is missing, truncated or of the wrong size."""


class TableError(DataError):
    """A CSV with wrong columns, rows or values."""


class StoreError(KitError):
    """A file that the kit has written, or has not written yet."""


class MissingStep(StoreError):
    """An earlier command has not been run; the message says which."""


class Mismatch(StoreError):
    """Two artefacts that were not made from each other."""


class DamagedStore(StoreError):
    """A file that is not what its manifest says."""


class PredictionsError(StoreError):
    """Values that are not finite or not of the right number."""


class Busy(StoreError):
    """Another process is at it."""

    exit_code = TRY_AGAIN


class TrainingError(KitError):
    """A training that cannot go on."""


class SubmissionError(KitError):
    """A file that the competition would refuse."""


class RemoteError(KitError):
    """The service said no, or nothing."""


class CredentialsError(RemoteError):
    """401, or no credentials at all."""


class RulesNotAccepted(RemoteError):
    """403: the rules have not been accepted, or the competition not been joined."""


class NotFound(RemoteError):
    """404: a wrong slug or file name."""


class QuotaReached(RemoteError):
    """No submission left today."""

    exit_code = TRY_AGAIN


class RemoteUnavailable(RemoteError):
    """Timeouts, server errors, no network."""

    exit_code = TRY_AGAIN


class NotFinished(Exception):
    """The time that was given is over. The message says what is left; all that is needed to go on is on the disk."""

    exit_code: ClassVar[int] = TRY_AGAIN

    def __init__(self, left: str, *, again: str | None = None) -> None:
        """
        Args:
            again: the command that goes on, where it is not the same one once more.
        """
        super().__init__(" ".join(left.split()))
        self.again = again
