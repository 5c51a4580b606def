"""Which layout a workspace was fetched with: a built-in one, an installed package's, or a file of the user's own.

    data/<slug>/layout.json   its name and options, or the digest of the file; absent where the slug itself names it
    data/<slug>/layout.py     a user's file, as it was when the data was fetched

A layout's module has the constants and functions of `kit.competitions.photo_reconstruction`; see `kit new competition`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from kit.competitions import Competition, Layout, competition, folder, registered_slugs
from kit.core.storage import digest_bytes, digest_of, read_json, write_json, writing
from kit.core.user_code import errors_of_user_code, load_file, said_when_long
from kit.core.workspace import Workspace
from kit.errors import DamagedStore, UnknownName, UsageError
from kit.imaging.holes import boxes_from_text
from kit.imaging.metrics import metric_named

GROUP = "kit.competitions"
"""Entry points of installed packages: `name = "package.module"`, a layout's module each."""

FILE = "file"
_FUNCTIONS = ("index", "value_range", "header", "encode", "decode")
_CONSTANTS = {"TITLE": "title", "METRIC": "metric", "SAMPLE": "sample"}
_OPTIONAL = ("holds", "index_test")


@dataclass(frozen=True)
class LayoutChoice:
    """What was given with `--layout`."""

    name: str
    """A layout's name, or `file`."""
    path: Path | None = None
    """Of the file."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of a layout that takes some."""


def layout_choice(text: str) -> LayoutChoice:
    """Return what `--layout TEXT` means: a path where it looks like one, else a name.

    Raises:
        UnknownName: no such layout.
    """
    if text.endswith(".py") or Path(text).expanduser().is_file():
        return LayoutChoice(FILE, Path(text).expanduser())
    known = [*registered_slugs(), *_installed(), folder.NAME]
    if text not in known:
        raise UnknownName("layout", text, [*known, "FILE.py"])
    return LayoutChoice(text)


def load_layout(choice: LayoutChoice, slug: str) -> Competition:
    """Return the layout of a choice, under this slug.

    Raises:
        UsageError: a file that cannot be run, or lacks a function.
        UnknownName: no such layout.
    """
    if choice.path is not None:
        return from_module(load_file(choice.path, called="--layout"), slug, choice.path)
    if choice.name == folder.NAME:
        return folder.folder_competition(slug, choice.options)
    if choice.name in registered_slugs():
        return replace(competition(choice.name), slug=slug)
    found = _installed().get(choice.name)
    if found is None:
        raise UnknownName("layout", choice.name, [*registered_slugs(), *_installed(), "FILE.py"])
    with errors_of_user_code(Path(found.value), "importing it"):
        module = found.load()
    return from_module(module, slug, Path(str(getattr(module, "__file__", found.value))))


def from_module(module: ModuleType, slug: str, path: Path) -> Competition:
    """Make a competition of a module's constants and functions.

    Raises:
        UsageError: one is missing, or is not what it should be.
    """
    sent = getattr(module, "SUBMISSION", "csv")
    if sent not in ("csv", "cells", "pictures", "npy"):
        raise UsageError(f"{path}: SUBMISSION is {sent!r}, not 'csv', 'cells', 'pictures' or 'npy'.")
    wanted = (*_CONSTANTS, *_FUNCTIONS) if sent in ("csv", "cells") else ("TITLE", "METRIC", "index", "value_range")
    absent = [name for name in wanted if not hasattr(module, name)]
    if absent:
        raise UsageError(f"{path} lacks {', '.join(absent)}. A layout that has all: kit new competition NAME")
    for name in _CONSTANTS:
        if not isinstance(getattr(module, name, ""), str):
            raise UsageError(f"{path}: {name} is {getattr(module, name)!r}, not a text.")
    metric_named(getattr(module, "METRIC"))  # noqa: B009
    functions = {name: getattr(module, name) for name in (*_FUNCTIONS, *_OPTIONAL) if hasattr(module, name)}
    for name, function in functions.items():
        if not callable(function):
            raise UsageError(f"{path}: {name} is {function!r}, not a function.")
    made: dict[str, Any] = {field_name: getattr(module, name, "") for name, field_name in _CONSTANTS.items()}
    made |= {name: _guarded(function, path, name) for name, function in functions.items()}
    made |= {"painted": bool(getattr(module, "PAINTED", True)), "submission": sent}
    return Competition(slug=slug, mixed_sizes=bool(getattr(module, "MIXED_SIZES", False)), **made)


