"""The built-in network as a trainer, and many configs as one training: each is what it is alone."""

import ctypes
import gc
import itertools
import logging
import math
import os
import pickle
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numba
import numpy as np
import oracle
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import ADAM, XOR, assert_equal

from xortune.core.config import ACTIVATIONS, LOSSES, MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.core.errors import InputError, TrainingError
from xortune.core.outcome import Outcome, Status
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.trainers import network, reference
from xortune.trainers.limits import LANES, Training, bytes_of
from xortune.trainers.network import NetworkTrainer, evaluate_config
from xortune.trainers.reference import ColumnOptimizer, matches_torch, one_thread, optimizer_of

BLOCK = Block(ADAM.point, 0, 4)
MEMORY = RuntimeError("out of memory")


@pytest.fixture
def trainer() -> NetworkTrainer:
    return NetworkTrainer(XOR, engine="reference")


def point(**changes: object) -> Point:
    return Point(dict(ADAM.point) | changes)


def test_check_gives_equal_trainings_equal_keys(trainer):
    plain = trainer.check(Point({n: v for n, v in ADAM.point.items() if n != "zero_grad"}))
    assert plain == trainer.check(point(momentum=0.0, epochs=60.0)) == ADAM.point
    for wrong, words in (({"lr": -1}, "lr: -1"), ({"rate": 1}, "rate: is not a parameter")):
        with pytest.raises(InputError, match=words):
            trainer.check(point(**wrong))


def test_a_bad_block_fails_alone(trainer):
    bad = {
        Block(point(lr=-1), 0, 4): "lr",
        Block(point(optimizer="Adam", momentum=0.9), 0, 4): "momentum",
        Block(Point({"x": 1}), 0, 4): "x",
        Block(ADAM.point, 2**32 - 2, 4): "out of range",
        Block(ADAM.point, 0, 0): "no seeds",
    }
    other = Block(point(epochs=20), 0, 4)
    first, *errors, last = trainer.train([BLOCK, *bad, other])
    for error, reason in zip(errors, bad.values(), strict=True):
        assert isinstance(error, TrainingError)
        assert reason in str(error)
    assert_equal(first, trainer.train([BLOCK])[0])
    assert_equal(last, trainer.train([other])[0])


def test_what_an_engine_raises_is_the_error_of_its_block(trainer, monkeypatch, caplog):
    """Of a stack nobody knows whose it is: each is trained by itself."""
    train_stack = reference.train_stack

    def out_of_memory(trainings, *args, **more):
        if 0.5 in {training.config.lr for training in trainings}:
            raise MEMORY
        return train_stack(trainings, *args, **more)

    monkeypatch.setattr(reference, "train_stack", out_of_memory)
    blocks = [BLOCK, Block(point(lr=0.5), 0, 4), Block(point(lr=0.2), 0, 4)]
    good, error, other = trainer.train(blocks)
    assert_equal(good, reference.train(ADAM, XOR, np.arange(4)))
    assert isinstance(other, Outcome)
    assert isinstance(error, TrainingError)
    assert "out of memory" in str(error)
    assert "3 configs as one stack: RuntimeError: out of memory; each is trained" in caplog.text


def test_what_differs_in_lr_and_momentum_is_one_stack(trainer, monkeypatch):
    spy = Mock(wraps=reference.train_stack)
    monkeypatch.setattr(reference, "train_stack", spy)
    heavy = {"optimizer": "SGD", "momentum": 0.9}
    blocks = [
        Block(point(lr=0.2), 3, 4),
        Block(point(**heavy), 0, 8),
        Block(point(activation="ReLU"), 0, 8),
        Block(point(epochs=20), 3, 4),
        Block(ADAM.point, 0, 8),
        Block(point(**heavy | {"lr": 0.3, "momentum": 0.2}), 0, 8),
        Block(point(epochs=20), 0, 8),
        Block(point(lr=0.2, epochs=20), 3, 4),
    ]
    together_with_others = trainer.train(blocks)
    stacks = [[training.config for training in call.args[0]] for call in spy.call_args_list]
    # Of the same epochs: 60 of lr 0.2 and 0.1; those of 20 are checkpoints where they can be.
    first, second, *singles = stacks
    assert [[one.lr for one in stack] for stack in (first, second)] == [[0.2, 0.1], [0.1, 0.3]]
    assert [(one.activation, one.epochs) for [one] in singles] == [("ReLU", 60), ("Tanh", 20)]
    for block, outcome in zip(blocks, together_with_others, strict=True):
        assert outcome.checkpoints == ()
        assert_equal(outcome, trainer.train([block])[0])


