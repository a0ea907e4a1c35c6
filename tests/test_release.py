"""What a release needs: each version in one place, bounds that are tested, files that fit."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import xortune

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = [
    match[1]
    for line in PROJECT["project"]["classifiers"]
    if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_a_citation_names_this_version():
    cited = yaml.safe_load(read("CITATION.cff"))
    assert cited["version"] == xortune.__version__
    assert str(Version(xortune.__version__)) == xortune.__version__
    assert {"cff-version", "message", "title", "authors", "type"} <= set(cited)
    assert cited["license"] == PROJECT["project"]["license"]
    assert cited["authors"][0]["name"] in read("LICENSE")
    assert PROJECT["project"]["dynamic"] == ["version"]


def test_the_changelog_keeps_its_form():
    text = read("CHANGELOG.md")
    versions = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert len(versions) == len(re.findall(r"^## ", text, re.MULTILINE))
    names = [name for name, _ in versions]
    assert names[0] in ("Unreleased", xortune.__version__)
    assert all(date for name, date in versions if name != "Unreleased")
    if names[0] == "Unreleased":
        assert f"To be {xortune.__version__}." in text
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert kinds
    assert set(kinds) <= KINDS
    for entries in re.split(r"^##+ .*$", text, flags=re.MULTILINE)[2:]:
        paragraphs = [part for part in entries.split("\n\n") if part.strip()]
        assert all(part.lstrip("\n").startswith(("- ", "To be ")) for part in paragraphs)


def test_the_pythons_are_the_same_everywhere():
    minors = [int(name.partition(".")[2]) for name in PYTHONS]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{PYTHONS[0].replace('.', '')}"
    assert f"Python {PYTHONS[0]} or newer" in read("README.md")


def bounds(name):
    """The lower bounds of a list in pyproject.toml, by the package."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    found = {}
    for line in project["dependencies"] if name is None else extras[name]:
        requirement = Requirement(line)
        if requirement.name != "xortune":
            [bound] = [one for one in requirement.specifier if one.operator == ">="]
            found[requirement.name.lower()] = bound.version
    return found


def test_the_lowest_versions_are_those_that_are_tested():
    lines = [line.partition("#")[0].strip() for line in read(".ci/minimums.txt").splitlines()]
    pinned = dict(line.split("==") for line in lines if line)
    wanted = bounds(None)
    for extra in set(PROJECT["project"]["optional-dependencies"]) - {"bench", "dev"}:
        more = bounds(extra)
        assert all(wanted.get(name, more[name]) == more[name] for name in more), extra
        wanted |= more
    assert {name: Version(text) for name, text in pinned.items()} == {
        name: Version(text) for name, text in wanted.items()
    }
    assert "-c .ci/minimums.txt" in read(".ci/run")


def instructions(name):
    """(word, rest) of each instruction of a container file, its comments left out."""
    lines = [line for line in read(name).splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def copied(name):
    """What a container file copies from the checkout."""
    words = [shlex.split(rest) for word, rest in instructions(name) if word == "COPY"]
    return [
        source
        for line in words
        if not any(word.startswith("--from") for word in line)
        for source in line[:-1]
        if not source.startswith("--")
    ]


@pytest.mark.parametrize("name", ["Dockerfile", "cluster/Dockerfile"])
def test_what_a_container_file_copies_reaches_it(name):
    ignored = [line for line in read(".dockerignore").splitlines() if line and line[0] != "#"]
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    sources = let_in if copied(name) == ["."] else set(copied(name))
    assert sources <= let_in
    project = PROJECT["project"]
    needed = {"pyproject.toml", project["readme"], *project["license-files"]}
    needed |= set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert sources == needed
    assert all((ROOT / source).exists() for source in sources)


def test_the_container_runs_the_command_and_not_as_root():
    found = instructions("Dockerfile")
    images = [rest.split()[0] for word, rest in found if word == "FROM"]
    assert len(set(images)) == 1
    [version] = re.findall(r"python:(3\.\d+)-slim", images[0])
    assert version in PYTHONS
    last = found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]
    said = dict(last)
    assert int(said["USER"]) > 0
    words = [word for word, _ in last]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in ("RUN", "COPY"))
    [command] = json.loads(said["ENTRYPOINT"])
    assert command in PROJECT["project"]["scripts"]
