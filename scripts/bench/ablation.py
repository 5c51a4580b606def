"""What each choice of an experiment is worth: paired by-photo differences on one fold, with intervals.

    python scripts/bench/ablation.py --workspace ws --set epochs=3 \\
        --change base=harmonic --change ema=0 --change "mse_weight=0 l1_weight=1"

    python scripts/bench/ablation.py --workspace ws --sources one other ...     # what has been trained already

Trains the experiment as it is, and once for each change (settings separated by blanks), on one fold; what is there is
skipped, so the command can be killed and typed again. Prints RMSE in score space over the fold's photos, and how much
each change adds to it, with a 95 % bootstrap by photo of the difference; above zero means that the choice was good.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kit.blending import residual_gram
from kit.blending.evaluation.intervals import Bootstrap
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.learning.experiments import Experiment, experiment, finished_fold, stored_experiment
from kit.learning.training.fit import fit_fold


def variants(arguments: argparse.Namespace) -> dict[str, Experiment]:
    """The experiment as it is, and with each change, by what was changed."""
    stem = f"ablation-{arguments.experiment}"
    found = {"as it is": experiment(arguments.experiment, arguments.set, rename=stem)}
    for change in arguments.change:
        name = f"{stem}-" + "-".join(part.replace("_", "").replace("=", "") for part in change.split())
        found[change] = experiment(arguments.experiment, [*arguments.set, *change.split()], rename=name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--experiment", default="regress")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="field=value, for all")
    parser.add_argument("--change", action="append", default=[], help="field=value, several with blanks between")
    parser.add_argument("--sources", nargs="+", help="trained sources by name, each compared with the first")
    arguments = parser.parse_args()
    project = Project(Workspace(arguments.workspace))
    if arguments.sources:
        chosen = {name: stored(project, name) for name in arguments.sources}
    else:
        chosen = variants(arguments)
        for one in chosen.values():
            if finished_fold(project, one, arguments.fold) is None:
                fit_fold(project, one, arguments.fold, device="cpu")
    print_differences(project, chosen, arguments.fold)


def stored(project: Project, name: str) -> Experiment:
    """Return the settings of a trained source."""
    found = stored_experiment(project.workspace, name)
    if found is None:
        raise SystemExit(f"{name} has not been trained in {project.workspace.root}.")
    return found


def print_differences(project: Project, chosen: dict[str, Experiment], fold: int) -> None:
    """Print each one's RMSE over the fold's photos, and what it gains over the first."""
    index, folds = project.index, project.folds
    names = [one.name for one in chosen.values()]
    fill = next(iter(chosen.values())).base
    sources = [project.predictions.read(name, "oof", partial=True) for name in names]
    gram = residual_gram(index.train, project.pack, [*sources, project.predictions.read(fill, "oof")])
    own = folds.valid_positions(fold)
    gram = gram.on(own)
    errors = {name: gram.sse[:, gram.of(name)] for name in gram.members}
    bootstrap = Bootstrap(errors, gram.counts, folds.group[gram.photos])
    print(f"{len(gram)} photos of fold {fold}; {fill} alone {bootstrap.estimate(fill)}")
    for change, one in chosen.items():
        seconds = project.predictions.read(one.name, "oof", partial=True).seconds
        against = bootstrap.difference(one.name, names[0] if one.name != names[0] else fill)
        print(
            f"| {change} | {bootstrap.estimate(one.name)} | {against.value:+.5f} [{against.low:+.5f}, "
            f"{against.high:+.5f}]{' against ' + fill if one.name == names[0] else ''} | {seconds:.0f} s |"
        )


if __name__ == "__main__":
    main()
