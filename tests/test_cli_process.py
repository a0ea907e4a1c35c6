"""The command line as a process: what it loads, where its output goes, how it is interrupted.

Output that fails fails no command: what cannot be shown is shown less, and files come first.
Ctrl-C interrupts, and SIGTERM as job schedulers send it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tty
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import Mock

import forked
import pytest
import typer
from commands import _somewhere, xortune
from drivers import drivers, wait_for_lines, wait_until
from hand_made import TINY_SPACE, solved, tiny_run

import xortune as xt
from xortune.cli.searching import resume_command
from xortune.cli.shared import exit_on_error
from xortune.driver import search as api
from xortune.driver import session as session_module
from xortune.runs.run import load_run
from xortune.training.process import handle_signals, settle, uninterrupted
from xortune.training.worker import FRESH, PROGRAM

__all__ = ["_somewhere", "drivers"]  # the fixtures

HEAVY = ("torch", "ray", "optuna", "pandas", "numpy", "scipy", "numba", "pyarrow")


def program(*words, after=""):
    """The command in a new process, and what is printed there after it."""
    text = f"import sys; sys.argv = ['xortune', *{words}]\nfrom xortune.cli import main\n"
    text += f"try: main()\nexcept SystemExit as error: code = error.code\n{after}"
    how = {"capture_output": True, "text": True, "timeout": 60}
    return subprocess.run([sys.executable, "-c", text], check=True, **how)


@pytest.mark.parametrize(
    ("words", "code", "unloaded"),
    [
        (["--help"], 0, (*HEAVY, "pydantic")),
        (["sarch"], 2, HEAVY),
        (["search", "nowhere.yaml"], 2, ("ray", "optuna", "torch")),
    ],
)
def test_what_needs_nothing_heavy_loads_nothing_heavy(words, code, unloaded):
    ran = program(*words, after=f"print(code, sorted({{*{unloaded}}} & set(sys.modules)))")
    assert ran.stdout.splitlines()[-1] == f"{code} []"


@pytest.mark.parametrize("how", [("-m", "xortune"), ("-c", PROGRAM, "0"), ("-c", FRESH, "0")])
def test_files_of_the_working_folder_are_no_modules_of_python(tmp_path, how):
    """Neither for the command line nor for a process of the pool; the xortune here is empty."""
    installed = tmp_path / "installed" / "xortune"
    (installed / "training").mkdir(parents=True)
    shutil.copy(Path(xt.__file__).with_name("__main__.py"), installed)
    begun = "import json, queue\nmain = serve = lambda *_: print('begun', json.loads)\n"
    for module in ("cli", "training/worker"):
        (installed / module).with_name("__init__.py").touch()
        (installed / f"{module}.py").write_text(begun)
    for name in ("json.py", "queue.py"):
        (tmp_path / name).write_text("raise SystemExit(7)\n")
    path = [str(installed.parent), *sys.path]
    asked = path if FRESH in how else {"path": path, "imports": [], "engine": False}
    ran = subprocess.run(
        [sys.executable, *how, json.dumps(asked)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed.parent)},
        check=False,
        capture_output=True,
    )
    assert (ran.returncode, ran.stdout[:5]) == (0, b"begun"), ran.stderr


def test_an_interrupt_while_the_command_line_is_loaded_shows_no_traceback(tmp_path):
    (tmp_path / "xortune").mkdir()
    (tmp_path / "xortune" / "__init__.py").touch()
    shutil.copy(Path(xt.__file__).with_name("__main__.py"), tmp_path / "xortune")
    interrupt = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "xortune" / "cli.py").write_text(f"{interrupt}main = print\n")
    ran = subprocess.run(
        [sys.executable, "-m", "xortune"], cwd=tmp_path, check=False, capture_output=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize(("loaded", "code"), [(["ray"], 0), ([], 139)])
def test_nothing_is_taken_apart_once_ray_was_there(loaded, code):
    """Ray's threads outlive its end, and one can crash the process while Python ends."""
    text = f"""
import atexit, os, sys, types
class Crash:
    def __del__(self, leave=os._exit):
        leave(139)
sys.crash = Crash()
for name in {loaded}:
    sys.modules[name] = types.ModuleType(name)
atexit.register(print, "last words", flush=True)
sys.argv = ["xortune", "--version"]
from xortune.cli import main
main()
"""
    how = {"capture_output": True, "text": True, "timeout": 60}
    ran = subprocess.run([sys.executable, "-c", text], check=False, **how)
    assert (ran.returncode, ran.stdout.splitlines()[1:]) == (code, ["last words"])


