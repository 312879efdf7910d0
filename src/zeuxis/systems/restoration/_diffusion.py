"""What restorers that draw share: a U-Net that learns the noise on a picture, beside the picture that it is given.

Symbols of both papers -> code: y_0 -> image, x -> given, y~ -> noisy, epsilon -> noise, gamma -> gamma,
f_theta -> network. Samplers work on y~ / sqrt(gamma), whose noise has deviation sigma = sqrt(1 / gamma - 1).

Parts: diffusion/gamma.py (the chain), diffusion/sampler.py, nn/networks.py (the U-Net that is chosen).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from zeuxis.batch import Condition, Shape
from zeuxis.diffusion.gamma import GammaChain
from zeuxis.diffusion.path import Level, append_dims, for_each
from zeuxis.diffusion.sampler import ByLevel, Denoise, with_knobs
from zeuxis.diffusion.schedule import respaced
from zeuxis.diffusion.weighting import squared_error
from zeuxis.game import Move, Player, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.embed import TIME_SCALE
from zeuxis.nn.fidelity import Fidelity
from zeuxis.nn.networks import UNETS, Ends, build_network
from zeuxis.nn.noise_field import NoiseField
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.rng import ImageRng, normal_like
from zeuxis.systems.restoration._family import AnySizeRestorer


class DrawingRestorer(AnySizeRestorer):
    """One player: the network of a diffusion model, which sees what it is given beside the noisy picture.

    A subclass says by :meth:`given` what the network sees, by :meth:`told` how it is told of gamma, by :meth:`error`
    what it lowers, and may keep what is known of the picture by :meth:`known`.
    """

    scale: int
    masked = False  # whether what a mask leaves is known

    def __init__(
        self,
        shape: Shape,
        *,
        network: Mapping[str, Any] | None,
        chain: int,
        first: float,
        last: float,
        lr: float,
        warmup: int,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.chain = GammaChain(chain, first, last)
        self.network = build_network(network, Ends(self.shape, self.shape.channels), UNETS)
        self.stride = self.network.stride
        self.player = Player("network", (self.network,), lr=lr, warmup=warmup)

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.predict),)

    @abstractmethod
    def given(self, condition: Condition) -> Tensor:
        """What the network sees beside the noisy picture, ``(B, C, H, W)``."""

    @abstractmethod
    def told(self, gamma: Level) -> Level:
        """How the network is told of gamma, in [0, 1]."""

    def error(self, prediction: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """How far the prediction is from the noise, ``(B,)``."""
        return squared_error(prediction, noise)

    def known(self, noisy: Tensor, picture: Tensor, condition: Condition) -> Tensor:
        """``noisy`` with what is known of ``picture`` in its place; by default nothing is."""
        return noisy

    def predict(self, turn: Turn) -> Tensor:
        """The noise on a picture at a random gamma."""
        image, condition = turn.batch.image, turn.batch.condition  # (B, C, H, W)
        noise = normal_like(image, turn.rng)
        gamma = self.chain.draw(len(image), turn.rng, image.device)  # (B,)
        weight = append_dims(gamma, image)
        noisy = self.known(weight.sqrt() * image + (1 - weight).sqrt() * noise, image, condition)
        prediction = self._network(noisy, gamma, self.given(condition))
        return self.error(prediction, noise, condition).mean()

    def _network(self, noisy: Tensor, gamma: Level, given: Tensor) -> Tensor:
        time = for_each(self.told(gamma) * TIME_SCALE, noisy)  # (B,)
        prediction: Tensor = self.network(torch.cat([given, noisy], 1), time)
        return prediction.float()

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """x0 is clamped to [-1, 1] at every level, and what is known of the picture is kept."""
        given = self.given(condition)

        def denoise(x: Tensor, sigma: Level) -> Tensor:
            weight = append_dims((1 + sigma**2) ** -0.5, x)  # sqrt(gamma)
            noisy = self.known(weight * x, given, condition)
            x0 = x - append_dims(sigma, x) * self._network(noisy, 1 / (1 + sigma**2), given)
            return self.known(x0.clamp(-1, 1), given, condition)

        return ByLevel(denoise)

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """``steps`` levels between those of the chain, descending, then 0."""
        knobs = self.settings(how)
        return respaced(self.chain.sigmas, knobs.steps, knobs.spacing)

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """From noise to a picture as large as what is given, by the sampler that is asked for."""
        return self.drawn(condition, rng, how, self.denoiser(condition, len(rng), how))

    def drawn(self, condition: Condition, rng: ImageRng, how: Sampling, denoise: Denoise) -> Tensor:
        """The same by another denoiser."""
        given, levels = self.given(condition), self.levels(how)
        x = math.sqrt(1 + float(levels[0]) ** 2) * rng.normal(*given.shape, device=given.device)
        solve = with_knobs(self.settings(how).sampler, how)
        return solve(denoise, x, levels, rng).clamp(-1, 1)

    @torch.no_grad()
    def held(self, condition: Condition, rng: ImageRng, how: Sampling, fidelity: Fidelity) -> Tensor:
        """The same, drawn towards what agrees with the given picture at every level (DDNM, arXiv:2212.00490)."""
        source, free = condition.required("source"), self.denoiser(condition, len(rng), how)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return fidelity(free(x, sigma), source)

        return self.drawn(condition, rng, how, denoise)

    def picture_network(self, how: Sampling = Sampling()) -> PictureNetwork:
        self.settings(how)  # which refuses knobs that there are not
        return DrawnPicture(self, self.scale, how)


class DrawnPicture(PictureNetwork):
    """Pictures ``(B, C, H, W)`` in [0, 1], perhaps with a mask, to what a diffusion model draws for them.

    It draws from seeds ``seed``, ``seed + 1``, ..., so the same picture becomes the same; of a part of a picture, at
    ``place`` (the row and column where it begins), with the noise that lies there in the whole.
    """

    def __init__(
        self,
        system: DrawingRestorer,
        scale: int,
        how: Sampling,
        fidelity: Fidelity | None = None,
        seed: int = 0,
        place: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.fidelity, self.seed, self.place = fidelity, seed, place
        self.drawn_at = system.shape.height, system.shape.width
        self.system, self.how, self.channels, self.scale = system, how, system.shape.channels, scale
        self.masked, self.step = system.masked, system.stride or 1
        widest = max(p.shape[0] for p in system.network.parameters())
        self.reach, self.floats = max(system.shape[1:]) // scale, 8 * widest * scale**2

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        filled = pad(x, (0, -width % self.step, 0, -height % self.step), mode="replicate")
        mask = filled[:, self.channels :] if self.masked else None
        condition = Condition(source=2 * filled[:, : self.channels] - 1, mask=mask)
        rng = ImageRng.counting(self.seed, len(x))
        if self.place is not None:
            rng = NoiseField(rng.seeds, *(at * self.scale for at in self.place))
        if self.fidelity is None:
            drawn = self.system.sample(condition, rng, self.how)
        else:
            drawn = self.system.held(condition, rng, self.how, self.fidelity)
        return (drawn[:, :, : height * self.scale, : width * self.scale] + 1) / 2

    def held_to(self, fidelity: Fidelity) -> PictureNetwork:
        return DrawnPicture(self.system, self.scale, self.how, fidelity, self.seed, self.place)

    def seeded(self, seed: int) -> PictureNetwork:
        return DrawnPicture(self.system, self.scale, self.how, self.fidelity, seed, self.place)

    def placed_at(self, top: int, left: int) -> PictureNetwork:
        return DrawnPicture(self.system, self.scale, self.how, self.fidelity, self.seed, (top, left))
