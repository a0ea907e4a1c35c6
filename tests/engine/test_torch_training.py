"""A user's torch model: many seeds as one training come to what the loop comes to, seed by seed."""

import copy
import itertools
import math
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xortune as xt
from xortune.core.config import OPTIMIZERS
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.pruning import Pruning, reports_of
from xortune.core.success import parse_success
from xortune.core.trainer import Block, OutOfTime, Unfinished
from xortune.trainers import vectorized
from xortune.trainers.batching_rules import LOOP, CannotStack
from xortune.trainers.epoch_batches import NotAtOnce
from xortune.trainers.function import custom_trainer
from xortune.trainers.kernels import steps
from xortune.trainers.limits import ending_at
from xortune.trainers.pilot import Pilot, pilot_of
from xortune.trainers.reports import Pruned, cancelling_if, hearing_reports
from xortune.trainers.seed_draws import SeedDraw
from xortune.trainers.source import given_source
from xortune.trainers.stack import Stack
from xortune.trainers.vectorized import trained_as_one

SEEDS = [0, 1, 7, 2**32 - 1]


def _rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))


X, X_TEST = _rows(40, 0), _rows(60, 1)
Y, Y_TEST = (X.sum(1) > 0).long(), (X_TEST.sum(1) > 0).long()


class Small(xt.TorchTraining):
    epochs = 3

    def model(self):
        return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    def optimizer(self, parameters):
        name = self.config.get("optimizer", "Adam")
        return getattr(torch.optim, name)(parameters, lr=self.config.get("lr", 0.01))

    def batches(self):
        for rows in torch.randperm(len(X)).split(16):  # 16, 16 and 8
            yield X[rows], Y[rows]

    def loss(self, model, x, y):
        return functional.cross_entropy(model(x), y)

    def score(self, model):
        out = model(X_TEST)
        right = (out.argmax(1) == Y_TEST).float().mean()
        return {"accuracy": right, "loss": functional.cross_entropy(out, Y_TEST)}


class Convolution(Small):
    clip_norm = 1.0  # some gradients are clipped, and some are not

    def model(self):
        return nn.Sequential(
            *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)),
            *(nn.ReLU(), nn.Dropout2d(0.3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)),
        )

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True)


def built(name: str, model) -> type[Small]:
    """A training of the model that a function returns."""
    return type(name, (Small,), {"model": lambda self: model()})  # noqa: ARG005


def _channels_last():
    """Its weights lie in another order in memory than their gradients."""
    layers = [nn.Unflatten(1, (4, 2, 2)), nn.Conv2d(4, 4, 2, padding=1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(36, 2)).to(memory_format=torch.channels_last)


def _attention():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)
    layers = [nn.Unflatten(1, (4, 4)), layer, nn.LayerNorm(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, 2))


Attention = built("Attention", _attention)


class Embedded(Small):
    def model(self):
        layers = [nn.Embedding(2, 4), nn.Flatten(), nn.GroupNorm(4, 64), nn.GELU()]
        return nn.Sequential(*layers, nn.Linear(64, 2))

    def batches(self):
        for x, y in super().batches():
            yield (x > 0).long(), y

    def score(self, model):
        return functional.cross_entropy(model((X_TEST > 0).long()), Y_TEST)


class Padded(Embedded):
    """Token 0 is padding, whose row no step changes."""

    def model(self):
        layers = [nn.Embedding(2, 4, padding_idx=0), nn.Flatten(), nn.Linear(64, 2)]
        return nn.Sequential(*layers)


class Regression(Small):
    """All rows at once, noise on the input, a schedule, clipping, a group without decay."""

    clip_norm = 0.5

    def model(self):
        return nn.Linear(16, 1)

    def optimizer(self, parameters):
        weight, bias = parameters
        groups = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.05, weight_decay=0.1)

    def scheduler(self, optimizer):
        return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    def batches(self):
        yield (X,)

    def loss(self, model, x):
        return ((model(x + 0.1 * torch.randn_like(x)) - x.sum(1, keepdim=True)) ** 2).mean()

    def score(self, model):
        return ((model(X_TEST) - X_TEST.sum(1, keepdim=True)) ** 2).mean()


class Images(Small):
    """Layers whose seeds become channels, and what comes to them in other shapes.

    In float64: BatchNorm makes much of rounding.
    """

    def model(self):
        return nn.Sequential(
            *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3, padding="same")),
            nn.Dropout(0.2),  # its mask is drawn in the order that one seed's tensor has
            nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
            *(nn.BatchNorm2d(4, affine=False), nn.AvgPool2d(2), nn.Conv2d(4, 4, 1)),
            *(nn.BatchNorm2d(4, track_running_stats=False), nn.AdaptiveAvgPool2d(1)),
            *(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2)),
        ).double()

    def batches(self):
        for x, y in super().batches():
            yield x.double(), y

    def score(self, model):
        return {"loss": functional.cross_entropy(model(X_TEST.double()), Y_TEST)}

    def loss(self, model, x, y):
        edges = functional.conv2d(x.view(-1, 1, 4, 4), torch.ones(1, 1, 2, 2).double())
        probabilities = functional.softmax(model(x), -1)
        wrong = functional.cross_entropy(model(x), y, label_smoothing=0.1)
        return wrong + 0.01 * edges.mean() + 0.1 * (probabilities**2).sum(1).mean()


