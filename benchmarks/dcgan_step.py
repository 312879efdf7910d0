"""Training images/s of DCGAN: our game beside the usual hand-written loop over the same network.

    python benchmarks/dcgan_step.py [--size 32] [--width 64] [--batch 64] [--rounds 20] [--threads 1]

The peer is the loop that everybody has written since 2015 (as PyTorch's own example does it): binary
cross-entropy on a sigmoid, the discriminator on real and on fake pictures with a backward pass each,
then the generator through the discriminator. Same layers, batch, precision, optimiser and
thread count; the two take turns, so that both meet the same weather. The ratio is the median over
turns, of wall time and, for a machine with other work, of processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Shape
from zeuxis.game import Player, Turn, play_round
from zeuxis.rng import Stream
from zeuxis.systems.adversarial.dcgan import DCGAN

NZ = 100


def ours(shape: Shape, width: int, image: Tensor) -> Callable[[], None]:
    """A round of our game, with a plain Adam step."""
    system = DCGAN(shape, nz=NZ, ngf=width, ndf=width, norm_first=False).train()
    players, rng = system.players(), Stream(0)
    optimisers = {p.name: torch.optim.Adam(p.parameters(), p.lr, p.betas) for p in players}

    def step(player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> None:
        optimiser = optimisers[player.name]
        optimiser.zero_grad(set_to_none=True)
        value = loss(turns[0])
        assert value is not None
        value.backward()
        optimiser.step()

    return lambda: void(play_round(system, players, lambda: [Turn(Batch(image), rng, 0, 0.0)], step))


def void(value: object) -> None:
    """Drop ``value``."""


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
    down += [nn.Conv2d(top, 1, 4, 1, 0, bias=False), nn.Sigmoid()]
    return nn.Sequential(*up), nn.Sequential(*down)


def peer(shape: Shape, width: int, image: Tensor) -> Callable[[], None]:
    """An iteration of the hand-written loop."""
    generator, discriminator = peer_networks(shape, width)
    adam_g, adam_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (generator, discriminator))
    judge = nn.BCELoss()
    real, fake = torch.ones(len(image)), torch.zeros(len(image))

    def iteration() -> None:
        discriminator.zero_grad()
        judge(discriminator(image).flatten(), real).backward()
        made = generator(torch.randn(len(image), NZ, 1, 1))
        judge(discriminator(made.detach()).flatten(), fake).backward()
        adam_d.step()
        generator.zero_grad()
        judge(discriminator(made).flatten(), real).backward()
        adam_g.step()

    return iteration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shape = Shape(args.channels, args.size, args.size)
    image = torch.rand(args.batch, *shape) * 2 - 1
    contestants = {"ours": ours(shape, args.width, image), "peer": peer(shape, args.width, image)}
    sizes = (
        count(DCGAN(shape, nz=NZ, ngf=args.width, ndf=args.width, norm_first=False)),
        sum(count(net) for net in peer_networks(shape, args.width)),
    )
    assert sizes[0] == sizes[1], f"not the same network: {sizes}"
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    processor: dict[str, list[float]] = {name: [] for name in contestants}
    for iteration in range(args.rounds + 3):  # the first three warm up
        for name, play in contestants.items():
            start = time.perf_counter(), time.process_time()
            play()
            if iteration >= 3:
                wall[name].append(time.perf_counter() - start[0])
                processor[name].append(time.process_time() - start[1])
    rate = {f"{name}_images_per_s": round(args.batch / statistics.median(s)) for name, s in wall.items()}
    ratios = {"ratio": ratio(wall), "ratio_of_processor_time": ratio(processor)}
    print(json.dumps({**vars(args), **rate, **ratios}))


def ratio(seconds: dict[str, list[float]]) -> float:
    """How many times as fast as the peer we are: the median over turns."""
    return round(statistics.median(p / o for o, p in zip(seconds["ours"], seconds["peer"], strict=True)), 3)


def count(net: nn.Module) -> int:
    """Its parameters."""
    return sum(p.numel() for p in net.parameters())


if __name__ == "__main__":
    main()
