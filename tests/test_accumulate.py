"""What a round leaves behind without gradients is the same however its batch was cut (``train.accumulate``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from conftest import toy_source
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.data.batches import Batches
from zeuxis.errors import UsageError
from zeuxis.game import Move, Player, System, Turn, play_round
from zeuxis.nn.features import FeatureNetwork
from zeuxis.recipe import Train
from zeuxis.rng import Stream
from zeuxis.systems.autoencoder.latent_prior import LatentPrior
from zeuxis.systems.autoencoder.vae import VAE
from zeuxis.systems.autoencoder.vq_vae import VQVAE
from zeuxis.systems.autoencoder.vq_vae_2 import VQVAE2
from zeuxis.systems.autoencoder.vqgan import VQGAN
from zeuxis.systems.autoregressive.caption_lm import CaptionLM
from zeuxis.systems.autoregressive.image_gpt import ImageGPT
from zeuxis.systems.density.maf import MAF
from zeuxis.systems.energy.dbn import DBN
from zeuxis.systems.energy.ebm import EBM
from zeuxis.systems.energy.rbm import RBM
from zeuxis.systems.recognition.identity import Identity
from zeuxis.systems.recognition.judge import Judge
from zeuxis.training.trainer import Trainer

COLOUR, GREY = Shape(3, 16, 16), Shape(1, 8, 8)
SMALL = {"codes": 16, "code_width": 4, "width": 8, "hidden": 8, "blocks": 1}


def vqgan() -> System:
    sizes = {"codes": 16, "latent": 8, "code_width": 4, "width": 8, "multiples": (1, 2), "blocks": 1, "ndf": 8}
    return VQGAN(COLOUR, ema=True, layers=1, attention=(), **sizes)


def prior() -> System:
    return LatentPrior(
        COLOUR, autoencoder=VAE(COLOUR, latent=4, widths=(4,), hidden=8), density=MAF(Shape(4, 1, 1), widths=(8,))
    )


# What follows a round in these depends on the pictures, and on draws that are the same however the batch is cut.
KINDS: dict[str, Callable[[], System]] = {
    "moving codebook": lambda: VQVAE(COLOUR, ema=True, restart_dead=0.1, **SMALL),
    "k-means start": lambda: VQVAE(COLOUR, ema=True, kmeans=True, **SMALL),
    "use counts of a learnt codebook": lambda: VQVAE(COLOUR, **SMALL),
    "two codebooks": lambda: VQVAE2(COLOUR, **{**SMALL, "codes": 8}),
    "vqgan": vqgan,
    "palette": lambda: ImageGPT(COLOUR, colours=8, width=16, depth=1, heads=2),
    "standardised codes": prior,
    "kept chains of an rbm": lambda: RBM(GREY, hidden=8, particles=12),
    "kept chains of a dbn": lambda: DBN(GREY, hidden=(8, 6), particles=12, greedy=False),
}


def built(kind: str) -> System:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return KINDS[kind]()


def trained(kind: str, folder: Path, accumulate: int, rounds: int) -> Trainer:
    system = built(kind)
    source = toy_source(system.shape.channels, system.shape.height, 64)
    plan = Train(iterations=100, batch=32, accumulate=accumulate)
    made = Trainer(system, Batches(source, 32, 0), plan, folder)
    for _ in range(rounds):
        made.play()
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_leaves_the_same_however_its_batch_was_cut(kind: str, tmp_path: Path) -> None:
    whole, parts = (trained(kind, tmp_path / str(n), n, 2).system for n in (1, 4))
    changed = 0
    untrained = built(kind).state_dict()
    for (name, one), (_, other) in zip(whole.named_buffers(), parts.named_buffers(), strict=True):
        if "running_" in name or "num_batches" in name:
            continue  # of batch norm, whose batches are the parts
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
        changed += name in untrained and not torch.equal(one, untrained[name])
    assert changed


def test_every_vector_of_the_batch_is_counted(tmp_path: Path) -> None:
    """A batch of 32 pictures of 4 x 4 codes uses 512 codes, and the average has a share of 0.01 of them."""
    made = trained("moving codebook", tmp_path, 4, 1)
    assert made.system.quantiser.uses.sum().item() == pytest.approx(0.99 * 16 + 0.01 * 512, rel=1e-4)


def parts_of(batch: Batch, cut: int, system: System, memo: Callable[[Batch], dict[str, Tensor]]) -> list[Turn]:
    """The turns of ``batch`` cut into ``cut``, after a round of ``system`` in which only ``memo`` was left."""
    size = len(batch) // cut
    batches = [batch[slice(i, i + size)] for i in range(0, len(batch), size)]
    turns = [Turn(part, Stream(0), 0, 0.0, memo=memo(part)) for part in batches]
    play_round(system, (Player("network", (system,)),), lambda: turns, lambda *_: None)
    return turns


def test_thresholds_are_quantiles_of_all_parts() -> None:
    batch = Batch(Stream(0).normal(16, 3, 16, 16))
    found = []
    for cut in (1, 4):
        judge = Judge(COLOUR, factors=(("colour", 3),), widths=(4,), features=4, coverage=0.75)
        turns = parts_of(batch, cut, judge, lambda part: {"ood_score": part.image.flatten(1).sum(1)})
        assert all(turn.parts == (turn,) for turn in turns), "when the round is over the parts let go of each other"
        found.append(float(judge.ood_threshold))
    assert found[0] == found[1] == float(batch.image.flatten(1).sum(1).quantile(0.75))


def test_impostors_are_from_all_parts() -> None:
    vectors = torch.nn.functional.normalize(Stream(1).normal(16, 2, 4), dim=2)
    batch, found = Batch(vectors[:, None]), []
    for cut in (1, 4):
        identity = Identity(COLOUR, widths=(4,), features=4, embedding=4)

        def memo(part: Batch) -> dict[str, Tensor]:
            return {"pairs": part.image[:, 0].unbind(1), "ood_score": part.image.flatten(1).sum(1)}

        parts_of(batch, cut, identity, memo)
        found.append(float(identity.threshold))
    assert found[0] == pytest.approx(found[1], abs=1e-6) and found[0] != 0


def test_the_parts_of_a_batch_take_up_different_chains(tmp_path: Path) -> None:
    """With as many kept chains as pictures every chain is walked once a round."""
    for accumulate in (1, 4):
        made = EBM(GREY, width=4, steps=1, chains=32, noise=0.1)
        before = made.chains.clone()
        plan = Train(iterations=100, batch=32, accumulate=accumulate)
        Trainer(made, Batches(toy_source(1, 8, 64), 32, 0), plan, tmp_path / str(accumulate)).play()
        assert (made.chains != before).flatten(1).any(1).all()


def captions() -> tuple[System, Batch]:
    """Captions of 1 to 8 words, long ones first."""
    told = tuple(" ".join(["red"] * n) for n in (8, 8, 7, 6, 2, 1, 1, 1))
    made = CaptionLM(COLOUR, words=("red",), context=2, features=4, hidden=4, longest=8)
    return made, Batch(torch.zeros(8, *COLOUR), Condition(caption=told))


def factors() -> tuple[System, Batch]:
    """Two factors, of which the second is stated of three pictures, two of them among the last four."""
    sizes = {"widths": (4,), "features": 4, "exposure": 0.0, "color_jitter": 0.0, "gaussian_noise": 0.0}
    stated = torch.tensor([[0, 1], [1, -1], [2, -1], [0, -1], [1, 0], [2, 1], [0, -1], [1, -1]])
    grey = Stream(3).uniform(8, 1, 1, 1).expand(8, *COLOUR)  # which blurring leaves as it is
    return Judge(COLOUR, factors=(("a", 3), ("b", 2)), **sizes), Batch(grey, Condition(factors=stated))


@pytest.mark.parametrize("made", [captions, factors])
def test_a_mean_over_unequal_numbers_is_that_of_the_whole_batch(made: Callable[[], tuple[System, Batch]]) -> None:
    """The mean over all words of a batch, and not the mean over its parts of their means."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        system, batch = made()
    found: list[float] = []

    def step(player: Player, loss: Callable[[Turn], Tensor | None], turns: Sequence[Turn]) -> bool:
        values = [(loss(turn), len(turn.batch)) for turn in turns]
        found.append(sum(value.item() * n / 8 for value, n in values if value is not None))
        return False

    for size in (8, 2):
        turns = [Turn(batch[slice(k, k + size)], Stream(0), 0, 0.0) for k in range(0, 8, size)]
        play_round(system, system.players(), lambda turns=turns: turns, step)
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_what_other_processes_count_is_counted_too() -> None:
    """Of 3 and 5 words in parts of 2 and 1 pictures, and of 4 in three pictures elsewhere, there are 12 of 6."""
    parts = [Turn(Batch(torch.zeros(n, 1)), Stream(0), 0, 0.0) for n in (2, 1)]
    for part in parts:
        part.linked, part.gather = parts, lambda count: [count, torch.tensor(4.0)]
    counts = [torch.tensor(3), torch.tensor(5)]
    assert [float(part.denominator(counts)) for part in parts] == [2 * 12 / 6, 1 * 12 / 6]


