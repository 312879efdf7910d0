"""The diffusion transformer: counts, parity with the public library, and the learnt variances."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.diffusion.learned_variance import ancestral_learned, bound_term, ends, first_variance
from zeuxis.diffusion.path import VariancePreserving, betas
from zeuxis.diffusion.sampler import SAMPLERS
from zeuxis.diffusion.schedule import respaced
from zeuxis.errors import UnknownName, UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.conditioner import LabelConditioner
from zeuxis.nn.dit import DiT
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoencoder.kl_autoencoder import KLAutoencoder
from zeuxis.systems.diffusion.dit import DiffusionTransformer

SHAPE = Shape(1, 8, 8)
SMALL = {"patch": 4, "width": 16, "depth": 1, "heads": 2, "chain": 20}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(net: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))


# -- counts and parity ----------------------------------------------------------------------------------

SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}


@pytest.mark.parametrize(
    ("size", "patch", "published"),
    [
        ("S", 2, 32_963_360),
        ("S", 4, 32_945_024),
        ("S", 8, 33_148_160),
        ("B", 2, 130_512_416),
        ("B", 4, 130_475_648),
        ("B", 8, 130_881_536),
        ("L", 2, 458_102_816),
        ("L", 4, 458_053_760),
        ("L", 8, 458_594_816),
        ("XL", 2, 675_129_632),
        ("XL", 4, 675_074_432),
        ("XL", 8, 675_683_072),
    ],
)
def test_the_published_counts(size: str, patch: int, published: int) -> None:
    """Of the authors' classes, with their frozen table of positions and 1000 classes and none."""
    width, depth, heads = SIZES[size]
    with torch.device("meta"):
        net = DiT(4, 32, patch=patch, width=width, depth=depth, heads=heads, out_channels=8)
        labels = LabelConditioner(1000, net.vector_width)
    parameters = [*net.parameters(), *labels.parameters()]
    assert sum(p.numel() for p in parameters) + net.pos_embed.numel() == published


RULES = (
    (r"^pos_embed\.proj", "patchify"),
    (r"^transformer_blocks\.0\.norm1\.emb\.timestep_embedder\.linear_1", "time.mlp.0"),
    (r"^transformer_blocks\.0\.norm1\.emb\.timestep_embedder\.linear_2", "time.mlp.2"),
    (r"^transformer_blocks\.(\d+)\.norm1\.linear", r"blocks.\1.modulation.1"),
    (r"^transformer_blocks\.(\d+)\.attn1\.to_out\.0", r"blocks.\1.attention.out"),
    (r"^transformer_blocks\.(\d+)\.attn1\.to_([qkv])", r"blocks.\1.attention.\2"),
    (r"^transformer_blocks\.(\d+)\.ff\.net\.0\.proj", r"blocks.\1.mlp.0"),
    (r"^transformer_blocks\.(\d+)\.ff\.net\.2", r"blocks.\1.mlp.2"),
    (r"^proj_out_1", "modulation.1"),
    (r"^proj_out_2", "out"),
)


def test_the_network_agrees_with_diffusers() -> None:
    """Its time embedding has other frequencies than the authors' (a shift of 1): the peer is given theirs."""
    peers = pytest.importorskip("diffusers")
    peer = peers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=3,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=10,
    ).eval()
    stirred(peer)
    first = peer.transformer_blocks[0].norm1.emb
    for block in peer.transformer_blocks:  # one embedding of time and class for all of them, as the authors have it
        block.norm1.emb.load_state_dict(first.state_dict())
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    ours = {}
    for name, value in peer.state_dict().items():
        for old, new in RULES:
            name = re.sub(old, new, name)
        ours[name] = value
    table = ours["transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight"]
    for name in [n for n in ours if ".attention.v." in n]:
        parts = [ours.pop(name.replace(".v.", f".{part}.")) for part in "qkv"]
        ours[name.replace(".v.", ".qkv.")] = torch.cat(parts)
    net, labels = DiT(4, 8, patch=2, width=16, depth=3, heads=2, out_channels=8), LabelConditioner(10, 16)
    net.load_state_dict(
        {name: value for name, value in ours.items() if ".emb." not in name and name != "pos_embed.pos_embed"}
    )
    labels.embedding.table.weight.data.copy_(table)
    x, t, label = randn(3, 4, 8, 8), torch.tensor([3, 700, 41]), torch.tensor([2, 9, 10])
    with torch.no_grad():
        theirs = peer(x, t, label).sample
        mine = net(x, t, labels.embedding(label))
    assert theirs.shape == (3, 8, 8, 8) and theirs.std() > 0.05
    assert torch.allclose(mine, theirs, atol=1e-4, rtol=1e-4)


# -- learnt variances -----------------------------------------------------------------------------------


