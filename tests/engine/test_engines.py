"""The fused engine, the reference engine and the plain loop; no seed notices which others train
beside it, in blocks of what size, on how many cores."""

import warnings
from dataclasses import replace
from itertools import product
from unittest.mock import Mock

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import ADAM, XOR, assert_equal, exploding

from xortune.core.config import ACTIVATIONS, LOSSES, MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.core.errors import InputError
from xortune.core.outcome import Outcome, Status
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.trainers import fused, limits, reference
from xortune.trainers.limits import Training
from xortune.trainers.network import NetworkTrainer, evaluate_config

SEEDS = np.arange(16)
ALL = [*ACTIVATIONS, None]
PAIRS = list(product(LOSSES, OPTIMIZERS))


def both(
    config: Config, task: Task = XOR, seeds: np.ndarray = SEEDS, stops: tuple[int, ...] = ()
) -> tuple[Outcome, ...]:
    """What the fused engine and the reference engine come to."""
    return tuple(engine.train(config, task, seeds, stops) for engine in (fused, reference))


def assert_same(one: Outcome, other: Outcome, *names: str) -> None:
    """The verdicts, or what is named."""
    for name in names or ("status", "solved_epoch", "predictions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def distances(one: Outcome, other: Outcome) -> np.ndarray:
    """How far the losses are apart, of 1e-3 or of their size; verdicts have to be equal."""
    assert_same(one, other)
    exact = other.final_loss.astype(np.float64)
    return np.abs(one.final_loss - exact) / (np.abs(exact) + 1e-3)


@pytest.mark.parametrize("every", [18, pytest.param(1, marks=pytest.mark.long)])
def test_trainings_over_the_table_are_those_of_the_reference(every):
    """Every 18th pair of a loss and an optimizer, from another one on for each activation: all."""
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
        mine, theirs = both(config, stops=(1, 2))
        for epochs in (1, 2):
            far = distances(mine.at(epochs), theirs.at(epochs))
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


TANH = replace(ADAM, optimizer="SGD", lr=0.3, hidden_dim=4, epochs=40)
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
    assert distances(*both(config, task)).max() < close


@pytest.mark.parametrize(("rows", "held_out"), [(5, 7), (64, 64), (2, 1), (20, 40)])
def test_held_out_rows_are_judged_and_never_trained_on(rows, held_out):
    """A share of them is enough."""
    task = table(rows, 2, held_out, 0.7)
    config = replace(TANH, loss="BCELoss", optimizer="Adam", lr=0.05)
    mine, theirs = both(config, task, stops=(3,))
    assert mine.predictions.shape == (16, held_out)
    assert distances(mine, theirs).max() < 1e-4
    assert distances(mine.at(3), theirs.at(3)).max() < 1e-5
    records = oracle.plain_loops(config, task, range(16))
    assert theirs.solved_epoch.tolist() == [record.solved_epoch for record in records]
    lenient = theirs.solved & (theirs.predictions != (task.judged_targets[:, 0] > 0.5)).any(axis=1)
    assert lenient.any() == (held_out > 1)
    other = Task("table", task.inputs, task.targets)
    assert_same(mine, fused.train(config, other, SEEDS), "final_loss")


@pytest.mark.parametrize(
    ("activation", "loss"),
    [("LogSigmoid", "MSELoss"), ("Softplus", "KLDivLoss"), ("SELU", "BCEWithLogitsLoss")],
)
def test_a_gradient_vanishes_where_that_of_torch_does(activation, loss):
    """To Rprop the sign of the smallest gradient is a whole step, that of none is none."""
    changes = {"activation": activation, "loss": loss, "optimizer": "Rprop", "lr": 30}
    mine, theirs = both(replace(ADAM, epochs=100, **changes), seeds=np.arange(64))
    assert np.count_nonzero(mine.status != theirs.status) <= 3


# -------------------------------------------------------------------------------------------------
# Whole trainings against the plain loop: verdicts, losses, epochs.

LONG = {
    "xor": replace(TANH, activation="ELU", lr=0.5, momentum=0.9, hidden_dim=5, epochs=200),
    "no activation": replace(ADAM, activation=None, loss="BCELoss"),
    "RMSprop, momentum": replace(
        VARIANTS["RMSprop, momentum above 1"], activation="Sigmoid", lr=0.01, momentum=0.8
    ),
    "momentum above 1": VARIANTS["momentum above 1"],
    "gradients add up": replace(TANH, lr=0.02, epochs=100, zero_grad=False),
    "solved and lost again": replace(TANH, optimizer="RMSprop", lr=0.1, epochs=80),
}


@pytest.mark.parametrize("name", LONG)
def test_long_trainings_are_those_of_the_loop(name):
    config = LONG[name]
    seeds = range(24) if name == "solved and lost again" else range(6)
    records = oracle.plain_loops(config, XOR, seeds)
    outcome = reference.train(config, XOR, np.array(seeds))
    assert outcome.status.tolist() == [record.status for record in records]
    assert outcome.solved_epoch.tolist() == [record.solved_epoch for record in records]
    assert list(outcome.patterns) == [record.pattern for record in records]
    losses = [record.loss for record in records]
    np.testing.assert_allclose(outcome.final_loss, losses, rtol=1e-6, atol=1e-4)
    if len(seeds) == 24:
        assert any(True in record.right[1 : record.solved_epoch] for record in records)
        assert any(record.solved_epoch == 0 for record in records)
        assert outcome.epochs_spent == sum(record.solved_epoch or 80 for record in records)


@pytest.mark.parametrize("engine", [reference, fused])
def test_an_output_of_exactly_one_half_is_no_one(engine):
    """A hidden unit that is shrunk to 0 on every row leaves sigmoid(b2), and b2 goes to 0."""
    config = replace(TANH, activation="Hardshrink", lr=4, hidden_dim=1, epochs=200)
    outcome = engine.train(config, XOR, np.arange(20))
    half = outcome.final_loss == 0.25
    assert np.count_nonzero(outcome.status[half] == Status.ALL_ZERO) >= 5
    assert outcome.counts[Status.ALL_ONE] == 0


@pytest.mark.parametrize("zero_grad", [True, False])
def test_weights_are_those_of_the_loop(zero_grad):
    config = replace(ADAM, activation="ReLU", loss="BCELoss", lr=0.03, zero_grad=zero_grad)
    config = replace(config, hidden_dim=3, epochs=25)
    seeds = np.arange(20)  # more than one row of lanes, and not a whole number of them
    weights = fused.final_weights(config, XOR, seeds)
    assert weights.shape == (13, 20)
    plain = [oracle.plain_loop(config, XOR, seed).weights for seed in seeds.tolist()]
    expected = [torch.cat([layer.flatten() for layer in layers]).numpy() for layers in plain]
    np.testing.assert_allclose(weights.T, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.1, "seeds differ, so a mix-up would show"


GRID = np.array([(x, y) for x in np.linspace(-1, 2, 50) for y in (-0.7, 0.4, 1.6)], np.float32)
assert len(GRID) > 2 * limits.MAX_ROWS


@pytest.mark.parametrize("activation", ALL)
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


# -------------------------------------------------------------------------------------------------
# No seed notices any other.

CONFIGS = [
    ADAM,
    replace(
        ADAM, activation="GELU", loss="BCELoss", optimizer="RMSprop", lr=0.03, momentum=0.5,
        hidden_dim=7,
    ),
    replace(ADAM, activation="Softmax", loss="L1Loss", optimizer="Rprop", hidden_dim=3),
    replace(ADAM, activation=None, loss="SoftMarginLoss", optimizer="Adagrad", lr=1, hidden_dim=1),
    exploding("MSELoss", 85),  # some seeds have overflowed then and some have not
]  # fmt: skip
WIDE = replace(ADAM, activation="SiLU", optimizer="NAdam", lr=0.05, hidden_dim=33, epochs=31)
alone_and_together = pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.optimizer)


@pytest.mark.parametrize("engine", [reference, fused])
@pytest.mark.parametrize(
    ("config", "task"), [*((config, XOR) for config in CONFIGS), (WIDE, Task.parity(4))]
)
def test_together_alone_and_in_any_company(engine, config, task):
    whole = engine.train(config, task, np.arange(70), [30])
    mixed = np.random.default_rng(0).permutation(70)
    blocks = [[0], [15], [16], [64], [69], range(33), range(33, 66), range(66, 70), mixed]
    for block in map(np.array, blocks):
        part = engine.train(config, task, block, [30])
        assert part.seeds.tolist() == block.tolist()
        assert_equal(part, whole, part=True)


@alone_and_together
def test_in_blocks_of_any_size_on_any_number_of_cores(monkeypatch, config):
    seeds, pool = np.arange(300), Mock(wraps=fused.ThreadPoolExecutor)
    whole = fused.train(config, XOR, seeds, [30])
    monkeypatch.setattr(fused, "WORTH_THREADS", 1)
    monkeypatch.setattr(fused, "ThreadPoolExecutor", pool)
    for groups, size, threads in product([1, 99], [10**6, 1], [1, 3]):
        monkeypatch.setattr(fused, "MAX_GROUPS", groups)
        monkeypatch.setattr(fused, "CACHED_BYTES", size)
        assert_equal(fused.train(config, XOR, seeds, [30], threads=threads), whole)
    assert {call.args for call in pool.call_args_list} == {(3,)}


@alone_and_together
@pytest.mark.parametrize("epochs", [60, 400])
def test_in_a_pool_with_other_rates(config, epochs):
    """Some of them rest early, of some all seeds; those that do leave their lanes to the others."""
    configs = [replace(config, lr=config.lr * x, epochs=epochs) for x in (1.0, 0.3, 30.0)]
    pool = [Training(one, np.arange(21), (30,)) for one in configs]
    assert limits.pools(pool) == [[0, 1, 2]]
    for one, outcome in zip(configs, fused.train_pool(pool, XOR), strict=True):
        assert_equal(outcome, fused.train(one, XOR, np.arange(21), [30], stop_early=False))


def test_pools_are_of_trainings_that_leave_lanes_idle_and_differ_in_rates_alone(monkeypatch):
    monkeypatch.setattr(limits, "POOLED", 70)
    base, seeds = CONFIGS[1], np.arange(20)
    alike = [Training(replace(base, lr=0.1 * n, momentum=0.2), seeds) for n in range(1, 6)]
    others = [Training(replace(base, momentum=0.0), seeds), Training(base, seeds + 1)]
    others += [Training(base, seeds, (30,)), Training(base, np.arange(32))]
    others += [Training(replace(base, lr=1.0), np.arange(32))]
    assert limits.pools([*alike, *others]) == [[0, 1, 2], [3, 4], [5], [6], [7], [8], [9]]


def test_a_trainer_pools_what_it_is_given_at_once(monkeypatch):
    pooled = Mock(wraps=fused.train_pool)
    monkeypatch.setattr(fused, "train_pool", pooled)
    trainer = NetworkTrainer(XOR)
    points = [replace(ADAM, lr=lr, epochs=e).point for lr in (0.1, 1.0) for e in (9, 60)]
    blocks = [Block(point, 7, 20) for point in points]
    together = trainer.train(blocks)
    assert [len(call.args[0]) for call in pooled.call_args_list] == [2]
    for block, outcome in zip(blocks, together, strict=True):
        assert_equal(outcome, trainer.train([block])[0])


def test_training_leaves_torch_as_it_was(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.manual_seed(3)
        expected = torch.rand(3)
        torch.manual_seed(3)
        reference.train(ADAM, XOR, np.arange(3))
        assert torch.equal(torch.rand(3), expected)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# -------------------------------------------------------------------------------------------------
# What the fused engine does not train, and who does.

SHORT = replace(TANH, lr=0.1, hidden_dim=3, epochs=4)
LIMITS = [
    (table(64, 8, 64), {"hidden_dim": 64}, None),
    (XOR, {"lr": 1e30}, None),
    (XOR, {"momentum": 1e30}, None),
    (table(65, 2), {}, r"rows 65 is above 64"),
    (table(5, 2, 65), {}, r"rows 65 is above 64"),
    (table(5, 9), {}, r"inputs 9 is above 8"),
    (XOR, {"hidden_dim": 65}, r"hidden_dim 65 is above 64"),
    (XOR, {"momentum": 2e30}, r"momentum 2e\+30 is above 1e\+30"),
]


@pytest.mark.parametrize(("task", "changes", "reason"), LIMITS)
def test_up_to_its_limits_the_fused_engine_trains_and_beyond_the_reference(task, changes, reason):
    config = replace(SHORT, **changes)
    expected = reference.train(config, task, np.arange(4))
    if reason is None:
        outcome = evaluate_config(config, task, range(4), (), "fused")
        assert_same(outcome, expected, "status")
        expected = outcome
    else:
        with pytest.raises(InputError, match=f"engine: 'fused', but {reason}.*use engine 'auto'"):
            evaluate_config(config, task, range(4), (), "fused")
    assert_equal(evaluate_config(config, task, range(4), (), "auto"), expected)
    assert_equal(NetworkTrainer(task).train([Block(config.point, 0, 4)])[0], expected)


def test_more_epochs_than_a_float32_counts():
    assert limits.uncovered(replace(SHORT, epochs=2**24), XOR) is None
    reason = limits.uncovered(replace(SHORT, epochs=2**24 + 1), XOR)
    assert str(reason).startswith("epochs 16,777,217 is above 16,777,216")


# -------------------------------------------------------------------------------------------------
# What is recorded: since when a seed is solved, checkpoints, divergence; and leaving early.

COVERING = [
    replace(
        ADAM, activation=ALL[(5 * i) % 24], loss=LOSSES[(3 * i) % len(LOSSES)],
        optimizer=optimizer, momentum=momentum, hidden_dim=3,
    )
    for i, (optimizer, momentum) in enumerate(
        [(o, 0.0) for o in OPTIMIZERS] + [(o, 0.7) for o in MOMENTUM_OPTIMIZERS]
    )
]  # fmt: skip


@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "Rprop", "SGD"])
def test_solved_epoch_is_what_looking_at_every_epoch_says(optimizer):
    lr = {"SGD": 5.0, "Rprop": 0.05}.get(optimizer, 0.1)
    config = replace(ADAM, optimizer=optimizer, lr=lr, epochs=80)
    outcome = fused.train(config, XOR, np.arange(48), range(1, 80))
    every = [*outcome.checkpoints, outcome]
    assert [one.epochs for one in every] == list(range(1, 81))
    solved = np.stack([one.solved for one in every])
    found = 0
    for seed in range(48):
        for epochs in (10, 50, 80):
            now = solved[:epochs, seed]
            since = epochs - int(np.argmin(now[::-1])) + 1 if not now.all() else 1
            expected = since if now[-1] else 0
            assert outcome.at(epochs).solved_epoch[seed] == expected
            found += expected > 0
    assert found >= 20
    lost = (solved[:-1] & ~solved[1:]).any(axis=0) & solved[-1]
    assert optimizer == "SGD" or lost.any(), "no seed loses it again: the test could not tell"


