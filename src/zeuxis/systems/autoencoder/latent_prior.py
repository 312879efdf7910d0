"""Where the codes of an autoencoder lie: a density fitted to them afterwards, from which new ones are drawn.

Ghosh, Sajjadi, Vergari, Black & Schoelkopf 2020, "From variational to deterministic autoencoders" (arXiv:1903.12436),
section 4: ex-post density estimation. Symbols -> code: E -> autoencoder.encode    D -> autoencoder.decode
    z -> code    q_delta(z) -> density
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import wraps

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.errors import Unsupported, UsageError, WeightsError
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Knob, Sampling
from zeuxis.rng import ImageRng, Rng
from zeuxis.spec import DataSpec

REACH = 8.0  # standard deviations of each number that lie within [-1, 1], where densities clamp what they draw


class LatentPrior(System):
    """A ``density`` of the codes of a trained ``autoencoder``, a vector for each picture; without one, N(0, I).

    Args:
        autoencoder: any system that encodes pictures as vectors of Z real numbers and decodes those; never trained.
        density: any system that draws pictures of Z channels and one pixel, which is what a code is to it; in a
            recipe a table of its ``system`` and that one's keywords. It is trained in the way it is anywhere, by
            its closed form or by its own game.

    Codes are centred and divided by :data:`REACH` standard deviations: of all codes in a closed form, of the first
    batch in a game (as latent diffusion scales its codes: Rombach et al. 2022, arXiv:2112.10752, appendix G). A game
    that starts from a trained model keeps those of that model, by which its density knows codes.
    """

    card = Card(
        "latent-prior",
        title="Density of an autoencoder's codes",
        family="autoencoder",
        year=2020,
        paper="1903.12436",
        verbs={"sample", "encode", "decode", "draw_latents"},
        knobs=("temperature",),
        departures=(
            "Codes are centred and divided by eight standard deviations, because densities clamp to [-1, 1].",
            "The autoencoder is any that is given, regularised or not.",
        ),
    )
    draw_batch = 256  # a flow takes as many passes for one code as for many
    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape, *, autoencoder: System, density: System | None = None) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        if tuple(autoencoder.shape) != tuple(self.shape):
            raise UsageError(
                f"the autoencoder '{autoencoder.card.id}' was trained on pictures of {tuple(autoencoder.shape)}, not "
                f"{tuple(self.shape)} (channels, rows, columns): set size to its own, or train one on this data"
            )
        wanted = code_spec(autoencoder).shape
        if density is not None and tuple(density.shape) != tuple(wanted):
            raise UsageError(f"the density '{density.card.id}' is of {tuple(density.shape)}, codes are {tuple(wanted)}")
        self.autoencoder, self.density = autoencoder, density
        self.freeze(autoencoder)
        self.register_buffer("mean", torch.zeros(wanted.channels))  # of codes
        self.register_buffer("scale", torch.ones(wanted.channels))  # what a centred code is divided by

    @classmethod
    def part_spec(cls, key: str, spec: DataSpec, parts: Mapping[str, System]) -> DataSpec:
        if "autoencoder" not in parts:
            raise UsageError(f"'{cls.card.id}' has no autoencoder: give model.autoencoder, the run folder of one")
        return code_spec(parts["autoencoder"])

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """Those of the density; of N(0, I) the temperature."""
        return super().knobs if self.density is None else self.density.knobs

    # -- learning ---------------------------------------------------------------------------------

    def fit(self, batches: Iterable[Batch]) -> None:
        """Standardise the codes of one pass over the data, and fit the density to all of them at once."""
        if self.density is None:
            return  # nothing is learnt
        with torch.no_grad():
            codes = torch.cat([self.encode(batch.image).to(self.mean) for batch in batches])  # (N, Z)
        self.measure(codes)
        self.density.fit([Batch(self.standardised(codes))])

    @torch.no_grad()
    def measure(self, codes: Tensor) -> None:
        """Take mean and scale from codes ``(N, Z)``; WeightsError where they are not finite."""
        mean = codes.mean(0)
        scale = REACH * codes.std(0, correction=0).clamp_min(torch.finfo(codes.dtype).eps)
        if not (torch.isfinite(mean).all() and torch.isfinite(scale).all()):
            raise WeightsError(
                f"codes of '{self.autoencoder.card.id}' are not finite: its weights are damaged, train it again"
            )
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    @property
    def measured(self) -> bool:
        """Whether mean and scale were taken from codes: then the density knows codes by them, and they must stay."""
        return bool((self.scale != 1).any() or self.mean.any())

    def standardised(self, codes: Tensor) -> Tensor:
        """Codes ``(N, Z)`` as the density takes them, ``(N, Z, 1, 1)``."""
        return ((codes - self.mean) / self.scale)[:, :, None, None]

    def players(self) -> tuple[Player, ...]:
        return () if self.density is None else self.density.players()

    def moves(self) -> tuple[Move, ...]:
        moves = () if self.density is None else self.density.moves()
        return tuple(replace(move, loss=self._on_codes(move.loss)) for move in moves)

    def after_round(self, turn: Turn) -> None:
        if self.density is not None:
            coded = [self._coded(part) for part in turn.parts]
            self.density.after_round(replace(coded[-1], linked=coded))

    def _on_codes(self, loss: Callable[[Turn], Tensor | None]) -> Callable[[Turn], Tensor | None]:
        @wraps(loss)
        def coded(turn: Turn) -> Tensor | None:
            return loss(self._coded(turn))

        return coded

    def _coded(self, turn: Turn) -> Turn:
        """The same turn with the codes of its batch in place of the pictures."""
        coded: Turn | None = turn.memo.get("coded")
        if coded is None:
            if not self.measured:
                self.measure(turn.joined([self._codes(part) for part in turn.parts]))
            batch = Batch(self.standardised(self._codes(turn)), index=turn.batch.index)
            coded = turn.memo["coded"] = replace(turn, batch=batch, memo={}, linked=())
        return coded

    def _codes(self, turn: Turn) -> Tensor:
        """The codes ``(B, Z)`` of the turn's batch."""
        if "codes" not in turn.memo:
            with torch.no_grad(), torch.autocast(turn.batch.image.device.type, enabled=False):
                turn.memo["codes"] = self.encode(turn.batch.image).float()
        codes: Tensor = turn.memo["codes"]
        return codes

    def held_out(self, batch: Batch, rng: Rng) -> Mapping[str, Tensor]:
        """None: what it encodes and decodes by is given, and at first it does not know how far codes are apart."""
        return {}

    # -- verbs ------------------------------------------------------------------------------------

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Pictures ``(B, C, H, W)`` of codes that the density draws, clamped to [-1, 1]."""
        return self.decode(self.draw_latents(condition, rng, how)).clamp(-1, 1)

    def draw_latents(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """Codes ``(B, Z)`` that the density draws."""
        if self.density is None:
            temperature: float = self.settings(how).temperature
            drawn = temperature * rng.normal(len(rng), len(self.mean), device=self.device)
        else:
            drawn = self.density.sample(condition, rng, how).flatten(1)
        return self.mean + self.scale * drawn

    def encode(self, image: Tensor) -> Tensor:
        """The autoencoder's code ``(B, Z)``."""
        return self.autoencoder.encode(image)

    def decode(self, latent: Tensor) -> Tensor:
        """The autoencoder's images ``(B, C, H, W)``."""
        return self.autoencoder.decode(latent)