class Residual(Small):
    """Activations in place and not, the mean of an image, all that is said of classes."""

    def model(self):
        return nn.Sequential(
            nn.Unflatten(1, (1, 4, 4)),
            *(nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True)),
            *(nn.Conv2d(4, 20, 1), nn.LeakyReLU(0.2)),
        )

    def loss(self, model, x, y):
        out = model(x).mean((2, 3))
        kept = functional.cross_entropy(out, torch.where(y == 0, -100, y))
        few = functional.cross_entropy(out[:, :3], y, reduction="none", ignore_index=1)
        few = few.square().sum() + functional.cross_entropy(out, y, reduction="sum")
        weight = torch.tensor([1.0, 2.0])
        few += functional.cross_entropy(out[:, :2], y, weight=weight, reduction="sum")
        return kept + few + functional.nll_loss(functional.log_softmax(out, 1), y, ignore_index=0)

    def score(self, model):
        return {"loss": functional.cross_entropy(model(X_TEST).mean((2, 3)), Y_TEST)}


class Halved(Small):
    def loss(self, model, x, y):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return functional.cross_entropy(model(x), y)


class Draws(Small):
    """Random numbers on the way: what is drawn then is drawn after the masks before it."""

    def batches(self):
        for _ in range(3):
            rows = torch.randint(0, len(X), (16,))
            yield X[rows] + 0.1 * torch.randn(16, 16), Y[rows]


class Together(Small):
    """All at the beginning of an epoch, by several functions."""

    def batches(self):
        rows = torch.randperm(len(X))[:32]
        noise, shift, times = torch.randn_like(X), torch.rand(2), torch.randint(1, 3, (2,))
        for part in rows.chunk(2):
            yield X[part] + 0.1 * noise[part] + shift[0], Y[part], times

    def loss(self, model, x, y, times):
        return super().loss(model, x, y) * times.sum()


class Loader(Small):
    def batches(self):
        data = torch.utils.data.TensorDataset(X, Y)
        return torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)


class Annealed(Small):
    """It counts its epochs, and its loss reads the count; from the third on it is another."""

    epochs = 5

    def model(self):
        self.epoch = 0
        return super().model()

    def batches(self):
        self.epoch += 1
        return super().batches()

    def loss(self, model, x, y):
        return super().loss(model, x, y) * (1 if self.epoch < 3 else 5)


class Growing(Annealed):
    """Other batches from epoch to epoch."""

    def batches(self):
        self.epoch += 1
        for rows in torch.randperm(len(X)).split(4 * self.epoch):
            yield X[rows], Y[rows]


class Scaled(nn.Sequential):
    factor = 1

    def forward(self, x):
        return super().forward(x) * self.factor


class Scaling(Small):
    """From the third epoch on, an attribute of its model is another one."""

    epochs = 5

    def model(self):
        self.epoch, self.net = 0, Scaled(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
        return self.net

    def batches(self):
        self.epoch += 1
        self.net.factor = 1 if self.epoch < 3 else 5
        return super().batches()


class Tilted(Small):
    """Clipped gradients, one of them of a single number."""

    clip_norm = 0.5

    def model(self):
        return Tilt(*super().model())


class Tilt(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        self.scale = nn.Parameter(torch.rand(()))

    def forward(self, x):
        return super().forward(x) * self.scale


class OneEpoch(Small):
    """Two steps, fewer than are compared."""

    epochs = 1

    def batches(self):
        for rows in torch.randperm(len(X)).split(20):
            yield X[rows], Y[rows]


class TwoSteps(Small):
    epochs = 2

    def batches(self):
        rows = torch.randperm(len(X))
        yield X[rows], Y[rows]


class NoisyScore(OneEpoch):
    """Its score draws random numbers."""

    def score(self, model):
        return {**super().score(model), "noise": torch.rand(())}


KINDS = [Small, Convolution, built("ChannelsLast", _channels_last), Attention, Embedded]
KINDS += [Padded]
KINDS += [Regression, Images, Residual, Halved, Draws, Together, Loader, Annealed, Growing, Scaling]
KINDS += [Tilted, OneEpoch, TwoSteps, NoisyScore]
CLOSE = {Images: 1e-7, Halved: 0.05}


@pytest.fixture
def trusted(monkeypatch):
    """All seeds are in one stack, whether it pays or not, and none is trained alone too."""
    monkeypatch.setattr(vectorized, "AT_FIRST", 0)
    monkeypatch.setattr(vectorized, "drawn", lambda *_: [])
    monkeypatch.setattr(Pilot, "measure", lambda *_: None)
    monkeypatch.setattr(Pilot, "stacks", lambda pilot, seeds: seeds if pilot.reason else 1)


def _same(stacked, alone, rtol=1e-4):
    assert len(stacked) == len(alone)
    for found, expected in zip(stacked, alone, strict=True):
        one, other = (v if isinstance(v, dict) else {"value": v} for v in (found, expected))
        assert one == pytest.approx(other, rel=rtol, abs=1e-7)


def _check(*groups, rtol=1e-4):
    """That the seeds of a stack come to what each comes to in the loop."""
    *_, (_, scores) = trained_as_one(groups)
    _same(scores, [training.run(seed) for training, seeds in groups for seed in seeds], rtol)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_is_the_loop(kind):
    training = kind({})
    pilot = pilot_of(training, SEEDS)
    assert pilot.reason == ""
    stack = Stack([(training, SEEDS)], at_once=pilot.at_once)
    for _ in range(training.epochs):
        losses = list(stack.epoch())
    assert stack.batches.at_once == (kind not in (Draws, Loader))
    _same(stack.scores(), [training.run(seed) for seed in SEEDS], CLOSE.get(kind, 1e-4))
    assert all(len(set(step.tolist())) == len(SEEDS) for step in losses)


def test_a_training_of_no_epochs_is_the_loop():
    kind = type("NoEpoch", (Small,), {"epochs": 0})
    whole = kind.run_all([(kind({}), SEEDS)])
    [found], said = whole.scores, whole.sentence
    assert said == f"a training without a step is not stacked: {LOOP}"
    _same(found, [kind({}).run(seed) for seed in SEEDS])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_elementwise_optimizer_steps_a_stack_as_it_steps_one_model(name):
    _check((Small({"optimizer": name}), SEEDS), rtol=1e-3)


def test_weights_and_states_of_generators_are_those_of_a_plain_script_to_the_bit():
    stack = Stack([(Small({}), SEEDS)])
    start = {name: weight.detach().clone() for name, weight in stack.parameters.items()}
    next(stack.epoch())
    for row, seed in enumerate(SEEDS):
        torch.manual_seed(seed)
        for name, weight in Small({}).model().named_parameters():
            assert torch.equal(start[name][row], weight), name
        torch.randperm(len(X))
        nn.Dropout(0.2)(torch.ones(16, 8))
        assert torch.equal(stack.states[row], torch.get_rng_state())


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.lstm(x.view(-1, 4, 4))[0][:, -1])


WithLstm = built("WithLstm", Lstm)


class WithItem(Small):
    def loss(self, model, x, y):
        loss = super().loss(model, x, y)
        self.last = loss.item()
        return loss


class Branches(nn.Sequential):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


class WithRun(Small):
    def run(self, seed, report=None):  # noqa: ARG002  # as it is called
        return {"accuracy": 1.0, "loss": float(seed % 7)}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (WithLstm, "aten::lstm"),
        (WithItem, "calling .item()"),
        (built("WithBranches", lambda: Branches(nn.Linear(16, 2))), "data-dependent control flow"),
        (WithRun, "has a run of its own"),
    ],
)
def test_what_cannot_be_stacked_is_trained_by_the_loop_which_says_why(kind, reason):
    training = kind({})
    pilot = pilot_of(training, SEEDS)
    assert reason in pilot.reason
    assert LOOP in pilot.reason
    assert pilot.stacks(1000) == 1000


