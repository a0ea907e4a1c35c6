"""Two small measurements of the thread, made once: some of its posts, and a sweep of five cells."""

from __future__ import annotations

import pytest
from hand_made import done, solved, write_run

import xortune as xt
from xortune.thread import claims as claims_module

SOME = ("T3", "T5", "T8c", "T10")

CELLS = (
    ("Tanh", "MSELoss", "Adam", 20),
    ("ELU", "MSELoss", "Adam", 20),
    ("ReLU", "MSELoss", "Adam", 15),
    ("ReLU", "L1Loss", "Adam", 0),
    ("Sigmoid", "MSELoss", "Rprop", 20),  # more than is true of it
)
"""Activation, loss, optimizer, and how many of 20 seeds the sweep is said to have solved."""


SHIPPED = claims_module.read_claims()


@pytest.fixture(autouse=True)
def _read_once(monkeypatch):
    """The shipped YAML is parsed once, not for every measurement; test_claims sees how."""
    monkeypatch.setattr(claims_module, "read_claims", lambda: SHIPPED)


@pytest.fixture(scope="session")
def settled():
    return xt.thread(only=SOME, seeds=48)


@pytest.fixture(scope="session")
def sweep_run(tmp_path_factory):
    fixed = {"lr": 0.03, "hidden_dim": 5, "epochs": 200, "zero_grad": True}
    evaluations = [
        done(
            i,
            {"activation": activation, "loss": loss, "optimizer": optimizer, **fixed},
            solved(0, k, 20, epochs=200, epoch=100 + i),
        )
        for i, (activation, loss, optimizer, k) in enumerate(CELLS)
    ]
    path = tmp_path_factory.mktemp("sweep") / "run"
    return write_run(path, evaluations, trainer="network", task="xor")


@pytest.fixture(scope="session")
def swept(sweep_run):
    return xt.thread(only=["T12", "T15"], seeds=64, sweep=sweep_run)
