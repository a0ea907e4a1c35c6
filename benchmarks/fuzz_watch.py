"""What a case of fuzz.py does to the machine, how it ends, and what of that is a finding."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError

__all__ = ["CONTROL", "WATCH", "Findings", "Hang", "attempt"]

COMPUTING, WAITING = 5.0, 20.0


class Hang(BaseException):
    """A case that does not end."""


@dataclass
class Watch:
    """What a case does to the machine, seen by Python's own audit events."""

    folder: Path | None = None
    outside: Path | None = None
    seen: list[str] = field(default_factory=list)

    def hook(self, event: str, given: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            self.opened(given[0], given[2])
        elif event in ("os.rename", "os.link", "os.symlink"):
            self.written(given[1], event)
        elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.utime"):
            self.written(given[0], event)
        elif event == "subprocess.Popen":
            if list(given[1])[:2] != ["git", "rev-parse"]:
                self.seen.append(f"started {given[1]}")
        elif event in ("os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.bind"):
            self.seen.append(f"{event} {given}")
        elif event == "pickle.find_class":
            self.seen.append(f"unpickled {given}")

    def opened(self, path: Any, flags: int) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            self.written(path, "open")
        elif flags & os.O_NOFOLLOW and Path(os.fsdecode(path)).is_symlink():
            return  # refused by the kernel
        elif self.outside is not None and not os.fsdecode(path).endswith(".csv"):
            with contextlib.suppress(OSError, ValueError):
                if Path(os.path.realpath(path)).is_relative_to(self.outside):
                    self.seen.append(f"may have read {os.fsdecode(path)}")

    def written(self, path: Any, how: str) -> None:
        if not isinstance(path, str | bytes | os.PathLike) or self.folder is None:
            return
        with contextlib.suppress(ValueError):
            real = Path(os.path.realpath(Path(os.fsdecode(path)).parent))
            if not real.is_relative_to(self.folder):
                self.seen.append(f"{how} of {os.fsdecode(path)} to write")


WATCH = Watch()


@dataclass
class Findings:
    """What went wrong, and how the cases ended."""

    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    cases: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    def add(self, case: str, what: str) -> None:
        self.problems.append(f"{case}: {what}")
        self.kinds[what.splitlines()[-1][:150]] += 1


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def attempt(findings: Findings, case: str, name: str, action: Callable[[], str]) -> None:
    """Do one thing to one case; `action` returns how it ended, or raises what is a finding."""
    label = f"{case} {name}"
    WATCH.seen.clear()
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    began = time.process_time()
    try:
        findings.ends[f"{name}: {action()}"] += 1
    except Hang:
        findings.add(label, f"hangs for {WAITING} s\n{name} hangs")
    except InputError as error:
        findings.ends[f"{name}: refused"] += 1
        if len(str(error)) < 10:
            findings.add(label, f"says only {error}")
    except AssertionError as error:
        findings.add(label, f"{name}: {error}")
    except Exception:
        lines = traceback.format_exc().splitlines()
        place = next((x.strip() for x in reversed(lines) if "/xortune/" in x), "")
        findings.add(label, "\n".join([*lines[-14:], f"{name}: {lines[-1]} at {place}"]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    spent = time.process_time() - began
    findings.slowest = max(findings.slowest, (spent, label))
    if spent > COMPUTING:
        findings.add(label, f"took {spent:.1f} s\n{name} took more than {COMPUTING} s")
    for seen in dict.fromkeys(WATCH.seen):
        findings.add(label, f"{name}: {seen}")