def test_before_the_first_step_nothing_counts():
    """A network that is right from the start is solved in epoch 1."""
    task = Task("ones", np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]]))
    outcome = fused.train(replace(ADAM, lr=1e-6, epochs=3), task, SEEDS)
    assert set(outcome.solved_epoch.tolist()) == {0, 1}


@pytest.mark.parametrize("engine", [fused, reference])
@pytest.mark.parametrize("config", COVERING, ids=lambda config: config.optimizer)
def test_a_checkpoint_is_a_training_of_that_length(config, engine):
    seeds, stops = np.arange(20), [1, 2, 15, 16, 17, 31]
    long = engine.train(config, XOR, seeds, stops)
    for one in (*long.checkpoints, replace(long, checkpoints=())):
        assert_equal(engine.train(replace(config, epochs=one.epochs), XOR, seeds), one)
    assert [one.epochs for one in long.checkpoints] == stops


def test_an_outcome_is_read_only_and_the_callers_seeds_are_the_callers():
    seeds = np.arange(3, 20)
    outcome = fused.train(ADAM, XOR, seeds, [10])
    for one in (*outcome.checkpoints, outcome):
        for name in ("seeds", "status", "solved_epoch", "final_loss", "predictions"):
            assert not getattr(one, name).flags.writeable
    seeds[0] = 2
    assert outcome.seeds[0] == 3


