"""How a user's function is called: what it takes, what it reports on the way, what it keeps."""

from __future__ import annotations

import inspect
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import GeneratorType
from typing import Any

from xortune.engine.custom_result import numbers_told
from xortune.errors import InputError
from xortune.trainer import Block

__all__ = [
    "PLAIN",
    "Calls",
    "Form",
    "GivenUp",
    "Reports",
    "TookTooLong",
    "asked_of_reports",
    "form_of",
]

MANY, REPORT, RUN = "seeds", "report", "run"
"""Names that say how a function is called: of its second parameter, of a parameter of its own, and
of a class's method."""

KEPT = 8
"""So many objects of a user's class are kept in a process, those that were used last."""


class TookTooLong(BaseException):
    """A seed was at it for longer than it may; no `except Exception` of its own ends that."""


class GivenUp(BaseException):
    """What is trained is of no interest any more."""


@dataclass(frozen=True)
class Form:
    """What a user's function takes.

    Attributes:
        many: all seeds of a block at once.
        reports: a `report`, to be called with intermediate results.
        state: it is a class, of which an object is made for a config; its `run` trains.
        yields: it is a generator function, which yields intermediate results.
    """

    many: bool = False
    reports: bool = False
    state: bool = False
    yields: bool = False

    @property
    def words(self) -> str:
        """What it is called with."""
        seeds = MANY if self.many else "seed"
        taken = f"{seeds}, {REPORT}" if self.reports else seeds
        notes = ["all of a block at once"] * self.many + ["a generator"] * self.yields
        if self.state:
            about = f"; {', '.join(notes)}" if notes else ""
            return f"config: a class, whose {RUN} is called with {taken}{about}"
        return f"config, {taken}" + (f": {', '.join(notes)}" if notes else "")


PLAIN = Form()


def form_of(function: Callable[..., Any], label: str) -> Form:
    """What a function takes, by the names of its parameters.

    Args:
        function: of the user.
        label: what it is called, for messages.

    Raises:
        InputError: it cannot be called with a config and a seed.
    """
    state = inspect.isclass(function)
    called = getattr(function, RUN, None) if state else function
    if not callable(called):
        raise InputError(
            f"{label} is a class without a method {RUN}",
            field="trainer",
            allowed=f"a class that is made with a config, and whose {RUN} trains a seed",
            fix=f"add `def {RUN}(self, seed)`, or name a function",
        )
    first: Any = {}
    try:
        if state:
            inspect.signature(function).bind({})
            bound = inspect.getattr_static(function, RUN)
            first = None if inspect.isfunction(bound) else inspect.Parameter.empty
        signature = inspect.signature(called)
        reports = REPORT in signature.parameters
        given = () if first is inspect.Parameter.empty else (first,)
        signature.bind(*given, 0, **({REPORT: None} if reports else {}))
    except (TypeError, ValueError) as error:
        what = f"{label} cannot be called with a config and a seed ({error})"
        fix = f"write it as f(config, seed), or f(config, {MANY}) for all seeds of a block at once"
        if state:
            fix = (
                f"write it as __init__(self, config), and {RUN}(self, seed) or {RUN}(self, {MANY})"
            )
        raise InputError(what, field="trainer", fix=fix) from None
    names = [p.name for p in signature.parameters.values() if p.kind != p.KEYWORD_ONLY]
    many = len(names) > len(given) and names[len(given)] == MANY
    return Form(many, reports, state, inspect.isgeneratorfunction(called))


