"""One strip of pictures of every family, quickly: what the demo shows of the field.

A family adds a line to :data:`STRIPS`. What ships is drawn anew; of what does not, the sheet is shown that was drawn
when its claim was measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from zeuxis.api.model import load
from zeuxis.api.pictures import Pictures, sheet, to_pil
from zeuxis.api.restore_models import restorer_for
from zeuxis.batch import to_float
from zeuxis.catalog.listing import RESULTS
from zeuxis.data.library import open_source
from zeuxis.data.parsers import carried
from zeuxis.degrade.language import parse_chain
from zeuxis.provenance.record import write_png
from zeuxis.rng import ImageRng

TILE = 64  # pixels a side, about, that small pictures are enlarged to
CAPTIONS = (
    "a small red circle above a large blue square at night",
    "a large yellow star left of a small green ring by day",
    "a large purple triangle by day",
    "a small orange square below a small red star at night",
)
INKS = ((44, 62, 96), (92, 122, 72), (200, 60, 60), (70, 150, 220), (226, 190, 70), (160, 96, 190), (236, 236, 236))

Writer = Callable[[Path], Path]  # writes a picture into a folder; returns where


@dataclass(frozen=True)
class Strip:
    """A line of the page: pictures by ``model``, and what is to be seen in them."""

    family: str
    model: str
    about: str
    write: Writer


def drawn(model: str, n: int = 8, columns: int = 8, **steering: Any) -> Writer:
    """New pictures by a model of the package, or by a generator; what is drawn in steps in a row each."""

    def write(folder: Path) -> Path:
        made = load(model).sample(n, seed=0, **steering)
        return made.save_sheet(
            folder / f"{model}.png", None if made.steps is not None else columns, _scale(made.tensor)
        )

    return write


def rebuilt(first_stage: str, of: str, n: int = 8) -> Writer:
    """Pictures drawn by one model above what another makes of them from its codes."""

    def write(folder: Path) -> Path:
        made, coder = load(of).sample(n, seed=0), load(first_stage)
        again = coder.decode(coder.encode(made))
        both = Pictures(torch.cat([made.tensor, again.tensor]), made.records + again.records)
        return both.save_sheet(folder / f"{first_stage}.png", n, _scale(both.tensor))

    return write


def segmented(model: str, world: str, n: int = 8) -> Writer:
    """Held-out pictures of a world above the class of each of their pixels, as the model sees it."""

    def write(folder: Path) -> Path:
        network = load(model)
        image = open_source(world, network.spec.size, "test").batch(torch.arange(n)).image
        with torch.inference_mode():
            classes = network.system.segment(image).argmax(1)
        maps = (torch.tensor(INKS) / 127.5 - 1)[classes].movedim(-1, 1)
        write_png(sheet([to_pil(x) for x in torch.cat([image, maps])], n, _scale(image)), folder / f"{model}.png")
        return folder / f"{model}.png"

    return write


def restored(model: str, damage: str, side: int = 240) -> Writer:
    """A part of a photograph as it was, damaged, and as the model makes it of that."""

    def write(folder: Path) -> Path:
        with Image.open(carried("images/china.jpg", "the photograph")) as photograph:
            middle = ImageOps.fit(photograph.convert("RGB"), (photograph.height, photograph.height))
            part = middle.crop((0, 0, side, side))
        clean = to_float(torch.from_numpy(np.array(part)).permute(2, 0, 1))[None]
        given = parse_chain(damage)(clean, ImageRng([0]))
        with torch.inference_mode():
            made = 2 * restorer_for(model, None).network((given + 1) / 2) - 1
        images = torch.cat([clean, given, made.clamp(-1, 1)])
        write_png(sheet([to_pil(x) for x in images], 3), folder / f"{model}.png")
        return folder / f"{model}.png"

    return write


def kept(recipe: str) -> Writer:
    """The sheet of a recipe's recorded result: its weights do not ship."""

    def write(folder: Path) -> Path:
        return Path(shutil.copyfile(RESULTS / f"{recipe}.webp", folder / f"{recipe}.webp"))

    return write


def _scale(images: torch.Tensor) -> int:
    return max(1, TILE // images.shape[-1])


DENOISED = restored("denoise", "noise:0.2")
SEEN = segmented("segmenter-scenes", "scenes")
FROM_RESULT = "Drawn when its claim was measured; its weights do not ship."
STRIPS = (
    Strip("procedural", "perlin", "Clouds of fractal noise: rules alone, nothing is learnt.", drawn("perlin")),
    Strip("procedural", "turtle", "Trails of a turtle that turns by the toss of a coin.", drawn("turtle")),
    Strip("density", "mixture-digits", f"Digits from a mixture of Gaussians. {FROM_RESULT}", kept("mixture-digits")),
    Strip("energy", "rbm", f"Digits by Gibbs sampling. {FROM_RESULT}", kept("rbm")),
    Strip("autoencoder", "cvae", "One piece of clothing of each class, in one pass.", drawn("cvae")),
    Strip("autoencoder", "vqgan", "The row before, and rebuilt from 64 codes each.", rebuilt("vqgan", "cvae")),
    Strip("adversarial", "dcgan", f"Clothing. {FROM_RESULT}", kept("dcgan")),
    Strip("autoregressive", "image-gpt-label", f"Clothing, code by code. {FROM_RESULT}", kept("image-gpt-label")),
    Strip("text", "align-draw", f'"{CAPTIONS[0]}", step by step.', drawn("align-draw", 2, caption=CAPTIONS[0])),
    Strip("diffusion", "scenes", "; ".join(CAPTIONS) + ".", drawn("scenes", 8, caption=CAPTIONS * 2)),
    Strip("translation", "cyclegan", f"Day into night, learnt without pairs. {FROM_RESULT}", kept("cyclegan")),
    Strip("restoration", "denoise", "A photograph (by D. Buechele, CC BY 2.0), with noise, without it.", DENOISED),
    Strip("recognition", "segmenter-scenes", "Scenes, and what it sees at every pixel.", SEEN),
)
