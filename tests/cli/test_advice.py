"""Advice works: every command that a message names is typed in the state in which it is shown."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import mistakes
from support.command import Done, kit, ok
from support.kaggle_standin import TOKEN, Fault, KaggleStandIn

from kit.cli.options import COMMANDS
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.data.sample_competition import make_demo_archive
from kit.submission.ledger import LedgerRow, append_ledger

State = Callable[[Path], None]
_COMMAND = re.compile(rf"\bkit (?:{'|'.join(COMMANDS)})\b(?: --?[\w-]+(?![\w.])| '[^']*'| [\w./=-]*[\w/=])*")


@dataclass(frozen=True)
class Advice:
    """A line in a state, the command that its message names, and what that one does: "" for all that was wanted."""

    line: str
    said: str
    state: State | None = None
    then: str = ""
    ends: str = ""
    """In the message of the line typed once more, where the advice alone does not make it work."""

    def __str__(self) -> str:
        return f"{self.line} ({self.state.__name__ if self.state else 'as it is'})"


def nothing(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def no_raw_sample(root: Path) -> None:
    for path in (root / "data").rglob("sample*.csv"):
        path.unlink()


def changed_index(root: Path) -> None:
    (path,) = root.glob("data/*/index.csv")
    path.write_text(path.read_text() + "\n")


def broken_index(root: Path) -> None:
    (path,) = root.glob("data/*/index.json")
    path.write_text("{")


def cut_pack(root: Path) -> None:
    (path,) = root.glob("data/*/pack/train_image.npy")
    path.write_bytes(path.read_bytes()[:-10])


def edited_folds(root: Path) -> None:
    (path,) = root.glob("folds/*.csv")
    path.write_text(path.read_text().replace(",0", ",1", 1))


def no_recipe_of_folds(root: Path) -> None:
    (path,) = root.glob("folds/*.json")
    path.unlink()


def cut_fill(root: Path) -> None:
    path = root / "predictions" / "mean" / "test" / "all.npy"
    path.write_bytes(path.read_bytes()[:-50])


def no_manifest_of_fill(root: Path) -> None:
    (root / "predictions" / "mean" / "oof" / "all.json").write_text("{}")


def other_fold_seed(root: Path) -> None:
    ok(f"-w {root} folds --k 2 --seed 5 --force")


def broken_blend(root: Path) -> None:
    (root / "blends" / "first.json").write_text("{}")


def sent_somewhere(root: Path) -> None:
    append_ledger(Workspace(root), LedgerRow("2020-01-01T00:00:00+00:00", "c", "a.csv", "d", "csv", status="complete"))


def exported(root: Path) -> None:
    ok(f"-w {root} export mean --out {root}/mean.npz")


ADVICE = [
    Advice("folds", "kit fetch", nothing),
    Advice("sources", "kit fetch", nothing),
    Advice("fill mean", "kit fetch", nothing),
    Advice("blend", "kit fetch", nothing, ends="kit fill all"),
    Advice("upload --dry-run", "kit fetch", nothing, ends="kit blend"),
    Advice("check submissions/x.csv", "kit fetch --force", nothing, ends="is not a file"),
    Advice("submissions", "kit upload", nothing, then="holds no data of photo-reconstruction yet"),
    Advice("check {w}/submissions/mean.csv", "kit fetch --from {archive} --force", no_raw_sample),
    Advice("sources", "kit fetch --from {archive} --force", changed_index),
    Advice("sources", "kit fetch --from {archive} --force", broken_index),
    Advice("sources", "kit fetch --from {archive} --force", cut_pack),
    Advice("sources", "kit folds", mistakes.no_folds),
    Advice("sources", "kit folds --k 2 --seed 0 --force", edited_folds),
    Advice("sources", "kit folds --k 2 --force", no_recipe_of_folds),
    Advice("folds --k 2 --seed 7", "kit folds --k 2 --seed 7 --force"),
    Advice("sources", "kit fill all", mistakes.no_sources),
    Advice("upload mean --dry-run", "kit fill mean --force", cut_fill),
    Advice("fill mean", "kit fill mean", no_manifest_of_fill, then="Delete it"),
    pytest.param(Advice("upload --dry-run", "kit blend", other_fold_seed), marks=pytest.mark.slow),
    pytest.param(Advice("upload --dry-run", "kit blend", broken_blend), marks=pytest.mark.slow),
    Advice("fetch --from {archive}x", "kit fetch --from ZIP", nothing, then="ZIP is missing", ends="is missing"),
    Advice("submissions", "kit upload", then="--yes"),
    Advice("export mean --out {w}/mean.npz", "kit export mean --out {w}/mean.npz --force", exported, ends="--force"),
    Advice("export mean --out {w}/m.csv", "kit export mean --out m.npz", ends="is a .npz file"),
    Advice("train --config {w}/no.toml --fold 0", "kit train regress --print-config", ends="is not there"),
    Advice("predict telea --fold 0", "kit fill telea --force", ends="is a fill, and is not trained"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training and two test photos in Kaggle's layout."""
    return make_demo_archive(tmp_path_factory.mktemp("archive"), seed=7, train=8, test=2).archive


