"""The fused engine against the reference engine: single steps, whole trainings, every size."""

from dataclasses import replace
from itertools import product

import numpy as np
import oracle
import pytest
import torch

from xortune.core.config import ACTIVATIONS, LOSSES, MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.core.errors import InputError
from xortune.core.outcome import Outcome
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.trainers import fused, limits, reference
from xortune.trainers.network import NetworkTrainer, evaluate_config

XOR = Task.xor()
SEEDS = np.arange(16)
ALL = [*ACTIVATIONS, None]
PAIRS = list(product(LOSSES, OPTIMIZERS))


def distances(config: Config, one: Outcome, other: Outcome) -> np.ndarray:
    """How far the losses are apart, of 1e-3 or of their size; verdicts have to be equal."""
    for name in ("status", "solved_epoch", "predictions"):
        mine, theirs = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(mine, theirs, err_msg=f"{name} of {config}")
    exact = other.final_loss.astype(np.float64)
    return np.abs(one.final_loss - exact) / (np.abs(exact) + 1e-3)


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.long)])
def test_trainings_over_the_table_are_those_of_the_reference(every):
    """Every ninth pair of a loss and an optimizer, from another one on for each activation."""
    first_steps, near, same = [], [], []
    table = [(one, pair) for i, one in enumerate(ALL) for pair in PAIRS[i % every :: every]]
    for number, (activation, (loss, optimizer)) in enumerate(table):
        config = Config(
            activation=activation,
            loss=loss,
            optimizer=optimizer,
            lr=0.05,
            momentum=0.5 if optimizer in MOMENTUM_OPTIMIZERS else 0.0,
            hidden_dim=5,
            epochs=3 if number % 3 else 30,
        )
        mine, theirs = (engine.train(config, XOR, SEEDS, [1, 2]) for engine in (fused, reference))
        for epochs in (1, 2):
            far = distances(config, mine.at(epochs), theirs.at(epochs))
            if optimizer == "RMSprop":
                first_steps.append(far)
            else:
                assert far.max() < 2e-6, (config, epochs)
        if number % 3:
            continue
        exact = theirs.final_loss.astype(np.float64)
        near.append(np.abs(mine.final_loss - exact) <= 1e-4 * (np.abs(exact) + 1e-3))
        same.append((mine.status == theirs.status) & (mine.solved_epoch == theirs.solved_epoch))
    # The first steps of RMSprop have the size of lr whatever the gradient's, even where that is
    # nothing but rounding.
    assert np.mean(np.concatenate(first_steps) > 2e-6) < 0.02
    assert np.mean(near) >= 0.98
    assert np.mean(same) >= 0.995


TANH = Config(activation="Tanh", loss="MSELoss", optimizer="SGD", lr=0.3, hidden_dim=4, epochs=40)
VARIANTS = {
    "gradients add up": replace(TANH, lr=0.02, zero_grad=False),
    "gradients add up, Adam": replace(TANH, optimizer="Adam", lr=0.02, zero_grad=False),
    "gradients add up, Rprop": replace(TANH, optimizer="Rprop", lr=0.01, zero_grad=False, epochs=8),
    "gradients add up, momentum": replace(TANH, lr=0.01, momentum=0.5, zero_grad=False),
    "no momentum": TANH,
    "momentum": replace(TANH, momentum=0.9),
    "momentum 1": replace(TANH, lr=0.02, momentum=1.0),
    "momentum above 1": replace(TANH, lr=0.01, momentum=1.05),
    "RMSprop, momentum above 1": replace(
        TANH, optimizer="RMSprop", lr=0.001, momentum=1.05, loss="BCELoss"
    ),
    "lr above Rprop's largest step": replace(TANH, optimizer="Rprop", lr=60.0, epochs=3),
    "lr below the smallest float32": replace(TANH, lr=1e-50),
}


def table(rows: int, dim: int, held_out: int = 0, accuracy: float = 1.0) -> Task:
    """Inputs between -2 and 3; the target is whether the first one is above their mean."""
    draw = np.random.default_rng(1000 * rows + dim)
    x = draw.uniform(-2, 3, (rows + held_out, dim))
    y = (x[:, :1] > np.median(x[:, 0])).astype(float)
    held = {"held_out_inputs": x[rows:], "held_out_targets": y[rows:]} if held_out else {}
    return Task("table", x[:rows], y[:rows], **held, accuracy=accuracy)


