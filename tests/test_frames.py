"""Tables of a run: made part by part as in one; numbers and reasons of seeds, in few."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hand_made import done, solved, write_run
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import xortune as xt
from xortune.core.numbers import FEWEST_FOR_MEANS, statistic_named
from xortune.core.outcome import Details, Outcome
from xortune.reports.document import markdown_text
from xortune.reports.files import csv_text, write_report
from xortune.reports.run import run_document
from xortune.runs.evaluation import Evaluations
from xortune.runs.results import ConfigResults, seed_tables

SIZES = [3, 5, 5, 2, 7, 1, 4]
FEW = [1.5, np.nan, 1e-7, 1e16, -np.inf]
INF, NAN = np.inf, np.nan


def lines(sizes):
    """A config of so many seeds each."""
    return [
        done(i, {"lr": i / 8, "name": f"=a{i}"}, solved(0, i % (n + 1), n))
        for i, n in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(FEW),
        pd.Series([0, -3, 2**62, 4, 5]),
        pd.array([1, None, 3, None, 5], "Int64"),
        pd.array([True, None, False, True, True], "boolean"),
        pd.Series([True, False, True, True, True]),
        pd.Series(["a,b", 'q"q', " ", "-1.5", None]),
        pd.Series([None] * 5, dtype=object),
    ],
)
def test_a_csv_is_what_pandas_writes(column):
    for table in (pd.DataFrame({"x": column, "y": FEW}), pd.DataFrame({"x": column})):
        assert csv_text(table) == table.to_csv(index=False, lineterminator="\n")


def test_the_files_of_a_run_do_not_depend_on_the_parts(tmp_path, monkeypatch):
    found = []
    for part in (1, 100):
        folder = tmp_path / str(part)
        monkeypatch.setattr("xortune.reports.files.ROWS", part)
        monkeypatch.setattr("xortune.reports.analysis.CONFIGS_AT_ONCE", part)
        monkeypatch.setattr(seed_tables, "__defaults__", (part,))
        write_report(write_run(folder, lines(SIZES), trainer="function", name="parts"))
        seeds = parquet.ParquetFile(folder / "seeds.parquet")
        files = [(folder / name).read_bytes() for name in ("table.csv", "report.md")]
        found.append((files, seeds.read().to_pylist()))
        assert seeds.num_row_groups == (len(SIZES) if part == 1 else 1)
    assert found[0] == found[1]
    whole, nothing = (
        next(seed_tables(ConfigResults(Evaluations.of(lines(sizes))))) for sizes in (SIZES, [])
    )
    assert nothing.schema == whole.schema


def told(first, statuses, values, failed):
    """An outcome of a trainer of the user's own."""
    found = Outcome.crashed(range(first, first + len(statuses)), 0)
    details = Details({name: np.array(a, float) for name, a in values.items()}, failed)
    return replace(found, status=np.array(statuses, np.uint8), details=details)


@pytest.fixture
def run(tmp_path):
    a = told(0, [0, 1, 5], {"acc": [0.9, 0.2, NAN], "seed": [7, 8, NAN]}, {2: "Error: <b>x</b>"})
    b = told(0, [0, 0], {"loss": [0.5, INF]}, {})
    lines = [done(0, {"x": 1, "acc_n": 3}, a), done(1, {"x": 2, "acc_n": 3}, b)]
    return write_run(tmp_path / "run", lines, trainer="./train.py:run")


def test_each_seed_has_its_numbers_and_its_reason(run):
    frame = run.seeds.set_index(["key", "seed"])
    first, second = (next(r.key for r in run.results if r.point["x"] == x) for x in (1, 2))
    assert frame.columns[-4:].tolist() == ["loss", "acc", "value_seed", "reason"]
    assert frame.loc[first, "acc"].tolist()[:2] == [0.9, 0.2]
    assert frame.loc[first, "value_seed"].tolist()[:2] == [7, 8]
    assert frame.loc[first, "reason"].isna().tolist() == [True, True, False]
    assert frame.loc[(first, 2), "reason"] == "Error: <b>x</b>"
    assert frame.loc[second, "loss"].tolist() == [0.5, INF]
    assert frame.loc[second, "acc"].isna().all()
    assert frame["solved_epoch"].isna().all()  # nobody counts epochs
    parts = list(seed_tables(run.results, rows=2))
    assert len(parts) == 2
    assert parts[0].schema == parts[1].schema


