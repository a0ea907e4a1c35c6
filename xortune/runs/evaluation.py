"""Evaluations: one try at training a block, and the line of a journal that keeps it."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import json
import struct
import sys
import zlib
from array import array
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, PydanticSerializationError, to_json

from xortune.core.errors import InputError
from xortune.core.outcome import (
    NO_DETAILS,
    Curves,
    Details,
    Outcome,
    Status,
    joined,
    valid_numbers,
)
from xortune.core.point import Point, Value
from xortune.core.seeds import MAX_SEED
from xortune.core.trainer import Block, is_void

# -------------------------------------------------------------------------------------------------
# Limits of a line: a forged line must not exhaust the memory. Nothing is unpickled.

COMPRESSION = 1
"""zlib's fastest level."""

MAX_SEEDS, MAX_ROWS, MAX_EPOCHS = 2**26, 2**30, 2**40
"""Maximum per line: seeds, judged rows of all seeds together, epochs."""

MAX_TIME = 253_402_300_799
"""The last second of the year 9999, in seconds since 1970."""

MAX_NAMES, MAX_REASON = 64, 500
"""Maximum per line: names, of values and of curves; characters of a name, and of a reason."""

MAX_NUMBERS, MAX_OUTPUT = 2**27, 2**20
"""Maximum per line: seeds times names; bytes of the output of failed seeds."""

MAX_POINTS = 2**22
"""Maximum per line: points of all curves together."""

MAX_IN_ACCOUNT = 10_000
"""Maximum number of an attempt in its account: one a day for 27 years."""

MAX_ATTEMPTS = 1000
"""Maximum number of an attempt of one run."""

Whole: TypeAlias = Annotated[int, Field(ge=0, le=2**53)]
Successes: TypeAlias = Annotated[int, Field(ge=0, le=2**32)]
Positive: TypeAlias = Annotated[int, Field(ge=1, le=2**32)]

Criterion: TypeAlias = Literal["own", "neighbourhood"]
"""The lower bound that orders finalists: each one's own, or the lowest around it."""


class _NotNull:
    """An optional field: it may be absent, but is never null."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        nullable: Any = handler(source)
        schema: CoreSchema = nullable["schema"]
        return schema


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
        required: the rate that the search requires: finalists that are proven to reach it are
            first, in the search's order; None where none is required.
        spent: the attempt's number among all whose risks are added up, which says its share; the
            number of the attempt if None.
        account: of the ledger beside the run, in which these attempts are counted; None if they are
            those of the run alone.
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
    min_rate: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, _NotNull] = None
    required: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, _NotNull] = None
    spent: Annotated[Annotated[int, Field(ge=1, le=MAX_IN_ACCOUNT)] | None, _NotNull] = None
    account: Annotated[str | None, _NotNull] = None

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


@dataclass(frozen=True)
class EncodedOutcome:
    """A block's outcome in the journal's form: workers send it, and the driver writes it as it is.

    Attributes:
        successes: seeds solved.
        n: seeds.
        epochs: the budget.
        data: base64 of compressed little-endian arrays: the width M of the predictions (uint32),
            then status (uint8), solved_epoch (int32) and final_loss (float32), all of shape (S,),
            then the predictions, packed into whole bytes for each seed.
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
        return np.frombuffer(_unpacked(self.data, self.n)[1], "u1", self.n)

    @property
    def epochs_spent(self) -> int:
        """See `Outcome`."""
        raw = _unpacked(self.data, self.n)[1]
        status, epochs = np.frombuffer(raw, "u1", self.n), np.frombuffer(raw, "<i4", self.n, self.n)
        return int(np.where(status == Status.SOLVED, epochs, self.epochs).sum())


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
        at: when the line was written, in whole seconds since 1970 by the driver's clock. No table
            or count depends on it.
        decision: number of the decision that asked for the block. A resumed race takes decisions
            from the journal; None: it makes this one again.
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
    at: int | None = None
    decision: int | None = None


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
    raw = (
        struct.pack("<I", outcome.predictions.shape[1])
        + np.asarray(outcome.status, "u1").tobytes()
        + np.asarray(outcome.solved_epoch, "<i4").tobytes()
        + np.asarray(outcome.final_loss, "<f4").tobytes()
        + np.packbits(outcome.predictions, axis=1).tobytes()
    )
    solved = raw.count(Status.SOLVED, 4, 4 + block.count)
    return EncodedOutcome(solved, block.count, int(outcome.epochs), _packed(raw), outcome.details)


