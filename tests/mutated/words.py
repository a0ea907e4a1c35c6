"""Wrong lines in the words and numbers of reports, and in comparisons."""

from __future__ import annotations

from mutated.mutation import Mutation

STEPS = "tests/engine/test_single_steps.py"
SEEDS = "tests/test_stats_seeds.py"
FORMAT = "tests/report/test_format.py"
BARS = "tests/report/test_bars.py"
LATEX = "tests/report/test_latex.py"
DRAWN = "tests/report/test_markdown_document.py"
WORDS = "tests/report/test_report_words.py"
SAME = "tests/report/test_same_numbers.py"
SLICES = "tests/report/figures/test_slices.py"
SVG = "tests/report/drawn/test_svg_text.py"
PLOTLY = "tests/report/drawn/test_plotly.py"
MATPLOTLIB = "tests/report/drawn/test_matplotlib.py"
PALETTE = "tests/report/drawn/test_palette.py"
NOTEBOOK = "tests/test_table_html.py"
DIFFERENCE = "tests/test_stats_difference.py"
COMPARED = "tests/test_comparison_runs.py"
ENTERED = "tests/test_compare_contestants.py"
TOLD = "tests/report/test_comparison_words.py"

MUTATIONS = [
    # The words and numbers of reports.
    Mutation("rounding.py", "<= 354 else 0", "<= 999 else 0", FORMAT),
    Mutation("rounding.py", "math.floor(round(", "math.ceil(round(", FORMAT),
    Mutation("rounding.py", "if rate < 1 and float(shown) >= 100:", "if False:", FORMAT),
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
    Mutation(
        "report/files.py", "if path.is_symlink():", "if False:", "tests/test_run_derived.py -k link"
    ),
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
    Mutation("table_html.py", "(low, rounded_down)", "(low, rounded_up)", NOTEBOOK),
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
    Mutation("search/comparing.py", "job.attempt == ATTEMPTS", "job.attempt == 1", ENTERED),
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
