"""What a training loop of one's own needs of kit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.api.folder import Folder
from kit.api.needs import extras_of
from kit.api.training import Request, chosen

if TYPE_CHECKING:
    from kit.api.loop import Batches, Inputs
    from kit.api.store import Store
    from kit.core.workspace import Fold
    from kit.data.project import Project as Opened
    from kit.learning.experiments import Experiment


class Looping(Folder):
    """Batches, what to predict, and the store."""

    @property
    def predictions(self) -> Store:
        """Return the store of every source's predictions; `write` is the way into it for a loop of one's own."""
        from kit.api.store import Store

        return Store(self.opened)

    def batches(
        self,
        experiment: str = "regress",
        fold: Fold = 0,
        *,
        epochs: int = 1,
        begin: int = 0,
        device: str = "cpu",
        **settings: object,
    ) -> Batches:
        """Return the batches on which the model of a fold may be trained, as `kit train` would make them.

        Each is a `kit.learning.datasets.Batch`: `filled`, `hole`, `target`, `weight` at the experiment's size, with
        fresh holes and the base fill in them. Passing over it once more brings the next epochs, as a data loader does;
        equal calls bring equal batches.

        Args:
            experiment: whose sizes, boxes, augmentation and base fill: `kit train --list`, section by section.
            fold: the fold that the model is not to see; `full`: it sees every training photo.
            epochs: in one pass.
            begin: the first epoch, to go on.
            device: where they are made.
            settings: over those of the experiment.

        >>> batches = kit.open(".").batches("regress", fold=0, size=32, batch_size=4)
        >>> len(batches), [tuple(batch.filled.shape) for batch in batches]
        (2, [(4, 3, 32, 32), (4, 3, 32, 32)])
        """
        with extras_of("train"):
            from kit.api.loop import batches

            opened = self.opened
            return batches(
                opened, self._settings(opened, experiment, settings), fold, epochs=epochs, begin=begin, device=device
            )

    def validation(self, experiment: str = "regress", fold: Fold = 0, **settings: object) -> Inputs:
        """Return the photos of a fold as its model is to predict them: `filled`, `hole`, `to_values`, `rmse`.

        Args:
            experiment: as for `batches`, with the same settings.
            fold: the fold that the model has not seen.

        Raises:
            UsageError: a full model has seen every photo.

        >>> inputs = kit.open(".").validation("regress", fold=0, size=32)
        >>> inputs, inputs.to_values(inputs.filled * 0)
        (<4 photos of fold 0, 32 px>, <values of 4 photos of fold 0, 32 px>)
        >>> 0 < inputs.rmse(inputs.filled * 0) < 1
        True
        """
        with extras_of("train"):
            from kit.api.loop import inputs

            opened = self.opened
            return inputs(opened, self._settings(opened, experiment, settings), "oof", fold)

    def test(self, experiment: str = "regress", fold: Fold | None = None, **settings: object) -> Inputs:
        """Return the test photos as a model is to predict them, see `validation`.

        Args:
            fold: of which the model is; needed only where networks take a condition (`clip_model`).
        """
        with extras_of("train"):
            from kit.api.loop import inputs

            opened = self.opened
            return inputs(opened, self._settings(opened, experiment, settings), "test", fold)

    def _settings(self, opened: Opened, experiment: str, settings: dict[str, object]) -> Experiment:
        return chosen(opened, Request(experiment, settings))
