"""Plain ncnn graphs run by us: each kind of layer as ncnn computes it, and whole graphs as networks for pictures.

``ncnn_graphs.json`` keeps what ncnn itself (1.0.20261020, float32, CPU) made of the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from ncnn_graphs import GRAPHS, given, pinned, run_by_ncnn, written
from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.nn.graph_network import GraphNetwork
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.reduced import Reduced
from zeuxis.nn.self_ensemble import SelfEnsemble
from zeuxis.nn.streamed_tiles import Tiling, in_rows
from zeuxis.pretrained.ncnn_graphs import COPIES, INPUT, graph_network, graph_of
from zeuxis.pretrained.ncnn_layers import LAYERS
from zeuxis.pretrained.ncnn_networks import network_of
from zeuxis.pretrained.ncnn_numbers import HELD, read_network

PINNED = json.loads(Path(__file__).with_suffix(".json").with_stem("ncnn_graphs").read_text(encoding="utf-8"))


def run_by_us(graph: Path, x: np.ndarray) -> np.ndarray:
    found = graph_of(read_network(graph, graph.with_suffix(".bin")))
    with torch.inference_mode():
        made: Tensor = found(torch.from_numpy(x)[None])[0]
    assert found.shape_of(x.shape)[0] == tuple(made.shape)  # what is told without computing
    return made.numpy()


@pytest.mark.parametrize("name", GRAPHS)
def test_a_layer_makes_what_ncnn_made(name: str, tmp_path: Path) -> None:
    found = pinned(run_by_us(written(GRAPHS[name], tmp_path), given()))
    assert found == pytest.approx(PINNED[name], rel=1e-4, abs=2e-4)


@pytest.mark.skipif(find_spec("ncnn") is None, reason="ncnn is not installed")
def test_every_layer_makes_what_ncnn_makes(tmp_path: Path) -> None:
    for name, lines in GRAPHS.items():
        graph = written(lines, tmp_path)
        np.testing.assert_allclose(run_by_us(graph, given()), run_by_ncnn(graph, given()), 1e-4, 1e-5, err_msg=name)


def test_every_kind_of_layer_is_read_run_and_tested() -> None:
    assert {INPUT, *COPIES, *LAYERS} == set(HELD)
    tested = {line.split()[0] for lines in GRAPHS.values() for line in lines}
    assert tested == set(HELD) - {INPUT}
    assert PINNED.keys() == GRAPHS.keys()


# -- graphs as networks ---------------------------------------------------------------------------------

SHRINKING = [  # waifu2x's upconv_7 in small: nothing is filled up
    "Convolution a 1 1 x a 0=4 1=3 5=1 6=108 9=2 -23310=1,0.1",
    "Convolution b 1 1 a b 0=4 1=3 5=1 6=144 9=2 -23310=1,0.1",
    "Deconvolution c 1 1 b c 0=3 1=4 3=2 4=3 5=1 6=192",
]
DOWN_AND_UP = [  # its U-Net in small, without means: it works on squares of pixels
    "Convolution a 1 1 x a 0=4 1=3 5=1 6=108",
    "Split s 1 2 a a1 a2",
    "Convolution d 1 1 a1 d 0=4 1=2 3=2 5=1 6=64",
    "Convolution e 1 1 d e 0=4 1=3 5=1 6=144 9=1",
    "Deconvolution u 1 1 e u 0=4 1=2 3=2 5=1 6=64",
    "Split t 1 2 u u1 u2",
    "Crop r 2 1 a2 u1 r 0=2 1=2",
    "Eltwise p 2 1 r u2 p 0=1",
    "Convolution o 1 1 p o 0=3 1=3 5=1 6=108",
]
SHUFFLED = [  # SRMD's in small
    "Convolution a 1 1 x a 0=6 1=3 4=1 5=1 6=270 9=1",
    "Convolution b 1 1 a b 0=12 1=3 4=1 5=1 6=648",
    "PixelShuffle c 1 1 b c 0=2",
]


def network(lines: list[str], folder: Path, maps: tuple[float, ...] = (), onto_given: bool = False) -> GraphNetwork:
    graph = written(lines, folder)
    return graph_network(
        read_network(graph, graph.with_suffix(".bin")), "net", maps=maps, onto_given=onto_given
    ).requires_grad_(False)


def changed(picture: Tensor, beyond: int) -> Tensor:
    """Another picture but for the pixels that are no farther from row 18, column 22."""
    near = torch.zeros(picture.shape[2:], dtype=torch.bool)
    near[18 - beyond : 19 + beyond, 22 - beyond : 23 + beyond] = True
    return picture.where(near, 1 - picture)


@pytest.mark.parametrize(
    ("lines", "maps", "scale", "border", "step", "reach"),
    [(SHRINKING, (), 2, 3, 1, 3), (DOWN_AND_UP, (), 1, 4, 2, 5), (SHUFFLED, (0.5, -1.0), 2, 0, 1, 2)],
    ids=["shrinking", "down and up", "shuffled"],
)
def test_what_tiles_must_know_follows_from_the_graph(
    lines: list[str], maps: tuple[float, ...], scale: int, border: int, step: int, reach: int, tmp_path: Path
) -> None:
    """In tiles with a margin of the reach it makes what it makes of the whole; sizes need not be even."""
    found = network(lines, tmp_path, maps)
    assert (found.channels, found.scale, found.border, found.step, found.reach) == (3, scale, border, step, reach)
    picture = torch.rand(1, 3, 37, 45, generator=torch.Generator().manual_seed(0))
    whole = found(picture)
    assert whole.shape == (1, 3, 37 * scale, 45 * scale)
    at = found(changed(picture, reach))[0, :, 18 * scale, 22 * scale]
    torch.testing.assert_close(at, whole[0, :, 18 * scale, 22 * scale], rtol=0, atol=1e-6)
    assert not torch.allclose(found(changed(picture, reach - 2))[0, :, 18 * scale, 22 * scale], at, atol=1e-4)
    tiling = Tiling(28, reach, feather=2, grid=4)

    def read(place: tuple[int, int, int, int]) -> Tensor:
        top, bottom, left, right = place
        return picture[:, :, top:bottom, left:right]

    tiled = torch.cat(list(in_rows(found, read, 37, 45, tiling, lambda place, before, after: None)), 2)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


def test_a_network_is_told_maps_beside_the_picture(tmp_path: Path) -> None:
    found, picture = network(SHUFFLED, tmp_path, (0.5, -1.0)), torch.rand(2, 3, 8, 9)
    told = torch.tensor([0.5, -1.0]).view(1, 2, 1, 1).expand(2, 2, 8, 9)
    torch.testing.assert_close(found(picture), found.graph(torch.cat([picture, told], 1)))


def test_what_a_network_makes_may_be_added_to_the_picture(tmp_path: Path) -> None:
    alone, onto = (network(SHRINKING, tmp_path, onto_given=onto) for onto in (False, True))
    picture = torch.rand(1, 3, 6, 5)
    large = picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(onto(picture), alone(picture) + large)


EXCITED = [  # the means of the whole picture in waifu2x's, in small: the second follow from the first
    "Convolution a 1 1 x a 0=4 1=3 4=1 5=1 6=108 9=1",
    "Split s 1 2 a a1 a2",
    "Pooling p 1 1 a1 m 0=1 4=1",
    "BinaryOp t 2 1 a2 m b 0=2",
    "Convolution c 1 1 b c 0=4 1=3 4=1 5=1 6=144 9=1",
    "Split u 1 2 c c1 c2",
    "Pooling v 1 1 c1 k 0=1 4=1",
    "BinaryOp w 2 1 c2 k e 0=0",
    "Convolution o 1 1 e o 0=12 1=3 4=1 5=1 6=432",
    "PixelShuffle y 1 1 o z 0=2",
]


@pytest.mark.parametrize("around", [lambda n: n, SelfEnsemble, lambda n: Reduced(n, 1)], ids=["", "eight", "reduced"])
def test_tiles_take_the_means_of_the_whole_picture(
    around: Callable[[PictureNetwork], PictureNetwork], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = around(network(EXCITED, tmp_path))
    picture = torch.rand(1, 3, 40, 160, generator=torch.Generator().manual_seed(0))
    picture[..., 80:] *= 0.3  # two halves that tiles see by themselves
    tiling = Tiling(40, found.reach, feather=2, grid=4)

    def tiled() -> Tensor:
        def read(place: tuple[int, int, int, int]) -> Tensor:
            top, bottom, left, right = place
            return picture[:, :, top:bottom, left:right]

        return torch.cat(list(in_rows(found, read, 40, 160, tiling, lambda place, before, after: None)), 2)

    whole, together = found(picture), tiled()
    again = tiled()
    monkeypatch.setattr(GraphNetwork, "agreed", lambda self, tiles: self)
    alone = tiled()
    away = [(made - whole).abs().max() for made in (together, alone)]
    assert away[0] < 0.15 * away[1], away
    assert torch.equal(together, again)  # nothing is kept of the picture before


def test_pictures_of_any_size_are_taken(tmp_path: Path) -> None:
    found = network(DOWN_AND_UP, tmp_path)
    for height, width in [(1, 1), (1, 7), (2, 3), (9, 4)]:
        assert found(torch.rand(1, 3, height, width)).shape == (1, 3, height, width)


def test_numbers_are_let_go_once_nothing_takes_them(tmp_path: Path) -> None:
    """A deep graph needs no more room than a shallow one."""
    needs = []
    for depth in (3, 30):
        names = ["x", *(f"v{k}" for k in range(depth))]
        inner = [f"ReLU r{k} 1 1 {names[k + 1]} {names[k + 2]}" for k in range(depth - 1)]
        lines = ["Convolution c 1 1 x v0 0=8 1=3 4=1 6=216", *inner, f"Convolution d 1 1 {names[-1]} o 0=3 1=1 6=24"]
        needs.append(network(lines, tmp_path).floats)
    assert needs[0] == needs[1] > 0


REFUSED: dict[str, tuple[list[str], str]] = {
    "a kind": (["Softmax t 1 1 x y"], "layer t is a Softmax, a kind of layer that is not known here"),
    "a setting": (["ReLU r 1 1 x y 3=1"], r"layer r \(ReLU\) has the setting 3=1, which is not known here"),
    "an operation": (["BinaryOp t 2 1 x x y 0=10"], "has the operation 10"),
    "an activation": (["Convolution c 1 1 x y 0=3 1=1 6=9 9=9"], "has the activation 9"),
    "numbers of an activation": (["Convolution c 1 1 x y 0=3 1=1 6=9 9=2"], "has 0 numbers of an activation of 1"),
    "strides": (["Convolution c 1 1 x y 0=3 1=1 3=2 13=1 6=9"], "by steps of 1 and 2"),
    "borders": (["Convolution c 1 1 x y 0=3 1=3 4=-233 6=81"], "fills up its border by"),
    "groups": (["ConvolutionDepthWise c 1 1 x y 0=3 1=1 6=9 7=2"], "has 3 channels in 2 groups"),
    "no numbers": (["PReLU r 1 1 x y"], "layer r has a slope of"),
    "cuts": (["Crop t 1 1 x y -23309=2,1,1 -23310=1,2 -23311=2,-2,-1"], "cuts from"),
    "a resize": (["Interp t 1 1 x y 0=2 1=2.0 2=3.0"], "resizes by 2 and 3"),
    "channels": (
        ["Convolution c 1 1 x a 0=4 1=3 4=1 6=108", "Convolution d 1 1 a y 0=3 1=1 6=15"],
        r"layer d \(Convolution\) cannot be given 4x256x257: it takes 5 channels",
    ),
    "sides": (
        ["Convolution c 1 1 x a 0=3 1=3 6=81", "BinaryOp t 2 1 a x y"],
        r"layer t \(BinaryOp\) cannot be given 3x254x255 and 3x256x257: .* do not fit together",
    ),
    "sums over pictures": (["InnerProduct i 1 1 x y 0=3 2=9"], "has no convolution"),
    "smaller": (["Convolution c 1 1 x y 0=3 1=2 3=2 6=36"], "0.5 times as large"),
    "much larger": (["Convolution c 1 1 x a 0=3 1=1 6=9", "Interp t 1 1 a y 0=1 1=99.0 2=99.0"], "99 times as large"),
    "much in between": (
        [
            "Convolution c 1 1 x a 0=64 1=1 6=192",
            "Interp t 1 1 a b 0=1 1=64.0 2=64.0",
            "Pooling p 1 1 b d 1=64 2=64 5=1",
            "Convolution e 1 1 d y 0=3 1=1 6=192",
        ],
        "numbers for each pixel",
    ),
    "two results": (
        ["Convolution c 1 1 x a 0=3 1=1 6=9", "Split s 1 2 a b d", "ReLU r 1 1 b y", "ReLU q 1 1 d z"],
        "it makes 2 things",
    ),
    "two pictures": (["Input j 0 1 z", "Convolution c 1 1 x y 0=3 1=1 6=9"], "it takes 2 things"),
    "other channels": (["Convolution c 1 1 x y 0=3 1=1 6=12"], "of 4 channels it makes 3"),
    "uneven": (["Convolution c 1 1 x y 0=3 1=2 6=36"], "it does not enlarge evenly"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name: str, tmp_path: Path) -> None:
    lines, words = REFUSED[name]
    with pytest.raises(WeightsError, match=words) as found:
        graph = written(lines, tmp_path)
        network_of(read_network(graph, graph.with_suffix(".bin")), "net")
    assert "\n" not in str(found.value)


def test_a_graph_that_is_none_of_ours_is_run(tmp_path: Path) -> None:
    graph = written(SHRINKING, tmp_path)
    assert isinstance(network_of(read_network(graph, graph.with_suffix(".bin")), "net"), GraphNetwork)
