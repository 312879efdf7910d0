"""The first stages that were published with weights, as constructor arguments of ``vqgan`` and ``kl-autoencoder``.

From the configurations beside the authors' checkpoints: CompVis/taming-transformers (Esser et al. 2020) and
CompVis/latent-diffusion (Rombach et al. 2021), all for 256x256 pictures in colour. Their attention is given by
resolution there and by factor here: 256 / resolution. Not among them: the quantiser that draws its codes
(taming's f8 with Gumbel noise), and vq-f4-noattn, whose networks do not attend at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Plan:
    """What a checkpoint's tensors tell of a first stage. Without ``codes`` it is a KL autoencoder."""

    latent: int  # channels of the decoder's input
    multiples: tuple[int, ...]
    attention: tuple[int, ...] = ()  # factors with attention, besides the middle
    codes: int | None = None
    code_width: int | None = None
    channels: int = 3
    width: int = 128
    blocks: int = 2
    ndf: int = 64  # of the critic
    layers: int = 3

    @property
    def system(self) -> Literal["vqgan", "kl-autoencoder"]:
        """The system that is built so."""
        return "kl-autoencoder" if self.codes is None else "vqgan"

    @property
    def model(self) -> dict[str, int | tuple[int, ...]]:
        """The constructor's keywords."""
        found: dict[str, int | tuple[int, ...]] = {
            "latent": self.latent,
            "width": self.width,
            "multiples": self.multiples,
            "blocks": self.blocks,
            "attention": self.attention,
            "ndf": self.ndf,
            "layers": self.layers,
        }
        if self.codes is not None and self.code_width is not None:
            found |= {"codes": self.codes, "code_width": self.code_width}
        return found


F4, F8, F16, F32 = (1, 2, 4), (1, 2, 2, 4), (1, 1, 2, 2, 4), (1, 1, 2, 2, 4, 4)
PUBLISHED = {
    "vqgan-f16-1024": Plan(256, F16, (16,), codes=1024, code_width=256),  # taming: ImageNet, faces, COCO, ADE20K
    "vqgan-f16-16384": Plan(256, F16, (16,), codes=16384, code_width=256),
    "vq-f4": Plan(3, F4, codes=8192, code_width=3),  # latent diffusion, from here on
    "vq-f8": Plan(4, F8, (8,), codes=16384, code_width=4, layers=2),
    "vq-f8-n256": Plan(4, F8, (8,), codes=256, code_width=4),
    "vq-f16": Plan(8, F16, (16,), codes=16384, code_width=8, layers=2),
    "kl-f4": Plan(3, F4),
    "kl-f8": Plan(4, (1, 2, 4, 4)),  # and Stable Diffusion 1.x, 2.x and XL
    "kl-f16": Plan(16, F16, (16,)),
    "kl-f32": Plan(64, F32, (16, 32)),
}
