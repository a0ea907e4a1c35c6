"""`xortune evaluate`: what it prints, and how it refuses."""

import json

from commands import _somewhere, xortune

import xortune as xt

__all__ = ["_somewhere"]  # the fixture

EVALUATE = {
    "--activation": "Tanh",
    "--loss": "MSELoss",
    "--optimizer": "Adam",
    "--lr": "0.1",
    "--hidden-dim": "4",
    "--epochs": "100",
    "--seeds": "12",
}


def evaluate(*more, **changes):
    options = EVALUATE | {f"--{name.replace('_', '-')}": text for name, text in changes.items()}
    return xortune("evaluate", *(word for pair in options.items() for word in pair), *more)


def test_evaluate_tells_a_person_and_a_program():
    config = xt.Config(
        activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.1, hidden_dim=4, epochs=100
    )
    outcome = xt.evaluate(config, range(12))
    result = evaluate()
    assert result.exit_code == 0
    assert f"{outcome.successes}/12 seeds solved" in result.stdout
    assert 0 < outcome.successes < 12, "the test tells nothing if all seeds are alike"
    assert "epochs to solve" in result.stdout
    assert "not solved" in result.stdout
    assert result.stderr == ""
    shown = json.loads(evaluate("--json", "--quiet").stdout)
    low, high = outcome.interval()
    expected = {
        "k": outcome.successes,
        "n": 12,
        "rate": outcome.rate,
        "low": low,
        "high": high,
        "epochs_to_solve": outcome.epochs_to_solve,
        "key": config.key,
        "config": dict(config.point),
        "first_seed": 0,
    }
    assert {name: shown[name] for name in expected} == expected
    assert sum(shown["statuses"].values()) == 12
    assert shown["statuses"]["solved"] == outcome.successes


def test_evaluate_takes_every_option(tmp_path):
    table = tmp_path / "task.csv"
    table.write_text("a,b,c,y\n0,0,0,0\n0,1,0,1\n1,0,1,1\n1,1,1,0\n")
    result = evaluate(
        *("--momentum", "0.9", "--task", table, "--no-zero-grad", "--first-seed", 2**32 - 12),
        *("--engine", "reference", "--json"),
        optimizer="SGD",
        activation="none",
        epochs="20",
    )
    shown = json.loads(result.stdout)
    config = {name: shown["config"][name] for name in ("activation", "momentum", "zero_grad")}
    assert config == {"activation": None, "momentum": 0.9, "zero_grad": False}
    assert shown["first_seed"] == 2**32 - 12
    outcome = xt.evaluate(
        xt.Config(**shown["config"]), range(2**32 - 12, 2**32), task=xt.Task.from_csv(table)
    )
    assert shown["k"] == outcome.successes
