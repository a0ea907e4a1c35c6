"""The errors that users meet: few, each with a message that says what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DisturbedError",
    "Halted",
    "InputError",
    "Interrupted",
    "TrainingError",
    "XortuneError",
    "named",
    "nearest",
]


class XortuneError(Exception):
    """Every error that xortune raises on purpose; its text is meant for the user."""


class InputError(XortuneError, ValueError):
    """Something the user gave is not usable.

    The message has the form ``place: problem; allowed: ...; fix: ...``. ``field`` is the name of
    the parameter or key at fault, so that a caller who knows the file can add the line.
    """

    def __init__(
        self,
        problem: str,
        *,
        field: str | None = None,
        place: str | None = None,
        allowed: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.problem, self.field, self.allowed, self.fix = problem, field, allowed, fix
        self.place = place or field
        super().__init__(problem, field, place, allowed, fix)

    def __str__(self) -> str:
        parts = [f"{self.place}: {self.problem}" if self.place else self.problem]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.fix:
            parts.append(f"fix: {self.fix}")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way from a Ray worker to the driver."""
        parts = {name: getattr(self, name) for name in ("field", "place", "allowed", "fix")}
        return _rebuild, (type(self), self.problem, parts)

    def at(self, place: str) -> InputError:
        """The same error, told where it was found."""
        return type(self)(
            self.problem, field=self.field, place=place, allowed=self.allowed, fix=self.fix
        )


class DisturbedError(InputError):
    """Somebody replaced or removed a run's files while it was written to.

    What had finished is kept, and the run can be resumed.
    """


class TrainingError(XortuneError):
    """A block of seeds produced no outcome: the reason, in the words of what failed."""


class Halted(XortuneError):
    """What a search runs on has gone; what had finished is kept, and the search can be resumed.

    It is in the run at `place`, if that is known.
    """

    place: str | None = None


class Interrupted(KeyboardInterrupt):
    """The user ended a search: what had finished is in the run at `place`, and can be resumed."""

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(place)


def _rebuild(kind: type[InputError], problem: str, parts: dict[str, str | None]) -> InputError:
    return kind(problem, **parts)


def nearest(name: str, known: Iterable[str]) -> str:
    """A fix that names the known word closest to `name`, or all of them if none is close."""
    names = sorted(known)
    lower = {known_name.lower(): known_name for known_name in names}
    match = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    return f"did you mean {lower[match[0]]!r}?" if match else "use one of: " + ", ".join(names)


def named(error: BaseException) -> str:
    """`ValueError: what it says`, of somebody else's exception, whose own __str__ may fail."""
    try:
        text = str(error)
    except Exception:
        text = "(it cannot be shown)"
    return f"{type(error).__name__}: {text}" if text.strip() else type(error).__name__
