from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, dataclass, field

import numpy as np
import pytest
from commands import xortune
from hand_made import CONFIG, RIGHT, WRONG, outcome
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.certificates.gate import Verdict, gate_config
from xortune.core.errors import TrainingError
from xortune.core.point import Point
from xortune.core.seeds import GATE
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_evidence_below,
    anytime_lower,
    anytime_upper,
)

POINT = Point(CONFIG)


@dataclass
class Scripted:
    """A trainer whose seed `first + i` is solved as `solved[i]` says; notes what it was asked."""

    solved: list[bool]
    first: int = GATE.start
    asked: list[range] = field(default_factory=list)

    def train(self, blocks):
        [block] = blocks
        self.asked.append(block.seeds)
        rows = [RIGHT if self.solved[seed - self.first] else WRONG for seed in block.seeds]
        return [outcome(block.first, rows)]


def passed(solved, **more) -> Verdict:
    options = {"min_rate": 0.95, "max_seeds": len(solved)} | more
    return gate_config(POINT, Scripted(solved), **options)


def test_a_config_that_always_works_is_proven_by_74_seeds_and_trains_no_more():
    trainer = Scripted([True] * 500)
    found = gate_config(POINT, trainer, min_rate=0.95, max_seeds=500)
    assert (found.answer, found.k, found.n, found.passed) == ("proven", 74, 74, True)
    assert sum(map(len, trainer.asked)) == 74
    assert trainer.asked[0].start == GATE.start == found.first_seed
    assert 0.95 <= found.bound < 0.951
    assert found.low < found.bound
    assert found.high == 1
    assert found.line == (
        "proven: 74/74 seeds solved, success rate above 0.95 (lower bound 0.9501, confidence 0.95, "
        "seeds 3221225472 to 3221225545)"
    )
    with pytest.raises(FrozenInstanceError):
        found.k = 75


def test_a_config_that_never_works_is_refuted_at_once():
    trainer = Scripted([False] * 500)
    found = gate_config(POINT, trainer, min_rate=0.95, max_seeds=500)
    assert (found.answer, found.k, found.passed) == ("refuted", 0, False)
    assert found.n == 2  # 0.05 ** 2 < 0.05
    assert sum(map(len, trainer.asked)) == 16
    assert found.line.startswith("refuted: 0/2 seeds solved, success rate below 0.95 (upper bound")
    assert found.counts[xt.Status.WRONG_PATTERN] == found.n
    assert sum(found.counts.values()) == found.n


def test_what_is_neither_is_undecided():
    solved = [i % 10 != 9 for i in range(100)]
    found = passed(solved, min_rate=0.9)
    assert (found.answer, found.k, found.n) == ("undecided", 90, 100)
    assert found.low < 0.9 < found.high
    assert "neither above nor below 0.9 for sure after 100 seeds" in found.line


SEQUENCES = st.tuples(st.floats(0.6, 1), st.integers(0, 2**32 - 1)).map(
    lambda drawn: (np.random.default_rng(drawn[1]).random(150) < drawn[0]).tolist()
)


@settings(max_examples=50)
@given(SEQUENCES, st.sampled_from([1, 2, 7, 64, 150]), st.sampled_from([0.7, 0.9, 0.95]))
def test_the_answer_depends_on_the_order_of_seeds_only(solved, block, min_rate):
    found = passed(solved, min_rate=min_rate)
    assert passed(solved, min_rate=min_rate, block=block) == found
    # After each seed, in words: the first at which either evidence suffices.
    k = 0
    expected = ("undecided", 150)
    for n, one in enumerate(solved, 1):
        k += one
        if anytime_evidence_above(k, n, min_rate) >= math.log(20):
            expected = ("proven", n)
        elif anytime_evidence_below(k, n, min_rate) >= math.log(20):
            expected = ("refuted", n)
        if expected[0] != "undecided":
            break
    assert (found.answer, found.n) == expected
    assert found.k == sum(solved[: found.n])
    assert found.low == pytest.approx(float(anytime_lower(found.k, found.n, alpha=0.025)))


