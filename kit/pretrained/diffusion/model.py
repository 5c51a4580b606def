"""A model's folder: a local one or the hub's, checked, and named by its content. Loads nothing into memory, no torch.

Only what a pipeline needs to inpaint is looked at: configs, tokenizers and safetensors; pickled weights are refused,
safety checkers and image encoders left out.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.progress import byte_progress
from kit.core.storage import digest_bytes, digest_of, read_json, write_json
from kit.core.workspace import Workspace
from kit.errors import DamagedStore, MissingStep, StoreError, UsageError, closest_name
from kit.pretrained.diffusion.settings import cache_root
from kit.pretrained.hub import download as download_files
from kit.pretrained.hub import look_up

DEFAULT_MODEL = "stable-diffusion-v1-5/stable-diffusion-inpainting"
LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of a pipeline that inpainting does without."""

_ELSEWHERE = (
    "Without a network: download its folder where there is one, copy it here, and give its path: kit sd run --model "
    "FOLDER"
)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class DiffusionModel:
    """A pipeline on this machine."""

    label: str
    """What the user called it."""
    folder: Path
    digest: str
    kind: str
    """The class that its `model_index.json` names."""
    size: int
    """Bytes."""
    variant: str | None = None

    def weights(self, part: str) -> list[Path]:
        """Return the files of one part's weights."""
        names = _names(self.folder)
        wanted = set(wanted_files(names, self.variant))
        return [self.folder / name for name in _weights(names, part) if name in wanted]

    @property
    def left_out(self) -> list[str]:
        """Return the parts that it has and that are not to be loaded."""
        return [name for name in LEFT_OUT if name in _read_index(self.folder)]


