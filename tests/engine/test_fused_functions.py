"""The kernels' functions by themselves, against torch in float64."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from numba import njit

from xortune.core.config import LOSSES, MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.trainers import fused as schedule
from xortune.trainers.fused import Schedule, schedule_of
from xortune.trainers.kernels import formulas, training
from xortune.trainers.kernels.formulas import STEP_FORMULAS
from xortune.trainers.kernels.simd import load, splat, store
from xortune.trainers.kernels.training import FIRST_STATE, GRADIENT, SECOND_STATE
from xortune.trainers.reference import activation_of, loss_of

TINY = 2.0**-126


@cache
def mapped(function: Callable, results: int = 1) -> Callable:
    """A function of vectors with one or two results, made one of arrays of any length."""
    if results == 1:

        @njit(error_model="numpy")
        def run(x, y):
            for i in range(0, x.shape[0], 16):
                store(y, i, function(load(x, i)))

    else:

        @njit(error_model="numpy")
        def run(x, y, slope):
            for i in range(0, x.shape[0], 16):
                a, b = function(load(x, i))
                store(y, i, a)
                store(slope, i, b)

    def of_array(x: object) -> object:
        values = np.atleast_1d(np.asarray(x, np.float32))
        padded = np.concatenate([values, np.ones(-len(values) % 16, np.float32)])
        out = [np.empty_like(padded) for _ in range(results)]
        run(padded, *out)
        found = [y[: len(values)].astype(np.float64) for y in out]
        return found[0] if results == 1 else found

    return of_array


def ulps(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest error, in units of the last place of the exact float32."""
    return float(np.max(np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))))


def between(low: float, high: float, count: int = 20_000) -> np.ndarray:
    """float32 numbers, as float64."""
    return np.linspace(low, high, count).astype(np.float32).astype(np.float64)


def of_all_sizes(largest: float) -> np.ndarray:
    """Positive and negative, from 1e-30 on."""
    sizes = np.geomspace(1e-30, largest, 20_000).astype(np.float32).astype(np.float64)
    return np.concatenate([-sizes, [0.0], sizes])


# --- elementary functions ------------------------------------------------------------------------


WIDE = between(-87, 88)
UNIT = np.concatenate([between(0, 1), np.geomspace(TINY, 1, 20_000).astype(np.float32)])
EXACT = {
    "exp": (np.exp, WIDE, 5),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), WIDE, 7),
    "tanh": (np.tanh, of_all_sizes(30), 5),
    "log1p_unit": (np.log1p, UNIT, 3),
}


@pytest.mark.parametrize("name", EXACT)
def test_an_elementary_function_is_close(name):
    exact, x, close = EXACT[name]
    function = mapped(getattr(formulas, name))
    assert ulps(function(x), exact(x)) <= close
    assert np.isnan(function([math.nan]))


def test_exp_at_its_ends():
    exp = mapped(formulas.exp)
    assert exp([0.0]) == 1
    np.testing.assert_array_equal(exp([-88, -1e4, -math.inf]), 0)
    assert set(exp([89, 1e4, math.inf])) == set(exp([88]))


def test_exp_and_expm1():
    both = mapped(formulas.exp_and_expm1, 2)
    e, less = both(WIDE)
    exact = np.expm1(WIDE)
    assert ulps(e, np.exp(WIDE)) <= 5
    assert np.max(np.abs(less - exact) / np.maximum(np.abs(exact), 1e-3)) < 4e-7
    small = of_all_sizes(0.3)
    assert ulps(both(small)[1], np.expm1(small)) <= 3  # no cancellation near 0
    assert both([-88.0])[0] == 0
    assert both([-88.0])[1] == -1
    assert np.isnan(both([math.nan])).all()


def test_sigmoid_at_its_ends():
    sigmoid = mapped(formulas.sigmoid)
    assert sigmoid([0.0, -0.0]).tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(sigmoid([-89, -1e4, -1e38, -math.inf]), 0)
    np.testing.assert_array_equal(sigmoid([20, 89, 1e38, math.inf]), 1)
    assert (sigmoid(between(0, 30)) <= 1).all()
    assert (sigmoid(between(1e-6, 10)) > 0.5).all()
    assert (sigmoid(between(-10, 0)) <= 0.5).all()


def test_tanh_at_its_ends():
    tanh = mapped(formulas.tanh)
    assert tanh([math.inf, 20, -20, -math.inf]).tolist() == [1, 1, -1, -1]
    assert np.max(np.abs(tanh(between(0, 12)))) == 1  # above it the slope were negative


def test_softplus():
    softplus = mapped(formulas.softplus, 2)
    x = between(-86, 1000)
    y, t = softplus(x)
    assert ulps(y, np.logaddexp(0, x)) <= 5
    near = np.abs(x) < 87
    assert ulps(t[near], np.exp(-np.abs(x[near]))) <= 5
    assert np.isnan(softplus([math.nan])).all()


