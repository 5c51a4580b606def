"""`kit upload`, `kit submissions`, `kit leaderboard`, `kit check`, `kit grade`: what leaves the machine, its worth."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app, candidates
from kit.cli.answers import answers
from kit.cli.options import JsonOption, finite, project_of, with_workspace_flags
from kit.core.speech import say, warn
from kit.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from kit.data.project import Project
    from kit.submission.ledger import LedgerRow
    from kit.submission.write import Check


@app.command(short_help="Write, check and upload a submission.")
@answers
def upload(
    context: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            autocompletion=candidates.sources_and_blends, help="Blend, source or CSV. Default: the newest blend."
        ),
    ] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Description on the leaderboard.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write and check it; send nothing.")] = False,
    zipped: Annotated[bool, typer.Option("--zip", help="Send it zipped: for competitions that cap the size.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Copy it to this .csv or .zip too.")] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, max=1e6, callback=finite, help="Minutes to wait for the score.")
    ] = 10,
    again: Annotated[bool, typer.Option("--again", help="With --yes: also bytes that were sent before.")] = False,
    as_json: JsonOption = False,
) -> object:
    """Write the submission, check it against the sample, ask, send it, and note its score.

    \b
    Examples:
      kit upload --dry-run
      kit upload --dry-run --out submission.csv    # what a Kaggle notebook leaves behind
      kit upload --message "regress and fills"
      kit upload regress --yes --wait 0
      kit upload --zip
      kit upload submissions/mine.csv
    """
    from kit.competitions import registered_slugs
    from kit.core.workspace import check_output
    from kit.submission.upload import (
        already_sent,
        check_can_note,
        check_known,
        check_not_sample,
        elsewhere_if_read_only,
        is_file,
        is_sample,
        preflight,
        prepare,
        reference,
        send,
        sent_before,
    )
    from kit.submission.write import check_copy, copy_submission
    from kit.upkeep.remarks import remarks_on

    project = project_of(context)
    if out is not None:
        check_output(project.workspace, out)
        check_copy(out, None if is_file(what) else project.layout)
    entry = None
    if not dry_run:  # all that could be in the way is asked before a large file is written
        check_not_sample(project)
        check_known(project, what)
        check_can_note(project)
        if not yes:
            check_answerable()
        entry = preflight(project)
    with contextlib.nullcontext() if is_file(what) else elsewhere_if_read_only(project, out) as elsewhere:
        ready = prepare(project, what, zipped=zipped, folder=elsewhere)
        check = ready.check
        print(f"{out if elsewhere else ready.path}: {ready.what}, {_described(check)}")
        _warn_of_doubts(project, check)
        if out is not None:
            copy_submission(check.path, out)
            print(f"Written: {out}")
    if ready.cv is not None:
        print(f"CV {project.layout.measured_by.label} {ready.cv}")
    remarks = [*remarks_on(project, ready)]
    written = out if elsewhere else ready.path
    answer: dict[str, object] = {"path": written, "what": ready.what, "check": check, "cv": ready.cv}
    answer |= {"remarks": remarks, "sent": None}
    for remark in remarks:
        print(with_workspace_flags(f"Note: {remark}"))
    earlier = sent_before(project, ready)
    if earlier is not None:
        print(f"Note: these very bytes were sent on {earlier.when} ({reference(earlier)}).")
    if entry is None:
        known = project.workspace.slug in registered_slugs()
        to = "Send it" if known else f"If Kaggle calls it {project.workspace.slug}, send it"
        sending = f"{to}: {shlex.join(['kit', 'upload', *([what] if what else [])])}"
        sending = "It is of kit's own sample, which no competition takes." if is_sample(project) else sending
        print(with_workspace_flags(f"Nothing was sent (--dry-run). {sending}"))
        return answer
    info, limits = entry
    if earlier is not None and yes and not again:
        raise already_sent(earlier)
    if info.is_over:
        print(f"Note: the deadline was {_minute(info.deadline)}. Kaggle scores it as late: it gets no place.")
    print(f"Submissions left today: {limits.allowed_now}")
    if not zipped:
        _say_zip(ready.path)
    if not yes and not agreed(f"Send it to {project.workspace.slug}?"):
        print("Nothing was sent.")
        return answer
    said = message or f"kit {ready.what}"
    row = send(project, ready, said, wait_seconds=wait * 60, late=info.is_over, poll=_say_status)
    print(with_workspace_flags(_ended(row, project.workspace.ledger)))
    return {**answer, "sent": row}


_WORTH_ZIPPING = 20 << 20  # bytes; less is sent in a moment anyway


def _say_zip(path: Path) -> None:
    """Say of a large CSV what --zip would make of it, and from which connection on it is the slower way."""
    from kit.submission.write import zip_gain

    size = path.stat().st_size
    if path.suffix.lower() == ".csv" and size >= _WORTH_ZIPPING:
        share, speed = zip_gain(path)
        print(
            f"{size / 1e6:.0f} MB to send; with --zip {share * size / 1e6:.0f} MB, which is faster where less than "
            f"{speed * 8 / 1e6:.0f} Mbit/s go up"
        )


def _ended(row: LedgerRow, ledger: Path) -> str:
    if row.status != "complete":
        return f"Submission {row.ref} is {row.status} and noted. Ask again: kit submissions"
    private = f", private score {row.private_score}" if row.private_score is not None else ""
    place = f", place {row.rank}" if row.rank is not None else ""
    return f"Submission {row.ref}: public score {row.public_score}{private}{place}. Noted in {ledger}"


def _say_status(status: str) -> None:
    if status == "pending":  # any other status is the result, which is said where it is used
        say("Waiting for the score ...")


def _minute(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"


def _described(check: Check) -> str:
    values = f"values {check.lowest:.4f} to {check.highest:.4f}"
    if check.pictures:
        return f"{check.rows} pictures, {values}, known pixels as given"
    return f"{check.rows} rows, {values}, ids as in the sample"


def _warn_of_doubts(project: Project, check: Check) -> None:
    """Say on standard error what looks wrong with values that the competition would take."""
    from kit.exchange import doubts_about_submission

    for doubt in doubts_about_submission(project, check.path, check.lowest, check.highest):
        warn(with_workspace_flags(f"Warning: {doubt}"))


_SEND = "Send it with --yes, or only check it with --dry-run."


def agreed(question: str, without: str = _SEND) -> bool:
    """Return what the person at the terminal answers. Raises `UsageError` where nobody can answer.

    Args:
        without: what can be done there.
    """
    check_answerable(without)
    return typer.confirm(question, err=True)  # standard output may be a file, or JSON


def check_answerable(without: str = _SEND) -> None:
    """Raise `UsageError` where nobody can answer a question."""
    from kit.core.notebook import in_notebook

    if in_notebook():
        raise UsageError(f"A notebook cannot be asked. {without}")
    if not sys.stdin.isatty():
        raise UsageError(f"There is no terminal to ask at. {without}")


@app.command(short_help="List what was submitted from here, with scores.")
def submissions(
    context: typer.Context,
    again: Annotated[bool, typer.Option("--refresh", help="Ask for all of them again, as for private scores.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what was submitted from here; asks Kaggle for scores that were still pending.

    \b
    Examples:
      kit submissions
      kit submissions --refresh    # after the deadline, when private scores are shown
    """
    from kit.cli.results import ledger_table, print_json
    from kit.submission.refresh import refresh
    from kit.submission.upload import is_sample

    project = project_of(context)
    found = refresh(project, again=again)
    if as_json:
        print_json(found.rows)
    else:
        print(ledger_table(found.rows, is_sample=is_sample(project)))
    for note in found.notes:
        say(f"Note: {note}")
    if found.trouble is not None:
        raise found.trouble


