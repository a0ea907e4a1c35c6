"""The plain loop that every engine is held against: one network, one seed, ten lines of PyTorch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from xortune.core.config import Config
from xortune.core.outcome import Outcome, Status
from xortune.core.task import Task

XOR = Task.xor()
ADAM = Config(activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.1, hidden_dim=5, epochs=60)
"""What most trainings are a change of."""


def assert_equal(one: object, other: object, *, part: bool = False) -> None:
    """Two outcomes to the last bit, with all checkpoints; if part, `other` has more seeds."""
    assert isinstance(one, Outcome), one
    assert isinstance(other, Outcome), other
    rows = [other.seeds.tolist().index(s) for s in one.seeds.tolist()] if part else slice(None)
    for mine, theirs in zip((*one.checkpoints, one), (*other.checkpoints, other), strict=True):
        assert mine.epochs == theirs.epochs
        for name in ("seeds", "status", "solved_epoch", "final_loss", "predictions"):
            assert getattr(mine, name).tobytes() == getattr(theirs, name)[rows].tobytes(), name


@dataclass
class Record:
    """What one seed came to."""

    loss: float = math.nan  # of the rows trained on
    pattern: str = ""  # of the judged rows
    right: list[bool] = field(default_factory=list)  # after 0, 1, 2, ... steps
    finite: bool = True
    weights: list[Tensor] = field(default_factory=list)

    @property
    def solved_epoch(self) -> int:
        """The first epoch from which it stays solved; 0 if it is not at the end."""
        if not (self.finite and self.right[-1]):
            return 0
        last_wrong = max((epoch for epoch, right in enumerate(self.right) if not right), default=0)
        return max(last_wrong + 1, 1)

    @property
    def status(self) -> Status:
        if not self.finite:
            return Status.DIVERGED
        if self.right[-1]:
            return Status.SOLVED
        constants = {"0": Status.ALL_ZERO, "1": Status.ALL_ONE}
        return constants.get("".join(set(self.pattern)), Status.WRONG_PATTERN)


def network(config: Config, dim: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Linear(dim, config.hidden_dim)]
    if config.activation is not None:  # the axis is what they choose themselves, and warn
        axis = {"dim": 1} if config.activation in {"Softmax", "Softmin", "LogSoftmax"} else {}
        layers.append(getattr(nn, config.activation)(**axis))
    return nn.Sequential(*layers, nn.Linear(config.hidden_dim, 1), nn.Sigmoid())


def optimizer(config: Config, weights: list[Tensor]) -> torch.optim.Optimizer:
    options = {"momentum": config.momentum} if config.momentum else {}
    return getattr(torch.optim, config.optimizer)(weights, lr=config.lr, **options)


def exploding(loss: str, epochs: int) -> Config:
    """Momentum 3 triples the step at every epoch, up to the end of float32."""
    changes = {"optimizer": "SGD", "lr": 0.05, "momentum": 3.0, "hidden_dim": 2, "epochs": epochs}
    return replace(ADAM, activation="ReLU", loss=loss, **changes)


def plain_loop(config: Config, task: Task, seed: int) -> Record:
    """Train one seed as the README says, and note the state after every step."""
    model = network(config, task.dim, seed)
    steps = optimizer(config, list(model.parameters()))
    loss_function = getattr(nn, config.loss)()
    x, y, judged_x, judged_y = (
        torch.tensor(array)
        for array in (task.inputs, task.targets, task.judged_inputs, task.judged_targets)
    )
    seen = []
    for epoch in range(config.epochs + 1):
        try:
            loss = loss_function(model(x), y)
        except RuntimeError:  # BCELoss, of an output that is NaN
            return Record(finite=False)
        with torch.no_grad():
            seen.append(model(judged_x))
        if epoch < config.epochs:
            if config.zero_grad:
                steps.zero_grad()
            loss.backward()
            steps.step()
    above = torch.stack(seen)[:, :, 0] > 0.5
    right = (above == (judged_y[:, 0] > 0.5)).sum(dim=1)
    weights = [parameter.detach() for parameter in model.parameters()]
    return Record(
        loss=loss.item(),
        pattern="".join("01"[int(one)] for one in above[-1]),
        right=(right >= task.accuracy * len(judged_y) - 1e-9).tolist(),
        finite=all(bool(w.isfinite().all()) for w in [*weights, seen[-1]]),
        weights=weights,
    )


def plain_loops(config: Config, task: Task, seeds: Sequence[int]) -> list[Record]:
    return [plain_loop(config, task, seed) for seed in seeds]
