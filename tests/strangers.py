"""Hostile records, cards, recipes, weights, pictures and shards, made by code from a seed, and what each does to the
commands.

``attempts(kind, count, seed)`` makes them; ``Trial.run`` gives one to the command that reads it and says what it did
that it must not: crash, hang past its bound, write outside its folder, contact anything, fill the memory, print a
command to the terminal. ``tools/hostile.py`` tries hundreds; a test tries a few.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file

import zeuxis as zx
from zeuxis.cli import main
from zeuxis.escaping import json_text, printable
from zeuxis.provenance.record import KEY, record

BOUND = 60  # seconds after which a command hangs
MOST_MEMORY = 1500 << 20  # bytes that a command may add
EVIL = "\x1b]0;title\x07\x1b[31m\x9b2J\u202egnp.\u2028\nforged"
PATHS = ("../../victim", "../../../victim.txt", "/dev/zero", "/proc/self/mem", "/etc/passwd", "a\0b", "con", ".", "..",
         "", "~/victim", "//host/share", "file:///etc/passwd", "x" * 5000, EVIL, "\udcff\udc80")  # fmt: skip
REMOTE = ("hub:someone/birds", "hub:someone/birds@main:train,image=photo", "fashion-mnist", "someone/model",
          "https://example.org/a.safetensors", "scenes | lora:/dev/zero", "scenes | control:../../victim")  # fmt: skip
NUMBERS = (-1, 0, 10**6, 1_500_000, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, True)
LARGE = (10**6, 1_500_000)
KINDS = ("record", "card", "recipe", "weights", "picture", "shard")
TOML = {"system": "gaussian", "about": "a", "data": "digits", "size": 8}


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


def strange(draw: random.Random) -> Any:
    """A value that nobody expects."""
    return draw.choice(
        [
            *PATHS,
            *REMOTE,
            *NUMBERS,
            None,
            [],
            {},
            [1] * 200,
            ["a"] * 3,
            {EVIL: EVIL},
            {"system": "ddpm"},
            deep(50),
            [[]],
        ]
    )


@dataclass
class Trial:
    """A hostile file and the commands that read it."""

    name: str
    write: Callable[[Path], None]  # into the folder where the commands are run
    commands: list[list[str]]
    faults: list[str] = field(default_factory=list)

    def run(self, home: Path) -> list[str]:
        """Try it in ``home``, an empty folder; returns what went wrong."""
        work = home / "in" / "work"
        work.mkdir(parents=True)
        for victim in (home / "victim", home / "victim.txt", home / "in" / "victim", home / "in" / "victim.json"):
            victim.write_text("mine")
        before = Path.cwd()
        os.chdir(work)
        try:
            self.write(work)
            for line in self.commands:
                with watched(work) as seen:
                    self._one(line, seen)
                self.faults += [f"{' '.join(line[:2])}: {fault}" for fault in seen]
        finally:
            os.chdir(before)
        left = sorted(str(p.relative_to(home)) for p in home.rglob("*") if "work" not in p.parts)
        if left != ["in", "in/victim", "in/victim.json", "victim", "victim.txt"]:
            self.faults.append(f"files outside: {left}")
        if any(p.read_text() != "mine" for p in home.rglob("victim*") if p.is_file() and "work" not in p.parts):
            self.faults.append("a file outside was overwritten")
        return self.faults

    def _one(self, line: list[str], seen: list[str]) -> None:
        out, err = io.StringIO(), io.StringIO()
        start = time.monotonic()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), hangs(), memory() as growth:
                code = main(line)
                grown = growth()
        except BaseException as error:  # noqa: BLE001  (nothing at all may come out of it)
            seen.append(f"{type(error).__name__} came out: {str(error)[:200]}")
            return
        text = out.getvalue() + err.getvalue()
        if any(c != "\n" and printable(c) != c for c in text):
            seen.append("it printed what a terminal obeys")
        if any(row.startswith("forged") for row in text.splitlines()):
            seen.append("it printed a forged line")
        if "a mistake in Zeuxis" in text or "Traceback" in text or code not in (0, 1, 2):
            seen.append(f"it crashed: {text[-300:]!r}")
        refused_late = "out of memory" in text and line[0] != "train"  # a recipe may ask for what it likes
        if refused_late or grown > MOST_MEMORY:
            seen.append(f"it filled {grown >> 20} MiB of memory: {text[-200:]!r}")
        if time.monotonic() - start > BOUND:
            seen.append(f"it took {time.monotonic() - start:.0f} s")
        if "--json" in line and code == 0:
            json.loads(out.getvalue())


STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextlib.contextmanager
def memory() -> Iterator[Callable[[], int]]:
    """Measures by how many bytes the memory of this process has grown since, at most.

    Where the system forgets no earlier peak (all but Linux), growth is seen only above that.
    """
    if STATUS.exists() and os.access(RESET, os.W_OK):
        RESET.write_text("5")  # the peak is what is taken now
        start = _kilobytes("VmRSS")
        yield lambda: 1024 * (_kilobytes("VmHWM") - start)
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield lambda: unit * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def _kilobytes(key: str) -> int:
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))


@contextlib.contextmanager
def hangs() -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(2 * BOUND)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


WATCH: list[tuple[Path, list[str]]] = []  # where may be written, and what else was done: the innermost last
WRITES = {
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.chmod": 1,
    "shutil.rmtree": 1,
}  # fmt: skip  (events of the interpreter, and how many paths begin their arguments)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not WATCH:
        return
    work, seen = WATCH[-1]
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request", "socket.sendto"):
        seen.append(f"it contacted {args[-1]!r} ({event})")
    ours = event == "subprocess.Popen" and args[0] in ("git", sys.executable)  # and the isolated reader of checkpoints
    if event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen") and not ours:
        seen.append(f"it ran {args[:2]!r}")
    paths = list(args[: WRITES.get(event, 0)])
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        paths = [args[0]]
    for path in paths:
        if not isinstance(path, (str, bytes, os.PathLike)):
            continue
        there = Path(os.path.normpath(Path.cwd() / os.fsdecode(path)))
        if event == "os.mkdir" and there.is_dir():
            continue  # asked for in case it was not there
        homes = (work, Path(os.environ["ZEUXIS_CACHE"]), Path(os.devnull), RESET)  # the last is the measure's own
        scratch = there.is_relative_to(tempfile.gettempdir()) and any(p.startswith("zeuxis-") for p in there.parts)
        if not scratch and not any(there.is_relative_to(home) for home in homes):
            seen.append(f"it wrote outside: {event} {there}")


sys.addaudithook(_audit)


@contextlib.contextmanager
def watched(work: Path) -> Iterator[list[str]]:
    """What the block does that no command may do when it reads a stranger's file."""
    seen: list[str] = []
    WATCH.append((work.resolve(), seen))
    try:
        yield seen
    finally:
        WATCH.pop()


