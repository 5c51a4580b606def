"""`kit sd`: fills by Stable Diffusion and its like, sample by sample, and the sources made of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli import app, candidates
from kit.cli.options import DeviceOption, JsonOption, SeedOption, project_of
from kit.cli.queue import BucketOption, CpusOption, GpusOption, JobsOption, OnOption, say_idle_gpus
from kit.cli.verbs import CONTEXT, VerbGroup
from kit.core.parallel import is_main_process
from kit.core.speech import say
from kit.pretrained.slots import place_for

if TYPE_CHECKING:
    from kit.data.project import Project
    from kit.pretrained.diffusion.listing import ListedRecipe
    from kit.pretrained.diffusion.measure import CurveReport
    from kit.pretrained.diffusion.plan import SampleSpec
    from kit.pretrained.diffusion.recipes import StoredRecipe
    from kit.pretrained.diffusion.session import SamplingRequest, SamplingResult, SamplingSession
    from kit.pretrained.diffusion.status import SamplingStatus


class _SdVerbs(VerbGroup):
    usual = "run"
    flags = {"--status": "status", "--curve": "curve"}  # noqa: RUF012  # ClassVar


verbs = typer.Typer(cls=_SdVerbs, rich_markup_mode=None, context_settings=CONTEXT)
app.add_typer(verbs, name="sd", short_help="Fill every photo with Stable Diffusion; cached.")

PromptOption = Annotated[
    list[str], typer.Option("--prompt", help="Template over {animal}, or class|seamless. Default: both.")
]
SamplesOption = Annotated[int | None, typer.Option("--samples", min=1, max=9999, help="Of each prompt.")]
SplitOption = Annotated[
    str, typer.Option("--split", autocompletion=candidates.among("oof", "test", "both"), help="oof, test or both.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="So many photos of each split.")]
ShardOption = Annotated[str | None, typer.Option("--shard", help="I/N: every Nth photo from the Ith on.")]
ClipOption = Annotated[str | None, typer.Option("--clip", help="CLIP model that predicts missing class labels.")]
VariantOption = Annotated[str | None, typer.Option("--variant", help="Of the weights, such as fp16.")]
UnmatchedOption = Annotated[bool, typer.Option("--no-colour-match", help="Take colours as the model gave them.")]
# of `status` and `curve`: unsaid, they are those of the recipe that was used last
AnyModel = Annotated[str | None, typer.Option("--model", help="Of this folder or id alone.")]
AnyText = Annotated[str | None, typer.Option("--negative", help="Of this negative prompt alone.")]
AnySteps = Annotated[int | None, typer.Option("--steps", help="Of so many steps alone.")]
AnyGuidance = Annotated[float | None, typer.Option("--guidance", help="Of this guidance scale alone.")]
AnyStrength = Annotated[float | None, typer.Option("--strength", help="Of this strength alone.")]
AnyScheduler = Annotated[str | None, typer.Option("--scheduler", help="Of this scheduler alone.")]
AnySize = Annotated[int | None, typer.Option("--size", help="Of this size alone.")]
AnyMask = Annotated[bool, typer.Option("--exact-mask", help="Of exact masks alone.")]
AnyDtype = Annotated[str, typer.Option("--dtype", help="Of this precision alone.")]
AnySeed = Annotated[int | None, typer.Option("--seed", help="Of this seed alone.")]


@verbs.callback()
def sd() -> None:
    """Fill every photo with a diffusers inpainting pipeline; keep every sample; make sources of them.

    Sources: sd (one sample), sd-mean (the mean of all), sd-shrunk (the mean drawn toward a fill).

    \b
    Examples:
      kit sd run --model models/sd15-inpainting --limit 20 --samples 2   # try it
      kit sd curve                                                       # what more samples would bring
      kit sd run --model models/sd15-inpainting --samples 4
      kit sd status
    """


@verbs.command(short_help="Draw the samples that are missing.")
def run(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--model", help="A diffusers folder, or an id of the hub.")
    ] = "stable-diffusion-v1-5/stable-diffusion-inpainting",
    prompts: PromptOption = [],  # noqa: B006  # Typer wants a plain list, and no one changes it
    negative: Annotated[str | None, typer.Option("--negative", help="Negative prompt.")] = None,
    samples: SamplesOption = None,
    steps: Annotated[int, typer.Option("--steps", help="Denoising steps.")] = 30,
    guidance: Annotated[float, typer.Option("--guidance", help="Guidance scale; 1 is none, at half the cost.")] = 7.5,
    strength: Annotated[float, typer.Option("--strength", help="1 starts from noise, less from a fill.")] = 1.0,
    scheduler: Annotated[str, typer.Option("--scheduler", help="default, ddim, dpm++, euler, unipc ...")] = "default",
    size: Annotated[int, typer.Option("--size", help="Pixels of the square that the model sees.")] = 512,
    exact_mask: Annotated[bool, typer.Option("--exact-mask", help="Mask the hole, not whole latent cells.")] = False,
    split: SplitOption = "both",
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    gpus: GpusOption = None,
    jobs: JobsOption = None,
    on: OnOption = None,
    cpus: CpusOption = None,
    bucket: BucketOption = None,
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, float16 or bfloat16.")] = "auto",
    batch: Annotated[int | None, typer.Option("--batch-size", min=1, max=1024, help="Pictures at once.")] = None,
    low_memory: Annotated[bool, typer.Option("--low-memory", help="Slower, for GPUs of 4 GB.")] = False,
    shard: ShardOption = None,
    clip: ClipOption = None,
    seed: SeedOption = 0,
    variant: VariantOption = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the model if it is not here.")] = False,
    name: Annotated[str, typer.Option("--as", help="Store the sources under NAME, NAME-mean, NAME-shrunk.")] = "sd",
    unmatched: UnmatchedOption = False,
    force: Annotated[bool, typer.Option("--force", help="Write the sources again; samples are kept.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the samples that are missing, one of each prompt by default, and make sources of them.

    Killed at any moment and started again, it goes on where it was. More samples, prompts or photos later cost only
    what is missing.

    \b
    Examples:
      kit sd run --model models/sd15-inpainting --limit 20 --samples 2   # try it, then: kit sd curve
      kit sd run --download                                              # says licence and size first, without it
      kit sd run --samples 4                                             # three more of each prompt
      kit sd run --prompt "A photo of a {animal} in nature" --guidance 3 --scheduler dpm++ --steps 20
      kit sd run --samples 4 --gpus all                                  # a process a GPU; they share the photos
      kit sd run --samples 4 --on ray                                    # on a cluster: a shard of the photos a GPU
      kit sd run --shard 1/4 --device cuda:0
      torchrun --nproc-per-node 4 -m kit sd run --samples 4              # a share of the photos for each GPU
    """
    from kit.pretrained.diffusion.plan import shard_of
    from kit.pretrained.diffusion.session import SamplingRequest, missing_samples, open_session, splits_named
    from kit.pretrained.diffusion.session import run as run_session
    from kit.pretrained.diffusion.settings import NEGATIVE, SamplingSettings
    from kit.pretrained.diffusion.side_by_side import draw_side_by_side
    from kit.pretrained.prompts import templates_of

    splits, negative = splits_named(split), NEGATIVE if negative is None else negative
    drawn = SamplingSettings(negative, scheduler, steps, guidance, strength, size, dtype, seed, not exact_mask)
    request = SamplingRequest(
        templates_of(prompts), model, variant, download, samples, drawn, splits, limit, shard_of(shard, os.environ),
        device, batch, low_memory, name, not unmatched, force, clip,
    )  # fmt: skip
    where = place_for(on, gpus, jobs, cpus, device, bucket)
    session = open_session(project_of(context), request, _note)
    if where:
        session = draw_side_by_side(session, where)
    elif missing_samples(session):
        say_idle_gpus(device)
    _print_result(run_session(session), request, as_json)


