"""What a terminal shows at the end of a study."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from epsearch.cli.summary import print_outcome
from epsearch.records.outcome import Outcome
from epsearch.report.analysis.verdict import verdict
from tests.report import sample


def shown(outcome: Outcome, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """The lines on a terminal without color."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    print_outcome(
        Console(file=file, width=width, force_terminal=True, color_system=None, legacy_windows=False), outcome
    )
    file.seek(0)
    return [line.rstrip() for line in file.read().splitlines()]


@pytest.mark.parametrize("width", [50, 80, 120])
def test_words_wrap_and_what_is_copied_does_not(width: int) -> None:
    lines = shown(sample.outcome(Path("runs/s")), width)
    assert [line.split()[0] for line in lines if cell_len(line) > width] in (["epsearch"], ["Copy", "epsearch"])
    judged = verdict(sample.outcome(Path("runs/s")))
    assert " ".join(lines[1:]).startswith(f"{judged.headline} {judged.action} {judged.sure}")
    assert f"Copy     {judged.line}" in lines
    assert any("◆" in line for line in lines) == (width > 50)


def test_one_command_with_its_reason_and_cost() -> None:
    """The advice that would settle the most; without any, to confirm the finding; then the dashboard."""
    edge = [
        sample.trial(number, 0.5 + number / 100, lr=lr, eps=eps, seconds=60.0, beta2=0.999)
        for number, (lr, eps) in enumerate((lr, eps) for lr in (1e-4, 1e-3, 1e-2) for eps in (1e-6, 1e-5, 1e-4))
    ]
    outcome = sample.outcome(Path("runs/s"), trials=edge)
    first = next(step for step in verdict(outcome).advice if step.settings is not None)
    assert first.cost
    lines = shown(outcome, 300)
    assert f"Next     {first.text} {first.cost}" in lines
    (command,) = [line for line in lines if line.startswith("  epsearch ")]
    assert "search.lr={low: 0.0001, high: 0.1}" in command
    flat = [
        sample.trial(number, 0.9 + 1e-4 * (number % 3), lr=lr, eps=eps, seconds=60.0, seed_values=[0.9], beta2=0.999)
        for number, (lr, eps) in enumerate((lr, eps) for lr in (1e-3, 1e-2, 1e-1) for eps in (1e-6, 1e-5, 1e-4))
    ]
    lines = shown(sample.outcome(Path("runs/s"), trials=flat), 120)
    assert "Next     To confirm it, repeat the best lr with 3 seeds. About 3 trials, 9 minutes of training." in lines
    assert "training.seeds=[0,1,2]" in lines[-1]
    repeated = [trial.model_copy(update={"seed_values": [0.9] * 3}) for trial in flat]
    lines = shown(sample.outcome(Path("runs/s"), trials=repeated), 120)
    assert lines[-1] == "  epsearch dashboard runs/s"


def test_what_failed_and_the_baselines() -> None:
    lines = shown(sample.outcome(Path("runs/s")), 120)
    assert any(line.startswith("Failed   3 trials without a result; tracebacks are in runs/s/logs;") for line in lines)
    assert "SGD      accuracy 0.9020 ± 0.004 at lr 1e-2" in lines
    assert "Best     accuracy 0.9120 ± 0.0014 (2 seeds) at lr 1e-2, eps 1e-3, beta2 0.999" in lines


def test_a_terminal_without_unicode_has_no_map() -> None:
    assert not [line for line in shown(sample.outcome(Path("runs/s")), encoding="latin-1") if "brighter" in line]
