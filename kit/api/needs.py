"""What a method needs to be installed. Imports nothing that may be missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from kit.core.extras import explain_missing_module


@contextlib.contextmanager
def extras_of(command: str) -> Iterator[None]:
    """Raise `MissingPackage`, which says what to install, for a package of an extra that is not there.

    Args:
        command: the one that does the same, after `kit`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = explain_missing_module(error, command)
        if missing is None:
            raise
        raise missing from None
