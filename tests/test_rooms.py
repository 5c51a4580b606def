"""What import contracts cannot say of the rooms: what is loaded, and that every module says what it knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kit

PACKAGE = Path(kit.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
WITHOUT_TORCH = ("core", "imaging", "competitions", "remote", "data", "blending", "submission", "exchange", "report")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_importing_rooms_without_networks_loads_no_torch_and_asks_for_no_key() -> None:
    names = [dotted(path) for path in MODULES if path.relative_to(PACKAGE).parts[0] in WITHOUT_TORCH]
    assert len(names) > 60
    code = f"import sys, importlib\nfor name in {names!r}: importlib.import_module(name)\n"
    code += "print(sorted({'torch', 'timm', 'kaggle', 'kagglesdk'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_has_a_name_that_says_something_and_says_what_it_knows(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_map_of_rooms_names_every_room() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    listed = {line.split()[0] for line in (kit.__doc__ or "").splitlines() if line.startswith("    ") and line.strip()}
    assert listed == rooms | {"errors"}
