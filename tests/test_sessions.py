"""Sessions of a run: what they note, what they extend, and that no count mixes versions."""

import json
import time
from collections import Counter, defaultdict
from dataclasses import replace
from unittest.mock import create_autospec

import numpy as np
import pytest
from commands import xortune
from drivers import without_ray
from hand_made import CONFIG, TINY_SPACE, append, done, failed, solved, tiny_run, write_run
from hypothesis import given
from hypothesis import strategies as st
from listening import sentences

import xortune as xt
from xortune.core.errors import InputError, from_command_line
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.deciding.configs import ResultsByVersion
from xortune.deciding.propose import SampledProposer
from xortune.driver import session as session_module
from xortune.racing.objectives import SeedSummary
from xortune.racing.race import Race
from xortune.runs import manifest as run_manifest
from xortune.runs import sessions as run_sessions
from xortune.runs.evaluation import Evaluations, decode
from xortune.runs.manifest import fingerprint_of, identity_of, update_manifest
from xortune.runs.results import by_version
from xortune.runs.run import create, load_run
from xortune.runs.sessions import continue_run, first_manifest
from xortune.runs.store import JOURNAL
from xortune.spaces.space import parse_space
from xortune.trainers.network import NetworkTrainer
from xortune.training.executors import LocalExecutor

SPACE = TINY_SPACE
WIDER = SPACE.replace("high: 0.1", "high: 0.5").replace("[Tanh, ReLU]", "[Tanh, ReLU, ELU]")
CHANGES = [
    "parameters.activation.choice: [Tanh, ReLU] -> [Tanh, ReLU, ELU]",
    "parameters.lr.high: 0.1 -> 0.5",
]
POINT = {**CONFIG, "epochs": 30, "hidden_dim": 3}
A, B = "a" * 8, "b" * 8


@pytest.fixture
def search(tmp_path, monkeypatch):
    """`search(text, **more)`; instead of Ray one more evaluation is written, signed."""

    def session(space, trainer, directory, *, resume, voice, **_):
        if (directory / JOURNAL).exists():
            how = dict(vars(resume))
            del how["allowed"]
            for note in continue_run(space, trainer, load_run(directory), **how):
                voice.warn(note)
        else:
            manifest = first_manifest(space, trainer, resume.command)
            create(directory, space_text=space.text, manifest=manifest)
        number = len(load_run(directory).evaluations)
        point = trainer.check(Point({**POINT, "lr": 0.01 + number / 1000}))
        line = done(number, point, solved(0, 3, 4, epochs=30))
        append(directory, by(fingerprint_of(identity_of(trainer.describe())), line))
        return True

    monkeypatch.setattr(session_module, "search_session", session)
    monkeypatch.chdir(tmp_path)

    def search(text=SPACE, **more):
        (tmp_path / "space.yaml").write_text(text)
        return xt.search(tmp_path / "space.yaml", output=tmp_path / "run", **more)

    return search


@pytest.fixture
def become(monkeypatch):
    """`become(torch="9.8.7")`: from now on something else trains."""
    real = NetworkTrainer.describe

    def become(**changes):
        monkeypatch.setattr(NetworkTrainer, "describe", lambda self: real(self) | changes)

    return become


def files(run, among=()):
    """All its files, or those that were among some."""
    found = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    return {name: found[name] for name in among or found}


def by(fingerprint, evaluation):
    return replace(evaluation, fingerprint=fingerprint)


# What a session notes


def test_each_session_is_in_the_manifest(search):
    with from_command_line(["xortune", "search", "a"]):
        run = search()
    (first,) = run.manifest["sessions"]
    assert first["versions"].keys() >= {"python", "torch", "numba", "optuna", "ray", "pandas"}
    assert first["started"] <= first["finished"]
    asked = {"command": ["xortune", "search", "a"], "space": "space.yaml"}
    assert first | asked | {"number": 1, "changes": []} == first
    identity = run.manifest["made"][first["made"]]
    assert fingerprint_of(identity) == first["made"]
    assert identity["task_fingerprint"] == Task.xor().fingerprint
    assert identity.keys() >= {"engine", "engine_version", "device", "torch", "numba", "trainer"}
    assert [e.fingerprint for e in run.evaluations] == [first["made"]]
    with from_command_line(["again"]):
        run = search(resume=True)
    sessions = [(session["command"], session["made"]) for session in run.manifest["sessions"]]
    assert sessions == [(first["command"], first["made"]), (["again"], first["made"])]
    assert run.manifest["command"] == first["command"]
    assert len(run.evaluations) == 2


