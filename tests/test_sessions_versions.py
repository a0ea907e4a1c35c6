"""No count mixes versions: what is refused, kept apart and told."""

import pytest
from hand_made import RIGHT, WRONG, done, failed, outcome, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions import POINT, SPACE, A, B, by, command, files, other_torch, search

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.runs.journal import Journal
from xortune.runs.lines import Evaluations
from xortune.runs.manifest import identity_of, made_id
from xortune.runs.results import by_version
from xortune.runs.run import JOURNAL, create
from xortune.trainers.network import NetworkTrainer

__all__ = ["other_torch", "search"]  # the fixtures


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
    text = SPACE + "stop: {proven_rate: 0.1}\n"
    run = search(text)
    before = files(run)
    request.getfixturevalue("other_torch")
    with pytest.raises(InputError, match=r"proven by seeds of one kind(.|\n)*9\.8\.7"):
        search(text, resume=True, accept_versions=True)
    assert {n: b for n, b in files(run).items() if n in before} == before


def test_packages_that_do_not_train_may_change_and_are_told(search, monkeypatch):
    from xortune.runs import sessions as api_resume

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


def test_what_is_not_counted_is_told(search):
    identity = identity_of(NetworkTrainer(Task.xor()).describe() | {"torch": "1.0"})
    made = made_id(identity)
    sessions = [{"number": 1, "made": made, "space": "space.yaml"}]
    manifest = {"made": {made: identity}, "sessions": sessions, "trainer": "network"}
    create("run", space_text=SPACE, manifest=manifest)
    with Journal.open(f"run/{JOURNAL}") as journal:
        point = NetworkTrainer(Task.xor()).check(Point({**POINT, "lr": 0.011}))
        journal.append(by(made, done(0, point, solved(4, 1, 8, epochs=30))))
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


def test_no_count_mixes_versions(tmp_path):
    point, other = {**POINT, "lr": 0.02}, {**POINT, "lr": 0.03}
    lines = [
        by(A, done(0, point, solved(0, 4, 4, epochs=30))),
        by(B, done(0, point, solved(4, 2, 12, epochs=30))),
        by(A, done(1, point, solved(16, 1, 9, epochs=30))),
        by(B, failed(2, point, 30, 3)),
        by(A, done(3, other, solved(0, 2, 4, epochs=30))),
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
@settings(max_examples=30)
def test_blocks_of_a_config_are_counted_if_one_thing_made_them(given):
    lines, first = [], 0
    for made, config, count in given:
        point = {**POINT, "lr": 0.1 + config}
        lines.append(
            by(made, done(len(lines), point, outcome(first, [RIGHT, *[WRONG] * count][1:])))
        )
        first += count
    counted, aside = by_version(Evaluations.of(lines))
    assert sorted(e.proposal for e in (*counted, *aside)) == list(range(len(lines)))
    for key in counted.keys:
        found = list(counted.of_keys([key]))
        rest = list(aside.of_keys([key]))
        (made,) = {e.made for e in found}
        most = sum(e.block.count for e in found)
        assert all(e.made != made for e in rest)
        for another in {e.made for e in rest}:
            assert sum(e.block.count for e in rest if e.made == another) <= most
