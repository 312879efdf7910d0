"""What is particular to ProGAN and StyleGAN: growth without a jump, pixel norm, AdaIN, noise, truncation.

The figures called PUBLIC were obtained once from public programs with the weights that :func:`filled` draws: ProGAN's
from pytorch_GAN_zoo, whose discriminator was told to average before its leaky ReLU, as the authors' program does;
StyleGAN's from style-based-gan-pytorch, with the authors' epsilon. Pictures, logits, penalties, and the norms of their
gradients by all parameters, at a whole level and at one that fades in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import toy_source
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.data.batches import Batches
from zeuxis.errors import UsageError
from zeuxis.game import System, Turn, only_moves, play_round
from zeuxis.knobs import Sampling
from zeuxis.losses.penalty import gradient_penalty, judged, r1, slopes, zero_centred
from zeuxis.nn.growing import Growth, brought_to, doubled, seen_at
from zeuxis.nn.progressive import ProgressiveDiscriminator
from zeuxis.nn.stylegan import AdaptiveLayer
from zeuxis.recipe import Train
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.adversarial.progan import ProGAN
from zeuxis.systems.adversarial.stylegan import StyleGAN
from zeuxis.training.trainer import Trainer

COLOUR = Shape(3, 32, 32)
SMALL = {"channel_base": 256, "channel_max": 12, "group": 4}
KINDS: dict[str, Callable[..., ProGAN | StyleGAN]] = {
    "progan": lambda **options: built(ProGAN, nz=12, **{**SMALL, **options}),
    "stylegan": lambda **options: built(StyleGAN, nz=12, width=10, mapping=3, **{**SMALL, "start": 4, **options}),
}


def built(kind: Callable[..., ProGAN | StyleGAN], **options: object) -> ProGAN | StyleGAN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(COLOUR, **options)


def picture(n: int = 4, seed: int = 0) -> Tensor:
    return Stream(seed, "picture").uniform(n, *COLOUR) * 2 - 1


# -- the networks beside the public ones ------------------------------------------------------------------


def filled(net: nn.Module) -> None:
    """Weights and noise drawn by their names; those of the mapping are stored a hundred times as large as others.

    A bias before a blur, as the public StyleGAN has it, is not one after it: those are zero.
    """
    for name, value in net.state_dict().items():
        mapping, bias = "mapping.layers" in name, name.endswith("bias")
        scale = (30.0 if bias else 100.0) if mapping else (0.3 if value.ndim < 2 else 1.0)
        value.copy_(scale * (not name.endswith("layer0.bias")) * Stream(1, name).normal(*value.shape))
        if name.endswith("layer1.noise"):
            value.copy_(net.state_dict()[name.replace("layer1", "layer0")])  # the public one draws one for both


def slope_norm(loss: Tensor, net: nn.Module) -> Tensor:
    shared = [p for name, p in net.named_parameters() if not name.endswith("layer0.bias")]
    found = torch.autograd.grad(loss, shared, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None]).norm()


def figures(
    generator: Callable[[Tensor], Tensor], discriminator: Callable[[Tensor], Tensor], parts: tuple[nn.Module, nn.Module]
) -> dict[str, list[float]]:
    """What is compared: two functions of latents and of pictures, and the networks whose parameters they have."""
    image = generator(Stream(2).normal(4, 12))
    real = seen_at(Stream(3).uniform(4, *COLOUR) * 2 - 1, 2.0 if image.shape[-1] == 16 else 3.0)
    logit, real_logit = discriminator(image), discriminator(real)
    slope = gradient_penalty(discriminator, real, image.detach(), Stream(5))
    flat = r1(discriminator, real)
    return {
        "image": image.flatten()[:: image.numel() // 8].tolist(),
        "logit": [*logit.tolist(), *real_logit.tolist()],
        "penalties": [float(slope.detach()), float(flat.detach())],
        "gradients": [
            float(slope_norm(loss, net))
            for loss, net in ((logit.mean(), parts[0]), (real_logit.mean(), parts[1]), (slope, parts[1]))
        ],
    }


PUBLIC = {
    ("progan", 2.4): {
        "image": [0.4959753, -0.9909813, 1.045641, -1.10702, 0.5853813, -0.9786034, 1.095683, -1.553524],
        "logit": [-0.7436331, -0.7581862, -0.7980726, -0.7733995, -0.4675407, -0.4919885, -0.4771307, -0.4857919],
        "penalties": [0.9226636, 0.00117983],
        "gradients": [0.4179946, 1.56664, 0.04968664],
    },
    ("progan", 3.0): {
        "image": [-0.3108262, -1.453898, 0.7396685, -1.486281, -0.1307436, -0.7135259, -0.1301029, -0.9311545],
        "logit": [-0.3789736, -0.4204401, -0.398961, -0.3507711, -0.4513685, -0.447732, -0.4327832, -0.4628312],
        "penalties": [0.9371489, 0.0009343855],
        "gradients": [0.2710853, 1.554118, 0.04787859],
    },
    ("stylegan", 2.4): {
        "image": [0.667977, 1.438321, 0.4016224, 0.5479501, 0.8336543, 1.241375, 0.3573999, 0.9497228],
        "logit": [-0.5240231, -0.4600588, -0.6402923, -0.5945063, -0.4872816, -0.5000617, -0.488651, -0.4965936],
        "penalties": [0.9708376, 0.0002095868],
        "gradients": [0.2832932, 1.573641, 0.02208366],
    },
    ("stylegan", 3.0): {
        "image": [0.7791519, 0.5773391, 0.00469479, -0.9634358, 0.2582267, -0.1990997, 0.2133951, -0.3399844],
        "logit": [-0.5609746, -0.4651871, -0.4087287, -0.5962306, -0.466624, -0.4660444, -0.4586473, -0.4652549],
        "penalties": [0.9773179, 0.0001353425],
        "gradients": [0.2767503, 1.541343, 0.02225891],
    },
}


def ours(name: str, level: float) -> tuple[System, dict[str, list[float]]]:
    game = KINDS[name]()
    filled(game.generator)
    filled(game.discriminator)

    def made(z: Tensor) -> Tensor:
        if isinstance(game, ProGAN):
            return game.generator(z, level)
        return game.generator.synthesis(game.generator.spread(game.generator.mapping(z)), "constant", level)

    return game, figures(made, lambda x: game.discriminator(x, level), (game.generator, game.discriminator))


@pytest.mark.parametrize(("name", "level"), PUBLIC)
def test_the_networks_are_the_public_ones(name: str, level: float) -> None:
    found = ours(name, level)[1]
    for key, wanted in PUBLIC[name, level].items():
        assert found[key] == pytest.approx(wanted, rel=2e-4, abs=2e-5), key


# -- growth -----------------------------------------------------------------------------------------------


def test_levels_are_reached_in_equal_times_half_of_them_faded() -> None:
    growth = Growth.of(COLOUR, 4, 0.6)
    at = [growth.level(progress) for progress in (0.0, 0.09, 0.1, 0.15, 0.2, 0.35, 0.5999, 0.6, 1.0)]
    assert at == pytest.approx([0, 0, 0, 0.5, 1, 1.5, 3, 3, 3], abs=2e-3)
    assert Growth.of(COLOUR, 8, 0.0).level(0.0) == 3.0
    assert Growth.of(COLOUR, 32, 0.5).level(0.1) == 3.0
    assert Growth.of(COLOUR, 8, 0.5).level(0.0) == 1.0
    fine = Growth.of(Shape(3, 1024, 1024), 4, 0.8)
    assert [fine.rate(progress) for progress in (0.0, 0.47, 0.57, 0.67, 0.9)] == [1.0, 1.5, 2.0, 3.0, 3.0]


def test_a_larger_budget_does_not_make_it_small_again(tmp_path: Path) -> None:
    """Gone on with, a finished training is a part of the new budget only: rates go back to there, and levels do not."""

    def trainer(iterations: int) -> Trainer:
        made = ProGAN(Shape(3, 16, 16), nz=4, channel_base=64, channel_max=8, grow=0.5)
        plan, rates = Train(iterations=iterations, batch=4), {"generator": {"lr": 1e-3, "decay": "linear"}}
        return Trainer(made, Batches(toy_source(3, 16, 16), 4, 0), plan, tmp_path, players=rates)

    finished = trainer(4)
    for _ in range(4):
        finished.play()
    finished.save()
    longer = trainer(40)
    longer.resume()
    for _ in range(2):
        (turn,) = longer._draw()
        assert turn.progress == 1.0 and turn.spent == longer.round / 40
        longer.play()
        assert longer.system.get_buffer("level") == 2.0
        assert longer.steps.optimisers["generator"].param_groups[0]["lr"] == pytest.approx(1e-3 * (1 - turn.spent))
    longer.save()
    again = trainer(20)
    again.resume()
    assert again._draw()[0].progress == 1.0, "nor does it after a second change"


def test_real_pictures_are_as_fine_as_the_level() -> None:
    image = picture()
    coarse = seen_at(image, 1.0)
    assert coarse.shape == (4, 3, 8, 8)
    torch.testing.assert_close(coarse[0, 0, 0, 0], image[0, 0, :4, :4].mean())
    torch.testing.assert_close(seen_at(image, 1.0 + 1e-9), doubled(coarse))
    torch.testing.assert_close(seen_at(image, 1.25), doubled(coarse).lerp(seen_at(image, 2.0), 0.25))
    assert torch.equal(seen_at(image, 3.0), image)


@pytest.mark.parametrize("kind", KINDS)
def test_what_fades_in_begins_as_nothing(kind: str) -> None:
    """At the beginning of a fade a player's answer is that of the level below, of pictures twice as large."""
    game = KINDS[kind]()
    filled(game.generator)
    codes, z = Stream(1).normal(2, 8, 10), Stream(1).normal(2, 12)
    for level in (0.0, 1.0, 2.0):
        for part in (1e-7, 0.5):
            if isinstance(game, ProGAN):
                now, later = game.generator(z, level), game.generator(z, level + part)
            else:
                now, later = (game.generator.synthesis(codes, "constant", at) for at in (level, level + part))
            close = torch.allclose(doubled(now), later, rtol=1e-4, atol=1e-4)
            judged_now = game.discriminator(now, level)
            close &= torch.allclose(judged_now, game.discriminator(doubled(now), level + part), rtol=1e-4, atol=1e-4)
            assert close == (part < 0.5)


