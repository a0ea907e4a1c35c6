"""Imports go one way, heavy packages stay in their corner, modules stay small."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

import xortune

ROOT = Path(xortune.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# Each may import those in the lines above it, never one below; one line may import within itself.
# `space` stands for space_file and its like too: a part is named up to the first underscore.
LAYERS = (
    ("errors",),
    ("point", "seed", "files", "rounding", "passwords"),
    ("table",),
    ("config", "task", "stats", "success"),
    ("outcome",),
    ("trainer", "engine"),
    ("space",),
    ("race", "objective", "resume"),
    ("evaluation", "journal", "frames", "run", "published", "imported"),
    ("comparison",),
    ("report", "trackers"),
    ("certify", "plan", "gate"),
    ("progress", "status"),
    ("search",),
    ("api", "pytest"),
    ("terminal",),
    ("cli", "__main__"),
)
CORNERS = {
    "torch": {"engine"},
    "numba": {"engine"},
    "ray": {"search"},
    "optuna": {"search"},
    "optunahub": {"search"},
    "cmaes": {"search"},
    "typer": {"cli"},
    "matplotlib": {"report"},
    "plotly": {"report"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "tensorboard": {"trackers"},
    "mlflow": {"trackers"},
    "wandb": {"trackers"},
}
HEAVY = ("torch", "ray", "optuna", "numba", "numpy", "pandas", "scipy", "pyarrow", "pydantic")


def _name(path: Path) -> str:
    """`engine/network.py` -> `engine.network`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _part(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def _imports(path: Path, *, for_types: bool = True) -> set[str]:
    """Every module that the file imports, anywhere in it, for the type checker too or not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not for_types:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _inner(path: Path, *, for_types: bool = True) -> set[str]:
    """The top-level parts of xortune that the file imports."""
    found = _imports(path, for_types=for_types)
    names = {name.removeprefix("xortune.") for name in found if name.startswith("xortune.")}
    return {_part(name) for name in names if name != "__version__"}


def _rank(part: str) -> int:
    for rank, layer in enumerate(LAYERS):
        if (part.split("_", maxsplit=1)[0] or part) in layer:
            return rank
    raise AssertionError(f"xortune.{part} has no place in LAYERS: give it one")


def _identity(path: Path) -> str:
    return _name(path) or "xortune"


@pytest.mark.parametrize("path", [p for p in MODULES if _name(p)], ids=_identity)
def test_imports_go_one_way(path):
    own = _part(_name(path))
    for part in _inner(path):
        assert _rank(part) <= _rank(own), f"{_name(path)} imports xortune.{part} from below it"


def test_no_two_parts_import_each_other():
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        if _name(path):
            own = _part(_name(path))
            graph.setdefault(own, set()).update(_inner(path, for_types=False) - {own})

    def reach(part: str, seen: set[str]) -> set[str]:
        for following in graph.get(part, set()) - seen:
            seen.add(following)
            reach(following, seen)
        return seen

    assert [part for part in graph if part in reach(part, set())] == []


@pytest.mark.parametrize("path", MODULES, ids=_identity)
def test_heavy_packages_stay_in_their_corner(path):
    outside = {_part(name) for name in _imports(path)}
    for package, corners in CORNERS.items():
        if package in outside:
            assert _part(_name(path)) in corners, f"{_identity(path)} imports {package}"


@pytest.mark.parametrize("path", MODULES, ids=_identity)
def test_modules_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 800


@pytest.mark.parametrize("program", ["import xortune", "import xortune; dir(xortune)"])
def test_importing_xortune_loads_nothing_heavy(program):
    program += f"\nimport sys; print(sorted(set({HEAVY}) & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_the_help_of_the_command_line_loads_no_framework():
    program = (
        "import sys; sys.argv = ['xortune', '--help']\n"
        "from xortune.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Usage" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", [n for n in xortune.__all__ if n != "__version__"])
def test_every_public_name_is_there_and_explains_itself(name):
    thing = getattr(xortune, name)
    home = inspect.getmodule(thing)
    assert home is not None
    assert home.__name__.startswith("xortune.")
    assert len(inspect.getdoc(thing) or "") > 20
    assert thing.__doc__ is not getattr(type(thing), "__doc__", None)


def test_public_names_are_listed_once_and_nothing_else_is_found():
    assert dir(xortune) == sorted(set(xortune.__all__))
    assert len(xortune.__all__) == len(set(xortune.__all__))
    with pytest.raises(AttributeError, match="no attribute 'sweep'"):
        xortune.sweep  # noqa: B018


def test_each_part_has_its_row_in_contributing_and_each_row_is_there():
    house = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| part |")[2]
    rows = house.partition("\n\n")[0].splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`([a-z_*/]+)`", row.split("|")[1])]
    parts = {_part(_name(path)) + "/" * (path.parent != ROOT) for path in MODULES if _name(path)}
    for part in parts:
        assert [name for name in named if fnmatch(part, name)], f"{part} has no row"
    for name in named:
        assert [part for part in parts if fnmatch(part, name)], f"there is no {name}"
