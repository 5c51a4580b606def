"""The toolkit from Python: what the commands do, as methods of an opened workspace. Computes nothing itself.

    import kit

    project = kit.open(".")                         # a workspace, as `kit -w .`
    project.fetch(sample=True)
    project.folds(k=5)
    project.fill("all")
    project.train("regress", fold="all", epochs=12)
    b = project.blend()
    b.weights, b.cv, b.plot()
    project.submission(b, out="submission.csv")

A method leaves the same files as its command, byte for byte, and gives what the command prints as data: frozen, a table
in a notebook, with `.frame` for pandas. Nothing is asked, nothing ends the process, and a failure is one of kit's
exceptions (`kit.KitError`); the message suggests commands as they are typed at a shell. Only a module that is missing,
and what the system itself refuses (`OSError`), comes as Python has it.

project     all methods; chain, learning, sharing, keeping, looping: a part of them each, on a folder
training    train, tune and predict
sampling    project.sd, as kit sd
clip        project.clip
weights     project.weights
sending     submissions
exchanging  predictions from and for others
loop        a training loop of your own: batches, and what to predict
store       the way of its values into the prediction store
results     what the methods return; shared, states, filled: of single parts
tables      how that shows itself; pictures: as pictures
needs       what must be installed
"""

from __future__ import annotations

from pathlib import Path

from kit.api.project import Project
from kit.errors import UsageError

__all__ = ["Project", "open", "stop_after"]


def open(folder: str | Path = ".", *, competition: str | None = None) -> Project:
    """Open a workspace: a folder that holds one competition's work. Reads nothing; the folder need not be there yet.

    Args:
        folder: the workspace, relative to the folder that is the current one now.
        competition: its slug; by default that of the only competition that was fetched there.

    Raises:
        UsageError: it is a file, or several competitions are there and none was named.

    >>> project = kit.open(".")
    >>> project.competition
    'toy'
    """
    from kit.api.folder import path_of

    target = path_of(folder)
    if target is None:
        raise UsageError("None is no folder. Give that of a workspace: kit.open(FOLDER)")
    return Project(target, competition)


def stop_after(time: str | None) -> None:
    """Let whatever is called from now on stop then, as `--stop-after`: it raises `kit.NotFinished`, and goes on when it
    is called again.

    Args:
        time: a duration from now, `50m` or `11h30m`, or a time such as `17:30`; None: no end.

    Raises:
        UsageError: it is no time.

    >>> kit.stop_after("2h")
    >>> kit.stop_after(None)
    """
    import time as clock

    from kit.core.deadline import set_stop

    set_stop(time, clock.time())
