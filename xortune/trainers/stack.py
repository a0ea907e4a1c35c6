"""Many seeds of a user's torch model as one training, where that gives what a loop gives.

The parameters and buffers of S models are stacked along a new first axis, `torch.func.vmap` maps
the loss over them, and torch's own optimizer steps the stacked tensors: each number by itself. Each
seed has a generator of its own, which goes on after its model's initialisation, so that its
permutations and its dropout masks are those of a plain script.

At its first use in a process a training is tried both ways for some steps. It is trained by the
loop, one seed after the other, where losses, buffers or generators come out differently, where
`vmap` refuses, and where the loop is faster.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from xortune.trainers.limits import time_is_over

WIDTHS = (2, 16, 64, 128, 256)
"""Seeds in the stacks that are timed."""

TRIED, TIMED = 3, 3
"""Steps that are compared, and timed."""

ELEMENTWISE = (
    *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"),
    *("Rprop", "SGD"),
)
"""The optimizers of torch.optim that step each number by itself: seeds in a tensor do not meet."""

LOOP = "trained one seed at a time"

CELLS = {"LSTM": "LSTMCell", "GRU": "GRUCell", "RNN": "RNNCell"}


class CannotStack(Exception):
    """Why a training is not stacked, in a sentence."""


@contextmanager
def unread(training: Any) -> Iterator[None]:
    """Within this context it is not noted what is read of a training's configuration."""
    before, training.config.noting = training.config.noting, False
    try:
        yield
    finally:
        training.config.noting = before


# -------------------------------------------------------------------------------------------------
# Results.


def scored(training: Any, model: nn.Module) -> Any:
    """What `score` returns of a model, as Python's own numbers."""
    model.eval()
    with torch.no_grad():
        score = training.score(model)
    if isinstance(score, Mapping):
        return {name: _plain(value) for name, value in score.items()}
    return _plain(score)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def arrays_of(results: Sequence[Any]) -> Any:
    """The scores of S seeds as arrays of shape (S,); NaN where a seed has no such number."""
    if not all(isinstance(one, Mapping) for one in results):
        return np.array(results)
    names = dict.fromkeys(name for one in results for name in one)
    return {name: np.array([one.get(name, math.nan) for one in results]) for name in names}


# -------------------------------------------------------------------------------------------------
# Random numbers of each seed's own.


@dataclass(frozen=True)
class _Wanted:
    """A draw of a loss.

    Attributes:
        kind: the distribution: bernoulli, normal or uniform.
        shape: of what one seed draws.
        order: its axes as they lie in memory, the outermost first: torch draws in this order.
        dtype: its type.
        keep: the probability of a 1; what is drawn is divided by it.
    """

    kind: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: torch.dtype
    keep: float = 1.0

    def make(self, generators: Sequence[torch.Generator]) -> Tensor:
        """The draws of S seeds: shape (S, ...)."""
        shape = (len(generators), *(self.shape[axis] for axis in self.order))
        whole = torch.empty(shape, dtype=self.dtype)
        for row, generator in zip(whole.unbind(0), generators, strict=True):
            if self.kind == "bernoulli":
                row.bernoulli_(self.keep, generator=generator)
            elif self.kind == "normal":
                row.normal_(generator=generator)
            else:
                row.uniform_(generator=generator)
        if self.kind == "bernoulli":
            whole.div_(self.keep)
        return whole.permute(0, *(1 + self.order.index(axis) for axis in range(len(self.order))))


