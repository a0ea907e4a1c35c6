"""Studies of other programs."""

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.storages import RDBStorage


@contextmanager
def sqlite_storage(url: str) -> Iterator[RDBStorage]:
    """Optuna's own, closed afterwards: else Python 3.13 tells of connections that are open."""
    storage = RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()
