from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hand_made import CONFIG, done, failed, solved, write_run
from typer.testing import CliRunner

import xortune as xt
from xortune.certify import certify_run
from xortune.cli import app
from xortune.errors import TrainingError
from xortune.journal import Journal, read
from xortune.point import Point
from xortune.run import JOURNAL, load_run
from xortune.run_certificate import certificate_of
from xortune.seed_ranges import CERTIFY, NEIGHBOURS
from xortune.stats_exact import clopper_pearson

SPACE = """
name: tiny
epochs: 30
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: MSELoss
  optimizer: Adam
  lr: {low: 0.01, high: 0.1, log: true}
  hidden_dim: {low: 2, high: 9}
search: {sampler: random, trials: 5}
seeds: {ladder: [8]}
"""
BASE = {**CONFIG, "epochs": 30, "hidden_dim": 3}
LRS = (0.02, 0.03, 0.04, 0.05, 0.06)
POINTS = [Point({**BASE, "lr": lr}) for lr in LRS]
KEYS = [point.key for point in POINTS]
SEARCHED = (6, 8, 7, 0, 5)  # of 8


@dataclass
class Counting:
    """Solves every seed but those of `fails`, by key; notes the blocks; may break or be stopped."""

    fails: dict[str, int] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    stop_after: int | None = None
    seconds: float = 1 / 50  # blocks of 50 seeds
    blocks: list = field(default_factory=list)

    def check(self, point):
        return point

    def cost(self, block):
        return block.count * self.seconds

    def describe(self):
        return {}

    def train(self, blocks):
        [block] = blocks
        if self.stop_after is not None and len(self.blocks) >= self.stop_after:
            raise KeyboardInterrupt
        self.blocks.append(block)
        if len(self.blocks) in self.broken:
            return [TrainingError("it broke")]
        failures = min(self.fails.get(block.point.key, 0), block.count)
        return [solved(block.first, block.count - failures, block.count, epochs=30)]


@pytest.fixture
def run(tmp_path):
    lines = [
        done(i, point, solved(0, k, 8, epochs=30))
        for i, (point, k) in enumerate(zip(POINTS, SEARCHED, strict=True))
    ]
    return write_run(
        tmp_path / "run", lines, space_text=SPACE, trainer="network", task="xor", name="tiny"
    )


def certify(run, trainer=None, *, top=3, seeds=100, **more):
    return certify_run(run.path, trainer or Counting(), top=top, seeds=seeds, **more)


def spans(path, *, searched):
    """From the journal alone: {key: [(first, stop)]} of the search's lines, or of the others."""
    found: dict[str, list] = {}
    for line in (path / JOURNAL).read_text().splitlines():
        fields = json.loads(line)
        if ("purpose" not in fields) == searched:
            span = (fields["first"], fields["first"] + fields["count"])
            found.setdefault(fields["key"], []).append(span)
    return found


def disjoint(path):
    old = [span for found in spans(path, searched=True).values() for span in found]
    new = [span for found in spans(path, searched=False).values() for span in found]
    assert old
    assert new
    return all(a[1] <= b[0] or b[1] <= a[0] for a in old for b in new)


def test_the_finalists_of_the_search_are_trained_on_fresh_seeds(run):
    trainer = Counting(fails={KEYS[1]: 1})
    found = certify(run, trainer)
    by_rank = sorted(found.finalists, key=lambda f: f.rank)
    assert [f.key for f in by_rank] == [KEYS[1], KEYS[2], KEYS[0]]  # 8, 7 and 6 of 8
    assert [(f.search_k, f.search_n) for f in by_rank] == [(8, 8), (7, 8), (6, 8)]
    assert [(f.k, f.n) for f in by_rank] == [(98, 100), (100, 100), (100, 100)]
    assert {f.first for f in by_rank} == {CERTIFY.start}
    # Half of 5 % for the first attempt, a third of that for each of three finalists.
    for f in by_rank:
        low, _ = clopper_pearson(f.k, f.n, confidence=1 - 0.025 / 3, side="lower")
        assert f.lower_bound == pytest.approx(float(low))
    assert found.best.key == KEYS[2]
    assert disjoint(run.path)
    assert spans(run.path, searched=False) == {
        key: [(CERTIFY.start, CERTIFY.start + 50), (CERTIFY.start + 50, CERTIFY.start + 100)]
        for key in (KEYS[1], KEYS[2], KEYS[0])
    }
    # In turn, so that the record of an attempt begins with all of its finalists.
    assert [b.point.key for b in trainer.blocks[:3]] == [f.key for f in by_rank]


