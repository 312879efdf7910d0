"""Who is let in, and what is taken: on every route that the app has, by every method, and with names that mean harm."""

from __future__ import annotations

import errno
import importlib
import io
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from conftest import Command
from hostile import chunk
from PIL import Image, ImageCms
from serving import ADDRESS, Served, ask, png
from starlette.testclient import TestClient

from zeuxis.api.replay import likeness
from zeuxis.data.deep_png import is_deep, read_deep
from zeuxis.data.picture import MOST_PROFILE
from zeuxis.errors import UsageError
from zeuxis.provenance.png_rows import PngRows
from zeuxis.studio.limits import MOST_PIXELS
from zeuxis.studio.recoding import cleaned, not_kept
from zeuxis.studio.requests import SampleJob

serving = importlib.import_module("zeuxis.cli.serve")  # the package has the command under that name
TOKEN = "a-token-that-nobody-guesses"
SECRET = "the content of a file that is nobody's business"
UP = (
    "../secret", "../../secret", "../../../secret", "..\\secret", "..\\..\\secret", "....//secret", "..../secret",
    "./../secret", "a/../../secret", "/etc/passwd", "//etc/passwd", "/../secret", "\\etc\\passwd", "C:\\secret",
    "C:/secret", "\\\\host\\share\\secret", "file:///etc/passwd", "http://127.0.0.1/secret",
    "https://example.org/x.png",
    "ftp://example.org/x", "~/secret", "~root/secret", "$HOME/secret", "%HOME%\\secret", "`id`", "$(id)", ";id", "|id",
    "secret\0", "secret\0.png", "\0", "../secret\0.png", "%00", "%2e%2e%2fsecret", "%2e%2e/secret", "..%2fsecret",
    "..%5csecret", "%252e%252e%252fsecret", "%c0%ae%c0%ae/secret", "..%c0%afsecret", "%uff0e%uff0e%u2215secret",
    "．．／secret", "..∕secret", "‥/secret", "\u202esecret", "secret\n", "secret\r\nX-Evil: 1",
    "link", "link/secret",
    "studio", "studio/jobs.sqlite", "studio/../secret", "jobs.sqlite", ".", "..", "...", " ", "", "con", "nul",
    "aux.png",
    "secret.", "secret ", "secret:stream", "secret::$DATA", "*", "?", "[a-z]*", "runs", "x" * 5000,
    "scenes | lora:../secret", "scenes | control:../secret", "__class__", "{0}", "<script>alert(1)</script>",
    "' OR 1=1 --", "0000.png/../../../secret", "model.json", "scenes/model.json", "scenes/../cvae",
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    (home / "secret").write_text(SECRET)
    runs = home / "runs"
    runs.mkdir()
    (runs / "secret").write_text(SECRET)
    (runs / "link").symlink_to(home)
    yield Served(runs, most_body=1 << 20)


def routes(served: Served) -> list[tuple[str, str]]:
    """Every route of the app by every method that it has, and by those that it has not."""
    methods = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE")
    paths = [*served.app.openapi()["paths"], "/", "/assets/{name}", "/api/openapi.json", "/no/such/route"]
    filled = [path.replace("{", "").replace("}", "") for path in paths]
    assert len(filled) > 30
    return [(method, path) for path in filled for method in methods]


def test_a_host_or_an_origin_from_elsewhere_is_refused_on_every_route(served: Served) -> None:
    wrong = (
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "127.0.0.1@evil.example"},
        {"host": "192.168.0.7"},
        {"host": ""},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    )
    asked = [
        (method, path, headers, None)
        for method, path in routes(served)
        for headers in wrong
        if not ("sec-fetch-site" in headers and path == "/")  # a link leads there
    ]
    for one, answer in zip(asked, ask(served.app, asked), strict=True):
        assert answer.status == 403 and answer.headers["x-content-type-options"] == "nosniff", one
    assert served.service.queue.counts() == {}


