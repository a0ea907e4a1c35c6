"""The command line as a process: what it loads, how long it takes, and where its output goes.

Output that fails fails no command: what cannot be shown is shown less, and files come first.
"""

import os
import subprocess
import sys
import tty

import forked
import pytest
from hand_made import TINY_SPACE, solved, tiny_run

import xortune as xt

HEAVY = ("torch", "ray", "optuna", "pandas", "numpy", "scipy", "numba", "pyarrow")


def program(*words, after=""):
    """The command in a new process, and what is printed there after it."""
    text = (
        f"import sys; sys.argv = ['xortune', *{words}]\n"
        "from xortune.cli import main\n"
        f"try: main()\nexcept SystemExit as error: code = error.code\n{after}"
    )
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60
    )


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
    env = os.environ | {"NO_COLOR": "1", "COLUMNS": "80", **dict(env)}
    line = ["-m", "xortune", *map(str, words)]
    return forked.run(line, env=env, check=False, text=False, **streams)


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
    ran = command(
        *("search", tmp_path / "tiny.yaml", "--output", tmp_path / "run"),
        stdout=unread(),
        stderr=hung_up(),
    )
    assert ran.returncode == 0
    assert xt.load_run(tmp_path / "run").manifest["complete"]
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["report", "RUN", "--format", "csv"], 0, "note: stdout cannot be written (No space left"),
        (["report", "RUN", "--format", "csv", "--json"], 2, "error: stdout cannot be written"),
        (["status", "RUN"], 2, "error: stdout cannot be written (No space left on device)"),
    ],
)
def test_a_full_stdout_is_told_in_a_line(run, words, code, said):
    with open("/dev/full", "w") as full:
        ran = command(*(run if word == "RUN" else word for word in words), stdout=full)
    assert ran.returncode == code, ran.stderr
    [line] = ran.stderr.decode().splitlines()
    assert line.startswith(said)
    assert (run / "table.csv").exists() == ("report" in words)


def test_a_reader_that_goes_away_changes_no_exit_code(run, tmp_path):
    ran = command("report", run, "--format", "csv", stdout=unread())
    assert (ran.returncode, ran.stderr) == (0, b"")
    running = tiny_run(tmp_path / "running", complete=False, trials=5)
    ran = command("status", running.path, "--watch", "--interval", "0.1", stdout=unread())
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