def encode(evaluation: Evaluation, written: tuple[str, int] | None = None) -> str:
    """One JSON line, without the newline; `written` replaces its `fingerprint` and `at`."""
    block, outcome = evaluation.block, evaluation.outcome
    _check_outcome(outcome is not None, evaluation.error, final=evaluation.final)
    if block.count > MAX_SEEDS:
        raise InputError(f"{block.count:,} seeds", field="seeds", allowed=f"at most {MAX_SEEDS:,}")
    if isinstance(outcome, Outcome):
        outcome = encode_outcome(block, outcome)
    line = {
        "proposal": int(evaluation.proposal),
        "key": block.point.key,
        "config": block.point.as_dict(),
        "first": block.first,
        "count": block.count,
        "k": None if outcome is None else outcome.successes,
        "n": None if outcome is None else outcome.n,
        "epochs": None if outcome is None else outcome.epochs,
        "seconds": max(0.0, float(evaluation.seconds)),  # a clock may be set back
        "worker": evaluation.worker,
        "final": evaluation.final,
        "error": evaluation.error,
        "seeds_data": None if outcome is None else outcome.data,
    }
    if outcome is not None and outcome.details is not NO_DETAILS:
        line |= _details_fields(outcome.details, block.first)
    if evaluation.purpose is not None:
        purpose = dataclasses.asdict(evaluation.purpose)
        for name in ("min_rate", "required", "spent", "account"):
            if purpose[name] is None:
                del purpose[name]
        line["purpose"] = purpose
    fingerprint, at = written or (evaluation.fingerprint, evaluation.at)
    if at is not None:
        line["at"] = at
    if fingerprint is not None:
        line["made"] = fingerprint
    if evaluation.decision is not None:
        line["decision"] = evaluation.decision
    # ASCII only, so that no line separator of any kind gets into a line. pydantic is five times as
    # fast as json, but refuses lone surrogates and does not escape other characters.
    try:
        text = to_json(line)
    except PydanticSerializationError:
        return _JSON.encode(line)
    return text.decode() if text.isascii() else _JSON.encode(line)


def _check_outcome(has: bool, error: str | None, *, final: bool) -> None:
    if has == (error is not None):
        allowed = "the reason where there is no outcome, null where there is one"
        raise InputError("an outcome and an error, or neither", field="error", allowed=allowed)
    if has and not final:
        raise InputError("an outcome is never retried", field="final")


_JSON = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


_Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON)]
_Reason: TypeAlias = Annotated[str, StringConstraints(max_length=MAX_REASON)]
_Seeds: TypeAlias = Annotated[list[int], Field(min_length=1)]
_Failed: TypeAlias = Annotated[dict[_Reason, _Seeds], Field(min_length=1)]
_Time: TypeAlias = Annotated[int, Field(ge=0, le=MAX_TIME)]
_Digest: TypeAlias = Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}$")]


@dataclass(frozen=True)
class _Named:
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    names: Annotated[list[_Name], Field(min_length=1, max_length=MAX_NAMES)]
    data: str


@dataclass(frozen=True, slots=True)
class LineFields:
    """The fields of a line."""

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
    values: Annotated[_Named | None, _NotNull] = None
    failed: Annotated[_Failed | None, _NotNull] = None
    output: Annotated[str | None, _NotNull] = None
    curves: Annotated[_Named | None, _NotNull] = None
    purpose: Annotated[Purpose | None, _NotNull] = None
    at: Annotated[_Time | None, _NotNull] = None
    made: Annotated[_Digest | None, _NotNull] = None
    decision: Annotated[Whole | None, _NotNull] = None


