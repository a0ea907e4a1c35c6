"""xortune: hyperparameters that train successfully for every random seed.

The public names are listed in `__init__.pyi`, and each is loaded when it is first used: `import
xortune` loads no torch, Ray, Optuna or NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

from xortune.core.version import VERSION as __version__  # noqa: N811  # the usual name

with open(f"{__path__[0]}/__init__.pyi", encoding="utf-8") as stub:
    _LINES = [line.split() for line in stub if line.startswith("from ")]
_HOMES = {name: home.removeprefix("xortune.") for _, home, _, name, *_ in _LINES}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604  # strings they are: the names of the stub


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'xortune' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"xortune.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from xortune.core.errors import require

        if (package := (error.name or "").partition(".")[0]) in ("torch", "numba", "ray"):
            require(f"xt.{name}", package)
        raise


def __dir__() -> list[str]:
    return __all__
