"""Every mistake in a space file is told with its line, its value, what is allowed and the fix."""

import json

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from space_files import ROOT, SCHEMA, NetworkCheck, refused, with_line

from xortune.core.errors import InputError
from xortune.runs import evaluation
from xortune.spaces.model import MAX_RUNG, SearchSpace, json_schema
from xortune.spaces.space import check_space, load_space, parse_space
from xortune.spaces.text import read_yaml

SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))


def test_the_good_file_is_good():
    check_space(parse_space(with_line("# nothing")), NetworkCheck())


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
        (
            "  optimizer: {choice: [SGD, Adem]}",
            "optimizer",
            ["s.yaml:6: parameters.optimizer: unknown optimizer 'Adem'", "'Adam'"],
        ),
        ("  lr: {low: 2, high: 1}", "lr", ["s.yaml:7: parameters.lr.low", "low 2 is above high 1"]),
        ("  lr: {low: 0, high: 1, log: true}", "lr", ["s.yaml:7", "0 has no logarithm", "above 0"]),
        ("  lr: {low: 1, high: 9, log: true, step: 2}", "lr", ["one of step and log"]),
        ("  lr: {low: 0.1, high: 1.0, step: 0.25}", "lr", ["s.yaml:7", "high to 0.85"]),
        ("  lr: {low: 1, high: 10, step: 0}", "lr", ["0 is not a step", "above 0"]),
        ("  lr: {low: 1.0e+15, high: 2.0e+15, step: 0.01}", "lr", ["lost in rounding"]),
        ("  lr: {choice: []}", "lr", ["s.yaml:7: parameters.lr.choice: is empty"]),
        ("  lr: {choice: [1, 0.5, 1.0]}", "lr", ["s.yaml:7", "1.0 is given twice"]),
        ("  lr: {choice: 3}", "lr", ["s.yaml:7: parameters.lr.choice: 3 is not a list", "[a, b]"]),
        ("  lr: [0.1, 0.2]", "lr", ["s.yaml:7: parameters.lr", "{choice: [..]}"]),
        (
            "  lr: {choice: [[1]]}",
            "lr",
            ["s.yaml:7: parameters.lr", "[1] is a list", "a finite number"],
        ),
        ("  lr: {low: a, high: 1}", "lr", ["s.yaml:7: parameters.lr.low: 'a'", "a number"]),
        ("  lr: {low: true, high: 1}", "lr", ["parameters.lr.low: true", "a number"]),
        ("  lr: {low: 1, high: 2, log: yes}", "lr", ["parameters.lr.log: 'yes'", "true or false"]),
        ("  lr: {}", "lr", ["s.yaml:7: parameters.lr.low: is missing", "a fixed value, {choice"]),
        ("  lr: {low: 1}", "lr", ["s.yaml:7: parameters.lr.high: is missing"]),
        ("  lr: .nan", "lr", ["s.yaml:7", ".nan is not finite", "a finite number"]),
        ("  lr: {low: 0.1, high: .inf}", "lr", ["s.yaml:7", ".inf is not finite"]),
        ("  lr: 1e999", "lr", ["s.yaml:7", "1e999 is not finite"]),
        ("  lr: 0", "lr", ["s.yaml:7: parameters.lr: 0.0 is out of range", "above 0"]),
        ("  hidden_dim: 99999999999999999", "hidden_dim", ["s.yaml:9", "too large", "2**53"]),
        ("  hidden_dim: {low: 0, high: 3}", "hidden_dim", ["s.yaml:9: parameters.hidden_dim: 0"]),
        ("  hidden: 3", "hidden_dim", ["s.yaml:9: parameters.hidden", "did you mean 'hidden_dim'"]),
        (
            "  loss: {choice: [MSELoss], when: {optimiser: SGD}}",
            "loss",
            ["s.yaml:5", "'optimizer'"],
        ),
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
        ("search: {trials: 2.5}", "search", ["s.yaml:10: search.trials: 2.5", "a whole number"]),
        ("search: {trials: 3, seed: -1}", "search", ["s.yaml:10: search.seed: -1", "from 0"]),
        ("search: {trials: 3, sampler: tpee}", "search", ["search.sampler", "mean 'tpe'"]),
        ("search: {trials: 3, time_budget: soon}", "search", ["'soon' is not a duration", '"10m"']),
        ("search: {sampler: grid}", "search", ["s.yaml:7: parameters.lr", "a step or a choice"]),
        ("search: {sampler: cmaes, trials: 9}", "search", ["s.yaml:4: parameters.activation"]),
        ("search: 3", "search", ["s.yaml:10: search: 3 is not a mapping"]),
        ("search:", "search", ["s.yaml:10: search: null is not a mapping"]),
        ("seeds: {ladder: [8, 8]}", "seeds", ["s.yaml:11: seeds.ladder", "ascend", "write [8]"]),
        ("seeds: {ladder: [8, 3]}", "seeds", ["[8, 3] does not ascend", "write [3, 8]"]),
        ("seeds: {ladder: [-8, 3]}", "seeds", ["s.yaml:11: seeds.ladder.0: -8", "from 1"]),
        ("seeds: {ladder: []}", "seeds", ["s.yaml:11: seeds.ladder", "at least one"]),
        ("seeds: {ladder: [67108865]}", "seeds", ["to 67,108,864", "write 67108864 or less"]),
        ("seeds: {certify: 0}", "seeds", ["s.yaml:11: seeds.certify: 0", "from 1"]),
        (
            "seeds: {first: 0}",
            "seeds",
            ["s.yaml:11: seeds.first: unknown key", "ladder, race, finalists, certify"],
        ),
        ("seeds: {race: {alpha: 1}}", "seeds", ["s.yaml:11: seeds.race.alpha: 1", "below 1"]),
        ("seeds: {race: {max: 0}}", "seeds", ["s.yaml:11: seeds.race.max: 0", "from 1"]),
        ("seeds: {race: {mx: 5}}", "seeds", ["seeds.race.mx: unknown key", "alpha, max", "'max'"]),
        ("seeds: {finalists: 0}", "seeds", ["s.yaml:11: seeds.finalists: 0", "from 1"]),
        ("seeds: {race: 5}", "seeds", ["s.yaml:11: seeds.race: 5 is not a mapping"]),
        ("seeds: {race: {}, ladder: [8]}", "seeds", ["s.yaml:11: seeds.race: both a ladder"]),
        ("stop: {proven_rate: 1.0}", "", ["s.yaml:12: stop.proven_rate: 1.0", "below 1"]),
        ("stop: {proven_rate: high}", "", ["s.yaml:12: stop.proven_rate: 'high'", "a number"]),
        ("stop: {proven: 0.9}", "", ["s.yaml:12: stop.proven: unknown key", "'proven_rate'"]),
        ("epochs: 0", "epochs", ["s.yaml:2: epochs: 0", "a whole number"]),
        ("  epochs: 20", "hidden_dim", ["s.yaml:9: parameters.epochs", "twice", "on line 2"]),
        ("name: a/b", "name", ["s.yaml:1: name: 'a/b'", "letters, digits"]),
        ("name: 1", "name", ["s.yaml:1: name: 1", "in quotes"]),
        ("nama: x", "name", ["s.yaml:1: nama: unknown key", "'name'"]),
        ("# no name", "name", ["s.yaml:2: name: is missing", "add a line `name:"]),
        ("task: xorr", "", ["s.yaml:12: task: unknown task 'xorr'", "did you mean 'xor'"]),
        ("task: parity-99", "", ["s.yaml:12: task: parity of 99 bits", "2 to 12"]),
        ("task: {csv: none.csv}", "", ["s.yaml:12: task", "none.csv", "cannot be read"]),
        ("task: {target: y}", "", ["s.yaml:12: task.csv: is missing"]),
        ("task: {csv: a.csv, acuracy: 1}", "", ["s.yaml:12: task.acuracy", "'accuracy'"]),
        ("task: {csv: a.csv, accuracy: 2}", "", ["s.yaml:12: task.accuracy: 2", "at most 1"]),
        ("task: 3", "", ["s.yaml:12: task: 3", "a string"]),
        ("start: [{widht: 3}]", "", ["s.yaml:12: start.0.widht: 'widht' is not a parameter"]),
        ("start: {lr: 3}", "", ["s.yaml:12: start", "not a list"]),
        ("start: [3]", "", ["s.yaml:12: start.0: 3 is not a mapping"]),
        ("lr: 1\nlr: 2", "", ["s.yaml:13: the key 'lr' is given twice, first on line 12"]),
        ("1: 2", "", ["s.yaml:12: the key 1", "in quotes"]),
        ("? [a]\n: 2", "", ["s.yaml:12: a list or mapping as key"]),
        ("start: [", "", ["s.yaml:13: is not valid YAML", "brackets"]),
        ("start: !!python/object:os.system {}", "", ["s.yaml:12: the tag", "remove the tag"]),
        ("start: ! x", "", ["s.yaml:12: the tag '!'"]),
        ("start: &a [1]", "", ["s.yaml:12: the anchor &a", "write values out"]),
        ("start: *a", "", ["s.yaml:12: the alias *a", "write the value out"]),
        ("---\nname: x", "", ["s.yaml:12: a second YAML document"]),
        ("start: " + "[" * 5000, "", ["s.yaml:12: nested too deeply", "10 levels"]),
        ('start: ["\\UFFFFFFFF"]', "", ["not valid YAML (a character or escape"]),
        ('start: ["\\uD800"]', "", ["s.yaml:12: the character '\\ud800'"]),
        ("start: [\x07]", "", ["s.yaml:12: is not valid YAML"]),
    ],
)
def test_a_mistake_is_told(line, at, told):
    message = refused(with_line(line, at))
    for part in told:
        assert part in message
    assert "allowed: " in message or "fix: " in message
    assert "pydantic" not in message
    assert message.count("\n") == 0


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            "{activation: ReLU, optimizer: Adam, hidden_dim: 3}",
            ["start.0.lr: is missing", "0.0001"],
        ),
        (
            "{activation: ReLU, optimizer: Adam, lr: 2, hidden_dim: 3}",
            ["s.yaml:12: start.0.lr: 2 is not in the space", "0.0001 to 1.0"],
        ),
        (
            "{activation: Relu, optimizer: Adam, lr: 1, hidden_dim: 3}",
            ["start.0.activation: 'Relu' is not in the space", "did you mean 'ReLU'"],
        ),
        (
            "{activation: ReLU, optimizer: Adam, lr: 1, hidden_dim: 3.5}",
            ["start.0.hidden_dim: 3.5", "whole numbers from 2 to 8"],
        ),
        (
            "{activation: ReLU, optimizer: Adam, lr: 1, hidden_dim: 3, momentum: 0.5}",
            ["start.0.momentum: 0.5 where momentum is not active", "only where optimizer is SGD"],
        ),
    ],
)
def test_a_start_entry_lies_in_the_space(entry, told):
    message = refused(with_line(f"start: [{entry}]"))
    for part in told:
        assert part in message


