"""A plain PyTorch loop with kit's folds, boxes, fills and store: its source stands beside the others, and is blended.

After kit fetch, kit folds and kit fill all: python scripts/examples/own_loop.py [WORKSPACE [EPOCHS [SIDE]]]
"""

import sys
import time

import torch
from torch import nn

import kit


class Network(nn.Module):
    """A small network: the filled photo and its hole in, a residual over the photo out."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(4, width, 3, padding=1), nn.GELU()]
        for dilation in (2, 4, 8):
            layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))
        nn.init.zeros_(self.layers[-1].weight)  # begins as the fill itself

    def forward(self, filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([filled, hole], 1))


def main(folder: str, epochs: int = 10, size: int = 64) -> None:
    """Train a network on each fold, store what it predicts, and blend it with what is there."""
    project = kit.open(folder)
    shown = {"size": size, "batch_size": 8}
    test = project.test("regress", **shown)
    for fold in range(project.opened.folds.k):
        torch.manual_seed(fold)
        started, net = time.perf_counter(), Network()
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
        batches = project.batches("regress", fold=fold, epochs=epochs, **shown)
        for batch in batches:
            error = (batch.filled + net(batch.filled, batch.hole) - batch.target).square() * batch.weight
            optimizer.zero_grad()
            (error.sum() / batch.weight.sum()).backward()
            optimizer.step()
        written = project.predictions.write(
            "own-loop",
            fold,
            oof=project.validation("regress", fold=fold, **shown).to_values(net),
            test=test.to_values(net),
            trained_on=batches,
            settings={"epochs": epochs, **shown},
            seconds=time.perf_counter() - started,
        )
        print(written)
    print(project.sources(), project.blend(), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".", *map(int, sys.argv[2:4]))
