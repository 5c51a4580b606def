"""Which files of a workspace a blend or a source needs to predict elsewhere. Reads manifests, no networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.blending import read_blend
from kit.core.storage import read_json
from kit.core.workspace import FULL, Fold
from kit.data.prediction_store import CALLED, SourceKind
from kit.data.project import Project
from kit.errors import MissingStep, UnknownName, UsageError

_PHOTOS = ("_image.npy", "_target.npy")  # the competition's own pictures stay behind: they are read where they lie


@dataclass(frozen=True)
class Contents:
    """What is to be carried."""

    what: str
    """`blend` or `source`."""
    name: str
    members: tuple[str, ...]
    """Sources that are predicted: fills and trained ones, and those that a mean is made of."""
    files: tuple[Path, ...]
    """Relative to the workspace."""
    trained: tuple[Path, ...]
    """The `experiment.json` of each run among them, relative to the workspace."""


def contents_of(project: Project, name: str | None) -> Contents:
    """Return what a blend (default: the newest) or a source needs.

    Raises:
        UnknownName: there is neither a blend nor a source of that name.
        UsageError: a member cannot be predicted elsewhere, because no network or fill of kit's made it.
        MissingStep: there is no blend, or a member's weights are gone.
    """
    workspace = project.workspace
    sources = project.predictions.sources()
    if name in sources:
        what, chosen, used, files = "source", str(name), [str(name)], []
    else:
        blends = sorted(path.stem for path in workspace.blends.glob("*.json"))
        if name is not None and name not in blends:
            raise UnknownName("blend or source", name, [*blends, *sources])
        if not blends:
            raise MissingStep("There is no blend to carry. Run: kit blend, or name a source: kit bundle NAME")
        blend = read_blend(workspace, name)
        what, chosen, used = "blend", blend.name, [blend.members[k].name for k in blend.recipe.used]
        files = [workspace.blend(blend.name)]
    members = _with_parts_of_means(project, used)
    runs = [path for member in members for path in _run_files(project, member)]
    files += [*_project_files(project), *(path for member in members for path in _manifests(project, member)), *runs]
    relative = tuple(sorted({path.relative_to(workspace.root) for path in files}))
    trained = tuple(path for path in relative if path.name == "experiment.json")
    return Contents(what, chosen, tuple(members), relative, trained)


def _with_parts_of_means(project: Project, names: list[str]) -> list[str]:
    """Return the sources and, after each mean of seeds, what it is the mean of."""
    found: list[str] = []
    for name in names:
        found.append(name)
        if project.predictions.kind_of(name) == SourceKind.MEAN:
            manifests = sorted((project.workspace.predictions / name).glob("*/*.json"))
            recipe = read_json(manifests[0], made_by=f"kit train {name.removesuffix('-mean')} --fold all --mean")
            found += _with_parts_of_means(project, recipe["recipe"]["members"])
    return list(dict.fromkeys(found))


def _project_files(project: Project) -> list[Path]:
    workspace = project.workspace
    small = [path for path in sorted(workspace.pack.iterdir()) if not path.name.endswith(_PHOTOS)]
    folds = sorted(workspace.folds.parent.glob(f"{workspace.folds.stem}.*")) if project.folds_if_any else []
    index = [path for path in sorted(workspace.data.iterdir()) if path.is_file()]
    return [path for path in (*index, *small, *folds) if path.is_file()]


def _manifests(project: Project, name: str) -> list[Path]:
    return sorted((project.workspace.predictions / name).glob("*/*.json"))


def _run_files(project: Project, name: str) -> list[Path]:
    """Return the weights of every fold of a trained source; nothing for a fill or a mean, which have none."""
    kind = project.predictions.kind_of(name)
    if kind in (SourceKind.FILL, SourceKind.MEAN):
        return []
    if kind != SourceKind.EXPERIMENT:
        called = CALLED[kind] if kind else "no source"
        raise UsageError(
            f"{name} is {called}, which cannot be made anew of photos that nobody has seen yet. Blend without it: "
            "kit blend --members NAME,NAME"
        )
    found: list[Path] = []
    folds: list[Fold] = [*range(project.folds.k)]
    if project.workspace.run(name, FULL).is_dir():
        folds.append(FULL)
    for fold in folds:
        folder = project.workspace.run(name, fold)
        for file in ("experiment.json", "run.json", "model.safetensors", *_code_of(folder)):
            if not (folder / file).is_file():
                raise MissingStep(f"{folder / file} is gone. Run: kit train {name} --fold {fold}")
            found.append(folder / file)
    return found


def _code_of(folder: Path) -> list[str]:
    """Return the copy of a model of the user's own, where a run has one: it is run where photos are predicted."""
    path = folder / "experiment.json"
    model = str(read_json(path, made_by="kit train")["experiment"].get("model", "none")) if path.is_file() else "none"
    return [] if model == "none" or ":" in model else ["model.py"]  # with a colon it is an installed package's
