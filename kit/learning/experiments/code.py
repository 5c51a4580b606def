"""Code of the user's own: read, run once a process, and named by its content. Knows neither torch nor settings.

A reference is how an experiment names it: `Net@5f3a0c9d12ab34cd` is a class or function of a file with that digest,
and `nets.small:Net@their-nets==1.2` one of an installed package. A file is copied into each run that uses it, so a
reference outlives the file; here the contents are kept by their digest, wherever they were read from.
"""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from kit.core import user_code
from kit.core.parallel import is_main_process
from kit.core.speech import say_once
from kit.core.storage import digest_bytes
from kit.core.user_code import parse_code, read_code, run_code, shortened
from kit.errors import DamagedStore, UsageError, closest_name

GROUPS = {"model": "kit.architectures", "experiment": "kit.experiments", "loss": "kit.losses"}
"""Entry points of installed packages, by what they give."""

_OF_A_FILE = re.compile(r"(?P<name>\w+)@(?P<digest>[0-9a-f]{16})")
_OF_A_PACKAGE = re.compile(r"(?P<module>[\w.]+):(?P<name>\w+)@(?P<package>[\w.-]+)==(?P<version>\S+)")


@dataclass(frozen=True)
class Code:
    """A file of Python as it was read."""

    path: Path
    """What messages name."""
    data: bytes
    from_run: bool
    """Whether a run carries it, and nobody named it on a command line."""


_read: dict[str, Code] = {}  # by digest, so that nothing here can become stale
_modules: dict[str, ModuleType] = {}


def is_file(text: str) -> bool:
    """Return whether a word on a command line means a Python file, or something in one."""
    return text.endswith(".py") or ".py:" in text


def reference_of(text: str, kind: str) -> str:
    """Return the reference of what was typed: `FILE.py:NAME`, an entry point's name, or a reference already.

    Args:
        kind: model, loss or experiment.

    Raises:
        UsageError: no such file or entry point, or a file that has changed since its digest was noted.
    """
    if is_file(text):
        return _reference_in_file(text, kind)
    if _OF_A_FILE.fullmatch(text) or _OF_A_PACKAGE.fullmatch(text):
        return text
    known = entry_points(kind)
    if text in known:
        return known[text]
    meant = closest_name(text, known)
    raise UsageError(
        f"There is no {kind} {text!r}.{f' Did you mean {meant}?' if meant else ''} Name a file's: FILE.py:NAME"
    )


def entry_points(kind: str) -> dict[str, str]:
    """Return the references of what installed packages offer, by the names that they gave. Imports none of them."""
    found = {}
    for point in metadata.entry_points(group=GROUPS[kind]):
        if point.dist is not None:
            found[point.name] = f"{point.module}:{point.attr}@{point.dist.name}=={point.dist.version}"
    return found


def _reference_in_file(text: str, kind: str) -> str:
    place, _, name = text.rpartition(".py:")
    path = Path(f"{place}.py" if place else text).expanduser().absolute()
    digest = remember(path)
    name, _, noted = name.partition("@")
    if not place or not name:
        known = ", ".join(f"{path.name}:{one}" for one in _names_in(_read[digest]))
        raise UsageError(f"{path}: which {kind} of it? Write FILE.py:NAME. There are: {known or 'none yet'}.")
    if noted not in ("", digest):
        raise UsageError(f"{path} has changed since {name}@{noted} was noted. Leave @{noted} out to take it as it is.")
    return f"{name}@{digest}"


def remember(path: Path, *, from_run: bool = False) -> str:
    """Read a file of Python and return its digest.

    Raises:
        UsageError: it is not there or cannot be read.
    """
    hint = "Name a file: FILE.py:NAME" if path.exists() else "Begin one: kit new model NAME"
    data = read_code(path, hint)
    digest = digest_bytes(data)
    if digest not in _read or not from_run:  # the file that was named last is told and noted, a copy only without one
        _read[digest] = Code(path, data, from_run)
    return digest


def digest_in(reference: str) -> str | None:
    """Return the digest of the file that a reference is in; None for a package's and for `none`."""
    found = _OF_A_FILE.fullmatch(reference)
    return found["digest"] if found else None


def package_of(reference: str) -> str | None:
    """Return the installed package that a reference is of, if it is one's."""
    found = _OF_A_PACKAGE.fullmatch(reference)
    return found["package"] if found else None


def name_in(reference: str) -> str:
    """Return the name of the class or function."""
    return reference.partition("@")[0].rpartition(":")[2]


