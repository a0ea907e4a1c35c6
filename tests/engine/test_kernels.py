"""The kernels' functions by themselves, against torch; and where their compiled code is kept."""

import fcntl
import functools
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import oracle
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit
from oracle import ADAM, XOR

from xortune.core.config import LOSSES, MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.core.seeds import MAX_SEED
from xortune.trainers import fused, kernels, reference
from xortune.trainers.fused import schedule_of
from xortune.trainers.kernels import cache, draws, formulas, training
from xortune.trainers.kernels.formulas import STEP_FORMULAS
from xortune.trainers.kernels.simd import load, splat, store
from xortune.trainers.kernels.training import FIRST_STATE, GRADIENT, SECOND_STATE
from xortune.trainers.reference import activation_of, loss_of

TINY = 2.0**-126


@functools.cache
def mapped(function: Callable, results: int = 1) -> Callable:
    """A function of vectors with one or two results, made one of arrays of any length."""
    pair = function if results == 2 else njit(lambda x: (function(x), x))

    @njit(error_model="numpy")
    def run(x, y, slope):
        for i in range(0, x.shape[0], 16):
            a, b = pair(load(x, i))
            store(y, i, a)
            store(slope, i, b)

    def of_array(x: object) -> object:
        values = np.atleast_1d(np.asarray(x, np.float32))
        padded = np.concatenate([values, np.ones(-len(values) % 16, np.float32)])
        out = [np.empty_like(padded) for _ in range(2)]
        run(padded, *out)
        found = [y[: len(values)].astype(np.float64) for y in out]
        return found[0] if results == 1 else found

    return of_array


