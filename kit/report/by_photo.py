"""A table of every training photo by every source, for a spreadsheet or pandas. Computes no score anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.core.storage import write_text
from kit.data.project import Project
from kit.errors import MissingStep, UsageError
from kit.report.page.numbers import read_numbers

if TYPE_CHECKING:
    import pandas as pd


def by_photo(project: Project) -> pd.DataFrame:
    """Return a row a training photo: id, name, class, fold, size, hidden pixels, and its score by each source and the
    newest blend (out of fold, by the competition's metric; NaN where there is none).

    Raises:
        MissingStep: there are no sources.
    """
    import pandas as pd

    scored, rows = read_numbers(project).scored, project.index.train
    if not scored.columns:
        raise MissingStep("There is no source to score. Run: kit fill all")
    folds = project.folds_if_any
    about = {
        "id": [row.id for row in rows],
        "name": [row.name for row in rows],
        "class": [row.klass for row in rows],
        "fold": [None] * len(rows) if folds is None else folds.fold.tolist(),
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "hidden": [int(row.hole.sum()) for row in rows],
    }
    return pd.DataFrame(about).join(pd.DataFrame(np.round(scored.scores, 6), columns=list(scored.columns)))


def write_by_photo(path: Path, project: Project) -> None:
    """Write that table as a CSV, whole or not at all.

    Raises:
        UsageError: a file that does not end in `.csv`.
        MissingStep: there are no sources.
    """
    check_table(path)
    write_text(path, by_photo(project).to_csv(index=False, lineterminator="\n"))


def check_table(path: Path) -> None:
    """Raise `UsageError` for a file that does not end in `.csv`."""
    if path.suffix.lower() != ".csv":
        better = path.with_suffix(".csv") if path.name else Path("photos.csv")
        raise UsageError(f"{path} does not end in .csv, as a table does: choose {better}")