# -- the files ----------------------------------------------------------------------------------------


def base_model(home: Path) -> Path:
    """A small trained model in ``home``: what hostile cards and weights are made from."""
    if not (home / "run").exists():
        zx.train("gaussian", data="digits", size=8, out=home / "run", quiet=True)
        zx.train("autoencoder", data="digits", size=8, out=home / "net", iterations=1, batch=4, quiet=True,
                 settings={"model.hidden": 8, "model.widths": [4], "model.latent": 2})  # fmt: skip
    return home


def records(draw: random.Random, models: Path) -> Trial:
    facts = record(
        model=str(models / "run"), system="gaussian", weights_sha256="0", recipe="gaussian", data="digits", seed=3,
        sampling={}, condition={}, device="cpu", drawn={"batch": 1, "row": 0, "threads": 1, "instructions": "x"},
    )  # fmt: skip
    way = draw.randrange(8)
    for _ in range(draw.choice([1, 1, 2, 3])):
        match way:
            case 0:
                facts["model"] = draw.choice([*PATHS, *REMOTE])
            case 1:
                facts["sampling"] = {draw.choice(["steps", "guidance", "temperature", EVIL]): strange(draw)}
            case 2:
                facts["condition"] = {draw.choice(["label", "caption", "source", "mask", EVIL]): strange(draw)}
            case 3:
                facts["prior"] = {"kind": draw.choice(["gaussian", "mixture", "flow", EVIL]), "data": strange(draw)}
                facts["model"] = str(models / "net")
            case 4:
                facts["drawn"] = {"batch": strange(draw), "row": 0, "threads": strange(draw), "instructions": EVIL}
            case 5:
                facts["size"] = [strange(draw), strange(draw)]
            case _:
                facts[draw.choice([*facts, EVIL])] = strange(draw)

    def write(work: Path) -> None:
        try:
            text = PngInfo()
            text.add_itxt(KEY, json_text(facts))
            Image.new("L", (8, 8)).save(work / "p.png", pnginfo=text)
        except (ValueError, zx.errors.ZeuxisError):
            raw(work)
        if way == 7:
            raw(work)

    def raw(work: Path) -> None:
        """A record that no program of ours would write."""
        texts = [b"[" * 100_000, b'{"format": 2', b"\xff\xfe", b'{"format": NaN}', b"9" * 10_000, EVIL.encode(), b"{}",
                 b'{"format":2,"model":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}"]  # fmt: skip
        body = b"zeuxis\0\0\0\0\0" + draw.choice(texts)
        if draw.random() < 0.3:
            body = b"zeuxis\0\1\0\0\0" + zlib.compress(bytes(50_000_000), 1)
        crc = zlib.crc32(b"iTXt" + body) ^ (draw.random() < 0.2)
        chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", crc)
        (work / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)

    again = ["sample", "--replay", "p.png", "--out", "again.png"]
    return Trial(f"record {way}", write, [["info", "p.png"], ["info", "p.png", "--json"], again])


def cards(draw: random.Random, models: Path) -> Trial:
    name = draw.choice(["run", "net"])
    way, value = draw.randrange(6), strange(draw)

    def write(work: Path) -> None:
        shutil.copytree(models / name / "model", work / "m" / "model")
        path = work / "m" / "model" / "model.json"
        card = json.loads(path.read_text())
        match way:
            case 0:
                card["config"][draw.choice([*card["config"], EVIL])] = value
            case 1:
                card["spec"][draw.choice([*card["spec"]])] = value
            case 2:
                card["data"] = draw.choice([*REMOTE, *PATHS])
            case 3:
                given = {"model": draw.choice(PATHS), "near": draw.choice(PATHS), "sha256": "0"}
                card["config"][draw.choice([*card["config"]])] = {"given": given}
            case 4:
                card["system"] = draw.choice([*PATHS, "ddpm", "stable-diffusion", "cyclegan", "scenes"])
            case _:
                card[draw.choice([*card, EVIL])] = value
        path.write_text(json.dumps(card, allow_nan=True))

    return Trial(f"card {way}", write, [
        ["info", "m"], ["info", "m", "--json"], ["sample", "m", "-n", "1", "--out", "o.png"],
        ["evaluate", "m", "--samples", "4"]])  # fmt: skip


def affordable(value: Any) -> Any:
    """``value``, or its negative: who asks for a network or a batch so large has it, with its memory and its time."""
    return -value if type(value) is int and value in LARGE else value


def recipes(draw: random.Random, models: Path) -> Trial:
    table: dict[str, Any] = {"name": "a", **TOML, "model": {}, "train": {"batch": 4}, "players": {}}
    way = draw.randrange(6)
    match way:
        case 0:
            table["name"] = draw.choice(PATHS)
        case 1:
            table["data"] = draw.choice([*REMOTE, *PATHS])
        case 2:
            table["system"] = "autoencoder"
            table["model"] = {draw.choice(["hidden", "latent", "widths", EVIL]): affordable(strange(draw))}
            table["train"] |= {"iterations": 1}
        case 3:
            key = draw.choice(["iterations", "minutes", "batch", "ema", "seed", "accumulate", "start", EVIL])
            table["train"][key] = affordable(strange(draw))
        case 4:
            table |= {"system": "autoencoder", "train": {"batch": 4, "iterations": 1}}
            table["model"] = {"hidden": 8, "widths": [4], "latent": 2}
            table["players"] = {
                draw.choice(["autoencoder", EVIL]): {draw.choice(["lr", "betas", "clip"]): strange(draw)}
            }
        case _:
            table[draw.choice([*table, EVIL])] = strange(draw)

    def write(work: Path) -> None:
        (work / "r.toml").write_text(toml(table), encoding="utf-8", errors="surrogatepass")

    look, train = ["info", "r.toml"], ["train", "r.toml"]
    lines = [look, [*look, "--json"], [*train, "--dry-run"], train, ["reproduce", "r.toml"]]
    return Trial(f"recipe {way}", write, lines)


def toml(value: dict[str, Any]) -> str:
    """A table as TOML, on one line a key; what TOML has not is left out."""

    def spelt(v: Any) -> str:
        match v:
            case bool():
                return str(v).lower()
            case dict():
                return "{" + ", ".join(f"{json.dumps(k)} = {spelt(x)}" for k, x in v.items() if x is not None) + "}"
            case list():
                return "[" + ", ".join(map(spelt, v)) + "]"
            case str():
                return json.dumps(v, ensure_ascii=False).replace("\x7f", "\\u007f")
            case _:
                return str(v)

    return "".join(f"{json.dumps(k)} = {spelt(v)}\n" for k, v in value.items() if v is not None)


def weights(draw: random.Random, models: Path) -> Trial:
    name = draw.choice(["run", "net"])
    way, seed = draw.randrange(9), draw.randrange(1 << 30)

    def write(work: Path) -> None:
        shutil.copytree(models / name / "model", work / "m" / "model")
        path = work / "m" / "model" / "model.safetensors"
        data, inner = bytearray(path.read_bytes()), random.Random(seed)
        path.unlink()
        match way:
            case 0:
                os.mkfifo(path)
            case 1:
                path.symlink_to(
                    inner.choice(["/dev/zero", "/dev/random", "/proc/self/mem", str(path), "../../../../victim"])
                )
            case 2:
                path.write_bytes(data[: inner.randrange(len(data))])
            case 3:
                for _ in range(1 + inner.randrange(20)):
                    data[inner.randrange(len(data))] = inner.randrange(256)
                path.write_bytes(data)
            case 4:
                path.write_bytes(struct.pack("<Q", inner.choice([2**63, 2**31, 10**9, 0])) + data[8:])
            case 5:
                header = json.dumps(
                    {"w": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
                ).encode()
                path.write_bytes(struct.pack("<Q", len(header)) + header)
            case 6:
                torch.save({"w": torch.ones(2)}, path)  # a pickle of that name
            case 7:
                path.mkdir()
            case _:
                tensors = load_file(models / name / "model" / "model.safetensors")
                save_file({inner.choice([EVIL, "w", n]): t.reshape(-1)[:1].clone() for n, t in tensors.items()}, path)

    draws = ["sample", "m", "-n", "1", "--out", "o.png"]
    alone = [[command, "m/model/model.safetensors"] for command in ("info", "convert", "decode")]
    return Trial(f"weights {way}", write, [draws, ["info", "m"], ["evaluate", "m"], *alone])


def picture_bytes(draw: random.Random) -> tuple[str, bytes]:
    """A picture file with something wrong, and how its name ends."""
    kind = draw.choice(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
    data = bytearray(hostile.coded(hostile.noise("RGB", draw.randrange(99)), kind))
    match draw.randrange(6):
        case 0:
            data = data[: draw.randrange(len(data))]
        case 1:
            for _ in range(1 + draw.randrange(30)):
                data[draw.randrange(min(len(data), 400))] = draw.randrange(256)
        case 2:  # four bytes of a length or a size
            at = draw.randrange(min(len(data), 200))
            data[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\1\0\0"])
        case 3:
            at = draw.randrange(len(data))
            data[at:at] = draw.randbytes(draw.choice([1, 100, 70_000]))
        case 4:
            side = draw.choice([1, 65_535, 2**31 - 1])
            many = [hostile.chunk(b"tEXt", b"a\0" + draw.randbytes(8))] * draw.choice([0, 50_000])
            squeezed = zlib.compress(bytes(draw.choice([0, 10_000_000])))
            data = bytearray(hostile.png(side, draw.choice([1, side]), *many, hostile.chunk(b"IDAT", squeezed)))
        case _:
            part = slice(*sorted(draw.randrange(len(data)) for _ in range(2)))
            data += data[part] * draw.choice([1, 1000])
    return kind.lower(), bytes(data)


def pictures(draw: random.Random, models: Path) -> Trial:
    ending, data = picture_bytes(draw)
    way = draw.randrange(4)
    name = draw.choice(["bad", "-rf", "%s", "bad\x1b[31m", "\udcff"]) + f".{ending}"

    def write(work: Path) -> None:
        (work / "p").mkdir()
        for k in range(30):
            hostile.noise("RGB", k).save(work / "p" / f"{k:02d}.png")
        path = work / "p" / name
        match way:
            case 0:
                os.mkfifo(path)
            case 1:
                path.symlink_to("/dev/zero")
            case _:
                path.write_bytes(data)

    alone = [["info", f"p/{name}"], ["encode", f"p/{name}", "--with", str(models / "net")]]
    train = ["train", "gaussian", "--data", "p", "--size", "8", "--out", "run"]
    return Trial(f"picture {way}", write, [["data", "p", "--check"], ["data", "p", "--json"], train, *alone])


def shards(draw: random.Random, models: Path) -> Trial:
    """A folder of a tar with pictures and what else it holds."""
    way, seed = draw.randrange(6), draw.randrange(1 << 30)

    def write(work: Path) -> None:
        inner, file = random.Random(seed), io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as made:
            for k in range(30):
                found = hostile.coded(hostile.noise("RGB", k), "PNG")
                at = inner.choice(PATHS[:8]) if way == 1 and k % 3 == 0 else f"{k:03d}"
                member = tarfile.TarInfo(f"{at.replace(chr(0), '')}.png")
                member.size = len(found)
                if way == 2 and k % 3 == 0:
                    member.type = inner.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
                    member.linkname, member.size = inner.choice(["/etc/passwd", "000.png", "../../victim"]), 0
                made.addfile(member, io.BytesIO(found))
                if way == 3:
                    text = inner.choice([b"[" * 50_000, b"\xff\xfe", EVIL.encode(), b'{"label": 1e400}', b"9" * 9000])
                    label = tarfile.TarInfo(f"{k:03d}.{inner.choice(['json', 'cls', 'txt'])}")
                    label.size = len(text)
                    made.addfile(label, io.BytesIO(text))
        data = bytearray(file.getvalue())
        if way == 0:
            for _ in range(1 + inner.randrange(40)):
                data[inner.randrange(len(data))] = inner.randrange(256)
        if way == 4:
            data = data[: inner.randrange(len(data))]
        if way == 5:  # the size in a header
            at = 512 * inner.randrange(len(data) // 512) + 124
            data[at : at + 12] = inner.choice([b"77777777777\0", b"\x80" + b"\xff" * 11, b"-0000000001\0", bytes(12)])
        (work / "s").mkdir()
        (work / "s" / "000.tar").write_bytes(data)

    train = ["train", "gaussian", "--data", "s", "--size", "8", "--out", "run"]
    return Trial(f"shard {way}", write, [["data", "s", "--check"], ["data", "s", "--json"], train])


MAKERS: dict[str, Callable[[random.Random, Path], Trial]] = {
    "record": records, "card": cards, "recipe": recipes, "weights": weights, "picture": pictures, "shard": shards,
}  # fmt: skip


def attempts(kind: str, count: int, seed: int, models: Path) -> Iterator[Trial]:
    """``count`` trials of a kind; the same seed makes the same."""
    draw = random.Random(f"{kind} {seed}")
    for _ in range(count):
        yield MAKERS[kind](draw, models)
