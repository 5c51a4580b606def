"""Samples of Stable Diffusion and the sources made of them: `project.sd`, as `kit sd`. Draws nothing itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from kit.api.folder import Folder, Names, listed, say
from kit.api.needs import extras_of
from kit.api.tables import Table
from kit.core.tables import Shown
from kit.errors import UnknownName

if TYPE_CHECKING:
    from kit.imaging.metrics import Estimate
    from kit.pretrained.diffusion.listing import ListedRecipe
    from kit.pretrained.diffusion.session import Selection
    from kit.pretrained.diffusion.settings import SamplingSettings
    from kit.pretrained.diffusion.status import SpecStatus


@dataclass(frozen=True)
class Sampled(Shown):
    """What was drawn and written."""

    made: int
    there: int
    """Samples that were there before."""
    elsewhere: int
    """That other processes are drawing."""
    retried: int
    """Of those made: in float32, because half precision gave no picture."""
    seconds: float
    sources: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Counts(Table["SpecStatus"]):
    """The samples of one recipe, prompt by prompt; and all recipes in short."""

    there: int = 0
    missing: int = 0
    seconds_left: float | None = None
    """Of one process like those that drew; None where nothing is known."""
    megabytes: float = 0.0
    damaged: int = 0
    recipes: tuple[ListedRecipe, ...] = ()

    named_by = "prompt"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("prompt", "sample", "there", "missing")

    def cells(self, record: SpecStatus) -> Sequence[str]:
        """Return what is shown of a sample of every photo."""
        return (record.prompt, str(record.sample + 1), str(record.there), str(record.missing))

    def notes(self) -> Iterable[str]:
        """Yield the sums, and the recipes."""
        yield f"{self.there} there, {self.missing} missing, {self.megabytes:.1f} MB, {self.damaged} damaged"
        for one in self.recipes:
            mark = "*" if one.chosen else "-"
            settings = f"{one.size} px, {one.steps} steps, {one.other}"
            yield f"{mark} {one.model}: {settings}: {one.there} there, {one.missing} missing"


@dataclass(frozen=True)
class Point:
    """The RMSE of the mean of so many samples."""

    samples: int
    rmse: Estimate
    measured: bool
    """False: by the law a + b / m, from fewer samples."""


@dataclass(frozen=True, repr=False)
class SampleCurve(Table[Point]):
    """What more samples would bring, on training photos."""

    limit: Estimate | None = None
    """Of infinitely many."""
    prompts: tuple[tuple[str, Estimate], ...] = ()
    """The RMSE of one sample by each."""

    named_by = "samples"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("samples", "OOF RMSE of their mean", "")

    def cells(self, record: Point) -> Sequence[str]:
        """Return what is shown of a number of samples."""
        return (str(record.samples), str(record.rmse), "" if record.measured else "by the law")

    def notes(self) -> Iterable[str]:
        """Yield limit and prompts."""
        yield f"The limit: {self.limit}"
        yield from (f"One sample by {prompt!r}: {rmse}" for prompt, rmse in self.prompts)


class Sampling:
    """The verbs of `kit sd`. `settings` are `negative`, `scheduler`, `steps`, `guidance`, `strength`, `size`, `dtype`,
    `seed`, and `dilated=False` for exact masks.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def run(
        self,
        model: str | None = None,
        prompts: Names = (),
        samples: int | None = None,
        *,
        split: str = "both",
        limit: int | None = None,
        shard: str | None = None,
        device: str = "auto",
        gpus: str | None = None,
        jobs: int | None = None,
        on: str | None = None,
        cpus: int | None = None,
        bucket: str | None = None,
        batch: int | None = None,
        low_memory: bool = False,
        clip: str | None = None,
        variant: str | None = None,
        download: bool = False,
        name: str = "sd",
        match_colours: bool = True,
        force: bool = False,
        **settings: object,
    ) -> Sampled:
        """Draw the samples that are missing and make sources of them, as `kit sd run`; every sample is kept.

        Args:
            model: a diffusers folder, or an id of the hub.
            prompts: templates over `{animal}`, or `class`, `seamless`; by default both.
            samples: of each prompt, by default one.
            split: `oof`, `test` or `both`.
            limit: so many photos of each split; no sources then.
            shard: `I/N`: every Nth photo from the Ith on.
            gpus, jobs: draw in processes of their own; `all` or `0,2`, and how many.
            on, cpus: `ray`: draw on a cluster, a shard of the photos each job; its cores. `gpus` is how many each has.
            bucket: by way of this object store jobs on a cluster get and return files, such as `s3://mine/work`.
            batch: pictures at once.
            low_memory: slower, for small GPUs.
            clip: a CLIP that predicts missing classes.
            variant: of the weights, such as `fp16`.
            download: fetch the model if it is not here.
            name: of the sources: NAME, NAME-mean, NAME-shrunk.
            match_colours: shift colours to those beside the holes.
            force: write the sources again.
            settings: see `Sampling`.

        Raises:
            UnknownName, UsageError: a setting or value that cannot be.
            MissingStep: the model is not here; says licence and size.
            PredictionsError: photos of which the model gives no picture.
        """
        with extras_of("sd"):
            from kit.pretrained.diffusion.model import DEFAULT_MODEL
            from kit.pretrained.diffusion.plan import shard_of
            from kit.pretrained.diffusion.session import SamplingRequest, open_session, run, splits_named
            from kit.pretrained.diffusion.side_by_side import draw_side_by_side
            from kit.pretrained.prompts import templates_of
            from kit.pretrained.slots import place_for

            request = SamplingRequest(
                templates_of(listed(prompts)), model or DEFAULT_MODEL, variant, download, samples, _checked(settings),
                splits_named(split), limit, shard_of(shard, os.environ), device, batch, low_memory, name, match_colours,
                force, clip,
            )  # fmt: skip
            where = place_for(on, gpus, jobs, cpus, device, bucket)
            session = open_session(self._folder.opened, request, say)
            if where:
                session = draw_side_by_side(session, where)
            found = run(session)
        made = found.outcome
        sources = dict.fromkeys([*(one.name for one in found.written), *([f"{name}-shrunk"] if found.shrinks else [])])
        return Sampled(
            made.made if made else 0,
            made.hits if made else found.hits,
            made.locked_elsewhere if made else 0,
            made.retried if made else 0,
            made.seconds if made else 0.0,
            tuple(sources),
            tuple(found.notes),
        )

    def status(
        self,
        model: str | None = None,
        prompts: Names = (),
        samples: int | None = None,
        *,
        split: str = "both",
        limit: int | None = None,
        **settings: object,
    ) -> Counts:
        """Count what has been sampled of the recipe that was used last, and of all recipes, as `kit sd status`.

        Args:
            model, settings: choose another recipe.
            prompts, samples, split, limit: how much of this is there.

        Raises:
            MissingStep: there are no samples that fit.

        >>> kit.open(".").sd.status()
        Traceback (most recent call last):
        ...
        kit.errors.MissingStep: No samples are here yet. Run: kit sd run --model FOLDER_OR_ID
        """
        with extras_of("sd"):
            from kit.pretrained.diffusion.listing import listed_recipes
            from kit.pretrained.diffusion.recipes import stored_recipes
            from kit.pretrained.diffusion.session import open_stored, sampling_status

            opened = self._folder.opened
            stored = stored_recipes(opened.workspace)
            session = open_stored(opened, stored, _selection(model, prompts, samples, split, limit, settings), say)
            found = sampling_status(session)
            recipes = tuple(listed_recipes(opened, stored, session.recipe.digest))
        return Counts(
            found.specs, found.hits, found.missing, found.seconds_left, found.size / 1e6, found.damaged, recipes
        )

    def curve(
        self,
        model: str | None = None,
        prompts: Names = (),
        samples: int | None = None,
        *,
        limit: int | None = None,
        match_colours: bool | None = None,
        **settings: object,
    ) -> SampleCurve:
        """Estimate what more samples would bring, as `kit sd curve`.

        Args:
            model, settings: of another recipe than the last.
            match_colours: by default as the samples were last asked for.

        Raises:
            MissingStep: there are no samples that fit.
            UsageError: fewer than two of each photo.
        """
        with extras_of("sd"):
            from dataclasses import replace

            from kit.pretrained.diffusion.listing import counts_shown
            from kit.pretrained.diffusion.recipes import stored_recipes
            from kit.pretrained.diffusion.session import evaluate_curve, open_stored

            opened = self._folder.opened
            selection = replace(_selection(model, prompts, samples, "both", limit, settings), matched=match_colours)
            found, _ = evaluate_curve(open_stored(opened, stored_recipes(opened.workspace), selection, say))
        curve = found.curve
        points = tuple(Point(m, curve.rmse(m), m <= curve.samples) for m in counts_shown(curve))
        return SampleCurve(points, curve.limit, tuple(found.prompts.items()))


def _checked(settings: Mapping[str, object]) -> SamplingSettings:
    """Return settings of drawing. Raises `UnknownName` for one that there is not, `UsageError` for a value."""
    from kit.pretrained.diffusion.settings import SamplingSettings

    names = [one.name for one in fields(SamplingSettings)]
    for name in settings:
        if name not in names:
            raise UnknownName("setting", name, names)
    return SamplingSettings(**settings)  # type: ignore[arg-type]


def _selection(
    model: str | None,
    prompts: Names,
    samples: int | None,
    split: str,
    limit: int | None,
    settings: Mapping[str, object],
) -> Selection:
    from kit.pretrained.diffusion.session import Selection, splits_named
    from kit.pretrained.prompts import templates_of

    _checked(settings)
    templates = templates_of(listed(prompts)) if prompts else None
    return Selection(model, None, dict(settings), templates, samples, splits_named(split), limit)
