"""A training step of image-gpt beside nanoGPT's model over the same codes: steps a second.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/image_gpt_step.py nanoGPT/model.py [--length 1024 --batch 4] [--rounds 40]

Ours is a round of the real trainer with its average, on pictures that a frozen tokeniser turns into codes (it knows
them after the first epoch). nanoGPT's is what its ``train.py`` does with a batch: loss, backward, clipping, AdamW, in
its best form here (fused, no biases, no dropout), on the codes themselves, since it has no pictures. Both have as many
layers, heads, channels and codes. The two take turns, so that both meet the same weather, and who begins alternates;
the ratio is of processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.game import System
from zeuxis.recipe import Train
from zeuxis.rng import Stream
from zeuxis.systems.autoregressive.image_gpt import ImageGPT
from zeuxis.training.memory import kept
from zeuxis.training.trainer import Trainer


class Codes(System):
    """A tokeniser whose codes are the pixels of the picture: what it costs is paid in the first epoch."""

    card = Card("codes", title="Codes", family="autoencoder", year=2017, paper="", verbs={"encode", "decode"})

    def __init__(self, shape: Shape, codes: int) -> None:
        super().__init__()
        self.shape, self.codes = Shape(*shape), codes

    def encode(self, image: Tensor) -> Tensor:
        assert self.codes is not None
        return ((image[:, 0] + 1) * (self.codes - 1) / 2).round().long()

    def decode(self, latent: Tensor) -> Tensor:
        raise NotImplementedError


class Repeated:
    """The same few batches over and over."""

    def __init__(self, pictures: Tensor, batch: int) -> None:
        self.pictures, self.batch, self.place = pictures, batch, 0

    def next(self) -> Batch:
        rows = torch.arange(self.place, self.place + self.batch) % len(self.pictures)
        self.place = (self.place + self.batch) % len(self.pictures)
        return Batch(self.pictures[rows], Condition(), rows)

    def state(self) -> dict[str, Any]:
        return {"place": self.place}

    def restore(self, state: dict[str, Any]) -> None:
        self.place = state["place"]


def peer_module(path: Path) -> ModuleType:
    """nanoGPT's ``model.py``."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def our_step(shape: Shape, args: argparse.Namespace, pictures: Tensor, folder: Path) -> tuple[Callable[[], None], int]:
    """A round of the trainer."""
    torch.manual_seed(0)
    system = ImageGPT(
        shape, tokeniser=Codes(shape, args.codes), width=args.width, depth=args.depth, heads=args.heads, lr=1e-4
    )
    config = Train(iterations=10**6, batch=args.batch, ema=0.998, precision="float32")
    trainer = Trainer(system, Repeated(pictures, args.batch), config, folder)
    system.train()
    return trainer.play, sum(p.numel() for p in system.network.parameters())


def peer_step(module: ModuleType, args: argparse.Namespace, codes: Tensor) -> tuple[Callable[[], None], int]:
    """nanoGPT's training step: token i of the targets follows token i of the inputs."""
    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):  # it tells its size, and what is printed here is one JSON document
        model = module.GPT(
            module.GPTConfig(
                block_size=args.length,
                vocab_size=args.codes,
                n_layer=args.depth,
                n_head=args.heads,
                n_embd=args.width,
                dropout=0.0,
                bias=False,
            )
        ).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    place = 0

    def step() -> None:
        nonlocal place
        some = codes[torch.arange(place, place + args.batch) % len(codes)]
        place += args.batch
        _, loss = model(some[:, :-1].contiguous(), some[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step, sum(p.numel() for p in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("peer", type=Path, help="nanoGPT's model.py")
    parser.add_argument("--length", type=int, default=64, help="codes of a picture, a square number")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--codes", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    side = math.isqrt(args.length)
    shape = Shape(1, side, side)
    # nanoGPT predicts from the second token on, so its sequences are one longer: both predict as many.
    codes = Stream(0).integers(args.codes, 4 * args.batch, side * side + 1)
    pictures = (codes[:, 1:] * 2 / (args.codes - 1) - 1).view(-1, *shape)
    with tempfile.TemporaryDirectory() as folder:
        ours, our_count = our_step(shape, args, pictures, Path(folder))
        peer, peer_count = peer_step(peer_module(args.peer), args, codes)
        seconds: tuple[list[float], list[float]] = ([], [])
        with kept("cpu"):  # for both, as in every race
            for turn in range(args.rounds + 6):  # the first six warm up, and fill the cache of codes
                for k in (0, 1) if turn % 2 else (1, 0):
                    start = time.process_time()
                    (ours, peer)[k]()
                    if turn >= 6:
                        seconds[k].append(time.process_time() - start)
    ratios = [p / o for o, p in zip(*seconds, strict=True)]
    found = {
        **{name: value for name, value in vars(args).items() if name != "peer"},
        "parameters": [our_count, peer_count],
        "machine": f"{platform.machine()} cpu",
        "torch": torch.__version__,
        "zeuxis_steps_per_s": round(1 / statistics.median(seconds[0]), 2),
        "nanogpt_steps_per_s": round(1 / statistics.median(seconds[1]), 2),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_best_step": round(min(seconds[1]) / min(seconds[0]), 3),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
