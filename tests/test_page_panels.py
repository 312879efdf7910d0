"""Every panel of the page, in a browser: on a telephone in the dark, by keyboard, and for who hears it read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import PHONE, in_browser, needs_chromium
from playwright.async_api import Page, expect
from serving import ADDRESS, Served, png, service_at_work

pytestmark = needs_chromium

UNNAMED = """() => [...document.querySelectorAll("main input, main select, main textarea, main button, main canvas")]
  .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim() || one.title))
  .map((one) => one.outerHTML)"""
DATA = """const files = new DataTransfer();
  const canvas = new OffscreenCanvas(8, 8);
  canvas.getContext("2d").fillRect(0, 0, 4, 4);
  files.items.add(new File([await canvas.convertToBlob()], "one.png", { type: "image/png" }));"""
PASTED = f"""async (place) => {{ {DATA}
  place.dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: files, bubbles: true, cancelable: true }}));
}}"""
DROPPED_BESIDE = f"""async () => {{ {DATA}
  const kept = (kind) => !document.body.dispatchEvent(
    new DragEvent(kind, {{ dataTransfer: files, bubbles: true, cancelable: true }}));
  return kept("dragover") && kept("drop");
}}"""
WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with service_at_work(tmp_path_factory.mktemp("runs")) as made:
        yield made


def test_every_panel_fits_a_telephone_and_names_its_controls(served: Served) -> None:
    async def work(page: Page) -> None:
        links = page.get_by_role("navigation", name="Panels").get_by_role("link")
        names = await links.all_inner_texts()
        assert {"Create", "Draw", "Restore", "Compare", "Learn", "History"} <= set(names)
        for name in names:
            await links.get_by_text(name, exact=True).click()
            await expect(page.get_by_role("heading", level=1)).to_have_text(name)
            assert await page.title() == f"{name} - Zeuxis studio"
            assert await page.evaluate(UNNAMED) == [], name
            assert await page.evaluate(WIDER) <= 0, name

    in_browser(served, work, PHONE, dark=True)


def test_the_keyboard_reaches_the_panels_and_draws(served: Served) -> None:
    async def focused() -> str:
        return str(await opened.evaluate("() => document.activeElement?.textContent?.trim()"))

    async def work(page: Page) -> None:
        nonlocal opened
        opened = page
        await page.get_by_label("Model").wait_for()
        await page.keyboard.press("Tab")
        assert await focused() == "Skip to the panel"
        await page.keyboard.press("Enter")
        await page.get_by_label("Model").select_option("perlin")
        await page.get_by_label("Pictures", exact=True).fill("1")
        for _ in range(40):
            await page.keyboard.press("Tab")
            if await focused() == "Draw":
                break
        await page.keyboard.press("Enter")
        await page.locator("ul.pictures img").wait_for()

    opened: Page
    in_browser(served, work)


def test_an_enlarged_picture_keeps_the_focus_and_gives_it_back(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_label("Model").select_option("perlin")
        await page.get_by_label("Pictures", exact=True).fill("1")
        await page.get_by_role("button", name="Draw", exact=True).click()
        enlarge = page.get_by_role("button", name="Enlarge the picture of seed")
        await enlarge.focus()
        await page.keyboard.press("Enter")
        large = page.get_by_role("dialog", name="The picture, enlarged")
        await expect(large.get_by_role("button", name="Close")).to_be_focused()
        for _ in range(5):  # what lies behind it is out of reach
            await page.keyboard.press("Tab")
            assert not await page.evaluate("() => document.activeElement.matches('form *, nav *')")
        await page.keyboard.press("Escape")
        await expect(large).to_have_count(0)
        await expect(enlarge).to_be_focused()
        job = served.service.queue.newest(1)[0].id  # no two jobs' pictures are saved under one name
        save = page.get_by_role("link", name="Save", exact=True)
        await expect(save).to_have_attribute("download", f"zeuxis-{job}-0000.png")

    in_browser(served, work)


def test_a_picture_is_pasted_and_one_dropped_beside_its_place_leaves_the_page(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Restore").click()
        place = page.get_by_role("group", name="Photographs")
        await place.evaluate(PASTED)
        await expect(place.locator("figure img")).to_have_count(1)
        assert await page.evaluate(DROPPED_BESIDE)

    in_browser(served, work)


def test_an_address_that_was_cut_off_opens_its_panel(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.goto(f"{ADDRESS}/#/train/%E0%A4%A")
        await page.reload()
        await expect(page.get_by_role("heading", name="Train", level=1)).to_be_visible()
        await page.goto(f"{ADDRESS}/?token=something#/compare")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Compare")
        assert page.url == f"{ADDRESS}/#/compare"  # a token in the address is not left there to be read

    in_browser(served, work)


def test_what_was_restored_is_there_after_another_panel(served: Served, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(16, 16))

    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Restore").click()
        await page.locator("main input[type=file]").first.set_input_files(tmp_path / "photo.png")
        await page.get_by_label("Task").select_option("denoise")
        await page.get_by_role("button", name="Restore", exact=True).click()
        await page.get_by_role("link", name="Save", exact=True).wait_for()
        await page.get_by_role("link", name="Learn").click()
        await page.get_by_role("link", name="Restore").click()
        await expect(page.get_by_role("link", name="Save", exact=True)).to_have_count(1)
        await page.reload()
        await expect(page.get_by_role("link", name="Save", exact=True)).to_have_count(1)

    in_browser(served, work, (320, 640))
    assert served.service.queue.newest(1)[0].kind == "restore"


def test_learn_shows_a_method_and_compare_what_was_measured(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Learn").click()
        await page.get_by_role("link", name="VAE").first.click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("VAE")
        await page.get_by_role("link", name="Compare").click()
        await page.get_by_label("Data").select_option("fashion-mnist")
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="vae", exact=True))
        await expect(row).to_contain_text("frechet")

    in_browser(served, work)


def test_history_shows_a_job_in_short_and_opens_it(served: Served) -> None:
    jobs = [served.submit(kind="sample", model="perlin", n=n, seed=k)["id"] for k, n in enumerate([1] * 19 + [16])]

    async def work(page: Page) -> None:
        while not served.service.job(jobs[-1]).has_ended:
            await asyncio.sleep(0.02)
        await page.get_by_role("link", name="History").click()
        newest = page.locator("main section.card").first
        await expect(newest.locator("img")).to_have_count(4)
        assert await page.evaluate("() => document.documentElement.scrollHeight") < 8000
        await newest.get_by_role("button", name="and 12 more").click()
        await expect(newest.locator("img")).to_have_count(16)
        await expect(newest.locator("pre")).to_contain_text("zeuxis sample perlin -n 16")
        await newest.get_by_role("button", name="Less").click()
        await expect(newest.locator("img")).to_have_count(4)

    in_browser(served, work, PHONE)
