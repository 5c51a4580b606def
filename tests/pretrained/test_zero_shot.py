"""Classes and prompts by a CLIP: texts and photos meet in one space, and what is known is not guessed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support.command import kit, ok
from support.toy import CLASSES, Toy, write_toy_source

from kit.data.project import Project
from kit.errors import UsageError
from kit.pretrained.clip.embeddings import image_store, photo_embeddings, photo_key, text_embeddings
from kit.pretrained.clip.model import ClipModel, find_model
from kit.pretrained.clip.zero_shot import prompt_of, search_prompts, zero_shot, zero_shot_classes

pytestmark = pytest.mark.toy(photos=12, test=4)


def knowing(toy: Toy, clip: Path) -> tuple[Project, ClipModel]:
    """A project whose stored vectors are those of the text of each photo's class, and a little of a stranger's: what a
    CLIP that knows the animals would give."""
    model = find_model(str(clip))
    texts = [prompt_of("a photo of a {class}", name) for name in CLASSES]
    vectors = dict(zip(CLASSES, text_embeddings(toy.workspace, model, texts), strict=True))
    rng, store = np.random.default_rng(0), image_store(toy.workspace, model.digest, model.text)
    photo_rows = [*toy.index.train, *toy.index.test]
    made = np.stack([vectors[photo_row.klass] for photo_row in photo_rows]) + rng.normal(0, 1e-4, (len(photo_rows), 16))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    store.add([photo_key(photo_row) for photo_row in photo_rows], made.astype(np.float32), {})
    return Project(toy.workspace), model


def without_classes(project: Project, *, train: bool = False) -> Project:
    """As if the layout told no class of a test photo, or of any photo."""
    index = project.index
    nameless = tuple(dataclasses.replace(photo_row, klass="") for photo_row in index.test)
    seen = tuple(dataclasses.replace(photo_row, klass="") for photo_row in index.train) if train else index.train
    object.__setattr__(project, "index", dataclasses.replace(index, test=nameless, train=seen))
    return project


def test_a_class_stands_in_small_letters_in_a_prompt() -> None:
    assert prompt_of("a photo of a {class}", "Cat") == "a photo of a cat"
    assert prompt_of("Real image of an {animal}, no text", "Dog") == "Real image of an dog, no text"
    assert prompt_of("Natural looking seamless image", "Dog") == "Natural looking seamless image"
    assert prompt_of("{odd} {klass}", "Dog") == "{odd} dog"


def test_classes_are_told_from_visible_parts(toy: Toy, clip: Path) -> None:
    project, model = knowing(toy, clip)
    for split in ("train", "test"):
        told = zero_shot(project, model, split)  # type: ignore[arg-type]
        assert told.chosen == told.known and told.agreement == 1 and told.similarity.shape == (len(told.known), 2)
    swapped = zero_shot(project, model, "train", names=["lion", *CLASSES[:1]])
    assert swapped.told == 6 and swapped.names == ("lion", CLASSES[0])


def test_agreement_counts_what_is_right(toy: Toy, clip: Path) -> None:
    project, model = knowing(toy, clip)
    told = zero_shot(project, model, "train")
    wrong = dataclasses.replace(told, chosen=(told.chosen[1], *told.chosen[1:]))
    assert wrong.agreement == pytest.approx(11 / 12)
    unknown = dataclasses.replace(told, known=("",) * 12)
    assert unknown.told == 0 and np.isnan(unknown.agreement)


def test_a_known_class_is_not_guessed_and_an_unknown_one_is(toy: Toy, clip: Path) -> None:
    assert zero_shot_classes(Project(toy.workspace), "nowhere") == [photo_row.klass for photo_row in toy.index.test]
    project, model = knowing(toy, clip)
    wanted = [photo_row.klass for photo_row in project.index.test]
    assert zero_shot_classes(without_classes(project), model) == wanted
    assert zero_shot_classes(project, model, names=CLASSES, templates=["a {class}", "a photo of a {class}"])
    with pytest.raises(UsageError, match="--names"):
        zero_shot_classes(without_classes(project, train=True), model)


def test_several_templates_are_averaged(toy: Toy, clip: Path) -> None:
    project, model = Project(toy.workspace), find_model(str(clip))
    templates = ["a {class}", "photo of {class}"]
    both = zero_shot(project, model, "test", templates=templates).similarity
    each = [zero_shot(project, model, "test", templates=[one]).similarity for one in templates]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, atol=1e-6)


def test_prompts_are_compared_on_the_training_photos(toy: Toy, clip: Path) -> None:
    project, model = knowing(toy, clip)
    right, wrong = "a photo of a {class}", "{class}{class} xyz"
    found = search_prompts(project, model, [wrong, right, wrong])
    assert [one.template for one in found] == [right, wrong]
    assert found[0].similarity > 0.95 and set(found[0].by_class) == set(CLASSES)
    photos = photo_embeddings(project, model, "train")
    text = text_embeddings(project.workspace, model, [prompt_of(wrong, CLASSES[0])])[0]
    own = [photo_row.klass == CLASSES[0] for photo_row in project.index.train]
    assert found[1].by_class[CLASSES[0]] == pytest.approx(float((photos[own] @ text).mean()), abs=1e-6)


def test_a_prompt_of_which_the_rmse_is_known_comes_before_a_similar_one(toy: Toy, clip: Path) -> None:
    project, model = knowing(toy, clip)
    found = search_prompts(project, model, ["a photo of a {class}", "b", "c"], rmse={"b": 0.3, "c": 0.2})
    assert [(one.template, one.rmse) for one in found] == [("c", 0.2), ("b", 0.3), ("a photo of a {class}", None)]


def test_the_command_tells_classes(toy: Toy, clip: Path) -> None:
    knowing(toy, clip)
    at = f"-w {toy.workspace.root} clip classes --model {clip}"
    said = ok(at)
    assert "Right on 100.0% of the 12 train photos whose class is known." in said
    assert "as Cat" in said and "as Dog" in said
    found = json.loads(ok(f"{at} --json"))
    assert found["test"] == {photo_row.id: photo_row.klass for photo_row in toy.index.test}
    assert "as lion" in ok(f"{at} --names lion,Cat,Dog")


def test_the_command_compares_prompts_with_the_rmse_of_sources_made_by_them(toy: Toy, clip: Path) -> None:
    from kit.core.storage import write_json

    knowing(toy, clip)
    write_toy_source(toy, "sd-first")
    path = toy.workspace.source("sd-first", "oof") / "all.json"
    manifest = Project(toy.workspace).predictions.manifest("sd-first", "oof", None)
    assert manifest is not None
    write_json(path, {**manifest, "recipe": {"kind": "diffusion", "layers": [{"template": "a {class}", "sample": 0}]}})
    line = f"-w {toy.workspace.root} clip prompts --model {clip} 'a {{class}}' 'no text'"
    said = ok(line).splitlines()
    assert said[2].startswith("a {class}") and said[2].split()[2].startswith("0.")
    assert said[3].split()[2] == "-"
    found = json.loads(ok(f"{line} --json"))
    assert found[0]["template"] == "a {class}" and 0 < found[0]["rmse"] < 1 and found[1]["rmse"] is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("classes", "thumbnail reads no text"),
        ("prompts xyz", "thumbnail reads no text"),
        ("classes --model CLIP --names cat", "Class names: cat. Two are needed"),
        ("classes --model CLIP --names ,", "names no class"),
        ("prompts --model CLIP a-{beast}", "there is no {beast} to fill in"),
        ("classes --model CLIP --prompt xyz", "has no place for the class"),
    ],
)
def test_what_cannot_be_is_one_line(line: str, said: str, toy: Toy, clip: Path) -> None:
    done = kit(f"-w {toy.workspace.root} clip {line.replace('CLIP', str(clip))}")
    assert done.is_one_error_line and said in done.err, done.err
