"""A command as a trainer: run for each seed, in any language."""

from __future__ import annotations

import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar

from xortune.core.errors import InputError, TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.success import VALUE, Success
from xortune.core.trainer import Block, OutOfTime
from xortune.spaces.command import EXIT_CODE, NUMBER, Command, RegexMetric, Template
from xortune.trainers.limits import THREADS, time_is_over
from xortune.trainers.reaper import REAPER, kill_group
from xortune.trainers.source import MOST, SentFiles, digest_of
from xortune.trainers.verdicts import (
    SOLVED,
    SUCCESS,
    KnownSeeds,
    Points,
    SeedResults,
    SeedVerdict,
    Way,
    crashed,
    judged,
    one_line,
)

# -------------------------------------------------------------------------------------------------
# The files that a command needs, as they were when the search began, and where it runs.

_SKIPPED = "__pycache__"


def kept_files(folder: Path, template: Template, names: Sequence[str] | None) -> SentFiles:
    """Read the files of a command: those named, or else its words that are files. Nothing is run.

    Raises:
        InputError: one is not there, lies elsewhere, or all are too large to be sent.
    """
    root = folder.resolve()
    chosen = _words(root, template) if names is None else names
    found = {path: None for name in chosen for path in _paths(root, name)}
    files, programs, size = [], set(), 0
    for path in sorted(found):
        try:
            size += path.stat().st_size
            if size > MOST:
                raise _too_large(names is None)
            name = path.relative_to(root).as_posix()
            files.append((name, path.read_bytes()))
            if path.stat().st_mode & 0o111:
                programs.add(name)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})", field="files") from None
    return SentFiles(str(root), tuple(files), frozenset(programs))


def _words(root: Path, template: Template) -> Iterator[str]:
    """Words without placeholders that name files below the folder."""
    for word in template.words:
        text = word.parts[0]
        if len(word.parts) > 1 or not isinstance(text, str) or _outside(text):
            continue
        try:
            if (root / text).is_file():
                yield text
        except (OSError, ValueError):  # too long for a path, or a NUL in it
            continue


def _paths(root: Path, name: str) -> list[Path]:
    """The file of that name, or the files in the folder of that name."""
    path = root / name
    if _outside(name):
        raise InputError(
            f"{name!r} is not below the folder of the space file",
            field="files",
            allowed="files and folders beside the space file, or in folders there",
            fix="copy it there, or give the command its absolute path and leave it out here",
        )
    if path.is_dir():
        inside = (p for p in path.rglob("*") if p.is_file())
        return [p for p in inside if _SKIPPED not in p.parts]
    if not path.is_file():
        raise InputError(
            f"there is no file {name!r} in {root}",
            field="files",
            allowed="files and folders, relative to the space file",
            fix="correct its name, or remove it",
        )
    return [path]


def _outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or not path.parts


def _too_large(guessed: bool) -> InputError:
    return InputError(
        f"the files of the command are larger than {MOST:,} bytes",
        field="files",
        allowed="programs, not data, because each worker is sent all of it",
        fix="name those that are to be sent, `files: [train.py]`, or none, `files: []`"
        if guessed
        else "leave the large ones out, and give the command their absolute paths",
    )


# -------------------------------------------------------------------------------------------------
# One run of a command: its exit, the end of what it printed, and nothing of it left behind.

KEPT = 4_000
"""Bytes that are kept of what a command printed, on stdout and stderr together: the last ones."""

LINE = 65_536
"""Bytes that are kept of stdout, for its last line."""

CHUNK, FULL = 65_536, 16
"""Bytes that are read at once; a pipe holds one such piece, and this many at most."""

LOOK = 0.02
"""Seconds between two checks whether the process has ended, where no pidfd tells."""


@dataclass(frozen=True)
class CommandResult:
    """What came of a command.

    Attributes:
        code: its exit code; negative: the signal that ended it; None if it never began, or was
            stopped at its time limit.
        problem: why it never began, or was stopped.
        stdout: the end of it, at most `LINE` bytes.
        stderr: likewise.
        output: the end of both, in the order in which they came, at most `KEPT` bytes.
        whole: whether `stdout` is all of it.
    """

    code: int | None
    problem: str | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    output: bytes = b""
    whole: bool = True


