"""Random numbers in a stack: each seed draws them with its own generator.

Within `torch.func.vmap` torch has one generator for all seeds. So the functions of torch that draw
are replaced by rules, and before each step `SeedDraw.make` draws for seed after seed what a plain
script would draw, in the same order and to the bit:

    draws = Draws()
    with Ruled(draws.noting()):
        ...                               # the loss of one seed: which numbers does it draw?
    drawn = [draw.make(states) for draw in draws.wanted]  # by all generators, shape (S, ...)
    ...                                   # and within `vmap`, where each is the draw of one seed:
    with Ruled(draws.taking(drawn)):
        ...                               # the loss gets them, one after the other
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xortune.trainers.batching_rules import LOOP, CannotStack, Rules
from xortune.trainers.kernels.draws import bernoulli


@dataclass(frozen=True)
class SeedDraw:
    """Random numbers that a seed draws in one call of torch.

    Attributes:
        kind: bernoulli, normal, uniform, randperm or randint.
        shape: of the draw of one seed.
        order: its axes in the order of memory, the outermost first: torch draws in this order.
        dtype: its type.
        options: for bernoulli the probability p of a 1 (the draw is divided by p); for randint its
            bounds.
    """

    kind: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: torch.dtype
    options: tuple[float, ...] = ()

    def make(self, states: Tensor) -> Tensor:
        """The draws of S seeds, shape (S, ...).

        Args:
            states: uint8, shape (S, bytes): the states of their generators, which are advanced.
        """
        shape = tuple(self.shape[axis] for axis in self.order)
        if self.kind == "bernoulli":
            whole = self._masks(states).view(-1, *shape)
        else:
            whole, generator = torch.empty(len(states), *shape, dtype=self.dtype), torch.Generator()
            for row, state in zip(whole.unbind(0), states, strict=True):
                generator.set_state(state.clone())  # of a view torch reads the whole tensor's start
                self._fill(row, generator)
                state.copy_(generator.get_state())
        return whole.permute(0, *(1 + self.order.index(axis) for axis in range(len(self.order))))

    def _masks(self, states: Tensor) -> Tensor:
        """Dropout's masks, shape (S, n): 0 or 1 / p."""
        [keep] = self.options
        # `bernoulli` gives float32, which has too few digits for a float64.
        exact = self.dtype != torch.float64
        one = _inverse(keep, self.dtype) if exact else 1.0
        masks = bernoulli(states, keep, math.prod(self.shape), one).to(self.dtype)
        return masks if exact else masks.div_(keep)

    def _fill(self, row: Tensor, generator: torch.Generator) -> None:
        if self.kind == "normal":
            row.normal_(generator=generator)
        elif self.kind == "uniform":
            row.uniform_(generator=generator)
        elif self.kind == "randperm":
            torch.randperm(len(row), generator=generator, dtype=self.dtype, out=row)
        else:
            row.random_(*self.options, generator=generator)


@cache
def _inverse(keep: float, dtype: torch.dtype) -> float:
    """The value of a kept number of a dropout mask, rounded as by torch."""
    return torch.ones((), dtype=dtype).div_(keep).item()


Take = Callable[[SeedDraw, Tensor | None], Tensor]
"""Returns a draw. The tensor is the one whose shape the draw has, if any."""


def drawing_rules(take: Take) -> Rules:
    """Rules of torch's functions that draw random numbers: each asks `take` for its draw."""
    normal = partial(_of_size, take, "normal", torch.randn)
    uniform = partial(_of_size, take, "uniform", torch.rand)
    channels = partial(_dropout, take, channels=True)
    return {
        torch.rand: uniform,
        torch.randn: normal,
        torch.rand_like: lambda like: _like(take, "uniform", like, like.shape),
        torch.randn_like: lambda like: _like(take, "normal", like, like.shape),
        torch.randperm: partial(_randperm, take),
        torch.randint: partial(_randint, take),
        functional.dropout: partial(_dropout, take),
        functional.dropout1d: channels,
        functional.dropout2d: channels,
        functional.dropout3d: channels,
    }


def _new(
    take: Take, kind: str, shape: Sequence[int], dtype: torch.dtype, *options: float
) -> Tensor:
    shape = tuple(shape)
    return take(SeedDraw(kind, shape, tuple(range(len(shape))), dtype, options), None)


def _like(take: Take, kind: str, like: Tensor, shape: Sequence[int], *options: float) -> Tensor:
    """A draw of the type of a tensor; also of its order in memory, if it has the same shape."""
    shape, order = tuple(shape), tuple(range(len(shape)))
    if shape == like.shape:
        strides = like.stride()
        order = tuple(sorted(order, key=lambda axis: -strides[axis]))
    return take(SeedDraw(kind, shape, order, like.dtype, options), like)


# With options, such as a generator, torch's own functions draw. `vmap` then refuses them.


def _of_size(
    take: Take, kind: str, torchs: Callable[..., Tensor], *size: Any, **options: Any
) -> Tensor:
    if options:
        return torchs(*size, **options)
    shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
    return _new(take, kind, shape, torch.get_default_dtype())


def _randperm(take: Take, n: int, **options: Any) -> Tensor:
    return torch.randperm(n, **options) if options else _new(take, "randperm", (n,), torch.int64)


def _randint(take: Take, *args: Any, **options: Any) -> Tensor:
    if options or len(args) not in {2, 3}:
        return torch.randint(*args, **options)
    *ends, size = args
    low, high = ends if len(ends) == 2 else (0, ends[0])
    return _new(take, "randint", size, torch.int64, low, high)


def _dropout(
    take: Take,
    input: Tensor,  # noqa: A002  # torch's own name
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    channels: bool = False,
) -> Tensor:
    if not training or p == 0:
        return input
    shape = (*input.shape[:2], *(1 for _ in input.shape[2:])) if channels else input.shape
    noise = torch.zeros(()) if p == 1 else _like(take, "bernoulli", input, shape, 1 - p)
    return input.mul_(noise) if inplace else input * noise


class Draws:
    """The draws of a loss: noted with one seed, then made for all seeds before each step.

    Attributes:
        wanted: the draws, in their order.
    """

    def __init__(self) -> None:
        self.wanted: list[SeedDraw] = []

    def noting(self) -> Rules:
        """Rules that note the draws while the loss of one seed is computed."""

        def note(draw: SeedDraw, _: Tensor | None) -> Tensor:
            self.wanted.append(draw)
            shape = [draw.shape[axis] for axis in draw.order]
            return torch.ones(shape, dtype=draw.dtype).permute(
                [draw.order.index(axis) for axis in range(len(shape))]
            )

        return drawing_rules(note)

    def taking(self, drawn: Sequence[Tensor]) -> Rules:
        """Rules that return draws that have been made, in their order, within `vmap`.

        Args:
            drawn: the draws of one seed.
        """
        left = iter(zip(self.wanted, drawn, strict=True))

        def take(draw: SeedDraw, _: Tensor | None) -> Tensor:
            wanted, made = next(left, (None, None))
            # The order of axes in a stack's memory may differ; it draws in that of a seed alone.
            if made is None or wanted is None or draw != replace(wanted, order=draw.order):
                raise CannotStack(f"draws other random numbers from step to step: {LOOP}")
            return made

        return drawing_rules(take)