@pytest.mark.parametrize(("rate", "wrong"), [(0.9, "proven"), (0.9 + 1e-9, "refuted")])
def test_the_answer_is_wrong_as_rarely_as_promised(rate, wrong):
    # On the edge itself, where both answers are hardest; 2,000 gates of at most 400 seeds.
    rng = np.random.default_rng(1)
    solved = rng.random((2000, 400)) < rate
    k, n = np.cumsum(solved, axis=1), np.arange(1, 401)
    evidence = {"proven": anytime_evidence_above, "refuted": anytime_evidence_below}
    ever = (evidence[wrong](k, n, 0.9) >= math.log(20)).any(axis=1)
    for row in range(0, 2000, 100):
        answer = passed(solved[row].tolist(), min_rate=0.9).answer
        assert not (answer == wrong and not ever[row])
    assert ever.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    assert ever.mean() > 0.005  # it could fail


def ends(most, min_rate, rates):
    """All ways in which a gate can end: a verdict, and its exact probability at each of the rates.

    Of the many orders of seeds that lead to an end one is tried: the verdict knows k and n only.
    """
    going = {(0, 0): (np.ones_like(rates), ())}
    found = []
    while going:
        (k, n), (chance, order) = next(iter(going.items()))
        del going[k, n]
        wanted = math.log(20)
        if n and (
            n == most
            or anytime_evidence_above(k, n, min_rate) >= wanted
            or anytime_evidence_below(k, n, min_rate) >= wanted
        ):
            verdict = passed([*order, *[True] * (most - n)], min_rate=min_rate)
            assert (verdict.k, verdict.n) == (k, n)
            found.append((verdict, chance))
            continue
        for one, share in ((True, rates), (False, 1 - rates)):
            before, path = going.get((k + one, n + 1), (0.0, (*order, one)))
            going[k + one, n + 1] = (before + chance * share, path)
    return found


def test_the_range_of_any_verdict_holds_with_its_confidence_both_ends_together():
    rates = np.linspace(0.6, 0.999, 134)
    missed = one_sided = total = 0.0
    for verdict, chance in ends(100, 0.9, rates):
        total = total + chance
        missed = missed + chance * ((rates < verdict.low) | (rates > verdict.high))
        low = anytime_lower(verdict.k, verdict.n, alpha=0.05)
        high = anytime_upper(verdict.k, verdict.n, alpha=0.05)
        one_sided = one_sided + chance * ((rates < low) | (rates > high))
    assert total == pytest.approx(np.ones_like(rates))
    assert missed.max() <= 0.05
    assert one_sided.max() > 0.05  # which two bounds of 95 % each do not


def test_other_confidence_and_seeds_are_used():
    trainer = Scripted([True] * 500, first=5)
    found = gate_config(POINT, trainer, min_rate=0.95, max_seeds=500, confidence=0.99, first_seed=5)
    assert found.first_seed == 5
    assert found.n > 74
    assert found.confidence == 0.99
    assert 0 <= found.bound - 0.95 < 1e-3


def test_progress_is_told_after_each_block():
    told = []
    passed([True] * 100, on_seeds=lambda k, n: told.append((k, n)))
    assert told == [(16, 16), (32, 32), (64, 64), (74, 74)]


def test_a_training_without_an_outcome_is_no_answer():
    class Broken:
        def train(self, blocks):
            return [TrainingError("no memory") for _ in blocks]

    with pytest.raises(TrainingError, match="no memory"):
        gate_config(POINT, Broken(), min_rate=0.5, max_seeds=10)


@pytest.mark.parametrize(
    ("options", "field", "word"),
    [
        ({"min_rate": 1}, "min_rate", "no number of seeds proves a rate of 1"),
        ({"min_rate": 1 - 1e-12}, "min_rate", "takes more seeds than there are"),
        ({"min_rate": 0}, "min_rate", "above 0"),
        ({"min_rate": float("nan")}, "min_rate", "nan"),
        ({"max_seeds": 73}, "max_seeds", "74 or more"),
        ({"max_seeds": 0}, "max_seeds", "at least 1"),
        ({"first_seed": 2**32 - 100}, "max_seeds", "2**32 - 1"),
        ({"first_seed": -1}, "first_seed", "0 to"),
        ({"confidence": 1}, "confidence", "1 is out of range; allowed: above 0 and below 1"),
        ({"confidence": 95}, "confidence", "below 1"),
    ],
)
def test_what_is_out_of_range_is_refused_before_training(options, field, word):
    with pytest.raises(xt.InputError) as caught:
        gate_config(POINT, None, **({"min_rate": 0.95, "max_seeds": 500} | options))
    assert caught.value.field == field
    assert word in str(caught.value)


