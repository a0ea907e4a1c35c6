"""A command as a trainer: it runs once for each seed, in any language, for a limited time."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from xortune.core.errors import InputError, TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import as_float
from xortune.core.pruning import IsPruned
from xortune.core.success import VALUE, Finite, Rule
from xortune.core.system import has_ended, kill_group
from xortune.core.trainer import Block, OutOfTime, Trainer, Traits, Void
from xortune.spaces.command import EXIT_CODE, NUMBER, RegexMetric, Template
from xortune.spaces.model import CommandSettings
from xortune.trainers.limits import THREADS, time_is_over
from xortune.trainers.reaper import REAPER
from xortune.trainers.source import MAX_FILES_BYTES, SentFiles, digest_of
from xortune.trainers.verdicts import (
    SOLVED,
    SUCCESS,
    KnownSeeds,
    Points,
    SampledReports,
    SeedResults,
    SeedVerdict,
    crashed,
    judged,
    one_line,
)

# -------------------------------------------------------------------------------------------------
# The files of a command, as they are when the search begins.


def read_files(folder: Path, template: Template, names: Sequence[str] | None) -> SentFiles:
    """Read the named files and folders; without names, the files among the command's words.

    Raises:
        InputError: a file does not exist or is not below the folder, or all are too large to send.
    """
    root = folder.resolve()
    chosen = _file_words(root, template) if names is None else names
    files, programs, size = [], set(), 0
    for path in sorted({path for name in chosen for path in _paths(root, name)}):
        try:
            size += path.stat().st_size
            if size > MAX_FILES_BYTES:
                raise InputError(
                    f"the files of the command are larger than {MAX_FILES_BYTES:,} bytes",
                    field="files",
                    allowed="programs, not data, because each worker is sent all of it",
                    fix="name those that are to be sent, `files: [train.py]`, or none, "
                    "`files: []`, and give the command the absolute paths of the others",
                )
            name = path.relative_to(root).as_posix()
            files.append((name, path.read_bytes()))
            if path.stat().st_mode & 0o111:
                programs.add(name)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})", field="files") from None
    return SentFiles(str(root), tuple(files), frozenset(programs))


def _file_words(root: Path, template: Template) -> Iterator[str]:
    """The words without placeholders that name files below the folder."""
    for word in template.words:
        text = word.parts[0]
        if len(word.parts) > 1 or not isinstance(text, str) or _is_outside(text):
            continue
        with suppress(OSError, ValueError):  # too long for a path, or a NUL in it
            if (root / text).is_file():
                yield text


def _paths(root: Path, name: str) -> list[Path]:
    """The file of that name, or all files in the folder of that name."""
    path = root / name
    if _is_outside(name):
        raise InputError(
            f"{name!r} is not below the folder of the space file",
            field="files",
            allowed="files and folders beside the space file, or in folders there",
            fix="copy it there, or give the command its absolute path and leave it out here",
        )
    if path.is_dir():
        return [p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    if not path.is_file():
        raise InputError(
            f"there is no file {name!r} in {root}",
            field="files",
            allowed="files and folders, relative to the space file",
            fix="correct its name, or remove it",
        )
    return [path]


def _is_outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or not path.parts


# -------------------------------------------------------------------------------------------------
# One run of a command: its exit code and the end of its output. No process of it is left behind.

KEPT_BYTES = 4_000
"""Number of last bytes kept of stdout and stderr together."""

LINE = 65_536
"""Number of last bytes kept of stdout, for its last line, and of stderr."""

READ_BYTES, MAX_READS = 65_536, 16
"""Bytes that are read at once, which is what a pipe mostly holds; and the most such reads that a
pipe can hold."""

LOOK = 0.02
"""Seconds between two checks whether the process has ended, where the system has no pidfd."""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended.

    Attributes:
        code: its exit code, or minus the signal that killed it; None if it could not be started,
            or was stopped at its time limit.
        problem: why it could not be started, or was stopped.
        stdout: the end of stdout, at most `LINE` bytes.
        stderr: the end of stderr, at most `LINE` bytes.
        output: the end of both, in the order in which they came, at most `KEPT_BYTES` bytes.
        whole: whether `stdout` is complete.
    """

    code: int | None
    problem: str | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    output: bytes = b""
    whole: bool = True


