"""Kinds of trainings that a stack may train otherwise than a loop; see `test_audit`.

Each says by `stacks` whether a stack is expected to give the same as the loop.
"""

import functools
import itertools
import os
import random
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import xortune as xt


def _rows(count, seed):
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))


X, X_TEST = _rows(40, 0), _rows(60, 1)
Y, Y_TEST = (X.sum(1) > 0).long(), (X_TEST.sum(1) > 0).long()


class Plain(xt.TorchTraining):
    """Reports after each epoch; an epoch has two steps of 16 and one of 8."""

    epochs, report_every, stacks = 5, 1, True

    def model(self):
        return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    def optimizer(self, parameters):
        return torch.optim.Adam(parameters, lr=0.01)

    def batches(self):
        for rows in torch.randperm(len(X)).split(16):
            yield X[rows], Y[rows]

    def loss(self, model, x, y):
        return functional.cross_entropy(model(x), y)

    def score(self, model):
        return {"loss": functional.cross_entropy(model(X_TEST), Y_TEST)}


# -------------------------------------------------------------------------------------------------
# State of the model's own that `eval` changes.


class Lora(nn.Module):
    """Merges its update into the weight for evaluation, as libraries do."""

    def __init__(self, n, m):
        super().__init__()
        self.base = nn.Linear(n, m)
        self.base.weight.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(2, n) / 4), nn.Parameter(torch.zeros(m, 2))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            sign = -1 if mode else 1
            self.base.weight.data += sign * (self.b @ self.a).data
            self.merged = not mode
        return self

    def forward(self, x):
        return self.base(x) if self.merged else self.base(x) + x @ self.a.T @ self.b.T


class MergedOnce(Lora):
    """Never undoes it: each evaluation adds the update again."""

    def train(self, mode=True):
        nn.Module.train(self, mode)
        if not mode:
            self.base.weight.data += 0.1 * (self.b @ self.a).data
        return self


class Normalised(nn.Linear):
    """Keeps the normalised weight of an evaluation until it trains again."""

    kept = None

    def train(self, mode=True):
        self.kept = None if mode else functional.normalize(self.weight.detach())
        return super().train(mode)

    def forward(self, x):
        weight = functional.normalize(self.weight) if self.kept is None else self.kept
        return functional.linear(x, weight, self.bias)


class NeverRenewed(Normalised):
    """Keeps that of the first evaluation."""

    def train(self, mode=True):
        if not mode and self.kept is None:
            self.kept = functional.normalize(self.weight.detach())
        return nn.Module.train(self, mode)

    def forward(self, x):
        return functional.linear(x, self.weight if self.training else self.kept, self.bias)


class CountsEvaluations(nn.Linear):
    count = 0

    def train(self, mode=True):
        self.count += not mode
        return super().train(mode)

    def forward(self, x):
        return super().forward(x) * (1 + self.count)


def with_layer(layer, name=None, **more):
    def model(self):  # as it is called
        return nn.Sequential(layer(16, 8), nn.ReLU(), nn.Linear(8, 2))

    return type(name or layer.__name__, (Plain,), {"model": model, **more})


# -------------------------------------------------------------------------------------------------
# Scores that change or read what belongs to their seed.


class ScoreChanges(Plain):
    def score(self, model):
        for one in model.parameters():
            one.mul_(0.9)
        return super().score(model)


class ScoreReplaces(Plain):
    """It puts another tensor into the model."""

    def model(self):
        model = super().model()
        model.register_buffer("shift", torch.zeros(1))
        return model

    def loss(self, model, x, y):
        return functional.cross_entropy(model(x) * (1 + model.shift), y)

    def score(self, model):
        model.shift = model.shift + model[0].bias.mean().abs() + 0.1
        return super().score(model)


class ScoreAdds(Plain):
    """It adds a buffer to the model."""

    def score(self, model):
        model.register_buffer("last", model[0].bias.clone())
        return {**super().score(model), "bias": model.last.sum()}


class ScoreRefits(Plain):
    """It fits the last layer's bias before it scores."""

    def score(self, model):
        model[-1].bias.copy_(model[-1].bias - model(X).mean(0))
        return super().score(model)


