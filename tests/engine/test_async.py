"""Async functions: one event loop awaits many seeds; answers do not depend on how many at once."""

import asyncio
import bdb
import random
import subprocess
import sys
import time

import pandas as pd
import pytest

import xortune as xt


def solves(config, seed):
    return random.Random(seed).random() < config["rate"]


async def training(config, seed):
    """Those that began last end first."""
    await asyncio.sleep(0.002 * (5 - seed % 5))
    return solves(config, seed)


class Counted:
    """An async training that notes how many of its calls are awaited at once."""

    def __init__(self):
        self.now = self.most = 0

    async def __call__(self, _, seed):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.005)
        self.now -= 1
        return seed >= 0


@pytest.mark.parametrize("workers", [0, 1, 8, None])
def test_as_many_seeds_as_workers_are_awaited_at_once_and_count_as_a_plain_loop_does(workers):
    config = {"rate": 0.7}
    outcome = xt.evaluate(config, range(40), train=training, workers=workers)
    assert outcome.solved.tolist() == [solves(config, seed) for seed in range(40)]
    counted = Counted()
    xt.evaluate({}, range(40), train=counted, workers=workers)
    assert counted.most == {0: 1, None: 16}.get(workers, workers)


@pytest.mark.parametrize("rate", [1.0, 0.97, 0.5])
def test_a_gate_answers_alike_however_many_are_awaited(rate):
    def answer(workers, train):
        test = {"min_rate": 0.9, "max_seeds": 120, "first_seed": 7}
        verdict = xt.gate({"rate": rate}, train=train, workers=workers, verbose=0, **test)
        return verdict.answer, verdict.k, verdict.n

    expected = answer(0, solves)
    assert [answer(workers, training) for workers in (1, 3, 20)] == [expected] * 3


