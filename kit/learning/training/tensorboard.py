"""TensorBoard events of a training, when asked for."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from kit.errors import TrainingError


class Board:
    """Writes each epoch's row below `tensorboard/`; nothing unless enabled."""

    def __init__(self, folder: Path, step: int, *, enabled: bool) -> None:
        """
        Args:
            folder: of the training.
            step: events after it are of a training that was killed, and hidden.

        Raises:
            TrainingError: TensorBoard is not installed.
        """
        self._writer: Any = None
        if enabled:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise TrainingError("--tensorboard needs a package. Run: pip install tensorboard") from None
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, row: dict[str, float]) -> None:
        """Write each number of a row as a scalar."""
        if self._writer is None:
            return
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, step)
        self._writer.flush()
