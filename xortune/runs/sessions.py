"""The sessions of a run: what a session records, and what one that continues a run may change."""

from __future__ import annotations

import json
import platform
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xortune.core.errors import InputError
from xortune.core.files import text_of, writing
from xortune.core.version import VERSION
from xortune.runs.manifest import (
    PACKAGES,
    SPACE,
    fingerprint_of,
    identities_of,
    identity_of,
    last_identity,
    last_search,
    manifest_of,
    noted_objectives,
    sessions_of,
    two_results,
    update_manifest,
)
from xortune.runs.results import superseded_rows
from xortune.runs.store import replace_file
from xortune.spaces.command import EXIT_CODE
from xortune.spaces.model import (
    STARTED,
    Fixed,
    Parameter,
    Range,
    Resumed,
    SearchSpace,
    contains,
    equal_values,
    extremes,
    resumed_keys,
)
from xortune.spaces.samplers import sampler_named
from xortune.spaces.space import parse_space
from xortune.spaces.yaml_reader import inline_yaml, read_yaml

if TYPE_CHECKING:
    from xortune.core.trainer import Trainer
    from xortune.runs.run import Run


_KEPT = re.compile(r"space-[1-9][0-9]*\.yaml")
"""The name of a replaced space; it cannot lead out of the directory."""


@dataclass(frozen=True)
class Resume:
    """Whether and how a session may continue a run.

    Attributes:
        allowed: whether it may; otherwise a directory that holds a run is refused.
        extend: with a space that has grown.
        accept_versions: with another engine or other versions than made the run.
        command: the command line, for the manifest.
    """

    allowed: bool = False
    extend: bool = False
    accept_versions: bool = False
    command: Sequence[str] | None = None


NEW_RUN = Resume()


def begin_session(
    path: Path,
    entry: Mapping[str, Any],
    identity: Mapping[str, str],
    space: SearchSpace | None = None,
) -> None:
    """Record a session that continues a run in the manifest, and write its space if it changes.

    The replaced space is kept as space-1.yaml, space-2.yaml, ... If this is killed at any point,
    the same call repeats it.

    Raises:
        InputError: the manifest is damaged, or the directory cannot be written.
    """
    manifest, fingerprint = manifest_of(path), fingerprint_of(identity)
    sessions, known = sessions_of(manifest), identities_of(manifest)
    entry = {"number": len(sessions) + 1, **entry, "made": fingerprint, "space": SPACE}
    changes: dict[str, Any] = {}
    if space is not None:
        kept = _keep(path)
        sessions = [{**s, "space": kept} if s.get("space") == SPACE else s for s in sessions]
        file = Path(space.place).resolve()
        changes = {"trials": space.search.trials, "space_file": str(file), "complete": False}
    known = {**known, fingerprint: dict(identity)}
    update_manifest(path, **changes, made=known, sessions=[*sessions, entry])
    if space is not None:
        with writing(path):
            replace_file(path / SPACE, space.text.encode())


def _keep(path: Path) -> str:
    """Copy space.yaml to the next free space-N.yaml, unless the last one is equal; return it."""
    text, number = text_of(path / SPACE), 1
    while (path / f"space-{number}.yaml").exists():
        number += 1
    last = path / f"space-{number - 1}.yaml"
    if number > 1 and text_of(last) == text:
        return last.name
    with writing(path):
        replace_file(path / f"space-{number}.yaml", text.encode())
    return f"space-{number}.yaml"


def earlier_spaces(path: Path, manifest: Mapping[str, Any]) -> tuple[SearchSpace, ...]:
    """The replaced spaces of a run that was extended, in their order, without tasks.

    Raises:
        InputError: the manifest is damaged, a space cannot be read, or is no search space.
    """
    names = dict.fromkeys(str(session.get("space")) for session in sessions_of(manifest))
    return tuple(space_at(path / name) for name in names if _KEPT.fullmatch(name))


