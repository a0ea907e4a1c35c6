"""What is logged of a run: read as it grows, brought to trackers that may fail."""

import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from commands import xortune
from hand_made import ALONE, CONFIG, TINY_SPACE, done, solved, write_run
from logged_runs import (
    BLOCKS,
    ROOT,
    STARTED,
    append,
    logged,
    session_groups,
    sorted_files,
)

import xortune as xt
from xortune.integrations import following
from xortune.integrations.following import RunFollower as Reader
from xortune.integrations.following import logging
from xortune.integrations.tensorboard import FILE
from xortune.runs.evaluation import Purpose
from xortune.runs.run import JOURNAL


class Memory:
    """A tracker that keeps what it is given, and fails while it is told to."""

    name, live, place = "Memory", True, "here"

    def __init__(self, fails=0):
        self.fails, self.configs, self.states = fails, {}, []

    def begin(self, _about):
        if self.fails:
            self.fails -= 1
            raise ConnectionError("nobody\nthere")

    def log(self, config, _about):
        self.configs.setdefault(config.key, []).append(config)

    def end(self, about):
        self.states.append(about.state)


def test_of_a_real_run_all_configs_are_logged_with_the_numbers_of_its_table():
    table = xt.load_run(ROOT / "reports" / "xor").table.set_index("key")
    found = logged(ROOT / "reports" / "xor")
    assert {config.key for config in found} == set(table.index)
    for config in found:
        row = table.loc[config.key].dropna()
        last = config.steps[-1]
        assert last.metrics == {name: row[name] for name in last.metrics}
        assert last.n == row.n
        assert set(last.metrics) >= {"k", "n", "rate", "low", "high", "wrong_pattern", "crashed"}
        assert ("epochs_to_solve" in last.metrics) == (row.k > 0)
        sizes = [step.n for step in config.steps]
        assert sizes == sorted(set(sizes))
    certificate = xt.load_run(ROOT / "reports" / "xor").certificate
    certified = {config.key: config.certified for config in found if config.certified}
    assert set(certified) == {one.key for one in certificate.finalists}
    best = certificate.best
    assert certified[best.key]["certified_k"] == best.k
    assert certified[best.key]["certified_lower_bound"] == best.lower_bound


def test_a_config_has_a_step_for_each_block_and_its_crashed_seeds_are_in_n(tmp_path):
    fresh = done(0, CONFIG, solved(2**30, 3, 3))
    purpose = Purpose("certify", 1, fresh.block.point.key, 1, 1, 3, 0.95, False, 1, 4, *ALONE)
    write_run(tmp_path / "run", [*BLOCKS, replace(fresh, purpose=purpose)], **STARTED)
    one, other = logged(tmp_path / "run")
    assert one.parameters == CONFIG
    assert [(s.n, s.metrics["k"], s.metrics["crashed"]) for s in one.steps] == [
        (2, 1, 0),
        (4, 1, 2),
    ]
    assert [s.metrics["epochs_to_solve"] for s in other.steps] == [100, 200]
    assert [s.at for s in one.steps] == [1767323045, 1767323045]  # when the run began


def test_a_reader_reads_on_and_a_line_that_is_being_written_waits(tmp_path):
    write_run(tmp_path / "run", BLOCKS[:2], **STARTED)
    reader = Reader(tmp_path / "run")
    keys = reader.read_on()
    assert len(keys) == 2
    assert reader.read_on() == []
    append(tmp_path / "run", BLOCKS[3])
    journal = tmp_path / "run" / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-10])
    assert reader.read_on() == []
    with journal.open("ab") as file:
        file.write(whole[-10:])
    assert reader.read_on() == keys[:1]
    assert [len(config.steps) for config in reader.configs(reader.keys)] == [2, 1]
    assert list(reader.configs(reader.keys)) == logged(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    assert reader.read_on() == []
    write_run(tmp_path / "run", BLOCKS[1:2])
    assert reader.read_on() == keys[1:]
    assert reader.keys == (keys[1],)


def test_a_run_keeps_its_identity_when_it_moves_and_another_has_another(tmp_path):
    write_run(tmp_path / "a", BLOCKS, **STARTED)
    write_run(tmp_path / "b", BLOCKS, **(STARTED | {"seed": 2}))
    before = Reader(tmp_path / "a").about()
    assert before.title.startswith("hand-")
    assert before.state == "stopped"
    assert Reader(tmp_path / "b").about().identity != before.identity
    (tmp_path / "a").rename(tmp_path / "c")
    assert Reader(tmp_path / "c").about().identity == before.identity


def test_a_tracker_that_fails_is_told_once_and_gets_all_when_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.01)
    said, tracker = [], Memory(fails=3)
    directory = tmp_path / "run"
    with logging(directory, [tracker], said.append):
        write_run(directory, BLOCKS[:1], **STARTED)
        for evaluation in BLOCKS[1:]:
            append(directory, evaluation)
            time.sleep(0.05)
    assert [len(found[-1].steps) for found in tracker.configs.values()] == [2, 2]
    assert tracker.states == ["stopped"]
    assert len(said) == 1
    assert "Memory could not be told (nobody)" in said[0]
    assert f"xortune log {directory}" in said[0]


