"""Wrong lines in what is logged to TensorBoard, MLflow and W&B."""

from __future__ import annotations

from mutated.mutation import Mutation

TRACKERS = "tests/test_trackers.py"
TENSORBOARD = "tests/test_trackers_tensorboard.py"
SERVERS = "tests/test_trackers_servers.py"


def one(test: str, file: str = TRACKERS) -> str:
    """One test, since some of the others start Ray."""
    return f"{file}::test_{test}"


MUTATIONS = [
    Mutation(
        "trackers/reader.py",
        "if evaluation.final and evaluation.purpose is None:",
        "if evaluation.final:",
        one("a_config_has_a_step_for_each_block_and_its_crashed_seeds_are_in_n"),
    ),
    Mutation(
        "trackers/reader.py",
        '                if not line.endswith(b"\\n"):  # it is being written',
        "                if False:",
        one("a_reader_reads_on_and_a_line_that_is_being_written_waits"),
    ),
    Mutation(
        "trackers/following.py",
        "if what not in self._told:",
        "if True:",
        one("a_tracker_that_fails_is_told_once_and_gets_all_when_it_is_there"),
    ),
    Mutation(
        "trackers/following.py",
        "dict.fromkeys(self._reader.keys if last else changed)",
        "dict.fromkeys(changed)",
        one("while_a_search_runs_only_what_has_changed_is_logged"),
    ),
    Mutation(
        "trackers/tensorboard.py",
        "end.write(wanted[len(held) :])",
        "end.write(wanted)",
        one("a_second_call_changes_no_byte_and_more_seeds_are_appended", TENSORBOARD),
    ),
    Mutation(
        "trackers/tensorboard.py",
        " and not file.is_symlink()",
        "",
        one("a_link_in_a_run_is_not_written_through"),
    ),
    Mutation(
        "trackers/mlflow.py",
        "for s in config.steps if s.n > known.n for",
        "for s in config.steps if s.n > 0 for",
        one("mlflow_has_a_run_for_each_config_and_a_second_call_adds_nothing", SERVERS),
    ),
    Mutation(
        "trackers/mlflow.py",
        'found[run.data.tags.get(KEY, "")] = Logged(',
        "found[run.info.run_id] = Logged(",
        one("mlflow_has_a_run_for_each_config_and_a_second_call_adds_nothing", SERVERS),
    ),
    Mutation(
        "trackers/wandb.py",
        "(newest.n, newest.certified) == (n, certified)",
        "False",
        one("wandb_offline_holds_each_config_once", SERVERS),
    ),
]
