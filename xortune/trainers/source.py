"""Where a user's function comes from, which files it needs, and how a worker gets them."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import inspect
import itertools
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from xortune.core.errors import InputError, error_text, kind_of, nearest
from xortune.trainers.verdicts import one_line

# -------------------------------------------------------------------------------------------------
# The files of a user's function or command. Each worker gets them as they are at the beginning.

MAX_FILES_BYTES = 16 * 2**20
"""Maximum size of all files of a function or a command, in bytes."""

_COPIES: list[tempfile.TemporaryDirectory[str]] = []
"""Kept until the process ends: the user's code may read its files at any time."""


def digest_of(files: Iterable[tuple[str, bytes]]) -> str:
    """A digest of paths and contents, in the order given: 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for path, content in files:
        whole.update(f"{path}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


@dataclass(frozen=True)
class SentFiles:
    """The files of a training, as they are when the search begins.

    Attributes:
        root: their folder on the machine of the search.
        files: the path of each below `root` and its content, in the order of the paths.
        programs: the paths of the executable ones.
    """

    root: str = field(repr=False)
    files: tuple[tuple[str, bytes], ...] = field(repr=False)
    programs: frozenset[str] = field(default=frozenset(), repr=False)

    def folder(self) -> Path:
        """A folder with the files: `root` if they are unchanged there, else a copy.

        A copy is made on another machine, and after an edit: a training must not change while a
        search runs.
        """
        root = Path(self.root)
        try:
            same = all(
                (root / path).stat().st_size == len(content)
                and (root / path).read_bytes() == content
                for path, content in self.files
            )
        except OSError:
            same = False
        return root if same and root.is_dir() else _copy(self)


@functools.cache
def _copy(sent: SentFiles) -> Path:
    """A new folder with the files, which is removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="xortune-trainer-")
    _COPIES.append(folder)
    root = Path(folder.name)
    for path, content in sent.files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        if path in sent.programs:
            (root / path).chmod(0o700)
    return root


# -------------------------------------------------------------------------------------------------
# The files of a user's function: its module, and what that imports from the same folder.


def is_installed(file: Path) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(file.is_relative_to(Path(place).resolve()) for place in places if place)


