"""A table of results as blocks of seeds: every row counted, every bad cell told with its place."""

import csv
import io
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.outcome import Status
from xortune.integrations.importing import ImportRequest as Asked
from xortune.integrations.importing import (
    parameter_in,
    read_csv,
    results_in,
    space_text,
    table_of_frame,
)
from xortune.spaces.space import parse_space

LR = Asked(("lr",))


def table(tmp_path, text, name="r.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_csv(path)


def results(tmp_path, text, asked=LR):
    return results_in(table(tmp_path, text), asked)


def by_seed(found):
    """The status of each (config, seed)."""
    return {
        (tuple(e.block.point.items()), int(seed)): Status(status)
        for e in found.evaluations
        for seed, status in zip(e.outcome.seeds, e.outcome.status, strict=True)
    }


CELLS = st.dictionaries(
    st.tuples(
        st.sampled_from(["0.1", "0.01", "1e-3", ""]),
        st.sampled_from(["adam", "sgd, nesterov", 'a "b"']),
        st.integers(0, 2**32 - 1) | st.integers(0, 6),
    ),
    st.sampled_from(["true", "False", "1", "0"]),
    min_size=1,
    max_size=60,
)


@given(CELLS, st.randoms(use_true_random=False), st.sampled_from([",", ";", "\t"]))
def test_the_counts_are_those_of_a_plain_loop_over_the_rows(tmp_path_factory, cells, rng, sign):
    rows = list(cells.items())
    rng.shuffle(rows)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=sign)
    writer.writerow(["opt", "success", "lr", "seed"])
    writer.writerows([opt, success, lr, seed] for (lr, opt, seed), success in rows)
    # An empty name would be another table: at least one row has a rate.
    writer.writerow(["adam", "1", "0.5", "0"])
    text = out.getvalue()
    found = results_in(table(tmp_path_factory.mktemp("t"), text), Asked(("lr", "opt")))
    wanted = Counter({(0.5, "adam"): 1})
    n = Counter({(0.5, "adam"): 1})
    for (lr, opt, _), success in rows:
        config = (float(lr) if lr else None, opt)
        n[config] += 1
        wanted[config] += success in ("true", "1")
    k, seeds = Counter(), Counter()
    for e in found.evaluations:
        config = (e.block.point.get("lr"), e.block.point["opt"])
        k[config] += e.outcome.successes
        seeds[config] += e.outcome.n
        assert e.outcome.seeds.tolist() == list(e.block.seeds)  # without a gap
    assert (+k, seeds) == (+wanted, n)
    assert len({e.proposal for e in found.evaluations}) == len(n)


def test_a_frame_and_its_file_are_the_same_results(tmp_path):
    frame = pd.DataFrame(
        {
            "lr": [0.1, 0.1, 0.2],
            "deep": [True, True, False],
            "width": [8, 8, 16],
            "seed": [3, 5, 3],
            "success": [True, False, True],
            "accuracy": [0.9, math.nan, 0.5],
        }
    )
    asked = Asked(("lr", "deep", "width"))
    written = table(tmp_path, frame.to_csv(index=False))
    both = [results_in(one, asked) for one in (table_of_frame(frame), written)]
    assert by_seed(both[0]) == by_seed(both[1])
    keys = [[e.block.point.key for e in one.evaluations] for one in both]
    assert keys[0] == keys[1]
    assert both[0].parameters.keys() == both[1].parameters.keys()
    assert [one.kind for one in both[0].parameters.values()] == [
        one.kind for one in both[1].parameters.values()
    ]
    for e, other in zip(both[0].evaluations, both[1].evaluations, strict=True):
        np.testing.assert_array_equal(
            e.outcome.details.values["accuracy"], other.outcome.details.values["accuracy"]
        )


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ("1,2,-3", "whole number", [1, 2, -3]),
        ("1,2.0,3", "number", [1.0, 2.0, 3.0]),
        ("1e-3,.5,7", "number", [0.001, 0.5, 7.0]),
        ("True,false,TRUE", "true or false", [True, False, True]),
        ("0,1,0", "whole number", [0, 1, 0]),
        ("007,8,9", "text", ["007", "8", "9"]),
        ("1_0,2,3", "text", ["1_0", "2", "3"]),
        ("a,b,true", "text", ["a", "b", "true"]),
        ("a,,b", "text", ["a", None, "b"]),
        ("1,,2", "whole number", [1, None, 2]),
        (" 5 ,6,7", "whole number", [5, 6, 7]),
        ("nan,a,b", "text", ["nan", "a", "b"]),
    ],
)
def test_types_are_read_from_all_cells(tmp_path, cells, kind, values):
    text = "x,y\n" + "".join(f"{cell},1\n" for cell in cells.split(","))
    found = parameter_in(table(tmp_path, text), "x")
    read = [found.cells[code] for code in found.codes]
    assert (found.kind, read) == (kind, values)
    assert [type(v) for v in read] == [type(v) for v in values]


