"""Where a model comes from: folders, the hub's cache, the hub; what is fetched, and what it is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.hub_standin import COMMIT, hub
from support.tiny_diffusion import save_tiny
from support.toy import make_toy_workspace

from kit.core.workspace import Workspace
from kit.errors import TrainingError, UsageError
from kit.pretrained.diffusion.model import find_model, wanted_files
from kit.pretrained.diffusion.pipeline import load_pipeline
from kit.pretrained.diffusion.settings import SamplingSettings

SD15 = [
    "README.md", "v1-5.ckpt", "v1-5.safetensors", "model_index.json", "feature_extractor/preprocessor_config.json",
    "safety_checker/config.json", "safety_checker/model.safetensors", "safety_checker/model.fp16.safetensors",
    "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors", "text_encoder/pytorch_model.bin", "tokenizer/vocab.json",
    "tokenizer/merges.txt", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.non_ema.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip
"""The files of the published SD 1.5 inpainting repository, as far as kinds of files go."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "inpaint")


def test_only_what_inpainting_needs_is_fetched() -> None:
    plain = wanted_files(SD15, None)
    assert plain == sorted(
        [
            "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
            "text_encoder/model.safetensors", "tokenizer/merges.txt", "tokenizer/vocab.json", "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
        ]
    )  # fmt: skip
    half = wanted_files(SD15, "fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in half
    assert "unet/diffusion_pytorch_model.safetensors" not in half
    assert "vae/diffusion_pytorch_model.safetensors" in half  # has no other


def test_weights_in_pieces_go_together() -> None:
    pieces = [f"transformer/diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    halves = [f"transformer/diffusion_pytorch_model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    names = ["model_index.json", *pieces, *halves]
    assert wanted_files(names, None) == ["model_index.json", *pieces]
    assert wanted_files(names, "fp16") == ["model_index.json", *halves]


def test_a_model_is_named_by_its_content_and_hashed_once(model: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    first = find_model(workspace, str(model))
    other = shutil.copytree(model, tmp_path / "copy")
    (other / "README.md").write_text("not part of it")
    assert find_model(workspace, str(other)).digest == first.digest == find_model(workspace, str(model)).digest
    assert first.kind == "StableDiffusionInpaintPipeline" and first.size > 10_000
    path = other / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text().replace("0.012", "0.013"))
    assert find_model(workspace, str(other)).digest != first.digest
    path = other / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    before = find_model(workspace, str(other)).digest
    path.write_bytes(bytes(data))
    os.utime(path, ns=(1, 1))
    assert find_model(workspace, str(other)).digest != before


def test_a_folder_that_is_not_whole_is_named_with_what_it_lacks(model: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    cut = shutil.copytree(model, tmp_path / "cut")
    shutil.rmtree(cut / "vae")
    with pytest.raises(UsageError, match="lacks vae/"):
        find_model(workspace, str(cut))
    empty = shutil.copytree(model, tmp_path / "empty")
    (empty / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"lacks unet/\*\.safetensors"):
        find_model(workspace, str(empty))
    (empty / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UsageError, match="pickles alone"):
        find_model(workspace, str(empty))


def as_variant(folder: Path, variant: str) -> None:
    """Rename all weights of a pipeline as those of a variant."""
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_name(f"{path.stem}.{variant}.safetensors"))


def test_a_folder_of_one_variant_is_told_with_what_loads_it(model: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    half = shutil.copytree(model, tmp_path / "half")
    as_variant(half, "fp16")
    for asked in (None, "bf16"):
        with pytest.raises(UsageError, match=r"has weights of the variant fp16 alone. Give it with --variant fp16\."):
            find_model(workspace, str(half), variant=asked)
    (half / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UsageError, match="--variant fp16"):
        find_model(workspace, str(half))
    found = find_model(workspace, str(half), variant="fp16")
    load_pipeline(found, SamplingSettings(size=32, steps=1), torch.device("cpu"))
    with pytest.raises(UsageError, match="Leave --variant out"):
        find_model(workspace, str(model), variant="fp16")


def changed(folder: Path, part: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def trained(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Norms are no longer one and zero after a training."""
    return {name: value + 0.1 * torch.rand(value.shape) for name, value in tensors.items()}


CHANGES = {
    "renamed norms": lambda found: {name.replace("norm", "nrm"): value for name, value in found.items()},
    "no norms": lambda found: {name: value for name, value in found.items() if "norm" not in name},
    "norms lost, others in their stead": lambda found: {
        (f"other.{place}" if "norm" in name else name): torch.rand(value.shape) if "norm" in name else value
        for place, (name, value) in enumerate(found.items())
    },
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_do_not_fill_a_part_are_refused(model: Path, tmp_path: Path, part: str, change: str) -> None:
    folder = shutil.copytree(model, tmp_path / "changed")
    changed(folder, part, trained)
    changed(folder, part, CHANGES[change])
    found = find_model(Workspace(tmp_path / "w"), str(folder))
    with pytest.raises(TrainingError, match=rf"the weights of {part} .* they lack tensors, \d+ \(.*norm"):
        load_pipeline(found, SamplingSettings(size=32, steps=1), torch.device("cpu"))


def test_old_names_that_diffusers_knows_are_no_lack(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "old")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def older(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for now, before in old.items():
            found = {name.replace(f".{now}.", f".{before}."): value for name, value in found.items()}
        return trained(found)

    changed(folder, "vae", older)
    found = find_model(Workspace(tmp_path / "w"), str(folder))
    load_pipeline(found, SamplingSettings(size=32, steps=1), torch.device("cpu"))


def test_a_folder_that_was_mistyped_is_no_question_to_the_hub(model: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, tmp_path / "models" / "inpainting")
    for typed in ("models/inpaintin", "./models/inpaintin", str(tmp_path / "models" / "inpaintin")):
        with pytest.raises(UsageError, match=r"Did you mean .*models/inpainting\?"):
            find_model(Workspace(tmp_path / "w"), typed, download=True)


def kit_with_hub(root: Path, address: str, cache: Path, words: str) -> subprocess.CompletedProcess[str]:
    """`kit sd run` in a process of its own: the hub's client reads its environment when it is imported."""
    environment = {name: value for name, value in os.environ.items() if "PROXY" not in name.upper()}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    command = [
        sys.executable,
        "-c",
        "import support.toy; from kit.cli import run; run()",
        "-w",
        str(root),
        "sd",
        "run",
        *words.split(),
    ]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1]
    )


@pytest.mark.slow
def test_licence_and_size_are_said_before_a_byte_of_weights_is_fetched(model: Path, tmp_path: Path) -> None:
    toy = make_toy_workspace(tmp_path / "w", photos=4, test=2, size=32, k=2)
    root, cache = toy.workspace.root, tmp_path / "cache"
    words = "--model owner/tiny --size 32 --steps 2 --prompt seamless"
    stocked = shutil.copytree(model, tmp_path / "stocked")
    (stocked / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle that nobody wants")
    with hub("owner/tiny", stocked, "creativeml-openrail-m") as (address, fetched):
        asked = kit_with_hub(root, address, cache, words)
        size = sum((model / name).stat().st_size for name in wanted_files(_names(model), None)) / 1e6
        assert asked.returncode == 1 and asked.stderr.count("\n") == 1, asked.stderr
        assert f"owner/tiny: licence creativeml-openrail-m, {size:.1f} MB to download" in asked.stderr
        assert "--download" in asked.stderr and not fetched
        unknown = kit_with_hub(root, address, cache, "--model owner/nothing --size 32")
        assert "has no model owner/nothing" in unknown.stderr and unknown.stderr.count("\n") == 1
        done = kit_with_hub(root, address, cache, f"{words} --download")
        assert done.returncode == 0 and "licence creativeml-openrail-m" in done.stderr, done.stderr
        assert "Written: sd-mean, test" in done.stdout
        assert sorted(set(fetched)) == wanted_files(_names(model), None)
    again = kit_with_hub(root, address, cache, f"{words} --samples 2")  # the hub is gone
    assert again.returncode == 0 and "Made: 6 samples" in again.stdout, again.stderr
    away = kit_with_hub(root, address, tmp_path / "fresh", "--model owner/other --size 32")
    assert away.returncode == 75 and "does not answer" in away.stderr and away.stderr.count("\n") == 1
    assert "copy it here, and give its path" in away.stderr
    recipe = json.loads(next(root.glob("sd/*/recipe.json")).read_text())
    assert recipe["model"] == find_model(Workspace(tmp_path / "x"), str(model)).digest
    assert list(cache.rglob(COMMIT))


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
