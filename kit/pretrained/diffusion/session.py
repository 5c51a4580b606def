"""What `kit sd` was asked for, and its three answers: samples and sources, the state of the cache, the m-curve.

Knows how the parts go together. torch is loaded only where a device has to be named or samples are missing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from kit.core.workspace import PredictionSplit, checked_name
from kit.data.prediction_store import photo_split
from kit.data.project import Project
from kit.errors import KitError, PredictionsError, UsageError
from kit.pretrained.diffusion.measure import Measured, measure_samples
from kit.pretrained.diffusion.model import DEFAULT_MODEL, Model, find_model
from kit.pretrained.diffusion.plan import Layer, Photos, Shard, known_layers, known_templates, layers_of
from kit.pretrained.diffusion.sample_store import Cache
from kit.pretrained.diffusion.samples import Samples
from kit.pretrained.diffusion.settings import Recipe, Settings, stored_recipe
from kit.pretrained.diffusion.shrink_to_fill import Shrink
from kit.pretrained.diffusion.shrunk_source import Shrinker
from kit.pretrained.diffusion.sources import SourceMaker, Written
from kit.pretrained.diffusion.status import CacheState, cache_state
from kit.pretrained.prompts import UNKNOWN, ClassOf, class_in_index, needs_class

if TYPE_CHECKING:
    from kit.pretrained.diffusion.sampler import Outcome

BOTH: tuple[PredictionSplit, ...] = ("oof", "test")


@dataclass(frozen=True)
class Request:
    """What the user typed.

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
    settings: Settings = field(default_factory=Settings)
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
    """Who tells the class of photos that the layout gives none; see `kit.pretrained.clip`."""

    def __post_init__(self) -> None:
        if checked_name("--as", self.name) == "all":
            raise UsageError("--as all: all is the word for every source. Take another name.")

    @property
    def command(self) -> str:
        """What makes these sources again: what was typed, without what does not change them."""
        words = ["kit", "sd", "--model", self.model]
        words += [word for template in self.templates for word in ("--prompt", template)]
        usual = Settings()
        for setting in fields(Settings):
            value = getattr(self.settings, setting.name)
            if value != getattr(usual, setting.name):
                words += ["--exact-mask"] if setting.name == "dilated" else [f"--{setting.name}", str(value)]
        words += ["--variant", self.variant] if self.variant else []
        words += [] if self.matched else ["--no-colour-match"]
        words += [] if self.name == "sd" else ["--as", self.name]
        return shlex.join(words)

    @property
    def leads(self) -> bool:
        """Whether this process speaks for all those that share the work."""
        return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class Session:
    """A request with what it means in a workspace."""

    project: Project
    request: Request
    recipe: Recipe
    model: Model | None
    lacking: KitError | None
    """Why there is no model here."""
    cache: Cache
    photos: Photos

    @property
    def layers(self) -> list[Layer]:
        """What was asked for."""
        return layers_of(self.request.templates, self.request.samples or 1)

    @property
    def templates(self) -> tuple[str, ...]:
        """Those asked for first, then those asked for before."""
        known = known_templates(self.recipe.folder(self.project.workspace))
        return tuple(dict.fromkeys((*self.request.templates, *known)))


def open_session(project: Project, request: Request, say: Callable[[str], None]) -> Session:
    """Find model, settings and samples of a request.

    Raises:
        KitError: the model cannot be had, and no samples of it are here either.
    """
    workspace, settings = project.workspace, request.settings
    index, model, lacking = project.index, None, None
    try:
        model = find_model(workspace, request.model, variant=request.variant, download=request.download, say=say)
        recipe = stored_recipe(workspace, settings, request.model, model.digest)
        recipe = recipe or Recipe(_exact(settings, request.device), model.digest, request.model)
    except KitError as error:
        stored = stored_recipe(workspace, settings, request.model)
        if stored is None:
            raise
        recipe, lacking = stored, error
    cache = Cache(recipe.folder(workspace) / "samples").refresh()
    photos = Photos(index, request.splits, request.limit, _class_of(project, request))
    return Session(project, request, recipe, model, lacking, cache, photos)


def _class_of(project: Project, request: Request) -> ClassOf:
    """The layout's classes, and where it gives none those that a CLIP tells."""
    photos = {split: project.index.split(photo_split(split)) for split in BOTH}
    lacking = any(not sample.klass for samples in photos.values() for sample in samples)
    if request.clip is None or not lacking or not any(map(needs_class, request.templates)):
        return class_in_index
    from kit.pretrained.clip import zero_shot_classes
    from kit.pretrained.devices import device_of

    told: dict[str, str] = {}
    for split, samples in photos.items():
        names = zero_shot_classes(project, request.clip, photo_split(split), device=device_of(request.device))
        told |= {sample.id: name for sample, name in zip(samples, names, strict=True)}
    return lambda sample: sample.klass or told[sample.id]


