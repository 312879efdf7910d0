"""The studio's page: what lies in the package is built of the sources beside it, and names no other host."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from browsing import in_browser, needs_chromium
from playwright.async_api import Page, expect
from serving import Served, png

import zeuxis

PAGE = Path(zeuxis.__file__).parent / "studio" / "page"
SOURCES = Path(__file__).parent.parent / "studio"
NAMED = {"http://www.w3.org", "https://arxiv.org", "https://svelte.dev"}  # in names and texts, which are never asked
MOST = 300_000  # bytes of all that a page load takes, packed


def test_the_built_page_is_of_the_present_sources() -> None:
    built = json.loads((PAGE / "sources.json").read_text(encoding="utf-8"))
    names = ["index.html", "package-lock.json", "package.json", "svelte.config.js", "vite.config.ts"]
    names += [path.relative_to(SOURCES).as_posix() for path in (SOURCES / "src").rglob("*") if path.is_file()]
    now = {name: hashlib.sha256((SOURCES / name).read_bytes()).hexdigest() for name in names}
    assert built == now, "stale: cd studio && npm ci && npm run build"


def test_the_page_is_small_and_names_no_other_host() -> None:
    files = [path for path in PAGE.rglob("*") if path.is_file() and path.name != "sources.json"]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < MOST
    for path in files:
        addresses = set(re.findall(r"https?://[\w.-]+", path.read_text(encoding="utf-8")))
        assert addresses <= NAMED, path


@needs_chromium
@pytest.mark.parametrize("strips", [True, False])
def test_the_page_works_below_a_path(tmp_path: Path, strips: bool) -> None:
    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Compare").click()
        sheet = page.get_by_role("img", name="pictures of").first
        await sheet.scroll_into_view_if_needed()
        await expect(sheet).to_have_js_property("complete", True)
        assert await sheet.evaluate("one => one.naturalWidth") > 0
        await page.get_by_role("link", name="Restore").click()
        await page.locator("input[type=file]").first.set_input_files(
            {"name": "a.png", "mimeType": "image/png", "buffer": png()}
        )
        given = page.get_by_alt_text("given, ").first
        await expect(given).to_have_attribute("src", re.compile("^/lab/zeuxis/api/uploads/"))
        await expect(given).to_have_js_property("complete", True)

    in_browser(Served(tmp_path, root="" if strips else "/lab/zeuxis"), work, below="/lab/zeuxis", strips=strips)


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (SOURCES / "package-lock.json").read_text(encoding="utf-8")