def test_cmaes_needs_two_free_ranges():
    text = (
        "name: a\nparameters: {x: {low: 0.0, high: 1.0}, y: 2}\nsearch: {sampler: cmaes, trials: 2}"
    )
    assert "s.yaml:3: search.sampler: 1 range with sampler cmaes" in refused(text)
    assert parse_space(text.replace("y: 2", "y: {low: 1, high: 5}")).search.sampler == "cmaes"


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


def test_the_shipped_schema_is_current():
    assert MAX_RUNG == evaluation.MAX_SEEDS  # more seeds than a line of a journal holds
    assert SCHEMA.read_text() == json_schema(), (
        "write xortune.spaces.model.json_schema() to xortune/space.schema.json"
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_spaces_are_good(path):
    check_space(load_space(path), NetworkCheck())
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    validator.check_schema(validator.schema)
    validator.validate(read_yaml(path.read_text(), path.name).values)


def test_shipped_spaces_are_all_there():
    names = {path.name for path in SHIPPED}
    assert names >= {"xor.yaml", "xor_small.yaml", "parity3.yaml", "optimizers.yaml"}
    told = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    assert "xor_front.yaml" in names
    assert f" {('Three', 'Four', 'Five', 'Six', 'Seven')[len(names) - 4]} more are in" in told


@pytest.mark.parametrize(
    "line", ["sarch: {}", "seeds: {ladder: []}", "search: {sampler: x}", "epochs: 0"]
)
def test_the_schema_refuses_what_the_reader_refuses(line):
    values = {**read_yaml(with_line("# end"), "s").values, **yaml.safe_load(line)}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads(SCHEMA.read_text()))


EDITS = st.lists(
    st.tuples(
        st.integers(0, 600),
        st.integers(0, 12),
        st.text(max_size=4) | st.sampled_from([*"[]{}:,-!&*?|>'\"\\\n #", "when", "\n  ", "1e9"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100)
@given(edits=EDITS)
def test_no_text_does_anything_but_parse_or_be_refused(edits):
    text = with_line("start: [{activation: ReLU, optimizer: Adam, lr: 1, hidden_dim: 3}]")
    for at, removed, added in edits:
        text = text[:at] + added + text[at + removed :]
    try:
        found = parse_space(text)
    except InputError as error:
        found = error
    assert isinstance(found, SearchSpace | InputError)
    assert "pydantic" not in str(found)