def test_help_is_there_in_a_second():
    before = os.times()
    program("--help")
    after = os.times()  # the child's own time: others may share the machine
    seconds = after.children_user + after.children_system
    assert seconds - before.children_user - before.children_system < 1.0


@pytest.fixture
def run(tmp_path):
    return tiny_run(tmp_path / "run", [solved(0, 3, 4, epochs=30)], trials=1).path


def command(*words, env=(), **streams):
    """Run one in a process of its own; whatever is not given is read."""
    line = ["-m", "xortune", *map(str, words)]
    return forked.run(line, env=os.environ | dict(env), check=False, text=False, **streams)


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, False), ({"NO_COLOR": "", "FORCE_COLOR": "1"}, True)]
)
def test_no_color_is_honoured(run, env, coloured):
    ran = command("status", run, env={"TERM": "xterm-256color", **env})
    assert (b"\x1b[" in ran.stdout) == coloured


def unread():
    """The writing end of a pipe whose reader has gone away."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def hung_up():
    """A terminal that somebody closed."""
    there, here = os.openpty()
    tty.setraw(here)
    os.close(there)
    return here


def test_a_search_that_nobody_sees_finishes(tmp_path):
    """Nobody reads what it prints, and its progress goes to a terminal that was closed."""
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    ran = command("search", "tiny.yaml", "--output", "run", stdout=unread(), stderr=hung_up())
    assert ran.returncode == 0
    assert xt.load_run(tmp_path / "run").manifest["complete"]
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("report run --format csv", 0, "note: stdout cannot be written (No space left on device)"),
        ("report run --format csv --json", 2, "error: stdout cannot be written"),
        ("status run", 2, "error: stdout cannot be written (No space left on device)"),
    ],
)
def test_a_full_stdout_is_told_in_a_line(run, words, code, said):
    with open("/dev/full", "w") as full:
        ran = command(*words.split(), stdout=full)
    assert ran.returncode == code, ran.stderr
    [line] = ran.stderr.decode().splitlines()
    assert line.startswith(said)
    assert (run / "table.csv").exists() == ("report" in words)


def test_a_reader_that_goes_away_changes_no_exit_code(run, tmp_path):
    running = tiny_run(tmp_path / "running", complete=False, trials=5).path
    watching = ("status", running, "--watch", "--interval", "0.1")
    for words in ("report", run, "--format", "csv"), watching:
        ran = command(*words, stdout=unread())
        assert (ran.returncode, ran.stderr) == (0, b"")


def test_no_file_of_a_run_gets_the_number_of_a_closed_stream(run):
    line = f'exec "{sys.executable}" -m xortune report "{run}" --format csv <&- >&- 2>&-'
    ran = subprocess.run(["sh", "-c", line], timeout=120, check=False)
    assert ran.returncode == 0
    assert (run / "table.csv").read_text().startswith("activation,loss,optimizer,lr")


def test_a_terminal_of_few_signs(run):
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    strange = run.rename(run.parent / "ré\udcff–sumé")
    line = [sys.executable, "-m", "xortune", "report", strange, "--format", "csv"]
    ran = subprocess.run(line, env=env, capture_output=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"30-96 %" in ran.stdout


# How it is interrupted.

SLOW = """
name: slow
trainer: ./train.py:run
parameters: {lr: {low: 0.5, high: 1.0}}
search: {sampler: random, trials: 4}
seeds: {ladder: [8]}
"""


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("search a.yaml", "search a.yaml --output 'runs/b c' --resume"),
        ("search a.yaml --output=x --resume", "search a.yaml --output=x --resume"),
        ("search a.yaml --output x --extend", "search a.yaml --output x --extend"),
        (
            "search a.yaml --output x --mlflow http://me:s3:cr@t@h/d",
            "search a.yaml --output x --mlflow 'http://me:***@h/d' --resume",
        ),
    ],
)
def test_the_command_that_goes_on(words, again):
    assert resume_command(words.split(), "runs/b c") == f"xortune {again}"


def test_a_search_that_had_not_begun_has_no_run(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    monkeypatch.setattr(api, "search", Mock(side_effect=KeyboardInterrupt))
    ran = xortune("search", "tiny.yaml", "--quiet")
    assert (ran.exit_code, ran.stderr) == (3, "interrupted: nothing had begun\n")


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ImportError])
def test_ctrl_c_while_ray_starts_writes_the_report(tmp_path, monkeypatch, raised):
    """A resume then lacks nothing. An import may make an error of a signal."""
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    ends = []

    @contextmanager
    def starting(*_, **__):
        try:
            monkeypatch.setattr(session_module, "is_interrupted", lambda: True)
            raise raised
        finally:
            ends.append(1)
        yield

    monkeypatch.setattr(session_module, "executor_for", starting)
    ran = xortune("search", "tiny.yaml", "--output", "run", "--quiet", "--ray")
    told = "interrupted: what had finished is in run; to continue, run:\n"
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert ran.stderr.startswith(told)
    report = (tmp_path / "run" / "report.md").read_text()
    assert "The search stopped early (interrupted by the user at 20" in report
    assert "No configuration has finished yet" in report
    assert xt.status("run").stopped.startswith("interrupted by the user at 20")
    assert not (tmp_path / "run" / "lock").exists()
    monkeypatch.undo()
    os.chdir(tmp_path)
    run = xt.search("tiny.yaml", output="run", resume=True, workers=0, verbose=0)
    assert (len(run.results), run.manifest["complete"], run.manifest["stopped"]) == (3, True, None)


def test_an_interrupt_before_there_is_a_run_leaves_none(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    monkeypatch.setattr(session_module, "identity_of", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        xt.search("tiny.yaml", output="run", workers=0, verbose=0)
    assert not (tmp_path / "run" / "report.md").exists()


@pytest.mark.long
def test_sigterm_while_ray_starts_is_what_ctrl_c_is(tmp_path):
    program = "import time\ndef run(config, seed):\n    time.sleep(0.5)\n    return seed > 3\n"
    (tmp_path / "train.py").write_text(program)
    (tmp_path / "slow.yaml").write_text(SLOW)
    line = [sys.executable, "-m", "xortune", "search", "slow.yaml"]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        lock = tmp_path / "runs" / "slow" / "lock"
        wait_until(lock.exists, process)
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert stdout == ""
    told = "slow: 4 configurations.*\nnote: check of.*\n"
    told += "note: search: 4 configurations x 8 seeds, about .*\n"
    told += "terminated .SIGTERM.: what had finished is in runs/slow; to continue, run:\n"
    told += "  xortune search slow.yaml --output runs/slow --resume\n"
    assert re.fullmatch(told, stderr), "and nothing of Ray's"
    assert not lock.exists()
    assert load_run("runs/slow").manifest["stopped"].startswith("terminated (SIGTERM) at 20")
    assert "terminated (SIGTERM) at 20" in Path("runs/slow/report.md").read_text()


ENDING = "ending, after finished results are written; interrupt again to end at once"
AT_ONCE = "interrupted: ended at once; what is in the journal is kept"


@pytest.fixture
def ending(tmp_path, drivers):
    """`ending(*two)`: a search with two lines that hears two; it ends when a file `go` is there."""

    def start(first, second):
        (tmp_path / "tiny.yaml").write_text(TINY_SPACE.replace("trials: 3", "trials: 400"))
        patch = """
