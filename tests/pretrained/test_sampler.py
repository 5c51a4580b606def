"""Tiny but real diffusers pipelines: what is drawn, killed and shared."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForInpainting
from support.command import kit, ok
from support.sampling import CPU, LINE, QUICK, before_unet, sample, values
from support.toy import Toy
from torch.nn.modules.module import register_module_forward_pre_hook

from kit import open as open_workspace
from kit.core.workspace import Workspace
from kit.data.index import read_index
from kit.data.pack import read_pack
from kit.data.project import Project
from kit.errors import KitError, TrainingError, UsageError
from kit.pretrained.diffusion import pipeline
from kit.pretrained.diffusion.model import find_model
from kit.pretrained.diffusion.pipeline import load_pipeline
from kit.pretrained.diffusion.plan import PhotoSelection, Shard, sample_specs, seed_of
from kit.pretrained.diffusion.preprocess import hidden_values, model_mask, model_picture
from kit.pretrained.diffusion.sample_store import RETRIED, Cache
from kit.pretrained.diffusion.session import SamplingRequest, open_session
from kit.pretrained.diffusion.settings import BASE_FILL, NEGATIVE, SamplingSettings
from kit.pretrained.diffusion.side_by_side import as_drawn
from kit.pretrained.prompts import templates_of


@pytest.fixture(scope="module")
def whole(fetched: Toy, models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, bytes]:
    """The samples of one process that nothing disturbed, in batches of 4."""
    toy = fetched.copy(tmp_path_factory.mktemp("whole") / "w")
    outcome, found = sample(toy, models / "inpaint")
    assert (outcome.wanted, outcome.hits, outcome.made, outcome.failed) == (24, 0, 24, [])
    return values(found)


# --- what is drawn ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["inpaint", "plain", "xl"])
@pytest.mark.parametrize(
    "settings", [QUICK, SamplingSettings(steps=3, size=32, dtype="float32", guidance=1, strength=0.7)]
)
def test_a_sample_is_what_a_plain_call_of_the_pipeline_gives(
    fetched: Toy, models: Path, tmp_path: Path, kind: str, settings: SamplingSettings
) -> None:
    toy = fetched.copy(tmp_path / "w")
    _, found = sample(toy, models / kind, settings=settings, limit=2)
    pipeline = AutoPipelineForInpainting.from_pretrained(models / kind)
    pipeline.set_progress_bar_config(disable=True)
    jobs = list(PhotoSelection(toy.index, ("oof", "test"), 2).jobs(sample_specs(templates_of([]), 1)))
    assert len(jobs) == len(found) == 8
    for job in jobs[::3]:
        image, photo = np.array(toy.pack.image("train" if job.split == "oof" else "test")[job.position]), job.photo
        picture = model_picture(image, photo.boxes, 32, BASE_FILL)
        mask = model_mask(photo.boxes, 32, 32, 32, pipeline.vae_scale_factor)
        painted = pipeline(
            prompt=job.prompt,
            negative_prompt=NEGATIVE,
            image=picture[None],
            mask_image=mask[None, ..., None].astype(np.float32),
            height=32,
            width=32,
            strength=settings.strength,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=torch.Generator().manual_seed(seed_of(job, 0)),
            output_type="np",
        ).images[0]
        expected, _ = hidden_values(painted, photo.boxes, 32, 32)
        difference = np.abs(expected.astype(int) - found[job.key].values)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_photos_prompts_samples_and_seeds_all_give_other_pictures(
    fetched: Toy, models: Path, tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    toy = fetched.copy(tmp_path / "w")
    _, again = sample(toy, models / "inpaint", settings=SamplingSettings(steps=2, size=32, dtype="float32", seed=1))
    assert len(set(whole.values())) == 24 and not set(whole.values()) & set(values(again).values())


def test_other_schedulers_run_and_unfit_ones_are_named(fetched: Toy, models: Path, tmp_path: Path) -> None:
    toy = fetched.copy(tmp_path / "w")
    for name in ("ddim", "dpm++", "euler-a", "unipc"):
        outcome, _ = sample(
            toy, models / "inpaint", settings=SamplingSettings(steps=2, size=32, scheduler=name), limit=1
        )
        assert outcome.made == 4
    model = find_model(toy.workspace, str(models / "inpaint"))
    with pytest.raises(UsageError, match=r"multiples of 4\. Use --size 32"):
        load_pipeline(model, SamplingSettings(steps=2, size=33), CPU)
    with pytest.raises(UsageError, match="DDPMPipeline, which cannot inpaint"):
        load_pipeline(find_model(toy.workspace, str(models / "other")), QUICK, CPU)


def test_each_distinct_prompt_is_encoded_once(fetched: Toy, models: Path, tmp_path: Path) -> None:
    from transformers import CLIPTextModel

    toy, calls = fetched.copy(tmp_path / "w"), []

    def hook(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        calls.extend([1] if isinstance(module, CLIPTextModel) else [])

    handle = register_module_forward_pre_hook(hook)
    outcome, _ = sample(toy, models / "inpaint", 2)
    handle.remove()
    assert outcome.made == 48 and len(calls) == 2 * 3  # cat, dog and seamless, each with its negative prompt


# --- the same bytes -----------------------------------------------------------


def test_shards_give_the_bytes_of_one_process(
    fetched: Toy, models: Path, tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    toy = fetched.copy(tmp_path / "w")
    for number in (3, 1, 2):
        outcome, found = sample(toy, models / "inpaint", shard=Shard(number, 3))
        assert outcome.wanted == outcome.made == 8
    assert values(found) == whole


def test_more_samples_later_make_only_what_is_missing_and_leave_the_rest(
    fetched: Toy, models: Path, tmp_path: Path, whole: dict[bytes, bytes], digests: Any
) -> None:
    toy = fetched.copy(tmp_path / "w")
    sample(toy, models / "inpaint", limit=2)
    before = digests(toy.workspace.root / "sd")
    assert sample(toy, models / "inpaint")[0].hits == 8
    outcome, found = sample(toy, models / "inpaint", 2)
    assert (outcome.hits, outcome.made) == (24, 24)
    assert {key: value for key, value in values(found).items() if key in whole} == whole
    after = digests(toy.workspace.root / "sd")
    assert {path: after[path] for path in before} == before
    assert sample(toy, models / "inpaint", 2)[0].made == 0 and digests(toy.workspace.root / "sd") == after


@pytest.mark.parametrize("kind", ["inpaint", "plain", "xl"])
def test_half_precision_and_low_memory_draw_nearly_the_same(
    fetched: Toy, models: Path, tmp_path: Path, kind: str
) -> None:
    _, fine = sample(fetched.copy(tmp_path / "fine"), models / kind, limit=2)
    _, low = sample(fetched.copy(tmp_path / "low"), models / kind, limit=2, low_memory=True)
    assert max(np.abs(fine[key].values.astype(int) - low[key].values).max() for key in fine) <= 1
    half = SamplingSettings(steps=2, size=32, dtype="bfloat16")
    outcome, rough = sample(fetched.copy(tmp_path / "half"), models / kind, settings=half, limit=2)
    assert outcome.made == 8 and not outcome.retried and len(rough) == 8


def test_another_batch_size_changes_no_value_by_more_than_one_level(
    fetched: Toy, models: Path, tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    toy = fetched.copy(tmp_path / "w")
    _, found = sample(toy, models / "inpaint", batch=3)
    theirs = {key: np.frombuffer(value[: len(found[key].values) * 3], np.uint8) for key, value in whole.items()}
    differences = np.concatenate([theirs[key].astype(int) - found[key].values.reshape(-1) for key in whole])
    assert np.abs(differences).max() <= 1 and (differences != 0).mean() < 0.002


def test_a_damaged_sample_is_made_again_with_the_same_bytes(
    fetched: Toy, models: Path, tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    toy = fetched.copy(tmp_path / "w")
    sample(toy, models / "inpaint")
    (path,) = toy.workspace.root.glob("sd/*/samples/*.bin")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))
    outcome, _ = sample(toy, models / "inpaint")
    assert outcome.made == 1
    cache = Cache(path.parent).refresh()
    cache.check()
    assert values({key: cache.read(key) for key in cache.entries}) == whole


# --- killed, and several at once ----------------------------------------------


def sample_and_die(root: Path, model: Path, at: int) -> None:
    """In a process of its own: SIGKILL before the UNet's pass of this number."""
    workspace = Workspace(root, "toy")
    index = read_index(workspace)
    toy = Toy(workspace, None, index, read_pack(workspace, index), None, None)  # type: ignore[arg-type]

    def die(_: int, count: int) -> None:
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    with before_unet(die):
        sample(toy, model, quiet=True)


@pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")
def test_a_killed_process_loses_one_batch_and_the_next_goes_on_with_the_same_bytes(
    fetched: Toy, models: Path, tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    toy = fetched.copy(tmp_path / "w")
    child = multiprocessing.get_context("fork").Process(
        target=sample_and_die, args=(toy.workspace.root, models / "inpaint", 3 * 2 + 1)
    )  # two steps a batch, PNDM makes three passes of them
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    outcome, found = sample(toy, models / "inpaint")
    assert outcome.hits == 8 and outcome.made == 16 and values(found) == whole


@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_two_processes_at_once_share_the_work_and_damage_nothing(
    fetched: Toy, models: Path, tmp_path: Path, whole: dict[bytes, bytes]
) -> None:
    toy = fetched.copy(tmp_path / "w")
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=sample_and_die, args=(toy.workspace.root, models / "inpaint", -1)) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    outcome, found = sample(toy, models / "inpaint")
    assert outcome.made == 0 and values(found) == whole
    cache = Cache(next(toy.workspace.root.glob("sd/*/samples"))).refresh()
    assert not cache._spare  # none was made twice


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_and_keeps_what_was_made(fetched: Toy, models: Path, tmp_path: Path) -> None:
    toy = fetched.copy(tmp_path / "w")
    code = "import support.toy; from kit.cli import run; run()"
    words = f"-w {toy.workspace.root} sd run --model {models / 'inpaint'} --size 32 --steps 100 --batch-size 1".split()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while (
        not any(path.stat().st_size for path in toy.workspace.root.glob("sd/*/samples/*.bin"))
        and time.monotonic() < deadline
    ):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and "Traceback" not in err, err
    assert err.strip().splitlines()[-1].startswith("Stopped. Run the same command again")
    state = json.loads(ok(" ".join(words).replace("sd run", "sd"), "--status", "--json"))
    assert state["hits"] >= 1 and state["missing"] >= 1 and state["seconds_left"] > 0 and not state["damaged"]


