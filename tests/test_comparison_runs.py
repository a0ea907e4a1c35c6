"""Runs two by two: what is paired, what is tested, how sure it is, how soon seeds are solved."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from compared import contestant, paired, seeds_of, unpaired
from hand_made import outcome, solved
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import boschloo_exact, mannwhitneyu, trim_mean
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from xortune.comparisons.runs import compare_runs, epochs_needed, improvement
from xortune.core.errors import InputError
from xortune.stats.planning import rough_independent_seeds, shared_seeds
from xortune.stats.proportions import paired_difference, unpaired_difference

patterns = st.lists(st.sampled_from("+-"), min_size=12, max_size=12).map("".join)


def test_shared_seeds_are_compared_one_by_one():
    [pair] = paired(40, 9, 1, 10).pairs
    assert pair.shared
    assert (pair.k_a, pair.n_a, pair.k_b, pair.n_b) == (49, 60, 41, 60)
    assert (pair.wins, pair.losses) == (9, 1)
    assert pair.p == pytest.approx(mcnemar([[40, 9], [1, 10]], exact=True).pvalue)
    assert (pair.low, pair.high) == pytest.approx(paired_difference(40, 9, 1, 10))
    assert pair.difference == pytest.approx(8 / 60)
    assert pair.p_holm == pair.p
    assert pair.differs
    assert pair.ahead == 0
    assert pair.more_seeds is None


def test_other_seeds_are_independent_samples():
    [pair] = unpaired(30, 40, 12, 35).pairs
    assert not pair.shared
    assert (pair.wins, pair.losses) == (None, None)
    assert pair.p == pytest.approx(boschloo_exact([[30, 12], [10, 23]]).pvalue, rel=1e-4)
    assert (pair.low, pair.high) == pytest.approx(unpaired_difference(30, 40, 12, 35))
    assert (pair.differs, pair.ahead, pair.unused) == (True, 0, (0, 0))


@example("+" * 12, "-" * 12, 6)  # as many shared seeds as others
@given(patterns, patterns, st.integers(-15, 15))
@settings(max_examples=30, deadline=None)
def test_no_seed_that_both_have_is_ever_two(first, second, shift):
    """Whatever the overlap: pairs are of the same seeds, and samples have none in common."""
    one, other = seeds_of(first, first=20), seeds_of(second, first=20 + shift)
    [pair] = compare_runs([contestant("a", one), contestant("b", other)]).pairs
    common = len(set(one.seeds) & set(other.seeds))
    assert pair.unused == (12 - pair.n_a, 12 - pair.n_b)
    if pair.shared:
        assert pair.n_a == pair.n_b == common
        assert pair.k_a - pair.k_b == pair.wins - pair.losses
    else:
        assert pair.n_a == pair.n_b == 12 - common
    assert pair.shared == (common >= 12 - common)
    # Backwards all signs change and nothing else.
    [back] = compare_runs([contestant("b", other), contestant("a", one)]).pairs
    assert (back.k_b, back.n_b, back.k_a, back.n_a) == (pair.k_a, pair.n_a, pair.k_b, pair.n_b)
    assert back.p == pytest.approx(pair.p, rel=1e-6)
    turned = (-pair.difference, -pair.high, -pair.low)
    assert (back.difference, back.low, back.high) == pytest.approx(turned)
    assert back.more_seeds == pair.more_seeds


def three(counts=(95, 80, 60)):
    return compare_runs([contestant(f"c{i}", solved(0, k, 100)) for i, k in enumerate(counts)])


def test_holm_is_over_all_pairs():
    found = three((92, 86, 80))
    p = [pair.p for pair in found.pairs]
    assert [pair.p_holm for pair in found.pairs] == pytest.approx(
        multipletests(p, method="holm")[1]
    )
    assert [(pair.a, pair.b) for pair in found.pairs] == list(combinations(range(3), 2))
    assert [pair.differs for pair in found.pairs] == [False, True, False]
    loose = three((90, 86, 83))
    assert loose.pairs[0].p == 0.125
    assert [pair.differs for pair in loose.pairs] == [False, True, False]
    strict = compare_runs(loose.contestants, alpha=0.04)
    assert not any(pair.differs for pair in strict.pairs)


def test_how_many_more_seeds_would_tell_them_apart():
    [pair] = paired(800, 25, 15, 160).pairs
    needed = shared_seeds(0.825, 0.815, discordance=0.04)
    assert pair.more_seeds == needed - 1000
    [pair] = unpaired(80, 100, 70, 90).pairs
    assert pair.more_seeds == rough_independent_seeds(0.8, 7 / 9) - 90
    # Of three pairs each at a third of the level, the first of Holm's steps.
    needed = shared_seeds(0.9, 0.86, alpha=0.05 / 3, discordance=0.04)
    assert three((90, 86, 83)).pairs[0].more_seeds == needed - 100


def test_sooner_is_mann_and_whitneys_statistic():
    rng = np.random.default_rng(3)
    first, second = (epochs_needed(ragged(rng, 0, 60)) for _ in range(2))
    sooner = improvement(first, second, shared=True)
    u = mannwhitneyu(second, first).statistic
    assert sooner.probability == pytest.approx(u / 3600)
    assert 0 < sooner.low < sooner.probability < sooner.high < 1
    assert improvement(first, second, shared=True) == sooner
    back = improvement(second, first, shared=True)
    assert back.probability == pytest.approx(1 - sooner.probability)


def test_shared_seeds_are_drawn_together():
    """A seed that is hard for both says nothing of which of them is sooner."""
    one = ragged(np.random.default_rng(4), 0, 200)
    same = compare_runs([contestant("a", one), contestant("b", one)]).epochs.wins[0]
    assert (same.low, same.probability, same.high) == (0.5, 0.5, 0.5)
    other = ragged(np.random.default_rng(4), 200, 200)
    apart = compare_runs([contestant("a", one), contestant("b", other)]).epochs.wins[0]
    assert apart.low < 0.47
    assert apart.high > 0.53


def ragged(rng, first, count, share=0.9):
    """Seeds solved at epochs all over, some not."""
    found = outcome(first, [(0, 1, 1, int(flip)) for flip in rng.random(count) > share])
    epochs = np.where(found.solved, rng.integers(1, 1000, count), 0).astype(np.int32)
    return replace(found, solved_epoch=epochs)


def test_the_middle_half_of_the_epochs():
    def middle_of(found):
        summary = compare_runs([contestant("a", found), contestant("b", found)]).epochs.of[0]
        return summary.middle, summary.low, summary.high

    found = ragged(np.random.default_rng(7), 0, 100)
    middle, low, high = middle_of(found)
    assert middle == pytest.approx(trim_mean(epochs_needed(found), 0.25))
    assert low < middle < high
    assert middle_of(ragged(np.random.default_rng(7), 0, 100, share=0.6)) == (None, None, None)
    assert middle_of(solved(0, 76, 100)) == (300, 300, None)


def test_a_label_given_twice_is_refused():
    with pytest.raises(InputError) as caught:
        compare_runs([contestant("a", seeds_of("+-")), contestant("a", seeds_of("+-"))])
    assert caught.value.field == "labels"