class ReadsGradients(Plain):
    clip_norm = 0.5

    def score(self, model):
        norm = sum(one.grad.norm() for one in model.parameters())
        return {**super().score(model), "gradient": norm}


class ReadsOptimizer(Plain):
    stacks = False

    def optimizer(self, parameters):
        self.own = super().optimizer(parameters)
        return self.own

    def score(self, model):
        states = [self.own.state[one]["exp_avg_sq"].sum() for one in model.parameters()]
        return {**super().score(model), "squares": sum(states)}


class ReadsOptimizerIfAny(ReadsOptimizer):
    def score(self, model):
        found = [s["exp_avg"].norm() for s in self.own.state.values() if "exp_avg" in s]
        return {**Plain.score(self, model), "averages": sum(found, torch.zeros(()))}


class ReadsRate(ReadsOptimizer):
    stacks = True

    def scheduler(self, optimizer):
        return torch.optim.lr_scheduler.StepLR(optimizer, 2)

    def score(self, model):
        return {**Plain.score(self, model), "rate": self.own.param_groups[0]["lr"]}


class Best(Plain):
    def model(self):
        self.best = 10.0
        return super().model()

    def score(self, model):
        found = super().score(model)
        self.best = min(self.best, float(found["loss"]))
        return {**found, "best": self.best}


# -------------------------------------------------------------------------------------------------
# Hooks and buffers.


class Reversed(Plain):
    """Gradient reversal, for what needs a gradient."""

    stacks = False

    def loss(self, model, x, y):
        hidden = model[0](x)
        if hidden.requires_grad:
            hidden.register_hook(lambda gradient: -0.5 * gradient)
        return functional.cross_entropy(model[3](hidden.relu()), y)


class LateBuffer(Plain):
    """From the third epoch on its forward pass puts another tensor in a buffer's place."""

    stacks = False

    def model(self):
        self.n = 0
        model = super().model()
        model.register_buffer("mean", torch.zeros(16))
        return model

    def batches(self):
        self.n += 1
        return super().batches()

    def loss(self, model, x, y):
        if self.n > 2:
            model.mean = 0.9 * model.mean + x.mean(0)
        return super().loss(model, x - model.mean, y)


# -------------------------------------------------------------------------------------------------
# Python reads a batch.


class ReadsBatch(Plain):
    stacks = True
    read = staticmethod(lambda x: x.tolist())

    def batches(self):
        for k in range(3):
            yield X[16 * k :][:16], Y[16 * k :][:16]

    def loss(self, model, x, y):
        return super().loss(model, x, y) * (1 + abs(np.mean(self.read(x))))


READING = [
    type(f"Reads{n}", (ReadsBatch,), {"read": staticmethod(read)})
    for n, read in enumerate(
        (torch.Tensor.tolist, torch.Tensor.numpy, np.asarray, lambda x: [float(x.sum())])
    )
]


# -------------------------------------------------------------------------------------------------
# What begins after the first epoch.


class Late(Plain):
    def model(self):
        self.n = 0
        return super().model()

    def batches(self):
        self.n += 1
        return self.late() if self.n > 2 else super().batches()


class LateNumpy(Late):
    def late(self):
        order = np.random.default_rng(torch.initial_seed() + self.n).permutation(len(X))
        for rows in torch.as_tensor(order).split(16):
            yield X[rows], Y[rows]

    stacks = False


class EarlyNumpy(LateNumpy):
    """From the first epoch on, so that batches are made in turn."""

    stacks = True

    def batches(self):
        self.n += 1
        return self.late()


class SeededNumpy(Late):
    """NumPy's own generator, seeded by `model`."""

    stacks = False

    def model(self):
        np.random.seed(torch.initial_seed() % 2**32)  # noqa: NPY002
        return super().model()

    def late(self):
        order = np.random.permutation(len(X))  # noqa: NPY002
        for rows in torch.as_tensor(order).split(16):
            yield X[rows], Y[rows]


