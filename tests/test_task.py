import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.task import Task

XOR_ROWS = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
HELD = {"target": "y", "held_out": "t"}


@pytest.fixture
def csv(tmp_path: Path):
    def write(text: str, name: str = "moons.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


# --- built-in tasks ------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(2, 13))
def test_parity_counts_ones(bits):
    task = Task.parity(bits)
    assert task.name == f"parity-{bits}"
    assert task.inputs.shape == (2**bits, bits)
    assert len({tuple(row) for row in task.inputs.tolist()}) == 2**bits
    odd = [sum(row) % 2 for row in itertools.product((0, 1), repeat=bits)]
    assert task.targets[:, 0].tolist() == odd


@pytest.mark.parametrize("bits", [0, 1, 13, 999])
def test_parity_of_too_few_or_too_many_bits_is_refused(bits):
    with pytest.raises(InputError, match=f"task: parity of {bits} bits; allowed: 2 to 12 bits"):
        Task.named(f"parity-{bits}")


@pytest.mark.parametrize(
    "name", ["XOR", "xor ", 5, "parity", "parity-x", "moons", "", "parity-3333"]
)
def test_other_names_are_refused_with_what_there_is(name):
    with pytest.raises(InputError, match=r"task: unknown task .*; allowed: xor, parity-N.*; fix"):
        Task.named(name)


# --- a task from arrays --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[0.0]], [[1.0]], "inputs: 1 row; allowed: at least 2"),
        ([0.0, 1.0], [[1.0], [0.0]], "inputs: an array of shape (2,)"),
        ([[0], [1]], [1, 0], "targets: an array of shape (2,)"),
        ([["a"], ["b"]], [[1], [0]], "inputs: an array of shape (2, 1) and type <U1"),
        ([[0], [1]], [[1], [0], [1]], "targets: shapes (2, 1) and (3, 1) do not fit"),
        (np.empty((2, 0)), [[1], [0]], "targets: shapes (2, 0) and (2, 1) do not fit"),
        ([[0], [1]], [[1], [2]], "targets: 2 is no 0/1 target; allowed: 0 and 1"),
        ([[0], [1]], [[0.5], [1]], "targets: 0.5 is no 0/1 target"),
        ([[0], [1]], [[0], [1 - 1e-12]], "targets: 0.999999999999 is no 0/1 target"),
        ([[0], [1e300]], [[0], [1]], "inputs: a value that is missing or not finite"),
    ],
)
def test_arrays_that_make_no_task_are_refused(x, y, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Task("mine", np.asarray(x), np.asarray(y))


def test_held_out_rows_are_judged():
    task = Task("t", *XOR_ROWS, [[5, 5]], [[1]], accuracy=0.5)
    assert task.judged_inputs.tolist() == [[5, 5]]
    assert task.judged_targets.tolist() == [[1]]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[5]], [[1]], "held_out_inputs: 1 columns, the training rows have 2"),
        ([[5, 5]], [[3]], "held_out_targets: 3 is no 0/1 target"),
        (np.empty((0, 2)), np.empty((0, 1)), "held_out_inputs: 0 rows; allowed: at least 1"),
        ([[5, 5]], None, "held_out_targets: an array of shape ()"),
        (None, [[1]], "held_out_inputs: an array of shape ()"),
    ],
)
def test_held_out_rows_have_their_own_rules(x, y, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Task("t", *XOR_ROWS, x, y)


@pytest.mark.parametrize("accuracy", [0.0, -0.1, 1.01, float("nan")])
def test_an_accuracy_outside_its_range_is_refused(accuracy):
    with pytest.raises(InputError, match=r"accuracy: .* is out of range; allowed: above 0"):
        Task("t", *XOR_ROWS, [[5, 5]], [[1]], accuracy=accuracy)


@given(st.integers(1, 200), st.integers(1, 200))
@example(25, 7)  # 7 / 25 * 25 is above 7
def test_rows_needed_is_the_smallest_count_that_reaches_the_share(rows, share):
    accuracy = min(share, rows) / rows
    held_out = (np.zeros((rows, 2)), np.zeros((rows, 1)))
    task = Task("t", *XOR_ROWS, *held_out, accuracy=accuracy)
    assert task.rows_needed == min(share, rows)  # an exact share must not be rounded up


def test_the_fingerprint_is_of_everything_but_the_name():
    def make(name="t", x=((0, 0), (1, 1)), y=((0,), (1,)), hx=((2, 2),), hy=((1,),), accuracy=1.0):
        return Task(name, x, y, hx, hy, accuracy=accuracy).fingerprint

    same = make()
    assert {make(name="other"), make(accuracy=1), make(accuracy=np.float64(1.0))} == {same}
    others = [
        *(make(x=((0, 0), (1, 2))), make(y=((1,), (1,))), make(hx=((2, 3),)), make(hy=((0,),))),
        *(make(accuracy=0.5), make(hx=None, hy=None), make(x=((0,), (0,)), hx=((2,),))),
    ]
    assert len({same, *others}) == 1 + len(others)
    # Manifests hold them: they must not change between versions.
    assert Task.xor().fingerprint == "dde0164ffb119b65"
    assert Task.parity(3).fingerprint == "790abae42b8650af"


# --- a task from a file --------------------------------------------------------------------------


def test_the_last_column_is_the_target_unless_another_is_named(csv):
    path = csv("a,y,b\n1,0,0\n2,1,1\n3,1,0\n")
    assert Task.named(path).inputs.tolist() == [[1, 0], [2, 1], [3, 1]]
    task = Task.from_csv(path, target="y")
    assert task.inputs.tolist() == [[1, 0], [2, 1], [3, 0]]
    assert task.targets.tolist() == [[0], [1], [1]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_other_systems_are_read(csv, encoding, end):
    path = csv(end.join([' a , "b",y', "", "1.5,-2e1,0", '"3", 4 ,1', ""]), encoding=encoding)
    task = Task.from_csv(path)
    assert task.inputs.tolist() == [[1.5, -20], [3, 4]]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "{path}: no rows below a header; fix: add a header line and rows"),
        ("a,b,y\n", {}, "{path}: no rows below a header"),
        ("a,y\n1,0\n", {}, "{path}: inputs: 1 row; allowed: at least 2"),
        ("a,y\n1,0\n\n2,3\n", {}, "{path}:4: y: 3.0 is neither 0 nor 1; allowed: 0 and 1"),
        ("a,y\n1,0\n2,\n", {}, "{path}:3: y: a missing value; allowed: a finite number; fix"),
        ("a,y\n1,0\ntwo,1\n", {}, "{path}:3: a: 'two' is not a number; allowed: a finite number"),
        ("a,y\n1,0\n1_0,1\n", {}, "{path}:3: a: '1_0' is not a number"),
        ("a,y\n1,0\n١,1\n", {}, "{path}:3: a: '١' is not a number"),
        ("a,y\n1,0\nnan,1\n", {}, "{path}:3: a: 'nan' is not finite"),
        ("a,y\n1,0\n1e999,1\n", {}, "{path}:3: a: '1e999' is not finite"),
        ("a,y\n1,0\n1,2,3\n", {}, "{path}:3: 3 values for 2 columns"),
        ("a,y\n1\n1,0\n", {}, "{path}:2: 1 value for 2 columns"),
        ("a,a,y\n1,0,1\n1,0,1\n", {}, "{path}:1: a column name is empty or given twice"),
        ("y\n1\n0\n", {}, "{path}: no input column; fix: add a column beside the target"),
        ("a,y\n1,0\n2,1\n", {"target": "Y"}, "{path}: target: no column 'Y'; allowed: a, y; fix"),
        ("a,y\n1,0\n2,1\n", {"held_out": "test"}, "{path}: held_out: no column 'test'"),
        ("a,y\n1,0\n2,1\n", {"held_out": "y"}, "{path}: held_out: 'y' is the target as well"),
        ("a,y\n1,0\n2,1\n", {"accuracy": 0.9}, "{path}: accuracy: 0.9 without held-out rows"),
        ("a,y,t\n1,0,0\n2,1,0\n3,1,7\n", HELD, "{path}:4: t: 7.0 is neither 0 nor 1; allowed: 0"),
        ("a,y,t\n1,0,1\n2,1,1\n", HELD, "{path}: inputs: 0 rows; allowed: at least 2"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(csv, text, options, message):
    path = csv(text)
    with pytest.raises(InputError, match=f"^{re.escape(message.format(path=path))}"):
        Task.from_csv(path, **options)


def test_what_is_no_readable_file_is_refused(tmp_path, csv):
    with pytest.raises(InputError, match=r"absent\.csv: cannot be read \(No such file"):
        Task.from_csv(tmp_path / "absent.csv")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        Task.from_csv(tmp_path)
    with pytest.raises(InputError, match=r"latin\.csv: is not UTF-8 text .*; fix: save it as UTF"):
        Task.from_csv(csv("é,y\n1,0\n", "latin.csv", "latin-1"))
    with pytest.raises(InputError, match=r"wide\.csv: is not CSV text"):
        Task.from_csv(csv("a,y\n1,0\n" + "9" * 200_000 + ",1\n", "wide.csv"))


@pytest.mark.parametrize("constant", [0, 1])
def test_a_task_that_a_constant_solves_is_refused_where_it_is_trained(csv, make_config, constant):
    path = csv(f"a,b,y\n0,1,{constant}\n1,0,{constant}\n1,1,{constant}\n")
    words = f"moons.csv: targets: {constant} in all 3 rows, and a constant solves that"
    with pytest.raises(InputError, match=words):
        Task.from_csv(path)
    task = Task("mine", np.eye(3), np.full((3, 1), constant))
    with pytest.raises(InputError, match="a constant solves that"):
        xt.evaluate(make_config(), range(3), task=task)
    with pytest.raises(InputError, match="a constant solves that"):
        xt.gate(make_config(), min_rate=0.9, task=task)
    with pytest.raises(InputError, match="1 in all 2 rows"):
        Task.from_csv(csv("a,y,t\n0,1,0\n1,1,0\n1,0,1\n"), **HELD)
