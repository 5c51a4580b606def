"""The command line: parse, call one function, print one result. No heavy import before a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from kit import __version__
from kit.errors import KitError

app = typer.Typer(
    name="kit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kit {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", envvar="KIT_WORKSPACE", help="Folder that holds the work.")
    ] = Path(),
    competition: Annotated[
        str | None, typer.Option("--competition", help="Slug; by default the one that was fetched here.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fetch, fold, fill, train, blend and upload for competitions that hide part of every picture.

    \b
    No account yet? See it all at once:
      kit demo
    The chain, each step resumable:
      kit fetch                        # or: kit fetch --from photo-reconstruction.zip
      kit folds
      kit fill all
      kit train regress --fold all     # or: for k in 0 1 2 3 4; do kit train regress --fold $k; done
      kit sources
      kit blend
      kit upload --dry-run
      kit upload
    """
    context.obj = (workspace, competition)


def run() -> None:
    """Run the command line; any mendable failure is one line on standard error and exit code 2."""
    # importing a module of commands registers them; none of them imports torch, pandas or kaggle at its top
    from kit.cli import data, decide, leaderboard, models, show

    assert data and decide and leaderboard and models and show
    try:
        code = app(standalone_mode=False)
    except KitError as error:
        _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "kit"
        _fail(f"{' '.join(error.format_message().split())} See: {command} --help")
    except (KeyboardInterrupt, click.Abort):
        print("Stopped. Run the same command again to go on where it was.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        _fail(_of_the_system(error))
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _of_the_system(error: OSError) -> str:
    if error.filename is None and error.errno is None:
        raise error
    where = f"{error.filename}: " if error.filename else ""
    return (
        f"{where}{error.strerror or error}. Check the path, the permissions and the room on the disk, then run again."
    )


def _fail(message: str) -> None:
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(2)
