"""The benchmark of searches: its truth, accounts and tables; who wins is no test's business.

Whatever is imported from `benchmarks/` is imported in the tests, since that is no package.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.runs.evaluation import Evaluation, encode

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
GOOD = {"kind": "b", "x": 29, "y": 11, "z": 7, "epochs": 100}
FAIR = {"kind": "c", "x": 10, "y": 28, "z": 4, "epochs": 100}
POOR = {"kind": "b", "x": 18, "y": 11, "z": 7, "epochs": 100}


@pytest.fixture(autouse=True)
def _found(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def bench():
    from quality.spaces import SPACES

    return SPACES["synthetic"]


@pytest.fixture
def tracer(bench):
    from quality.trace import Tracer

    return Tracer(bench, 3, 600 * bench.epochs)


@pytest.mark.parametrize("point", [GOOD, FAIR, POOR])
def test_synthetic_rate_is_the_tables(point):
    from quality import surface

    seeds = range(40_000)
    rate = surface.true_rate(point)
    error = math.sqrt(rate * (1 - rate) / len(seeds))
    assert surface.solved(point, seeds).mean() == pytest.approx(rate, abs=4 * error)


def test_synthetic_outcomes_belong_to_seed_and_config():
    from quality import surface

    whole = surface.solved(FAIR, range(1000, 2000))
    parts = [surface.solved(FAIR, [seed]) for seed in range(1000, 2000)]
    assert whole.tolist() == np.concatenate(parts).tolist()
    # Two configs of nearly one rate agree on a seed more often than strangers, but not always.
    other = {**FAIR, "x": 11}
    here, there = (surface.solved(point, range(40_000)) for point in (FAIR, other))
    a, b = surface.true_rate(FAIR), surface.true_rate(other)
    strangers = a * b + (1 - a) * (1 - b)
    assert strangers + 0.005 < (here == there).mean() < 0.995


def test_spaces_draw_what_they_allow_and_can_train_it():
    from quality.spaces import SPACES as EVERY
    from quality.tables import NAMES  # need a package that is not installed here

    from xortune.spaces.model import Choice, Fixed, contains, is_active

    spaces = {name: bench for name, bench in EVERY.items() if name not in NAMES}
    assert {"xor", "parity-3", "parity-4", "narrow", "rare", "wide", "synthetic"} == set(spaces)
    assert sum(not isinstance(p, Fixed) for p in spaces["wide"].space.parameters) >= 12
    rng = np.random.default_rng(0)
    for bench in spaces.values():
        for _ in range(5):
            point = bench.draw(rng)
            for p in bench.space.parameters:
                assert (p.name in point) == is_active(p, point)
                if isinstance(p, Choice) and p.name in point:
                    assert contains(p.values, point[p.name])
                elif not isinstance(p, Fixed) and p.name in point:
                    assert p.low <= point[p.name] <= p.high
                    assert isinstance(point[p.name], int) == p.integer
        assert bench.train(point, [5, 7]).n == 2


def test_truth_is_measured_once_on_seeds_of_its_own(tmp_path, monkeypatch):
    from quality import truth
    from quality.spaces import SPACES, shifted

    assert max(shifted([2**31 - 1], 1000)) < min(truth.SEEDS)
    assert len(truth.SEEDS) == 10_000
    monkeypatch.setattr(truth, "SEEDS", range(3_300_000_000, 3_300_000_050))
    rare, cache = SPACES["rare"], tmp_path / "truth.jsonl"
    rng = np.random.default_rng(0)
    points = [Point(rare.draw(rng)) for _ in range(2)]
    rates = truth.true_rates(rare, points, cache)
    assert rates == [rare.train(point, truth.SEEDS).rate for point in points]
    monkeypatch.setattr(type(rare), "train", None)
    assert truth.true_rates(rare, points[::-1], cache) == rates[::-1]


def test_tracer_counts_and_takes_down(tracer, monkeypatch):
    clock = iter([1.0, 2.5, 3.0, 99.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    tracer._started = 0.0
    outcome = tracer.train(GOOD, range(8))
    assert outcome.seeds.tolist() == list(range(3_000_000, 3_000_008))
    tracer.answer(GOOD, 8, 8)
    tracer.answer(GOOD, 8, 8)  # nothing new
    tracer.train(POOR, range(100))
    tracer.answer(GOOD, 31, 32)
    tracer.answer(POOR, 90, 100)
    found = [(s.spent, s.seconds, s.config, s.k, s.n) for s in tracer.steps]
    assert found == [(800, 1.0, 0, 8, 8), (10_800, 2.5, 0, 31, 32), (10_800, 3.0, 1, 90, 100)]
    assert [point["kind"] for point in tracer.points] == ["b", "b"]


def test_xortunes_journal_tells_its_answers(bench, tracer, tmp_path):
    from quality.journal import Journal
    from quality.spaces import SpaceTrainer

    trainer = SpaceTrainer(bench, 3)
    journal = Journal(tmp_path, tracer)
    counts = []
    # 8 seeds of a poor one, 8 of a good one, 24 more of the good one, 96 more of it.
    blocks = [(POOR, 0, 8), (GOOD, 0, 8), (GOOD, 8, 24), (GOOD, 32, 96)]
    for number, (point, first, count) in enumerate(blocks):
        block = Block(Point(point), first, count)
        (outcome,) = trainer.train([block])
        counts.append(outcome.successes)
        line = encode(Evaluation(number, block, outcome, None, True, 0.1, "here:1"))
        with (tmp_path / "evaluations.jsonl").open("a") as file:
            file.write(line + "\n")
        journal.read()
    assert counts[0] < counts[1] == 8
    found = [(s.spent // bench.epochs, s.config, s.k, s.n) for s in tracer.steps]
    total = sum(counts[1:])
    assert found == [
        (8, 0, counts[0], 8),
        (16, 1, 8, 8),
        (40, 1, 8 + counts[2], 32),
        (136, 1, total, 128),
    ]


def _record(method="flat", repetition=0, steps=(), rates=(), **changes):
    from quality.record import Record
    from quality.trace import Step

    fields = {
        "space": "made-up",
        "method": method,
        "repetition": repetition,
        "epochs": 10,
        "asked": 4000,
        "budget": 4000,
        "spent": 4000,
        "seconds": 8.0,
        "steps": tuple(Step(*step) for step in steps),
        "rates": tuple(rates),
    }
    return Record(**(fields | changes))


# Answers from 1,000 seed-epochs (2 s) on with a rate of 0.5, from 3,000 (6 s) with 0.995.
STEPS = ((1000, 2.0, 0, 60, 100), (3000, 6.0, 1, 100, 100))


def test_figures_of_a_trace():
    from quality.summary import area, overshoot, rate_at, reached

    record = _record(steps=STEPS, rates=(0.5, 0.995))
    assert [rate_at(record, at) for at in (999, 1000, 2999, 3000)] == [0.0, 0.5, 0.5, 0.995]
    assert [rate_at(record, at, "seconds") for at in (1.9, 2.0, 60.0)] == [0.0, 0.5, 0.995]
    assert area(record, 4000) == pytest.approx((2000 * 0.5 + 1000 * 0.995) / 4000)
    assert area(record, 2000) == pytest.approx(0.25)
    assert area(record, 500) == 0.0
    assert reached(record) == 3000
    assert reached(record, "seconds") == 6.0
    assert reached(record, target=0.999) == math.inf
    assert overshoot(record) == pytest.approx(0.005)


def test_a_good_answer_counts_from_where_it_is_kept():
    from quality.summary import held, reached

    steps = ((100, 1.0, 0, 1, 1), (200, 2.0, 1, 2, 2), (300, 3.0, 0, 2, 2), (400, 4.0, 2, 8, 8))
    record = _record(steps=(*steps, (5000, 9.0, 1, 9, 9)), rates=(0.991, 0.5, 0.999))
    assert reached(record) == 100
    assert held(record) == 300
    assert held(record, "seconds") == 3.0
    assert held(record, target=0.995) == 400
    assert held(_record(steps=steps[:2], rates=(0.991, 0.5))) == math.inf
    assert held(_record()) == math.inf


def test_ratio_of_medians_and_its_interval():
    from quality.summary import ratio

    rng = np.random.default_rng(0)
    assert ratio([30.0, 40.0, 50.0], [10.0], rng) == (4.0, 3.0, 5.0)
    assert ratio([math.inf] * 3, [10.0, 20.0], rng) == (math.inf, math.inf, math.inf)
    assert ratio([math.inf] * 3, [math.inf] * 3, rng) == (1.0, 1.0, 1.0)
    assert ratio([5.0], [math.inf], rng) == (0.0, 0.0, 0.0)
    # Of a sample of 400, the interval is about 2 * 1.96 * 1.25 / sqrt(400) standard deviations.
    many = np.random.default_rng(1).normal(10, 1, size=400)
    found, low, high = ratio(list(many), [1.0], rng)
    assert found == np.median(many)
    assert high - low == pytest.approx(0.245, abs=0.08)


def test_summary_says_who_is_how_much_slower():
    from quality.summary import summary

    records = [
        *(_record("xortune", i, ((500, 1.0, 0, 128, 128),), (0.999,)) for i in range(4)),
        *(_record("flat", i, STEPS, (0.5, 0.995)) for i in range(4)),
        _record("smac", 0, STEPS, (0.5, 0.995), budget=2000),
    ]
    text = summary(records)
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in text.split("Median true rate")[0].splitlines()
        if line.startswith("|")
    }
    assert rows["xortune"][:7] == ["4", "4", "0.9990", "0.749", "0.5 (4/4)", "1 s", "0.5"]
    assert rows["flat"] == [
        *["4", "4", "0.9950", "0.250", "3 (4/4)", "6 s", "3", "+0.5, +0.5"],
        *["6 (6 to 6)", "6 (6 to 6)"],
    ]
    assert rows["smac"][0] == "1"
    assert rows["smac"][4:7] == ["∞ (0/1)", "∞ s", "∞"]
    assert rows["smac"][7:] == ["+10.0, +10.0", "∞ (∞ to ∞)", "∞ (∞ to ∞)"]
    assert "Cut off by the clock before the budget was spent: smac." in text


def test_records_come_back_and_the_largest_counts(tmp_path):
    from quality.record import append, read

    path = tmp_path / "records.jsonl"
    assert read(path) == []
    small = _record(steps=STEPS, rates=(0.5, 0.995), configs=({"lr": 0.1}, {"lr": 0.2}))
    large = _record(steps=STEPS, rates=(0.5, 0.995), asked=8000)
    other = _record("smac", 1, STEPS, (0.5, 0.995))
    for record in (large, small, other):
        append(path, record)
    assert read(path) == [large, other]
    append(tmp_path / "one.jsonl", small)
    assert read(tmp_path / "one.jsonl") == [small]


@pytest.mark.parametrize("method", ["halving", "hyperband", "irace"])
def test_methods_with_seeds_as_fidelity_train_each_seed_once(method, tracer, monkeypatch):
    from quality import methods_seeds

    trained = []
    train = tracer.train

    def noted(point, seeds):
        trained.extend((point.key, seed) for seed in seeds)
        return train(point, seeds)

    monkeypatch.setattr(tracer, "train", noted)
    getattr(methods_seeds, method)(tracer)
    assert len(trained) == len(set(trained)) == tracer.spent // tracer.bench.epochs >= 600
    k, n = tracer.steps[-1].k, tracer.steps[-1].n
    assert n == sum(key == tracer.points[tracer.steps[-1].config].key for key, _ in trained)
    assert 0 < k <= n


def test_a_race_by_friedman_keeps_what_its_test_does_not_reject():
    from quality.methods_seeds import _kept
    from scipy.stats import friedmanchisquare

    rng, names = np.random.default_rng(0), list("abcd")
    verdicts = set()
    for _ in range(60):
        solved = rng.random((4, 12)) < np.array([0.9, 0.9, 0.8, rng.random()])[:, None]
        rejects = friedmanchisquare(*~solved).pvalue < 0.05
        kept = _kept(solved, names)
        verdicts.add(rejects)
        assert rejects or kept == names
        assert names[solved.sum(axis=1).argmax()] in kept
    assert verdicts == {True, False}
    assert _kept(np.ones((3, 9), bool), names[:3]) == names[:3]
    assert _kept(np.arange(4)[:, None] >= [1] * 12, names) == ["b", "c", "d"]
