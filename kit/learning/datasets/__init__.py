"""Training batches, from the pack to a network's input by tensor operations alone. Knows no network.

`batches.py` makes a training's batches, `augment.py`, `boxes.py` and `shapes.py` change and hide, `inputs.py` stacks
the channels.
"""

from kit.learning.datasets.batches import Batch, BatchShard, MaskedPhotos, TrainingPhotos
from kit.learning.datasets.boxes import area_share, coverage, coverage_of, hidden_share
from kit.learning.datasets.inputs import INPUT_CHANNELS, network_input
from kit.learning.datasets.shapes import fresh_holes

__all__ = [
    "INPUT_CHANNELS",
    "Batch",
    "BatchShard",
    "MaskedPhotos",
    "TrainingPhotos",
    "area_share",
    "coverage",
    "coverage_of",
    "fresh_holes",
    "hidden_share",
    "network_input",
]
