"""A training step of CycleGAN beside the authors' own program.

    git clone https://github.com/taesungp/contrastive-unpaired-translation
    python benchmarks/cyclegan_step.py --clone contrastive-unpaired-translation [--size 64] [--blocks 9] [--batch 1]

Ours is a round of the real trainer with its average. The peer is ``CycleGANModel`` of the authors' later repository,
which keeps their program: its own networks, losses, pools and step, once as it is and once with fused Adam. It has no
average. Same layers and batch, identity loss on in both, float32; the two translators and critics are first checked to
have as many parameters as ours.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _race
import torch
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.systems.translation.cyclegan import CycleGAN


def public(clone: str, given: argparse.Namespace, image: Tensor, source: Tensor, *, fused: bool) -> tuple[Any, int]:
    """An iteration of the authors' program, and how many parameters its networks have."""
    if clone not in sys.path:
        sys.path.insert(0, clone)
    options = argparse.Namespace(
        gpu_ids=[], isTrain=True, checkpoints_dir="", name="", preprocess="none", amp=False, direction="AtoB",
        input_nc=3, output_nc=3, ngf=given.ngf, ndf=given.ngf, netG=f"resnet_{given.blocks}blocks", netD="basic",
        n_layers_D=3, normG="instance", normD="instance", no_dropout=True, init_type="xavier", init_gain=0.02,
        no_antialias=True, no_antialias_up=True, lambda_A=10.0, lambda_B=10.0, lambda_identity=0.5, pool_size=50,
        gan_mode="lsgan", lr=2e-4, beta1=0.5, crop_size=given.size, load_size=given.size,
    )  # fmt: skip
    model = importlib.import_module("models.cycle_gan_model").CycleGANModel(options)
    pairs = ((model.netG_A, model.netG_B), (model.netD_A, model.netD_B))
    if fused:
        model.optimizer_G, model.optimizer_D = (
            torch.optim.Adam(itertools.chain(a.parameters(), b.parameters()), 2e-4, (0.5, 0.999), fused=True)
            for a, b in pairs
        )
    data = {"A": source, "B": image, "A_paths": [], "B_paths": []}

    def iteration() -> None:
        model.set_input(data)
        model.optimize_parameters()

    return iteration, sum(p.numel() for pair in pairs for net in pair for p in net.parameters())


def main() -> None:
    parser = _race.arguments(__doc__, size=64, batch=1, ngf=64, blocks=9, turns=8)
    parser.add_argument("--clone", required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    shape = Shape(3, given.size, given.size)
    image, source = (torch.rand(given.batch, *shape) * 2 - 1 for _ in range(2))
    system = CycleGAN(shape, source_shape=shape, ngf=given.ngf, ndf=given.ngf, blocks=given.blocks)
    mine = sum(p.numel() for p in system.parameters())
    contestants: dict[str, Callable[[], None]] = {}
    for name, fused in (("the authors' program", False), ("the authors' program, fused Adam", True)):
        contestants[name], count = public(given.clone, given, image, source, fused=fused)
        if mine != count:
            raise SystemExit(f"not the same networks: {mine:,}, {count:,}")
    with tempfile.TemporaryDirectory() as folder:
        condition = Condition(source=source)
        ours = _race.trainer_step(system, image, "cyclegan", Path(folder), "float32", condition)
        seconds = _race.race({_race.OURS: ours, **contestants}, given.turns, warm=1)
    what = f"CycleGAN step, {given.size}x{given.size}, {mine:,} parameters, batch {given.batch}"
    _race.told(_race.compared(what, seconds, given.batch), given)


if __name__ == "__main__":
    main()
