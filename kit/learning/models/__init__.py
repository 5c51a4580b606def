"""Networks: one file an architecture, plain numbers in.

`build_generator` and `build_discriminator` read an `Experiment`, and are the only ones here that do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from kit.learning.datasets import INPUT_CHANNELS
from kit.learning.experiments import SMP_ARCHITECTURES, Experiment
from kit.learning.models.dcgan import DCGANDiscriminator, DCGANGenerator
from kit.learning.models.layers.film import Film
from kit.learning.models.layers.photo import PhotoGenerator
from kit.learning.models.layers.standardised import Standardised
from kit.learning.models.light import LightUNet
from kit.learning.models.own import build_own
from kit.learning.models.paper_unet import PaperUNet
from kit.learning.models.partialconv import PartialConvUNet
from kit.learning.models.patchgan import PatchGAN
from kit.learning.models.plain import PlainUNet
from kit.learning.models.renet import ReNet
from kit.learning.models.resnet import ResnetGenerator
from kit.learning.models.semantic import SemanticInpainter
from kit.learning.models.smp import ResidualGenerator
from kit.pretrained.weights.encoders import options_for, pretrained_mean_std, timm_encoder
from kit.pretrained.weights.loading import load_encoder_weights, widen_first_convolution


def build_generator(experiment: Experiment, *, pretrained: bool = True) -> nn.Module:
    """Build the generator: `(N, 6, S, S)` (`kit.learning.datasets.network_input`) to a residual `(N, 3, S, S)`.

    Args:
        pretrained: False builds the shape alone, for weights that are loaded afterwards.

    Raises:
        UsageError: segmentation-models-pytorch or timm know no such encoder, or it cannot have that decoder; a model of
            the user's own cannot be built.
        TrainingError: the encoder's weights cannot be had.
    """
    network: Any = _network(experiment, pretrained)
    if experiment.conditioned:  # made last: the same seed gives the other weights that it gives without
        network.film = Film(network.coarsest)
    return Standardised(network) if experiment.standardised else network


def _network(experiment: Experiment, pretrained: bool) -> nn.Module:
    if experiment.architecture in SMP_ARCHITECTURES:
        return _on_an_encoder(experiment, pretrained)
    if experiment.architecture == "light":
        return _light(experiment, pretrained)
    if experiment.architecture == "own":
        return build_own(experiment)
    return _OWN[experiment.architecture](experiment)


def build_discriminator(experiment: Experiment, *, conditional: bool = True) -> PatchGAN | None:
    """Build the PatchGAN on (filled photo, hole, candidate), or the candidate alone; None when nothing is
    adversarial."""
    if not experiment.adversarial_weight:
        return None
    channels = 3 + 1 + 3 if conditional else 3
    return PatchGAN(
        channels, experiment.discriminator_width, experiment.discriminator_layers, norm=experiment.discriminator_norm
    )


def _on_an_encoder(experiment: Experiment, pretrained: bool) -> nn.Module:
    wants_weights = pretrained and experiment.encoder_weights != "none"
    options = options_for(experiment.encoder, experiment.size)
    generator = ResidualGenerator(
        experiment.architecture,
        experiment.encoder,
        experiment.decoder_channels,
        in_channels=3 if wants_weights else INPUT_CHANNELS,
        dropout=experiment.dropout,
        options=options,
    )
    if wants_weights:
        _load(generator.network.encoder, experiment, options)
        widen_first_convolution(generator.network.encoder, INPUT_CHANNELS)
    return generator


def _light(one: Experiment, pretrained: bool) -> nn.Module:
    encoder = timm_encoder(one.encoder, one.size)
    if pretrained and one.encoder_weights != "none":
        _load(encoder, one, options_for(one.encoder, one.size))
    mean, std = pretrained_mean_std(one.encoder)
    return LightUNet(
        encoder.model,
        one.decoder_channels,
        frozen=one.frozen,
        dropout=one.dropout,
        size=one.size,
        mean=mean,
        std=std,
    )


def _load(encoder: Any, one: Experiment, options: dict[str, Any]) -> None:
    load_encoder_weights(encoder, one.encoder, one.encoder_weights, partly=one.partial_weights, options=options)


def _plain(one: Experiment) -> nn.Module:
    return PlainUNet(
        INPUT_CHANNELS,
        widths=(one.width, 2 * one.width, 4 * one.width),
        bottleneck=one.bottleneck,
        bottleneck_blocks=one.blocks,
        dropout=one.dropout,
    )


def _bilstm(one: Experiment) -> nn.Module:
    return ReNet(INPUT_CHANNELS, width=one.width, layers=one.blocks)


def _partialconv(one: Experiment) -> nn.Module:
    return PartialConvUNet(INPUT_CHANNELS, width=one.width, levels=one.blocks)


def _paper_unet(one: Experiment) -> nn.Module:
    channels = 3 if one.method == "cyclegan" else 4
    return PhotoGenerator(PaperUNet(channels, size=one.size, width=one.width, dropout=one.dropout), channels)


def _resnet(one: Experiment) -> nn.Module:
    channels = 3 if one.method == "cyclegan" else 4
    return PhotoGenerator(ResnetGenerator(channels, width=one.width, blocks=one.blocks, dropout=one.dropout), channels)


def _dcgan(one: Experiment) -> nn.Module:
    return SemanticInpainter(
        DCGANGenerator(latent=one.latent, size=one.size, width=one.width),
        DCGANDiscriminator(size=one.size, width=one.width),
        latent=one.latent,
        steps=one.search_steps,
        prior_weight=one.prior_weight,
        seed=one.seed,
    )


_OWN: dict[str, Callable[[Experiment], nn.Module]] = {
    "plain": _plain,
    "bilstm": _bilstm,
    "partialconv": _partialconv,
    "paper-unet": _paper_unet,
    "resnet": _resnet,
    "dcgan": _dcgan,
}
