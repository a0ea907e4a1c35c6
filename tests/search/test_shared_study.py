"""Several drivers on one study: they learn from each other, and each counts its own."""

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from subprocess import PIPE

import postgres
import pytest
from commands import refused, xortune
from fakes import Queue
from forked import Python
from hand_made import TINY_SPACE

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.files import without_passwords
from xortune.deciding.optuna_study import Draw
from xortune.deciding.propose import proposer_for
from xortune.deciding.shared_study import (
    PROPOSAL,
    RUN,
    SOLVED,
    SharedStudy,
    Study,
    join_study,
    open_study,
    shared_study,
    study_name,
)
from xortune.racing.objectives import SeedSummary, sampler_values
from xortune.runs.journal import Journal
from xortune.runs.run import create
from xortune.runs.store import JOURNAL
from xortune.spaces.space import parse_space

SPACE = """
name: shared
parameters:
  y: {low: 0.0, high: 1.0, step: 0.1}
  kind: {choice: [a, b]}
  part: {low: 0.001, high: 1.0, log: true, when: {kind: [a]}}
  same: {low: 3, high: 3}
search: {sampler: tpe, trials: 12, seed: 5}
seeds: {ladder: [4]}
start: [{y: 0.5, kind: b, same: 3}]
"""

STORAGES = ["journal://{}/study.log", "sqlite:///{}/study.db"]
NEEDS_SERVER = pytest.mark.skipif(
    postgres.programs() is None, reason="no PostgreSQL here: apt-get install postgresql"
)
POSTGRESQL = pytest.param("postgresql", marks=[pytest.mark.long, NEEDS_SERVER])


def space_of(**changes):
    text = SPACE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return parse_space(text, "shared")


SHARED = space_of()


@pytest.fixture(scope="module")
def postgresql():
    with postgres.server() as server:
        yield server


EVERY_STORAGE = pytest.mark.parametrize(
    "storage", [*STORAGES, POSTGRESQL], ids=["journal", "sqlite", "postgresql"], indirect=True
)


