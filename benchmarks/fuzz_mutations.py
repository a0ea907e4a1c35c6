"""What fuzz.py does to run directories; all of it follows from a seed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import zlib
from pathlib import Path
from random import Random
from typing import Any

from fuzz_texts import flipped, mutated_text

from xortune.core.point import Point

__all__ = ["mutate_run"]

LOCK = f"lock/0001-{'f' * 32}.json"

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, -1e308, 1e308, 5e-324, 2**31, 2**32 - 1, 2**32, 2**53 + 1,
    10**18, 10**400, "", "x", "../../outside/secret", "/dev/zero", "\x1b[31mred\x1b[0m",
    "\x1b]0;x\x07",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[bold]x[/bold]", "[/]",
    "a|b\n# c",
    "![x](javascript:alert(1))", "```", "\ud800", "\u202e", "\x00", "=1+1", "@x", "x" * 5000, [],
    {},
    [[]], {"x": 1}, [1, 2], "2026-13-45", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-14:00",
]  # fmt: skip


def mutated_json(chance: Random, value: Any) -> Any:
    """A JSON value with something in it replaced, removed, renamed or added."""
    ways = list(_ways(value))
    way = chance.choice(ways)
    if not way:
        return chance.choice(VALUES)
    inner = value
    for step in way[:-1]:
        inner = inner[step]
    last, change = way[-1], chance.random()
    if change < 0.7:
        inner[last] = _near(chance, inner[last]) if chance.random() < 0.4 else chance.choice(VALUES)
    elif change < 0.85:
        del inner[last]
    elif isinstance(inner, dict):
        renamed = chance.choice(["x", "\x1b[2J", "<b>", "k", "n", "../x", "key"])
        items = [(renamed if key == last else key, part) for key, part in inner.items()]
        inner.clear()
        inner.update(items)
    else:
        inner.insert(last, inner[last])
    return value


def _near(chance: Random, value: Any) -> Any:
    """A value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice([value + 1, value - 1, -value, value * 1000, value * 10**12, 0])
    if isinstance(value, float):
        return chance.choice([-value, value * 1e300, value / 1e300, value + 1, 0.0])
    if isinstance(value, str):
        return chance.choice(
            [value[:-1], value.upper(), value + "\x1b[1m", value * 50, f"../{value}"]
        )
    return value


def _ways(value: Any, way: tuple[Any, ...] = ()) -> Any:
    yield way
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in items:
        yield from _ways(part, (*way, key))


def mutate_run(chance: Random, run: Path) -> str:
    """Change one to three things in a run's directory; what was done, in words.

    Beside its parent lies a folder `outside`, which no run may reach.
    """
    told = []
    changes = chance.choices(_RUN_CHANGES, k=chance.choice([1, 1, 1, 2, 2, 3]))
    # Pipes come last: a change that came after would wait for one.
    for change in sorted(changes, key=lambda change: change is _other_thing):
        try:
            change(chance, run)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            AttributeError,
            RecursionError,
        ):
            continue  # an earlier change has left nothing to change
        told.append(change.__name__.strip("_"))
    return ", ".join(told)


def _journal_bytes(chance: Random, run: Path) -> None:
    place = run / "evaluations.jsonl"
    place.write_bytes(flipped(chance, place.read_bytes()))


def _journal_lines(chance: Random, run: Path) -> None:
    place = run / "evaluations.jsonl"
    lines = place.read_bytes().splitlines(keepends=True)
    at, kind = chance.randrange(len(lines)), chance.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[chance.randrange(len(lines))])
    elif kind == 2:
        lines[at] = lines[at][: chance.randrange(len(lines[at]))] + chance.choice([b"", b"\n"])
    elif kind == 3:
        chance.shuffle(lines)
    elif kind == 4:
        lines.insert(at, chance.choice([b"\n", b"\0" * 100 + b"\n", b"[" * 50_000 + b"\n", b"1\n"]))
    else:
        lines[at] = lines[at].replace(b":", chance.choice([b": NaN,", b":1e999,", b"::"]), 1)
    place.write_bytes(b"".join(lines))


def _journal_line(chance: Random, run: Path) -> None:
    """A field of a line, or of many, its key put right where it can be."""
    place = run / "evaluations.jsonl"
    lines = place.read_text().splitlines()
    seed, all_of_them = chance.random(), chance.random() < 0.3
    for at in range(len(lines)) if all_of_them else [chance.randrange(len(lines))]:
        fields = json.loads(lines[at])
        again = Random(seed)
        for name in again.sample(list(fields), 1):
            fields[name] = (
                again.choice(VALUES) if again.random() < 0.5 else mutated_json(again, fields[name])
            )
        lines[at] = json.dumps(_keyed(fields, finalist=seed < 0.5))
    place.write_text("\n".join(lines) + "\n")


def _journal_config(chance: Random, run: Path) -> None:
    """Settings of a configuration in all its lines, its key put right: what a forger would do."""
    place = run / "evaluations.jsonl"
    lines = [json.loads(line) for line in place.read_text().splitlines()]
    config = chance.choice(lines)["config"]
    name = chance.choice([*config, "new", "key", "=1+1", "<b>x</b>", "\x1b[5m", "epochs"])
    values = [v for v in VALUES if not isinstance(v, list | dict)]
    value = chance.choice(values)
    for fields in lines:
        if fields["config"] == config or chance.random() < 0.1:
            fields["config"] = fields["config"] | {name: value}
            _keyed(fields)
    place.write_text("".join(json.dumps(fields) + "\n" for fields in lines))


