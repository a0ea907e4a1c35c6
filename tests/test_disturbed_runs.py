"""A run's files: where others have theirs; replaced, removed or moved; torn; on a full disk."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from drivers import OneByOne, space, trained, wait_until, without_ray
from listening import progress

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.files import is_full
from xortune.runs.journal import Guard
from xortune.runs.lock import LOCK, held
from xortune.runs.status import status
from xortune.runs.store import JOURNAL, replace_file

__all__ = ["space"]  # the fixture

ACT = threading.Lock()
"""The search looks before an act or after it, and never at half of it."""


def lines_in(place):
    return place.read_bytes().count(b"\n") if place.exists() else 0


@pytest.fixture
def disturbed(tmp_path, space, monkeypatch):
    """`disturbed(act)`: what a search says that is disturbed after three lines; exit code 3."""

    def search(act, run=tmp_path / "run"):
        acts = [act]
        wait = OneByOne.wait

        def disturbed(self):
            if acts and lines_in(run / JOURNAL) >= 3:
                with ACT:
                    (run / JOURNAL).chmod(0o640)
                    acts.pop()(run)
            wait(self)

        def look(self, size, look=Guard.look):
            with ACT:
                return look(self, size)

        monkeypatch.setattr(Guard, "look", look)
        without_ray(monkeypatch.setattr, pause=0.1)
        monkeypatch.setattr(OneByOne, "wait", disturbed)
        ran = xortune("search", space, "--output", run, "--quiet")
        monkeypatch.setattr(OneByOne, "wait", wait)
        assert not acts
        assert ran.exit_code == 3, ran.output
        assert len(ran.stderr.splitlines()) == 1
        assert ran.stderr.startswith("interrupted: ")
        return ran.stderr

    return search


@pytest.fixture
def goes_on(tmp_path, space, monkeypatch, undisturbed):
    """The run, continued: it is as one that nobody disturbed."""

    def resume(run=tmp_path / "run", least=3):
        assert status(run).state == "stopped"
        before = len(xt.load_run(run).evaluations)
        assert before >= least
        without_ray(monkeypatch.setattr)
        seen = []
        after = xt.search(space, output=run, resume=True, listener=progress(seen.append))
        assert seen[-1].fresh == 12 - before
        assert trained(after) == trained(undisturbed)

    return resume


def edited(run):
    """As editors and sync tools write a file."""
    shutil.copyfile(run / JOURNAL, run / "copy")
    (run / "copy").replace(run / JOURNAL)


def removed(run):
    """With all files; the search may add one meanwhile."""
    with suppress(OSError):
        shutil.rmtree(run)


def without(name):
    return lambda run: (run / name).unlink()


def written_over(run):
    (run / "mine").write_text("mine\n")
    (run / "mine").replace(run / JOURNAL)


@pytest.mark.parametrize("act", [edited, without(JOURNAL), removed, written_over])
def test_a_journal_that_is_replaced_or_removed_is_kept_beside(disturbed, goes_on, tmp_path, act):
    told = disturbed(act)
    assert f"{JOURNAL}: was replaced, removed or moved" in told
    assert ("the right one of the two" in told) == (act in (edited, written_over))
    kept = Path(told.partition(" are in ")[2].partition(";")[0])
    assert (kept.parent, kept.stat().st_mode & 0o777) == (tmp_path / "run", 0o640)
    assert act is not written_over or (kept.parent / JOURNAL).read_text() == "mine\n"
    kept.replace(kept.parent / JOURNAL)
    goes_on()


def test_a_journal_that_is_shortened_ends_the_search(disturbed, goes_on):
    def shorten(run):
        os.truncate(run / JOURNAL, (run / JOURNAL).read_bytes().index(b"\n") + 1)

    assert f"{JOURNAL}: was shortened" in disturbed(shorten)
    goes_on(least=1)


@pytest.mark.parametrize("name", ["manifest.json", "space.yaml"])
def test_what_is_removed_beside_the_journal_is_written_again(disturbed, goes_on, name):
    assert f"{name}: was removed" in disturbed(without(name))
    goes_on()


def test_a_run_that_is_removed_again_after_it_was_kept_loses_nothing(
    disturbed, goes_on, tmp_path, monkeypatch
):
    once = []

    def look(self, size, look=Guard.look):
        found = look(self, size)
        if found is not None and not once:
            once.append(found)
            removed(tmp_path / "run")  # as `rm -r` does that has not ended yet
        return found

    monkeypatch.setattr(Guard, "look", look)
    told = disturbed(removed)
    Path(told.partition(" are in ")[2].partition(";")[0]).replace(tmp_path / "run" / JOURNAL)
    goes_on()


def test_a_run_that_was_moved_is_resumed_where_it_is(disturbed, goes_on, tmp_path):
    told = disturbed(lambda run: run.rename(tmp_path / "moved"))
    assert "was replaced, removed or moved" in told
    assert not (tmp_path / "run" / JOURNAL).exists()
    goes_on(tmp_path / "moved")


# Torn lines and full disks.


RACED = """
name: killed
task: xor
epochs: 100000
parameters:
  activation: {choice: [Tanh, ReLU, ELU, Sigmoid]}
  loss: {choice: [MSELoss, BCELoss]}
  optimizer: {choice: [SGD, Adam]}
  lr: {low: 0.001, high: 1.0, log: true}
  hidden_dim: {low: 2, high: 4}
