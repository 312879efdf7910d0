"""Jobs of the latent tools: walks, mixtures, directions and what is moved along them, generations."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import Command
from PIL import Image, ImageSequence
from serving import Served

from zeuxis.api.pictures import to_pil
from zeuxis.batch import Shape
from zeuxis.catalog.build import build
from zeuxis.data.library import open_source
from zeuxis.spec import DataSpec
from zeuxis.studio import latent_tasks
from zeuxis.training.checkpoint import write_model

TINY = {"nz": 8, "width": 8, "mapping": 2, "channel_base": 64, "channel_max": 8}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    runs = tmp_path_factory.mktemp("runs")
    digits = open_source("digits", 8)
    pca = build("pca", digits.spec, {"components": 8})
    pca.fit([digits.batch(torch.arange(100))])
    write_model(runs / "linear" / "model", pca.eval(), {"data": "digits"})
    styles = build("stylegan2", DataSpec(Shape(3, 16, 16)), dict(TINY), 0)
    write_model(runs / "styles" / "model", styles.eval(), {"data": "toy"})
    yield Served(runs)


@pytest.fixture(scope="module")
def digit(served: Served) -> dict[str, Any]:
    """A picture that was given, of the kind that ``linear`` encodes."""
    out = io.BytesIO()
    to_pil(open_source("digits", 8).batch(torch.tensor([7])).image[0]).save(out, "PNG")
    return {"upload": served.upload(out.getvalue())}


@pytest.fixture(scope="module")
def along(served: Served) -> str:
    """A job that found directions of ``linear``."""
    job = served.done(kind="directions", model="linear", count=2, samples=50, by="pca")
    assert job["state"] == "done", job["error"]
    return str(job["id"])


def made(served: Served, **asked: Any) -> dict[str, Any]:
    """What a job came to that is done, and whose pictures its replay makes again."""
    job = served.done(**asked)
    assert job["state"] == "done", job["error"]
    again = served.done(kind="replay", picture={"job": job["id"], "picture": len(job["result"]["pictures"]) - 1})
    assert again["state"] == "done" and again["result"]["facts"]["identical"], again["error"]
    return job


def refused(served: Served, **asked: Any) -> str:
    answer = served.client.post("/api/jobs", json=asked)
    assert answer.status_code in (400, 404, 422), answer.text
    return str(answer.json()["error"]["message"])


def test_models_say_what_they_decode(served: Served) -> None:
    by_name = {one["name"]: one for one in served.client.get("/api/models").json()}
    found = {name: by_name[name]["latents"] for name in ("linear", "styles", "cvae", "vqgan", "perlin", "scenes")}
    assert found == {
        "linear": "numbers", "styles": "styles", "cvae": "numbers", "vqgan": "entries", "perlin": None, "scenes": None,
    }  # fmt: skip
    facts = served.done(kind="describe", model="styles")["result"]["facts"]
    assert facts["latents"] == "styles" and facts["style_layers"] == 6
    assert {"webp", "gif"} <= set(served.client.get("/api/status").json()["moving"])


def test_a_walk_moves_and_its_command_makes_it_again(served: Served, digit: Any, command: Command) -> None:
    job = made(served, kind="walk", model="linear", seeds=[3], pictures=[digit], frames=4, format="gif", loop=True)
    assert job["result"]["files"] == ["0000.gif"] and job["result"]["facts"]["frames"] == 8
    answer = served.client.get(f"/api/jobs/{job['id']}/files/0000.gif")
    assert answer.headers["content-type"] == "image/gif"
    with Image.open(io.BytesIO(answer.content)) as moving:
        assert sum(1 for _ in ImageSequence.Iterator(moving)) == 8 and b"synthesised" in moving.info["comment"]
    words = shlex.split(job["result"]["command"])
    out = served.runs / "walk.gif"
    assert words[-1] == "walk.gif" and command(*words[1:-1], out)[0] == 0
    assert out.read_bytes() == answer.content
    assert out.with_suffix(".png").read_bytes() == served.file(job).read_bytes()


def test_pictures_are_mixed_by_styles_or_by_a_share(served: Served, digit: Any, command: Command) -> None:
    knobs = {"truncation": 0.7}
    by_layers = made(served, kind="mix", model="styles", rows=[1, 2], columns=[3], layers="2-4", knobs=knobs)
    assert by_layers["result"]["facts"] == {"columns": 2, "layers": [2, 5], "share": None}
    assert len(by_layers["result"]["pictures"]) == 5  # one above, and in each row its own and the mixture
    by_share = made(served, kind="mix", model="linear", row_pictures=[digit], columns=[4], share=0.25)
    for job in (by_layers, by_share):
        words = shlex.split(job["result"]["command"])
        assert command(*words[1:], "--out", served.runs / "grid.png")[0] == 0
        grid = served.client.get(f"/api/jobs/{job['id']}/files/grid.png").content
        assert (served.runs / "grid.png").read_bytes() == grid
        (served.runs / "grid.png").unlink()


def test_directions_are_found_once_and_pictures_moved_along_them(
    served: Served, digit: Any, along: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    monkeypatch.setattr(latent_tasks, "find", lambda *_, **__: found.append(1))
    again = served.done(kind="directions", model="linear", count=2, samples=50, by="pca")
    assert again["state"] == "done" and not found and again["result"]["facts"]["names"] == ["1", "2"]
    assert served.file(again).read_bytes() == served.folders.file(along, "0000.png").read_bytes()
    asked = {"kind": "move", "model": "linear", "directions": along}
    drawn = made(served, **asked, strengths={"1": 2.5, "2": 0}, n=2, seed=9, knobs={"temperature": 0.5})
    given = made(served, **asked, strengths={"2": -1.5}, picture=digit)
    still = made(served, **asked, strengths={"1": 0, "2": 0}, seed=9, knobs={"temperature": 0.5})
    assert served.file(still).read_bytes() != served.file(drawn).read_bytes()
    for job in (drawn, given, still):
        words, out = shlex.split(job["result"]["command"]), served.runs / "moved" / job["id"]
        assert command(*words[1:], "--out", out, "--no-sheet")[0] == 0
        for k in range(len(job["result"]["pictures"])):
            assert (out / f"{k:04d}.png").read_bytes() == served.file(job, k).read_bytes()


def test_generations_are_bred_from_any_that_is_there(served: Served, command: Command) -> None:
    first = made(served, kind="breed", model="cvae", n=4, seed=1, condition={"label": 9})
    assert first["result"]["facts"] == {"generation": 0, "parents": []}
    asked = {"kind": "breed", "parents": first["id"], "n": 3, "mutation": 0.5, "seed": 2}
    for _ in range(2):  # the parents stay, and may have others
        second = made(served, **asked, pick=[2, 0])
        assert second["result"]["facts"]["generation"] == 1 and second["result"]["facts"]["parents"][:2] == [
            [2, 2],
            [0, 0],
        ]
    assert Image.open(served.file(second)).tobytes() == Image.open(served.file(first, 2)).tobytes()
    words, out = shlex.split(second["result"]["command"]), served.runs / "bred"
    assert words[-1] == f"bred-{second['id']}" and command(*words[1:-1], out)[0] == 0
    for k in range(3):
        assert (out / "generation-01" / f"{k:04d}.png").read_bytes() == served.file(second, k).read_bytes()
    assert served.client.delete(f"/api/jobs/{first['id']}").status_code == 204
    third = made(served, kind="breed", parents=second["id"], pick=[1], n=2)
    assert third["result"]["facts"]["generation"] == 2 and third["request"]["model"] == "cvae"


def test_a_picture_is_projected_and_its_command_does_the_same(served: Served, command: Command) -> None:
    out = io.BytesIO()
    Image.new("RGB", (20, 16), (200, 40, 60)).save(out, "PNG")
    picture = {"upload": served.upload(out.getvalue())}
    job = made(served, kind="project", model="styles", picture=picture, steps=3, seed=4, each_layer=True)
    result = job["result"]
    assert result["facts"]["features"] == "pixels" and result["facts"]["psnr"] > 0
    assert result["facts"]["after"]["pixels"] < result["facts"]["before"]["pixels"]
    assert "its middle was brought to that" in result["notes"][0]
    latent, page = result["files"]
    words, again = shlex.split(result["command"]), served.runs / "projected.png"
    assert command(*words[1:], "--out", again)[0] == 0
    assert again.read_bytes() == served.file(job).read_bytes()
    for name, file in ((latent, again.with_suffix(".safetensors")), (page, again.with_name("projected-beside.png"))):
        assert served.client.get(f"/api/jobs/{job['id']}/files/{name}").content == file.read_bytes()
    told = made(served, kind="project", model="cvae", picture=picture, steps=1, condition={"label": "Bag"})
    assert told["result"]["command"].endswith("--seed 0 --label Bag")
    silent = served.done(kind="project", model="cvae", picture=picture, steps=1)
    assert silent["state"] == "failed" and "say which label" in silent["error"]


def test_a_projection_ends_where_it_is_not_wanted_any_more(
    served: Served, digit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, reports = latent_tasks.project, list[str]()

    def left(model: Any, picture: Any, *, report: Any, **more: Any) -> Any:
        def told(message: str, share: float | None) -> None:
            reports.append(message)
            if message.startswith("step 1 "):
                served.service.queue.cancel(served.service.queue.newest(1)[0].id)
            report(message, share)

        return plain(model, picture, report=told, **more)

    monkeypatch.setattr(latent_tasks, "project", left)
    job = served.done(kind="project", model="styles", picture=digit, steps=1000)
    assert job["state"] == "cancelled" and job["result"] is None
    assert sum(message.startswith("step ") for message in reports) == 1


def test_what_cannot_be_done_is_refused_in_words(served: Served, digit: Any, along: str) -> None:
    cvae = {"model": "cvae"}
    move = {"kind": "move", "model": "linear", "directions": along}
    bred = served.done(kind="breed", model="linear", n=2, seed=0)["id"]
    waiting = served.submit(kind="breed", model="linear")["id"]
    for asked, what in (
        ({"kind": "walk", "model": "perlin", "seeds": [1, 2]}, "decodes no latents"),
        ({"kind": "project", "model": "vqgan", "picture": digit}, "entries of a table"),
        ({"kind": "project", "model": "kl-autoencoder-scenes", "picture": digit}, "draws no latents"),
        ({"kind": "project", **cvae, "picture": digit, "each_layer": True}, "no style space"),
        ({"kind": "project", **cvae, "picture": {"upload": "0" * 16}}, "there is no upload"),
        ({"kind": "project", **cvae, "picture": digit, "steps": 1001}, "steps"),
        ({"kind": "walk", "model": "vqgan", "seeds": [1, 2]}, "entries of a table"),
        ({"kind": "walk", **cvae, "seeds": [1]}, "two latents or more"),
        ({"kind": "walk", **cvae, "seeds": [1, 2], "frames": 512}, "513 frames: at most 512"),
        ({"kind": "walk", **cvae, "seeds": [1], "pictures": [digit]}, "encodes no pictures"),
        ({"kind": "walk", "model": "linear", "pictures": [digit] * 2, "knobs": {"temperature": 1}}, "are no seeds"),
        ({"kind": "walk", "model": "linear", "pictures": [{"upload": "0" * 16}] * 2}, "there is no upload"),
        ({"kind": "walk", **cvae, "seeds": [1, 2], "condition": {"label": [1, 2, 3]}}, "3 values of label for 2"),
        ({"kind": "walk", **cvae, "seeds": [1, 2], "knobs": {"truncation": 1}}, "truncation"),
        ({"kind": "mix", **cvae, "rows": [1]}, "nobody to mix"),
        ({"kind": "mix", **cvae, "rows": list(range(9)), "columns": list(range(9))}, "99 pictures"),
        ({"kind": "mix", **cvae, "rows": [1], "columns": [2], "layers": "coarse"}, "no style space"),
        ({"kind": "mix", **cvae, "rows": [1], "columns": [2], "share": 2}, "share"),
        ({"kind": "mix", "model": "styles", "rows": [1], "columns": [2], "share": 1, "layers": "0"}, "two ways"),
        ({"kind": "directions", **cvae, "by": "sefa"}, "find directions by pca"),
        ({"kind": "directions", **cvae, "layers": "coarse"}, "no style space"),
        ({"kind": "directions", **cvae, "count": 17}, "count"),
        ({**move, "strengths": {"9": 1}}, "direction of job"),
        ({**move, "strengths": {"1": 21}}, "strengths"),
        ({**move, "strengths": {}}, "strengths"),
        ({**move, "strengths": {"1": 1}, "directions": bred}, "no job of kind directions"),
        ({**move, "strengths": {"1": 1}, "picture": digit, "n": 2}, "leave n out"),
        ({"kind": "breed"}, "give either a model"),
        ({"kind": "breed", **cvae, "pick": [1]}, "nobody is there"),
        ({"kind": "breed", "parents": bred}, "pick favourites"),
        ({"kind": "breed", "parents": bred, "pick": [2]}, "pick from 0 to 1"),
        ({"kind": "breed", "parents": bred, "pick": [1, 1]}, "picked twice"),
        ({"kind": "breed", "parents": bred, "pick": [1, 0], "n": 2}, "no place for a child"),
        ({"kind": "breed", "parents": waiting, "pick": [1]}, "is done"),
        ({"kind": "breed", "parents": along, "pick": [0]}, "no job of kind breed"),
        ({"kind": "breed", "parents": bred, "pick": [1], "knobs": {"temperature": 1}}, "leave condition and knobs"),
    ):  # fmt: skip
        assert what in refused(served, **asked), asked
    other = served.done(**{**move, "model": "styles"}, strengths={"1": 1})
    assert other["state"] == "failed" and "means nothing on another generator" in other["error"]


def test_a_film_that_cannot_be_written_here_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeuxis.api.moving.shutil.which", lambda name: None)
    said = refused(served, kind="walk", model="cvae", seeds=[1, 2], format="mp4")
    assert "ffmpeg" in said and "walk.webp" in said
    assert served.client.get("/api/status").json()["moving"] == ["webp", "gif"]