def losses(kind: str, level: float) -> list[float]:
    """Of all moves, at a level, with the same draws (where styles are mixed depends on how many layers there are)."""
    game = KINDS[kind](grow=1.0, **({"mixing": 0.0} if kind == "stylegan" else {}))
    filled(game.generator)
    filled(game.discriminator)
    steps = game.growth.top
    whole, part = divmod(level, 1.0)
    progress = (whole + (0.5 + part / 2 if part else 0.0)) / steps
    assert game.growth.level(progress) == pytest.approx(level, abs=1e-6)
    found = []
    turn = Turn(Batch(picture(8)), Stream(3), 0, progress)
    for move in game.moves():
        turn.rng = Still(4)
        loss = move.loss(turn)
        assert loss is not None
        found.append(float(loss.detach()))
    return found


class Still(Stream):
    """Its latents are the same at every level, and its noise is none, for that of other sizes is another."""

    def normal(self, *shape: int, device: object = "cpu") -> Tensor:
        return torch.zeros(shape) if len(shape) == 4 else super().normal(*shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.0, 1.0, 2.0])
def test_no_loss_jumps_where_a_level_begins_to_fade_in(kind: str, level: float) -> None:
    before, after, half = (losses(kind, level + part) for part in (0.0, 1e-6, 0.5))
    assert after == pytest.approx(before, rel=1e-3, abs=1e-4)
    assert half != pytest.approx(before, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_no_loss_jumps_where_a_level_is_whole(kind: str) -> None:
    before, whole = losses(kind, 2.0 - 1e-6), losses(kind, 2.0)
    assert before == pytest.approx(whole, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_is_as_fine_as_training_has_come(kind: str) -> None:
    """All layers are there from the beginning; which are used follows the last round, and is saved with the weights."""
    game = KINDS[kind](grow=1.0)
    layers = [name for name, _ in game.named_parameters()]
    sides = []
    for progress in (0.0, 0.4, 1.0):
        game.train()
        turns = [Turn(Batch(picture(4)), Stream(0), 0, progress)]
        play_round(game, game.players(), lambda turns=turns: turns, lambda player, loss, at: loss(at[0]) is not None)
        with torch.no_grad():
            image = game.eval().sample(Condition(), ImageRng.counting(0, 2))
        assert image.shape == (2, *COLOUR)
        sides.append(
            next(s for s in (4, 8, 16, 32) if torch.equal(brought_to(image[:, :, :: 32 // s, :: 32 // s], 32), image))
        )
    assert sides == [4, 8, 32]
    assert [name for name, _ in game.named_parameters()] == layers
    assert float(game.state_dict()["level"]) == 3.0


def test_a_slope_is_by_pictures_of_full_size() -> None:
    """The penalty's norm at 8 pixels is that of the critic as a function of pictures of 32."""
    game = KINDS["progan"](grow=1.0)
    small = seen_at(picture(), 1.0)
    at_hand = slopes(lambda x: game.discriminator(x, 1.0), small).norm(dim=1)
    full = slopes(lambda x: game.discriminator(seen_at(x, 1.0), 1.0), picture()).norm(dim=1)
    torch.testing.assert_close(at_hand / 4, full, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("blur", [False, True])
def test_penalties_are_differentiated_twice(blur: bool) -> None:
    """Against finite differences, in float64, along a direction of all parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = ProgressiveDiscriminator(Shape(1, 8, 8), channel_base=32, channel_max=4, blur=blur).double()
    image = Stream(1).normal(4, 1, 8, 8).double()
    params = list(net.parameters())
    way = [Stream(2, str(k)).normal(*p.shape).double() for k, p in enumerate(params)]

    def penalty(step: float) -> Tensor:
        moved = {name: p + step * w for (name, p), w in zip(net.named_parameters(), way, strict=True)}
        call = torch.func.functional_call
        return zero_centred(judged(lambda x: call(net, moved, (x, 0.6)), image)[1])

    found = torch.autograd.grad(penalty(0.0), params, materialize_grads=True)  # the last bias is not in a slope
    along = float(sum((g * w).sum() for g, w in zip(found, way, strict=True)))
    step = 1e-5
    assert along == pytest.approx(float((penalty(step) - penalty(-step)).detach()) / (2 * step), rel=1e-4)


def test_a_batch_in_parts_is_judged_like_one_that_is_whole() -> None:
    found = []
    for parts in (1, 2):
        game = KINDS["stylegan"]()
        turn = Turn(Batch(picture(8)), Stream(3), 0, 0.7)
        turn.linked = (turn, turn) if parts == 2 else ()
        found.append([float(game.generate(turn).detach()), float(game.discriminate(turn).detach())])
    assert found[0] == pytest.approx(found[1])


class Rows(Stream):
    """Some rows of the draws of a batch of eight."""

    def __init__(self, rows: slice) -> None:
        super().__init__(0)
        self.rows = rows

    def normal(self, *shape: int, device: object = "cpu") -> Tensor:
        return Stream(9).normal(8, *shape[1:])[self.rows]

    def uniform(self, *shape: int, device: object = "cpu") -> Tensor:
        return Stream(8).uniform(8, *shape[1:])[self.rows]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_add_up_over_the_parts_of_a_batch(kind: str) -> None:
    """Those of the penalties too, while a level fades in; the parts do not know of each other's variety (group 1)."""
    found = []
    for parts in ([slice(0, 8)], [slice(0, 4), slice(4, 8)]):
        game = KINDS[kind](group=1, grow=1.0, **({"mixing": 0.0} if kind == "stylegan" else {}))
        filled(game.generator)
        filled(game.discriminator)
        turns = [Turn(Batch(picture(8)[rows]), Rows(rows), 0, 0.6) for rows in parts]
        for turn in turns:
            turn.linked = turns if len(turns) > 1 else ()
        nets = {player.name: player.parameters() for player in game.players()}
        for move in game.moves():
            with only_moves(next(p for p in game.players() if p.name == move.player), game.players()):
                for turn in turns:
                    loss = move.loss(turn)
                    assert loss is not None
                    (loss / len(turns)).backward(inputs=nets[move.player])
        found.append({name: p.grad for name, p in game.named_parameters() if p.grad is not None})
    whole, cut = found
    assert whole.keys() == cut.keys() and len(whole) > 20
    for name, slope in whole.items():
        torch.testing.assert_close(cut[name], slope, rtol=1e-3, atol=1e-6 + 1e-4 * float(slope.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_in_half_precision_are_those_in_full(kind: str) -> None:
    """Of the penalties the second derivatives, too."""
    found = []
    for enabled in (False, True):
        game = KINDS[kind](grow=1.0)
        filled(game.generator)
        filled(game.discriminator)
        turn, values = Turn(Batch(picture(8)), Stream(3), 0, 0.6), []
        for move in game.moves():
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = move.loss(turn)
            assert loss is not None and loss.dtype == torch.float32
            net = game.discriminator if move.player == "discriminator" else game.generator
            values += [float(loss.detach()), float(slope_norm(loss, net))]
        found.append(values)
    assert found[1] == pytest.approx(found[0], rel=0.05, abs=0.02) and found[1] != found[0]


# -- styles -----------------------------------------------------------------------------------------------


def test_a_style_gives_every_map_its_mean_and_deviation() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = AdaptiveLayer(3, 4, 5, 8)
    code = Stream(1).normal(2, 5)
    y = layer(Stream(0).normal(2, 3, 8, 8), code, "none")
    scale, shift = layer.style(code).chunk(2, 1)
    torch.testing.assert_close(y.mean((2, 3)), shift, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y.std((2, 3), correction=0), (1 + scale).abs(), rtol=1e-4, atol=1e-5)


def test_styles_are_mixed_among_the_layers_in_use() -> None:
    game = KINDS["stylegan"](mixing=1.0)
    batch = Batch(picture(2))
    cuts = set()
    for k in range(30):
        codes = game._mixed(Turn(batch, Stream(k), 0, 0.0), batch, 1.0, 4)
        assert codes.shape == (2, 8, 10)
        cuts.add(next(i for i in range(8) if not torch.equal(codes[:, i], codes[:, 0])))
    assert cuts == {1, 2, 3}


def test_truncation_reaches_the_coarse_layers() -> None:
    game = KINDS["stylegan"](grow=0.0).eval()
    game.generator.mean.copy_(Stream(5).normal(10))
    codes = Stream(1).normal(3, 8, 10)
    near = game.generator.truncated(codes, 0.5, 2)
    torch.testing.assert_close(near[:, :2], (codes[:, :2] + game.generator.mean) / 2)
    assert torch.equal(near[:, 2:], codes[:, 2:])
    with torch.no_grad():
        one, other = (
            game.sample(Condition(), ImageRng.counting(0, 2), Sampling(truncation=0.0, truncated=k, noise="none"))
            for k in (8, 0)
        )
    torch.testing.assert_close(one[0], one[1])
    assert not torch.allclose(other[0], other[1])


def test_noise_is_given_as_asked_and_codes_are_decoded() -> None:
    game = KINDS["stylegan"](grow=0.0).eval()
    for layer in game.modules():
        if isinstance(layer, AdaptiveLayer):
            layer.strength.data.fill_(0.5)
    z = ImageRng.counting(0, 2).normal(2, 12)
    with torch.no_grad():
        draws = {
            noise: game.sample(Condition(), ImageRng.counting(0, 2), Sampling(noise=noise))
            for noise in ("random", "constant", "none")
        }
        assert torch.equal(game.decode(z), draws["constant"])
        torch.testing.assert_close(game.decode(game.styles(z)), game.decode(z))
    assert not torch.equal(draws["random"], draws["constant"]) and not torch.equal(draws["none"], draws["constant"])


def test_the_mapping_learns_a_hundredth_as_fast() -> None:
    layer = KINDS["stylegan"]().generator.mapping.layers[1]
    x = Stream(0).normal(1, 10)
    (slope,) = torch.autograd.grad(layer(x).sum(), layer.bias)
    assert all(value == pytest.approx(0.01) or value == pytest.approx(0.002) for value in slope.tolist())
    assert float(layer.weight.detach().std()) == pytest.approx(100, rel=0.3)


def test_what_cannot_be_built_is_refused() -> None:
    for kind in KINDS.values():
        with pytest.raises(UsageError, match="begin at one of 4, 8, 16, 32"):
            kind(start=6)
        with pytest.raises(UsageError, match="from 0 to 1"):
            kind(grow=1.5)
        with pytest.raises(UsageError, match="no channel is left at 32"):
            kind(channel_base=16)


@pytest.mark.parametrize(
    ("system", "settings", "says"),
    [
        ("stylegan2", {"channel_base": 16}, "no channel is left at 32 pixels; give 32 or more"),
        ("stylegan2", {"channel_max": 0}, "no channel is left"),
        ("progan", {"group": 0}, "group is 0"),
        ("stylegan3-t", {"judge_base": 16}, "no channel is left at 32 pixels.*judge_base"),
        ("stylegan3-t", {"channel_base": 8}, "no channel is left at a cutoff of .*: give channel_base of 32 or more"),
    ],
)
def test_a_level_without_channels_and_a_group_without_pictures_are_refused(
    system: str, settings: dict[str, int], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        build(system, DataSpec(Shape(3, 32, 32)), {"nz": 8} | settings)
