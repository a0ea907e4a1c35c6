"""The built-in network as a trainer, and many configs as one training: each is what it is alone."""

import ctypes
import gc
import itertools
import logging
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from oracle import ADAM, XOR, assert_equal

from xortune.core.errors import InputError, TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.trainers import network, reference
from xortune.trainers.limits import LANES, Training, bytes_of
from xortune.trainers.network import NetworkTrainer, evaluate_config

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


def test_what_an_engine_raises_is_the_error_of_its_block(trainer, monkeypatch):
    train_seeds = reference.train_seeds

    def out_of_memory(training, *args, **more):
        if training.config.lr == 0.5:
            raise MEMORY
        return train_seeds(training, *args, **more)

    monkeypatch.setattr(reference, "train_seeds", out_of_memory)
    blocks = [BLOCK, Block(point(lr=0.5), 0, 4), Block(point(lr=0.2), 0, 4)]
    good, error, other = trainer.train(blocks)
    assert_equal(good, reference.train(ADAM, XOR, np.arange(4)))
    assert isinstance(other, Outcome)
    assert isinstance(error, TrainingError)
    assert "out of memory" in str(error)


def test_describe_names_the_engine_and_the_task(trainer):
    described = trainer.describe()
    # What is installed, which of some builds leaves out for which device: 2.13.0 for 2.13.0+cu130.
    assert described.pop("torch") in (torch.__version__, torch.__version__.partition("+")[0])
    wanted = {"engine": "reference", "device": "cpu", "numba": numba.__version__}
    wanted |= {"task": "xor", "task_fingerprint": XOR.fingerprint}
    assert described.items() >= wanted.items()


def test_a_gpu_that_is_given_is_used_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    used, train_seeds = [], reference.train_seeds

    def train(training, task, *, device, gpu_share):
        used.append((device, gpu_share))
        with monkeypatch.context() as here:  # torch 2.6 asks the GPU that it believes to be there
            here.setattr(torch.cuda, "is_available", lambda: False)
            return train_seeds(training, task)

    monkeypatch.setattr(reference, "train_seeds", train)
    blocks = [Block(point(**more), 0, 4) for more in ({}, {"lr": 0.2}, {"loss": "L1Loss"})]
    described = NetworkTrainer(XOR, gpus=0.25).describe()
    assert (described["engine"], described["device"]) == ("reference", "cuda")
    assert "engine_fallback" not in described
    assert all(isinstance(one, Outcome) for one in NetworkTrainer(XOR, gpus=0.25).train(blocks))
    assert used == [("cuda", 0.25)] * 3
    NetworkTrainer(XOR, gpus=2).train(blocks[:1])
    NetworkTrainer(XOR, engine="cuda").train(blocks[:1])
    assert used[3:] == [("cuda", 1.0)] * 2
    NetworkTrainer(XOR, gpus=0).train(blocks)
    NetworkTrainer(XOR, engine="fused", gpus=1).train(blocks)
    assert len(used) == 5


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
    with pytest.raises(InputError, match=r"torch sees no CUDA device here; fix: .* engine='auto'"):
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
# The reference engine trains the seeds of a config in parts; each seed is what it is alone.


def alone(training: Training) -> Outcome:
    return reference.train(training.config, XOR, training.seeds, training.checkpoints)


@pytest.mark.parametrize("width", [1, 64, None])
def test_seeds_are_what_they_are_in_other_parts(width):
    training = Training(ADAM, np.array([*range(100, 0, -1), 2**32 - 1]), (1, 20))
    assert_equal(reference.train_seeds(training, XOR, width=width), alone(training))


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


TRAINING = Training(ADAM, np.arange(600), (5,))


@pytest.mark.parametrize("after", [0, 17])
def test_out_of_memory_halves_says_so_and_changes_nothing(monkeypatch, caplog, after):
    whole = reference.train_seeds(TRAINING, XOR)
    tried = lacking_memory(monkeypatch, 200, after)
    with caplog.at_level(logging.WARNING):
        halved = reference.train_seeds(TRAINING, XOR, width=640)
    assert tried == [640, 320, 192, 192, 192, 64]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory on cpu with 640 networks at once: trained again, 320 at once from here on",
        "out of memory on cpu with 320 networks at once: trained again, 192 at once from here on",
    ]
    assert_equal(whole, halved)


def test_what_is_too_small_for_the_smallest_part_is_an_error(monkeypatch):
    tried = lacking_memory(monkeypatch, 0, 0)
    with pytest.raises(torch.OutOfMemoryError):
        reference.train_seeds(TRAINING, XOR, width=256)
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
    count = 60_000_000 // (each * LANES)
    reference.train(config, task, np.arange(LANES))  # what torch needs once
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier tests have freed would be used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = peak_memory()
    seeds = np.arange(count * LANES)
    reference.train_seeds(Training(config, seeds), task, width=count * LANES)
    grown = (peak_memory() - before) / (count * LANES)
    assert 0.4 * each < grown < 1.1 * each


# --- where there is a GPU ------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Rprop"])
def test_on_cuda_seeds_are_nearly_what_they_are_on_the_cpu(optimizer):
    training = Training(replace(ADAM, optimizer=optimizer), np.arange(70), (5,))
    outcome = reference.train_seeds(training, XOR, device="cuda")
    assert_equal(outcome, reference.train_seeds(training, XOR, device="cuda", width=64))
    cpu = alone(training)
    assert np.mean(outcome.status == cpu.status) > 0.97
    np.testing.assert_allclose(outcome.at(5).final_loss, cpu.at(5).final_loss, rtol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_cuda_a_real_lack_of_memory_halves(caplog):
    # A quarter of what one stack would like to have: torch itself raises.
    width = reference.width_on("cuda", replace(ADAM, hidden_dim=64), XOR)
    count = min(width, 2**22) // LANES
    training = Training(replace(ADAM, hidden_dim=64, epochs=2), np.arange(count * LANES))
    total = torch.cuda.mem_get_info()[1]
    need = bytes_of(training.config, XOR) * count * LANES
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.25 * need / total))
    try:
        with caplog.at_level(logging.WARNING):
            halved = reference.train_seeds(training, XOR, device="cuda", width=count * LANES)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory on cuda" in caplog.text
    first = reference.train_seeds(replace(training, seeds=np.arange(LANES)), XOR, device="cuda")
    assert (halved.status[:LANES] == first.status).all()
