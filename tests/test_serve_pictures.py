"""Jobs that are given pictures: restored, translated, edited, by small runs of random weights."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Iterator

import numpy as np
import openai
import pytest
from conftest import Command
from PIL import Image
from restorers import UNET, built
from serving import Served, png

from zeuxis.api.model import load
from zeuxis.api.replay import likeness
from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.provenance.record import read_record
from zeuxis.spec import DataSpec
from zeuxis.training.checkpoint import write_model

SMALL = {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0, "identity": 0.0}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    runs = tmp_path_factory.mktemp("runs")
    for name, channels in (("of-one", 3), ("of-two", 6)):
        facts = DataSpec(Shape(3, 32, 32), source_shape=Shape(channels, 32, 32), provides=frozenset({"source"}))
        write_model(runs / name / "model", build("cyclegan", facts, dict(SMALL)).eval(), {})
    write_model(runs / "enlarger" / "model", built("sr-resnet", 2, blocks=1, width=4).eval(), {"data": "x | bicubic:2"})
    palette = built("palette", network=UNET, condition="mask", steps=2)
    write_model(runs / "painter" / "model", palette.eval(), {"data": "scenes | strokes:3"})
    yield Served(runs)


def test_photographs_are_enlarged(served: Served) -> None:
    refs = [{"upload": served.upload(png(12, 10))} for _ in range(2)]
    job = served.done(kind="restore", model="enlarger", pictures=refs)
    assert job["state"] == "done", job["error"]
    assert [(p["width"], p["height"]) for p in job["result"]["pictures"]] == [(24, 20)] * 2
    assert read_record(served.file(job, 1))["system"] == "restorer"
    assert job["result"]["command"].startswith("zeuxis restore ") and "--model" in job["result"]["command"]
    refused = served.client.post(
        "/api/jobs", json={"kind": "restore", "model": "enlarger", "pictures": refs, "task": "inpaint"}
    )
    assert refused.status_code == 400 and "mask" in refused.json()["error"]["message"]


def test_a_part_is_painted_in_where_the_mask_is_light(served: Served) -> None:
    marks = np.zeros((16, 16), np.uint8)
    marks[3:9, 5:12] = 255
    out = io.BytesIO()
    Image.fromarray(marks).save(out, "PNG")
    given = png(16, 16)
    picture, mask = {"upload": served.upload(given)}, {"upload": served.upload(out.getvalue())}
    job = served.done(kind="restore", model="painter", pictures=[picture], task="inpaint", mask=mask)
    assert job["state"] == "done", job["error"]
    one, other = np.asarray(Image.open(io.BytesIO(given))), np.asarray(Image.open(served.file(job)))
    assert np.array_equal(one[marks == 0], other[marks == 0]) and not np.array_equal(one, other)


def test_a_picture_is_translated_at_its_own_proportions(served: Served, command: Command) -> None:
    picture = {"upload": served.upload(png(48, 32))}
    job = served.done(kind="translate", model="of-one", pictures=[picture], invert=True, seed=3)
    assert job["state"] == "done", job["error"]
    made = job["result"]["pictures"][0]
    assert (made["width"], made["height"]) == (48, 32)
    code, _, _ = command(*shlex.split(job["result"]["command"])[1:], "--out", served.runs / "again.png", "--no-sheet")
    assert code == 0 and (served.runs / "again.png").read_bytes() == served.file(job).read_bytes()


def test_openai_edits_and_the_web_uis_img2img_give_the_models_picture(served: Served, command: Command) -> None:
    given = png(32, 32)
    client = openai.OpenAI(
        base_url="http://127.0.0.1:7864/v1", api_key="none", http_client=served.client, max_retries=0
    )
    with served.working():
        answer = client.images.edit(
            model="of-one", image=("a.png", given), prompt="", size="32x32", extra_body={"seed": 3}
        )
        two = client.images.edit(
            model="of-two", image=[("a.png", given), ("b.png", given)], prompt="", extra_body={"seed": 3}
        )
        sent = {"init_images": [base64.b64encode(given).decode()], "seed": 3}
        sent |= {"override_settings": {"sd_model_checkpoint": "of-one"}}  # type: ignore[dict-item]
        other = served.client.post("/sdapi/v1/img2img", json=sent).json()["images"][0]
    shown = Image.open(io.BytesIO(given))
    alone = load(served.runs / "of-one").sample(1, 3, source=shown)[0]
    assert answer.data is not None and answer.data[0].b64_json is not None
    for text in (answer.data[0].b64_json, other):
        assert likeness(Image.open(io.BytesIO(base64.b64decode(text))), alone).identical
    both = load(served.runs / "of-two").sample(1, 3, source=[[shown, shown]])[0]
    assert two.data is not None and two.data[0].b64_json is not None
    assert likeness(Image.open(io.BytesIO(base64.b64decode(two.data[0].b64_json))), both).identical
    words = shlex.split(two.data[0].model_dump()["command"])
    assert command(*words[1:], "--out", served.runs / "two.png")[0] == 0
    assert likeness(Image.open(served.runs / "two.png"), both).identical
    words = shlex.split(two.data[0].model_dump()["replay"])
    assert command(*words[1:], "--out", served.runs / "replayed.png")[0] == 0
    assert (served.runs / "replayed.png").read_bytes() == base64.b64decode(two.data[0].b64_json)
