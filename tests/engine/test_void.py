"""Seeds that cannot be tried: tried again, and in the end void, which is no failure."""

import asyncio
import importlib
import itertools
import json
import math
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import xortune as xt
from xortune.certificates.gate import SeedLine
from xortune.core import seeds as core_seeds
from xortune.core import trainer as core_trainer
from xortune.core.trainer import Stacking
from xortune.runs.certificate import risk_of
from xortune.stats.betting import mean_evidence_above
from xortune.stats.sequential import boundary


class RateLimitError(Exception):
    pass


def solves(config, seed):
    return random.Random(seed).random() < config["rate"]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(core_trainer, "TRY_AGAIN_SECONDS", (0.0,) * 7)


def limited(share, void=()):
    """A training of which a share of the attempts meets a rate limit, and some seeds always."""
    tries = Counter()

    def training(config, seed):
        tries[seed] += 1
        if seed in void or random.Random(f"{seed} {tries[seed]}").random() < share:
            raise RateLimitError("429: too many requests")
        return solves(config, seed)

    async def awaited(config, seed):
        return training(config, seed)

    return training, awaited, tries


@pytest.mark.parametrize("rate", [1.0, 0.97, 0.6])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_gate_answers_as_without_the_rate_limits(rate, kind):
    test = {"min_rate": 0.9, "max_seeds": 150, "verbose": 0}
    expected = xt.gate({"rate": rate}, train=solves, workers=0, **test)
    training, awaited, tries = limited(0.1)
    train, workers = (training, 0) if kind == "plain" else (awaited, 8)
    found = xt.gate({"rate": rate}, train=train, workers=workers, retry=RateLimitError, **test)
    assert found == expected
    assert sum(tries.values()) > len(tries)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_seeds_that_are_never_available_are_void_and_in_no_count(kind):
    training, awaited, tries = limited(0, void={3, 17})
    train, workers = (training, 0) if kind == "plain" else (awaited, 5)
    options = {"workers": workers, "retry": (RateLimitError,), "max_void": 0.1}
    outcome = xt.evaluate({"rate": 0.8}, range(40), train=train, **options)
    kept = [seed for seed in range(40) if seed not in (3, 17)]
    assert outcome.seeds.tolist() == kept
    assert outcome.solved.tolist() == [solves({"rate": 0.8}, seed) for seed in kept]
    assert outcome.details.void == dict.fromkeys((3, 17), "RateLimitError: 429: too many requests")
    assert ", 2 void," in repr(outcome)
    assert tries[3] == tries[17] == 8


def test_a_gate_takes_the_next_seed_in_the_place_of_a_void_one():
    training, _, _ = limited(0, void={2, 5})
    test = {"min_rate": 0.8, "max_seeds": 60, "first_seed": 0, "verbose": 0, "workers": 0}
    verdict = xt.gate({"rate": 1.0}, train=training, retry=RateLimitError, max_void=0.2, **test)
    plain = xt.gate({"rate": 1.0}, train=solves, **test)
    assert (verdict.answer, verdict.k, verdict.n) == (plain.answer, plain.k, plain.n)
    assert verdict.void.keys() == {2, 5}
    assert f"seeds 0 to {plain.n + 1} without 2 seeds that could not be tried" in str(verdict)


def test_unavailable_needs_no_argument_and_too_many_void_seeds_end_it():
    tries = itertools.count()

    def down(config, seed):
        next(tries)
        raise xt.Unavailable("no route to the service")

    with pytest.raises(xt.TrainingError, match=r"2 of 2 seeds could not be tried, which is more.*"):
        xt.evaluate({}, range(100), train=down, workers=0)
    assert next(tries) == 16
    with pytest.raises(xt.TrainingError, match="no seed could be tried: Unavailable: no route"):
        xt.evaluate({}, [5], train=down, workers=0)


def test_the_check_before_a_search_does_not_call_a_seed_crashed_that_could_not_be_tried(tmp_path):
    def down(config, seed):
        raise xt.Unavailable("no route to the service")

    space = {"name": "down", "parameters": {"x": 1}, "search": {"sampler": "grid"}}
    with pytest.raises(xt.InputError, match=r"void: Unavailable: no route.* is void, in no count"):
        xt.search(space, train=down, output=tmp_path / "run", workers=0, verbose=0)


