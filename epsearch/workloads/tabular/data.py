"""Tabular datasets bundled with scikit-learn."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from epsearch.core.errors import UserError

TEST_SHARE = 0.2


class TableData(NamedTuple):
    """Rows (N, features) and targets (N,): int64 classes, or floats for regression."""

    train_rows: torch.Tensor
    train_targets: torch.Tensor
    test_rows: torch.Tensor
    test_targets: torch.Tensor

    @property
    def is_regression(self) -> bool:
        """Whether the targets are numbers rather than classes."""
        return self.train_targets.is_floating_point()

    @property
    def features(self) -> int:
        """Number of columns."""
        return self.train_rows.shape[1]

    @property
    def outputs(self) -> int:
        """Number of model outputs: one per class, or 1 for regression."""
        return 1 if self.is_regression else int(self.train_targets.max()) + 1

    def hold_out(self, share: float) -> TableData:
        """Replace the test rows by a share of the training rows.

        Raises:
            UserError: the share has fewer rows than there are classes.
        """
        return _split(self.train_rows, self.train_targets, share)

    def normalized(self) -> TableData:
        """Z-scores of the columns, and of regression targets, with the training rows' mean and standard deviation."""
        train_rows, test_rows = _z_scores(self.train_rows, self.test_rows)
        targets = self.train_targets, self.test_targets
        train_targets, test_targets = _z_scores(*targets) if self.is_regression else targets
        return TableData(train_rows, train_targets, test_rows, test_targets)

    def to(self, device: torch.device) -> TableData:
        """Move to `device`."""
        return TableData(*(tensor.to(device) for tensor in self))


def iris() -> TableData:
    """Fisher's iris data: 150 flowers, 4 lengths, 3 species."""
    from sklearn.datasets import load_iris

    return _bundled(load_iris())


def wine() -> TableData:
    """178 wines, 13 measurements, 3 growers (classes)."""
    from sklearn.datasets import load_wine

    return _bundled(load_wine())


def breast_cancer() -> TableData:
    """Breast Cancer Wisconsin: 569 masses, 30 measurements, malignant or benign."""
    from sklearn.datasets import load_breast_cancer

    return _bundled(load_breast_cancer())


def diabetes() -> TableData:
    """442 patients, 10 measurements, disease progression after one year: regression."""
    from sklearn.datasets import load_diabetes

    return _bundled(load_diabetes())


def _bundled(bunch: Any) -> TableData:
    dtype = torch.get_default_dtype()
    is_regression = bunch.target.dtype.kind == "f"
    return _split(
        torch.tensor(bunch.data, dtype=dtype),
        torch.tensor(bunch.target, dtype=dtype if is_regression else torch.int64),
        TEST_SHARE,
    )


def _split(rows: torch.Tensor, targets: torch.Tensor, share: float) -> TableData:
    """A fixed, stratified split."""
    from sklearn.model_selection import train_test_split

    classes = None if targets.is_floating_point() else targets
    try:
        train, test = train_test_split(range(len(rows)), test_size=share, random_state=0, stratify=classes)
    except ValueError as error:
        raise UserError(f"A share of {share:g} of {len(rows)} rows is too small: {error}") from error
    return TableData(rows[train], targets[train], rows[test], targets[test])


def _z_scores(train: torch.Tensor, test: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean, std = train.mean(0), train.std(0)
    return (train - mean) / std, (test - mean) / std
