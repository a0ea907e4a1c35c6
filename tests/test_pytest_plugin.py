"""The pytest plugin: tests over seeds, run by pytest as a user's are."""

import os
import random
import re
import subprocess
import sys
import time
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from compared import seeds_of

import xortune as xt
from xortune.certificates.gate import SequentialTest
from xortune.certificates.plan import gate_seeds
from xortune.certificates.seeds_mark import SeedsToCall, parse_mark
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.seeds import MARK

pytest_plugins = ["pytester"]
NAMED = ("-p", "xortune.certificates.pytest_plugin")


@pytest.fixture
def ran(pytester, request):
    """Runs a test file; its result."""
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider")
    # Where xortune was installed before it had the plugin, it is named.
    named = () if request.config.pluginmanager.has_plugin("xortune") else NAMED

    def run(text, *words):
        pytester.makepyfile("import pytest\n" + text)
        return pytester.runpytest_inprocess(*named, *words)

    return run


def test_it_stops_at_the_seed_that_proves_it(ran, pytester):
    result = ran("""
@pytest.mark.seeds(500, min_rate=0.95)
def test_x(seed):
    with open("seeds", "a") as file:
        print(seed, file=file)
""")
    result.assert_outcomes(passed=1)
    seeds = (pytester.path / "seeds").read_text().split()
    assert list(map(int, seeds)) == list(MARK[: gate_seeds(0.95)])
    result.stdout.fnmatch_lines(["*= seeds =*", "*.py::test_x: seeds: 74 of 74, proven 0.95"])


def test_a_failed_test_names_its_seeds_their_messages_and_a_traceback(ran):
    result = ran("""
@pytest.mark.seeds(100, min_rate=0.9, first=0)
def test_x(seed):
    loss = 0.25 * seed
    if seed == 2:
        raise ValueError("no such thing")
    assert loss > 1, f"loss {loss}"

@pytest.mark.seeds(80, min_rate=0.95, first=0)
def test_undecided(seed):
    assert seed != 30
""")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [  # as soon as it cannot be proven any more
            "undecided: 30/31 seeds passed, success rate 0.*, so 0.95 cannot be proven any more "
            "with 80 seeds (confidence 0.95, seeds 0 to 30)",
            "*::test_undecided: seeds: 30 of 31, undecided 0.95",
        ]
    )
    result.stdout.fnmatch_lines_random(
        [
            "refuted: 0/* seeds passed, success rate below 0.9 (confidence 0.95, seeds 0 *",
            "  seed 0: AssertionError: loss 0.0*",
            "seed 0 (alone: --only-seed 0):",
            "E       AssertionError: loss 0.0",
            "E       assert 0.0 > 1",
        ]
    )
    assert "pytest_plugin.py" not in result.stdout.str()


def test_a_test_that_cannot_begin_is_no_answer(ran):
    result = ran("""
@pytest.mark.seeds(100, min_rate=0.9, first=0)
def test_lacks(seed):
    import nothing_of_this_name

@pytest.mark.seeds(100, min_rate=0.9, first=0)
def test_undefined(seed):
    assert train(seed) > 1

@pytest.mark.seeds(100, min_rate=0.9, first=0)
def test_diverges(seed):
    raise RuntimeError("nan")

@pytest.mark.seeds(100, min_rate=0.9, first=0)
def test_fails(seed):
    assert seed < 0
""")
    result.assert_outcomes(failed=4)
    broken = "no outcome: all 2 seeds failed in the same way, before any training (*"
    result.stdout.fnmatch_lines(
        [
            broken,
            "*import nothing_of_this_name",
            "E *ModuleNotFoundError: No module named 'nothing_of_this_name'",
            broken,
            "*NameError: name 'train' is not defined",
            "refuted: 0/2 seeds passed, *",
            "refuted: 0/2 seeds passed, *",
            "*test_lacks: seeds: 0 of 2, no outcome for 0.9",
            "*test_undefined: seeds: 0 of 2, no outcome for 0.9",
            "*test_diverges: seeds: 0 of 2, refuted 0.9",
            "*test_fails: seeds: 0 of 2, refuted 0.9",
        ]
    )


