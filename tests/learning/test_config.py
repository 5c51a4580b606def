"""Settings as TOML: what is written reads as the same experiment, and what cannot be is one line with file and key."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo
from support.command import kit, ok

from kit.errors import UsageError
from kit.learning.experiments import EXPERIMENTS, Experiment, experiment, read_config, recipe_of, toml_of
from kit.learning.experiments.config import TABLES
from kit.learning.experiments.limits import choices_of, kind_of
from kit.learning.experiments.parse import with_seeds
from kit.learning.experiments.settings import setting_fields

TEXTS = {
    "encoder": st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    "encoder_weights": st.just("none") | st.text("aÄ \"'\\#=,\t\n", min_size=1).map(lambda text: f"/w/{text}x.pth"),
    "extra": st.just("none") | st.text("aÄ \"'\\#=,\t\n", min_size=1).map(lambda text: f"/w/{text}photos"),
    **dict.fromkeys(("model", "loss"), st.sampled_from(["none", "Net@00000000000000aa", "nets:Net@nets==1.2"])),
    "model_arguments": st.sampled_from(["none", "depth=3,slope=0.1"]),
    "clip_model": st.sampled_from(["none", "thumbnail@0123456789abcdef"]),  # stored as `--set` pins it,
}


def values_of(name: str, field: FieldInfo) -> st.SearchStrategy[Any]:
    """Values within a setting's declared limits."""
    if choices := choices_of(field):
        return st.sampled_from(choices)
    kind = kind_of(field)
    if kind is str:
        return TEXTS[name]
    if kind is bool:
        return st.booleans()
    if kind is tuple:
        return st.lists(st.integers(1, 4096), min_size=1, max_size=5).map(tuple)
    low = next(
        bound.ge if isinstance(bound, Ge) else bound.gt for bound in field.metadata if isinstance(bound, Ge | Gt)
    )
    high = next(
        (bound.le if isinstance(bound, Le) else bound.lt for bound in field.metadata if isinstance(bound, Le | Lt)),
        None,
    )
    if kind is int:
        return st.integers(int(low), None if high is None else int(high))
    open_low, open_high = (any(isinstance(bound, one) for bound in field.metadata) for one in (Gt, Lt))
    return st.floats(
        float(low),
        None if high is None else float(high),
        exclude_min=open_low,
        exclude_max=open_high,
        allow_nan=False,
        allow_infinity=False,
    )


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    """Any experiment with any settings, under its own name or another."""
    base = EXPERIMENTS[draw(st.sampled_from(sorted(EXPERIMENTS)))]()
    names = draw(st.sets(st.sampled_from(sorted(setting_fields())), max_size=8))
    changed = {name: draw(values_of(name, setting_fields()[name])) for name in sorted(names)}
    try:
        return dataclasses.replace(base, name=draw(st.sampled_from([base.name, "mine"])), **changed)
    except UsageError:
        assume(False)
        raise


def read_back(text: str) -> Experiment:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.toml")
        path.write_text(text, encoding="utf-8")
        config = read_config(path)
    assert config.experiment is not None
    return experiment(config.experiment, rename=config.name, config=config.settings)


@given(experiments())
def test_what_is_written_reads_as_the_same_experiment(one: Experiment) -> None:
    again = read_back(toml_of(one))
    assert again == one and again.digest == one.digest and recipe_of(again) == recipe_of(one)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_reads_back_as_it_is_listed(name: str) -> None:
    assert read_back(toml_of(EXPERIMENTS[name]())) == EXPERIMENTS[name]()
    assert read_back(f'experiment = "{name}"\n') == EXPERIMENTS[name]()


