"""Sessions of a run: what they note, what they refuse, and that no count mixes versions."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hand_made import CONFIG, RIGHT, WRONG, done, failed, outcome, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import xortune as xt
from xortune import api, run_manifest, run_sessions
from xortune.cli import app
from xortune.engine.network import NetworkTrainer
from xortune.errors import InputError
from xortune.journal import Journal
from xortune.point import Point
from xortune.run import JOURNAL, create, load_run
from xortune.run_apart import kept_apart
from xortune.run_sessions import identity_of, made_id
from xortune.search import session as session_module
from xortune.space import parse_space
from xortune.task import Task

SPACE = """
name: tiny
epochs: 30
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: MSELoss
  optimizer: Adam
  lr: {low: 0.01, high: 0.1, log: true}
  hidden_dim: 3
search: {sampler: random, trials: 3}
seeds: {ladder: [4]}
"""
WIDER = SPACE.replace("high: 0.1", "high: 0.5").replace("[Tanh, ReLU]", "[Tanh, ReLU, ELU]")
POINT = {**CONFIG, "epochs": 30, "hidden_dim": 3}
A, B = "a" * 8, "b" * 8


@pytest.fixture
def search(tmp_path, monkeypatch):
    """`search(text, **more)`; instead of Ray one more evaluation is written, signed."""

    def session(space, trainer, directory, manifest, **more):
        lines = ()
        if (directory / JOURNAL).exists():
            more["resumed"](run := load_run(directory))
            lines = run.evaluations
        else:
            create(directory, space_text=space.text, manifest=manifest)
        made = made_id(identity_of(trainer.describe()))
        point = trainer.check(Point({**POINT, "lr": 0.01 + len(lines) / 1000}))
        with Journal.open(directory / JOURNAL) as journal:
            line = done(len(lines), point, solved(0, 3, 4, epochs=30))
            journal.append(dataclasses.replace(line, made=made))
        return True

    monkeypatch.setattr(session_module, "search_session", session)
    monkeypatch.chdir(tmp_path)
    write_report = api.write_report
    monkeypatch.setattr(api, "write_report", lambda *_: None)  # which takes most of the time

    def search(text=SPACE, *, report=False, **more):
        if report:
            monkeypatch.setattr(api, "write_report", write_report)
        (tmp_path / "space.yaml").write_text(text)
        return xt.search(tmp_path / "space.yaml", output=tmp_path / "run", **more)

    return search


@pytest.fixture
def other_torch(monkeypatch):
    real = NetworkTrainer.describe
    monkeypatch.setattr(NetworkTrainer, "describe", lambda self: real(self) | {"torch": "9.8.7"})


def files(run):
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}


def command(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


# What a session notes


def test_each_session_is_in_the_manifest(search):
    run = search(command=["xortune", "search", "a"])
    (first,) = run.manifest["sessions"]
    assert first["command"] == ["xortune", "search", "a"]
    assert first["versions"].keys() >= {"python", "torch", "numba", "optuna", "ray", "pandas"}
    assert first["started"] <= first["finished"]
    assert (first["number"], first["space"], first["changes"]) == (1, "space.yaml", [])
    identity = run.manifest["made"][first["made"]]
    assert made_id(identity) == first["made"]
    assert identity["task_fingerprint"] == Task.xor().fingerprint
    assert identity.keys() >= {"engine", "engine_version", "device", "torch", "numba", "trainer"}
    assert [e.made for e in run.evaluations] == [first["made"]]
    run = search(command=["again"], resume=True)
    assert [s["command"] for s in run.manifest["sessions"]] == [first["command"], ["again"]]
    assert [s["made"] for s in run.manifest["sessions"]] == [first["made"]] * 2
    assert run.manifest["command"] == first["command"]
    assert len(run.evaluations) == 2


def test_more_trials_need_no_word_and_are_noted(search):
    search()
    run = search(resume=True, trials=9)
    assert run.manifest["trials"] == 9
    assert run.asked.search.trials == 9
    assert run.manifest["sessions"][1]["changes"] == ["search.trials: 3 -> 9"]
    run = search(resume=True, trials=4)
    assert run.manifest["trials"] == run.asked.search.trials == 9, "fewer is for this session only"
    assert run.manifest["sessions"][2]["changes"] == ["search.trials: 9 -> 4"]


def test_a_changed_space_is_refused_with_all_that_changed_and_nothing_is_written(search):
    run = search()
    before = files(run)
    with pytest.raises(InputError) as caught:
        search(WIDER.replace("trials: 3", "trials: 5"), resume=True)
    assert str(caught.value).splitlines()[1:3] == [
        "  parameters.activation.choice: [Tanh, ReLU] -> [Tanh, ReLU, ELU]",
        "  parameters.lr.high: 0.1 -> 0.5",
    ]
    assert "trials" not in str(caught.value)
    result = command("search", "space.yaml", "--output", "run", "--resume", "--quiet")
    assert result.exit_code == 2
    assert "parameters.lr.high: 0.1 -> 0.5" in result.stderr
    (run.path / "lock.json").unlink(missing_ok=True)
    assert {n: b for n, b in files(run).items() if n in before} == before


def test_an_extension_keeps_the_space_that_was(search):
    run = search()
    run = search(WIDER, extend=True)
    assert run.space_text == WIDER
    assert (run.path / "space-1.yaml").read_text() == SPACE
    first, second = run.manifest["sessions"]
    assert (first["space"], second["space"]) == ("space-1.yaml", "space.yaml")
    assert second["changes"] == [
        "parameters.activation.choice: [Tanh, ReLU] -> [Tanh, ReLU, ELU]",
        "parameters.lr.high: 0.1 -> 0.5",
    ]
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


def test_an_extension_says_what_it_may_not_be(search):
    run = search()
    before = files(run)
    (run.path.parent / "space.yaml").write_text(WIDER.replace("low: 0.01", "low: 0.02"))
    result = command("search", "space.yaml", "--output", "run", "--extend", "--quiet")
    assert result.exit_code == 2
    assert "  parameters.lr.low: 0.01 -> 0.02 (narrower" in result.stderr
    assert "0.5" not in result.stderr, "the rest is allowed"
    assert {n: b for n, b in files(run).items() if n in before} == before


def test_a_larger_certificate_is_made_and_a_resumed_one_is_not_made_again(search):
    text = SPACE.replace("[4]}", "[4], certify: 8}")
    run = search(text)
    assert [attempt.seeds for attempt in run.certificate.attempts] == [8]
    run = search(text.replace("certify: 8", "certify: 20"), extend=True)
    assert [attempt.seeds for attempt in run.certificate.attempts][-1] == 20
    count = len(run.certificate.attempts)
    assert run.manifest["sessions"][-1]["changes"] == ["seeds.certify: 8 -> 20"]
    with pytest.raises(InputError, match=r"seeds.certify: 20 -> 8 \(fewer"):
        search(text, extend=True)
    assert len(load_run(run.path).certificate.attempts) == count


@pytest.mark.parametrize("sampler", ["gp", "nsgaii", "cmaes"])
def test_samplers_that_are_not_exact_say_so_once(search, sampler):
    text = SPACE.replace("random", sampler)
    if sampler == "cmaes":
        text = text.replace("{choice: [Tanh, ReLU]}", "Tanh")
        text = text.replace("hidden_dim: 3", "hidden_dim: {low: 3, high: 5}")
    said = []
    search(text, on_word=said.append)
    assert said == []
    search(text, resume=True, on_word=said.append)
    (word,) = said
    assert f"sampler {sampler} is not exact" in word
    result = command("search", "space.yaml", "--output", "run", "--resume", "--json")
    assert result.stderr.count("is not exact") == 1
    assert json.loads(result.stdout)["configs"] == 3


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_samplers_that_are_exact_say_nothing(search, sampler):
    said = []
    search(SPACE.replace("random", sampler))
    search(SPACE.replace("random", sampler), resume=True, on_word=said.append)
    assert said == []


# Versions


def test_another_version_is_refused_with_both_shown(search, other_torch, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(NetworkTrainer, "describe", NetworkTrainer.describe)
        run = search()
    before = files(run)
    assert run.manifest["made"]
    real = NetworkTrainer.describe
    monkeypatch.setattr(
        NetworkTrainer, "describe", lambda self: real(self) | {"torch": "9.9.9", "engine": "new"}
    )
    for more in ({"resume": True}, {"extend": True}):
        with pytest.raises(InputError) as caught:
            search(**more)
        lines = str(caught.value).splitlines()
        assert lines[1:3] == ["  engine: fused -> new", "  torch: 9.8.7 -> 9.9.9"]
        assert "torch==9.8.7" in lines[3]
        assert "--accept-versions" in lines[3]
    assert {n: b for n, b in files(run).items() if n in before} == before


def test_a_build_is_no_version(search, monkeypatch):
    real = NetworkTrainer.describe
    torch = real(NetworkTrainer(Task.xor()))["torch"].partition("+")[0]
    for build in ("+cpu", "", "+cu130"):
        changed = {"torch": torch + build}
        monkeypatch.setattr(NetworkTrainer, "describe", lambda self, c=changed: real(self) | c)
        run = search(resume=True)
    assert len(run.manifest["made"]) == 1


def test_accepted_versions_are_kept_apart(search, monkeypatch, request):
    said = []
    run = search()
    request.getfixturevalue("other_torch")
    run = search(resume=True, accept_versions=True, on_word=said.append)
    first, second = (session["made"] for session in run.manifest["sessions"])
    assert first != second
    assert run.manifest["made"][second]["torch"] == "9.8.7"
    assert [e.made for e in run.evaluations] == [first, second]
    (word,) = said
    assert "9.8.7" in word
    assert "only the seeds of one of them are counted" in word
    assert run.manifest["sessions"][1]["notes"] == said
    run = search(resume=True)  # nothing has changed since
    assert run.manifest["sessions"][2]["made"] == second


def test_a_proof_takes_no_seeds_of_another_version(search, request):
    text = SPACE + "stop: {proven_rate: 0.9}\n"
    run = search(text)
    before = files(run)
    request.getfixturevalue("other_torch")
    with pytest.raises(InputError, match=r"proven by seeds of one kind(.|\n)*9\.8\.7"):
        search(text, resume=True, accept_versions=True)
    assert {n: b for n, b in files(run).items() if n in before} == before


def test_packages_that_do_not_train_may_change_and_are_told(search, monkeypatch):
    from xortune import api_resume

    search()
    real = api_resume.version
    monkeypatch.setattr(
        api_resume, "version", lambda name: "0.0.1" if name == "optuna" else real(name)
    )
    said = []
    run = search(resume=True, on_word=said.append)
    (word,) = said
    assert f"optuna {real('optuna')} -> 0.0.1" in word
    assert "no longer promised" in word
    assert run.manifest["sessions"][1]["versions"]["optuna"] == "0.0.1"
    assert len(run.manifest["made"]) == 1


def test_a_run_from_before_there_were_sessions_is_continued(search, request):
    described = NetworkTrainer(Task.xor()).describe()
    old = {name: value for name, value in described.items() if name != "engine_version"}
    create("run", space_text=SPACE, manifest={**old, "started": "then", "command": ["x"]})
    with Journal.open(f"run/{JOURNAL}") as journal:
        journal.append(done(0, Point(POINT), solved(0, 3, 4, epochs=30)))
    run = search(resume=True)
    first, second = run.manifest["sessions"]
    assert (first["started"], first["command"]) == ("then", ["x"])
    assert first["made"] == second["made"]
    assert [e.made for e in run.evaluations] == [None, first["made"]]
    assert run.set_aside == ()
    request.getfixturevalue("other_torch")
    with pytest.raises(InputError, match=r"torch: .* -> 9\.8\.7"):
        search(resume=True)


def test_a_run_from_before_there_were_sessions_is_not_mixed_either(search):
    described = NetworkTrainer(Task.xor()).describe() | {"torch": "1.0"}
    create("run", space_text=SPACE, manifest=described)
    with Journal.open(f"run/{JOURNAL}") as journal:
        point = Point({**POINT, "lr": 0.011})
        journal.append(done(0, NetworkTrainer(Task.xor()).check(point), solved(4, 1, 8, epochs=30)))
    with pytest.raises(InputError, match=r"torch: 1\.0 -> "):
        search(resume=True)
    run = search(resume=True, accept_versions=True, report=True)
    first, second = run.manifest["sessions"]
    assert first["made"] != second["made"]
    (result,) = run.results
    assert (result.outcome.successes, result.outcome.n, result.trials) == (1, 8, 2)
    assert [e.block.count for e in run.set_aside] == [4]
    assert run.manifest["not_counted"] == [
        {"key": result.key, "made": second["made"], "k": 3, "n": 4}
    ]
    shown = command("report", "run").stdout
    assert "Not counted: 4 seeds that other versions made." in shown
    report = (run.path / "report.md").read_text()
    assert "made by other versions, not counted" in report
    assert "4 seeds of 1 configurations" in report


# What is counted


def by(made, evaluation):
    return dataclasses.replace(evaluation, made=made)


def test_no_count_mixes_versions(tmp_path):
    point, other = {**POINT, "lr": 0.02}, {**POINT, "lr": 0.03}
    lines = [
        done(0, point, solved(0, 4, 4, epochs=30)),  # of the first session
        by(B, done(0, point, solved(4, 2, 12, epochs=30))),
        by(A, done(1, point, solved(16, 1, 9, epochs=30))),
        by(B, failed(2, point, 30, 3)),
        done(3, other, solved(0, 2, 4, epochs=30)),
        by(B, done(4, other, solved(4, 4, 4, epochs=30))),
    ]
    sessions = [{"made": A}, {"made": B}]
    run = write_run(tmp_path / "run", lines, sessions=sessions, made={A: {}, B: {}})
    found = {result.point["lr"]: result for result in run.results}
    # Of B 15 seeds, of A 4 + 9: B's count, with its crashed ones.
    assert (found[0.02].outcome.successes, found[0.02].outcome.n) == (2, 15)
    assert found[0.02].outcome.seeds.tolist() == [*range(4, 16), *range(30, 33)]
    # As many of each: those of the lowest seeds.
    assert (found[0.03].outcome.successes, found[0.03].outcome.n) == (2, 4)
    assert [found[0.02].trials, found[0.03].trials] == [3, 2], "proposals are proposals"
    assert sum(e.block.count for e in run.set_aside) == 4 + 9 + 4
    assert run.table["n"].sum() == len(run.seeds) == 19


@given(
    st.lists(
        st.tuples(st.sampled_from([None, A, B, "c" * 8]), st.integers(0, 2), st.integers(1, 5)),
        max_size=12,
    )
)
@settings(max_examples=40)
def test_blocks_of_a_config_are_counted_if_one_thing_made_them(given):
    lines, first = [], 0
    for made, config, count in given:
        point = {**POINT, "lr": 0.1 + config}
        lines.append(
            by(made, done(len(lines), point, outcome(first, [RIGHT, *[WRONG] * count][1:])))
        )
        first += count
    blocks, aside = kept_apart(lines, A)
    assert sorted(e.proposal for found in [*blocks.values(), aside] for e in found) == list(
        range(len(lines))
    )
    for key, found in blocks.items():
        (made,) = {e.made or A for e in found}
        most = sum(e.block.count for e in found)
        rest = [e for e in aside if e.block.point.key == key]
        assert all((e.made or A) != made for e in rest)
        for another in {e.made or A for e in rest}:
            assert sum(e.block.count for e in rest if (e.made or A) == another) <= most


# Certificates


@pytest.fixture
def certified(tmp_path):
    """A hand-made run, and `certify(**more)` for it."""
    points = [{**POINT, "lr": lr} for lr in (0.02, 0.05)]
    points = [NetworkTrainer(Task.xor()).check(Point(p)) for p in points]
    lines = [done(i, p, solved(0, 8, 8, epochs=30)) for i, p in enumerate(points)]
    trainer = NetworkTrainer(Task.xor())
    manifest = {**trainer.describe(), "trials": 2}
    run = write_run(tmp_path / "run", lines, space_text=SPACE, **manifest)

    def certify(**more):
        xt.certify(run.path, **({"top": 2, "seeds": 32} | more))
        return load_run(run.path)

    certify.path = run.path
    return certify


def interrupted(certify, **more):
    """Stopped after its first block."""
    count = []

    def stop(done, _):
        count.append(done)
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certify(on_progress=stop, **more)


def test_a_certificate_is_a_session_of_its_own(certified):
    run = certified(command=["xortune", "certify"])
    assert [session.get("what") for session in run.manifest["sessions"]] == [None, "certify"]
    assert run.manifest["sessions"][1]["command"] == ["xortune", "certify"]
    assert {check.made for check in run.checks} == {run.manifest["sessions"][1]["made"]}


def test_an_attempt_is_never_finished_by_another_version(certified, request):
    interrupted(certified)
    request.getfixturevalue("other_torch")
    lines = (certified.path / JOURNAL).read_bytes()
    with pytest.raises(InputError, match=r"attempt 1 was begun by another.*--accept-versions"):
        certified()
    assert (certified.path / JOURNAL).read_bytes() == lines
    said = []
    run = certified(accept_versions=True, on_word=said.append)
    assert [a.complete for a in run.certificate.attempts] == [False, True]
    assert {f.n for f in run.certificate.finalists} == {32}
    for attempt in (1, 2):
        made = {check.made for check in run.checks if check.purpose.attempt == attempt}
        assert len(made) == 1
    assert "9.8.7" in said[0]


def test_an_attempt_is_continued_by_what_began_it(certified):
    interrupted(certified)
    run = certified()
    assert [a.complete for a in run.certificate.attempts] == [True]


def test_an_attempt_is_never_extended_by_another_version(certified, request):
    certified(extendable=True)
    request.getfixturevalue("other_torch")
    with pytest.raises(InputError, match="attempt 1 was made by another engine"):
        certified(extend=True, top=None)
    run = certified()  # a new one may be begun
    assert [a.number for a in run.certificate.attempts] == [1, 2]


def test_a_search_is_compared_with_the_last_search(search, other_torch, monkeypatch):
    run = search()
    with monkeypatch.context() as patch:
        real = NetworkTrainer.describe
        patch.setattr(NetworkTrainer, "describe", lambda self: real(self) | {"device": "other"})
        xt.certify(run.path, top=1, seeds=8)
    run = search(resume=True)
    assert [session.get("what") for session in run.manifest["sessions"]] == [None, "certify", None]


# Damaged


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"sessions": {}}, "sessions"),
        ({"sessions": []}, "sessions"),
        ({"sessions": [1]}, "sessions"),
        ({"sessions": [{"made": 3}]}, "sessions"),
        ({"sessions": [{"made": A, "versions": []}]}, "sessions"),
        ({"sessions": [{"made": A}], "made": None}, "made"),
        ({"sessions": [{"made": A}], "made": {A: 1}}, "made"),
        ({"sessions": [{"made": A}], "made": {B: {}}}, "made"),
    ],
)
def test_a_damaged_manifest_is_told(search, entries, word):
    run = search()
    manifest = json.loads((run.path / "manifest.json").read_text()) | entries
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"manifest.json: {word}.* is damaged"):
        search(resume=True)


@pytest.mark.parametrize("name", ["../space.yaml", "/etc/passwd", "space-1.yaml/../x", 7, None])
def test_a_manifest_names_no_space_outside_its_run(tmp_path, name):
    manifest = {"sessions": [{"made": A, "space": name}]}
    assert run_sessions.earlier_spaces(tmp_path, manifest) == ()


@pytest.mark.parametrize("made", [3, "", "xyz", "A" * 8, "a" * 9, None, ["a" * 8]])
def test_a_line_with_a_damaged_digest_is_told(tmp_path, made):
    line = by(A, done(0, POINT, solved(0, 1, 2, epochs=30)))
    run = write_run(tmp_path / "run", [line])
    path = run.path / JOURNAL
    fields = json.loads(path.read_text())
    assert list(fields)[-1] == "made"
    path.write_text(json.dumps(fields | {"made": made}) + "\n")
    with pytest.raises(InputError, match=r"evaluations.jsonl:1: made: is no digest"):
        load_run(run.path)
