"""Evaluations: one try at training a block, and the line of a journal that keeps it."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from xortune.core.audit import Audit
from xortune.core.errors import InputError
from xortune.core.numbers import Statistic, statistic_named
from xortune.core.outcome import (
    NO_DETAILS,
    Curves,
    Details,
    Outcome,
    Status,
    joined,
    valid_numbers,
)
from xortune.core.point import Point
from xortune.core.seeds import MAX_SEED
from xortune.core.trainer import AUDITED, Block, is_void

# -------------------------------------------------------------------------------------------------
# Limits of a line: a forged line must not exhaust the memory. Nothing is unpickled.

COMPRESSION = 1
"""zlib's fastest level."""

MAX_SEEDS, MAX_ROWS, MAX_EPOCHS = 2**26, 2**30, 2**40
"""Maximum per line: seeds, judged rows of all seeds together, epochs."""

MAX_TIME = 253_402_300_799
"""The last second of the year 9999, in seconds since 1970."""

MAX_DIFFERENCE = 1e12
"""Maximum difference of an audit; one that is not finite is written as this."""

MAX_NAMES, MAX_REASON = 64, 500
"""Maximum per line: names, of values and of curves; characters of a name, and of a reason."""

MAX_NUMBERS = 2**27
"""Maximum per line: seeds times names."""

MAX_POINTS = 2**27
"""Maximum per line: points of all curves together, some thirty of each of millions of seeds."""

MAX_IN_ACCOUNT = 10_000
"""Maximum number of an attempt in its account: one a day for 27 years."""

MAX_ATTEMPTS = 1000
"""Maximum number of an attempt of one run."""

Whole: TypeAlias = Annotated[int, Field(ge=0, le=2**53)]
Successes: TypeAlias = Annotated[int, Field(ge=0, le=2**32)]
Positive: TypeAlias = Annotated[int, Field(ge=1, le=2**32)]

Criterion: TypeAlias = Literal["own", "neighbourhood"]
"""The lower bound that orders finalists: each one's own, or the lowest around it."""


@dataclass(frozen=True)
class NumberAsked:
    """The statistic of a number that an attempt certifies in place of a success rate.

    Attributes:
        name: of the number with the ending of its statistic: `return_iqm`.
        maximize: whether more is better. A failed seed is worse than any number.
        failed: what a failed seed counts as instead.
        limits: what no seed's number can be below or above; None if that is not known.
        goal: what is to be proven, finalist after finalist: at least that, or with `maximize`
            False at most; None otherwise.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    name: str
    maximize: bool
    failed: float | None = None
    limits: tuple[float, float] | None = None
    goal: float | None = None

    @property
    def number(self) -> str:
        """The name of the number alone."""
        return self.name.rpartition("_")[0]

    @property
    def statistic(self) -> Statistic:
        """What sums up the seeds."""
        return statistic_named(self.name.rpartition("_")[2])

    @property
    def worst(self) -> float:
        """What a failed seed counts as, before limits are known."""
        if self.failed is not None:
            return self.failed
        return -math.inf if self.maximize else math.inf

    @property
    def side(self) -> str:
        """On which side of its bound the statistic lies, in words."""
        return "at least" if self.maximize else "at most"

    def numbers(self, outcome: Outcome | EncodedOutcome) -> NDArray[np.float64]:
        """float64, shape (S,): what each seed counts as."""
        known = self.known(outcome)
        return np.where(np.isnan(known), self.worst, known)

    def known(self, outcome: Outcome | EncodedOutcome) -> NDArray[np.float64]:
        """float64, shape (S,): the number of each seed; NaN where it failed."""
        return valid_numbers(outcome.details.values.get(self.number), outcome.status)


@dataclass(frozen=True)
class Purpose:
    """Why a certificate trained a block.

    Lines of a search have none. The certificate follows from these lines alone, and they never
    count among the search's results.

    Attributes:
        kind: `certify` for a finalist itself, `neighbourhood` for one with a setting moved.
        attempt: number of the attempt, from 1.
        finalist: key of the finalist.
        rank: place in the search's order, from 1.
        finalists: number of finalists of the attempt.
        seeds: planned for each configuration of the attempt.
        confidence: with which all bounds of all attempts hold together.
        extendable: whether seeds may be added to the attempt.
        search_k: seeds of the finalist solved in the search.
        search_n: its seeds in the search.
        moved: the parameter that is moved; None for the finalist itself.
        by: the bound that orders the finalists.
        neighbours: of all finalists of the attempt together; 0 if none are measured.
        first: first seed of the attempt; for a neighbour the first seed of all neighbours.
        min_rate: the rate that the attempt proves, finalist after finalist; None otherwise.
        asked: the statistic that is certified; None if it is the success rate.
        search_value: that statistic of the search's seeds; None if it is infinite.
        required: the rate that the search requires: finalists that are proven to reach it are
            first, in the search's order; None where none is required.
        spent: the attempt's number among all whose risks are added up, which says its share; the
            number of the attempt if None.
        account: of the project's ledger, in which these attempts are counted; None if they are
            those of the run alone.
        beside: the project's other accounts of the same training; None if there are none.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    kind: Literal["certify", "neighbourhood"]
    attempt: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)]
    finalist: str
    rank: Positive
    finalists: Positive
    seeds: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    extendable: bool
    search_k: Successes
    search_n: Positive
    moved: str | None
    by: Criterion
    neighbours: Successes
    first: Annotated[int, Field(ge=0, lt=2**32)] | None
    min_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    required: Annotated[float, Field(gt=0, lt=1)] | None = None
    spent: Annotated[int, Field(ge=1, le=MAX_IN_ACCOUNT)] | None = None
    account: str | None = None
    beside: tuple[str, ...] | None = None
    asked: NumberAsked | None = None
    search_value: float | None = None

    @property
    def is_sequence(self) -> bool:
        """Whether the attempt proves one claim, finalist after finalist."""
        return self.min_rate is not None or (self.asked is not None and self.asked.goal is not None)

    @property
    def number(self) -> int:
        """The number of the attempt among all whose risks are added up, from 1."""
        return self.attempt if self.spent is None else self.spent


