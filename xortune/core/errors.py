"""The errors that users see: few, each with a message that says what to do next."""

from __future__ import annotations

import difflib
import importlib.util
import math
import re
import resource
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal


class XortuneError(Exception):
    """Base class of all errors that xortune raises on purpose; its text is for the user."""


class Unavailable(XortuneError):
    """A training raises it when its error says nothing of the training: try again later.

    For a rate limit, a lost mount, a service that is down. The seed is tried again with growing
    waits. If it is still not available it is void: in no count, and listed.

    Args:
        reason: what is shown of it.
        retry_after: seconds before the next try, in place of the usual wait; such as what the
            header Retry-After of an answer says.

    Raises:
        InputError: `retry_after` is no number of seconds.

    Example:
        >>> def run(config, seed):
        ...     try:
        ...         answer = ask(config, seed)
        ...     except ConnectionError as error:
        ...         raise xt.Unavailable(str(error), retry_after=10) from error
        ...     return answer == EXPECTED
    """

    def __init__(self, *reason: object, retry_after: float | None = None) -> None:
        if retry_after is not None:
            allowed = "seconds, 0 or more"
            check_number("retry_after", retry_after, lambda s: 0 <= s < math.inf, allowed)
        super().__init__(*reason)
        self.retry_after = retry_after


class InputError(XortuneError, ValueError):
    """An input of the user is not usable.

    The message has the form ``place: problem; allowed: ...; fix: ...``; a problem of several lines
    has the fix on a line of its own. ``field`` names the parameter or key at fault, so that a
    caller who knows the file can add the line. Place, ``allowed`` and fix name options of the
    command line; `worded` turns them into arguments for a caller from Python.
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
        place = worded(self.place) if self.place else ""
        parts = [f"{place}: {self.problem}" if place else self.problem]
        if self.allowed:
            parts.append(f"allowed: {worded(self.allowed)}")
        if self.fix:
            parts.append(f"fix: {worded(self.fix)}")
        return ("\n" if "\n" in self.problem else "; ").join(parts)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the message, which says what to do."""
        return [f"{type(self).__name__}: {self}"]

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all parts on the way from a Ray worker to the driver."""
        parts = {name: getattr(self, name) for name in ("field", "place", "allowed", "fix")}
        return partial(type(self), **parts), (self.problem,)

    def at(self, place: str) -> InputError:
        """The same error with another place."""
        return type(self)(
            self.problem, field=self.field, place=place, allowed=self.allowed, fix=self.fix
        )


class DisturbedError(InputError):
    """A run's files were replaced or removed, or its store did not answer after an interrupt.

    Finished results are kept, and the run can be resumed.
    """


class TrainingError(XortuneError):
    """A block of seeds produced no outcome; the text is the reason.

    Attributes:
        outcome: what had finished, where a verb ends because too many seeds could not be tried: of
            `evaluate` and `gate` an `Outcome`, of `compare` a tuple with one for each contestant,
            of `certify` the `Certificate`. None of what has no finished seed.
    """

    def __init__(self, *reason: object, outcome: Any = None) -> None:
        super().__init__(*reason)
        self.outcome = outcome


class Halted(XortuneError):
    """Ray ended during a search. Finished results are kept, and the search can be resumed."""

    place: str | None = None
    """The run directory, if it is known."""


class Interrupted(KeyboardInterrupt):
    """The user interrupted a search. Finished results are in the run at `place`; it can resume."""

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(place)


def refuse_given(allowed: str, **options: object) -> None:
    """Refuse options that have no meaning here.

    Raises:
        InputError: an option is neither None nor False.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            raise InputError(f"{value!r}", field=name, allowed=allowed, fix="leave it out")