def test_the_ends_are_those_of_the_chain() -> None:
    """beta_t and beta~_t of Ho et al., each divided by alpha-bar_{t-1}, which takes them to VE space."""
    beta = betas("linear", 50)
    alpha_bar = (1 - beta).cumprod(0)
    path = VariancePreserving(beta)
    sigmas = path.sigmas.double()
    lower, upper = ends(sigmas[1:], sigmas[:-1], least=0.0)
    posterior = beta[1:] * (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:])
    torch.testing.assert_close(upper.exp(), beta[1:] / alpha_bar[:-1], rtol=1e-4, atol=0)
    torch.testing.assert_close(lower.exp(), posterior / alpha_bar[:-1], rtol=1e-4, atol=0)
    assert first_variance(path.sigmas) == pytest.approx(float(posterior[0]), rel=1e-3)
    at_first, _ = ends(sigmas[:1], torch.zeros(1).double(), least=0.125)
    assert at_first.exp() == pytest.approx(0.125)


def test_the_bound_is_the_divergence_of_two_normals() -> None:
    path = VariancePreserving(betas("linear", 50))
    now, after = path.sigmas[[10, 30]], path.sigmas[[9, 29]]
    least = first_variance(path.sigmas)
    x0, guess, v = randn(2, 1, 4, 4), randn(2, 1, 4, 4, seed=1), torch.full((2, 1, 4, 4), 0.3)
    zero = torch.zeros_like(v)
    assert bound_term(x0, x0, zero, now, after, least).abs().max() < 1e-6  # q itself
    lower, upper = ends(now, after, least)
    p_log = 0.3 * upper + 0.7 * lower
    mean_q = (after / now)[:, None, None, None] ** 2 * (0 - x0) + x0  # at x = 0
    mean_p = (after / now)[:, None, None, None] ** 2 * (0 - guess) + guess
    want = [
        torch.distributions.kl_divergence(
            torch.distributions.Normal(mean_q[k], (lower[k] / 2).exp()),
            torch.distributions.Normal(mean_p[k], (p_log[k] / 2).exp()),
        ).mean()
        / math.log(2)
        for k in range(2)
    ]
    torch.testing.assert_close(bound_term(x0, guess, v, now, after, least), torch.stack(want), rtol=1e-3, atol=1e-5)
    last = bound_term(x0, guess, zero, path.sigmas[:1].expand(2), torch.zeros(2), least)
    density = torch.distributions.Normal(guess, math.sqrt(least)).log_prob(x0).flatten(1).mean(1)
    torch.testing.assert_close(last, -density / math.log(2), rtol=1e-4, atol=1e-5)


def test_the_bound_teaches_the_variance_that_the_data_has() -> None:
    """Of data N(0, s^2) a step's true variance lies between the ends, and is where the bound's slope is zero."""
    s, now, after = 0.5, 0.8, 0.5
    lower, upper = (float(e) for e in ends(torch.tensor(now).double(), torch.tensor(after).double(), 0.0))
    # x_after given x_now: both are Gaussian with covariance s^2 + min(now, after)^2.
    true = s**2 + after**2 - (s**2 + after**2) ** 2 / (s**2 + now**2)
    wanted = (math.log(true) - lower) / (upper - lower)
    assert 0 < wanted < 1
    rng = torch.Generator().manual_seed(0)
    x0 = s * torch.randn(400_000, 1, 1, 1, generator=rng)
    x = x0 + now * torch.randn(x0.shape, generator=rng)
    guess = s**2 / (s**2 + now**2) * x
    v = torch.tensor(wanted, requires_grad=True)
    levels = torch.full((len(x0),), now), torch.full((len(x0),), after)
    bound_term(x0, guess, v.expand_as(x0), *levels, 0.0).mean().backward()
    assert v.grad is not None and abs(float(v.grad)) < 0.01
    off = torch.tensor(wanted - 0.3, requires_grad=True)
    bound_term(x0, guess, off.expand_as(x0), *levels, 0.0).mean().backward()
    assert off.grad is not None and float(off.grad) < -0.05  # a smaller one is too small


def test_the_chain_with_the_lower_variances_is_ddpms() -> None:
    levels = respaced(VariancePreserving(betas("linear", 100)).sigmas, 8)
    x = randn(2, 1, 4, 4) * float(levels[0])

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + sigma[:, None, None, None] ** 2)  # of data N(0, 1)

    def both(x: Tensor, sigma: float) -> Tensor:
        return torch.cat([x / (1 + sigma**2), torch.zeros_like(x)], 1)

    mine = ancestral_learned(both, x, levels, ImageRng([3, 4]))
    torch.testing.assert_close(mine, SAMPLERS["ancestral"](denoise, x, levels, ImageRng([3, 4])), rtol=1e-4, atol=1e-4)


