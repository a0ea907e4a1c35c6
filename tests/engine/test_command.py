"""A command as a trainer: what its exit and its last line say, and that nothing of it is left."""

import json
import math
import pickle
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drivers import wait_until
from hand_made import done
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.system import kill_group, members
from xortune.core.trainer import Block
from xortune.runs.evaluation import decode, encode
from xortune.spaces import command as texts
from xortune.spaces.command import EXIT_CODE, JSON, NUMBER, RegexMetric, parse_template, spelled
from xortune.spaces.model import CommandSettings
from xortune.trainers import command as command_process
from xortune.trainers.command import KEPT_BYTES, LINE, MOST_OUTPUTS, command_trainer, run_command

SH = """sh -c '%s' sh {seed} {x}"""


def trained(folder, script, *, count=1, success=None, x=1, first=0, **how):
    """The outcome of seeds by a shell script, whose $1 is the seed and $2 is x."""
    command = CommandSettings(SH % script.replace("{", "{{").replace("}", "}}"), success, **how)
    return command_trainer(command, folder).train([Block(Point({"x": x}), first, count)])[0]


def ended(folder, script, **how):
    """Status and reason of one seed."""
    outcome = trained(folder, script, **how)
    return Status(outcome.status[0]), outcome.details.failed.get(0)


@pytest.fixture(params=["pidfd", "none"])
def _pidfds(request, monkeypatch):
    """With the system's word that a process has ended, and without."""
    if request.param == "none":
        monkeypatch.setattr(command_process, "_pidfd", lambda _: None)


