"""`kit status`, `kit blends`, `kit rm`, `kit verify`, `kit doctor` on a workspace with something of everything."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import kit, ok
from support.toy import SLUG, write_toy_source
from support.trainings import Stopped, project_at, short, stop_in_step, train

from kit.core.storage import held
from kit.core.workspace import Workspace, check_output
from kit.data.project import Project
from kit.errors import UsageError
from kit.learning.training.fit import fit_fold
from kit.submission.ledger import LedgerRow, append_ledger, now
from kit.upkeep import doctor
from kit.upkeep.remove import plan_removal
from kit.upkeep.status import read_status
from kit.upkeep.verify import verify_workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fills, a trained fold, a blend of two fills."""
    project = project_at(tmp_path_factory.mktemp("upkeep") / "w")
    ok(f"-w {project.workspace.root} fill mean telea harmonic")
    fit_fold(project, short(), 0, device="cpu")
    ok(f"-w {project.workspace.root} blend mean harmonic --name two --plots none")
    return project.workspace.root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of it to be written to."""
    return Path(shutil.copytree(made, tmp_path / "w"))


def opened(root: Path) -> Project:
    return Project(Workspace(root, SLUG))


# --- status


def test_an_empty_folder_wants_the_data(tmp_path: Path) -> None:
    text = ok(f"-w {tmp_path} status")
    assert "Data: none" in text and text.endswith("fetch\n") and not list(tmp_path.iterdir())


def test_it_names_what_is_there_and_what_comes_next(root: Path) -> None:
    text = ok(f"-w {root} status")
    assert "Data: 24 training and 4 test photos" in text and "3 folds" in text
    assert "regress a trained experiment folds 0 see below" in " ".join(text.split())
    assert "regress lacks the oof predictions of folds 1, 2" in text
    assert "two  " in text and "Submissions: none sent" in text and "predictions" in text.split("Disk, MB")[1]
    found = json.loads(ok(f"-w {root} status --json"))
    assert found["following"] == "kit train regress --fold all"
    assert [one["name"] for one in found["sources"]] == ["harmonic", "mean", "regress", "telea"]
    shutil.rmtree(root / "predictions" / "regress")
    shutil.rmtree(root / "runs")
    assert read_status(opened(root)).following == "kit train --fold all"


def test_each_step_of_the_chain_asks_for_the_next(root: Path) -> None:
    (root / "folds" / f"{SLUG}.json").unlink()
    (root / "folds" / f"{SLUG}.csv").unlink()
    assert read_status(opened(root)).following == "kit folds"
    ok(f"-w {root} folds --k 3")
    for name in ("mean", "telea", "harmonic", "regress"):
        shutil.rmtree(root / "predictions" / name)
    shutil.rmtree(root / "runs")
    assert read_status(opened(root)).following == "kit fill all"


def test_interrupted_and_running_trainings_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = opened(root)
    with monkeypatch.context() as patch:
        stop_in_step(patch, 5)
        with pytest.raises(Stopped):
            train(project, short(), 1)
    found = read_status(project)
    assert [(one.name, one.fold, one.epoch, one.epochs, one.held_by) for one in found.trainings] == [
        ("regress", 1, 1, 2, None)
    ]
    assert found.following == "kit train regress --fold 1" and found.running == ()
    assert "regress 1 epoch 1 of 2 interrupted" in " ".join(ok(f"-w {root} status").split())
    with held(project.workspace.run("regress", 1), "training"):
        found = read_status(project)
        assert found.trainings[0].held_by and found.running[0].startswith("training of regress, fold 1 (")
        assert kit(f"-w {root} rm regress --yes").code == 75


def test_a_blend_whose_member_was_made_anew_is_stale_and_asked_for_again(root: Path) -> None:
    ok(f"-w {root} rm regress --yes")
    write_toy_source_over(root, "mean")
    found = read_status(opened(root))
    assert "have changed since blend two was made" in found.blends[0].problem and found.following.startswith("kit ")
    assert "does not fit" in ok(f"-w {root} blends")


def write_toy_source_over(root: Path, name: str) -> None:
    from support.toy import TOY, Toy

    project = opened(root)
    truth = np.zeros((4, 32, 32, 3), np.uint8)
    write_toy_source(Toy(project.workspace, TOY, project.index, project.pack, project.folds, truth), name, noise=0.2)


def test_damaged_files_are_named_and_stop_nothing(root: Path) -> None:
    (root / "submissions").mkdir(exist_ok=True)
    (root / "submissions" / "ledger.csv").write_text("nonsense\n")
    (root / "blends" / "two.json").write_text("{")
    next(root.glob("predictions/mean/oof/*.npy")).write_bytes(b"")
    done = kit(f"-w {root} status")
    assert done.code == 0 and done.err == ""
    for name in ("ledger.csv", "two: ", "mean: "):
        assert name in done.out


def test_scores_come_from_the_ledger(root: Path) -> None:
    for score in (0.2, 0.1):
        row = LedgerRow(when=now(), competition=SLUG, file="two.csv", digest="d", what="blend two", ref="1")
        append_ledger(Workspace(root, SLUG), LedgerRow(**{**vars(row), "status": "complete", "public_score": score}))
    found = read_status(opened(root))
    assert (found.sent, found.pending, found.best_public, found.blends[0].public) == (2, 0, 0.1, 0.1)


# --- verify


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("predictions/mean/oof/all.npy", "holds other values than were written. Make it again: kit fill mean"),
        ("runs/regress/fold_0/model.safetensors", "its digest differs). Make it again: kit train regress --fold 0"),
        ("data/toy/raw/train/image/Cat (0).png", "has changed since it was fetched. Fetch it again: kit fetch"),
        ("data/toy/pack/train_target.npy", "does not hold train/"),
        ("data/toy/pack/test_estimated.npy", "does not hold test/"),
        ("data/toy/pack/train_extremes.npy", "does not hold train/"),
        ("data/toy/raw/sample_submission.csv", "was changed after it was fetched. Fetch it again: kit fetch"),
        ("blends/two.json", "is not a blend that kit wrote"),
        ("folds/toy.csv", "was changed after kit wrote it"),
    ],
)
def test_one_changed_byte_is_found_wherever_it_is(where: str, said: str, root: Path) -> None:
    assert kit(f"-w {root} verify").code == 0
    path = root / where
    data = bytearray(path.read_bytes())
    data[-len(data) // 3] ^= 1
    path.write_bytes(bytes(data))
    done = kit(f"-w {root} verify")
    assert done.code == 1 and said in done.out and "1 not as written" in done.out and done.err == ""


def test_a_missing_half_is_found_and_a_cut_manifest_names_its_command(root: Path) -> None:
    folder = root / "predictions" / "mean"
    (folder / "oof" / "all.json").rename(root / "kept.json")
    problems = verify_workspace(opened(root)).problems
    assert [
        line for line in problems if line.startswith(f"{folder / 'oof' / 'all.json'} is missing. Make it again: kit")
    ]
    assert "it has no OOF predictions" in ok(f"-w {root} export mean --out {root / 'mean.npz'}")
    (folder / "oof" / "all.json").write_text("{")
    assert any("run: kit fill mean --force" in line for line in verify_workspace(opened(root)).problems)
    ok(f"-w {root} fill mean --force")
    assert not verify_workspace(opened(root)).problems


def test_a_sample_that_was_cut_is_believed_by_nobody(root: Path, tmp_path: Path) -> None:
    ok(f"-w {root} upload mean --dry-run --out {tmp_path / 'mine.csv'}")
    path = root / "data" / SLUG / "raw" / "sample_submission.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:100]))
    for line in ("upload mean --dry-run", f"check {tmp_path / 'mine.csv'}"):
        done = kit(f"-w {root} {line}")
        assert done.is_one_error_line and "was changed after it was fetched" in done.err


@pytest.mark.parametrize(
    "line",
    [
        *("upload mean --dry-run --out {0}", "export mean --out {0}", "predict mean --input {1} --out {0}"),
        *("predict mean --images {1} --masks {1} --out {0}", "predict mean --input {1} --work {0}"),
        *("figure mean --out {0}", "bundle mean --out {0}", "weights get convnext_atto --out {0}", "demo --folder {0}"),
    ],
)
@pytest.mark.parametrize("own", ["folds/toy.csv", "data/toy/index.csv", "submissions/ledger.csv"])
def test_no_output_replaces_what_kit_keeps(line: str, own: str, root: Path) -> None:
    before = (root / own).read_bytes() if (root / own).exists() else None
    done = kit(f"-w {root} {line.format(root / own, root / 'data' / SLUG / 'raw')}")
    assert done.is_one_error_line and done.code == 2 and "lies among kit's own files" in done.err
    assert before == ((root / own).read_bytes() if (root / own).exists() else None)


def test_another_place_than_kits_own_is_named_and_works_when_typed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, typed, better in [
        (tmp_path, f"{root}/runs/a.png", "a.png"),
        (root, "runs/a.png", "a.png"),
        (root, "runs", f"{root}/my-runs"),
        (root / "folds", "a b.png", f"'{root}/a b.png'"),
    ]:
        monkeypatch.chdir(folder)
        with pytest.raises(UsageError, match=re.escape(f"Choose another place: --out {better}") + "$"):
            check_output(Workspace(root, SLUG), Path(typed))
        check_output(Workspace(root, SLUG), Path(better.strip("'")))
    monkeypatch.chdir(tmp_path)
    assert (done := kit(f"-w {root} figure mean --out a.jpg")).is_one_error_line and "choose a.png" in done.err
    done = kit(f"-w {root} new model {root}/runs/mine")
    assert done.is_one_error_line and done.err.endswith("Choose another place: kit new model mine.py\n")
    ok(f"-w {root} figure mean --out {root}/report/again.png")
    ok(f"-w {root} bundle mean --out {root}/bundles/again")


def test_a_submission_that_was_written_again_is_found(root: Path) -> None:
    ok(f"-w {root} upload two --dry-run")
    row = LedgerRow(when=now(), competition=SLUG, file="two.csv", digest="other", what="blend two", ref="1")
    append_ledger(Workspace(root, SLUG), row)
    assert any("two.csv is not what was sent" in line for line in verify_workspace(opened(root)).problems)


# --- rm


def test_all_that_belongs_to_a_name_goes_and_nothing_else(
    root: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    before = digests(root)
    assert plan_removal(Workspace(root, SLUG), "mean").needed_by == ("two",)
    done = kit(f"-w {root} rm mean,regress --yes")
    assert done.code == 0 and "two cannot be applied without mean" in done.out and "Deleted: regress" in done.out
    gone = {name for name in before if name not in digests(root)}
    assert gone == {name for name in before if name.startswith(("predictions/mean/", "predictions/regress/", "runs/"))}
    assert kit(f"-w {root} rm mean --yes").is_one_error_line
    assert kit(f"-w {root} rm ../data --yes").is_one_error_line and (root / "data").is_dir()


def test_nobody_is_asked_where_there_is_no_terminal(root: Path) -> None:
    done = kit(f"-w {root} rm mean")
    assert done.code == 2 and "kit rm mean --yes" in done.err
    assert kit(f"-w {root} rm", "").code == 2 and (root / "predictions" / "mean").is_dir()


# --- doctor


def states(root: Path, **options: Any) -> dict[str, tuple[str, str]]:
    return {one.what: (one.state, one.text) for one in doctor.examine(Workspace(root), ask_network=False, **options)}


def test_this_machine_is_fit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_networks", lambda: iter(()))  # a test of its own
    found = states(root)
    assert {"python", "packages", "memory", "disk", "file system", "locale", "credentials", "weights"} <= set(found)
    assert not [one for one in found.values() if one[0] == "problem"]
    assert json.loads(ok(f"-w {root} doctor --offline --json"))[0]["what"] == "python"


def test_what_does_not_fit_is_a_problem_with_a_way_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_networks", lambda: iter(()))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "kaggle.json").write_text('{"username": "ada", "key": "SECRET"}')
    (tmp_path / ".kaggle" / "kaggle.json").chmod(0o644)
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: ["numpy>=99"])
    found = states(root)
    assert found["packages"][0] == "problem" and "numpy" in found["packages"][1] and ">=99" in found["packages"][1]
    assert found["credentials"][0] == "problem" and "chmod 600" in found["credentials"][1]
    done = kit(f"-w {root} doctor --offline")
    assert done.code == 1 and "SECRET" not in done.out + done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("kaggle.json", "", "holds no username and key"),
        ("kaggle.json", '{"username": "ada"', "is not JSON"),
        ("kaggle.json", '{"username": "ada", "key": ["SECRET"]}', "that is no text"),
        ("access_token", "KAGGLE_API_TOKEN=SECRET-SECRET", "is the line of a shell"),
        ("access_token", "s" * 10_000, "it has 10,000 letters"),
    ],
)
def test_credentials_that_fetch_would_refuse_are_a_problem(
    name: str, content: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "KAGGLE_USERNAME", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / name).write_text(content)
    (tmp_path / ".kaggle" / name).chmod(0o600)
    before = dict(os.environ)
    (found,) = doctor._credentials()
    assert found.state == "problem" and said in found.text and "SECRET" not in found.text
    assert dict(os.environ) == before


def test_every_network_of_the_catalog_builds() -> None:
    assert [one.state for one in doctor._networks()] == ["ok"]
