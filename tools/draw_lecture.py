"""Draw the pictures of ``docs/lecture.md`` and take the figures that are its own, into ``tools/lecture.json``.

Run it where ``zeuxis reproduce`` left its trainings: python tools/draw_lecture.py [runs/reproduce]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import Model, load
from zeuxis.api.pictures import sheet, to_pil
from zeuxis.batch import Shape, to_float
from zeuxis.data.cache import data_dir
from zeuxis.data.library import open_source
from zeuxis.data.parsers import faces_gray64
from zeuxis.data.worlds.face import FACTORS
from zeuxis.metrics.similarity import psnr
from zeuxis.recipe import load_recipe
from zeuxis.systems.density.pca import PCA

DOCS = Path(__file__).parent.parent / "docs"
SHOWN = 16
SAMPLED = ("gaussian", "mixture", "parzen", "vae", "cvae", "image-gpt", "maskgit", "maskgit-label")
COMPONENTS, AT_LEAST = 12, 10  # components that are explained; pictures of a person
PRIORS = ("normal", "gaussian", "mixture", "flow")  # over the codes of an autoencoder
KEPT = (1, 2, 4, 7, 16, 32, 64)  # principal components
DRAWN_FACES = 20_000  # that the components of drawn faces are taken from
DIMENSIONS = (1, 2, 4, 8, 16, 32, 64)


def main(runs: Path) -> None:
    for name in SAMPLED:
        page(f"lecture-{name}", [load(runs / f"{name}-0").sample(SHOWN, **load_recipe(name).sample).tensor])
    clothes = open_source("fashion-mnist", 32, "test").batch(torch.arange(SHOWN)).image
    rebuilt = [both(load(runs / f"{name}-0"), clothes) for name in ("pca", "autoencoder", "vae", "vqgan")]
    page("lecture-rebuilt", [clothes, *rebuilt])
    autoencoder = load(runs / "autoencoder-0")
    priors = {kind: autoencoder.with_prior(kind) for kind in PRIORS}
    page("lecture-priors", [model.sample(SHOWN).tensor for model in priors.values()])
    figures = {
        "parzen": {d: proof(load(runs / "parzen-0"), f"shortfall/{d}", 10_000) for d in DIMENSIONS},
        "priors": {kind: distance(model) for kind, model in priors.items()},
        "real faces": real_faces(load(runs / "pca-faces-0")),
        "drawn faces": drawn_faces(),
    }
    (Path(__file__).with_name("lecture.json")).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def both(model: Model, images: Tensor) -> Tensor:
    """The reconstructions."""
    with torch.inference_mode():
        return model.system.decode(model.system.encode(images)).clamp(-1, 1)


def proof(model: Model, name: str, samples: int) -> float:
    """A metric of the model alone."""
    (figure,) = evaluate(model, metrics=(name,), samples=samples)
    return figure.value


def distance(model: Model) -> float:
    """The Fréchet distance of as many samples as the claims take."""
    (found, *_) = evaluate(model, metrics=("frechet",), samples=5000)
    return found.value


def with_only(pca: PCA, images: Tensor, kept: int) -> Tensor:
    """The projection of ``images`` on the first ``kept`` components."""
    latent = pca.encode(images)
    latent[:, kept:] = 0
    return pca.decode(latent).clamp(-1, 1)


def real_faces(model: Model) -> dict[str, dict[int, float]]:
    """PSNR in dB of unseen real faces from their first components, and the variance that each component explains.

    Light is the share of a score's variance that a plane of light over the picture explains: its brightness, and how
    much brighter one side is than the other, across and up. Person and expression are shares of variance between
    people with AT_LEAST pictures or more, and between emotions, less what as many values would share by chance
    (omega squared).
    """
    pca = model.system
    assert isinstance(pca, PCA)
    source = open_source("faces-gray64", 64, "test")
    unseen = source.batch(torch.arange(len(source))).image
    root = data_dir()
    if root is None:
        raise SystemExit("real faces are read from $ZEUXIS_DATA: set it")
    raw = faces_gray64(root / "faces_gray64")
    images = to_float(torch.from_numpy(raw.images)).view(-1, *source.shape)
    latent = pca.encode(images)[:, :COMPONENTS]
    ramp = torch.linspace(-1, 1, 64)
    plane = torch.stack([(images * way).mean((1, 2, 3)) for way in (torch.ones(64), ramp, ramp[:, None])], 1)
    people = Counter(raw.groups)
    numbers = {person: k for k, person in enumerate(people)}
    who = torch.tensor([numbers[person] for person in raw.groups or ()])
    often = torch.tensor([people[person] >= AT_LEAST for person in raw.groups or ()])
    emotion = torch.tensor(np.asarray(raw.fields["label"]).tolist())
    columns = {k + 1: latent[:, k] for k in range(COMPONENTS)}
    return {
        "psnr": {k: float(psnr(with_only(pca, unseen, k), unseen).mean()) for k in KEPT},
        "light": {k: explained(score, plane) for k, score in columns.items()},
        "person": {k: share_told(score[often], who[often]) for k, score in columns.items()},
        "expression": {k: share_told(score, emotion) for k, score in columns.items()},
    }


def drawn_faces() -> dict[str, dict[str, float]]:
    """What each of the first components of drawn faces explains of each factor: shares of variance, in unseen faces.

    Also draws the components (the mean face two deviations either way) and faces from few of them.
    """
    shape = Shape(3, 32, 32)
    train, test = open_source("faces", 32, "train"), open_source("faces", 32, "test")
    pca = PCA(shape, components=max(KEPT))
    pca.fit(train.batch(part) for part in torch.arange(DRAWN_FACES).split(1000))
    unseen = test.batch(torch.arange(4000))
    latent = pca.encode(unseen.image)
    either = torch.zeros(2, 8, max(KEPT))
    either[0, range(8), range(8)], either[1, range(8), range(8)] = -2.0, 2.0
    page("lecture-components", [pca.decode(z).clamp(-1, 1) for z in either], columns=8, scale=3)
    few = unseen.image[:12]
    page("lecture-faces", [with_only(pca, few, k) for k in (1, 7, 64)] + [few], columns=12, scale=2)
    factors = unseen.condition.factors
    assert factors is not None
    return {
        name: {str(k + 1): share_told(latent[:, k], factors[:, f]) for k in range(8)} for f, name in enumerate(FACTORS)
    }


def explained(score: Tensor, causes: Tensor) -> float:
    """The share of the variance of ``score`` (N,) that is linear in ``causes`` (N, K) (R squared)."""
    known = torch.cat([causes, torch.ones(len(causes), 1)], 1).double()
    fit = known @ torch.linalg.lstsq(known, score.double()[:, None]).solution
    return float(1 - (score - fit[:, 0]).var(correction=0) / score.var(correction=0))


def share_told(score: Tensor, value: Tensor) -> float:
    """The share of the variance of ``score`` (N,) that lies between the ``value``s (N,) (omega squared)."""
    values, which, counts = value.unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(values)).index_add_(0, which, score) / counts
    inside = (score - means[which]).square().sum() / (len(score) - len(values))
    between = (counts * (means - score.mean()).square()).sum() - (len(values) - 1) * inside
    return float(between / (score.var(correction=0) * len(score) + inside))


def page(name: str, rows: list[Tensor], columns: int = SHOWN, scale: int = 1) -> None:
    """A sheet of some rows of pictures, as WebP."""
    made = sheet([to_pil(image) for row in rows for image in row], columns, scale)
    made.save(DOCS / "images" / f"{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/reproduce"))
