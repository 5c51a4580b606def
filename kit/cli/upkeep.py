"""`kit status`, `kit blends`, `kit rm`, `kit verify`, `kit doctor`: the state of the work and of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli import app, candidates
from kit.cli.answers import Failure, answers
from kit.cli.options import JsonOption, YesOption, project_of, with_workspace_flags, workspace_of
from kit.errors import FAILED


@app.command(short_help="What is there, what is stale, what runs, what is next.")
def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Say what this workspace holds, what of it is stale and why, which trainings were interrupted, what runs now, and
    what to type next. Reads manifests alone, so it answers at once.

    \b
    Examples:
      kit status
      kit status --json
    """
    from kit.cli.results import print_json
    from kit.upkeep.status import read_status
    from kit.upkeep.status_text import status_lines

    found = read_status(project_of(context))
    if as_json:
        print_json(found)
    else:
        print("\n".join(status_lines(found, with_workspace_flags)))


@app.command(short_help="List the blends, newest first.")
def blends(context: typer.Context, as_json: JsonOption = False) -> None:
    """List every blend: members by weight, rung, CV RMSE, best public score, when, and whether it still fits.

    \b
    Examples:
      kit blends
    """
    from kit.cli.results import print_json
    from kit.core.tables import table
    from kit.upkeep.status import list_blends
    from kit.upkeep.status_text import DROPPED, blend_cells, problem_lines

    found = list_blends(project_of(context))
    if as_json:
        print_json(found)
    elif not found:
        print(with_workspace_flags("There are no blends yet. Run: kit blend"))
    else:
        print(table(*blend_cells(found), drop=DROPPED))
        print("".join(f"{with_workspace_flags(line)}\n" for line in problem_lines(found)), end="")
        best = min((one for one in found if one.cv is not None), key=lambda one: one.cv or 0.0, default=found[0])
        if best is not found[0]:
            print(
                with_workspace_flags(
                    f"The newest, {found[0].name}, is what kit upload takes; the best by CV is {best.name}."
                )
            )


@app.command(short_help="Delete sources, trainings, studies, blends, submissions.")
@answers
def rm(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(autocompletion=candidates.removable, help="What to delete: names, apart or with commas."),
    ],
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> object:
    """Delete what has a name, with all that belongs to it: predictions, weights and checkpoints, study, blend, report,
    submission file, bundle. The ledger keeps what was sent.

    \b
    Examples:
      kit rm quick
      kit rm regress-tuned,trial-blend --yes
    """
    from kit.cli.options import split_commas
    from kit.cli.submit import agreed
    from kit.errors import UsageError
    from kit.upkeep.remove import plan_removal, remove

    workspace = workspace_of(context)
    if not split_commas(names):
        raise UsageError("What is to be deleted? Name it: kit rm NAME. See what there is: kit status")
    planned = [plan_removal(workspace, name) for name in dict.fromkeys(split_commas(names))]
    for one in planned:
        paths = ", ".join(path.relative_to(workspace.root).as_posix() for path in one.paths)
        print(f"{one.name}: {paths}, {one.bytes / 1e6:.1f} MB")
        if one.needed_by:
            print(f"Note: {', '.join(one.needed_by)} cannot be applied without {one.name}.")
    asked = f"Delete {', '.join(one.name for one in planned)}?"
    if not yes and not agreed(asked, f"Delete without being asked: kit rm {','.join(names)} --yes"):
        print("Nothing was deleted.")
        return []
    for one in planned:
        remove(one)
        print(f"Deleted: {one.name}")
    return planned


@app.command(short_help="Check all stored files against their digests; or a bundle.")
@answers
def verify(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="A folder that kit bundle made. Default: this workspace.")
    ] = None,
    submission: Annotated[
        Path | None, typer.Option("--submission", help="Compare this CSV with the one that the bundle noted.")
    ] = None,
    as_json: JsonOption = False,
) -> object:
    """Read every stored file whole and compare it with its digest: of this workspace, photos and pack included, or of a
    bundle; compare a submission with the one that was noted when the bundle was made.

    \b
    Examples:
      kit verify
      kit verify bundles/blend-1a2b3c4d
      kit verify /kaggle/input/photo-bundle --submission /kaggle/working/submission.csv
    """
    if folder is not None:
        return _verify_bundle(folder, submission)
    from kit.errors import UsageError
    from kit.upkeep.verify import verify_workspace

    if submission is not None:
        raise UsageError("--submission is compared with a bundle. Name it: kit verify BUNDLE --submission FILE")
    found = verify_workspace(project_of(context))
    for problem in found.problems:
        print(with_workspace_flags(problem))
    wrong = f"{len(found.problems)} not as written" if found.problems else "all as written"
    print(f"{found.files} photos and files, {found.bytes / 1e6:,.0f} MB: {wrong}")
    return Failure(found, FAILED) if found.problems else found


def _verify_bundle(folder: Path, submission: Path | None) -> object:
    from kit.bundling import compare_submission, verify_bundle

    whole = verify_bundle(folder)
    document = whole.document
    what = f"{document['what']} {document['name']} by kit {document['kit']}"
    print(f"{folder}: {what}, {whole.files} files, {whole.bytes / 1e6:.0f} MB, all as written")
    answer = {"folder": folder, "files": whole.files, "bytes": whole.bytes, "what": document["what"]}
    answer |= {"name": document["name"], "submission": None}
    if submission is None:
        return answer
    found = compare_submission(document, submission)
    if found.same_bytes:
        print(f"{submission}: the very bytes that were noted ({document['submission']['digest']})")
    elif found.compared:
        print(
            f"{submission}: other bytes than noted; of {found.compared} values compared, the difference is "
            f"{found.difference:.2g} (RMS), at most {found.largest:.2g}"
        )
    else:
        print(f"{submission}: of other photos than those noted (a hidden test set?), so there is nothing to compare")
    return {**answer, "submission": found}


@app.command(short_help="Is this machine fit? Versions, GPU, disk, keys, caches.")
def doctor(
    context: typer.Context,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no network.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check what kit relies on: Python and packages, GPU and the precision that will be used, memory, disk, file
    system, encoding, where Kaggle's credentials are (never what they are), pretrained weights, the catalog's networks.
    Fails when something would not work.

    \b
    Examples:
      kit doctor
      kit doctor --offline --json
    """
    from kit.cli.results import print_json
    from kit.upkeep.doctor import examine

    found = []
    for one in examine(workspace_of(context), ask_network=not offline):
        found.append(one)
        if not as_json:
            print(f"{one.state:8} {one.what}: {with_workspace_flags(one.text)}", flush=True)
    if as_json:
        print_json(found)
    if any(one.state == "problem" for one in found):
        raise typer.Exit(FAILED)
