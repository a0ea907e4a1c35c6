"""Sampler auto: a Gaussian process of the number that a rule judges proposes configurations."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import ranges, run
from hand_made import solved
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from xortune.core.outcome import Details
from xortune.core.point import Point
from xortune.deciding.propose import (
    RANDOM_EVERY_OF_COUNTS,
    RANDOM_EVERY_OF_NUMBERS,
    ProposalKinds,
    first_seed_values,
    proposer_for,
)
from xortune.racing.gaussian_process import (
    NumberSums,
    Observed,
    axes_of,
    coordinates_of,
    distances,
    fitted,
    learned_number,
    success_rates,
)
from xortune.racing.objectives import SeedSummary
from xortune.spaces.model import rungs_up_to
from xortune.spaces.samplers import STARTUP
from xortune.spaces.space import parse_space

SPACE = """
name: numbers
trainer: ./t.py:run
success: "RULE"
parameters:
  lr: {low: 1.0e-4, high: 1.0, log: true}
  width: {choice: [64, 16, 32, 128]}
  depth: {low: 1, high: 9}
  share: {low: 0.1, high: 0.9, step: 0.2}
  kind: {choice: [a, b, c]}
  fixed: 3
  only: {choice: [x]}
search: {sampler: auto, trials: 40, seed: 3}
seeds: {ladder: LADDER}
"""


def space_with(rule="score >= 0.0"):
    text = SPACE.replace("RULE", rule).replace("LADDER", str(list(rungs_up_to(64))))
    return parse_space(text, "s")


def score(point, seed):
    """Best at lr 0.01, width 64 and kind b; a seed in eleven fails."""
    off = abs(math.log10(point["lr"]) + 2) + abs(math.log2(point["width"]) - 6)
    noise = np.random.default_rng([seed, int(point.key[:8], 16)])
    number = 1.0 - off - (point["kind"] != "b") + 0.3 * noise.standard_normal()
    return math.nan if noise.random() < 1 / 11 else number


def trained(job, sign=1):
    """The outcome of a block: the score, times the sign."""
    numbers = np.array([score(job.block.point, seed) for seed in job.block.seeds])
    base = solved(job.block.first, 0, job.block.count)
    status = np.where(numbers >= 0, 0, np.where(np.isnan(numbers), 5, 1)).astype(np.uint8)
    return replace(base, status=status, details=Details({"score": sign * numbers}))


def first_proposals(space, count, sign=1):
    """Points of a proposer that is told of a seed of each."""
    proposer, found = proposer_for(space), []
    for number in range(count):
        foreseen = proposer.foresee(number)
        found.append(point := proposer.propose(number))
        assert foreseen in (None, point)
        value = sign * score(point, 0)
        seen = SeedSummary(int(value * sign >= 0), 1, numbers=([value],))
        proposer.learn(number, point, seen)
        proposer.see(point, seen)
    return found


@pytest.mark.parametrize(("rule", "sign"), [("score >= 0.0", 1), ("score <= 0.0", -1)])
def test_proposals_go_where_the_number_is_good(rule, sign):
    space = space_with(rule)
    found = first_proposals(space, 60, sign)
    free = first_proposals(replace(space, search=replace(space.search, sampler="random")), 60)
    drawn = [n for n in range(60) if n < STARTUP or n % RANDOM_EVERY_OF_NUMBERS == 0]
    assert [found[n] for n in drawn] == [free[n] for n in drawn]
    assert len({point.key for point in found}) == 60
    worth = [1 - score(point, 0) for n, point in enumerate(found) if n not in drawn]
    others = [1 - score(point, 0) for n, point in enumerate(free) if n not in drawn]
    assert np.nanmedian(worth) < np.nanmedian(others) / 2


def test_the_rates_of_what_was_not_trained_are_near_their_truth():
    """Numbers of configurations that are smooth, with noise of 0.3: shares of Phi."""
    space = parse_space(
        "{name: s, trainer: './t.py:run', success: 'score >= 0.5', search: {trials: 2}, "
        "parameters: {x: {low: 0.0, high: 1.0}, y: {low: 0.0, high: 1.0}}}",
        "s",
    )
    axes, rng = axes_of(space.parameters), np.random.default_rng(4)

    def mean(at):
        return 0.9 - 2 * np.abs(at[:, 0] - 0.4) ** 1.5 - 0.5 * at[:, 1]

    at = rng.random((60, 2))
    numbers = mean(at)[:, None] + 0.3 * rng.standard_normal((60, 12))
    learned = learned_number(space)
    sums = [learned.summary(SeedSummary(0, 12, numbers=(row,))) for row in numbers.tolist()]
    known = Observed(at, *distances(NumberSums(*np.array(sums).T), learned.bar))
    others = rng.uniform(0.1, 0.9, (200, 2))
    truth = ndtr((mean(others) - 0.5) / 0.3)
    off = success_rates(axes, known, others) - truth
    assert np.abs(off).mean() < 0.05
    assert np.abs(off).max() < 0.25


@functools.cache
def lines_of(window):
    space = space_with()
    return run(space, proposer_for(space), window=window, workers=4, train=trained).evaluations


@pytest.mark.parametrize("window", [1, 7])
@given(data=st.data())
@settings(max_examples=2, deadline=None)
def test_a_killed_search_goes_on_as_if_it_had_not_been(window, data):
    space, lines = space_with(), lines_of(window)
    known = lines[: data.draw(st.integers(0, len(lines)), label="lines")]
    torn = data.draw(st.sets(st.integers(0, max(0, len(known) - 1)), max_size=5))
    known = [line for i, line in enumerate(known) if i not in torn]
    given = {"window": window, "known": known, "workers": 2, "train": trained}
    after = run(space, proposer_for(space), **given)
    assert ranges([*known, *after.evaluations]) == ranges(lines)


def test_without_a_number_with_conditions_or_several_objectives_it_is_tpe():
    number = 'success: "score >= 0.0"\n'
    assert learned_number(space_with()) is not None
    assert learned_number(space_with("score == 0.0")) is None
    assert learned_number(parse_space(_replaced(number, ""), "s")) is None
    condition = ("high: 9}", "high: 9, when: {kind: [a, b]}}")
    assert learned_number(parse_space(_replaced(*condition), "s")) is None
    several = ("seeds:", "objectives: [success_rate, width]\nseeds:")
    assert learned_number(parse_space(_replaced(*several), "s")) is None
    objective = ("seeds:", "objectives: [score_q10]\nseeds:")
    assert learned_number(parse_space(_replaced(*objective), "s")) is not None


def _replaced(old, new):
    text = SPACE.replace("RULE", "score >= 0.0").replace("LADDER", "[1, 2, 4]")
    assert old in text
    return text.replace(old, new)


def test_a_numbers_objective_is_learned_too():
    space = parse_space(_replaced("seeds:", "objectives: [score_median]\nseeds:"), "s")
    found = first_proposals(space, 48)
    later = [score(p, 0) for n, p in enumerate(found) if n >= 24 and n % RANDOM_EVERY_OF_NUMBERS]
    assert np.nanmedian(later) > np.nanmedian([score(p, 0) for p in found[:STARTUP]]) + 1


def test_a_finite_space_is_proposed_once_and_then_again_at_random():
    text = (
        SPACE[: SPACE.index("  lr")] + "  x: {low: 1, high: 12}\n" + SPACE[SPACE.index("search") :]
    )
    space = parse_space(text.replace("RULE", "score >= 0").replace("LADDER", "[1, 2]"), "s")
    proposer, found = proposer_for(space), []
    for number in range(60):
        found.append(point := proposer.propose(number))
        proposer.see(point, SeedSummary(0, 1, numbers=([-float(point["x"])],)))
    assert len({point.key for point in found}) == 12


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_coordinates_are_those_of_values_of_the_space(seed):
    space, rng = space_with(), np.random.default_rng(seed)
    axes = axes_of(space.parameters)
    assert [axis.parameter.name for axis in axes] == ["lr", "width", "depth", "share", "kind"]
    assert [axis.ordered for axis in axes] == [True, True, True, True, False]
    for axis in axes:
        drawn = axis.drawn(50, rng)
        moved = axis.moved(drawn, rng)
        for many in (drawn, moved):
            assert many.min() >= 0
            values = [axis.value(one) for one in many.tolist()]
            again = [axis.coordinate(value) for value in values]
            assert again == pytest.approx(many.tolist(), abs=1e-9)
        if axis.levels is not None:
            assert (drawn != moved).all()


def test_lists_of_numbers_are_ordered_and_ranges_have_their_scale():
    axes = axes_of(space_with().parameters)
    point = {"lr": 0.01, "width": 32, "depth": 5, "share": 0.5, "kind": "c"}
    assert coordinates_of(axes, point) == pytest.approx([0.5, 1 / 3, 0.5, 0.5, 2])


def sums(*lists):
    """Sums of the numbers of configurations; NaN for a failed seed."""
    numbers = [np.array(one, float) for one in lists]
    there = [one[np.isfinite(one)] for one in numbers]
    return NumberSums(
        np.array([float(len(one)) for one in there]),
        np.array([one.mean() if len(one) else 0.0 for one in there]),
        np.array([((one - one.mean()) ** 2).sum() if len(one) else 0.0 for one in there]),
        np.array([float(len(a) - len(b)) for a, b in zip(numbers, there, strict=True)]),
    )


@given(scale=st.floats(1e-90, 1e90), shift=st.floats(-100, 100))
def test_distances_have_no_unit(scale, shift):
    told = [[1.0, 2.0, 2.5], [0.5], [-40.0, -50.0], [math.nan, 1.0], [math.nan]]
    y, errors = distances(sums(*told), 1.0)
    others = sums(*([scale * (one + shift) for one in numbers] for numbers in told))
    again, more = distances(others, scale * (1.0 + shift))
    assert again == pytest.approx(y, rel=1e-6, abs=1e-6)
    assert more == pytest.approx(errors, rel=1e-6)
    assert y[0] > 0 > y[1] > y[2]
    assert y[3] < 0
    assert errors[0] < errors[1]


@pytest.mark.parametrize(
    "told",
    [
        [[1.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[math.nan], [math.nan, math.nan]],
        [[0.0, 0.0], [1.0, 1.0], [1.0]],
        [[1e100], [-1e100], [5.0, 5.0]],
        [[1e100], [1e-100], [2e-100, 2e-100], [3e-100]],
        [[1e-200], [2e-200], [3e-200], [1e100]],
    ],
)
@pytest.mark.parametrize("limit", [1.0, None])
def test_distances_are_numbers_whatever_was_told(told, limit):
    y, errors = distances(sums(*told), limit)
    assert np.isfinite(y).all()
    assert (errors > 0).all()
    axes = axes_of(space_with().parameters)[:1]
    at = np.linspace(0, 1, len(told))[:, None]
    kernel = fitted(axes, Observed(at, y, errors))
    assert np.isfinite(kernel.scales).all()


def test_the_fit_tells_which_parameter_matters():
    rng = np.random.default_rng(0)
    axes = axes_of(space_with().parameters)
    at = np.column_stack([axis.drawn(60, rng) for axis in axes])
    y = 5 * np.sin(5 * at[:, 0]) + 0.1 * rng.standard_normal(60)
    kernel = fitted(axes, Observed(at, y, np.full(60, 0.01)))
    assert kernel.scales[0] < kernel.scales[1:].min() / 2


def test_the_kind_of_proposal_that_did_better_is_worth_more():
    good, bad = {(1, 1): 6, (8, 8): 2}, {(0, 1): 12, (3, 8): 2}
    modelled, random = first_seed_values([good, bad])
    assert modelled > random > 0
    nothing, unknown = first_seed_values([{}, {}])
    assert nothing == unknown


def test_kinds_keep_the_last_count_of_each_configuration_and_none_of_others():
    kinds = ProposalKinds()
    kinds.enter("a", learned=True)
    kinds.enter("b", learned=False)
    kinds.enter("a", learned=False)  # proposed again
    for key, k, n in (("a", 0, 1), ("b", 1, 1), ("c", 0, 50), ("b", 8, 8)):
        kinds.see(key, k, n)
    assert not kinds.learned_are_worth_more
    for other in range(9):
        kinds.enter(f"good {other}", learned=True)
        kinds.see(f"good {other}", 8, 8)
    assert kinds.learned_are_worth_more


def test_tpe_of_auto_is_guarded_too():
    """Where what it proposes fails, random proposals take its place."""
    text = _replaced('success: "score >= 0.0"\n', "")
    space = parse_space(text, "s")
    plain = replace(space, search=replace(space.search, sampler="random"))
    proposer, free, drawn = proposer_for(space), proposer_for(plain), []
    for number in range(60):
        point, other = proposer.propose(number), free.propose(number)
        drawn.append(point == other)
        seen = SeedSummary(int(point == other and number % 5 == 0), 1, 10)
        proposer.learn(number, point, seen)
        proposer.see(point, seen)
    assert all(drawn[STARTUP::RANDOM_EVERY_OF_COUNTS])
    assert sum(drawn[STARTUP:30]) < 19, "some are its own"
    assert sum(drawn[30:]) > 25


def test_points_of_the_start_come_first_and_are_learned():
    start = "{lr: 0.01, width: 64, depth: 1, share: 0.5, kind: b, only: x}"
    space = parse_space(_replaced("seeds:", f"start: [{start}]\nseeds:"), "s")
    proposer = proposer_for(space)
    assert proposer.propose(0) == Point(space.start[0])
    assert proposer.propose(1) != proposer.propose(2)