_LINE: TypeAdapter[LineFields] = TypeAdapter(LineFields)


def read_line(text: bytes) -> tuple[LineFields, Point, int, bytes | None, Details]:
    """Parse and check a line.

    Returns:
        Its fields, the configuration, the width of the predictions, the per-seed arrays (what
        `EncodedOutcome.data` has after the width; None without an outcome), and the details.
    """
    fields = _fields(text)
    first, count, point = fields.first, fields.count, Point(fields.config)
    if first + count - 1 > MAX_SEED:
        raise InputError(f"{first} + {count} goes beyond the last seed", field="first")
    if point.key != fields.key:
        raise InputError(f"{fields.key!r} is not the config's key {point.key}", field="key")
    width, arrays = _outcome(fields)
    details = _details(fields)
    if details is not NO_DETAILS and arrays is None:
        raise InputError("values of seeds without seeds_data", field="values")
    return fields, point, width, arrays, details


def _fields(text: bytes) -> LineFields:
    try:
        return _LINE.validate_json(text)
    except ValidationError as error:
        if b"\\ud" not in text:
            raise _refusal(error) from None
    try:  # pydantic refuses lone surrogates, such as those of a file's name in an error
        given = json.loads(text)
        readable = json.dumps(given, ensure_ascii=False).encode(errors="replace")
        line = _LINE.validate_json(readable)
    except ValidationError as error:
        raise _refusal(error) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON ({error})") from None
    names = given.keys() & {"config", "worker", "error", "failed"}
    return dataclasses.replace(line, **{name: given[name] for name in names})


def _refusal(error: ValidationError) -> InputError:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return InputError(f"is not JSON ({first['msg'].removeprefix('Invalid JSON: ')})")
    field = ".".join(str(part) for part in first["loc"])
    return InputError(f"is not an evaluation ({first['msg']})", field=field or None)


_STATUSES = bytes(Status)


def _outcome(fields: LineFields) -> tuple[int, bytes | None]:
    """The width of the predictions and the arrays of a line; 0 and None without an outcome."""
    count, data, counts = fields.count, fields.seeds_data, (fields.k, fields.n, fields.epochs)
    _check_outcome(data is not None, fields.error, final=fields.final)
    if data is None:
        if counts != (None, None, None):
            raise InputError("a count without seeds_data", field="k, n, epochs")
        return 0, None
    width, raw = _unpacked(data, count)
    if unknown := raw[:count].translate(None, _STATUSES):
        raise InputError(f"unknown status {max(unknown)}", field="seeds_data")
    solved = raw.count(Status.SOLVED, 0, count)
    if counts[:2] != (solved, count) or counts[2] is None:
        raise InputError(f"{counts} contradict seeds_data: {solved}, {count}", field="k, n, epochs")
    return width, raw


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


