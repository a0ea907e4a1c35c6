"""A certificate: its lines of the journal, its file, the gate on it, and it as a paragraph."""

import json
import math
from dataclasses import replace

import pytest
import reported
from commands import refused, xortune
from compared import purpose
from hand_made import CONFIG, done, solved, write_run

import xortune as xt
from xortune.core.point import Point
from xortune.runs.certificate import certificate_json, certificate_of, lower_bound, risk_of
from xortune.runs.evaluation import decode, encode

A, B = {**CONFIG, "lr": 0.02}, {**CONFIG, "lr": 0.05}
KEY_A, KEY_B = Point(A).key, Point(B).key
CERTIFY = 2**30 + 2**29


def check(point, result, attempt=1):
    told = purpose(Point(point), 1 if point is A else 2, 2, 100)
    return replace(done(0, point, result), purpose=replace(told, attempt=attempt))


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
    without = {field: told for field, told in fields["purpose"].items() if field != name}
    for told in (fields["purpose"] | {name: value}, without):
        with pytest.raises(xt.InputError, match=rf"purpose\.{name}"):
            decode(json.dumps(fields | {"purpose": told}))


# What follows from the lines.


def test_the_risks_of_all_attempts_and_finalists_add_up_to_less_than_alpha():
    total = math.fsum(5 * risk_of(attempt, 0.95, 5) for attempt in range(1, 40))
    assert 0.0499 < total <= 0.05 + 1e-12
    assert risk_of(1, 0.95, 5) == pytest.approx(0.005)
    assert risk_of(3, 0.95, 1) == pytest.approx(0.05 / 8)


def test_an_attempt_that_lacks_seeds_has_no_bound():
    found = certificate_of(FIRST[:3])
    assert (found.attempts[0].complete, found.latest, found.finalists) == (False, None, ())
    unknown = {f.key: f.lower_bound is None for f in found.attempts[0].finalists}
    assert unknown == {KEY_A: False, KEY_B: True}  # A has its seeds
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
    second = [check(point, solved(CERTIFY + 100, k, 100), 2) for point, k in ((A, 100), (B, 99))]
    certificate = certificate_of([*FIRST, *second])
    values = json.loads(written(tmp_path, certificate).read_text())
    assert (values["confidence"], values["run"]) == (0.95, {"name": "x"})
    assert "alpha / 2**a" in values["promise"]
    finalist = values["finalists"][0]
    search = {"search_k": 8, "search_n": 8, "search_rank": 1}
    fresh = {"k": 100, "n": 100, "seeds": {"first": CERTIFY + 100, "count": 100}}
    assert finalist | {"key": KEY_A, "config": A} | search | fresh == finalist
    again = lower_bound(100, 100, alpha=1 - finalist["confidence"], bound=values["bound"])
    assert finalist["lower_bound"] == pytest.approx(again)
    [earlier] = finalist["earlier_attempts"]
    first = {"attempt": 1, "k": 98, "n": 100, "seeds": {"first": CERTIFY, "count": 100}}
    assert earlier | first == earlier
    assert [attempt["attempt"] for attempt in values["attempts"]] == [1, 2]


# The gate on it.


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", [done(0, A, solved(0, 8, 8)), *FIRST], trainer="network")


def test_a_run_that_was_never_certified_is_bad_input(tmp_path):
    run = write_run(tmp_path / "run", [done(0, A, solved(0, 8, 8))], trainer="network")
    assert run.certificate is None
    result = xortune("gate", run.path, "--min-rate", 0.9)
    refused(result, "no certificate", f"xortune certify {run.path}")


def test_the_gate_reads_the_lower_bound_of_the_best_finalist(run):
    assert run.certificate == certificate_of(FIRST)
    bound = run.certificate.best.lower_bound
    result = xortune("gate", run.path, "--min-rate", 0.95)
    assert (result.exit_code, result.stdout) == (
        0,
        f"proven: 100/100 seeds solved, lower bound {math.floor(bound * 1e4) / 1e4:.4f} is at "
        "least 0.95 (confidence 0.95, certified config "
        f"{KEY_B}, seeds {CERTIFY} to {CERTIFY + 99})\n",
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
    refused(result, "certify again with --confidence 0.99")


# As a paragraph, for a paper or a model card.

WHOLE = """\
A search (xortune, sampler unknown) tried 5 configurations in 40 trainings, each configuration \
under several random seeds. In the search, the configuration with activation = Tanh, loss = \
MSELoss, optimizer = Adam, lr = 0.04, hidden_dim = 3, epochs = 30, zero_grad = true (key \
df3f2fa0a436edc3) succeeded for 7 of 8 seeds; the search selected it by such counts, so they tend \
to overestimate its rate. The 3 finalists of the search were each trained under 100 fresh seeds \
that the search had not used. This one was selected because it has the highest lower bound of its \
own success rate. It succeeded for 100 of the 100 fresh seeds 1688815422 to 1688815521 (100.0 %). \
Its success rate is therefore at least 94.66 %. The lower bounds of all 3 finalists (one-sided \
Clopper-Pearson) and those of all other attempts to certify this run hold together with \
confidence 95 %; this is attempt 2.
"""


def test_a_paragraph_says_what_was_searched_selected_and_proven(tmp_path):
    run = reported.certified(tmp_path / "run")
    assert xt.export(run, format="paragraph") == WHOLE
    second = run.certificate.finalists[1]
    told = xt.export(run, format="paragraph", key=second.key)
    assert "Among them this one is number 2 in the order of the lower bounds of their" in told
    assert f"It succeeded for {second.k} of the 100 fresh seeds" in told
    ruled = run.noted(success="accuracy >= 0.9", sampler="tpe")
    told = xt.export(ruled, format="paragraph")
    assert told.startswith("A search (xortune, sampler tpe) tried")
    assert told.endswith(" A training succeeds if accuracy >= 0.9.\n")
    with pytest.raises(xt.InputError, match="is not a finalist"):
        xt.export(ruled, format="paragraph", key="0000")
    searched = reported.searched(tmp_path / "searched")
    with pytest.raises(xt.InputError, match="fix: make one: `xortune certify"):
        xt.export(searched, format="paragraph")
