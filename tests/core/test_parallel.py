"""The ordered loop over threads: same order, bounded, and left at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kit.core.parallel import map_in_order


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(map_in_order(lambda number: number * number, range(100), workers=workers)) == [
        n * n for n in range(100)
    ]


def test_items_are_taken_only_a_little_ahead_of_the_reader() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = map_in_order(lambda number: number, items(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 8


def test_an_error_comes_at_its_place_and_stops_the_rest() -> None:
    stopped = threading.Event()

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = map_in_order(work, range(1000), workers=2, stopped=stopped)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert stopped.is_set()


def test_leaving_the_loop_tells_the_calls_in_flight() -> None:
    stopped = threading.Event()
    for number in map_in_order(lambda number: number and stopped.wait(60), range(10), workers=2, stopped=stopped):
        assert number == 0
        break
    assert stopped.is_set()
