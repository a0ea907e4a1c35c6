"""claims.yaml against the thread as the project states it, and what such a file may not say."""

from __future__ import annotations

import copy

import pytest
import yaml
from pydantic import ValidationError

from xortune.config import Config
from xortune.thread.claims import AS_POSTED, CLAIMS, Claims, Quoted, read_claims

IDS = (
    *("T1", "T2", "T3", "T4", "T5", "T6", "T7"),
    *("T8a", "T8b", "T8c", "T8d", "T8e", "T8f", "T8g", "T8h"),
    *("T9a", "T9b", "T9c", "T10a", "T10b", "T11", "T12", "T13", "T14a", "T14b", "T15"),
)

COUNTS = {
    "T3": 37, "T4": 19, "T5": 0,
    "T8a": 38, "T8b": 78, "T8c": 22, "T8d": 16, "T8e": 18, "T8f": 87, "T8g": 18, "T8h": 100,
    "T9a": 100, "T9b": 99, "T9c": 77,
    "T10a": 2, "T10b": 98,
}  # fmt: skip
"""What the posts counted, of 100."""

POSTED = {
    "T1": (None, 5, "L1Loss", "SGD", 0.03, 10_000, False),
    "T2": ("ReLU", 5, "MSELoss", "SGD", 0.001, 10_000, False),
    "T3": ("Sigmoid", 2, "MSELoss", "SGD", 0.03, 3_000, False),
    "T4": ("Sigmoid", 2, "SmoothL1Loss", "SGD", 0.03, 3_000, False),
    "T5": ("ReLU", 2, "MSELoss", "SGD", 0.03, 3_000, True),
    "T6": ("ReLU", 10, "L1Loss", "SGD", 0.03, 1_000, False),
    "T7": ("ReLU", 5, "MSELoss", "Adam", 0.001, 1_000, True),
    "T8a": ("ReLU", 5, "L1Loss", "SGD", 0.03, 1_000, False),
    "T8b": ("ReLU", 5, "MSELoss", "SGD", 0.03, 1_000, False),
    "T8c": ("ReLU", 5, "L1Loss", "Adam", 0.03, 1_000, False),
    "T8d": ("ReLU", 5, "MSELoss", "Adam", 0.03, 1_000, False),
    "T8e": ("Sigmoid", 5, "L1Loss", "SGD", 0.03, 1_000, False),
    "T8f": ("Sigmoid", 5, "MSELoss", "SGD", 0.03, 1_000, False),
    "T8g": ("ELU", 5, "L1Loss", "SGD", 0.03, 1_000, False),
    "T8h": ("ELU", 5, "MSELoss", "SGD", 0.03, 1_000, False),
    "T9a": ("Tanh", 5, "MSELoss", "Adam", 0.03, 1_000, True),
    "T9b": ("Sigmoid", 5, "MSELoss", "Adam", 0.03, 1_000, True),
    "T9c": ("ReLU", 5, "MSELoss", "Adam", 0.03, 1_000, True),
    "T10a": ("ELU", 5, "MSELoss", "SGD", 0.03, 1_000, True),
    "T10b": ("ELU", 5, "MSELoss", "SGD", 0.03, 1_000, True),
    "T11": ("ELU", 5, "MSELoss", "SGD", 0.03, 1_000, False),
    "T14a": ("ReLU", 20, "L1Loss", "SGD", 0.03, 1_000, False),
    "T14b": ("ReLU", 5, "BCELoss", "Adam", 0.03, 1_000, True),
}
"""What the posted scripts did: activation, H, loss, optimizer, lr, epochs, zero_grad."""

claims = read_claims()
ROWS = {row.id: row for row in claims.rows}


def test_every_row_of_the_thread_is_there_in_order():
    assert tuple(row.id for row in claims.rows) == IDS
    assert ROWS["T8c"].number == "T8"
    assert ROWS["T15"].number == "T15"


def test_quoted_counts_are_those_of_the_posts():
    counted = {row.id: row.quoted.counted for row in claims.rows if row.quoted.counted}
    assert counted == {row_id: (k, 100) for row_id, k in COUNTS.items()}
    assert {row.id: row.quoted.all_zero for row in claims.rows if row.quoted.all_zero} == {"T8c": 2}
    shares = {row.id: row.quoted.share for row in claims.rows if row.quoted.share is not None}
    assert shares == {"T1": 0, "T7": 1, "T11": 1, "T13": 1, "T14a": 1, "T15": 0}
    assert {row.id for row in claims.rows if row.quoted.untestable} == {"T2", "T12", "T14b"}
    assert {row.id: row.quoted.more_than for row in claims.rows if row.quoted.more_than} == {
        "T6": "hidden_dim_9"
    }