@pytest.mark.usefixtures("_pidfds")
def test_the_exit_code_decides(tmp_path):
    assert ended(tmp_path, "exit 0") == (Status.SOLVED, None)
    for script, why in (
        ("exit 3", "exit code 3"),
        ("echo out; echo why >&2; exit 3", "exit code 3: why"),
        ("echo out; echo; exit 3", "exit code 3: out"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
    ):
        assert ended(tmp_path, script) == (Status.CRASHED, why)
    status, reason = ended(tmp_path, "echo {; exit 0", success=EXIT_CODE, metric=NUMBER)
    assert (status, reason.split(";")[0]) == (Status.CRASHED, "the last line is '{'")


GOOD = "a >= 0.9"


@pytest.mark.parametrize(
    ("metric", "line", "success", "status", "values"),
    [
        (NUMBER, "0.9", "value >= 0.9", Status.SOLVED, {"value": 0.9}),
        (NUMBER, "0.89", "value >= 0.9", Status.WRONG_PATTERN, {"value": 0.89}),
        (NUMBER, "-inf", "value >= 0.9", Status.DIVERGED, {"value": -np.inf}),
        (NUMBER, "1_0", "value >= 0.9", Status.CRASHED, {}),
        (NUMBER, "0.9 done", "value >= 0.9", Status.CRASHED, {}),
        (JSON, '{"a": 0.9, "b": 2}', GOOD, Status.SOLVED, {"a": 0.9, "b": 2.0}),
        (JSON, '{"a": 0.8, "b": true}', GOOD, Status.WRONG_PATTERN, {"a": 0.8, "b": 1.0}),
        (JSON, '{"a": -nan, "b": inf}', GOOD, Status.DIVERGED, {"a": np.nan, "b": np.inf}),
        (JSON, '{"a": 1, "b": -Infinity}', GOOD, Status.SOLVED, {"a": 1.0, "b": -np.inf}),
        (JSON, '{"nan, inf": 1, "a": 2}', GOOD, Status.SOLVED, {"nan, inf": 1.0, "a": 2.0}),
        (JSON, "0.95", "value >= 0.9", Status.SOLVED, {"value": 0.95}),
        (JSON, '{"success": true, "a": 1}', None, Status.SOLVED, {"a": 1.0}),
        (JSON, "false", None, Status.WRONG_PATTERN, {}),
        *(
            (JSON, bad, GOOD, Status.CRASHED, {})
            for bad in ('{"b": 1}', '{"a": "x"}', "[1]", '{"a": 1', "9" * 5000, "[" * 20_000, "")
        ),
    ],
)
def test_the_last_line_is_read(tmp_path, metric, line, success, status, values):
    (tmp_path / "line").write_text(f"log\n{line}\n\n" if line else "")
    outcome = trained(tmp_path, "cat line", success=success, metric=metric)
    assert outcome.status[0] == status
    found = {name: numbers.tolist() for name, numbers in outcome.details.values.items()}
    np.testing.assert_equal(found, {name: [value] for name, value in values.items()})
    assert (0 in outcome.details.failed) == (status in (Status.CRASHED, Status.DIVERGED))


def test_a_seed_that_diverged_in_the_check_is_in_its_block_with_what_it_printed(tmp_path):
    (tmp_path / "line").write_text('{"a": NaN}\n')
    command = CommandSettings(SH % "cat line", GOOD, JSON)
    trainer, point = command_trainer(command, tmp_path), Point({"x": 1})
    [checked] = trainer.train([Block(point, 0, 1)])
    known = replace(trainer, known={(point.key, 0): checked})
    [outcome] = known.train([Block(point, 0, 2)])
    assert outcome.details.failed == {0: "a is nan", 1: "a is nan"}
    assert outcome.details.output == dict.fromkeys((0, 1), '{"a": NaN}\n')


def test_numbers_beside_an_exit_code(tmp_path):
    outcome = trained(tmp_path, 'echo "{\\"a\\": $1}"', count=3, success=EXIT_CODE, metric=JSON)
    assert outcome.successes == 3
    assert outcome.details.values["a"].tolist() == [0, 1, 2]
    status, reason = ended(tmp_path, "echo false", success=EXIT_CODE, metric=JSON)
    assert status == Status.CRASHED
    assert reason.startswith("says that success is false, but exits with code 0")
    assert ended(tmp_path, "echo true", success=EXIT_CODE, metric=JSON) == (Status.SOLVED, None)


def test_a_command_that_is_not_there_fails_its_seeds(tmp_path):
    trainer = command_trainer(CommandSettings("./nowhere {seed}"), tmp_path)
    [outcome] = trainer.train([Block(Point({}), 0, 2)])
    assert outcome.details.failed[1] == "cannot be started: './nowhere': No such file or directory"
    assert outcome.successes == 0


def test_the_end_of_the_output_is_kept_in_its_order(tmp_path):
    script = "echo a; sleep 0.1; echo b >&2; sleep 0.1; echo c; exit $1"
    details = trained(tmp_path, script, count=2).details
    assert dict(details.output) == {1: "a\nb\nc\n"}  # seed 0 has not failed
    command, *lines = details.traceback.splitlines()
    assert command.startswith(f"{tmp_path}$ sh -c ")
    assert lines == ["a", "b", "c", "exit code 1: b"]
    long = run_command(["sh", "-c", "yes 123456789 | head -c 300000; exit 1"], tmp_path, None)
    assert (len(long.output), len(long.stdout), long.whole) == (KEPT_BYTES, LINE, False)
    line = 'yes 1 | head -n 200000 | tr -d "\\n"'
    assert len(run_command(["sh", "-c", line], tmp_path, None).stdout) == LINE
    why = "the last line is longer than 65,536 bytes"
    assert ended(tmp_path, line, success=EXIT_CODE, metric=NUMBER) == (Status.CRASHED, why)


def test_output_travels_in_the_journal_for_so_many_seeds_of_a_block(tmp_path):
    script = 'echo "seed $1"; test $1 = 30 && exit 2; exit 1'
    outcome = trained(tmp_path, script, count=40)
    kept = dict(outcome.details.output)
    assert len(kept) == MOST_OUTPUTS
    assert 30 in kept  # the only one with its reason
    line = encode(done(0, {"x": 1}, outcome))
    read = decode(line).outcome.details
    assert dict(read.output) == kept == dict(pickle.loads(pickle.dumps(read)).output)
    assert read.failed == outcome.details.failed
    fields = json.loads(line)
    for damaged in (3, "", {"a": "b"}, {"40": "b"}, {"1": 2}):
        with pytest.raises(InputError, match="output"):
            decode(json.dumps(fields | {"output": damaged}))
    silent = encode(done(0, {"x": 1}, trained(tmp_path, "exit 1", count=40)))
    assert dict(decode(silent).outcome.details.output) == {}


def started(folder, name):
    """The process whose number a command wrote into a file."""
    path = folder / name
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def runs(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_gone(folder):
    """What `LEAVES` starts has ended, or will at once."""
    processes = [started(folder, name) for name in ("one", "two")]
    wait_until(lambda: not any(map(runs, processes)))


# `timeout` makes a process group of its own.
LEAVES = "sleep 600 & echo $! > one; timeout 600 sleep 600 & echo $! > two; wait"


@pytest.mark.usefixtures("_pidfds")
def test_a_command_that_takes_too_long_ends_with_all_that_it_has_started(tmp_path):
    began = time.monotonic()
    outcome = trained(tmp_path, f"echo begun; {LEAVES}", timeout=0.3)
    assert time.monotonic() - began < 30  # it sleeps for 600
    assert outcome.details.failed == {0: "took longer than 0.3 s: begun"}
    assert outcome.details.output == {0: "begun\n"}
    assert_gone(tmp_path)


def test_what_a_command_leaves_behind_ends_with_it(tmp_path):
    began = time.monotonic()
    script = "yes & echo $! > one; timeout 600 sleep 600 & echo $! > two; exit 0"
    assert ended(tmp_path, script) == (Status.SOLVED, None)
    assert time.monotonic() - began < 30  # it sleeps for 600
    assert_gone(tmp_path)


NEVER_NAMED = """
import subprocess, time
popen = subprocess.Popen
subprocess.Popen = lambda *words, **more: (popen(*words, **more), time.sleep(60))[0]
"""


@pytest.mark.parametrize("named", [True, False])
def test_nothing_is_left_when_the_worker_itself_is_killed(tmp_path, named):
    """While the command runs, and before its reaper knows of it."""
    program = (
        "from pathlib import Path\n"
        "from xortune.trainers.command import run_command\n"
        "run_command(['sh', '-c', 'true'], Path(), None)\n"
        f"{'' if named else NEVER_NAMED}"
        f"run_command(['sh', '-c', {LEAVES!r}], Path(), None)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    assert all(runs(started(tmp_path, name)) for name in ("one", "two"))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert_gone(tmp_path)


def test_an_interrupt_ends_the_command(tmp_path, monkeypatch):
    def interrupted(self, limit):
        started(tmp_path, "two")
        raise KeyboardInterrupt

    monkeypatch.setattr(command_process._PipeReader, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_command(["sh", "-c", LEAVES], tmp_path, None)
    assert_gone(tmp_path)


def test_only_its_own_session_is_looked_through():
    others = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2)]
    assert members(others[0].pid) == [others[0].pid]
    kill_group(others[0].pid, session=True)
    assert others[0].wait() == -signal.SIGKILL
    assert others[1].poll() is None
    others[1].kill()
    others[1].wait()


def test_it_runs_beside_the_space_file_or_in_a_copy_of_its_files(tmp_path):
    folder = tmp_path / "space"
    (folder / "lib" / "__pycache__").mkdir(parents=True)
    run, part = folder / "run.sh", folder / "lib" / "part.sh"
    run.write_text("#!/bin/sh\npwd; . ./lib/part.sh\n")
    run.chmod(0o755)
    part.write_text("exit 0\n")
    (folder / "lib" / "__pycache__" / "x").touch()
    (folder / "data").touch()

    def trainer(text="./run.sh {seed}", files=("lib", "./run.sh")):
        return command_trainer(CommandSettings(text, files=files), folder)

    kept = trainer()
    assert [path for path, _ in kept.kept.files] == ["lib/part.sh", "run.sh"]
    assert [path for path, _ in trainer(files=None).kept.files] == ["run.sh"]
    assert trainer("cat data /etc/hostname ./run.sh/x {seed}", None).kept.files[0][0] == "data"
    assert kept.kept.folder() == folder
    assert trainer().describe() == kept.describe()
    block = Block(Point({}), 0, 1)
    assert kept.train([block])[0].successes == 1
    part.write_text("exit 1\n")  # edited while the search runs: it goes on as it began
    assert kept.kept.folder() != folder
    assert kept.train([block])[0].successes == 1
    assert trainer().describe()["source"] != kept.describe()["source"]
    assert trainer().train([block])[0].successes == 0
    again = pickle.loads(pickle.dumps(kept))
    part.unlink()
    assert again.train([block])[0].successes == 1
    for file, problem in {"nowhere": "no file", "../x": "not below", "/etc": "not below"}.items():
        with pytest.raises(InputError, match=problem):
            trainer(files=[file])


def test_files_too_large_to_be_sent_are_refused(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    with pytest.raises(InputError, match=r"larger than .*; fix: name those.*files: \[\]"):
        command_trainer(CommandSettings("cat big {seed}"), tmp_path)
    command_trainer(CommandSettings("cat big {seed}", files=()), tmp_path)


def test_it_has_no_input_and_its_own_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("OF_THE_WORKER", "here")
    script = 'test -z "$(cat)" && test "$OF_THE_WORKER" = here'
    assert ended(tmp_path, script) == (Status.SOLVED, None)


@pytest.mark.parametrize(
    ("script", "status", "told"),
    [
        ("echo acc 0.2; echo acc 0.93; echo done", Status.SOLVED, 0.93),
        ("echo acc 0.93 >&2", Status.SOLVED, 0.93),
        ("echo acc 0.4; echo acc 0.93 >&2", Status.WRONG_PATTERN, 0.4),
        ('printf "acc 0.1\\racc 9.5e-1"', Status.SOLVED, 0.95),
        ("echo acc nan", Status.DIVERGED, "acc is nan"),
        ("echo acc ...", Status.CRASHED, "the regex found"),
        ("echo nothing", Status.CRASHED, "the last line is 'nothing'"),
        (":", Status.CRASHED, "because it printed nothing"),
    ],
)
def test_a_number_that_a_regex_finds(tmp_path, script, status, told):
    """The last place counts, and stdout before stderr."""
    metric = RegexMetric(r"acc (nan|[-\d.e]+)", "acc")
    outcome = trained(tmp_path, script, metric=metric, success="acc >= 0.9")
    assert outcome.status[0] == status
    if isinstance(told, float):
        assert outcome.details.values["acc"][0] == told
    else:
        assert told in outcome.details.failed[0]


def test_all_numbers_that_a_regex_finds_are_the_way_of_the_seed(tmp_path):
    """Those before it crashed, too; of one number there is no way."""
    metric = RegexMetric(r"^acc ([-\d.e]+)$", "acc")
    script = "for i in 1 2 3 4; do echo acc 0.$i; test $1$i = 13 && exit 3; done; true"
    outcome = trained(tmp_path, script, count=3, metric=metric, success="acc >= 0.4")
    [curves] = outcome.details.curves
    ways = {seed: curves.values[curves.seed == seed, 0].tolist() for seed in range(3)}
    whole = [pytest.approx(0.1 * i) for i in (1, 2, 3, 4)]
    assert ways == {0: whole, 1: whole[:3], 2: whole}
    assert outcome.status.tolist() == [Status.SOLVED, Status.CRASHED, Status.SOLVED]
    one = trained(tmp_path, "echo acc 0.4", metric=metric, success="acc >= 0.4")
    assert one.details.curves == ()


# -------------------------------------------------------------------------------------------------
# A command's words: values reach it as they are, whatever is in them.

NASTY = "a b\t'\"\\ $(touch x) `id` ${HOME} *?~;|&><!{lr}{{\n-\\n%s é\u2028"

printable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.one_of(
    printable,
    st.sampled_from([NASTY, "--help", "-", "--", "-rf /", "$(id)", "", " ", "{seed}", "%d"]),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
)


def words(text, seed=7, **config):
    return parse_template(text).argv(config, seed)


@settings(max_examples=100)
@given(values, values)
@example(NASTY, "-x")
def test_values_reach_a_program_unchanged(one, other):
    text = r"printf '%s\0' --a={one} -- {other} {one},{other} 'x {one} y' {seed}"
    given_ = words(text, 3, one=one, other=other)
    came = run_command(given_, Path(tempfile.gettempdir()), None)
    a, b = spelled(one), spelled(other)
    wanted = [f"--a={a}", "--", b, f"{a},{b}", f"x {a} y", "3"]
    assert (came.code, came.stderr) == (0, b"")
    assert came.stdout.decode() == "".join(f"{word}\0" for word in wanted)


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False)))
def test_what_is_written_reads_back(value):
    text = spelled(value)
    assert {"true": True, "false": False}.get(text) is value or (
        type(value)(text) == value and math.copysign(1, float(text)) == math.copysign(1, value)
    )


