"""Take a fetched workspace to another machine in a third of its bytes, for trainings there: whole photos and weights.

    python scripts/bench/carry.py pack --workspace ws --to carried --model tf_efficientnet_lite0
    python scripts/bench/carry.py unpack --workspace ws --to carried       # on the other machine
    KIT_WEIGHTS=carried/weights kit -w ws train --fold all

What is carried are the whole training photos as they were fetched (made smaller by jpegtran where that is installed,
which changes no pixel), index, folds, and a model's weights. The masked photos are made of
the whole ones, which differ by JPEG's second round: known pixels there are better than those of the competition, so
predictions are made where the fetched data is. The test photos stay behind: grey ones stand in for them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.imaging.holes import hole_of
from kit.pretrained.weights.managing import get_weights

SMALL = ("manifest.json", "test_estimated.npy", "train_estimated.npy", "train_extremes.npy")


def smaller(path: Path) -> bytes:
    """Return a JPEG file in fewer bytes, every pixel the same."""
    whole = path.read_bytes()
    if shutil.which("jpegtran") is None:
        return whole
    made = subprocess.run(
        ["jpegtran", "-copy", "none", "-arithmetic", "-progressive", path], capture_output=True
    ).stdout
    return made if 0 < len(made) < len(whole) else whole


def pack(workspace: Workspace, folder: Path, model: str) -> None:
    """Write what is carried."""
    project = Project(workspace)
    index = workspace.index.parent
    (folder / "pack").mkdir(parents=True, exist_ok=True)
    (folder / "folds").mkdir(exist_ok=True)
    for name in ("index.csv", "index.json"):
        shutil.copy(index / name, folder / name)
    for path in workspace.folds.parent.glob(f"{workspace.folds.stem}.*"):
        shutil.copy(path, folder / "folds" / path.name)
    for name in SMALL:
        shutil.copy(workspace.pack / name, folder / "pack" / name)
    paths = [workspace.raw / row.target for row in project.index.train]
    with ThreadPoolExecutor() as threads:
        photos = list(threads.map(smaller, paths))
    ends = np.cumsum([len(photo) for photo in photos])
    np.savez(folder / "photos.npz", data=np.frombuffer(b"".join(photos), np.uint8), ends=ends)
    if model:
        (folder / "weights").mkdir(exist_ok=True)
        print(get_weights(model, folder / "weights" / f"{model}.safetensors", say=print).found.line)


def unpack(workspace: Workspace, folder: Path, jpegs: bool) -> None:
    """Make a workspace of what was carried."""
    index = workspace.index.parent
    workspace.pack.mkdir(parents=True)
    workspace.folds.parent.mkdir(parents=True, exist_ok=True)
    for name in ("index.csv", "index.json"):
        shutil.copy(folder / name, index / name)
    for path in (folder / "folds").iterdir():
        shutil.copy(path, workspace.folds.parent / path.name)
    for name in SMALL:
        shutil.copy(folder / "pack" / name, workspace.pack / name)
    carried = np.load(folder / "photos.npz")
    data, ends = carried["data"], carried["ends"]
    rows = Project(workspace).index
    with ThreadPoolExecutor() as threads:
        whole = np.stack(list(threads.map(lambda piece: cv2.imdecode(piece, 1)[..., ::-1], np.split(data, ends[:-1]))))
    np.save(workspace.pack / "train_target.npy", whole)
    for photo, row in zip(
        whole, rows.train if jpegs else (), strict=jpegs
    ):  # for what reads JPEGs, such as scripts/bench/step.py
        path = workspace.raw / row.target
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    for photo, row in zip(whole, rows.train, strict=True):
        photo[hole_of(row.boxes, *photo.shape[:2])] = 0
    np.save(workspace.pack / "train_image.npy", whole)
    grey = np.full((len(rows.test), *whole.shape[1:]), 128, np.uint8)
    for photo, row in zip(grey, rows.test, strict=True):
        photo[hole_of(row.boxes, *photo.shape[:2])] = 0
    np.save(workspace.pack / "test_image.npy", grey)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True, help="the folder that is carried")
    parser.add_argument("--no-jpegs", action="store_true", help="write no photos besides the pack")
    parser.add_argument("--model", default="", help="whose weights to take along, such as tf_efficientnet_lite0")
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    if options.what == "pack":
        pack(workspace, options.to, options.model)
    else:
        unpack(workspace, options.to, not options.no_jpegs)


if __name__ == "__main__":
    main()
