"""What is particular to SAGAN and BigGAN: spectral norm, attention, conditional norms, angles, truncation.

The figures called PUBLIC were obtained once from a public program (BigGAN-PyTorch, its BigGAN, BigGAN-deep and SAGAN)
with the weights that :func:`filled` draws and the singular vectors that they have: pictures, logits, and the norms of
the gradients of both losses by all parameters, in training mode.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, normalize, one_hot

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.losses.orthogonal import orthogonality
from zeuxis.nn.box_conv import Resample, conv2d_resampled
from zeuxis.nn.conditional_norm import ConditionalBatchNorm2d
from zeuxis.nn.non_local import NonLocal
from zeuxis.nn.spectral import SpectralConv2d, SpectralConv2dUV, SpectralLinear, spectral
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.adversarial.biggan import BigGAN, truncated
from zeuxis.systems.adversarial.sagan import SAGAN
from zeuxis.training.norms import batch_norms

CLASSES = 5
LABEL = torch.tensor([0, 3, 1, 3])
SMALL = {"classes": CLASSES, "condition": "label", "width": 2, "attention": (16,)}
GAMES = {
    "sagan": lambda: SAGAN(Shape(3, 128, 128), nz=8, **SMALL),
    "biggan": lambda: biggan(Shape(3, 128, 128)),
    "biggan deep": lambda: biggan(Shape(3, 128, 128), deep=True, width=4),
}


def biggan(shape: Shape, **options: object) -> BigGAN:
    return BigGAN(shape, **{**SMALL, "nz": 12, "shared": 4, **options})  # type: ignore[arg-type]


def filled(net: nn.Module) -> None:
    """Weights drawn by their names, and the first left singular vector of each that is divided by its value."""
    with torch.no_grad():
        for name, value in net.named_parameters():
            gain = 0.3 if value.ndim < 2 else 1.0
            value.copy_(float(name.endswith("norm.weight")) + gain * Stream(1, name).normal(*value.shape))
        for layer in net.modules():
            if isinstance(layer, SpectralConv2d | SpectralLinear):
                layer.u.copy_(torch.linalg.svd(layer.weight.flatten(1)).U[:, 0])


def slope_norm(loss: Tensor, net: nn.Module) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))]).norm()


def figures(generator: object, discriminator: object, parts: tuple[nn.Module, nn.Module]) -> dict[str, list[float]]:
    """What is compared: two functions of latents and of pictures, and the networks whose parameters they have."""
    z = Stream(2).normal(4, 12)
    fake = generator(z)  # type: ignore[operator]
    real = Stream(3).uniform(4, 3, 128, 128) * 2 - 1
    logit, real_logit = discriminator(fake), discriminator(real)  # type: ignore[operator]
    slopes = slope_norm(-logit.mean(), parts[0]), slope_norm((1 - real_logit).relu().mean(), parts[1])
    return {
        "image": fake.flatten()[::24593].tolist(),
        "logit": [*logit.tolist(), *real_logit.tolist()],
        "gradients": [float(slope) for slope in slopes],
    }


PUBLIC = {
    "sagan": {
        "image": [0.4741869, -0.2886689, 0.2870567, 0.0006232978, 0.4839097, 0.04529111, 0.2736662, 0.0235232],
        "logit": [-2.881904, -6.25787, -2.656744, -6.256878, -2.276904, -6.615792, -2.971718, -6.602058],
        "gradients": [1.686757, 27.60127],
    },
    "biggan": {
        "image": [0.3532344, 0.2749282, 0.0553342, 0.01741551, 0.1127167, -0.0004615301, 0.2097313, 0.00469928],
        "logit": [-1.732272, -5.904693, -2.380571, -5.735219, -2.276904, -6.615792, -2.971718, -6.602058],
        "gradients": [1.587595, 27.60127],
    },
    "biggan deep": {
        "image": [0.7334772, -0.04620313, 0.9945722, 0.3760792, 0.6344311, 0.05147494, 0.03577043, 0.8883257],
        "logit": [-33.42213, -14.54192, -6.191715, -14.88484, -30.81925, -13.6781, -6.223737, -13.68401],
        "gradients": [3.241329, 38.50075],
    },
}


def ours(name: str) -> tuple[System, dict[str, list[float]]]:
    game = GAMES[name]()
    filled(game.generator)
    filled(game.discriminator)
    y = one_hot(LABEL, CLASSES).float()
    return game, figures(
        lambda z: game.generator(z[:, : game.nz], game.code(y)),
        lambda x: game.discriminator(x, y),
        (game.generator, game.discriminator),
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_the_networks_are_the_public_ones(name: str) -> None:
    found = ours(name)[1]
    for key, wanted in PUBLIC[name].items():
        assert found[key] == pytest.approx(wanted, rel=2e-4, abs=2e-5), key


PUBLISHED = {
    "sagan": (lambda: SAGAN(Shape(3, 128, 128), classes=1000, condition="label"), 42_078_852, 39_463_618),
    "biggan": (lambda: BigGAN(Shape(3, 128, 128), classes=1000), 70_433_988, 87_982_370),
    "biggan deep": (
        lambda: BigGAN(Shape(3, 128, 128), classes=1000, deep=True, nz=128, width=128),
        50_244_484,
        34_590_210,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_of_a_thousand_classes_the_networks_have_the_published_counts(name: str) -> None:
    build, generator, discriminator = PUBLISHED[name]
    with torch.device("meta"):
        game = build()
    assert sum(p.numel() for p in game.generator.parameters()) == generator
    assert sum(p.numel() for p in game.discriminator.parameters()) == discriminator


# -- layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_resampling_convolutions_are_their_two_steps(bias: bool) -> None:
    rng = Stream(0)
    x, weight, shift = rng.normal(2, 3, 6, 8), rng.normal(4, 3, 3, 3), rng.normal(4) if bias else None
    steps = {
        Resample.NONE: conv2d(x, weight, shift, padding=1),
        Resample.DOUBLE: conv2d(interpolate(x, scale_factor=2), weight, shift, padding=1),
        Resample.HALVE: avg_pool2d(conv2d(x, weight, shift, padding=1), 2),
    }
    for how, wanted in steps.items():
        torch.testing.assert_close(conv2d_resampled(x, weight, shift, how), wanted, rtol=1e-4, atol=1e-5)


def test_resampling_convolutions_have_second_derivatives() -> None:
    rng = Stream(0)
    x, weight = rng.normal(1, 2, 4, 4).double().requires_grad_(), rng.normal(2, 2, 3, 3).double().requires_grad_()
    for how in Resample:
        assert torch.autograd.gradgradcheck(
            lambda a, b, how=how: conv2d_resampled(a, b, None, how).square(), (x, weight)
        )


@pytest.mark.parametrize("layer", [SpectralConv2d(3, 6, 3), SpectralLinear(5, 4)], ids=["convolution", "full"])
def test_passes_find_the_largest_singular_value(layer: SpectralConv2d | SpectralLinear) -> None:
    with torch.no_grad():
        layer.weight.copy_(Stream(1).normal(*layer.weight.shape))
        layer.u.copy_(Stream(2).normal(*layer.u.shape))
        x = Stream(3).normal(2, 3, 4, 4) if isinstance(layer, SpectralConv2d) else Stream(3).normal(2, 5)
        for _ in range(300):
            layer(x)
        kept = layer.u.clone()
        layer.eval()(x)
        assert torch.equal(layer.u, kept), "in evaluation nothing moves"
        divided = spectral(layer.weight, layer.u, follow=False).flatten(1)
    assert float(torch.linalg.svdvals(divided)[0]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("layer", [SpectralConv2d(2, 3, 3), SpectralConv2dUV(2, 3, 3, padding=1), SpectralLinear(5, 3)])
def test_a_weight_of_zeros_is_divided_by_nothing(layer: nn.Module) -> None:
    nn.init.zeros_(layer.weight)
    shape = (2, 5) if isinstance(layer, SpectralLinear) else (2, 2, 6, 6)
    out = layer(Stream(0).normal(*shape))
    out.sum().backward()
    assert out.isfinite().all() and layer.weight.grad.isfinite().all()
    with torch.no_grad():  # as an optimiser may: then its value is followed again
        layer.weight.copy_(3 * Stream(1).normal(*layer.weight.shape))
    for _ in range(60):
        bias = layer(torch.zeros(shape))
    made = (layer(Stream(2).normal(*shape)) - bias).std() / Stream(2).normal(*shape).std()
    assert made < 2, "a layer that is not normalised would stretch it by 3 or more"


@pytest.mark.parametrize("keeps_both", [False, True], ids=["u", "u and v"])
def test_spectral_convolutions_are_torchs_but_for_what_they_keep(keeps_both: bool) -> None:
    """Long before the iteration has converged, and after the weight has moved."""
    ours: SpectralConv2d | SpectralConv2dUV
    ours = SpectralConv2dUV(3, 6, 3, padding=1, bias=False) if keeps_both else SpectralConv2d(3, 6, 3, bias=False)
    theirs = nn.utils.spectral_norm(nn.Conv2d(3, 6, 3, padding=1, bias=False))
    weight, u = Stream(1).normal(6, 3, 3, 3), normalize(Stream(2).normal(6), dim=0)
    for made, value in (
        (ours.weight, weight),
        (ours.u, u),
        (theirs.get_parameter("weight_orig"), weight),
        (theirs.get_buffer("weight_u"), u),
    ):
        made.data.copy_(value)
    x = Stream(3).normal(2, 3, 5, 7)
    for _ in range(2):
        slopes = [
            torch.autograd.grad(net(x).square().sum(), of)[0]
            for net, of in ((ours, ours.weight), (theirs, theirs.get_parameter("weight_orig")))
        ]
        torch.testing.assert_close(*slopes)
        torch.testing.assert_close(ours.u, theirs.get_buffer("weight_u"))
    for moved in (ours.weight, theirs.get_parameter("weight_orig")):
        moved.data.add_(Stream(4).normal(6, 3, 3, 3))
    stays, step = theirs.eval()(x), theirs.train()(x)  # both vectors as they were, and one step further
    assert not torch.allclose(stays, step, rtol=1e-2)
    torch.testing.assert_close(ours.eval()(x), stays if keeps_both else step)


def test_the_singular_value_is_differentiated() -> None:
    """sigma(W) = u^T W v: a weight that grows along itself makes the same output, so no gradient points that way."""
    weight = Stream(1).normal(4, 3).requires_grad_()
    u = torch.linalg.svd(weight.detach()).U[:, 0].clone()
    out = (spectral(weight, u, follow=False) * Stream(2).normal(4, 3)).sum()
    (slope,) = torch.autograd.grad(out, weight)
    assert float((slope * weight.detach()).sum()) == pytest.approx(0, abs=1e-5)


def test_attention_begins_as_nothing() -> None:
    layer, x = NonLocal(16), Stream(0).normal(2, 16, 4, 6)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gamma.fill_(1.0)
        flat = layer(torch.ones(1, 16, 4, 6)) - 1
    assert flat.allclose(flat[:, :, :1, :1], atol=1e-6), "where all places are alike, each is the mean of them"


def test_conditional_norms_scale_each_picture_as_its_class_says() -> None:
    norm = ConditionalBatchNorm2d(2, 3, lambda inputs, outputs: nn.Linear(inputs, outputs, bias=False))
    with torch.no_grad():
        norm.gain.weight.copy_(torch.tensor([[0.0, 1.0, -1.0], [0.0, 0.0, 0.0]]))
        norm.bias.weight.copy_(torch.tensor([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0]]))
    x = Stream(0).normal(3, 2, 8, 8)
    y = norm(x, torch.eye(3))
    plain = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(y[:, 1], plain[:, 1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y[1, 0], 2 * plain[1, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y[2, 0], torch.full((8, 8), 5.0))
    assert ConditionalBatchNorm2d(2, 0, nn.Linear).norm.affine


def test_only_angles_between_filters_cost() -> None:
    right, skew = nn.Linear(3, 2), nn.Conv2d(2, 2, 1)
    with torch.no_grad():
        right.weight.copy_(torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.1, 0.0]]))
        skew.weight.copy_(torch.tensor([[1.0, 1.0], [2.0, 0.0]]).view(2, 2, 1, 1))
    assert float(orthogonality([right]).detach()) == 0
    assert float(orthogonality([right, skew]).detach()) == pytest.approx(2 * 2.0**2)  # their product is 2, twice


# -- the games --------------------------------------------------------------------------------------------

TINY = {"width": 4, "multiples": (2, 2, 2), "attention": ()}
GREY = Shape(1, 16, 16)


def turn(n: int = 6) -> Turn:
    image = Stream(0, "images").uniform(n, *GREY) * 2 - 1
    return Turn(Batch(image, Condition(torch.arange(n) % CLASSES)), Stream(1), 0, 0.0)


def test_two_time_scales_and_hinge_losses() -> None:
    game = SAGAN(GREY, nz=8, **{**SMALL, **TINY})
    assert {p.name: (p.lr, p.betas) for p in game.players()} == {
        "discriminator": (4e-4, (0.0, 0.9)),
        "generator": (1e-4, (0.0, 0.9)),
    }
    assert [(move.player, move.times) for move in game.moves()] == [("discriminator", 1), ("generator", 1)]
    y = one_hot(torch.arange(6) % CLASSES, CLASSES).float()
    with torch.no_grad():
        loss = game.eval().discriminate(turn())
        made, real = game.generator(Stream(1).normal(6, 8), y), turn().batch.image
        logit, fake_logit = game.discriminator(real, y), game.discriminator(made, y)
        wanted = (1 - logit).relu().mean() + (1 + fake_logit).relu().mean()
        torch.testing.assert_close(loss, wanted)
        torch.testing.assert_close(game.generate(turn()), -fake_logit.mean())


def test_an_angle_costs_the_generator_as_much_as_it_is_weighed() -> None:
    losses = []
    for weight in (0.0, 0.5):
        game = biggan(GREY, **TINY, orthogonal=weight)
        filled(game)
        losses.append(float(game.eval().generate(turn()).detach()))
    angles = orthogonality([game.generator.body]).detach()
    assert losses[1] - losses[0] == pytest.approx(0.5 * float(angles), rel=1e-4) and float(angles) > 1


def test_every_block_gets_its_part_of_the_latent() -> None:
    game = biggan(GREY, **TINY).eval()
    filled(game)
    y, z = game.code(one_hot(LABEL, CLASSES).float()), Stream(2).normal(4, 12)
    plain = game.generator(z, y)
    for part in range(3):
        other = z.clone()
        other[:, 4 * part : 4 * part + 4] += 1
        assert not torch.allclose(game.generator(other, y), plain)


@pytest.mark.parametrize("name", ["sagan", "biggan"])
def test_between_two_classes_there_are_pictures(name: str) -> None:
    game = (SAGAN(GREY, nz=12, **{**SMALL, **TINY}) if name == "sagan" else biggan(GREY, **TINY)).eval()
    filled(game)
    z = ImageRng.counting(0, 2).normal(2, 12)
    one, other = game.coded(z, torch.tensor([0, 0])), game.coded(z, torch.tensor([1, 1]))
    with torch.no_grad():
        drawn = game.sample(Condition(torch.tensor([0, 0])), ImageRng.counting(0, 2))
        first, between, last = (game.decode(code) for code in (one, (one + other) / 2, other))
    torch.testing.assert_close(drawn, first)
    assert not torch.allclose(first, last)
    assert between.shape == drawn.shape and torch.isfinite(between).all()
    with pytest.raises(Unsupported, match="label"):
        game.coded(z)


@pytest.mark.parametrize("deep", [False, True])
def test_without_classes_a_latent_is_a_picture(deep: bool) -> None:
    game = biggan(GREY, **TINY, condition="none", deep=deep).eval()
    z = ImageRng.counting(0, 2).normal(2, 12)
    assert not game.conditions
    with torch.no_grad():
        assert torch.equal(game.decode(z), game.sample(Condition(), ImageRng.counting(0, 2)))


def test_truncated_latents_have_the_truncated_distribution() -> None:
    z = Stream(0).normal(20_000)
    near = truncated(z, 0.5)
    assert float(near.abs().max()) <= 0.5
    assert torch.equal(near.argsort(), z.argsort())
    wanted = torch.distributions.Normal(0.0, 1.0)
    density, share = float(wanted.log_prob(torch.tensor(0.5)).exp()), 2 * float(wanted.cdf(torch.tensor(0.5))) - 1
    assert float(near.var()) == pytest.approx(1 - 2 * 0.5 * density / share, rel=0.02)
    assert torch.equal(truncated(z, 10.0), z)
    torch.testing.assert_close(truncated(z, 9.0), z, rtol=1e-3, atol=1e-3)  # nothing is cut off


def test_truncation_is_a_knob() -> None:
    game = biggan(GREY, **TINY).eval()
    filled(game)
    label = Condition(torch.zeros(8, dtype=torch.long))
    with torch.no_grad():
        spread = [
            float(game.sample(label, ImageRng.counting(0, 8), Sampling(truncation=t)).std(0).mean())
            for t in (10.0, 0.5, 0.01)
        ]
    assert spread[0] > spread[1] > spread[2]


def test_an_average_gets_statistics_of_its_own() -> None:
    """All norms are among those whose statistics are measured anew when an average is saved ("standing")."""
    game = biggan(GREY, **TINY)
    assert len(batch_norms(game)) == 2 * 2 + 1


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 3"):
        biggan(GREY, **TINY, nz=8)
    with pytest.raises(UsageError, match="attention at 64 pixels"):
        biggan(GREY, **{**TINY, "attention": (64,)})
    with pytest.raises(Unsupported, match="2 classes"):
        biggan(GREY, **TINY, classes=0)


@pytest.mark.parametrize("move", ["discriminate", "generate"])
def test_losses_in_half_precision_are_those_in_full(move: str) -> None:
    values = []
    for enabled in (False, True):
        game = biggan(GREY, **{**TINY, "attention": (8,)})
        filled(game)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss: Tensor = getattr(game, move)(turn())
        loss.backward()
        values.append(float(loss.detach()))
    assert values[1] == pytest.approx(values[0], rel=0.05, abs=0.02)