class KeptModel(Small):
    """The model that `model` keeps is the one that is scored."""

    def model(self):
        self.net = super().model()
        return self.net

    def score(self, model):  # noqa: ARG002  # as it is called
        return super().score(self.net)


class Counted(Annealed):
    def score(self, model):
        return {**super().score(model), "epoch": self.epoch}


@pytest.mark.parametrize("kind", [KeptModel, Counted])
def test_what_a_training_keeps_of_its_own_is_that_of_the_seed_that_is_scored(kind):
    _check(*((kind({"lr": lr}), SEEDS[: 2 + i]) for i, lr in enumerate((0.01, 0.1))))


def test_run_seeds_gives_arrays_of_the_seeds():
    found = Small({}).run_seeds(range(5))
    assert {name: array.shape for name, array in found.items()} == {"accuracy": (5,), "loss": (5,)}
    alone = [Small({}).run(seed) for seed in range(5)]
    np.testing.assert_allclose(found["loss"], [one["loss"] for one in alone], rtol=1e-4)
    assert Embedded({}).run_seeds([3, 4]).shape == (2,)


@pytest.mark.parametrize(("stacks", "parts"), [(1, [[0, 1, 2]]), (2, [[0], [1, 2]])])
@pytest.mark.usefixtures("trusted")
def test_run_seeds_reports_whose_scores_it_has(stacks, parts, monkeypatch):
    monkeypatch.setattr(Pilot, "stacks", lambda *_: stacks)
    told = []
    Stepwise({}).run_seeds(range(3), lambda seeds, scores: told.append((seeds, scores)))
    assert [seeds for seeds, _ in told] == [part for part in parts for _ in range(2)]
    ways = {seed: [] for seed in range(3)}
    for seeds, scores in told:
        assert scores["loss"].shape == (len(seeds),)
        for seed, loss in zip(seeds, scores["loss"], strict=True):
            ways[seed].append({"loss": float(loss)})
    for seed, way in ways.items():
        alone = []
        Stepwise({}).run(seed, lambda score, alone=alone: alone.append({"loss": score["loss"]}))
        _same(way, alone)


def test_run_seeds_without_seeds_is_refused():
    with pytest.raises(xt.InputError, match=r"seeds: there are none; allowed: one or more seeds"):
        Small({}).run_seeds([])


class Diverging(Small):
    """Seeds below 2 get a weight of infinity."""

    def model(self):
        model = super().model()
        if torch.initial_seed() < 2:
            nn.init.constant_(model[0].weight, math.inf)
        return model


class Raising(Small):
    def model(self):
        if torch.initial_seed() == 1:
            raise ValueError("no luck with seed 1")
        return super().model()

    def score(self, model):
        if torch.initial_seed() == 2:
            sys.exit("seed 2 leaves")
        if torch.initial_seed() == 3:
            raise GeneratorExit
        return super().score(model)


def _trainer(kind, success="loss <= 0.7"):
    return custom_trainer(given_source(kind), parse_success(success))


def _trained(kind, count=4):
    return _trainer(kind).train([Block(Point({"lr": 0.01}), 0, count)])[0]