class _Draws:
    """What a stacked loss draws: noted at first, then drawn before each step for each seed.

    Attributes:
        wanted: the draws of a loss.
        drawn: a tensor for each, within `vmap` that of one seed.
    """

    def __init__(self) -> None:
        self.wanted: list[_Wanted] = []
        self.drawn: Sequence[Tensor] | None = None
        self._next = 0

    def begin(self, drawn: Sequence[Tensor] | None) -> None:
        """Before each loss: what has been drawn for it; None to note what it wants."""
        self.drawn, self._next = drawn, 0

    def take(self, kind: str, shape: Sequence[int], like: Tensor | None, keep: float) -> Tensor:
        """The next draw of a seed."""
        shape, order = tuple(shape), tuple(range(len(shape)))
        dtype = torch.get_default_dtype() if like is None else like.dtype
        if like is not None and like.shape == shape:
            strides = like.stride()
            order = tuple(sorted(order, key=lambda axis: -strides[axis]))
        if like is not None and like.device.type != "cpu":
            raise CannotStack(f"draws random numbers on a {like.device.type} device: {LOOP}")
        wanted = _Wanted(kind, shape, order, dtype, keep)
        if self.drawn is None:
            self.wanted.append(wanted)
            return torch.ones(shape, dtype=dtype)
        if self._next >= len(self.wanted) or self.wanted[self._next] != wanted:
            raise CannotStack(f"draws other random numbers from step to step: {LOOP}")
        self._next += 1
        return self.drawn[self._next - 1]

    def dropout(
        self,
        input: Tensor,  # noqa: A002  # torch's own name
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
        *,
        channels: bool = False,
    ) -> Tensor:
        """`torch.nn.functional.dropout`; with `channels` `dropout1d` and so on, of a batch."""
        if not training or p == 0:
            return input
        shape = (*input.shape[:2], *(1 for _ in input.shape[2:])) if channels else input.shape
        noise = torch.zeros(()) if p == 1 else self.take("bernoulli", shape, input, 1 - p)
        return input.mul_(noise) if inplace else input * noise

    def attention(  # noqa: PLR0917  # torch's own arguments
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """`scaled_dot_product_attention` in its plain form, as torch documents it."""
        if enable_gqa:
            raise CannotStack(
                f"scaled_dot_product_attention with enable_gqa is not stacked: {LOOP}"
            )
        factor = 1 / math.sqrt(query.size(-1)) if scale is None else scale
        weights = query @ key.transpose(-2, -1) * factor
        if is_causal:
            shape = (query.size(-2), key.size(-2))
            hidden = torch.ones(shape, dtype=torch.bool, device=query.device).triu(1)
            weights = weights.masked_fill(hidden, -math.inf)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            weights = weights.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            weights = weights + attn_mask
        return self.dropout(weights.softmax(-1), dropout_p) @ value

    @contextmanager
    def in_place_of_torchs(self) -> Iterator[None]:
        """Within this context torch's functions take their random numbers from here."""

        def sized(kind: str, torchs: Callable[..., Tensor]) -> Callable[..., Tensor]:
            def draw(*size: Any, **options: Any) -> Tensor:
                if options:
                    return torchs(*size, **options)
                shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
                return self.take(kind, shape, None, 1.0)

            return draw

        def alike(kind: str) -> Callable[..., Tensor]:
            return lambda like: self.take(kind, like.shape, like, 1.0)

        places: list[tuple[Any, str, Any]] = [
            (functional, "dropout", self.dropout),
            *(
                (functional, f"dropout{d}d", partial(self.dropout, channels=True))
                for d in (1, 2, 3)
            ),
            (functional, "scaled_dot_product_attention", self.attention),
            (torch, "rand", sized("uniform", torch.rand)),
            (torch, "randn", sized("normal", torch.randn)),
            (torch, "rand_like", alike("uniform")),
            (torch, "randn_like", alike("normal")),
        ]
        before = [getattr(module, name) for module, name, _ in places]
        try:
            for module, name, ours in places:
                setattr(module, name, ours)
            yield
        finally:
            for (module, name, _), torchs in zip(places, before, strict=True):
                setattr(module, name, torchs)


# -------------------------------------------------------------------------------------------------
# The stack.


class _Loss(nn.Module):
    """A user's loss as a module of which the model is a part: its tensors can be swapped."""

    def __init__(self, training: Any, model: nn.Module) -> None:
        super().__init__()
        self.model, self._of = model, (training,)

    def forward(self, *batch: Any) -> Tensor:
        loss: Tensor = self._of[0].loss(self.model, *batch)
        return loss


Group = tuple[Any, Sequence[int]]
"""A user's training of one configuration, and its seeds."""


class Stack:
    """The seeds of some trainings as one; S seeds in all.

    The configurations differ in what their optimizers take, and in nothing else.

    Attributes:
        losses: of the last step, shape (S,).
        parameters: by name, shape (S, ...); `buffers` too.

    Args:
        groups: each configuration with its seeds.

    Raises:
        CannotStack: an optimizer is none that steps each number by itself.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._rows = [(training, seed) for training, seeds in groups for seed in seeds]
        self.lead = groups[0][0]
        self.generators = [torch.Generator() for _ in self._rows]
        models = []
        for (training, seed), generator in zip(self._rows, self.generators, strict=True):
            torch.manual_seed(seed)
            models.append(training.model())
            generator.set_state(torch.get_rng_state())
        self.model: nn.Module = models[0]
        self.model.train()
        named = [dict(model.named_parameters()) for model in models]
        held = [dict(model.named_buffers()) for model in models]
        self.parameters = {
            name: torch.stack([one[name].detach() for one in named]).requires_grad_(
                parameter.requires_grad
            )
            for name, parameter in named[0].items()
        }
        self.buffers = {name: torch.stack([one[name] for one in held]) for name in held[0]}
        self._trained = {n: p for n, p in self.parameters.items() if p.requires_grad}
        self._kept = {n: p for n, p in self.parameters.items() if not p.requires_grad}
        self._parts: list[tuple[slice, dict[str, Tensor], Any, Any]] = []
        first = 0
        for training, seeds in groups:
            rows = slice(first, first + len(seeds))
            # They share their memory with the whole.
            own = {name: tensor.detach()[rows] for name, tensor in self.parameters.items()}
            stacked = {id(named[first][name]): tensor for name, tensor in own.items()}
            with unread(training):
                optimizer = _stepping(training.optimizer(models[first].parameters()), stacked)
                scheduler = training.scheduler(optimizer)
            self._parts.append((rows, own, optimizer, scheduler))
            first = rows.stop
        self._objective = _Loss(self.lead, self.model)
        self._draws: dict[tuple[Any, ...], _Draws] = {}
        self._batches: list[Iterator[Any]] = []
        self.losses = torch.empty(0)

    def epoch(self) -> Iterator[Tensor]:
        """Train on each seed's batches; gives the losses of each step."""
        self.model.train()
        self._batches = [iter(training.batches()) for training, _ in self._rows]
        while (batches := self._next_batches()) is not None:
            self._step(batches)
            yield self.losses.detach()
        self._refuse_unlike()
        for *_, scheduler in self._parts:
            if scheduler is not None:
                scheduler.step()

    def _refuse_unlike(self) -> None:
        """Refuse configurations that differ in what the loss has read since the trial.

        It is the first configuration's loss that all have.
        """
        for training in {id(training): training for training, _ in self._rows}.values():
            with unread(self.lead), unread(training):
                for name in self.lead.config.names_read:
                    if training.config.get(name) != self.lead.config.get(name):
                        raise CannotStack(f"{name} is read late, and differs: {LOOP}")

    def _step(self, batches: Sequence[tuple[Any, ...]]) -> None:
        batch, axes = _stacked_batch(batches)
        self.losses = self._forward(batch, axes)
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            self.losses,
            list(self._trained.values()),
            torch.ones_like(self.losses),
            allow_unused=True,
        )
        if self.lead.clip_norm is not None:
            gradients = _clipped(gradients, self.lead.clip_norm)
        # The fused steps read memory in the parameter's order.
        whole = [None if one is None else one.contiguous() for one in gradients]
        for rows, own, optimizer, _ in self._parts:
            for name, gradient in zip(self._trained, whole, strict=True):
                own[name].grad = None if gradient is None else gradient[rows]
            optimizer.step()

    def _next_batches(self) -> list[tuple[Any, ...]] | None:
        """The next batch of each seed, drawn with its own generator; None after the last."""
        found = []
        for batches, generator in zip(self._batches, self.generators, strict=True):
            torch.set_rng_state(generator.get_state())
            batch = next(batches, None)
            generator.set_state(torch.get_rng_state())
            if batch is not None:
                found.append(tuple(batch))
        if found and len(found) < len(self._batches):
            raise CannotStack(f"seeds have different numbers of batches: {LOOP}")
        return found or None

    def _forward(self, batch: tuple[Any, ...], axes: tuple[int | None, ...]) -> Tensor:
        shapes = tuple(getattr(one, "shape", one) for one in batch)
        first = shapes not in self._draws
        draws = self._draws.setdefault(shapes, _Draws())

        def loss(
            parameters: dict[str, Tensor], kept: dict[str, Tensor], batch: Any, drawn: Any
        ) -> Tensor:
            draws.begin(drawn)
            tensors = {f"model.{name}": one for name, one in {**parameters, **kept}.items()}
            found: Tensor = functional_call(self._objective, tensors, batch)
            return found

        dims: Any = (0, 0, axes, None)
        with draws.in_place_of_torchs():
            if first:  # to see what is drawn; it must change nothing
                kept = {name: one.clone() for name, one in self.buffers.items()}
                with torch.no_grad():
                    vmap(loss, dims, randomness="error")(
                        self._trained, {**self._kept, **kept}, batch, None
                    )
            drawn = tuple(wanted.make(self.generators) for wanted in draws.wanted)
            dims = (0, 0, axes, 0 if drawn else None)
            losses: Tensor = vmap(loss, dims, randomness="error")(
                self._trained, {**self._kept, **self.buffers}, batch, drawn
            )
        if losses.dim() != 1:
            shape = tuple(losses.shape[1:])
            raise CannotStack(f"the loss of a batch has shape {shape}, not (): {LOOP}")
        return losses

    def scores(self) -> list[Any]:
        """The score of each seed's model, one after the other, as the loop computes it."""
        parameters, buffers = dict(self.model.named_parameters()), dict(self.model.named_buffers())
        found = []
        for row, ((training, _), generator) in enumerate(
            zip(self._rows, self.generators, strict=True)
        ):
            for own, stacked in ((parameters, self.parameters), (buffers, self.buffers)):
                for name, tensor in own.items():
                    tensor.data = stacked[name].detach()[row]
            torch.set_rng_state(generator.get_state())
            found.append(scored(training, self.model))
            generator.set_state(torch.get_rng_state())
        return found


