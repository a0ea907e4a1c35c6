"""What the optimizers need to know of each epoch, and their steps, against torch.optim itself."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from numba import njit

from xortune.core.config import MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.trainers import fused as schedule
from xortune.trainers.fused import Schedule, schedule_of
from xortune.trainers.kernels.formulas import STEP_FORMULAS
from xortune.trainers.kernels.simd import load, splat, store
from xortune.trainers.kernels.training import FIRST_STATE, GRADIENT, SECOND_STATE

STEPS, WEIGHTS = 200, 16


def config_of(optimizer: str, *, lr: float = 0.01, momentum: float = 0.0, epochs: int = STEPS):
    return Config(
        activation=None, loss="MSELoss", optimizer=optimizer, lr=lr, momentum=momentum,
        hidden_dim=1, epochs=epochs,
    )  # fmt: skip


def gradients() -> np.ndarray:
    """Of sixteen weights, at every step: of all sizes, some of changing sign, some 0."""
    draw = np.random.default_rng(3)
    sizes = np.geomspace(1e-6, 100, WEIGHTS)
    found = draw.normal(0.3, 1, (STEPS, WEIGHTS)) * sizes
    found[:, 3] = 0
    found[::7, 5] = 0
    return found.astype(np.float32)


def torchs_weights(config: Config) -> np.ndarray:
    """After every step of torch.optim."""
    weights = torch.linspace(-2, 2, WEIGHTS).requires_grad_()
    more = {"momentum": config.momentum} if config.momentum else {}
    optimizer = getattr(torch.optim, config.optimizer)([weights], lr=config.lr, **more)
    seen = []
    for gradient in gradients():
        weights.grad = torch.tensor(gradient)
        optimizer.step()
        seen.append(weights.detach().numpy().copy())
    return np.stack(seen)


@cache
def steps_of(rule: Callable) -> Callable:
    """The steps of a rule, compiled once."""

    @njit(error_model="numpy")
    def run(gradients, numbers, first, second, weights, seen):
        """Also the two states after the last step, behind the weights."""
        w, s, t = load(weights, 0), splat(np.float32(first)), splat(np.float32(second))
        steps = gradients.shape[0] // 16
        for i in range(steps):
            a, b, c = numbers[min(i, numbers.shape[0] - 1)]
            w, s, t = rule(w, load(gradients, 16 * i), s, t, a, b, c)
            store(seen, 16 * i, w)
        store(seen, 16 * steps, s)
        store(seen, 16 * steps + 16, t)

    return run


def kernels_weights(numbers_of: Schedule) -> np.ndarray:
    """After every step of the kernel's rule with the schedule's numbers."""
    seen = np.empty((STEPS + 2) * WEIGHTS, np.float32)
    start = torch.linspace(-2, 2, WEIGHTS).numpy()
    scaled = (gradients() * np.float32(numbers_of.scale)).ravel()
    steps_of(STEP_FORMULAS[numbers_of.rule][0])(
        scaled, numbers_of.numbers, 0.0, float(numbers_of.state_start), start, seen
    )
    return seen.reshape(STEPS + 2, WEIGHTS)[:STEPS]


CASES = [(optimizer, 0.0) for optimizer in OPTIMIZERS] + [
    (optimizer, momentum) for optimizer in MOMENTUM_OPTIMIZERS for momentum in (0.9, 1.0)
]


@pytest.mark.parametrize(("optimizer", "momentum"), CASES)
@pytest.mark.parametrize("lr", [0.0003, 0.02])
def test_two_hundred_steps_are_those_of_torch(optimizer, momentum, lr):
    config = config_of(optimizer, lr=lr, momentum=momentum)
    found = schedule_of(config)
    assert found.numbers.shape[1:] == (3,)
    assert found.numbers.dtype == np.float32
    mine, theirs = kernels_weights(found), torchs_weights(config)
    start = torch.linspace(-2, 2, WEIGHTS).numpy()
    moved = np.abs(theirs - start).max(axis=0)
    assert (moved[8:] > 0).all()
    # In parts of the way each weight has come, and of the rounding of its own size at every step.
    steps = np.arange(1, STEPS + 1)[:, None]
    allowed = 1e-5 * moved + steps * np.spacing(np.abs(theirs).astype(np.float32))
    assert (np.abs(mine - theirs) <= allowed).all()


@pytest.mark.parametrize(("optimizer", "momentum"), CASES)
def test_where_a_schedule_ends_its_numbers_have_settled(monkeypatch, optimizer, momentum):
    config = config_of(optimizer, momentum=momentum, epochs=2**18)
    short = schedule_of(config).numbers
    monkeypatch.setattr(schedule, "SETTLED", {})
    full = schedule_of(config).numbers
    assert full.shape == (2**18, 3)
    np.testing.assert_array_equal(short, full[: len(short)])
    assert (full[len(short) :] == short[-1]).all()
    assert optimizer == "ASGD" or len(short) < 2**18


def test_what_has_to_be_zero_for_the_weights_to_stay():
    """A zero gradient with those states at zero moves nothing; without, it does."""
    quiet = {(o, m): schedule_of(config_of(o, momentum=m)).quiet for o, m in CASES}
    never = {"AdamW", "ASGD"}  # they shrink the weights without any gradient
    assert {o for (o, _), needs in quiet.items() if needs == 0} == never
    for (optimizer, momentum), needs in quiet.items():
        if needs == 0:
            continue
        found = schedule_of(config_of(optimizer, lr=0.1, momentum=momentum))
        run, none = steps_of(STEP_FORMULAS[found.rule][0]), np.zeros(WEIGHTS, np.float32)
        start, out = np.full(WEIGHTS, 1.5, np.float32), np.empty(3 * WEIGHTS, np.float32)
        first = 0.0 if needs == FIRST_STATE else 0.5
        second = 0.0 if needs == SECOND_STATE else 0.5
        run(none, found.numbers[-1:], first, second, start, out)
        assert (out[:16] == 1.5).all(), optimizer
        if needs != GRADIENT:
            state = out[16:32] if needs == FIRST_STATE else out[32:]
            assert (state == 0).all(), optimizer
            run(none, found.numbers[-1:], 0.5, 0.5, start, out)
            assert (out[:16] != 1.5).all(), optimizer
