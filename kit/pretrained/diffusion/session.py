"""A request to `kit sd` and its three results: samples and sources, the status of the samples, the m-curve.

Knows how the parts go together. torch is loaded only where a device has to be named or samples are missing.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from kit.core.parallel import is_main_process
from kit.core.workspace import PredictionSplit, Workspace, checked_source_name
from kit.data.prediction_store import photo_split
from kit.data.project import Project
from kit.errors import KitError, MissingStep, PredictionsError, UnknownName
from kit.pretrained.diffusion.measure import CurveReport, measure_samples
from kit.pretrained.diffusion.model import DEFAULT_MODEL, DiffusionModel, find_model
from kit.pretrained.diffusion.plan import PhotoSelection, SampleSpec, Shard, known_templates, sample_specs, stored_specs
from kit.pretrained.diffusion.recipes import Asked, StoredRecipe, note_asked
from kit.pretrained.diffusion.sample_store import Cache
from kit.pretrained.diffusion.samples import Samples
from kit.pretrained.diffusion.settings import SamplingRecipe, SamplingSettings, stored_recipe
from kit.pretrained.diffusion.shrink_to_fill import ShrinkToFill
from kit.pretrained.diffusion.shrunk_source import ShrunkSourceWriter
from kit.pretrained.diffusion.sources import SourceWriter, WrittenPart
from kit.pretrained.diffusion.status import SamplingStatus, count_samples
from kit.pretrained.prompts import UNKNOWN, ClassOf, class_in_index, needs_class, templates_of

if TYPE_CHECKING:
    from kit.pretrained.diffusion.sampler import Outcome

BOTH: tuple[PredictionSplit, ...] = ("oof", "test")


def splits_named(split: str) -> tuple[PredictionSplit, ...]:
    """Return the splits that `oof`, `test` or `both` name. Raises `UnknownName` for another word."""
    if split not in (*BOTH, "both"):
        raise UnknownName("split", split, (*BOTH, "both"))
    return tuple(one for one in BOTH if split in (one, "both"))


@dataclass(frozen=True)
class SamplingRequest:
    """A request as it was typed after `kit sd`.

    Attributes:
        model: a folder or a hub id; `variant` and `download`: see `find_model`.
        templates: of prompts.
        samples: of each prompt; None: one to make, all that are there to look at.
        splits: whose photos.
        limit: so many photos of each split; sources are made of whole splits alone.
        name: of the sources.
        matched: match colours when reading samples.
    """

    templates: tuple[str, ...]
    model: str = DEFAULT_MODEL
    variant: str | None = None
    download: bool = False
    samples: int | None = None
    settings: SamplingSettings = field(default_factory=SamplingSettings)
    splits: tuple[PredictionSplit, ...] = BOTH
    limit: int | None = None
    shard: Shard | None = None
    device: str = "auto"
    batch: int | None = None
    low_memory: bool = False
    name: str = "sd"
    matched: bool = True
    force: bool = False
    clip: str | None = None
    """CLIP model that predicts missing class labels; see `kit.pretrained.clip`."""

    def __post_init__(self) -> None:
        checked_source_name("--as", self.name)

    @property
    def command(self) -> str:
        """Return the command that makes these sources again: what was typed, without what does not change them."""
        words = ["kit", "sd", "run", "--model", self.model]
        words += [word for template in self.templates for word in ("--prompt", template)]
        usual = SamplingSettings()
        for setting in fields(SamplingSettings):
            value = getattr(self.settings, setting.name)
            if value != getattr(usual, setting.name):
                words += ["--exact-mask"] if setting.name == "dilated" else [f"--{setting.name}", str(value)]
        words += ["--variant", self.variant] if self.variant else []
        words += [] if self.matched else ["--no-colour-match"]
        words += [] if self.name == "sd" else ["--as", self.name]
        return shlex.join(words)


@dataclass(frozen=True)
class Selection:
    """The samples that `kit sd status` and `kit sd curve` look at; None: of any recipe, or as it was last asked for.

    Attributes:
        settings: those of `SamplingSettings` that are given.
    """

    model: str | None = None
    variant: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    templates: tuple[str, ...] | None = None
    samples: int | None = None
    splits: tuple[PredictionSplit, ...] = BOTH
    limit: int | None = None
    shard: Shard | None = None
    matched: bool | None = None
    clip: str | None = None


@dataclass(frozen=True)
class SamplingSession:
    """A request with its recipe, model and samples in a workspace."""

    project: Project
    request: SamplingRequest
    recipe: SamplingRecipe
    model: DiffusionModel | None
    lacking: KitError | None
    """The reason why there is no model here."""
    cache: Cache
    photos: PhotoSelection
    asked: Asked = field(default_factory=Asked)
    """What was last asked of this recipe."""

    @property
    def specs(self) -> list[SampleSpec]:
        """Return the samples that were asked for."""
        return sample_specs(self.request.templates, self.request.samples or 1)

    @property
    def templates(self) -> tuple[str, ...]:
        """Return those asked for first, then those asked for before."""
        known = known_templates(self.recipe.folder(self.project.workspace))
        return tuple(dict.fromkeys((*self.request.templates, *known)))


def open_session(project: Project, request: SamplingRequest, say: Callable[[str], None]) -> SamplingSession:
    """Find the model, settings and samples of a request.

    Raises:
        KitError: the model cannot be had, and no samples of it are here either.
    """
    workspace, settings = project.workspace, request.settings
    index, model, lacking = project.index, None, None
    try:
        model = find_model(workspace, request.model, variant=request.variant, download=request.download, say=say)
        recipe = stored_recipe(workspace, settings, request.model, model.digest)
        recipe = recipe or SamplingRecipe(_exact(settings, request.device), model.digest, request.model)
    except KitError as error:
        stored = stored_recipe(workspace, settings, request.model)
        if stored is None:
            raise
        recipe, lacking = stored, error
    cache = Cache(recipe.folder(workspace) / "samples").refresh()
    photos = PhotoSelection(index, request.splits, request.limit, _class_of(project, request))
    return SamplingSession(project, request, recipe, model, lacking, cache, photos)


def open_stored(
    project: Project, stored: Sequence[StoredRecipe], selection: Selection, say: Callable[[str], None]
) -> SamplingSession:
    """Open the samples of the last used recipe that fits a selection.

    Raises:
        MissingStep: no samples fit, and no model is named whose samples could be counted as missing.
        KitError: the named model cannot be had, and no samples of it are here either.
    """
    chosen = _newest(project.workspace, stored, selection)
    if chosen is not None:
        return stored_session(project, chosen, selection)
    if selection.model is None:
        which = "that fit these options " if stored else ""
        also = "See: kit sd status. " if stored else ""
        raise MissingStep(f"No samples {which}are here yet. {also}Run: kit sd run --model FOLDER_OR_ID")
    settings = SamplingSettings(**selection.settings)  # type: ignore[arg-type]
    request = SamplingRequest(
        templates_of(selection.templates or ()), selection.model, selection.variant, samples=selection.samples,
        settings=settings, splits=selection.splits, limit=selection.limit, shard=selection.shard, clip=selection.clip,
    )  # fmt: skip
    return open_session(project, request, say)


def _newest(workspace: Workspace, stored: Sequence[StoredRecipe], selection: Selection) -> StoredRecipe | None:
    digest = None
    if selection.model is not None:
        with contextlib.suppress(KitError):  # then its name must do
            digest = find_model(workspace, selection.model, variant=selection.variant).digest
    for one in stored:
        recipe = one.recipe
        same_model = recipe.label == selection.model if digest is None else recipe.model == digest
        same_settings = all(getattr(recipe.settings, name) == value for name, value in selection.settings.items())
        if same_settings and (selection.model is None or same_model):
            return one
    return None


def stored_session(project: Project, stored: StoredRecipe, selection: Selection) -> SamplingSession:
    """Open the samples of a recipe; what the selection leaves open is as it was last asked for."""
    recipe, asked = stored.recipe, stored.asked
    folder = recipe.folder(project.workspace)
    request = SamplingRequest(
        selection.templates or asked.templates or known_templates(folder), recipe.label, selection.variant,
        samples=selection.samples, settings=recipe.settings, splits=selection.splits, limit=selection.limit,
        shard=selection.shard, matched=asked.matched if selection.matched is None else selection.matched,
        clip=selection.clip or asked.clip,
    )  # fmt: skip
    photos = PhotoSelection(project.index, request.splits, request.limit, _class_of(project, request))
    return SamplingSession(project, request, recipe, None, None, Cache(folder / "samples").refresh(), photos, asked)


def _class_of(project: Project, request: SamplingRequest) -> ClassOf:
    """Return the layout's classes, and where it gives none those that a CLIP predicts."""
    photos = {split: project.index.split(photo_split(split)) for split in BOTH}
    lacking = any(not photo_row.klass for photo_rows in photos.values() for photo_row in photo_rows)
    if request.clip is None or not lacking or not any(map(needs_class, request.templates)):
        return class_in_index
    from kit.pretrained.clip.zero_shot import zero_shot_classes
    from kit.pretrained.devices import device_of

    predicted: dict[str, str] = {}
    for split, photo_rows in photos.items():
        names = zero_shot_classes(project, request.clip, photo_split(split), device=device_of(request.device))
        predicted |= {photo_row.id: name for photo_row, name in zip(photo_rows, names, strict=True)}
    return lambda photo_row: photo_row.klass or predicted[photo_row.id]


