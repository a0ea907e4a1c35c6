"""A shared study in a PostgreSQL server: what else may happen; see test_shared_study.py too."""

import json
import sys

import postgres
import pytest
from study_driver import drive
from test_shared_study import proposer, space_of, trials

from xortune.core.errors import InputError
from xortune.driver.propose import PROPOSAL, RUN


@pytest.mark.long
@pytest.mark.skipif(
    postgres.programs() is None, reason="no PostgreSQL here: apt-get install postgresql"
)
def test_a_server_that_goes_away_costs_nothing(tmp_path):
    """The search says so and ends; when the server is back, it goes on, and tells what is new."""
    space, folder = space_of(), tmp_path / "run"
    with postgres.server() as server:
        url = server.url("study")
        run = drive(space, folder, url, most=5)
        shown = json.loads((folder / "manifest.json").read_text())["study"]["storage"]
        assert postgres.PASSWORD not in shown
        assert "s3%3Acr" not in shown
        mine = proposer(space, url, "a")
        mine.propose(0)
        server.stop()
        with pytest.raises(InputError, match=r"storage fails.*continue with resume=True") as caught:
            mine.propose(1)
        assert "s3%3Acr" not in str(caught.value)
        with pytest.raises(InputError, match="the study's storage fails"):
            drive(space, folder, url)
        server.start()
        assert drive(space, folder, url) == run
        own = [t for t in trials(space, url) if t.user_attrs[RUN] == run]
        assert sorted(t.user_attrs[PROPOSAL] for t in own) == list(range(12))
        assert {t.state.name for t in own} == {"COMPLETE"}
        with pytest.raises(InputError, match="the study's storage fails") as caught:
            drive(space, tmp_path / "other", url.replace("s3%3A", "wrong"))
        assert "wrong" not in str(caught.value)


def test_a_driver_of_postgresql_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"needs a package.*pip install 'psycopg\[binary\]'"):
        proposer(space_of(), "postgresql://me@127.0.0.1:9/none", "a")
