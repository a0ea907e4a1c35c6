"""Every mistake in a space file is told with its line, its value, what is allowed and the fix."""

import json
import operator
import re
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import jsonschema
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune.spaces.yaml_reader
from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.success import Success, parse_success
from xortune.runs import evaluation
from xortune.spaces.model import MAX_RUNG, CommandSettings, parse_duration
from xortune.spaces.space import check_space, json_schema, load_space, parse_space, with_search
from xortune.spaces.yaml_reader import read_yaml

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "xortune" / "space.schema.json"
TRAINER = SimpleNamespace(check=lambda point: Config.from_point(point).point)
"""The part of the built-in trainer that a space needs."""


def refused(text: str) -> str:
    """The message that a file with this text gets, from reading it or from the trainer."""
    with pytest.raises(InputError) as caught:
        check_space(parse_space(textwrap.dedent(text), "s.yaml"), TRAINER)
    return str(caught.value)


def with_line(line: str, at: str = "") -> str:
    """A good file, whose line that starts with `at` is replaced, or which gets one more line."""
    good = [
        "name: demo",  # 1
        "epochs: 10",
        "parameters:",  # 3
        "  activation: {choice: [ReLU, Tanh]}",
        "  loss: MSELoss",  # 5
        "  optimizer: {choice: [SGD, Adam]}",
        "  lr: {low: 1e-4, high: 1.0, log: true}",  # 7
        "  momentum: {low: 0.0, high: 0.9, when: {optimizer: SGD}}",
        "  hidden_dim: {low: 2, high: 8}",  # 9
        "search: {trials: 3}",
        "seeds: {ladder: [4]}",  # 11
    ]
    assert not at or any(text.lstrip().startswith(at) for text in good)
    lines = [line if at and text.lstrip().startswith(at) else text for text in good]
    return "\n".join(lines if at else [*lines, line]) + "\n"


def test_optunas_name_for_trials_is_understood():
    assert parse_space(with_line("search: {n_trials: 3}", "search")).search.trials == 3


