"""Whatever a text or a number is, one reads it as it is: in a line, in Markdown, in LaTeX."""

import math
import re
import shutil
import subprocess
from itertools import accumulate

import pytest
from hand_made import done, solved, write_run
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from xortune.core.formats import (
    decimals,
    estimated,
    interval,
    measured,
    number,
    percent,
    plain,
    roughly,
    span,
    upper_percent,
)
from xortune.core.outcome import wilson
from xortune.reports import document
from xortune.reports.document import latex_escaped, latex_table, markdown_table, table_of, texts
from xortune.reports.run import table_tex


def test_number():
    numbers_ = (0.0123456, 1000, 1000.0, 1234567.0, 1e-05, 983.7, 0, math.inf)
    shown = ["0.0123", "1000", "1000", "1.23e+06", "1e-05", "984", "0", "inf"]
    assert [number(one) for one in numbers_] == shown


def test_percent_is_all_or_nothing_only_when_it_is():
    rates = {1: "100.0 %", 0.9996: "> 99.9 %", 0.9994: "99.9 %", 0: "0.0 %", 1e-9: "< 0.1 %"}
    assert {rate: percent(rate) for rate in rates} == rates


INTERVALS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@given(INTERVALS)
def test_interval_is_rounded_outwards_and_by_less_than_a_unit(ends):
    low, high = ends
    first, last = (float(end) / 100 for end in re.findall(r"[\d.]+", interval(low, high)))
    unit = 10.0 ** -(2 + decimals(low, high))
    assert low - unit - 1e-9 <= first <= low + 1e-9
    assert high - 1e-9 <= last <= high + unit + 1e-9
    assert interval(0.97, 0.97) == "97.0–97.0 %"


@pytest.mark.parametrize(
    ("k", "n", "shown", "ends"),
    [
        (20, 20, "100 %", "83–100 %"),
        (17, 20, "85 %", "63–95 %"),
        (39, 40, "98 %", "87–100 %"),
        (493, 508, "97.0 %", "95.1–98.3 %"),  # +-1.6
        (993, 1000, "99.3 %", "98.5–99.7 %"),
        (9991, 10_000, "99.91 %", "99.82–99.96 %"),
        (999_999, 1_000_000, "> 99.99 %", "99.99–100.00 %"),
        (1, 1_000_000, "< 0.01 %", "0.00–0.01 %"),
        (0, 8, "0 %", "0–33 %"),
        (1, 2, "50 %", "9–91 %"),
    ],
)
def test_a_rate_is_shown_as_its_interval_supports(k, n, shown, ends):
    low, high = map(float, wilson(k, n))
    assert measured(k / n, low, high) == shown
    assert interval(low, high) == ends


def shown_number(text):
    """What a reader takes `text` for: `> 99 %` lies between 99 and 100."""
    found = float(re.search(r"[\d.]+", text)[0])
    return found + {">": 1e-9, "<": -1e-9}.get(text[0], 0)


@given(INTERVALS)
def test_no_digit_is_finer_than_the_second_of_the_half_width(ends):
    low, high = ends
    half = 50 * (high - low)
    digits = decimals(low, high)
    assert 0 <= digits <= 2
    if half > 1e-12:
        # The last digit shown is worth at least the half width's second one, or is no decimal.
        assert digits == 0 or 10.0**-digits >= 10.0 ** (math.floor(math.log10(half)) - 1) * 0.99
        # And it is not so coarse that it hides the half width; two decimals are the most.
        assert digits == 2 or 10.0**-digits <= max(1, 10 ** math.floor(math.log10(half)) * 1.001)


@given(INTERVALS, INTERVALS)
def test_a_higher_rate_never_looks_lower_and_only_all_and_nothing_look_so(ends, rates):
    found = [shown_number(measured(rate, *ends)) for rate in rates]
    assert found[0] <= found[1]
    for shown, rate in zip(found, rates, strict=True):
        assert (shown >= 100) == (rate == 1)
        assert (shown <= 0) == (rate == 0)
        assert abs(shown - 100 * rate) <= 10.0 ** -decimals(*ends)


