"""How the code is laid out, measured: entries, circles, handles in signatures, `Any`, lines, functions.

    scripts/bench/house.py                     # the working tree
    scripts/bench/house.py f7093b6 HEAD        # commits side by side

A circle is a set of entries of one folder that import each other in a ring, imports inside functions included. A handle
is one of workspace, index, folds and pack. Lines are those that hold code: no blank, no comment, no docstring.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import subprocess
import tarfile
import tempfile
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

HANDLES = {"workspace", "index", "folds", "pack"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", help="commits; without one, the working tree")
    columns = {}
    for revision in parser.parse_args().revisions or [""]:
        with tempfile.TemporaryDirectory() as folder:
            columns[revision or "here"] = measure(checkout(revision, Path(folder)))
    width = max(len(row) for figures in columns.values() for row in figures) + 2
    print(" " * width + "".join(f"{name[:12]:>14}" for name in columns))
    for row in next(iter(columns.values())):
        print(f"{row:<{width}}" + "".join(f"{figures[row]:>14}" for figures in columns.values()))


def checkout(revision: str, folder: Path) -> Path:
    """Return the root of the tree at `revision`, unpacked below `folder`; the repository itself for no revision."""
    root = Path(__file__).resolve().parents[2]
    if not revision:
        return root
    archive = subprocess.run(["git", "archive", revision], cwd=root, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def measure(root: Path) -> dict[str, str]:
    """Return the figures of one tree, row by row."""
    package = root / "kit"
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    tests = {path: path.read_text(encoding="utf-8") for path in sorted((root / "tests").rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in sources.items()}
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, Function)]
    folders = sorted({path.parent for path in sources})
    entries = {folder: len(list(entries_of(folder))) for folder in folders}
    rings = circles(package, trees)
    lengths = [(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions]
    longest = max((len(text.splitlines()), path) for path, text in sources.items())
    longest_test = max((len(text.splitlines()), path) for path, text in tests.items())
    return {
        "entries directly under kit/": str(entries[package]),
        "most entries in another folder": str(max(count for folder, count in entries.items() if folder != package)),
        "folders": str(len(folders)),
        "modules": str(len(sources)),
        "circles": str(len(rings)),
        "entries in circles": str(sum(len(ring) for ring in rings)),
        "signatures with two or more handles": str(
            sum(len(HANDLES & arguments(node).keys()) > 1 for node in functions)
        ),
        "parameters of type Any": str(sum(is_any(kind) for node in functions for kind in arguments(node).values())),
        "functions": str(len(functions)),
        "median lines of a function": f"{statistics.median(lengths):g}",
        "functions above 70 lines": str(sum(length > 70 for length in lengths)),
        "longest module, lines": str(longest[0]),
        "longest test file, lines": str(longest_test[0]),
        "lines of code in kit/": str(sum(map(code_lines, sources.values()))),
        "lines of code in tests/": str(sum(map(code_lines, tests.values()))),
    }


def entries_of(folder: Path) -> Iterator[Path]:
    """Yield what a newcomer sees in a folder: modules, and folders with modules."""
    for path in folder.iterdir():
        if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py"))) or path.name == "py.typed":
            yield path


def is_any(annotation: str) -> bool:
    """Return whether a type says nothing: the word `Any` in it, other than as the values of a JSON object."""
    return re.search(r"\bAny\b", annotation.replace("dict[str, Any]", "")) is not None


def arguments(function: Function) -> dict[str, str]:
    """Return the parameters of a function by name, each with its annotation as text."""
    spec = function.args
    every = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
    return {one.arg: ast.unparse(one.annotation) if one.annotation else "" for one in every if one is not None}


def circles(package: Path, trees: dict[Path, ast.Module]) -> list[set[str]]:
    """Return the sets of sibling modules or folders that import each other in a ring, at every level."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for path, tree in trees.items():
        here = dotted(package, path)
        for there in imported(package, tree):
            if (arrow := siblings(here, there)) is not None:
                arrows[arrow[0]].add(arrow[1])
    reach = {start: reachable(arrows, start) for start in arrows}
    rings = {frozenset(b for b in reach[a] if a in reach.get(b, ())) for a in arrows if a in reach[a]}
    return [set(ring) for ring in rings]


def dotted(package: Path, path: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts)


def imported(package: Path, tree: ast.Module) -> Iterator[str]:
    """Yield the modules below the package that a module imports, also inside functions; folders as their `__init__`."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if exists(package, name) else node.module for name in inner]
        for name in {name for name in names if name.split(".")[0] == package.name and exists(package, name)}:
            is_folder = (package.parent / name.replace(".", "/")).is_dir()
            yield f"{name}.__init__" if is_folder else name


def exists(package: Path, name: str) -> bool:
    path = package.parent / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def siblings(here: str, there: str) -> tuple[str, str] | None:
    """Return the two entries of the deepest common folder between which an import runs; None within one entry.

    A folder's own `__init__` is its face: what lies in the folder may import it only without a ring, so it counts as
    an entry for what lies beside it and not for what lies below.
    """
    a, b = here.split("."), there.split(".")
    depth = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if depth is None or "__init__" in (a[depth], b[depth]):
        return None
    return ".".join(a[: depth + 1]), ".".join(b[: depth + 1])


def reachable(arrows: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    open_ends = list(arrows.get(start, ()))
    while open_ends:
        name = open_ends.pop()
        if name not in seen:
            seen.add(name)
            open_ends += arrows.get(name, ())
    return seen


def code_lines(text: str) -> int:
    """Count lines with code on them."""
    docstrings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    plain = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in plain:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


if __name__ == "__main__":
    main()