def test_more_trials_need_no_word_and_are_noted(search):
    search()
    run = search(resume=True, trials=9)
    assert run.manifest["trials"] == run.asked.search.trials == 9
    assert run.manifest["sessions"][1]["changes"] == ["search.trials: 3 -> 9"]
    run = search(resume=True, trials=4)
    assert run.manifest["trials"] == run.asked.search.trials == 9, "fewer is for this session only"
    assert run.manifest["sessions"][2]["changes"] == ["search.trials: 9 -> 4"]


def test_a_changed_space_is_refused_with_all_that_changed_and_nothing_is_written(search):
    run = search()
    before = files(run)
    with pytest.raises(InputError) as caught:
        search(WIDER.replace("trials: 3", "trials: 5"), resume=True)
    assert [line.strip() for line in str(caught.value).splitlines()[1:3]] == CHANGES
    assert "trials" not in str(caught.value)
    result = xortune("search", "space.yaml", "--output", "run", "--resume", "--quiet")
    assert result.exit_code == 2
    assert "parameters.lr.high: 0.1 -> 0.5" in result.stderr
    assert files(run, before) == before


def test_an_extension_keeps_the_space_that_was(search):
    run = search()
    run = search(WIDER, extend=True)
    assert run.space_text == WIDER
    assert (run.path / "space-1.yaml").read_text() == SPACE
    first, second = run.manifest["sessions"]
    assert (first["space"], second["space"]) == ("space-1.yaml", "space.yaml")
    assert second["changes"] == CHANGES
    run = search(WIDER, resume=True)
    run = search(WIDER.replace("hidden_dim: 3", "hidden_dim: {low: 3, high: 5}"), extend=True)
    names = [session["space"] for session in run.manifest["sessions"]]
    assert names == ["space-1.yaml", "space-2.yaml", "space-2.yaml", "space.yaml"]
    earlier = run_sessions.earlier_spaces(run.path, run.manifest)
    assert [s.parameters for s in earlier] == [parse_space(t).parameters for t in (SPACE, WIDER)]
    assert len(load_run(run.path).evaluations) == 4


@pytest.mark.parametrize("writes", range(4))
def test_an_extension_that_is_killed_is_made_by_the_same_call(search, monkeypatch, writes):
    run = search()
    count, real = [], run_sessions.replace_file

    def dying(*arguments):
        count.append(arguments)
        if len(count) > writes:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run_sessions, "replace_file", dying)
        patch.setattr(run_manifest, "replace_file", dying)
        try:
            search(WIDER, extend=True)
        except KeyboardInterrupt:
            assert len(count) == writes + 1
    run = search(WIDER, extend=True)
    assert run.space_text == WIDER
    assert (run.path / "space-1.yaml").read_text() == SPACE
    assert not (run.path / "space-2.yaml").exists()
    earlier = run_sessions.earlier_spaces(run.path, run.manifest)
    assert [space.parameters for space in earlier] == [parse_space(SPACE).parameters]
    changes = [change for session in run.manifest["sessions"] for change in session["changes"]]
    assert "parameters.lr.high: 0.1 -> 0.5" in changes


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
def test_samplers_that_are_not_exact_say_so_once(search, sampler):
    text = SPACE.replace("random", sampler)
    if sampler == "cmaes":
        text = text.replace("{choice: [Tanh, ReLU]}", "Tanh")
        text = text.replace("hidden_dim: 3", "hidden_dim: {low: 3, high: 5}")
    said = []
    search(text, listener=sentences(said.append))
    assert said == []
    search(text, resume=True, listener=sentences(said.append))
    (word,) = said
    assert f"sampler {sampler} does not resume exactly" in word
    result = xortune("search", "space.yaml", "--output", "run", "--resume", "--json")
    assert result.stderr.count("does not resume exactly") == 1
    assert json.loads(result.stdout)["configs"] == 3


# Damaged


@pytest.mark.parametrize(
    "entries",
    [
        *({"sessions": damaged} for damaged in ({}, [], [1], [{"made": 3}])),
        {"sessions": [{"made": A, "versions": []}]},
        *({"made": damaged, "sessions": [{"made": A}]} for damaged in (None, {A: 1}, {B: {}})),
    ],
)
def test_a_damaged_manifest_is_told(search, entries):
    run = search()
    update_manifest(run.path, **entries)
    with pytest.raises(InputError, match=f"manifest.json: {next(iter(entries))}.* is damaged"):
        search(resume=True)


