"""The command line: parse, call one function, print one result. No heavy import before a command runs."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
import typer.core

from kit import __version__
from kit.cli import completion
from kit.cli.failures import described, of_usage, shown
from kit.cli.options import (
    COMMANDS,
    hoist_global_options,
    remember_typed,
    remember_workspace,
    split_global_options,
    typed_again,
)
from kit.cli.verbs import CONTEXT
from kit.core import deadline, speech
from kit.core.jobs import follow_parent
from kit.core.parallel import is_alone, is_main_process
from kit.core.secrets import without_secrets
from kit.core.speech import warn
from kit.core.surroundings import adapt
from kit.errors import INTERRUPTED, TERMINATED, UNEXPECTED, NotFinished, UsageError

# from 0.26 on Typer carries its own copy of click: either one's exceptions are reached through one that Typer names
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]

MODULES = (
    "blend",
    "bundle",
    "clip",
    "data",
    "exchange",
    "explore",
    "figure",
    "own",
    "predict",
    "report",
    "sd",
    "submit",
    "train",
    "tune",
    "upkeep",
    "watch",
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
    stop_after: Annotated[
        str | None,
        typer.Option(
            "--stop-after",
            metavar="TIME",
            help=f"Stop by then, to go on later: 11h30m, 90m, 45s, 1d, 90 (minutes), 17:30. Or {deadline.VARIABLE}.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say results, warnings and errors alone: no bars, no hints.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help=f"Say more: times, files, tracebacks. Or {speech.VARIABLE}=verbose.")
    ] = False,
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
    In a session that ends after twelve hours:
      kit train --fold all --stop-after 11h30m    # type it again to go on

    \b
    Exit codes:
      0    done
      1    failed: one line says why
      2    wrong usage: an option, a name or a setting that cannot be
      70   kit did not expect it: one line names the file with the report
      75   not finished, or try again later: the time is over, no network, no quota left, another process is at it
      130  stopped by Ctrl-C (143: by SIGTERM)
    """
    context.obj = (workspace, competition)
    _set_verbosity(quiet, verbose)
    _set_stop(stop_after)
    remember_workspace(workspace, competition, by_environment="KIT_WORKSPACE" in os.environ)
    if context.invoked_subcommand is None:
        print(context.get_help())


def run() -> None:
    """Run the command line; any failure is one line on standard error and an exit code of `kit.errors`."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's own, which it leaves here, need not be installed beside kit
    if completion.is_asked():
        completion.answer(_complete)
    began = time.monotonic()
    speech.begin_command()
    speech.set_verbosity(None)
    deadline.set_stop(None)
    follow_parent()
    with _termination() as was_terminated:
        try:
            adapt(sys.argv[1:])
            _register()
            code = app(hoist_global_options(sys.argv[1:]), prog_name="kit", standalone_mode=False)
            speech.detail(f"kit took {time.monotonic() - began:.1f} s")
            sys.stdout.flush()  # so that a reader who has gone is met here, and not while Python ends
        except NotFinished as error:
            _leave(error)
        except _ClickException as error:
            _fail(*of_usage(error))
        except (KeyboardInterrupt, typer.Abort):
            _stop(TERMINATED if was_terminated else INTERRUPTED)
        except SystemExit as end:
            if isinstance(end.__context__, BrokenPipeError):  # Typer makes a failure of it without a word
                _end_pipe(end.__context__)
            raise
        except BrokenPipeError as error:
            _end_pipe(error)
        except Exception as error:
            message, code = described(error)
            if code == UNEXPECTED:
                speech.detail(without_secrets("".join(traceback.format_exception(error)).rstrip()))
            _fail(message, code)
        else:
            if code == INTERRUPTED:  # newer versions of Typer return it instead of raising Abort
                _stop(TERMINATED if was_terminated else INTERRUPTED)
            sys.exit(code if isinstance(code, int) else 0)


def _register() -> None:
    """Import the modules that hold commands; none imports torch, pandas or kaggle at its top."""
    for module in MODULES:
        importlib.import_module(f"kit.cli.{module}")


def _complete() -> None:
    _register()
    app([], prog_name="kit", complete_var=completion.VARIABLE)


def _end_pipe(error: BrokenPipeError) -> NoReturn:
    """End well where nobody reads the output any more, as behind `| head`; another pipe is a failure."""
    stream = getattr(sys.stdout, "wrapped", sys.stdout)  # Typer hides the trouble behind a wrapper
    if _is_read(stream.fileno()):
        _fail(*described(error))
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # where the rest goes as Python ends
    sys.exit(0)


def _is_read(descriptor: int) -> bool:
    """Return whether somebody may still read what is written there; taken for no where the system cannot tell."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


@contextlib.contextmanager
def _termination() -> Iterator[list[int]]:
    """Let SIGTERM end the block as Ctrl-C does; the list that is given is no longer empty then."""
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    try:
        # torchrun ends the other processes so, when one has failed
        before = signal.signal(signal.SIGTERM, interrupt) if is_alone() else None
    except ValueError:  # not in the main thread
        before = None
    try:
        yield received
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _set_verbosity(quiet: bool, verbose: bool) -> None:
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other. Give one.")
    if quiet or verbose:
        speech.set_verbosity(speech.Verbosity.QUIET if quiet else speech.Verbosity.VERBOSE)


def _set_stop(stop_after: str | None) -> None:
    remember_typed(split_global_options(sys.argv[1:])[1], stop_after)
    if stop_after is not None:
        named, text = "--stop-after", stop_after
    else:
        named, text = deadline.VARIABLE, os.environ.get(deadline.VARIABLE, "")
    try:
        deadline.set_stop(text if text or stop_after is not None else None)
    except UsageError as error:
        raise UsageError(f"{named}: {error}") from None


def _leave(error: NotFinished) -> NoReturn:
    if is_main_process():
        again = error.again or typed_again()
        warn(shown(f"Not finished in time: {error}. Go on: {again}"))
    sys.exit(error.exit_code)


def _stop(code: int) -> NoReturn:
    warn("Stopped. Run the same command again to go on where it was.")
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    warn(f"Error: {shown(message)}")
    sys.exit(code)
