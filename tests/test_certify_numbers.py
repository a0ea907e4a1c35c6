"""Certificates of numbers without a rule: what is proven, and what each output says of it."""

import json
import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from commands import xortune
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.core.numbers import IQM
from xortune.core.outcome import Details, Outcome, Status
from xortune.core.point import Point
from xortune.core.trainer import VOID, Block
from xortune.integrations.export import paragraph
from xortune.reports.document import markdown_text
from xortune.reports.progress import status_json
from xortune.reports.run import run_document, table_tex
from xortune.runs.certificate import LEDGER, risk_of, sequence_step
from xortune.runs.evaluation import Evaluation, NumberAsked, Purpose
from xortune.runs.run import load_run
from xortune.stats.statistic_bounds import StatisticTest, statistic_bounds

RATES = re.compile(r"\b(solved?|solves|success\w*|rates?|wilson)\b", re.IGNORECASE)

TRAIN = """
import numpy as np

def train(config, seed):
    rng = np.random.default_rng([seed, int(10 * config["lr"])])
    if rng.random() < 0.05:
        raise ValueError("no luck")
    found = float(np.clip(rng.normal(200 * config["lr"], 20), 0, 500))
    return {"return": found, "loss": -found}
"""

SPACE = {
    "name": "numbers",
    "trainer": "./train.py:train",
    "parameters": {"lr": {"choice": [0.3, 0.9, 1.0]}},
    "search": {"sampler": "grid"},
    "seeds": {"ladder": [8]},
}

LOSS = {"objectives": [{"minimize": "loss_iqm"}], "search": {"sampler": "random", "trials": 2}}


def searched(folder, *, trained=TRAIN, **changes):
    (folder / "train.py").write_text(trained)
    space = {**SPACE, **changes}
    options = {"workers": 0, "verbose": 0, "check": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "space.yaml").write_text(json.dumps(space))
        return xt.search("space.yaml", output=folder / "run", **options)


