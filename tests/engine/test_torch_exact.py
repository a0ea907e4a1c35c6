"""What a stack computes is what each seed alone computes, to the bit: rules and recorded steps."""

from pathlib import Path

import pytest
import torch
from test_torch_training import Convolution, Small
from torch import nn
from torch.func import vmap
from torch.nn import functional

from xortune.trainers import batching_rules as rules_of_images
from xortune.trainers.batching_rules import LANES, Ruled, image_rules, matrix_rules
from xortune.trainers.kernels import images
from xortune.trainers.stack import Stack
from xortune.trainers.step_graph import recorded
from xortune.trainers.vectorized import trained_as_one

SEEDS = [0, 1, 2**32 - 1]
VERSION = [int(part) for part in torch.__version__.split(".")[:2]]
EXACT = torch.backends.cpu.get_cpu_capability() == "AVX512" and VERSION >= [2, 13]
"""Other processors and older torch add in another order: a stack is the loop up to rounding."""
MKL_EXACT = EXACT and "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="ascii")
"""On AMD, MKL rounds a product of matrices by where they lie in memory: see docs/own-trainer.md."""


def _drawn(*shapes):
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=draw).requires_grad_() for shape in shapes]


def _vmapped(function, *tensors):
    def one(row, *its):
        with Ruled({**matrix_rules(row), **image_rules(row)}):
            return function(*its)

    return vmap(one)(torch.arange(len(tensors[0])), *tensors)


def _with_gradients(out, tensors, weights):
    return [out, *torch.autograd.grad(out, tensors, weights, allow_unused=True)]


def _same(function, *tensors):
    out = _vmapped(function, *tensors)
    [weights] = _drawn(out.shape)
    found = _with_gradients(out, tensors, weights)
    for seed in range(len(tensors[0])):
        its = [one[seed].detach().clone().requires_grad_() for one in tensors]
        alone = _with_gradients(function(*its), its, weights[seed])
        for one, other in zip(found, alone, strict=True):
            if EXACT:
                assert (one is None and other is None) or torch.equal(one[seed], other)
            elif other is not None:
                torch.testing.assert_close(one[seed], other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "window", "options"),
    [
        (1, 8, (8, 8), (3, 3), {"padding": 1}),
        (3, 12, (8, 7), (3, 3), {"padding": 1, "stride": 2}),
        (20, 33, (4, 4), (3, 3), {"padding": "same"}),
        (16, 16, (4, 4), (1, 1), {"padding": "valid"}),
        (5, 7, (9, 6), (3, 2), {"padding": (2, 0)}),
        (5, 7, (9, 6), (3, 3), {"dilation": (2, 1)}),
        (4, 4, (5, 5), (3, 3), {"groups": 2}),
    ],
)
def test_convolutions(inputs, outputs, size, window, options):
    parts = options.get("groups", 1)
    x, w, b = _drawn((3, 17, inputs, *size), (3, outputs, inputs // parts, *window), (3, outputs))
    if parts > 1 or "dilation" in options:  # torch's own, for all seeds
        out = _vmapped(lambda *its: functional.conv2d(*its, **options), x, w, b)
        alone = [functional.conv2d(*its, **options) for its in zip(x, w, b, strict=True)]
        torch.testing.assert_close(out, torch.stack(alone))
    else:
        _same(lambda *its: functional.conv2d(*its, **options), x, w, b)
        _same(lambda one, other: functional.conv2d(one, other, **options), x, w)


@pytest.mark.parametrize("padding", [None, 0, 2, -1])
def test_an_embedding_and_its_padding_which_is_not_trained(padding):
    tokens = torch.randint(0, 4, (3, 17, 5), generator=torch.Generator().manual_seed(0))
    [weights] = _drawn((3, 4, 6))
    out = _vmapped(lambda x, w: functional.embedding(x, w, padding), tokens, weights)
    [gradient] = _drawn(out.shape)
    [found] = torch.autograd.grad(out, weights, gradient)
    for seed in range(3):
        own = weights[seed].detach().clone().requires_grad_()
        alone = functional.embedding(tokens[seed], own, padding)
        [expected] = torch.autograd.grad(alone, own, gradient[seed])
        torch.testing.assert_close(found[seed], expected)
        assert torch.equal(out[seed], alone)
    assert padding is None or not found[:, padding].any()


@pytest.mark.parametrize("size", [(8, 8), (5, 5), (3, 3), (2, 1)])
def test_batch_norm_and_its_running_statistics(size):
    x, w, b, mean, var = _drawn((3, 5, 6, *size), (3, 6), (3, 6), (3, 6), (3, 6))
    running = mean.detach(), var.detach().exp()
    alone = [one.clone() for one in running]
    for seed in range(3):
        functional.batch_norm(x[seed], alone[0][seed], alone[1][seed], training=True, momentum=0.3)
    tracked = [one.clone() for one in running]
    _vmapped(
        lambda *its: functional.batch_norm(*its, training=True, momentum=0.3), x.detach(), *tracked
    )
    for ours, its in zip(tracked, alone, strict=True):
        assert torch.equal(ours, its) or not EXACT
        torch.testing.assert_close(ours, its)
    _same(lambda x, w, b: functional.batch_norm(x, None, None, w, b, training=True), x, w, b)
    _same(lambda x: functional.batch_norm(x, None, None, training=True), x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.relu(x, inplace=False),
        lambda x: functional.gelu(x, approximate="none"),
        lambda x: functional.leaky_relu(x, 0.1),
        lambda x: functional.max_pool2d(x, 3, 2, 1),
        lambda x: functional.avg_pool2d(x, 2),
        lambda x: functional.adaptive_avg_pool2d(x, 1),
        lambda x: functional.adaptive_avg_pool2d(x, (3, 2)),
    ],
)
def test_between(function):
    [w] = _drawn((3, 6, 4, 1, 1))
    # With ties; of fewer than 16 images torch leaves this convolution to MKL.
    x = _drawn((3, 17, 4, 7, 5))[0].detach().clamp(min=0).requires_grad_()
    _same(function, x)
    # As it comes from a convolution, in another order in memory.
    _same(lambda x, w: function(functional.conv2d(x, w)), x, w)


def _check_gradients(loss, values, target):
    """Those of three seeds in a stack are those of each alone, to the bit."""
    _vmapped(loss, values.requires_grad_(), target).sum().backward()
    for value, own_target, gradient in zip(values.detach(), target, values.grad, strict=True):
        alone = value.clone().requires_grad_()
        loss(alone, own_target).backward()
        assert torch.equal(gradient, alone.grad)


# Looked up when they are called: the rules replace them.
ENTROPIES = [
    lambda x, y: functional.cross_entropy(x, target=y),
    lambda x, y: functional.nll_loss(functional.log_softmax(x, 1), y),
]


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("rows", [64, 29])  # the last rows of an epoch, say
@pytest.mark.parametrize("classes", [2, 10, LANES - 1, LANES])
def test_the_log_softmax_of_few_classes_is_torchs_to_the_bit(classes, rows, entropy):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, rows, classes, generator=generator)
    _check_gradients(entropy, logits, torch.randint(classes, (3, rows), generator=generator))
    assert logits.grad.is_contiguous(), "what is multiplied with it rounds as in the loop"


