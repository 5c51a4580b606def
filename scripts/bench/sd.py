"""`kit sd run` against a plain loop that calls the pipeline photo by photo, and what the whole job will take.

    python scripts/bench/sd.py speed                     # a tiny pipeline with random weights, made on the spot
    python scripts/bench/sd.py speed --model FOLDER --size 512 --device cuda --dtype float16
    python scripts/bench/sd.py estimate                  # counted FLOPs of the published architectures; no weights

`speed` draws the same samples both ways, in turns, and prints medians; loading the model is left out of both. The plain
loop is what the pipeline's page shows: a PIL photo and mask, a prompt, one picture. `estimate` builds the networks from
their published configurations on torch's meta device, counts the FLOPs of one pass, and divides by what a GPU reaches.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoPipelineForInpainting, UNet2DConditionModel
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.tiny_diffusion import save_tiny
from support.toy import Toy, make_toy_workspace

from kit.core.workspace import Workspace
from kit.data.project import Project
from kit.pretrained.diffusion.model import find_model
from kit.pretrained.diffusion.plan import PhotoSelection, sample_specs, seed_of
from kit.pretrained.diffusion.sampler import SamplerOptions, make_samples
from kit.pretrained.diffusion.settings import NEGATIVE, SamplingRecipe, SamplingSettings
from kit.pretrained.prompts import templates_of

# --- speed ----------------------------------------------------------------------------------------------------------


def kit_seconds(
    toy: Toy, model: Path, settings: SamplingSettings, batch: int, device: torch.device, times: int
) -> float:
    """Seconds of `make_samples` for all photos and both prompts, into an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(toy.workspace.root, folder, dirs_exist_ok=True)
        workspace = Workspace(Path(folder), toy.workspace.slug)
        found = find_model(workspace, str(model))
        photos = PhotoSelection(toy.index, ("oof",))
        specs = sample_specs(templates_of([]), times)
        recipe = SamplingRecipe(settings, found.digest, str(model))
        options = SamplerOptions(batch=batch, quiet=True)
        return make_samples(Project(workspace), photos, specs, recipe, found, device, options).seconds


def plain_seconds(toy: Toy, pipeline: Any, settings: SamplingSettings, times: int) -> float:
    """Seconds of a loop over the same samples, one call for each."""
    size = (settings.size, settings.size)
    started = time.perf_counter()
    for job in PhotoSelection(toy.index, ("oof",)).jobs(sample_specs(templates_of([]), times)):
        image = Image.fromarray(np.array(toy.pack.train_image[job.position])).resize(size, Image.Resampling.BICUBIC)
        mask = Image.fromarray(job.photo.hole.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
        painted = pipeline(
            prompt=job.prompt,
            negative_prompt=NEGATIVE,
            image=image,
            mask_image=mask,
            height=settings.size,
            width=settings.size,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=torch.Generator("cpu").manual_seed(seed_of(job, settings.seed)),
        ).images[0]
        np.array(painted.resize((job.photo.width, job.photo.height), Image.Resampling.BOX))[job.photo.hole]
    return time.perf_counter() - started


def speed(arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    settings = SamplingSettings(steps=arguments.steps, size=arguments.size, dtype=arguments.dtype)
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or save_tiny(Path(folder) / "tiny", "inpaint")
        toy = make_toy_workspace(Path(folder) / "w", photos=arguments.photos, test=2, size=arguments.photo_size)
        dtype = getattr(torch, arguments.dtype)
        pipeline = AutoPipelineForInpainting.from_pretrained(model, dtype=dtype, safety_checker=None).to(device)
        pipeline.set_progress_bar_config(disable=True)
        count = arguments.photos * 2 * arguments.samples
        threads = torch.get_num_threads()
        print(f"{device}, {threads} threads, {count} samples of {settings.size} px, {settings.steps} steps")
        seconds: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            seconds.setdefault("plain loop", []).append(plain_seconds(toy, pipeline, settings, arguments.samples))
            for batch in arguments.batch:
                way = kit_seconds(toy, model, settings, batch, device, arguments.samples)
                seconds.setdefault(f"kit, batches of {batch}", []).append(way)
    plain = statistics.median(seconds["plain loop"])
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"{name:20} {count / middle:8.2f} images/s   {plain / middle:5.2f} times the plain loop")


# --- estimate -------------------------------------------------------------------------------------------------------

SD_BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (320, 640, 1280, 1280),
    "sample_size": 64,
}
UNETS: dict[str, dict[str, Any]] = {
    "SD 1.5 inpainting": {**SD_BLOCKS, "cross_attention_dim": 768, "attention_head_dim": 8},
    "SD 2 inpainting": {
        **SD_BLOCKS,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "SDXL inpainting": {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "sample_size": 128,
    },
}
"""The published configurations, as far as they are not diffusers' defaults."""

GPUS = {"T4": 65, "L4": 121, "RTX 3090": 71, "RTX 4090": 165, "A100": 312, "H100": 989}
"""Dense half-precision TFLOP/s of tensor cores with float32 sums, from data sheets."""

SHARES = (0.1, 0.3)
"""Of that peak, what a UNet of this kind reaches: an assumption, from batches of one to large ones."""

PHOTOS, PIXELS, RECORD = 7200, 2 * 75 * 75, 80  # of the contest; bytes of a record beside its pixels, rounded up


def unet_of(name: str) -> UNet2DConditionModel:
    """A UNet of the real size without memory."""
    with torch.device("meta"):
        return UNet2DConditionModel(in_channels=9, out_channels=4, layers_per_block=2, **UNETS[name])


def vae_of() -> AutoencoderKL:
    """The VAE of all of them."""
    with torch.device("meta"):
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
        )


