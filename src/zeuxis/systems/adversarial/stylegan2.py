"""StyleGAN2: styles modulate the generator's weights, and two lazy penalties keep both players smooth.

Karras, Laine, Aittala, Hellsten, Lehtinen and Aila 2019, "Analyzing and improving the image quality of StyleGAN"
(arXiv:1912.04958). Symbols -> code: see :mod:`zeuxis.systems.adversarial._path_lengths`, the game that it shares.
"""

from __future__ import annotations

from zeuxis.card import Card
from zeuxis.knobs import Knob
from zeuxis.systems.adversarial._path_lengths import PathLengthGame


class StyleGAN2(PathLengthGame):
    """Two players on the non-saturating loss; path lengths every few rounds, R1 every few more.

    Pictures are square, 8 or more and a power of two a side.

    Args:
        condition: "none", or "label": the mapping is given the class, and the discriminator projects on it.
        nz: numbers, normally distributed, that drive a picture.
        width: numbers of a style code.
        mapping: layers from latent to code.
        judge_mapping: layers from class to the code that the discriminator projects on; none: as many as mapping.
        channel_base: channels of a resolution times its side, for both networks.
        channel_max: channels of a resolution at most; configuration F's are those by default.
        input_maps: "constant", learnt, or "fourier": waves, which can be moved and turned ("eq-t", "eq-r").
        group: pictures whose variety the discriminator sees at once.
        clamp: magnitude beyond which activations are cut off, which half precision needs; none leaves them alone.
        gamma: weight of R1; 0 leaves it out.
        r1_every: rounds from one R1 to the next.
        path_weight: of the penalty on path lengths; 0 leaves it out.
        path_every: rounds from one of those to the next.
        mixing: how often a picture's later layers are given the code of another latent.
        mean_decay: a round, of the mean code towards which truncation draws.
        lr: learning rate of both players, before it is corrected for the steps of the penalties.
    """

    card = Card(
        "stylegan2",
        title="StyleGAN2",
        family="adversarial",
        year=2019,
        paper="1912.04958",
        verbs={"sample", "decode", "draw_latents", "latent_weights"},
        latents="styles",
        accepts={"label"},
        knobs=(
            "truncation",
            Knob(
                "noise",
                "choice",
                "of the details: drawn for each picture, the same for all, or none",
                "random",
                choices=("random", "constant", "none"),
            ),
        ),
        departures=(
            "The generator moves first, and the discriminator judges the same pictures, drawn once.",
            "The mean code is moved once a round, by the generator's codes; the authors' programs also by others.",
            "A batch that the group does not divide is compared in smaller groups; the authors' programs refuse it.",
            "input_maps 'fourier' is configuration B of StyleGAN3's paper (arXiv:2106.12423), not of this one.",
            "With a label, as the authors' later program has it; the paper's models have none.",
        ),
    )
