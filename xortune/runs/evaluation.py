"""An evaluation: one try at training a block, and the line of the journal that keeps it."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import json
import math
import re
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NoReturn, TypeAlias, get_type_hints

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.outcome import MAX_SEED, NO_DETAILS, Details, Outcome, Status
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.racing.objectives import counted

# -------------------------------------------------------------------------------------------------
# Details of an outcome in a line of the journal: numbers packed, reasons as they are read.

COMPRESSION = 3

MAX_NAMES, MAX_REASON = 64, 500
"""Of one line: numbers for each seed; letters of a name, and of a reason."""

MAX_OUTPUT = 2**20
"""Bytes of one line, packed as JSON: what its failed seeds printed."""

MAX_NUMBERS = 2**27
"""Of one line, all seeds and names together: a gigabyte."""


def details_fields(details: Details) -> dict[str, Any]:
    """What a line says of them: `values`, `failed` and `output`, each only if there are any.

    `values` is {"names": [...], "data": little-endian float64, shape (names, S), compressed, as
    text}; `failed` has the seeds by their reason; `output` is the texts by their seeds, as JSON,
    compressed, as text.
    """
    fields: dict[str, Any] = {}
    if details.values:
        arrays = np.stack([np.asarray(a, "<f8") for a in details.values.values()])
        data = base64.b64encode(zlib.compress(arrays.tobytes(), COMPRESSION)).decode("ascii")
        fields["values"] = {"names": list(details.values), "data": data}
    if details.failed:
        reasons: dict[str, list[int]] = {}
        for seed, reason in sorted(details.failed.items()):
            reasons.setdefault(reason[:MAX_REASON], []).append(int(seed))
        fields["failed"] = reasons
    if details.output:
        texts = {str(seed): text for seed, text in sorted(details.output.items())}
        raw = json.dumps(texts, separators=(",", ":")).encode("ascii")
        fields["output"] = base64.b64encode(zlib.compress(raw, COMPRESSION)).decode("ascii")
    return fields


def details_of(values: object, failed: object, output: object, first: int, count: int) -> Details:
    """What `details_fields` wrote; None for a field that is not there.

    Raises:
        InputError: anything that it does not write.
    """
    if values is None and failed is None and output is None:
        return NO_DETAILS
    reasons = {} if failed is None else _failed(failed, first, count)
    return Details(
        {} if values is None else values_of(values, count),
        reasons,
        output={} if output is None else _output(output, reasons),
    )


def values_of(values: object, count: int) -> dict[str, NDArray[np.float64]]:
    """The numbers of a line's field `values`, by name; each float64 of shape (count,).

    Raises:
        InputError: anything that `details_fields` does not write.
    """
    names = values.get("names") if isinstance(values, dict) else None
    data = values.get("data") if isinstance(values, dict) else None
    if not (
        isinstance(names, list)
        and 0 < len(names) <= MAX_NAMES
        and all(isinstance(name, str) and 0 < len(name) <= MAX_REASON for name in names)
        and len(set(names)) == len(names)
        and isinstance(data, str)
    ):
        raise InputError("is damaged", field="values", allowed="names, each once, and data")
    if len(names) * count > MAX_NUMBERS:
        raise InputError(f"{len(names) * count:,} numbers", field="values")
    size = 8 * len(names) * count
    try:
        unpacker = zlib.decompressobj()
        # Never more than the length that fits: a forged field cannot fill the memory.
        raw = unpacker.decompress(base64.b64decode(data, validate=True), size + 1)
        whole = len(raw) == size and unpacker.eof and not unpacker.unused_data
    except (ValueError, binascii.Error, zlib.error) as error:
        raise InputError(f"is damaged ({error})", field="values") from None
    if not whole:
        raise InputError(f"does not hold {count} seeds", field="values")
    rows = np.frombuffer(raw, "<f8").reshape(len(names), count).astype(np.float64, copy=False)
    return dict(zip(names, rows, strict=True))


class _Output(Mapping[int, str]):
    """Texts by seed, unpacked when they are asked for: few ever are, of all that a run has."""

    def __init__(self, packed: bytes, seeds: tuple[int, ...]) -> None:
        self._packed, self._seeds = packed, seeds

    def __getitem__(self, seed: int) -> str:
        if seed not in self._seeds:
            raise KeyError(seed)
        return str(json.loads(zlib.decompress(self._packed))[str(seed)])

    def __iter__(self) -> Iterator[int]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)


def _output(output: object, failed: Mapping[int, str]) -> _Output:
    if not isinstance(output, str):
        raise InputError("is damaged", field="output", allowed="compressed text")
    try:
        packed = base64.b64decode(output, validate=True)
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, MAX_OUTPUT + 1)
        if len(raw) > MAX_OUTPUT or not unpacker.eof or unpacker.unused_data:
            raise ValueError("its length")
        texts = json.loads(raw)
    except (ValueError, binascii.Error, zlib.error, RecursionError) as error:
        raise InputError(f"is damaged ({error})", field="output") from None
    if not isinstance(texts, dict) or not texts:
        raise InputError("is damaged", field="output", allowed="texts by their seeds")
    known = {str(seed): seed for seed in failed}
    for name, text in texts.items():
        if name not in known or not isinstance(text, str):
            raise InputError(f"{name!r:.40} is no seed that failed", field="output")
    return _Output(packed, tuple(known[name] for name in texts))


def _failed(failed: object, first: int, count: int) -> dict[int, str]:
    if not isinstance(failed, dict) or not failed:
        raise InputError("is damaged", field="failed", allowed="seeds by their reason")
    found: dict[int, str] = {}
    for reason, seeds in failed.items():
        if len(reason) > MAX_REASON or not isinstance(seeds, list) or not seeds:
            raise InputError("is damaged", field="failed", allowed="seeds by their reason")
        for seed in seeds:
            known = type(seed) is int and first <= seed < first + count and seed not in found
            if not known:
                raise InputError(f"{seed!r} is no seed of the line, or there twice", field="failed")
            found[seed] = reason
    return dict(sorted(found.items()))


# -------------------------------------------------------------------------------------------------
# Why a block was trained if not for the search: what a certificate's line of the journal adds.
#
# Search lines do not have it. With it the certificate can be made from the journal alone, and
# nothing of it is ever counted among the search's results.

Kind: TypeAlias = Literal["certify", "neighbourhood"]

Criterion: TypeAlias = Literal["own", "neighbourhood"]
"""Whose lower bound orders finalists: that of each itself, or of the worst around it."""


@dataclass(frozen=True)
class Purpose:
    """A block that an attempt to certify finalists has trained.

    Attributes:
        kind: `certify` for a finalist itself, `neighbourhood` for one with a setting moved.
        attempt: number of the attempt, from 1.
        finalist: key of the finalist.
        rank: its place in the search's order, from 1.
        finalists: how many the attempt has.
        seeds: how many it plans for each of its configs.
        confidence: with which all bounds of all attempts hold together.
        extendable: whether it was begun as one whose seeds may be added to.
        search_k: seeds of the finalist solved in the search.
        search_n: its seeds in the search.
        moved: the parameter that is moved; None for the finalist itself.
        by: what orders the finalists.
        neighbours: how many all finalists of the attempt have together; 0 if none are measured.
        first: where the attempt's seeds begin; of a neighbour, where those of all neighbours do.
            None in journals from before each attempt had seeds of its own.
    """

    kind: Kind
    attempt: int
    finalist: str
    rank: int
    finalists: int
    seeds: int
    confidence: float
    extendable: bool
    search_k: int
    search_n: int
    moved: str | None = None
    by: Criterion = "own"
    neighbours: int = 0
    first: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, fields: object) -> Purpose:
        """What `as_dict` gave.

        Raises:
            InputError: anything else.
        """
        # Older journals lack the last, and those before them the two before it as well.
        known = (_NAMES, _NAMES[:-1], _NAMES[:-3])
        if not isinstance(fields, dict) or list(fields) not in known:
            raise InputError(
                "is no purpose", field="purpose", allowed="an object of " + ", ".join(_HINTS)
            )
        for name, value in fields.items():
            if not _fits(name, value):
                raise InputError(f"{value!r} is out of range", field=f"purpose.{name}")
        return cls(**fields)


MAX_ATTEMPTS, MAX_COUNT = 1000, 2**32
"""Attempt a spends alpha / 2**a: long before the thousandth nothing is left."""

_HINTS = get_type_hints(Purpose)
_NAMES = list(_HINTS)


def _fits(name: str, value: object) -> bool:
    if name == "kind":
        return value in ("certify", "neighbourhood")
    if name == "moved":
        return value is None or isinstance(value, str)
    if name == "first":
        return value is None or (type(value) is int and 0 <= value < MAX_COUNT)
    if name == "by":
        return value in ("own", "neighbourhood")
    if name in ("attempt", "rank", "finalists", "seeds", "search_k", "search_n", "neighbours"):
        least = 0 if name in ("search_k", "neighbours") else 1
        most = MAX_ATTEMPTS if name == "attempt" else MAX_COUNT
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    if name == "confidence":
        return isinstance(value, float) and 0 < value < 1 and math.isfinite(value)
    return type(value) is _HINTS[name]


# -------------------------------------------------------------------------------------------------
# An evaluation: one try at training a block, and the line of the journal that keeps it.
#
# What a person wants to read is plain JSON; the per-seed arrays are packed into one compressed
# field, because as plain JSON a large sweep would be hundreds of megabytes. Nothing is ever
# unpickled.

_LAST_STATUS, _SOLVED = int(max(Status)), int(Status.SOLVED)

_WHAT = ["proposal", "key", "config", "first", "count"]
_CAME = ["k", "n", "epochs", "seconds", "worker", "final", "error", "seeds_data"]
_FIELDS = [*_WHAT, *_CAME]
_MORE = ["values", "failed", "output", "purpose"]  # each only where there is something to say

MAX_SEEDS, MAX_ROWS, MAX_EPOCHS, MAX_SECONDS = 2**26, 2**30, 2**40, 1e12
"""Of one line: seeds, judged rows of all these together, epochs. More would fill the memory."""

MAX_TIME = 253_402_300_799
"""The last second that has a date: of the year 9999."""

_MADE = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class EncodedOutcome:
    """An outcome of a block as the journal keeps it: what workers send, and a driver passes on.

    Attributes:
        successes: seeds solved.
        n: seeds.
        epochs: the budget.
        data: the per-seed arrays, compressed, as text.
        details: as of the outcome.
    """

    successes: int
    n: int
    epochs: int
    data: str
    details: Details = NO_DETAILS


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One try at training a block, as the journal keeps it.

    Attributes:
        proposal: number of the proposal (trial) the block belongs to, from 0.
        block: the point and its seeds.
        outcome: what came of it; None if the try produced nothing. One that was read from a journal
            is an `Outcome`; one on its way there may be packed.
        error: the reason why there is no outcome.
        final: False if the try failed and will be repeated; the repetition is a line of its own.
        seconds: training time.
        worker: where it was trained, as host:pid.
        purpose: what it was trained for if not for the search.
        made: digest of what trained it (engine, versions, task), which the run's manifest has in
            whole; None in a journal from before this was noted: then its first session did.
        at: when the line was written, in whole seconds since 1970 by the driver's clock; None in a
            journal from before this was noted. No table or count knows of it.
    """

    proposal: int
    block: Block
    outcome: Outcome | EncodedOutcome | None
    error: str | None
    final: bool
    seconds: float
    worker: str
    purpose: Purpose | None = None
    made: str | None = None
    at: int | None = None


