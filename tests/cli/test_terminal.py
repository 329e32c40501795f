"""What a person sees while a study runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from epsearch.cli import terminal as console
from epsearch.cli.terminal import Terminal
from epsearch.records.listener import Best
from epsearch.records.trial import Cell, Ending
from epsearch.records.widening import Widening
from epsearch.study.file import load_study
from tests.report import hostile, sample


class Clock:
    """Stands still until it is moved on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    (tmp_path / "s.yaml").write_text("workload: {name: vision, dataset: digits, model: mlp}\n")
    return Terminal(Console(file=io.StringIO(), width=200), load_study(tmp_path / "s.yaml"))


def printed(terminal: Terminal) -> list[str]:
    file = terminal._console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def cell(lr: float, optimizer: str = "adam") -> Cell:
    return Cell(optimizer=optimizer, lr=lr, eps=1e-8 if optimizer == "adam" else None, beta2=None)


def end(terminal: Terminal, number: int, value: float | None, optimizer: str = "adam") -> None:
    ending = Ending(kind="finished" if value is not None else "pruned")
    terminal.trial_ended(optimizer, number, cell(1e-2, optimizer), ending, value)


def test_the_range_and_what_would_widen_it(terminal: Terminal) -> None:
    terminal.probed(hostile.outcome(Path(), "noise").probe, reused=False)
    assert printed(terminal)[0] == "range of eps: 1e-6 to 1e-2, 5 powers of ten"
    assert printed(terminal)[1].startswith(
        "Pooled over all elements, the range would be 1e-6 to 1e-2: this one's lower"
    )
    assert "comes from noise 0 (1 tensor" in printed(terminal)[1]


def test_a_resumed_run_shows_the_best_of_all(terminal: Terminal, clock: Clock) -> None:
    """Of earlier runs too, until this one finds a better one; and of the optimizer that is searched."""
    terminal.trials_planned(20, 10, Best(0.9, cell(1e-3)))
    assert terminal.best == "accuracy 0.9 at lr 1e-3, eps 1e-8"
    for number, (value, optimizer) in enumerate(
        [(0.8, "adam"), (0.99, "sgd_momentum"), (None, "adam"), (0.95, "adam")]
    ):
        terminal.trial_started(optimizer, number, cell(1e-2, optimizer))
        end(terminal, number, value, optimizer)
    assert [line.partition("| best ")[2].split(" ")[0] for line in printed(terminal)[1:]] == [
        "0.9",
        "0.9",
        "0.9",
        "0.95",
    ]
    assert terminal.best == "accuracy 0.95 at lr 1e-2, eps 1e-8"
    assert [line.split(" ")[0] for line in printed(terminal)[1:]] == ["[11/20]", "[12/20]", "[13/20]", "[14/20]"]


def test_no_best_before_one_is_complete(terminal: Terminal, clock: Clock) -> None:
    terminal.trials_planned(20, 0, None)
    terminal.trial_started("adam", 0, cell(1e-2))
    end(terminal, 0, None)
    assert terminal.best == ""
    assert "best" not in printed(terminal)[-1]


def test_the_time_left_does_not_count_the_start_of_workers(terminal: Terminal, clock: Clock) -> None:
    terminal.trials_planned(20, 10, None)
    clock.now += 300
    for number in (0, 1):
        terminal.trial_started("adam", number, cell(1e-2))
    clock.now += 10
    end(terminal, 0, 0.5)
    assert printed(terminal)[-1].endswith("| best 0.5 | 40 s left")
    end(terminal, 1, 0.5)
    assert printed(terminal)[-1].endswith("| best 0.5 | 40 s left")


