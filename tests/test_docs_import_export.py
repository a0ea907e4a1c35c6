"""docs/import-export.md tells the truth: its programs and commands are run in their order."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app

PAGE = (Path(__file__).parents[1] / "docs" / "import-export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("docs")
    programs = [text for language, text in BLOCKS if language == "python"]
    for name, program in zip(("train.py", "sweep.py"), programs, strict=False):
        (path / name).write_text(program, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def printed(place):
    """What each block prints, in the page's order: commands one by one, programs from the third."""
    found, programs = {}, 0
    sys.modules.pop("train", None)  # another test's, if it left one
    with contextlib.chdir(place), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        patch.setenv("NO_COLOR", "1")
        patch.syspath_prepend(str(place))
        for language, text in BLOCKS:
            if language == "sh":
                for line in text.splitlines():
                    found[line] = command(line)
            elif language == "python":
                programs += 1
                if programs > 2:
                    with contextlib.redirect_stdout(io.StringIO()) as out:
                        exec(compile(text, "import-export.md", "exec"), {})
                    found[f"program {programs}"] = out.getvalue()
    sys.modules.pop("train", None)
    return found


def command(line):
    words = shlex.split(line)
    if words[0] == "python":
        return subprocess.check_output([sys.executable, *words[1:]], text=True)
    ran = CliRunner().invoke(app, words[1:])
    assert ran.exit_code == 0, f"{line}\n{ran.output}"
    return ran.stdout


def shown(language, start):
    [text] = [text for kind, text in BLOCKS if kind == language and text.startswith(start)]
    return text


def of(printed, start):
    return next(text for line, text in printed.items() if line.startswith(start))


def test_what_the_import_shows_is_what_it_prints(printed):
    assert shown("text", "600 rows") in of(printed, "xortune import results.csv")


def test_the_gate_is_the_one_printed(printed):
    assert shown("text", "proven") == of(printed, "xortune gate runs/sweep")


def test_the_certificate_is_made_by_the_trainer_that_was_named(printed, place):
    certificate = xt.load_run(place / "runs" / "again").certificate
    assert [found.n for found in certificate.finalists] == [300, 300]
    assert of(printed, "xortune gate runs/again").startswith("proven")


def test_the_file_for_hydra_is_the_one_printed(printed, place):
    text = (place / "best.yaml").read_text()
    assert text == shown("yaml", "# Config")
    assert yaml.safe_load(text) == {"lr": 0.98, "width": 8}


def test_the_named_config_can_be_compared(printed, place):
    [named] = re.findall(r'compare "runs/sweep(#\w+)"', PAGE)
    found = xt.compare([f"{place / 'runs/sweep'}{named}", place / "runs" / "wide"])
    assert found.contestants[0].point["lr"] == 0.98


def test_the_programs_print_what_they_say(printed):
    assert "accuracy_mean" in printed["program 3"]
    [told] = re.findall(r"^print\(pair.*# (.+)$", PAGE, re.MULTILINE)
    assert printed["program 3"].splitlines()[-1] == told
    assert re.search(r"^\d+ configurations, 200 seeds$", printed["program 4"], re.MULTILINE)