search: {sampler: tpe, seed: 3, trials: 16}
seeds: {ladder: [8, 16, 64], finalists: 4}
"""


@pytest.mark.long
def test_a_search_that_is_killed_twice_and_loses_half_a_line(tmp_path, monkeypatch):
    space, said = tmp_path / "space.yaml", tmp_path / "said"
    space.write_text(RACED)
    with monkeypatch.context() as patch:
        without_ray(patch.setattr)
        whole = xt.search(space, output=tmp_path / "undisturbed", engine="fused")
    assert len(whole.manifest["ladder"]) > 1, "the test tells little without a race"
    assert whole.manifest["window"] > 1, "nor where each step waits for all before it"
    folder, lines = tmp_path / "disturbed", len(whole.evaluations)
    options = ["--resume", "--output", str(folder), "--engine", "fused"]

    @contextmanager
    def driver():
        command = [sys.executable, "-m", "xortune", "search", str(space), *options]
        with said.open("wb") as file, subprocess.Popen(command, stderr=file) as process:
            try:
                yield process
            finally:
                process.kill()

    for wanted in (3, lines * 2 // 3):
        with driver() as process:
            wait_until(lambda: lines_in(folder / JOURNAL) >= wanted, process)  # noqa: B023
        assert lines_in(folder / JOURNAL) < lines, "the test tells nothing if all was done"
    content = (folder / JOURNAL).read_bytes()
    start = content[: content.rfind(b"\n")].rfind(b"\n") + 1
    (folder / JOURNAL).write_bytes(content[: (start + content.rfind(b"\n")) // 2])
    with driver() as process:
        assert process.wait(200) == 0, said.read_text()
    assert "was torn" in said.read_text()
    assert "taken over" in said.read_text()
    found = xt.load_run(folder)
    assert found.manifest["complete"] is True
    assert found.seed_table.equals(whole.seed_table)
    assert (folder / "table.csv").read_bytes() == (whole.path / "table.csv").read_bytes()


def test_a_torn_line_is_told_once_nobody_writes_it(undisturbed, tmp_path):
    run = xt.load_run(shutil.copytree(undisturbed.path, tmp_path / "torn"))
    assert run.torn == 0
    with (run.path / JOURNAL).open("ab") as journal:
        journal.write(b'{"proposal": 1')
    assert run.torn == 14
    with held(run.path):
        assert run.torn == 0, "it may be being written"
    report = xortune("report", run.path, "--format", "csv", "--json")
    assert report.exit_code == 0
    assert "is torn (14 bytes) and in no count" in " ".join(report.stderr.split())
    assert json.loads(report.stdout)["configs"] == len(run.results)
    (run.path / LOCK).write_text("no lock")
    report = xortune("report", run.path, "--format", "csv")
    assert (report.exit_code, report.stderr) == (0, ""), "reading is always possible"
    (run.path / LOCK).unlink()
    (run.path / JOURNAL).unlink()
    assert run.torn == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_known_wherever_it_is_in_a_chain(number):
    full, cause, context, looped = OSError(number, "full"), *(RuntimeError() for _ in range(3))
    cause.__cause__, context.__context__, looped.__cause__ = full, full, looped
    errors = (full, cause, context, looped, OSError(errno.EACCES, "no"))
    assert [is_full(error) for error in errors] == [True, True, True, False, False]


@pytest.mark.parametrize("name", ["table.csv", "report.md", "manifest.json", "space.yaml"])
def test_a_full_disk_under_any_file_of_a_run_says_what_to_do(tmp_path, space, monkeypatch, name):
    def full(path, content):
        if Path(path).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(path, content)

    without_ray(monkeypatch.setattr)
    with monkeypatch.context() as patch:
        for module in ("runs.run", "runs.manifest", "reports.files"):
            patch.setattr(f"xortune.{module}.replace_file", full)
        words = r"No space left on device.*free space there"
        if name in ("table.csv", "report.md"):  # all is trained: the results are not lost
            trained = xt.search(space, output=tmp_path / "run", engine="fused")
            assert len(trained.evaluations) == 12
            assert re.search(words, trained.unwritten)
        else:
            with pytest.raises(InputError, match=words):
                xt.search(space, output=tmp_path / "run", engine="fused")
    run = xt.search(space, output=tmp_path / "run", engine="fused", resume=True)
    assert [e.proposal for e in run.evaluations] == list(range(12))
    assert run.manifest["complete"] is True


# Files of somebody else.

MINE = [
    *("space.yaml", "manifest.json", "report.md", "table.csv", "figures/mine.svg"),
    *("certificate.json", "space-1.yaml", "evaluations.jsonl"),
]


SEARCH = ("search", "tiny.yaml", "--quiet")
IMPORT = ("import", "results.csv", "--config", "lr")


@pytest.mark.parametrize(
    ("words", "name", "store"),
    [
        *product([SEARCH, (*SEARCH, "--resume"), IMPORT], MINE, [""]),
        *product([SEARCH, IMPORT], ["report.md", "manifest.json", "figures/mine.svg"], ["file://"]),
    ],
)
def test_files_of_somebody_else_are_not_written_over(
    tmp_path, space, words, name, store, monkeypatch
):
    Path("results.csv").write_text("lr,seed,success\n0.1,0,1\n0.1,1,0\n")
    monkeypatch.setenv("XORTUNE_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "mine" / name
    place.parent.mkdir(parents=True)
    place.write_text('{"mine": 1}')
    output = f"{store}{tmp_path}/mine"
    ran = xortune(*words, "--output", output)
    refused(ran, output, name.partition("/")[0], "" if store else "--output")
    assert [path for path in (tmp_path / "mine").rglob("*") if path.is_file()] == [place]
    assert place.read_text() == '{"mine": 1}'


def test_other_files_and_what_an_earlier_start_left_are_no_hindrance(tmp_path, space, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "figures").mkdir()
    without_ray(monkeypatch.setattr)
    before = xt.search(space, output=folder)
    (folder / JOURNAL).write_bytes(b'{"proposal"')  # killed before its first line was whole
    ran = xortune(*SEARCH, "--output", folder)
    assert ran.exit_code == 0, ran.output
    assert len(xt.load_run(folder).evaluations) == len(before.evaluations)
    assert (folder / "notes.txt").read_text() == "mine"
