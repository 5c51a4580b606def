"""Suggested commands can be typed as they stand, and what two processes or edited files may do."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from support.toy import Toy

from kit.blending import make_blend, read_blend, score_sources
from kit.cli.options import remember_workspace, with_workspace_flags
from kit.cli.results import sources_table
from kit.core.storage import only_one, write_json
from kit.core.workspace import Workspace
from kit.errors import DamagedStore, StoreError
from kit.imaging.metrics import RMSE
from kit.learning.experiments import Experiment, stored_experiment

pytestmark = pytest.mark.toy(sources=[{"name": "good", "seed": 0}, {"name": "other", "seed": 1}])


@pytest.mark.parametrize("folder", ["try", "two words", "o'clock"])
def test_suggested_commands_reach_the_same_workspace(folder: str) -> None:
    remember_workspace(Path(folder), None, by_environment=False)
    try:
        message = with_workspace_flags("There are no sources. Run: kit fill all")
        command = message.split("Run: ")[1]
        assert shlex.split(command) == ["kit", "-w", folder, "fill", "all"]
    finally:
        remember_workspace(Path(), None, by_environment=False)
    assert with_workspace_flags("Run: kit fill all") == "Run: kit fill all"


def test_the_notes_below_the_sources_reach_the_same_workspace(toy: Toy) -> None:
    path = toy.workspace.source("good", "oof") / "all.json"
    path.write_text("{")
    remember_workspace(Path("c"), None, by_environment=False)
    try:
        assert "Delete it, then run: kit -w c import good" in sources_table(score_sources(toy.project), RMSE)
    finally:
        remember_workspace(Path(), None, by_environment=False)


@pytest.mark.parametrize("weight", [-3.5, float("nan"), 2.0])
def test_a_blend_whose_weights_were_edited_is_refused(toy: Toy, weight: float) -> None:
    made = make_blend(toy.project, name="edited")
    path = toy.workspace.blend("edited")
    fields = json.loads(path.read_text())
    fields["members"][0]["weight"] = weight
    path.write_text(json.dumps(fields))
    with pytest.raises(DamagedStore, match=r"edited\.json is not a blend that kit wrote"):
        read_blend(toy.workspace, made.name)


def test_a_second_process_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "here", "kit fetch"),
        pytest.raises(StoreError, match="Another `kit fetch` is running"),
        only_one(tmp_path / "here", "kit fetch"),
    ):
        pass
    with only_one(tmp_path / "here", "kit fetch"):
        assert not (tmp_path / "here").exists()


def test_a_cut_part_is_not_taken_for_done(toy: Toy) -> None:
    manifest = toy.project.predictions.manifest("good", "oof", None)
    assert manifest is not None
    assert toy.project.predictions.is_done("good", "oof", manifest["recipe"])
    path = toy.workspace.source("good", "oof") / "all.npy"
    path.write_bytes(path.read_bytes()[:-6])
    assert not toy.project.predictions.is_done("good", "oof", manifest["recipe"])


def test_a_source_made_under_another_name_goes_on_with_its_own_settings(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert stored_experiment(workspace, "mine") is None
    mine = Experiment("mine", architecture="bilstm", width=48, patience=2, epochs=3, decoder_channels=(32, 16))
    write_json(workspace.run("mine", 1) / "experiment.json", {"experiment": mine, "index": "", "folds": ""})
    assert stored_experiment(workspace, "mine") == mine
    write_json(workspace.run("mine", 1) / "experiment.json", {"experiment": 3})
    with pytest.raises(DamagedStore, match="holds no experiment"):
        stored_experiment(workspace, "mine")


def test_weights_stay_a_partition_of_one(toy: Toy) -> None:
    made = make_blend(toy.project)
    assert np.isclose(sum(made.weights.values()), 1.0)
