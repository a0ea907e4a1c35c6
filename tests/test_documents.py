"""Runs the code of README.md, docs/ and examples/: one test for each page, in an empty folder.

The blocks of a page are taken from top to bottom:

- `sh`: each line is a command that must exit with 0,
- `python`: a program; the programs of a page share their names, as the cells of a notebook do,
- `text` after one of these: lines that it printed, but for numbers and widths,
- `yaml`: what YAML can read; with `parameters:` it is a valid space file.

An HTML comment on the line before a block says what else it is:

- `<!-- file: train.py -->`: the block is written to this file, and not run,
- `<!-- exit: 2 -->`: its commands exit with this code,
- `<!-- output of: xortune space a.yaml -->`: the command that printed this text,
- `<!-- exact -->`: the text is what was printed, numbers and all,
- `<!-- exact lines -->`: its lines were printed, numbers and all,
- `<!-- not run: it needs a cluster -->`: it is only parsed.

`<!-- long -->` anywhere on a page marks its test `long`.
"""

import contextlib
import io
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import forked
import pandas as pd
import pytest
import typer
import yaml
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app
from xortune.spaces.space import load_space, parse_space

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"toml", "sh", "python", "text", "yaml", "{toctree}", "{eval-rst}"}


class CodeBlock(NamedTuple):
    """A fenced block of a page, its first line (from 1), and the comments before it."""

    line: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def runs(self) -> bool:
        """Whether it is done, not only parsed or written down."""
        return self.language in ("sh", "python") and not {"file", "not run"} & self.marks.keys()


BLOCK = re.compile(
    r"^(?P<marks>(?:<!-- [^\n]* -->\n)*)```(?P<language>\S+)\n(?P<text>.*?)^```$", re.M | re.S
)
MARK = re.compile(r"<!-- ([a-z ]+?)(?:: (.*?))? -->")


def blocks(text: str) -> list[CodeBlock]:
    """The fenced blocks of a page, in order."""
    return [
        CodeBlock(
            text[: found.start("text")].count("\n") + 1,
            found["language"],
            found["text"],
            dict(MARK.findall(found["marks"])),
        )
        for found in BLOCK.finditer(text)
    ]


def commands(block: CodeBlock) -> list[list[str]]:
    """The words of each command of a shell block."""
    lines = block.text.replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in re.sub(r"(^|\s)#.*", "", line).split("&&")]
    return [words for part in parts if (words := shlex.split(part))]


# -------------------------------------------------------------------------------------------------
# What is shown and what is printed.


def shape(line: str) -> str:
    """A line without its numbers, bars and widths, which may differ on another processor."""
    line = re.sub(r"[█▉▊▋▌▍▎▏░]+|={3,}", "", re.sub(r"-?\d[\d.,e]*", "0", line))
    return " ".join(line.split())


RANKED = ("0 0/0 ",)


def not_printed(shown: str, printed: str) -> list[str]:
    """The lines shown that were not printed, but for numbers. `…` stands for lines left out.

    Rows of a ranking begin with two numbers, rank and count; they are compared by their number of
    words, because which configuration is the third may depend on the processor.
    """
    lines = {shape(line) for line in printed.splitlines()}
    widths = {len(line.split()) for line in lines if line.startswith(RANKED)}
    return [
        line
        for line in shown.splitlines()
        if line.strip() != "…" and shape(line) not in lines
        if not (shape(line).startswith(RANKED) and len(shape(line).split()) in widths)
    ]


def test_a_line_that_is_not_printed_is_noticed():
    assert not_printed("3 of 4 solved\n…\n", "95 of 128  solved\nmore\n") == []
    assert not_printed("3 of 4 failed\n", "95 of 128 solved\n") == ["3 of 4 failed"]
    assert not_printed(" 1  9/9  Tanh  0.1\n", " 1  8/9  ReLU  0.5\n") == []


# -------------------------------------------------------------------------------------------------
# A page is done from top to bottom.


def run_command(words: list[str], exit_code: int) -> str:
    """Run a command in the present folder; what it printed."""
    if words[0] == "xortune":
        ran = CliRunner().invoke(app, words[1:])
        assert ran.exit_code == exit_code, f"{shlex.join(words)}\n{ran.output}"
        return ran.stdout + ran.stderr
    assert words[0] == "python", f"mark it `<!-- not run: why -->`: {shlex.join(words)}"
    done = forked.run(words[1:], check=False)
    assert done.returncode == exit_code, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what pages take from a clone. Modules imported from it are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    shutil.copytree(ROOT / "search_spaces", tmp_path / "search_spaces")
    committed = tmp_path / "reports" / "xor"
    committed.mkdir(parents=True)
    for name in ("evaluations.jsonl", "manifest.json", "space.yaml", "certificate.json"):
        shutil.copyfile(ROOT / "reports" / "xor" / name, committed / name)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