def test_describe_names_the_engine_and_the_task(trainer):
    described = trainer.describe()
    # What is installed, which of some builds leaves out for which device: 2.13.0 for 2.13.0+cu130.
    assert described.pop("torch") in (torch.__version__, torch.__version__.partition("+")[0])
    wanted = {"engine": "reference", "device": "cpu", "numba": numba.__version__}
    wanted |= {"task": "xor", "task_fingerprint": XOR.fingerprint}
    assert described.items() >= wanted.items()


def test_a_gpu_that_is_given_is_used_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    used, train_stack = [], reference.train_stack

    def train(trainings, task, *, device, gpu_share):
        used.append((len(trainings), device, gpu_share))
        with monkeypatch.context() as here:  # torch 2.6 asks the GPU that it believes to be there
            here.setattr(torch.cuda, "is_available", lambda: False)
            return train_stack(trainings, task)

    monkeypatch.setattr(reference, "train_stack", train)
    blocks = [Block(point(**more), 0, 4) for more in ({}, {"lr": 0.2}, {"loss": "L1Loss"})]
    described = NetworkTrainer(XOR, gpus=0.25).describe()
    assert (described["engine"], described["device"]) == ("reference", "cuda")
    assert "engine_fallback" not in described
    assert all(isinstance(one, Outcome) for one in NetworkTrainer(XOR, gpus=0.25).train(blocks))
    assert used == [(2, "cuda", 0.25), (1, "cuda", 0.25)]
    NetworkTrainer(XOR, gpus=2).train(blocks[:1])
    NetworkTrainer(XOR, engine="cuda").train(blocks[:1])
    assert used[2:] == [(1, "cuda", 1.0), (1, "cuda", 1.0)]
    NetworkTrainer(XOR, gpus=0).train(blocks)
    NetworkTrainer(XOR, engine="fused", gpus=1).train(blocks)
    assert len(used) == 4


def test_a_gpu_that_torch_does_not_see_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    network._warn_of_no_gpu.cache_clear()
    assert not caplog.records
    trainer = NetworkTrainer(XOR, gpus=0.25)
    assert trainer == NetworkTrainer(XOR, gpus=0.25)
    (told,) = caplog.records
    assert "torch sees no CUDA device on " in told.getMessage()
    assert ": trained on the CPU." in told.getMessage()
    assert_equal(trainer.train([BLOCK])[0], NetworkTrainer(XOR).train([BLOCK])[0])