@pytest.mark.parametrize("loss", LOSSES)
def test_divergence_outranks_everything_and_is_that_of_the_reference_and_the_loop(loss):
    short = replace(exploding(loss, 20), momentum=0.0)
    for config in (
        exploding(loss, 110),
        replace(exploding(loss, 150), activation="Tanh", momentum=2.0),
        replace(short, lr=1e6),
        replace(short, activation="Tanh", lr=1e20),
        replace(short, optimizer="AdamW", lr=1e20),
        replace(short, optimizer="ASGD", lr=1e20),
    ):
        stops = (30,) if config.epochs > 30 else ()  # none has diverged then
        whole = both(config, seeds=np.arange(32), stops=stops)
        for mine, theirs in zip(*((*one.checkpoints, one) for one in whole), strict=True):
            diverged = mine.status == Status.DIVERGED
            np.testing.assert_array_equal(diverged, theirs.status == Status.DIVERGED)
            assert (mine.solved_epoch[diverged] == 0).all()
            np.testing.assert_array_equal(np.isnan(mine.final_loss), np.isnan(theirs.final_loss))
        if config.epochs == 110:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "reduction. 'mean'")  # the oracle's KLDivLoss
                records = oracle.plain_loops(config, XOR, range(2))
            assert [not record.finite for record in records] == diverged[:2].tolist()
            assert diverged[:2].any()


