"""The autoencoders: their bounds against exact likelihoods, their codes, and the rules of the game."""

import math

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import Player, System, Turn, play_round
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.autoencoder.kl_autoencoder import KLAutoencoder
from zeuxis.systems.autoencoder.vae import VAE
from zeuxis.systems.autoencoder.vqgan import VQGAN
from zeuxis.systems.density.pca import PCA

SHAPE = Shape(1, 16, 16)


def blobs(n: int, seed: int = 0, shape: Shape = SHAPE) -> Tensor:
    """Round spots of random place, size and colour on black: ``(n, C, H, W)`` in [-1, 1]."""
    rng = Stream(seed)
    rows = torch.arange(shape.height).view(1, 1, -1, 1) / shape.height
    columns = torch.arange(shape.width).view(1, 1, 1, -1) / shape.width
    y, x, size, level = (
        rng.uniform(n, 1, 1, 1) * span + low for span, low in ((0.5, 0.25), (0.5, 0.25), (0.15, 0.1), (1, 1))
    )
    spot = torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * size**2))
    return (level * spot - 1).expand(n, *shape).contiguous()


def play(system: System, images: Tensor, rounds: int, *, seed: int = 0, lr: float | None = None) -> list[Turn]:
    """Play ``rounds`` on one batch with Adam; returns the last turn of each round."""
    players, rng = system.players(), Stream(seed)
    optimisers = {p.name: torch.optim.Adam(p.parameters(), lr or p.lr, p.betas) for p in players}

    def step(player: Player, loss, turns: list[Turn]) -> None:
        value = loss(turns[0])
        if value is not None:
            optimisers[player.name].zero_grad()
            value.backward()
            optimisers[player.name].step()

    last = []
    for n in range(rounds):
        turn = Turn(Batch(images), rng, n, n / rounds)
        last += play_round(system, players, lambda turn=turn: [turn], step)
    system.eval()
    return last


def tiny_vae(**model) -> VAE:
    torch.manual_seed(0)
    return VAE(SHAPE, **{"latent": 4, "widths": (8, 8), "hidden": 32, **model})


def tiny_vqgan(**model) -> VQGAN:
    torch.manual_seed(0)
    small = {
        "codes": 16,
        "code_width": 8,
        "latent": 8,
        "width": 8,
        "multiples": (1, 2),
        "blocks": 1,
        "attention": (),
    }
    return VQGAN(SHAPE, **{**small, "ndf": 8, "layers": 1, "critic_start": 0.0, **model})


def tiny_kl(**model) -> KLAutoencoder:
    torch.manual_seed(0)
    small = {"latent": 4, "width": 8, "multiples": (1, 2), "blocks": 1, "ndf": 8, "layers": 1}
    return KLAutoencoder(SHAPE, **{**small, "critic_start": 0.0, **model})


SYSTEMS = {
    "vae": tiny_vae,
    "vae-bernoulli": lambda: tiny_vae(likelihood="bernoulli"),
    "vae-perceptron": lambda: tiny_vae(widths=()),
    "vqgan": tiny_vqgan,
    "vqgan-moving": lambda: tiny_vqgan(ema=True),
    "kl-autoencoder": tiny_kl,
}
EACH = pytest.mark.parametrize("build", SYSTEMS.values(), ids=SYSTEMS.keys())


# -- the contract -------------------------------------------------------------------------------------


@EACH
def test_rounds_are_finite_and_each_move_changes_only_its_player(build):
    system = build()
    players, images = system.players(), blobs(4)
    optimisers = {p.name: torch.optim.Adam(p.parameters(), p.lr) for p in players}
    moved, touched = set(), set()

    def step(player: Player, loss, turns: list[Turn]) -> None:
        before = {k: v.clone() for k, v in system.named_parameters()}
        value = loss(turns[0])
        if value is None:
            return
        assert value.ndim == 0 and value.isfinite()
        optimisers[player.name].zero_grad()
        value.backward()
        optimisers[player.name].step()
        own = {id(p) for p in player.parameters()}
        for name, p in system.named_parameters():
            if id(p) in own:
                touched.update({name} if p.grad is not None and p.grad.abs().sum() > 0 else ())
            else:
                assert torch.equal(p, before[name]), f"{player.name} moved {name}"
        moved.add(player.name)

    for n in range(3):
        play_round(system, players, lambda n=n: [Turn(Batch(images), Stream(0), n, 0.9)], step)
    assert moved == {p.name for p in players}
    # Inside the hinge's margin the pulls of real and fake on the critic's last bias cancel exactly.
    still = {name for name, p in system.named_parameters() if p.requires_grad} - touched
    assert still <= {"critic.layers.5.bias"}


