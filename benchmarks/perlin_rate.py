"""Perlin noise a second, beside a loop over pixels that computes the same numbers. Prints the ratio.

python benchmarks/perlin_rate.py [--size 128] [--batch 16]
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import torch

from zeuxis.counter import mix
from zeuxis.patterns.perlin import VECTORS, noise

CELLS = 8
ROUNDS = 5


def loop(seed: int, size: int) -> torch.Tensor:
    """One picture, pixel by pixel, as the usual listing has it."""
    table = VECTORS[2].tolist()
    base = mix(torch.tensor([seed]))
    vectors: dict[tuple[int, int], list[float]] = {}
    for i in range(CELLS + 1):
        for j in range(CELLS + 1):
            code = mix(mix(base + i + 1) + j + 1)
            vectors[i, j] = table[int((code >> 33).remainder(len(table)))]
    made = [[0.0] * size for _ in range(size)]
    for r in range(size):
        for c in range(size):
            y, x = (r + 0.5) * CELLS / size, (c + 0.5) * CELLS / size
            i, j = math.floor(y), math.floor(x)
            dy, dx = y - i, x - j
            fy, fx = (t * t * t * (t * (t * 6 - 15) + 10) for t in (dy, dx))
            value = 0.0
            for a, wy in ((0, 1 - fy), (1, fy)):
                for b, wx in ((0, 1 - fx), (1, fx)):
                    gy, gx = vectors[i + a, j + b]
                    value += wy * wx * (gy * (dy - a) + gx * (dx - b))
            made[r][c] = value * math.sqrt(2)
    return torch.tensor(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    axis = (torch.arange(args.size) + 0.5) * (CELLS / args.size)
    seeds = torch.arange(args.batch)
    torch.testing.assert_close(noise(seeds[:1], [axis, axis])[0], loop(0, args.size), atol=1e-5, rtol=0)
    ratios = []
    for k in range(ROUNDS):
        start = time.perf_counter()
        noise(seeds, [axis, axis])
        middle = time.perf_counter()
        loop(k, args.size)
        end = time.perf_counter()
        ratios.append((end - middle) * args.batch / (middle - start))
    print(f"{args.size}x{args.size}, {torch.get_num_threads()} threads: {statistics.median(ratios):.0f} times the loop "
          f"(least {min(ratios):.0f}), median of {ROUNDS} interleaved rounds; both gave the same numbers")  # fmt: skip


if __name__ == "__main__":
    main()