def test_a_weight_that_is_not_finite_is_divergence_though_no_output_shows_it():
    """A hidden unit that no row switches on, with weights beyond float32 (AdamW shrinks them by
    the factor 1 - lr / 100)."""
    changes = {"optimizer": "AdamW", "lr": 1e6, "hidden_dim": 2, "epochs": 40}
    outcome = fused.train(replace(ADAM, activation="Hardtanh", **changes), XOR, SEEDS)
    assert outcome.counts[Status.DIVERGED] == 16


# --- leaving early -------------------------------------------------------------------------------

EXPLODING = replace(exploding("MSELoss", 400), activation="Tanh")
SATURATED = replace(ADAM, loss="KLDivLoss", optimizer="Adagrad", lr=50, hidden_dim=3, epochs=400)
HINGE = replace(
    SATURATED, loss="HingeEmbeddingLoss", optimizer="SGD", lr=1e5, momentum=0.5, epochs=4000
)
STOPPING = {
    "all NaN": (EXPLODING, 16),
    "gradients add up": (replace(EXPLODING, zero_grad=False), 16),
    "saturated, Adagrad": (SATURATED, 16),
    "saturated, momentum": (HINGE, 16),
    "saturated, Rprop": (replace(SATURATED, optimizer="Rprop", lr=1), 16),
    "saturated, RMSprop with momentum": (
        replace(SATURATED, optimizer="RMSprop", momentum=0.5, epochs=4000), 16,
    ),
    "one seed alone": (SATURATED, 1),
}  # fmt: skip


