"""Command lines that cannot work, and what is said about each; `test_cli.py` types them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.core.storage import read_json, write_json
from support.broken_archives import zip_of
from support.command import ok
from support.toy import SLUG

Prepare = Callable[[Path], None]


@dataclass(frozen=True)
class Mistake:
    """A command line that cannot work, and what is said about it. `{w}` is the workspace, `{t}` a scratch folder."""

    line: str
    said: str
    prepare: Prepare | None = None

    def __str__(self) -> str:
        return f"{self.line} ({self.prepare.__name__})" if self.prepare else self.line


def no_folds(root: Path) -> None:
    for path in (root / "folds").iterdir():
        path.unlink()


def no_index(root: Path) -> None:
    shutil.rmtree(root / "data")


def no_sources(root: Path) -> None:
    shutil.rmtree(root / "predictions")


def no_blend(root: Path) -> None:
    shutil.rmtree(root / "blends")


def other_folds(root: Path) -> None:
    ok(f"-w {root} folds --k 3 --seed 5 --force")


def no_recipe_of_folds(root: Path) -> None:
    (root / "folds" / f"{SLUG}.json").unlink()


def broken_recipe_of_folds(root: Path) -> None:
    (root / "folds" / f"{SLUG}.json").write_text("{")


def edited_folds(root: Path) -> None:
    path = root / "folds" / f"{SLUG}.csv"
    path.write_text(path.read_text().replace(",0,", ",1,", 1))


def plant_nan(root: Path, split: str) -> None:
    path = root / "predictions" / "good" / split / "all.npy"
    values = np.load(path)
    values[150, 1] = np.nan
    np.save(path, values)


def nan_in_oof(root: Path) -> None:
    plant_nan(root, "oof")


def nan_in_test(root: Path) -> None:
    plant_nan(root, "test")


def truncated_values(root: Path) -> None:
    path = root / "predictions" / "good" / "test" / "all.npy"
    path.write_bytes(path.read_bytes()[:-50])


def manifest_without_keys(root: Path) -> None:
    for split in ("oof", "test"):
        path = root / "predictions" / "good" / split / "all.json"
        manifest = read_json(path, made_by="")
        write_json(path, {"source": manifest["source"]})


def manifest_of_fill_without_keys(root: Path) -> None:
    write_json(root / "predictions" / "mean" / "oof" / "all.json", {})


def broken_blend(root: Path) -> None:
    (root / "blends" / "first.json").write_text("{}")


def broken_ledger(root: Path) -> None:
    (root / "submissions" / "ledger.csv").write_text("what,ever\n1,2\n")


def broken_index(root: Path) -> None:
    (root / "data" / SLUG / "index.json").write_text("{")


def changed_index(root: Path) -> None:
    path = root / "data" / SLUG / "index.csv"
    path.write_text(path.read_text().replace("Cat", "Cow", 1))


def cut_pack(root: Path) -> None:
    path = root / "data" / SLUG / "pack" / "train_image.npy"
    path.write_bytes(path.read_bytes()[:-10])


def no_sample(root: Path) -> None:
    (root / "data" / SLUG / "raw" / "sample_submission.csv").unlink()


def two_competitions(root: Path) -> None:
    (root / "data" / "second").mkdir()
    (root / "data" / "second" / "index.json").write_text("{}")


def half_the_truth(root: Path) -> None:
    next((root / "truth").iterdir()).unlink()


def cut_truth(root: Path) -> None:
    path = next((root / "truth").iterdir())
    path.write_bytes(path.read_bytes()[:100])


def submission(change: Callable[[list[str]], list[str]]) -> Prepare:
    """Write `bad.csv`: the good submission with its lines changed."""

    def prepare(root: Path) -> None:
        lines = (root / "submissions" / "first.csv").read_text().splitlines()
        (root / "bad.csv").write_text("\n".join(change(lines)) + "\n")

    return prepare


def with_value(text: str) -> Prepare:
    return submission(lambda lines: [*lines[:5], f"{lines[5].rsplit(',', 1)[0]},{text}", *lines[6:]])


def a_file(name: str, data: bytes) -> Prepare:
    def prepare(root: Path) -> None:
        (root / name).write_bytes(data)

    return prepare


def root_is_a_file(root: Path) -> None:
    shutil.rmtree(root)
    root.write_text("a file")


def run_of_another_kind(root: Path) -> None:
    folder = root / "runs" / "regress" / "fold_0"
    folder.mkdir(parents=True)
    write_json(folder / "experiment.json", {"experiment": {"name": "regress"}, "index": "x", "folds": "y"})


def run_that_is_damaged(root: Path) -> None:
    run_of_another_kind(root)
    folder = root / "runs" / "regress" / "fold_0"
    (folder / "experiment.json").write_text("{")


FETCH = [
    Mistake("fetch toy --force --from {t}/nowhere.zip", "nowhere.zip is missing"),
    Mistake("fetch toy --force --from {w}/a.zip", "is an empty file", a_file("a.zip", b"")),
    Mistake(
        "fetch toy --force --from {w}/a.zip", "a download that was cut", a_file("a.zip", b"PK\x03\x04" + b"x" * 99)
    ),
    Mistake("fetch toy --force --from {w}/a.zip", "an HTML page", a_file("a.zip", b"<html>log in</html>")),
    Mistake("fetch toy --force --from {w}/a.zip", "unsafe name", a_file("a.zip", zip_of({"../evil.txt": b"x"}))),
    Mistake("fetch toy --force --from {w}/a.zip", "boxes.csv", a_file("a.zip", zip_of({"readme.txt": b"x"}))),
    Mistake("fetch toy --force --from {w}", "lie in one another"),
    Mistake("fetch toy --from x.zip --sample --force", "exclude each other"),
    Mistake("fetch titanic --from x.zip", "no competition layout 'titanic'"),
    Mistake("fetch https://example.com/x", "names no competition"),
    Mistake("fetch 'no such name!'", "names no competition"),
    Mistake("fetch photo-reconstruction --from x.zip", "holds toy already"),
]
FOLDS = [
    Mistake("folds", "kit folds --k 5 --seed 0 --force"),
    Mistake("folds --k 3 --seed 9", "Replace them"),
    Mistake("folds --k 3", "changed after kit wrote it", edited_folds),
    Mistake("folds --k 3", "Delete it, then run: kit folds --k 3 --force", broken_recipe_of_folds),
    Mistake("blend", "Delete it, then run: kit folds --k 3 --force", broken_recipe_of_folds),
    Mistake("blend", "is missing. Run: kit folds --k 3 --force", no_recipe_of_folds),
    Mistake("folds --k 1 --force", "at least 2 folds"),
    Mistake("folds --k 1000 --force", "Use fewer folds"),
    Mistake("folds --k two", "--k"),
    Mistake("folds --seed -1", "--seed"),
    Mistake("folds --k 3", "Run: kit fetch", no_index),
    Mistake("folds --k 3", "run: kit fetch --force", cut_pack),
]
FILL = [
    Mistake("fill", "Missing argument"),
    Mistake("fill nonsense", "There is no fill 'nonsense'. Known: all, fractional"),
    Mistake("fill mean nonsense --force", "There is no fill 'nonsense'"),
    Mistake("fill mean", "Run: kit fetch", no_index),
    Mistake("fill mean", "kit fetch", broken_index),
    Mistake("fill mean", "Delete it, then run: kit fill mean", manifest_of_fill_without_keys),
]
TRAIN = [
    Mistake("train", "Which fold of regress-imagenet? Run the same command with --fold 0"),
    Mistake("train regress", "Which fold of regress?"),
    Mistake("train nonsense --fold 0", "There is no experiment 'nonsense'. Known: bilstm, cyclegan"),
    Mistake("train regress nonsense --fold 0", "There is no experiment 'nonsense'"),
    Mistake("train regress --fold x", "--fold x: a number from 0 to 2, or all"),
    Mistake("train regress --fold -1", "--fold -1"),
    Mistake("train regress --fold 99", "There is no fold 99: the folds are 0 to 2"),
    Mistake("train regress --fold 0 --fold 99", "There is no fold 99"),
    Mistake("train regress --fold ''", "--fold '': a number from 0 to 2, or all"),
    Mistake("train regress --fold 0 --set size", "field=value"),
    Mistake("train regress --fold 0 --set size=12", "size=12: one of "),
    Mistake("train regress --fold 0 --set sise=64", "There is no setting 'sise'. Did you mean --set size=64?"),
    Mistake("train regress --fold 0 --set name=x", "There is no setting 'name'"),
    Mistake("train regress --fold 0 --set epochs=many", "a whole number is needed"),
    Mistake("train regress --fold 0 --set epochs=0", "epochs=0: 1 to"),
    Mistake("train regress --fold 0 --epochs 0", "epochs=0: 1 to"),
    Mistake("train regress --fold 0 --epochs many", "--epochs"),
    Mistake("train regress --fold 0 --seed -1", "seed=-1: 0 to"),
    Mistake("train regress --fold 0 --set seed=1.5", "a whole number is needed"),
    Mistake("train regress --fold 0 --set learning_rate=nan", "a finite number"),
    Mistake("train regress --fold 0 --set precision=half", "one of auto, float32, bfloat16, float16"),
    Mistake("train regress --fold 0 --set schedule=step", "one of cosine, linear"),
    Mistake("train cyclegan --fold 0 --set architecture=unet", "needs architecture=resnet or paper-unet"),
    Mistake("train dcgan --fold 0 --set size=256", "a DCGAN paints photos of 32, 64 or 128"),
    Mistake("train dcgan --fold 0 --set test_photos=true", "a DCGAN learns from whole photos alone"),
    Mistake(
        "train pix2pix --fold 0 --set discriminator_layers=5 --set size=64 --set encoder_weights=none",
        "discriminator_layers=5",
    ),
    Mistake(
        "train pix2pix --fold 0 --set discriminator_layers=5 --set size=128 --set first_size=64 "
        "--set encoder_weights=none",
        "first_size=64",
    ),
    Mistake("train regress --fold 0 --set flip=perhaps", "true or false"),
    Mistake("train regress --fold 0 --set decoder_channels=a,b", "whole numbers"),
    Mistake("train regress --fold 0 --set base=telea", "one of fractional"),
    Mistake("train regress --fold 0 --set encoder=tu-nonsense", "nonsense"),
    Mistake("train regress --fold 0 --set encoder_weights=nowhere.pth", "there is no such file"),
    Mistake("train regress --fold 0 --set encoder_weights=imagnet", "Did you mean encoder_weights=imagenet?"),
    Mistake(
        "train regress --fold 0 --set encoder_weights=", "encoder_weights= is empty. Give none, imagenet, or a path"
    ),
    Mistake(
        "train regress --fold 0 --set encoder=convnext_atto --set encoder_weights=none",
        "Did you mean tu-convnext_atto?",
    ),
    Mistake(
        "train regress --fold 0 --set encoder_weights={w}/boxes.pth", "boxes.pth", a_file("boxes.pth", b"no weights")
    ),
    Mistake("train regress pix2pix --fold 0 --as one", "names one source, but 2 experiments"),
    Mistake("train regress --fold 0 --as a/b", "cannot be a file name"),
    Mistake("train regress --fold 0 --as ''", "cannot be a file name"),
    Mistake("train regress --fold 0 --as all", "all is the word for every source"),
    Mistake("train regress --fold 0 --as pix2pix", "pix2pix is the name of another experiment. Take another name"),
    *(
        Mistake(f"train regress --fold 0 --as {name}", f"{name} is the name of a source of ")
        for name in ("sd", "sd-mean", "sd-shrunk", "clip-neighbours")
    ),
    Mistake("train regress --fold 0 --set bottleneck=fourier", "changes nothing: it is architecture=plain's"),
    Mistake("train regress --fold 0 --set adversary=hinge", "there is no discriminator"),
    Mistake("train regress bilstm --fold 0 --set pool=3", "it is method=cyclegan's"),
    Mistake("train bilstm --fold 0 --set encoder_weights=imagenet", "has no timm encoder"),
    Mistake("train regress --fold 0 --epochs 2 --set epochs=3", "--epochs 2 and --set epochs=3 contradict"),
    Mistake("train regress --fold 0 --as harmonic", "Store this one under another name"),
    Mistake("train regress --fold 0 --as good", "Store this one under another name"),
    Mistake("train regress --fold 0 --as unet", "trained with other settings"),
    Mistake("train regress --fold 0 --device nonsense", "--device nonsense"),
    Mistake("train regress --fold 0 --device cuda:99", "--device cuda:99"),
    *(Mistake(f"train regress --fold 0 --max-minutes {wrong}", "--max-minutes") for wrong in (0, "nan", "inf")),
    Mistake("train regress --fold 0", "Run: kit folds", no_folds),
    Mistake("train regress --fold 0", "Run: kit fetch", no_index),
    Mistake("train regress --fold 0 --seed 0", "holds a training with other", run_of_another_kind),
    Mistake("train regress --fold 0", "holds no experiment of this version", run_of_another_kind),
    Mistake("train regress --fold 0", "experiment.json is not JSON", run_that_is_damaged),
    Mistake("train regress --fold 0", "changed after kit wrote it", edited_folds),
]
WEIGHTS = [
    Mistake("weights get nonesuch", "There is no model of timm 'nonesuch'"),
    Mistake("weights get resnet118", "Did you mean resnet18?"),
    Mistake("weights get resnet18.nope", "There is no weights of timm 'resnet18.nope'"),
    Mistake("weights get test_resnet", "cannot be downloaded"),
    Mistake("weights get test_resnet --out {w}/a.pth", "does not end in .safetensors"),
    Mistake("weights check {w}/nowhere.pth", "there is no such file"),
    Mistake("weights check {w}", "is a folder"),
    Mistake("weights check {w}/text.pth", "is not a .safetensors or .pth", a_file("text.pth", b"no weights\n" * 9)),
    Mistake("weights check {w}/cut.safetensors", "not a whole one", a_file("cut.safetensors", bytes(range(99)))),
    Mistake("weights check {w}/empty.bin", "is not a .safetensors or .pth", a_file("empty.bin", b"")),
]
PREDICT = [
    Mistake("predict", "Which source? Name one: kit predict SOURCE"),
    Mistake("predict nonsense", "There is no trained source 'nonsense'. Known: none yet"),
    Mistake("predict regress --fold x", "--fold x"),
    Mistake("predict regress --fold 99", "There is no fold 99"),
    Mistake("predict ../evil", "cannot be a file name"),
    Mistake("predict regress", "Run: kit folds", no_folds),
]
SOURCES = [
    Mistake("sources", "Run: kit folds", no_folds),
    Mistake("sources", "Run: kit fetch", no_index),
]
BLEND = [
    Mistake("blend", "Run: kit fill all", no_sources),
    Mistake("blend nonsense", "There is no source 'nonsense'. Known: good, mean, other, part, unet"),
    Mistake("blend good good", "good is named twice"),
    Mistake("blend good part", "lacks the oof predictions of folds 1. Run: kit train part --fold 1"),
    Mistake("blend good --name a/b", "cannot be a file name"),
    Mistake("blend good --name all", "all is the word for every source"),
    Mistake("blend good --name mean", "mean is the name of a fill"),
    Mistake("blend good other", "kit fill good --force", nan_in_oof),
    Mistake("blend good other", "kit fill good --force", truncated_values),
    Mistake("blend good other", "Delete it, then run: kit import good --oof FILE", manifest_without_keys),
    Mistake("blend unet", "made with other folds", other_folds),
    Mistake("blend", "Run: kit folds", no_folds),
    Mistake("blend", "changed after kit wrote it", edited_folds),
]
UPLOAD = [
    Mistake("upload --dry-run", "Run: kit blend", no_blend),
    Mistake("upload nonsense --dry-run", "There is no blend, source or file 'nonsense'. Known: first, good"),
    Mistake("upload nowhere.csv --dry-run", "nowhere.csv is not a file"),
    Mistake("upload", "--yes, or only check it with --dry-run"),
    Mistake("upload good", "--yes, or only check it with --dry-run"),
    Mistake("upload good --dry-run", "kit fill good --force", nan_in_test),
    Mistake("upload --dry-run", "kit fill good --force", nan_in_test),
    Mistake("upload part --dry-run", "lacks the test predictions of folds 1"),
    Mistake("upload unet --dry-run", "made with other folds", other_folds),
    Mistake("upload --dry-run", "Run: kit blend", other_folds),
    Mistake("upload --dry-run", "first.json is not a blend", broken_blend),
    Mistake("upload --dry-run", "sample_submission.csv is missing", no_sample),
    *(Mistake(f"upload --wait {wrong}", "--wait") for wrong in (-1, "nan", "inf")),
    Mistake("upload {w}/bad.csv --dry-run", "found the header", submission(lambda lines: ["id,value", *lines[1:]])),
    Mistake("upload --dry-run", "ledger.csv has the columns", broken_ledger),
]
CHECK = [
    Mistake("check", "Missing argument"),
    Mistake("check nowhere.csv", "nowhere.csv is not a file"),
    Mistake("check {w}", "is not a file"),
    Mistake("check {w}/bad.csv", "found the header", submission(lambda lines: ["id,value", *lines[1:]])),
    Mistake("check {w}/bad.csv", "is not in the sample", submission(lambda lines: [lines[0], "x,0.5", *lines[2:]])),
    Mistake(
        "check {w}/bad.csv",
        "not in the sample's order",
        submission(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
    ),
    Mistake("check {w}/bad.csv", "the end of the file after 1799 rows", submission(lambda lines: lines[:-1])),
    Mistake("check {w}/bad.csv", "expected the end after 1800 rows", submission(lambda lines: [*lines, lines[-1]])),
    Mistake("check {w}/bad.csv", "line 6: found the value 'nan', expected a finite number", with_value("nan")),
    Mistake("check {w}/bad.csv", "expected a finite number", with_value("inf")),
    Mistake("check {w}/bad.csv", "expected a number", with_value("grey")),
    Mistake("check {w}/bad.csv", "expected a number", with_value("")),
    Mistake("check {w}/bad.csv", "expected a value in [0, 1]", with_value("1.5")),
    Mistake("check {w}/bad.csv", "expected a value in [0, 1]", with_value("-0.1")),
    Mistake("check {w}/bad.csv", "found 3 columns", with_value("0.5,7")),
    Mistake("check {w}/bad.csv", "header", a_file("bad.csv", b"")),
    Mistake("check {w}/bad.csv", "bad.csv", a_file("bad.csv", bytes(range(256)) * 9)),
    Mistake("check {w}/x.npz", ".npz is not a submission: .csv, .csv.gz", a_file("x.npz", zip_of({"a.npy": b"x"}))),
    Mistake("check {w}/bad.zip", "is damaged", a_file("bad.zip", b"PK\x03\x04 and no more")),
    Mistake("check {w}/bad.zip", "holds 2 files", a_file("bad.zip", zip_of({"a.csv": b"", "b.csv": b""}))),
    Mistake("check {w}/bad.csv.gz", "is damaged", a_file("bad.csv.gz", b"\x1f\x8b no")),
    Mistake("check {w}/submissions/first.csv", "sample_submission.csv is missing", no_sample),
    Mistake("check {w}/submissions/first.csv", "kit fetch", no_index),
]
GRADE = [
    Mistake("grade {w}/submissions/first.csv", "--truth"),
    Mistake("grade {w}/submissions/first.csv --truth {w}/nowhere", "is not a folder"),
    Mistake("grade {w}/submissions/first.csv --truth {w}/folds", "lacks 3 of the 3 original test photos"),
    Mistake("grade {w}/submissions/first.csv --truth {w}/truth", "lacks 1 of the 3", half_the_truth),
    Mistake("grade {w}/submissions/first.csv --truth {w}/truth", "no whole picture", cut_truth),
    Mistake("grade nowhere.csv --truth {w}/truth", "nowhere.csv is not a file"),
    Mistake("grade nowhere.csv --truth {w}/nowhere", "nowhere.csv is not a file"),
    Mistake("grade {w}/bad.csv --truth {w}/truth", "kit check", submission(lambda lines: lines[:-1])),
    Mistake("grade {w}/bad.csv --truth {w}/truth", "a finite number", with_value("nan")),
]
FIGURE = [
    Mistake("explore", "Run: kit fetch", no_index),
    Mistake("explore --out {w}/a.pdf", "does not end in .html"),
    Mistake("explore --out ''", "does not end in .html"),
    Mistake("explore --out {w}/folds/a.html", "lies among kit's own files"),
    Mistake("explore nonsense", "nonsense"),
    Mistake("figure --photo nonsense", "nonsense"),
    Mistake("figure --photo 'Cat (24).png'", "Cat (24).png"),  # a test photo
    Mistake("figure nonsense", "nonsense"),
    Mistake("figure", "Run: kit fill all", lambda root: (no_sources(root), no_blend(root))[0]),
    Mistake("figure --count 0", "--count"),
    Mistake("figure --out {w}/a.xyz", "does not end in .png"),
    Mistake("figure --out {w}/folds", "lies among kit's own files"),
    Mistake("figure --out ''", "does not end in .png"),
    Mistake("figure --truth {w}/nowhere", "nowhere"),
    Mistake("figure good", "not finite", nan_in_oof),
    Mistake("figure", "Run: kit fetch", no_index),
]
NO_FOLDER = [
    Mistake(line, "is a file and not a folder. Give the folder that holds the work: --workspace DIR", root_is_a_file)
    for line in (
        *("fetch --sample", "folds", "fill mean", "train regress --fold 0", "predict regress", "sd status", "demo"),
        *("clip embed", "sources", "blend", "upload --dry-run", "submissions", "check a.csv", "import a --oof a.csv"),
        *("export good", "tune regress", "grade a.csv --truth b", "figure"),
    )
]
OTHER = [
    Mistake("tune regress --as pix2pix", "pix2pix is the name of another experiment"),
    Mistake("submissions", "ledger.csv has the columns", broken_ledger),
    Mistake("nonsense", "No such command 'nonsense'"),
    Mistake("fill mean --nonsense", "No such option"),
    Mistake("fill --force=maybe mean", "--force"),
    Mistake("folds", "Name one: --competition SLUG", two_competitions),
    Mistake("--competition a/b folds", "cannot be a file name"),
    Mistake("--competition titanic folds", "Run: kit fetch"),
    Mistake("--nonsense folds", "No such option"),
    Mistake("demo --seed x", "--seed"),
    Mistake("sources", "kit fetch", changed_index),
]

MISTAKES = [
    *FETCH,
    *FOLDS,
    *FILL,
    *TRAIN,
    *WEIGHTS,
    *PREDICT,
    *SOURCES,
    *BLEND,
    *UPLOAD,
    *CHECK,
    *GRADE,
    *FIGURE,
    *NO_FOLDER,
    *OTHER,
]