CASES = {name: (config, XOR, 1e-4) for name, config in VARIANTS.items()}
for activation, hidden in product(["Tanh", "Softmin", "LogSoftmax"], [1, 17, 64]):
    config = replace(TANH, activation=activation, hidden_dim=hidden, lr=0.1, epochs=20)
    CASES[f"{activation}, {hidden} units"] = (config, XOR, 1e-4 if hidden == 64 else 2e-5)
for rows, dim in ((2, 1), (3, 8), (4, 5), (5, 2), (64, 8)):
    config = replace(TANH, lr=0.1, epochs=15)
    other = replace(config, activation="Softmax", loss="BCELoss", optimizer="Adam")
    CASES[f"{rows} rows of {dim}"] = (config, table(rows, dim), 1e-4)
    CASES[f"{rows} rows of {dim}, Softmax"] = (other, table(rows, dim), 1e-4)


@pytest.mark.parametrize("name", CASES)
def test_trainings_are_those_of_the_reference(name):
    config, task, close = CASES[name]
    mine, theirs = (engine.train(config, task, SEEDS) for engine in (fused, reference))
    assert distances(config, mine, theirs).max() < close


@pytest.mark.parametrize(("rows", "held_out"), [(5, 7), (64, 64), (2, 1)])
def test_held_out_rows_are_judged_and_never_trained_on(rows, held_out):
    task = table(rows, 2, held_out, 0.7)
    config = replace(TANH, loss="BCELoss", optimizer="Adam", lr=0.05)
    mine = fused.train(config, task, SEEDS, [3])
    theirs = reference.train(config, task, SEEDS, [3])
    assert mine.predictions.shape == (16, held_out)
    assert distances(config, mine, theirs).max() < 1e-4
    assert distances(config, mine.at(3), theirs.at(3)).max() < 1e-5
    other = Task("table", task.inputs, task.targets)
    np.testing.assert_array_equal(mine.final_loss, fused.train(config, other, SEEDS).final_loss)


def test_a_share_of_the_held_out_rows_is_enough():
    """Solved with some rows wrong, and from another epoch on than with all of them right."""
    config = replace(TANH, loss="BCELoss", optimizer="Adam", lr=0.05)
    strict, lenient = (table(20, 2, 40, accuracy) for accuracy in (1.0, 0.9))
    some, every = fused.train(config, lenient, SEEDS), fused.train(config, strict, SEEDS)
    wrong = (some.predictions != (lenient.judged_targets[:, 0] > 0.5)).sum(axis=1)
    assert ((wrong <= 4) == some.solved).all()
    assert np.any(some.solved & (wrong > 0))
    assert every.successes < some.successes
    theirs = reference.train(config, lenient, SEEDS)
    np.testing.assert_array_equal(some.solved_epoch, theirs.solved_epoch)


# --- the ends of float32 -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "loss"),
    [("LogSigmoid", "MSELoss"), ("Softplus", "KLDivLoss"), ("SELU", "BCEWithLogitsLoss")],
)
def test_a_gradient_vanishes_where_that_of_torch_does(activation, loss):
    """To Rprop the sign of the smallest gradient is a whole step, that of none is none."""
    config = Config(
        activation=activation, loss=loss, optimizer="Rprop", lr=30, hidden_dim=5, epochs=100
    )
    mine, theirs = (engine.train(config, XOR, np.arange(64)) for engine in (fused, reference))
    assert np.count_nonzero(mine.status != theirs.status) <= 3


# -------------------------------------------------------------------------------------------------
# What a trained network makes of inputs it never saw.

TRAINED = replace(TANH, momentum=0.9, hidden_dim=5)
GRID = np.array([(x, y) for x in np.linspace(-1, 2, 13) for y in (-0.7, 0.4, 1.6)], np.float32)