def test_all_seeds_of_a_call_are_tried_again_one_by_one():
    calls = Counter()

    def many(config, seeds):
        calls[len(seeds)] += 1
        if 5 in seeds:
            raise xt.Unavailable("gone")
        return seeds % 3 > 0

    outcome = xt.evaluate({}, range(8), train=many, workers=0)
    assert outcome.seeds.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert outcome.details.void.keys() == {5}


class Mounted(xt.TorchTraining):
    """Reads its data from a mount that some seeds do not find."""

    epochs = 1
    lost = frozenset({2, 5})
    tries: ClassVar = Counter()

    def model(self):
        seed = torch.initial_seed()
        self.tries[seed] += 1
        if seed in self.lost:
            raise xt.Unavailable("the mount is gone")
        return torch.nn.Linear(1, 1)

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def batches(self):
        yield torch.ones(4, 1), torch.ones(4, 1)

    def loss(self, model, x, y):
        return ((model(x) - y) ** 2).mean()

    def score(self, model):
        return {"weight": model.weight.sum()}


def test_a_seed_of_a_torch_training_may_be_void_too():
    outcome = xt.evaluate({}, range(8), train=Mounted, workers=0, max_void=0.3)
    assert outcome.seeds.tolist() == [0, 1, 3, 4, 6, 7]
    assert outcome.solved.all()
    assert outcome.details.void == dict.fromkeys((2, 5), "Unavailable: the mount is gone")
    assert Mounted.tries[5] >= 8


class Flaky(Mounted):
    """A stack in which seed 2 of each configuration is not there at first."""

    def run(self, seed, *_):
        flag = Path(f"{self.config['lr']}-{seed}")
        if seed == 2 and not flag.exists():
            flag.touch()
            raise xt.Unavailable("the mount is gone")
        return seed % 3 > 0

    def stacking(self):
        return Stacking(frozenset(), 64)


