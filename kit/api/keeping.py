"""The state of the work and of the machine, and things to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kit.api.folder import FilePath, Folder, Names, listed, path_of
from kit.api.needs import extras_of
from kit.api.pictures import Pictures
from kit.api.training import setting_texts
from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.api.states import Machine, Removed, State
    from kit.core.workspace import Split
    from kit.report.picking import Order
    from kit.upkeep.check_layout import Passed
    from kit.upkeep.verify import Verified


class Keeping(Folder):
    """What is here, whether it is whole, and what it looks like."""

    def status(self) -> State:
        """Return what is here, what is stale and why, what runs, and what to do next, as `kit status`.

        >>> kit.open(".").status().data
        '12 training and 4 test photos, of unknown origin'
        """
        from kit.api.states import State
        from kit.upkeep.status import read_status

        return State(**vars(read_status(self.opened)))

    def verify(self) -> Verified:
        """Read every stored file whole and compare it with its digest, as `kit verify`.

        Returns:
            Counts, and `problems`: a line for each file that is not as it was written, with the command that mends it.

        Raises:
            MissingStep: nothing was fetched.

        >>> kit.open(".").verify().problems
        ()
        """
        from kit.upkeep.verify import verify_workspace

        return verify_workspace(self.opened)

    def rm(self, names: Names, *, dry_run: bool = False) -> Removed:
        """Delete sources, trainings, studies, blends or submissions with all that belongs to them, as `kit rm --yes`.

        Args:
            dry_run: only say what would go.

        Raises:
            UnknownName: nothing has that name; then nothing is deleted.
            Busy: a process is training it.

        >>> project = kit.open(".")
        >>> _ = project.blend("mean", name="short-lived")
        >>> project.rm("short-lived").dry_run, "short-lived" in [one.name for one in project.blends()]
        (False, False)
        """
        from kit.api.states import Removed
        from kit.upkeep.remove import plan_removal, remove

        chosen, workspace = list(dict.fromkeys(listed(names))), self.workspace
        if not chosen:
            raise UsageError("What is to be deleted? Give its name.")
        planned = [plan_removal(workspace, name) for name in chosen]
        for one in [] if dry_run else planned:
            remove(one)
        return Removed(tuple(planned), dry_run)

    def doctor(self, *, offline: bool = False) -> Machine:
        """Check what kit relies on on this machine, as `kit doctor`: `.fit`, and a record for each finding.

        Args:
            offline: ask no network.
        """
        from kit.api.states import Machine
        from kit.upkeep.doctor import examine

        return Machine(tuple(examine(self.workspace, ask_network=not offline)))

    def figure(
        self,
        columns: Names = (),
        photos: int | Names = 4,
        *,
        order: Order = "spread",
        klass: str | None = None,
        errors: bool = False,
        test: bool = False,
        truth: FilePath | None = None,
        out: FilePath | None = None,
    ) -> Pictures:
        """Draw hidden photos, sources, blends and truth side by side, as `kit figure`; a notebook shows it.

        Args:
            columns: sources and blends; by default a few, and the newest blend.
            photos: how many, or their ids or names.
            order: of so many photos: `spread` over the classes, `worst` or `best` by the last column, or `random`.
            klass: photos of this class alone.
            errors: show behind each prediction where it is wrong.
            test: show test photos.
            truth: a folder of the original test photos, to show these with them.
            out: a `.png`; by default `report/figure.png` in the workspace.

        Raises:
            UnknownName, UsageError: a source, blend or photo that is not there, or more columns than can be shown.
            MissingStep: there are no sources.

        >>> [path.name for path in kit.open(".").figure("harmonic", 2)]
        ['figure.png']
        """
        from kit.report.figure import default_columns, save_figure, side_by_side
        from kit.report.picking import choose_photos

        opened = self.opened
        split: Split = "test" if test or truth is not None else "train"
        shown = listed(columns) or default_columns(opened)
        chosen: list[int | str] = (
            [*choose_photos(opened, shown, split, photos, order=order, klass=klass)]
            if isinstance(photos, int)
            else [*listed(photos)]
        )
        image = side_by_side(opened, photos=chosen, columns=shown, split=split, truth=path_of(truth), errors=errors)
        path = path_of(out) or opened.workspace.report / "figure.png"
        save_figure(path, image)
        return Pictures((path,))

    def check_model(self, model: str, /, **settings: object) -> tuple[str, ...]:
        """Check a model of your own on made-up photos, as `kit check-model`; needs no competition.

        Args:
            model: `FILE.py:NAME`.
            settings: as for `train`.

        Returns:
            A line for each thing that is as it should be.

        Raises:
            TrainingError: the first thing that is not.
            UsageError: it is no model of your own.
        """
        with extras_of("train"):
            from kit.learning.own_check import checked_lines

            return tuple(checked_lines(self.workspace, model, setting_texts(settings)))

    def check_layout(self, layout: str, source: FilePath) -> tuple[Passed, ...]:
        """Check a layout of your own on a competition's files, as `kit check-layout`; keeps nothing.

        Args:
            layout: `FILE.py`, or a layout's name.
            source: the competition's zip or folder.

        Raises:
            ArchiveError: there is no such zip or folder.
            KitError: of the first thing that is not as it should be.
        """
        from kit.upkeep.check_layout import check_given_layout

        return tuple(check_given_layout(layout, Path(source).expanduser()))
