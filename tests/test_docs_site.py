"""The documentation: pages are listed, references complete, figures and numbers true, links fine.

Code on its pages is run by test_documents.py.
"""

import html
import importlib.util
import inspect
import os
import re
import tomllib
from pathlib import Path

import forked
import matplotlib as mpl
import numpy as np
import pytest
import yaml

import xortune
from xortune.core.outcome import wilson
from xortune.runs.results import CONFIG_COLUMNS
from xortune.stats.anytime import anytime_evidence_above
from xortune.stats.planning import rate_that_passes, seeds_for_lower_bound
from xortune.stats.proportions import clopper_pearson_lower

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
PUBLIC = sorted(set(xortune.__all__) - {"__version__"})


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def fenced(text):
    """The language of each fenced block, and the block."""
    return re.findall(r"^```(\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_every_page_is_in_the_list():
    trees = [block for language, block in fenced(PAGES["index"]) if language == "{toctree}"]
    listed = re.findall(r"^[^:\n].*", "\n".join(trees), re.MULTILINE)
    assert sorted(name for name in listed if "/" not in name) == sorted(PAGES.keys() - {"index"})
    assert [name for name in listed if not (DOCS / f"{name}.md").is_file()] == []


def test_the_reference_has_every_public_name():
    told = re.findall(r"^\.\. auto(\w+):: xortune\.(\w+)$", PAGES["api"], re.MULTILINE)
    assert sorted(name for _, name in told) == PUBLIC
    assert "`xortune.__version__`" in PAGES["api"]
    for kind, name in told:
        value, wanted = getattr(xortune, name), "function"
        if isinstance(value, type):
            wanted = "exception" if issubclass(value, Exception) else "class"
        assert kind == wanted, name
    exec(fenced(PAGES["api"])[0][1], {})


def test_every_function_tells_all_its_parameters_and_errors():
    for name in PUBLIC:
        value = getattr(xortune, name)
        if isinstance(value, type):
            continue
        args = inspect.getdoc(value).partition("Args:\n")[2].partition("\n\n")[0]
        told = re.findall(r"^ {4}(\w+): \S", args, re.MULTILINE)
        assert told == list(inspect.signature(value).parameters), name
        assert "Raises:\n" in value.__doc__, name


def test_the_reference_of_the_space_file_is_the_schemas():
    assert PAGES["space-file"] == module(DOCS / "space_file.py").page(), "python docs/space_file.py"
    written = [text for language, text in fenced(PAGES["space-file"]) if language == "yaml"]
    assert [yaml.safe_load(text) for text in written] == [None]
    keys = set(re.findall(r"^\| `(\w+)` \|", PAGES["space-file"], re.MULTILINE))
    assert {"parameters", "success", "proven_rate", "when", "max", "held_out"} <= keys


def test_the_columns_are_told():
    page = PAGES["run-directory"]
    told = page.partition("| column | meaning |")[2].partition("## Columns of `seeds")[0]
    cells = re.findall(r"^\| (`.+?) \|", told, re.MULTILINE)
    assert re.findall(r"`([^`]+)`", " ".join(cells)) == list(CONFIG_COLUMNS)


def test_every_dependency_is_explained():
    told = PAGES["install"].partition("## What it needs")[2].partition("\n## ")[0]
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.match(r"[a-z0-9\[\]-]+", one)[0] for one in listed]
    cells = re.findall(r"^\| ([a-z].*?) \|", told, flags=re.MULTILINE)
    assert sorted(", ".join(cells[1:]).split(", ")) == sorted(names)


make = module(DOCS / "pictures" / "make.py")
NUMBER = re.compile(r"-?\d+\.?\d*")


def same_picture(one, other):
    """To 0.02 points where one matplotlib drew both; else what is written in it."""
    words = [re.findall(r"<text.*?>(.*?)</text>", svg) for svg in (one, other)]
    if f"Matplotlib v{mpl.__version__}," not in one or words[0] != words[1]:
        return words[0] == words[1]
    if NUMBER.sub("", one) != NUMBER.sub("", other):
        return False
    found = [np.array([float(number) for number in NUMBER.findall(svg)]) for svg in (one, other)]
    return bool(np.allclose(*found, rtol=0, atol=0.02))


