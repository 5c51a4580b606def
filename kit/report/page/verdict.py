"""What the page says first: a few sentences that make the next decision. Knows the numbers, and draws nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

from kit.blending import Blend, SourceScore
from kit.core.numbers import score_text
from kit.report.compare import paired_gain
from kit.report.page.numbers import Numbers


def verdict(numbers: Numbers) -> list[str]:
    """Return sentences, the one that matters most first."""
    return list(_sentences(numbers))


def _sentences(numbers: Numbers) -> Iterator[str]:
    label = numbers.metric.label
    scored = [one for one in numbers.sources if one.score is not None]
    complete = [one for one in scored if one.complete]
    if numbers.blend is not None:
        yield from verdict_of_blend(numbers.blend, label)
    elif complete and complete[0].score is not None:
        yield f"Best source: {complete[0].name}, CV {label} {complete[0].score}. Blend what there is: kit blend"
    yield from _of_training(numbers, complete)
    if incomplete := [one.name for one in scored if not one.complete]:
        yield f"Not all folds are there of {_listed(incomplete)}: no blend takes them."
    if broken := [one.name for one in numbers.sources if one.problem]:
        yield f"Cannot be read: {_listed(broken)}. See why: kit sources"
    if numbers.blend is not None and numbers.oof_values is None:
        yield f"Blend {numbers.blend.name} no longer fits what is stored. Make it again: kit blend"


def verdict_of_blend(blend: Blend, label: str) -> Iterator[str]:
    """Yield what a blend is worth: its score, its gain, what to expect of it, and which members bring nothing."""
    name = blend.name if blend.name.startswith("blend") else f"Blend {blend.name}"  # as it is typed
    credible = blend.gain.low > 0
    own = next((row.cv.value for row in blend.members if row.name == blend.best_single), math.nan)
    is_same = abs(own - blend.best_single_cv.value) < 5e-5
    alone = f"{blend.best_single} alone" if is_same else "the source that is best on the other folds"
    than = f"{alone} ({score_text(blend.best_single_cv.value)})"
    if len(blend.members) == 1 or blend.rung == "single":
        yield f"{name} is one source, {blend.best_single}: CV {label} {blend.cv}."
    elif credible:
        gain = blend.gain.signed.replace("+", "")
        yield f"{name}: CV {label} {blend.cv}, better than {than} by {gain}."
    else:
        yield f"{name}: CV {label} {blend.cv}, not credibly better than {than}."
    yield f"On the leaderboard's {blend.leaderboard.photos} photos expect {label} {blend.leaderboard.score}."
    idle = [row.name for row in blend.members if row.without is not None and row.without.low <= 0]
    if idle and blend.rung != "single" and len(idle) < len(blend.members):
        yield f"Without {_listed(idle)} it would be as good."


def _of_training(numbers: Numbers, complete: list[SourceScore]) -> Iterator[str]:
    """Yield what training has brought over fills."""
    trained = next((one for one in complete if one.trained and one.score), None)
    free = next((one for one in complete if not one.trained and one.score), None)
    if trained is None or free is None or trained.score is None or free.score is None:
        if free is not None:
            yield "Nothing is trained on all folds yet: kit train --fold all"
        return
    gain = paired_gain(numbers.project, free.name, trained.name)
    share = abs(gain.value) / abs(free.score.value)
    side = "not credibly different from"
    if gain.low > 0 or gain.high < 0:
        side = f"{share:.1%} {'better' if gain.low > 0 else 'worse'} than"
    best = f"The best source that learns, {trained.name} ({score_text(trained.score.value)})"
    yield f"{best}, is {side} the best fill, {free.name} ({score_text(free.score.value)})."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
