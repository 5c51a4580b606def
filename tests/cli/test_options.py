"""Global options wherever they are typed, names with commas, and commands in the order in which they are used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.command import kit, ok
from support.small import Small

from kit.cli.options import COMMANDS, hoist_global_options, split_commas


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fetch -w here", "-w here fetch"),
        ("blend a b --workspace=here --json", "--workspace=here blend a b --json"),
        ("-w first sd run --competition slug -w second", "-w first --competition slug -w second sd run"),
        ("import a -- -w here", "import a -- -w here"),
        ("fetch -w", "fetch -w"),
        ("", ""),
    ],
)
def test_global_options_come_first(words: str, expected: str) -> None:
    assert hoist_global_options(words.split()) == expected.split()


def test_the_workspace_may_be_named_after_the_command(small: Small, tmp_path: Path) -> None:
    project = small.copy(tmp_path / "w")
    assert str(project.workspace.root) in ok(f"folds --k 3 -w {project.workspace.root}")
    assert project.workspace.folds.is_file()


def test_a_workspace_without_a_name_is_one_line() -> None:
    assert kit("folds -w").is_one_error_line


def test_names_are_split_at_commas() -> None:
    assert split_commas(["a,b", "c", "b,, a"]) == ["a", "b", "c", "b", "a"]


def test_help_lists_every_command_in_the_order_of_use() -> None:
    listed = re.findall(r"^  ([a-z-]+)  ", ok("--help").partition("Commands:")[2], re.MULTILINE)
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("command", ["", "sd", "clip", "weights"])
def test_no_summary_in_a_list_of_commands_is_cut_off(command: str) -> None:
    summaries = ok(f"{command} --help").partition("Commands:")[2]
    assert summaries.strip() and "..." not in summaries


def test_a_mistyped_command_names_the_right_one() -> None:
    done = kit("blnd")
    assert done.is_one_error_line and "'blend'" in done.err