def test_log():
    log = mapped(formulas.log)
    x = np.geomspace(TINY, 3e38, 50_000).astype(np.float32).astype(np.float64)
    assert np.max(np.abs(log(x) - np.log(x)) / np.maximum(np.abs(np.log(x)), 0.1)) < 3e-7
    near = between(0.9, 1.1)
    assert np.max(np.abs(log(near) - np.log(near))) < 2e-8
    assert log([1.0]) == 0


# --- activations ---------------------------------------------------------------------------------

KERNELS = {
    name: list(formulas.ACTIVATION_FORMULAS.values())[number]
    for name, number in training.ACTIVATIONS.items()
    if number < training.SOFTMAX
}
KINKS = np.array([0.0, 0.5, 1.0, 3.0, 6.0, 20.0])


def torchs(function: Callable, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and derivative in float64."""
    inputs = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    outputs = function(inputs)
    (slopes,) = torch.autograd.grad(outputs.sum(), inputs)
    return outputs.detach().numpy(), slopes.numpy()


@pytest.mark.parametrize("name", KERNELS)
def test_an_activation_and_its_derivative(name):
    kernel, theirs = mapped(KERNELS[name], 2), activation_of(name)
    x = np.concatenate([between(-100, 100), of_all_sizes(1e4)])
    for mine, exact in zip(kernel(x), torchs(theirs, x), strict=True):
        assert np.isfinite(mine).all()
        # What is left of 1 - tanh**2 for Mish at 19 is one rounding, times 19.
        close = 4e-6 if name == "Mish" else 1.2e-6
        assert np.max(np.abs(mine - exact) / np.maximum(np.abs(exact), 1)) < close
    # At a kink and just beside it: there torch has made a choice, another one after 2.6.
    kinks = KINKS[KINKS != 3] if name == "Hardswish" and torch.__version__ < "2.7" else KINKS
    x = np.concatenate([kinks, -kinks]).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(99)), np.nextafter(x, np.float32(-99))])
    for mine, exact in zip(kernel(x), torchs(theirs, x), strict=True):
        np.testing.assert_allclose(mine, exact, rtol=0, atol=4e-6)
    assert np.isnan(kernel([math.nan])[0])
    if name != "Softsign":  # inf / inf
        with torch.no_grad():
            far = theirs(torch.tensor([math.inf, -math.inf])).numpy()
        np.testing.assert_array_equal(kernel([math.inf, -math.inf])[0], far)


@pytest.mark.parametrize("name", ["ELU", "SELU", "Tanh", "Softsign", "SiLU", "GELU"])
def test_an_activation_keeps_its_precision_near_0(name):
    x = of_all_sizes(0.1)
    y, exact = mapped(KERNELS[name], 2)(x)[0], torchs(activation_of(name), x)[0]
    if name in ("ELU", "SELU"):  # torch 2.6 loses it there itself: exp(x) - 1
        slope = exact[-1] / x[-1]
        minus = slope * (1 if name == "ELU" else 1.6732632423543772) * np.expm1(x)
        exact = np.where(x < 0, minus, slope * x)
    assert np.max(np.abs(y - exact) / np.maximum(np.abs(exact), 1e-37)) < 1e-6


# --- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_derivative(name):
    number = training.LOSSES[name]
    slope_of = list(formulas.LOSS_FORMULAS.values())[number]

    @njit(error_model="numpy")
    def slopes_of(p):
        q = p * (1.0 - p)
        return slope_of(p, q, p * 0.0, 1.0), slope_of(p, q, p * 0.0 + 1.0, 1.0)

    p = np.concatenate([
        between(0, 1, 2_001),
        np.geomspace(1e-37, 1e-3, 2_000).astype(np.float32).astype(np.float64),
        1 - 2.0 ** -np.arange(1, 25),
    ])  # fmt: skip
    q = p * (1 - p)
    mine = mapped(slopes_of, 2)
    assert np.isnan(mine([math.nan])).all()
    for target, found in zip((0.0, 1.0), mine(p), strict=True):
        outputs = torch.tensor(p[None, :], requires_grad=True)
        each = loss_of(name)(outputs, torch.full_like(outputs, target))
        (slopes,) = torch.autograd.grad(each.sum(), outputs)
        exact = slopes.numpy()[0] * q
        size = np.maximum(np.abs(exact), 1e-30)
        if name == "PoissonNLLLoss":  # e**p - 1, in torch too
            size = np.maximum(size, q)
        assert np.max(np.abs(found - exact) / size) < 1e-6
        values = np.array(
            [formulas.loss_value(number, np.float32(x), np.float32(target)) for x in p]
        )
        np.testing.assert_allclose(values, each.detach().numpy(), rtol=3e-7, atol=2e-7)
        assert math.isnan(formulas.loss_value(number, np.float32(math.nan), np.float32(target)))


# -------------------------------------------------------------------------------------------------
# What the optimizers need to know of each epoch, and their steps, against torch.optim itself.

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