def test_seeds_that_diverge_do_not_touch_the_others():
    outcome = _trained(Diverging)
    assert [Status(s) == Status.DIVERGED for s in outcome.status] == [True, True, False, False]
    alone = [Diverging({"lr": 0.01}).run(seed)["loss"] for seed in (2, 3)]
    np.testing.assert_allclose(outcome.details.values["loss"][2:], alone, rtol=1e-4)


def test_a_seed_that_raises_or_exits_crashes_alone():
    outcome = _trained(Raising, count=5)
    assert [Status(s) == Status.CRASHED for s in outcome.status] == [False, True, True, True, False]
    assert outcome.details.failed[1] == "ValueError: no luck with seed 1"
    with pytest.raises(ValueError, match="seed 1"):
        Raising({}).run_seeds(range(2))


def test_a_trainer_of_it_counts_what_a_function_counts_and_says_how_it_trained():
    def loop(config, seed):
        return Small(config).run(seed)

    outcome = _trained(Small, count=12)
    np.testing.assert_array_equal(outcome.status, _trained(loop, count=12).status)
    assert 0 < outcome.successes < 12
    assert outcome.details.note == "the seeds of a block are trained as one"
    assert "TorchTraining" in _trainer(Small).form.description


def test_configurations_that_differ_in_their_optimizers_share_a_stack():
    """Each is what it is alone; what no optimizer holds as a number makes another stack."""
    groups = [
        (Small({"lr": lr, "optimizer": "Adam"}), [3, 4 + i]) for i, lr in enumerate((0.1, 0.7))
    ]
    assert pilot_of(*groups[0]) is pilot_of(*groups[1])
    _check(*groups)
    other = Small({"lr": 0.1, "optimizer": "SGD"})
    assert pilot_of(other, SEEDS) is not pilot_of(*groups[0])

    class Wide(Small):
        def model(self):
            width = self.config["width"]
            return nn.Sequential(nn.Linear(16, width), nn.Linear(width, 2))

        def optimizer(self, parameters):
            betas = self.config["beta"], 0.99
            return torch.optim.Adam(parameters, lr=self.config["lr"], betas=betas)

        def scheduler(self, optimizer):
            return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=self.config["gamma"])

        def loss(self, model, x, y):
            return super().loss(model, x, y) * self.config["weight"]

    usual = {"lr": 0.1, "width": 4, "weight": 1.5, "beta": 0.8, "gamma": 0.6}

    def pilot(**config):
        return pilot_of(Wide({**usual, **config}), SEEDS)

    assert pilot() is pilot(lr=0.2) is pilot(beta=0.7, gamma=0.5)
    assert pilot() is not pilot(width=5)
    assert pilot() is not pilot(weight=2.0), "what the loss reads is no number of the optimizer"
    assert pilot() is not pilot(lr=1.5), "which of two equal numbers the optimizer has is unknown"
    assert Wide(usual).stacking().apart == {"width", "weight"}


class Stepwise(Small):
    epochs, report_every = 6, 2


def test_a_block_that_is_cancelled_on_its_way_ends_alone():
    trainer = _trainer(Stepwise)
    blocks = [Block(Point({"lr": lr}), 0, 3) for lr in (0.001, 0.01)]
    with cancelling_if(lambda block: block == blocks[0]):
        ended, other = trainer.train(blocks)
        [alone] = trainer.train([blocks[0]])
    assert (type(ended), type(alone), other.n) == (Unfinished, Unfinished, 3)


@pytest.mark.usefixtures("trusted")
def test_a_stack_that_takes_longer_than_its_seeds_may_trains_each_of_them_alone(monkeypatch):
    # The stack's begin and first report, and of seed after seed the begin, two reports, the end.
    times = [0, 9, *[9, 9, 9, 10], *[20, 23], *[23, 24, 24, 24]]
    clock = SimpleNamespace(monotonic=iter(times).__next__)
    monkeypatch.setattr(vectorized, "time", clock)
    trainer = custom_trainer(given_source(Stepwise), parse_success("loss >= 0"), limit=2.0)
    [outcome] = trainer.train([Block(Point({"lr": 0.01}), 0, 3)])
    assert outcome.details.failed == {1: "took longer than 2 s"}
    assert (outcome.successes, outcome.n) == (2, 3)
    [curves] = outcome.details.curves
    assert (curves.seed.tolist(), curves.report.tolist()) == ([0, 0, 2, 2], [1, 2, 1, 2])


@pytest.mark.usefixtures("trusted")
def test_the_last_seed_of_a_stack_that_trains_again_reports_from_the_start(monkeypatch):
    """The others were pruned and have left: reports of before would tell of other epochs."""

    monkeypatch.setattr(Pruning, "is_trained_on", lambda *given: given[-1] == 7)
    monkeypatch.setattr(Pruning, "of_seed", lambda _: lambda *_: True)
    trainer = replace(_trainer(FailsLate), on="loss")
    [outcome] = trainer.train([Block(Point({"lr": 0.01}), 6, 2, Pruning("loss", 0, b""))])
    assert outcome.details.failed == {7: "ValueError: no fourth epoch"}
    assert outcome.details.pruned == {6: 1}
    assert reports_of(outcome.details, "loss")[7][0] == [1]


