"""Where a user's function is called: as in a plain loop, and whatever it does to the process."""

import os
from pathlib import Path

import pytest

from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import given_source

POINT = Point({"x": 1})


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a file, in which the process is."""
    (tmp_path / "limit.txt").write_text("2")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reads(config, seed):
    return seed < int(Path("limit.txt").read_text())


def statuses(trainer, count=4):
    [outcome] = trainer.train([Block(POINT, 0, count)])
    return [Status(status).label for status in outcome.status]


def test_a_file_is_found_where_the_trainer_was_made(here, tmp_path_factory, monkeypatch):
    trainer = custom_trainer(given_source(reads), None)
    elsewhere = tmp_path_factory.mktemp("worker")
    monkeypatch.chdir(elsewhere)
    assert statuses(trainer) == ["solved", "solved", "wrong_pattern", "wrong_pattern"]
    assert Path.cwd() == elsewhere


def test_without_that_folder_the_process_stays_where_it_is(here, tmp_path_factory, monkeypatch):
    trainer = custom_trainer(given_source(reads), None)
    elsewhere = tmp_path_factory.mktemp("worker")
    (elsewhere / "limit.txt").write_text("4")
    monkeypatch.chdir(elsewhere)
    here.rename(here.with_name("gone"))
    assert statuses(trainer) == ["solved"] * 4


def test_a_function_that_goes_elsewhere_takes_nobody_along(here):
    def goes(config, seed):
        folder = here / f"scratch-{seed}"
        folder.mkdir()
        os.chdir(folder)
        folder.rmdir()
        if seed == 1:
            raise RuntimeError("in a folder that is gone")
        return True

    trainer = custom_trainer(given_source(goes), None)
    assert statuses(trainer) == ["solved", "crashed", "solved", "solved"]
    assert Path.cwd() == here
    goes_and_reads = custom_trainer(given_source(reads), None)
    both = [Block(POINT, 0, 1), Block(POINT, 1, 1)]
    assert [o.successes for o in goes_and_reads.train(both)] == [1, 1]


def test_a_block_does_not_begin_where_the_last_one_ended(here):
    def wanders(config, seed):
        found = Path("limit.txt").exists()
        os.chdir("/")
        return found

    trainer = custom_trainer(given_source(wanders), None)
    outcomes = trainer.train([Block(POINT, 0, 1), Block(POINT, 1, 1)])
    assert [outcome.successes for outcome in outcomes] == [1, 1]