def unet_flops(unet: UNet2DConditionModel, size: int) -> float:
    """FLOPs of one pass for one latent."""
    latent = torch.zeros(1, 9, size // 8, size // 8, device="meta")
    words = torch.zeros(1, 77, unet.config.cross_attention_dim, device="meta")
    added = {"text_embeds": torch.zeros(1, 1280, device="meta"), "time_ids": torch.zeros(1, 6, device="meta")}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        unet(latent, torch.zeros(1, device="meta"), words, added_cond_kwargs=added)
    return float(counter.get_total_flops())


def vae_flops(vae: AutoencoderKL, size: int) -> float:
    """FLOPs of one photo's way in and out."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vae.encode(torch.zeros(1, 3, size, size, device="meta"))
        vae.decode(torch.zeros(1, 4, size // 8, size // 8, device="meta"))
    return float(counter.get_total_flops())


def parameters(module: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters())


def estimate(arguments: argparse.Namespace) -> None:
    vae = vae_of()
    painting = vae_flops(vae, arguments.size)
    passes = arguments.steps * (2 if arguments.guidance > 1 else 1)
    print(f"{arguments.size} px, {arguments.steps} steps, guidance {arguments.guidance:g}: {passes} passes of the UNet")
    print(f"VAE: {parameters(vae) / 1e6:.1f} M parameters, {painting / 1e12:.2f} TFLOP in and out")
    for name in UNETS:
        unet = unet_of(name)
        one = unet_flops(unet, arguments.size)
        sample = passes * one + painting
        print(
            f"\n{name}: {parameters(unet) / 1e6:.1f} M parameters, {one / 1e12:.2f} TFLOP a pass, "
            f"{sample / 1e12:.0f} TFLOP a sample"
        )
        for gpu, peak in GPUS.items():
            slow, fast = (PHOTOS * arguments.samples * sample / (share * peak * 1e12) / 3600 for share in SHARES)
            print(f"  {gpu:9} {fast:7.1f} to {slow:7.1f} hours for {PHOTOS} photos x {arguments.samples} samples")
    size = PHOTOS * arguments.samples * (PIXELS * 3 + RECORD)
    print(
        f"\nDisk: {size / 1e9:.2f} GB of samples, {PHOTOS * PIXELS * 3 * 2 / 1e9:.2f} GB for each source made of them"
    )
    print(f"Estimates, not measurements: counted FLOPs at {SHARES[0]:.0%} to {SHARES[1]:.0%} of the GPU's peak.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(required=True)
    one = ways.add_parser("speed")
    one.add_argument("--model", type=Path)
    one.add_argument("--device", default="cpu")
    one.add_argument("--dtype", default="float32")
    one.add_argument("--size", type=int, default=64)
    one.add_argument("--photo-size", type=int, default=32)
    one.add_argument("--steps", type=int, default=8)
    one.add_argument("--photos", type=int, default=24)
    one.add_argument("--samples", type=int, default=1, help="of each of the two prompts")
    one.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16])
    one.add_argument("--rounds", type=int, default=5)
    one.set_defaults(run=speed)
    two = ways.add_parser("estimate")
    two.add_argument("--size", type=int, default=512)
    two.add_argument("--steps", type=int, default=30)
    two.add_argument("--guidance", type=float, default=7.5)
    two.add_argument("--samples", type=int, default=8)
    two.set_defaults(run=estimate)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
