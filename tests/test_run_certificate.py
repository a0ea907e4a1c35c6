import json
import math
from dataclasses import replace

import pytest
from commands import xortune
from hand_made import CONFIG, done, failed, solved, write_run

import xortune as xt
from xortune.core.point import Point
from xortune.runs.certificate import (
    certificate_json,
    certificate_of,
    lower_bound,
    risk_of,
)
from xortune.runs.evaluation import Purpose, decode, encode
from xortune.stats.anytime import anytime_lower
from xortune.stats.proportions import clopper_pearson_lower

A, B = {**CONFIG, "lr": 0.02}, {**CONFIG, "lr": 0.05}
KEY_A, KEY_B = Point(A).key, Point(B).key
CERTIFY, NEAR = 2**30 + 2**29, 2**31


def purpose(point=A, **changes):
    given = {
        "kind": "certify",
        "attempt": 1,
        "finalist": Point(point).key,
        "rank": 1 if point is A else 2,
        "finalists": 2,
        "seeds": 100,
        "confidence": 0.95,
        "extendable": False,
        "search_k": 8,
        "search_n": 8,
        "moved": None,
        "by": "own",
        "neighbours": 0,
        "first": None,
    }
    return Purpose(**(given | changes))


def check(point, result, **changes):
    return replace(done(0, point, result), purpose=purpose(point, **changes))


FIRST = [
    check(A, solved(CERTIFY, 60, 60)),
    check(B, solved(CERTIFY, 60, 60)),
    check(A, solved(CERTIFY + 60, 38, 40)),
    check(B, solved(CERTIFY + 60, 40, 40)),
]


# A line of the journal.


def test_a_purpose_survives_the_journal_and_a_search_line_has_none():
    line = encode(FIRST[0])
    back = decode(line)
    assert back.purpose == FIRST[0].purpose
    assert back.block == FIRST[0].block
    assert "purpose" not in json.loads(encode(done(0, A, solved(0, 1, 2))))
    moved = replace(FIRST[0], purpose=purpose(kind="neighbourhood", moved="lr"))
    assert decode(encode(moved)).purpose.moved == "lr"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("kind", "search"), ("attempt", 0), ("attempt", True), ("rank", "1"), ("finalists", 0)),
        *(("seeds", 1.5), ("confidence", 1.0), ("confidence", 95), ("extendable", 1)),
        *(("search_k", -1), ("search_n", 0), ("finalist", 3), ("moved", 3), ("by", "worst")),
        *(("by", None), ("neighbours", -1), ("first", -1)),
        ("attempt", 10**9),  # 2**attempt would be computed
        *((name, 10**400) for name in ("rank", "finalists", "seeds", "search_k", "search_n")),
        ("neighbours", 10**400),
    ],
)
def test_a_damaged_purpose_is_refused(name, value):
    fields = json.loads(encode(FIRST[0]))
    fields["purpose"][name] = value
    with pytest.raises(xt.InputError, match=rf"purpose\.{name}"):
        decode(json.dumps(fields))
    del fields["purpose"][name]
    with pytest.raises(xt.InputError, match=rf"purpose\.{name}"):
        decode(json.dumps(fields))


# What follows from the lines.


def test_counts_and_bounds_of_a_complete_attempt():
    found = certificate_of(FIRST)
    assert found.confidence == 0.95
    [attempt] = found.attempts
    assert (attempt.number, attempt.seeds, attempt.bound) == (1, 100, "clopper-pearson")
    assert attempt.confidence == pytest.approx(0.975)
    assert attempt.complete
    best, other = attempt.finalists  # the highest bound first, whatever the search thought
    assert found.best is best
    assert (best.key, best.rank, best.k, best.n, best.first) == (KEY_B, 2, 100, 100, CERTIFY)
    assert (other.key, other.rank, other.k, other.n, other.first) == (KEY_A, 1, 98, 100, CERTIFY)
    # 0.05 for all, half of it for the first attempt, half of that for each of two finalists.
    assert best.lower_bound == pytest.approx(0.0125 ** (1 / 100))
    assert best.confidence == pytest.approx(1 - 0.0125)
    expected = clopper_pearson_lower(98, 100, confidence=other.confidence)
    assert other.lower_bound == pytest.approx(float(expected))
    assert (other.search_rate, other.rate, other.gap) == (1.0, 0.98, pytest.approx(0.02))
    assert other.point == Point(A)
    assert other.worst_neighbour is None


def test_the_risks_of_all_attempts_and_finalists_add_up_to_less_than_alpha():
    total = math.fsum(5 * risk_of(attempt, 0.95, 5) for attempt in range(1, 40))
    assert 0.0499 < total <= 0.05 + 1e-12
    assert risk_of(1, 0.95, 5) == pytest.approx(0.005)
    assert risk_of(3, 0.95, 1) == pytest.approx(0.05 / 8)


