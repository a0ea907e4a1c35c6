"""What a search can say at its end: proven for any rates, believed, and how optimistic it is."""

import itertools
import json

import numpy as np
import pytest
from commands import xortune
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta as beta_distribution

import xortune as xt
from xortune.core.outcome import wilson
from xortune.racing.posterior import Group
from xortune.racing.race import race_share
from xortune.racing.statement import Aim, Statement, statement_of, winner_of
from xortune.racing.top_two import Known, next_step
from xortune.spaces.model import race_rungs
from xortune.stats.anytime import anytime_lower, anytime_upper

MOST = 128
COUNTS = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(st.lists(st.tuples(COUNTS, st.integers(1, 3)), min_size=2, max_size=6))
@settings(max_examples=50)
def test_the_gap_is_what_the_proof_says(counted):
    groups = [Group(k, n, members) for (k, n), members in counted]
    each = [(k, n) for (k, n), members in counted for _ in range(members)]
    risk = 0.1 / 2 * float(race_share(len(each)))
    gaps = []
    for answer, (k, n) in enumerate(each):
        others = [anytime_upper(*one, alpha=0.05) for i, one in enumerate(each) if i != answer]
        gaps.append(max(0.0, float(max(others) - anytime_lower(k, n, alpha=risk))))
    found = statement_of(groups, Aim(0.02, 0.1))
    assert any(found.gap == pytest.approx(gap, abs=1e-9) for gap in gaps)
    assert found.holds == (found.gap <= 0.02)
    assert found.probability == 0.9


def searched(rates, rng):
    """The groups at the end of a search, and the arm of each."""
    aim = Aim(0.05, 0.1, MOST)
    counts = np.cumsum(rng.random((len(rates), MOST)) < np.array(rates)[:, None], axis=1)
    rungs = race_rungs(MOST)
    steps = dict(itertools.pairwise((0, *rungs)))
    seeds, order = [1] * len(rates), rng.permutation(len(rates))
    while True:
        groups = [
            Group(
                int(counts[a, seeds[a] - 1]), seeds[a], 1, steps.get(seeds[a], seeds[a]) - seeds[a]
            )
            for a in order
        ]
        if (chosen := next_step(Known(tuple(groups)), aim)) is None:
            return groups, order
        seeds[order[chosen]] = steps[seeds[order[chosen]]]


@pytest.mark.parametrize(
    "rates",
    [(0.05, 0.08), (0.9, 0.92), (0.5, 0.55), (0.95, 0.97), (0.9, 0.92, 0.94), (0.5, 0.56)],
)
def test_what_is_proven_is_true_for_rates_that_are_chosen_against_it(rates):
    rng = np.random.default_rng(3)
    wrong = believed = wrongly = 0
    for _ in range(60):
        groups, order = searched(rates, rng)
        found = statement_of(groups, Aim(0.05, 0.1))
        low = max(range(len(groups)), key=lambda i: float(wilson(*groups[i][:2])[0]))
        missing = max(rates) - rates[order[low]]
        wrong += missing > found.gap
        believed += found.is_believed
        wrongly += found.is_believed and missing > 0.05
    assert wrong <= 2, "of 60: 6 in the mean would be 1 - delta"
    assert wrongly <= max(1, 0.15 * believed)


def test_nothing_is_proven_or_ended_after_four_seeds():
    """2 of 2 beside 0 of 2 ended a search, with the worse one named in many."""
    aim = Aim(0.01, 0.1, 512)
    groups = (Group(2, 2, 1, 1), Group(0, 2, 1, 1))
    assert next_step(Known(groups), aim) is not None
    assert not statement_of(groups, aim).holds


