"""The notebook that comes with a bundle, as a Jupyter document, and what Kaggle wants to know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.bundling.contents import Contents
from kit.core.storage import write_json
from kit.remote.push import MACHINES

NOTEBOOK = "predict.ipynb"
METADATA = "kernel-metadata.json"

_FIND = """\
# The bundle and the competition's data are attached to this notebook; nothing is asked of the network.
from pathlib import Path

INPUT = Path("/kaggle/input")
BUNDLE = next(path.parent for path in sorted(INPUT.rglob("bundle.json")))
WORK = Path("/kaggle/working")
print(BUNDLE)"""

_INSTALL = "!pip install --quiet --no-index --no-deps {BUNDLE}/wheels/*.whl"

_VERIFY = "!kit verify {BUNDLE}"

_PREDICT = """\
!kit -w {{BUNDLE}}/workspace predict {name} --input {{INPUT}} --work {{WORK}}/kit \\
    --out {{WORK}}/submission.csv"""

_COMPARE = """\
# The same bytes as where the bundle was made, or nearly so on another device; of a hidden test set nothing is known.
!kit verify {BUNDLE} --submission {WORK}/submission.csv
!head -n 3 {WORK}/submission.csv"""


def write_notebook(folder: Path, contents: Contents, competition: str) -> None:
    """Write the notebook and its metadata; names of owner and dataset are filled in when it is pushed."""
    cells = [
        _text(f"# {contents.name}\n\nPredicts with the {contents.what} `{contents.name}` of kit, without a network."),
        *map(_code, (_FIND, _INSTALL, _VERIFY, _PREDICT.format(name=contents.name), _COMPARE)),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    write_json(folder / NOTEBOOK, document)
    write_json(folder / METADATA, metadata_of("OWNER/NOTEBOOK", "OWNER/DATASET", competition, "none"))


def metadata_of(notebook: str, dataset: str, competition: str, machine: str) -> dict[str, Any]:
    """Return what Kaggle's client wants to know of a notebook: private, without internet, on the machine that is named.

    Args:
        notebook, dataset: OWNER/NAME.
        machine: one of `MACHINES`.
    """
    chosen = {"machine_shape": MACHINES[machine]} if MACHINES[machine] else {}
    return {
        "id": notebook,
        "title": notebook.partition("/")[2].replace("-", " "),
        "code_file": NOTEBOOK,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_internet": False,
        "enable_gpu": bool(chosen),
        "dataset_sources": [dataset],
        "competition_sources": [competition],
        **chosen,
    }


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": "about", "metadata": {}, "source": source}


def _code(source: str) -> dict[str, Any]:
    name = source.split()[1].strip("-{}").lower()
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
