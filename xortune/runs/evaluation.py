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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, overload

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

from xortune.core.audit import Audit
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
from xortune.core.trainer import AUDITED, Block, is_void

if TYPE_CHECKING:
    import pyarrow as pa

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

MAX_NUMBERS, MAX_OUTPUT = 2**27, 2**20
"""Maximum per line: seeds times names; bytes of the output of failed seeds."""

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
    min_rate: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, _NotNull] = None
    required: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, _NotNull] = None
    spent: Annotated[Annotated[int, Field(ge=1, le=MAX_IN_ACCOUNT)] | None, _NotNull] = None
    account: Annotated[str | None, _NotNull] = None
    beside: Annotated[tuple[str, ...] | None, _NotNull] = None

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

    @property
    def solved(self) -> int:
        """The number of solved seeds."""
        return self.raw.count(Status.SOLVED, 4, 4 + self.count)

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
            millisecond; journals of earlier versions have whole seconds. No table or count
            depends on it.
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
    return EncodedOutcome(seeds.solved, block.count, epochs, data, outcome.details)


def encode(evaluation: Evaluation, written: tuple[str, float] | None = None) -> str:
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
    if evaluation.audit is not None:
        line["audit"] = _audit_fields(evaluation.audit)
    line |= _marks(evaluation, *(written or (evaluation.fingerprint, evaluation.at)))
    # ASCII only, so that no line separator of any kind gets into a line. pydantic is five times as
    # fast as json, but refuses lone surrogates and does not escape other characters.
    try:
        text = to_json(line)
    except PydanticSerializationError:
        return _JSON.encode(line)
    return text.decode() if text.isascii() else _JSON.encode(line)


def _marks(evaluation: Evaluation, fingerprint: str | None, at: float | None) -> dict[str, Any]:
    """The fields of a line that say why, when, by what and for which decision it was made."""
    purpose = evaluation.purpose
    if at is not None and float(at).is_integer():
        at = int(at)  # as journals of whole seconds have it
    marks = {
        "purpose": None if purpose is None else _purpose_fields(purpose),
        "at": at,
        "made": fingerprint,
        "decision": evaluation.decision,
    }
    return {name: value for name, value in marks.items() if value is not None}


def _purpose_fields(purpose: Purpose) -> dict[str, Any]:
    """The fields of a purpose; those that only some certificates have are left out if None."""
    optional = ("min_rate", "required", "spent", "account", "beside")
    fields = dataclasses.asdict(purpose).items()
    return {name: value for name, value in fields if value is not None or name not in optional}


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
_Time: TypeAlias = Annotated[float, Field(ge=0, le=MAX_TIME, allow_inf_nan=False)]
_Digest: TypeAlias = Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}$")]


@dataclass(frozen=True)
class _Named:
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    names: Annotated[list[_Name], Field(min_length=1, max_length=MAX_NAMES)]
    data: str


@dataclass(frozen=True)
class _AuditFields:
    """The attributes of `Audit`; those that are 0 or empty are left out."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    stacked: Annotated[int, Field(ge=0, le=MAX_SEEDS)] = 0
    audited: Annotated[int, Field(ge=0, le=MAX_SEEDS)] = 0
    largest: Annotated[float, Field(ge=0, le=MAX_DIFFERENCE)] = 0.0
    fault: _Reason = ""


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
    audit: Annotated[_AuditFields | None, _NotNull] = None
    pruned: Annotated[dict[str, Positive] | None, _NotNull] = None
    purpose: Annotated[Purpose | None, _NotNull] = None
    at: Annotated[_Time | None, _NotNull] = None
    made: Annotated[_Digest | None, _NotNull] = None
    decision: Annotated[Whole | None, _NotNull] = None


_LINE: TypeAdapter[LineFields] = TypeAdapter(LineFields)


def read_line(text: bytes) -> tuple[LineFields, Point, SeedArrays | None, Details]:
    """Parse and check a line.

    Returns:
        Its fields, the configuration, the results of its seeds (None without an outcome), and the
        details.
    """
    fields = _fields(text)
    first, count, point = fields.first, fields.count, Point(fields.config)
    if first + count - 1 > MAX_SEED:
        raise InputError(f"{first} + {count} goes beyond the last seed", field="first")
    if point.key != fields.key:
        raise InputError(f"{fields.key!r} is not the config's key {point.key}", field="key")
    seeds, details = _seed_arrays(fields), _details(fields)
    if details is not NO_DETAILS and seeds is None:
        raise InputError("values of seeds without seeds_data", field="values")
    if seeds is None and (fields.audit is not None) != (fields.error == AUDITED):
        raise InputError("an audit without its reason, or the reason alone", field="audit")
    if fields.audit is not None and fields.audit.stacked + fields.audit.audited > count:
        raise InputError("has more seeds than the line", field="audit")
    return fields, point, seeds, details


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
    solved = seeds.solved
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


def _details_fields(details: Details, first: int) -> dict[str, Any]:
    """A line's fields `values`, `failed`, `output`, `curves`, `watched`, `audit`; no empty ones.

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
    if details.audit is not None:
        fields["audit"] = _audit_fields(details.audit)
    if details.pruned:
        fields["pruned"] = {str(seed): at for seed, at in sorted(details.pruned.items())}
    return fields


