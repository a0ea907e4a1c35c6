import re
import shutil
import subprocess

import pytest
from hand_made import done, solved, write_run
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.formats import plain
from xortune.reports.document import Column, Table, latex_escaped, latex_table, table_of, texts
from xortune.reports.run import table_tex

PDFLATEX = shutil.which("pdflatex")

NAMED = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
    "textgreater": ">", "textbar": "|", "char34": '"', "char96": "`", "textendash": "–",
}  # fmt: skip
SPECIAL = "\\&%$#_{}~^<>|\"`'[]*-, ab"


def read(latex):
    """What one reads on the paper, of text without accents and formulas."""
    text = re.sub(r"\\([a-z0-9]+)\{\}", lambda found: NAMED[found[1]], latex)
    text = re.sub(r"(?<=[-,'])\{\}", "", text)
    text = re.sub(r"\{([\[\]*])\}", r"\1", text)
    return re.sub(r"\\([&%$#_{}])", r"\1", text)


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


@pytest.mark.skipif(PDFLATEX is None, reason="no pdflatex here: apt-get install texlive-latex-base")
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
