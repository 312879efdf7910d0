"""The papers' own sets: fetched once, going on where a broken attempt ended, and read as they are."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image

from zeuxis.data import download, library, published
from zeuxis.data.fetch_set import fetch_set
from zeuxis.data.library import open_source
from zeuxis.data.published import PUBLISHED, Archive, PublishedSet, copy_of
from zeuxis.errors import DataError, UsageError
from zeuxis.fetching import Unasked, named_by
from zeuxis.version import __version__

SIDE = 16


def png(*levels: int) -> bytes:
    """Squares of those grey levels, side by side."""
    row = np.repeat(np.array(levels, dtype=np.uint8), SIDE)
    out = io.BytesIO()
    Image.fromarray(np.tile(row, (SIDE, 1))).convert("RGB").save(out, "png")
    return out.getvalue()


def tar(members: Mapping[str, bytes], extra: Callable[[tarfile.TarFile], None] = lambda packed: None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
        extra(packed)
    return out.getvalue()


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return out.getvalue()


class Answer:
    """What a server sends: ``breaks`` ends it after that many bytes."""

    def __init__(self, body: bytes, status: int, tag: str, breaks: int | None) -> None:
        self.body, self.status = io.BytesIO(body[:breaks]), status
        self.headers = {"Content-Length": str(len(body)), "ETag": tag}

    def read(self, n: int) -> bytes:
        return self.body.read(min(n, 100))

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *of: object) -> None:
        pass


class Server:
    """Files by their address, as RFC 9110 says; what was asked of it is kept."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.breaks: int | None = None
        self.parts = ""  # what becomes of a request for a part: as it should be, "refused", or "from elsewhere"

    def open(self, request: Request, timeout: float) -> Answer:
        url, wanted = request.full_url, request.get_header("Range")
        self.asked.append((url, wanted))
        if url not in self.files:
            raise URLError("no such host")
        body = self.files[url]
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        breaks, self.breaks = self.breaks, None
        if wanted is not None and self.parts == "refused":
            raise HTTPError(url, 416, "Requested Range Not Satisfiable", Message(), None)
        if wanted is not None and self.parts == "from elsewhere":
            answer = Answer(body[100:], 206, tag, breaks)
            answer.headers["Content-Range"] = f"bytes 100-{len(body) - 1}/{len(body)}"
            return answer
        if wanted is not None and request.get_header("If-range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            return Answer(body[start:], 206, tag, breaks)
        return Answer(body, 200, tag, breaks)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    monkeypatch.setenv("ZEUXIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    made = Server()
    monkeypatch.setattr(download.urllib.request, "urlopen", made.open)
    return made


def served(server: Server, name: str, *bodies: bytes, known: bool = False) -> PublishedSet:
    """The set of that name, whose archives are ``bodies`` at its official address."""
    entry = PUBLISHED[name]
    archives = []
    for archive, body in zip(entry.archives, bodies, strict=True):
        server.files[archive.urls[0]] = body
        sha = hashlib.sha256(body).hexdigest() if known else None
        archives.append(replace(archive, sha256=sha, size=len(body) if known else None, about="little"))
    return replace(entry, archives=tuple(archives))


FACADES = {f"facades/{split}/{k}.png": png(200, 10 + k) for split in ("train", "val", "test") for k in range(4)}


@pytest.fixture
def facades(server: Server, monkeypatch: pytest.MonkeyPatch) -> PublishedSet:
    entry = served(server, "facades", tar(FACADES))
    monkeypatch.setitem(published.PUBLISHED, "facades", entry)
    return entry


# -- fetching -----------------------------------------------------------------------------------------


def test_a_set_is_fetched_once_and_opened_by_its_name(facades: PublishedSet, server: Server, command: Command) -> None:
    code, _, said = command("data", "facades", "--size", SIDE)
    assert code == 1 and "zeuxis data facades --fetch gets it (about little, from http://efrosgans" in said
    assert not server.asked
    code, out, said = command("data", "facades", "--fetch", "--size", SIDE)
    assert code == 0, said
    assert len(server.asked) == 1 and re.search(r"examples\s+4\n", out) and "the CMP Facade database" in out
    command("data", "facades", "--fetch", "--size", SIDE)
    fetch_set(facades)
    assert len(server.asked) == 1
    made = sorted(p.name for p in (copy_of(facades) or Path()).iterdir())
    assert made == ["fetched.json", "test", "train", "val"]


def test_what_is_source_and_image_is_said_by_names(facades: PublishedSet) -> None:
    fetch_set(facades)
    source = open_source("facades", SIDE)
    assert source.sides == ("labels", "photo") and source.name == "facades"

    def levels(name: str) -> tuple[int, int]:
        batch = open_source(name, SIDE).batch(torch.arange(1))
        assert batch.condition.source is not None
        return tuple(round(float((x.mean() + 1) * 127.5)) for x in (batch.condition.source, batch.image))  # type: ignore[return-value]

    assert levels("facades") == levels("facades | style:labels->photo") == (10, 200)
    assert levels("facades | style:photo->labels") == levels("facades | halves") == (200, 10)
    with pytest.raises(UsageError, match="side of 'facades' 'picture'"):
        open_source("facades | style:picture->labels", SIDE)


def test_a_broken_download_goes_on_where_it_stopped(facades: PublishedSet, server: Server) -> None:
    server.breaks = 300
    with pytest.raises(DataError, match=r"ended after 300 of .* bytes.*0\.0 MB have come, and are kept"):
        fetch_set(facades)
    fetch_set(facades)
    url = facades.archives[0].urls[0]
    assert [asked for asked in server.asked if asked[0] == url] == [(url, None), (url, "bytes=300-")]
    assert len(open_source("facades", SIDE)) == 4


@pytest.mark.parametrize("parts", ["refused", "from elsewhere"])
def test_a_part_that_cannot_be_gone_on_from_is_fetched_anew(facades: PublishedSet, server: Server, parts: str) -> None:
    """A server may have nothing behind what is held, or send another part than was asked for."""
    server.breaks, server.parts = 300, parts
    with pytest.raises(DataError, match="ended after 300"):
        fetch_set(facades)
    fetch_set(facades)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300-", None]
    assert len(open_source("facades", SIDE)) == 4


def test_a_server_is_told_who_asks(facades: PublishedSet, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    agents = list[str | None]()

    def opened(request: Request, timeout: float) -> Answer:
        agents.append(request.get_header("User-agent"))
        return server.open(request, timeout)

    monkeypatch.setattr(download.urllib.request, "urlopen", opened)
    fetch_set(facades)
    assert agents == [f"zeuxis/{__version__}"]  # torchvision's downloads of MNIST met 403 as Python-urllib


def test_what_came_from_an_address_is_not_thrown_away_for_its_mirror(facades: PublishedSet, server: Server) -> None:
    first, second = facades.archives[0].urls
    server.files[second], server.breaks = server.files[first], 300
    with pytest.raises(DataError, match=r"MB have come, and are kept"):
        fetch_set(facades)
    fetch_set(facades)
    assert server.asked == [(first, None), (first, "bytes=300-")]


def test_another_version_of_a_file_is_fetched_whole(facades: PublishedSet, server: Server) -> None:
    server.breaks = 300
    with pytest.raises(DataError, match="goes on where it stopped"):
        fetch_set(facades)
    url = facades.archives[0].urls[0]
    server.files[url] = tar({name: png(90, 90) for name in FACADES})
    fetch_set(facades)
    assert server.asked[-1] == (url, "bytes=300-")
    assert float(open_source("facades", SIDE).batch(torch.arange(1)).image.mean()) == pytest.approx(90 / 127.5 - 1)


def test_a_mirror_is_asked_where_the_first_address_does_not_answer(facades: PublishedSet, server: Server) -> None:
    first, second = facades.archives[0].urls
    server.files = {second: server.files[first]}
    fetch_set(facades)
    assert [url for url, _ in server.asked] == [first, second]
    server.files.clear()
    with pytest.raises(DataError, match=r"from http://efros.*: no such host; nor from https://people.*working folder"):
        fetch_set(replace(facades, name="maps", holds=("there",)))


@pytest.mark.parametrize("breaks", [None, 300])
def test_a_file_that_is_not_the_published_one_is_refused_and_not_kept(
    server: Server, tmp_path: Path, breaks: int | None
) -> None:
    entry = served(server, "horse2zebra", zipped({"h/trainA/1.png": png(1), "h/trainB/1.png": png(2)}), known=True)
    url = entry.archives[0].urls[0]
    server.files[url] += b"!"
    server.breaks = breaks
    if breaks:
        with pytest.raises(DataError, match="ended after"):
            fetch_set(entry)
    with pytest.raises(DataError, match=r"SHA-256|SHA256 .*, not the published"):
        fetch_set(entry)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_an_archive_that_a_person_has_is_taken(server: Server, tmp_path: Path) -> None:
    body = zipped({f"h/{part}/{k}.png": png(9) for part in ("trainA", "trainB") for k in range(2)})
    entry = served(server, "horse2zebra", body, known=True)
    (tmp_path / "work" / entry.archives[0].name).write_bytes(body)
    fetch_set(entry)
    assert not server.asked and (tmp_path / "work" / entry.archives[0].name).is_file()
    other = replace(entry, name="apple2orange")
    (tmp_path / "work" / entry.archives[0].name).write_bytes(body[:-1])
    with pytest.raises(DataError, match=r"SHA-256 .*, not the published .*: move it away"):
        fetch_set(other)


def test_nothing_is_fetched_that_only_a_file_names(facades: PublishedSet, server: Server) -> None:
    with named_by("the card of 'x'", "say it"), pytest.raises(Unasked, match="names 'facades'"):
        fetch_set(facades)
    with pytest.raises(DataError, match="zeuxis data facades --fetch"):
        open_source("facades", SIDE)
    assert not server.asked


def test_fetch_is_of_a_published_set(server: Server, command: Command) -> None:
    for words, told in (
        (("data", "--fetch"), "which set"),
        (("data", "mnist", "--fetch"), "zeuxis data mnist opens it"),
        (("data", "facade", "--fetch"), "did you mean facades"),
    ):
        code, _, said = command(*words)
        assert code == 2 and told in said


# -- archives of unknown origin -----------------------------------------------------------------------


def test_members_of_an_archive_lead_nowhere_else(server: Server, tmp_path: Path) -> None:
    hostile = {
        "facades/../../../victim.png": png(1),
        "/facades/train/abs.png": png(1),
        "facades//train/../../up.png": png(1),
        "facades/train/CON.png": png(1),
        "facades/train/a\\b.png": png(1),
        "facades/train/run.py": b"print()",
        "facades/.hidden/1.png": png(1),
    }

    def links(packed: tarfile.TarFile) -> None:
        for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "facades/train/0.png")):
            member = tarfile.TarInfo(f"facades/train/link{kind.decode()}.png")
            member.type, member.linkname = kind, target
            packed.addfile(member)

    fetch_set(served(server, "facades", tar({**FACADES, **hostile}, links)))
    outside = [p for p in tmp_path.rglob("*") if p.name in ("victim.png", "up.png", "run.py", "CON.png")]
    assert not outside
    folder = tmp_path / "cache" / "sets" / "facades"
    assert not [p for p in folder.rglob("*") if p.is_symlink() or "link" in p.name or "hidden" in p.name]
    assert len([p for p in folder.rglob("*.png") if p.name in ("0.png", "1.png", "2.png", "3.png")]) == 12


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "other"])
def test_an_archive_that_is_broken_or_another_leaves_no_copy(server: Server, harm: str) -> None:
    body = tar(FACADES)
    flipped = bytearray(body)
    flipped[len(body) // 2] ^= 0xFF
    harmed = {"cut": body[: len(body) // 2], "flipped": bytes(flipped), "empty": tar({}), "other": b"<html>"}[harm]
    entry = served(server, "facades", harmed)
    with pytest.raises(DataError, match=r"cannot be unpacked|hold no train/"):
        fetch_set(entry)
    assert copy_of(entry) is None


# -- how each is read ---------------------------------------------------------------------------------


def test_members_are_put_where_folders_are_understood(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    gopro = {
        f"GOPRO_Large/{split}/{scene}/{kind}/{k}.png": png(level + k)
        for split in ("train", "test")
        for scene in ("A", "B")
        for k in range(6)
        for kind, level in (("blur", 10), ("blur_gamma", 90), ("sharp", 200))
    }
    sidd = {
        f"SIDD_Small_sRGB_Only/Data/{scene}/{kind}_SRGB_010.PNG": png(level + scene)
        for scene in range(30)
        for kind, level in (("NOISY", 10), ("GT", 200))
    }
    div2k = [{f"DIV2K_{part}_HR/{k:04}.png": png(k) for k in range(4)} for part in ("train", "valid")]
    for name, bodies in {"gopro": [gopro], "sidd-small": [sidd], "div2k": div2k}.items():
        entry = served(server, name, *map(zipped, bodies))
        monkeypatch.setitem(published.PUBLISHED, name, entry)
        fetch_set(entry)
    for name, n in (("gopro", 24), ("sidd-small", 30)):
        sources = [open_source(name, SIDE, split) for split in ("train", "val", "test")]
        assert sum(map(len, sources)) == n
        for source in sources:
            batch = source.batch(torch.arange(len(source)))
            assert batch.condition.source is not None
            apart = (batch.image - batch.condition.source).mean((1, 2, 3)) * 127.5
            assert torch.allclose(apart, torch.full((len(source),), 190.0), atol=0.01)
    assert [len(open_source("div2k", SIDE, split)) for split in ("train", "val")] == [4, 4]
    assert open_source("div2k | bicubic:2", SIDE).spec.source_shape == (3, SIDE // 2, SIDE // 2)


def test_two_collections_go_either_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"trainA": 10, "trainB": 200, "testA": 12, "testB": 202}
    entry = served(
        server, "monet2photo", zipped({f"m/{p}/{k}.png": png(v) for p, v in parts.items() for k in range(3)})
    )
    monkeypatch.setitem(published.PUBLISHED, "monet2photo", entry)
    fetch_set(entry)
    for name, level in (("monet2photo", 202), ("monet2photo | style:photo->monet", 12)):
        source = open_source(name, SIDE, "test")
        assert not source.paired
        assert round(float((source.batch(torch.arange(1)).image.mean() + 1) * 127.5)) == level


def test_a_copy_is_found_by_what_it_holds(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "facades"
    for name, content in FACADES.items():
        place = folder.parent / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    assert len(open_source("facades", SIDE)) == 4 and not server.asked
    (folder / "test").rename(folder / "other")
    with pytest.raises(DataError, match=r"has no test/\): zeuxis data facades --fetch"):
        open_source("facades", SIDE)


def test_a_folder_of_such_a_name_that_is_no_copy_is_a_folder(server: Server, tmp_path: Path) -> None:
    for k in range(12):
        place = tmp_path / "work" / "maps" / f"{k}.png"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(png(k))
    source = library.open_source("maps", SIDE)
    assert source.spec.source_shape is None and source.name == "maps"


@pytest.mark.parametrize("entry", PUBLISHED.values(), ids=lambda entry: entry.name)
def test_each_entry_says_whence_how_large_and_under_which_licence(entry: PublishedSet) -> None:
    assert entry.licence and entry.citation and entry.homepage.startswith("http") and entry.archives and entry.holds
    for archive in entry.archives:
        assert isinstance(archive, Archive) and (archive.size is not None or archive.about)
        assert archive.name.endswith((".zip", ".tar", ".tar.gz"))
        assert all(url.startswith(("http://", "https://")) and url.endswith(archive.name) for url in archive.urls)
        assert archive.sha256 is None or re.fullmatch("[0-9a-f]{64}", archive.sha256)
