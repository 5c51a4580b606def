"""The real Kaggle client against the stand-in: what the service does, and every way in which it was seen to fail."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.kaggle_standin import KEY, SLUG, TOKEN, USER, Fault, KaggleStandIn, kaggle_env, kaggle_service

from kit.core.storage import locked
from kit.errors import (
    ArchiveError,
    CredentialsError,
    NotFound,
    QuotaReached,
    RemoteError,
    RemoteUnavailable,
    RulesNotAccepted,
    SubmissionError,
    UsageError,
)
from kit.remote import Remote, slug_of

__all__ = ["kaggle_env", "kaggle_service"]  # fixtures

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("kaggle_env")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.naps = 0.0, []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time_() -> Time:
    return Time()


@pytest.fixture
def remote(time_: Time) -> Remote:
    return Remote(SLUG, timeout=5.0, sleep=time_.sleep, clock=time_.clock)


def zip_of(size: int, seed: int = 0) -> bytes:
    """A zip of about `size` bytes that do not compress."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("Dataset/noise.bin", random.Random(seed).randbytes(size))
        file.writestr("Dataset/sample submission.csv", "filename_box_pixel,value\n")
    return buffer.getvalue()


@pytest.fixture
def archive(kaggle_service: KaggleStandIn) -> bytes:
    kaggle_service.archive = zip_of(3_500_000)
    return kaggle_service.archive


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "blend.csv"
    path.write_text("filename_box_pixel,value\nTiger (1).jpeg_box1_0_0_0,0.5\n" * 3000)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- names ------------------------------------------------------------------


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


# --- the competition --------------------------------------------------------


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


# --- credentials ------------------------------------------------------------


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
    (kaggle_env / ".kaggle" / "kaggle.json").write_text("{broken")
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


# --- refusals and outages ---------------------------------------------------


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


# --- the archive ------------------------------------------------------------


