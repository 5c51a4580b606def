"""An archive is unpacked whole and byte for byte, or refused with nothing written."""

from __future__ import annotations

import io
import random
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.core import archive
from kit.errors import ArchiveError

ROOT = Path(__file__).resolve().parents[2]

FILES = {
    "Dataset/Training_Data/Cat/Masked_Train/Cat-Train (24).jpeg": b"one" * 999,
    "Dataset/Training_Data/Cat/Masked_Train/Cat-Train (24).jpg": b"two",
    "Dataset/Testing_Data/Ünïcode \u4e2d.png": b"\x00\xff" * 700_000,
    "sample_submission.csv": b"",
}


def make_zip(path: Path, files: dict[str, bytes] | list[tuple[str | zipfile.ZipInfo, bytes]], method: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items() if isinstance(files, dict) else files:
            file.writestr(name, data)
    return path


def make_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(source: Path, tmp_path: Path, match: str) -> None:
    """Demand that `source` is refused, that the old content stays and that nothing else is left anywhere."""
    kept = make_folder(tmp_path / "place" / "raw", {"old.txt": b"old"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArchiveError, match=match) as caught:
        archive.extract(source, kept)
    assert "\n" not in str(caught.value)
    assert content(kept) == {"old.txt": b"old"}
    assert sorted(tmp_path.rglob("*")) == before


# --- whole ------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_comes_out_byte_for_byte(method: int, tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", FILES, method)
    archive.verify(source)
    archive.extract(source, tmp_path / "new" / "raw")
    assert content(tmp_path / "new" / "raw") == FILES
    assert names(tmp_path / "new") == ["raw"]


def test_a_folder_comes_out_byte_for_byte_and_stays(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "given", FILES)
    archive.extract(source, tmp_path / "raw")
    assert content(tmp_path / "raw") == FILES == content(source)


def test_zip_and_folder_give_the_same(tmp_path: Path) -> None:
    junk = {"__MACOSX/._a.txt": b"x", ".DS_Store": b"x", "a/.hidden/b.txt": b"x", "a/b.txt": b"kept"}
    archive.extract(make_zip(tmp_path / "a.zip", junk), tmp_path / "from_zip")
    archive.extract(make_folder(tmp_path / "a", junk), tmp_path / "from_folder")
    assert content(tmp_path / "from_zip") == content(tmp_path / "from_folder") == {"a/b.txt": b"kept"}


def test_the_new_content_replaces_the_old_whole(tmp_path: Path) -> None:
    make_folder(tmp_path / "raw", {"old.txt": b"old", "sample_submission.csv": b"old"})
    archive.extract(make_zip(tmp_path / "a.zip", FILES), tmp_path / "raw")
    assert content(tmp_path / "raw") == FILES


def test_a_single_top_folder_is_kept_and_so_are_empty_folders(tmp_path: Path) -> None:
    archive.extract(make_zip(tmp_path / "a.zip", {"top/": b"", "top/empty/": b"", "top/x.csv": b"1"}), tmp_path / "raw")
    assert (tmp_path / "raw" / "top" / "empty").is_dir()
    assert content(tmp_path / "raw") == {"top/x.csv": b"1"}


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_progress_counts_every_byte_once(kind: str, tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", FILES) if kind == "zip" else make_folder(tmp_path / "a", FILES)
    seen: list[tuple[int, int]] = []
    archive.extract(source, tmp_path / "raw", progress=lambda done, total: seen.append((done, total)))
    total = sum(map(len, FILES.values()))
    assert seen[-1] == (total, total)
    assert seen == sorted(set(seen))


def test_no_file_comes_out_executable(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("run.sh")
    info.external_attr = (stat.S_IFREG | 0o4777) << 16
    archive.extract(make_zip(tmp_path / "a.zip", [(info, b"#!")]), tmp_path / "raw")
    assert (tmp_path / "raw" / "run.sh").stat().st_mode & 0o7111 == 0


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_whatever_the_name_nothing_is_written_outside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    place = tmp_path_factory.mktemp("place")
    source = make_zip(place / "a.zip", [(zipfile.ZipInfo(name), b"x"), ("fine.txt", b"y")])
    try:
        archive.extract(source, place / "raw")
    except ArchiveError:
        assert names(place) == ["a.zip"]
    else:
        assert names(place) == ["a.zip", "raw"]
        assert set(content(place / "raw").values()) <= {b"x", b"y"}


# --- not a whole zip --------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html>Sign in", "an HTML page"),
        (b"<?xml version='1.0'?><Error/>", "an XML page"),
        (b'{"code":403}', "JSON"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"hello", "not an archive"),
    ],
)
def test_what_is_no_zip_is_named(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", tmp_path, rf"a\.zip is no zip.*{said}.*kit fetch.*--from")


def test_a_truncated_zip_is_named(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "a.zip", FILES).read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.zip").write_bytes(whole[:length])
        refused(tmp_path / "a.zip", tmp_path, "download that was cut")


def test_a_file_lost_from_the_directory_is_missed(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"a.bin": b"a", "b.bin": b"b"})
    data = bytearray(source.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    del data[second:end]
    data[-10:-6] = (second - data.index(b"PK\x01\x02")).to_bytes(4, "little")
    source.write_bytes(data)
    assert zipfile.ZipFile(source).namelist() == ["a.bin"]
    refused(source, tmp_path, "should list 2 files and lists 1")


def test_a_missing_source_says_what_to_run(tmp_path: Path) -> None:
    refused(tmp_path / "absent.zip", tmp_path, r"absent\.zip is missing. Run: kit fetch")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_one_flipped_bit_is_found(method: int, tmp_path: Path) -> None:
    data = random.Random(0).randbytes(50_000)
    source = make_zip(tmp_path / "a.zip", {"good.bin": b"good", "bad.bin": data}, method)
    damaged = bytearray(source.read_bytes())
    damaged[30_000] ^= 4
    source.write_bytes(damaged)
    with pytest.raises(ArchiveError, match=r"bad\.bin is damaged"):
        archive.verify(source)
    refused(source, tmp_path, r"bad\.bin is damaged")


def test_no_byte_can_be_overwritten_unnoticed(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "a.zip", {"a.bin": b"0123456789" * 5, "b.bin": b"x" * 50}).read_bytes()
    for position in range(len(whole)):
        (tmp_path / "a.zip").write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:  # either refused in our words, or a byte that carries no content (a date, a version, an attribute)
            archive.extract(tmp_path / "a.zip", tmp_path / "raw")
        except ArchiveError:
            continue
        assert set(content(tmp_path / "raw").values()) == {b"0123456789" * 5, b"x" * 50}


# --- hostile ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../out.txt",
        "a/../../out.txt",
        "a/..",
        "/etc/out.txt",
        "//host/out.txt",
        "\\out.txt",
        "..\\out.txt",
        "a\\b.txt",
        "C:out.txt",
        "c:/out.txt",
        "a\nb.txt",
        "a\x7fb.txt",
        "a/" + "x" * 300,
        ".hidden/../../out.txt",
    ],
)
def test_an_unsafe_name_is_refused(name: str, tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", [("fine.txt", b"x"), (zipfile.ZipInfo(name), b"x")])
    refused(source, tmp_path, "unsafe name")


def test_a_name_that_ends_early_in_c_is_refused(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"fine.txt": b"x", "abcdefgh.txt": b"x"})
    source.write_bytes(source.read_bytes().replace(b"abcdefgh.txt", b"abc\x00/../.txt"))
    refused(source, tmp_path, "unsafe name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_a_device_in_a_zip_is_refused(kind: int, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    refused(make_zip(tmp_path / "a.zip", [("fine.txt", b"x"), (info, b"/etc/passwd")]), tmp_path, "a link or a device")


@pytest.mark.parametrize("target", ["file.txt", "folder", "/etc", "nowhere"])
def test_a_link_in_a_folder_is_refused(target: str, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "given", {"file.txt": b"x", "folder/a.txt": b"x"})
    (source / "link").symlink_to(target)
    refused(source, tmp_path, "link is a link or a device")


def test_a_folder_reached_through_a_link_is_fine(tmp_path: Path) -> None:
    make_folder(tmp_path / "real", FILES)
    (tmp_path / "link").symlink_to("real")
    archive.extract(tmp_path / "link", tmp_path / "raw")
    assert content(tmp_path / "raw") == FILES


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "a.zip", [("a/x.txt", b"1"), ("a/x.txt", b"2")]), tmp_path, "twice")
    refused(make_zip(tmp_path / "a.zip", [("a/x.txt", b"1"), ("a//./x.txt", b"2")]), tmp_path, "twice")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Cat/a.jpg", "Cat/A.jpg"),
        ("Cat/a.jpg", "cat/b.jpg"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("stra\u00dfe", "STRASSE"),
    ],
)
def test_names_that_are_one_on_some_disks_are_refused(first: str, second: str, tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "a.zip", {first: b"1", second: b"2"}), tmp_path, "one file on some disks")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_file_that_is_also_a_folder_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "a.zip", dict.fromkeys(names, b"x")), tmp_path, "both as a file and as a folder")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"a.txt": b"x"})
    data = bytearray(source.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(data)
    refused(source, tmp_path, "is encrypted")


def test_a_bomb_is_refused_before_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_zip(tmp_path / "a.zip", {"zeros.bin": bytes(4 << 20)}, zipfile.ZIP_DEFLATED)
    archive.extract(source, tmp_path / "fine")  # small enough to be harmless
    monkeypatch.setattr(archive, "RATIO_COUNTS_ABOVE", 1 << 20)
    refused(source, tmp_path, "as no archive of pictures does")
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(archive, "MAX_RATIO", 10**9)
    refused(source, tmp_path, "as no archive of pictures does")


def test_a_table_of_zeros_is_no_bomb() -> None:
    rows = "".join(f"Tiger ({photo}).jpeg_box1_{row}_{row}_0,0\n" for photo in range(40) for row in range(75))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("sample_submission.csv", rows)
    assert len(rows) / len(buffer.getvalue()) < archive.MAX_RATIO / 4


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"a.bin": random.Random(0).randbytes(5000)})
    with zipfile.ZipFile(source, "a") as file:
        original = file.getinfo("a.bin")
        for number in range(3):  # more entries of the directory for the same bytes
            info = zipfile.ZipInfo(f"copy{number}.bin")
            info.header_offset, info.CRC = original.header_offset, original.CRC
            info.compress_size, info.file_size = original.compress_size, original.file_size
            file.filelist.append(info)
            file.NameToInfo[info.filename] = info
        file._didModify = True  # type: ignore[attr-defined]
    archive.verify(source)  # does not read what may never end
    refused(source, tmp_path, "as no archive of pictures does")


