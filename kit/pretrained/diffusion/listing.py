"""The recipes that have samples, as people see them: counts, and settings that are not the usual ones. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from kit.data.project import Project
from kit.pretrained.diffusion.curve import Curve
from kit.pretrained.diffusion.recipes import StoredRecipe
from kit.pretrained.diffusion.session import Selection, sampling_status, stored_session
from kit.pretrained.diffusion.settings import SamplingSettings


@dataclass(frozen=True)
class ListedRecipe:
    """A recipe and its samples of all photos: those last asked for, and all begun."""

    digest: str
    model: str
    size: int
    steps: int
    other: str
    """Settings besides these that are not the usual ones, and the precision."""
    samples: int
    there: int
    missing: int
    chosen: bool
    """The one that is told of in detail."""


def listed_recipes(project: Project, stored: Sequence[StoredRecipe], chosen: str) -> list[ListedRecipe]:
    """Count the samples of every recipe.

    Args:
        chosen: digest of the one that is told of in detail.
    """
    return [_listed(project, one, chosen) for one in stored]


def _listed(project: Project, stored: StoredRecipe, chosen: str) -> ListedRecipe:
    recipe, counts = stored.recipe, sampling_status(stored_session(project, stored, Selection()), check=False)
    return ListedRecipe(
        digest=recipe.digest,
        model=recipe.label,
        size=recipe.settings.size,
        steps=recipe.settings.steps,
        other=_others(recipe.settings),
        samples=max(one.sample for one in counts.specs) + 1,
        there=counts.hits,
        missing=counts.missing,
        chosen=recipe.digest == chosen,
    )


def named(settings: SamplingSettings) -> str:
    """Return settings in a few words."""
    others = _others(settings)
    return f"{settings.size} px, {settings.steps} steps" + (f", {others}" if others else "")


def _others(settings: SamplingSettings) -> str:
    """Return the settings besides size and steps that are not the usual ones."""
    usual = asdict(type(settings)(dtype=settings.dtype))
    changed = {name: value for name, value in asdict(settings).items() if value != usual[name]}
    words = ["exact mask" if name == "dilated" else f"{name} {value!r}" if name == "negative" else f"{name} {value}"
             for name, value in changed.items() if name not in ("size", "steps")]  # fmt: skip
    return ", ".join([*words, settings.dtype])


def counts_shown(curve: Curve) -> list[int]:
    """Return the numbers of samples at which a curve is told: to twice those that there are."""
    last = 2 * curve.samples
    return sorted({1, 2, 3, 4, 8, 16, 32, 64, curve.samples, last} & set(range(1, last + 1)))
