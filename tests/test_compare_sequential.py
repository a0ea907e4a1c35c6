"""Configurations compared seed by seed until one is proven better, at a level that is kept."""

import json
import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from commands import refused, xortune

import xortune as xt
from xortune.comparisons.sequential import compared_in_step
from xortune.core.point import Point
from xortune.core.seeds import COMPARE
from xortune.stats.sequential import fair_losses_allowed, paired_answer


def proven(seeds, alpha, rates):
    """How probable it is that the first, and the second, is proven better: by enumeration.

    `rates` are the probabilities that only the first, and only the second, solves a seed.
    """
    shares = {(1, 0): rates[0], (0, 1): rates[1], (1, 1): 1 - sum(rates)}
    found = Counter()
    for history in product(shares, repeat=seeds):
        one, other = np.array(history, bool).T
        ahead = paired_answer(one, other, seeds=seeds, alpha=alpha).ahead
        found[ahead] += math.prod(shares[step] for step in history)
    return found[1], found[-1]


@pytest.mark.parametrize("differ", [0.2, 1.0])
@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_two_that_are_equal_are_told_apart_as_rarely_as_promised(differ, alpha):
    first, second = proven(7, alpha, (differ / 2, differ / 2))
    assert first <= alpha / 2 + 1e-12
    assert second == pytest.approx(first)


@pytest.mark.parametrize("at", [(1, 401), (1, 401, 2), (300, 401), (20, 401, 20)])
def test_of_fair_tosses_alpha_is_spent_whenever_they_come(at):
    seeds, alpha = 400, 0.025
    allowed = fair_losses_allowed(np.arange(*at), seeds, alpha)
    going, spent = np.array([1.0]), 0.0  # how probable each number of losses is
    for most in allowed[:-1]:
        going = np.convolve(going, [0.5, 0.5])
        spent += going[: most + 1].sum()
        going[: most + 1] = 0.0
    spent += going[: allowed[-1] + 1].sum()
    assert 0.6 * alpha < spent <= alpha * (1 + 1e-6)
    assert (np.diff(allowed) >= 0).all()


def drawn(rates, count, seeds, seed):
    rng = np.random.default_rng(seed)
    return [rng.random((count, seeds)) < rate for rate in rates]


def in_step(solved, most, alpha=0.05):
    labels = "abcdefg"[: len(solved)]
    points = [Point({"x": i}) for i in range(len(solved))]
    return compared_in_step(solved, labels, points, first_seed=0, max_seeds=most, alpha=alpha)


def test_the_answer_does_not_depend_on_how_many_seeds_are_looked_at_once():
    good, bad = (one[0] for one in drawn((0.97, 0.8), 1, 300, 5))
    whole, over = in_step([good, bad], 300)
    assert (whole.best, over) == (0, True)
    answer = paired_answer(good, bad, seeds=300, alpha=0.05)
    assert whole.n == whole.pairs[0].decided_at == answer.n < 300
    for n in range(1, 300):
        part, over = in_step([good[:n], bad[:n]], 300)
        assert over == (n >= whole.n)
        assert part == whole if over else part.best is None


def test_the_intervals_hold_when_they_are_looked_at():
    rates, wrong = (0.95, 0.85), 0
    for a, b in zip(*drawn(rates, 200, 200, 3), strict=True):
        found, _ = in_step([a, b], 200)
        [pair] = found.pairs
        wrong += not pair.low <= 0.1 <= pair.high
        assert pair.low <= pair.difference <= pair.high
        assert pair.ahead is None or (pair.low >= 0 if pair.ahead == 0 else pair.high <= 0)
    assert wrong <= 12  # 5 % of 200, and a little


def test_of_several_the_family_s_error_is_kept_and_the_best_ends_it():
    wrong = 0
    for three in zip(*drawn((0.8, 0.8, 0.8), 200, 60, 4), strict=True):
        found, _ = in_step(list(three), 60)
        wrong += any(pair.ahead is not None for pair in found.pairs)
    assert wrong <= 18  # 10 expected at most, three standard deviations above
    best, middle, worst = (one[0] for one in drawn((0.99, 0.75, 0.5), 1, 400, 6))
    found, over = in_step([middle, worst, best], 400)
    assert (found.best, found.first_is_worse, over) == (2, True, True)
    decisive = [pair for pair in found.pairs if 2 in (pair.a, pair.b)]
    assert found.n == max(pair.decided_at for pair in decisive)
    assert len(found.pairs) == len(found.lines) == 3
    for pair in decisive:  # a third of alpha for each
        two = ([middle, worst, best][one] for one in (pair.a, pair.b))
        assert pair.decided_at == paired_answer(*two, seeds=400, alpha=0.05 / 3).n