CASES = [
    pytest.param(page, id=page.stem, marks=[pytest.mark.long] * ("<!-- long -->" in text))
    for page, text in TEXTS.items()
    if any(block.runs for block in blocks(text))
]


@pytest.mark.parametrize("page", CASES)
@pytest.mark.usefixtures("place")
def test_a_page_does_what_it_says(page):
    names = do(page)
    if page.stem == "agents":
        check_agents(names)


def do(page):
    """Do a page from top to bottom; the names that its programs share."""
    names: dict[str, object] = {"__name__": page.stem}
    printed = ""
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}, line {block.line}"
        if "file" in block.marks:
            Path(block.marks["file"]).write_text(block.text, encoding="utf-8")
        elif block.runs and block.language == "sh":
            code = int(block.marks.get("exit", 0))
            printed = "".join(run_command(words, code) for words in commands(block))
        elif block.runs:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, where, "exec"), names)
            printed = out.getvalue()
        elif block.language == "text" and "not run" not in block.marks:
            if command := block.marks.get("output of"):
                printed = run_command(shlex.split(command), 0)
            if "exact" in block.marks:
                assert block.text == printed, where
            if "exact lines" in block.marks:
                assert set(block.text.splitlines()) <= set(printed.splitlines()), where
            lines = not_printed(block.text, printed)
            assert lines == [], f"{where}: not printed:\n" + "\n".join(lines) + f"\nbut:\n{printed}"
    return names


def check_agents(names):
    """The service refused some requests, and all counts are those of one that refuses none."""
    service = names["service"]
    assert service.refused.total() > 0
    assert max(service.requests.values()) > service.LIMIT

    def unlimited(config, seed):
        rate = {"think first": 0.97, "answer at once": 0.85}[config["prompt"]]
        return random.Random(f"{config['prompt']} {seed}").random() < rate

    think, once = ({"prompt": prompt} for prompt in ("think first", "answer at once"))
    plain = {"train": unlimited, "workers": 0}
    outcome = xt.evaluate(think, range(100), **plain)
    assert names["outcome"].solved.tolist() == outcome.solved.tolist()
    verdict, gate = names["verdict"], xt.gate(think, verbose=0, **plain, **names["gate"])
    assert verdict.answer == gate.answer
    compared = xt.compare([think, once], seeds=100, output="plain", verbose=0, **plain)
    found = names["result"].contestants
    assert [one.outcome.successes for one in found] == [
        one.outcome.successes for one in compared.contestants
    ]
    assert [one.outcome.n for one in found] == [100, 100]


# -------------------------------------------------------------------------------------------------
# What is not run is parsed.


@cache
def xortune() -> typer.core.TyperGroup:
    """All commands."""
    return typer.main.get_command(app)


def parse_command(words: list[str]) -> None:
    """Raises if xortune does not know the command or one of its options."""
    group = xortune()
    context = group.context_class(group, info_name="xortune")
    name, verb, rest = group.resolve_command(context, words[1:])
    with verb.make_context(name, rest, parent=context):
        pass


def unknown_options(text: str) -> list[str]:
    """The commands in a page's prose that xortune does not know, or with such an option."""
    verbs = xortune().commands
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return [
        command
        for command in re.findall(r"`xortune (\w[^`]*)`", prose)
        if (verb := verbs.get(command.split()[0])) is None
        or {*re.findall(r"--[a-z-]+", command)}
        - {o for p in verb.params for o in p.opts}
        - {"--help"}
    ]


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "reports" / "README.md", *EXAMPLES],
    ids=lambda page: f"{page.parent.name}/{page.stem}",
)
def test_every_block_is_of_its_language(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    found = blocks(text)
    assert len(re.findall(r"^ *```", text, re.M)) == 2 * len(found), "a block without a language"
    assert {block.language for block in found} <= LANGUAGES
    (tmp_path / "train.py").touch()
    assert unknown_options(text) == []
    for block in found:
        if block.language == "sh":
            for words in commands(block):
                while re.match(r"[A-Z_]+=", words[0]):
                    del words[0]  # for the environment
                if words[0] == "xortune":
                    parse_command(words)
        elif block.language == "python":
            compile(block.text, page.name, "exec")
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "yaml":
            list(yaml.safe_load_all(block.text))
            if re.search(r"^parameters:", block.text, re.M):
                assert parse_space(block.text, page.name, tmp_path).parameters


def test_a_wrong_command_is_noticed():
    with pytest.raises(Exception, match="No such option"):
        parse_command(["xortune", "search", "a.yaml", "--sedes", "3"])
    assert unknown_options("`xortune serach a` `xortune plan --rate 1`") == ["serach a"]


@pytest.mark.parametrize(
    "page",
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *EXAMPLES],
    ids=lambda page: f"{page.parent.name}/{page.stem}",
)
def test_links_lead_somewhere(page):
    def anchors(text: str) -> set[str]:
        """Of the headings, as GitHub names them."""
        heads = re.findall(r"^#+ (.+)$", text, re.M)
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}

    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        there = page.parent / target if target else page
        assert there.exists(), link
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), link


