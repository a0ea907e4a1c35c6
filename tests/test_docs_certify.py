"""docs/certify.md tells the truth: its commands are run in their order, in one directory."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from shapes import unprinted
from typer.testing import CliRunner

from xortune.certificates.plan import gate_seeds
from xortune.cli.shared import app
from xortune.stats.planning import independent_power, rate_that_passes

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "certify.md").read_text(encoding="utf-8")
CLOSE = 5  # of 1,000 seeds: another CPU may round another bit


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with what the page has the reader write."""
    path = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "search_spaces", path / "search_spaces")
    [config] = [block for block in blocks("yaml") if "activation" in block]
    (path / "config.yaml").write_text(config, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def printed(place, one_ray):
    """What each command prints, run in the page's order."""
    found = {}
    with contextlib.chdir(place), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setenv("NO_COLOR", "1")
        for command in COMMANDS:
            ran = CliRunner().invoke(app, shlex.split(command)[1:])
            assert ran.exit_code == 0, f"{command}\n{ran.output}"
            found[command] = ran.stdout
    return found


def of(printed, start):
    return next(t for command, t in printed.items() if command.startswith(f"xortune {start}"))


def shown(start):
    [text] = [block for block in blocks("text") if block.startswith(start)]
    return text


def test_the_plan_shown_is_the_one_printed_but_for_the_time(printed):
    def without_times(text):
        rows = [line.split() for line in text.splitlines()[2:8]]
        return [[row[0], row[1], *row[4:]] for row in rows]

    text = of(printed, "plan --rate")
    assert shown("To show").splitlines()[:2] == text.splitlines()[:2]
    assert without_times(shown("To show")) == without_times(text)
    told = [row[4] for row in map(str.split, shown("To show").splitlines()[2:8])]
    assert told[0] == f"{100 * rate_that_passes(299, 0):.3f}"
    between = of(printed, "plan --between").splitlines()
    assert [line.split()[0] for line in between[2:] if line[:14].strip().isdecimal()] == ["394"] * 3
    assert 0 < independent_power(100, 0.98, 1.0) < 1 / 50


def test_the_certificate_shown_is_the_one_printed_but_for_single_seeds(printed):
    def rows(text):
        found = re.findall(r"^(\d+)/20 .*? (\d+)/1000 ", text, flags=re.MULTILINE)
        return [(int(a), int(b)) for a, b in found]

    text = of(printed, "certify runs/small --top 3 --seeds 1000")
    assert unprinted(shown("search ").partition("\n")[0], text) == []
    if rows(shown("search ")) == rows(text):
        lines = [line.rstrip() for line in text.splitlines()]
        assert lines[: len(shown("search ").splitlines())] == shown("search ").splitlines()
    for (search, fresh), (k, n) in zip(rows(shown("search ")), rows(text), strict=True):
        assert search == k
        assert abs(fresh - n) <= CLOSE


def test_the_other_certificates_do_what_is_told(printed, place):
    near = of(printed, "certify runs/small --top 3 --seeds 1000 --neighbourhood 0.2")
    assert "worst" in near
    assert "attempt 1" in " ".join(near.split())  # no new one
    begun = of(printed, "certify runs/small --top 3 --seeds 1000 --extendable")
    assert "anytime bound" in begun
    assert "/3000 " in of(printed, "certify runs/small --seeds 2000 --extend")
    values = json.loads((place / "runs" / "small" / "certificate.json").read_text())
    told = PAGE.partition("`certificate.json` has the `finalists`")[2].partition("To check one")[0]
    names = re.findall(r"`(\w+)`", told)
    assert {"config", "lower_bound", "earlier_attempts", "first", "attempts"} <= set(names)
    finalist = values["finalists"][0]
    assert all(n in finalist or n in finalist["seeds"] or n in values for n in names)
    assert [attempt["attempt"] for attempt in values["attempts"]][:2] == [1, 2]


def test_a_certificate_can_be_checked_as_told(printed, place):
    from scipy.stats import binomtest

    values = json.loads((place / "runs" / "small" / "certificate.json").read_text())
    for attempt in values["attempts"]:
        for f in attempt["finalists"]:
            ci = binomtest(f["k"], f["n"], alternative="greater").proportion_ci(f["confidence"])
            if attempt["bound"] == "clopper-pearson":
                assert f["lower_bound"] == pytest.approx(ci.low)
            else:
                assert f["lower_bound"] < ci.low


def test_the_gate_shown_is_the_one_printed(printed):
    numbers = r"proven: (\d+)/(\d+) seeds solved"
    told = re.match(numbers, shown("proven"))
    found = re.match(numbers, of(printed, "gate --config"))
    assert found
    if told.groups() == found.groups():  # unless another CPU rounds another bit
        assert shown("proven") == of(printed, "gate --config")
    assert "certified config" in of(printed, "gate runs/small")


def test_the_numbers_of_the_prose():
    assert gate_seeds(0.95) == 74
    assert gate_seeds(0.99) == 377
    assert "74 straight successes do that for 0.95 and 377 for 0.99" in PAGE


def test_the_exported_script_knows_nothing_of_us(printed, place):
    script = (place / "best.py").read_text()
    assert "xortune" not in script
    assert 34 <= len(script.splitlines()) <= 46  # some forty


def test_the_workflow_runs_the_command_of_the_page():
    [workflow] = [yaml.safe_load(b) for b in blocks("yaml") if "runs-on" in b]
    steps = workflow["jobs"]["gate"]["steps"]
    assert steps[-1]["run"] in COMMANDS
    assert [step["uses"].partition("@")[0] for step in steps if "uses" in step] == [
        "actions/checkout",
        "actions/setup-python",
    ]


def test_the_exit_codes_are_those_of_the_program():
    from xortune.cli.gating import GATE_FAILED
    from xortune.cli.shared import BAD_INPUT, INTERRUPTED, NO_OUTCOME

    told = re.findall(r"^\| (\d) \|", PAGE, flags=re.MULTILINE)
    codes = [0, GATE_FAILED, BAD_INPUT, INTERRUPTED, NO_OUTCOME]
    assert list(map(int, told)) == codes


def test_the_python_block_runs(printed, place):
    [program] = blocks("python")
    out = io.StringIO()
    with contextlib.chdir(place), contextlib.redirect_stdout(out):
        exec(compile(program, "certify.md", "exec"), {})
    lines = out.getvalue().splitlines()
    assert lines[0] == "628"
    assert lines[2].startswith("proven proven: ")
