"""Whatever a file holds, reading it gives a result or a `KitError` of one line, never another exception.

scripts/fuzz 2000          that many inputs for each reader; without it `KIT_FUZZ` says how many, 25 by default
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fuzz.strategies import json_like, spoiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors
from support.imports import csv_of, values_of
from support.toy import Toy, make_toy_workspace, write_toy_source

from kit.blending.store import read_blend
from kit.competitions.photo_reconstruction import PHOTO_RECONSTRUCTION, header
from kit.core.archive import extract, verify
from kit.core.storage import read_json
from kit.data.folds import read_folds
from kit.data.index import read_index
from kit.data.origin import read_origin
from kit.errors import KitError
from kit.exchange.arrays import npy_values, npz_values
from kit.exchange.csv import csv_values
from kit.exchange.fold_comparison import compare_folds
from kit.exchange.values import Photos, ReaderLog, ValueFormat
from kit.imaging.images import decode_image
from kit.learning.experiments.config import read_config
from kit.learning.experiments.parse import stored_experiment
from kit.pretrained.weights.reading import open_weights
from kit.submission.grade import grade_submission
from kit.submission.ledger import read_ledger
from kit.submission.write import check_submission, sample_of

TRIES = int(os.environ.get("KIT_FUZZ", "25"))
RANDOM = "KIT_FUZZ" in os.environ

Read = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """A reader, and what to give it."""

    inputs: st.SearchStrategy[bytes]
    read: Read


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy = make_toy_workspace(tmp_path_factory.mktemp("fuzz") / "w", photos=4, test=2, size=16, box=4, k=2)
    write_toy_source(toy, "good")
    return toy


# --- what each reader is given


def of_archive(toy: Toy, folder: Path) -> Target:
    def read(data: bytes) -> None:
        path = folder / "a.zip"
        path.write_bytes(data)
        with contextlib.suppress(KitError):
            verify(path)
        extract(path, folder / "out")
        PHOTO_RECONSTRUCTION.index(folder / "out")

    info = b",filename,box1_row,box1_col,box2_row,box2_col\n0,Cat (1).png,1,2,3,4\n"
    base = "Dataset/Training_Data/Cat"
    files = {
        f"{base}/Masked_Train/Cat (1).png": b"a",
        f"{base}/Unmasked_Train/Cat (1).png": b"b",
        f"{base}/Masked_Train/masked_info.csv": info,
        "Dataset/Testing_Data/Cat (1).png": b"c",
        "Dataset/Testing_Data/masked_info.csv": info,
        "sample_submission.csv": b"id,value\nCat (1).png_box1_1_2_0,0\n",
    }
    return Target(spoiled([_zip(files, method) for method in (0, 8, 12, 14)]), read)


def _zip(files: dict[str, bytes], method: int = 0) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def of_image(toy: Toy, folder: Path) -> Target:
    photo = np.asarray(toy.truth[0])
    kinds = [
        (".png", []),
        (".jpg", []),
        (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".bmp", []),
        (".webp", []),
        (".tiff", []),
    ]
    whole = [cv2.imencode(suffix, photo, options)[1].tobytes() for suffix, options in kinds]
    deep = cv2.imencode(".png", photo.astype(np.uint16) * 257)[1].tobytes()
    return Target(spoiled([*whole, deep]), lambda data: decode_image(data, Path("a.png")))


def of_masked_info(toy: Toy, folder: Path) -> Target:
    raw = folder / "raw"
    places = [f"Dataset/Training_Data/Cat/{kind}" for kind in ("Masked_Train", "Unmasked_Train")]
    for place in (*places, "Dataset/Testing_Data"):
        (raw / place).mkdir(parents=True)
        for name in ("Cat (1).png", "Cat (2).png"):
            (raw / place / name).write_bytes(b"")
    table = b",filename,box1_row,box1_col,box2_row,box2_col\n0,Cat (1).png,1,2,3,4\n1,Cat (2).png,5,6,7,8\n"

    def read(data: bytes) -> None:
        (raw / "masked_info.csv").write_bytes(data)
        PHOTO_RECONSTRUCTION.index(raw)

    return Target(spoiled([table, table.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + table]), read)


def of_sample(toy: Toy, folder: Path) -> Target:
    sound = sample_of(toy.workspace, toy.layout).read_bytes()
    mine = folder / "mine.csv"
    mine.write_bytes(b"".join(csv_of(toy, "good", "test")))

    def read(data: bytes) -> None:
        path = folder / "sample_submission.csv"
        path.write_bytes(data)
        with contextlib.suppress(KitError):
            header(folder)
        check_submission(mine, path)

    return Target(spoiled([sound[:4000], sound, sound[:4000].replace(b"\n", b"\r")]), read)


def of_submission(toy: Toy, folder: Path) -> Target:
    sound, photos = b"".join(csv_of(toy, "good", "test")), Photos.of(toy.project, "test")
    truth, sample = toy.workspace.root / "truth", sample_of(toy.workspace, toy.layout)

    def read(data: bytes) -> None:
        path = folder / ("a.zip" if data[:2] == b"PK" else "a.csv.gz" if data[:2] == b"\x1f\x8b" else "a.csv")
        path.write_bytes(data)
        with contextlib.suppress(KitError):
            check_submission(path, sample)
        with contextlib.suppress(KitError):
            grade_submission(path, truth, toy.index, toy.layout)
        list(csv_values(path, photos, ValueFormat("score"), ReaderLog(), folder / "waiting"))

    import gzip

    forms = [sound, sound.replace(b"\n", b"\r\n"), sound.replace(b"\n", b"\r"), b"\xef\xbb\xbf" + sound]
    return Target(spoiled([*forms, gzip.compress(sound), _zip({"a.csv": sound}, 8)]), read)


def of_array(toy: Toy, folder: Path) -> Target:
    photos, values = Photos.of(toy.project, "oof"), np.stack(values_of(toy, "good", "oof"))
    npz, npy, order = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez_compressed(npz, oof=values)
    np.save(npy, values)
    np.save(order, np.asfortranarray(values.astype(np.float16)))

    def read(data: bytes) -> None:
        packed = data[:2] == b"PK"
        path = folder / ("a.npz" if packed else "a.npy")
        path.write_bytes(data)
        list((npz_values if packed else npy_values)(path, photos, ValueFormat(), ReaderLog()))

    return Target(spoiled([one.getvalue() for one in (npz, npy, order)]), read)


def of_their_folds(toy: Toy, folder: Path) -> Target:
    def read(data: bytes) -> None:
        (folder / "folds.csv").write_bytes(data)
        compare_folds(toy.project, folder / "folds.csv")

    return Target(spoiled([toy.workspace.folds.read_bytes()]), read)


def of_manifest(toy: Toy, folder: Path) -> Target:
    """Every JSON file of a workspace, one at a time."""
    work = toy.copy(folder / "w").workspace
    (work.blends).mkdir(exist_ok=True)
    blend = {"name": "b", "members": [{"name": "good", "digest": "0", "weight": 1.0}], "scores": {"single": 0.1}}
    run = work.run("mine", 0)
    run.mkdir(parents=True)
    files = {
        path: path.read_bytes()
        for path in (
            work.index.with_suffix(".json"),
            work.folds.with_suffix(".json"),
            work.pack / "manifest.json",
            *(work.predictions.rglob("*.json")),
        )
    }
    files |= {work.blend("b"): json.dumps(blend).encode(), run / "experiment.json": b'{"name": "mine", "epochs": 2}'}
    files |= {work.fetched: b'{"from": "kit", "in_place": true, "sample": false}'}
    paths = list(files)

    def read(data: bytes) -> None:
        path = paths[data[0] % len(paths)]
        path.write_bytes(data[1:])
        try:
            project = replace(toy, workspace=work).project
            for one in (
                lambda: read_index(work),
                lambda: read_folds(work, toy.index),
                lambda: project.pack,
                lambda: project.predictions.sources(),
                lambda: project.predictions.read("good", "oof"),
                lambda: read_blend(work),
                lambda: read_origin(work),
                lambda: stored_experiment(work, "mine"),
                lambda: read_json(path, made_by="kit"),
            ):
                with contextlib.suppress(KitError):
                    one()
        finally:
            path.write_bytes(files[path])

    numbered = st.integers(0, len(paths) - 1).flatmap(
        lambda place: (json_like([json.loads(files[paths[place]])]) | spoiled([files[paths[place]]])).map(
            lambda data: bytes([place]) + data
        )
    )
    return Target(numbered, read)


def of_config(toy: Toy, folder: Path) -> Target:
    def read(data: bytes) -> None:
        (folder / "a.toml").write_bytes(data)
        read_config(folder / "a.toml")

    sound = b'base = "regress"\nepochs = 3\nlr = 0.001\nencoder = "resnet18"\n[model]\nwidth = 16\n'
    return Target(spoiled([sound, b"[a]\nepochs = 3\n[b]\nlr = 1e-3\n", b"epochs = [1, 2]\n"]), read)


def of_ledger(toy: Toy, folder: Path) -> Target:
    work = toy.copy(folder / "w").workspace
    work.submissions.mkdir(exist_ok=True)
    from kit.submission.ledger import LedgerRow, append_ledger

    append_ledger(work, LedgerRow("2024-05-01T12:00:00+00:00", "toy", "a.csv", "0" * 16, "b", 0.1, 0.1, 0.2))
    sound = work.ledger.read_bytes()

    def read(data: bytes) -> None:
        work.ledger.write_bytes(data)
        read_ledger(work)

    return Target(spoiled([sound, sound.replace(b"\n", b"\r\n")]), read)


def of_weights(toy: Toy, folder: Path) -> Target:
    tensors = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2, dtype=torch.float16)}
    bare, nested = io.BytesIO(), io.BytesIO()
    torch.save(tensors, bare)
    torch.save({"epoch": 3, "state_dict": tensors}, nested, _use_new_zipfile_serialization=False)

    def read(data: bytes) -> None:
        (folder / "a.pth").write_bytes(data)
        open_weights(folder / "a.pth")

    return Target(spoiled([save_safetensors(tensors), bare.getvalue(), nested.getvalue()]), read)


TARGETS = {name.removeprefix("of_"): function for name, function in list(globals().items()) if name.startswith("of_")}


@pytest.mark.parametrize("name", list(TARGETS))
def test_any_input_gives_a_result_or_one_line(
    name: str, workshop: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, tried = TARGETS[name](workshop, tmp_path), {"result": 0, "line": 0}

    @settings(
        max_examples=TRIES,
        derandomize=not RANDOM,
        database=None,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(target.inputs)
    def try_one(data: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                target.read(data)
                tried["result"] += 1
            except KitError as error:
                assert str(error).strip() and "\n" not in str(error)
                tried["line"] += 1

    try_one()
    if RANDOM:
        with capsys.disabled():
            print(f"\n{name:13} {sum(tried.values()):6} inputs: {tried['result']} read, {tried['line']} refused")