def test_the_journal_alone_gives_the_certificate_and_the_search_is_untouched(run):
    found = certify(run)
    again = load_run(run.path)
    assert certificate_of(again.checks) == found == again.certificate
    assert again.table.equals(run.table)
    assert again.seeds.equals(run.seeds)
    assert again.best == run.best
    lines, _ = read(run.path / JOURNAL)
    assert {line.proposal for line in lines} == {0, 1, 2, 3, 4}
    (run.path / "certificate.json").unlink()
    xt.write_report(load_run(run.path))
    assert load_run(run.path).certificate == found


def test_configs_that_solved_nothing_are_no_finalists(run):
    found = certify(run, top=5)
    assert len(found.finalists) == 4
    assert KEYS[3] not in {f.key for f in found.finalists}
    assert found.best.confidence == pytest.approx(1 - 0.025 / 4)


@pytest.mark.parametrize("lines", [[], [done(0, POINTS[0], solved(0, 0, 8, epochs=30))]])
def test_nothing_to_certify_is_bad_input(tmp_path, lines):
    run = write_run(tmp_path / "none", lines, space_text=SPACE, trainer="network")
    with pytest.raises(xt.InputError, match="no configuration"):
        certify(run)
    assert not (run.path / "certificate.json").exists()


def test_another_attempt_takes_new_seeds_and_has_less_to_spend(run):
    first = certify(run)
    second = certify(run)
    assert [a.number for a in second.attempts] == [1, 2]
    assert second.attempts[0] == first.attempts[0]
    assert {f.first for f in second.finalists} == {CERTIFY.start + 100}
    assert second.best.lower_bound < first.best.lower_bound
    assert second.best.confidence == pytest.approx(1 - 0.0125 / 3)
    third = certify(run, top=1, seeds=200)
    [only] = third.finalists
    assert (only.first, only.n) == (CERTIFY.start + 200, 200)
    assert only.confidence == pytest.approx(1 - 0.05 / 8)
    assert disjoint(run.path)
    values = json.loads((run.path / "certificate.json").read_text())
    assert [a["attempt"] for a in values["attempts"]] == [1, 2, 3]
    assert [e["attempt"] for e in values["finalists"][0]["earlier_attempts"]] == [1, 2]


def test_trying_until_it_passes_does_not_pass(run):
    # Hundred fair tries at a rate of 0.9 that is not there; each would pass alone at 5 %.
    rng = np.random.default_rng(0)
    from xortune.run_certificate import lower_bound, risk_of

    alone = together = 0
    for _ in range(400):
        k = rng.binomial(100, 0.9, size=20)
        alone += any(lower_bound(int(x), 100, alpha=0.05, bound="clopper-pearson") > 0.9 for x in k)
        together += any(
            lower_bound(int(x), 100, alpha=risk_of(i, 0.95, 1), bound="clopper-pearson") > 0.9
            for i, x in enumerate(k, 1)
        )
    assert alone > 100
    assert together <= 400 * 0.05


def test_all_bounds_hold_together_after_a_search_over_equal_configs():
    # 200 configs of one rate; the five that look best get fresh seeds.
    from xortune.run_certificate import lower_bound, risk_of

    rng = np.random.default_rng(1)
    wrong = naive = 0
    for _ in range(1000):
        searched = rng.binomial(100, 0.9, size=200)
        naive += float(clopper_pearson(searched.max(), 100, side="lower")[0]) > 0.9
        fresh = rng.binomial(300, 0.9, size=5)
        alpha = risk_of(1, 0.95, 5)
        wrong += any(
            lower_bound(int(k), 300, alpha=alpha, bound="clopper-pearson") > 0.9 for k in fresh
        )
    assert wrong <= 50  # 5 % is promised, half of it is spent here
    assert naive > 900  # the winner's own count is no evidence