def test_the_driver_decides_and_its_workers_do_not(monkeypatch):
    """Else the outcomes of two engines would be counted together."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_the_cpu = pickle.dumps(NetworkTrainer(XOR, gpus=0.25))
    asked = NetworkTrainer(XOR, engine="cuda", gpus=0.25)  # by a driver without a GPU
    assert asked.describe()["device"] == "cuda"
    with pytest.raises(InputError, match="torch sees no CUDA device here; fix: use engine 'auto'"):
        NetworkTrainer(XOR, engine="cuda").describe()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    on_a_gpu = pickle.dumps(NetworkTrainer(XOR, gpus=0.25))
    (outcome,) = pickle.loads(on_the_cpu).train([BLOCK])
    assert_equal(outcome, NetworkTrainer(XOR, "fused").train([BLOCK])[0])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for trainer in (pickle.loads(on_a_gpu), asked):
        (error,) = trainer.train([BLOCK])
        assert isinstance(error, TrainingError)
        assert "torch sees no CUDA device here" in str(error)


def test_evaluate_config_takes_any_seeds_and_checkpoints_in_any_order():
    outcome = evaluate_config(ADAM, XOR, [3, 1, 2], [50, 10, 50, 60], "reference")
    assert outcome.seeds.tolist() == [3, 1, 2]
    assert [checkpoint.epochs for checkpoint in outcome.checkpoints] == [10, 50]
    assert outcome.at(60) is outcome


@pytest.mark.parametrize(("asked", "cores"), [("3", 3), ("", None), ("-1", None), ("a", None)])
def test_usable_cores_are_those_asked_for_or_those_there_are(monkeypatch, asked, cores):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6, 7, 9}, raising=False)
    assert network.usable_cores() == (cores or 5)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert network.usable_cores() == (cores or 1)


# -------------------------------------------------------------------------------------------------
# Many configs as one training: what each comes to is what it comes to by itself.


def alone(training: Training) -> Outcome:
    return reference.train(training.config, XOR, training.seeds, training.checkpoints)


def check(trainings: list[Training], width: int | None = None) -> list[Outcome]:
    outcomes = reference.train_stack(trainings, XOR, width=width)
    for training, outcome in zip(trainings, outcomes, strict=True):
        assert_equal(outcome, alone(training))
    return outcomes


@pytest.mark.filterwarnings("ignore:reduction. 'mean':UserWarning")  # the oracle's KLDivLoss
@pytest.mark.parametrize("every", [11, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_activation_loss_and_optimizer(optimizer, every):
    """To the last bit, some of the activations with each; one seed against the plain loop."""
    losses = itertools.cycle(LOSSES)
    start = OPTIMIZERS.index(optimizer) % every
    for number, activation in list(enumerate([*ACTIVATIONS, None]))[start::every]:
        heavy = optimizer in MOMENTUM_OPTIMIZERS and number % 2
        first = replace(
            ADAM, activation=activation, loss=next(losses), optimizer=optimizer, lr=0.02,
            momentum=0.5 if heavy else 0.0, hidden_dim=2 + number % 3, epochs=14,
            zero_grad=number % 5 > 0,
        )  # fmt: skip
        configs = [first, replace(first, lr=0.3, momentum=0.9 if heavy else 0.0)]
        outcomes = check([Training(config, np.arange(5)) for config in configs])
        record = oracle.plain_loop(configs[1], XOR, 3)
        assert outcomes[1].status[3] == record.status
        assert outcomes[1].solved_epoch[3] == record.solved_epoch


def test_each_has_its_own_seeds_and_checkpoints():
    trainings = [
        Training(ADAM, np.array([7, 3, 2**32 - 1]), (1, 20)),
        Training(replace(ADAM, lr=0.2), np.arange(100), (20,)),
        Training(replace(ADAM, lr=0.3), np.array([3])),
        Training(replace(ADAM, lr=0.3), np.arange(5, 9), (39,)),
    ]
    for width in (1, 64, None):
        check(trainings, width=width)


def test_a_diverging_config_disturbs_no_other():
    base = replace(ADAM, activation="ReLU", loss="BCELoss", optimizer="SGD", momentum=0.9)
    wild = replace(base, lr=1e29, momentum=3.0)
    outcomes = check([Training(config, np.arange(20)) for config in (base, wild, base)])
    assert outcomes[1].counts[Status.DIVERGED] > 0
    assert outcomes[0].counts[Status.DIVERGED] == outcomes[2].counts[Status.DIVERGED] == 0


def grouped(*changes: dict[str, object], seeds: int = 8, device: str = "cpu") -> list[list[int]]:
    trainings = [Training(replace(ADAM, **change), np.arange(seeds)) for change in changes]
    return reference.stacks(trainings, XOR, device=device)


def test_those_that_differ_in_lr_and_momentum_are():
    heavy = {"optimizer": "SGD", "momentum": 0.9}
    assert grouped({"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}) == [[0, 1, 2]]
    assert grouped(heavy, {"optimizer": "SGD"}, heavy | {"momentum": 0.1}) == [[0, 2], [1]]
    other = {"activation": "ReLU", "loss": "L1Loss", "optimizer": "AdamW", "hidden_dim": 4}
    for name, value in (other | {"epochs": 61, "zero_grad": False}).items():
        assert grouped({}, {name: value}, {}) == [[0, 2], [1]]
    # An lr that no float32 holds, which torch refuses: a stack would train it, as infinite.
    assert grouped({"lr": 1e300}, {}, {"lr": 1e300}, {}) == [[0], [1, 3], [2]]


def test_on_the_cpu_those_that_fill_a_stack_are_by_themselves():
    width = reference.width_of(ADAM, XOR)
    assert grouped({"lr": 0.1}, {"lr": 0.2}, seeds=width // 2) == [[0, 1]]
    assert grouped({"lr": 0.1}, {"lr": 0.2}, seeds=width // 2 + 1) == [[0], [1]]
    assert grouped({"lr": 0.1}, {"lr": 0.2}, seeds=width, device="cuda") == [[0, 1]]


# --- memory --------------------------------------------------------------------------------------


def lacking_memory(monkeypatch, most, after):
    """More than `most` networks run out of memory after so many steps; the sizes that are tried."""
    run_epochs, tried = reference.run_epochs, []

    def run(config, task, weights, optimizer, stops):
        tried.append(weights.shape[1])
        step, steps = optimizer.step, itertools.count()

        def failing():
            if weights.shape[1] > most and next(steps) == after:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            step()

        optimizer.step = failing
        yield from run_epochs(config, task, weights, optimizer, stops)

    monkeypatch.setattr(reference, "run_epochs", run)
    return tried


TRAININGS = [Training(replace(ADAM, lr=0.01 * i), np.arange(60), (5,)) for i in range(1, 11)]


@pytest.mark.parametrize("after", [0, 17])
def test_out_of_memory_halves_says_so_and_changes_nothing(monkeypatch, caplog, after):
    whole = reference.train_stack(TRAININGS, XOR)
    tried = lacking_memory(monkeypatch, 200, after)
    with caplog.at_level(logging.WARNING):
        halved = reference.train_stack(TRAININGS, XOR)
    assert tried == [640, 320, 192, 192, 192, 64]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory on cpu with 640 networks at once: trained again, 320 at once from here on",
        "out of memory on cpu with 320 networks at once: trained again, 192 at once from here on",
    ]
    for one, other in zip(whole, halved, strict=True):
        assert_equal(one, other)


def test_what_is_too_small_for_the_smallest_part_is_an_error(monkeypatch):
    tried = lacking_memory(monkeypatch, 0, 0)
    with pytest.raises(torch.OutOfMemoryError):
        reference.train_stack(TRAININGS, XOR, width=256)
    assert tried == [256, 128, 64]


def test_the_width_is_what_the_memory_holds(monkeypatch):
    memory = {"free": 3 * 2**30, "total": 8 * 2**30, "reserved": 2**30, "allocated": 2**28}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (memory["free"], memory["total"]))
    for name in ("reserved", "allocated"):
        monkeypatch.setattr(torch.cuda, f"memory_{name}", lambda _, name=name: memory[name])
    each = bytes_of(ADAM, XOR)

    def lanes(of: float) -> int:
        return int(reference.GPU_MEMORY_SHARE * of) // each // LANES * LANES

    assert reference.width_on("cuda", ADAM, XOR) == lanes(3.75 * 2**30)  # free, or kept by torch
    assert reference.width_on("cuda", ADAM, XOR, 0.25) == lanes(2 * 2**30)  # a quarter of all
    memory["free"] = memory["reserved"] = memory["allocated"] = 0
    assert reference.width_on("cuda", ADAM, XOR) == LANES
    memory["free"] = memory["total"] = 2**50  # no tensor may have more elements than 2**31
    assert 2**30 < 20 * reference.width_on("cuda", ADAM, XOR) < 2**31


def peak_memory() -> int:
    """Of this process, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


