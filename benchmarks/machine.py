"""What the benchmarks share: the machine in words, one core, timing, Markdown, the README."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

README = Path(__file__).with_name("README.md")


def cores() -> list[int]:
    """The numbers of the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def stay_on(core: int) -> None:
    """Keep this process, what it starts and its libraries on one core; before torch is loaded."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch's and the fused engine's threads
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def processor() -> str:
    """The processor's name, and its family and model: virtual machines shorten the name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.MULTILINE))
    wide = next((w for w in ("avx512f", "avx2") if w in facts.get("flags", "").split()), "no AVX2")
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts.get('cpu family')}, model {facts.get('model')}, {wide})"


def description() -> str:
    """The machine in one paragraph."""
    packages = [
        f"{name} {version(name)}" if importlib.util.find_spec(name) else f"no {name}"
        for name in ("torch", "numba", "jax")
    ]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {processor()}; {len(cores())} cores, load {load} at the"
        f" start; {platform.system()}, Python {platform.python_version()}, {', '.join(packages)}"
    )


def best_seconds(run: Callable[[], object], *, least: int = 3, budget: float = 0.3) -> float:
    """Seconds of the fastest of several runs: at least so many, more while the budget lasts."""
    seconds: list[float] = []
    while len(seconds) < least or sum(seconds) < budget:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first one to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = "| " + " | ".join(("-" * (w - 1) + ":") if i else "-" * w for i, w in enumerate(widths))
    return "\n".join([lines[0], rule + " |", *lines[1:]])


def in_process(function: Callable[..., Any], *args: Any, limit: float) -> Any:
    """What the function returns in a fresh process; a str says why there is nothing."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, args), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit):
            process.kill()
            return f"not done after {limit:.0f} s"
        return ours.recv()
    except EOFError:
        return "its process died"
    finally:
        process.join()


def _answer(pipe: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        answer = function(*args)
    except Exception as error:  # another's compiler may fail in any way; it is a word in a table
        answer = f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"
    pipe.send(answer)


def write_figures(name: str, text: str) -> None:
    """Put a run's output between the README's marks of that name."""
    before = README.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, rest = before.split(start)
    README.write_text(f"{head}{start}\n{text}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


def show(
    about: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, name: str, readme: bool
) -> None:
    """Print a table, and put it between the README's marks of that name if asked to."""
    text = f"{about}\n\n{table(header, rows)}"
    print(text)
    if readme:
        write_figures(name, text)
