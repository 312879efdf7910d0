"""Every sampler on a denoiser in closed form: no network, no training, an answer that is known.

If pictures were drawn from N(mean, std^2), the best guess of x0 given x = x0 + sigma e would be a weighted mean of
the two. So each sampler must end in that distribution, and the nearer the more steps it takes.
"""

import torch
from torch import Tensor

from zeuxis.diffusion.sampler import SAMPLERS
from zeuxis.diffusion.schedule import karras
from zeuxis.rng import Stream

MEAN, STD = 0.3, 0.5


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """E[x0 | x] of pictures ``x`` (B, C, H, W) with noise of standard deviation ``sigma`` (B,)."""
    variance = sigma[:, None, None, None] ** 2
    return (STD**2 * x + variance * MEAN) / (STD**2 + variance)


def main() -> dict[str, dict[int, tuple[float, float]]]:
    """The mean and the standard deviation that each sampler comes to, by its steps."""
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for name, sampler in SAMPLERS.items():
        for steps in (5, 10, 40):
            rng = Stream(0)
            sigmas = karras(steps)  # (steps + 1,), from 80 to 0
            noise = MEAN + sigmas[0] * rng.normal(4096, 1, 2, 2)
            made = sampler(denoise, noise, sigmas, rng)
            found.setdefault(name, {})[steps] = (float(made.mean()), float(made.std()))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"wanted {MEAN:.3f} {STD:.3f}")
    for name, by_steps in main().items():
        print(f"{name:>12}", *(f"  {steps:>2} steps {mean:.3f} {std:.3f}" for steps, (mean, std) in by_steps.items()))
