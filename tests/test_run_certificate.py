import json
import math
from dataclasses import replace

import pytest
from commands import xortune
from hand_made import CONFIG, done, solved, write_run

import xortune as xt
from xortune.core.point import Point
from xortune.runs.certificate import (
    certificate_json,
    certificate_of,
    lower_bound,
    risk_of,
)
from xortune.runs.evaluation import Purpose, decode, encode

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