class StoredOutcome(Outcome):
    """An outcome as a journal holds it: its arrays are made when they are asked for.

    Attributes:
        width: M, how many rows were judged.
        data: status (uint8), solved_epoch (int32), final_loss (float32), all of shape (S,), little
            endian, then the predictions, packed into whole bytes for each seed.
    """

    width: int
    data: bytes

    @classmethod
    def of(cls, seeds: NDArray[np.int64], epochs: int, width: int, data: bytes) -> StoredOutcome:
        """One whose arrays are in `data`, which fits."""
        outcome = cls.__new__(cls)
        outcome.__dict__.update(
            seeds=seeds,
            epochs=epochs,
            width=width,
            data=data,
            successes=data.count(_SOLVED, 0, len(seeds)),
        )
        return outcome

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        """See `Outcome`."""
        return np.frombuffer(self.data, "u1", self.n)

    @cached_property
    def solved_epoch(self) -> NDArray[np.int32]:
        """See `Outcome`."""
        return np.frombuffer(self.data, "<i4", self.n, self.n).astype(np.int32, copy=False)

    @cached_property
    def final_loss(self) -> NDArray[np.float32]:
        """See `Outcome`."""
        return np.frombuffer(self.data, "<f4", self.n, 5 * self.n).astype(np.float32, copy=False)

    @cached_property
    def predictions(self) -> NDArray[np.bool_]:
        """See `Outcome`."""
        bits = np.frombuffer(self.data, "u1", offset=9 * self.n).reshape(self.n, -1)
        rows = np.unpackbits(bits, axis=1, count=self.width).view(np.bool_)
        rows.flags.writeable = False
        return rows


