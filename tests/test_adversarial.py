"""What is particular to DCGAN, WGAN-GP and CycleGAN; the contract that they share is tested elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import Player, System, Turn, play_round
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import NonSaturating
from zeuxis.nn.image_pool import ImagePool
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.adversarial.dcgan import DCGAN
from zeuxis.systems.adversarial.wgan_gp import WGANGP
from zeuxis.systems.translation.cyclegan import CycleGAN

SMALL = Shape(1, 16, 16)
COLOUR = Shape(3, 16, 16)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def batch(n: int, shape: Shape, seed: int = 0, paired: bool = False) -> Batch:
    rng = Stream(seed, "data")
    image = rng.uniform(n, *shape) * 2 - 1
    return Batch(image, Condition(source=rng.uniform(n, *shape) * 2 - 1) if paired else Condition())


class Table:
    """A small trainer: plain Adam, a batch and a generator."""

    def __init__(self, system: System, data: Callable[[int], Batch], seed: int = 0) -> None:
        self.system, self.data, self.rng = system.train(), data, Stream(seed)
        self.players = system.players()
        self.optimisers = {p.name: torch.optim.Adam(p.parameters(), p.lr, p.betas) for p in self.players}
        self.round, self.drawn, self.steps = 0, 0, []

    def draw(self) -> list[Turn]:
        self.drawn += 1
        return [Turn(self.data(self.drawn), self.rng, self.round, 0.0)]

    def step(self, player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> None:
        optimiser = self.optimisers[player.name]
        optimiser.zero_grad(set_to_none=True)
        value = loss(turns[0])
        assert value is not None and torch.isfinite(value)
        value.backward()
        optimiser.step()
        self.steps.append(player.name)

    def play(self, rounds: int) -> Turn:
        for _ in range(rounds):
            turn = play_round(self.system, self.players, self.draw, self.step)[-1]
            self.round += 1
        return turn


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Weights are the same every time, and what a test draws globally is not the next one's beginning."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def tiny_dcgan(**options: float) -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(SMALL, nz=8, ngf=8, ndf=8, **options)


# -- DCGAN ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm_first", "expected"), [(True, 2_765_696), (False, 2_765_568)])
def test_dcgan_has_the_published_counts(norm_first: bool, expected: int) -> None:
    with torch.device("meta"):
        system = DCGAN(Shape(3, 64, 64), nz=128, norm_first=norm_first)
    assert count(system.generator) == 3_806_080
    assert count(system.discriminator) == expected


def test_dcgan_starts_from_small_normal_weights() -> None:
    torch.manual_seed(0)
    system = DCGAN(Shape(1, 32, 32))
    for net in (system.generator, system.discriminator):
        convs = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        assert len(convs) == 4
        for conv in convs:
            assert conv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    with torch.no_grad():
        logits = system.discriminator(batch(8, system.shape).image)
    assert logits.shape[0] == 8 and logits.numel() == 8
    assert NonSaturating().critic(logits, logits).item() == pytest.approx(2 * 0.6931, abs=0.3)


def test_dcgan_draws_each_fake_once_a_round() -> None:
    table = Table(tiny_dcgan(), lambda k: batch(4, SMALL, k))
    seen: list[int] = []
    table.system.generator.register_forward_hook(lambda *_: seen.append(1))
    table.play(3)
    assert len(seen) == 3 and table.steps == ["generator", "discriminator"] * 3


def test_dcgan_picture_does_not_depend_on_its_company() -> None:
    table = Table(tiny_dcgan(), lambda k: batch(16, SMALL, k))
    table.play(5)
    system = table.system.eval()
    with torch.no_grad():
        many = system.sample(Condition(), ImageRng.counting(3, 5))
        alone = system.sample(Condition(), ImageRng.counting(5, 1))
    torch.testing.assert_close(many[2:3], alone, rtol=0, atol=1e-5)
    assert many.std(0).mean() > 1e-4  # and the latents matter


def test_dcgan_running_statistics_describe_the_generator() -> None:
    """Sampling in evaluation mode must look like what the discriminator was shown in training."""
    table = Table(tiny_dcgan(), lambda k: batch(24, SMALL, k))
    table.play(120)  # of the statistics' first value, 1, less than 1e-5 is left
    z = Stream(9).normal(256, 8)
    with torch.no_grad():
        shown = table.system.train().decode(z)
        sampled = table.system.eval().decode(z)
    assert (shown - sampled).square().mean() < 0.03 * shown.var()


def test_dcgan_generator_follows_the_data() -> None:
    system = tiny_dcgan(lr=2e-3, norm_first=False)  # a norm would hide the brightness of a whole batch
    table = Table(system, lambda k: Batch(0.6 + 0.2 * batch(16, SMALL, k).image))
    before = system.decode(Stream(1).normal(16, 8)).mean().item()
    table.play(80)
    after = system.decode(Stream(1).normal(16, 8)).mean().item()
    assert after > before + 0.2  # towards 0.6


def test_dcgan_temperature_nought_is_one_picture() -> None:
    system = tiny_dcgan().eval()
    with torch.no_grad():
        cold = system.sample(Condition(), ImageRng.counting(0, 3), Sampling(temperature=0.0))
    assert torch.equal(cold[0], cold[1]) and torch.equal(cold[1], cold[2])


# -- WGAN-GP ----------------------------------------------------------------------------------------------


def test_wgan_gp_has_the_published_counts() -> None:
    with torch.device("meta"):
        system = WGANGP(Shape(3, 32, 32), network="resnet", width=128)
    assert (count(system.generator), count(system.critic)) == (1_204_483, 1_053_825)


@pytest.mark.parametrize("network", ["dcgan", "resnet"])
def test_wgan_gp_critic_judges_each_picture_alone(network: str) -> None:
    system = WGANGP(SMALL, network=network, nz=8, width=8).train()
    assert not [m for m in system.critic.modules() if isinstance(m, nn.BatchNorm2d)]
    x = batch(4, SMALL).image
    with torch.no_grad():
        torch.testing.assert_close(system.critic(x)[:1], system.critic(x[:1]))
        assert system.decode(Stream(0).normal(4, 8)).shape == x.shape


def test_wgan_gp_critic_moves_five_times_on_fresh_batches() -> None:
    table = Table(WGANGP(SMALL, nz=8, width=8), lambda k: batch(4, SMALL, k))
    table.play(2)
    assert table.steps == (["critic"] * 5 + ["generator"]) * 2
    assert table.drawn == 10


def test_wgan_gp_penalty_brings_the_slope_to_one() -> None:
    torch.manual_seed(0)
    system = WGANGP(SMALL, nz=8, width=8, critic_steps=40, lr=3e-3)
    table = Table(system, lambda k: batch(16, SMALL, k))
    first = system.criticise(Turn(batch(16, SMALL), Stream(0), 0, 0.0))
    turn = table.play(1)
    assert first.item() > 5  # a new critic is flat: the penalty is near 10
    assert turn.notes["slope"] < 0.1
    assert turn.notes["distance"] > 0  # and it tells the two apart


def test_wgan_gp_refuses_what_it_cannot_build() -> None:
    with pytest.raises(UnknownName, match="resnet"):
        WGANGP(SMALL, network="resnt")
    with pytest.raises(UsageError, match="28"):
        WGANGP(Shape(1, 28, 28), network="resnet")


# -- CycleGAN ---------------------------------------------------------------------------------------------


def tiny_cyclegan(**options: float) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(COLOUR, ngf=4, blocks=1, ndf=4, layers=1, **{"pool": 3, **options})


def test_cyclegan_has_the_published_counts() -> None:
    with torch.device("meta"):
        system = CycleGAN(Shape(3, 256, 256))
    assert count(system.to_image) == count(system.to_source) == 11_378_179
    assert count(system.image_critic) == count(system.source_critic) == 2_764_737


def test_cyclegan_players_have_two_networks_each() -> None:
    system = tiny_cyclegan()
    counts = {p.name: sum(q.numel() for q in p.parameters()) for p in system.players()}
    assert counts == {
        "translators": count(system.to_image) + count(system.to_source),
        "critics": count(system.image_critic) + count(system.source_critic),
    }


def test_cyclegan_translates_the_source_and_refuses_none() -> None:
    system, source = tiny_cyclegan().eval(), batch(3, COLOUR).image
    with torch.no_grad():
        image = system.sample(Condition(source=source), ImageRng.counting(0, 3))
        torch.testing.assert_close(image[:1], system.sample(Condition(source=source[:1]), ImageRng.counting(7, 1)))
    assert image.shape == source.shape and image.abs().max() <= 1
    with pytest.raises(Unsupported, match="source"):
        system.sample(Condition(), ImageRng.counting(0, 1))
    with pytest.raises(Unsupported, match="source"):
        system.translate(Turn(batch(2, COLOUR), Stream(0), 0, 0.0))


def test_cyclegan_goes_back_by_the_other_translator() -> None:
    system, source = tiny_cyclegan().eval(), batch(3, COLOUR).image
    back = system.sample(Condition(source=source), ImageRng.counting(0, 3), Sampling(back=True))
    assert torch.equal(back, system.to_source(source)) and not torch.equal(back, system.to_image(source))
    one_way = tiny_cyclegan(one_way=True).eval()
    assert one_way.sample(Condition(source=source), ImageRng.counting(0, 3)).shape == source.shape
    with pytest.raises(UsageError, match="of one direction"):
        one_way.sample(Condition(source=source), ImageRng.counting(0, 3), Sampling(back=True))
    grey = CycleGAN(COLOUR, source_shape=Shape(1, *COLOUR[1:]), ngf=4, ndf=4, blocks=1, layers=1, identity=0.0).eval()
    with pytest.raises(UsageError, match="sources have 1 channels and images 3"):
        grey.sample(Condition(source=source[:, :1]), ImageRng.counting(0, 3), Sampling(back=True))


def test_cyclegan_loss_is_the_sum_of_its_parts() -> None:
    system = tiny_cyclegan(cycle=10.0, identity=0.5)
    turn = Turn(batch(2, COLOUR, paired=True), Stream(0), 0, 0.0)
    loss = system.translate(turn)
    n = turn.notes
    assert loss.item() == pytest.approx(float(n["adversarial"] + 10 * n["cycle"] + 5 * n["identity"]), rel=1e-5)
    x, y = turn.batch.condition.source, turn.batch.image
    with torch.no_grad():
        home = (system.to_source(system.to_image(x)) - x).abs().mean()
        home = home + (system.to_image(system.to_source(y)) - y).abs().mean()
        fooled = (system.image_critic(system.to_image(x)) - 1).square().mean()
        fooled = fooled + (system.source_critic(system.to_source(y)) - 1).square().mean()
    assert float(n["cycle"]) == pytest.approx(home.item(), rel=1e-4)
    assert float(n["adversarial"]) == pytest.approx(fooled.item(), rel=1e-4)


def test_cyclegan_without_the_cycle_is_adversarial_alone() -> None:
    system = tiny_cyclegan(cycle=0.0)
    turn = Turn(batch(2, COLOUR, paired=True), Stream(0), 0, 0.0)
    assert system.translate(turn).item() == pytest.approx(float(turn.notes["adversarial"]))
    assert set(turn.notes) == {"adversarial"}


def test_cyclegan_goes_home_better_with_practice() -> None:
    table = Table(tiny_cyclegan(lr=2e-3), lambda k: batch(4, COLOUR, seed=1, paired=True))
    before = float(table.play(1).notes["cycle"])
    after = float(table.play(25).notes["cycle"])
    assert after < 0.8 * before


def test_pool_is_filled_then_shows_old_pictures_half_the_time() -> None:
    pool, rng, shape = ImagePool(10, Shape(1, 1, 1)), Stream(0), (1, 1, 1)
    first = torch.arange(10.0).view(10, *shape)
    assert torch.equal(pool.swap(first, rng), first) and pool.filled == 10
    shown = torch.cat([pool.swap(torch.full((1, *shape), 10.0 + k), rng) for k in range(400)]).flatten()
    fresh = (shown == torch.arange(400) + 10.0).float().mean().item()
    assert 0.4 < fresh < 0.6
    assert shown.unique().numel() > 380  # what is shown from the pool is replaced there
    assert pool.images.min() > 300  # and the pool keeps up


def test_pool_is_restored_with_the_system() -> None:
    table = Table(tiny_cyclegan(), lambda k: batch(2, COLOUR, k, paired=True))
    table.play(3)
    copy = tiny_cyclegan()
    copy.load_state_dict(table.system.state_dict())
    fresh = batch(4, COLOUR, 8).image
    assert copy.image_pool.filled == 3
    assert torch.equal(copy.image_pool.swap(fresh, Stream(5)), table.system.image_pool.swap(fresh, Stream(5)))


def test_pool_of_nothing_shows_what_it_is_given() -> None:
    fresh = batch(3, COLOUR).image
    assert ImagePool(0, COLOUR).swap(fresh, Stream(0)) is fresh
