"""An object store for the tests: a server that speaks S3, as a process of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_process() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server with an empty bucket `runs`: its address, 127.0.0.1:5000; and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **KEYS},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                ask(address, "runs", "PUT")
                break
            except (OSError, HTTPException):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield address, process
    finally:
        process.kill()
        process.wait()


def ask(address: str, path: str, method: str = "GET", data: bytes | None = None) -> bytes:
    request = urllib.request.Request(f"http://{address}/{path}", data=data, method=method)
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read()
