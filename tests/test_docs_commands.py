"""Every command on a page of docs/ can be given, and every space file on one is a space file.

What the commands do is tested where the page is (tests/test_docs_site.py says where). Here are also
index.md, cluster.md and security.md, whose commands need a cluster, a bucket or an afternoon.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from xortune.cli.shared import app
from xortune.spaces.space import parse_space

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").rglob("README.md"))]


def blocks(language, page):
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page):
    """The words of each command in the page's shell blocks."""
    for block in blocks("sh", page):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(re.sub(r"(^|\s)#.*", "", part))
                while words and re.match(r"[A-Z_]+=", words[0]):
                    del words[0]  # for the environment
                if words:
                    yield words


COMMANDS = sorted({tuple(words) for page in PAGES for words in commands(page)})
OURS = [words for words in COMMANDS if words[0] == "xortune"]


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_every_command_parses(words):
    group = typer.main.get_command(app)
    context = group.context_class(group, info_name="xortune")
    name, verb, rest = group.resolve_command(context, list(words[1:]))
    with verb.make_context(name, rest, parent=context):
        pass


def test_a_wrong_one_is_noticed():
    with pytest.raises(Exception, match="No such option"):
        test_every_command_parses(("xortune", "search", "a.yaml", "--sedes", "3"))
    assert len(OURS) > 30


def test_what_is_not_ours_is_known():
    known = {"xortune", "python", "python3", "pip", "ray", "export", ".", "git", "cd", "cat"}
    known |= {"optuna-dashboard", "tensorboard", "mlflow", "wandb", "pytest"}
    assert {words[0] for words in COMMANDS} <= known
    for words in COMMANDS:
        scripts = [word for word in words[1:] if re.fullmatch(r"[a-z]+/\w+\.py", word)]
        if words[0].startswith("python") and scripts:
            script = (ROOT / scripts[0]).read_text(encoding="utf-8")
            assert all(word in script for word in words if word.startswith("--"))


SPACES = [
    (page.stem, block)
    for page in PAGES
    for block in blocks("yaml", page)
    if re.search(r"^parameters:", block, re.MULTILINE)
]


@pytest.mark.parametrize(("page", "block"), SPACES, ids=[page for page, _ in SPACES])
def test_every_space_is_one(page, block, tmp_path):
    for name in re.findall(r"^trainer: \./(\w+\.py)", block, re.MULTILINE):
        (tmp_path / name).touch()
    space = parse_space(block, f"docs/{page}.md", tmp_path)
    assert space.parameters


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_of_its_language(page):
    for block in blocks("yaml", page):
        list(yaml.safe_load_all(block))
    for block in blocks("python", page):
        compile(block, page.name, "exec")
