"""Which files make a user's function: its module, and what that imports from the same folder."""

from __future__ import annotations

import sysconfig
from modulefinder import ModuleFinder
from pathlib import Path

from xortune.engine.sent_files import MOST
from xortune.errors import InputError

__all__ = ["imported_files", "is_installed"]


def is_installed(file: Path) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(file.is_relative_to(Path(place).resolve()) for place in places if place)


def imported_files(
    root: Path, file: Path, module: str | None = None
) -> tuple[tuple[str, bytes], ...]:
    """Path below `root` and content of a file and of all that it imports from there; sorted.

    What is imported is read off the text, and nothing is run.

    Args:
        root: the folder that modules are found in.
        file: of the module.
        module: its name, if it is to be found by that: it may be in a package.

    Raises:
        InputError: a file cannot be read, is no Python, or all are too large to be sent.
    """
    if is_installed(file):
        return ((file.name, file.read_bytes()),)
    finder = ModuleFinder(path=[str(root)], excludes=["xortune"])
    try:
        if module is None:
            finder.run_script(str(file))
        else:
            finder.import_hook(module)
    except (OSError, SyntaxError, ValueError, ImportError) as error:
        raise InputError(
            f"cannot be read ({type(error).__name__}: {error})", field="trainer", place=str(file)
        ) from None
    files_of = [getattr(one, "__file__", None) for one in finder.modules.values()]
    found = {Path(one).resolve() for one in files_of if one}
    below = sorted(path for path in found | {file} if path.is_relative_to(root))
    files = [
        (path.relative_to(root).as_posix(), path.read_bytes())
        for path in below
        if path.suffix == ".py" and not is_installed(path)
    ]
    size = sum(len(content) for _, content in files)
    if size > MOST:
        raise InputError(
            f"{file.name} and what it imports from its folder are {size:,} bytes",
            field="trainer",
            allowed=f"at most {MOST:,}",
            fix="put the function into a folder of its own",
        )
    return tuple(files)
