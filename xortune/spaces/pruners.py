"""Pruners of Optuna that may end seeds early: `search: {pruner: median}`.

To add one, add a value to `PRUNERS`: the space file's schema, its messages and documents follow.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xortune.core.errors import InputError, nearest
from xortune.spaces.yaml_reader import quoted


@dataclass(frozen=True)
class Pruner:
    """A pruner that a space file may name.

    Attributes:
        name: in the space file.
        about: which seeds it prunes, for the documents.
        kind: the class of `optuna.pruners`, whose arguments the space file may give.
        fixed: arguments that the space file may not give.
    """

    name: str
    about: str
    kind: str
    fixed: Mapping[str, object] = field(default_factory=dict)

    def make(self, arguments: Mapping[str, object]) -> Any:
        """Optuna's pruner.

        Raises:
            InputError: an argument is unknown, missing, or not allowed.
        """
        kind = getattr(importlib.import_module("optuna.pruners"), self.kind)
        known = [name for name in inspect.signature(kind).parameters if name not in self.fixed]
        for name in arguments:
            if name not in known:
                problem = f"{self.name} has no argument {quoted(name)}"
                fix = nearest(name, known, listed=True)
                raise InputError(problem, allowed=", ".join(known), fix=fix)
        try:
            with warnings.catch_warnings():  # Optuna's, that one is experimental
                warnings.simplefilter("ignore")
                return kind(**self.fixed, **arguments)
        except (TypeError, ValueError) as error:
            allowed = f"the arguments of optuna.pruners.{self.kind}: {', '.join(known)}"
            raise InputError(f"{self.name}: {error}", allowed=allowed) from None


ALONE = {"wrapped_pruner": None}

PRUNERS = (
    Pruner("median", "its best number is worse than the median of others", "MedianPruner"),
    Pruner("percentile", "it is not among this percentage, the best ones", "PercentilePruner"),
    Pruner("hyperband", "halving, in brackets, leaves it out", "HyperbandPruner"),
    Pruner("patient", "it has not improved for so many reports", "PatientPruner", ALONE),
    Pruner("threshold", "its number is beyond a limit", "ThresholdPruner"),
)


@dataclass(frozen=True)
class ChosenPruner:
    """The pruner of a search, with its arguments."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def make(self) -> Any:
        """Optuna's pruner, as of `Pruner.make`."""
        return next(one for one in PRUNERS if one.name == self.name).make(dict(self.arguments))

    @property
    def written(self) -> str | dict[str, Any]:
        """As a space file has it."""
        return {"name": self.name, **dict(self.arguments)} if self.arguments else self.name


def chosen_pruner(given: object) -> ChosenPruner | None:
    """The pruner that a space file names, or describes by a mapping with its name.

    Raises:
        InputError: it does not.
    """
    if given is None:
        return None
    names = [one.name for one in PRUNERS]
    arguments = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = arguments.pop("name", None)
    if name not in names:
        missing = isinstance(given, Mapping) and name is None
        problem = "a pruner without its name" if missing else f"unknown pruner {quoted(name)}"
        fix = nearest(name, names, listed=True) if isinstance(name, str) else None
        raise InputError(problem, allowed=", ".join(names), fix=fix)
    chosen = ChosenPruner(name, tuple(arguments.items()))
    chosen.make()
    return chosen


SCHEMA = {
    "anyOf": [
        {"type": "string", "enum": [one.name for one in PRUNERS]},
        {
            "type": "object",
            "properties": {"name": {"enum": [one.name for one in PRUNERS]}},
            "required": ["name"],
        },
        {"type": "null"},
    ]
}
"""The JSON Schema of a pruner in a space file."""
