"""Seconds for 64 pictures: maskgit in a few steps, against image-gpt code by code with and without its memory.

    python benchmarks/maskgit_rate.py [--maskgit RUN --image-gpt RUN] [--images 64] [--turns 5] [--device cpu]

Without run folders the two recipes are built untrained, which takes as long to sample. The three take turns, so that
all meet the same weather; reported are medians, and how many times as fast maskgit is: the median over turns and the
worst of them. With ``--samples N`` and run folders the Fréchet distances of both are measured too, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import load
from zeuxis.batch import Condition
from zeuxis.catalog.build import build, given_models
from zeuxis.distributions.categorical import Categorical
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.recipe import load_recipe
from zeuxis.rng import ImageRng
from zeuxis.spec import DataSpec
from zeuxis.systems.autoregressive.image_gpt import ImageGPT
from zeuxis.systems.autoregressive.maskgit import MaskGIT


def opened(name: str, run: str | None) -> System:
    """A trained run, or the recipe's own system as it is built."""
    if run is not None:
        return load(run).system
    recipe = load_recipe(name)
    given = {key: load(model).system for key, model in given_models(recipe).items()}
    return build(recipe.system, DataSpec(given["tokeniser"].shape), recipe.model | given).eval()


def without_cache(model: ImageGPT, n: int) -> Tensor:
    """The same pictures, all that came before recomputed for every code."""
    length, label = model.layout.length, some_labels(model, n).label
    u = ImageRng.counting(0, n).uniform(n, length, device=model.device)
    codes = torch.zeros(n, length, dtype=torch.int64, device=model.device)
    for i in range(length):
        codes[:, i] = Categorical(prefix(model, codes, i, label)).from_uniform(u[:, i])
    return model.tokeniser.decode(codes.unflatten(1, model.layout.grid))


def prefix(model: ImageGPT, codes: Tensor, i: int, label: Tensor | None) -> Tensor:
    """Logits ``(B, K)`` of place ``i`` from the ``i`` codes before it, computing no place after it."""
    net = model.network
    x = torch.cat([net.begin(len(codes), label)[:, None], net.token(codes[:, :i])], 1) + net.body.pos_embed[: i + 1]
    mask = None if net.body.causal_mask is None else net.body.causal_mask[: i + 1, : i + 1]
    for block in net.body.blocks:
        x = block(x, mask)
    return cast(Tensor, net.head(net.body.norm(x[:, -1])))


def some_labels(model: System, n: int) -> Condition:
    """Its classes in turn, where it is conditioned on one."""
    classes = model.spec.classes
    return (
        Condition(label=torch.arange(n, device=model.device) % classes) if "label" in model.conditions else Condition()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maskgit", help="a run folder")
    parser.add_argument("--image-gpt", help="a run folder")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--samples", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    masked, gpt = (
        opened(name, run).to(args.device) for name, run in (("maskgit", args.maskgit), ("image-gpt", args.image_gpt))
    )
    assert isinstance(masked, MaskGIT) and isinstance(gpt, ImageGPT)
    n = args.images
    contestants: dict[str, Callable[[], Tensor]] = {
        "maskgit": lambda: masked.sample(some_labels(masked, n), ImageRng.counting(0, n), Sampling(steps=args.steps)),
        "image_gpt": lambda: gpt.sample(some_labels(gpt, n), ImageRng.counting(0, n)),
        "image_gpt_without_cache": lambda: without_cache(gpt, n),
    }
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    with torch.inference_mode():
        same = contestants["image_gpt"]() - contestants["image_gpt_without_cache"]()
        contestants["maskgit"]()  # all have been warmed up
        for _ in range(args.turns):
            for name, draw in contestants.items():
                start = time.perf_counter()
                draw().cpu()  # which waits for it
                wall[name].append(time.perf_counter() - start)
    result = {
        **vars(args),
        **{f"{name}_s": round(statistics.median(seconds), 3) for name, seconds in wall.items()},
        "pictures_equal": float((same.flatten(1).abs().amax(1) < 1e-4).float().mean()),
    }
    for name in ("image_gpt", "image_gpt_without_cache"):
        ratios = [other / ours for ours, other in zip(wall["maskgit"], wall[name], strict=True)]
        result[f"times_{name}"] = round(statistics.median(ratios), 2)
        result[f"times_{name}_at_worst"] = round(min(ratios), 2)
    if args.samples:
        result |= distances(args.maskgit, args.image_gpt, args.steps, args.samples)
    print(json.dumps(result))


def distances(masked: str, gpt: str, steps: int, samples: int) -> dict[str, float]:
    """The Fréchet distance of either run on its own data, and the first over the second."""
    how = {masked: Sampling(steps=steps), gpt: Sampling()}
    a, b = (evaluate(load(run), metrics=("frechet",), samples=samples, how=how[run])[0].value for run in (masked, gpt))
    return {"maskgit_frechet": round(a, 3), "image_gpt_frechet": round(b, 3), "ratio_of_frechet": round(a / b, 3)}


if __name__ == "__main__":
    main()
