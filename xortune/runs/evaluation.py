"""Evaluations: one try at training a block, its line in a journal, and many of them in columns."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import json
import re
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Any, Literal, NoReturn, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.outcome import MAX_SEED, NO_DETAILS, Details, Outcome, Status, joined
from xortune.core.point import Point, Value
from xortune.core.trainer import Block
from xortune.racing.objectives import counted

# -------------------------------------------------------------------------------------------------
# What a line of a journal may hold: a forged one must not fill the memory. Nothing is unpickled.

COMPRESSION = 3

MAX_SEEDS, MAX_ROWS, MAX_EPOCHS, MAX_SECONDS = 2**26, 2**30, 2**40, 1e12
"""Of one line: seeds, judged rows of all these together, epochs, seconds."""

MAX_TIME = 253_402_300_799
"""The last second that has a date: of the year 9999."""

MAX_NAMES, MAX_REASON = 64, 500
"""Of one line: numbers for each seed; letters of a name, and of a reason."""

MAX_NUMBERS, MAX_OUTPUT = 2**27, 2**20
"""Of one line: numbers of all seeds and names together; bytes that its failed seeds printed."""

MAX_ATTEMPTS, MAX_COUNT = 1000, 2**32
"""Attempt a spends alpha / 2**a: long before the thousandth nothing is left."""

Rule: TypeAlias = tuple[tuple[type, ...], float | None, float | None]
"""The types that a field may have, and the least and the greatest number."""


def checked(fields: Mapping[str, Any], rules: Mapping[str, Rule], prefix: str = "") -> None:
    """Return if each field has one of its types, and each number is in its range.

    Raises:
        InputError: one is not.
    """
    for name, value in fields.items():
        kinds, low, high = rules[name]
        fits = low is None or high is None or value is None
        if type(value) in kinds and (fits or low <= value <= high):
            continue
        allowed = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        problem = f"is a {type(value).__name__}"
        if low is not None:
            problem = f"{type(value).__name__}, or out of range"
            allowed = f"{allowed} from {low} to {high}"
        raise InputError(problem, field=prefix + name, allowed=allowed)


Kind: TypeAlias = Literal["certify", "neighbourhood"]

Criterion: TypeAlias = Literal["own", "neighbourhood"]
"""Whose lower bound orders finalists: that of each itself, or of the worst around it."""


@dataclass(frozen=True)
class Purpose:
    """A block that an attempt to certify finalists has trained.

    Lines of a search have none. With it the certificate follows from the journal alone, and no such
    line is ever counted among the search's results.

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

    @classmethod
    def of(cls, fields: object) -> Purpose:
        """What a line says.

        Raises:
            InputError: anything but all fields of a purpose.
        """
        if not isinstance(fields, dict) or fields.keys() != _PURPOSE.keys():
            allowed = "an object of " + ", ".join(_PURPOSE)
            raise InputError("is no purpose", field="purpose", allowed=allowed)
        checked(fields, _PURPOSE, "purpose.")
        for name, known in (("kind", ("certify", "neighbourhood")), ("by", _CRITERIA)):
            if fields[name] not in known:
                allowed = " or ".join(known)
                raise InputError(f"{fields[name]!r}", field=f"purpose.{name}", allowed=allowed)
        return cls(**fields)


_CRITERIA = ("own", "neighbourhood")
_COUNTS: Rule = ((int,), 1, MAX_COUNT)
_PURPOSE: dict[str, Rule] = {
    "kind": ((str,), None, None),
    "attempt": ((int,), 1, MAX_ATTEMPTS),
    "finalist": ((str,), None, None),
    "rank": _COUNTS,
    "finalists": _COUNTS,
    "seeds": _COUNTS,
    "confidence": ((float,), 5e-324, 1 - 2**-53),
    "extendable": ((bool,), None, None),
    "search_k": ((int,), 0, MAX_COUNT),
    "search_n": _COUNTS,
    "moved": ((str, NoneType), None, None),
    "by": ((str,), None, None),
    "neighbours": ((int,), 0, MAX_COUNT),
    "first": ((int, NoneType), 0, MAX_COUNT - 1),
}


