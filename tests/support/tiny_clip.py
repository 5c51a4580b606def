"""Tiny but complete CLIPs with random weights, in the hub's folder format and as a file for timm.

folder = tiny_clip(tmp_path / "clip")                 # CLIPModel: both towers, tokenizer, preprocessor
folder = tiny_clip(tmp_path / "eyes", text=False)     # CLIPVisionModelWithProjection
text = tiny_timm(tmp_path / "weights.safetensors")    # "timm:test_vit:..."
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIZE, NUMBERS = 30, 16
MERGES = (("p", "h"), ("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("o", "f</w>"))
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def _letters() -> list[str]:
    """The 256 letters that stand for bytes in CLIP's vocabulary, as GPT-2 has them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]


def write_tokenizer(folder: Path) -> int:
    """Byte-level BPE with a handful of merges; the size of the vocabulary."""
    letters = _letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in MERGES)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{' '.join(pair)}\n" for pair in MERGES))
    end = "<|endoftext|>"
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 32, "pad_token": end, "eos_token": end}
    settings |= {"unk_token": end, "bos_token": "<|startoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(words)


def tiny_clip(folder: Path, *, text: bool = True, seed: int = 0) -> Path:
    """Two layers of 32 numbers each; photos of 30x30. The same seed gives the same bytes."""
    from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder.mkdir(parents=True)
    body: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    body |= {"num_attention_heads": 4, "projection_dim": NUMBERS}
    eyes = {**body, "image_size": SIZE, "patch_size": SIZE // 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if text:
            count = write_tokenizer(folder)
            special = {"bos_token_id": count - 2, "eos_token_id": count - 1, "pad_token_id": count - 1}
            words = {**body, "vocab_size": count, "max_position_embeddings": 32, **special}
            model: Any = CLIPModel(CLIPConfig(text_config=words, vision_config=eyes, projection_dim=NUMBERS))
        else:
            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**eyes))
        with torch.no_grad():  # as they start, all photos look alike
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(8)
    model.save_pretrained(folder)
    settings = {"image_mean": MEAN, "image_std": STD, "size": {"shortest_edge": SIZE}, "crop_size": SIZE}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def tiny_timm(file: Path, seed: int = 0) -> str:
    """timm's smallest vision transformer with a head of 16 numbers, and the text that names it."""
    import timm
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model("test_vit", num_classes=NUMBERS)
        torch.nn.init.normal_(model.head.weight)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
    return f"timm:test_vit:{file}"
