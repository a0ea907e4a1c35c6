"""Wrong lines in figures and pages."""

from __future__ import annotations

from mutated.mutation import Mutation

BUDGET = "tests/test_certify_time_budget.py"
ENDS = "tests/report/test_stops.py"
HISTORY = "tests/report/figures/test_history.py"
SLICES = "tests/report/figures/test_slices.py"
PARAMETERS = "tests/report/figures/test_parameters.py"
SURFACE = "tests/report/figures/test_surface.py"
PAGE = "tests/report/html/test_html_page.py"
CONFIGS = "tests/report/html/test_html_configs.py"
MARKS = "tests/report/html/test_html_figures.py"
BROWSER = "tests/report/html/test_html_use.py"

MUTATIONS = [
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
]
