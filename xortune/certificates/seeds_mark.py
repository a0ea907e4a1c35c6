"""A test over seeds: the arguments of its mark, the results of its seeds, its messages."""

from __future__ import annotations

from typing import Any

from xortune.certificates.gate import Answer, SequentialTest
from xortune.core.errors import InputError, broken_setup, check_count, error_text
from xortune.core.outcome import NO_SEEDS, SeedCount
from xortune.core.seeds import MARK
from xortune.stats.anytime import anytime_interval

MAX_LISTED = 5
"""Maximum number of failing seeds that are listed with their messages."""

MAX_LENGTH = 200
"""Maximum number of characters of a message."""

FIX = "write @pytest.mark.seeds(500, min_rate=0.95)"

NAMES = {
    "n": "max_seeds",
    "min_rate": "min_rate",
    "confidence": "confidence",
    "first": "first_seed",
}
"""The arguments of a mark and their names in `SequentialTest`."""


WORKERS = "workers"
"""The argument that says for how many seeds at once an async test is awaited."""


def parse_mark(*positional: object, **options: object) -> tuple[SequentialTest, int]:
    """Check the arguments of a mark.

    Returns:
        The test, and for how many seeds at once it is awaited.

    Raises:
        InputError: a wrong or missing argument.
    """
    workers: Any = options.pop(WORKERS, 1)
    check_count(WORKERS, workers)
    for name in options.keys() - NAMES.keys():
        allowed = ", ".join((*NAMES, WORKERS))
        raise InputError(f"unknown argument {name!r}", allowed=allowed, fix=FIX)
    if len(positional) > 1 or (positional and "n" in options):
        raise InputError(
            f"{len(positional) + ('n' in options)} values where the number of seeds is",
            allowed="the number of seeds, at most, and all else by its name",
            fix=FIX,
        )
    values = {"confidence": 0.95, "first": MARK.start, **options}
    if positional:
        values["n"] = positional[0]
    for name, problem in (
        ("n", "no number of seeds"),
        ("min_rate", "nothing says what success rate is to be proven"),
    ):
        if name not in values:
            raise InputError(problem, field=name, fix=FIX)
    try:
        test = SequentialTest(**{NAMES[name]: value for name, value in values.items()})  # type: ignore[arg-type]
    except InputError as error:
        name = next(name for name, field in NAMES.items() if field == error.field)
        raise InputError(error.problem, field=name, allowed=error.allowed, fix=error.fix) from None
    return test, workers


class SeedTally:
    """The results of the seeds so far.

    Attributes:
        seen: how many passed, of how many.
        failures: the first seeds that failed, each with its message.
        traceback: that of the first failure.
        answer: None while the test goes on.
        is_broken: whether all seeds failed in the same way, before any training: the answer says
            nothing then.
    """

    def __init__(self, test: SequentialTest) -> None:
        self._test = test
        self.seen = NO_SEEDS
        self.failures: list[tuple[int, str]] = []
        self.traceback = ""
        self.answer: Answer | None = None
        self.is_broken = False
        self._reasons: set[str] = set()

    @property
    def next(self) -> int:
        """The first seed that is not counted yet."""
        return self._test.first_seed + self.seen.n

    def count(self, error: BaseException | None = None, traceback: str = "") -> None:
        """Count the next seed, which passed or failed with an error."""
        if error is not None and len(self.failures) < MAX_LISTED:
            line = " ".join(error_text(error).split())
            line = line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 3] + "..."
            self.failures.append((self.next, line))
        if error is not None:
            self._reasons.add(" ".join(error_text(error).split()))
        self.traceback = self.traceback or traceback
        k, n = self.seen.k + (error is None), self.seen.n + 1
        self.seen = SeedCount(k, n)
        test = self._test
        if test.proves(k, n):
            self.answer = "proven"
        elif test.refutes(k, n):
            self.answer = "refuted"
        elif error is not None and test.gives_up(k, n):  # only a failure can cause this
            self.answer = "undecided"
        if self.answer is not None and not k:
            self.is_broken = broken_setup(self._reasons) is not None

    @property
    def line(self) -> str:
        """The line of the summary: `seeds: 88 of 88, proven 0.95`."""
        if self.is_broken:
            return f"seeds: {self.seen.k} of {self.seen.n}, no outcome for {self._test.min_rate:g}"
        return f"seeds: {self.seen.k} of {self.seen.n}, {self.answer} {self._test.min_rate:g}"

    @property
    def message(self) -> str:
        """Why the test failed: counts, the first seeds that failed, a traceback."""
        test, k, n = self._test, self.seen.k, self.seen.n
        text = f"{self.answer}: {k} of {n} seeds passed, "
        if self.is_broken:
            text = f"no outcome: all {n} seeds failed in the same way, before any training ("
        elif self.answer == "refuted":
            text += f"so the success rate is below {test.min_rate:g} ("
        else:
            low, high = map(float, anytime_interval(k, n, confidence=test.confidence))
            proven = "cannot be proven any more" if n < test.max_seeds else "is not proven"
            text += (
                f"so {test.min_rate:g} {proven} with {test.max_seeds} seeds "
                f"(success rate {low:.4f} to {high:.4f}, "
            )
        seeds = f"seeds {test.first_seed} to {self.next - 1}"
        lines = [f"{text}confidence {test.confidence:g}, {seeds})"]
        lines += [f"  seed {seed}: {message}" for seed, message in self.failures]
        if (more := n - k - len(self.failures)) > 0:
            lines.append(f"  ... and {more} more")
        if self.traceback:
            seed, _ = self.failures[0]
            lines += ["", f"seed {seed} (alone: --only-seed {seed}):", "", self.traceback]
        return "\n".join(lines)
