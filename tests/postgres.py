"""A PostgreSQL server for tests, on a loopback port, where its programs are installed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        making = self._begun(
            "initdb", "-U", "me", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync"
        )
        assert making.wait() == 0, (folder / "log").read_text()

    def start(self) -> None:
        options = ("-h", "127.0.0.1", "-p", self.port, "-k", self._folder, "-c", "fsync=off")
        self._process = self._begun("postgres", *options)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                self.url("postgres", make=False)
                return
            except OSError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def stop(self) -> None:
        """At once, cutting off who is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def url(self, database: str, *, make: bool = True) -> str:
        """Of a database, which is made."""
        import psycopg

        where = {"host": "127.0.0.1", "port": self.port, "user": "me", "password": PASSWORD}
        try:
            with psycopg.connect(**where, dbname="postgres", autocommit=True) as connection:
                if make:
                    connection.execute(f'CREATE DATABASE "{database}"')
        except psycopg.OperationalError as error:  # it is starting
            raise OSError(str(error)) from None
        return f"postgresql://me:s3%3Acr%40t@127.0.0.1:{self.port}/{database}"

    def _begun(self, program: str, *options: object) -> subprocess.Popen[bytes]:
        folder = programs()
        assert folder is not None
        words = [str(folder / program), "-D", str(self._folder / "data"), *map(str, options)]
        with (self._folder / "log").open("ab") as log:
            how = {"stdout": log, "stderr": log, "cwd": self._folder, **self._account}
            return subprocess.Popen(words, **how)


@contextmanager
def server() -> Iterator[Server]:
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
