"""A PostgreSQL server for tests, on a loopback port, where its programs are installed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from drivers import wait_until

PASSWORD = "s3:cr@t"  # which has to be quoted in a URL


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None if there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))  # of Debian: not on the path
    return known[-1].parent if known else None


class Server:
    """A server with a user `me`, who has a password."""

    def __init__(self, folder: Path, account: dict[str, int]) -> None:
        self._folder, self._account = folder, account
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ("-U", "me", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync")
        assert self._begun("initdb", *options).wait() == 0, (folder / "log").read_text()

    def start(self) -> None:
        options = ("-h", "127.0.0.1", "-p", self.port, "-k", self._folder, "-c", "fsync=off")
        self._process = self._begun("postgres", *options)
        asked = [programs() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(lambda: subprocess.run(asked, check=False).returncode == 0, self._process)

    def stop(self) -> None:
        """At once, cutting off who is connected."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)

    def url(self, database: str) -> str:
        """Of a database, which is made."""
        import psycopg

        where = f"postgresql://me:s3%3Acr%40t@127.0.0.1:{self.port}"
        with psycopg.connect(f"{where}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return f"{where}/{database}"

    def _begun(self, program: str, *options: object) -> subprocess.Popen[bytes]:
        words = [str(programs() / program), "-D", str(self._folder / "data"), *map(str, options)]
        with (self._folder / "log").open("ab") as log:
            how = {"stdout": log, "stderr": log, "cwd": self._folder, **self._account}
            return subprocess.Popen(words, **how)


@contextmanager
def server():
    """A server that runs meanwhile, and leaves nothing behind."""
    folder, account = Path(tempfile.mkdtemp(prefix="xortune-postgres-")), {}
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    made = Server(folder, account)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)
