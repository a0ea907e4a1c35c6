"""Wrong lines in plans, gates and certificates."""

from __future__ import annotations

from mutated.mutation import Mutation

EXACT = "tests/test_stats_exact.py"
SEEDS = "tests/test_stats_seeds.py"
GATE = "tests/test_gate.py"
CERTIFY = "tests/test_certify.py"
CERTIFICATE = "tests/test_run_certificate.py"
NEIGHBOURS = "tests/test_certify_neighbours.py"
ORDER = "tests/test_certify_order.py"
AROUND = "tests/test_certify_around.py"
QUEUE = "tests/test_certify_queue.py"
SEARCHED = "tests/test_certify_search.py"
PROGRESS = "tests/test_terminal_progress.py"
INTERRUPTED = "tests/test_cli_interrupted.py"
BUDGET = "tests/test_certify_time_budget.py"

MUTATIONS = [
    # How many seeds, and what may be said of them.
    Mutation(
        "stats_exact.py",
        'risk = (1 - confidence) / (2 if side == "two-sided" else 1)',
        "risk = (1 - confidence) / 2",
        EXACT,
    ),
    Mutation("stats_exact.py", "np.minimum(2 * mcnemar", "np.minimum(mcnemar", EXACT),
    Mutation("stats_exact.py", "min(1.0, 2 * p)", "min(1.0, p)", EXACT),
    Mutation("stats_seeds.py", "bdtr(failures, n, 1 - rate)", "bdtr(failures, n, rate)", SEEDS),
    Mutation("stats_seeds.py", "((p1, p2), (p2, p1))", "((p1, p2), (p1, p2))", SEEDS),
    Mutation("stats_seeds.py", "high - low > 20 + high // 10", "high - low > 1", SEEDS),
    Mutation("gate.py", "first_seed + done, size", "first_seed, size", GATE),
    Mutation("gate.py", "np.flatnonzero(proven | (", "np.flatnonzero(proven & (", GATE),
    Mutation(
        "gate.py",
        "int(np.count_nonzero(outcome.solved[:n]))\n            found",
        "n\n            found",
        GATE,
    ),
    Mutation("gate.py", "if max_seeds < least:", "if max_seeds < least - 1:", GATE),
    # Certificates.
    Mutation("run.py", "if line.purpose is None),", "if True),", CERTIFICATE),
    Mutation("run_certificate.py", "/ 2**attempt", "/ 2", CERTIFICATE),
    Mutation("run_certificate.py", "return share / finalists", "return share", CERTIFICATE),
    Mutation("run_certificate.py", "and check.final:", ":", CERTIFICATE),
    Mutation(
        "run_certificate.py",
        'if purpose.kind == "certify":',
        "if True:",
        CERTIFICATE,
    ),
    Mutation(
        "certify_plan.py",
        "if all(had.stop <= first or first + count <= had.start for had in used):",
        "if True:",
        CERTIFY,
    ),
    Mutation("certify_plan.py", '"seed": run.manifest.get("seed"),', "", CERTIFY),
    Mutation("certify_plan.py", "[purpose.finalist for purpose in asked]", "[]", CERTIFY),
    Mutation("certify_plan.py", "number + 1", "number", CERTIFY),
    Mutation("certify_plan.py", "if seen.start < part.stop and", "if False and", CERTIFY),
    Mutation("certify_plan.py", "near = span.stop", "near = span.start", AROUND),
    Mutation("certify_plan.py", "sorted(had, key=lambda block: block.start)", "had", QUEUE),
    Mutation("run_certificate.py", "min(before.first, block.first) if", "before.first if", QUEUE),
    Mutation("search/checks.py", "not failed or job.attempt >= ATTEMPTS", "True", QUEUE),
    Mutation("search/checks.py", "max(1.0, self._pace)", "1.0", QUEUE),
    Mutation("search/checks.py", "least = min(least, share)", "pass", QUEUE),
    Mutation("search/checks.py", "not self._then and self._now.finished", "True", QUEUE),
    Mutation("search/certifying.py", "seconds / usable_cores() <", "seconds <", QUEUE),
    Mutation("certify_neighbours.py", "fraction / 4", "fraction", NEIGHBOURS),
    Mutation("certify_neighbours.py", "_active(space, values) !=", "not", NEIGHBOURS),
    Mutation(
        "certify_neighbours.py",
        "and all(map(_is_number, parameter.values))",
        "",
        NEIGHBOURS,
    ),
    Mutation("run_certificate.py", 'and (measured or last.by == "own")', "", ORDER),
    Mutation(
        "run_certificate.py",
        "finished == last.neighbours > 0",
        "finished > 0",
        ORDER,
    ),
    Mutation(
        "run_certificate.py",
        "min([found.lower_bound, *bounds])",
        "min(bounds)",
        ORDER,
    ),
    Mutation("certify_plan.py", "by=last.by, neighbours=last.neighbours", "", ORDER),
    Mutation("cli/searching.py", "(*run.evaluations, *run.checks)", "run.evaluations", SEARCHED),
    Mutation("terminal_progress.py", "/ (fresh - before) *", "/ fresh * 0 *", SEARCHED),
    Mutation("terminal_progress.py", "or self._news < LEFT_NEWS", "", PROGRESS),
    Mutation("terminal_progress.py", "if now - began < BURST_SECONDS", "if False", PROGRESS),
    Mutation("search/ray_connect.py", "with same_end():", "if True:", INTERRUPTED),
    Mutation("api.py", "time.monotonic() - began >= budget", "False", BUDGET),
    Mutation("api_certify.py", ")) > most:", ")) > 0:", BUDGET),
    Mutation("api.py", "budget * AFTERWARDS if", "budget if", BUDGET),
    Mutation("api_certify.py", "return run.noted(not_certified=None) if", "return run if", BUDGET),
]
