"""Every path of the kit, in one place. Knows no file's content but where the competition's own files were left.

A workspace is a folder that holds one competition's work:

    data/<slug>/raw/            the competition's own files, as extracted; absent where they are used in place
    data/<slug>/index.csv       one row a photo
    data/<slug>/fetched.json    how the data came: from Kaggle, --from or --sample; copied or used in place
    data/<slug>/pack/           photos as memory-mapped uint8 arrays
    data/<slug>/extra/<digest>/ extra photos to train on, brought to their size
    folds/<slug>.csv, .json     fold of each training photo, and the recipe
    runs/<experiment>/fold_<k>/ experiment.json, model.safetensors, log.csv, checkpoints; fold_full: of all photos
                                progress.png, strip.png: for people
    tuning/<name>/, <name>.toml a study of settings, and the best it found
    predictions/<source>/<split>/<part>.npy, .json
    inputs/<digest>/            other test photos and what is predicted for them, a workspace of its own
    sd/<recipe>/                every sample of Stable Diffusion
    embeddings/<model>/         vectors of photos and texts
    blends/<name>.json
    submissions/<name>.csv, ledger.csv
    report/                     pages and pictures
    .bucket/                    what commands with --bucket note of files that they have sent
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit.errors import UsageError

DEFAULT_SLUG = "photo-reconstruction"
Split = Literal["train", "test"]
PredictionSplit = Literal["oof", "test"]
Fold = int | Literal["full"]
"""Which model of a source: the one that does not see a fold, or the full one, which sees every training photo."""

FULL: Literal["full"] = "full"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
NAMED_SO = "begin with a letter or digit, then letters, digits and . _ + - (at most 100, no blank, no slash)"
"""How a name has to be."""


def is_name(name: str) -> bool:
    """Return whether `name` can be a file's name everywhere, and so a source's."""
    return _NAME.fullmatch(name) is not None


def checked_name(kind: str, name: str) -> str:
    """Return `name` if it can be a file's name everywhere, else raise `UsageError`."""
    if not is_name(name):
        raise UsageError(f"{kind} {name!r} cannot be a file name: {NAMED_SO}.")
    return name


_WORDS = {"all": "every source", "blend": "a blend", "hidden": "what is given", "truth": "the originals"}
"""Names that no source may have, and what they mean in tables and pictures."""


def checked_source_name(called: str, name: str) -> str:
    """Return `name` if a source may have it: a file's name, and not the word for all of them.

    Args:
        called: what the message calls it, such as `--as`.

    Raises:
        UsageError: it may not.
    """
    meaning = _WORDS.get(checked_name(called, name))
    if meaning is not None:
        raise UsageError(f"{called} {name}: {name} is the word for {meaning}. Take another name.")
    return name


