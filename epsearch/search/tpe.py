"""Select the TPE sampler."""

from __future__ import annotations

from typing import Any

import optuna

CHECKED = "5.0."
"""Optuna releases that `cached_tpe` was tested with: it uses private parts of Optuna."""


def sampler(**arguments: Any) -> optuna.samplers.TPESampler:
    """TPE that caches finished trials; with other Optuna releases, Optuna's own, with the same suggestions."""
    if not optuna.__version__.startswith(CHECKED):
        return optuna.samplers.TPESampler(**arguments)
    from epsearch.search.cached_tpe import CachedTPESampler

    return CachedTPESampler(**arguments)