@pytest.mark.parametrize("name", ["../space.yaml", "/etc/passwd", "space-1.yaml/../x", 7, None])
def test_a_manifest_names_no_space_outside_its_run(tmp_path, name):
    manifest = {"sessions": [{"made": A, "space": name}]}
    assert run_sessions.earlier_spaces(tmp_path, manifest) == ()


def test_another_version_is_refused_with_both_shown(search, become):
    become(torch="9.8.7")
    run = search()
    before = files(run)
    become(torch="9.9.9", engine="new")
    for more in ({"resume": True}, {"extend": True}):
        with pytest.raises(InputError) as caught:
            search(**more)
        lines = str(caught.value).splitlines()
        assert lines[1:3] == ["  engine: fused -> new", "  torch: 9.8.7 -> 9.9.9"]
        assert "torch==9.8.7" in lines[3]
        assert "accept_versions=True" in lines[3]
    assert files(run, before) == before


def test_accepted_versions_are_kept_apart(search, become):
    said = []
    run = search()
    become(torch="9.8.7")
    run = search(resume=True, accept_versions=True, listener=sentences(said.append))
    first, second = (session["made"] for session in run.manifest["sessions"])
    assert first != second
    assert run.manifest["made"][second]["torch"] == "9.8.7"
    assert [e.fingerprint for e in run.evaluations] == [first, second]
    (word,) = said
    assert "9.8.7" in word
    assert "only the seeds of one of them are counted" in word
    assert run.manifest["sessions"][1]["notes"] == said
    run = search(resume=True)  # nothing has changed since
    assert run.manifest["sessions"][2]["made"] == second


def test_a_proof_takes_no_seeds_of_another_version(search, become):
    text = SPACE + "stop: {proven_rate: 0.1}\n"
    run = search(text)
    before = files(run)
    become(torch="9.8.7")
    with pytest.raises(InputError, match=r"proven by seeds of one kind(.|\n)*9\.8\.7"):
        search(text, resume=True, accept_versions=True)
    assert files(run, before) == before


def test_packages_that_do_not_train_may_change_and_are_told(search, monkeypatch):
    search()
    now, said = run_sessions.version("optuna"), []
    monkeypatch.setattr(run_sessions, "version", lambda _: "0.0.1")
    run = search(resume=True, listener=sentences(said.append))
    (word,) = said
    assert f"optuna {now} -> 0.0.1" in word
    assert "proposals may differ" in word
    assert run.manifest["sessions"][1]["versions"]["optuna"] == "0.0.1"
    assert len(run.manifest["made"]) == 1


def test_what_is_not_counted_is_told(search, tmp_path):
    identity = identity_of(NetworkTrainer(Task.xor()).describe() | {"torch": "1.0"})
    made = fingerprint_of(identity)
    sessions = [{"number": 1, "made": made, "space": "space.yaml"}]
    manifest = {"made": {made: identity}, "sessions": sessions, "trainer": "network"}
    point = NetworkTrainer(Task.xor()).check(Point({**POINT, "lr": 0.011}))
    line = by(made, done(0, point, solved(4, 1, 8, epochs=30)))
    write_run(tmp_path / "run", [line], space_text=SPACE, **manifest)
    with pytest.raises(InputError, match=r"torch: 1\.0 -> "):
        search(resume=True)
    run = search(resume=True, accept_versions=True)
    first, second = run.manifest["sessions"]
    assert first["made"] != second["made"]
    (result,) = run.results
    assert (result.outcome.successes, result.outcome.n, result.trials) == (1, 8, 2)
    assert [e.block.count for e in run.set_aside] == [4]
    aside = {"key": result.key, "made": second["made"], "k": 3, "n": 4}
    assert run.manifest["not_counted"] == [aside]
    shown = xortune("report", "run").stdout
    assert "Not counted: 4 seeds that other versions made." in shown
    report = (run.path / "report.md").read_text()
    assert "made by other versions, not counted" in report
    assert "4 seeds of 1 configurations" in report


# What is counted