def test_fixtures_of_functions_and_instances_are_new_for_each_seed_and_others_stay(ran):
    result = ran("""
made, ended, sessions, modules = [], [], [], []

@pytest.fixture
def model(seed, tmp_path):
    made.append((seed, tmp_path))
    yield f"model {seed}"
    ended.append(seed)

@pytest.fixture(scope="module")
def data():
    modules.append(1)
    return "data"

@pytest.fixture(autouse=True)
def counted():
    sessions.append(1)

@pytest.mark.seeds(100, min_rate=0.9, first=0)
def test_x(model, seed, data, monkeypatch, capsys, request):
    assert model == f"model {seed}"
    assert len(ended) == seed
    print("heard", seed)
    assert capsys.readouterr().out == f"heard {seed}\\n"
    assert "SEED" not in __import__("os").environ
    monkeypatch.setenv("SEED", "1")
    assert request.getfixturevalue("model") == model

def test_after():
    n = len(made)
    assert n > 10 and len({path for _, path in made}) == n
    assert ended == [seed for seed, _ in made] == list(range(n))
    assert (len(modules), len(sessions)) == (1, n + 1)

up = []

@pytest.mark.seeds(100, min_rate=0.9)
class TestTraining:
    def setup_method(self):
        up.append(self)
        self.fresh = True

    def test_one(self, seed):
        assert self.fresh
        self.fresh = False

    @pytest.mark.seeds(9, min_rate=0.5)
    def test_nearer_mark(self, seed):
        assert self.fresh

def test_instances():
    assert len(set(map(id, up))) == len(up) > 12
""")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        ["*::TestTraining::test_one: seeds: * proven 0.9", "*::test_nearer_mark: seeds: * 0.5"]
    )


