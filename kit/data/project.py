"""The project: layout, index, pack and folds of one workspace. Computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kit.competitions import Competition
from kit.competitions.loading import layout_of
from kit.core.workspace import Workspace
from kit.data.folds import Folds, read_folds
from kit.data.index import Index, read_index
from kit.data.pack import Pack, read_pack
from kit.data.prediction_store import PredictionStore
from kit.errors import MissingStep


@dataclass(frozen=True)
class Project:
    """A workspace whose competition has been fetched; each part is read when it is first asked for."""

    workspace: Workspace
    trained: Project | None = None
    """Of other test photos (`kit.data.other_tests`): the project whose models and folds are used on them."""

    @cached_property
    def layout(self) -> Competition:
        """Return the layout that it was fetched with. Raises `UnknownName` for a slug without one."""
        return layout_of((self.trained or self).workspace)

    @cached_property
    def index(self) -> Index:
        """Return the index. Raises `MissingStep` before `kit fetch`."""
        return read_index(self.workspace)

    @cached_property
    def pack(self) -> Pack:
        """Map the pack. Raises `MissingStep` before `kit fetch`."""
        return read_pack(self.workspace, self.index)

    @cached_property
    def folds(self) -> Folds:
        """Return the folds. Raises `MissingStep` before `kit folds`."""
        if self.trained is not None:
            return self.trained.folds
        return read_folds(self.workspace, self.index)

    @property
    def folds_if_any(self) -> Folds | None:
        """Return the folds, or None before `kit folds`."""
        try:
            return self.folds
        except MissingStep:
            return None

    @cached_property
    def predictions(self) -> PredictionStore:
        """Return every source's predictions. Raises `MissingStep` before `kit fetch`."""
        return PredictionStore(self.workspace, self.index, lambda: self.folds_if_any)
