import random
import warnings

import optuna
import pytest
from hand_made import done, solved, write_run

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.deciding.importance import distribution, importance
from xortune.reports.document import markdown_text
from xortune.reports.run import run_document
from xortune.spaces.model import Fixed
from xortune.spaces.space import parse_space

SPACE = """
name: what_matters
epochs: 100
parameters:
  lr: {low: 0.001, high: 1.0, log: true}
  hidden_dim: {low: 2, high: 9}
  activation: {choice: [Tanh, ReLU]}
  step: {low: 0.0, high: 1.0, step: 0.25}
  momentum: {low: 0.0, high: 0.9, when: {activation: Tanh}}
search: {sampler: random, trials: 40}
seeds: {ladder: [20]}
"""
ALWAYS = {"lr", "hidden_dim", "activation", "step"}


@pytest.fixture(autouse=True)
def _resampled(monkeypatch):
    """As often as users' runs are."""
    monkeypatch.setattr("xortune.deciding.importance.RESAMPLES", 100)


def run_of(path, rate, count=60, seeds=lambda _: 20):
    """A run of random points, in which `rate` says how many of its seeds a point solves."""
    draw = random.Random(5)
    evaluations = []
    for proposal in range(count):
        point = {
            "lr": 10 ** draw.uniform(-3, 0),
            "hidden_dim": draw.randint(2, 9),
            "activation": draw.choice(["Tanh", "ReLU"]),
            "step": draw.randint(0, 4) / 4,
            "epochs": 100,
        }
        if point["activation"] == "Tanh":
            point["momentum"] = draw.uniform(0, 0.9)
        n = seeds(point)
        evaluations.append(done(proposal, Point(point), solved(0, round(n * rate(point)), n)))
    return write_run(path / "r", evaluations, space_text=SPACE)


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("lr", lambda p: 1 - abs(p["lr"] - 0.1) ** 0.5),
        ("activation", lambda p: 0.5 + p["momentum"] / 2 if "momentum" in p else 0.1),
    ],
)
def test_what_matters_comes_first(tmp_path, name, rate):
    found = importance(run_of(tmp_path, rate, count=240), parse_space(SPACE))
    first, *others = found.shares.items()
    assert set(found.shares) == ALWAYS, "a parameter under a condition cannot be compared"
    assert sum(found.shares.values()) == pytest.approx(1)
    assert [share for _, share in others] == sorted((share for _, share in others), reverse=True)
    assert first[0] == name
    assert first[1] > 0.5
    assert found.intervals[name][0] > max(found.intervals[n][1] for n in ALWAYS - {name})


@pytest.mark.parametrize(
    ("count", "rates"),
    [
        (9, [0.1 * i for i in range(9)]),
        (60, [0.5] * 60),
        (11, [1.0] + [0.5] * 10),  # the better tenth is two: with the second, all others
    ],
)
def test_nothing_can_be_told_of_few_configs_or_of_equal_ones(tmp_path, count, rates):
    rate = iter(rates)
    found = importance(run_of(tmp_path, lambda _: next(rate), count), parse_space(SPACE))
    assert (found.shares, found.intervals, found.resamples) == ({}, {}, 0)


@pytest.mark.parametrize(("count", "told"), [(20, False), (60, True)])
def test_a_report_says_that_configs_are_too_few(tmp_path, count, told):
    ranks = iter(range(count))
    run = run_of(tmp_path, lambda _: next(ranks) / count, count)
    run = run.noted(**importance(run, parse_space(SPACE)).entries())
    report = markdown_text(run_document(run))
    few = (
        "takes at least 10 configurations, 5 of them among the best. This run has 20, with 2 among"
    )
    assert (few in " ".join(report.split())) != told
    assert ("Largest share: " in report) == told


def test_the_best_are_called_a_tenth_only_where_they_are_one(tmp_path):
    """Of 12, three more are as good as the second: 5 of 12 are no tenth."""
    rates = iter([1.0] * 5 + [0.1 * i for i in range(7)])
    run = run_of(tmp_path, lambda _: next(rates), 12)
    run = run.noted(**importance(run, parse_space(SPACE)).entries())
    document = run_document(run)
    [plot] = [one for one in document.plots if one.name == "importance"]
    assert plot.title == "Which parameters separate the best 5 of 12 configurations from the rest"
    report = " ".join(markdown_text(document).split())
    assert "12 configurations; the best 5 are compared with all" in report
    assert "better tenth has" not in report


