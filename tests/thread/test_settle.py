"""The whole measurement: what it trains, under which seeds, and how it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import xortune as xt
from xortune.config import Config
from xortune.errors import InputError
from xortune.seed_ranges import SEARCH, THREAD
from xortune.stats import wilson
from xortune.thread import settle as module
from xortune.thread.claims import AS_POSTED, read_claims
from xortune.thread.measure import Measured, measure


def found(settled):
    return {(one.row.id, one.variant.name): one for one in settled.rows}


def test_rows_and_variants_are_those_asked_for_in_order(settled):
    rows = {"T3": 4, "T5": 4, "T8c": 3, "T10a": 2, "T10b": 2}
    assert [one.row.id for one in settled.rows] == [i for i, n in rows.items() for _ in range(n)]
    assert [one.variant.name for one in settled.rows[:4]] == [
        *(AS_POSTED, "half", "zero_grad", "zero_grad_half")
    ]
    assert settled.seeds == range(48)
    assert settled.sweep is None
    assert settled.best == ()


def test_counts_are_those_of_the_same_configs_elsewhere(settled):
    rows = found(settled)
    for place in (
        *(("T3", "half"), ("T5", "hidden_dim_5_half"), ("T8c", "lr_0.001")),
        *(("T10a", AS_POSTED), ("T10b", AS_POSTED), ("T8c", "zero_grad")),
    ):
        config = Config.from_point(rows[place].variant.config)
        outcome = xt.evaluate(config, range(48))
        assert (rows[place].k, rows[place].n) == (outcome.successes, 48)
    for place in (("T3", AS_POSTED), ("T8c", AS_POSTED)):
        alone = measure(rows[place].variant, range(48))
        assert (rows[place].k, rows[place].stopped) == (alone.k, alone.stopped)
    assert rows["T8c", AS_POSTED].stopped > 0
    assert rows["T3", AS_POSTED].stopped is None
    assert len({one.k for one in settled.rows}) > 5, "places could be mixed up unseen"


def test_the_thread_in_small(settled):
    """What 48 seeds are enough to tell; the rest needs more of them."""
    rows = {place: str(one.verdict) for place, one in found(settled).items()}
    for row_id in ("T3", "T5", "T8c", "T10a", "T10b"):
        assert rows[row_id, AS_POSTED] == "consistent"
    assert rows["T3", "zero_grad"] == "inconsistent"
    assert rows["T5", "hidden_dim_5_half"] == "inconsistent"
    assert rows["T10a", "epochs_10000"] == "inconsistent"
    [one] = settled.comparisons
    assert (one.place, one.more[0], one.than[0], str(one.verdict)) == (
        *("T10", "T10b", "T10a", "consistent"),
    )
    [explanation] = settled.explanations
    assert (explanation.row.id, explanation.ratio > 1) == ("T8c", True)


def test_curves_and_their_bands(settled):
    [(curve, lines, test)] = settled.curves
    assert curve.name == "lr"
    level = 1 - 0.05 / len(curve.points)
    for drawn, given in zip(lines, curve.lines, strict=True):
        assert drawn.line == given
        assert drawn.n == 48
        low, high = wilson(drawn.k, 48, confidence=level)
        assert drawn.low == pytest.approx(low.tolist())
        assert drawn.high == pytest.approx(high.tolist())
        for at in (0, 20, 30):
            config = Config.from_point({**given.config, "lr": curve.points[at]})
            assert drawn.k[at] == xt.evaluate(config, range(48)).successes
    at = curve.points.index(0.03)
    assert [line.k[at] for line in lines] == [
        found(settled)[row_id, AS_POSTED].k for row_id in ("T10a", "T10b")
    ]
    assert test.k_beside == lines[0].k[at]
    assert test.k_best == max(lines[0].k) == lines[0].k[curve.points.index(test.best)]
    assert str(test.verdict) == "inconsistent"


def test_other_seeds_give_other_counts(settled):
    other = xt.thread(only=["T3"], seeds=48, first_seed=1000)
    assert other.seeds == range(1000, 1048)
    counts = [one.k for one in other.rows]
    assert counts != [one.k for one in settled.rows[:4]]
    config = Config.from_point(other.rows[1].variant.config)
    assert other.rows[1].k == xt.evaluate(config, range(1000, 1048)).successes


def test_progress_is_told_step_by_step():
    steps = []
    xt.thread(only=["T3", "T5"], seeds=2, on_progress=lambda *step: steps.append(step))
    assert [(done, total) for done, total, _ in steps] == [(i, 8) for i in range(1, 9)]
    claims = read_claims().only({"T3", "T5"})
    assert {what for _, _, what in steps} == {
        f"{row.id} {variant.name}" for row, variant in claims.measured
    }


def test_seeds_are_measured_in_parts(settled, monkeypatch):
    """Of a size that does not matter, but for who waits for whom."""
    monkeypatch.setattr(module, "PART", 25)
    steps = []
    parts = xt.thread(only=["T8c"], seeds=48, on_progress=lambda *step: steps.append(step))
    assert [(done, total) for done, total, _ in steps] == [(i, 6) for i in range(1, 7)]
    whole = found(settled)
    for place, one in found(parts).items():
        expected = whole[place]
        assert (one.k, one.n, one.all_zero, one.stopped) == (
            *(expected.k, 48, expected.all_zero, expected.stopped),
        )


def test_the_best_are_trained_in_parts(swept, sweep_run, monkeypatch):
    monkeypatch.setattr(module, "PART", 30)
    parts = xt.thread(only=["T15"], seeds=64, sweep=sweep_run)
    for one, expected in zip(parts.best, swept.best, strict=True):
        assert one.config == expected.config
        assert one.outcome.seeds.tolist() == expected.outcome.seeds.tolist()
        assert one.outcome.status.tolist() == expected.outcome.status.tolist()
        assert one.lower == expected.lower


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_breaks_is_told_and_the_rest_is_not_begun(error, monkeypatch):
    begun = []

    def breaks(variant, seeds):
        begun.append(variant.name)
        raise error("it broke")

    monkeypatch.setattr(module, "measure", breaks)
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    claims = read_claims().only({"T3", "T5", "T8"})
    with pytest.raises(error, match="it broke"):
        module.settle(claims, range(4))
    assert len(begun) < sum(1 for _ in claims.measured)


def test_every_row_of_the_shipped_claims_is_judged(monkeypatch, sweep_run):
    """Without training: the counts are made up."""
    monkeypatch.setattr(module, "measure", lambda *_: Measured(np.arange(9) < 4))
    monkeypatch.setattr(module, "measure_config", lambda *_: Measured(np.arange(9) < 4))
    settled = xt.thread(seeds=9, sweep=sweep_run)
    places = [(row.id, variant.name) for row, variant in read_claims().measured]
    assert [(one.row.id, one.variant.name) for one in settled.rows] == places
    assert len(settled.comparisons) == 12
    assert len(settled.explanations) == 5
    assert len(settled.curves) == 2
    assert len(settled.best) == 4


# --- the sweep -----------------------------------------------------------------------------------


def test_the_sweep_is_counted_and_its_best_trained_once_more(swept, sweep_run):
    rows = found(swept)
    assert (rows["T12", AS_POSTED].k, rows["T12", AS_POSTED].n) == (75, 100)
    assert str(rows["T12", AS_POSTED].verdict) == "not testable"
    assert (rows["T15", AS_POSTED].k, rows["T15", AS_POSTED].n) == (3, 5)
    assert str(rows["T15", AS_POSTED].verdict) == "inconsistent"
    assert swept.sweep.epochs == 200
    assert len(swept.best) == 4, "a cell without a success is not trained again"
    for cell in swept.best:
        outcome = xt.evaluate(cell.config, range(THREAD.start, THREAD.start + 64))
        assert cell.outcome.seeds.tolist() == outcome.seeds.tolist()
        assert cell.outcome.successes == outcome.successes
        assert not any(seed in SEARCH for seed in cell.outcome.seeds.tolist())
    lower = [cell.lower for cell in swept.best]
    assert lower == sorted(lower, reverse=True)
    assert len({cell.outcome.successes for cell in swept.best}) > 2


def test_at_most_ten_are_trained_once_more(monkeypatch, sweep_run):
    monkeypatch.setattr(module, "BEST", 2)
    found = xt.thread(only=["T15"], seeds=4, sweep=sweep_run.path)
    assert {(cell.config.activation, cell.search_k) for cell in found.best} == {
        *(("Tanh", 20), ("ELU", 20)),
    }


def test_where_no_row_asks_for_it_no_sweep_is_looked_at(tmp_path):
    assert xt.thread(only=["T5"], seeds=1, sweep=tmp_path / "nowhere").sweep is None


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"only": ["T16"]}, ["there is no row 'T16'", "T15", "did you mean"]),
        ({"only": ["T8", "8c"]}, ["there is no row '8c'", "'T8c'"]),
        ({"only": ["t3"]}, ["'t3'", "did you mean 'T3'"]),
        ({"seeds": 0}, ["seeds: 0 seeds", "1 or more"]),
        ({"seeds": -1}, ["seeds: -1 seeds"]),
        ({"first_seed": -1}, ["seeds -1 to 8"]),
        ({"first_seed": THREAD.start - 9}, [f"allowed: seeds from 0 to {THREAD.start - 1}"]),
        ({"seeds": 2**31}, ["seeds 0 to 2147483647"]),
    ],
)
def test_bad_input_is_refused(asked, words):
    with pytest.raises(InputError) as caught:
        xt.thread(**{"only": ["T5"], "seeds": 10, **asked})
    for word in words:
        assert word in str(caught.value)


def test_the_last_seeds_before_the_fresh_ones_are_allowed():
    settled = xt.thread(only=["T5"], seeds=2, first_seed=THREAD.start - 2)
    assert settled.seeds.stop == module.FRESH


def test_a_sweep_that_is_none_is_refused(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            xt.thread(only=["T15"], seeds=1, sweep=path)
