"""A light installation: what needs no extra works without any, and the rest says in one line which extra it needs."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.command import kit

from kit.cli.options import COMMANDS
from kit.core.extras import EXTRAS, explain_missing_module, is_installed, missing_package
from kit.data.sample_competition import make_demo_archive

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

WORKS = [
    "fetch --from {archive}",
    "explore",
    "folds --k 2",
    "fill all",
    "sources",
    "train --list",
    "train regress --print-config",
    "new model {folder}/mine",
    "blend",
    "blend --json",
    "figure",
    "report --photos 4",
    "compare harmonic fractional",
    "export fractional --out {folder}/fractional.npz",
    "import again --oof {folder}/fractional.npz --test {folder}/fractional.npz",
    "upload --dry-run",
    "upload fractional --dry-run",
    "bundle fractional --out {folder}/bundle",
    "verify {folder}/bundle",
    "check submissions/fractional.csv",
    "grade submissions/fractional.csv --truth {truth}",
    "status",
    "watch",
    "blends",
    "verify",
    "doctor --offline",
    "rm again --yes",
    "check-layout photo-reconstruction --from {archive}",
]
"""Commands of the light core, in the order of a contest."""

NEEDS = {
    "train --fold 0": "train",
    "train regress --set architecture=plain --fold 0": "train",
    "check-model {folder}/mine.py:Net": "train",
    "predict regress": "train",
    "weights list": "train",
    "weights get tu-resnet18": "train",
    "weights check {archive}": "train",
    "blend --stack": "train",
    "tune regress": "tune",
    "fill mean --on ray": "ray",
    "clip embed --model thumbnail": "clip",
    "clip classes --model thumbnail": "clip",
    "clip prompts cat --model thumbnail": "clip",
    "clip neighbours": "clip",
    "fetch --sample -w {folder}/try": "demo",
    "demo --folder {folder}/demo": "demo,train",
}
"""Commands that need more, and the extra that each names."""

BLOCK = """
import contextlib, io, json, sys
sys.path[:0] = {paths!r}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
from support.command import kit
print("\\n" + json.dumps([vars(kit(line)) for line in {lines!r}]))
"""


def run_without(modules: list[str], lines: list[str], folder: Path) -> list[dict[str, object]]:
    """Run commands in a process that has none of these modules."""
    paths = [str(ROOT / "tests"), str(ROOT)]
    code = BLOCK.format(paths=paths, modules=sorted(modules), lines=lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("light")


@pytest.fixture(scope="module")
def archive(folder: Path) -> Path:
    return make_demo_archive(folder / "original", seed=7, train=12, test=4).archive


def test_the_chain_needs_no_extra_and_the_rest_names_its_own(folder: Path, archive: Path) -> None:
    places = {"archive": archive, "truth": archive.parent / "truth", "folder": folder}
    modules = sorted({module for modules in EXTRAS.values() for module in modules})
    lines = [line.format(**places) for line in (*WORKS, *NEEDS)]
    results = run_without(modules, lines, folder)
    for line, done in zip(WORKS, results, strict=False):
        assert done["code"] == 0, (line, done["err"])
    for (line, extra), done in zip(NEEDS.items(), results[len(WORKS) :], strict=True):
        assert done["code"] == 1, (line, done)
        error = str(done["err"]).splitlines()[-1]
        assert error.startswith("Error: "), (line, done)
        assert error.endswith(f"is not installed, which this command needs. Run: pip install 'hole-kit[{extra}]'"), line
        assert "Traceback" not in str(done["err"])
    asked = {line.split()[0] for line in lines}
    others = {"submissions", "leaderboard", "push"}  # ask Kaggle
    assert set(COMMANDS) - asked == {"sd", "show"} | others, "sd: below; show: of a photo of the reader's"


@pytest.mark.parametrize("module", ["torch", "diffusers", "transformers", "safetensors"])
def test_stable_diffusion_names_its_extra_whatever_lacks(folder: Path, archive: Path, module: str) -> None:
    tiny_diffusion = pytest.importorskip("support.tiny_diffusion")
    if not (folder / "tiny").exists():
        tiny_diffusion.save_tiny(folder / "tiny")
    fetch = [f"fetch --from {archive}", "folds --k 2"]
    *_, done = run_without([module], [*fetch, f"sd run --model {folder / 'tiny'} --samples 1"], folder)
    assert done["code"] == 1 and str(done["err"]).endswith(
        f"Error: {module} is not installed, which this command needs. Run: pip install 'hole-kit[sd]'\n"
    )


def test_what_an_extra_brings_is_what_pyproject_says() -> None:
    named = {"segmentation_models_pytorch": "segmentation-models-pytorch", "skimage": "scikit-image"}
    named |= {"sklearn": "scikit-learn", "faiss": "faiss-cpu"}
    extras = PROJECT["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        requirements = [*extras[extra], *(extras["train"] if "hole-kit[train]" in extras[extra] else [])]
        names = {one.partition(">")[0] for one in requirements}
        assert {named.get(module, module) for module in modules} <= names, extra
        of_commands = [extra for extra in EXTRAS if extra not in ("s3", "gs")]  # they change others' versions of boto
    assert f"hole-kit[{','.join(of_commands)}]" in extras["all"]
    core = {one.partition(">")[0].replace("-", "_") for one in PROJECT["dependencies"]}
    assert not core & {module for modules in EXTRAS.values() for module in modules}


def test_what_is_not_ours_or_is_there_in_part_is_no_missing_extra() -> None:
    assert explain_missing_module(ModuleNotFoundError("No module named 'somebodys'", name="somebodys")) is None
    assert explain_missing_module(ModuleNotFoundError("No module named 'kit.nothing'", name="kit.nothing")) is None
    assert explain_missing_module(ModuleNotFoundError("sqlite3 was left out")) is None
    installed = next(module for modules in EXTRAS.values() for module in modules if is_installed(module))
    assert explain_missing_module(ModuleNotFoundError("no part", name=f"{installed}.no_such_part")) is None


def test_a_missing_module_that_is_not_ours_is_a_fault_to_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "kit.data.index", None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = kit(f"-w {tmp_path} sources")
    assert done.code == 70 and "kit.data.index" in done.err


@pytest.mark.parametrize(
    ("command", "extras"), [(None, "train"), ("blend", "train"), ("sd", "sd"), ("demo", "demo,train")]
)
def test_the_extra_is_that_of_the_command(command: str | None, extras: str) -> None:
    assert str(missing_package("torch", command)).endswith(f"pip install 'hole-kit[{extras}]'")
