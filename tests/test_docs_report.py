"""docs/report.md tells the truth: its functions, its files, its program."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import xortune as xt

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")


def test_all_functions_that_plot_are_told():
    told = set(re.findall(r"`(plot_\w+)`", PAGE))
    assert told == {name for name in xt.__all__ if name.startswith("plot_")}


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_its_program_runs(tmp_path, monkeypatch):
    copied = tmp_path / "reports" / "xor"
    copied.mkdir(parents=True)
    for name in ("evaluations.jsonl", "manifest.json", "space.yaml"):
        shutil.copyfile(ROOT / "reports" / "xor" / name, copied / name)
    monkeypatch.chdir(tmp_path)
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(program, "docs/report.md", "exec"), {})  # of this repository
    assert {path.name for path in tmp_path.iterdir()} == {"reports", "ranking.html", "success.pdf"}
    assert (tmp_path / "success.pdf").read_bytes().startswith(b"%PDF")
    assert (copied / "report.md").exists()
    assert (copied / "table.tex").exists()
