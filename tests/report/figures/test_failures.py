"""Failures: the counts are those of the table of seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from success_runs import keeps_to_the_rules, layers

from xortune.core.errors import InputError
from xortune.core.outcome import Status
from xortune.reports.figures.failures import failures
from xortune.reports.plot import Bars
from xortune.runs.run import Run

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)

OTHER = [(1, 0, 0, 0), (0, 0, 1, 0), (1, 1, 0, 0), (0, 1, 0, 1)]
ROWS = st.sampled_from([RIGHT, RIGHT, WRONG, ZERO, ONE, *OTHER])
SEEDS = st.lists(st.tuples(ROWS, st.booleans()), min_size=1, max_size=12)

STATUSES = {
    "all 0": Status.ALL_ZERO,
    "all 1": Status.ALL_ONE,
    "diverged": Status.DIVERGED,
    "crashed": Status.CRASHED,
}


def run_of(path, configs):
    lines = []
    for i, seeds in enumerate(configs):
        point = CONFIG | {"lr": 0.01 * (1 + i)}
        if seeds is None:
            lines.append(failed(i, point, 0, 3))
            continue
        rows = [row for row, _ in seeds]
        gone = [at for at, (_, diverged) in enumerate(seeds) if diverged]
        lines.append(done(i, point, outcome(0, rows, diverged=gone)))
    return Run(path, {"trainer": "network"}, tuple(lines))


def counted(panel, wholes, names):
    """For each bar the counts that it is made of, by label; its parts leave no gap.

    Where the second panel repeats a layer, it has no label, and the name of its role in the first.
    """
    rows = [{} for _ in wholes]
    for bars in panel.layers:
        for at, base, length in zip(bars.at, bars.base, bars.length, strict=True):
            row, whole = rows[int(at)], wholes[int(at)]
            assert base * whole == pytest.approx(sum(row.values()))
            row[bars.label or names[bars.role]] = round(length * whole)
            assert length * whole == pytest.approx(round(length * whole))
    return rows


@ANY
@given(st.lists(SEEDS | st.none(), min_size=1, max_size=6), st.integers(1, 6))
def test_the_counts_are_those_of_the_seeds(tmp_path, configs, top):
    run = run_of(tmp_path, configs)
    plot = failures(run, top)
    keeps_to_the_rules(plot)
    seeds = run.seeds[~run.seeds["solved"]]
    if seeds.empty:
        assert plot.title == f"All {len(run.seeds)} seed{'s' * (len(run.seeds) > 1)} were solved"
        return
    shown = [r.key for r in run.results if r.outcome.successes < r.outcome.n][:top]
    whole, each = plot.panels
    names = {bars.role: bars.label for bars in whole.layers}
    table = run.table.set_index("key")
    rows = [
        *counted(whole, [len(seeds)], names),
        *counted(each, [table["n"][key] for key in shown], names),
    ]
    wrong = seeds[seeds["status"] == "wrong_pattern"]["pattern"].astype(str)
    named = sorted(wrong.value_counts().items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    labels = [*whole.y.categories, *each.y.categories]
    for key, counts, label in zip(["", *shown], rows, labels, strict=True):
        mine = seeds[seeds["key"] == key] if key else seeds
        n = table["n"][key] if key else table["n"].sum()
        assert label.endswith(f" · {len(mine)} of {n}")
        assert sum(counts.values()) == len(mine)
        statuses = mine["status"].value_counts()
        for kind, status in STATUSES.items():
            assert counts.get(kind, 0) == statuses.get(status.label, 0)
        patterns = mine[mine["status"] == "wrong_pattern"]["pattern"].astype(str).value_counts()
        for pattern, _ in named:
            assert counts.get(f"wrong pattern {pattern}", 0) == patterns.get(pattern, 0)
        rest = patterns.drop([p for p, _ in named if p in patterns.index]).sum()
        assert counts.get("another wrong pattern", 0) == rest


def test_colours_are_told_apart(tmp_path):
    rows = [WRONG, WRONG, *OTHER, ZERO, ONE, RIGHT, WRONG]
    run = run_of(tmp_path, [[(row, at == 9) for at, row in enumerate(rows)], None])
    found = failures(run).panels[0].layers
    assert len(found) == 8
    assert len({bars.role for bars in found}) == 8


def test_where_all_is_solved_there_is_one_empty_bar(tmp_path):
    plot = failures(Run(tmp_path, {}, (done(0, CONFIG, solved(0, 8, 8)),)))
    [bars] = layers(plot, Bars)
    assert (bars.at, bars.length) == ((0.0,), (0.0,))
    assert plot.panels[0].y.categories == ("all · 0 of 8",)


def test_where_nothing_has_a_pattern_none_is_called_wrong(tmp_path):
    """Of a trainer of one's own: it was trained to its end, and that was no success."""
    bare = replace(solved(0, 3, 8), predictions=np.zeros((8, 0), dtype=bool), epochs=0)
    plot = failures(Run(tmp_path, {}, (done(0, {"x": 1}, bare),)))
    assert {bars.label for bars in layers(plot, Bars)} == {"no success", ""}
    assert plot.title == "62.5 % of all seeds were not solved; all of them ended without success"
    assert plot.alt.endswith("unsolved: 5; no success 5.")
    assert "pattern" not in plot.note + plot.alt + plot.title


def test_a_run_without_results(tmp_path):
    with pytest.raises(InputError, match="no configuration is finished"):
        failures(write_run(tmp_path / "run", []))
