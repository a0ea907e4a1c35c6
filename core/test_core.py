"""What works without torch, Numba and Ray; `.ci/run` runs it in an environment without them."""

import random
import sys
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path
from subprocess import run

import pytest

import xortune as xt

pytest_plugins = ("pytester",)
LEFT_OUT = ("torch", "numba", "ray")
CONFIG = {"p": 0.9}
SPACE = {
    "name": "own",
    "parameters": {"p": {"low": 0.5, "high": 1.0}},
    "search": {"trials": 4},
    "seeds": {"ladder": [4, 16], "certify": 20},
}


def train(config, seed):
    return {"success": random.Random(seed).random() < config["p"], "loss": 1 - config["p"]}


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def xortune(*words):
    words = [sys.executable, "-m", "xortune", *map(str, words)]
    return run(words, capture_output=True, text=True, check=False)


def test_the_three_are_not_here_and_nothing_else_is_left_out():
    found = {name: find_spec(name) for name in LEFT_OUT}
    assert [name for name, spec in found.items() if spec and spec.origin] == []
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    required = [one for one in requires("xortune-core") or () if "extra ==" not in one]
    assert {one for one in required if f'"{one}"' not in text} == set()
    assert not any(one.startswith(LEFT_OUT) for one in required)


def test_a_search_is_certified_compared_gated_and_reported():
    found = xt.search(SPACE, train=train, output="a", verbose=0)
    assert found.certificate is not None
    assert found.table.n.max() == 16
    assert {"report.md", "report.html", "table.csv", "seeds.parquet"} <= {
        path.name for path in found.path.iterdir()
    }
    assert "with confidence 0.95" in (found.path / "report.md").read_text(encoding="utf-8")
    gated = xortune("gate", "a", "--min-rate", "0.2")
    assert (gated.returncode, gated.stdout.startswith("proven")) == (0, True)
    other = xt.search(SPACE, train=train, output="b", seed=1, workers=2, verbose=0)
    assert "seeds" in str(xt.compare(found, other))


def test_one_configuration_is_evaluated_and_gated():
    assert xt.evaluate(CONFIG, seeds=range(20), train=train).n == 20
    assert xt.gate(CONFIG, train=train, min_rate=0.5).passed


def test_a_mark_of_pytest_is_judged(pytester):
    pytester.makepyfile(
        "import pytest, random\n"
        "@pytest.mark.seeds(20, min_rate=0.3)\n"
        "def test_it(seed): assert random.Random(seed).random() < 0.9\n"
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("xt.TorchTraining needs torch", lambda: xt.TorchTraining),
        ("xt.SeedRaceScheduler needs ray", lambda: xt.SeedRaceScheduler),
        ("on Ray needs ray", lambda: xt.search(SPACE, train=train, ray=True, verbose=0)),
        ("network needs torch", lambda: xt.search(SPACE | {"task": "xor"}, verbose=0)),
        (
            "network needs torch",
            lambda: xt.evaluate(
                xt.Config(
                    activation="Tanh",
                    loss="MSELoss",
                    optimizer="SGD",
                    lr=0.1,
                    hidden_dim=3,
                    epochs=5,
                ),
                seeds=range(3),
            ),
        ),
    ],
)
def test_what_is_missing_is_one_sentence_with_the_command(what, call):
    with pytest.raises(xt.InputError, match=what) as caught:
        call()
    message = str(caught.value)
    assert message.endswith("fix: pip uninstall xortune-core, then pip install xortune")
    assert not list(Path().glob("runs/*"))


def test_the_command_line_says_it_too():
    Path("space.yaml").write_text(
        "name: x\ntask: xor\nparameters: {activation: Tanh, loss: MSELoss, optimizer: SGD, "
        "lr: {low: 0.1, high: 1}, hidden_dim: 3, epochs: 5}\nsearch: {trials: 2}\n"
    )
    ended = xortune("search", "space.yaml")
    assert ended.returncode == 2
    assert "the built-in network needs torch, which xortune-core leaves out" in ended.stderr
    assert "Traceback" not in ended.stderr
