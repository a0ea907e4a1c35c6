"""Whatever a user's function does to its process, the command lives and has the last word."""

import asyncio
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import forked
import numpy as np
import pytest
import torch
from commands import _somewhere
from drivers import wait_until
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import given_source
from xortune.training.processes import ending_processes, processes_for
from xortune.training.worker import READY, no_output

__all__ = ["_somewhere"]  # the fixture

SPACE = """
name: deadly
trainer: ./train.py:run
parameters: {x: {choice: ["é☃", b]}}
search: {sampler: grid}
seeds: {ladder: [2]}
"""
SEARCH = ["search", "space.yaml", "--output", "run"]

pytestmark = pytest.mark.usefixtures("no_ray")


def command(*words):
    """What it shows may have a traceback of the user's function."""
    return CliRunner().invoke(app, [str(word) for word in words])


def train_file(folder, *lines):
    text = "import atexit, os, subprocess, sys, threading, time\n\n\ndef run(config, seed):\n"
    (folder / "train.py").write_text(text + "".join(f"    {line}\n" for line in lines))
    (folder / "space.yaml").write_text(SPACE)


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("time.sleep(1000)", "with x='é☃' took longer than 0.5 s; allowed: "),
        ("os._exit(0)", "ended its process (exit code 0)"),
        ("os.kill(os.getpid(), 11)", "ended its process (SIGSEGV)"),
        ("os.closerange(3, 100)", "closed files of its process that it had not opened"),
        ("sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_what_ends_every_check_is_told_and_nothing_begins(tmp_path, line, words):
    train_file(tmp_path, line, "return True")
    limit = "0.5s" if "sleep" in line else "100s"
    ended = command(*SEARCH, "--trial-timeout", limit)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert words in ended.stderr
    assert "with x='é☃'" in ended.stderr or "SystemExit" in words
    assert "--no-check" in ended.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("slow", "code"), [("seed == 0", 0), ("True", 2)])
def test_a_check_tries_other_seeds_after_one_over_its_time_limit(tmp_path, slow, code):
    train_file(tmp_path, f"time.sleep(1000 * ({slow}))", "return True")
    limited = SPACE.replace("./train.py:run", "{function: ./train.py:run, timeout: 0.5s}")
    (tmp_path / "space.yaml").write_text(limited)
    ended = command(*SEARCH)
    assert ended.exit_code == code, ended.stderr
    if code:
        assert "check: took longer than 0.5 s; allowed: a function that trains" in ended.stderr
        assert "--no-check" in ended.stderr
    else:
        counts = xt.load_run("run").results
        assert [(one.outcome.successes, one.outcome.n) for one in counts] == [(1, 2), (1, 2)]


def test_a_check_lets_a_training_close_the_descriptors_of_its_output_more_than_once():
    """The second time they may be those of the file into which the check prints."""
    with no_output():
        os.close(sys.stdout.fileno())


def test_an_import_that_ends_its_process_is_told(tmp_path):
    train_file(tmp_path, "return True")
    (tmp_path / "train.py").write_text("import os\nos._exit(0)\n")
    told = "space.yaml:3: trainer: the import of ./train.py:run ended its process"
    for words in (SEARCH, ["space", "space.yaml"]):
        ended = command(*words)
        assert (ended.exit_code, told in ended.stderr) == (2, True), ended.stderr