@dataclass(frozen=True)
class Workspace:
    """Paths below one root folder for one competition."""

    root: Path
    slug: str = DEFAULT_SLUG

    def __post_init__(self) -> None:
        checked_name("The competition", self.slug)

    @property
    def data(self) -> Path:
        """Return the folder of the competition's files, index and pack."""
        return self.root / "data" / self.slug

    @property
    def raw(self) -> Path:
        """Return the folder of the competition's own files: unpacked here, or where they are used in place."""
        return self.in_place or self.data / "raw"

    @property
    def in_place(self) -> Path | None:
        """Return the folder that `kit fetch` uses in place, also when it is gone; None where the files were copied."""
        try:
            noted = json.loads(self.fetched.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        is_noted = isinstance(noted, dict) and noted.get("in_place") is True and isinstance(noted.get("from"), str)
        return Path(noted["from"]) if is_noted else None

    @property
    def fetched(self) -> Path:
        """Return the note of how the data came."""
        return self.data / "fetched.json"

    @property
    def downloads(self) -> Path:
        """Return the folder of archives that were downloaded."""
        return self.data / "download"

    @property
    def index(self) -> Path:
        """Return the table of all photos."""
        return self.data / "index.csv"

    @property
    def pack(self) -> Path:
        """Return the folder of all photos as arrays."""
        return self.data / "pack"

    @property
    def extra(self) -> Path:
        """Return the folder of extra photos as arrays."""
        return self.data / "extra"

    @property
    def folds(self) -> Path:
        """Return the table of folds; its recipe lies beside it as `.json`."""
        return self.root / "folds" / f"{self.slug}.csv"

    @property
    def runs(self) -> Path:
        """Return the folder of all trainings."""
        return self.root / "runs"

    def run(self, experiment: str, fold: Fold) -> Path:
        """Return the folder of one experiment's training on one fold, or on all photos."""
        return self.runs / checked_name("The experiment", experiment) / f"fold_{fold}"

    def study(self, name: str) -> Path:
        """Return the folder of one study of settings."""
        return self.root / "tuning" / checked_name("The study", name)

    def tuned(self, name: str) -> Path:
        """Return the settings that a study found best, as TOML."""
        return self.study(name).with_name(f"{name}.toml")

    @property
    def predictions(self) -> Path:
        """Return the folder of all sources' predictions."""
        return self.root / "predictions"

    @property
    def photo_files(self) -> tuple[str, ...]:
        """Return patterns of the files, below the root, that hold the photos and their folds."""
        data = f"data/{self.slug}"
        return (*(f"{data}/*.{kind}" for kind in ("csv", "json", "py")), f"{data}/pack/**/*", f"folds/{self.slug}.*")

    def source_files(self, name: str) -> tuple[str, ...]:
        """Return patterns of the files, below the root, that hold a source's predictions."""
        return (f"predictions/{checked_name('The source', name)}/**/*",)

    def fold_files(self, experiment: str, fold: Fold) -> tuple[str, ...]:
        """Return patterns of the files, below the root, of a training on one fold, of what it replaces and predicts."""
        name = checked_name("The experiment", experiment)
        runs = (f"runs/{name}/{folder}/**/*" for folder in (f"fold_{fold}", f".fold_{fold}.replaced"))
        return (*runs, f"predictions/{name}/*/fold_{fold}.*")

    def source(self, name: str, split: PredictionSplit) -> Path:
        """Return the folder of one source's predictions on one split."""
        return self.predictions / checked_name("The source", name) / split

    @property
    def blends(self) -> Path:
        """Return the folder of all blends."""
        return self.root / "blends"

    def blend(self, name: str) -> Path:
        """Return the JSON of one blend."""
        return self.blends / f"{checked_name('The blend', name)}.json"

    @property
    def submissions(self) -> Path:
        """Return the folder of all submissions."""
        return self.root / "submissions"

    def submission(self, name: str) -> Path:
        """Return the CSV of one submission."""
        return self.submissions / f"{checked_name('The submission', name)}.csv"

    @property
    def ledger(self) -> Path:
        """Return the table of what was submitted and graded."""
        return self.submissions / "ledger.csv"

    @property
    def report(self) -> Path:
        """Return the folder of pages and pictures."""
        return self.root / "report"


_OWN = ("data", "folds", "runs", "tuning", "predictions", "inputs", "sd", "embeddings", "blends", "bundles")


def check_output(workspace: Workspace, path: Path, option: str = "--out", *, home: str = "") -> None:
    """Raise `UsageError` for a file or folder that would lie among what kit keeps, or replace the ledger.

    Args:
        option: which one names it.
        home: the one of kit's own folders in which such a thing may lie.
    """
    if _is_given(workspace, path):
        raise UsageError(f"{option} {path} is a file of the competition, which is read there. Choose another name.")
    if _is_own(workspace, path, home):
        better = Path(path.name)
        if _is_own(workspace, better, home):  # typed there, or one of kit's own names
            better = workspace.root / (f"my-{path.name}" if path.name in _OWN else path.name)
        raise UsageError(
            f"{option} {path} lies among kit's own files. Choose another place: {option} {shlex.quote(str(better))}"
        )


def _is_given(workspace: Workspace, path: Path) -> bool:
    """Return whether a file is one of the competition's, which is read where it is: a photo, a mask, a table."""
    target, folder = _whole(path), workspace.in_place
    if folder is None or not target.is_file() or not target.is_relative_to(_whole(folder)):
        return False
    name = target.relative_to(_whole(folder)).as_posix()
    try:
        noted = json.loads((workspace.data / "layout.json").read_text(encoding="utf-8")).get("options", {})
    except (OSError, ValueError, AttributeError):
        noted = {}
    folders = [one for one in noted.values() if isinstance(one, str) and one]
    if any(name == one or name.startswith(f"{one.rstrip('/')}/") for one in folders):
        return True
    try:
        return name in workspace.index.read_text(encoding="utf-8")
    except OSError:
        return False


def _is_own(workspace: Workspace, path: Path, home: str) -> bool:
    target, root = (_whole(one) for one in (path, workspace.root))
    parts = target.relative_to(root).parts if target.is_relative_to(root) else ()
    if target == _whole(workspace.ledger):
        return True
    return bool(parts) and parts[0] in _OWN and parts[0] != home


def _whole(path: Path) -> Path:
    with contextlib.suppress(RuntimeError):  # a home folder that cannot be told
        path = path.expanduser()
    return path.absolute().resolve()
