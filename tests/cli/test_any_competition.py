"""Other competitions than the built-in one, from their files to a graded submission, as their users type it."""

from __future__ import annotations

import csv
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity
from support.command import kit, ok
from support.strokes import Strokes, make_strokes

from kit.blending import make_blend
from kit.core.workspace import Workspace
from kit.data.photo_list import PhotoList
from kit.data.project import Project
from kit.imaging.holes import boxes_of, scored_pixels
from kit.imaging.images import decode_image, load_image, resize, save_image
from kit.imaging.masks import read_mask
from kit.report import figure
from kit.report.figure import side_by_side

TINY = "--epochs 1 --set size=32 --set batch_size=8 --set architecture=plain --set width=8 --set base=harmonic"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Strokes:
    return make_strokes(tmp_path_factory.mktemp("strokes"), train=18, test=4)


def folders(made: Strokes) -> str:
    root = made.root
    return (
        f"--images {root / 'train'} --masks {root / 'train_masks'} --test-images {root / 'test'} "
        f"--test-masks {root / 'test_masks'}"
    )


@pytest.fixture(scope="module")
def cats(made: Strokes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of photos of three sizes, hidden by strokes, scored by MSE: fills, a network, a blend."""
    root = tmp_path_factory.mktemp("cats") / "w"
    for line in (
        f"fetch cats {folders(made)} --metric mse",
        "folds --k 2",
        "fill mean harmonic",
        f"train regress --fold all {TINY} --as net --device cpu",
    ):
        ok(f"-w {root} {line}")
    make_blend(Project(Workspace(root, "cats")), ["net", "harmonic", "mean"], name="mix", rung="simplex")
    return root


def test_photos_of_several_sizes_are_kept_as_they_are(cats: Path, made: Strokes) -> None:
    project = Project(Workspace(cats, "cats"))
    assert isinstance(project.pack.train_target, PhotoList) and len({row.height for row in project.index.train}) > 1
    for row, whole, image in zip(project.index.train, project.pack.train_target, project.pack.train_image, strict=True):
        path = made.root / "train" / Path(row.image).name
        assert np.array_equal(whole, load_image(path)) and whole.shape == (row.height, row.width, 3)
        assert np.array_equal(row.hole, read_mask(made.root / "train_masks" / path.name))
        assert not image[row.hole].any() and np.array_equal(image[~row.hole], whole[~row.hole])
    assert "all as written" in ok(f"-w {cats} verify")


def test_a_folder_of_pictures_and_masks_ends_in_a_graded_zip_of_pictures(cats: Path, made: Strokes) -> None:
    said = ok(f"-w {cats} upload mix --dry-run")
    path = cats / "submissions" / "mix.zip"
    assert f"{path}: blend mix, 4 pictures" in said and "CV MSE 0.0" in said
    before = path.read_bytes()
    ok(f"-w {cats} upload mix --dry-run")
    assert path.read_bytes() == before
    with zipfile.ZipFile(path) as archive:
        pictures = {name: decode_image(archive.read(name), Path(name)) for name in archive.namelist()}
    errors, count = 0.0, 0
    for name, picture in pictures.items():
        whole, hole = load_image(made.truth / name), read_mask(made.root / "test_masks" / name)
        assert np.array_equal(picture[~hole], whole[~hole])
        errors += float(np.square(picture[hole] / 255.0 - whole[hole] / 255.0).sum())
        count += int(hole.sum()) * 3
    graded = ok(f"-w {cats} grade {path} --truth {made.truth}")
    found = re.search(r"MSE (0\.\d+) ", graded)
    assert found is not None and abs(float(found[1]) - errors / count) < 1e-4
    assert "known pixels as given" in ok(f"-w {cats} check {path}")
    assert "CV MSE [95 %]" in ok(f"-w {cats} sources")


def test_other_test_photos_give_the_very_same_zip(cats: Path, made: Strokes, tmp_path: Path) -> None:
    ok(f"-w {cats} upload mix --dry-run --out {tmp_path / 'a.zip'}")
    ok(f"-w {cats} predict mix --input {made.root} --out {tmp_path / 'b.zip'} --work {tmp_path / 'work'}")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("harm", ["known", "missing", "more", "size", "no zip"])
def test_a_zip_that_would_be_refused_says_why(cats: Path, tmp_path: Path, harm: str) -> None:
    ok(f"-w {cats} upload mix --dry-run")
    with zipfile.ZipFile(cats / "submissions" / "mix.zip") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    first = min(held)
    said = {
        "known": f"{first} has changed",
        "missing": f"lacks {first}",
        "more": "holds more.png, which no test picture is called",
        "size": f"{first} is ",
        "no zip": "is no zip that can be read",
    }[harm]
    if harm == "missing":
        del held[first]
    if harm == "more":
        held["more.png"] = held[first]
    if harm in ("known", "size"):
        picture = decode_image(held[first], Path(first))
        picture = picture[:-1] if harm == "size" else 255 - picture
        import cv2

        held[first] = cv2.imencode(".png", picture)[1].tobytes()
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    if harm == "no zip":
        path.write_bytes(b"PK no zip")
    done = kit(f"-w {cats} check {path}")
    assert done.is_one_error_line and said in done.err, done


def test_a_figure_and_a_report_are_drawn_of_several_sizes(cats: Path, tmp_path: Path) -> None:
    ok(f"-w {cats} figure net harmonic --out {tmp_path / 'f.png'}")
    assert load_image(tmp_path / "f.png").shape[1] > 300
    ok(f"-w {cats} blend net harmonic --name drawn")
    assert (cats / "report" / "drawn.png").is_file()


def test_each_row_of_a_figure_has_its_photos_own_proportions(cats: Path) -> None:
    project = Project(Workspace(cats, "cats"))
    by_size = {(row.height, row.width): position for position, row in enumerate(project.index.train)}
    sizes = [(280, 360), (360, 300), (360, 360)]
    photos = [by_size[size] for size in sizes]
    sheet = side_by_side(project, photos=photos, columns=["harmonic"], split="train", width=1300)
    top, column = figure._MARGIN + figure._HEADING, 360 + figure._GUTTER
    for photo, (height, width) in zip(photos, sizes, strict=True):
        left = figure._MARGIN + 2 * column + (360 - width) // 2
        assert np.array_equal(sheet[top : top + height, left : left + width], project.pack.train_target[photo])
        top += height + figure._CAPTION
    small = side_by_side(project, photos=photos, columns=["harmonic"], split="train", width=300)
    shrunk = (300 - 2 * figure._MARGIN - 2 * figure._GUTTER) // 3
    heights = [round(shrunk * height / width) for height, width in sizes]
    assert small.shape[0] > sum(heights) > small.shape[0] - 250
    top = figure._MARGIN + figure._HEADING + sum(heights[:2]) + 2 * figure._CAPTION
    truth = small[top : top + heights[2], figure._MARGIN + 2 * (shrunk + figure._GUTTER) :][:, :shrunk]
    assert np.array_equal(truth, resize(project.pack.train_target[photos[2]], heights[2], shrunk))


def test_psnr_by_photo_is_the_higher_the_better(made: Strokes, tmp_path: Path) -> None:
    root = tmp_path / "w"
    ok(f"-w {root} fetch cats {folders(made)} --metric psnr")
    ok(f"-w {root} folds --k 2")
    ok(f"-w {root} fill mean harmonic")
    lines = [line.split()[0] for line in ok(f"-w {root} sources").splitlines()]
    assert lines.index("harmonic") < lines.index("mean")
    project = Project(Workspace(root, "cats"))
    scores = []
    for place, row in enumerate(project.index.train):
        values = project.predictions.read("harmonic", "oof").values(place)
        truth = np.asarray(project.pack.train_target[place])[scored_pixels(row.boxes)] / 255.0
        scores.append(-10 * np.log10(np.mean(np.square(values.astype(np.float64) - truth))))
    table = ok(f"-w {root} sources")
    found = re.search(r"harmonic +(\d+\.\d+) ", table)
    assert found is not None and abs(float(found[1]) - np.mean(scores)) < 1e-3
    blend = make_blend(project, ["mean", "harmonic"])
    assert blend.gain.value >= 0 and blend.best_single == "harmonic"


@pytest.mark.parametrize("metric", ["mae", "ssim"])
def test_a_metric_of_pixels_speaks_from_sources_to_grade(made: Strokes, tmp_path: Path, metric: str) -> None:
    root = tmp_path / "w"
    ok(f"-w {root} fetch cats {folders(made)} --metric {metric}")
    ok(f"-w {root} folds --k 2")
    ok(f"-w {root} fill mean harmonic")
    label = metric.upper()
    assert f"CV {label} [95 %]" in ok(f"-w {root} sources")
    said = ok(f"-w {root} blend --name mix")
    assert said.startswith("Blend mix") and f"CV {label} 0." in said.splitlines()[0] and "direct" in said
    assert ("error by" in said) and ("CV RMSE" in said) == (metric == "ssim")  # parts of a picture have no SSIM
    ok(f"-w {root} upload mix --dry-run")
    path = root / "submissions" / "mix.zip"
    scores, counts = [], []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            picture, whole = decode_image(archive.read(name), Path(name)) / 255.0, load_image(made.truth / name) / 255.0
            hole = read_mask(made.root / "test_masks" / name)
            if metric == "mae":
                scores.append(np.abs(picture - whole)[hole].sum())
                counts.append(3 * hole.sum())
            else:
                options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
                scores.append(structural_similarity(whole, picture, data_range=1.0, channel_axis=2, **options))
                counts.append(1)
    found = re.search(rf"{label} (0\.\d+) ", ok(f"-w {root} grade {path} --truth {made.truth}"))
    assert found is not None and abs(float(found[1]) - np.sum(scores) / np.sum(counts)) < 1e-4


def test_a_finished_submission_is_graded_by_another_metric(
    cats: Path, made: Strokes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(f"-w {cats} upload mix --dry-run")
    path = cats / "submissions" / "mix.zip"
    for metric in ("rmse", "mae", "psnr", "ssim"):
        assert f": {metric.upper()} " in ok(f"-w {cats} grade {path} --truth {made.truth} --metric {metric}")
    done = kit(f"-w {cats} grade {path} --truth {made.truth} --metric ssmi")
    assert done.is_one_error_line and "Did you mean ssim?" in done.err, done
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = kit(f"-w {cats} grade {path} --truth {made.truth} --metric lpips")
    assert done.is_one_error_line and "kit weights get vgg16.tv_in1k" in done.err, done


# --- a layout of one's own


def sample_of(root: Path) -> None:
    """Write the sample submission that the skeleton's layout asks for."""
    with (root / "sample_submission.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "value"])
        for path in sorted((root / "test").iterdir()):
            for row, column in zip(*scored_pixels(boxes_of(read_mask(root / "test_masks" / path.name))), strict=True):
                table.writerows([f"{path.name}_{row}_{column}_{channel}", 0] for channel in range(3))


def test_the_skeleton_of_a_competition_works_and_is_kept(
    made: Strokes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample_of(made.root)
    said = ok("new competition cat")
    assert "Next: kit check-layout cat.py --from DATA" in said
    assert kit("new competition cat").is_one_error_line
    lines = ok(f"check-layout cat.py --from {made.root}").splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [
        f"ok  {what}"
        for what in ("functions", "index", "ids", "holes", "value_range", "encode, decode", "header, sample")
    ]
    ok(f"-w w fetch paint-the-cat --layout cat.py --from {made.root}")
    ok("-w w folds --k 2")
    ok("-w w fill harmonic")
    Path("cat.py").unlink()  # the workspace has its own copy
    ok("-w w upload harmonic --dry-run")
    assert "RMSE 0." in ok(f"-w w grade w/submissions/harmonic.csv --truth {made.truth}")
    kept = tmp_path / "w" / "data" / "paint-the-cat" / "layout.py"
    kept.write_text(kept.read_text() + "# changed\n")
    done = kit("-w w sources")
    assert done.is_one_error_line and "is not as it was when the data was fetched" in done.err
    (made.root / "sample_submission.csv").unlink()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def decode", "def decodes", "cat.py lacks decode"),
        ('METRIC = "rmse"', 'METRIC = "f1"', "There is no metric 'f1'"),
        ("def index(raw: Path) -> Layout:", "def index(raw: Path) -> Layout:\n    1 / 0", "index() fails: ZeroDiv"),
        ("import numpy as np", "import numpy as np\nimport no_such", "running the file fails: ModuleNotFoundError"),
        ("return values.reshape(-1, 3)", "return values.reshape(3, -1).T", "does not give back what encode() wrote"),
        ("channel},{{", "channel},{{0 * ", "does not give back what encode() wrote"),
        ("np.zeros(3), np.ones(3)", "np.ones(3), np.zeros(3)", "is above high"),
        ('"id": f"{split}/{path.name}"', '"id": "one"', "ids are there twice"),
        ("_{row}_{column}", "_{column}_{row}", "is not the sample's"),
        ('SUBMISSION = "csv"', 'SUBMISSION = "npz"', "SUBMISSION is 'npz'"),
        ("TITLE = ", "TITLE = (", ": not Python: "),
    ],
)
def test_functions_that_disagree_are_named(
    old: str, new: str, said: str, made: Strokes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample_of(made.root)
    ok("new competition cat")
    text = Path("cat.py").read_text()
    assert old in text or "{{" in old
    old, new = (part.replace("{{", "{") for part in (old, new))
    assert old in text, old
    Path("cat.py").write_text(text.replace(old, new, 1))
    done = kit(f"check-layout cat.py --from {made.root}")
    assert done.code == 1
    assert said in done.err and "Traceback" not in done.err and done.err.count("\n") == 1, done
    (made.root / "sample_submission.csv").unlink()


CELLS = r"""
import base64

def encode(name, boxes, values):
    data = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8).tobytes()
    return f"{name},{base64.b64encode(data).decode()}\n".encode()


def decode(cell):
    return np.frombuffer(base64.b64decode(cell), np.uint8).reshape(-1, 3) / 255
"""


def as_cells(text: str) -> str:
    """The skeleton with a row a photo, its hidden pixels in base64."""
    return text.replace('SUBMISSION = "csv"', 'SUBMISSION = "cells"') + CELLS


def score_of(text: str) -> float:
    found = re.search(r"RMSE (0\.\d+) ", text)
    assert found is not None, text
    return float(found[1])


def test_a_row_a_photo_and_an_array_score_as_a_row_a_value_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_strokes(tmp_path / "made", train=6, test=2, mixed=False)
    monkeypatch.chdir(tmp_path)
    ok("new competition plain")
    text = Path("plain.py").read_text()
    names = sorted(path.name for path in (made.root / "test").iterdir())
    scores = {}
    for kind, changed in (
        ("csv", text),
        ("cells", as_cells(text)),
        ("npy", text.replace('SUBMISSION = "csv"', 'SUBMISSION = "npy"')),
    ):
        if kind == "csv":
            sample_of(made.root)
        else:
            (made.root / "sample_submission.csv").write_text(
                "id,pixels\n" + "".join(f"{one},\n" for one in names[::-1])
            )
        Path(f"{kind}.py").write_text(changed)
        ok(f"check-layout {kind}.py --from {made.root}")
        ok(f"-w {kind} fetch plain --layout {kind}.py --from {made.root}")
        ok(f"-w {kind} fill harmonic")
        said = ok(f"-w {kind} upload harmonic --dry-run")
        (path,) = Path(kind, "submissions").iterdir()
        assert str(path) in said and path.suffix == (".npy" if kind == "npy" else ".csv")
        scores[kind] = score_of(ok(f"-w {kind} grade {path} --truth {made.truth}"))
    assert max(scores.values()) - min(scores.values()) < 3e-4, scores
    lines = Path("cells/submissions/harmonic.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", *names[::-1]]  # the sample's order
    harmed = {
        "found '001.png', expected": [lines[0], *lines[:0:-1]] if lines[1].startswith("001") else lines[::-1],
        "has 1 rows, expected 2": lines[:2],
        "has values of shape": [lines[0], lines[1], lines[2][:-8]],
        "two cells are needed": [lines[0], lines[1], f"{lines[2]},3"],
    }
    for said, some in harmed.items():
        Path("mine.csv").write_text("\n".join(some) + "\n")
        done = kit("-w cells check mine.csv")
        assert done.is_one_error_line, (said, done)
    array = np.load("npy/submissions/harmonic.npy")
    assert array.dtype == np.uint8 and array.shape == (2, 360, 360, 3)
    np.save("mine.npy", array[:1])
    assert "expected uint8 (2, 360, 360, 3)" in kit("-w npy check mine.npy").err
    array[0, 0, 0] += 1
    np.save("mine.npy", array)
    assert "has changed 1 known pixels" in kit("-w npy check mine.npy").err


def test_photos_that_hide_nothing_or_nearly_all_go_the_whole_way(tmp_path: Path) -> None:
    made = make_strokes(tmp_path / "made", train=8, test=3)
    for split in ("train", "test"):
        for name, share in (("000.png", 0.0), ("001.png", 0.98)):
            path = made.root / f"{split}_masks" / name
            mask = np.zeros_like(load_image(path))
            mask[: round(share * len(mask))] = 255  # to the photo's edge
            save_image(path, mask)
    w = f"-w {tmp_path / 'w'}"
    for line in (
        f"fetch cats {folders(made)} --metric psnr",
        "folds --k 2",
        "fill all",
        f"train regress --fold all {TINY} --as net --device cpu",
        "clip embed --model thumbnail",
        "blend --name mix",
        "upload mix --dry-run",
        f"grade {tmp_path / 'w' / 'submissions' / 'mix.zip'} --truth {made.truth}",
        f"export mix --out {tmp_path / 'all.npz'}",
        f"import back --oof {tmp_path / 'all.npz'} --test {tmp_path / 'all.npz'}",
        f"figure net --out {tmp_path / 'f.png'}",
        "verify",
    ):
        done = kit(f"{w} {line}")
        assert done.code == 0 and "RuntimeWarning" not in done.err, (line, done)
    assert "over 0 " not in done.out


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("    return None", "index() gives NoneType, not kit.competitions.Layout"),
        ("    return Layout([1])", "its rows are list, not a pandas DataFrame"),
        ("    return Layout(pd.DataFrame())", "index() finds no photo"),
        ("    return Layout(pd.DataFrame({'id': ['a']}))", "its rows lack the columns split, klass"),
    ],
)
def test_an_index_that_is_none_is_told_by_its_function(tmp_path: Path, body: str, words: str) -> None:
    ok(f"new competition {tmp_path / 'cat.py'}")
    text = (tmp_path / "cat.py").read_text()
    (tmp_path / "cat.py").write_text(
        f"{text}\n\nimport pandas as pd\nfrom kit.competitions import Layout\n\n\ndef index(raw):\n{body}\n"
    )
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "sample_submission.csv").write_text("id,value\n")
    done = kit(f"check-layout {tmp_path / 'cat.py'} --from {tmp_path / 'd'}")
    assert done.is_one_error_line and words in done.err, done
