"""Sessions of a run: what they note, what they extend, and what they refuse."""

import json

import pytest
from sessions import SPACE, WIDER, A, B, command, files, search

from xortune.core.errors import InputError
from xortune.core.task import Task
from xortune.runs import manifest as run_manifest
from xortune.runs import sessions as run_sessions
from xortune.runs.manifest import made_id
from xortune.runs.run import load_run
from xortune.spaces.space import parse_space

__all__ = ["search"]  # the fixture

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
