"""Prompts, settings and the plan of samples: which of which photos, in which order, under which key."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from support.toy import Toy

from kit.core.workspace import Workspace
from kit.errors import DamagedStore, UsageError
from kit.imaging.holes import Box
from kit.pretrained.diffusion.plan import (
    PhotoSelection,
    SampleSpec,
    Shard,
    key_of,
    known_templates,
    remember_templates,
    sample_specs,
    seed_of,
    shard_of,
    stored_specs,
)
from kit.pretrained.diffusion.sample_store import Cache, Record, Writer
from kit.pretrained.diffusion.settings import SamplingRecipe, SamplingSettings, stored_recipe
from kit.pretrained.diffusion.status import count_samples
from kit.pretrained.prompts import PROMPTS, prompt_for, templates_of

pytestmark = pytest.mark.toy(shared=True, photos=12, test=4)


def record(number: int, pixels: int = 20) -> Record:
    rng = np.random.default_rng(number)
    values = rng.integers(0, 256, (pixels, 3)).astype(np.uint8)
    return Record(values, rng.normal(size=(2, 3)).astype(np.float32), float(number), number % 2)


# --- prompts ------------------------------------------------------------------


def test_the_two_prompts_of_the_report_are_built_in(toy: Toy) -> None:
    templates = templates_of([])
    assert templates == ("Real image of an {animal}, no text", "Natural looking seamless image, no text")
    assert prompt_for(templates[0], toy.index.train[1]) == "Real image of an dog, no text"
    assert prompt_for(templates[1], toy.index.train[1]) == templates[1]
    assert templates_of(["seamless", "x", "x"]) == (PROMPTS["seamless"], "x")
    assert prompt_for("a {class}", toy.index.train[0], lambda _: "") == "a animal"


@pytest.mark.parametrize(
    ("template", "said"),
    [("a {dog}", "there is no {dog}"), ("", "is empty"), ("a {", "cannot be read"), ("{0}", "{0}")],
)
def test_a_template_that_cannot_be_filled_in_is_refused(template: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        templates_of([template])
    assert said in str(error.value)


# --- settings -----------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"scheduler": "magic"},
        {"dtype": "int8"},
        {"steps": 0},
        {"guidance": float("nan")},
        {"strength": 0.0},
        {"strength": 1.5},
        {"steps": 3, "strength": 0.2},
        {"size": 4},
        {"seed": -1},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        SamplingSettings(**wrong)


def test_every_setting_and_the_model_name_another_folder(tmp_path: Path) -> None:
    others: list[dict] = [
        {"negative": "x"}, {"scheduler": "ddim"}, {"steps": 31}, {"guidance": 7.0}, {"strength": 0.5}, {"size": 256},
        {"dtype": "float16"}, {"seed": 1}, {"dilated": False},
    ]  # fmt: skip
    digests = [SamplingRecipe(SamplingSettings(**other), "m", "x").digest for other in [{}, *others]]
    assert len({*digests, SamplingRecipe(SamplingSettings(), "n", "x").digest}) == len(others) + 2
    assert SamplingRecipe(SamplingSettings(), "m", "other name").digest == digests[0]


def test_samples_are_found_without_their_model(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    recipe = SamplingRecipe(SamplingSettings(dtype="float16"), "abc", "name")
    recipe.save(workspace)
    assert stored_recipe(workspace, SamplingSettings(), "name") == recipe
    assert stored_recipe(workspace, SamplingSettings(), "other") is None
    assert stored_recipe(workspace, SamplingSettings(), "other", "abc") == SamplingRecipe(
        recipe.settings, "abc", "other"
    )
    assert stored_recipe(workspace, SamplingSettings(dtype="float32"), "name") is None
    SamplingRecipe(SamplingSettings(dtype="bfloat16"), "abc", "name").save(workspace)
    assert stored_recipe(workspace, SamplingSettings(), "name") is None  # which of the two cannot be told


# --- jobs ---------------------------------------------------------------------


def test_a_sample_is_named_by_photo_hole_prompt_and_number(toy: Toy) -> None:
    import dataclasses

    photo = toy.index.train[0]
    others = [
        key_of(dataclasses.replace(photo, digest="0"), "p", 0),
        key_of(dataclasses.replace(photo, boxes=(Box(0, 0, 10, 10),)), "p", 0),
        key_of(photo, "q", 0),
        key_of(photo, "p", 1),
    ]
    assert len({key_of(photo, "p", 0), *others}) == 5
    assert key_of(dataclasses.replace(photo, id="x", klass="y", name="z"), "p", 0) == key_of(photo, "p", 0)


def test_shards_share_the_photos_out_and_specs_come_one_after_the_other(toy: Toy) -> None:
    photos = PhotoSelection(toy.index, ("oof", "test"))
    specs = sample_specs(templates_of([]), 2)
    assert [spec.sample for spec in specs] == [0, 0, 1, 1]
    whole = [job.key for job in photos.jobs(specs)]
    assert len(whole) == len(set(whole)) == 4 * 16
    parts = [[job.key for job in photos.jobs(specs, Shard(number, 3))] for number in (1, 2, 3)]
    assert sorted(itertools.chain(*parts)) == sorted(whole)
    assert {len(part) for part in parts} == {4 * 5, 4 * 6}
    seeds = {seed_of(job, seed) for job in photos.jobs(specs) for seed in (0, 1)}
    assert len(seeds) == 2 * len(whole) and all(0 <= seed < 2**63 for seed in seeds)


def test_a_larger_limit_takes_the_same_photos_and_more(toy: Toy) -> None:
    chosen = [set(PhotoSelection(toy.index, ("oof",), limit).positions("oof")) for limit in (3, 6, 99)]
    assert chosen[0] < chosen[1] < chosen[2] and len(chosen[0]) == 3 and len(chosen[2]) == 12


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, {}, None),
        ("2/4", {}, Shard(2, 4)),
        (None, {"RANK": "1", "WORLD_SIZE": "2"}, Shard(2, 2)),
        (None, {"RANK": "0", "WORLD_SIZE": "1"}, None),
    ],
)
def test_a_shard_is_typed_or_comes_from_torchrun(text: str | None, environment: dict, expected: Shard | None) -> None:
    assert shard_of(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment"),
    [("0/4", {}), ("5/4", {}), ("1", {}), ("1/2", {"RANK": "0", "WORLD_SIZE": "2"}), (None, {"RANK": "x"}),
     (None, {"RANK": "3", "WORLD_SIZE": "2"})],
)  # fmt: skip
def test_a_shard_that_cannot_be_is_refused(text: str | None, environment: dict) -> None:
    with pytest.raises(UsageError):
        shard_of(text, {"WORLD_SIZE": "2", **environment} if environment else {})


def test_specs_are_stored_when_every_photo_has_them(toy: Toy, tmp_path: Path) -> None:
    photos = PhotoSelection(toy.index, ("oof", "test"))
    templates = ("a", "b")
    remember_templates(tmp_path, templates)
    assert known_templates(tmp_path) == templates
    writer = Writer(tmp_path / "samples")
    done = [
        *photos.jobs([SampleSpec("a", 0), SampleSpec("b", 0), SampleSpec("b", 1)]),
        *list(photos.jobs([SampleSpec("a", 1)]))[:-1],
    ]
    writer.append([(job.key, record(1, job.photo.scored)) for job in done])
    writer.close()
    cache = Cache(tmp_path / "samples").refresh()
    assert stored_specs(photos, cache, templates) == [SampleSpec("a", 0), SampleSpec("b", 0), SampleSpec("b", 1)]
    state = count_samples(cache, photos, sample_specs(templates, 2))
    assert (state.hits, state.missing, state.seconds_left) == (63, 1, 1.0)
    (tmp_path / "prompts" / "0.json").write_text("{}")
    with pytest.raises(DamagedStore, match="is not what kit wrote"):
        known_templates(tmp_path)
