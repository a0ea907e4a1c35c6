"""What a space file says of a command that trains."""

from __future__ import annotations

from dataclasses import dataclass

from xortune.engine.command_template import Template

__all__ = ["EXIT_CODE", "JSON", "METRICS", "NUMBER", "Command"]

EXIT_CODE = "exit code 0"
"""The rule by which a command is a success that ends well."""

JSON, NUMBER = "last line json", "last line number"
METRICS = (JSON, NUMBER)
"""Where numbers are found in what a command prints."""


@dataclass(frozen=True)
class Command:
    """A command, and how it is run and judged, but for the rule for its numbers.

    Attributes:
        template: the command.
        by_exit: whether its exit code decides what a success is.
        metric: where its numbers are, one of `METRICS`; None if it tells none.
        timeout: seconds that it may take for one seed; None for any time.
        files: what it needs, relative to the space file; None for the words of it that are files.
    """

    template: Template
    by_exit: bool = True
    metric: str | None = None
    timeout: float | None = None
    files: tuple[str, ...] | None = None
