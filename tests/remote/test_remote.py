"""The real Kaggle client against the stand-in: what the service does, and every way in which it was seen to fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.kaggle_standin import KEY, SLUG, TOKEN, USER, Fault, KaggleStandIn
from support.remote import ROOT, Time, names

from kit.errors import (
    CredentialsError,
    NotFound,
    RemoteError,
    RemoteUnavailable,
    RulesNotAccepted,
    UsageError,
)
from kit.remote import Remote, slug_of

pytestmark = pytest.mark.usefixtures("kaggle_env")


@pytest.mark.parametrize(
    "text",
    [
        "photo-reconstruction",
        " Photo-Reconstruction ",
        "https://www.kaggle.com/competitions/photo-reconstruction",
        "https://www.kaggle.com/competitions/photo-reconstruction/data?select=a.csv#top",
        "https://www.kaggle.com/c/photo-reconstruction/overview",
        "kaggle.com/c/photo-reconstruction/",
        "www.kaggle.com/competitions/photo-reconstruction",
        "competitions/photo-reconstruction",
    ],
)
def test_any_address_of_a_competition_names_it(text: str) -> None:
    assert slug_of(text) == SLUG
    assert Remote(text).slug == SLUG


@pytest.mark.parametrize(
    "text",
    ["", "..", "a b", "a/b", "https://example.com/competitions/x", "https://www.kaggle.com/datasets/x/y", "../x", "-x"],
)
def test_what_names_no_competition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no competition"):
        slug_of(text)


def test_competition_tells_what_the_service_says(remote: Remote) -> None:
    info = remote.competition()
    assert (info.slug, info.title, info.metric) == (SLUG, "Photo Reconstruction", "Root Mean Squared Error")
    assert (info.max_daily_submissions, info.entered, info.submissions_disabled, info.code_only) == (
        5,
        True,
        False,
        False,
    )
    assert info.deadline == datetime(2030, 1, 2, 3, 4, 5, 123000, tzinfo=UTC)


def test_a_wrong_slug_is_not_found(kaggle_service: KaggleStandIn, time_: Time) -> None:
    with pytest.raises(NotFound, match="photo-recon "):
        Remote("photo-recon", sleep=time_.sleep).competition()
    assert time_.naps == []


def test_nothing_reaches_standard_output(remote: Remote, archive: bytes, tmp_path: Path, capfd, monkeypatch) -> None:
    monkeypatch.setenv("VERBOSE", "1")
    remote.competition()
    remote.download(tmp_path / "data")
    out, err = capfd.readouterr()
    assert out == ""
    assert TOKEN not in err
    assert os.environ["VERBOSE"] == "1"


def test_importing_kit_remote_imports_no_client() -> None:
    code = "import sys, kit.remote; print(sorted({'kaggle', 'kagglesdk', 'requests'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_legacy_key_works(kaggle_env: Path, remote: Remote) -> None:
    (kaggle_env / ".kaggle" / "access_token").unlink()
    (kaggle_env / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": USER, "key": KEY}))
    assert remote.competition().slug == SLUG


def test_without_credentials_the_message_says_where_to_get_them(kaggle_env: Path, remote: Remote, capfd) -> None:
    (kaggle_env / ".kaggle" / "access_token").unlink()
    with pytest.raises(CredentialsError, match=r"no Kaggle credentials.*kaggle\.com/settings.*KAGGLE_API_TOKEN"):
        remote.competition()
    assert capfd.readouterr() == ("", "")


def test_a_dead_token_is_named(kaggle_service: KaggleStandIn, remote: Remote) -> None:
    kaggle_service.token_is_active = False
    with pytest.raises(CredentialsError, match=r"token in ~/\.kaggle/access_token.*revoked"):
        remote.competition()


def test_a_dead_token_beside_a_good_key_is_named(monkeypatch, remote: Remote, kaggle_service: KaggleStandIn) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "dead")
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    with pytest.raises(
        CredentialsError, match="token in KAGGLE_API_TOKEN, and the client sends it instead of your key"
    ):
        remote.competition()
    assert kaggle_service.calls("GetCompetition") == []


def test_a_stray_token_variable_is_named(kaggle_env: Path, monkeypatch, remote: Remote) -> None:
    (kaggle_env / ".kaggle" / "access_token").unlink()
    monkeypatch.setenv("KAGGLE_TOKEN", "stray")
    with pytest.raises(CredentialsError, match="KAGGLE_TOKEN is set, but the variable's name is KAGGLE_API_TOKEN"):
        remote.competition()
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    with pytest.raises(CredentialsError, match=r"KAGGLE_TOKEN, which the client sends instead.*401"):
        remote.competition()


def test_a_wrong_key_is_named(kaggle_env: Path, monkeypatch, remote: Remote) -> None:
    (kaggle_env / ".kaggle" / "access_token").unlink()
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    with pytest.raises(CredentialsError, match="the key in KAGGLE_USERNAME and KAGGLE_KEY"):
        remote.competition()


def test_a_kaggle_json_without_a_key_is_named(kaggle_env: Path, remote: Remote) -> None:
    (kaggle_env / ".kaggle" / "access_token").unlink()
    (kaggle_env / ".kaggle" / "kaggle.json").write_text('{"username": "ada"}')
    with pytest.raises(CredentialsError, match=r"kaggle\.json holds no username and key"):
        remote.competition()


def test_a_refused_token_check_is_a_matter_of_credentials(kaggle_service: KaggleStandIn, remote: Remote) -> None:
    kaggle_service.fail("IntrospectToken", Fault(status=401))
    with pytest.raises(CredentialsError, match="401"):
        remote.competition()


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch, remote: Remote) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert remote.competition().slug == SLUG
    assert "KAGGLE_CONFIG_DIR" not in os.environ


def test_unaccepted_rules_come_with_their_address(
    kaggle_service: KaggleStandIn, remote: Remote, tmp_path: Path
) -> None:
    kaggle_service.rules_accepted = False
    with pytest.raises(RulesNotAccepted, match=f"https://www.kaggle.com/competitions/{SLUG}/rules"):
        remote.download(tmp_path)
    assert [name for name in names(tmp_path) if SLUG in name] == []


def test_a_refusal_under_status_200_is_a_refusal(kaggle_service: KaggleStandIn, remote: Remote) -> None:
    body = json.dumps({"code": 403, "message": "not yours"}).encode()
    kaggle_service.fail("GetCompetition", Fault(200, body=body, headers={"Content-Type": "application/json"}))
    with pytest.raises(RulesNotAccepted, match="not yours"):
        remote.competition()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500),
        Fault(503, body=b"<html>busy</html>"),
        Fault(429),
        Fault(429, body=b'{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}'),
        Fault(drop=True),
    ],
    ids=["500", "503 page", "429", "429 nested", "cut"],
)
def test_reads_survive_a_passing_outage(
    kaggle_service: KaggleStandIn, remote: Remote, time_: Time, fault: Fault
) -> None:
    kaggle_service.fail("GetCompetition", fault, fault)
    assert remote.competition().slug == SLUG
    assert time_.naps == [1.0, 3.0]


def test_an_outage_that_lasts_is_reported_after_a_few_attempts(kaggle_service: KaggleStandIn, remote: Remote) -> None:
    kaggle_service.fail("GetCompetition", *[Fault(503)] * 99)
    with pytest.raises(RemoteUnavailable, match="503: out of order"):
        remote.competition()
    assert len(kaggle_service.calls("GetCompetition")) == 5


def test_retry_after_is_honoured_within_reason(kaggle_service: KaggleStandIn, remote: Remote, time_: Time) -> None:
    later = Fault(429, headers={"Retry-After": "7"})
    never = Fault(429, headers={"Retry-After": "86400"})
    kaggle_service.fail("GetCompetition", later, never, Fault(429, headers={"Retry-After": "soon"}))
    remote.competition()
    assert time_.naps == [7.0, 60.0, 9.0]


def test_a_silent_service_is_given_up(kaggle_service: KaggleStandIn, time_: Time) -> None:
    kaggle_service.fail("GetCompetition", *[Fault(delay=0.6)] * 5)
    with pytest.raises(RemoteUnavailable, match=r"did not answer within 0\.2 s"):
        Remote(SLUG, timeout=0.2, sleep=time_.sleep).competition()


def test_no_network_is_one_line(monkeypatch, remote: Remote, time_: Time) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(RemoteUnavailable, match="cannot be reached") as caught:
        remote.competition()
    assert "\n" not in str(caught.value)
    assert len(time_.naps) == 4


@pytest.mark.parametrize("body", [b"<html>log in</html>", b'{"code": "x"}', b'{"deadline": 3}'])
def test_an_answer_that_is_none_is_one_line(kaggle_service: KaggleStandIn, remote: Remote, body: bytes) -> None:
    kaggle_service.fail("GetCompetition", Fault(200, body=body, headers={"Content-Type": "application/json"}))
    with pytest.raises(RemoteError, match="could not be read"):
        remote.competition()