def test_a_stack_with_a_void_seed_in_a_worker_loses_no_result(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = {
        "name": "flaky",
        "parameters": {"lr": {"choice": [0.1, 0.2, 0.3]}},
        "seeds": {"ladder": [4, 8, 16]},
        "search": {"sampler": "grid"},
    }
    options = {"output": tmp_path / "run", "workers": 1, "check": False, "verbose": 0}
    run = xt.search(space, train=Flaky, **options)
    solved = sum(seed % 3 > 0 for seed in range(16))
    assert [(one.outcome.n, one.outcome.successes) for one in run.results] == [(16, solved)] * 3
    assert len(list(tmp_path.glob("0.*-2"))) == 3


def returns(config, seed):
    return {"return": random.Random(seed).uniform(0.6, 1)}


def test_a_gate_on_a_mean_leaves_void_seeds_out():
    tries = Counter()

    def limited_returns(config, seed):
        tries[seed] += 1
        if seed in (2, 5) or random.Random(f"{seed} {tries[seed]}").random() < 0.1:
            raise RateLimitError("429")
        return returns(config, seed)

    test = {"min_mean": 0.7, "of": "return", "first_seed": 0, "verbose": 0, "workers": 0}
    more = {"retry": RateLimitError, "max_void": 0.2}
    found = xt.gate({}, train=limited_returns, **test, **more)
    assert (found.answer, list(found.void), found.failed) == ("proven", [2, 5], {})
    taken = [seed for seed in range(found.n + 2) if seed not in found.void]
    known = [returns({}, seed)["return"] for seed in taken]
    assert found.value == pytest.approx(sum(known) / found.n)
    assert mean_evidence_above(known, 0.7)[-1] >= math.log(20) > mean_evidence_above(known, 0.7)[-2]
    assert f"seeds 0 to {found.n + 1} without 2 that could not be tried" in found.line
    kept = xt.gate({}, train=returns, **test)
    assert (kept.void, kept.answer) == ({}, "proven")


@pytest.mark.parametrize(
    ("retry", "message"),
    [
        ("RateLimitError", "retry: 'RateLimitError' is"),
        ([int], "retry: <class 'int'> is"),
        (RateLimitError("x"), "retry: "),
    ],
)
def test_what_is_no_exception_is_refused(retry, message):
    with pytest.raises(xt.InputError, match="allowed: a class of exceptions, or several"):
        xt.evaluate({}, range(3), train=solves, retry=retry)


def test_a_command_that_exits_with_75_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(
        "import os, sys\n"
        "seed, path = int(sys.argv[1]), f'{sys.argv[1]}.tried'\n"
        "tries = os.path.getsize(path) if os.path.exists(path) else 0\n"
        "open(path, 'a').write('.')\n"
        "if seed == 2 or (seed == 1 and tries < 2):\n"
        "    sys.exit('disk is not mounted') if seed > 2 else print('no mount', file=sys.stderr)\n"
        "    sys.exit(75)\n"
        "print(seed)\n"
    )
    command = {"command": f"{sys.executable} train.py {{seed}}", "metric": "last line number"}
    train = {**command, "success": "value >= 1"}
    outcome = xt.evaluate({}, range(4), train=train, workers=0, max_void=0.5)
    assert outcome.seeds.tolist() == [0, 1, 3]
    assert outcome.solved.tolist() == [False, True, True]
    assert outcome.details.void == {2: "exit code 75: no mount"}


SPACE = {
    "name": "limited",
    "parameters": {"rate": {"choice": [0.3, 0.9, 1.0]}},
    "seeds": {"ladder": [40]},
    "search": {"sampler": "grid"},
}


def test_void_seeds_of_a_search_are_listed_and_counted_nowhere(tmp_path):
    down = {(0.9, 7), (0.3, 0)}

    def training(config, seed):
        if (config["rate"], seed) in down:
            raise xt.Unavailable("no mount")
        return solves(config, seed)

    options = {"output": tmp_path / "run", "workers": 0, "verbose": 0}
    run = xt.search(SPACE, train=training, **options)
    counts = {
        result.point["rate"]: (result.outcome.n, result.outcome.successes) for result in run.results
    }
    assert counts == {
        rate: (
            40 - sum(rate == of for of, _ in down),
            sum(solves({"rate": rate}, s) for s in range(40) if (rate, s) not in down),
        )
        for rate in (0.3, 0.9, 1.0)
    }
    report = (tmp_path / "run" / "report.md").read_text()
    assert "2 seeds could not be tried: Unavailable: no mount (2)" in report


def test_a_search_with_void_seeds_keeps_the_curves_of_seeds_that_report(tmp_path):
    tried = set()

    def training(config, seed, report):
        report(seed)
        report(seed + 1)
        if seed in {3, 7} and not (seed in tried or tried.add(seed)):
            raise xt.Unavailable("no mount")
        return seed + 2

    space = {**SPACE, "success": "value >= 12", "parameters": {"rate": 1.0}}
    options = {"output": tmp_path / "run", "workers": 0, "check": False, "verbose": 0}
    run = xt.search(space, train=training, **options)
    assert [(one.outcome.n, one.outcome.successes) for one in run.results] == [(40, 30)]
    curves = [curve.points() for curve in run.results[0].outcome.details.curves]
    assert sorted(seed for curve in curves for seed in curve.seed) == sorted([*range(40)] * 2)
    assert tried == {3, 7}


@pytest.mark.parametrize(
    ("sampler", "asked"),
    [
        ("auto", {"seeds": {"race": {"max": 8}}, "success": "score >= 0.5"}),
        ("random", {"seeds": {"race": {"max": 8}}, "objectives": ["score_median"]}),
        ("tpe", {"seeds": {"ladder": [1]}, "success": "score >= 0.5"}),
        (
            "tpe",
            {"seeds": {"ladder": [1, 4]}, "objectives": ["success_rate", {"minimize": "rate"}]},
        ),
    ],
)
def test_a_configuration_whose_first_seeds_are_all_void_ends_no_search(tmp_path, sampler, asked):
    def training(config, seed):
        if config["rate"] > 0.6 and seed < 2:
            raise xt.Unavailable("no mount")
        good = solves(config, seed)
        return {"score": float(good)} if "success_rate" not in str(asked) else good

    space = {
        "name": "down",
        "parameters": {"rate": {"low": 0.0, "high": 1.0}},
        "search": {"sampler": sampler, "trials": 14, "seed": 1},
        **asked,
    }
    options = {"workers": 0, "verbose": 0, "max_void": 0.9, "check": False}
    run = xt.search(space, train=training, output=tmp_path / "run", **options)
    tried = {result.point["rate"] > 0.6 for result in run.results}
    assert False in tried
    assert run.manifest["complete"]


@pytest.mark.parametrize("sampler", ["auto", "tpe"])
def test_configurations_of_which_all_seeds_were_void_are_those_that_are_tried_again(
    tmp_path, sampler
):
    down, tried = [True], []

    def train(config, seed):
        tried.append(config["lr"])
        if down[0] and len(tried) > 50:
            raise xt.Unavailable("maintenance")
        return random.Random(f"{config['lr']} {seed}").random() < config["lr"]

    space = {
        "name": "down",
        "parameters": {"lr": {"low": 0.01, "high": 1.0}},
        "search": {"sampler": sampler, "trials": 40},
        "seeds": {"ladder": [2]},
    }
    options = {"workers": 0, "check": False, "max_void": 0.9, "verbose": 0}
    xt.search(space, train=train, output=tmp_path / "run", **options)
    down[0] = False
    table = xt.search(space, train=train, output=tmp_path / "run", resume=True, **options).table
    assert (table["trials"].sum(), table["n"].sum()) == (40, 80)
    assert set(tried) == set(table["lr"])


def test_too_many_void_seeds_end_a_search_and_a_resumed_one_tries_them_again(tmp_path):
    down = [True]

    def training(config, seed):
        if down[0] and seed % 4 == 3:
            raise xt.Unavailable("429")
        return solves(config, seed)

    options = {"output": tmp_path / "run", "workers": 0, "verbose": 0}
    with pytest.raises(xt.TrainingError, match="seeds could not be tried, which is more"):
        xt.search(SPACE, train=training, **options)
    down[0] = False
    xt.search(SPACE, train=training, resume=True, **options)
    xt.search(SPACE, train=solves, **{**options, "output": tmp_path / "plain"})
    tables = [(tmp_path / name / "table.csv").read_text() for name in ("run", "plain")]
    assert tables[0] == tables[1]
    assert "could not be tried" not in (tmp_path / "run/report.md").read_text(), "all were"


@pytest.mark.parametrize("sequential", [False, True])
def test_a_comparison_leaves_out_for_all_what_is_void_for_one(tmp_path, sequential):
    first = xt.compare.__globals__["COMPARE"].start
    down, tried = {(0.5, first + 3), (0.9, first + 10)}, []

    def training(config, seed):
        if (config["rate"], seed) in down:
            tried.append(seed)
            raise RateLimitError("429")
        return solves(config, seed)

    given = {"sequential": True, "max_seeds": 100} if sequential else {"seeds": 60}
    found = xt.compare(
        [{"rate": 0.5}, {"rate": 0.9}],
        labels=["half", "most"],
        train=training,
        retry=RateLimitError,
        output=tmp_path / "seeds",
        workers=0,
        verbose=0,
        max_void=0.1,
        **given,
    )
    kept = [seed for seed in range(first, first + 200) if seed - first not in (3, 10)]
    if sequential:
        kept = kept[: found.n]
        counts = [sum(solves({"rate": rate}, seed) for seed in kept) for rate in (0.5, 0.9)]
        assert [one.outcome.successes for one in found.contestants] == counts
        assert len(tried) == 2 * 8
    else:
        counts = [
            sum(solves({"rate": rate}, seed) for seed in kept if seed < first + 60)
            for rate in (0.5, 0.9)
        ]
        assert [(one.outcome.successes, one.outcome.n) for one in found.contestants] == [
            (count, 58) for count in counts
        ]


def test_a_sequential_comparison_with_void_seeds_ends_once_all_seeds_were_tried(tmp_path):
    def training(config, seed):
        if config["rate"] == 0.5 and seed % 50 == 7:
            raise RateLimitError("429")
        return seed % 2 == 0

    found = xt.compare(
        [{"rate": 0.5}, {"rate": 0.9}],
        train=training,
        retry=RateLimitError,
        output=tmp_path / "seeds",
        sequential=True,
        max_seeds=100,
        workers=0,
        verbose=0,
        max_void=0.2,
    )
    assert (found.best, found.n) == (None, 98)
    assert "indistinguishable" in str(found)


@pytest.mark.parametrize("given", [{"seeds": 4}, {"sequential": True, "max_seeds": 12}])
def test_a_comparison_of_which_no_seed_could_be_tried_says_why(tmp_path, given):
    def never(config, seed):
        if config["rate"] == 0.5:
            raise RateLimitError("429")
        return True

    def in_turn(config, seed):
        if (config["rate"] == 0.5) == (seed % 2 == 0):
            raise RateLimitError("429")
        return True

    both = [{"rate": 0.5}, {"rate": 0.9}]
    more = {"retry": RateLimitError, "max_void": 1.0, "workers": 0, "verbose": 0, **given}
    with pytest.raises(xt.TrainingError, match=r"no seed of config .* could be tried: .*429"):
        xt.compare(both, train=never, output=tmp_path / "never", **more)
    with pytest.raises(xt.TrainingError, match="each seed is void for one of the config"):
        xt.compare(both, train=in_turn, output=tmp_path / "in turn", **more)


SOLVING = {
    "name": "certified",
    "parameters": {"rate": {"choice": [0.98, 1.0]}},
    "seeds": {"ladder": [4]},
    "search": {"sampler": "grid"},
}


@pytest.mark.parametrize("asked", [{"seeds": 60}, {"seeds": 64, "min_rate": 0.95}])
def test_a_certificate_with_void_seeds_ends_says_so_and_goes_on_with_the_same_call(tmp_path, asked):
    down = [True]

    def training(config, seed):
        if down[0] and seed > 2**30 and seed % 40 == 7:
            raise xt.Unavailable("no mount")
        return solves(config, seed)

    options = {"train": training, "workers": 0, "verbose": 0}
    xt.search(SOLVING, output=tmp_path / "run", **options)
    said = []
    certificate = xt.certify(tmp_path / "run", listener=said.append, **options, **asked)
    assert certificate.latest is None
    told = [str(one) for one in said if isinstance(one, xt.Message)]
    assert any("could not be tried: Unavailable: no mount" in one for one in told)
    down[0] = False
    certificate = xt.certify(tmp_path / "run", **options, **asked)
    assert [attempt.complete for attempt in certificate.attempts] == [True]


def test_too_many_void_seeds_end_a_certificate(tmp_path):
    def training(config, seed):
        if seed > 2**30:
            raise xt.Unavailable("no mount")
        return solves(config, seed)

    options = {"train": training, "workers": 0, "verbose": 0}
    xt.search(SOLVING, output=tmp_path / "run", **options)
    with pytest.raises(xt.TrainingError, match="seeds could not be tried, which is more"):
        xt.certify(tmp_path / "run", seeds=60, **options)


def test_a_search_whose_certificate_lacks_void_seeds_does_not_blame_the_time(tmp_path):
    def training(config, seed):
        if seed > 2**30 and seed % 40 == 7:
            raise xt.Unavailable("no mount")
        return solves(config, seed)

    space = {**SOLVING, "seeds": {"ladder": [4], "certify": 60}}
    run = xt.search(space, train=training, output=tmp_path / "run", workers=0, verbose=0)
    assert "could not be tried: Unavailable: no mount" in run.manifest["not_certified"]["why"]


def test_a_service_that_is_down_for_good_is_waited_for_once_and_not_once_for_each_seed(tmp_path):
    """Quick seeds are many in a batch; the rest of it waits until the void one is counted."""
    tries, down_from = Counter(), 2**30 + 40

    def goes_down(config, seed):
        if seed >= down_from:
            tries[seed] += 1
            raise xt.Unavailable("no route to the service")
        return True

    options = {"train": goes_down, "workers": 0, "verbose": 0}
    with pytest.raises(xt.TrainingError, match=r"1 of .* seeds could not be tried"):
        xt.evaluate({}, range(2**30, 2**30 + 400), train=goes_down, workers=0, max_void=0.0)
    assert list(tries.values()) == [8]
    tries.clear()
    down_from = core_seeds.CERTIFY.start + 40
    xt.search(SOLVING, output=tmp_path / "run", **options)
    with pytest.raises(xt.TrainingError, match="seeds could not be tried, which is more"):
        xt.certify(tmp_path / "run", seeds=400, **options)
    assert len(tries) <= 5  # of about 80 seeds 5 % may be void


def test_a_search_ends_at_once_too_where_a_batch_holds_many_configurations(tmp_path):
    went, void, down = itertools.count(), set(), [True]

    def goes_down(config, seed):
        if down[0] and next(went) >= 100:
            void.add((config["rate"], seed))
            raise xt.Unavailable("no route to the service")
        return True

    space = {**SPACE, "parameters": {"rate": {"choice": [n / 64 for n in range(64)]}}}
    space["seeds"] = {"ladder": [4]}
    options = {"output": tmp_path / "run", "workers": 0, "verbose": 0}
    with pytest.raises(xt.TrainingError, match="seeds could not be tried, which is more"):
        xt.search(space, train=goes_down, **options)
    assert len(void) <= 6
    down[0] = False
    run = xt.search(space, train=goes_down, resume=True, **options)
    assert [one.outcome.successes for one in run.results] == [4] * 64


@pytest.mark.parametrize("asked", [{"min_rate": 0.9}, {"min_mean": 0.7, "of": "return"}])
@pytest.mark.parametrize("good", [0, 10])
def test_a_gate_that_allows_void_seeds_without_limit_ends_where_a_service_is_down(asked, good):
    tries = Counter()

    def goes_down(config, seed):
        tries[seed] += 1
        if seed >= good:
            raise xt.Unavailable("no route")
        return returns(config, seed) if "of" in asked else True

    test = {"max_seeds": 60, "first_seed": 0, "max_void": 1.0, "verbose": 0, "workers": 0}
    with pytest.raises(
        xt.TrainingError, match=r"^60 seeds in a row could not be tried: .*no route"
    ):
        xt.gate({}, train=goes_down, **asked, **test)
    assert len(tries) == good + 60


# -------------------------------------------------------------------------------------------------
# Waits, with the usual ones: no worker waits, and no decision that does not need the seed.


@pytest.fixture
def _waits(monkeypatch):
    monkeypatch.setattr(core_trainer, "TRY_AGAIN_SECONDS", (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0))


def permanently_void(config, seed):
    """4 % of the seeds; attempts of 10 ms."""
    time.sleep(0.01)
    if random.Random(f"void {seed}").random() < 0.04:
        raise xt.Unavailable("429")
    return {"value": float(solves(config, seed))}


async def permanently_void_awaited(config, seed):
    await asyncio.sleep(0.01)
    return permanently_void(config, seed)


@pytest.mark.usefixtures("_waits")
@pytest.mark.parametrize("asked", [{"min_rate": 0.9}, {"min_mean": 0.9, "of": "value"}])
@pytest.mark.parametrize(
    ("train", "workers"),
    [(permanently_void, 0), (permanently_void, 2), (permanently_void_awaited, 8)],
)
def test_void_seeds_hold_up_no_gate_that_does_not_need_them(train, workers, asked):
    test = {**asked, "first_seed": 0, "verbose": 0}
    success = {} if "of" in asked else {"success": "value >= 0.5"}
    began = time.monotonic()
    found = xt.gate({"rate": 1.0}, train=train, workers=workers, **test, **success)
    assert time.monotonic() - began < 45  # it was one to four minutes; 2 s if nothing else runs
    plain = xt.gate({"rate": 1.0}, train=lambda *_: {"value": 1.0}, workers=0, **test, **success)
    assert (found.answer, found.n) == (plain.answer, plain.n) == ("proven", plain.n)
    assert found.void
    last = found.n + len(found.void)
    unlucky = [seed for seed in range(last) if random.Random(f"void {seed}").random() < 0.04]
    assert list(found.void) == unlucky
    assert f"seeds 0 to {last - 1} without {len(found.void)}" in found.line


@pytest.mark.usefixtures("_waits")
def test_a_seed_that_comes_back_in_time_counts_behind_those_that_have_begun():
    tries = Counter()

    async def training(config, seed):
        tries[seed] += 1
        await asyncio.sleep(0.02)
        if seed == 3 and tries[seed] == 1:
            raise xt.Unavailable("429", retry_after=1.2)  # it is passed over
        if seed == 5 and tries[seed] == 1:
            raise xt.Unavailable("429", retry_after=0.3)  # it keeps its place
        return seed != 3

    # One seed after the other: seed 3 is tried again after some 60 others, of about 180.
    found = xt.gate({}, train=training, min_rate=0.97, workers=1, first_seed=0, verbose=0)
    plain = xt.gate({}, train=lambda _, s: s != 3, min_rate=0.97, workers=0, first_seed=0)
    assert (found.answer, found.k, found.n) == (plain.answer, plain.k, plain.n)
    assert (tries[3], tries[5], found.void) == (2, 2, {})


def test_waits_are_those_that_are_asked_for(monkeypatch):
    monkeypatch.undo()
    times = {seed: [] for seed in range(4)}

    def training(config, seed):
        times[seed].append(time.monotonic())
        if seed == 1:
            raise xt.Unavailable("no mount")
        if seed == 2 and len(times[2]) < 2:
            raise xt.Unavailable("429", retry_after=0.4)
        return True

    options = {"workers": 0, "max_void": 0.2, "verbose": 0}
    outcome = xt.evaluate({}, range(4), train=training, retry_wait=[0.1, 0.2], **options)
    assert list(outcome.details.void) == [1]
    gaps = [after - before for before, after in itertools.pairwise(times[1])]
    assert len(gaps) == 2
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert times[2][1] - times[2][0] >= 0.4  # although 0.1 s is asked for
    assert times[3][0] < times[1][1], "nobody waits with a seed"
    times[1].clear()
    xt.evaluate({}, range(1, 2), train=lambda *_: True, retry_wait=0, **options)
    with pytest.raises(xt.TrainingError):
        xt.evaluate({}, [1], train=training, retry_wait=0, **options)
    assert len(times[1]) == 8


@pytest.mark.parametrize("waits", [-1, math.nan, math.inf, "1", True, [1, "2"], [[1]]])
def test_waits_that_are_no_seconds_are_refused(waits):
    with pytest.raises(xt.InputError, match=r"retry_wait: .*allowed: seconds, 0 or more"):
        xt.evaluate({}, range(3), train=solves, retry_wait=waits)
    with pytest.raises(xt.InputError, match=r"retry_after: .*allowed: seconds, 0 or more"):
        xt.Unavailable("429", retry_after=waits)


def test_seeds_wait_beside_each_other_and_a_service_that_is_down_is_left_alone():
    tried = Counter()

    def training(config, seed):
        tried[seed] += 1
        if seed >= 10:
            raise xt.Unavailable("down")
        return True

    began = time.monotonic()
    with pytest.raises(xt.TrainingError, match="could not be tried, which is more"):
        xt.evaluate({}, range(200), train=training, workers=0, retry_wait=[0.5], verbose=0)
    assert time.monotonic() - began < 10  # 8 seeds wait for 0.5 s, together
    assert set(tried) == {*range(10), *range(10, 10 + core_trainer.HELD_AFTER)}


def test_an_exception_with_a_retry_after_of_its_own_is_heard_too():
    class BusyError(Exception):
        retry_after = 0.3

    times = []

    def training(config, seed):
        times.append(time.monotonic())
        if len(times) == 1:
            raise BusyError
        return True

    xt.evaluate({}, [0], train=training, workers=0, retry=BusyError, verbose=0)
    assert times[1] - times[0] >= 0.3


def test_an_exception_of_a_module_that_a_worker_imports_anew_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "busy_attempts.py").write_text(
        "class Busy(Exception): pass\n"
        "class MoreBusy(Busy): pass\n"
        "def run(config, seed):\n"
        "    if seed == 1:\n"
        "        raise MoreBusy('429')\n"
        "    return True\n"
    )
    module = importlib.import_module("busy_attempts")
    for workers in (0, 1):
        options = {"workers": workers, "retry_wait": [], "max_void": 0.5, "verbose": 0}
        for train in ("./busy_attempts.py:run", module.run):
            outcome = xt.evaluate({}, range(3), train=train, retry=module.Busy, **options)
            assert outcome.details.void == {1: "MoreBusy: 429"}
    monkeypatch.delitem(sys.modules, "busy_attempts")


