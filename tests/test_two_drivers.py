"""Two real processes and one run: the second is told who holds it, and changes nothing.

The drivers are whole searches of the command line, but for Ray: they train in their own process.
"""

import os
import signal
import time

from commands import xortune
from drivers import CLONE, drivers, owners, space, state, trained, wait_for_lines, without_ray
from listening import sentences

import xortune as xt
from xortune.runs.journal import read, torn
from xortune.runs.lock import LOCK
from xortune.runs.run import load_run
from xortune.runs.store import JOURNAL

__all__ = ["drivers", "space"]  # the fixture


def ended(process, code, *words):
    """What a driver has said on stderr, with these words in it, and printed."""
    out, told = process.communicate(timeout=120)
    assert process.returncode == code, told
    assert [word for word in words if word not in told] == [], told
    assert "Traceback" not in told
    return out


def test_two_at_once_and_then_the_first_is_killed(
    tmp_path, space, drivers, undisturbed, monkeypatch
):
    folder = tmp_path / "run"
    first = drivers("search", space, "--output", folder, pause=0.2)
    wait_for_lines(first, folder, 3)
    first.send_signal(signal.SIGSTOP)  # alive, and what changes now is the second one's work
    before = state(folder)
    hour = time.strftime("%H:")
    who = f"another search holds this run: pid {first.pid} on {os.uname().nodename} since {hour}"
    second = drivers("search", space, "--output", folder, "--resume")
    assert ended(second, 2, who, "(xortune search") == ""
    for command in (
        ["search", space, "--output", folder],
        ["search", space, "--output", folder, "--resume", "--trials", "99"],
        ["certify", folder],
    ):
        ran = xortune(*command)
        assert ran.exit_code == 2
        assert who in ran.stderr
    assert state(folder) == before

    first.kill()
    first.communicate()
    assert [one["pid"] for one in owners(folder)] == [first.pid]
    kept = (folder / JOURNAL).read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    (folder / JOURNAL).write_bytes(kept + kept[:41])
    without_ray(monkeypatch.setattr)
    ran = xortune("search", space, "--output", folder, "--resume")
    assert ran.exit_code == 0, ran.stderr
    assert f"taken over from pid {first.pid}" in ran.stderr
    assert "which does not hold it any more" in ran.stderr
    assert f"{JOURNAL} was torn (41 bytes) and is dropped" in ran.stderr
    assert (folder / JOURNAL).read_bytes().startswith(kept)
    assert not (folder / LOCK).exists()
    assert len(undisturbed.evaluations) == 12
    assert trained(load_run(folder)) == trained(undisturbed)


def test_clones_of_one_machine_do_not_take_a_run_from_each_other(
    tmp_path, space, drivers, undisturbed, monkeypatch
):
    folder = tmp_path / "run"
    words = ("search", space, "--output", folder)
    first = drivers(*words, pause=1.0, patch=CLONE)
    wait_for_lines(first, folder, 1)
    second = drivers(*words, "--resume", patch=CLONE)
    ended(second, 2, f"another search holds this run: pid {first.pid} on ")
    first.send_signal(signal.SIGSTOP)  # from now on nobody can know that it lives
    third = drivers(*words, "--resume", pause=0.1, patch=CLONE)
    ended(third, 0, f"taken over from pid {first.pid}", "which has not renewed it")
    journal = (folder / JOURNAL).read_bytes()
    first.send_signal(signal.SIGCONT)
    ended(first, 2, "this search no longer holds its run and has stopped writing")
    assert (folder / JOURNAL).read_bytes() == journal
    without_ray(monkeypatch.setattr)
    assert trained(load_run(folder)) == trained(undisturbed)


def test_a_full_disk_ends_the_search_with_whole_lines_and_a_fix(
    tmp_path, space, drivers, undisturbed, monkeypatch
):
    folder = tmp_path / "run"
    full = drivers("search", space, "--output", folder, bytes_left=3000)
    refusal = f"{folder / JOURNAL}: cannot be written (File too large)"
    ended(full, 2, refusal, "free space there, then continue with --resume")
    assert 0 < len(read(folder / JOURNAL)) < 12
    assert (folder / JOURNAL).stat().st_size <= 3000
    assert torn(folder / JOURNAL) == 0
    assert not (folder / LOCK).exists()
    without_ray(monkeypatch.setattr)
    said = []
    run = xt.search(space, output=folder, resume=True, listener=sentences(said.append))
    assert said == []
    assert trained(run) == trained(undisturbed)
