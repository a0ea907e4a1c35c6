"""Certificates of numbers without a rule: what is proven, and what each output says of it."""

import json
import math
import re

import numpy as np
import pytest
from commands import xortune

import xortune as xt
from xortune.core.numbers import IQM
from xortune.integrations.export import paragraph
from xortune.reports.document import markdown_text
from xortune.reports.progress import status_json
from xortune.reports.run import run_document, table_tex
from xortune.runs.certificate import LEDGER, risk_of
from xortune.runs.evaluation import NumberAsked
from xortune.runs.run import load_run
from xortune.stats.statistic_bounds import statistic_bounds

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