def test_one_letter_among_numbers_makes_text_and_is_told(tmp_path):
    found = results(tmp_path, "lr,seed,success\n0.1,0,1\nO.1,1,1\n0.1,2,0\n")
    assert found.parameters["lr"].kind == "text"
    assert found.notes[0] == f"lr is read as text, for 'O.1' in {tmp_path}/r.csv:3 is not a number"


def test_the_statuses_of_a_column(tmp_path):
    text = (
        "lr,seed,success,reason\n1,0,true,\n1,1,0,\n1,2,false,out of\tmemory\n1,3,,killed\n1,4,1,\n"
    )
    found = results(tmp_path, text)
    assert list(by_seed(found).values()) == [
        Status.SOLVED,
        Status.WRONG_PATTERN,
        Status.CRASHED,
        Status.CRASHED,
        Status.SOLVED,
    ]
    [line] = found.evaluations
    assert line.outcome.details.failed == {2: "out of memory", 3: "killed"}
    assert (line.outcome.successes, line.outcome.n, line.outcome.epochs) == (2, 5, 0)


def test_the_statuses_of_a_rule(tmp_path):
    text = "lr,seed,acc,reason\n1,0,0.9,\n1,1,0.89,\n1,2,nan,\n1,3,inf,\n1,4,,boom\n1,5,0.95,late\n"
    found = results(tmp_path, text, Asked(("lr",), success="acc >= 0.9"))
    assert [s.label for s in by_seed(found).values()] == [
        *("solved", "wrong_pattern", "diverged", "diverged", "crashed", "crashed"),
    ]
    [line] = found.evaluations
    assert line.outcome.details.failed == {2: "acc is nan", 3: "acc is inf", 4: "boom", 5: "late"}
    np.testing.assert_array_equal(
        line.outcome.details.values["acc"], [0.9, 0.89, np.nan, np.inf, np.nan, 0.95]
    )


