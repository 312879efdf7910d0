"""A training step of StyleGAN2 beside the public program's own, both in plain PyTorch.

    git clone https://github.com/NVlabs/stylegan3
    python benchmarks/stylegan2_step.py --clone stylegan3 [--size 64] [--batch 8] [--rounds 16] [--turns 7]

Ours is a round of the real trainer with its average, as the recipe has it. The peer is the loop of the public program
over its own networks and its own loss, on the path that it takes without its compiled extensions: four phases (the
generator's loss, path lengths every 4 rounds, the discriminator's loss, R1 every 16), Adam, the average; what it does
for several processes is left out. A turn is as many rounds as R1 is left out for, so that it holds each penalty as
often as training does. Same sizes, float32.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _race
import torch
from packaging.version import parse
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.systems.adversarial.stylegan2 import StyleGAN2

LR, PATH, R1 = 2e-3, 4, 16  # rounds from one penalty to the next


def public(
    clone: str, shape: Shape, image: Tensor, sizes: dict[str, int], gamma: float
) -> tuple[int, Callable[[], None]]:
    """How many parameters the public networks have, and a round of their training."""
    sys.path.insert(0, clone)
    if importlib.util.find_spec("pkg_resources") is None:  # of which it asks one function, and which is gone
        stand_in: Any = types.ModuleType("pkg_resources")
        stand_in.parse_version = parse
        sys.modules["pkg_resources"] = stand_in
    networks = importlib.import_module("training.networks_stylegan2")
    loss_of = importlib.import_module("training.loss").StyleGAN2Loss
    common = {"c_dim": 0, "img_resolution": shape.height, "img_channels": shape.channels}
    widths = {"channel_base": sizes["channel_base"], "channel_max": sizes["channel_max"]}
    generator = networks.Generator(
        z_dim=sizes["nz"],
        w_dim=sizes["width"],
        mapping_kwargs={"num_layers": sizes["mapping"]},
        fused_modconv_default="inference_only",  # as its training has it
        **common,
        **widths,
    ).requires_grad_(False)
    discriminator = networks.Discriminator(**common, **widths).requires_grad_(False)
    average = copy.deepcopy(generator).eval()
    device = torch.device("cpu")
    loss = loss_of(
        device, generator, discriminator, r1_gamma=gamma, style_mixing_prob=0.9, pl_weight=2, pl_no_weight_grad=True
    )
    phases = []
    for name, net, every in (("G", generator, PATH), ("D", discriminator, R1)):
        share = every / (every + 1)
        adam = torch.optim.Adam(net.parameters(), LR * share, (0.0, 0.99**share))
        phases += [(f"{name}main", net, adam, 1), (f"{name}reg", net, adam, every)]
    label = torch.zeros(len(image), 0)
    done = 0

    def iteration() -> None:
        nonlocal done
        for name, net, adam, every in phases:
            if done % every:
                continue
            adam.zero_grad(set_to_none=True)
            net.requires_grad_(True)
            z = torch.randn(len(image), sizes["nz"])
            loss.accumulate_gradients(name, image, label, z, label, gain=every, cur_nimg=done * len(image))
            net.requires_grad_(False)
            adam.step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), generator.parameters(), strict=True):
                mine.copy_(theirs.lerp(mine, 0.998))
            for mine, theirs in zip(average.buffers(), generator.buffers(), strict=True):
                mine.copy_(theirs)
        done += 1

    return sum(p.numel() for net in (generator, discriminator) for p in net.parameters()), iteration


def repeated(step: Callable[[], None], times: int) -> Callable[[], None]:
    def turn() -> None:
        for _ in range(times):
            step()

    return turn


def main() -> None:
    numbers = {"size": 64, "channels": 3, "batch": 8, "base": 4096, "most": 128, "rounds": R1}
    parser = _race.arguments(__doc__, **numbers)
    parser.add_argument("--clone", required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    shape = Shape(given.channels, given.size, given.size)
    image = torch.rand(given.batch, *shape) * 2 - 1
    sizes = {"nz": 128, "width": 128, "mapping": 2, "channel_base": given.base, "channel_max": given.most}
    system = StyleGAN2(shape, gamma=0.1, r1_every=R1, path_every=PATH, lr=LR, **sizes)
    count, theirs = public(given.clone, shape, image, sizes, 0.1)
    mine = sum(p.numel() for p in system.parameters())
    assert mine == count, f"not the same networks: {mine}, {count}"
    with tempfile.TemporaryDirectory() as folder:
        ours = _race.trainer_step(system, image, "stylegan2", Path(folder), "float32")
        contestants = {_race.OURS: repeated(ours, given.rounds), "the public program": repeated(theirs, given.rounds)}
        seconds = _race.race(contestants, given.turns, warm=1)
    what = f"StyleGAN2 step, {given.size}x{given.size}, {count:,} parameters, batch {given.batch}"
    _race.told(_race.compared(what, seconds, given.batch * given.rounds), given)


if __name__ == "__main__":
    main()