@pytest.mark.parametrize(
    ("line", "at", "told"),
    [
        ("sarch: {trials: 3}", "", ["s.yaml:12: sarch: unknown key", "'search'"]),
        ("search: {trils: 3}", "search", ["s.yaml:10: search.trils", "did you mean 'trials'"]),
        ("search: {trials: 3, n_trials: 4}", "search", ["s.yaml:10: search.n_trials: unknown"]),
        ("  lr: {lo: 1, high: 2}", "lr", ["s.yaml:7: parameters.lr.lo", "did you mean 'low'"]),
        ("  lr: {choice: [1], steps: 2}", "lr", ["s.yaml:7: parameters.lr.steps", "unknown key"]),
        ("  activation: Reluu", "activation", ["s.yaml:4: parameters.activation", "'ReLU'"]),
        ("  loss: MSE", "loss", ["s.yaml:5: parameters.loss: unknown loss 'MSE'", "'MSELoss'"]),
        ("  optimizer: {choice: [SGD, Adem]}", "optimizer", ["s.yaml:6: parameters.optimizer: un"]),
        ("  lr: {low: 2, high: 1}", "lr", ["s.yaml:7: parameters.lr.low", "low 2 is above high 1"]),
        ("  lr: {low: 0, high: 1, log: true}", "lr", ["s.yaml:7", "0 has no logarithm", "above 0"]),
        ("  lr: {low: -1.0e+308, high: 1.0e+308}", "lr", ["lr.high", "is too wide", "1.7e+308"]),
        ("  lr: {low: 0.0, high: 1.0e+308, step: 1.0e+308}", "lr", ["lr.high", "is too wide"]),
        ("  lr: {low: 1, high: 9, log: true, step: 2}", "lr", ["one of step and log"]),
        ("  lr: {low: 0.1, high: 1.0, step: 0.25}", "lr", ["s.yaml:7", "high to 0.85"]),
        ("  lr: {low: 1, high: 10, step: 0}", "lr", ["0 is not a step", "above 0"]),
        ("  lr: {low: 1.0e+15, high: 2.0e+15, step: 0.01}", "lr", ["lost in rounding"]),
        ("  lr: {choice: []}", "lr", ["s.yaml:7: parameters.lr.choice: is empty"]),
        ("  lr: {choice: [1, 0.5, 1.0]}", "lr", ["s.yaml:7", "1.0 is given twice"]),
        ("  lr: {choice: 3}", "lr", ["s.yaml:7: parameters.lr.choice: 3 is not a list", "[a, b]"]),
        (
            "  lr: [0.1, 0.2]",
            "lr",
            ["s.yaml:7: parameters.lr", "{low: 0.1, high: 0.2}", "{choice: [0.1, 0.2]}"],
        ),
        ("  lr: [a, b]", "lr", ["s.yaml:7: parameters.lr", "fix: write", "{choice: ['a', 'b']}"]),
        ("  lr: {min: 0.1, max: 1}", "lr", ["parameters.lr.min: unk", "write low in place of min"]),
        ("  lr: {low: 0.1, max: 1}", "lr", ["parameters.lr.max: u", "write high in place of max"]),
        ("  lr: {values: [1]}", "lr", ["lr.values: unknown key", "choice in place of values"]),
        ("  lr: {chioce: [1]}", "lr", ["lr.chioce: unknown key", "fix: did you mean 'choice'?"]),
        ("trainer: {functon: ./a.py:f}", "", ["trainer.functon", "did you mean 'function'?"]),
        ("bounds: [0]", "", ["s.yaml:12: bounds: [0]; allowed: a list of 2"]),
        ("bounds: [0, 1, 2]", "", ["s.yaml:12: bounds: [0, 1, 2]; allowed: a list of 2"]),
        ("bounds: [0, a]", "", ["s.yaml:12: bounds.1: 'a', a string,", "allowed: a number"]),
        ("trials: 3", "", ["s.yaml:12: trials: unknown key", "fix: write `trials` below `search`"]),
        ("n_trials: 3", "", ["s.yaml:12: n_trials: unknown key", "below `search`"]),
        ("ladder: [3]", "", ["ladder: unknown key", "fix: write `ladder` below `seeds`"]),
        ("seeds: {objectives: [a]}", "seeds", ["unknown key", "`objectives` at the top of the"]),
        (
            "  lr: {choice: [[1]]}",
            "lr",
            ["s.yaml:7: parameters.lr", "[1] is no number", "a number"],
        ),
        ("  lr: {low: a, high: 1}", "lr", ["s.yaml:7: parameters.lr.low: 'a'", "a number"]),
        ("  lr: {low: true, high: 1}", "lr", ["parameters.lr.low: true", "a number"]),
        ("  lr: {low: 1, high: 2, log: yes}", "lr", ["parameters.lr.log: 'yes'", "true or false"]),
        ("  lr: {}", "lr", ["s.yaml:7: parameters.lr.low: is missing", "a fixed value, {choice"]),
        ("  lr: .nan", "lr", ["s.yaml:7", ".nan is not finite", "a finite number"]),
        ("  lr: 1e999", "lr", ["s.yaml:7", "1e999 is not finite"]),
        ("  lr: 0", "lr", ["s.yaml:7: parameters.lr: 0 is out of range", "above 0"]),
        ("  hidden_dim: 99999999999999999", "hidden_dim", ["too large", "2**53", "write 1.0e+17"]),
        ("  lr: 12345678901234567890", "lr", ["write 1.2345678901234567e+19, the nearest float"]),
        (f"  lr: 1{'0' * 320}", "lr", ["fix: write a smaller number"]),
        ("  hidden_dim: {low: 0, high: 3}", "hidden_dim", ["s.yaml:9: parameters.hidden_dim: 0"]),
        ("  hidden: 3", "hidden_dim", ["s.yaml:9: parameters.hidden", "did you mean 'hidden_dim'"]),
        ("  loss: {value: MSELoss, when: {optimiser: SGD}}", "loss", ["s.yaml:5", "'optimizer'"]),
        ("  loss: {value: MSELoss, when: {optimizer: Sgd}}", "loss", ["never 'Sgd'", "'SGD'"]),
        ("  loss: {value: MSELoss, when: {lr: 1}}", "loss", ["when.lr", "which is a range"]),
        ("  loss: {value: MSELoss, when: {optimizer: []}}", "loss", ["s.yaml:5", "at least one"]),
        ("  loss: {value: MSELoss, when: {activation: Tanh}}", "loss", ["parameters.loss: is mis"]),
        (
            "  optimizer: {choice: [SGD, Adam], when: {momentum: 0.5}}",
            "optimizer",
            ["s.yaml:6: parameters.optimizer.when", "optimizer -> momentum -> optimizer"],
        ),
        (
            "  momentum: {low: 0.0, high: 0.9}",
            "momentum",
            ["s.yaml:8: parameters.momentum: 0.9 with optimizer Adam", "`when: {optimizer:"],
        ),
        ('  "a b": 3', "hidden_dim", ["s.yaml:9: parameters.a b", "not a parameter name"]),
        ("search: {trials: 0}", "search", ["s.yaml:10: search.trials: 0", "from 1", "1 or more"]),
        ("search: {sampler: tpe}", "search", ["s.yaml:10: search.trials", "how many trials"]),
        ("search: {trials: 3, seed: -1}", "search", ["s.yaml:10: search.seed: -1", "from 0"]),
        ("search: {trials: 3, sampler: tpee}", "search", ["search.sampler", "mean 'tpe'"]),
        ("search: {trials: 3, time_budget: soon}", "search", ["'soon' is not a duration", '"10m"']),
        ("search: {sampler: grid}", "search", ["s.yaml:7: parameters.lr", "a step or a choice"]),
        ("search: {sampler: cmaes, trials: 9}", "search", ["s.yaml:4: parameters.activation"]),
        ("search: 3", "search", ["s.yaml:10: search: 3 is not a mapping"]),
        ("seeds: {ladder: [8, 8]}", "seeds", ["s.yaml:11: seeds.ladder", "ascend", "write [8]"]),
        ("seeds: {ladder: [8, 3]}", "seeds", ["[8, 3] does not ascend", "write [3, 8]"]),
        ("seeds: {ladder: []}", "seeds", ["s.yaml:11: seeds.ladder", "at least one"]),
        ("seeds: {ladder: [67108865]}", "seeds", ["to 67,108,864", "write 67108864 or less"]),
        ("seeds: {first: 0}", "seeds", ["seeds.first: unknown key", "ladder, race, finalists, c"]),
        ("seeds: {race: {}, ladder: [8]}", "seeds", ["s.yaml:11: seeds.race: both a ladder"]),
        ("stop: {proven_rate: 1.0}", "", ["s.yaml:12: stop.proven_rate: 1.0", "below 1"]),
        ("epochs: 0", "epochs", ["s.yaml:2: epochs: 0", "a whole number"]),
        ("  epochs: 20", "hidden_dim", ["s.yaml:9: parameters.epochs", "twice", "on line 2"]),
        ("name: a/b", "name", ["s.yaml:1: name: 'a/b'", "letters, digits"]),
        ("name: 1", "name", ["s.yaml:1: name: 1", "in quotes"]),
        ("nama: x", "name", ["s.yaml:1: nama: unknown key", "'name'"]),
        ("# no name", "name", ["s.yaml:2: name: is missing (names the run directory); fix: add a"]),
        ("task: xorr", "", ["s.yaml:12: task: unknown task 'xorr'", "did you mean 'xor'"]),
        ("task: parity-99", "", ["s.yaml:12: task: parity of 99 bits", "2 to 12"]),
        ("task: {csv: none.csv}", "", ["s.yaml:12: task", "none.csv", "cannot be read"]),
        ("task: {target: y}", "", ["s.yaml:12: task.csv: is missing"]),
        ("task: {csv: a.csv, accuracy: 2}", "", ["s.yaml:12: task.accuracy: 2", "at most 1"]),
        ("task: 3", "", ["s.yaml:12: task: 3", "a string"]),
        ("lr: 1\nlr: 2", "", ["s.yaml:13: the key 'lr' is given twice, first on line 12"]),
        ("1: 2", "", ["s.yaml:12: the key 1", "in quotes"]),
        ("? [a]\n: 2", "", ["s.yaml:12: a list or mapping as key"]),
        ("start: [", "", ["s.yaml:13: is not valid YAML", "brackets"]),
        (
            "start: !!python/object:os.system {}",
            "",
            ["s.yaml:12: the tag !!python/object:os.system;"],
        ),
        ("start: ! x", "", ["s.yaml:12: the tag !;"]),
        ("start: &a [1]", "", ["s.yaml:12: the anchor &a", "write the value out"]),
        ("start: *a", "", ["s.yaml:12: the alias *a", "write the value out"]),
        ("---\nname: x", "", ["s.yaml:12: is not valid YAML", "another document"]),
        ("start: " + "[" * 5000, "", ["s.yaml: nested too deeply", "10 levels"]),
        ('start: ["\\UFFFFFFFF"]', "", ["not valid YAML (a character or escape"]),
        ('start: ["\\uD800"]', "", ["s.yaml:12: the character '\\ud800'"]),
        ("start: [\x07]", "", ["s.yaml:12: is not valid YAML"]),
    ],
)
def test_a_mistake_is_told(line, at, told):
    message = refused(with_line(line, at))
    assert [part for part in told if part not in message] == [], message
    assert "allowed: " in message or "fix: " in message
    assert "pydantic" not in message
    assert message.count("\n") == 0


