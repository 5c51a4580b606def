"""The command line: parse, call one function, print one result. No heavy import before a command runs."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
import typer.core

from kit import __version__
from kit.cli.options import COMMANDS, hoist_global_options, remember_workspace, with_workspace_flags
from kit.cli.verbs import CONTEXT
from kit.core.progress import begin_command
from kit.errors import KitError

# from 0.26 on Typer carries its own copy of click: either one's exceptions are reached through one that Typer names
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]

INTERRUPTED = 130  # what shells give for Ctrl-C

MODULES = (
    "blend",
    "bundle",
    "clip",
    "data",
    "exchange",
    "figure",
    "predict",
    "sd",
    "submit",
    "train",
    "tune",
    "weights",
)


class _InOrder(typer.core.TyperGroup):
    """Lists the commands in the order in which they are used."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the commands of `COMMANDS` in its order, then any other."""
        return sorted(self.commands, key=lambda name: COMMANDS.index(name) if name in COMMANDS else len(COMMANDS))


app = typer.Typer(
    name="kit",
    cls=_InOrder,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=CONTEXT,
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
        str | None,
        typer.Option(
            "--competition",
            help="Name in its address, kaggle.com/c/NAME. Default: the one fetched here.",
        ),
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
      kit sd run --model FOLDER        # Stable Diffusion, where a GPU is at hand
      kit sources
      kit blend
      kit upload --dry-run
      kit upload
    """
    context.obj = (workspace, competition)
    remember_workspace(workspace, competition, by_environment="KIT_WORKSPACE" in os.environ)
    if context.invoked_subcommand is None:
        print(context.get_help())


def run() -> None:
    """Run the command line; any mendable failure is one line on standard error and exit code 2."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's own, which it leaves here, need not be installed beside kit
    begin_command()
    for module in MODULES:  # importing it registers its commands; none imports torch, pandas or kaggle at its top
        importlib.import_module(f"kit.cli.{module}")
    try:
        code = app(hoist_global_options(sys.argv[1:]), standalone_mode=False)
    except KitError as error:
        _fail(str(error))
    except _ClickException as error:
        _fail(_usage(error))
    except (KeyboardInterrupt, typer.Abort):
        _stop()
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        _fail(_of_the_system(error))
    else:
        if code == INTERRUPTED:  # newer versions of Typer return it instead of raising Abort
            _stop()
        sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    return f"{message} See: {context.command_path if context else 'kit'} --help"


def _of_the_system(error: OSError) -> str:
    if error.filename is None and error.errno is None:
        raise error
    where = f"{error.filename}: " if error.filename else ""
    return (
        f"{where}{error.strerror or error}. Check the path, the permissions and the room on the disk, then run again."
    )


def _stop() -> None:
    print("Stopped. Run the same command again to go on where it was.", file=sys.stderr)
    sys.exit(INTERRUPTED)


def _fail(message: str) -> None:
    print(f"Error: {with_workspace_flags(message)}", file=sys.stderr)
    sys.exit(2)
