"""Every table that kit prints fits 80 columns where names are long, and keeps names apart that differ in the middle."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.command import ok
from support.toy import Toy, write_toy_source

from kit.cli import clip, demo, sd, tune, watch
from kit.cli.results import ledger_table, standing_text
from kit.imaging.metrics import Estimate
from kit.submission.ledger import LedgerRow

FIRST, SECOND = (f"regress-long-on-{what}-photos-with-an-encoder-of-some-size-and-more" for what in ("large", "small"))

pytestmark = pytest.mark.toy(photos=24, test=3, size=64, k=3, shared=True)


@pytest.fixture(autouse=True)
def eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def root(shared_toy: Toy) -> Path:
    """A workspace whose sources have long names that are alike at both ends."""
    for place, name in enumerate((FIRST, SECOND)):
        write_toy_source(shared_toy, name, 0.02 + 0.01 * place, place, by_fold=True)
    for name in (FIRST, SECOND):
        ok(f"-w {shared_toy.workspace.root} blend {FIRST} {SECOND} --name {name.replace('regress', 'mixed')}")
    return shared_toy.workspace.root


def rows_of(text: str) -> list[list[str]]:
    """The cells of each row of each table in a text, by the rules below their headings; asserts that they fit."""
    lines, rows = text.splitlines(), []
    for place, line in enumerate(lines):
        if not re.fullmatch(r" *-+(  +-+)*", line):
            continue
        assert len(line) <= 80 and len(lines[place - 1]) <= 80, lines[place - 1]
        places = [found.span() for found in re.finditer("-+", line)]
        for row in lines[place + 1 :]:
            if not row or len(row) > len(line):
                break
            rows.append([row[start:end].strip() for start, end in places])
    assert rows, text
    return rows


def names_apart(text: str) -> None:
    """Assert that both long names are there, shortened or whole, and as two."""
    cells = {cell for row in rows_of(text) for cell in row}
    starts = {cell for cell in cells if re.match(r"(regress|mixed)-l", cell)}
    assert len(starts) >= 2, cells


@pytest.mark.parametrize("line", ["sources", f"blend {FIRST} {SECOND} --plots none", "status", "blends"])
def test_tables_of_names_fit_and_keep_them_apart(root: Path, line: str) -> None:
    names_apart(ok(f"-w {root} {line}"))


def test_a_comparison_fits_in_rows_and_headings(root: Path) -> None:
    text = ok(f"-w {root} compare {FIRST} {SECOND}")
    names_apart(text)
    headings = [line for line in text.splitlines() if line.startswith(("by ", "photo "))]
    assert len(headings) == 2 and all(len(set(re.findall(r"\S*…\S*", line))) == 2 for line in headings)


def test_a_photo_fits(root: Path, shared_toy: Toy) -> None:
    names_apart(ok(f"-w {root} show '{shared_toy.index.train[0].id}'"))


@pytest.mark.parametrize("line", ["explore --no-page", "weights list"])
def test_tables_without_sources_fit(root: Path, line: str) -> None:
    rows_of(ok(f"-w {root} {line}"))


def test_the_ledger_fits(shared_toy: Toy) -> None:
    row = LedgerRow(
        "2026-01-31T17:30:00Z", "toy", f"{FIRST}.csv", "0" * 16, FIRST, 0.1502, 0.14, 0.16, "12345678", "complete",
        0.15021, "a message of some length about what was sent", 0.15123, 12, True,
    )  # fmt: skip
    names_apart(ledger_table([row, replace(row, what=SECOND)]))


def test_trainings_that_are_watched_fit(tmp_path: Path) -> None:
    from kit.upkeep.watch import Watched

    one = Watched(FIRST, 0, "running", "12345, since 14:02", 12.5, 184, 0.1502, "fractional", 0.1606, 0.15, 11, 1234.0,
                  98765.0, ())  # fmt: skip
    names_apart(watch._text([one, replace(one, name=SECOND)]))


def test_the_demo_fits() -> None:
    score = str(Estimate(0.1502, 0.1483, 0.1521))
    names_apart(demo.closing_table([[name, score, "0.500", "0.1502", "+0.0012 [+0.0003, +0.0021]"]
                                    for name in (FIRST, SECOND)]))  # fmt: skip


def test_a_study_fits(tmp_path: Path) -> None:
    from kit.learning.experiments import experiment
    from kit.learning.tuning.plan import TrialRow, Tuned

    base = experiment("regress", ["size=64"])
    default = TrialRow(1, "done", 0.1502, [], 60.0)
    best = TrialRow(7, "done", 0.1501, ["decoder_channels=256,128,64,32,16", "learning_rate=0.00123"], 60.0)
    found = Tuned(FIRST, FIRST, 0, [default, best], default, best, "fractional", 0.16, tmp_path / "x.toml", 1, False)
    rows_of(tune._report(found, base))


def test_tables_of_clip_fit() -> None:
    from kit.pretrained.clip.zero_shot import PromptScore, ZeroShot

    names = tuple(f"{klass} of a long name" for klass in ("cat", "dog", "tiger", "wolf", "fox", "lion"))
    one = ZeroShot(names, names, np.zeros((6, 6), np.float32), names)
    rows_of(clip._classes_table({"train": one, "test": one}))
    prompts = [f"A photo of {what} {{class}} in nature, without a text, a frame or a watermark" for what in "ab"]
    text = clip._prompts_table([PromptScore(prompt, 0.2, dict.fromkeys(names, 0.2), 0.16) for prompt in prompts])
    assert len({row[0] for row in rows_of(text)}) >= 2


def test_tables_of_samples_fit() -> None:
    from kit.pretrained.diffusion.listing import ListedRecipe

    other = "guidance 3, scheduler dpm++, strength 0.8, seed 12"
    listed = [ListedRecipe("0" * 16, name, 512, 30, other, 4, 8160, 0, True) for name in (FIRST, SECOND)]
    names_apart(sd.recipes_table(listed))


def test_the_leaderboard_fits() -> None:
    from kit.submission.standing import Standing, Step

    steps = [Step(0.0001 * 10**place, 0.15, 12) for place in range(4)]
    rows_of(standing_text(Standing(1234, "us", 40, 0.15021, 0.14, True, steps, steps[0], 3, 2), FIRST))
