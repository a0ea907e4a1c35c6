from __future__ import annotations

import logging

import pytest

from xortune.driver.ray_executor import captured_messages as heard
from xortune.driver.ray_executor import forward_messages as tell

logger = logging.getLogger("xortune.engine")


def test_what_is_logged_meanwhile_is_heard_once():
    logger.warning("before")
    with heard() as words:
        logger.warning("halved to %d", 64)
        logging.getLogger("xortune.trainers.stacked").error("lost")
        logger.warning("halved to %d", 64)
        logger.info("nothing of note")
        logging.getLogger("somebody").warning("else")
    logger.warning("after")
    assert words == ["halved to 64", "lost"]


def test_whatever_happens_nobody_listens_on():
    before = list(logger.handlers)
    with pytest.raises(ValueError, match="no"), heard():
        raise ValueError("no")
    assert logger.handlers == before


def test_it_is_told_where_it_comes_from(caplog):
    tell(["halved to 64", "lost: 100 % of it"], "node:7")
    assert [record.getMessage() for record in caplog.records] == [
        "node:7: halved to 64",
        "node:7: lost: 100 % of it",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