def _unpacked(text: str, count: int) -> tuple[int, bytes]:
    """The width of the predictions and the arrays of a line's field `seeds_data`."""
    raw = _inflated(text, 4 + 10 * count + MAX_ROWS // 8, "seeds_data")
    width = int.from_bytes(raw[:4], "little")
    if len(raw) != 4 + count * (9 + (width + 7) // 8):
        raise InputError(f"does not hold {count} seeds", field="seeds_data")
    return width, raw[4:]


def _details_fields(details: Details, first: int) -> dict[str, Any]:
    """A line's fields `values`, `failed`, `output` and `curves`; those that are empty are absent.

    `values` is {"names": [...], "data": little-endian float64, shape (names, S), packed}; `failed`
    maps a reason to its seeds; `output` maps seeds to texts, as packed JSON; `curves` has names and
    for its P points the seeds (uint32, relative to the first of the line), the reports (uint32) and
    the values (float32, shape (P, names)), little endian, packed.
    """
    fields: dict[str, Any] = {}
    if details.values:
        arrays = np.stack([np.asarray(a, "<f8") for a in details.values.values()])
        fields["values"] = {"names": list(details.values), "data": _packed(arrays.tobytes())}
    if details.failed:
        reasons: dict[str, list[int]] = {}
        for seed, reason in sorted(details.failed.items()):
            reasons.setdefault(reason[:MAX_REASON], []).append(int(seed))
        fields["failed"] = reasons
    if details.output:
        texts = {str(seed): text for seed, text in sorted(details.output.items())}
        fields["output"] = _packed(_JSON.encode(texts).encode("ascii"))
    if details.curves:
        [curves] = details.curves  # a trained block has one
        points = curves.points()
        raw = (points.seed - first).astype("<u4").tobytes() + points.report.astype("<u4").tobytes()
        data = _packed(raw + points.values.astype("<f4").tobytes())
        fields["curves"] = {"names": list(points.names), "data": data}
    return fields


def _details(fields: LineFields) -> Details:
    """Read what `_details_fields` wrote."""
    values, by_reason, output = fields.values, fields.failed, fields.output
    if values is None and by_reason is None and output is None and fields.curves is None:
        return NO_DETAILS
    first, count = fields.first, fields.count
    numbers = {} if values is None else _values(values, count)
    pairs = [
        (seed, sys.intern(reason)) for reason, seeds in (by_reason or {}).items() for seed in seeds
    ]
    failed = dict(sorted(pairs))
    if len(failed) < len(pairs) or any(not first <= seed < first + count for seed in failed):
        raise InputError("has a seed that is not of the line, or one twice", field="failed")
    curves = () if fields.curves is None else (_curves(fields.curves, first, count),)
    texts = {} if output is None else _output(output, failed)
    return Details(numbers, failed, output=texts, curves=curves)


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


class _Output(Mapping[int, str]):
    """Texts by seed, kept compressed: most are never looked at."""

    def __init__(self, packed: str, seeds: tuple[int, ...]) -> None:
        self._packed, self._seeds = packed, seeds

    def __getitem__(self, seed: int) -> str:
        if seed not in self._seeds:
            raise KeyError(seed)
        return str(json.loads(_inflated(self._packed, MAX_OUTPUT, "output"))[str(seed)])

    def __iter__(self) -> Iterator[int]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)


def _output(output: str, failed: Mapping[int, str]) -> _Output:
    raw = _inflated(output, MAX_OUTPUT, "output")
    try:
        texts = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is damaged ({error})", field="output") from None
    if not isinstance(texts, dict) or not texts:
        raise InputError("is damaged", field="output", allowed="texts by their seeds")
    known = {str(seed): seed for seed in failed}
    for name, text in texts.items():
        if name not in known or not isinstance(text, str):
            raise InputError(f"{name!r:.40} is not a seed that failed", field="output")
    return _Output(output, tuple(known[name] for name in texts))


# -------------------------------------------------------------------------------------------------
# Lines of a journal in columns. An object of one line is made on demand.

_ROW = struct.Struct("<iqqIiqqIqqii??")

_Row = namedtuple(  # its types are those of `_ROW`
    "_Row",
    "config proposal decision first count seeds_at bits_at width epochs at fingerprint worker "
    "final outcome",
)

COLUMNS = np.dtype(
    {"names": list(_Row._fields), "formats": [f"<{sign}" for sign in _ROW.format[1:]]}
)
"""Numbers of a line, -1 for none. `config` indexes `JournalLines.keys`, `fingerprint` and `worker`
index `names`; the line's seeds begin at `seeds_at` among all seeds, predictions at `bits_at`."""


class JournalLines:
    """Lines of a journal in columns; lines may be appended.

    Attributes:
        keys: of the configurations, in the order of their first lines.
        seconds: training time of each line.
        errors: by line, why it has no outcome.
        purposes: by line, for lines of certificates.
        details: by line, for outcomes that have any.
    """

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.seconds = array("d")
        self.errors: dict[int, str] = {}
        self.purposes: dict[int, Purpose] = {}
        self.details: dict[int, Details] = {}
        self._codes: dict[str, int] = {}
        self._listed: list[str] = []
        self._configs: dict[str, int] = {}
        # For each configuration: where its values begin in `_values`, and which names they have.
        self._values: list[Value] = []
        self._values_at, self._schema_of = array("q"), array("q")
        self._schemas: dict[tuple[str, ...], int] = {}
        self._rows = bytearray()  # of `COLUMNS`
        # Of all seeds, one after the other; a line without an outcome has no seeds here.
        self._status, self._epochs = bytearray(), bytearray()
        self._losses, self._bits = bytearray(), bytearray()
        self._ends = np.empty((0, len(Status)), np.int32), np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.seconds)

    def append(self, text: bytes) -> None:
        """Append a line of a journal."""
        fields, point, width, raw, details = read_line(text)
        number, count, codes = len(self.seconds), fields.count, self._codes
        self._rows += _ROW.pack(
            *(self._config(point.key, tuple(point), point.values()), fields.proposal),
            -1 if fields.decision is None else fields.decision,
            *(fields.first, count),
            *(len(self._status), len(self._bits), width),
            -1 if fields.epochs is None else fields.epochs,
            -1 if fields.at is None else fields.at,
            -1 if fields.made is None else codes.setdefault(fields.made, len(codes)),
            *(codes.setdefault(fields.worker, len(codes)), fields.final, raw is not None),
        )
        if raw is not None:
            self._status += raw[:count]
            self._epochs += raw[count : 5 * count]
            self._losses += raw[5 * count : 9 * count]
            self._bits += raw[9 * count :]
        if fields.error is not None:
            self.errors[number] = sys.intern(fields.error)
        if fields.purpose is not None:
            self.purposes[number] = fields.purpose
        if details is not NO_DETAILS:
            self.details[number] = details
        self.seconds.append(fields.seconds)

    def _config(self, key: str, names: tuple[str, ...], values: Iterable[Value]) -> int:
        """The index of a configuration in `keys`."""
        if len(self._configs) < len(self.keys):
            self._configs = {key: place for place, key in enumerate(self.keys)}
        config = self._configs.setdefault(key, len(self.keys))
        if config == len(self.keys):
            self.keys.append(key)
            self._schema_of.append(self._schemas.setdefault(names, len(self._schemas)))
            self._values_at.append(len(self._values))
            self._values += [sys.intern(v) if type(v) is str else v for v in values]
        return config

    def complete(self) -> None:
        """Free an index that only `append` needs; it is rebuilt if more lines come."""
        self._configs = {}

    @property
    def names(self) -> list[str]:
        """Workers and fingerprints, each once."""
        if len(self._listed) < len(self._codes):
            self._listed = list(self._codes)
        return self._listed

    def column(
        self, name: str, lines: NDArray[np.int64] | slice = slice(None)
    ) -> NDArray[np.int64]:
        """int64: one of `COLUMNS`, of some lines or of all."""
        return np.frombuffer(self._rows, COLUMNS)[name][lines].astype(np.int64)

    def _row(self, line: int) -> _Row:
        return _Row._make(_ROW.unpack_from(self._rows, line * _ROW.size))

    def seeds(self, name: str) -> NDArray[Any]:
        """`status` (uint8), `solved_epoch` (int32), `final_loss` (float32) or `bits` of all seeds.

        Lines cannot be appended while this array is alive.
        """
        columns: dict[str, tuple[bytearray, str]] = {
            "status": (self._status, "u1"),
            "solved_epoch": (self._epochs, "<i4"),
            "final_loss": (self._losses, "<f4"),
            "bits": (self._bits, "u1"),
        }
        return np.frombuffer(*columns[name])

    def ends(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Seeds of each line by `Status`, and the epochs of its solved seeds.

        int32, shape (L, statuses), and int64, shape (L,). All seeds of a line without an outcome
        count as crashed.
        """
        counts, spent = self._ends
        if len(spent) < len(self.seconds):
            new = slice(len(spent), len(self.seconds))
            size, at = self.column("count", new), self.column("seeds_at", new)
            known = np.flatnonzero(self.column("outcome", new))
            more = np.zeros((len(size), len(Status)), np.int32)
            more[:, Status.CRASHED] = size
            epochs = np.zeros(len(size), np.int64)
            for part in np.split(known, range(LINES_AT_ONCE, len(known), LINES_AT_ONCE)):
                if len(part):
                    seeds = slice(at[part[0]], at[part[-1]] + size[part[-1]])
                    starts = at[part] - at[part[0]]
                    status = self.seeds("status")[seeds]
                    for kind in Status:
                        more[part, kind] = np.add.reduceat(status == kind, starts, dtype=np.int32)
                    solved = np.where(status == 0, self.seeds("solved_epoch")[seeds], 0)
                    epochs[part] = np.add.reduceat(solved, starts, dtype=np.int64)
            if len(spent):
                more, epochs = np.concatenate([counts, more]), np.concatenate([spent, epochs])
            self._ends = more, epochs
        return self._ends

    def point(self, config: int) -> Point:
        """The configuration at an index of `keys`."""
        names, at = list(self._schemas)[self._schema_of[config]], self._values_at[config]
        values = dict(zip(names, self._values[at : at + len(names)], strict=True))
        return Point.unchecked(values, self.keys[config])

    def parameters(self, configs: NDArray[np.int64]) -> list[str]:
        """The parameters of some configurations, in the order in which points have them."""
        names: list[str] = []
        codes, first = np.unique(np.array(self._schema_of)[configs], return_index=True)
        for code in codes[np.argsort(first)].tolist():
            place = 0
            for name in list(self._schemas)[code]:
                if name not in names:  # insert it after its predecessor in the point
                    names.insert(place, name)
                place = names.index(name) + 1
        return names

    def values(self, name: str, configs: NDArray[np.int64], missing: Any = None) -> list[Any]:
        """A parameter's value in each configuration; `missing` where it has none."""
        place = np.array([s.index(name) if name in s else -1 for s in self._schemas])
        within = place[np.array(self._schema_of)[configs]]
        at = np.where(within < 0, -1, np.array(self._values_at)[configs] + within)
        if len(at) and at.min() >= 0:
            return list(map(self._values.__getitem__, at.tolist()))
        return [self._values[i] if i >= 0 else missing for i in at.tolist()]

    def evaluation(self, line: int) -> Evaluation:
        """The line as an object."""
        row = self._row(line)
        return Evaluation(
            proposal=row.proposal,
            block=Block(self.point(row.config), row.first, row.count),
            outcome=self.outcome([line], row.epochs) if row.outcome else None,
            error=self.errors.get(line),
            final=row.final,
            seconds=self.seconds[line],
            worker=self.names[row.worker],
            purpose=self.purposes.get(line),
            fingerprint=None if row.fingerprint < 0 else self.names[row.fingerprint],
            at=None if row.at < 0 else row.at,
            decision=None if row.decision < 0 else row.decision,
        )

    def outcome(self, lines: Sequence[int], epochs: int, *, reasons: bool = False) -> Outcome:
        """Lines of one configuration as one outcome; seeds of a line without one have crashed."""
        parts = [self._part(line, reasons=reasons) for line in lines]
        arrays, details = parts[0]
        if len(parts) > 1:
            width = max(part["predictions"].shape[1] for part, _ in parts)
            for part, _ in parts:
                if part["predictions"].shape[1] < width:  # a line without an outcome
                    part["predictions"] = np.zeros((len(part["seeds"]), width), np.bool_)
            n = len(arrays["seeds"])
            for part, more in parts[1:]:
                details = joined(details, n, more, len(part["seeds"]))
                n += len(part["seeds"])
            arrays = {name: np.concatenate([part[name] for part, _ in parts]) for name in arrays}
        return Outcome.unchecked(arrays, epochs, details=details)

    def _part(self, line: int, *, reasons: bool) -> tuple[dict[str, NDArray[Any]], Details]:
        row = self._row(line)
        n, at, width = row.count, row.seeds_at, row.width
        seeds = _seeds(row.first, n)
        if not row.outcome:
            why = self.errors[line] if reasons else None
            crashed = Outcome.crashed(range(row.first, row.first + n), 0, why)
            names = ("status", "solved_epoch", "final_loss", "predictions")
            arrays = {name: getattr(crashed, name) for name in names}
            return {"seeds": seeds} | arrays, crashed.details
        size = n * ((width + 7) // 8)
        bits = np.frombuffer(bytes(self._bits[row.bits_at : row.bits_at + size]), np.uint8)
        predictions = np.unpackbits(bits.reshape(n, -1), axis=1, count=width)
        return {
            "seeds": seeds,
            "status": np.frombuffer(bytes(self._status[at : at + n]), np.uint8),
            "solved_epoch": np.frombuffer(bytes(self._epochs[4 * at : 4 * (at + n)]), "<i4"),
            "final_loss": np.frombuffer(bytes(self._losses[4 * at : 4 * (at + n)]), "<f4"),
            "predictions": predictions.view(np.bool_),
        }, self.details.get(line, NO_DETAILS)

    def numbers(self, line: int, name: str) -> NDArray[np.float64]:
        """float64, shape (S,): a number of each of a line's seeds; NaN where it failed."""
        row = self._row(line)
        values = self.details.get(line, NO_DETAILS).values.get(name)
        if values is None:
            return np.full(row.count, np.nan)
        status = bytes(self._status[row.seeds_at : row.seeds_at + row.count])
        return valid_numbers(values, np.frombuffer(status, np.uint8))


LINES_AT_ONCE = 100_000
"""Lines whose seeds are processed at a time, which bounds the memory."""


@functools.lru_cache(maxsize=64)
def _seeds(first: int, count: int) -> NDArray[np.int64]:
    # Thousands of blocks share one array.
    seeds = np.arange(first, first + count, dtype=np.int64)
    seeds.flags.writeable = False
    return seeds


class Evaluations(Sequence[Evaluation]):
    """Some of a journal's lines. An object of one line is made on demand, and not kept.

    Attributes:
        lines: all lines of the journal.
        places: int64, shape (E,): indices of the chosen lines; by default all.
    """

    def __init__(self, lines: JournalLines, places: NDArray[np.int64] | None = None) -> None:
        self.lines = lines
        self.places = np.arange(len(lines)) if places is None else places

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

    def column(self, name: str) -> NDArray[np.int64]:
        """int64, shape (E,): one of `COLUMNS`."""
        return self.lines.column(name, self.places)

    def where(self, chosen: NDArray[np.bool_]) -> Evaluations:
        """The lines where `chosen` (shape (E,)) is true."""
        return Evaluations(self.lines, self.places[chosen])

    def of_keys(self, keys: Iterable[str]) -> Evaluations:
        """The lines of some configurations."""
        chosen = set(keys)
        known = np.array([key in chosen for key in self.lines.keys], np.bool_)
        return self.where(known[self.column("config")]) if len(self) else self

    @property
    def seconds(self) -> list[float]:
        """Training time of each."""
        return [self.lines.seconds[line] for line in self.places.tolist()]

    @property
    def solved(self) -> NDArray[np.int32]:
        """int32, shape (E,): seeds solved by each."""
        counts, _ = self.lines.ends()
        solved: NDArray[np.int32] = counts[self.places, Status.SOLVED]
        return solved

    def with_error(self, error: str) -> Evaluations:
        """The lines without an outcome for this reason."""
        lines = [line for line, why in self.lines.errors.items() if why == error]
        return self.where(np.isin(self.places, lines))

    @property
    def void(self) -> Evaluations:
        """The seeds that could not be tried."""
        lines = [line for line, why in self.lines.errors.items() if is_void(why)]
        return self.where(np.isin(self.places, lines))

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
            return Evaluations(self.lines, self.places[place])
        return self.lines.evaluation(int(self.places[place]))

    def __iter__(self) -> Iterator[Evaluation]:
        return map(self.lines.evaluation, self.places.tolist())


def decode(line: str) -> Evaluation:
    """The evaluation that `encode` wrote; checkpoints of an outcome are not kept."""
    lines = JournalLines()
    lines.append(line.encode())
    return lines.evaluation(0)
