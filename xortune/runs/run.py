"""The run directory: create, find and load it. All files but the journal can be rebuilt."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from xortune.core.audit import Audit
from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.files import ANOTHER_OUTPUT, open_regular, text_of, writing
from xortune.core.formats import as_html, config_text, interval
from xortune.core.outcome import Status
from xortune.core.point import Point, Value
from xortune.core.success import Rule, has_rule, rule_in
from xortune.racing.grants import aim_of
from xortune.racing.objectives import constrained, only_rate, only_statistic
from xortune.racing.posterior import Group
from xortune.racing.statement import Statement, Winner, statement_of, winner_of
from xortune.runs.best import BestSubset, best_subset
from xortune.runs.certificate import CERTIFICATE, Certificate, certificate_of
from xortune.runs.columns import Column, Form, Part, columns_of, config_table, worth
from xortune.runs.evaluation import MAX_ROWS, Evaluations
from xortune.runs.journal import read, torn
from xortune.runs.lock import holder
from xortune.runs.manifest import (
    FORMAT,
    MANIFEST,
    SPACE,
    as_json,
    imported_from,
    is_imported,
    manifest_of,
    objectives_of,
    refuse_others,
    rungs_of,
    update_manifest,
)
from xortune.runs.results import (
    ConfigResult,
    ConfigResults,
    Score,
    front_of,
    number_names,
    score_of,
    seed_tables,
)
from xortune.runs.store import (
    JOURNAL,
    SOURCES,
    StoredPath,
    as_path,
    reader_directory,
    replace_file,
    store_of,
)
from xortune.spaces.model import weighs_seeds
from xortune.spaces.space import parse_space

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from xortune.spaces.model import Objective, SearchSpace

RUNS = "runs"
"""The directory for runs without `output`: runs/NAME below the working directory."""

_FILES = re.compile(
    rf"{SOURCES.pattern}|{re.escape(JOURNAL)}"
    r"|report\.(html|md)|table\.(csv|tex|parquet)|seeds\.parquet|failures\.txt"
)
"""The files that a run writes into its directory, beside those in the folder `lock`."""

_FOLDERS = ("figures", "ray")

SCORED = 10
"""Configurations, the first ones, whose numbers say which number tables show."""

MAX_SHOWN, MAX_CONFIG = 1000, 100
"""Evaluations of which a repr computes the best, some ms; and its characters of a config."""

Pathlike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Run:
    """A loaded run: its manifest, its journal, and the results that follow from them.

    Two runs are equal only if they are the same object.

    Attributes:
        path: the directory. For a run in an object store that of its copy on this machine, shown
            as the URL.
        manifest: the content of `manifest.json`.
        evaluations: the journal's lines of the search, in order.
        checks: the journal's lines of certificates. No result, table or count of the search
            includes them.
        unwritten: which files of its report a search could not write, and why; None if it wrote
            all.
    """

    path: Path
    manifest: dict[str, Any]
    evaluations: Evaluations
    checks: Evaluations = field(default_factory=lambda: Evaluations.of(()))
    unwritten: str | None = None

    _latest: tuple[int | None, Run | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("evaluations", "checks"):
            object.__setattr__(self, name, Evaluations.of(getattr(self, name)))
        object.__setattr__(self, "_latest", (_certified_at(self.path), None))

    @cached_property
    def results(self) -> ConfigResults:
        """One result for each configuration, best first.

        They are ordered by the lower end of the 95 % Wilson interval; then, if a rule judges a
        number, by its median over the seeds; then by epochs to solve (without a success last);
        then by key. If the objective is a number of a user's own trainer, the rungs of the ladder
        that a configuration has completed and then the objective come first.

        Raises:
            InputError: blocks of one configuration do not fit together: their epochs differ, or
                the rows they were judged on.
        """
        return ConfigResults(
            self.evaluations,
            objectives=self.objectives,
            rungs=rungs_of(self.manifest),
            place=str(self.path / JOURNAL),
            reasons=not self.is_network,
        )

    @property
    def audit(self) -> Audit | None:
        """What is known of seeds that trained as one model; None if the trainer stacks none."""
        return self.evaluations.lines.audit()

    @property
    def set_aside(self) -> Evaluations:
        """Blocks that no result includes, since another version trained more of its seeds.

        Blocks that different engines, versions or trainers made never count together.
        """
        return self.results.set_aside

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each configuration, best first; see `runs.columns`."""
        return config_table(self.results, self.columns)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of `table`, of notebooks and of tables of text; see `runs.columns`."""
        outcomes = [one.outcome for one in self.results] if self.results.detailed else []
        return columns_of(
            self.parameters,
            self.objectives,
            number_names(outcomes),
            score=self.score,
            front=self.front,
            ruled=has_rule(self.manifest.get("success")),
        )

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of the search."""
        return objectives_of(self.manifest)

    @property
    def full_seeds(self) -> int:
        """The last rung of the ladder; the largest n if the manifest has no ladder."""
        ladder = rungs_of(self.manifest)
        return ladder[-1] if ladder else int(self.results.counts.n.max(initial=0))

    @cached_property
    def front(self) -> NDArray[np.bool_] | None:
        """bool, shape (C,): whether a result is on the Pareto front; None with one objective."""
        if len(self.objectives) == 1:
            return None
        return front_of(self.results, self.objectives, self.full_seeds)

    @cached_property
    def seeds(self) -> pd.DataFrame:
        """One row for each configuration and seed; see `runs.results.seed_tables`.

        Strings are categories, and `solved_epoch` is nullable.
        """
        import pandas as pd
        import pyarrow as pa

        table: pd.DataFrame = self.seed_table.to_pandas(
            types_mapper={pa.int32(): pd.Int32Dtype()}.get
        )
        return table

    @cached_property
    def seed_table(self) -> pa.Table:
        """`seeds` as an Arrow table."""
        return next(seed_tables(self.results, rows=MAX_ROWS))

    @property
    def best(self) -> Config | Point:
        """The first of `results`: a Config for the built-in network, otherwise a Point.

        Both have the parameters as attributes: `run.best.lr`.

        Raises:
            InputError: no configuration has a completed block yet.
        """
        point = self._first.point
        return Config.from_point(point) if self.is_network else point

    @property
    def best_params(self) -> dict[str, Value]:
        """The parameters of `best` by their names.

        Raises:
            InputError: as `best`.
        """
        return self._first.point.as_dict()

    @property
    def best_rate(self) -> float:
        """The share of its seeds that `best` solved in the search.

        The search chose the best by this rate, so it is optimistic: a certificate has the rate on
        fresh seeds.

        Raises:
            InputError: as `best`.
        """
        return self._first.outcome.rate

    @cached_property
    def statement(self) -> Statement | None:
        """What a race for the best success rate can say of its best configuration so far.

            if run.statement.holds:  # proven, whatever the true rates are
                print(run.statement)

        None where there is no such race, for fewer than two configurations, and for imported runs.
        See `racing.statement` for its attributes, the proof and the sources.

        Raises:
            InputError: blocks of one configuration do not fit together.
        """
        if len(self.results) < 2 or is_imported(self.manifest):
            return None
        try:
            space = self.asked
        except InputError:  # the file is gone, or one that it names
            return None
        if len(space.seeds.ladder) < 2 or not weighs_seeds(space.objectives, space.stop):
            return None
        return statement_of(self._groups, aim_of(space))

    @cached_property
    def indistinguishable(self) -> BestSubset | None:
        """Which configurations may be the best, as far as is known; see `runs.best`.

        With 95 % confidence the best of all is among them. None for fewer than two configurations,
        where a rate is required, where no seed succeeded, and where the objective is a statistic
        that no test compares.
        """
        objective = only_statistic(self.objectives)
        if len(self.results) < 2 or constrained(self.objectives) is not None:
            return None
        if not self.results.counts.k.any():
            return None
        return best_subset(self.results, rungs_of(self.manifest), objective, self.limits)

    @property
    def limits(self) -> tuple[float, float] | None:
        """What no seed's number can be below or above, if the space says it."""
        try:
            return self.asked.bounds
        except InputError:  # the file is gone, or one that it names
            return None

    @cached_property
    def winner(self) -> Winner | None:
        """How optimistic the count of the best configuration is, since it was chosen by its count.

        None for fewer than two configurations, where something else than the success rate decides
        who is best, and where no seed succeeded. See `racing.statement`.

        Raises:
            InputError: blocks of one configuration do not fit together.
        """
        if len(self.results) < 2 or not only_rate(self.objectives) or not self.best_rate:
            return None
        k, n = self._first.outcome.successes, self._first.outcome.n
        groups = self._groups
        return winner_of(groups, next(i for i, one in enumerate(groups) if one[:2] == (k, n)))

    @property
    def _groups(self) -> list[Group]:
        """The configurations by their counts."""
        counts = self.results.counts
        sizes = Counter(zip(counts.k.tolist(), counts.n.tolist(), strict=True))
        return [Group(k, n, size) for (k, n), size in sizes.items()]

    @property
    def _first(self) -> ConfigResult:
        if not self.results:
            raise InputError(
                "no configuration is finished yet",
                place=str(self.path),
                fix="let the search run for longer, or continue it with --resume",
            )
        return self.results[0]

    def __repr__(self) -> str:
        """Short, and without computing the results of a large run: tracebacks show it."""
        more = f", {len(self.checks):,} of certificates" if self.checks else ""
        evaluations = f"{len(self.evaluations):,} evaluations{more}"
        return f"Run({str(self.path)!r}, {evaluations}{self._best_text()})"

    def _best_text(self) -> str:
        """`, best 17/20 (63–95 %): lr 0.1`; empty where it is not known at once."""
        if "results" not in vars(self) and len(self.evaluations) > MAX_SHOWN:
            return ""
        try:
            best = self._first
        except InputError:  # nothing has finished, or the run is damaged
            return ""
        config = config_text(best.point, best.point) or "{}"
        shown = config if len(config) <= MAX_CONFIG else f"{config[: MAX_CONFIG - 3]}..."
        if self._number is not None:
            return f", best {self._number.name} {worth(self._number, best.outcome)}: {shown}"
        return f", best {best.outcome.count.text} ({interval(*best.outcome.interval())}): {shown}"

    @property
    def _number(self) -> Objective | None:
        """The number that a search without a rule asks for; None where it asks for a rate."""
        return None if has_rule(self.manifest.get("success")) else only_statistic(self.objectives)

    def _repr_html_(self) -> str:
        """For notebooks: counts, and the first rows of the table without its empty columns."""
        try:
            seeds = int(self.results.counts.n.sum())
            counted = f"{len(self.results):,} configurations, {seeds:,} seeds"
            order = "best first by the lower end of the 95 % Wilson interval of k of n seeds solved"
            if self._number is not None:
                order = f"best first by {self._number.name}, with its 95 % interval"
            return as_html(f"Run {self.path}: {counted}; {order}.", self._short_table())
        except InputError as error:  # a damaged run
            return as_html(f"Run {self.path}: {error}")

    @property
    def rule(self) -> Rule | None:
        """The rule that judges numbers of each seed; None if there is none."""
        origin = imported_from(self.manifest)
        return rule_in(self.manifest.get("success") or (origin and origin.success))

    @cached_property
    def score(self) -> Score | None:
        """The number of a user's own trainer that tables show; None if there is none."""
        outcomes = [result.outcome for result in self.results[:SCORED]]
        return score_of(self.objectives, outcomes, self.rule)

    def _short_table(self) -> pd.DataFrame:
        """The table without columns that say nothing, and with only one of a trainer's numbers."""
        shown = [
            one.name
            for one in self.columns
            if Form.NOTEBOOK in one.where and one.needed(self.table[one.name])
        ]
        table = self.table[shown]
        if self._number is not None:  # its columns have its name, and no other has it
            named = {one.name: one.heading for one in self.columns if one.part is Part.OBJECTIVE}
            table = table.rename(columns=named)
            table = table.loc[:, ~table.columns.duplicated(keep="last")]
        if self.is_network:
            return table
        own = {one.label: one.words(patterns=False) for one in Status if one.ending.unread}
        return table.rename(columns=own)

    def noted(self, **entries: Any) -> Run:
        """Set entries of the manifest, also in the directory, and return the run with them.

        Raises:
            InputError: the manifest is damaged or cannot be written.
        """
        update_manifest(self.path, **entries)
        run = replace(self, manifest=manifest_of(self.path))
        for name in ("results", "table", "seed_table"):  # these follow from the journal alone
            if name in self.__dict__:
                run.__dict__[name] = self.__dict__[name]
        return run

    @property
    def torn(self) -> int:
        """Bytes of a last line that a crash tore off; 0 while a driver may be writing it.

        The next driver removes them.

        Raises:
            InputError: the journal or the run's lock cannot be read.
        """
        journal, lock = self.path / JOURNAL, holder(self.path)
        may_be_alive = lock is not None and lock[1] != "gone"
        return 0 if may_be_alive or not journal.exists() else torn(journal)

    @property
    def certificate(self) -> Certificate | None:
        """The current certificate, from fresh seeds; None if the run was never certified.

        Raises:
            InputError: it was certified after it was loaded, and cannot be loaded again.
        """
        if (at := _certified_at(self.path)) != self._latest[0]:
            object.__setattr__(self, "_latest", (at, load_run(self.path)))
        return (self._latest[1] or self)._certificate

    @cached_property
    def _certificate(self) -> Certificate | None:
        return certificate_of(self.checks)

    @property
    def is_network(self) -> bool:
        """Whether the built-in network was trained, not a user's own function or command."""
        return self.manifest.get("trainer") == "network"

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of all parameters, in the order in which points have them."""
        if self.is_network:
            return tuple(field.name for field in fields(Config))
        configs = self.evaluations.column("config")
        return tuple(self.evaluations.lines.parameters(configs))

    @cached_property
    def asked(self) -> SearchSpace:
        """The search space, as it was run.

        Raises:
            InputError: `space.yaml` is missing or no search space.
        """
        # Relative paths in it start at the original file, not at the copy.
        original = self.manifest.get("space_file")
        folder = Path(original).parent if isinstance(original, str) else self.path
        return parse_space(self.space_text, str(self.path / SPACE), folder, searched=False)

    @property
    def space_text(self) -> str:
        """The search-space file, as it was run.

        Raises:
            InputError: it cannot be read.
        """
        return text_of(self.path / SPACE)


def _certified_at(path: Path) -> int | None:
    """When certificate.json was written; None without it."""
    try:
        return (path / CERTIFICATE).stat().st_mtime_ns
    except (OSError, ValueError):
        return None


def create(path: Pathlike, *, space_text: str, manifest: Mapping[str, Any]) -> Path:
    """Create the directory of a new run, with `space.yaml` and `manifest.json`.

    Raises:
        InputError: the directory cannot be written.
    """
    path = as_path(path)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        # The manifest first: a killed process leaves a directory that is known to be a run's.
        replace_file(path / MANIFEST, as_json({"format": FORMAT, **manifest}))
        replace_file(path / SPACE, space_text.encode())
    return path


def holds_run(path: Pathlike) -> bool:
    """Whether there is a journal with at least one whole line."""
    try:
        with open_regular(Path(path) / JOURNAL) as journal:
            return any(b"\n" in part for part in iter(lambda: journal.read(1 << 16), b""))
    except (OSError, ValueError):
        return False


def refuse_files_of_others(path: Path) -> None:
    """Raise if a directory without a run has files that a run would overwrite.

    A manifest shows that they are of a search that ended before its first line.

    Raises:
        InputError: it has such files, or the store fails.
    """
    names = sorted(_names_in(path))
    if not names or _has_manifest(path):
        return
    more = f" and {len(names) - 1} more files" if len(names) > 1 else ""
    raise InputError(
        f"holds no run, but {names[0]}{more} that a run would overwrite",
        place=str(path),
        fix="give another --output, or move them away",
    )


def refuse_unwritable(path: Path) -> None:
    """Raise if a run's directory cannot be made or written; nothing stays of the attempt.

    A store refuses its first write.

    Raises:
        InputError: it cannot be written.
    """
    if isinstance(path, StoredPath):
        return
    with writing(path, ANOTHER_OUTPUT):
        places = (path, *path.parents)
        last = next(place for place in places if place.exists() or place.is_symlink())
        TemporaryDirectory(dir=last).cleanup()


def _names_in(path: Path) -> set[str]:
    """The names in a directory that a run would write."""
    if isinstance(path, StoredPath):
        store = store_of(path)
        names = {name for name in store.names() if _FILES.fullmatch(name)}
        return names | {"figures" for _ in store.names("figures")}
    try:
        names = {place.name for place in path.iterdir() if _FILES.fullmatch(place.name)}
        return names | {f for f in _FOLDERS if (path / f).is_dir() and any((path / f).iterdir())}
    except (OSError, ValueError):  # no directory, or unreadable: the first write reports it
        return set()


def _has_manifest(path: Path) -> bool:
    """Whether a directory has a manifest.json that a run wrote."""
    try:
        if isinstance(path, StoredPath):
            manifest = json.loads(store_of(path).get(MANIFEST) or b"null")
        else:
            manifest = manifest_of(path)
    except (InputError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and {"made", "sessions"} <= set(manifest)


def next_directory(parent: Pathlike, name: str) -> Path:
    """`parent/name`, or the first of `name-2`, `name-3`, ... that does not exist yet.

    Raises:
        InputError: the name cannot be that of a directory.
    """
    if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
        raise InputError(
            f"{name!r} is not a directory name", field="name", fix="rename it, or give --output"
        )
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for name in names if not os.path.lexists(path := Path(parent) / name))


def fresh_directory(parent: Pathlike, name: str) -> Path:
    """Create the directory of `next_directory`; two searches that start at once get two.

    Raises:
        InputError: as `next_directory`, or the parent cannot be written.
    """
    while True:
        path = next_directory(parent, name)
        with writing(path, ANOTHER_OUTPUT), suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return path
        if not Path(parent).is_dir():
            raise InputError("is not a directory", place=str(parent))


def load_run(path: Pathlike) -> Run:
    """Load the run in a directory; this reads only the manifest and the journal.

    Args:
        path: the directory, or the URL of a run in an object store.

    Raises:
        InputError: there is no run, its manifest or journal is damaged, or its store fails.
    """
    path = reader_directory(path)
    journal = path / JOURNAL
    try:
        has_journal, has_manifest = journal.exists(), (path / MANIFEST).exists()
    except (OSError, ValueError):
        has_journal = has_manifest = False
    if not (has_journal or has_manifest):
        raise no_run(path)
    manifest = manifest_of(path)
    lines = read(journal) if has_journal else Evaluations.of(())
    refuse_others(lines, manifest, journal)
    return Run(path, manifest, *lines.split())


def no_run(path: Path) -> InputError:
    """The error for a directory without a run."""
    return InputError(
        "holds no run" if path.is_dir() else "is not a directory",
        place=str(path),
        allowed=f"a directory with {JOURNAL}, as `xortune search` makes it",
        fix="check the path; runs are in runs/NAME unless --output named another place",
    )
