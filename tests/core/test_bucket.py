"""What goes through a bucket: all of it or nothing that counts, whatever is killed and wherever."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.core.bucket import Errand, Exchange, checked_bucket, files, run_errand
from kit.core.bucket.errand import SCRATCH, Courier
from kit.core.bucket.objects import Bucket
from kit.core.jobs import Cargo
from kit.errors import DamagedStore, KitError, MissingPackage, UsageError

READS, WRITES = ("data/**/*", "sd/*.bin"), ("runs/one/**/*", "sd/*.bin")
Contents = dict[str, bytes]
BYTES = st.binary(max_size=40)
NAMES = st.sampled_from(["a.json", "b.npy", "c.npy", "deep/d.json"])
CONTENTS = st.dictionaries(NAMES, BYTES, max_size=4)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(files, "PART", 16)
    monkeypatch.setattr(files, "_HEAD", 8)
    monkeypatch.setenv(SCRATCH, str(tmp_path_factory.mktemp("scratch")))


@pytest.fixture
def url() -> str:
    """An empty place in this process's memory, which fsspec treats as any other."""
    return f"memory://bucket/{uuid.uuid4().hex}"


def fill(root: Path, contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def contents_of(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file() and ".bucket" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def cargo(root: Path) -> Cargo:
    return Cargo("runs/one", "photos", root, READS, WRITES)


def errand_of(url: str, root: Path) -> Errand:
    (errand,) = Exchange(url, root).errands([cargo(root)])
    return errand


def work(
    errand: Errand, contents: dict[str, bytes], begun: float = 1.0, gone: tuple[str, ...] = ()
) -> dict[str, bytes]:
    """Run an errand whose job writes these files and deletes those; what it found."""
    with run_errand(errand, begun, lambda line: None) as courier:
        found = contents_of(courier.root)
        for name in gone:
            (courier.root / name).unlink()
        fill(courier.root, contents)
    return found


def bring(url: str, root: Path) -> None:
    exchange = Exchange(url, root)
    exchange.bring(cargo(root))
    exchange.wait()


def objects(url: str, folder: str = "outputs") -> list[str]:
    return Bucket(url).names(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(reads=CONTENTS, before=CONTENTS, after=CONTENTS)
def test_a_job_finds_what_it_reads_and_all_that_it_writes_comes_home(
    reads: dict[str, bytes], before: dict[str, bytes], after: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, url = tmp_path_factory.mktemp("w"), f"memory://bucket/{uuid.uuid4().hex}"
    reads = {f"data/{name}": data for name, data in reads.items()}
    before, after = ({f"runs/one/{name}": data for name, data in some.items()} for some in (before, after))
    fill(root, {**reads, **before, "other/kept": b"kept"})
    found = work(errand_of(url, root), after, gone=tuple(before))
    assert found == {**reads, **before}
    bring(url, root)
    assert contents_of(root) == {**reads, **after, "other/kept": b"kept"}
    assert not objects(url)


class Cut(Exception):
    """The machine is off."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """After so many operations of a bucket (`cut[0]`), nothing works any more; -1: everything does."""
    left, lock = [-1], threading.Lock()

    def limited(name: str) -> None:
        whole = getattr(Bucket, name)

        def operation(self: Bucket, *values: object) -> object:
            with lock:
                if left[0] == 0:
                    raise Cut
                left[0] -= left[0] > 0
            return whole(self, *values)

        monkeypatch.setattr(Bucket, name, operation)

    for name in ("read", "write", "has", "delete"):
        limited(name)
    yield left


@pytest.mark.parametrize("after", range(60))  # 56 operations in all
def test_a_cut_anywhere_loses_nothing(url: str, tmp_path: Path, cut: list[int], after: int) -> None:
    root = tmp_path / "w"
    old = {"runs/one/log.csv": b"1", "runs/one/model.npy": b"old" * 20, "runs/one/gone.json": b"{}"}
    new = {"runs/one/log.csv": b"1, 2", "runs/one/model.npy": b"new" * 20, "runs/one/run.json": b"{}"}
    fill(root, {"data/pack.npy": b"photos" * 9, **old})
    cut[0] = after
    try:
        work(errand_of(url, root), new, gone=tuple(old))
        bring(url, root)
    except Cut:
        pass
    cut[0] = -1
    here = {name: data for name, data in contents_of(root).items() if name.startswith("runs")}
    assert here in (old, new) or set(here) <= {*old, *new}
    Exchange(url, root).take_leftovers([cargo(root)])
    here = {name: data for name, data in contents_of(root).items() if name.startswith("runs")}
    assert here in (old, new)  # one or the other, never a mixture
    work(errand_of(url, root), new, 2.0, gone=tuple(here))
    bring(url, root)
    assert contents_of(root) == {"data/pack.npy": b"photos" * 9, **new} and not objects(url)


@pytest.mark.parametrize("after", range(3))
def test_a_cut_while_files_are_put_in_their_places_is_made_good(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    new = {"runs/one/a.npy": b"new", "runs/one/b.npy": b"new", "runs/one/c.json": b"new"}
    fill(tmp_path, dict.fromkeys(new, b"old"))
    work(errand_of(url, tmp_path), new)
    whole, left = Path.replace, [after]

    def cut_off(self: Path, target: Path) -> Path:
        if "coming-" in str(self) and not self.name.startswith("."):
            if left[0] == 0:
                raise Cut
            left[0] -= 1
        return whole(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_off)
        with pytest.raises(Cut):
            bring(url, tmp_path)
    assert sorted(contents_of(tmp_path).values()) == [b"new"] * after + [b"old"] * (3 - after)
    Exchange(url, tmp_path).take_leftovers([cargo(tmp_path)])
    assert contents_of(tmp_path) == new and not objects(url)


def test_a_later_try_finds_what_an_earlier_one_has_sent_and_the_earlier_one_ends(url: str, tmp_path: Path) -> None:
    fill(tmp_path, {"data/pack.npy": b"photos"})
    errand = errand_of(url, tmp_path)
    with pytest.raises(KitError, match="runs/one was taken over by another job"):  # noqa: SIM117
        with run_errand(errand, 1.0, lambda line: None) as first:
            fill(first.root, {"runs/one/checkpoint_1.pt": b"one" * 9})
            first.send()
            found = work(errand, {"runs/one/checkpoint_2.pt": b"two" * 9}, begun=2.0)
            fill(first.root, {"runs/one/checkpoint_1b.pt": b"late"})
    assert found == {"data/pack.npy": b"photos", "runs/one/checkpoint_1.pt": b"one" * 9}
    other = Exchange(url, tmp_path)  # another command takes nothing of what is not its own job's
    other.bring_soon(cargo(tmp_path))
    other.wait()
    assert set(contents_of(tmp_path)) == {"data/pack.npy"} and objects(url)
    bring(url, tmp_path)
    assert set(contents_of(tmp_path)) == {"data/pack.npy", "runs/one/checkpoint_1.pt", "runs/one/checkpoint_2.pt"}


def test_what_was_begun_anew_with_the_same_bytes_has_its_new_time_and_folders_that_were_emptied_go(
    url: str, tmp_path: Path
) -> None:
    fill(tmp_path, {"runs/one/experiment.json": b"{}", "runs/one/old/model.npy": b"old"})
    os.utime(tmp_path / "runs/one/experiment.json", (1e9, 1e9))
    with run_errand(errand_of(url, tmp_path), 1.0, lambda line: None) as courier:
        shutil.rmtree(courier.root / "runs/one/old")
        os.utime(courier.root / "runs/one/experiment.json", (2e9, 2e9))
    bring(url, tmp_path)
    assert (tmp_path / "runs/one/experiment.json").stat().st_mtime == 2e9
    assert not (tmp_path / "runs/one/old").exists()


def test_what_jobs_append_to_is_a_copy(url: str, tmp_path: Path) -> None:
    fill(tmp_path, {"data/pack.npy": b"photos", "embeddings/one.f32": b"vectors"})
    job = replace(cargo(tmp_path), reads=("data/**/*", "embeddings/**/*"))
    (errand,) = Exchange(url, tmp_path).errands([job])
    with run_errand(errand, 1.0, lambda line: None) as courier:
        with (courier.root / "embeddings/one.f32").open("r+b") as file:
            file.write(b"changed")
        assert (courier.root / "data/pack.npy").stat().st_nlink > 1
    with run_errand(errand, 2.0, lambda line: None) as courier:
        assert (courier.root / "embeddings/one.f32").read_bytes() == b"vectors"


def test_what_was_trained_here_while_a_job_ran_stays(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, {"runs/one/checkpoint_1.pt": b"one"})
    exchange = Exchange(url, tmp_path)
    (errand,) = exchange.errands([cargo(tmp_path)])
    work(errand, {"runs/one/checkpoint_2.pt": b"two"})
    fill(tmp_path, {"runs/one/run.json": b"{}"})
    exchange.bring_soon(cargo(tmp_path))
    exchange.wait()
    assert contents_of(tmp_path) == {"runs/one/checkpoint_1.pt": b"one", "runs/one/run.json": b"{}"}
    assert "is another here than when its job was sent" in capsys.readouterr().err


def test_what_comes_late_after_ctrl_c_comes_home_the_next_time(url: str, tmp_path: Path) -> None:
    exchange = Exchange(url, tmp_path)
    (errand,) = exchange.errands([cargo(tmp_path)])
    with run_errand(errand, 1.0, lambda line: None) as courier:
        fill(courier.root, {"runs/one/checkpoint_1.pt": b"one"})
        courier.send()
        exchange.bring(cargo(tmp_path))
        fill(courier.root, {"runs/one/run.json": b"{}"})
    Exchange(url, tmp_path).take_leftovers([cargo(tmp_path)])
    assert set(contents_of(tmp_path)) == {"runs/one/checkpoint_1.pt", "runs/one/run.json"} and not objects(url)


def test_an_address_with_a_password_is_refused() -> None:
    with pytest.raises(UsageError, match=r"ftp://\*\*\*@host/work: keep the password where"):
        checked_bucket("ftp://me:hunter2secret@host/work")


def test_what_jobs_share_is_added_to_and_never_replaced(url: str, tmp_path: Path) -> None:
    fill(tmp_path, {"sd/here.bin": b"first"})
    assert work(errand_of(url, tmp_path), {"sd/there.bin": b"second"}) == {"sd/here.bin": b"first"}
    assert all("here.bin" not in name for name in objects(url))
    bring(url, tmp_path)
    assert contents_of(tmp_path) == {"sd/here.bin": b"first", "sd/there.bin": b"second"}


def test_what_was_made_here_since_is_not_lost_to_leftovers(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work(errand_of(url, tmp_path), {"runs/one/a.json": b"there"})
    fill(tmp_path, {"runs/one/a.json": b"here"})
    Exchange(url, tmp_path).take_leftovers([cargo(tmp_path)])
    assert contents_of(tmp_path) == {"runs/one/a.json": b"here"} and not objects(url)
    said = capsys.readouterr().err
    assert "runs/one is another here than when its job was sent" in said
    assert (Path(said.split(" is in ")[1].strip()) / "runs/one/a.json").read_bytes() == b"there"
    assert work(errand_of(url, tmp_path), {}, 2.0) == {"runs/one/a.json": b"here"}


def test_files_that_grow_are_sent_as_far_as_they_went_and_times_are_kept(url: str, tmp_path: Path) -> None:
    errand = errand_of(url, tmp_path)
    with run_errand(errand, 1.0, lambda line: None) as courier:
        fill(courier.root, {"runs/one/log.csv": b"line 1\n" * 5})
        os.utime(courier.root / "runs/one/log.csv", (1e9, 1e9))
        courier.send()
        first = objects(url)
        fill(courier.root, {"runs/one/log.csv": b"line 1\n" * 5 + b"line 2\n"})
        os.utime(courier.root / "runs/one/log.csv", (2e9, 2e9))
        courier.send()
        assert len(set(first) & set(objects(url))) == len(first) - 1  # the list, and parts that have not changed
    bring(url, tmp_path)
    assert (tmp_path / "runs/one/log.csv").read_bytes() == b"line 1\n" * 5 + b"line 2\n"
    assert (tmp_path / "runs/one/log.csv").stat().st_mtime == 2e9


def test_what_is_sent_once_is_not_read_or_sent_again(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"data/pack.npy": b"photos" * 50})
    errand_of(url, tmp_path)
    monkeypatch.setattr(files, "_part", lambda *_: pytest.fail("was read again"))
    errand_of(url, tmp_path)


def test_files_that_two_jobs_of_a_machine_read_are_fetched_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"data/pack.npy": b"photos" * 50})
    errand = errand_of(url, tmp_path)
    assert work(errand, {}) == work(errand, {}, 2.0)
    Bucket(url).delete(objects(url, "inputs/parts"))
    assert work(errand, {}, 3.0) == {"data/pack.npy": b"photos" * 50}


@pytest.mark.parametrize("damage", [b"", b"other", None])
def test_a_damaged_object_is_one_line_and_is_sent_again(url: str, tmp_path: Path, damage: bytes | None) -> None:
    fill(tmp_path, {"data/pack.npy": b"photos"})
    errand, bucket = errand_of(url, tmp_path), Bucket(url)
    (part,) = objects(url, "inputs/parts")
    bucket.delete([part])
    if damage is not None:
        bucket.write(part, damage)
    with pytest.raises(DamagedStore, match=r"inputs/parts/\w+ is (missing|damaged)\. Run the same command again"):
        work(errand, {})
    assert work(errand_of(url, tmp_path), {}, 2.0) == {"data/pack.npy": b"photos"}


def test_damaged_leftovers_stop_nothing(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work(errand_of(url, tmp_path), {"runs/one/a.npy": b"there"})
    Bucket(url).delete(name for name in objects(url) if not name.endswith("manifest.json"))
    Exchange(url, tmp_path).take_leftovers([cargo(tmp_path)])
    assert "is missing. Going on with what is here of runs/one." in capsys.readouterr().err
    work(errand_of(url, tmp_path), {"runs/one/a.npy": b"anew"}, 2.0)
    bring(url, tmp_path)
    assert contents_of(tmp_path) == {"runs/one/a.npy": b"anew"} and not objects(url)


def test_what_is_of_other_photos_is_left_where_it_is(url: str, tmp_path: Path) -> None:
    work(errand_of(url, tmp_path), {"runs/one/a.npy": b"of other photos"})
    mine = replace(cargo(tmp_path), subject="mine")
    exchange = Exchange(url, tmp_path)
    exchange.take_leftovers([mine])
    exchange.errands([mine])
    assert contents_of(tmp_path) == {} and objects(url)
    assert exchange.written("photos", "runs/") == ["runs/one"] and exchange.written("mine", "runs/") == []


@pytest.mark.parametrize("text", [b"nonsense", b"{}", b'{"files": {"../x": {"size": 1, "modified": 0, "parts": []}}}'])
def test_a_list_that_is_none_is_one_line(url: str, tmp_path: Path, text: bytes) -> None:
    errand = errand_of(url, tmp_path)
    Bucket(url).write("outputs/photos/runs/one/manifest.json", text)
    with pytest.raises(KitError, match="is no list of files of kit"):
        work(errand, {})


def test_what_is_deleted_while_a_job_runs_is_sent_anew(url: str, tmp_path: Path) -> None:
    errand = errand_of(url, tmp_path)
    with run_errand(errand, 1.0, lambda line: None) as courier:
        assert isinstance(courier, Courier)
        fill(courier.root, {"runs/one/a.npy": b"a" * 30})
        courier.send()
        Bucket(url).delete(objects(url))
        fill(courier.root, {"runs/one/b.npy": b"b" * 30})
    bring(url, tmp_path)
    assert contents_of(tmp_path) == {"runs/one/a.npy": b"a" * 30, "runs/one/b.npy": b"b" * 30}


@pytest.mark.parametrize("failures", [3, 10**6])
def test_what_cannot_be_sent_at_the_end_is_tried_again_for_a_while(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    fill(tmp_path, {"data/pack.npy": b"photos"})
    errand, whole, left, said = errand_of(url, tmp_path), Bucket.write, [failures], list[str]()
    monkeypatch.setattr("kit.core.bucket.errand._RETRY", 0.01)
    monkeypatch.setattr("kit.core.bucket.errand._PATIENCE", 0.3 if failures > 3 else 60.0)

    def refused(self: Bucket, name: str, data: bytes) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise KitError("The network is down.")
        whole(self, name, data)

    def work_to_the_end() -> None:
        with run_errand(errand, 1.0, said.append) as courier:
            fill(courier.root, {"runs/one/model.npy": b"weights"})
            monkeypatch.setattr(Bucket, "write", refused)

    if failures > 3:
        with pytest.raises(KitError, match="The network is down"):
            work_to_the_end()
        return
    work_to_the_end()
    assert len(said) == 3 and said[0].startswith("Warning: what it has written cannot be sent; trying again for 1 min")
    bring(url, tmp_path)
    assert contents_of(tmp_path)["runs/one/model.npy"] == b"weights"


def test_a_protocol_whose_package_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(protocol: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(MissingPackage, match=r"pip install 'hole-kit\[s3\]'"):
        checked_bucket("s3://mine/work")
    with pytest.raises(MissingPackage, match="--bucket abfs://mine/work: Install s3fs"):
        checked_bucket("abfs://mine/work")
