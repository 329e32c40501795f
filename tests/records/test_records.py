"""The plain data that passes between the stages."""

from __future__ import annotations

import json
import math
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import optuna
import pytest

from epsearch.core.errors import UserError
from epsearch.core.files import write_atomically
from epsearch.records.base import Record
from epsearch.records.epsilon import EpsilonRange, power_of_ten
from epsearch.records.histogram import BINS_PER_DECADE, Histogram
from epsearch.records.outcome import Outcome
from epsearch.records.probe import Layer, ProbeHistory, ProbeResult
from epsearch.records.trial import Trial
from tests.report import sample

FIVE = EpsilonRange(lower=1e-6, upper=1e-2)


def probe_result(**changes: object) -> ProbeResult:
    layer = Layer(
        name="0.weight", numel=8, zeros=2, nonfinite=1, p2=1e-6, p98=None, histogram=Histogram(start=-300, counts=[5])
    )
    fields = {"range": FIVE, "optimizer": "adam", "percentiles": (2, 98), "layers": [layer], **changes}
    return ProbeResult(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("exponent", range(-12, 13))
def test_power_of_ten_is_what_people_write(exponent: int) -> None:
    assert repr(power_of_ten(exponent)) == repr(float(f"1e{exponent}"))


def test_the_grid_of_a_range() -> None:
    assert FIVE.grid() == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]
    assert FIVE.endpoints() == [1e-6, 1e-2]
    one = EpsilonRange(lower=1e-3, upper=1e-3)
    assert one.grid() == one.endpoints() == [1e-3]


@pytest.mark.parametrize("mode", ["grid", "endpoints", "continuous"])
def test_suggest_in_anyones_own_objective(mode: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [FIVE.suggest(study.ask(), mode=mode) for _ in range(40)]  # type: ignore[arg-type]
    if mode == "continuous":
        assert len(set(found)) == 40
        assert all(1e-6 <= eps <= 1e-2 for eps in found)
    else:
        assert set(found) == set(FIVE.grid() if mode == "grid" else FIVE.endpoints())


def test_histograms_merge() -> None:
    low, high = Histogram(start=-5, counts=[1, 2], zeros=1), Histogram(start=-2, counts=[4], zeros=2)
    assert low.merge(high) == high.merge(low) == Histogram(start=-5, counts=[1, 2, 0, 4], zeros=3)
    assert low.merge(Histogram(zeros=7)) == Histogram(start=-5, counts=[1, 2], zeros=8)
    assert Histogram(zeros=1).merge(Histogram(zeros=2)) == Histogram(zeros=3)
    assert low.merge(high).total == 10


def test_share_above() -> None:
    """Exact at powers of ten: every one is an edge of a bin; all elements count, zeros too."""
    histogram = Histogram(start=-2 * BINS_PER_DECADE, counts=[1] * BINS_PER_DECADE, zeros=BINS_PER_DECADE)
    for exponent, share in [(-9, 0.5), (-3, 0.5), (-2, 0.5), (-1, 0.0), (0, 0.0), (9, 0.0)]:
        assert histogram.above(power_of_ten(exponent)) == share
    assert histogram.above(10**-1.5) == pytest.approx(0.25)
    assert math.isnan(Histogram().above(1e-3))


def test_adaptive_fraction_needs_a_positive_eps() -> None:
    assert probe_result().adaptive_fraction(1e-8) == pytest.approx(5 / 5)
    for eps in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UserError, match="eps must be a finite number above 0"):
            probe_result().adaptive_fraction(eps)


def test_a_record_reads_back(tmp_path: Path) -> None:
    result = probe_result(skipped=["head.bias"], settings={"lr": 1e-3, "device": "cpu", "seed": 0})
    result.save(tmp_path / "probe.json")
    assert ProbeResult.load(tmp_path / "probe.json") == result
    assert [path.name for path in tmp_path.iterdir()] == ["probe.json"]


