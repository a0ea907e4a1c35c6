"""What all tests share: one Hypothesis profile, sketches for figures, one Ray, a config to vary."""

import functools
import gc
import importlib.metadata
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import forked
import pytest

if TYPE_CHECKING:
    from xortune.core.config import Config

FILES = "xortune.reports.files"  # where reports look it up
version = functools.cache(importlib.metadata.version)


@pytest.fixture(scope="session", autouse=True)
def _sketches() -> Iterator[None]:
    """A run's figures are files without a picture, as its page is; few resamples say what matters.

    These take most of the time of a small search, and then what asks for versions of packages, and
    waits for the disk: no machine loses its power here.
    """
    import typer.testing

    from xortune.reports.document import environment

    # Making the commands out of their functions takes longer than what most tests run.
    typer.testing._get_command = functools.cache(typer.testing._get_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{FILES}.svg", lambda plot: f"<svg>{plot.name}</svg>\n")
        patch.setattr(f"{FILES}.page", lambda document: f"<p>{len(document.plots)} figures</p>\n")
        patch.setattr("xortune.deciding.importance.RESAMPLES", 3)
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr("xortune.reports.scripts.environment", functools.cache(environment))
        for module in ("runs.sessions", "trainers.network"):
            patch.setattr(f"xortune.{module}.version", version)
        yield


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that looks at a run's figures and page as files: they are drawn."""
    from xortune.reports.drawing.matplotlib import svg
    from xortune.reports.page import page

    monkeypatch.setattr(f"{FILES}.svg", svg)
    monkeypatch.setattr(f"{FILES}.page", page)


@pytest.fixture(scope="session", autouse=True)
def _forked(request: pytest.FixtureRequest) -> Iterator[None]:
    """The processes that users' functions train in have imported Ray and torch when they begin."""
    from xortune.training import processes
    from xortune.training.worker import PROGRAM

    if len(request.session.items) > 1000:
        forked.template(os.getpid())  # what it imports is there when it is needed

    def popen(argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        if PROGRAM in argv:
            return forked.Python(argv[1:], **options)
        return subprocess.Popen(argv, **options)

    with pytest.MonkeyPatch.context() as patch:
        module = SimpleNamespace(**vars(subprocess) | {"Popen": popen})
        patch.setattr(processes, "subprocess", module)
        yield


@pytest.fixture(scope="session")
def forks() -> None:
    """For a test that looks at the clock: processes begin at once."""
    forked.run(["-c", "pass"])


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """What tests start hears SIGINT and SIGHUP, however the tests themselves were started.

    A shell without job control ignores SIGINT in what it starts in the background, and `nohup`
    SIGHUP; what is started inherits that, and a bash script cannot even trap it. Children of a
    process that has a handler of its own begin with the default.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # here it stays without effect


SHARING: set[Path] = set()
"""The files with a test that asks for `one_ray`."""


def pytest_configure(config: pytest.Config) -> None:
    """Files are handed out in the order of below, not those of the most tests first.

    A process that only hands them out imports nothing for tests: the others wait for its start.
    """
    gc.disable()  # until all tests are there: they stay
    if config.getoption("dist", "no") == "no":
        from hypothesis import settings

        # Timings depend on the machine; the examples must not.
        settings.register_profile(
            "xortune", deadline=None, derandomize=True, print_blob=True, max_examples=30
        )
        settings.load_profile("xortune")
    if hasattr(config.option, "loadscopereorder"):  # of pytest-xdist
        config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Files that share a Ray go to one process, as a Ray for each takes seconds of all cores."""
    from xdist.scheduler import LoadFileScheduling

    @functools.cache
    def scope_of(file: str) -> str:
        text = (config.rootpath / file).read_text(encoding="utf-8")
        return "one_ray" if "one_ray" in text else file

    class OneRay(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid.split("::", 1)[0])

    return OneRay(config, log)


def pytest_collection_finish() -> None:
    """What is there now stays: no later search for garbage goes through it.

    But such searches are more often then, and find the processes that Ray has never waited for.
    """
    gc.enable()
    forked.freeze()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # threads wait for each other longer than what is small takes
    if services := sys.modules.get("ray._private.services"):
        services.ConsolePopen.__del__ = lambda self, **_: self._child_created and self.poll()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that share a Ray come first, so that it is there for one after the other, and ends."""
    SHARING.update(item.path for item in items if "one_ray" in getattr(item, "fixturenames", ()))
    items.sort(key=lambda item: item.path not in SHARING)


def end_ray() -> None:
    """Of a Ray that this process has started, or is connected to; imports nothing."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        sys.modules["ray"].shutdown()


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """Two slots and a logical GPU, whose workers find the tests' trainers. No search may end it.

    One Ray serves all files of a process that ask for it, as starting one takes seconds.
    """
    import ray

    from xortune.training import cluster

    if not ray.is_initialized():
        tests = Path(__file__).parent
        folders = (tests.parent, tests, tests / "search", tests / "engine")
        path = os.pathsep.join(map(str, folders))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", path)
            patch.setitem(cluster.QUIET, "num_gpus", 1)
            cluster._start(2)
    yield
    assert ray.is_initialized()


@pytest.fixture(scope="module", autouse=True)
def _none_elsewhere(request: pytest.FixtureRequest) -> None:
    """Who does not ask for that Ray finds none, whatever file came before."""
    if request.path not in SHARING:
        end_ray()


@pytest.fixture(scope="module", autouse=True)
def _coarse(request: pytest.FixtureRequest) -> Iterator[None]:
    """Decision surfaces of few cells, but where reports are tested."""
    with pytest.MonkeyPatch.context() as patch:
        if not {"report", "test_reports.py"} & {*request.path.parts}:
            patch.setattr("xortune.reports.figures.surface.CELLS", 8)
        yield


def pytest_sessionfinish() -> None:
    end_ray()


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches train on this machine; one that starts Ray fails."""
    ray = sys.modules.get("ray")
    assert ray is None or not ray.is_initialized(), "one_ray is for other files: it would train"
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray is started"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> object:
    """The finished run of a search of `drivers.SPACE`, to be read only."""
    from drivers import SPACE, without_ray

    import xortune as xt

    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "tiny.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch.setattr)
        return xt.search(folder / "tiny.yaml", output=folder / "run")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is drawn on a terminal of 80 columns."""
    from rich.console import Console

    drawn = io.StringIO()
    of = {"file": drawn, "force_terminal": True, "width": 80, "color_system": None}
    monkeypatch.setattr("xortune.reports.progress.Console", lambda **_: Console(**of))
    return drawn


@pytest.fixture
def make_config() -> Callable[..., "Config"]:
    """The README's config with any field replaced."""
    from hand_made import CONFIG

    from xortune.core.config import Config

    return lambda **changes: Config(**(CONFIG | changes))