class OwnNumpy(Late):
    """A generator of its own."""

    def model(self):
        self.draw = np.random.default_rng(torch.initial_seed())
        return super().model()

    def batches(self):
        for rows in torch.as_tensor(self.draw.permutation(len(X))).split(16):
            yield X[rows], Y[rows]


class Shuffled(SeededNumpy):
    def late(self):
        order = list(range(len(X)))
        random.Random(torch.initial_seed() + self.n).shuffle(order)
        yield X[order], Y[order]


class Forked(Late):
    stacks = False

    def late(self):
        with torch.random.fork_rng():
            torch.manual_seed(torch.initial_seed() % 1000 + self.n)
            rows = torch.randperm(len(X))
        yield X[rows], Y[rows]


class SetsRate(ReadsOptimizer):
    """The batches set the learning rate, from the third epoch on."""

    stacks = True
    n = 0

    def model(self):
        self.n = 0
        return super().model()

    def batches(self):
        self.n += 1
        for group in self.own.param_groups:
            group["lr"] = 0.01 if self.n < 3 else 0.1
        return super().batches()

    score = Plain.score


class StepSetsRate(SetsRate):
    """The loss sets it, by the number of its calls."""

    batches = Plain.batches

    def loss(self, model, x, y):
        self.n += 1
        self.own.param_groups[0]["lr"] = 0.01 / (1 + max(0, self.n - 6))
        return super().loss(model, x, y)


class Unfreezes(Plain):
    """Its first layer trains from the third epoch on."""

    stacks = False

    def model(self):
        self.n, self.net = 0, super().model()
        self.net[0].requires_grad_(False)
        return self.net

    def batches(self):
        self.n += 1
        self.net[0].requires_grad_(self.n > 2)
        return super().batches()


# -------------------------------------------------------------------------------------------------
# Parameters that are reached through the training's object.


class KeptList(Plain):
    def model(self):
        model = super().model()
        self.weights = [one for one in model.parameters() if one.dim() == 2]
        return model

    def loss(self, model, x, y):
        penalty = sum(one.square().sum() for one in self.weights)
        return super().loss(model, x, y) + 0.05 * penalty


class KeptStacked(KeptList):
    def loss(self, model, x, y):
        flat = torch.cat([one.flatten() for one in self.weights])
        return Plain.loss(self, model, x, y) + 0.1 * flat.abs().sum()


class KeptNames(Plain):
    def model(self):
        model = super().model()
        self.named = dict(model.named_parameters())
        return model

    def loss(self, model, x, y):
        hidden = functional.linear(x, self.named["0.weight"], self.named["0.bias"])
        return functional.cross_entropy(model[1:](hidden), y)


class Mines(Plain):
    """From the third epoch on it trains on the rows that are hardest."""

    stacks = False

    def model(self):
        self.n, self.net = 0, super().model()
        return self.net

    def batches(self):
        self.n += 1
        if self.n < 3:
            yield from super().batches()
            return
        with torch.no_grad():
            hard = functional.cross_entropy(self.net.eval()(X), Y, reduction="none").argsort()[-8:]
        self.net.train()
        yield X[hard], Y[hard]


# -------------------------------------------------------------------------------------------------
# What was refused without a reason.


class Cells(nn.Module):
    def __init__(self, cell, bias=True):
        super().__init__()
        self.cell, self.out = cell(4, 5, bias=bias), nn.Linear(5, 2)

    def forward(self, x):
        state = None
        for part in x.view(-1, 4, 4).unbind(1):
            state = self.cell(part, state)
        return self.out(state[0] if isinstance(state, tuple) else state)


def with_cell(cell, bias=True):
    def model(self):
        return Cells(cell, bias)

    return type(f"{cell.__name__}{bias}", (Plain,), {"model": model})


class DrawsOne(Plain):
    def loss(self, model, x, y):
        return super().loss(model, x + 0.1 * torch.rand(()), y)


class KeptIterator(Plain):
    """An epoch is three batches of a loader that goes on."""

    def model(self):
        data = torch.utils.data.TensorDataset(X, Y)
        loader = torch.utils.data.DataLoader(data, batch_size=12, shuffle=True)
        self.left = itertools.chain.from_iterable(itertools.repeat(loader))
        return super().model()

    def batches(self):
        return itertools.islice(self.left, 3)