def test_values_that_are_not_finite_read_back(tmp_path: Path) -> None:
    trial = Trial(number=0, optimizer="adam", state="complete", value=math.inf, history=[(1, math.nan)])
    trial.save(tmp_path / "trial.json")
    again = Trial.load(tmp_path / "trial.json")
    assert again.value == math.inf
    assert math.isnan(again.history[0][1])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, r"cannot be read \(No such file or directory\)"),
        ("", "not a valid ProbeResult"),
        ("{", "not a valid ProbeResult"),
        ("[]", r"not a valid ProbeResult \(the file: "),
        ('{"range": {"lower": "x", "upper": 1}}', r"not a valid ProbeResult \(range\.lower: "),
    ],
)
def test_invalid_records_are_refused(text: str | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=why):
        ProbeResult.load(path)


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (("range", "lower"), 1e-1, "range: lower, 0.1, is above upper, 0.01"),
        (("range", "lower"), 3e-6, "range: lower is 3e-06, which is not a power of ten"),
        (("range", "lower"), 0, "range.lower: Input should be greater than 0"),
        (("range", "upper"), math.inf, "range.upper: Input should be a finite number"),
        (("percentiles",), [98, 2], "percentiles are 98 and 2; they must ascend"),
        (("percentiles",), [2, 120], "percentiles are 2 and 120; they must ascend, from 0 to 100"),
        (("percentiles",), [math.nan, 98], "percentiles are nan and 98"),
        (("layers",), [], "layers: List should have at least 1 item"),
        (("layers", 0, "numel"), 2, r"layers\.0: 2 zeros and 1 nonfinite are more than the 2 elements of numel"),
        (("layers", 0, "zeros"), -1, r"layers\.0\.zeros: Input should be greater than or equal to 0"),
        (("layers", 0, "p98"), 1e-9, r"layers\.0: p2, 1e-06, is above p98, 1e-09"),
        (("layers", 0, "p2"), math.nan, r"layers\.0\.p2: Input should be"),
        (("layers", 0, "histogram", "counts"), [4, -1], r"layers\.0\.histogram\.counts\.1: Input should be greater"),
        (("layers", 0, "histogram", "counts"), [], "the histograms of all layers are empty"),
        (("layers", 0, "histogram", "counts"), [10**400], r"layers\.0\.histogram\.counts\.0: Input should be less"),
        (("layers", 0, "histogram", "start"), 10**9, r"layers\.0\.histogram: its bins reach from 1e20000000"),
        (("settings", "batches_per_epoch"), "many", r"settings\.batches_per_epoch must be a whole number"),
        (("x" * 10_000,), 1, f"{'x' * 100}: Extra inputs"),
    ],
)
def test_a_probe_edited_by_hand(place: tuple[str | int, ...], value: object, why: str, tmp_path: Path) -> None:
    """What could not have been measured is refused where it is read, in one line with the remedy."""
    record = json.loads(probe_result().model_dump_json())
    at = record
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    path = tmp_path / "probe.json"
    path.write_text(json.dumps(record))
    with pytest.raises(
        UserError, match=rf"not a valid ProbeResult \(.*{why}.*\)\. Delete it to probe again\.$"
    ) as raised:
        ProbeResult.load(path)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value).removeprefix(str(path))) < 500


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epochs": []}, "epochs: List should have at least 1 item"),
        ({"epochs": ["twice", "twice"]}, "the epochs do not ascend"),
        ({"settings": {"eps": "small"}}, "settings.eps must be a number, 0 or above"),
    ],
)
def test_a_history_edited_by_hand(changes: dict[str, object], why: str, tmp_path: Path) -> None:
    path = tmp_path / "trial-0.json"
    reading = {"epoch": 1, "range": FIVE.model_dump(), "histogram": {"counts": [1]}}
    record = {"optimizer": "adam", "epochs": [reading], **changes}
    record["epochs"] = [reading if each == "twice" else each for each in record["epochs"]]  # type: ignore[attr-defined]
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=f"not a valid ProbeHistory .*{why}.* Delete it, or restore"):
        ProbeHistory.load(path)


