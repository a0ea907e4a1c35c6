"""The race where a rate is required: who gets seeds, what is proven, what comes first."""

import math
import re
import shutil
from itertools import product

import numpy as np
import pytest
from commands import xortune

import xortune as xt
from xortune.core.errors import InputError
from xortune.racing.feasible import (
    OPEN,
    PROVEN,
    REFUTED,
    chance_to_reach,
    feasible_race,
    next_feasible,
    rate_state,
    seeds_to_tell,
    speaks_for,
)
from xortune.racing.objectives import (
    SeedSummary,
    least_cost,
    required_value,
)
from xortune.racing.race import RaceRule, race_lower, race_upper
from xortune.reports.figures.frontier import required_rate
from xortune.reports.figures.ranking import ranking
from xortune.runs.manifest import noted_objectives, objectives_of
from xortune.runs.run import load_run
from xortune.spaces.model import Objective, Requirement, seconds_of_seed
from xortune.spaces.space import describe, load_space

RATE = Requirement(0.9, 0.05)


def arms(*rows):
    """(state, chance, cost) of each configuration, with its cost known and seeds left."""
    state, chance, cost = (np.array(column) for column in zip(*rows, strict=True))
    known = [("n", int), ("state", int), ("chance", float), ("cost", float), ("least", float)]
    found = np.zeros(len(rows), known)
    found["n"], found["state"], found["chance"] = 1, state, chance
    found["cost"] = found["least"] = cost
    return found


def test_a_state_is_what_the_bounds_of_the_race_say():
    for n, number in product((1, 2, 8, 60, 400), (1, 7, 100)):
        k = np.arange(n + 1)
        low, high = (bound(k, n, number, alpha=0.05) for bound in (race_lower, race_upper))
        expected = np.where(low > 0.9, PROVEN, np.where(high < 0.9, REFUTED, OPEN))
        assert rate_state(k, n, number, RATE).tolist() == expected.tolist()


def test_only_what_may_be_the_answer_gets_seeds():
    found = next_feasible(
        arms(
            (OPEN, 0.9, 5),  # 0: costs as much as what is proven
            (PROVEN, 1.0, 5),
            (OPEN, 0.9, 4),  # 2: speaks for the rate
            (OPEN, 0.01, 3),  # 3: hardly, but is cheaper
            (REFUTED, 0.0, 1),
            (OPEN, 0.02, 1),  # 5: hardly, a little likelier
            (OPEN, 0.95, 2),  # 6: the cheapest of those that speak for it
        ),
        0.9,
        2,
    )
    assert found == [6, 2, 5, 3]


def test_nobody_gets_seeds_once_all_that_is_cheaper_is_refuted():
    rows = arms((PROVEN, 1.0, 3), (REFUTED, 0.0, 2), (OPEN, 0.9, 3), (OPEN, 0.9, 7))
    assert next_feasible(rows, 0.9, 2) == []
    last = rows.copy()
    last["least"][2] = -math.inf  # a cost that may still fall
    assert next_feasible(last, 0.9, 2) == [2]


def test_a_cost_that_failed_seeds_make_infinite_is_the_answer_where_no_other_is():
    worst = (OPEN, 0.9, math.inf)
    assert next_feasible(arms(worst, (OPEN, 0.95, math.inf), (REFUTED, 0.0, 1)), 0.9, 2) == [1, 0]
    assert next_feasible(arms(worst, (OPEN, 0.9, 7)), 0.9, 2) == [1, 0]
    assert next_feasible(arms(worst, (PROVEN, 1.0, 7)), 0.9, 2) == []
    assert next_feasible(arms(worst, (PROVEN, 1.0, math.inf)), 0.9, 2) == []


def test_seeds_speak_for_a_rate_while_none_fails():
    assert all(speaks_for(n, n, 0.99) for n in range(500))
    assert not speaks_for(7, 8, 0.99)
    assert speaks_for(995, 1000, 0.99)
    assert not speaks_for(980, 1000, 0.99)
    assert chance_to_reach(0, 0, 0.5) > chance_to_reach(0, 0, 0.99)