def test_its_own_page_and_programs_without_an_origin_are_let_in(served: Served) -> None:
    for headers in (
        {},
        {"origin": ADDRESS},
        {"host": "localhost:80"},
        {"host": "[::1]:7864"},
        {"sec-fetch-site": "none"},
    ):
        assert served.client.get("/api/status", headers=headers).status_code == 200, headers


BELOW = "/lab/zeuxis"


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A service that a proxy has below a path of a host that it was told of."""
    return Served(tmp_path_factory.mktemp("below"), root=BELOW, hosts=("lab.example",), token=TOKEN)


def test_below_a_path_it_is_as_strict(below: Served) -> None:
    known = {"authorization": f"Bearer {TOKEN}"}
    own = known | {"host": "lab.example", "origin": "https://lab.example", "sec-fetch-site": "same-origin"}
    wrong = [
        own | {"origin": "https://evil.example"},
        own | {"host": "evil.example", "origin": "https://evil.example"},
        own | {"sec-fetch-site": "cross-site"},
        known | {"host": "evil.example"},
    ]
    for path in ("/api/status", f"{BELOW}/api/status"):  # as a proxy asks that strips the path, or leaves it there
        asked: list[Any] = [("GET", path, headers, None) for headers in (own, known, *wrong, {})]
        assert [answer.status for answer in ask(below.app, asked)] == [200, 200, 403, 403, 403, 403, 401], path
    away = [("GET", path, own, None) for path in (f"{BELOW}x/api/status", f"{BELOW}{BELOW}/api/status", "/lab/")]
    assert {answer.status for answer in ask(below.app, away)} == {404}


def test_below_a_path_its_addresses_and_its_cookie_say_so(below: Served) -> None:
    asked: list[Any] = [("GET", f"{path}?token={TOKEN}", {}, None) for path in (BELOW, f"{BELOW}/", "/")]
    bare, page, stripped = ask(below.app, asked)
    assert bare.status == 307 and bare.headers["location"] == f"{BELOW}/?token={TOKEN}", "addresses are relative"
    assert page.status == stripped.status == 200
    assert all(one.headers["set-cookie"].endswith(f"SameSite=Strict; Path={BELOW}") for one in (page, stripped))
    below.client.headers["authorization"] = f"Bearer {TOKEN}"
    given = below.client.post(f"{BELOW}/api/uploads", files={"picture": png()}).json()
    assert given["url"] == f"{BELOW}/api/uploads/{given['upload']}"
    assert below.client.get(given["url"]).status_code == 200
    assert below.client.get("/api/openapi.json").json()["servers"] == [{"url": BELOW}]


def test_a_root_path_is_a_path() -> None:
    assert [serving.root_path(text) for text in ("/", "/lab/zeuxis", "/lab/zeuxis/", "//lab")] == [
        "",
        BELOW,
        BELOW,
        "/lab",
    ]
    for text in ("lab", "", "/../lab", "/a//b", "/a b", "https://host/lab", "/lab?x", "/%2e%2e", "/."):
        with pytest.raises(UsageError, match="such as /lab/zeuxis"):
            serving.root_path(text)


def test_every_answer_keeps_browsers_to_this_service(served: Served) -> None:
    asked = [(method, path, {}, None) for method, path in routes(served)]
    for one, answer in zip(asked, ask(served.app, asked), strict=True):
        assert answer.status < 500, (one, answer.text)
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http:" not in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
        html = answer.headers.get("content-type", "").startswith("text/html")
        assert html == (one[:2] in (("GET", "/"), ("HEAD", "/"))), one  # the page alone
        assert one[:2] != ("HEAD", "/") or (answer.status == 200 and not answer.text)


def test_the_head_of_an_answer_is_had_without_the_rest_also_of_a_stream(served: Served) -> None:
    name = served.upload(png())
    job = served.service.queue.add("sample", {})  # whose events go on until it has ended
    plain = ("/api/status", "/api/openapi.json", "/api/nothing")
    for path in (f"/api/uploads/{name}", f"/api/jobs/{job.id}/events", *plain):
        whole = None if path.endswith("events") else served.client.get(path)
        head = served.client.head(path)
        assert head.content == b"" and head.status_code == (200 if whole is None else whole.status_code), path
        lengths = [None if one is None else one.headers.get("content-length") for one in (head, whole)]
        assert lengths[0] == lengths[1] and (lengths[0] is None) == (whole is None), path
        assert head.headers["cache-control"] == "no-store"
    served.service.queue.cancel(job.id)


def test_a_slash_too_many_is_passed_over_and_no_other_address_is_told(served: Served) -> None:
    for path in ("/api/status/", "//api/status", "/api//status//"):
        (answer,) = ask(served.app, [("GET", path, {}, None)])
        assert answer.status == 200 and json.loads(answer.text)["version"], path
    (taken,) = ask(served.app, [("POST", "//api/jobs/", {}, {"kind": "sample", "model": "no such model"})])
    assert taken.status == 404 and "no such model" in taken.text


def test_what_is_not_there_and_how_nothing_is_asked_for_is_told(served: Served) -> None:
    missing, wrong = served.client.get("/sdapi/v1/nothing"), served.client.put("/api/jobs")
    assert missing.status_code == 404 and "nothing at /sdapi/v1/nothing: GET /api/openapi.json" in missing.text
    assert wrong.status_code == 405 and "not asked for by PUT" in wrong.text and wrong.headers["allow"]


def test_off_loopback_every_route_wants_the_token(tmp_path: Path) -> None:
    served = Served(tmp_path / "runs", anywhere=True, hosts=("studio.example",), token=TOKEN)
    ignorant = ({}, {"authorization": "Bearer wrong"}, {"cookie": "zeuxis-token-7864=wrong"})
    asked = [(method, path, headers, None) for method, path in routes(served) for headers in ignorant]
    for one, answer in zip(asked, ask(served.app, asked), strict=True):
        assert answer.status == 401, one
    for headers in (
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": "Basic YW55OmEtdG9rZW4tdGhhdC1ub2JvZHktZ3Vlc3Nlcw=="},
        {"cookie": f"zeuxis-token-7864={TOKEN}"},
        {"authorization": f"Bearer {TOKEN}", "host": "192.168.0.7:7864"},
        {"authorization": f"Bearer {TOKEN}", "host": "Studio.Example:7864"},
    ):
        assert served.client.get("/api/status", headers=headers).status_code == 200, headers
    assert (
        served.client.get(
            "/api/status", headers={"authorization": f"Bearer {TOKEN}", "host": "evil.example"}
        ).status_code
        == 403
    )
    browser = TestClient(served.app, base_url=ADDRESS)
    answer = browser.get("/", params={"token": TOKEN})
    assert answer.status_code == 200 and "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert browser.get("/api/status").status_code == 200


def test_a_name_that_means_harm_finds_nothing_on_any_route(served: Served) -> None:
    assert len(UP) >= 60
    paths = [*(path for path in served.app.openapi()["paths"] if "{" in path), "/assets/{name}"]
    real = served.submit(kind="sample", model="perlin")["id"]
    asked = []
    for path in paths:
        for named in ("{name}", "{file}", "{recipe}", "{number}"):
            for spelt in {spelt for payload in UP for spelt in (quote(payload, safe=""), quote(payload, safe="%/\\"))}:
                filled = path.replace(named, spelt) if named in path else None
                if filled is not None:
                    filled = filled.replace("{name}", real).replace("{file}", "0000.png").replace("{number}", "0")
                    asked.append(("GET", filled, {}, None))
    assert len(asked) > 600
    for one, answer in zip(asked, ask(served.app, asked), strict=True):
        assert answer.status < 500, (one, answer.text)
        assert SECRET not in answer.text and "root:" not in answer.text, one
    served.client.post(f"/api/jobs/{real}/cancel")


def test_a_name_that_means_harm_in_any_field_is_no_model_and_no_picture(served: Served) -> None:
    before, jobs, others = served.service.queue.counts(), list[Any](), list[Any]()
    for payload in UP:
        jobs += [
            ("POST", "/api/jobs", {}, body)
            for body in (
                {"kind": "sample", "model": payload},
                {"kind": "sample", "model": "perlin", "size": payload or "0"},
                {"kind": "sample", "model": "scenes", "condition": {"source": payload}},
                {"kind": "sample", "model": "scenes", "condition": {"source": [payload]}},
                {
                    "kind": "sample",
                    "model": "scenes",
                    "condition": {"mask": payload, "layout": payload, "style": payload},
                },
                {"kind": "sample", "model": "scenes", "condition": {"control": {"upload": payload}}},
                {"kind": "sample", "model": "scenes", "condition": {payload: "x"}},
                {"kind": "sample", "model": "perlin", "knobs": {payload: 1}},
                {"kind": "sample", "model": "scenes", "knobs": {"sampler": payload}},
                {"kind": "describe", "model": payload},
                {"kind": "encode", "model": payload, "picture": {"upload": "0" * 16}},
                {"kind": "encode", "model": "vqgan", "picture": {"upload": payload}},
                {"kind": "encode", "model": "vqgan", "picture": {"job": payload}},
                {"kind": "replay", "picture": {"upload": payload}},
                {"kind": "restore", "model": payload, "pictures": [{"upload": "0" * 16}]},
                {"kind": "restore", "task": f"inpaint:{payload}", "pictures": [{"upload": "0" * 16}]},
                {"kind": "translate", "model": payload, "pictures": [{"upload": payload}]},
                {"kind": "train", "recipe": payload},
                {"kind": "train", "run": payload},
                {"kind": "train", "recipe": "gan-ring", "data": payload or "none"},
                {"kind": "train", "recipe": "gan-ring", "dataset": payload},
                {"kind": "train", "recipe": "gan-ring", "start": payload},
                {"kind": "train", "recipe": "gan-ring", "set": {payload: 1}},
                {"kind": "train", "recipe": "gan-ring", "set": {"train.start": payload}},
                {"kind": "evaluate", "run": payload},
                {"kind": "diagnose", "run": payload},
                {"kind": "walk", "model": payload, "seeds": [1, 2]},
                {"kind": "walk", "model": "cvae", "seeds": [1, 2], "format": payload},
                {"kind": "mix", "model": payload, "rows": [1], "columns": [2], "layers": payload},
                {"kind": "directions", "model": payload, "layers": payload},
                {"kind": "move", "model": "cvae", "directions": payload, "strengths": {payload: 1}},
                {"kind": "breed", "model": payload},
                {"kind": "breed", "parents": payload, "pick": [0]},
            )
        ]
        others += [
            ("POST", url, {}, body)
            for url, body in (
                ("/v1/images/generations", {"prompt": "", "model": payload or "none"}),
                ("/sdapi/v1/txt2img", {"override_settings": {"sd_model_checkpoint": payload or "none"}}),
                ("/sdapi/v1/options", {"sd_model_checkpoint": payload}),
                ("/sdapi/v1/img2img", {"init_images": [payload]}),
                ("/sdapi/v1/png-info", {"image": payload}),
                ("/sdapi/v1/extra-single-image", {"image": payload, "upscaler_1": payload}),
            )
        ]
    for one, answer in zip(jobs, ask(served.app, jobs), strict=True):
        assert answer.status in (400, 404, 422) and SECRET not in answer.text, (one, answer.text)
    nothing = {"info": "", "items": {}, "parameters": {}}  # of a text that happens to be base64
    for one, answer in zip(others, ask(served.app, others), strict=True):
        assert answer.status in (400, 404) or json.loads(answer.text) == nothing, (one, answer.text)
    assert served.service.queue.counts() == before


def test_a_record_that_was_forged_opens_no_model_elsewhere(served: Served, tmp_path: Path) -> None:
    from zeuxis.provenance.record import read_record, save_png

    job = served.done(kind="sample", model="perlin")
    record, shown = read_record(served.file(job)), Image.open(served.file(job))
    for name in ("../outside", str(tmp_path), "/etc", "scenes | lora:/etc/passwd", "\0", "link"):
        save_png(shown, tmp_path / "forged.png", {**record, "model": name})
        upload = served.upload((tmp_path / "forged.png").read_bytes())
        answer = served.client.post("/api/jobs", json={"kind": "replay", "picture": {"upload": upload}})
        assert answer.status_code == 404, (name, answer.text)
    for text in ({"seed": float("nan")}, {"disclosure": "\ud800"}):
        (tmp_path / "forged.png").write_bytes(with_text(json_of({**record, **text})))
        assert (
            served.client.post("/api/uploads", files={"picture": (tmp_path / "forged.png").open("rb")}).json()["record"]
            is None
        )


def json_of(record: dict[str, object]) -> bytes:
    return json.dumps(record).encode()


def with_text(text: bytes) -> bytes:
    """A PNG that carries ``text`` in the record's place."""
    whole, content = png(), b"zeuxis\0\0\0\0\0" + text
    chunk = struct.pack(">I", len(content)) + b"iTXt" + content + struct.pack(">I", zlib.crc32(b"iTXt" + content))
    return whole[:33] + chunk + whole[33:]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_coded_again_and_keeps_nothing_besides(kind: str) -> None:
    shown = Image.open(io.BytesIO(png(20, 10)))
    exif = shown.getexif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    out = io.BytesIO()
    shown.save(out, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    again = cleaned(out.getvalue())
    with Image.open(io.BytesIO(again)) as found:
        assert found.format == "PNG" and found.size == (10, 20)  # upright
        assert not found.getexif() and b"secret" not in again


def test_palettes_and_transparency_stay() -> None:
    for mode in ("P", "RGBA", "L", "LA", "1"):
        with Image.open(io.BytesIO(cleaned(png(mode=mode)))) as found, Image.open(io.BytesIO(png(mode=mode))) as before:
            assert found.mode == before.mode and likeness(found.convert("RGBA"), before.convert("RGBA")).identical


def test_the_colour_profile_stays_but_for_that_of_inks_and_one_too_large() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large = (len(profile) + MOST_PROFILE).to_bytes(4) + profile[4:] + bytes(MOST_PROFILE)
    for mode, kind, given, kept in (
        ("RGB", "JPEG", profile, profile), ("RGB", "PNG", profile, profile), ("P", "PNG", profile, profile),
        ("RGBA", "WEBP", profile, profile), ("CMYK", "JPEG", profile, None), ("RGB", "JPEG", large, None),
        ("RGB", "JPEG", None, None),
    ):  # fmt: skip
        out = io.BytesIO()
        Image.new(mode, (4, 4)).save(out, kind, icc_profile=given)
        with Image.open(io.BytesIO(cleaned(out.getvalue()))) as found:
            assert found.info.get("icc_profile") == kept, (mode, kind)


def test_colours_of_16_bits_stay_and_are_upright_and_what_is_lost_is_said(served: Served, tmp_path: Path) -> None:
    for channels in (2, 3, 4):
        deep = np.arange(24 * channels, dtype=np.uint16).reshape(4, 6, channels) * 700 + 3
        turn = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # to the right, by a quarter
        with PngRows(
            tmp_path / "deep.png", (6, 4), channels, 16, [(b"eXIf", turn), (b"tEXt", b"where\0a secret")]
        ) as out:
            out.write(deep)
        answer = served.client.post("/api/uploads", files={"picture": (tmp_path / "deep.png").open("rb")}).json()
        assert (answer["width"], answer["height"], answer["notes"]) == (4, 6, [])
        kept = served.folders.upload(answer["upload"])
        assert is_deep(kept) and b"secret" not in kept.read_bytes()
        assert np.array_equal(read_deep(kept), np.rot90(deep, -1))
    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 1)  # in interlaced rows
    rows = zlib.compress(b"\0" + bytes(range(6)))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert not not_kept(content) and read_deep(io.BytesIO(cleaned(content))).tolist() == [[[1, 515, 1029]]]
    moving = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(moving, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    answer = served.client.post("/api/uploads", files={"picture": ("a.webp", moving.getvalue())}).json()
    assert answer["notes"] == ["it moves: the first of its 3 pictures is taken"]
    assert not_kept(png()) == not_kept(png(kind="JPEG")) == []


def test_two_services_of_one_machine_keep_their_cookies_apart(tmp_path: Path) -> None:
    served = Served(tmp_path / "runs", token=TOKEN)
    for host, port in (("127.0.0.1:7864", "-7864"), ("[::1]:80", "-80"), ("localhost", "")):
        cookie = f"zeuxis-token{port}"
        (answer,) = ask(served.app, [("GET", f"/?token={TOKEN}", {"host": host}, None)])
        assert answer.headers["set-cookie"].startswith(f"{cookie}={TOKEN};")
        others = ("zeuxis-token", "zeuxis-token-7864", "zeuxis-token-7865", "zeuxis-token-80")
        asked = [("GET", "/api/status", {"host": host, "cookie": f"{name}={TOKEN}"}, None) for name in others]
        statuses = {name: one.status for name, one in zip(others, ask(served.app, asked), strict=True)}
        assert statuses == {name: 200 if name == cookie else 401 for name in others}


def test_what_is_no_picture_is_called_what_it_is(served: Served) -> None:
    for content, said in (
        (b"\0\0\0\x18ftypheic" + bytes(50), "but holds HEIC"),
        (b"", "but an empty file"),
        (b"<svg/>", "but SVG: convert it to PNG"),
        (png(kind="GIF"), "give a picture in one of these forms"),
    ):
        answer = served.client.post("/api/uploads", files={"picture": ("IMG_0001.jpg", content)})
        assert answer.status_code == 400 and said in answer.json()["error"]["message"]
    nameless = served.client.post("/api/uploads", data={"picture": "photo.jpg"})
    assert nameless.json()["error"]["message"] == "picture: give a file, under its name"
    neither = served.client.post("/api/jobs", json={"kind": "look", "picture": {}})
    assert neither.json()["error"]["message"] == "look.picture: give either upload or job"


def test_a_disk_that_is_full_is_no_mistake_of_ours(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("zeuxis.studio.folders.write_whole", full)
    answer = served.client.post("/api/uploads", files={"picture": ("a.png", png())})
    message = answer.json()["error"]["message"]
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "storage"
    assert "No space left on device" in message and "free some space" in message


def test_other_names_are_given_by_the_option_that_there_is(served: Served, command: Command) -> None:
    (answer,) = ask(served.app, [("GET", "/", {"host": "studio.example"}, None)])
    option = json.loads(answer.text)["error"]["message"].rpartition(" ")[2]
    _, told, _ = command("serve", "--help")
    assert option == "--name" and "Another name by which this machine is called" in " ".join(told.split())


def test_other_forms_bombs_and_damage_are_refused(served: Served) -> None:
    side = int(MOST_PIXELS**0.5) + 1
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + header
        + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    end = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    wrong = (
        b"", b"text", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>", png(kind="GIF"),
        png(kind="BMP"), png(kind="TIFF"), png()[:40], png(kind="JPEG")[:60], b"RIFF0000WAVE", b"PK\x03\x04../../x.png",
        bomb + end,
    )  # fmt: skip
    for content in wrong:
        answer = served.client.post("/api/uploads", files={"picture": ("../../x.png", content)})
        assert answer.status_code == 400, content[:40]
    assert served.client.post("/api/uploads", files={"picture": ("x.png", b"\0" * (1 << 20))}).status_code == 413
    kind = {"content-type": "application/json"}
    chunked = served.client.post("/api/jobs", content=iter([b" " * 70_000] * 16), headers=kind)
    assert chunked.status_code == 413


def test_more_than_a_request_may_ask_for_is_refused(served: Served) -> None:
    for more in (
        {"n": 65}, {"n": 0}, {"seed": -1}, {"seed": 2**53}, {"size": "4000"}, {"size": "2049x8"},
        {"knobs": {"steps": 1001}},
        {"knobs": {"steps": 0}}, {"knobs": {"guidance": "high"}}, {"partials": 9},
        {"prompt": "x" * 4001}, {"unknown": 1},
        {"knobs": {"no-such-knob": 1}}, {"condition": {"caption": ["a", "b", "c"]}, "n": 2},
        {"condition": {"caption": 7}},
    ):  # fmt: skip
        answer = served.client.post("/api/jobs", json={"kind": "sample", "model": "scenes", **more})
        assert answer.status_code in (400, 422), more
    for text in ("[" * 100_000, "{", "\xff", '{"kind": "sample", "model": "\\ud800"}', "NaN", "1e999"):
        answer = served.client.post(
            "/api/jobs", content=text.encode("latin-1"), headers={"content-type": "application/json"}
        )
        assert answer.status_code in (400, 422), text[:20]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"condition": {"caption": "x" * 5000}}, "condition.caption: String should have at most 4000 characters"),
        ({"condition": {"caption": ["x" * 5000]}}, "condition.caption.0: String should have at most 4000 characters"),
        ({"condition": {"label": 1.5}}, "condition.label: Input should be a valid integer, got a number with a "),
        ({"condition": {"source": {"upload": "x"}}}, "condition.source.upload: String should match pattern"),
        ({"condition": {"source": {"uplod": "x"}}}, "condition.source.uplod: Extra inputs are not permitted"),
        ({"condition": {"factors": {"a": -1}}}, "condition.factors.a: Input should be greater than or equal to 0"),
        ({"knobs": {"steps": float("nan")}}, "knobs.steps: Input should be a finite number"),
        (
            {"knobs": {"steps": None}},
            "knobs.steps: Input should be a valid boolean, a valid integer, a valid number or ",
        ),
        ({"n": "many"}, "n: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_what_is_wrong_with_a_value_that_may_be_of_several_kinds_is_told(
    served: Served, asked: dict[str, Any], said: str
) -> None:
    content = json.dumps({"kind": "sample", "model": "scenes", **asked})
    answer = served.client.post("/api/jobs", content=content, headers={"content-type": "application/json"})
    told = answer.json()["error"]
    assert answer.status_code == 422 and told["message"].startswith(f"sample.{said}")
    assert told["param"] == told["message"].partition(":")[0]


