"""Ray that xortune starts by itself listens on the loopback device, and on no other."""

import ipaddress

import pytest
import ray


@pytest.mark.usefixtures("one_ray")
def test_every_socket_is_on_the_loopback_device():
    import psutil

    ray.get(ray.remote(lambda: 1).remote())  # a worker has sockets of its own
    this = psutil.Process()
    names = {process.pid: process.name() for process in (this, *this.children(recursive=True))}
    found = [
        (names[one.pid], ipaddress.ip_address(one.laddr.ip.removeprefix("::ffff:")))
        for one in psutil.net_connections("tcp")
        if one.pid in names and one.status == psutil.CONN_LISTEN
    ]
    assert {"gcs_server", "raylet"} <= {name for name, _ in found}, "else the test tells nothing"
    assert len(found) >= 5
    assert [entry for entry in found if not entry[1].is_loopback] == []
