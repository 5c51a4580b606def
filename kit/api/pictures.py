"""Pictures in a notebook: files, and a few photos filled. Each is a part of the page itself, and every text escaped."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.core.tables import html_picture
from kit.errors import KitError

if TYPE_CHECKING:
    from kit.blending import Blend
    from kit.core.workspace import Workspace
    from kit.data.predictions import Predictions
    from kit.data.project import Project
    from kit.report.thumbnails import Thumbnails

_MANY = 4  # files of a folder that are shown


@dataclass(frozen=True)
class Pictures(Sequence[Path]):
    """Files of pictures, which a notebook shows."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def __getitem__(self, key: Any) -> Any:
        """Return a file by its place."""
        return self.paths[key]

    def _repr_html_(self) -> str:
        return "".join(_file(path) for path in self.paths)


def html_of_blend(workspace: Workspace, blend: Blend) -> str:
    """Return a few training photos filled by a blend."""
    from kit.data.project import Project
    from kit.report.thumbnails import thumbnails_of_blend

    return _html(lambda: thumbnails_of_blend(Project(workspace), blend))


def html_of_source(project: Project, predictions: Predictions) -> str:
    """Return a few photos filled by a source."""
    from kit.report.thumbnails import thumbnails_of_source

    return _html(lambda: thumbnails_of_source(project, predictions))


def html_of_folder(folder: Path) -> str:
    """Return the first pictures of a folder, made small."""
    from kit.imaging.images import load_image
    from kit.report.thumbnails import thumbnail

    paths = sorted(folder.glob("*.png"))[:_MANY]
    return "".join(html_picture(thumbnail(load_image(path)), "jpeg", path.stem) for path in paths)


def _html(make: Callable[[], Iterable[Thumbnails]]) -> str:
    """Return photos row by row; one line instead where what they are made of has changed since."""
    try:
        rows = list(make())
    except KitError as error:
        return f"<p>{html.escape(f'No pictures: {error}')}</p>"
    cells = (
        "".join(f"<td>{html_picture(data, 'jpeg', title)}<br>{html.escape(title)}</td>" for title, data in row.pictures)
        for row in rows
    )
    body = "".join(f"<tr><td>{html.escape(row.photo)}</td>{made}</tr>" for row, made in zip(rows, cells, strict=True))
    return f"<table><tbody>{body}</tbody></table>"


def _file(path: Path) -> str:
    kind = "svg+xml" if path.suffix == ".svg" else path.suffix.removeprefix(".")
    return html_picture(path.read_bytes(), kind, path.stem)
