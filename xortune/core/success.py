"""The rule for success where a training returns numbers: comparisons with limits."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, check_type

VALUE = "value"
"""Name given to a number that the training returns unnamed."""

EXACT = 1e15
"""Whole limits below this are shown in digits: `loss < 100`, not `loss < 100.0`."""

_COSTS = frozenset(
    (
        *("loss", "error", "err", "cost", "regret", "mse", "rmse", "mae", "mape", "nll", "bce"),
        *("perplexity", "ppl", "wer", "cer", "fid", "kl", "distance", "divergence", "brier"),
        *("time", "seconds", "steps", "latency", "failures"),
    )
)
"""Words in the names of numbers that are to be small."""

_GAINS = frozenset(
    (
        *("return", "returns", "reward", "rewards", "score", "accuracy", "acc", "auc", "auroc"),
        *("f1", "precision", "recall", "r2", "bleu", "rouge", "iou", "dice", "map", "mrr", "ndcg"),
    )
)
"""Words in the names of numbers that are to be large."""

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_RULE = re.compile(
    r"\s*(?P<name>[^\W\d][\w.\-/]*)\s*(?P<sign>>=|<=|==|!=|>|<)\s*"
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"
)
_AND = re.compile(r"\s+and\s+")


class Limit(NamedTuple):
    """Where a number becomes a success: a line in a figure, and what it says."""

    at: float
    text: str


class Rule:
    """What makes a seed a success that returns numbers; all that need it ask these methods.

    A new kind of rule is a subclass in this file, and, if users can write it, its reader in
    `READERS`. Here the methods are those of a rule whose `parts` all have to hold.

    Attributes:
        asks: whether it asks anything of a number but that it is finite.
        parts: rules that all have to hold.
    """

    asks: ClassVar[bool] = True
    parts: tuple[Rule, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the numbers that it judges; none: all that the training returns."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.names))

    def judge(self, numbers: Mapping[str, Any]) -> bool | NDArray[np.bool_]:
        """Whether finite numbers are a success, in their own precision.

        A number of NumPy or torch in single precision is compared in that: 19/20 is at least 0.95,
        also where it is the float32 0.94999999.

        Args:
            numbers: by name the number of a seed, or those of S seeds, shape (S,).
        """
        return reduce(operator.and_, (part.judge(numbers) for part in self.parts), True)

    def direction(self, name: str, numbers: NDArray[Any] | None = None) -> bool | None:
        """Whether the better of two of these numbers is the larger one; None if it says neither.

        Tables and figures ask `larger_is_better`, which always has an answer.

        Args:
            name: of the number; a rule says nothing of a number that it does not judge.
            numbers: those that are known, of any shape; what is not finite says nothing.
        """
        return _sole(part.direction(name, numbers) for part in self.parts if name in part.names)

    def ordering(self, name: str, numbers: NDArray[Any] | None = None) -> bool | None:
        """The `direction`, if of any two numbers the better one is no worse by the rule."""
        return _sole(part.ordering(name, numbers) for part in self.parts if name in part.names)

    def distance(self, name: str, number: float) -> float:
        """How far a number is from what the rule asks of it; 0 if that is what it asks."""
        return max((part.distance(name, number) for part in self.parts), default=0.0)

    def limits(self, name: str) -> tuple[Limit, ...]:
        """The lines at which this number becomes a success, or no success any more."""
        return tuple(limit for part in self.parts for limit in part.limits(name))


def _sole(directions: Iterable[bool | None]) -> bool | None:
    """The direction that all have; None without any, or if they differ."""
    found = set(directions)
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Success(Rule):
    """A rule for one number, such as ``accuracy >= 0.9``."""

    name: str
    sign: str
    limit: float

    @property
    def names(self) -> tuple[str, ...]:
        """The name of its number."""
        return (self.name,)

    def judge(self, numbers: Mapping[str, Any]) -> bool | NDArray[np.bool_]:
        """Compare with the limit."""
        number, compare = numbers[self.name], _COMPARE[self.sign]
        if not isinstance(number, np.ndarray | np.generic):
            return bool(compare(number, self.limit))
        if number.ndim:
            return np.asarray(compare(number, self.limit))
        return bool(compare(np.reshape(number, 1), self.limit))  # NumPy 1: scalars as doubles

    def direction(self, name: str, numbers: NDArray[Any] | None = None) -> bool | None:
        """By the comparison.

        Of `==` the better number is nearer to the limit, so it is the larger one where numbers lie
        below it, or farther below than above. Where there are none, the limit is taken for the end
        of what the number can be: the least if it is 0, unless more is better by the name, else the
        greatest. `!=` distinguishes no two numbers but the limit, and so says nothing.
        """
        if name != self.name or self.sign == "!=":
            return None
        if self.sign != "==":
            return self.sign[0] == ">"
        below, above = self._beside(numbers)
        if below != above:
            return below > above
        return self.limit != 0 or is_gain(self.name)

    def ordering(self, name: str, numbers: NDArray[Any] | None = None) -> bool | None:
        """The `direction`; of `==` only where all numbers lie on one side of the limit.

        If none is known yet, only where the name agrees with the limit: `failures == 0`.
        """
        if name == self.name and self.sign == "==":
            below, above = self._beside(numbers)
            alike = is_gain(self.name) if self.limit else is_cost(self.name)
            if (below and above) or not (below or above or alike):
                return None
        return self.direction(name, numbers)

    def distance(self, name: str, number: float) -> float:
        """From the limit."""
        held = name != self.name or _COMPARE[self.sign](number, self.limit)
        return 0.0 if held else abs(number - self.limit)

    def limits(self, name: str) -> tuple[Limit, ...]:
        """The limit."""
        return (Limit(self.limit, str(self)),) if name == self.name else ()

    @classmethod
    def read(cls, text: str) -> Self | None:
        """A name, a comparison and a finite number; nothing in it is evaluated."""
        found = _RULE.fullmatch(text)
        if found is None or not math.isfinite(limit := float(found["number"])):
            return None
        return cls(found["name"], found["sign"], limit)

    def _beside(self, numbers: NDArray[Any] | None) -> tuple[float, float]:
        """How far numbers lie below the limit, and how far above it; 0 if none does."""
        known = np.empty(0) if numbers is None else numbers[np.isfinite(numbers)]
        least, most = float(known.min(initial=self.limit)), float(known.max(initial=self.limit))
        return self.limit - least, most - self.limit  # of Python's floats: they may be infinite

    def __str__(self) -> str:
        whole = self.limit.is_integer() and abs(self.limit) < EXACT
        return f"{self.name} {self.sign} {int(self.limit) if whole else repr(self.limit)}"


@dataclass(frozen=True)
class Conjunction(Rule):
    """Two comparisons or more that all have to hold: ``accuracy >= 0.9 and loss < 0.2``."""

    parts: tuple[Rule, ...]

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Comparisons with `and` between them."""
        parts = tuple(map(Success.read, _AND.split(text)))
        known = tuple(part for part in parts if part is not None)
        return cls(known) if 1 < len(parts) == len(known) else None

    def __str__(self) -> str:
        return " and ".join(map(str, self.parts))


