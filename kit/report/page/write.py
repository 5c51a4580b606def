"""Write the page: one file, and for more photos than it holds a folder beside it. Reads every store, changes none."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit import __version__
from kit.blending import blend_values
from kit.core.storage import write_text
from kit.core.tables import Shown
from kit.core.workspace import Split
from kit.data.project import Project
from kit.errors import KitError, UsageError
from kit.report.page.numbers import Numbers, as_plain, read_numbers
from kit.report.page.picks import EXTREMES, picked_photos
from kit.report.page.pictures import Picked, Values, encoded, shown_photos
from kit.report.page.verdict import verdict

WITHIN = 200  # photos in the page itself
BYTES = 8_500_000  # of them, at most
TEST = 24  # test photos among them
COLUMNS = 8  # sources with pictures
_CHUNK = 100  # photos of a file beside the page

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("charts.js", "sections.js", "photo.js", "gallery.js")


@dataclass(frozen=True)
class Report(Shown):
    """What was written."""

    path: Path
    photos: int
    """With pictures."""
    bytes: int
    """Of the page itself."""
    beside: tuple[Path, ...]
    """Files that it loads when more photos are asked for."""
    verdict: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((*self.verdict, f"Written: {self.path}"))


def write_report(
    project: Project,
    *,
    blend: str | None = None,
    sources: Sequence[str] = (),
    photos: int | None = WITHIN,
    out: Path | None = None,
) -> Report:
    """Write `report/report.html`; the same stores give the same bytes.

    Args:
        blend: by default the newest.
        sources: those with pictures, by default the heaviest members of the blend, or the best.
        photos: how many have pictures, the worst and best first; None: all. Above 200 the others lie beside the page.
        out: another file, `.html`.

    Raises:
        MissingStep: there is no source.
        UnknownName: no such blend or source.
        UsageError: a file of another kind.
    """
    path = out or project.workspace.report / "report.html"
    if path.suffix.lower() != ".html":
        better = path.with_suffix(".html") if path.name else Path("report.html")
        raise UsageError(f"{str(path)!r} does not end in .html. Choose {better}")
    numbers = read_numbers(project, blend)
    columns = _columns(numbers, sources)
    picks = _picks(numbers, photos)
    shown = shown_photos(project, picks, columns)
    inside, quality = encoded(shown[:WITHIN], BYTES)
    beside = _write_beside(path, shown[WITHIN:])
    said = verdict(numbers)
    data = as_plain(numbers)
    data["gallery"] = {
        "columns": [*columns["train"]],
        "quality": quality,
        "extremes": EXTREMES,
        "beside": [f"{path.stem}-photos/{one.name}" for one in beside],
        "photos": len(shown),
    }
    write_text(path, page(f"{project.workspace.slug}: report", said, data, inside))
    return Report(path, len(shown), path.stat().st_size, tuple(beside), tuple(said))


def _columns(numbers: Numbers, sources: Sequence[str]) -> dict[Split, dict[str, Values]]:
    """Return what has pictures: a few sources, and the blend."""
    project, blend = numbers.project, numbers.blend
    heaviest = [row.name for row in sorted(blend.members, key=lambda row: -abs(row.weight))] if blend else []
    named = list(sources) or [*(one for one in heaviest if one in numbers.names), *numbers.names]
    found: dict[Split, dict[str, Values]] = {"train": {}, "test": {}}
    for name in list(dict.fromkeys(named))[:COLUMNS]:
        for split, kind in (("train", "oof"), ("test", "test")):
            try:
                one = project.predictions.read(name, kind, partial=True)  # type: ignore[arg-type]
            except KitError:
                if sources:
                    raise
                continue
            there, values = set(one.photos.tolist()), one.opened().values
            found[split][name] = lambda photo, there=there, values=values: values(photo) if photo in there else None  # type: ignore[index, misc]
    if numbers.oof_values is not None and blend is not None:
        found["train"]["blend"] = numbers.oof_values
        found["test"]["blend"] = blend_values(project, blend, "test")
    return found


def _picks(numbers: Numbers, most: int | None) -> list[tuple[Split, int]]:
    scores = numbers.scored.scores
    photos = None if most is None else max(0, most)
    train = picked_photos(scores, higher_is_better=numbers.metric.higher_is_better, most=photos)
    test = np.linspace(0, len(numbers.project.index.test) - 1, TEST if photos != 0 else 0).astype(int).tolist()
    if photos is None:
        test = list(range(len(numbers.project.index.test)))
    tests: list[tuple[Split, int]] = [("test", one) for one in dict.fromkeys(test)]
    trains: list[tuple[Split, int]] = [("train", one) for one in train]
    if photos is not None:
        trains = trains[: max(0, photos - len(tests))]
    first = max(0, WITHIN - len(tests[:TEST]))
    return [*trains[:first], *tests[:TEST], *trains[first:], *tests[TEST:]]


def _write_beside(path: Path, shown: Sequence[Picked]) -> list[Path]:
    """Write the photos that the page does not hold as scripts: a page opened from a disk may load nothing else."""
    folder = path.parent / f"{path.stem}-photos"
    if folder.is_dir():
        for old in folder.glob("photos-*.js"):
            old.unlink()
    found = []
    for number, start in enumerate(range(0, len(shown), _CHUNK), 1):
        photos, _ = encoded(shown[start : start + _CHUNK], BYTES)
        file = folder / f"photos-{number:03d}.js"
        write_text(file, f"kitPhotos({_json(photos)});\n")
        found.append(file)
    return found


def page(title: str, said: Sequence[str], data: dict[str, Any], photos: Sequence[dict[str, Any]]) -> str:
    """Return the page. No text of a workspace is run: all is data, and only these very scripts may run."""
    from kit.report.templates import templates_of  # brings jinja2, which a verdict alone does without

    style = (_TEMPLATES / "style.css").read_text("utf-8")
    script = "".join((_TEMPLATES / name).read_text("utf-8") for name in _SCRIPTS)
    text: str = (
        templates_of("kit.report.page")
        .get_template("report.html")
        .render(
            title=title,
            verdict=said,
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            data=_json(data),
            photos=_json(photos),
            metric=data["metric"]["label"],
            version=__version__,
        )
    )
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _json(value: Any) -> str:
    """Return JSON that may stand inside of a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