def test_no_count_mixes_versions(tmp_path):
    point, other = {**POINT, "lr": 0.02}, {**POINT, "lr": 0.03}
    lines = [
        by(A, done(0, point, solved(0, 4, 4, epochs=30))),
        by(B, done(0, point, solved(4, 2, 12, epochs=30))),
        by(A, done(1, point, solved(16, 1, 9, epochs=30))),
        by(B, failed(2, point, 30, 3)),
        by(B, done(3, other, solved(0, 2, 4, epochs=30))),
        by(A, done(4, other, solved(4, 4, 4, epochs=30))),
    ]
    sessions = [{"made": A}, {"made": B}]
    run = write_run(tmp_path / "run", lines, sessions=sessions, made={A: {}, B: {}})
    found = {result.point["lr"]: result for result in run.results}
    # Of B 15 seeds, of A 4 + 9: B's count, with its crashed ones. Proposals are proposals.
    assert found[0.02].outcome.seeds.tolist() == [*range(4, 16), *range(30, 33)]
    assert (found[0.02].outcome.successes, found[0.02].trials) == (2, 3)
    # As many of each: those of the lowest seeds.
    assert found[0.03].outcome.seeds.tolist() == [*range(4)]
    assert (found[0.03].outcome.successes, found[0.03].trials) == (2, 2)
    assert sum(e.block.count for e in run.set_aside) == 4 + 9 + 4
    assert run.table["n"].sum() == len(run.seeds) == 19


BLOCKS = st.tuples(st.sampled_from([None, A, B, "c" * 8]), st.integers(0, 2), st.integers(1, 5))


@given(st.lists(BLOCKS, max_size=12))
def test_blocks_of_a_config_are_counted_if_one_thing_made_them(given):
    lines, first = [], 0
    for made, config, count in given:
        point = {**POINT, "lr": 0.1 + config}
        lines.append(by(made, done(len(lines), point, solved(first, 0, count))))
        first += count
    counted, aside = by_version(Evaluations.of(lines))
    assert sorted(e.proposal for e in (*counted, *aside)) == list(range(len(lines)))
    for key in counted.keys:
        found, rest = Counter(), Counter()
        for part, seeds in ((counted, found), (aside, rest)):
            for evaluation in part.of_keys([key]):
                seeds[evaluation.fingerprint] += evaluation.block.count
        [(made, most)] = found.items()
        assert made not in rest
        assert most >= max(rest.values(), default=0)


def test_versions_are_counted_by_every_numpy(monkeypatch):
    lines = [
        by(made, done(number, POINT, solved(first, 0, count)))
        for number, (made, first, count) in enumerate([(A, 0, 2), (B, 2, 3), (A, 5, 2)])
    ]
    unique = np.unique

    def unique_of_numpy_2_0_0(values, axis=None, return_inverse=False):
        found = unique(values, axis=axis, return_inverse=return_inverse)
        return (found[0], found[1].reshape(1, -1)) if axis and return_inverse else found

    monkeypatch.setattr(np, "unique", unique_of_numpy_2_0_0)
    counted, aside = by_version(Evaluations.of(lines))
    assert [[e.proposal for e in part] for part in (counted, aside)] == [[0, 2], [1]]


@pytest.fixture
def certified(tmp_path):
    """A hand-made run, and `certify(**more)` for it."""
    described = NetworkTrainer(Task.xor()).describe()
    identity = identity_of(described)
    made = fingerprint_of(identity)
    manifest = {"sessions": [{"number": 1, "made": made}], "made": {made: identity}}
    run = tiny_run(tmp_path / "run", [solved(0, 8, 8, epochs=30)] * 2, **described, **manifest)

    def certify(**more):
        xt.certify(run.path, **({"top": 2, "seeds": 32, "workers": 0} | more))
        return load_run(run.path)

    certify.path = run.path
    return certify


def interrupted(certify, **more):
    """Stopped before its second block."""
    train, blocks = LocalExecutor.wait, []

    def stop(executor):
        if blocks:
            raise KeyboardInterrupt
        blocks.append(train(executor))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalExecutor, "wait", stop)
        with pytest.raises(KeyboardInterrupt):
            certify(**more)
    run = load_run(certify.path)
    assert len(run.checks) == 1
    assert [a.complete for a in run.certificate.attempts] == [False]


def test_a_certificate_is_a_session_of_its_own(certified):
    with from_command_line(["xortune", "certify"]):
        run = certified()
    first, second = run.manifest["sessions"]
    assert "what" not in first
    assert (second["what"], second["command"]) == ("certify", ["xortune", "certify"])
    assert {check.fingerprint for check in run.checks} == {second["made"]}