@given(st.integers(1, 20_000), st.floats(0, 1))
def test_the_shown_rate_of_counts_lies_within_the_shown_interval(n, share):
    k = round(share * n)
    low, high = map(float, wilson(k, n))
    ends = [float(end) for end in re.findall(r"[\d.]+", interval(low, high))]
    assert ends[0] - 1e-6 <= shown_number(measured(k / n, low, high)) <= ends[1] + 1e-6


AMOUNTS = st.floats(-1e9, 1e9) | st.floats(-1e-5, 1e-5) | st.integers(-1000, 1000).map(float)


def decimals_and_power(text):
    """Of a shown number: digits after the point, and the power of ten, or None."""
    digits, _, power = text.partition("e")
    return len(digits.partition(".")[2]), int(power) if power else None


@given(st.lists(AMOUNTS, min_size=3, max_size=3).map(sorted))
@example([0.0, 5.84e-06, 0.0935])
@example([-5.0, 3.0, 2.3e6])
@example([0.0, 0.0, 1e-9])
def test_an_estimate_in_its_interval_lies_in_it_as_shown_in_one_notation(amounts):
    low, amount, high = amounts
    shown, ends = estimated(amount, low, high), span(low, high).split(" to ")
    assert float(ends[0]) <= float(shown) <= float(ends[1])
    assert decimals_and_power(ends[0]) == decimals_and_power(ends[1]) == decimals_and_power(shown)
    if high - low > max(1e-12 * max(abs(low), abs(high)), 1e-280):  # else to three digits
        assert float(ends[0]) <= low + 1e-6 * (high - low)
        assert float(ends[1]) >= high - 1e-6 * (high - low)


@given(st.lists(AMOUNTS, min_size=2, max_size=2).map(sorted))
def test_so_it_does_where_an_end_is_open(amounts):
    low, high = amounts
    first, last = span(low, math.inf).split(" to ")
    assert (last, float(first) <= float(estimated(high, low, math.inf))) == ("open", True)
    first, last = span(-math.inf, high).split(" to ")
    assert (first, float(estimated(low, -math.inf, high)) <= float(last)) == ("open", True)


@given(st.text(st.characters()))
def test_plain_is_one_printable_line(text):
    assert plain(text).isprintable()
    plain(text).encode()


# Markdown.

LIBRARY = MarkdownIt("commonmark").enable(["table", "strikethrough"])

TEXTS = st.text(st.sampled_from("ab 1.#-+*_`~|<>[]()!&$\\\"'\n\té\U0001f600{%}"), max_size=20)

BLOCK = document.in_markdown().from_string("{% filter p %}{{ text }}{% endfilter %}")
STRONG = document.in_markdown().from_string(
    "{% filter p %}It is {{ text | strong }}, so.{% endfilter %}"
)


def seen(token):
    """What one reads of inline content."""
    kinds = ("text", "code_inline")
    return "".join(child.content for child in token.children if child.type in kinds)


def squeezed(text):
    return " ".join(plain(text).split())


@pytest.mark.parametrize(
    "start",
    ["# h", "- l", "+ l", "* l", "1. l", "2) l", "> q", "    code", "=====", "---", "~~~", "| a |"],
)
def test_a_paragraph_stays_one_whatever_it_begins_with(start):
    [opened, inline, closed] = LIBRARY.parse(BLOCK.render(text=start))
    assert (opened.type, closed.type) == ("paragraph_open", "paragraph_close")
    assert seen(inline) == start.strip()


@given(TEXTS)
def test_a_reader_sees_the_text_as_it_is(text):
    tokens = LIBRARY.parse(BLOCK.render(text=text))
    assert [seen(token) for token in tokens if token.children] == [squeezed(text)] * bool(tokens)
    assert bool(tokens) == bool(squeezed(text))


@given(TEXTS, TEXTS)
def test_a_cell_stays_one_and_is_read_as_it_is(first, second):
    table = table_of([*texts("a"), *document.numbers("b")], [(first, document.Mono(second))])
    cells = [token for token in LIBRARY.parse(markdown_table(table)) if token.type == "inline"][2:]
    assert [seen(cell).strip() for cell in cells] == [plain(first).strip(), plain(second).strip()]


