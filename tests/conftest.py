"""What every test may rely on: no network, one thread a library, and one small competition that is made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# read when torch, numpy and the hub clients are imported, so set before any of them is
os.environ["OMP_NUM_THREADS"] = "1"  # whatever the caller has: same bytes need the same number of threads
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("KIT_WORKSPACE", None)

import pytest
from hypothesis import settings
from support.kaggle_standin import kaggle_env, kaggle_service
from support.object_store import bucket, object_store
from support.ray_cluster import ray_cluster
from support.small import Small
from support.toy import Toy, toy_with

from kit.core.workspace import Workspace
from kit.data.fetch import fetch
from kit.data.project import Project
from kit.data.sample_competition import make_demo_archive

__all__ = ["bucket", "kaggle_env", "kaggle_service", "object_store", "ray_cluster"]  # fixtures

settings.register_profile("kit", deadline=None)
settings.load_profile("kit")


@pytest.fixture(autouse=True, scope="session")
def _quick_disk() -> Iterator[None]:
    """Tests kill processes, never the machine, so nothing need wait for the disk: a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights that tests fetch or use are noted here, and not in the home of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("KIT_WEIGHTS", raising=False)
        patch.setenv("KIT_INPUT", "")  # a notebook's own input is not the tests'
        yield


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> Any:
    """The CPU, and a GPU where there is one."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    return torch.device(request.param)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """20 training and 4 test photos of 256x256 in six classes, fetched once a session."""
    folder = tmp_path_factory.mktemp("small")
    made = make_demo_archive(folder / "original", train=20, test=4)
    fetch(Workspace(folder / "workspace"), source=made.archive)
    return Small(made.archive, made.truth, folder / "workspace")


@pytest.fixture(scope="module")
def shared_toy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The toy competition that the module's mark asks for, made once a module; not to be written to.

    pytestmark = pytest.mark.toy(photos=12, sources=[{"name": "good", "noise": 0.05}])
    """
    mark = request.node.get_closest_marker("toy")
    asked = {} if mark is None else {name: value for name, value in mark.kwargs.items() if name != "shared"}
    return toy_with(tmp_path_factory.mktemp("toy"), **asked)


@pytest.fixture
def toy(request: pytest.FixtureRequest, shared_toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A copy of it to be written to; with `shared=True` in the mark, where tests only read, the thing itself."""
    mark = request.node.get_closest_marker("toy")
    if mark is not None and mark.kwargs.get("shared"):
        return shared_toy
    return shared_toy.copy(tmp_path_factory.mktemp("copy") / "w")


@pytest.fixture
def copied(trained: Project, tmp_path: Path) -> Project:
    """A copy of the `trained` of the module, to be written to."""
    shutil.copytree(trained.workspace.root, tmp_path / "copy")
    return Project(Workspace(tmp_path / "copy", trained.workspace.slug))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny CLIP with random weights, made once a session."""
    from support.tiny_clip import tiny_clip

    return tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def forks() -> Any:
    """A context whose processes begin with torch and the kit imported; see `support/trainings.py`."""
    from support.trainings import fork_server

    return fork_server()


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """A function that names every file below a folder and its content, so that two moments can be compared."""
    from kit.core.storage import digest_file

    def of(folder: Path) -> dict[str, str]:
        if not folder.exists():
            return {}
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): digest_file(path) for path in paths}

    return of
