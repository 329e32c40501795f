"""ẑ over the tensors of an optimizer: names, ranges, what is left out, what is refused."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from epsearch import UserError, measure, probe
from epsearch.records.epsilon import nearest_power_of_ten


def stepped(*gradients, optimizer=torch.optim.Adam, **keywords):
    """An optimizer after one step on these gradients (None for no gradient), one tensor each."""
    params = [torch.nn.Parameter(torch.zeros(np.shape(g) or (1,))) for g in gradients]
    made = optimizer(params, **keywords)
    for p, g in zip(params, gradients, strict=True):
        p.grad = None if g is None else torch.tensor(g, dtype=torch.float32)
    made.step()
    return made


def ends(found):
    return found.lower, found.upper


class TestPaperRange:
    def test_is_the_least_and_the_greatest_over_tensors(self):
        """After one step of Adam ẑ = |g|."""
        one, two = np.geomspace(1e-5, 1e-1, 1001), np.geomspace(1e-3, 1e2, 1001)
        result = measure(stepped(one, two), range="paper")
        lows, highs = zip(*(np.percentile(z, [2, 98]) for z in (one, two)), strict=True)
        assert [layer.p2 for layer in result.layers] == pytest.approx(lows, rel=1e-5)
        assert [layer.p98 for layer in result.layers] == pytest.approx(highs, rel=1e-5)
        assert ends(result.range) == (1e-5, 1e2)
        assert result.range_kind == "paper"
        assert result.optimizer == "Adam"
        assert result.percentiles == (2, 98)

    def test_percentiles_can_be_chosen(self):
        optimizer = stepped(np.geomspace(1e-6, 1, 1001))
        result = measure(optimizer, range="paper", percentiles=(0, 100))
        assert ends(result.range) == (1e-6, 1)
        assert measure(optimizer, percentiles=[40, 60]).percentiles == (40, 60)

    @pytest.mark.parametrize("percentiles", [(98, 2), (2, 2), (-1, 98), (2, 101)])
    def test_percentiles_must_ascend(self, percentiles):
        with pytest.raises(UserError, match=r"must be two increasing numbers from 0 to 100, e.g. \(2, 98\)"):
            measure(stepped([1.0]), percentiles=percentiles)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(1e-3, 1e-3), (3.1622e-3, 1e-3), (3.1623e-3, 1e-2), (9.9e-8, 1e-7), (1, 1), (3.17, 10), (1e-300, 1e-300)],
    )
    def test_nearest_power_of_ten(self, value, expected):
        assert nearest_power_of_ten(value) == expected

    def test_one_value_is_a_range_of_one_point(self):
        assert measure(stepped([0.01]), range="paper").range.grid() == [0.01]


class TestPooledRange:
    def test_is_read_from_all_elements_and_reaches_one_decade_below(self):
        """One element in a hundred, in a tensor of its own, moves an end of the paper's range and none of this."""
        result = measure(stepped(np.geomspace(1e-6, 1, 990), [1e-12] * 10))
        low, high = np.percentile(np.concatenate([np.geomspace(1e-6, 1, 990), [1e-12] * 10]), [2, 98])
        assert ends(result.range) == (nearest_power_of_ten(low) / 10, nearest_power_of_ten(high))
        assert result.range == result.pooled_range
        assert result.range_kind == "pooled"
        assert ends(result.paper_range) == (1e-12, 1)

    def test_percentiles_can_be_chosen(self):
        optimizer = stepped(np.geomspace(1e-6, 1, 1001))
        assert ends(measure(optimizer, percentiles=(30, 70)).range) == (1e-5, 1e-2)

    def test_has_at_least_four_points(self):
        assert measure(stepped([0.01] * 50)).range.grid() == [1e-5, 1e-4, 1e-3, 1e-2]
        assert measure(stepped(np.geomspace(1e-3, 1e-1, 101))).range.grid() == [1e-4, 1e-3, 1e-2, 1e-1]

    @pytest.mark.parametrize("kind", ["pooled", "paper"])
    def test_probe_and_measure_agree(self, kind):
        model, batches = torch.nn.Linear(3, 2), [torch.ones(4, 3), torch.rand(4, 3)]
        optimizer = torch.optim.Adam(model.parameters())
        result = probe(model, batches, lambda m, x: m(x).square().sum(), optimizer, range=kind, restore=False)
        assert result.range == measure(optimizer, model, range=kind).range
        assert result.range_kind == kind

    def test_shares_are_of_all_elements_zeros_included(self):
        result = measure(stepped([0.0, 0.0, 2e-4, 2e-3], [2e-2, 2e-1, 2e-1, 2e-1]))
        assert [result.adaptive_fraction(10.0**k) for k in range(-5, 1)] == [6 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 0]


