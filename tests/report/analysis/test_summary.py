from epsearch.records.widening import Widening
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


def test_the_learning_rate_test(tmp_path):
    texts = sentences(sample.outcome(tmp_path, lr_test=sample.lr_test()))
    assert texts[1] == (
        "A learning-rate test of 75 steps suggested α 3e-3 at ε 1e-6; "
        "from there the expected ridge rises with ε as the probe predicts."
    )
    nothing = sentences(sample.outcome(tmp_path, lr_test=sample.lr_test(None)))
    assert nothing[1] == (
        "A learning-rate test suggested no α, so a wide range was searched: "
        "the loss fell no further than it differs between batches."
    )


def test_what_was_widened(tmp_path):
    widenings = [Widening(lr=1e-2, eps=1e-3, reach=lr, trials=6) for lr in (1e-1, 1.0)]
    grid = sample.outcome(tmp_path, lr_test=sample.lr_test(), widenings=widenings)
    assert (
        "The best α around the ridge, 1e-2 at ε 1e-3, was the highest tried there, so 12 trials beyond it were added."
        in (sentences(grid))
    )
    trials = [trial(number, 0.5, lr=lr, eps=1e-6) for number, lr in enumerate((2.99e-4, 3.01e-2, 1e-1, 1e-5))]
    guided = {"lr_test": sample.lr_test(), "trials": trials, "sampler": "guided"}
    assert "The best α lay near the edge of its box, so 2 trials went beyond." in sentences(
        sample.outcome(tmp_path, **guided)
    )
    assert not any("beyond" in text for text in sentences(sample.outcome(tmp_path, **{**guided, "trials": trials[:2]})))
