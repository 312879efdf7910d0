"""VQ-VAE and VQ-VAE-2: their codes, their gradients against hand-written ones, and the bits that they claim."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, Shape
from zeuxis.catalog.build import build
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import System, Turn
from zeuxis.recipe import load_recipe
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.autoencoder.vq_vae import VQVAE
from zeuxis.systems.autoencoder.vq_vae_2 import VQVAE2
from zeuxis.systems.autoencoder.vqgan import VQGAN

SHAPE = Shape(1, 16, 16)
KINDS = {"codebook": {}, "fsq": {"levels": (4, 4)}, "lfq": {}}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return Stream(seed).normal(*shape)


def turn(images: Tensor, n: int = 0) -> Turn:
    return Turn(Batch(images), Stream(n), n, 0.0)


def small(**model) -> VQVAE:
    torch.manual_seed(0)
    return VQVAE(SHAPE, **{"codes": 16, "code_width": 4, "width": 8, "hidden": 8, "blocks": 1, **model})


def small_2(**model) -> VQVAE2:
    torch.manual_seed(0)
    return VQVAE2(SHAPE, **{"codes": 16, "code_width": 4, "width": 8, "hidden": 8, "blocks": 1, **model})


# -- vq-vae -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "ema"), [("codebook", False), ("codebook", True), ("fsq", False), ("lfq", False)])
def test_vq_vae_codes_and_gradients(kind: str, ema: bool) -> None:
    """At the last layer before the codes: the decoder's pull as it is (for codebook and signs), and the loss's."""
    system, images = small(quantiser=kind, ema=ema, beta=0.4, **KINDS[kind]), normal(3, *SHAPE).clamp(-1, 1)
    codes = system.encode(images)
    assert codes.shape == (3, 4, 4) and codes.dtype == torch.int64 and codes.min() >= 0
    assert codes.max() < system.codes == 16
    assert system.decode(codes).shape == images.shape and system.decode(codes).abs().max() <= 1
    z = system.into_codes(system.encoder(images)).detach().requires_grad_()
    vectors = system.quantiser.lookup(codes).detach().requires_grad_()
    error = (system.decoder(vectors) - images).square().mean()
    (pull,) = torch.autograd.grad(error, vectors)
    if kind == "codebook":
        expected = pull + 2 * 0.4 * (z - vectors).detach() / z.numel()
    else:  # how these pass a gradient on is tested by hand above
        q = system.quantiser(z)
        (expected,) = torch.autograd.grad((q.vectors * pull).sum() + q.loss, z)
    (found,) = torch.autograd.grad(system.rebuild(turn(images)), system.into_codes.bias)
    torch.testing.assert_close(found, expected.sum((0, 2, 3)), rtol=1e-3, atol=1e-6)


def test_a_vq_vae_starts_at_k_means_and_revives() -> None:
    system, images = small(ema=True, kmeans=True, restart_dead=0.1), normal(8, *SHAPE)
    for n in range(2):
        seen = turn(images, n)
        system.rebuild(seen)
        if n:
            with torch.no_grad():
                system.quantiser.codebook[:5], system.quantiser.uses[:5] = 1e3, 0.0
            system.rebuild(seen)
        system.after_round(seen)
        if not n:
            assert len(system.encode(images).unique()) == 16 and seen.notes["restarted"] == 0
    assert seen.notes["restarted"] == 5 and system.quantiser.codebook.abs().max() < 1e2


@pytest.mark.parametrize(("halvings", "side"), [(1, 8), (3, 2)])
def test_the_factor_is_a_choice(halvings: int, side: int) -> None:
    system = small(halvings=halvings)
    codes = system.encode(normal(2, *SHAPE))
    assert codes.shape == (2, side, side) and system.decode(codes).shape == (2, *SHAPE)
    assert system.stride == 2**halvings


@pytest.mark.parametrize(("system", "why"), [(VQVAE, "factor of 4.*such as 32x36"), (VQVAE2, "factor of 8.*32x40")])
def test_sides_that_the_factor_does_not_divide_are_refused(system: type[System], why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        system(Shape(1, 30, 34))


@pytest.mark.parametrize("kind", ["fsq", "lfq"])
def test_vqgan_takes_the_other_quantisers(kind: str) -> None:
    torch.manual_seed(0)
    sizes = {"codes": 16, "latent": 8, "width": 8, "multiples": (1, 2), "blocks": 1, "attention": (), "ndf": 8}
    system, images = VQGAN(SHAPE, quantiser=kind, layers=1, **sizes, **KINDS[kind]), normal(2, *SHAPE)
    seen = turn(images)
    system.reconstruct(seen).backward()
    system.after_round(seen)
    assert system.into_codes.weight.grad.abs().sum() > 0 and seen.notes["restarted"] == 0
    codes = system.encode(images)
    assert codes.shape == (2, 8, 8) and system.decode(codes).shape == images.shape


# -- vq-vae-2 -----------------------------------------------------------------------------------------


def test_the_top_map_comes_first_and_both_can_be_had_back() -> None:
    system, images = small_2(), normal(3, *SHAPE).clamp(-1, 1)
    with torch.no_grad():
        (tall, top), (fine, bottom) = system.quantised(images)
        codes = system.encode(images)
        assert tall.shape == (3, 4, 2, 2) and fine.shape == (3, 4, 4, 4)
        assert codes.shape == (3, 4 + 16) and codes.dtype == torch.int64 and codes.max() < system.codes == 16
        assert torch.equal(codes[:, :4], top.indices.flatten(1))
        assert torch.equal(codes[:, 4:], bottom.indices.flatten(1))
        whole = system.decode(codes)
        torch.testing.assert_close(
            whole, system.decode_vectors(top.vectors, bottom.vectors).clamp(-1, 1), rtol=0, atol=1e-5
        )
    assert whole.shape == images.shape
    with pytest.raises(UsageError, match=r"\(3, 19\) are no pictures of 16x16: give 4 codes of the top map"):
        system.decode(codes[:, 1:])


def test_the_bottom_hears_the_top() -> None:
    """E_bottom(x, e_top) of Algorithm 1: other top codes make another bottom map; gradients pass through both."""
    system, images = small_2(), normal(3, *SHAPE)
    (_, _), (fine, _) = system.quantised(images)
    with torch.no_grad():
        system.top.codebook.mul_(-100)
    assert not torch.equal(system.quantised(images)[1][0], fine)
    system.rebuild(turn(images)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in system.top_encoder.parameters())


def test_vq_vae_2_codebooks_follow_each_their_own_map() -> None:
    system, images = small_2(kmeans=True, restart_dead=0.1), normal(16, *SHAPE)
    seen = turn(images)
    system.rebuild(seen)
    system.after_round(seen)
    codes = system.encode(images)
    assert (
        len(codes[:, :4].unique()) == 16
    )  # the bottom one saw another top: it was started at vectors it no longer has
    with torch.no_grad():
        for book, dead in ((system.top, 2), (system.bottom, 3)):
            book.codebook[:dead], book.uses[:dead] = 1e3, 0.0
    again = turn(images, 1)
    system.rebuild(again)
    system.after_round(again)
    assert again.notes["restarted"] == 5 and system.top.codebook.abs().max() < 1e2
    assert system.bottom.codebook.abs().max() < 1e2


def test_the_public_program_has_as_many_parameters() -> None:
    with torch.device("meta"):
        system = VQVAE2(Shape(3, 256, 256), hidden=32)
    assert sum(p.numel() for p in system.parameters()) == 1_388_867
    assert sum(b.numel() for b in system.buffers()) == 2 * (2 * 512 * 64 + 512)


def test_both_desk_recipes_spend_as_many_bits() -> None:
    """What either claims: 512 bits a picture, of which VQ-VAE-2 may spend no more."""
    bits = {}
    for name in ("vq-vae", "vq-vae-2"):
        recipe = load_recipe(name)
        system = build(recipe.system, DataSpec(Shape(1, 32, 32)), recipe.model)
        with torch.no_grad():
            bits[name] = system.encode(torch.zeros(1, 1, 32, 32)).numel() * math.log2(system.codes)
    assert bits["vq-vae"] == 512 and 511 < bits["vq-vae-2"] <= 512
