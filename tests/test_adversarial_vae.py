"""VAE-GAN and IntroVAE: which loss reaches whom, and every loss against its formula."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoencoder.intro_vae import IntroVAE
from zeuxis.systems.autoencoder.vae_gan import VAEGAN

SHAPE = Shape(1, 16, 16)
SMALL = {"latent": 4, "widths": (8, 8), "hidden": 16}


def built(kind: type[System], **model) -> System:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(SHAPE, **SMALL, **model)


def vae_gan(**model) -> VAEGAN:
    return built(VAEGAN, ndf=8, **model)


def intro_vae(**model) -> IntroVAE:
    return built(IntroVAE, **model)


def turn(seed: int = 0) -> Turn:
    return Turn(Batch(Stream(seed, "image").uniform(6, *SHAPE) * 2 - 1), Stream(seed, "draws"), 0, 0.0)


def slopes(loss: Tensor, net: torch.nn.Module) -> list[Tensor]:
    """The gradient of ``loss`` in the parameters of ``net``, zeros where it does not depend on one."""
    found = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, net.parameters(), strict=True)]


def normal_rate(mean: Tensor, logvar: Tensor) -> Tensor:
    return torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(1)


@pytest.mark.parametrize("build", [vae_gan, intro_vae])
@torch.no_grad()
def test_pictures_come_from_the_prior_and_temperature_scales_it(build) -> None:
    system = build().eval()
    made = system.sample(Condition(), ImageRng.counting(3, 4), Sampling(temperature=0.5))
    latent = 0.5 * ImageRng.counting(3, 4).normal(4, 4)
    torch.testing.assert_close(made, system.decoder(latent).tanh())
    still = system.sample(Condition(), ImageRng.counting(0, 2), Sampling(temperature=0.0))
    assert torch.equal(still[0], still[1])
    image = turn().batch.image
    assert torch.equal(system.encode(image), system.posterior(image).mean)


# -- vae-gan ------------------------------------------------------------------------------------------


def test_the_encoder_lowers_rate_and_feature_loss() -> None:
    system, t = vae_gan(), turn()
    found = system.encoder_loss(t)
    x, posterior = t.batch.image, system.posterior(t.batch.image)
    mean, logvar = posterior.mean, posterior.logvar
    z = mean + (0.5 * logvar).exp() * Stream(0, "draws").normal(6, 4)
    features, target = system.critic.features(system.generate(z)), system.critic.features(x)
    log_likelihood = torch.distributions.Normal(features, 1.0).log_prob(target).flatten(1).sum(1)
    torch.testing.assert_close(found, (normal_rate(mean, logvar) - log_likelihood).mean())
    torch.testing.assert_close(t.memo["z"], z)


def test_the_adversarial_loss_does_not_reach_the_encoder() -> None:
    """L_GAN is no part of its loss: whatever the critic's head gives, loss and gradient stay bit for bit."""
    one_system, other = vae_gan(), vae_gan()
    with torch.no_grad():
        other.critic.head.weight.mul_(-7)
    losses = [system.encoder_loss(turn()) for system in (one_system, other)]
    assert torch.equal(*losses)
    for one, two in zip(slopes(losses[0], one_system.encoder), slopes(losses[1], other.encoder), strict=True):
        assert torch.equal(one, two)
    assert not any(g.any() for g in slopes(losses[0], one_system.critic.head))


def test_what_the_decoder_and_the_critic_move_by_does_not_reach_the_encoder() -> None:
    system, t = vae_gan(), turn()
    system.encoder_loss(t)
    for loss in (system.decoder_loss(t), system.criticise(t)):
        assert not any(g.any() for g in slopes(loss, system.encoder))
    assert not any(g.any() for g in slopes(system.criticise(t), system.decoder))


def test_gamma_weighs_feature_loss_against_adversarial_loss() -> None:
    """The decoder's gradient is that of the adversarial loss plus gamma times the feature loss's, nothing else."""
    found = {}
    for gamma in (0.0, 0.5, 2.0):
        system, t = vae_gan(gamma=gamma), turn()
        system.encoder_loss(t)
        found[gamma] = torch.cat([g.flatten() for g in slopes(system.decoder_loss(t), system.decoder)])
    system, t = vae_gan(), turn()
    system.encoder_loss(t)
    features = system.critic.features(system.generate(t.memo["z"]))
    feature_loss = 0.5 * (features - t.memo["target"]).square().flatten(1).sum(1).mean()
    pull = torch.cat([g.flatten() for g in slopes(feature_loss, system.decoder)])
    assert pull.abs().max() > 1e-3
    for gamma in (0.5, 2.0):
        torch.testing.assert_close(found[gamma] - found[0.0], gamma * pull, rtol=1e-3, atol=1e-5)


def test_the_critic_sees_real_rebuilt_and_drawn_pictures() -> None:
    system, t, seen = vae_gan(), turn(), list[torch.Tensor]()
    system.critic.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    system.encoder_loss(t)
    system.decoder_loss(t)
    z, made = t.memo["z"], seen[-1]
    torch.testing.assert_close(made[:6], system.generate(z).detach())
    assert made.shape == (12, *SHAPE) and not torch.equal(made[:6], made[6:])
    real, fake = system.critic(t.batch.image), system.critic(made)
    expected = softplus(-real).mean() + 0.5 * (softplus(fake[:6]).mean() + softplus(fake[6:]).mean())
    torch.testing.assert_close(system.criticise(t), expected)


