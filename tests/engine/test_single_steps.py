"""Activations, losses and optimizers: single steps against torch's own modules.

In float64 and from one state, so that what is compared is the arithmetic and not its rounding.
"""

from itertools import product

import oracle
import pytest
import torch
from torch import nn

from xortune.core.config import ACTIVATIONS, LOSSES, MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.trainers import reference

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean':UserWarning")  # the oracle's

SEEDS, ROWS, DIM, HIDDEN, STEPS = 2, 5, 3, 4, 3


def _models(config: Config) -> list[nn.Sequential]:
    models = []
    for seed in range(SEEDS):
        model = oracle.network(config, DIM, seed).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(2)  # far enough from 0 that activations do not look linear
        models.append(model)
    return models


def _layers(models: list[nn.Sequential]) -> list[torch.Tensor]:
    """The weights of all models, layer by layer, each (S, ...)."""
    of_all = zip(*(model.parameters() for model in models), strict=True)
    return [torch.stack([parameter.detach() for parameter in layer]) for layer in of_all]


def _network(models: list[nn.Sequential], config: Config) -> reference.StackedNetwork:
    weights = reference.stacked(_layers(models))
    activation = reference.activation_of(config.activation)
    return reference.StackedNetwork(weights, DIM, HIDDEN, activation)


def _steps(config: Config) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """For each step the losses and weights of the stack and those of the modules."""
    rows = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, DIM, dtype=torch.float64, generator=rows)
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0]], dtype=torch.float64)
    models = _models(config)
    stack = _network(models, config)
    optimizer = reference.optimizer_of(config, stack.weights)
    loss_of_stack = reference.loss_of(config.loss)
    optimizers = [oracle.optimizer(config, model) for model in models]
    loss_of_one = getattr(nn, config.loss)()
    pairs = []
    for _ in range(STEPS):
        losses = loss_of_stack(stack.forward(x), y.expand(-1, SEEDS))
        reference.step(stack, optimizer, losses, zero_grad=True)
        plain = []
        for model, one in zip(models, optimizers, strict=True):
            loss = loss_of_one(model(x), y)
            one.zero_grad()
            loss.backward()
            one.step()
            plain.append(loss.detach())
        mine = [losses.detach(), stack.weights.clone()]
        pairs.append((mine, [torch.stack(plain), reference.stacked(_layers(models))]))
    return pairs


ALL = [*ACTIVATIONS, None]
PAIRS = list(product(LOSSES, OPTIMIZERS))


@pytest.mark.parametrize("every", [24, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("activation", ALL)
def test_steps_are_those_of_torch(activation, every):
    """Some pairs of a loss and an optimizer, from another one on for each activation."""
    for loss, optimizer in PAIRS[ALL.index(activation) % every :: every]:
        config = Config(
            activation=activation,
            loss=loss,
            optimizer=optimizer,
            lr=0.05,
            momentum=0.5 if optimizer in MOMENTUM_OPTIMIZERS else 0.0,
            hidden_dim=HIDDEN,
            epochs=STEPS,
        )
        for step, (mine, torchs) in enumerate(_steps(config)):
            for name, a, b in zip(("loss", "weights"), mine, torchs, strict=True):
                far = float((a - b).abs().max())
                assert far <= 1e-9, f"{name} is {far} off after step {step} of {loss}, {optimizer}"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_steps_do_move_the_weights(optimizer):
    """Else the test above could not fail."""
    config = Config(
        activation="Tanh", loss="MSELoss", optimizer=optimizer, lr=0.05, hidden_dim=4, epochs=2
    )
    (first, _), *_, (last, _) = _steps(config)
    assert all(float((a - b).abs().max()) > 1e-5 for a, b in zip(first, last, strict=True))