def last_looks(config: Config, seeds: np.ndarray = SEEDS) -> np.ndarray:
    """Of each seed that is not solved the last epoch that the kernel has computed."""
    records, made = [], fused._KernelRecord
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fused, "_KernelRecord", lambda **given: records.append(made(**given)) or records[-1]
        )
        outcome = fused.train(config, XOR, seeds)
    return records[0].last[-1][~outcome.solved]


def assert_unseen(config: Config, seeds: np.ndarray, stops: list[int]) -> None:
    left, whole = (
        fused.train(config, XOR, seeds, stops, stop_early=early) for early in (True, False)
    )
    assert_equal(left, whole)


@pytest.mark.parametrize("name", STOPPING)
def test_a_training_that_stands_still_is_left_and_nothing_shows_it(name):
    config, count = STOPPING[name]
    assert last_looks(config, np.arange(count)).max() < config.epochs, "it has not been left"
    assert_unseen(config, np.arange(count), [1, 16, 100, 399])


@pytest.mark.parametrize(
    "config",
    [
        replace(ADAM, lr=1e-4),
        replace(HINGE, momentum=0.999, epochs=400),  # it carries on when there is no gradient
        replace(SATURATED, optimizer="AdamW", lr=1.0),  # it shrinks the weights all the time
    ],
)
def test_a_training_that_moves_is_not_left(config):
    assert last_looks(config).max() == config.epochs


