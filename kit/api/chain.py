"""From the competition's data to a blend: the chain without what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.api.folder import FilePath, Folder, Names, listed, path_of
from kit.api.needs import extras_of
from kit.api.results import Blend, Blends, Fetched, Filled, Fills, Sources

if TYPE_CHECKING:
    import pandas as pd

    from kit.data.folds import Folds as Split
    from kit.data.project import Project as Opened


class Chain(Folder):
    """The steps of the chain that train nothing."""

    def fetch(
        self,
        source: FilePath | None = None,
        *,
        sample: bool = False,
        in_place: bool = False,
        layout: str | None = None,
        images: FilePath | None = None,
        masks: FilePath | None = None,
        test_images: FilePath | None = None,
        test_masks: FilePath | None = None,
        targets: FilePath | None = None,
        boxes: FilePath | None = None,
        columns: str | None = None,
        hole: str | None = None,
        hidden: str = "white",
        metric: str = "rmse",
        force: bool = False,
    ) -> Fetched:
        """Bring the competition's data here, check it, make index and pack, as `kit fetch`. Which competition it is,
        `kit.open` says.

        Args:
            source: a zip or folder instead of Kaggle. Without it and `sample`, the data come from where they came
                before.
            sample: take the small built-in competition, which needs no account.
            in_place: read the files of the folder `source` where they are.
            layout: how the files are read: `FILE.py` or a name. Default: the slug's.
            images, masks, test_images, test_masks, targets, boxes, columns, hole, hidden, metric: of a competition that
                is plain folders; see `kit fetch --help`.
            force: do it again although it is there.

        Raises:
            UsageError: two sources at once, or another competition is here.
            ArchiveError, DataError: the data cannot be used; what was there stays.
            RemoteError: the download was refused or failed.

        >>> found = kit.open(".").fetch()
        >>> found.train, found.test, found.already
        (12, 4, True)
        """
        from kit.competitions.chosen import PlainFolders, chosen_layout
        from kit.data.fetch import fetch, origin_of_before, truth_of

        workspace, path = self.workspace, path_of(source)
        plain = PlainFolders(
            path_of(images), path_of(masks), path_of(test_images), path_of(test_masks), path_of(targets),
            path_of(boxes), columns, hole, hidden, metric,
        )  # fmt: skip
        choice, at = chosen_layout(layout, plain, path)
        if at is not None:  # plain folders are read where they are
            path, in_place = at, True
        origin = None if path or sample else origin_of_before(workspace, force=force)
        if origin is not None:
            path, sample, in_place = origin.source, origin.sample, in_place or origin.in_place
        with extras_of("demo"):
            found = fetch(workspace, source=path, in_place=in_place, sample=sample, force=force, choice=choice)
        train, test = len(found.index.train), len(found.index.test)
        truth = truth_of(workspace) if sample else None
        return Fetched(workspace.slug, workspace.data, train, test, found.already, tuple(found.notes), truth)

    def folds(self, k: int = 5, seed: int = 0, *, force: bool = False) -> Split:
        """Split the training photos into folds, classes even and near duplicates together, as `kit folds`.

        Returns:
            The folds, also where they were there: `.fold` and `.group` of each training photo, `(N,)` int, and
            `train_positions(fold)`, `valid_positions(fold)`.

        Raises:
            UsageError: fewer than 2 folds, or fewer groups of photos than folds.
            Mismatch: other folds are there; `force` replaces them, and what was trained on them no longer counts.

        >>> kit.open(".").folds(k=3).valid_positions(0).shape
        (4,)
        """
        from kit.data.splitting import ensure_folds

        return ensure_folds(self.opened, k=k, seed=seed, force=force)[1]

    def fill(self, names: Names = "all", *, jobs: int = 0, force: bool = False) -> Fills:
        """Fill every hole by classical methods and store each as a source, as `kit fill`.

        Args:
            names: `mean`, `telea`, `navier-stokes`, `harmonic`, `fractional`, several of them, or `all`.
            jobs: so many processes; 0 takes threads. The values are the same. A script that gives it must be guarded
                by `if __name__ == "__main__"`.

        Raises:
            UnknownName: there is no such fill.

        >>> kit.open(".").fill(["mean", "harmonic"])
        fill      state
        --------  -------------
        mean      there already
        harmonic  there already
        """
        from kit.data.fill_sources import fills_named, make_fill_source

        opened = self.opened
        made = [
            Filled(name, already=not make_fill_source(opened, name, force=force, processes=jobs))
            for name in fills_named(listed(names))
        ]
        return Fills(tuple(made))

    def sources(self) -> Sources:
        """Score every source, as `kit sources`: best first, 95 % interval by photo.

        >>> found = kit.open(".").sources()
        >>> found["harmonic"].complete, list(found.frame.columns[:4])
        (True, ['name', 'score', 'score_low', 'score_high'])
        """
        from kit.blending import score_sources

        opened = self.opened
        return Sources(tuple(score_sources(opened)), _metric(opened))

    def by_photo(self) -> pd.DataFrame:
        """Return each training photo with its score by every source and the newest blend, as `kit sources --photos`.

        Raises:
            MissingStep: there are no sources.

        >>> "harmonic" in kit.open(".").by_photo().columns
        True
        """
        from kit.report.by_photo import by_photo

        return by_photo(self.opened)

    def blend(
        self,
        members: Names | None = None,
        rung: str = "auto",
        name: str | None = None,
        *,
        stack: bool = False,
        seed: int = 0,
    ) -> Blend:
        """Find the weights that score best, and how good they are on photos they were not fitted on, as `kit blend`.

        Args:
            members: sources; by default every complete one.
            rung: one by name, or `auto`: climb as far as the gain is credible.
            name: by default made from what goes in.
            stack: train a stacking network too (minutes).
            seed: of the intervals.

        Raises:
            UnknownName: there is no such source or rung.
            MissingStep: no source is complete, or a member lacks folds.
            Mismatch: predictions for other photos or folds.

        >>> b = kit.open(".").blend(["mean", "harmonic"], rung="simplex", name="both")
        >>> sorted(b.weights), round(sum(b.weights.values()), 6), b.cv.low <= b.cv.value <= b.cv.high
        (['harmonic', 'mean'], 1.0, True)
        """
        from kit.blending import chosen_members, make_blend, nested_weights, stack_recipe

        opened, named = self.opened, [] if members is None else listed(members)
        if stack:
            with extras_of("blend"):
                from kit.learning.stacking import train_stack

                chosen_names = chosen_members(opened, named)
                train_stack(opened, chosen_names, nested_weights(opened, chosen_names), seed=seed)
        made = make_blend(opened, named, name=name, rung=rung, seed=seed)
        left_out = tuple(
            source
            for source in ([] if named else opened.predictions.sources())
            if source not in made.weights and stack_recipe(opened, source) is None
        )
        return Blend(made, opened.workspace, _metric(opened), left_out)

    def blends(self) -> Blends:
        """Return the blends that are there, newest first, as `kit blends`."""
        from kit.upkeep.status import list_blends

        return Blends(list_blends(self.opened))


def _metric(opened: Opened) -> str:
    """Return what the competition's score is called."""
    return opened.layout.measured_by.label
