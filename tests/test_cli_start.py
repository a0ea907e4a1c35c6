"""The command line as a process of its own: what it loads, how long that takes, what it colours."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from hand_made import CONFIG, done, solved, write_run

HEAVY = ("torch", "ray", "optuna", "pandas", "numpy", "scipy")


def program(text, *, env=None):
    return subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, **(env or {})},
    )


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"], ["--version"], ["sarch"]])
def test_help_loads_nothing_heavy(words):
    heavy = (*HEAVY, "numba", "pyarrow", *["pydantic"] * (words == ["--help"]))
    ran = program(
        f"import sys; sys.argv = ['xortune', *{words}]\n"
        "from xortune.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('loaded', sorted(set({heavy}) & set(sys.modules)))"
    )
    assert ran.stdout.splitlines()[-1] == "loaded []"


def test_help_is_there_in_a_second():
    program("from xortune.cli import main")  # warm the disk
    took = []
    for _ in range(3):
        started = time.process_time(), os.times()
        program(
            "import sys; sys.argv = ['xortune', '--help']; from xortune.cli import main; main()"
        )
        after = os.times()
        before = started[1]
        # The child's own time: others may share the machine.
        took.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert min(took) < 1.0


def test_refusing_loads_neither_ray_nor_optuna():
    ran = program(
        "import sys; sys.argv = ['xortune', 'search', 'nowhere.yaml']\n"
        "from xortune.cli import main\n"
        "try: main()\n"
        "except SystemExit as error: print(error.code)\n"
        "print(sorted({'ray', 'optuna', 'torch'} & set(sys.modules)))"
    )
    assert ran.stdout.splitlines() == ["2", "[]"]


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({"NO_COLOR": "1"}, False), ({"NO_COLOR": "", "FORCE_COLOR": "1"}, True)],
)
def test_no_color_is_honoured(tmp_path, env, coloured):
    run = write_run(tmp_path / "run", [done(0, CONFIG, solved(0, 4, 4))])
    ran = program(
        f"import sys; sys.argv = ['xortune', 'report', {str(run.path)!r}]\n"
        "from xortune.cli import main; main()",
        env={"TERM": "xterm-256color", **env},
    )
    assert ("\x1b[" in ran.stdout) == coloured
