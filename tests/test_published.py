"""Reading published tables: what is recognised, what is assumed and said, what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.comparisons.reference import DEFAULT_SEEDS, normal, read_published
from xortune.core.errors import InputError

PARAMETERS = ("activation", "loss", "optimizer", "lr", "momentum", "hidden_dim", "epochs")
COLUMNS = "Activation,Criterion,Optimizer,HiddenDim,LearnRate,Epochs,PercentCorrect"
TABLE = [
    f"{COLUMNS},PercentWrong,TimeTaken",
    "Tanh,MSELoss,Adam,5,1.0,10,7,93,1.5",
    "Tanh,MSELoss,Adam,5,1.0,50,60,40,2.5",
    "ReLU,MSELoss,Rprop,5,1.0,10,0,100,0.5",
]


@pytest.fixture
def table(tmp_path):
    """`table(*lines)`: a file with these lines."""

    def write(*lines, delimiter="\t", encoding="utf-8"):
        text = "\n".join(lines or TABLE) + "\n"
        (tmp_path / "t.csv").write_text(text.replace(",", delimiter), encoding=encoding)
        return tmp_path / "t.csv"

    return write


def refusal(path, *words, **options):
    with pytest.raises(InputError) as raised:
        read_published(path, PARAMETERS, **options)
    assert [word for word in words if word not in str(raised.value)] == [], raised.value


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_published_table_is_recognised(table, delimiter, encoding):
    found = read_published(table(delimiter=delimiter, encoding=encoding), PARAMETERS)
    names = ("activation", "loss", "optimizer", "hidden_dim", "lr", "epochs", "percent")
    assert found.columns == dict(zip(names, COLUMNS.split(","), strict=True))
    assert found.unused == ("PercentWrong", "TimeTaken")
    assert (found.k.tolist(), found.n.tolist()) == ([7, 60, 0], [DEFAULT_SEEDS] * 3)
    assert found.lines == (2, 3, 4)
    assert found.values["activation"] == ("Tanh", "Tanh", "ReLU")
    assert found.values["epochs"] == (10, 50, 10)
    [assumed] = found.assumptions
    assert "n = 100" in assumed
    assert "--reference-seeds" in assumed


@pytest.mark.parametrize(
    ("header", "row", "k", "n"),
    [
        ("lr,successes,trials", "1,3,8", 3, 8),
        ("lr,accuracy,n", "1,62.5,8", 5, 8),
        ("lr,rate,n", "1,0.625,8", 5, 8),
        ("lr,rate,n", "1,0.333333333,3", 1, 3),
        ("lr,k,rate,n,trials", "1,3,0.375,8,1", 3, 8),
    ],
)
def test_counts_come_in_several_forms(table, header, row, k, n):
    found = read_published(table(header, row), PARAMETERS)
    assert (found.k.tolist(), found.n.tolist()) == ([k], [n])


def test_a_unit_that_the_values_tell_is_said(table):
    fractions = table("lr,rate,n", "1,1,8", "2,0.5,8")
    assert read_published(fractions, PARAMETERS).assumptions == (
        "rate is a fraction (--column percent=rate says otherwise)",
    )
    percentages = table("lr,rate", "1,1", "2,50")
    assert read_published(percentages, PARAMETERS).assumptions[1:] == ("rate is a percentage",)
    small = table("lr,rate", "1,1", "2,0")
    told = read_published(small, PARAMETERS, columns={"percent": "rate"}, seeds=100)
    assert (told.k.tolist(), told.assumptions) == ([1, 0], ())


def test_what_the_user_says_wins(table):
    path, columns = table("eta,lr,wins,k,seeds", "0.1,9,4,5,7"), {"lr": "eta", "k": "wins"}
    found = read_published(path, PARAMETERS, columns=columns, seeds=50)
    assert (found.columns, found.values) == (columns, {"lr": (0.1,)})
    assert (found.k.tolist(), found.n.tolist()) == ([4], [50])
    assert (found.unused, found.assumptions) == (("lr", "k", "seeds"), ())


def test_quotes_and_empty_lines_keep_the_line_numbers(table):
    begin = ('"loss","k"', "", '"two', 'lines",3')
    path = table(*begin, "MSELoss,101")
    refusal(path, f"{path}:5: k: 101 of 100 seeds")
    assert read_published(table(*begin, "MSELoss,100"), PARAMETERS).lines == (3, 5)


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("lr,k", "1,101", (":2: k: 101 of 100 seeds", "at most")),
        ("lr,k", "1,-1", (":2: k: -1", "0 or more")),
        ("lr,k", "1,many", (":2: k: 'many' is not a number",)),
        ("lr,k", "1,", (":2: k: a missing value",)),
        ("lr,k", "1," + "9" * 200, (":2: k: 999", "at most")),
        ("lr,k,n", "1,0,0", (":2: n: 0", "1 or more")),
        ("lr,percent", "1,101", (":2: percent: 101", "0 to 100")),
        ("lr,percent", "1,12.5", (":2: percent: 12.5 of 100 seeds", "whole number")),
        ("lr,rate", "1,0.125", (":2: rate: 0.125 of 100 seeds", "0 to 1,")),
        ("lr,k", "1,2,3", ("t.csv:2: 3 values for 2 columns",)),
        ("lr,k", '"1,2', ("t.csv: ", "not CSV text")),
    ],
)
def test_a_row_that_is_none_is_refused_with_its_place(table, header, row, words):
    refusal(table(header, row, delimiter=","), *words)


def test_two_rows_for_a_cell_are_refused_with_both_lines(table):
    path = table(*TABLE, "Tanh,MSELoss,Adam,5,1,10.0,8,92,9")
    refusal(path, "lines 2 and 5", "activation Tanh", "epochs 10", "columns={")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"learning": "LearnRate"}, ("unknown parameter 'learning'", "allowed: activation")),
        ({"epoch": "Epochs"}, ("did you mean 'epochs'?",)),
        ({"lr": "LearningRate"}, ("no column 'LearningRate'", "did you mean 'LearnRate'?")),
        ({"lr": "Epochs", "epochs": "Epochs"}, ("'Epochs' stands for something else",)),
    ],
)
def test_wrong_columns_are_refused_with_the_nearest(table, columns, words):
    refusal(table(), "columns={", *words, columns=columns)


def test_what_is_not_clear_is_refused(table):
    refusal(table("lr,k"), "t.csv", "no rows")
    two = table("criterion,loss_fn,k", "a,b,1")
    refusal(two, "criterion and loss_fn may both be loss", "columns={'loss': 'criterion'}")
    assert read_published(two, PARAMETERS, columns={"loss": "loss_fn"}).values == {"loss": ("b",)}
    refusal(table("lr,time", "1,2"), "solved seeds", "columns={'k': 'NAME'}", "lr, time")
    refusal(table("x,k", "1,2"), "parameter of the run", "allowed: activation, loss")
    path = table("lr,k,s", "1,2,9")
    refusal(path, "reference_seeds", "twice", columns={"n": "s"}, seeds=9)
    for seeds in (0, -3, True, 1.5):
        refusal(path, "reference_seeds", "1 or more", seeds=seeds)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_as_text_is_that_number(number):
    assert normal(repr(number)) == number == normal(number)


@given(st.text())
def test_a_text_stays_unless_it_is_another_way_to_write_a_value(text):
    found = normal(text)
    if isinstance(found, str):
        assert found in (text.strip(), text.strip().lower())
    elif found is None:
        assert text.strip().lower() in ("", "none", "null")
    else:
        assert re.fullmatch(r"[-+.0-9eE]+", text.strip())
        assert found == float(text)
