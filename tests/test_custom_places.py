"""A function that reads a file where the search was started finds it in the workers too."""

import pytest

import xortune as xt
from xortune.spaces.space import parse_space

SPACE = """
name: places
trainer: ./code/train.py:run
success: "value >= 0.5"
parameters: {x: {low: 0, high: 2}}
search: {sampler: grid}
seeds: {ladder: [4], certify: 5}
"""

TRAIN = """
import os
import tempfile
from pathlib import Path

BESIDE = float(Path(__file__).with_name("beside.txt").read_text())

def run(config, seed):
    here = float(Path("data.txt").read_text())
    away = tempfile.mkdtemp()
    os.chdir(away)  # as some tools do, and never back
    os.rmdir(away)
    os.chdir(Path(__file__).parent.parent)
    return here * BESIDE * ((seed + config["x"]) % 3)
"""


@pytest.mark.usefixtures("one_ray")
def test_relative_files_of_a_function_are_those_of_a_plain_loop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(TRAIN)
    (tmp_path / "code" / "beside.txt").write_text("0.5")
    (tmp_path / "data.txt").write_text("1.0")
    (tmp_path / "space.yaml").write_text(SPACE)
    run = xt.search("space.yaml", output="run")
    found = [*((r.point, r.outcome) for r in run.results)]
    found += [(check.block.point, check.outcome) for check in run.checks]
    assert len(found) == 6
    for point, outcome in found:
        values = [0.5 * ((seed + point["x"]) % 3) for seed in outcome.seeds.tolist()]
        assert outcome.details.values["value"].tolist() == values
        assert outcome.solved.tolist() == [value >= 0.5 for value in values]
    assert (tmp_path / "run" / "report.md").exists()


@pytest.mark.parametrize("name", ["größe", "λ", "学习率", "n-layers", "C", "lr0", "_x.y"])
def test_parameters_may_have_any_name(name):
    searched = f"parameters: {{{name}: {{low: 1, high: 2}}}}\nsearch: {{sampler: grid}}\n"
    space = parse_space(f"name: any\ntrainer: t:f\n{searched}")
    assert [parameter.name for parameter in space.parameters] == [name]


@pytest.mark.parametrize("name", ["a b", "1x", "-x", "a/b", "a{b"])
def test_but_signs_that_a_column_or_an_option_could_not_have_are_refused(name):
    with pytest.raises(xt.InputError, match="is not a parameter name; allowed: letters, digits"):
        parse_space(f'name: any\ntrainer: t:f\nparameters: {{"{name}": {{low: 1, high: 2}}}}\n')
