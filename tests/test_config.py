import inspect

import numpy as np
import pytest
import torch
from torch import nn

from xortune.core.config import ACTIVATIONS, MOMENTUM_OPTIMIZERS, OPTIMIZERS, SOFTMAX_LIKE, Config
from xortune.core.errors import InputError


def _fits_a_hidden_layer(name: str) -> bool:
    """Needs no argument, holds no state, keeps the shape (N, H), gives the same output again."""
    kind = getattr(nn, name)
    try:
        module = kind(dim=1) if "dim" in inspect.signature(kind).parameters else kind()
    except TypeError:
        return False
    if module.state_dict():
        return False
    x = torch.linspace(-3, 3, 28).reshape(4, 7)  # odd, so that halving it (GLU) is no option
    try:
        return module(x).shape == x.shape and torch.equal(module(x), module(x))
    except (RuntimeError, ValueError):
        return False


def _acts_on_each_unit_alone(name: str) -> bool:
    module = getattr(nn, name)() if name not in SOFTMAX_LIKE else getattr(nn, name)(dim=1)
    x = torch.linspace(-3, 3, 28).reshape(4, 7)
    moved = x.clone()
    moved[:, 3] += 0.1
    changed = (module(x) != module(moved)).any(dim=0)
    return changed.tolist() in ([False] * 3 + [True] + [False] * 3, [False] * 7)


def test_activations_are_all_that_torch_has_of_the_kind():
    module = nn.modules.activation
    assert set(ACTIVATIONS) == {name for name in module.__all__ if _fits_a_hidden_layer(name)}
    assert {n for n in ACTIVATIONS if not _acts_on_each_unit_alone(n)} == set(SOFTMAX_LIKE)


def _steps_elementwise(name: str) -> bool:
    """Two parameters in one tensor move exactly as each of them does alone."""

    def walk(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        parameter = nn.Parameter(values.clone())
        optimizer = getattr(torch.optim, name)([parameter], lr=0.1)
        for step in range(3):
            optimizer.zero_grad()
            (scale * (parameter - step) ** 2).sum().backward()
            optimizer.step()
        return parameter.detach()

    x, scale = torch.tensor([[0.5, -2.0], [3.0, 0.1]]), torch.tensor([[1.0, 2.0], [0.2, 5.0]])
    try:
        rows = [walk(x[i : i + 1], scale[i : i + 1]) for i in range(2)]
        return torch.equal(walk(x, scale), torch.cat(rows))
    except (TypeError, RuntimeError):  # LBFGS wants a closure, SparseAdam sparse gradients
        return False


def test_optimizers_are_all_that_torch_has_with_an_elementwise_step():
    kinds = {name: kind for name, kind in vars(torch.optim).items() if inspect.isclass(kind)}
    del kinds["Optimizer"]
    assert set(OPTIMIZERS) == {name for name in kinds if _steps_elementwise(name)}
    signatures = {name: inspect.signature(kinds[name].__init__) for name in OPTIMIZERS}
    with_it = {name for name, found in signatures.items() if "momentum" in found.parameters}
    assert set(MOMENTUM_OPTIMIZERS) == with_it


def test_whole_floats_and_numpy_scalars_get_their_normal_form(make_config):
    odd = {"lr": np.float32(0.5), "momentum": np.int64(1), "hidden_dim": 5.0}
    config = make_config(optimizer="SGD", epochs=np.int32(1000), **odd)
    assert config == make_config(optimizer="SGD", lr=0.5, momentum=1.0)
    numbers = (config.lr, config.momentum, config.hidden_dim, config.epochs)
    assert [type(number) for number in numbers] == [float, float, int, int]


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_inactive_momentum_and_zero_momentum_are_one_config(make_config, optimizer, zero):
    given = make_config(optimizer=optimizer, momentum=zero)
    left_out = make_config(optimizer=optimizer)
    assert (given, given.key) == (left_out, left_out.key)
    assert str(given.momentum) == "0.0"
    assert ("momentum" in given.point) == (optimizer in MOMENTUM_OPTIMIZERS)


def test_a_config_and_its_point_lead_to_each_other(make_config):
    assert make_config().key == "e5efbc8f8a43d2a6"
    for config in (make_config(), make_config(optimizer="SGD", momentum=0.3, activation=None)):
        assert Config.from_point(config.point) == config
        assert config.point.key == config.key


NUMBER = "a number above 0, at most 1e+30"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "relu"}, "unknown activation 'relu'; allowed: CELU"),
        ({"activation": "relu"}, "fix: did you mean 'ReLU'?"),
        ({"activation": "PReLU"}, "or null for no activation"),
        ({"activation": 3}, "fix: give the name as a string"),
        ({"loss": None}, "loss: unknown loss None"),
        ({"loss": "MSE"}, "did you mean 'MSELoss'?"),
        ({"optimizer": "adam"}, "did you mean 'Adam'?"),
        ({"optimizer": "LBFGS"}, "optimizer: unknown optimizer 'LBFGS'; allowed: ASGD, Adadelta"),
        ({"lr": 0}, f"lr: 0 is out of range; allowed: {NUMBER}"),
        ({"lr": float("nan")}, f"lr: nan is out of range; allowed: {NUMBER}"),
        ({"lr": 10**400}, f"0 is out of range; allowed: {NUMBER}"),
        ({"lr": 1.1e30}, "lr: 1.1e+30 is out of range; allowed: a number above 0, at most 1e+30"),
        ({"lr": "0.1"}, f"lr: '0.1' is no number; allowed: {NUMBER}"),
        ({"lr": True}, "lr: True is no number"),
        ({"lr": 1j}, "lr: 1j is no number"),
        ({"momentum": -0.1, "optimizer": "SGD"}, "momentum: -0.1 is out of range; allowed: a fin"),
        ({"momentum": float("inf"), "optimizer": "SGD"}, "momentum: inf is out of range"),
        ({"momentum": 0.9}, "momentum: 0.9 with optimizer Adam, which has no momentum"),
        ({"momentum": 0.9}, "allowed: momentum for RMSprop and SGD only"),
        ({"momentum": 0.9}, "`when: {optimizer: [RMSprop, SGD]}`"),
        ({"hidden_dim": 0}, "hidden_dim: 0 is out of range; allowed: 1 or more"),
        ({"hidden_dim": 2.5}, "hidden_dim: 2.5 is no whole number; allowed: 1 or more"),
        ({"hidden_dim": True}, "hidden_dim: True is no whole number"),
        ({"hidden_dim": float("inf")}, "hidden_dim: inf is no whole number"),
        ({"epochs": 0}, "epochs: 0 is out of range; allowed: 1 to 1,073,741,824"),
        ({"zero_grad": 1}, "zero_grad: 1 is an int; allowed: true or false"),
    ],
)
def test_bad_values_are_refused_by_name_with_what_is_allowed(make_config, change, message):
    with pytest.raises(InputError) as caught:
        make_config(**change)
    assert message in str(caught.value)
    assert caught.value.field in change
