"""Optimizers of a stack of models: one compiled for all, or one of torch for each configuration."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from xortune.trainers.batching_rules import LOOP, CannotStack
from xortune.trainers.kernels.steps import StackOptimizer, are_plain, has_hook, has_hooks


def optimizer_of_stack(
    optimizers: Sequence[torch.optim.Optimizer],
    owns: Sequence[Mapping[str, Tensor]],
    parameters: Mapping[str, Tensor],
    starts: Sequence[int],
) -> StackOptimizer | _OneEach:
    """What steps the stacked parameters as these optimizers step those of single models.

    Args:
        optimizers: new ones, of one model of each configuration.
        owns: the parameters of these models.
        parameters: the stacked ones, shape (S, ...).
        starts: the first row of each configuration, and the end.

    Raises:
        CannotStack: an optimizer is none of torch's kind.
    """
    trained = {name: one for name, one in parameters.items() if one.requires_grad}
    return _as_one(optimizers, owns, trained, starts) or _OneEach(
        optimizers, owns, parameters, starts
    )


def _as_one(
    optimizers: Sequence[torch.optim.Optimizer],
    owns: Sequence[Mapping[str, Tensor]],
    weights: Mapping[str, Tensor],
    starts: Sequence[int],
) -> StackOptimizer | None:
    """One compiled optimizer for all configurations; None where it would not give the same."""
    groups = []
    for optimizer, own in zip(optimizers, owns, strict=True):
        of = {id(p): at for at, group in enumerate(optimizer.param_groups) for p in group["params"]}
        groups.append({name: of.get(id(own[name])) for name in weights})
    known = all(None not in indices.values() for indices in groups)
    # Not contiguous, as in `channels_last`: the gradient has another memory order.
    plain = all(
        w.is_cpu and w.dtype == torch.float32 and w.is_contiguous() for w in weights.values()
    )
    if not known or not plain or torch.get_num_threads() > 1 or not are_plain(optimizers):
        return None
    return StackOptimizer(optimizers, weights, groups, np.diff(starts))


class _OneEach:
    """Optimizers of torch; each steps its rows of the stacked parameters.

    The arguments are those of `optimizer_of_stack`.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        owns: Sequence[Mapping[str, Tensor]],
        parameters: Mapping[str, Tensor],
        starts: Sequence[int],
    ) -> None:
        self._parts: list[tuple[slice, dict[str, Tensor], Any]] = []
        for optimizer, own, ends in zip(optimizers, owns, itertools.pairwise(starts), strict=True):
            rows = slice(*ends)
            stacked = {name: whole.detach()[rows] for name, whole in parameters.items()}
            by_id = {id(own[name]): whole for name, whole in stacked.items()}
            self._parts.append((rows, stacked, _moved(optimizer, by_id)))

    def keep(self, rows: Sequence[int], parameters: Mapping[str, Tensor]) -> None:
        """Go on with some models: see `StackOptimizer.keep`."""
        parts, first = [], 0
        for before, stacked, optimizer in self._parts:
            own = [row - before.start for row in rows if before.start <= row < before.stop]
            if not own:
                continue
            now, count = slice(first, first + len(own)), before.stop - before.start
            first = now.stop
            new = {name: whole.detach()[now] for name, whole in parameters.items()}
            by_id = {id(whole): new[name] for name, whole in stacked.items()}
            state = dict(optimizer.state)
            optimizer.state.clear()
            for parameter, values in state.items():
                optimizer.state[by_id[id(parameter)]] = {
                    name: value[own]
                    if isinstance(value, Tensor) and value.dim() and len(value) == count
                    else value
                    for name, value in values.items()
                }
            for group in optimizer.param_groups:
                group["params"] = [by_id[id(parameter)] for parameter in group["params"]]
            parts.append((now, new, optimizer))
        self._parts = parts

    def step(self, gradients: Mapping[str, Tensor | None]) -> None:
        """Step each optimizer once."""
        for rows, stacked, optimizer in self._parts:
            for name, gradient in gradients.items():
                stacked[name].grad = gradient if gradient is None else gradient[rows]
            optimizer.step()


def refuse_hooks(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse hooks of gradients and of an optimizer's steps.

    They belong to the tensors of one model, and the optimizer of a stack has those of all seeds.

    Raises:
        CannotStack: there is one.
    """
    registers: list[Callable[[Any], RemovableHandle]] = []
    for one in model.parameters():
        if one.requires_grad:
            registers += [one.register_hook, one.register_post_accumulate_grad_hook]
    for part in model.modules():
        registers += [part.register_full_backward_hook, part.register_full_backward_pre_hook]
    if has_hooks(optimizer) or any(map(has_hook, registers)):
        raise CannotStack(f"a hook changes the gradients or steps of one model: {LOOP}")


def _moved(optimizer: torch.optim.Optimizer, stacked: Mapping[int, Tensor]) -> Any:
    """Give a new optimizer stacked parameters in place of one model's, by the ids of these."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise CannotStack(f"{type(optimizer).__name__} is no optimizer of torch's kind: {LOOP}")
    state = dict(optimizer.state)
    optimizer.state.clear()
    for parameter, own in state.items():  # Adagrad has one before its first step
        whole = stacked[id(parameter)]
        optimizer.state[whole] = {
            name: (value.expand_as(whole) if value.dim() else value).clone()
            if isinstance(value, Tensor)
            else value
            for name, value in own.items()
        }
    for group in optimizer.param_groups:
        group["params"] = [stacked[id(parameter)] for parameter in group["params"]]
    return optimizer
