"""kit: fetch, fold, fill, train, blend and upload for competitions that hide part of every picture.

From Python: `kit.open(".")` opens a workspace, and what the commands do are its methods (`kit.api`).

The rooms, in the order in which data flows; each imports only from those above it (kept by the import contracts in
pyproject.toml), and the two middle branches never meet:

    errors         the tree of errors that a user can mend
    core           files, paths, locks, speech, progress, tables, threads: no word of photos
    imaging        pixels: images, holes, metrics, classical fills
    competitions   one module a competition: index, value range, encode, decode
    remote         Kaggle
    data           from an archive to a project: fetch, index, pack, folds, the prediction store, fill sources
    exploring      the data before any model: leaks, what differs between training and test, what is odd

    pretrained     networks trained elsewhere: hub, weights, prompts, CLIP, Stable Diffusion
    learning       everything that trains: experiments, losses, batches, models, the engine, the stack

    blending       residual Grams, weights, honest scores, the choice among blends
    submission     rows of a CSV: write, check, grade, note, upload
    exchange       predictions from and for others
    report         pictures and pages
    bundling       what a machine without a network needs, in one folder
    applying       what is trained, on other test photos and pictures of one's own
    upkeep         what is there, stale, damaged or running; is the machine fit

    api            the commands as methods, for notebooks and scripts: `kit.open`
    cli            one file a verb or family: parse, call one function, print one result
"""

from importlib import import_module as _import_module

__version__ = "0.1.0"

_ERRORS = (
    *(
        "KitError",
        "UsageError",
        "UnknownName",
        "MissingPackage",
        "NoPermission",
        "DataError",
        "ArchiveError",
        "ImageError",
    ),
    *("TableError", "StoreError", "MissingStep", "Mismatch", "DamagedStore", "PredictionsError", "Busy"),
    *("TrainingError", "SubmissionError", "RemoteError", "CredentialsError", "RulesNotAccepted", "NotFound"),
    *("QuotaReached", "RemoteUnavailable", "NotFinished"),
)
_PLACES = {**dict.fromkeys(("open", "Project", "stop_after"), "kit.api"), **dict.fromkeys(_ERRORS, "kit.errors")}
"""Where each public name is. By name and not by an import, which would make every room depend on the highest one; types
are in `__init__.pyi`."""

__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> object:
    """Return a public name, from where it is; nothing is imported before it is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'kit' has no attribute {name!r}")
    found = getattr(_import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted({*globals(), *__all__})
