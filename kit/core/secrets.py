"""What nobody else may read, and text without it. Knows where keys and tokens are kept, and no service.

Whatever a library says in an error, or a traceback holds, passes through `without_secrets` before anybody sees it.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, urlsplit

HIDDEN = "***"

_SHORTEST = 6  # of a secret: a shorter value is no token, and hiding it would hide words
_HEAD = 8  # a message that was cut may hold the beginning of a token; this much of it gives it away
_NAMES = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)S?$", re.IGNORECASE)
_TOKEN_FILES = (".kaggle/access_token", ".kaggle/access_token.txt", ".cache/huggingface/token")
_JSON_FILES = (".kaggle/kaggle.json", ".kaggle/credentials.json", ".config/kaggle/kaggle.json")
_JSON_KEYS = ("key", "token", "access_token", "refresh_token", "password")

_SHAPES = (
    # what looks like a secret wherever it comes from
    (re.compile(r"\b(?:KGAT|hf|ghp|github_pat)_[A-Za-z0-9_]{6,}"), HIDDEN),
    (re.compile(r"\b(Bearer\s+)[^\s'\"\\]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b(Basic\s+)[A-Za-z0-9+/]{10,}={0,2}"), rf"\1{HIDDEN}"),
    (re.compile(r"(://)[^/\s@'\"]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"([?&][\w-]*(?:sig|token|key|credential|secret|password)[\w-]*=)[^&\s'\"]+", re.I), rf"\1{HIDDEN}"),
    (re.compile(r"([\"'](?:key|token|access_token|refresh_token|password)[\"']\s*:\s*[\"'])[^\"']+"), rf"\1{HIDDEN}"),
)


def without_secrets(text: str) -> str:
    """Return the text with every known secret, and all that looks like one, replaced by `***`."""
    for form in sorted(_forms(), key=len, reverse=True):
        text = _hide(text, form)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def read_text(path: Path) -> str:
    """Return a small text file that any editor wrote: UTF-8, with or without a BOM, or UTF-16 with one.

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    data = path.read_bytes()
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def _hide(text: str, secret: str) -> str:
    """Replace a secret, and its beginning where a message was cut."""
    text = text.replace(secret, HIDDEN)
    if len(secret) < 2 * _HEAD:
        return text
    head, parts = secret[:_HEAD], []
    while (start := text.find(head)) >= 0:
        end = start + _HEAD
        while end < len(text) and end - start < len(secret) and text[end] == secret[end - start]:
            end += 1
        parts += [text[:start], HIDDEN]
        text = text[end:]
    return "".join([*parts, text])


def _forms() -> set[str]:
    """Return every known secret in every form in which a message may hold it."""
    forms: set[str] = set()
    user = os.environ.get("KAGGLE_USERNAME", "")
    for secret in {piece for value in _values() for piece in (value.strip("\ufeff\"' \t\r\n\0"), *value.split())}:
        if len(secret) < _SHORTEST:
            continue
        data = secret.encode("utf-8", "surrogateescape")  # an environment may hold any bytes
        escaped = [quote(data, safe=""), quote_plus(data), quote(data)]
        forms |= {secret, *escaped, *(re.sub(r"%..", lambda found: found[0].lower(), one) for one in escaped)}
        forms |= {repr(secret)[1:-1], json.dumps(secret)[1:-1]}
        for plain in (secret, f"{user}:{secret}"):
            forms.add(base64.b64encode(plain.encode("utf-8", "surrogateescape")).decode())
    return forms


def _values() -> Iterator[str]:
    """Yield what the environment and the usual files hold; a file that cannot be read holds none that kit knows."""
    for name, value in os.environ.items():
        if _NAMES.search(name):
            named = _file_named(value)
            yield from [value] if named is None else _in_file(named)
        elif "://" in value and "@" in value:
            yield from _in_address(value)
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # Path's own raises where there is no home
    for name in _TOKEN_FILES:
        yield from _in_file(home / name)
    folder = os.environ.get("KAGGLE_CONFIG_DIR")
    for path in [home / name for name in _JSON_FILES] + ([Path(folder) / "kaggle.json"] if folder else []):
        for text in _in_file(path):
            yield from _in_json(text)


def _file_named(value: str) -> Path | None:
    """Return the file that a variable names instead of holding a secret itself."""
    try:
        path = Path(value)
        return path if value and path.exists() else None
    except (OSError, ValueError):  # too long for a path
        return None


def _in_file(path: Path) -> list[str]:
    try:
        return [read_text(path)] if path.is_file() and path.stat().st_size < 1 << 20 else []
    except (OSError, ValueError):
        return []


def _in_json(text: str) -> Iterator[str]:
    try:
        values = json.loads(text)
    except ValueError:
        return
    for one in values if isinstance(values, list) else [values]:
        if isinstance(one, dict):
            yield from (value for key in _JSON_KEYS if isinstance(value := one.get(key), str))


def _in_address(value: str) -> Iterator[str]:
    try:
        password = urlsplit(value.strip()).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
