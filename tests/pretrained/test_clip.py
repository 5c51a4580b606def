"""Vectors of photos: what they depend on, that they are stored once, and what is said when a model cannot be had."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from support.command import kit, ok
from support.tiny_clip import NUMBERS, SIZE, tiny_clip, tiny_timm
from support.toy import Toy

import kit.pretrained.clip.embeddings as embeddings
from kit.data.pack import Pack
from kit.data.project import Project
from kit.errors import DamagedStore, KitError, Mismatch, PredictionsError, UsageError
from kit.pretrained.clip.embeddings import photo_embeddings, text_embeddings
from kit.pretrained.clip.encoders import open_encoder
from kit.pretrained.clip.model import find_model, pinned
from kit.pretrained.clip.vector_store import VectorStore

CPU = torch.device("cpu")


pytestmark = pytest.mark.toy(photos=12, test=4)


def embedded(toy: Toy, model: object, split: Any = "train", pack: Pack | None = None) -> np.ndarray:
    project = Project(toy.workspace)
    if pack is not None:
        object.__setattr__(project, "pack", pack)
    return photo_embeddings(project, str(model), split)


def files_of(toy: Toy) -> dict[str, Path]:
    return {path.name: path for path in toy.workspace.root.glob("embeddings/*/*")}


# --- what a vector depends on


@pytest.mark.parametrize("kind", ["thumbnail", "clip", "timm"])
def test_vectors_do_not_depend_on_hidden_pixels(kind: str, toy: Toy, clip: Path, tmp_path: Path) -> None:
    model = {"thumbnail": "thumbnail", "clip": str(clip), "timm": ""}[kind] or tiny_timm(tmp_path / "w.safetensors")
    first = embedded(toy, model)
    shutil.rmtree(toy.workspace.root / "embeddings")
    images = np.array(toy.pack.train_image)
    rng = np.random.default_rng(0)
    for image, photo_row in zip(images, toy.index.train, strict=True):
        image[photo_row.hole] = rng.integers(0, 256, (int(photo_row.hole.sum()), 3))
    changed = dataclasses.replace(toy.pack, train_image=images, train_target=255 - toy.pack.train_target)
    np.testing.assert_array_equal(embedded(toy, model, pack=changed), first)


def test_vectors_depend_on_known_pixels_and_have_length_one(toy: Toy, clip: Path) -> None:
    vectors = embedded(toy, clip)
    assert vectors.shape == (12, NUMBERS) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_a_photo_is_shown_as_the_models_own_processor_shows_it(clip: Path) -> None:
    import transformers
    from PIL import Image
    from transformers import CLIPVisionModelWithProjection

    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(6, 0).repeat(6, 1)
    on_pil = "CLIPImageProcessorPil" if hasattr(transformers, "CLIPImageProcessorPil") else "CLIPImageProcessor"
    processor = getattr(transformers, on_pil).from_pretrained(clip, crop_size={"height": SIZE, "width": SIZE})
    seen = processor(Image.fromarray(photo), return_tensors="pt")["pixel_values"]
    network = CLIPVisionModelWithProjection.from_pretrained(clip)
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(network(pixel_values=seen).image_embeds, dim=1)
    photos = torch.from_numpy(photo.transpose(2, 0, 1))[None].float() / 255
    found = open_encoder(find_model(str(clip)), CPU).images(photos)
    assert float((found * wanted).sum()) > 0.999


def test_texts_are_as_transformers_own_model_has_them(toy: Toy, clip: Path) -> None:
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    texts = ["a photo of a cat", "dog"]
    found = text_embeddings(toy.workspace, find_model(str(clip)), texts)
    tokens = CLIPTokenizer.from_pretrained(clip)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = CLIPTextModelWithProjection.from_pretrained(clip)(**tokens).text_embeds
    np.testing.assert_allclose(found, torch.nn.functional.normalize(wanted, dim=1).numpy(), atol=1e-6)
    again = text_embeddings(toy.workspace, find_model(str(clip)), texts[::-1])
    np.testing.assert_array_equal(again, found[::-1])


def test_a_weights_file_with_its_classes_gives_the_vectors_before_them(toy: Toy, tmp_path: Path) -> None:
    """As timm's files of the hub are: the layer of ImageNet's classes is in them, and is left out."""
    network = timm.create_model("test_efficientnet", num_classes=5)
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / "whole.safetensors"
    )
    vectors = embedded(toy, f"timm:test_efficientnet:{tmp_path / 'whole.safetensors'}")
    assert vectors.shape == (12, network.num_features)


def test_a_vision_tower_alone_gives_the_photos_of_the_whole_model(toy: Toy, clip: Path, tmp_path: Path) -> None:
    from transformers import CLIPVisionModelWithProjection

    CLIPVisionModelWithProjection.from_pretrained(clip).save_pretrained(tmp_path / "eyes")
    shutil.copy(clip / "preprocessor_config.json", tmp_path / "eyes")
    np.testing.assert_array_equal(embedded(toy, tmp_path / "eyes"), embedded(toy, clip))
    with pytest.raises(UsageError, match="reads no text"):
        text_embeddings(toy.workspace, find_model(str(tmp_path / "eyes")), ["dog"])


# --- the store


def test_vectors_are_computed_once(toy: Toy, clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(clip, copy)
    name = pinned(str(copy))
    first = embedded(toy, name)
    shutil.rmtree(copy)  # nothing can be computed any more
    np.testing.assert_array_equal(embedded(toy, name), first)


def test_more_photos_compute_only_what_is_missing(
    toy: Toy, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embedded(toy, clip)
    before = files_of(toy)["images.f32"].read_bytes()
    counts = []
    original = embeddings.visible_photos
    monkeypatch.setattr(embeddings, "visible_photos", lambda *a: (counts.append(len(a[2])), original(*a))[1])
    embedded(toy, clip, "test")
    np.testing.assert_array_equal(embedded(toy, clip), first)
    assert counts == [4]
    after = files_of(toy)["images.f32"].read_bytes()
    assert after.startswith(before) and len(after) == 16 * NUMBERS * 4


def test_another_model_or_other_holes_have_vectors_of_their_own(toy: Toy, clip: Path, tmp_path: Path) -> None:
    first = embedded(toy, clip)
    other = embedded(toy, tiny_clip(tmp_path / "other", seed=1))
    assert np.abs(first - other).max() > 0.01
    moved = dataclasses.replace(toy.index.train[0], boxes=toy.index.train[1].boxes)
    assert embeddings.photo_key(moved) != embeddings.photo_key(toy.index.train[0])


def _add_slowly(folder: str, die_after: int) -> None:
    store = VectorStore(Path(folder), "images", "kit clip")
    original = os.fsync

    def die(descriptor: int) -> None:
        original(descriptor)
        os.kill(os.getpid(), signal.SIGKILL)

    for number in range(20):
        if number == die_after:
            os.fsync = die  # type: ignore[assignment]  # rows are written, the manifest is not
        store.add([f"key{number}"], np.full((1, 3), number, np.float32), {})


def test_a_writer_killed_between_rows_and_manifest_loses_nothing(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_add_slowly, args=(str(tmp_path), 7))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    store = VectorStore(tmp_path, "images", "kit clip")
    assert (tmp_path / "images.f32").stat().st_size == 8 * 3 * 4
    store.add(["other"], np.full((1, 3), 99, np.float32), {})
    found, there = store.read([*(f"key{number}" for number in range(8)), "other"])
    assert there.tolist() == [True] * 7 + [False, True]
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 99]


def test_two_writers_at_once_store_every_row_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add_slowly, args=(str(tmp_path), -1)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found, there = VectorStore(tmp_path, "images", "kit clip").read([f"key{number}" for number in range(20)])
    assert there.all() and found[:, 1].tolist() == list(range(20))
    assert (tmp_path / "images.f32").stat().st_size == 20 * 3 * 4


def _add_to_a_full_disk(folder: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    try:
        VectorStore(Path(folder), "images", "kit clip").add(["big"], np.zeros((1, 300), np.float32), {})
    except KitError as error:
        os._exit(7 if "Nothing was damaged" in str(error) and "images.f32" in str(error) else 1)


def test_a_full_disk_is_one_line_and_damages_nothing(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, "images", "kit clip")
    store.add(["small"], np.ones((1, 300), np.float32), {})
    process = multiprocessing.get_context("fork").Process(target=_add_to_a_full_disk, args=(str(tmp_path),))
    process.start()
    process.join(30)
    assert process.exitcode == 7
    store.add(["more"], np.zeros((1, 300), np.float32), {})
    found, there = store.read(["small", "big", "more"])
    assert there.tolist() == [True, False, True] and found[:, 0].tolist() == [1, 0, 0]


class _Small:
    """An encoder on a device with room for two photos."""

    def images(self, photos: torch.Tensor) -> torch.Tensor:
        if len(photos) > 2:
            raise torch.OutOfMemoryError
        return photos.mean((2, 3))

    def texts(self, texts: Any) -> torch.Tensor:
        raise NotImplementedError


def test_a_batch_that_does_not_fit_is_halved() -> None:
    photos = torch.rand(7, 3, 4, 4)
    np.testing.assert_allclose(embeddings._encoded(_Small(), photos), photos.mean((2, 3)), atol=1e-6)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="not finite"):
        VectorStore(tmp_path, "images", "kit clip").add(["key"], np.full((1, 3), np.nan, np.float32), {})


@pytest.mark.parametrize("damage", ["cut", "manifest", "json", "nan"])
def test_a_damaged_store_is_one_line(damage: str, toy: Toy) -> None:
    embedded(toy, "thumbnail")
    rows, manifest = files_of(toy)["images.f32"], files_of(toy)["images.json"]
    if damage == "cut":
        os.truncate(rows, 40)
    elif damage == "nan":
        rows.write_bytes(np.full(rows.stat().st_size // 4, np.nan, np.float32).tobytes())
    else:
        manifest.write_text("{" if damage == "json" else json.dumps({"keys": 3}))
    done = kit(f"-w {toy.workspace.root} clip embed")
    assert done.is_one_error_line and "embeddings" in done.err and "run: kit clip" in done.err, done.err


# --- models that cannot be had


def test_a_pinned_model_that_has_changed_is_refused(toy: Toy, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(clip, folder)
    name = pinned(str(folder))
    assert pinned(name) == name
    shutil.rmtree(folder)
    tiny_clip(folder, seed=3)
    with pytest.raises(Mismatch, match="not what it was"):
        embedded(toy, name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "There is no encoder 'nowhere'"),
        ("someone/clip", "HF_HUB_OFFLINE"),
        ("timm:test_vit", "timm:MODEL:WEIGHTS_FILE"),
        ("timm:test_vit:gone.safetensors", "no weights file"),
        ("EMPTY", "has no config.json"),
        ("BERT", "'bert', not a CLIP"),
        ("NOWEIGHTS", "holds no weights"),
        ("CUT", "cannot be read"),
        ("LACKS", "lacks"),
        ("WRONGTIMM", "does not hold timm's weights"),
        ("NOTIMM", "timm has no model"),
        ("FILE", "is a file"),
    ],
)
def test_a_model_that_cannot_be_had_is_one_line(name: str, said: str, toy: Toy, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / name
    if name in ("BERT", "NOWEIGHTS", "CUT", "LACKS"):
        shutil.copytree(clip, folder)
    if name == "EMPTY":
        folder.mkdir()
    elif name == "BERT":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    elif name == "NOWEIGHTS":
        (folder / "model.safetensors").unlink()
    elif name == "CUT":
        os.truncate(folder / "model.safetensors", 3000)
    elif name == "LACKS":
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        del state["visual_projection.weight"]
        save_file(state, folder / "model.safetensors")
    elif name in ("WRONGTIMM", "NOTIMM"):
        from safetensors.torch import save_file

        save_file({"other": torch.zeros(2)}, tmp_path / "w.safetensors")
        name = f"timm:{'test_vit' if name == 'WRONGTIMM' else 'no_such_model'}:{tmp_path / 'w.safetensors'}"
    elif name == "FILE":
        folder.write_text("weights")
    done = kit(f"-w {toy.workspace.root} clip embed --model", folder if folder.exists() else name)
    assert done.is_one_error_line and said in done.err, done.err


@pytest.mark.parametrize("lost", ["layer_norm1", "pre_layrnorm.bias", "visual_projection", "position_embedding"])
@pytest.mark.parametrize("renamed", [False, True])
def test_a_clip_that_its_file_does_not_fill_is_refused(lost: str, renamed: bool, clip: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip, tmp_path / "clip")
    path = folder / "model.safetensors"
    found = {name: value for name, value in load_file(path).items() if lost not in name}
    if renamed:
        found |= {name.replace(lost, "other"): value for name, value in load_file(path).items() if lost in name}
    save_file(found, path, metadata={"format": "pt"})
    with pytest.raises(DamagedStore, match=r"lacks \d+ weights"):
        open_encoder(find_model(str(folder)), torch.device("cpu")).images(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("lost", ["norm", "bias", "pos_embed"])
def test_a_vision_encoder_of_timm_whose_file_lacks_some_is_refused(lost: str, tmp_path: Path) -> None:
    text = tiny_timm(tmp_path / "weights.safetensors")
    path = tmp_path / "weights.safetensors"
    save_file({name: value for name, value in load_file(path).items() if lost not in name}, path)
    with pytest.raises(DamagedStore, match="does not hold timm's weights"):
        open_encoder(find_model(text), torch.device("cpu"))


def test_the_command_embeds_both_splits(toy: Toy, clip: Path) -> None:
    said = ok(f"-w {toy.workspace.root} clip embed --model", clip)
    assert said.startswith(f"12 training and 4 test photos by {clip}, {NUMBERS} numbers each, in ")
    assert ok(f"-w {toy.workspace.root} clip embed --model", clip) == said


def test_errors_are_of_kits_own_tree(tmp_path: Path) -> None:
    for name in ("nowhere", "timm:x", "a/b"):
        with pytest.raises(KitError):
            find_model(name)
    with pytest.raises(DamagedStore):
        VectorStore(tmp_path, "images", "kit clip").add(["a"], np.zeros((1, 2), np.float32), {})
        VectorStore(tmp_path, "images", "kit clip").add(["b"], np.zeros((1, 3), np.float32), {})
