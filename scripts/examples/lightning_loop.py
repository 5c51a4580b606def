"""A LightningModule trained on kit's batches, validated by the competition's score, stored and blended.

pip install pytorch-lightning. After kit fetch, kit folds and kit fill all:
python scripts/examples/lightning_loop.py [WORKSPACE [EPOCHS [SIDE]]]
"""

import sys
import time

import pytorch_lightning as lightning
import torch
from torch import nn

import kit


class Network(lightning.LightningModule):
    """Two convolutions at half the size between two at full size; a residual over the filled photo comes out."""

    def __init__(self, validation, width: int = 24) -> None:
        super().__init__()
        self.validation, self.curve = validation, []
        self.layers = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1, stride=2), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=4, dilation=4), nn.GELU(),
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(width, 3, 3, padding=1),
        )  # fmt: skip
        nn.init.zeros_(self.layers[-1].weight)  # begins as the fill itself

    def forward(self, filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([filled, hole], 1).to(self.device))

    def training_step(self, batch, number: int) -> torch.Tensor:
        error = (batch.filled + self(batch.filled, batch.hole) - batch.target).square() * batch.weight
        return error.sum() / batch.weight.sum()

    def on_train_epoch_end(self) -> None:
        self.curve.append(self.validation.rmse(self))  # the fold's photos, at full size, as a blend will see them
        self.log("fold_rmse", self.curve[-1], prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 1e-3)


def main(folder: str, epochs: int = 10, size: int = 64) -> None:
    """Train a network on each fold, store what it predicts, and blend it with what is there."""
    project = kit.open(folder)
    shown = {"size": size, "batch_size": 8}
    test = project.test("regress", **shown)
    for fold in range(project.opened.folds.k):
        lightning.seed_everything(fold, verbose=False)
        started, validation = time.perf_counter(), project.validation("regress", fold=fold, **shown)
        batches = project.batches("regress", fold=fold, **shown)  # each pass over them is an epoch with fresh holes
        net = Network(validation)
        trainer = lightning.Trainer(
            max_epochs=epochs, logger=False, enable_checkpointing=False, enable_model_summary=False, devices=1
        )
        trainer.fit(net, batches)
        written = project.predictions.write(
            "lightning",
            fold,
            oof=validation.to_values(net),
            test=test.to_values(net),
            trained_on=batches,
            settings={"epochs": epochs, **shown},
            seconds=time.perf_counter() - started,
        )
        print(written, *(f"{rmse:.4f}" for rmse in net.curve))
    print(project.sources(), project.blend(), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".", *map(int, sys.argv[2:4]))
