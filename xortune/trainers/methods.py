"""What the methods of a `TorchTraining` must give. Each other result is refused in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from xortune.core.errors import kind_of
from xortune.trainers.verdicts import RETURNS, MethodError

_MUST: Mapping[str, tuple[str, str]] = {
    "config": ("the dict that __init__ was given", "begin __init__ with super().__init__(config)"),
    "epochs": (
        "a whole number, how often `batches` is passed over",
        "write `epochs = 20` in the class, or set self.epochs in __init__",
    ),
    "report_every": (
        "a positive whole number of epochs, or None",
        "leave it out, if nothing is to be reported",
    ),
    "clip_norm": ("a positive number, or None", "leave it out, if gradients are not to be clipped"),
    "model": ("a new torch.nn.Module", "end it with `return` and the model"),
    "optimizer": (
        "a new torch.optim.Optimizer",
        'return one, such as torch.optim.Adam(parameters, lr=self.config["lr"])',
    ),
    "batches": (
        "tuples of tensors: what `loss` takes after the model",
        "write `yield x, y`, or `yield (x,)` for a loss(self, model, x)",
    ),
    "loss": ("a tensor of one number that has a gradient", "end it with `return` and the loss"),
    "score": (RETURNS, "end it with `return` and the score"),
}
"""By the name of an attribute or a method: what it must be or give, and how."""


def _refusal(training: Any, name: str, problem: str, fix: str = "") -> MethodError:
    allowed, usual = _MUST[name]
    place = f"{type(training).__name__}.{name}"
    return MethodError(problem, place=place, allowed=allowed, fix=fix or usual)


def given_to(training: Any) -> Mapping[str, Any]:
    """The configuration that the object of a training was made with.

    Raises:
        MethodError: it has not kept what `__init__` was given.
    """
    given: Mapping[str, Any] | None = getattr(training, "_given", None)
    if given is None:
        raise _refusal(training, "config", "is not set")
    return given


def _returned(result: Any, what: str = "") -> str:
    if result is None:
        return f"returned nothing{what}"
    shape = tuple(getattr(result, "shape", ()))
    return f"returned {kind_of(result)}{f' of shape {shape}' if shape else ''}{what}"


def epochs_of(training: Any) -> int:
    """The number of epochs.

    Raises:
        MethodError: it is not set, or no whole number.
    """
    epochs = getattr(training, "epochs", None)
    if not isinstance(epochs, Integral) or isinstance(epochs, bool) or epochs < 0:
        problem = "is not set" if epochs is None else f"is {epochs!r:.60}"
        raise _refusal(training, "epochs", problem)
    return int(epochs)


def refuse_attributes(training: Any) -> None:
    """Refuse other attributes than a loop over epochs can use.

    Raises:
        MethodError: `report_every` is no number of epochs, or `clip_norm` no positive number.
    """
    every, norm = training.report_every, training.clip_norm
    is_whole = isinstance(every, Integral) and not isinstance(every, bool)
    if every is not None and not (is_whole and every > 0):
        raise _refusal(training, "report_every", f"is {every!r:.60}")
    is_real = isinstance(norm, Real) and not isinstance(norm, bool)
    if norm is not None and not (is_real and norm > 0):
        raise _refusal(training, "clip_norm", f"is {norm!r:.60}")


def model_of(training: Any) -> nn.Module:
    """A new model.

    Raises:
        MethodError: it is no module.
    """
    model = training.model()
    if not isinstance(model, nn.Module):
        raise _refusal(training, "model", _returned(model))
    return model


def optimizer_of(training: Any, model: nn.Module) -> Any:
    """A new optimizer of a model.

    Raises:
        MethodError: it is no optimizer.
    """
    optimizer = training.optimizer(model.parameters())
    if not hasattr(optimizer, "step") or not hasattr(optimizer, "zero_grad"):
        raise _refusal(training, "optimizer", _returned(optimizer))
    return optimizer


def batches_of(training: Any) -> Iterator[Sequence[Any]]:
    """The batches of one epoch.

    Raises:
        MethodError: they are no batches, or one is no tuple.
    """
    batches = training.batches()
    if not isinstance(batches, Iterable):
        raise _refusal(training, "batches", _returned(batches))
    for batch in batches:
        if isinstance(batch, Tensor | Mapping | str) or not isinstance(batch, Iterable):
            problem = _returned(batch).replace("returned", "yielded", 1)
            raise _refusal(training, "batches", problem)
        yield batch  # type: ignore[misc]  # a list does as well


def loss_of(training: Any, model: nn.Module, batch: Sequence[Any]) -> Tensor:
    """The loss of a batch.

    Raises:
        MethodError: it is no tensor of one number with a gradient.
    """
    loss = training.loss(model, *batch)
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss
    problem, fix = _returned(loss), "compute it from what the model returns by torch's functions"
    if loss is None:
        fix = ""
    elif isinstance(loss, Tensor) and loss.numel() != 1:
        fix = "return its mean, loss.mean()"
    else:
        problem += " without a gradient" if isinstance(loss, Tensor) else ""
        fix += ", without .item(), .detach() and .numpy()"
    raise _refusal(training, "loss", problem, fix)


def step(training: Any, model: nn.Module, optimizer: Any, batch: Sequence[Any]) -> None:
    """Train a model on a batch, in the loop.

    Raises:
        MethodError: its loss is no tensor of one number with a gradient.
    """

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(training, model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        return loss

    optimizer.step(closure)


def scored(training: Any, model: nn.Module) -> Any:
    """The score of a model, with tensors of one number as Python numbers.

    Raises:
        MethodError: it is nothing, or has several numbers under one name.
    """
    model.eval()
    with torch.no_grad():
        score = training.score(model)
    if isinstance(score, Mapping):
        return {name: _number(training, value, f" as {name!r}") for name, value in score.items()}
    return _number(training, score)


def _number(training: Any, value: Any, what: str = "") -> Any:
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    if value is None or (isinstance(value, Tensor | np.ndarray) and value.shape != ()):
        fix = "" if value is None else "return one number of these, such as their mean"
        raise _refusal(training, "score", _returned(value, what), fix)
    return value


# -------------------------------------------------------------------------------------------------
# Each seed has a model, an optimizer and a scheduler of its own.


class Made(NamedTuple):
    """What a training made for a seed, with copies of what no optimizer changes.

    Attributes:
        constant: the buffers and frozen parameters as they were before the first step.
    """

    model: nn.Module
    optimizer: Any = None
    scheduler: Any = None
    constant: Mapping[str, Tensor] = {}


def constants_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's buffers and frozen parameters."""
    return {name: one.clone() for name, one in _all_of(model).items() if not one.requires_grad}


