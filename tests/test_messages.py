"""What users read: reprs are short, a message has its parts, a fix can be followed."""

import pickle

import pytest
from hand_made import CONFIG, done, solved, write_run

import xortune as xt
from xortune.core.errors import InputError, from_command_line
from xortune.runs.certificate import Attempt, Certificate, CertifiedResult

CELLS = "activation,loss,optimizer,lr,hidden_dim,epochs,k,n\nTanh,MSELoss,Adam,0.01,5,1000,3,8\n"


@pytest.fixture
def run(tmp_path):
    lines = [done(i, CONFIG | {"lr": 0.01 + i / 1000}, solved(0, i % 9, 8)) for i in range(300)]
    return write_run(tmp_path / "run", lines, trainer="network", task="xor", trials=300)


def test_a_repr_is_a_line(run, tmp_path):
    (tmp_path / "table.csv").write_text(CELLS)
    space = xt.load_space(
        {
            "name": "dict",
            "parameters": {"x": {"choice": list(range(500))}},
            "search": {"sampler": "random", "trials": 2},
        }
    )
    outcome = run.results[0].outcome
    result = CertifiedResult(
        *("a1b2c3d4", run.results[0].point, 1, 8, 8, 2**30, 997, 1000, 0.99257, 0.95)
    )
    certificate = Certificate(0.95, (Attempt(1, 1000, "exact", 0.975, True, (result,)),))
    compared = xt.compare(run, reference=tmp_path / "table.csv")
    values = (
        *(run, outcome, run.results[0], compared, xt.compare([outcome, outcome])),
        *(certificate, result, certificate.attempts[0], xt.status(run), space),
        *(xt.Task.parity(8), xt.plan(0.99, measure=False), xt.Config(**CONFIG)),
    )
    shown = list(map(repr, values))
    assert max(map(len, shown)) < 700
    assert max(map(len, shown[:1] + shown[3:6] + shown[8:11])) < 250
    assert not any("\n" in text for text in shown)
    assert shown[0] == f"Run({str(run.path)!r}, 300 evaluations)"
    assert "(a1b2c3d4) succeeds under at least 99.25 % of all seeds" in shown[5]
    assert shown[5].endswith("with confidence 0.95: 997 of 1,000 fresh seeds.)")
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


def test_a_message_has_the_place_the_problem_the_allowed_and_the_fix():
    first = InputError("is missing", field="lr", allowed="a number", fix="add it")
    assert str(first) == "lr: is missing; allowed: a number; fix: add it"
    moved = first.at("space.yaml:3")
    assert str(moved) == "space.yaml:3: is missing; allowed: a number; fix: add it"
    assert (moved.field, first.place) == ("lr", "lr")


def test_an_input_error_survives_a_process_boundary():
    error = InputError("wrong", field="lr", place="f:1", allowed="right", fix="turn it round")
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is InputError
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)
