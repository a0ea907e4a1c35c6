"""The committed reports follow from the runs beside them, by this code and these space files."""

import base64
import importlib.util
import io
import json
import re
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import PIL.Image
import pytest

import xortune as xt
from xortune.runs.manifest import fingerprint_of
from xortune.runs.run import Run
from xortune.trainers.network import NetworkTrainer

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports"

_spec = importlib.util.spec_from_file_location("make_reports", REPORTS / "make.py")
assert _spec is not None
assert _spec.loader is not None
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)

DRAW = "is not what this code draws: python reports/make.py --draw"
TRAIN = "is not of today's space file: python reports/make.py"

TRAINED = "decision-surface.svg"
"""A network is trained for it: on another CPU its last bits differ, and its outlines with them."""

NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")

PASSING = re.compile(
    r"\b20\d\d-\d\d-\d\dT\d\d:"  # a time
    r"|\"(?:host|platform|git_commit|at)\":|training time, over"
    r"|[\"'\s(]/(?:home|root|tmp|usr|opt|mnt|work|Users)/"  # a path of one machine
)

CLOSE = 0.005
"""Share of seeds that another CPU, with another last bit, may end otherwise."""


def copied(name: str, into: Path) -> Path:
    """A folder of reports/ with only what its report follows from."""
    (into / name).mkdir()
    for source in (*make.SOURCES, *(p.name for p in (REPORTS / name).glob("trained-*.jsonl"))):
        shutil.copyfile(REPORTS / name / source, into / name / source)
    return into / name


WRITTEN = re.compile(r"<title>(.*?)</title>|<dc:description>(.*?)</dc:description>|<!-- (.*?) -->")
"""Title, alt text, and all that is written in a figure: matplotlib notes it beside its shapes."""


def written(svg: str, *, ticks: bool) -> list[str]:
    """In its order; where ticks stand is for each version of matplotlib to say."""
    texts = ["".join(groups) for groups in WRITTEN.findall(svg)]
    return [text for text in texts if ticks or re.search("[A-Za-z]", text)]


NAMED = re.compile(r"(?<=[\"#])[a-z]+[0-9a-f]{10}(?=[\")])")
"""The names of shapes within a figure: matplotlib hashes them, with the last bits of numbers."""

PIXELS = re.compile(r"(?<=data:image/png;base64,)[^\"]+")
"""A picture within a figure, as a library of compression writes it."""


def pixels(svg: str) -> list[np.ndarray]:
    """The colours of each picture within a figure."""
    files = (io.BytesIO(base64.b64decode(text)) for text in PIXELS.findall(svg))
    return [np.asarray(PIL.Image.open(file), dtype=float) for file in files]


def shapes(svg: str) -> str:
    """A figure with its shapes named by their order, and without pixels."""
    order: dict[str, str] = {}
    named = NAMED.sub(lambda found: order.setdefault(found[0], f"shape-{len(order)}"), svg)
    return PIXELS.sub("", named)


def same_picture(name: str, one: str, other: str) -> bool:
    """Whether two figures say the same; to 0.02 points where one matplotlib drew both."""
    today = f"Matplotlib v{mpl.__version__}," in one
    if written(one, ticks=today) != written(other, ticks=today):
        return False
    if name == TRAINED or not today:
        return True
    for picture, again in zip(pixels(one), pixels(other), strict=True):
        if picture.shape != again.shape or not np.allclose(picture, again, rtol=0, atol=2):
            return False
    one, other = shapes(one), shapes(other)
    if NUMBER.sub("", one) != NUMBER.sub("", other):
        return False
    found = [np.array([float(number) for number in NUMBER.findall(svg)]) for svg in (one, other)]
    return bool(np.allclose(*found, rtol=0, atol=0.02))