def _keyed(fields: Any, *, finalist: bool = False) -> Any:
    try:
        fields["key"] = Point(fields["config"]).key
        if finalist and "purpose" in fields:
            fields["purpose"]["finalist"] = fields["key"]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        pass
    return fields


def _journal_seeds(chance: Random, run: Path) -> None:
    """What the per-seed arrays say, packed as it should be."""
    place = run / "evaluations.jsonl"
    lines = [json.loads(line) for line in place.read_text().splitlines()]
    fields = chance.choice([line for line in lines if line["seeds_data"]])
    data = zlib.decompress(base64.b64decode(fields["seeds_data"]))
    kind = chance.randrange(5)
    if kind == 0:
        data = data[:4] + flipped(chance, data[4:])
    elif kind == 1:
        data = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x01\0\0\x80"]) + data[4:]
    elif kind == 2:
        data = data[: chance.randrange(len(data))]
    elif kind == 3:  # a bomb: 100 MB of zeros in 100 kB
        data = data[:4] + b"\0" * 100_000_000
    else:
        count, width = chance.choice([(1, 2**31 - 8), (100_000, 8), (1, 10**7)])
        size = count * (9 + (width + 7) // 8)
        if size < 50_000_000:
            data = width.to_bytes(4, "little") + b"\0" * size
            fields |= {"count": count, "k": count, "n": count}
    if kind < 3 and chance.random() < 0.8:
        fields["k"] = data[4 : 4 + fields["count"]].count(0)
    fields["seeds_data"] = base64.b64encode(zlib.compress(data)).decode()
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _json_file(chance: Random, run: Path) -> None:
    place = run / chance.choice(["manifest.json", "manifest.json", "certificate.json", LOCK])
    value = json.loads(place.read_text())
    for _ in range(chance.choice([1, 1, 3])):
        value = mutated_json(chance, value)
    place.write_text(json.dumps(value))


def _certificate(chance: Random, run: Path) -> None:
    """A certificate of another config, its keys put right."""
    place = run / "certificate.json"
    value = json.loads(place.read_text())
    for attempt in [value, *value["attempts"]]:
        for found in attempt["finalists"]:
            found["config"]["activation"] = chance.choice(["\x1b[31m", "<b>x</b>", "[red]x", None])
            found["key"] = Point(found["config"]).key
    place.write_text(json.dumps(value))


def _text_file(chance: Random, run: Path) -> None:
    names = ["space.yaml", "space.yaml", "manifest.json", "certificate.json", LOCK]
    place = run / chance.choice(names)
    place.write_bytes(mutated_text(chance, place.read_text(), (run / "space.yaml").read_text()))


def _no_file(chance: Random, run: Path) -> None:
    chance.choice(sorted(path for path in run.rglob("*") if path.is_file())).unlink()


def _other_thing(chance: Random, run: Path) -> None:
    """A directory, a link, a pipe, an empty file or noise in the place of a file."""
    there = sorted(path.name for path in run.iterdir())
    place = run / chance.choice([*there, "report.md", "table.csv", LOCK])
    outside = run.parent.with_name("outside")
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    kind = chance.randrange(7)
    if kind == 0:
        place.mkdir()
    elif kind == 1:
        place.symlink_to(outside / chance.choice(["secret", "secret.csv", "run.jsonl", "new"]))
    elif kind == 2:
        place.symlink_to(chance.choice([outside, Path("/dev/zero"), place, Path("/dev/stdin")]))
    elif kind == 3:
        os.mkfifo(place)
    elif kind == 4:
        place.write_bytes(b"")
    elif kind == 5:
        place.symlink_to(Path("../outside/secret"))
    else:
        place.write_bytes(chance.randbytes(500))


PICKLE = b"cos\nsystem\n(S'touch PWNED'\ntR."


def _pickles(chance: Random, run: Path) -> None:
    """What a careless reader would load."""
    names = [
        "table.parquet",
        "seeds.parquet",
        "table.csv",
        "seeds.pkl",
        "study.pkl",
        "certificate.json",
    ]
    for name in chance.sample(names, 3):
        (run / name).write_bytes(PICKLE)
    (run / "ray").mkdir(exist_ok=True)
    for name in ("tuner.pkl", "trainable.pkl", "searcher-state.pkl"):
        (run / "ray" / name).write_bytes(PICKLE)


def _paths(chance: Random, run: Path) -> None:
    """Names that lead elsewhere."""
    place = run / "manifest.json"
    value = json.loads(place.read_text())
    secret = str(run.parent.with_name("outside") / "secret")
    bad = chance.choice(["../outside/secret", secret, "..", "/", "a\0b", "x\ny"])
    value |= dict.fromkeys(chance.sample(["name", "space_file", "task", "host", "command"], 2), bad)
    place.write_text(json.dumps(value))


_RUN_CHANGES: list[Any] = [
    _journal_bytes,
    _journal_lines,
    _journal_lines,
    *[_journal_line] * 5,
    *[_journal_config] * 3,
    _journal_seeds,
    _journal_seeds,
    *[_json_file] * 4,
    _certificate,
    *[_text_file] * 3,
    _no_file,
    _other_thing,
    _other_thing,
    _pickles,
    _paths,
]
