import contextlib
import io
import json
import re
from dataclasses import replace

import pytest
import yaml
from commands import refused, xortune
from compared import purpose
from hand_made import CONFIG, append, done, solved, write_run

import xortune as xt
from xortune.core.point import Point
from xortune.runs.run import load_run

SPACE = """
name: small
epochs: 300
parameters: {activation: Tanh, loss: MSELoss, optimizer: Adam, lr: 0.03, hidden_dim: 5}
search: {sampler: random, trials: 1}
"""
FIRST = Point({**CONFIG, "epochs": 300, "lr": 0.05})
SECOND = Point({**CONFIG, "epochs": 300, "lr": 0.02})


@pytest.fixture
def run(tmp_path):
    counted = enumerate([(FIRST, 8), (SECOND, 6)])
    lines = [done(i, point, solved(0, k, 8, epochs=300)) for i, (point, k) in counted]
    return write_run(tmp_path / "run", lines, space_text=SPACE, trainer="network", task="xor")


def certified(run):
    """A certificate by which the second is better."""
    for rank, (point, k) in enumerate([(FIRST, 45), (SECOND, 50)], 1):
        line = done(0, point, solved(2**30 + 2**29, k, 50, epochs=300))
        append(run.path, replace(line, purpose=purpose(point, rank, 2, 50)))
    xt.write_report(load_run(run.path))
    return load_run(run.path)


def printed(script):
    """What the program prints, in this process: another one imports torch again."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(script, "best.py", "exec"), {"__name__": "__main__"})
    return out.getvalue().splitlines()


def test_the_program_counts_what_the_run_counted_and_knows_nothing_of_us(tmp_path):
    point = Point({**CONFIG, "lr": 0.1, "activation": "ReLU", "epochs": 80})
    counted = done(0, point, xt.evaluate(xt.Config.from_point(point), range(24)))
    run = write_run(tmp_path / "real", [counted], space_text=SPACE, trainer="network", task="xor")
    script = xt.export(run)
    assert "xortune" not in script
    assert set(re.findall(r"^ *(?:from|import) (\w+)", script, re.M)) == {"torch"}
    outcome = run.results[0].outcome
    k = int(outcome.solved[:20].sum())
    assert 0 < k < 20  # else the wrong rule could count the same
    told = f"# Config {run.best.key}, task xor: {outcome.successes} of 24 seeds solved in the"
    assert script.startswith(told)
    *lines, last = printed(script)
    assert last == f"{k}/20 seeds solved, {k}/20 expected"
    words = {True: "solved", False: "not solved"}
    assert lines == [f"seed {s}: {words[bool(outcome.solved[s])]}" for s in range(20)]


def test_more_or_fewer_seeds_of_those_that_are_known(run):
    run = certified(run)
    first = run.certificate.best.first
    assert f"SEEDS = [*range(0, 8), *range({first}, {first + 12})]" in xt.export(run)
    assert "SEEDS = [*range(0, 3)]\nEXPECTED = 3 " in xt.export(run, seeds=3)
    few = xt.export(run, key=FIRST.key, seeds=56)
    assert f"SEEDS = [*range(0, 8), *range({first}, {first + 48})]\nEXPECTED = 53 " in few
    for seeds in (59, 0):
        told = f"--seeds: {seeds} seeds, but the run has results of only 58; allowed: 1 to 58"
        refused(xortune("export", run.path, "--seeds", seeds), told, "xortune certify")


def test_a_certified_run_gives_the_config_that_a_gate_would_pass(run):
    loaded = certified(run)
    assert loaded.best.lr == 0.05
    result = xortune("export", run.path)
    assert "lr=0.02" in result.stdout
    told = f"# On fresh seeds from {loaded.certificate.best.first}: 50 of 50, so at least 91."
    assert re.search(rf"{told}6\d* % of all seeds \(confidence 0.95\).\n", result.stdout)
    assert f"the search's first was {FIRST.key}" in result.stderr
    assert xt.gate(loaded, min_rate=0.9).key == SECOND.key
    assert xortune("export", run.path, "--key", FIRST.key).stderr == ""


def test_held_out_rows_are_judged(tmp_path):
    table = tmp_path / "data.csv"
    rows = [f"{i % 2},{i // 2 % 2},{(i % 2) ^ (i // 2 % 2)},{int(i >= 8)}" for i in range(12)]
    table.write_text("a,b,y,test\n" + "\n".join(rows) + "\n")
    space = SPACE.replace("epochs", f"task: {{csv: {table}, target: y, held_out: test}}\nepochs", 1)
    lines = [done(0, FIRST, solved(0, 8, 8, epochs=300))]
    run = write_run(tmp_path / "run", lines, space_text=space, trainer="network")
    config = xt.Config.from_point(FIRST)
    same = xt.evaluate(config, range(8), task=run.asked.task)
    *said, last = printed(xt.export(run))
    assert [line.endswith(": solved") for line in said] == same.solved.tolist()
    assert last == f"{same.successes}/8 seeds solved, 8/8 expected"


def test_yaml_and_json_are_read_by_hydra_s_reader_as_they_were(tmp_path):
    from omegaconf import OmegaConf

    odd = {"lr": 1e-05, "big": 1e22, "half": 0.5, "width": 64, "on": True, "null value": None}
    odd |= {"text": "1e5", "word": "yes", "colon": "a: b # c", "name.with.dots": "x", "empty": ""}
    run = write_run(tmp_path / "own", [done(0, odd, solved(0, 1, 2))], trainer="./train.py:run")
    text = xt.export(run, format="yaml")
    first, rest = text.split("\n", 1)
    assert first == f"# Config {Point(odd).key} of {run.path}: 1 of 2 seeds solved in the search."
    path = tmp_path / "best.yaml"
    path.write_text(text)
    for loaded in (OmegaConf.to_container(OmegaConf.load(path)), yaml.safe_load(text)):
        assert loaded == odd
        assert [type(v) for v in loaded.values()] == [type(v) for v in odd.values()]
    path.write_text(xt.export(run, format="json"))
    assert OmegaConf.to_container(OmegaConf.load(path)) == odd == json.loads(path.read_text())
    assert rest.count("\n") == len(odd)


@pytest.mark.parametrize("text", ["${lr}", "???"])
def test_what_omegaconf_takes_for_something_else_is_refused(tmp_path, text):
    run = write_run(tmp_path / "own", [done(0, {"a": text}, solved(0, 1, 2))], trainer="f")
    with pytest.raises(xt.InputError, match="would be interpreted by OmegaConf"):
        xt.export(run, format="yaml")
    assert json.loads(xt.export(run, format="json")) == {"a": text}


def test_the_ending_of_the_output_says_the_format(run, tmp_path):
    for name in ("c.yaml", "c.yml", "c.YAML"):
        assert xortune("export", run.path, "--output", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_text() == xt.export(run, format="yaml")
    xortune("export", run.path, "--output", tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == FIRST.as_dict()
    xortune("export", run.path, "--output", tmp_path / "c.txt", "--format", "json")
    assert (tmp_path / "c.txt").read_text() == (tmp_path / "c.json").read_text()
    verdict = xortune("gate", "--config", tmp_path / "c.yaml", "--min-rate", "0.01")
    assert verdict.exit_code == 0, verdict.output
    for words, told in (
        (["yml"], "error: --format: 'yml'; allowed: py, yaml, json"),
        (["yaml", "--seeds", "3"], "--seeds: 3 with yaml; allowed: with format py"),
    ):
        refused(xortune("export", run.path, "--format", *words), told)