ENTRY = {"activation": "ReLU", "optimizer": "Adam", "lr": 1, "hidden_dim": 3}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lr": None}, "start.0.lr: null is not in the space"),
        ({"lr": 2}, "s.yaml:12: start.0.lr: 2 is not in the space; allowed: 0.0001 to 1.0"),
        ({"activation": "Relu"}, "'Relu' is not in the space; allowed: ReLU, Tanh; fix: did you"),
        ({"hidden_dim": 3.5}, "start.0.hidden_dim: 3.5 is not in the space; allowed: whole numb"),
        ({"momentum": 0.5}, "start.0.momentum: 0.5 where momentum is not active; allowed: moment"),
        ({"widht": 3}, "s.yaml:12: start.0.widht: 'widht' is not a parameter"),
        ({"lr": ...}, "start.0.lr: is missing from this"),
    ],
)
def test_a_start_entry_lies_in_the_space(changes, told):
    entry = {name: value for name, value in (ENTRY | changes).items() if value is not ...}
    assert told in refused(with_line(f"start: [{json.dumps(entry)}]"))


def test_a_csv_task_is_found_beside_its_file(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,y,test\n0,0,0,0\n0,1,1,0\n1,0,1,1\n")
    path = tmp_path / "s.yaml"
    path.write_text(with_line("task: {csv: t.csv, target: y, held_out: test, accuracy: 0.9}"))
    task = load_space(path).task
    assert (task.dim, task.inputs.shape[0], task.accuracy) == (2, 2, 0.9)
    path.write_text(with_line("task: t.csv"))
    assert load_space(path).task.dim == 3
    path.write_text(with_line("task: {csv: t.csv, target: z}"))
    with pytest.raises(InputError, match=r"s\.yaml:12: task: .*t\.csv.*no column 'z'"):
        load_space(path)


SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))


