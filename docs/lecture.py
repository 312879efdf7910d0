"""The text of ``docs/lecture.md``: an argument from a Gaussian to parallel decoding, told by what the recipes measured.

Its figures come from the result files and from ``docs/lecture.json`` (python docs/draw_lecture.py), never from here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zeuxis.catalog import results

HERE = Path(__file__).parent


def lecture() -> str:
    """The page."""
    own = json.loads((HERE / "lecture.json").read_text(encoding="utf-8"))
    return "\n".join([*_densities(own), *_faces(own), *_codes(own), *_sequences(), ""])


def figure(recipe: str, name: str) -> float:
    """What ``zeuxis reproduce recipe`` measured under that name, the mean over its seeds."""
    found = [f["value"] for run in results()[recipe]["per_seed"] for f in run["figures"] if f["name"] == name]
    return float(sum(found) / len(found))


def _densities(own: dict[str, Any]) -> list[str]:
    bits = {name: f"{figure(name, 'bits-per-dim'):.2f}" for name in ("gaussian", "mixture", "parzen")}
    far = {name: f"{figure(name, 'frechet'):.1f}" for name in ("gaussian", "pca", "parzen")}
    lost = own["parzen"]
    return [
        "# From a Gaussian to parallel decoding",
        "",
        "One argument in eight steps, each of which can be run. The pictures are 32x32 clothing (Fashion-MNIST) unless",
        "said otherwise; every figure is from the command above it. Lower bits per dimension are better, and so are",
        "lower distances (FD, the Fréchet distance in the space of a small shipped network).",
        "",
        "## 1. Fit a Gaussian",
        "",
        "    zeuxis reproduce gaussian",
        "",
        "![Sixteen samples of a Gaussian](images/lecture-gaussian.webp)",
        "",
        f"A mean and a covariance, in closed form: {bits['gaussian']} bits a dimension, FD {far['gaussian']}. Every",
        "sample is clothing of a kind, seen through frosted glass: a Gaussian has one mode, and the mean of a shoe and",
        "a shirt is neither.",
        "",
        "## 2. Fit several",
        "",
        "    zeuxis reproduce mixture",
        "",
        "![Sixteen samples of a mixture](images/lecture-mixture.webp)",
        "",
        f"With eight Gaussians clothing costs {bits['mixture']} bits a dimension instead of {bits['gaussian']}.",
        "",
        "## 3. A bump on every example, and why that fails",
        "",
        "    zeuxis reproduce parzen",
        "",
        "![Sixteen samples of a Parzen window](images/lecture-parzen.webp)",
        "",
        "A Parzen window puts a Gaussian of one width on each of 10,000 training pictures. Its samples look like",
        f"clothing (FD {far['parzen']}), for they are training pictures with noise; yet it explains unseen clothing",
        f"worse than one Gaussian: {bits['parzen']} bits. It fails for want of examples, and the more so the more",
        "dimensions there are. What a window of 10,000 draws from a standard normal loses against the truth:",
        "",
        f"| dimensions | {' | '.join(lost)} |",
        f"|{'---|' * (len(lost) + 1)}",
        f"| nats lost a dimension | {' | '.join(f'{value:.3f}' for value in lost.values())} |",
        "",
        "    zeuxis evaluate runs/reproduce/parzen-0 --metric shortfall/64 --samples 10000",
        "",
        "So a good sample is no proof of a good density, nor the other way round: the likelihood of a Parzen window",
        "fitted to a model's samples, once the usual figure, says next to nothing.",
        "",
    ]


def _faces(own: dict[str, Any]) -> list[str]:
    real, drawn = own["real faces"], own["drawn faces"]
    best = {name: max(shares, key=lambda k: shares[k]) for name, shares in drawn.items()}
    told = [f"{name.replace('_', ' ')} by component {best[name]} ({drawn[name][best[name]]:.0%})" for name in
            ("skin", "hair_colour", "hair_style")]  # fmt: skip
    kinds = ("light", "person", "expression")
    return [
        "## 4. Faces are almost linear",
        "",
        "    zeuxis reproduce pca-faces",
        "",
        "Principal components of real faces (grey press photographs, of which no picture may be shown here). How well",
        "unseen faces come back from the first few, and which share of each component's score is explained by light",
        "(a plane of brightness over the picture), by who it is, and by the expression:",
        "",
        f"| components | {' | '.join(real['psnr'])} |",
        f"|{'---|' * (len(real['psnr']) + 1)}",
        f"| PSNR, dB | {' | '.join(f'{value:.1f}' for value in real['psnr'].values())} |",
        "",
        f"| component | {' | '.join(real['light'])} |",
        f"|{'---|' * (len(real['light']) + 1)}",
        *(f"| {kind} | {' | '.join(f'{max(0.0, value):.2f}' for value in real[kind].values())} |" for kind in kinds),
        "",
        "The first components are light, as Turk and Pentland found in 1991; those after them tell people apart. The",
        "expression is in none of them: it moves a few pixels, and variance counts pixels.",
        "",
        "Of drawn faces, whose factors are known, pictures may be shown. Each column is a component, two deviations",
        "down and up:",
        "",
        "![The mean face along eight components](images/lecture-components.webp)",
        "",
        f"Here the light is mild and colours differ: {', '.join(told)}. Faces from 1, 7 and 64 components, and the",
        "faces themselves:",
        "",
        "![Twelve faces from few components](images/lecture-faces.webp)",
        "",
    ]


def _codes(own: dict[str, Any]) -> list[str]:
    coded = {name: f"{figure(name, 'psnr'):.1f}" for name in ("pca", "autoencoder", "vae", "vqgan")}
    priors, vae = own["priors"], f"{figure('vae', 'frechet'):.1f}"
    return [
        "## 5. A code that cannot be sampled",
        "",
        "    zeuxis reproduce autoencoder",
        "",
        "![Clothing, and what comes back from PCA, autoencoder, VAE and VQGAN](images/lecture-rebuilt.webp)",
        "",
        f"From above: clothing; from 64 principal components ({coded['pca']} dB); from as many numbers of an",
        f"autoencoder ({coded['autoencoder']} dB); from 32 numbers of a VAE ({coded['vae']} dB); from 64 codes of 8",
        f"bits of a VQGAN ({coded['vqgan']} dB). A curved code holds more than a flat one. But nothing tells where its",
        "codes lie: decode numbers drawn from a normal, and there is no clothing (first row). Fit a Gaussian, a",
        "mixture or a flow to the codes of the training pictures afterwards, and there is:",
        "",
        "![Samples of an autoencoder under four priors](images/lecture-priors.webp)",
        "",
        "    zeuxis sample runs/reproduce/autoencoder-0 --prior mixture",
        "    zeuxis evaluate runs/reproduce/autoencoder-0 --prior mixture --metric frechet",
        "",
        f"| prior | {' | '.join(priors)} |",
        f"|{'---|' * (len(priors) + 1)}",
        f"| FD | {' | '.join(f'{value:.1f}' for value in priors.values())} |",
        "",
        "## 6. A code that can",
        "",
        "    zeuxis reproduce vae",
        "",
        "![Sixteen samples of a VAE](images/lecture-vae.webp)",
        "",
        "A variational autoencoder pays for every nat that its codes tell beyond the prior, so codes fill the normal",
        f"from which samples are drawn: FD {vae}. Told the label, it draws what is asked for",
        f"({figure('cvae', 'accuracy'):.1%} as a classifier sees it):",
        "",
        "    zeuxis reproduce cvae",
        "",
        "![Sixteen samples of a conditional VAE](images/lecture-cvae.webp)",
        "",
    ]


def _sequences() -> list[str]:
    far = {name: f"{figure(name, 'frechet'):.1f}" for name in ("image-gpt", "maskgit", "gaussian")}
    return [
        "## 7. Codes, and a sequence model of codes",
        "",
        "    zeuxis reproduce vqgan",
        "    zeuxis reproduce image-gpt",
        "",
        "![Sixteen samples of a transformer over codes](images/lecture-image-gpt.webp)",
        "",
        "A VQGAN codes a picture by 64 words out of 256. Then a picture is a sentence, and a transformer that predicts",
        f"the next word draws it, one code after the other: FD {far['image-gpt']}, where one Gaussian had",
        f"{far['gaussian']}.",
        "",
        "## 8. All at once, in eight steps",
        "",
        "    zeuxis reproduce maskgit",
        "",
        "![Sixteen samples of MaskGIT](images/lecture-maskgit.webp)",
        "",
        "A transformer that looks both ways fills in all codes, keeps those that it is surest of, and asks again:",
        f"eight calls instead of sixty-four, FD {far['maskgit']}. How much faster that is:",
        "",
        "    python benchmarks/maskgit_rate.py",
        "",
    ]