def test_download_gives_the_archive_and_nothing_else(remote: Remote, archive: bytes, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = remote.download(tmp_path / "new" / "folder", progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == archive
    assert names(path.parent) == [f"{SLUG}.zip"]
    assert seen[-1] == (len(archive), len(archive))
    assert seen == sorted(seen)


def test_a_whole_archive_is_not_downloaded_again(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service
) -> None:
    remote.download(tmp_path / "d")
    before = len(kaggle_service.log)
    assert remote.download(tmp_path / "d").read_bytes() == archive
    assert len(kaggle_service.log) == before


def test_a_damaged_archive_of_the_right_size_is_replaced(remote: Remote, archive: bytes, tmp_path: Path) -> None:
    damaged = bytearray(archive)
    damaged[1_000_000] ^= 1
    (tmp_path / f"{SLUG}.zip").write_bytes(damaged)
    assert remote.download(tmp_path).read_bytes() == archive


def test_a_cut_download_is_resumed(remote: Remote, archive: bytes, tmp_path: Path, kaggle_service) -> None:
    kaggle_service.fail("GET", Fault(cut=1_500_000), Fault(cut=1_000_000))
    assert remote.download(tmp_path / "d").read_bytes() == archive
    starts = [request.headers.get("Range") for request in kaggle_service.calls("GET")]
    assert len(starts) == 3
    assert starts[0] is None
    assert starts[1] is not None and starts[2] is not None and starts[1] < starts[2]


def test_a_later_process_resumes_what_a_killed_one_began(
    archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn, remote: Remote
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from kit.remote import Remote\n"
        f"stop = lambda done, total: done > 2_000_000 and os.kill(os.getpid(), 9)\n"
        f"Remote({SLUG!r}).download(Path(sys.argv[1]), progress=stop)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "d")], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert f"{SLUG}.zip" not in names(tmp_path / "d")
    seen: list[int] = []
    assert remote.download(tmp_path / "d", progress=lambda done, _: seen.append(done)).read_bytes() == archive
    assert seen[0] > 2_000_000
    assert "If-Range" in kaggle_service.calls("GET")[-1].headers
    assert names(tmp_path / "d") == [f"{SLUG}.zip"]


def leave_half(remote: Remote, service: KaggleStandIn, folder: Path) -> None:
    """Let a download fail after its first 2 MB."""
    service.fail("GET", Fault(cut=2_000_000), *[Fault(503)] * 5)
    with pytest.raises(RemoteUnavailable):
        remote.download(folder)
    service.faults.clear()
    assert (folder / f"{SLUG}.zip.download").stat().st_size > 1_000_000


@pytest.mark.parametrize("if_range", [True, False], ids=["If-Range kept", "If-Range ignored"])
def test_an_archive_replaced_meanwhile_starts_over(
    if_range: bool, remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    leave_half(remote, kaggle_service, tmp_path / "d")
    kaggle_service.archive = zip_of(3_500_000, seed=1)
    kaggle_service.if_range = if_range
    assert remote.download(tmp_path / "d").read_bytes() == kaggle_service.archive != archive


def test_an_archive_replaced_by_a_shorter_one_starts_over(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    leave_half(remote, kaggle_service, tmp_path / "d")
    kaggle_service.archive, kaggle_service.if_range = zip_of(1000), False
    assert remote.download(tmp_path / "d").read_bytes() == kaggle_service.archive


def test_an_error_page_after_a_cut_never_gets_into_the_archive(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    page = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>"
    kaggle_service.fail("GET", Fault(cut=1_500_000), Fault(403, body=page), Fault(503, body=page))
    assert remote.download(tmp_path / "d").read_bytes() == archive
    assert len(kaggle_service.calls("DownloadDataFiles")) == 4  # a fresh link for each attempt


def test_a_storage_that_stays_forbidden_leaves_the_good_bytes(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    leave_half(remote, kaggle_service, tmp_path / "d")
    held = (tmp_path / "d" / f"{SLUG}.zip.download").read_bytes()
    assert archive.startswith(held)
    kaggle_service.fail("GET", Fault(200, body=b"<!DOCTYPE html><title>Sign in</title>"))
    with pytest.raises(RemoteError, match="an HTML page"):
        remote.download(tmp_path / "d")
    assert (tmp_path / "d" / f"{SLUG}.zip.download").read_bytes() == held
    assert remote.download(tmp_path / "d").read_bytes() == archive


@pytest.mark.parametrize(
    "switches",
    [
        {"content_type": "application/json"},
        {"length": False},
        {"validators": False},
        {"ranges": False},
        {"redirects": False},
        {"length": False, "validators": False, "ranges": False},
    ],
    ids=lambda switches: " ".join(switches),
)
def test_an_odd_storage_is_served_by(
    switches: dict, remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    for name, value in switches.items():
        setattr(kaggle_service, name, value)
    kaggle_service.fail("GET", Fault(cut=1_500_000))
    assert remote.download(tmp_path / "d").read_bytes() == archive
    assert names(tmp_path / "d") == [f"{SLUG}.zip"]


def test_an_archive_that_is_damaged_on_the_service_is_never_kept(
    remote: Remote, archive: bytes, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    kaggle_service.archive = archive[:-1000] + bytes(1000)
    with pytest.raises(ArchiveError, match="arrived damaged"):
        remote.download(tmp_path / "d")
    assert names(tmp_path / "d") == []


def test_an_archive_that_will_not_be_unpacked_is_still_downloaded_once(
    remote: Remote, tmp_path: Path, kaggle_service: KaggleStandIn
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.jpg", "1")
        file.writestr("A.jpg", "2")
    kaggle_service.archive = buffer.getvalue()
    assert remote.download(tmp_path / "d").read_bytes() == buffer.getvalue()
    assert len(kaggle_service.calls("GET")) == 1


def test_a_full_disk_is_found_out_before_the_download(
    remote: Remote, archive: bytes, tmp_path: Path, monkeypatch, time_: Time
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(ArchiveError, match=r"needs 0\.00 GB.*Free some space"):
        remote.download(tmp_path / "d")
    assert names(tmp_path / "d") == []
    assert time_.naps == []


def test_two_downloads_of_one_archive_do_not_mix(remote: Remote, archive: bytes, tmp_path: Path) -> None:
    with locked(tmp_path / f"{SLUG}.zip.download") as is_ours:
        assert is_ours
        with pytest.raises(RemoteError, match="Another process is downloading"):
            remote.download(tmp_path)
    assert remote.download(tmp_path).read_bytes() == archive


def test_the_signature_of_a_link_stays_out_of_messages(
    remote: Remote, archive: bytes, tmp_path, kaggle_service
) -> None:
    kaggle_service.fail("GET", *[Fault(403)] * 9)
    with pytest.raises(RemoteUnavailable) as caught:
        remote.download(tmp_path)
    assert "secret" not in str(caught.value)
    assert "403" in str(caught.value)


# --- submitting -------------------------------------------------------------


def test_a_submission_is_stored_byte_for_byte_and_scored(
    remote: Remote, csv: Path, kaggle_service, time_: Time
) -> None:
    kaggle_service.pending_polls = 3
    seen: list[tuple[int, int]] = []
    ref = remote.submit(csv, "unet blend", progress=lambda done, total: seen.append((done, total)))
    assert list(kaggle_service.uploads.values()) == [csv.read_bytes()]
    assert seen[-1] == (csv.stat().st_size, csv.stat().st_size)
    polled = []
    scored = remote.wait(ref, deadline=600, poll=lambda found: polled.append(found.status))
    assert (scored.ref, scored.status, scored.public_score, scored.private_score) == (ref, "complete", 0.2033, None)
    assert scored.description.startswith("unet blend [kit-")
    assert scored.file_name == csv.name
    assert polled == ["pending", "pending", "pending", "complete"]
    assert time_.naps == [5.0, 7.5, 11.25]


def test_the_upload_carries_no_credentials(remote: Remote, csv: Path, kaggle_env: Path, kaggle_service) -> None:
    (kaggle_env / ".netrc").write_text("machine localhost login eve password secret\n")
    remote.submit(csv, "m")
    [put] = kaggle_service.calls("PUT")
    assert "Authorization" not in put.headers
    assert put.headers["Content-Length"] == str(csv.stat().st_size)


def test_a_submission_that_cannot_be_scored_gives_the_reason(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.scoring_error = "Submission must have 6750000 rows"
    ref = remote.submit(csv, "m")
    with pytest.raises(SubmissionError, match="must have 6750000 rows"):
        remote.wait(ref, deadline=60)


def test_waiting_ends_at_the_deadline(remote: Remote, csv: Path, kaggle_service, time_: Time) -> None:
    kaggle_service.pending_polls = 10**6
    ref = remote.submit(csv, "m")
    with pytest.raises(RemoteUnavailable, match=f"submission {ref} within 300 s: it is still pending.*/submissions"):
        remote.wait(ref, deadline=300)
    assert sum(time_.naps) == pytest.approx(300)
    assert max(time_.naps) <= 60


def test_waiting_outlives_an_outage(remote: Remote, csv: Path, kaggle_service) -> None:
    ref = remote.submit(csv, "m")
    kaggle_service.fail("GetSubmission", *[Fault(502)] * 7)
    assert remote.wait(ref, deadline=600).public_score == 0.2033


def test_a_lost_answer_is_looked_for_and_never_submitted_twice(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.fail("CreateSubmission", Fault(drop=True, late=True))
    ref = remote.submit(csv, "m")
    assert [submission["ref"] for submission in kaggle_service.submissions] == [ref]
    assert len(kaggle_service.calls("CreateSubmission")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(502, late=True),
        Fault(200, body=b"<html>", headers={"Content-Type": "application/json"}, late=True),
        Fault(200, body=b"{}", headers={"Content-Type": "application/json"}, late=True),
    ],
    ids=["gateway", "page", "no ref"],
)
def test_an_unclear_answer_is_cleared_up(fault: Fault, remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.fail("CreateSubmission", fault)
    kaggle_service.fail("ListSubmissions", Fault(503))
    ref = remote.submit(csv, "m")
    assert [submission["ref"] for submission in kaggle_service.submissions] == [ref]


def test_an_answer_lost_for_good_says_what_to_look_for(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.fail("CreateSubmission", Fault(drop=True))
    with pytest.raises(RemoteUnavailable, match=r"not known whether .* Look for \[kit-[0-9a-f]{12}\] at https"):
        remote.submit(csv, "m")
    assert len(kaggle_service.calls("CreateSubmission")) == 1
    assert kaggle_service.submissions == []


def test_a_submission_turned_away_by_429_is_sent_again_once_it_is_known_to_be_absent(
    remote: Remote, csv: Path, kaggle_service
) -> None:
    kaggle_service.fail("CreateSubmission", Fault(429, headers={"Retry-After": "4"}), Fault(429, late=True))
    ref = remote.submit(csv, "m")
    assert [submission["ref"] for submission in kaggle_service.submissions] == [ref]
    assert len(kaggle_service.calls("CreateSubmission")) == 2


def test_without_a_submission_left_nothing_is_uploaded(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.used_today = 5
    assert remote.limits().allowed_now == 0
    with pytest.raises(QuotaReached, match=r"5 today.*00:00 UTC, in \d+ h \d\d min"):
        remote.submit(csv, "m")
    assert kaggle_service.calls("StartSubmissionUpload") == []


def test_a_team_mate_who_was_faster_is_a_matter_of_quota(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.used_today = 4

    def team_mate(done: int, total: int) -> None:
        kaggle_service.used_today = 5

    with pytest.raises(QuotaReached):
        remote.submit(csv, "m", progress=team_mate)
    assert kaggle_service.submissions == []


@pytest.mark.parametrize(("switch", "said"), [("closed", "no submissions any more"), ("code_only", "notebooks only")])
def test_a_competition_that_takes_no_files_is_refused_before_the_upload(
    switch: str, said: str, remote: Remote, csv: Path, kaggle_service
) -> None:
    setattr(kaggle_service, switch, True)
    with pytest.raises(SubmissionError, match=said):
        remote.submit(csv, "m")
    assert kaggle_service.calls("StartSubmissionUpload") == []


def test_a_refused_submission_gives_the_reason(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.fail("CreateSubmission", Fault(400, message="The team merge is pending."))
    with pytest.raises(SubmissionError, match=r"team merge is pending.*Nothing was submitted"):
        remote.submit(csv, "m")


@pytest.mark.parametrize("fault", [Fault(503), Fault(403), Fault(cut=1000)], ids=["503", "expired", "cut"])
def test_a_failed_upload_starts_again_from_its_first_byte(
    fault: Fault, remote: Remote, csv: Path, kaggle_service
) -> None:
    kaggle_service.fail("PUT", fault)
    remote.submit(csv, "m")
    assert list(kaggle_service.uploads.values()) == [csv.read_bytes()]
    assert len(kaggle_service.submissions) == 1


def test_an_upload_that_keeps_failing_submits_nothing(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.fail("PUT", *[Fault(500)] * 99)
    with pytest.raises(RemoteUnavailable, match=r"did not take blend\.csv \(500\)\. Nothing was submitted"):
        remote.submit(csv, "m")
    assert kaggle_service.calls("CreateSubmission") == []


def test_a_file_too_large_for_the_storage_is_said_to_be(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.fail("PUT", Fault(413))
    with pytest.raises(SubmissionError, match="too large"):
        remote.submit(csv, "m")
    assert len(kaggle_service.calls("PUT")) == 1


def test_a_missing_or_empty_file_is_refused_without_a_call(remote: Remote, tmp_path: Path, kaggle_service) -> None:
    (tmp_path / "empty.csv").touch()
    for name in ("absent.csv", "empty.csv", "."):
        with pytest.raises(SubmissionError):
            remote.submit(tmp_path / name, "m")
    assert kaggle_service.log == []


def test_submissions_come_from_all_pages_even_past_an_empty_one(remote: Remote, csv: Path, kaggle_service) -> None:
    kaggle_service.daily_limit, kaggle_service.page_size = 99, 2
    refs = [remote.submit(csv, f"number {number}") for number in range(5)]
    kaggle_service.empty_first_page = True
    found = remote.submissions()
    assert [submission.ref for submission in found] == refs[::-1]
    assert {submission.public_score for submission in found} == {None}
    assert remote.limits().today == 5


def test_the_stand_in_can_be_started_by_hand(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of(10))
    stand_in = ROOT / "tests" / "support" / "kaggle_standin.py"
    command = [sys.executable, str(stand_in), "--archive", str(tmp_path / "x.zip")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline().strip() for _ in range(7)]
        server.terminate()
    assert lines[0] == "unset NO_PROXY no_proxy"
    assert lines[-1] == f"export KAGGLE_API_TOKEN={TOKEN}"
    assert all(line.startswith("export ") for line in lines[1:])
