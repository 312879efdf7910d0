"""A training step of the diffusion U-Net beside the same network in diffusers: images a second.

    python benchmarks/unet_step.py [--width 128] [--batch 8] [--rounds 8] [--precision bfloat16] [--json]

Same layers, same shapes, same batch, same number of parameters; the two take turns, so that a busy machine slows both.
The step is that of DDPM: noise, forward, mean squared error, backward, Adam. Time is CPU time of this process
on a CPU and wall time otherwise; the best and the median round are given.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

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
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-4)
    rng = torch.Generator().manual_seed(0)

    def step() -> None:
        noise = torch.randn(x.shape, generator=rng).to(x.device)
        time = torch.randint(1000, (len(x),), generator=rng).to(x.device)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            prediction = net(x + noise, time)
        loss = F.mse_loss(prediction.float(), noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    args.add_argument("--width", type=int, default=128)
    args.add_argument("--batch", type=int, default=8)
    args.add_argument("--rounds", type=int, default=8)
    args.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    args.add_argument("--device", default="cpu")
    args.add_argument("--json", action="store_true")
    given = args.parse_args()

    shape, multiples, blocks, attention = (given.batch, 3, 32, 32), (1, 2, 2), 2, (2,)
    ours = UNet(3, width=given.width, multiples=multiples, blocks=blocks, attention=attention, ddpm=True)
    peer = Peer(given.width, multiples, blocks, attention)
    counts = {k: sum(p.numel() for p in n.parameters()) for k, n in (("zeuxis", ours), ("diffusers", peer))}
    if counts["zeuxis"] != counts["diffusers"]:
        raise SystemExit(f"not the same network: {counts}")
    x = torch.rand(shape, device=given.device) * 2 - 1
    steps = {"zeuxis": stepper(ours.to(x.device), x, given.precision)}
    steps["diffusers"] = stepper(peer.to(x.device), x, given.precision)
    clock = time.process_time if x.device.type == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(given.rounds + 1):
        for name, step in steps.items():
            start = clock()
            step()
            if turn:  # the first is for warming up
                seconds[name].append(clock() - start)
    best = {name: given.batch / min(s) for name, s in seconds.items()}
    median = {name: given.batch / statistics.median(s) for name, s in seconds.items()}
    found = {
        "parameters": counts["zeuxis"],
        "batch": given.batch,
        "precision": given.precision,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()} {given.device}",
        "torch": torch.__version__,
        "images_per_second_best": {k: round(v, 2) for k, v in best.items()},
        "images_per_second_median": {k: round(v, 2) for k, v in median.items()},
        "ratio_best": round(best["zeuxis"] / best["diffusers"], 3),
        "ratio_median": round(median["zeuxis"] / median["diffusers"], 3),
    }
    print(json.dumps(found, indent=1) if given.json else "\n".join(f"{k}: {v}" for k, v in found.items()))


if __name__ == "__main__":
    main()
