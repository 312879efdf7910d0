"""StyleGAN3-R: a generator free of aliasing, whose details move and turn with what they belong to.

Karras, Aittala, Laine, Hærkönen, Hellsten, Lehtinen and Aila 2021, "Alias-free generative adversarial networks"
(arXiv:2106.12423), configuration R. Symbols -> code: see :mod:`zeuxis.systems.adversarial._alias_free`, the game that
it shares, and :mod:`zeuxis.nn.stylegan3`, the generator.
"""

from __future__ import annotations

from types import MappingProxyType

from zeuxis.card import Card
from zeuxis.systems.adversarial._alias_free import AliasFreeGame


class StyleGAN3R(AliasFreeGame):
    """Two players on the non-saturating loss; R1 every few rounds; no layer of the generator prefers a direction.

    Pictures are square, 8 or more and a power of two a side.

    Args:
        condition: "none", or "label": the mapping is given the class, and the discriminator projects on it.
        nz: numbers, normally distributed, that drive a picture.
        width: numbers of a style code.
        mapping: layers from latent to code.
        depth: N, layers of the generator between its input and the pixels, whatever the picture's side.
        critical: how many of them, the last, sample critically.
        channel_base: channels of a layer times its cutoff frequency.
        channel_max: half the channels of a layer at most.
        judge_mapping: layers from class to the code that the discriminator projects on.
        judge_base: channels of a resolution of the discriminator times its side.
        judge_max: channels of a resolution of the discriminator at most.
        group: pictures whose variety the discriminator sees at once.
        clamp: magnitude beyond which activations are cut off, which half precision needs; none leaves them alone.
        gamma: weight of R1; 0 leaves it out.
        r1_every: rounds from one R1 to the next.
        blur: pixels that the discriminator sees pictures blurred by at first; none: 10, as published.
        fade: rounds in which that fades.
        mean_decay: a round, of the mean code towards which truncation draws.
        half_life: pictures in which what is known of the layers' magnitudes loses half its weight.
        lr: learning rate of the generator.
        judge_lr: learning rate of the discriminator, before it is corrected for the steps of R1.
    """

    turns = True
    started_with = MappingProxyType({"blur": 0.0})  # a discriminator that has learnt needs no easy beginning
    card = Card(
        "stylegan3-r",
        title="StyleGAN3-R",
        family="adversarial",
        year=2021,
        paper="2106.12423",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        latents="styles",
        accepts={"label"},
        knobs=("truncation",),
        departures=(
            "The generator moves first, and the discriminator judges the same pictures, drawn once.",
            "Running means are moved once a round, after it; the authors' program moves them before a layer uses them.",
            "A style is normalised for each picture, where the authors' program does so over the batch: demodulation"
            " divides it out again.",
            "No augmentation, which the authors' program has on unless told otherwise.",
        ),
    )
