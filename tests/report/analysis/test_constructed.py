"""Verdicts on 60 cases whose answer is known.

The whole judgement, 200 draws of each (12,000 studies, about 10 minutes on one core):

    pytest -m slow tests/report/analysis/test_constructed.py
"""

from __future__ import annotations

from collections import Counter

import pytest

from epsearch.report.analysis.verdict import verdict
from tests.report.analysis.constructed import CASES, Case


def judged(case: Case, draws: int) -> Counter[str]:
    return Counter(verdict(case.draw(seed)).kind for seed in range(draws))


def false_claims(case: Case, kinds: Counter[str]) -> int:
    return sum(times for kind, times in kinds.items() if kind not in (case.kind, "undecided"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_draws(case: Case) -> None:
    """No claim that is false, and the truth where the noise is a tenth of the difference."""
    kinds = judged(case, 2)
    assert not false_claims(case, kinds)
    if case.noise == 0 and case.to_be_named and case.images is None:
        assert kinds == {case.kind: 2}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_200_draws(case: Case) -> None:
    draws = 200
    kinds = judged(case, draws)
    print(case.name, dict(kinds))
    assert false_claims(case, kinds) <= 0.05 * draws
    if case.to_be_named:
        assert kinds[case.kind] >= 0.9 * draws
    if case.hidden:
        assert kinds["undecided"] >= 0.9 * draws
