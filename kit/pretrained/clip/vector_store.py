"""Vectors by key: one flat file that only grows, and a manifest. Knows nothing of what the vectors mean.

    embeddings/<model digest>/<name>.f32     (rows, D) float32, row after row
    embeddings/<model digest>/<name>.json    whose they are, D, and the key of each row

Rows are appended under a lock, and count once the manifest lists them. A writer killed in between leaves bytes that
no reader looks at and that the next writer writes over; rows that are there never change.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from kit.core.storage import disk_errors, read_json, write_json
from kit.core.workspace import Workspace
from kit.errors import DamagedStore, MissingStep, PredictionsError, StoreError

PATIENCE = 60.0  # seconds to wait for another process to finish its append


def embeddings_folder(workspace: Workspace, digest: str) -> Path:
    """Return the folder of one model's vectors."""
    return workspace.root / "embeddings" / digest


@dataclass(frozen=True)
class VectorStore:
    """The vectors of one model of one kind."""

    folder: Path
    name: str
    made_by: str
    """The command that makes them again."""

    @property
    def _rows(self) -> Path:
        return self.folder / f"{self.name}.f32"

    @property
    def _manifest(self) -> Path:
        return self.folder / f"{self.name}.json"

    def read(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors of these keys, `(n, D)` float32, and which are there, bool `(n,)`; D is 0 of an empty store.

        Raises:
            DamagedStore: the files are not what was written.
        """
        known, dimensions = self._known()
        places = {key: place for place, key in enumerate(known)}
        there = np.array([key in places for key in keys], bool)
        found = np.zeros((len(keys), dimensions), np.float32)
        if there.any():
            rows = np.memmap(self._rows, np.float32, "r", shape=(len(known), dimensions))
            found[there] = rows[[places[key] for key, one in zip(keys, there, strict=True) if one]]
            if not np.isfinite(found).all():
                raise self._damaged("values that are not finite")
        return found, there

    def add(self, keys: Sequence[str], vectors: np.ndarray, metadata: dict[str, Any]) -> None:
        """Append vectors `(n, D)`; keys that another process has added meanwhile are passed over.

        Args:
            metadata: what made them, for a person who reads the manifest.

        Raises:
            PredictionsError: a value is not finite.
            KitError: no room on the disk; what was there is whole.
        """
        if not np.isfinite(vectors).all():
            raise PredictionsError(
                f"{self._rows}: {metadata.get('model')} gives values that are not finite (NaN or infinite)."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            known, dimensions = self._known()
            if known and dimensions != vectors.shape[1]:
                raise self._damaged(f"vectors of length {dimensions} where {vectors.shape[1]} belong")
            have = set(known)
            fresh = [place for place, key in enumerate(keys) if key not in have]
            if not fresh:
                return
            self._append(len(known), np.ascontiguousarray(vectors[fresh], np.float32))
            names = [*known, *(keys[place] for place in fresh)]
            write_json(self._manifest, {**metadata, "dimensions": vectors.shape[1], "keys": names})

    def _append(self, known: int, vectors: np.ndarray) -> None:
        with disk_errors(self._rows), self._rows.open("r+b" if self._rows.exists() else "wb") as file:
            file.seek(known * vectors.shape[1] * 4)
            file.truncate()  # what a killed writer has left
            file.write(vectors.tobytes())
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock = FileLock(self.folder / f"{self.name}.lock", timeout=PATIENCE, poll_interval=0.02)
        with disk_errors(self._rows):
            try:
                lock.acquire()
            except Timeout:
                raise StoreError(
                    f"{self.folder} is being written by another process. Wait, then run: {self.made_by}"
                ) from None
            try:
                yield
            finally:
                lock.release()

    def _known(self) -> tuple[list[str], int]:
        try:
            manifest = read_json(self._manifest, made_by=self.made_by)
        except MissingStep:
            return [], 0
        keys, dimensions = manifest.get("keys"), manifest.get("dimensions")
        if not isinstance(keys, list) or not isinstance(dimensions, int) or dimensions < 1:
            raise self._damaged("a manifest that kit did not write")
        size = self._rows.stat().st_size if self._rows.is_file() else 0
        if size < len(keys) * dimensions * 4:
            raise self._damaged(f"{size} bytes where {len(keys)} vectors of length {dimensions} belong")
        return keys, dimensions

    def _damaged(self, what: str) -> DamagedStore:
        return DamagedStore(f"{self._rows} holds {what}. Delete {self.folder}, then run: {self.made_by}")
