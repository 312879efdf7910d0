"""The panel Train in a browser: a recipe trained, its curves and previews, stopped and gone on with; an exercise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import PHONE, in_browser, needs_chromium
from playwright.async_api import Page, Route, expect
from serving import Served, png

from zeuxis.api.functions import train

pytestmark = needs_chromium
DROP = """async () => {
  const canvas = new OffscreenCanvas(8, 8);
  canvas.getContext("2d").fillRect(0, 0, 4, 4);
  const files = new DataTransfer();
  files.items.add(new File([await canvas.convertToBlob()], "one.png", { type: "image/png" }));
  const zone = document.querySelector("[aria-label='A folder of pictures']");
  zone.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "runs")
    with made.working(), made.training():
        yield made


def test_a_recipe_is_trained_and_diagnosed(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Train", exact=True).click()
        await page.get_by_label("Recipe", exact=True).select_option("gan-ring")
        await page.get_by_label("Iterations", exact=True).fill("3")
        await page.get_by_label("Pictures an iteration").fill("8")
        await page.get_by_label("Name of the run").fill("mine")
        await page.get_by_text("Other values of the recipe").click()
        await page.get_by_role("button", name="Change a value").click()
        await page.get_by_label("Name of value 1").fill("train.ema")
        await page.get_by_label("Value 1", exact=True).fill("0.5")
        await page.get_by_role("button", name="Train", exact=True).click()
        run = page.get_by_role("article", name="The run mine")
        await expect(run).to_contain_text("3 of 3 iterations")
        await expect(run).to_contain_text("Is it learning?")
        await expect(run.get_by_role("img", name="loss over 3 iterations")).to_be_visible()
        await expect(run.get_by_role("img", name="made after 3 iterations")).to_be_visible()
        await expect(run).to_contain_text("--set train.ema=0.5")
        await run.get_by_role("button", name="Diagnose").click()
        await expect(run).to_contain_text("mode collapse")
        await run.get_by_label("Iterations in all").fill("5")
        await run.get_by_role("button", name="Train further").click()
        await expect(run).to_contain_text("5 of 5 iterations")

    in_browser(served, work)


def test_one_is_stopped_and_goes_on(served: Served) -> None:
    async def work(page: Page) -> None:
        name = served.submit(kind="train", recipe="gan-ring", iterations=10**7, batch=8)["request"]["folder"]
        await page.goto(f"{page.url}#/train/{name}")
        run = page.get_by_role("article", name=f"The run {name}")
        await run.get_by_role("button", name="Stop").click()
        await run.get_by_role("button", name="Go on").click()
        await expect(run.get_by_role("button", name="Stop")).to_be_visible()
        await run.get_by_role("button", name="Stop").click()
        await expect(run.get_by_role("button", name="Go on")).to_be_visible()

    in_browser(served, work, PHONE, dark=True)


def test_a_run_is_removed_after_it_was_named_and_it_is_said_where_it_lies(served: Served) -> None:
    for name in ("other", "mine"):
        train("gan-ring", iterations=2, batch=8, out=served.runs / name, quiet=True)

    async def work(page: Page) -> None:
        await page.goto(f"{page.url}#/train/mine")
        run = page.get_by_role("article", name="The run mine")
        await run.get_by_role("button", name="Remove ...").click()
        await run.get_by_role("button", name="Keep it").click()
        await run.get_by_role("button", name="Remove ...").click()
        meant = run.get_by_role("group", name="Remove the run mine?")
        await expect(meant.get_by_role("button", name="Remove mine")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status").filter(has_text="mine lies in")).to_contain_text("studio/removed/mine")
        await expect(page.get_by_role("article", name="The run other")).to_be_visible()
        await expect(page.get_by_role("link", name="mine", exact=True)).to_have_count(0)

    in_browser(served, work)
    assert [path.name for path in (served.folders.home / "removed").iterdir()] == ["mine"]


def test_a_folder_of_classes_is_given(served: Served, tmp_path: Path) -> None:
    for label in ("round", "square"):
        (tmp_path / "shapes" / label).mkdir(parents=True)
        for k in range(3):
            (tmp_path / "shapes" / label / f"{k}.png").write_bytes(png())
    (tmp_path / "shapes" / "round" / "broken.png").write_bytes(b"broken")

    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Train", exact=True).click()
        await page.get_by_label("A folder of pictures; its sub-folders").set_input_files(tmp_path / "shapes")
        await expect(page.get_by_label("Pictures", exact=True)).to_contain_text("shapes (6)")
        await expect(page.get_by_text("1 not taken")).to_be_visible()
        await page.evaluate(DROP)
        await expect(page.get_by_label("Pictures", exact=True)).to_contain_text("pictures (1)")
        await page.get_by_label("Pictures", exact=True).select_option("shapes (6)")
        await page.get_by_role("button", name="Delete these pictures").click()
        await expect(page.get_by_label("Pictures", exact=True)).not_to_contain_text("shapes (6)")

    in_browser(served, work)


def test_a_list_that_comes_late_takes_nothing_away(served: Served, tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "0.png").write_bytes(png())

    async def work(page: Page) -> None:
        given, told = asyncio.Event(), list[Any]()

        async def late(route: Route) -> None:
            if route.request.method != "GET" or told:
                await route.fallback()
                return
            told.append(served.client.get("/api/datasets").json())  # as it is before anything was given
            await given.wait()
            await route.fulfill(json=told[0])

        await page.route("**/api/datasets", late)
        await page.get_by_role("link", name="Train", exact=True).click()
        await page.get_by_label("A folder of pictures; its sub-folders").set_input_files(tmp_path / "shapes")
        pictures = page.get_by_label("Pictures", exact=True)
        await expect(pictures).to_contain_text("shapes (1)")
        async with page.expect_response(
            lambda found: found.url.endswith("/api/datasets") and found.request.method == "GET"
        ):
            given.set()
        await page.evaluate(DROP)
        await expect(pictures).to_contain_text("pictures (1)")
        await expect(pictures).to_contain_text("shapes (1)")
        assert told == [[]]

    in_browser(served, work)


def test_a_methods_file_and_its_exercise(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.goto(f"{page.url}#/learn/mixture")
        await page.get_by_text("Its file", exact=True).click()
        await expect(page.get_by_role("region", name="mixture.py")).to_contain_text("class Mixture")
        await page.get_by_role("button", name="Train mixture-digits and measure it here").click()
        await expect(page.get_by_role("article")).to_contain_text("the figure to expect")

    in_browser(served, work)