# -- the system -----------------------------------------------------------------------------------------


def built(**settings: object) -> DiffusionTransformer:
    torch.default_generator.manual_seed(0)
    system = DiffusionTransformer(SHAPE, **{**SMALL, **settings})  # type: ignore[arg-type]
    stirred(system.network)
    return system.eval()


def test_guidance_moves_the_picture_and_not_the_variance() -> None:
    system = built(classes=3, condition="label")
    x, condition = randn(2, 1, 8, 8), Condition(label=torch.tensor([0, 2]))
    plain = system._guided(condition, 2, Sampling(guidance=1))(x, torch.full((2,), 1.5))
    strong = system._guided(condition, 2, Sampling(guidance=3))(x, torch.full((2,), 1.5))
    assert plain.shape == strong.shape == (2, 2, 8, 8)
    torch.testing.assert_close(plain[:, 1:], strong[:, 1:], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(plain[:, :1], strong[:, :1], atol=1e-3)
    x0 = system.denoiser(condition, 2, Sampling(guidance=1))(x, torch.full((2,), 1.5))
    torch.testing.assert_close(x0, plain[:, :1])


def test_the_learnt_variances_are_those_of_ancestral_alone() -> None:
    system = built()

    def drawn(sampler: str) -> Tensor:
        return system.sample(Condition(), ImageRng([1, 2]), Sampling(steps=6, sampler=sampler))

    before = {sampler: drawn(sampler) for sampler in ("ancestral", "ddim", "heun")}
    with torch.no_grad():
        system.network.out.bias[1::2] += 1.0  # of every pixel's two numbers, x0's and v's, the second
    assert not torch.equal(drawn("ancestral"), before["ancestral"])
    assert torch.equal(drawn("ddim"), before["ddim"]) and torch.equal(drawn("heun"), before["heun"])


def test_the_mean_learns_nothing_from_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    system = built().train()
    with torch.no_grad():
        for p in system.network.parameters():  # the last map begins at zero, and passes no gradient
            p.add_(0.1 * randn(*p.shape))
    batch = Batch(randn(4, 1, 8, 8).clamp(-1, 1))

    def gradients() -> tuple[Tensor, Tensor]:
        """Of the last map's bias, those of the mean and those of the variance: a place's channels come in turn."""
        (found,) = torch.autograd.grad(system.predict(Turn(batch, Stream(0), 1, 0.0)), system.network.out.bias)
        mean, variance = found.unflatten(0, (-1, 2)).unbind(1)
        return mean, variance

    mean, variance = gradients()
    monkeypatch.setattr("zeuxis.systems.diffusion.dit.bound_term", lambda *args: 0 * bound_term(*args))
    alone, none = gradients()
    assert torch.equal(mean, alone) and mean.any()
    assert not none.any() and variance.any()
    simple = built(variance="fixed").train()
    assert simple.network.out.out_features == system.network.out.out_features // 2


def test_unknown_choices_are_named() -> None:
    with pytest.raises(UnknownName, match="variance"):
        DiffusionTransformer(SHAPE, **SMALL, variance="learnt")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="prediction"):
        DiffusionTransformer(SHAPE, **SMALL, predicts="noise")  # type: ignore[arg-type]


def test_a_model_of_pictures_does_not_encode() -> None:
    assert built().can == {"sample", "denoiser"}


def test_latents_of_a_first_stage_are_diffused_where_one_is_given() -> None:
    torch.default_generator.manual_seed(0)
    shape = Shape(3, 16, 16)
    first_stage = KLAutoencoder(shape, latent=2, width=8, multiples=(1, 2, 2), blocks=1, ndf=8, layers=1)
    system = DiffusionTransformer(shape, first_stage=first_stage, **{**SMALL, "patch": 2}).train()  # type: ignore[arg-type]
    assert system.can == {"sample", "encode", "decode", "denoiser"} and system.diffused == (2, 4, 4)
    image = randn(4, *shape).clamp(-1, 1)
    loss = system.predict(Turn(Batch(image), Stream(0), 0, 0.0))
    assert torch.isfinite(loss) and float(system.encode(image).std(correction=0)) == pytest.approx(1, rel=1e-3)
    assert torch.allclose(system.decode(system.encode(image)), first_stage.decode(first_stage.encode(image)), atol=1e-5)
    drawn = system.sample(Condition(), ImageRng([1, 2]), Sampling(steps=3))
    assert drawn.shape == (2, *shape) and drawn.abs().max() <= 1
    with pytest.raises(UsageError, match="scale -1"):
        DiffusionTransformer(shape, first_stage=first_stage, scale=-1.0, **{**SMALL, "patch": 2})  # type: ignore[arg-type]