def test_json_that_was_sent_as_something_else_is_told_so(served: Served) -> None:
    for url in ("/api/jobs", "/v1/images/generations", "/sdapi/v1/txt2img"):
        for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):  # the second is what curl -d sends
            answer = served.client.post(url, content='{"prompt": ""}', headers=headers)
            assert "add the header Content-Type: application/json" in answer.json()["error"]["message"], url


def test_a_mistake_of_ours_is_answered_as_all_errors_are(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*args: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(served.service.queue, "newest", mistaken)
    client = TestClient(served.app, base_url=ADDRESS, raise_server_exceptions=False)
    answer = client.get("/api/jobs")
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal_error"
    assert (
        answer.headers["x-content-type-options"] == "nosniff"
        and "default-src" in answer.headers["content-security-policy"]
    )


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    served = Served(tmp_path / "runs", most_jobs=2)
    for _ in range(2):
        served.submit(kind="sample", model="perlin")
    for url, body in (
        ("/api/jobs", {"kind": "sample", "model": "perlin"}),
        ("/v1/images/generations", {"prompt": "", "model": "perlin"}),
        ("/sdapi/v1/txt2img", {"override_settings": {"sd_model_checkpoint": "perlin"}}),
    ):
        answer = served.client.post(url, json=body)
        assert answer.status_code == 429 and answer.headers["retry-after"] == "5"
    assert served.service.queue.counts() == {"queued": 2}


def test_a_client_that_leaves_cancels_its_job(tmp_path: Path) -> None:
    import asyncio

    from zeuxis.studio.service import ClientGone

    served = Served(tmp_path / "runs")

    async def gone() -> bool:
        return True

    job = served.service.submit(SampleJob(model="perlin"))
    with pytest.raises(ClientGone):
        asyncio.run(served.service.ended(job.id, gone))
    assert served.service.job(job.id).state == "cancelled"


def test_the_command_lets_nobody_else_in_without_a_token(command: Command, tmp_path: Path) -> None:
    for args, said in (
        (("--host", "0.0.0.0"), "give --token new"),
        (("--host", "192.168.0.7", "--token", "short"), "sixteen characters"),
        (("--port", "0"), "port"),
    ):
        code, out, error = command("serve", *args, "--runs", tmp_path)
        assert code == 2 and said in error and not out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EADDRINUSE, "in use"), "port 7864 of 127.0.0.1 is in use already"),
        (OSError(errno.EADDRNOTAVAIL, "no address"), "127.0.0.1 is no address of this machine"),
        (OSError(errno.EACCES, "denied"), "--port above 1023"),
        (OSError(errno.ENOBUFS, "no room"), "cannot listen at port 7864 of 127.0.0.1: no room"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
    ],
)
def test_why_nobody_can_listen_at_an_address_is_told(
    monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    class Taken:
        def __init__(self, *args: object) -> None:
            assert args == (socket.AF_INET, socket.SOCK_STREAM, 6)

        def __enter__(self) -> Taken:
            return self

        def __exit__(self, *args: object) -> None: ...

        def setsockopt(self, *args: object) -> None: ...

        def bind(self, address: object) -> None:
            assert address == ("127.0.0.1", 7864)
            raise error

    found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 7864))
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **settings: [found])
    monkeypatch.setattr("socket.socket", Taken)
    with pytest.raises(UsageError, match=re.escape(said)):
        serving.require_free("127.0.0.1", 7864)