@verbs.command(short_help="List what has been sampled, and what is missing.")
def status(
    context: typer.Context,
    model: AnyModel = None,
    prompts: PromptOption = [],  # noqa: B006
    negative: AnyText = None,
    samples: SamplesOption = None,
    steps: AnySteps = None,
    guidance: AnyGuidance = None,
    strength: AnyStrength = None,
    scheduler: AnyScheduler = None,
    size: AnySize = None,
    exact_mask: AnyMask = False,
    dtype: AnyDtype = "auto",
    seed: AnySeed = None,
    split: SplitOption = "both",
    limit: LimitOption = None,
    shard: ShardOption = None,
    clip: ClipOption = None,
    variant: VariantOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all recipes (a model with its settings) that have samples here, and count those of one: the last one used.

    Options choose another one. Nothing that was said to `kit sd run` has to be repeated, but for --limit and --split.

    \b
    Examples:
      kit sd status
      kit sd status --size 512 --steps 20
      kit sd status --limit 20 --samples 8       # how much of this is there
    """
    from kit.pretrained.diffusion.plan import shard_of
    from kit.pretrained.diffusion.recipes import stored_recipes
    from kit.pretrained.diffusion.session import Selection, open_stored, sampling_status, splits_named

    given = _given(negative, scheduler, steps, guidance, strength, size, dtype, seed, exact_mask)
    selection = Selection(
        model,
        variant,
        given,
        _templates(prompts),
        samples,
        splits_named(split),
        limit,
        shard_of(shard, os.environ),
        None,
        clip,
    )
    project = project_of(context)
    stored = stored_recipes(project.workspace)
    session = open_stored(project, stored, selection, _note)
    _print_status(project, stored, session, sampling_status(session), as_json)


@verbs.command(short_help="Estimate what more samples would bring.")
def curve(
    context: typer.Context,
    model: AnyModel = None,
    prompts: PromptOption = [],  # noqa: B006
    negative: AnyText = None,
    samples: SamplesOption = None,
    steps: AnySteps = None,
    guidance: AnyGuidance = None,
    strength: AnyStrength = None,
    scheduler: AnyScheduler = None,
    size: AnySize = None,
    exact_mask: AnyMask = False,
    dtype: AnyDtype = "auto",
    seed: AnySeed = None,
    limit: LimitOption = None,
    clip: ClipOption = None,
    variant: VariantOption = None,
    unmatched: UnmatchedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the RMSE of the mean of m samples, its limit, and each prompt, on the training photos.

    Of the recipe that was used last; options choose another one of those that `kit sd status` lists.

    \b
    Examples:
      kit sd curve
      kit sd curve --steps 20 --json
    """
    from kit.pretrained.diffusion.listing import named
    from kit.pretrained.diffusion.recipes import stored_recipes
    from kit.pretrained.diffusion.session import Selection, evaluate_curve, open_stored

    given = _given(negative, scheduler, steps, guidance, strength, size, dtype, seed, exact_mask)
    matched = False if unmatched else None
    selection = Selection(model, variant, given, _templates(prompts), samples, limit=limit, matched=matched, clip=clip)
    project = project_of(context)
    stored = stored_recipes(project.workspace)
    session = open_stored(project, stored, selection, _note)
    if len(stored) > 1:
        _note(f"Of {named(session.recipe.settings)}, model {session.recipe.label}. Others: kit sd status")
    _print_curve(*evaluate_curve(session), as_json)


def _templates(prompts: list[str]) -> tuple[str, ...] | None:
    from kit.pretrained.prompts import templates_of

    return templates_of(prompts) if prompts else None


def _given(
    negative: str | None,
    scheduler: str | None,
    steps: int | None,
    guidance: float | None,
    strength: float | None,
    size: int | None,
    dtype: str,
    seed: int | None,
    exact_mask: bool,
) -> dict[str, object]:
    """Return the settings that were typed, by their names in `SamplingSettings`.

    Raises:
        UsageError: one of them cannot be.
    """
    from kit.pretrained.diffusion.settings import SamplingSettings

    settings: dict[str, Any] = {
        "negative": negative, "scheduler": scheduler, "steps": steps, "guidance": guidance, "strength": strength,
        "size": size, "dtype": None if dtype == "auto" else dtype, "seed": seed,
        "dilated": False if exact_mask else None,
    }  # fmt: skip
    given = {name: value for name, value in settings.items() if value is not None}
    SamplingSettings(**given)
    return given


def _note(text: str) -> None:
    say(text)


def _print_result(found: SamplingResult, request: SamplingRequest, as_json: bool) -> None:
    outcome = found.outcome
    for note in found.notes if is_main_process() else []:
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
        elsewhere = (
            f", {outcome.locked_elsewhere} are being made by other processes" if outcome.locked_elsewhere else ""
        )
        print(
            f"Made: {outcome.made} samples{share}{retried} in {outcome.seconds:.0f} s{rate}; there before: "
            f"{outcome.hits}{elsewhere}"
        )
    for written in found.written:
        number = f" ({len(found.specs)} samples a photo)" if written.name.endswith("-mean") else ""
        print(f"{'Written' if written.fresh else 'There already'}: {written.name}, {written.split}{number}")
    for fold, shrink, fresh in found.shrinks:
        text = f"{shrink.fill} + {shrink.weight:.2f} x blur of {shrink.sigma:g} px"
        print(f"{'Written' if fresh else 'There already'}: {request.name}-shrunk, fold {fold}: {text}")


def _speed(rate: float) -> str:
    return f"{rate:.1f} a second" if rate >= 1 else f"{1 / rate:.1f} s each"


def _as_plain(found: SamplingResult) -> dict[str, Any]:
    outcome = found.outcome
    return {
        "made": outcome.made if outcome else 0,
        "hits": outcome.hits if outcome else found.hits,
        "elsewhere": outcome.locked_elsewhere if outcome else 0,
        "retried": outcome.retried if outcome else 0,
        "seconds": outcome.seconds if outcome else 0.0,
        "layers": found.specs,
        "sources": found.written,
        "shrunk": [{"fold": fold, "fit": shrink, "fresh": fresh} for fold, shrink, fresh in found.shrinks],
        "notes": found.notes,
    }


def _print_status(
    project: Project,
    stored: Sequence[StoredRecipe],
    session: SamplingSession,
    chosen: SamplingStatus,
    as_json: bool,
) -> None:
    from kit.cli.results import print_json
    from kit.core.tables import table
    from kit.pretrained.diffusion.listing import listed_recipes

    listed = listed_recipes(project, stored, session.recipe.digest)
    if as_json:
        counts = asdict(chosen)
        print_json({"layers": counts.pop("specs"), **counts, "recipes": listed})
        return
    if listed:
        print(recipes_table(listed))
        print()
    rows = [[one.prompt, str(one.sample + 1), str(one.there), str(one.missing)] for one in chosen.specs]
    print(table(["Prompt", "sample", "there", "missing"], rows))
    left = (
        ""
        if chosen.seconds_left is None or not chosen.missing
        else f", {_hours(chosen.seconds_left)} left for one process"
    )
    each = "" if chosen.seconds_each is None else f" ({chosen.seconds_each:.2f} s each)"
    damaged = f"; {chosen.damaged} damaged, to be made again" if chosen.damaged else ""
    retried = f"; {chosen.retried} made in float32" if chosen.retried else ""
    print(f"{chosen.hits} there{each}, {chosen.missing} missing{left}; {chosen.size / 1e6:.1f} MB{retried}{damaged}")


def recipes_table(listed: Sequence[ListedRecipe]) -> str:
    """Return a table of what has been sampled, by what."""
    from kit.core.tables import table

    rows = [
        ["*" if one.chosen else "", str(one.size), str(one.steps), one.other, str(one.samples),
         str(one.there), str(one.missing), one.model]
        for one in listed
    ]  # fmt: skip
    return table(["", "size", "steps", "other settings", "samples", "there", "missing", "model"], rows)


def _hours(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _print_curve(found: CurveReport, specs: tuple[SampleSpec, ...], as_json: bool) -> None:
    from kit.cli.results import print_json
    from kit.core.tables import table
    from kit.pretrained.diffusion.listing import counts_shown

    curve = found.curve
    points = [(m, curve.rmse(m)) for m in counts_shown(curve)]
    if as_json:
        print_json(
            {
                "photos": curve.photos,
                "samples": curve.samples,
                "layers": specs,
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
