"""All that xortune uses of other packages although its name begins with an underscore.

The next version of such a package may lack it. Each function here says why nothing public does
the same. Tried with torch 2.13.0, Ray 2.60.0, pytest 9.2.0 and Numba 0.68.1; `.ci/run --minimums`
tries the lowest versions. `tests/test_architecture.py` allows such names in this file only.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# -------------------------------------------------------------------------------------------------
# torch


@contextmanager
def each_operation_by(run: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> Iterator[None]:
    """Within this context `run(operation, args, options)` computes each operation of torch.

    `torch.overrides.TorchFunctionMode` is not told what autograd computes; `make_fx` is, and takes
    ten times as long for a step. torch's own documents import this class from there.
    """
    mode = _dispatch_mode()()
    mode.run = run
    with mode:
        yield


@cache
def _dispatch_mode() -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
        run: Any

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            return self.run(func, args, kwargs or {})

    return Mode


# -------------------------------------------------------------------------------------------------
# Numba


def load_compiled(files: Any, signature: Any, context: Any) -> Any:
    """Load compiled code from the files of Numba's `FunctionCache`; None if they lack it.

    The public `load_overload` first imports all that compiling needs, which takes 0.3 s.
    """
    return files._load_overload(signature, context)


def use_files(dispatcher: Any, files: Any) -> None:
    """Let a compiled function keep its code in these files; `cache=True` names no directory."""
    dispatcher._cache = files


# -------------------------------------------------------------------------------------------------
# Ray


def auto_connects() -> bool:
    """Return whether a call of Ray's API starts a Ray if none is connected."""
    from ray._private import auto_init_hook

    return bool(auto_init_hook.enable_auto_connect)


def set_auto_connect(*, on: bool) -> None:
    """Let calls of Ray's API start a Ray if none is connected, or fail.

    Ray reads RAY_ENABLE_AUTO_CONNECT only when it is imported. Here it must change after Ray has
    died: Tune's cleanup would start another item.
    """
    from ray._private import auto_init_hook

    auto_init_hook.enable_auto_connect = on


def print_raylet_messages(*, on: bool) -> None:
    """Let Ray print what the raylet says, or not.

    With `log_to_driver=False` it still prints to stdout that a worker has died, into the JSON.
    """
    from ray._private import worker

    worker._worker_logs_enabled = on


@contextmanager
def on_loopback() -> Iterator[None]:
    """Within this context Ray starts with the address 127.0.0.1 that it is given.

    On Linux `ray.init` replaces it by the machine's outer address, so that other nodes can join;
    Ray's processes then listen there. RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 prevents this, but Ray
    reads it only when it is imported.
    """
    from ray._private import ray_constants

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def ray_tasks_checked(check: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Within this context `check` is called with the options of each task and actor of Ray.

    It refuses one by an exception. Ray has no hook that is called before a task is submitted.
    """
    from ray.actor import ActorClass
    from ray.remote_function import RemoteFunction

    def checked(remote: Callable[..., Any]) -> Callable[..., Any]:
        def submit(self: Any, *args: Any, **options: Any) -> Any:
            given = {name: value for name, value in options.items() if value is not None}
            check({**self._default_options, **given})
            return remote(self, *args, **options)

        return submit

    kinds: tuple[Any, ...] = (RemoteFunction, ActorClass)
    before = [kind._remote for kind in kinds]
    for kind in kinds:
        kind._remote = checked(kind._remote)
    try:
        yield
    finally:
        for kind, remote in zip(kinds, before, strict=True):
            kind._remote = remote


# -------------------------------------------------------------------------------------------------
# pytest


def set_up_again(item: Any) -> None:
    """Tear down what belongs to one call of a test (fixtures, instance), and set it up again.

    pytest sets a test up once; the plugin calls it for each seed, and a test does not know how
    many seeds there will be when the tests are collected.
    """
    state, stored = item.session._setupstate, dict(item.stash._storage)
    # Fixtures of the nodes above stay: those of classes, modules and the session.
    state.teardown_exact(item.parent)
    for key, value in stored.items():  # tmp_path removes an entry that it needs again
        item.stash.setdefault(key, value)
    item._initrequest()
    if item.cls is not None:
        for name in ("_instance", "_obj"):  # each seed gets its own instance
            item.__dict__.pop(name, None)
    state.setup(item)


# -------------------------------------------------------------------------------------------------
# Python


def run_exit_functions() -> None:
    """Call what `atexit` has registered, for a process that ends by `os._exit`."""
    atexit._run_exitfuncs()