def test_an_attempt_is_never_finished_by_another_version(certified, become):
    interrupted(certified)
    become(torch="9.8.7")
    lines = (certified.path / JOURNAL).read_bytes()
    with pytest.raises(InputError, match=r"versions began attempt 1.*accept_versions=True"):
        certified()
    assert (certified.path / JOURNAL).read_bytes() == lines
    said = []
    run = certified(accept_versions=True, listener=sentences(said.append))
    assert [a.complete for a in run.certificate.attempts] == [False, True]
    assert {f.n for f in run.certificate.finalists} == {32}
    assert len({(check.fingerprint, check.purpose.attempt) for check in run.checks}) == 2
    assert "9.8.7" in said[0]


def test_an_attempt_is_never_extended_by_another_version(certified, become):
    certified(extendable=True)
    become(torch="9.8.7")
    with pytest.raises(InputError, match="versions made attempt 1"):
        certified(extend=True, top=None)
    run = certified()  # a new one may be begun
    assert [a.number for a in run.certificate.attempts] == [1, 2]


# A search that goes on with another version: whole, but for Ray.

RACED = SPACE.replace("epochs: 30", "epochs: 150").partition("search:")[0]
RACED += "search: {sampler: tpe, trials: 6, seed: 5}\nseeds: {ladder: [4, 8, 32]}\n"


def test_no_version_is_seen_with_another_s_seeds(tmp_path, monkeypatch, become):
    without_ray(monkeypatch.setattr)
    (tmp_path / "space.yaml").write_text(RACED)
    given = {"space": tmp_path / "space.yaml", "output": tmp_path / "run"}
    xt.search(**given, trials=3)
    journal = tmp_path / "run" / JOURNAL  # as if killed before anything came to the top
    lines = [line for line in journal.read_text().splitlines() if decode(line).block.first < 8]
    journal.write_text("".join(f"{line}\n" for line in lines))
    become(torch="9.8.7")
    see = create_autospec(Race.see, side_effect=Race.see)
    learn = create_autospec(SampledProposer.learn, side_effect=SampledProposer.learn)
    monkeypatch.setattr(Race, "see", see)
    monkeypatch.setattr(SampledProposer, "learn", learn)
    said = []
    run = xt.search(**given, resume=True, accept_versions=True, listener=sentences(said.append))
    assert "so do the race and the sampler" in said[0]
    assert len({e.fingerprint for e in run.evaluations}) == 2
    assert run.set_aside, "the test tells nothing if no config has seeds of both"
    table = {r.key: (r.outcome.successes, r.outcome.n) for r in run.results}
    raced = {name: (k, n) for _, name, k, n in (call.args for call in see.call_args_list)}
    assert raced == table, "what the race saw of each config last"
    assert sum(result.trials for result in run.results) == 6, "the budget is exact"
    assert sorted(call.args[1] for call in learn.call_args_list) == list(range(6))
    seeds = {key: [] for key in table}
    for evaluation in run.evaluations:
        seeds[evaluation.block.point.key] += evaluation.block.seeds
    assert all(sorted(found) == list(range(len(found))) for found in seeds.values())
    assert all(abs(evaluation.at - time.time()) < 600 for evaluation in run.evaluations)
    every = len(run.evaluations)
    assert len(xt.search(**given, resume=True).evaluations) == every, "nothing is left to train"


VERSIONS = st.sampled_from([A, B, "c" * 8])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([A, B, "c" * 8]),
            st.integers(0, 5),
            st.integers(1, 3),
        ),
        max_size=12,
        unique_by=lambda line: line[:3],
    )
)
def test_a_search_and_its_journal_name_the_same_version_that_counts(lines):
    states, written = defaultdict(ResultsByVersion), []
    for x, version, place, count in lines:
        states[Point({"x": x}).key].add(version, 10 * place, SeedSummary(0, count))
        written.append(by(version, failed(0, {"x": x}, 10 * place, count)))
    counted, aside = by_version(Evaluations.of(written))
    seeds = Counter()
    for line in counted:
        seeds[line.block.point.key] += line.block.count
    assert seeds == {key: state.counted.n for key, state in states.items()}
    left = sum(line.block.count for line in aside)
    assert left == sum(state.superseded for state in states.values())