@given(st.data(), st.integers(1, 6))
def test_places_in_a_line_are_given_before_results_are_known(data, workers):
    """Whatever is void and whoever ends first: the order is the same for all results."""
    line, begun, waiting, running, order = SeedLine(0), 0, set(), [], []
    places = []  # seeds in the order in which they begin, but for those passed over
    for _ in range(data.draw(st.integers(0, 60))):
        if waiting and data.draw(st.booleans()):
            seed = data.draw(st.sampled_from(sorted(waiting)))
            waiting.discard(seed)
            line.take_up(seed, begun)
            places.append(seed)
            running.append(seed)
        elif len(running) < workers:
            running.append(begun)
            places.append(begun)
            begun += 1
        if running:
            seed = running.pop(data.draw(st.integers(0, len(running) - 1)))
            if data.draw(st.integers(0, 3)):
                line.add(seed, [f"result {seed}"])
            else:
                line.pass_over(seed, "429")
                waiting.add(seed)
                places.remove(seed)
        order += line.counting()
    assert order == [(seed, f"result {seed}") for seed in places[: len(order)]]
    left = set(places[len(order) :])
    assert not left or places[len(order)] in running


def every_25th_void(config, seed):
    """4 % of the fresh seeds; attempts of 10 ms."""
    time.sleep(0.01)
    if seed > 2**30 and seed % 25 == 7:
        raise xt.Unavailable("429")
    return solves(config, seed)