@pytest.mark.usefixtures("trusted")
def test_what_the_seeds_of_a_stack_report_together_is_heard_as_their_medians():
    trainer = _trainer(Stepwise)
    blocks = [Block(Point({"lr": lr}), 4, 3) for lr in (0.001, 0.01)]
    heard = []
    with hearing_reports(lambda *told: heard.append((told[0], told[1].count, told[1].medians))):
        outcomes = trainer.train(blocks)
    for block, outcome in zip(blocks, outcomes, strict=True):
        told = [(count, numbers) for one, count, numbers in heard if one == block]
        curves = [curve.points() for curve in outcome.details.curves]
        for count, numbers in told:
            rows = np.concatenate([one.values[one.report == count] for one in curves])
            names = curves[0].names
            assert numbers == pytest.approx(dict(zip(names, np.median(rows, 0), strict=True)))
        assert [count for count, _ in told] == [1, 2]


@pytest.mark.parametrize(
    ("seconds", "seeds", "timed"),
    [
        ({2: 5.0, 16: 1.0, 64: 0.5, 128: 0.4}, 128, [2, 16, 64, 128]),
        ({2: 5.0, 16: 0.4, 64: 0.5}, 128, [2, 16, 64]),
        ({2: 5.0, 16: 0.4, 30: 0.3}, 30, [2, 16, 30]),  # all seeds, if they are many more
        ({2: 5.0, 16: 0.4}, 20, [2, 16]),
    ],
)
def test_wider_stacks_are_timed_as_long_as_they_gain(seconds, seeds, timed, monkeypatch):
    asked = []

    def second_of_seed(pilot, _, width):
        asked.append(width)
        pilot.stacked[width] = seconds[width]
        return seconds[width]

    monkeypatch.setattr(Pilot, "_seconds_of_seed", second_of_seed)
    Pilot(()).measure(None, seeds)
    assert asked == timed


def test_no_wider_stack_is_tried_than_one_for_which_memory_is_too_little(monkeypatch):
    asked = []

    def second_of_seed(pilot, _, width):
        asked.append(width)
        pilot.stacked[width] = math.inf
        return math.inf

    monkeypatch.setattr(Pilot, "_seconds_of_seed", second_of_seed)
    pilot = Pilot((), loop=10.0)
    pilot.measure(None, 300)
    assert asked == [2]
    assert pilot.sentence == f"a stack of seeds takes more memory than there is: {LOOP}"


@pytest.mark.parametrize(
    ("seconds", "seeds", "stacks"),
    [
        ({2: 5.0, 16: 1.0, 64: 0.5}, 64, 1),
        ({2: 5.0, 16: 1.0, 64: 0.5}, 30, 1),  # 22.9 s a step in one stack, 15 each in two
        ({2: 5.0, 16: 1.0, 64: 0.5}, 300, 5),
        ({2: 5.0, 16: 1.0, 64: 2.0}, 64, 4),
        ({2: 50.0}, 2, 2),  # the loop
        ({2: 50.0, 16: 20.0}, 16, 16),
        ({2: 5.0, 16: math.inf}, 16, 8),
    ],
)
def test_seeds_are_put_into_as_many_stacks_as_are_fastest(seconds, seeds, stacks):
    assert Pilot((), loop=10.0, stacked=seconds).stacks(seeds) == stacks


def test_the_user_is_told_of_stacks_only_where_they_are_faster():
    assert "as one" in Pilot((), loop=10.0, stacked={2: 5.0}).sentence
    assert "as one" in Pilot((), loop=10.0).sentence  # nothing was timed yet
    assert LOOP in Pilot((), loop=10.0, stacked={2: 50.0, 16: 20.0}).sentence


class DrawsLater(Small):
    """From the second epoch on it draws for each batch, and in the third its loss is another."""

    epochs = 4

    def model(self):
        self.epoch = -1
        return super().model()

    def batches(self):
        self.epoch += 1
        for x, y in super().batches():
            yield (x + torch.rand_like(x) if self.epoch else x), y

    def loss(self, model, x, y):
        return super().loss(model, x, y) * (1 if self.epoch < 2 else 5)


@pytest.mark.usefixtures("trusted")
def test_batches_that_cannot_be_made_at_once_later_are_made_in_turn():
    with pytest.raises(NotAtOnce):
        _check((DrawsLater({}), SEEDS))
    whole = DrawsLater.run_all([(DrawsLater({}), SEEDS)])
    [found], said, [told] = whole.scores, whole.sentence, whole.audits
    _same(found, [DrawsLater({}).run(seed) for seed in SEEDS])
    assert said == "the seeds of a block are trained as one"
    assert told.stacked == len(SEEDS)
    assert not pilot_of(DrawsLater({}), SEEDS).at_once


class FailsLate(Counted):
    report_every = 3

    def batches(self):
        if self.epoch == 3:
            raise ValueError("no fourth epoch")
        return super().batches()


@pytest.mark.usefixtures("trusted")
def test_the_only_seed_left_in_a_stack_may_fail():
    groups = [(FailsLate({}), SEEDS)]
    [found] = FailsLate.run_all(groups, report=lambda _, seeds, *__: set(seeds) - {7}).scores
    assert [type(one) for one in found] == [Pruned, Pruned, ValueError, Pruned]


@pytest.mark.parametrize("kind", [Small, Convolution, Attention])
def test_repeated_operations_give_what_vmap_gives_to_the_bit(kind):
    stack, other = (Stack([(kind({}), SEEDS)], repeats=repeats) for repeats in (True, False))
    for _ in range(3):
        for losses, others in zip(stack.epoch(), other.epoch(), strict=True):
            assert torch.equal(losses, others)
    for name, buffer in stack.buffers.items():
        assert torch.equal(buffer, other.buffers[name]), name
    assert len(stack._steps._programs) == 2  # for batches of 16 and of 8
    assert not other._steps._programs


