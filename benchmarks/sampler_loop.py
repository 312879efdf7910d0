"""A sampler's loop beside the same method in diffusers, the network left out: CPU seconds.

    python benchmarks/sampler_loop.py [--steps 50] [--batch 4] [--side 32] [--turns 30] [--json]

The network is replaced by one that hands back what it is shown, so what is left is what sampling costs besides it: a
system's denoiser with its conversions and its clamp, and the sampler; of diffusers, `scale_model_input` and `step` of
the scheduler, as its pipelines call them, with the same clamp where the scheduler has one. Grids are laid beforehand.
All loops take turns in one process, in an order that is rotated; time is CPU time of one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.diffusion.sampler import SAMPLERS
from zeuxis.diffusion.schedule import flow_times
from zeuxis.knobs import Sampling
from zeuxis.rng import Stream
from zeuxis.systems.diffusion.ddpm import DDPM
from zeuxis.systems.diffusion.flow_matching import FlowMatching

Loop = Callable[[], object]


class Nothing(nn.Module):
    """Hands back what it is shown."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return x


def chain(x: Tensor, steps: int, sampler: str) -> Loop:
    """A sampler over DDPM's denoiser."""
    system = DDPM(Shape(*x.shape[1:]), width=8, multiples=(1, 2), blocks=1, attention=())
    system.network = Nothing()
    how = Sampling(steps=steps, sampler=sampler)
    levels, rng = system.levels(how), Stream(0)
    denoise = system.denoiser(Condition(), len(x), how)
    return lambda: SAMPLERS[sampler](denoise, x, levels, rng)


def straight(x: Tensor, steps: int) -> Loop:
    """Euler's method on the straight path, as flow matching draws."""
    system = FlowMatching(Shape(*x.shape[1:]))
    system.network = Nothing()
    times, rng = flow_times(steps), Stream(0)
    denoise = system.straight_denoiser(Condition(), len(x), 1.0)
    return lambda: SAMPLERS["euler"](denoise, x, times, rng)


def theirs(scheduler: object, x: Tensor, steps: int) -> Loop:
    """The loop of a pipeline of diffusers."""
    net = Nothing()

    def loop() -> None:
        now = x
        for t in scheduler.timesteps:  # type: ignore[attr-defined]
            scaled = getattr(scheduler, "scale_model_input", None)  # flow matching's has none
            shown = now if scaled is None else scaled(now, t)
            now = scheduler.step(net(shown, t), t, now, return_dict=False)[0]  # type: ignore[attr-defined]

    return loop


def pairs(x: Tensor, steps: int) -> dict[str, tuple[Loop, Loop, Loop]]:
    """Our loop, theirs, and what brings their scheduler back to its first step, by method."""
    import diffusers

    linear = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    peers: dict[str, object] = {
        "ddim": diffusers.DDIMScheduler(**linear, clip_sample=True, timestep_spacing="trailing"),
        "ancestral": diffusers.DDPMScheduler(**linear, clip_sample=True, timestep_spacing="trailing"),
        "euler": diffusers.EulerDiscreteScheduler(**linear, timestep_spacing="trailing"),
        "heun": diffusers.HeunDiscreteScheduler(**linear, timestep_spacing="trailing"),
        "dpmpp-2m": diffusers.DPMSolverMultistepScheduler(**linear, use_karras_sigmas=True),
        "flow": diffusers.FlowMatchEulerDiscreteScheduler(),
    }
    found = {}
    for name, peer in peers.items():
        again = partial(peer.set_timesteps, steps)  # type: ignore[attr-defined]
        again()
        found[name] = straight(x, steps) if name == "flow" else chain(x, steps, name), theirs(peer, x, steps), again
    return found


@torch.no_grad()
def main() -> None:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    args.add_argument("--steps", type=int, default=50)
    args.add_argument("--batch", type=int, default=4)
    args.add_argument("--side", type=int, default=32)
    args.add_argument("--turns", type=int, default=30)
    args.add_argument("--json", action="store_true")
    given = args.parse_args()
    torch.set_num_threads(1)

    x = Stream(1).normal(given.batch, 3, given.side, given.side)
    loops = pairs(x, given.steps)
    order = [(name, whose) for name in loops for whose in (0, 1)]
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in order}
    for turn in range(given.turns + 1):
        start = turn % len(order)
        for name, whose in order[start:] + order[:start]:
            loops[name][2]()
            loop = loops[name][whose]
            began = time.process_time()
            loop()
            if turn:  # the first is for warming up
                seconds[name, whose].append(time.process_time() - began)
    found: dict[str, object] = {
        "steps": given.steps,
        "batch": given.batch,
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    for name in loops:
        mine, peer = (statistics.median(seconds[name, whose]) for whose in (0, 1))
        found[name] = {
            "zeuxis_ms": round(1000 * mine, 2),
            "diffusers_ms": round(1000 * peer, 2),
            "times_as_fast": round(peer / mine, 2),
        }
    print(json.dumps(found, indent=1) if given.json else "\n".join(f"{k}: {v}" for k, v in found.items()))


if __name__ == "__main__":
    main()
