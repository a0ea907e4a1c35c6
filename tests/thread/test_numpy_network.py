"""The network by hand against the script itself, one seed at a time."""

from __future__ import annotations

import numpy as np
import pytest

from xortune.task import Task
from xortune.thread import numpy_network

XOR = Task.xor()
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
Y = np.array([[0, 1, 1, 0]]).T


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forward(w1, w2):
    layer1 = sigmoid(np.dot(X, w1))
    return layer1, sigmoid(np.dot(layer1, w2))


def start(seed, hidden_dim):
    np.random.seed(seed)  # noqa: NPY002  # as scripts of that time do
    return np.random.random((2, hidden_dim)), np.random.random((hidden_dim, 1))  # noqa: NPY002


def script(seed, *, hidden_dim=5, lr=1.0, epochs=200):
    """The outputs after the last step, shape (4,)."""
    w1, w2 = start(seed, hidden_dim)
    for _ in range(epochs):
        layer1, layer2 = forward(w1, w2)
        layer2_error = Y - layer2
        layer2_delta = layer2_error * layer2 * (1 - layer2)
        layer1_error = np.dot(layer2_delta, w2.T)
        layer1_delta = layer1_error * layer1 * (1 - layer1)
        w2 += lr * np.dot(layer1.T, layer2_delta)
        w1 += lr * np.dot(X.T, layer1_delta)
    return forward(w1, w2)[1][:, 0]


def outputs_of(monkeypatch, seeds, **settings):
    """What the function compares with 0.5: the last thing that it takes a sigmoid of."""
    real, seen = numpy_network._sigmoid, []

    def noted(x):
        seen.append(real(x))
        return seen[-1]

    with monkeypatch.context() as patched:
        patched.setattr(numpy_network, "_sigmoid", noted)
        numpy_network.train(XOR, np.array(seeds), **settings)
    return seen[-1].T


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_dim": 5, "lr": 1.0, "epochs": 200},
        {"hidden_dim": 3, "lr": 4.0, "epochs": 300},
        {"hidden_dim": 2, "lr": 0.5, "epochs": 1},
    ],
    ids=str,
)
def test_outputs_are_those_of_the_script(settings, monkeypatch):
    seeds = [0, 1, 17, 2**32 - 1]
    expected = np.array([script(seed, **settings) for seed in seeds])
    outputs = outputs_of(monkeypatch, seeds, **settings)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-11)
    assert np.ptp(expected, axis=0).min() > 1e-4, "seeds differ, so a mix-up would show"


def test_an_answer_is_the_side_of_one_half():
    """The script's, after so many epochs that some seeds have learned and others have not."""
    seeds = [0, 1, 4, 9]
    settings = {"hidden_dim": 3, "lr": 4.0, "epochs": 300}
    expected = np.array([script(seed, **settings) > 0.5 for seed in seeds])
    answers = numpy_network.train(XOR, np.array(seeds), **settings)
    assert answers.dtype == np.bool_
    assert answers.tolist() == expected.tolist()
    assert len(set(map(tuple, expected.tolist()))) > 1


def test_more_seeds_than_a_stack(monkeypatch):
    settings = {"hidden_dim": 3, "lr": 4.0, "epochs": 120}
    together = numpy_network.train(XOR, np.arange(11), **settings)
    assert together.shape == (11, 4)
    assert len(set(map(tuple, together.tolist()))) > 1
    monkeypatch.setattr(numpy_network, "STACK", 4)
    assert numpy_network.train(XOR, np.arange(11), **settings).tolist() == together.tolist()
    alone = numpy_network.train(XOR, np.array([7]), **settings)
    assert alone[0].tolist() == together[7].tolist()


def test_the_global_generator_is_left_alone():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random(2).tolist()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    numpy_network.train(XOR, np.arange(3), hidden_dim=2, lr=1.0, epochs=2)
    assert np.random.random(2).tolist() == expected  # noqa: NPY002


def test_a_step_goes_down_half_the_summed_squared_error(monkeypatch):
    """Finite differences: no sum of absolute errors, no mean, no factor 2, no bias."""

    def half_squared(flat):
        _, out = forward(flat[:6].reshape(2, 3), flat[6:].reshape(3, 1))
        return 0.5 * ((Y - out) ** 2).sum()

    for seed in range(3):
        before = np.concatenate([part.ravel() for part in start(seed, 3)])
        nudges = 1e-6 * np.eye(9)
        gradient = np.array([half_squared(before + d) - half_squared(before - d) for d in nudges])
        gradient /= 2e-6
        # The outputs after a step against this gradient, beside those of the function.
        lr = 0.7
        after = before - lr * gradient
        _, expected = forward(after[:6].reshape(2, 3), after[6:].reshape(3, 1))
        outputs = outputs_of(monkeypatch, [seed], hidden_dim=3, lr=lr, epochs=1)
        np.testing.assert_allclose(outputs[0], expected[:, 0], rtol=0, atol=1e-9)
        assert np.abs(expected - forward(*start(seed, 3))[1]).max() > 1e-3


def test_other_inputs_than_zero_and_one(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c,y\n0.5,-1,2,1\n0,0,0,0\n3,0,-0.25,1\n")
    task = Task.from_csv(path)
    monkeypatch.setattr("test_numpy_network.X", task.inputs.astype(float))
    monkeypatch.setattr("test_numpy_network.Y", task.targets.astype(float))
    monkeypatch.setattr("test_numpy_network.XOR", task)

    def three_inputs(seed, hidden_dim):
        generator = np.random.RandomState(seed)
        return generator.random_sample((3, hidden_dim)), generator.random_sample((hidden_dim, 1))

    monkeypatch.setattr("test_numpy_network.start", three_inputs)
    settings = {"hidden_dim": 4, "lr": 0.5, "epochs": 20}
    expected = script(2, **settings)
    outputs = outputs_of(monkeypatch, [2], **settings)[0]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-11)
