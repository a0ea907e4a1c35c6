"""Files of a run that somebody replaces, removes or moves while a search writes to it."""

import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from commands import xortune
from drivers import OneByOne, space, trained, without_ray

import xortune as xt
from xortune.runs.journal import Guard
from xortune.runs.run import JOURNAL
from xortune.runs.status import status

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

        def disturbed(self, batches):
            if acts and lines_in(run / JOURNAL) >= 3:
                with ACT:
                    (run / JOURNAL).chmod(0o640)
                    acts.pop()(run)
            wait(self, batches)

        def look(self, look=Guard.look):
            with ACT:
                return look(self)

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

    def resume(run=tmp_path / "run"):
        assert status(run).state == "stopped"
        before = len(xt.load_run(run).evaluations)
        assert before >= 3
        without_ray(monkeypatch.setattr)
        seen = []
        after = xt.search(space, output=run, resume=True, on_progress=seen.append)
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


RESTORED = ("has restored all of it", JOURNAL, "--resume")


@pytest.mark.parametrize(
    ("act", "words"),
    [
        *((edited, RESTORED), (without(JOURNAL), RESTORED), (removed, RESTORED)),
        *((without(n), (f"{n}: was removed",)) for n in ("manifest.json", "space.yaml")),
    ],
)
def test_a_file_that_is_replaced_or_removed_loses_nothing(disturbed, goes_on, tmp_path, act, words):
    told = disturbed(act)
    assert [word for word in words if word not in told] == []
    assert (tmp_path / "run" / JOURNAL).stat().st_mode & 0o777 == 0o640
    goes_on()


def test_a_run_that_is_removed_again_after_it_was_restored_loses_nothing(
    disturbed, goes_on, tmp_path, monkeypatch
):
    once = []

    def look(self, look=Guard.look):
        found = look(self)
        if found is not None and not once:
            once.append(found)
            removed(tmp_path / "run")  # as `rm -r` does that has not ended yet
        return found

    monkeypatch.setattr(Guard, "look", look)
    assert "has restored all of it" in disturbed(removed)
    goes_on()


def test_what_is_no_earlier_state_is_left_and_the_lines_are_kept_beside(disturbed, goes_on):
    def act(run):
        (run / "mine").write_text("mine\n")
        (run / "mine").replace(run / JOURNAL)

    told = disturbed(act)
    kept = Path(told.partition(" are in ")[2].partition(";")[0])
    run = kept.parent
    assert (run / JOURNAL).read_text() == "mine\n"
    kept.replace(run / JOURNAL)
    goes_on()


def test_a_run_that_was_moved_is_resumed_where_it_is(disturbed, goes_on, tmp_path):
    told = disturbed(lambda run: run.rename(tmp_path / "moved"))
    assert f"was moved to {tmp_path / 'moved' / JOURNAL}" in told
    assert not (tmp_path / "run").exists()
    goes_on(tmp_path / "moved")