def configs() -> st.SearchStrategy[Config]:
    optimizers = st.sampled_from([(o, 0.0) for o in OPTIMIZERS]) | st.tuples(
        st.sampled_from(MOMENTUM_OPTIMIZERS), st.sampled_from([0.5, 1.0, 2.0])
    )
    return st.builds(
        lambda optimizer, lr, **more: Config(
            optimizer=optimizer[0], momentum=optimizer[1], lr=10.0**lr, **more
        ),
        activation=st.sampled_from(ALL),
        loss=st.sampled_from(LOSSES),
        optimizer=optimizers,
        lr=st.integers(-3, 12),
        hidden_dim=st.integers(1, 6),
        epochs=st.integers(1, 600),
        zero_grad=st.booleans(),
    )


@settings(max_examples=80)
@given(
    configs(),
    st.sets(st.integers(1, 600), max_size=4),
    st.integers(0, 2**32 - 41),
    st.integers(1, 40),
)
def test_leaving_early_never_shows(config, stops, first, count):
    stops = sorted(stop for stop in stops if stop < config.epochs)
    assert_unseen(config, np.arange(first, first + count), stops)


# -------------------------------------------------------------------------------------------------
# Subnormal numbers are flushed to zero inside the fused engine, and nowhere else.

SMALL = np.float32(1e-39)  # subnormal: float32's smallest normal number is 1.2e-38
SINKING = replace(ADAM, activation="LogSigmoid", lr=1.0)


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if o != "Rprop"])
def test_outcomes_are_those_without_flushing_and_the_caller_keeps_subnormals(optimizer):
    """A mix of 12 combinations of each."""
    cells = [(a, loss) for i, a in enumerate(ACTIVATIONS) for loss in LOSSES[i % 3 :: 9]][:12]
    for activation, loss in cells:
        config = replace(SINKING, activation=activation, loss=loss, optimizer=optimizer)
        config = replace(config, epochs=1_000)
        assert_same(
            *(fused.train(config, XOR, np.arange(32), flush=flush) for flush in (True, False))
        )
    fused.train(config, XOR, SEEDS)
    assert SMALL * np.float32(0.5) > 0


def test_rprop_scales_its_gradients_and_trains_almost_every_seed_as_without_flushing():
    """It steps by the sign of the smallest gradient: a zero in its place is another training."""
    seeds, differ, unscaled = np.arange(64), 0, 0
    for activation, loss in product(["Sigmoid", "Tanh", "ELU", "Softmin"], LOSSES[::3]):
        config = replace(SINKING, activation=activation, loss=loss, optimizer="Rprop", epochs=2_000)
        exact = fused.train(config, XOR, seeds, flush=False)
        flushed = fused.train(config, XOR, seeds)
        differ += int((flushed.solved_epoch != exact.solved_epoch).sum())
        with pytest.MonkeyPatch.context() as patch:
            schedule = fused.schedule_of(config, flush=False)
            patch.setattr(fused, "schedule_of", lambda *_, given=schedule, **__: given)
            plain = fused.train(config, XOR, seeds)
        unscaled += int((plain.solved_epoch != exact.solved_epoch).sum())
    assert differ <= 0.005 * 16 * len(seeds) < unscaled
