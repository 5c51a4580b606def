"""Credentials in every form that editors, shells and mounted secrets give them, and proxies that cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.kaggle_standin import KEY, SLUG, TOKEN, USER, KaggleStandIn
from support.remote import Time

from kit.errors import CredentialsError, KitError, RemoteError
from kit.remote import Remote, credentials

KAGGLE_JSON = json.dumps({"username": USER, "key": KEY})


@pytest.fixture
def folder(kaggle_env: Path) -> Path:
    """The folder of credentials, empty."""
    (kaggle_env / ".kaggle" / "access_token").unlink()
    return kaggle_env / ".kaggle"


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} ", "\t{}", '"{}"', "'{}'\n"])
def test_what_stands_around_a_token_is_no_part_of_it(folder: Path, remote: Remote, monkeypatch, around: str) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", around.format(TOKEN))
    assert remote.competition().entered


@pytest.mark.parametrize("around", ["{}\n", "{}\r"])
def test_nor_is_it_of_a_key(folder: Path, remote: Remote, monkeypatch, around: str) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", around.format(USER))
    monkeypatch.setenv("KAGGLE_KEY", around.format(KEY))
    assert remote.competition().entered


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["access_token", "access_token.txt", "kaggle.json", "mounted"])
def test_a_file_of_any_editor_is_read(folder: Path, remote: Remote, monkeypatch, name: str, encoding: str) -> None:
    (folder / name).write_text(KAGGLE_JSON if name == "kaggle.json" else f"{TOKEN}\r\n", encoding=encoding)
    if name == "mounted":
        monkeypatch.setenv("KAGGLE_API_TOKEN", str(folder / name))
    assert remote.competition().entered


def test_a_dead_token_of_such_a_file_is_named_by_its_file(folder: Path, remote: Remote, kaggle_service) -> None:
    kaggle_service.token_is_active = False
    (folder / "access_token").write_text(TOKEN, encoding="utf-16")
    with pytest.raises(CredentialsError, match=r"the token in .*access_token: it has expired"):
        remote.competition()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("kaggle.json", f"[{KAGGLE_JSON}]".encode(), "holds no JSON object, but a list"),
        ("kaggle.json", b"null", "holds no JSON object"),
        ("kaggle.json", KAGGLE_JSON.encode()[:-3], "is not JSON"),
        ("kaggle.json", b"\x80\x81" + KAGGLE_JSON.encode(), "is not UTF-8 text"),
        ("kaggle.json", json.dumps({"username": USER, "key": "secret-1\nsecret-2"}).encode(), "is no token or name"),
        ("access_token", b"\xe9\xe8secret-1", "is not UTF-8 text"),
        ("access_token", b"secret-1\nsecret-2", "is no token or name"),
        ("credentials.json", b"[]", "holds no JSON object"),
        ("credentials.json", json.dumps({"refresh_token": "secret-1"}).encode("utf-16"), "Run: kaggle auth login"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_named(folder: Path, remote: Remote, name: str, content: bytes, said: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CredentialsError, match=said) as caught:
        remote.competition()
    assert str(folder / name) in str(caught.value)
    assert "secret" not in str(caught.value) and KEY not in str(caught.value)


def test_a_list_in_kaggle_json_beside_a_good_token_is_no_matter(kaggle_env: Path, remote: Remote) -> None:
    (kaggle_env / ".kaggle" / "kaggle.json").write_text("[]")
    assert remote.competition().entered


def test_no_user_and_no_home_is_one_line(kaggle_env: Path, remote: Remote, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(CredentialsError, match=r"no Kaggle credentials .* no home folder"):
        remote.competition()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://ada:secret@127.0.0.1:1080", "SOCKS proxy.* Run: pip install pysocks"),
        ("socks5h://127.0.0.1:1080", "pip install pysocks"),
        ("socks://127.0.0.1:1080", "Write it as socks5://HOST:PORT"),
        ("http:/127.0.0.1:3128", "names no host"),
        ("http://127.0.0.1:port", "is its port a number"),
        ("http://127.0.0.1:99999", "is its port a number"),
        ("http://[::1", "cannot be read"),
        ("ftp://ada:secret@127.0.0.1:21", "has a scheme"),
        ("http://", "names no host"),
    ],
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "all_proxy"])
def test_a_proxy_that_cannot_be_is_named(kaggle_env: Path, remote: Remote, monkeypatch, name, proxy, said) -> None:
    for other in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, proxy)
    with pytest.raises(RemoteError, match=said) as caught:
        remote.competition()
    assert f"unset {name}" in str(caught.value) and "secret" not in str(caught.value)


def test_a_proxy_that_is_not_used_is_no_matter(kaggle_env: Path, remote: Remote, monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    assert remote.competition().entered


@pytest.mark.parametrize("echo", [b"%s", b'{"code": 400, "message": "bad token %s"}', b"<html>Bearer %s</html>"])
@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_a_service_that_repeats_the_token_gives_no_secret_away(
    kaggle_env: Path, kaggle_service: KaggleStandIn, time_: Time, monkeypatch, status: int, echo: bytes
) -> None:
    from support.kaggle_standin import Fault

    faults = [Fault(status=status, body=echo % TOKEN.encode()) for _ in range(9)]
    kaggle_service.fail("GetCompetition", *faults)
    try:
        Remote(SLUG, timeout=5.0, sleep=time_.sleep, clock=time_.clock).competition()
    except KitError as error:
        assert TOKEN not in str(error)


def test_a_key_that_was_read_for_the_client_is_known_by_its_file(folder: Path) -> None:
    (folder / "kaggle.json").write_text(KAGGLE_JSON, encoding="utf-16")
    credentials.prepare()
    assert credentials.read_from(KEY) == str(folder / "kaggle.json")
