"""All that xortune uses of other packages and that their authors have not made public.

An underscore says that the next version may lack it. Each function has the reason why nothing
public does it, and the versions with which it was tried. `tests/test_architecture.py` allows such
names in this file only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def each_operation_by(run: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> Iterator[None]:
    """Within this context `run(operation, args, options)` computes each operation of torch.

    `torch.overrides.TorchFunctionMode` is not told what autograd computes; `make_fx` is, and takes
    ten times as long for a step. Tried with torch 2.13.0.
    """
    mode = _mode()()
    mode.run = run
    with mode:
        yield


@cache
def _mode() -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
        run: Any

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            return self.run(func, args, kwargs or {})

    return Mode
