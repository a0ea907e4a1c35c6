"""Space files as text: YAML, scalars, durations, what cannot be read at all."""

import pytest
from space_files import refused, with_line

import xortune.spaces.text
from xortune.core.errors import InputError
from xortune.spaces.model import parse_duration
from xortune.spaces.space import load_space
from xortune.spaces.text import read_yaml


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null"])
def test_an_empty_file_is_refused(text):
    assert "s.yaml: is empty; allowed: a mapping" in refused(text)


@pytest.mark.parametrize(("text", "what"), [("- 1", "a list"), ("word", "the single value 'word'")])
def test_the_top_is_a_mapping(text, what):
    assert f"s.yaml:1: is {what}, not a mapping" in refused(text)


@pytest.mark.parametrize(
    "parameters", ["{}", "{" + ", ".join(f"p{i}: 1" for i in range(257)) + "}"]
)
def test_the_number_of_parameters_is_bounded(parameters):
    assert "1 to 256 parameters" in refused(f"name: a\nparameters: {parameters}")


def test_an_alias_bomb_is_refused_at_its_first_anchor():
    text = "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a]\n" for i in range(30))
    assert "s.yaml:1: the anchor &a" in refused(text)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    def told(path) -> str:
        with pytest.raises(InputError) as caught:
            load_space(path)
        return str(caught.value)

    (tmp_path / "near.yaml").write_text("name: a")
    assert "there is no such file" in told(tmp_path / "far.yaml")
    assert "near.yaml" in told(tmp_path / "far.yaml")
    assert "is a directory; allowed: a YAML file" in told(tmp_path)
    assert "cannot be read" in told("a\0b")
    (tmp_path / "latin.yaml").write_bytes(b"name: a\ntask: \xe9\n")
    assert "latin.yaml:2: is not UTF-8 text" in told(tmp_path / "latin.yaml")
    (tmp_path / "big.yaml").write_text("#" * 1_000_001)
    assert "larger than 1 MB" in told(tmp_path / "big.yaml")

    def closed(*_args, **_keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(xortune.spaces.text, "open", closed, raising=False)
    assert "cannot be read (Permission denied)" in told(tmp_path / "near.yaml")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "bom.yaml").write_text(with_line("# end"), encoding="utf-8-sig")
    assert load_space(tmp_path / "bom.yaml").name == "demo"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("0x10", 16),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("false", False),
        ("~", None),
        ("'1e-4'", "1e-4"),
        ('"true"', "true"),
        ("nan", "nan"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    found = read_yaml(f"a: {text}", "s").values["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("2h", 7200),
        ("90s", 90),
        ("45", 45),
        ("1h30m", 5400),
        (1.5, 1.5),
        ("1.5h", 5400),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "m", "-3", "0", 0, "1d", "1m1h", "nan", True, float("nan")]
)
def test_no_durations(text):
    with pytest.raises(InputError, match="is not a duration"):
        parse_duration(text)
