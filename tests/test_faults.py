"""A search that is killed twice and loses half a line ends as one that ran through.

The short version of benchmarks/faults.py, whose drivers these are: the command line, with Ray.
"""

import errno
import json
import shutil
import time
from pathlib import Path

import pytest
from commands import xortune
from drivers import without_ray
from hand_made import TINY_SPACE

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.files import is_full
from xortune.runs.lock import LOCK, held
from xortune.runs.run import JOURNAL
from xortune.runs.store import replace_file

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def count(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.long
def test_a_search_that_is_killed_twice_and_loses_half_a_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from faults_compared import differences
    from faults_drivers import Driver
    from faults_spaces import SPACE

    space = tmp_path / "space.yaml"
    space.write_text(SPACE.format(sampler="tpe", trials=16, epochs=100_000))
    with monkeypatch.context() as patch:
        without_ray(patch.setattr)
        whole = xt.search(space, output=tmp_path / "undisturbed", engine="fused")
    assert len(whole.manifest["ladder"]) > 1, "the test tells little without a race"
    assert whole.manifest["window"] > 1, "nor where each step waits for all before it"
    folder, lines = tmp_path / "disturbed", len(whole.evaluations)
    for wanted in (3, lines * 2 // 3):
        driver = Driver(space, folder, None)
        try:
            end = time.monotonic() + 200
            while count(folder / JOURNAL) < wanted:
                assert driver.ended() is None, driver.said()
                assert time.monotonic() < end, driver.said()
                time.sleep(0.002)
        finally:
            driver.kill()
        assert count(folder / JOURNAL) < lines, "the test tells nothing if all was done"
    content = (folder / JOURNAL).read_bytes()
    start = content[: content.rfind(b"\n")].rfind(b"\n") + 1
    (folder / JOURNAL).write_bytes(content[: (start + content.rfind(b"\n")) // 2])
    driver = Driver(space, folder, None)
    try:
        assert driver.process.wait(200) == 0, driver.said()
    finally:
        driver.kill()
    assert "was torn" in driver.said()
    assert "taken over" in driver.said()
    assert differences(folder, whole.path, exact=True) == []


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
    assert [is_full(error) for error in (full, cause, context)] == [True] * 3
    assert not is_full(OSError(errno.EACCES, "no"))
    assert not is_full(looped)


@pytest.mark.parametrize("name", ["table.csv", "report.md", "manifest.json", "space.yaml"])
def test_a_full_disk_under_any_file_of_a_run_says_what_to_do(tmp_path, monkeypatch, name):
    def full(path, content):
        if Path(path).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(path, content)

    space = tmp_path / "space.yaml"
    space.write_text(TINY_SPACE)
    without_ray(monkeypatch.setattr)
    with monkeypatch.context() as patch:
        for module in ("runs.run", "runs.manifest", "reports.files"):
            patch.setattr(f"xortune.{module}.replace_file", full)
        with pytest.raises(InputError, match=r"No space left on device.*free space there"):
            xt.search(space, output=tmp_path / "run", engine="fused")
    run = xt.search(space, output=tmp_path / "run", engine="fused", resume=True)
    assert [e.proposal for e in run.evaluations] == [0, 1, 2]
    assert run.manifest["complete"] is True
