"""What a sampler is told of a config, the front, and objectives on a trainer's numbers."""

import math

import numpy as np
import pandas as pd
import pytest
from hand_made import done, write_run
from hypothesis import given
from hypothesis import strategies as st

import xortune as xt
from xortune.core import numbers
from xortune.core.errors import InputError
from xortune.core.numbers import statistic_named
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.trainer import Block
from xortune.racing.objectives import (
    SeedSummary,
    costs,
    estimates,
    front,
    numbers_in,
    sampler_value,
    sampler_values,
    speed,
    statistic_interval,
    statistic_value,
)
from xortune.runs.manifest import noted_objectives, objectives_of
from xortune.spaces import model
from xortune.spaces.model import Objective, log_epochs_to_solve
from xortune.spaces.space import parse_space, with_search
from xortune.stats.proportions import expected_rate
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import given_source

RATE, EPOCHS = Objective("success_rate", maximize=True), Objective("epochs_to_solve")
HIDDEN = Objective("hidden_dim")
POINT = Point({"hidden_dim": 5, "lr": 0.1})
BUDGETS = st.integers(0, 2**31 - 1)


@st.composite
def seen(draw, n=None, k=None, most=100_000):
    """Counts and the epochs that they may have taken."""
    n = draw(st.integers(1, most)) if n is None else n
    k = draw(st.integers(0, n)) if k is None else k
    budget = draw(BUDGETS)
    return SeedSummary(k, n, draw(st.integers((n - k) * budget, n * budget)))


def rate_value(counts):
    return sampler_values((RATE,), POINT, counts)[0]


@given(one=seen())
def test_what_is_told_is_finite(one):
    several = sampler_values((RATE, EPOCHS, HIDDEN), POINT, one)
    numbers = (*sampler_values((RATE,), POINT, one), *several)
    assert len(numbers) == 4
    assert all(math.isfinite(number) for number in numbers)
    assert 0 < expected_rate(one.k, one.n) < 1
    assert 0 < speed(one) < 1


@given(data=st.data(), n=st.integers(1, 100_000))
def test_more_successes_are_worth_more_and_speed_never_outweighs_a_seed(data, n):
    fewer = data.draw(st.integers(0, n - 1))
    more = data.draw(st.integers(fewer + 1, n))
    low, high = data.draw(seen(n=n, k=fewer)), data.draw(seen(n=n, k=more))
    assert rate_value(low) < rate_value(high)
    assert expected_rate(low.k, low.n) < expected_rate(high.k, high.n)


@given(n=st.integers(1, 4096), pair=st.lists(st.integers(1, 100_000), min_size=2, max_size=2))
def test_among_those_that_always_solve_the_sooner_is_worth_more(n, pair):
    (a, b) = sorted(pair)
    sooner, later = SeedSummary(n, n, a * n), SeedSummary(n, n, b * n)
    assert (rate_value(sooner) > rate_value(later)) == (a < b)
    assert (log_epochs_to_solve(sooner) < log_epochs_to_solve(later)) == (a < b)


def test_worth_by_hand():
    assert rate_value(SeedSummary(2, 4, 4 * (2**31 - 1))) == pytest.approx(3.001 / 6)
    assert rate_value(SeedSummary(4, 4, 0)) == pytest.approx(5.999 / 6)
    hundred = SeedSummary(4, 4, 400)
    assert speed(hundred) == pytest.approx(1 - math.log(101) / math.log(2**31 + 1))
    speeds = [speed(SeedSummary(1, 1, n)) for n in (10, 100, 1000)]
    assert speeds == pytest.approx([0.89, 0.79, 0.68], abs=0.005)


def test_estimates_and_costs():
    one = SeedSummary(6, 8, 2400)
    assert estimates((RATE, HIDDEN, EPOCHS), POINT, one) == (0.75, 5.0, 400.0)
    assert costs((RATE, HIDDEN, EPOCHS), POINT, one) == (5.0, 400.0)
    assert costs((RATE, Objective("hidden_dim", maximize=True)), POINT, one) == (-5.0,)
    assert costs((RATE, EPOCHS), POINT, SeedSummary(0, 8, 8000)) == (math.inf,)


CELLS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, math.inf])


@given(data=st.data(), directions=st.lists(st.booleans(), min_size=1, max_size=4))
def test_the_front_is_that_of_its_definition(data, directions):
    row = st.tuples(*[CELLS] * len(directions))
    rows = data.draw(st.lists(row, max_size=30))
    objectives = [Objective(f"o{i}", maximize=d) for i, d in enumerate(directions)]
    found = front(rows, objectives)
    assert found.dtype == np.bool_
    costs = np.array(rows).reshape(-1, len(directions)) * np.where(directions, -1, 1)
    dominated = [((costs <= one).all(1) & (costs < one).any(1)).any() for one in costs]
    assert found.tolist() == np.logical_not(dominated).tolist()