def test_each_config_has_its_numbers_in_few(run):
    table = run.table.set_index("x")  # acc_n is the parameter of that name
    names = ["acc_n", "value_acc_n", "value_acc_mean", "value_acc_q10"]
    assert table.loc[1, names].tolist() == pytest.approx([3, 2, 0.55, 0.27])
    assert table.loc[2, names].tolist() == pytest.approx([3, 0, NAN, NAN], nan_ok=True)
    assert table.loc[2, ["loss_n", "loss_mean", "loss_q90"]].tolist() == [1, 0.5, 0.5]
    assert table["epochs_to_solve"].isna().all()


def test_the_report_shows_reasons_and_numbers_with_their_n(run):
    text = markdown_text(run_document(run))
    failures = text[text.index("## How seeds failed") :]
    assert "| no success | 1 | 20.0 % |" in failures
    assert "Why they crashed or diverged:" in failures
    assert "<b>x</b>" not in failures
    numbers = text[text.index("## Numbers of the seeds") : text.index("## How seeds failed")]
    assert "2 of 3 | 0.55 |" in numbers  # too few for an interval
    assert "(k of n) succeeded by the rule of the space file" in text
    assert "epochs to solve** is" not in text


@pytest.mark.parametrize("n", [5, 8, 33, 400])
def test_intervals_of_means_are_scipys(n):
    sample = np.random.default_rng(2).gamma(2.0, size=n)
    expected = scipy.stats.ttest_1samp(sample, 0.0).confidence_interval(0.95)
    within = max(expected.low, sample.min()), min(expected.high, sample.max())
    assert statistic_named("mean").interval(sample) == pytest.approx(within)
    for name in ("mean", "iqm"):
        assert statistic_named(name).interval(sample[: FEWEST_FOR_MEANS - 1]) is None
        assert statistic_named(name).interval(np.full(6, 1e308)) is None
    assert statistic_named("mean").interval(np.linspace(-1e200, 1e200, n)) is None


@pytest.mark.parametrize("n", [8, 33, 300])
def test_intervals_of_interquartile_means_are_scipys_bootstrap_at_a_wider_level(n):
    sample = np.random.default_rng(2).gamma(2.0, size=n)
    wider = math.sqrt(n / (n - 1)) * scipy.stats.t.ppf(0.975, n - 1)
    found = scipy.stats.bootstrap(
        (sample,),
        lambda rows, axis: scipy.stats.trim_mean(rows, 0.25, axis=axis),
        confidence_level=1 - 2 * scipy.stats.norm.sf(wider),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    width = found.high - found.low
    assert statistic_named("iqm").interval(sample) == pytest.approx(tuple(found), abs=0.05 * width)


def near(share, rng, size):
    """Numbers of which a share is near 1, and the rest near 0."""
    return (rng.random(size) < share) + 0.03 * rng.normal(size=size)


@pytest.mark.parametrize(("n", "least"), [(5, 0.80), (10, 0.91), (30, 0.91)])
def test_an_interquartile_mean_with_a_gap_at_a_quartile_is_covered(n, least):
    """70 % near 1: 0.9. Of 5 seeds all are near 1 in 17 % of samples; of 10 in 3 %."""
    samples = near(0.7, np.random.default_rng(4), (1000, n))
    ends = np.array([statistic_named("iqm").interval(one) for one in samples])
    covered = ((ends[:, 0] <= 0.9) & (ends[:, 1] >= 0.9)).mean()
    assert covered >= least  # Tukey and McLaughlin's: 0.49, 0.59 and 0.68


@given(
    st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1, max_size=40),
    st.sampled_from(["mean", "iqm", "median", "q10", "q75"]),
)
def test_no_interval_lies_beyond_the_numbers_or_misses_the_estimate(numbers, statistic):
    sample = np.array(numbers)
    ends = statistic_named(statistic).interval(sample)
    estimate = statistic_named(statistic).estimate(sample)
    if ends is None:
        assert sample.size < FEWEST_FOR_MEANS
        return
    low, high = ends
    assert low <= estimate + 1e-9
    assert estimate - 1e-9 <= high
    for end in ends:
        assert math.isinf(end) or sample.min() - 1e-9 <= end <= sample.max() + 1e-9
    if statistic in ("mean", "iqm"):
        assert statistic_named(statistic).interval(-sample[::-1]) == pytest.approx((-high, -low))