@pytest.mark.parametrize("classes", [2, 10, LANES])
def test_a_bias_s_gradient_is_summed_in_the_loop_s_order(classes):
    target = torch.randint(classes, (3, 33), generator=torch.Generator().manual_seed(0))
    inputs, weight = torch.ones(33, 4), torch.zeros(classes, 4)

    def loss(bias, target):
        return functional.cross_entropy(functional.linear(inputs, weight, bias), target)

    _check_gradients(loss, torch.linspace(-1, 1, 3 * classes).view(3, classes), target)


class Cnn(Convolution):
    """Batches that the data does not fill, layers of few channels and of more than sixteen."""

    clip_norm = None

    def model(self):
        return nn.Sequential(
            *(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 20, 3, padding=1, bias=False), nn.BatchNorm2d(20), nn.GELU()),
            *(nn.Conv2d(20, 18, 1), nn.BatchNorm2d(18, affine=False), nn.Dropout2d(0.2)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(18, 3)),
        )

    def batches(self):
        for rows in torch.randperm(len(X)).split(17):
            yield X[rows], Y[rows]

    def score(self, model):
        return self.loss(model, X, Y)


class Whole(Cnn):
    """Each step has all rows, the same for every seed."""

    def batches(self):
        yield X, Y

    def model(self):
        return nn.Sequential(
            *(nn.Conv2d(2, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(8, 3)),
        )


[X] = (one.detach() for one in _drawn((50, 2, 6, 6)))
Y = X.mean((1, 2, 3)).mul(30).long().clamp(0, 2)


@pytest.mark.parametrize("kind", [Cnn, Whole])
@pytest.mark.parametrize("ours", [True, False])
def test_a_stack_is_the_loop(kind, ours, monkeypatch):
    """To the bit, and to rounding with torch's functions of all seeds."""
    if not ours:
        monkeypatch.setattr(images, "_ours", lambda *_: (False, False, False))
        monkeypatch.setattr(rules_of_images, "is_exact", lambda *_: False)
        kind = type(kind.__name__, (kind,), {"epochs": 1})
    training = kind({})
    *_, (_, scores) = trained_as_one([(training, SEEDS)])
    alone = [training.run(seed) for seed in SEEDS]
    assert scores == alone if ours and MKL_EXACT else scores == pytest.approx(alone, rel=1e-3)


def test_what_would_be_rounded_otherwise_is_left_to_torch(monkeypatch):
    shapes = (17, 3 * 4, 4, 4), (3 * 6, 4, 3, 3), (3, 0, 1, 1, 1, 1, 1, 1)
    ours, is_exact = images._ours.__wrapped__, images.is_exact.__wrapped__
    assert ours(*shapes, 1)[2] or not EXACT
    assert is_exact(5, 4, 3, 3) or not EXACT
    weights, normalised = images._of_weights, images._normalised
    monkeypatch.setattr(images, "_of_weights", lambda *a: [1.0000001 * w for w in weights(*a)])
    monkeypatch.setattr(images, "_normalised", lambda *a: [1.0000001 * o for o in normalised(*a)])
    assert not ours(*shapes, 1)[2]
    assert not is_exact(5, 4, 3, 3)


# -------------------------------------------------------------------------------------------------
# A recorded step gives the numbers of the step, to the bit.

DRAW = torch.Generator().manual_seed(0)
ROWS = torch.randn(77, 20, generator=DRAW)
CLASSES = torch.randint(7, (77,), generator=DRAW)
FIVE = range(5)


class Net(Small):
    """`config` says the width, the rows of a batch and the activation; an epoch ends with fewer."""

    epochs = 1

    def model(self):
        width, activation = self.config["width"], self.config["activation"]
        return nn.Sequential(
            *(nn.Linear(20, width), activation, nn.Dropout(0.2), nn.Linear(width, width)),
            *(activation, nn.Linear(width, 7, bias=False)),
        )

    def batches(self):
        for rows in torch.randperm(len(ROWS)).split(self.config["rows"]):
            yield ROWS[rows], CLASSES[rows]

    def score(self, model):
        return self.loss(model, ROWS, CLASSES)


SGD = {"optimizer": "SGD", "lr": 0.1}


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.LeakyReLU(0.3), nn.SiLU(), nn.Tanh(), nn.GELU(), nn.ELU()]
)
@pytest.mark.parametrize(("width", "rows"), [(1, 32), (13, 16), (100, 64)])
def test_recorded_steps_are_the_steps_to_the_bit(activation, width, rows):
    config = {"width": width, "rows": rows, "activation": activation, **SGD}
    parameters = []
    for repeats in (True, False):
        stack = Stack([(Net(config), FIVE)], repeats=repeats)
        for _ in range(3):
            list(stack.epoch())
        assert stack.repeats == repeats
        parameters.append(stack.parameters)
    for name, found in parameters[0].items():
        assert torch.equal(found, parameters[1][name]), name


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
    # Views, and what changes in place.
    lambda x: ((twice := x * 2).view(-1), twice.exp()),
    lambda x: (*(twice := x * 2).unbind(0), twice.exp()),
    lambda x: ((x * 2).view(-1).view(x.shape).exp(),),
    lambda x: ((x * x).transpose(0, 1) * x,),
    lambda x: (x.relu()[:, 1:] * x[:, 1:],),
    lambda x: (x.view(torch.int32) + 1, torch.stack([x, x]).select(0, 1)),
    lambda x: (torch.view_as_complex(x.view(8, 2, 2, 2)).conj().imag * 2,),
    _changed,
    _changed_later,
    _overwritten,
]


