"""Our upfirdn2d beside the textbook's steps: zeros put in, padded, filtered along both axes, pixels left out.

    python benchmarks/upfirdn.py [--batch 16] [--channels 64] [--size 64] [--turns 20]
    python benchmarks/upfirdn.py --clone stylegan2-ada-pytorch

A turn is a forward and a backward pass. The second form races the pure-PyTorch fallback of a clone of the public
program in place of the textbook's steps as they are written here. First all are checked to give the same.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import _race
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from zeuxis.nn.upfirdn import BLUR, upfirdn2d
from zeuxis.rng import Stream

Filter = Callable[[Tensor, int, int, tuple[int, int], float], Tensor]
CASES = {  # up, down, zeros before and after, gain: as the networks call it
    "blur": (1, 1, (1, 1), 4.0),
    "half the sides": (1, 2, (1, 1), 1.0),
    "twice the sides": (2, 1, (2, 1), 4.0),
}


def ours(x: Tensor, up: int, down: int, padding: tuple[int, int], gain: float) -> Tensor:
    return upfirdn2d(x, BLUR, up=up, down=down, padding=padding, gain=gain)


def textbook(x: Tensor, up: int, down: int, padding: tuple[int, int], gain: float) -> Tensor:
    b, c, h, w = x.shape
    wide = x.new_zeros(b, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    line = (torch.tensor(BLUR) * gain**0.5).flip(0).expand(c, 1, -1)
    y = conv2d(conv2d(pad(wide, padding * 2), line[:, :, None], groups=c), line[..., None], groups=c)
    return y[:, :, ::down, ::down]


def public(clone: str) -> Filter:
    """The fallback of the public program in the folder ``clone``."""
    sys.path.insert(0, clone)
    theirs = importlib.import_module("torch_utils.ops.upfirdn2d").upfirdn2d
    taps = torch.tensor(BLUR)

    def filtered(x: Tensor, up: int, down: int, padding: tuple[int, int], gain: float) -> Tensor:
        y: Tensor = theirs(x, taps, up=up, down=down, padding=list(padding) * 2, gain=gain, impl="ref")
        return y

    return filtered


def turn(filtered: Filter, x: Tensor, case: tuple[int, int, tuple[int, int], float]) -> Callable[[], Tensor]:
    """A forward and a backward pass, which gives the gradient."""

    def both() -> Tensor:
        leaf = x.detach().requires_grad_()
        y = filtered(leaf, *case)
        (slope,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
        return slope

    return both


def main() -> None:
    parser = _race.arguments(__doc__, size=64, batch=16, channels=64)
    parser.add_argument("--clone")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    x = Stream(0).normal(given.batch, given.channels, given.size, given.size)
    peer, other = ("textbook", textbook) if given.clone is None else ("the public fallback", public(given.clone))
    rows = []
    for name, case in CASES.items():
        torch.testing.assert_close(ours(x, *case), other(x, *case), rtol=1e-4, atol=1e-5)
        contestants = {_race.OURS: turn(ours, x, case), peer: turn(other, x, case)}
        torch.testing.assert_close(contestants[_race.OURS](), contestants[peer](), rtol=1e-4, atol=1e-5)
        what = f"upfirdn2d, {name}, {given.channels} channels, {given.size}x{given.size}, batch {given.batch}"
        rows += _race.compared(what, _race.race(contestants, given.turns), given.batch)
    _race.told(rows, given)


if __name__ == "__main__":
    main()