def kept(folder: Path) -> list[Path]:
    """Its files, but for those that a reader may have had made there."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if path.suffix not in (".html", ".parquet", ".py", ".pyc")]


def assert_current(folder: Path, name: str) -> None:
    """All files of the folder that was drawn are those of reports/, and the other way round.

    What is not drawn, since the test does not ask for `pictures`, is not compared.
    """
    drawn, committed = (
        {path.relative_to(where).as_posix() for path in kept(where)}
        for where in (folder, REPORTS / name)
    )
    assert drawn == committed, f"reports/{name} {DRAW}"
    for file in sorted(drawn):
        was = (REPORTS / name / file).read_text(encoding="utf-8")
        now = (folder / file).read_text(encoding="utf-8")
        sketch = now == f"<svg>{Path(file).stem}</svg>\n"
        same = same_picture(Path(file).name, was, now) if file.endswith(".svg") else was == now
        assert same or sketch, f"reports/{name}/{file} {DRAW}"


def assert_drawn(name: str, into: Path) -> None:
    """Its space file is today's, and its report is what follows from its run."""
    asked = (ROOT / make.SPACES[name]).read_text(encoding="utf-8")
    assert (REPORTS / name / "space.yaml").read_text(encoding="utf-8") == asked, (
        f"reports/{name} {TRAIN}"
    )
    folder = copied(name, into)
    make.draw(name, folder)
    assert_current(folder, name)


@pytest.mark.parametrize(
    "name", [name for name in make.SPACES if name not in (make.COMPARED, "xor")]
)
def test_a_report_is_what_follows_from_its_run(name, tmp_path):
    assert_drawn(name, tmp_path)


@pytest.mark.parametrize(
    "name", ["xor", *(pytest.param(name, marks=pytest.mark.long) for name in ("parity3", "sweep"))]
)
def test_its_pictures_are_too(name, tmp_path, pictures):
    assert_drawn(name, tmp_path)


def test_the_comparison_is_what_follows_from_its_seeds(tmp_path, monkeypatch, pictures):
    # Seeds that another version of torch trained are not counted with those of today's: here they
    # are only to be drawn.
    [(made, identity)] = xt.load_run(REPORTS / make.COMPARED).manifest["made"].items()
    monkeypatch.setattr(NetworkTrainer, "describe", lambda _: identity)
    assert made == fingerprint_of(identity)
    assert_drawn(make.COMPARED, tmp_path)


def test_figures_are_compared_by_what_they_say():
    drawn = (REPORTS / make.COMPARED / "comparison-figures" / "profile.svg").read_text()
    names = sorted(set(NAMED.findall(drawn)))
    assert names
    for number, name in enumerate(names):  # as if last bits were others
        renamed = drawn.replace(name, f"{name[0]}{number:010x}")
        assert same_picture("profile.svg", drawn, renamed)
    assert same_picture("profile.svg", drawn, drawn.replace("width: 1.5", "width: 1.501"))
    for other in (drawn.replace("width: 1.5", "width: 2"), re.sub("<title>", "<title>No ", drawn)):
        assert not same_picture("profile.svg", drawn, other)


def test_nothing_is_in_them_that_is_another_each_time():
    found = []
    for path in kept(REPORTS):
        text = path.read_text(encoding="utf-8")
        found += [(path.name, match) for match in PASSING.findall(text)]
        if path.suffix == ".jsonl" and path.name != "looks.jsonl":
            for line in map(json.loads, text.splitlines()):
                assert (line["seconds"], line["worker"]) == (0, "")
    assert found == []


@pytest.mark.long
def test_training_again_gives_the_same_counts(tmp_path):
    make.search(make.SPACES[make.COMPARED], tmp_path / "again")
    runs: list[Run] = [xt.load_run(tmp_path / "again"), xt.load_run(REPORTS / make.COMPARED)]
    now, was = ({r.key: r.outcome for r in run.results} for run in runs)
    assert now.keys() == was.keys()
    assert [o.n for o in now.values()] == [100] * len(now)
    moved = sum(int((now[key].solved != was[key].solved).sum()) for key in was)
    assert moved <= CLOSE * sum(outcome.n for outcome in was.values())