class Noted(System):
    """Notes the mean grey of its batch, and the round's first row after it."""

    def __init__(self) -> None:
        super().__init__()
        self.shape, self.network = Shape(3, 16, 16), FeatureNetwork(COLOUR, (2,), widths=(4,), features=4)

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.network,)),)

    def moves(self) -> tuple[Move, ...]:
        return (Move("network", self.learn),)

    def learn(self, turn: Turn) -> Tensor:
        turn.note(grey=turn.batch.image.mean(), offset=float(turn.offset))
        (logits,) = self.network(turn.batch.image)
        return logits.square().mean()


def test_the_log_has_the_mean_over_the_parts(tmp_path: Path) -> None:
    grey = []
    for accumulate in (1, 4):
        plan = Train(iterations=100, batch=32, accumulate=accumulate)
        made = Trainer(Noted(), Batches(toy_source(3, 16, 64), 32, 0), plan, tmp_path / str(accumulate))
        made.play()
        grey.append(float(made.notes["grey"]))
        assert made.notes["offset"] == {1: 0.0, 4: (0 + 8 + 16 + 24) / 4}[accumulate]
    assert grey[0] == pytest.approx(grey[1], abs=1e-6)


@pytest.mark.parametrize(
    ("batch", "accumulate", "sizes"), [(7, 3, [2, 2, 3]), (8, 3, [2, 3, 3]), (9, 2, [4, 5]), (3, 8, [1, 1, 1])]
)
def test_parts_are_nearly_of_one_size(batch: int, accumulate: int, sizes: list[int], tmp_path: Path) -> None:
    """None is left over that is far smaller than the others, or of one picture, as batch norms refuse it."""
    plan = Train(iterations=100, batch=batch, accumulate=accumulate)
    made = Trainer(Noted(), Batches(toy_source(3, 16, 64), batch, 0), plan, tmp_path)
    assert [len(turn.batch) for turn in made._draw()] == sizes


