"""The U-Net generator of pix2pix (Isola et al. 2017, 1611.07004, section 6.1.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeuxis.nn.maxout import drop
from zeuxis.nn.norm import Norm, initialise_normal
from zeuxis.rng import Rng

KEEP = 0.5  # of the numbers that dropout leaves


class SkipUNet(nn.Module):
    """Images ``(B, C_in, H, W)`` to images ``(B, C_out, H, W)`` in [-1, 1]; H and W are multiples of 2^``depth``.

    C64-C128-C256-C512-... down to a single pixel at the published size, and back, each layer beside its mirror image:
    64 = ``ngf``; channels stop doubling at 8 of them. The first layer has no norm, nor the innermost. Dropout, which is
    the paper's noise z, draws from the generator that it is given, in the ``dropped`` layers after the innermost.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        ngf: int = 64,
        depth: int = 8,
        dropped: int = 3,
        norm: Norm = Norm.INSTANCE_AFFINE,
    ) -> None:
        super().__init__()
        self.dropped, bias = dropped, not norm.affine
        widths = [ngf * min(2**k, 8) for k in range(depth)]
        self.downs, self.down_norms = nn.ModuleList(), nn.ModuleList()
        for k, (c, to) in enumerate(zip([inputs, *widths], widths, strict=False)):
            self.downs.append(nn.Conv2d(c, to, 4, stride=2, padding=1, bias=bias))
            self.down_norms.append(norm(to) if 0 < k < depth - 1 else nn.Identity())
        self.ups, self.up_norms = nn.ModuleList(), nn.ModuleList()
        for k in range(depth - 1, 0, -1):  # from the innermost
            c = widths[k] if k == depth - 1 else 2 * widths[k]
            self.ups.append(nn.ConvTranspose2d(c, widths[k - 1], 4, stride=2, padding=1, bias=bias))
            self.up_norms.append(norm(widths[k - 1]))
        self.last = nn.ConvTranspose2d(2 * widths[0] if depth > 1 else widths[0], outputs, 4, stride=2, padding=1)
        initialise_normal(self)

    def forward(self, x: Tensor, rng: Rng | None = None) -> Tensor:
        skips = []
        for k, (down, norm) in enumerate(zip(self.downs, self.down_norms, strict=True)):
            x = norm(down(nn.functional.leaky_relu(x, 0.2) if k else x))  # (B, C_k, H / 2^(k+1), W / 2^(k+1))
            skips.append(x)
        x = skips.pop()
        for k, (up, norm) in enumerate(zip(self.ups, self.up_norms, strict=True)):
            x = norm(up(x.relu()))
            x = torch.cat([skips.pop(), drop(x, KEEP, rng if 0 < k <= self.dropped else None)], 1)
        image: Tensor = self.last(x.relu())
        return image.tanh()