RUNGS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def raced(rates, costs, rng):
    """A race of arms one after the other: its answer, the seeds of each, and what it proved."""
    race = feasible_race(RaceRule(RUNGS), RATE)
    seen = {name: [0, 0] for name in range(len(rates))}
    for name in seen:
        race.enter(name)

    def train(name, to):
        seen[name][0] += rng.binomial(to - seen[name][1], rates[name])
        seen[name][1] = to
        race.see(name, *seen[name], costs=(costs[name],), least=costs[name])

    for name in seen:
        train(name, RUNGS[0])
    while (name := race.next({}, last=True)) is not None:
        train(name, next(rung for rung in RUNGS if rung > seen[name][1]))
    k, n = np.array(list(seen.values())).T
    states = rate_state(k, n, np.arange(1, len(k) + 1), RATE)
    proven = np.flatnonzero(states == PROVEN)
    answer = min(proven, key=lambda at: costs[at], default=None)
    return answer, n, states


def test_the_answer_is_the_cheapest_that_reaches_the_rate_with_few_seeds():
    rng = np.random.default_rng(3)
    rates = np.array([0.3, 0.6, 0.75, 0.98, 0.5, 0.99, 0.995, 1.0, 0.97, 0.99])
    costs = np.array([1, 2, 3, 4, 4, 5, 6, 7, 8, 9])
    right = wrong = spent = 0
    for _ in range(20):
        answer, n, states = raced(rates, costs, rng)
        right += answer == 3
        wrong += bool(
            (states[rates >= 0.9] == REFUTED).any() or (states[rates < 0.9] == PROVEN).any()
        )
        spent += int(n.sum())
    assert right >= 19
    assert wrong <= 1  # 20 * 0.05
    assert spent / 20 < len(rates) * 256 / 3


def test_what_decides_first_is_waited_for():
    race = feasible_race(RaceRule(RUNGS), RATE)
    for name, k, cost in (("small", 8, 1.0), ("large", 8, 2.0), ("poor", 4, 0.5)):
        race.enter(name)
        race.see(name, k, 8, costs=(cost,), least=cost)
    assert race.next({}) == "small"
    assert race.next({"small": 8}) is None  # it would make the seeds of the large one needless
    race.see("small", 512, 512, costs=(1.0,), least=1.0)
    assert race.next({}) == "poor"  # what costs less has to be refuted
    assert race.next({"poor": 8}) is None
    assert race.next({}, left=0) is None
    race.see("poor", 2, 64, costs=(0.5,), least=0.5)
    assert race.is_stopped("poor")
    assert race.next({}) is None
    race.forget("poor")
    assert not race.is_stopped("poor")


def test_seconds_are_the_median_of_seeds():
    assert seconds_of_seed([(9.0, 1), (0.1, 4), (0.2, 4)]) == 0.2
    assert seconds_of_seed([]) == math.inf
    assert (
        SeedSummary(timed_blocks=((1.0, 2),)) + SeedSummary(timed_blocks=((3.0, 1),))
    ).timed_blocks == ((1.0, 2), (3.0, 1))


def test_a_measured_cost_says_nothing_before_some_seeds():
    seconds, size = (Objective(name, required=RATE) for name in ("seconds", "hidden_dim"))
    number = Objective("loss_q50", False, "loss", "median", required=RATE)
    few, more = SeedSummary(7, 7), SeedSummary(8, 8)
    assert least_cost(size, few, 3.0) == 3.0
    assert least_cost(seconds, few, 3.0) == -math.inf
    assert least_cost(seconds, more, 3.0) == 3.0
    numbers = SeedSummary(20, 20, numbers=(tuple(range(20)),))
    assert 0 < least_cost(number, numbers, 10.0) < 10


@pytest.mark.parametrize("maximize", [False, True])
def test_a_sampler_prefers_what_may_reach_the_rate_then_what_costs_less(maximize):
    wanted = Objective("size", maximize, required=RATE)
    cases = [(20, 20, 1e9), (8, 8, 2.0), (8, 8, 9.0), (1, 1, math.inf), (6, 8, 1.0), (0, 8, 0.5)]
    worth = [required_value(wanted, SeedSummary(k, n), cost) for k, n, cost in cases]
    order = np.argsort(np.array(worth) * (-1 if maximize else 1)).tolist()
    assert order == [1, 2, 0, 3, 4, 5]
    assert all(map(math.isfinite, worth))