def _exact(settings: Settings, device: str) -> Settings:
    if settings.dtype != "auto":
        return settings
    from kit.pretrained.devices import device_of
    from kit.pretrained.diffusion.pipeline import dtype_on

    return replace(settings, dtype=dtype_on(settings.dtype, device_of(device)))


def state_of(session: Session) -> CacheState:
    """What is there of what was asked for; with samples unsaid, of every layer that is begun."""
    request, layers = session.request, session.layers
    if request.samples is None:
        number = 1
        while any(job.key in session.cache for job in session.photos.jobs(_all(session, number))):
            number += 1
        layers = layers_of(session.templates, number)
    session.cache.check()
    return cache_state(session.cache, session.photos, layers, request.shard)


def _all(session: Session, number: int) -> list[Layer]:
    return [Layer(template, number) for template in session.templates]


@dataclass
class Answer:
    """What `kit sd` did."""

    outcome: Outcome | None = None
    """None: every sample was there."""
    hits: int = 0
    layers: tuple[Layer, ...] = ()
    """Of which the sources are made."""
    written: list[Written] = field(default_factory=list)
    shrinks: list[tuple[int, Shrink, bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def answer(session: Session) -> Answer:
    """Make what is missing, then the sources of the splits that are whole.

    Raises:
        PredictionsError: photos of which the model gives no picture; all else is done by then.
        KitError: see `make_samples`.
    """
    request, found = session.request, Answer()
    jobs = list(session.photos.jobs(session.layers, request.shard))
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


def _make(session: Session) -> Outcome:
    request = session.request
    if session.model is None:
        assert session.lacking is not None
        raise session.lacking
    from kit.pretrained.devices import device_of
    from kit.pretrained.diffusion.sampler import Options, make_samples

    options = Options(request.batch, request.low_memory, request.shard, quiet=not request.leads)
    parts = (session.project.workspace, session.project.pack, session.photos, session.layers)
    return make_samples(*parts, session.recipe, session.model, device_of(request.device), options)


def _classless(session: Session) -> list[str]:
    if not any(map(needs_class, session.request.templates)):
        return []
    photos = [session.project.index.split(photo_split(split)) for split in session.request.splits]
    without = sum(not session.photos.class_of(sample) for samples in photos for sample in samples)
    text = f"{without} photos have no class: their prompts say {UNKNOWN!r}. A CLIP can tell: kit sd --clip MODEL"
    return [text] if without else []


def _write_sources(session: Session, found: Answer) -> None:
    request, project = session.request, session.project
    if request.limit is not None:
        found.notes.append("No sources: they are made of whole splits, without --limit.")
        return
    splits, layers = _whole(session)
    if not splits:
        found.notes.append("No sources yet: no layer of samples is whole. See: kit sd --status")
        return
    found.layers = tuple(layers)
    photos = replace(session.photos, splits=splits, limit=None)
    samples = Samples(session.cache, photos, found.layers, request.matched)
    maker = SourceMaker(project, session.recipe, samples, request.name, request.command, request.force)
    found.written = [written for split in splits for written in maker.write(split)]
    if len(splits) < len(BOTH):
        found.notes.append(f"Sources of {splits[0]} alone: the other split lacks samples.")
    elif project.folds_if_any is None:
        found.notes.append(f"No {request.name}-shrunk: it is fitted on folds. Run: kit folds")
    else:
        found.shrinks = Shrinker(project, request.name, request.command, request.force).write()


def _whole(session: Session) -> tuple[tuple[PredictionSplit, ...], list[Layer]]:
    """Splits and layers to make sources of: layers that both splits have, else those that one has."""
    for splits in (BOTH, ("oof",), ("test",)):
        photos = replace(session.photos, splits=splits, limit=None)
        if layers := known_layers(photos, session.cache, session.templates):
            return splits, layers
    return (), []


def measured(session: Session) -> tuple[Measured, tuple[Layer, ...]]:
    """The m-curve and the prompts of what was asked for, on the training photos that have it.

    With samples unsaid, of all layers that every such photo has.

    Raises:
        UsageError: fewer than two samples of each photo.
    """
    photos = replace(session.photos, splits=("oof",))
    if session.request.samples is not None:
        layers = [layer for layer in session.layers if photos.has(session.cache, layer)]
    else:
        layers = known_layers(photos, session.cache, session.templates)
    samples = Samples(session.cache, photos, tuple(layers), session.request.matched)
    return measure_samples(session.project, samples), samples.layers
