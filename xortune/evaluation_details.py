"""Details of an outcome in a line of the journal: numbers packed, reasons as they are read."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.errors import InputError
from xortune.outcome_details import NO_DETAILS, Details

__all__ = ["MAX_NAMES", "MAX_REASON", "details_fields", "details_of", "values_of"]

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
