"""The OpenAI Images API, as the official Python client speaks it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import openai
import pytest
from PIL import Image
from serving import SCENES_CAPTION as CAPTION
from serving import Served, png, service_at_work

from zeuxis.api.model import load
from zeuxis.api.replay import likeness
from zeuxis.provenance.record import read_record
from zeuxis.studio.event_stream import STILL_THERE, kept_alive
from zeuxis.studio.recoding import cleaned
from zeuxis.studio.requests import SampleJob


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with service_at_work(tmp_path_factory.mktemp("runs")) as made:
        yield made


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url="http://127.0.0.1:7864/v1", api_key="none", http_client=served.client, max_retries=0)


def opened(text: str | None) -> Image.Image:
    assert text is not None
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"scenes", "perlin", "cvae"} <= set(names) and "judge-scenes" not in names
    assert client.models.retrieve("scenes").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-image-1")


def test_generations_are_the_models_own_pictures(client: openai.OpenAI, served: Served) -> None:
    more = {"seed": 5, "steps": 4, "guidance": 2.0}
    answer = client.images.generate(model="scenes", prompt=CAPTION, n=2, response_format="b64_json", extra_body=more)
    assert answer.data is not None and len(answer.data) == 2 and answer.output_format == "png"
    alone = load("scenes").sample(2, 5, caption=CAPTION, steps=4, guidance=2.0)
    for k, image in enumerate(answer.data):
        assert likeness(opened(image.b64_json), alone[k]).identical
        assert image.model_dump()["seed"] == 5 + k and "--replay" in image.model_dump()["replay"]
    assert "zeuxis sample scenes -n 2 --seed 5" in answer.data[0].model_dump()["command"]


def test_a_label_is_a_prompt_and_an_address_is_given_where_it_is_asked_for(
    client: openai.OpenAI, served: Served
) -> None:
    answer = client.images.generate(
        model="cvae", prompt="9", response_format="url", quality="standard", user="me", size="auto"
    )
    assert answer.data is not None and answer.data[0].url is not None
    found = served.client.get(answer.data[0].url)
    assert found.status_code == 200 and Image.open(io.BytesIO(found.content)).format == "PNG"


def test_streamed_pictures_come_unfinished_first(client: openai.OpenAI) -> None:
    stream = client.images.generate(
        model="scenes", prompt=CAPTION, stream=True, partial_images=2, extra_body={"seed": 5, "steps": 12}
    )
    events = list(stream)
    assert events[-1].type == "image_generation.completed" and events[-1].usage.total_tokens == 0
    assert all(event.type == "image_generation.partial_image" for event in events[:-1])
    whole = opened(events[-1].b64_json)
    assert whole.size == (32, 32) and events[-1].size == "32x32"
    assert all(opened(event.b64_json).size == whole.size for event in events)


def test_an_edit_hands_its_pictures_and_its_mask_over(client: openai.OpenAI, served: Served) -> None:
    source, mask = png(32, 32), png(32, 32, "RGBA")
    with pytest.raises(openai.BadRequestError) as refused:  # no model that ships is given pictures, and says so itself
        client.images.edit(
            model="scenes", image=[("a.png", source), ("b.png", source)], mask=("m.png", mask), prompt=CAPTION,
            size="32x32", extra_body={"steps": 4, "knobs": {"guidance": 2}},
        )  # fmt: skip
    assert "'scenes' is not conditioned on a " in str(refused.value)
    job = served.service.queue.newest(1)[0]
    uploads = [one["upload"] for one in job.request["condition"]["source"]["parts"]]
    assert (
        len(uploads) == 2 and job.request["knobs"] == {"steps": 4, "guidance": 2.0} and job.request["prompt"] == CAPTION
    )
    for name, given in ((uploads[0], source), (job.request["condition"]["mask"]["upload"], mask)):
        assert likeness(Image.open(served.folders.upload(name)), Image.open(io.BytesIO(given))).identical
    with pytest.raises(openai.BadRequestError, match="not conditioned on a source"):
        client.images.create_variation(model="perlin", image=("a.png", source), n=1)
    assert served.service.queue.newest(1)[0].request["condition"]["source"]["upload"] not in uploads


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.images.generate(model="no-such-model", prompt="")
    assert unknown.value.code == "not_found"
    for more, param in (
        ({"background": "transparent"}, "background"),
        ({"output_format": "webp"}, "output_format"),
        ({"n": 11}, "n"),
        ({"extra_body": {"no_such_field": 1}}, "no_such_field"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.generate(model="scenes", prompt=CAPTION, **more)  # type: ignore[call-overload]
        assert refused.value.param == param and refused.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="obeys no text"):
        client.images.generate(model="perlin", prompt="a cat")
    with pytest.raises(openai.BadRequestError, match="no PNG, JPEG or WebP"):
        client.images.edit(model="scenes", image=("a.png", b"no picture"), prompt=CAPTION)


def test_no_memory_is_503(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **settings: object) -> None:
        raise MemoryError

    monkeypatch.setattr("zeuxis.api.model.Model.draw", full)
    with pytest.raises(openai.InternalServerError) as failed:
        client.images.generate(model="perlin", prompt="")
    assert failed.value.status_code == 503 and failed.value.code == "out_of_memory"


def test_a_picture_carries_its_record(client: openai.OpenAI, tmp_path: object, served: Served) -> None:
    answer = client.images.generate(model="perlin", prompt="", extra_body={"seed": 3})
    assert answer.data is not None and answer.data[0].b64_json is not None
    path = served.runs / "one.png"
    path.write_bytes(base64.b64decode(answer.data[0].b64_json))
    assert read_record(path)["seed"] == 3


@pytest.mark.parametrize("version", ["2.3", "2.4"])  # of ASGI: how a server tells that the client has left
def test_a_client_that_leaves_a_stream_cancels_its_job_and_no_other(tmp_path: Path, version: str) -> None:
    served = Served(tmp_path / "runs")
    other = served.service.submit(SampleJob(model="perlin"))
    body = json.dumps({"model": "perlin", "prompt": "", "stream": True}).encode()
    headers = {"host": "127.0.0.1:7864", "content-type": "application/json", "content-length": str(len(body))}
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": version}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "root_path": "", "path": "/v1/images/generations", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7864),
    }  # fmt: skip
    given: list[dict[str, object]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, object]:
        return given.pop() if given else {"type": "http.disconnect"}

    async def send(message: object) -> None:
        if version != "2.3":
            raise OSError

    asyncio.run(served.app(scope, receive, send))
    mine, _ = served.service.queue.newest(2)
    assert mine.state == "cancelled" and served.service.job(other.id).state == "queued"


def test_who_waits_when_the_service_ends_is_told_and_the_job_goes_on(tmp_path: Path) -> None:
    served = Served(tmp_path / "runs")
    served.service.is_ending = lambda: True
    for more in ({"stream": True}, {}):
        answer = served.client.post("/v1/images/generations", json={"model": "perlin", "prompt": "", **more})
        assert answer.status_code == (200 if more else 503) and "goes on with its next start" in answer.text
        job = served.service.queue.newest(1)[0]
        assert job.state == "queued"
        assert served.client.get(f"/api/jobs/{job.id}/events").text == ""


def test_a_stream_says_that_it_is_there_while_its_job_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def parts() -> AsyncIterator[str | None]:
        for part in (None, "a", None, None, "b"):
            yield part

    async def heard() -> list[str]:
        return [part async for part in kept_alive(parts())]

    assert asyncio.run(heard()) == ["a", "b"]
    monkeypatch.setattr("zeuxis.studio.event_stream.ALIVE", 0.0)
    assert asyncio.run(heard()) == [STILL_THERE, "a", STILL_THERE, STILL_THERE, "b"]


def test_pictures_are_coded_beside_the_loop(
    served: Served, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[bool]()

    def watched(content: bytes) -> bytes:
        try:
            asyncio.get_running_loop()
            seen.append(False)
        except RuntimeError:  # none runs in this thread
            seen.append(True)
        return cleaned(content)

    monkeypatch.setattr("zeuxis.studio.service.cleaned", watched)
    with pytest.raises(openai.BadRequestError):
        client.images.edit(model="perlin", image=("a.png", png()), mask=("m.png", png()), prompt="")
    with pytest.raises(openai.BadRequestError):
        client.images.create_variation(model="perlin", image=("a.png", png()))
    picture = base64.b64encode(png()).decode()
    served.client.post("/sdapi/v1/img2img", json={"init_images": [picture], "prompt": ""})
    assert seen == [True] * 4