@pytest.mark.parametrize(
    ("seconds", "width"),
    [
        ({2: 5.0, 16: 1.0, 64: 0.6, 128: 0.53}, 64),  # a further one takes 0.43, 0.47, then 0.46
        ({2: 5.0, 16: 1.0, 64: 0.69, 128: 0.5, 256: 1.0}, 128),
        ({2: 5.0, 16: 1.0, 64: 0.8, 128: 0.5}, 16),
        ({2: 50.0, 16: 6.0, 64: 7.0}, 1),  # the loop is about as fast
    ],
)
def test_a_stack_is_cheap_as_long_as_it_takes_little_more_than_a_narrow_one(seconds, width):
    assert Pilot((), loop=10.0, stacked=seconds).cheap(Small({})) == width
    assert Pilot((), loop=10.0, stacked=seconds, reason="no rule").cheap(Small({})) == 1


def test_no_stack_and_no_seed_begins_when_the_time_is_over():
    with ending_at(time.time() - 1):
        ended = _trained(WithLstm)
    assert (type(ended), ended.outcome) == (OutOfTime, None)


@pytest.mark.usefixtures("trusted")
def test_a_seed_that_left_before_one_that_nobody_trains_has_no_result(monkeypatch):
    """The second seed leaves, the stack is refused later, and the time is over by then."""
    over = []
    monkeypatch.setattr("xortune.trainers.vectorized.time_is_over", lambda: bool(over))

    def report(_, seeds, *__):
        if len(seeds) == len(SEEDS):
            return {SEEDS[1]}
        over.append(True)
        raise CannotStack("late")

    training = Small({})
    training.report_every = 1
    [found] = Small.run_all([(training, SEEDS)], report=report).scores
    assert found == []


def test_an_incomplete_training_is_refused_with_what_is_missing():
    class Bare(xt.TorchTraining):
        def model(self):
            return nn.Linear(1, 1)

    class Two(Small):
        def __init__(self, config, more):
            super().__init__(config)
            self.more = more

    with pytest.raises(xt.InputError, match="without batches, loss, optimizer, score"):
        custom_trainer(given_source(Bare), None)
    with pytest.raises(xt.InputError, match=r"super\(\).__init__\(config\)"):
        custom_trainer(given_source(Two), None)


def changing(name, change) -> type[Small]:
    """A training of which one method gives something else."""
    method = getattr(Small, name)
    return type("Mine", (Small,), {name: lambda self, *args: change(method(self, *args))})


WRONG = [
    (
        "loss",
        lambda loss: loss.item(),
        "Mine.loss: returned a float; allowed: a tensor of one number",
    ),
    ("loss", lambda _: None, "Mine.loss: returned nothing; .*fix: end it with `return`"),
    ("loss", lambda loss: loss.detach(), "Mine.loss: returned a Tensor without a gradient"),
    ("loss", lambda loss: loss * torch.ones(3), r"Mine.loss: returned a Tensor of shape \(3,\)"),
    ("batches", lambda _: [X], "Mine.batches: yielded a Tensor .*write `yield x, y`"),
    ("batches", lambda _: [{"x": X}], "Mine.batches: yielded a dict; allowed: tuples"),
    ("batches", lambda _: None, "Mine.batches: returned nothing"),
    ("score", lambda _: X[0], r"Mine.score: returned a Tensor of shape \(16,\); allowed: true or"),
    ("score", lambda _: {"accuracy": X}, "Mine.score: .* as 'accuracy'; allowed"),
    ("score", lambda _: {"accuracy": None}, "Mine.score: returned nothing as 'accuracy'"),
    ("score", lambda _: None, "Mine.score: returned nothing; .*fix: end it with `return`"),
    ("model", lambda _: None, "Mine.model: returned nothing; allowed: a new torch.nn.Module"),
    ("optimizer", lambda _: None, "Mine.optimizer: returned nothing"),
]


@pytest.mark.parametrize(("name", "change", "words"), WRONG)
def test_a_method_that_gives_something_else_is_refused_in_a_sentence_that_names_it(
    name, change, words
):
    kind = changing(name, change)
    with pytest.raises(xt.InputError, match=words):
        kind({}).run(0)
    with pytest.raises(xt.InputError, match=words):
        kind({}).run_seeds(range(3))
    with pytest.raises(xt.InputError, match=words):
        xt.evaluate({"lr": 0.1}, range(3), train=kind, success="accuracy >= 0.1", workers=0)


def test_a_training_says_how_many_epochs_it_has():
    class Bare(xt.TorchTraining):
        model, optimizer, batches = Small.model, Small.optimizer, Small.batches
        loss, score = Small.loss, Small.score

    with pytest.raises(xt.InputError, match=r"Bare.epochs: is not set; .*write `epochs = 20`"):
        Bare({}).run(0)
    training = Bare({})
    training.epochs = 3.0
    with pytest.raises(xt.InputError, match=r"Bare.epochs: is 3.0; allowed: a whole number"):
        training.run_seeds(range(3))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("report_every", 0, "is 0; allowed: a positive whole number of epochs, or None"),
        ("report_every", 2.5, "is 2.5"),
        ("clip_norm", 0, "is 0; allowed: a positive number, or None"),
        ("clip_norm", "1", "is '1'"),
    ],
)
def test_attributes_that_a_loop_cannot_use_are_refused(name, value, words):
    for train in (lambda one: one.run(0), lambda one: one.run_seeds(range(3))):
        training = Small({"lr": 0.1})
        setattr(training, name, value)
        with pytest.raises(xt.InputError, match=rf"Small.{name}: {words}"):
            train(training)