def _stepping(optimizer: torch.optim.Optimizer, stacked: Mapping[int, Tensor]) -> Any:
    """A new optimizer of one model, made that of stacked parameters."""
    name = type(optimizer).__name__
    if type(optimizer) is not getattr(torch.optim, name, None) or name not in ELEMENTWISE:
        raise CannotStack(f"torch.optim.{name} does not step each number by itself: {LOOP}")
    state = dict(optimizer.state)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            tensor = stacked[id(parameter)]
            if parameter in state:  # Adagrad has one before its first step
                optimizer.state[tensor] = {
                    name: value.expand_as(tensor).clone()
                    if isinstance(value, Tensor) and value.shape == parameter.shape != ()
                    else value
                    for name, value in state[parameter].items()
                }
        group["params"] = [stacked[id(parameter)] for parameter in group["params"]]
        if "fused" in group and group["fused"] is None and not group.get("foreach"):
            # One pass over memory in place of ten; the same numbers but for rounding.
            group["fused"] = all(p.is_floating_point() for p in group["params"]) or None
    return optimizer


def _clipped(gradients: Sequence[Tensor | None], most: float) -> tuple[Tensor | None, ...]:
    """Each seed's gradient, of norm at most `most`: see `torch.nn.utils.clip_grad_norm_`."""
    norms = [one.flatten(1).norm(dim=1) for one in gradients if one is not None]
    factor = (most / (torch.stack(norms).norm(dim=0) + 1e-6)).clamp(max=1.0)
    return tuple(
        None if one is None else one * factor.view(-1, *(1 for _ in one.shape[1:]))
        for one in gradients
    )