@pytest.mark.parametrize(
    ("real", "made", "due"),
    [
        (0.68, 0.68, (True, True)),
        (0.2, 0.6, (True, False)),  # the critic is far ahead: it rests
        (0.6, 0.2, (True, False)),
        (1.2, 0.6, (False, True)),  # it is lost: the decoder rests
        (0.6, 1.2, (False, True)),
        (0.2, 1.2, (True, True)),  # neither may rest alone
    ],
)
def test_whoever_is_too_far_ahead_rests(real: float, made: float, due: tuple[bool, bool]) -> None:
    """``real`` and ``made`` are the critic's errors in nats, turned here into the logits that have them."""
    logits = -torch.full((5,), math.log(math.expm1(real))), torch.full((10,), math.log(math.expm1(made)))
    assert vae_gan(margin=0.35).due(*logits) == due
    assert vae_gan().due(*logits) == (True, True)
    assert vae_gan(margin=0.35, equilibrium=9.0).due(*logits) == (True, False)


@pytest.mark.parametrize(("equilibrium", "rests"), [(9.0, "criticise"), (-9.0, "make")])
def test_a_resting_player_passes(equilibrium: float, rests: str) -> None:
    system, t = vae_gan(margin=0.35, equilibrium=equilibrium), turn()
    system.encoder_loss(t)
    losses = {"make": system.decoder_loss(t), "criticise": system.criticise(t)}
    assert [name for name, loss in losses.items() if loss is None] == [rests]


# -- intro-vae ----------------------------------------------------------------------------------------


def by_hand(system: IntroVAE) -> dict[str, Tensor]:
    """The terms of one encoder's move from their definitions, with the same draws."""
    x, draws = turn().batch.image, Stream(0, "draws")
    posterior = system.posterior(x)
    mean, logvar = posterior.mean, posterior.logvar
    y = system.generate(mean + (0.5 * logvar).exp() * draws.normal(6, 4))
    made = torch.cat([y, system.generate(draws.normal(6, 4))]).detach()
    of_fake = system.posterior(made)
    fake_mean, fake_logvar = of_fake.mean, of_fake.logvar
    again = system.generate(fake_mean + (0.5 * fake_logvar).exp() * draws.normal(12, 4))
    return {
        "error": (y - x).square().flatten(1).sum(1),
        "rate": normal_rate(mean, logvar),
        "error_fake": (again - made).square().flatten(1).sum(1),
        "rate_fake": normal_rate(fake_mean, fake_logvar),
    }


def same(found: Tensor, expected: Tensor, system: IntroVAE) -> None:
    """Equal, and of equal slope: made pictures reach the encoder as data, so nothing flows through their making."""
    torch.testing.assert_close(found, expected)
    for one, other in zip(slopes(found, system.encoder), slopes(expected, system.encoder), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_the_soft_encoder_lowers_its_formula() -> None:
    """Soft-IntroVAE, Eq. 5: the bound of real pictures and half the exponential of twice the made ones'."""
    system = intro_vae(reconstruction=3.0, negative=5.0)
    found, has, scale = system.encoder_loss(turn()), by_hand(system), 1 / 256
    real = scale * (3 * has["error"] + has["rate"]).mean()
    repel = (-2 * scale * (3 * has["error_fake"] + 5 * has["rate_fake"])).exp()
    same(found, real + 0.25 * (repel[:6].mean() + repel[6:].mean()), system)


def test_the_hard_encoder_lowers_its_formula() -> None:
    """IntroVAE, Eq. 11, with a margin between the rates of the made pictures, so that some are let go."""
    rates = by_hand(intro_vae())["rate_fake"].detach()
    margin = float(rates.mean())
    system = intro_vae(reconstruction=3.0, margin=margin)
    found, has = system.encoder_loss(turn()), by_hand(system)
    rebuilt, drawn = (margin - has["rate_fake"]).clamp(min=0).split(6)  # of x_r and of x_p, which are added up
    repel = 0.25 * (rebuilt.mean() + drawn.mean())
    assert repel > 0
    same(found, (3 * has["error"].mean() + has["rate"].mean() + repel) / 256, system)


def test_beyond_the_margin_made_pictures_are_let_go() -> None:
    """Then the game is a plain VAE's: the encoder's gradient is that of the weighed bound alone."""
    system = intro_vae(reconstruction=8.0, margin=0.0)
    has = by_hand(system)
    plain = slopes((8 * has["error"] + has["rate"]).mean() / 256, system.encoder)
    for one, other in zip(slopes(system.encoder_loss(turn()), system.encoder), plain, strict=True):
        assert other.any()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("margin", [None, 50.0], ids=["soft", "hard"])
def test_the_two_players_pull_the_rate_of_made_pictures_apart(margin: float | None) -> None:
    """A step of the encoder down what repels it raises that rate; the decoder's loss has it with a plus."""
    system, t = intro_vae(reconstruction=8.0, margin=margin), turn()
    system.encoder_loss(t)
    made = torch.cat([system.generate(t.memo["z"]), system.generate(t.memo["drawn"])]).detach()
    rate = system.posterior(made).kl_standard().mean()
    repel = slopes(system.repel(made, turn(1)), system.encoder)
    along = sum((a * b).sum() for a, b in zip(repel, slopes(rate, system.encoder), strict=True))
    assert along < 0
    made = torch.cat([system.generate(t.memo["z"]), system.generate(t.memo["drawn"])])
    error = (made[:6] - t.batch.image).square().flatten(1).sum(1)
    rebuilt, drawn = system.posterior(made).kl_standard().split(6)
    weight = 0.5 if margin is None else 0.25  # soft: Eq. 6; hard: alpha of Eq. 12
    expected = (8 * error.mean() + weight * (rebuilt.mean() + drawn.mean())) / 256
    torch.testing.assert_close(system.decoder_loss(t), expected)