def test_an_interrupted_attempt_goes_on_with_the_same_call(run):
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=4))
    unfinished = load_run(run.path).certificate
    assert unfinished.finalists == ()
    assert [f.n for f in unfinished.attempts[0].finalists] == [100, 50, 50]
    trainer = Counting()
    found = certify(run, trainer)
    assert len(trainer.blocks) == 2
    assert len(found.attempts) == 1
    assert {(f.first, f.n) for f in found.finalists} == {(CERTIFY.start, 100)}
    assert found == certificate_of(load_run(run.path).checks)


@pytest.mark.parametrize(
    "other", [{"top": 2}, {"seeds": 120}, {"confidence": 0.9}, {"extendable": True}]
)
def test_an_interrupted_attempt_that_is_not_asked_for_again_is_kept_and_has_spent(run, other):
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=2))
    found = certify(run, **({"top": 3, "seeds": 100} | other))
    assert [a.complete for a in found.attempts] == [False, True]
    assert found.latest.number == 2
    # Two blocks of 50 were begun; whoever comes later starts behind them.
    assert min(f.first for f in found.finalists) == CERTIFY.start + 50
    assert disjoint(run.path)


def test_a_search_that_went_on_has_other_finalists_and_another_attempt(run):
    certify(run)
    better = Point({**BASE, "lr": 0.07})
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(done(5, better, solved(0, 80, 80, epochs=30)))
    found = certify(run)
    assert found.latest.number == 2
    assert better.key in {f.key for f in found.finalists}


def test_a_block_that_breaks_once_is_tried_again_and_one_that_breaks_twice_failed(run):
    found = certify(run, Counting(broken={2}), top=1)
    assert (found.best.k, found.best.n) == (100, 100)
    lines = load_run(run.path).checks
    assert [(c.final, c.error) for c in lines] == [(True, None), (False, "it broke"), (True, None)]
    found = certify(run, Counting(broken={1, 2}), top=1)
    assert (found.best.k, found.best.n) == (50, 100)


def test_seeds_are_added_to_an_extendable_attempt_only(run):
    first = certify(run, extendable=True)
    assert first.attempts[0].bound == "anytime"
    found = certify(run, seeds=150, extend=True)
    assert len(found.attempts) == 1
    assert {(f.first, f.n) for f in found.finalists} == {(CERTIFY.start, 250)}
    assert found.best.lower_bound > first.best.lower_bound
    assert found.best.confidence == first.best.confidence
    certify(run)  # a planned one
    with pytest.raises(xt.InputError, match=r"extend: attempt 2 was planned for 100 seeds"):
        certify(run, extend=True)


def test_what_cannot_be_extended(run):
    with pytest.raises(xt.InputError, match="no attempt to extend"):
        certify(run, extend=True)
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=4), extendable=True)
    with pytest.raises(xt.InputError, match="finish it first"):
        certify(run, extend=True)
    assert certify(run, extendable=True).latest.number == 1


def test_an_interrupted_extension_goes_on(run):
    certify(run, extendable=True)
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=2), extend=True)
    part = load_run(run.path).certificate
    assert not part.attempts[0].complete
    found = certify(run, extend=True)
    assert {f.n for f in found.finalists} == {200}


def test_seeds_that_the_journal_has_are_never_taken_again(run):
    # By hand, in the certificates' own range: a search's line, far up.
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(done(0, POINTS[0], solved(CERTIFY.start + 70, 8, 8, epochs=30)))
    found = certify(run, extendable=True, top=1)
    assert found.best.first == CERTIFY.start + 78
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(done(1, POINTS[1], solved(CERTIFY.start + 200, 8, 8, epochs=30)))
    with pytest.raises(xt.InputError, match="are not fresh") as caught:
        certify(run, extend=True, top=1)
    assert JOURNAL in str(caught.value)
    assert KEYS[1] in str(caught.value)
    assert certify(run, top=1).best.first == CERTIFY.start + 208


