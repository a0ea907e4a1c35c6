"""Details of an outcome in a line of the journal: numbers packed, reasons as they are read."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import numpy as np

from xortune.errors import InputError
from xortune.outcome_details import NO_DETAILS, Details

__all__ = ["MAX_NAMES", "MAX_REASON", "details_fields", "details_of"]

COMPRESSION = 3

MAX_NAMES, MAX_REASON = 64, 500
"""Of one line: numbers for each seed; letters of a name, and of a reason."""

MAX_NUMBERS = 2**27
"""Of one line, all seeds and names together: a gigabyte."""


def details_fields(details: Details) -> dict[str, Any]:
    """What a line says of them: `values` and `failed`, each only if there are any.

    `values` is {"names": [...], "data": little-endian float64, shape (names, S), compressed, as
    text}; `failed` has the seeds by their reason.
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
    return fields


def details_of(values: object, failed: object, first: int, count: int) -> Details:
    """What `details_fields` wrote; None for a field that is not there.

    Raises:
        InputError: anything that it does not write.
    """
    if values is None and failed is None:
        return NO_DETAILS
    return Details(
        {} if values is None else _values(values, count),
        {} if failed is None else _failed(failed, first, count),
    )


def _values(values: object, count: int) -> dict[str, Any]:
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
