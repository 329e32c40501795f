"""Which optimizer wrote a state, recognized by what it keeps: a checkpoint does not name its class."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object
from epsearch.core.messages import suggestion
from epsearch.inspecting.saved import SavedOptimizer, SavedTensor
from epsearch.optimizers import Denominator
from epsearch.registry.optimizers import ADAPTIVE, OPTIMIZERS


class Family(NamedTuple):
    """How to recognize an optimizer and read its ẑ.

    `optimizer` is its name in a study file, `state` the keys that its state has, and `group` those of its parameter
    groups. `denominator` is the reader, if it is not the optimizer's own.
    """

    optimizer: str
    state: Collection[str]
    group: Collection[str] = ()
    denominator: str | None = None


FAMILIES = (
    Family("adabelief", ["exp_avg_var"], ["rectify"], "epsearch.optimizers.denominators:adabelief_accumulated"),
    Family("adabelief", ["exp_avg_var"]),
    Family("adamax", ["exp_inf"]),
    Family("madgrad", ["grad_sum_sq"]),
    Family("adagrad", ["sum"], ["lr_decay"]),
    Family("rmsprop", ["square_avg"], ["alpha"]),
    Family("diffgrad", ["exp_avg_sq", "previous_grad"]),
    Family("adamod", ["exp_avg_sq", "exp_avg_lr"]),
    Family("nadam", ["exp_avg_sq", "mu_product"]),
    Family("yogi", ["exp_avg_sq"], ["initial_accumulator"]),
    Family("amsgrad", ["max_exp_avg_sq"], ["amsgrad"]),
    Family("adam", ["exp_avg_sq"], ["amsgrad"]),
    # torch.optim's classes have `foreach`, and of these only RAdam and NAdam have no `amsgrad`.
    Family("radam", ["exp_avg_sq"], ["foreach", "decoupled_weight_decay"]),
    # EAdam, AdaMomentum and LAMB keep the same state; `optimizer=` names them.
    Family("adam", ["exp_avg", "exp_avg_sq"], ["betas"], "epsearch.optimizers.denominators:second_moment"),
)
"""The first that fits is taken."""

UNSUPPORTED = {
    "exp_avg_sq_row": "Adafactor, which keeps only sums of rows and columns",
    "row_var": "Adafactor, which keeps only sums of rows and columns",
    "state2": "bitsandbytes, whose quantized state cannot be read yet",
    "acc_delta": "Adadelta, whose ε is also in the numerator",
    "momentum_buffer": "SGD or Muon, which have no such ε",
}


def family_of(saved: SavedOptimizer, optimizer: str | None = None) -> Family:
    """The family of an optimizer's state; with `optimizer`, the one of that name in study files.

    Raises:
        UserError: it is not recognized, or there is no optimizer of that name.
    """
    if optimizer is not None:
        if optimizer not in ADAPTIVE:
            raise UserError(f"no adaptive optimizer is called {optimizer!r}. {suggestion(optimizer, ADAPTIVE)}")
        return Family(optimizer, [])
    keys = saved.state_keys
    group = next((tensor.group for tensor in saved.tensors if tensor.state), {})
    unsupported = next((text for key, text in UNSUPPORTED.items() if key in keys), None)
    if unsupported is None:
        for family in FAMILIES:
            if keys.issuperset(family.state) and all(key in group for key in family.group):
                return family
    where = f" at {saved.key}" if saved.key else ""
    held = f"it looks like {unsupported}" if unsupported else f"it holds {', '.join(sorted(keys)[:12]) or 'nothing'}"
    raise UserError(
        f"the optimizer's state{where} is not that of an optimizer epsearch can read: {held}. It reads "
        f"{', '.join(ADAPTIVE)} and optimizers with the same state; name one of them with optimizer=… (--optimizer)."
    )


def class_name(family: Family, group: Mapping[str, Any]) -> str:
    """The name of the optimizer's class, such as `AdamW`."""
    if family.optimizer == "adam" and group.get("decoupled_weight_decay"):
        return "AdamW"
    return OPTIMIZERS[family.optimizer].path.rpartition(":")[2]


def reader_of(family: Family) -> Callable[[SavedTensor], Denominator | None]:
    """A function that reads ẑ of a tensor; it returns None if the tensor got no gradient.

    That function raises `UserError` if the state lacks something it needs.
    """
    path = family.denominator or OPTIMIZERS[family.optimizer].denominator
    assert path is not None, "adaptive"
    read = load_object(path)

    def read_tensor(tensor: SavedTensor) -> Denominator | None:
        if not tensor.state:
            return None
        # Some optimizers count steps by group (Apex, DeepSpeed), and older ones have fewer settings.
        steps = {"step": tensor.group["step"]} if "step" in tensor.group else {}
        state: Mapping[str, Any] = ChainMap(dict[str, Any](), tensor.state, steps)  # type: ignore[arg-type]
        group: Mapping[str, Any] = ChainMap(dict[str, Any](), tensor.group, {"amsgrad": False, "centered": False})  # type: ignore[arg-type]
        try:
            if "step" in state and float(state["step"]) == 0:
                return None
            term: Denominator = read(state, group)
        except KeyError as error:
            raise UserError(
                f"the state of {tensor.name} has no {error.args[0]}, which {family.optimizer} needs; "
                "name the optimizer that wrote it with optimizer=… (--optimizer)."
            ) from error
        return term

    return read_tensor
