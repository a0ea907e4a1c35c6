"""What the methods of a `TorchTraining` must give. Each other result is refused in a sentence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any

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
    "report_every": ("a positive whole number of epochs, or None", "leave it out"),
    "clip_norm": ("a positive number, or None", "leave it out"),
    "model": ("a new torch.nn.Module", "end it with `return` and the model"),
    "optimizer": (
        "a new torch.optim.Optimizer",
        'return one, such as torch.optim.Adam(parameters, lr=self.config["lr"])',
    ),
    "batches": (
        "tuples of tensors: what `loss` takes after the model",
        "write `yield x, y`, or `yield (x,)` for a loss(self, model, x)",
    ),
    "loss": (
        "a tensor of one number that has a gradient",
        "end it with `return` and the loss, a mean say, without .item(), .detach() and .numpy()",
    ),
    "score": (RETURNS, "end it with `return` and the score; of several numbers return their mean"),
}
"""By the name of an attribute or a method: what it must be or give, and how."""


def _refusal(training: Any, name: str, problem: str) -> MethodError:
    allowed, fix = _MUST[name]
    place = f"{type(training).__name__}.{name}"
    return MethodError(problem, place=place, allowed=allowed, fix=fix)


def _returned(result: Any, what: str = "") -> str:
    if result is None:
        return f"returned nothing{what}"
    shape = tuple(getattr(result, "shape", ()))
    return f"returned {kind_of(result)}{f' of shape {shape}' if shape else ''}{what}"


def given_to(training: Any) -> Mapping[str, Any]:
    """The configuration that the object of a training was made with.

    Raises:
        MethodError: it has not kept what `__init__` was given.
    """
    given: Mapping[str, Any] | None = getattr(training, "_given", None)
    if given is None:
        raise _refusal(training, "config", "is not set")
    return given


def _is(kind: type, value: Any) -> Any:
    return isinstance(value, kind) and not isinstance(value, bool)


def epochs_of(training: Any) -> int:
    """The number of epochs.

    Raises:
        MethodError: it is not set, or no whole number.
    """
    epochs: Any = getattr(training, "epochs", None)
    if not _is(Integral, epochs) or epochs < 0:
        raise _refusal(training, "epochs", "is not set" if epochs is None else f"is {epochs!r:.60}")
    return int(epochs)


def refuse_attributes(training: Any) -> None:
    """Refuse other attributes than a loop over epochs can use.

    Raises:
        MethodError: `report_every` is no number of epochs, or `clip_norm` no positive number.
    """
    for name, kind in (("report_every", Integral), ("clip_norm", Real)):
        value = getattr(training, name)
        if value is not None and not (_is(kind, value) and value > 0):
            raise _refusal(training, name, f"is {value!r:.60}")


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


def step(training: Any, model: nn.Module, optimizer: Any, batch: Sequence[Any]) -> None:
    """Train a model on a batch, in the loop.

    Raises:
        MethodError: its loss is no tensor of one number with a gradient.
    """

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = training.loss(model, *batch)
        if not (isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad):
            is_number = isinstance(loss, Tensor) and loss.numel() == 1
            raise _refusal(training, "loss", _returned(loss, " without a gradient" * is_number))
        loss.backward()  # type: ignore[no-untyped-call]
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        return loss

    if _needs_closure(type(optimizer).step):
        optimizer.step(closure)
    else:  # an optimizer of the user's may read gradients before it calls a closure, or call none
        closure()
        optimizer.step()


@cache
def _needs_closure(of_optimizer: Callable[..., Any]) -> bool:
    """Whether the method `step` of an optimizer needs a closure, as that of `LBFGS` does."""
    closure = inspect.signature(of_optimizer).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


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
        raise _refusal(training, "score", _returned(value, what))
    return value


def tensors_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of a model, by name."""
    return dict(model.named_parameters()), dict(model.named_buffers())
