"""What is wrong with a picture, read off the picture alone: noise, blur, blocks of JPEG, and colour that is not there;
and whether it shows anything at all.

Each takes pictures ``(B, C, H, W)`` in [0, 1] and gives one number for each, ``(B,)``; each has a bound beside it, from
which on the damage is worth mending. The bounds were set on 66 photographs, and on the same damaged by
:mod:`zeuxis.degrade`; ``tools/estimates.py`` counts how often they are right. All are blind to damage that hides
another: what is noisy seems sharp, so look again once the noise is gone.

Axes: N patches, P numbers of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, unfold

from zeuxis.errors import UsageError

NOISY = 4 / 255  # deviation of noise
BLURRED = 0.45
BLOCKY = 1.35
GREY = 0.01
FLAT = 2 / 255  # deviation of tones, below which a picture shows nothing
LEAST = 32  # pixels a side that can be read
TONE = 8  # pixels a side of the squares whose means are tones
PATCH, STEP, MOST_PATCHES = 8, 3, 20_000
SMOOTHEST = 8  # one in so many patches of grey pictures
COLLINEAR = 1e-3  # of channels, below which they are one
BLUR = 9  # taps of the box that blurs once more
BLOCK = 8


def noise_level(image: Tensor) -> Tensor:
    """The standard deviation of white noise: that of patches where a picture has nothing else to say.

    Chen, Zhu and Heng 2015, "An efficient statistical method for image noise level estimation": of the eigenvalues of
    the covariance of patches the small ones are noise's alone, and once all larger ones are left out their mean is
    their median (algorithm 1).
    """
    return torch.stack([_noise_of(one if _has_colour(one) else one.mean(0, keepdim=True)) for one in _readable(image)])


def _has_colour(picture: Tensor) -> bool:
    """Whether channels ``(C, H, W)`` differ in what is fine: of a grey picture, toned or not, they tell one thing."""
    fine = picture.diff(dim=2).flatten(1).double()
    values = torch.linalg.eigvalsh(fine @ fine.T)
    return bool(values[0] > COLLINEAR * values[-1])


def _noise_of(picture: Tensor) -> Tensor:
    """Of one picture ``(C, H, W)``; of a grey one, which does not tell texture from noise, where it is smooth."""
    patches = unfold(picture[None].double(), PATCH, stride=STEP)[0].T  # (N, P)
    patches = patches[:: -(-len(patches) // MOST_PATCHES)]
    if len(picture) == 1:
        means = avg_pool2d(patches.reshape(-1, 1, PATCH, PATCH), PATCH // 2).flatten(1)  # (N, 4)
        patches = patches[means.var(1).argsort()[: max(len(patches) // SMOOTHEST, PATCH**3)]]
    apart = patches - patches.mean(0)
    values = torch.linalg.eigvalsh(apart.T @ apart / len(patches))  # ascending
    count = torch.arange(1, len(values) + 1, device=values.device)
    mean, median = values.cumsum(0) / count, torch.stack([values[:k].median() for k in count.tolist()])
    agrees = (mean <= median).nonzero().flatten()
    return mean[agrees[-1] if len(agrees) else 0].clamp_min(0).sqrt().float()


def blur_level(image: Tensor) -> Tensor:
    """How little a picture loses by being blurred once more: 0 is sharp, 1 has nothing to lose.

    Crete, Dolmiere, Ladret and Nicolas 2007, "The blur effect: perception and estimation with a new no-reference
    perceptual blur metric": of rows and columns the blurrier.
    """
    grey = _grey(image)  # (B, 1, H, W)
    levels = []
    for axis in (2, 3):
        kernel = (BLUR, 1) if axis == 2 else (1, BLUR)
        once = avg_pool2d(grey, kernel, stride=1)
        own = grey.narrow(axis, BLUR // 2, once.shape[axis])
        sharp, soft = own.diff(dim=axis).abs(), once.diff(dim=axis).abs()
        lost = (sharp - soft).clamp_min(0).flatten(1).sum(1)
        levels.append(1 - lost / sharp.flatten(1).sum(1).clamp_min(1e-12))
    return torch.maximum(*levels)


def block_level(image: Tensor) -> Tensor:
    """How much more a picture steps every eighth pixel than elsewhere: 1 has no blocks, more has.

    After Wang, Sheikh and Bovik 2002, "No-reference perceptual quality assessment of JPEG compressed images", whose
    blockiness is a step between blocks; here it is the step less the slope on either side of it, in the middling row
    and column of those, wherever the grid begins, over the same where it could as well begin.
    """
    grey = _grey(image)
    phases = []
    for axis in (2, 3):
        step = grey.diff(dim=axis)
        inner = step.narrow(axis, 1, step.shape[axis] - 2)
        sides = (step.narrow(axis, 0, inner.shape[axis]) + step.narrow(axis, 2, inner.shape[axis])) / 2
        jump = (inner - sides).abs().mean(5 - axis).squeeze(1)  # (B, n)
        phases.append(torch.stack([jump[:, k::BLOCK].median(1).values for k in range(BLOCK)], 1))  # (B, 8)
    first, *_, fourth = torch.stack(phases).topk(4, dim=2).values.unbind(2)  # (2, B) each; two feel the first's step
    return (first / fourth.clamp_min(1e-6)).mean(0)


def colour_level(image: Tensor) -> Tensor:
    """How far colours lie from a line: 0 of grey pictures and of toned ones, which are grey in another ink."""
    if image.shape[1] == 1:
        return image.new_zeros(len(image))
    pixels = avg_pool2d(_readable(image), 4).flatten(2).transpose(1, 2).double()  # (B, N, 3), without fine noise
    apart = pixels - pixels.mean(1, keepdim=True)
    values = torch.linalg.eigvalsh(apart.transpose(1, 2) @ apart / apart.shape[1])  # ascending
    return values[:, :-1].sum(1).clamp_min(0).sqrt().float()


def contrast_level(image: Tensor) -> Tensor:
    """How far the means of small squares lie apart, their deviation in the channel that has most: 0 is of one colour.

    In a picture that is flat there is nothing to sharpen or to colour, and what seems blur or greyness of it is not.
    """
    tones = avg_pool2d(_readable(image), TONE).flatten(2)  # (B, C, N), without fine noise
    return tones.std(2, correction=0).amax(1)


def _grey(image: Tensor) -> Tensor:
    return _readable(image).mean(1, keepdim=True)


def _readable(image: Tensor) -> Tensor:
    if min(image.shape[2:]) < LEAST:
        raise UsageError(
            f"{image.shape[3]}x{image.shape[2]} pixels are too few to tell damage: {LEAST} a side are read"
        )
    return image