def space_at(place: Path) -> SearchSpace:
    """A space of a run, without its task, whose file may have moved."""
    values = read_yaml(text_of(place), str(place)).values
    text = json.dumps({key: part for key, part in values.items() if key != "task"})  # JSON is YAML
    return parse_space(text, str(place), place.parent, searched=False)


# -------------------------------------------------------------------------------------------------
# What a session that continues a run may change in its space.
#
# A run's counts belong to one task, one ladder, one sampler and its seed. All earlier proposals
# must still be in the space, and must be what it would propose: an extension may only add.

NOTHING = "(none)"
"""In a difference: one of the spaces does not have this."""


def _different(place: str, problem: str, found: Sequence[str], fix: str) -> InputError:
    """A run cannot be continued so: one difference on each line, then the fix."""
    lines = [problem, *(f"  {difference}" for difference in found)]
    return InputError("\n".join(lines), place=place, fix=fix)


@dataclass(frozen=True)
class Difference:
    """A difference of two spaces, written as in a space file.

    Attributes:
        name: dotted, such as ``parameters.lr.high``.
        before: in the run.
        after: in the new space.
        refusal: why a run cannot be extended by it; None if it can.
        free: whether resuming with it needs no extension.
    """

    name: str
    before: str
    after: str
    refusal: str | None = None
    free: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}"


def changes_brought(
    old: SearchSpace, new: SearchSpace, *, task: tuple[str, str] | None, place: str, extend: bool
) -> tuple[Difference, ...]:
    """The differences of a session that continues a run; raise if it may not have one of them."""
    changes = tuple(differences(old, new, task=task))
    if extend:
        problem = "the run cannot be extended by this:"
        refused = [f"{change} ({change.refusal})" for change in changes if change.refusal]
        fix = "take these back, or give another --output"
    else:
        problem = "the run was made with another space:"
        refused = [str(change) for change in changes if not change.free]
        fix = "resume with the run's own space.yaml and options, or give another --output"
        if all(change.free or change.refusal is None for change in changes):
            trials = [f", and --trials {c.before}, which the run has" for c in changes if c.refusal]
            fix = f"add --extend, which records the change{''.join(trials)}; or {fix}"
    if refused:
        raise _different(place, problem, refused, fix)
    return changes


def differences(
    old: SearchSpace, new: SearchSpace, *, task: tuple[str, str] | None = None
) -> Iterator[Difference]:
    """The differences of two spaces in what a search proposes, trains and counts.

    Names, comments and time budgets do not matter.
    """
    if task is None and old.task is not None:
        task = old.task.name, old.task.fingerprint
    # A user's own function has no task here: its identity is compared elsewhere.
    if task is not None and new.task is not None and task[1] != new.task.fingerprint:
        before, after = task[0], new.task.name
        if before == after:  # a file whose rows have changed
            before, after = f"{before} ({task[1][:8]})", f"{after} ({new.task.fingerprint[:8]})"
        yield Difference("task", before, after, "the counts so far are of another task")
    yield from _parameters(old, new)
    for name, find in DERIVED.items():
        yield from _key(name, find(old), find(new), STARTED if name == "objectives" else Resumed())
    both_race = old.seeds.race is not None and new.seeds.race is not None
    made = "seeds.ladder" if both_race else "seeds.race.max"  # one is made of the other
    theirs = resumed_keys(new)
    for name, (value, resumed) in resumed_keys(old).items():
        if name != made and resumed.refusal:
            yield from _key(name, value, theirs[name][0], resumed)
    for index, (old_start, new_start) in enumerate(zip_longest(old.start, new.start)):
        if old_start != new_start:
            yield Difference(
                f"start[{index}]",
                _shown(old_start and old_start.as_dict()),
                _shown(new_start and new_start.as_dict()),
                None if old_start is None else "new entries come after those of the run",
            )


def _shown(value: object) -> str:
    return NOTHING if value is None else inline_yaml(value)


def _key(name: str, before: Any, after: Any, resumed: Resumed) -> Iterator[Difference]:
    """The difference of a key; where it may grow, None counts as 0."""
    if before == after:
        return
    if resumed.grows:
        refusal = resumed.refusal if (after or 0) < (before or 0) else None
        yield Difference(name, _shown(before), _shown(after), refusal, resumed.free)
        return
    yield Difference(name, inline_yaml(before), inline_yaml(after), resumed.refusal)


