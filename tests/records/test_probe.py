"""What a probe's record derives from its histograms: percentiles, both ranges, the shift of lr, the damping."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from epsearch.core.errors import UserError
from epsearch.records.epsilon import EpsilonRange
from epsearch.records.histogram import BINS_PER_DECADE, Histogram
from epsearch.records.probe import Layer, ProbeResult, pooled_range

FIVE = EpsilonRange(lower=1e-6, upper=1e-2)


def histogram(z: np.ndarray) -> Histogram:
    """The plain way: the bin of every element."""
    bins = np.floor(np.log10(z) * BINS_PER_DECADE).astype(int)
    counts = np.bincount(bins - bins.min())
    return Histogram(start=int(bins.min()), counts=counts.tolist())


def result(*tensors: np.ndarray, **changes: object) -> ProbeResult:
    layers = [
        Layer(
            name=f"{index}.weight",
            numel=len(z),
            zeros=0,
            nonfinite=0,
            p2=float(np.percentile(z, 2)),
            p98=float(np.percentile(z, 98)),
            histogram=histogram(z),
        )
        for index, z in enumerate(tensors)
    ]
    fields = {"range": FIVE, "optimizer": "Adam", "percentiles": (2, 98), "layers": layers, **changes}
    return ProbeResult(**fields)  # type: ignore[arg-type]


SPREAD = np.random.default_rng(0).lognormal(-9, 2, 20_000)


class TestHistogram:
    @pytest.mark.parametrize("q", [0, 2, 37.5, 50, 98, 100])
    def test_percentile_to_a_bin(self, q: float) -> None:
        expected = np.percentile(SPREAD, q)
        assert abs(math.log10(histogram(SPREAD).percentile(q) / expected)) < 1.5 / BINS_PER_DECADE

    def test_percentile_leaves_zeros_out(self) -> None:
        counted = histogram(SPREAD)
        assert counted.merge(Histogram(zeros=10**6)).percentile(2) == counted.percentile(2)
        assert math.isnan(Histogram(zeros=3).percentile(50))

    def test_percentile_skips_empty_bins(self) -> None:
        assert Histogram(start=0, counts=[1, 0, 0, 1]).percentile(50) == pytest.approx(10 ** (1 / 50))

    def test_mean(self) -> None:
        counted = histogram(SPREAD)
        for function in (math.log10, lambda z: z / (z + 1e-4)):
            expected = np.mean([function(z) for z in SPREAD])
            assert counted.mean(function) == pytest.approx(expected, abs=1e-3)
        assert counted.merge(Histogram(zeros=10**6)).mean(math.log10) == counted.mean(math.log10)
        assert math.isnan(Histogram(zeros=3).mean(math.log10))


class TestRanges:
    def test_pooled(self) -> None:
        """log10 ẑ is normal with mean -3.9 and deviation 0.87: 2 % lie below -5.7, 2 % above -2.1."""
        assert result(SPREAD).pooled_range.grid() == [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]

    def test_pooled_widens_downwards_to_four_points(self) -> None:
        narrow = pooled_range(histogram(np.geomspace(0.9e-3, 1.1e-3, 1000)), (2, 98))
        assert narrow.grid() == [1e-6, 1e-5, 1e-4, 1e-3]

    def test_a_tensor_of_noise_sets_an_end_of_the_paper_s_range_alone(self) -> None:
        found = result(SPREAD, SPREAD[:100] * 1e-9)
        assert found.paper_range == EpsilonRange(lower=1e-14, upper=1e-2)
        assert found.pooled_range == result(SPREAD).pooled_range


class TestLrShift:
    @pytest.mark.parametrize("root", [1.0, 0.5])
    def test_keeps_the_root_mean_square_of_the_updates(self, root: float) -> None:
        found = result(SPREAD, root=root)
        for eps in (1e-9, 1e-5, 3e-4, 1.0):
            rms = np.sqrt(np.mean((SPREAD / (SPREAD + eps)) ** (2 * root)))
            assert found.lr_shift(eps) == pytest.approx(-np.log10(rms), abs=5e-3)  # its bins are 0.02 wide

    def test_grows_by_a_decade_a_decade_far_above_and_not_at_all_far_below(self) -> None:
        found = result(SPREAD)
        assert found.lr_shift(1e-15) == pytest.approx(0, abs=1e-6)
        assert found.lr_shift(1e3) - found.lr_shift(1e2) == pytest.approx(1, abs=1e-3)

    def test_half_a_decade_a_decade_inside_the_root_and_none_after_rescaling(self) -> None:
        inside = result(SPREAD, root=0.5)
        assert inside.lr_shift(1e3) - inside.lr_shift(1e2) == pytest.approx(0.5, abs=1e-3)
        assert result(SPREAD, root=0.0).lr_shift(1e-2) == 0

    @pytest.mark.parametrize("eps", [0.0, -1.0, math.nan, math.inf])
    def test_wrong_eps(self, eps: float) -> None:
        for method in ("lr_shift", "damping"):
            with pytest.raises(UserError, match=f"{method}: eps must be a finite number above 0"):
                getattr(result(SPREAD), method)(eps)


def test_damping() -> None:
    found = result(SPREAD)
    for eps in (1e-9, 1e-5, 3e-4, 1.0):
        assert found.damping(eps) == pytest.approx(np.mean(eps / (SPREAD + eps)), abs=1e-3)
    assert found.damping(1e-20) == pytest.approx(0, abs=1e-9)
    assert found.damping(1e10) == pytest.approx(1)


@pytest.mark.parametrize(
    ("optimizer", "root"), [("Adam", 1), ("AdaBelief", 0.5), ("EAdam", 0.5), ("AdaMomentum", 0.5), ("LAMB", 0)]
)
def test_records_of_earlier_versions(optimizer: str, root: float, tmp_path: Path) -> None:
    """They had Algorithm 2's range and no root."""
    record = json.loads(result(SPREAD, optimizer=optimizer).model_dump_json())
    for key in ("range_kind", "root", "excluded"):
        del record[key]
    (tmp_path / "probe.json").write_text(json.dumps(record))
    found = ProbeResult.load(tmp_path / "probe.json")
    assert (found.range, found.range_kind, found.root, found.excluded) == (FIVE, "paper", root, [])
