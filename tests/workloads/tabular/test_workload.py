"""Tables of scikit-learn: how they are split and scaled, and what is reported of them."""

from __future__ import annotations

import itertools

import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object
from epsearch.registry.workloads import METRICS, WORKLOADS
from epsearch.study.config import StudyConfig
from epsearch.training.seeding import seed_all
from epsearch.workloads import create_workload
from epsearch.workloads.tabular.data import breast_cancer, diabetes, iris
from epsearch.workloads.tabular.workload import TabularWorkload

KIND = WORKLOADS["tabular"]


def make(dataset: str, model: str = "mlp", batch_size: int = 16, **section: object) -> TabularWorkload:
    config = StudyConfig.model_validate(
        {
            "name": "test",
            "workload": {"name": "tabular", "dataset": dataset, "model": model, **section},
            "training": {"batch_size": batch_size},
        }
    )
    return create_workload(config, torch.device("cpu"))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("dataset", "shape", "outputs"),
    [("iris", (150, 4), 3), ("wine", (178, 13), 3), ("breast_cancer", (569, 30), 2), ("diabetes", (442, 10), 1)],
)
def test_tables_are_whole_and_a_fifth_is_for_testing(dataset: str, shape: tuple[int, int], outputs: int) -> None:
    data = load_object(KIND.datasets[dataset].load)()
    assert (len(data.train_rows) + len(data.test_rows), data.features) == shape
    assert len(data.test_rows) == pytest.approx(shape[0] / 5, abs=1)
    assert len(data.train_targets) == len(data.train_rows)
    assert data.outputs == outputs


def test_classes_have_the_same_share_of_each_part() -> None:
    data = iris().hold_out(0.25)
    assert data.train_targets.bincount().tolist() == [30, 30, 30]
    assert data.test_targets.bincount().tolist() == [10, 10, 10]
    with pytest.raises(UserError, match=r"A share of 0\.01 of 120 rows is too small"):
        iris().hold_out(0.01)


def test_scales_are_those_of_the_training_rows() -> None:
    raw = diabetes()
    data = raw.normalized()
    for train, test, old_train, old_test in (
        (data.train_rows, data.test_rows, raw.train_rows, raw.test_rows),
        (data.train_targets, data.test_targets, raw.train_targets, raw.test_targets),
    ):
        torch.testing.assert_close(train.mean(0), torch.zeros_like(train[0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(train.std(0), torch.ones_like(train[0]))
        torch.testing.assert_close(test * old_train.std(0) + old_train.mean(0), old_test, atol=1e-4, rtol=1e-4)
    assert torch.equal(breast_cancer().normalized().train_targets, breast_cancer().train_targets)


@pytest.mark.parametrize("model", KIND.models)
@pytest.mark.parametrize("dataset", KIND.datasets)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_trains_and_evaluates(dataset: str, model: str, dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    try:
        workload = make(dataset, model)
        seed_all(0)
        network = workload.model()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        before = workload.evaluate(network)
        for batch in itertools.chain.from_iterable(workload.train_batches(epoch) for epoch in range(5)):
            optimizer.zero_grad()
            loss = workload.loss(network, batch)
            assert loss.dtype == dtype
            loss.backward()
            optimizer.step()
        after = workload.evaluate(network)
    finally:
        torch.set_default_dtype(torch.float32)
    assert list(after) == list(KIND.datasets[dataset].reports or KIND.reports)
    assert after["loss"] < before["loss"]
    quality = "r2" if dataset == "diabetes" else "accuracy"
    assert METRICS[quality] == "maximize"
    assert before[quality] < after[quality] <= 1
    assert after[quality] > (0.1 if dataset == "diabetes" else 0.7)


def test_regression_s_numbers_are_scikit_learn_s() -> None:
    """The least squares solution in our linear model, judged by both."""
    data = diabetes().normalized()
    solved = LinearRegression().fit(data.train_rows, data.train_targets)
    workload = make("diabetes", "linear")
    network = workload.model()
    with torch.no_grad():
        network.weight.copy_(torch.tensor(solved.coef_)[None])
        network.bias.fill_(float(solved.intercept_))
    metrics = workload.evaluate(network)
    predicted = solved.predict(data.test_rows)
    assert metrics["r2"] == pytest.approx(r2_score(data.test_targets, predicted), abs=1e-5)
    assert metrics["loss"] == pytest.approx(((predicted - data.test_targets.numpy()) ** 2).mean(), abs=1e-5)


def test_an_epoch_holds_every_row_once_in_an_order_of_its_seed() -> None:
    workload = make("wine", batch_size=50, validation=0.5)
    epochs = []
    for epoch in (0, 0, 1):
        seed_all(0, epoch)
        epochs.append(torch.cat([rows for rows, _ in workload.train_batches(epoch)]))
    assert len(epochs[0]) == 71
    assert torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[0][:, 0].sort().values, epochs[2][:, 0].sort().values)


def test_a_batch_of_one() -> None:
    for dataset in ("iris", "diabetes"):
        workload = make(dataset, batch_size=1)
        batch = next(iter(workload.train_batches(0)))
        assert torch.isfinite(workload.loss(workload.model(), batch))
