"""A pool of past fakes, so that a critic is also trained on those of earlier generators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.rng import Rng


class ImagePool(nn.Module):
    """The last pictures, some of which are shown again (Shrivastava et al. 2017, arXiv:1612.07828, section 2.3).

    The pictures are buffers, so a checkpoint holds them and a resumed game goes on as it would have.
    ``size`` 0 shows what it is given.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, shape: Shape) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def swap(self, fresh: Tensor, rng: Rng) -> Tensor:
        """As many pictures as ``fresh`` ``(B, C, H, W)``: each is kept, or, half the time, exchanged for an old one."""
        if not self.size:
            return fresh
        draws = rng.uniform(len(fresh)).tolist()
        slots = rng.integers(self.size, len(fresh)).tolist()
        shown, filled = [], int(self.filled)
        for image, u, slot in zip(fresh.detach().to(self.images.dtype), draws, slots, strict=True):
            if filled < self.size:
                self.images[filled] = image
                filled += 1
                shown.append(image)
            elif u < 0.5:
                shown.append(self.images[slot].clone())
                self.images[slot] = image
            else:
                shown.append(image)
        self.filled.fill_(filled)
        return torch.stack(shown)