@pytest.mark.parametrize("row_id", IDS)
def test_every_row_says_what_where_and_of_what(row_id):
    row = ROWS[row_id]
    assert row.place.startswith("post")
    assert row.words.strip()
    assert row.system.strip()
    assert row.because.strip().endswith(".")
    assert row.variants[0].name == AS_POSTED
    assert row.variants[0].changes == ""
    assert all(variant.changes for variant in row.variants[1:])
    systems = [
        variant.model_copy(update={"name": "", "changes": ""}).model_dump_json()
        for variant in row.variants
    ]
    assert len(set(systems)) == len(systems), "two variants measure the same thing"


def test_what_the_posted_scripts_did():
    found = {}
    for row in claims.rows:
        given = row.variants[0].config
        if given is not None:
            c = Config.from_point(given)
            found[row.id] = (
                *(c.activation, c.hidden_dim, c.loss, c.optimizer),
                *(c.lr, c.epochs, c.zero_grad),
            )
            assert c.momentum == (0.9 if row.id == "T10b" else 0.0)
    assert found == POSTED
    numpy = ROWS["T13"].variants[0].numpy
    assert (numpy.hidden_dim, numpy.lr, numpy.epochs) == (5, 1.0, 10_000)
    assert (ROWS["T12"].variants[0].sweep, ROWS["T15"].variants[0].sweep) == ("seeds", "cells")


def test_how_the_posted_scripts_judged_and_stopped():
    posted = {row.id: row.variants[0] for row in claims.rows}
    assert {i for i, v in posted.items() if v.judge == "truncating"} == {"T3", "T4", "T5"}
    stops = {i for i, v in posted.items() if v.stop_loss is not None}
    assert stops == {"T6", "T14a", *(i for i in IDS if i.startswith("T8"))}
    assert {v.stop_loss for v in posted.values() if v.stop_loss is not None} == {1e-8}
    other = Config.from_point(posted["T11"].same_weights_as)
    assert (other.momentum, other.zero_grad) == (1.0, True)


@pytest.mark.parametrize(
    ("row_id", "name", "change"),
    [
        ("T2", "zero_grad", {"zero_grad": True}),
        ("T3", "half", {}),
        ("T3", "zero_grad_half", {"zero_grad": True}),
        ("T6", "hidden_dim_9", {"hidden_dim": 9}),
        ("T7", "lr_0.0001", {"lr": 0.0001}),
        ("T8c", "lr_0.001", {"lr": 0.001}),
        ("T8d", "lr_0.001", {"lr": 0.001}),
        ("T8h", "zero_grad", {"zero_grad": True}),
        ("T9a", "lr_0.001", {"lr": 0.001}),
        ("T9b", "lr_0.001", {"lr": 0.001}),
        ("T9c", "lr_0.001", {"lr": 0.001}),
        ("T14b", "hidden_dim_20", {"hidden_dim": 20}),
    ],
)
def test_a_variant_changes_what_its_name_says_and_nothing_else(row_id, name, change):
    row = ROWS[row_id]
    variant = next(v for v in row.variants if v.name == name)
    assert variant.config == {**row.variants[0].config, **change}
    half = name.endswith("half")
    assert variant.judge == ("half" if half else row.variants[0].judge)


def test_t14a_is_measured_with_two_other_settings():
    with_t8a, with_t9c = ROWS["T14a"].variants
    assert with_t8a.config == {**ROWS["T8a"].variants[0].config, "hidden_dim": 20}
    assert with_t9c.config == {**ROWS["T9c"].variants[0].config, "hidden_dim": 20}


def test_the_counts_that_name_001_have_rivals():
    rivals = {row.id: row.rivals for row in claims.rows if row.rivals}
    assert rivals == dict.fromkeys(("T8c", "T8d", "T9a", "T9b", "T9c"), ("as_posted", "lr_0.001"))


def test_curves():
    by_name = {curve.name: curve for curve in claims.curves}
    assert by_name["hidden_dim"].points == tuple(range(2, 21))
    lr = by_name["lr"]
    assert lr.place == "T10"
    assert lr.beside == 0.03
    assert 0.03 in lr.points
    assert (lr.points[0], lr.points[-1]) == (1e-4, 10.0)
    assert list(lr.points) == sorted(set(lr.points))
    assert len(lr.points) == 8 * 5 + 2  # both ends, and 0.03
    for curve in claims.curves:
        for line in curve.lines:
            for value in curve.points:
                Config.from_point({**line.config, curve.parameter: value})
    a, b = (line.config for line in lr.lines)
    assert a == ROWS["T10a"].variants[0].config
    assert b == ROWS["T10b"].variants[0].config


def test_what_is_shown():
    assert Quoted(k=3, n=7, words="x").shown == "3/7"
    assert Quoted(share=1).shown == "always"
    assert Quoted(share=0).shown == "never"
    assert Quoted(share=1, words="every time").shown == "every time"
    assert Quoted(untestable="x").shown == ""
    assert Quoted(k=0, n=7).counted == (0, 7)
    assert Quoted(share=0).counted is None


# --- only ----------------------------------------------------------------------------------------


