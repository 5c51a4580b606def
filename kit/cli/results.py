"""Results as text: tables of sources, blends, grades and submissions. Computes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kit.cli.options import with_workspace_flags
from kit.core.numbers import score_text
from kit.core.tables import table

if TYPE_CHECKING:
    from pathlib import Path

    from kit.blending import Blend, CandidateRow, SourceScore
    from kit.core.workspace import Workspace
    from kit.data.index import Index
    from kit.data.project import Project
    from kit.imaging.metrics import Estimate, Metric
    from kit.submission.ledger import LedgerRow
    from kit.submission.standing import Standing


def print_json(value: object) -> None:
    """Print dataclasses, or lists of them, as JSON."""
    from kit.core.storage import to_json

    text = to_json(value)
    if "NaN" in text or "Infinity" in text:  # which are no JSON: a value that there is not
        text = to_json(json.loads(text, parse_constant=lambda _: None))
    if "utf" not in (sys.stdout.encoding or "utf-8").lower():  # JSON has its own escapes for other letters
        text = json.dumps(json.loads(text), indent=2) + "\n"
    print(text, end="")


def interval(estimate: Estimate | None) -> str:
    """Return `0.1641 [0.1601, 0.1680]`, or a dash."""
    return str(estimate) if estimate is not None else "-"


def change(estimate: Estimate | None) -> str:
    """Return a signed difference with its interval."""
    return estimate.signed if estimate is not None else "-"


def sources_table(scores: Sequence[SourceScore], metric: Metric) -> str:
    """Return a table with one row a source.

    Args:
        metric: what the scores are.
    """
    if not scores:
        return with_workspace_flags("There are no sources yet. Run: kit fill all")
    rows = []
    for score in scores:
        seconds, digest = f"{score.seconds:.0f}", score.digest[:8]
        rows.append([score.name, interval(score.score), str(score.photos), _folds_of(score), seconds, digest])
    lines = [
        table(
            ["source", f"CV {metric.label} [95 %]", "photos", "folds", "seconds", "digest"],
            rows,
            drop=("digest", "seconds", "photos"),
        )
    ]
    for score in scores:
        if score.problem:
            lines.append(with_workspace_flags(f"{score.name}: {score.problem}"))
        elif score.difference is not None:
            lines.append(
                f"{score.name}: on its {score.photos} photos {_beside(score.difference)} {score.reference} "
                f"({interval(score.reference_score)})"
            )
    lines += _same([(score.name, score.digest) for score in scores if score.digest])
    of = "whole pictures" if metric.of == "pictures" else "hidden pixels in score space"
    lines.append(f"CV: {metric.label} on {of}, each training photo predicted out of fold.")
    return "\n".join(lines)


def _beside(loss: Estimate) -> str:
    """Say how a source does beside another one: better or worse where the interval says so."""
    from kit.imaging.metrics import Estimate

    if loss.low > 0:
        return f"worse by {loss.signed.replace('+', '')} than"
    if loss.high < 0:
        return f"better by {Estimate(-loss.value, -loss.high, -loss.low).signed.replace('+', '')} than"
    return f"not credibly different ({loss.signed}) from"


def _same(digests: Sequence[tuple[str, str]]) -> list[str]:
    """Name sources that hold the very same OOF values: more than one of them brings a blend nothing."""
    names: dict[str, list[str]] = {}
    for name, digest in digests:
        names.setdefault(digest, []).append(name)
    return [f"Note: {' and '.join(same)} hold the same values." for same in names.values() if len(same) > 1]


def _folds_of(score: SourceScore) -> str:
    """Return which folds are there, and whether a full model is: `all`, `all+full`, `no folds 1,2`."""
    missing = ",".join(map(str, score.missing_oof or score.missing_test))
    folds = "all" if score.complete else f"no folds {missing}"
    return f"{folds.rstrip()}+full" if score.full else folds


def blend_report(blend: Blend, workspace: Workspace, metric: Metric, picture: Path | None = None) -> str:
    """Return the report: what the blend is worth and what to expect, then members, rungs, where the error lies.

    Args:
        metric: what the scores are.
    """
    from kit.report.page.verdict import verdict_of_blend

    rows = [
        [row.name, interval(row.cv), f"{row.weight:.3f}", change(row.without), f"{_nearest(blend, place):.3f}"]
        for place, row in enumerate(blend.members)
    ]
    rows.sort(key=lambda row: -float(row[2]))
    label = metric.label
    of_parts = "RMSE" if metric.of == "pictures" else label
    heading = ["source", f"CV {label} [95 %]", "weight", "worth [95 %]", "correlation"]
    rungs = [
        [row.rung, interval(row.cv), "" if row.rung == "single" else change(row.gain), _verdict(row)]
        for row in blend.ladder
    ]
    parts = [[row.by, row.name, f"{row.share:.3f}", interval(row.cv)] for row in blend.slices]
    lines = [
        *verdict_of_blend(blend, label),
        blend.reason,
        *_same([(row.name, row.oof) for row in blend.members]),
        "",
        table(heading, rows, bare=[heading[1]], drop=["correlation"]),
        f"weight: on average over hidden values. worth: what is lost without it, by rung {blend.fitted}.",
        "correlation: of its errors with those of the most alike other source.",
        "",
        table(["rung", f"CV {label} [95 %]", "gain [95 %]", ""], rungs, bare=[f"CV {label} [95 %]", "gain [95 %]"]),
        "gain: over the rung that was taken before it. What the rungs are: kit blend --help",
        "",
        table(["error by", "", "share", f"CV {of_parts} [95 %]"], parts),
        "",
        *_expectation(blend),
        f"CV: each of {blend.photos} photos scored by weights that were not fitted on its fold.",
    ]
    if picture is not None:
        lines.append(f"Picture: {picture}; more to see: kit report")
    lines.append(f"Written: {workspace.blend(blend.name)}")
    return "\n".join(with_workspace_flags(line) for line in lines)


def _nearest(blend: Blend, place: int) -> float:
    """Return the highest correlation of a member's residuals with another one's."""
    return max((one for other, one in enumerate(blend.correlation[place]) if other != place), default=0.0)


def _verdict(row: CandidateRow) -> str:
    if not row.on_ladder:
        return "compared"
    return "taken" if row.taken else "not credible"


def _expectation(blend: Blend) -> list[str]:
    board = blend.leaderboard
    photos = "1 test photo" if board.photos == 1 else f"{board.photos} test photos"
    return [
        f"Leaderboard, {photos}: {board.score} expected, clipped. Uncertain are which",
        f"test photos these are (+-{score_text(board.sampling)}) and which training photos they are judged by (+-"
        f"{score_text(board.estimation)});",
        f"unknown value ranges cost {change(board.extremes)} of it.",
    ]


def fills_text(project: Project) -> str:
    """Say what each fill scores, the best first."""
    from kit.blending import score_sources
    from kit.imaging.fills import FILLS

    label = project.layout.measured_by.label
    scores = [
        f"{one.name} {score_text(one.score.value)}" for one in score_sources(project) if one.score and one.name in FILLS
    ]
    return f"CV {label}: {', '.join(scores)}"


def hidden_text(index: Index) -> str:
    """Say how much of a photo is hidden, and in doubt what masks may have meant."""
    shares = {}
    for split, rows in (("training", index.train), ("test", index.test)):
        parts = [min(1.0, row.scored / (row.height * row.width)) for row in rows]
        shares[split] = sum(parts) / len(parts)
    said = " and ".join(f"{share:.1%} of a {split} photo" for split, share in shares.items())
    line = f"Hidden, on average: {said}"
    if min(shares.values()) > 0.5:
        line += (
            "\nNote: more than half is hidden. If masks mean it the other way: fetch again with --hidden black --force"
        )
    return line


def ledger_table(rows: Sequence[LedgerRow], *, is_sample: bool = False) -> str:
    """Return a table with one row a submission, oldest first.

    Args:
        is_sample: the data are kit's own sample, which no competition takes.
    """
    if not rows and is_sample:
        return with_workspace_flags("Nothing is submitted from kit's own sample. Only check one: kit upload --dry-run")
    if not rows:
        return with_workspace_flags("Nothing has been submitted from here yet. Run: kit upload")
    cells = [
        [
            row.when[:16].replace("T", " "),
            row.ref or "-",
            row.what,
            row.file,
            _score(row.cv, 4),
            _score(row.public_score),
            _score(row.private_score),
            "-" if row.cv is None or row.public_score is None else f"{row.public_score - row.cv:+.4f}",
            str(row.rank or "-"),
            f"{row.status}, late" if row.late else row.status,
            row.message,
        ]
        for row in rows
    ]
    heading = ["when (UTC)", "ref", "what", "file", "CV", "public", "private", "gap", "place", "status", "message"]
    return "\n".join(
        [
            table(heading, cells, drop=("file", "message", "place", "gap", "ref")),
            "gap: public score less CV; place: on the leaderboard when the score came.",
        ]
    )


def _score(value: float | None, digits: int = 5) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def standing_text(found: Standing, blend: str) -> str:
    """Return where a user stands, what steps are worth, and what is left of the day.

    Args:
        blend: whose expected score it is.
    """
    teams = f"{found.teams} teams" if found.teams != 1 else "1 team"
    if found.rank is None:
        lines = [f"Leaderboard: {teams}, the best {_score(found.best)}; you have no score there yet."]
    else:
        share = f" (best {100 * found.rank / found.teams:.0f} %)" if found.teams else ""
        lines = [
            f"Leaderboard: {teams}, the best {_score(found.best)}. {found.team or 'You'}: place {found.rank}{share} "
            f"with {_score(found.score)}."
        ]
    if found.steps:
        at = found.rank if found.rank is not None else found.expected.rank if found.expected else 0
        rows = [[f"{step.change:g}", _score(step.score), str(step.rank), str(at - step.rank)] for step in found.steps]
        lines += ["", table(["better by", "score", "place", "places won"], rows), ""]
    if found.expected is not None:
        lines.append(f"Blend {blend} expects {_score(found.expected.score, 4)}: place {found.expected.rank} or so.")
    lines.append(f"Submissions: {found.today} sent today, {found.allowed_now} left. The day ends at 00:00 UTC.")
    return "\n".join(lines)
