"""`TorchTraining`: a user's torch model, of which `run` defines what a seed means.

    class Digits(xt.TorchTraining):
        epochs = 20

        def model(self):
            return nn.Sequential(nn.Linear(64, self.config["width"]), nn.ReLU(),
                                 nn.Linear(self.config["width"], 10))

        def optimizer(self, parameters):
            return torch.optim.Adam(parameters, lr=self.config["lr"])

        def batches(self):
            for rows in torch.randperm(len(x)).split(32):
                yield x[rows], y[rows]

        def loss(self, model, x, y):
            return F.cross_entropy(model(x), y)

        def score(self, model):
            return {"accuracy": (model(x_test).argmax(1) == y_test).float().mean()}

`Digits(config).run(seed)` is the definition. `run_seeds` gives the same for many seeds, faster,
because `trainers.vectorized` trains them as one stacked model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xortune.core.errors import InputError
from xortune.core.trainer import Stacking
from xortune.trainers.audit import knowledge_of
from xortune.trainers.methods import (
    batches_of,
    epochs_of,
    given_to,
    model_of,
    optimizer_of,
    refuse_attributes,
    scored,
    step,
)
from xortune.trainers.pilot import pilot_of
from xortune.trainers.vectorized import StackedSeeds, arrays_of, train_stacked


class TorchTraining(ABC):
    """Trains a torch model; subclass it and say which model, optimizer, batches, loss and score.

    Attributes:
        config: the parameters of the configuration, a dict.
        epochs: number of passes over `batches`; set it in the class or in `__init__`.
        clip_norm: the largest norm of a seed's gradient; None does not clip.
        report_every: epochs between two reports of `score`; None reports none.
    """

    epochs: int
    clip_norm: float | None = None
    report_every: int | None = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._given = dict(config)
        self.config: dict[str, Any] = dict(config)

    @abstractmethod
    def model(self) -> nn.Module:
        """A new model. Called after `torch.manual_seed(seed)`."""

    @abstractmethod
    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""

    def scheduler(self, optimizer: torch.optim.Optimizer) -> Any:  # noqa: ARG002  # for subclasses
        """A learning-rate scheduler, stepped after each epoch; None for a constant rate."""
        return None

    @abstractmethod
    def batches(self) -> Iterable[Sequence[Any]]:
        """The batches of one epoch, tuples of tensors; random ones by torch's generator."""

    @abstractmethod
    def loss(self, model: Any, *batch: Any) -> Tensor:
        """The loss of a batch, a tensor of one number."""

    @abstractmethod
    def score(self, model: Any) -> Any:
        """The result of the training: true or false, a number, or a dict of numbers.

        Called with `model.eval()` and without gradients.
        """

    def run(self, seed: int, report: Callable[[Any], None] | None = None) -> Any:
        """Train one seed: this loop is what a seed means.

        Args:
            seed: for `torch.manual_seed`.
            report: called with the score after every `report_every` epochs but the last.

        Returns:
            What `score` returns after the last epoch.

        Raises:
            InputError: a method gives something else than it must.
        """
        refuse_attributes(self)
        torch.manual_seed(seed)
        model = model_of(self)
        optimizer = optimizer_of(self, model)
        scheduler = self.scheduler(optimizer)
        for epoch in range(1, epochs_of(self) + 1):
            model.train()
            for batch in batches_of(self):
                step(self, model, optimizer, batch)
            if scheduler is not None:
                scheduler.step()
            if report is not None and self.reports_after(epoch):
                report(scored(self, model))
        return scored(self, model)

    stacked_run = run
    """The `run` whose results a stack gives. Seeds of a subclass with a `run` of its own are never
    stacked: that `run` trains them, one at a time."""

    def run_seeds(
        self,
        seeds: Sequence[int] | NDArray[np.int64],
        report: Callable[[Sequence[int], Any], None] | None = None,
    ) -> Any:
        """Train many seeds: the same as `run` for each of them, up to rounding, and faster.

        The seeds' models are stacked and trained as one, where that is faster. Some seeds are
        trained alone as well: where a number differs, `run` trains all of them.

        Args:
            seeds: S of them, at least one.
            report: called after every `report_every` epochs but the last with the n seeds that are
                trained together, which may be one or all, and arrays of their scores, of shape
                (n,). Seeds that are trained again, because another one raised, report again.

        Returns:
            Arrays of shape (S,), as `score` returns numbers for one seed.

        Raises:
            InputError: there are no seeds; or a method gives something else than it must, or the
                same model again.
            Exception: what the training of a seed raised.
        """
        on_report = report or (lambda *_: None)
        groups = [(self, [int(seed) for seed in seeds])]
        if not groups[0][1]:
            raise InputError(
                "there are none", place="seeds", allowed="one or more seeds", fix="give range(8)"
            )

        def tell(_: int, of: Sequence[int], scores: Sequence[Any], __: int) -> Collection[int]:
            on_report(of, arrays_of(scores))
            return ()

        [results] = train_stacked(groups, report=tell).scores
        for result in results:
            if isinstance(result, Exception):
                raise result
        return arrays_of(results)

    @staticmethod
    def run_all(*args: Any, **options: Any) -> StackedSeeds:
        """Train several configurations of one class: see `vectorized.train_stacked`."""
        return train_stacked(*args, **options)

    def stacking(self) -> Stacking:
        """How this configuration is stacked: see `core.trainer.Stacking`."""
        pilot = pilot_of(self, [0, 1])
        width = 1 if knowledge_of(self).fault else pilot.cheap(self)
        gain = pilot.loop / pilot.stacked[width] if width > 1 else 1.0
        return Stacking(frozenset(given_to(self)) - set(pilot.held), width, gain)

    def reports_after(self, epoch: int) -> bool:
        """Whether a score is reported after an epoch; the first one is 1."""
        every = self.report_every
        return every is not None and epoch % every == 0 and epoch < self.epochs
