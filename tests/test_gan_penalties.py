"""Penalties on slopes under double backward: against finite differences, in mixed precision, in parts; and R3GAN."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import System, Turn, only_moves
from zeuxis.losses import penalty
from zeuxis.nn.lucic import LucicCritic
from zeuxis.nn.r3gan import FixUpBlock, R3Discriminator, R3Generator
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.adversarial.dragan import DRAGAN
from zeuxis.systems.adversarial.r3gan import R3GAN
from zeuxis.systems.adversarial.wgan_gp import WGANGP

GREY = Shape(1, 8, 8)
TINY = {"nz": 8, "widths": (8, 8), "blocks": 1, "group": 4}


def built(kind: Callable[..., System], **model) -> System:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(GREY, **model)


def r3gan(**model) -> R3GAN:
    return built(R3GAN, **{**TINY, **model})


def images(n: int = 8, seed: int = 0) -> Tensor:
    return Stream(seed, "images").uniform(n, *GREY) * 2 - 1


def turn(seed: int = 0, **model) -> Turn:
    return Turn(Batch(images(seed=seed), **model), Stream(seed), 0, 0.0)


# -- against finite differences ---------------------------------------------------------------------------


REAL, FAKE = (Stream(seed).normal(3, 1, 2, 2).double() for seed in (4, 5))
PENALTIES: dict[str, Callable[[penalty.Critic], Tensor]] = {
    "r1": lambda critic: penalty.r1(critic, REAL),
    "r2": lambda critic: penalty.zero_centred(penalty.slopes(critic, FAKE)),
    "dragan": lambda critic: penalty.dragan(critic, REAL, Stream(0)),
    "gradient penalty": lambda critic: penalty.gradient_penalty(critic, REAL, FAKE, Stream(0)),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_against_finite_differences_in_float64(name: str) -> None:
    def value(first: Tensor, second: Tensor) -> Tensor:
        return PENALTIES[name](lambda x: torch.tanh(x.flatten(1) @ first).mm(second).squeeze(1))

    first, second = Stream(1).normal(4, 3).double(), Stream(2).normal(3, 1).double()
    assert value(first, second).dtype == torch.float64
    assert torch.autograd.gradcheck(value, (first.requires_grad_(), second.requires_grad_()))


def test_logits_and_slopes_of_one_pass() -> None:
    passes = []

    def critic(x: Tensor) -> Tensor:
        passes.append(len(x))
        return x.square().sum((1, 2, 3))

    x = images()
    logits, slope = penalty.judged(critic, x)
    assert passes == [8]
    torch.testing.assert_close(logits, x.square().sum((1, 2, 3)))
    torch.testing.assert_close(slope, 2 * x.flatten(1))
    assert penalty.slopes(critic, x.bfloat16()).dtype == torch.float32


# -- in mixed precision, and in parts ---------------------------------------------------------------------


CRITICS: dict[str, Callable[[], System]] = {
    "r3gan": lambda: lively(),
    "dragan": lambda: built(DRAGAN, nz=8, width=4),
    "wgan-gp": lambda: built(WGANGP, network="lucic", nz=8, width=4),
}


def gradient(system: System, turns: list[Turn], precision: torch.dtype | None = None) -> Tensor:
    """Of the critic's mean loss over ``turns``, all numbers in a row."""
    players = system.players()
    critic = next(p for p in players if p.name != "generator")
    move = next(m for m in system.moves() if m.player == critic.name)
    with only_moves(critic, players):
        for part in turns:
            with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
                loss = move.loss(part)
            (loss / len(turns)).backward(inputs=critic.parameters())
    return torch.cat([p.grad.flatten() for p in critic.parameters()])


@pytest.mark.parametrize("name", CRITICS)
def test_double_backward_in_bfloat16_points_the_same_way(name: str) -> None:
    full, half = (gradient(CRITICS[name](), [turn()], precision) for precision in (None, torch.bfloat16))
    assert torch.isfinite(half).all()
    assert torch.nn.functional.cosine_similarity(full, half, dim=0) > 0.98


def test_parts_of_a_batch_give_the_gradient_of_the_whole() -> None:
    """R1 and R2 are means over pictures, so that accumulation changes nothing."""
    batch = images(8)
    whole = Turn(Batch(batch), Stream(0), 0, 0.0)
    stream = Stream(0)  # 8 latents are drawn as 4 and 4
    parts = [Turn(Batch(half), stream, 0, 0.0) for half in batch.split(4)]
    system = lively()
    one = gradient(system, [whole])
    system.zero_grad()
    torch.testing.assert_close(gradient(system, parts), one, rtol=1e-4, atol=1e-6)