def test_nothing_said_is_refused_or_a_failure_as_one_wishes(tmp_path):
    for cell in ("", "nan", "NaN"):
        text = f"lr,seed,success\n1,0,1\n1,1,{cell}\n"
        with pytest.raises(
            InputError,
            match=r"r.csv:3: success: .* says.*rows as failed \(missing_fails=True\); if",
        ):
            results(tmp_path, text)
        found = results(tmp_path, text, Asked(("lr",), missing_fails=True))
        assert list(by_seed(found).values()) == [Status.SOLVED, Status.CRASHED]
    ruled = Asked(("lr",), success="acc > 0", missing_fails=True)
    assert list(by_seed(results(tmp_path, "lr,seed,acc\n1,0,1\n1,1,\n", ruled)).values()) == [
        Status.SOLVED,
        Status.CRASHED,
    ]
    with pytest.raises(InputError, match=r"r.csv:3: acc: nothing says how this seed went"):
        results(tmp_path, "lr,seed,acc\n1,0,1\n1,1,\n", Asked(("lr",), success="acc > 0"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr,seed,success\n1,0,yes\n", "r.csv:2: success: 'yes' says neither; allowed: true, fal"),
        ("lr,seed,success\n1,0,1.0\n", "r.csv:2: success: '1.0' says neither"),
        ("lr,seed,success\n1,0,1\n1,x,1\n", "r.csv:3: seed: 'x' is not a seed"),
        ("lr,seed,success\n1,,1\n", "r.csv:2: seed: a missing seed"),
        ("lr,seed,success\n1,-1,1\n", "r.csv:2: seed: seed -1; allowed: a whole number from 0"),
        ("lr,seed,success\n1,4294967296,1\n", "r.csv:2: seed: seed 4294967296"),
        ("lr,seed,success\n0.1,0,1\nnan,1,1\n", "r.csv:3: lr: nan is not finite"),
        ("lr,seed,success\n,0,1\n", "r.csv:2: lr: is empty in every row"),
        ("lr,seed,success\n1,0,1\n,1,1\n", "r.csv:3: no parameter has a value in this row"),
        ("lr,seed,success,acc\n1,0,1,0.5\n1,1,1,O.5\n", "r.csv:3: acc: 'O.5' is not a number"),
        ("lr,seed,success,reason\n1,0,1,why\n", "r.csv:2: success: a success that has a reason"),
        ("lr,seed,success\n", "r.csv: no rows below a header"),
        ("lr,seed,ok\n1,0,1\n", "success: .*r.csv has no column 'success'; allowed: a column with"),
        ("x,seed,success\n1,0,1\n", "config: .*r.csv has no column 'lr'; allowed: x, seed"),
        ("lr,success\n1,1\n", "seed: .*r.csv has no column 'seed'"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, text, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        results(tmp_path, text)


def test_lines_are_those_of_the_file_where_cells_have_several(tmp_path):
    text = 'lr,seed,success,note\n1,0,1,"a\nb"\n\n1,1,perhaps,c\n'
    with pytest.raises(InputError, match=r"r\.csv:5: success: 'perhaps'"):
        results(tmp_path, text)


def test_a_config_and_seed_twice_is_refused_with_both_lines_and_what_differs(tmp_path):
    text = "lr,drop,seed,success\n0.1,0,7,1\n0.1,0,8,1\n0.1,0.5,7,0\n"
    with pytest.raises(InputError) as caught:
        results(tmp_path, text)
    told = str(caught.value)
    assert f"{tmp_path}/r.csv:4: seed 7 of lr 0.1 was already given in {tmp_path}/r.csv:2" in told
    assert "a parameter that tells them apart (drop, success)" in told
    found = results(tmp_path, text, Asked(("lr", "drop")))
    assert len(by_seed(found)) == 3


def test_without_a_word_on_the_configuration_what_it_may_be_is_told(tmp_path):
    rows = "".join(f"0.1,a,{s},1,{s / 7}\n" for s in range(6))
    with pytest.raises(InputError) as caught:
        results(tmp_path, "lr,opt,seed,success,acc\n" + rows, Asked(()))
    assert caught.value.allowed == "some of lr, opt, acc"
    assert caught.value.fix == "name them: --config lr,opt"


def test_what_has_no_number_is_left_out_and_told(tmp_path):
    text = "lr,seed,success,host,acc,note\n1,0,1,a,0.5,\n1,1,0,b,,\n"
    found = results(tmp_path, text)
    assert (found.numbers, found.left_out) == (("acc",), ("host", "note"))
    assert found.notes == ("not used, for they have no numbers: host, note",)
    ignored = results(tmp_path, text, Asked(("lr",), ignore=("host", "acc", "note")))
    assert (ignored.numbers, ignored.notes) == ((), ())


def test_epochs_to_solve_are_counted_with_the_budget_of_the_config(tmp_path):
    text = "epochs,seed,success,epochs_to_solve\n100,0,1,10\n100,1,1,40\n100,2,0,\n100,3,0,100\n"
    found = results(tmp_path, text, Asked(("epochs",)))
    [line] = found.evaluations
    assert line.outcome.epochs_to_solve == (10 + 40 + 100 + 100) / 2
    for cell, told in (("", "is missing for a success"), ("101", "'101'"), ("0", "'0'")):
        bad = text.replace("1,40", f"1,{cell}")
        with pytest.raises(InputError, match=f"r.csv:3: epochs_to_solve: {told}"):
            results(tmp_path, bad, Asked(("epochs",)))
    with pytest.raises(InputError, match="without a parameter 'epochs'"):
        results(tmp_path, "lr," + text.replace("\n", "\n1,", 4), LR)


def test_single_seeds_and_seeds_that_nobody_shares_are_told(tmp_path):
    single = results(tmp_path, "lr,seed,success\n1,0,1\n2,0,1\n")
    assert "every configuration has one seed only" in single.notes[0]
    apart = results(tmp_path, "lr,seed,success\n1,0,1\n1,1,1\n2,2,1\n2,3,1\n")
    assert "share no seed" in apart.notes[0]
    assert results(tmp_path, "lr,seed,success\n1,0,1\n1,1,1\n2,1,1\n2,0,1\n").notes == ()


def test_the_space_that_is_written_can_be_read_and_holds_what_was_seen(tmp_path):
    rows = "".join(
        f"{0.001 * (s + 1):g},{s % 3},{'yes' if s % 2 else 'a: b'},same,{s},1\n" for s in range(30)
    )
    found = results(
        tmp_path, "lr,w,opt,fixed,seed,success\n" + rows, Asked(("lr", "w", "opt", "fixed"))
    )
    text = space_text(
        "t", found, source='a "b".csv', configs=30, seeds=1, success="a >= 1", trainer="./t.py:f"
    )
    space = parse_space(text)
    lr, w, opt, fixed = space.parameters
    assert (lr.low, lr.high, lr.integer) == (0.001, 0.03, False)
    assert w.values == (0, 1, 2)
    assert set(opt.values) == {"yes", "a: b"}
    assert fixed.value == "same"
    assert (space.trainer, str(space.success)) == ("./t.py:f", "a >= 1")


def test_frames_name_their_rows(tmp_path):
    frame = pd.DataFrame({"lr": [1, 1], "seed": [0, 1], "success": [True, None]})
    with pytest.raises(InputError, match="a DataFrame, row 1: success: nothing says"):
        results_in(table_of_frame(frame), LR)
    with pytest.raises(InputError, match=r"row 0: lr: .* is a list"):
        results_in(table_of_frame(frame.assign(lr=[[1], [2]], success=True)), LR)
    with pytest.raises(InputError, match="a column is called 3"):
        table_of_frame(pd.DataFrame({3: [1]}))
    with pytest.raises(InputError, match="no rows"):
        table_of_frame(frame.head(0))
