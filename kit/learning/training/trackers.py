"""TensorBoard, Weights & Biases, MLflow and Trackio, each behind the same three methods. Knows no training.

Each training has one record: an interrupted one goes on in it (`trackers.json` beside `log.csv` holds its id). What
was written after the step from which it goes on is hidden where the tracker can do that (TensorBoard); elsewhere
those steps are not written twice.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kit.core.secrets import without_secrets
from kit.core.speech import say_once
from kit.core.storage import write_json
from kit.core.trackers import TRACKERS
from kit.errors import KitError, TrainingError
from kit.learning.experiments.progress import RECORDS, read_object

STRIP = "validation_photos"  # the picture's name in every tracker


@dataclass(frozen=True)
class Tracked:
    """What a record says of the training that it is of."""

    folder: Path
    root: Path
    """The workspace, where MLflow's runs lie."""
    project: str
    """The competition."""
    source: str
    fold: str
    settings: Mapping[str, Any]
    start: int
    """The step from which it goes on; 0: from the beginning."""

    @property
    def name(self) -> str:
        """Return what the record is called."""
        return f"{self.source}-fold-{self.fold}"


class Tracker(Protocol):
    """Somewhere to write a training's numbers and pictures."""

    name: str

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Write a row of the log."""

    def picture(self, step: int, picture: np.ndarray) -> None:
        """Write a picture, uint8 RGB `(H, W, 3)`."""

    def close(self) -> None:
        """Write all that is left."""


def open_trackers(names: tuple[str, ...], training: Tracked) -> list[Tracker]:
    """Open the record of a training in each tracker.

    Raises:
        TrainingError: a package is missing or broken, or its service refuses.
    """
    opened: list[Tracker] = []
    for name in names:
        try:
            opened.append(_OPEN[name](training))
        except KitError:
            raise
        except ImportError as error:
            package = TRACKERS[name][1]
            raise TrainingError(
                f"--log {name} needs a package that can be imported ({error}). Run: pip install {package}"
            ) from None
        except Exception as error:  # each package raises its own
            reason = without_secrets(" ".join((str(error) or type(error).__name__).split()))[:200].rstrip(".")
            raise TrainingError(f"--log {name} cannot begin ({reason}). Mend that, or leave --log {name} out") from None
    return opened


class _TensorBoard:
    """Events below `tensorboard/`."""

    name = "tensorboard"

    def __init__(self, training: Tracked) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # events after that step are of a training that was killed, and hidden
        folder, purge = str(training.folder / "tensorboard"), training.start + 1
        self._writer: Any = SummaryWriter(folder, purge_step=purge)

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        for name, value in _numbers(row).items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, picture: np.ndarray) -> None:
        self._writer.add_image(STRIP, picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Notes:
    """The id of a training's record and the last step in it, kept beside its log."""

    def __init__(self, training: Tracked, tracker: str) -> None:
        self._path, self._tracker = training.folder / RECORDS, tracker
        found = self._all().get(tracker)
        found = found if isinstance(found, dict) else {}
        self.id = str(found.get("id") or "")
        step = found.get("step")
        self.step = step if isinstance(step, int) else 0

    def _all(self) -> dict[str, Any]:
        return read_object(self._path)

    def keep(self, identity: str, step: int = 0) -> None:
        """Note which record it is, and the last step in it."""
        self.id, self.step = identity, max(step, self.step)
        write_json(self._path, {**self._all(), self._tracker: {"id": self.id, "step": self.step}})

    def is_new(self, step: int) -> bool:
        """Return whether a step is not in the record yet."""
        return step > self.step

    def is_behind(self, step: int) -> bool:
        """Return whether later steps are in the record: a killed training was farther."""
        return step < self.step


