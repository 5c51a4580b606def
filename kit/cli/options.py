"""Options that several commands share, and how a command gets its project."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

_COMMANDS = re.compile(
    r"\bkit (fetch|folds|fill|train|predict|sources|blend|upload|submissions|check|grade|figure|import|export|sd|clip)"
    r"\b"
)

if TYPE_CHECKING:
    from kit.core.workspace import Workspace
    from kit.data.project import Project

ForceOption = Annotated[bool, typer.Option("--force", help="Do it again although it is there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of everything random.")]
FoldOption = Annotated[list[str], typer.Option("--fold", help="A fold's number, or all. May be repeated.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")]


_prefix = ""  # what a suggested command needs to reach the same workspace: set once, by the global options


def remember_workspace(root: Path, competition: str | None, by_environment: bool) -> None:
    """Note the global options, so that suggested commands can repeat them."""
    global _prefix
    words = [] if root == Path() or by_environment else ["-w", shlex.quote(str(root))]
    words += ["--competition", shlex.quote(competition)] if competition else []
    _prefix = "".join(f"{word} " for word in words)


def typed(message: str) -> str:
    """The message with its commands as they must be typed for this workspace."""
    return _COMMANDS.sub(lambda found: f"kit {_prefix}{found.group(1)}", message) if _prefix else message


def workspace_of(context: typer.Context, slug: str | None = None) -> Workspace:
    """The workspace that the global options name."""
    from kit.data.index import open_workspace

    root, competition = context.obj
    return open_workspace(root, slug or competition)


def project_of(context: typer.Context) -> Project:
    """The project in that workspace."""
    from kit.data.project import Project

    return Project(workspace_of(context))
