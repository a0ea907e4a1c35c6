import os
import pickle

import numba
import numpy as np
import pytest
import torch
from oracle import assert_equal

from xortune.core.config import Config
from xortune.core.errors import InputError, TrainingError
from xortune.core.outcome import Outcome, Status
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.trainers import network, reference
from xortune.trainers.network import NetworkTrainer

XOR = Task.xor()
CONFIG = Config(
    activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.1, hidden_dim=5, epochs=60
)


@pytest.fixture
def trainer() -> NetworkTrainer:
    return NetworkTrainer(XOR, engine="reference")


def point(**changes: object) -> Point:
    return Point(dict(CONFIG.point) | changes)


def test_check_gives_equal_trainings_equal_keys(trainer):
    plain = trainer.check(Point({n: v for n, v in CONFIG.point.items() if n != "zero_grad"}))
    assert plain == trainer.check(point(momentum=0.0, epochs=60.0)) == CONFIG.point
    with pytest.raises(InputError, match="lr: -1"):
        trainer.check(point(lr=-1))
    with pytest.raises(InputError, match="rate: is not a parameter"):
        trainer.check(point(rate=1))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Block(point(lr=-1), 0, 4), "lr"),
        (Block(point(optimizer="Adam", momentum=0.9), 0, 4), "momentum"),
        (Block(Point({"x": 1}), 0, 4), "x"),
        (Block(CONFIG.point, 2**32 - 2, 4), "out of range"),
        (Block(CONFIG.point, 0, 0), "no seeds"),
    ],
)
def test_a_bad_block_fails_alone(trainer, bad, reason):
    good = [Block(CONFIG.point, 0, 4), Block(point(epochs=20), 0, 4)]
    first, error, last = trainer.train([good[0], bad, good[1]])
    assert isinstance(error, TrainingError)
    assert reason in str(error)
    assert_equal(first, trainer.train([good[0]])[0])
    assert_equal(last, trainer.train([good[1]])[0])


def test_what_an_engine_raises_is_the_error_of_its_block(trainer, monkeypatch, caplog):
    """Of a stack nobody knows whose it is: each is trained by itself."""
    train, together = reference.train, reference.train_stack

    def out_of_memory(config, *args, **more):
        if config.lr == 0.5:
            raise RuntimeError("out of memory")
        return train(config, *args, **more)

    def all_out_of_memory(trainings, *args, **more):
        for training in trainings:
            out_of_memory(training.config, XOR, training.seeds)
        return together(trainings, *args, **more)

    monkeypatch.setattr(reference, "train", out_of_memory)
    monkeypatch.setattr(reference, "train_stack", all_out_of_memory)
    blocks = [Block(CONFIG.point, 0, 4), Block(point(lr=0.5), 0, 4), Block(point(lr=0.2), 0, 4)]
    good, error, other = trainer.train(blocks)
    assert_equal(good, reference.train(CONFIG, XOR, np.arange(4)))
    assert isinstance(other, Outcome)
    assert isinstance(error, TrainingError)
    assert "out of memory" in str(error)
    assert "3 configs as one stack: RuntimeError: out of memory; each is trained" in caplog.text


def test_what_differs_in_lr_and_momentum_is_one_stack(trainer, monkeypatch):
    stacks, one_by_one = [], []

    def spy(name, seen):
        real = getattr(reference, name)
        monkeypatch.setattr(
            reference, name, lambda *args, **more: seen.append(args[0]) or real(*args, **more)
        )

    spy("train_stack", stacks)
    spy("train", one_by_one)
    heavy = {"optimizer": "SGD", "momentum": 0.9}
    blocks = [
        Block(point(lr=0.2), 3, 4),
        Block(point(**heavy), 0, 8),
        Block(point(activation="ReLU"), 0, 8),
        Block(point(epochs=20), 3, 4),
        Block(CONFIG.point, 0, 8),
        Block(point(**heavy | {"lr": 0.3, "momentum": 0.2}), 0, 8),
        Block(point(epochs=20), 0, 8),
        Block(point(lr=0.2, epochs=20), 3, 4),
    ]
    together_with_others = trainer.train(blocks)
    # Of the same epochs: 60 of lr 0.2 and 0.1; those of 20 are checkpoints where they can be.
    assert [[one.config.lr for one in stack] for stack in stacks] == [[0.2, 0.1], [0.1, 0.3]]
    assert [(one.activation, one.epochs) for one in one_by_one] == [("ReLU", 60), ("Tanh", 20)]
    for block, outcome in zip(blocks, together_with_others, strict=True):
        assert outcome.checkpoints == ()
        assert_equal(outcome, trainer.train([block])[0])
    assert len(stacks) == 2


