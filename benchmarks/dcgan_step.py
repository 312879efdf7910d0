"""A training step of DCGAN beside the usual hand-written loop over the same network.

    python benchmarks/dcgan_step.py [--size 32] [--width 64] [--batch 64] [--turns 20] [--threads 1]

Ours is a round of the real trainer with its average, as the recipe has it. The peer is the loop that everybody has
written since 2015 (as PyTorch's own example does it), in its best form: binary cross-entropy with logits, the
discriminator on real and on fake pictures with a backward pass each, then the generator through the discriminator,
which is frozen meanwhile; Adam is fused; once with channels last and once without. Same layers and batch, float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import _race
import torch
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.systems.adversarial.dcgan import DCGAN

NZ = 100


def peer_networks(shape: Shape, width: int) -> tuple[nn.Module, nn.Module]:
    """The same stacks, written out as a script would."""
    top = width * shape.height // 8  # channels at 4x4
    up: list[nn.Module] = [nn.ConvTranspose2d(NZ, top, 4, 1, 0, bias=False), nn.BatchNorm2d(top), nn.ReLU(True)]
    down: list[nn.Module] = []
    channels = top
    while channels > width:
        up += [nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False)]
        up += [nn.BatchNorm2d(channels // 2), nn.ReLU(True)]
        down = [
            nn.Conv2d(channels // 2, channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2, inplace=True),
            *down,
        ]
        channels //= 2
    up += [nn.ConvTranspose2d(width, shape.channels, 4, 2, 1, bias=False), nn.Tanh()]
    down = [nn.Conv2d(shape.channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True), *down]
    down += [nn.Conv2d(top, 1, 4, 1, 0, bias=False)]
    return nn.Sequential(*up), nn.Sequential(*down)


def peer(shape: Shape, width: int, image: Tensor, layout: torch.memory_format) -> Callable[[], None]:
    """An iteration of the hand-written loop."""
    generator, discriminator = (net.to(memory_format=layout) for net in peer_networks(shape, width))
    adam_g, adam_d = (
        torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999), fused=True) for n in (generator, discriminator)
    )
    judge = nn.BCEWithLogitsLoss()
    image = image.contiguous(memory_format=layout)
    real, fake = torch.ones(len(image)), torch.zeros(len(image))

    def iteration() -> None:
        adam_d.zero_grad()
        judge(discriminator(image).flatten(), real).backward()
        made = generator(torch.randn(len(image), NZ, 1, 1))
        judge(discriminator(made.detach()).flatten(), fake).backward()
        adam_d.step()
        adam_g.zero_grad()
        with _race.frozen(discriminator):
            judge(discriminator(made).flatten(), real).backward()
        adam_g.step()

    return iteration


def main() -> None:
    given = _race.arguments(__doc__, size=32, channels=1, width=64, batch=64).parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    shape = Shape(given.channels, given.size, given.size)
    image = torch.rand(given.batch, *shape) * 2 - 1
    system = DCGAN(shape, nz=NZ, ngf=given.width, ndf=given.width, norm_first=False)
    sizes = count(system), sum(count(net) for net in peer_networks(shape, given.width))
    assert sizes[0] == sizes[1], f"not the same network: {sizes}"
    with tempfile.TemporaryDirectory() as folder:
        seconds = _race.race(
            {
                _race.OURS: _race.trainer_step(system, image, "dcgan", Path(folder), "float32"),
                "the usual loop": peer(shape, given.width, image, torch.contiguous_format),
                "the usual loop, channels last": peer(shape, given.width, image, torch.channels_last),
            },
            given.turns,
        )
    what = f"DCGAN step, {given.size}x{given.size}, width {given.width}, batch {given.batch}"
    _race.told(_race.compared(what, seconds, given.batch), given)


def count(net: nn.Module) -> int:
    """Its parameters."""
    return sum(p.numel() for p in net.parameters())


if __name__ == "__main__":
    main()
