"""Latent diffusion: the space of a first stage, its scale and its cache, and each condition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import Unsupported, UsageError, WeightsError
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoencoder.kl_autoencoder import KLAutoencoder
from zeuxis.systems.autoencoder.vae import VAE
from zeuxis.systems.autoencoder.vqgan import VQGAN
from zeuxis.systems.density.pca import PCA
from zeuxis.systems.diffusion._latents import LatentSpace, measured_scale
from zeuxis.systems.diffusion.latent_diffusion import LatentDiffusion

SHAPE = Shape(3, 16, 16)
NAMES = ("sky", "ground", "ring")
UNET: dict[str, Any] = {"kind": "unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kl() -> KLAutoencoder:
    torch.default_generator.manual_seed(0)
    return KLAutoencoder(SHAPE, latent=2, width=8, multiples=(1, 2, 2), blocks=1, ndf=8, layers=1)


def vq(**settings: Any) -> VQGAN:
    torch.default_generator.manual_seed(0)
    sizes: dict[str, Any] = {"codes": 16, "code_width": 4, "latent": 8, "width": 8, "multiples": (1, 2), "blocks": 1}
    return VQGAN(SHAPE, **{**sizes, "attention": (), "ndf": 8, "layers": 1, **settings})


def built(first_stage: System | None = None, **settings: Any) -> LatentDiffusion:
    first_stage = kl() if first_stage is None else first_stage
    torch.default_generator.manual_seed(0)
    system = LatentDiffusion(SHAPE, first_stage=first_stage, **{"network": UNET, "chain": 20, **settings})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in system.network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return system.eval()


def turn(system: System, condition: Condition = Condition(), n: int = 6, number: int = 0) -> Turn:
    image = (0.4 * randn(n, *SHAPE, seed=number)).clamp(-1, 1)
    return Turn(Batch(image, condition, torch.arange(n)), Stream(number), number, 0.0)


# -- the space ------------------------------------------------------------------------------------------


def test_a_kl_latent_is_the_mean_and_a_vq_latent_its_codes_vectors() -> None:
    image = randn(2, *SHAPE).clamp(-1, 1)
    real, codes = LatentSpace(kl(), SHAPE), LatentSpace(vq(), SHAPE)
    assert real.shape == (2, 4, 4) and real.factor == 4
    assert codes.shape == (4, 8, 8) and codes.factor == 2
    with torch.no_grad():
        assert torch.equal(real.encode(image), kl().encode(image))
        assert torch.equal(codes.encode(image), vq().quantiser.lookup(vq().encode(image)))
        # A little off a code decodes as the code does: the nearest one stands for it.
        near = codes.encode(image) + 1e-4
        assert torch.equal(codes.decode(near), vq().decode(vq().encode(image)))


def test_the_cache_gives_back_the_very_numbers() -> None:
    space, image = LatentSpace(kl(), SHAPE), randn(3, *SHAPE).clamp(-1, 1)
    batch = Batch(image, index=torch.arange(3))
    with torch.no_grad():
        wanted = space.encode(image)
    assert torch.equal(space.of_batch(batch), wanted)
    asked: list[int] = []
    first_stage = space.first_stage

    def count(module: Any, args: Any) -> None:
        asked.append(1)

    first_stage.encoder.register_forward_pre_hook(count)  # type: ignore[union-attr]
    assert torch.equal(space.of_batch(batch), wanted) and not asked
    assert torch.equal(space.of_batch(Batch(image[[2, 0]], index=torch.tensor([2, 0]))), wanted[[2, 0]]) and not asked
    space.of_batch(Batch(-image, index=torch.arange(3)))
    assert asked, "another picture of the same example was not coded anew"


@pytest.mark.parametrize(
    ("first_stage", "says"),
    [
        (lambda: VAE(SHAPE, latent=4), "as a vector"),
        (lambda: PCA(SHAPE, components=4), "as a vector"),
        (lambda: KLAutoencoder(Shape(3, 32, 32), latent=2, width=8, multiples=(1, 2)), "pictures of"),
        (lambda: vq(quantiser="fsq", levels=(4, 4)), "one codebook of vectors"),
    ],
)
def test_a_first_stage_that_makes_no_maps_is_refused(first_stage: Any, says: str) -> None:
    with pytest.raises((Unsupported, UsageError), match=says):
        built(first_stage())


# -- the scale ------------------------------------------------------------------------------------------


def test_latents_are_scaled_by_the_first_batch_and_by_no_other() -> None:
    system = built().train()
    first = turn(system)
    system.predict(first)
    latent = system.latents.encode(first.batch.image)
    assert float(system.scale * latent.std(correction=0)) == pytest.approx(1, rel=1e-4)
    kept = system.scale.clone()
    system.predict(turn(system, number=1))
    again = turn(system, number=3)
    again.round = 0  # as for whoever builds upon it and begins
    system.predict(again)
    assert torch.equal(system.scale, kept)
    image = first.batch.image
    assert torch.allclose(system.encode(image), kept * latent, atol=1e-6)
    assert torch.allclose(system.decode(system.encode(image)), system.first_stage.decode(latent), atol=1e-5)


def test_the_scale_does_not_depend_on_how_a_batch_is_cut() -> None:
    whole, parts = built().train(), built().train()
    every = turn(whole)
    whole.predict(every)
    cut = [Turn(every.batch[s], Stream(0), 0, 0.0) for s in (slice(0, 2), slice(2, 6))]
    for part in cut:
        part.linked = cut
    parts.predict(cut[0])
    assert float(parts.scale) == pytest.approx(float(whole.scale), rel=1e-6)


def test_a_scale_may_be_given() -> None:
    system = built(scale=0.18215).train()
    system.predict(turn(system))
    assert float(system.scale) == pytest.approx(0.18215)
    with pytest.raises(UsageError, match="scale -1"):
        built(scale=-1.0)


def test_latents_that_are_all_alike_are_an_error() -> None:
    with pytest.raises(WeightsError, match="all the same"):
        measured_scale(torch.zeros(2, 2, 4, 4), kl())


# -- conditions -----------------------------------------------------------------------------------------


def test_a_layout_is_shown_at_the_latents_places() -> None:
    system = built(condition="layout", layout_names=NAMES)
    layout = torch.zeros(2, 16, 16, dtype=torch.int64)
    layout[:, 8:] = 1
    layout[1, :4, :2] = 2
    shown = system.conditioner(Condition(layout=layout), 2)["shown"]
    assert shown.shape == (2, 3, 4, 4)
    assert torch.equal(shown.sum(1), torch.ones(2, 4, 4))
    assert shown[1, 2, 0, 0] == 0.5 and shown[0, 1, 2:].eq(1).all()
    dropped = system.conditioner(Condition(layout=layout), 2, torch.tensor([True, False]))["shown"]
    assert not dropped[0].any() and torch.equal(dropped[1], shown[1])
    assert torch.equal(system.conditioner.null(2)["shown"], torch.zeros(2, 3, 4, 4))
    one = system.sample(Condition(layout=layout), ImageRng([1, 1]), Sampling(steps=3, guidance=2))
    assert not torch.allclose(one[0], one[1], atol=1e-4)


def test_what_a_mask_keeps_is_kept_bit_for_bit() -> None:
    system = built(condition="mask", source_shape=SHAPE)
    assert system.conditions == {"mask", "source"}
    mask, source = torch.zeros(2, 1, 16, 16), randn(2, *SHAPE).clamp(-1, 1)
    mask[:, :, 4:9, 4:9] = 1
    shown = system.conditioner(Condition(mask=mask, source=source), 2)["shown"]
    assert shown.shape == (2, 1 + 2, 4, 4)
    assert shown[0, 0].sum() == 4  # of which the last row and column hold one line of it
    assert torch.allclose(shown[:, 1:], system.encode(source * (1 - mask)))
    hidden = source.clone()
    hidden[:, :, 4:9, 4:9] = 0.7  # what is hidden is not looked at
    again = system.conditioner(Condition(mask=mask, source=hidden), 2)["shown"]
    assert torch.allclose(again, shown, atol=1e-6)
    made = system.sample(Condition(mask=mask, source=source), ImageRng([1, 2]), Sampling(steps=3))
    known = (mask == 0).expand_as(made)
    assert torch.equal(made[known], source[known]) and not torch.allclose(made[~known], source[~known], atol=1e-2)


def test_masks_need_pictures_of_the_same_shape() -> None:
    with pytest.raises(Unsupported, match="--pair strokes"):
        built(condition="mask")
    with pytest.raises(Unsupported, match="layout of 2 classes"):
        built(condition="layout")
    with pytest.raises(Unsupported, match=r"condition .none. has no text"):
        built(text={"width": 16})


def test_a_sketch_of_the_latent_is_learnt_from_the_words_and_shown_to_the_network() -> None:
    text = {"width": 16, "depth": 1, "heads": 2, "length": 4, "sketch": 2}
    network = {**UNET, "attention": (2,), "heads": 2}
    system = built(condition="caption", words=("a", "red", "ring"), text=text, network=network, drop=0.0)
    condition = Condition(caption=("a red ring",) * 6)
    sketch = system.conditioner(condition, 6)["sketch"]
    assert sketch.shape == (6, system.latents.shape.channels, 2, 2)
    played = turn(system, condition)
    system.predict(played).backward()
    latent = system.encode(played.batch.image)
    gap = (sketch - adaptive_avg_pool2d(latent, 2)).square().mean()
    torch.testing.assert_close(played.notes["sketch"], gap.detach(), rtol=1e-4, atol=1e-6)
    assert system.conditioner.sketch.out.weight.grad.abs().max() > 0
    one = system.conditioner(condition, 6)
    x = randn(6, *system.latents.shape)
    other = system.denoise(x, torch.full((6,), 2.0), {**one, "sketch": one["sketch"] + 1})
    assert (system.denoise(x, torch.full((6,), 2.0), one) - other).abs().max() > 1e-4


def test_captions_reach_the_latent() -> None:
    text = {"width": 16, "depth": 1, "heads": 2, "length": 4}
    network = {"kind": "unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": (2,), "heads": 2}
    system = built(condition="caption", words=("a", "red", "ring"), text=text, network=network)
    drawn = system.sample(Condition(caption=("a red ring", "a ring")), ImageRng([1, 1]), Sampling(steps=3))
    assert drawn.shape == (2, *SHAPE) and not torch.allclose(drawn[0], drawn[1], atol=1e-4)


# -- exactness ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v"])
def test_the_best_network_of_one_latent_has_no_error(predicts: str) -> None:
    """A network that knows the latent makes each kind of prediction so that the denoiser gives the latent back."""
    system = built(predicts=predicts)
    z0, x = randn(2, 2, 4, 4), randn(2, 2, 4, 4, seed=3)
    sigma = torch.tensor([0.7, 3.0])
    wide = sigma[:, None, None, None]
    alpha, noise = (1 + wide**2) ** -0.5, (x - z0) / wide
    wanted = {"epsilon": noise, "x0": z0, "v": alpha * noise - wide * alpha * z0}[predicts]
    system.network.forward = lambda *args, **named: wanted  # type: ignore[method-assign]
    assert torch.allclose(system.denoise(x, sigma, {}), z0, atol=1e-4)


def test_nothing_of_the_first_stage_is_trained_or_stored() -> None:
    system = built()
    assert not any(p.requires_grad for p in system.first_stage.parameters())
    own = {id(p) for p in system.player.parameters()}
    assert own.isdisjoint(id(p) for p in system.first_stage.parameters())
