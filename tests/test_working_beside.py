"""Forks of this process that share work with it; in processes of their own, without threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("there are no forks", allow_module_level=True)

BEGIN = """
import os, threading, time
from xortune.core.forks import working_beside
"""


def told(program):
    """What a program prints that begins with `BEGIN`."""
    run = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return run.stdout.splitlines()


def test_each_number_is_worked_on_once_here_or_in_a_fork():
    lines = told("""
def work(number):
    time.sleep(0.05)
    print(f"begun {number}\\n", end="")
    return number ** 2, os.getpid()

for count, forks in ((0, 2), (1, 3), (9, 0), (9, 2)):
    with working_beside(work, count, forks) as finish:
        time.sleep(0.1)
        found = finish()
    assert {n: square for n, (square, _) in found.items()} == {n: n * n for n in range(count)}
    pids = {pid for _, pid in found.values()}
    assert (len(pids) > 1) == (count > 1 and forks > 0), (count, forks, pids)
    print("end", count)
""")
    assert sorted(line for line in lines if "begun" in line) == sorted(
        f"begun {number}" for count in (1, 9, 9) for number in range(count)
    )
    assert [line for line in lines if "end" in line] == ["end 0", "end 1", "end 9", "end 9"]


def test_what_a_fork_cannot_send_is_missing_and_none_is_left():
    assert told("""
here = os.getpid()

def work(number):
    if os.getpid() == here:
        return "here"
    if number == 1:
        return threading.Lock()
    if number == 3:
        os._exit(1)
    return "there"

with working_beside(work, 4, 1) as finish:
    time.sleep(0.5)
    print(finish())
with working_beside(lambda number: time.sleep(100), 2, 2):
    pass
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("none")
""") == ["{0: 'there', 2: 'there'}", "none"]


TRAINING = """
import sys
sys.path[:0] = ["TESTS", "TESTS/engine"]
import torch
torch.set_num_threads(1)
from audited import Noise, Plain
from xortune.trainers import audit
from xortune.trainers.pilot import Pilot
from xortune.trainers.vectorized import train_stacked
Pilot.measure, Pilot.stacks = lambda *_: None, lambda *_: 1
HERE = os.getpid()

class Noted:
    bad, epochs = (), 3

    def model(self):
        seed = torch.initial_seed()
        if seed in self.bad:
            raise ValueError("no luck")
        if os.getpid() != HERE:
            open(str(seed), "w").close()
        return super().model()

class Agrees(Noted, Plain):
    pass

class Differs(Noted, Noise):
    pass

class Bad(Noted, Plain):
    bad = (3, 31)

def trained(kind, forks):
    audit._known.clear()
    heard = {}
    def report(_, seeds, scores, count):
        for seed, score in zip(seeds, scores, strict=True):
            heard[seed] = [*heard.get(seed, ())[: count - 1], score["loss"]]
        return ()
    found = train_stacked([(kind({}), range(32))], report=report, forks=forks)
    scores = [str(one) if isinstance(one, Exception) else one for one in found.scores[0]]
    return scores, found.audits, found.sentence, heard

for kind in (Agrees, Differs, Bad):
    for name in os.listdir():
        os.remove(name)
    alone = trained(kind, 0)
    assert not os.listdir()
    print(kind.__name__, trained(kind, 2) == alone, len(os.listdir()) > 3, bool(alone[1][0].fault))
"""


def test_forks_train_seeds_alone_beside_their_stack(tmp_path, monkeypatch):
    """The results, audits and reports are those without forks."""
    tests = Path(__file__).parent
    monkeypatch.chdir(tmp_path)
    assert told(TRAINING.replace("TESTS", str(tests))) == [
        "Agrees True True False",
        "Differs True True True",
        "Bad True True False",
    ]