import signal, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
from xortune.driver import search
from pathlib import Path
reported = search._reported
def waits(*of):
    while not Path("go").exists():
        time.sleep(0.005)
    return reported(*of)
search._reported = waits
"""
        process = drivers("search", "tiny.yaml", "--output", "run", pause=0.1, patch=patch)
        wait_for_lines(process, "run", 2)
        process.send_signal(first)
        how = "interrupted" if first == signal.SIGINT else f"terminated ({first.name})"
        time.sleep(0.3)  # two that come at once are one
        process.send_signal(second)
        while line := process.stderr.readline():
            if line == f"{how}: {ENDING}\n":
                return process
        raise AssertionError("it ended")

    return start


def test_a_second_signal_tears_nothing_apart(tmp_path, ending):
    process = ending(signal.SIGHUP, signal.SIGTERM)
    (tmp_path / "go").touch()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert "Traceback" not in stdout + stderr
    told = "terminated (SIGHUP): what had finished is in run; to continue, run:\n"
    assert stderr.endswith(f"{told}  xortune search tiny.yaml --output run --resume\n")
    assert load_run("run").manifest["stopped"].startswith("terminated (SIGHUP) at 20")
    assert (
        "The search stopped early (terminated (SIGHUP) at 20" in Path("run/report.md").read_text()
    )
    assert (tmp_path / "run" / "table.csv").exists()
    assert not (tmp_path / "run" / "lock").exists()
    assert len(load_run("run").evaluations) >= 2


@pytest.fixture(name="handled")
def _handled():
    """Signals are handled as those of a command."""
    before = signal.getsignal(signal.SIGINT)
    handle_signals()
    yield
    handle_signals()  # none has come
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("handled")
def test_two_signals_while_results_are_written_are_both_heard(capfd):
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        list(map(signal.raise_signal, [signal.SIGINT] * 2))
    assert capfd.readouterr().err == f"interrupted: {ENDING}\n"


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated (SIGTERM)"),
        (signal.SIGHUP, "terminated (SIGHUP)"),
    ],
)
def test_only_ctrl_c_is_an_interrupt(capfd, number, how):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    handle_signals()
    with pytest.raises(typer.Exit) as ended, exit_on_error("interrupted: nothing is kept", {}):
        signal.raise_signal(number)
    assert (ended.value.exit_code, capfd.readouterr().err) == (3, f"{how}: nothing is kept\n")


@pytest.mark.usefixtures("handled")
def test_a_search_that_was_terminated_says_so_and_one_that_was_interrupted_too(tmp_path):
    def train(config, seed):
        if seed == 2:
            signal.raise_signal(number)
        return True

    space = {"parameters": {}, "search": {"sampler": "grid"}, "seeds": {"ladder": [4]}}
    for number, how in (
        (signal.SIGINT, "interrupted by the user at 20"),
        (signal.SIGTERM, "terminated (SIGTERM) at 20"),
    ):
        handle_signals()
        given = {"train": train, "workers": 0, "check": False, "verbose": 0}
        with pytest.raises(KeyboardInterrupt):
            xt.search({"name": "a", **space}, output=f"run-{number}", **given)
        assert load_run(f"run-{number}").manifest["stopped"].startswith(how)


def called(config, seed):
    return True


async def awaited(config, seed):
    return True


@pytest.mark.usefixtures("handled", "forks")
@pytest.mark.parametrize("train", [called, awaited])
def test_a_signal_that_a_package_swallows_is_heard_when_trainings_are_waited_for(train):
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        xt.evaluate({"x": 1}, seeds=range(4), train=train, workers=1)


@pytest.mark.usefixtures("handled")
def test_a_signal_of_which_an_import_makes_an_error_is_no_error(capfd):
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(typer.Exit) as ended, exit_on_error("interrupted: nothing is kept", {}):
        raise ImportError("initialization failed")
    assert (ended.value.exit_code, capfd.readouterr().err) == (3, "interrupted: nothing is kept\n")


def test_the_exit_code_of_a_command_is_not_that_of_the_signal(tmp_path):
    """With -m Python ends itself by the signal, if that came in code that is made from a text."""
    (tmp_path / "begun.py").write_text("""
