"""examples/ work as printed: each README's commands in a copy of its folder, in a small form."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import forked
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app
from xortune.spaces.space import load_space

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NAMES = ("cartpole", "digits-cnn", "digits-mlp", "grokking", "huggingface", "lightning", "sb3")
TRAININGS = {"grokking": "Grokking"}
"""What trains where it is no function named run."""
SMALLER = {"epochs": 1, "steps": 1500}
"""Fixed parameters that say how long a training is."""


def readme(name):
    return (EXAMPLES / name / "README.md").read_text(encoding="utf-8")


def commands(name):
    """The lines of the README's shell block: pip first, then xortune."""
    [block] = re.findall(r"^```sh\n(.*?)^```$", readme(name), flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


def skip_without_packages(name):
    try:
        for package in commands(name)[0][2:]:
            version(package)
    except PackageNotFoundError as error:
        pytest.skip(f"pip install {error.name}")


def small_copy(name, folder, ladder):
    """The example in a folder of its own, with short trainings, few configs and few seeds."""
    copy = Path(shutil.copytree(EXAMPLES / name, folder / name))
    space = yaml.safe_load((copy / "space.yaml").read_text(encoding="utf-8"))
    if "success" in space:
        parameters = space["parameters"]
        parameters |= {name: value for name, value in SMALLER.items() if name in parameters}
        # Such a training learns little: any number is a success, so that it can be certified.
        space["success"] = re.sub(r"[\d.]+$", "0", space["success"])
    space |= {"search": {"sampler": "random", "trials": 2}, "seeds": {"ladder": ladder}}
    (copy / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False), encoding="utf-8")
    return copy


@pytest.mark.parametrize("name", NAMES)
def test_its_readme_is_short_and_its_space_is_valid(name):
    lines = [line for line in readme(name).splitlines() if line.strip()]
    assert 8 <= len(lines) <= 16
    install, *verbs = commands(name)
    assert install[:2] == ["pip", "install"]
    assert [words[:2] for words in verbs] == [
        ["xortune", verb] for verb in ("space", "search", "certify")
    ]
    space = load_space(EXAMPLES / name / "space.yaml")
    assert space.trainer == f"./train.py:{TRAININGS.get(name, 'run')}"
    assert yaml.safe_load(space.text)["success"] in readme(name)
    assert verbs[2][2] == f"runs/{space.name}"
    program = (EXAMPLES / name / "train.py").read_text(encoding="utf-8")
    if re.search(r"^import torch", program, re.M):
        assert "\ntorch.set_num_threads(1)" in program


def test_what_they_need_is_an_extra_and_the_table_lists_them():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {re.split(r"[<>=\[]", one)[0] for one in project["optional-dependencies"]["examples"]}
    own = {re.split(r"[<>=\[]", one)[0] for one in project["dependencies"]}
    assert {package for name in NAMES for package in commands(name)[0][2:]} <= extra | own
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(\1/?\)", (EXAMPLES / "README.md").read_text(), re.M)
    assert sorted(rows) == sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))
    sdist = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert "examples" in sdist["targets"]["sdist"]["include"]


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_its_commands_work_as_printed(name, tmp_path):
    skip_without_packages(name)
    folder = small_copy(name, tmp_path, [2, 4])
    for _, *words in commands(name)[1:]:
        small = ["--top", "1", "--seeds", "6"] if words[0] == "certify" else []
        # The environment has nothing of this folder but what finds Python's packages.
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = forked.run(["-m", "xortune", *words, *small], cwd=folder, env=env)
        assert "the first failure" not in done.stderr
    run = xt.load_run(folder / commands(name)[-1][2])
    assert run.certificate.best.n == 6
    assert not run.seeds.status.eq("crashed").any()
    # A plain loop over the same seeds, without xortune, finds the same numbers to the last bit.
    kind = TRAININGS.get(name)
    training = f"train.{kind}(config).run(seed)" if kind else "train.run(config, seed)"
    loop = (
        "import json, sys, train\n"
        "for config, seed in json.load(sys.stdin):\n"
        f"    found = {training}\n"
        "    print(json.dumps({key: float(number) for key, number in found.items()}))\n"
    )
    seeds = pd.read_parquet(run.path / "seeds.parquet")
    asked = [(dict(run.best), int(seed)) for seed in seeds[seeds.key == run.best.key].seed]
    plain = subprocess.run(
        [sys.executable, "-c", loop],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    numbers = [json.loads(line) for line in plain.stdout.splitlines()]
    assert len(numbers) == len(asked) >= 2
    for column in numbers[0]:
        of_run = seeds[seeds.key == run.best.key][column].tolist()
        assert of_run == [found[column] for found in numbers]


@pytest.mark.usefixtures("no_ray")
def test_the_example_works_as_printed(tmp_path):
    copy = small_copy("shell-command", tmp_path, [3])
    assert len([line for line in readme("shell-command").splitlines() if line.strip()]) <= 16
    with contextlib.chdir(copy):
        for _, verb, *words in commands("shell-command"):
            small = ["20" if word == "1000" else word for word in words]
            small += ["--workers", "0"] if verb == "search" else []
            result = CliRunner().invoke(app, [verb, *small])
            assert result.exit_code == 0, result.output
    run = xt.load_run(copy / "runs" / "shell")
    assert run.certificate.best.n == 20
    for found in run.results:
        for seed, solved in enumerate(found.outcome.solved):
            words = [f"--{name}={value}" for name, value in found.point.items()]
            done = subprocess.run(
                ["./train.sh", *words, f"--seed={seed}"], cwd=copy, capture_output=True, check=True
            )
            loss = json.loads(done.stdout.decode().splitlines()[-1].replace("nan", "NaN"))["loss"]
            assert solved == (loss < 0.01)
