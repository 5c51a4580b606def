"""Is this machine fit for the work? Each check gives one line, and what to do where it is not. Changes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import locale
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import Version

from kit.core.extras import EXTRAS, is_installed
from kit.core.parallel import cores
from kit.core.progress import track
from kit.core.storage import locked
from kit.core.workspace import Workspace
from kit.errors import KitError
from kit.remote.credentials import files, problem

if TYPE_CHECKING:
    from kit.learning.experiments import Experiment

PACKAGE = "hole-kit"
FREE_GB = 10.0
"""Room below which a competition's data, sources and submissions may not fit."""
HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    state: str
    """`ok`, `note` (works, with something to know) or `problem`."""
    text: str


def examine(workspace: Workspace, *, ask_network: bool = True) -> Iterator[Finding]:
    """Check one thing after the other; a check that fails by itself is a finding too.

    Args:
        ask_network: try to reach the hub and Kaggle too, a few seconds each.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        _extras,
        _device,
        _memory,
        lambda: _disk(workspace),
        lambda: _file_system(workspace),
        _locale,
        _credentials,
        _weights,
        _networks,
    ]
    if ask_network:
        checks.append(_hub)
    for check in checks:
        try:
            yield from check()
        except KitError as error:
            yield Finding("check", "problem", str(error))
        except Exception as error:  # whatever is broken here is what was asked for
            yield Finding("check", "problem", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _python() -> Iterator[Finding]:
    text = f"{platform.python_version()} in {sys.prefix}, {platform.platform(terse=True)}, {cores()} cores"
    fits = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if fits else "problem", text if fits else f"{text}. 3.11 or newer is needed.")


def _packages() -> Iterator[Finding]:
    """Compare what is installed with the floors of kit's own metadata."""
    try:
        wanted = [Requirement(text) for text in importlib.metadata.requires(PACKAGE) or []]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "note", f"{PACKAGE} is not installed (it runs from its folder). Run: pip install .")
        return
    low = []
    for requirement in wanted:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found = importlib.metadata.version(requirement.name)
            if requirement.name != PACKAGE and not requirement.specifier.contains(Version(found), prereleases=True):
                low.append(f"{requirement.name} {found} (wanted {requirement.specifier})")
    names = {requirement.name for requirement in wanted} - {PACKAGE}
    if low:
        yield Finding(
            "packages", "problem", f"{', '.join(sorted(set(low)))}. Run: pip install --upgrade '{PACKAGE}[all]'"
        )
    else:
        yield Finding(
            "packages", "ok", f"kit {importlib.metadata.version(PACKAGE)}; {len(names)} packages at or above its floors"
        )


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if not is_installed(module)]
        if missing:
            text = f"{extra}: {', '.join(missing)} not installed. Run: pip install '{PACKAGE}[{extra}]'"
            yield Finding("extras", "note", text)


def _device() -> Iterator[Finding]:
    if not is_installed("torch"):
        return
    import torch

    from kit.pretrained.devices import half_precision_on

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs alone"
        seen = shutil.which("nvidia-smi") is not None
        text = f"torch {torch.__version__} ({built}) finds no GPU: trainings run on the CPU in float32"
        advice = ". A driver is here: install the torch build that fits it (nvidia-smi shows its CUDA)" if seen else ""
        yield Finding("device", "problem" if seen else "note", text + advice)
        return
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        precision = str(half_precision_on(torch.device("cuda", number))).removeprefix("torch.")
        free, total = (value / 1e9 for value in torch.cuda.mem_get_info(number))
        text = f"cuda:{number} {facts.name}, compute capability {facts.major}.{facts.minor}, {precision}"
        yield Finding("device", "ok", f"{text}, {free:.1f} of {total:.1f} GB free, torch {torch.__version__}")