STATISTICS = ("mean", "iqm", "median", "q01", "q10", "q75", "q99")
FINITE = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def objective(statistic, *, maximize=True, failed=None):
    return Objective(f"acc_{statistic}", maximize, "acc", statistic, failed)


@given(numbers=FINITE)
def test_without_failures_they_are_numpys(numbers):
    given_ = np.array(numbers)
    assert statistic_named("mean").estimate(given_) == given_.mean()
    assert statistic_named("median").estimate(given_) == np.quantile(given_, 0.5)
    assert statistic_named("q07").estimate(given_) == np.quantile(given_, 0.07)
    cut = len(given_) // 4
    middle = np.sort(given_)[cut : len(given_) - cut]
    assert statistic_named("iqm").estimate(given_) == pytest.approx(
        middle.mean(), rel=1e-9, abs=1e-6
    )


@given(numbers=FINITE, failed=st.integers(0, 10), share=st.integers(1, 99))
def test_a_quantile_is_failed_where_a_failed_seed_has_a_part_in_it(numbers, failed, share):
    every = np.sort(np.concatenate([np.full(failed, -np.inf), numbers]))
    place = (every.size - 1) * share / 100
    parts = every[[math.floor(round(place, 9)), math.ceil(round(place, 9))]]
    found = float(
        statistic_named(f"q{share:02}").estimate(np.random.default_rng(0).permutation(every))
    )
    if np.isinf(parts).any():
        assert found == -np.inf
    else:
        assert parts[0] - 1e-6 <= found <= parts[1] + 1e-6
    other_end = statistic_named(f"q{100 - share:02}")  # less is better
    mirrored = other_end.estimate(-every)
    assert mirrored == pytest.approx(-found, rel=1e-6, abs=1e-6)


@given(
    numbers=st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=30),
    statistic=st.sampled_from(STATISTICS),
    maximize=st.booleans(),
)
def test_a_failed_seed_is_never_better_than_a_number(numbers, statistic, maximize):
    goal = objective(statistic, maximize=maximize)
    sign = 1 if maximize else -1
    before = sign * statistic_value(goal, numbers)
    for place, number in enumerate(numbers):
        if not math.isnan(number):
            changed = [*numbers[:place], math.nan, *numbers[place + 1 :]]
            assert sign * statistic_value(goal, changed) <= before + 1e-6
            assert sign * sampler_value(goal, changed) <= sign * sampler_value(goal, numbers) + 1e-6
    assert math.isfinite(sampler_value(goal, numbers))


def test_a_sampler_is_told_which_of_two_hopeless_ones_fails_less():
    goal = objective("q10")
    half, all_ = [1.0, math.nan], [math.nan, math.nan]
    worst, bad, low = (sampler_value(goal, n) for n in (all_, half, [-1e308, -1e308]))
    assert worst < bad < low
    counted = objective("q10", failed=0.0)
    five, ten = [1.0] * 5 + [math.nan] * 5, [math.nan] * 10
    assert statistic_value(counted, five) == statistic_value(counted, ten) == 0.0
    assert -1e-5 < sampler_value(counted, ten) < sampler_value(counted, five) < 0
    less = objective("q90", maximize=False)
    worst, bad, high = (sampler_value(less, n) for n in (all_, half, [1e308, 1e308]))
    assert worst > bad > high


def test_numbers_of_failed_seeds_are_none_whatever_they_told():
    """Seeds 0, 3 fail in two ways, seed 4 tells no finite loss."""

    def train(config, seed):
        if seed == 0:
            raise RuntimeError
        loss = math.inf if seed == 4 else float(seed)
        return {"acc": math.nan if seed == 3 else 0.1 * seed, "loss": loss}

    trainer = custom_trainer(given_source(train), parse_success("acc >= 0.2"))
    [outcome] = trainer.train([Block(Point({"x": 1}), 0, 6)])
    assert outcome.status[3] == Status.DIVERGED
    np.testing.assert_allclose(numbers_in(outcome, "loss"), [np.nan, 1, 2, np.nan, np.nan, 5])
    np.testing.assert_allclose(numbers_in(outcome, "acc"), [np.nan, 0.1, 0.2, np.nan, 0.4, 0.5])
    assert np.isnan(numbers_in(outcome, "nothing")).all()