def test_when_no_fresh_seeds_are_left(run):
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(done(0, POINTS[0], solved(CERTIFY.stop - 60, 8, 8, epochs=30)))
    with pytest.raises(xt.InputError, match="100 fresh seeds are asked for, and 52 are left"):
        certify(run)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"top": 0}, "top"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": 2**30}, "seeds"),
        ({"confidence": 1.0}, "confidence"),
        ({"extend": True, "neighbourhood": 0.2}, "neighbourhood"),
        ({"neighbourhood": 0.0}, "neighbourhood"),
    ],
)
def test_bad_options_are_refused_before_anything_is_trained(run, options, field):
    trainer = Counting()
    with pytest.raises(xt.InputError) as caught:
        certify(run, trainer, **options)
    assert caught.value.field == field
    assert trainer.blocks == []
    assert load_run(run.path).checks == ()


def test_two_at_once_are_refused(run):
    with Journal.open(run.path / JOURNAL), pytest.raises(xt.InputError, match="another search"):
        certify(run)


# Neighbours.


def test_neighbours_have_seeds_of_their_own(run):
    cliff = Point({**BASE, "lr": 0.03, "hidden_dim": 2})
    found = certify(run, Counting(fails={cliff.key: 10}), top=2, neighbourhood=0.2)
    best, second = sorted(found.finalists, key=lambda f: f.rank)
    assert {n.parameter for n in best.neighbours} == {"lr", "hidden_dim"}
    assert [n.value for n in best.neighbours if n.parameter == "hidden_dim"] == [2, 4]
    assert {(n.first, n.n) for n in best.neighbours} == {(NEIGHBOURS.start, 100)}
    assert {(n.first, n.n) for n in second.neighbours} == {(NEIGHBOURS.start + 100, 100)}
    worst = best.worst_neighbour
    assert (worst.key, worst.parameter, worst.value, worst.k) == (cliff.key, "hidden_dim", 2, 80)
    assert (best.k, best.n) == (100, 100)
    assert load_run(run.path).certificate == found
    values = json.loads((run.path / "certificate.json").read_text())
    shown = next(f for f in values["finalists"] if f["key"] == best.key)
    assert shown["worst_neighbour_rate"] == 0.8
    assert len(shown["neighbourhood"]) == 4
    assert disjoint(run.path)


def test_finalists_that_are_neighbours_of_each_other_do_not_clash(tmp_path):
    units = [Point({**BASE, "hidden_dim": h}) for h in (3, 4, 5)]
    lines = [done(i, p, solved(0, 8, 8, epochs=30)) for i, p in enumerate(units)]
    run = write_run(tmp_path / "near", lines, space_text=SPACE, trainer="network")
    found = certify(run, neighbourhood=0.2)
    assert all(len(f.neighbours) == 4 for f in found.finalists)
    assert load_run(run.path).certificate == found  # the journal can be read


