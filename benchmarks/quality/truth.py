"""How good a configuration really is: its success rate on seeds that no method has seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from quality import surface, tables
from quality.spaces import BenchSpace
from xortune.core.point import Point

SEEDS = range(3_300_000_000, 3_300_010_000)
"""Above all that methods train under: SMAC draws below 2**31, the others from 0 and a shift on."""


def true_rates(bench: BenchSpace, points: Sequence[Point], cache: Path) -> list[float]:
    """The true rate of each point; what was trained once is read from `cache` (JSON lines)."""
    if bench.table:
        return [tables.true_rate(bench.name, point) for point in points]
    if bench.synthetic:
        return [surface.true_rate(point) for point in points]
    known = _read(cache)
    rates = []
    for point in points:
        key = bench.trained_key(point)
        if key not in known:
            known[key] = bench.train(point, SEEDS).successes
            line = json.dumps({"key": key, "k": known[key], "n": len(SEEDS)})
            with cache.open("a", encoding="ascii") as file:  # one write: others append as well
                file.write(line + "\n")
        rates.append(known[key] / len(SEEDS))
    return rates


def _read(cache: Path) -> dict[str, int]:
    if not cache.exists():
        return {}
    lines = cache.read_text(encoding="ascii").splitlines()
    return {line["key"]: line["k"] for line in map(json.loads, lines) if line["n"] == len(SEEDS)}
