"""A bundle: what it holds, that it is whole, what is refused, and what is sent to Kaggle."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.command import kit, ok
from support.kaggle_standin import KaggleStandIn
from support.toy import Toy, write_toy_source
from support.trainings import FOLDS, trained_on_all_folds

from kit.blending import make_blend
from kit.bundling import make_wheel
from kit.data.fill_sources import make_fill_source
from kit.data.mean_source import make_mean_source
from kit.data.project import Project


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two trained experiments, one of them on an architecture of segmentation-models-pytorch, and their blend."""
    project = trained_on_all_folds(tmp_path_factory.mktemp("bundling") / "w", ["regress", "partialconv"])
    for name in ("mean", "fractional"):
        make_fill_source(project, name)
    make_blend(project, ["regress", "partialconv", "fractional"], name="all-three", rung="mean")
    return project


def w(project: Project) -> str:
    return f"-w {project.workspace.root}"


def digests(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_holds_all_that_predicts_and_no_photo(copied: Project, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    out = ok(f"{w(copied)} bundle all-three --out {folder}")
    assert "Packed: blend all-three" in out
    files = digests(folder)
    for fold in range(FOLDS):
        assert f"workspace/runs/partialconv/fold_{fold}/model.safetensors" in files
    assert "workspace/blends/all-three.json" in files
    assert not [name for name in files if name.endswith(("train_target.npy", "test_image.npy", ".png"))]
    wheels = [name for name in files if name.startswith("wheels/")]
    assert any(name.startswith("wheels/hole_kit-") for name in wheels)
    assert any(name.startswith("wheels/segmentation_models_pytorch-") for name in wheels)  # for `regress`
    assert "all as written" in ok(f"verify {folder}")


def test_the_same_project_makes_the_same_bytes(copied: Project, tmp_path: Path) -> None:
    for name in ("a", "b"):
        ok(f"{w(copied)} bundle all-three --out {tmp_path / name}")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_the_submission_that_is_noted_is_known_again(copied: Project, tmp_path: Path) -> None:
    folder, csv = tmp_path / "bundle", copied.workspace.submission("all-three")
    ok(f"{w(copied)} bundle all-three --out {folder}")
    ok(f"{w(copied)} upload all-three --dry-run")
    assert "the very bytes that were noted" in ok(f"verify {folder} --submission {csv}")
    lines = csv.read_text().splitlines()
    name, value = lines[1].split(",")
    other = tmp_path / "other.csv"
    other.write_text("\n".join([lines[0], f"{name},{min(1.0, float(value) + 0.5)}", *lines[2:], ""]))
    said = ok(f"verify {folder} --submission {other}")
    assert "other bytes than noted" in said and "at most 0.5" in said
    hidden = tmp_path / "hidden.csv"
    hidden.write_text("\n".join([lines[0], *(f"x{line}" for line in lines[1:]), ""]))
    assert "nothing to compare" in ok(f"verify {folder} --submission {hidden}")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "workspace" / "runs" / "regress" / "fold_0" / "run.json").unlink(), "is missing"),
        (lambda folder: (folder / "workspace" / "folds" / "toy.csv").write_text("x"), "toy.csv is changed"),
        (lambda folder: (folder / "more.txt").write_text("x"), "more.txt is not of the bundle"),
        (lambda folder: (folder / "bundle.json").unlink(), "is no bundle"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "bundle.json"),
        (lambda folder: (folder / "bundle.json").write_text("{}"), "is not what kit wrote"),
    ],
)
def test_damage_is_named(harm: object, said: str, copied: Project, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    ok(f"{w(copied)} bundle all-three --out {folder}")
    harm(folder)  # type: ignore[operator]
    done = kit(f"verify {folder}")
    assert done.is_one_error_line and said in done.err


def test_what_cannot_be_made_anew_is_refused(copied: Project, tmp_path: Path) -> None:
    toy = Toy(copied.workspace, copied.layout, copied.index, copied.pack, copied.folds, copied.pack.test_image)
    write_toy_source(toy, "brought", noise=0.05, recipe={"kind": "import"}, made_by="kit import brought")
    make_blend(Project(copied.workspace), ["brought", "regress"], name="with-import", rung="mean")
    done = kit(f"{w(copied)} bundle with-import --out {tmp_path / 'b'}")
    assert done.is_one_error_line and "brought is" in done.err and "kit blend --members" in done.err
    assert not (tmp_path / "b").exists()
    done = kit(f"{w(copied)} bundle nothing --out {tmp_path / 'b'}")
    assert done.is_one_error_line and "There is no blend or source 'nothing'" in done.err


def test_weights_that_are_gone_are_named_and_nothing_is_left(copied: Project, tmp_path: Path) -> None:
    (copied.workspace.run("partialconv", 1) / "model.safetensors").unlink()
    done = kit(f"{w(copied)} bundle all-three --out {tmp_path / 'b'}")
    assert done.is_one_error_line and "kit train partialconv --fold 1" in done.err
    assert list(tmp_path.iterdir()) == [copied.workspace.root]


def test_pretrained_weights_come_along_to_train_there(copied: Project, tmp_path: Path) -> None:
    ok(f"{w(copied)} bundle partialconv --out {tmp_path / 'b'} --weights tf_efficientnet_lite0")
    assert (tmp_path / "b" / "weights" / "tf_efficientnet_lite0.safetensors").stat().st_size > 10_000_000
    ok(f"verify {tmp_path / 'b'}")
    done = kit(f"{w(copied)} bundle partialconv --out {tmp_path / 'c'} --weights tf_efficientnet_lite9")
    assert done.is_one_error_line and not (tmp_path / "c").exists()


def test_a_mean_of_seeds_brings_its_members(copied: Project, tmp_path: Path) -> None:
    make_mean_source(copied, "both-mean", ["regress", "partialconv"], made_by="kit train regress --seeds 2 --mean")
    ok(f"{w(copied)} bundle both-mean --out {tmp_path / 'b'}")
    runs = {path.name for path in (tmp_path / "b" / "workspace" / "runs").iterdir()}
    assert runs == {"regress", "partialconv"}


def test_a_workspace_that_cannot_be_written_is_bundled_elsewhere(copied: Project, tmp_path: Path) -> None:
    for name in ("submissions", "bundles"):
        (copied.workspace.root / name).write_text("")  # nothing can be written there, by root either
    done = kit(f"{w(copied)} bundle all-three")
    assert done.is_one_error_line and "bundle all-three --out FOLDER" in done.err
    assert "Packed" in ok(f"{w(copied)} bundle all-three --out {tmp_path / 'b'}")
    assert not (tmp_path / "b" / "submission").exists()
    assert "all as written" in ok(f"verify {tmp_path / 'b'}")


def test_a_folder_that_is_there_is_not_lost(copied: Project, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    done = kit(f"{w(copied)} bundle regress --out {mine} --force")
    assert done.is_one_error_line and "is no bundle" in done.err
    ok(f"{w(copied)} bundle regress --out {tmp_path / 'b'}")
    done = kit(f"{w(copied)} bundle regress --out {tmp_path / 'b'}")
    assert done.is_one_error_line and "--force" in done.err
    ok(f"{w(copied)} bundle regress --out {tmp_path / 'b'} --force")


@pytest.mark.usefixtures("kaggle_env")
def test_a_bundle_becomes_a_dataset_and_its_notebook_runs(
    copied: Project, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    kaggle_service.slug = copied.workspace.slug
    folder = tmp_path / "b"
    said = ok(f"{w(copied)} bundle all-three --out {folder} --push ada/photo-bundle --dry-run")
    assert "To make or renew: the private dataset ada/photo-bundle" in said and kaggle_service.datasets == {}
    ok(f"{w(copied)} bundle all-three --out {folder} --push ada/photo-bundle --yes")
    (files,) = kaggle_service.datasets["ada/photo-bundle"]
    with zipfile.ZipFile(io.BytesIO(files["workspace.zip"])) as workspace:
        assert "blends/all-three.json" in workspace.namelist()
    ok(f"verify {folder}")  # what was written for the dataset is not taken for damage
    said = ok(f"{w(copied)} push ada/photo-notebook --bundle {folder} --dataset ada/photo-bundle --yes")
    assert "https://www.kaggle.com/code/ada/photo-notebook" in said
    (saved,) = kaggle_service.notebooks["ada/photo-notebook"]
    assert (saved["machineShape"], saved["enableInternet"], saved["isPrivate"]) == ("NvidiaTeslaT4", False, True)
    assert "predict all-three" in json.dumps(json.loads(saved["text"]))


def test_a_machine_that_kaggle_would_replace_in_silence_is_refused() -> None:
    done = kit("push ada/photo-notebook --dataset ada/photo-bundle --gpu t4x1")
    assert done.is_one_error_line and "Did you mean t4x2?" in done.err


@pytest.mark.slow
def test_the_wheel_of_kit_is_installed_without_a_network_and_runs(tmp_path: Path) -> None:
    wheel = make_wheel("hole-kit", tmp_path)
    assert make_wheel("hole-kit", tmp_path / "again").read_bytes() == wheel.read_bytes()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", tmp_path / "site"]
    subprocess.run([*pip, wheel], check=True)
    code = "import kit, sys; print(kit.__file__); from kit.cli import run; sys.argv = ['kit', '--version']; run()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path / "site") in done.stdout and "kit 0." in done.stdout
    shutil.rmtree(tmp_path / "site")


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    from kit.errors import UsageError

    with pytest.raises(UsageError, match="pip install no-such-package"):
        make_wheel("no-such-package", tmp_path)
