"""The studio's page in a real browser, its requests answered by an app in the test's own process: without a socket.

Chromium is Debian's (``apt-get install chromium``) or Playwright's own; it is driven through a pipe. Whatever it asks
of another host is refused, and fails the test.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx2 import ASGITransport, AsyncClient, Response
from playwright.async_api import BrowserContext, Page, Route, async_playwright, expect
from serving import ADDRESS, Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
PATIENCE = 120_000  # milliseconds, against a hang alone
expect.set_options(timeout=PATIENCE)
DESKTOP, PHONE = (1280, 900), (390, 844)
# The body of a form with files is not shown to who answers for the network: it is sent as its bytes.
FORMS_AS_BYTES = """
const plain = window.fetch;
window.fetch = async (path, how) => {
  if (!(how?.body instanceof FormData)) return plain(path, how);
  const packed = new Request(location.origin, { method: "POST", body: how.body });
  const headers = { ...how.headers, "Content-Type": packed.headers.get("content-type") };
  return plain(path, { ...how, headers, body: await packed.arrayBuffer() });
};
"""


def in_browser(
    served: Served,
    work: Callable[[Page], Awaitable[None]],
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
    below: str = "",
    strips: bool = False,
    expected: str = "",
) -> None:
    """Open the page of ``served``, whose worker must be at work, and let ``work`` use it.

    ``below`` is the path at which a proxy has the service, which it ``strips`` or leaves before those that it asks for.
    Fails on any error that the page logs, but one with the ``expected`` text in it, and on any request to another host.
    """
    loop, context = _chromium()
    loop.run_until_complete(_in_browser(context, served, work, size, dark, below, strips, expected))


@cache
def _chromium() -> tuple[asyncio.AbstractEventLoop, BrowserContext]:
    """One browser for all tests of a process, and the loop that it lives in: to start one takes seconds.

    All tabs are one process of it, which a first tab that nobody uses keeps there: another takes as long as the page.
    """
    loop = asyncio.new_event_loop()

    async def begin() -> tuple[BrowserContext, Callable[[], Awaitable[None]]]:
        playwright = await async_playwright().start()
        args = ["--no-sandbox", "--renderer-process-limit=1", "--disable-site-isolation-trials"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        context = await browser.new_context()
        await context.add_init_script(FORMS_AS_BYTES)
        await context.new_page()

        async def ended() -> None:
            await browser.close()
            await playwright.stop()

        return context, ended

    context, ended = loop.run_until_complete(begin())

    def end() -> None:
        loop.run_until_complete(ended())
        loop.close()

    atexit.register(end)
    return loop, context


async def _in_browser(
    context: BrowserContext,
    served: Served,
    work: Callable[[Page], Awaitable[None]],
    size: tuple[int, int],
    dark: bool,
    below: str,
    strips: bool,
    expected: str,
) -> None:
    faults, unanswered = list[str](), set[asyncio.Task[Response]]()
    service = AsyncClient(transport=ASGITransport(served.app, raise_app_exceptions=False), timeout=None)

    async def answer(route: Route) -> None:
        asked = route.request
        if urlsplit(asked.url).netloc != urlsplit(ADDRESS).netloc or not asked.url.startswith(f"{ADDRESS}{below}/"):
            faults.append(f"asked for {asked.url}")
            await route.abort()
            return
        url = asked.url.replace(f"{ADDRESS}{below}", ADDRESS, 1) if strips else asked.url
        headers = {**asked.headers, "host": urlsplit(ADDRESS).netloc}
        asking = asyncio.ensure_future(
            service.request(asked.method, url, headers=headers, content=asked.post_data_buffer)
        )
        unanswered.add(asking)
        await asyncio.wait([asking])
        unanswered.discard(asking)
        if not asking.cancelled():
            found = asking.result()
            await route.fulfill(status=found.status_code, headers=dict(found.headers), body=found.content)

    def logged(message: Any) -> None:
        if message.type == "error" and not (expected and expected in message.text):
            faults.append(f"{message.text} {message.location.get('url', '')}")

    await context.route("**/*", answer)  # of this tab, and of others that the test may open
    page = await context.new_page()
    try:
        page.set_default_timeout(PATIENCE)
        page.on("console", logged)
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.emulate_media(color_scheme="dark" if dark else "light")
        await page.goto(f"{ADDRESS}{below}/")
        await work(page)
    finally:
        for asking in unanswered:  # what follows a job that has no end is asked for as long as the page is there
            asking.cancel()
        first, *tabs = context.pages
        for tab in tabs:
            await tab.close()
        await context.unroute_all(behavior="ignoreErrors")
        devtools = await context.new_cdp_session(first)  # the next test is to find nothing of what this one kept
        await devtools.send("Storage.clearDataForOrigin", {"origin": ADDRESS, "storageTypes": "all"})
        await devtools.detach()
    assert not faults, "\n".join(faults)