def test_nothing_that_a_check_does_to_its_process_is_left(tmp_path):
    """Neither in the process that searches nor beside it."""
    train_file(
        tmp_path,
        "print('printed')",
        "threading.Thread(target=time.sleep, args=(1000,)).start()",
        "subprocess.Popen(['sleep', '1001'])",
        "open('child', 'w').write(str(os.getpid()))",
        "atexit.register(time.sleep, 1000)",
        "sys.setrecursionlimit(70)",
        "sys.stderr = None",
        "return True",
    )
    program = (
        "import sys, xortune as xt\n"
        "from xortune.driver import session\n"
        "def no_search(*_, **__):\n"
        "    raise xt.InputError(f'left {sys.getrecursionlimit()} {\"train\" in sys.modules}')\n"
        "session.search_session = no_search\n"
        "def tell(event):\n    print(event.text)\n"
        "try:\n    xt.search('space.yaml', output='run', listener=tell)\n"
        "except xt.InputError as error:\n    print(error)\n"
    )
    began = time.monotonic()
    ended = forked.run(["-c", program], cwd=tmp_path)
    assert time.monotonic() - began < 60
    assert set(ended.stderr.splitlines()) == {"printed"}
    dry, left = ended.stdout.splitlines()
    assert dry.startswith("check of seed 0 with x='é☃': a success")
    assert left == "left 1000 False"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "child").read_text()), 0)


def test_a_seed_that_ends_its_process_costs_a_certificate_that_seed(tmp_path):
    train_file(tmp_path, "if seed % 4 == 1 and seed > 2**30: os._exit(0)", "return True")
    (tmp_path / "rows.csv").write_text("x,seed,success\nb,0,1\nb,1,1\nc,0,0\n")
    words = ["--config", "x", "--trainer", "./train.py:run", "--output", "run", "--quiet"]
    assert command("import", "rows.csv", *words).exit_code == 0
    ended = command("certify", "run", "--top", 1, "--seeds", 5, "--quiet")
    assert ended.exit_code == 4
    run = xt.load_run(tmp_path / "run")
    [finalist] = run.certificate.finalists
    dead = sum(seed % 4 == 1 for seed in range(finalist.first, finalist.first + 5))
    assert (finalist.k, finalist.n) == (5 - dead, 5)
    assert "ended its process (exit code 0)" in {c.error for c in run.checks}
    assert not (tmp_path / "run" / "lock").exists()


FORKS = """
import os, sys
import xortune as xt

root = os.getpid()

def forked(config, seed):
    if os.getpid() != BOUND:
        open("child", "w").close()  # it has gone on with the next seed
    if os.getpid() == BOUND and seed == 3:
        os.fork()
    return seed % 4 > 0

def yields(config, seed):
    for step in range(3):
        if os.getpid() == BOUND and seed == 3 and step == 1:
            os.fork()
        yield {"success": seed % 4 > 0}

def raises(config, seed):
    if os.getpid() == BOUND and seed == 3 and not os.fork():
        raise SystemExit
    return seed % 4 > 0

class Kept:
    def __init__(self, config):
        if os.getpid() == BOUND:
            os.fork()
    def run(self, seed):
        return seed % 4 > 0
"""
"""Each forks where it says so in one process only, so that what a child does not end stays few."""


def told_by(folder, program):
    """The lines that a program and all forks of it print."""
    return forked.run(["-c", program], cwd=folder).stdout.splitlines()


@pytest.mark.parametrize("workers", [0, 1])  # a worker of such a program is a new interpreter
def test_a_child_that_a_function_forks_and_that_returns_ends_there(tmp_path, workers):
    """It would go on as a second driver, with every further seed."""
    bound = "root" if workers == 0 else "os.getsid(0)"  # a worker leads a session
    program = FORKS.replace("BOUND", bound) + (
        "for train in (forked, yields, raises, Kept):\n"
        f"    given = {{'train': train, 'workers': {workers}, 'verbose': 0}}\n"
        "    found = xt.evaluate({'x': 1}, range(8), **given)\n"
        "    print(found.successes, found.n, flush=True)\n"
        "verdict = xt.gate({'x': 1}, min_rate=0.5, first_seed=0, max_seeds=40, **given)\n"
        "print(verdict.answer, flush=True)\n"
        "space = {'name': 'own', 'parameters': {'x': 1}, 'search': {'sampler': 'grid'}, "
        "'seeds': {'ladder': [8]}}\n"
        f"run = xt.search(space, output='run', train=forked, workers={workers})\n"
        "print(run.results[0].outcome.successes, flush=True)\n"
        "try:\n"
        "    while os.waitpid(-1, os.WNOHANG)[0]: pass\n"
        "    print('left', flush=True)\n"
        "except ChildProcessError:\n"
        "    print('none', flush=True)\n"
    )
    assert told_by(tmp_path, program) == ["6 8"] * 4 + ["proven", "6", "none"]
    assert not (tmp_path / "child").exists()
    evaluations = xt.load_run(tmp_path / "run").evaluations
    assert sum(line.block.count for line in evaluations) == 8