@pytest.mark.parametrize("name", make.PICTURES)
def test_a_picture_is_what_is_drawn(name):
    committed = (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    assert same_picture(committed, make.drawn(name)), "python docs/pictures/make.py"
    assert len(committed) < 36_000


def test_every_picture_is_shown_with_its_words():
    picture = r"^!\[(.{60,})\]\(pictures/([\w-]+)\.svg\)$"
    shown = re.findall(picture, "\n".join(PAGES.values()), re.MULTILINE)
    assert {name for _, name in shown} == set(make.PICTURES)
    assert {path.stem for path in (DOCS / "pictures").glob("*.svg")} == set(make.PICTURES)


# The page of each verb, which shows what one gets.
PAGE_OF = {
    "search": "quick-start", "space": "space-file", "report": "report", "status": "report",
    "certify": "certify", "gate": "ci-gate", "plan": "certify", "evaluate": "numbers",
    "compare": "compare", "export": "import-export", "import": "import-export", "log": "trackers",
    "plugins": "space-file",
}  # fmt: skip


def test_the_page_of_each_verb_shows_a_figure():
    assert set(PAGE_OF) == set(re.findall(r"^\| `xortune (\w+)", PAGES["commands"], re.MULTILINE))
    for page in PAGE_OF.values():
        assert re.search(r"^!\[.{60,}\]\(\S+\.svg\)$", PAGES[page], re.MULTILINE), page


def test_the_example_of_a_race_is_what_the_prose_says():
    counts = {}
    for one, solved in make.race():
        counts.setdefault(make.RACED[one], []).extend(solved.tolist())
    found = {rate: (sum(seeds), len(seeds)) for rate, seeds in counts.items()}
    assert (found[0.99], found[0.94], found[0.86]) == ((64, 64), (61, 64), (15, 16))
    assert (found[0.14], found[0.9], found[0.78]) == ((0, 1), (6, 8), (6, 8))
    assert (len(found), sum(n for _, n in found.values())) == (14, 173)
    flat = " ".join(PAGES["racing"].split())
    for words in ("64 of 64 seeds against 61 of 64", "takes 173 seeds", "It has 15 of 16 then"):
        assert words in flat


def test_the_numbers_of_the_prose():
    flat = " ".join(PAGES["statistics"].split())
    assert "around 97" in flat
    assert round(float(make.best_of() @ np.arange(make.SEEDS + 1))) == 97
    needed = [seeds_for_lower_bound(0.99, failures=failures) for failures in (0, 1, 3)]
    assert needed == [299, 473, 773]
    assert clopper_pearson_lower(299, 299) >= 0.99
    assert rate_that_passes(299, 0, chance=0.05) == pytest.approx(0.99, abs=1e-4)
    one = np.ones(200)
    one[29] = 0
    wealth = np.exp(anytime_evidence_above(np.cumsum(one), np.arange(1, 201), 0.95))
    assert f"If the 30th fails it is 20 after {1 + int(np.argmax(wealth >= 20))}" in flat
    assert f"{wilson(8, 8)[0]:.3f}" == "0.676"  # less than three quarters


LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object|"
    r'link(?![^>]*rel="(?:canonical|next|prev|index|search)"))\b'
    r"[^>]*\b(?:src|srcset|data|href)\s*=\s*[\"']?((?:[a-z]+:)?//[^\"'\s>]*)",
    re.IGNORECASE,
)
"""What a page makes a browser ask others for by itself."""


@pytest.mark.long
def test_the_site_builds_without_a_warning_and_asks_nobody(tmp_path):
    site = tmp_path / "site"
    said = ("-W", "--keep-going", "-q", "-d", tmp_path / "doctrees", "-c", "docs", ".", site)
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    built = forked.run(["-m", "sphinx", *map(str, said)], cwd=ROOT, env=env, check=False)
    assert built.returncode == 0, built.stderr
    assert LOADED.findall('<link rel="a" href="//b/c"><img alt="" SRC=https://d>') == [
        *("//b/c", "https://d")
    ]
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {f"{page}.html" for page in PAGES} <= {path.name for path in (site / "docs").iterdir()}
    assert {path: found for path, text in pages.items() if (found := LOADED.findall(text))} == {}
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//[^)]*", text) == [], sheet
    api = pages[site / "docs" / "api.html"]
    assert "alpha" in api.partition('id="xortune.SeedRaceScheduler"')[2]
    for name in PUBLIC:
        assert f'id="xortune.{name}"' in api
        said = api.partition(f'id="xortune.{name}"')[2].partition('<dl class="py')[0]
        first, *_ = getattr(xortune, name).__doc__.splitlines()
        words = re.sub(r"<[^>]+>|`", "", html.unescape(said))
        assert first.replace("`", "").replace("*", "") in words.replace("*", ""), name
    # Each picture and each page that a page names is there.
    for path, text in pages.items():
        for name in re.findall(r'(?:src|href)="([^":?#]+)[?#"]', text):
            assert (path.parent / name).exists(), (path, name)
