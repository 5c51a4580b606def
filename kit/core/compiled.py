"""numba's compiler, with its cache where there is a place for one. Knows no function's meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """Return a decorator that compiles a function which holds no lock, and keeps the result beside its source.

    Where neither that folder nor the user's cache can be written, it is compiled anew by each process: a cache in a
    folder that others may write to would run what they put there.
    """

    def decorate(function: F) -> F:
        try:
            return cast(F, numba.njit(nogil=True, cache=True, **options)(function))
        except RuntimeError:  # numba's "no locator available"
            return cast(F, numba.njit(nogil=True, **options)(function))

    return decorate
