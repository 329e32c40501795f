"""Save and restore everything that training changes."""

from __future__ import annotations

import copy
import random

import numpy as np
import torch

from epsearch.probing.sharding import reshard


class Snapshot:
    """A copy of parameters, buffers, gradients, train/eval modes, optimizer state and random state in memory.

    `restore` writes values in place: the user's code and optimizer keep the same parameter objects. With FSDP2 each
    rank copies its own shards.
    """

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        reshard(model)
        optimized = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        # By identity: tied parameters only once, and also parameters that only the optimizer holds.
        tensors = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers(), *optimized]}
        self._values = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]
        self._gradients = [
            (tensor, None if tensor.grad is None else tensor.grad.detach().clone())
            for tensor in tensors.values()
            if isinstance(tensor, torch.nn.Parameter)
        ]
        self._modes = [(module, module.training) for module in model.modules()]
        # A module may replace a buffer by another tensor instead of writing to it.
        self._buffers = [(module, dict(module._buffers)) for module in model.modules()]
        self._state = {parameter: copy.deepcopy(state) for parameter, state in optimizer.state.items()}
        self._groups = [
            {key: value if key == "params" else copy.deepcopy(value) for key, value in group.items()}
            for group in optimizer.param_groups
        ]
        self._random = (random.getstate(), np.random.get_state(), torch.get_rng_state())
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore(self) -> None:
        """Put everything back as it was."""
        reshard(self._model)
        with torch.no_grad():
            for tensor, value in self._values:
                tensor.copy_(value)
        for tensor, gradient in self._gradients:
            tensor.grad = gradient
        for module, mode in self._modes:
            module.training = mode
        for module, buffers in self._buffers:
            module._buffers.clear()
            module._buffers.update(buffers)
        self._optimizer.state.clear()
        self._optimizer.state.update(self._state)
        for group, saved in zip(self._optimizer.param_groups, self._groups, strict=True):
            group.clear()  # removes keys added by steps, such as a step count
            group.update(saved)
        python, numpy, cpu = self._random
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