def test_the_shipped_schema_is_current():
    names = {path.name for path in SHIPPED}
    assert names >= {"xor.yaml", "xor_small.yaml", "xor_front.yaml", "parity3.yaml"}
    assert MAX_RUNG == evaluation.MAX_SEEDS  # more seeds than a line of a journal holds
    assert SCHEMA.read_text() == json_schema(), "write json_schema() to xortune/space.schema.json"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_spaces_are_good(path):
    check_space(load_space(path), TRAINER)
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    validator.check_schema(validator.schema)
    validator.validate(read_yaml(path.read_text(), path.name).values)


@pytest.mark.parametrize(
    "line", ["sarch: {}", "seeds: {ladder: []}", "search: {sampler: x}", "epochs: 0"]
)
def test_the_schema_refuses_what_the_reader_refuses(line):
    values = {**read_yaml(with_line("# end"), "s").values, **yaml.safe_load(line)}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads(SCHEMA.read_text()))


ADDED = st.text(max_size=4) | st.sampled_from([*"[]{}:,-!&*?|>'\"\\\n #", "when", "\n  ", "1e9"])
EDITS = st.tuples(st.integers(0, 600), st.integers(0, 12), ADDED)


@settings(max_examples=100)
@given(edits=st.lists(EDITS, min_size=1, max_size=4))
def test_no_text_does_anything_but_parse_or_be_refused(edits):
    text = with_line("start: [{activation: ReLU, optimizer: Adam, lr: 1, hidden_dim: 3}]")
    for at, removed, added in edits:
        text = text[:at] + added + text[at + removed :]
    try:
        found = parse_space(text)
    except InputError as error:
        found = error
    assert "pydantic" not in str(found)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("# none", "+success_rate"),
        (
            "[success_rate, epochs_to_solve, hidden_dim]",
            "+success_rate -epochs_to_solve -hidden_dim",
        ),
        ("[epochs_to_solve, {name: lr, direction: maximize}]", "-epochs_to_solve +lr"),
        ("[{name: success_rate, direction: maximize}, {name: lr}]", "+success_rate -lr"),
    ],
)
def test_objectives_are_read_with_their_directions(line, found):
    space = parse_space(with_line(line if line[0] == "#" else f"objectives: {line}"), "s.yaml")
    assert " ".join("-+"[o.maximize] + o.name for o in space.objectives) == found


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ("", "s.yaml:12: objectives: is empty; allowed: at least one"),
        ("hiden_dim", "unknown objective 'hiden_dim'; allowed: success_rate, epochs_to_solve, lr"),
        ("hiden_dim", ", lr, hidden_dim, a number of"),
        ("hiden_dim", "fix: did you mean 'hidden_dim'?"),
        ("success_rate, lr, success_rate", "success_rate is given twice; allowed: each objective"),
        ("lr, {name: lr, direction: maximize}, success_rate", "objectives.1: lr is given twice"),
        ("success_rate, activation", "activation may be 'ReLU', which is not a number"),
        ("success_rate, loss", "loss is fixed"),
        ("success_rate, momentum", "momentum has a condition"),
        ("hidden_dim, lr", "measured; allowed: success_rate or epochs_to_solve"),
        ("{name: success_rate, direction: minimize}", "minimize success_rate; allowed: maximize"),
        ("{name: lr, direction: up}", "unknown direction 'up'; allowed: maximize, minimize"),
        ("{nam: lr}", "objectives.0.nam: unknown key"),
        ("success_rate, 3", "s.yaml:12: objectives.1: 3 is not allowed"),
    ],
)
def test_objectives_that_are_none(listed, told):
    assert told in refused(with_line(f"objectives: [{listed}]"))