def refuse_reused(training: Any, first: Made, second: Made) -> None:
    """Refuse a training whose seeds go on with what another seed has trained.

    A buffer or frozen parameter may be shared as long as no training changes it.

    Args:
        training: a user's.
        first: made for a seed.
        second: made for another one; its training has begun.

    Raises:
        MethodError: both have the same trained weights, optimizer or scheduler.
    """
    storages = set(map(_storage, _all_of(first.model).values())) - {None}
    for name, one in _all_of(second.model).items():
        before = second.constant.get(name)
        if _storage(one) in storages and (before is None or not torch.equal(before, one)):
            raise _reused(training, "model", "model", "weights")
    for what in ("optimizer", "scheduler"):
        one, other = getattr(first, what), getattr(second, what)
        if one is other and one is not None:
            raise _reused(training, what, what, "one")


def _reused(training: Any, method: str, what: str, same: str) -> MethodError:
    return MethodError(
        f"{method}() must build a new {what}: two calls returned the same {same}",
        place=type(training).__name__,
        fix=f"build it in `{method}`, not in __init__: otherwise a seed goes on where the seed "
        "before it has ended",
    )


def _all_of(model: nn.Module) -> dict[str, Tensor]:
    parameters, buffers = tensors_of(model)
    return parameters | buffers


def tensors_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of a model, by name."""
    return dict(model.named_parameters()), dict(model.named_buffers())


def _storage(tensor: Tensor) -> int | None:
    """Where a tensor's numbers lie; None if it has none yet, or several places, as a sparse one."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (NotImplementedError, RuntimeError, ValueError):
        return None
