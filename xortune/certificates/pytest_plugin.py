"""A pytest plugin: `@pytest.mark.seeds(500, min_rate=0.95)`, a test of a training over seeds."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeAlias

import pytest

from xortune.certificates.plan import gate_seeds
from xortune.core.errors import InputError, named
from xortune.core.outcome import MAX_SEED
from xortune.core.seeds import MARK
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_evidence_below,
    anytime_interval,
    anytime_upper,
)

# -------------------------------------------------------------------------------------------------
# The course of a test over seeds: what came of each, what that proves, and how it is told.

SHOWN = 5
"""Failing seeds that are listed with their messages."""

LINE = 200
"""Letters of a message."""

EXAMPLE = "@pytest.mark.seeds(500, min_rate=0.95)"

Answer: TypeAlias = Literal["proven", "refuted", "undecided"]


class SeedsMark(NamedTuple):
    """What a mark asks for.

    Attributes:
        most: seeds, at most.
        min_rate: the success rate to prove.
        confidence: 1 minus the probability, at most, of a wrong answer.
        first: the first seed; the others follow it.
    """

    most: int
    min_rate: float
    confidence: float
    first: int


class SeedFailure(NamedTuple):
    """A seed that failed, and with what message."""

    seed: int
    message: str


def wanted(*given: object, **options: object) -> SeedsMark:
    """What is written in the brackets of a mark, checked.

    Raises:
        InputError: an argument too many, missing, of a wrong type or out of range; too few seeds
            to prove anything.
    """
    known = ("n", "min_rate", "confidence", "first")
    for name in options:
        if name not in known:
            raise InputError(
                f"unknown argument {name!r}", allowed=", ".join(known), fix=f"write {EXAMPLE}"
            )
    if len(given) > 1 or (given and "n" in options):
        raise InputError(
            f"{len(given) + ('n' in options)} values where the number of seeds is",
            allowed="the number of seeds, at most, and all else by its name",
            fix=f"write {EXAMPLE}",
        )
    most = given[0] if given else options.get("n")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InputError(
            "no number of seeds" if most is None else f"{most!r}",
            field="n",
            allowed="a whole number of seeds, at most, 1 or more",
            fix=f"write {EXAMPLE}",
        )
    if "min_rate" not in options:
        raise InputError(
            "nothing says what success rate is to be proven",
            field="min_rate",
            allowed="above 0 and below 1",
            fix=f"write {EXAMPLE}",
        )
    rate, confidence = _share("min_rate", options["min_rate"]), 0.95
    if "confidence" in options:
        confidence = _share("confidence", options["confidence"])
    first = options.get("first", MARK.start)
    if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first <= MAX_SEED:
        raise InputError(f"{first!r}", field="first", allowed="a seed from 0 to 2**32 - 1")
    if first + most - 1 > MAX_SEED:
        raise InputError(f"{most} seeds from {first}", field="n", allowed="none beyond 2**32 - 1")
    least = gate_seeds(rate, alpha=1 - confidence)
    if most < least:
        raise InputError(
            f"{most} seeds cannot prove {rate:g}, even if all of them pass",
            field="n",
            allowed=f"{least} or more",
            fix=f"give {least} or more, or ask for a lower rate",
        )
    return SeedsMark(most, rate, confidence, first)


class Course:
    """What came of the seeds so far, one after the other.

    Attributes:
        k: seeds that passed.
        n: seeds.
        failures: the first that failed.
        shown: the traceback of the very first.
        answer: None as long as it goes on.
    """

    def __init__(self, asked: SeedsMark) -> None:
        self.asked = asked
        self.k = self.n = 0
        self.failures: list[SeedFailure] = []
        self.shown = ""
        self.answer: Answer | None = None

    @property
    def next(self) -> int:
        """The seed that is not yet counted."""
        return self.asked.first + self.n

    @property
    def over(self) -> bool:
        """Whether the answer is known."""
        return self.answer is not None

    @property
    def passed(self) -> bool:
        """Whether the rate is proven."""
        return self.answer == "proven"

    def succeeded(self) -> None:
        """The next seed passed."""
        self.k += 1
        self._count()

    def failed(self, error: BaseException, shown: str) -> None:
        """The next seed failed.

        Args:
            error: what it raised.
            shown: its traceback; kept of the first.
        """
        if len(self.failures) < SHOWN:
            self.failures.append(SeedFailure(self.next, _one_line(error)))
        self.shown = self.shown or shown
        self._count()

    def _count(self) -> None:
        self.n += 1
        rate, enough = self.asked.min_rate, -math.log(1 - self.asked.confidence)
        left = self.asked.most - self.n
        if anytime_evidence_above(self.k, self.n, rate) >= enough:
            self.answer = "proven"
        elif anytime_evidence_below(self.k, self.n, rate) >= enough:
            self.answer = "refuted"
        elif not left or self._hopeless(left, enough):
            self.answer = "undecided"

    def _hopeless(self, left: int, enough: float) -> bool:
        """Whether nothing would be proven even if all seeds that are left passed.

        It can become so by a failure only.
        """
        if self.k == self.n:
            return False
        most = self.asked.most
        return bool(anytime_evidence_above(self.k + left, most, self.asked.min_rate) < enough)

    @property
    def line(self) -> str:
        """For the summary: `seeds: 88 of 88, proven 0.95`."""
        return f"seeds: {self.k} of {self.n}, {self.answer} {self.asked.min_rate:g}"

    @property
    def message(self) -> str:
        """Why the test failed: counts, bounds, the first seeds that failed, a traceback."""
        asked, alpha = self.asked, 1 - self.asked.confidence
        last = asked.first + self.n - 1
        told = f"{self.answer}: {self.k} of {self.n} seeds passed, "
        if self.answer == "refuted":
            bound = float(anytime_upper(self.k, self.n, alpha=alpha))
            told += f"so the success rate is below {asked.min_rate:g} (upper bound {bound:.4f}"
        else:
            low, high = map(float, anytime_interval(self.k, self.n, confidence=asked.confidence))
            told += (
                f"so {asked.min_rate:g} is not proven with {asked.most} seeds "
                f"(success rate {low:.4f} to {high:.4f}"
            )
        lines = [f"{told}, confidence {asked.confidence:g}, seeds {asked.first} to {last})"]
        lines += [f"  seed {failure.seed}: {failure.message}" for failure in self.failures]
        if (more := self.n - self.k - len(self.failures)) > 0:
            lines.append(f"  ... and {more} more")
        if self.shown:
            seed = self.failures[0].seed
            lines += ["", f"seed {seed} (alone: --only-seed {seed}):", "", self.shown]
        return "\n".join(lines)


def _share(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise InputError(
            f"{value!r}",
            field=name,
            allowed="above 0 and below 1",
            fix="no number of seeds proves a rate of 1; 0.99 takes 377" if value == 1 else None,
        )
    return float(value)


def _one_line(error: BaseException) -> str:
    """What it says, in one line."""
    line = " ".join(named(error).split())
    return line if len(line) <= LINE else line[: LINE - 3] + "..."


# -------------------------------------------------------------------------------------------------
# A pytest plugin: `@pytest.mark.seeds(500, min_rate=0.95)`, a test of a training over seeds.
#
# The test is called for one seed after the other until its success rate is proven to be above
# `min_rate`, or refuted, or can no longer be proven with the seeds that are left. It is the gate
# of `xortune.gate`, with the same bounds: they hold although one looks after every seed.
#
# Only pytest is imported here, and nothing is done for a test without the mark: a project that has
# xortune installed and does not use this does not notice it.

MARKER, SEED, ONLY = "seeds", "seed", "only_seed"

PROPERTY = "xortune_seeds"
"""Of a report, in which a worker of pytest-xdist sends its result to where it is shown."""

_SEED, _TAKEN = pytest.StashKey[int](), pytest.StashKey[int]()

_WANTED: pytest.StashKey[SeedsMark] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--only-seed N`."""
    group = parser.getgroup("seeds", "tests over seeds (xortune)")
    group.addoption(
        "--only-seed",
        type=int,
        metavar="N",
        help="call tests that are marked with seeds once, with this seed, as any other test",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the mark."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(n, *, min_rate, confidence=0.95, first=1207959552): call the test for up to n "
        "seeds, until its success rate is proven to be above min_rate, or not",
    )


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this call of a test that is marked with `@pytest.mark.seeds`."""
    stash = request.node.stash
    if _SEED not in stash:
        _refuse(
            f"the fixture {SEED!r} is xortune's, for tests that are marked: "
            "@pytest.mark.seeds(500, min_rate=0.95)"
        )
    stash[_TAKEN] = stash[_SEED]
    return int(stash[_SEED])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check the mark, and put the first seed where the fixture finds it."""
    mark = item.get_closest_marker(MARKER)
    if mark is None or not isinstance(item, pytest.Function):
        return

    _check(item)
    try:
        asked = wanted(*mark.args, **mark.kwargs)
    except InputError as error:
        _refuse(f"@pytest.mark.{MARKER}: {error}")
    only = item.config.getoption(ONLY)
    item.stash[_WANTED], item.stash[_SEED] = asked, asked.first if only is None else only


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call a marked test for one seed after the other; all others are pytest's."""
    asked = pyfuncitem.stash.get(_WANTED, None)
    if asked is None:
        return None
    if pyfuncitem.stash.get(_TAKEN, None) != pyfuncitem.stash[_SEED]:
        _refuse(
            f"the test is called with another {SEED!r} than xortune's: remove the fixture or the "
            "parameter of that name"
        )
    if pyfuncitem.config.getoption(ONLY) is not None:
        return None

    course = Course(asked)
    while True:
        _call(pyfuncitem, course)
        if course.over:
            break
        _renew(pyfuncitem, course.next)
    pyfuncitem.user_properties.append((PROPERTY, course.line))
    if not course.passed:
        pytest.fail(course.message, pytrace=False)
    return True


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A line for each test over seeds that was run; nothing if there was none."""
    lines = [
        f"{report.nodeid}: {text}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, text in report.user_properties
        if name == PROPERTY
    ]
    if lines:
        terminalreporter.ensure_newline()
        terminalreporter.section("seeds")
        for line in lines:
            terminalreporter.write_line(line)


def _check(item: pytest.Function) -> None:
    """Refuse tests that cannot be called for each seed."""
    if SEED not in item.fixturenames:
        _refuse(f"the test takes no {SEED!r}: write it as def {item.originalname}({SEED}, ...)")
    unittest = sys.modules.get("unittest")
    if unittest is not None and item.cls is not None and issubclass(item.cls, unittest.TestCase):
        _refuse("a unittest.TestCase cannot be called for each seed: write a function or a class")
    if inspect.iscoroutinefunction(item.obj) or inspect.isasyncgenfunction(item.obj):
        _refuse("an async test cannot be called for each seed: call asyncio.run() in the test")


def _call(item: pytest.Function, course: Course) -> None:
    """One seed: it passes, or fails by whatever it raises."""
    names = inspect.signature(item.obj).parameters
    arguments = {name: item.funcargs[name] for name in names if name in item.funcargs}
    try:
        returned = item.obj(**arguments)
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except (pytest.skip.Exception, pytest.xfail.Exception) as ended:
        _refuse_later(course, ended)
        raise
    except BaseException as error:  # pytest.fail and sys.exit are no Exception
        course.failed(error, _shown(item, error) if not course.failures else "")
        return
    if returned is not None:
        _refuse(f"the test returned {type(returned).__name__}, which says nothing: use assert")
    course.succeeded()


def _shown(item: pytest.Function, error: BaseException) -> str:
    """The traceback as pytest shows it."""
    return str(item.repr_failure(pytest.ExceptionInfo.from_exception(error)))


def _refuse_later(course: Course, ended: BaseException) -> None:
    """The first seed may end the test by pytest.skip. Later none may: a seed is never left out."""
    if course.n:
        how = "skipped" if isinstance(ended, pytest.skip.Exception) else "expected to fail"
        _refuse(
            f"seed {course.next} was {how} ({ended}), after {course.n} that were not: a seed is "
            "never left out. Skip the whole test, or let the seed fail"
        )


def _renew(item: pytest.Function, seed: int) -> None:
    """End what belongs to one call (its fixtures, its instance) and make it for the next seed.

    What raises here is no result of a seed: a fixture that fails is an error of the test.
    """
    item.stash[_SEED] = seed
    state, noted = item.session._setupstate, dict(item.stash._storage)
    with _told_of(seed):
        parent = item.parent
        assert parent is not None
        # All that is kept for the nodes above stays: fixtures of classes, modules and the session.
        state.teardown_exact(parent)  # type: ignore[arg-type]
        for key, value in noted.items():  # tmp_path removes what it will look for once more
            item.stash.setdefault(key, value)
        item._initrequest()
        if item.cls is not None:
            for name in ("_instance", "_obj"):  # each seed gets an instance of its own
                item.__dict__.pop(name, None)
        state.setup(item)


@contextmanager
def _told_of(seed: int) -> Iterator[None]:
    try:
        yield
    except pytest.skip.Exception as skipped:
        _refuse(f"a fixture skipped seed {seed} ({skipped}): a seed is never left out")
    except Exception as error:
        error.add_note(f"in a fixture, before seed {seed}")
        raise


def _refuse(text: str) -> None:
    """End the test with a sentence instead of a traceback."""
    fail: Callable[..., Any] = pytest.fail
    fail(text, pytrace=False)