_JSON = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def encode_outcome(block: Block, outcome: Outcome) -> EncodedOutcome:
    """The outcome of a block, packed.

    Raises:
        InputError: it is not one of the block's seeds in their order.
    """
    if not np.array_equal(outcome.seeds, np.arange(block.first, block.first + block.count)):
        raise InputError(
            f"the outcome's {outcome.n} seeds are not those it was asked for",
            field="seeds",
            allowed=f"the {block.count} seeds from {block.first}, in this order",
        )
    return EncodedOutcome(
        outcome.successes, outcome.n, int(outcome.epochs), _packed(outcome), outcome.details
    )


def epochs_spent(outcome: Outcome | EncodedOutcome) -> int:
    """`Outcome.epochs_spent`, of a packed one too."""
    if isinstance(outcome, Outcome):
        return outcome.epochs_spent
    data = zlib.decompress(base64.b64decode(outcome.data))
    n = outcome.n
    solved = np.frombuffer(data, "u1", n, 4) == _SOLVED
    epochs = np.frombuffer(data, "<i4", n, 4 + n)
    return int(np.where(solved, epochs, outcome.epochs).sum())


def encode(evaluation: Evaluation) -> str:
    """One JSON line, without the newline.

    Raises:
        InputError: the outcome is not one of the block's seeds in their order, or the evaluation is
            one that `decode` refuses: an outcome with an error, neither, an outcome not final.
    """
    block, outcome = evaluation.block, evaluation.outcome
    if (outcome is None) != (evaluation.error is not None):
        raise InputError(
            "an outcome and an error" if outcome else "neither an outcome nor an error",
            field="error",
            allowed="the reason where there is no outcome, none where there is one",
        )
    if outcome is not None and not evaluation.final:
        raise InputError("an outcome is never retried", field="final")
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
        line |= details_fields(outcome.details)
    if evaluation.purpose is not None:
        line["purpose"] = evaluation.purpose.as_dict()
    if evaluation.at is not None:
        line["at"] = evaluation.at
    if evaluation.made is not None:
        line["made"] = evaluation.made
    # ASCII only: no line separator of any kind can get into the line.
    return _JSON.encode(line)