class _Tail:
    """The last bytes of what comes in pieces."""

    def __init__(self, most: int) -> None:
        self._most, self.whole = most, True
        self._kept = bytearray()

    def take(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) > self._most:
            del self._kept[: -self._most]
            self.whole = False

    @property
    def kept(self) -> bytes:
        return bytes(self._kept)


def run_command(
    argv: Sequence[str], folder: Path, limit: float | None, threads: int = 1
) -> CommandResult:
    """Run a command to its end, or to its time limit; then whatever it started is killed.

    It has no input, this process's environment with two variables more, and a session of its own: a
    Ctrl-C is not for it.
    """
    try:
        process = REAPER.popen(
            argv,
            {**os.environ, THREADS: str(threads)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in a word
        reason = getattr(error, "strerror", None) or str(error)
        return CommandResult(None, f"cannot be started: {argv[0]!r}: {reason}")
    with process:
        reader = _Reader(process)
        ended = False
        try:
            ended = reader.read(limit)
        finally:
            # Its number stays its own until it is waited for, so nobody else is killed.
            kill_group(process.pid, session=not ended)
            reader.drain()
            if ended and not reader.closed:  # somebody outside its group holds its pipes still
                kill_group(process.pid, session=True)
                reader.drain()
            REAPER.forget(process.pid)
            reader.close()
    # On leaving `with` it has been waited for.
    problem = None if ended else f"took longer than {limit:g} s"
    return CommandResult(
        process.returncode if ended else None,
        problem,
        reader.out.kept,
        reader.err.kept,
        reader.both.kept,
        reader.out.whole,
    )


class _Reader:
    """Reads both pipes of a process as something comes, and sees it end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.out, self.err, self.both = _Tail(LINE), _Tail(LINE), _Tail(KEPT)
        self._selector = selectors.DefaultSelector()
        assert process.stdout is not None
        assert process.stderr is not None
        self._open: dict[IO[bytes], _Tail] = {process.stdout: self.out, process.stderr: self.err}
        for pipe in self._open:
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, pipe)
        self._handle = _handle_of(process.pid)
        if self._handle is not None:
            self._selector.register(self._handle, selectors.EVENT_READ)

    @property
    def closed(self) -> bool:
        """Whether nobody holds the other end of either pipe any more."""
        return not self._open

    def read(self, limit: float | None) -> bool:
        """Read until the process has ended; False if it has not within so many seconds."""
        over = None if limit is None else time.monotonic() + limit
        while True:
            left = None if over is None else over - time.monotonic()
            if left is not None and left <= 0:
                return False
            for key, _ in self._selector.select(self._patience(left)):
                if key.data is None:  # the process itself
                    return True
                self._take(key.data)
            if self._handle is None and self._has_ended():
                return True

    def drain(self) -> None:
        """Take what is in the pipes now, and no more: a writer may never stop."""
        for pipe in list(self._open):
            for _ in range(FULL):
                if pipe not in self._open or not self._take(pipe):
                    break

    def close(self) -> None:
        """Close all but the pipes, which belong to the process object."""
        self._selector.close()
        if self._handle is not None:
            os.close(self._handle)

    def _patience(self, left: float | None) -> float | None:
        if self._handle is not None:
            return left
        return LOOK if left is None else min(left, LOOK)

    def _has_ended(self) -> bool:
        """Whether it has, without waiting for it: its number stays its own."""
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None

    def _take(self, pipe: IO[bytes]) -> bool:
        """Take a piece; whether there was one."""
        try:
            chunk = os.read(pipe.fileno(), CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(pipe)
            del self._open[pipe]
            return False
        self._open[pipe].take(chunk)
        self.both.take(chunk)
        return True


def _handle_of(process: int) -> int | None:
    """A file that can be read when a process has ended; None where there is no such thing."""
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return None


def signal_of(code: int) -> str:
    """The name of the signal that ended a process, by its negative exit code."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


# -------------------------------------------------------------------------------------------------
# What a command's exit and its last line say of a seed.

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NONE = re.compile(r"([-+]?)(?:(nan)(?:\([^)]*\))?|(inf)(?:inity)?)", re.IGNORECASE)
_WORDS = re.compile(
    r'"(?:[^"\\]|\\.)*"|(?<![\w.])[-+]?(?:nan(?:\([^)]*\))?|inf(?:inity)?)(?![\w.])', re.IGNORECASE
)


def verdict_of(
    result: CommandResult,
    success: Success | None,
    metric: str | RegexMetric | None,
    *,
    by_exit: bool,
) -> SeedVerdict:
    """Judge what a command came to.

    Any other exit code than 0 is a crash: nobody can tell a program that says no from one that
    broke. One that has to say no says it by a number, or true or false, and ends with 0.
    """
    if result.problem is not None or result.code != 0:
        code = result.code or 0
        ended = f"exit code {code}" if code > 0 else f"killed by {signal_of(code)}"
        why = result.problem or ended
        last = _last(result.stderr) or _last(result.stdout)  # mostly the cause
        return crashed(one_line(f"{why}: {last}" if last else why))
    if metric is None:
        return SeedVerdict(SOLVED)
    try:
        told = _found(result, metric) if isinstance(metric, RegexMetric) else _told(result, metric)
        return judged(_with_exit(told) if by_exit else told, success)
    except InputError as error:
        return crashed(one_line(str(error)))


def _last(printed: bytes) -> str:
    """The last line that is not blank."""
    lines = re.split(r"[\r\n]+", printed.decode("utf-8", "replace"))  # \r: progress bars
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _told(result: CommandResult, metric: str) -> object:
    """What the last line of stdout says.

    Raises:
        InputError: there is none, or it says nothing of that kind.
    """
    line = _last(result.stdout)
    if not line:
        raise InputError("printed nothing on stdout", allowed=f"what `metric: {metric}` says")
    if not result.whole and b"\n" not in result.stdout.rstrip():
        raise InputError(f"the last line is longer than {LINE:,} bytes")
    shown = line if len(line) <= 120 else line[:117] + "..."
    if metric == NUMBER:
        if _NUMBER.fullmatch(line) or _NONE.fullmatch(line):
            return float(line.partition("(")[0])  # C prints nan(0x...) too
        raise InputError(f"the last line is {shown!r}", allowed="a number and nothing else")
    try:
        return json.loads(_WORDS.sub(lambda found: _python(found[0]), line))
    except (ValueError, RecursionError):  # ValueError: also a whole number of too many digits
        raise InputError(
            f"the last line is {shown!r}",
            allowed='JSON: a number, true, false, or an object of these such as {"accuracy": 0.9}',
        ) from None


def _places(result: CommandResult, metric: RegexMetric) -> list[str]:
    """What a regex finds, as it was printed: on stdout, or if there is nothing, on stderr."""
    for printed in (result.stdout, result.stderr):
        text = printed.decode("utf-8", "replace")
        if found := list(re.finditer(metric.regex, text, re.MULTILINE)):
            return [(one[1 if one.re.groups else 0] or "").strip() for one in found]
    return []


def _number(found: str) -> float | None:
    """What a regex found as a number; None if it is none."""
    number = found.rstrip(".,;")  # a sentence may end there
    known = _NUMBER.fullmatch(number) or _NONE.fullmatch(number)
    return float(number.partition("(")[0]) if known else None


def way_of(result: CommandResult, metric: str | RegexMetric | None) -> Points:
    """All numbers that a regex finds, thinned: how a seed came to the last of them."""
    way = Way()
    if isinstance(metric, RegexMetric) and result.whole:  # else the first ones are not known
        for found in _places(result, metric):
            if (number := _number(found)) is not None:
                way.add(partial(dict, [(metric.name, number)]))
    return way.points


def _found(result: CommandResult, metric: RegexMetric) -> dict[str, float]:
    """The number in the last place where a regex fits.

    Raises:
        InputError: it fits nowhere, or what it finds is no number.
    """
    if places := _places(result, metric):
        if (number := _number(places[-1])) is not None:
            return {metric.name: number}
        raise InputError(f"the regex found {places[-1]!r:.120}", allowed="a number")
    last = _last(result.stdout) or _last(result.stderr)
    raise InputError(
        f"the regex {metric.regex!r} matches nothing that the command printed"
        + (f"; the last line is {last!r:.120}" if last else ", because it printed nothing"),
    )


def _python(word: str) -> str:
    """No number, as C and awk print it, as Python's parser of JSON reads it; texts stay."""
    found = _NONE.fullmatch(word)
    if found is None:
        return word
    if found[2]:
        return "NaN"
    return "-Infinity" if found[1] == "-" else "Infinity"


def _with_exit(told: object) -> object:
    """Numbers beside an exit code that has decided already.

    Raises:
        InputError: it says that it was none.
    """
    if told is True or told is False:
        told = {SUCCESS: told}
    elif isinstance(told, int | float):
        told = {VALUE: told}
    if not isinstance(told, dict):
        return told  # refused in the same words as without an exit code
    if told.get(SUCCESS) is False:
        raise InputError(
            f"says that {SUCCESS} is false, but exits with code 0",
            allowed=f"with success: {EXIT_CODE!r} an exit code that agrees",
        )
    return told if SUCCESS in told else {**told, SUCCESS: True}


SECONDS = 0.1
"""Assumed for a seed until seeds are measured; see `trainers.function.SECONDS`."""

MOST_OUTPUTS = 16
"""How many failed seeds of a block keep their output: most print the same."""


@dataclass(frozen=True)
class CommandTrainer:
    """Trains by a command, seed after seed.

    A seed has crashed if the command cannot be started, takes too long, ends with another exit code
    than 0, or prints no number where one is due. The end of what it printed is kept then.
    """

    command: Command
    success: Success | None
    kept: SentFiles
    threads: int = 1
    known: KnownSeeds = field(default_factory=dict, compare=False, repr=False)
    users_code: ClassVar[bool] = True

    def check(self, point: Point) -> Point:
        """The point as it is: only the command knows what it means."""
        return point

    def cost(self, block: Block) -> float:
        """Seconds on one core; see `core.trainer.Trainer.cost`."""
        return block.count * SECONDS

    def describe(self) -> dict[str, str]:
        """The command, the digest of its files, and all that decides what its seeds come to."""
        command = self.command
        told = {"trainer": command.template.text, "source": digest_of(self.kept.files)}
        if command.by_exit or self.success is not None:
            told["success"] = EXIT_CODE if command.by_exit else str(self.success)
        if command.metric is not None:
            told["metric"] = str(command.metric)
        if command.timeout is not None:
            told["timeout"] = f"{command.timeout:g} s"
        if self.threads != 1:
            told["threads"] = str(self.threads)
        return told

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome for each block."""
        folder = self.kept.folder()
        return [_trained(self, block, folder) for block in blocks]


def command_trainer(command: Command, success: Success | None, folder: Path) -> CommandTrainer:
    """The trainer of a command, whose files are read here.

    Raises:
        InputError: a file that cannot be read, or too many.
    """
    return CommandTrainer(command, success, kept_files(folder, command.template, command.files))


def _trained(trainer: CommandTrainer, block: Block, folder: Path) -> Outcome | TrainingError:
    command, config = trainer.command, block.point.as_dict()
    results = SeedResults(block)
    output: dict[int, str] = {}
    for seed in block.seeds:
        if (had := trainer.known.get((block.point.key, seed))) is not None:
            results.add_known(had)
            continue
        if time_is_over():
            break
        argv = command.template.argv(config, seed)
        result = run_command(argv, folder, command.timeout, trainer.threads)
        verdict = verdict_of(result, trainer.success, command.metric, by_exit=command.by_exit)
        shown = None
        if verdict.failed:
            output[seed] = result.output.decode("utf-8", "replace")
            shown = _shown(argv, folder, output[seed], verdict.failed[0])
        results.told(way_of(result, command.metric))
        results.add(verdict, shown)
    if not results.n:
        return OutOfTime()
    outcome = results.outcome(_chosen(results.failed, output))
    return outcome if results.n == block.count else OutOfTime(outcome)


def _shown(argv: Sequence[str], folder: Path, output: str, reason: str) -> str:
    """A failure as a terminal would have shown it."""
    return "\n".join(
        part for part in (f"{folder}$ {shlex.join(argv)}", output.rstrip(), reason) if part
    )


def _chosen(failed: Mapping[int, str], output: Mapping[int, str]) -> dict[int, str]:
    """The output of some failed seeds: of each reason one before there is a second of any.

    Numbers in what a program said last make no other reason: they are mostly the seed.
    """
    seen: Counter[str] = Counter()
    rank = {}
    for seed, reason in failed.items():
        what, _, last = reason.partition(": ")
        kind = f"{what}: {re.sub('[0-9]+', '0', last)}"
        seen[kind] += 1
        rank[seed] = seen[kind]
    told = [seed for seed in failed if output[seed].strip()]
    chosen = sorted(told, key=lambda seed: (rank[seed], seed))[:MOST_OUTPUTS]
    return {seed: output[seed] for seed in sorted(chosen)}
