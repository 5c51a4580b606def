"""`kit weights`: pretrained weights of encoders, from where they can be had, and what a file is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app
from kit.cli.answers import answers
from kit.cli.options import JsonOption, with_workspace_flags
from kit.cli.verbs import CONTEXT
from kit.core.speech import say

if TYPE_CHECKING:
    from kit.pretrained.weights.managing import Checked, Source


verbs = typer.Typer(no_args_is_help=True, rich_markup_mode=None, context_settings=CONTEXT)
app.add_typer(verbs, name="weights", short_help="Pretrained weights: list, get, check.")


@verbs.callback()
def weights() -> None:
    """List, get and check the pretrained weights from which encoders start.

    `--set encoder_weights=imagenet` takes them from the first place that has them: kit's cache, what was downloaded
    from the hub, an installed package, a file named by the model in a folder of KIT_WEIGHTS or under /kaggle/input; the
    hub itself comes last.

    \b
    Examples:
      kit weights list
      kit weights get convnext_atto            # before a notebook goes offline; says licence and size first
      kit weights check resnet34.pth           # what is this file, and which encoder does it fit?
    """


@verbs.command("list", short_help="What can be had, and from where.")
def list_sources(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the weights of the encoders that kit names or this workspace's runs use. No network is asked.

    \b
    Examples:
      kit weights list
      kit weights list --json
      KIT_WEIGHTS=/data/weights:models kit weights list     # folders of your own
    """
    from kit.learning.encoders_used import encoders_used
    from kit.pretrained.weights.managing import list_weights

    found = list_weights(encoders_used(Path(context.obj[0])))
    if as_json:
        from kit.cli.results import print_json

        print_json([asdict(one) for one in found])
    else:
        print(_sources_table(found))


@verbs.command(short_help="Fetch a model's weights, for later.")
@answers
def get(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A model of timm, with or without tu- before it.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write this .safetensors file, and nothing into the cache.")
    ] = None,
    as_json: JsonOption = False,
) -> object:
    """Bring a model's weights where encoder_weights=imagenet looks first, or into a file that can be carried.

    From this machine where it has them (an installed package, a folder), else from the hub, whose licence and size are
    said first. A download that broke off goes on when the command is typed again. The file holds timm's own names.

    \b
    Examples:
      kit weights get convnext_atto
      kit weights get tu-resnet18 --out resnet18.safetensors
      kit weights get tf_efficientnet_lite0 --out lite0.safetensors
      kit train pix2pix --fold 0 --set encoder=tu-resnet18 --set encoder_weights=resnet18.safetensors --as p2p18
    """
    from kit.core.workspace import Workspace, check_output
    from kit.pretrained.weights.managing import get_weights

    if out is not None:
        check_output(Workspace(context.obj[0]), out)
    got = get_weights(name, out, say=say)
    fit, place = got.found.fit, got.found.place
    state = "Written" if got.fresh else "There already"
    print(
        f"{state}: {got.path}, {len(fit.tensors)} tensors of {fit.model}, from {place.text}, licence {place.licence}, "
        f"digest {got.found.digest}"
    )
    return {
        "model": fit.model,
        "path": got.path,
        "fresh": got.fresh,
        "tensors": len(fit.tensors),
        "place": place.text,
        "licence": place.licence,
        "digest": got.found.digest,
    }


@verbs.command(short_help="Say what a weights file is, and what it fits.")
@answers
def check(
    file: Annotated[Path, typer.Argument(help="A .safetensors, .pth, .pt or .bin file.")],
    encoder: Annotated[str | None, typer.Option("--encoder", help="Whether it fits this model of timm.")] = None,
    as_json: JsonOption = False,
) -> object:
    """Say what a weights file holds, and for which encoders it can be used. No code in it is run.

    Without --encoder, the models are tried that the file's name or the names in it suggest.

    \b
    Examples:
      kit weights check resnet34.pth
      kit weights check checkpoint.ckpt --encoder convnext_tiny
    """
    from kit.pretrained.weights.managing import check_file

    found = check_file(file, encoder)
    print(_checked_text(found))
    fits = [{"model": one.model, "tensors": one.needed, "names": one.names, "prefix": one.prefix} for one in found.fits]
    facts = {"path": found.file.path, "tensors": found.tensors, "dtypes": found.dtypes, "digest": found.digest}
    return {**facts, "fits": fits}


def _sources_table(found: list[Source]) -> str:
    from kit.core.tables import table

    rows = [
        [
            one.model,
            one.place,
            "here" if one.here else "-",
            one.licence,
            "-" if one.megabytes is None else f"{one.megabytes:.1f}",
            one.digest[:8] if one.digest else "-",
            one.where,
        ]
        for one in found
    ]
    lines = [
        table(["model", "from", "", "licence", "MB", "digest", "where"], rows, drop=("digest", "licence", "where"))
    ]
    here = {one.model for one in found if one.here}
    lines += [f"{one.model} is not here: {one.command}" for one in found if one.command and one.model not in here]
    lines.append("imagenet takes a model's first row; digest: of its tensors, once they have been used.")
    return "\n".join(lines)


def _checked_text(found: Checked) -> str:
    from kit.pretrained.weights.managing import training_command

    first = found.fits[0]
    prefix = f", their names behind {first.prefix!r}" if first.prefix else ""
    names = {"timm's": "timm's", "translated by timm": "another project's, known to timm"}.get(
        first.names, "another project's, in timm's order"
    )
    size = found.file.path.stat().st_size / 1e6
    lines = [
        f"{found.file.path}: {found.file.text}, {size:.1f} MB",
        f"{found.tensors} tensors, {', '.join(found.dtypes)}{prefix}; names: {names}; digest {found.digest}",
        *(f"Fits {one.model}: all {one.needed} tensors of the encoder" for one in found.fits),
        "Licence: unknown, a file does not say",
        with_workspace_flags(f"Use it: {training_command(found.file.path, first.model)}"),
    ]
    return "\n".join(lines)
