from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hand_made import CONFIG, done, solved, write_run
from hypothesis import given
from hypothesis import strategies as st
from latex_read import read

from xortune.core.formats import plain
from xortune.reports.document import (
    Column,
    Table,
    latex_escaped,
    latex_table,
    numbers,
    table_of,
    texts,
)
from xortune.reports.run import table_tex

PDFLATEX = shutil.which("pdflatex")

SPECIAL = "\\&%$#_{}~^<>|\"`'[]*-, ab"


@given(st.text(SPECIAL))
def test_every_sign_is_read_as_it_was_written(text):
    assert read(latex_escaped(text)) == text


@given(st.text())
def test_what_is_written_is_ascii_on_one_line_with_balanced_braces(text):
    shown = latex_escaped(text)
    assert shown.isascii()
    assert "\n" not in shown
    bare = re.sub(r"\\[{}\\]", "", shown)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"(?<!\\)[&%#_~]", re.sub(r"\\[~^`'=.\"]\{", "", shown))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hidden_dim 5 & 97 %", r"hidden\_dim 5 \& 97 \%"),
        ("--seeds", "-{}-seeds"),
        ("[a]*", "{[}a{]}{*}"),  # after \\ it would be an argument
        ("é ü ő ç ß", r"\'{e} \"{u} \H{o} \c{c} \ss{}"),
        ("é", r"\'{e}"),  # two code points
        ("\U0001f600中α", "{[}U+1F600{]}{[}U+4E2D{]}{[}U+03B1{]}"),
        ("83–100 ± 5", r"83\textendash{}100 $\pm$ 5"),
        ("a\nb\x1b", r"a\textbackslash{}nb\textbackslash{}x1b"),
    ],
)
def test_signs(text, shown):
    assert latex_escaped(text) == shown


def test_a_label_and_comments_are_only_that():
    small = table_of([*texts("a_b"), *numbers("n")], [("x&y", "1")])
    text = latex_table(small, caption="100 % of it", label="tab: x_y", comments=["a\nb"])
    assert "\n% a\\textbackslash{}nb\n" in text
    assert r"\label{tab:-x-y}" in text
    assert r"\caption{100 \% of it}" in text
    assert r"    x\&y & 1 \\" in text
    assert r"\label" not in latex_table(small, caption="c")


def test_the_best_ten_of_a_run_with_its_keys(tmp_path):
    points = [
        CONFIG | {"lr": 0.01 * (1 + i), "loss": ["MSELoss", "L1Loss"][i % 2]} for i in range(12)
    ]
    run = write_run(
        tmp_path / "r",
        [done(i, p, solved(0, 12 - i, 12)) for i, p in enumerate(points)],
        name="a_b",
    )
    text = table_tex(run)
    assert r"\begin{tabular}{rlrrrrr}" in text
    assert r" & loss & lr & solved & rate, \% & interval, \% & epochs \\" in text
    assert r"    1 & MSELoss & 0.01 & 12/12 & 100 & 75\textendash{}100 & 300 \\" in text
    assert "The best 10 of 12 configurations of a\\_b" in text
    assert "10/12" in text
    assert " 2/12" not in text
    assert [f"% {i}: {r.key}" for i, r in enumerate(run.results[:10], 1)] == re.findall(
        r"^% \d+: \w+$", text, re.MULTILINE
    )


HOSTILE = (
    "\\input{/etc/passwd} & % $x$ #_{~^<>|\"'`[*]--,,''é ø ł \U0001f600 中 \x1b\n\ud800" + "x" * 200
)


def compiled(tex, folder):
    assert PDFLATEX is not None
    (folder / "table.tex").write_text(tex, encoding="utf-8")
    (folder / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
        "\\input{table.tex}\\end{document}\n"
    )
    return subprocess.run(
        [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.skipif(PDFLATEX is None, reason="there is no pdflatex here")
def test_latex_sets_whatever_the_names_are(tmp_path):
    points = [{HOSTILE: start + HOSTILE, "y": i} for i, start in enumerate(["[1]", "*", ""])]
    run = write_run(
        tmp_path / "r", [done(i, p, solved(0, 1, 2)) for i, p in enumerate(points)], name=HOSTILE
    )
    ran = compiled(table_tex(run), tmp_path)
    assert ran.returncode == 0, ran.stdout[-2000:]
    every = Table((Column("all"),), tuple((latin,) for latin in ALL_LATIN))
    ran = compiled(latex_table(every, caption=HOSTILE), tmp_path)
    assert ran.returncode == 0, ran.stdout[-2000:]


ALL_LATIN = ["".join(map(chr, range(start, start + 32))) for start in range(0x20, 0x250, 32)]


@given(st.text(SPECIAL, max_size=8).map(plain), st.text(SPECIAL, max_size=8).map(plain))
def test_a_cell_is_never_two_and_a_row_never_ends_early(first, second):
    text = latex_table(table_of(texts("a", "b"), [(first, second)]), caption="c")
    [row] = re.findall(r"\\midrule\n(.*)\n", text)
    cells = re.split(r"(?<!\\)&", row.strip().removesuffix(r"\\"))
    # Spaces at the ends of a cell are nothing in LaTeX.
    assert [read(cell).strip() for cell in cells] == [first.strip(), second.strip()]
