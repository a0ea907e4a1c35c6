"""Ray that xortune starts by itself listens on the loopback device, and on no other."""

import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xortune.core.errors import InputError
from xortune.driver.cluster import Cluster, connected

LISTENING = "0A"

STARTED = """
import json
import ray
from test_cluster_loopback import sockets
from xortune.driver.cluster import Cluster, connected

with connected(Cluster()):
    ray.get(ray.remote(lambda: 1).remote())  # a worker has sockets of its own
    print(json.dumps(sockets()))
"""


def family(pid):
    """A process and all that it has started, at whatever remove."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = path.read_text().partition(" ")
        except OSError:
            continue
        parents[int(number)] = int(rest.rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def address(text):
    """`0100007F:1F90` as the kernel writes it, in words of four bytes, each in host order."""
    raw = bytes.fromhex(text.split(":", maxsplit=1)[0])
    words = [raw[i : i + 4] for i in range(0, len(raw), 4)]
    joined = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    found = ipaddress.ip_address(joined)
    return getattr(found, "ipv4_mapped", None) or found


def sockets():
    """(process, address) of every TCP socket on which this process or one below it listens."""
    listening = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING:
                listening[f"socket:[{words[9]}]"] = str(address(words[1]))
    found = []
    for pid in family(os.getpid()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
            links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        found += [(Path(command).name, listening[link]) for link in links if link in listening]
    return found


def test_every_socket_is_on_the_loopback_device():
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", STARTED],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    names = {name for name, _ in found}
    assert {"gcs_server", "raylet"} <= names, "the test tells nothing if it does not see them"
    assert len(found) >= 5
    assert [entry for entry in found if not ipaddress.ip_address(entry[1]).is_loopback] == []


def test_addresses_are_read_as_the_kernel_writes_them():
    assert str(address("0100007F:1F90")) == "127.0.0.1"
    assert str(address("020200C0:0016")) == "192.0.2.2"
    assert str(address("00000000000000000000000001000000:0016")) == "::1"
    assert str(address("0000000000000000FFFF00000100007F:0016")) == "127.0.0.1"
    assert not address("00000000000000000000000000000000:0016").is_loopback


def test_a_job_server_is_no_cluster_to_connect_to():
    with pytest.raises(InputError, match="xortune submit"), connected(Cluster("http://head:8265")):
        pass


def test_a_ray_that_does_not_start_is_told_in_a_sentence(monkeypatch):
    def late(**_):
        raise Exception("The current node timed out during startup.\nMore of it")

    monkeypatch.setattr("ray.init", late)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said = r"^Ray did not start .* \(The current node timed out during startup\.\)"
    with pytest.raises(InputError, match=rf"{said}; fix: .* resume=True"), connected(Cluster()):
        pass
