"""The chain, typed as a user types it, on real photos in Kaggle's layout and against a stand-in of the service."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.command import kit, ok
from support.kaggle_standin import SLUG, TEAM, TOKEN, Fault, KaggleStandIn
from support.small import Small

from kit.competitions import to_score_space
from kit.core.workspace import Workspace
from kit.data.origin import Origin, write_origin
from kit.data.project import Project
from kit.imaging.holes import scored_pixels
from kit.imaging.images import load_image, save_image
from kit.submission.ledger import LedgerRow, append_ledger, now

TRAIN = (
    "train regress bilstm --fold all --device cpu --set encoder=tu-resnet10t --set decoder_channels=32,16,16,16 "
    "--set width=16 --epochs 1 --set batch_size=8 --set base=harmonic"
)
FILLS = ["fractional", "harmonic", "mean", "navier-stokes", "telea"]


@dataclass(frozen=True)
class Chain:
    """A workspace in which the chain was typed up to the blend, and what each command printed."""

    root: Path
    truth: Path
    said: dict[str, str]

    def type(self, line: str) -> str:
        """Type one more command in it."""
        return ok(f"-w {self.root} {line}")


@pytest.fixture(scope="module")
def chain(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    root = tmp_path_factory.mktemp("chain") / "w"
    lines = [f"fetch --from {small.archive}", "folds --k 2", "fill all", TRAIN, "sources", "blend --name every"]
    return Chain(root, small.truth, {line.split()[0]: ok(f"-w {root} {line}") for line in lines})


def test_every_step_says_what_it_did_and_what_comes_next(chain: Chain) -> None:
    assert "20 training and 4 test photos" in chain.said["fetch"] and "Next: kit folds" in chain.said["fetch"]
    assert "fold 1: 10 photos" in chain.said["folds"]
    *filled, scores, following = chain.said["fill"].splitlines()
    assert filled == [f"Filled: {name}" for name in ["mean", "telea", "navier-stokes", "harmonic", "fractional"]]
    assert re.fullmatch(r"CV RMSE: (\S+ 0\.\d{4}(, )?){5}", scores) and following == "Next: kit train --fold all"
    *trained, following = chain.said["train"].splitlines()
    assert [line.split(": fold RMSE")[0] for line in trained] == [
        f"Trained: {name}, fold {fold}" for fold in (0, 1) for name in ("regress", "bilstm")
    ]
    assert following == "Next: kit blend"
    for name in [*FILLS, "regress", "bilstm"]:
        assert name in chain.said["sources"] and name in chain.said["blend"]
    assert chain.said["blend"].startswith("Blend every") and "Next: kit upload --dry-run" in chain.said["blend"]


def test_the_files_are_where_the_design_says(chain: Chain) -> None:
    for path in (
        "data/photo-reconstruction/index.csv",
        "data/photo-reconstruction/pack/train_image.npy",
        "folds/photo-reconstruction.csv",
        "runs/regress/fold_1/model.safetensors",
        "runs/regress/fold_1/log.csv",
        "predictions/regress/oof/fold_0.npy",
        "predictions/regress/test/fold_1.json",
        "predictions/fractional/oof/all.npy",
        "blends/every.json",
    ):
        assert (chain.root / path).is_file(), path
    assert not list(chain.root.rglob(".partial-*")) and not list(chain.root.rglob("*.old"))


def test_the_second_run_of_each_step_does_nothing_again(chain: Chain, digests) -> None:
    before = digests(chain.root)
    for line in ("fetch", "folds --k 2", "fill all", TRAIN, "predict regress"):
        said = chain.type(line)
        assert "There already" in said and not {"Filled", "Trained", "Made", "Fetched", "Predicted"} & set(
            said.replace(":", " ").split()
        ), said
    assert chain.type("sources") == chain.said["sources"]
    assert chain.type("blend --name every") == chain.said["blend"]
    assert digests(chain.root) == before


def test_the_classical_fills_stand_in_the_known_order(chain: Chain) -> None:
    rows = json.loads(chain.type("sources --json"))
    scores = {row["name"]: row["score"]["value"] for row in rows}
    assert scores["fractional"] < scores["harmonic"] < scores["mean"]
    assert all(row["complete"] for row in rows) and len(rows) == 7


def test_a_model_predicts_the_photos_of_its_own_fold(chain: Chain) -> None:
    project = Project(Workspace(chain.root))
    for fold in range(2):
        values = np.load(chain.root / f"predictions/regress/oof/fold_{fold}.npy")
        assert len(values) == 75 * 75 * 2 * len(project.folds.valid_positions(fold))


def test_the_submission_is_checked_and_graded(chain: Chain) -> None:
    said = chain.type("upload every --dry-run")
    assert f"{4 * 2 * 75 * 75 * 3} rows" in said and "Nothing was sent (--dry-run). Send it: kit upload every" in said
    path = chain.root / "submissions" / "every.csv"
    assert "ids as in the sample" in chain.type(f"check {path}")
    graded = json.loads(chain.type(f"grade {path} --truth {chain.truth} --json"))
    mean = chain.root / "submissions" / "mean.csv"
    chain.type("upload mean --dry-run")
    assert (
        graded["score"]["value"]
        < json.loads(chain.type(f"grade {mean} --truth {chain.truth} --json"))["score"]["value"]
    )
    assert not (chain.root / "submissions" / "ledger.csv").exists()


def test_the_truth_grades_exactly_zero_with_the_true_value_range_and_little_with_the_estimated_one(
    chain: Chain, tmp_path: Path
) -> None:
    project = Project(Workspace(chain.root))
    grades = {}
    for name in ("true", "estimated"):
        lines = [project.layout.header(project.workspace.raw)]
        for position, photo_row in enumerate(project.index.test):
            photo = load_image(chain.truth / photo_row.name)
            value_range = (
                project.layout.value_range(photo, None)
                if name == "true"
                else project.pack.test_estimated_range[position]
            )
            values = to_score_space(photo[scored_pixels(photo_row.boxes)] / 255.0, value_range)
            lines.append(project.layout.encode(photo_row.name, photo_row.boxes, values))
        (tmp_path / f"{name}.csv").write_bytes(b"".join(lines))
        graded = chain.type(f"grade {tmp_path / name}.csv --truth {chain.truth} --json")
        grades[name] = json.loads(graded)["score"]["value"]
        assert "ids as in the sample" in chain.type(f"check {tmp_path / name}.csv")
    assert grades["true"] == 0.0 and 0.0 <= grades["estimated"] < 0.1


def test_a_figure_shows_sources_blend_and_truth(chain: Chain, tmp_path: Path) -> None:
    said = chain.type(f"figure harmonic regress every --count 2 --out {tmp_path / 'train.png'}")
    assert "Written:" in said and load_image(tmp_path / "train.png").shape[1] > 5 * 100
    chain.type(f"figure --truth {chain.truth} --out {tmp_path / 'test.png'}")
    assert load_image(tmp_path / "test.png").std() > 10
    chain.type("figure --count 1")
    assert (chain.root / "report" / "figure.png").is_file()


def test_predictions_do_not_depend_on_what_lies_under_the_holes(chain: Chain, small: Small, tmp_path: Path) -> None:
    project = small.project
    rng = np.random.default_rng(0)
    raw = tmp_path / "raw"
    shutil.copytree(project.workspace.raw, raw)
    changed = 0
    for photo_row in (*project.index.train, *project.index.test):
        if not photo_row.image.endswith(".png"):
            continue  # a JPEG's known pixels would change too
        photo = load_image(raw / photo_row.image)
        photo[photo_row.hole] = rng.integers(0, 256, (int(photo_row.hole.sum()), 3))
        save_image(raw / photo_row.image, photo)
        changed += 1
    assert changed
    ok(f"-w {tmp_path / 'w'} fetch --from {raw}")
    ok(f"-w {tmp_path / 'w'} fill mean telea")
    for name in ("mean", "telea"):
        for split in ("oof", "test"):
            ours, theirs = (root / "predictions" / name / split / "all.npy" for root in (tmp_path / "w", chain.root))
            assert ours.read_bytes() == theirs.read_bytes()


# --- with the service ---------------------------------------------------------


@pytest.fixture
def service(
    kaggle_service: KaggleStandIn, kaggle_env: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KaggleStandIn]:
    """The stand-in, found by the real client; pauses between attempts take no time."""
    for module in ("session", "download", "submit"):
        monkeypatch.setattr(f"kit.remote.{module}.PAUSES", (0.0, 0.0))
    kaggle_service.score = "0.16543"
    yield kaggle_service


@pytest.fixture
def here(chain: Chain) -> Iterator[Chain]:
    """The chain without what an earlier test submitted."""
    ledger = chain.root / "submissions" / "ledger.csv"
    ledger.unlink(missing_ok=True)
    yield chain
    ledger.unlink(missing_ok=True)


def ledger_rows(chain: Chain) -> list[dict[str, str]]:
    with (chain.root / "submissions" / "ledger.csv").open() as file:
        return list(csv.DictReader(file))


def test_an_upload_is_scored_and_noted(here: Chain, service: KaggleStandIn) -> None:
    said = here.type("upload --yes --message 'all of them'")
    assert "public score 0.16543" in said and "CV RMSE" in said
    (sent,) = service.uploads.values()
    assert sent == (here.root / "submissions" / "every.csv").read_bytes()
    (row,) = ledger_rows(here)
    assert (row["what"], row["status"], float(row["public_score"])) == ("blend every", "complete", 0.16543)
    assert row["message"] == "all of them" and row["ref"] == str(service.submissions[0]["ref"])
    blend = json.loads((here.root / "blends" / "every.json").read_text())
    assert float(row["cv"]) == pytest.approx(blend["cv"]["value"])
    assert "0.16543" in here.type("submissions")
    assert (row["late"], row["private_score"], row["rank"]) == ("no", "", "") and row["tag"].startswith("[kit-")
    assert row["versions"].startswith("kit ") and "numpy" in row["versions"]
    assert "these very bytes were sent" in here.type("upload --dry-run")


def test_a_late_submission_says_so_before_it_is_sent(here: Chain, service: KaggleStandIn) -> None:
    service.deadline, service.private_score, service.rank = "2020-01-02T03:04:05.123Z", "0.17", 7
    said = here.type("upload mean --yes")
    assert said.index("the deadline was 2020-01-02 03:04 UTC") < said.index("public score 0.16543, private score 0.17.")
    (row,) = ledger_rows(here)
    assert (row["late"], row["private_score"], row["rank"]) == ("yes", "0.17", "")
    assert "complete, late" in here.type("submissions")


def test_private_scores_are_asked_for_after_the_deadline(here: Chain, service: KaggleStandIn) -> None:
    service.rank = 12
    assert "place 12" in here.type("upload mean --yes")
    service.private_score = "0.17"
    assert "0.17000" not in here.type("submissions")
    said = here.type("submissions --refresh")
    cv = float(ledger_rows(here)[0]["cv"])
    assert "0.17000" in said and f"{0.16543 - cv:+.4f}" in said
    assert ledger_rows(here)[0]["rank"] == "12"


def test_everything_is_asked_before_a_file_is_written(here: Chain, service: KaggleStandIn) -> None:
    path = here.root / "submissions" / "telea.csv"
    path.unlink(missing_ok=True)
    for switch, value in (("token_is_active", False), ("used_today", 5), ("closed", True), ("rules_accepted", False)):
        before = getattr(service, switch)
        setattr(service, switch, value)
        assert kit(f"-w {here.root} upload telea --yes").is_one_error_line
        setattr(service, switch, before)
    calls = len(service.log)
    assert "--yes" in kit(f"-w {here.root} upload telea").err and len(service.log) == calls
    assert "There is no blend" in kit(f"-w {here.root} upload teleia --yes").err and len(service.log) == calls
    assert not path.exists()


def test_a_lost_answer_is_looked_for_by_later_commands(here: Chain, service: KaggleStandIn, monkeypatch) -> None:
    monkeypatch.setattr("kit.remote.submit._LOOKS", ())
    service.fail("CreateSubmission", Fault(drop=True, late=True))
    done = kit(f"-w {here.root} upload mean --yes")
    assert done.is_one_error_line and "It is not known" in done.err and ledger_rows(here)[0]["status"] == "unknown"
    done = kit(f"-w {here.root} upload mean --yes")  # the script goes on trying
    assert done.is_one_error_line and "These very bytes were sent" in done.err and len(service.submissions) == 1
    assert "complete" in here.type("submissions")
    assert ledger_rows(here)[0]["ref"] == str(service.submissions[0]["ref"])


def test_a_killed_upload_that_never_arrived_is_taken_out_again(here: Chain, service: KaggleStandIn) -> None:
    workspace = Workspace(here.root)
    begun = LedgerRow("2020-01-01T00:00:00+00:00", SLUG, "a.csv", "d", "csv", status="sending", tag="[x]")
    append_ledger(workspace, begun)
    assert "has not arrived: nothing was submitted" in kit(f"-w {here.root} submissions").err
    assert not workspace.ledger.exists()


def test_somebody_elses_submission_keeps_no_other_from_its_score(here: Chain, service: KaggleStandIn) -> None:
    workspace = Workspace(here.root)
    for ref in ("987654", "1"):
        append_ledger(workspace, LedgerRow(now(), SLUG, f"{ref}.csv", "d", "csv", ref=ref, status="pending"))
    service.pending_polls = 1000
    here.type("upload mean --yes --wait 0")
    service.submissions[0]["polls"] = 0
    done = kit(f"-w {here.root} submissions")
    assert done.code == 0 and "0.16543" in done.out
    assert "shows this account no submission 987654" in done.err
    service.token_is_active = False
    done = kit(f"-w {here.root} submissions")
    assert done.code == 1 and "0.16543" in done.out and "does not accept the token" in done.err


def test_the_leaderboard_says_what_a_step_is_worth(here: Chain, service: KaggleStandIn) -> None:
    service.board = [(f"team {place}", f"{0.15 + place / 1000:.4f}") for place in range(60)]
    assert "you have no score there yet" in here.type("leaderboard")
    here.type("upload mean --yes")
    service.board[20] = (TEAM, "0.1700")
    said = here.type("leaderboard")
    assert "60 teams, the best 0.15000. Ada and friends: place 21 (best 35 %) with 0.17000." in said
    (line,) = [line for line in said.splitlines() if line.split()[:1] == ["0.005"]]
    assert line.split() == ["0.005", "0.16500", "17", "4"]
    assert "Blend every expects" in said and "1 sent today, 4 left" in said
    service.board = [(team, f"{1 - float(score):.4f}") for team, score in service.board]  # the highest is the best
    assert json.loads(here.type("leaderboard --json"))["steps"][-1]["rank"] == 17


def test_the_sample_has_nowhere_to_go(tmp_path: Path, small: Small, service: KaggleStandIn) -> None:
    root = tmp_path / "w"
    shutil.copytree(small.root, root)
    write_origin(Workspace(root), Origin(sample=True))
    ok(f"-w {root} fill mean")
    said = ok(f"-w {root} upload mean --dry-run")
    assert "which no competition takes" in said and "Send it" not in said
    for line in ("upload mean --yes", "upload mean", f"upload {root}/submissions/mean.csv --yes", "leaderboard"):
        done = kit(f"-w {root} {line}")
        assert done.is_one_error_line and "kit's own sample" in done.err, done
    assert service.log == []


def test_a_source_and_a_csv_can_be_uploaded_too(here: Chain, service: KaggleStandIn) -> None:
    here.type("upload harmonic --yes")
    path = here.root / "submissions" / "harmonic.csv"
    done = kit(f"-w {here.root} upload {path} --yes")
    assert done.is_one_error_line and "add --again" in done.err and len(service.submissions) == 1
    here.type(f"upload {path} --yes --again")
    first, second = ledger_rows(here)
    assert (first["what"], second["what"]) == ("source harmonic", "csv")
    assert float(first["cv"]) > 0 and second["cv"] == "" and first["digest"] == second["digest"]


def test_a_score_that_takes_long_is_asked_for_later(here: Chain, service: KaggleStandIn) -> None:
    service.pending_polls = 1000
    assert "is pending and noted. Ask again: kit submissions" in here.type("upload mean --yes --wait 0")
    assert "pending" in here.type("submissions")
    for submission in service.submissions:
        submission["polls"] = 0
    assert "0.16543" in here.type("submissions")
    assert ledger_rows(here)[0]["status"] == "complete"


@pytest.mark.parametrize(
    ("switch", "value", "said"),
    [
        ("used_today", 5, "No submission to photo-reconstruction is left"),
        ("rules_accepted", False, "accept the rules"),
        ("token_is_active", False, "KAGGLE_API_TOKEN"),
        ("slug", "another", "does not find photo-reconstruction"),
        ("closed", True, "takes no submissions any more"),
    ],
)
def test_a_refused_upload_is_one_line_and_notes_nothing(
    here: Chain, service: KaggleStandIn, switch: str, value: object, said: str
) -> None:
    setattr(service, switch, value)
    done = kit(f"-w {here.root} upload mean --yes")
    assert done.is_one_error_line and said in done.err, done
    assert not service.submissions and not (here.root / "submissions" / "ledger.csv").exists()


def test_a_submission_that_cannot_be_scored_is_noted_as_such(here: Chain, service: KaggleStandIn) -> None:
    service.scoring_error = "Evaluation exception"
    done = kit(f"-w {here.root} upload mean --yes")
    assert done.is_one_error_line and "Evaluation exception" in done.err
    assert ledger_rows(here)[0]["status"] == "error"


def test_a_failing_service_is_one_line(here: Chain, service: KaggleStandIn) -> None:
    service.fail("GetCompetition", *[Fault(503)] * 20)
    done = kit(f"-w {here.root} upload mean --yes")
    assert done.is_one_error_line and "503" in done.err


def test_nothing_that_is_said_or_kept_holds_a_token(here: Chain, service: KaggleStandIn, monkeypatch, tmp_path) -> None:
    proxy = service.environment()["http_proxy"].replace("://", "://ada:pass%2Fw0rd@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("KAGGLE_API_TOKEN", f"{TOKEN}\n")
    said = [kit(f"-w {here.root} {line}") for line in ("upload mean --yes", "submissions", "leaderboard", "sources")]
    service.token_is_active = False
    service.fail("ListSubmissions", Fault(200, body=f"<html>{TOKEN} {proxy}</html>".encode()))
    said += [kit(f"-w {here.root} {line}") for line in ("upload telea --yes", "submissions --refresh", "leaderboard")]
    for line in (f"-w {tmp_path} fetch", f"-w {here.root} export every --out {tmp_path}/e --split test"):
        said.append(kit(line))
    kept = [path for root in (here.root, tmp_path) for path in root.rglob("*") if path.is_file()]
    kept = [path for path in kept if not path.is_relative_to(tmp_path / "home")]
    for secret in (TOKEN, "pass%2Fw0rd", "pass/w0rd"):
        assert not [done for done in said if secret in done.out + done.err]
        assert not [path for path in kept if secret.encode() in path.read_bytes()]
    assert said[0].code == 0 and len(kept) > 20


def test_fetch_downloads_through_the_real_client(service: KaggleStandIn, small: Small, tmp_path: Path) -> None:
    service.archive = small.archive.read_bytes()
    service.fail("GET", Fault(cut=(1 << 20) + 5000))
    said = ok(f"-w {tmp_path} fetch https://www.kaggle.com/competitions/photo-reconstruction/data")
    assert "Fetched: photo-reconstruction, 20 training and 4 test photos" in said
    assert [call.headers.get("Range") is not None for call in service.calls("GET")] == [False, True]
    assert "There already" in ok(f"-w {tmp_path} fetch")


@pytest.mark.parametrize(
    ("switch", "value", "said"),
    [
        ("token_is_active", False, "KAGGLE_API_TOKEN"),
        ("rules_accepted", False, "competitions/photo-reconstruction/rules"),
        ("slug", "another", "does not find photo-reconstruction"),
        ("archive", b"<html>", "in a browser to see why"),
    ],
)
def test_a_refused_download_is_one_line_and_leaves_nothing(
    service: KaggleStandIn, tmp_path: Path, digests, switch: str, value: object, said: str
) -> None:
    service.archive = b"PK"
    setattr(service, switch, value)
    done = kit(f"-w {tmp_path / 'w'} fetch")
    assert done.is_one_error_line and said in done.err, done
    assert digests(tmp_path / "w") == {}