def _trainer(space: SearchSpace) -> object:
    """The trainer as a name, or a command's settings without the rule for its numbers."""
    command = space.command
    if command is None and space.timeout is not None:
        return {"function": space.trainer, "timeout": space.timeout}
    if command is None:
        return space.trainer
    settings: dict[str, object] = {"command": space.trainer}
    if command.by_exit:
        settings["success"] = EXIT_CODE
    for name in ("metric", "timeout"):
        if (value := getattr(command, name)) is not None:
            settings[name] = value if isinstance(value, float) else str(value)
    return settings


def _goals(space: SearchSpace) -> list[object]:
    names = ("name", "direction", "failed", "required")
    return [{n: goal[n] for n in names if n in goal} for goal in noted_objectives(space.objectives)]


DERIVED: dict[str, Callable[[SearchSpace], object]] = {
    "trainer": _trainer,
    "success": lambda space: space.success and str(space.success),
    "bounds": lambda space: space.bounds,
    "objectives": _goals,
}
"""What a space makes of keys at the top of its file, by which a run is told from another."""


def _parameters(old: SearchSpace, new: SearchSpace) -> Iterator[Difference]:
    before = {parameter.name: parameter for parameter in old.parameters}
    after = {parameter.name: parameter for parameter in new.parameters}
    forms, new_forms = _forms(old), _forms(new)
    for name in {**before, **after}:
        is_top_level = name == "epochs" and ("epochs",) in {**old.lines, **new.lines}
        path = name if is_top_level else f"parameters.{name}"
        if name not in before:
            refusal = "no configuration so far has a value for it"
            yield Difference(path, NOTHING, inline_yaml(new_forms[name]), refusal)
        elif name not in after:
            yield Difference(
                path, inline_yaml(forms[name]), NOTHING, "configurations so far have it"
            )
        elif before[name] != after[name] or _kinds(before[name]) != _kinds(after[name]):
            one, other = before[name], after[name]
            yield from _changes(path, (one, forms[name]), (other, new_forms[name]), before)
    orders = [[n for n in some if n in before and n in after] for some in (before, after)]
    if orders[0] != orders[1]:  # draws and the grid follow this order
        yield Difference("parameters (their order)", inline_yaml(orders[0]), inline_yaml(orders[1]))


def _forms(space: SearchSpace) -> dict[str, Any]:
    """Each parameter as the space file writes it."""
    values: dict[str, Any] = read_yaml(space.text, space.place).values
    return {"epochs": values.get("epochs"), **values["parameters"]}


def _kinds(parameter: Parameter) -> list[bool]:
    """Whether each of its values is a boolean: in a space true is not 1."""
    conditions = [value for _, values in parameter.when for value in values]
    return [isinstance(value, bool) for value in (*extremes(parameter), *conditions)]


def _changes(
    path: str,
    old_and_form: tuple[Parameter, Any],
    new_and_form: tuple[Parameter, Any],
    parents: Mapping[str, Parameter],
) -> Iterator[Difference]:
    """The differences of a parameter; both are given with their forms in the file."""
    (old, before), (new, after) = old_and_form, new_and_form
    if not (isinstance(before, dict) and isinstance(after, dict) and type(old) is type(new)):
        refusal = _lost(old, new) or _moved(old, new, parents)
        yield Difference(path, inline_yaml(before), inline_yaml(after), refusal)
        return
    for key in {**before, **after}:
        one, other = (
            inline_yaml(form[key]) if key in form else NOTHING for form in (before, after)
        )
        if one != other:
            refusal = _moved(old, new, parents) if key == "when" else _lost(old, new, key)
            yield Difference(f"{path}.{key}", one, other, refusal)