SPACE = """
name: n
trainer: ./t.py:run
success: "acc >= 0.5"
parameters: {{lr: {{low: 0.0, high: 1.0}}, width_mean: {{low: 1, high: 4}}}}
search: {{sampler: {sampler}, trials: 5}}
objectives: [{objectives}]
"""


def space(objectives, sampler="tpe"):
    return parse_space(SPACE.format(objectives=objectives, sampler=sampler), "s.yaml")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("acc_q10", Objective("acc_q10", True, "acc", "q10")),
        ("{name: acc_mean, failed: 0}", Objective("acc_mean", True, "acc", "mean", 0)),
        ("{name: loss_iqm, direction: minimize}", Objective("loss_iqm", False, "loss", "iqm")),
        ("{name: a_b_median, direction: maximize}", Objective("a_b_median", True, "a_b", "median")),
        ("success_rate, width_mean", Objective("success_rate", True)),  # a parameter's own name
    ],
)
def test_objectives_in_a_space_file(text, wanted):
    found = space(text).objectives
    assert found[0] == wanted
    assert objectives_of({"objectives": noted_objectives(found)}) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("height_mean", "s.yaml:7.*without a direction.*{name: height_mean, direction: maximize}"),
        ("{name: acc_q10, direction: minimize}", "minimize acc_q10, and a success is acc >= 0.5"),
        ("acc_q100", "unknown objective 'acc_q100'.*with _mean, _iqm, _median, _q01 to _q99"),
        ("acc", "unknown objective 'acc'"),
        ("{name: success_rate, failed: 0}", "success_rate is not a number of each seed"),
        ("acc_q10, lr", "acc_q10 with other objectives, and nothing says what a failed seed"),
        ("acc_q10", "acc_q10 with sampler gp, and nothing says"),
    ],
)
def test_what_no_objective_can_be(text, words):
    with pytest.raises(InputError, match=words):
        space(text, sampler="gp" if text == "acc_q10" else "tpe")


def test_a_sampler_that_sees_distances_has_to_know_how_far_off_a_failed_seed_is():
    with pytest.raises(InputError, match="sampler gp"):
        with_search(space("acc_q10"), sampler="gp")
    assert space("{name: acc_q10, failed: 0.0}", sampler="gp").objectives[0].failed == 0.0


ROWS = {  # x: acc of each seed
    1: [0.9] * 19 + [math.nan],  # 5 % failed: q10 is 0.9
    2: [0.8] * 20,
    3: [0.95] * 17 + [math.nan] * 3,
    4: [0.99] * 5,  # better, but only the first rung
}


def run_of(path, objective="success_rate", rows=ROWS):
    """A run of these accuracies, with losses of minus these, that looked for an objective."""

    def train(config, seed):
        return {"acc": rows[config["x"]][seed], "loss": -rows[config["x"]][seed]}

    trainer = custom_trainer(given_source(train), parse_success("acc >= 0.5"))
    found = trainer.train([Block(Point({"x": x}), 0, len(row)) for x, row in rows.items()])
    return write_run(
        path,
        [done(i, {"x": x}, one) for i, (x, one) in enumerate(zip(rows, found, strict=True))],
        space_text=SPACE.format(objectives=objective, sampler="random"),
        objectives=noted_objectives(space(objective).objectives),
        ladder=sorted({len(row) for row in rows.values()}),
        trainer="t:run",
        name="n",
    )


def test_the_best_is_the_best_in_what_was_looked_for(tmp_path):
    run = run_of(tmp_path / "a", "acc_q10")
    assert [result.point["x"] for result in run.results] == [1, 2, 3, 4]
    table = run.table
    assert table.objective.tolist()[:2] == pytest.approx([0.9, 0.8])
    assert pd.isna(table.objective[2])  # failed seeds decide it
    assert table.objective[3] == 0.99
    assert table.objective_high[1] == 0.8
    assert table.acc_q10[2] == 0.95  # of the seeds that have a number, as ever
    assert run_of(tmp_path / "b", "acc_mean").best["x"] == 2
    less = run_of(tmp_path / "d", "{name: loss_q90, direction: minimize}")
    assert [result.point["x"] for result in less.results] == [1, 2, 3, 4]
    assert less.table.objective.tolist()[:2] == pytest.approx([-0.9, -0.8])
    rated = run_of(tmp_path / "c")
    assert [result.point["x"] for result in rated.results] == [2, 1, 3, 4]
    assert "objective" not in rated.table


