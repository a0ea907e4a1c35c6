"""What is recorded: since when a seed is solved, checkpoints, divergence; and leaving early."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_equal, exploding

from xortune.core.config import ACTIVATIONS, LOSSES, MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.core.outcome import Status
from xortune.core.task import Task
from xortune.trainers import fused, reference

XOR = Task.xor()
TANH = Config(activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.1, hidden_dim=5, epochs=60)
COVERING = [
    Config(
        activation=[*ACTIVATIONS, None][(5 * i) % 24],
        loss=LOSSES[(3 * i) % len(LOSSES)],
        optimizer=optimizer,
        lr=0.1,
        momentum=momentum,
        hidden_dim=3,
        epochs=60,
    )
    for i, (optimizer, momentum) in enumerate(
        [(o, 0.0) for o in OPTIMIZERS] + [(o, 0.7) for o in MOMENTUM_OPTIMIZERS]
    )
]


# --- the epoch from which a seed is solved -------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "Rprop", "SGD"])
def test_solved_epoch_is_what_looking_at_every_epoch_says(optimizer):
    lr = {"SGD": 5.0, "Rprop": 0.05}.get(optimizer, 0.1)
    config = replace(TANH, optimizer=optimizer, lr=lr, epochs=80)
    seeds = np.arange(48)
    outcome = fused.train(config, XOR, seeds, range(1, 80))
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
    config = replace(TANH, lr=1e-6, epochs=3)
    outcome = fused.train(config, task, np.arange(16))
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
    outcome = fused.train(TANH, XOR, seeds, [10])
    for one in (*outcome.checkpoints, outcome):
        for name in ("seeds", "status", "solved_epoch", "final_loss", "predictions"):
            assert not getattr(one, name).flags.writeable
    seeds[0] = 2
    assert outcome.seeds[0] == 3


# --- divergence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_divergence_outranks_everything_and_is_that_of_the_reference(loss):
    for config in (
        exploding(loss, 30),
        exploding(loss, 110),
        replace(exploding(loss, 300), activation="Tanh", momentum=1.5),
        replace(exploding(loss, 20), lr=1e6, momentum=0.0),
        replace(exploding(loss, 20), activation="Tanh", lr=1e20, momentum=0.0),
        replace(exploding(loss, 20), optimizer="AdamW", lr=1e20, momentum=0.0),
        replace(exploding(loss, 20), optimizer="ASGD", lr=1e20, momentum=0.0),
    ):
        mine, theirs = (engine.train(config, XOR, np.arange(32)) for engine in (fused, reference))
        diverged = mine.status == Status.DIVERGED
        np.testing.assert_array_equal(diverged, theirs.status == Status.DIVERGED)
        assert (mine.solved_epoch[diverged] == 0).all()
        np.testing.assert_array_equal(np.isnan(mine.final_loss), np.isnan(theirs.final_loss))


def test_a_weight_that_is_not_finite_is_divergence_though_no_output_shows_it():
    """A hidden unit that no row switches on, with weights beyond float32 (AdamW shrinks them by
    the factor 1 - lr / 100)."""
    config = Config(
        activation="Hardtanh", loss="MSELoss", optimizer="AdamW", lr=1e6, hidden_dim=2, epochs=40
    )
    outcome = fused.train(config, XOR, np.arange(16))
    assert outcome.counts[Status.DIVERGED] == 16


# --- leaving early -------------------------------------------------------------------------------

EXPLODING = replace(exploding("MSELoss", 400), activation="Tanh")
SATURATED = Config(
    activation="Tanh", loss="KLDivLoss", optimizer="Adagrad", lr=50, hidden_dim=3, epochs=400
)
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


def last_looks(monkeypatch, config: Config, seeds: np.ndarray) -> np.ndarray:
    """Of each seed that is not solved the last epoch that the kernel has computed."""
    records = []
    empty = fused._Record.empty
    monkeypatch.setattr(
        fused._Record, "empty", lambda *args: records.append(empty(*args)) or records[-1]
    )
    outcome = fused.train(config, XOR, seeds)
    monkeypatch.undo()
    return records[0].last[-1][~outcome.solved]


def assert_unseen(config: Config, seeds: np.ndarray, stops: list[int]) -> None:
    both = (fused.train(config, XOR, seeds, stops, stop_early=early) for early in (True, False))
    assert_equal(*both)


@pytest.mark.parametrize("name", STOPPING)
def test_a_training_that_stands_still_is_left_and_nothing_shows_it(monkeypatch, name):
    config, count = STOPPING[name]
    seeds = np.arange(count)
    assert last_looks(monkeypatch, config, seeds).max() < config.epochs, "it has not been left"
    stops = [1, 16, 100, 399]
    assert_unseen(config, seeds, stops)


def test_a_training_that_moves_is_not_left(monkeypatch):
    assert last_looks(monkeypatch, replace(TANH, lr=1e-4), np.arange(16)).max() == 60
    # Its momentum carries it on when there is no gradient.
    config = replace(HINGE, momentum=0.999, epochs=400)
    assert last_looks(monkeypatch, config, np.arange(16)).max() == 400
    # It shrinks the weights all the time.
    config = replace(SATURATED, optimizer="AdamW", lr=1.0)
    assert last_looks(monkeypatch, config, np.arange(16)).max() == 400


def configs() -> st.SearchStrategy[Config]:
    optimizers = st.sampled_from([(o, 0.0) for o in OPTIMIZERS]) | st.tuples(
        st.sampled_from(MOMENTUM_OPTIMIZERS), st.sampled_from([0.5, 1.0, 2.0])
    )
    return st.builds(
        lambda optimizer, lr, **more: Config(
            optimizer=optimizer[0], momentum=optimizer[1], lr=10.0**lr, **more
        ),
        activation=st.sampled_from([*ACTIVATIONS, None]),
        loss=st.sampled_from(LOSSES),
        optimizer=optimizers,
        lr=st.integers(-3, 12),
        hidden_dim=st.integers(1, 6),
        epochs=st.integers(1, 600),
        zero_grad=st.booleans(),
    )


@settings(max_examples=80)
@given(configs(), st.lists(st.integers(1, 600), max_size=4), st.integers(0, 2**32 - 41), st.data())
def test_leaving_early_never_shows(config, stops, first, data):
    count = data.draw(st.integers(1, 40))
    seeds = np.arange(first, first + count)
    stops = sorted({stop for stop in stops if stop < config.epochs})
    assert_unseen(config, seeds, stops)


# -------------------------------------------------------------------------------------------------
# Subnormal numbers are flushed to zero inside the fused engine, and nowhere else.

SMALL = np.float32(1e-39)  # subnormal: float32's smallest normal number is 1.2e-38


def _config(**changes):
    given = {"activation": "LogSigmoid", "loss": "MSELoss", "optimizer": "Adam", "lr": 1.0}
    return Config(**{**given, "hidden_dim": 5, "epochs": 3_000, **changes})


def test_the_callers_arithmetic_keeps_subnormals():
    fused.train(_config(epochs=10), XOR, np.arange(16))
    assert SMALL * np.float32(0.5) > 0


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if o != "Rprop"])
def test_outcomes_are_those_of_the_engine_without_flushing(optimizer):
    """A mix of 12 combinations of each; benchmarks/subnormals.py compares all of them."""
    cells = [(a, loss) for i, a in enumerate(ACTIVATIONS) for loss in LOSSES[i % 3 :: 9]][:12]
    for activation, loss in cells:
        config = _config(activation=activation, loss=loss, optimizer=optimizer, epochs=1_000)
        both = [fused.train(config, XOR, np.arange(32), flush=flush) for flush in (True, False)]
        for name in ("status", "solved_epoch", "predictions"):
            np.testing.assert_array_equal(*(getattr(outcome, name) for outcome in both))


def test_rprop_scales_its_gradients_and_trains_almost_every_seed_as_without_flushing():
    """It steps by the sign of the smallest gradient: a zero in its place is another training."""
    seeds, differ, unscaled = np.arange(64), 0, 0
    for activation, loss in itertools.product(["Sigmoid", "Tanh", "ELU", "Softmin"], LOSSES[::3]):
        config = _config(activation=activation, loss=loss, optimizer="Rprop", epochs=2_000)
        exact = fused.train(config, XOR, seeds, flush=False)
        flushed = fused.train(config, XOR, seeds)
        differ += int((flushed.solved_epoch != exact.solved_epoch).sum())
        with pytest.MonkeyPatch.context() as patch:
            schedule = fused.schedule_of(config, flush=False)
            patch.setattr(fused, "schedule_of", lambda *_, given=schedule, **__: given)
            plain = fused.train(config, XOR, seeds)
        unscaled += int((plain.solved_epoch != exact.solved_epoch).sum())
    assert differ <= 0.005 * 16 * len(seeds) < unscaled