def test_shares_are_those_of_optuna(tmp_path):
    """They are computed here, a hundred times as fast, for each of a hundred resamples."""
    run, space = run_of(tmp_path, lambda p: p["step"] * p["lr"]), parse_space(SPACE)
    study = optuna.create_study(direction="maximize")
    known = {p.name: distribution(p) for p in space.parameters if not isinstance(p, Fixed)}
    for result in run.results:
        values = {name: result.point[name] for name in known if name in result.point}
        given = {"params": values, "distributions": {name: known[name] for name in values}}
        value = (result.outcome.successes + 1) / (result.outcome.n + 2)
        study.add_trial(optuna.trial.create_trial(value=value, **given))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # until 5.0
        measure = optuna.importance.PedAnovaImportanceEvaluator()
    expected = optuna.importance.get_param_importances(
        study, evaluator=measure, params=sorted(ALWAYS)
    )
    assert importance(run, space).shares == pytest.approx(expected, rel=1e-12)


def test_intervals_hold_the_shares_and_shrink_with_more_configs(tmp_path):
    space, widths = parse_space(SPACE), []
    for count in (48, 240):
        found = importance(run_of(tmp_path / str(count), mostly_step, count), space)
        assert (found.configs, found.resamples) == (count, 100)
        for name, (low, high) in found.intervals.items():
            assert 0 <= low <= found.shares[name] <= high <= 1
        widths.append(sum(high - low for low, high in found.intervals.values()))
    assert widths[1] < widths[0] / 1.5
    assert found == importance(run_of(tmp_path / "again", mostly_step, 240), space)


def mostly_step(point):
    return 0.8 * point["step"] + 0.02 * point["hidden_dim"]


def test_a_few_lucky_seeds_do_not_outrank_many(tmp_path):
    """Configs of step 0 solve 510 of 512 seeds, and a few of the others 8 of 8, by luck."""
    run = run_of(
        tmp_path,
        lambda p: 510 / 512 if p["step"] == 0 else 1.0 if p["hidden_dim"] == 9 else 0.5,
        count=120,
        seeds=lambda p: 512 if p["step"] == 0 else 8,
    )
    shares = importance(run, parse_space(SPACE)).shares
    assert next(iter(shares)) == "step"
    assert shares["step"] > 0.9


def raced(path, lucky):
    """200 configs with a seed each, which so many solve."""
    ranks = iter(range(200))
    return run_of(path, lambda _: next(ranks) < lucky, count=200, seeds=lambda _: 1)


def test_where_ties_leave_no_tenth_there_is_no_figure(tmp_path):
    run = raced(tmp_path, 152)
    found = importance(run, parse_space(SPACE))
    assert (found.shares, found.configs, found.tied) == ({}, 200, 152)
    run = run.noted(**found.entries())
    report = " ".join(markdown_text(run_document(run)).split())
    assert "The importance of parameters is unknown." in report
    assert "152 of the 200 here are equally good at the end of that tenth." in report
    with pytest.raises(InputError, match="nothing to draw"):
        xt.plot_param_importances(run)


def test_one_lucky_seed_does_not_make_the_better_tenth(tmp_path):
    """A race has given more seeds to those of a step of 1; many others solved their only one."""
    run = run_of(
        tmp_path,
        lambda p: 0.5 + p["hidden_dim"] / 40 if p["step"] == 1 else p["lr"] < 0.3,
        count=200,
        seeds=lambda p: 64 if p["step"] == 1 else 1,
    )
    found = importance(run, parse_space(SPACE))
    assert next(iter(found.shares)) == "step"
    assert found.better <= 50
    assert "step" not in found.chance


def test_a_share_that_chance_gives_is_called_so(tmp_path):
    """Of parameters that do not matter one has the largest share, which is large."""
    space, draw, largest, said = parse_space(SPACE), random.Random(1), [], 0
    for at in range(10):
        run = run_of(tmp_path / str(at), lambda _: draw.random(), count=60)
        found = importance(run, space)
        largest.append(max(found.shares.values()))
        said += {*found.chance} == ALWAYS
    assert sum(largest) / 10 > 0.4
    assert said >= 9
    report = " ".join(markdown_text(run_document(run.noted(**found.entries()))).split())
    first = next(iter(found.shares))
    assert f"Largest share: {first} " in report
    assert "Chance gives as much" in report
    matters = importance(run_of(tmp_path / "m", mostly_step, 240), space)
    assert "step" not in matters.chance
    assert {"lr", "activation"} <= {*matters.chance}
