"""Kaggle credentials and proxies, looked at before the client is: it reads only what is plain, and blames the network.

Blanks, line ends and byte order marks go; what still cannot be sent is one line that names the file or the variable. No
value is ever part of a message.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in its stubs

from kit.core.extras import is_installed
from kit.core.secrets import read_text
from kit.core.surroundings import has_home
from kit.errors import CredentialsError, RemoteError

_VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY")
_SOCKS = ("socks4", "socks4a", "socks5", "socks5h")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # what begins a file that the client cannot read

_read_from: dict[str, str] = {}  # the file of a token or key that was put into the environment


def how() -> str:
    """Return how to get credentials, and where to put them."""
    kept = "or save it as ~/.kaggle/access_token (an older kaggle.json in ~/.kaggle works too)"
    kept = kept if has_home() else "(this user has no home folder for a file)"
    return f"Create a token at https://www.kaggle.com/settings, then set KAGGLE_API_TOKEN to it {kept}."


def read_from(secret: str) -> str | None:
    """Return the file from which `prepare` took this token or key, or None where the client reads for itself."""
    return _read_from.get(secret)


def config_file() -> Path:
    """Return the kaggle.json that the client reads, whether it is there or not."""
    folder = os.environ.get("KAGGLE_CONFIG_DIR")
    if folder:
        return Path(folder) / "kaggle.json"
    own = _home() / ".kaggle"
    other = Path(os.environ.get("XDG_CONFIG_HOME") or _home() / ".config") / "kaggle"
    return (own if own.exists() else other) / "kaggle.json"


def files() -> list[Path]:
    """Return the files with credentials that are there."""
    names = ("access_token", "access_token.txt", "credentials.json")
    return [path for path in (*(_home() / ".kaggle" / name for name in names), config_file()) if path.is_file()]


def prepare() -> None:
    """Make what the client will read plain, or say what is wrong with it.

    Raises:
        CredentialsError: a token or a file that cannot be sent or read.
        RemoteError: a proxy that cannot be.
    """
    _check_proxies()
    for secret in set(_read_from) - {os.environ.get("KAGGLE_API_TOKEN"), os.environ.get("KAGGLE_KEY")}:
        del _read_from[secret]  # somebody has put another one there since
    for name in _VARIABLES:
        if name in os.environ:
            os.environ[name] = _plain(os.environ[name])
            _check_sendable(os.environ[name], f"the variable {name}")
            if not os.environ[name]:
                del os.environ[name]  # an empty one would hide what a file holds
    if _has_token() or {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= set(os.environ):
        return
    _prepare_key()
    _check_oauth()


def problem() -> str:
    """Return why the client would find no credentials in what is there, "" where it finds some; changes nothing."""
    before, noted = dict(os.environ), dict(_read_from)
    try:
        prepare()
        has_pair = {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= set(os.environ)
        if _has_token() or has_pair or (_home() / ".kaggle" / "credentials.json").is_file():
            return ""
        if "KAGGLE_KEY" in os.environ and not config_file().is_file():
            return "KAGGLE_KEY is set, and KAGGLE_USERNAME is not. Set both, or KAGGLE_API_TOKEN"
        if config_file().is_file() and not {"username", "key"} <= _object_in(config_file()).keys():
            return f"{config_file()} holds no username and key. {how()}"
        return "" if config_file().is_file() else f"they are empty. {how()}"
    except (CredentialsError, RemoteError) as error:
        return str(error)
    finally:
        os.environ.clear()
        os.environ.update(before)
        _read_from.clear()
        _read_from.update(noted)


def _home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111  # Path's own raises where there is none


def _plain(text: str) -> str:
    """Return a token without what editors, shells and mounted secrets put around it."""
    return text.strip("\ufeff\"' \t\r\n\0")


_LONGEST = 4096  # letters of a token; the longest that Kaggle gives have some hundreds


def _check_sendable(text: str, where: str) -> None:
    if len(text) > _LONGEST:
        raise CredentialsError(f"What {where} holds is no token: it has {len(text):,} letters. {how()}")
    if re.match(r"(export\s+)?KAGGLE_\w+=", text):
        raise CredentialsError(f"What {where} holds is the line of a shell. Leave the token alone in it. {how()}")
    if not all("!" <= letter <= "~" for letter in text):
        raise CredentialsError(
            f"What {where} holds is no token or name: in the middle of it is a blank, a line end or a letter that none "
            f"has. {how()}"
        )


def _has_token() -> bool:
    """Return whether the client will send a token; one in a file that it cannot read is put into the environment."""
    named = os.environ.get("KAGGLE_API_TOKEN", "")
    files = [_home() / ".kaggle" / name for name in ("access_token", "access_token.txt")]
    if named:
        path = Path(named)
        try:
            if not path.exists():
                return True
        except OSError:  # longer than a path may be: a token
            return True
        files = [path]
    for path in files:
        if not path.is_file():
            continue
        token = _plain(_text_of(path))
        if token:
            _check_sendable(token, str(path))
            if path.read_bytes().strip() != token.encode():
                os.environ["KAGGLE_API_TOKEN"], _read_from[token] = token, str(path)
            return True
    return False


def _prepare_key() -> None:
    """Look at kaggle.json; a key in a form that the client cannot read is put into the environment."""
    path = config_file()
    if path.is_dir():
        raise CredentialsError(f"{path} is a folder, where a file should be. Remove it: rmdir {path}. {how()}")
    if not path.is_file():
        return
    found = _object_in(path)
    user, key = found.get("username"), found.get("key")
    if user is None or key is None:
        return  # which is said when nothing else works either
    if not isinstance(user, str) or not isinstance(key, str):
        raise CredentialsError(f"{path} holds a username or key that is no text. Save it as Kaggle gives it. {how()}")
    for value in (_plain(user), _plain(key)):
        _check_sendable(value, str(path))
    try:
        is_plain = json.loads(path.read_bytes()) == found and not path.read_bytes().startswith(_MARKS)
    except ValueError:
        is_plain = False
    if not is_plain or (_plain(user), _plain(key)) != (user, key):
        os.environ["KAGGLE_USERNAME"], os.environ["KAGGLE_KEY"] = _plain(user), _plain(key)
        _read_from[_plain(key)] = str(path)  # else a refusal would blame a variable that nobody has set


def _check_oauth() -> None:
    path = _home() / ".kaggle" / "credentials.json"
    if "KAGGLE_KEY" in os.environ or config_file().is_file() or not path.is_file():
        return
    if _object_in(path) and path.read_bytes().startswith(_MARKS):
        raise CredentialsError(f"{path} is not plain UTF-8 text. Run: kaggle auth login")


def _object_in(path: Path) -> dict[str, object]:
    """Return the JSON object in a file; an empty one where the file is empty."""
    text = _text_of(path)
    try:
        found = json.loads(text) if text.strip() else {}
    except ValueError:
        raise CredentialsError(f"{path} is not JSON. Save it again as Kaggle gives it, or delete it. {how()}") from None
    if not isinstance(found, dict):
        raise CredentialsError(
            f"{path} holds no JSON object, but a {type(found).__name__}. Save it again as Kaggle gives it, or delete "
            f"it. {how()}"
        )
    return found


def _text_of(path: Path) -> str:
    try:
        return read_text(path)
    except UnicodeDecodeError:
        raise CredentialsError(f"{path} is not UTF-8 text. Save it again as UTF-8, or delete it. {how()}") from None
    except OSError as error:
        raise CredentialsError(
            f"{path} cannot be read: {error.strerror}. Run: chmod 600 {shlex.quote(str(path))}"
        ) from None


# --- proxies ------------------------------------------------------------------


def _check_proxies() -> None:
    """Say which variable names a proxy that cannot be; its value may hold a password and is not said."""
    is_local = os.environ.get("KAGGLE_API_ENVIRONMENT") == "LOCALHOST"
    scheme, host = ("http", "localhost") if is_local else ("https", "api.kaggle.com")
    if proxy_bypass_environment(host):
        return
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]  # the first that is set counts
    name = next((one for one in names if os.environ.get(one, "").strip()), None)
    if name is None:
        return
    problem = _problem_of(os.environ[name].strip())
    if problem:
        raise RemoteError(f"The proxy in the variable {name} {problem}, or take it away: unset {name}")


def _problem_of(value: str) -> str | None:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "cannot be read: is its port a number? Write it as http://HOST:PORT"
    if not host or parts.path.strip("/") or not re.fullmatch(r"[\w.:%-]+", host):
        return "names no host. Write it as http://HOST:PORT"
    if parts.scheme == "socks":
        return "does not say which SOCKS it is. Write it as socks5://HOST:PORT or http://HOST:PORT"
    if parts.scheme in _SOCKS:
        missing = (
            "is a SOCKS proxy, for which Python needs a package. Run: pip install pysocks. Or name an http:// proxy"
        )
        return None if is_installed("socks") else missing
    if parts.scheme not in ("http", "https"):
        return "has a scheme that Python does not know. Write it as http://HOST:PORT"
    return None
