"""A command as a trainer: run for each seed, in any language."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from xortune.core.errors import InputError, TrainingError
from xortune.core.outcome import NO_DETAILS, Details, Outcome, Status
from xortune.core.point import Point
from xortune.core.success import VALUE, Success
from xortune.core.trainer import Block, OutOfTime
from xortune.spaces.command import EXIT_CODE, NUMBER, Command, Template
from xortune.trainers.limits import time_is_over
from xortune.trainers.process import LINE, Ran, ran, signal_of
from xortune.trainers.returned import SUCCESS, judged_one, not_finite, one_line
from xortune.trainers.source import MOST, are_there, digest_of, unpacked

# -------------------------------------------------------------------------------------------------
# The files that a command needs, as they were when the search began, and where it runs.

_SKIPPED = "__pycache__"


@dataclass(frozen=True)
class KeptFile:
    """A file as it was.

    Attributes:
        path: relative to the space file's folder.
        content: of the file.
        executable: whether it can be run.
    """

    path: str
    content: bytes = field(repr=False)
    executable: bool


@dataclass(frozen=True)
class Kept:
    """The files of a command, and the folder that they were in.

    Attributes:
        root: of the space file.
        files: in the order of their paths.
        digest: of their paths and contents.
    """

    root: str = field(repr=False)
    files: tuple[KeptFile, ...] = field(repr=False)
    digest: str

    def folder(self) -> Path:
        """Where the command runs: the space file's folder if its files are there as they were.

        If not (on another machine, or since somebody has edited one), a copy of the files. It is
        looked at each time: a training must not change while a search runs.
        """
        root = Path(self.root)
        if root.is_dir() and are_there(root, _contents(self.files)):
            return root
        return _copy(self)


def kept_files(folder: Path, template: Template, names: Sequence[str] | None) -> Kept:
    """Read the files of a command; nothing is run.

    Args:
        folder: of the space file.
        template: of the command.
        names: files and folders, relative to it; None for the words of the command that are files.

    Raises:
        InputError: one is not there, lies elsewhere, or all are too large to be sent.
    """
    root = folder.resolve()
    chosen = _words(root, template) if names is None else names
    found = {path: None for name in chosen for path in _paths(root, name)}
    files, size = [], 0
    for path in sorted(found):
        try:
            size += path.stat().st_size
            if size > MOST:
                raise _too_large(names is None)
            executable = bool(path.stat().st_mode & 0o111)
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})", field="files") from None
        files.append(KeptFile(path.relative_to(root).as_posix(), content, executable))
    return Kept(str(root), tuple(files), digest_of(_contents(files)))


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
        allowed="what is sent to each worker: programs, not data",
        fix="name those that are to be sent, `files: [train.py]`, or none, `files: []`"
        if guessed
        else "leave the large ones out, and give the command their absolute paths",
    )


def _contents(files: Iterable[KeptFile]) -> Iterator[tuple[str, bytes]]:
    return ((file.path, file.content) for file in files)


@cache
def _copy(kept: Kept) -> Path:
    folder = unpacked(_contents(kept.files), prefix="xortune-command-")
    for file in kept.files:
        (folder / file.path).chmod(0o700 if file.executable else 0o600)
    return folder


# -------------------------------------------------------------------------------------------------
# What a command's exit and its last line say of a seed.

_CRASHED, _DIVERGED = int(Status.CRASHED), int(Status.DIVERGED)

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NONE = re.compile(r"([-+]?)(?:(nan)(?:\([^)]*\))?|(inf)(?:inity)?)", re.IGNORECASE)
_WORDS = re.compile(
    r'"(?:[^"\\]|\\.)*"|(?<![\w.])[-+]?(?:nan(?:\([^)]*\))?|inf(?:inity)?)(?![\w.])', re.IGNORECASE
)


@dataclass(frozen=True)
class CommandVerdict:
    """What a seed ended as.

    Attributes:
        status: a `Status`.
        values: the numbers that it told, by name.
        reason: why it failed, on one line; None if it was trained to its end.
    """

    status: int
    values: Mapping[str, float]
    reason: str | None = None


def verdict_of(
    ran: Ran, success: Success | None, metric: str | None, *, by_exit: bool
) -> CommandVerdict:
    """Judge what a command came to.

    Any other exit code than 0 is a crash: nobody can tell a program that says no from one that
    broke. One that has to say no says it by a number, or true or false, and ends with 0.

    Args:
        ran: what came of it.
        success: the rule for its numbers; None if its exit code decides, or it says so itself.
        metric: as of `spaces.command.Command`; None if it tells no numbers.
        by_exit: whether its exit code decides.
    """
    if ran.problem is not None:
        return _crashed(ran.problem, ran)
    if ran.code is None or ran.code < 0:
        return _crashed(f"killed by {signal_of(ran.code or 0)}", ran)
    if ran.code > 0:
        return _crashed(f"exit code {ran.code}", ran)
    if metric is None:
        return CommandVerdict(int(Status.SOLVED), {})
    try:
        told = _told(ran, metric)
        if by_exit:
            told = _with_exit(told)
        status, values = judged_one(told, success)
    except InputError as error:
        return CommandVerdict(_CRASHED, {}, one_line(str(error)))
    if status == _DIVERGED and success is not None:
        return CommandVerdict(status, values, not_finite(success.name, values[success.name]))
    return CommandVerdict(status, values)


def _crashed(what: str, ran: Ran) -> CommandVerdict:
    """With what it said last, which is mostly why."""
    last = _last(ran.stderr) or _last(ran.stdout)
    return CommandVerdict(_CRASHED, {}, one_line(f"{what}: {last}" if last else what))


def _last(printed: bytes) -> str:
    """The last line that is not blank."""
    lines = re.split(r"[\r\n]+", printed.decode("utf-8", "replace"))  # \r: progress bars
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _told(ran: Ran, metric: str) -> object:
    """What the last line of stdout says.

    Raises:
        InputError: there is none, or it says nothing of that kind.
    """
    line = _last(ran.stdout)
    if not line:
        raise InputError("printed nothing on stdout", allowed=f"what `metric: {metric}` says")
    if not ran.whole and b"\n" not in ran.stdout.rstrip():
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
            f"says {SUCCESS} false, and ends with exit code 0",
            allowed=f"with success: {EXIT_CODE!r} an exit code that says the same",
        )
    return told if SUCCESS in told else {**told, SUCCESS: True}


SECONDS = 0.1
"""Taken for a seed as long as nothing is measured; see `trainers.function.SECONDS`."""

MOST_OUTPUTS = 16
"""Seeds of a block whose output is kept: what others printed is mostly the same."""


@dataclass(frozen=True)
class CommandTrainer:
    """Trains by a command, seed after seed.

    A seed has crashed if the command cannot be started, takes too long, ends with another exit code
    than 0, or prints no number where one is due. The end of what it printed is kept then.

    Attributes:
        command: what is run.
        success: the rule for its numbers, or None.
        kept: its files, and where it runs.
        threads: that OMP_NUM_THREADS says it may use.
        users_code: a seed may take longer than a pack may; see `driver.jobs`.
    """

    command: Command
    success: Success | None
    kept: Kept
    threads: int = 1
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
        told = {"trainer": command.template.text, "source": self.kept.digest}
        if command.by_exit or self.success is not None:
            told["success"] = EXIT_CODE if command.by_exit else str(self.success)
        if command.metric is not None:
            told["metric"] = command.metric
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

    Args:
        command: what is run.
        success: the rule for its numbers.
        folder: of the space file.

    Raises:
        InputError: a file that cannot be read, or too many.
    """
    return CommandTrainer(command, success, kept_files(folder, command.template, command.files))


