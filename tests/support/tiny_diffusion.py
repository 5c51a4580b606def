"""Tiny but complete diffusers pipelines with random weights, saved in the hub's folder format: for tests, no network.

    save_tiny(folder, "inpaint")     # StableDiffusionInpaintPipeline, 9 channels, as SD 1.5 and SD 2 inpainting
    save_tiny(folder, "plain")       # StableDiffusionPipeline, 4 channels, which diffusers turns into an inpainting one
    save_tiny(folder, "xl")          # StableDiffusionXLInpaintPipeline with two text encoders
    save_tiny(folder, "other")       # DDPMPipeline: cannot inpaint

The real classes, schedulers, tokenizers and files; only widths and depths are small. The VAE halves a picture twice, so
its latent grid has cells of 4 pixels instead of 8.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMPipeline, DDPMScheduler, PNDMScheduler, UNet2DConditionModel, UNet2DModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WORDS = 77
"""Tokens of a prompt, as in the real ones."""


def save_tiny(folder: Path, kind: str = "inpaint", *, seed: int = 0) -> Path:
    """Write one tiny pipeline and return its folder."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        _PIPELINES[kind](folder)
    finally:
        torch.random.set_rng_state(state)
    return folder


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer whose words are letters."""
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=WORDS)


def tiny_text_config(tokenizer: CLIPTokenizer, width: int = 32) -> CLIPTextConfig:
    """Two layers."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=WORDS,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=len(tokenizer) - 1,
    )


def tiny_vae() -> AutoencoderKL:
    """Latents of a quarter of the size."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )


def tiny_unet(channels: int, width: int = 32, **more: Any) -> UNet2DConditionModel:
    """Two levels, the lower with attention to the prompt."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=8,
        **more,
    )


def tiny_scheduler() -> PNDMScheduler:
    """What SD 1.5 comes with."""
    return PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )


def _inpaint(folder: Path) -> None:
    from diffusers import StableDiffusionInpaintPipeline

    _stable_diffusion(folder, StableDiffusionInpaintPipeline, 9)


def _plain(folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    _stable_diffusion(folder, StableDiffusionPipeline, 4)


def _stable_diffusion(folder: Path, kind: Any, channels: int) -> None:
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    pipeline = kind(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(tiny_text_config(tokenizer)),
        tokenizer=tokenizer,
        unet=tiny_unet(channels),
        scheduler=tiny_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)


def _xl(folder: Path) -> None:
    from diffusers import StableDiffusionXLInpaintPipeline

    first, second = (tiny_tokenizer(folder / name) for name in ("tokenizer", "tokenizer_2"))
    unet = tiny_unet(
        9,
        64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
        transformer_layers_per_block=(1, 1),
        use_linear_projection=True,
    )
    pipeline = StableDiffusionXLInpaintPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(tiny_text_config(first)),
        text_encoder_2=CLIPTextModelWithProjection(tiny_text_config(second)),
        tokenizer=first,
        tokenizer_2=second,
        unet=unet,
        scheduler=tiny_scheduler(),
    )
    pipeline.save_pretrained(folder)


def _other(folder: Path) -> None:
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(folder)


_PIPELINES = {"inpaint": _inpaint, "plain": _plain, "xl": _xl, "other": _other}
