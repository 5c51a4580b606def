"""A plain PyTorch loop with kit's folds, boxes, fills and store: its source stands beside the others, and is blended.

python scripts/examples/own_loop.py WORKSPACE          # after kit fetch, kit folds and kit fill all
python scripts/examples/own_loop.py WORKSPACE 60 128   # epochs, and the side at which photos are shown
"""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

import kit

NAME = "own-loop"


def network(width: int = 32) -> nn.Sequential:
    """Return a small network: the filled photo and its hole in, a residual over the photo out."""
    layers: list[nn.Module] = [nn.Conv2d(4, width, 3, padding=1), nn.GELU()]
    for dilation in (2, 4, 8):
        layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.GELU()]
    last = nn.Conv2d(width, 3, 3, padding=1)
    nn.init.zeros_(last.weight)  # begins as the fill itself
    return nn.Sequential(*layers, last)


def main(folder: str, epochs: int = 10, size: int = 64) -> None:
    """Train a network on each fold, store what it predicts, and blend it with what is there."""
    project = kit.open(folder)
    shown = {"size": size, "first_size": 0, "batch_size": 8}
    test = project.test("regress", **shown)
    for fold in range(project.opened.folds.k):
        torch.manual_seed(fold)
        started, net = time.perf_counter(), network()
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
        batches = project.batches("regress", fold=fold, epochs=epochs, **shown)
        for batch in batches:
            residual = net(torch.cat([batch.filled, batch.hole], 1))
            error = (batch.filled + residual - batch.target).square() * batch.weight
            loss = error.sum() / batch.weight.sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        def predict(filled: torch.Tensor, hole: torch.Tensor, net: nn.Module = net.eval()) -> torch.Tensor:
            return net(torch.cat([filled, hole], 1))

        written = project.predictions.write(
            NAME,
            fold,
            oof=project.validation("regress", fold=fold, **shown).to_values(predict),
            test=test.to_values(predict),
            trained_on=batches,
            settings={"epochs": epochs, **shown},
            seconds=time.perf_counter() - started,
        )
        print(f"fold {fold}: RMSE {written.rmse:.4f}")
    print(project.sources(), project.blend(), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".", *map(int, sys.argv[2:4]))
