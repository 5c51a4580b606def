"""What the methods of a project return: frozen records, and tables of them. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from kit.api.pictures import Pictures, html_of_blend
from kit.api.tables import Table
from kit.core.numbers import score_text
from kit.core.tables import Shown, html_table

if TYPE_CHECKING:
    import pandas as pd

    from kit.blending import Blend as BlendDetails
    from kit.blending import SourceScore
    from kit.core.workspace import Fold, Workspace
    from kit.exchange import Imported
    from kit.exchange.checks import OwnScore
    from kit.imaging.metrics import Estimate
    from kit.learning.tuning.plan import TrialRow
    from kit.submission.grade import PhotoGrade
    from kit.submission.ledger import LedgerRow
    from kit.upkeep.status import BlendState


@dataclass(frozen=True)
class Fetched(Shown):
    """The competition as it lies in the workspace now."""

    competition: str
    folder: Path
    train: int
    """Training photos."""
    test: int
    already: bool
    """Nothing was done: it was all there."""
    notes: tuple[str, ...] = ()
    truth: Path | None = None
    """Of the sample competition: the original test photos, for `grade`."""


@dataclass(frozen=True)
class Filled(Shown):
    """A fill that is stored as a source."""

    name: str
    already: bool


class Fills(Table[Filled]):
    """Fills that are stored as sources."""

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("fill", "state")

    def cells(self, record: Filled) -> Sequence[str]:
        """Return what is shown of a fill."""
        return (record.name, "there already" if record.already else "filled")


@dataclass(frozen=True, repr=False)
class Sources(Table["SourceScore"]):
    """Every source with its CV score: the complete ones from best to worst, then the others."""

    metric: str = "RMSE"

    empty: ClassVar[str] = "There are no sources yet: project.fill('all')"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("source", f"CV {self.metric} [95 %]", "photos", "complete", "seconds")

    def cells(self, record: SourceScore) -> Sequence[str]:
        """Return what is shown of a source."""
        missing = ",".join(map(str, record.missing_oof or record.missing_test))
        complete = "yes" if record.complete else f"lacks {missing}" if missing else "no"
        return (record.name, _text(record.score), str(record.photos), complete, f"{record.seconds:.0f}")

    def notes(self) -> Iterable[str]:
        """Yield what is wrong with sources that cannot be read."""
        return (f"{record.name}: {record.problem}" for record in self.records if record.problem)


@dataclass(frozen=True)
class Trained(Shown):
    """The training of one fold, and its predictions."""

    name: str
    fold: Fold
    rmse: float
    """On the fold's photos; NaN of a full model, which has seen them all."""
    fill_rmse: float
    """Of the base fill alone on the same photos."""
    epochs: int
    seconds: float
    folder: Path
    already: bool


@dataclass(frozen=True, repr=False)
class Trainings(Table[Trained]):
    """Trainings, fold by fold."""

    mean: str | None = None
    """The source that holds the mean of several seeds; None where it was not asked for, or folds are absent."""

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("source", "fold", "fold RMSE", "fill alone", "epochs", "seconds", "state")

    def cells(self, record: Trained) -> Sequence[str]:
        """Return what is shown of a training."""
        scores = ["-" if one != one else f"{one:.4f}" for one in (record.rmse, record.fill_rmse)]
        state = "there already" if record.already else "trained"
        return (record.name, str(record.fold), *scores, str(record.epochs), f"{record.seconds:.0f}", state)

    def notes(self) -> Iterable[str]:
        """Yield where the mean is."""
        return (f"The mean of the seeds: {self.mean}",) if self.mean else ()


@dataclass(frozen=True)
class Tried(Shown):
    """One epoch of a training that stored nothing."""

    name: str
    fold: Fold
    rmse: float
    """On the fold's photos, after that epoch; NaN of a full model."""
    fill_rmse: float
    seconds: float
    """Of the epoch."""
    epochs: int
    """That a whole training takes."""
    folds: int

    @property
    def seconds_a_fold(self) -> float:
        """Return how long a fold would take, about."""
        return self.seconds * self.epochs

    @property
    def seconds_of_all_folds(self) -> float:
        """Return how long all folds would take, one after the other."""
        return self.seconds_a_fold * self.folds


@dataclass(frozen=True, repr=False)
class Study(Table["TrialRow"]):
    """Trials of settings on one fold, in their order."""

    name: str = ""
    experiment: str = ""
    fold: int = 0
    best: TrialRow | None = None
    default: TrialRow | None = None
    """The experiment's own settings."""
    config: Path = Path()
    """The best settings, for `project.train(config=...)`."""
    out_of_time: bool = False
    """Call it again to go on."""

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("trial", "state", f"fold {self.fold} RMSE", "seconds", "settings")

    def cells(self, record: TrialRow) -> Sequence[str]:
        """Return what is shown of a trial."""
        rmse = "-" if record.rmse is None else f"{record.rmse:.4f}"
        settings = " ".join(record.settings) or record.note or f"those of {self.experiment}"
        return (str(record.number), record.state, rmse, f"{record.seconds:.0f}", settings)

    def notes(self) -> Iterable[str]:
        """Yield which is best, and what that is worth."""
        if self.best is not None:
            yield f"Best: trial {self.best.number}, in {self.config}."
        yield f"Fold {self.fold} chose the best of them, so its RMSE is a little too good there; the other folds tell."
        if self.out_of_time:
            yield "Time is over. Call it again to go on."


