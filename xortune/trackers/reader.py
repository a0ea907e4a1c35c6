"""A run's journal as it grows, by configuration: what was read once is not read again."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from xortune.errors import InputError
from xortune.evaluation import Evaluation, decode
from xortune.files import open_regular, unreadable
from xortune.outcome import Outcome
from xortune.run import JOURNAL, ConfigResult
from xortune.run_apart import kept_apart
from xortune.run_certificate_file import CERTIFICATE, read_certificate
from xortune.run_lock import holder
from xortune.run_manifest import MANIFEST, manifest_of
from xortune.run_results import outcomes_of
from xortune.run_sessions import first_made
from xortune.trackers.tracker import About, ConfigLog, State, Step

__all__ = ["Reader"]

TOGETHER = 500
"""Configurations whose numbers are made at once."""

NO_METRIC = ("key", "trials")
"""Columns of a config's table that say nothing of its seeds."""


class Reader:
    """Reads a run on as it grows. Of a journal it keeps where lines begin, and not what they hold.

    Args:
        directory: of the run; it need not be there yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._journal = directory / JOURNAL
        self._lines: dict[str, list[int]] = {}
        self._position = self._number = 0
        self._file: tuple[int, int] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all configurations with a result so far, in the order in which they came."""
        return tuple(self._lines)

    def read_on(self) -> list[str]:
        """Take in the whole lines that came; the keys of the configurations that have more seeds.

        Raises:
            InputError: the journal cannot be read, or a line is damaged, with file and line.
        """
        try:
            file = open_regular(self._journal)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(self._journal, error) from None
        with file:
            found = os.fstat(file.fileno())
            known, self._file = self._file, (found.st_dev, found.st_ino)
            if known not in (None, self._file) or found.st_size < self._position:
                self._lines, self._position, self._number = {}, 0, 0  # another one: all is new
            changed: dict[str, None] = {}
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):  # it is being written
                    break
                self._number += 1
                evaluation = self._decoded(line, f"{self._journal}:{self._number}")
                if evaluation.final and evaluation.purpose is None:
                    key = evaluation.block.point.key
                    self._lines.setdefault(key, []).append(self._position)
                    changed[key] = None
                self._position += len(line)
        return list(changed)

    def about(self) -> About:
        """The run at this moment.

        Raises:
            InputError: its manifest is damaged.
        """
        manifest = manifest_of(self._directory)
        name = str(manifest.get("name") or self._directory.resolve().name)
        return About(
            self._directory,
            "".join("_" if sign in "/\\\0" else sign for sign in name),
            _identity(self._directory, manifest),
            self._state(manifest),
        )

    def configs(self, keys: Iterable[str]) -> Iterator[ConfigLog]:
        """The configurations with these keys, in this order.

        Raises:
            InputError: the journal or what is beside it is damaged.
        """
        manifest = manifest_of(self._directory)
        first = first_made(manifest, str(self._directory / MANIFEST))
        began, certified = _began(manifest), self._certified()
        wanted = list(keys)
        for at in range(0, len(wanted), TOGETHER):
            try:
                with open_regular(self._journal) as file:
                    blocks = [self._blocks(file, key, first) for key in wanted[at : at + TOGETHER]]
            except OSError as error:
                raise unreadable(self._journal, error) from None
            yield from _logs(blocks, began, certified)

    def _state(self, manifest: Mapping[str, Any]) -> State:
        found = holder(self._directory)
        if found is not None and found[1] in ("alive", "elsewhere"):  # there it may live
            return "running"
        return "finished" if manifest.get("complete") is True else "stopped"

    def _certified(self) -> dict[str, dict[str, float]]:
        place = self._directory / CERTIFICATE
        if not place.exists():
            return {}
        found = {}
        for one in read_certificate(place).finalists:
            numbers = {
                "k": one.k,
                "n": one.n,
                "rate": one.rate,
                "lower_bound": one.lower_bound,
                "confidence": one.confidence,
                "gap": one.gap,
                "neighbourhood_lower_bound": one.neighbourhood_bound,
            }
            found[one.key] = {
                f"certified_{name}": float(v) for name, v in numbers.items() if v is not None
            }
        return found

    def _blocks(self, file: BinaryIO, key: str, first: str) -> list[Evaluation]:
        """The blocks of a configuration that count, in the order in which they came."""
        lines = []
        for start in self._lines[key]:
            file.seek(start)
            lines.append(self._decoded(file.readline(), f"{self._journal}: byte {start}"))
        return kept_apart(lines, first)[0][key]

    @staticmethod
    def _decoded(line: bytes, place: str) -> Evaluation:
        try:
            return decode(line.decode("ascii"))
        except UnicodeDecodeError:
            raise InputError("is no JSON", place=place) from None
        except InputError as error:
            raise error.at(f"{place}: {error.field}" if error.field else place) from None


def _identity(directory: Path, manifest: Mapping[str, Any]) -> str:
    """What a run keeps when its directory is moved; of one that says nothing of itself, where."""
    names = ("name", "started", "host", "seed", "command")
    known: dict[str, Any] = {name: manifest.get(name) for name in names}
    if known["started"] is None:
        known = {"path": str(directory.resolve())}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]


def _began(manifest: Mapping[str, Any]) -> int:
    """When the search began, in seconds since 1970; 0 if the manifest does not say it."""
    try:
        return max(0, int(datetime.fromisoformat(str(manifest.get("started"))).timestamp()))
    except (ValueError, OverflowError, OSError):
        return 0


def _logs(
    blocks: Iterable[list[Evaluation]],
    began: int,
    certified: Mapping[str, Mapping[str, float]],
) -> Iterator[ConfigLog]:
    from xortune.frames import config_table

    results, times, sizes = [], [], []
    for found in blocks:
        point = found[0].block.point
        outcomes = list(_cumulative(found))
        results += [ConfigResult(point, point.key, outcome, 0) for outcome in outcomes]
        times += [began if evaluation.at is None else evaluation.at for evaluation in found]
        sizes.append(len(outcomes))
    table = config_table(results, ()).drop(columns=list(NO_METRIC))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.to_numpy(dtype=float)]
    at = 0
    for size in sizes:
        point = results[at].point
        steps = tuple(
            Step(results[i].outcome.n, times[i], _finite(rows[i])) for i in range(at, at + size)
        )
        yield ConfigLog(point.key, point.as_dict(), steps, certified.get(point.key, {}))
        at += size


def _finite(row: Mapping[str, float]) -> dict[str, float]:
    return {name: float(number) for name, number in row.items() if math.isfinite(number)}


def _cumulative(found: list[Evaluation]) -> Iterator[Outcome]:
    """All seeds after each block."""
    merged: Outcome | None = None
    for part in outcomes_of(found):
        merged = part if merged is None else merged.merge(part)
        yield merged
