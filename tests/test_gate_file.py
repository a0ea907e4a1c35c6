import json

import pytest

from xortune.certificates.gate import load_config
from xortune.core.errors import InputError

TEXT = """\
# What is released.
activation: Tanh
loss: MSELoss
optimizer: Adam
lr: 3e-2
hidden_dim: 5
epochs: 1000
"""


def test_yaml_and_json_are_read(tmp_path, make_config):
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    assert load_config(path) == make_config()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(make_config(activation=None, epochs=7).point.as_dict(), indent=2))
    assert load_config(str(path)) == make_config(activation=None, epochs=7)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lr:", "learning_rate:", ["f.yaml:5: learning_rate", "is not a parameter", "lr"]),
        ("hidden_dim", "hiden_dim", ["f.yaml:6: hiden_dim", "did you mean 'hidden_dim'?"]),
        ("Tanh", "Than", ["f.yaml:2: activation", "'Than'", "did you mean 'Tanh'?"]),
        ("3e-2", "fast", ["f.yaml:5: lr", "'fast'", "a finite number above 0"]),
        ("3e-2", "-1", ["f.yaml:5: lr", "out of range"]),
        ("epochs: 1000\n", "", ["f.yaml", "epochs", "is missing"]),
        ("epochs: 1000", "epochs: [1, 2]", ["f.yaml:7: epochs", "list"]),
        ("epochs: 1000", "epochs: 1000\nmomentum: 0.9", ["f.yaml:8: momentum", "Adam"]),
        ("epochs: 1000", "parameters: {lr: 1}", ["f.yaml:7: parameters", "search space"]),
        ("loss: MSELoss", "loss: MSELoss\nloss: L1Loss", ["f.yaml:4", "twice"]),
        (TEXT, "# nothing\n", ["f.yaml", "is empty", "hidden_dim"]),
        (TEXT, "{", ["f.yaml:1", "YAML"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, words):
    path = tmp_path / "f.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert "a mapping with at least name" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
