"""`kit new`, `kit check-model`, `kit check-layout`: a model or a competition of the user's own, begun and checked."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from kit.cli import app, candidates
from kit.cli.answers import answers
from kit.cli.options import JsonOption, say_next, workspace_of
from kit.cli.verbs import CONTEXT

verbs = typer.Typer(no_args_is_help=True, rich_markup_mode=None, context_settings=CONTEXT)
app.add_typer(verbs, name="new", short_help="Begin a model or a competition of your own.")


@verbs.callback()
def new() -> None:
    """Write a file to begin with, commented, that works as it is. Nothing is overwritten.

    \b
    Examples:
      kit new model mine               # mine.py, a small U-Net; then: kit check-model mine.py:Net
      kit new model nets/wide
      kit new competition cat          # cat.py, how its files are read; then: kit check-layout cat.py --from DATA
    """


@verbs.command("model", short_help="A network: NAME.py, a small U-Net that trains.")
def new_model(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The file's name, with or without .py.")]
) -> None:
    """Write NAME.py: a small U-Net, a loss and an experiment, with what kit asks of each in comments.

    \b
    Examples:
      kit new model mine
      kit new model nets/wide
    """
    from kit.learning.skeleton import SKELETON

    path = _begin(context, "model", name, SKELETON)
    typed = shlex.quote(f"{path}:Net")
    say_next(f"kit check-model {typed}, then: kit train {typed} --fold 0")


@verbs.command("competition", short_help="A competition: NAME.py, how its files are read.")
def new_competition(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The file's name, with or without .py.")]
) -> None:
    """Write NAME.py: which photos there are and what is hidden, in which space they are scored, and what is sent. It
    works on plain folders as it is.

    \b
    Examples:
      kit new competition cat
    """
    from kit.competitions.skeleton import SKELETON

    path = _begin(context, "competition", name, SKELETON)
    typed = shlex.quote(str(path))
    say_next(f"kit check-layout {typed} --from DATA, then: kit fetch SLUG --layout {typed}")


def _begin(context: typer.Context, kind: str, name: str, skeleton: str) -> Path:
    """Write a file to begin with, if there is none of that name."""
    from kit.core.workspace import Workspace, check_output, checked_name
    from kit.errors import UsageError

    path = Path(name.removesuffix(".py") + ".py")
    checked_name(f"The {kind}", path.stem)
    check_output(Workspace(context.obj[0]), path, f"kit new {kind}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(skeleton.format(file=path, stem=path.stem))
    except FileExistsError:
        raise UsageError(f"{path} is there already, and is not overwritten. Take another name.") from None
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is no folder. Make it first: mkdir -p {path.parent}") from None
    print(f"Written: {path}")
    return path


@app.command("check-layout", short_help="Does a layout of your own fit its competition?")
@answers
def check_layout(
    layout: Annotated[str, typer.Argument(help="FILE.py, or a layout's name.")],
    source: Annotated[Path, typer.Option("--from", help="The competition's zip or folder.")],
    as_json: JsonOption = False,
) -> object:
    """Fetch a competition's files by this layout into a temporary folder and check it: one line for each thing that is
    as it should be, and for the first that is not one line and exit code 1. Nothing is kept; the file is run.

    \b
    Examples:
      kit check-layout cat.py --from cat.zip
      kit check-layout cat.py --from ~/data/cat
    """
    from kit.upkeep.check_layout import check_given_layout

    found = []
    for passed in check_given_layout(layout, source.expanduser()):
        found.append(passed)
        print(f"ok  {passed.what}: {passed.said}", flush=True)
    say_next(f"kit fetch SLUG --layout {shlex.quote(str(layout))} --from {shlex.quote(str(source))}")
    return {"layout": layout, "passed": found}


@app.command("check-model", short_help="Is a model of your own fit to be trained?")
@answers
def check_model(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="FILE.py:NAME, a class or function; or FILE.py:experiment.")],
    settings: Annotated[
        list[str], typer.Option("--set", autocompletion=candidates.settings, help="field=value, may be repeated.")
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> object:
    """Check a model of your own on made-up photos: one line for each thing that is as it should be, and for the first
    that is not one line and exit code 1. Needs no competition and writes nothing; the file is run.

    \b
    Examples:
      kit check-model mine.py:Net
      kit check-model mine.py:Net --set width=8 --set size=128
      kit check-model mine.py:experiment
    """
    from kit.learning.own_check import checked_lines

    found = []
    for line in checked_lines(workspace_of(context), model, settings):
        found.append(line)
        print(f"ok  {line}", flush=True)
    print(f"{model} is fit. Train it: kit train {model} --fold 0")
    return {"model": model, "passed": found}
