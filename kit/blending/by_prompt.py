"""What prompts have scored, told by the sources that were drawn by one prompt alone."""

from __future__ import annotations

from collections.abc import Sequence

from kit.blending.scores import score_sources
from kit.data.project import Project


def rmse_by_prompt(project: Project, prompts: Sequence[str]) -> dict[str, float]:
    """Return the OOF RMSE of one sample by prompt, of sources of one prompt: kit sd run --prompt P --as NAME."""
    made: dict[str, str] = {}
    for source in project.predictions.sources():
        manifest = project.predictions.manifest(source, "oof", None)
        specs = (manifest or {}).get("recipe", {}).get("layers")
        template = specs[0].get("template") if isinstance(specs, list) and len(specs) == 1 else None
        if isinstance(template, str) and template in prompts:
            made[source] = template
    if not made:
        return {}
    rmse: dict[str, float] = {}
    for one in score_sources(project):
        if one.name in made and one.score is not None:
            rmse[made[one.name]] = min(one.score.value, rmse.get(made[one.name], float("inf")))
    return rmse