def test_a_neighbourhood_is_measured_later_without_another_attempt(run):
    first = certify(run)
    trainer = Counting(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        certify(run, trainer, neighbourhood=0.2)
    found = certify(run, neighbourhood=0.2)
    assert len(found.attempts) == 1
    assert {n.n for f in found.finalists for n in f.neighbours} == {100}
    assert [f.lower_bound for f in found.finalists] == [f.lower_bound for f in first.finalists]
    assert len(certify(run, neighbourhood=0.2).attempts) == 2


# The verb, the command, the report.


def xortune(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def test_the_verb_trains_the_network_and_its_counts_can_be_repeated(run):
    told = []
    found = xt.certify(
        run, top=2, seeds=40, on_progress=lambda done, total: told.append((done, total))
    )
    assert isinstance(found, xt.Certificate)
    assert xt.load_run(run.path).certificate == found == run.certificate
    assert told[-1] == (80, 80)
    for finalist in found.finalists:
        seeds = range(finalist.first, finalist.first + finalist.n)
        same = xt.evaluate(xt.Config.from_point(finalist.point), seeds)
        assert (same.successes, same.n) == (finalist.k, finalist.n)
    assert (
        "## The winners on seeds that the search never saw" in (run.path / "report.md").read_text()
    )


def test_the_verb_refuses_what_it_cannot_train(tmp_path, run):
    other = write_run(tmp_path / "other", [], space_text=SPACE, trainer="function")
    with pytest.raises(xt.InputError, match="trainer="):
        xt.certify(other)
    changed = write_run(
        tmp_path / "changed",
        [done(0, POINTS[0], solved(0, 8, 8, epochs=30))],
        space_text=SPACE,
        trainer="network",
        task_fingerprint="another",
    )
    with pytest.raises(xt.InputError, match="no longer what the run learned"):
        xt.certify(changed.path)
    assert xt.certify(run, trainer=Counting(), top=1, seeds=10).best.k == 10


def test_the_command_shows_both_rates_and_the_gap(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("xortune.api_certify._trainer_of", lambda _: Counting({KEYS[1]: 5}))
    result = xortune("certify", run.path, "--top", 2, "--seeds", 100)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split("  ")[0] == "search"
    assert lines[1].split()[:7] == ["7/8", "87.5", "%", "100/100", "100.0", "%", "-12.5"]
    assert lines[2].split()[:7] == ["8/8", "100.0", "%", "90/100", "90.0", "%", "+10.0"]
    assert "95.71 %" in lines[1]
    text = " ".join(result.stdout.split())
    assert "hold together with confidence 0.95 (Clopper-Pearson for the 100 seeds planned" in text
    assert "split over 2 finalists" in text
    assert lines[-1] == str(run.path / "certificate.json")
    result = xortune("certify", run.path, "--top", 1, "--seeds", 50, "--json")
    values = json.loads(result.stdout)
    assert [a["attempt"] for a in values["attempts"]] == [1, 2]
    assert values == json.loads((run.path / "certificate.json").read_text())
    result = xortune("certify", run.path, "--top", 1, "--seeds", 50, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_the_command_and_the_gate_go_together(run, monkeypatch):
    monkeypatch.setattr("xortune.api_certify._trainer_of", lambda _: Counting())
    assert xortune("certify", run.path, "--seeds", 100, "--neighbourhood", 0.2).exit_code == 0
    bound = load_run(run.path).certificate.best.lower_bound
    assert xortune("gate", run.path, "--min-rate", round(bound - 1e-4, 4)).exit_code == 0
    assert xortune("gate", run.path, "--min-rate", round(bound + 1e-4, 4)).exit_code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seeds", "0"), "--seeds: 0 is out of range"),
        (("--top", "0"), "--top: 0"),
        (("--confidence", "2"), "--confidence: 2"),
        (("--extend",), "--extend: the run has no attempt"),
        (("--extend", "--neighbourhood", "0.2"), "--neighbourhood: an attempt"),
        (("--neighbourhood", "-1"), "--neighbourhood: -1"),
        (("--extend", "--top", "5"), "--top: 5 for an attempt that is extended"),
        (("--extend", "--confidence", "0.9"), "--confidence: 0.9 for"),
        (("--extend", "--extendable"), "--extendable: True for"),
    ],
)
def test_the_command_refuses(run, words, message):
    result = xortune("certify", run.path, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr.splitlines()[-1]


def test_an_interrupted_command_exits_3_and_one_without_an_outcome_4(run, monkeypatch):
    trainer = Counting(stop_after=1)
    monkeypatch.setattr("xortune.api_certify._trainer_of", lambda _: trainer)
    result = xortune("certify", run.path, "--top", 1, "--seeds", 100)
    assert result.exit_code == 3
    assert "the same command continues" in result.stderr
    trainer = Counting(broken={1, 2})
    result = xortune("certify", run.path, "--top", 1, "--seeds", 100)
    assert result.exit_code == 4
    assert "50/100" in result.stdout


def test_the_report_shows_search_and_fresh_side_by_side(run):
    before = run.path / "report.md"
    xt.write_report(run)
    assert "never saw\n" not in before.read_text()
    certify(run, Counting({KEYS[1]: 1}), top=2, neighbourhood=0.2)
    certify(run, Counting({KEYS[1]: 1}), top=1)
    xt.write_report(load_run(run.path))
    text = before.read_text()
    section = text.partition("## The winners on seeds")[2].partition("\n## ")[0]
    assert "| configuration | search | fresh seeds | gap | rate at least |" in section
    assert "| 8/8 100.0 % | 98/100 98.0 % | +2.0 |" in section
    assert "Attempt 1: " in section
    assert "its share of the risk is 1/4" in section
    result = xortune("report", run.path)
    assert result.exit_code == 0
    assert "98/100 98.0 %" in result.stdout


def test_an_unfinished_certificate_is_told_as_that(run):
    with pytest.raises(KeyboardInterrupt):
        certify(run, Counting(stop_after=1))
    xt.write_report(load_run(run.path))
    text = (run.path / "report.md").read_text()
    assert f"Attempt 1: {KEYS[1]} 50/50, unfinished." in text
    assert xortune("gate", run.path, "--min-rate", 0.5).exit_code == 2


def test_a_line_that_failed_shows_in_the_counts(tmp_path, run):
    lost = failed(0, POINTS[1], 8, 4)
    with Journal.open(run.path / JOURNAL) as journal:
        journal.append(lost)
    found = certify(run, top=1)
    assert found.best.search_n == 8  # 8 of 12 no longer leads


# At the end of a search.


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """`xt.search` without Ray: the journal gets three configs of which one solves nothing."""
    from xortune.run import create, holds_run
    from xortune.search import session as session_module

    def session(space, trainer, directory, manifest, **more):
        if not holds_run(directory):
            create(directory, space_text=space.text, manifest=manifest)
            with Journal.open(directory / JOURNAL) as journal:
                for i, k in enumerate((8, 7, 0)):
                    journal.append(done(i, POINTS[i], solved(0, k, 8, epochs=30)))
        return session.complete

    session.complete = True
    monkeypatch.setattr(session_module, "search_session", session)

    def search(certify=", certify: 20", **more):
        path = tmp_path / "space.yaml"
        path.write_text(SPACE.replace("[8]}", f"[8]{certify}}}"))
        return xt.search(path, output=tmp_path / "searched", **more)

    search.session = session
    return search


def test_a_search_certifies_if_its_space_says_so(searched):
    run = searched()
    found = run.certificate
    assert sorted(f.key for f in found.finalists) == sorted(KEYS[:2])
    assert {(f.n, f.first) for f in found.finalists} == {(20, CERTIFY.start)}
    same = xt.evaluate(
        xt.Config.from_point(found.best.point), range(CERTIFY.start, CERTIFY.start + 20)
    )
    assert same.successes == found.best.k
    assert "The winners on seeds" in (run.path / "report.md").read_text()
    assert run.manifest["finished"]
    assert "hold together with confidence 0.95" in xortune("report", run.path).stdout


def test_resuming_a_finished_search_spends_no_other_attempt(searched):
    first = searched().certificate
    run = searched(resume=True)
    assert run.certificate == first
    assert len(load_run(run.path).checks) == 2


def test_a_search_without_the_wish_certifies_nothing(searched):
    run = searched(certify="")
    assert run.certificate is None
    assert run.checks == ()


def test_an_interrupted_search_is_not_certified_and_an_interrupted_certificate_goes_on(
    searched, monkeypatch
):
    searched.session.complete = False
    with pytest.raises(KeyboardInterrupt):
        searched()
    searched.session.complete = True
    from xortune.engine import network

    real, calls = network.evaluate_config, []

    def stopped(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(network, "evaluate_config", stopped)
    with pytest.raises(KeyboardInterrupt):
        searched(resume=True)
    run = searched(resume=True)
    assert run.certificate.latest.number == 1
    assert len(calls) == 3