def _lost(old: Parameter, new: Parameter, key: str | None = None) -> str | None:
    """Why the new parameter lacks values of the old one, or draws others; None if it does not."""
    if not isinstance(old, Range):
        if isinstance(new, Range) and not isinstance(old, Fixed):
            return "a choice stays a choice"
        missing = [value for value in extremes(old) if not equal_values(new, value)]
        return f"without {inline_yaml(missing)}, which is in the run" if missing else None
    if not isinstance(new, Range):
        return "a range stays a range"
    if old.integer != new.integer:
        return "whole numbers stay whole, and others stay others"
    if key in ("log", None) and old.log != new.log:
        return "another scale: this search would not repeat the proposals so far"
    if key in ("step", None) and _step(old) != _step(new):
        return "another step"
    if key in ("low", None):
        if new.low > old.low:
            return "narrower: the run has configurations below"
        if old.step is not None and not equal_values(new, old.low):
            return f"steps from {new.low} do not meet {old.low}"
    if key in ("high", None) and new.high < old.high:
        return "narrower: the run has configurations above"
    return None


def _step(parameter: Range) -> float | None:
    return 1 if parameter.integer and parameter.step is None else parameter.step


def _moved(old: Parameter, new: Parameter, parents: Mapping[str, Parameter]) -> str | None:
    """Why a condition changes which configurations have the parameter; None if it does not."""
    refusal = "configurations so far have it, or lack it, by the condition that was"
    before, after = dict(old.when), dict(new.when)
    for name in {**before, **after}:
        parent = parents.get(name)
        if parent is None or isinstance(parent, Range):
            return refusal
        if (name in before) != (name in after) and parent.when:
            return refusal  # the parent may itself be inactive
        every = extremes(parent)
        held = [value for value in every if contains(before.get(name, every), value)]
        holds = [value for value in every if contains(after.get(name, every), value)]
        if held != holds:
            return refusal
    return None


