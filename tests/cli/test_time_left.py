"""The estimate of the time left, on clocks that are made up."""

from __future__ import annotations

import itertools

import pytest

from epsearch.cli.time_left import TimeLeft


def estimates(durations: list[float], workers: int, start: float = 0.0) -> list[tuple[float, float]]:
    """What is estimated after each trial, and what it takes in truth, where workers take trials in turn."""
    free = [start] * workers
    spans = []
    for number, took in enumerate(durations):
        worker = free.index(min(free))
        spans.append((number, free[worker], free[worker] + took))
        free[worker] += took
    events = [(began, 1, number) for number, began, _ in spans] + [(ended, 0, number) for number, _, ended in spans]
    left, waiting, found = TimeLeft(), len(durations), []
    for now, group in itertools.groupby(sorted(events), key=lambda event: event[0]):
        ends = False
        for _, begins, number in group:
            if begins:
                left.started(number, now)
                waiting -= 1
            else:
                left.finished(number, now)
                ends = True
        if ends:
            estimate = left.seconds(waiting, now)
            assert estimate is not None
            found.append((estimate, max(free) - now))
    return found


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_trials_that_take_equally_long(workers: int) -> None:
    """From the first one on, and however long it took until workers were ready."""
    for estimate, truth in estimates([10.0] * 40, workers, start=300.0):
        assert estimate == pytest.approx(truth, rel=0.15, abs=0.01)


def test_the_first_trials_are_slow() -> None:
    """Each of two workers loads the data in its first trial: forgotten once each has had another."""
    found = estimates([60.0, 60.0, *[10.0] * 38], workers=2)
    for estimate, truth in found[4:]:
        assert estimate == pytest.approx(truth, rel=0.2, abs=5.1)


def test_slow_and_pruned_trials_in_turn() -> None:
    """Until a few are left, of which nobody knows whether they are slow ones."""
    found = estimates([100.0, 5.0, 5.0, 5.0] * 25, workers=3)
    for estimate, truth in found[20:45]:
        assert estimate == pytest.approx(truth, rel=0.35)


def test_trials_in_lockstep() -> None:
    """Eight at a time in one process begin and end together."""
    left = TimeLeft()
    for number in range(8):
        left.started(number, 0.0)
    for number in range(8):
        left.finished(number, 10.0)
    assert left.seconds(16, 10.0) == pytest.approx(20.0)


def test_it_counts_down_between_two_ends() -> None:
    left = TimeLeft()
    assert left.seconds(3, 0.0) is None
    left.started("a", 0.0)
    left.finished("a", 100.0)
    left.started("b", 100.0)
    assert left.seconds(0, 130.0) == pytest.approx(70.0)
    assert left.seconds(0, 199.0) == pytest.approx(1.0)
    assert left.seconds(0, 250.0) == 0.0