GELU = replace(ADAM, activation="GELU", optimizer="NAdam", hidden_dim=20, zero_grad=False)


@pytest.mark.parametrize(("config", "bits"), [(ADAM, 2), (GELU, 3)])
def test_the_estimate_is_what_a_stack_takes(config, bits):
    """Of this process's memory, at its peak."""
    config, task = replace(config, epochs=3), Task.parity(bits)
    each = bytes_of(config, task)
    seeds = np.arange(LANES)
    count = 120_000_000 // (each * LANES)
    trainings = [Training(replace(config, lr=0.01 + 1e-6 * i), seeds) for i in range(count)]
    reference.train_stack(trainings[: count // 4], task)  # what torch needs once
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier tests have freed would be used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = peak_memory()
    reference.train_stack(trainings, task, width=count * LANES)
    grown = (peak_memory() - before) / (count * LANES)
    assert 0.4 * each < grown < 1.1 * each


# --- where there is a GPU ------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Rprop"])
def test_on_cuda_a_stack_is_what_its_configs_are(optimizer):
    configs = [replace(ADAM, optimizer=optimizer, lr=lr) for lr in (0.01, 0.1, 0.3)]
    trainings = [Training(config, np.arange(70), (5,)) for config in configs]
    whole = reference.train_stack(trainings, XOR, device="cuda")
    for training, outcome in zip(trainings, whole, strict=True):
        (by_itself,) = reference.train_stack([training], XOR, device="cuda", width=64)
        assert_equal(outcome, by_itself)
        cpu = alone(training)
        assert np.mean(outcome.status == cpu.status) > 0.97
        np.testing.assert_allclose(outcome.at(5).final_loss, cpu.at(5).final_loss, rtol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_cuda_a_real_lack_of_memory_halves(caplog):
    # A quarter of what one stack would like to have: torch itself raises.
    width = reference.width_on("cuda", replace(ADAM, hidden_dim=64), XOR)
    count = min(width, 2**22) // LANES
    configs = [replace(ADAM, hidden_dim=64, epochs=2, lr=0.1 + 1e-7 * i) for i in range(count)]
    each = [Training(config, np.arange(LANES)) for config in configs]
    total = torch.cuda.mem_get_info()[1]
    need = bytes_of(each[0].config, XOR) * count * LANES
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.25 * need / total))
    try:
        with caplog.at_level(logging.WARNING):
            halved = reference.train_stack(each, XOR, device="cuda", width=count * LANES)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory on cuda" in caplog.text
    (first,) = reference.train_stack(each[:1], XOR, device="cuda")
    assert_equal(halved[0], first)


# --- steps with an lr and a momentum for each column are torch.optim's own, to the last bit -------

CASES = [(name, False) for name in OPTIMIZERS] + [(name, True) for name in MOMENTUM_OPTIMIZERS]


def differing(configs: list[Config], gradients: list[torch.Tensor]) -> list[int]:
    """How many of each config's weights torch.optim has otherwise, after all steps."""
    count = len(configs)
    start = torch.linspace(-2, 2, 3 * count * LANES).view(3, -1)
    alone = [part.contiguous() for part in start.chunk(count, dim=1)]
    together = start.clone()
    ours = ColumnOptimizer(configs, np.repeat(np.arange(count), LANES), together)
    theirs = [optimizer_of(c, w) for c, w in zip(configs, alone, strict=True)]
    with one_thread():
        for gradient in gradients:
            together.grad = gradient.clone()
            for weights, part in zip(alone, gradient.chunk(count, dim=1), strict=True):
                weights.grad = part.contiguous()
            ours.step()
            for optimizer in theirs:
                optimizer.step()
    pairs = zip(alone, together.chunk(count, dim=1), strict=True)
    return [int((a.view(torch.int32) != b.contiguous().view(torch.int32)).sum()) for a, b in pairs]


def gradients(count: int, steps: int, seed: int = 0) -> list[torch.Tensor]:
    """Of all sizes, with changing signs and some zeros."""
    draw = torch.Generator().manual_seed(seed)
    shape = (3, count * LANES)
    sizes = torch.logspace(-8, 4, shape[1])[torch.randperm(shape[1], generator=draw)]
    made = [torch.randn(shape, generator=draw) * sizes for _ in range(steps)]
    for gradient in made:
        gradient[torch.rand(shape, generator=draw) < 0.05] = 0
    return made


@pytest.mark.parametrize(("optimizer", "heavy"), CASES)
@given(
    numbers=st.lists(
        st.tuples(st.floats(1e-12, 1e30), st.floats(1e-6, 1e30)), min_size=1, max_size=3
    ),
    seed=st.integers(0, 99),
)
@example(numbers=[(1e-4, 0.5), (0.03, 0.9), (1.0, 1.0), (7.7, 1.3)], seed=0)
@example(numbers=[(1e30, 1e30), (1e-12, 1e-6)], seed=0)
@settings(max_examples=5)
def test_every_step_is_torchs_whatever_lr_and_momentum(optimizer, heavy, numbers, seed):
    base = replace(ADAM, optimizer=optimizer)
    configs = [replace(base, lr=lr, momentum=m if heavy else 0.0) for lr, m in numbers]
    assert not any(differing(configs, gradients(len(configs), 40, seed)))
    assert matches_torch(optimizer, heavy=heavy)


def test_a_step_that_rounds_otherwise_is_noticed(monkeypatch):
    """The trial must be able to fail: with the next float of each lr it does."""
    spread = ColumnOptimizer.spread

    def next_float(self, values):
        return torch.nextafter(spread(self, values), torch.tensor(math.inf))

    monkeypatch.setattr(ColumnOptimizer, "spread", next_float)
    for optimizer, heavy in (("Adam", False), ("SGD", True), ("Rprop", False)):
        assert not matches_torch.__wrapped__(optimizer, heavy=heavy)
