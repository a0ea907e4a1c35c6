"""A journal for the files about what a search trains and records."""

import pytest

from xortune.runs.journal import Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evaluations.jsonl"


@pytest.fixture
def journal(path):
    with Journal.open(path) as journal:
        yield journal
