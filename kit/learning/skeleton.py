"""The file that `kit new model` writes: a small U-Net with comments, to be changed. Plain text, no import of torch."""

SKELETON = '''"""A model of your own. Try it, train it:

    kit check-model {file}:Net
    kit train {file}:Net --fold 0 --try
    kit train {file}:Net --fold all --set width=48 --set depth=2 --as {stem}48

Keep it in this one file (installed packages may be imported): kit copies the file into each run, so that predictions
and further folds do not need this one any more. A changed file is another model.
"""

import torch
from torch import nn


class Net(nn.Module):
    """A small U-Net. It is given (N, 6, S, S): the photo with its holes filled, about zero (3 channels), the hole
    (the share of each pixel that is hidden), and row and column from -1 to 1. It gives (N, 3, S, S): what is to be
    added to the filled photo, whose values are from 0 to 1. Hidden pixels alone are scored."""

    # plain numbers with defaults; width is a setting of kit too (--set width=48 changes both), depth is the model's own
    def __init__(self, width: int = 32, depth: int = 3):
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.first = block(6, widths[0])
        self.down = nn.ModuleList(block(a, b) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(block(a + b, a) for a, b in zip(widths, widths[1:]))
        self.last = nn.Conv2d(widths[0], 3, 1)
        nn.init.zeros_(self.last.weight)  # so that training begins at the filled photo, and not at noise
        nn.init.zeros_(self.last.bias)

    def forward(self, x):
        x = self.first(x)
        levels = []
        for down in self.down:
            levels.append(x)
            x = down(nn.functional.avg_pool2d(x, 2))
        for up, level in zip(reversed(self.up), reversed(levels)):
            x = nn.functional.interpolate(x, size=level.shape[2:], mode="bilinear")
            x = up(torch.cat([x, level], dim=1))
        return self.last(x)


def block(inputs, outputs):
    # group norm: what one photo gives does not depend on the others in its batch, as batch norm would while training
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs), nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs), nn.SiLU(),
    )


def loss(prediction, target, weight):
    """Not used unless you name it: kit train {file}:Net --fold 0 --set loss={file}:loss

    prediction and target are (N, 3, S, S), weight is (N, 1, S, S): 1 where a pixel is hidden."""
    return ((prediction - target).abs() * weight).sum() / (3 * weight.sum()).clamp(min=1)


def experiment():
    """A model with its settings: kit train {file}:experiment --fold 0

    Any setting that kit train --list shows, any argument of the model, and base_experiment: an experiment of kit to
    begin with."""
    return {{"model": Net, "depth": 2, "size": 64, "epochs": 30, "learning_rate": 2e-3, "box_copies": 4}}
'''
