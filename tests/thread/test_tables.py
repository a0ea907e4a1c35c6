"""thread.csv and the other tables: their columns, and that each number can be had again."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pytest

import xortune as xt
from xortune.seed_ranges import THREAD
from xortune.stats import wilson
from xortune.thread import claims as claims_module
from xortune.thread.claims import CLAIMS, read_claims
from xortune.thread.tables import claims_csv, claims_table, comparisons_csv, curves_csv

FIRST = (
    *("id", "variant", "system", "quoted", "k", "n"),
    *("rate", "low", "high", "verdict", "why"),
)
WORDS = {"consistent", "inconsistent", "cannot tell", "not testable"}
NETWORK = ("activation", "loss", "optimizer", "lr", "momentum", "hidden_dim", "epochs", "zero_grad")


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def rows(settled):
    return read(claims_csv(settled))


def config_of(row):
    """The config that a line of thread.csv states."""
    numbers = {name: json.loads(row[name]) for name in ("lr", "hidden_dim", "epochs")}
    return xt.Config(
        activation=row["activation"] or None,
        loss=row["loss"],
        optimizer=row["optimizer"],
        momentum=float(row["momentum"] or 0),
        zero_grad={"True": True, "False": False}[row["zero_grad"]],
        **numbers,
    )


def test_the_columns_begin_with_those_agreed_on(rows, swept):
    assert tuple(rows[0])[: len(FIRST)] == FIRST
    assert tuple(claims_table(swept).columns)[: len(FIRST)] == FIRST
    assert set(NETWORK) < set(rows[0])


def test_one_line_for_each_row_and_variant(rows, settled):
    assert [(row["id"], row["variant"]) for row in rows] == [
        (one.row.id, one.variant.name) for one in settled.rows
    ]
    for row, one in zip(rows, settled.rows, strict=True):
        k, n = int(row["k"]), int(row["n"])
        assert (k, n) == (one.k, one.n)
        assert float(row["rate"]) == pytest.approx(k / n)
        low, high = wilson(k, n)
        assert (float(row["low"]), float(row["high"])) == pytest.approx((float(low), float(high)))
        assert row["verdict"] in WORDS
        assert row["verdict"] == str(one.verdict)
        assert row["why"] == one.why != ""
        assert row["quoted"] == one.row.quoted.shown
        assert float(row["p"]) == pytest.approx(one.p)
        assert float(row["p_holm"]) == pytest.approx(one.p_holm)
        assert row["first_seed"] == "0"
        assert row["stopped"] == ("" if one.stopped is None else str(one.stopped))
        assert row["system"].startswith(one.row.system)
        assert row["system"].endswith(one.variant.changes)
        assert "\n" not in row["system"]


def test_counts_can_be_had_again_from_a_line(rows):
    checked = 0
    for row in rows:
        if row["judge"] == "half" and not row["stop_loss"]:
            outcome = xt.evaluate(config_of(row), range(48))
            assert int(row["k"]) == outcome.successes
            checked += 1
    assert checked >= 9
    assert {row["judge"] for row in rows} == {"half", "truncating"}
    assert {row["stop_loss"] for row in rows if row["stop_loss"]} == {"1e-08"}
    assert {row["momentum"] for row in rows if row["optimizer"] == "Adam"} == {""}
    assert {row["momentum"] for row in rows if row["id"] == "T10b"} == {"0.9"}


def test_other_first_seeds_are_named():
    settled = xt.thread(only=["T10a"], seeds=4, first_seed=77)
    assert {row["first_seed"] for row in read(claims_csv(settled))} == {"77"}


def test_comparisons(settled):
    first, curve = read(comparisons_csv(settled))
    [one] = settled.comparisons
    assert (first["id"], first["more"], first["than"]) == (
        *("T10", "T10b/as_posted", "T10a/as_posted"),
    )
    assert (int(first["k_more"]), int(first["k_than"]), int(first["n"])) == (
        *(one.k_more, one.k_than, 48),
    )
    assert (int(first["only_more"]), int(first["only_than"])) == (one.only_more, one.only_than)
    assert float(first["p"]) == pytest.approx(one.p)
    assert float(first["p_holm"]) == pytest.approx(one.p_holm)
    assert first["verdict"] == "consistent"
    [(_, _, test)] = settled.curves
    assert (curve["id"], curve["than"], curve["verdict"]) == ("T10", "lr 0.03", "inconsistent")
    assert (int(curve["k_more"]), int(curve["k_than"])) == (test.k_best, test.k_beside)
    assert int(curve["only_more"]) - int(curve["only_than"]) == test.k_best - test.k_beside


def test_curves(settled):
    found = read(curves_csv(settled))
    [(curve, lines, _)] = settled.curves
    assert len(found) == len(curve.points) * len(lines)
    assert [float(row["value"]) for row in found] == list(curve.points) * 2
    assert [int(row["k"]) for row in found] == [*lines[0].k, *lines[1].k]
    for row in found:
        assert (row["id"], row["parameter"], row["n"]) == ("T10", "lr", "48")
        assert float(row["low"]) <= float(row["rate"]) <= float(row["high"])
    assert {row["line"] for row in found} == {line.line.name for line in lines}


# --- the sweep's rows ----------------------------------------------------------------------------


def test_the_best_cells_are_variants_of_t15(swept):
    rows = read(claims_csv(swept))
    assert [(row["id"], row["variant"]) for row in rows] == [
        *(("T12", "as_posted"), ("T15", "as_posted")),
        *(("T15", f"best_{place}") for place in (1, 2, 3, 4)),
    ]
    for row, cell in zip(rows[2:], swept.best, strict=True):
        assert int(row["first_seed"]) == THREAD.start
        outcome = xt.evaluate(config_of(row), range(THREAD.start, THREAD.start + 64))
        assert (int(row["k"]), int(row["n"])) == (outcome.successes, 64)
        assert int(row["all_zero"]) == sum(p == "0000" for p in outcome.patterns)
        assert f"{cell.search_k}/20 in the sweep; at least {cell.lower:.5f} " in row["why"]
        assert (float(row["low"]), float(row["high"])) == pytest.approx(outcome.interval())
        assert row["verdict"] == "inconsistent"
        assert cell.config.activation in row["system"]
    for row in rows[:2]:
        assert all(row[name] == "" for name in (*NETWORK, "judge", "p", "p_holm"))


# --- quoted figures ------------------------------------------------------------------------------


def test_claims_yaml_holds_no_verdict():
    text = CLAIMS.read_text(encoding="utf-8").lower()
    for word in ("consistent", "refuted", "cannot tell", "not testable", "verdict"):
        assert word not in text


def test_editing_a_quoted_figure_changes_the_files(tmp_path, monkeypatch):
    words = {}
    for k in (37, 3, 94):
        text = CLAIMS.read_text(encoding="utf-8").replace("{k: 37, n: 100}", f"{{k: {k}, n: 100}}")
        path = tmp_path / f"{k}.yaml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(claims_module, "read_claims", lambda path=path: read_claims(path))
        settled = xt.thread(only=["T3"], seeds=48)
        files = {file.name: file for file in xt.write_thread(settled, tmp_path / str(k))}
        table = pd.read_csv(files["thread.csv"])
        page = files["thread.md"].read_text(encoding="utf-8")
        words[k] = table.verdict[0]
        assert table.quoted[0] == f"{k}/100"
        [line] = [line for line in page.splitlines() if line.startswith("| T3 |")][:1]
        assert line.endswith(f"| {words[k]} |")
        assert f"**{words[k].capitalize()}.** {k}/100 beside" in page
        agree = 1 if words[k] == "consistent" else 0
        assert f"Of 1 quoted counts, {agree} agree" in page
        assert ("Refuted: T3." in page) == (not agree)
        assert table.k.tolist() == [row.k for row in settled.rows]
    assert words == {37: "consistent", 3: "inconsistent", 94: "inconsistent"}
