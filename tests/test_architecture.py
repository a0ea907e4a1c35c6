"""The house: rooms import downward, use what others export, and nothing heavy loads by itself."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import xortune

ROOT = Path(xortune.__file__).parent

# Each may import those before it, never one after it.
ROOMS = (
    *("core", "stats", "spaces", "trainers", "racing", "runs", "certificates", "comparisons"),
    *("reports", "integrations", "training", "deciding", "driver", "cli"),
)
# What is heavy or optional, and where it may be imported.
CORNERS = {
    "torch": ("trainers.", "core.private"),
    "numba": ("trainers.",),
    "ray": ("training.", "racing.scheduler", "core.private"),
    "optuna": (
        *("deciding.", "training.process", "driver.exchange", "racing.pruner"),
        "spaces.samplers",  # where each is made
    ),
    **dict.fromkeys(("optunahub", "cmaes"), ("deciding.",)),
    "typer": ("cli",),
    **dict.fromkeys(("matplotlib", "plotly", "jinja2", "markupsafe"), ("reports.",)),
    **dict.fromkeys(("tensorboard", "mlflow", "wandb"), ("integrations.",)),
}
HEAVY = ("torch", "ray", "optuna", "numba", "numpy", "pandas", "scipy", "pyarrow", "pydantic")


# `trainers.network`: trainers/network.py; the package itself is the empty name.
MODULES = {
    ".".join(p for p in path.relative_to(ROOT).with_suffix("").parts if p != "__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@cache
def _imports(name: str) -> list[tuple[ast.stmt, str, str | None]]:
    """Each import of a module: its statement, the module and the name taken from it, if any."""
    found: list[tuple[ast.stmt, str, str | None]] = []
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            found += [(node, alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            found += [(node, str(node.module), alias.name) for alias in node.names]
    return found


@cache
def _own(name: str) -> list[tuple[ast.stmt, str, str | None]]:
    """Imports of xortune's modules: statement, module, and the name taken; None for all of it."""
    found: list[tuple[ast.stmt, str, str | None]] = []
    for node, module, taken in _imports(name):
        if module == "xortune" or module.startswith("xortune."):
            inner = module.removeprefix("xortune").removeprefix(".")
            full = f"{inner}.{taken}".strip(".")
            found.append((node, full, None) if taken and full in MODULES else (node, inner, taken))
    return found


def _room(module: str) -> str:
    return module.partition(".")[0]


INNER = [name for name in MODULES if _room(name) in ROOMS]


@cache
def _graph() -> dict[str, set[str]]:
    """The modules that each one imports; the package itself those of its public names."""
    found = {name: {module for _, module, _ in _own(name)} - {name} for name in INNER}
    return found | {"": {*xortune._HOMES.values()}}


def test_every_module_is_in_a_room():
    assert {_room(name) for name in MODULES} - {""} - {"__main__"} == set(ROOMS)
    assert len(list(ROOT.glob("*.py"))) <= 3


def test_rooms_import_downward():
    order = [*ROOMS[:-1], "", "cli"]  # the commands call the package's public names
    upward = [
        f"{name} imports {module}"
        for name, imported in _graph().items()
        for module in imported
        if order.index(_room(module)) > order.index(_room(name))
    ]
    assert upward == []


def test_no_modules_import_each_other():
    """Imports for the type checker included. A room itself only lists its exports."""
    inside = {n: imported for n, imported in _graph().items() if n.count(".") or not n}
    TopologicalSorter(inside).prepare()  # names a cycle


@cache
def _offered(name: str) -> set[str]:
    """The names without an underscore that a module defines at its top."""
    found: set[str] = set()
    for node in _tree(name).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            names = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            found |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
    return {one for one in found if not one.startswith("_")}


@pytest.mark.parametrize("room", ROOMS)
def test_other_rooms_import_public_names_of_exported_modules_from_where_they_are_defined(room):
    exports = importlib.import_module(f"xortune.{room}")
    public = [("xortune", home, thing) for thing, home in xortune._HOMES.items()]
    others = [(name, *one[1:]) for name in INNER if _room(name) != room for one in _own(name)]
    used = set()
    for name, module, taken in (*public, *others):
        if _room(module) == room:
            used.add(module.partition(".")[2])
            assert taken is None or taken in _offered(module), f"{name} imports {module}.{taken}"
    assert used == set(getattr(exports, "EXPORTS", ()))
    assert inspect.getdoc(exports)


def test_heavy_packages_stay_in_their_corner():
    strange = [
        f"{name} imports {module}"
        for name in INNER
        for _, module, _ in _imports(name)
        if not name.startswith(CORNERS.get(_room(module), ""))
    ]
    assert strange == []


PRIVATE = "core.private"
DOCUMENTED = {"_exit", "_make", "_replace", "_value_"}
"""Names with an underscore that Python's documents describe: `os._exit`, named tuples, enums."""


def _is_private(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"_[a-zA-Z]\w*", name) is not None


