"""The panel of latents in a browser: a slider moves the picture, and favourites have children."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from browsing import PHONE, in_browser, needs_chromium
from playwright.async_api import Page, expect
from serving import Served, png, service_at_work

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with service_at_work(tmp_path_factory.mktemp("runs")) as made:
        yield made


async def opened(page: Page, tool: str) -> None:
    await page.get_by_role("link", name="Latent").click()
    await page.get_by_label("Model", exact=True).select_option("cvae")
    await page.get_by_role("button", name=tool, exact=True).click()


def test_a_slider_moves_the_picture_and_only_what_is_kept_stays(served: Served) -> None:
    async def work(page: Page) -> None:
        await opened(page, "Directions")
        await page.get_by_label("How many").fill("2")
        await page.get_by_role("button", name="Find directions").click()
        shown = page.get_by_alt_text("the picture, moved along the directions")
        first = await shown.get_attribute("src")
        await page.get_by_role("slider", name="direction 2").focus()
        for _ in range(12):
            await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("spinbutton", name="direction 2")).to_have_value("1.2")
        await expect(page.get_by_label("What follows")).to_have_attribute("aria-busy", "false")
        await expect(shown).not_to_have_attribute("src", str(first))
        await page.get_by_role("button", name="Keep").click()
        await expect(page.get_by_label("A job").last.locator("pre")).to_contain_text("directions.safetensors:2*1.2")
        await page.get_by_role("slider", name="direction 1").fill("-3")
        await expect(page.get_by_label("What follows")).to_have_attribute("aria-busy", "false")
        await page.get_by_role("link", name="History").click()
        while [job.kind for job in served.service.queue.newest(50)].count("move") > 1:  # the page is at it
            await asyncio.sleep(0.02)

    in_browser(served, work, PHONE)


def test_a_picture_is_projected_by_steps_that_can_be_stopped(served: Served) -> None:
    async def work(page: Page) -> None:
        await opened(page, "Project")
        await page.get_by_role("button", name="Project", exact=True).last.click()
        await page.get_by_label("label").select_option("Sandal")
        await page.get_by_role("button", name="Project", exact=True).last.click()
        await expect(page.get_by_role("alert")).to_have_text("give a picture to look for")
        picture = {"name": "a.png", "mimeType": "image/png", "buffer": png(28, 28)}
        await page.get_by_label("The picture that is looked for").locator("input[type=file]").set_input_files(picture)
        await page.get_by_alt_text("given, 28 by 28").wait_for()
        await page.get_by_label("Steps").fill("2")
        await page.get_by_role("button", name="Project", exact=True).last.click()
        first = page.get_by_label("A job").last
        await expect(first.get_by_text("dB from the picture")).to_be_visible()
        await expect(first.locator("pre")).to_contain_text("--steps 2")
        await expect(first.get_by_role("link", name="Save project-0000.safetensors")).to_be_visible()
        await page.get_by_label("Steps").fill("1000")
        await page.get_by_role("button", name="Project", exact=True).last.click()
        await page.get_by_label("A job").first.get_by_role("button", name="Stop").click()
        await expect(page.get_by_text("stopped")).to_be_visible()

    in_browser(served, work)
    stopped, done = [job for job in served.service.queue.newest(50) if job.kind == "project"]
    assert (stopped.state, done.state) == ("cancelled", "done") and done.request["condition"] == {"label": "Sandal"}


def test_favourites_have_children_of_the_class_that_was_chosen(served: Served) -> None:
    async def work(page: Page) -> None:
        await opened(page, "Breed")
        await page.get_by_label("label").select_option("Sandal")
        await page.get_by_label("Pictures of a generation").fill("4")
        await page.get_by_role("button", name="Begin").click()
        await page.get_by_role("button", name="Picture 2", exact=True).click()
        await page.get_by_role("button", name="Picture 1", exact=True).click()
        await page.get_by_role("button", name="Breed from 1, 2").click()
        await expect(page.get_by_text("stays: 2")).to_be_visible()
        await expect(page.get_by_role("button", name="Picture 3, of")).to_be_visible()
        await page.get_by_role("navigation", name="Generations").get_by_role("button", name="0").click()
        await expect(page.get_by_role("button", name="Picture 0", exact=True)).to_be_visible()

    in_browser(served, work)
    bred = [job for job in served.service.queue.newest(50) if job.kind == "breed"]
    assert [job.request["pick"] for job in bred] == [[2, 1], []] and bred[1].request["condition"] == {"label": "Sandal"}
