"""Where the seeds went: all of them are there, once."""

from __future__ import annotations

from collections import Counter

import pytest
from hand_made import CONFIG, done, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from success_runs import fixed, keeps_to_the_rules, layers

from xortune.core.errors import InputError
from xortune.reports.figures.seeds import MOST_ROWS, ROLES, Stop, seeds_spent, stops_of
from xortune.reports.plot import Bars
from xortune.runs.run import Run

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)

SIZES = st.lists(st.sampled_from([2, 4, 8, 40]), min_size=1, max_size=MOST_ROWS + 20)


def run_of(path, sizes):
    lines = [
        done(i, CONFIG | {"lr": 0.01 * (1 + i)}, solved(0, i % (n + 1), n))
        for i, n in enumerate(sizes)
    ]
    return Run(path, {"trainer": "network", "ladder": [2, 4, 8, 40]}, tuple(lines))


def totals(panel):
    """The height of each bar of a panel, and that its parts lie on each other without a gap."""
    tops = Counter()
    for bars in panel.layers:
        for at, base, length in zip(bars.at, bars.base, bars.length, strict=True):
            assert base == pytest.approx(tops[at])
            assert length > 0
            tops[at] += length
    return tops


@ANY
@given(SIZES)
def test_all_seeds_are_there_once(tmp_path, sizes):
    run = run_of(tmp_path, sizes)
    plot = seeds_spent(run)
    keeps_to_the_rules(plot)
    if len(sizes) <= MOST_ROWS:
        rows = {
            at: (length, key)
            for bars in layers(plot, Bars)
            for at, length, key in zip(bars.at, bars.length, bars.keys, strict=True)
        }
        table = run.table[["n", "key"]]
        assert rows == {float(row.Index): (row.n, row.key) for row in table.itertuples()}
        return
    configs, seeds = plot.panels
    reached = sorted(set(sizes))
    assert configs.x.categories == tuple(map(str, reached))
    assert totals(configs) == {float(reached.index(n)): c for n, c in Counter(sizes).items()}
    shares = {n: n * c / sum(sizes) for n, c in Counter(sizes).items()}
    assert totals(seeds) == pytest.approx({float(reached.index(n)): s for n, s in shares.items()})
    assert sum(totals(seeds).values()) == pytest.approx(1)


@ANY
@given(SIZES)
def test_the_words_have_the_same_counts(tmp_path, sizes):
    run = run_of(tmp_path, sizes)
    stops = stops_of(run)
    alt = seeds_spent(run).alt
    for stop, found in Counter(stops).items():
        seeds = sum(r.outcome.n for r, s in zip(run.results, stops, strict=True) if s == stop)
        assert f"{stop.value}: {found:,} configuration" in alt
        assert f" with {seeds:,} seed" in alt


def test_every_reason_has_a_colour_of_its_own_beside_those_it_may_meet():
    assert set(ROLES) == set(Stop)
    rate = [role for stop, role in ROLES.items() if stop != Stop.DOMINATED]
    front = [role for stop, role in ROLES.items() if stop not in (Stop.QUICKER, Stop.AHEAD)]
    assert len(rate) == len(set(rate))
    assert len(front) == len(set(front))


def test_very_many_counts_are_put_together_by_rungs(tmp_path):
    lines = [done(i, CONFIG | {"lr": 0.1 + i}, solved(0, 1, i + 1)) for i in range(70)]
    run = Run(tmp_path, {"trainer": "network"}, tuple(lines))
    configs, _ = seeds_spent(run).panels
    assert configs.x.categories == ("≤ 2", "≤ 4", "≤ 8", "≤ 16", "≤ 32", "≤ 64", "≤ 70")
    assert [n for _, n in sorted(totals(configs).items())] == [2, 2, 4, 8, 16, 32, 6]


def test_each_reason_is_a_layer(tmp_path):
    run = fixed(tmp_path / "run")
    rows = {bars.label: bars.at for bars in layers(seeds_spent(run), Bars)}
    assert rows == {
        Stop.FULL.value: (0.0, 1.0),
        Stop.ENDED.value: (2.0, 3.0),
        Stop.UNSOLVED.value: (4.0, 5.0),
    }


def test_a_run_without_results(tmp_path):
    with pytest.raises(InputError, match="no configuration is finished"):
        seeds_spent(write_run(tmp_path / "run", []))
