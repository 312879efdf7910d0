"""A training step of the diffusion U-Net beside the same network in diffusers.

    python benchmarks/unet_step.py [--width 128] [--batch 8] [--turns 8] [--precision bfloat16]

Same layers, same shapes, same batch, same number of parameters. The step is that of DDPM: noise, forward, mean squared
error, backward, fused Adam; it is the networks that race, so that neither has a trainer or an average.
"""

from __future__ import annotations

from collections.abc import Callable

import _race
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.nn.unet import UNet


class Peer(nn.Module):
    """diffusers' UNet2DModel with the layers of our U-Net; from 128 channels on, also its norm groups."""

    def __init__(self, width: int, multiples: tuple[int, ...], blocks: int, attention: tuple[int, ...]) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        attends = [2**i in attention for i in range(len(multiples))]
        self.net = UNet2DModel(
            sample_size=32,
            in_channels=3,
            out_channels=3,
            block_out_channels=tuple(width * m for m in multiples),
            layers_per_block=blocks,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
            attention_head_dim=None,
            downsample_padding=0,
            flip_sin_to_cos=False,
            freq_shift=1,
            norm_eps=1e-6,
            norm_num_groups=32,
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = self.net(x, time).sample
        return out


def stepper(net: nn.Module, x: Tensor, precision: str) -> Callable[[], None]:
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-4, fused=True)
    rng = torch.Generator().manual_seed(0)

    def step() -> None:
        noise = torch.randn(x.shape, generator=rng)
        time = torch.randint(1000, (len(x),), generator=rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            prediction = net(x + noise, time)
        loss = F.mse_loss(prediction.float(), noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    parser = _race.arguments(__doc__, width=128, batch=8)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    shape, multiples, blocks, attention = (given.batch, 3, 32, 32), (1, 2, 2), 2, (2,)
    ours = UNet(3, width=given.width, multiples=multiples, blocks=blocks, attention=attention, ddpm=True)
    peer = Peer(given.width, multiples, blocks, attention)
    counts = {k: sum(p.numel() for p in n.parameters()) for k, n in ((_race.OURS, ours), ("diffusers", peer))}
    if counts[_race.OURS] != counts["diffusers"]:
        raise SystemExit(f"not the same network: {counts}")
    x = torch.rand(shape) * 2 - 1
    nets = {_race.OURS: ours, "diffusers": peer}
    steps = {name: stepper(net, x, given.precision) for name, net in nets.items()}
    what = f"DDPM's U-Net, a step, 32x32, width {given.width}, batch {given.batch}, {given.precision}"
    _race.told(_race.compared(what, _race.race(steps, given.turns, warm=1), given.batch), given)


if __name__ == "__main__":
    main()
