"""What the numbers mean, a line each: leaks first, then what differs, then what is well. Computes nothing new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kit.exploring.result import (
    Apart,
    ClassCount,
    Copies,
    Exploration,
    Files,
    Holes,
    Measure,
    Odd,
    SizeCount,
    Spectrum,
    Verdict,
)
from kit.imaging.metrics import Estimate

_ORDER = ("news", "differs", "note", "fine")
_BARELY, _SOMEWHAT = 0.6, 0.75  # areas under the curve


def verdicts_of(found: Exploration) -> tuple[Verdict, ...]:
    """Return the verdicts in the order in which they matter; that of leaks is the first whatever it says."""
    rest = [
        *_of_copies(found.copies),
        _of_apart(found.apart),
        *_of_measures(found.measures),
        *_of_spectrum(found.spectrum),
        *_of_holes(found.holes, found.photos),
        *_of_classes(found.classes, found.photos),
        *_of_sizes(found.sizes),
        *_of_files(found.files),
        *_of_odd(found.odd),
    ]
    return (_of_leaks(found.copies, found.photos), *sorted(rest, key=lambda one: _ORDER.index(one.weight)))


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _of_leaks(copies: Copies, photos: tuple[int, int]) -> Verdict:
    if not copies.leaks:
        return Verdict("fine", "leaks", "no training photo is a near duplicate of a test photo")
    tests = len({leak.test for leak in copies.leaks})
    first = copies.leaks[0]
    many = _counted(len(copies.leaks), "training photo is a near duplicate", "training photos are near duplicates")
    text = (
        f"{many} of {tests:,} of {photos[1]:,} test photos (first: {first.train!r} of {first.test!r}): models will "
        "have seen what is scored there, and CV does not tell it"
    )
    return Verdict("news", "leaks", text)


def _of_copies(copies: Copies) -> Iterator[Verdict]:
    torn = [group for group in copies.train if len(group.classes) > 1]
    if torn:
        text = f"{_counted(len(torn), 'group', 'groups')} of near duplicates in several classes (first: "
        yield Verdict("differs", "copies", f"{text}{torn[0].ids[0]!r}, {', '.join(torn[0].classes)})")
    for called, groups in (("training", copies.train), ("test", copies.test)):
        if groups:
            inside = sum(len(group.ids) for group in groups)
            kept = ": kit folds keeps them together" if called == "training" else ""
            many = f"{_counted(len(groups), 'group', 'groups')} of near duplicates"
            yield Verdict("note", "copies", f"{inside:,} {called} photos in {many}{kept}")
    if not copies.train and not copies.test:
        yield Verdict("fine", "copies", "no near duplicates within the training photos, none within the test photos")


def _of_apart(apart: Apart | None) -> Verdict:
    if apart is None:
        return Verdict("note", "apart", "too few photos to ask whether test photos differ from training photos")
    area = f"AUC {_interval(apart.area)}"
    if not apart.differs:
        return Verdict("fine", "apart", f"a classifier cannot tell test photos from training photos: {area}")
    value = apart.area.value
    how = "barely" if value < _BARELY else "somewhat" if value < _SOMEWHAT else "clearly"
    by = f", by {', '.join(one.name for one in apart.by[:3])}" if apart.by else ""
    return Verdict("differs", "apart", f"a classifier {how} tells test photos from training photos: {area}{by}")


def _interval(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _of_measures(measures: Sequence[Measure]) -> Iterator[Verdict]:
    for about, called in (("holes", "holes"), ("photos", "known pixels"), ("files", "files")):
        own = [one for one in measures if one.about == about]
        differing = [f"{one.name} {'higher' if one.higher.value > 0.5 else 'lower'}" for one in own if one.differs]
        if differing:
            yield Verdict("differs", about, f"test photos differ in their {called}: {', '.join(differing)}")
        elif own:
            many = "the 1 measure" if len(own) == 1 else f"all {len(own)} measures"
            yield Verdict("fine", about, f"{called} are alike in training and test, by {many}")


def _of_spectrum(spectrum: Spectrum | None) -> Iterator[Verdict]:
    if spectrum is None:
        yield Verdict("note", "spectrum", "too few photos have room for a spectrum of known pixels")
        return
    differing = [place for place, differs in enumerate(spectrum.differs) if differs]
    if not differing:
        yield Verdict("fine", "spectrum", "spectra are alike in training and test at every frequency")
        return
    most = max(differing, key=lambda place: abs(spectrum.difference[place].value))
    change = spectrum.difference[most]
    yield Verdict(
        "differs",
        "spectrum",
        f"test photos have another spectrum at {len(differing)} of {len(spectrum.differs)} frequencies: "
        f"{change.value:+.1f} dB at {spectrum.frequency[most]:.2f} cycles per pixel",
    )


def _of_holes(holes: Holes, photos: tuple[int, int]) -> Iterator[Verdict]:
    for name, count, total in zip(("training", "test"), holes.hides_nothing, photos, strict=True):
        if count:
            yield Verdict("note", "holes", f"{count:,} of {total:,} {name} photos hide nothing")
    if not all(photos):
        return
    kinds = {(one.height, one.width) for one in holes.boxes if one.test} ^ {
        (one.height, one.width) for one in holes.boxes if one.train
    }
    if kinds and len(holes.boxes) <= 4:
        listed = ", ".join(f"{width}x{height}" for height, width in sorted(kinds))
        yield Verdict("differs", "holes", f"boxes of sizes that one split alone has: {listed}")


def _of_classes(classes: Sequence[ClassCount], photos: tuple[int, int]) -> Iterator[Verdict]:
    if len(classes) < 2 or not all(photos):
        return
    untold = next((one.test for one in classes if not one.name), 0)
    absent = [one.name for one in classes if one.name and not one.test]
    unseen = [one.name for one in classes if one.name and not one.train]
    if unseen:
        yield Verdict("differs", "classes", f"classes that training lacks: {', '.join(unseen)}")
    if absent and untold < photos[1]:
        yield Verdict("differs", "classes", f"classes that the test photos lack: {', '.join(absent)}")


def _of_sizes(sizes: Sequence[SizeCount]) -> Iterator[Verdict]:
    if len(sizes) == 1:
        yield Verdict("fine", "sizes", f"every photo is {sizes[0].width}x{sizes[0].height}")
    else:
        shown = ", ".join(f"{one.width}x{one.height}" for one in sizes[:3])
        yield Verdict("note", "sizes", f"photos have several sizes: {shown}{' ...' if len(sizes) > 3 else ''}")


def _of_files(files: Sequence[Files]) -> Iterator[Verdict]:
    gone = sum(one.missing for one in files)
    if gone:
        total = sum(one.photos for one in files)
        yield Verdict("note", "files", f"{gone:,} of {total:,} files are not there any more: the pack speaks for them")


def _of_odd(odd: Sequence[Odd]) -> Iterator[Verdict]:
    for one in odd:
        if one.is_common:
            yield Verdict("note", "odd", f"{one.train + one.test:,} photos, more than half: {one.meaning}")
    rare = [one for one in odd if not one.is_common]
    for one in rare:
        if one.kind in ("turned", "cut", "misnamed"):
            yield Verdict("differs", "odd", f"{_counted(one.train + one.test, 'photo', 'photos')}: {one.meaning}")
    if rare:
        listed = ", ".join(f"{one.train + one.test:,} {one.kind}" for one in rare)
        yield Verdict("note", "odd", f"odd photos: {listed}")
    else:
        yield Verdict("fine", "odd", "no photo is odd in any of the ways that are looked for")
