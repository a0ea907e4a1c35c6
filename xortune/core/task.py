"""Task: the table that a network learns, built in or from a CSV file, and the rule for solved."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, nearest, refuse_unknown
from xortune.core.tables import csv_rows, number_of


def read_numbers(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray[np.float64]], Sequence[int]]:
    """A CSV file of numbers with a header.

    Returns:
        The columns by name, each float64 of shape (rows,), and each row's line in the file.
    """
    (_, header), *rows = csv_rows(path)
    table = np.empty((len(rows), len(header)))
    for at, (line, row) in enumerate(rows):
        for column, (name, text) in enumerate(zip(header, row, strict=True)):
            number = number_of(text)
            if number is None or not math.isfinite(number):
                problem, fix = f"{text!r} is not {'a number' if number is None else 'finite'}", None
                if not text:
                    problem, fix = "a missing value", "fill it in or drop the row"
                place = f"{os.fspath(path)}:{line}: {name}"
                raise InputError(problem, place=place, allowed="a finite number", fix=fix)
            table[at, column] = number
    columns = dict(zip(header, table.T, strict=True))
    return columns, [line for line, _ in rows]


Float32: TypeAlias = NDArray[np.float32]

MAX_PARITY = 12  # bits: 4,096 rows


@dataclass(frozen=True, eq=False)
class Task:
    """A table of inputs with a 0/1 target, and the rule by which a trained network is judged.

    A seed solves the task when every judged row is on the right side of 0.5 (strictly above it for
    a 1). The judged rows are the training rows. With held-out rows, those are judged instead, and
    the share of right rows has to reach `accuracy`.

    Attributes:
        name: for reports.
        inputs: float32, shape (N, D): the training rows, in the units of the source.
        targets: float32, shape (N, 1): 0.0 or 1.0.
        held_out_inputs: float32, shape (M, D): rows that are only judged, or None.
        held_out_targets: float32, shape (M, 1), or None.
        accuracy: the share of judged rows that must be right, in (0, 1]; 1.0 without held-out rows.

    Raises:
        InputError: shapes do not fit, there are fewer than two rows, a target is neither 0 nor 1,
            or an input is not finite.
    """

    name: str
    inputs: Float32
    targets: Float32
    held_out_inputs: Float32 | None = None
    held_out_targets: Float32 | None = None
    accuracy: float = 1.0

    def __repr__(self) -> str:
        rows, inputs = self.inputs.shape
        held = self.held_out_inputs
        more = "" if held is None else f", {held.shape[0]:,} held out"
        return f"Task({self.name!r}, {rows:,} rows of {inputs:,} inputs{more})"

    def __post_init__(self) -> None:
        pairs = [("inputs", "targets", 2)]
        if self.held_out_inputs is not None or self.held_out_targets is not None:
            pairs.append(("held_out_inputs", "held_out_targets", 1))
        elif self.accuracy != 1.0:
            problem, allowed = "without held-out rows", "1.0 when every training row is judged"
            fix = "name the column that marks held-out rows, or leave accuracy out"
            raise _refused("accuracy", f"{self.accuracy} {problem}", allowed, fix)
        if not 0 < self.accuracy <= 1:
            raise _refused("accuracy", f"{self.accuracy} is out of range", "above 0, at most 1")
        for x_name, y_name, rows in pairs:
            x, y = _table(x_name, getattr(self, x_name)), _table(y_name, getattr(self, y_name))
            if x.shape[0] < rows:
                problem, fix = f"{x.shape[0]} row", "add rows; one row is solved by a constant"
                problem += "s"[: x.shape[0] != 1]
                raise _refused(x_name, problem, f"at least {rows}", fix)
            if y.shape != (x.shape[0], 1) or x.shape[1] < 1:
                allowed = "inputs (N, D) with D >= 1 and targets (N, 1)"
                raise _refused(y_name, f"shapes {x.shape} and {y.shape} do not fit", allowed)
            given = np.asarray(getattr(self, y_name))  # before float32 rounds 0.99999999 to 1
            wrong = ~np.isin(given, (0, 1))
            if wrong.any():
                raise _refused(y_name, f"{given[wrong][0]} is no 0/1 target", "0 and 1")
            object.__setattr__(self, x_name, x)
            object.__setattr__(self, y_name, y)
        if self.held_out_inputs is not None and self.held_out_inputs.shape[1] != self.dim:
            problem = f"{self.held_out_inputs.shape[1]} columns, the training rows have {self.dim}"
            raise _refused("held_out_inputs", problem)

    @property
    def dim(self) -> int:
        """Inputs per row, D."""
        return int(self.inputs.shape[1])

    @property
    def judged_inputs(self) -> Float32:
        """float32, shape (M, D): the rows that decide whether a seed solves the task."""
        return self.inputs if self.held_out_inputs is None else self.held_out_inputs

    @property
    def judged_targets(self) -> Float32:
        """float32, shape (M, 1): the targets of the judged rows."""
        return self.targets if self.held_out_targets is None else self.held_out_targets

    @cached_property
    def rows_needed(self) -> int:
        """The smallest number of right judged rows whose share reaches `accuracy`."""
        total = self.judged_targets.shape[0]
        counts = np.arange(total + 1)
        return int(counts[counts >= self.accuracy * total - 1e-9][0])

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of everything but the name, the same for equal tasks."""
        digest = hashlib.sha256(repr((self.inputs.shape, float(self.accuracy))).encode())
        for part in (self.inputs, self.targets, self.held_out_inputs, self.held_out_targets):
            digest.update(b"|" if part is None else part.astype("<f4").tobytes())
        return digest.hexdigest()[:16]

    @classmethod
    def xor(cls) -> Task:
        """The four rows of exclusive or, in the order of the truth table."""
        return cls.parity(2, name="xor")

    @classmethod
    def parity(cls, bits: int, *, name: str | None = None) -> Task:
        """All 2**bits rows of `bits` inputs; the target is 1 where an odd number of inputs is 1.

        Raises:
            InputError: bits outside [2, 12].
        """
        if not isinstance(bits, int | np.integer) or not 2 <= bits <= MAX_PARITY:
            raise _refused("task", f"parity of {bits} bits", f"2 to {MAX_PARITY} bits")
        inputs = np.array(list(itertools.product((0.0, 1.0), repeat=bits)), dtype=np.float32)
        targets = (inputs.sum(axis=1, keepdims=True) % 2).astype(np.float32)
        return cls(name or f"parity-{bits}", inputs, targets)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        target: str | None = None,
        held_out: str | None = None,
        accuracy: float = 1.0,
    ) -> Task:
        """A task from a CSV file with a header; all columns but the named ones are inputs.

        Args:
            path: of the file.
            target: the column of the 0/1 target; the last one by default.
            held_out: a 0/1 column that marks rows to judge instead of training on them.
            accuracy: with `held_out`, the share of those rows that must be right.

        Raises:
            InputError: the file cannot be read, a column is unknown, a value is missing or no
                number, or `Task` refuses the table.
        """
        columns, lines = read_numbers(path)
        names = list(columns)
        target = names[-1] if target is None else target
        for field, name in (("target", target), ("held_out", held_out)):
            if name is None:
                continue
            problem = f"no column {name!r}"
            refuse_unknown(name, names, problem, field=field, place=f"{path}: {field}")
            wrong = np.flatnonzero(~np.isin(columns[name], (0.0, 1.0)))
            if wrong.size:
                raise InputError(
                    f"{float(columns[name][wrong[0]])!r} is neither 0 nor 1",
                    field=field,
                    place=f"{path}:{lines[wrong[0]]}: {name}",
                    allowed="0 and 1",
                    fix=f"name another column as {field}, or correct the value",
                )
        if target == held_out:
            raise InputError(
                f"{target!r} is the target as well",
                field="held_out",
                place=f"{path}: held_out",
                fix="mark the held-out rows in a column of their own",
            )
        inputs = [columns[name] for name in names if name not in (target, held_out)]
        if not inputs:
            raise InputError(
                "no input column", place=str(path), fix="add a column beside the target"
            )
        try:
            x = _table("inputs", np.stack(inputs, axis=1))
            y = _table("targets", columns[target][:, None])
            if held_out is None:
                task = cls(Path(path).stem, x, y, accuracy=accuracy)
            else:
                judged = columns[held_out] == 1.0
                rows = x[~judged], y[~judged], x[judged], y[judged]
                task = cls(Path(path).stem, *rows, accuracy)
            task.refuse_constant()
        except InputError as error:
            raise error.at(f"{path}: {error.field}") from None
        return task

    def refuse_constant(self) -> None:
        """Refuse a task that a constant output solves.

        Raises:
            InputError: all training rows have the same target.
        """
        found = np.unique(self.targets)
        if found.size == 1:
            rows, allowed = len(self.targets), "both 0 and 1 among the rows that are trained on"
            problem = f"{found[0]:g} in all {rows:,} rows, and a constant solves that"
            fix = "name another column as target, or add rows of the other kind"
            raise _refused("targets", problem, allowed, fix)

    @classmethod
    def named(cls, name: TaskSpec) -> Task:
        """The task `xor`, `parity-N`, or of a CSV file whose last column is the target.

        A task is returned as it is.

        Raises:
            InputError: any other name, or a constant solves the task, or `from_csv` refuses the
                file.
        """
        if isinstance(name, Task):
            name.refuse_constant()
            return name
        text = str(name)  # of a path too
        if text == "xor":
            return cls.xor()
        if match := re.fullmatch(r"parity-?(\d{1,3})", text):
            return cls.parity(int(match[1]))
        if text.endswith(".csv"):
            return cls.from_csv(text)
        allowed = "xor, parity-N (N bits), or a path that ends in .csv"
        fix = nearest(text, ("xor", "parity-3"))
        raise _refused("task", f"unknown task {text!r}", allowed, fix)


TaskSpec: TypeAlias = str | Task
"""A task as users give it: a name for `Task.named`, or a Task."""


def _refused(
    field: str, problem: str, allowed: str | None = None, fix: str | None = None
) -> InputError:
    return InputError(problem, field=field, allowed=allowed, fix=fix)


def _table(field: str, value: object) -> Float32:
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        problem = f"an array of shape {array.shape} and type {array.dtype}"
        raise _refused(field, problem, "a two-dimensional array of numbers")
    with np.errstate(over="ignore"):  # overflow gives inf, which is refused below
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise _refused(field, "a value that is missing or not finite")
    array.flags.writeable = False
    return array