@pytest.fixture(params=[STORAGES[0], POSTGRESQL], ids=["journal", "postgresql"])
def storage(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql").url(f"{tmp_path.parent.name}-{tmp_path.name}")
    return request.param.format(tmp_path)


def trials(storage, space=SHARED):
    return open_study(shared_study(space, Study(storage)), space)[0].get_trials(deepcopy=False)


def drive(directory, storage, *, pause=0.0, most=None):
    """Search into a directory that may hold some of it; stop after `most` results, as if killed."""
    shared = join_study(shared_study(SHARED, Study(storage)), SHARED, directory, lambda _: None)
    known = ()
    if (directory / JOURNAL).exists():
        known = xt.load_run(directory).evaluations
    else:
        create(directory, space_text=SHARED.text, manifest={"study": shared.entry})
    with Journal(directory / JOURNAL) as journal:
        proposer = proposer_for(SHARED, shared=shared)
        queue = Queue(SHARED, proposer, journal, window=3, known=known)
        while most != 0 and (job := queue.next_job()) is not None:
            time.sleep(pause)
            queue.receive(job)
            most = None if most is None else most - 1
        assert most is not None or queue.finished
    return shared.run


def proposer(storage, run, space=SHARED):
    study = shared_study(space, Study(storage))
    return proposer_for(space, shared=SharedStudy(study.url, study.name, run * 16))


def seen(k=4):
    return SeedSummary(k, 4, 100)


def test_two_drivers_at_once_share_a_study_and_each_counts_its_own(tmp_path, storage):
    paths = os.pathsep.join(path for path in sys.path if path)  # of the helpers of the tests
    given = {"stdin": PIPE, "stdout": PIPE, "text": True}
    given["env"] = {**os.environ, "PYTHONPATH": paths}
    folders = [tmp_path / name for name in ("one", "two")]
    drivers = [Python([__file__, str(folder), storage], **given) for folder in folders]
    for driver in drivers:
        assert driver.stdout.readline() == "ready\n"
    for driver in drivers:  # both are up
        driver.stdin.write("go\n")
        driver.stdin.flush()
    assert [driver.communicate(timeout=120) and driver.returncode for driver in drivers] == [0, 0]
    found = trials(storage)
    assert {trial.state.name for trial in found} == {"COMPLETE"}
    runs = {run.manifest["study"]["run"]: run for run in map(xt.load_run, folders)}
    assert len(runs) == 2
    told = Counter((trial.user_attrs[RUN], trial.user_attrs[PROPOSAL]) for trial in found)
    assert told == Counter((run, number) for run in runs for number in range(12))
    order = [trial.user_attrs[RUN] for trial in sorted(found, key=lambda t: t.datetime_complete)]
    assert order != sorted(order)
    assert order != sorted(order, reverse=True)  # they ran side by side
    for run in runs.values():  # its own journal
        own = {line.proposal: line for line in run.evaluations}
        assert sorted(own) == list(range(12))
        often = Counter(line.block.point.key for line in own.values())
        assert 1 in often.values()
        assert {result.key for result in run.results} == set(often)
    for trial in found:
        lines = runs[trial.user_attrs[RUN]].evaluations
        [line] = [line for line in lines if line.proposal == trial.user_attrs[PROPOSAL]]
        point, outcome = line.block.point, line.outcome
        if [line.block.point for line in lines].count(point) == 1:  # else it is told of all turns
            assert trial.user_attrs[SOLVED] == f"{outcome.successes}/4"
            mine = SeedSummary(outcome.successes, outcome.n, outcome.epochs_spent)
            assert trial.values == list(sampler_values(SHARED.objectives, point, mine))
        asked = {n: v for n, v in point.items() if n != "same"}
        assert {n: trial.params[n] for n in asked} == pytest.approx(asked)


def test_one_learns_from_what_another_has_told(storage):
    lonely = proposer(storage, "b", space_of(shared="lonely"))
    one, two = proposer(storage, "a"), proposer(storage, "b")
    for number in range(12):
        point = one.propose(number)
        one.learn(number, point, seen(4 if point["y"] > 0.6 else 0))
    drawn = [Draw(SHARED).point(two.seed(number)) for number in range(1, 9)]
    assert [lonely.propose(number) for number in range(1, 9)] == drawn
    learnt = [two.propose(number) for number in range(1, 9)]
    assert learnt != drawn
    good = [sum(p["y"] > 0.6 for p in found) for found in (learnt, drawn)]
    assert good[0] > good[1]


def test_two_runs_with_one_seed_propose_something_else(storage):
    one, two, again = (proposer(storage, run, space_of(tpe="random")) for run in "aba")
    found = [[p.propose(number) for number in range(1, 9)] for p in (one, two)]
    assert found[0] != found[1]
    assert [again.seed(number) for number in range(9)] == [one.seed(number) for number in range(9)]


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_what_was_told_is_not_told_again_and_what_was_asked_is_not_asked_again(storage, sampler):
    space = space_of(tpe=sampler)
    first = proposer(storage, "a", space)
    points = [first.propose(number) for number in range(6)]
    for number in range(3):
        first.learn(number, points[number], seen(number))
    told_at = [trial.datetime_complete for trial in trials(storage, space)[:3]]
    # Killed: the journal has proposals 0 to 3; the study has been asked for six.
    second = proposer(storage, "a", space)
    for number in range(4):
        second.replay(number, points[number])
    assert [second.propose(number) for number in (4, 5)] == points[4:]
    second.propose(6)
    for number in range(4):
        second.learn(number, points[number], seen(number))
    found = trials(storage, space)
    assert [trial.user_attrs[PROPOSAL] for trial in found] == list(range(7))
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 4 + ["RUNNING"] * 3
    assert [trial.datetime_complete for trial in found[:3]] == told_at
    assert [trial.user_attrs[SOLVED] for trial in found[:4]] == ["0/4", "1/4", "2/4", "3/4"]


def test_a_run_that_is_resumed_without_its_study_before_enters_what_it_knows(storage):
    point, late = Draw(SHARED).point(1), proposer(storage, "a")
    late.replay(1, point)
    late.learn(1, point, seen())
    (trial,) = trials(storage)
    assert (trial.state.name, trial.user_attrs[PROPOSAL]) == ("COMPLETE", 1)
    assert trial.params["kind"] == point["kind"]
    assert ("part" in trial.params) == ("part" in point)


def test_a_trial_that_was_being_asked_for_in_a_kill_is_given_up(storage):
    study, _ = open_study(shared_study(SHARED, Study(storage)), SHARED)
    for run in "ab":
        study.ask().set_user_attr(RUN, run * 16)
    proposer(storage, "a")
    assert [trial.state.name for trial in trials(storage)] == ["FAIL", "RUNNING"]


@EVERY_STORAGE
def test_a_driver_that_is_killed_and_resumed_tells_each_proposal_once(tmp_path, storage):
    first = drive(tmp_path / "run", storage, most=5)
    assert drive(tmp_path / "run", storage) == first
    found = trials(storage)
    assert sorted(trial.user_attrs[PROPOSAL] for trial in found) == list(range(12))
    assert {trial.state.name for trial in found} == {"COMPLETE"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("high: 1.0, step", "high: 0.9, step"),
        ("seeds:", "task: parity3\nseeds:"),
        ("seeds:", "objectives: [success_rate, epochs_to_solve]\nseeds:"),
    ],
)
def test_another_question_is_another_study(tmp_path, old, new):
    other, url = space_of(**{old: new}), f"journal://{tmp_path}/log"
    assert study_name(SHARED) != study_name(other)
    assert study_name(SHARED) == study_name(space_of(**{"seed: 5": "seed: 6"}))
    open_study(shared_study(SHARED, Study(url, "mine")), SHARED)
    with pytest.raises(InputError, match=r"'mine' has other parameters.*another name of xt.Study"):
        open_study(shared_study(other, Study(url, "mine")), other)


