"""A broken setup is not a worse model: which failures of seeds say that nothing has trained."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

FIRST_SEEDS = 3
"""After so many seeds that all failed for a certain cause no further one is tried."""

NO_PROGRAM = {"SyntaxError", "IndentationError", "TabError", "ImportError", "ModuleNotFoundError"}
"""Exceptions of a text that is no program here: no configuration changes that."""

NOT_BEGUN = {
    *("NameError", "UnboundLocalError", "AttributeError", "TypeError", "KeyError"),
    *("FileNotFoundError", "NotADirectoryError", "IsADirectoryError", "PermissionError"),
    "NotImplementedError",
}
"""Exceptions of a program that does not fit what it is given, or lacks a file. All others, such as
RuntimeError, ValueError and MemoryError, are results: a training that diverges raises them."""

_EXCEPTION = re.compile(r"(?:exit code \d+: )?(?:\w+\.)*(\w+)(?::|$)")

_NOT_STARTED = re.compile(
    r"exit code 12[67]\b"  # of a shell: it cannot be run, it is not there
    r"|exit code 2: .*can(?:'|no)t open"  # of an interpreter: its script
    r"|exit code 2: [^:]+: error: "  # of argparse: its options
    r"|cannot be started: .*(?:No such file|Permission denied|Not a directory|Exec format error)",
    re.IGNORECASE,
)

_NO_NUMBER = ("the regex ", "printed nothing", "the last line is ")
"""How the reasons of a command that printed no number begin."""


def broken_setup(reasons: Collection[str]) -> Literal["input", "outcome"] | None:
    """What it says that all seeds so far failed, before any training, for these reasons.

    They failed in the same way if the reasons differ in digits only.

    Returns:
        "input" if the cause is certain: no program, no script, refused options, or a result that
        the rule cannot judge; "outcome" if they say nothing of the training; None if they are
        results, or differ.
    """
    if len({re.sub(r"\d+", "0", reason) for reason in reasons}) != 1:
        return None
    reason = next(iter(reasons))
    found = _EXCEPTION.match(reason)
    exception = found[1] if found else ""
    if exception in NO_PROGRAM or _NOT_STARTED.match(reason) or reason.startswith("returned "):
        return "input"
    return "outcome" if exception in NOT_BEGUN or reason.startswith(_NO_NUMBER) else None
