"""Networks: one file an architecture, plain numbers in.

`build_generator` and `build_discriminator` read an `Experiment`, and are the only ones here that do.
"""

from __future__ import annotations

from torch import nn

from kit.datasets import INPUT_CHANNELS
from kit.experiments import Experiment
from kit.models.patchgan import PatchGAN
from kit.models.residual import ResidualGenerator
from kit.models.weights import load_encoder_weights, widen_first_convolution


def build_generator(experiment: Experiment, *, pretrained: bool = True) -> ResidualGenerator:
    """The generator: `(N, 6, S, S)` (`kit.datasets.network_input`) to a residual `(N, 3, S, S)`.

    Args:
        pretrained: False builds the shape alone, for weights that are loaded afterwards.

    Raises:
        UsageError: segmentation-models-pytorch or timm know no such encoder, or it cannot have that decoder.
        TrainingError: the encoder's weights cannot be had.
    """
    wants_weights = pretrained and experiment.encoder_weights != "none"
    generator = ResidualGenerator(
        experiment.architecture,
        experiment.encoder,
        experiment.decoder_channels,
        in_channels=3 if wants_weights else INPUT_CHANNELS,
        dropout=experiment.dropout,
    )
    if wants_weights:
        load_encoder_weights(generator.network.encoder, experiment.encoder, experiment.encoder_weights)
        widen_first_convolution(generator.network.encoder, INPUT_CHANNELS)
    return generator


def build_discriminator(experiment: Experiment) -> nn.Module | None:
    """The PatchGAN on (filled photo, hole, candidate), or None when nothing is adversarial."""
    if not experiment.adversarial_weight:
        return None
    return PatchGAN(3 + 1 + 3, experiment.discriminator_width, experiment.discriminator_layers)