def test_while_a_search_runs_only_what_has_changed_is_logged(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.01)
    tracker = Memory()
    write_run(tmp_path / "run", BLOCKS[:2], **STARTED)
    with logging(tmp_path / "run", [tracker], pytest.fail):
        wait_until(lambda: len(tracker.configs) == 2)
        append(tmp_path / "run", BLOCKS[3])
        wait_until(lambda: sum(map(len, tracker.configs.values())) == 3)
    sizes = [[len(config.steps) for config in found] for found in tracker.configs.values()]
    assert sizes == [[1, 2, 2], [1, 1]]  # the last time all are


def test_a_tracker_that_hangs_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.3)
    over, said = threading.Event(), []
    tracker = Memory()
    tracker.begin = lambda _: over.wait(30)
    write_run(tmp_path / "run", BLOCKS, **STARTED)
    began = time.monotonic()
    with logging(tmp_path / "run", [tracker], said.append):
        pass
    assert time.monotonic() - began < 5
    over.set()
    assert [sentence for sentence in said if "did not get on" in sentence] == said != []


def test_an_error_of_the_body_goes_on_and_what_is_there_is_logged(tmp_path):
    tracker = Memory()

    def interrupted():
        with logging(tmp_path / "run", [tracker], pytest.fail):
            write_run(tmp_path / "run", BLOCKS, **STARTED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(tracker.configs) == 2


# The command line


@pytest.mark.parametrize(
    ("option", "package", "extra"),
    [
        (("--tensorboard",), "tensorboard", "tensorboard"),
    ],
)
def test_what_is_not_installed_is_told_before_anything_starts(
    tmp_path, monkeypatch, option, package, extra
):
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == package else there(name, *a)
    )
    space = ROOT / "search_spaces" / "xor_small.yaml"
    for command in (
        ("search", space, "--output", tmp_path / "run", *option),
        ("log", ROOT / "reports" / "xor", *option),
    ):
        result = xortune(*command)
        assert result.exit_code == 2
        assert result.stderr.splitlines()[-1] == (
            f"error: --{extra}: the package {package} is not installed; fix: pip install {package}"
        )
    assert not (tmp_path / "run").exists()


def test_an_option_without_a_value_takes_none_of_what_follows(tmp_path):
    run = write_run(tmp_path / "run", BLOCKS, **STARTED)
    result = xortune("log", run.path, "--tensorboard", "--json")
    assert result.exit_code == 0, result.output
    assert len(sorted_files(run.path / "tensorboard")) == 2
    result = xortune("log", run.path, "--tensorboard", tmp_path / "logs")
    assert result.stdout == f"TensorBoard: 2 configurations in {tmp_path / 'logs'}\n"
    assert len(sorted_files(tmp_path / "logs")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nowhere to log to; fix: give --tensorboard, --mlflow or --wandb"),
        (("--tensorboard", "{file}"), "{file}: cannot be made"),
        (("--mlflow", "localhost:5000"), "'localhost:5000' is not a tracking URI"),
        (("--mlflow", "http://me:secret@host"), "http://host: has a password in it"),
        (("--wandb", "a/b/c"), "'a/b/c' is not a project"),
    ],
)
def test_what_is_not_usable_is_refused(tmp_path, words, message):
    run = write_run(tmp_path / "run", BLOCKS, **STARTED)
    file = tmp_path / "file"
    file.write_text("")
    result = xortune("log", run.path, *[word.format(file=file) for word in words])
    assert result.exit_code == 2
    assert message.format(file=file) in result.stderr
    assert "secret" not in result.stderr


def wait_until(there):
    until = time.monotonic() + 10
    while not there():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_tracker_that_is_not_asked_for_is_not_imported(tmp_path):
    run = write_run(tmp_path / "run", BLOCKS, **STARTED)
    program = (
        "import sys, xortune as xt\n"
        f"print(xt.log({str(run.path)!r}, tensorboard=True))\n"
        "print(sorted({'tensorboard', 'mlflow', 'wandb', 'ray', 'torch'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == ["2", "['tensorboard']"]


def test_a_link_in_a_run_is_not_written_through(tmp_path):
    run = write_run(tmp_path / "run", BLOCKS, **STARTED)
    mine = tmp_path / "mine"
    mine.write_text("")
    link = run.path / "tensorboard" / run.results[0].key / FILE
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    xt.log(run, tensorboard=True)
    assert mine.read_text() == ""
    assert not link.is_symlink()


@pytest.mark.usefixtures("no_ray")
def test_a_search_is_logged_and_a_tracker_that_is_away_stops_nothing(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    away = "http://127.0.0.1:9"
    result = xortune(
        *("search", tmp_path / "tiny.yaml", "--output", tmp_path / "run", "--quiet"),
        *("--tensorboard", "--mlflow", away),
    )
    assert result.exit_code == 0, result.output
    [told] = [line for line in result.stderr.splitlines() if "could not be told" in line]
    assert told.startswith(f"note: MLflow could not be told (nobody answers at {away}")
    run = xt.load_run(tmp_path / "run")
    groups = session_groups(run.path / "tensorboard")
    assert set(groups) == {found.key for found in run.results}
    assert {group.sessions[0].status for group in groups.values()} == {1}
    before = sorted_files(run.path / "tensorboard")
    xt.log(run, tensorboard=True)
    assert sorted_files(run.path / "tensorboard") == before
    began = run.evaluations[0].at
    assert all(group.sessions[0].start_time_secs >= began for group in groups.values())