def test_a_callback_that_forks_begins_no_second_driver(tmp_path):
    program = (
        "import os, xortune as xt\n"
        "root = os.getpid()\n"
        "def tell(event):\n"
        "    if os.getpid() == root and event.done == 4:\n"
        "        os.fork()\n"
        "def train(config, seed):\n"
        "    open('trained', 'a').write(f'{seed} ')\n"
        "    return True\n"
        "xt.evaluate({'x': 1}, range(0, 16, 2), train=train, workers=0, listener=tell)\n"
        "print('told')\n"
    )
    assert told_by(tmp_path, program) == ["told"]
    assert (tmp_path / "trained").read_text().split() == [str(seed) for seed in range(0, 16, 2)]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_child_that_returns_at_the_import_or_in_a_check_tells_nothing(tmp_path, workers):
    train_file(tmp_path, "os.fork() if os.getpid() == ROOT else None", "return True")
    text = (tmp_path / "train.py").read_text()
    head = "import os\nROOT = os.getpid()\nos.fork()\n"
    (tmp_path / "train.py").write_text(head + text)
    words = ["-m", "xortune", "search", "space.yaml", "--dry-run", "--workers", workers]
    done = forked.run(list(map(str, words)), cwd=tmp_path)
    assert done.stdout.count("nothing was started") == done.stdout.count("\n") == 1, done.stdout


def test_a_seed_whose_worker_the_system_killed_trains_once_more_alone(tmp_path, monkeypatch):
    """As where memory is short: with others beside it, or always."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(
        "import os, pathlib, signal, time\n"
        "def run(config, seed):\n"
        "    mine = pathlib.Path(f'{seed}.trains')\n"
        "    mine.touch()\n"
        "    pathlib.Path(f'{seed}.tried').open('a').write('.')\n"
        "    time.sleep(0.1)\n"
        "    def others():\n"
        "        return set(pathlib.Path().glob('*.trains')) - {mine}\n"
        "    tried = os.path.getsize(f'{seed}.tried')\n"
        "    while seed == 1 and tried == 1 and not others():\n"
        "        time.sleep(0.01)\n"
        "    if seed == 5 or (seed == 1 and others()):\n"
        "        mine.unlink()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    time.sleep(0.1)\n"
        "    mine.unlink()\n"
        "    return True\n"
    )
    outcome = xt.evaluate({}, range(8), train="./train.py:run", workers=3)
    assert outcome.details.failed == {5: "ended its process (SIGKILL)"}
    assert outcome.n == 8
    tried = [(tmp_path / f"{seed}.tried").stat().st_size for seed in range(8)]
    assert tried[1] == tried[5] == 2
    assert all(tried[seed] == 1 for seed in (2, 3, 4, 6, 7))


@pytest.mark.usefixtures("forks")
def test_workers_end_with_a_driver_that_is_killed_before_it_has_read_that_one_ended(tmp_path):
    lines = "open(f'{seed}.pid', 'w').write(f'{os.getpid()} ')", "time.sleep(1000)"
    train_file(tmp_path, *lines)
    words = ["-m", "xortune", *SEARCH, "--no-check", "--workers", "2"]
    driver = forked.Python(words, cwd=tmp_path, stdout=PIPE, stderr=PIPE, text=True)

    def pids():
        return [int(file.read_text() or 0) for file in tmp_path.glob("*.pid")]

    def lives(pid):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    wait_until(lambda: len(pids()) == 2 and all(pids()), driver)
    one, other = pids()
    try:
        driver.send_signal(signal.SIGSTOP)
        os.kill(one, signal.SIGKILL)
        wait_until(lambda: not lives(one))
        time.sleep(0.1)  # by then the driver has been told
        driver.kill()
        _, told = driver.communicate()
        wait_until(lambda: not lives(other))
        assert "Traceback" not in told
    finally:
        for pid in (one, other):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def endless(config, seed):
    time.sleep(1000)


@pytest.mark.usefixtures("forks")
def test_a_worker_ends_with_its_template_whoever_kills_that():
    """Ray kills it with the worker of Ray that trains in it, and its forks would train on."""
    trainer = custom_trainer(given_source(endless), None)
    with ending_processes():
        processes = processes_for(trainer)
        worker = processes.take()
        worker.ask(READY, None)
        processes.listen()
        worker.train(trainer, [Block(Point({"x": 1}), 0, 1)], None, encodes=False)
        ended = os.pidfd_open(worker.pid)
        processes._template.kill()
        assert select.select([ended], [], [], 10)[0]
        os.close(ended)


LEAVES = """
import os, subprocess, sys, time
from pathlib import Path