def _audit_fields(audit: Audit) -> dict[str, Any]:
    largest = min(audit.largest, MAX_DIFFERENCE) if audit.largest >= 0 else MAX_DIFFERENCE
    found = dataclasses.replace(audit, largest=float(largest), fault=audit.fault[:MAX_REASON])
    return {name: value for name, value in dataclasses.asdict(found).items() if value}


def _audit(fields: LineFields) -> Audit | None:
    return None if fields.audit is None else Audit(**dataclasses.asdict(fields.audit))


def _details(fields: LineFields) -> Details:
    """Read what `_details_fields` wrote."""
    values, by_reason, output = fields.values, fields.failed, fields.output
    audit = None if fields.seeds_data is None else _audit(fields)
    parts = (values, by_reason, output, fields.curves, fields.pruned, audit)
    if all(one is None for one in parts):
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
    pruned = _pruned(fields.pruned or {}, first, count)
    return Details(*(numbers, failed), output=texts, curves=curves, audit=audit, pruned=pruned)


def _pruned(given: Mapping[str, int], first: int, count: int) -> dict[int, int]:
    found = {int(seed): at for seed, at in given.items() if seed.isdecimal()}
    if len(found) < len(given) or any(not first <= seed < first + count for seed in found):
        raise InputError("has a seed that is not of the line, or one twice", field="pruned")
    return found


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
# All lines of a journal in memory: numbers in the columns of an Arrow table, the arrays of seeds as
# they are in the file. An object of one line is made on demand.

_LABELS = tuple(status.label for status in Status)

COLUMNS = {
    "config": "int32",
    "proposal": "int64",
    "decision": "int64",
    "first": "int64",
    "count": "int32",
    "epochs": "int64",
    "seconds": "float64",
    "worker": "int32",
    "final": "bool",
    "outcome": "bool",
    "at": "float64",
    "fingerprint": "int32",
    "width": "int32",
    "epochs_solved": "int64",
    **dict.fromkeys(_LABELS, "int32"),
}
"""The numbers of a line and their types in Arrow, -1 for none.

`config` is an index into `JournalLines.keys`; `worker` and `fingerprint` are indices into `names`.
`outcome`: whether there is one. `width`: of the predictions. `epochs_solved`: the epochs until a
seed was solved for good, summed over the solved seeds. The last ones count the line's seeds by
their status: all seeds of a line without an outcome count as crashed.
"""

ROWS_AT_ONCE = 10_000
"""Lines that become columns together: until then each is a dict, of some 2 kB."""