# -------------------------------------------------------------------------------------------------
# An evaluation, and the line of the journal that keeps it.
#
# What a person wants to read is plain JSON; the per-seed arrays are packed into one compressed
# field, because as plain JSON a large sweep would be hundreds of megabytes.


@dataclass(frozen=True)
class EncodedOutcome:
    """An outcome of a block as the journal keeps it: what workers send, and a driver passes on.

    Attributes:
        successes: seeds solved.
        n: seeds.
        epochs: the budget.
        data: the per-seed arrays, compressed, as text: the width M of the predictions (uint32),
            status (uint8), solved_epoch (int32), final_loss (float32), all of shape (S,), little
            endian, then the predictions, packed into whole bytes for each seed.
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
        epochs = np.frombuffer(raw, "<i4", self.n, self.n)
        return int(np.where(self.status == Status.SOLVED, epochs, self.epochs).sum())


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One try at training a block, as the journal keeps it.

    Attributes:
        proposal: number of the proposal (trial) the block belongs to, from 0.
        block: the point and its seeds.
        outcome: what came of it; None if the try produced nothing. One that was read from a journal
            is an `Outcome`; one on its way there may be encoded.
        error: the reason why there is no outcome.
        final: False if the try failed and will be repeated; the repetition is a line of its own.
        seconds: training time.
        worker: where it was trained, as host:pid.
        purpose: what it was trained for if not for the search.
        made: digest of what trained it (engine, versions, task), which the run's manifest has in
            whole; a journal of a search has one in each line.
        at: when the line was written, in whole seconds since 1970 by the driver's clock. No table
            or count knows of it.
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
    raw = struct.pack("<I", outcome.predictions.shape[1]) + b"".join(_arrays(outcome))
    return EncodedOutcome(
        outcome.successes, outcome.n, int(outcome.epochs), _packed(raw), outcome.details
    )


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
        line |= _details_fields(outcome.details)
    if evaluation.purpose is not None:
        line["purpose"] = dataclasses.asdict(evaluation.purpose)
    line |= {n: v for n in ("at", "made") if (v := getattr(evaluation, n)) is not None}
    # ASCII only: no line separator of any kind can get into the line.
    return _JSON.encode(line)


_JSON = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def decode(line: str) -> Evaluation:
    """The evaluation that `encode` wrote; checkpoints of an outcome are not kept.

    Raises:
        InputError: anything that `encode` does not write.
    """
    lines = JournalLines()
    lines.take(line)
    return lines.evaluation(0)


def _packed(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw, COMPRESSION)).decode("ascii")


def _inflated(text: object, limit: int) -> bytes:
    """What `_packed` wrote, if that is no longer than a limit: a forged text fills no memory.

    Raises:
        ValueError: it is, or the text is damaged.
    """
    if not isinstance(text, str):
        raise TypeError(f"is a {type(text).__name__}")
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(binascii.a2b_base64(text, strict_mode=True), limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(raw) > limit or not unpacker.eof or unpacker.unused_data:
        raise ValueError("its length")
    return raw


def _arrays(outcome: Outcome) -> tuple[bytes, bytes, bytes, bytes]:
    return (
        outcome.status.astype("u1").tobytes(),
        outcome.solved_epoch.astype("<i4").tobytes(),
        outcome.final_loss.astype("<f4").tobytes(),
        np.packbits(outcome.predictions, axis=1).tobytes(),
    )


def _unpacked(text: object, count: int) -> tuple[int, bytes]:
    """The width of the predictions and the arrays of a line's field `seeds_data`.

    Raises:
        InputError: it does not hold so many seeds.
    """
    try:
        unpacker = zlib.decompressobj()
        if not isinstance(text, str):
            raise TypeError(f"is a {type(text).__name__}")
        head = unpacker.decompress(binascii.a2b_base64(text, strict_mode=True), 4)
        (width,) = struct.unpack("<I", head)
        if width * count > MAX_ROWS:
            raise ValueError(f"{width:,} rows")
        size = count * (9 + (width + 7) // 8)
        raw = unpacker.decompress(unpacker.unconsumed_tail, size + 1)
    except (ValueError, TypeError, zlib.error, struct.error) as error:
        raise InputError(f"is damaged ({error})", field="seeds_data") from None
    if len(raw) != size or not unpacker.eof or unpacker.unused_data:
        raise InputError(f"does not hold {count} seeds", field="seeds_data")
    return width, raw


# -------------------------------------------------------------------------------------------------
# Details of an outcome in a line: numbers packed, reasons as they are read.


def _details_fields(details: Details) -> dict[str, Any]:
    """What a line says of them: `values`, `failed` and `output`, each only if there are any.

    `values` is {"names": [...], "data": little-endian float64, shape (names, S), packed}; `failed`
    has the seeds by their reason; `output` is the texts by their seeds, as JSON, packed.
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
    return fields


