"""`kit clip`: vectors of photos, and what is made of them: classes, prompts, a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app
from kit.cli.answers import answers
from kit.cli.options import DeviceOption, ForceOption, JsonOption, project_of
from kit.cli.verbs import CONTEXT, VerbGroup
from kit.core.speech import say

if TYPE_CHECKING:
    from kit.core.workspace import Split
    from kit.pretrained.clip.model import ClipModel
    from kit.pretrained.clip.zero_shot import PromptScore, ZeroShot


_TITLE = 20  # columns of a class's name where it is a title


class _ClipVerbs(VerbGroup):
    usual = "embed"
    flags = {"--neighbours": "neighbours", "--classes": "classes", "--prompts": "prompts"}  # noqa: RUF012  # ClassVar
    renamed = {("classes", "--prompts"): "--prompt", ("prompts", "--prompts"): ""}  # noqa: RUF012


verbs = typer.Typer(cls=_ClipVerbs, rich_markup_mode=None, context_settings=CONTEXT)
app.add_typer(verbs, name="clip", short_help="CLIP vectors of the photos, and what they tell.")

ModelOption = Annotated[
    str, typer.Option("--model", help="thumbnail, a folder, OWNER/NAME of the hub, or timm:MODEL:WEIGHTS_FILE.")
]
DownloadOption = Annotated[bool, typer.Option("--download", help="Fetch from the hub what is not here.")]


@verbs.callback()
def clip() -> None:
    """Compute vectors of the visible part of each photo, and use them.

    The built-in `thumbnail` needs no weights. A CLIP is a folder in the hub's format, a model of the hub (licence and
    size are said first, and nothing is fetched without --download), or a vision encoder of timm with its weights file.
    `kit train --set clip_model=MODEL` lets networks see a photo's vector; `kit sd run --clip MODEL` predicts missing
    classes.

    \b
    Examples:
      kit clip embed --model openai/clip-vit-base-patch32 --download
      kit clip classes --model clip-vit-base-patch32                    # a folder
      kit clip prompts "a {class}" "a photo of a {class}" --model clip-vit-base-patch32
      kit clip neighbours --model timm:tf_efficientnet_lite0:weights.safetensors
    """


@verbs.command(short_help="Compute each photo's vector.")
@answers
def embed(
    context: typer.Context,
    model: ModelOption = "thumbnail",
    download: DownloadOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> object:
    """Compute the vector of each photo's visible part; those that are stored stay.

    \b
    Examples:
      kit clip embed                                                    # by thumbnails
      kit clip embed --model openai/clip-vit-base-patch32 --download
    """
    project, found = project_of(context), _model(model, download)
    from kit.pretrained.clip.embeddings import SPLITS, image_store, photo_embeddings
    from kit.pretrained.devices import device_named

    place = device_named(device)
    train, test = (photo_embeddings(project, found, split, device=place) for split in SPLITS)
    folder = image_store(project.workspace, found.digest, found.text).folder
    print(
        f"{len(train)} training and {len(test)} test photos by {found.text}, {train.shape[1]} numbers each, in {folder}"
    )
    counts = {"train": len(train), "test": len(test), "numbers": train.shape[1]}
    return {"model": found.text, "digest": found.digest, **counts, "folder": folder}


@verbs.command(short_help="Predict each photo's class.")
def classes(
    context: typer.Context,
    model: ModelOption = "thumbnail",
    names: Annotated[str | None, typer.Option("--names", help="Class names with commas between.")] = None,
    prompts: Annotated[
        list[str], typer.Option("--prompt", help="Template with {class} in it; several are averaged.")
    ] = [],  # noqa: B006  # Typer wants a plain list, and no one changes it
    download: DownloadOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Predict the class of each photo, and count how often that is right where the class is known.

    \b
    Examples:
      kit clip classes --model clip-vit-base-patch32
      kit clip classes --model clip-vit-base-patch32 --names cat,dog,tiger --prompt "a photo of a {class}"
    """
    from kit.errors import UsageError

    project, found = project_of(context), _model(model, download)
    chosen = [name.strip() for name in (names or "").split(",") if name.strip()]
    if names is not None and not chosen:
        raise UsageError(f"--names {names!r} names no class. Name them: --names cat,dog,tiger")
    from kit.pretrained.clip.embeddings import SPLITS
    from kit.pretrained.clip.zero_shot import TEMPLATE, zero_shot
    from kit.pretrained.devices import device_named

    place = device_named(device)
    predicted = {
        split: zero_shot(project, found, split, names=chosen, templates=prompts or [TEMPLATE], device=place)
        for split in SPLITS
    }
    if as_json:
        from kit.cli.results import print_json

        ids = {split: [photo_row.id for photo_row in project.index.split(split)] for split in predicted}
        print_json({split: dict(zip(ids[split], one.chosen, strict=True)) for split, one in predicted.items()})
    else:
        print(_classes_table(predicted))


