"""What users read: reprs are short, and a fix is one that the reader can follow."""

import pytest
from commands import refused, xortune
from hand_made import CONFIG, done, solved, write_run

import xortune as xt
from xortune.core.errors import from_command_line
from xortune.core.success import rule_for
from xortune.runs.certificate import Attempt, Certificate, CertifiedResult

CELLS = "activation,loss,optimizer,lr,hidden_dim,epochs,k,n\nTanh,MSELoss,Adam,0.01,5,1000,3,8\n"

SPACE = {
    "name": "dict",
    "parameters": {"x": {"choice": [1, 2]}},
    "search": {"sampler": "random", "trials": 2},
    "seeds": {"ladder": [4]},
}


@pytest.fixture
def run(tmp_path):
    lines = [done(i, CONFIG | {"lr": 0.01 + i / 1000}, solved(0, i % 9, 8)) for i in range(300)]
    return write_run(tmp_path / "run", lines, trainer="network", task="xor", trials=300)


def test_a_repr_is_a_line(run, tmp_path):
    (tmp_path / "table.csv").write_text(CELLS)
    space = xt.load_space({**SPACE, "parameters": {"x": {"choice": list(range(500))}}})
    outcome = run.results[0].outcome
    result = CertifiedResult(
        *("a1b2c3d4", run.results[0].point, 1, 8, 8, 2**30, 997, 1000, 0.99257, 0.95)
    )
    certificate = Certificate(0.95, (Attempt(1, 1000, "exact", 0.975, True, (result,)),))
    compared = xt.compare(run, reference=tmp_path / "table.csv")
    shown = [
        repr(what)
        for what in (
            *(run, outcome, run.results[0], compared, xt.compare([outcome, outcome])),
            *(certificate, result, certificate.attempts[0], xt.status(run), space),
            *(xt.Task.parity(8), xt.plan(0.99, measure=False), xt.Config(**CONFIG)),
        )
    ]
    assert max(map(len, shown)) < 700
    assert max(map(len, shown[:1] + shown[3:6] + shown[8:11])) < 250
    assert not any("\n" in text for text in shown)
    assert shown[0] == f"Run({str(run.path)!r}, 300 evaluations)"
    assert "a1b2c3d4 solves 997/1,000 fresh seeds, at least 0.9925; confidence 0.95" in shown[5]
    assert "100 of 300 proposals" not in shown[8]
    assert "300 of 300 proposals, best 8/8" in shown[8]


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ("continue it with --resume, or give another --output", "resume=True, or give another out"),
        ("give --rate 0.99, or --between 0.9 0.95", "give rate=0.99, or between=(0.9, 0.95)"),
        ("train by another engine: --engine auto", "another engine: engine='auto'"),
        ("name them: --config lr,epochs", "name them: config=['lr', 'epochs']"),
        ("name 'a' with --config, or leave it out", "name 'a' with config, or leave it out"),
        ("say so: --column k=NAME or --column n=N", "columns={'k': 'NAME'} or columns={'n': 'N'}"),
        ("such as --where lr=1", "such as where={'lr': 1}"),
        ("make one: `xortune certify RUN --seeds 9`", "make one: `xortune certify RUN --seeds 9`"),
        ("give --accept-versions", "give accept_versions=True"),
        ("start it with --no-check: it", "start it with dry_run=False: it"),
        ("an unknown --flag", "an unknown --flag"),
    ],
)
def test_a_fix_names_options_at_the_command_line_and_arguments_in_python(option, argument):
    error = xt.InputError("wrong", fix=option)
    assert argument in str(error)
    with from_command_line():
        assert option in str(error)
    assert argument in str(error)


def test_each_option_that_a_fix_names_has_a_python_word(run):
    """At the level of what is called: the same mistake, told to either."""
    with pytest.raises(xt.InputError, match=r"another output"):
        xt.search(SPACE, train=numbers, output=run.path, dry_run=False)
    with pytest.raises(xt.InputError) as caught:
        xt.plan()
    assert "rate=0.99, or between=(0.9, 0.95)" in str(caught.value)
    assert "--rate 0.99, or --between 0.9 0.95" in refused(xortune("plan"))


def numbers(config, seed):
    return {"loss": 1.5, "accuracy": 0.1}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *(("loss", "loss <= 0.1"), ("val_error", "val_error <= 0.1"), ("MSE", "MSE <= 0.1")),
        *(("accuracy", "accuracy >= 0.9"), ("value", "value >= 0.9"), ("closs", "closs <= 0.1")),
    ],
)
def test_the_rule_that_is_suggested_has_the_direction_of_the_number(name, rule):
    assert rule_for(name) == rule


def test_a_loss_is_not_suggested_to_be_large(tmp_path):
    with pytest.raises(xt.InputError, match=r'add `success: "loss <= 0\.1"` to the space'):
        xt.search(SPACE, train=numbers, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(xt.InputError, match=r'"loss <= 0\.1"'):
        xt.load_space(SPACE | {"success": "loss", "trainer": "./t.py:f"})
    with pytest.raises(xt.InputError, match=r"\{name: loss_q90, direction: minimize\}"):
        xt.load_space(SPACE | {"objectives": ["loss_q90"], "trainer": "./t.py:f"})