@app.command(short_help="Where a score stands, and what a better one is worth.")
def leaderboard(context: typer.Context, as_json: JsonOption = False) -> None:
    """Say your place on the leaderboard, how many places a better score is worth, and what is left of today.

    \b
    Examples:
      kit leaderboard
    """
    from kit.cli.results import print_json, standing_text
    from kit.submission.expected import expected_standing

    found, name = expected_standing(project_of(context))
    if as_json:
        print_json(found)
    else:
        print(standing_text(found, name))


@app.command(short_help="Check a submission against the sample.")
@answers
def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A submission: .csv, .csv.gz, or .zip with one CSV.")],
    as_json: JsonOption = False,
) -> object:
    """Compare a submission with the competition's sample: header, ids, order, count, range.

    \b
    Examples:
      kit check submissions/mine.csv
    """
    from kit.submission.formats import check_file

    project = project_of(context)
    found = check_file(project, file)
    print(f"{file}: {_described(found)}")
    _warn_of_doubts(project, found)
    return found


@app.command(short_help="Score a submission against the true photos.")
def grade(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A submission.")],
    truth: Annotated[Path, typer.Option("--truth", help="Folder of the original test photos.")],
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            autocompletion=candidates.metrics,
            help="rmse, mse, mae, psnr, ssim or lpips. Default: the competition's.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compute the competition's own score, for whoever has the original test photos.

    \b
    Examples:
      kit grade submissions/mine.csv --truth truth/
      kit grade submissions/mine.csv --truth truth/ --metric ssim
    """
    from kit.cli.results import print_json
    from kit.imaging.metrics import metric_named
    from kit.pretrained.lpips import with_network
    from kit.submission.grade import grade_submission
    from kit.submission.originals import check_originals

    project = project_of(context)
    chosen = metric_named(metric) if metric else project.layout.graded_by
    chosen = with_network(chosen, say=say)
    check_originals(truth, project)
    found = grade_submission(file, truth, project.index, project.layout, metric=chosen)
    if as_json:
        print_json(found)
    else:
        over = f"{found.rows} {'rows' if project.layout.submission == 'csv' else 'values'}"
        print(f"{file}: {found.metric} {found.score} over {over} of {len(found.photos)} photos (95 % by photo)")
