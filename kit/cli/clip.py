"""`kit clip`: vectors of photos, and what they are good for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli import app
from kit.cli.options import DeviceOption, ForceOption, JsonOption, project_of

if TYPE_CHECKING:
    from kit.core.workspace import Split
    from kit.data.project import Project
    from kit.pretrained.clip import Model, Prompt, ZeroShot


@app.command()
def clip(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--model", help="thumbnail, a folder, OWNER/NAME of the hub, or timm:MODEL:WEIGHTS_FILE.")
    ] = "thumbnail",
    download: Annotated[bool, typer.Option("--download", help="Fetch from the hub what is not here.")] = False,
    classes: Annotated[bool, typer.Option("--classes", help="Tell the class of each photo.")] = False,
    names: Annotated[str | None, typer.Option("--names", help="Class names with commas between.")] = None,
    prompts: Annotated[list[str], typer.Option("--prompts", help="Prompt to compare, may be repeated.")] = [],  # noqa: B006
    neighbours: Annotated[bool, typer.Option("--neighbours", help="Make the source clip-neighbours.")] = False,
    k: Annotated[int, typer.Option("--k", help="Neighbours of each photo.")] = 32,
    rename: Annotated[str | None, typer.Option("--as", help="Store the neighbours under this name.")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Vectors of the visible part of each photo, computed once, and what they are good for.

    The built-in `thumbnail` needs no weights. A CLIP is a folder in the hub's format, a model of the hub (licence and
    size are said first, and nothing is fetched without --download), or a vision encoder of timm with its weights file.
    `kit train --set clip=MODEL` tells networks what a photo shows; `kit sd --clip MODEL` asks for missing classes.

    \b
    Examples:
      kit clip --model openai/clip-vit-base-patch32 --download
      kit clip --model clip-vit-base-patch32 --classes            # a folder
      kit clip --model clip-vit-base-patch32 --classes --names cat,dog,elephant,tiger --prompts "a photo of a {class}"
      kit clip --model clip-vit-base-patch32 --prompts "Real image of an {animal}, no text" --prompts "a {class}"
      kit clip --neighbours                                       # a source, by thumbnails
      kit clip --model clip-vit-base-patch32 --neighbours --k 16 --as clip-neighbours-16
    """
    project = project_of(context)
    from kit.errors import UsageError

    if rename is not None and not neighbours:
        raise UsageError(f"--as {rename} names a source: it goes with --neighbours.")
    found = _model(model, download)
    from kit.pretrained.devices import device_named

    place = device_named(device)
    if neighbours:
        _neighbours(project, found, k, rename, place, force)
    if classes:
        _classes(project, found, names, prompts, place, as_json)
    elif prompts:
        _prompts(project, found, prompts, place, as_json)
    elif not neighbours:
        _embed(project, found, place)


def _model(text: str, download: bool) -> Model:
    from kit.pretrained.clip.model import find_model, is_repository
    from kit.pretrained.hub import fetch

    if is_repository(text):
        fetch(text, download=download, say=lambda line: print(line, file=sys.stderr))
    return find_model(text)


def _embed(project: Project, model: Model, device: Any) -> None:
    from kit.pretrained.clip.embeddings import SPLITS, image_store, photo_embeddings

    parts = (project.workspace, project.index, project.pack, model)
    train, test = (photo_embeddings(*parts, split, device=device) for split in SPLITS)
    folder = image_store(project.workspace, model.digest, model.text).folder
    print(
        f"{len(train)} training and {len(test)} test photos by {model.text}, {train.shape[1]} numbers each, in {folder}"
    )


def _neighbours(project: Project, model: Model, k: int, rename: str | None, device: Any, force: bool) -> None:
    from kit.pretrained.clip.neighbours import NAME, make_neighbours

    name = rename or NAME
    made = make_neighbours(project, model, k=k, name=name, device=device, force=force)
    used = min(k, len(project.index.train))
    print(f"{'Filled' if made else 'There already'}: {name}, by the {used} nearest of {model.text}")


def _classes(project: Project, model: Model, names: str | None, prompts: list[str], device: Any, as_json: bool) -> None:
    from kit.errors import UsageError
    from kit.pretrained.clip import TEMPLATE, zero_shot
    from kit.pretrained.clip.embeddings import SPLITS

    chosen = [name.strip() for name in (names or "").split(",") if name.strip()]
    if names is not None and not chosen:
        raise UsageError(f"--names {names!r} names no class. Name them: --names cat,dog,tiger")
    told = {
        split: zero_shot(project, model, split, names=chosen, templates=prompts or [TEMPLATE], device=device)
        for split in SPLITS
    }
    if as_json:
        from kit.cli.results import print_json

        ids = {split: [sample.id for sample in project.index.split(split)] for split in told}
        print_json({split: dict(zip(ids[split], one.chosen, strict=True)) for split, one in told.items()})
    else:
        print(_classes_table(told))


def _classes_table(told: Mapping[Split, ZeroShot]) -> str:
    from kit.cli.tables import table

    rows = []
    for split, one in told.items():
        for klass in sorted(set(one.known)):
            photos = [chosen for chosen, known in zip(one.chosen, one.known, strict=True) if known == klass]
            counts = [str(photos.count(name)) for name in one.names]
            rows.append([split, klass or "(not told)", str(len(photos)), *counts])
    lines = [table(["split", "class", "photos", *(f"as {name}" for name in told["train"].names)], rows)]
    for split, one in told.items():
        if one.told:
            lines.append(f"Right on {one.agreement:.1%} of the {one.told} {split} photos whose class is known.")
    return "\n".join(lines)


def _prompts(project: Project, model: Model, prompts: list[str], device: Any, as_json: bool) -> None:
    from kit.pretrained.clip import search_prompts

    found = search_prompts(project, model, prompts, rmse=_rmse_by_prompt(project, prompts), device=device)
    if as_json:
        from kit.cli.results import print_json

        print_json(found)
    else:
        print(_prompts_table(found))


def _prompts_table(found: list[Prompt]) -> str:
    from kit.cli.tables import table

    classes = list(found[0].by_class)
    rows = [
        [
            one.template,
            "-" if one.rmse is None else f"{one.rmse:.4f}",
            f"{one.similarity:.4f}",
            *(f"{one.by_class[klass]:.4f}" for klass in classes),
        ]
        for one in found
    ]
    return table(["prompt", "OOF RMSE", "similarity", *(klass or "(no class)" for klass in classes)], rows)


def _rmse_by_prompt(project: Project, prompts: list[str]) -> dict[str, float]:
    """OOF RMSE of one sample of `kit sd` by prompt, where there is such a source: kit sd --prompt P --as NAME."""
    from kit.data.prediction_store import list_sources, read_manifest

    made = {}
    for source in list_sources(project.workspace):
        manifest = read_manifest(project.workspace, source, "oof", None)
        layers = (manifest or {}).get("recipe", {}).get("layers")
        template = layers[0].get("template") if isinstance(layers, list) and len(layers) == 1 else None
        if template in prompts:
            made[source] = template
    if not made:
        return {}
    from kit.blending import score_sources

    scores = score_sources(project.workspace, project.index, project.folds, project.pack)
    found: dict[str, float] = {}
    for one in scores:
        if one.name in made and one.score is not None:
            found[made[one.name]] = min(one.score.value, found.get(made[one.name], float("inf")))
    return found