def _stacked_batch(
    batches: Sequence[tuple[Any, ...]],
) -> tuple[tuple[Any, ...], tuple[int | None, ...]]:
    """The batches of S seeds as one, and the axis of the seeds; None where all have the same."""
    batch: list[Any] = []
    axes: list[int | None] = []
    for parts in zip(*batches, strict=True):
        if isinstance(parts[0], Tensor) and any(one is not parts[0] for one in parts):
            if any(one.shape != parts[0].shape for one in parts):
                raise CannotStack(f"seeds have batches of different shapes: {LOOP}")
            batch.append(torch.stack(parts))
            axes.append(0)
        else:
            if not isinstance(parts[0], Tensor) and any(one != parts[0] for one in parts):
                raise CannotStack(f"seeds have batches that differ and are no tensors: {LOOP}")
            batch.append(parts[0])
            axes.append(None)
    return tuple(batch), tuple(axes)


# -------------------------------------------------------------------------------------------------
# Tried both ways, once in a process for each kind of model.


@dataclass
class Trial:
    """What came of trying a training both ways.

    Attributes:
        kind: what it shares with all configurations that may be in one stack with it.
        read: what the configuration says where it was read outside of the optimizer: others that
            say the same are trained alike, but for their optimizers.
        reason: why it is not stacked, in a sentence; empty if it is.
        loop: seconds of a step of one seed alone.
        stacked: seconds of a step of one seed in a stack of so many.
    """

    kind: tuple[Any, ...]
    read: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    loop: float = math.inf
    stacked: dict[int, float] = field(default_factory=dict)

    def stacks(self, seeds: int) -> int:
        """Into how many stacks so many seeds are best put; as many as there are: the loop."""
        if self.reason or not self.stacked:
            return seeds
        widest = max(self.stacked)
        counts = {math.ceil(seeds / width) for width in (*self.stacked, min(seeds, widest))}
        seconds = {count: count * self._step(math.ceil(seeds / count)) for count in counts}
        best = min(seconds, key=lambda count: (seconds[count], count))
        return best if seconds[best] < seeds * self.loop else seeds

    def _step(self, width: int) -> float:
        """Seconds of a step of a stack: between widths that were timed as on a straight line."""
        widths = sorted(self.stacked)
        whole = [width * self.stacked[width] for width in widths]
        return float(np.interp(width, widths, whole))

    def measure(self, groups: Sequence[Group]) -> None:
        """Time stacks of the widths that these seeds fill and that are not known yet."""
        seeds = sum(len(seeds) for _, seeds in groups)
        widths = [width for width in WIDTHS if width <= seeds]
        if 1.5 * max((*widths, *self.stacked), default=0) < min(seeds, WIDTHS[-1]):
            widths.append(seeds)
        for width in widths if not self.reason else ():
            if width in self.stacked:
                continue
            try:
                self.stacked[width] = _seconds(Stack(_first(groups, width))) / width
            except (MemoryError, RuntimeError):  # too large: torch has no other error on a CPU
                self.stacked[width] = math.inf

    @property
    def sentence(self) -> str:
        """For users: whether seeds are trained as one, or why they are not."""
        return self.reason or "the seeds of a block are trained as one"


