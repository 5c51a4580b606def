"""Every stored file read whole and compared with the digest that was noted when it was written. Changes nothing.

Reading checks lengths and shapes alone, for speed (docs/DESIGN.md): a value that was edited in place, or a bit that a
disk has lost, is found here.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kit.blending import read_blend
from kit.core.parallel import map_in_order
from kit.core.progress import track
from kit.core.storage import digest_bytes, digest_file, read_json
from kit.core.tables import Shown
from kit.core.workspace import Split, Workspace
from kit.data.index import PhotoRow
from kit.data.prediction_store import SPLITS, SourceKind
from kit.data.project import Project
from kit.errors import KitError
from kit.imaging.fills import FILLS
from kit.imaging.images import decode_image
from kit.submission.ledger import read_ledger
from kit.submission.write import sample_of

_BLOCK = 1 << 20


class Read(NamedTuple):
    """One thing that was read."""

    path: Path
    bytes: int
    problem: str
    """What is wrong, with the command that mends it; "" where nothing is."""


@dataclass(frozen=True)
class Verified(Shown):
    """What was read, and what was wrong with it."""

    files: int
    bytes: int
    problems: tuple[str, ...]


def verify_workspace(project: Project) -> Verified:
    """Read everything that has a digest: the competition's photos, index, pack, folds, weights and own code of runs,
    predictions, samples, blends, and submissions that the ledger names.

    Raises:
        MissingStep: there is no index; without one nothing can be told of the rest.
    """
    workspace = project.workspace
    photos = len(project.index.train) + len(project.index.test)
    weights, parts = _weights(workspace), _parts(project)
    large = itertools.chain(_check_photos(project), map(_check_weights, weights), map(_check_part, parts))
    done = list(track(large, "Verifying", photos + len(weights) + len(parts), "photos and files"))
    done += [*_check_sample_submission(project), *_check_halves(project)]
    done += [*_check_folds(project), *_check_code(workspace), *_check_samples(workspace)]
    done += [*_check_blends(workspace), *_check_submissions(workspace)]
    problems = tuple(one.problem for one in done if one.problem)
    return Verified(len(done), sum(one.bytes for one in done), problems)


def _check_photos(project: Project) -> Iterator[Read]:
    """Compare each photo's files with the index, and its rows in the pack with its files."""
    splits: tuple[Split, Split] = ("train", "test")
    photos = [(split, position, row) for split in splits for position, row in enumerate(project.index.split(split))]
    # threads: reading and decoding release the interpreter's lock
    return map_in_order(functools.partial(_check_photo, project), photos)


def _check_photo(project: Project, photo: tuple[Split, int, PhotoRow]) -> Read:
    split, position, row = photo
    paths = [project.workspace.raw / name for name in (row.image, row.target) if name]
    try:
        files = [path.read_bytes() for path in paths]
        if digest_bytes(b"".join(files)) != row.digest:
            what = f"{paths[0]}{' or its whole photo' if row.target else ''}"
            return Read(paths[0], 0, f"{what} has changed since it was fetched. Fetch it again: kit fetch --force")
        pictures = [decode_image(data, path) for data, path in zip(files, paths, strict=True)]
        pictures[0][row.hole] = 0
        pack, layout = project.pack, project.layout
        stored = [pack.image(split)[position], *([pack.train_target[position]] if row.target else [])]
        ranges = [(layout.value_range(pictures[0], row.hole), pack.estimated_range(split)[position])]
        if row.target:
            ranges.append((layout.value_range(pictures[1], None), pack.train_value_range[position]))
    except FileNotFoundError as error:
        return Read(paths[0], 0, f"{error.filename} is missing. Fetch it again: kit fetch --force")
    except (KitError, OSError) as error:
        return Read(paths[0], 0, str(error))
    is_same = all(np.array_equal(mine, there) for mine, there in [*zip(pictures, stored, strict=True), *ranges])
    line = f"{project.workspace.pack} does not hold {row.id} as its file has it. Run: kit fetch --force"
    return Read(paths[0], sum(map(len, files)), "" if is_same else line)


def _check_sample_submission(project: Project) -> Iterator[Read]:
    """Compare the competition's sample submission with what was fetched."""
    if project.layout.sample:
        yield _attempt(project.workspace.raw / project.layout.sample, functools.partial(_wrong_sample, project))


def _wrong_sample(project: Project) -> str:
    sample_of(project.workspace, project.layout)  # raises
    return ""


def _check_halves(project: Project) -> Iterator[Read]:
    """Find parts of which one file, values or manifest, is missing, and sources of which a half is."""
    store = project.predictions
    for source in store.sources():
        found = {}
        for split in SPLITS:
            folder = store.workspace.source(source, split)
            names = [{path.stem for path in folder.glob(f"*.{suffix}")} for suffix in ("npy", "json")]
            found[split] = names[0] & names[1]
            for part in sorted(names[0] ^ names[1]):
                lacking = folder / f"{part}.{'json' if part in names[0] else 'npy'}"
                yield Read(lacking, 0, f"{lacking} is missing. Make it again: {_command_of(source)}")
        absent = [split for split in SPLITS if not found[split]]
        if len(absent) == 1 and source in FILLS:
            yield Read(folder, 0, f"{source} lacks its {absent[0]} predictions. Make them again: {_command_of(source)}")