def kind_of(value: object) -> str:
    """The type of a value, in words: `an int`; None is itself."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def with_kind(value: object) -> str:
    """A value and its type, in words: `3 is an int`; None is `None` alone."""
    shown = " ".join(repr(value).split())[:60]
    return shown if value is None else f"{shown} is {kind_of(value)}"


def check_type(name: str | None, value: object, kinds: type | UnionType, allowed: str) -> None:
    """Check the type of an argument.

    Raises:
        InputError: it is of none of these kinds.
    """
    if not isinstance(value, kinds):
        raise InputError(with_kind(value), field=name, allowed=allowed)


def check_number(
    name: str, value: float, is_good: Callable[[float], bool], allowed: str, fix: str | None = None
) -> None:
    """Check a real number.

    Raises:
        InputError: it is none, or not good.
    """
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    if not is_real or not is_good(value):
        problem = f"{value!r:.60} is {'out of range' if is_real else 'no number'}"
        raise InputError(problem, field=name, allowed=allowed, fix=fix)


def check_share(name: str, value: float) -> None:
    """Check a rate, a risk or a confidence.

    Raises:
        InputError: it is no number, or lies outside (0, 1).
    """
    certain = value == 1 and name == "min_rate"
    fix = "no number of seeds proves a rate of 1; 0.99 takes 377" if certain else of_percent(value)
    check_number(name, value, lambda share: 0 < share < 1, "above 0 and below 1", fix)


def of_percent(value: object) -> str | None:
    """The fix where a share was given in percent: `write 0.95 for 95 %`; None for other values."""
    if isinstance(value, int | float) and 1 < value < 100:
        return f"write {value / 100:g} for {value:g} %"
    return None


def check_count(name: str, value: int, least: int = 1, most: int | None = None) -> None:
    """Check a whole number.

    Raises:
        InputError: it is none, or lies outside [least, most].
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        raise InputError(
            f"{value!r} is {'out of range' if whole else 'no whole number'}",
            field=name,
            allowed=f"{least:,} or more" if most is None else f"{least:,} to {most:,}",
        )


def refuse_unknown(
    name: object,
    known: Iterable[str],
    problem: str,
    *,
    field: str | None = None,
    place: str | None = None,
) -> None:
    """Refuse an unknown name, with all known names and the nearest one.

    Raises:
        InputError: the name is not known.
    """
    names = tuple(known)
    if name not in names:
        allowed, fix = ", ".join(names), nearest(str(name), names, listed=True)
        raise InputError(problem, field=field, place=place, allowed=allowed, fix=fix)


def nearest(name: str, known: Iterable[str], *, listed: bool = False) -> str:
    """A fix that names the known word closest to `name`, or all known words if none is close.

    Args:
        name: what was given.
        known: what may be given.
        listed: whether the error lists the known words already, as what is allowed.
    """
    names = sorted(known)
    others = "use one of these" if listed else "use one of: " + ", ".join(names)
    return closest(name, names) or others


def closest(name: str, known: Iterable[str]) -> str | None:
    """A fix that names the known word closest to `name`; None if none is close."""
    names = sorted(known)
    lower = {known_name.lower(): known_name for known_name in names}
    typed = name.lower()
    match = difflib.get_close_matches(typed, list(lower), n=1, cutoff=0.65)
    if not match and len(typed) > 1:  # an abbreviation, such as acc
        match = [k for k in lower if k.startswith(typed) or (len(k) > 1 and typed.startswith(k))]
    return f"did you mean {lower[match[0]]!r}?" if match else None


_FLAGS = "resume extend accept-versions extendable different-tasks missing-fails sequential reuse"
_OTHERS = (
    "output trials sampler seed time-budget address engine confidence key rate between "
    "neighbourhood success seeds workers max-seeds min-rate min-mean min max of bounds"
)
_IN_PYTHON = {
    **{name: name.replace("-", "_") for name in _OTHERS.split()},
    **{name: f"{name.replace('-', '_')}=True" for name in _FLAGS.split()},
    "no-check": "check=False",
    "tensorboard": "xt.TensorBoard()",
    "mlflow": "xt.MLflow(URI)",
    "wandb": "xt.WandB()",
    "tracker": "another Tracker",
}
"""What Python has in place of an option."""

_OPTION = re.compile(
    r"`[^`]*`"  # a command, to be typed as it is
    r"|--(?P<list>config|ignore)(?: (?P<items>[^\s;]+))?"
    r"|--(?P<option>[a-z][a-z-]*)(?: (?P<value>\d[\w.]*(?: \d[\w.]*)?|auto\b|[A-Z]{2,}\b))?"
)
_command: Sequence[str] | None = None


@contextmanager
def from_command_line(command: Sequence[str]) -> Iterator[None]:
    """Within this context errors name options of the command line, not arguments of Python."""
    global _command  # noqa: PLW0603  # for the process: a command may use threads
    before, _command = _command, tuple(command)
    try:
        yield
    finally:
        _command = before


def command_line() -> list[str] | None:
    """The command line that this process executes; None if it was called from Python."""
    return None if _command is None else list(_command)


def worded(text: str) -> str:
    """A sentence with options such as `--resume`; in Python with `resume=True` in their place."""
    return _OPTION.sub(_argument, text) if _command is None else text