@pytest.fixture(scope="module")
def ready(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two fills and a blend, fetched from a file."""
    root = tmp_path_factory.mktemp("ready") / "w"
    ok(f"-w {root} fetch --from {archive}")
    ok(f"-w {root} folds --k 2")
    ok(f"-w {root} fill mean harmonic")
    ok(f"-w {root} blend --name first --plots none")
    ok(f"-w {root} upload mean --dry-run")
    return root


@pytest.fixture
def kaggle(kaggle_service: KaggleStandIn, kaggle_env: Path, archive: Path, monkeypatch) -> KaggleStandIn:
    """The stand-in of the service, where the archive can be had."""
    for module in ("session", "download", "submit"):
        monkeypatch.setattr(f"kit.remote.{module}.PAUSES", (0.0, 0.0))
    kaggle_service.archive = archive.read_bytes()
    return kaggle_service


def advised(done: Done) -> list[str]:
    """The commands that a result names."""
    return [found.group() for found in _COMMAND.finditer(f"{done.out}\n{done.err}")]


@pytest.mark.parametrize("advice", ADVICE, ids=str)
def test_advice_can_be_typed(
    advice: Advice, ready: Path, archive: Path, tmp_path: Path, kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "w"
    shutil.copytree(ready, root)
    monkeypatch.chdir(tmp_path)
    if advice.state is not None:
        advice.state(root)
    line, said = (text.format(w=root, archive=archive) for text in (advice.line, advice.said))
    done = kit(f"-w {root} {line}")
    assert said in advised(done), (said, advised(done), done)
    typed = kit(f"-w {root} {said.removeprefix('kit ')}")
    if advice.then:
        assert typed.is_one_error_line and advice.then in typed.err, typed
        return
    assert typed.code == 0, typed
    again = kit(f"-w {root} {line}")
    if advice.ends:
        assert again.is_one_error_line and advice.ends in again.err, again
    else:
        assert again.code == 0, again


def test_folders_in_which_nothing_was_done_stay_as_they_were(tmp_path: Path, kaggle_env: Path, archive: Path) -> None:
    (kaggle_env / ".kaggle" / "access_token").unlink()
    (tmp_path / "here").mkdir()
    for line in ("fetch", "folds", "sources", f"fetch --from {archive}x", "blend", "upload mean --yes"):
        for root in (tmp_path / "here", tmp_path / "not-there"):
            assert kit(f"-w {root} {line}").is_one_error_line
    assert not list((tmp_path / "here").iterdir()) and not (tmp_path / "not-there").exists()


def test_a_mistyped_archive_is_asked_after(tmp_path: Path, archive: Path) -> None:
    typed = archive.with_name(archive.name.replace("reconstruction", "reconstructoin"))
    done = kit(f"-w {tmp_path / 'w'} fetch --from {typed}")
    assert done.is_one_error_line and f"Did you mean {archive}?" in done.err


# --- what the service says ------------------------------------------------------


def put_token(service: KaggleStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    service.token_is_active = True
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)


REMOTE = {
    "a dead token": (
        lambda service: setattr(service, "token_is_active", False),
        "set KAGGLE_API_TOKEN to it",
        put_token,
    ),
    "rules": (
        lambda service: setattr(service, "rules_accepted", False),
        "https://www.kaggle.com/competitions/photo-reconstruction/rules ; then run the same command again",
        lambda service, _: setattr(service, "rules_accepted", True),
    ),
    "no submission left": (
        lambda service: setattr(service, "used_today", 5),
        "then run the same command again",
        lambda service, _: setattr(service, "used_today", 0),
    ),
    "out of order": (
        lambda service: service.fail("GetCompetition", *[Fault(503)] * 3),
        "Run the same command again later",
        lambda service, _: None,
    ),
    "too many requests": (
        lambda service: service.fail("GetCompetition", *[Fault(429)] * 3),
        "then run the same command again",
        lambda service, _: None,
    ),
    "storage is away": (
        lambda service: service.fail("PUT", *[Fault(503)] * 3),
        "Nothing was submitted: run the same command again later",
        lambda service, _: None,
    ),
}


@pytest.mark.parametrize("trouble", REMOTE)
def test_what_kaggle_says_can_be_mended_as_it_is_said(
    trouble: str, ready: Path, tmp_path: Path, kaggle: KaggleStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, said, mend = REMOTE[trouble]
    root = tmp_path / "w"
    shutil.copytree(ready, root)
    begin(kaggle)
    done = kit(f"-w {root} upload mean --yes")
    assert done.is_one_error_line and said in done.err, done
    assert not Workspace(root).ledger.exists() and not kaggle.submissions
    mend(kaggle, monkeypatch)
    assert "public score" in ok(f"-w {root} upload mean --yes") and len(kaggle.submissions) == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(status=403), Fault(status=404), Fault(status=200, body=b"<html>Log in</html>")],
    ids=["403", "404", "page"],
)
def test_a_download_that_failed_goes_on_with_the_command_that_is_said(
    fault: Fault, tmp_path: Path, kaggle: KaggleStandIn
) -> None:
    kaggle.fail("GET", *[fault] * 3)
    done = kit(f"-w {tmp_path / 'w'} fetch")
    if done.code:
        assert done.is_one_error_line and advised(done) == ["kit fetch"], done
        kaggle.faults.clear()
        ok(f"-w {tmp_path / 'w'} fetch")
    assert Project(Workspace(tmp_path / "w")).index.train


def test_a_submission_that_was_sent_before_is_sent_again_as_it_is_said(
    ready: Path, tmp_path: Path, kaggle: KaggleStandIn
) -> None:
    root = tmp_path / "w"
    shutil.copytree(ready, root)
    ok(f"-w {root} upload mean --yes")
    done = kit(f"-w {root} upload mean --yes")
    assert "kit submissions" in advised(done) and "--again" in done.err
    ok(f"-w {root} submissions")
    ok(f"-w {root} upload mean --yes --again")
    assert len(kaggle.submissions) == 2
