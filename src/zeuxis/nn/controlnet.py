"""ControlNet's branch (Zhang, Rao & Agrawala 2023, arXiv:2302.05543): a trainable copy of half a U-Net, read by zeros.

A locked U-Net is steered by a spatial condition (edges, a layout, depth). The branch is a copy of its way down and its
middle, which sees the same noisy image, time and context, and the condition besides; what it makes at every skip and
in the middle goes through a 1x1 convolution that starts at zero and is added to the U-Net's own. So at first the
steered network is the locked one, bit for bit.

Symbols -> code: Theta -> the U-Net    Theta_c -> trunk    Z(.; Theta_z1) -> the last layer of ``hint``
    Z(.; Theta_z2) -> ``zeros`` and ``middle_zero``    c_i -> picture    E(c_i) = c_f -> features

Legend: B images, C channels of the picture that steers, H rows, W columns, f pixels of that picture a side for one of
the U-Net's, C_i channels of the i-th skip, V the U-Net's channels at its finest level.

Axes: f factor, V channels at the finest level, C_i channels of a skip.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import UsageError
from zeuxis.nn.resblock import zero_init
from zeuxis.nn.unet import Residuals, UNet

HINT_WIDTHS = (16, 32, 96, 256)  # section 3.3: the published network for f = 8


class HintNetwork(nn.Module):
    """E of section 3.3: pictures ``(B, C, f H, f W)`` to features ``(B, V, H, W)``, which start at zero.

    A convolution of 16 channels, then for each halving one of the same width and one of stride 2 to the next of
    :data:`HINT_WIDTHS`, SiLU after each, and a last one that starts at zero. With f = 1 one of 16 stands for them.
    """

    def __init__(self, channels: int, out_channels: int, factor: int = 1) -> None:
        super().__init__()
        halvings = factor.bit_length() - 1
        if factor < 1 or factor != 2**halvings:
            raise UsageError(f"a control picture of {factor} times the network's sides: a power of two is wanted")
        widths = [*HINT_WIDTHS, *[HINT_WIDTHS[-1]] * halvings][: halvings + 1]
        self.factor = factor
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.layers = nn.ModuleList()
        if not halvings:
            self.layers.append(nn.Conv2d(widths[0], widths[0], 3, padding=1))
        for now, after in pairwise(widths):
            self.layers.append(nn.Conv2d(now, now, 3, padding=1))
            self.layers.append(nn.Conv2d(now, after, 3, padding=1, stride=2))
        self.out = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        zero_init(self.out)

    def forward(self, picture: Tensor) -> Tensor:
        h = F.silu(self.stem(picture))
        for layer in self.layers:
            h = F.silu(layer(h))
        out: Tensor = self.out(h)
        return out


class ControlBranch(nn.Module):
    """The branch for ``unet``: what it sees and a control picture to :class:`~zeuxis.nn.unet.Residuals`.

    Args:
        unet: the network that is steered, which stays as it is; the branch begins with copies of its weights.
        channels: C of the control picture. Public branches take 3, with values in [0, 1].
        factor: f, the picture's sides over those of the network's input: 1 for a pixel model, 8 for Stable Diffusion.
        weights: whether the copies have the weights of ``unet``; otherwise they have shapes and no memory (the meta
            device), to be given the tensors of a file.

    Use: ``features = branch.hint(picture)`` once for a batch of pictures; then ``residuals = branch(x, features,
    time, vector, context, context_mask)`` beside ``unet(x, time, ..., residuals=residuals)``, or
    :func:`controlled_by`, which adds them to every call of ``unet`` for as long as it holds.
    """

    def __init__(self, unet: UNet, channels: int, *, factor: int = 1, weights: bool = True) -> None:
        super().__init__()
        width = unet.stem.out_channels
        with nullcontext() if weights else torch.device("meta"):
            self.hint = HintNetwork(channels, width, factor)
            self.trunk = _half(unet, weights)
            self.zeros = nn.ModuleList(_zero_convolution(n) for n in _skip_channels(self.trunk))
            self.middle_zero = _zero_convolution(self.zeros[-1].get_parameter("weight").shape[0])

    def forward(
        self,
        x: Tensor,
        features: Tensor,
        time: Tensor,
        vector: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Residuals:
        """The residuals for ``unet`` at ``x`` ``(B, C_in, H, W)``; ``features`` ``(B, V, H, W)`` are ``hint``'s.

        The other arguments are those of the U-Net, as it is given them.
        """
        c = self.trunk.embed(time, vector, context)
        skips = self.trunk.down(x, c, context, context_mask, hint=features)
        h = self.trunk.middle(skips[-1], c, context, context_mask)
        read = [zero(skip) for zero, skip in zip(self.zeros, skips, strict=True)]  # each (B, C_i, H / 2^k, W / 2^k)
        return Residuals(read, self.middle_zero(h))


def scaled(residuals: Residuals, scale: float) -> Residuals:
    """The same residuals, ``scale`` times as strong: 0 leaves the U-Net alone, 1 is what was learnt."""
    if scale == 1:
        return residuals
    return Residuals([scale * skip for skip in residuals.skips], scale * residuals.middle)


def joined(first: Residuals, second: Residuals) -> Residuals:
    """What two branches add together."""
    skips = [a + b for a, b in zip(first.skips, second.skips, strict=True)]
    return Residuals(skips, first.middle + second.middle)


@contextmanager
def controlled_by(unet: UNet, branch: ControlBranch, features: Tensor, scale: float = 1.0) -> Iterator[None]:
    """Within this context every call of ``unet`` is given the residuals of ``branch``, beside any that it is given.

    ``features`` ``(B, V, H, W)`` are ``branch.hint``'s of B pictures. A call may be of a multiple of B images, as
    under guidance, which puts B under the condition and B under none side by side: all of them are steered.
    """

    def residuals_of(
        x: Tensor,
        time: Tensor,
        vector: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        conditional: Tensor | None = None,
        residuals: Residuals | None = None,
    ) -> Residuals:
        times, left = divmod(len(x), len(features))
        if left:
            raise UsageError(f"{len(features)} control pictures for {len(x)} images: give one for each")
        every = features.repeat(times, 1, 1, 1)  # (B, V, H, W)
        made = scaled(branch(x, every, time, vector, context, context_mask), scale)
        return made if residuals is None else joined(residuals, made)

    def add(network: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {**named, "residuals": residuals_of(*args, **named)}

    handle = unet.register_forward_pre_hook(add, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def unet_of(network: nn.Module, what: str) -> UNet:
    """The one U-Net within ``network``; UsageError, which calls it ``what``, where there is none or several."""
    found = [module for module in network.modules() if isinstance(module, UNet)]
    if len(found) != 1:
        has = "no U-Net" if not found else f"{len(found)} U-Nets"
        raise UsageError(
            f"{what} has {has}: a control branch is a copy of half a U-Net, so give a base that has one "
            "(model.network.kind = 'unet' of flow-matching and latent-diffusion, or ddpm)"
        )
    return found[0]


def _half(unet: UNet, weights: bool) -> UNet:
    """A copy of ``unet`` without its way up, trainable; without ``weights`` on the meta device."""
    known: dict[int, Any] = {  # what stands for a part instead of a copy of it
        id(unet.up_levels): nn.ModuleList(),
        id(unet.norm): nn.Identity(),
        id(unet.out): nn.Identity(),
    }
    if not weights:
        known |= {id(p): nn.Parameter(torch.empty_like(p, device="meta")) for p in unet.parameters()}
    half: UNet = copy.deepcopy(unet, known)
    return half.requires_grad_(True).train()


def _skip_channels(half: UNet) -> list[int]:
    """C_i of every skip, from the finest on."""
    found = [half.stem.out_channels]
    for level in half.down_levels:
        for block in level.get_submodule("blocks").children():
            found.append(block.get_submodule("resblock").get_submodule("conv2").get_parameter("bias").shape[0])
        if level.resample is not None:
            found.append(found[-1])
    return found


def _zero_convolution(channels: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, channels, 1)
    zero_init(layer)
    return layer
