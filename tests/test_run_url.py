"""Outputs that are URLs: what is one, where its working copy is, and how that shows."""

import os
from pathlib import Path

import pytest

from xortune.core.errors import InputError
from xortune.runs.store import StoredPath, copy_of, url_of


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XORTUNE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/a/run", "s3://bucket/a/run"),
        (Path("s3://bucket/a/run"), "s3://bucket/a/run"),
        (Path("s3://b/run?endpoint_override=host:5000"), "s3://b/run?endpoint_override=host:5000"),
        *(("file:///tmp/run", "file:///tmp/run"), (Path("file:///tmp/run"), "file:///tmp/run")),
        *(("GS://bucket/run", "gs://bucket/run"), ("runs/xor", None), ("/tmp/s3://x", None)),
        *(("C:/runs/xor", None), ("C:\\runs\\xor", None), ("", None), ("a:b/c", None)),
    ],
)
def test_what_is_a_url(given, url):
    assert url_of(given) == url


def test_a_stored_path_opens_in_the_copy_and_shows_as_the_url(tmp_path):
    root = copy_of("s3://bucket/folder/run?scheme=http", "driver")
    assert str(root) == "s3://bucket/folder/run?scheme=http"
    assert f"{root / 'table.csv'}" == "s3://bucket/folder/run/table.csv"
    assert isinstance(root / "ray" / "x", StoredPath)
    assert url_of(root / "x") == str(root)
    root.mkdir(parents=True)
    (root / "table.csv").write_text("a")
    place = Path(os.fspath(root / "table.csv"))
    assert place.is_relative_to(tmp_path / "cache")
    assert place.read_text() == "a"
    assert root.name == "run"
    assert root.resolve() == place.parent
    assert not isinstance(root.resolve(), StoredPath)
    assert "://" not in str(root.parent)


def test_each_run_and_each_use_has_its_own_copy():
    urls = ["s3://bucket/a/run", "s3://bucket/b/run", "gs://bucket/a/run", "s3://bucket/a/run?x=1"]
    copies = {os.fspath(copy_of(url, use)) for url in urls for use in ("driver", "reader")}
    assert len(copies) == 8
    assert os.fspath(copy_of("s3://bucket/a/run/", "driver")) in copies


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/../run", "s3://"])
def test_a_run_needs_a_name(url):
    with pytest.raises(InputError, match="names no run in a store"):
        copy_of(url, "reader")


def test_a_password_is_refused_and_not_repeated():
    with pytest.raises(InputError) as caught:
        copy_of("s3://key:very-secret@bucket/run", "driver")
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)
    assert "very-secret" not in str(caught.value)
    assert "s3://bucket/run" in str(caught.value)