@pytest.mark.parametrize("made", [dict, lambda config: SimpleNamespace(**config)])
def test_a_training_may_keep_its_parameters_in_another_object(made):
    class Own(Small):
        def __init__(self, config):
            super().__init__(config)
            self.config = made({**config, "lr": config["lr"] / 2})

        def optimizer(self, parameters):
            lr = self.config["lr"] if made is dict else self.config.lr
            return torch.optim.SGD(parameters, lr=lr)

    alone = [float(Own({"lr": 0.2}).run(seed)["loss"]) for seed in range(3)]
    together = Own({"lr": 0.2}).run_seeds(range(3))["loss"]
    assert together.tolist() == pytest.approx(alone, rel=1e-4)
    assert Own({"lr": 0.2}).stacking().apart == {"lr"}, "what is read of it is unknown"


def test_a_training_without_its_parameters_is_refused():
    class Lost(Small):
        def __init__(self, config):
            self.own = config

    with pytest.raises(xt.InputError, match=r"Lost.config: is not set; .*super\(\).__init__"):
        Lost({"lr": 0.2}).run_seeds(range(3))


def test_a_method_that_gives_something_else_for_one_seed_is_its_failure_alone():
    outcome = _trained(changing("loss", lambda loss: loss if torch.initial_seed() != 1 else None))
    assert (outcome.status == Status.CRASHED).tolist() == [False, True, False, False]
    assert outcome.details.failed[1].startswith("Mine.loss: returned nothing")


class KeptNet(Small):
    """Each seed goes on with the weights of the one before."""

    def __init__(self, config):
        super().__init__(config)
        self.net = Small.model(self)

    def model(self):
        return self.net


class KeptLayer(KeptNet):
    def model(self):
        return nn.Sequential(nn.Linear(16, 16), self.net)


class KeptOptimizer(Small):
    kept = None

    def optimizer(self, parameters):
        self.kept = self.kept or super().optimizer(parameters)
        return self.kept


class KeptSchedule(Small):
    kept = None

    def scheduler(self, optimizer):
        self.kept = self.kept or torch.optim.lr_scheduler.StepLR(optimizer, 1)
        return self.kept


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (KeptNet, r"model\(\) must build a new model: two calls returned the same"),
        (KeptLayer, r"model\(\) must build a new model"),
        (
            KeptOptimizer,
            r"optimizer\(\) must build a new optimizer: two calls returned the same",
        ),
        (KeptSchedule, r"scheduler\(\) must build a new scheduler"),
    ],
)
def test_a_training_whose_seeds_go_on_with_those_before_is_refused(kind, words):
    with pytest.raises(xt.InputError, match=words):
        kind({}).run_seeds([0])


def test_every_verb_refuses_it():
    success, words = "accuracy >= 0.1", r"scheduler\(\) must build a new scheduler"
    given = {"train": KeptSchedule, "success": success}
    with pytest.raises(xt.InputError, match=words):
        xt.evaluate({"lr": 0.1}, range(3), **given)
    with pytest.raises(xt.InputError, match=words):
        xt.gate({"lr": 0.1}, min_rate=0.5, **given, workers=0)
    space = {"name": "kept", "success": success, "parameters": {"lr": {"value": 0.1}}}
    space |= {"search": {"sampler": "random", "trials": 1}, "seeds": {"ladder": [2]}}
    with pytest.raises(xt.InputError, match=words):
        xt.search(space, train=KeptSchedule, workers=0)


def test_seeds_may_share_what_no_training_changes():
    class Pretrained(Small):
        def __init__(self, config):
            super().__init__(config)
            self.layer = nn.Linear(16, 16).requires_grad_(False)  # torch's own

        def model(self):
            return nn.Sequential(self.layer, super().model())

    training = Pretrained({})
    found = training.run_seeds(SEEDS)["loss"]
    alone = [training.run(seed)["loss"] for seed in SEEDS]
    assert found.tolist() == pytest.approx(alone, rel=1e-4)


class Uneven(DrawsLater):
    """From the second epoch on a seed may have a batch more than another one."""

    loss = Small.loss

    def batches(self):
        self.epoch += 1
        yield from Small.batches(self)
        if self.epoch and torch.rand(()) < 0.5:
            yield X, Y


@pytest.mark.usefixtures("trusted")
def test_a_stack_that_is_refused_late_is_not_trained_again_in_halves(monkeypatch):
    stacks, seeds = [], list(range(8))

    def noted(groups, **options):
        stacks.append([list(seeds) for _, seeds in groups])
        return trained_as_one(groups, **options)

    monkeypatch.setattr(vectorized, "trained_as_one", noted)
    whole = Uneven.run_all([(Uneven({}), seeds)])
    [found], said = whole.scores, whole.sentence
    _same(found, [Uneven({}).run(seed) for seed in seeds])
    assert stacks == [[seeds]] * 2, "with batches made at once, then in turn"
    assert said == f"seeds have different numbers of batches: {LOOP}"


