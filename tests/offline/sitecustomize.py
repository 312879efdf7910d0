"""No test reaches the network: sockets lead to this machine or nowhere.

``conftest.py`` loads this file and puts its folder on PYTHONPATH, so that every Python that a test starts loads it.
"""

from __future__ import annotations

import socket
from typing import Any

LOCAL = {"localhost", "127.0.0.1", "::1", "", None}


class NetworkRefused(RuntimeError):
    """A test, or what it calls, tried to reach the network. Not an OSError: nothing may take it for a lost line."""


def _refuse(address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else None  # a path is a socket of this machine
    host = host.decode() if isinstance(host, bytes) else host
    if host not in LOCAL:
        raise NetworkRefused(f"tests use no network, and this one asked for {host}: give it what it needs, or a stub")


def _guarded(name: str) -> Any:
    real = getattr(socket.socket, name)

    def call(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse(args[-1])
        return real(self, *args)

    return call


def refuse_network() -> None:
    """From here on, for the whole process."""
    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, _guarded(name))
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse((host,))
        return look_up(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


refuse_network()
