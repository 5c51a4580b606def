"""Options that several commands share, and how a command gets its project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kit.project import Project
    from kit.workspace import Workspace

ForceOption = Annotated[bool, typer.Option("--force", help="Do it again although it is there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of everything random.")]
FoldOption = Annotated[list[str], typer.Option("--fold", help="A fold's number, or all. May be repeated.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")]


def workspace_of(context: typer.Context, slug: str | None = None) -> Workspace:
    """The workspace that the global options name."""
    from kit.index import open_workspace

    root, competition = context.obj
    return open_workspace(root, slug or competition)


def project_of(context: typer.Context) -> Project:
    """The project in that workspace."""
    from kit.project import Project

    return Project(workspace_of(context))
