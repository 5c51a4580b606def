"""Checkpoints of a training: whole, the last two kept, a damaged one skipped. Knows nothing of what they hold."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from kit.core.speech import warn
from kit.core.storage import sweep, writing
from kit.learning.experiments.progress import NOTE

KEEP = 2
_NAME = re.compile(r"checkpoint_(\d{6})\.pt")


def save_checkpoint(folder: Path, epoch: int, state: dict[str, Any]) -> None:
    """Write the state after `epoch` epochs, then drop all but the last two."""
    data = io.BytesIO()
    torch.save(state, data)  # not straight to disk: on a full one torch raises an error of its own, without the reason
    with writing(folder / f"checkpoint_{epoch:06d}.pt") as file:
        file.write(data.getbuffer())
    for _, path in list_checkpoints(folder)[:-KEEP]:
        path.unlink(missing_ok=True)


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Return the epoch and path of each checkpoint, oldest first."""
    found = [(match, path) for path in folder.glob("checkpoint_*.pt") if (match := _NAME.fullmatch(path.name))]
    return sorted((int(match.group(1)), path) for match, path in found)


def load_checkpoint(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Load the newest state that can be read, or None. A damaged file is named on standard error and passed over."""
    sweep(folder)
    found = [path for _, path in list_checkpoints(folder)]
    for before, path in reversed(list(zip([None, *found], found, strict=False))):
        try:
            _check_sums(path)
            state: dict[str, Any] = torch.load(path, device, weights_only=True)
            return state
        except FileNotFoundError:
            continue  # another process on this fold has finished, and dropped it
        except Exception as error:  # whatever a damaged zip or pickle makes torch raise
            reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
            back = "going back to the one before" if before else "and there is none before it: training from the start"
            warn(f"Warning: {path} is damaged ({reason}); {back}.")
    return None


def _check_sums(path: Path) -> None:
    # torch reads a zip without looking at its checksums: a changed byte would go on as a weight
    with zipfile.ZipFile(path) as file:
        if (wrong := file.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")


def drop_checkpoints(folder: Path) -> None:
    """Delete all, once the finished weights are safe, with the note of how far it was and what killed writers left."""
    sweep(folder)
    for path in (*(path for _, path in list_checkpoints(folder)), folder / NOTE):
        path.unlink(missing_ok=True)