@dataclass(frozen=True)
class Finite(Rule):
    """No rule: all numbers are as good, so a seed only fails if it ends without finite ones."""

    names: tuple[str, ...] = ()
    asks: ClassVar[bool] = False

    def __str__(self) -> str:
        return " ".join((FINITE, ", ".join(self.names) or "numbers"))


READERS: tuple[Callable[[str], Rule | None], ...] = (Success.read, Conjunction.read)
"""The kinds of rules that users write; each reads its own, and nothing else."""

FINITE = "finite"
"""The first word of a `Finite` as text, which no rule begins with."""


def has_rule(text: object) -> bool:
    """Whether the text of a rule asks anything of a number but that it is finite."""
    return not str(text or "").startswith(f"{FINITE} ")


def is_name(text: str) -> bool:
    """Whether a rule can refer to a number of this name."""
    return re.fullmatch(r"[^\W\d][\w.\-/]*", text) is not None


def is_cost(name: str) -> bool:
    """Whether less of a number is better, judged by its name: `loss`, `val_error`."""
    words = re.split(r"[\W_]+", name.lower())
    return any(word in _COSTS or word.endswith(("loss", "error")) for word in words)


def is_gain(name: str) -> bool:
    """Whether more of a number is better, judged by its name: `return`, `val_accuracy`."""
    return not is_cost(name) and not _GAINS.isdisjoint(re.split(r"[\W_]+", name.lower()))


def larger_is_better(
    name: str, rules: Iterable[Rule | None], numbers: NDArray[Any] | None = None
) -> bool:
    """Whether more of a number is better: by the rules that judge it, else by its name.

    The name decides, too, where rules contradict each other. `numbers` are those that are known.
    """
    told = (rule.direction(name, numbers) for rule in rules if rule is not None)
    directions = {direction for direction in told if direction is not None}
    return directions.pop() if len(directions) == 1 else not is_cost(name)


def judged_numbers(text: object) -> tuple[str, ...]:
    """What the text of a rule is about: the names of its numbers, whatever the limits.

    `success` where there is none, so that results are successes or not themselves.
    """
    shown = str(text or "success")
    rule = _read(shown)
    return rule.names if rule else (shown if has_rule(shown) else FINITE,)


def rule_for(name: str) -> str:
    """A rule to suggest for a number; the user chooses the limit."""
    return f"{name} <= 0.1" if is_cost(name) else f"{name} >= 0.9"


def _read(text: str) -> Rule | None:
    return next((rule for read in READERS if (rule := read(text)) is not None), None)


def parse_success(text: str) -> Rule:
    """Read a rule; nothing in it is evaluated.

    Raises:
        InputError: none of `READERS` reads it.
    """
    check_type("success", text, str, "a rule, such as 'accuracy >= 0.9'")
    if (rule := _read(text)) is not None:
        return rule
    start = re.match(r"\s*([^\W\d][\w.\-/]*)", text)
    name = start[1] if start and len(start[1]) <= 40 else "accuracy"
    shown = text if len(text) <= 60 else text[:57] + "..."
    raise InputError(
        f"{shown!r} is not a rule",
        field="success",
        allowed=f"a name, one of {', '.join(_COMPARE)}, and a number; or several of these, "
        "with `and` between them",
        fix=f'write for instance "{rule_for(name)}"; a number without a name is called "{VALUE}"',
    )


def rule_in(text: object) -> Rule | None:
    """The rule that a manifest or an imported table names; None if it names none."""
    return _read(str(text))
