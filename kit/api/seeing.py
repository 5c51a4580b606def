"""What there is to look at: the page, two sources, one photo. Draws nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.api.folder import FilePath, Folder, Names, listed, path_of

if TYPE_CHECKING:
    from kit.exploring import Exploration
    from kit.report.compare import Comparison
    from kit.report.one_photo import OnePhoto
    from kit.report.page import Report
    from kit.upkeep.watch import Watched


class Seeing(Folder):
    """Pages and comparisons."""

    def report(
        self,
        blend: str | None = None,
        *,
        sources: Names = (),
        photos: int | None = 200,
        out: FilePath | None = None,
    ) -> Report:
        """Write one HTML page of everything there is to see, as `kit report`; `.verdict` is what it says first.

        Args:
            blend: by default the newest.
            sources: those with pictures; by default the heaviest members of the blend, or the best.
            photos: how many have pictures, the most telling first; None: all.
            out: an `.html`; by default `report/report.html` in the workspace.

        Raises:
            MissingStep: there are no sources.
            UnknownName: no such blend or source.

        >>> kit.open(".").report().path.name
        'report.html'
        """
        from kit.core.workspace import check_output
        from kit.report.page import write_report

        opened, target = self.opened, path_of(out)
        if target is not None:
            check_output(opened.workspace, target)
        return write_report(opened, blend=blend, sources=listed(sources), photos=photos, out=target)

    def explore(self, *, page: bool = True, out: FilePath | None = None) -> Exploration:
        """Look at the data before any model is made, as `kit explore`: leaks, copies, what differs between training and
        test photos, and what is odd; `.verdicts` says it in a line each.

        Args:
            page: write it as HTML too.
            out: an `.html`; by default `report/explore.html` in the workspace.

        Raises:
            MissingStep: nothing is fetched.
        """
        from kit.core.workspace import check_output
        from kit.exploring import explore
        from kit.report.explore.page import check_page, write_page

        opened, target = self.opened, path_of(out)
        if target is not None:
            check_page(target)
            check_output(opened.workspace, target)
        found = explore(opened)
        if page:
            write_page(target or opened.workspace.report / "explore.html", opened, found)
        return found

    def watch(self, name: str | None = None) -> tuple[Watched, ...]:
        """Return what is trained here, how good it is so far and when it is done, as `kit watch --once`.

        Args:
            name: of one source alone.

        Raises:
            UnknownName: nothing was trained under that name.
        """
        from kit.upkeep.watch import read_watched

        return read_watched(self.workspace, name)

    def compare(self, first: str, second: str, *, seed: int = 0) -> Comparison:
        """Say which of two sources or blends is better, and where, as `kit compare`.

        Returns:
            Scores, the paired `gain` of the second with its interval, parts, photos by gain, settings that differ.

        Raises:
            UnknownName: no such source or blend.
            UsageError: both are the same, or no photo is predicted by both.

        >>> kit.open(".").compare("mean", "harmonic").names
        ('mean', 'harmonic')
        """
        from kit.report.compare import compare

        return compare(self.opened, first, second, seed=seed)

    def show(self, photo: str, *, out: FilePath | None = None) -> OnePhoto:
        """Score one photo by every source and draw it, as `kit show`.

        Args:
            photo: its id or name, also without its suffix.
            out: a `.png`; by default `report/photo-NAME.png` in the workspace.

        Raises:
            UnknownName: no such photo.
            MissingStep: there are no sources.
        """
        from kit.core.workspace import check_output
        from kit.report.one_photo import show_photo

        opened, target = self.opened, path_of(out)
        if target is not None:
            check_output(opened.workspace, target)
        return show_photo(opened, photo, out=target)
