"""Verbs of `kit sd` and `kit clip`, and the words of before they had any."""

from __future__ import annotations

import json

import pytest
from support.command import kit, ok
from support.toy import Toy

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.pretrained.diffusion.plan import PhotoSelection, sample_specs
from kit.pretrained.diffusion.recipes import Asked, note_asked, stored_recipes
from kit.pretrained.diffusion.sample_store import Record, Writer
from kit.pretrained.diffusion.settings import SamplingRecipe, SamplingSettings

pytestmark = pytest.mark.toy(photos=6, test=2, k=2)


def draw(toy: Toy, settings: SamplingSettings, number: int, label: str = "tiny", limit: int | None = None) -> None:
    """Store samples of one prompt as a model would have drawn them."""
    import numpy as np

    workspace, rng = toy.workspace, np.random.default_rng(settings.steps)
    recipe = SamplingRecipe(settings, f"digest of {label}", label)
    recipe.save(workspace)
    writer = Writer(recipe.folder(workspace) / "samples")
    for job in PhotoSelection(toy.index, ("oof", "test"), limit).jobs(sample_specs(["a {class}"], number)):
        values = rng.integers(0, 256, (job.photo.scored, 3)).astype(np.uint8)
        writer.append([(job.key, Record(values, np.zeros((2, 3), np.float32), 2.0))])
    writer.close()
    note_asked(workspace, recipe, Asked(("a {class}",), number, limit))


VERBS = ["sd run", "sd status", "sd curve", "clip embed", "clip classes", "clip prompts", "clip neighbours"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples_that_parse(verb: str) -> None:
    text = ok(f"{verb} --help")
    examples = [line.split("#")[0].strip() for line in text.split("Examples:")[1].splitlines()]
    examples = [line.removeprefix("kit ") for line in examples if line.startswith("kit ")]
    assert examples and all(line.startswith(verb) for line in examples)
    for line in examples:
        done = kit(f"{line} --help")
        assert done.code == 0 and not done.err and "Usage:" in done.out


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("sd --status", "kit sd status"),
        ("sd --curve --batch-size 2 --model x", "kit sd curve"),
        ("sd --model x --status --as name --json", "kit sd status"),
        ("sd --model x", "kit sd run"),
        ("sd --limit 1 --model=x", "kit sd run"),
        ("clip --classes", "kit clip classes"),
        ("clip --model nowhere --classes --names a,b --prompts '{class}' --k 3", "kit clip classes"),
        ("clip --prompts x --prompts=y", "kit clip prompts"),
        ("clip --neighbours --k 0", "kit clip neighbours"),
    ],
)
def test_words_of_before_are_understood_and_told_their_new_name(before: str, now: str, toy: Toy) -> None:
    done = kit(f"-w {toy.workspace.root} {before}")
    note, *rest = done.err.splitlines()
    assert note.startswith("Note: `kit ") and note.endswith(f"is now `{now}`.")
    assert done.code in (1, 2) and len(rest) == 1 and "No such option" not in rest[0], done.err
    assert "Missing" not in rest[0] and "unexpected" not in rest[0]


def test_a_bare_command_of_before_does_what_it_did(toy: Toy) -> None:
    done = kit(f"-w {toy.workspace.root} clip")
    assert (
        done.err.startswith("Note: `kit clip` is now `kit clip embed`.") and "6 training and 2 test photos" in done.out
    )
    assert ok(f"-w {toy.workspace.root} clip embed") == done.out


def test_what_no_verb_knows_is_refused(toy: Toy) -> None:
    for line, said in (
        ("sd --nonsense", "No such option"),
        ("sd nonsense", "No such command"),
        ("clip --as x", "--as"),
    ):
        done = kit(f"-w {toy.workspace.root} {line}")
        assert done.code == 2 and said in done.err.splitlines()[-1]
    done = kit(f"-w {toy.workspace.root} clip --neighbours --classes")
    assert done.code == 2 and "Run one after the other: kit clip neighbours, kit clip classes" in done.err


def test_status_lists_every_recipe_and_takes_the_last_used_one(toy: Toy) -> None:
    at = f"-w {toy.workspace.root} sd"
    assert kit(f"{at} status").is_one_error_line and "No samples are here yet" in kit(f"{at} status").err
    draw(toy, SamplingSettings(steps=2, size=32, dtype="float32"), 2)
    draw(toy, SamplingSettings(steps=3, size=64, dtype="float32", seed=5), 3, "other", limit=2)
    text = ok(f"{at} status")
    first, second = [line for line in text.splitlines() if line.endswith(("tiny", "other"))]
    assert first.split() == ["*", "64", "3", "seed", "5,", "float32", "3", "12", "12", "other"]
    assert second.split() == ["32", "2", "float32", "2", "16", "0", "tiny"]
    assert "12 there (2.00 s each), 12 missing, 0:00:24 left" in text
    found = json.loads(ok(f"{at} status --steps 2 --json"))
    assert (found["hits"], found["missing"], len(found["layers"])) == (16, 0, 2)
    assert [one["chosen"] for one in found["recipes"]] == [False, True]
    assert "8 missing" in ok(f"{at} status --model tiny --samples 3")
    done = kit(f"{at} status --steps 9")
    assert done.is_one_error_line and "No samples that fit these options" in done.err


def test_the_curve_is_of_the_last_used_recipe_and_of_the_photos_that_it_was_tried_on(toy: Toy) -> None:
    at = f"-w {toy.workspace.root} sd"
    draw(toy, SamplingSettings(steps=2, size=32, dtype="float32"), 2)
    whole = kit(f"{at} curve")
    assert whole.code == 0 and not whole.err and "6 training photos" in whole.out
    draw(toy, SamplingSettings(steps=3, size=32, dtype="float32"), 3, limit=2)
    tried = kit(f"{at} curve")
    assert (
        tried.code == 0 and "2 training photos" in tried.out and "Of 32 px, 3 steps, float32, model tiny" in tried.err
    )
    assert ok(f"{at} curve --steps 2") == whole.out


def test_a_workspace_of_before_is_listed(toy: Toy) -> None:
    draw(toy, SamplingSettings(steps=2, size=32, dtype="float32"), 2)
    (path,) = toy.workspace.root.glob("sd/*/asked.json")
    path.unlink()
    (stored,) = stored_recipes(Workspace(toy.workspace.root, toy.workspace.slug))
    assert stored.asked == Asked() and stored.recipe.label == "tiny"
    from kit.pretrained.diffusion.plan import remember_templates

    remember_templates(path.parent, ["a {class}"])
    assert "16 there" in ok(f"-w {toy.workspace.root} sd status")
    path.write_text('{"samples": 1}')
    done = kit(f"-w {toy.workspace.root} sd status")
    assert done.is_one_error_line and "is not what kit wrote" in done.err
    assert Project(toy.workspace).predictions.sources() == []
