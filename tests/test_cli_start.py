"""The command line as a process of its own: what it loads, how long that takes, what it colours."""

import os
import subprocess
import sys

import forked
import pytest
from hand_made import CONFIG, done, solved, write_run

HEAVY = ("torch", "ray", "optuna", "pandas", "numpy", "scipy", "numba", "pyarrow")


def program(*words, after=""):
    """The command in a process of its own, and what is printed there after it."""
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
    took = after.children_user + after.children_system
    assert took - before.children_user - before.children_system < 1.0


@pytest.mark.parametrize(
    ("env", "coloured"), [({"NO_COLOR": "1"}, False), ({"NO_COLOR": "", "FORCE_COLOR": "1"}, True)]
)
def test_no_color_is_honoured(tmp_path, env, coloured):
    run = write_run(tmp_path / "run", [done(0, CONFIG, solved(0, 4, 4))])
    env = {**os.environ, "TERM": "xterm-256color", **env}
    ran = forked.run(["-m", "xortune", "status", run.path], env=env)
    assert ("\x1b[" in ran.stdout) == coloured
