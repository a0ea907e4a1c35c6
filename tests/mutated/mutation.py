"""A wrong line."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """One wrong line, and the tests that should notice."""

    file: str
    old: str
    new: str
    tests: str
