"""A pytest plugin: `@pytest.mark.seeds(500, min_rate=0.95)`, a test of a training over seeds.

The test is called for one seed after the other until its success rate is proven to be above
`min_rate`, or refuted, or can no longer be proven with the seeds that are left. It is the gate of
`xortune.gate`, with the same bounds: they hold although one looks after every seed.

Only pytest is imported here, and nothing is done for a test without the mark: a project that has
xortune installed and does not use this does not notice it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xortune.certificates.gate import SequentialTest
    from xortune.certificates.seeds_mark import Course

MARKER, SEED, ONLY = "seeds", "seed", "only_seed"

PROPERTY = "xortune_seeds"
"""Of a report, in which a worker of pytest-xdist sends its result to where it is shown."""

_SEED, _TAKEN = pytest.StashKey[int](), pytest.StashKey[int]()
_WANTED: pytest.StashKey[SequentialTest] = pytest.StashKey()


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
    from xortune.certificates.seeds_mark import wanted
    from xortune.core.errors import InputError

    _check(item)
    try:
        asked = wanted(*mark.args, **mark.kwargs)
    except InputError as error:
        _refuse(f"@pytest.mark.{MARKER}: {error}")
    only = item.config.getoption(ONLY)
    item.stash[_WANTED], item.stash[_SEED] = asked, asked.first_seed if only is None else only


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call a marked test for one seed after the other; all others are pytest's."""
    test = pyfuncitem.stash.get(_WANTED, None)
    if test is None:
        return None
    if pyfuncitem.stash.get(_TAKEN, None) != pyfuncitem.stash[_SEED]:
        _refuse(
            f"the test is called with another {SEED!r} than xortune's: remove the fixture or the "
            "parameter of that name"
        )
    if pyfuncitem.config.getoption(ONLY) is not None:
        return None

    from xortune.certificates.seeds_mark import Course

    course = Course(test)
    _call(pyfuncitem, course)
    while course.answer is None:
        _renew(pyfuncitem, course.next)
        _call(pyfuncitem, course)
    pyfuncitem.user_properties.append((PROPERTY, course.line))
    if course.answer != "proven":
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
        if course.n:  # the first seed may end the test so, later none may
            how = "skipped" if isinstance(ended, pytest.skip.Exception) else "expected to fail"
            _refuse(
                f"seed {course.next} was {how} ({ended}), after {course.n} that were not: a seed "
                "is never left out. Skip the whole test, or let the seed fail"
            )
        raise
    except BaseException as error:  # pytest.fail and sys.exit are no Exception
        info = pytest.ExceptionInfo.from_exception(error)
        course.count(error, "" if course.failures else str(item.repr_failure(info)))
        return
    if returned is not None:
        _refuse(f"the test returned {type(returned).__name__}, which says nothing: use assert")
    course.count()


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