def apart():
    return subprocess.Popen(["sleep", "300"], start_new_session=True)

kept = [apart(), subprocess.Popen(["sleep", "300"])]

def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

def run(config, seed):
    text = Path("left").read_text() if Path("left").exists() else ""
    piled_up = sum(lives(pid) for pid in text.split())
    mine = [apart().pid]
    how = {"shell": True, "check": True, "stdout": subprocess.PIPE}
    mine.append(int(subprocess.run("setsid sleep 300 >&- 2>&- & echo $!", **how).stdout))
    if not os.fork():
        os.setsid()
        if not os.fork():
            Path(f"{seed}.forked").write_text(str(os.getpid()))
            time.sleep(300)
        os._exit(0)
    while not (Path(f"{seed}.forked").exists() and (text := Path(f"{seed}.forked").read_text())):
        time.sleep(0.01)
    mine.append(int(text))
    Path("left").open("a").write(" ".join(map(str, mine)) + "\\n")
    Path("kept").open("a").write(" ".join(str(one.pid) for one in kept) + "\\n")
    if config.get("endless"):
        time.sleep(300)
    return {"stays": sum(one.poll() is None for one in kept), "piled_up": piled_up}
"""
"""Each seed leaves three processes in sessions of their own: one held, two whose parents end."""


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def left_by(folder):
    return [int(pid) for name in ("left", "kept") for pid in (folder / name).read_text().split()]


@pytest.fixture
def leaves(tmp_path):
    """The space of a function that leaves processes, each of whose seeds is sent alone."""
    (tmp_path / "train.py").write_text(LEAVES)
    return {
        "name": "leaves",
        "trainer": {"function": "./train.py:run", "timeout": 60},
        "success": "stays >= 2",
        "parameters": {"x": {"choice": [1, 2]}},
        "search": {"sampler": "grid"},
        "seeds": {"ladder": [2]},
    }


ALONE = {"function": "./train.py:run", "timeout": 60}


@pytest.mark.parametrize(
    "verb",
    [
        lambda space: xt.search(space, output="run", workers=2, verbose=0),
        lambda space: xt.search(space, output="run", dry_run=True, verbose=0),
        lambda _: xt.evaluate({"x": 1}, range(2), train=ALONE, workers=2, verbose=0),
        lambda _: xt.gate({"x": 1}, min_rate=0.1, train=ALONE, success="stays >= 2", workers=1),
    ],
    ids=["search", "check", "evaluate", "gate"],
)
def test_what_a_function_starts_in_a_session_of_its_own_ends(tmp_path, leaves, verb):
    verb(leaves)
    left = left_by(tmp_path)
    assert len(left) >= 5
    assert not any(map(lives, left))


def test_what_a_seed_leaves_does_not_pile_up_and_what_the_import_started_stays(leaves):
    found = xt.evaluate({"x": 1}, range(4), train=ALONE, workers=1, verbose=0)
    assert not found.details.failed
    assert found.numbers("piled_up").tolist() == [0, 0, 0, 0]
    assert found.numbers("stays").tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("fate", ["killed driver", "time limit", "new interpreters"])
def test_nothing_of_a_worker_that_is_killed_is_left(tmp_path, leaves, fate):
    is_forked = fate != "new interpreters"
    program = (
        "import sys, xortune as xt\n"
        "from xortune.training import processes\n"
        f"begin = 'import xortune.training.worker as w; w._may_fork = lambda: {is_forked}'\n"
        "patch = f'\\n{begin}\\nmain('\n"
        "processes.PROGRAM = processes.PROGRAM.replace('\\nmain(', patch)\n"
        "train = {'function': './train.py:run', 'timeout': float(sys.argv[1])}\n"
        "found = xt.evaluate({'endless': True}, range(1), train=train, workers=1, verbose=0)\n"
        "print(found.details.failed[0])\n"
    )
    words = ["-c", program, "60" if fate == "killed driver" else "2"]
    driver = forked.Python(words, cwd=tmp_path, stdout=PIPE, text=True)
    wait_until((tmp_path / "kept").exists, driver)
    if fate == "killed driver":
        driver.kill()
    told, _ = driver.communicate(timeout=60)
    assert told == ("" if fate == "killed driver" else "took longer than 2 s\n")
    wait_until(lambda: not any(map(lives, left_by(tmp_path))))


INTERRUPTS = """
import os, signal, sys, time

