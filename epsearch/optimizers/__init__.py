"""Optimizers by name, and ẑ of any `torch.optim.Optimizer` whose class or base class is known."""

from epsearch.optimizers.create import create_optimizer, default_eps
from epsearch.optimizers.denominators import Denominator
from epsearch.optimizers.readers import denominator_reader, register_denominator, unwrapped

__all__ = ["Denominator", "create_optimizer", "default_eps", "denominator_reader", "register_denominator", "unwrapped"]