def test_a_sampler_of_one_objective_is_refused_several():
    text = FIXED.replace("A", "{low: 0, high: 9}").replace("trials", "sampler: SAMPLER, trials")
    with pytest.raises(InputError, match=r"s:3: search\.sampler: sampler cmaes with 2 obj.*nsgaii"):
        parse_space(text.replace("SAMPLER", "cmaes"), "s")
    space = parse_space(text.replace("SAMPLER", "tpe"), "s")
    with pytest.raises(InputError, match="sampler cmaes with 2 objectives"):
        with_search(space, sampler="cmaes")
    for sampler in ("tpe", "nsgaii", "gp", "random"):
        found = with_search(space, sampler=sampler)
        assert found.objectives == space.objectives == parse_space(found.text).objectives
    one = text.replace("SAMPLER", "cmaes").replace(", a]", "]")
    assert len(parse_space(one).objectives) == 1


def test_a_sampler_whose_package_is_not_installed_is_refused(monkeypatch):
    text = FIXED.replace("A", "{low: 0, high: 9}").replace("trials", "sampler: gp, trials")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"s:3: search\.sampler: sampler gp needs .* torch, which"):
        parse_space(text, "s")


def test_an_objective_that_the_trainer_drops_is_refused():
    drops = SimpleNamespace(check=lambda point: Point({k: v for k, v in point.items() if k != "a"}))
    text = LITTLE.replace("A", "{low: 0, high: 9}")
    space = parse_space(text + "objectives: [success_rate, a]\n", "s")
    with pytest.raises(InputError, match=r"s:4: objectives.*a is not a number in the trained conf"):
        check_space(space, drops)
    check_space(parse_space(text, "s"), drops)


