"""Muon: orthogonal steps for matrices, AdamW's for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zeuxis.game import Player
from zeuxis.rng import Stream
from zeuxis.training.muon import Muon, orthogonal
from zeuxis.training.optimiser import OPTIMISERS, flat_state, restore_flat


@pytest.mark.parametrize("shape", [(8, 8), (5, 40), (40, 5), (3, 16, 24)])
def test_singular_values_become_about_one_and_directions_stay(shape: tuple[int, ...]) -> None:
    matrix = Stream(0).normal(*shape)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(100 * matrix)
    values = torch.linalg.svdvals(found)
    within = values[s / s.amax(-1, keepdim=True) > 0.05]
    assert within.min() > 0.5 and within.max() < 1.3
    along = u.mT @ found @ v.mT  # in the matrix's own directions it is diagonal
    torch.testing.assert_close(along, torch.diag_embed(along.diagonal(dim1=-2, dim2=-1)), rtol=0, atol=1e-4)
    assert (along.diagonal(dim1=-2, dim2=-1) > 0).all()


def test_what_is_no_matrix_is_moved_by_adamw() -> None:
    mine, theirs = (nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    muon = Muon([mine], 1e-2, (0.8, 0.99), weight_decay=0.1)
    adamw = torch.optim.AdamW([theirs], 1e-2, (0.8, 0.99), weight_decay=0.1)
    for k in range(6):
        gradient = Stream(k).normal(5)
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(mine, theirs)


def test_a_matrix_s_step_has_the_size_of_adamw_s() -> None:
    p = nn.Parameter(torch.zeros(64, 32, 3, 3))
    p.grad = Stream(0).normal(64, 32, 3, 3)
    Muon([p], 1e-2).step()
    assert float((p.detach() / 1e-2).square().mean().sqrt()) == pytest.approx(0.2, rel=0.25)


def test_it_learns_rare_directions_that_plain_gradients_neglect() -> None:
    """A linear map whose inputs differ a hundredfold in size is learnt in all directions."""
    scale = torch.logspace(0, -2, 16)
    wanted = Stream(0).normal(16, 16)
    errors = {}
    for kind in ("muon", "sgd"):
        net = nn.Linear(16, 16, bias=False)
        nn.init.zeros_(net.weight)
        optimiser = OPTIMISERS[kind](Player("net", (net,), lr=0.3, optimiser=kind))  # type: ignore[arg-type]
        for k in range(200):
            x = scale * Stream(k).normal(64, 16)
            loss = (net(x) - x @ wanted.T).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.param_groups[0]["lr"] = 0.3 * (1 - k / 200)
            optimiser.step()
        errors[kind] = float((net.weight - wanted)[:, -4:].square().mean().detach())  # the rarest four
    assert errors["muon"] < 0.2 * errors["sgd"]


def test_its_state_is_put_back_bit_for_bit() -> None:
    def net() -> nn.Sequential:
        made = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 3))
        for k, p in enumerate(made.parameters()):
            nn.init.zeros_(p).data.add_(Stream(k).normal(*p.shape))
        return made

    def steps(model: nn.Sequential, optimiser: torch.optim.Optimizer, of: range) -> None:
        for k in of:
            optimiser.zero_grad()
            model(Stream(k).normal(5, 2, 4, 4)).square().sum().backward()
            optimiser.step()

    whole, parts = net(), net()
    optimiser = OPTIMISERS["muon"](Player("net", (whole,), optimiser="muon"))
    steps(whole, optimiser, range(4))
    first = OPTIMISERS["muon"](Player("net", (parts,), optimiser="muon"))
    steps(parts, first, range(2))
    second = OPTIMISERS["muon"](Player("net", (parts,), optimiser="muon"))
    restore_flat(second, {name: t.clone() for name, t in flat_state(first).items()})
    steps(parts, second, range(2, 4))
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)


def test_its_memory_is_known_without_having_it() -> None:
    """A dry run counts the optimiser's state on the meta device: a matrix has one number more, the rest two."""
    with torch.device("meta"):
        net = nn.Linear(5, 7)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimiser = OPTIMISERS["muon"](Player("net", (net,), optimiser="muon"))
    optimiser.step()
    assert sum(t.numel() for t in flat_state(optimiser).values()) == 35 + 2 * 7 + 1
