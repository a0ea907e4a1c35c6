"""The documentation as a whole: every page is listed, linked and tested, and the site builds."""

import html
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import xortune

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def fenced(text):
    """The language of each fenced block, and the block."""
    return re.findall(r"^```(\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_every_page_is_in_the_list():
    listed = [
        line
        for language, block in fenced(PAGES["index"])
        if language == "{toctree}"
        for line in block.splitlines()
        if line and not line.startswith(":")
    ]
    assert len(set(listed)) == len(listed)
    assert {name for name in listed if "/" not in name} == PAGES.keys() - {"index"}
    outside = [name for name in listed if "/" in name]
    assert [name for name in outside if not (DOCS / f"{name}.md").is_file()] == []


def test_the_reference_has_every_public_name():
    told = re.findall(r"^\.\. auto(\w+):: xortune\.(\w+)$", PAGES["api"], re.MULTILINE)
    assert sorted(name for _, name in told) == sorted(set(xortune.__all__) - {"__version__"})
    assert "`xortune.__version__`" in PAGES["api"]
    for kind, name in told:
        value = xortune.__getattr__(name)
        assert value.__doc__, name
        wanted = "function"
        if isinstance(value, type):
            wanted = "exception" if issubclass(value, Exception) else "class"
        assert kind == wanted, name
    exec(fenced(PAGES["api"])[0][1], {})


def test_every_function_tells_all_its_parameters_and_errors():
    for name in sorted(set(xortune.__all__) - {"__version__"}):
        value = xortune.__getattr__(name)
        if isinstance(value, type):
            continue
        args = inspect.getdoc(value).partition("Args:\n")[2].partition("\n\n")[0]
        told = re.findall(r"^ {4}(\w+): \S", args, re.MULTILINE)
        assert told == list(inspect.signature(value).parameters), name
        assert "Raises:\n" in value.__doc__, name


def test_the_reference_of_the_space_file_is_the_schemas():
    make = module(DOCS / "space_file.py")
    assert PAGES["space-file"] == make.page(), "python docs/space_file.py"
    assert [yaml.safe_load(block) for language, block in fenced(PAGES["space-file"])] == [None]
    keys = set(re.findall(r"^\| `(\w+)` \|", PAGES["space-file"], re.MULTILINE))
    assert {"parameters", "success", "proven_rate", "when", "max", "held_out"} <= keys


class Resources(HTMLParser):
    """What a page makes a browser ask for by itself."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.found += [said.get("src"), said.get("srcset")]
        elif tag == "link" and said.get("rel") not in (
            "canonical",
            "next",
            "prev",
            "index",
            "search",
        ):
            self.found.append(said.get("href"))
        elif tag == "object":
            self.found.append(said.get("data"))


def outside(text):
    page = Resources()
    page.feed(text)
    return [url for url in page.found if url and re.match(r"(?:[a-z]+:)?//", url)]


@pytest.mark.long
def test_the_site_builds_without_a_warning_and_asks_nobody(tmp_path):
    site = tmp_path / "site"
    said = ("-W", "--keep-going", "-q", "-d", tmp_path / "doctrees", "-c", "docs", ".", site)
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *map(str, said)],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {f"{page}.html" for page in PAGES} <= {path.name for path in (site / "docs").iterdir()}
    assert {path: found for path, text in pages.items() if (found := outside(text))} == {}
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//[^)]*", text) == [], sheet
    api = pages[site / "docs" / "api.html"]
    anchors = set(re.findall(r'id="xortune\.(\w+)"', api))
    assert set(xortune.__all__) - {"__version__"} <= anchors
    assert "alpha" in api.partition('id="xortune.SeedRaceScheduler"')[2]
    for name in set(xortune.__all__) - {"__version__"}:
        said, value = api.partition(f'id="xortune.{name}"')[2], xortune.__getattr__(name)
        first, *_ = value.__doc__.splitlines()
        words = re.sub(r"<[^>]+>|`", "", html.unescape(said[:20_000]))
        assert first.replace("`", "").replace("*", "") in words.replace("*", ""), name
    # Each picture and each page that a page names is there.
    for path, text in pages.items():
        for name in re.findall(r'(?:src|href)="([^":?#]+)[?#"]', text):
            assert (path.parent / name).exists(), (path, name)