MANY = ", ".join(f"p{number}: 1" for number in range(257))
BOMB = "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a]\n" for i in range(30))
LITTLE = "name: s\nparameters: {a: A, b: {low: 0, high: 9}}\nsearch: {trials: 3}\n"
ONE_RANGE = LITTLE.replace("A", "2").replace("trials", "sampler: cmaes, trials")
FIXED = LITTLE + "objectives: [success_rate, a]\n"
ONE_VALUE = ("{low: 3, high: 3}", "{choice: [3]}", "{value: 3}", "3")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *(
            (text, "s.yaml: is empty; allowed: a mapping")
            for text in ("", "# no\n", "---\n", "null")
        ),
        ("- 1", "s.yaml:1: is a list, not a mapping"),
        ("word", "s.yaml:1: is the single value 'word', not a mapping"),
        ("name: a\nparameters: {}\nsearch: {trials: 3}", "1 to 256 parameters"),
        (f"name: a\nparameters: {{{MANY}}}", "257 parameters; allowed: up to 256"),
        (BOMB, "s.yaml:1: the anchor &a"),
        (ONE_RANGE, "s.yaml:3: search.sampler: 1 range with sampler cmaes"),
        *((FIXED.replace("A", form), "a is fixed") for form in ONE_VALUE),
    ],
)
def test_a_file_is_refused(text, told):
    assert told in refused(text)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    def told(path) -> str:
        with pytest.raises(InputError) as caught:
            load_space(path)
        return str(caught.value)

    (tmp_path / "near.yaml").write_text("name: a")
    assert "there is no such file" in told(tmp_path / "far.yaml")
    assert "near.yaml" in told(tmp_path / "far.yaml")
    assert "is a directory; allowed: a YAML file" in told(tmp_path)
    assert "there is no such file" in told("a\0b")
    (tmp_path / "latin.yaml").write_bytes(b"name: a\ntask: \xe9\n")
    assert "latin.yaml:2: is not UTF-8 text" in told(tmp_path / "latin.yaml")
    (tmp_path / "big.yaml").write_text("#" * 1_000_001)
    assert "larger than 1 MB" in told(tmp_path / "big.yaml")
    closed = Mock(side_effect=PermissionError(13, "Permission denied"))
    monkeypatch.setattr(xortune.spaces.yaml_reader, "open", closed, raising=False)
    assert "cannot be read (Permission denied)" in told(tmp_path / "near.yaml")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "bom.yaml").write_text(with_line("# end"), encoding="utf-8-sig")
    assert load_space(tmp_path / "bom.yaml").name == "demo"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-4", 1e-4), ("1.0e-4", 1e-4), ("-.5", -0.5), ("3.", 3.0), ("0x10", 16), ("0o17", 15)),
        *(("017", 17), ("1_000", "1_000"), ("12:30", "12:30"), ("2020-01-01", "2020-01-01")),
        *(("yes", "yes"), ("off", "off"), ("True", True), ("false", False), ("~", None)),
        *(("'1e-4'", "1e-4"), ('"true"', "true"), ("nan", "nan")),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    found = read_yaml(f"a: {text}", "s").values["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("10m", 600), ("2h", 7200), ("90s", 90), ("45", 45), ("1h30m", 5400), (1.5, 1.5)),
        ("1.5h", 5400),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "m", "-3", "0", 0, "1d", "1m1h", "nan", True, float("nan")]
)
def test_no_durations(text):
    with pytest.raises(InputError, match="is not a duration"):
        parse_duration(text)