@given(st.lists(printable, min_size=1).filter(lambda found: found[0] != ""))
def test_literal_words_are_themselves(found):
    doubled = [word.replace("{", "{{").replace("}", "}}") for word in found]
    assert words(shlex.join(doubled)) == found


@pytest.mark.parametrize(
    ("text", "config", "wanted"),
    [
        ("p --a {a} --b {b}", {"a": 1, "b": None}, "p --a 1"),
        ("p --a {a} --b {b}", {"a": None, "b": 2}, "p --b 2"),
        ("p --a={a} {b}", {"b": 2}, "p 2"),
        ("p x {a} y", {}, "p x y"),
        ("p --a=1 {a} y", {}, "p --a=1 y"),
        ("p -- {a} y", {}, "p -- y"),
        ("p --v{a} {b} y", {}, "p y"),
        ("p --v {a} {b}", {}, "p"),
        ("p {a},{b}", {"a": 1}, "p"),
        ("p {a:--fast} {b:-x}", {"a": True, "b": False}, "p --fast"),
        ("p -v {a:--fast} z", {"a": None}, "p -v z"),
        ("p {{a}} {a}}}", {"a": 1}, "p {a} 1}"),
    ],
)
def test_what_is_not_active_or_null_is_left_out(text, config, wanted):
    assert words(text, **config) == wanted.split()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("run 'a {seed}", "cannot be split into words"),
        ("   ", "no program"),
        ("run {seed", "a lone '{' in '{seed'"),
        ("run {a {b}}", "a lone '{'"),
        ("run --x={a:--fast}", "is a part of"),
        ("run {seed} > out", "'>' means nothing"),
        ("run {seed} && rm x", "'&&' means nothing"),
        ("run {seed}; rm x", "'{seed};' means nothing"),
        ("sh -c 'run {a}' {seed}", "{a} in a text that sh runs"),
        ("nice /bin/bash -ec 'run {a}' {seed}", "{a} in a text that /bin/bash runs"),
    ],
)
def test_what_is_no_command_is_refused(text, problem):
    with pytest.raises(InputError, match=re.escape(problem)) as error:
        parse_template(text)
    assert error.value.field == "command"
    assert error.value.fix


