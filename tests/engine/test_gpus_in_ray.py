"""GPUs that Ray hands out by number, on a machine that may have none."""

import re

import numpy as np
import pytest
import torch
from gpu_trainers import Small

import xortune as xt
from xortune.core.config import Config
from xortune.core.task import Task
from xortune.driver.cluster import Cluster, slots
from xortune.driver.session import search_session
from xortune.runs.run import load_run
from xortune.spaces.space import load_space
from xortune.trainers import network, reference

SPACE = """
name: gpus
epochs: 40
parameters:
  activation: Tanh
  loss: BCELoss
  optimizer: Adam
  lr: {low: 0.05, high: 1.0, log: true}
  hidden_dim: 4
search: {sampler: random, trials: 12, seed: 7}
seeds: {ladder: [20]}
"""


pytestmark = pytest.mark.usefixtures("one_ray")


@pytest.fixture
def space_file(tmp_path):
    path = tmp_path / "gpus.yaml"
    path.write_text(SPACE)
    return path


def test_a_quarter_each_is_four_at_once():
    assert slots(Cluster(None, 0.25, 0.25)) == 4
    assert slots(Cluster(None, 0.5, 1)) == 1


@pytest.mark.long
def test_where_torch_sees_none_the_cpu_trains_and_the_user_is_told(
    space_file, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    network._tell_that_there_is_no_gpu.cache_clear()
    run = xt.search(space_file, output=tmp_path / "gpus", gpus_per_trial=0.25)
    told = [record.getMessage() for record in caplog.records if "CUDA" in record.getMessage()]
    assert len(told) == 1
    assert "torch sees no CUDA device on" in told[0]
    assert "trained on the CPU" in told[0]
    assert (run.manifest["engine"], run.manifest["device"]) == ("fused", "cpu")
    assert len(run.evaluations) == 12
    for evaluation in run.evaluations:
        alone = xt.evaluate(Config.from_point(evaluation.block.point), seeds=range(20))
        assert (evaluation.outcome.successes, evaluation.outcome.n) == (alone.successes, alone.n)


@pytest.mark.long
def test_what_is_asked_of_workers_that_cannot_is_no_outcome(space_file, tmp_path):
    run = xt.search(space_file, output=tmp_path / "a", gpus_per_trial=0.25, engine="cuda", trials=2)
    assert (run.manifest["engine"], run.manifest["device"]) == ("reference", "cuda")
    for evaluation in run.evaluations:
        if torch.cuda.is_available():
            assert evaluation.outcome is not None
        else:
            assert "torch sees no CUDA device here" in evaluation.error


def test_halving_on_a_worker_is_told_and_changes_nothing(space_file, tmp_path, caplog):
    """And the worker sees the GPU that Ray assigned, by its number."""
    space = load_space(space_file)
    trainer = Small(space.task, engine="reference", gpus=0.25)
    folder = tmp_path / "small"
    assert search_session(space, trainer, folder, cluster=Cluster(None, 0.25, 0.25))
    told = [record.getMessage() for record in caplog.records]
    assert any(re.fullmatch(r"\S+:\d+: was given GPU 0", word) for word in told)
    halved = [word for word in told if "out of memory on cpu with" in word]
    assert halved
    assert all(re.match(r"\S+:\d+: out of memory on cpu with \d+ networks", h) for h in halved)
    evaluations = load_run(folder).evaluations
    assert len(evaluations) == 12
    for evaluation in evaluations:
        config = Config.from_point(evaluation.block.point)
        alone = reference.train(config, Task.xor(), np.arange(20) + evaluation.block.first)
        for name in ("status", "solved_epoch", "final_loss"):
            ours, theirs = getattr(evaluation.outcome, name), getattr(alone, name)
            np.testing.assert_array_equal(ours, theirs)