_trials: list[Trial] = []


def trial_of(training: Any, seeds: Sequence[int]) -> Trial:
    """The trial of a training, made now if need be: it takes some steps.

    Args:
        training: the user's.
        seeds: at least two.
    """
    config, kind = training.config, _kind(training)
    with unread(training):
        for trial in _trials:
            read = {name: config.get(name, _NOTHING) for name in trial.read}
            if trial.kind == kind and read == trial.read:
                return trial
    trial = Trial(kind)
    trial.reason = _difference(training, seeds[:2], trial)
    trial.read = {name: config.get(name, _NOTHING) for name in config.names_read}
    _trials.append(trial)
    return trial


_NOTHING = "no such parameter"


def _kind(training: Any) -> tuple[Any, ...]:
    """Also the optimizer's class: whether it can be stacked depends on it."""
    torch.manual_seed(0)
    model = training.model()
    with unread(training):
        optimizer = training.optimizer(model.parameters())
    settings = training.epochs, training.clip_norm, training.report_every
    return (type(training), type(optimizer), repr(model), *settings)


def _first(groups: Sequence[Group], width: int) -> list[Group]:
    """Groups with the first seeds, so many in all."""
    found: list[Group] = []
    for training, seeds in groups:
        taken = seeds[:width]
        width -= len(taken)
        if taken:
            found.append((training, taken))
    return found


def _steps(stack: Stack) -> Iterator[Tensor]:
    """The losses of step after step, over the ends of epochs."""
    begun = True
    while begun:
        begun = False
        for losses in stack.epoch():
            begun = True
            yield losses


def _seconds(stack: Stack) -> float:
    """Of the fastest of some steps after the first."""
    ends = [time.perf_counter() for _, _ in zip(range(1 + TIMED), _steps(stack), strict=False)]
    return _fastest(ends)


def _fastest(ends: Sequence[float]) -> float:
    return min((after - before for before, after in itertools.pairwise(ends)), default=math.inf)