def test_what_it_raises_reports_and_how_long_it_takes_is_the_seeds_own():
    async def fails(config, seed, report):
        report({"step": float(seed)})
        report({"step": 2.0 * seed})
        await asyncio.sleep(0)
        if seed == 1:
            raise ValueError("no answer")
        if seed == 2:
            raise SystemExit(3)
        if seed == 3:
            raise TimeoutError("the service took too long")
        if seed == 4:
            raise asyncio.CancelledError
        return True

    outcome = xt.evaluate({}, range(6), train=fails, workers=3)
    assert outcome.solved.tolist() == [True, False, False, False, False, True]
    reasons = {seed: why.split(":")[0] for seed, why in outcome.details.failed.items()}
    cancelled = {4: "CancelledError"}  # by itself, and not by us
    assert reasons == {1: "ValueError", 2: "SystemExit", 3: "TimeoutError"} | cancelled
    assert outcome.details.values["step"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_a_seed_that_exceeds_its_time_limit_fails_alone(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text(
        "import asyncio\n"
        "async def run(config, seed):\n"
        "    await asyncio.sleep(30 if seed == 3 else 0)\n"
        "    return True\n"
    )
    monkeypatch.chdir(tmp_path)
    outcome = xt.evaluate(
        {}, range(6), train={"function": "./slow.py:run", "timeout": "0.2s"}, workers=6
    )
    assert outcome.details.failed == {3: "took longer than 0.2 s"}
    assert outcome.successes == 5


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("in_child", [False, True])
@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_what_would_end_the_event_loop_fails_its_seed_alone(raised, in_child, workers):
    async def fails(_, seed):
        async def child():
            raise raised(2)

        if seed == 1:
            await (asyncio.gather(child()) if in_child else child())
        return True

    def evaluated():
        return xt.evaluate({}, range(4), train=fails, workers=workers, verbose=0)

    if raised is KeyboardInterrupt and not workers:  # as of any function in this process
        with pytest.raises(KeyboardInterrupt):
            evaluated()
        return
    outcome = evaluated()
    assert (outcome.successes, outcome.details.failed) == (3, {1: f"{raised.__name__}: 2"})


def test_leaving_a_debugger_ends_what_awaits_in_the_event_loop():
    async def fails(_, seed):
        raise bdb.BdbQuit

    with pytest.raises(KeyboardInterrupt):
        xt.evaluate({}, range(4), train=fails, workers=4, verbose=0)


def test_it_is_called_in_a_notebook_whose_event_loop_runs():
    async def cell(workers):
        return xt.evaluate({"rate": 0.5}, range(8), train=training, workers=workers)

    for workers in (0, 4):
        assert asyncio.run(cell(workers)).n == 8


def test_a_client_that_a_module_keeps_stays_in_one_event_loop():
    loops = set()

    async def notes(config, seed):
        loops.add(asyncio.get_running_loop())
        return True

    for workers in (0, 4, 4):
        xt.evaluate({}, range(8), train=notes, workers=workers)
    assert len(loops) == 1


def test_the_first_failure_ends_it_and_cancels_the_others():
    cancelled = []

    async def fails(config, seed):
        if seed == 0:
            raise ValueError("wrong")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(seed)
            raise

    with pytest.raises(xt.TrainingError, match="wrong") as raised:
        xt.evaluate({}, range(4), train=fails, workers=4, fail_fast=True)
    assert isinstance(raised.value.__cause__, ValueError)
    until = time.monotonic() + 5
    while len(cancelled) < 3 and time.monotonic() < until:
        time.sleep(0.001)
    assert sorted(cancelled) == [1, 2, 3]


SPACE = {
    "name": "awaited",
    "parameters": {"rate": {"low": 0.0, "high": 1.0}},
    "seeds": {"ladder": [1, 4, 16]},
    "search": {"trials": 12},
}


def test_a_search_and_its_certificate_await_many_seeds(tmp_path):
    def searched(name, train, **options):
        return xt.search(SPACE, train=train, output=tmp_path / name, verbose=0, **options)

    one, other = searched("one", training, workers=4), searched("other", training, workers=4)
    plain = searched("plain", solves, workers=4)
    for name in ("other", "plain"):
        table = (tmp_path / name / "table.csv").read_bytes()
        assert table == (tmp_path / "one" / "table.csv").read_bytes()
    assert one.best == other.best == plain.best
    certificate = xt.certify(tmp_path / "one", seeds=50, train=training, workers=10, verbose=0)
    for found in certificate.finalists:
        seeds = range(found.first, found.first + 50)
        assert found.k == sum(solves(found.point.as_dict(), seed) for seed in seeds)


def test_a_comparison_awaits_them_too(tmp_path):
    both = [{"rate": 0.95}, {"rate": 0.4}]
    one = xt.compare(both, train=training, seeds=40, workers=8, output=tmp_path / "a", verbose=0)
    other = xt.compare(both, train=solves, seeds=40, workers=0, output=tmp_path / "b", verbose=0)
    assert str(one) == str(other)


async def steps(config, seed):
    yield 1.0


async def many(config, seeds):
    return seeds > 0


class Kept:
    def __init__(self, config):
        pass

    async def run(self, seed):
        return seed > 0


@pytest.mark.parametrize("function", [steps, many, Kept])
def test_other_async_forms_are_refused(function):
    with pytest.raises(
        xt.InputError, match=r"is async, and .*; fix: return the result of one seed"
    ):
        xt.evaluate({}, range(3), train=function)


INTERRUPTED = """
import asyncio, os, signal, threading
import xortune as xt

async def train(config, seed):
    if seed == 5:  # five others are awaited
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)  # closes its client
        print("closed", flush=True)

try:
    xt.evaluate({}, range(9), train=train, workers=6, verbose=0)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_attempts_that_an_interrupt_has_cancelled_end_before_the_process_does():
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(ran.stdout.split()) == ["closed"] * 6 + ["interrupted"]


@pytest.mark.parametrize("asked", [{"seeds": 60, "top": 2}, {"seeds": 60, "min_rate": 0.5}])
def test_as_many_are_awaited_at_once_to_certify_an_imported_run(tmp_path, asked):
    """An imported table does not say what a seed takes, and 0 s would be one batch for all."""
    rows = [{"x": x, "seed": seed, "ok": True} for x in (1, 2) for seed in range(8)]
    run = xt.import_results(pd.DataFrame(rows), config=["x"], output=tmp_path / "run", success="ok")
    now, most = 0, 0

    async def train(config, seed):
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.05)
        now -= 1
        return True

    xt.certify(run.path, train=train, workers=16, verbose=0, **asked)
    assert most == 16 if "top" in asked else most > 1


def test_the_seeds_of_a_configuration_of_an_imported_run_go_to_all_workers(tmp_path):
    rows = [{"x": 1, "seed": seed, "ok": True} for seed in range(8)]
    run = xt.import_results(pd.DataFrame(rows), config=["x"], output=tmp_path / "run", success="ok")

    def train(config, seed):
        time.sleep(0.2)
        return True

    xt.certify(run.path, train=train, workers=2, seeds=12, verbose=0)
    workers = {line.worker for line in xt.load_run(run.path).checks}
    assert len(workers) == 2
