"""The rule for success: a tiny grammar, which never runs anything."""

import operator
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.success import Success, parse_success

SIGNS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
SIGNS |= {"==": operator.eq, "!=": operator.ne}
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-/]{0,20}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SPACES = st.sampled_from(["", " ", "  ", "\t"])


@given(NAMES, st.sampled_from(sorted(SIGNS)), NUMBERS, SPACES, SPACES)
def test_what_is_written_is_read(name, sign, number, before, after):
    rule = parse_success(f"{before}{name}{after} {sign}{before}{number!r}{after}")
    assert (rule.name, rule.sign, rule.limit) == (name, sign, number)
    assert parse_success(str(rule)) == rule


@given(st.sampled_from(sorted(SIGNS)), NUMBERS, st.lists(NUMBERS, max_size=5))
def test_a_rule_compares_as_python_does(sign, limit, numbers):
    rule, numbers = Success("value", sign, limit), [*numbers, limit]
    wanted = [SIGNS[sign](number, limit) for number in numbers]
    assert list(map(rule.holds, numbers)) == rule.hold(np.array(numbers)).tolist() == wanted


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_refused_with_a_fix(text):
    told = ""
    try:
        rule = parse_success(text)
    except InputError as error:
        told = str(error)
    fixed = re.search(r'"[^"]+ (>= 0\.9|<= 0\.1)"', told)
    assert fixed or (rule.sign in SIGNS and np.isfinite(rule.limit))


@pytest.mark.parametrize(
    "text",
    [
        *("", "accuracy", "accuracy = 0.9", "accuracy >= high", "0.9 <= accuracy"),
        *("accuracy >= 0.9 and loss < 1", "__import__('os').system('true') >= 0"),
        *("accuracy >= nan", "accuracy >= inf", "accuracy >= 1e999", "accuracy >= 0x10"),
        *("accuracy >= 1_000", "accuracy >= 0.9\n; true", "accuracy => 0.9"),
    ],
)
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(InputError, match="is not a rule"):
        parse_success(text)
