"""Log files that the driver writes into the run directory."""

from __future__ import annotations

from pathlib import Path

from epsearch.engines.logs import Logs


def test_a_log_is_bounded_and_keeps_its_end(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs")
    line = "an epoch like any other\n"
    for _ in range(40):
        logs.write("worker-1", line * 10_000, trial=5)
    logs.write("worker-1", "the last line \ud800\n")
    logs.write("worker-2", "")
    (file,) = (tmp_path / "logs").iterdir()
    text = file.read_text(encoding="utf-8")
    assert file.stat().st_size <= 5 << 20
    assert text.startswith("[earlier output is dropped; the end of trial 5 follows]\nan epoch")
    assert text.endswith(f"{line}the last line ?\n")


def test_a_disk_that_is_full_costs_the_log(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    Logs(tmp_path / "logs").write("worker-1", "text")
