import json
import math
from dataclasses import FrozenInstanceError
from unittest.mock import Mock

import numpy as np
import pytest
from commands import xortune

import xortune as xt
from xortune.certificates import plan as speeds
from xortune.certificates.plan import gate_seeds, measured_speed
from xortune.core.seeds import HAND
from xortune.stats.anytime import anytime_evidence_above
from xortune.stats.proportions import clopper_pearson_lower


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(speeds, "ENOUGH_SECONDS", 0.02)


def test_a_rate_for_several_numbers_of_failures():
    found = xt.plan(rate=0.99, measure=False)
    assert isinstance(found, xt.RatePlan)
    assert (found.rate, found.confidence, found.speed) == (0.99, 0.95, None)
    assert [claim.failures for claim in found.claims] == [0, 1, 2, 3, 5, 10]
    assert [claim.seeds for claim in found.claims[:3]] == [299, 473, 628]
    for claim in found.claims:
        low = clopper_pearson_lower(claim.seeds - claim.failures, claim.seeds)
        assert low >= 0.99 - 1e-9
        assert claim.gate_seeds > claim.seeds
        assert 0.99 < claim.passes_from < 1
    with pytest.raises(FrozenInstanceError):
        found.rate = 0.5


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
    evaluate = Mock(wraps=speeds.evaluate_config)
    monkeypatch.setattr(speeds, "evaluate_config", evaluate)
    monkeypatch.setattr(speeds, "ENOUGH_SECONDS", 0.05)
    config = make_config(epochs=4000)
    found = xt.plan(0.9, config=config, task="parity-3")
    assert found.speed.config == config
    assert found.speed.task == "parity-3"
    assert found.speed.engine == "fused"
    assert found.speed.seconds_for_each == found.speed.seconds / found.speed.seeds > 0
    trained = [call.args for call in evaluate.call_args_list]
    assert {(c, task.name) for c, task, _ in trained} == {(config, "parity-3")}
    assert len(trained[-1][2]) == found.speed.seeds
    assert all(seeds.start in HAND and seeds[-1] in HAND for *_, seeds in trained)
    # What the reference engine must train is measured with that, and few seeds are enough.
    wide = measured_speed(make_config(hidden_dim=65, epochs=500), xt.Task.xor())
    assert wide.engine == "reference"
    assert wide.seeds <= 128


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
    found = json.loads(xortune("plan", "--rate", 0.9, "--failures", 2, "--json").stdout)
    assert found["claims"][0]["seeds"] == 61  # Wilks, 90/95 with two failures
    assert found["claims"][0]["seconds_here"] > 0
    found = json.loads(xortune("plan", "--between", 0.98, 1, "--json").stdout)
    assert found["independent"] == 394


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--rate 0.99, or --between 0.9 0.95"),
        (("--rate", "1.5"), "--rate: 1.5 is out of range"),
        (("--between", "0.9", "0.9"), "--between: 0.9 twice"),
        (("--rate", "0.9", "--config", "no.yaml"), "no.yaml: there is no such file"),
    ],
)
def test_the_command_refuses_before_it_trains(words, message, monkeypatch):
    monkeypatch.setattr(speeds, "measured_speed", None)
    result = xortune("plan", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert message in line