def code_spec(autoencoder: System) -> DataSpec:
    """What a density of the codes of ``autoencoder`` is built for: Z channels and one pixel."""
    return DataSpec(Shape(code_width(autoencoder), 1, 1))


def code_width(system: System) -> int:
    """Z, where ``system`` turns a picture into a vector of Z real numbers and back; Unsupported where it does not."""
    name, verbs = system.card.id, system.card.verbs
    mend = "a prior is for systems that do, such as autoencoder, vae or pca"
    if not {"encode", "decode"} <= verbs:
        raise Unsupported(f"'{name}' does not code pictures and decode them ({', '.join(sorted(verbs))}): {mend}")
    if system.conditions:
        obeyed = ", ".join(sorted(system.conditions))
        raise Unsupported(f"'{name}' is conditioned on {obeyed}: {mend}, conditioned on nothing")
    with torch.no_grad():
        latent = system.encode(torch.zeros(1, *system.shape, device=system.device))
    if system.codes is not None or latent.ndim != 2 or not latent.is_floating_point():
        kind = "real numbers" if system.codes is None else f"one of {system.codes} values each"
        size = "x".join(map(str, latent.shape[1:]))
        raise Unsupported(f"'{name}' codes a picture as {size} places of {kind}, not as a vector of numbers: {mend}")
    return int(latent.shape[1])
