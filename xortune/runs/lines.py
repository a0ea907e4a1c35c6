"""Lines of a journal in columns; an object of one is made when it is asked for."""

from __future__ import annotations

import functools
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import NO_DETAILS, Details, Outcome, Status, counted, joined
from xortune.core.point import Point, Value
from xortune.core.trainer import Block
from xortune.runs.evaluation import Evaluation, Purpose, encode, read_line

_ROW = struct.Struct("<iqIiqqIqqii??")

COLUMNS = np.dtype(
    {
        "names": (
            *("config", "proposal", "first", "count", "seeds_at", "bits_at", "width", "epochs"),
            *("at", "made", "worker", "final", "outcome"),
        ),
        "formats": [f"<{sign}" for sign in _ROW.format[1:]],
    }
)
"""Whole numbers of each line, -1 for none: `config`, `made` and `worker` are places in `keys` and
`names`; the line's seeds begin at `seeds_at` among all seeds, its predictions at `bits_at`."""


EVERY = slice(None)
"""All lines."""


class JournalLines:
    """Lines of a journal in columns, to which more may be appended.

    Attributes:
        keys: of the configs, in the order in which they came.
        seconds: training time of each line.
        errors: by line, why it has no outcome.
        purposes: by line, of those of certificates.
        details: by line, of outcomes that have any.
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
        # Of each config where its values begin among those of all, and of which parameters.
        self._values: list[Value] = []
        self._values_at, self._schema_of = array("q"), array("q")
        self._schemas: dict[tuple[str, ...], int] = {}
        self._rows = bytearray()  # of `COLUMNS`
        # Of all seeds, one after the other; lines without an outcome have none here.
        self._status, self._epochs = bytearray(), bytearray()
        self._losses, self._bits = bytearray(), bytearray()
        self._ends = np.empty((0, len(Status)), np.int32), np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.seconds)

    def take(self, text: bytes) -> None:
        """Append a line of a journal."""
        said, point, width, raw, details = read_line(text)
        number, count, codes = len(self.seconds), said.count, self._codes
        self._rows += _ROW.pack(
            *(self._config(point.key, tuple(point), point.values()), said.proposal),
            *(said.first, count),
            *(len(self._status), len(self._bits), width),
            -1 if said.epochs is None else said.epochs,
            -1 if said.at is None else said.at,
            -1 if said.made is None else codes.setdefault(said.made, len(codes)),
            *(codes.setdefault(said.worker, len(codes)), said.final, raw is not None),
        )
        if raw is not None:
            self._status += raw[:count]
            self._epochs += raw[count : 5 * count]
            self._losses += raw[5 * count : 9 * count]
            self._bits += raw[9 * count :]
        if said.error is not None:
            self.errors[number] = sys.intern(said.error)
        if said.purpose is not None:
            self.purposes[number] = said.purpose
        if details is not NO_DETAILS:
            self.details[number] = details
        self.seconds.append(said.seconds)

    def _config(self, key: str, names: tuple[str, ...], values: Iterable[Value]) -> int:
        """The place of a config among `keys`."""
        if len(self._configs) < len(self.keys):
            self._configs = {key: place for place, key in enumerate(self.keys)}
        config = self._configs.setdefault(key, len(self.keys))
        if config == len(self.keys):
            self.keys.append(key)
            self._schema_of.append(self._schemas.setdefault(names, len(self._schemas)))
            self._values_at.append(len(self._values))
            self._values += [sys.intern(v) if type(v) is str else v for v in values]
        return config

    def extend(self, more: JournalLines) -> None:
        """Append the lines of another one."""
        number, codes, schemas = len(self.seconds), self._codes, list(more._schemas)
        configs = [
            self._config(key, (names := schemas[schema]), more._values[at : at + len(names)])
            for key, schema, at in zip(more.keys, more._schema_of, more._values_at, strict=True)
        ]
        found = [codes.setdefault(name, len(codes)) for name in more.names]
        rows = np.frombuffer(more._rows, COLUMNS).copy()
        rows["config"] = np.array(configs)[rows["config"]]
        for column in ("made", "worker"):
            rows[column] = np.array([*found, -1])[rows[column]]  # the last is that of -1
        rows["seeds_at"] += len(self._status)
        rows["bits_at"] += len(self._bits)
        self._rows += rows.tobytes()
        self._status += more._status
        self._epochs += more._epochs
        self._losses += more._losses
        self._bits += more._bits
        self.seconds += more.seconds
        self.errors |= {number + line: why for line, why in more.errors.items()}
        self.purposes |= {number + line: one for line, one in more.purposes.items()}
        self.details |= {number + line: one for line, one in more.details.items()}

    def complete(self) -> None:
        """Free what only `take` needs, which makes it again if more lines come."""
        self._configs = {}

    @property
    def names(self) -> list[str]:
        """Workers and digests, each once."""
        if len(self._listed) < len(self._codes):
            self._listed = list(self._codes)
        return self._listed

    def column(self, name: str, places: NDArray[np.int64] | slice = EVERY) -> NDArray[np.int64]:
        """int64: one of `COLUMNS`, of the lines at these places; of all L, if none are given."""
        return np.frombuffer(self._rows, COLUMNS)[name][places].astype(np.int64)

    def _row(self, line: int) -> tuple[int, ...]:
        return _ROW.unpack_from(self._rows, line * _ROW.size)

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
        if len(spent) < len(self.seconds):
            new = slice(len(spent), len(self.seconds))
            size, at = self.column("count", new), self.column("seeds_at", new)
            known = np.flatnonzero(self.column("outcome", new))
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
            if len(spent):
                more, epochs = np.concatenate([counts, more]), np.concatenate([spent, epochs])
            self._ends = more, epochs
        return self._ends

    def point(self, config: int) -> Point:
        """The config at a place of `keys`."""
        names, at = list(self._schemas)[self._schema_of[config]], self._values_at[config]
        values = dict(zip(names, self._values[at : at + len(names)], strict=True))
        return Point.known(values, self.keys[config])

    def parameters(self, configs: NDArray[np.int64]) -> list[str]:
        """The names of all parameters of some configs, in the order in which points have them."""
        names: list[str] = []
        codes, first = np.unique(np.array(self._schema_of)[configs], return_index=True)
        for code in codes[np.argsort(first)].tolist():
            place = 0
            for name in list(self._schemas)[code]:
                if name not in names:  # after the one that it follows in its point
                    names.insert(place, name)
                place = names.index(name) + 1
        return names

    def values(self, name: str, configs: NDArray[np.int64], missing: Any = None) -> list[Any]:
        """Of each config what it has for a parameter; `missing` where it has none."""
        place = np.array([s.index(name) if name in s else -1 for s in self._schemas])
        within = place[np.array(self._schema_of)[configs]]
        at = np.where(within < 0, -1, np.array(self._values_at)[configs] + within)
        if len(at) and at.min() >= 0:
            return list(map(self._values.__getitem__, at.tolist()))
        return [self._values[i] if i >= 0 else missing for i in at.tolist()]

    def evaluation(self, line: int) -> Evaluation:
        """A line as a value."""
        row = self._row(line)
        block = Block(self.point(row[0]), row[2], row[3])
        return Evaluation(
            proposal=row[1],
            block=block,
            outcome=self.outcome([line], row[7]) if row[12] else None,
            error=self.errors.get(line),
            final=bool(row[11]),
            seconds=self.seconds[line],
            worker=self.names[row[10]],
            purpose=self.purposes.get(line),
            made=None if row[9] < 0 else self.names[row[9]],
            at=None if row[8] < 0 else row[8],
        )

    def outcome(self, lines: Sequence[int], epochs: int, *, reasons: bool = False) -> Outcome:
        """What some lines of a config came to, as one; those without an outcome have crashed."""
        parts = [self._part(line, reasons=reasons) for line in lines]
        arrays, details = parts[0]
        if len(parts) > 1:
            width = max(part["predictions"].shape[1] for part, _ in parts)
            for part, _ in parts:
                if part["predictions"].shape[1] < width:  # without an outcome: none
                    part["predictions"] = np.zeros((len(part["seeds"]), width), np.bool_)
            n = len(arrays["seeds"])
            for part, more in parts[1:]:
                details = joined(details, n, more, len(part["seeds"]))
                n += len(part["seeds"])
            arrays = {name: np.concatenate([part[name] for part, _ in parts]) for name in arrays}
        return Outcome.known(arrays, epochs, details=details)

    def _part(self, line: int, *, reasons: bool) -> tuple[dict[str, NDArray[Any]], Details]:
        row = self._row(line)
        first, n, at, bits_at, width = row[2:7]
        seeds = _seeds(first, n)
        if not row[12]:
            why = self.errors[line] if reasons else None
            gone = Outcome.crashed(range(first, first + n), 0, why)
            names = ("status", "solved_epoch", "final_loss", "predictions")
            return {"seeds": seeds} | {name: getattr(gone, name) for name in names}, gone.details
        row_bytes = (width + 7) // 8
        bits = np.frombuffer(bytes(self._bits[bits_at : bits_at + n * row_bytes]), np.uint8)
        return {
            "seeds": seeds,
            "status": np.frombuffer(bytes(self._status[at : at + n]), np.uint8),
            "solved_epoch": np.frombuffer(bytes(self._epochs[4 * at : 4 * (at + n)]), "<i4"),
            "final_loss": np.frombuffer(bytes(self._losses[4 * at : 4 * (at + n)]), "<f4"),
            "predictions": np.unpackbits(bits.reshape(n, row_bytes), axis=1, count=width).view(
                np.bool_
            ),
        }, self.details.get(line, NO_DETAILS)

    def numbers(self, line: int, name: str) -> NDArray[np.float64]:
        """float64, shape (S,): a number of each of a line's seeds; NaN where it failed."""
        row = self._row(line)
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
        places: int64, shape (E,): those that belong to it; all, if none are given.
    """

    def __init__(self, lines: JournalLines, places: NDArray[np.int64] | None = None) -> None:
        self.lines = lines
        self.places = np.arange(len(lines)) if places is None else places

    @classmethod
    def of(cls, evaluations: Iterable[Evaluation]) -> Evaluations:
        """In columns what is given as objects."""
        if isinstance(evaluations, Evaluations):
            return evaluations
        lines = JournalLines()
        for evaluation in evaluations:
            lines.take(encode(evaluation).encode("ascii"))
        return cls(lines)

    def apart(self) -> tuple[Evaluations, Evaluations]:
        """Those of the search, and those of certificates."""
        search = np.ones(len(self.lines), np.bool_)
        search[list(self.lines.purposes)] = False
        chosen = search[self.places]
        return self.where(chosen), self.where(~chosen)

    def column(self, name: str) -> NDArray[np.int64]:
        """int64, shape (E,): one of `COLUMNS`."""
        return self.lines.column(name, self.places)

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

    def ended(self, error: str) -> Evaluations:
        """Those that have no outcome for that reason."""
        lines = [line for line, why in self.lines.errors.items() if why == error]
        return self.where(np.isin(self.places, lines))

    @property
    def given_up(self) -> Evaluations:
        """Those that have no outcome and are not tried again."""
        return self.where((self.column("outcome") == 0) & (self.column("final") > 0))

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


def decode(line: str) -> Evaluation:
    """The evaluation that `encode` wrote; checkpoints of an outcome are not kept."""
    lines = JournalLines()
    lines.take(line.encode())
    return lines.evaluation(0)
