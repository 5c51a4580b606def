"""The container: built where docker or buildah runs, else read line by line; and installed from what it copies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, with continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage; those before the first are left out."""
    found: list[list[tuple[str, str]]] = []
    for one in instructions():
        if one[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(one)
    return found


def copied() -> list[str]:
    """What is copied from the repository."""
    return [
        name for word, rest in instructions() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    ]


def builder() -> str | None:
    """A program that builds containers here: docker's client alone does not."""
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True).returncode:
        return "docker"
    return shutil.which("buildah")


def test_every_base_is_slim_and_of_a_python_that_kit_supports() -> None:
    assert ("ARG", "PYTHON=3.12") in instructions()
    for stage in stages():
        assert re.fullmatch(r"python:\$\{PYTHON\}-slim( AS \w+)?", stage[0][1])


def test_the_last_stage_runs_kit_and_not_as_root() -> None:
    last = stages()[-1]
    words = [word for word, _ in last]
    users = [rest for word, rest in last if word == "USER"]
    assert users == ["1000"] and any("useradd" in rest and "--uid 1000" in rest for word, rest in last if word == "RUN")
    assert "RUN" not in words[words.index("USER") :], "what runs after USER could not install"
    assert dict(last)["ENTRYPOINT"] == '["kit"]'
    assert not any("pip install" in rest for word, rest in last if word == "RUN"), "the build stage installs"


def test_nothing_is_kept_that_no_run_needs() -> None:
    build = stages()[0]
    assert any(word == "ENV" and "PIP_NO_CACHE_DIR=1" in rest for word, rest in build)
    assert not any("apt-get" in rest and "rm -rf /var/lib/apt/lists" not in rest for _, rest in instructions())
    assert not any(word == "ADD" for word, _ in instructions())


def test_build_arguments_choose_the_extras_and_the_build_of_torch() -> None:
    arguments = dict(rest.split("=", 1) for word, rest in stages()[0] if word == "ARG")
    assert arguments["EXTRAS"] in EXTRAS and arguments["TORCH_INDEX"] == ""
    runs = " ".join(rest for word, rest in stages()[0] if word == "RUN")
    floors = [one for one in EXTRAS["train"] if one.startswith(("torch>", "torchvision>"))]
    assert all(f'"{floor}"' in runs for floor in floors), "its own floors are those of pyproject.toml"


def test_only_what_is_copied_is_sent() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(copied()) and "\n*\n" in (ROOT / ".dockerignore").read_text()
    assert all((ROOT / name).exists() for name in copied())


def test_what_is_copied_can_be_installed(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    for name in copied():
        source, target = ROOT / name, tmp_path / "src" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    code = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"
    folder = tmp_path / "src"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("hole_kit-*.whl")
    shutil.unpack_archive(wheel, tmp_path / "there", "zip")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "there")}
    code = "import kit.__main__, sys; sys.argv = ['kit', '--version']; kit.__main__.main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.startswith("kit ") and (tmp_path / "there" / "kit" / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.skipif(builder() is None, reason="neither docker nor buildah runs here")
def test_it_builds_and_answers() -> None:
    program = builder()
    assert program
    build = ["build"] if program == "docker" else ["bud"]
    name = "hole-kit-test"
    subprocess.run([program, *build, "--build-arg", "EXTRAS=", "-t", name, str(ROOT)], check=True)
    if program == "docker":
        done = subprocess.run(["docker", "run", "--rm", name, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("kit ")


def test_hadolint_has_nothing_to_say() -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
