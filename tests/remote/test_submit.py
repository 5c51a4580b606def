"""One file is submitted exactly once, and its score is waited for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.kaggle_standin import TOKEN, Fault
from support.remote import ROOT, Time, zip_of

from kit.errors import (
    QuotaReached,
    RemoteUnavailable,
    SubmissionError,
)
from kit.remote import Remote

pytestmark = pytest.mark.usefixtures("kaggle_env")


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
