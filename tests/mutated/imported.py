"""Wrong lines in what was imported, in what is exported, and in tests over seeds."""

from __future__ import annotations

from mutated.mutation import Mutation

TABLE = "tests/test_import_table.py"
RUN = "tests/test_import.py"
STUDY = "tests/test_optuna_study.py"
EXPORT = "tests/test_export.py"
PLUGIN = "tests/test_pytest_plugin.py"

MUTATIONS = [
    Mutation("imported_table.py", "line = reader.line_num + 1", "line += 1", TABLE),
    Mutation("imported_table.py", r"(?:0|[1-9]\d*)(?:\.\d*)?|", r"\d+\.?\d*|", TABLE),
    Mutation(
        "imported_table.py", "if some and _NOT_FINITE.fullmatch(cells[odd]):", "if False:", TABLE
    ),
    Mutation("imported_columns.py", "_SOLVED if verdict else _MISSED", "_SOLVED", TABLE),
    Mutation("imported_columns.py", "missing_fails and _is_nothing", "_is_nothing", TABLE),
    Mutation("imported_columns.py", "elif not math.isfinite(number):", "elif False:", TABLE),
    Mutation("imported_columns.py", "elif verdict and row in reasons:", "elif False:", TABLE),
    Mutation("imported_results.py", 'kind="stable"', 'kind="stable")[::-1', TABLE),
    Mutation("imported_results.py", "if before != row:", "if False:", TABLE),
    Mutation("imported_results.py", "if value is not None}", "}", TABLE),
    Mutation("gate_imported.py", " / len(run.results)", "", RUN),
    Mutation("comparison_imported.py", "(several and key is None)", "False", RUN),
    Mutation("report/figures/of_run.py", "return not is_imported(", "return bool(", RUN),
    Mutation("api_import.py", '{"command": entry["command"], "versions": versions}', "entry", RUN),
    Mutation("search/optuna_study.py", "TrialState.FAIL, TrialState.PRUNED)", ")", STUDY),
    Mutation("search/optuna_study.py", "not all(_holds(", "not any(_holds(", STUDY),
    Mutation("search/optuna_study.py", "[outcome.rate] if rate else", "", STUDY),
    Mutation("report/script.py", "return finite and right", "return right", EXPORT),
    Mutation("report/script.py", "right >= {task.rows_needed}", "right >= 3", EXPORT),
    Mutation("api_export.py", "np.count_nonzero(solved[:count])", "count", EXPORT),
    Mutation("api_export.py", "line.block.point.key == result.key and ", "", EXPORT),
    Mutation("report/config_file.py", 'text.replace("e", ".0e")', "text", EXPORT),
    Mutation("pytest_seeds.py", "self.k + left, most", "self.k, most", PLUGIN),
    Mutation("pytest_plugin.py", "item._initrequest()", "pass", PLUGIN),
    Mutation("pytest_plugin.py", "item.__dict__.pop(name, None)", "pass", PLUGIN),
    Mutation("pytest_plugin.py", "    if course.n:\n", "    if False:\n", PLUGIN),
    Mutation(
        "pytest_plugin.py", "(KeyboardInterrupt, pytest.exit.Exception)", "MemoryError", PLUGIN
    ),
]