def _memory() -> Iterator[Finding]:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (os.sysconf(name) * page / 1e9 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
        yield Finding("memory", "ok" if total > 4 else "note", f"{total:.1f} GB, {free:.1f} GB of it unused")


def _disk(workspace: Workspace) -> Iterator[Finding]:
    for called, folder in (("workspace", workspace.root), ("temporary files", Path(tempfile.gettempdir()))):
        place = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
        free = shutil.disk_usage(place).free / 1e9
        text = f"{called}: {free:.1f} GB free at {place.absolute()}"
        if free >= FREE_GB or called != "workspace":
            yield Finding("disk", "ok", text)
        else:
            yield Finding("disk", "note", f"{text}; data, sources and submissions of a large competition take more")


def _file_system(workspace: Workspace) -> Iterator[Finding]:
    """Try what kit relies on: writing, renaming over a file, locks, and names that differ in case."""
    place = next(path for path in (workspace.root, *workspace.root.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".kit-doctor-") as name:
            folder = Path(name)
            (folder / "a").write_text("old")
            (folder / "b").write_text("new")
            (folder / "b").replace(folder / "a")
            renames = (folder / "a").read_text() == "new"
            folded = (folder / "A").exists()
            with locked(folder) as first, locked(folder, wait=0) as second:
                locks = first and not second
    except OSError as error:
        text = f"{place.absolute()} cannot be written to ({error.strerror}). Take another: --workspace DIR"
        yield Finding("file system", "problem", text)
        return
    if not renames:
        yield Finding(
            "file system", "problem", f"a rename does not replace a file at {place.absolute()}. Use another disk"
        )
    if not locks:
        text = "there are no locks between processes: do not run two commands on one workspace at once"
        yield Finding("file system", "note", text)
    if folded:
        yield Finding("file system", "note", "names that differ in case alone are one file here")
    if renames and locks:
        yield Finding("file system", "ok", "writes, renames and locks work")


def _locale() -> Iterator[Finding]:
    encoding, files = sys.stdout.encoding or "none", locale.getpreferredencoding(False)
    text = f"output {encoding}, files {files}"
    utf8 = encoding.lower().replace("-", "") == "utf8"
    yield Finding("locale", "ok" if utf8 else "note", text if utf8 else f"{text}; for all names: PYTHONUTF8=1")


def _credentials() -> Iterator[Finding]:
    """Say where credentials for Kaggle are found and who may read them; never what they are."""
    names = [name for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "KAGGLE_API_V1_TOKEN") if os.environ.get(name)]
    found = [f"the variable {name}" for name in names]
    there = files()
    found += map(str, there)
    others = stat.S_IRWXG | stat.S_IRWXO
    readable = [str(path) for path in there if os.name == "posix" and path.stat().st_mode & others]
    if not found:
        text = "none for Kaggle: fetch and upload need a token, which https://www.kaggle.com/settings makes"
        yield Finding("credentials", "note", text)
    elif wrong := problem():
        yield Finding("credentials", "problem", f"in {', '.join(found)}: {wrong}")
    elif readable:
        text = f"{', '.join(readable)} may be read by others. Run: chmod 600 {' '.join(readable)}"
        yield Finding("credentials", "problem", text)
    else:
        yield Finding("credentials", "ok", f"in {', '.join(found)}")


def _weights() -> Iterator[Finding]:
    if not is_installed("torch"):
        return
    from kit.learning.experiments import EXPERIMENTS
    from kit.pretrained.weights.managing import list_weights

    wanted = {one.encoder for one in _catalog(EXPERIMENTS) if one.encoder_weights == "imagenet"}
    here = {source.model.removeprefix("tu-") for source in list_weights(wanted) if source.here}
    missing = sorted(encoder for encoder in wanted if encoder.removeprefix("tu-") not in here)
    if missing:
        text = f"not here: {', '.join(missing)}. Before the network goes: kit weights get {missing[0]}"
        yield Finding("weights", "note", text)
    else:
        yield Finding("weights", "ok", f"ImageNet's are here for {', '.join(sorted(wanted))}")


def _networks() -> Iterator[Finding]:
    """Build what the catalog trains, encoders with their decoders, and send a few pixels through it."""
    if not is_installed("torch"):
        return
    from kit.learning.experiments import EXPERIMENTS
    from kit.learning.training.engine import check_buildable

    failed, experiments = [], _catalog(EXPERIMENTS)
    for one in track(experiments, "Building networks", len(experiments), "networks"):
        try:
            check_buildable(dataclasses.replace(one, encoder_weights="none", size=64, first_size=0), photos=2)
        except KitError as error:  # an encoder or a package that does not fit
            failed.append(f"{one.name} ({str(error)[:80]})")
    if failed:
        yield Finding(
            "networks", "problem", f"cannot be built: {'; '.join(failed)}. Run: pip install '{PACKAGE}[train]'"
        )
    else:
        yield Finding("networks", "ok", f"the catalog's {len(experiments)} build, encoders with their decoders")


def _catalog(registered: Mapping[str, Callable[[], Experiment]]) -> list[Experiment]:
    return [make() for make in registered.values()]


def _hub() -> Iterator[Finding]:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(urllib.request.Request(HUB, method="HEAD"), timeout=5):
            yield Finding("hub", "ok", f"{HUB} answers")
    except (urllib.error.URLError, OSError, ValueError):
        text = f"{HUB} does not answer: weights come from packages, files and the cache (kit weights list)"
        yield Finding("hub", "note", text)