import sys, xortune.cli
def app():
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        sys.exit(130)
xortune.cli.app = app
xortune.cli.main()
""")
    ran = subprocess.run([sys.executable, "-m", "begun"], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (3, b"interrupted: nothing had begun\n")


@pytest.mark.parametrize(
    ("words", "last", "code"),
    [
        ("report run --format csv,parquet", "run/seeds.parquet\n", 0),
        ("gate run --min-rate 0.999 --json", "}\n", 1),
        ("status nowhere", "error: ", 2),
    ],
)
@pytest.mark.parametrize("pause", [0.0, 0.05, 0.2])
def test_no_signal_changes_the_exit_code_once_the_last_line_is_printed(
    run, words, last, code, pause
):
    """Python takes the packages apart for a while, when it has forgotten who handles signals."""
    if "gate" in words:
        xt.certify(run, top=1, seeds=8, verbose=0)
    line = [sys.executable, "-m", "xortune", *words.split()]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        stream = process.stderr if code == 2 else process.stdout
        while not (told := stream.readline()).startswith(last):
            assert told
        time.sleep(pause)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            time.sleep(0.002)
        assert (process.returncode, process.stderr.read()) == (code, "")


@pytest.mark.usefixtures("handled")
def test_a_settled_command_whose_output_nobody_reads_ends_by_a_later_signal(monkeypatch):
    ended = Mock()
    monkeypatch.setattr(os, "_exit", ended)
    settle()
    for pause in (0.0, 0.01):
        time.sleep(pause)
        signal.raise_signal(signal.SIGTERM)
    assert not ended.called
    monkeypatch.setattr("xortune.training.process.PATIENCE", 0.0)
    time.sleep(0.01)
    signal.raise_signal(signal.SIGINT)
    ended.assert_called_once_with(130)


def test_a_third_signal_ends_it_at_once(ending):
    process = ending(signal.SIGINT, signal.SIGINT)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (130, "", f"{AT_ONCE}\n")
    assert len(load_run("run").evaluations) >= 2
