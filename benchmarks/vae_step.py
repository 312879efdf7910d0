"""A training step of our VAE beside pythae's VAE over the same layers.

    pip install --no-deps pythae
    python benchmarks/vae_step.py [--pixels bernoulli] [--network perceptron] [--precision bfloat16] [--turns 40]

pythae (0.1.2, of 2023) runs on current torch, but asks for a backport of ``dataclasses`` that Python has had since
3.7: hence ``--no-deps``, best in a virtual environment of its own, and hence it is not among the ``peers``.

``--network convolutions`` gives pythae's VAE the layers of our recipe, in the two classes that it wants of its users;
``perceptron`` compares its own default networks with ours of the same size (ReLU there, SiLU here). ``--pixels
gaussian`` is its ``mse``, of unit variance, beside ours with a sigma that is learnt. Same batch, precision and threads.
Ours is a round of the real trainer with its average, pythae's what its trainer does with a batch, with fused Adam.
Both start from the same weights and are first checked, where the layers are the same, to have the same loss and
gradients for the same noise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import _race
import torch
from pythae.models import VAE as PeerVAE
from pythae.models import VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from zeuxis.batch import Batch, Shape
from zeuxis.game import Turn
from zeuxis.nn.conv_autoencoder import ConvDecoder, ConvEncoder
from zeuxis.rng import Stream
from zeuxis.systems.autoencoder.vae import VAE

LATENT, WIDTHS, HIDDEN = 32, (32, 64, 128), 256  # those of the recipe vae
PERCEPTRON = 512  # hidden units of pythae's default networks
LOSS = {"bernoulli": "bce", "gaussian": "mse"}


class Encoder(BaseEncoder):
    """Our recipe's layers as a user of pythae would wrap them; pythae's cross-entropy takes pictures in [0, 1]."""

    def __init__(self, shape: Shape, pixels: str) -> None:
        super().__init__()
        self.net = ConvEncoder(shape, 2 * LATENT, widths=WIDTHS, hidden=HIDDEN)
        self.zero_to_one = pixels == "bernoulli"

    def forward(self, x: Tensor) -> ModelOutput:
        x = 2 * x - 1 if self.zero_to_one else x  # as our likelihood turns [-1, 1] to [0, 1] at every step
        mean, logvar = self.net(x).float().chunk(2, 1)
        return ModelOutput(embedding=mean, log_covariance=logvar)


class Decoder(BaseDecoder):
    """The same for the decoder; the cross-entropy takes probabilities."""

    def __init__(self, shape: Shape, pixels: str) -> None:
        super().__init__()
        self.net = ConvDecoder(shape, LATENT, widths=WIDTHS, hidden=HIDDEN)
        self.last = nn.Sigmoid() if pixels == "bernoulli" else nn.Identity()

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.last(self.net(z).float()))


def networks(shape: Shape, network: str, pixels: str) -> tuple[VAE, PeerVAE]:
    """Ours and pythae's, of as many parameters, from the same weights where they have the same layers."""
    config = VAEConfig(input_dim=tuple(shape), latent_dim=LATENT, reconstruction_loss=LOSS[pixels])
    if network == "perceptron":
        ours = VAE(shape, latent=LATENT, widths=(), hidden=PERCEPTRON, likelihood=pixels)
        peer = PeerVAE(config)
    else:
        ours = VAE(shape, latent=LATENT, widths=WIDTHS, hidden=HIDDEN, likelihood=pixels)
        peer = PeerVAE(config, Encoder(shape, pixels), Decoder(shape, pixels))
        peer.encoder.net.load_state_dict(ours.encoder.state_dict())
        peer.decoder.net.load_state_dict(ours.decoder.state_dict())
    counts = [sum(count(net) for net in (model.encoder, model.decoder)) for model in (ours, peer)]
    if counts[0] != counts[1]:
        raise SystemExit(f"not the same network: {counts}")
    return ours.train(), peer.train()


def check(ours: VAE, peer: PeerVAE, image: Tensor, pixels: str) -> None:
    """Both losses and both gradients agree when both draw zero; the constant of the Gaussian is ours alone."""
    mine = ours.bound(Turn(Batch(image), Silent(), 0, 0.0))
    constant = 0.0 if pixels == "bernoulli" else 0.5 * image[0].numel() * 1.8378770664093453
    peer._sample_gauss = lambda mean, deviation: (mean, torch.zeros_like(mean))
    theirs = peer({"data": targets(image, pixels)}).loss
    del peer._sample_gauss  # the class's own again
    torch.testing.assert_close(mine, theirs + constant, rtol=1e-4, atol=1e-3)
    for a, b in ((ours.encoder, peer.encoder), (ours.decoder, peer.decoder)):
        one, two = (
            torch.autograd.grad(v, list(n.parameters()), retain_graph=True) for v, n in ((mine, a), (theirs, b))
        )
        for g, h in zip(one, two, strict=True):
            torch.testing.assert_close(g, h, rtol=1e-3, atol=1e-3)


class Silent(Stream):
    """Draws zeros."""

    def __init__(self) -> None:
        super().__init__(0)

    def normal(self, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        return torch.zeros(shape, device=device)


def targets(image: Tensor, pixels: str) -> Tensor:
    """What pythae is given: its cross-entropy wants [0, 1]."""
    return (image + 1) / 2 if pixels == "bernoulli" else image


def peer_step(model: PeerVAE, image: Tensor, pixels: str, precision: str) -> Callable[[], None]:
    """What pythae's trainer does with a batch."""
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    data = {"data": targets(image, pixels)}

    def turn() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(data).loss
        loss.backward()
        optimiser.step()

    return turn


def count(net: nn.Module) -> int:
    """Its parameters."""
    return sum(p.numel() for p in net.parameters())


def main() -> None:
    parser = _race.arguments(__doc__, size=32, batch=128)
    parser.add_argument("--pixels", choices=tuple(LOSS), default="gaussian")
    parser.add_argument("--network", choices=("convolutions", "perceptron"), default="convolutions")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    shape = Shape(1, given.size, given.size)
    image = Stream(0).uniform(given.batch, *shape) * 2 - 1
    ours, peer = networks(shape, given.network, given.pixels)
    if given.network == "convolutions":
        check(ours, peer, image, given.pixels)
    with tempfile.TemporaryDirectory() as folder:
        seconds = _race.race(
            {
                _race.OURS: _race.trainer_step(ours, image, "vae", Path(folder), given.precision),
                "pythae": peer_step(peer, image, given.pixels, given.precision),
            },
            given.turns,
        )
    what = f"VAE step, {given.network}, {given.pixels}, batch {given.batch}, {given.precision}"
    _race.told(_race.compared(what, seconds, given.batch), given)


if __name__ == "__main__":
    main()