@pytest.mark.parametrize("step", STEPS)
def test_a_recorded_step_is_the_step_for_other_inputs(step):
    x, other = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with recorded([x]) as recording:
        results = step(x)
    program = recording.program(results)
    for one in (other, -other):
        for ours, torchs in zip(program([one]), step(one), strict=True):
            assert torch.equal(ours, torchs)


@pytest.mark.parametrize("wrong", [7, -1])
def test_a_target_that_is_no_class_is_an_error_as_in_the_loop(wrong):
    class Wrong(Net):
        def batches(self):
            for number, (x, y) in enumerate(super().batches()):
                yield x, torch.full_like(y, wrong) if number == 3 else y

    training = Wrong({"width": 8, "rows": 11, "activation": nn.ReLU()})
    with pytest.raises(IndexError, match="out of bounds"):
        training.run_seeds(FIVE)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_one_number_is_the_loop_s_to_the_bit(bias):
    class Regression(Net):
        epochs = 4

        def model(self):
            return nn.Sequential(nn.Linear(20, 24), nn.LeakyReLU(0.1), nn.Linear(24, 1, bias=bias))

        def loss(self, model, x, y):
            return functional.mse_loss(model(x)[:, 0], y.float())

    training = Regression({"rows": 19, **SGD})  # and one row at the end
    stack = Stack([(training, FIVE)])
    for _ in range(training.epochs):
        list(stack.epoch())
    assert stack.scores() == [training.run(seed) for seed in FIVE]