@dataclass(frozen=True)
class SeedsToTrain:
    """The seeds that a config still has to be trained under.

    Attributes:
        seeds: ascending parts, empty if none is missing. Blocks train side by side, so an
            interrupted attempt may lack any of its seeds.
        proposal: the number of the search's proposal under which the journal lists it.
    """

    point: Point
    seeds: tuple[range, ...]
    proposal: int = 0
    purpose: Purpose | None = None

    @property
    def count(self) -> int:
        """The number of seeds."""
        return sum(map(len, self.seeds))


# -------------------------------------------------------------------------------------------------
# An evaluation and its line in the journal.
#
# A line is JSON. Its per-seed arrays are compressed into one field: as plain JSON the journal of a
# large sweep would take hundreds of megabytes.


@dataclass(frozen=True, slots=True)
class SeedArrays:
    """The results of S seeds as a journal has them, beneath compression and base64.

    Attributes:
        raw: little-endian arrays: the width M of the predictions (uint32), then status (uint8),
            solved_epoch (int32) and final_loss (float32), all of shape (S,), then the predictions,
            packed into whole bytes for each seed.
        count: S.
    """

    raw: bytes
    count: int

    @classmethod
    def of(cls, outcome: Outcome) -> SeedArrays:
        """The results of an outcome."""
        raw = (
            struct.pack("<I", outcome.predictions.shape[1])
            + np.asarray(outcome.status, "u1").tobytes()
            + np.asarray(outcome.solved_epoch, "<i4").tobytes()
            + np.asarray(outcome.final_loss, "<f4").tobytes()
            + np.packbits(outcome.predictions, axis=1).tobytes()
        )
        return cls(raw, outcome.n)

    @classmethod
    def crashed(cls, count: int) -> SeedArrays:
        """The results of seeds that all crashed."""
        nan = np.full(count, np.nan, "<f4").tobytes()
        return cls(bytes(4) + bytes([Status.CRASHED]) * count + bytes(4 * count) + nan, count)

    @property
    def width(self) -> int:
        """M."""
        return int.from_bytes(self.raw[:4], "little")

    @property
    def status(self) -> NDArray[np.uint8]:
        """uint8, shape (S,)."""
        return np.frombuffer(self.bytes_of("status"), "u1")

    @property
    def solved_epoch(self) -> NDArray[np.int32]:
        """int32, shape (S,)."""
        return np.frombuffer(self.bytes_of("solved_epoch"), "<i4")

    @property
    def final_loss(self) -> NDArray[np.float32]:
        """float32, shape (S,)."""
        return np.frombuffer(self.bytes_of("final_loss"), "<f4")

    def predictions(self, width: int) -> NDArray[np.bool_]:
        """bool, shape (S, `width`): all False if there are no predictions of so many rows."""
        if self.width != width or not width:
            return np.zeros((self.count, width), np.bool_)
        bits = np.frombuffer(self.bytes_of("predictions"), "u1").reshape(self.count, -1)
        return np.unpackbits(bits, axis=1, count=width).view(np.bool_)

    def bytes_of(self, array: SeedArray) -> bytes:
        """The bytes of one array."""
        begin, end = _BYTES[array]
        return self.raw[4 + begin * self.count : None if end is None else 4 + end * self.count]

    def counted(self, status: Status) -> int:
        """The number of seeds with a status."""
        return self.raw.count(status, 4, 4 + self.count)

    @property
    def epochs_solved(self) -> int:
        """The epochs until a seed was solved for good, summed over the solved seeds."""
        return int(self.solved_epoch[self.status == Status.SOLVED].sum(dtype=np.int64))


