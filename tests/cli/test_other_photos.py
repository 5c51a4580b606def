"""What was trained, on photos that were not fetched: other test photos, and pictures of one's own."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.command import kit, ok
from support.confined import obeying_permissions, read_only
from support.small import Small

from kit.blending import make_blend
from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.holes import hole_of, scored_pixels
from kit.imaging.images import load_image, save_image, to_uint8

RUNGS = ("ridge", "intercept", "features", "regions")
TINY = "--epochs 1 --set size=32 --set batch_size=8 --set architecture=plain --set width=8 --set base=harmonic"
MEMBERS = ["harmonic", "mean", "net", "nets-mean"]


@pytest.fixture(scope="module")
def trained(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with fills, a network, a mean of two, an import, and a blend by every kind of rung."""
    root = tmp_path_factory.mktemp("trained") / "w"
    project = small.copy(root)
    for line in (
        "folds --k 2",
        "fill mean harmonic",
        f"train regress --fold all,full {TINY} --as net --device cpu",
        f"train regress --fold all {TINY} --as nets --seeds 2 --mean --device cpu",
        f"export mean --out {root / 'mean.npz'}",
        f"import ben --oof {root / 'mean.npz'} --test {root / 'mean.npz'}",
    ):
        ok(line, "-w", root)
    for rung in RUNGS:
        make_blend(Project(project.workspace), MEMBERS, name=rung, rung=rung)
    make_blend(Project(project.workspace), ["ben", "net", "mean"], name="with-ben", rung="ridge")
    return root


@pytest.fixture(scope="module")
def hidden(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The competition's folder as a rerun has it, with the fetched test photos and without training photos."""
    folder = tmp_path_factory.mktemp("rerun")
    with zipfile.ZipFile(small.archive) as file:
        file.extractall(folder, [name for name in file.namelist() if "Training_Data" not in name])
    return folder


@pytest.fixture
def others(hidden: Path, tmp_path: Path) -> Path:
    """Other test photos in the same layout: the fetched ones, red and blue exchanged."""
    folder = tmp_path / "others"
    shutil.copytree(hidden, folder)
    for path in (folder / "Dataset" / "Testing_Data").glob("*.*g"):
        save_image(path, np.ascontiguousarray(load_image(path)[..., ::-1]))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RUNGS, "net", "nets-mean", "harmonic"])
def test_the_fetched_test_photos_give_the_very_same_submission(
    trained: Path, hidden: Path, tmp_path: Path, name: str
) -> None:
    ok(f"upload {name} --dry-run --out", tmp_path / "fetched.csv", "-w", trained)
    out = ok(f"predict {name} --device cpu --input {hidden} --out", tmp_path / "again.csv", "-w", trained)
    assert "on 4 test photos" in out and "ids as in the sample" in out
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "fetched.csv").read_bytes()
    ok("check", tmp_path / "again.csv", "-w", trained)


@pytest.mark.slow
def test_other_photos_get_their_own_predictions_kept_by_what_they_are(
    trained: Path, others: Path, tmp_path: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    before = digests(trained / "predictions")
    out, work = tmp_path / "other.csv", tmp_path / "work"
    first = ok(f"predict regions --device cpu --input {others} --work {work} --out {out}", "-w", trained)
    assert "Predicted: net\n" in first and "There already" not in first
    data = out.read_bytes()
    ok("upload regions --dry-run", "-w", trained)
    assert data != Workspace(trained).submission("regions").read_bytes()
    assert digests(trained / "predictions") == before

    renamed = others.rename(tmp_path / "renamed")
    again = ok(f"predict regions --device cpu --input {renamed} --work {work} --out {out}", "-w", trained)
    assert "Predicted" not in again and out.read_bytes() == data
    archive = Path(shutil.make_archive(str(tmp_path / "hidden"), "zip", renamed))
    again = ok(
        f"predict regions --device cpu --input {archive} --work {work} --out {tmp_path / 'o.zip'}", "-w", trained
    )
    assert "Predicted" not in again
    with zipfile.ZipFile(tmp_path / "o.zip") as file:
        assert file.read("o.csv") == data
    (folder,) = (path for path in work.iterdir() if path.name != "unpacked")
    (folder / "predictions/net/test/fold_1.json").unlink()  # as a kill leaves it
    again = ok(f"predict regions --device cpu --input {renamed} --work {work} --out {out}", "-w", trained)
    assert "Predicted: net\n" in again and "There already: harmonic" in again and out.read_bytes() == data


@pytest.mark.slow
def test_weights_and_blends_are_enough_on_another_machine(trained: Path, hidden: Path, tmp_path: Path) -> None:
    root = tmp_path / "carried"
    for name in ("runs", "blends", "folds"):
        shutil.copytree(trained / name, root / name)
    shutil.copytree(
        trained / "predictions", root / "predictions", ignore=lambda _, names: {n for n in names if n[-3:] == "npy"}
    )
    data = root / "data" / "photo-reconstruction"
    data.mkdir(parents=True)
    for name in ("index.csv", "index.json"):
        shutil.copy(trained / "data" / "photo-reconstruction" / name, data)
    ok("upload regions --dry-run --out", tmp_path / "fetched.csv", "-w", trained)
    ok(f"predict regions --device cpu --input {hidden} --out", tmp_path / "again.csv", "-w", root)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "fetched.csv").read_bytes()


