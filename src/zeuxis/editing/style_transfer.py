"""Style transfer: a picture with the things of one and the colours, strokes and textures of another.

Gatys, Ecker & Bethge 2016, "Image style transfer using convolutional neural networks", CVPR (arXiv:1508.06576): the
pixels are optimised until the maps that a network makes of them are those of the content, and the correlations of the
maps those of the style. Symbols -> code:
    p -> content    a -> style    x -> image    F^l, P^l -> maps of x and of p    G^l, A^l -> gram of maps of x and of a
    N_l, M_l -> channels and places of a map    alpha, beta -> weights of content and of style    w_l -> 1 / layers

The photo-realistic form: Luan, Paris, Shechtman & Bala 2017, "Deep photo style transfer" (arXiv:1703.07511): the
matting Laplacian of the content holds edges where they are, and segments take their style from those of their kind.

The paper's network is VGG-19; here any network's maps serve. Losses are shares of the content's variance and of the
style's correlations, so that weights mean the same in all of them.

Axes: N channels and M places of a map, S segments; h and w sides of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from zeuxis.editing.matting import MattingLaplacian
from zeuxis.errors import UsageError
from zeuxis.rng import Stream

Maps = Callable[[Tensor], Sequence[Tensor]]  # pictures (1, 3, H, W) in [-1, 1] -> maps (1, N, h, w), fine to coarse
LEAST = 32  # pixels of the shorter side at the coarsest scale
SHIFT = 4  # pixels, at most, by which the picture is moved before the network sees it
REPORTED = 10  # iterations from one report to the next


@dataclass(frozen=True)
class MapSpace:
    """The maps in which content and style are compared.

    ``content`` names those of the content, by their places among the maps; all are of the style.
    """

    maps: Maps
    content: tuple[int, ...]


@dataclass(frozen=True)
class StyleWeights:
    """How much each loss counts; every one of them is scaled so that 1 is of about the same force in any network."""

    content: float = 1.0  # alpha
    style: float = 40.0  # beta
    variation: float = 50.0  # total variation
    photo: float = 0.0  # Lambda of Luan et al.; 0 leaves edges free


@dataclass(frozen=True)
class Optimisation:
    """Iterations at each scale, scales (each twice as fine as the one before), and how the pixels are moved."""

    iterations: int = 150
    scales: int = 3
    optimiser: Literal["adam", "lbfgs"] = "adam"
    rate: float = 0.05  # of Adam, where white is 1 and black -1

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.scales < 1 or not 0 < self.rate <= 1:
            raise UsageError(
                f"iterations {self.iterations}, scales {self.scales}, rate {self.rate}: at least 1, at least 1, and "
                "above 0, 1 at most"
            )


def gram(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    """G_ij = sum_k F_ik F_jk (Eq. 3), over the places: ``(1, N, h, w)`` to ``(N, N)``.

    ``mask`` (h, w) in [0, 1] says how much each place counts (Luan et al., Eq. 4); it scales the maps.
    """
    f = maps[0].flatten(1)  # (N, M)
    if mask is None:
        return f @ f.T / f.shape[1]
    weighed = f * mask.flatten()
    return weighed @ weighed.T / mask.square().sum().clamp_min(1e-6)


def content_loss(maps: Tensor, wanted: Tensor) -> Tensor:
    """Eq. 1, (F - P)^2, as a share of the variance of P."""
    return (maps - wanted).square().mean() / wanted.var(correction=0).clamp_min(1e-8)


def style_loss(grams: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Eq. 4 and 5 of one layer, (G - A)^2, as a share of A's; the mean over segments."""
    shares = [(g - a).square().sum() / a.square().sum().clamp_min(1e-8) for g, a in zip(grams, wanted, strict=True)]
    return torch.stack(shares).mean()


def total_variation(image: Tensor) -> Tensor:
    """The mean squared difference of neighbours, ``(1, C, H, W)`` to a scalar."""
    return image.diff(dim=2).square().mean() + image.diff(dim=3).square().mean()


def segments_of(content: Tensor, style: Tensor, share: float = 0.01) -> tuple[Tensor, Tensor]:
    """The masks ``(S, H, W)`` of kinds of things that both pictures show, from their layouts ``(H, W)`` of classes.

    A class counts that has ``share`` of the pixels of each. The last mask is of all else: of the content what is of no
    such class, of the style the whole picture (Luan et al. merge rare classes by hand).
    """
    both = [
        k
        for k in content.unique().tolist()
        if (content == k).float().mean() >= share and (style == k).float().mean() >= share
    ]
    ours = [(content == k).float() for k in both]
    theirs = [(style == k).float() for k in both]
    rest = 1 - torch.stack(ours).sum(0) if ours else torch.ones_like(content, dtype=torch.float32)
    if rest.mean() >= share or not ours:
        ours, theirs = [*ours, rest], [*theirs, torch.ones_like(style, dtype=torch.float32)]
    return torch.stack(ours), torch.stack(theirs)


