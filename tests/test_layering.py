"""The layers of `kit/__init__.py`, kept: read from its docstring, compared with every import in the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import kit

PACKAGE = Path(kit.__file__).parent
ABOVE_ALL = {"__main__"}  # starts the command line
MAY_IMPORT = {
    "0": {"0"},
    "1": {"0", "1"},
    "2": {"0", "1", "2"},
    "3a": {"0", "1", "2", "3a"},
    "3b": {"0", "1", "2", "3b"},
    "4": {"0", "1", "2", "3b", "4"},
    "5": {"0", "1", "2", "3a", "3b", "4", "5"},
}
LEARNING = {
    "torch",
    "torchvision",
    "timm",
    "segmentation_models_pytorch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
}
SERVICE = {"kaggle", "kagglesdk"}
FROM_LAYER = {
    "cv2": "1",
    "scipy": "1",
    "pandas": "2",
    "sklearn": "2",
    "pyarrow": "2",
    "matplotlib": "4",
    "typer": "5",
    "click": "5",
}


@cache
def layers() -> dict[str, str]:
    """Module below `kit` to its layer, from the docstring."""
    found = {}
    for layer, text in re.findall(r"^    (\d[ab]?) +(.*)$", kit.__doc__ or "", re.MULTILINE):
        for name in text.split():
            if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file():
                found[name] = layer
    return found


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def top_of(path: Path) -> str:
    """The first name below `kit`: `blending` for `kit/blending/gram.py`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, also inside functions, and the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            yield from ((f"{module}.{alias.name}" if module == "kit" else module, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: cannot tell what is imported"
            yield node.args[0].value, node.lineno


def test_every_module_has_a_layer_and_every_name_in_the_list_is_a_module() -> None:
    found = {top_of(path) for path in modules()} - ABOVE_ALL
    assert found == set(layers())
    listed = re.findall(r"^    \d[ab]? +(.*)$", kit.__doc__ or "", re.MULTILINE)
    assert len(listed) == len(MAY_IMPORT)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_its_layer_and_below(path: Path) -> None:
    layer = layers().get(top_of(path), "5")
    wrong = []
    for name, line in imports(path):
        parts = name.split(".")
        if parts[0] == "kit":
            below = parts[1] if len(parts) > 1 else ""
            if below in layers() and layers()[below] not in MAY_IMPORT[layer]:
                wrong.append(f"line {line}: {name} of layer {layers()[below]}")
        elif (
            (parts[0] in LEARNING and layer != "3a")
            or (parts[0] in SERVICE and top_of(path) != "remote")
            or (parts[0] in FROM_LAYER and FROM_LAYER[parts[0]] > layer)
        ):
            wrong.append(f"line {line}: {name}")
    assert not wrong, f"{path} is of layer {layer}, but imports: {'; '.join(wrong)}"


def test_the_two_middle_layers_never_import_each_other() -> None:
    seen = set()
    for path in modules():
        layer = layers().get(top_of(path))
        for name, _ in imports(path):
            parts = name.split(".")
            if parts[0] == "kit" and len(parts) > 1 and layer in ("3a", "3b"):
                seen.add((layer, layers().get(parts[1])))
    assert ("3a", "3b") not in seen and ("3b", "3a") not in seen
    assert ("3a", "2") in seen and ("3b", "2") in seen  # the test looks at something


def test_importing_the_lower_layers_loads_no_torch() -> None:
    names = [name for name, layer in layers().items() if layer not in ("3a", "5")]
    code = "import sys, importlib\n" + "\n".join(f"importlib.import_module('kit.{name}')" for name in sorted(names))
    code += "\nprint(sorted({'torch', 'timm', 'kaggle', 'kagglesdk'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not {path.stem for path in modules()} & {"utils", "util", "helpers", "common", "misc"}
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} does not say what it knows"