def test_a_proof_ends_a_search_before_it_has_spent_the_seeds_of_one_configuration():
    groups = (Group(128, 128, 1, 64), Group(0, 40, 1, 8))
    aim = Aim(0.2, 0.1, 4096)
    assert statement_of(groups, aim).holds
    assert next_step(Known(groups), aim) is None
    assert next_step(Known((Group(60, 128, 1, 64), Group(50, 128, 1, 8))), aim) is not None


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (
            Statement(0.01, 0.9, 0.004, 0.99, 0, 0.0, 0),
            "Proven, whatever the true rates are: with a probability of at least 90 %, no "
            "configuration of this search is better than the best by more than 0.01.",
        ),
        (
            Statement(0.01, 0.9, 0.0561, 0.974, 0, 0.0, 0),
            "Proven, whatever the true rates are: with a probability of at least 90 %, no "
            "configuration of this search is better than the best by more than 0.057. Believed, "
            "but not proven: none is better by more than 0.01 (posterior probability 97.4 %).",
        ),
        (
            Statement(0.01, 0.95, 0.2, 0.5, 1, 0.004, 900),
            "Proven, whatever the true rates are: with a probability of at least 95 %, no "
            "configuration of this search is better than the best by more than 0.2. Not known: "
            "whether one is better by more than 0.01. 1 configuration could be; it is expected to "
            "gain 0.004 (no gain where it is not better), and about 900 more seeds would tell what "
            "to believe.",
        ),
    ],
)
def test_the_text_calls_each_thing_what_it_is(statement, text):
    assert str(statement) == text
    assert statement.holds == ("Believed" not in text and "Not known" not in text)


def arms(tmp_path, rates=(0.6, 0.9, 0.3), **race):
    def train(config, seeds):
        draws = np.random.default_rng(config["arm"]).random(999)
        return draws[np.asarray(seeds)] < rates[config["arm"]]

    space = {
        "name": "arms",
        "parameters": {"arm": {"low": 0, "high": len(rates) - 1}},
        "search": {"sampler": "grid"},
        "seeds": {"race": {"max": 64} | race},
    }
    return xt.search(space, train=train, output=tmp_path / "run", workers=0, verbose=0)


def test_terminal_report_status_and_python_say_the_same(tmp_path):
    run = arms(tmp_path)
    text = str(run.statement)
    assert (run.statement.epsilon, run.statement.probability) == (0.01, 0.9)
    assert text in (run.path / "report.md").read_text(encoding="utf-8")
    for verb in ("report", "status"):
        shown = xortune(verb, run.path).output
        assert " ".join(text.split()) in " ".join(shown.split()), verb
    shown = json.loads(xortune("status", run.path, "--json").output)
    assert shown["statement"]["text"] == text
    assert shown["statement"]["holds"] is run.statement.holds


def test_a_search_for_something_else_has_no_statement(tmp_path):
    run = arms(tmp_path / "one", rates=(0.5,))
    assert run.statement is None
    assert run.winner is None
    dead = arms(tmp_path / "dead", rates=(0.0, 0.0))
    assert dead.winner is None
    assert "Proven" not in (dead.path / "report.md").read_text(encoding="utf-8")
    assert xt.status(dead).statement is None


# -------------------------------------------------------------------------------------------------
# The winner's count.


def test_the_interval_of_the_winner_covers_its_rate_where_wilsons_does_not():
    """Of 50 equal configurations with 100 seeds each the one with the highest count."""
    rng, covered, wilsons, shrunken, raw = np.random.default_rng(5), 0, 0, 0.0, 0.0
    for _ in range(200):
        k = rng.binomial(100, 0.9, 50)
        values, sizes = np.unique(k, return_counts=True)
        groups = [Group(int(a), 100, int(b)) for a, b in zip(values, sizes, strict=True)]
        found = winner_of(groups, len(groups) - 1)
        covered += found.low <= 0.9 <= found.high
        low, high = wilson(k.max(), 100)
        wilsons += low <= 0.9 <= high
        shrunken += (found.rate - 0.9) / 200
        raw += (k.max() / 100 - 0.9) / 200
        assert found.optimism == pytest.approx(k.max() / 100 - found.rate)
    assert covered >= 190
    assert wilsons <= 150
    assert shrunken < raw / 2


def test_the_interval_of_the_winner_is_clopper_and_pearsons_with_bonferronis_share():
    found = winner_of([Group(90, 100, 1), Group(50, 100, 9)], 0)
    assert found.chosen_from == 10
    assert found.low == pytest.approx(beta_distribution.ppf(0.0025, 90, 11))
    assert found.high == pytest.approx(beta_distribution.ppf(0.975, 91, 10))