def _difference(training: Any, seeds: Sequence[int], trial: Trial) -> str:
    """How a stack of some seeds trains otherwise than the loop; empty if it does not."""
    if getattr(type(training).run, "__module__", "") != "xortune.trainers.torch_training":
        return f"{type(training).__name__} has a run of its own: {LOOP}"
    plain = [_plain_steps(training, seed) for seed in seeds]
    trial.loop = min(one.seconds for one in plain)
    entered: list[str] = []
    with _quiet():
        try:
            stack = Stack([(training, seeds)])
            _note_layers(stack.model, entered)
            losses, buffers = [], {}
            for number, found in zip(range(TRIED), _steps(stack), strict=False):
                losses.append(found.double())
                if number == 0:
                    buffers = {name: one.clone() for name, one in stack.buffers.items()}
        except CannotStack as refused:
            return str(refused)
        except Exception as error:
            return _refusal(error, entered)
    for row, one in enumerate(plain):
        for number, (loop, stacked) in enumerate(zip(one.losses, losses, strict=False)):
            if not math.isclose(loop, stacked[row], rel_tol=1e-3, abs_tol=1e-6) and not (
                math.isnan(loop) and math.isnan(stacked[row])
            ):
                shown = f"loss {stacked[row]:.6g} against {loop:.6g} in step {number + 1}"
                return f"seeds that are stacked train differently ({shown}): {LOOP}"
        for name, buffer in one.buffers.items():
            if not torch.allclose(
                buffer.double(), buffers[name][row].double(), 1e-3, 1e-5, equal_nan=True
            ):
                return f"the buffer {name} differs in seeds that are stacked: {LOOP}"
        if not torch.equal(one.generator, stack.generators[row].get_state()):
            return f"seeds that are stacked draw other random numbers: {LOOP}"
    return ""


@dataclass
class _PlainSteps:
    """Some steps of the loop."""

    losses: list[float]
    buffers: dict[str, Tensor]
    generator: Tensor
    seconds: float


class _Enough(Exception):
    """Ends a trial."""


def _plain_steps(training: Any, seed: int) -> _PlainSteps:
    """The first steps of `run` itself, looked at through its optimizer."""
    losses: list[float] = []
    buffers: dict[str, Tensor] = {}
    times: list[float] = []
    models: list[nn.Module] = []
    make_model, make_optimizer, make_scheduler = (
        training.model,
        training.optimizer,
        training.scheduler,
    )

    def model() -> nn.Module:
        models.append(make_model())
        return models[-1]

    def optimizer(parameters: Any) -> Any:
        with unread(training):
            made = make_optimizer(parameters)
        step = made.step

        def looked_at(_: Any, closure: Callable[[], Tensor]) -> Any:
            first: list[float] = []

            def once() -> Tensor:
                loss = closure()
                first.append(float(loss.detach()))
                if not losses and len(first) == 1:
                    buffers.update({n: b.clone() for n, b in models[-1].named_buffers()})
                return loss

            done = step(once)
            losses.append(first[0])
            times.append(time.perf_counter())
            if len(losses) == TRIED + TIMED:
                raise _Enough
            if len(losses) == TRIED:
                states.append(torch.get_rng_state())
            return done

        made.step = MethodType(looked_at, made)  # schedulers wrap it as a method
        return made

    def scheduler(optimizer: Any) -> Any:
        with unread(training):
            return make_scheduler(optimizer)

    states: list[Tensor] = []
    training.model, training.optimizer, training.scheduler = model, optimizer, scheduler
    try:
        with suppress(_Enough):
            training.run(seed)
            return _PlainSteps(losses[:TRIED], buffers, torch.get_rng_state(), _fastest(times))
        scored(training, models[-1])  # to see what it reads
    finally:
        del training.model, training.optimizer, training.scheduler
    return _PlainSteps(losses[:TRIED], buffers, states[0], _fastest(times))


def _note_layers(model: nn.Module, entered: list[str]) -> None:
    """Keep the names of the layers that have begun and not ended."""
    for layer in model.modules():
        layer.register_forward_pre_hook(lambda one, _: entered.append(type(one).__name__))
        layer.register_forward_hook(lambda *_: entered.pop() and None)


def _refusal(error: Exception, entered: Sequence[str]) -> str:
    """Why vmap refuses, in a sentence that names the layer and what to do."""
    text, layer = str(error), entered[-1] if entered else ""
    where = f"nn.{layer}" if hasattr(nn, layer) and layer else layer or "the loss"
    if ".item()" in text:
        return f"{where} calls .item(): {LOOP}; a loss that stays a tensor would be stacked"
    if "data-dependent control flow" in text:
        return f"{where} branches on the value of a tensor: {LOOP}; torch.where would be stacked"
    if "randomness" in text or "random" in text:
        return f"{where} draws random numbers that cannot be drawn for each seed: {LOOP}"
    if layer in CELLS or "atching rule" in text:
        version = torch.__version__.partition("+")[0]
        hint = f"; nn.{CELLS[layer]} in a loop would be stacked" if layer in CELLS else ""
        return f"{where} has no batching rule in torch {version}: {LOOP}{hint}"
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"{where} cannot be stacked ({first[:200]}): {LOOP}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without vmap's warnings of operations that it loops over: what it costs is measured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule.*", category=UserWarning)
        yield