@pytest.mark.usefixtures("_waits")
@pytest.mark.parametrize("workers", [0, 2])
def test_void_seeds_hold_up_no_certificate_of_a_rate_that_does_not_need_them(tmp_path, workers):
    space = {**SOLVING, "parameters": {"rate": 1.0}}
    asked, said = {"seeds": 500, "min_rate": 0.95, "verbose": 0}, []
    own = {"train": every_25th_void, "workers": workers}
    xt.search(space, output=tmp_path / "run", verbose=0, **own)
    began = time.monotonic()
    found = xt.certify(tmp_path / "run", listener=said.append, **asked, **own)
    assert time.monotonic() - began < 45  # it had no answer: the attempt was never complete
    assert [attempt.complete for attempt in found.attempts] == [True]
    best = found.best
    needed = boundary(0.95, 500, risk_of(1, 0.95, 1)).first(0)  # as without void seeds
    assert (best.k, best.n, best.lower_bound) == (needed, needed, 0.95)
    void = [line.block.first for line in xt.load_run(tmp_path / "run").checks.void]
    last = best.first + best.n + len(best.left_out)
    assert set(best.left_out) <= set(void)
    assert list(best.left_out) == [s for s in range(best.first, last) if s % 25 == 7]
    text = (tmp_path / "run" / "certificate.json").read_text()
    assert json.loads(text)["finalists"][0]["void"] == list(best.left_out)
    told = f"{len(void)} seeds could not be tried: Unavailable: 429; the answer does not need them"
    assert any(told in str(one) for one in said)
    assert xt.load_run(tmp_path / "run").certificate == found


