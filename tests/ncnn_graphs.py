"""Tiny ncnn graphs, one or more for each kind of layer, with numbers drawn from a seed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from zeuxis.pretrained.ncnn_files import read_graph
from zeuxis.pretrained.ncnn_numbers import HALF, HELD

GIVEN = (4, 6, 8)  # channels, rows, columns of what each is given
FUSED = {0: "", 1: "", 2: "0.1", 3: "-0.2,0.3", 4: "", 5: "", 6: "0.2,0.5"}
CONSTANT = "MemoryData k 0 1 k 0=1 1=1 2=4"
GRAPHS: dict[str, list[str]] = {
    "convolution": ["Convolution c 1 1 x y 0=5 1=3 4=1 5=1 6=180"],
    "convolution without biases or borders": ["Convolution c 1 1 x y 0=5 1=3 6=180"],
    "convolution, uneven": [
        "Convolution c 1 1 x y 0=3 1=3 11=2 2=2 12=1 4=1 15=2 14=0 16=1 18=0.5 5=1 6=72 9=2 -23310=1,0.1"
    ],
    "convolution, strided": ["Convolution c 1 1 x y 0=3 1=2 3=2 5=1 6=48 31=1 -23330=4,3,4,3,3"],
    "convolution in groups": ["ConvolutionDepthWise c 1 1 x y 0=6 1=3 4=1 5=1 6=108 7=2"],
    **{
        f"convolution, activation {kind}": [
            f"Convolution c 1 1 x y 0=2 1=1 5=1 6=8 9={kind}"
            + (f" -23310={numbers.count(',') + 1},{numbers}" if numbers else "")
        ]
        for kind, numbers in FUSED.items()
    },
    "deconvolution": ["Deconvolution c 1 1 x y 0=3 1=4 3=2 4=3 5=1 6=192 9=2 -23310=1,0.1"],
    "deconvolution, uneven": ["Deconvolution c 1 1 x y 0=3 1=3 11=2 2=2 12=1 3=2 4=1 14=0 18=1 19=0 5=1 6=72"],
    "deconvolution in groups": ["DeconvolutionDepthWise c 1 1 x y 0=6 1=2 3=2 5=1 6=48 7=2"],
    "squeezed and excited": [
        "Split s 1 2 x a b",
        "Pooling p 1 1 a m 0=1 4=1",
        "InnerProduct i 1 1 m n 0=3 1=1 2=12 9=1",
        "InnerProduct j 1 1 n o 0=4 1=1 2=12 9=4",
        "Scale t 2 1 b o y 0=-233",
    ],
    "excited by a product": ["Split s 1 2 x a b", "Pooling p 1 1 a m 0=0 4=1", "BinaryOp t 2 1 b m y 0=2"],
    "relu": ["ReLU r 1 1 x y"],
    "leaky relu": ["ReLU r 1 1 x y 0=0.2"],
    "prelu": ["PReLU r 1 1 x y 0=4"],
    "prelu of one": ["PReLU r 1 1 x y 0=1"],
    "clip": ["Clip r 1 1 x y 0=-0.5 1=0.25"],
    "sigmoid": ["Sigmoid r 1 1 x y"],
    "tanh": ["TanH r 1 1 x y"],
    "swish": ["Swish r 1 1 x y"],
    "mish": ["Mish r 1 1 x y"],
    "hard sigmoid": ["HardSigmoid r 1 1 x y 0=0.3 1=0.4"],
    "hard swish": ["HardSwish r 1 1 x y"],
    "elu": ["ELU r 1 1 x y 0=0.7"],
    "gelu": ["GELU r 1 1 x y"],
    "gelu by tanh": ["GELU r 1 1 x y 0=1"],
    **{
        f"binary {kind}": ["Split s 1 2 x a b", "Sigmoid r 1 1 b c", f"BinaryOp t 2 1 c a y 0={kind}"]
        for kind in (0, 1, 2, 4, 5, 6, 7)
    },
    "division": ["Split s 1 2 x a b", "Sigmoid r 1 1 b c", "BinaryOp t 2 1 a c y 0=3"],
    "division of the other": ["Split s 1 2 x a b", "Sigmoid r 1 1 b c", "BinaryOp t 2 1 c a y 0=8"],
    "power of the other": ["Split s 1 2 x a b", "Sigmoid r 1 1 b c", "BinaryOp t 2 1 a c y 0=9"],
    "by a number": ["BinaryOp t 1 1 x y 0=1 1=1 2=0.5"],
    "from a number": ["BinaryOp t 1 1 x y 0=7 1=1 2=0.5"],
    "by a constant": [CONSTANT, "BinaryOp t 2 1 x k y 0=1"],
    "by a constant vector": ["MemoryData k 0 1 k 0=4", "BinaryOp t 2 1 x k y 0=2"],
    "by a tagged constant": [f"{CONSTANT} 21=0", "BinaryOp t 2 1 x k y 0=2"],
    "product": ["Split s 1 3 x a b c", "Eltwise t 3 1 a b c y 0=0"],
    "sum": ["Split s 1 2 x a b", "Eltwise t 2 1 a b y 0=1"],
    "weighed sum": ["Split s 1 2 x a b", "Swish r 1 1 a c", "Eltwise t 2 1 c b y 0=1 -23301=2,0.2,1.0"],
    "most": ["Split s 1 2 x a b", "Sigmoid r 1 1 a c", "Eltwise t 2 1 c b y 0=2"],
    "scale": ["Scale t 1 1 x y 0=4 1=1"],
    "batch norm": ["BatchNorm t 1 1 x y 0=4 1=0.001"],
    "concat": ["Split s 1 2 x a b", "Sigmoid r 1 1 a c", "Concat t 2 1 c b y"],
    "slices": ["Slice t 1 2 x a b -23300=2,1,-233", "PReLU r 1 1 b c 0=3", "Concat u 2 1 c a y 0=0"],
    "even slices": ["Slice t 1 2 x a b -23300=2,-233,-233 1=-3", "BinaryOp u 2 1 a b y 0=1"],
    "crop to another": ["Split s 1 2 x a b", "Convolution c 1 1 a d 0=4 1=3 6=144", "Crop t 2 1 b d y 0=1 1=1"],
    "crop along axes": ["Crop t 1 1 x y -23309=2,2,1 -23310=2,-1,-2 -23311=2,-2,-1"],
    "crop of channels": ["Crop t 1 1 x y -23309=1,1 -23310=1,3 -23311=1,0"],
    "padding": ["Padding t 1 1 x y 0=1 1=2 2=3 3=0 5=0.5"],
    "repeated": ["Padding t 1 1 x y 0=1 1=2 2=3 3=0 4=1"],
    "mirrored": ["Padding t 1 1 x y 0=1 1=2 2=3 3=0 4=2"],
    "largest of squares": ["Pooling t 1 1 x y 0=0 1=2 2=2 5=1"],
    "mean of squares": ["Pooling t 1 1 x y 0=1 1=3 2=1 5=1"],
    "nearest": ["Interp t 1 1 x y 0=1 1=3.0 2=3.0"],
    "bilinear": ["Interp t 1 1 x y 0=2 1=2.0 2=2.0"],
    "bilinear, corners": ["Interp t 1 1 x y 0=2 1=2.0 2=2.0 6=1"],
    "bicubic": ["Interp t 1 1 x y 0=3 1=2.0 2=2.0"],
    "bicubic, smaller": ["Interp t 1 1 x y 0=3 1=0.5 2=0.5"],
    "shuffle": ["PixelShuffle t 1 1 x y 0=2"],
    "shuffle by pixel": [
        "Split s 1 2 x a b",
        "Sigmoid r 1 1 a c",
        "Concat u 2 1 c b d",
        "PixelShuffle t 1 1 d y 0=2 1=1",
    ],
    "unshuffle": ["Reorg t 1 1 x y 0=2"],
    "unshuffle by pixel": ["Reorg t 1 1 x y 0=2 1=1"],
    "copies": ["Noop s 1 1 x a", "Dropout t 1 1 a b", "Sigmoid r 1 1 b y"],
}


def written(lines: list[str], folder: Path, stem: str = "net", seed: int = 0) -> Path:
    """The two files of a graph that takes ``x``, its weights in half precision; the ``.param`` is given."""
    lines = ["Input in 0 1 x", *lines]
    names = sum(int(line.split()[3]) for line in lines)
    graph = folder / f"{stem}.param"
    graph.parent.mkdir(parents=True, exist_ok=True)
    graph.write_text("\n".join(["7767517", f"{len(lines)} {names}", *lines, ""]), encoding="ascii")
    rng = np.random.default_rng(seed)
    data = b""
    for layer in read_graph(graph):
        for held in HELD[layer.kind](layer) if layer.kind in HELD else ():
            numbers = rng.normal(size=held.shape) * 0.5
            if held.part == "variance":
                numbers = numbers**2 + 0.1
            if held.tagged:
                halves = numbers.astype("<f2").tobytes()
                data += struct.pack("<I", HALF) + halves + bytes(-len(halves) % 4)
            else:
                data += numbers.astype("<f4").tobytes()
    graph.with_suffix(".bin").write_bytes(data)
    return graph


def given(shape: tuple[int, int, int] = GIVEN) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def run_by_ncnn(graph: Path, x: np.ndarray) -> np.ndarray:
    """What ncnn itself makes, in float32 (``pip install ncnn``)."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("use_vulkan_compute", "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, False)
    net.opt.use_bf16_storage = net.opt.use_winograd_convolution = False
    assert net.load_param(str(graph)) == 0 and net.load_model(str(graph.with_suffix(".bin"))) == 0
    run = net.create_extractor()
    run.input(net.input_names()[0], ncnn.Mat(x).clone())
    _, made = run.extract(net.output_names()[0])
    return np.array(made)


def pinned(made: np.ndarray) -> list[float]:
    """Some numbers of what was made, in which every one has its part."""
    shares = np.cos(np.arange(made.size, dtype=np.float64)).reshape(made.shape)
    return [*map(float, made.shape), round(float((made * shares).sum()), 4), round(float(made.reshape(-1)[-1]), 4)]
