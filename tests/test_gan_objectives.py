"""The objectives of the comparative study: the same networks, each loss against its formula, and its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from conftest import toy_source
from torch import Tensor, nn
from torch.nn.functional import softplus

from zeuxis.batch import Batch, Shape
from zeuxis.catalog.build import build
from zeuxis.catalog.listing import system_class
from zeuxis.data.batches import Batches
from zeuxis.errors import UsageError
from zeuxis.game import Player, System, Turn, play_round
from zeuxis.losses.adversarial import EnergyMargin, pull_away
from zeuxis.losses.penalty import dragan
from zeuxis.nn.lucic import LucicAutoencoder, LucicCritic, LucicGenerator
from zeuxis.recipe import Train, load_recipe
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.adversarial.began import BEGAN
from zeuxis.systems.adversarial.dragan import DRAGAN
from zeuxis.systems.adversarial.ebgan import EBGAN
from zeuxis.systems.adversarial.lsgan import LSGAN
from zeuxis.systems.adversarial.mm_gan import MinimaxGAN
from zeuxis.systems.adversarial.ns_gan import NonSaturatingGAN
from zeuxis.systems.adversarial.wgan import WGAN
from zeuxis.systems.adversarial.wgan_gp import WGANGP
from zeuxis.training.optimiser import optimiser_of
from zeuxis.training.trainer import Trainer

GREY = Shape(1, 8, 8)
TINY = {"nz": 4, "width": 2}
STUDY = ("mm-gan", "ns-gan", "wgan", "wgan-gp-lucic", "lsgan", "dragan", "began", "ebgan")


def built(kind: Callable[..., System], **model) -> System:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(GREY, **{**TINY, **model})


def images(n: int = 6, seed: int = 0) -> Tensor:
    return Stream(seed, "images").uniform(n, *GREY) * 2 - 1


def turn(seed: int = 0, n: int = 6) -> Turn:
    return Turn(Batch(images(n, seed)), Stream(seed), 0, 0.0)


def logits_of(system: System, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The critic's logits of the pictures of ``turn(seed)``, and of those that a move of it makes first."""
    with torch.no_grad():
        real = system.critic(images(seed=seed))
        return real, system.critic(system.fake(turn(seed)))


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("system", "option", "value", "mend"),
    [
        ("began", "gamma", 1.5, "from 0 to 1"),
        ("began", "rate", -1e-3, "0 or more"),
        ("ebgan", "margin", -1.0, "0 or more"),
        ("ebgan", "repel", math.nan, "0 or more"),
        ("gan", "keep_input", 0.0, "above 0"),
        ("gan", "keep_hidden", 1.5, "1 for always"),
        ("wgan-gp", "penalty", math.inf, "0 or more"),
        ("r3gan", "blocks", 0, "1 or more"),
        ("stylegan2", "clamp", 0.0, "such as 256"),
        ("stylegan3-t", "blur", math.inf, "from 0 to"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name(system: str, option: str, value: float, mend: str) -> None:
    with pytest.raises(UsageError, match=f"{option} is {value:g}: .*{mend}"):
        build(system, DataSpec(Shape(1, 32, 32)), {option: value})


# -- the networks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "generator", "critic"),
    [
        (Shape(1, 28, 28), 6_642_241, 6_559_169),
        (Shape(3, 32, 32), 8_616_131, 8_527_297),
        (Shape(3, 64, 64), 33_855_683, 33_693_121),
    ],
)
def test_networks_have_the_published_counts(shape: Shape, generator: int, critic: int) -> None:
    with torch.device("meta"):
        assert count(LucicGenerator(shape)) == generator
        assert count(LucicCritic(shape, batch_norm=True)) == critic


def test_networks_without_norm_have_the_published_counts() -> None:
    with torch.device("meta"):
        assert count(LucicCritic(Shape(1, 28, 28))) == 6_556_865
        assert count(LucicAutoencoder(Shape(3, 32, 32))) == 1_325_379  # "1.3M", says the study's program


def test_networks_take_sides_that_4_divides() -> None:
    shape = Shape(3, 12, 20)
    made = LucicGenerator(shape, nz=4, width=2)(Stream(0).normal(5, 4))
    assert made.shape == (5, *shape) and made.abs().max() <= 1
    assert LucicCritic(shape, width=2)(made).shape == (5,)
    rebuilt, code = LucicAutoencoder(shape, width=2)(made)
    assert rebuilt.shape == made.shape and code.shape == (5, 2)
    with pytest.raises(UsageError, match="30"):
        LucicGenerator(Shape(1, 30, 28))


def test_the_study_is_fair() -> None:
    """One generator, one critic or autoencoder, the same data, batch, average and latents for every objective.

    Whether the critic is normalised is each objective's own, and the rate of those whose critic rebuilds pictures
    another: the study searched both.
    """
    plans = [load_recipe(name) for name in STUDY]
    assert len({(p.data, p.size, p.train.batch, p.train.ema, p.train.channels_last) for p in plans}) == 1
    counts: dict[str, set[int]] = {"generator": set(), "critic": set(), "autoencoder": set()}
    for plan in plans:
        with torch.device("meta"):
            system = system_class(plan.system)(Shape(1, 32, 32), **plan.model)
        counts["generator"].add(count(system.generator))
        kind = "autoencoder" if isinstance(system.critic, LucicAutoencoder) else "critic"
        normed = sum(
            count(layer) for layer in system.critic.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        )
        logit = system.critic.layers[-1].bias if kind == "critic" else None
        counts[kind].add(count(system.critic) - normed - (0 if logit is None else logit.numel()))
        rates = {p.lr for p in system.players() if p.optimiser == "adam"}
        assert rates <= {2e-4 if kind == "critic" else 1e-3}
    assert {len(found) for found in counts.values()} == {1}, counts


# -- the losses -------------------------------------------------------------------------------------------


def test_minimax_and_non_saturating_games_share_the_critics_loss() -> None:
    mm, ns = built(MinimaxGAN), built(NonSaturatingGAN)
    real, fake = logits_of(mm)
    wanted = (softplus(-real) + softplus(fake)).mean()
    assert mm.criticise(turn()).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert ns.criticise(turn()).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert mm.generate(turn()).item() == pytest.approx((1 - fake.sigmoid()).log().mean().item(), rel=1e-4)
    assert ns.generate(turn()).item() == pytest.approx(-fake.sigmoid().log().mean().item(), rel=1e-4)


@pytest.mark.parametrize(("kind", "slope"), [(MinimaxGAN, 4.5e-5), (NonSaturatingGAN, 1.0)])
def test_a_critic_that_is_too_good_starves_the_minimax_generator_alone(kind: type[System], slope: float) -> None:
    """Where D(G(z)) = sigmoid(-10), the loss falls by sigmoid(-10) with the logit, or by 1."""
    system = built(kind)
    fake = system.fake(turn()).detach().requires_grad_()
    with torch.no_grad():
        system.critic.layers[-1].bias.add_(-10 - system.critic(fake).mean())
    loss = system.loss.generator(system.critic(fake))
    (of_loss,) = torch.autograd.grad(loss, fake)
    (of_logit,) = torch.autograd.grad(system.critic(fake).mean(), fake)
    assert float(of_loss.norm() / of_logit.norm()) == pytest.approx(slope, rel=0.05)


def test_least_squares() -> None:
    system = built(LSGAN)
    real, fake = logits_of(system)
    wanted = 0.5 * ((real - 1).square().mean() + fake.square().mean())
    assert system.criticise(turn()).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert system.generate(turn()).item() == pytest.approx(0.5 * (fake - 1).square().mean().item(), rel=1e-5)


def test_dragan_adds_its_penalty_to_the_non_saturating_game() -> None:
    system, plain = built(DRAGAN, penalty=3.0), built(NonSaturatingGAN)
    rng = Stream(0)
    rng.normal(6, 4)  # the latents are drawn before the neighbours of the data
    penalty = dragan(system.critic, images(), rng)
    wanted = plain.criticise(turn()) + 3 * penalty
    assert system.criticise(turn()).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert penalty.item() > 0.1


# -- wgan -------------------------------------------------------------------------------------------------


def test_wgan_stays_in_bounds_after_every_step_of_the_critic() -> None:
    system = built(WGAN, clip=0.01, critic_steps=3, lr=1e-2)  # a step that leaves the bounds at once
    players = system.players()
    optimisers = {p.name: optimiser_of(p) for p in players}
    assert isinstance(optimisers["critic"], torch.optim.RMSprop)
    sizes: list[float] = []

    def step(player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> None:
        optimisers[player.name].zero_grad()
        loss(turns[0]).backward()
        optimisers[player.name].step()
        if player.name == "critic":
            sizes.append(max(float(p.detach().abs().max()) for p in player.parameters()))

    largest = max(float(p.detach().abs().max()) for p in system.critic.parameters())
    play_round(system, players, lambda: [turn(len(sizes))], step)
    assert largest > 0.02 and len(sizes) == 3
    assert all(size == pytest.approx(0.01) for size in sizes)
    assert max(float(p.detach().abs().max()) for p in system.generator.parameters()) > 0.02


def test_bounds_are_kept_by_the_trainer_and_may_be_replaced(tmp_path: Path) -> None:
    system = built(WGAN, critic_steps=2)
    plan = Train(iterations=2, batch=6)
    trainer = Trainer(system, Batches(toy_source(1, 8, 24), 6, 0), plan, tmp_path, players={"critic": {"bound": 0.005}})
    trainer.play()
    assert max(float(p.detach().abs().max()) for p in system.critic.parameters()) == pytest.approx(0.005)


def test_wgan_distance_is_what_the_critic_tells_apart() -> None:
    system = built(WGAN)
    real, fake = logits_of(system)
    now = turn()
    assert system.criticise(now).item() == pytest.approx(float(fake.mean() - real.mean()), abs=1e-7)
    assert float(now.notes["distance"]) == pytest.approx(float(real.mean() - fake.mean()), abs=1e-7)
    assert system.generate(turn()).item() == pytest.approx(-float(fake.mean()), abs=1e-7)


def test_wgan_gp_plays_on_the_networks_of_the_study() -> None:
    system = built(WGANGP, network="lucic", critic_steps=1)
    assert isinstance(system.generator, LucicGenerator) and isinstance(system.critic, LucicCritic)
    system.criticise(turn()).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in system.critic.parameters())


# -- began ------------------------------------------------------------------------------------------------


def test_began_losses_are_errors_of_rebuilding() -> None:
    system = built(BEGAN)
    system.k.fill_(0.25)
    with torch.no_grad():
        real = (images() - system.critic(images())[0]).abs().mean()
        made = system.fake(turn())
        fake = (made - system.critic(made)[0]).abs().mean()
    assert system.criticise(turn()).item() == pytest.approx(float(real - 0.25 * fake), rel=1e-5)
    assert system.generate(turn()).item() == pytest.approx(float(fake), rel=1e-5)


@pytest.mark.parametrize(
    ("k", "real", "fake", "then"),
    [
        (0.3, 0.8, 0.1, 0.3 + 0.1 * (0.5 * 0.8 - 0.1)),  # k + lambda (gamma L(x) - L(G(z)))
        (0.3, 0.2, 0.6, 0.3 + 0.1 * (0.5 * 0.2 - 0.6)),
        (0.99, 0.8, 0.1, 1.0),
        (0.01, 0.2, 0.6, 0.0),
    ],
)
def test_began_control_follows_its_equation_within_0_and_1(k: float, real: float, fake: float, then: float) -> None:
    system = built(BEGAN, rate=0.1, gamma=0.5)
    system.k.fill_(k)
    parts = [turn(), turn()]  # of one batch: the mean is over both
    for part, shift in zip(parts, (-0.05, 0.05), strict=True):
        part.memo |= {"real error": torch.full((6,), real + shift), "fake error": torch.full((6,), fake - shift)}
        part.linked = parts
    system.after_round(parts[-1])
    assert system.k.item() == pytest.approx(then, abs=1e-6)
    assert float(parts[-1].notes["convergence"]) == pytest.approx(real + abs(0.5 * real - fake), rel=1e-5)


def test_began_control_is_moved_by_a_round(tmp_path: Path) -> None:
    found = []
    for accumulate in (1, 2):
        system = built(BEGAN, rate=0.5, critic_steps=2)
        plan = Train(iterations=4, batch=16, accumulate=accumulate)
        trainer = Trainer(system, Batches(toy_source(1, 8, 32), 16, 0), plan, tmp_path / str(accumulate))
        trainer.play()
        k = float(system.k)
        assert 0 <= k <= 1 and math.isfinite(float(trainer.notes["convergence"]))
        found.append(k)
    assert found[0] > 0 and found[0] == pytest.approx(found[1], abs=0.02)


# -- ebgan ------------------------------------------------------------------------------------------------


def test_pull_away_of_three_codes() -> None:
    """Cosines 0, 1/sqrt 2 and 1/sqrt 2, whatever the lengths: the mean of their squares is 1/3."""
    code = torch.tensor([[2.0, 0.0], [0.0, 0.5], [3.0, 3.0]])
    assert pull_away(code).item() == pytest.approx(1 / 3)
    assert pull_away(code.bfloat16()).dtype == torch.float32
    assert pull_away(torch.eye(4)).item() == 0
    assert pull_away(torch.ones(4, 3)).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="1 code"):
        pull_away(torch.ones(1, 3))


