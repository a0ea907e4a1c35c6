"""Weights & Biases: one of its runs for each configuration, all of a search in one group.

W&B keeps each of its runs in a directory of its own. What was logged of a configuration is noted
there, so that a second call logs nothing twice. Offline such a directory is complete or replaced:
`wandb sync` takes it as it is. While a search runs nothing is written offline, since all seeds that
come would replace it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError
from xortune.core.files import json_of
from xortune.integrations.tracker import About, ConfigLog, Logged, Tracker
from xortune.runs.store import StoredPath

NOTE = "xortune.json"


class Wandb(Tracker):
    """A project of W&B, online or (WANDB_MODE=offline) in files.

    The files go to WANDB_DIR, or into the run's directory; of a run in an object store into the
    folder that one is in.

    Args:
        project: its name, or ENTITY/NAME.

    Raises:
        InputError: the package is not installed, W&B is disabled, or nobody is logged in.
    """

    name = "Weights & Biases"
    package = "wandb"

    def __init__(self, project: str) -> None:
        super().__init__()
        import wandb

        entity, _, name = project.rpartition("/")
        if not name.strip() or "/" in entity:
            raise InputError(
                f"{project!r} is not a project", field="wandb", allowed="NAME or ENTITY/NAME"
            )
        self._entity, self._project = entity or None, name
        self._mode: Any = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        if self._mode == "disabled":
            raise InputError(
                "W&B is disabled here", field="wandb", fix="unset WANDB_MODE, or set it to offline"
            )
        if self._mode != "offline":
            _log_in()
        self.live = self._mode != "offline"
        self.place = project
        self._folder = Path()
        self._logged: dict[str, list[Logged]] = {}

    def begin(self, about: About) -> None:
        """Find out what was logged of the run."""
        here = Path.cwd() if isinstance(about.path, StoredPath) else about.path
        self._folder = Path(os.environ.get("WANDB_DIR") or here)
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._mode == "offline":
            self.place = str(self._folder / "wandb")
        self._logged = {}
        for place in sorted(self._folder.glob(f"wandb/*run-*-{about.identity}-*/{NOTE}")):
            found = json_of(place)
            if found["project"] == self._project and found["mode"] == self._mode:
                one = Logged(str(place.parent), found["n"], found["certified"])
                self._logged.setdefault(found["key"], []).append(one)

    def log(self, config: ConfigLog, about: About) -> None:
        """Log what was not logged of a configuration, as a run of W&B that is then closed."""
        import wandb

        offline, earlier = self._mode == "offline", self._logged.get(config.key, [])
        if any(logged.has(config) for logged in earlier):
            return
        run = wandb.init(
            entity=self._entity,
            project=self._project,
            dir=str(self._folder),
            id=f"{about.identity}-{config.key}",
            name=config.key,
            group=about.title,
            job_type="configuration",
            config={**config.parameters, "key": config.key},
            mode=self._mode,
            reinit="create_new",
            resume=None if offline else "allow",
            settings=_settings(),
        )
        try:
            for step in config.steps:
                if step.n >= run.step:  # of one that is resumed W&B has the others
                    run.log(dict(step.metrics), step=step.n)
            run.summary.update(config.certified)
        finally:
            run.finish()
        folder = Path(run.dir).parent
        logged = Logged(str(folder), config.steps[-1].n, dict(config.certified))
        note = {"key": config.key, "project": self._project, "mode": self._mode}
        note |= {"n": logged.n, "certified": logged.certified}
        (folder / NOTE).write_text(json.dumps(note), encoding="utf-8")
        for old in earlier if offline else ():  # replaced, but for what `wandb sync` has sent
            if old.run != logged.run and not list(Path(old.run).glob("*.synced")):
                shutil.rmtree(old.run)
        self._logged[config.key] = [logged]


def _settings() -> Any:
    """Of the program that logs there is nothing to say: neither its output, load nor code."""
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )


def _log_in() -> None:
    """See that W&B knows who logs; on a terminal it may ask."""
    import wandb

    try:
        why = "" if wandb.login(verify=False) else "no API key"
    except wandb.Error as error:
        why = str(error)
    if why:
        raise InputError(
            f"nobody is logged in to W&B ({why})",
            field="wandb",
            fix="`wandb login`, or WANDB_MODE=offline to write files only",
        )
