"""The journal of a study: every trial, its settings and measurements, as Optuna keeps them."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from kit.core.storage import digest_of, write_text
from kit.errors import DamagedStore

FIRST = 4  # trials that come to their end before any is pruned
WARM = 4  # and none is in the first 1/WARM of its epochs
STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class _NoLock(JournalFileOpenLock):
    """No lock of Optuna's own: kit holds the folder's, which dies with the process and never fails to go away."""

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""


def sampler_of(number: int, field: str) -> optuna.samplers.TPESampler:
    """Return the sampler that proposes one setting of a trial: each has its own, so that a trial that was killed amid
    its proposal gets the rest as it would have. What newer versions do by default depends on trials that run."""
    seed = int(digest_of([number, field]), 16) % 2**32
    return optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=False)


def open_journal(path: Path, name: str, epochs: int) -> optuna.Study:
    """Open the journal of a study, or make it. Nobody else writes to it: the caller holds the lock of its folder.

    Args:
        epochs: of a trial; none is pruned in the first quarter of them.

    Raises:
        DamagedStore: it is not what kit wrote.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path.is_file():
        whole = path.read_bytes()
        if not whole.endswith(b"\n"):  # killed while it appended: Optuna would write on in the middle of the line
            write_text(path, whole[: whole.rfind(b"\n") + 1].decode(errors="replace"))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST, n_warmup_steps=epochs // WARM)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), _NoLock(str(path))))
        return optuna.create_study(storage=storage, study_name=name, pruner=pruner, load_if_exists=True)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged line makes Optuna raise
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise DamagedStore(
            f"{path} is not the journal that kit wrote ({reason}). Begin anew: the same command with --force"
        ) from None