SPACE = {
    "name": "smallest",
    "task": "xor",
    "epochs": 300,
    "parameters": {
        "activation": "Tanh",
        "loss": "MSELoss",
        "optimizer": "Adam",
        "lr": {"choice": [0.03, 0.1, 0.3]},
        "hidden_dim": {"choice": [2, 3, 4, 5, 6, 8]},
    },
    "search": {"sampler": "grid"},
    "seeds": {"race": {"max": 2048}, "certify": 300},
    "objectives": [{"minimize": "hidden_dim"}],
    "require": {"rate": 0.8},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return xt.search(
        SPACE, output=tmp_path_factory.mktemp("smallest") / "run", workers=0, verbose=0
    )


def test_the_smallest_network_that_reaches_a_rate(run):
    assert run.best.hidden_dim == 3
    results, required = run.results, required_rate(run)
    assert required.states[0] == PROVEN
    smaller = np.array(results.values("hidden_dim")) < 3
    assert (required.states[smaller] == REFUTED).all()
    full = int(results.counts.n.max()) * len(results)
    assert results.counts.n.sum() < full / 3
    values = [one.point["hidden_dim"] for one in run.certificate.finalists]
    assert values == [3, 4, 2]
    assert run.certificate.best.point == results[0].point
    below = run.certificate.finalists[-1]
    assert below.lower_bound < below.upper_bound < 0.8
    assert "hidden_dim 3 reaches 0.8 (proven 0." in required.sentences[-1]
    assert "hidden_dim 2 does not (at most 0." in required.sentences[-1]
    assert all(sentence in (run.path / "report.md").read_text() for sentence in required.sentences)
    assert (run.path / "figures" / "frontier.svg").exists()


def test_its_figure_has_the_rate_the_intervals_and_fresh_seeds(run):
    figure = xt.plot_frontier(run)
    labels = {trace.name for trace in figure.data}
    assert {"proven to reach the rate", "on fresh seeds, with both bounds"} <= labels
    assert "hidden_dim 3 is the best that reaches a rate of 0.8" in figure.layout.title.text


def test_what_is_not_told_is_said_with_the_seeds_that_would_tell(tmp_path):
    changes = {"require": {"rate": 0.86}, "seeds": {"race": {"max": 128}}}
    run = xt.search(SPACE | changes, output=tmp_path / "run", workers=0, verbose=0)
    assert run.best.hidden_dim == 4
    searched = required_rate(run).sentences[0].partition("In the search ")[2]
    assert searched.startswith("hidden_dim 4 reaches 0.86 (proven 0.")
    told = (
        r"hidden_dim 3 is not told from 0\.86 by 128 seeds \((\S+) to (\S+); about (\S+) more would"
    )
    low, high, more = re.search(told, searched).groups()
    assert float(low) < 0.86 < float(high)
    assert int(more.replace(",", "")) > 128


@pytest.mark.parametrize(("k", "n", "rate"), [(97, 100, 0.95), (16240, 16384, 0.99), (60, 80, 0.9)])
def test_the_seeds_that_would_tell_are_enough_at_the_rate_so_far(k, n, rate):
    required = Requirement(rate, 0.05)
    total = n + seeds_to_tell(k, n, 7, required)
    for seeds, states in ((total, (PROVEN, REFUTED)), (n + (total - n) // 2, (OPEN,))):
        assert int(rate_state(round(k / n * seeds), seeds, 7, required)) in states
    assert seeds_to_tell(9, 10, 1, Requirement(0.9, 0.05)) is None


def test_fresh_seeds_may_prove_what_the_search_left_open(tmp_path):
    changes = {"require": {"rate": 0.8}, "seeds": {"race": {"max": 64}, "certify": 2000}}
    run = xt.search(SPACE | changes, output=tmp_path / "run", workers=0, verbose=0)
    assert run.best.hidden_dim == 4  # 64 seeds do not prove it of the smaller one
    assert run.certificate.best.point["hidden_dim"] == 3


def test_a_resumed_search_is_the_same(run, tmp_path):
    journal = (run.path / "evaluations.jsonl").read_bytes().splitlines(keepends=True)
    part = tmp_path / "run"
    shutil.copytree(run.path, part)
    (part / "evaluations.jsonl").write_bytes(b"".join(journal[: len(journal) // 2]))
    again = xt.search(SPACE, output=part, resume=True, workers=0, verbose=0)
    assert again.table.equals(run.table)


def required_space(wanted, rate, choices, most):
    """A space of a function of x, with a required rate."""
    return {
        "name": "own",
        "parameters": {"x": {"choice": choices}},
        "search": {"sampler": "grid"},
        "seeds": {"race": {"max": most}},
        "objectives": [{"minimize": wanted}],
        "require": {"rate": rate},
    }


def own(config, seed):
    return {"success": seed % 10 != 9 or config["x"] > 1, "loss": config["x"] + seed / 1000}


@pytest.mark.parametrize(("wanted", "x"), [("loss_median", 2), ("x", 2)])
def test_a_number_or_a_parameter_of_a_function(tmp_path, wanted, x):
    space = required_space(wanted, 0.95, [1, 2, 3], 512)
    run = xt.search(space, output=tmp_path / "run", train=own, workers=0, verbose=0)
    assert run.best.x == x
    assert load_run(run.path).objectives == run.objectives
    if wanted != "x":  # a failed seed counts as worse than any number
        assert run.table["objective"].tolist() == run.results.measured(run.objectives[0]).tolist()
    report = (run.path / "report.md").read_text()
    assert "95 % interval" in report  # of its own verdicts, though no rule is given
    assert "finished seeds" not in report


def test_a_space_says_which_race_a_number_with_a_required_rate_has(tmp_path):
    (tmp_path / "train.py").write_text("def run(config, seed):\n    return {'success': True}\n")
    space = load_space({"trainer": "./train.py:run", **required_space("loss_q90", 0.8, [1, 2], 64)})
    (tmp_path / "space.yaml").write_text(space.text)
    said = " ".join(xortune("space", tmp_path / "space.yaml", code=0).stdout.split())
    assert "ends when the answer is proven to reach the rate, and what costs less not to" in said
    assert "alpha 0.05" in said
    assert "promoted" not in said


def test_the_certify_command_says_whether_the_rate_is_reached(tmp_path):
    (tmp_path / "train.py").write_text(
        "def run(config, seed):\n    return {'success': seed % 10 != 9 or config['x'] > 1}\n"
    )
    space = load_space({"trainer": "./train.py:run", **required_space("x", 0.8, [1, 2], 64)})
    (tmp_path / "space.yaml").write_text(space.text)
    asked = "search", tmp_path / "space.yaml", "--output", tmp_path / "run", "--workers", 0
    searched = xortune(*asked, code=0).stdout
    assert "On fresh seeds" not in searched
    certified = xortune("certify", tmp_path / "run", "--seeds", 200, "--workers", 0, code=0).stdout
    assert re.search(r"On fresh seeds: x \d reaches 0.8 \(proven", " ".join(certified.split()))
    shown = xortune("report", tmp_path / "run", code=0).stdout
    assert shown.count("On fresh seeds: ") == 1


def test_a_required_rate_without_a_rule_for_numbers_is_refused(tmp_path):
    def numbers(config, seed):
        return {"loss": config["x"]}

    space = required_space("x", 0.5, [1, 2], 64)
    with pytest.raises(InputError, match="no rule says what a success is"):
        xt.search(space, output=tmp_path / "run", train=numbers, workers=0, verbose=0)


def dies(config, seed):
    return {"success": seed != 1, "loss": math.nan if seed == 1 else config["x"]}


def test_a_search_whose_seeds_all_fail_once_proves_the_rate_all_the_same(tmp_path):
    space = required_space("loss_mean", 0.5, [1, 2], 64)
    run = xt.search(space, output=tmp_path / "run", train=dies, workers=0, verbose=0)
    required = required_rate(run)
    assert required.states.tolist() == [PROVEN, OPEN]
    [said] = required.sentences
    assert "proven that 1 configuration reaches it (1 is open);" in said
    assert "None that reaches it has a loss_mean, because failed seeds" in said
    assert f"In the search {run.results[0].key} (loss_mean failed) reaches 0.5 (proven" in said


def test_seconds_are_an_objective(tmp_path):
    def slow(config, seed):
        return sum(range(20_000 * config["x"])) >= 0 and seed >= 0

    space = required_space("seconds", 0.8, [50, 1], 64)
    run = xt.search(space, output=tmp_path / "run", train=slow, workers=0, verbose=0)
    assert run.best.x == 1
    assert run.table["objective"].iloc[0] == run.results.measured(run.objectives[0])[0]
    text = (run.path / "report.md").read_text()
    assert "| # | solved | rate | 95 % interval | seconds | x | key |" in text
    [said] = required_rate(run).sentences
    assert re.search(r"The best seed time that reaches it is [\d.]+ (ms|µs|s)\.", said)
    title = xt.plot_frontier(run).layout.title.text
    assert re.search(r"seed time [\d.]+ (ms|µs|s) is the best that reaches a rate of 0.8", title)
    assert re.search(rf"{run.results.keys[0]} \([\d.]+ (ms|µs|s)\) reaches 0.8", said), said
    assert xt.search(
        space, output=run.path, train=slow, workers=0, verbose=0, resume=True
    ).table.equals(run.table)


def test_what_is_noted_is_read():
    [noted] = noted_objectives([Objective("x", required=RATE)])
    assert objectives_of({"objectives": [noted]}) == (Objective("x", required=RATE),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["success_rate"]}, "a required rate, and no other objective"),
        ({"objectives": ["hidden_dim", "epochs_to_solve"]}, "2 objectives with a required rate"),
        ({"objectives": [{"minimize": "seconds"}], "require": None}, "`require: {rate: 0.95}`"),
        ({"objectives": [{"minimize": "hidden"}]}, "did you mean 'hidden_dim'"),
        ({"objectives": [{"minimize": "x", "maximize": "y"}]}, "no objective with one name"),
        ({"objectives": [{"maximize": "seconds"}]}, "write minimize: seconds"),
        ({"require": {"rate": 1.0}}, "above 0, below 1"),
        ({"require": {}}, "add a line `rate"),
    ],
)
def test_what_cannot_be_required_is_refused(changes, message):
    space = {key: value for key, value in (SPACE | changes).items() if value is not None}
    with pytest.raises(InputError, match=re.escape(message)):
        load_space(space)


def test_a_rate_that_cannot_be_proven_is_refused_with_what_it_takes(tmp_path):
    space = SPACE | {"require": {"rate": 0.99}, "seeds": {"race": {"max": 128}}}
    with pytest.raises(InputError, match=r"0\.99 can never be proven") as caught:
        xt.search(space, output=tmp_path / "run", workers=0, verbose=0)
    assert "require.rate" in str(caught.value)
    told = re.search(
        r"`race: {max: (\d+)}`.* never fails, (\d+) for one whose rate is 0\.995", str(caught.value)
    )
    never_fails, fails = map(int, told.groups())
    assert 500 < never_fails < fails / 4
    assert describe(load_space(SPACE))["required_rate"] == 0.8


def test_the_command_says_what_is_required(tmp_path):
    file = tmp_path / "smallest.yaml"
    file.write_text(load_space(SPACE).text)
    said = " ".join(xortune("space", file, code=0).stdout.split())
    assert "require a success rate of 0.8; of what reaches it, the best hidden_dim" in said
    assert "certify 300 fresh seeds for the answer and its neighbours in hidden_dim" in said


def test_nothing_is_told_apart_by_rates_where_a_rate_is_required(tmp_path):
    """The answer may have fewer seeds than those that were to be told from the rate."""

    def train(config, seed):
        luck = np.random.default_rng([seed, config["w"]]).random()
        return {"success": luck < {1: 0.66, 2: 0.66, 3: 1.0}[config["w"]]}

    space = {
        "name": "required",
        "parameters": {"w": {"choice": [1, 2, 3]}},
        "search": {"sampler": "grid"},
        "seeds": {"race": {"max": 128}},
        "objectives": [{"minimize": "w"}],
        "require": {"rate": 0.7},
    }
    run = xt.search(space, train=train, output=tmp_path / "run", workers=0, verbose=0)
    answer, second = run.results[:2]
    assert answer.point["w"] == 3
    assert answer.outcome.n < second.outcome.n == 128
    told = xortune("report", run.path, code=0).stdout
    assert run.indistinguishable is None  # what is proven of the rate is said instead
    assert "told apart" not in told
    figure = ranking(run)
    assert "the best" not in figure.title
    assert "told apart" not in figure.alt