def imported_files(
    root: Path, file: Path, module: str | None = None
) -> tuple[tuple[str, bytes], ...]:
    """The path below `root` and the content of a module and of all that it imports from there.

    The imports are read from the text; nothing is run. The files are sorted by path.

    Args:
        root: the folder in which modules are found.
        file: of the module.
        module: its name, for a module that may be in a package.

    Raises:
        InputError: a file cannot be read, is no Python, or all are too large to send.
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
    names = [getattr(module, "__file__", None) for module in finder.modules.values()]
    paths = {file, *(Path(name).resolve() for name in names if name)}
    files = [
        (path.relative_to(root).as_posix(), path.read_bytes())
        for path in sorted(path for path in paths if path.is_relative_to(root))
        if path.suffix == ".py" and not is_installed(path)
    ]
    size = sum(len(content) for _, content in files)
    if size > MAX_FILES_BYTES:
        raise InputError(
            f"{file.name} and what it imports from its folder are {size:,} bytes",
            field="trainer",
            allowed=f"at most {MAX_FILES_BYTES:,}",
            fix="put the function into a folder of its own",
        )
    return tuple(files)


# -------------------------------------------------------------------------------------------------
# A user's function, and how a worker on another machine gets it.
#
# A worker receives the text of the function's file and of the modules beside it that it imports, so
# that the function is the same on each node. A worker that has the same files imports them where
# they are, with the data beside them.

FORMS = "mypackage.train:run, or ./train.py:run relative to the space file"


@dataclass(frozen=True)
class FunctionSource:
    """A function that can be imported from a module by its name.

    Attributes:
        file: the module's file, if the user named that; relative to the root of `sent`.
        sent: the module and the modules beside it that it imports; empty for an installed module.
        digest: of the files, in the order of their names.
    """

    label: str
    module: str
    name: str
    file: str | None = field(repr=False)
    sent: SentFiles
    digest: str

    def function(self) -> Callable[..., Any]:
        """Import the module, once in a process; return the function.

        Raises:
            InputError: the module cannot be imported, or has no such function.
        """
        return _load(self)


def packages_of(source: AnySource) -> tuple[str, ...]:
    """The installed packages that a function's module and the modules beside it import.

    Nothing is imported. Left out are packages whose threads do not outlive a fork.
    """
    if isinstance(source, FunctionObject):
        bound = getattr(source.object, "__globals__", {}).values()
        names = {getattr(value, "__module__", None) or "" for value in bound}
        names |= {value.__name__ for value in bound if isinstance(value, ModuleType)}
    else:
        names = set()
        for _, content in source.sent.files:
            with contextlib.suppress(SyntaxError, ValueError):  # importing it tells the user
                names |= _imports_in(content)
    tops = {name.partition(".")[0] for name in names} - NOT_FORKED
    return tuple(sorted(top for top in tops if _is_installed_package(top)))


NOT_FORKED = {"", "__main__", "jax", "jaxlib", "ray", "tensorflow", "xortune"}
"""Packages that a process which forks must not have imported, and xortune itself."""


def _imports_in(content: bytes) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def _is_installed_package(name: str) -> bool:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    if found is None or found.origin is None:
        return False
    return found.origin in ("built-in", "frozen") or is_installed(Path(found.origin).resolve())


@dataclass(frozen=True)
class FunctionObject:
    """A function object that cannot be imported by its name, such as a lambda.

    Attributes:
        digest: of its text, if it has one, and of the numbers and strings it is bound to.
    """

    label: str
    object: Callable[..., Any] = field(repr=False)
    digest: str

    def function(self) -> Callable[..., Any]:
        """Return the function."""
        return self.object


AnySource: TypeAlias = FunctionSource | FunctionObject


def named_source(text: str, folder: Path) -> FunctionSource:
    """The source that ``module:function`` or ``path.py:function`` names.

    The module is not imported yet; the packages around it are, because Python finds it by them.

    Raises:
        InputError: it has another form, or there is no such file or module.
    """
    where, _, name = text.rpartition(":")
    is_file = where.endswith(".py")
    is_module = all(part.isidentifier() for part in where.split("."))
    if not name.isidentifier() or not (is_file or is_module):
        raise InputError(
            f"{text!r} does not name a function",
            field="trainer",
            allowed=FORMS,
            fix="write the module or the file, a colon, and the function's name",
        )
    if is_file:
        return _of_file(text, folder / where, name)
    for path in (str(folder.resolve()), str(Path.cwd())):  # the second one as `python -m` does
        _add_path(path)
    try:
        found = importlib.util.find_spec(where)
    except (ImportError, ValueError, AttributeError) as error:
        raise InputError(f"{where!r} cannot be found ({error})", field="trainer") from None
    if found is None or found.origin is None:
        raise InputError(
            f"there is no module {where!r}",
            field="trainer",
            allowed=FORMS,
            fix="install its package, run from its folder, or name the file",
        )
    return _of_module(text, where, name, Path(found.origin))


_OF_FILE = "xortune_trainer_"
"""How the name of a file's module begins if another module has the file's own name."""


def given_source(function: Callable[..., Any]) -> AnySource:
    """The source of a function object.

    Raises:
        InputError: it is no function.
    """
    if not callable(function):
        raise InputError(kind_of(function), field="train", allowed="a function of config and seed")
    name = getattr(function, "__qualname__", type(function).__qualname__)
    home = getattr(function, "__module__", None) or "__main__"
    if home == "__mp_main__":  # the main module, in a process that was spawned
        home = "__main__"
    module = sys.modules.get(home)
    file = getattr(module, "__file__", None)
    importable = name.isidentifier() and _is_same(getattr(module, name, None), function)
    if home.startswith(_OF_FILE) and file is not None and importable:
        return _of_file(f"{file}:{name}", Path(file), name)
    if home != "__main__" and file is not None and importable:
        return _of_module(f"{home}:{name}", home, name, Path(file))
    return FunctionObject(
        f"{home}:{name}", function, digest_of([("", _text_of(function).encode())])
    )


def _is_same(found: object, function: Callable[..., Any]) -> bool:
    """Whether two functions are one, although the module may have been imported again."""
    code = getattr(function, "__code__", None)
    return found is function or (code is not None and getattr(found, "__code__", None) == code)


def _of_file(text: str, path: Path, name: str) -> FunctionSource:
    if not path.is_file():
        raise InputError(
            f"there is no file {str(path)!r}",
            field="trainer",
            allowed=FORMS,
            fix="its path is relative to the space file",
        )
    path = path.resolve()
    files = imported_files(path.parent, path)
    sent = SentFiles(str(path.parent), files)
    return FunctionSource(text, path.stem, name, path.name, sent, digest_of(files))


def _of_module(label: str, module: str, name: str, file: Path) -> FunctionSource:
    file = file.resolve()
    parts = module.split(".")
    depth = len(parts) if file.name == "__init__.py" else len(parts) - 1
    root = file.parents[depth]
    files = imported_files(root, file, module)
    sent = SentFiles(str(root), () if is_installed(file) else files)
    return FunctionSource(label, module, name, None, sent, digest_of(files))


def _text_of(function: Callable[..., Any]) -> str:
    """The text of a function, and the numbers and strings it is bound to.

    Without these, functions from one text, such as closures, would have one digest.
    """
    bound = [*(getattr(function, "__defaults__", None) or ())]
    bound += (getattr(function, "__kwdefaults__", None) or {}).values()
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # an empty cell
            bound.append(cell.cell_contents)
    if isinstance(function, functools.partial):
        text = _text_of(function.func)
        bound = [*function.args, *itertools.chain.from_iterable(function.keywords.items())]
    else:
        try:
            text = inspect.getsource(function)
        except (OSError, TypeError):  # typed into a console, or an object with __call__
            code = getattr(function, "__code__", None)
            known = code and (code.co_code, code.co_names)
            text = repr(known) if known else type(function).__qualname__
    plain = [value for value in bound if isinstance(value, int | float | str)]
    return f"{text}{plain}" if plain else text


@functools.lru_cache(maxsize=16)
def _load(source: FunctionSource) -> Callable[..., Any]:
    root = source.sent.folder()
    _add_path(str(root))
    try:
        if source.file is None:
            module = importlib.import_module(source.module)
        else:
            module = _import_file(root / source.file, source)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{source.label} cannot be imported ({one_line(error_text(error))})",
            field="trainer",
            fix=f"see that `python -c 'import {source.module}'` runs in {root}",
        ) from error
    function: Callable[..., Any] | None = getattr(module, source.name, None)
    if not callable(function):
        names = [
            name
            for name, value in vars(module).items()
            if (inspect.isfunction(value) or inspect.isclass(value)) and name[:1] != "_"
        ]
        raise InputError(
            f"{source.module} has no function {source.name!r}",
            field="trainer",
            allowed=", ".join(names) or FORMS,
            fix=nearest(source.name, names, listed=True) if names else None,
        )
    return function


def _import_file(path: Path, source: FunctionSource) -> ModuleType:
    """Import a file under the module's own name, or under another if a module has that name."""
    other = sys.modules.get(source.module) or importlib.util.find_spec(source.module)
    origin = getattr(other, "__file__", None) or getattr(other, "origin", None)
    is_free = origin is None or Path(origin) == path
    name = source.module if is_free else _OF_FILE + source.digest
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and pickles look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _add_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
