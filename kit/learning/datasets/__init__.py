"""Training batches, from the pack to a network's input by tensor operations alone. Knows no network.

`batches.py` makes a training's batches, `augment.py` and `boxes.py` change and hide, `inputs.py` stacks the channels.
"""

from kit.learning.datasets.batches import Batch, BatchShard, MaskedPhotos, TrainingPhotos
from kit.learning.datasets.boxes import coverage, coverage_of
from kit.learning.datasets.inputs import INPUT_CHANNELS, network_input

__all__ = [
    "INPUT_CHANNELS",
    "Batch",
    "BatchShard",
    "MaskedPhotos",
    "TrainingPhotos",
    "coverage",
    "coverage_of",
    "network_input",
]
