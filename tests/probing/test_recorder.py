"""A recorder beside a plain loop: what it keeps is what `measure` reads, and the training never notices."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from epsearch import ProbeHistory, Recorder, UserError, measure


class Training:
    """A small network on fixed data, an epoch at a time."""

    def __init__(self, cls: type[torch.optim.Optimizer] = torch.optim.Adam, **keywords: float) -> None:
        torch.manual_seed(0)
        self.x, self.y = torch.randn(64, 8), torch.randn(64, 1)
        self.model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        self.optimizer = cls(self.model.parameters(), **{"lr": 1e-2, **keywords})

    def epoch(self) -> None:
        for x, y in zip(self.x.split(16), self.y.split(16), strict=True):
            self.optimizer.zero_grad()
            nn.functional.mse_loss(self.model(x), y).backward()
            self.optimizer.step()

    def z(self) -> np.ndarray:
        """√v̂ of every element, the plain way."""
        states = [self.optimizer.state[p] for p in self.model.parameters()]
        beta2 = self.optimizer.param_groups[0]["betas"][1]
        roots = [(s["exp_avg_sq"] / (1 - beta2 ** s["step"].item())).sqrt() for s in states]
        return torch.cat([root.flatten() for root in roots]).double().numpy()


def recorded(epochs: int, training: Training | None = None) -> Recorder:
    training = training or Training()
    recorder = Recorder(training.optimizer, training.model)
    for _ in range(epochs):
        training.epoch()
        recorder.record()
    return recorder


class TestHistory:
    def test_each_epoch_is_what_measure_reads_then(self) -> None:
        training = Training(eps=1e-4)
        recorder = Recorder(training.optimizer, training.model)
        results = []
        for _ in range(4):
            training.epoch()
            recorder.record()
            results.append(measure(training.optimizer, training.model))
        history = recorder.history
        assert [reading.epoch for reading in history.epochs] == [1, 2, 3, 4]
        assert [reading.range for reading in history.epochs] == [result.range for result in results]
        assert [reading.histogram for reading in history.epochs] == [result.histogram for result in results]
        assert (history.optimizer, history.eps) == ("Adam", 1e-4)
        # The probe's answer is that of the first epoch, layer by layer.
        assert recorder.result.layers == results[0].layers
        assert recorder.result.range == history.range
        assert recorder.result.settings["epochs"] == 1

    def test_the_adaptive_fraction_is_that_of_the_slow_obvious_way(self) -> None:
        training = Training()
        recorder, expected = Recorder(training.optimizer), []
        for _ in range(3):
            training.epoch()
            recorder.record()
            expected.append([np.mean(training.z() > eps) for eps in (1e-3, 1e-2, 1e-1, 1.0)])
        shares = [recorder.history.adaptive_fraction(eps) for eps in (1e-3, 1e-2, 1e-1, 1.0)]
        np.testing.assert_array_equal(np.transpose(shares), expected)
        assert 0 < expected[0][2] < 1, "the test data leave something to tell"
        with pytest.raises(UserError, match="above 0"):
            recorder.history.adaptive_fraction(0)

    def test_it_survives_a_file(self, tmp_path: Path) -> None:
        history = recorded(2).history
        history.save(tmp_path / "history.json")
        assert ProbeHistory.load(tmp_path / "history.json") == history

    def test_a_history_has_an_epoch(self, tmp_path: Path) -> None:
        (tmp_path / "history.json").write_text('{"optimizer": "Adam", "epochs": []}')
        with pytest.raises(UserError, match="not a valid ProbeHistory"):
            ProbeHistory.load(tmp_path / "history.json")

    def test_an_optimizer_without_eps_has_none_to_point_out(self) -> None:
        assert recorded(1, Training(eps=0.0)).history.eps is None


class TestTraining:
    def test_learns_the_same_and_has_no_hook(self) -> None:
        watched, alone = Training(), Training()
        recorder = Recorder(watched.optimizer, watched.model)
        hooks = copy.copy(vars(alone.optimizer)["_optimizer_step_post_hooks"])
        for training in (watched, alone):
            torch.manual_seed(1)
            for _ in range(3):
                training.epoch()
                if training is watched:
                    recorder.record()
        assert watched.optimizer._optimizer_step_post_hooks == hooks
        for one, other in zip(watched.model.parameters(), alone.model.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_divergence_is_a_warning(self) -> None:
        training = Training()
        recorder = Recorder(training.optimizer)
        training.epoch()
        recorder.record()
        training.x *= math.inf
        training.epoch()
        with pytest.warns(UserWarning, match=r"epoch 2 is not recorded.*not finite"):
            recorder.record()
        assert recorder.recorded == 1

    def test_an_unknown_optimizer_is_said_at_once(self) -> None:
        with pytest.raises(UserError, match="register_denominator"):
            Recorder(Training(torch.optim.Rprop).optimizer)


class TestEpochs:
    def test_can_be_numbered_by_the_caller(self) -> None:
        training = Training()
        recorder = Recorder(training.optimizer)
        for epoch in range(1, 7):
            training.epoch()
            if epoch % 3 == 0:
                recorder.record(epoch)
        recorder.record()
        assert [reading.epoch for reading in recorder.history.epochs] == [3, 6, 7]
        assert recorder.result.settings["epochs"] == 3

    @pytest.mark.parametrize("epoch", [0, 1])
    def test_must_ascend(self, epoch: int) -> None:
        with pytest.raises(UserError, match=r"epoch \d does not come after epoch 1"):
            recorded(1).record(epoch)

    def test_none_yet(self) -> None:
        recorder = Recorder(Training().optimizer)
        for name in ("history", "result"):
            with pytest.raises(UserError, match=r"nothing is recorded yet: call record\(\)"):
                getattr(recorder, name)

    def test_an_interrupted_training_goes_on(self) -> None:
        training = Training()
        before = recorded(2, training).history
        after = Recorder(training.optimizer, history=before)
        training.epoch()
        after.record()
        assert after.history == recorded(3).history
        with pytest.raises(UserError, match=r"Its range is history\.range"):
            _ = after.result