def fresh_numbers(run, key, name="return"):
    """By hand from the journal: NaN where a seed failed."""
    found = {}
    for line in run.checks:
        if line.block.point.key == key and line.final:
            values = line.outcome.details.values.get(name, np.full(line.block.count, math.nan))
            found |= dict(zip(line.block.seeds, values.tolist(), strict=True))
    return np.array([found[seed] for seed in sorted(found)])


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certified")
    run = searched(folder, objectives=[{"maximize": "return_iqm"}])
    words = ("certify", run.path, "--seeds", 60, "--top", 2, "--workers", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        printed = xortune(*words, code=0).output
    return load_run(run.path), run.certificate, printed


def test_the_certificate_has_the_statistic_its_bound_and_what_the_search_said(certified):
    run, found, _ = certified
    best, attempt = found.best, found.latest
    numbers = fresh_numbers(run, best.key)
    failed = np.where(np.isnan(numbers), -math.inf, numbers)
    alpha = risk_of(1, 0.95, 2)
    bounds = statistic_bounds(failed, IQM, alpha=alpha, anytime=False)
    assert (best.number.low, best.number.high) == (bounds.low, bounds.high)
    assert best.number.value == IQM.estimate(np.sort(failed))
    assert (best.n, best.failed) == (60, int(np.isnan(numbers).sum()))
    assert best.failed > 0
    searched_ = [one for one in run.results if one.key == best.key]
    assert best.search_value == IQM.estimate(np.sort(searched_[0].outcome.numbers("return")))
    assert best.optimism == best.search_value - best.number.value
    assert (attempt.bound, attempt.asked) == ("planned", NumberAsked("return_iqm", maximize=True))
    assert [one.number.low for one in found.finalists] == sorted(
        (one.number.low for one in found.finalists), reverse=True
    )
    entry = json.loads((run.path.parent / LEDGER).read_text())
    assert (entry["account"], entry["number"]) == ("train:train / return", 1)


def test_no_output_of_a_number_speaks_of_rates(certified):
    run, found, printed = certified
    best = found.best
    lines = markdown_text(run_document(run)).splitlines()
    report = "\n".join(line for line in lines if "seeds that the search never saw" in line)
    status = status_json(xt.status(run.path))["certificate"]
    texts = {
        "terminal": printed,
        "str": str(found),
        "repr": repr(found),
        "notebook": found._repr_html_(),
        "json": (run.path / "certificate.json").read_text(),
        "report": report,
        "paragraph": paragraph(run),
        "status": json.dumps(status),
        "yaml": xt.export(run, format="yaml"),
    }
    for name, text in texts.items():
        assert not (hit := RATES.search(text)), (name, hit, text)
        if name in ("terminal", "str", "repr", "notebook", "report"):
            assert best.said in " ".join(text.split()), name
        assert best.number.bound_text in text, name
    assert status[best.number.asked.name]["low"] == best.number.low
    assert best.number.bound_text in table_tex(run)


def test_a_gate_of_a_run_trains_fresh_seeds_until_it_knows_and_not_again(certified, tmp_path):
    shutil.copytree(certified[0].path.parent, tmp_path, dirs_exist_ok=True)
    run, more = load_run(tmp_path / "run"), {"workers": 0, "verbose": 0}
    read = xt.gate(run, min=150, **more)
    assert (read.answer, read.of, read.n) == ("proven", "return_iqm", 60)
    assert len(load_run(run.path).checks) == len(run.checks), "the certificate has the answer"
    proven = xt.gate(run, min=150, of="return_median", max_seeds=100, **more)
    assert (proven.answer, proven.goal, proven.exact) == ("proven", 150, True)
    again = xt.gate(run.path, min=150, of="return_median", max_seeds=100, **more)
    assert again == proven
    seeds = load_run(run.path).checks
    assert proven.n == sum(line.block.count for line in seeds) - 120
    refuted = xortune(
        *("gate", run.path, "--max", -230, "--of", "loss_median", "--workers", 0, "--json"), code=1
    )
    found = json.loads(refuted.stdout)
    assert (found["answer"], found["max"], found["of"]) == ("refuted", -230, "loss_median")
    assert not RATES.search(refuted.stdout)
    assert (proven.key, found["key"]) == (run.certificate.best.key,) * 2
    mean = xt.gate(run, min_mean=150, of="return", **more)
    assert (mean.answer, mean.exact, mean.failures) == ("refuted", False, mean.failures)
    assert mean.failures > 0, "it is worse than any number, and so is the mean"
    limited = xt.gate(run, min_mean=150, of="return", bounds=[0, 500], **more)
    assert (limited.answer, limited.exact) == ("proven", True)
    ledger = [json.loads(line) for line in (tmp_path / LEDGER).read_text().splitlines()]
    accounts = [(one["account"].partition(" / ")[2], one["number"]) for one in ledger]
    assert accounts == [("return", 1), ("return", 2), ("loss", 3), ("return", 4), ("return", 5)]
    kept = json.loads((run.path / "certificate.json").read_text())
    assert kept["attempts"][1]["of"]["min"] == 150
    assert (kept["bound"], kept["attempts"][1]["finalists"][0]["return_median"]["low"]) == (
        *("planned", 150),
    )
    other = run.results.keys[-1]
    assert xt.gate(run, min=120, of="return_median", key=other[:5], **more).key == other
    for wrong, words in (
        ({"min": 1, "max": 2}, "both min and max"),
        ({"min": 1, "of": "return"}, "return_mean, or return_iqm"),
        ({"min": 1, "of": "height_iqm"}, "no number 'height'"),
        ({"min": 1, "of": "return_q10", "max_seeds": 20}, "20 seeds for return_q10 at least 1"),
        ({"min": math.nan}, "min: nan"),
        ({"min_mean": 600, "bounds": [0, 500]}, "min: 600 is out of range"),
        ({"min_rate": 0.5}, "bounds a number"),
        ({"min": 1, "first_seed": 3}, "where a config is trained"),
    ):
        with pytest.raises(xt.InputError, match=re.escape(words)):
            xt.gate(run, **wrong, **more)


def test_neighbours_are_certified_by_the_same_statistic(tmp_path):
    lr = {"low": 0.5, "high": 2.0, "log": True}
    run = searched(tmp_path, parameters={"lr": lr}, **LOSS)
    options = {"top": 1, "workers": 0, "verbose": 0, "neighbourhood": 0.2}
    few = xt.certify(run, seeds=20, **options)
    assert few.best.neighbourhood_bound == math.inf, "20 seeds bound no interquartile mean"
    assert "nothing bounds it over all seeds" in str(few)
    kept = json.loads((run.path / "certificate.json").read_text())["finalists"][0]
    assert (kept["neighbourhood_bound"], kept["loss_iqm"]["high"]) == (None, None)
    best = xt.certify(run, seeds=60, by="neighbourhood", **options).best
    near = {one.parameter: one.number.high for one in best.neighbours}
    assert best.number.high < max(one.number.high for one in best.neighbours)
    assert best.neighbourhood_bound == max(one.number.high for one in best.neighbours)
    assert set(near) == {"lr"}
    assert best.worst_neighbour.number.value == max(one.number.value for one in best.neighbours)
    assert f"all at most {best.neighbourhood_bound:.3g}" in (run.path / "report.md").read_text()


def test_what_a_gate_asks_beside_leads_no_report(certified, tmp_path):
    shutil.copytree(certified[0].path.parent, tmp_path, dirs_exist_ok=True)
    run, more = load_run(tmp_path / "run"), {"workers": 0, "verbose": 0}
    xt.gate(run, min_mean=100, of="return", bounds=[0, 500], **more)
    found = load_run(run.path).certificate
    assert found.best.number.asked.name == "return_iqm"
    [asked] = [one for one in found.attempts if one.is_sequence]
    assert asked.finalists[0].at_least == "at least 100"
    assert math.isfinite(asked.finalists[0].number.value), "a failed seed is the lower limit"
    assert "return_mean" in (run.path / "report.md").read_text()


def line_of(seeds, numbers, purpose):
    """A line of a certificate: numbers of consecutive seeds, NaN for a failed one."""
    status = np.where(np.isnan(numbers), Status.CRASHED, Status.SOLVED).astype(np.uint8)
    found = Outcome.crashed(seeds, 0)
    found = replace(found, status=status, details=Details({"return": np.array(numbers)}))
    block = Block(Point({"lr": 1.0}), seeds.start, len(seeds))
    return Evaluation(0, block, found, None, True, 0.1, "host:1", purpose=purpose)


def void_line(seed, purpose):
    block = Block(Point({"lr": 1.0}), seed, 1)
    return Evaluation(0, block, None, f"{VOID}busy", False, 0.1, "host:1", purpose=purpose)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 20).map(float), st.just(math.nan)), max_size=60),
    st.sampled_from(["return_iqm", "return_mean", "return_median"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_a_sequence_is_decided_by_seeds_in_their_order_whenever_they_come(
    numbers, name, maximize, random
):
    asked = NumberAsked(name, maximize, limits=(0.0, 20.0), goal=9.0)
    purpose = Purpose(
        *("certify", 1, Point({"lr": 1.0}).key, 1, 1, 60, 0.95),
        extendable=False,
        search_k=8,
        search_n=8,
        moved=None,
        by="own",
        neighbours=0,
        first=7,
        asked=asked,
    )
    lines = [line_of(range(7 + i, 8 + i), [one], purpose) for i, one in enumerate(numbers)]
    random.shuffle(lines)
    step = sequence_step(lines, purpose)
    rule = StatisticTest(
        asked.statistic, 9.0, maximize, 60, risk_of(1, 0.95, 1), limits=(0.0, 20.0)
    )
    answer, n = rule.decide(numbers)
    assert step.proven is {"proven": True, None: None}.get(answer, False)
    assert step.n == n
    if answer is None:
        assert len(numbers) < step.needed <= 60
    elif answer == "proven":
        assert step.number.bound == 9.0
    elif answer == "refuted":
        assert (step.number.high < 9.0) if maximize else (step.number.low > 9.0)
    # A void seed decides nothing until it has a result: whatever it gives, the answer stands.
    if numbers and answer is not None:
        out = random.randrange(len(numbers))
        others = [line for line in lines if line.block.first != 7 + out]
        without = sequence_step([*others, void_line(7 + out, purpose)], purpose)
        if without.proven is not None:
            rest = [one for place, one in enumerate(numbers) if place != out]
            assert {
                rule.decide([*rest, worth])[0] == "proven" for worth in (0.0, 20.0, math.nan)
            } == {without.proven}