class OwnAdam(torch.optim.Adam):
    pass


class LargerSteps(torch.optim.Adam):
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    one.grad.mul_(2).clamp_(-0.01, 0.01)
        super().step()
        return loss


class Trusts(torch.optim.SGD):
    """Its step depends on the norm of a whole tensor."""

    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure() if closure else None
        with torch.no_grad():
            for group in self.param_groups:
                for one in group["params"]:
                    if one.grad is not None:
                        one.sub_(0.05 * one.grad / (one.grad.norm() + 1e-3))
        return loss


def with_optimizer(kind, **more):
    def optimizer(self, parameters):
        return kind(parameters, lr=0.01)

    return type(kind.__name__, (Plain,), {"optimizer": optimizer, **more})


class Averages(Plain):
    stacks = False

    def model(self):
        self.net = super().model()
        return self.net

    def scheduler(self, optimizer):  # noqa: ARG002
        self.mean = torch.optim.swa_utils.AveragedModel(self.net)
        return type("Step", (), {"step": lambda _: self.mean.update_parameters(self.net)})()

    def score(self, model):  # noqa: ARG002
        return super().score(self.mean)


class AveragesInBatches(Averages):
    """After each epoch; then the batches use the weights."""

    def scheduler(self, optimizer):  # noqa: ARG002
        self.mean = torch.optim.swa_utils.AveragedModel(self.net)

    def batches(self):
        yield from Plain.batches(self)
        self.mean.update_parameters(self.net)


class Lazy(Plain):
    stacks = False

    def model(self):
        return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))


# -------------------------------------------------------------------------------------------------
# Others.


class Noise(Plain):
    """Drawn for each seed, and read by the loss."""

    stacks = False

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def model(self):
        self.noise = torch.rand(())
        return super().model()

    def loss(self, model, x, y):
        return super().loss(model, x, y) * self.noise


class Raises(Plain):
    """Some seeds raise after the third epoch."""

    def model(self):
        self.n, self.bad = 0, torch.initial_seed() in {2, 5}
        return super().model()

    def score(self, model):
        self.n += 1
        if self.bad and self.n > 3:
            raise ValueError("no luck")
        return super().score(model)


class Replaced(Late):
    """From the third epoch on another layer takes a layer's place."""

    stacks = False

    def model(self):
        self.net = super().model()
        return self.net

    def batches(self):
        self.n += 1
        if self.n == 3:
            self.net[1] = nn.Tanh()
        return Plain.batches(self)


class NewTensor(Late):
    """Each epoch has another weight of classes, which the loss reads."""

    def batches(self):
        self.n += 1
        self.weight = torch.tensor([1.0, float(self.n)])
        return Plain.batches(self)

    def loss(self, model, x, y):
        return functional.cross_entropy(model(x), y, weight=self.weight)


class InPlace(NewTensor):
    """The same tensor with other numbers."""

    def model(self):
        self.weight = torch.ones(2)
        return super().model()

    def batches(self):
        self.n += 1
        self.weight[1] = self.n
        return Plain.batches(self)


class CountsCalls(Plain):
    calls = 0

    def model(self):
        self.calls = 0
        return super().model()

    def loss(self, model, x, y):
        self.calls += 1
        return super().loss(model, x, y) * self.calls


SHARED = {"n": 0}


class Elsewhere(Plain):
    """Counts in a variable of the module; the loss reads a factor there."""

    stacks = False

    def model(self):
        SHARED["n"] = 0
        return super().model()

    def batches(self):
        SHARED["n"] += 1
        return super().batches()

    def loss(self, model, x, y):
        return super().loss(model, x, y) * (1 if SHARED["n"] < 3 else 5)


class Spectral(Plain):
    """The layer keeps the vectors of its power iteration in buffers."""

    stacks = False  # torch refuses it

    def model(self):
        first = nn.utils.parametrizations.spectral_norm(nn.Linear(16, 8))
        return nn.Sequential(first, nn.ReLU(), nn.Linear(8, 2))


