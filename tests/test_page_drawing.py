"""Draw, Edit and the grid, in a browser: a stroke becomes a picture, a mask keeps the rest, a table fills."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from browsing import PATIENCE, PHONE, in_browser, needs_chromium
from PIL import Image
from playwright.async_api import Locator, Page, Request, expect
from serving import SCENES_CAPTION, Served, service_at_work

from zeuxis.api.model import load
from zeuxis.api.still import layout_of
from zeuxis.catalog.build import build
from zeuxis.data.library import open_source
from zeuxis.training.checkpoint import write_model

pytestmark = needs_chromium
SMALL = {"ngf": 2, "ndf": 2, "depth": 3, "patch": 16}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    runs = tmp_path_factory.mktemp("runs")
    for name, data in (("edges", "scenes | edges"), ("coloured", "scenes | layout")):
        system = build("pix2pix", open_source(data, 32).spec, dict(SMALL)).eval()
        write_model(runs / name / "model", system, {"data": data})
    layouts = build("spade", open_source("scenes", 32).spec, {"ngf": 1, "nz": 4, "doublings": 3, "hidden": 4, "ndf": 4})
    write_model(runs / "layouts" / "model", layouts.eval(), {"data": "scenes"})
    with service_at_work(runs) as made:
        yield made


async def stroke(page: Page, on: Locator, *points: tuple[float, float]) -> None:
    """A stroke through ``points``, as shares of what is seen of the canvas."""
    await on.scroll_into_view_if_needed()
    box = await on.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    await page.mouse.move(*places[0])
    await page.mouse.down()
    for x, y in places[1:]:
        await page.mouse.move(x, y, steps=4)
    await page.mouse.up()


def drawn(served: Served, k: int = 0) -> np.ndarray:
    """The picture that the job before ``k`` others was given."""
    job = served.service.queue.newest(k + 1)[k]
    given = job.request.get("layout") or job.request["condition"]["source"]
    with Image.open(served.folders.upload(given["upload"])) as shown:
        return np.asarray(shown.convert("RGB"))


def test_a_picture_follows_each_stroke_and_undo_takes_it_back(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Draw", exact=True).click()
        await page.get_by_label("Model").select_option("edges")
        made, view = page.locator("ul.pictures img"), page.get_by_role("application")
        await stroke(page, view, (0.2, 0.3), (0.8, 0.3))
        await made.wait_for()
        one = drawn(served)
        first = await made.get_attribute("src")
        await stroke(page, view, (0.2, 0.7), (0.8, 0.7))
        await expect(made).not_to_have_attribute("src", str(first))
        two = drawn(served)
        assert one.max() == 255 and (two > 128).sum() > 1.5 * (one > 128).sum() > 0
        second = await made.get_attribute("src")
        await page.keyboard.press("Control+z")
        await expect(made).not_to_have_attribute("src", str(second))
        assert np.array_equal(drawn(served), one)
        third = await made.get_attribute("src")
        await page.keyboard.press("Control+Shift+z")
        await expect(made).not_to_have_attribute("src", str(third))
        assert np.array_equal(drawn(served), two)

    in_browser(served, work)


def test_only_what_is_kept_stays_of_what_was_drawn(served: Served) -> None:
    before = {job.id for job in served.service.queue.newest(200)}
    uploads = set(served.folders.uploads.iterdir())

    def left() -> tuple[list[str], set[str]]:
        jobs = [job for job in served.service.queue.newest(200) if job.id not in before]
        given = {path.stem for path in set(served.folders.uploads.iterdir()) - uploads}
        return [job.id for job in jobs], given

    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Draw", exact=True).click()
        await page.get_by_label("Model").select_option("edges")
        made, view = page.locator("ul.pictures img"), page.get_by_role("application")
        await page.get_by_role("button", name="Random example").click()
        await made.wait_for()
        await page.get_by_role("button", name="Keep").click()
        (kept,) = left()[0]
        for y in (0.2, 0.4, 0.6, 0.8):
            await stroke(page, view, (0.1, y), (0.9, y))
        await expect(page.get_by_role("button", name="Keep")).to_be_enabled()
        await page.get_by_role("link", name="History").click()
        given = served.service.job(kept).request["condition"]["source"]["upload"]
        async with asyncio.timeout(PATIENCE / 1000):
            while left() != ([kept], {given}):  # the page is at it
                await asyncio.sleep(0.02)
        assert served.folders.file(kept, "0000.png").is_file()
        assert [path.name for path in served.folders.jobs.iterdir() if path.name not in before] == [kept]

    in_browser(served, work)


def test_a_layout_holds_the_colours_of_its_classes_alone_even_drawn_by_keys(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Draw", exact=True).click()
        await page.get_by_label("Model").select_option("coloured")
        await page.get_by_role("button", name="Random example").click()
        await page.locator("ul.pictures img").wait_for()
        await page.get_by_role("button", name="star").click()
        before = await page.locator("ul.pictures img").get_attribute("src")
        await page.get_by_role("application").focus()
        for key in ("+", "Enter", *["ArrowRight"] * 5, "ArrowDown", "Enter"):
            await page.keyboard.press(key)
        await expect(page.locator("ul.pictures img")).not_to_have_attribute("src", str(before))
        colours = {tuple(map(int, one)) for one in np.unique(drawn(served).reshape(-1, 3), axis=0)}
        assert (128, 0, 128) in colours and len(colours) <= 7  # the star, and no mixtures
        assert served.service.queue.newest(1)[0].kind == "paint"

    in_browser(served, work, PHONE, dark=True)


def test_a_layout_is_painted_filled_and_undone_in_edit_without_a_picture(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Edit", exact=True).click()
        await page.get_by_label("Model and method").select_option("layouts layout sample")
        await expect(page.get_by_label("A picture")).to_have_count(0)
        view = page.get_by_role("application", name="The layout, in the classes of layouts")
        await view.wait_for()
        await page.get_by_role("button", name="Edit", exact=True).click()
        await expect(page.get_by_role("alert")).to_have_text("paint the layout of layouts first")
        await page.get_by_role("button", name="star", exact=True).click()
        await page.get_by_label("Brush").fill("6")
        for x in (0.5, 0.2):  # which parts it, and a stroke that is taken back
            await stroke(page, view, (x, 0), (x, 1))
        await page.get_by_role("button", name="Undo").click()
        await page.get_by_role("button", name="Fill").click()
        await page.get_by_role("button", name="circle", exact=True).click()
        await stroke(page, view, (0.1, 0.5))
        await page.get_by_role("button", name="Edit", exact=True).click()
        await page.locator("section.side ul.pictures img").wait_for()

    in_browser(served, work)
    job = served.service.queue.newest(1)[0]
    assert job.kind == "sample" and list(job.request["condition"]) == ["layout"]
    with Image.open(served.folders.upload(job.request["condition"]["layout"]["upload"])) as shown:
        classes = layout_of(shown, (32, 32), load(str(served.runs / "layouts")).spec.layout_names, "the layout")
    names = load(str(served.runs / "layouts")).spec.layout_names
    found = [[names[k] for k in row] for row in classes[:, [2, 16, 29]].tolist()]
    assert all(row == ["circle", "star", names[0]] for row in found), found


def test_a_picture_is_edited_by_two_methods_side_by_side(served: Served, tmp_path: Path) -> None:
    (given,) = load("scenes").sample(1, 3, caption=SCENES_CAPTION, steps=6).save(tmp_path / "given.png")

    async def work(page: Page) -> None:
        await page.get_by_role("link", name="Edit", exact=True).click()
        await page.locator("main input[type=file]").set_input_files(given)
        chosen = page.get_by_label("Model and method")
        await chosen.select_option("scenes vary edit")
        await page.get_by_role("button", name="Another method").click()
        await chosen.nth(1).select_option("scenes inpaint edit")
        await page.get_by_label("caption").fill("a small red circle above a large green star at night")
        await page.get_by_role("button", name="Edit", exact=True).click()
        await expect(page.get_by_role("alert")).to_have_text("paint on the picture what is to be made")
        await page.get_by_label("Brush").fill("20")
        for y in (0.6, 0.75, 0.9):
            await stroke(page, page.get_by_role("application"), (0, y), (1, y))
        await page.get_by_role("button", name="Edit", exact=True).click()
        await page.locator("section.side ul.pictures img").nth(1).wait_for()

    in_browser(served, work)
    inpainted, varied = served.service.queue.newest(2)
    assert varied.request["mask"] is None and varied.request["strength"] == 0.6
    mask = np.asarray(Image.open(served.folders.upload(inpainted.request["mask"]["upload"])).convert("L"))
    assert set(np.unique(mask)) == {0, 255} and not mask[: len(mask) // 2].any() and mask[-len(mask) // 8 :].all()
    before, after = Image.open(given), Image.open(served.folders.file(inpainted.id, "0000.png"))
    assert np.array_equal(np.asarray(before)[:16], np.asarray(after)[:16])
    assert not np.array_equal(np.asarray(before)[16:], np.asarray(after)[16:])


def test_a_grid_of_two_settings_fills_and_says_what_fails(served: Served) -> None:
    async def work(page: Page) -> None:
        await page.get_by_label("Model").select_option("scenes")
        await page.get_by_text("A grid of two settings").click()
        await page.get_by_label("Rows", exact=True).select_option("caption")
        await page.get_by_label("Rows: values of caption").fill(f"{SCENES_CAPTION}\na purple dragon")
        await page.get_by_label("Columns", exact=True).select_option("steps")
        await page.get_by_label("Columns: values of steps").fill("2, 3")
        await page.get_by_role("button", name="Draw the grid").click()
        save = page.get_by_role("button", name="Save as one picture")
        await save.wait_for()
        assert await page.locator("table img").count() == 2
        assert await page.get_by_role("cell").filter(has_text="dragon").count() == 2
        async with page.expect_download() as download:
            await save.click()
        path = await (await download.value).path()
        with Image.open(io.BytesIO(path.read_bytes())) as saved:
            assert saved.width > 2 * 96 and saved.height > 2 * 96
        await page.get_by_label("Columns: values of steps").fill(",".join(map(str, range(1, 34))))
        await page.get_by_role("button", name="Draw the grid").click()
        await expect(page.get_by_role("alert")).to_contain_text("at most 64")

    in_browser(served, work)
    steps = [(job.request["knobs"]["steps"], job.state) for job in served.service.queue.newest(4)]
    assert steps == [(3, "failed"), (2, "failed"), (3, "done"), (2, "done")]


def test_more_jobs_than_streams_of_two_tabs_come_to_their_ends(tmp_path: Path) -> None:
    served, streamed, looked = Served(tmp_path / "runs"), set[str](), set[str]()

    def seen(request: Request) -> None:
        match urlsplit(request.url).path.split("/"):
            case ["", "api", "jobs", name, "events"]:
                streamed.add(name)
            case ["", "api", "jobs", name]:
                looked.add(name)

    async def work(page: Page) -> None:
        other = await page.context.new_page()
        await other.goto(page.url)
        for tab, many in ((page, 2), (other, 3)):  # a browser's connections are those of all its tabs
            tab.on("request", seen)
            await tab.get_by_label("Model").select_option("perlin")
            await tab.get_by_label("Pictures", exact=True).fill("1")
            for k in range(many):
                await tab.get_by_role("button", name="Draw", exact=True).click()
                await expect(tab.locator("section.job")).to_have_count(k + 1)
        with served.working():
            await expect(page.locator("ul.pictures img")).to_have_count(2)
            await expect(other.locator("ul.pictures img")).to_have_count(3)

    in_browser(served, work)
    assert len(streamed) == 3 and len(looked) == 2 and not streamed & looked