class TestTensors:
    def test_zeros_are_left_out_and_counted(self):
        layer = measure(stepped([0.0, 0.0, 1e-3, 1e-1])).layers[0]
        assert (layer.numel, layer.zeros, layer.nonfinite) == (4, 2, 0)
        assert (layer.p2, layer.p98) == pytest.approx(np.percentile([1e-3, 1e-1], [2, 98]), rel=1e-5)

    def test_a_tensor_of_zeros_does_not_hide_the_others(self):
        result = measure(stepped([0.0, 0.0], [1e-2, 1e-2]))
        assert (result.layers[0].p2, result.layers[0].p98) == (None, None)
        assert result.paper_range.lower == 1e-2
        assert result.range.upper == 1e-2

    def test_all_zero(self):
        with pytest.raises(UserError, match="nothing to measure: of 3 elements 3 are zero and 0 not finite"):
            measure(stepped([0.0, 0.0], [0.0]))

    def test_all_nan(self):
        with pytest.raises(UserError, match="of 2 elements 1 are zero and 1 not finite"):
            measure(stepped([float("nan"), 0.0]))

    def test_no_gradient_is_skipped_and_named(self):
        model = torch.nn.ModuleDict({"used": torch.nn.Linear(2, 2), "idle": torch.nn.Linear(2, 2)})
        optimizer = torch.optim.Adam(model.parameters())
        model["used"](torch.ones(1, 2)).sum().backward()
        optimizer.step()
        result = measure(optimizer, model)
        assert [layer.name for layer in result.layers] == ["used.weight", "used.bias"]
        assert result.skipped == ["idle.weight", "idle.bias"]

    def test_names(self):
        model = torch.nn.Linear(2, 2)
        stray = torch.nn.Parameter(torch.ones(1))

        def names(optimizer, *arguments):
            for p in (*model.parameters(), stray):
                p.grad = torch.ones_like(p)
            optimizer.step()
            return [layer.name for layer in measure(optimizer, *arguments).layers]

        assert names(torch.optim.Adam([*model.parameters(), stray])) == [f"group0.param{i}" for i in range(3)]
        # What the optimizer holds beside the model has no name there.
        assert names(torch.optim.Adam([*model.parameters(), stray]), model) == ["weight", "bias", "group0.param2"]
        assert names(torch.optim.Adam(model.named_parameters())) == ["weight", "bias"]
        groups = [{"params": [model.bias]}, {"params": [stray, model.weight]}]
        assert names(torch.optim.Adam(groups), model) == ["bias", "group1.param0", "weight"]

    def test_a_model_that_is_only_part_of_what_is_optimized(self):
        """A GAN's optimizer over two networks, or a model with frozen parts: the optimizer decides what is measured."""
        one, two = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
        optimizer = torch.optim.Adam(one.parameters())
        (one(torch.ones(1, 1)) + two(torch.ones(1, 1))).sum().backward()
        optimizer.step()
        both = torch.nn.ModuleList([one, two])
        assert [layer.name for layer in measure(optimizer, both).layers] == ["0.weight", "0.bias"]


class TestExclude:
    MODEL = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    NAMES: ClassVar = [name for name, _ in MODEL.named_parameters()]

    def optimizer(self):
        optimizer = torch.optim.Adam(self.MODEL.parameters())
        self.MODEL(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        return optimizer

    @pytest.mark.parametrize(
        ("patterns", "excluded"),
        [
            ([], []),
            (["*.bias"], ["0.bias", "1.bias"]),
            (["1.*", "0.bias"], ["0.bias", "1.weight", "1.bias"]),
            ("*.bias", ["0.bias", "1.bias"]),
        ],
    )
    def test_matching_tensors_are_listed_and_not_counted(self, patterns, excluded):
        result = measure(self.optimizer(), self.MODEL, exclude=patterns)
        assert result.excluded == excluded
        assert [layer.name for layer in result.layers] == [name for name in self.NAMES if name not in excluded]
        assert result.skipped == []
        assert result.histogram.total == sum(layer.numel for layer in result.layers)

    def test_a_pattern_without_a_match(self):
        with pytest.raises(
            UserError, match=r"no tensor is called '0.wieght'. Did you mean \"0.weight\"\? Choose from: 0"
        ):
            measure(self.optimizer(), self.MODEL, exclude=["*.bias", "0.wieght"])

    def test_everything(self):
        with pytest.raises(UserError, match="all 4 tensors are excluded, so there is nothing to measure"):
            measure(self.optimizer(), self.MODEL, exclude=["*"])


class TestSettings:
    def test_say_what_it_was_read_under(self):
        optimizer = stepped([1.0], lr=3e-4, eps=1e-6, betas=(0.9, 0.95))
        assert measure(optimizer).settings == {"lr": 3e-4, "eps": 1e-6, "beta2": 0.95}
        assert measure(optimizer, settings={"lr": None, "who": "me"}).settings["lr"] is None

    def test_rmsprop_calls_it_alpha(self):
        assert measure(stepped([1.0], optimizer=torch.optim.RMSprop, alpha=0.97)).settings["beta2"] == 0.97

    def test_tensors_are_read_as_numbers(self):
        optimizer = stepped([1.0], lr=torch.tensor(0.5), foreach=False)
        assert measure(optimizer).settings["lr"] == 0.5