def ulps(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest error, in units of the last place of the exact float32."""
    return float(np.max(np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))))


def float32(values: object) -> np.ndarray:
    """Rounded to float32, as float64."""
    return np.asarray(values, np.float32).astype(np.float64)


def between(low: float, high: float, count: int = 20_000) -> np.ndarray:
    return float32(np.linspace(low, high, count))


def of_all_sizes(largest: float) -> np.ndarray:
    """Positive and negative, from 1e-30 on."""
    sizes = float32(np.geomspace(1e-30, largest, 20_000))
    return np.concatenate([-sizes, [0.0], sizes])


# --- elementary functions ------------------------------------------------------------------------

WIDE = between(-87, 88)
UNIT = np.concatenate([between(0, 1), float32(np.geomspace(TINY, 1, 20_000))])
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


def test_elementary_functions_at_their_ends():
    exp, sigmoid, tanh = (mapped(getattr(formulas, name)) for name in ("exp", "sigmoid", "tanh"))
    assert exp([0.0]) == 1
    np.testing.assert_array_equal(exp([-88, -1e4, -math.inf]), 0)
    assert set(exp([89, 1e4, math.inf])) == set(exp([88]))
    assert sigmoid([0.0, -0.0]).tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(sigmoid([-89, -1e4, -1e38, -math.inf]), 0)
    np.testing.assert_array_equal(sigmoid([20, 89, 1e38, math.inf]), 1)
    assert (sigmoid(between(0, 30)) <= 1).all()
    assert (sigmoid(between(1e-6, 10)) > 0.5).all()
    assert (sigmoid(between(-10, 0)) <= 0.5).all()
    assert tanh([math.inf, 20, -20, -math.inf]).tolist() == [1, 1, -1, -1]
    assert np.max(np.abs(tanh(between(0, 12)))) == 1  # above it the slope were negative


def test_exp_and_expm1():
    both = mapped(formulas.exp_and_expm1, 2)
    e, less = both(WIDE)
    exact = np.expm1(WIDE)
    assert ulps(e, np.exp(WIDE)) <= 5
    assert np.max(np.abs(less - exact) / np.maximum(np.abs(exact), 1e-3)) < 4e-7
    small = of_all_sizes(0.3)
    assert ulps(both(small)[1], np.expm1(small)) <= 3  # no cancellation near 0
    assert both([-88.0]) == [0, -1]
    assert np.isnan(both([math.nan])).all()


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
    x = float32(np.geomspace(TINY, 3e38, 50_000))
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


@functools.cache
def slopes_of_loss(number: int) -> Callable:
    """Of both targets; some losses are one formula."""
    slope_of = list(formulas.LOSS_FORMULAS.values())[number]

    @njit(error_model="numpy")
    def slopes_of(p):
        q = p * (1.0 - p)
        return slope_of(p, q, p * 0.0, 1.0), slope_of(p, q, p * 0.0 + 1.0, 1.0)

    return mapped(slopes_of, 2)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_derivative(name):
    number = training.LOSSES[name]
    near_0, near_1 = float32(np.geomspace(1e-37, 1e-3, 2_000)), 1 - 2.0 ** -np.arange(1, 25)
    p = np.concatenate([between(0, 1, 2_001), near_0, near_1])
    q = p * (1 - p)
    mine = slopes_of_loss(number)
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
        value = functools.partial(formulas.loss_value, number)  # one by one: some of them do
        some = np.append(p[::20], p[-24:])
        values = [value(np.float32(x), np.float32(target)) for x in some]
        theirs = each.detach().numpy().ravel()
        np.testing.assert_allclose(
            values, np.append(theirs[::20], theirs[-24:]), rtol=3e-7, atol=2e-7
        )
        assert math.isnan(value(np.float32(math.nan), np.float32(target)))


# -------------------------------------------------------------------------------------------------
# What the optimizers need to know of each epoch, and their steps, against torch.optim itself.

STEPS, WEIGHTS = 200, 16
START = np.linspace(-2, 2, WEIGHTS).astype(np.float32)
CASES = [(optimizer, 0.0) for optimizer in OPTIMIZERS] + [
    (optimizer, momentum) for optimizer in MOMENTUM_OPTIMIZERS for momentum in (0.9, 1.0)
]


def config_of(optimizer: str, **changes: float) -> Config:
    return replace(ADAM, optimizer=optimizer, **{"lr": 0.01, "epochs": STEPS, **changes})


def gradients() -> np.ndarray:
    """Of sixteen weights, at every step: of all sizes, some of changing sign, some 0."""
    draw = np.random.default_rng(3)
    sizes = np.geomspace(1e-6, 100, WEIGHTS)
    found = draw.normal(0.3, 1, (STEPS, WEIGHTS)) * sizes
    found[:, 3] = 0
    found[::7, 5] = 0
    return found.astype(np.float32)


@functools.cache
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


@pytest.mark.parametrize(("optimizer", "momentum"), CASES)
@pytest.mark.parametrize("lr", [0.0003, 0.02])
def test_two_hundred_steps_are_those_of_torch(optimizer, momentum, lr):
    config = config_of(optimizer, lr=lr, momentum=momentum)
    found, weights = schedule_of(config), torch.tensor(START, requires_grad=True)
    seen = np.empty((STEPS + 2) * WEIGHTS, np.float32)
    scaled = (gradients() * np.float32(found.scale)).ravel()
    run = steps_of(STEP_FORMULAS[found.rule][0])
    run(scaled, found.numbers, 0.0, float(found.state_start), START, seen)
    mine, theirs = seen.reshape(-1, WEIGHTS)[:STEPS], []
    optimizer = oracle.optimizer(config, [weights])
    for gradient in gradients():
        weights.grad = torch.tensor(gradient)
        optimizer.step()
        theirs.append(weights.detach().numpy().copy())
    moved = np.abs(theirs - START).max(axis=0)
    assert (moved[8:] > 0).all()
    # In parts of the way each weight has come, and of the rounding of its own size at every step.
    steps = np.arange(1, STEPS + 1)[:, None]
    allowed = 1e-5 * moved + steps * np.spacing(np.abs(theirs).astype(np.float32))
    assert (np.abs(mine - theirs) <= allowed).all()


@pytest.mark.parametrize(("optimizer", "momentum"), CASES)
def test_where_a_schedule_ends_its_numbers_have_settled(monkeypatch, optimizer, momentum):
    config = config_of(optimizer, momentum=momentum, epochs=2**18)
    short = schedule_of(config).numbers
    monkeypatch.setattr(fused, "SETTLED", {})
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
        if optimizer in never:
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


# -------------------------------------------------------------------------------------------------
# The initial weights of both engines are what torch draws, bit for bit.

ENDS = [*range(8), *(2**31 + i for i in range(-4, 4)), *range(2**32 - 16, 2**32)]
SEEDS16 = st.lists(st.integers(0, MAX_SEED), min_size=16, max_size=16)


def torchs_draws(dim: int, hidden_dim: int, seeds: np.ndarray) -> np.ndarray:
    return reference.stacked(reference.initial_weights(dim, hidden_dim, seeds)).numpy()


def assert_bits(mine: np.ndarray, theirs: np.ndarray) -> None:
    assert mine.dtype == theirs.dtype == np.float32
    np.testing.assert_array_equal(mine.view(np.int32), theirs.view(np.int32))


@settings(max_examples=50)
@given(st.integers(1, 8), st.integers(1, 64), SEEDS16)
@example(1, 1, ENDS)
@example(2, 5, ENDS)
@example(2, 16, ENDS)
@example(1, 17, ENDS)  # torch draws 17 and more by a vectorised path
@example(8, 64, ENDS)  # takes more than one state
def test_initial_weights_are_those_of_plain_networks(dim, hidden_dim, seeds):
    array, config = np.array(seeds), replace(ADAM, hidden_dim=hidden_dim)
    plain = [oracle.network(config, dim, seed).parameters() for seed in seeds]
    rows = [torch.cat([one.detach().flatten() for one in its]).numpy() for its in plain]
    assert_bits(torchs_draws(dim, hidden_dim, array), np.stack(rows, axis=1))
    assert_bits(draws.initial_weights(dim, hidden_dim, array), np.stack(rows, axis=1))


def test_this_torch_draws_as_ours_does():
    """Else the reference engine's weights are taken, and the test above compares nothing."""
    assert draws._compare_with_torch() in (True, False)
    assert draws._rounds_once() == draws._compare_with_torch()


@pytest.mark.parametrize("answer", [True, False])
def test_what_torch_answered_is_noted_and_asked_once(monkeypatch, tmp_path, answer):
    asked = []
    monkeypatch.setattr(draws, "_note", lambda: tmp_path / "new" / "note.txt")
    monkeypatch.setattr(draws, "_compare_with_torch", lambda: asked.append(1) or answer)
    for _ in range(3):  # as three processes
        assert draws._rounds_once.__wrapped__() is answer
    assert asked == [1]
    (tmp_path / "new" / "note.txt").write_text("perhaps")
    assert draws._rounds_once.__wrapped__() is answer
    assert asked == [1, 1], "a damaged note is written anew"


@pytest.fixture
def other_torch(monkeypatch, tmp_path):
    """Lets torch draw otherwise, with nothing known of it."""
    monkeypatch.setattr(draws, "_note", lambda: tmp_path / str(len(list(tmp_path.iterdir()))))
    for name in ("_rounds_once", "_cached_weights"):
        monkeypatch.setattr(draws, name, getattr(draws, name).__wrapped__)
    return lambda weights: monkeypatch.setattr(reference, "initial_weights", weights)


def test_torchs_rounding_is_found_out(other_torch):
    """Whichever of the two it is."""
    seeds = np.arange(32)
    once, twice = (draws._own_weights(3, 7, seeds, once=once) for once in (True, False))
    assert (once != twice).any()
    assert np.abs(once - twice).max() < 1e-7
    for rounding, weights in ((True, once), (False, twice)):

        def drawn(*args, once=rounding):
            return (torch.tensor(draws._own_weights(*args, once=once).T.copy()),)

        other_torch(drawn)
        assert draws._rounds_once() is rounding
        assert_bits(draws.initial_weights(3, 7, seeds), weights)


def test_a_torch_that_draws_otherwise_has_the_last_word(other_torch):
    weights = reference.initial_weights
    other_torch(lambda *args: tuple(layer * 0.5 for layer in weights(*args)))
    assert draws._rounds_once() is None
    seeds = np.arange(16)
    assert_bits(draws.initial_weights(2, 5, seeds), torchs_draws(2, 5, seeds))
    config = replace(ADAM, epochs=3)
    mine, theirs = (engine.train(config, XOR, seeds) for engine in (fused, reference))
    np.testing.assert_allclose(mine.final_loss, theirs.final_loss, rtol=1e-5)


# -------------------------------------------------------------------------------------------------
# Compiled code is kept in the user's cache directory; a cache that is no good costs time only.

SOURCES = Path(kernels.__file__).parent


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The directory that this process keeps its code in during a test."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return cache.directory()


def compiled_anew(value: float = 1.5) -> bool:
    """Calls a function that nothing has been compiled of here; whether it had to be compiled."""

    @njit
    def double(x):
        return x + x

    assert cache.compiled(double)(value) == 2 * value
    return sum(double.stats.cache_hits.values()) == 0


def files(place: Path) -> list[Path]:
    """Those that numba has written: an index and the code."""
    return sorted(path for path in place.iterdir() if path.suffix in {".nbi", ".nbc"})


def test_code_is_kept_and_found_again(place):
    assert compiled_anew()
    assert sorted(path.suffix for path in files(place)) == [".nbc", ".nbi"]
    assert not compiled_anew()
    assert compiled_anew(value=2), "of another type"
    assert not compiled_anew(value=2)


def test_other_sources_have_another_directory(place, tmp_path, monkeypatch):
    copies = shutil.copytree(SOURCES, tmp_path / "kernels")
    monkeypatch.setattr(cache, "__file__", str(copies / "cache.py"))
    digest = cache._digest.__wrapped__
    assert place.name == f"kernels-{digest()}"
    with (copies / "formulas.py").open("a") as file:
        file.write("# a comment")
    assert place.name != f"kernels-{digest()}"


DAMAGES = {
    "empty": lambda _: b"",
    "all but one byte": lambda content: content[:-1],
    "text": lambda _: b"no pickle at all\n" * 20,
    "a pickle of nothing": lambda _: b"\x80\x04N.",
    "a pickle of a class that is no more": lambda _: b"cnot_here\nThing\n.",
    "an index out of range": lambda _: b"h\xff.",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_file_is_compiled_anew_and_replaced(place, suffix, damage):
    assert compiled_anew()
    (path,) = (path for path in files(place) if path.suffix == suffix)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert compiled_anew()
    assert not compiled_anew(), "the damage has not been made good"


@pytest.mark.usefixtures("place")
def test_a_place_that_is_a_file_costs_time_only(tmp_path):
    (tmp_path / "cache").write_text("I am in the way")
    assert compiled_anew()
    assert compiled_anew()
    assert (tmp_path / "cache").read_text() == "I am in the way"


def test_a_place_that_cannot_be_written_costs_time_only(place, monkeypatch):
    """The superuser may write everywhere: so the refusal is the system's."""
    place.mkdir(parents=True)

    def refuse(*args, **more):
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(cache.os, "open", refuse)
    assert compiled_anew()
    assert compiled_anew()
    assert list(place.iterdir()) == []


def test_a_lock_that_is_held_is_not_waited_for_forever(place, monkeypatch):
    place.mkdir(parents=True)
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.2)
    with (place / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert compiled_anew()


DRAW = """
import numpy as np
from xortune.trainers.kernels.draws import uniform
from xortune.trainers.kernels.cache import compiled, directory
values = np.empty((3, 16), np.float32)
compiled(uniform)(np.arange(16, dtype=np.uint32), np.ones(3, np.float32), True, values)
print(directory(), sum(uniform.stats.cache_hits.values()), values.sum())
"""


def test_two_processes_that_start_at_once_compile_once(tmp_path):
    """Into the user's cache directory, and nothing beside the sources."""
    given = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    given |= {"PYTHONPATH": str(SOURCES.parents[2]), "XDG_CACHE_HOME": str(tmp_path)}
    command, pipes = [sys.executable, "-c", DRAW], {"stdout": subprocess.PIPE, "text": True}
    both = [
        subprocess.Popen(command, env=given, stderr=subprocess.STDOUT, **pipes) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].split() for process in both]
    assert [len(words) for words in said] == [3, 3], said
    (place, one, total), (other_place, two, other_total) = said
    assert (place, total, {one, two}) == (other_place, other_total, {"0", "1"})
    assert Path(place).is_relative_to(tmp_path / "xortune")
    assert len(files(Path(place))) == 2
    assert sorted(SOURCES.rglob("*.nb*")) == []