# -------------------------------------------------------------------------------------------------
# A command as the trainer.

COMMAND = "python train.py --a={a} --b {b} --seed={seed}"
GOOD = {"command": COMMAND}


def space(trainer=GOOD):
    text = LITTLE.replace("parameters", f"trainer: {json.dumps(trainer)}\nparameters")
    return parse_space(text.replace("A", "{low: -1, high: 1}"), "s.yaml")


def test_a_command_is_read():
    plain = space()
    assert (plain.trainer, plain.task, plain.success) == (COMMAND, None, None)
    assert plain.command == CommandSettings(COMMAND)
    full = space(GOOD | {"success": "a <= 2", "timeout": "1m30s", "files": ["train.py", "lib"]})
    assert full.success == parse_success("a <= 2")
    assert full.command == CommandSettings(
        COMMAND, "a <= 2", "last line json", 90, ("train.py", "lib")
    )


def test_the_rule_of_a_command_may_stand_beside_it_as_that_of_a_function():
    def beside(rule, command=GOOD):
        text = LITTLE.replace("parameters", f"trainer: {json.dumps(command)}\nparameters")
        return parse_space(text.replace("A", "1") + f"success: {rule}\n", "s.yaml")

    found = beside("a <= 2")
    assert (found.success, found.command.metric) == (parse_success("a <= 2"), "last line json")
    assert beside("exit code 0").command.by_exit
    assert beside("a > 1", GOOD | {"metric": REGEX}).success == parse_success("a > 1")
    for rule, command, words in (
        ("high", GOOD, r"s\.yaml:5: success: 'high' is not a rule"),
        ("a > 1", GOOD | {"success": "a > 2"}, r"s\.yaml:5: success: a second rule"),
    ):
        with pytest.raises(InputError, match=words):
            beside(rule, command)


@pytest.mark.parametrize(
    ("given", "by_exit", "metric"),
    [
        ({"success": "Exit  code 0"}, True, None),
        ({"metric": "last line json"}, False, "last line json"),
        ({"metric": "last line number", "success": "exit code 0"}, True, "last line number"),
    ],
)
def test_success_is_the_exit_code_unless_there_are_numbers(given, by_exit, metric):
    found = space(GOOD | given)
    assert (found.command.by_exit, found.command.metric) == (by_exit, metric)
    assert found.success is None


REGEX = {"regex": "a", "name": "a"}


@pytest.mark.parametrize(
    ("key", "given", "words"),
    [
        ("tiemout", {"tiemout": 3}, "did you mean 'timeout'"),
        ("timeout", {"timeout": 0}, "is not a duration"),
        ("files", {"files": "train.py"}, "is not a list"),
        ("success", {"success": "exit code 1"}, "'exit code 0', or a name"),
        ("metric.regex", {"metric": {"regex": "("}, "success": "value > 1"}, "unterminated"),
        ("metric.regex", {"metric": {"regex": "(a)(b)"}}, "has 2 groups"),
        ("metric.regex", {"metric": {"name": "a"}}, "is missing"),
        ("metric.name", {"metric": REGEX | {"name": "a b"}}, "is not a name"),
        ("metric", {"metric": REGEX, "success": "b > 1"}, "judges 'b', and the regex finds 'a'"),
        ("metric", {"metric": {"regex": "a"}}, "what a success is"),
        ("metric", {"metric": ["a"]}, "is not allowed"),
        ("metric", {"metric": "last line"}, "did you mean 'last line json'"),
        ("metric", {"metric": "last line number"}, "what a success is"),
        ("metric", {"metric": "last line number", "success": "acc > 1"}, "judges 'acc'"),
        ("command", {"command": "run {seed} {a}"}, "b is not in the command"),
    ],
)
def test_what_no_command_is_is_told_with_its_line(key, given, words):
    with pytest.raises(InputError) as caught:
        space(GOOD | given)
    assert str(caught.value).startswith(f"s.yaml:2: trainer.{key}")
    assert words in str(caught.value)