def find_model(
    workspace: Workspace,
    name: str,
    *,
    variant: str | None = None,
    download: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> DiffusionModel:
    """Find the model that `name` means: a folder, or an id of the hub whose files are here or, when asked, are fetched.

    Args:
        variant: of the weights' files, such as `fp16`.
        download: fetch what is not here; `say` hears licence and size first.

    Raises:
        UsageError: `name` is neither, or its folder holds no pipeline.
        MissingStep: the hub has it and `download` is not given; the message tells licence and size.
        RemoteError: the hub does not have it, or does not answer.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(workspace, name, folder, variant)
    if not _HUB_ID.fullmatch(name):
        raise UsageError(
            f"--model {name} is neither a folder nor an id of the hub such as {DEFAULT_MODEL}.{_nearest(folder)}"
        )
    cached = _cached(name, variant)
    if cached is None and folder.parent.is_dir():  # an owner of the hub has no folder here: a path was meant
        raise UsageError(
            f"--model {name}: there is no folder {folder.name} in {folder.parent}.{_nearest(folder)} If it is an id of "
            f"the hub, run the command where there is no {folder.parent}."
        )
    return _checked(workspace, name, cached or _from_hub(name, variant, download, say), variant)


def _nearest(folder: Path) -> str:
    """Ask whether a folder beside the missing one was meant, if one has such a name."""
    try:
        found = closest_name(folder.name, [one.name for one in folder.parent.iterdir() if one.is_dir()])
    except OSError:
        return ""
    return f" Did you mean {folder.parent / found}?" if found else ""


def _cached(name: str, variant: str | None) -> Path | None:
    """Return the newest whole snapshot of a hub id on this machine, that of its main branch first, or None.

    By the documented layout of the hub's cache: its own look-up knows only downloads of everything, by branch.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    branch = folder / "refs" / "main"
    main = branch.read_text().strip() if branch.is_file() else ""
    found = sorted(folder.glob("snapshots/*"), key=lambda path: (path.name == main, path.stat().st_mtime))
    return next((path for path in reversed(found) if _lacking(path, variant) is None), None)


def _from_hub(name: str, variant: str | None, download: bool, say: Callable[[str], None]) -> Path:
    found = look_up(name, elsewhere=_ELSEWHERE)
    wanted = wanted_files(found.sizes, variant)
    if "model_index.json" not in found.sizes or not wanted:
        raise UsageError(f"{name} is no diffusers pipeline: it has no model_index.json. Name another --model.")
    _check_safetensors(name, found.sizes, variant)
    size = sum(found.sizes[file] for file in wanted)
    text = f"{name}: licence {found.licence}, {_gigabytes(size)} to download"
    halves = sum(found.sizes[file] for file in wanted_files(found.sizes, "fp16")) if variant is None else 0
    if halves and _has_variant(found.sizes, "fp16"):
        text += f" ({_gigabytes(halves)} with --variant fp16)"
    if not download:
        raise MissingStep(f"{text}, and not on this machine. Run the same command with --download. {_ELSEWHERE}")
    say(text)
    return download_files(found, wanted, elsewhere=_ELSEWHERE, pin=True)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def wanted_files(names: Iterable[str], variant: str | None) -> list[str]:
    """Return those of a pipeline's files that inpainting needs: the index, and each part's texts and safetensors
    weights.

    A part that has no weights of the variant gives its plain ones, as diffusers does.
    """
    found = []
    names = sorted(names)
    for name in names:
        part, slash, file = name.partition("/")
        if not slash:
            found += [name] if name == "model_index.json" else []
        elif part in LEFT_OUT or "/" in file:
            continue
        elif file.endswith((".json", ".txt", ".model")):
            found.append(name)
        elif file.endswith(".safetensors"):
            has = variant is not None and any(_variant_of(other) == variant for other in _weights(names, part))
            if _variant_of(file) == (variant if has else None):
                found.append(name)
    return found


def _weights(names: Sequence[str], part: str) -> list[str]:
    return [name for name in names if name.startswith(f"{part}/") and name.endswith(".safetensors")]


def _variant_of(name: str) -> str | None:
    """Return `fp16` of `model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors`."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", name.rpartition("/")[2].removesuffix(".safetensors"))
    return stem.partition(".")[2] or None


def _variants(names: Iterable[str]) -> list[str | None]:
    """Return the variants that there are weights of; None, the plain ones, first."""
    found = {_variant_of(name) for name in names if name.endswith(".safetensors")}
    return sorted(found, key=lambda one: (one is not None, one or ""))


def _has_variant(names: Iterable[str], variant: str) -> bool:
    return any(name.endswith(".safetensors") and _variant_of(name) == variant for name in names)


def _check_safetensors(name: str, names: Iterable[str], variant: str | None) -> None:
    """Check that every part with weights has them as safetensors. Raises `UsageError`."""
    names = sorted(names)
    wanted = set(wanted_files(names, variant))
    for part in dict.fromkeys(file.partition("/")[0] for file in names if "/" in file):
        files = [file for file in names if file.startswith(f"{part}/")]
        pickled = any(file.endswith((".bin", ".ckpt", ".pt", ".pth", ".msgpack")) for file in files)
        if part not in LEFT_OUT and pickled and not wanted & set(_weights(names, part)):
            raise UsageError(
                f"{name}: {part} has its weights as pickles alone, which can run code when they are read. Take a model "
                "with .safetensors weights, or convert it where you trust it (save_pretrained writes safetensors)."
            )
    if variant is not None and not _has_variant(names, variant):
        raise UsageError(f"--variant {variant}: {name} has no weights of this variant. Leave --variant out.")


def _lacking(folder: Path, variant: str | None) -> str | None:
    """Return what a folder lacks to be a whole pipeline, or None: an interrupted download leaves a part."""
    if not (folder / "model_index.json").is_file():
        return "model_index.json"
    names = _names(folder)
    wanted = wanted_files(names, variant)
    for part, what in _read_index(folder).items():
        if part.startswith("_") or part in LEFT_OUT or not isinstance(what, list) or not what or what[0] is None:
            continue
        if not any(name.startswith(f"{part}/") for name in names):
            return f"{part}/"
        config = folder / part / "config.json"  # tokenizers and schedulers have none, and no weights either
        if config.is_file() and not any(name in wanted for name in _weights(names, part)):
            return f"{part}/*.safetensors"
    return None


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*") if path.is_file()) + sorted(
        path.relative_to(folder).as_posix() for path in folder.glob("*/*") if path.is_file()
    )


def _read_index(folder: Path) -> dict[str, Any]:
    return read_json(folder / "model_index.json", made_by="kit sd run --model with another folder")


def _checked(workspace: Workspace, label: str, folder: Path, variant: str | None) -> DiffusionModel:
    if not (folder / "model_index.json").is_file():
        raise UsageError(f"--model {label}: {folder} is no diffusers pipeline, it has no model_index.json.")
    names = _names(folder)
    lacks = _lacking(folder, variant)
    others = [one for one in _variants(names) if one != variant and _lacking(folder, one) is None] if lacks else []
    if others:
        advice = f"Give it with --variant {others[0]}." if others[0] else "Leave --variant out."
        raise UsageError(f"--model {label}: {folder} has weights of the variant {others[0] or 'plain'} alone. {advice}")
    _check_safetensors(label, names, variant)
    if lacks is not None:
        raise UsageError(f"--model {label}: {folder} lacks {lacks}. Copy or download the whole pipeline again.")
    kind = str(_read_index(folder).get("_class_name"))
    wanted = wanted_files(names, variant)
    size = sum((folder / name).stat().st_size for name in wanted)
    return DiffusionModel(label, folder, _digest(workspace, folder, wanted), kind, size, variant)


def _digest(workspace: Workspace, folder: Path, wanted: Sequence[str]) -> str:
    """Return the digest of these files' content. What was hashed before and has size and time as then is not read
    again."""
    path = cache_root(workspace) / "models" / f"{digest_bytes(str(folder.resolve()).encode())}.json"
    try:
        known = read_json(path, made_by="kit sd run")
    except StoreError:
        known = {}
    stats = {name: (folder / name).stat() for name in wanted}
    stamps = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    fresh = {name for name, stamp in stamps.items() if known.get(name, {}).get("stamp") != stamp}
    total, done = sum(stats[name].st_size for name in fresh), 0
    found = {}
    with byte_progress("Reading the model") as report:
        for name in wanted:
            if name not in fresh:
                found[name] = known[name]
                continue
            found[name] = {"stamp": stamps[name], "digest": _digest_of_file(folder / name)}
            done += stats[name].st_size
            report(done, total)
    if fresh:
        write_json(path, {**known, **found})
    return digest_of({name: one["digest"] for name, one in found.items()})


def _digest_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DamagedStore(f"{path} cannot be read ({os.strerror(error.errno or 0)}). Copy the model again.") from None
