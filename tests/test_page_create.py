"""Create, in a browser: pictures of a caption, recalled from the files they were saved to, with the same pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from browsing import PHONE, in_browser, needs_chromium
from PIL import Image
from playwright.async_api import Page, Route, expect
from serving import SCENES_CAPTION, Served, service_at_work

from zeuxis.api.replay import likeness

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with service_at_work(tmp_path_factory.mktemp("runs")) as made:
        yield made


def test_a_picture_that_is_given_back_recalls_how_it_was_made_and_gives_the_same_pixels(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_label("Model").select_option("scenes")
        await page.get_by_label("caption").fill(SCENES_CAPTION)
        await page.get_by_label("Pictures", exact=True).fill("2")
        await page.get_by_text("knobs").click()
        await page.get_by_label("steps", exact=True).fill("4")
        await page.get_by_role("button", name="Draw").click()
        await page.locator("ul.pictures img").nth(1).wait_for()
        first = served.service.queue.newest(1)[0]
        saved = served.folders.job(first.id) / "0001.png"
        await page.get_by_text("How was this picture made?").click()
        await page.locator("details.recall input").set_input_files(saved)
        await expect(page.get_by_label("Pictures", exact=True)).to_have_value("1")
        field = page.locator("details.recall input")  # which lets go of it, so that the same file may be chosen again
        assert await field.evaluate("(one) => one.files.length") == 0
        await page.get_by_role("button", name="Draw").click()
        await page.locator("section.job").nth(1).wait_for()
        await page.locator("section.job").first.locator("ul.pictures img").wait_for()
        second = served.service.queue.newest(1)[0]
        assert second.id != first.id and second.request["condition"]["caption"] == SCENES_CAPTION
        with Image.open(served.folders.job(second.id) / "0000.png") as again, Image.open(saved) as before:
            assert likeness(again, before).same  # alone and in a batch: within rounding

    in_browser(served, work)


def test_what_is_refused_is_said_beside_the_form(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_label("Model").select_option("scenes")
        await page.get_by_label("caption").fill("a purple dragon")
        await page.get_by_role("button", name="Draw").click()
        alert = page.get_by_role("alert")
        await alert.wait_for()
        assert "dragon" in (await alert.inner_text())

    in_browser(served, work, PHONE, dark=True)


def test_what_the_form_holds_and_drew_is_there_after_another_panel_and_after_a_reload(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_label("Model").select_option("scenes")
        await page.get_by_label("caption").fill(SCENES_CAPTION)
        await page.get_by_label("Pictures", exact=True).fill("1")
        await page.get_by_text("knobs").click()
        await page.get_by_label("steps", exact=True).fill("3")
        await page.get_by_role("button", name="Draw").click()
        await page.locator("ul.pictures img").first.wait_for()
        for away in ("panel", "reload"):
            if away == "panel":
                await page.get_by_role("link", name="History").click()
                await page.get_by_role("heading", name="History").wait_for()
                await page.get_by_role("link", name="Create").click()
            else:
                await page.reload()
            await expect(page.get_by_label("caption")).to_have_value(SCENES_CAPTION)
            await expect(page.get_by_label("Pictures", exact=True)).to_have_value("1")
            await page.locator("ul.pictures img").first.wait_for()
            await page.get_by_text("knobs").click()
            await expect(page.get_by_label("steps", exact=True)).to_have_value("3")

    in_browser(served, work)


def test_a_job_is_followed_on_where_nobody_answered_for_a_while_and_its_end_is_spoken(served: Served) -> None:
    asked = list[str]()

    async def away(route: Route) -> None:
        await route.fulfill(status=502, body="a proxy, in the place of the service")

    async def once(route: Route) -> None:
        asked.append(route.request.url)
        await (away(route) if len(asked) == 1 else route.fallback())

    async def work(page: Page) -> None:
        await page.get_by_label("Model").select_option("perlin")
        await page.get_by_label("Pictures", exact=True).fill("1")
        await page.route("**/events", away)
        await page.route(re.compile(r"/api/jobs/[0-9a-f]{16}$"), once)
        await page.get_by_role("button", name="Draw").click()
        await expect(page.get_by_role("status").filter(has_text="done: 1 picture")).to_be_attached()
        assert len(asked) > 1 and await page.get_by_text("It is tried again").count() == 0

    in_browser(served, work, expected="502")