def transfer(
    content: Tensor,
    style: Tensor,
    space: MapSpace,
    weights: StyleWeights = StyleWeights(),
    how: Optimisation = Optimisation(),
    *,
    segments: tuple[Tensor, Tensor] | None = None,
    rng: Stream,
    report: Callable[[str, float], None] = lambda message, share: None,
) -> Tensor:
    """The picture ``(1, 3, H, W)`` in [-1, 1] with the content of one and the style of the other, both such pictures.

    From coarse to fine: at each scale it goes on from what the coarser one came to, at the first from the content.
    ``segments`` are masks of the content ``(S, H, W)`` and of the style, S of each, of the pictures' own sizes.
    """
    image = content
    scales = [k for k in reversed(range(how.scales)) if k == 0 or min(content.shape[2:]) >> k >= LEAST]
    for done, k in enumerate(scales):
        at = _Scale(content, style, space, weights, segments, k)
        image = interpolate(image, size=at.content.shape[2:], mode="bilinear", antialias=True)
        told = partial(_told, report, done, len(scales))
        image = _optimised(image, at, how, rng, told)
    return image


def losses(
    image: Tensor, content: Tensor, style: Tensor, space: MapSpace, segments: tuple[Tensor, Tensor] | None = None
) -> dict[str, float]:
    """How far a picture is from the content and from the style, unweighed, at its own size: shares, 0 at best."""
    at = _Scale(content, style, space, StyleWeights(), segments, 0)
    with torch.no_grad():
        kept, styled = at.parts(image, (SHIFT, SHIFT))
    return {"content": float(kept), "style": float(styled)}


def _told(report: Callable[[str, float], None], done: int, scales: int, share: float) -> None:
    report(f"scale {done + 1} of {scales}", (done + share) / scales)


class _Scale:
    """The losses at one scale, the pictures' sides divided by 2^k."""

    def __init__(
        self,
        content: Tensor,
        style: Tensor,
        space: MapSpace,
        weights: StyleWeights,
        segments: tuple[Tensor, Tensor] | None,
        k: int,
    ) -> None:
        self.space, self.weights, self.content = space, weights, _reduced(content, k)
        ours, theirs = (None, None) if segments is None else segments
        self.masks: Tensor | None = ours
        with torch.no_grad():
            self.grams = [self.grams_of(each, theirs) for each in space.maps(_reduced(style, k))]
        self.matting = MattingLaplacian.of(self.content) if weights.photo else None

    def grams_of(self, maps: Tensor, masks: Tensor | None) -> list[Tensor]:
        """The correlations of a layer, of each segment."""
        if masks is None:
            return [gram(maps)]
        return [gram(maps, mask) for mask in interpolate(masks[:, None], size=maps.shape[2:], mode="area")[:, 0]]

    def parts(self, image: Tensor, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The losses of content and of style, the means over their layers."""
        maps = self.space.maps(_moved(image, shift))
        with torch.no_grad():
            wanted = self.space.maps(_moved(self.content, shift))
        content = [content_loss(maps[layer], wanted[layer]) for layer in self.space.content]  # Eq. 2
        style = [
            style_loss(self.grams_of(each, self.masks), grams) for each, grams in zip(maps, self.grams, strict=True)
        ]
        return torch.stack(content).mean(), torch.stack(style).mean()  # Eq. 5

    def loss(self, image: Tensor, shift: tuple[int, int]) -> Tensor:
        """Eq. 7 of Gatys et al. with total variation, and Eq. 5 of Luan et al."""
        content, style = self.parts(image, shift)
        loss = self.weights.content * content + self.weights.style * style
        loss = loss + self.weights.variation * total_variation(image)
        return loss if self.matting is None else loss + self.weights.photo * self.matting.penalty(image).float()


def _optimised(image: Tensor, at: _Scale, how: Optimisation, rng: Stream, report: Callable[[float], None]) -> Tensor:
    """The picture that the losses of a scale come to from ``image``; each step ends in [-1, 1].

    Adam sees it from another place in every iteration (Mordvintsev et al. 2015, "Inceptionism"), or the network's
    strides would leave a grid; L-BFGS, which must see the same function always, sees it from one.
    """
    image = image.detach().clone().requires_grad_(True)
    moves = how.optimiser == "adam"
    optimiser: torch.optim.Optimizer = (
        torch.optim.Adam([image], lr=how.rate, betas=(0.9, 0.99))
        if moves
        else torch.optim.LBFGS([image], max_iter=1, history_size=20, line_search_fn="strong_wolfe")
    )
    for k in range(how.iterations):
        shift = tuple(rng.integers(2 * SHIFT + 1, 2).tolist()) if moves else (SHIFT, SHIFT)

        def closure(shift: tuple[int, int] = shift) -> Tensor:
            optimiser.zero_grad()
            loss = at.loss(image, shift)
            loss.backward()
            return loss

        optimiser.step(closure)  # type: ignore[arg-type]
        with torch.no_grad():
            image.clamp_(-1, 1)
        if k % REPORTED == 0:
            report(k / how.iterations)
    return image.detach()


def _reduced(picture: Tensor, k: int) -> Tensor:
    """A picture with its sides divided by 2^k."""
    size = [side >> k for side in picture.shape[2:]]
    return picture if k == 0 else interpolate(picture, size=size, mode="bilinear", antialias=True)


def _moved(picture: Tensor, shift: tuple[int, int]) -> Tensor:
    """A picture as it is seen from elsewhere, its border repeated outside: ``shift`` from 0 to twice SHIFT."""
    rows, columns = picture.shape[2:]
    padded = pad(picture, (SHIFT, SHIFT, SHIFT, SHIFT), mode="replicate")
    return padded[:, :, shift[0] : shift[0] + rows, shift[1] : shift[1] + columns]
