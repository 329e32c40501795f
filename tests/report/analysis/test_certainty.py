from datetime import date

from epsearch.core.version import __version__
from epsearch.records.setup import Setup
from epsearch.report.analysis.certainty import certainty, what_was_run
from epsearch.report.analysis.verdict import verdict
from tests.report import sample


def test_one_line_of_what_was_run(tmp_path):
    setup = Setup(model="mlp", data="digits", epochs=10, seeds=2, day=date(2026, 11, 26))
    line = what_was_run(sample.outcome(tmp_path, setup=setup))
    assert line == (
        "mlp · digits · adam · 10 epochs × 80 trials × 2 seeds · 77 minutes of training · 2026-11-26 · "
        f"epsearch {__version__}"
    )


def test_what_is_unknown_is_left_out(tmp_path):
    assert what_was_run(sample.outcome(tmp_path, trials=[])) == f"adam · epsearch {__version__}"
    own = what_was_run(sample.outcome(tmp_path, setup=Setup(model="train:main")))
    assert own.startswith("train:main · adam · 80 trials × 1 seed")


def test_how_sure(outcome):
    found = verdict(outcome)
    lines = certainty(outcome, found)
    assert lines[0] == found.sure
    assert lines[1].startswith("2 seeds; one training varies by ± ")
    assert lines[2] == "67 of 80 trials complete."
    edges = [row for row in found.rows if row.state == "edge"]
    assert ("at an edge" in lines[3]) == bool(edges)