def decode(line: str) -> Evaluation:
    """The evaluation that `encode` wrote; checkpoints of an outcome are not kept.

    Raises:
        InputError: anything that `encode` does not write.
    """
    try:
        fields = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON ({error})") from None
    purpose = made = at = values = failed = output = None
    if isinstance(fields, dict) and next(reversed(fields), None) == "made":
        made = _digest(fields.pop("made"))
    if isinstance(fields, dict) and next(reversed(fields), None) == "at":
        at = _whole(fields, "at", high=MAX_TIME)
        del fields["at"]
    if isinstance(fields, dict) and len(fields) > len(_FIELDS):
        values, failed, output, purpose = _more(fields)
    if not isinstance(fields, dict) or list(fields) != _FIELDS:
        raise InputError("is no evaluation", allowed="an object of " + ", ".join(_FIELDS))
    config = fields["config"]
    if not isinstance(config, dict):
        raise InputError("is no object of parameters", field="config")
    # One string for the many that are equal: they would take as much memory as all the rest.
    point = Point(
        {sys.intern(n): sys.intern(v) if type(v) is str else v for n, v in config.items()}
    )
    if point.key != fields["key"]:
        raise InputError(f"{fields['key']!r} is not the config's key {point.key}", field="key")
    first, count = _whole(fields, "first"), _whole(fields, "count", low=1, high=MAX_SEEDS)
    if first + count - 1 > MAX_SEED:
        raise InputError(f"{first} + {count} goes beyond the last seed", field="first")
    outcome = _outcome(fields, first, count, details_of(values, failed, output, first, count))
    reason = fields["error"]
    if not (isinstance(reason, str) if outcome is None else reason is None):
        raise InputError(
            f"is a {type(reason).__name__}",
            field="error",
            allowed="the reason where there is no outcome, null where there is one",
        )
    final = _typed(fields, "final", bool)
    if outcome is not None and not final:
        raise InputError("an outcome is never retried", field="final")
    seconds = fields["seconds"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InputError(f"is a {type(seconds).__name__}", field="seconds", allowed="a number")
    if not 0 <= seconds <= MAX_SECONDS:
        raise InputError("is out of range", field="seconds", allowed="a finite number, 0 or more")
    return Evaluation(
        proposal=_whole(fields, "proposal"),
        block=Block(point, first, count),
        outcome=outcome,
        error=reason,
        final=final,
        seconds=seconds,
        worker=sys.intern(_typed(fields, "worker", str)),
        purpose=purpose,
        made=made,
        at=at,
    )


def _more(fields: dict[str, Any]) -> tuple[object, object, object, Purpose | None]:
    """Values, failed, output and purpose, taken out if all that the line has more is these."""
    more = [name for name in _MORE if name in fields]
    if list(fields) != [*_FIELDS, *more]:
        return None, None, None, None
    found = {name: fields.pop(name) for name in more}
    names = ("values", "failed", "output")
    if None in (found.get(name, ()) for name in names):
        raise InputError("is null", field=", ".join(names), allowed="something, or no such field")
    purpose = Purpose.of(found["purpose"]) if "purpose" in found else None
    values, failed, output = map(found.get, names)
    return values, failed, output, purpose


def _digest(value: object) -> str:
    if isinstance(value, str) and _MADE.fullmatch(value):
        return sys.intern(value)  # one for all the lines of a session
    raise InputError("is no digest", field="made", allowed="8 hexadecimal digits")


def _packed(outcome: Outcome) -> str:
    """Width of the predictions (uint32), status, solved_epoch, final_loss, predictions as bits."""
    parts = (
        struct.pack("<I", outcome.predictions.shape[1]),
        outcome.status.astype("u1").tobytes(),
        outcome.solved_epoch.astype("<i4").tobytes(),
        outcome.final_loss.astype("<f4").tobytes(),
        np.packbits(outcome.predictions, axis=1).tobytes(),
    )
    return base64.b64encode(zlib.compress(b"".join(parts), COMPRESSION)).decode("ascii")


def _outcome(fields: dict[str, Any], first: int, count: int, details: Details) -> Outcome | None:
    text = fields["seeds_data"]
    if text is None:
        for name in ("k", "n", "epochs"):
            if fields[name] is not None:
                raise InputError(f"{fields[name]!r} without seeds_data", field=name)
        if details is not NO_DETAILS:
            raise InputError("values of seeds without seeds_data", field="values")
        return None
    if not isinstance(text, str):
        raise InputError(f"is a {type(text).__name__}", field="seeds_data")
    try:
        packed = base64.b64decode(text, validate=True)
        unpacker = zlib.decompressobj()
        head = unpacker.decompress(packed, 4)
        (width,) = struct.unpack("<I", head)
        if width * count > MAX_ROWS:
            raise ValueError(f"{width:,} rows")
        row = (width + 7) // 8
        size = count * (9 + row)
        # Never more than the length that fits: a forged field cannot fill the memory.
        data = unpacker.decompress(unpacker.unconsumed_tail, size + 1)
        whole = unpacker.eof and not unpacker.unused_data and len(data) == size
    except (ValueError, binascii.Error, zlib.error, struct.error, OverflowError) as error:
        raise InputError(f"is damaged ({error})", field="seeds_data") from None
    if not whole:
        raise InputError(f"does not hold {count} seeds", field="seeds_data")
    if max(data[:count]) > _LAST_STATUS:
        raise InputError(f"unknown status {max(data[:count])}", field="seeds_data")
    epochs = _whole(fields, "epochs", high=MAX_EPOCHS)
    outcome = StoredOutcome.of(_seeds(first, count), epochs, width, data)
    if details is not NO_DETAILS:  # few among millions have any
        outcome.__dict__["details"] = details
    for name, value in (("k", outcome.successes), ("n", outcome.n)):
        if _whole(fields, name) != value:
            raise InputError(f"{fields[name]} contradicts seeds_data: {value}", field=name)
    return outcome


@functools.lru_cache(maxsize=64)
def _seeds(first: int, count: int) -> NDArray[np.int64]:
    # One array for the thousands of blocks that have the same seeds.
    seeds = np.arange(first, first + count, dtype=np.int64)
    seeds.flags.writeable = False
    return seeds


def _whole(fields: dict[str, Any], name: str, low: int = 0, high: int = 2**53) -> int:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        problem, allowed = f"{type(value).__name__}, or out of range", f"{low} to {high}"
        raise InputError(problem, field=name, allowed=f"a whole number from {allowed}")
    return value


def _typed(fields: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(fields[name], kind):
        raise InputError(f"is a {type(fields[name]).__name__}", field=name, allowed=kind.__name__)
    return fields[name]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not finite")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


# -------------------------------------------------------------------------------------------------
# The numbers of seeds that a search looks for, in an outcome as the search receives it.


def numbers_of(
    outcome: Outcome | EncodedOutcome | None, names: Sequence[str], count: int
) -> tuple[tuple[float, ...], ...]:
    """For each name the numbers of the seeds; NaN where a seed failed, or has none.

    Args:
        outcome: None if there is none.
        names: of the numbers.
        count: how many seeds there are.
    """
    if outcome is None:
        return ((float("nan"),) * count,) * len(names)
    if isinstance(outcome, Outcome):
        status = outcome.status
    else:
        status = np.frombuffer(zlib.decompress(base64.b64decode(outcome.data)), "u1", count, 4)
    values = outcome.details.values
    return tuple(tuple(counted(values.get(name), status).tolist()) for name in names)


# -------------------------------------------------------------------------------------------------
# Outcomes that a journal holds, as one: their arrays are not unpacked one by one.


@dataclass(frozen=True)
class Stack:
    """The arrays of C outcomes of S seeds and M judged rows, as one.

    Attributes:
        status: uint8, shape (C, S).
        solved_epoch: int32, shape (C, S).
        final_loss: float32, shape (C, S).
        bits: uint8, shape (C, S, bytes): the predictions, packed.
        width: M.
    """

    status: NDArray[np.uint8]
    solved_epoch: NDArray[np.int32]
    final_loss: NDArray[np.float32]
    bits: NDArray[np.uint8]
    width: int


def stacked(outcomes: Sequence[Outcome]) -> Stack | None:
    """What the outcomes hold, in their order; None unless all are stored and of one shape."""
    stored = [o for o in outcomes if isinstance(o, StoredOutcome) and "data" in o.__dict__]
    if not stored or len(stored) < len(outcomes):
        return None
    n, width, size = stored[0].n, stored[0].width, len(stored[0].data)
    if any((o.n, o.width, len(o.data)) != (n, width, size) for o in stored):
        return None
    raw = np.frombuffer(b"".join(o.data for o in stored), np.uint8).reshape(-1, size)
    epochs, losses = (np.ascontiguousarray(raw[:, a * n : (a + 4) * n]) for a in (1, 5))
    return Stack(
        status=raw[:, :n],
        solved_epoch=epochs.view("<i4").astype(np.int32, copy=False),
        final_loss=losses.view("<f4").astype(np.float32, copy=False),
        bits=raw[:, 9 * n :].reshape(len(stored), n, -1),
        width=width,
    )