class JournalLines:
    """All lines of a journal; lines may be appended.

    Attributes:
        keys: of the configurations, in the order of their first lines.
        names: workers and fingerprints, each once.
        errors: by line, why it has no outcome.
        purposes: by line, for lines of certificates.
        details: by line, for outcomes that have any.
        audits: by line, for lines that say only what an audit showed.
    """

    def __init__(self) -> None:
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
        # Of each configuration its parameters, one tuple for all that have the same, and values.
        self._parameters: list[tuple[str, ...]] = []
        self._values: list[tuple[Value, ...]] = []
        self._schemas: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._seeds: list[bytes | None] = []  # `SeedArrays.raw` of each line with an outcome
        # Lines become rows, many rows a part of a table, and parts one when somebody asks for it.
        self._rows: list[dict[str, Any]] = []
        self._parts: list[pa.Table] = []
        self._columns: dict[str, NDArray[Any]] = {}  # views of the table; empty if it lacks lines

    def __len__(self) -> int:
        return len(self._seeds)

    def append(self, text: bytes) -> None:
        """Append a line of a journal.

        Raises:
            InputError: it is not a line that `encode` writes.
        """
        fields, point, seeds, details = read_line(text)
        line = len(self)
        self._rows.append(
            {
                "config": self._config(point),
                "proposal": fields.proposal,
                "decision": _or_none(fields.decision),
                "first": fields.first,
                "count": fields.count,
                "epochs": _or_none(fields.epochs),
                "seconds": fields.seconds,
                "worker": self._code(fields.worker),
                "final": fields.final,
                "outcome": seeds is not None,
                "at": -1.0 if fields.at is None else fields.at,
                "fingerprint": -1 if fields.made is None else self._code(fields.made),
                "width": 0 if seeds is None else seeds.width,
            }
        )
        self._seeds.append(None if seeds is None else seeds.raw)
        if fields.error is not None:
            self.errors[line] = sys.intern(fields.error)
        if fields.purpose is not None:
            self.purposes[line] = fields.purpose
        if details is not NO_DETAILS:
            self.details[line] = details
        if fields.audit is not None:
            self._note(line, _audit(fields) or Audit(), is_line=seeds is None)
        self._columns = {}
        if len(self._rows) == ROWS_AT_ONCE:
            self._end_part()

    def _note(self, line: int, audit: Audit, *, is_line: bool) -> None:
        """Note the audit of the last line, which may say nothing else."""
        made = self._rows[-1]["fingerprint"]
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
        """The index of a configuration in `keys`."""
        config = self._places.setdefault(point.key, len(self.keys))
        if config == len(self.keys):
            names = tuple(point)
            self.keys.append(point.key)
            self._parameters.append(self._schemas.setdefault(names, names))
            self._values.append(
                tuple(sys.intern(v) if type(v) is str else v for v in point.values())
            )
        return config

    def _code(self, name: str) -> int:
        """The index of a worker or a fingerprint in `names`."""
        code = self._codes.setdefault(name, len(self.names))
        if code == len(self.names):
            self.names.append(name)
        return code

    def column(self, name: str) -> NDArray[Any]:
        """One of `COLUMNS` of all L lines, shape (L,)."""
        import pyarrow as pa

        if not self._columns:
            self._end_part()
            table = pa.concat_tables(self._parts).combine_chunks()
            self._parts = [table]
            self._columns = {name: table[name].to_numpy() for name in COLUMNS}
        return self._columns[name]

    def _end_part(self) -> None:
        """Make columns of the rows."""
        import pyarrow as pa

        raw = self._seeds[len(self) - len(self._rows) :]
        counted = _counted(raw, [row["count"] for row in self._rows])
        types = [(name, kind) for name, kind in COLUMNS.items() if name not in counted]
        part = pa.Table.from_pylist(self._rows, pa.schema(types))
        for name, values in counted.items():
            part = part.append_column(name, pa.array(values, COLUMNS[name]))
        self._parts.append(part)
        self._rows = []

    def seeds(self, line: int) -> SeedArrays:
        """The results of a line's seeds; those of a line without an outcome have crashed."""
        raw, count = self._seeds[line], int(self.column("count")[line])
        return SeedArrays.crashed(count) if raw is None else SeedArrays(raw, count)

    def point(self, config: int) -> Point:
        """The configuration at an index of `keys`."""
        values = dict(zip(self._parameters[config], self._values[config], strict=True))
        return Point.unchecked(values, self.keys[config])

    def parameters(self, configs: NDArray[np.int64]) -> list[str]:
        """The parameters of some configurations, in the order in which points have them."""
        names: list[str] = []
        for parameters in dict.fromkeys(self._parameters[config] for config in configs.tolist()):
            place = 0
            for name in parameters:
                if name not in names:  # insert it after its predecessor in the point
                    names.insert(place, name)
                place = names.index(name) + 1
        return names

    def values(self, name: str, configs: NDArray[np.int64], missing: Any = None) -> list[Any]:
        """A parameter's value in each configuration; `missing` where it has none."""
        places = {names: names.index(name) for names in self._schemas if name in names}
        found = []
        for config in configs.tolist():
            place = places.get(self._parameters[config])
            found.append(missing if place is None else self._values[config][place])
        return found

    def evaluation(self, line: int) -> Evaluation:
        """The line as an object."""

        def number(name: str) -> int | None:
            value = int(self.column(name)[line])
            return None if value < 0 else value

        def whole(name: str) -> int:
            return int(self.column(name)[line])

        fingerprint, at = number("fingerprint"), float(self.column("at")[line])
        return Evaluation(
            proposal=whole("proposal"),
            block=Block(self.point(whole("config")), whole("first"), whole("count")),
            outcome=self.outcome([line], whole("epochs")) if whole("outcome") else None,
            error=self.errors.get(line),
            final=bool(whole("final")),
            seconds=float(self.column("seconds")[line]),
            worker=self.names[whole("worker")],
            purpose=self.purposes.get(line),
            fingerprint=None if fingerprint is None else self.names[fingerprint],
            at=None if at < 0 else at,
            decision=number("decision"),
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
        first = self.column("first")
        width = max(part.width for part in parts)
        arrays = {
            "seeds": _joined(
                [_range(int(first[line]), p.count) for line, p in zip(lines, parts, strict=True)]
            ),
            "status": _joined([part.status for part in parts]),
            "solved_epoch": _joined([part.solved_epoch for part in parts]),
            "final_loss": _joined([part.final_loss for part in parts]),
            "predictions": _joined([part.predictions(width) for part in parts]),
        }
        n, details = parts[0].count, self._details(lines[0], reasons=reasons)
        for line, part in zip(lines[1:], parts[1:], strict=True):
            details = joined(details, n, self._details(line, reasons=reasons), part.count)
            n += part.count
        return Outcome.unchecked(arrays, epochs, details=details)

    def _details(self, line: int, *, reasons: bool) -> Details:
        if reasons and self._seeds[line] is None:
            first, count = (int(self.column(name)[line]) for name in ("first", "count"))
            return Details(failed=dict.fromkeys(range(first, first + count), self.errors[line]))
        return self.details.get(line, NO_DETAILS)

    def numbers(self, line: int, name: str) -> NDArray[np.float64]:
        """float64, shape (S,): a number of each of a line's seeds; NaN where it failed."""
        values = self.details.get(line, NO_DETAILS).values.get(name)
        return valid_numbers(values, self.seeds(line).status)


def _counted(raw: Sequence[bytes | None], sizes: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    """Of each line the seeds by their status, and `epochs_solved`: see `COLUMNS`.

    Args:
        raw: the seeds of each of L lines; None without an outcome.
        sizes: the number of seeds of each.
    """
    counts = np.zeros((len(Status), len(raw)), np.int64)
    counts[Status.CRASHED] = sizes
    epochs_solved = np.zeros(len(raw), np.int64)
    known = [line for line, one in enumerate(raw) if one is not None]
    if known:
        pairs = zip(raw, sizes, strict=True)
        seeds = [SeedArrays(one, size) for one, size in pairs if one is not None]
        status = np.frombuffer(b"".join([one.bytes_of("status") for one in seeds]), "u1")
        epochs = np.frombuffer(b"".join([one.bytes_of("solved_epoch") for one in seeds]), "<i4")
        starts = np.cumsum([0, *(one.count for one in seeds[:-1])])
        for kind in Status:
            counts[kind, known] = np.add.reduceat(status == kind, starts, dtype=np.int64)
        taken = np.where(status == Status.SOLVED, epochs, 0)
        epochs_solved[known] = np.add.reduceat(taken, starts, dtype=np.int64)
    return dict(zip(_LABELS, counts, strict=True)) | {"epochs_solved": epochs_solved}


def _or_none(number: int | None) -> int:
    return -1 if number is None else number


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@functools.lru_cache(maxsize=64)
def _range(first: int, count: int) -> NDArray[np.int64]:
    # Thousands of blocks share one array.
    seeds = np.arange(first, first + count, dtype=np.int64)
    seeds.flags.writeable = False
    return seeds


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

    def column(self, name: str) -> NDArray[np.int64]:
        """int64, shape (E,): one of `COLUMNS`, but for seconds and `at`."""
        return self.lines.column(name)[self.places].astype(np.int64)

    @property
    def times(self) -> NDArray[np.float64]:
        """Shape (E,): when each line was written, in seconds since 1970; -1 if it is not known."""
        return self.lines.column("at")[self.places].astype(np.float64)

    def where(self, chosen: NDArray[np.bool_]) -> Evaluations:
        """The lines where `chosen` (shape (E,)) is true."""
        return Evaluations(self.lines, self.places[chosen])

    def at(self, chosen: NDArray[np.int64]) -> Evaluations:
        """The lines at some places, in this order."""
        return Evaluations(self.lines, self.places[chosen])

    def of_keys(self, keys: Iterable[str]) -> Evaluations:
        """The lines of some configurations."""
        chosen = set(keys)
        known = np.array([key in chosen for key in self.lines.keys], np.bool_)
        return self.where(known[self.column("config")]) if len(self) else self

    @property
    def seconds(self) -> list[float]:
        """Training time of each."""
        seconds: list[float] = self.lines.column("seconds")[self.places].tolist()
        return seconds

    @property
    def solved(self) -> NDArray[np.int64]:
        """int64, shape (E,): seeds solved by each."""
        return self.column(Status.SOLVED.label)

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
            return Evaluations(self.lines, self.places[place])
        return self.lines.evaluation(int(self.places[place]))

    def __iter__(self) -> Iterator[Evaluation]:
        return map(self.lines.evaluation, self.places.tolist())


def decode(line: str) -> Evaluation:
    """The evaluation that `encode` wrote; checkpoints of an outcome are not kept."""
    lines = JournalLines()
    lines.append(line.encode())
    return lines.evaluation(0)
