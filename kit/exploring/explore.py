"""The whole exploration, step by step: holes, copies, photos, files, and what they mean."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np

from kit.core.storage import read_json
from kit.data.index import Index
from kit.data.project import Project
from kit.errors import DataError
from kit.exploring import files as of_files
from kit.exploring import holes as of_holes
from kit.exploring.apart import apart_of
from kit.exploring.comparing import measure_of
from kit.exploring.copies import kinship_of
from kit.exploring.known import STATISTICS, slope_of
from kit.exploring.looking import Looked, look
from kit.exploring.odd import odd_photos
from kit.exploring.result import About, ClassCount, Exploration, Measure
from kit.exploring.spectra import compared_spectra
from kit.exploring.verdicts import verdicts_of
from kit.imaging.headers import Header

_OF_PHOTOS = (
    ("brightness", "mean light, 0 black, 1 white"),
    ("contrast", "spread of the light"),
    ("colourfulness", "spread and mean of opposed colours"),
    ("darkest", "lowest light of a known pixel"),
    ("brightest", "highest light of a known pixel"),
    ("black share", "share of known pixels at the lower limit"),
    ("white share", "share of known pixels at the upper limit"),
    ("edges across 1", "steps between neighbours, log10"),
    ("grain", "what noise is told by, log10"),
    ("blocks", "steps where JPEG's blocks meet, by the others, log10"),
)


def explore(project: Project) -> Exploration:
    """Look at the data before any model is made; nothing is written.

    What a test photo's hole hides decides nothing, nor does what the training photos as given show in theirs; the whole
    training photos are looked at for near duplicates alone.

    Raises:
        MissingStep, Mismatch, DamagedStore: of the index and the pack.
        DataError: there is no photo.
    """
    index = project.index
    if not index.train and not index.test:
        raise DataError(f"{project.workspace.index} lists no photo. Fetch again: kit fetch --force")
    _ = project.pack
    holes = [of_holes.hole_facts(rows, name) for rows, name in ((index.train, "training"), (index.test, "test"))]
    looked = look(project)
    headers = of_files.read_headers(project.workspace.raw, index)
    kinship = kinship_of(project)
    of_test = np.arange(len(index.train) + len(index.test)) >= len(index.train)
    measures = _measures(index, looked, [one.measures for one in holes], headers, of_test, kinship.groups)
    rows = {of_files.ROLES[0]: index.train, of_files.ROLES[1]: index.train, of_files.ROLES[2]: index.test}
    shares = np.concatenate([one.measures[:, 0] for one in holes])
    notes = read_json(project.workspace.index.with_suffix(".json"), made_by="kit fetch").get("notes", [])
    found = Exploration(
        competition=project.workspace.slug,
        index=index.digest,
        photos=(len(index.train), len(index.test)),
        verdicts=(),
        classes=_classes(index),
        sizes=of_holes.photo_sizes(index),
        copies=kinship.copies,
        holes=of_holes.holes_of(index, *holes),
        measures=measures,
        spectrum=compared_spectra(looked.spectra, of_test, kinship.groups, looked.tile),
        apart=apart_of(index, looked.fair, of_test, kinship.groups),
        files=tuple(of_files.files_of(role, rows[role], headers[role]) for role in of_files.ROLES),
        odd=odd_photos(index, looked, shares, headers),
        notes=tuple(map(str, notes)),
    )
    return dataclasses.replace(found, verdicts=verdicts_of(found))


def _classes(index: Index) -> tuple[ClassCount, ...]:
    train, test = (Counter(row.klass for row in rows) for rows in (index.train, index.test))
    return tuple(ClassCount(name, train[name], test[name]) for name in sorted(train | test))


def _measures(
    index: Index,
    looked: Looked,
    holes: list[np.ndarray],
    headers: dict[str, list[Header | None]],
    of_test: np.ndarray,
    groups: np.ndarray,
) -> tuple[Measure, ...]:
    """Return everything that is compared; differences are credible for so many asked."""
    asked: list[tuple[About, str, str, np.ndarray]] = []
    for place, (name, meaning) in enumerate(of_holes.MEASURES):
        asked.append(("holes", name, meaning, np.concatenate([one[:, place] for one in holes])))
    for name, meaning in _OF_PHOTOS:
        asked.append(("photos", name, meaning, looked.fair[:, STATISTICS.index(name)]))
    slopes = np.array([slope_of(one) for one in looked.spectra])
    asked.append(("photos", "spectrum", "p of power that falls as 1/f^(2p)", slopes))
    given = [(index.train, headers[of_files.ROLES[0]]), (index.test, headers[of_files.ROLES[2]])]
    both = np.concatenate([of_files.file_measures(rows, found) for rows, found in given])
    for place, (name, meaning) in enumerate(of_files.MEASURES):
        asked.append(("files", name, meaning, both[:, place]))
    found = (
        measure_of(about, name, meaning, np.round(values, 9), of_test, groups, asked=len(asked))
        for about, name, meaning, values in asked
    )
    return tuple(measure for measure in found if measure is not None)
