"""The space that a system's latents lie in, as far as procedures must know it.

A latent is whatever one picture is decoded from: numbers ``(W,)``, a map, or a style code for each layer ``(L, W)``.
Axes: W numbers of a latent or of a style code, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zeuxis.editing.paths import PathName
from zeuxis.errors import Unsupported, UsageError
from zeuxis.verbs import Verbs


@dataclass(frozen=True)
class DecodedSpace:
    """``layers`` are those of style codes (0 where there are none), ``told`` how many of the last numbers of a latent
    are what it was told, such as its class; ``owner`` names the model in errors."""

    owner: str
    shape: tuple[int, ...]  # of one latent
    layers: int = 0
    told: int = 0

    @classmethod
    def of(cls, owner: str, system: Verbs, latent: Tensor) -> DecodedSpace:
        """The space of ``latent``, one that ``system`` decodes."""
        return cls(owner, tuple(latent.shape), system.style_layers, system.told_in_latent)

    def way(self, *, drawn: bool) -> PathName:
        """The way between two latents that suits them, which the model has ``drawn`` or been given.

        Straight between style codes, and where nothing is drawn; else latents are normal.
        """
        return "spherical" if drawn and not self.layers else "linear"

    def check(self, latent: Tensor, what: str) -> Tensor:
        """``latent``, if this space holds it; a code ``(W,)`` in a space of style codes becomes one for each layer.

        Raises UsageError for one of another shape, or of numbers that are not finite.
        """
        if self.layers and tuple(latent.shape) == self.shape[1:]:
            latent = latent.expand(self.shape)
        if tuple(latent.shape) != self.shape:
            raise UsageError(
                f"{what} is of shape {_spelt(latent.shape)}, and a latent of '{self.owner}' is {_spelt(self.shape)}: "
                "give one that was made with this model"
            )
        if not latent.isfinite().all():
            raise UsageError(f"{what} holds numbers that are not finite: make it anew")
        return latent

    def must_have_styles(self) -> None:
        """Raise :class:`Unsupported` where there are no style codes to mix."""
        if not self.layers:
            raise Unsupported(
                f"'{self.owner}' has no style space: its latent is one for all layers, so there are none to mix; train "
                "a stylegan, stylegan2 or stylegan3-t, or go from one picture to another with zeuxis walk"
            )


def must_be_continuous(owner: str, system: Verbs) -> None:
    """Raise :class:`Unsupported` for a model whose latents cannot be moved: it decodes none, or entries of a table."""
    if "decode" in system.card.verbs - system.can and system.conditions:
        raise Unsupported(
            f"'{owner}' was trained to be told a {' and a '.join(sorted(system.conditions))}, without which its "
            "latents are no pictures: give one that is told a label or nothing"
        )
    if "decode" not in system.can:
        raise Unsupported(
            f"'{owner}' decodes no latents (it can: {', '.join(sorted(system.can))}): give a GAN, an autoencoder, a "
            "flow or a pca"
        )
    if system.codes is not None:
        raise Unsupported(
            f"'{owner}' codes pictures by entries of a table of {system.codes:,}, and between two entries lies nothing:"
            " give a model with real numbers, such as a vae or kl-autoencoder"
        )


def _spelt(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if shape else "one number"