def _details(fields: Mapping[str, Any], first: int, count: int) -> Details:
    """What `_details_fields` wrote.

    Raises:
        InputError: anything that it does not write.
    """
    if not fields.keys() & {"values", "failed", "output"}:
        return NO_DETAILS
    failed = _failed(fields["failed"], first, count) if "failed" in fields else {}
    return Details(
        _values(fields["values"], count) if "values" in fields else {},
        failed,
        output=_output(fields["output"], failed) if "output" in fields else {},
    )


def _values(values: object, count: int) -> dict[str, NDArray[np.float64]]:
    given = values if isinstance(values, dict) else {}
    names = given.get("names")
    if not (
        isinstance(names, list)
        and 0 < len(names) <= MAX_NAMES
        and all(isinstance(name, str) and 0 < len(name) <= MAX_REASON for name in names)
        and len(set(names)) == len(names)
    ):
        raise InputError("is damaged", field="values", allowed="names, each once, and data")
    size = len(names) * count
    if size > MAX_NUMBERS:
        raise InputError(f"{size:,} numbers", field="values")
    try:
        rows = np.frombuffer(_inflated(given.get("data"), 8 * size), "<f8")
        rows = rows.reshape(len(names), count).astype(np.float64, copy=False)
    except (ValueError, TypeError) as error:
        problem = f"does not hold {count} seeds, or is damaged ({error})"
        raise InputError(problem, field="values") from None
    return dict(zip(map(sys.intern, names), rows, strict=True))


def _failed(failed: object, first: int, count: int) -> dict[int, str]:
    if not isinstance(failed, dict) or not failed:
        raise InputError("is damaged", field="failed", allowed="seeds by their reason")
    found: dict[int, str] = {}
    for reason, seeds in failed.items():
        if len(reason) > MAX_REASON or not isinstance(seeds, list) or not seeds:
            raise InputError("is damaged", field="failed", allowed="seeds by their reason")
        for seed in seeds:
            if type(seed) is not int or not first <= seed < first + count or seed in found:
                raise InputError(f"{seed!r} is no seed of the line, or there twice", field="failed")
            found[seed] = sys.intern(reason)
    return dict(sorted(found.items()))


class _Output(Mapping[int, str]):
    """Texts by seed, unpacked when they are asked for: few ever are, of all that a run has."""

    def __init__(self, packed: str, seeds: tuple[int, ...]) -> None:
        self._packed, self._seeds = packed, seeds

    def __getitem__(self, seed: int) -> str:
        if seed not in self._seeds:
            raise KeyError(seed)
        return str(json.loads(_inflated(self._packed, MAX_OUTPUT))[str(seed)])

    def __iter__(self) -> Iterator[int]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)


def _output(output: Any, failed: Mapping[int, str]) -> _Output:
    try:
        texts = json.loads(_inflated(output, MAX_OUTPUT))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"is damaged ({error})", field="output") from None
    if not isinstance(texts, dict) or not texts:
        raise InputError("is damaged", field="output", allowed="texts by their seeds")
    known = {str(seed): seed for seed in failed}
    for name, text in texts.items():
        if name not in known or not isinstance(text, str):
            raise InputError(f"{name!r:.40} is no seed that failed", field="output")
    return _Output(output, tuple(known[name] for name in texts))


# -------------------------------------------------------------------------------------------------
# Many evaluations: their numbers are in columns, and objects are made of those that are asked for.