def lively() -> R3GAN:
    """One whose residual blocks are not the identity any more."""
    system, draws = r3gan(gamma=1.0), Stream(9)
    with torch.no_grad():
        for p in system.parameters():
            p.add_(0.1 * draws.normal(*p.shape))
    return system


# -- r3gan ------------------------------------------------------------------------------------------------


def test_blocks_begin_as_the_identity() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block, wide = FixUpBlock(8, 4, 5), FixUpBlock(64, 4, 5)  # 8192 weights: a deviation is within 1 %
    x = Stream(0).normal(2, 8, 4, 4)
    assert torch.equal(block(x), x)
    inner = block.layers[:-1](x)
    fan = math.sqrt(2 / 1.04) * 5**-0.25
    assert wide.layers[0].weight.std().item() == pytest.approx(fan / math.sqrt(64), rel=0.04)
    assert block.layers[2].weight.shape == (16, 4, 3, 3) and inner.shape == (2, 16, 4, 4)
    with pytest.raises(UsageError, match="groups of 5"):
        FixUpBlock(8, 5, 1)


def test_the_paper_has_these_counts_at_256_pixels() -> None:
    widths = (768, 768, 768, 768, 384, 192, 96)
    with torch.device("meta"):
        made = R3Generator(Shape(3, 256, 256), nz=64, widths=widths, blocks=2, group=16)
        told = R3Discriminator(Shape(3, 256, 256), widths=widths, blocks=2, group=16)
    assert [sum(p.numel() for p in net.parameters()) for net in (made, told)] == [23_057_952, 23_009_568]


def test_losses_are_the_relativistic_pairing_and_both_penalties() -> None:
    system = lively()
    now = turn()
    loss = system.discriminate(now)
    with torch.no_grad():
        fake = system.fake(turn(), None)
        pairs = system.discriminator(images()) - system.discriminator(fake)
    r1 = penalty.r1(system.discriminator, images())
    r2 = penalty.r1(system.discriminator, fake)
    assert float(now.notes["r1"]) == pytest.approx(r1.item(), rel=1e-4)
    assert float(now.notes["r2"]) == pytest.approx(r2.item(), rel=1e-4)
    wanted = torch.log1p(torch.exp(-pairs)).mean() + 0.5 * (r1 + r2)  # gamma is 1
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert system.generate(turn()).item() == pytest.approx(torch.log1p(torch.exp(pairs)).mean().item(), rel=1e-4)


def test_gamma_falls_on_a_cosine() -> None:
    system = r3gan(gamma=2.0, gamma_end=0.2)
    assert [round(system._gamma(t), 6) for t in (0.0, 0.5, 1.0)] == [2.0, 1.1, 0.2]
    assert r3gan(gamma=2.0)._gamma(0.7) == 2.0


def test_r3gan_may_be_told_the_class() -> None:
    system = r3gan(condition="label", classes=3).eval()
    label = Condition(label=torch.tensor([0, 1, 2, 0]))
    assert system.conditions == {"label"} and system.told_in_latent == 3
    with torch.no_grad():
        for of in (
            lambda c: system.sample(c, ImageRng.counting(0, 4)),
            lambda c: system.discriminator(images(4), system.told(c)),
        ):
            assert not torch.allclose(of(label), of(Condition(label=(label.label + 1) % 3)))
    with pytest.raises(Unsupported, match="label"):
        system.sample(Condition(), ImageRng.counting(0, 1))


def test_r3gan_refuses_what_it_cannot_build() -> None:
    with pytest.raises(UsageError, match="16 pixels"):
        r3gan(widths=(8, 8, 8))
    with pytest.raises(UnknownName, match="label"):
        r3gan(condition="labels")
    with pytest.raises(Unsupported, match="classes"):
        r3gan(condition="label", classes=0)


def test_r3gan_pictures_are_clamped_but_not_what_is_trained() -> None:
    system = lively()
    with torch.no_grad():
        system.generator.layers[-1].weight.mul_(50)
        assert system.fake(turn(), None).abs().max() > 1
        assert system.sample(Condition(), ImageRng.counting(0, 4)).abs().max() <= 1


def test_a_critic_with_batch_norm_does_not_judge_alone() -> None:
    """Why the study's critic has none where a slope is penalised."""
    x = images(4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain, normed = (LucicCritic(GREY, width=4, batch_norm=norm).train() for norm in (False, True))
    with torch.no_grad():
        torch.testing.assert_close(plain(x)[:2], plain(x[:2]))
        assert not torch.allclose(normed(x)[:2], normed(x[:2]))
