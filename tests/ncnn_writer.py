"""Writes networks of ours as ncnn's two files, in the way that its own converter spells them."""

from __future__ import annotations

import struct
from pathlib import Path

import torch

from zeuxis.nn.compact import CompactNet
from zeuxis.nn.reduced import Reduced
from zeuxis.nn.rrdb import RRDBNet

HALF = 0x01306B47


class Writer:
    """Collects the lines of a graph and the bytes of its numbers."""

    def __init__(self, half: bool = True) -> None:
        self.lines: list[str] = []
        self.names = 0
        self.numbers = b""
        self.half = half

    def layer(self, kind: str, inputs: list[str], outputs: int = 1, facts: str = "") -> list[str]:
        made = [f"b{self.names + k}" for k in range(outputs)]
        self.names += outputs
        name = f"{kind}_{len(self.lines)}"
        self.lines.append(" ".join([f"{kind:<24} {name}", str(len(inputs)), str(outputs), *inputs, *made, facts]))
        return made

    def copies(self, name: str, n: int) -> list[str]:
        return [name] if n == 1 else self.layer("Split", [name], n)

    def conv(self, name: str, layer: torch.nn.Conv2d, slope: float | None = None) -> str:
        weight = layer.weight.detach().numpy()
        active = "" if slope is None else f" 9=2 -23310=1,{slope:.6e}"
        facts = f"0={len(weight)} 1=3 4=1 5=1 6={weight.size}{active}"
        (made,) = self.layer("Convolution", [name], facts=facts)
        if self.half:
            data = weight.astype("<f2").tobytes()
            self.numbers += struct.pack("<I", HALF) + data + bytes(-len(data) % 4)
        else:
            self.numbers += struct.pack("<I", 0) + weight.astype("<f4").tobytes()
        self.numbers += layer.bias.detach().numpy().astype("<f4").tobytes()
        return made

    def write(self, folder: Path, stem: str = "net") -> Path:
        text = "\n".join(["7767517", f"{len(self.lines)} {self.names}", *self.lines]) + "\n"
        (folder / f"{stem}.param").write_text(text, encoding="ascii")
        (folder / f"{stem}.bin").write_bytes(self.numbers)
        return folder / f"{stem}.param"


def write_rrdb(network: RRDBNet, out: Writer) -> None:
    first = out.conv(*out.layer("Input", []), network.first)
    kept, h = out.copies(first, 2)
    for block in network.body:
        outer, h = out.copies(h, 2)
        for dense in block.blocks:
            *inner, last = dense.convs
            again, *given, now = out.copies(h, len(dense.convs) + 1)
            seen: list[list[str]] = [given]
            for layer in inner:
                made = out.conv(now, layer, 0.2)
                seen.append(out.copies(made, len(dense.convs) - len(seen)))
                (now,) = out.layer("Concat", [copies.pop() for copies in seen])
            (h,) = out.layer("Eltwise", [out.conv(now, last), again], facts="0=1 -23301=2,2.000000e-01,1.000000e+00")
        (h,) = out.layer("Eltwise", [h, outer], facts="0=1 -23301=2,2.000000e-01,1.000000e+00")
    (h,) = out.layer("BinaryOp", [kept, out.conv(h, network.after_body)])
    for up in network.ups:
        (h,) = out.layer("Interp", [h], facts="0=1 1=2.000000e+00 2=2.000000e+00")
        h = out.conv(h, up, 0.2)
    out.conv(out.conv(h, network.fine, 0.2), network.last)


def write_compact(network: CompactNet | Reduced, out: Writer) -> None:
    inner = network.network if isinstance(network, Reduced) else network
    assert isinstance(inner, CompactNet)
    (given,) = out.layer("Input", [])
    beside, h = out.copies(given, 2)
    for layer in inner.layers:
        if isinstance(layer, torch.nn.Conv2d):
            h = out.conv(h, layer)
        else:
            (h,) = out.layer("PReLU", [h], facts=f"0={len(layer.weight)}")
            out.numbers += layer.weight.detach().numpy().astype("<f4").tobytes()
    scale = f"{inner.scale:.6e}"
    (large,) = out.layer("PixelShuffle", [h], facts=f"0={inner.scale}")
    (copied,) = out.layer("Interp", [beside], facts=f"0=1 1={scale} 2={scale}")
    (h,) = out.layer("BinaryOp", [large, copied])
    if isinstance(network, Reduced):
        share = f"{network.scale / inner.scale:.6e}"
        out.layer("Interp", [h], facts=f"0=3 1={share} 2={share}")


def halved(network: torch.nn.Module) -> torch.nn.Module:
    """The network with the weights of its convolutions as half precision keeps them."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data = layer.weight.data.half().float()
    return network.eval()