def _guarded(function: Callable[..., Any], path: Path, name: str) -> Callable[..., Any]:
    """Return the function with its exceptions turned into one line."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        long = said_when_long(f"{path}: {name}()") if name in ("index", "index_test") else contextlib.nullcontext()
        with errors_of_user_code(path, f"{name}()"), long:
            found = function(*arguments)
        if name in ("index", "index_test"):
            _check_rows(found, f"{path}: {name}()")
        if name == "value_range":
            found = np.asarray(found)
            if found.shape != (2, 3):
                raise UsageError(f"{path}: value_range() gives shape {found.shape}, not (2, 3): lowest and highest.")
        return found

    return call


_COLUMNS = ("id", "split", "klass", "name", "image", "target", "boxes")


def _check_rows(found: Any, what: str) -> None:
    """Raise `UsageError` where an index is none, before anything is made of it."""
    if not isinstance(found, Layout):
        raise UsageError(f"{what} gives {type(found).__name__}, not kit.competitions.Layout(rows, notes).")
    columns = getattr(found.rows, "columns", None)
    if columns is None:
        raise UsageError(f"{what}: its rows are {type(found.rows).__name__}, not a pandas DataFrame.")
    if not len(found.rows):
        raise UsageError(f"{what} finds no photo.")
    if absent := [name for name in _COLUMNS if name not in columns]:
        raise UsageError(f"{what}: its rows lack the columns {', '.join(absent)}.")
    for name, text in zip(found.rows["id"], found.rows["boxes"], strict=True):
        try:
            boxes_from_text(text)
        except (TypeError, ValueError, AttributeError):
            said = f"boxes of {name} are {str(text)[:40]!r}. Write them with kit.imaging.holes.boxes_to_text"
            raise UsageError(f"{what}: {said}") from None


def keep_layout(workspace: Workspace, choice: LayoutChoice | None) -> str:
    """Note a choice in a workspace, with a copy of its file; return the digest, "" where the slug itself names it."""
    if choice is None:
        return ""
    if choice.path is not None:
        with writing(_copy_of(workspace)) as file:
            file.write(choice.path.read_bytes())
    write_json(_note_of(workspace), _document(choice))
    return choice_digest(choice)


def choice_digest(choice: LayoutChoice | None) -> str:
    """Return what names a choice by its content, "" where the slug itself names the layout."""
    return "" if choice is None else digest_of(_document(choice))


def _document(choice: LayoutChoice) -> dict[str, Any]:
    document: dict[str, Any] = {"layout": choice.name, "options": choice.options}
    return document if choice.path is None else {**document, "digest": digest_bytes(choice.path.read_bytes())}


def noted_choice(workspace: Workspace) -> LayoutChoice | None:
    """Return what a workspace was fetched with; None where its slug names the layout.

    Raises:
        DamagedStore: the note or the copied file is not what was written.
    """
    note = _note_of(workspace)
    if not note.is_file():
        return None
    document = read_json(note, made_by="kit fetch --force")
    name, copy = document.get("layout"), _copy_of(workspace)
    if not isinstance(name, str) or not isinstance(document.get("options"), dict):
        raise DamagedStore(f"{note} is not what kit wrote. Run: kit fetch --layout FILE.py --force")
    if name != FILE:
        return LayoutChoice(name, None, document["options"])
    if not copy.is_file() or digest_bytes(copy.read_bytes()) != document.get("digest"):
        raise DamagedStore(
            f"{copy} is not as it was when the data was fetched. Fetch with the layout that is meant: kit fetch "
            "--layout FILE.py --force"
        )
    return LayoutChoice(FILE, copy)


def layout_of(workspace: Workspace) -> Competition:
    """Return a workspace's layout.

    Raises:
        UnknownName: its slug has no layout, and none was given.
        DamagedStore, UsageError: see `noted_choice` and `load_layout`.
    """
    choice = noted_choice(workspace)
    return competition(workspace.slug) if choice is None else load_layout(choice, workspace.slug)


def is_known(workspace: Workspace) -> bool:
    """Return whether a workspace's slug names a layout, or it was fetched with one."""
    return workspace.slug in registered_slugs() or _note_of(workspace).is_file()


def _installed() -> dict[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=GROUP)}


def _note_of(workspace: Workspace) -> Path:
    return workspace.data / "layout.json"


def _copy_of(workspace: Workspace) -> Path:
    return workspace.data / "layout.py"