class Normed(Noted):
    """Keeps how many pictures it was ever shown at a time, and has a batch norm over nothing but pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.shown = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(3 * 16 * 16)), [0]

    def learn(self, turn: Turn) -> Tensor:
        self.shown.append(len(turn.batch))
        return self.network(turn.batch.image).square().mean()


def test_an_average_is_measured_in_parts_too(tmp_path: Path) -> None:
    """Where the whole batch would not fit into memory it must not be computed at once to measure batch norms."""
    plan = Train(iterations=100, batch=32, accumulate=4, ema=0.9)
    made = Trainer(Normed(), Batches(toy_source(3, 16, 64), 32, 0), plan, tmp_path)
    made.measure_norms()
    assert made.average is not None and set(made.average.shown) == {0, 8}


@pytest.mark.parametrize(("batch", "accumulate"), [(1, 1), (4, 4)])
def test_a_batch_norm_over_one_picture_says_what_to_change(batch: int, accumulate: int, tmp_path: Path) -> None:
    plan = Train(iterations=100, batch=batch, accumulate=accumulate, ema=0.9)
    made = Trainer(Normed(), Batches(toy_source(3, 16, 64), batch, 0), plan, tmp_path)
    for work in (made.play, made.measure_norms):
        with pytest.raises(UsageError, match=r"raise train\.batch"):
            work()
