"""Config: the settings of the built-in network, validated at construction.

The names are torch's class names. They are listed because only `trainers/` may import torch; a test
compares the lists with torch. To add one, see CONTRIBUTING.md: the stacked engine
(`trainers/reference.py`) needs the name alone, the fused one also a formula
(`trainers/kernels/formulas.py`), and an optimizer a case in `trainers/fused.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property

from xortune.core.errors import (
    InputError,
    check_count,
    check_number,
    check_type,
    nearest,
    refuse_unknown,
)
from xortune.core.point import Point

MOST_EPOCHS = 2**30
"""Maximum epochs of a training, as in space files: files store an epoch in 32 bits."""

MOST_LR = 1e30
"""Maximum learning rate: the steps of torch.optim raise an error where no float32 holds it, divided
by what corrects a bias."""

SOFTMAX_LIKE = ("LogSoftmax", "Softmax", "Softmin")
"""Activations that normalise over the hidden axis; the others act on each unit alone."""

ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh"),
    *("LeakyReLU", "LogSigmoid", "Mish", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid"),
    *("Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink"),
    *SOFTMAX_LIKE,
)
"""torch.nn activations that are stateless, deterministic and need no arguments."""

LOSSES = (
    *("BCELoss", "BCEWithLogitsLoss", "HingeEmbeddingLoss", "KLDivLoss", "L1Loss"),
    *("MSELoss", "MultiLabelSoftMarginLoss", "PoissonNLLLoss", "SmoothL1Loss"),
    *("SoftMarginLoss",),
)
"""torch.nn losses, each applied to the sigmoid output and the 0/1 target."""

OPTIMIZERS = (
    *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam"),
    *("RMSprop", "Rprop", "SGD"),
)
"""torch.optim optimizers whose step is elementwise, so that seeds can be stacked in one tensor."""

MOMENTUM_OPTIMIZERS = ("RMSprop", "SGD")
"""Optimizers with an argument ``momentum``."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One configuration of the built-in network: what is trained, how, and for how long.

    Attributes:
        activation: torch.nn class name between the two layers; None is the purely linear network.
        loss: torch.nn class name, with torch's default arguments.
        optimizer: torch.optim class name, with torch's default arguments but lr and momentum.
        lr: learning rate, above 0, at most 1e30.
        momentum: of SGD and RMSprop, finite and at least 0, also 1 or more; 0.0 for others.
        hidden_dim: units of the hidden layer, at least 1.
        epochs: optimizer steps, each over all rows of the task, 1 to 2**30.
        zero_grad: False accumulates gradients from step to step, like a script that never calls
            ``optimizer.zero_grad()``.

    Raises:
        InputError: a value has the wrong type or is out of range, torch does not have a name, or
            the optimizer has no momentum.
    """

    activation: str | None
    loss: str
    optimizer: str
    lr: float
    momentum: float = 0.0
    hidden_dim: int
    epochs: int
    zero_grad: bool = True

    def __post_init__(self) -> None:
        _check_name("activation", self.activation, ACTIVATIONS)
        _check_name("loss", self.loss, LOSSES)
        _check_name("optimizer", self.optimizer, OPTIMIZERS)
        own = vars(self)  # frozen: the normal forms (5.0 -> 5, numpy scalars, -0.0) are set here
        allowed, fix = (
            f"a number above 0, at most {MOST_LR}",
            "write it as a number, without quotes",
        )
        check_number("lr", self.lr, lambda lr: 0 < lr <= MOST_LR, allowed, fix)
        allowed = "a finite number, 0 or more"
        check_number("momentum", self.momentum, lambda m: 0 <= m < math.inf, allowed, fix)
        own["lr"], own["momentum"] = float(self.lr), float(self.momentum) + 0.0
        for name, most in (("hidden_dim", None), ("epochs", MOST_EPOCHS)):
            number = own[name]
            if isinstance(number, float) and number.is_integer():
                number = int(number)
            check_count(name, number, most=most)
            own[name] = int(number)
        check_type("zero_grad", self.zero_grad, bool, "true or false")
        if self.momentum and self.optimizer not in MOMENTUM_OPTIMIZERS:
            raise InputError(
                f"{self.momentum} with optimizer {self.optimizer}, which has no momentum",
                field="momentum",
                allowed="momentum for " + " and ".join(MOMENTUM_OPTIMIZERS) + " only",
                fix="leave momentum out, choose another optimizer, or in a space file add"
                f" `when: {{optimizer: [{', '.join(MOMENTUM_OPTIMIZERS)}]}}`",
            )

    @classmethod
    def from_point(cls, point: Mapping[str, object]) -> Config:
        """The config of a point of a search space.

        Raises:
            InputError: a name is no field of Config, a field is missing, or Config refuses a value.
        """
        values = point.as_dict() if isinstance(point, Point) else dict(point)
        for name in values:
            if name not in _FIELDS:
                problem = "is not a parameter of the built-in network"
                refuse_unknown(name, sorted(_FIELDS), problem, field=name)
        for name in _NEEDED:
            if name not in values:
                raise InputError(
                    "is missing",
                    field=name,
                    allowed="a setting of the built-in network",
                    fix=f"give {name} a value (or a range in a space), or name your own trainer",
                )
        return cls(**values)  # __post_init__ checks every type

    @cached_property
    def point(self) -> Point:
        """The normal form: every field; momentum only for an optimizer that has it."""
        values = vars(self).copy()  # the fields, in their order
        if self.optimizer not in MOMENTUM_OPTIMIZERS:
            del values["momentum"]
        return Point.unchecked(values)

    @property
    def key(self) -> str:
        """The key of the normal form; see `Point.key`."""
        return self.point.key


_FIELDS = tuple(field.name for field in fields(Config))
_NEEDED = tuple(field.name for field in fields(Config) if field.default is MISSING)


def _check_name(field: str, name: object, known: tuple[str, ...]) -> None:
    more = ", or null for no activation" if field == "activation" else ""
    if name in known or (more and name is None):
        return
    fix = nearest(name, known) if isinstance(name, str) else "give the name as a string"
    allowed = ", ".join(known) + more
    raise InputError(f"unknown {field} {name!r}", field=field, allowed=allowed, fix=fix)