@verbs.command(short_help="Compare prompts with the photos.")
def prompts(
    context: typer.Context,
    templates: Annotated[list[str], typer.Argument(metavar="PROMPT", help="Templates with or without {class}.")],
    model: ModelOption = "thumbnail",
    download: DownloadOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare prompts: their similarity to the training photos, and the RMSE of what `kit sd run` drew by them.

    \b
    Examples:
      kit clip prompts "Real image of an {animal}, no text" "a {class}" --model clip-vit-base-patch32
    """
    project, found = project_of(context), _model(model, download)
    from kit.blending.by_prompt import rmse_by_prompt
    from kit.pretrained.clip.zero_shot import search_prompts
    from kit.pretrained.devices import device_named

    rmse = rmse_by_prompt(project, templates)
    ranked = search_prompts(project, found, templates, rmse=rmse, device=device_named(device))
    if as_json:
        from kit.cli.results import print_json

        print_json(ranked)
    else:
        print(_prompts_table(ranked))


@verbs.command(short_help="Correct a fill by similar photos: a source.")
@answers
def neighbours(
    context: typer.Context,
    model: ModelOption = "thumbnail",
    k: Annotated[int, typer.Option("--k", help="Neighbours of each photo.")] = 32,
    rename: Annotated[str | None, typer.Option("--as", help="Store the source under this name.")] = None,
    download: DownloadOption = False,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> object:
    """Make the source clip-neighbours: the fill, corrected by the most similar photos of other folds.

    It takes an encoder that has learnt from photos to gain anything over `fractional`.

    \b
    Examples:
      kit clip neighbours --model timm:tf_efficientnet_lite0:weights.safetensors
      kit clip neighbours --model clip-vit-base-patch32 --k 16 --as clip-neighbours-16
    """
    project, found = project_of(context), _model(model, download)
    from kit.learning.neighbours.source import NAME, make_neighbours
    from kit.pretrained.devices import device_named

    name = rename or NAME
    made = make_neighbours(project, found, k=k, name=name, device=device_named(device), force=force)
    used = min(k, len(project.index.train))
    print(f"{'Filled' if made else 'There already'}: {name}, by the {used} nearest of {found.text}")
    return {"name": name, "made": made, "k": used, "model": found.text}


def _model(text: str, download: bool) -> ClipModel:
    from kit.pretrained.clip.model import bring_model

    return bring_model(text, download=download, say=say)


def _classes_table(predicted: Mapping[Split, ZeroShot]) -> str:
    from kit.core.tables import table

    rows = []
    for split, one in predicted.items():
        for klass in sorted(set(one.known)):
            photos = [chosen for chosen, known in zip(one.chosen, one.known, strict=True) if known == klass]
            counts = [str(photos.count(name)) for name in one.names]
            rows.append([split, klass or "(not told)", str(len(photos)), *counts])
    lines = [table(["split", "class", "photos", *(f"as {name}" for name in _short(predicted["train"].names))], rows)]
    for split, one in predicted.items():
        if one.told:
            lines.append(f"Right on {one.agreement:.1%} of the {one.told} {split} photos whose class is known.")
    return "\n".join(lines)


def _prompts_table(ranked: list[PromptScore]) -> str:
    from kit.core.tables import table

    classes = list(ranked[0].by_class)
    rows = [
        [
            one.template,
            "-" if one.rmse is None else f"{one.rmse:.4f}",
            f"{one.similarity:.4f}",
            *(f"{one.by_class[klass]:.4f}" for klass in classes),
        ]
        for one in ranked
    ]
    return table(["prompt", "OOF RMSE", "similarity", *_short([klass or "(no class)" for klass in classes])], rows)


def _short(names: Sequence[str]) -> list[str]:
    """Return names as titles of columns."""
    from kit.core.shortening import shortened_apart

    return shortened_apart(names, _TITLE)