def changed_trainer(
    manifest: Mapping[str, Any], identity: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """The changes of the identity since the last search: name, before, now."""
    before = last_identity(manifest)
    names = sorted({**before, **identity}) if before else []
    return [
        (name, before.get(name, "(none)"), identity.get(name, "(none)"))
        for name in names
        if before.get(name) != identity.get(name)
    ]


def checked_versions(
    run: Run, identity: Mapping[str, str], versions: Mapping[str, str], *, accept: bool
) -> list[str]:
    """Notes on versions that differ from those of the run's last search; raise unless accepted."""
    changed, notes = changed_trainer(run.manifest, identity), []
    if changed:
        shown = [f"{name}: {before} -> {after}" for name, before, after in changed]
        if not accept:
            pins = [f"{n}=={before}" for n, before, _ in changed if n in PACKAGES]
            again = f"install {' '.join(pins)} again" if pins else "use what it was made with"
            fix = (
                f"{again}, give another --output, or go on with --accept-versions: seeds of one "
                "configuration are then counted of one of them only"
            )
            problem = "what trains here is not what made the run:"
            raise _different(str(run.path), problem, shown, fix)
        if run.asked.stop.proven_rate is not None:
            fix = (
                "use what the run was made with, or give another --output: with stop.proven_rate "
                "versions cannot be kept apart"
            )
            problem = "a rate is proven by seeds of one kind only:"
            raise _different(str(run.path), problem, shown, fix)
        notes.append(
            f"made with other versions from here on ({', '.join(shown)}): of one configuration "
            "only the seeds of one of them are counted, and so do the race and the sampler"
        )
    then = last_search(run.manifest).get("versions", {})
    packages = [
        f"{name} {then[name]} -> {now}"  # packages that train nothing
        for name, now in versions.items()
        if name not in PACKAGES and name in then and then[name] != now
    ]
    if packages:
        notes.append(
            f"{', '.join(packages)}: counts stay valid, but proposals may differ from those of "
            "an uninterrupted search"
        )
    return notes


NOTED_PACKAGES = ("torch", "ray", "optuna", "numpy")

MORE_PACKAGES = ("numba", "scipy", "pandas", "pyarrow")


def first_manifest(
    space: SearchSpace, trainer: Trainer, command: Sequence[str] | None
) -> dict[str, Any]:
    """The manifest of a new run, with its first session."""
    described = trainer.describe()
    identity, entry = identity_of(described), session_entry(command)
    fingerprint = fingerprint_of(identity)
    file = str(Path(space.place).resolve())
    own = {} if space.task is not None else {"threads": trainer.traits.threads}
    return {
        "name": space.name,
        **described,
        **own,
        "sampler": space.search.sampler,
        "trials": space.search.trials,
        "seed": space.search.seed,
        "time_budget": space.search.time_budget,
        **({"as_they_come": True} if space.search.as_they_come else {}),
        "ladder": list(space.seeds.ladder),
        "first_seed": 0,
        "space_file": file,
        **entry,
        "versions": {k: v for k, v in entry["versions"].items() if k not in MORE_PACKAGES},
        "made": {fingerprint: identity},
        "sessions": [{"number": 1, **entry, "made": fingerprint, "space": SPACE, "changes": []}],
    }


def session_entry(command: Sequence[str] | None) -> dict[str, Any]:
    """The manifest's entry for a session that begins now, here."""
    versions = {"python": platform.python_version(), "xortune": VERSION}
    for name in (*NOTED_PACKAGES, *MORE_PACKAGES):
        with suppress(PackageNotFoundError):  # xortune-core does without some
            versions[name] = version(name)
    return {
        "command": list(command) if command is not None else None,
        "versions": versions,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "git_commit": _git_commit(),
        "started": now(),
    }


def continue_run(
    space: SearchSpace,
    trainer: Trainer,
    run: Run,
    *,
    extend: bool = False,
    accept_versions: bool = False,
    command: Sequence[str] | None = None,
    dry_run: bool = False,
) -> list[str]:
    """Begin a session that continues a run: record it, and its space if that grows.

    The caller holds the run's lock, except for a `dry_run`, which writes nothing.

    Returns:
        Sentences that the user should read.

    Raises:
        InputError: it may not continue the run; nothing was written.
    """
    place, manifest, then = str(run.path), run.manifest, run.asked
    learned = manifest.get("task_fingerprint")
    name = manifest.get("task", then.task.name if then.task is not None else "")
    task = (str(name), str(learned)) if learned else None
    changes = changes_brought(then, space, task=task, place=place, extend=extend)
    identity, entry = identity_of(trainer.describe()), session_entry(command)
    notes = checked_versions(run, identity, entry["versions"], accept=accept_versions)
    if not sampler_named(space.search.sampler).exact_resume:
        notes.append(
            f"sampler {space.search.sampler} does not resume exactly: its proposals may differ "
            "from those of an uninterrupted search"
        )
    if twice := two_results(manifest):
        notes.append(f"{twice}, so the counts may differ from those of an uninterrupted search")
    entry |= {"changes": [str(change) for change in changes], "notes": notes}
    if not dry_run:
        # Fewer trials than the run's hold for this session only.
        grown = any(change.refusal is None for change in changes)
        begin_session(run.path, entry, identity, space if grown else None)
        if run.manifest.get("stopped"):
            update_manifest(run.path, stopped=None)
    return notes


def note_session(path: Path, **entries: Any) -> None:
    """Add entries to the last session in a run's manifest.

    Raises:
        InputError: the manifest is damaged or cannot be written.
    """
    *others, last = sessions_of(manifest_of(path))
    update_manifest(path, sessions=[*others, {**last, **entries}])


def end_of_session(run: Run, **how: Any) -> dict[str, Any]:
    """The manifest's entries at the end of a session: `how` it ended, and what is not counted."""
    *others, last = sessions_of(run.manifest)
    entries: dict[str, Any] = {"sessions": [*others, {**last, **how}]}
    rows = superseded_rows(run.set_aside)
    if rows or "not_counted" in run.manifest:
        entries["not_counted"] = rows
    return entries


def now() -> str:
    """The current time, for a manifest."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_commit() -> str | None:
    """The commit of the working directory; None outside of a git checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