def test_energies_beyond_the_margin_are_not_pushed() -> None:
    loss = EnergyMargin(1.0)
    real, fake = torch.tensor([0.25, 0.75]), torch.tensor([0.4, 3.0], requires_grad=True)
    value = loss.critic(real, fake)
    assert value.item() == pytest.approx(0.5 + (0.6 + 0) / 2)
    assert torch.autograd.grad(value, fake)[0].tolist() == [-0.5, 0]
    assert loss.generator(fake).item() == pytest.approx(1.7)


def test_ebgan_is_energies_margin_and_pull_away() -> None:
    system = built(EBGAN, margin=0.9, repel=0.5)
    with torch.no_grad():
        made = system.fake(turn())
        (real, _), (fake, code) = system.energy(images()), system.energy(made)
        assert fake[0].item() == pytest.approx((made[0] - system.critic(made[:1])[0]).square().mean().item(), rel=1e-5)
    wanted = real.mean() + (0.9 - fake).clamp(min=0).mean()
    assert system.criticise(turn()).item() == pytest.approx(wanted.item(), rel=1e-5)
    wanted = fake.mean() + 0.5 * pull_away(code)
    assert system.generate(turn()).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert built(EBGAN, repel=0.0).generate(turn()).item() == pytest.approx(fake.mean().item(), rel=1e-5)
