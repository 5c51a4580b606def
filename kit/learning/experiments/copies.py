"""The user's own code in the folder of a run: written before the run begins, read back, compared with its digest."""

from __future__ import annotations

import contextlib
from pathlib import Path

from kit.core.storage import digest_bytes, writing
from kit.errors import DamagedStore
from kit.learning.experiments.code import data_of, digest_in, remember
from kit.learning.experiments.groups import CODE_FILES
from kit.learning.experiments.settings import Experiment


def own_code(experiment: Experiment) -> dict[str, str]:
    """Return the reference of each file that a run of this experiment carries, by the copy's name."""
    found = {file: str(getattr(experiment, setting)) for setting, file in CODE_FILES.items()}
    return {file: reference for file, reference in found.items() if digest_in(reference) is not None}


def save_code(folder: Path, experiment: Experiment) -> None:
    """Write the copies, where they are not there already. Raises `DamagedStore` when nobody has the code any more."""
    for file, reference in own_code(experiment).items():
        if wrong_copy(folder / file, reference):
            data = data_of(reference)
            with writing(folder / file) as copy:
                copy.write(data)


def drop_code(folder: Path) -> None:
    """Delete the copies, and the folder and its source's if that leaves them empty."""
    copies = [folder / file for file in CODE_FILES.values() if (folder / file).is_file()]
    for copy in copies:
        copy.unlink()
    for empty in (folder, folder.parent) if copies else ():
        with contextlib.suppress(OSError):  # it is not
            empty.rmdir()


def wrong_copy(path: Path, reference: str) -> str:
    """Say what is wrong with a copy; "" where nothing is."""
    try:
        digest = digest_bytes(path.read_bytes())
    except OSError:
        return "is gone"
    return "" if digest == digest_in(reference) else "is not as it was trained (its digest differs)"


def recall(source: Path, experiment: Experiment) -> None:
    """Read the code of a source from the copies in its folds that are as they were; the first one will do."""
    for file, reference in own_code(experiment).items():
        copies = sorted(source.glob(f"*fold_*/{file}"))  # also in a fold that is being replaced
        good = next((path for path in copies if not wrong_copy(path, reference)), None)
        if good is not None:
            remember(good, from_run=True)


def recall_run(folder: Path, experiment: Experiment, again: str) -> None:
    """Read the model's code of one fold, for prediction.

    Args:
        again: the command that trains the fold anew.

    Raises:
        DamagedStore: the copy is gone, or is not what was trained.
    """
    for file, reference in own_code(experiment).items():
        if file != CODE_FILES["model"]:  # a loss predicts nothing
            continue
        if wrong := wrong_copy(folder / file, reference):
            raise DamagedStore(f"{folder / file} {wrong}. Put it back, or train again: {again}")
        remember(folder / file, from_run=True)
