"""A training step of the diffusion transformer beside the same network in diffusers.

    python benchmarks/dit_step.py [--width 384] [--depth 12] [--patch 4] [--batch 16] [--turns 8] [--precision bfloat16]

DiT-S by default, at 32x32 with patches of 4x4. diffusers gives every block an embedding of time and class of its own;
here its blocks share one, as in the paper, so that both have the same number of parameters and it computes less than as
it comes. The step is that of DDPM: noise, forward, mean squared error, backward, fused Adam.
"""

from __future__ import annotations

import _race
import torch
from torch import Tensor, nn
from unet_step import stepper

from zeuxis.nn.dit import DiT
from zeuxis.nn.embed import LabelEmbedding

CLASSES = 10


class Ours(nn.Module):
    """Our DiT with classes."""

    def __init__(self, width: int, depth: int, patch: int) -> None:
        super().__init__()
        self.net = DiT(3, 32, patch=patch, width=width, depth=depth, heads=width // 64)
        self.label = LabelEmbedding(CLASSES, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = self.net(x, time, vector=self.label(time % CLASSES, None))
        return out


class Peer(nn.Module):
    """diffusers' DiT with one embedding of time and class."""

    def __init__(self, width: int, depth: int, patch: int) -> None:
        super().__init__()
        from diffusers import DiTTransformer2DModel

        self.net = DiTTransformer2DModel(
            num_attention_heads=width // 64,
            attention_head_dim=64,
            in_channels=3,
            out_channels=3,
            num_layers=depth,
            sample_size=32,
            patch_size=patch,
            num_embeds_ada_norm=CLASSES,
            attention_bias=True,
        )
        for block in self.net.transformer_blocks:
            block.norm1.emb = self.net.transformer_blocks[0].norm1.emb

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = self.net(x, timestep=time, class_labels=time % CLASSES).sample
        return out


def main() -> None:
    parser = _race.arguments(__doc__, width=384, depth=12, patch=4, batch=16)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sizes = (given.width, given.depth, given.patch)
    nets: dict[str, nn.Module] = {_race.OURS: Ours(*sizes), "diffusers": Peer(*sizes)}
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    if len(set(counts.values())) != 1:
        raise SystemExit(f"not the same network: {counts}")
    x = torch.rand(given.batch, 3, 32, 32) * 2 - 1
    steps = {name: stepper(net, x, given.precision) for name, net in nets.items()}
    what = f"DiT, a step, 32x32, {given.width} wide, {given.depth} blocks, batch {given.batch}, {given.precision}"
    _race.told(_race.compared(what, _race.race(steps, given.turns, warm=1), given.batch), given)


if __name__ == "__main__":
    main()
