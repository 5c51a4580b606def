"""A toy competition with everything that a report shows: sources, a blend, trainings and submissions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kit.blending import make_blend
from kit.core.storage import write_json, write_text
from kit.submission.ledger import LedgerRow, append_ledger
from support.toy import Toy, write_toy_source

HOSTILE = "</script><script>document.title='run'</script><b>&"
"""What a class or a file may be called."""


def run_log(toy: Toy, name: str, fold: int, rmse: list[float]) -> None:
    """Write the log of a training as kit writes it."""
    folder = toy.workspace.run(name, fold)
    rows = [f"{epoch},{0.001 / epoch},{0.05 / epoch},{value}" for epoch, value in enumerate(rmse, 1)]
    write_text(folder / "log.csv", "\n".join(["epoch,learning_rate,mse,fold_rmse", *rows, ""]))
    facts = {"fold_rmse": min(rmse), "fill_rmse": 0.2, "best_epoch": int(np.argmin(rmse)) + 1, "seconds": 3.0}
    write_json(folder / "run.json", {**facts, "epochs": len(rmse), "device": "cpu"})
    write_json(folder / "experiment.json", {"experiment": {"name": name, "width": 32 + fold, "epochs": len(rmse)}})


def filled(toy: Toy) -> Toy:
    """Return a toy competition with sources, a blend, trainings and three submissions."""
    for place, (name, noise) in enumerate((("fine", 0.05), ("rough", 0.1), ("wild", 0.2))):
        write_toy_source(toy, name, noise=noise, seed=place)
    write_toy_source(toy, "half", noise=0.1, by_fold=True, present=[0, 2])
    make_blend(toy.project, ["fine", "rough", "wild"], name="mix")
    run_log(toy, "net", 0, [0.3, 0.2, 0.25])
    run_log(toy, "net", 1, [0.31, 0.26])
    for number, (cv, public) in enumerate(((0.1, 0.11), (0.09, 0.1), (0.08, 0.085))):
        row = LedgerRow("2026-01-01T00:00:00", toy.workspace.slug, "mix.csv", "0" * 16, "blend mix", cv=cv)
        row = replace(row, ref=str(number), status="complete", public_score=public)
        append_ledger(toy.workspace, row)
    return toy
