"""No text holds a secret, whatever its source and its form."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.secrets import without_secrets

SECRET = "p/w+0123 4567=ab%cd&é"
TOKEN = "0123456789abcdef0123456789abcdef"

FORMS = {
    "as it is": lambda s: s,
    "with a line end": lambda s: f"{s}\n",
    "as Python shows a text": repr,
    "as Python shows bytes": lambda s: repr(f"Bearer {s}\r\n".encode()),
    "in JSON": lambda s: json.dumps({"key": s}),
    "percent-encoded": lambda s: quote(s, safe=""),
    "percent-encoded, small letters": lambda s: quote(s, safe="").lower() if s == TOKEN else quote(s, safe=""),
    "in a form": quote_plus,
    "in base64": lambda s: base64.b64encode(s.encode()).decode(),
    "with its user in base64": lambda s: base64.b64encode(f"ada:{s}".encode()).decode(),
    "in an address": lambda s: f"http://ada:{quote(s, safe='')}@proxy:3128",
}


def to_environment(name: str):
    return lambda home, monkeypatch, secret: monkeypatch.setenv(name, secret)


def to_file(path: str, encoding: str = "utf-8", wrapped=lambda s: s):
    def put(home: Path, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(wrapped(secret), encoding=encoding)

    return put


SOURCES = {
    "KAGGLE_API_TOKEN": to_environment("KAGGLE_API_TOKEN"),
    "KAGGLE_KEY": to_environment("KAGGLE_KEY"),
    "a notebook's secret": to_environment("KAGGLE_USER_SECRETS_TOKEN"),
    "the hub's token": to_environment("HF_TOKEN"),
    "a line end behind it": lambda home, patch, secret: patch.setenv("KAGGLE_API_TOKEN", f"{secret}\r\n"),
    "quotes around it": lambda home, patch, secret: patch.setenv("KAGGLE_KEY", f'"{secret}"'),
    "a proxy": lambda home, patch, secret: patch.setenv("HTTPS_PROXY", f"http://ada:{quote(secret, safe='')}@p:1"),
    "a file that a variable names": lambda home, patch, secret: (
        (home / "mounted").write_text(secret),
        patch.setenv("KAGGLE_API_TOKEN", str(home / "mounted")),
    ),
    "access_token": to_file(".kaggle/access_token"),
    "access_token in UTF-16": to_file(".kaggle/access_token", "utf-16"),
    "access_token.txt with a BOM": to_file(".kaggle/access_token.txt", "utf-8-sig"),
    "kaggle.json": to_file(".kaggle/kaggle.json", wrapped=lambda s: json.dumps({"username": "ada", "key": s})),
    "a list in kaggle.json": to_file(".kaggle/kaggle.json", "utf-16", lambda s: json.dumps([{"key": s}])),
    "OAuth": to_file(".kaggle/credentials.json", wrapped=lambda s: json.dumps({"refresh_token": s})),
    "the hub's file": to_file(".cache/huggingface/token"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    return tmp_path


@pytest.mark.parametrize("source", SOURCES)
def test_a_secret_of_any_source_is_hidden_in_any_form(home: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    for secret in (TOKEN, SECRET):
        SOURCES[source](home, monkeypatch, secret)
        for form, dressed in FORMS.items():
            text = without_secrets(f"before {dressed(secret)} after")
            assert secret not in text and dressed(secret).strip() not in text, (source, form, text)
            assert secret[:8] not in text and "before" in text, (source, form, text)


def test_the_beginning_of_a_token_is_one_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert without_secrets(f"sent {TOKEN[:20]}... {TOKEN[:9]}") == "sent ***... ***"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer eyJhbGciOi.JIUzI1",
        "b'Bearer KGAT_0123456789abcdef\\n'",
        "token KGAT_0123456789abcdef",
        "https://storage/x?X-Goog-Signature=0123456789abcdef&n=1",
        "socks5://ada:0123456789abcdef@host:1080",
        '{"key": "0123456789abcdef"}',
        "Basic YWRhOjAxMjM0NTY3ODlhYmNkZWY=",
    ],
)
def test_what_looks_like_a_secret_is_hidden_from_wherever_it_comes(home: Path, text: str) -> None:
    hidden = without_secrets(text)
    assert "***" in hidden
    assert not [part for part in ("0123456789abcdef", "eyJhb", "YWRhOjAx") if part in hidden]


def test_ordinary_messages_stay_as_they_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_KEY", str(home))
    monkeypatch.setenv("MY_TOKEN", "yes")
    for text in ("kit: yes, the key is the key", f"{home}/x.csv, line 3: value is 'a@b'", "See https://a.b/c?page=2"):
        assert without_secrets(text) == text


def test_a_secret_of_any_bytes_is_hidden(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = b"\xff\xfes3cr3tabcdef".decode("utf-8", "surrogateescape")  # as an environment gives it
    monkeypatch.setenv("KAGGLE_API_TOKEN", secret)
    assert "s3cr3t" not in without_secrets(f"Bearer {secret}; {quote(secret.encode('utf-8', 'surrogateescape'))}")


@given(secret=st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=6).map(str.strip))
def test_no_secret_survives(secret: str) -> None:
    bare = secret.strip("\ufeff\"'")
    if len(bare) < 6 or set(bare) <= {"*"}:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLE_KEY", secret)
        for form in (bare, quote(bare), repr(bare), json.dumps(bare)):
            assert bare not in without_secrets(f"a {form} b")
