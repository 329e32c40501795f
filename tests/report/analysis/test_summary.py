from epsearch.report.analysis.summary import sentences
from tests.report import sample
from tests.report.sample import trial


def test_the_sample_in_words(tmp_path):
    found, states, best, baseline = sentences(sample.outcome(tmp_path))
    assert found == (
        "A probe of 1 epoch found the useful range of ε: 1e-6 to 1e-2, 5 powers of ten, "
        "where searches in the literature try up to 21."
    )
    assert states == "Of 80 trials, 67 complete, 3 pruned, 7 failed (4 diverged and 3 raised) and 3 waiting."
    assert best == "Best accuracy: 0.9120 ± 0.0014 (2 seeds), adam with α 1e-2, ε 1e-3, β₂ 0.999 (trial 56)."
    assert baseline == "SGD with momentum reached 0.9020 ± 0.004 with α 1e-2: 0.01 worse than adam."


def test_lower_is_better(tmp_path):
    trials = [trial(0, 100.0), trial(1, 90.0, optimizer="sgd_momentum", eps=None)]
    outcome = sample.outcome(tmp_path, trials=trials, goal="minimize", metric="perplexity")
    assert sentences(outcome)[-1].endswith(": 10 better than adam.")


def test_nothing_probed_nothing_run(tmp_path):
    assert sentences(sample.outcome(tmp_path, probe=None, trials=[])) == [
        "The study file gives ε, so nothing was probed.",
        "No trial has run yet.",
    ]


def test_nothing_complete(tmp_path):
    outcome = sample.outcome(tmp_path, trials=[trial(0, state="running")])
    assert sentences(outcome)[1:] == ["Of 1 trial, 1 running.", "No trial of adam is complete yet."]
