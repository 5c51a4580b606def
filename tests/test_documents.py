"""Documents cannot rot: links lead somewhere, and what they tell people to type is what `kit` takes."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import kit
from kit.cli import MODULES, app
from kit.cli.options import COMMANDS, split_global_options

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "DESIGN.md")]
_ENDS = {"&&", "||", "|", ";", "&", ">", "<", ">>", "done", "then"}
_BEFORE = {"do", "time", "!kit", "-m", "program"}  # what may stand before `kit` where it is a command


@pytest.fixture(scope="module")
def group() -> Any:
    for module in MODULES:
        importlib.import_module(f"kit.cli.{module}")
    return typer.main.get_command(app)


def code_blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines of each block of indented or fenced code."""
    block: list[str] = []
    fenced, before_is_blank = False, True
    for line in [*text.splitlines(), "."]:
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        if not fence and (fenced or (line.startswith("    ") and (block or before_is_blank))):
            block.append(line)
        elif block and (line.strip() or fence):
            yield block
            block = []
        before_is_blank = not line.strip()


def typed_commands(line: str) -> Iterator[list[str]]:
    """Yield the words after each `kit` that a line of a shell runs."""
    line = re.sub(r"(^|\s)!kit\b", r"\1kit", line.replace("$k", "0"))
    splitter = shlex.shlex(line, posix=True, punctuation_chars=True)
    splitter.whitespace_split = True
    try:
        words = list(splitter)
    except ValueError:  # an apostrophe: no line of a shell
        return
    start = True
    while words:
        word = words.pop(0)
        if word == "kit" and start:
            end = next((place for place, one in enumerate(words) if one in _ENDS), len(words))
            yield words[:end]
            words = words[end:]
            start = True
            continue
        start = word in _ENDS or word in _BEFORE or (start and re.match(r"[A-Z_]+=", word) is not None)


def leaf(group: Any, words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that the words name, and the rest of them."""
    command = group
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"there is no kit {' '.join(words[:2])}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options_of(command: Any) -> set[str]:
    """Return every option of a command, and of all its verbs."""
    found = {name for one in command.params for name in (*one.opts, *one.secondary_opts) if name.startswith("-")}
    return found.union(*(options_of(one) for one in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_what_a_page_tells_to_type_is_taken(page: Path, group: Any) -> None:
    own = {name for one in group.params for name in one.opts} | {"--help", "-h"}
    for line in itertools.chain.from_iterable(code_blocks(page.read_text(encoding="utf-8"))):
        for words in typed_commands(line):
            rest = split_global_options(words)[1]
            if rest and rest[0] in own:  # such as kit --version
                continue
            command, rest = leaf(group, rest)
            try:
                command.make_context(command.name, rest)  # parses and checks every value; runs nothing
            except Exception as error:  # Typer may carry its own copy of click, and with it another UsageError
                message = error.format_message() if hasattr(error, "format_message") else repr(error)
                pytest.fail(f"{line.strip()}: {message}")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_within_sentences_exist_with_their_options(page: Path, group: Any) -> None:
    known = {"--help", "-h", "--version"} | options_of(group) - options_of_commands(group)
    for inline in re.findall(r"`kit ([a-z][^`]*)`", page.read_text(encoding="utf-8").replace("\\|", "|")):
        name = inline.split()[0]
        assert name in COMMANDS, f"there is no kit {name}"
        unknown = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", inline)) - options_of(group.commands[name]) - known
        assert not unknown, f"kit {inline}: no {unknown}"


def options_of_commands(group: Any) -> set[str]:
    """Return the options of all commands, and none of `kit` itself."""
    own = {name for one in group.params for name in one.opts}
    return set().union(*(options_of(one) for one in group.commands.values())) - own


def test_a_command_that_is_none_would_be_found(group: Any) -> None:
    assert list(typed_commands("for k in 0 1; do kit train --fold $k; done")) == [["train", "--fold", "0"]]
    assert list(typed_commands("A=1 kit folds && kit fill all > log   # kit no")) == [["folds"], ["fill", "all"]]
    assert list(typed_commands("docker build -t kit .")) == []
    with pytest.raises(AssertionError, match="no kit dance"):
        leaf(group, ["sd", "dance"])
    command, rest = leaf(group, ["blend", "--rungs", "ridge"])
    with pytest.raises(Exception, match="--rungs"):
        command.make_context("blend", rest)


def test_every_link_and_anchor_leads_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("markdown_it")
    program = [sys.executable, str(ROOT / "scripts" / "documents.py"), "--out", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {"index.html", "docs/index.html", "docs/kaggle.html", "docs/report.png"} <= written


def test_a_link_into_nothing_would_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("markdown_it")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    documents = importlib.import_module("documents")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`, c\n\n# A b c\n\n[1](#a-b-c) [2](#a-b-c-1) [3](#d) [4](gone.md) [5](../out.md) [6](page.md#a-b)"
    )
    broken = documents.broken({Path("page.md"): documents.read(page)})
    assert [line.split(": ")[1].split()[0] for line in broken] == ["#d", "gone.md", "../out.md", "page.md#a-b"]


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == ["README.md"]


def test_the_readme_is_short_and_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
    rows = "\n".join(line.split("|")[1] for line in text.replace("\\|", "/").splitlines() if line.startswith("| `kit "))
    assert [name for name in COMMANDS if f"`kit {name}" not in rows] == []


def test_scripts_that_pages_name_are_there() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for name in re.findall(r"\b(?:scripts|examples|tests)/[\w./-]*\w", page.read_text(encoding="utf-8")):
            assert list(ROOT.glob(f"{name}*")), f"{page.name}: {name}"


def messages() -> str:
    """Return every text in the code, with a zero byte where a value stands; those of scripts as they are."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "scripts").iterdir() if path.is_file()]
    for path in (ROOT / "kit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(one.value) if isinstance(one, ast.Constant) else "\0" for one in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_messages_that_have_a_remedy_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").partition("## Setting up")[2]
    shown = [
        one for row in page.splitlines() if row.startswith("|") for one in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    shown = [one for one in shown if " " in one and not one.startswith("kit ")]
    said = messages()
    unknown = {part for one in shown for part in one.split("...") if len(part.strip()) > 3 and part.strip() not in said}
    assert len(shown) > 15 and not unknown


def test_python_that_pages_show_calls_what_there_is() -> None:
    calls = 0
    for page in PAGES:
        for block in code_blocks(page.read_text(encoding="utf-8")):
            try:
                tree = ast.parse(textwrap.dedent("\n".join(block)))
            except SyntaxError:  # lines of a shell
                continue
            for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
                if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "project":
                    method = getattr(kit.Project, call.func.attr)
                    inspect.signature(method).bind(None, *call.args, **{str(word.arg): None for word in call.keywords})
                    calls += 1
    assert calls > 10