def test_parameters_k_xfail_and_one_seed_alone(ran):
    text = """
@pytest.mark.parametrize("lr", [0.1, 9.0])
@pytest.mark.seeds(100, min_rate=0.9)
def test_x(seed, lr):
    assert lr < 1, seed

@pytest.mark.xfail(strict=True, reason="known")
@pytest.mark.seeds(100, min_rate=0.9)
def test_known(seed):
    assert False
"""
    result = ran(text)
    result.assert_outcomes(passed=1, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(["*test_x[[]0.1]: seeds: * proven 0.9", "*9.0]: seeds: 0 of *"])
    result = ran(text, "-k", "0.1")
    result.assert_outcomes(passed=1, deselected=2)
    assert result.stdout.str().count(": seeds: ") == 1
    result = ran(text, "--only-seed", "123", "-k", "test_x")
    result.assert_outcomes(passed=1, failed=1, deselected=1)
    result.stdout.fnmatch_lines(["E       AssertionError: 123", "E       assert 9.0 < 1"])
    assert "seeds: " not in result.stdout.str()


def test_what_is_no_answer_of_a_seed(ran):
    result = ran("""
seeds = pytest.mark.seeds(100, min_rate=0.9, first=0)

@seeds
def test_first(seed):
    pytest.skip("no data")

@seeds
def test_later(seed):
    if seed == 5:
        pytest.skip("hard")

@pytest.mark.skipif("True", reason="not here")
@pytest.mark.seeds(1, min_rate=7, first=0)
def test_marked(seed): pass

@pytest.fixture
def late(seed):
    if seed == 3:
        pytest.skip("late")

@seeds
def test_fixture(seed, late): pass

@seeds
def test_xfail(seed):
    if seed == 2:
        pytest.xfail("hm")

@pytest.fixture
def model(seed):
    assert seed != 4, "broken"

@seeds
def test_broken(seed, model): pass

def test_after(): pass
""")
    result.assert_outcomes(skipped=2, failed=4, passed=1)
    assert "test_broken: seeds: " not in result.stdout.str()
    result.stdout.fnmatch_lines_random(
        [
            "*AssertionError: broken*",
            "*in a fixture, before seed 4*",
            "seed 5 was skipped (hard), after 5 that were not: a seed is never left out.*",
            "a fixture skipped seed 3 (late): a seed is never left out",
            "seed 2 was expected to fail (hm), after 2 *",
        ]
    )


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("", "missing a required argument: 'n'; allowed: n, min_rate, confidence, first"),
        ("500", "missing a required argument: 'min_rate'"),
        ("500, 0.95", "too many positional arguments"),
        ("500.0, min_rate=0.95", "n: 500.0"),
        ("500, min_rate=0.9, min=3", "both min_rate and min; allowed: one of min_rate, min_mean,"),
        ("500, min=3", "of: is missing; allowed: mean, iqm, median"),
        ("500, min_rate=0.9, of='iqm'", "of: 'iqm'; allowed: only with a number to prove"),
        ("True, min_rate=0.95", "n: True is no whole number; allowed: 1"),
        ("500, min_rate=1", "min_rate: 1 is out of range; allowed: above 0 and below 1; fix: no n"),
        ("500, min_rate=1 - 1e-12", "min_rate: a lower bound of 0.999999999999 takes more seeds"),
        ("500, min_rate='0.9'", "min_rate: '0.9'"),
        ("50, min_rate=0.95", "n: 50 seeds cannot prove 0.95, even if none of them fails"),
        (
            "500, min_rate=0.95, rate=1",
            "got an unexpected keyword argument 'rate'; allowed: n, min_rate, confid",
        ),
        ("500, min_rate=0.9, first=-1", "first: -1 is out of range; allowed: 0 to 4,29"),
        ("500, min_rate=0.9, first=2**32 - 9", "n: 500 is out of range; allowed: 1 to 9"),
        ("500, min_rate=0.9, confidence=0", "confidence: 0 is out of range; allowed: above 0"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(ran, mark, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        exec(f"parse_mark({mark})")
    if mark in ("500", "50, min_rate=0.95"):  # one or two through pytest are enough
        result = ran(f"@pytest.mark.seeds({mark})\ndef test_x(seed): pass\n")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"@pytest.mark.seeds: {message}*"])
        assert "another exception" not in result.stdout.str()
        assert "Traceback" not in result.stdout.str()


def test_two_marks_on_one_test_are_refused(ran):
    result = ran("""
@pytest.mark.seeds(500, min_rate=0.99)
@pytest.mark.seeds(500, min_rate=0.5)
def test_stacked(seed): pass

@pytest.mark.seeds(500, min_rate=0.5)
@pytest.mark.parametrize("lr", [pytest.param(1, marks=pytest.mark.seeds(500, min_rate=0.99)), 2])
def test_parameter(seed, lr): pass
""")
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(["2 marks @pytest.mark.seeds on one test: one of them would not*"])


@pytest.mark.parametrize(("workers", "at_once"), [("", 1), (", workers=7", 7)])
def test_an_async_test_is_awaited_and_counted_in_the_order_of_seeds(ran, workers, at_once):
    """The first seeds end last, and those that have begun beside the deciding one do not count."""
    result = ran(f"""
import asyncio

awaited = set()
most = 0

@pytest.mark.seeds(100, min_rate=0.9, first=0{workers})
async def test_x(seed):
    global most
    awaited.add(seed)
    most = max(most, len(awaited))
    await asyncio.sleep(0.002 * (7 - seed % 7))
    awaited.discard(seed)
    assert seed != 20, "late"

def test_most():
    assert most == {at_once}
""")
    result.assert_outcomes(passed=2)
    proves = parse_mark(100, min_rate=0.9)[0].proves
    n = next(n for n in range(21, 101) if proves(n - 1, n))
    result.stdout.fnmatch_lines([f"*::test_x: seeds: {n - 1} of {n}, proven 0.9"])


LIMITED = """
import collections, random, xortune as xt

tries = collections.Counter()

class RateLimitError(Exception):
    pass

def answer(seed):
    tries[seed] += 1
    if seed in (3, 17):
        raise RateLimitError("429: too many requests")
    if seed % 10 == 5 and tries[seed] == 1:
        raise xt.Unavailable("maintenance", retry_after=0.01)
"""


@pytest.mark.parametrize(
    ("define", "workers"), [("def", ""), ("async def", ""), ("async def", ", workers=8")]
)
def test_a_seed_that_cannot_be_tried_is_tried_again_and_no_failure(ran, define, workers):
    """With the waits that are usual: nobody waits a minute for a seed that is void in the end."""
    began = time.monotonic()
    result = ran(f"""{LIMITED}
@pytest.mark.seeds(200, min_rate=0.9, first=0, retry=RateLimitError{workers})
{define} test_x(seed):
    answer(seed)

def test_tries():
    assert 2 <= tries[3] < 8 and 2 <= tries[17] < 8
    assert {{tries[seed] for seed in tries if seed % 10 == 5}} == {{2}}
""")
    result.assert_outcomes(passed=2)
    n = gate_seeds(0.9, 200)
    result.stdout.fnmatch_lines([f"*::test_x: seeds: {n} of {n}, proven 0.9, 2 void"])
    assert time.monotonic() - began < 20


def test_a_failed_test_says_which_seeds_were_void(ran):
    result = ran(f"""{LIMITED}
@pytest.mark.seeds(200, min_rate=0.9, first=0, retry=(RateLimitError, KeyError), retry_wait=2)
def test_x(seed):
    answer(seed)
    assert seed % 2, "even"
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["refuted: * seeds 0 to * without 1 seed that could not be tried)", "  seed 0: *even*"]
    )


@pytest.mark.parametrize("workers", ["", ", workers=8"])
def test_an_outage_is_an_error_and_no_failure_of_the_test(ran, workers):
    result = ran(f"""
import xortune as xt

calls = []

@pytest.mark.seeds(200, min_rate=0.9, first=0, retry_wait=[0, 0.01]{workers})
async def test_x(seed):
    calls.append(seed)
    if seed > 30:
        raise xt.Unavailable("no route to the service")

@pytest.mark.seeds(60, min_rate=0.5, first=0, retry_wait=[], max_void=1.0)
def test_nothing(seed):
    raise xt.Unavailable("no route to the service")

def test_calls():
    assert len(set(calls)) <= 31 + 2 * 8
""")
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "outage: 2 of 33 seeds could not be tried, which is more than max_void (0.05) allows; "
            "the last one, seed *: Unavailable: no route to the service. This says nothing of *",
            "outage: 60 of 60 seeds could not be tried*",
        ]
    )
    result.stdout.no_fnmatch_line("*refuted*")


def test_an_async_test_that_fails_is_shown_with_the_seed(ran):
    result = ran("""
@pytest.mark.seeds(100, min_rate=0.9, first=0, workers=5)
async def test_x(seed):
    assert seed % 2, "even"
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*refuted: * seeds passed*", "*seed 0: AssertionError: even*"])


def test_tests_that_cannot_be_called_for_each_seed_are_refused(ran):
    result = ran("""
import unittest
seeds = pytest.mark.seeds(100, min_rate=0.9)

@seeds
def test_none(): pass

@seeds
async def test_yields(seed): yield

@pytest.mark.seeds(100, min_rate=0.9, workers=4)
def test_no_async(seed): pass

@pytest.mark.seeds(100, min_rate=0.9, workers=4)
async def test_fixture(seed, tmp_path): pass

@seeds
class TestOld(unittest.TestCase):
    def test_old(self): pass

@seeds
def test_returns(seed):
    return seed

@seeds
@pytest.mark.parametrize("seed", [1, 2])
def test_own(seed): pass

def test_unmarked(seed): pass
""")
    result.assert_outcomes(errors=6, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "the test takes no 'seed': write it as def test_none(seed, ...)",
            "an async test that yields cannot be called for each seed*",
            "workers=4 is for async tests*",
            "workers=4 is for tests that take 'seed' alone*takes tmp_path: drop workers*",
            "*takes no 'seed'*",
            "the test returned int, which says nothing: use assert",
            "the test is called with another 'seed' than xortune's*",
            "the fixture 'seed' is xortune's, for tests that are marked*",
        ]
    )


@pytest.mark.parametrize("every", [0, 2, 3, 7, 20, 30, 150])
@pytest.mark.parametrize(("rate", "most"), [(0.95, 300), (0.5, 60), (0.99, 800)])
def test_the_answer_is_the_gate_s(every, rate, most):
    def passes(seed):
        return not every or seed % every != every - 1

    test, _, outages = parse_mark(most, min_rate=rate, first=0)
    seeds = SeedsToCall(test, outages)
    while (judged := seeds.judged).answer is None:
        seed = seeds.next()
        seeds.add(seed, None if passes(seed) else ValueError("no"), str)
    status = seeds_of("".join("+" if passes(seed) else "-" for seed in range(most))).status
    verdict = SequentialTest(rate, most, 0.95, 0).verdict(Point({"a": 1}), status)
    assert (judged.answer, seeds.k, judged.n) == (verdict.answer, verdict.k, verdict.n)


def test_a_number_that_the_test_returns_is_proven(pytester):
    pytester.makepyfile(
        """
        import random
        import pytest

        def score(seed):
            return random.Random(seed).betavariate(9, 1)

        @pytest.mark.seeds(200, min_mean=0.8, bounds=[0, 1], first=0)
        def test_mean(seed):
            return score(seed)

        @pytest.mark.seeds(200, min=0.99, of="median", first=0)
        def test_median(seed):
            if seed % 9 == 8:
                raise ValueError("no luck")
            return score(seed)

        @pytest.mark.seeds(200, max=0.7, of="iqm", bounds=[0, 0.5], first=0)
        def test_beyond(seed):
            return score(seed)

        @pytest.mark.seeds(200, min=0.3, of="iqm", bounds=[0, 0.5], first=0)
        def test_outside(seed):
            return score(seed)

        @pytest.mark.seeds(200, min_mean=0.8, bounds=[0, 1], first=0)
        def test_nothing(seed):
            assert score(seed)
        """
    )
    result = pytester.inline_run()
    reports = {
        r.nodeid.partition("::")[2]: r
        for r in result.getreports("pytest_runtest_logreport")
        if r.when == "call" or r.failed
    }
    [(_, line)] = reports["test_mean"].user_properties
    gated = xt.gate(
        {},
        min_mean=0.8,
        bounds=[0, 1],
        first_seed=0,
        workers=0,
        verbose=0,
        train=lambda _, seed: random.Random(seed).betavariate(9, 1),
    )
    assert line == f"seeds: mean {gated.text} of {gated.n}, proven at least 0.8"
    said = str(reports["test_median"].longrepr)
    assert "refuted: median 0." in said
    assert "below 0.99 (confidence 0.95, seeds 0 to " in said
    assert "seed 8: ValueError: no luck" in said
    assert "max: 0.7 is out of range" in str(reports["test_beyond"].longrepr)
    assert "a seed has the number 0." in str(reports["test_outside"].longrepr)
    assert "the test returned NoneType, and its mark asks" in str(reports["test_nothing"].longrepr)


ROOT = Path(__file__).parents[1]


def apart(pytester, *words, **more):
    """What pytest prints in a Python of its own."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | more
    command = [sys.executable, "-m", "pytest", *words]
    ran = subprocess.run(
        command, cwd=pytester.path, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_workers_of_xdist_send_their_results(pytester):
    pytester.makepyfile("""
        import pytest
        @pytest.mark.parametrize("lr", [1, 2])
        @pytest.mark.seeds(100, min_rate=0.9)
        def test_x(seed, lr): pass
    """)
    words = ("-p", "xdist", *NAMED, "-n", "1", "-q")
    told = apart(pytester, *words, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert len(re.findall(r"test_x\[[12]\]: seeds: (\d+) of \1, proven 0.9", told)) == 2


def test_unused_it_is_silent_and_imports_nothing_of_ours(pytester):
    pytester.makepyfile("""
        import sys
        def test_x():
            heavy = {"numpy", "scipy", "torch", "ray", "optuna", "pandas", "numba", "pydantic"}
            assert not heavy & set(sys.modules)
            ours = {name for name in sys.modules if name.split(".")[0] == "xortune"}
            light = {"xortune", "xortune.certificates", "xortune.core", "xortune.core.version"}
            assert ours == light | {"xortune.certificates.pytest_plugin"}
    """)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"xortune": NAMED[1]}
    there = {entry.name for entry in entry_points(group="pytest11")}
    named = () if "xortune" in there else NAMED
    assert "seeds" not in apart(pytester, *named, "-W", "error", "-p", "no:hypothesispytest")


def test_a_test_that_is_run_again_does_not_pass_the_second_time(ran, pytester):
    """As pytest-rerunfailures does it."""
    pytester.makeconftest("""
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for _ in range(3):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(report.failed for report in reports):
            break
        item._initrequest()
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
""")
    result = ran("""
calls, broken = [], [True]

@pytest.mark.seeds(100, min_rate=0.9)
def test_lucky(seed):
    calls.append(seed)
    assert len(calls) > 5

@pytest.fixture
def flaky():
    if broken.pop():
        broken.append(False)
        raise OSError

@pytest.mark.seeds(100, min_rate=0.9)
def test_with_a_fixture_that_failed_before_any_seed(seed, flaky):
    broken.append(False)
""")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "the test is run again, although its seeds have been counted: *",
            "its first run: refuted: 0/* seeds passed, success rate below 0.9 *",
        ]
    )
    result.stdout.fnmatch_lines(["*@pytest.mark.flaky(reruns=0)*"])
