"""What reaches a worker's log, whatever was raised."""

from __future__ import annotations

import contextlib
import sys

import pytest

from epsearch.training.log import LONGEST, described, log, log_error, quoted


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("why"), "ValueError: why"),
        (EOFError(), "EOFError"),
        (ValueError("two\n lines"), "ValueError: two lines"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (ValueError("ẑ"), "ValueError: ẑ"),
        (Unprintable(), "Unprintable: (its text cannot be shown)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_in_one_line(error: Exception, text: str) -> None:
    assert described(error) == quoted(error) == text


def test_a_message_quotes_some_of_it() -> None:
    assert described(ValueError("x" * 10_000)) == "ValueError: " + "x" * 10_000
    assert quoted(ValueError("x" * 10_000)) == f"ValueError: {'x' * (LONGEST - 13)}…"


def test_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (ValueError("\ud800"), Unprintable()):
        try:
            raise error
        except Exception as caught:
            log_error(caught)
    found = capsys.readouterr().err
    assert found.count("Traceback (most recent call last)") == 2
    assert "ValueError: \\ud800" in found


def test_a_log_that_cannot_be_written_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        log("no space")
        log_error(ValueError("no space"))
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    monkeypatch.setattr(sys, "stderr", full)
    log("closed")