# -------------------------------------------------------------------------------------------------
# All seeds of a block.


Report = Callable[[int, Sequence[int], Any], None]
"""Called with the place of a group and the scores of its seeds, on their way."""


def train_stacked(
    groups: Sequence[Group],
    report: Report | None = None,
    failures: tuple[type[BaseException], ...] = (Exception,),
) -> tuple[list[list[Any]], str]:
    """Train the seeds of some configurations of one class.

    Args:
        groups: each configuration's training with its seeds.
        report: called after every `report_every` epochs but the last, for groups that are trained
            whole; what it raises ends all.
        failures: what a training may raise that is its seed's failure; all else ends all.

    Returns:
        For each group and seed its score, or the exception that its training raised; fewer seeds
        where the search's time was over before. And in a sentence whether they are trained as one.
    """
    results: list[dict[int, Any]] = [{} for _ in groups]
    note, alike = "", defaultdict[int, list[int]](list)
    trials: dict[int, Trial | None] = {}
    for place, (training, seeds) in enumerate(groups):
        trial = None
        with suppress(*failures):  # what a seed raises, it raises in the loop below
            trial = trial_of(training, [*seeds, seeds[0] + 1][:2])
            note = trial.sentence
        alike[id(trial) if trial is not None else -1 - place].append(place)
        trials[place] = trial
    for places in alike.values():
        rows = [(place, seed) for place in places for seed in groups[place][1]]
        trial, chunks = trials[places[0]], len(rows)
        if trial is not None and len(rows) > 1:
            with suppress(*failures), _quiet():
                trial.measure([groups[place] for place in places])
            chunks = trial.stacks(len(rows))
        for chunk in range(chunks):
            if time_is_over():
                break
            first, end = (len(rows) * number // chunks for number in (chunk, chunk + 1))
            _train_chunk(groups, rows[first:end], results, report, failures)
    # Seeds were trained in their order, and so are the first ones of each group.
    return [list(found.values()) for found in results], note


def _train_chunk(
    groups: Sequence[Group],
    rows: Sequence[tuple[int, int]],
    results: Sequence[dict[int, Any]],
    report: Report | None,
    failures: tuple[type[BaseException], ...],
) -> None:
    """Train some rows, each the place of its group and a seed, as one; in halves if that fails."""

    def tell(place: int, seeds: Sequence[int], told: Any) -> None:
        if report is not None:
            report(place, seeds, told)

    if len(rows) == 1:
        [(place, seed)] = rows
        try:
            with unread(groups[place][0]):  # the loop reads what the optimizer takes, too
                results[place][seed] = groups[place][0].run(
                    seed, lambda told: tell(place, [seed], told)
                )
        except failures as error:
            results[place][seed] = error
        return
    places = list(dict.fromkeys(place for place, _ in rows))
    parts = [(groups[place][0], [s for p, s in rows if p == place]) for place in places]
    epochs = parts[0][0].epochs
    scores: list[Any] = []
    steps = trained_as_one(parts)
    while True:
        try:
            with _quiet():
                epoch, scores = next(steps)
        except failures:  # a seed raised, or memory is short
            middle = len(rows) // 2
            for half in (rows[:middle], rows[middle:]):
                _train_chunk(groups, half, results, report, failures)
            return
        if epoch == epochs:
            break
        _tell_each(places, parts, scores, tell)
    for (place, seed), score in zip(rows, scores, strict=True):
        results[place][seed] = score


def _tell_each(
    places: Sequence[int],
    parts: Sequence[Group],
    scores: Sequence[Any],
    tell: Report,
) -> None:
    first = 0
    for place, (_, seeds) in zip(places, parts, strict=True):
        tell(place, seeds, arrays_of(scores[first : first + len(seeds)]))
        first += len(seeds)


def trained_as_one(groups: Sequence[Group]) -> Iterator[tuple[int, list[Any]]]:
    """Epochs and the scores of S seeds then: every `report_every` epochs, and after the last."""
    stack = Stack(groups)
    for epoch in range(1, stack.lead.epochs + 1):
        for _ in stack.epoch():
            pass
        if stack.lead.reports_after(epoch) or epoch == stack.lead.epochs:
            yield epoch, stack.scores()
