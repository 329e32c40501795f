"""Is it the same study? One answer for run directories and storages."""

from __future__ import annotations

from typing import Any

import pytest

from epsearch.core.errors import UserError
from epsearch.study.identity import check_same_study

SAME = {"name": "s", "training.epochs": 3, "training.lr_decay": None}
DECAY: dict[str, Any] = {"training.lr_decay.factor": 0.1, "training.lr_decay.at": [5]}


def test_every_changed_setting_is_listed() -> None:
    with pytest.raises(UserError) as error:
        check_same_study("here: the study", SAME, {"name": "t", "training.epochs": 3, **DECAY}, "Choose another name.")
    assert str(error.value).splitlines() == [
        "here: the study has other settings:",
        '  name: was "s", is "t"',
        "  training.lr_decay.factor: was null, is 0.1",
        "  training.lr_decay.at: was null, is [5]",
        "Choose another name.",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (SAME, SAME),
        (SAME, {**SAME, "training.compile": False}),
        ({**SAME, "search.lr.low": 1e-4, "search.lr.high": 0.1}, SAME),
    ],
    ids=["equal", "a setting that the earlier version did not have", "the axes are a sampler's identity, not a grid's"],
)
def test_settings_of_one_side_are_not_compared(old: dict[str, Any], new: dict[str, Any]) -> None:
    check_same_study("here", old, new, "")