def _exact(settings: SamplingSettings, device: str) -> SamplingSettings:
    if settings.dtype != "auto":
        return settings
    from kit.pretrained.devices import device_of
    from kit.pretrained.diffusion.pipeline import dtype_on

    return replace(settings, dtype=dtype_on(settings.dtype, device_of(device)))


def sampling_status(session: SamplingSession, *, check: bool = True) -> SamplingStatus:
    """Count what is there of what was asked for; with samples unsaid, of what was last asked for and all that is begun.

    Args:
        check: read every sample, to find what is damaged.
    """
    request, specs = session.request, session.specs
    if request.samples is None:
        number = session.asked.samples
        while any(job.key in session.cache for job in session.photos.jobs(_all(session, number))):
            number += 1
        specs = sample_specs(session.templates, number)
    if check:
        session.cache.check()
    return count_samples(session.cache, session.photos, specs, request.shard)


def _all(session: SamplingSession, number: int) -> list[SampleSpec]:
    return [SampleSpec(template, number) for template in session.templates]


@dataclass
class SamplingResult:
    """Everything that `kit sd run` made and wrote."""

    outcome: Outcome | None = None
    """None: every sample was there."""
    hits: int = 0
    specs: tuple[SampleSpec, ...] = ()
    """Of which the sources are made."""
    written: list[WrittenPart] = field(default_factory=list)
    shrinks: list[tuple[int, ShrinkToFill, bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run(session: SamplingSession) -> SamplingResult:
    """Make what is missing, then the sources of the splits that are whole.

    Raises:
        PredictionsError: photos of which the model gives no picture; all else is done by then.
        KitError: see `make_samples`.
    """
    request, found = session.request, SamplingResult()
    if is_main_process() and session.model is not None:
        asked = Asked(request.templates, request.samples or 1, request.limit, request.matched, request.clip)
        note_asked(session.project.workspace, session.recipe, asked)
    jobs = list(session.photos.jobs(session.specs, request.shard))
    session.cache.check()
    missing = sum(job.key not in session.cache for job in jobs)
    found.hits = len(jobs) - missing
    found.notes += _classless(session)
    if missing:
        found.outcome = _make(session)
        session.cache.refresh()
    _write_sources(session, found)
    if found.outcome is not None and (failed := found.outcome.failed):
        named = ", ".join(dict.fromkeys(job.photo.id for job in failed[:3]))
        raise PredictionsError(
            f"{len(failed)} of {found.outcome.wanted} samples came out black or not finite even in float32, such as "
            f"those of {named}. The others are kept. Try another --scheduler or --seed, or check the model: "
            f"{request.model}"
        )
    return found


def missing_samples(session: SamplingSession) -> int:
    """Return how many of the samples that were asked for are not there."""
    jobs = session.photos.jobs(session.specs, session.request.shard)
    return sum(job.key not in session.cache for job in jobs)


def _make(session: SamplingSession) -> Outcome:
    request = session.request
    if session.model is None:
        assert session.lacking is not None
        raise session.lacking
    from kit.pretrained.devices import device_of
    from kit.pretrained.diffusion.sampler import SamplerOptions, make_samples

    options = SamplerOptions(request.batch, request.low_memory, request.shard, quiet=not is_main_process())
    wanted = (session.photos, session.specs, session.recipe, session.model)
    return make_samples(session.project, *wanted, device_of(request.device), options)


def _classless(session: SamplingSession) -> list[str]:
    if not any(map(needs_class, session.request.templates)):
        return []
    photos = [session.project.index.split(photo_split(split)) for split in session.request.splits]
    without = sum(not session.photos.class_of(photo_row) for photo_rows in photos for photo_row in photo_rows)
    text = f"{without} photos have no class: their prompts say {UNKNOWN!r}. A CLIP can tell: kit sd run --clip MODEL"
    return [text] if without else []


def _write_sources(session: SamplingSession, found: SamplingResult) -> None:
    request, project = session.request, session.project
    if request.limit is not None:
        found.notes.append("No sources: they are made of whole splits, without --limit.")
        return
    splits, specs = _whole(session)
    if not splits:
        found.notes.append("No sources yet: no sample is there of every photo. See: kit sd status")
        return
    found.specs = tuple(specs)
    photos = replace(session.photos, splits=splits, limit=None)
    samples = Samples(session.cache, photos, found.specs, request.matched)
    maker = SourceWriter(project, session.recipe, samples, request.name, request.command, request.force)
    found.written = [written for split in splits for written in maker.write(split)]
    if len(splits) < len(BOTH):
        found.notes.append(f"Sources of {splits[0]} alone: the other split lacks samples.")
    elif project.folds_if_any is None:
        found.notes.append(f"No {request.name}-shrunk: it is fitted on folds. Run: kit folds")
    else:
        found.shrinks = ShrunkSourceWriter(project, request.name, request.command, request.force).write()


def _whole(session: SamplingSession) -> tuple[tuple[PredictionSplit, ...], list[SampleSpec]]:
    """Return splits and specs to make sources of: specs that both splits have whole, else those that one has."""
    for splits in (BOTH, ("oof",), ("test",)):
        photos = replace(session.photos, splits=splits, limit=None)
        if specs := stored_specs(photos, session.cache, session.templates):
            return splits, specs
    return (), []


def evaluate_curve(session: SamplingSession) -> tuple[CurveReport, tuple[SampleSpec, ...]]:
    """Evaluate the m-curve and the prompts of what was asked for, on the training photos that have it.

    With samples unsaid, of all specs that every such photo has; if there is none, of those that the photos of the last
    `--limit` have.

    Raises:
        UsageError: fewer than two samples of each photo.
    """
    photos = replace(session.photos, splits=("oof",))
    if session.request.samples is not None:
        specs = [spec for spec in session.specs if photos.has(session.cache, spec)]
    else:
        specs = stored_specs(photos, session.cache, session.templates)
        if not specs and photos.limit is None and session.asked.limit is not None:
            photos = replace(photos, limit=session.asked.limit)
            specs = stored_specs(photos, session.cache, session.templates)
    samples = Samples(session.cache, photos, tuple(specs), session.request.matched)
    return measure_samples(session.project, samples), samples.specs
