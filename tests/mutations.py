"""Does a test fail when the code is wrong? Changes one line at a time and runs the tests named.

    python tests/mutations.py            all of them
    python tests/mutations.py journal    those of files whose name has that in it

Each change is made in a copy of the tree. Exit code 1 if a change is missed or no longer applies.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

STEPS = "tests/engine/test_single_steps.py"
WEIGHTS = "tests/engine/test_initial_weights.py"
TRAINING = "tests/engine/test_training.py"
LONG = f"{TRAINING}::test_long_trainings_are_those_of_the_loop"
HELD_OUT = f"{TRAINING} -k held_out"
ALONE = "tests/engine/test_independence.py"
ROWS, STACKED = "tests/engine/test_rows.py", "tests/engine/test_stacked.py"
NETWORK = "tests/engine/test_network.py"
CUSTOM = "tests/engine/test_custom.py"
PACKS = "tests/search/test_packs.py"
DURABILITY = "tests/test_journal_durability.py"
LOCK = "tests/test_run_lock.py"
ANYTIME = "tests/test_stats_anytime.py"
RACE = "tests/test_race.py"
NEXT, FRONT = "tests/test_race_next.py", "tests/test_race_front.py"
RACING = "tests/search/test_race_in_search.py"
RESUMED, STOPS = "tests/search/test_race_resumed.py", "tests/search/test_race_stops.py"
RACE_PACKS, BLOCKS = "tests/search/test_race_packs.py", "tests/search/test_blocks.py"
PRUNER, APART = "tests/search/test_race_pruner.py", "tests/search/test_versions_apart.py"

SCHEDULE = "tests/engine/test_schedule.py"
FUNCTIONS = "tests/engine/test_fused_functions.py"
EXACT, SEEDS = "tests/test_stats_exact.py", "tests/test_stats_seeds.py"
GATE, CERTIFY = "tests/test_gate.py", "tests/test_certify.py"
CERTIFICATE = "tests/test_run_certificate.py"
NEIGHBOURS = "tests/test_certify_neighbours.py"
ORDER = "tests/test_certify_order.py"
AROUND, QUEUE = "tests/test_certify_around.py", "tests/test_certify_queue.py"
SEARCHED, BUDGET = "tests/test_certify_search.py", "tests/test_certify_time_budget.py"
FORMAT, BARS = "tests/report/test_format.py", "tests/report/test_bars.py"
LATEX, DRAWN = "tests/report/test_latex.py", "tests/report/test_markdown_document.py"
WORDS, SAME = "tests/report/test_report_words.py", "tests/report/test_same_numbers.py"
ENDS, HISTORY = "tests/report/test_stops.py", "tests/report/figures/test_history.py"
SLICES = "tests/report/figures/test_slices.py"
PARAMETERS = "tests/report/figures/test_parameters.py"
SURFACE = "tests/report/figures/test_surface.py"
PAGE = "tests/report/html/test_html_page.py"
CONFIGS, MARKS = "tests/report/html/test_html_configs.py", "tests/report/html/test_html_figures.py"
BROWSER = "tests/report/html/test_html_browser.py"
SVG = "tests/report/drawn/test_svg_text.py"
PLOTLY = "tests/report/drawn/test_plotly.py"
MATPLOTLIB = "tests/report/drawn/test_matplotlib.py"
PALETTE, NOTEBOOK = "tests/report/drawn/test_palette.py", "tests/test_table_html.py"
DIFFERENCE = "tests/test_stats_difference.py"
COMPARED, ENTERED = "tests/test_comparison_runs.py", "tests/test_compare_contestants.py"
TOLD = "tests/report/test_comparison_words.py"


class Mutation(NamedTuple):
    """One wrong line, and the tests that should notice."""

    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    # The engine's arithmetic.
    Mutation(
        "engine/custom.py",
        "seeds[i : i + 1], success) for i in",
        "seeds[:1], success) for i in",
        CUSTOM,
    ),
    Mutation(
        "engine/custom.py",
        "own.tb_next if own else None",
        "own",
        CUSTOM,
    ),
    Mutation(
        "engine/custom_result.py",
        "    if not math.isfinite(number):\n        return _DIVERGED, values\n",
        "",
        CUSTOM,
    ),
    Mutation(
        "engine/custom_result.py",
        "np.where(finite, np.where(held, _SOLVED, _MISSED), _DIVERGED)",
        "np.where(held, _SOLVED, _MISSED)",
        CUSTOM,
    ),
    Mutation(
        "evaluation_details.py",
        "sorted(details.failed.items())",
        "details.failed.items()",
        CUSTOM,
    ),
    Mutation(
        "engine/reference.py",
        "before = self._b1\n",
        "before = 0 * self._b1\n",
        STEPS,
    ),
    Mutation(
        "engine/reference.py",
        "self._w1.unbind(1), strict",
        "self._w1.flip(1).unbind(1), strict",
        STEPS,
    ),
    Mutation("engine/reference.py", ".sum(dim=1) + self._b2", ".sum(dim=1) - self._b2", STEPS),
    Mutation("engine/reference.py", "values.mean(dim=0)", "values.sum(dim=0)", STEPS),
    Mutation("engine/reference.py", "kind(dim=1)", "kind(dim=0)", f"{STEPS} -k max"),
    Mutation("engine/reference.py", "momentum=config.momentum", "momentum=0.0", LONG),
    Mutation("engine/reference.py", "torch.where(nan, outputs, safe)", "safe", ALONE),
    Mutation("engine/reference.py", "a=math.sqrt(5)", "a=math.sqrt(6)", WEIGHTS),
    Mutation(
        "engine/reference.py",
        "1 / math.sqrt(weight.shape[1])",
        "1 / math.sqrt(weight.shape[0])",
        WEIGHTS,
    ),
    Mutation(
        "engine/reference.py",
        "generator.manual_seed(seed)",
        "generator.manual_seed(seed % 2**31)",
        WEIGHTS,
    ),
    Mutation("engine/reference.py", "    if zero_grad:", "    if True:", LONG),
    Mutation("engine/reference.py", "torch.ones_like(weights[0])", "weights[0] * 0 + 0.9", LONG),
    Mutation("engine/reference.py", "if epoch < config.epochs:", "if epoch > 1:", LONG),
    # What counts as solved, and since when.
    Mutation(
        "engine/reference.py", "judge.see(epoch, outputs)", "judge.see(epoch - 1, outputs)", LONG
    ),
    Mutation(
        "engine/reference.py", "judge.see(epoch, network", "judge.see(epoch - 1, network", HELD_OUT
    ),
    Mutation(
        "engine/reference.py", "masked_fill_(~solved, epoch)", "masked_fill_(solved, epoch)", LONG
    ),
    Mutation("engine/reference.py", "(self._unsolved + 1)", "self._unsolved", LONG),
    Mutation(
        "engine/reference.py",
        "(self._outputs > 0.5)",
        "(self._outputs >= 0.5)",
        f"{TRAINING} -k half",
    ),
    Mutation("engine/reference.py", ".all(dim=0) & network.finite()", ".all(dim=0)", ALONE),
    Mutation("engine/reference.py", "forward(judge.inputs)", "forward(inputs)", HELD_OUT),
    Mutation("engine/reference.py", "weights.grad.add_(gradient)", "pass", LONG),
    Mutation(
        "engine/reference.py", "np.full(-len(seeds) % LANES, seeds[-1])", "np.full(0, 0)", ALONE
    ),
    # Stacks of configs.
    Mutation("engine/rows.py", "step else rates", "step > 1 else rates", f"{ROWS} -k ASGD"),
    Mutation("engine/rows.py", "self.which)", "0 * self.which)", f"{ROWS} -k every_step"),
    Mutation("engine/rows.py", "-(rows.lr / (1 - BETA1**step))", "-rows.lr", f"{ROWS} -k Adam"),
    Mutation("engine/rows.py", "buffer.mul_(momentum).add_", "buffer.add_", f"{ROWS} -k SGD"),
    Mutation("engine/rows.py", "length > 5.0", "length > 4.0", f"{ROWS} -k RAdam"),
    Mutation("engine/rows.py", "sign.eq(down), 0", "sign.eq(down), 1", f"{ROWS} -k Rprop"),
    Mutation("engine/stacked.py", "which - first", "which", f"{STACKED} -k cut_anywhere"),
    Mutation("engine/stacked.py", "end - len(training.seeds)", "0", f"{STACKED} -k own_seeds"),
    Mutation("engine/stacked.py", "start += width", "start += len(part)", f"{STACKED} -k cut"),
    Mutation("engine/stacked.py", "_padded(width // 2)", "LANES", f"{STACKED} -k halves"),
    Mutation(
        "engine/stacked.py", "min(free, share", "min(free, 4 * share", f"{STACKED} -k width_is"
    ),
    Mutation("engine/stacked.py", "2 * len(training", "len(training", f"{STACKED} -k fill"),
    Mutation("engine/trainings.py", "config.momentum > 0,", "", f"{STACKED} -k differ"),
    Mutation("engine/trainings.py", "config.epochs,", "", f"{STACKED} -k differ"),
    Mutation("engine/network.py", "and self.gpus else", "else", f"{NETWORK} -k decides"),
    Mutation(
        "engine/network.py",
        "_tell_that_there_is_no_gpu()\n\n",
        "pass\n\n",
        f"{NETWORK} -k told_once",
    ),
    # The fused engine. What is named here is compiled in a second; the whole kernel takes fifteen.
    Mutation(
        "engine/kernels/optimizers.py",
        "at_most(at_least(grown, 1e-6), 50.0)",
        "at_most(grown, 50.0)",
        f"{SCHEDULE} -k Rprop",
    ),
    Mutation("engine/schedule.py", "length > 5", "length > 4", f"{SCHEDULE} -k RAdam"),
    Mutation(
        "engine/kernels/functions.py",
        "select(x < -88.0, 0.0, reciprocal(exp(-x) + 1.0))",
        "reciprocal(exp(-x) + 1.0)",
        f"{FUNCTIONS} -k sigmoid",
    ),
    Mutation(
        "engine/kernels/activations.py",
        "at_least(x, 0.0), select(x <= 0.0, 0.0, 1.0)",
        "at_least(x, 0.0), select(x < 0.0, 0.0, 1.0)",
        f"{FUNCTIONS} -k derivative",
    ),
    Mutation(
        "engine/kernels/losses.py",
        "select(q < 1e-12, d * 1e12 * q, d)",
        "d",
        f"{FUNCTIONS} -k BCELoss",
    ),
    Mutation(
        "engine/kernels/mersenne.py",
        "mixed + np.uint32(i)",
        "mixed + np.uint32(1)",
        "tests/engine/test_mersenne.py",
    ),
    Mutation(
        "engine/kernels/cache.py",
        "self.flush()",
        "pass",
        "tests/engine/test_kernel_cache.py -k damaged",
    ),
    Mutation("engine/network.py", "max((config for", "min((config for", f"{NETWORK} -k order"),
    Mutation(
        "engine/network.py",
        "checkpoints=())",
        "checkpoints=outcome.checkpoints)",
        f"{NETWORK} -k order",
    ),
    Mutation("outcome.py", "status[~finite] = Status.DIVERGED", "pass", "tests/test_outcome.py"),
    Mutation(
        "outcome.py",
        "right >= task.rows_needed",
        "right > task.rows_needed",
        "tests/test_outcome.py",
    ),
    Mutation("outcome.py", "self.epochs * int(", "0 * int(", "tests/test_outcome.py"),
    Mutation("outcome.py", "(array > MAX_SEED)", "(array > MAX_SEED + 1)", "tests/test_outcome.py"),
    Mutation(
        "task.py",
        "self.accuracy * total - 1e-9",
        "self.accuracy * total + 1e-9",
        "tests/test_task.py",
    ),
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
    Mutation("journal.py", "if start < end:", "if start < end - 1:", "tests/test_journal.py"),
    Mutation("journal.py", "if start < end:", "if start <= end:", "tests/test_journal.py"),
    Mutation("journal.py", "if evaluation.final:", "if True:", "tests/test_journal.py"),
    Mutation("journal.py", "size += len(line)", "size = len(line)", "tests/test_journal.py"),
    Mutation("journal.py", "os.ftruncate(fd, whole)", "pass", "tests/test_journal.py"),
    Mutation(
        "journal.py", "wanted = self._appended\n", "wanted = self._appended + 1\n", DURABILITY
    ),
    Mutation("journal.py", "self._settled = wanted", "self._settled = self._appended", DURABILITY),
    Mutation("journal.py", "self._lock.check()", "pass", DURABILITY),
    Mutation("journal.py", "self._failure is not None or wanted", "wanted", DURABILITY),
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
    Mutation("run_lock.py", "os.close(_acquired(claim, mine, say))", "pass", LOCK),
    Mutation("run_lock.py", "now is not None and now.owner == found.owner", "True", LOCK),
    Mutation("run_lock.py", "elif found.owner != self._owner.owner:", "elif False:", LOCK),
    Mutation("run_lock.py", "if now != found:", "if False:", LOCK),
    Mutation("run_lock_owner.py", 'fields[0] in (b"Z", b"X")', "False", LOCK),
    Mutation("run_lock_owner.py", "started != owner.process_start", "False", LOCK),
    Mutation("run_lock_owner.py", "owner.pid_namespace != here.pid_namespace", "False", LOCK),
    # How many seeds, and what may be said of them.
    Mutation(
        "stats_exact.py",
        'risk = (1 - confidence) / (2 if side == "two-sided" else 1)',
        "risk = (1 - confidence) / 2",
        EXACT,
    ),
    Mutation("stats_exact.py", "np.minimum(2 * tail, 1.0)", "tail", EXACT),
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
        "line.block.seeds.stop\n            for",
        "line.block.seeds.start\n            for",
        CERTIFY,
    ),
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
    Mutation("terminal_progress.py", "/ (done - before) *", "/ done * 0 *", SEARCHED),
    Mutation("api.py", "time.monotonic() - began >= budget", "False", BUDGET),
    Mutation("api_certify.py", ")) > most:", ")) > 0:", BUDGET),
    Mutation("api.py", "budget * AFTERWARDS if", "budget if", BUDGET),
    Mutation("api_certify.py", "return run.noted(not_certified=None) if", "return run if", BUDGET),
    # The race: its bounds, its decisions, its way through the search, its adapters.
    Mutation(
        "stats_anytime.py",
        '_SHAPES = {"jeffreys": 0.5',
        '_SHAPES = {"jeffreys": 0.6',
        ANYTIME,
    ),
    Mutation(
        "stats_anytime.py",
        "half = (1 - confidence) / 2",
        "half = 1 - confidence",
        ANYTIME,
    ),
    Mutation(
        "stats_anytime.py",
        "log = log - np.log(betainc(shape, shape, expit(-u)))",
        "log = log - np.log(betainc(shape, shape, 0.5))",
        ANYTIME,
    ),
    Mutation(
        "stats_anytime.py",
        "return anytime_above(w, w + other, 0.5)",
        "return anytime_above(w, w + other, 0.45)",
        ANYTIME,
    ),
    Mutation(
        "race.py",
        "EVEN + i - 1), np.log(EVEN + i)",
        "EVEN + i), np.log(EVEN + i + 1)",
        RACE,
    ),
    Mutation(
        "race.py",
        "alpha=alpha * race_share(number) / 2)\n\n\ndef race_upper",
        "alpha=alpha * race_share(number))\n\n\ndef race_upper",
        RACE,
    ),
    Mutation(
        "race.py",
        "return math.log(alpha * float(race_share(number)) / 2)",
        "return math.log(alpha * float(race_share(number)))",
        RACE,
    ),
    Mutation(
        "race.py",
        "other = self._next if self._bar.name == name else self._bar",
        "other = self._bar",
        RACE,
    ),
    Mutation(
        "race.py",
        "self._bar, self._next = found, self._bar",
        "self._bar = found",
        RACE,
    ),
    Mutation(
        "race.py",
        "least = self._bar.lower if first else self._next.lower",
        "least = self._bar.lower",
        RACE,
    ),
    Mutation("race.py", "if rung > n), None", "if rung >= n), None", RACE),
    Mutation("race.py", "self.see(name, successes, n)\n        if", "if", RACE),
    Mutation("race_next.py", "(successes + 1 + speed) / (n + 2)", "(successes + speed) / n", NEXT),
    Mutation("race_next.py", "if successes < n:\n        return None", "", NEXT),
    Mutation("race_next.py", "n < rung <= FIRST", "n < rung", NEXT),
    Mutation("race_next.py", "member[0] + AS_QUICK", "member[0]", NEXT),
    Mutation("race_next.py", "slowest) if flawless else", "slowest) if True else", NEXT),
    Mutation("race_next.py", "_low(k, seeds) < hoped", "k / seeds < hoped", NEXT),
    Mutation("race_next.py", "if ahead >= self._most", "if ahead > self._most", NEXT),
    Mutation("race_next.py", "len(busy) >= self._most:", "len(busy) > self._most:", NEXT),
    Mutation("race_next.py", "last and successes == n", "successes == n", NEXT),
    Mutation("race_next.py", "self._stopped.add(number)", "pass", NEXT),
    Mutation("race_next.py", "_remove(self._all, before, number)", "pass", NEXT),
    Mutation("race_next.py", "and successes and number", "and number", NEXT),
    Mutation("race_next.py", "-first[0]), -first[1]", "-first[0]), first[1]", NEXT),
    Mutation("race_front.py", "self._costs <= self._costs[row]", "self._costs > -np.inf", FRONT),
    Mutation("race_front.py", "rivals[row] = False", "pass", FRONT),
    Mutation("race_front.py", "self._out[row] = True", "pass", FRONT),
    Mutation("race_front.py", "ahead.sum() >= self", "ahead.sum() > self", FRONT),
    Mutation("race_front.py", "self._low >= hoped[row]", "self._k >= 1", FRONT),
    Mutation(
        "race.py",
        "0 <= more <= added",
        "more <= added",
        PRUNER,
    ),
    Mutation(
        "search/steps.py",
        "start = max(start, block.first + block.count)",
        "start = block.first + block.count",
        RACING,
    ),
    Mutation("search/steps.py", "epochs_spent(outcome) if self.timed else 0", "0", RACING),
    Mutation(
        "search/steps.py",
        "known[:] = [e for e in known if e.block.first >= end]",
        "known.clear()",
        RESUMED,
    ),
    Mutation(
        "search/steps.py", "end = max(end, evaluation.block.first", "end = max(end, 0", RESUMED
    ),
    Mutation("search/steps.py", "found = Count(n=seeds,", "found = Count(n=0,", BLOCKS),
    Mutation("search/blocks.py", "< VERIFY * all_seeds", "< VERIFY", RACING),
    Mutation("search/steps.py", "(step - BLIND) // WIDENS", "step // WIDENS", BLOCKS),
    Mutation(
        "search/blocks.py",
        "self._taken <= step - window_at(step, most, self._least)",
        "self._steps.get(self._taken) and not self._steps[self._taken].missing",
        RACING,
    ),
    Mutation("search/steps.py", "> counting), rungs[0])", "> counting), rungs[-1])", RACING),
    Mutation("search/steps.py", "self.granted - self.seen.aside", "self.granted", APART),
    Mutation("search/blocks.py", "self._race.forget(key)", "pass", APART),
    Mutation("run_apart.py", "if made == self.made:", "if True:", APART),
    Mutation("run_apart.py", "(count.n, -lowest) <=", "(count.n, 0) <=", APART),
    Mutation("search/blocks.py", "self._busy.add(key)", "pass", RACING),
    Mutation("search/blocks.py", "last=self._all_made)", "last=False)", RACING),
    Mutation("search/blocks.py", "self._news[0][0] <= self", "0 <= self", STOPS),
    Mutation("search/blocks.py", "            self._journal.sync()\n", "            pass\n", STOPS),
    Mutation("search/blocks.py", "if ends != step.ends:", "if False:", STOPS),
    Mutation(
        "search/blocks.py",
        "        if self._stopped:\n            return False\n        if self._newcomers",
        "        if self._newcomers",
        STOPS,
    ),
    Mutation("search/blocks.py", "self._proven = True\n            self.stop()", "pass", RACING),
    Mutation("search/blocks.py", "standing.seen.join(step.gained)", "False", RACING),
    Mutation("search/blocks.py", "if evaluation.final:\n", "if True:\n", BLOCKS),
    Mutation(
        "search/blocks.py",
        "if (known := self._points.pop(number, None)) is not None:",
        "if (known := None) is not None:",
        RESUMED,
    ),
    Mutation(
        "search/packs.py",
        "if idle > parts and not self._queue.open",
        "if False",
        RACE_PACKS,
    ),
    Mutation(
        "search/packs.py",
        "parts = int(seconds / min(self._cap, max(MOST_SECONDS, share)))",
        "parts = 0",
        RACE_PACKS,
    ),
    Mutation(
        "search/packs.py",
        "if not job.climbs:\n            return job\n",
        "",
        RACE_PACKS,
    ),
    Mutation(
        "search/race_pruner.py",
        "other.number != trial.number:\n                bar",
        "True:\n                bar",
        PRUNER,
    ),
    Mutation(
        "search/race_pruner.py",
        "if n:\n            found",
        "if True:\n            found",
        PRUNER,
    ),
    # The figures of success, and why a config got no more seeds.
    Mutation("stats_bands.py", "/ (2 * n))", "/ (3 * n))", "tests/test_stats_bands.py"),
    Mutation("report/stops.py", "* shares[below] / 2)", "* shares[below])", ENDS),
    Mutation("report/stops.py", "sorted(first, key=first.__getitem__)", "sorted(first)", ENDS),
    Mutation("report/stops.py", "if key not in outdone:", "if key in outdone:", ENDS),
    Mutation("report/stops.py", "if run.set_aside:", "if False:", ENDS),
    Mutation("report/figures/history.py", "while latest[", "if latest[", HISTORY),
    Mutation(
        "report/figures/history.py",
        "float(course.cost[max(places)])",
        "float(course.cost[min(places)])",
        HISTORY,
    ),
    Mutation("report/figures/thinned.py", "seen.argmin()", "seen.argmax()", HISTORY),
    Mutation(
        "report/figures/epochs.py",
        'curve.solved_at, steps, side="right"',
        'curve.solved_at, steps, side="left"',
        "tests/report/figures/test_epochs.py",
    ),
    Mutation(
        "report/figures/ranking.py",
        "places[-1] + 0.5",
        "places[-1] - 0.5",
        "tests/report/figures/test_ranking.py",
    ),
    Mutation(
        "report/figures/failures.py",
        "- sum(known.values())",
        "",
        "tests/report/figures/test_failures.py",
    ),
    Mutation(
        "report/figures/front.py",
        "if x.maximize else",
        "if not x.maximize else",
        "tests/report/figures/test_front_figure.py",
    ),
    # Pages.
    Mutation("report/html/page.py", "autoescape=True", "autoescape=False", PAGE),
    Mutation("report/html/page.py", "sha256(text", "sha256(text[1:]", PAGE),
    Mutation("report/html/embed.py", '(("<", r"\\u003c"), ', "(", PAGE),
    Mutation("report/html/blocks.py", 'f"./{quote(target)}"', "target", PAGE),
    Mutation("report/html/configs.py", "if taken > BUDGET", "if False", CONFIGS),
    Mutation("report/html/configs.py", "100 * (row.high - row.low)", "100 * row.high", CONFIGS),
    Mutation("report/html/figure_data.py", "pair[::-1]", "pair", MARKS),
    Mutation(
        "report/html/assets/configs.js", "down ? compare(b, a)", "!down ? compare(b, a)", BROWSER
    ),
    Mutation("report/html/assets/recipes.js", '"$1.0e"', '"$1e"', BROWSER),
    # The figures of parameters.
    Mutation(
        "report/figures/slices.py",
        "MIN_CONFIGS * (counts @ kernel**2)",
        "0 * (counts @ kernel**2)",
        SLICES,
    ),
    Mutation("report/figures/contour.py", "last - self.which)", "self.which)", PARAMETERS),
    Mutation(
        "report/figures/parallel.py",
        "np.concatenate([best, others])[::-1]",
        "np.concatenate([best, others])",
        PARAMETERS,
    ),
    Mutation("report/columns.py", "cuts = np.floor(cuts)", "cuts = np.ceil(cuts)", PARAMETERS),
    Mutation("report/figures/surface.py", "np.minimum(rounded, 0.4999)", "rounded", SURFACE),
    Mutation(
        "report/figures/surface.py",
        "== recorded).all(axis=1)",
        "== recorded).any(axis=1)",
        SURFACE,
    ),
    Mutation(
        "report/figures/surface.py",
        "np.tile(x, CELLS), np.repeat(y, CELLS)",
        "np.repeat(x, CELLS), np.tile(y, CELLS)",
        SURFACE,
    ),
    Mutation(
        "search/importance.py",
        "number = next(self._numbers)",
        "number = 0",
        "tests/search/test_importance.py",
    ),
    # The words and numbers of reports.
    Mutation("report/format.py", "<= 354 else 0", "<= 999 else 0", FORMAT),
    Mutation("report/format.py", "math.floor(round(low", "math.ceil(round(low", FORMAT),
    Mutation("report/format.py", "if rate < 1 and float(shown) >= 100:", "if False:", FORMAT),
    Mutation("report/bars.py", "math.ceil(round(high", "math.floor(round(high", BARS),
    Mutation("report/latex.py", "([-,'])", "([,'])", LATEX),
    Mutation("report/latex.py", 'for sign in "[]*"', 'for sign in "]*"', LATEX),
    Mutation("report/markdown_document.py", "(?=[#+=-])|", "", DRAWN),
    Mutation(
        "report/markdown_document.py", "words = plain(text).strip()", "words = plain(text)", DRAWN
    ),
    Mutation("report/run_latex.py", "fresh.get(row.key)", "next(iter(fresh.values()))", SAME),
    Mutation(
        "report/run_document.py", "if report.solved and report.configs > 1:", "if True:", WORDS
    ),
    Mutation("report/files.py", "if path.is_symlink():", "if False:", "tests/test_run.py -k link"),
    Mutation("report/drawn/plotly_text.py", ', ("$", "&#36;")', "", PLOTLY),
    Mutation("report/drawn/plotly_text.py", '("<", "&lt;"), ', "", PLOTLY),
    Mutation(
        "report/drawn/plotly_marks.py", "leans(a - b for a, b", "leans(b - a for a, b", PLOTLY
    ),
    Mutation("report/drawn/plotly_marks.py", "(b[0], a[1], a[2])", "(b[0], b[1], b[2])", PLOTLY),
    Mutation("report/drawn/plotly_figure.py", "ends = ends[1], ends[0]", "ends = ends", PLOTLY),
    Mutation("report/drawn/plotly_figure.py", 'seen.add(entry["name"])', "pass", PLOTLY),
    Mutation("report/drawn/plotly_coloured.py", "(level + 0.5) / STEPS", "level / STEPS", PLOTLY),
    Mutation("report/drawn/matplotlib_marks.py", '.replace("$", r"\\$")', "", MATPLOTLIB),
    Mutation(
        "report/drawn/matplotlib_axes.py", "ends = ends[1], ends[0]", "ends = ends", MATPLOTLIB
    ),
    Mutation("report/drawn/matplotlib_axes.py", '"svg.hashsalt": "xortune",', "", MATPLOTLIB),
    Mutation("report/drawn/svg_text.py", "|(translate)", "|(translate|scale)", SVG),
    Mutation("report/drawn/svg_text.py", "<[A-Za-z][^>]*>", "[^>]*>", SVG),
    Mutation("report/drawn/svg_text.py", ":.2f", ":.1f", SVG),
    Mutation("report/figures/slices.py", "'other value'", "'rarer value'", SLICES),
    Mutation("report/drawn/palette.py", '"e": "#ad932e"', '"e": "#e69f00"', PALETTE),
    Mutation("table_html.py", "html.escape(sentence)", "sentence", NOTEBOOK),
    Mutation("table_html.py", "math.floor if name in DOWN", "round if name in DOWN", NOTEBOOK),
    # Comparisons of runs: what is paired, what enters, and what is said.
    Mutation(
        "stats_difference.py",
        "np.maximum(agreement - n / 2, 0.0)",
        "agreement",
        DIFFERENCE,
    ),
    Mutation("stats_difference.py", "where=product > 0", "where=product < 0", DIFFERENCE),
    Mutation(
        "stats_difference.py",
        "first - low1, high2 - second",
        "first - low1, second - low2",
        DIFFERENCE,
    ),
    Mutation(
        "stats_seeds.py",
        "min(1.0, (share + abs(p1 - p2)) / (2 * share))",
        "(share + abs(p1 - p2)) / (2 * share)",
        SEEDS,
    ),
    Mutation("comparison_runs.py", "if common.size >= apart:", "if common.size:", COMPARED),
    Mutation(
        "comparison_runs.py",
        "    if common.size >= apart:\n        return mine",
        "    if common.size > 10**9:\n        return mine",
        COMPARED,
    ),
    Mutation("comparison_runs.py", "(solved & ~their_solved)", "(solved & their_solved)", COMPARED),
    Mutation("comparison_runs.py", "differs = p < alpha", "differs = pair.p < alpha", COMPARED),
    Mutation("comparison_runs.py", "level = alpha / len(found)", "level = alpha", COMPARED),
    Mutation(
        "comparison_runs.py",
        "self.a if self.difference > 0 else self.b",
        "self.b if self.difference > 0 else self.a",
        COMPARED,
    ),
    Mutation("comparison_runs.py", "max(needed - have, 1)", "max(needed, 1)", COMPARED),
    Mutation("comparison_speed.py", "drawn if shared else", "drawn if not shared else", COMPARED),
    Mutation("comparison_speed.py", "+ counts / 2", "+ counts", COMPARED),
    Mutation(
        "comparison_contestants.py", "0 if key is None else", "-1 if key is None else", ENTERED
    ),
    Mutation(
        "comparison_contestants.py", '== ("certify", attempt.number)', '== ("certify", 1)', ENTERED
    ),
    Mutation(
        "comparison_contestants.py",
        "if fingerprint != first_fingerprint:",
        "if name != first_name:",
        ENTERED,
    ),
    Mutation("search/comparing.py", "np.setdiff1d(wanted, have.seeds)", "wanted", ENTERED),
    Mutation("search/comparing.py", "range(1, ATTEMPTS + 1)", "range(1, 2)", ENTERED),
    Mutation(
        "search/comparing.py",
        "outcome.seeds < seeds.stop",
        "outcome.seeds < seeds.stop + 10**6",
        ENTERED,
    ),
    Mutation(
        "report/comparison_words.py",
        "low, high, difference = -high, -low, -difference",
        "low, high, difference = -low, -high, -difference",
        TOLD,
    ),
    Mutation("report/comparison_words.py", 'p_text(pair.p_holm)}"', 'p_text(pair.p)}"', TOLD),
    Mutation(
        "cli/comparing.py",
        "found.first_is_worse:",
        "not found.first_is_worse:",
        "tests/test_cli_compare_runs.py -k gate",
    ),
    Mutation(
        "report/figures/compared.py",
        "if row > column:",
        "if row < column:",
        "tests/report/figures/test_compared.py",
    ),
]


def caught(mutation: Mutation, tree: Path) -> bool | None:
    """Whether the tests fail in a tree with the change; None if the old text is not there once."""
    path = tree / "xortune" / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        return None
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        return not passes(mutation.tests, tree)
    finally:
        path.write_text(text, encoding="utf-8")


def passes(tests: str, tree: Path) -> bool:
    """Whether these tests pass with the package of that tree."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [*command, *tests.split()], cwd=tree, env=environment, capture_output=True, check=False
    )
    # 1 is a test that failed, 2 a package too broken to import; anything else is our mistake.
    if ran.returncode not in {0, 1, 2}:
        raise SystemExit(f"{tests}: pytest exits {ran.returncode}\n{ran.stdout.decode()}")
    return ran.returncode == 0


def main(wanted: str = "") -> int:
    """Try every mutation of the files wanted; print each and the total."""
    chosen = [mutation for mutation in MUTATIONS if wanted in mutation.file]
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        for part in ("xortune", "tests", "search_spaces"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, tree / part, ignore=ignore)
        shutil.copy(ROOT / "pyproject.toml", tree)
        broken = [t for t in sorted({m.tests for m in chosen}) if not passes(t, tree)]
        if broken:
            print("these tests fail without any change:", *broken, sep="\n  ")
            return 1
        results = []
        for mutation in chosen:
            results.append(caught(mutation, tree))
            word = {True: "caught", False: "MISSED", None: "NO LONGER APPLIES"}[results[-1]]
            change = f"{mutation.old.strip()} -> {mutation.new.strip()}"
            print(f"{word:7} {mutation.file}: {change}", flush=True)
    print(f"{results.count(True)} of {len(results)} caught")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
