"""The example as a notebook: cells of a percent-format script, as Jupyter's JSON.

python tests/support/percent.py    # writes examples/kaggle_notebook.ipynb anew
"""

from __future__ import annotations

import json
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "kaggle_notebook.py"


def notebook_of(script: str) -> str:
    """Return the notebook of a script in percent format."""
    cells = []
    for number, part in enumerate(script.split("# %%")[1:]):
        head, _, body = part.partition("\n")
        kind = "markdown" if "[markdown]" in head else "code"
        text = body.strip("\n")
        if kind == "markdown":
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.splitlines())
        cell: dict[str, object] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        cell["source"] = text.splitlines(keepends=True)
        cells.append(cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


if __name__ == "__main__":
    EXAMPLE.with_suffix(".ipynb").write_text(notebook_of(EXAMPLE.read_text()))
