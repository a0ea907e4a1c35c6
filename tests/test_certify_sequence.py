"""A certificate that proves one rate, finalist after finalist, with as few seeds as it takes."""

import json
from dataclasses import dataclass, field

import pytest
from certified import BASE, KEYS, SPACE, Counting, certify, run
from commands import xortune
from hand_made import RIGHT, WRONG, done, outcome, solved, write_run

import xortune as xt
from xortune.core.seeds import CERTIFY
from xortune.runs.run import load_run
from xortune.stats.sequential import boundary

__all__ = ["run"]  # the fixture

ORDER = [KEYS[i] for i in (1, 2, 0, 4)]
"""The finalists in the search's order: 8, 7, 6 and 5 of 8."""


@dataclass
class Failing(Counting):
    """Fails the seeds of a finalist that lie so far behind its first one."""

    at: dict[str, tuple[int, ...]] = field(default_factory=dict)
    first: int | None = None

    def train(self, blocks):
        [block] = blocks
        super().train(blocks)
        self.first = block.first if self.first is None else self.first
        wrong = {self.first + one for one in self.at.get(block.point.key, ())}
        rows = [WRONG if seed in wrong else RIGHT for seed in block.seeds]
        return [outcome(block.first, rows)]


def test_where_no_seed_fails_the_first_finalist_is_enough(run):
    found = certify(run, top=1, seeds=1000, min_rate=0.99)
    [best] = found.finalists
    least = boundary(0.99, 1000, 0.025).first(0)
    assert (best.key, best.k, best.n, best.lower_bound) == (ORDER[0], least, least, 0.99)
    assert 368 <= least <= 420  # 0.99 ** 368 <= 0.025
    assert best.first in CERTIFY
    attempt, run = found.latest, load_run(run.path)
    assert (attempt.bound, attempt.min_rate, attempt.confidence) == ("sequence", 0.99, 0.975)
    assert run.certificate == found
    assert xt.status(run.path).certificate.state == "complete"
    assert xt.gate(run, min_rate=0.99).passed
    # Asked again: another attempt, with half of the risk and other seeds.
    again = certify(run, top=1, seeds=1000, min_rate=0.99)
    assert again.latest.number == 2
    assert again.best.n > least
    assert again.best.first != best.first


@pytest.mark.parametrize("block", [1 / 7, 1 / 50, 1 / 2000])
def test_it_goes_on_while_each_is_proven_and_ends_with_one_that_is_not(run, block):
    rule = boundary(0.9, 200, 0.025)
    most = int(rule.allowed[-1])
    fails = {ORDER[0]: (3,), ORDER[1]: tuple(range(5, 6 + most))}
    found = certify(run, Failing(at=fails, seconds=block), top=4, seeds=200, min_rate=0.9)
    first, second = found.finalists  # the third is never begun
    assert [first.key, second.key] == ORDER[:2]
    assert (first.n, first.k) == (rule.first(1), rule.first(1) - 1)
    assert first.lower_bound == 0.9
    assert (second.n, second.k) == (6 + most, 5)  # not even all that are left would prove it
    assert 0 <= second.lower_bound < 0.9
    assert found.latest.complete
    run = load_run(run.path)
    assert {line.block.point.key for line in run.checks} == set(ORDER[:2])
    assert run.certificate == found
    assert not xt.gate(run, min_rate=0.9, key=second.key).passed


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_one_that_was_interrupted_ends_as_it_would_have(run, stop):
    trainer = Failing(at={ORDER[0]: (3, 40)}, seconds=1 / 16, stop_after=stop)
    with pytest.raises(KeyboardInterrupt):
        certify(run, trainer, seeds=200, min_rate=0.9)
    run, trainer.stop_after = load_run(run.path), None
    assert run.certificate.latest is None
    assert xt.status(run.path).certificate.state == "begun"
    found = certify(run, trainer, seeds=200, min_rate=0.9)
    rule = boundary(0.9, 200, 0.025)
    assert [one.n for one in found.finalists] == [rule.first(2), rule.first(0), rule.first(0)]
    assert len(found.attempts) == 1


def walks(rule, rate, given_up):
    """[(proven, n, probability)] of one finalist, by enumeration over (n, failures)."""
    going = {0: 1.0}
    ends = []
    for n in range(1, rule.seeds + 1):
        after: dict[int, float] = {}
        for failures, chance in going.items():
            for more, share in ((0, rate), (1, 1 - rate)):
                after[failures + more] = after.get(failures + more, 0.0) + chance * share
        ends += [(True, n, after.pop(f)) for f in list(after) if f <= rule.allowed[n]]
        ends += [(False, n, after.pop(f)) for f in list(after) if f > given_up]
        going = after
    assert not going
    return ends


@pytest.mark.parametrize("rates", [(0.9, 0.9, 0.9), (0.95, 0.9, 0.8), (0.999, 0.7, 0.99), (0.88,)])
def test_all_that_a_sequence_says_is_wrong_as_rarely_as_promised(rates):
    rule = boundary(0.9, 120, 0.025)
    wrong, reached = 0.0, 1.0
    for rate in rates:
        ends = walks(rule, rate, int(rule.allowed[-1]))
        assert sum(chance for *_, chance in ends) == pytest.approx(1)
        bounds = [(0.9 if proven else rule.bound_given_up(n), chance) for proven, n, chance in ends]
        missed = sum(chance for bound, chance in bounds if bound > rate + 1e-12)
        wrong += reached * missed
        proven = sum(chance for won, _, chance in ends if won)
        reached *= proven if rate >= 0.9 else 0.0  # a wrong one is counted already
    assert wrong <= 0.025 + 1e-9


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"min_rate": 1.0}, "min_rate"),
        ({"min_rate": 0.99, "seeds": 300}, "seeds"),
        ({"min_rate": 0.9, "seeds": 20_001}, "seeds"),
        ({"min_rate": 0.9, "extendable": True}, "extendable"),
        ({"min_rate": 0.9, "neighbourhood": 0.2}, "neighbourhood"),
    ],
)
def test_what_does_not_go_with_a_rate_is_refused(run, more, field):
    with pytest.raises(xt.InputError) as caught:
        certify(run, **more)
    assert caught.value.field == field
    assert "purpose" not in (run.path / "evaluations.jsonl").read_text()


def test_the_command_says_what_was_proven(tmp_path):
    point = {**BASE, "lr": 0.05, "hidden_dim": 8, "epochs": 300}
    result = done(0, point, solved(0, 10, 10))
    out = write_run(
        tmp_path / "run", [result], space_text=SPACE, trainer="network", task="xor"
    ).path
    result = xortune("certify", out, "--min-rate", 0.8, "--seeds", 200)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "it tests the rate 0.8 for one finalist after the other" in said
    found = json.loads(xortune("certify", out, "--min-rate", 0.8, "--json").stdout)
    assert (found["bound"], found["attempts"][0]["min_rate"]) == ("sequence", 0.8)
    [finalist] = found["finalists"]
    assert finalist["lower_bound"] == 0.8
    assert finalist["confidence"] == pytest.approx(1 - 0.05 / 4)
    assert "proves min_rate" in found["promise"]