def test_flat_keys_and_tables_say_the_same(tmp_path: Path) -> None:
    flat, tables = tmp_path / "flat.toml", tmp_path / "tables.toml"
    flat.write_text(
        'size = 32\noptimizer = "adam"\ndecoder_channels = [32, 16]\nmse_weight = 2\nflip = false\nclip = 0.5\n'
    )
    tables.write_text(
        '[data]\nsize = 32\nflip = false\n[optimizer]\noptimizer = "adam"\nclip = 0.5\n'
        "[network]\ndecoder_channels = [32, 16]\n[loss]\nmse_weight = 2\n"
    )
    made = [experiment("regress", config=read_config(path).settings) for path in (flat, tables)]
    assert made[0] == made[1]
    assert (made[0].size, made[0].decoder_channels, made[0].mse_weight, made[0].flip) == (32, (32, 16), 2.0, False)
    assert made[0].gradient_clip == 0.5


WRONG = {
    "sise = 64": "there is no setting 'sise'. Did you mean size = 64?",
    "lr = 0.1": "Did you mean learning_rate = 0.1?",
    'experimen = "regress"': 'Did you mean experiment = "regress"?',
    "experiment = 3": "experiment = 3: text is needed",
    "size = 60": "size = 60: one of 32, 64, 128, 256.",
    'size = "64"': "a whole number is needed",
    "epochs = true": "epochs = true: a whole number is needed",
    "epochs = 2.0": "epochs = 2.0: a whole number is needed",
    "epochs = 0": "epochs = 0: 1 to 100000.",
    "learning_rate = nan": "a finite number is needed",
    "learning_rate = inf": "learning_rate = inf",
    "flip = 1": "true or false is needed",
    'decoder_channels = "16"': "a list of whole numbers",
    "decoder_channels = [16, 1.5]": "a list of whole numbers",
    "decoder_channels = []": "1 to 5 numbers",
    "[loss]\nsize = 64": "size is in the table [loss]. Did you mean [data]?",
    "[los]\nmse_weight = 1.0": "there is no table [los]. Did you mean [loss]?",
    "size = 64\n[data]\nsize = 64": "size is there twice",
    "size =": "cannot be read as TOML",
    'clip_model = "/nowhere"': "clip_model",
    "pool = 3": "pool changes nothing: it is method=cyclegan's",
    'method = "cyclegan"': "regress: method=cyclegan needs architecture",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_is_one_line_with_the_file_and_the_key(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text + "\n")
    done = kit(f"-w {tmp_path} train regress --fold 0 --config {path}")
    assert done.is_one_error_line and str(path) in done.err and WRONG[text] in done.err, done.err


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name, said in {"none.toml": "is not there", "": "cannot be read", "bytes.toml": "cannot be read"}.items():
        done = kit(f"train regress --fold 0 --config {tmp_path}/{name}")
        assert done.is_one_error_line and said in done.err


def test_file_and_command_line_name_one_experiment(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('experiment = "bilstm"\nname = "mine"\n')
    assert "the command regress. Leave one" in kit(f"train regress --fold 0 --config {path}").err
    path.write_text('name = "mine"\n')
    assert 'Put experiment = "regress" into it' in kit(f"train --fold 0 --config {path}").err
    assert "names one source, but 2" in kit(f"train regress bilstm --fold 0 --config {path}").err


def test_the_command_line_wins_over_the_file_and_its_errors_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('experiment = "regress"\nname = "mine"\nsize = 128\nepochs = 3\n')
    out = ok(f"-w {tmp_path} train --config {path} --set size=32 --seed 5 --print-config")
    one = read_back(out)
    assert (one.name, one.size, one.epochs, one.seed) == ("mine", 32, 3, 5)
    done = kit(f"-w {tmp_path} train --config {path} --fold 0 --set sise=32")
    assert done.is_one_error_line and str(path) not in done.err
    assert read_back(ok(f"-w {tmp_path} train --config {path} --print-config --as other")).name == "other"


def test_tables_are_the_groups() -> None:
    assert list(TABLES) == ["network", "loss", "optimizer", "schedule", "data"]


def test_seeds_follow_the_experiments_own() -> None:
    one = experiment("regress", ["seed=7"])
    assert [(member.name, member.seed) for member in with_seeds(one, 3)] == [
        ("regress", 7),
        ("regress-s1", 8),
        ("regress-s2", 9),
    ]