# --- what goes wrong ----------------------------------------------------------


def test_memory_that_runs_out_halves_the_batch(
    fetched: Toy, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy, small = fetched.copy(tmp_path / "w"), fetched.copy(tmp_path / "small")

    def full(batch: int, _: int) -> None:
        if batch > 2 * 2:  # with and without the prompt
            raise torch.OutOfMemoryError("CUDA out of memory")

    with before_unet(full):
        outcome, found = sample(toy, models / "inpaint", batch=8)
    assert outcome.made == 24 and capsys.readouterr().err.count("Memory ran out: going on with batches of") == 2
    assert values(found) == values(sample(small, models / "inpaint", batch=2)[1])


def test_memory_that_does_not_suffice_for_one_picture_is_one_line_and_keeps_what_was_made(
    fetched: Toy, models: Path, tmp_path: Path
) -> None:
    toy = fetched.copy(tmp_path / "w")

    def full(_: int, count: int) -> None:
        if count >= 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with before_unet(full), pytest.raises(TrainingError, match="--low-memory"):
        sample(toy, models / "inpaint")
    assert sample(toy, models / "inpaint")[0].hits == 4


def overflowing(model: Path, folder: Path) -> Path:
    """A model whose VAE leaves float16's range where float32 has no difficulty, as that of SDXL does."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    for name in ("decoder.conv_in.weight", "decoder.conv_in.bias"):
        weights[name] *= 1e6  # the next layer normalises
    save_file({name: tensor.clamp(-6e4, 6e4) for name, tensor in weights.items()}, path, {"format": "pt"})
    return folder


def test_what_half_precision_turns_to_nan_is_made_again_in_float32(fetched: Toy, models: Path, tmp_path: Path) -> None:
    toy, model = fetched.copy(tmp_path / "w"), overflowing(models / "inpaint", tmp_path / "model")
    half = SamplingSettings(steps=2, size=32, dtype="float16")
    outcome, found = sample(toy, model, settings=half, limit=2)
    assert outcome.made == outcome.retried == 8 and not outcome.failed
    assert all(record.flags == RETRIED and record.values.std() > 0 for record in found.values())
    fine, _ = sample(fetched.copy(tmp_path / "fine"), models / "inpaint", settings=half, limit=2)
    assert (fine.made, fine.retried) == (8, 0)


def broken(model: Path, folder: Path) -> Path:
    """A model that gives NaN in any precision."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_out.bias"].fill_(float("nan"))
    save_file(weights, path, {"format": "pt"})
    return folder


