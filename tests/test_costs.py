"""What it will cost is said before it is spent; the call before the start is not trained twice."""

from collections import Counter

import pytest

import xortune as xt
from xortune.core.trainer import Stacking
from xortune.driver import certify
from xortune.driver.certify import estimate_of_seeds
from xortune.driver.cluster import Cluster
from xortune.driver.session import cost_of
from xortune.driver.trainer import Check
from xortune.spaces.space import load_space

SPACE = {
    "name": "costs",
    "success": "accuracy >= 0.5",
    "parameters": {"x": {"low": 0.0, "high": 1.0}},
    "search": {"sampler": "random", "trials": 3},
    "seeds": {"ladder": [4, 8]},
}
CALLS: Counter[tuple[float, int]] = Counter()


def train(config, seed):
    CALLS[config["x"], seed] += 1
    return {"accuracy": (seed * 7 % 11) / 11 * config["x"] + 0.3}


def many(config, seeds):
    return {"accuracy": [train(config, seed)["accuracy"] for seed in seeds]}


def stepwise(config, seed):
    for step in range(3):
        yield {"accuracy": step / 10}
    yield train(config, seed)


def first_raises(config, seed):
    if seed == 0:
        raise ValueError
    return train(config, seed)


@pytest.mark.parametrize(
    ("function", "options", "kept", "most"),
    [
        *((train, {}, "(counted)", 1), (first_raises, {}, "(counted)", 1)),
        *((stepwise, {}, "(counted)", 1), (many, {}, "(not counted)", 3)),
        (train, {"dry_run": False}, None, 1),
    ],
)
@pytest.mark.usefixtures("no_ray")
def test_a_seed_that_is_trained_before_the_start_is_counted(
    tmp_path, function, options, kept, most
):
    CALLS.clear()
    told = []
    run = xt.search(
        SPACE, train=function, output=tmp_path / "run", workers=0, on_word=told.append, **options
    )
    assert max(CALLS.values()) <= most
    assert [kept in sentence for sentence in told[:1]] == [True] * (kept is not None)
    seeds = run.seeds
    assert sorted(seeds.seed[seeds.key == seeds.key[0]]) == list(range(run.table.n[0]))
    points = {result.key: result.point["x"] for result in run.results}
    if function is stepwise:
        parts = [part.points() for one in run.results for part in one.outcome.details.curves]
        assert sum(len(part.report) for part in parts) == 4 * len(seeds)
    for row in seeds.itertuples():
        if row.status != "crashed":
            assert row.accuracy == train({"x": points[row.key]}, row.seed)["accuracy"]


@pytest.mark.parametrize(
    ("seconds", "workers", "said"),
    [
        (4.9, 1, None),
        (300.0, 2, "certify: 5 x 1,000 seeds, about 2.5 min on 2 workers"),
        (33_120.0, 2, "certify: 5 x 1,000 seeds, about 4.6 h on 2 workers; seeds=200 takes 55 min"),
    ],
)
def test_an_estimate_of_seeds(seconds, workers, said):
    assert estimate_of_seeds("certify", 5, 1000, seconds, workers) == said


@pytest.mark.parametrize(
    ("gain", "said"),
    [(None, "2.0 min to 4.0 min"), (1.5, "2.0 min to 2.7 min"), (9.0, "about 2.0")],
)
def test_the_estimate_of_a_search_knows_how_much_faster_seeds_of_a_stack_are(gain, said):
    stacking = None if gain is None else Stacking(frozenset(), 32, gain)
    check = Check("", 10.0, stacking=stacking)  # 3 configurations x 4 to 8 seeds
    assert said in cost_of(load_space(SPACE), Cluster(workers=0), check)


@pytest.mark.usefixtures("no_ray")
def test_search_certify_and_compare_say_what_they_will_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(certify, "SHORT", 0.0)
    told = []
    common = {"train": train, "workers": 0, "on_word": told.append}
    space = SPACE | {"seeds": {"ladder": [4, 8], "certify": 10}}
    run = xt.search(space, output="run", **common)
    assert told[1].startswith("search: 3 configurations x 4 to 8 seeds, ")
    assert "on 1 worker; then 5 x 10 seeds for the certificate: " in told[1]
    told.clear()
    xt.certify(run, top=2, seeds=20, **common)
    assert [one.partition(",")[0] for one in told] == ["certify: 2 x 20 seeds"]
    told.clear()
    runs = ["run", f"run#{run.results[1].key}"]
    xt.compare(runs, seeds=30, labels=["a", "b"], **common)
    xt.compare(runs, seeds=30, labels=["a", "b"], **common)  # all is there
    assert [one.partition(",")[0] for one in told] == ["compare: 2 x 30 seeds"]