SeedArray: TypeAlias = Literal["status", "solved_epoch", "final_loss", "predictions"]

_BYTES: dict[SeedArray, tuple[int, int | None]] = {
    "status": (0, 1),
    "solved_epoch": (1, 5),
    "final_loss": (5, 9),
    "predictions": (9, None),
}
"""Where an array begins and ends in `SeedArrays.raw`, in bytes of a seed."""


@dataclass(frozen=True)
class EncodedOutcome:
    """A block's outcome in the journal's form: workers send it, and the driver writes it as it is.

    Attributes:
        successes: seeds solved.
        n: seeds.
        epochs: the budget.
        data: base64 of the compressed bytes of `SeedArrays`.
        details: as of the outcome.
    """

    successes: int
    n: int
    epochs: int
    data: str
    details: Details = NO_DETAILS

    @property
    def status(self) -> NDArray[np.uint8]:
        """uint8, shape (S,): see `Outcome`."""
        return _unpacked(self.data, self.n).status

    @property
    def epochs_spent(self) -> int:
        """See `Outcome`."""
        seeds = _unpacked(self.data, self.n)
        return seeds.epochs_solved + self.epochs * (self.n - self.successes)

    def decoded(self, block: Block) -> Outcome:
        """The outcome of the block; checkpoints are not kept."""
        seeds = _unpacked(self.data, self.n)
        return Outcome(
            np.arange(block.first, block.first + self.n, dtype=np.int64),
            self.epochs,
            seeds.status,
            seeds.solved_epoch,
            seeds.final_loss,
            seeds.predictions(seeds.width),
            details=self.details,
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One attempt to train a block: one line of the journal.

    Attributes:
        proposal: number of the proposal (trial) that the block belongs to, from 0.
        block: the point and its seeds.
        outcome: None if the attempt failed. Read from a journal it is an `Outcome`; on its way
            there it may be encoded.
        error: the reason why there is no outcome.
        final: False if the attempt failed and will be repeated; the repetition has its own line.
        seconds: training time.
        worker: where it was trained, as host:pid.
        purpose: why a certificate trained it; None for the search.
        fingerprint: of what trained it (engine, versions, task); the run's manifest holds the
            details. Each line of a search has one.
        at: when the line was written, in seconds since 1970 by the driver's clock, to a
            millisecond. No table or count depends on it.
        decision: number of the decision that asked for the block. A resumed race takes decisions
            from the journal; None: it makes this one again.
        audit: what an audit showed, of a line that says nothing else (`AUDITED`). That of an
            outcome is in its details.
    """

    proposal: int
    block: Block
    outcome: Outcome | EncodedOutcome | None
    error: str | None
    final: bool
    seconds: float
    worker: str
    purpose: Purpose | None = None
    fingerprint: str | None = None
    at: float | None = None
    decision: int | None = None
    audit: Audit | None = None


def encode_outcome(block: Block, outcome: Outcome) -> EncodedOutcome:
    """Encode the outcome of a block.

    Raises:
        InputError: its seeds are not the block's seeds in their order.
    """
    expected = np.arange(block.first, block.first + block.count, dtype=np.int64)
    if outcome.seeds.tobytes() != expected.tobytes():
        raise InputError(
            f"the outcome's {outcome.n} seeds are not those it was asked for",
            field="seeds",
            allowed=f"the {block.count} seeds from {block.first}, in this order",
        )
    seeds = SeedArrays.of(outcome)
    data, epochs = _packed(seeds.raw), int(outcome.epochs)
    return EncodedOutcome(seeds.counted(Status.SOLVED), block.count, epochs, data, outcome.details)


_Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON)]
_Reason: TypeAlias = Annotated[str, StringConstraints(max_length=MAX_REASON)]
_Seeds: TypeAlias = Annotated[list[int], Field(min_length=1)]
_Failed: TypeAlias = Annotated[dict[_Reason, _Seeds], Field(min_length=1)]
_Time: TypeAlias = Annotated[float, Field(ge=0, le=MAX_TIME)]
_Digest: TypeAlias = Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}$")]


@dataclass(frozen=True)
class _Named:
    """Arrays of numbers, packed: see `LineFields`."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    names: Annotated[list[_Name], Field(min_length=1, max_length=MAX_NAMES)]
    data: str


@dataclass(frozen=True, slots=True)
class LineFields:
    """The fields of a line, as it is written and read; without the optional ones that are None.

    Attributes:
        values: little-endian float64, shape (names, S).
        failed: the seeds by the reason why they failed.
        output: what failed seeds printed.
        curves: of P points the seeds (uint32, relative to the first of the line), the reports
            (uint32) and the values (float32, shape (P, names)), little endian.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    proposal: Whole
    key: str
    config: dict[str, Any]
    first: Annotated[int, Field(ge=0, le=MAX_SEED)]
    count: Annotated[int, Field(ge=1, le=MAX_SEEDS)]
    k: Whole | None
    n: Whole | None
    epochs: Annotated[int, Field(ge=0, le=MAX_EPOCHS)] | None
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    worker: str
    final: bool
    error: str | None
    seeds_data: str | None
    values: _Named | None = None
    failed: _Failed | None = None
    output: dict[int, str] | None = None
    curves: _Named | None = None
    audit: Audit | None = None
    pruned: dict[int, Positive] | None = None
    purpose: Purpose | None = None
    at: _Time | None = None
    made: _Digest | None = None
    decision: Whole | None = None


_LINE: TypeAdapter[LineFields] = TypeAdapter(LineFields)

_OPTIONAL = [one.name for one in dataclasses.fields(LineFields) if one.default is None]


def encode(evaluation: Evaluation, written: tuple[str, float] | None = None) -> str:
    """One JSON line, without the newline; `written` replaces its `fingerprint` and `at`."""
    block, outcome = evaluation.block, evaluation.outcome
    _check_outcome(outcome is not None, evaluation.error, final=evaluation.final)
    if block.count > MAX_SEEDS:
        raise InputError(f"{block.count:,} seeds", field="seeds", allowed=f"at most {MAX_SEEDS:,}")
    found: dict[str, Any] = dict.fromkeys(("k", "n", "epochs", "seeds_data"))
    if outcome is not None:
        packed = encode_outcome(block, outcome) if isinstance(outcome, Outcome) else outcome
        found = {"k": packed.successes, "n": packed.n, "epochs": packed.epochs}
        found |= {"seeds_data": packed.data} | _details_fields(packed.details, block.first)
    if evaluation.audit is not None:
        found["audit"] = _written(evaluation.audit)
    made, at = written or (evaluation.fingerprint, evaluation.at)
    line = LineFields(
        proposal=int(evaluation.proposal),
        key=block.point.key,
        config=block.point.as_dict(),
        first=block.first,
        count=block.count,
        seconds=max(0.0, float(evaluation.seconds)),  # a clock may be set back
        worker=evaluation.worker,
        final=evaluation.final,
        error=evaluation.error,
        purpose=evaluation.purpose,
        at=at,
        made=made,
        decision=evaluation.decision,
        **found,
    )
    absent = {name for name in _OPTIONAL if getattr(line, name) is None}
    try:
        text = _LINE.dump_json(line, exclude=absent)
    except PydanticSerializationError:  # a lone surrogate, such as of a file's name in an error
        values = _LINE.dump_python(line, exclude=absent)
        text = json.dumps(values, ensure_ascii=False, allow_nan=False).encode(errors="replace")
    # ASCII only, so that no line separator of any kind gets into a line.
    return text.decode() if text.isascii() else json.dumps(json.loads(text), separators=(",", ":"))


def _check_outcome(has: bool, error: str | None, *, final: bool) -> None:
    if has == (error is not None):
        allowed = "the reason where there is no outcome, none where there is one"
        raise InputError("an outcome and an error, or neither", field="error", allowed=allowed)
    if has and not final:
        raise InputError("an outcome is never retried", field="final")


def _details_fields(details: Details, first: int) -> dict[str, Any]:
    """The fields of a line that hold details; no empty ones."""
    fields: dict[str, Any] = {}
    if details.values:
        arrays = np.stack([np.asarray(a, "<f8") for a in details.values.values()])
        fields["values"] = _Named([*details.values], _packed(arrays.tobytes()))
    if details.failed:
        reasons: dict[str, list[int]] = {}
        for seed, reason in sorted(details.failed.items()):
            reasons.setdefault(reason[:MAX_REASON], []).append(int(seed))
        fields["failed"] = reasons
    if details.output:
        fields["output"] = dict(details.output)
    if details.curves:
        [curves] = details.curves  # a trained block has one
        points = curves.points()
        raw = (points.seed - first).astype("<u4").tobytes() + points.report.astype("<u4").tobytes()
        data = _packed(raw + points.values.astype("<f4").tobytes())
        fields["curves"] = _Named([*points.names], data)
    if details.audit is not None:
        fields["audit"] = _written(details.audit)
    if details.pruned:
        fields["pruned"] = dict(details.pruned)
    return fields


def _written(audit: Audit) -> Audit:
    largest = min(audit.largest, MAX_DIFFERENCE) if audit.largest >= 0 else MAX_DIFFERENCE
    return dataclasses.replace(audit, largest=float(largest), fault=audit.fault[:MAX_REASON])


def read_line(text: bytes) -> tuple[LineFields, Point, SeedArrays | None, Details]:
    """Parse and check a line.

    Returns:
        Its fields, the configuration, the results of its seeds (None without an outcome), and the
        details.
    """
    try:
        fields = _LINE.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise InputError(f"is not JSON ({first['msg']})") from None
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"is not an evaluation ({first['msg']})", field=place or None) from None
    point, last = Point(fields.config), fields.first + fields.count - 1
    if last > MAX_SEED:
        raise InputError(f"{last} is beyond the last seed", field="first")
    if point.key != fields.key:
        raise InputError(f"{fields.key!r} is not the config's key {point.key}", field="key")
    seeds, details = _seed_arrays(fields), _details(fields)
    if details is not NO_DETAILS and seeds is None:
        raise InputError("values of seeds without seeds_data", field="values")
    if seeds is None and (fields.audit is not None) != (fields.error == AUDITED):
        raise InputError("an audit without its reason, or the reason alone", field="audit")
    if (audit := fields.audit) is not None and (
        min(audit.stacked, audit.audited, audit.largest) < 0
        or audit.stacked + audit.audited > fields.count
    ):
        raise InputError("has other seeds than the line", field="audit")
    return fields, point, seeds, details


_STATUSES = bytes(Status)


def _seed_arrays(fields: LineFields) -> SeedArrays | None:
    """The results of a line's seeds; None without an outcome."""
    count, counts = fields.count, (fields.k, fields.n, fields.epochs)
    _check_outcome(fields.seeds_data is not None, fields.error, final=fields.final)
    if fields.seeds_data is None:
        if counts != (None, None, None):
            raise InputError("a count without seeds_data", field="k, n, epochs")
        return None
    seeds = _unpacked(fields.seeds_data, count)
    if unknown := seeds.bytes_of("status").translate(None, _STATUSES):
        raise InputError(f"unknown status {max(unknown)}", field="seeds_data")
    solved = seeds.counted(Status.SOLVED)
    if counts[:2] != (solved, count) or fields.epochs is None:
        raise InputError(f"{counts} contradict seeds_data: {solved}, {count}", field="k, n, epochs")
    return seeds


def _packed(raw: bytes) -> str:
    # A small window: setting up the default one of 32 kB takes longer than compressing.
    window = min(max(len(raw).bit_length(), 10), zlib.MAX_WBITS)
    packer = zlib.compressobj(COMPRESSION, zlib.DEFLATED, window, min(window - 5, 8))
    return base64.b64encode(packer.compress(raw) + packer.flush()).decode("ascii")


def _inflated(text: str, limit: int, field: str) -> bytes:
    """Decompress the output of `_packed`; longer than `limit` is refused before it fills memory."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(binascii.a2b_base64(text, strict_mode=True), limit + 1)
    except (zlib.error, ValueError) as error:
        raise InputError(f"is damaged ({error})", field=field) from None
    if len(raw) > limit or not unpacker.eof or unpacker.unused_data:
        raise InputError("is damaged (its length)", field=field)
    return raw


def _unpacked(text: str, count: int) -> SeedArrays:
    """The results in a line's field `seeds_data`."""
    raw = _inflated(text, 4 + 10 * count + MAX_ROWS // 8, "seeds_data")
    seeds = SeedArrays(raw, count)
    if len(raw) != 4 + count * (9 + (seeds.width + 7) // 8):
        raise InputError(f"does not hold {count} seeds", field="seeds_data")
    return seeds


def _details(fields: LineFields) -> Details:
    """Read what `_details_fields` wrote."""
    first, count = fields.first, fields.count
    reasons, output, pruned = fields.failed or {}, fields.output or {}, fields.pruned or {}
    pairs = [(seed, sys.intern(why)) for why, seeds in reasons.items() for seed in seeds]
    failed = dict(sorted(pairs))
    for name, seeds in (("failed", failed), ("output", output), ("pruned", pruned)):
        if any(not first <= seed < first + count for seed in seeds):
            raise InputError("has a seed that is not of the line", field=name)
    if len(failed) < len(pairs):
        raise InputError("has a seed twice", field="failed")
    audit = None if fields.seeds_data is None else fields.audit
    if not (failed or output or pruned or fields.values or fields.curves or audit):
        return NO_DETAILS
    return Details(
        {} if fields.values is None else _values(fields.values, count),
        failed,
        output=output,
        curves=() if fields.curves is None else (_curves(fields.curves, first, count),),
        audit=audit,
        pruned=pruned,
    )


def _values(given: _Named, count: int) -> dict[str, NDArray[np.float64]]:
    names, size = given.names, len(given.names) * count
    if len(set(names)) < len(names) or size > MAX_NUMBERS:
        raise InputError(f"has a name twice, or too many numbers ({size:,})", field="values")
    raw = _inflated(given.data, 8 * size, "values")
    if len(raw) != 8 * size:
        raise InputError(f"does not hold {count} seeds", field="values")
    rows = np.frombuffer(raw, "<f8").reshape(len(names), count)
    return dict(zip(map(sys.intern, names), rows.astype(np.float64, copy=False), strict=True))


@dataclass(frozen=True)
class _StoredCurves:
    """Curves of a line, kept compressed: most are never looked at."""

    names: tuple[str, ...]
    packed: str
    first: int

    def points(self) -> Curves:
        width = len(self.names)
        raw = _inflated(self.packed, MAX_POINTS * (8 + 4 * width), "curves")
        size = len(raw) // (8 + 4 * width)
        seed, report = np.frombuffer(raw, "<u4", 2 * size).reshape(2, size).astype(np.int64)
        values = np.frombuffer(raw, "<f4", size * width, 8 * size).reshape(size, width)
        return Curves(self.names, seed + self.first, report, values)


def _curves(given: _Named, first: int, count: int) -> _StoredCurves:
    names = tuple(map(sys.intern, given.names))
    size = 8 + 4 * len(names)
    raw = _inflated(given.data, MAX_POINTS * size, "curves")
    seeds = np.frombuffer(raw, "<u4", len(raw) // size) if len(raw) % size == 0 else np.empty(0)
    if not seeds.size or seeds.max() >= count or len(set(names)) < len(names):
        raise InputError("is damaged", field="curves", allowed="points of the line's seeds")
    return _StoredCurves(names, given.data, first)


# -------------------------------------------------------------------------------------------------
# All lines of a journal in memory: numbers in columns, the arrays of seeds as they are in the file.
# An object of one line is made on demand.

_TIMES = ("seconds", "at")

COLUMNS = np.dtype(
    [
        (name, "f8" if name in _TIMES else "i8")
        for name in (
            *("config", "proposal", "decision", "first", "count", "epochs", "seconds", "worker"),
            *("final", "outcome", "at", "fingerprint", "width", "epochs_solved"),
            *(status.label for status in Status),
        )
    ]
)
"""The numbers of a line, -1 for none.

`config` is an index into `JournalLines.points`; `worker` and `fingerprint` are indices into
`names`. `final`, `outcome`: whether it is one, whether there is one. `width`: of the predictions.
`epochs_solved`: the epochs until a seed was solved for good, summed over the solved seeds. The last
ones count the line's seeds by their status: all seeds of a line without an outcome count as
crashed.
"""


class JournalLines:
    """All lines of a journal; lines may be appended.

    Attributes:
        points: the configurations, in the order of their first lines.
        keys: of these.
        names: workers and fingerprints, each once.
        errors: by line, why it has no outcome.
        purposes: by line, for lines of certificates.
        details: by line, for outcomes that have any.
        audits: by line, for lines that say only what an audit showed.
    """

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.keys: list[str] = []
        self.names: list[str] = []
        self.errors: dict[int, str] = {}
        self.purposes: dict[int, Purpose] = {}
        self.details: dict[int, Details] = {}
        self.audits: dict[int, Audit] = {}
        self._stacked: dict[int, int] = {}  # the first line of a version that counts and is stacked
        self._replaced: list[tuple[int, int]] = []  # see `standing`
        self._places: dict[str, int] = {}  # of the keys
        self._codes: dict[str, int] = {}  # of the names
        self._seeds: list[bytes | None] = []  # `SeedArrays.raw` of each line with an outcome
        self._table = np.zeros(16, COLUMNS)  # with room for more lines

    def __len__(self) -> int:
        return len(self._seeds)

    def append(self, text: bytes) -> None:
        """Append a line of a journal.

        Raises:
            InputError: it is not a line that `encode` writes.
        """
        fields, point, seeds, details = read_line(text)
        line = len(self)
        numbers = {
            "config": self._config(point),
            "proposal": fields.proposal,
            "decision": -1 if fields.decision is None else fields.decision,
            "first": fields.first,
            "count": fields.count,
            "epochs": -1 if fields.epochs is None else fields.epochs,
            "seconds": fields.seconds,
            "worker": self._code(fields.worker),
            "final": fields.final,
            "outcome": seeds is not None,
            "at": -1.0 if fields.at is None else fields.at,
            "fingerprint": -1 if fields.made is None else self._code(fields.made),
            "width": 0 if seeds is None else seeds.width,
            "epochs_solved": 0 if seeds is None else seeds.epochs_solved,
            Status.CRASHED.label: fields.count,
        }
        if seeds is not None:
            numbers |= {status.label: seeds.counted(status) for status in Status}
        if line == len(self._table):
            self._table = np.resize(self._table, 2 * line)
        row = self._table[line]
        for name in COLUMNS.names or ():
            row[name] = numbers.get(name, 0)
        self._seeds.append(None if seeds is None else seeds.raw)
        if fields.error is not None:
            self.errors[line] = sys.intern(fields.error)
        if fields.purpose is not None:
            self.purposes[line] = fields.purpose
        if details is not NO_DETAILS:
            self.details[line] = details
        if fields.audit is not None:
            self._note(line, fields.audit, is_line=seeds is None)

    def _note(self, line: int, audit: Audit, *, is_line: bool) -> None:
        """Note the audit of the last line, which may say nothing else."""
        made = int(self.column("fingerprint")[line])
        if is_line:
            self.audits[line] = audit
            if audit.fault and made in self._stacked:
                self._replaced.append((self._stacked.pop(made), line))
        elif audit.stacked:
            self._stacked.setdefault(made, line)

    def _kept(self) -> NDArray[np.bool_]:
        """bool, shape (L,): the lines that are not replaced."""
        kept = np.ones(len(self), np.bool_)
        for begin, end in self._replaced:
            made = self.column("fingerprint")
            kept[begin:end] &= made[begin:end] != made[end]
        return kept

    @property
    def standing(self) -> NDArray[np.int64]:
        """The lines that count: all but those that an audit has replaced, and those of audits.

        A line of an audit with a fault says that results of stacks were wrong. What the same
        version wrote from its first stacked seed up to there is replaced: also seeds that trained
        alone, because decisions that used wrong results asked for them.
        """
        if not self.audits:
            return np.arange(len(self))
        kept = self._kept()
        kept[list(self.audits)] = False
        return np.flatnonzero(kept)

    @property
    def replaced(self) -> NDArray[np.int64]:
        """The lines that an audit has replaced."""
        return np.flatnonzero(~self._kept()) if self._replaced else np.arange(0)

    def audit(self, fingerprint: str | None = None) -> Audit | None:
        """What audits showed of the seeds that count; None if no trainer stacks seeds.

        `fingerprint` names the version that trained them; None: all.
        """
        kept, found = self._kept() if self.audits else None, None
        made = None if fingerprint is None else self._codes.get(fingerprint, -1)
        rows = [(line, one.audit) for line, one in self.details.items() if one.audit is not None]
        for line, one in (*rows, *self.audits.items()):
            if made is not None and self.column("fingerprint")[line] != made:
                continue
            if kept is None or kept[line]:
                # The line of an audit is about seeds that their own line counts as stacked.
                less = -one.audited if line in self.audits else one.stacked
                more = dataclasses.replace(one, stacked=less)
                found = more if found is None else found + more
        return found

    def _config(self, point: Point) -> int:
        """The index of a configuration in `points`."""
        config = self._places.setdefault(point.key, len(self.points))
        if config == len(self.points):
            self.points.append(point)
            self.keys.append(point.key)
        return config

    def _code(self, name: str) -> int:
        """The index of a worker or a fingerprint in `names`."""
        code = self._codes.setdefault(name, len(self.names))
        if code == len(self.names):
            self.names.append(name)
        return code

    def column(self, name: str) -> NDArray[Any]:
        """One of `COLUMNS` of all L lines, shape (L,)."""
        return self._table[name][: len(self)]

    def seeds(self, line: int) -> SeedArrays:
        """The results of a line's seeds; those of a line without an outcome have crashed."""
        raw, count = self._seeds[line], int(self.column("count")[line])
        return SeedArrays.crashed(count) if raw is None else SeedArrays(raw, count)

    def parameters(self, configs: NDArray[np.int64]) -> list[str]:
        """The parameters of some configurations, in the order in which points have them."""
        names: list[str] = []
        for parameters in dict.fromkeys(tuple(self.points[config]) for config in configs.tolist()):
            place = 0
            for name in parameters:
                if name not in names:  # insert it after its predecessor in the point
                    names.insert(place, name)
                place = names.index(name) + 1
        return names

    def evaluation(self, line: int) -> Evaluation:
        """The line as an object."""
        row = {name: self._table[line][name].item() for name in COLUMNS.names or ()}
        made, at, decision = row["fingerprint"], row["at"], row["decision"]
        return Evaluation(
            proposal=row["proposal"],
            block=Block(self.points[row["config"]], row["first"], row["count"]),
            outcome=self.outcome([line], row["epochs"]) if row["outcome"] else None,
            error=self.errors.get(line),
            final=bool(row["final"]),
            seconds=row["seconds"],
            worker=self.names[row["worker"]],
            purpose=self.purposes.get(line),
            fingerprint=None if made < 0 else self.names[made],
            at=None if at < 0 else at,
            decision=None if decision < 0 else decision,
            audit=self.audits.get(line),
        )

    def outcome(self, lines: Sequence[int], epochs: int, *, reasons: bool = False) -> Outcome:
        """Lines of one configuration as one outcome; seeds of a line without one have crashed.

        Args:
            lines: in the order of their seeds.
            epochs: the budget.
            reasons: whether seeds of a line without an outcome get its error as their reason.
        """
        parts = [self.seeds(line) for line in lines]
        blocks = zip(self.column("first")[lines].tolist(), parts, strict=True)
        width = max(part.width for part in parts)
        arrays = {
            "seeds": [np.arange(first, first + part.count) for first, part in blocks],
            "status": [part.status for part in parts],
            "solved_epoch": [part.solved_epoch for part in parts],
            "final_loss": [part.final_loss for part in parts],
            "predictions": [part.predictions(width) for part in parts],
        }
        n, details = parts[0].count, self._details(lines[0], reasons=reasons)
        for line, part in zip(lines[1:], parts[1:], strict=True):
            details = joined(details, n, self._details(line, reasons=reasons), part.count)
            n += part.count
        whole = {name: np.concatenate(one) for name, one in arrays.items()}
        return Outcome.unchecked(whole, epochs, details=details)

    def _details(self, line: int, *, reasons: bool) -> Details:
        if reasons and self._seeds[line] is None:
            first, count = (int(self.column(name)[line]) for name in ("first", "count"))
            return Details(failed=dict.fromkeys(range(first, first + count), self.errors[line]))
        return self.details.get(line, NO_DETAILS)

    def numbers(self, line: int, name: str) -> NDArray[np.float64]:
        """float64, shape (S,): a number of each of a line's seeds; NaN where it failed."""
        values = self.details.get(line, NO_DETAILS).values.get(name)
        return valid_numbers(values, self.seeds(line).status)


class Evaluations(Sequence[Evaluation]):
    """Some of a journal's lines. An object of one line is made on demand, and not kept.

    Attributes:
        lines: all lines of the journal.
        places: int64, shape (E,): indices of the chosen lines; by default all that count.
    """

    def __init__(self, lines: JournalLines, places: NDArray[np.int64] | None = None) -> None:
        self.lines = lines
        self.places = lines.standing if places is None else places

    @classmethod
    def of(cls, evaluations: Iterable[Evaluation]) -> Evaluations:
        """Encode objects into columns."""
        if isinstance(evaluations, Evaluations):
            return evaluations
        lines = JournalLines()
        for evaluation in evaluations:
            lines.append(encode(evaluation).encode("ascii"))
        return cls(lines)

    def split(self) -> tuple[Evaluations, Evaluations]:
        """The lines of the search, and those of certificates."""
        search = np.ones(len(self.lines), np.bool_)
        search[list(self.lines.purposes)] = False
        chosen = search[self.places]
        return self.where(chosen), self.where(~chosen)

    def column(self, name: str) -> NDArray[Any]:
        """Shape (E,): one of `COLUMNS`, int64, but for `seconds` and `at`."""
        return self.lines.column(name)[self.places]

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Evaluations:
        """The lines where `chosen` (shape (E,)) is true, or at these places, in their order."""
        return Evaluations(self.lines, self.places[chosen])

    def of_keys(self, keys: Iterable[str]) -> Evaluations:
        """The lines of some configurations."""
        chosen = set(keys)
        known = np.array([key in chosen for key in self.lines.keys], np.bool_)
        return self.where(known[self.column("config")]) if len(self) else self

    def with_error(self, error: str) -> Evaluations:
        """The lines without an outcome for this reason."""
        lines = [line for line, why in self.lines.errors.items() if why == error]
        return self.where(np.isin(self.places, lines))

    @property
    def untried(self) -> Evaluations:
        """The lines of seeds that could not be tried, also of those that have a result since."""
        lines = [line for line, why in self.lines.errors.items() if is_void(why)]
        return self.where(np.isin(self.places, lines))

    @property
    def void(self) -> Evaluations:
        """The seeds that could not be tried, each once; those that have a result since are none."""
        void = self.untried
        configs = void.column("config")
        same = self.where(np.isin(self.column("config"), configs) & (self.column("outcome") > 0))
        columns = (same.column(name).tolist() for name in ("config", "first", "count"))
        tried = {
            (config, seed)
            for config, first, count in zip(*columns, strict=True)
            for seed in range(first, first + count)
        }
        seeds = zip(configs.tolist(), void.column("first").tolist(), strict=True)
        last = {seed: place for place, seed in enumerate(seeds) if seed not in tried}
        kept = np.zeros(len(void), np.bool_)
        kept[[*last.values()]] = True
        return void.where(kept)

    @property
    def failed(self) -> Evaluations:
        """The lines without an outcome that are not repeated."""
        return self.where((self.column("outcome") == 0) & (self.column("final") > 0))

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the configurations, each once, in the order of their first lines."""
        return tuple(self.lines.keys[c] for c in dict.fromkeys(self.column("config").tolist()))

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, place: int) -> Evaluation: ...
    @overload
    def __getitem__(self, place: slice) -> Evaluations: ...
    def __getitem__(self, place: int | slice) -> Evaluation | Evaluations:
        if isinstance(place, slice):
            return self.where(place)
        return self.lines.evaluation(int(self.places[place]))

    def __iter__(self) -> Iterator[Evaluation]:
        return map(self.lines.evaluation, self.places.tolist())


def decode(line: str) -> Evaluation:
    """The evaluation that `encode` wrote; checkpoints of an outcome are not kept."""
    lines = JournalLines()
    lines.append(line.encode())
    return lines.evaluation(0)
