"""What engines log on a worker is told where the search runs."""

import logging

import pytest

from xortune.driver.ray_executor import captured_messages

logger = logging.getLogger("xortune.trainers")


def test_what_is_logged_meanwhile_is_heard_once():
    logger.warning("before")
    with captured_messages() as words:
        logger.warning("halved to %d", 64)
        logging.getLogger("xortune.trainers.reference").error("lost")
        logger.warning("halved to %d", 64)
        logger.info("nothing of note")
        logging.getLogger("somebody").warning("else")
    logger.warning("after")
    assert words == ["halved to 64", "lost"]


def test_whatever_happens_nobody_listens_on():
    before = list(logger.handlers)
    with pytest.raises(ValueError, match="no"), captured_messages():
        raise ValueError("no")
    assert logger.handlers == before
