"""What a command's exit and its last line say of a seed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from xortune.engine.command_process import LINE, Ran, signal_of
from xortune.engine.command_settings import EXIT_CODE, NUMBER
from xortune.engine.custom_result import SUCCESS, judged_one, not_finite, one_line
from xortune.errors import InputError
from xortune.outcome import Status
from xortune.success import VALUE, Success

__all__ = ["Verdict", "verdict_of"]

_CRASHED, _DIVERGED = int(Status.CRASHED), int(Status.DIVERGED)

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NONE = re.compile(r"([-+]?)(?:(nan)(?:\([^)]*\))?|(inf)(?:inity)?)", re.IGNORECASE)
_WORDS = re.compile(
    r'"(?:[^"\\]|\\.)*"|(?<![\w.])[-+]?(?:nan(?:\([^)]*\))?|inf(?:inity)?)(?![\w.])', re.IGNORECASE
)


@dataclass(frozen=True)
class Verdict:
    """What a seed ended as.

    Attributes:
        status: a `Status`.
        values: the numbers that it told, by name.
        reason: why it failed, on one line; None if it was trained to its end.
    """

    status: int
    values: Mapping[str, float]
    reason: str | None = None


def verdict_of(ran: Ran, success: Success | None, metric: str | None, *, by_exit: bool) -> Verdict:
    """Judge what a command came to.

    Any other exit code than 0 is a crash: nobody can tell a program that says no from one that
    broke. One that has to say no says it by a number, or true or false, and ends with 0.

    Args:
        ran: what came of it.
        success: the rule for its numbers; None if its exit code decides, or it says so itself.
        metric: as of `xortune.engine.command_settings.Command`; None if it tells no numbers.
        by_exit: whether its exit code decides.
    """
    if ran.problem is not None:
        return _crashed(ran.problem, ran)
    if ran.code is None or ran.code < 0:
        return _crashed(f"killed by {signal_of(ran.code or 0)}", ran)
    if ran.code > 0:
        return _crashed(f"exit code {ran.code}", ran)
    if metric is None:
        return Verdict(int(Status.SOLVED), {})
    try:
        told = _told(ran, metric)
        if by_exit:
            told = _with_exit(told)
        status, values = judged_one(told, success)
    except InputError as error:
        return Verdict(_CRASHED, {}, one_line(str(error)))
    if status == _DIVERGED and success is not None:
        return Verdict(status, values, not_finite(success.name, values[success.name]))
    return Verdict(status, values)


def _crashed(what: str, ran: Ran) -> Verdict:
    """With what it said last, which is mostly why."""
    last = _last(ran.stderr) or _last(ran.stdout)
    return Verdict(_CRASHED, {}, one_line(f"{what}: {last}" if last else what))


def _last(printed: bytes) -> str:
    """The last line that is not blank."""
    lines = re.split(r"[\r\n]+", printed.decode("utf-8", "replace"))  # \r: progress bars
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _told(ran: Ran, metric: str) -> object:
    """What the last line of stdout says.

    Raises:
        InputError: there is none, or it says nothing of that kind.
    """
    line = _last(ran.stdout)
    if not line:
        raise InputError("printed nothing on stdout", allowed=f"what `metric: {metric}` says")
    if not ran.whole and b"\n" not in ran.stdout.rstrip():
        raise InputError(f"the last line is longer than {LINE:,} bytes")
    shown = line if len(line) <= 120 else line[:117] + "..."
    if metric == NUMBER:
        if _NUMBER.fullmatch(line) or _NONE.fullmatch(line):
            return float(line.partition("(")[0])  # C prints nan(0x...) too
        raise InputError(f"the last line is {shown!r}", allowed="a number and nothing else")
    try:
        return json.loads(_WORDS.sub(lambda found: _python(found[0]), line))
    except (ValueError, RecursionError):  # ValueError: also a whole number of too many digits
        raise InputError(
            f"the last line is {shown!r}",
            allowed='JSON: a number, true, false, or an object of these such as {"accuracy": 0.9}',
        ) from None


def _python(word: str) -> str:
    """No number, as C and awk print it, as Python's parser of JSON reads it; texts stay."""
    found = _NONE.fullmatch(word)
    if found is None:
        return word
    if found[2]:
        return "NaN"
    return "-Infinity" if found[1] == "-" else "Infinity"


def _with_exit(told: object) -> object:
    """Numbers beside an exit code that has decided already.

    Raises:
        InputError: it says that it was none.
    """
    if told is True or told is False:
        told = {SUCCESS: told}
    elif isinstance(told, int | float):
        told = {VALUE: told}
    if not isinstance(told, dict):
        return told  # refused in the same words as without an exit code
    if told.get(SUCCESS) is False:
        raise InputError(
            f"says {SUCCESS} false, and ends with exit code 0",
            allowed=f"with success: {EXIT_CODE!r} an exit code that says the same",
        )
    return told if SUCCESS in told else {**told, SUCCESS: True}
