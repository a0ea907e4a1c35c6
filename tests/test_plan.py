import json
import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from commands import xortune

import xortune as xt
from xortune.certificates import plan as speeds
from xortune.certificates.plan import Claim, gate_seeds, measured_speed
from xortune.core.formats import duration
from xortune.core.seeds import HAND
from xortune.stats.anytime import anytime_evidence_above
from xortune.stats.exact import clopper_pearson


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_rate_for_several_numbers_of_failures():
    found = xt.plan(rate=0.99, measure=False)
    assert isinstance(found, xt.RatePlan)
    assert (found.rate, found.confidence, found.speed) == (0.99, 0.95, None)
    assert [claim.failures for claim in found.claims] == [0, 1, 2, 3, 5, 10]
    assert [claim.seeds for claim in found.claims[:3]] == [299, 473, 628]
    for claim in found.claims:
        low, _ = clopper_pearson(claim.seeds - claim.failures, claim.seeds, side="lower")
        assert low >= 0.99 - 1e-9
        assert claim.gate_seeds > claim.seeds
        assert 0.99 < claim.passes_from < 1
    with pytest.raises(FrozenInstanceError):
        found.rate = 0.5


def test_one_number_of_failures_and_another_confidence():
    found = xt.plan(0.95, confidence=0.99, failures=1, measure=False)
    [claim] = found.claims
    assert isinstance(claim, Claim)
    # 0.95^n + n 0.05 0.95^(n - 1) <= 0.01
    assert claim.seeds == next(
        n for n in range(1, 999) if 0.95**n + n * 0.05 * 0.95 ** (n - 1) <= 0.01
    )


@pytest.mark.parametrize(
    ("rate", "failures"), [(0.95, 0), (0.99, 0), (0.5, 0), (0.95, 3), (0.3, 2)]
)
def test_a_gate_proves_at_the_first_seed_that_can(rate, failures):
    n = gate_seeds(rate, alpha=0.05, failures=failures)
    wanted = math.log(20)
    looks = np.arange(failures + 1, n + 1)
    evidence = anytime_evidence_above(looks - failures, looks, rate)
    assert evidence[-1] >= wanted
    assert (evidence[:-1] < wanted).all()


def test_two_rates():
    found = xt.plan(between=[0.9, 0.95], measure=False)
    assert isinstance(found, xt.ComparisonPlan)
    assert (found.independent, found.shared, found.nested) == (466, 463, 157)
    assert (found.rates, found.power, found.alpha) == ((0.9, 0.95), 0.8, pytest.approx(0.05))
    few, more = (
        xt.plan(between=(0.5, 0.9), measure=False, **how).independent
        for how in ({}, {"power": 0.9, "confidence": 0.99})
    )
    assert more > few


def test_the_speed_is_measured_with_the_config_given(make_config, monkeypatch):
    trained = []
    real = speeds.evaluate_config

    def counted(config, task, seeds, **more):
        trained.append((config, task.name, seeds, more))
        return real(config, task, seeds, **more)

    monkeypatch.setattr(speeds, "evaluate_config", counted)
    monkeypatch.setattr(speeds, "ENOUGH_SECONDS", 0.05)
    config = make_config(epochs=4000)
    found = xt.plan(0.9, config=config, task="parity-3")
    assert found.speed.config == config
    assert found.speed.task == "parity-3"
    assert found.speed.engine == "fused"
    assert found.speed.seconds_for_each == found.speed.seconds / found.speed.seeds > 0
    assert {(c, t) for c, t, _, _ in trained} == {(config, "parity-3")}
    assert len(trained[-1][2]) == found.speed.seeds
    assert all(seeds.start in HAND and seeds[-1] in HAND for _, _, seeds, _ in trained)
    # What the reference engine must train is measured with that, and few seeds are enough.
    wide = measured_speed(make_config(hidden_dim=65, epochs=500), xt.Task.xor())
    assert wide.engine == "reference"
    assert wide.seeds <= 128


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "neither"),
        ({"rate": 0.9, "between": (0.1, 0.2)}, "both a rate and two rates to tell apart"),
        ({"between": (0.1, 0.2, 0.3)}, "3 rates"),
        ({"between": (0.1, 0.2), "failures": 1}, "failures"),
        ({"rate": 0.9, "config": {"lr": 1}}, "xortune.Config"),
        ({"rate": 0.9, "failures": -1}, "failures"),
        ({"rate": 0.9, "task": "xorr"}, "task"),
    ],
)
def test_bad_arguments_are_refused(arguments, word):
    with pytest.raises(xt.InputError, match=word):
        xt.plan(**arguments)


def test_the_command_says_how_many_and_what_the_time_is_from():
    result = xortune("plan", "--rate", "0.99", "--confidence", "0.95")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "To show a success rate of at least 0.99 with confidence 0.95:"
    first = lines[2].split()
    assert first[:2] == ["0", "299"]
    assert first[-1] == "338"
    text = " ".join(result.stdout.split())
    assert "task xor, fused engine" in text
    assert "hidden_dim 5, epochs 1000" in text
    assert max(map(len, lines)) <= 80


def test_the_command_reads_a_config_and_prints_json(tmp_path, make_config):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(make_config(epochs=50).point.as_dict()))
    result = xortune("plan", "--rate", 0.9, "--failures", 2, "--config", path, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["claims"][0]["seeds"] == 61  # Wilks, 90/95 with two failures
    assert found["speed"]["config"]["epochs"] == 50
    each = found["speed"]["seconds_for_each"]
    assert found["claims"][0]["seconds_here"] == pytest.approx(61 * each)


def test_the_command_compares():
    result = xortune("plan", "--between", 0.98, 1, "--power", 0.5)
    assert result.exit_code == 0, result.output
    assert "To tell 0.98 from 1 with a chance of 0.5 (two-sided test, level 0.05):" in result.stdout
    shown = [line.split()[0] for line in result.stdout.splitlines()[2:]]
    assert str(xt.plan(between=(0.98, 1), power=0.5, measure=False).independent) in shown
    result = xortune("plan", "--between", 0.98, 1, "--json")
    assert json.loads(result.stdout)["independent"] == 394


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--rate 0.99, or --between 0.9 0.95"),
        (("--rate", "1.5"), "--rate: 1.5 is out of range"),
        (("--rate", "0.9", "--confidence", "95"), "--confidence: 95.0"),
        (("--between", "0.9", "0.9"), "--between: 0.9 twice"),
        (("--rate", "0.9", "--failures", "-1"), "--failures: -1"),
        (("--between", "0.9", "0.8", "--power", "2"), "--power: 2"),
        (("--rate", "0.9", "--config", "no.yaml"), "no.yaml: there is no such file"),
    ],
)
def test_the_command_refuses_before_it_trains(words, message, monkeypatch):
    monkeypatch.setattr("xortune.certificates.plan.measured_speed", None)
    result = xortune("plan", *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert message in line


def test_durations():
    shown = [duration(s) for s in (2e-6, 9.9e-3, 0.012, 1.26, 59, 61, 3000, 7200)]
    assert shown == ["2 µs", "9.9 ms", "12 ms", "1.3 s", "59 s", "1.0 min", "50 min", "2.0 h"]
