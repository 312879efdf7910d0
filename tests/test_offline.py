"""The suite refuses the network, here and in every Python that a test starts."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request

import pytest
from conftest import NetworkRefused


def test_a_test_that_asks_for_the_network_is_told_so() -> None:
    with pytest.raises(NetworkRefused, match=r"example\.org"):
        urllib.request.urlopen("http://example.org", timeout=1)
    with socket.socket() as one, pytest.raises(NetworkRefused, match=r"192\.0\.2\.1"):
        one.connect(("192.0.2.1", 80))


def test_so_is_a_python_that_it_starts() -> None:
    script = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode and "NetworkRefused" in done.stderr


def test_this_machine_may_be_asked() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
