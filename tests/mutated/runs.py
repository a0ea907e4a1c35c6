"""Wrong lines in what is kept: intervals, keys, packs, the journal, its lock."""

from __future__ import annotations

from mutated.mutation import Mutation

PACKS = "tests/search/test_packs.py"
DURABILITY = "tests/test_journal_durability.py"
LOCK = "tests/test_run_lock.py tests/test_run_lock_lease.py"

MUTATIONS = [
    # The interval.
    Mutation("stats.py", "0.5 + confidence / 2", "confidence", "tests/test_stats.py"),
    Mutation("stats.py", "rate + z**2 / (2 * m)", "rate + z**2 / m", "tests/test_stats.py"),
    Mutation("stats.py", "z**2 / (4 * m**2))", "z**2 / (4 * m))", "tests/test_stats.py"),
    Mutation("stats.py", "empty | (k == m), 1.0", "empty, 1.0", "tests/test_stats.py"),
    # The key.
    Mutation("point.py", "sort_keys=True", "sort_keys=False", "tests/test_point.py"),
    Mutation(
        "point.py",
        "and value.is_integer() else value",
        "and False else value",
        "tests/test_point.py",
    ),
    Mutation("point.py", "ensure_ascii=True", "ensure_ascii=False", "tests/test_point.py"),
    Mutation("config.py", 'del values["momentum"]', "pass", "tests/test_config.py"),
    Mutation("config.py", "self.momentum) + 0.0)", "self.momentum))", "tests/test_config.py"),
    Mutation("config.py", "if number < 1:", "if number < 0:", "tests/test_config.py"),
    # Packs.
    Mutation("search/packs.py", "self._true is None else 0.7", "True else 0.7", PACKS),
    Mutation(
        "search/packs.py", "max(LEAST_SECONDS, self._left() /", "max(0.0, self._left() /", PACKS
    ),
    Mutation("search/packs.py", "tuple(jobs[middle:])", "tuple(jobs[middle + 1 :])", PACKS),
    Mutation("search/packs.py", "seconds * cost / estimated", "seconds / len(jobs)", PACKS),
    # The journal.
    Mutation(
        "evaluation_stack.py",
        "raw[:, a * n : (a + 4) * n]",
        "raw[:, n : 5 * n]",
        "tests/test_evaluation.py",
    ),
    Mutation(
        "journal.py", 'if not line.endswith(b"\\n"):', "if not line:", "tests/test_journal.py"
    ),
    Mutation(
        "evaluation.py", 'if point.key != fields["key"]:', "if False:", "tests/test_journal.py"
    ),
    Mutation("journal.py", "and first < end:", "and first < end - 1:", "tests/test_journal.py"),
    Mutation("journal.py", "and first < end:", "and first <= end:", "tests/test_journal.py"),
    Mutation("journal.py", "if evaluation.final:", "if True:", "tests/test_journal.py"),
    Mutation("journal.py", "size += len(line)", "size = len(line)", "tests/test_journal.py"),
    Mutation("journal.py", "os.ftruncate(fd, whole)", "pass", "tests/test_journal.py"),
    Mutation(
        "journal.py", "wanted = self._appended\n", "wanted = self._appended + 1\n", DURABILITY
    ),
    Mutation("journal.py", "self._settled = wanted", "self._settled = self._appended", DURABILITY),
    Mutation("journal.py", "self._lock.check()", "pass", DURABILITY),
    Mutation(
        "journal.py",
        "            if self._failure is not None:\n                return\n            try:",
        "            try:",
        DURABILITY,
    ),
    Mutation(
        "journal.py", "return start + found + 1", "return start + found", "tests/test_journal.py"
    ),
    Mutation(
        "evaluation.py",
        "first + count - 1 > MAX_SEED",
        "first + count > MAX_SEED",
        "tests/test_journal.py",
    ),
    Mutation(
        "evaluation.py",
        '"<f4", self.n, 5 * self.n',
        '"<f4", self.n, self.n',
        "tests/test_evaluation.py",
    ),
    # The run's lock.
    Mutation(
        "run_lock.py",
        "claimed = _acquired(claim, mine, say)",
        "claimed = os.open(os.devnull, os.O_RDONLY)",
        LOCK,
    ),
    Mutation("run_lock.py", "now is not None and now.owner == found.owner", "True", LOCK),
    Mutation("run_lock.py", "elif found.owner != self._owner.owner:", "elif False:", LOCK),
    Mutation("run_lock.py", "if now != found:", "if False:", LOCK),
    Mutation("run_lock_owner.py", 'fields[0] in (b"Z", b"X")', "False", LOCK),
    Mutation("run_lock_owner.py", "started != owner.process_start", "False", LOCK),
    Mutation("run_lock_owner.py", '"boot_id", "pid_namespace")', '"boot_id")', LOCK),
    Mutation("run_lock_owner.py", '"boot_id", "pid_namespace")', '"pid_namespace")', LOCK),
    Mutation("run_lock.py", "(stopped or self._is_replaced())", "stopped", LOCK),
]
