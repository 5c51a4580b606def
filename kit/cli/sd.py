"""`kit sd`: fills by Stable Diffusion and its like, sample by sample, and the sources made of them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli import app
from kit.cli.options import DeviceOption, JsonOption, SeedOption, project_of

if TYPE_CHECKING:
    from kit.pretrained.diffusion.measure import Measured
    from kit.pretrained.diffusion.session import Answer, Request
    from kit.pretrained.diffusion.status import CacheState


@app.command()
def sd(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--model", help="A diffusers folder, or an id of the hub.")
    ] = "stable-diffusion-v1-5/stable-diffusion-inpainting",
    prompts: Annotated[
        list[str], typer.Option("--prompt", help="Template over {animal}, or class|seamless. Default: both.")
    ] = [],  # noqa: B006  # Typer wants a plain list, and no one changes it
    negative: Annotated[str | None, typer.Option("--negative", help="Negative prompt.")] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, max=9999, help="Of each prompt. Default: 1.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Denoising steps.")] = 30,
    guidance: Annotated[float, typer.Option("--guidance", help="Guidance scale; 1 is none, at half the cost.")] = 7.5,
    strength: Annotated[float, typer.Option("--strength", help="1 starts from noise, less from a fill.")] = 1.0,
    scheduler: Annotated[str, typer.Option("--scheduler", help="default, ddim, dpm++, euler, unipc ...")] = "default",
    size: Annotated[int, typer.Option("--size", help="Pixels of the square that the model sees.")] = 512,
    exact_mask: Annotated[bool, typer.Option("--exact-mask", help="Mask the hole, not whole latent cells.")] = False,
    split: Annotated[str, typer.Option("--split", help="oof, test or both.")] = "both",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="So many photos of each split.")] = None,
    device: DeviceOption = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, float16 or bfloat16.")] = "auto",
    batch: Annotated[int | None, typer.Option("--batch-size", min=1, max=1024, help="Pictures at once.")] = None,
    low_memory: Annotated[bool, typer.Option("--low-memory", help="Slower, for GPUs of 4 GB.")] = False,
    shard: Annotated[str | None, typer.Option("--shard", help="I/N: every Nth photo from the Ith on.")] = None,
    clip: Annotated[str | None, typer.Option("--clip", help="Who tells classes that the layout lacks.")] = None,
    seed: SeedOption = 0,
    variant: Annotated[str | None, typer.Option("--variant", help="Of the weights, such as fp16.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model if it is not here.")] = False,
    name: Annotated[str, typer.Option("--as", help="Store the sources under NAME, NAME-mean, NAME-shrunk.")] = "sd",
    unmatched: Annotated[bool, typer.Option("--no-colour-match", help="Take colours as the model gave them.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="What is there, what is missing, how long it takes.")
    ] = False,
    curve: Annotated[bool, typer.Option("--curve", help="RMSE of the mean of m samples, and its limit.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write the sources again; samples are kept.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fill every photo with a diffusers inpainting pipeline; keep every sample; make sources of them.

    Killed at any moment and started again, it goes on where it was. More samples, prompts or photos later cost only
    what is missing. Sources: sd (one sample), sd-mean (the mean of all), sd-shrunk (the mean drawn toward a fill).

    \b
    Examples:
      kit sd --model models/sd15-inpainting --limit 20 --samples 2       # try it, then the same with --curve
      kit sd --download                                                  # says licence and size first, without it
      kit sd --samples 4                                                 # three more of each prompt
      kit sd --prompt "A photo of a {animal} in nature" --guidance 3 --scheduler dpm++ --steps 20
      kit sd --status
      kit sd --curve
      kit sd --shard 1/4 --device cuda:0
      torchrun --nproc-per-node 4 -m kit sd --samples 4                  # a share of the photos for each GPU
    """
    from kit.errors import UnknownName
    from kit.pretrained.diffusion.plan import shard_of
    from kit.pretrained.diffusion.session import BOTH, Request, answer, measured, open_session, state_of
    from kit.pretrained.diffusion.settings import NEGATIVE, Settings
    from kit.pretrained.prompts import templates_of

    if split not in (*BOTH, "both"):
        raise UnknownName("split", split, (*BOTH, "both"))
    negative = NEGATIVE if negative is None else negative
    drawn = Settings(negative, scheduler, steps, guidance, strength, size, dtype, seed, not exact_mask)
    request = Request(
        templates_of(prompts), model, variant, download, samples, drawn, BOTH if split == "both" else (split,),  # type: ignore[arg-type]
        limit, shard_of(shard, os.environ), device, batch, low_memory, name, not unmatched, force, clip,
    )  # fmt: skip
    session = open_session(project_of(context), request, _note)
    if status:
        _print_state(state_of(session), as_json)
    elif curve:
        _print_curve(*measured(session), as_json)
    else:
        _print_answer(answer(session), request, as_json)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_answer(found: Answer, request: Request, as_json: bool) -> None:
    outcome = found.outcome
    for note in found.notes if request.leads else []:
        _note(f"Note: {note}")
    if as_json:
        from kit.cli.results import print_json

        print_json(_as_plain(found))
        return
    share = f" of shard {request.shard.number}/{request.shard.count}" if request.shard else ""
    if outcome is None:
        print(f"There already: {found.hits} samples{share}")
    else:
        rate = f" ({_speed(outcome.made / outcome.seconds)})" if outcome.made and outcome.seconds > 0 else ""
        retried = f", {outcome.retried} of them in float32" if outcome.retried else ""
        elsewhere = f", {outcome.elsewhere} are being made by other processes" if outcome.elsewhere else ""
        print(
            f"Made: {outcome.made} samples{share}{retried} in {outcome.seconds:.0f} s{rate}; there before: "
            f"{outcome.hits}{elsewhere}"
        )
    for written in found.written:
        number = f" ({len(found.layers)} samples a photo)" if written.name.endswith("-mean") else ""
        print(f"{'Written' if written.fresh else 'There already'}: {written.name}, {written.split}{number}")
    for fold, shrink, fresh in found.shrinks:
        text = f"{shrink.fill} + {shrink.weight:.2f} x blur of {shrink.sigma:g} px"
        print(f"{'Written' if fresh else 'There already'}: {request.name}-shrunk, fold {fold}: {text}")