def test_a_seed_that_fails_for_all_stops_no_race_for_a_quantile(tmp_path):
    """Of 8 seeds it decides the worst tenth, of 128 it does not; until then the median does."""

    def train(config, seed):
        draw = np.random.default_rng([seed, config["w"]]).random()
        return {"accuracy": math.nan if seed == 3 else draw ** (1 / config["w"])}

    space = {
        "name": "one",
        "parameters": {"w": {"choice": [1, 2, 3, 4, 5, 6, 7, 30]}},
        "search": {"sampler": "grid"},
        "seeds": {"ladder": [8, 128]},
        "objectives": ["accuracy_q10"],
    }
    run = xt.search(space, output=tmp_path / "run", train=train, workers=0, verbose=0)
    best, *others = run.results
    assert (best.point["w"], best.outcome.n) == (30, 128)
    medians = [np.nanmedian(one.outcome.details.values["accuracy"]) for one in others]
    assert medians == sorted(medians, reverse=True)
    report = (run.path / "report.md").read_text().replace("\\", "")
    assert "by accuracy_q10 (by the median where failed seeds make it as bad as" in report


def test_an_interval_says_that_its_worse_end_may_have_failed():
    numbers = np.array([math.nan, math.nan, *np.linspace(0.5, 1.0, 38)])  # 5 % failed
    within = pytest.approx(0.75, abs=0.25)
    for goal, n, ends in (
        (objective("q10"), 40, (-math.inf, pytest.approx(0.6, abs=0.1))),  # the least of 40 failed
        (objective("mean"), 40, (-math.inf, -math.inf)),
        (objective("median"), 40, (within, within)),
        (objective("iqm"), 40, (within, within)),
        (objective("iqm"), 20, (-math.inf, within)),  # two of 20: a quarter may fail
        (objective("iqm", maximize=False), 20, (pytest.approx(0.5, abs=0.5), math.inf)),
    ):
        assert statistic_interval(goal, numbers[:n]) == ends


def test_a_report_says_where_an_interval_is_open(tmp_path):
    run = run_of(tmp_path / "run", "acc_q10", {1: np.linspace(0.5, 0.9, 8).tolist()})
    xt.write_report(run)
    report = (run.path / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert "is 0.540 [open to 0.672] over all 8 seeds" in report
    row = next(line for line in report.splitlines() if "8 of 8 |" in line)
    assert {" 0.540 [open to 0.672] ", " 0.860 [0.728 to open] "} <= {*row.split("|")}


def test_a_statistic_is_one_value_that_all_ask(tmp_path, monkeypatch):
    worst = numbers.Statistic(
        *("worst", "worst seed", "the smallest number"), lambda x: float(x.min()), lambda _: None
    )
    monkeypatch.setattr(numbers, "STATISTICS", (*numbers.STATISTICS, worst))

    def train(config, seed):
        return float(seed % 3 + config["x"])

    space = {
        "name": "worst",
        "objectives": ["value_worst"],
        "success": "value >= 2",
        "parameters": {"x": {"choice": [0, 1]}},
        "search": {"sampler": "grid"},
        "seeds": {"ladder": [6]},
    }
    run = xt.search(space, train=train, output=tmp_path / "run", workers=0, verbose=0)
    assert run.table.objective.tolist() == run.table.value_worst.tolist() == [1, 0]
    found = xt.evaluate({"x": 2}, train=train, seeds=range(6), workers=0)
    assert found.summary()["worst"].value == 2
    xt.write_report(run)
    assert "worst" in (run.path / "report.md").read_text(encoding="utf-8")
    both = [{"x": 0}, {"x": 1}]
    with pytest.raises(InputError, match="no test compares 'value_worst'"):
        xt.compare(both, train=train, by="value_worst", output=tmp_path / "other", seeds=6)


def test_a_measured_objective_is_one_value_that_all_ask(tmp_path, monkeypatch):
    missed = model.MeasuredObjective(
        *("missed", "seeds missed", "missed", False),
        *(lambda seen: float(seen.n - seen.k), lambda value: f"{value:.0f} seeds"),
        *(lambda seen: float(seen.n - seen.k), "missed"),
    )
    monkeypatch.setattr(model, "MEASURED", (*model.MEASURED, missed))

    def train(config, seed):
        return seed % 4 < config["x"]

    space = {
        "name": "missed",
        "objectives": ["missed", "x"],
        "parameters": {"x": {"choice": [1, 2, 3]}},
        "search": {"sampler": "grid"},
        "seeds": {"ladder": [8]},
    }
    run = xt.search(space, train=train, output=tmp_path / "run", workers=0, verbose=0)
    assert run.table.front.all()
    xt.write_report(run)
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert all(f"| {shown} seeds |" in report for shown in (2, 4, 6))
    assert "seeds missed" in report