@EACH
def test_state_dict_round_trip_is_bit_equal(build):
    system = build()
    play(system, blobs(4), 2)
    again = type(system)(**system.config)
    again.load_state_dict(system.state_dict())
    again.eval()
    images = blobs(3, seed=1)
    with torch.no_grad():
        assert torch.equal(again.encode(images), system.encode(images))
        assert torch.equal(again.decode(again.encode(images)), system.decode(system.encode(images)))


@EACH
def test_decoded_pictures_have_shape_and_range_and_no_company(build):
    system = build().eval()
    images = blobs(5)
    with torch.no_grad():
        latent = system.encode(images)
        pictures = system.decode(latent)
        alone = system.decode(system.encode(images[2:3]))
    assert pictures.shape == (5, *SHAPE) and pictures.dtype == torch.float32 and pictures.abs().max() <= 1
    torch.testing.assert_close(alone, pictures[2:3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [tiny_vae, lambda: tiny_vqgan(critic_start=1.0)], ids=["vae", "vqgan"])
def test_eight_images_can_be_overfitted(build):
    system, images = build(), blobs(8)
    with torch.no_grad():
        before = (system.decode(system.encode(images)) - images).square().mean().item()
    play(system, images, 100, lr=1e-2)
    with torch.no_grad():
        after = (system.decode(system.encode(images)) - images).square().mean().item()
    assert after < 0.12 * before
    assert after < 0.6 * (images - images.mean(0)).square().mean().item()  # the mean picture would not do


# -- vae ----------------------------------------------------------------------------------------------


def test_vae_samples_follow_their_seeds():
    system = tiny_vae().eval()
    with torch.no_grad():
        many = system.sample(Condition(), ImageRng.counting(3, 5))
        one = system.sample(Condition(), ImageRng([6]))
    assert many.shape == (5, *SHAPE) and many.abs().max() <= 1
    torch.testing.assert_close(one, many[3:4], rtol=0, atol=1e-5)
    assert not torch.equal(many[0], many[1])


def test_vae_bound_tightens_with_samples_and_agrees_with_the_loss():
    """One sample estimates the ELBO that training raises; more samples raise the bound (Burda et al., theorem 1)."""
    images = blobs(64)
    system = tiny_vae(importance=1)
    notes = play(system, images, 60, lr=3e-3)[-1].notes
    assert notes["elbo"] == pytest.approx(float(-notes["distortion"] - notes["rate"]), rel=1e-5)
    with torch.no_grad():
        elbos = torch.stack([-system.bound(Turn(Batch(images), Stream(s), 0, 0.0)) for s in range(40)])
        ones = torch.stack([system.log_prob(images, Stream(s)).mean() for s in range(40)])
        system.importance = 64
        many = torch.stack([system.log_prob(images, Stream(s)).mean() for s in range(5)])
    error = math.sqrt((elbos.var() + ones.var()) / 40)
    assert abs(elbos.mean() - ones.mean()) < 4 * error + 1e-3
    assert many.mean() > ones.mean() + 0.01


def test_vae_bound_approaches_the_exact_likelihood_of_a_decoder_that_ignores_its_latent():
    """Then p(x|z) = p(x): with q at the prior the bound must equal a Gaussian log-density to rounding."""
    system = tiny_vae(importance=3)
    with torch.no_grad():
        for layer in (system.encoder.layers[-1], system.decoder.layers[0]):  # q = N(0, 1); z is multiplied by 0
            layer.weight.zero_()
            layer.bias.zero_()
        system.likelihood.log_sigma.fill_(-0.7)
        images = blobs(4)
        mean = system.decoder(torch.zeros(1, 4))
        exact = torch.distributions.Normal(mean, math.exp(-0.7)).log_prob(images).flatten(1).sum(1)
        torch.testing.assert_close(system.log_prob(images, Stream(0)), exact, rtol=1e-5, atol=1e-3)


def test_the_best_shared_sigma_is_the_reconstruction_error():
    """Rybkin et al. 2020, Eq. 9: at the optimum sigma is the root mean square error."""
    system, images = tiny_vae(), blobs(16)
    likelihood, output = system.likelihood, blobs(16, seed=1)
    optimiser = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        likelihood.nll(output, images).mean().backward()
        optimiser.step()
    error = (output - images).square().mean().sqrt().item()
    assert likelihood.log_sigma.exp().item() == pytest.approx(error, rel=1e-3)


def test_vae_explains_misuse():
    with pytest.raises(UnknownName, match="did you mean gaussian"):
        VAE(SHAPE, likelihood="gausian")
    with pytest.raises(Unsupported, match="cannot be halved 3 times"):
        VAE(Shape(1, 28, 28))


def test_vae_as_published_has_the_pinned_size():
    system = VAE(Shape(1, 28, 28), latent=20, widths=(), hidden=500, likelihood="bernoulli")
    assert sum(p.numel() for p in system.parameters()) == 815_824


# -- vqgan --------------------------------------------------------------------------------------------


def turn(images: Tensor, progress: float = 0.0, n: int = 0) -> Turn:
    return Turn(Batch(images), Stream(0), n, progress)


def test_vqgan_codes_are_a_small_map_of_integers():
    system, images = tiny_vqgan().eval(), blobs(3)
    with torch.no_grad():
        codes = system.encode(images)
        assert codes.shape == (3, 8, 8) and codes.dtype == torch.int64
        assert codes.min() >= 0 and codes.max() < 16
        nearest = torch.cdist(
            system.into_codes(system.encoder(images)).movedim(1, -1).reshape(-1, 8), system.quantiser.codebook
        ).argmin(1)
    assert torch.equal(codes.flatten(), nearest)


def test_the_critic_comes_late():
    system, images = tiny_vqgan(critic_start=0.5), blobs(4)
    early, late = turn(images, 0.49), turn(images, 0.5)
    assert system.reconstruct(early).isfinite() and system.criticise(early) is None
    assert "adaptive_weight" not in early.notes
    assert system.reconstruct(late).isfinite() and system.criticise(late).isfinite()
    assert "adaptive_weight" in late.notes


def test_the_balance_makes_both_losses_pull_equally_hard():
    """Eq. 7: at the last layer the adversarial gradient gets the norm of the other, times the weight."""
    system, images = tiny_vqgan(adversarial=0.8), blobs(4)
    y = system.decoder(system.from_codes(system.quantiser(system.into_codes(system.encoder(images))).vectors))
    reconstruction_loss, generator_loss = (y - images).abs().mean(), -3 * system.critic(y).mean()
    adaptive_weight = system.adaptive_weight(reconstruction_loss, generator_loss)
    assert not adaptive_weight.requires_grad
    last = system.decoder.out.weight
    pull = torch.autograd.grad(reconstruction_loss, last, retain_graph=True)[0].norm()
    push = torch.autograd.grad(adaptive_weight * generator_loss, last, retain_graph=True)[0].norm()
    assert push.item() == pytest.approx(0.8 * pull.item(), rel=0.02)


def test_the_critic_reaches_the_autoencoder_but_is_not_moved_by_it():
    system, images = tiny_vqgan(), blobs(4)
    system.critic.requires_grad_(False)
    without, with_critic = [], []
    for progress, out in ((-1.0, without), (0.5, with_critic)):
        system.zero_grad()
        system.reconstruct(turn(images, progress)).backward()
        out += [p.grad.clone() for p in system.encoder.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(without, with_critic, strict=True))
    assert all(p.grad is None for p in system.critic.parameters())


def test_an_ema_codebook_starts_at_kmeans_and_restarts_dead_codes():
    system, images = tiny_vqgan(ema=True), blobs(16)
    first = turn(images, n=0)
    system.reconstruct(first)
    system.after_round(first)
    with torch.no_grad():
        assert len(system.encode(images).unique()) == 16  # k-means: every code stands for some vector
        system.quantiser.codebook[:4] = 100.0  # nobody's nearest
        system.quantiser.uses[:4] = 0.0
    second = turn(images, n=1)
    system.reconstruct(second)
    system.after_round(second)
    assert second.notes["restarted"] == 4
    assert system.quantiser.codebook.abs().max() < 50


def test_the_perceptual_loss_takes_any_system_that_encodes():
    """With PCA for features the distance is that of the codes; the features stay frozen, shared and unmoved."""
    features = PCA(SHAPE, components=4)
    features.fit([Batch(blobs(64))])
    system, images = tiny_vqgan(features=features, perceptual=2.0), blobs(4)
    y = blobs(4, seed=9)
    expected = 2 * (features.encode(y) - features.encode(images)).square().mean()
    torch.testing.assert_close(system.perceptual_distance(y, images), expected)
    assert system.frozen == (features,)
    assert tiny_vqgan().perceptual_distance(y, images).item() == 0


def test_vqgan_refuses_sides_that_its_factor_does_not_divide():
    with pytest.raises(Unsupported, match="factor of 16"):
        VQGAN(Shape(3, 40, 40))


@pytest.mark.parametrize("kind", [VQGAN, KLAutoencoder])
def test_a_critic_that_could_not_enter_is_told_of_before_the_first_round(kind: type[System]):
    small = {"width": 32, "multiples": (1, 1), "blocks": 1, "ndf": 4}
    with pytest.raises(
        UsageError, match="3 strided layers has no logit of pictures of 24x16 pixels: set layers to 1 or 2"
    ):
        kind(Shape(1, 16, 24), layers=3, critic_start=0.5, **small).players()
    kind(Shape(1, 16, 24), layers=3, critic_start=1.0, **small).players()  # it never enters
    room = kind(Shape(1, 16, 24), layers=2, **small)
    assert room.critic(torch.zeros(2, 1, 16, 24)).shape == (2, 1, 2, 4)
    with pytest.raises(UsageError, match=r"critic_start is 50001: give a share of the budget.* not a number of steps"):
        kind(Shape(1, 16, 24), layers=2, critic_start=50_001, **small).players()


@pytest.mark.parametrize(
    ("system", "option", "value"),
    [
        ("vae", "importance", 0),
        ("intro-vae", "margin", -1.0),
        ("intro-vae", "alpha", -0.5),
        ("vae-gan", "gamma", math.nan),
        ("vq-vae", "halvings", 0),
        ("vq-vae", "beta", -0.25),
        ("vq-vae-2", "blocks", -1),
        ("vqgan", "adversarial", -0.8),
        ("vqgan", "blocks", 0),
        ("kl-autoencoder", "kl", math.inf),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name(system: str, option: str, value: float):
    with pytest.raises(UsageError, match=f"{option} is {value:g}: give [01] or more"):
        build(system, DataSpec(SHAPE), {option: value})


@pytest.mark.parametrize(("codes", "total"), [(1024, 72_141_699), (16384, 76_073_859)])
def test_vqgan_as_published_has_the_pinned_size(codes, total):
    with torch.device("meta"):
        system = VQGAN(Shape(3, 256, 256), codes=codes)
    autoencoder, critic = system.players()
    assert sum(p.numel() for p in autoencoder.parameters()) == total
    assert sum(p.numel() for p in critic.parameters()) == 2_765_633


# -- kl-autoencoder -----------------------------------------------------------------------------------


def test_the_kl_autoencoder_lowers_sums_over_a_picture():
    """|x - y| over every pixel, the features' distance as often, and ``kl`` times the nats of q(z|x)."""
    features = PCA(SHAPE, components=4)
    features.fit([Batch(blobs(64))])
    system, images = tiny_kl(kl=0.3, perceptual=2.0, features=features, critic_start=1.0), blobs(4)
    with torch.no_grad():
        loss = system.reconstruct(turn(images))
        mean, logvar = system.into_moments(system.encoder(images)).chunk(2, dim=1)
        y = system.decoder(system.from_latent(mean + (logvar / 2).exp() * Stream(0).normal(*mean.shape)))
        pixels = (y - images).abs().sum() / 4
        apart = 16 * 16 * 2.0 * (features.encode(y) - features.encode(images)).square().mean()
        normal = torch.distributions.Normal(0.0, 1.0)
        nats = torch.distributions.kl_divergence(torch.distributions.Normal(mean, (logvar / 2).exp()), normal).sum() / 4
    torch.testing.assert_close(loss, pixels + apart + 0.3 * nats, rtol=1e-5, atol=1e-3)
    assert system.frozen == (features,)


def test_the_posterior_is_kept_from_overflowing():
    """The authors' bounds, -30 and 20: at a spread of e^-15 z is its mean, and the loss stays finite."""
    system, images = tiny_kl().eval(), blobs(2)
    with torch.no_grad():
        system.into_moments.weight.zero_()
        for raw, kept in ((-100.0, -30.0), (100.0, 20.0), (-3.0, -3.0)):
            system.into_moments.bias.copy_(torch.tensor([0.5] * 4 + [raw] * 4))
            posterior = system.posterior(images)
            assert (posterior.mean == 0.5).all() and (posterior.logvar == kept).all()
            assert system.reconstruct(turn(images, -1.0)).isfinite()
        assert torch.equal(system.encode(images), posterior.mean) and posterior.mean.shape == (2, 4, 8, 8)


def test_the_kl_autoencoder_has_an_adversarial_loss_from_critic_start_on():
    system, images = tiny_kl(critic_start=0.5, adversarial=0.7), blobs(4)
    early, late = turn(images, 0.49), turn(images, 0.5)
    assert system.reconstruct(early).isfinite() and system.criticise(early) is None
    plain, whole = system.reconstruct(turn(images, 0.0)), system.reconstruct(late)
    torch.testing.assert_close(
        whole - plain, late.notes["adaptive_weight"] * late.notes["generator_loss"], rtol=1e-3, atol=1e-4
    )
    assert late.notes["adaptive_weight"] > 0 and system.criticise(late).isfinite()
    with pytest.raises(Unsupported, match="factor of 8"):
        KLAutoencoder(Shape(3, 36, 36))
