"""A recorded step, with its segments, gives the numbers of torch's own operations, to the bit."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import xortune as xt
from xortune.trainers.kernels import segments as kernels
from xortune.trainers.step_graph import Recording
from xortune.trainers.vectorized import Stack

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(77, 20, generator=DRAW)
Y = torch.randint(7, (77,), generator=DRAW)
SEEDS = range(5)


class Net(xt.TorchTraining):
    """`config` says the width, the rows of a batch and the activation; an epoch ends with fewer."""

    def model(self):
        width, activation = self.config["width"], self.config["activation"]
        return nn.Sequential(
            *(nn.Linear(20, width), activation, nn.Dropout(0.2), nn.Linear(width, width)),
            *(activation, nn.Linear(width, 7, bias=False)),
        )

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def batches(self):
        for rows in torch.randperm(len(X)).split(self.config["rows"]):
            yield X[rows], Y[rows]

    def loss(self, model, x, y):
        return functional.cross_entropy(model(x), y)

    def score(self, model):
        return functional.cross_entropy(model(X), Y)


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.LeakyReLU(0.3), nn.SiLU(), nn.Tanh(), nn.GELU(), nn.ELU()]
)
@pytest.mark.parametrize(("width", "rows"), [(1, 32), (13, 16), (48, 24), (100, 64)])
def test_a_step_in_segments_is_torchs_to_the_bit(activation, width, rows, monkeypatch):
    config = {"width": width, "rows": rows, "activation": activation}
    parameters, operations, can = [], [], kernels.can_run()
    for can_run in (kernels.can_run, lambda: False):
        monkeypatch.setattr(kernels, "can_run", can_run)
        stack = Stack([(Net(config), SEEDS)])
        for _ in range(3):
            list(stack.epoch())
        parameters.append(stack.parameters)
        operations.append(len(next(iter(stack._programs.values()))._graph.nodes))
    for name, found in parameters[0].items():
        assert torch.equal(found, parameters[1][name]), name
    assert not can or operations[0] < operations[1]


def _changed(x):
    twice = x * 2
    flat = twice.view(-1)
    return twice.add_(1).exp(), flat * 3


def _changed_later(x):
    square = x * x
    return x.relu().mul_(square), square


def _overwritten(x):
    x = x.clone()
    square = x * x
    return square, x.add_(1)


STEPS = [
    (lambda x: ((twice := x * 2).view(-1), twice.exp()), 0),
    (lambda x: (torch.ops.aten._unsafe_view(twice := x * 2, [x.numel()]), twice.exp()), 0),
    (lambda x: (*(twice := x * 2).unbind(0), twice.exp()), 0),
    (_changed, 0),
    (lambda x: ((x * 2).view(-1).view(x.shape).exp(),), 1),
    (lambda x: (((x * 2).exp().neg() + x).sigmoid(), x.neg()), 4),
    # What is in no segment, because a seed would meet another.
    (lambda x: ((x * x).transpose(0, 1) * x,), None),
    (lambda x: ((x.relu().view(2, -1) * x.view(2, -1)).view(x.shape) * x,), None),
    (_changed_later, None),
    (_overwritten, None),
    (lambda x: (x.relu()[:, 1:] * x[:, 1:],), None),
]


@pytest.mark.parametrize(("step", "reused"), STEPS)
def test_a_recorded_step_is_the_step_for_other_inputs(step, reused):
    """No operation overwrites what is read later; so many reuse the memory of an input."""
    x, other = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with Recording([x]) as recording:
        results = step(x)
    program = recording.program(results)
    for one in (other, -other):
        for ours, torchs in zip(program([one]), step(one), strict=True):
            assert torch.equal(ours, torchs)
    assert reused is None or str(program._graph).count("{out: ") == reused


@pytest.mark.parametrize("wrong", [7, -1])
def test_a_target_that_is_no_class_is_an_error_as_in_the_loop(wrong):
    class Wrong(Net):
        def batches(self):
            for number, rows in enumerate(torch.randperm(len(X)).split(self.config["rows"])):
                y = Y[rows]
                yield X[rows], torch.full_like(y, wrong) if number == 3 else y

    training = Wrong({"width": 8, "rows": 11, "activation": nn.ReLU()})
    with pytest.raises(IndexError, match="out of bounds"):
        training.run_seeds(SEEDS)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_one_number_is_the_loop_s_to_the_bit(bias):
    class Regression(Net):
        epochs = 4

        def model(self):
            layers = nn.Linear(20, 24), nn.LeakyReLU(0.1), nn.Linear(24, 1, bias=bias)
            return nn.Sequential(*layers)

        def loss(self, model, x, y):
            return functional.mse_loss(model(x)[:, 0], y.float())

        def score(self, model):
            return self.loss(model, X, Y)

    training = Regression({"rows": 19})  # and one row at the end
    stack = Stack([(training, SEEDS)])
    for _ in range(training.epochs):
        list(stack.epoch())
    assert stack.scores() == [training.run(seed) for seed in SEEDS]
