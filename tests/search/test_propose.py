"""Where points come from: inside the space, by the seed and the number alone."""

import math

import optuna
import pytest
from fakes import space_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from optuna.samplers import RandomSampler
from scipy.stats import qmc

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.deciding.optuna_study import drawn
from xortune.deciding.propose import proposer_for
from xortune.racing.objectives import SeedSummary
from xortune.spaces.model import Choice, Fixed, Range, contains, is_active
from xortune.spaces.samplers import RANDOM_EVERY, SAMPLERS, only_ranges, sampler_named
from xortune.spaces.space import parse_space

NUMBERS = """
name: numbers
parameters:
  a: {low: 0.0, high: 1.0}
  b: {low: -3.0, high: 2.0}
search: {sampler: SAMPLER, trials: 14}
seeds: {ladder: [4]}
"""


def proposals(space, count=14):
    """The points of a search that is told made-up rates."""
    proposer, found = proposer_for(space), []
    for number in range(count):
        found.append(point := proposer.propose(number))
        proposer.learn(number, point, SeedSummary(number * 7 % 11, 11, 100 * number))
    return found


def assert_inside(point, space):
    present = {}
    for parameter in space.parameters:
        if not is_active(parameter, present):
            assert parameter.name not in point
            continue
        value = present[parameter.name] = point[parameter.name]
        match parameter:
            case Fixed():
                assert value == parameter.value
            case Choice():
                assert contains(parameter.values, value)
            case Range():
                assert parameter.low <= value <= parameter.high
                assert isinstance(value, int) == parameter.integer
                if parameter.step is not None:
                    steps = (value - parameter.low) / parameter.step
                    assert steps == pytest.approx(round(steps), abs=1e-6)
    assert set(point) == set(present)


@pytest.mark.parametrize("sampler", [one.name for one in SAMPLERS if one.name != "grid"])
def test_every_sampler_proposes_points_of_the_space_without_a_warning(sampler, capsys):
    spaces = [parse_space(NUMBERS.replace("SAMPLER", sampler))]
    if only_ranges not in sampler_named(sampler).needs:
        spaces.append(space_of(sampler, trials=14))
    for space in spaces:
        found = proposals(space, 12)
        assert len({point.key for point in found}) > 10
        for point in found:
            assert_inside(point, space)
    assert capsys.readouterr() == ("", "")


@given(
    kind=st.sampled_from(["int", "float"]),
    low=st.integers(-50, 50),
    steps=st.integers(0, 40),
    step=st.sampled_from([None, 1, 3, 0.1, 0.25]),
    log=st.booleans(),
    sampler=st.sampled_from(["random", "tpe"]),
    parent=st.sampled_from(["on", "off"]),
)
@settings(max_examples=60)
def test_proposals_lie_in_their_range(*, kind, low, steps, step, log, sampler, parent):
    assume(not (kind == "int" and isinstance(step, float)))
    size = (step or 1) * steps
    high = round(low + size, 6)
    bounds = f"low: {low}, high: {high}" if kind == "int" else f"low: {low}.0, high: {high:.6f}"
    more = (", log: true" if log else "") + (f", step: {step}" if step else "")
    text = (
        "name: s\nparameters:\n"
        "  switch: {choice: [on_, off_]}\n"
        f"  value: {{{bounds}{more}, when: {{switch: {parent}_}}}}\n"
        f"search: {{sampler: {sampler}, trials: 4}}\nseeds: {{ladder: [2]}}\n"
    )
    try:
        space = parse_space(text)
    except InputError:  # a log scale from 0 or below, with a step, or a mixed step
        assume(False)
    for point in proposals(space, 13):
        assert_inside(point, space)


def test_replay_of_a_normal_form_leaves_the_study_as_it_was():
    """A trainer's normal form may have more than the space has; the study is about the space."""
    space = space_of("tpe", trials=16)
    first, replayed = proposer_for(space), proposer_for(space)
    for number in range(12):
        point = first.propose(number)
        replayed.replay(number, Point({**point, "more": 1}))
        for proposer in (first, replayed):
            proposer.learn(number, point, SeedSummary(number, 12, 100))
    assert first.propose(12) == replayed.propose(12)


MIXED = """
name: mixed
parameters:
  one: {choice: [x]}
  kind: {choice: [a, b, c]}
  pace: {low: 0.001, high: 10, log: true, when: {kind: [a, b]}}
  part: {low: 0.1, high: 0.9, step: 0.2, when: {kind: [b, c]}}
  flat: {low: 0.3, high: 0.3}
  size: {low: 2, high: 38, step: 3}
  large: {low: 1, high: 4000, log: true}
search: {sampler: SAMPLER, trials: 60}
seeds: {ladder: [4]}
"""


