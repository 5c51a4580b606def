"""What is to predict other photos, and which sources it needs. Knows no photo."""

from __future__ import annotations

import contextlib

from kit.blending import Blend, check_members, read_blend
from kit.data.prediction_store import SourceKind
from kit.data.project import Project
from kit.errors import MissingStep


def chosen_sources(project: Project, name: str | None) -> tuple[str, Blend | None, list[str]]:
    """Return what is to predict, as it is called, the blend if it is one, and the sources that are needed for it."""
    if name is not None and project.predictions.kind_of(name) is not SourceKind.BLEND:
        return name, None, [name]
    blend = read_blend(project.workspace, name)
    used = [blend.members[number] for number in blend.recipe.used]
    stored = project.predictions.sources()
    with contextlib.suppress(MissingStep):  # whoever carries weights alone to another machine has no predictions there
        check_members(project, blend, [member for member in used if member.name in stored])
    return f"blend {blend.name}", blend, [member.name for member in used]
