"""What speaks against sending something, by what else a workspace holds. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from kit.blending import read_blend
from kit.core.numbers import score_text
from kit.data.project import Project
from kit.submission.upload import Prepared
from kit.upkeep.status import list_blends


def remarks_on(project: Project, ready: Prepared) -> Iterator[str]:
    """Yield what speaks against sending this blend or source: its own reason, and a blend with a better CV."""
    kind, _, name = ready.what.partition(" ")
    if kind == "blend":
        blend = read_blend(project.workspace, name)
        if blend.rung != next(row.rung for row in reversed(blend.ladder) if row.taken):
            yield blend.reason
    mine = ready.cv.value if ready.cv else None
    others = [one for one in list_blends(project) if one.cv is not None and not one.problem and one.name != name]
    metric = project.layout.measured_by
    sign = -1.0 if metric.higher_is_better else 1.0
    best = min(others, key=lambda one: sign * (one.cv or 0.0), default=None)
    if mine is not None and best is not None and best.cv is not None and metric.is_better(best.cv, mine):
        scores = f"{score_text(best.cv)} instead of {score_text(mine)}"
        yield f"blend {best.name} has a better CV {metric.label}, {scores}: kit upload {best.name}"
