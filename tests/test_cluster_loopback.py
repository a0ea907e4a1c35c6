"""Ray that xortune starts by itself listens on the loopback device, and on no other."""

import ipaddress
import os
import sys
from pathlib import Path

import pytest
import ray

LISTENING = "0A"


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


@pytest.mark.usefixtures("one_ray")
def test_every_socket_is_on_the_loopback_device():
    ray.get(ray.remote(lambda: 1).remote())  # a worker has sockets of its own
    found = sockets()
    names = {name for name, _ in found}
    assert {"gcs_server", "raylet"} <= names, "the test tells nothing if it does not see them"
    assert len(found) >= 5
    assert [entry for entry in found if not ipaddress.ip_address(entry[1]).is_loopback] == []