@pytest.mark.parametrize(
    ("suggestion", "sampler", "line"),
    [
        (3e-3, "grid", "lr test: 3e-3 suggested at eps 1e-6; searching the 3 nearest half decades around the ridge"),
        (3e-3, "tpe", "lr test: 3e-3 suggested at eps 1e-6; searching 3e-4 to 3e-2 around the ridge"),
        (None, "grid", "lr test: no lr suggested (the loss fell no further {}); searching 1e-4 to 1e-1"),
        (None, "tpe", "lr test: no lr suggested (the loss fell no further {}); searching 1e-5 to 1e0"),
    ],
)
def test_a_learning_rate_test(suggestion: float | None, sampler: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("workload: {name: vision, dataset: digits, model: mlp}\n")
    settings = ["search.lr=auto", f"engine.sampler={sampler}", *(["engine.trials=9"] if sampler == "tpe" else [])]
    terminal = Terminal(Console(file=io.StringIO(), width=200), load_study(tmp_path / "s.yaml", settings))
    terminal.lr_tested(sample.lr_test(suggestion), reused=False)
    terminal.lr_tested(sample.lr_test(suggestion), reused=True)
    expected = line.format("than it differs between batches")
    assert printed(terminal) == [expected, f"{expected} (from an earlier test)"]


def test_a_widened_grid(terminal: Terminal, clock: Clock) -> None:
    """The trials that are added count at once."""
    terminal.trials_planned(1, 0, None)
    terminal.trial_started("adam", 0, cell(1e-2))
    end(terminal, 0, 0.5)
    terminal.widened(Widening(lr=1e-2, eps=1e-4, reach=1e-1, trials=6))
    terminal.trial_started("adam", 1, cell(3.162e-2))
    end(terminal, 1, 0.4)
    assert printed(terminal)[-2] == "the best lr, 1e-2, is the highest tried at eps 1e-4: 6 more trials, up to lr 1e-1"
    assert printed(terminal)[-1].startswith("[2/7] adam: ")


def live(tmp_path: Path) -> Terminal:
    """On a terminal of 80 columns."""
    (tmp_path / "s.yaml").write_text("workload: {name: vision, dataset: digits, model: mlp}\n")
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    return Terminal(
        Console(file=file, width=80, force_terminal=True, color_system=None), load_study(tmp_path / "s.yaml")
    )


def seen(terminal: Terminal) -> str:
    file = terminal._console.file
    assert isinstance(file, io.TextIOWrapper)
    file.seek(0)
    return file.read()


def test_a_probe_on_a_terminal(tmp_path: Path) -> None:
    """A bar with the time that has passed, replaced by the range and a small histogram; twice in one run."""
    with live(tmp_path) as terminal:
        terminal.working("probe: 1 epoch of training to find the range of eps")
        terminal.probed(sample.probe(), reused=False)
        terminal.working("lr test: 100 steps", 100)
        terminal.stepped(34)
        terminal._work.refresh()
        terminal.lr_tested(sample.lr_test(), reused=False)
        assert not terminal._work.live.is_started
        assert terminal._work.task_ids == []
    text = seen(terminal)
    assert "starting ━━━━━━━━━━━━━━━━━━━━━━━━ 0:00:00" in text
    assert "training ━━━━━━━━                 0:00:00 step 34/100" in text
    assert "  ẑ 1e-8 " in text
    assert "└──────────────────┘ range of eps" in text


def test_a_bar_of_trials_ends_as_a_line(tmp_path: Path, clock: Clock) -> None:
    """Also when trials are added after it ended."""
    with live(tmp_path) as terminal:
        terminal.trials_planned(11, 10, None)
        clock.now += 90
        terminal.trial_started("adam", 10, cell(1e-2))
        end(terminal, 10, 0.5)
        terminal.widened(Widening(lr=1e-2, eps=1e-4, reach=1e-1, trials=1))
        terminal.trial_started("adam", 11, cell(1e-1))
        assert terminal._bar.live.is_started
        end(terminal, 11, 0.4)
        terminal.stage("report")
        assert not terminal._bar.live.is_started
    *_, line, report = seen(terminal).splitlines()
    assert line.endswith("2 trials in 1 min 30 s")
    assert report == "report"


def test_long_lines_wrap_at_words(tmp_path: Path, terminal: Terminal) -> None:
    """On a terminal; elsewhere a message is one line."""
    words = " ".join(["word"] * 40)
    with live(tmp_path) as wrapped:
        wrapped.stage(words)
    assert [len(line.rstrip()) for line in seen(wrapped).splitlines()] == [79, 79, 39]
    terminal.stage(words)
    assert printed(terminal) == [words]
