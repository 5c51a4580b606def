"""Every long command killed, failed and run twice at once, a few times each. `scripts/crash N` does so N times."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from crash.chain import LINES, Chain
from crash.trials import KINDS, copied_on_its_way, on_a_full_disk, some_faults, survives, two_at_once

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def chain(forks: Any, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The chain from fetch to a submission, made as far as it is asked for."""
    return Chain(forks, tmp_path_factory.mktemp("crash"))


@pytest.mark.parametrize("name", list(LINES))
def test_killed_and_failed_on_its_way_it_ends_with_the_bytes_of_one_never_disturbed(
    name: str, chain: Chain, forks: Any
) -> None:
    step, rng = chain.until(name), random.Random(name)
    kinds = ["kill", rng.choice(KINDS[1:])]
    survives(step, [fault for kind in kinds for fault in some_faults(step, kind, 1, rng)], forks, Counter())


@pytest.mark.parametrize("name", ["fetch", "fill", "train", "upload"])
def test_of_two_at_once_each_does_its_work_or_says_why_not(name: str, chain: Chain, forks: Any) -> None:
    two_at_once(chain.until(name), forks)


@pytest.mark.parametrize(("name", "room"), [("fetch", 150_000), ("fill", 9_000), ("train", 500_000), ("upload", 9_000)])
def test_a_disk_that_is_full_is_said_and_with_more_room_all_ends_well(
    name: str, room: int, chain: Chain, forks: Any
) -> None:
    step = chain.until(name)
    try:
        end = on_a_full_disk(step, room, forks)
    except OSError as error:
        pytest.skip(f"no disk can be mounted: {error}")
    assert end.code == 1 and ("No room left on the disk" in end.err or "Free some space" in end.err), end


@pytest.mark.parametrize(("name", "wait"), [("fill", 0.3), ("train", 0.7)])
def test_a_workspace_copied_on_the_way_is_sound(
    name: str, wait: float, chain: Chain, forks: Any, tmp_path: Path
) -> None:
    copied_on_its_way(chain.until(name), wait, forks, tmp_path)