def test_only_keeps_rows_and_what_belongs_to_them():
    part = claims.only({"T8", "T3"})
    assert [row.id for row in part.rows] == ["T3", *(i for i in IDS if i.startswith("T8"))]
    assert {c.place for c in part.comparisons} == {"T8"}
    assert len(part.comparisons) == 7
    assert part.curves == ()
    single = claims.only({"T8c"})
    assert [row.id for row in single.rows] == ["T8c"]
    assert single.comparisons == ()
    assert [curve.name for curve in claims.only({"T10b"}).curves] == ["lr"]
    assert [curve.name for curve in claims.only({"T6"}).curves] == ["hidden_dim"]
    pair = claims.only({"T8a", "T8b"})
    assert [(c.more[0], c.than[0]) for c in pair.comparisons] == [("T8b", "T8a")]
    assert [row.id for row in claims.only({"T1"}).rows] == ["T1"], "not T10 to T15"


# --- files that are none -------------------------------------------------------------------------


DATA = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))


def row(data, row_id):
    return next(row for row in data["rows"] if row["id"] == row_id)


def test_the_data_that_is_changed_below_is_right():
    assert Claims.model_validate(copy.deepcopy(DATA)) == claims


def test_a_file_is_read_as_it_is(tmp_path):
    text = CLAIMS.read_text(encoding="utf-8")
    assert text.count("quoted: {k: 37, n: 100}") == 1
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace("{k: 37, n: 100}", "{k: 36, n: 101}"), encoding="utf-8")
    found = {row.id: row for row in read_claims(path).rows}
    assert found.pop("T3").quoted.counted == (36, 101)
    assert found == {row_id: row for row_id, row in ROWS.items() if row_id != "T3"}
    path.write_text(text.replace("{k: 37, n: 100}", "{k: 137, n: 100}"), encoding="utf-8")
    with pytest.raises(ValidationError, match="137 of 100"):
        read_claims(path)


WRONG = {
    "two forms": (lambda d: row(d, "T3")["quoted"].update(share=1), "give one of k and n"),
    "no form": (lambda d: row(d, "T3").update(quoted={"words": "so so"}), "give one of k and n"),
    "k without n": (lambda d: row(d, "T3").update(quoted={"k": 3}), "k and n go together"),
    "n without k": (lambda d: row(d, "T1")["quoted"].update(n=3), "k and n go together"),
    "k above n": (lambda d: row(d, "T3")["quoted"].update(k=101), "101 of 100"),
    "k below 0": (lambda d: row(d, "T3")["quoted"].update(k=-1), "-1 of 100"),
    "share": (lambda d: row(d, "T1")["quoted"].update(share=0.5), "share"),
    "more_than": (
        lambda d: row(d, "T6")["quoted"].update(more_than="hidden_dim_8"),
        "T6 has no variant hidden_dim_8",
    ),
    "rival": (lambda d: row(d, "T8c").update(rivals=["as_posted", "lr_1"]), "no variant lr_1"),
    "comparison": (lambda d: d["comparisons"][0].update(than=["T8z", "as_posted"]), "T8z"),
    "comparison's variant": (
        lambda d: d["comparisons"][0].update(more=["T8a", "nope"]),
        "nope",
    ),
    "key of a row": (lambda d: row(d, "T3").update(verdict="consistent"), "verdict"),
    "key of a file": (lambda d: d.update(verdicts=[]), "verdicts"),
    "key of a variant": (lambda d: row(d, "T3")["variants"][0].update(judged="half"), "judged"),
    "key of a quote": (lambda d: row(d, "T3")["quoted"].update(of=3), "of"),
    "id": (lambda d: row(d, "T3").update(id="3"), "id"),
    "activation": (
        lambda d: row(d, "T3")["variants"][0]["config"].update(activation="Sigmod"),
        "Sigmoid",
    ),
    "lr": (lambda d: row(d, "T9a")["variants"][0]["config"].update(lr=-1), "lr"),
    "missing loss": (lambda d: row(d, "T9a")["variants"][0]["config"].pop("loss"), "loss"),
    "config's key": (lambda d: row(d, "T9a")["variants"][0]["config"].update(H=5), "H"),
    "other weights": (
        lambda d: row(d, "T11")["variants"][0]["same_weights_as"].update(epochs=0),
        "epochs",
    ),
    "judge": (lambda d: row(d, "T3")["variants"][0].update(judge="kindly"), "judge"),
    "two systems": (lambda d: row(d, "T3")["variants"][0].update(sweep="seeds"), "give one of"),
    "no system": (lambda d: row(d, "T3")["variants"][0].pop("config"), "give one of"),
    "stop": (lambda d: row(d, "T3")["variants"][0].update(stop_loss=0.1), "truncates and stops"),
    "as_posted second": (lambda d: row(d, "T3")["variants"].reverse(), "as_posted comes first"),
    "a name twice": (
        lambda d: row(d, "T3")["variants"].append(dict(row(d, "T3")["variants"][1])),
        "every name once",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused(what):
    change, word = WRONG[what]
    data = copy.deepcopy(DATA)
    change(data)
    with pytest.raises(ValidationError, match=word):
        Claims.model_validate(data)