def test_all_that_is_attached_may_be_given_and_the_competition_is_found_in_it(
    trained: Path, hidden: Path, tmp_path: Path
) -> None:
    attached = tmp_path / "attached"
    shutil.copytree(hidden, attached / "competitions" / "photo-reconstruction")
    (attached / "something").mkdir()
    ok(f"predict mean --input {attached} --out", tmp_path / "s.csv", "-w", trained)
    ok("check", tmp_path / "s.csv", "-w", trained)
    shutil.copytree(hidden, attached / "photo-reconstruction")
    done = kit(f"predict mean --input {attached} --out", tmp_path / "t.csv", "-w", trained)
    assert done.is_one_error_line and f"2 folders in {attached} may be meant" in done.err
    ok(f"predict mean {done.err.split('Name one: ')[1].strip()} --out", tmp_path / "t.csv", "-w", trained)


def test_without_a_sample_nothing_is_checked_and_that_is_said(trained: Path, others: Path, tmp_path: Path) -> None:
    (others / "sample_submission.csv").unlink()
    out = ok(f"predict mean --input {others} --out", tmp_path / "s.csv", "-w", trained)
    assert "not checked: there is no sample_submission.csv" in out
    ok("check", tmp_path / "s.csv", "-w", trained)  # these photos happen to be called as the fetched ones are


def test_members_that_cannot_predict_are_named_before_anything_is_read(trained: Path, tmp_path: Path) -> None:
    done = kit(f"predict with-ben --input {tmp_path}", "-w", trained)
    assert done.is_one_error_line and "because of ben (imported for the fetched photos)" in done.err
    command = done.err.split("predict by that: kit ")[1].strip()
    assert command.endswith("--name others")
    ok(f"{command} --plots none", "-w", trained)
    (trained / "blends" / "others.json").unlink()


def _truncate(folder: Path) -> None:
    path = sorted((folder / "Dataset" / "Testing_Data").glob("*.*g"))[0]
    path.write_bytes(path.read_bytes()[:400])


def _lose(folder: Path) -> None:
    sorted((folder / "Dataset" / "Testing_Data").glob("*.*g"))[0].unlink()


def _empty(folder: Path) -> None:
    shutil.rmtree(folder / "Dataset")


