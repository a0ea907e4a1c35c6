"""Commands as tests run them: in this process, in a folder of the test's own."""

import pytest
from typer.testing import CliRunner

from xortune.cli.shared import app


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    """Whatever is written without --output lands here; 80 columns, no colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def xortune(*words, code=None, traceback=False):
    """Ends with this code, if one is given; a traceback may be that of the user's function."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert code in (None, result.exit_code), result.output
    assert traceback or "Traceback" not in result.output
    return result


def refused(result, *words, lines=1):
    """Exit code 2, one line on stderr that holds the words, nothing on stdout."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == lines, result.stderr
    for word in words:
        assert word in result.stderr
    return result.stderr