class Reports:
    """The intermediate results of one call; it is the `report` that a function may take.

    Attributes:
        count: how many there are.
        last: the last one as it was told; None as long as there is none.
        numbers: its numbers; none where many seeds are trained at once.

    Args:
        limit: seconds for a seed; None for any time.
        many: how many seeds are trained at once; None if it is called for one alone.
        block: what is trained, to ask whether it is given up.
    """

    __slots__ = ("_began", "_block", "_ended", "_limit", "_many", "count", "last", "numbers")

    def __init__(
        self, limit: float | None = None, *, many: int | None = None, block: Block | None = None
    ) -> None:
        self.count, self._block = 0, block
        self.last: Any = None
        self.numbers: Mapping[str, float] = {}
        self._limit, self._many = limit, many
        self._began = 0.0 if limit is None else time.monotonic()
        self._ended: BaseException | None = None

    def __call__(self, told: Any) -> None:
        """Note what a training has come to so far: what it could return if this were its end.

        Args:
            told: true or false, a number, a dict of numbers; of many seeds arrays of these.

        Raises:
            InputError: it is nothing of that.
            TookTooLong: the seed has taken longer than it may.
            GivenUp: nobody wants to know any more.
        """
        if self._many is None:
            self.numbers = numbers_told(told, "reported")
        self.last = dict(told) if isinstance(told, Mapping) else told  # it may be filled again
        self.count += 1
        if self._late():
            each = f" for each of {self._many} seeds" if self._many else ""
            self._ended = TookTooLong(f"took longer than {self._limit:g} s{each}")
        elif _asked is not None and self._block is not None and _asked(self._block):
            self._ended = GivenUp()
        self.check()

    def _late(self) -> bool:
        if self._limit is None:
            return False
        return time.monotonic() - self._began > self._limit * (self._many or 1)

    def check(self) -> None:
        """Raise what has ended the seed, though its function may have caught it."""
        if self._ended is not None:
            raise self._ended


_NONE = Reports()
"""Of a function that reports nothing."""

_asked: Callable[[Block], bool] | None = None


@contextmanager
def asked_of_reports(given_up: Callable[[Block], bool] | None) -> Iterator[None]:
    """Each report in this process asks whether the block that is trained has been given up."""
    global _asked  # noqa: PLW0603  # a function of the user's stands between us and its reports
    before, _asked = _asked, given_up
    try:
        yield
    finally:
        _asked = before


_states: OrderedDict[tuple[Callable[..., Any], str], Any] = OrderedDict()


class Calls:
    """The calls of a user's function for one config, one after the other.

    Args:
        function: of the user.
        form: what it takes.
        block: the config, and which of its seeds.
        limit: seconds for a seed, looked at with each report; None for any time.
    """

    def __init__(
        self, function: Callable[..., Any], form: Form, block: Block, limit: float | None
    ) -> None:
        self._function, self._form, self._block, self._limit = function, form, block, limit
        self._config = block.point.as_dict()
        self._plain = not (form.reports or form.state)
        self.reports = _NONE

    def __call__(self, seeds: Any) -> Any:
        """What comes of a seed, or of many; `reports` has what came before.

        Raises:
            Exception: what the function raises.
        """
        if self._plain:
            self.reports = _NONE
            returned = self._function(self._config.copy(), seeds)
            if type(returned) is not GeneratorType:
                return returned
            return self._drained(returned, self._begun(seeds))
        self.reports = self._begun(seeds)
        try:
            given = {REPORT: self.reports} if self._form.reports else {}
            if self._form.state:
                returned = self._state().run(seeds, **given)
            else:
                returned = self._function(self._config.copy(), seeds, **given)
            if type(returned) is GeneratorType:
                return self._drained(returned, self.reports)
        except BaseException:
            _states.pop((self._function, self._block.point.key), None)  # whatever state it is in
            raise
        return self._ended(returned)

    def _drained(self, steps: GeneratorType[Any, Any, Any], reports: Reports) -> Any:
        """What a generator comes to, each step of which is a report."""
        self.reports = reports
        with closing(steps):
            while True:
                try:
                    told = next(steps)
                except StopIteration as end:
                    return self._ended(end.value)
                reports(told)

    def _begun(self, seeds: Any) -> Reports:
        many = len(seeds) if self._form.many else None
        return Reports(self._limit, many=many, block=self._block)

    def _ended(self, returned: Any) -> Any:
        self.reports.check()
        return self.reports.last if returned is None else returned

    def _state(self) -> Any:
        """The object for the config, made anew if it is not there."""
        name = self._function, self._block.point.key
        if name not in _states:
            _states[name] = self._function(self._config.copy())
            while len(_states) > KEPT:
                _states.popitem(last=False)
        _states.move_to_end(name)
        return _states[name]
