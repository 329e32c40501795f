"""Which TPE the studies use."""

from __future__ import annotations

from typing import Any

import optuna

CHECKED = "5.0."
"""Releases of Optuna that `cached_tpe` was checked against: it uses more than Optuna's public interface."""


def sampler(**arguments: Any) -> optuna.samplers.TPESampler:
    """TPE that remembers finished trials; Optuna's own, with the same suggestions, under any other release."""
    if not optuna.__version__.startswith(CHECKED):
        return optuna.samplers.TPESampler(**arguments)
    from epsearch.search.cached_tpe import CachedTPESampler

    return CachedTPESampler(**arguments)
