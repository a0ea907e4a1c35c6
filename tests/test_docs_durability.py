"""docs/durability.md: its program runs, its messages are those that are told."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import inspect
import os
import re
import shutil
from datetime import datetime
from pathlib import Path

import pytest

import xortune as xt
from xortune.core.errors import InputError, from_command_line
from xortune.runs import lock as run_lock
from xortune.runs.journal import Journal
from xortune.runs.owner import this_process

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")
TEXTS = re.findall(r"^```text\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
JOURNAL = "runs/a/evaluations.jsonl"


def shown(words):
    [text] = [text for text in TEXTS if words in text]
    return text


@pytest.fixture
def place(tmp_path):
    """An empty folder with a run that has ended, runs/a."""
    there = tmp_path / "runs" / "a"
    there.mkdir(parents=True)
    for name in ("evaluations.jsonl", "manifest.json", "space.yaml", "certificate.json"):
        shutil.copyfile(ROOT / "reports" / "xor" / name, there / name)
    with contextlib.chdir(tmp_path):
        yield there


def test_a_torn_line_is_told_as_shown(place):
    whole = Path(JOURNAL).read_bytes()
    with Path(JOURNAL).open("ab") as file:
        file.write(b"{" + b"x" * 36)
    assert xt.load_run("runs/a").torn == 37
    said = []
    Journal.open(JOURNAL, say=said.append).close()
    assert said == [shown("torn").removeprefix("note: ")]
    assert Path(JOURNAL).read_bytes() == whole


def test_a_full_disk_is_told_as_shown(place, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    whole = Path(JOURNAL).read_bytes()
    with Journal.open(JOURNAL) as journal, monkeypatch.context() as patch:
        patch.setattr("xortune.runs.journal.os.write", full)
        with pytest.raises(InputError) as refused:
            journal.append(xt.load_run("runs/a").evaluations[0])
    with from_command_line():
        assert f"error: {refused.value}" == shown("No space left")
    assert Path(JOURNAL).read_bytes() == whole


def test_a_second_driver_is_refused_as_shown():
    owner = dataclasses.replace(
        this_process(),
        pid=4711,
        host="node7",
        since=datetime.now().astimezone().replace(hour=12, minute=3, second=0).isoformat(),
        command="xortune search space.yaml --output runs/a",
    )
    refused = run_lock._is_held(owner, Path("runs/a/lock.json"))
    with from_command_line():
        assert f"error: {refused}" == shown("another search holds")


def test_its_program_runs(place, monkeypatch):
    real, called = xt.__getattr__("search"), []
    monkeypatch.setattr("xortune.driver.search.search", lambda *a, **k: called.append((a, k)))
    [program] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    before = Path(JOURNAL).read_bytes()
    scope = {"xt": xt, "evaluation": xt.load_run("runs/a").evaluations[0]}
    exec(compile(program, "docs/durability.md", "exec"), scope)
    [(given, named)] = called
    inspect.signature(real).bind(*given, **named)
    assert scope["number"] == 1
    after = Path(JOURNAL).read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == before.count(b"\n") + 1
