"""A bundle of what is trained, and the way of it to Kaggle: what a machine without a network lacks. Trains nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from kit.bundling import Bundle, Verified, contents_of, make_bundle, metadata_of
from kit.core.storage import can_write, read_json
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.errors import UnknownName, UsageError
from kit.learning.experiments import experiment_from
from kit.learning.experiments.code import package_of
from kit.learning.experiments.groups import SMP_ARCHITECTURES
from kit.remote.push import MACHINES, Pushed, checked_reference, push_dataset, push_notebook
from kit.remote.session import Session

_TIMEOUT = 60.0  # seconds of silence


def bundle_folder(project: Project, name: str | None, out: Path | None) -> Path:
    """Return where a bundle lies. Raises `UsageError` where the usual place cannot be written."""
    contents = contents_of(project, name)
    folder = out or project.workspace.root / "bundles" / contents.name
    if out is None and not can_write(folder):
        raise UsageError(f"{folder} cannot be written. Put it elsewhere: kit bundle {contents.name} --out FOLDER")
    return folder


def make_carried(
    project: Project,
    name: str | None,
    folder: Path,
    *,
    wheels: Sequence[str] = (),
    weights: Sequence[str] = (),
    force: bool = False,
    say: Callable[[str], None] = print,
) -> Bundle:
    """Make a bundle with the packages that its members need and Kaggle's image lacks; see `make_bundle`.

    Args:
        wheels: packages besides these.
        weights: encoders whose ImageNet weights are carried too; `say` hears where they come from.
    """
    contents = contents_of(project, name)
    needed = dict.fromkeys([*wheels, *_lacking(project.workspace, contents.trained)])
    add = partial(_add_weights, models=weights, say=say)
    return make_bundle(project, contents.name, folder, wheels=list(needed), add=add, force=force)


def send_dataset(whole: Verified, folder: Path, reference: str, session: Session) -> Pushed:
    """Make or renew the private dataset of a bundle that was verified. Raises `RemoteError`: see `push_dataset`."""
    notes = f"{whole.document['what']} {whole.document['name']}"
    return push_dataset(session, folder, reference, reference.partition("/")[2].replace("-", " "), notes)


def check_notebook(notebook: str, dataset: str, gpu: str) -> None:
    """Raise `UsageError` for names and machines that Kaggle does not have."""
    if gpu not in MACHINES:
        raise UnknownName("machine", gpu, MACHINES)
    for called, name in (("The notebook", notebook), ("--dataset", dataset)):
        checked_reference(called, name)


def send_notebook(whole: Verified, folder: Path, notebook: str, dataset: str, gpu: str) -> Pushed:
    """Save the notebook of a bundle that was verified on Kaggle, which runs it. Raises `RemoteError`."""
    slug = whole.document["competition"]
    with tempfile.TemporaryDirectory() as temporary:
        sent = shutil.copytree(folder / "notebook", Path(temporary) / "notebook")
        metadata = metadata_of(notebook, dataset, slug, gpu)
        (sent / "kernel-metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
        return push_notebook(session_of(slug), sent)


def session_of(slug: str) -> Session:
    """Return a session that waits as long as uploads need."""
    return Session(slug, timeout=_TIMEOUT)


def _lacking(workspace: Workspace, trained: tuple[Path, ...]) -> list[str]:
    """Return the packages that Kaggle's image lacks and these runs need; refuse runs that need more than packages."""
    stamps = [read_json(workspace.root / path, made_by="kit train --force") for path in trained]
    experiments = [experiment_from(stamp) for stamp in stamps]
    for one in experiments:
        if one.clip_model not in ("none", "thumbnail"):
            raise UsageError(
                f"{one.name} is told what a photo shows by {one.clip_model}, which a bundle does not carry. Blend "
                "without it: kit blend --members NAME,NAME"
            )
    needed = any(one.architecture in SMP_ARCHITECTURES for one in experiments)
    models = dict.fromkeys(package for one in experiments if (package := package_of(one.model)) is not None)
    return [*(["segmentation-models-pytorch"] if needed else []), *models]


def _add_weights(folder: Path, models: Sequence[str], say: Callable[[str], None]) -> None:
    if not models:  # what brings weights needs torch
        return
    from kit.pretrained.weights.managing import get_weights

    for model in models:
        name = model.removeprefix("tu-")
        get_weights(model, folder / "weights" / f"{name}.safetensors", say=say)
