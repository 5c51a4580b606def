"""A competition from its archive to a submission, each long command with the workspace in which it can run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.crashes import End, Fault, run, tree
from support.toy import make_toy_files
from support.trainings import flags

NETWORK = f"{flags('regress')} --epochs 2 --device cpu"
LINES = {
    "fetch": "--competition toy fetch --from {raw}",
    "folds": "folds --k 2",
    "fill": "fill mean telea harmonic",
    "train": f"train regress --fold all {NETWORK}",
    "full": f"train regress --fold full {NETWORK}",
    "again": f"train regress --fold 0 {NETWORK} --force",
    "predict": "predict regress --fold all --force --device cpu",
    "embed": "clip embed --model thumbnail",
    "neighbours": "clip neighbours",
    "export": "export mean --out {root}/mean.npz",
    "import": "import other --oof {root}/mean.npz --test {root}/mean.npz",
    "blend": "blend mean telea harmonic regress --name mixed --plots none",
    "stack": "blend mean harmonic regress --stack --name deep --plots none",
    "figure": "figure mean",
    "upload": "upload mixed --dry-run",
    "tune": f"tune regress {flags('regress')} --set epochs=2 --device cpu --space learning_rate=0.001:0.01 --trials 2",
    "bundle": "bundle mixed --out {root}/bundle",
    "input": "predict mixed --input {raw} --out {root}/other.csv",
}
"""Long commands, in an order in which each finds what it needs."""


@dataclass
class Step:
    """One command of the chain."""

    name: str
    words: tuple[str, ...]
    before: Path
    """The workspace in which it runs; not to be written to."""
    after: dict[str, str]
    """What it leaves when nothing disturbs it, as `support.crashes.tree` names it."""
    changes: int
    """How many changes it makes to files."""
    root: Path
    """Where copies of the workspace lie, so that paths in manifests are the same."""

    def fresh(self) -> Path:
        """Return the workspace before the command, to be written to."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.before, self.root)
        return self.root

    def left(self) -> dict[str, str]:
        """Return what lies there now."""
        return tree(self.root, is_of_one_run)

    def run(self, forks: Any, fault: Fault | None = None) -> End:
        """Run the command once."""
        return run(forks, self.root, self.words, fault)


@dataclass
class Chain:
    """All steps, made one after the other as they are asked for."""

    forks: Any
    folder: Path
    steps: dict[str, Step] = field(default_factory=dict)

    def until(self, name: str) -> Step:
        """Return a step; those before it are made first."""
        for one in LINES:
            if one not in self.steps:
                self.steps[one] = self._make(one)
            if one == name:
                break
        return self.steps[name]

    def all(self) -> Iterator[Step]:
        """Give all steps."""
        return (self.until(name) for name in LINES)

    def _make(self, name: str) -> Step:
        root, raw = self.folder / "w", self.folder / "raw"
        if not raw.is_dir():
            made = make_toy_files(self.folder / "made", photos=12, test=4, size=48, box=12, duplicates=2)
            shutil.move(made.raw, raw)
            root.mkdir()
        else:
            last = list(self.steps.values())[-1] if self.steps else None
            if last is not None:
                shutil.rmtree(root, ignore_errors=True)
                shutil.copytree(self.folder / f"after-{last.name}", root)
        before = shutil.copytree(root, self.folder / f"before-{name}", dirs_exist_ok=True)
        words = tuple(LINES[name].format(root=root, raw=raw).split())
        end = run(self.forks, root, words)
        assert end.code == 0, (name, end.err)
        shutil.copytree(root, self.folder / f"after-{name}")
        return Step(name, words, before, tree(root, is_of_one_run), end.changes, root)


def is_of_one_run(name: str) -> bool:
    """Return whether a file is no result but a cache, or has moments or digests of such files in it."""
    return name.startswith(("tuning/regress-tuned/journal", "blends/.cache/", "inputs/", "bundle/notebook")) or (
        name == "bundle/bundle.json" or name.endswith(("/progress.png", "/strip.png"))
    )
