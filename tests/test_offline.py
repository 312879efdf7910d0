"""The suite refuses the network and takes one thread, here and in every Python that a test starts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request

import pytest
import torch
from conftest import QUIET, NetworkRefused


def test_a_test_that_asks_for_the_network_is_told_so() -> None:
    with pytest.raises(NetworkRefused, match=r"example\.org"):
        urllib.request.urlopen("http://example.org", timeout=1)
    with socket.socket() as one, pytest.raises(NetworkRefused, match=r"192\.0\.2\.1"):
        one.connect(("192.0.2.1", 80))


def test_so_is_a_python_that_it_starts() -> None:
    script = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode and "NetworkRefused" in done.stderr


def test_this_machine_is_no_exception() -> None:
    with socket.socket() as one, pytest.raises(NetworkRefused, match=r"127\.0\.0\.1"):
        one.bind(("127.0.0.1", 0))
    with pytest.raises(NetworkRefused, match="localhost"):
        socket.create_connection(("localhost", 80))


def test_programs_of_this_machine_talk_through_files_and_pairs() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"a")
        assert other.recv(1) == b"a"


def test_one_thread_computes_here_and_in_what_is_started() -> None:
    # More than there are idle cores wait for each other at every operation, and take many times as long.
    assert torch.get_num_threads() == 1
    assert {name: os.environ[name] for name in QUIET} == QUIET
