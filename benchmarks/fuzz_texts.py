"""What fuzz.py does to a text: lines, values and keys are changed, cut, moved, made large."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

__all__ = ["flipped", "mutated_text"]

NUMBERS = [
    "0", "-1", "-0.0", "1", "2.5", "1e-400", "1e400", "-1e308", "5e-324", ".nan", "-.inf", "NaN",
    "Infinity", "2147483648", "4294967295", "4294967296", "9007199254740993",
    "18446744073709551616", "1" + "0" * 350, "9" * 5000, "0x7fffffffffffffff", "1_000", "1:30:00",
]  # fmt: skip

WORDS = [
    "null", "true", "~", "''", "[]", "{}", "no", "2026-01-01",
    "!!python/object/apply:os.system [x]",
    "!!python/object/new:os.system [touch PWNED]", "!!binary aGk=", "!x y", "&a [*a, *a]", "*a",
    "<<: *a", "? [1, 2]", "|", ">-", "%YAML 1.2", "---", "...", "@x", "`x`",
    "../../../outside/secret",
    "/dev/zero", "~/.ssh/id_rsa", "{csv: ../outside/secret.csv, target: y}", "{csv: /dev/zero}",
    "task: {csv: /dev/stdin, target: y}", "parity-12", "parity-99999999",
    "<script>alert(1)</script>",
    "[link](javascript:alert(1))", "[bold red]x[/]", "[/]", '"\\x1b[31m"', '"\\ud800"', '"\\u202e"',
    '"\\0"', "=cmd|'/c calc'!A0", "| a | b |", "${HOME}", "$(touch PWNED)", "`touch PWNED`",
    "choice", "{low: 1, high: 0}", "{low: 0, high: 1, log: true}", "{choice: []}",
    "{choice: [1, 1.0]}",
    "{low: 1, high: 9007199254740992}", "{low: 1.0e-300, high: 1.0e+300, log: true}",
    "{low: 0, high: 1, step: 1.0e-12}", "{when: {x: 1}}", "{choice: [a, b], when: {lr: 0.1}}",
]  # fmt: skip

RAW = [
    "\x1b]0;x\x07", "\x00", "\ufeff", "\u2028", "\u202e", "\x85", "\r", "\t", "\x7f", "\ud800"[:0],
    "é", "😀", "\n\n", " ", "  - ", ": ", "#", '"', "'", "{", "[", "}", "]", ",", "&", "*", "!",
]  # fmt: skip

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


def mutated_text(chance: Random, text: str, other: str = "") -> bytes:
    """A text after one to four changes, as bytes: some are no longer UTF-8."""
    for _ in range(chance.choice([1, 1, 1, 2, 2, 3, 4])):
        change = chance.choice([*_TEXT_CHANGES, None])
        text = _spliced(chance, text, other) if change is None else change(chance, text)
    data = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.06:
        data = flipped(chance, data)
    return data


def flipped(chance: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 3, 20])):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _lines(change: Callable[[Random, list[str]], None]) -> Any:
    def changed(chance: Random, text: str) -> str:
        lines = text.split("\n")
        change(chance, lines)
        return "\n".join(lines)

    return changed


def _at(chance: Random, parts: list[str]) -> int:
    return chance.randrange(len(parts)) if parts else 0


def _cut(chance: Random, lines: list[str]) -> None:
    del lines[_at(chance, lines) :][: chance.choice([1, 1, 2, 5])]
    if lines:
        del lines[_at(chance, lines)]


def _twice(chance: Random, lines: list[str]) -> None:
    if lines:
        lines.insert(_at(chance, lines), chance.choice(lines))


def _moved(chance: Random, lines: list[str]) -> None:
    if lines:
        lines.insert(_at(chance, lines), lines.pop(_at(chance, lines)))


def _indented(chance: Random, lines: list[str]) -> None:
    at = _at(chance, lines)
    lines[at] = (
        lines[at].lstrip() if chance.random() < 0.4 else " " * chance.randrange(9) + lines[at]
    )


def _spliced(chance: Random, text: str, other: str) -> str:
    """A line of another file among the lines."""
    lines = text.split("\n")
    lines.insert(_at(chance, lines), chance.choice(other.split("\n")))
    return "\n".join(lines)


def _value(chance: Random, lines: list[str]) -> None:
    """Another value behind a colon."""
    with_value = [i for i, line in enumerate(lines) if ": " in line]
    if with_value:
        at = chance.choice(with_value)
        lines[at] = lines[at].partition(": ")[0] + ": " + chance.choice(NUMBERS + WORDS)


def _key(chance: Random, lines: list[str]) -> None:
    """Another word in front of a colon."""
    with_key = [i for i, line in enumerate(lines) if ":" in line]
    if with_key:
        at = chance.choice(with_key)
        key, _, rest = lines[at].partition(":")
        new = chance.choice(
            [key.upper(), key[:-1], "x" + key.strip(), "__class__", "key", "k", "''"]
        )
        lines[at] = f"{key[: len(key) - len(key.lstrip())]}{new}:{rest}"


def _scalar(chance: Random, text: str) -> str:
    """Another number or word in place of one, anywhere."""
    found = list(re.finditer(r"[\w.+-]+", text))
    if not found:
        return text
    match = chance.choice(found)
    return text[: match.start()] + chance.choice(NUMBERS + WORDS) + text[match.end() :]


def _inserted(chance: Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(RAW + WORDS) + text[at:]


def _removed(chance: Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + text[at + chance.choice([1, 1, 2, 10, 200]) :]


def _large(chance: Random, text: str) -> str:
    """Deep, long, or exponential."""
    kind = chance.randrange(7)
    if kind == 0:
        return LAUGHS + text
    if kind == 1:
        return text + "\ndeep: " + "[" * chance.choice([11, 1000, 50_000])
    if kind == 2:
        return text + "\ndeep: " + "{a: " * chance.choice([11, 1000, 20_000])
    if kind == 3:
        return text + "\n" + "x" * chance.choice([1000, 200_000]) + ": 1"
    if kind == 4:
        values = ", ".join(str(n) for n in range(chance.choice([300, 20_000])))
        return text.replace("parameters:", f"parameters:\n  many: {{choice: [{values}]}}", 1)
    if kind == 5:
        more = "".join(f"  p{n}: {{low: 0, high: 1}}\n" for n in range(chance.choice([50, 300])))
        return text.replace("parameters:\n", f"parameters:\n{more}", 1)
    return text * chance.choice([2, 300])


_TEXT_CHANGES: list[Any] = [
    _lines(_cut),
    _lines(_twice),
    _lines(_moved),
    _lines(_indented),
    *[_lines(_value)] * 5,
    _lines(_key),
    *[_scalar] * 4,
    _inserted,
    _inserted,
    _removed,
    _large,
]
