"""A command line as others may see it: a password in a URL reaches no file and no terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["without_password", "without_passwords"]

_PASSWORD = re.compile(r"(?<=://)([^:/@]*):.*@")


def without_password(url: str) -> str:
    """The URL with asterisks for its password; any other text as it is."""
    return _PASSWORD.sub(r"\1:***@", url)


def without_passwords(words: Sequence[str]) -> list[str]:
    """The words of a command line, each without the password that its URL may have."""
    return [without_password(word) for word in words]
