"""Completion by Typer's own protocol, as a shell speaks it: a process is asked, and answers with words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.command import ok
from support.toy import Toy, write_toy_source

from kit.cli import candidates
from kit.core.workspace import Workspace

pytestmark = pytest.mark.toy(photos=12, test=3, size=32, k=3, shared=True)
HEAVY = ("torch", "pandas", "kaggle", "matplotlib", "optuna")


@pytest.fixture(scope="module")
def root(shared_toy: Toy) -> Path:
    write_toy_source(shared_toy, "good", 0.02)
    write_toy_source(shared_toy, "unet", 0.05, by_fold=True)
    root = shared_toy.workspace.root
    ok(f"-w {root} blend good unet --name first --plots none")
    (root / "runs" / "regress-mine" / "fold_0").mkdir(parents=True)
    return root


def answer(shell: str, folder: Path, **variables: str) -> list[str]:
    """What a process answers; asserts that it says nothing else."""
    environment = {**os.environ, "_KIT_COMPLETE": f"complete_{shell}", **variables}
    done = subprocess.run([sys.executable, "-m", "kit"], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.stderr == "", done.stderr
    return done.stdout.splitlines()


def typed(folder: Path, *words: str) -> list[str]:
    """What bash is answered where the last of the words is being typed."""
    return answer("bash", folder, COMP_WORDS="\n".join(["kit", *words]), COMP_CWORD=str(len(words)))


def test_commands_verbs_and_options(root: Path) -> None:
    assert typed(root, "bl") == ["blend", "blends"]
    assert {"run", "status", "curve"} <= set(typed(root, "sd", ""))
    assert "--json" in typed(root, "sources", "--") and "--workspace" in typed(root, "--w")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["export", ""], ["good", "unet", "first"]),
        (["compare", "good", "u"], ["unet"]),
        (["report", ""], ["first"]),
        (["blend", "good", "un"], ["unet"]),
        (["blend", "--members", "good,u"], ["good,unet"]),
        (["watch", ""], ["regress-mine"]),
        (["train", "regress-"], ["regress-imagenet", "regress-long", "regress-mine"]),
        (["train", "--fold", ""], ["0", "1", "2", "all", "full"]),
        (["fill", "h"], ["harmonic"]),
        (["grade", "x.csv", "--metric", "ps"], ["psnr"]),
        (["blend", "--rung", "si"], ["single", "simplex"]),
        (["rm", "good,un"], ["good,unet"]),
        (["train", "--set", "learning_r"], ["learning_rate="]),
        (["train", "--set", "average"], ["average=", "average=ema", "average=swa"]),
        (["train", "--set", "architecture", "=", "unet"], ["unet", "unetplusplus"]),  # bash splits at =
        (["train", "--log", "t"], ["tensorboard", "trackio"]),
        (["export", "--out", "x.npz", "go"], ["good"]),
    ],
)
def test_names_settings_and_values(root: Path, words: list[str], expected: list[str]) -> None:
    found = typed(root, *words)
    assert found[: len(expected)] == expected if words[-1] == "learning_r" else found == expected


def test_names_of_photos_are_escaped_for_bash_and_completed_further(root: Path) -> None:
    found = typed(root, "show", "Cat")
    assert found[0].startswith("Cat\\ \\(") and len(found) > 3
    assert typed(root, "show", found[0][:-5]) == [found[0]]
    assert typed(root, "show", "train/Cat/")[0].startswith("train/Cat/Cat\\ ")


@pytest.mark.parametrize("line", ["-w ROOT export go", "export -w ROOT go", "export -q -w ROOT go"])
def test_the_workspace_is_the_one_that_is_typed(root: Path, tmp_path: Path, line: str) -> None:
    assert typed(tmp_path, *line.replace("ROOT", str(root)).split()) == ["good"]
    assert typed(tmp_path, "export", "go") == []


def test_zsh_and_fish_are_answered_with_what_words_mean(root: Path, tmp_path: Path) -> None:
    line = f"kit train -w {root} --set learning_r"
    assert "learning_rate=" in " ".join(answer("zsh", tmp_path, _TYPER_COMPLETE_ARGS=line))
    line = f"kit export -w {root} g"
    get = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": line}
    assert answer("fish", tmp_path, **get) == ["good"]
    about = {**get, "_TYPER_COMPLETE_ARGS": "kit train --set arch"}
    assert any(one.startswith("architecture=") for one in answer("fish", tmp_path, **about))
    assert any(
        "\t" in one for one in answer("fish", tmp_path, **{**about, "_TYPER_COMPLETE_ARGS": "kit train --set b"})
    )


@pytest.mark.parametrize("harm", ["index.csv", "index.json", "folds", "two", "file"])
def test_a_damaged_workspace_completes_to_nothing(toy: Toy, root: Path, tmp_path: Path, harm: str) -> None:
    workspace = Workspace(shutil.copytree(root, tmp_path / "w"), toy.workspace.slug)
    if harm == "two":
        shutil.copytree(workspace.data, workspace.data.parent / "another")
    elif harm == "file":
        workspace = Workspace(tmp_path / "nothing", "toy")
        workspace.root.write_bytes(b"")
    else:
        path = {"folds": workspace.folds, "index.csv": workspace.index}.get(harm, workspace.data / harm)
        path.write_bytes(b"\xff\x00\xfe{")
    at = ["-w", str(workspace.root)]
    for words in (["show", "C"], ["train", "--fold", ""], ["export", ""], ["train", "re"]):
        found = typed(tmp_path, *at, *words)
        assert not any("Traceback" in one or "Error" in one for one in found)
    assert harm in ("folds", "index.json") or typed(tmp_path, *at, "show", "C") == []


def test_words_that_cannot_be_complete_to_nothing(root: Path) -> None:
    assert typed(root, "no-such-command", "x") == [] and typed(root, "train", "--set", "nothing=") == []
    assert answer("bash", root) == [] or answer("bash", root)  # without any words of a shell
    assert answer("zsh", root, _TYPER_COMPLETE_ARGS="kit export 'go") is not None


@pytest.mark.parametrize("words", [["export", ""], ["train", "--set", "l"], ["show", "C"], ["fill", ""]])
def test_an_answer_needs_no_heavy_import(root: Path, words: list[str]) -> None:
    asked = {"_KIT_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(["kit", *words]), "COMP_CWORD": str(len(words))}
    code = f"""