# The verb and the command.


@pytest.fixture
def config_file(tmp_path, make_config):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(make_config().point.as_dict()))
    return path


def test_the_verb_trains_the_gates_own_seeds(make_config, config_file):
    found = xt.gate(make_config(), min_rate=0.9, max_seeds=300)
    assert found == xt.gate(str(config_file), min_rate=0.9, max_seeds=300)
    assert (found.answer, found.first_seed, found.most) == ("proven", GATE.start, 300)
    same = xt.evaluate(make_config(), seeds=range(GATE.start, GATE.start + found.n))
    assert same.successes == found.k
    assert xt.gate(make_config(), min_rate=0.9).most == 500
    other = xt.gate(make_config(epochs=3), min_rate=0.9, task="parity-3", first_seed=7)
    assert (other.answer, other.first_seed) == ("refuted", 7)


@pytest.mark.parametrize(
    ("given", "options", "word"),
    [
        (3, {}, "config_or_run"),
        ({"lr": 0.1}, {}, "config_or_run"),
        ("no.yaml", {}, "no such file"),
        (None, {"key": "a"}, "key"),
        (None, {"engine": "fast"}, "engine"),
        (None, {"task": "xorr"}, "task"),
    ],
)
def test_the_verb_refuses_what_it_cannot_use(make_config, given, options, word):
    with pytest.raises(xt.InputError, match=word):
        xt.gate(make_config() if given is None else given, min_rate=0.9, **options)


def test_the_exit_code_says_the_answer(config_file, make_config):
    result = xortune("gate", "--config", config_file, "--min-rate", 0.9)
    assert (result.exit_code, result.stderr) == (0, "")
    [line] = result.stdout.splitlines()
    assert line == xt.gate(make_config(), min_rate=0.9).line
    assert line.startswith("proven: ")
    result = xortune("gate", "--config", config_file, "--min-rate", 0.99, "--max-seeds", 377)
    assert result.exit_code == 1
    assert result.stdout.startswith("undecided: ")
    config_file.write_text(json.dumps(make_config(epochs=2).point.as_dict()))
    result = xortune("gate", "--config", config_file, "--min-rate", 0.9)
    assert result.exit_code == 1
    assert result.stdout.startswith("refuted: ")
    result = xortune("gate", "--config", config_file, "--min-rate", 0.9, "--quiet")
    assert (result.exit_code, result.output) == (1, "")


def test_the_answer_as_json(config_file, make_config):
    result = xortune("gate", "--config", config_file, "--min-rate", 0.9, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    verdict = xt.gate(make_config(), min_rate=0.9)
    assert found["answer"] == "proven"
    assert (found["k"], found["n"], found["low"]) == (verdict.k, verdict.n, verdict.low)
    assert (found["key"], found["max_seeds"]) == (make_config().key, 500)
    assert found["statuses"]["solved"] == verdict.k


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "neither a run nor --config"),
        (("RUN", "--config", "FILE"), "a run and --config"),
        (("--config", "no.yaml"), "no.yaml: there is no such file"),
        (("no-run",), "no-run: there is no such run"),
        (("FILE",), "--config FILE"),
        (("--config", "RUN"), "xortune gate RUN"),
        (("RUN",), "holds no run"),
        (("--config", "FILE", "--max-seeds", "20"), "--max-seeds: 20 seeds cannot prove 0.95"),
        (("--config", "FILE", "--key", "a"), "--key: 'a'"),
    ],
)
def test_bad_input_exits_2(words, message, tmp_path, config_file):
    real = {"RUN": str(tmp_path), "FILE": str(config_file)}
    words = [real.get(word, word) for word in words]
    result = xortune("gate", *words, "--min-rate", 0.95)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    for name, path in real.items():
        message = message.replace(name, path)
    assert message in line


def test_no_outcome_exits_4(config_file, monkeypatch):
    def broken(*args, **more):
        raise MemoryError("no room")

    monkeypatch.setattr("xortune.trainers.network.evaluate_config", broken)
    result = xortune("gate", "--config", config_file, "--min-rate", 0.9)
    assert result.exit_code == 4
    assert "no room" in result.stderr