def test_a_command_is_needed_and_its_values_must_not_look_like_options():
    with pytest.raises(InputError, match=r"s\.yaml:2: trainer\.command: is missing"):
        space({})
    with pytest.raises(InputError, match=r"s\.yaml:3: parameters\.a: -1 begins with '-'"):
        space({"command": "run {a} {b} {seed}"})


# -------------------------------------------------------------------------------------------------
# The rule for success: a tiny grammar, which never runs anything.

SIGNS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
SIGNS |= {"==": operator.eq, "!=": operator.ne}
RULE_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-/]{0,20}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SPACES = st.sampled_from(["", " ", "  ", "\t"])


@given(RULE_NAMES, st.sampled_from(sorted(SIGNS)), NUMBERS, SPACES, SPACES)
def test_what_is_written_is_read(name, sign, number, before, after):
    rule = parse_success(f"{before}{name}{after} {sign}{before}{number!r}{after}")
    assert (rule.name, rule.sign, rule.limit) == (name, sign, number)
    assert parse_success(str(rule)) == rule


@given(st.sampled_from(sorted(SIGNS)), NUMBERS, st.lists(NUMBERS, max_size=5))
def test_a_rule_compares_as_python_does(sign, limit, numbers):
    rule, numbers = Success("value", sign, limit), [*numbers, limit]
    wanted = [SIGNS[sign](number, limit) for number in numbers]
    assert [rule.judge({"value": number}) for number in numbers] == wanted
    assert rule.judge({"value": np.array(numbers)}).tolist() == wanted


RULES = st.builds(Success, RULE_NAMES, st.sampled_from(sorted(SIGNS)), NUMBERS)


@given(st.lists(RULES, min_size=2, max_size=4), st.lists(NUMBERS, min_size=3, max_size=3))
def test_all_comparisons_of_a_conjunction_have_to_hold(parts, numbers):
    rule = parse_success(" and ".join(map(str, parts)))
    assert parse_success(str(rule)) == rule
    seeds = {name: np.array(numbers) - place for place, name in enumerate(rule.names)}
    held = rule.judge(seeds)
    assert held.tolist() == np.all([part.judge(seeds) for part in parts], axis=0).tolist()
    for seed, wanted in enumerate(held.tolist()):
        one = {name: float(values[seed]) for name, values in seeds.items()}
        assert rule.judge(one) is wanted
        away = [rule.distance(name, number) for name, number in one.items()]
        assert not (wanted and any(away))
    assert set(rule.names) == {part.name for part in parts}
    for name, values in seeds.items():
        alone = [part for part in parts if part.name == name]
        assert rule.limits(name) == tuple(limit for part in alone for limit in part.limits(name))
        said = {part.ordering(name, values) for part in alone}
        assert rule.ordering(name, values) is (said.pop() if len(said) == 1 else None)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_refused_with_a_fix(text):
    told = ""
    try:
        rule = parse_success(text)
    except InputError as error:
        told = str(error)
    fixed = re.search(r'"[^"]+ (>= 0\.9|<= 0\.1)"', told)
    assert fixed or parse_success(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        *("", "accuracy", "accuracy = 0.9", "accuracy >= high", "0.9 <= accuracy"),
        *("accuracy >= 0.9 and", "and loss < 1", "a > 1 and", "a > 1 or b > 1"),
        *("a > 1 and b", "a > 1, b > 1", "a > 1 AND b > 1", "__import__('os').system('true') >= 0"),
        *("accuracy >= nan", "accuracy >= inf", "accuracy >= 1e999", "accuracy >= 0x10"),
        *("accuracy >= 1_000", "accuracy >= 0.9\n; true", "accuracy => 0.9"),
    ],
)
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(InputError, match="is not a rule"):
        parse_success(text)
