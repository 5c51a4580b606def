"""`kit upload`, `kit submissions`, `kit check`, `kit grade`: what leaves the machine, and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli import app
from kit.cli.options import JsonOption, finite, project_of, with_workspace_flags

if TYPE_CHECKING:
    from kit.submission.write import Check


@app.command(short_help="Write, check and upload a submission.")
def upload(
    context: typer.Context,
    what: Annotated[str | None, typer.Argument(help="Blend, source or CSV. Default: the newest blend.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Description on the leaderboard.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write and check it; send nothing.")] = False,
    zipped: Annotated[bool, typer.Option("--zip", help="Send it zipped: for competitions that cap the size.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Copy it to this .csv or .zip too.")] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, max=1e6, callback=finite, help="Minutes to wait for the score.")
    ] = 10,
) -> None:
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
    from kit.submission.upload import prepare, send, sent_before
    from kit.submission.write import check_copy, copy_submission

    project = project_of(context)
    if out is not None:
        check_copy(out)
    ready = prepare(project, what, zipped=zipped)
    check = ready.check
    print(f"{ready.path}: {ready.what}, {_described(check)}")
    if out is not None:
        copy_submission(check.path, out)
        print(f"Written: {out}")
    if ready.cv is not None:
        print(f"CV RMSE {ready.cv}")
    earlier = sent_before(project, ready)
    if earlier is not None:
        print(f"Note: these very bytes were sent on {earlier.when} (ref {earlier.ref}).")
    if dry_run:
        print(
            with_workspace_flags(
                f"Nothing was sent (--dry-run). Send it: {' '.join(['kit upload', *([what] if what else [])])}"
            )
        )
        return
    if not yes and not agreed(f"Send it to {project.workspace.slug}?"):
        print("Nothing was sent.")
        return
    row = send(project, ready, message or f"kit {ready.what}", wait_seconds=wait * 60, poll=_say_status)
    if row.status == "complete":
        print(f"Submission {row.ref}: public score {row.public_score}. Noted in {project.workspace.ledger}")
    else:
        print(with_workspace_flags(f"Submission {row.ref} is {row.status} and noted. Ask again: kit submissions"))


def _say_status(status: str) -> None:
    import sys

    if status == "pending":  # any other status is the result, which is said where it is used
        print("Waiting for the score ...", file=sys.stderr)


def _described(check: Check) -> str:
    return f"{check.rows} rows, values {check.lowest:.4f} to {check.highest:.4f}, ids as in the sample"


def agreed(question: str) -> bool:
    """Return what the person at the terminal answers. Raises `UsageError` where nobody can answer."""
    import sys

    from kit.core.notebook import in_notebook
    from kit.errors import UsageError

    if in_notebook():
        raise UsageError("A notebook cannot be asked. Send it with --yes, or only check it with --dry-run.")
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask at. Send it with --yes, or only check it with --dry-run.")
    return typer.confirm(question)


@app.command(short_help="List what was submitted from here, with scores.")
def submissions(context: typer.Context, as_json: JsonOption = False) -> None:
    """List what was submitted from here; asks Kaggle for scores that were still pending.

    \b
    Examples:
      kit submissions
    """
    from kit.cli.results import ledger_table, print_json
    from kit.submission.upload import refresh

    rows = refresh(project_of(context))
    if as_json:
        print_json(rows)
    else:
        print(ledger_table(rows))


@app.command(short_help="Check a submission against the sample.")
def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A submission: .csv, .csv.gz, or .zip with one CSV.")],
) -> None:
    """Compare a submission with the competition's sample: header, ids, order, count, range.

    \b
    Examples:
      kit check submissions/mine.csv
    """
    from kit.submission.write import check_submission, sample_of

    project = project_of(context)
    found = check_submission(file, sample_of(project.workspace, project.layout))
    print(f"{file}: {_described(found)}")


@app.command(short_help="Score a submission against the true photos.")
def grade(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A submission.")],
    truth: Annotated[Path, typer.Option("--truth", help="Folder of the original test photos.")],
    as_json: JsonOption = False,
) -> None:
    """Compute the competition's own score, for whoever has the original test photos.

    \b
    Examples:
      kit grade submissions/mine.csv --truth truth/
    """
    from kit.cli.results import print_json
    from kit.submission.grade import grade_submission

    project = project_of(context)
    found = grade_submission(file, truth, project.index, project.layout)
    if as_json:
        print_json(found)
    else:
        print(f"{file}: RMSE {found.score} over {found.rows} rows of {len(found.photos)} photos (95 % by photo)")