def test_an_address_is_tried_before_anything_is_started_and_ctrl_c_waits_for_no_stream(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(host: str, port: int) -> None:
        raise UsageError(f"{host} {port} is taken")

    monkeypatch.setattr(serving, "require_free", taken)
    code, out, told = command("serve", "--runs", tmp_path / "runs")
    assert code == 2 and "127.0.0.1 7864 is taken" in told and not out and not (tmp_path / "runs").exists()
    ran = list[Any]()

    def run(server: Any) -> None:
        service = server.config.app.state.service
        assert not service.is_ending()
        server.should_exit = True  # as its handler of Ctrl-C has it
        ran.append((service.is_ending(), server.config.timeout_graceful_shutdown))
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "require_free", lambda host, port: None)
    monkeypatch.setattr("uvicorn.Server.run", run)
    code, out, _ = command("serve", "--runs", tmp_path)
    assert code == 0 and out.strip() == f"{ADDRESS}/" and ran[0][0] and ran[0][1] <= 10


def test_ctrl_c_ends_it_as_soon_as_its_address_is_told_though_the_shell_had_it_ignored(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(text: str) -> None:
        assert text == f"{ADDRESS}/"
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(serving, "require_free", lambda host, port: None)
    monkeypatch.setattr(serving, "say", told)
    monkeypatch.setattr("uvicorn.Server.run", lambda server: pytest.fail("Ctrl-C was lost"))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code, _, told_besides = command("serve", "--runs", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 0, told_besides
    assert not (tmp_path / "studio" / "training.lock").exists()


def test_the_server_loads_no_torch() -> None:
    script = "import sys, zeuxis.cli.serve, zeuxis.studio.app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
