import time

import numpy as np
import pytest
from hand_made import RIGHT, WRONG, done, outcome, solved
from scipy.stats import bootstrap

from xortune.reports.analysis import MISSING, MOST_LEVELS, column_of, parameter_effects
from xortune.reports.analysis import best_subset as tied_set
from xortune.runs.run import Run


def results(tmp_path, rows):
    """Of a run of (point, k, n), or of (point, outcome)."""
    lines = (
        done(i, point | {"id": i}, solved(0, *found) if len(found) == 2 else found[0])
        for i, (point, *found) in enumerate(rows)
    )
    return Run(tmp_path, {}, tuple(lines)).results


def effects(found, names, importance=None):
    columns = {name: column_of(found.values(name, MISSING)) for name in names}
    return parameter_effects(columns, found.counts.rate, importance or {})


def effect(tmp_path, rows):
    return effects(results(tmp_path, rows), ["p"])[0]


def test_configs_are_equally_weighted(tmp_path):
    # 1/1 and 0/99: the mean over configs is a half, over seeds it would be a hundredth.
    found = effect(tmp_path, [({"p": "a"}, 1, 1), ({"p": "a"}, 0, 99), ({"p": "b"}, 1, 4)])
    assert [(lv.label, lv.configs, lv.rate, lv.interval) for lv in found.levels] == [
        ("a", 2, 0.5, None),
        ("b", 1, 0.25, None),
    ]


def test_numbers_come_in_quartile_bins(tmp_path):
    rows = [({"p": float(i)}, i, 10) for i in range(9)] + [({}, 3, 10), ({"p": None}, 3, 10)]
    found = effect(tmp_path, rows).levels
    assert [(level.label, level.configs) for level in found] == [
        *[("[0, 2]", 3), ("(2, 4]", 2), ("(4, 6]", 2), ("(6, 8]", 2)],
        *[("(not active)", 1), ("null", 1)],
    ]
    assert [round(level.rate, 9) for level in found[:4]] == [0.1, 0.35, 0.55, 0.75]


def test_values_that_look_alike_stay_apart(tmp_path):
    values = [0.12301, 0.12302, True, "true", None, "null"]
    found = effect(tmp_path, [({"p": given}, 1, 2) for given in values]).levels
    assert sorted(level.label for level in found) == sorted(map(repr, values))


def test_without_an_importance_the_one_whose_levels_differ_most_comes_first(tmp_path):
    # Only q separates the configs; p's levels have one config each, r's levels the same mean.
    rates = [2, 4, 8, 6]
    rows = [({"p": i, "q": i // 2, "r": (0, 1, 0, 1)[i]}, k, 10) for i, k in enumerate(rates)]
    found = effects(results(tmp_path, rows), ["p", "r", "q"])
    assert [effect.name for effect in found] == ["q", "p", "r"]
    assert [effect.spread for effect in found] == pytest.approx([0.2, 0, 0])
    known = effects(results(tmp_path, rows), ["p", "r", "q"], {"r": 0.1})
    assert [effect.name for effect in known] == ["r", "q", "p"]


def test_the_bootstrap_is_scipys(tmp_path):
    rates = [0, 0, 0, 1, 3, 3, 4, 7, 9, 10] * 8
    rows = [*(({"p": "a"}, k, 10) for k in rates), ({"p": "b"}, 5, 10)]
    found = next(level for level in effect(tmp_path, rows).levels if level.label == "a")
    drawn = bootstrap((np.array(rates) / 10,), np.mean, method="percentile", n_resamples=20_000)
    np.testing.assert_allclose(found.interval, drawn.confidence_interval, atol=0.01)


def test_of_very_many_levels_the_most_frequent_are_shown(tmp_path):
    often = [({"p": f"often {i:02d}"}, i, 24) for i in range(MOST_LEVELS) for _ in range(5)]
    once = [({"p": f"text {i}"}, i % 5, 4) for i in range(400)]
    found = effect(tmp_path, [*once, *often])
    assert {level.label for level in found.levels} == {f"often {i:02d}" for i in range(MOST_LEVELS)}
    assert [level.label for level in found.levels][:2] == ["often 24", "often 23"]
    assert found.left_out == 400
    assert found.spread == pytest.approx(np.std(np.arange(25) / 24)), (
        "one config alone says nothing"
    )
    assert effect(tmp_path, often).left_out == 0


def test_a_text_that_is_another_in_each_config_costs_little(tmp_path):
    found = results(tmp_path, [({"p": f"text {i}"}, i % 5, 4) for i in range(2_000)])
    began = time.process_time()
    [one] = effects(found, ["p"])
    assert time.process_time() - began < 2  # 0.02 on an idle core; a bootstrap each takes 8
    assert one.left_out == 2_000 - MOST_LEVELS


def members(tied):
    return [member.point["id"] for member in tied.members]


def test_stopped_early_is_not_tied(tmp_path):
    tied = tied_set(results(tmp_path, [({}, 100, 128), ({}, 8, 8)]), 128)
    assert (tied.compared, tied.stopped, members(tied)) == (1, 1, [0])


@pytest.mark.parametrize(
    ("others", "lost", "stay"), [(1, 4, True), (1, 5, False), (5, 6, True), (5, 7, False)]
)
def test_the_level_is_divided_among_the_others(tmp_path, others, lost, stay):
    """The best wins every discordant seed, so p = 2**-lost, held against 0.05 / others."""
    rows = [({}, 32, 32), *[({}, 32 - lost, 32)] * others]
    tied = tied_set(results(tmp_path, rows), 32)
    assert sorted(members(tied)) == ([*range(1 + others)] if stay else [0])


def test_only_shared_seeds_count(tmp_path):
    # The second failed only where the first was never trained.
    rows = [({}, 32, 32), ({}, outcome(16, [RIGHT] * 16 + [WRONG] * 16))]
    assert members(tied_set(results(tmp_path, rows), 32)) == [0, 1]