def run(config, seed):
    if seed == 2:
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)
    return True

if __name__ == "__main__":
    run({}, int(sys.argv[1]))
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("train", ["./train.py:run", "python train.py {seed} {x}"])
def test_a_training_that_interrupts_its_parent_interrupts_the_command(tmp_path, train, workers):
    (tmp_path / "train.py").write_text(INTERRUPTS)
    (tmp_path / "config.yaml").write_text("x: 1\n")
    words = ["-m", "xortune", "evaluate", "--config", "config.yaml", "--seeds", "4"]
    words += ["--trainer", train, "--workers", str(workers)]
    ended = forked.run(words, cwd=tmp_path, check=False)
    told = (3, "", "interrupted: nothing is kept\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == told


def closes(config, seed):
    os.close(1)
    return True


def leads_elsewhere(config, seeds):
    for number in (0, 1, 2):
        os.fstat(number)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    os.close(0)
    os.close(2)
    return {"success": seeds >= 0, "file": np.full(len(seeds), float(os.fstat(1).st_ino))}


async def awaited(config, seed):
    os.close(1)
    await asyncio.sleep(0)
    return True


class Looped(xt.TorchTraining):
    """Its seeds train one by one: a second model without a descriptor between is refused."""

    epochs = 1

    def model(self):
        os.close(1)
        return torch.nn.Linear(1, 1)

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def batches(self):
        yield (torch.ones(1, 1),)

    def loss(self, model, x):
        return (model(x) ** 2).mean()

    def score(self, model):
        return bool(model(torch.ones(1, 1)).isfinite())


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("train", [closes, leads_elsewhere, awaited, Looped])
def test_each_seed_begins_with_the_same_descriptors(train, workers):
    here = [os.fstat(number).st_ino for number in range(3)]
    found = xt.evaluate({"x": 1}, range(9), train=train, workers=workers, verbose=0)
    assert (found.successes, found.n) == (9, 9), found.details.failed
    assert [os.fstat(number).st_ino for number in range(3)] == here