@pytest.mark.parametrize("statistic", ["q10", "median", "q90"])
@pytest.mark.parametrize("n", [8, 16, 20, 32, 37, 50])
def test_intervals_of_quantiles_are_scipys(n, statistic):
    sample = np.random.default_rng(3).normal(size=n)
    share = {"q10": 0.1, "median": 0.5, "q90": 0.9}[statistic]
    found = scipy.stats.quantile_test(sample, p=share).confidence_interval(0.95)
    low = -INF if np.isnan(found.low) else found.low
    high = INF if np.isnan(found.high) else found.high
    assert statistic_named(statistic).interval(sample) == (low, high)


def numbers_of(config, seed):
    if seed == 3:
        raise ValueError("no luck")
    return {"return": math.nan if seed == 5 else 100.0 + seed, "steps": seed}


def test_numbers_need_no_rule_and_are_summed_up_with_their_intervals():
    found = xt.evaluate({}, range(12), train=numbers_of, workers=0, verbose=0)
    summary = found.summary()
    values = np.array([100.0 + s for s in range(12) if s not in (3, 5)])
    assert (summary.name, summary.n, summary.crashed) == ("return", 12, 2)
    assert summary.mean == (values.mean(), *statistic_named("mean").interval(values))
    assert summary.iqm.value == statistic_named("iqm").estimate(values)
    assert summary.median == summary.quantiles["median"] == summary["q50"]
    assert summary.quantiles["q10"].low == -math.inf  # ten seeds are too few for this end
    assert float(summary["q25"]) == np.quantile(values, 0.25)
    assert list(summary.table.index) == ["mean", "iqm", "q10", "q25", "median", "q75", "q90"]
    assert found.summary("steps").mean.value == np.mean([0, 1, 2, 4, 6, 7, 8, 9, 10, 11])
    shown = str(found)
    assert shown.startswith(
        "Outcome(12 seeds, 2 failed (seed 3: ValueError: no luck); return: mean"
    )
    assert "solved" not in shown + found._repr_html_()
    with pytest.raises(xt.InputError, match="there is no number 'height'"):
        found.summary("height")
    with pytest.raises(xt.InputError, match=r"'worst' is no statistic; allowed: .*, q01 to q99"):
        summary["worst"]
    lost = xt.evaluate({}, [3], train=numbers_of, workers=0, verbose=0)
    assert str(lost) == "Outcome(1 seed, 1 failed (seed 3: ValueError: no luck))"
    with pytest.raises(xt.InputError, match="no seed has a number"):
        lost.summary()


def test_where_a_rule_or_the_training_itself_says_what_a_success_is_that_is_counted():
    by_rule = xt.evaluate({}, range(12), train=numbers_of, success="return >= 106", verbose=0)
    assert str(by_rule).startswith("Outcome(6/12 solved, 1 crashed")
    assert by_rule.summary().crashed == 2
    itself = xt.evaluate(
        {}, range(4), train=lambda _, seed: {"success": seed > 0, "x": seed}, verbose=0
    )
    assert str(itself).startswith("Outcome(3/4 solved")
    at_once = xt.evaluate({}, range(4), train=lambda _, seeds: seeds / (seeds != 2), verbose=0)
    assert "solved" not in str(at_once)


def test_a_search_for_a_number_needs_no_rule_and_a_seed_without_one_fails(tmp_path):
    space = {
        "name": "numbers",
        "parameters": {"lr": {"low": 0.1, "high": 1.0}},
        "objectives": ["return_mean"],
        "search": {"trials": 2, "sampler": "random"},
        "seeds": {"ladder": [6]},
    }
    run = xt.search(space, train=numbers_of, output=tmp_path / "run", workers=0, verbose=0)
    outcome = run.results[0].outcome
    assert (outcome.successes, outcome.n) == (4, 6)
    assert outcome.details.failed == {3: "ValueError: no luck", 5: "return is nan"}
    assert run.manifest["success"] == "finite return"