_WHOLE: Rule = ((int,), 0, 2**53)
_MAYBE: Rule = ((int, NoneType), 0, 2**53)
_RULES: dict[str, Rule] = {
    "proposal": _WHOLE,
    "key": ((str,), None, None),
    "config": ((dict,), None, None),
    "first": ((int,), 0, MAX_SEED),
    "count": ((int,), 1, MAX_SEEDS),
    "k": _MAYBE,
    "n": _MAYBE,
    "epochs": ((int, NoneType), 0, MAX_EPOCHS),
    "seconds": ((int, float), 0, MAX_SECONDS),
    "worker": ((str,), None, None),
    "final": ((bool,), None, None),
    "error": ((str, NoneType), None, None),
    "seeds_data": ((str, NoneType), None, None),
}
_MORE: dict[str, Rule] = {  # each only where there is something to say
    "values": ((dict,), None, None),
    "failed": ((dict,), None, None),
    "output": ((str,), None, None),
    "purpose": ((dict,), None, None),
    "at": ((int,), 0, MAX_TIME),
    "made": ((str,), None, None),
}
_ALL = _RULES | _MORE
_MADE = re.compile(r"[0-9a-f]{8}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not finite")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _fields(text: str) -> dict[str, Any]:
    """What a line says, each entry of the right type and in its range.

    Raises:
        InputError: it is no evaluation.
    """
    try:
        fields = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON ({error})") from None
    if not isinstance(fields, dict) or not _RULES.keys() <= fields.keys() <= _ALL.keys():
        raise InputError("is no evaluation", allowed="an object of " + ", ".join(_RULES))
    checked(fields, _ALL)
    first, count = fields["first"], fields["count"]
    if first + count - 1 > MAX_SEED:
        raise InputError(f"{first} + {count} goes beyond the last seed", field="first")
    if "made" in fields and not _MADE.fullmatch(fields["made"]):
        raise InputError("is no digest", field="made", allowed="8 hexadecimal digits")
    return fields


def _outcome(fields: Mapping[str, Any]) -> tuple[int, bytes | None]:
    """The width of the predictions and the arrays of a line; 0 and None without an outcome.

    Raises:
        InputError: they contradict what else the line says.
    """
    why, count, told = fields["error"], fields["count"], ("k", "n", "epochs")
    if (why is None) != (fields["seeds_data"] is not None):
        allowed = "the reason where there is no outcome, null where there is one"
        raise InputError(f"is a {type(why).__name__}", field="error", allowed=allowed)
    if why is not None:
        if any(fields[name] is not None for name in told):
            raise InputError("a count without seeds_data", field="k, n, epochs")
        return 0, None
    if not fields["final"]:
        raise InputError("an outcome is never retried", field="final")
    width, raw = _unpacked(fields["seeds_data"], count)
    if (worst := max(raw[:count])) >= len(Status):
        raise InputError(f"unknown status {worst}", field="seeds_data")
    for name, value in zip(told, (raw.count(0, 0, count), count, fields["epochs"]), strict=True):
        if value is None or fields[name] != value:
            raise InputError(f"{fields[name]} contradicts seeds_data: {value}", field=name)
    return width, raw


COLUMNS = {
    name: place
    for place, name in enumerate(
        (
            *("config", "proposal", "first", "count", "seeds_at", "bits_at", "width", "epochs"),
            *("at", "made", "worker", "final", "outcome"),
        )
    )
}
"""Whole numbers of each line, -1 for none: `config`, `made` and `worker` are places in `keys` and
`names`; the line's seeds begin at `seeds_at` among all seeds, its predictions at `bits_at`."""