import os, sys
os.environ.update({asked!r})
from kit.cli import run
try:
    run()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stderr == "[]\n" and done.stdout.strip()


def test_an_answer_takes_less_than_half_a_second_of_work(root: Path) -> None:
    took = []
    for _ in range(3):
        before = time.process_time(), os.times().children_user
        typed(root, "train", "--set", "l")
        took.append(os.times().children_user - before[1])
    assert min(took) < 0.5


def test_the_rungs_are_those_of_blending() -> None:
    from kit.blending.weights.candidates import AUTO, CANDIDATES, DIRECT, STACK

    assert {*candidates.RUNGS} == {AUTO, *CANDIDATES, DIRECT, STACK}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_each_shell_is_shown(shell: str, tmp_path: Path) -> None:
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "kit", "--show-completion", shell], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0 and f"complete_{shell}" in done.stdout and "_KIT_COMPLETE" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes(root: Path, tmp_path: Path) -> None:
    """The script that is installed, sourced by a real bash, with `kit` on its path."""
    program = tmp_path / "kit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kit "$@"\n')
    program.chmod(0o755)
    script = """
source <(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 kit --show-completion bash)
COMP_WORDS=(kit show "Cat"); COMP_CWORD=2
_kit_completion kit; printf '%s\\n' "${COMPREPLY[0]}"
COMP_WORDS=(kit show "'Cat"); COMP_CWORD=2
_kit_completion kit; printf '%s\\n' "${COMPREPLY[0]}"
COMP_WORDS=(kit export ""); COMP_CWORD=2
_kit_completion kit; echo "${COMPREPLY[@]}"
"""
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, cwd=root, env={**os.environ, **path}
    )
    photo, quoted, names = done.stdout.splitlines()
    assert done.stderr == "" and photo.startswith("Cat\\ \\(") and names == "good unet first"
    assert quoted == photo.replace("\\", "")