@pytest.mark.parametrize("zero_grad", [True, False])
def test_weights_are_those_of_the_loop(zero_grad):
    config = replace(
        TANH, activation="ReLU", loss="BCELoss", optimizer="Adam", lr=0.03, hidden_dim=3,
        epochs=25, zero_grad=zero_grad,
    )  # fmt: skip
    seeds = np.arange(20)  # more than one row of lanes, and not a whole number of them
    weights = fused.final_weights(config, XOR, seeds)
    assert weights.shape == (13, 20)
    plain = [oracle.plain_loop(config, XOR, seed).weights for seed in seeds.tolist()]
    expected = [torch.cat([layer.flatten() for layer in layers]).numpy() for layers in plain]
    np.testing.assert_allclose(weights.T, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.1, "seeds differ, so a mix-up would show"


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_outputs_on_a_grid_are_those_of_torch(activation):
    config = replace(TANH, activation=activation, lr=0.1, epochs=5)
    weights = 3 * fused.final_weights(config, XOR, np.arange(3))
    outputs = fused.outputs_of(config, weights, GRID)
    assert outputs.shape == (3, len(GRID))
    for seed in range(3):
        model = oracle.network(config, 2, seed)
        torch.nn.utils.vector_to_parameters(torch.tensor(weights[:, seed]), model.parameters())
        with torch.no_grad():
            expected = model(torch.tensor(GRID))[:, 0].numpy()
        np.testing.assert_allclose(outputs[seed], expected, rtol=0, atol=2e-6)


def test_a_grid_of_many_rows_is_its_parts():
    weights = fused.final_weights(TRAINED, XOR, np.arange(17))
    rows = np.concatenate([GRID] * 4)
    assert len(rows) > 2 * limits.MAX_ROWS
    outputs = fused.outputs_of(TRAINED, weights, rows)
    assert outputs.tobytes() == np.tile(fused.outputs_of(TRAINED, weights, GRID), 4).tobytes()


# -------------------------------------------------------------------------------------------------
# What the fused engine does not train, and who does.

SHORT = replace(TANH, lr=0.1, hidden_dim=3, epochs=4)
BEYOND = [
    (table(65, 2), {}, r"rows 65 is above 64"),
    (table(5, 2, 65), {}, r"rows 65 is above 64"),
    (table(5, 9), {}, r"inputs 9 is above 8"),
    (XOR, {"hidden_dim": 65}, r"hidden_dim 65 is above 64"),
    (XOR, {"lr": 1.1e30}, r"lr 1.1e\+30 is above 1e\+30"),
    (XOR, {"momentum": 2e30}, r"momentum 2e\+30 is above 1e\+30"),
]
WITHIN = [(table(64, 8, 64), {"hidden_dim": 64}), (XOR, {"lr": 1e30}), (XOR, {"momentum": 1e30})]


@pytest.mark.parametrize(("task", "changes"), WITHIN)
def test_up_to_a_limit_the_fused_engine_trains(task, changes):
    config = replace(SHORT, **changes)
    assert limits.uncovered(config, task) is None
    outcome = evaluate_config(config, task, range(4), (), "fused")
    np.testing.assert_array_equal(outcome.status, reference.train(config, task, range(4)).status)


@pytest.mark.parametrize(("task", "changes", "reason"), BEYOND)
def test_beyond_a_limit_the_reference_engine_trains(task, changes, reason):
    config = replace(SHORT, **changes)
    with pytest.raises(InputError, match=f"engine: 'fused', but {reason}.*use engine 'auto'"):
        evaluate_config(config, task, range(4), (), "fused")
    outcome = evaluate_config(config, task, range(4), (), "auto")
    expected = reference.train(config, task, np.arange(4))
    oracle.assert_equal(outcome, expected)
    oracle.assert_equal(NetworkTrainer(task).train([Block(config.point, 0, 4)])[0], expected)


def test_more_epochs_than_a_float32_counts():
    config = replace(SHORT, epochs=2**24)
    assert limits.uncovered(config, XOR) is None
    reason = limits.uncovered(replace(SHORT, epochs=2**24 + 1), XOR)
    assert reason is not None
    assert reason.startswith("epochs 16,777,217 is above 16,777,216")