def test_an_archive_without_a_file_is_refused(tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "a.zip", {"empty/": b"", ".hidden": b"x"}), tmp_path, "holds no file")
    (tmp_path / "given").mkdir()
    refused(tmp_path / "given", tmp_path, "holds no file")


# --- room, place, interruptions ---------------------------------------------


def test_a_full_disk_is_found_out_before_a_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_zip(tmp_path / "a.zip", FILES)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=archive.SPARE_BYTES + 1000))
    refused(source, tmp_path, "GB are free. Free some space")


def test_a_source_inside_its_own_destination_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "raw", FILES)
    source = make_zip(folder / "a.zip", FILES)
    for given_, place in [(source, folder), (folder, folder), (folder, folder / "new"), (folder / "Dataset", folder)]:
        with pytest.raises(ArchiveError, match="lie in one another"):
            archive.extract(given_, place)
    assert source.exists()
    assert not (folder / "new").exists()


def test_a_killed_extraction_leaves_the_old_content_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", FILES)
    make_folder(tmp_path / "raw", {"old.txt": b"old"})
    code = (
        "import os, sys; from pathlib import Path; from kit.core import archive\n"
        "archive.extract(Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda *_: os.kill(os.getpid(), 9))"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "raw")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert content(tmp_path / "raw") == {"old.txt": b"old"}
    archive.extract(source, tmp_path / "raw")
    assert content(tmp_path / "raw") == FILES
    assert names(tmp_path) == ["a.zip", "raw"]


def test_an_interrupted_extraction_leaves_the_old_content(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", FILES)
    make_folder(tmp_path / "raw", {"old.txt": b"old"})

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.extract(source, tmp_path / "raw", progress=interrupt)
    assert content(tmp_path / "raw") == {"old.txt": b"old"}
    assert names(tmp_path) == ["a.zip", "raw"]