def _trained(trainer: CommandTrainer, block: Block, folder: Path) -> Outcome | TrainingError:
    command, config = trainer.command, block.point.as_dict()
    n = block.count
    status = np.empty(n, np.uint8)
    values: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    failed: dict[int, str] = {}
    output: dict[int, str] = {}
    first: str | None = None
    for place, seed in enumerate(block.seeds):
        if time_is_over():
            n = place
            break
        argv = command.template.argv(config, seed)
        came = ran(argv, folder, command.timeout, trainer.threads)
        verdict = verdict_of(came, trainer.success, command.metric, by_exit=command.by_exit)
        status[place] = verdict.status
        for name, number in verdict.values.items():
            values.setdefault(name, np.full(n, np.nan))[place] = number
        if verdict.reason is not None:
            failed[seed] = verdict.reason
            output[seed] = came.output.decode("utf-8", "replace")
            if first is None:
                first = _shown(argv, folder, output[seed], verdict.reason)
    if not n:
        return OutOfTime()
    values = {name: numbers[:n] for name, numbers in values.items()}
    outcome = Outcome(
        seeds=np.arange(block.first, block.first + n, dtype=np.int64),
        epochs=0,
        status=status[:n],
        solved_epoch=np.zeros(n, np.int32),
        final_loss=np.full(n, np.nan, np.float32),
        predictions=np.zeros((n, 0), np.bool_),
        details=Details(values, failed, first, _chosen(failed, output))
        if values or failed
        else NO_DETAILS,
    )
    return outcome if n == block.count else OutOfTime(outcome)


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