def test_describe_names_the_engine_and_the_task(trainer):
    described = trainer.describe()
    assert described["engine"] == "reference"
    assert described["device"] == "cpu"
    # What is installed, which of some builds leaves out for which device: 2.13.0 for 2.13.0+cu130.
    assert described["torch"] in (torch.__version__, torch.__version__.partition("+")[0])
    assert described["numba"] == numba.__version__
    assert described["task"] == "xor"
    assert described["task_fingerprint"] == XOR.fingerprint
    assert all(isinstance(value, str) for value in described.values())


def test_a_gpu_that_is_given_is_used_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    used = []
    train_stack = reference.train_stack
    monkeypatch.setattr(
        reference,
        "train_stack",
        lambda trainings, task, *, device, gpu_share: (
            used.append((len(trainings), device, gpu_share)) or train_stack(trainings, task)
        ),
    )
    blocks = [Block(point(**more), 0, 4) for more in ({}, {"lr": 0.2}, {"loss": "L1Loss"})]
    described = NetworkTrainer(XOR, gpus=0.25).describe()
    assert (described["engine"], described["device"]) == ("reference", "cuda")
    assert "engine_fallback" not in described
    for outcome in NetworkTrainer(XOR, gpus=0.25).train(blocks):
        assert isinstance(outcome, Outcome)
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
    trainer, block = NetworkTrainer(XOR, gpus=0.25), Block(CONFIG.point, 0, 4)
    assert trainer == NetworkTrainer(XOR, gpus=0.25)
    (told,) = caplog.records
    assert "torch sees no CUDA device on " in told.getMessage()
    assert ": trained on the CPU." in told.getMessage()
    assert_equal(trainer.train([block])[0], NetworkTrainer(XOR).train([block])[0])


def test_the_driver_decides_and_its_workers_do_not(monkeypatch):
    """Else the outcomes of two engines would be counted together."""
    block = Block(CONFIG.point, 0, 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_the_cpu = pickle.dumps(NetworkTrainer(XOR, gpus=0.25))
    asked = NetworkTrainer(XOR, engine="cuda", gpus=0.25)  # by a driver without a GPU
    assert asked.describe()["device"] == "cuda"
    with pytest.raises(InputError, match="torch sees no CUDA device here"):
        NetworkTrainer(XOR, engine="cuda").describe()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    on_a_gpu = pickle.dumps(NetworkTrainer(XOR, gpus=0.25))
    (outcome,) = pickle.loads(on_the_cpu).train([block])
    assert_equal(outcome, NetworkTrainer(XOR, "fused").train([block])[0])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for trainer in (pickle.loads(on_a_gpu), asked):
        (error,) = trainer.train([block])
        assert isinstance(error, TrainingError)
        assert "torch sees no CUDA device here" in str(error)


# --- one config ----------------------------------------------------------------------------------


def test_evaluate_config_takes_any_seeds_and_checkpoints_in_any_order():
    outcome = network.evaluate_config(CONFIG, XOR, [3, 1, 2], [50, 10, 50, 60], "reference")
    assert outcome.seeds.tolist() == [3, 1, 2]
    assert [checkpoint.epochs for checkpoint in outcome.checkpoints] == [10, 50]
    assert outcome.at(60) is outcome
    assert outcome.status.dtype == np.uint8
    assert set(outcome.status.tolist()) <= {int(status) for status in Status}


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch sees no CUDA device here; fix: use engine 'auto'"):
        network.evaluate_config(CONFIG, XOR, [0], (), "cuda")
    assert network.evaluate_config(CONFIG, XOR, [0], (), "auto").n == 1


@pytest.mark.parametrize(("asked", "cores"), [("3", 3), ("", None), ("-1", None), ("a", None)])
def test_usable_cores_are_those_asked_for_or_those_there_are(monkeypatch, asked, cores):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6, 7, 9}, raising=False)
    assert network.usable_cores() == (cores or 5)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert network.usable_cores() == (cores or 1)