class JournalLines:
    """Lines of a journal in columns, to which more may be appended.

    Attributes:
        keys: of the configs, in the order in which they came.
        seconds: training time of each line.
        names: workers and digests, each once.
        errors: by line, why it has no outcome.
        purposes: by line, of those of certificates.
        details: by line, of outcomes that have any.
    """

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.seconds = array("d")
        self.names: dict[str, int] = {}
        self.errors: dict[int, str] = {}
        self.purposes: dict[int, Purpose] = {}
        self.details: dict[int, Details] = {}
        self._configs: dict[str, int] = {}
        self._values: list[tuple[tuple[str, ...], tuple[Value, ...]]] = []
        self._schemas: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._numbers = array("q")
        self._size = 0
        # Of all seeds, one after the other; lines without an outcome have none here.
        self._status, self._epochs = bytearray(), bytearray()
        self._losses, self._bits = bytearray(), bytearray()
        self._ends = np.empty((0, len(Status)), np.int32), np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._size

    def take(self, text: str) -> None:
        """Append a line of a journal.

        Raises:
            InputError: anything that `encode` does not write; nothing is appended.
        """
        fields = _fields(text)
        point = Point(fields["config"])
        if point.key != fields["key"]:
            raise InputError(f"{fields['key']!r} is not the config's key {point.key}", field="key")
        width, raw = _outcome(fields)
        details = _details(fields, fields["first"], fields["count"])
        if details is not NO_DETAILS and raw is None:
            raise InputError("values of seeds without seeds_data", field="values")
        purpose = Purpose.of(fields["purpose"]) if "purpose" in fields else None
        names = ("proposal", "first", "count", "epochs", "at", "made", "worker", "final")
        self._append(point, [fields.get(name) for name in names], width, raw)
        self._note(fields["seconds"], fields["error"], purpose, details)

    def add(self, evaluation: Evaluation) -> None:
        """Append an evaluation."""
        one, outcome, block = evaluation, evaluation.outcome, evaluation.block
        width, raw, details = 0, None, NO_DETAILS if outcome is None else outcome.details
        if isinstance(outcome, Outcome):
            width, raw = outcome.predictions.shape[1], b"".join(_arrays(outcome))
        elif outcome is not None:
            width, raw = _unpacked(outcome.data, outcome.n)
        epochs = None if outcome is None else int(outcome.epochs)
        where = [one.proposal, block.first, block.count, epochs]
        self._append(block.point, [*where, one.at, one.made, one.worker, one.final], width, raw)
        self._note(one.seconds, one.error, one.purpose, details)

    def _append(self, point: Point, said: list[Any], width: int, raw: bytes | None) -> None:
        config = self._configs.setdefault(point.key, len(self.keys))
        if config == len(self.keys):
            self.keys.append(point.key)
            given = point.as_dict()
            names = tuple(given)
            values = tuple([sys.intern(v) if type(v) is str else v for v in given.values()])
            self._values.append((self._schemas.setdefault(names, names), values))
        proposal, first, count, epochs, at, made, worker, final = said
        known, none = self.names, -1
        self._numbers.extend(
            (
                *(config, proposal, first, count, len(self._status), len(self._bits), width),
                none if epochs is None else epochs,
                none if at is None else at,
                none if made is None else known.setdefault(made, len(known)),
                *(known.setdefault(worker, len(known)), final, raw is not None),
            )
        )
        if raw is not None:
            self._status += raw[:count]
            self._epochs += raw[count : 5 * count]
            self._losses += raw[5 * count : 9 * count]
            self._bits += raw[9 * count :]

    def _note(
        self, seconds: float, error: str | None, purpose: Purpose | None, details: Details
    ) -> None:
        self.seconds.append(seconds)
        if error is not None:
            self.errors[self._size] = sys.intern(error)
        if purpose is not None:
            self.purposes[self._size] = purpose
        if details is not NO_DETAILS:
            self.details[self._size] = details
        self._size += 1

    def column(self, name: str) -> NDArray[np.int64]:
        """int64, shape (L,): one of `COLUMNS`."""
        return np.frombuffer(self._numbers, np.int64)[COLUMNS[name] :: len(COLUMNS)].copy()

    def seeds(self, name: str) -> NDArray[Any]:
        """Of all seeds `status` (uint8), `solved_epoch` (int32), `final_loss` (float32) or `bits`.

        Nothing can be appended while this is held.
        """
        if name in ("status", "bits"):
            return np.frombuffer(self._status if name == "status" else self._bits, np.uint8)
        if name == "solved_epoch":
            return np.frombuffer(self._epochs, "<i4")
        return np.frombuffer(self._losses, "<f4")

    def ends(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """How many seeds of each line ended in each `Status`, and epochs of its solved seeds.

        int32, shape (L, statuses), and int64, shape (L,). All seeds of a line without an outcome
        have crashed.
        """
        counts, spent = self._ends
        if len(spent) < self._size:
            new = slice(len(spent), self._size)
            size, at = self.column("count")[new], self.column("seeds_at")[new]
            known = np.flatnonzero(self.column("outcome")[new])
            more = np.zeros((len(size), len(Status)), np.int32)
            more[:, Status.CRASHED] = size
            epochs = np.zeros(len(size), np.int64)
            for part in np.split(known, range(PART, len(known), PART)):
                if len(part):
                    seeds = slice(at[part[0]], at[part[-1]] + size[part[-1]])
                    starts = at[part] - at[part[0]]
                    status = self.seeds("status")[seeds]
                    for kind in Status:
                        more[part, kind] = np.add.reduceat(status == kind, starts, dtype=np.int32)
                    taken = np.where(status == 0, self.seeds("solved_epoch")[seeds], 0)
                    epochs[part] = np.add.reduceat(taken, starts, dtype=np.int64)
            counts, spent = np.concatenate([counts, more]), np.concatenate([spent, epochs])
            self._ends = counts, spent
        return counts, spent

    def point(self, config: int) -> Point:
        """The config at a place of `keys`."""
        names, values = self._values[config]
        return Point.known(dict(zip(names, values, strict=True)), self.keys[config])

    def point_of(self, key: str) -> Point:
        """The config with this key."""
        return self.point(self._configs[key])

    def parameters(self, configs: Iterable[int]) -> list[str]:
        """The names of all parameters of some configs, in the order in which points have them."""
        names: list[str] = []
        for schema in dict.fromkeys(self._values[config][0] for config in configs):
            place = 0
            for name in schema:
                if name not in names:  # after the one that it follows in its point
                    names.insert(place, name)
                place = names.index(name) + 1
        return names

    def values(self, name: str, configs: Iterable[int], missing: Any = None) -> list[Any]:
        """Of each config what it has for a parameter; `missing` where it has none."""
        at = {s: s.index(name) if name in s else -1 for s in self._schemas}
        found = (self._values[config] for config in configs)
        return [values[at[schema]] if at[schema] >= 0 else missing for schema, values in found]

    def evaluation(self, line: int) -> Evaluation:
        """A line as a value."""
        row = self._numbers[line * len(COLUMNS) : (line + 1) * len(COLUMNS)]
        names = self._listed_names
        if len(names) < len(self.names):
            names[:] = self.names
        block = Block(self.point(row[0]), row[2], row[3])
        return Evaluation(
            proposal=row[1],
            block=block,
            outcome=self.outcome([line], row[7]) if row[12] else None,
            error=self.errors.get(line),
            final=bool(row[11]),
            seconds=self.seconds[line],
            worker=names[row[10]],
            purpose=self.purposes.get(line),
            made=None if row[9] < 0 else names[row[9]],
            at=None if row[8] < 0 else row[8],
        )

    @cached_property
    def _listed_names(self) -> list[str]:
        return list(self.names)

    def outcome(self, lines: Sequence[int], epochs: int, *, reasons: bool = False) -> Outcome:
        """What some lines of a config came to, as one; those without an outcome have crashed.

        Args:
            lines: their places, seeds ascending.
            epochs: the budget.
            reasons: whether seeds of a line without an outcome say why.
        """
        parts = [self._part(line, reasons=reasons) for line in lines]
        seeds, status, taken, losses, predictions, details = parts[0]
        if len(parts) > 1:
            seeds, status, taken, losses = (
                np.concatenate([part[i] for part in parts]) for i in range(4)
            )
            width = max(part[4].shape[1] for part in parts)
            every = [part[4] for part in parts]
            predictions = np.concatenate(
                [
                    rows if rows.shape[1] == width else np.zeros((len(rows), width), np.bool_)
                    for rows in every  # without an outcome: none
                ]
            )
            n = parts[0][0].size
            for part in parts[1:]:
                details = joined(details, n, part[5], part[0].size)
                n += part[0].size
        for one in (seeds, status, taken, losses, predictions):
            one.flags.writeable = False
        outcome = Outcome.__new__(Outcome)  # what fits already is not checked again
        outcome.__dict__.update(
            seeds=seeds,
            epochs=epochs,
            status=status,
            solved_epoch=taken,
            final_loss=losses,
            predictions=predictions,
            checkpoints=(),
            details=details,
        )
        return outcome

    def _part(self, line: int, *, reasons: bool) -> tuple[Any, Any, Any, Any, Any, Details]:
        row = self._numbers[line * len(COLUMNS) : (line + 1) * len(COLUMNS)]
        first, n, at, bits_at, width = row[2:7]
        seeds = _seeds(first, n)
        if not row[12]:
            why = self.errors[line] if reasons else None
            gone = Outcome.crashed(range(first, first + n), 0, why)
            return (
                seeds,
                gone.status,
                gone.solved_epoch,
                gone.final_loss,
                gone.predictions,
                (gone.details),
            )
        row_bytes = (width + 7) // 8
        bits = np.frombuffer(bytes(self._bits[bits_at : bits_at + n * row_bytes]), np.uint8)
        return (
            seeds,
            np.frombuffer(bytes(self._status[at : at + n]), np.uint8),
            np.frombuffer(bytes(self._epochs[4 * at : 4 * (at + n)]), "<i4"),
            np.frombuffer(bytes(self._losses[4 * at : 4 * (at + n)]), "<f4"),
            np.unpackbits(bits.reshape(n, row_bytes), axis=1, count=width).view(np.bool_),
            self.details.get(line, NO_DETAILS),
        )

    def numbers(self, line: int, name: str) -> NDArray[np.float64]:
        """float64, shape (S,): a number of each of a line's seeds; NaN where it failed."""
        row = self._numbers[line * len(COLUMNS) : (line + 1) * len(COLUMNS)]
        found = self.details.get(line, NO_DETAILS).values.get(name)
        if found is None:
            return np.full(row[3], np.nan)
        return counted(found, np.frombuffer(bytes(self._status[row[4] : row[4] + row[3]]), "u1"))


PART = 100_000
"""Lines of which seeds are looked at at once."""


@functools.lru_cache(maxsize=64)
def _seeds(first: int, count: int) -> NDArray[np.int64]:
    # One array for the thousands of blocks that have the same seeds.
    seeds = np.arange(first, first + count, dtype=np.int64)
    seeds.flags.writeable = False
    return seeds


class Evaluations(Sequence[Evaluation]):
    """Some of a journal's lines. An object of one is made when it is asked for, and is not kept.

    Attributes:
        lines: all of them.
        places: int64, shape (E,): those that belong to it.
    """

    def __init__(self, lines: JournalLines, places: NDArray[np.int64]) -> None:
        self.lines, self.places = lines, places

    @classmethod
    def of(cls, evaluations: Iterable[Evaluation]) -> Evaluations:
        """In columns what is given as objects."""
        if isinstance(evaluations, Evaluations):
            return evaluations
        lines = JournalLines()
        for evaluation in evaluations:
            lines.add(evaluation)
        return cls.all_of(lines)

    @classmethod
    def all_of(cls, lines: JournalLines) -> Evaluations:
        """All lines."""
        return cls(lines, np.arange(len(lines)))

    def apart(self) -> tuple[Evaluations, Evaluations]:
        """Those of the search, and those of certificates."""
        search = np.ones(len(self.lines), np.bool_)
        search[list(self.lines.purposes)] = False
        chosen = search[self.places]
        return self.where(chosen), self.where(~chosen)

    def column(self, name: str) -> NDArray[np.int64]:
        """int64, shape (E,): one of `COLUMNS`."""
        return self.lines.column(name)[self.places]

    def where(self, chosen: NDArray[np.bool_]) -> Evaluations:
        """Those that are chosen."""
        return Evaluations(self.lines, self.places[chosen])

    def of_keys(self, keys: Iterable[str]) -> Evaluations:
        """Those of some configs."""
        wanted = set(keys)
        known = np.array([key in wanted for key in self.lines.keys], np.bool_)
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

    @property
    def key_of_each(self) -> list[str]:
        """The key of each one's config."""
        return [self.lines.keys[config] for config in self.column("config").tolist()]

    def ended(self, error: str) -> Evaluations:
        """Those that have no outcome for that reason."""
        lines = [line for line, why in self.lines.errors.items() if why == error]
        return self.where(np.isin(self.places, lines))

    @property
    def keys(self) -> tuple[str, ...]:
        """Of their configs, each once, in the order in which they came."""
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
