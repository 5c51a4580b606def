"""What weights by the metric itself are worth: blends of a workspace's sources as if it were graded by other metrics.

    python scripts/bench/metrics.py WORKSPACE                   # MAE, PSNR and SSIM
    python scripts/bench/metrics.py WORKSPACE mae fast slow     # one of them; only these sources

Prints for each metric the best source, and each rung with its nested CV and gain; last the seconds of it all against
those of a blend by RMSE of the same sources. The workspace is copied for it (hard links), so that no blend stays there.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from kit.blending import make_blend
from kit.competitions import Competition
from kit.data.index import open_workspace
from kit.data.project import Project
from kit.imaging.metrics import METRICS

OTHERS = ("mae", "psnr", "ssim")


class Graded(Project):
    """A project as if it were graded by another metric."""

    metric = "rmse"

    @property
    def layout(self) -> Competition:
        return replace(super().layout, metric=self.metric)


def blend(folder: Path, metric: str, sources: list[str]) -> float:
    """Print the ladder by one metric; return the seconds it took, without Grams or members known before."""
    workspace = open_workspace(folder, None)
    shutil.rmtree(workspace.blends / ".cache", ignore_errors=True)
    project = Graded(workspace)
    project.metric = metric
    begun = time.perf_counter()
    made = make_blend(project, sources or None, name=f"by-{metric}")
    seconds = time.perf_counter() - begun
    label = METRICS[metric].label
    print(f"\n{label}: best source {made.best_single} {made.best_single_cv}; {made.photos} photos, {seconds:.0f} s")
    for row in made.ladder:
        print(f"  {row.rung:10}  {row.cv}  {row.gain.signed} over {row.below}{', taken' if row.taken else ''}")
    return seconds


def main() -> None:
    """Run."""
    given = Path(sys.argv[1])
    metrics = [one for one in sys.argv[2:] if one in METRICS] or list(OTHERS)
    sources = [one for one in sys.argv[2:] if one not in METRICS]
    with tempfile.TemporaryDirectory(dir=given.parent) as place:
        folder = Path(place) / "copy"
        shutil.copytree(given, folder, copy_function=os.link, ignore=shutil.ignore_patterns("blends", "report"))
        seconds = {metric: blend(folder, metric, sources) for metric in ("rmse", *metrics)}
    print("\nTime against a blend by RMSE: " + ", ".join(f"{m} {seconds[m] / seconds['rmse']:.1f}" for m in metrics))


if __name__ == "__main__":
    main()