def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    path.write_text(json.dumps({**json.loads(probe_result().model_dump_json()), "color": 1}))
    with pytest.raises(UserError, match="color"):
        ProbeResult.load(path)


def test_what_utf8_cannot_hold_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "a file name \udcff")
    assert path.read_text() == "a file name ?"


@pytest.mark.parametrize(
    "content", ["text", b"text", lambda file: file.write(b"text")], ids=["str", "bytes", "function"]
)
def test_content_is_written(content: str | bytes | Callable[[BinaryIO], object], tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_text() == "text"


def test_content_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("no more")

    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(RuntimeError, match="no more"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomically(path, "new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("make", [sample.outcome, lambda _: sample.probe(300), lambda _: sample.history(300)])
def test_a_record_is_printed_on_a_screen(make: Callable[[Path], Record], tmp_path: Path) -> None:
    """Its counts alone would be thousands of numbers."""
    record = make(tmp_path)
    for text in (str(record), repr(record)):
        assert len(text) < 1500
    parts = [record, *getattr(record, "layers", [])[:1], *getattr(record, "epochs", [])[:1]]
    assert all(len(repr(part)) < 1500 and part.__class__.__name__ in repr(part) for part in parts)


def test_what_a_printed_record_says(tmp_path: Path) -> None:
    outcome = sample.outcome(tmp_path)
    assert str(outcome.probe) == "range of eps for adam: 1e-6 to 1e-2, read from 8 layers"
    assert str(outcome).splitlines() == [
        "cifar10-vgg11 (adam): 80 trials",
        "range of eps for adam: 1e-6 to 1e-2, read from 8 layers",
        "best accuracy: 0.9120 ± 0.0014 (2 seeds) at lr 1e-2, eps 1e-3, beta2 0.999 (trial 56)",
        f"report: {tmp_path}/report.html",
    ]
    assert str(sample.outcome(tmp_path, probe=None, trials=[])).splitlines() == [
        "cifar10-vgg11 (adam): 0 trials",
        f"report: {tmp_path}/report.html",
    ]
    assert str(sample.history(2)) == "2 epochs of Adam, range of eps after the first: 1e-6 to 1e-2"
    assert repr(FIVE) == "EpsilonRange(lower=1e-06, upper=0.01)"
    assert repr(Histogram(counts=[1] * 300)) == "Histogram(start=0, counts=<300 items>, zeros=0)"
    assert len(repr(Trial(number=0, optimizer="adam", state="failed", error="x" * 5000))) < 600


def trial(number: int, value: float | None, **fields: object) -> Trial:
    defaults = {"optimizer": "adam", "state": "complete"}
    return Trial(number=number, value=value, **{**defaults, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(("goal", "best"), [("maximize", 3), ("minimize", 1)])
def test_the_best_trial(goal: str, best: int) -> None:
    trials = [
        trial(0, 5.0, state="pruned"),
        trial(1, 1.0),
        trial(2, 1.0),
        trial(3, 2.0),
        trial(4, None, state="failed"),
        trial(5, 9.0, optimizer="sgd_momentum"),
        trial(6, 0.5, optimizer="sgd_momentum"),
    ]
    outcome = Outcome(
        name="x", metric="m", goal=goal, optimizer="adam", probe=None, trials=trials, directory=Path("/tmp")
    )  # type: ignore[arg-type]
    assert outcome.best is not None
    assert outcome.best.number == best
    baseline = outcome.best_of("sgd_momentum")
    assert baseline is not None
    assert baseline.number == (5 if goal == "maximize" else 6)
    assert outcome.best_of("adamw") is None


def test_a_cell_has_only_what_its_optimizer_has() -> None:
    assert trial(0, 1.0, lr=0.1).cell == {"lr": 0.1}
    assert trial(0, 1.0, lr=0.1, eps=1e-8, beta2=0.9).cell == {"lr": 0.1, "eps": 1e-8, "beta2": 0.9}