def _command_of(source: str) -> str:
    return f"kit fill {source} --force" if source in FILLS else "kit sources, which says how"


def _check_folds(project: Project) -> Iterator[Read]:
    if project.workspace.folds.is_file():
        yield _attempt(project.workspace.folds, functools.partial(_wrong_folds, project))


def _wrong_folds(project: Project) -> str:
    project.folds  # noqa: B018  # raises
    return ""


def _attempt(path: Path, find: Callable[[], str]) -> Read:
    """Return what a function says of a file, or how it failed."""
    try:
        return Read(path, path.stat().st_size if path.is_file() else 0, find())
    except (KitError, OSError, ValueError) as error:
        return Read(path, 0, f"{path}: {error}" if str(path) not in str(error) else str(error))


def _weights(workspace: Workspace) -> list[Path]:
    """Return all trained models that have a digest beside them."""
    return [path for path in sorted(workspace.runs.glob("*/fold_*/model.safetensors")) if _note_of(path).is_file()]


def _note_of(path: Path) -> Path:
    stack = path.with_name("stack.json")
    return stack if stack.is_file() else path.with_name("run.json")


def _check_weights(path: Path) -> Read:
    """Compare a trained model with the digest beside it."""
    return _attempt(path, functools.partial(_wrong_weights, path))


def _wrong_weights(path: Path) -> str:
    name, fold, note = path.parent.parent.name, path.parent.name.removeprefix("fold_"), _note_of(path)
    again = "kit blend --stack --force" if note.name == "stack.json" else f"kit train {name} --fold {fold} --force"
    noted = read_json(note, made_by=again).get("weights")
    if noted in (None, digest_file(path)):
        return ""
    return f"{path} is not as it was written (its digest differs). Make it again: {again}"


def _check_code(workspace: Workspace) -> Iterator[Read]:
    """Compare the code of the user's own in each run with the digest that its experiment names."""
    from kit.learning.experiments import experiment_from, own_code, wrong_copy

    for path in sorted(workspace.runs.glob("*/fold_*/experiment.json")):
        again = f"kit train {path.parent.parent.name} --fold {path.parent.name.removeprefix('fold_')} --force"
        try:
            code = own_code(experiment_from(read_json(path, made_by=again)))
        except (KitError, KeyError, TypeError, ValueError):  # which is said where it is used
            continue
        for file, reference in code.items():
            copy, wrong = path.parent / file, wrong_copy(path.parent / file, reference)
            line = f"{copy} {wrong}. Do not run it; put it back, or train again: {again}"
            yield Read(copy, copy.stat().st_size if copy.is_file() else 0, line if wrong else "")


def _parts(project: Project) -> list[Path]:
    """Return all stored predictions that have a manifest."""
    store = project.predictions
    paths = [
        sorted(store.workspace.source(source, split).glob("*.npy")) for source in store.sources() for split in SPLITS
    ]
    return [path for path in itertools.chain(*paths) if path.with_suffix(".json").is_file()]


def _check_part(path: Path) -> Read:
    """Compare a part's values with its manifest."""
    return _attempt(path, functools.partial(_wrong_values, path))


def _wrong_values(path: Path) -> str:
    command = _command_of(path.parent.parent.name)
    manifest = read_json(path.with_suffix(".json"), made_by=command)
    again, recipe = str(manifest.get("made_by", command)), manifest.get("recipe")
    if isinstance(recipe, dict) and recipe.get("kind") == SourceKind.FILL and "--force" not in again:
        again += " --force"
    try:
        is_same = _digest_of_values(path) == manifest.get("digest")
    except (ValueError, EOFError):  # not even the beginning of an array
        is_same = False
    return "" if is_same else f"{path} holds other values than were written. Make it again: {again}"


def _digest_of_values(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()[:16]


def _check_samples(workspace: Workspace) -> Iterator[Read]:
    """Check every sample of Stable Diffusion against its checksum."""
    from kit.pretrained.diffusion.sample_store import Cache

    for folder in sorted((workspace.root / "sd").glob("*/samples")):
        damaged = Cache(folder).refresh().check()
        line = f"{folder}: {damaged} samples are damaged and count as missing. Make them again: kit sd run"
        yield Read(folder, sum(path.stat().st_size for path in folder.iterdir()), line if damaged else "")


def _check_blends(workspace: Workspace) -> Iterator[Read]:
    for path in sorted(workspace.blends.glob("*.json")):
        yield _attempt(path, functools.partial(_wrong_blend, workspace, path.stem))


def _wrong_blend(workspace: Workspace, name: str) -> str:
    read_blend(workspace, name)
    return ""


def _check_submissions(workspace: Workspace) -> Iterator[Read]:
    """Compare files that were sent with what the ledger noted, by the last row of each."""
    try:
        rows = {row.file: row for row in read_ledger(workspace)}
    except (KitError, OSError) as error:
        yield Read(workspace.ledger, 0, str(error))
        return
    for row in rows.values():
        path = workspace.submissions / row.file
        if path.is_file() and row.digest:
            line = (
                f"{path} is not what was sent at {row.when}: it was written again or edited since. See: kit submissions"
            )
            yield Read(path, path.stat().st_size, "" if digest_file(path) == row.digest else line)
