"""`kit compare` and `kit show`: two sources, and one photo, against plain formulas and the commands' own words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.command import kit, ok
from support.reported import filled, run_log
from support.toy import Toy, write_toy_source

from kit.blending import score_sources
from kit.errors import UnknownName, UsageError
from kit.imaging.holes import scored_pixels
from kit.imaging.images import load_image
from kit.report.compare import compare
from kit.report.one_photo import show_photo


def by_hand(toy: Toy, name: str, photo: int) -> tuple[float, int]:
    """Return squared errors of a photo in score space, and how many values."""
    values = toy.project.predictions.read(name, "oof", partial=True).values(photo).astype(np.float64)
    low, high = np.asarray(toy.pack.train_estimated_range[photo])
    true_low, true_high = np.asarray(toy.pack.train_value_range[photo])
    truth = np.asarray(toy.pack.train_target[photo])[scored_pixels(toy.index.train[photo].boxes)] / 255.0
    rest = (values - low) / (high - low) - (truth - true_low) / (true_high - true_low)
    return float((rest**2).sum()), rest.size


def test_two_sources_are_compared_on_the_photos_of_both(toy: Toy) -> None:
    filled(toy)
    found = compare(toy.project, "half", "fine")
    photos = np.flatnonzero(toy.folds.fold != 1)
    assert found.photos == len(photos) == len(found.differences)
    sums = np.array([[by_hand(toy, name, photo) for photo in photos] for name in ("half", "fine")])
    roots = np.sqrt(sums[..., 0].sum(1) / sums[..., 1].sum(1))
    assert [one.value for one in found.scores] == pytest.approx(roots, rel=1e-6)
    assert found.gain.value == pytest.approx(roots[0] - roots[1], rel=1e-5)
    alone = np.sqrt(sums[..., 0] / sums[..., 1])
    best = int(np.argmax(alone[0] - alone[1]))
    first = found.differences[0]
    assert first.name == toy.index.train[photos[best]].name and first.gain == pytest.approx(
        alone[0, best] - alone[1, best]
    )
    assert found.better == int((alone[0] > alone[1]).sum())
    assert {row.by for row in found.parts} == {"distance", "channel", "class"}
    for by in ("channel", "class"):  # parts of equal size make up the whole
        parts = [row.first**2 for row in found.parts if row.by == by]
        assert np.mean(parts) == pytest.approx(roots[0] ** 2, rel=0.3)
    channels = np.mean([row.second**2 for row in found.parts if row.by == "channel"])
    assert channels == pytest.approx(roots[1] ** 2, rel=1e-6)
    assert found.verdict.startswith("fine is better than half: +0.0")


def test_the_verdict_turns_with_the_order_and_is_silent_about_noise(toy: Toy) -> None:
    filled(toy)
    assert compare(toy.project, "fine", "rough").verdict.startswith("fine is better than rough")
    assert compare(toy.project, "rough", "fine").verdict.startswith("fine is better than rough")
    write_toy_source(toy, "like", noise=0.1, seed=77)
    assert "not credibly different" in compare(toy.project, "rough", "like").verdict
    mix = compare(toy.project, "mix", "wild")
    score = next(one.score for one in score_sources(toy.project) if one.name == "wild")
    assert score is not None and mix.scores[1].value == pytest.approx(score.value, rel=1e-6)


def test_settings_that_differ_stand_side_by_side(toy: Toy) -> None:
    filled(toy)
    write_toy_source(toy, "net", noise=0.1)
    write_toy_source(toy, "wider", noise=0.1, seed=3)
    run_log(toy, "wider", 3, [0.2])
    found = compare(toy.project, "net", "wider")
    assert found.settings == (("epochs", "3", "1"), ("width", "32", "35"))
    said = ok(f"-w {toy.workspace.root} compare net wider")
    assert "Settings that differ" in said and "width" in said and max(map(len, said.splitlines())) <= 100
    as_json = json.loads(ok(f"-w {toy.workspace.root} compare net wider --json"))
    assert as_json["names"] == ["net", "wider"] and as_json["photos"] == 24


def test_one_photo_is_scored_by_every_source_and_drawn(toy: Toy, tmp_path: Path) -> None:
    filled(toy)
    row = toy.index.train[5]
    found = show_photo(toy.project, row.name, out=tmp_path / "one.png")
    errors, count = by_hand(toy, "fine", 5)
    scores = {one.name: one.score for one in found.sources}
    assert scores["fine"] == pytest.approx(np.sqrt(errors / count), rel=1e-6)
    assert {*scores} == {"fine", "rough", "wild", "half", "mix"}
    known = [one.score for one in found.sources if one.score is not None]
    assert known == sorted(known) and found.fold == toy.folds.fold[5] and found.klass == row.klass
    picture = load_image(tmp_path / "one.png")
    assert picture.shape[1] <= 900 and picture.shape[0] > 2 * 32
    assert show_photo(toy.project, Path(row.name).stem, draw=False).id == row.id
    said = ok(f"-w {toy.workspace.root} show '{toy.index.test[0].name}'")
    assert "Nobody here knows its truth" in said


def test_what_is_not_there_is_told_with_what_is(toy: Toy, tmp_path: Path) -> None:
    filled(toy)
    with pytest.raises(UnknownName, match=r"'fien'.*Did you mean fine"):
        compare(toy.project, "fine", "fien")
    with pytest.raises(UsageError, match="compared with itself"):
        compare(toy.project, "fine", "fine")
    done = kit(f"-w {toy.workspace.root} show nothing")
    assert done.is_one_error_line and "no photo 'nothing'" in done.err
    for line in (
        "report --photos few",
        f"report --out {tmp_path / 'a.pdf'}",
        "report nothing",
        "show x --out index.csv",
    ):
        assert kit(f"-w {toy.workspace.root} {line}").is_one_error_line, line


def test_a_page_is_served_to_this_machine_alone_and_nothing_beside_it(toy: Toy) -> None:
    import threading
    import urllib.error
    import urllib.request

    from kit.report.page import write_report
    from kit.report.page.serve import server_of

    made = write_report(filled(toy).project)
    (made.path.parent / "secret.txt").write_text("no")
    with server_of(made.path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_address[1]}/"
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == made.path.read_bytes()
        for path in ("secret.txt", "../data/toy/index.csv", "report-photos/photos-../../secret.txt"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + path)
        with pytest.raises(UsageError, match="Port"):
            server_of(made.path, int(server.server_address[1]))
        server.shutdown()