@pytest.mark.usefixtures("_waits")
@pytest.mark.parametrize("workers", [0, 2])
def test_void_seeds_hold_up_no_sequential_comparison_that_does_not_need_them(tmp_path, workers):
    def compared(train, path, **more):
        both = [{"rate": 0.95}, {"rate": 0.6}]
        options = {"sequential": True, "max_seeds": 400, "verbose": 0, **more}
        return xt.compare(both, labels=["good", "bad"], train=train, output=path, **options)

    plain = compared(solves, tmp_path / "plain", workers=0)
    began = time.monotonic()
    found = compared(every_25th_void, tmp_path / "seeds", workers=workers)
    assert time.monotonic() - began < 45  # it was a minute for each void seed
    assert found.best == plain.best == 0
    first = found.first_seed
    kept = [seed for seed in range(first, first + 400) if seed % 25 != 7][: found.n]
    assert [one.outcome.successes for one in found.contestants] == [
        sum(solves({"rate": rate}, seed) for seed in kept) for rate in (0.95, 0.6)
    ]
    assert abs(found.n - plain.n) <= 2
    void = [seed for seed in range(first, kept[-1] + 8) if seed % 25 == 7]
    assert void
    assert "good, bad: " in str(found)
    assert "could not be tried: Unavailable: 429; left out for all" in str(found)
    again = compared(every_25th_void, tmp_path / "again", workers=0)
    assert again.pairs == found.pairs


@pytest.mark.usefixtures("_waits")
def test_a_seed_that_comes_back_counts_behind_all_others_of_a_sequential_comparison(tmp_path):
    first = xt.compare.__globals__["COMPARE"].start
    tries = Counter()

    def training(config, seed):
        tries[config["rate"], seed] += 1
        if seed == first + 2 and config["rate"] == 0.5 and tries[0.5, seed] == 1:
            raise xt.Unavailable("429", retry_after=1.1)
        if seed == first + 20:
            return config["rate"] == 0.5
        return seed != first + 2

    found = xt.compare(
        [{"rate": 0.5}, {"rate": 0.9}],
        train=training,
        output=tmp_path / "seeds",
        sequential=True,
        max_seeds=30,
        workers=0,
        verbose=0,
    )
    assert tries[0.5, first + 2] == 2
    solved = [one.outcome.successes for one in found.contestants]
    assert (found.n, found.best, solved) == (30, None, [29, 28])
