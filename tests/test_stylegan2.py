"""What is particular to StyleGAN2 and StyleGAN2-ADA: filters, modulation, penalties, truncation, augmentation.

The figures called PUBLIC were obtained once from the authors' program (stylegan2-ada-pytorch, its pure-PyTorch path)
with the weights that :func:`filled` draws: outputs, penalties and the norms of their gradients by all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import Player, System, Turn, play_round
from zeuxis.knobs import Sampling
from zeuxis.losses.path_length import path_length_penalty, path_lengths
from zeuxis.losses.penalty import r1
from zeuxis.nn.adaptive_probability import AdaptiveProbability
from zeuxis.nn.augment_adaptive import (
    SYM6,
    augmented_adaptively,
    blits,
    colours,
    moved,
    recoloured,
    rotation,
    scaling,
    translation,
    warps,
)
from zeuxis.nn.grid_sample import sample_at
from zeuxis.nn.modulated import modulated_conv2d
from zeuxis.nn.stylegan2 import (
    DeviationOfBatch,
    StyleDiscriminator,
    StyleGenerator,
    StyleLayer,
    StyleMapping,
    StyleSynthesis,
)
from zeuxis.nn.upfirdn import BLUR, downsample, upfirdn2d, upsample
from zeuxis.rng import Device, ImageRng, Stream
from zeuxis.systems.adversarial.stylegan2 import StyleGAN2
from zeuxis.systems.adversarial.stylegan2_ada import StyleGAN2ADA

COLOUR = Shape(3, 16, 16)
SMALL = {"nz": 8, "width": 8, "mapping": 2, "channel_base": 64, "channel_max": 8}
ODD = (0.5, -1.0, 2.0, 3.0, 0.25, 1.0, -0.5, 0.75)  # long, and the same in neither direction


def picture(n: int = 4, shape: Shape = COLOUR, seed: int = 0) -> Tensor:
    return Stream(seed, "picture").uniform(n, *shape) * 2 - 1


def close(one: Tensor | float, other: Sequence[float] | float, rel: float = 1e-4) -> bool:
    a, b = torch.as_tensor(one), torch.as_tensor(other)
    return bool((a - b).abs().max() <= rel * b.abs().max())


# -- upfirdn2d --------------------------------------------------------------------------------------------


def in_steps(x: Tensor, taps: Sequence[float], up: int, down: int, padding: tuple[int, int], flip: bool) -> Tensor:
    """The definition, step by step."""
    b, c, h, w = x.shape
    wide = x.new_zeros(b, c, h * up, w * up)
    wide[:, :, ::up, ::up] = x
    line = torch.tensor(taps if flip else taps[::-1], dtype=x.dtype)
    kernel = torch.outer(line, line).expand(c, 1, -1, -1)
    return conv2d(pad(wide, (*padding, *padding)), kernel, groups=c)[:, :, ::down, ::down]


@pytest.mark.parametrize("taps", [BLUR, (1.0, 2.0, -1.0), ODD])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1), (-2, 3), (-1, -1)])
def test_upfirdn_is_its_steps(taps: Sequence[float], up: int, down: int, padding: tuple[int, int]) -> None:
    x = Stream(0).normal(2, 3, 13, 10).double()
    for flip in (False, True):
        found = upfirdn2d(x, taps, up=up, down=down, padding=padding, gain=3.0, flip=flip)
        torch.testing.assert_close(found, 3 * in_steps(x, taps, up, down, padding, flip), rtol=1e-6, atol=1e-6)


def test_upfirdn_has_second_derivatives() -> None:
    x = Stream(0).normal(1, 2, 5, 4).double().requires_grad_()
    for up, down in ((2, 1), (1, 2)):
        assert torch.autograd.gradgradcheck(
            lambda v, up=up, down=down: upfirdn2d(v, BLUR, up=up, down=down, padding=(2, 1)).square(), x
        )


def test_resampling_keeps_size_and_brightness() -> None:
    flat = torch.full((1, 2, 12, 8), 0.7)
    for taps in (BLUR, SYM6):
        larger, smaller = upsample(flat, taps), downsample(flat, taps)
        assert larger.shape == (1, 2, 24, 16) and smaller.shape == (1, 2, 6, 4)
        inside = len(taps) // 2
        if taps is BLUR:
            assert smaller[0, 0, 2:-2, 1:-1].allclose(torch.tensor(0.7))
        assert larger[0, 0, inside + 1 : -inside - 1, 7:9].allclose(torch.tensor(0.7), atol=1e-5)


# -- modulated convolution --------------------------------------------------------------------------------


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_scaling_maps_is_scaling_weights(up: bool, demodulate: bool) -> None:
    """Eq. 1 and 3 as they are written, with a kernel for each picture."""
    rng = Stream(0)
    x, weight, style = rng.normal(3, 4, 6, 6), rng.normal(5, 4, 3, 3), 0.5 + rng.uniform(3, 4)
    found = modulated_conv2d(x, weight, style, up=up, demodulate=demodulate)
    for k in range(3):
        kernel = weight * style[k].view(1, -1, 1, 1) / 6  # fan-in 36
        if demodulate:
            kernel = kernel / kernel.square().sum((1, 2, 3), keepdim=True).sqrt()
        if up:
            wide = conv_transpose2d(x[k : k + 1], kernel.transpose(0, 1), stride=2)
            wanted = in_steps(wide, BLUR, 1, 1, (1, 1), flip=False) * 4
        else:
            wanted = conv2d(x[k : k + 1], kernel, padding=1)
        torch.testing.assert_close(found[k : k + 1], wanted, rtol=1e-4, atol=1e-5)


def test_demodulated_maps_have_deviation_one_whatever_the_style() -> None:
    rng = Stream(0)
    x, weight = rng.normal(8, 32, 16, 16), rng.normal(32, 32, 3, 3)
    for scale in (1e-3, 1.0, 1e3):
        style = scale * (0.5 + rng.uniform(8, 32))
        inner = modulated_conv2d(x, weight, style)[:, :, 1:-1, 1:-1]
        assert float(inner.std()) == pytest.approx(1, abs=0.03)


def test_modulated_convolution_has_second_derivatives() -> None:
    rng = Stream(0)
    x, weight, style = rng.normal(2, 2, 3, 3), rng.normal(2, 2, 3, 3), 0.5 + rng.uniform(2, 2)
    inputs = tuple(t.double().requires_grad_() for t in (x, weight, style))
    for up in (False, True):
        made = partial(modulated_conv2d, up=up)
        assert torch.autograd.gradcheck(made, inputs) and torch.autograd.gradgradcheck(made, inputs)


def test_large_styles_stay_within_half_precision() -> None:
    rng = Stream(0)
    x, weight, style = rng.normal(2, 8, 4, 4), rng.normal(8, 8, 3, 3), 1e5 * (0.5 + rng.uniform(2, 8))
    half = modulated_conv2d(x.half(), weight.half(), style).float()
    torch.testing.assert_close(half, modulated_conv2d(x, weight, style), rtol=0.02, atol=0.02)


# -- the networks beside the public ones ------------------------------------------------------------------

PUBLIC = {
    0: {
        "image": [-0.6260065, 0.1590618, -0.3045118, 0.9138746, -0.2368033, 3.657714, 0.8556287, -3.243102],
        "logit": [-0.5315726, -0.6189181, -0.504904, -0.1665238],
        "r1": 0.03063769,
        "lengths": [1.433961, 2.90436, 2.18692, 0.6647249],
        "path": 1.569543,
        "path gradient": 6.741855,
        "r1 gradient": 0.04961824,
    },
    3: {
        "image": [-0.896383, 2.550552, -0.3793771, 1.54478, 0.237119, -1.731957, 0.08460695, 1.663532],
        "logit": [-1.071684, 0.08593144, -0.02971243, -0.34863],
        "r1": 0.01916634,
        "lengths": [1.998444, 3.285015, 1.086339, 1.132454],
        "path": 1.864851,
        "path gradient": 10.50859,
        "r1 gradient": 0.04070847,
    },
}


def filled(net: nn.Module) -> None:
    """Weights drawn by their names; those of the mapping are stored a hundred times as large as others."""
    for name, value in net.state_dict().items():
        mapping, bias = "mapping.layers" in name, name.endswith("bias")
        scale = (30.0 if bias else 100.0) if mapping else (1.0 if value.ndim > 1 else 0.3)
        value.copy_(float(name.endswith("affine.bias")) + scale * Stream(1, name).normal(*value.shape))


def networks(classes: int) -> tuple[StyleGenerator, StyleDiscriminator]:
    shape = Shape(3, 32, 32)
    mapping = StyleMapping(12, 10, layers=3, classes=classes)
    generator = StyleGenerator(mapping, StyleSynthesis(shape, 10, channel_base=128, channel_max=12), 10)
    discriminator = StyleDiscriminator(shape, channel_base=128, channel_max=12, group=2, mapping=2, classes=classes)
    filled(generator)
    filled(discriminator)
    return generator, discriminator


def slope_norm(loss: Tensor, net: nn.Module) -> Tensor:
    found = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None]).norm()


class Still(Stream):
    """Draws the same each time."""

    def normal(self, *shape: int, device: Device = "cpu") -> Tensor:
        return Stream(4).normal(*shape)


@pytest.mark.parametrize("classes", PUBLIC)
def test_the_networks_are_the_public_ones(classes: int) -> None:
    generator, discriminator = networks(classes)
    public = PUBLIC[classes]
    label = torch.tensor([0, 2, 1, 2]) if classes else None
    codes = generator.spread(generator.mapping(Stream(2).normal(4, 12), label))
    image = generator.synthesis(codes, "constant")
    assert close(image.flatten()[::1537], public["image"])
    assert close(discriminator(image, label), public["logit"])
    lengths = path_lengths(image, codes, Still(0))
    penalty = 2 * path_length_penalty(lengths, torch.tensor(1.5))
    assert close(lengths, public["lengths"]) and close(penalty, public["path"])
    assert close(slope_norm(penalty, generator), public["path gradient"])
    slope = 5 * r1(lambda x: discriminator(x, label), Stream(3).uniform(4, 3, 32, 32) * 2 - 1)
    assert close(slope, public["r1"]) and close(slope_norm(slope, discriminator), public["r1 gradient"])


def test_variety_is_seen_within_interleaved_groups() -> None:
    x = torch.zeros(4, 2, 3, 3)
    x[2] = 2.0  # in one group with the first: their deviation is 1
    feature = DeviationOfBatch(2)(x)[:, -1]
    assert feature[0].allclose(torch.tensor(1.0), atol=1e-3) and torch.equal(feature[0], feature[2])
    assert feature[1].max() < 1e-3 and feature[3].max() < 1e-3
    assert DeviationOfBatch(4)(Stream(0).normal(6, 2, 3, 3)).shape == (6, 3, 3, 3)  # in threes


@pytest.mark.parametrize(("group", "n", "groups"), [(4, 5, 1), (4, 7, 1), (4, 11, 2), (2, 3, 1), (2, 7, 3), (4, 13, 3)])
def test_variety_is_seen_in_a_batch_that_nothing_divides(group: int, n: int, groups: int) -> None:
    """Groups of one would leave the map at zero, and a generator without variety unseen."""
    x = Stream(0).normal(n, 2, 3, 3)
    feature = DeviationOfBatch(group)(x)[:, -1, 0, 0]
    for k in range(groups):
        wanted = (x[k::groups].var(0, correction=0) + 1e-8).sqrt().mean()
        assert feature[k::groups].allclose(wanted.expand(len(feature[k::groups])), rtol=1e-5)
    assert DeviationOfBatch(group)(x[:1])[0, -1].max() < 1e-3 and DeviationOfBatch(1)(x)[:, -1].max() < 1e-3


# -- the game ---------------------------------------------------------------------------------------------


class Table:
    """A small trainer: plain Adam, without a learning rate unless one is given."""

    def __init__(self, system: StyleGAN2 | StyleGAN2ADA, n: int = 4, lr: float = 0.0, labels: int = 0) -> None:
        self.system, self.rng, self.round, self.n, self.labels = system.train(), Stream(0), 0, n, labels
        self.players = system.players()
        self.optimisers = {p.name: torch.optim.Adam(p.parameters(), lr, p.betas) for p in self.players}
        self.steps: list[str] = []

    def draw(self) -> list[Turn]:
        label = torch.arange(self.n) % self.labels if self.labels else None
        return [
            Turn(Batch(picture(self.n, self.system.shape, self.round), Condition(label)), self.rng, self.round, 0.0)
        ]

    def step(self, player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> None:
        self.optimisers[player.name].zero_grad()
        value = loss(turns[0])
        assert value is not None and torch.isfinite(value)
        value.backward()
        self.optimisers[player.name].step()
        self.steps.append(loss.__name__)

    def play(self, rounds: int = 1) -> Turn:
        for _ in range(rounds):
            turn = play_round(self.system, self.players, self.draw, self.step)[-1]
            self.round += 1
        return turn


Game = TypeVar("Game", bound=System)


def built(kind: Callable[..., Game], options: dict[str, object], shape: Shape = COLOUR) -> Game:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(shape, **SMALL, **options)


def system(**options: object) -> StyleGAN2:
    return built(StyleGAN2, options)


def ada(**options: object) -> StyleGAN2ADA:
    return built(StyleGAN2ADA, options)


def test_penalties_are_lazy_and_their_players_corrected() -> None:
    table = Table(system(r1_every=3, path_every=2))
    table.play(4)
    wanted = "generate smooth discriminate flatten, generate discriminate, generate smooth discriminate,"
    assert table.steps == f"{wanted} generate discriminate flatten".replace(",", "").split()
    generator, discriminator = table.players
    assert generator.lr == pytest.approx(2e-3 * 2 / 3) and generator.betas == pytest.approx((0, 0.99 ** (2 / 3)))
    assert discriminator.lr == pytest.approx(2e-3 * 3 / 4) and discriminator.betas == pytest.approx((0, 0.99**0.75))


def test_a_penalty_of_no_weight_is_left_out() -> None:
    bare = system(gamma=0.0, path_weight=0.0)
    assert [m.loss.__name__ for m in bare.moves()] == ["generate", "discriminate"]
    assert {(p.lr, p.betas) for p in bare.players()} == {(2e-3, (0.0, 0.99))}
    with pytest.raises(UsageError, match="weight of 0"):
        system(r1_every=0)


def test_a_lazy_penalty_counts_for_the_rounds_that_it_was_left_out() -> None:
    turns = [Turn(Batch(picture()), Stream(3), 0, 0.0) for _ in range(2)]
    one, three = system(r1_every=1, gamma=4.0), system(r1_every=3, gamma=4.0)
    torch.testing.assert_close(3 * one.flatten(turns[0]), three.flatten(turns[1]))
    torch.testing.assert_close(one.flatten(turns[0]), 2 * turns[0].notes["r1"])


def test_path_lengths_of_codes_that_no_mapping_makes() -> None:
    bare = StyleGAN2(COLOUR, **(SMALL | {"mapping": 0}))
    bare.smooth(Turn(Batch(picture()), Stream(3), 0, 0.0)).backward()
    assert all(p.grad is not None for p in bare.generator.synthesis.blocks[0].conv1.affine.parameters())


@pytest.mark.parametrize("move", ["generate", "smooth", "flatten"])
def test_losses_in_half_precision_are_those_in_full(move: str) -> None:
    """Of the penalties the second derivatives, too."""
    norms = []
    for enabled in (False, True):
        game, turn = ada(start=0.5), Turn(Batch(picture(8)), Stream(3), 0, 0.0)
        net = game.discriminator if move == "flatten" else game.generator
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss: Tensor = getattr(game, move)(turn)
        assert loss.dtype == torch.float32
        norms.append((float(loss.detach()), float(slope_norm(loss, net))))
    assert norms[1] == pytest.approx(norms[0], rel=0.05)
    assert norms[1] != norms[0]


def test_a_batch_in_parts_is_judged_like_one_that_is_whole() -> None:
    """Where the discriminator is called again for its own move, because memory is short, it sees the same."""
    losses = []
    for parts in (1, 2):
        game = ada(start=0.5)
        turn = Turn(Batch(picture(8)), Stream(3), 0, 0.0)
        turn.linked = (turn, turn) if parts == 2 else ()
        losses.append([float(game.generate(turn).detach()), float(game.discriminate(turn).detach())])
    assert losses[0] == pytest.approx(losses[1])


def test_the_mean_code_and_length_follow_the_round_however_it_was_cut() -> None:
    game = system(mean_decay=0.9)
    parts = [Turn(Batch(picture(n)), Stream(0), 0, 0.0) for n in (1, 3)]
    for part in parts:
        part.linked = parts
    for k, part in enumerate(parts):
        part.memo = {"code": torch.full((len(part.batch), 8), float(k)), "lengths": torch.full((1 + k,), 3.0 * k)}
    game.after_round(parts[-1])
    assert game.generator.mean.allclose(torch.tensor(0.1 * 0.75))
    assert float(game.path_mean) == pytest.approx(0.01 * 2)


def test_styles_are_mixed_from_some_layer_on() -> None:
    game = system(mixing=1.0)
    batch = Batch(picture(2))
    cuts = set()
    for k in range(40):
        codes = game.codes_of(Turn(batch, Stream(k), 0, 0.0), batch)
        assert codes.shape == (2, 6, 8)
        cuts.add(next(i for i in range(6) if not torch.equal(codes[:, i], codes[:, 0])))
    assert cuts == {1, 2, 3, 4, 5}
    plain = system(mixing=0.0).codes_of(Turn(batch, Stream(0), 0, 0.0), batch)
    assert all(torch.equal(plain[:, i], plain[:, 0]) for i in range(6))


def test_truncation_draws_codes_to_their_mean() -> None:
    game = system().eval()
    game.generator.mean.copy_(Stream(5).normal(8))
    z = Stream(1).normal(3, 8)
    far, near, mean = (game.styles(z, truncation=psi) for psi in (1.0, 0.5, 0.0))
    torch.testing.assert_close(near, (far + mean) / 2)
    torch.testing.assert_close(mean, game.generator.mean.expand_as(mean))
    torch.testing.assert_close(game.styles(z, truncation=-1.0), 2 * mean - far)
    game.settings(Sampling(truncation=-1.0))  # as in Fig. 8 of StyleGAN's paper
    how = Sampling(truncation=0.0, noise="constant")
    with torch.no_grad():
        same = game.sample(Condition(), ImageRng.counting(0, 2), how)
    torch.testing.assert_close(same[0], same[1])


def test_noise_changes_details_and_is_given_as_asked() -> None:
    game = system().eval()
    for layer in game.modules():
        if isinstance(layer, StyleLayer):
            layer.strength.data.fill_(0.5)
    with torch.no_grad():
        draws = {
            noise: game.sample(Condition(), ImageRng.counting(0, 2), Sampling(noise=noise))
            for noise in ("random", "constant", "none")
        }
        decoded = game.decode(ImageRng.counting(0, 2).normal(2, 8))
    assert torch.equal(decoded, draws["constant"])
    assert not torch.equal(draws["random"], draws["constant"]) and not torch.equal(draws["none"], draws["constant"])


def test_codes_of_every_layer_are_decoded() -> None:
    game = system().eval()
    z = Stream(1).normal(2, 8)
    with torch.no_grad():
        torch.testing.assert_close(game.decode(game.styles(z)), game.decode(z))
        one = game.styles(z)[:, :1]
        torch.testing.assert_close(game.decode(one.expand(-1, game.style_layers, -1)), game.decode(z))
    with pytest.raises(
        UsageError, match=r"a latent z has 8 numbers here, and this 5: .*w\[:, None\]\.expand\(-1, \d, -1\)"
    ):
        game.decode(torch.zeros(2, 5))


def test_a_model_of_classes_obeys_them_and_is_trained_on_them() -> None:
    game = system(classes=3, condition="label")
    assert game.conditions == {"label"} and not system(classes=3).conditions
    table = Table(game, labels=3, lr=1e-3)
    table.play(2)
    game.eval()
    with torch.no_grad():
        one, other = (
            game.sample(Condition(torch.full((2,), k)), ImageRng.counting(0, 2), Sampling(noise="none")) for k in (0, 1)
        )
    assert not torch.equal(one, other)
    with pytest.raises(Unsupported, match="label"):
        game.sample(Condition(), ImageRng.counting(0, 2))
    with pytest.raises(Unsupported, match="alone"):
        game.decode(torch.zeros(2, 8))
    with pytest.raises(Unsupported, match="classes"):
        system(condition="label")


def test_sides_are_powers_of_two() -> None:
    with pytest.raises(UsageError, match="squares of 8, 16"):
        built(StyleGAN2, {}, Shape(3, 24, 24))


# -- augmentation -----------------------------------------------------------------------------------------


def test_of_probability_zero_nothing_changes() -> None:
    image = picture()
    assert augmented_adaptively(image, Stream(0), 0.0) is image
    for matrix in (blits(4, Stream(0), 0.0, 16), warps(4, Stream(0), 0.0, 16)):
        torch.testing.assert_close(matrix, torch.eye(3).expand(4, 3, 3))
    torch.testing.assert_close(colours(4, Stream(0), 0.0, grey=False), torch.eye(4).expand(4, 4, 4))


def test_the_filter_of_geometry_leaves_what_is_not_moved_alone() -> None:
    """Its correlation with itself is 1 at 0 and 0 at every other even distance: up and down again is the identity."""
    image = picture(2)
    torch.testing.assert_close(moved(image, torch.eye(3).expand(2, 3, 3)), image, rtol=0, atol=1e-4)


def smooth(side: int = 32) -> Tensor:
    """One picture of low frequencies, alike in no direction."""
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    return torch.stack([(3 * x + 1).sin() * (2 * y).cos(), x - y**2, x * y])[None]


def test_pictures_are_moved_the_way_that_matrices_say() -> None:
    image, one = smooth(), torch.ones(1)
    inner = (..., slice(3, -3), slice(3, -3))  # at the edge, the picture's reflection has a crease
    mirror = moved(image, scaling(-one, one))
    torch.testing.assert_close(mirror[inner], image.flip(3)[inner], rtol=0, atol=0.02)
    quarter = moved(image, rotation(one * math.pi / 2))
    torch.testing.assert_close(quarter[inner], torch.rot90(image, 1, (2, 3))[inner], rtol=0, atol=0.02)
    assert (quarter - image)[inner].abs().max() > 0.3
    image = picture(1)
    shifted = moved(image, translation(-2 * one, one))  # two to the right, one up
    torch.testing.assert_close(shifted[..., :-1, 2:], image[..., 1:, :-2], rtol=0, atol=1e-4)
    torch.testing.assert_close(shifted[..., :-1, 1], image[..., 1:, 1], rtol=0, atol=1e-4)  # reflected about the edge


def test_each_change_of_geometry_has_its_distribution() -> None:
    n, p, side = 20_000, 0.5, 64
    matrix = blits(n, Stream(0), p, side)
    turned = matrix[:, :2, :2]
    kinds = (turned.round() * torch.tensor([[1, 3], [9, 27]])).sum((1, 2)).unique(return_counts=True)[1] / n
    assert len(kinds) == 8  # every mirror image and quarter turn
    still = (turned - torch.eye(2)).abs().amax((1, 2)) < 1e-5
    assert float(still.float().mean()) == pytest.approx((1 - p / 2) * (1 - 3 * p / 4), abs=0.015)
    away = torch.linalg.solve(turned, matrix[:, :2, 2:])[:, :, 0].abs()  # back in the new picture's axes
    assert float(away.max()) == pytest.approx(side / 8, abs=1e-3)
    assert float((away.amax(1) > 0.5).float().mean()) == pytest.approx(p * (1 - 1 / 256), abs=0.02)

    matrix = warps(n, Stream(1), p, side)
    size = -matrix[:, :2, :2].det().log2() / 2  # log2 of the factor by which it grows
    assert float((size.abs() > 1e-5).float().mean()) == pytest.approx(p, abs=0.015)
    assert float(size[size.abs() > 1e-5].std()) == pytest.approx(0.2, abs=0.01)
    singular = torch.linalg.svdvals(matrix[:, :2, :2])
    aspect = (singular[:, 0] / singular[:, 1]).log2() / 2
    assert float((aspect > 1e-4).float().mean()) == pytest.approx(p, abs=0.015)
    assert float(aspect[aspect > 1e-4].square().mean().sqrt()) == pytest.approx(0.2, abs=0.01)
    even = (singular[:, 0] / singular[:, 1] - 1).abs() < 1e-4
    upright = matrix[even, 0, 1].abs() < 1e-5  # turned neither before nor after: 1 - p
    assert float(upright.float().mean()) == pytest.approx(1 - p, abs=0.02)
    shift = torch.linalg.solve(matrix[:, :2, :2], matrix[:, :2, 2:])[:, :, 0]
    there = shift.abs().amax(1) > 1e-4
    assert float(there.float().mean()) == pytest.approx(p, abs=0.015)
    assert float(shift[there].std()) == pytest.approx(side / 8, rel=0.03)


def test_each_change_of_colour_has_its_distribution() -> None:
    n, p = 20_000, 0.5
    grey = torch.full((3,), 1 / math.sqrt(3))
    matrix = colours(n, Stream(2), p, grey=False)
    along = torch.einsum("i,nij,j->n", grey, matrix[:, :3, :3], grey)  # contrast, its sign that of lightness
    assert float((along < 0).float().mean()) == pytest.approx(p / 2, abs=0.015)
    contrast = along.abs().log2()
    changed = contrast.abs() > 1e-5
    assert float(changed.float().mean()) == pytest.approx(p, abs=0.015)
    assert float(contrast[changed].std()) == pytest.approx(0.5, abs=0.015)
    bright = matrix[:, :3, 3].mean(1) / along
    assert float((bright.abs() > 1e-6).float().mean()) == pytest.approx(p, abs=0.015)
    assert float(bright[bright.abs() > 1e-6].std()) == pytest.approx(0.2, abs=0.01)
    across = matrix[:, :3, :3] - along[:, None, None] * torch.outer(grey, grey)
    saturation = (torch.linalg.svdvals(across)[:, 0] / along.abs()).log2()
    changed = saturation.abs() > 1e-4
    assert float(changed.float().mean()) == pytest.approx(p, abs=0.015)
    assert float(saturation[changed].std()) == pytest.approx(1, abs=0.03)
    cosine = across.diagonal(dim1=1, dim2=2).sum(1) / (2 * along.abs() * saturation.exp2())  # of the hue's angle
    assert float((cosine < 1 - 1e-3).float().mean()) == pytest.approx(p, abs=0.03)
    assert float(cosine[cosine < 1 - 1e-3].mean()) == pytest.approx(0, abs=0.05)
    plain = colours(n, Stream(2), p, grey=True)[:, :3, :3]
    assert torch.equal(plain, plain.transpose(1, 2))  # no hue is turned


def test_grey_pictures_are_recoloured_as_their_colour_copies() -> None:
    image, matrix = picture(5, Shape(1, 8, 8)), colours(5, Stream(3), 1.0, grey=True)
    torch.testing.assert_close(
        recoloured(image, matrix), recoloured(image.expand(-1, 3, -1, -1), matrix).mean(1, keepdim=True)
    )
    with pytest.raises(Unsupported, match="hue"):
        recoloured(picture(2, Shape(2, 8, 8)), matrix[:2])
    with pytest.raises(UsageError, match="'bg'"):
        built(StyleGAN2ADA, {}, Shape(2, 16, 16))
    built(StyleGAN2ADA, {"augment": "bg"}, Shape(2, 16, 16))


def test_augmentation_is_linear_and_its_gradient_its_transpose() -> None:
    """So nothing of the gradient is lost, and R1 may be taken through it."""
    image, other = picture(3).double(), picture(3, seed=1).double()
    matrix = blits(3, Stream(0), 1.0, 16) @ warps(3, Stream(1), 1.0, 16)
    leaf = image.clone().requires_grad_()
    out = moved(leaf, matrix)
    (back,) = torch.autograd.grad(out, leaf, other, create_graph=True)
    assert (out * other).sum().item() == pytest.approx((leaf * back).sum().item(), rel=1e-6)
    grid = 1.6 * Stream(2).uniform(1, 3, 3, 2).double() - 0.8
    small = Stream(3).normal(1, 2, 4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sample_at(x, grid).square(), small)
    assert torch.autograd.gradgradcheck(lambda x: sample_at(x, grid).square(), small)


def test_both_players_look_at_augmented_pictures_alone() -> None:
    game = ada(start=0.7, r1_every=1, path_every=1)
    shown: list[int] = []
    seen: list[Tensor] = []

    def remember(image: Tensor, turn: Turn, augment: Callable[[Tensor, Turn], Tensor] = game.shown) -> Tensor:
        out = augment(image, turn)
        shown.append(id(out))
        seen.append(out.detach())
        return out

    game.shown = remember  # type: ignore[method-assign]
    looks: list[Tensor] = []
    game.discriminator.register_forward_pre_hook(lambda _, args: looks.append(args[0].detach()))
    Table(game).play(1)
    assert len(looks) == len(seen) == 3  # the fakes once, the real ones for the loss and for R1
    assert all(torch.equal(a, b) for a, b in zip(looks, seen, strict=True))
    real = picture(4, COLOUR, 0)
    assert not any(torch.equal(look, real) for look in looks)


def test_the_generator_learns_through_the_augmentation() -> None:
    game = ada(start=1.0)
    turn = Turn(Batch(picture()), Stream(0), 0, 0.0)
    game.generate(turn).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in game.generator.parameters())
    assert game.generator.synthesis.blocks[0].const.grad.abs().max() > 0  # type: ignore[union-attr]


def test_p_follows_the_sign_of_real_logits() -> None:
    p = AdaptiveProbability(target=0.6, every=2, speed=100, start=0.5)
    over, under = torch.tensor([1.0, 1, 1, 1, 1]), torch.tensor([1.0, 1, 1, 1, -1])
    assert p.update(over) is None and p.p == 0.5  # every other round
    assert p.update(over) == pytest.approx(1.0) and p.p == pytest.approx(0.6)
    assert p.update(under) is None
    assert p.update(-under) == pytest.approx(0.0) and p.p == pytest.approx(0.5)
    p.update(under)
    assert p.update(under) == pytest.approx(0.6)  # on target, but for rounding
    for _ in range(40):
        p.update(over)
    assert p.p == 1.0
    for _ in range(60):
        p.update(-over)
    assert p.p == 0.0


@pytest.mark.parametrize(
    ("option", "value"), [("speed", 0), ("speed", -1.0), ("start", 2.0), ("start", -0.1), ("every", 0)]
)
def test_p_is_refused_what_it_cannot_move_by(option: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{option} is {value:g}"):
        ada(**{option: value})


def test_p_is_moved_by_what_all_parts_of_a_batch_left() -> None:
    game = ada(speed=40.0, every=1)
    parts = [Turn(Batch(picture(n)), Stream(0), 0, 0.0) for n in (2, 6)]
    for part in parts:
        part.linked = parts
        part.memo = {"code": torch.zeros(len(part.batch), 8), "sign": torch.ones(len(part.batch))}
    game.after_round(parts[-1])
    assert game.augmentation.p == pytest.approx(8 / 40)
    assert parts[-1].notes == {"p": pytest.approx(0.2), "overfitting": 1.0}
