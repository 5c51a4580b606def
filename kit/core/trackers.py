"""Names of the trackers that a training can write to, and the package that each needs. Imports none of them."""

from __future__ import annotations

from collections.abc import Iterable

from kit.core.extras import is_installed
from kit.errors import MissingPackage, UnknownName

TRACKERS: dict[str, tuple[str, str]] = {
    "tensorboard": ("tensorboard", "tensorboard"),
    "wandb": ("wandb", "wandb"),
    "mlflow": ("mlflow", "mlflow-skinny"),  # the whole package brings a server and its user interface
    "trackio": ("trackio", "trackio"),
}
"""By name: the module, and the package that brings it."""


def chosen_trackers(names: Iterable[str]) -> tuple[str, ...]:
    """Return each tracker once, in the order given.

    Args:
        names: as they were typed, several with commas between them: `tensorboard,mlflow`.

    Raises:
        UnknownName: there is no such tracker.
        MissingPackage: its package is not installed; said before anything is loaded.
    """
    given = [name.strip().lower() for typed in names for name in typed.split(",") if name.strip()]
    for name in given:
        if name not in TRACKERS:
            raise UnknownName("tracker", name, TRACKERS, otherwise="Several: --log tensorboard,mlflow")
        module, package = TRACKERS[name]
        if not is_installed(module):
            raise MissingPackage(f"--log {name} needs a package. Run: pip install {package}")
    return tuple(dict.fromkeys(given))
