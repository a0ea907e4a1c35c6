"""Drawing the thread's claims in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xortune.report.format import interval
from xortune.thread.claims import AS_POSTED
from xortune.thread.page import answer
from xortune.thread.settle import Settled
from xortune.thread.verdict import Judged
from xortune.thread.wording import named

__all__ = ["render_thread"]

STYLES = {"consistent": "green", "inconsistent": "red"}


def render_thread(settled: Settled, files: Sequence[Path], console: Console) -> None:
    """A row for each claim and variant, the comparisons, the answer, the files."""
    table = Table(box=None, pad_edge=False)
    for name in ("claim", "quoted", "measured", "95 % interval", "verdict"):
        table.add_column(name, justify="right" if name in {"measured", "95 % interval"} else "left")
    for row in settled.rows:
        table.add_row(
            Text(_label(row)),
            Text(row.row.quoted.shown if row.variant.name == AS_POSTED else ""),
            Text(f"{row.k:,}/{row.n:,}"),
            Text(interval(row.low, row.high)),
            Text(str(row.verdict), style=STYLES.get(row.verdict, "")),
        )
    console.print(table)
    for one in settled.comparisons:
        text = (
            f"{named(one.more)} {one.k_more:,} beside {named(one.than)} {one.k_than:,} of the same "
            f"{one.n:,} seeds: {one.verdict}"
        )
        console.print(Text(f"{one.place}: {one.claim}: {text}"))
    for block in answer(settled):
        console.print()
        console.print(Text(block.replace("**", "").replace("```sh\n", "  ").replace("\n```", "")))
    for file in files:
        console.print(Text(str(file)), soft_wrap=True)


def _label(row: Judged) -> str:
    return row.row.id if row.variant.name == AS_POSTED else f"  {row.variant.name}"
