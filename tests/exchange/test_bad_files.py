"""Files that cannot be imported: one line that names the file and the way out, and nothing is left behind."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.command import Done, kit
from support.imports import (
    READY,
    Write,
    by_photo,
    csv,
    csv_of,
    flat,
    npy,
    npz,
    painted,
    pictures,
    project_of,
    raw,
    values_of,
)
from support.toy import Toy

from kit.errors import PredictionsError
from kit.exchange import import_part
from kit.exchange.values import Photos, ReaderLog
from kit.imaging.images import save_image

pytestmark = pytest.mark.toy(**READY)


def cut(write: Write) -> Write:
    def then_cut(toy: Toy, folder: Path) -> Path:
        path = write(toy, folder)
        path.write_bytes(path.read_bytes()[:-4000])
        return path

    return then_cut


def set_nan(values: np.ndarray) -> np.ndarray:
    values[3, 5, 1] = np.nan
    return values


def drop_two(named: dict[str, np.ndarray]) -> None:
    for key in list(named)[4:6]:
        del named[key]


def of_two_names(toy: Toy, folder: Path) -> Path:
    path = npz(lambda named: None)(toy, folder)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"")
    return path


def gzipped(toy: Toy, folder: Path) -> Path:
    data = gzip.compress(b"".join(csv_of(toy, "good", "oof")))
    (folder / "bad.csv.gz").write_bytes(data[: len(data) // 2])
    return folder / "bad.csv.gz"


def two_in_a_zip(toy: Toy, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        archive.writestr("a.csv", "id,value\n")
        archive.writestr("b.csv", "id,value\n")
    return folder / "bad.zip"


def flipped_bit(toy: Toy, folder: Path) -> Path:
    path = npz(lambda named: None)(toy, folder)
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    return path


def nothing(toy: Toy, folder: Path) -> Path:
    return folder / "nowhere.npz"


def a_text(toy: Toy, folder: Path) -> Path:
    (folder / "bad.txt").write_text("values")
    return folder / "bad.txt"


def of_test(toy: Toy, folder: Path) -> Path:
    return by_photo(toy, "test", folder / "bad")


def empty_folder(toy: Toy, folder: Path) -> Path:
    (folder / "bad.csv").mkdir()
    return folder / "bad.csv"


def both_suffixes(folder: Path) -> None:
    shutil.copy(folder / "Cat (0).png", folder / "deep.png")
    (folder / "x").mkdir()
    (folder / "deep.png").rename(folder / "x" / "Cat (0).png")


BAD: dict[str, tuple[Write, str]] = {
    "not there": (nothing, "is not there"),
    "unknown format": (a_text, "kit imports .npz, .npy, .csv"),
    "nan": (npz(lambda named: named.__setitem__("train/Cat/Cat (0).png", set_nan(np.zeros((6, 200, 3)))[3])),
            "1 of the 600 values of train/Cat/Cat (0).png are not finite"),
    "nan in an array": (npy(set_nan), "1 of the 600 values"),
    "infinite": (npy(lambda values: np.where(values > 0.5, np.inf, values)), "are not finite"),
    "0 to 255": (npy(lambda values: values * 255), "If they are 0 to 255, add: --scale 255"),
    "-1 to 1": (npy(lambda values: values * 2 - 1), "store (v + 1) / 2"),
    "huge": (npy(lambda values: values * 65535), "Say what stands for white: --scale N"),
    "one photo less": (npy(lambda values: values[1:]), "has the shape (29, 200, 3); for the 30 training photos"),
    "the other split": (of_test, "--oof and --test exchanged?"),
    "one number": (npy(lambda values: values.sum()), "has the shape ()"),
    "two channels": (npy(lambda values: values[..., :2]), "has the shape (30, 200, 2)"),
    "a pickle": (npy(lambda values: np.array([{"a": values}, None], object)), "holds a pickle of Python objects"),
    "texts": (npy(lambda values: values.astype(str)), "not numbers"),
    "complex": (npy(lambda values: values * 1j), "holds complex64, not numbers"),
    "bool": (npy(lambda values: values > 0.5), "holds bool, not numbers"),
    "cut npy": (cut(npy(lambda values: values)), "ends too early"),
    "cut npz": (cut(npz(lambda named: None)), "is damaged or no .npz file"),
    "a bit flipped": (flipped_bit, "is damaged or no .npz file"),
    "no npy": (raw("bad.npy", b"filename,value\n1,2\n"), "is not a .npy file"),
    "a bare pickle": (raw("bad.npy", b"\x80\x04\x95."), "is not a .npy file"),
    "empty npy": (raw("bad.npy", b""), "is not a .npy file"),
    "header of nonsense": (raw("bad.npy", b"\x93NUMPY\x01\x00\x04\x00{(:\n"), "is not a .npy file"),
    "no npz": (raw("bad.npz", b"PK"), "is damaged or no .npz file"),
    "photos missing": (npz(drop_two), "lacks 2 of the 30 training photos: 'train/Cat/Cat (4).png'"),
    "a photo of another shape": (
        npz(lambda named: named.__setitem__("train/Cat/Cat (0).png", np.zeros((7, 3)))),
        "has the shape (7, 3); (200, 3)"),
    "arrays of strange names": (npz(lambda named: (named.clear(), named.update(a=np.zeros(3), b=np.zeros(3)))),
                                "none named like a training photo"),
    "no array at all": (npz(dict.clear), "holds 0 arrays"),
    "a name twice": (of_two_names, "two arrays of one name: 'train/Cat/Cat (0).png'"),
    "no header": (csv(lambda lines: lines[1:]), "expected a header"),
    "empty csv": (raw("bad.csv", b""), "found 0 columns"),
    "only a header": (csv(lambda lines: lines[:1]), "lacks 30 of the 30 training photos"),
    "three columns": (csv(lambda lines: [line.replace(b",", b",1,") for line in lines]), "found 3 columns"),
    "a short row": (csv(lambda lines: [*lines[:9], b"x\n", *lines[9:]]), "line 10: found 1 columns"),
    "a row missing": (csv(lambda lines: lines[:9] + lines[10:]), "but it is none of train/Cat/Cat (0).png"),
    "a row twice": (csv(lambda lines: [*lines[:9], *lines[8:]]), "line 10: the id 'Cat (0).png_box1"),
    "a photo twice": (csv(lambda lines: lines + lines[1:601]), "the photo 'Cat (0).png' is there twice"),
    "a photo missing": (csv(lambda lines: lines[:1] + lines[601:]), "lacks 1 of the 30 training photos"),
    "cut csv": (csv(lambda lines: lines[:-7]), "after 593 of the 600 rows of train/Dog/Dog (29).png"),
    "a word": (csv(lambda lines: [*lines[:9], lines[9].split(b",")[0] + b",grey\n", *lines[10:]]),
               "line 10: found the value 'grey', not a finite number"),
    "no value": (csv(lambda lines: [*lines[:9], lines[9].split(b",")[0] + b",\n", *lines[10:]]),
                 "line 10: found the value '', not a finite number"),
    "nan in csv": (csv(lambda lines: [*lines[:9], lines[9].split(b",")[0] + b",nan\n", *lines[10:]]),
                   "line 10: found the value 'nan'"),
    "csv of 0 to 255": (csv(lambda lines: [line.replace(b",0.", b",9") for line in lines]), "far outside 0 to 1"),
    "latin-1": (csv(lambda lines: [*lines[:9], b"caf\xe9,1\n", *lines[9:]]), "expected UTF-8"),
    "cut gz": (gzipped, "is damaged"),
    "no zip": (raw("bad.zip", b"PK"), "is damaged"),
    "two in a zip": (two_in_a_zip, "holds 2 files, expected one CSV"),
    "a folder for a csv": (empty_folder, "is a folder without pictures"),
    "a picture missing": (pictures(lambda folder: (folder / "Cat (4).png").unlink()),
                          "lacks the pictures of 1 of the 30 training photos: 'train/Cat/Cat (4).png'"),
    "a cut picture": (pictures(lambda folder: (folder / "Cat (4).png").write_bytes(b"\x89PNG")),
                      "Cat (4).png is no whole picture (4 bytes)"),
    "two pictures of one": (pictures(both_suffixes), "holds 2 pictures of train/Cat/Cat (0).png"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(BAD))
def test_a_bad_file_is_one_line_and_leaves_nothing(toy: Toy, tmp_path: Path, digests: Callable, what: str) -> None:
    write, said = BAD[what]
    (tmp_path / "files").mkdir()
    path = write(toy, tmp_path / "files")
    before = digests(toy.workspace.root)
    done: Done = kit(f"-w {toy.workspace.root} import mate --oof {path}")
    assert done.is_one_error_line and said in done.err, done
    assert path.name in done.err
    assert digests(toy.workspace.root) == before
    assert not (toy.workspace.predictions / "mate").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import mate", "Give --oof FILE, --test FILE or both"),
        ("import mate --oof {csv} --channels bgr", "a CSV's rows name their channels"),
        ("import mate --oof {npy} --channels grb", "is not one of"),
        ("import mate --oof {npy} --space lab", "is not one of"),
        ("import mate --oof {npy} --scale 0", "--scale"),
        ("import mate --oof {npy} --scale nan", "--scale"),
        ("import --oof {npy}", "Missing argument"),
    ],
)
def test_options_that_cannot_be_are_one_line(toy: Toy, tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "rows.csv").write_bytes(b"".join(csv_of(toy, "good", "oof")))
    path = flat(toy, "oof", tmp_path / "flat")
    done = kit(f"-w {toy.workspace.root} {line.format(csv=tmp_path / 'rows.csv', npy=path)}")
    assert done.is_one_error_line and said in done.err, done


def test_extra_photos_are_left_and_said(toy: Toy, tmp_path: Path) -> None:
    named = {one.id: values for one, values in zip(toy.index.train, values_of(toy, "good", "oof"), strict=True)}
    np.savez(tmp_path / "more.npz", stranger=np.zeros((3, 3)), **named)
    done = import_part(project_of(toy), "npz", "oof", tmp_path / "more.npz")
    assert any("1 arrays are of no training photo and were left: 'stranger'" in note for note in done.notes)
    header, *photos = csv_of(toy, "good", "oof")
    strange = b"Cow (1).png_box1_0_0_0,0.5\n"
    (tmp_path / "more.csv").write_bytes(
        b"".join([header, *csv_of(toy, "good", "test")[1:], *photos[:9], strange, *photos[9:]])
    )
    done = import_part(project_of(toy), "csv", "oof", tmp_path / "more.csv")
    assert any("3601 rows are of no training photo" in note for note in done.notes), done
    folder = painted(toy, tmp_path / "painted")
    save_image(folder / "extra.png", np.zeros((4, 4, 3), np.uint8))
    done = import_part(project_of(toy), "pictures", "oof", folder)
    assert any("1 pictures are of no training photo and were left: 'extra.png'" in note for note in done.notes)


def test_a_picture_that_could_be_of_two_photos_is_refused(toy: Toy, tmp_path: Path) -> None:
    from kit.exchange.pictures import find_pictures

    first, second, *rest = toy.index.train
    photos = Photos.of(project_of(toy), "oof")
    names = ["a.jpeg", "a.jpg", *(photo_row.name for photo_row in rest)]
    photo_rows = tuple(
        type(one)(**{**one.__dict__, "name": name, "klass": "Cat"})
        for one, name in zip(photos.photo_rows, names, strict=True)
    )
    photos = Photos("oof", photo_rows, (), photos.images, photos.estimated_range, photos.layout)
    folder = painted(toy, tmp_path / "painted")
    for photo_row in (first, second):
        (folder / photo_row.name).unlink()
    picture = np.zeros((32, 32, 3), np.uint8)
    save_image(folder / "a.png", picture)
    with pytest.raises(
        PredictionsError, match=r"a\.png could be of .* or of .* keep the photo's whole name: 'a\.jpg\.png'"
    ):
        find_pictures(folder, photos, ReaderLog())
    save_image(folder / "a.jpg", picture)  # then a.png is left for a.jpeg
    assert [path.name for path in find_pictures(folder, photos, ReaderLog())[:2]] == ["a.png", "a.jpg"]
    (folder / "a.png").unlink()
    with pytest.raises(PredictionsError, match="lacks the pictures of 1"):  # a.jpg is no picture of a.jpeg
        find_pictures(folder, photos, ReaderLog())
    save_image(folder / "a.jpeg.png", picture)
    assert [path.name for path in find_pictures(folder, photos, ReaderLog())[:2]] == ["a.jpeg.png", "a.jpg"]
