"""The wheel and the sdist, built as for a release, work outside the checkout."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import xortune

ROOT = Path(__file__).parents[1]
THREAD = (ROOT / "docs" / "thread.md").read_text(encoding="utf-8")
PART = ("test_point.py", "test_space.py", "test_cluster_files.py", "test_cli.py", "test_release.py")
"""Tests that a folder without a repository has to pass; they read files of most kinds."""

pytestmark = pytest.mark.long


def ran(*words, folder, **environment):
    """What a command says, in an environment that knows nothing of this checkout."""
    ours = ("PYTHON", "PYTEST", "VIRTUAL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    how = {"cwd": folder, "env": kept | environment, "timeout": 400, "capture_output": True}
    done = subprocess.run(list(map(str, words)), text=True, check=False, **how)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, which is made from the sdist as `python -m build` does it, and that unpacked."""
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "build", "--outdir", folder, ROOT, folder=folder)
    [wheel], [archive] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "unpacked", filter="data")
    [sdist] = (folder / "unpacked").iterdir()
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The programs of a new environment with the wheel; what it needs is taken from this one."""
    place = tmp_path_factory.mktemp("venv")
    ran(sys.executable, "-m", "venv", "--without-pip", place, folder=place)
    python = place / "bin" / "python"
    install = ("install", "-q", "--no-deps", "--no-index", built[0])
    ran(sys.executable, "-m", "pip", "--python", python, *install, folder=place)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


def test_the_wheel_holds_the_package_and_nothing_else(built):
    wheel, _ = built
    assert wheel.name == f"xortune-{xortune.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    package = Path(xortune.__file__).parent
    files = {
        path.relative_to(package.parent).as_posix()
        for folder in (package, package.parent / "hydra_plugins")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if not name.startswith("xortune-")} == files
    assert {"xortune/py.typed", "xortune/__init__.pyi", "xortune/space.schema.json"} <= files
    assert "hydra_plugins/xortune_sweeper/sweeper.py" in files


def test_the_first_command_of_the_thread_works_in_an_empty_folder(installed, tmp_path):
    line = re.search(r"^```sh\n(.*?)$", THREAD, flags=re.MULTILINE)[1]
    program, *words = shlex.split(line)
    told = json.loads(ran(installed / program, *words, "--json", folder=tmp_path))
    assert (told["k"], told["n"]) == (0, 10_000)
    where = ran(installed / "python", "-c", "import xortune; print(xortune.__file__)", folder="/")
    assert Path(where.strip()).is_relative_to(installed.parent)
    version = ran(installed / "xortune", "--version", folder=tmp_path)
    assert version.split() == ["xortune", xortune.__version__]


def test_a_search_with_rays_workers_works_there_too(installed, built, tmp_path):
    shutil.copy(built[1] / "search_spaces" / "xor_small.yaml", tmp_path)
    words = ("search", "xor_small.yaml", "--json", "--quiet")
    told = json.loads(ran(installed / "xortune", *words, folder=tmp_path, TMPDIR="/tmp"))
    assert told["best"]["n"] == 20
    assert (tmp_path / "runs" / "xor_small" / "report.html").is_file()


def test_the_sdist_passes_a_part_of_its_tests(installed, built):
    files = [f"tests/{name}" for name in PART]
    told = ran(installed / "python", "-m", "pytest", "-q", *files, folder=built[1])
    assert re.search(r"^\d{3,} passed", told.splitlines()[-1])
