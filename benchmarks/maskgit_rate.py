"""Seconds for 64 pictures: maskgit in a few steps, against image-gpt code by code with and without its memory.

    python benchmarks/maskgit_rate.py [--maskgit RUN --image-gpt RUN] [--images 64] [--turns 5]

Without run folders the two recipes are built untrained, which takes as long to sample. Both are ours: the ratio says
what drawing many codes at once gains. With ``--samples N`` and run folders the Fréchet distances of both are measured
too, and their ratio.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import _race
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
    parser = _race.arguments(__doc__, steps=8, images=64, samples=0)
    parser.add_argument("--maskgit", help="a run folder")
    parser.add_argument("--image-gpt", help="a run folder")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    masked, gpt = (opened(name, run) for name, run in (("maskgit", args.maskgit), ("image-gpt", args.image_gpt)))
    assert isinstance(masked, MaskGIT) and isinstance(gpt, ImageGPT)
    n = args.images
    contestants: dict[str, Callable[[], Tensor]] = {
        _race.OURS: lambda: masked.sample(some_labels(masked, n), ImageRng.counting(0, n), Sampling(steps=args.steps)),
        "image-gpt": lambda: gpt.sample(some_labels(gpt, n), ImageRng.counting(0, n)),
        "image-gpt without its memory": lambda: without_cache(gpt, n),
    }
    with torch.inference_mode():
        same = contestants["image-gpt"]() - contestants["image-gpt without its memory"]()
        seconds = _race.race(contestants, args.turns, warm=1)
    assert float((same.flatten(1).abs().amax(1) < 1e-4).float().mean()) > 0.9, "with and without memory differ"
    _race.told(_race.compared(f"maskgit in {args.steps} steps, {n} pictures at once", seconds, n), args)
    if args.samples:
        print(json.dumps(distances(args.maskgit, args.image_gpt, args.steps, args.samples)))


def distances(masked: str, gpt: str, steps: int, samples: int) -> dict[str, float]:
    """The Fréchet distance of either run on its own data, and the first over the second."""
    how = {masked: Sampling(steps=steps), gpt: Sampling()}
    a, b = (evaluate(load(run), metrics=("frechet",), samples=samples, how=how[run])[0].value for run in (masked, gpt))
    return {"maskgit_frechet": round(a, 3), "image_gpt_frechet": round(b, 3), "ratio_of_frechet": round(a / b, 3)}


if __name__ == "__main__":
    main()