@pytest.mark.parametrize(
    ("spoil", "said"), [(_truncate, "is truncated"), (_lose, "is missing"), (_empty, "holds no Testing_Data folder")]
)
def test_photos_that_cannot_be_used_are_one_line_without_a_fetch(
    trained: Path, others: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(others)
    done = kit(f"predict mean --input {others} --out", tmp_path / "s.csv", "-w", trained)
    assert done.is_one_error_line and said in done.err and "kit fetch" not in done.err
    assert f"(here {others})" in done.err and not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Which source? Name one: kit predict SOURCE"),
        ("net --input nowhere", "there is no such folder or zip"),
        ("nobody --input .", "There is no source or blend 'nobody'."),
        ("net --input . --images .", "Give one."),
        ("net --images .", "--masks, --out is missing"),
        ("net --out x.csv", "kit upload --dry-run"),
        ("net --work x", "--work goes with --input"),
        ("net --input . --fold 0", "Leave it out"),
        ("net --input . --size 64", "First run: kit predict SOURCE --size N"),
        ("net --input . --out x.txt", "a submission is a .csv or a .zip"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(trained: Path, typed: str, said: str) -> None:
    done = kit(f"predict {typed}", "-w", trained)
    assert done.is_one_error_line and said in done.err


@pytest.mark.slow
@pytest.mark.skipif(obeying_permissions() is None, reason="root may write anywhere here")
def test_a_workspace_that_may_not_be_written_wants_a_place_for_the_work(
    trained: Path, hidden: Path, tmp_path: Path
) -> None:
    root = tmp_path / "w"
    shutil.copytree(trained, root)
    kit_predict = ["predict", "regions", "--device", "cpu", "--input", str(hidden), "--out", str(tmp_path / "s.csv")]
    with read_only(root):
        done = unprivileged(root, *kit_predict)
        assert done.returncode == 2 and done.stderr.endswith("Say where the work is to be kept: --work DIR\n")
        done = unprivileged(root, *kit_predict, "--work", str(tmp_path / "work"))
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "s.csv").stat().st_size > 1e6


def unprivileged(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run kit as somebody who may write where permissions say."""
    command = [*(obeying_permissions() or []), sys.executable, "-m", "kit", "-w", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(obeying_permissions() is None, reason="root may write anywhere here")
def test_a_workspace_that_may_not_be_written_gives_its_submission_elsewhere(trained: Path, tmp_path: Path) -> None:
    ok("upload mean --dry-run --out", tmp_path / "expected.csv", "-w", trained)
    root = tmp_path / "w"
    shutil.copytree(trained, root, ignore=lambda _, names: {"submissions"} & {*names})
    out = tmp_path / "new" / "s.csv"
    with read_only(root):
        done = unprivileged(root, "upload", "mean", "--dry-run")
        assert done.returncode == 2 and done.stderr.endswith("upload --dry-run --out submission.csv\n")
        done = unprivileged(root, "upload", "mean", "--dry-run", "--out", str(out))
        assert done.returncode == 0 and f"{out}: source mean" in done.stdout, done.stderr
        assert out.read_bytes() == (tmp_path / "expected.csv").read_bytes()
        assert [path.name for path in out.parent.iterdir()] == ["s.csv"]
        done = unprivileged(root, "upload", str(out), "--dry-run")
        assert done.returncode == 0 and "csv" in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(obeying_permissions() is None, reason="root may write anywhere here")
def test_a_page_of_a_workspace_that_may_not_be_written_goes_where_the_line_says(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    shutil.copytree(trained, root)
    with read_only(root):
        done = unprivileged(root, "figure", "mean")
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        typed = shlex.split(done.stderr.partition("Such as: kit ")[2])
        assert typed[:3] == ["-w", str(root), "figure"] and typed[-2:] == ["--out", "figure.png"]
        done = unprivileged(root, "figure", "mean", "--out", str(tmp_path / "figure.png"))
        assert done.returncode == 0 and (tmp_path / "figure.png").is_file(), done.stderr


# --- pictures of one's own


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Pictures of many sizes with masks of many shapes, and a folder to work in."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    rng = np.random.default_rng(0)
    for name, height, width in (("large.jpg", 500, 640), ("flat.png", 60, 400), ("tiny.png", 16, 20)):
        smooth = cv2.resize(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8), (width, height))
        save_image(tmp_path / "photos" / name, smooth)
        mask = np.zeros((height, width, 3), np.uint8)
        cv2.circle(mask, (width // 2, height // 2), min(height, width) // 5, (255, 255, 255), -1)
        cv2.line(mask, (0, 0), (width // 3, height // 2), (128, 128, 128), 2)
        mask[-3:, -9:-4] = 127  # not yet white
        save_image(tmp_path / "masks" / f"{Path(name).stem}{'_mask' if 'large' in name else ''}.png", mask)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["harmonic", "net", "nets-mean", "regions"])
def test_what_is_white_is_filled_and_all_else_is_left_bit_for_bit(trained: Path, own: Path, name: str) -> None:
    out = ok(
        f"predict {name} --device cpu --images {own / 'photos'} --masks {own / 'masks'} --out {own / 'out'}",
        "-w",
        trained,
    )
    assert "2 of 3 are larger than the competition's 256x256" in out
    for path in (own / "photos").iterdir():
        stem = path.stem
        mask = next((own / "masks").glob(f"{stem}*"))
        hidden = load_image(mask)[..., 0] >= 128
        before, after = load_image(path), load_image(own / "out" / f"{stem}.png")
        assert after.shape == before.shape and (after[~hidden] == before[~hidden]).all()
        error = np.abs(after[hidden].astype(float) - before[hidden]).mean()
        assert error < 60  # smooth pictures; 0 where hidden would be 127 off
    assert len(list((own / "out").iterdir())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["net", "nets-mean", "ridge"])
def test_a_picture_of_the_competition_comes_out_as_it_is_predicted_there(
    trained: Path, tmp_path: Path, name: str
) -> None:
    project = Project(Workspace(trained))
    (tmp_path / "photos").mkdir()
    row = next(row for row in project.index.test if hole_of(row.boxes, 256, 256).sum() == row.scored)  # boxes apart
    place = project.index.test.index(row)
    save_image(tmp_path / "photos" / "a.png", np.asarray(project.pack.test_image[place]))
    save_image(tmp_path / "photos" / "a_mask.png", np.repeat(row.hole[..., None] * np.uint8(255), 3, axis=2))
    folder = tmp_path / "photos"
    ok(f"predict {name} --device cpu --images {folder} --masks {folder} --out {tmp_path / 'out'}", "-w", trained)
    if name == "ridge":
        from kit.blending import blend_values, read_blend

        values = blend_values(project, read_blend(project.workspace, name), "test")(place)
    else:
        values = project.predictions.read(name, "test").values(place)
    filled = load_image(tmp_path / "out" / "a.png")[scored_pixels(row.boxes)].astype(int)
    difference = np.abs(filled - to_uint8(values))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def _no_mask(own: Path) -> None:
    (own / "masks" / "tiny.png").unlink()


def _two_masks(own: Path) -> None:
    shutil.copy(own / "masks" / "tiny.png", own / "masks" / "tiny_mask.png")


def _wrong_size(own: Path) -> None:
    shutil.copy(own / "masks" / "flat.png", own / "masks" / "tiny.png")


def _all_hidden(own: Path) -> None:
    save_image(own / "masks" / "tiny.png", np.full((16, 20, 3), 255, np.uint8))


def _cut(own: Path) -> None:
    (own / "photos" / "tiny.png").write_bytes((own / "photos" / "tiny.png").read_bytes()[:60])


def _deep(own: Path) -> None:
    cv2.imwrite(str(own / "photos" / "tiny.png"), np.zeros((16, 20, 3), np.uint16))


def _same_name(own: Path) -> None:
    shutil.copy(own / "photos" / "tiny.png", own / "photos" / "tiny.jpg")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_mask, "tiny.png has no mask. Put one there, white where hidden: {own}/masks/tiny.png"),
        (_two_masks, "tiny.png has two masks, {own}/masks/tiny.png and {own}/masks/tiny_mask.png"),
        (_wrong_size, "masks/tiny.png is 400x60, but {own}/photos/tiny.png is 20x16"),
        (_all_hidden, "masks/tiny.png hides all of {own}/photos/tiny.png"),
        (_cut, "photos/tiny.png is truncated"),
        (_deep, "photos/tiny.png has 16 bits a channel"),
        (_same_name, "would both become tiny.png"),
    ],
)
def test_what_is_wrong_with_a_picture_is_one_line_and_nothing_is_written(
    trained: Path, own: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(own)
    done = kit(f"predict harmonic --images {own / 'photos'} --masks {own / 'masks'} --out {own / 'out'}", "-w", trained)
    assert done.is_one_error_line and said.format(own=own) in done.err and "kit fetch" not in done.err
    assert not (own / "out").exists()


def test_pictures_are_not_written_over_themselves(trained: Path, own: Path) -> None:
    for folder in ("photos", "masks"):
        done = kit(
            f"predict mean --images {own / 'photos'} --masks {own / 'masks'} --out {own / folder}", "-w", trained
        )
        assert done.is_one_error_line and "Give another folder" in done.err
