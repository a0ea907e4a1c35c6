import contextlib
import io
import json

import numpy as np
import pytest

from xortune.core.config import ACTIVATIONS, LOSSES
from xortune.core.task import Task
from xortune.reports.analysis import evaluate_command, plain_script


def printed(script):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(script, "script", "exec"), {})
    return json.loads(out.getvalue())


def test_the_script_trains_xor(make_config):
    script = plain_script(make_config(lr=0.1, epochs=300), Task.xor(), 0)
    assert printed(script) == [0, 1, 1, 0]
    assert script.count("\n") <= 14


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # torch on KLDivLoss
@pytest.mark.parametrize(
    "changes",
    [{"activation": one} for one in (None, *ACTIVATIONS)] + [{"loss": one} for one in LOSSES],
)
def test_every_activation_and_loss_runs(make_config, changes):
    momentum = {"optimizer": "SGD", "momentum": 0.9, "zero_grad": False}
    script = plain_script(make_config(epochs=2, **momentum, **changes), Task.parity(3), 5)
    assert "zero_grad" not in script
    assert "momentum=0.9" in script
    assert len(printed(script)) == 8


def test_no_script_for_a_task_too_large_or_judged_elsewhere(make_config):
    x, y = np.eye(3), np.eye(3)[:, :1]
    assert plain_script(make_config(), Task.parity(6), 0) is None
    assert plain_script(make_config(), Task("t", x, y, x, y, 0.5), 0) is None
    assert "[0.0, 1.0, 0.0]" in plain_script(make_config(), Task("t", x, y), 0)


def test_the_command_says_all_that_is_not_the_default(make_config):
    config = make_config(optimizer="SGD", momentum=0.5, zero_grad=False)
    assert evaluate_command(config, "parity-3", first=9, seeds=5) == (
        "xortune evaluate --activation Tanh --loss MSELoss --optimizer SGD --lr 0.03 "
        "--momentum 0.5 --hidden-dim 5 --epochs 1000 --no-zero-grad --task parity-3 "
        "--seeds 5 --first-seed 9"
    )
    assert evaluate_command(make_config(), "a b.csv", first=9, seeds=5).count("'a b.csv'") == 1