def _speed(rate: float) -> str:
    return f"{rate:.1f} a second" if rate >= 1 else f"{1 / rate:.1f} s each"


def _as_plain(found: Answer) -> dict[str, Any]:
    outcome = found.outcome
    return {
        "made": outcome.made if outcome else 0,
        "hits": outcome.hits if outcome else found.hits,
        "elsewhere": outcome.elsewhere if outcome else 0,
        "retried": outcome.retried if outcome else 0,
        "seconds": outcome.seconds if outcome else 0.0,
        "layers": found.layers,
        "sources": found.written,
        "shrunk": [{"fold": fold, "fit": shrink, "fresh": fresh} for fold, shrink, fresh in found.shrinks],
        "notes": found.notes,
    }


def _print_state(state: CacheState, as_json: bool) -> None:
    from kit.cli.results import print_json
    from kit.cli.tables import table

    if as_json:
        print_json(state)
        return
    rows = [[one.prompt, str(one.sample + 1), str(one.there), str(one.missing)] for one in state.layers]
    print(table(["Prompt", "sample", "there", "missing"], rows))
    left = (
        ""
        if state.seconds_left is None or not state.missing
        else f", {_hours(state.seconds_left)} left for one process"
    )
    each = "" if state.seconds_each is None else f" ({state.seconds_each:.2f} s each)"
    damaged = f"; {state.damaged} damaged, to be made again" if state.damaged else ""
    retried = f"; {state.retried} made in float32" if state.retried else ""
    print(f"{state.hits} there{each}, {state.missing} missing{left}; {state.size / 1e6:.1f} MB{retried}{damaged}")


def _hours(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _print_curve(found: Measured, layers: Any, as_json: bool) -> None:
    from kit.cli.results import print_json
    from kit.cli.tables import table

    curve = found.curve
    steps = sorted({1, 2, 3, 4, 8, 16, 32, 64, curve.samples, 2 * curve.samples} & set(range(1, 2 * curve.samples + 1)))
    points = [(m, curve.rmse(m)) for m in steps]
    if as_json:
        print_json(
            {
                "photos": curve.photos,
                "samples": curve.samples,
                "layers": layers,
                "curve": [{"m": m, "rmse": point, "measured": m <= curve.samples} for m, point in points],
                "limit": curve.limit,
                "ratio": curve.ratio,
                "prompts": found.prompts,
            }
        )
        return
    rows = [[str(m), str(point), "" if m <= curve.samples else "by the law"] for m, point in points]
    print(table(["m", "OOF RMSE of their mean", ""], [*rows, ["inf", str(curve.limit), "the limit"]]))
    print(
        f"{curve.photos} training photos, score space. Squared error = a + b / m with b / a = {curve.ratio:.2f} (1 for "
        "draws from the true posterior)."
    )
    print()
    print(table(["Prompt", "OOF RMSE of one sample"], [[prompt, str(one)] for prompt, one in found.prompts.items()]))
