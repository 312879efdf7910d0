"""How near what is made stays to what was given: what the damage left is taken from there.

Damage hides a part of a picture and leaves another: shrinking leaves the small picture, greyness the luminance, and
noise, blur and JPEG what is coarse. A restorer's picture x^ can be split so, A x^ being the part that was left and is
known, y: x^ + A+ (y - A x^) has it exactly, whatever the restorer made of it, and keeps of x^ what y does not tell
(Wang, Yu and Zhang 2022, "Zero-shot image restoration using denoising diffusion null-space model", arXiv:2212.00490).
A+ is found by back-projection (Irani and Peleg 1991): what is missing is enlarged and added, a few times over.

Symbols -> code: x^ -> made, y -> known, A -> _shrunk or luminance, A+ -> what the passes add
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import interpolate

PASSES = 8  # of back-projection: of what is missing, a hundredth is left at most
COARSE = 4  # pixels a side whose mean damage without a change of size is taken to leave
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Fidelity:
    """A ``share`` in [0, 1] of the way from what is made to what agrees with the given picture.

    ``seen`` is what damage leaves: "coarse", which of a smaller picture is all of it, or "luminance".
    """

    share: float
    seen: Literal["coarse", "luminance"] = "coarse"
    factor: int = COARSE

    def __call__(self, made: Tensor, given: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` of those that were given, which may be smaller; in any range that both share."""
        if self.seen == "luminance":
            return made + self.share * (luminance(given) - luminance(made))
        height, width = given.shape[2:]
        smaller = made.shape[2] > height
        size = (height, width) if smaller else (-(-height // self.factor), -(-width // self.factor))
        known = given if smaller else _resized(given, size)
        exact = made
        for _ in range(PASSES):
            exact = exact + _resized(known - _resized(exact, size), made.shape[2:])
        return made.lerp(exact, self.share)


def luminance(x: Tensor) -> Tensor:
    """Luma ``(B, 1, H, W)`` of colours; grey pictures as they are."""
    return x if x.shape[1] == 1 else (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return interpolate(x, tuple(size), mode="bicubic", antialias=True)
