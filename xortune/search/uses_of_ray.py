"""A user's function that uses Ray itself is told so, where it would wait for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import xortune.search.ray_settings  # noqa: F401  # before Ray itself

# isort: split
from ray.actor import ActorClass
from ray.remote_function import RemoteFunction

__all__ = ["refuse", "refusing_tasks"]

TOLD = (
    "the function uses Ray itself, whose CPUs the trials of a search hold: what it begins there "
    "would wait for them for ever; train without Ray, or ask for num_cpus=0, and no check before"
)


def refuse(_: object = None) -> None:
    """What Ray calls before it starts.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(TOLD)


@contextmanager
def refusing_tasks() -> Iterator[None]:
    """Tasks and actors that ask for CPUs are refused: the trial holds all that its group has."""
    with (
        patch.object(RemoteFunction, "_remote", _checked(RemoteFunction._remote)),
        patch.object(ActorClass, "_remote", _checked(ActorClass._remote)),
    ):
        yield


def _checked(remote: Callable[..., Any]) -> Callable[..., Any]:
    def checked(self: Any, *args: Any, **options: Any) -> Any:
        asked = {**self._default_options, **{k: v for k, v in options.items() if v is not None}}
        if asked.get("num_cpus") != 0 and asked.get("scheduling_strategy") is None:
            refuse()
        return remote(self, *args, **options)

    return checked