def test_an_attempt_that_lacks_seeds_has_no_bound():
    found = certificate_of(FIRST[:3])
    assert not found.attempts[0].complete
    assert found.latest is None
    assert found.finalists == ()
    assert {f.key: f.lower_bound is None for f in found.attempts[0].finalists} == {
        KEY_A: False,  # it has its seeds
        KEY_B: True,
    }
    with pytest.raises(xt.InputError, match="it continues"):
        _ = found.best
    assert not certificate_of(FIRST[:1]).attempts[0].complete
    assert certificate_of([]) is None


def test_a_block_without_an_outcome_counts_as_not_solved_and_its_first_try_not_at_all():
    lost = replace(failed(0, B, CERTIFY + 60, 40), purpose=purpose(B))
    retried = replace(lost, final=False)
    found = certificate_of([*FIRST[:3], retried, lost])
    assert found.attempts[0].complete
    assert (found.finalist(KEY_B).k, found.finalist(KEY_B).n) == (60, 100)


def test_an_extendable_attempt_has_the_anytime_bound_at_every_number_of_seeds():
    lines = [replace(c, purpose=replace(c.purpose, extendable=True)) for c in FIRST]
    found = certificate_of(lines)
    assert found.attempts[0].bound == "anytime"
    best = found.best
    assert best.lower_bound == pytest.approx(float(anytime_lower(100, 100, alpha=0.0125)))
    assert best.lower_bound < certificate_of(FIRST).best.lower_bound
    more = [
        check(point, solved(CERTIFY + 100, 300, 300), extendable=True, seeds=400)
        for point in (A, B)
    ]
    longer = certificate_of([*lines, *more])
    assert longer.attempts[0].seeds == 400
    assert (longer.best.k, longer.best.n) == (400, 400)
    assert longer.best.lower_bound > best.lower_bound


# The file.


def written(path, certificate):
    text = json.dumps(certificate_json(certificate, {"name": "x", "other": 1}))
    (path / "certificate.json").write_text(text)
    return path / "certificate.json"


def test_the_file_holds_all_that_is_needed_to_check_it(tmp_path):
    second = [
        check(A, solved(CERTIFY + 100, 100, 100), attempt=2),
        check(B, solved(CERTIFY + 100, 99, 100), attempt=2),
    ]
    certificate = certificate_of([*FIRST, *second])
    values = json.loads(written(tmp_path, certificate).read_text())
    assert values["confidence"] == 0.95
    assert values["run"] == {"name": "x"}
    assert "alpha / 2**a" in values["promise"]
    finalist = values["finalists"][0]
    assert finalist["key"] == KEY_A
    assert finalist["config"] == A
    assert finalist["seeds"] == {"first": CERTIFY + 100, "count": 100}
    assert (finalist["k"], finalist["n"]) == (100, 100)
    assert (finalist["search_k"], finalist["search_n"], finalist["search_rank"]) == (8, 8, 1)
    again = lower_bound(100, 100, alpha=1 - finalist["confidence"], bound=values["bound"])
    assert finalist["lower_bound"] == pytest.approx(again)
    [earlier] = finalist["earlier_attempts"]
    assert (earlier["attempt"], earlier["k"], earlier["n"]) == (1, 98, 100)
    assert earlier["seeds"] == {"first": CERTIFY, "count": 100}
    assert [attempt["attempt"] for attempt in values["attempts"]] == [1, 2]


# The gate on it.


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", [done(0, A, solved(0, 8, 8)), *FIRST], trainer="network")


def test_a_run_that_was_never_certified_is_bad_input(tmp_path):
    run = write_run(tmp_path / "run", [done(0, A, solved(0, 8, 8))], trainer="network")
    assert run.certificate is None
    result = xortune("gate", run.path, "--min-rate", 0.9)
    assert result.exit_code == 2
    assert "no certificate" in result.stderr
    assert f"xortune certify {run.path}" in result.stderr


def test_the_gate_reads_the_lower_bound_of_the_best_finalist(run):
    assert run.certificate == certificate_of(FIRST)
    bound = run.certificate.best.lower_bound
    result = xortune("gate", run.path, "--min-rate", 0.95)
    assert result.exit_code == 0, result.output
    [line] = result.stdout.splitlines()
    assert line == (
        f"proven: 100/100 seeds solved, lower bound {math.floor(bound * 1e4) / 1e4:.4f} is at "
        f"least 0.95 (confidence 0.95, certified config {KEY_B}, seeds {CERTIFY} to {CERTIFY + 99})"
    )
    assert xt.gate(run, min_rate=bound).passed
    assert not xt.gate(run, min_rate=bound + 1e-9).passed
    result = xortune("gate", run.path, "--min-rate", 0.96)
    assert result.exit_code == 1
    assert result.stdout.startswith("undecided: 100/100 seeds solved, lower bound 0.957")
    assert "is below 0.96" in result.stdout


def test_more_confidence_than_the_certificate_has_is_refused(run):
    written(run.path, certificate_of(run.checks))
    assert xortune("gate", run.path, "--min-rate", 0.9, "--confidence", 0.9).exit_code == 0
    result = xortune("gate", run.path, "--min-rate", 0.9, "--confidence", 0.99)
    assert result.exit_code == 2
    assert "certify again with --confidence 0.99" in result.stderr