class Weighted(Plain):
    def model(self):
        first = nn.utils.parametrizations.weight_norm(nn.Linear(16, 8))
        return nn.Sequential(first, nn.ReLU(), nn.Linear(8, 2))


class Tied(Plain):
    def model(self):
        model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 2))
        model[2].weight = model[0].weight
        return model


class Curriculum(Late):
    """Fewer rows at first, and larger batches later."""

    def batches(self):
        self.n += 1
        rows = torch.randperm(len(X))[: 8 * self.n]
        for part in rows.split(4 * self.n):
            yield X[part], Y[part]


class Undetermined(Plain):
    """Random numbers that no seed determines: a loop may give anything, but each seed its own."""

    stacks = False

    def batches(self):
        rows = torch.as_tensor(np.random.default_rng().permutation(len(X))[:16])
        yield X[rows], Y[rows]


class Verdict(Plain):
    def score(self, model):
        return {**super().score(model), "success": bool(model(X_TEST).mean() > 0)}


# -------------------------------------------------------------------------------------------------
# State outside of the model, and what seeds would share late.


class Annealed(Plain):
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


class Scaled(nn.Sequential):
    factor = 1

    def forward(self, x):
        return super().forward(x) * self.factor


class Scaling(Plain):
    """From the third epoch on, an attribute of its model is another one."""

    epochs = 5

    def model(self):
        self.epoch, self.net = 0, Scaled(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
        return self.net

    def batches(self):
        self.epoch += 1
        self.net.factor = 1 if self.epoch < 3 else 5
        return super().batches()


SETTINGS = ModuleType("settings")  # a user's other module, as of `import settings`
sys.modules["settings"] = SETTINGS
exec(
    "class Box:\n"
    "    __slots__ = ('n', 'scale')\n"
    "n, scale, values, box = 0, 1.0, {'n': 0, 'scale': 1.0}, Box()\n"
    "def get():\n"
    "    return scale\n",
    vars(SETTINGS),
)


def _counter():
    found = {"n": 0, "scale": 1.0}

    def at(name, value=None):
        if value is not None:
            found[name] = value
        return found[name]

    return functools.partial(at)


CLOSURE = _counter()


class Third(Plain):
    """Each third epoch has another loss; the count of epochs and the factor lie elsewhere."""

    stacks = False
    epochs = 7

    def put(self, name, value):
        setattr(SETTINGS, name, value)

    def take(self, name):
        return SETTINGS.n if name == "n" else SETTINGS.scale

    def model(self):
        self.put("n", 0)
        return super().model()

    def batches(self):
        self.put("n", self.take("n") + 1)
        self.put("scale", 1.0 if self.take("n") % 3 else 5.0)
        return super().batches()

    def loss(self, model, x, y):
        return super().loss(model, x, y) * self.take("scale")


class ByFunction(Third):
    def take(self, name):
        return SETTINGS.n if name == "n" else SETTINGS.get()


class InDict(Third):
    def put(self, name, value):
        SETTINGS.values[name] = value

    def take(self, name):
        return SETTINGS.values[name]


class InEnvironment(Third):
    def put(self, name, value):
        os.environ[f"MY_{name}"] = str(value)

    def take(self, name):
        return float(os.environ[f"MY_{name}"])


class InClosure(Third):
    def put(self, name, value):
        CLOSURE(name, value)

    def take(self, name):
        return CLOSURE(name)


class InSlots(Third):
    def put(self, name, value):
        setattr(SETTINGS.box, name, value)

    def take(self, name):
        return SETTINGS.box.n if name == "n" else SETTINGS.box.scale


class Imported(Third):
    def take(self, name):
        import settings

        return settings.n if name == "n" else settings.scale


class OnTheClass(Third):
    def put(self, name, value):
        setattr(OnTheClass, name, value)

    def take(self, name):
        return self.n if name == "n" else self.scale


class InList(Third):
    """On its own object, which a stack has too."""

    stacks = False

    def __init__(self, config):
        super().__init__(config)
        self.state = [[[[[{"n": 0, "scale": 1.0}]]]]]

    def put(self, name, value):
        self.state[0][0][0][0][0][name] = value

    def take(self, name):
        return self.state[0][0][0][0][0][name]


class EachBatch(InList):
    """Drawn for each batch, so that `batches` is called for each seed."""

    stacks = True

    def batches(self):
        self.put("n", self.take("n") + 1)
        self.put("scale", 1.0 if self.take("n") % 3 else 5.0)
        for _ in range(2):
            rows = torch.randperm(len(X))[:16]
            yield X[rows], Y[rows]


class Between(InList):
    """Another factor for the first batches of a late epoch."""

    stacks = False

    def batches(self):
        self.put("n", self.take("n") + 1)
        for number, batch in enumerate(Plain.batches(self)):
            self.put("scale", 5.0 if number < 2 and self.take("n") > 3 else 1.0)
            yield batch


class InTheModel(Scaling):
    """Another factor of the model for the last batch of a late epoch."""

    stacks = False

    def batches(self):
        self.epoch += 1
        for number, batch in enumerate(Plain.batches(self)):
            self.net.factor = 5 if number == 2 and self.epoch > 3 else 1
            yield batch


class OwnNoise(InList):
    """Drawn for each seed, and read late."""

    stacks = False

    def model(self):
        self.noise = torch.rand(())
        return super().model()

    def loss(self, model, x, y):
        return Plain.loss(self, model, x, y) * (self.noise if self.take("n") > 3 else 1)


class BestOfSeed(Plain):
    """The best score of a seed on its way."""

    epochs, report_every = 5, 1

    def model(self):
        self.best = -9.0
        return super().model()

    def score(self, model):
        found = super().score(model)
        self.best = max(self.best, -found["loss"].item())
        return {**found, "best": self.best}


class ShufflesLate(Plain):
    """Python's random numbers, from the fourth epoch on."""

    stacks = False
    epochs = 6

    def model(self):
        random.seed(torch.initial_seed())
        self.n = 0
        return super().model()

    def batches(self):
        self.n += 1
        factor = random.random() if self.n > 3 else 1.0
        for x, y in super().batches():
            yield x * factor, y


class KeepsIts(Annealed):
    """It keeps its model, and says where that is."""

    def model(self):
        self.net = super().model()
        return self.net

    def batches(self):  # what a user may write: it changes nothing
        for x, y in super().batches():
            yield x.to(next(self.net.parameters()).device), y


class ClampsGradients(Plain):
    stacks = False

    def model(self):
        model = super().model()
        for one in model.parameters():
            one.register_hook(lambda gradient: gradient.clamp(-0.3, 0.3))
        return model


class ClampsInBackward(Plain):
    stacks = False

    def model(self):
        def halved(_, given, __):
            return tuple(None if one is None else one.clamp(-0.03, 0.03) for one in given)

        model = super().model()
        model[-1].register_full_backward_hook(halved)
        return model


class ClampsWeights(KeepsIts):
    stacks = False

    def optimizer(self, parameters):
        optimizer, net = super().optimizer(parameters), self.net
        optimizer.register_step_post_hook(lambda *_: clamp(net, 0.26))
        return optimizer


class ClampsOnSchedule(KeepsIts):
    stacks = False

    def scheduler(self, optimizer):  # noqa: ARG002  # as it is called
        return SimpleNamespace(step=lambda: clamp(self.net, 0.25))


class ClampsStacked(Plain):
    """No more than a number of all weights together."""

    stacks = False

    def scheduler(self, optimizer):
        [group] = optimizer.param_groups
        return SimpleNamespace(step=lambda: halve(group["params"], above=6.0))


class Plateau(KeepsIts):
    """The rate of one seed in a hundred falls: where its loss does not."""

    stacks = False

    def scheduler(self, optimizer):
        falls = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=0)
        return SimpleNamespace(step=lambda: falls.step(self.loss(self.net, X, Y).item()))


