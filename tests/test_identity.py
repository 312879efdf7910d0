"""Identity: pairs of one person, the loss that draws them together, and the systems that tell persons apart."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import load
from zeuxis.api.reproduce import reproduce
from zeuxis.api.runs import train
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.data.worlds.faces import PICTURES, Faces
from zeuxis.data.worlds.pairs import FacesPairs
from zeuxis.errors import DataError, UsageError
from zeuxis.game import System, Turn, play_round
from zeuxis.losses.contrastive import supervised_contrastive
from zeuxis.metrics.verification import verification
from zeuxis.recipe import load_recipe
from zeuxis.rng import Stream
from zeuxis.systems.recognition.fisherfaces import Fisherfaces
from zeuxis.systems.recognition.identity import Identity

SHAPE = Shape(1, 8, 8)


def pairs(n: int, rng: Stream) -> Batch:
    """A person is the heights of two bars; what differs between pictures is how bright the rest is."""
    who = rng.uniform(n, 2)

    def picture() -> Tensor:
        image = (0.6 * rng.uniform(n, 1, 1, 1) - 0.8).expand(n, *SHAPE).clone()
        for bar, columns in ((0, slice(1, 3)), (1, slice(5, 7))):
            rows = (torch.arange(8)[None, :] + 1 - 8 * who[:, bar : bar + 1]).clamp(0, 1)  # (B, 8)
            image[:, 0, :, columns] = (1 - 2 * rows)[:, :, None]
        return image

    return Batch(picture(), Condition(source=picture()))


def judged(system: System, n: int = 400) -> float:
    test = pairs(n, Stream(99))
    source = test.condition.source
    assert source is not None
    with torch.inference_mode():
        return verification(system.verify(test.image, source), system.verify(test.image, source.roll(1, 0))).accuracy


@pytest.fixture(scope="module")
def identity() -> Identity:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = Identity(SHAPE, widths=(8, 16), features=32, embedding=8, gaussian_noise=0.02, color_jitter=0.02)
    before = judged(system)
    data, rng, players = Stream(0, "data"), Stream(0, "moves"), system.players()
    optimiser = torch.optim.Adam(players[0].parameters(), 3e-3)

    def step(player, loss, turns):  # type: ignore[no-untyped-def]
        optimiser.zero_grad()
        loss(turns[0]).backward()
        optimiser.step()

    for number in range(150):
        play_round(system, players, lambda n=number: [Turn(pairs(32, data), rng, n, n / 150)], step)
    assert before < judged(system) - 0.1
    return system.eval()


# -- the data -------------------------------------------------------------------------------------


def test_a_pair_is_two_pictures_of_one_person_and_no_two_pairs_share_one() -> None:
    source = FacesPairs(16)
    index = torch.arange(3000)
    first, second = source.pictures(index)
    assert torch.equal(first // PICTURES, index) and torch.equal(second // PICTURES, index) and (first != second).all()
    apart = (second - first).remainder(PICTURES)
    assert set(apart.tolist()) == set(range(1, PICTURES)) and set((first % PICTURES).tolist()) == set(range(PICTURES))
    batch, faces = source.batch(index[:20]), Faces(16)
    for shown, which in ((batch.image, first), (batch.condition.source, second)):
        assert shown is not None and torch.equal(shown, faces.batch(which[:20]).image)
    again = faces.batch(first[:20]).condition
    assert batch.condition.factors is not None and again.factors is not None and again.layout is not None
    assert torch.equal(batch.condition.factors, again.factors) and batch.condition.caption == again.caption
    assert batch.condition.layout is not None and torch.equal(batch.condition.layout, again.layout)
    assert batch.condition.given == source.spec.provides


def test_pairs_reach_to_the_last_example_and_no_further() -> None:
    source = FacesPairs(8)
    assert len(source.batch(torch.tensor([999_999]))) == 1
    with pytest.raises(IndexError):
        source.batch(torch.tensor([1_000_000]))
    assert source.fingerprint() != FacesPairs(8, "test").fingerprint()


# -- the loss -------------------------------------------------------------------------------------


def test_the_contrastive_loss_is_its_formula() -> None:
    z, label, tau = F.normalize(Stream(1).normal(7, 4), dim=1), torch.tensor([0, 1, 0, 2, 1, 2, 2]), 0.3
    total = 0.0
    for i in range(7):
        others = [a for a in range(7) if a != i]
        same = [p for p in others if label[p] == label[i]]
        below = sum(math.exp(float(z[i] @ z[a]) / tau) for a in others)
        total -= sum(math.log(math.exp(float(z[i] @ z[p]) / tau) / below) for p in same) / len(same)
    assert float(supervised_contrastive(z, label, tau)) == pytest.approx(total / 7, rel=1e-5)
    together = F.one_hot(label, 4).float()
    assert supervised_contrastive(together, label, tau) < supervised_contrastive(z, label, tau)


def test_the_contrastive_loss_has_gradients_and_refuses_the_lonely() -> None:
    z = Stream(2).normal(6, 4).requires_grad_()
    supervised_contrastive(F.normalize(z, dim=1), torch.arange(3).repeat(2)).backward()
    assert z.grad is not None and torch.isfinite(z.grad).all() and z.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="at least twice"):
        supervised_contrastive(z, torch.arange(6))
    with pytest.raises(ValueError, match=r"want \(N, D\)"):
        supervised_contrastive(z, torch.arange(5))


# -- the systems ----------------------------------------------------------------------------------


def test_identity_tells_unseen_persons_apart(identity: Identity) -> None:
    assert judged(identity) > 0.9
    assert -1 < float(identity.threshold) < 1 and int(identity.rounds_seen) == 150
    vectors = identity.encode(pairs(10, Stream(3)).image)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(10))


def test_identity_detects_outliers(identity: Identity) -> None:
    own = pairs(300, Stream(4)).image
    assert identity.in_distribution(own).float().mean() > 0.9
    stripes = torch.ones(SHAPE).mul(torch.tensor([1.0, -1.0]).repeat(4))[None]
    for outliers in (Stream(5).normal(300, *SHAPE), -own, stripes):
        assert identity.in_distribution(outliers).float().mean() < 0.3


def test_the_threshold_is_kept_with_the_weights(identity: Identity) -> None:
    again = Identity(**identity.config)
    again.load_state_dict(identity.state_dict())
    batch = pairs(6, Stream(6))
    assert batch.condition.source is not None
    score = again.verify(batch.image, batch.condition.source)
    assert torch.equal(score, identity.verify(batch.image, batch.condition.source))
    cosine = (again.encode(batch.image) * again.encode(batch.condition.source)).sum(1)
    torch.testing.assert_close(score + again.threshold, cosine)


def test_fisherfaces_find_the_directions_that_tell_persons_apart() -> None:
    system = Fisherfaces(SHAPE, side=8, components=10, axes=2, batches=3)
    asked = []

    def batches():  # type: ignore[no-untyped-def]
        for k in range(50):
            asked.append(k)
            yield pairs(100, Stream(k))

    system.fit(batches())
    assert len(asked) == 3, "it takes what it was told to, and no more"
    assert judged(system) > 0.9
    light = pairs(1, Stream(7)).image
    changed = light.clone()
    changed[:, :, :, 3:5] += 0.3  # between the bars there is nothing but light
    changed[:, :, :, ::7] += 0.3
    moved = (system.encode(changed) - system.encode(light)).norm()
    other = (system.encode(pairs(1, Stream(8)).image) - system.encode(light)).norm()
    assert moved < other


def test_fisherfaces_refuse_what_they_cannot_be_fitted_to() -> None:
    with pytest.raises(UsageError, match="each at most the next"):
        Fisherfaces(SHAPE, side=2, components=8, axes=2)
    with pytest.raises(DataError, match="at least 2 persons"):
        Fisherfaces(SHAPE, side=4, components=4, axes=2).fit([pairs(1, Stream(9))])


def test_an_identity_is_measured_against_its_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("size=16", "model.side=8", "model.components=12", "model.axes=4", "model.batches=1", "claim.samples=64")
    found = reproduce(load_recipe("fisherfaces", small), out=tmp_path / "results", runs=tmp_path / "runs")
    told = {f["name"]: f["value"] for f in found["per_seed"][0]["figures"]}
    assert set(told) == {"verification", "verification/accepted", "verification/refused", "equal-error"}
    assert found["value"] == (told["verification/accepted"] + told["verification/refused"]) / 2
    assert found["per_seed"][0]["images"] == 1000  # of a million: those that it was fitted to

    tiny = ("size=16", "model.widths=[8, 16]", "model.features=16", "train.iterations=2", "train.batch=4")
    run = train(load_recipe("identity-faces", tiny), out=tmp_path / "run")
    names = [f.name for f in evaluate(load(run.folder), samples=16, metrics=("same-person", "verification"))]
    assert names == ["same-person", "verification", "verification/accepted", "verification/refused",
                     "recognised", "equal-error"]  # fmt: skip
