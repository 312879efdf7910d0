"""No test opens a socket of a network, this machine's own included.

``conftest.py`` loads this file and puts its folder on PYTHONPATH, so that every Python that a test starts loads it.
"""

from __future__ import annotations

import socket
from typing import Any


class NetworkRefused(RuntimeError):
    """A test, or what it calls, tried to reach the network. Not an OSError: nothing may take it for a lost line."""


def _refuse(address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else address
    raise NetworkRefused(f"tests use no network, and this one asked for {host!r}: give it what it needs, or a stub")


def _guarded(name: str) -> Any:
    real = getattr(socket.socket, name)

    def call(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse(args[-1])
        return real(self, *args)

    return call


def _look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
    _refuse(host)


def refuse_network() -> None:
    """From here on, for the whole process."""
    for name in ("bind", "connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, _guarded(name))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        setattr(socket, name, _look_up)


refuse_network()