def typed(reference: str, path: Path | None = None) -> str:
    """Return a reference as `reference_of` reads it back, with the digest.

    Args:
        path: of a copy of the file; by default from where it was read.
    """
    digest = digest_in(reference)
    if digest is None or (path is None and digest not in _read):
        return reference
    return f"{path or _read[digest].path}:{reference}"


def called(reference: str) -> str:
    """Return what messages call it: `mine.py: Net`."""
    digest = digest_in(reference)
    if digest is None:
        return reference.partition("@")[0]
    code = _read.get(digest)
    return f"{code.path}: {name_in(reference)}" if code else reference


def data_of(reference: str) -> bytes:
    """Return the contents of the file that a reference is in.

    Raises:
        DamagedStore: no file with that digest was read.
    """
    code = _read.get(str(digest_in(reference)))
    if code is None:
        raise DamagedStore(
            f"The file of {reference} is in no run any more as it was trained (model.py or loss.py there). Put it "
            "back, or name your own file, which must be the same: kit train FILE.py:NAME"
        )
    return code.data


def load(reference: str) -> Any:
    """Return the class or function that a reference names; its file is run, once a process.

    Raises:
        UsageError: it cannot be run, or has no such name; says in which line.
        DamagedStore: see `data_of`.
    """
    if package := _OF_A_PACKAGE.fullmatch(reference):
        return _load_from_package(package)
    data_of(reference)
    code, name = _read[str(digest_in(reference))], name_in(reference)
    module = _run(code, str(digest_in(reference)))
    if not hasattr(module, name):
        names = _names_in(code)
        meant = closest_name(name, names)
        raise UsageError(
            f"{code.path} has no {name}.{f' Did you mean {code.path.name}:{meant}?' if meant else ''} "
            f"There are: {', '.join(names) or 'no classes and functions'}."
        )
    return getattr(module, name)


def _load_from_package(found: re.Match[str]) -> Any:
    package, version = found["package"], found["version"]
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        raise UsageError(f"{package} is not installed. Run: pip install {package}=={version}") from None
    if installed != version:
        raise UsageError(
            f"{found['name']} was trained with {package} {version}, and {installed} is installed. Run: pip install "
            f"{package}=={version}; or train anew under another name with --as NAME"
        )
    try:
        return getattr(importlib.import_module(found["module"]), found["name"])
    except (Exception, SystemExit) as error:  # whatever their module raises while it is imported
        raise UsageError(f"{found['module']}:{found['name']} of {package} {version}: {shortened(error)}") from None


def _run(code: Code, digest: str) -> ModuleType:
    if digest in _modules:
        return _modules[digest]
    _check_neighbours(code, parse_code(code.path, code.data))
    if code.from_run and is_main_process():
        say_once(f"Running code that a run carries, not a file you named: {code.path}", about=digest)
    _modules[digest] = run_code(code.path, code.data, f"kit_own_{digest}")
    return _modules[digest]


def _names_in(code: Code) -> list[str]:
    kinds = (ast.ClassDef, ast.FunctionDef)
    found = parse_code(code.path, code.data).body
    return [one.name for one in found if isinstance(one, kinds) and not one.name.startswith("_")]


def _check_neighbours(code: Code, tree: ast.Module) -> None:
    """Raise `UsageError` for a file that imports another one beside it: that one would not be copied."""
    for node in ast.walk(tree):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = ["." if node.level else str(node.module)]
        for name in names:
            if name.partition(".")[0] == "kit":  # whoever works in a checkout of kit has it beside the file
                continue
            beside = code.path.parent / name.partition(".")[0]
            if name == "." or beside.with_suffix(".py").is_file() or (beside / "__init__.py").is_file():
                raise UsageError(
                    f"{code.path}:{node.lineno}: imports a file beside it, which a run would not carry. Put both into "  # type: ignore[attr-defined]
                    "one file, or make a package of them with an entry point (docs/own-model.md)."
                )


def failed(error: BaseException, reference: str, doing: str, hint: str = "") -> UsageError:
    """Return the one line about an exception in somebody's code.

    Args:
        reference: to what of theirs failed.
        doing: what failed, such as "the backward pass of Net".
        hint: what to do about it.
    """
    return user_code.failed(error, _path_of(reference), doing, hint)


def _path_of(reference: str) -> Path | str:
    digest = digest_in(reference)
    if digest is None:
        return reference.partition("@")[0]
    module = _modules.get(digest)
    return Path(str(module.__file__)) if module else _read[digest].path
