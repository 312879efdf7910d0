"""The game of StyleGAN2, with or without pictures being changed before the discriminator sees them.

Karras et al. 2019 (1912.04958). Symbols -> code:
    z -> z, (B, nz)    w -> code, (B, W)    f -> generator.mapping    g -> generator.synthesis    D -> discriminator
    J_w -> the Jacobian of g    a -> path_mean    gamma -> gamma    psi -> truncation

Axes: L layers of the generator, W numbers of a style code.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.losses.path_length import path_length_penalty, path_lengths
from zeuxis.losses.penalty import r1
from zeuxis.nn.shared_pass import shared_pass
from zeuxis.nn.stylegan2 import StyleDiscriminator, StyleGenerator, StyleMapping, StyleSynthesis
from zeuxis.rng import ImageRng

SHRINK = 2  # the share of a batch that path lengths are measured on: one in so many (appendix B)
PATH_DECAY = 0.01  # of a


class StyleGame(System):
    """Two players, each with a loss every round and a penalty every few ("lazily", section 3.1).

    A penalty is multiplied by the rounds that it is left out for, and learning rate and betas are those of an Adam that
    makes as many steps more (appendix B).
    """

    path_mean: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        classes: int = 0,
        condition: Literal["none", "label"] = "none",
        nz: int = 512,
        width: int = 512,
        mapping: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        group: int = 4,
        clamp: float | None = None,
        gamma: float = 10.0,
        r1_every: int = 16,
        path_weight: float = 2.0,
        path_every: int = 4,
        mixing: float = 0.9,
        mean_decay: float = 0.995,
        lr: float = 2e-3,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        known = lookup("condition", condition, {"none": 0, "label": classes})
        if condition == "label" and not known:
            raise Unsupported("condition 'label' needs data with classes: use labelled data, or condition 'none'")
        if min(r1_every, path_every) < 1:
            raise UsageError("r1_every and path_every are 1 or more; a weight of 0 leaves a penalty out")
        self.nz, self.mixing, self.mean_decay, self.lr = nz, mixing, mean_decay, lr
        self.gamma, self.r1_every = gamma, r1_every if gamma else 0
        self.path_weight, self.path_every = path_weight, path_every if path_weight else 0
        self.labelled = condition == "label"
        synthesis = StyleSynthesis(self.shape, width, channel_base=channel_base, channel_max=channel_max, clamp=clamp)
        self.style_layers = synthesis.layers
        self.generator = StyleGenerator(StyleMapping(nz, width, layers=mapping, classes=known), synthesis, width)
        self.discriminator = StyleDiscriminator(
            self.shape,
            channel_base=channel_base,
            channel_max=channel_max,
            group=group,
            mapping=mapping,
            classes=known,
            clamp=clamp,
        )
        self.register_buffer("path_mean", torch.zeros(()))
        self.loss = NonSaturating()

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"label"} if self.labelled else ())

    def players(self) -> tuple[Player, ...]:
        return (
            self._lazy("generator", self.generator, self.path_every),
            self._lazy("discriminator", self.discriminator, self.r1_every),
        )

    def _lazy(self, name: str, net: StyleGenerator | StyleDiscriminator, every: int) -> Player:
        """A player who takes one step more in ``every`` rounds (0: never): c = k / (k + 1) of the rate."""
        share = every / (every + 1) if every else 1.0
        return Player(name, (net,), lr=self.lr * share, betas=(0.0, 0.99**share))

    def moves(self) -> tuple[Move, ...]:
        generator, discriminator = [Move("generator", self.generate)], [Move("discriminator", self.discriminate)]
        if self.path_every:
            generator.append(Move("generator", self.smooth, every=self.path_every))
        if self.r1_every:
            discriminator.append(Move("discriminator", self.flatten, every=self.r1_every))
        return (*generator, *discriminator)

    def shown(self, image: Tensor, turn: Turn) -> Tensor:
        """What the discriminator sees of pictures."""
        return image

    def generate(self, turn: Turn) -> Tensor:
        """-log D(g(f(z)))."""
        label = self._label(turn.batch.condition)
        codes = self._codes(turn, turn.batch)
        turn.memo["code"] = codes[:, 0].detach()  # the first layer's is never mixed
        fake = self.shown(self.generator.synthesis(codes, turn.rng), turn)
        judge = _Judge(self.discriminator, label)
        logit, turn.memo["fake logit"] = shared_pass(judge, fake, keep=turn.alone)
        return self.loss.generator(logit)

    def smooth(self, turn: Turn) -> Tensor:
        """E(|J_w^T y| - a)^2 (Eq. 4), on half the batch."""
        half = turn.batch[: max(1, len(turn.batch) // SHRINK)]
        codes = self._codes(turn, half)
        lengths = path_lengths(self.generator.synthesis(codes, turn.rng), codes, turn.rng)  # (B / 2,)
        turn.memo["lengths"] = lengths.detach()
        penalty = path_length_penalty(lengths, self.path_mean, PATH_DECAY)
        turn.note(path_length=lengths.mean(), path_penalty=penalty)
        return self.path_every * self.path_weight * penalty

    def discriminate(self, turn: Turn) -> Tensor:
        """-log D(x) - log(1 - D(g(f(z)))); the fakes are those that the generator has just been judged by."""
        real = self.discriminator(self.shown(turn.batch.image, turn), self._label(turn.batch.condition))
        fake = turn.memo["fake logit"]()
        turn.memo["sign"] = real.detach().float().sign()
        turn.note(real=real.float().mean(), fake=fake.float().mean())
        return self.loss.critic(real, fake)

    def flatten(self, turn: Turn) -> Tensor:
        """gamma / 2 E|grad D(x)|^2: R1, on real pictures alone."""
        label = self._label(turn.batch.condition)
        slope = r1(lambda image: self.discriminator(self.shown(image, turn), label), turn.batch.image)
        turn.note(r1=slope)
        return self.r1_every * self.gamma / 2 * slope

    def after_round(self, turn: Turn) -> None:
        """The running means of codes and of path lengths."""
        self.generator.mean.copy_(turn.whole("code").mean(0).lerp(self.generator.mean, self.mean_decay))
        if "lengths" in turn.memo:
            self.path_mean.lerp_(turn.whole("lengths").mean(), PATH_DECAY)

    def _codes(self, turn: Turn, batch: Batch) -> Tensor:
        """A code for each layer ``(B, L, W)``: from some layer on, mostly, those of a second latent (style mixing)."""
        label, layers = self._label(batch.condition), self.generator.synthesis.layers
        codes = self._drawn(turn, len(batch), label)
        if not self.mixing or float(turn.rng.uniform(1)) >= self.mixing:
            return codes
        cut = 1 + int(turn.rng.integers(layers - 1, 1))
        return torch.cat([codes[:, :cut], self._drawn(turn, len(batch), label)[:, cut:]], 1)

    def _drawn(self, turn: Turn, n: int, label: Tensor | None) -> Tensor:
        z = turn.rng.normal(n, self.nz, device=self.device)
        return self.generator.spread(self.generator.mapping(z, label))

    def _label(self, condition: Condition) -> Tensor | None:
        """The classes ``(B,)`` where the model was built for some."""
        if not self.labelled:
            return None
        label: Tensor = condition.required("label")
        return label.to(self.device)

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        codes, chosen = self.draw_latents(condition, rng, how), self.settings(how).noise
        noise = rng if chosen == "random" else chosen
        image: Tensor = self.generator.synthesis(codes, noise)
        return image.clamp(-1, 1)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """The codes ``(B, L, W)`` that a sample's layers are given; ``truncation`` draws them to their mean."""
        z = rng.normal(len(rng), self.nz, device=self.device)
        return self.styles(z, self._label(condition), self.settings(how).truncation)

    def latent_weights(self) -> Tensor:
        """The affine maps from code to styles ``(L, C, W)``, by layer; those of fewer channels end in zeros."""
        return pad_sequence(self.generator.synthesis.affine_weights(), batch_first=True)

    def styles(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """The codes ``(B, L, W)`` of latents ``(B, nz)``, one a layer, all alike, drawn towards their mean."""
        return self.generator.truncated(self.generator.spread(self.generator.mapping(z, label)), truncation)

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures ``(B, C, H, W)`` in [-1, 1] under the same noise each.

        A latent is z ``(B, nz)``, or a code for each layer ``(B, L, W)`` as :meth:`styles` makes them.
        """
        if latent.ndim == 2 and self.labelled:
            raise Unsupported("a latent alone has no picture in a model of classes: decode what styles() makes of both")
        codes = self.styles(latent) if latent.ndim == 2 else latent
        image: Tensor = self.generator.synthesis(codes, "constant")
        return image.clamp(-1, 1)


class _Judge(torch.nn.Module):
    """A discriminator that is given the label beforehand."""

    def __init__(self, net: StyleDiscriminator, label: Tensor | None) -> None:
        super().__init__()
        self.net, self.label = net, label

    def forward(self, image: Tensor) -> Tensor:
        logit: Tensor = self.net(image, self.label)
        return logit
