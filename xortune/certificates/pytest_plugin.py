"""A pytest plugin: `@pytest.mark.seeds(500, min_rate=0.95)`, a test of a training over seeds.

The test is called for one seed after another until its success rate is proven to be at least
`min_rate`, is refuted, or can no longer be proven with the remaining seeds. The rule is that of
`xortune.gate`; its answers hold although the test looks after every seed. With
`@pytest.mark.seeds(200, min=190, of="iqm")` the test returns a number, whose statistic is proven.

This module imports only pytest and does nothing for tests without the mark, because pytest loads it
in every project of an environment with xortune.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from xortune.certificates.gate import NumberTest, SequentialTest
    from xortune.certificates.seeds_mark import SeedsToCall
    from xortune.core.trainer import Outages

MARKER, SEED, ONLY = "seeds", "seed", "only_seed"

PROPERTY = "xortune_seeds"
"""The property of a report in which a worker of pytest-xdist sends the line of the summary."""

OUTAGE = "xortune_outage"
"""The property of a report on a test of which too many seeds could not be tried."""

_SEED, _TAKEN = pytest.StashKey[int](), pytest.StashKey[int]()
_TEST: pytest.StashKey[SequentialTest | NumberTest] = pytest.StashKey()
_WORKERS = pytest.StashKey[int]()
_SEEDS: pytest.StashKey[SeedsToCall] = pytest.StashKey()
_OUTAGES: pytest.StashKey[Outages] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--only-seed N`."""
    group = parser.getgroup("seeds", "tests over seeds (xortune)")
    group.addoption(
        "--only-seed",
        type=int,
        metavar="N",
        help="call tests that are marked with seeds once, with this seed, as any other test",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(n, *, min_rate, confidence=0.95, first=1207959552, workers=1, retry=(), "
        "retry_wait=None, max_void=0.05): call the test for up to n seeds, until its success rate "
        "is proven to be at least min_rate, or not; with min_mean=, or min= or max= and of=, in "
        "its place a statistic of the number that the test returns, within bounds=; an async test "
        "is awaited for `workers` seeds at once; a seed that raises xortune.Unavailable, or an "
        "exception of `retry`, is tried again, and void in the end",
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
    """Check the mark and store the first seed for the fixture."""
    mark = item.get_closest_marker(MARKER)
    if mark is None or not isinstance(item, pytest.Function):
        return
    from xortune.certificates.seeds_mark import parse_mark
    from xortune.core.errors import InputError

    _check(item)
    here = [node for node, _ in item.iter_markers_with_node(MARKER)]
    if (count := here.count(here[0])) > 1:
        _refuse(
            f"{count} marks @pytest.mark.{MARKER} on one test: one of them would not hold; write "
            "one, or a test for each (a mark of a test replaces that of its class or module)"
        )
    try:
        test, workers, outages = parse_mark(*mark.args, **mark.kwargs)
        _check_workers(item, workers)
    except InputError as error:
        _refuse(f"@pytest.mark.{MARKER}: {error}")
    only = item.config.getoption(ONLY)
    item.stash[_WORKERS], item.stash[_OUTAGES] = workers, outages
    item.stash[_TEST], item.stash[_SEED] = test, test.first_seed if only is None else only


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call a marked test for one seed after another; leave other tests to pytest."""
    test = pyfuncitem.stash.get(_TEST, None)
    if test is None:
        return None
    if pyfuncitem.stash.get(_TAKEN, None) != pyfuncitem.stash[_SEED]:
        _refuse(
            f"the test is called with another {SEED!r} than xortune's: remove the fixture or the "
            "parameter of that name"
        )
    if pyfuncitem.config.getoption(ONLY) is not None:
        if not inspect.iscoroutinefunction(pyfuncitem.obj):
            return None
        asyncio.run(pyfuncitem.obj(**_arguments(pyfuncitem)))
        return True

    from xortune.certificates.seeds_mark import Outage, SeedsToCall

    _refuse_again(pyfuncitem)
    seeds = pyfuncitem.stash[_SEEDS] = SeedsToCall(test, pyfuncitem.stash[_OUTAGES])
    try:
        if (workers := pyfuncitem.stash[_WORKERS]) > 1:
            asyncio.run(_await_many(pyfuncitem, seeds, workers))
        else:
            _call_each(pyfuncitem, seeds)
    except Outage as outage:
        pyfuncitem.user_properties.append((OUTAGE, str(outage)))
        _refuse(str(outage))
    pyfuncitem.user_properties.append((PROPERTY, seeds.line))
    if seeds.judged.answer != "proven":
        pytest.fail(seeds.message, pytrace=False)
    return True


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    """A test without an answer, because too many seeds could not be tried, is no failed test."""
    is_outage = report.failed and any(
        name == OUTAGE for name, _ in getattr(report, "user_properties", ())
    )
    return ("error", "E", "ERROR") if is_outage and report.when == "call" else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write a line for each test over seeds that ran."""
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
    if inspect.isasyncgenfunction(item.obj):
        _refuse("an async test that yields cannot be called for each seed: write it without yield")


def _check_workers(item: pytest.Function, workers: int) -> None:
    """Refuse a number of seeds at once for a test whose seeds need each other's end."""
    if workers == 1:
        return
    if not inspect.iscoroutinefunction(item.obj):
        _refuse(f"workers={workers} is for async tests: write it as async def, or drop workers")
    if more := set(inspect.signature(item.obj).parameters) - {SEED}:
        _refuse(
            f"workers={workers} is for tests that take {SEED!r} alone, since fixtures are set up "
            f"for one seed after the other, and it takes {', '.join(sorted(more))}: drop workers, "
            "or make in the test what it needs"
        )


def _refuse_again(item: pytest.Function) -> None:
    """Refuse a test that a plugin such as pytest-rerunfailures runs again: one answer counts."""
    before = item.stash.get(_SEEDS, None)
    if before is None or not (n := before.judged.n):
        return
    told = before.message if before.judged.answer else f"{before.k} of {n} seeds passed"
    _refuse(
        "the test is run again, although its seeds have been counted: a rate that is tried until "
        "it is proven is not proven. Exclude it from reruns: @pytest.mark.flaky(reruns=0)\n"
        f"its first run: {told}"
    )


def _arguments(item: pytest.Function) -> dict[str, Any]:
    names = inspect.signature(item.obj).parameters
    return {name: item.funcargs[name] for name in names if name in item.funcargs}


def _call_each(item: pytest.Function, seeds: SeedsToCall) -> None:
    """Call the test for one seed after another."""
    is_set_up = True  # for the first seed
    while seeds.judged.answer is None:
        if (seed := seeds.next()) is None:
            time.sleep(seeds.seconds or 0.0)
            continue
        if not is_set_up:
            _renew(item, seed)
        is_set_up = False
        _take(item, seeds, seed, _ended(lambda: _returned(item)))


def _returned(item: pytest.Function) -> Any:
    """What a call of the test returns."""
    if inspect.iscoroutinefunction(item.obj):
        return asyncio.run(item.obj(**_arguments(item)))
    return item.obj(**_arguments(item))


async def _await_many(item: pytest.Function, seeds: SeedsToCall, workers: int) -> None:
    """Await the test for several seeds at once."""
    awaited: dict[asyncio.Task[Any], int] = {}
    try:
        while seeds.judged.answer is None:
            while len(awaited) < workers and (seed := seeds.next()) is not None:
                awaited[asyncio.create_task(item.obj(seed))] = seed
            if not awaited:
                await asyncio.sleep(seeds.seconds or 0.0)
                continue
            limit = seeds.seconds if len(awaited) < workers else None
            done, _ = await asyncio.wait(awaited, timeout=limit, return_when="FIRST_COMPLETED")
            for task in done:
                _take(item, seeds, awaited.pop(task), _ended(task.result))
    finally:
        for task in awaited:
            task.cancel()
        await asyncio.gather(*awaited, return_exceptions=True)


def _ended(result: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What a result is given, or what is raised."""
    try:
        return result(), None
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except BaseException as error:  # pytest.fail and sys.exit raise no Exception
        return None, error


def _take(
    item: pytest.Function, seeds: SeedsToCall, seed: int, ended: tuple[Any, BaseException | None]
) -> None:
    """Take what came of a seed; what its test raises is a failure."""
    (returned, error), before = ended, seeds.judged.n
    if seeds.judged.answer is not None:
        return  # it ended beside the deciding one
    if error is not None and seeds.says_nothing(error):
        seeds.put_off(seed, error)
        return
    if isinstance(error, pytest.skip.Exception | pytest.xfail.Exception):
        if before:  # only the first seed may end the test in this way
            how = "skipped" if isinstance(error, pytest.skip.Exception) else "expected to fail"
            _refuse(
                f"seed {seed} was {how} ({error}), after {before} that were not: a "
                "seed is never left out. Skip the whole test, or let the seed fail"
            )
        raise error
    number = math.nan
    if seeds.takes_number:
        if error is None:
            number = _number(returned)
    elif returned is not None:
        _refuse(f"the test returned {type(returned).__name__}, which says nothing: use assert")

    def shown() -> str:
        assert error is not None
        return str(item.repr_failure(pytest.ExceptionInfo.from_exception(error)))

    seeds.add(seed, error, shown, number)


def _number(returned: Any) -> float:
    """The number that a test returns; one that is not finite is a failed seed."""
    try:
        return float(returned)
    except (TypeError, ValueError):
        _refuse(f"the test returned {type(returned).__name__}, and its mark asks for a number")


def _renew(item: pytest.Function, seed: int) -> None:
    """Tear down what belongs to one call (fixtures, instance) and set it up for the next seed.

    An exception here is an error of the test, not the result of a seed.
    """
    from xortune.core.private import set_up_again

    item.stash[_SEED] = seed
    try:
        set_up_again(item)
    except pytest.skip.Exception as skipped:
        _refuse(f"a fixture skipped seed {seed} ({skipped}): a seed is never left out")
    except Exception as error:
        error.add_note(f"in a fixture, before seed {seed}")
        raise


def _refuse(text: str) -> NoReturn:
    """End the test with a sentence instead of tracebacks, also of what is being handled."""
    raise pytest.fail.Exception(text, pytrace=False) from None