class OwnStep(torch.optim.Optimizer):
    """It calls no closure, and steps by the signs of the gradients."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):  # noqa: ARG002  # as torch calls it
        for one in (one for group in self.param_groups for one in group["params"]):
            one.sub_(one.grad.sign(), alpha=0.01)


class AveragesEach(KeepsIts):
    """The scores are those of the mean of the weights after each epoch."""

    stacks = False

    def scheduler(self, optimizer):  # noqa: ARG002  # as it is called
        self.mean = torch.optim.swa_utils.AveragedModel(self.net)
        return SimpleNamespace(step=lambda: self.mean.update_parameters(self.net))

    def score(self, model):  # noqa: ARG002  # as it is called
        return super().score(self.mean)


class MinesLate(KeepsIts):
    """From the third epoch on it trains on the rows that are hardest."""

    stacks = False

    def batches(self):
        if self.epoch < 2:
            yield from super().batches()
            return
        with torch.no_grad():
            hard = functional.cross_entropy(self.net.eval()(X), Y, reduction="none").argsort()[-8:]
        yield X[hard], Y[hard]


class EpochsOfTheSeed(Plain):
    stacks = False

    def model(self):
        self.epochs = 3 + torch.initial_seed() % 2
        return super().model()


class EpochsLate(Annealed):
    """What it changes comes too late for the loop."""

    def model(self):
        self.epochs = 5
        return super().model()

    def batches(self):
        self.epochs = 5 if self.epoch < 2 else 4
        return super().batches()


def clamp(net, most):
    with torch.no_grad():
        for one in net.parameters():
            one.clamp_(-most, most)


def halve(tensors, above):
    with torch.no_grad():
        if sum(one.norm() for one in tensors) > above:
            for one in tensors:
                one.mul_(0.5)


class Everything(Plain):
    """It keeps what differs from seed to seed, and nothing that a stack computes reads it."""

    def model(self):
        random.seed(torch.initial_seed())
        np.random.seed(torch.initial_seed() % 2**32)  # noqa: NPY002  # as users write it
        self.drawn_from, self.count = torch.initial_seed(), 0
        return super().model()

    def batches(self):
        for batch in super().batches():
            self.count += 1
            yield batch

    def score(self, model):
        self.last = found = super().score(model)
        return found


KINDS = [
    Plain,
    *map(with_layer, (Lora, MergedOnce, Normalised, CountsEvaluations)),
    with_layer(NeverRenewed),
    *(ScoreChanges, ScoreReplaces, ScoreAdds, ScoreRefits, ReadsGradients, ReadsOptimizer),
    *(ReadsOptimizerIfAny, ReadsRate, Best, Reversed, LateBuffer, *READING),
    *(LateNumpy, EarlyNumpy, SeededNumpy, OwnNumpy, Shuffled, Forked, SetsRate, StepSetsRate),
    *(Unfreezes, KeptList, KeptStacked, KeptNames, Mines),
    *(with_cell(cell, bias) for cell in (nn.LSTMCell, nn.GRUCell, nn.RNNCell) for bias in (1, 0)),
    *(DrawsOne, KeptIterator, with_optimizer(OwnAdam), with_optimizer(LargerSteps)),
    *(with_optimizer(one, stacks=False) for one in (torch.optim.Adafactor, torch.optim.LBFGS)),
    *(with_optimizer(Trusts, stacks=False), Averages, AveragesInBatches, Lazy, Noise, Raises),
    *(Replaced, NewTensor, InPlace, CountsCalls, Elsewhere, Spectral, Weighted, Tied),
    *(Curriculum, Verdict, Undetermined),
    *(
        Annealed,
        Scaling,
        Third,
        ByFunction,
        InDict,
        InEnvironment,
        InClosure,
        InSlots,
        Imported,
        OnTheClass,
        InList,
        EachBatch,
        Between,
        InTheModel,
        OwnNoise,
        BestOfSeed,
        ShufflesLate,
        KeepsIts,
        ClampsGradients,
        ClampsInBackward,
        ClampsWeights,
        ClampsOnSchedule,
        ClampsStacked,
        Plateau,
        with_optimizer(OwnStep),
        AveragesEach,
        MinesLate,
        EpochsOfTheSeed,
        EpochsLate,
        Everything,
    ),
]
