"""Wheels of packages that are installed here, made again from their files: no network, no build tools, same bytes.

A wheel is a zip of the package's files and of its metadata, with a list of digests (RECORD): the binary distribution
format of packaging.python.org. Compiled packages keep their tags, so pip refuses them on another platform.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from kit.core.storage import writing
from kit.errors import UsageError

_NOT_CARRIED = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "WHEEL"}
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same files make the same wheel


def make_wheel(package: str, folder: Path) -> Path:
    """Write a wheel of an installed package into a folder, and return it.

    Args:
        package: its name on the index, such as `hole-kit`; also one that is installed in place (`pip install -e`).

    Raises:
        UsageError: it is not installed here.
    """
    installed = _installed(package)
    stem = f"{_escaped(installed.metadata['Name'])}-{_escaped(installed.version)}"
    tags = _tags(installed)
    path = folder / f"{stem}-{_file_tag(tags)}.whl"
    with writing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
        _fill(wheel, installed, stem, tags)
    return path


def _installed(package: str) -> importlib.metadata.Distribution:
    found = list(importlib.metadata.distributions(name=package))
    if not found:
        raise UsageError(f"The package {package} is not installed here. Run: pip install {package}")
    # a source tree on the path has an .egg-info of its last build, whose list of files may be old
    return next((one for one in found if one.read_text("WHEEL") is not None), found[0])


def _fill(wheel: zipfile.ZipFile, installed: importlib.metadata.Distribution, stem: str, tags: list[str]) -> None:
    info = f"{stem}.dist-info"
    pure = "true" if tags == ["py3-none-any"] else "false"
    lines = ["Wheel-Version: 1.0", "Generator: kit", f"Root-Is-Purelib: {pure}", *(f"Tag: {tag}" for tag in tags)]
    entries = dict(_files_of(installed, info))
    entries[f"{info}/WHEEL"] = "\n".join([*lines, ""]).encode()
    record = []
    for name in sorted(entries):
        content = entries[name]
        _add(wheel, name, content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{_quoted(name)},sha256={digest},{len(content)}")
    _add(wheel, f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]).encode())


def _add(wheel: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, _WHEN)
    member.external_attr = 0o644 << 16
    member.compress_type = zipfile.ZIP_DEFLATED
    wheel.writestr(member, content)


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


def _files_of(installed: importlib.metadata.Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    """Yield each file's name in the wheel and its content; metadata under the wheel's own name for its folder."""
    in_place = _source_folder(installed)
    for file in installed.files or ():
        path = Path(str(file.locate()))
        parts = file.parts
        if ".." in parts or "__pycache__" in parts or not path.is_file():
            continue  # scripts are made again by pip, byte code by Python
        if parts[0].endswith((".dist-info", ".egg-info")):
            if len(parts) > 2 or parts[-1] not in _NOT_CARRIED:
                yield "/".join([info, *parts[1:]]), path.read_bytes()
        elif in_place is None:
            yield file.as_posix(), path.read_bytes()
    if in_place is not None:
        for top in (installed.read_text("top_level.txt") or "").split():
            yield from _package_files(in_place / top, in_place)


def _package_files(folder: Path, root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(root).as_posix(), path.read_bytes()


def _source_folder(installed: importlib.metadata.Distribution) -> Path | None:
    """Return the folder that an editable package is imported from; None of one that was copied when installed."""
    found = [Path(str(file.locate())) for file in installed.files or ()]
    tops = (installed.read_text("top_level.txt") or "").split()
    inside = {file.parts[0] for file in installed.files or ()}
    if not tops or inside & {*tops, *(f"{top}.py" for top in tops)}:
        return None
    for top in tops:
        module = importlib.import_module(top)  # wherever the editable install's hook finds it
        if module.__file__ is not None:
            return Path(module.__file__).parent.parent
    raise UsageError(f"The files of {installed.metadata['Name']} are not found beside {found[0].parent}.")


def _tags(installed: importlib.metadata.Distribution) -> list[str]:
    """Return the tags of Python, ABI and platform of the wheel that it was installed from."""
    if _source_folder(installed) is not None:
        return ["py3-none-any"]
    tags = re.findall(r"^Tag: (\S+)$", installed.read_text("WHEEL") or "", re.MULTILINE)
    return ["py3-none-any"] if not tags or "py3-none-any" in tags else tags


def _file_tag(tags: list[str]) -> str:
    """Return several tags as one, each part with its alternatives: py2.py3-none-any."""
    columns = zip(*(tag.split("-") for tag in tags), strict=True)
    return "-".join(".".join(dict.fromkeys(column)) for column in columns)


def _escaped(name: str) -> str:
    """Return a name or version as wheels spell it in file names."""
    return re.sub(r"[^\w.+!]+", "_", name)