class _WandB:
    """Weights & Biases, below `wandb/`; offline unless there is a key."""

    name = "wandb"

    def __init__(self, training: Tracked) -> None:
        import wandb

        self._wandb, self._notes = wandb, _Notes(training, self.name)
        identity = self._notes.id or uuid.uuid4().hex[:12]
        mode = os.environ.get("WANDB_MODE") or ("online" if _has_key(wandb) else "offline")
        known = getattr(wandb.Settings, "model_fields", {})  # which there are differs from version to version
        settings = wandb.Settings(**{name: value for name, value in _PRIVATE.items() if name in known})
        self._run: Any = wandb.init(
            project=training.project,
            id=identity,
            name=training.name,
            group=training.source,
            dir=str(training.folder),
            config=dict(training.settings),
            resume="allow",
            mode=mode,
            settings=settings,
        )
        self._notes.keep(identity)
        if mode == "offline":
            say_once(f"wandb: offline; send it later: wandb sync {training.folder / 'wandb'}/offline-run-*")

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        if self._notes.is_new(step):
            self._run.log(_numbers(row), step=step)
            self._notes.keep(self._notes.id, step)

    def picture(self, step: int, picture: np.ndarray) -> None:
        if not self._notes.is_behind(step):
            self._run.log({STRIP: self._wandb.Image(picture)}, step=step)

    def close(self) -> None:
        self._run.finish()


_PRIVATE = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""Settings of wandb: no copy of what is printed, no code, nothing of the machine; numbers and pictures alone."""


def _has_key(wandb: Any) -> bool:
    """Return whether this user has logged in; without a key wandb would ask for one, and nobody may be there."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    with contextlib.suppress(Exception):
        if "prompt" in inspect.signature(wandb.login).parameters:
            return bool(wandb.login(prompt=False, verify=False))  # looks at files and asks nobody
        return bool(wandb.api.api_key)  # of versions before
    return False


class _MLflow:
    """MLflow: where MLFLOW_TRACKING_URI says, or in the folder `mlruns/` of the workspace."""

    name = "mlflow"

    def __init__(self, training: Tracked) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:  # a folder needs no database package, and can be written to by several processes
            uri = (training.root.resolve() / "mlruns").as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient

        self._client, self._notes = MlflowClient(tracking_uri=uri), _Notes(training, self.name)
        identity = self._notes.id
        if identity:
            self._client.update_run(identity, status="RUNNING")
        else:
            identity = self._created(training)
        self._notes.keep(identity)

    def _created(self, training: Tracked) -> str:
        found = self._client.get_experiment_by_name(training.project)
        where = found.experiment_id if found else self._client.create_experiment(training.project)
        run = self._client.create_run(where, run_name=training.name, tags={"source": training.source})
        for name, value in training.settings.items():
            self._client.log_param(run.info.run_id, name, str(value)[:500])
        return str(run.info.run_id)

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        if self._notes.is_new(step):
            for name, value in _numbers(row).items():
                self._client.log_metric(self._notes.id, name, value, step=step)
            self._notes.keep(self._notes.id, step)

    def picture(self, step: int, picture: np.ndarray) -> None:
        if not self._notes.is_behind(step):
            self._client.log_image(self._notes.id, picture, key=STRIP, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._notes.id)


class _Trackio:
    """Trackio, in its own folder (TRACKIO_DIR)."""

    name = "trackio"

    def __init__(self, training: Tracked) -> None:
        import trackio

        self._trackio, self._notes = trackio, _Notes(training, self.name)
        # a name is all that tells its records apart, and two workspaces may train the same source
        identity = self._notes.id or f"{training.name}-{uuid.uuid4().hex[:6]}"
        with _quiet():
            self._run: Any = trackio.init(
                project=training.project,
                name=identity,
                group=training.source,
                config={name: str(value) for name, value in training.settings.items()},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self._notes.keep(identity)

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        if self._notes.is_new(step):
            self._run.log(_numbers(row), step=step)
            self._notes.keep(self._notes.id, step)

    def picture(self, step: int, picture: np.ndarray) -> None:
        if not self._notes.is_behind(step):
            self._run.log({STRIP: self._trackio.Image(picture)}, step=step)

    def close(self) -> None:
        with _quiet():
            self._trackio.finish()  # and not the run's own: it would be finished once more, aloud, when Python ends


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep a package's own words from standard output, where kit's results go."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _numbers(row: Mapping[str, float]) -> dict[str, float]:
    """Return what a row measures: its epoch is the step."""
    return {name: float(value) for name, value in row.items() if name != "epoch"}


_OPEN: dict[str, Callable[[Tracked], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WandB,
    "mlflow": _MLflow,
    "trackio": _Trackio,
}
"""How each of `TRACKERS` is opened."""