class _Tail:
    """The last `most` bytes of a stream; `whole` says whether they are all of it."""

    def __init__(self, most: int) -> None:
        self._most, self.whole = most, True
        self._kept = bytearray()

    def add(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) > self._most:
            del self._kept[: -self._most]
            self.whole = False

    @property
    def kept(self) -> bytes:
        return bytes(self._kept)


def run_command(
    argv: Sequence[str],
    folder: Path,
    limit: float | None,
    threads: int = 1,
    is_pruned: Callable[[bytes, bool], bool] | None = None,
) -> CommandResult:
    """Run a command to its end or its time limit, and then kill whatever it started.

    `is_pruned` is called with each piece of its output, and whether that is on stdout; where it
    is true the command ends too.

    It has no input, this process's environment with two more variables, and a session of its own,
    so that a Ctrl-C does not reach it.
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
        reader = _PipeReader(process, is_pruned)
        has_ended = False
        try:
            has_ended = reader.read(limit)
        finally:
            # Nobody has waited for the process: its number cannot be that of another one.
            kill_group(process.pid, session=not has_ended)
            reader.drain()
            if has_ended and not reader.closed:  # a process outside its group holds its pipes
                kill_group(process.pid, session=True)
                reader.drain()
            REAPER.forget(process.pid)
            reader.close()
    # `with` has waited for it.
    late = "was ended" if limit is None else f"took longer than {limit:g} s"
    problem = None if has_ended else late
    return CommandResult(
        process.returncode if has_ended else None,
        problem,
        reader.out.kept,
        reader.err.kept,
        reader.both.kept,
        reader.out.whole,
    )


class _PipeReader:
    """Reads both pipes of a process until it ends."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        is_pruned: Callable[[bytes, bool], bool] | None = None,
    ) -> None:
        self._process, self._is_pruned, self._ends = process, is_pruned, False
        self.out, self.err, self.both = _Tail(LINE), _Tail(LINE), _Tail(KEPT_BYTES)
        self._selector = selectors.DefaultSelector()
        assert process.stdout is not None
        assert process.stderr is not None
        self._open: dict[IO[bytes], _Tail] = {process.stdout: self.out, process.stderr: self.err}
        for pipe in self._open:
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, pipe)
        self._pidfd = _pidfd(process.pid)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ)

    @property
    def closed(self) -> bool:
        """Whether the other ends of both pipes are closed."""
        return not self._open

    def read(self, limit: float | None) -> bool:
        """Read until the process has ended; return False if it is ended in place of that.

        It is at its time limit, after `limit` seconds, and if its seed is pruned.
        """
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if self._ends or (left is not None and left <= 0):
                return False
            if self._pidfd is None:
                left = LOOK if left is None else min(left, LOOK)
            for key, _ in self._selector.select(left):
                if key.data is None:  # the pidfd
                    return True
                self._take(key.data)
            if self._pidfd is None and has_ended(self._process.pid):
                return True

    def drain(self) -> None:
        """Read what the pipes hold now, and no more: a writer may never stop."""
        for pipe in list(self._open):
            for _ in range(MAX_READS):
                if pipe not in self._open or not self._take(pipe):
                    break

    def close(self) -> None:
        """Close all but the pipes, which belong to the process object."""
        self._selector.close()
        if self._pidfd is not None:
            os.close(self._pidfd)

    def _take(self, pipe: IO[bytes]) -> bool:
        """Read a chunk; return whether there was one."""
        try:
            chunk = os.read(pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(pipe)
            del self._open[pipe]
            return False
        self._open[pipe].add(chunk)
        self.both.add(chunk)
        if self._is_pruned is not None and not self._ends:
            self._ends = self._is_pruned(chunk, pipe is self._process.stdout)
        return True


def _pidfd(process: int) -> int | None:
    """A file that is readable when a process has ended; None where the system has none."""
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return None


def signal_of(code: int) -> str:
    """The name of the signal that killed a process, by its negative exit code."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


# -------------------------------------------------------------------------------------------------
# The verdict on a seed, from the exit code and the output of its command.

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NONE = re.compile(r"([-+]?)(?:(nan)(?:\([^)]*\))?|(inf)(?:inity)?)", re.IGNORECASE)
_WORDS = re.compile(
    r'"(?:[^"\\]|\\.)*"|(?<![\w.])[-+]?(?:nan(?:\([^)]*\))?|inf(?:inity)?)(?![\w.])', re.IGNORECASE
)


def verdict_of(result: CommandResult, command: CommandSettings, rule: Rule | None) -> SeedVerdict:
    """Judge how a command ended; the rule is for its numbers.

    An exit code other than 0 is a crash: a program that says no cannot be told from one that broke.
    A program says no by a number, or by true or false, and exits with 0.
    """
    if result.problem is not None or result.code != 0:
        return crashed(_why(result))
    if (metric := command.metric) is None:
        return SeedVerdict(SOLVED)
    try:
        value: object
        if isinstance(metric, RegexMetric):
            value = _last_match(result, metric)
        else:
            value = _parsed_line(result, metric)
        return judged(_with_exit_code(value) if command.by_exit else value, rule)
    except InputError as error:
        return crashed(one_line(str(error)))


def _why(result: CommandResult) -> str:
    """Why a command failed, with the last line that it printed, which is mostly the cause."""
    code = result.code or 0
    ended = f"exit code {code}" if code > 0 else f"killed by {signal_of(code)}"
    last = _last_line(result.stderr) or _last_line(result.stdout)
    return one_line(": ".join(filter(None, (result.problem or ended, last))))


def _last_line(printed: bytes) -> str:
    """The last line that is not blank."""
    lines = re.split(r"[\r\n]+", printed.decode("utf-8", "replace"))  # \r: progress bars
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _parsed_line(result: CommandResult, metric: str) -> object:
    """The number, or the JSON, in the last line of stdout."""
    line = _last_line(result.stdout)
    if not line:
        raise InputError("printed nothing on stdout", allowed=f"what `metric: {metric}` says")
    if not result.whole and b"\n" not in result.stdout.rstrip():
        raise InputError(f"the last line is longer than {LINE:,} bytes")
    if metric == NUMBER:
        if (number := _number(line)) is not None:
            return number
        raise InputError(f"the last line is {line!r:.120}", allowed="a number and nothing else")
    try:
        return _read_json(line)
    except (ValueError, RecursionError):  # ValueError: also an integer of too many digits
        raise InputError(
            f"the last line is {line!r:.120}",
            allowed='JSON: a number, true, false, or an object of these such as {"accuracy": 0.9}',
        ) from None


def _read_json(line: str) -> Any:
    """JSON in which NaN and infinity may be spelled as by C and awk."""

    def as_python(word: re.Match[str]) -> str:
        if (match := _NONE.fullmatch(word[0])) is None:  # a string
            return word[0]
        return "NaN" if match[2] else f"{'-' * (match[1] == '-')}Infinity"

    return json.loads(_WORDS.sub(as_python, line))


def _found(text: str, metric: RegexMetric) -> list[str]:
    """What a regex matches in a text."""
    matches = re.finditer(metric.regex, text, re.MULTILINE)
    return [(match[1 if match.re.groups else 0] or "").strip() for match in matches]


def _matches(result: CommandResult, metric: RegexMetric) -> list[str]:
    """All matches of a regex on stdout, or, if there are none, on stderr."""
    texts = (printed.decode("utf-8", "replace") for printed in (result.stdout, result.stderr))
    return next(filter(None, (_found(text, metric) for text in texts)), [])


def _last_match(result: CommandResult, metric: RegexMetric) -> dict[str, float]:
    """The number in the last match of a regex."""
    if matches := _matches(result, metric):
        if (number := _number(matches[-1])) is not None:
            return {metric.name: number}
        raise InputError(f"the regex found {matches[-1]!r:.120}", allowed="a number")
    last = _last_line(result.stdout) or _last_line(result.stderr)
    raise InputError(
        f"the regex {metric.regex!r} matches nothing that the command printed"
        + (f"; the last line is {last!r:.120}" if last else ", because it printed nothing"),
    )


def _number(text: str) -> float | None:
    """A text as a number; None if it is none."""
    number = text.strip().rstrip(".,;")  # the end of a sentence
    known = _NUMBER.fullmatch(number) or _NONE.fullmatch(number)
    return float(number.partition("(")[0]) if known else None  # C prints nan(0x...) too


def curve_of(result: CommandResult, metric: str | RegexMetric | None) -> Points:
    """A sample of the numbers that a regex matches: the seed's curve."""
    reports = SampledReports()
    if isinstance(metric, RegexMetric) and result.whole:  # else the first matches are missing
        for match in _matches(result, metric):
            if (number := _number(match)) is not None:
                reports.add(partial(dict, [(metric.name, number)]))
    return reports.points


class _Watch:
    """Reads the numbers of a seed from its command's output as they come.

    A number stands in a line of its own. Those of a regex are on stdout, or, if it matches nothing
    there before, on stderr.

    Args:
        metric: says where numbers are.
        on: the number that a search's pruner compares.
        is_pruned: judges it; None: the seed is not pruned.

    Attributes:
        pruned: the report at which the seed is pruned; None if it is not.
    """

    def __init__(
        self, metric: str | RegexMetric | None, on: str, is_pruned: IsPruned | None
    ) -> None:
        self._metric, self._on, self._is_pruned = metric, on, is_pruned
        self._rest = {True: b"", False: b""}  # of each stream, what follows its last whole line
        self._stream: bool | None = None if isinstance(metric, RegexMetric) else True
        self._reports = SampledReports(on)
        self.pruned: int | None = None

    @property
    def points(self) -> Points:
        """A sample of the numbers so far."""
        return self._reports.points

    def __call__(self, chunk: bytes, is_stdout: bool) -> bool:
        """Read a piece of the output; return whether the seed is pruned."""
        *lines, rest = re.split(rb"[\r\n]+", self._rest[is_stdout] + chunk)
        self._rest[is_stdout] = rest[-LINE:]
        for line in lines:
            for number in self._numbers(line.decode("utf-8", "replace")):
                if self._stream is None:
                    self._stream = is_stdout
                if self._stream == is_stdout and self.pruned is None:
                    self._report(number)
        return self.pruned is not None

    def _report(self, number: float) -> None:
        self._reports.add(partial(dict, [(self._on, number)]))
        count = self._reports.count
        if self._is_pruned is not None and self._is_pruned(count, number):
            self.pruned = count

    def _numbers(self, line: str) -> list[float]:
        if isinstance(self._metric, RegexMetric):
            numbers = map(_number, _found(line, self._metric))
            return [number for number in numbers if number is not None]
        if self._metric == NUMBER:
            return [] if (number := _number(line)) is None else [number]
        with suppress(ValueError, RecursionError):
            told = _read_json(line)
            told = told.get(self._on) if isinstance(told, dict) else told
            if isinstance(told, int | float) and not isinstance(told, bool):
                return [as_float(told)]
        return []


def _with_exit_code(value: object) -> object:
    """Add the verdict of exit code 0 to what a command printed; refuse it if they disagree."""
    if value is True or value is False:
        value = {SUCCESS: value}
    elif isinstance(value, int | float):
        value = {VALUE: value}
    if not isinstance(value, dict):
        return value  # `judged` refuses it
    if value.get(SUCCESS) is False:
        raise InputError(
            f"says that {SUCCESS} is false, but exits with code 0",
            allowed=f"with success: {EXIT_CODE!r} an exit code that agrees",
        )
    return value if SUCCESS in value else {**value, SUCCESS: True}


MOST_OUTPUTS = 16
"""Maximum number of failed seeds of a block whose output is kept: most print the same."""


@dataclass(frozen=True)
class CommandTrainer(Trainer):
    """Trains by running a command for one seed after the other.

    A seed has crashed if the command cannot be started, exceeds its time limit, exits with another
    code than 0, or prints no number where the metric needs one. Then the end of its output is kept.

    Attributes:
        success: the rule for its numbers; None if its exit code says what is a success.
    """

    command: CommandSettings
    kept: SentFiles
    threads: int = 1
    success: Rule | None = None
    known: KnownSeeds = field(default_factory=dict, compare=False, repr=False)
    on: str | None = field(default=None, compare=False)

    @property
    def traits(self) -> Traits:
        """Of a program; it gives numbers on its way if it prints some."""
        return Traits(
            users_code=True,
            is_watchable=self.command.metric is not None,
            runs_programs=True,
            threads=self.threads,
            seconds=0.1,
            rule=self.success,
        )

    def knowing(self, known: KnownSeeds) -> CommandTrainer:
        """The one that does not train these seeds."""
        return replace(self, known=known)

    def judging_finite(self) -> CommandTrainer:
        """The one whose finite numbers all are successes, if it prints some."""
        return self if self.command.metric is None else replace(self, success=Finite())

    def describe(self) -> dict[str, str]:
        """The command, the digest of its files, and all else that decides the result of a seed."""
        command = self.command
        described = {"trainer": command.template.text, "source": digest_of(self.kept.files)}
        if command.by_exit or self.success is not None:
            described["success"] = EXIT_CODE if command.by_exit else str(self.success)
        if command.metric is not None:
            described["metric"] = str(command.metric)
        if command.timeout is not None:
            described["timeout"] = f"{command.timeout:g} s"
        if self.threads != 1:
            described["threads"] = str(self.threads)
        return described

    @property
    def called_with(self) -> str:
        """The command's files, in words."""
        return ", ".join(path for path, _ in self.kept.files) or "none"

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome for each block."""
        folder = self.kept.folder()
        return [_train(self, block, folder) for block in blocks]


def command_trainer(command: CommandSettings, folder: Path) -> CommandTrainer:
    """The trainer of a command; reads its files.

    Raises:
        InputError: a file cannot be read, or all are too large.
    """
    files = read_files(folder, command.template, command.files)
    return CommandTrainer(command, files, success=command.rule)


def _train(trainer: CommandTrainer, block: Block, folder: Path) -> Outcome | TrainingError:
    command, config = trainer.command, block.point.as_dict()
    results = SeedResults(block, trainer.on)
    output: dict[int, str] = {}
    for seed in block.seeds:
        if (known := trainer.known.get((block.point.key, seed))) is not None:
            results.add_known(known)
            output[seed] = known.details.output.get(seed, "")
            continue
        if time_is_over():
            break
        argv = command.template.argv(config, seed)
        watch = None
        if trainer.on is not None:
            pruning = block.pruning
            is_pruned = None if pruning is None else pruning.of_trained(block.point.key, seed)
            watch = _Watch(command.metric, trainer.on, is_pruned)
        result = run_command(argv, folder, command.timeout, trainer.threads, watch)
        if watch is not None and watch.pruned is not None:
            results.add_reports(watch.points)
            results.add_pruned(watch.pruned)
            continue
        if result.code == os.EX_TEMPFAIL:
            return Void(_why(result), results.so_far())
        verdict = verdict_of(result, command, trainer.success)
        shown = None
        if verdict.failed:
            output[seed] = result.output.decode("utf-8", "replace")
            # The failure as a terminal would show it.
            lines = (f"{folder}$ {shlex.join(argv)}", output[seed].rstrip(), verdict.failed[0])
            shown = "\n".join(filter(None, lines))
        results.add_reports(curve_of(result, command.metric) if watch is None else watch.points)
        results.add(verdict, shown)
    if not results.n:
        return OutOfTime()
    outcome = results.outcome(_chosen(results.failed, output))
    return outcome if results.n == block.count else OutOfTime(outcome)


def _chosen(failed: Mapping[int, str], output: Mapping[int, str]) -> dict[int, str]:
    """The output of `MOST_OUTPUTS` failed seeds: of each reason one, before a second of any.

    Reasons that differ in numbers only are the same: the numbers are mostly the seed.
    """
    seen: Counter[str] = Counter()
    rank = {}
    for seed, reason in failed.items():
        what, _, last = reason.partition(": ")
        kind = f"{what}: {re.sub('[0-9]+', '0', last)}"
        seen[kind] += 1
        rank[seed] = seen[kind]
    printed = [seed for seed in failed if output[seed].strip()]
    chosen = sorted(printed, key=lambda seed: (rank[seed], seed))[:MOST_OUTPUTS]
    return {seed: output[seed] for seed in sorted(chosen)}
