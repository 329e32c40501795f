"""Read ẑ from the state of an optimizer."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from epsearch.core.errors import UserError
from epsearch.core.messages import shown, suggestion
from epsearch.optimizers import Denominator, denominator_reader, unwrapped
from epsearch.probing.histogram import measure_layer
from epsearch.probing.modules import module_classes
from epsearch.probing.sharding import inner_model
from epsearch.records.histogram import Histogram
from epsearch.records.kinds import Kind, kinds_of
from epsearch.records.probe import Layer, ProbeResult, RangeKind, paper_range, pooled_range


def measure(
    optimizer: torch.optim.Optimizer,
    model: torch.nn.Module | None = None,
    *,
    range: RangeKind = "pooled",
    percentiles: Sequence[float] = (2, 98),
    exclude: Sequence[str] = (),
    settings: Mapping[str, float | int | str | None] | None = None,
) -> ProbeResult:
    """Read ẑ of an optimizer that has taken steps, without training or changing anything.

    With `range="pooled"`, the range goes from the lower to the upper percentile of all elements of ẑ, and one decade
    below; with `range="paper"`, from the smallest lower to the largest upper percentile over tensors (Algorithm 2).
    Both are rounded to the nearest power of ten in log10. Exact zeros and non-finite values are excluded and counted in
    `layers`; tensors without state (no gradient) are listed in `skipped`. Tensors are named as in `model`; the default
    is the name the optimizer was built with, or `group0.param3`. Those whose name matches a pattern of `exclude`, such
    as `*.bias`, are not measured and listed in `excluded`. `settings` are saved in the record.

    If the model is sharded by FSDP2, all ranks must call this together; every rank gets the result for the whole
    tensors. With DDP each rank holds the whole state, and a single rank may call it.

    Raises:
        UserError: the optimizer is not supported, a pattern matches no tensor, or nothing could be measured.
    """
    optimizer = unwrapped(optimizer)
    read = denominator_reader(optimizer)
    named = _named_parameters(optimizer, model)
    classes = module_classes(inner_model(model)) if model is not None else None
    kinds = kinds_of({name: parameter.shape for name, parameter, _ in named}, classes)

    def term_of(parameter: torch.nn.Parameter, group: dict[str, Any]) -> Denominator | None:
        state = optimizer.state.get(parameter)
        # Adagrad creates its state before the first step.
        return None if not state or state.get("step") == 0 else read(state, group)

    return summarize(
        [Term(name, kinds[name], functools.partial(term_of, parameter, group)) for name, parameter, group in named],
        optimizer=type(optimizer).__name__,
        range=range,
        percentiles=percentiles,
        exclude=exclude,
        settings=group_settings(optimizer.param_groups[0]) | dict(settings or {}),
    )


class Term(NamedTuple):
    """ẑ of one tensor, not read yet."""

    name: str
    kind: Kind
    read: Callable[[], Denominator | None]
    """Returns None if the tensor has no state, because it got no gradient."""


def summarize(
    terms: Sequence[Term],
    *,
    optimizer: str,
    range: RangeKind,
    percentiles: Sequence[float],
    exclude: Sequence[str],
    settings: Mapping[str, float | int | str | None],
) -> ProbeResult:
    """Read ẑ of one tensor after another, and the range of all of them. `optimizer` is the name of its class.

    Raises:
        UserError: the percentiles do not ascend, a pattern of `exclude` matches nothing, or nothing was measured.
    """
    low, high = (float(q) for q in percentiles)
    if not 0 <= low < high <= 100:
        raise UserError(
            f"percentiles must be two increasing numbers from 0 to 100, e.g. (2, 98), not ({low:g}, {high:g})."
        )
    layers: list[Layer] = []
    skipped: list[str] = []
    narrow: dict[str, str] = {}
    root = 1.0
    excluded = _excluded([term.name for term in terms], exclude)
    for name, kind, read in terms:
        if name in excluded:
            continue
        term = read()
        if term is None:
            skipped.append(name)
            continue
        layers.append(measure_layer(name, term, (low, high), kind))
        root = term.root
        if term.v.dtype in (torch.float16, torch.bfloat16):
            narrow = {"dtype": str(term.v.dtype).removeprefix("torch.")}
        del term  # may be a whole tensor in memory
    _check_measured(layers, skipped)
    pooled = functools.reduce(Histogram.merge, (layer.histogram for layer in layers))
    return ProbeResult(
        range=paper_range(layers) if range == "paper" else pooled_range(pooled, (low, high)),
        range_kind=range,
        optimizer=optimizer,
        root=root,
        percentiles=(low, high),
        layers=layers,
        skipped=skipped,
        excluded=excluded,
        settings={**narrow, **settings},
    )


def _excluded(names: Sequence[str], exclude: Sequence[str]) -> list[str]:
    found: set[str] = set()
    for pattern in [exclude] if isinstance(exclude, str) else exclude:
        matching = {name for name in names if fnmatch.fnmatchcase(name, pattern)}
        if not matching:
            raise UserError(f"exclude: no tensor is called {shown(pattern)}. {suggestion(pattern, names)}")
        found |= matching
    if found and found.issuperset(names):
        raise UserError(f"exclude: all {len(names)} tensors are excluded, so there is nothing to measure.")
    return [name for name in names if name in found]


def _check_measured(layers: Sequence[Layer], skipped: Sequence[str]) -> None:
    if any(layer.p2 is not None for layer in layers):
        return
    if not layers:
        reason = f"none of its {len(skipped)} tensors has state yet: let it step on gradients first"
    else:
        zeros, bad = sum(layer.zeros for layer in layers), sum(layer.nonfinite for layer in layers)
        reason = f"of {sum(layer.numel for layer in layers):,} elements {zeros:,} are zero and {bad:,} not finite"
    raise UserError(f"the optimizer's denominator term holds nothing to measure: {reason}.")


def group_settings(group: Mapping[str, Any]) -> dict[str, float | int | str | None]:
    """The settings of a parameter group on which the range depends: lr, eps and beta2."""
    settings: dict[str, float | int | str | None] = {key: float(group[key]) for key in ("lr", "eps") if key in group}
    if "betas" in group:
        settings["beta2"] = float(group["betas"][1])
    elif "alpha" in group:
        settings["beta2"] = float(group["alpha"])  # as RMSprop calls it
    return settings


def _named_parameters(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module | None
) -> list[tuple[str, torch.nn.Parameter, dict[str, Any]]]:
    named = inner_model(model).named_parameters() if model is not None else ()
    names = {id(parameter): name for name, parameter in named}
    found = []
    for index, group in enumerate(optimizer.param_groups):
        given = group.get("param_names") or [f"group{index}.param{i}" for i in range(len(group["params"]))]
        for parameter, fallback in zip(group["params"], given, strict=True):
            found.append((names.get(id(parameter), fallback), parameter, group))
    return found