def _argument(found: re.Match[str]) -> str:
    if found["list"]:
        items = found["items"]
        return found["list"] if items is None else f"{found['list']}={items.split(',')!r}"
    option, value = str(found["option"]), found["value"]
    if option.endswith("-per-trial"):
        return f"{option.removesuffix('-per-trial')} of xt.Ray"
    name = _IN_PYTHON.get(option)
    if name is None or value is None:
        return name or found[0]
    if option not in _OTHERS.split():  # the value is a word of the sentence
        return f"{name} {value}" if option in _FLAGS.split() else name
    first, *others = map(_literal, value.split())
    return f"{name}=({', '.join([first, *others])})" if others else f"{name}={first}"


def _literal(text: str) -> str:
    """The Python literal of a command-line value."""
    try:
        float(text)
    except ValueError:
        words = {"none": "None", "null": "None", "true": "True", "false": "False"}
        return words.get(text, repr(text))
    return text


def error_text(error: BaseException) -> str:
    """`ValueError: text` of any exception, even of one whose `__str__` fails."""
    try:
        text = str(error)
    except Exception:
        text = "(it cannot be shown)"
    return f"{type(error).__name__}: {text}" if text.strip() else type(error).__name__


_NO_MEMORY = ("failed to map segment", "cannot allocate memory", "shared object")
"""What the system's loader says where a library does not fit into the memory."""


def memory_fix(error: BaseException) -> str | None:
    """What to do about an error for which a limit of this process's memory is to blame, or None."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    loading = isinstance(error, ImportError | OSError)
    blamed = isinstance(error, MemoryError) or (
        loading and any(words in str(error).lower() for words in _NO_MEMORY)
    )
    if limit == resource.RLIM_INFINITY or not blamed:
        return None
    return (
        f"this process may use {limit / 2**20:,.0f} MiB of memory, which is too little; raise the "
        "limit, `ulimit -v unlimited`"
    )


# -------------------------------------------------------------------------------------------------
# A broken setup is not a worse model: which failures of seeds say that nothing has trained.

FIRST_SEEDS = 3
"""After so many seeds that all failed for a certain cause no further one is tried."""

NO_PROGRAM = {"SyntaxError", "IndentationError", "TabError", "ImportError", "ModuleNotFoundError"}
"""Exceptions of a text that is no program here: no configuration changes that."""

NOT_BEGUN = {
    *("NameError", "UnboundLocalError", "AttributeError", "TypeError", "KeyError"),
    *("FileNotFoundError", "NotADirectoryError", "IsADirectoryError", "PermissionError"),
    "NotImplementedError",
}
"""Exceptions of a program that does not fit what it is given, or lacks a file. All others, such as
RuntimeError, ValueError and MemoryError, are results: a training that diverges raises them."""

_EXCEPTION = re.compile(r"(?:exit code \d+: )?(?:\w+\.)*(\w+)(?::|$)")

_NOT_STARTED = re.compile(
    r"exit code 12[67]\b"  # of a shell: it cannot be run, it is not there
    r"|exit code 2: .*can(?:'|no)t open"  # of an interpreter: its script
    r"|exit code 2: [^:]+: error: "  # of argparse: its options
    r"|cannot be started: .*(?:No such file|Permission denied|Not a directory|Exec format error)",
    re.IGNORECASE,
)

_NO_NUMBER = ("the regex ", "printed nothing", "the last line is ")
"""How the reasons of a command that printed no number begin."""


def broken_setup(reasons: Collection[str]) -> Literal["input", "outcome"] | None:
    """What it says that all seeds so far failed, before any training, for these reasons.

    They failed in the same way if the reasons differ in digits only.

    Returns:
        "input" if the cause is certain: no program, no script, refused options, or a result that
        the rule cannot judge; "outcome" if they say nothing of the training; None if they are
        results, or differ.
    """
    if len({re.sub(r"\d+", "0", reason) for reason in reasons}) != 1:
        return None
    reason = next(iter(reasons))
    found = _EXCEPTION.match(reason)
    exception = found[1] if found else ""
    if exception in NO_PROGRAM or _NOT_STARTED.match(reason) or reason.startswith("returned "):
        return "input"
    return "outcome" if exception in NOT_BEGUN or reason.startswith(_NO_NUMBER) else None


def require(what: str, *packages: str) -> None:
    """Return if the packages that `xortune-core` leaves out are installed.

    Args:
        what: what needs them, as the message begins.
        packages: of torch, numba and ray.

    Raises:
        InputError: one of them is not installed.
    """
    for package in packages:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:  # a folder of this name, without a package
            raise InputError(
                f"{what} needs {package}, which xortune-core leaves out",
                fix="pip uninstall xortune-core, then pip install xortune",
            )