@pytest.mark.parametrize("counts", [(3, 2), (1,)])
def test_the_way_of_each_seed_is_that_of_the_loop(counts):
    """Of two configurations in one stack, and of a seed that is trained alone."""
    trainer = _trainer(Stepwise, "accuracy >= 0.1")
    blocks = [Block(Point({"lr": 0.01 * (i + 1)}), 5 * i, n) for i, n in enumerate(counts)]
    for block, outcome in zip(blocks, trainer.train(blocks), strict=True):
        [found] = outcome.details.curves
        assert found.names == ("accuracy", "loss")
        for seed in block.seeds:
            told = []
            Stepwise(block.point.as_dict()).run(seed, told.append)
            mine = found.values[found.seed == seed]
            assert mine.shape == (2, 2)  # after epochs 2 and 4; the last is the outcome
            expected = [[float(one["accuracy"]), float(one["loss"])] for one in told]
            np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)


def test_batches_that_take_too_much_memory_at_once_are_made_one_after_the_other(monkeypatch):
    monkeypatch.setattr("xortune.trainers.epoch_batches.BATCHES_BYTES", 4 * X.nbytes)
    with pytest.raises(NotAtOnce, match="too much memory"):
        list(Stack([(Small({}), SEEDS)]).epoch())
    stack = Stack([(Small({}), SEEDS)], at_once=False)
    for _ in range(Small.epochs):
        list(stack.epoch())
    _same(stack.scores(), [Small({}).run(seed) for seed in SEEDS])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("compiled", [True, False])
def test_masks_are_drawn_as_torch_draws_them(dtype, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr("xortune.trainers.kernels.draws._draws_masks_as_torch", lambda: False)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    states = torch.stack([generator.get_state() for generator in generators])
    for count in (1, 311, 1, 624, 1000):
        found = SeedDraw("bernoulli", (count,), (0,), dtype, (0.3,)).make(states)
        for row, generator in zip(found, generators, strict=True):
            mask = torch.empty(count, dtype=dtype).bernoulli_(0.3, generator=generator)
            assert torch.equal(row, mask.div_(0.3))
    assert torch.equal(states, torch.stack([generator.get_state() for generator in generators]))


class Grouped(Small):
    """Its optimizer has a group for each parameter, and a schedule."""

    def optimizer(self, parameters):
        name, *options = self.config["optimizer"]
        groups = zip(parameters, itertools.cycle(options), strict=False)
        groups = [{"params": [parameter], **more} for parameter, more in groups]
        return getattr(torch.optim, name)(groups, lr=0.02)

    def scheduler(self, optimizer):
        return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)


@pytest.mark.parametrize("blocks", [1, 2**16])
@pytest.mark.parametrize(
    ("optimizer", "at_once"),
    [
        (["AdamW", {}, {"weight_decay": 0.3, "betas": (0.3, 0.9)}], True),
        (["Adam", {"weight_decay": 0.1}, {"eps": 0.1, "lr": 1}], True),
        (["Adam", {}, {"amsgrad": True}], False),
        (["SGD", {"momentum": 0.9}, {"weight_decay": 0.1}, {"momentum": 0.5}], True),
        (["SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}], True),
        (["SGD", {"momentum": 0.9, "dampening": 0.5}], False),
        (["RMSprop", {"alpha": 0.9}, {"momentum": 0.9, "weight_decay": 0.1}], True),
        (["RMSprop", {"centered": True}], False),
        (["Adagrad", {}], False),
    ],
)
def test_the_optimizers_of_a_stack_step_as_the_loop_s_to_the_bit(
    optimizer, at_once, blocks, monkeypatch
):
    monkeypatch.setattr(steps, "NUMBERS_AT_ONCE", blocks)
    other = [optimizer[0], {"weight_decay": 0.01}]
    groups = [
        (Grouped({"optimizer": optimizer}), [3, 4, 5]),
        (Grouped({"optimizer": other}), [3, 9]),
    ]
    whole, gradients = Stack(groups), []
    assert isinstance(whole._optimizer, steps.StackOptimizer) == at_once
    step = whole._optimizer.step

    def noted(found):
        gradients.append(copy.deepcopy(found))
        step(found)

    monkeypatch.setattr(whole._optimizer, "step", noted)
    alone = []
    for row, own_optimizer in enumerate([*[optimizer] * 3, other, other]):
        weights = {name: nn.Parameter(one[row].clone()) for name, one in whole.parameters.items()}
        training = Grouped({"optimizer": own_optimizer})
        own = training.optimizer(weights.values())
        alone.append((weights, own, training.scheduler(own)))
    for _ in range(2):
        list(whole.epoch())
        for row, (weights, own, scheduler) in enumerate(alone):
            for found in gradients:
                for name, parameter in weights.items():
                    parameter.grad = found[name][row].clone()
                own.step()
            scheduler.step()
        gradients.clear()
    for row, (weights, *_) in enumerate(alone):
        for name, parameter in weights.items():
            assert torch.equal(parameter, whole.parameters[name][row])


def test_a_parameter_without_a_gradient_is_not_stepped():
    weights = {name: torch.ones(2, 3) for name in "ab"}
    optimizer = torch.optim.AdamW([torch.zeros(3)], weight_decay=0.1)
    whole = steps.StackOptimizer([optimizer], weights, [{"a": 0, "b": 0}], [2])
    whole.step({"a": torch.ones(2, 3), "b": None})
    whole.step({"a": torch.ones(2, 3), "b": torch.ones(2, 3)})
    alone = nn.Parameter(torch.ones(3))
    alone.grad, optimizer = torch.ones(3), torch.optim.AdamW([alone], weight_decay=0.1)
    for name in "ba":
        optimizer.step()
        assert torch.equal(weights[name][0], alone)