GRID = {"tpe, trials: 12": "grid", "low: 0.001, high: 1.0, log: true": "low: 1, high: 2"}


@pytest.mark.parametrize(
    ("storage", "name", "changes", "words"),
    [
        ("redis://here", None, {}, "storage: 'redis://here' is not a storage; allowed: jour"),
        ("sqlite://study.db", None, {}, "is not a storage"),
        ("mysql://me:secret@h/d", None, {}, r"'mysql://me:\*\*\*@h/d' is not a storage"),
        ("journal://x", None, GRID, "a grid cannot be shared: .* a part of the space"),
        ("journal://x", " ", {}, "name: an empty name"),
    ],
)
def test_what_is_no_storage_is_told(storage, name, changes, words):
    with pytest.raises(InputError, match=words) as told:
        shared_study(space_of(**changes), Study(storage, name))
    assert "secret" not in str(told.value)


def test_a_password_is_shown_nowhere():
    shared = SharedStudy("postgresql://me:s3:cr@t@host:5432/db", "name", "a" * 16)
    assert shared.shown == "postgresql://me:***@host:5432/db"
    assert "cr@t" not in str(shared.entry)
    for words in (["--study-storage", shared.url], [f"--study-storage={shared.url}"]):
        told = without_passwords(["search", "tpe.yaml", *words])
        assert told == ["search", "tpe.yaml", *(w.replace("s3:cr@t", "***") for w in words)]
    assert SharedStudy("sqlite:///a:b.db", "name").shown == "sqlite:///a:b.db"


def test_a_storage_that_fails_in_the_middle_is_told(tmp_path):
    mine = proposer(f"sqlite:///{tmp_path}/study.db", "a")
    mine.propose(0)
    engine = mine._model._study._storage._backend.engine
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE trials RENAME TO gone")
    with pytest.raises(InputError, match=r"storage fails.*continue with resume=True"):
        mine.propose(1)


def test_the_command_line_names_its_option_and_leaves_nothing(tmp_path):
    space, output = tmp_path / "space.yaml", tmp_path / "run"
    space.write_text(TINY_SPACE)
    for words, said in [
        (["--study-name", "x"], "--study-name: 'x' without a storage"),
        (["--study-storage", "mysql://me:secret@h/d"], "--study-storage: 'mysql://me:***@h/d' is"),
        (["--study-storage", f"sqlite:///{tmp_path}/no/x.db"], "the study's storage fails"),
    ]:
        ran = xortune("search", space, "--output", output, *words)
        assert "secret" not in refused(ran, said, lines=2)
        assert not output.exists() or not any(output.iterdir())


@pytest.mark.long
@NEEDS_SERVER
def test_a_server_that_goes_away_costs_nothing(tmp_path):
    """The search says so and ends; when the server is back, it goes on, and tells what is new."""
    folder = tmp_path / "run"
    with postgres.server() as server:
        url = server.url("study")
        run = drive(folder, url, most=5)
        shown = json.loads((folder / "manifest.json").read_text())["study"]["storage"]
        assert postgres.PASSWORD not in shown
        assert "s3%3Acr" not in shown
        mine = proposer(url, "a")
        mine.propose(0)
        server.stop()
        with pytest.raises(InputError, match=r"storage fails.*continue with resume=True") as caught:
            mine.propose(1)
        assert "s3%3Acr" not in str(caught.value)
        with pytest.raises(InputError, match="the study's storage fails"):
            drive(folder, url)
        server.start()
        assert drive(folder, url) == run
        own = [t for t in trials(url) if t.user_attrs[RUN] == run]
        assert sorted(t.user_attrs[PROPOSAL] for t in own) == list(range(12))
        assert {t.state.name for t in own} == {"COMPLETE"}
        with pytest.raises(InputError, match="the study's storage fails") as caught:
            drive(tmp_path / "other", url.replace("s3%3A", "wrong"))
        assert "wrong" not in str(caught.value)


def test_a_driver_of_postgresql_may_be_named_and_is_if_it_is_missing(monkeypatch):
    named = "postgresql+psycopg2://me@h/d"
    assert shared_study(SHARED, Study(named)).url == named
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"needs a package.*pip install 'psycopg\[binary\]'"):
        proposer("postgresql://me@127.0.0.1:9/none", "a")


if __name__ == "__main__":  # a driver: `python test_shared_study.py RUN STORAGE`
    print("ready", flush=True)
    sys.stdin.readline()
    drive(Path(sys.argv[1]), sys.argv[2], pause=0.02)