@cache
def _own_private_names() -> set[str]:
    """Names with an underscore that xortune itself defines."""
    found: set[str] = set()
    for name in {*MODULES} - {PRIVATE}:
        for node in ast.walk(_tree(name)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found |= {node.attr} if ast.unparse(node.value) in ("self", "cls") else set()
    return found


def test_private_names_of_other_packages_stand_in_one_file():
    """Imports, attributes, and names that are given to `getattr`, `setattr` and their like."""
    strange = []
    for name in {*MODULES} - {PRIVATE}:
        used = [
            (node, part)
            for node, module, taken in _imports(name)
            if module.partition(".")[0] not in ("xortune", "__future__")
            for part in (*module.split("."), taken)
        ]
        for node in ast.walk(_tree(name)):
            if isinstance(node, ast.Attribute):
                used.append((node, node.attr))
            elif isinstance(node, ast.Call) and "attr" in ast.unparse(node.func):
                used += [(node, one.value) for one in node.args if isinstance(one, ast.Constant)]
        allowed = _own_private_names() | DOCUMENTED
        strange += [
            f"{name}:{node.lineno}: {ast.unparse(node)}"
            for node, part in used
            if _is_private(part) and part not in allowed
        ]
    assert strange == []


def test_each_private_name_has_its_reason():
    tree = _tree(PRIVATE)
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    silent = [
        one.name for one in functions if not (_is_private(one.name) or ast.get_docstring(one))
    ]
    assert silent == []
    for package in ("torch", "Ray", "pytest", "Numba"):
        assert re.search(rf"{package} \d", ast.get_docstring(tree)), f"no version of {package}"


def test_imports_inside_functions_are_few():
    """They are for what is heavy or optional."""
    inside = []
    for name in INNER:
        top = {id(node) for node in _tree(name).body}
        top |= {id(n) for node in _tree(name).body if isinstance(node, ast.If) for n in node.body}
        inside += [(name, ast.unparse(n)) for n in {n for n, *_ in _own(name)} if id(n) not in top]
    assert len(inside) <= 60, "\n".join(f"{name}: {text}" for name, text in sorted(inside))


def test_no_class_has_the_name_of_another():
    nodes = (node for name in MODULES for node in ast.walk(_tree(name)))
    names = Counter(node.name.strip("_") for node in nodes if isinstance(node, ast.ClassDef))
    assert [name for name, times in names.items() if times > 1] == []


def test_files_are_things_and_no_fragments():
    """No group of files under a prefix, and few files that only one other file reads."""
    folders: dict[Path, Counter[str]] = defaultdict(Counter)
    for path in MODULES.values():
        if path.stem != "__init__":
            folders[path.parent][path.stem.partition("_")[0]] += 1
    crowded = [(str(f), p) for f, counts in folders.items() for p, n in counts.items() if n > 2]
    assert crowded == []
    importers = Counter(module for name in INNER for module in _graph()[name] if module in MODULES)
    single = [module for module, times in importers.items() if times == 1]
    assert len([module for module in single if _room(module) != "cli"]) <= 25  # a file a command
    things = [path for path in MODULES.values() if path.stem not in ("__init__", "__main__")]
    assert len(things) <= 176


@pytest.mark.parametrize("program", ["import xortune", "import xortune; dir(xortune)"])
def test_importing_xortune_loads_nothing_heavy(program):
    program += f"\nimport sys; print(sorted(set({HEAVY}) & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


@pytest.mark.parametrize("name", [n for n in xortune.__all__ if n != "__version__"])
def test_every_public_name_is_there_and_explains_itself(name):
    thing = getattr(xortune, name)
    home = inspect.getmodule(thing)
    assert home is not None
    assert home.__name__.startswith("xortune.")
    assert len(inspect.getdoc(thing) or "") > 20
    assert thing.__doc__ is not getattr(type(thing), "__doc__", None)


def test_public_names_are_listed_once_and_are_no_rooms_and_nothing_else_is_found():
    assert dir(xortune) == sorted(xortune.__all__)
    assert len(xortune.__all__) == len({*xortune.__all__} - {*ROOMS})
    with pytest.raises(AttributeError, match="no attribute 'sweep'"):
        xortune.sweep  # noqa: B018
    importlib.import_module("xortune.driver.search")
    assert inspect.isfunction(xortune.search), "not the module of its name"


def test_each_room_has_its_row_in_contributing_in_the_order_of_imports():
    house = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| room |")[2]
    rows = house.partition("\n\n")[0].splitlines()[2:]
    assert [re.findall(r"`(\w+)`", row)[0] for row in rows] == list(ROOMS)


def test_what_contributing_places_in_a_file_is_there():
    text = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = r"((?:`\w+`(?:, |,? and )?)+)[^`|;.]*,? of `(\w+/\w+\.py)`"
    placed = [(name, file) for group, file in re.findall(names, text) for name in group.split("`")]
    known = [(name, file) for name, file in placed if name.isidentifier()]
    assert len(known) > 20
    for name, file in known:
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8")), (name, file)


def test_what_a_rule_asks_is_known_to_its_own_file_alone():
    """All others ask the methods of `Rule`, not how it compares or of which kind it is."""
    kinds = {"Success", "Conjunction"}
    asking = {
        name
        for name in MODULES
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Name) and node.id in kinds and name != "core.success"
    }
    assert asking == set()
    reading = {
        name
        for name in MODULES
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Attribute) and node.attr == "sign" and name != "core.success"
        if not (isinstance(node.value, ast.Name) and node.value.id in ("np", "torch", "math"))
    }
    assert reading == set()
