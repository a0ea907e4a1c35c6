import time

import numpy as np
import pytest
from hand_made import done, solved

from xortune.reports import tables as levels
from xortune.reports.tables import MISSING, MOST_LEVELS, column_of, parameter_effects
from xortune.runs.run import Run


def results(tmp_path, rows):
    found = [done(i, point | {"id": i}, solved(0, k, n)) for i, (point, k, n) in enumerate(rows)]
    return Run(tmp_path, {}, tuple(found)).results


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


def test_the_bootstrap_is_over_configs(tmp_path):
    rows = [({"p": "a"}, k, 10) for k in (0, 2, 4, 6, 8, 10)] + [({"p": "b"}, 5, 10)] * 5
    found = {level.label: level for level in effect(tmp_path, rows).levels}
    low, high = found["a"].interval
    # Six configs with a standard deviation of 0.34: 1.96 * 0.34 / sqrt(6) = 0.27.
    np.testing.assert_allclose([low, high], [0.5 - 0.27, 0.5 + 0.27], atol=0.04)
    assert found["b"].interval is None, "resamples of equal rates say nothing"
    assert effect(tmp_path, rows) == effect(tmp_path, rows)


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


def test_the_most_important_comes_first(tmp_path):
    rows = [({"p": i, "q": i, "r": 7}, 1, 2) for i in range(2)]
    found = effects(results(tmp_path, rows), ["p", "q", "r"], {"q": 0.8})
    assert [(e.name, e.importance) for e in found] == [("q", 0.8), ("p", None)]


def test_without_an_importance_the_one_whose_levels_differ_most_comes_first(tmp_path):
    # Only q separates the configs; p's levels have one config each, r's levels the same mean.
    rates = [2, 4, 8, 6]
    rows = [({"p": i, "q": i // 2, "r": (0, 1, 0, 1)[i]}, k, 10) for i, k in enumerate(rates)]
    found = effects(results(tmp_path, rows), ["p", "r", "q"])
    assert [effect.name for effect in found] == ["q", "p", "r"]
    assert [effect.spread for effect in found] == pytest.approx([0.2, 0, 0])
    known = effects(results(tmp_path, rows), ["p", "r", "q"], {"r": 0.1})
    assert [effect.name for effect in known] == ["r", "q", "p"]


def test_true_is_not_one_and_missing_is_not_null(tmp_path):
    points = [{"a": 1, "b": 1, "c": None, "d": 1}, {"a": True, "b": 1.0, "d": 1}]
    found = effects(results(tmp_path, [(point, 1, 2) for point in points]), ["a", "b", "c", "d"])
    assert [effect.name for effect in found] == ["a", "c"]


def test_of_many_configs_the_bootstrap_is_the_same_and_quicker(tmp_path, monkeypatch):
    rates = [0, 0, 0, 1, 3, 3, 4, 7, 9, 10]
    rows = [({"p": "a"}, k, 10) for k in rates * 8] + [({"p": "b"}, 5, 10)]
    one_by_one = {lv.label: lv for lv in effect(tmp_path, rows).levels}["a"]
    monkeypatch.setattr(levels, "MANY_CONFIGS", 20)
    at_once = {lv.label: lv for lv in effect(tmp_path, rows).levels}["a"]
    assert at_once.rate == one_by_one.rate
    np.testing.assert_allclose(at_once.interval, one_by_one.interval, atol=0.01)


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


def test_bins_stay_however_rare_numbers_are_beside_texts(tmp_path):
    rows = [({"p": f"text {i // 3}"}, 1, 2) for i in range(90)]
    found = effect(tmp_path, [*rows, *(({"p": i / 7}, 1, 2) for i in range(1, 8))])
    assert [level.configs for level in found.levels[:4]] == [2, 2, 1, 2]
    assert len(found.levels) == 4 + MOST_LEVELS
    assert found.left_out == 30 - MOST_LEVELS


def test_a_text_that_is_another_in_each_config_costs_little(tmp_path):
    found = results(tmp_path, [({"p": f"text {i}"}, i % 5, 4) for i in range(5_000)])
    began = time.process_time()
    [one] = effects(found, ["p"])
    assert time.process_time() - began < 2  # 0.05 on an idle core; a bootstrap each takes 20
    assert one.left_out == 5_000 - MOST_LEVELS