def test_a_model_that_gives_no_pictures_is_reported_and_nothing_is_kept(
    fetched: Toy, models: Path, tmp_path: Path
) -> None:
    toy, model = fetched.copy(tmp_path / "w"), broken(models / "inpaint", tmp_path / "model")
    done = kit(f"-w {toy.workspace.root} sd run --model {model} {LINE} --limit 2")
    assert done.code == 1 and "8 of 8 samples came out black or not finite even in float32" in done.err
    assert done.err.splitlines()[-1].startswith("Error: ") and not list(toy.workspace.root.glob("sd/*/samples/*"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(path: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    save_file({key: tensor for key, tensor in load_file(path).items() if name not in key}, path, {"format": "pt"})


def other_width(path: Path) -> None:
    path.write_text(path.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 48'))


DAMAGES = [
    (cut, "unet/diffusion_pytorch_model.safetensors", "cannot be loaded"),
    (cut, "text_encoder/model.safetensors", "cannot be loaded"),
    (cut, "vae/config.json", "cannot be loaded"),
    (cut, "tokenizer/tokenizer.json", "cannot be loaded"),
    (cut, "model_index.json", "is not JSON"),
    (other_width, "unet/config.json", "cannot be loaded"),
    (lambda path: without(path, "conv_in"), "unet/diffusion_pytorch_model.safetensors", "unet"),
    (lambda path: without(path, "token_emb"), "text_encoder/model.safetensors", "text_encoder"),
]


@pytest.mark.parametrize(("damage", "file", "said"), DAMAGES, ids=[f"{file}-{said}" for _, file, said in DAMAGES])
def test_a_damaged_model_is_one_line(
    fetched: Toy, models: Path, tmp_path: Path, damage: Any, file: str, said: str
) -> None:
    root, model = tmp_path / "w", tmp_path / "model"
    shutil.copytree(fetched.workspace.root, root)
    shutil.copytree(models / "inpaint", model)
    if not (model / file).exists():
        pytest.skip("this version of transformers saves no such file")
    damage(model / file)
    done = kit(f"-w {root} sd run --model {model} {LINE} --limit 1")
    assert done.is_one_error_line and said in done.err, done


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_pipeline_is_loaded_in_the_precision_that_was_asked_for(fetched: Toy, models: Path, dtype: str) -> None:
    model = find_model(fetched.workspace, str(models / "inpaint"))
    found = load_pipeline(model, SamplingSettings(size=32, dtype=dtype), CPU)
    parts = [part for part in found.wrapped.components.values() if isinstance(part, torch.nn.Module)]
    assert {parameter.dtype for part in parts for parameter in part.parameters()} == {getattr(torch, dtype)}


def test_a_diffusers_that_passes_over_the_precision_is_refused(
    fetched: Toy, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_dtype_word", lambda: "a_word_that_no_version_knows")
    with pytest.raises(TrainingError, match=r"--dtype bfloat16: diffusers .* loads this model in float32"):
        load_pipeline(
            find_model(fetched.workspace, str(models / "inpaint")), SamplingSettings(size=32, dtype="bfloat16"), CPU
        )


def test_parts_that_do_not_fit_each_other_are_one_line(fetched: Toy, models: Path, tmp_path: Path) -> None:
    root, model = tmp_path / "w", tmp_path / "model"
    shutil.copytree(fetched.workspace.root, root)
    shutil.copytree(models / "inpaint", model)
    shutil.rmtree(model / "unet")
    shutil.copytree(models / "xl" / "unet", model / "unet")
    done = kit(f"-w {root} sd run --model {model} {LINE} --limit 1")
    assert done.is_one_error_line and "fails" in done.err, done


def test_a_full_disk_keeps_what_was_made(
    fetched: Toy, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, calls = fetched.copy(tmp_path / "w"), iter(range(1000))
    find_model(toy.workspace, str(models / "inpaint"))  # its digest is written here
    limit = 4  # the recipe, two prompts and the first batch

    def fills_up(_: int) -> None:
        if next(calls) >= 2 * 3 + 1:  # each small file is flushed with its folder
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fills_up)
        with pytest.raises(KitError, match="No room left on the disk"):
            sample(toy, models / "inpaint", batch=limit)
    assert sample(toy, models / "inpaint")[0].hits == 4


def run_kit(root: Path, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`kit -w ROOT LINE` as a process."""
    command = [sys.executable, "-m", "kit", "-w", str(root), *line.split()]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.long
@pytest.mark.slow
def test_two_processes_of_a_queue_share_the_samples_and_one_that_stops_goes_on(
    fetched: Toy, models: Path, tmp_path: Path
) -> None:
    together, alone = fetched.copy(tmp_path / "together"), fetched.copy(tmp_path / "alone")
    line = f"sd run --model {models / 'plain'} {LINE} --prompt seamless --samples 2 --batch-size 1"
    stopped = run_kit(alone.workspace.root, line, KIT_STOP_AT="2020-01-01T00:00")
    assert stopped.returncode == 75 and "Not finished in time: Sampling: 1 of 24 samples. Go on: kit" in stopped.stderr
    done = [run_kit(toy.workspace.root, f"{line}{more}") for toy, more in ((alone, ""), (together, " --jobs 2"))]
    assert [one.returncode for one in done] == [0, 0], done
    assert "Made: 23 samples" in done[0].stdout and "There already: 24 samples" in done[1].stdout
    assert len(list(together.workspace.root.glob("sd/*/samples/*.bin"))) == 2
    for split in ("oof", "test"):
        parts = [toy.workspace.source("sd-mean", split) / "all.npy" for toy in (alone, together)]
        assert parts[0].read_bytes() == parts[1].read_bytes()


def test_samples_that_machines_with_gpus_have_drawn_are_those_to_go_on_with(
    fetched: Toy, models: Path, tmp_path: Path
) -> None:
    toy = fetched.copy(tmp_path / "w")
    request = SamplingRequest(("{animal}",), str(models / "plain"), settings=replace(QUICK, dtype="auto"))
    session = open_session(Project(toy.workspace), request, print)
    assert session.recipe.settings.dtype == "float32" and as_drawn(session) is session
    half = replace(session.recipe, settings=replace(session.recipe.settings, dtype="float16"))
    half.save(toy.workspace)
    assert as_drawn(session).recipe == half


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_two_machines_of_a_cluster_draw_a_shard_each_and_the_sources_have_the_same_bytes(
    fetched: Toy, models: Path, tmp_path: Path, bucket: str
) -> None:
    alone, together, apart = (fetched.copy(tmp_path / name) for name in ("alone", "together", "apart"))
    line = f"sd run --model {models / 'plain'} {LINE} --prompt seamless --samples 2 --batch-size 1"
    assert run_kit(apart.workspace.root, line.replace("--samples 2", "--samples 1")).returncode == 0
    ways = [(alone, ""), (together, " --on ray"), (apart, f" --on ray --bucket {bucket}")]
    done = [run_kit(toy.workspace.root, f"{line}{more}") for toy, more in ways]
    assert [one.returncode for one in done] == [0, 0, 0], done
    for one in done[1:]:
        assert "[shard 1/2] begins on" in one.stderr and "[shard 2/2] begins on" in one.stderr
        assert "There already: 24 samples" in one.stdout
    assert len(list(apart.workspace.root.glob("sd/*/samples/*.bin"))) == 3
    for split in ("oof", "test"):
        parts = [toy.workspace.source("sd-mean", split) / "all.npy" for toy, _ in ways]
        assert len({part.read_bytes() for part in parts}) == 1
    drawn = open_workspace(apart.workspace.root).sd.run(
        str(models / "plain"), "seamless", 3, on="ray", bucket=bucket, batch=1, size=32, steps=2
    )
    assert (drawn.made, drawn.there) == (0, 36) and "sd-mean" in drawn.sources  # all made by the cluster's jobs
    refused = run_kit(together.workspace.root, f"{line} --samples 3 --on ray --shard 1/2")
    assert refused.returncode == 2 and "leave --shard out" in refused.stderr