def train(config, seed):
    x = config["x"]
    return bool(np.random.default_rng([seed, x]).random() < (0.5, 0.97, 0.97)[x])


def test_dicts_of_a_function_in_as_few_seeds_as_the_answer_needs(tmp_path):
    pair = [{"x": 0, "widths": [8, 4]}, {"x": 1, "widths": [8, 4]}]
    asked = {"sequential": True, "train": accuracy, "success": "accuracy >= 0.5"}
    asked |= {"output": tmp_path, "labels": ["a", "b"]}
    found = xt.compare(pair, **asked)
    assert (found.best, found.labels, found.max_seeds) == (1, ("a", "b"), 1000)
    assert found.n < 60
    assert found.first_seed == COMPARE.start
    seeds = range(COMPARE.start, COMPARE.start + found.n)
    assert found.k == tuple(sum(train(one, seed) for seed in seeds) for one in pair)
    assert "b solves more seeds than a, proven by seed" in found.lines[0]
    assert found == xt.compare(pair, **asked)
    [journal] = tmp_path.glob("trained-*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert sum(line["count"] for line in lines) <= 2 * (found.n + 8)
    asked = {"sequential": True, "max_seeds": 24, "train": train}
    alike = xt.compare([{"x": 1}, {"x": 2}], output=tmp_path / "2", **asked)
    assert (alike.best, alike.n) == (None, 24)
    assert " after 24 seeds of each, all that were allowed" in alike.lines[0]
    planned = xt.compare(pair, seeds=100, train=train, output=tmp_path / "3")
    assert planned.pairs[0].ahead == 1


def accuracy(config, seed):
    return {"accuracy": 0.9 if train(config, seed) else 0.1}


def test_a_function_that_no_seed_comes_through_is_refused(tmp_path):
    for more in {"sequential": True}, {"seeds": 8}:
        words = r"all 8 seeds of every configuration crashed: .* a success is"
        with pytest.raises(xt.InputError, match=words):
            xt.compare([{"x": 0}, {"x": 1}], train=accuracy, output=tmp_path, **more)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"sequential": True, "seeds": 5}, "seeds"),
        ({"sequential": True, "train": False}, "sequential"),
        ({"sequential": True, "max_seeds": 0}, "max_seeds"),
        ({"sequential": True, "max_seeds": 20_001}, "max_seeds"),
        ({"max_seeds": 10}, "max_seeds"),
        ({"sequential": True}, "train"),
    ],
)
def test_what_does_not_go_together_is_refused(more, field, tmp_path):
    with pytest.raises(xt.InputError) as caught:
        xt.compare([{"x": 0}, {"x": 1}], output=tmp_path, **more)
    assert caught.value.field == field


def test_the_command_ends_as_soon_as_it_knows(tmp_path):
    space = """
name: {name}
epochs: {epochs}
parameters: {{activation: Tanh, loss: MSELoss, optimizer: Adam, lr: 0.05, hidden_dim: 6}}
search: {{sampler: grid}}
seeds: {{ladder: [8]}}
"""
    for name, epochs in (("good", 300), ("hasty", 20)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(space.format(name=name, epochs=epochs))
        xt.search(path, output=tmp_path / name)
    words = ["compare", tmp_path / "hasty", tmp_path / "good", "--sequential", "--max-seeds", 200]
    words += ["--output", tmp_path / "out"]
    result = xortune(*words)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "good solves more seeds than hasty, proven by seed" in said
    assert "at most 200; looked at after each, wrong with probability 0.05 at most." in said
    result = xortune(*words, "--json", "--fail-if-worse")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["best"], found["max_seeds"]) == (1, "good", 200)
    assert found["pairs"][0]["ahead"] == "good"
    assert found["contestants"][0]["n"] == found["n"] < 40
    out = tmp_path / "out"
    assert found["files"] == [str(out / f"comparison.{ending}") for ending in ("md", "html", "csv")]
    report = (out / "comparison.md").read_text()
    assert "- good solves more seeds than hasty, proven by seed" in report
    assert f"| hasty | good | 0 | {found['pairs'][0]['losses']} |" in report
    assert "hasty,good," in (out / "comparison.csv").read_text()
    refused(xortune(*words, "--workers", 2), "--workers: 2; allowed: 0: this process")