@given(TEXTS)
def test_strong_words_are_strong(text):
    [_, inline, _] = LIBRARY.parse(STRONG.render(text=text))
    marks = [child.type for child in inline.children if child.type.startswith("strong")]
    assert marks == ["strong_open", "strong_close"] * bool(plain(text).strip())
    assert squeezed(seen(inline)) == squeezed(f"It is {squeezed(text)}, so.")


@given(TEXTS)
def test_code_is_whole_and_ends_where_it_ends(text):
    [token] = LIBRARY.parse(document.fenced(text, "yaml"))
    assert token.info == "yaml"
    lines = text.rstrip("\r\n").split("\n")
    assert token.content.removesuffix("\n") == "\n".join(plain(line) for line in lines)


def test_escaped_keeps_plain_words_readable():
    assert document.escaped("hidden_dim 5, lr 1e-05") == "hidden_dim 5, lr 1e-05"
    assert document.escaped("_x_") == "\\_x\\_"


# LaTeX.

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
    written = latex_escaped(text)
    assert written.isascii()
    assert "\n" not in written
    steps = [{"{": 1, "}": -1}.get(sign, 0) for sign in re.sub(r"\\[{}\\]", "", written)]
    assert min(accumulate(steps, initial=0)) == sum(steps) == 0
    assert not re.search(r"(?<!\\)[&%#_~]", re.sub(r"\\[~^`'=.\"]\{", "", written))


@pytest.mark.parametrize(
    ("text", "written"),
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
def test_signs(text, written):
    assert latex_escaped(text) == written


HOSTILE = (
    "\\input{/etc/passwd} & % $x$ #_{~^<>|\"'`[*]--,,''é ø ł \U0001f600 中 \x1b\n\ud800" + "x" * 200
)


PAPER = (
    r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table.tex}\end{document}"
)
COMPILE = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper"]


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="no pdflatex here: apt-get install texlive-latex-base"
)
def test_latex_sets_whatever_the_names_are(tmp_path):
    points = [{HOSTILE: start + HOSTILE, "y": i} for i, start in enumerate(["[1]", "*", ""])]
    lines = [done(i, point, solved(0, 1, 2)) for i, point in enumerate(points)]
    run = write_run(tmp_path / "r", lines, name=HOSTILE)
    latin = ["".join(map(chr, range(start, start + 32))) for start in range(0x20, 0x250, 32)]
    every = document.table_of(document.texts("all"), [(signs,) for signs in latin], HOSTILE)
    (tmp_path / "paper.tex").write_text(PAPER)
    for tex in table_tex(run), latex_table(every):
        (tmp_path / "table.tex").write_text(tex, encoding="utf-8")
        ran = subprocess.run(COMPILE, cwd=tmp_path, capture_output=True, check=False, timeout=60)
        assert ran.returncode == 0, ran.stdout[-2000:]


@given(st.text(SPECIAL, max_size=8).map(plain), st.text(SPECIAL, max_size=8).map(plain))
def test_a_cell_is_never_two_and_a_row_never_ends_early(first, second):
    text = latex_table(table_of(texts("a", "b"), [(first, second)], "c"))
    [row] = re.findall(r"\\midrule\n(.*)\n", text)
    cells = re.split(r"(?<!\\)&", row.strip().removesuffix(r"\\"))
    # Spaces at the ends of a cell are nothing in LaTeX.
    assert [read(cell).strip() for cell in cells] == [first.strip(), second.strip()]


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1, "1"), (55, "55"), (641, "640"), (48_155, "48,000"), (99_600, "100,000")],
)
def test_an_estimated_count_has_two_digits_that_count(amount, text):
    assert roughly(amount) == text


@given(st.floats(0, 1))
def test_an_upper_bound_is_never_shown_lower_than_it_is(bound):
    shown = float(upper_percent(bound).removesuffix(" %"))
    assert 100 * bound - 1e-6 <= shown < 100 * bound + 0.1
