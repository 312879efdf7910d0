"""A cascade: its base draws the small picture, its network the large one beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoencoder.vae import VAE
from zeuxis.systems.diffusion.cascade import Cascade
from zeuxis.systems.diffusion.flow_matching import FlowMatching
from zeuxis.systems.restoration.dncnn import DnCNN

SMALL, LARGE = Shape(3, 8, 8), Shape(3, 16, 16)
UNET: dict[str, Any] = {"kind": "unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}


def stirred(network: nn.Module) -> None:
    """Networks begin with outputs of zero, whatever they see."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))


def base() -> FlowMatching:
    torch.default_generator.manual_seed(0)
    system = FlowMatching(SMALL, classes=3, condition="label", network=UNET, steps=3)
    stirred(system)
    return system.eval()


def built(**settings: Any) -> Cascade:
    first = base()
    torch.default_generator.manual_seed(1)
    system = Cascade(LARGE, **{"base": first, "network": UNET, **settings})
    stirred(system.network)
    return system.eval()


def drawn(system: Cascade, n: int = 2, **knobs: Any) -> Tensor:
    return system.sample(Condition(label=torch.arange(n) % 3), ImageRng.counting(5, n), Sampling(**knobs))


def test_what_the_base_draws_is_what_the_network_is_shown() -> None:
    system, shown = built(), list[Tensor]()
    beside = system.beside

    def watched(small: Tensor, *rest: Any) -> Tensor:
        shown.append(small)
        return beside(small, *rest)

    system.__dict__["beside"] = watched
    large = drawn(system)
    assert large.shape == (2, *LARGE)
    alone = base().sample(Condition(label=torch.arange(2)), ImageRng.counting(5, 2))
    assert torch.equal(shown[0], alone)


def test_its_knobs_are_those_of_the_base_and_its_own() -> None:
    system = built(enlarging_steps=2)
    assert set(system.knobs) == set(base().knobs) | {"enlarging_steps", "augmentation"}
    assert system.knobs["steps"].default == 3 and system.knobs["enlarging_steps"].default == 2
    few = drawn(system)
    assert not torch.equal(few, drawn(system, steps=5)) and not torch.equal(few, drawn(system, enlarging_steps=3))
    assert not torch.equal(few, drawn(system, augmentation=0.3)) and not torch.equal(few, drawn(system, guidance=3.0))


def test_a_picture_is_the_same_alone_and_among_others() -> None:
    system = built()
    assert torch.allclose(drawn(system, 3, augmentation=0.2)[:1], drawn(system, 1, augmentation=0.2), atol=1e-5)


def test_small_pictures_are_averages_and_are_made_worse_as_much_as_is_said() -> None:
    system = built()
    image = torch.linspace(-1, 1, 2 * 3 * 16 * 16).view(2, *LARGE)
    small = system.small(image)
    assert torch.allclose(small[0, 0, 0, 0], image[0, 0, :2, :2].mean())
    flat = torch.zeros(400, *SMALL)
    told = torch.tensor([0.0, 0.1]).repeat(200)
    beside = system.beside(flat, told, Stream(0))
    assert torch.equal(beside[:, 3, 0, 0], told) and not beside[::2, :3].any()
    # noise of deviation 0.1, of which enlarging leaves in the corner what is there
    assert float(beside[1::2, :3, 0, 0].std()) == pytest.approx(0.1, rel=0.1)


def test_only_the_network_that_enlarges_learns() -> None:
    system = built().train()
    image = torch.zeros(4, *LARGE)
    batch = Batch(image, Condition(label=torch.zeros(4, dtype=torch.int64)), torch.arange(4))
    system.enlarge(Turn(batch, Stream(0), 0, 0.0)).backward()
    assert all(p.grad is None and not p.requires_grad for p in system.base.parameters())
    assert sum(float(p.grad.abs().sum()) for p in system.network.parameters() if p.grad is not None) > 0
    assert {p for player in system.players() for p in player.parameters()} == set(system.network.parameters())


@pytest.mark.parametrize(
    ("given", "shape", "error", "words"),
    [
        (VAE(SMALL), Shape(3, 20, 20), UsageError, "set size to a whole multiple"),
        (VAE(SMALL), SMALL, UsageError, "set size to a whole multiple"),
        (VAE(SMALL), Shape(1, 16, 16), UsageError, "channels, rows, columns"),
        (DnCNN(SMALL, width=4, depth=3), LARGE, Unsupported, "draws no pictures of its own"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(given: Any, shape: Shape, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Cascade(shape, base=given, network=UNET)