def asked(study, space):
    """What Optuna itself proposes in its words, without ours."""
    trial, values = study.ask(), {}
    for parameter in space.parameters:
        if is_active(parameter, values):
            name = parameter.name
            if isinstance(parameter, Choice):
                values[name] = trial.suggest_categorical(name, parameter.values)
            else:
                suggest = trial.suggest_int if parameter.integer else trial.suggest_float
                step = {} if parameter.step is None else {"step": parameter.step}
                bounds = parameter.low, parameter.high
                values[name] = suggest(name, *bounds, **step, log=parameter.log)
                if step:  # 0.30000000000000004 is 0.3
                    values[name] = round(values[name], 9)
    return trial, values


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4))
def test_drawn_points_are_those_of_optunas_random_sampler(seeds):
    space = parse_space(MIXED.replace("SAMPLER", "random"), "mixed")
    for seed in seeds:
        _, values = asked(optuna.create_study(sampler=RandomSampler(seed)), space)
        assert drawn(space, seed).as_dict() == values


@pytest.mark.parametrize(("ladder", "drawn"), [("[2, 4]", True), ("[4]", False)])
def test_a_race_looks_elsewhere_from_time_to_time_whatever_tpe_has_learnt(ladder, drawn):
    text = NUMBERS.replace("SAMPLER", "tpe").replace("[4]", ladder)
    space = parse_space(text, "numbers")
    random = parse_space(text.replace("tpe", "random"), "numbers")
    learnt, free = proposer_for(space), proposer_for(random)
    same = []
    for number in range(40):
        point, other = learnt.propose(number), free.propose(number)
        same.append(point == other)
        learnt.learn(number, point, SeedSummary(int(point["a"] > 0.9), 1, 100))
    later = range(20, 40)  # TPE itself begins with ten drawn ones
    assert [same[n] for n in later] == [drawn and n % RANDOM_EVERY == 0 for n in later]


def test_tpe_knows_that_close_numbers_of_a_list_are_alike():
    """Of a hundred values it sees few; as categories the others would tell it nothing."""
    values = [n * 37 % 100 for n in range(100)]
    text = f"parameters: {{a: {{choice: {values}}}}}\nsearch: {{sampler: tpe, trials: 60}}\n"
    space = parse_space(f"name: s\n{text}seeds: {{ladder: [4]}}\n", "s")
    first, replayed, found = proposer_for(space), proposer_for(space), []
    for number in range(60):
        found.append(point := first.propose(number))
        replayed.replay(number, point)
        for proposer in (first, replayed):
            proposer.learn(number, point, SeedSummary(int(point["a"] > 80) * 4, 4, 100))
    good = [point["a"] for point in found[30:] if point["a"] > 80]
    assert len(good) > 13, "as categories 5 to 9"
    assert len(set(good)) > 9
    assert first.propose(60) == replayed.propose(60)


OF_ANY_KIND = """
name: mixed
parameters:
  a: {low: 0.0, high: 1.0}
  b: {low: 1.0e-4, high: 1.0, log: true}
  c: {choice: [p, q, r]}
  d: {choice: [1, 2, 3]}
search: {sampler: SAMPLER, trials: 64, seed: SEED}
seeds: {ladder: [2]}
"""


def test_sobol_spreads_ranges_evenly_whatever_the_results():
    def uneven(points):
        return qmc.discrepancy([[point["a"], math.log10(point["b"]) / 4 + 1] for point in points])

    found = {}
    for sampler in ("sobol", "random"):
        texts = (OF_ANY_KIND.replace("SAMPLER", sampler).replace("SEED", str(s)) for s in range(4))
        found[sampler] = [proposals(parse_space(text), 64) for text in texts]
    assert max(map(uneven, found["sobol"])) < 0.001 < min(map(uneven, found["random"]))
    first, second, *_ = found["sobol"]
    assert first[:3] != second[:3]
    assert len({(point["c"], point["d"]) for point in first}) == 9, "drawn apart from each other"
    proposer = proposer_for(
        parse_space(OF_ANY_KIND.replace("SAMPLER", "sobol").replace("SEED", "0"))
    )
    assert [proposer.propose(number) for number in range(64)] == first, "nothing is told"