@dataclass(frozen=True)
class Predicted(Shown):
    """A fold of which the predictions are there."""

    name: str
    fold: Fold
    already: bool


class PredictedFolds(Table[Predicted]):
    """Folds of which the predictions are there."""

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("source", "fold", "state")

    def cells(self, record: Predicted) -> Sequence[str]:
        """Return what is shown of a fold."""
        return (record.name, str(record.fold), "there already" if record.already else "predicted")


@dataclass(frozen=True, repr=False)
class Blend:
    """Weights for sources, how good they are, and why these."""

    details: BlendDetails
    """All that `blends/NAME.json` says."""
    workspace: Workspace = field(compare=False)
    metric: str = "RMSE"
    left_out: tuple[str, ...] = ()
    """Sources that are not complete, or have values that are not finite, where no members were named."""

    @property
    def name(self) -> str:
        """Return its name, that of its file."""
        return self.details.name

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each member, on average over all hidden values."""
        return self.details.weights

    @property
    def cv(self) -> Estimate:
        """Return its CV score, nested by fold, with its 95 % interval: `.value`, `.low`, `.high`."""
        return self.details.cv

    @property
    def rung(self) -> str:
        """Return the way in which the weights were found."""
        return self.details.rung

    @property
    def reason(self) -> str:
        """Return why this rung, in one sentence."""
        return self.details.reason

    @property
    def frame(self) -> pd.DataFrame:
        """Return the members as a pandas DataFrame."""
        import pandas as pd

        rows = [
            {
                "name": row.name,
                "weight": row.weight,
                "cv": row.cv.value,
                "cv_low": row.cv.low,
                "cv_high": row.cv.high,
                "without": row.without.value if row.without else None,
            }
            for row in self.details.members
        ]
        return pd.DataFrame(rows)

    def plot(self, kind: Literal["png", "svg"] = "png") -> Pictures:
        """Draw it and return the picture; a notebook shows it.

        Writes `report/NAME.png` as `kit blend` does.

        Raises:
            UsageError: another kind.
        """
        from kit.report.blend import plot_blend

        return Pictures((plot_blend(self.workspace, self.details, kind, self.metric),))

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        rows = sorted(self.details.members, key=lambda row: -row.weight)
        cells = [
            [row.name, f"{row.weight:.3f}", str(row.cv), row.without.signed if row.without else "-"] for row in rows
        ]
        return ["source", "weight", f"CV {self.metric} [95 %]", "left out (change)"], cells

    def _lines(self) -> list[str]:
        lines = [f"Blend {self.name}: CV {self.metric} {self.cv}, rung {self.rung}.", self.reason]
        if self.left_out:
            lines.append(f"Left out, not complete or not finite (sources() says why): {', '.join(self.left_out)}")
        return lines

    def __repr__(self) -> str:
        """Return members and scores as plain text."""
        from kit.core.tables import table

        return "\n".join([table(*self._cells()), *self._lines()])

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), self._lines()) + html_of_blend(self.workspace, self.details)


class Blends(Table["BlendState"]):
    """The blends of a workspace, newest first."""

    empty: ClassVar[str] = "There is no blend yet: project.blend()"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("blend", "CV", "rung", "members", "when", "public")

    def cells(self, record: BlendState) -> Sequence[str]:
        """Return what is shown of a blend."""
        scores = ["-" if one is None else score_text(one) for one in (record.cv, record.public)]
        return (record.name, scores[0], record.rung, ", ".join(record.members), record.when, scores[1])

    def notes(self) -> Iterable[str]:
        """Yield why blends cannot be applied."""
        return (f"{record.name}: {record.problem}" for record in self.records if record.problem)


@dataclass(frozen=True)
class Submission(Shown):
    """A checked submission, and what became of it."""

    path: Path
    what: str
    """`blend NAME`, `source NAME` or `csv`."""
    digest: str
    rows: int
    lowest: float
    highest: float
    cv: Estimate | None
    """CV score of what it was made from; None for a file."""
    notes: tuple[str, ...] = ()
    """What speaks against it: a better blend, values that look wrong, bytes that were sent before."""
    sent: LedgerRow | None = None
    """The ledger's row, with the score if it came in time; None where nothing was sent."""


@dataclass(frozen=True, repr=False)
class Grade(Table["PhotoGrade"]):
    """The competition's score of a submission, computed from the original photos; a record for each photo."""

    score: Estimate | None = None
    rows: int = 0
    metric: str = "RMSE"

    def heading(self) -> Sequence[str]:
        """Return the titles of the columns."""
        return ("photo", self.metric, "rows")

    def cells(self, record: PhotoGrade) -> Sequence[str]:
        """Return what is shown of a photo."""
        return (record.name, score_text(record.score), str(record.rows))

    def notes(self) -> Iterable[str]:
        """Yield the score."""
        return (f"{self.metric} {self.score} over {self.rows} rows of {len(self)} photos (95 % by photo)",)


@dataclass(frozen=True)
class ImportedSource(Shown):
    """A source of predictions that something else has made."""

    name: str
    parts: tuple[Imported, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    """What looks wrong with the values."""
    score: OwnScore | None
    """Its CV RMSE beside the best other source's; None without OOF predictions or folds."""


def _text(estimate: Estimate | None) -> str:
    return "-" if estimate is None else str(estimate)