def test_signs_of_a_shell_in_quotes_are_arguments():
    assert words("run '>' \"a;\" '&&' {seed}") == ["run", ">", "a;", "&&", "7"]
    assert words("sh -c 'run \"$1\"' sh {a} {seed}", a="$(id)")[-2:] == ["$(id)", "7"]


@pytest.mark.parametrize(
    ("text", "names", "problem", "fix"),
    [
        ("run {lr}", ["lr"], "seed is not in the command: all seeds", "add --seed={seed}"),
        ("run {seed}", ["lr"], "lr is not in the command", "add --lr={lr}, or remove"),
        ("run {seed} {lr} {l}", ["lr"], "{l} is not a parameter", "did you mean 'lr'?"),
        ("run {seed} {}", [], "{} is not a parameter", "doubled"),
        ("run {seed}", ["seed"], "a parameter called seed", "rename it"),
    ],
)
def test_placeholders_are_the_parameters_and_the_seed(text, names, problem, fix):
    with pytest.raises(InputError) as error:
        texts.check_names(parse_template(text), names)
    assert problem in error.value.problem
    assert fix in str(error.value.fix)


@pytest.mark.parametrize(
    ("text", "given_", "fix"),
    [
        ("run {x}", [1, -1.0], "--x={x}"),
        ("run --shift {x}", ["a", "-b"], "--shift={x}"),
        ("run {x} -- {x}", ["-b"], "--x={x}"),
        ("run {x:--fast}", [True, "yes"], "write {x}"),
    ],
)
def test_values_that_a_program_may_misread_are_refused(text, given_, fix):
    with pytest.raises(InputError) as error:
        texts.check_values(parse_template(text), "x", given_)
    assert error.value.field == "x"
    assert fix in str(error.value.fix)


def test_values_that_it_cannot_misread_are_not():
    for text in ("run --x={x}", "run -x{x}", "run -- {x}", "run {y}"):
        texts.check_values(parse_template(text), "x", ["-b", -1])
    texts.check_values(parse_template("run {x} {y}"), "x", ["b-", 1, None, True, ""])
    texts.check_values(parse_template("run {x:-f}"), "x", [True, False, None])
