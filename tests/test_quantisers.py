"""The quantisers behind one interface: codes that are decoded, gradients, entropies and averages by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zeuxis.errors import UnknownName, UsageError
from zeuxis.nn.finite_scalar import MARGIN, FiniteScalar
from zeuxis.nn.lookup_free import LookupFree
from zeuxis.nn.quantisers import QUANTISERS, make_quantiser
from zeuxis.nn.vector_quantiser import VectorQuantiser
from zeuxis.rng import Stream

KINDS = {"codebook": {}, "fsq": {"levels": (4, 4)}, "lfq": {}}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return Stream(seed).normal(*shape)


# -- the seam -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", QUANTISERS)
def test_what_a_quantiser_gives_is_what_it_looks_up(kind: str) -> None:
    quantiser = make_quantiser(kind, 16, 3, **KINDS[kind])
    z = normal(5, quantiser.width, 4, 3)
    q = quantiser(z)
    assert q.vectors.shape == z.shape and q.vectors.dtype == torch.float32
    assert q.indices.shape == (5, 4, 3) and q.indices.dtype == torch.int64
    assert q.indices.min() >= 0 and q.indices.max() < quantiser.codes == 16
    torch.testing.assert_close(q.vectors, quantiser.lookup(q.indices), rtol=0, atol=1e-6)
    share = torch.stack([(q.indices == k).float().mean() for k in range(16)])
    assert q.perplexity.item() == pytest.approx(math.exp(-sum(p * math.log(p) for p in share.tolist() if p)), rel=1e-4)
    assert q.loss.shape == () and q.loss.dtype == torch.float32


@pytest.mark.parametrize("kind", ["fsq", "lfq"])
def test_codes_that_nobody_learns_stay(kind: str) -> None:
    quantiser = make_quantiser(kind, 16, 3, **KINDS[kind])
    before = quantiser.lookup(torch.arange(16)[:, None, None])
    z = normal(2, quantiser.width, 2, 2)
    assert quantiser.update(z, quantiser(z).indices, Stream(0), first=True) == 0
    assert torch.equal(quantiser.lookup(torch.arange(16)[:, None, None]), before)
    assert not quantiser.state_dict() and not list(quantiser.parameters())


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        (
            "fsq",
            {"levels": (4, 4), "ema": True, "restart_dead": 0.5},
            "set ema = false and restart_dead = 0, or quantiser = ",
        ),
        ("lfq", {"kmeans": True}, "set kmeans = false, or quantiser = 'codebook'"),
        ("lfq", {"levels": (4, 4)}, "'lfq' has no levels: leave"),
        ("codebook", {"levels": (4, 4)}, "set quantiser = 'fsq'"),
        ("fsq", {"levels": (4, 5)}, "make 20 codes, not 16: set codes to"),
        ("codebook", {"restart_dead": 1.0}, "restart_dead=1.0: a restarted code counts as used once"),
        ("fsq", {}, "make 1 codes, not 16"),
        ("fsq", {"levels": (16, 1)}, "2 levels or more"),
    ],
)
def test_what_does_not_go_together_is_refused(kind: str, options: dict, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        make_quantiser(kind, 16, 3, **options)


@pytest.mark.parametrize("codes", [1, 24, 2**15])
def test_signs_make_a_power_of_two(codes: int) -> None:
    with pytest.raises(UsageError, match="choose a power of two from 2 to 16384"):
        make_quantiser("lfq", codes, 3)


def test_an_unknown_quantiser_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean codebook"):
        make_quantiser("codebok", 16, 3)


# -- finite scalars -----------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (8, 8, 4), (3, 3), (2, 2, 7), (6,)])
def test_every_finite_scalar_code_comes_back(levels: tuple[int, ...]) -> None:
    """indices -> vectors -> an input with f(z) there, by the inverse of f -> the same indices and vectors."""
    quantiser = FiniteScalar(levels)
    assert quantiser.codes == math.prod(levels) and quantiser.width == len(levels)
    indices = torch.arange(quantiser.codes)[:, None, None]  # (K, 1, 1)
    vectors = quantiser.lookup(indices)  # (K, D, 1, 1)
    assert len({tuple(v) for v in vectors.flatten(1).tolist()}) == quantiser.codes
    assert vectors.min() == -1 and vectors.max() <= 1
    z = torch.empty_like(vectors)
    for i, count in enumerate(levels):
        half, offset = (count - 1) * (1 - MARGIN) / 2, 0.5 * (count % 2 == 0)
        inside = (vectors[:, i].double() * (count // 2) + offset) / half  # the outermost levels lie just outside f
        z[:, i] = inside.clamp(-1 + 1e-6, 1 - 1e-6).atanh() - math.tan(offset / half)
    q = quantiser(z)
    assert torch.equal(q.indices, indices)
    torch.testing.assert_close(q.vectors, vectors, rtol=0, atol=1e-6)
    assert q.loss == 0


def test_finite_scalars_of_known_levels() -> None:
    assert FiniteScalar((3,)).lookup(torch.arange(3)[None, None]).flatten().tolist() == [-1, 0, 1]
    assert FiniteScalar((4,)).lookup(torch.arange(4)[None, None]).flatten().tolist() == [-1, -0.5, 0, 0.5]
    nothing = FiniteScalar((8, 5, 2))(torch.zeros(1, 3, 1, 1))
    assert nothing.vectors.abs().max() < 1e-6 and nothing.indices.item() == 4 + 2 * 8 + 1 * 40
    assert FiniteScalar((4, 5))(torch.tensor([-99.0, 99.0]).view(1, 2, 1, 1)).indices.item() == 0 + 4 * 4


def test_finite_scalar_gradient_by_hand() -> None:
    """The rounding is passed as it is, the bound is not: (L - 1)/2 (1 - eps) (1 - tanh^2) / (L // 2)."""
    levels = (5, 8)
    z, slope = normal(3, 2, 2, 2).requires_grad_(), normal(3, 2, 2, 2, seed=1)
    (found,) = torch.autograd.grad((FiniteScalar(levels)(z).vectors * slope).sum(), z)
    expected = torch.empty_like(found)
    for i, count in enumerate(levels):
        half = (count - 1) / 2 * (1 - MARGIN)
        shift = math.tan(0.5 / half) if count % 2 == 0 else 0.0
        expected[:, i] = slope[:, i] * half * (1 - (z[:, i].detach() + shift).tanh() ** 2) / (count // 2)
    torch.testing.assert_close(found, expected)


# -- signs --------------------------------------------------------------------------------------------


def test_every_code_of_signs_comes_back() -> None:
    quantiser = LookupFree(512)
    assert quantiser.width == 9
    indices = torch.arange(512)[:, None, None]
    vectors = quantiser.lookup(indices)
    assert torch.equal(vectors.abs(), torch.ones(512, 9, 1, 1)) and len(vectors.flatten(1).unique(dim=0)) == 512
    q = quantiser(vectors * normal(512, 9, 1, 1).abs().clamp(min=1e-3))
    assert torch.equal(q.indices, indices)
    torch.testing.assert_close(q.vectors, vectors, rtol=0, atol=1e-6)
    by_hand = torch.tensor([0.3, -2.0, 0.0, 5.0]).view(1, 4, 1, 1)  # 0 counts as -1
    assert LookupFree(16)(by_hand).indices.item() == 0b1001


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_entropy_term_by_hand(temperature: float) -> None:
    """A softmax of -|z - c|^2 / tau over every corner, one vector at a time."""
    quantiser = LookupFree(8, beta=0.4, entropy=0.3, temperature=temperature)
    z = normal(2, 3, 2, 2).requires_grad_()
    corners = [[1.0 if k >> i & 1 else -1.0 for i in range(3)] for k in range(8)]
    each = []
    for v in z.detach().movedim(1, -1).reshape(-1, 3).tolist():
        weights = [math.exp(-sum((a - b) ** 2 for a, b in zip(v, c, strict=True)) / temperature) for c in corners]
        each.append([w / sum(weights) for w in weights])
    per_vector = -sum(p * math.log(p) for row in each for p in row) / len(each)
    mean = [sum(column) / len(each) for column in zip(*each, strict=True)]
    of_mean = -sum(p * math.log(p) for p in mean)
    found = quantiser.entropies(z.movedim(1, -1).flatten(0, -2))
    assert found[0].item() == pytest.approx(per_vector, rel=1e-4) and found[1].item() == pytest.approx(
        of_mean, rel=1e-4
    )
    assert 0 < per_vector < of_mean < math.log(8)
    commitment = (z - torch.where(z > 0, 1.0, -1.0)).square().mean().item()
    q = quantiser(z)
    assert q.loss.item() == pytest.approx(0.4 * commitment + 0.3 * (per_vector - of_mean), rel=1e-4)
    (through,) = torch.autograd.grad(q.vectors.sum(), z)
    assert torch.equal(through, torch.ones_like(z))


def test_the_entropy_term_is_least_for_sure_and_even_codes() -> None:
    quantiser = LookupFree(8)
    per_vector, of_mean = quantiser.entropies(5 * quantiser.corners)  # each corner once, and no doubt
    assert per_vector < 1e-6 and of_mean.item() == pytest.approx(math.log(8), rel=1e-5)
    per_vector, of_mean = quantiser.entropies(5 * quantiser.corners[:1].expand(8, 3))  # always the same
    assert abs(of_mean) < 1e-6
    per_vector, of_mean = quantiser.entropies(torch.zeros(4, 3))  # no idea
    assert per_vector.item() == pytest.approx(math.log(8), rel=1e-5) and torch.allclose(per_vector, of_mean)


def test_the_entropy_term_has_a_slope_where_probabilities_round_to_nought() -> None:
    quantiser = LookupFree(8)
    z = (1000 * quantiser.corners[:1].expand(4, 3)).clone().requires_grad_()
    per_vector, of_mean = quantiser.entropies(z)
    (slope,) = torch.autograd.grad(per_vector - of_mean, z)
    assert per_vector == 0 and abs(of_mean) < 1e-6 and slope.isfinite().all()


# -- the codebook's habits ----------------------------------------------------------------------------


def test_a_moving_codebook_by_hand() -> None:
    """Eqs. 6-8 of VQ-VAE: N <- g N + (1 - g) n, m <- g m + (1 - g) sum z, e = m / N."""
    quantiser = make_quantiser("codebook", 2, 1, ema=True)
    assert isinstance(quantiser, VectorQuantiser)
    with torch.no_grad():
        quantiser.codebook.copy_(torch.tensor([[-1.0], [1.0]]))
        quantiser.sums.copy_(quantiser.codebook)
    z = torch.tensor([-3.0, 2.0, 4.0]).view(3, 1, 1, 1)
    assert quantiser.update(z, quantiser(z).indices, Stream(0), first=True) == 0
    uses, sums = [0.99 + 0.01 * 1, 0.99 + 0.01 * 2], [-0.99 + 0.01 * -3, 0.99 + 0.01 * 6]
    torch.testing.assert_close(quantiser.uses, torch.tensor(uses))
    torch.testing.assert_close(quantiser.codebook[:, 0], torch.tensor([m / n for m, n in zip(sums, uses, strict=True)]))
    assert [n for n, _ in quantiser.named_parameters()] == []


@pytest.mark.parametrize("ema", [False, True])
def test_the_habits_of_a_codebook_are_apart(ema: bool) -> None:
    """k-means begins and only then; dead codes restart only where asked; a gradient's codebook is else left alone."""
    z = (torch.tensor([[5.0, 5.0], [-5.0, 5.0], [0.0, -5.0]]).repeat(20, 1) + 0.1 * normal(60, 2)).view(60, 2, 1, 1)

    def after(first: bool, **habits: float) -> tuple[VectorQuantiser, Tensor, int]:
        torch.manual_seed(0)
        quantiser = make_quantiser("codebook", 3, 2, ema=ema, **habits)
        assert isinstance(quantiser, VectorQuantiser)
        before = quantiser.codebook.detach().clone()
        if not (first and "kmeans" in habits):
            quantiser.uses[2] = 0.0
        return quantiser, before, quantiser.update(z, quantiser(z).indices.clamp(max=1), Stream(0), first=first)

    started, _, _ = after(True, kmeans=True)
    assert torch.cdist(z.flatten(1), started.codebook).amin(1).max() < 1  # every vector has a code near
    late, before, _ = after(False, kmeans=True)
    assert torch.equal(late.codebook[2], before[2])
    revived, before, moved = after(False, restart_dead=0.5)
    assert moved == 1 and (revived.codebook[2] == z.flatten(1)).all(1).any()
    left, before, moved = after(True)
    assert moved == 0 and torch.equal(left.codebook[2], before[2])
    assert torch.equal(left.codebook, before) == (not ema)


@pytest.mark.parametrize("ema", [False, True])
def test_a_training_that_starts_from_a_codebook_keeps_it(ema: bool) -> None:
    """k-means in its first round would leave the decoder with codes that it never saw."""
    z = normal(60, 2, 1, 1)
    before = make_quantiser("codebook", 3, 2, ema=ema, kmeans=True)
    for k in range(3):
        before.update(z, before(z).indices, Stream(k), first=k == 0)
    after = make_quantiser("codebook", 3, 2, ema=ema, kmeans=True)
    after.load_state_dict(before.state_dict())
    far = z + 50
    assert after.update(far, after(far).indices, Stream(0), first=True) == 0
    held = after.lookup(torch.arange(3)[:, None, None])
    assert (held - before.lookup(torch.arange(3)[:, None, None])).abs().max() < (25 if ema else 1e-6)  # not at 50
