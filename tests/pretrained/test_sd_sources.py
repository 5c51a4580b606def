"""`kit sd` from the command to sources and the blend, with tiny but real pipelines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import kit, ok
from support.sampling import LINE, sample
from support.tiny_clip import tiny_clip
from support.toy import Toy, make_toy_workspace

from kit.core.storage import write_json
from kit.data.index import read_index, write_index
from kit.data.project import Project
from kit.pretrained.diffusion.plan import PhotoSelection, sample_specs
from kit.pretrained.diffusion.sample_store import Record
from kit.pretrained.prompts import PROMPTS, templates_of


def test_from_the_command_to_the_blend(fetched: Toy, models: Path, tmp_path: Path) -> None:
    toy = fetched.copy(tmp_path / "w")
    line = f"-w {toy.workspace.root} sd run --model {models / 'inpaint'} {LINE}"
    status = line.replace("sd run", "sd status")
    assert "No sources" in kit(f"{line} --limit 2").err
    assert "8 there" in ok(f"{status} --limit 2") and "16 missing" in ok(status)
    text = ok(f"{line} --samples 2")
    assert "Made: 40 samples" in text and "Written: sd-mean, test (4 samples a photo)" in text
    again = ok(f"{line} --samples 2")
    assert "Made" not in again and "Written" not in again and again.count("There already") == 1 + 4 + 2
    oof = Project(toy.workspace).predictions.read("sd-mean", "oof")
    _check_mean(toy, models / "inpaint", oof)
    curve = json.loads(ok(f"{line.replace('run', 'curve')} --json"))
    scores = {row["name"]: row["score"]["value"] for row in json.loads(ok(f"-w {toy.workspace.root} sources --json"))}
    point = {row["m"]: row["rmse"]["value"] for row in curve["curve"]}
    assert curve["samples"] == 4 and point[4] == pytest.approx(scores["sd-mean"], rel=1e-3)
    assert point[1] > point[2] > point[4] > point[8] > curve["limit"]["value"]
    assert set(curve["prompts"]) == set(PROMPTS.values())
    assert curve["prompts"][PROMPTS["class"]]["value"] > curve["limit"]["value"]
    assert scores["sd-shrunk"] < scores["sd-mean"] < scores["sd"]
    assert "sd-mean" in ok(f"-w {toy.workspace.root} blend sd sd-mean sd-shrunk fractional")


def _check_mean(toy: Toy, model: Path, oof: Any) -> None:
    """Mean and spread beside it are those of the samples, colours matched by box."""
    _, found = sample(toy, model, 2)
    jobs = PhotoSelection(toy.index, ("oof",)).jobs(sample_specs(templates_of([]), 2))
    drawn = np.stack([_matched(found[job.key]) for job in jobs if job.position == 3])
    assert np.abs(oof.values(3) - drawn.mean(0)).max() < 1e-3
    spread = np.load(toy.workspace.source("sd-mean", "oof") / "spread.npy")
    assert spread.shape == (8 * 200, 3) and np.abs(spread[600:800] - drawn.std(0, ddof=1)).max() < 1e-3


def _matched(record: Record) -> np.ndarray:
    return np.clip(record.values / 255 + np.repeat(record.shifts, 100, axis=0), 0, 1)


def test_a_new_prompt_joins_the_mean_and_a_name_keeps_sources_apart(fetched: Toy, models: Path, tmp_path: Path) -> None:
    toy = fetched.copy(tmp_path / "w")
    line = f"-w {toy.workspace.root} sd run --model {models / 'plain'} {LINE}"
    assert "(1 samples a photo)" in ok(f"{line} --prompt seamless")
    first = Project(toy.workspace).predictions.read("sd", "oof").digest
    text = ok(f"{line} --prompt", "a {animal}")
    assert "Made: 12 samples" in text and "(2 samples a photo)" in text
    assert Project(toy.workspace).predictions.read("sd", "oof").digest != first
    assert "Written: other-mean" in ok(f"{line} --prompt seamless --as other --no-colour-match")
    assert "There already: sd-mean" in ok(f"{line} --prompt", "a {animal}")
    done = kit(f"{line} --as fractional")
    assert done.code == 2 and "fractional is the name of a fill" in done.err


def test_one_split_alone_gives_sources_of_that_split(fetched: Toy, models: Path, tmp_path: Path) -> None:
    toy = fetched.copy(tmp_path / "w")
    done = kit(f"-w {toy.workspace.root} sd run --model {models / 'inpaint'} {LINE} --split oof --prompt seamless")
    assert done.code == 0 and "Written: sd-mean, oof" in done.out and "the other split lacks samples" in done.err
    done = kit(f"-w {toy.workspace.root} sd run --model {models / 'inpaint'} {LINE} --split test --prompt seamless")
    assert "Written: sd-mean, test" in done.out and "sd-shrunk, fold 1" in done.out


def test_samples_serve_where_their_model_is_not(fetched: Toy, models: Path, tmp_path: Path) -> None:
    toy, model = fetched.copy(tmp_path / "w"), tmp_path / "model"
    shutil.copytree(models / "inpaint", model)
    line = f"-w {toy.workspace.root} sd run --model {model} {LINE} --prompt seamless"
    ok(f"{line} --limit 3")
    ok(line)
    shutil.rmtree(model)
    assert "12 there" in ok(line.replace("sd run", "sd status")) and "There already: sd-mean, oof" in ok(line)
    done = kit(f"{line} --samples 2")
    assert done.is_one_error_line and "neither a folder nor an id" in done.err


def test_a_clip_tells_the_classes_that_the_layout_lacks(models: Path, tmp_path: Path) -> None:
    import pandas as pd

    toy = make_toy_workspace(tmp_path / "w", photos=4, test=3, size=32, k=2)
    rows = pd.read_csv(toy.workspace.index, dtype=str, keep_default_na=False)
    rows.loc[rows["split"] == "test", "klass"] = ""
    write_index(toy.workspace, rows)
    digest = read_index(toy.workspace).digest
    write_json(toy.workspace.pack / "manifest.json", {"index": digest, "version": 1, "height": 32, "width": 32})
    line = f"-w {toy.workspace.root} sd run --model {models / 'inpaint'} {LINE} --prompt class --split test"
    done = kit(line)
    assert done.code == 0 and "3 photos have no class: their prompts say 'animal'" in done.err
    told = kit(f"{line} --clip {tiny_clip(tmp_path / 'clip')}")
    assert "Made: 3 samples" in told.out and "no class" not in told.err


def test_processes_of_torchrun_each_take_their_share(
    fetched: Toy, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = fetched.copy(tmp_path / "w")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        text = ok(f"-w {toy.workspace.root} sd run --model {models / 'inpaint'} {LINE} --prompt seamless")
        assert f"Made: 6 samples of shard {int(rank) + 1}/2" in text
    assert "Written: sd-mean, oof" in text


MISTAKES = [
    ("--model {m}/other", "cannot inpaint"),
    ("--model {m}/nothing", "is neither a folder nor an id of the hub"),
    ("--model owner/name", "HF_HUB_OFFLINE"),
    ("--model {m}", "no model_index.json"),
    ("--model {m}/inpaint --variant fp16", "no weights of this variant"),
    ("--model {m}/inpaint --size 30", "Use --size 32"),
    ("--model {m}/inpaint --size 32 --scheduler nonsense", "There is no scheduler"),
    ("--model {m}/inpaint --prompt {{dog}}", "there is no {dog}"),
    ("--model {m}/inpaint --split train", "There is no split"),
    ("--model {m}/inpaint --size 32 --device cuda:77", "--device cuda:77"),
    ("--model {m}/inpaint --shard 3/2", "I/N is needed"),
    ("curve --model {m}/inpaint", "A curve takes two samples"),
    ("--model {m}/inpaint --steps 2 --strength 0.1", "no step"),
    ("--model {m}/inpaint --as all", "all is the word"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_a_mistake_is_one_line(fetched: Toy, models: Path, tmp_path: Path, words: str, said: str) -> None:
    root = tmp_path / "w"
    shutil.copytree(fetched.workspace.root, root)
    verb = "" if words.startswith("curve") else "run "
    done = kit(f"-w {root} sd {verb}{words.format(m=models)}")
    assert done.is_one_error_line and said in done.err, done
    assert not list(root.glob("sd/*/samples/*")) and not list(root.glob("predictions/sd*"))
