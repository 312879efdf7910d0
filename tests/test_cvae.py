"""The conditional VAE obeys its label, and the autoencoder rebuilds better than as many principal components."""

import pytest
import torch

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.errors import UnknownName, UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoencoder.autoencoder import Autoencoder
from zeuxis.systems.autoencoder.cvae import CVAE
from zeuxis.systems.density.pca import PCA

SHAPE = Shape(1, 8, 8)


def bars(n: int, seed: int = 0) -> Batch:
    """Class k has a bright bar in rows 2k and 2k + 1, of any width."""
    rng = Stream(seed, "bars")
    label, width = rng.integers(4, n), 3 + rng.integers(6, n)
    row, column = torch.arange(8)[None, :, None] // 2, torch.arange(8)[None, None, :]
    image = ((row == label[:, None, None]) & (column < width[:, None, None])).float() * 2 - 1
    return Batch(image[:, None], Condition(label=label))


def trained(system: CVAE | Autoencoder, rounds: int = 250) -> CVAE | Autoencoder:
    optimiser = torch.optim.Adam(system.parameters(), lr=5e-3)
    move = system.moves()[0]
    for k in range(rounds):
        loss = move.loss(Turn(bars(64, k), Stream(k), k, k / rounds))
        assert loss is not None
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return system.eval()


@pytest.fixture(scope="module")
def cvae() -> CVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        system = trained(CVAE(SHAPE, classes=4, latent=2, widths=(16,), hidden=32), 140)
    assert isinstance(system, CVAE)
    return system


def test_the_label_decides_and_the_latent_varies(cvae):
    label = torch.arange(4).repeat_interleave(20)
    with torch.no_grad():
        made = cvae.sample(Condition(label=label), ImageRng.counting(0, 80))
        still = cvae.sample(Condition(label=label), ImageRng.counting(0, 80), Sampling(temperature=0.0))
    brightest = made[:, 0].unfold(1, 2, 2).sum((2, 3)).argmax(1)
    assert (brightest == label).float().mean() > 0.95
    assert made.var(0).sum() > still.unflatten(0, (4, 20)).var(1).sum() + 0.1
    assert torch.equal(still[0], still[1])


def test_a_picture_is_the_same_in_any_company(cvae):
    label = torch.tensor([0, 1, 2, 3])
    with torch.no_grad():
        together = cvae.sample(Condition(label=label), ImageRng.counting(5, 4))
        alone = cvae.sample(Condition(label=label[2:3]), ImageRng([7]))
    torch.testing.assert_close(alone, together[2:3], rtol=0, atol=1e-5)


def test_cvae_misuse_is_explained():
    with pytest.raises(UsageError, match="2 classes or more"):
        CVAE(SHAPE)
    with pytest.raises(UnknownName, match="gaussian"):
        CVAE(SHAPE, classes=3, likelihood="gausian")


def test_a_curved_code_of_two_numbers_holds_more_than_two_components():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        system = trained(Autoencoder(SHAPE, latent=2, widths=(16,), hidden=32))
    flat = PCA(SHAPE, components=2)
    flat.fit([bars(500, k) for k in range(4)])
    test = bars(300, 999).image
    with torch.no_grad():
        ours = (system.decode(system.encode(test)) - test).square().mean()
    theirs = (flat.decode(flat.encode(test)) - test).square().mean()
    assert system.encode(test).shape == (300, 2)
    assert ours < 0.5 * theirs
