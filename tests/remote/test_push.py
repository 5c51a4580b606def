"""Datasets and notebooks on Kaggle, by the real client against a service on this machine."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from support.kaggle_standin import Fault, KaggleStandIn
from support.remote import Time

from kit.errors import CredentialsError, KitError, RemoteError, UsageError
from kit.remote.push import checked_reference, dataset_exists, push_dataset, push_notebook
from kit.remote.session import Session

pytestmark = pytest.mark.usefixtures("kaggle_env")

NAME = "ada/photo-bundle"


def session() -> Session:
    time = Time()
    return Session("photo-reconstruction", timeout=5, sleep=time.sleep, clock=time.clock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "wheels").mkdir(parents=True)
    (folder / "bundle.json").write_text("{}")
    (folder / "wheels" / "kit.whl").write_bytes(bytes(range(256)))
    return folder


def notebook(folder: Path, *datasets: str) -> Path:
    folder.mkdir()
    (folder / "notebook.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": ["1"], "outputs": []}]})
    )
    metadata = {"id": "ada/photo-notebook", "title": "photo notebook", "code_file": "notebook.ipynb"}
    metadata |= {"language": "python", "kernel_type": "notebook", "dataset_sources": [*datasets]}
    metadata |= {"competition_sources": ["photo-reconstruction"], "enable_gpu": True, "machine_shape": "NvidiaTeslaT4"}
    (folder / "kernel-metadata.json").write_text(json.dumps({**metadata, "enable_internet": False}))
    return folder


def test_a_dataset_is_made_and_then_renewed(folder: Path, kaggle_service: KaggleStandIn) -> None:
    here = session()
    assert not dataset_exists(here, NAME)
    assert push_dataset(here, folder, NAME, "photo bundle", "first").is_new
    (folder / "bundle.json").write_text('{"a": 1}')
    assert not push_dataset(here, folder, NAME, "photo bundle", "second").is_new
    first, second = kaggle_service.datasets[NAME]
    assert first["bundle.json"] == b"{}"
    assert second["bundle.json"] == b'{"a": 1}'
    with zipfile.ZipFile(io.BytesIO(second["wheels.zip"])) as wheels:
        assert wheels.read("kit.whl") == bytes(range(256))
    assert kaggle_service.calls("CreateDataset")[0].body["isPrivate"] is True


def test_a_dataset_with_a_file_missing_is_never_made(folder: Path, kaggle_service: KaggleStandIn) -> None:
    kaggle_service.fail("PUT", Fault(status=403, body=b""))
    with pytest.raises(RemoteError, match="did not take"):
        push_dataset(session(), folder, NAME, "photo bundle", "first")
    assert kaggle_service.datasets == {}


def test_somebody_elses_name_is_refused(folder: Path) -> None:
    with pytest.raises(RemoteError, match="Is the owner's name yours"):
        push_dataset(session(), folder, "grace/photo-bundle", "photo bundle", "first")


def test_no_credentials_are_said_as_everywhere(folder: Path, kaggle_service: KaggleStandIn) -> None:
    kaggle_service.token_is_active = False
    with pytest.raises(CredentialsError):
        push_dataset(session(), folder, NAME, "photo bundle", "first")


def test_a_notebook_asks_for_the_machine_with_two_gpus(
    folder: Path, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    here = session()
    push_dataset(here, folder, NAME, "photo bundle", "first")
    pushed = push_notebook(here, notebook(tmp_path / "notebook", NAME))
    assert pushed.address == "https://www.kaggle.com/code/ada/photo-notebook"
    saved = kaggle_service.notebooks["ada/photo-notebook"][0]
    assert saved["machineShape"] == "NvidiaTeslaT4"
    assert saved["enableInternet"] is False
    assert saved["datasetDataSources"] == [NAME]


def test_a_notebook_whose_dataset_is_not_found_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="saved without ada/nothing-here"):
        push_notebook(session(), notebook(tmp_path / "notebook", "ada/nothing-here"))


@pytest.mark.parametrize("name", ["photo-bundle", "ada/x", "ada/Photo-Bundle", "ada/photo bundle", "a/b/c", ""])
def test_names_that_kaggle_does_not_take(name: str) -> None:
    with pytest.raises(UsageError, match="OWNER/NAME"):
        checked_reference("--push", name)


def test_an_answer_without_sense_is_one_line(folder: Path, kaggle_service: KaggleStandIn) -> None:
    kaggle_service.fail("CreateDataset", Fault(status=200, body=b"<html>"))
    with pytest.raises(KitError) as caught:
        push_dataset(session(), folder, NAME, "photo bundle", "first")
    assert "\n" not in str(caught.value)