# -------------------------------------------------------------------------------------------------
# Examples: each README's commands as printed, in a copy of its folder, in a small form.

NAMES = ("cartpole", "digits-cnn", "digits-mlp", "grokking", "huggingface", "lightning", "sb3")
TRAININGS = {"grokking": "Grokking"}
"""What trains where it is no function named run."""
SMALLER = {"epochs": 1, "steps": 1500}
"""Fixed parameters that say how long a training is."""


def readme(name):
    return (ROOT / "examples" / name / "README.md").read_text(encoding="utf-8")


def printed_commands(name):
    """The commands of the README's shell block: pip first, then xortune."""
    [block] = [block for block in blocks(readme(name)) if block.language == "sh"]
    return commands(block)


def small_copy(name, folder, ladder):
    """The example in a folder of its own, with short trainings, few configs and few seeds."""
    copy = Path(shutil.copytree(ROOT / "examples" / name, folder / name))
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
    install, *verbs = printed_commands(name)
    assert install[:2] == ["pip", "install"]
    wanted = [["xortune", verb] for verb in ("space", "search", "certify")]
    assert [words[:2] for words in verbs] == wanted
    space = load_space(ROOT / "examples" / name / "space.yaml")
    assert space.trainer == f"./train.py:{TRAININGS.get(name, 'run')}"
    assert yaml.safe_load(space.text)["success"] in readme(name)
    assert verbs[2][2] == f"runs/{space.name}"
    program = (ROOT / "examples" / name / "train.py").read_text(encoding="utf-8")
    if re.search(r"^import torch", program, re.M):
        assert "\ntorch.set_num_threads(1)" in program


def test_what_they_need_is_an_extra_and_the_table_lists_them():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, table = settings["project"], (ROOT / "examples" / "README.md").read_text()
    extra = {re.split(r"[<>=\[]", one)[0] for one in project["optional-dependencies"]["examples"]}
    own = {re.split(r"[<>=\[]", one)[0] for one in project["dependencies"]}
    assert {package for name in NAMES for package in printed_commands(name)[0][2:]} <= extra | own
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(\1/?\)", table, re.M)
    assert sorted(rows) == sorted(path.parent.name for path in EXAMPLES)
    assert "examples" in settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_its_commands_work_as_printed(name, tmp_path):
    try:
        assert list(map(version, printed_commands(name)[0][2:]))
    except PackageNotFoundError as error:
        pytest.skip(f"pip install {error.name}")
    folder = small_copy(name, tmp_path, [2, 4])
    for _, *words in printed_commands(name)[1:]:
        small = ["--top", "1", "--seeds", "6"] if words[0] == "certify" else []
        # The environment has nothing of this folder but what finds Python's packages.
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = forked.run(["-m", "xortune", *words, *small], cwd=folder, env=env)
        assert "the first failure" not in done.stderr
    run = xt.load_run(folder / printed_commands(name)[-1][2])
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
    how = {"cwd": folder, "env": os.environ | {"OMP_NUM_THREADS": "1"}, "text": True}
    plain = subprocess.check_output([sys.executable, "-c", loop], input=json.dumps(asked), **how)
    numbers = [json.loads(line) for line in plain.splitlines()]
    assert len(numbers) == len(asked) >= 2
    for column in numbers[0]:
        of_run = seeds[seeds.key == run.best.key][column].tolist()
        assert of_run == [found[column] for found in numbers]


@pytest.mark.usefixtures("no_ray")
def test_the_example_works_as_printed(tmp_path):
    copy = small_copy("shell-command", tmp_path, [3])
    assert len([line for line in readme("shell-command").splitlines() if line.strip()]) <= 16
    with contextlib.chdir(copy):
        for _, verb, *words in printed_commands("shell-command"):
            small = ["20" if word == "1000" else word for word in words]
            small += ["--workers", "0"] if verb == "search" else []
            result = CliRunner().invoke(app, [verb, *small])
            assert result.exit_code == 0, result.output
    run = xt.load_run(copy / "runs" / "shell")
    assert run.certificate.best.n == 20
    for found in run.results:
        for seed, solved in enumerate(found.outcome.solved):
            words = [f"--{name}={value}" for name, value in found.point.items()]
            command = ["./train.sh", *words, f"--seed={seed}"]
            said = subprocess.check_output(command, cwd=copy, text=True)
            loss = json.loads(said.splitlines()[-1].replace("nan", "NaN"))["loss"]
            assert solved == (loss < 0.01)
