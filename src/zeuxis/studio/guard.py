"""What stands before every route: who may ask, from where, how much at a time; and what every answer says besides.

A page of another site can make a browser send requests here, and by a name that it points at this machine even read
the answers. So ``Host`` must be a name of this service, and ``Origin``, where there is one, its own. Imports no torch.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
from collections.abc import Iterable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zeuxis.studio.limits import MOST_BODY

LOOPBACK = ("localhost", "127.0.0.1", "::1")
COOKIE = "zeuxis-token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; "
    "connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


MISTAKE = "the service could not answer (a mistake in Zeuxis): the terminal in which it runs says where"


class BodyTooLarge(Exception):
    """More bytes came than one request may have."""


class HeadSent(Exception):
    """A request for the head of an answer has it: the rest need not be made."""


class Guard:
    """An ASGI middleware around all routes.

    What is asked for by HEAD is answered as by GET, without the body; a slash too many in a path is passed over, as
    where an address that ends with one is put before a path.

    Args:
        app: what is guarded.
        hosts: names beside those of loopback by which this service is called; an address is taken where ``anywhere``.
        anywhere: whether the service listens beyond loopback.
        root: the path below which a proxy has this service ("/lab/zeuxis"), which may stand before every path or not.
        token: what a request must know then; by ``Authorization`` (Bearer, or Basic's password), the cookie that
            ``/?token=...`` sets, or that query itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str] = (),
        anywhere: bool = False,
        token: str | None = None,
        most: int = MOST_BODY,
        root: str = "",
    ) -> None:
        self.app, self.anywhere, self.token, self.most, self.root = app, anywhere, token, most, root
        self.hosts = frozenset(name.casefold() for name in (*LOOPBACK, *hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        bare = bool(self.root) and scope.get("path") == self.root
        scope = self._below(scope)
        if scope.get("method") == "HEAD":
            scope, send = {**scope, "method": "GET"}, head_alone(send)
        with suppress(HeadSent):
            await self._answer(scope, receive, send, bare)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, bare: bool) -> None:
        started, taken = False, 0

        async def receiving() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise BodyTooLarge
            return message

        async def sending(message: Message) -> None:
            nonlocal started
            if taken > self.most and not started:  # whatever the route made of it
                return
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers[name] = value
                if self._sets_cookie(scope):
                    kept = f"{cookie_name(scope)}={self.token}; HttpOnly; SameSite=Strict; Path={self.root or '/'}"
                    headers.append("Set-Cookie", kept)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await answer(sending, *refusal)
            return
        if bare:  # relative addresses of the page are read from the slash behind it
            await onward(sending, f"{self.root}/", scope.get("query_string", b""))
            return
        try:
            await self.app(scope, receiving, sending)
        except BodyTooLarge:
            if started:
                raise
        except Exception:
            if not started:  # so that this answer, too, is one of this service's; the terminal has all of it
                await answer(sending, 500, MISTAKE, "server_error", "internal_error")
            raise
        if taken > self.most and not started:
            taken = 0
            await answer(sending, 413, self._too_much())

    def _below(self, scope: Scope) -> Scope:
        """The request as it is without :attr:`root`, where a proxy left that before the path, and slashes too many."""
        path = "/" + "/".join(part for part in scope.get("path", "").split("/") if part)
        if self.root and (path == self.root or path.startswith(f"{self.root}/")):
            return {**scope, "path": path[len(self.root) :] or "/", "root_path": ""}
        return {**scope, "path": path}

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason where a request is not let in."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if scope["type"] != "http":
            return 403, "this service has no web sockets"
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 403, "this service is not called by that Host: use its address, or name it with --name"
        for origin in headers.getlist("origin"):
            if urlsplit(origin).netloc.casefold() != hosts[0].casefold():
                return 403, "requests of pages from elsewhere (Origin) are not answered"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and scope["path"] != "/":
            return 403, "requests of pages from elsewhere (Sec-Fetch-Site) are not answered"
        if not self._knows_token(scope, headers):
            return 401, "this service wants its token: Authorization: Bearer TOKEN, or open /?token=TOKEN"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self.most:
            return 413, self._too_much()
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, _ = (parts.hostname or "").casefold(), parts.port
        except ValueError:
            return False
        if parts.netloc != host or "@" in host or parts.path:
            return False
        return name in self.hosts or (self.anywhere and _is_address(name))  # an address is no name to point elsewhere

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        if self.token is None:
            return True
        return any(hmac.compare_digest(said.encode(), self.token.encode()) for said in _said(scope, headers))

    def _sets_cookie(self, scope: Scope) -> bool:
        """Whether a browser came with the token in the address: from then on it has it as a cookie."""
        if self.token is None or scope["type"] != "http" or scope["path"] != "/":
            return False
        return any(hmac.compare_digest(said.encode(), self.token.encode()) for said in _queried(scope))

    def _too_much(self) -> str:
        return f"a request may have {self.most >> 20} MiB: send less"


def _said(scope: Scope, headers: Headers) -> list[str]:
    """What a request says the token is, by any of the ways."""
    found = _queried(scope)
    way, _, rest = headers.get("authorization", "").partition(" ")
    if way.casefold() == "bearer":
        found.append(rest.strip())
    elif way.casefold() == "basic":
        try:
            found.append(base64.b64decode(rest, validate=True).decode().partition(":")[2])
        except (binascii.Error, UnicodeDecodeError):  # says nothing
            return found
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return found
    name = cookie_name(scope)
    return [*found, *([cookies[name].value] if name in cookies else [])]


def cookie_name(scope: Scope) -> str:
    """What the token's cookie is called: by the port, for browsers give a cookie to every port of a host, and another
    service there would have another token. The host was checked before."""
    port = urlsplit(f"//{Headers(scope=scope)['host']}").port
    return COOKIE if port is None else f"{COOKIE}-{port}"


def _queried(scope: Scope) -> list[str]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def answer(send: Send, status: int, message: str, type: str = "refused", code: str | None = None) -> None:
    """An error as all of this service's are."""
    body = json.dumps(error_body(message, type, None, code)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def head_alone(send: Send) -> Send:
    """What sends the head of an answer, says that it is all, and ends what would make the rest."""

    async def sending(message: Message) -> None:
        await send(message)
        await send({"type": "http.response.body", "body": b""})
        raise HeadSent

    return sending


async def onward(send: Send, path: str, query: bytes) -> None:
    """Where to ask instead."""
    place = path.encode() + (b"?" + query if query else b"")
    await send({"type": "http.response.start", "status": 307, "headers": [(b"location", place)]})
    await send({"type": "http.response.body", "body": b""})


def error_body(message: str, type: str, param: str | None, code: str | None) -> dict[str, Any]:
    """An error as the clients of either API read it."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}
