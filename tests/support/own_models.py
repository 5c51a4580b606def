"""Python files as users write them: a U-Net of thirty lines, and ways to get one wrong."""

from __future__ import annotations

from pathlib import Path

import kit.learning.experiments.code
from kit.core.workspace import Workspace
from kit.learning.experiments import own_experiment, stored_experiment
from support.toy import SLUG
from support.trainings import child

UNET = """
import torch
import torch.nn.functional as F
from torch import nn


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs), nn.SiLU())


class Net(nn.Module):
    def __init__(self, width: int = 4, depth: int = 2, slope=0.5, skip: bool = True):
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.first = block(6, width)
        self.down = nn.ModuleList(block(a, b) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(block(a + b, a) for a, b in zip(widths, widths[1:]))
        self.last = nn.Conv2d(width, 3, 1)
        self.slope, self.skip = slope, skip

    def forward(self, x):
        x, levels = self.first(x), []
        for down in self.down:
            levels.append(x)
            x = down(F.avg_pool2d(x, 2))
        for up, level in zip(reversed(self.up), reversed(levels)):
            x = F.interpolate(x, size=level.shape[2:])
            x = up(torch.cat([x, level * self.skip], 1))
        return self.slope * self.last(x)


def small_loss(prediction, target, weight):
    return ((prediction - target).abs() * weight).mean()


def experiment():
    return {"base_experiment": "regress", "model": Net, "depth": 1, "size": 32, "loss": small_loss, "epochs": 1}
"""

HEAD = "import torch\nfrom torch import nn\n"


def written(path: Path, text: str = UNET) -> Path:
    """Write a file of a user's."""
    path.write_text(text, encoding="utf-8")
    return path


def forget() -> None:
    """Forget what files were read and run, as a new process would."""
    kit.learning.experiments.code._read.clear()
    kit.learning.experiments.code._modules.clear()


def own_child(root: str, mine: str, settings: list[str], moment: str | None) -> None:
    """Train fold 0 of a file's `Net` in this process, or of what its run has where the file is gone; die at a
    moment."""
    workspace = Workspace(Path(root), SLUG)
    one = own_experiment(workspace, f"{mine}:Net", settings) if Path(mine).exists() else None
    stored = one or stored_experiment(workspace, "net")
    assert stored is not None
    child(root, stored, moment, 0.0, 0)


def net(forward: str = "return self.c(x)", *, init: str = "pass", arguments: str = "", more: str = "") -> str:
    """A network of one convolution, with something changed. `forward` is line 9, `init` line 7."""
    return (
        f"{HEAD}class Net(nn.Module):\n    def __init__(self{arguments}):\n        super().__init__()\n"
        f"        self.c = nn.Conv2d(6, 3, 1)\n        {init}\n    def forward(self, x):\n        {forward}\n{more}"
    )
