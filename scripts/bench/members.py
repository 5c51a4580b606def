"""What trained sources and fills are worth together, on the photos of one fold that all of them predict.

    python scripts/bench/members.py --workspace ws --fold 0
    python scripts/bench/members.py --workspace ws --fold 0 regress partialconv fractional

A Markdown row for each: RMSE in score space with a 95 % bootstrap by photo, training seconds and photos a second, the
weight in the simplex blend fitted on these photos; then the blend's RMSE, each half of the photos weighted by what was
fitted on the other. Where all five folds are there, `kit sources` and `kit blend` say the same of all photos.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from kit.blending import residual_gram
from kit.blending.evaluation.intervals import Bootstrap, pooled
from kit.blending.grams.residual_gram import ResidualGram
from kit.blending.weights.linear import Regression, unregularised
from kit.blending.weights.solvers import simplex
from kit.core.workspace import Workspace
from kit.data.project import Project


def covering(project: Project, fold: int, names: list[str]) -> ResidualGram:
    """The Gram of all sources that predict the fold's photos."""
    own = project.folds.valid_positions(fold)
    found = []
    for name in names:
        predictions = project.predictions.read(name, "oof", partial=True)
        if np.isin(own, predictions.photos).all():
            found.append(predictions)
    return residual_gram(project.index.train, project.pack, found).on(own)


def crossed(gram: ResidualGram, groups: np.ndarray) -> np.ndarray:
    """`(P,)` squared errors of a blend that was fitted on the other half of the photos, near duplicates together."""
    _, number = np.unique(groups, return_inverse=True)
    half = np.random.default_rng(0).permutation(number.max() + 1)[number] % 2
    one = np.ones((*gram.region_counts.shape, 1))
    return Regression(gram, half, one).run(unregularised(simplex)).sse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("sources", nargs="*", help="default: all that predict the fold")
    arguments = parser.parse_args()
    project = Project(Workspace(arguments.workspace))
    gram = covering(project, arguments.fold, arguments.sources or project.predictions.sources())
    groups = project.folds.group[gram.photos]
    weights = simplex(pooled(gram))
    errors = {name: gram.sse[:, gram.of(name)] for name in gram.members}
    bootstrap = Bootstrap({**errors, "blend": crossed(gram, groups)}, gram.counts, groups)
    print(f"{len(gram)} photos of fold {arguments.fold}")
    print("| source | fold RMSE | seconds | photos/s | weight |\n| --- | --- | --- | --- | --- |")
    for name in sorted(gram.members, key=lambda name: float(errors[name].sum())):
        path = project.workspace.run(name, arguments.fold) / "run.json"
        run = json.loads(path.read_text()) if path.is_file() else {}
        cost = f"{run['seconds']:.0f} | {run.get('photos_per_second', 0):.0f}" if run else " | "
        print(f"| {name} | {bootstrap.estimate(name)} | {cost} | {weights[gram.of(name)]:.3f} |")
    print(f"| blend, cross-fitted in halves | {bootstrap.estimate('blend')} | | | |")


if __name__ == "__main__":
    main()
