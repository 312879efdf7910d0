"""What is spared in a training step: the same numbers with less work."""

from __future__ import annotations

import ctypes
import platform
import resource
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from zeuxis.batch import Batch, Shape
from zeuxis.game import Turn, only_moves
from zeuxis.metrics.frechet import Moments
from zeuxis.nn.point import FromPoint, ToPoint
from zeuxis.nn.shared_pass import shared_pass
from zeuxis.rng import Stream
from zeuxis.systems.adversarial.dcgan import DCGAN
from zeuxis.systems.autoencoder.vae_gan import VAEGAN
from zeuxis.training.memory import kept
from zeuxis.training.step import total_norm


def judge() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(16, 1))


@pytest.mark.parametrize("keep", [True, False])
def test_a_shared_pass_gives_each_move_the_gradient_that_two_passes_give(keep: bool) -> None:
    net, x = judge(), Stream(0).normal(6, 1, 4, 4).requires_grad_()
    through = torch.autograd.grad(net(x).sigmoid().sum(), x)[0]
    own = torch.autograd.grad(net(x.detach()).square().sum(), list(net.parameters()))

    net.requires_grad_(False)  # as while another player moves
    out, again = shared_pass(net, x, keep=keep)
    assert not any(p.requires_grad for p in net.parameters())
    out.sigmoid().sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, through)
    assert all(p.grad is None for p in net.parameters())

    net.requires_grad_(True)
    again().square().sum().backward()
    for p, wanted in zip(net.parameters(), own, strict=True):
        torch.testing.assert_close(p.grad, wanted)


def test_a_shared_pass_is_one_pass_unless_the_batch_is_in_parts() -> None:
    passes: list[int] = []
    system = DCGAN(Shape(1, 8, 8), nz=4, ngf=4, ndf=4)
    system.discriminator.register_forward_hook(lambda *_: passes.append(1))

    def moves(turns: list[Turn]) -> int:
        passes.clear()
        for turn in turns:
            turn.linked = turns if len(turns) > 1 else ()
        for move in system.moves():
            for turn in turns:
                loss = move.loss(turn)
                assert loss is not None
                loss.backward()
        return len(passes)

    batch = Batch(Stream(1).normal(8, 1, 8, 8))
    assert moves([Turn(batch, Stream(0), 0, 0.0)]) == 2  # fake and real
    assert moves([Turn(batch[slice(k, k + 4)], Stream(0), 0, 0.0) for k in (0, 4)]) == 6  # two parts, three each


def test_dcgan_gradients_are_those_of_separate_passes() -> None:
    torch.manual_seed(0)
    system, real = DCGAN(Shape(1, 8, 8), nz=4, ngf=4, ndf=4), Stream(1).normal(8, 1, 8, 8)
    players = system.players()
    turn = Turn(Batch(real), Stream(0), 0, 0.0)
    for player, move in zip(players, system.moves(), strict=True):
        player.parameters()
        with only_moves(player, players):
            loss = move.loss(turn)
            assert loss is not None
            loss.backward()
    found = [p.grad for p in system.parameters()]

    fake = system.generator(Stream(0).normal(8, 4))
    logit = system.discriminator(fake)
    wanted = list(torch.autograd.grad(nn.functional.softplus(-logit).mean(), list(system.generator.parameters())))
    critic = nn.functional.softplus(-system.discriminator(real)).mean()
    critic = critic + nn.functional.softplus(system.discriminator(fake.detach())).mean()
    wanted += torch.autograd.grad(critic, list(system.discriminator.parameters()))
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [True, False])
def test_products_at_one_pixel_are_the_convolutions(layout: torch.memory_format, bias: bool) -> None:
    up, down = FromPoint(3, 5, 4, bias=bias), ToPoint(5, 2, 4, bias=bias)
    z, x = Stream(0).normal(6, 3), Stream(1).normal(6, 5, 4, 4).contiguous(memory_format=layout)

    def both(module: nn.Module, out: Tensor) -> list[Tensor]:
        return [out, *torch.autograd.grad(out.square().sum(), list(module.parameters()))]

    for module in (up, down):
        module.to(memory_format=layout)  # type: ignore[call-overload]
    pairs = (
        (both(up, up(z)), both(up, conv_transpose2d(z[:, :, None, None], up.weight, up.bias))),
        (both(down, down(x)), both(down, conv2d(x, down.weight, down.bias).flatten(1))),
    )
    for found, wanted in pairs:
        for one, two in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory")
def test_memory_that_is_freed_stays_until_the_training_ends() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    ctypes.CDLL(None).malloc_trim(0)  # what lay free before would be taken first
    size = 24 << 20  # bytes
    with kept("cpu"):
        block = torch.ones(size // 4)
        held = resident()
        del block
        assert resident() > held - size // 8
    assert resident() < held - 7 * size // 8
    with kept("cpu"):
        with kept("cpu"):  # gives nothing back: that is the outer's
            pass
        blocks = [torch.ones(size // 4) for _ in range(4)]  # more than glibc itself lets lie free
        held = resident()
        del blocks
        assert resident() > held - size


def test_vae_gan_gradients_are_those_of_separate_passes() -> None:
    """``keep`` off is what a batch in parts has: every pass by itself."""

    def gradients(*, parts: bool) -> list[Tensor]:
        torch.manual_seed(0)
        system = VAEGAN(Shape(1, 16, 16), latent=4, widths=(4, 8), hidden=8, ndf=4)
        turn = Turn(Batch(Stream(1).normal(6, 1, 16, 16)), Stream(0), 0, 0.0)
        turn.linked = [turn] if parts else ()
        found: list[Tensor] = []
        players = system.players()
        for player, move in zip(players, system.moves(), strict=True):
            player.parameters()
            with only_moves(player, players):
                loss = move.loss(turn)
                assert loss is not None
                loss.backward(inputs=player.parameters())
            found += [loss.detach(), *(p.grad for p in player.parameters() if p.grad is not None)]
        return found

    for one, two in zip(gradients(parts=False), gradients(parts=True), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_moments_far_from_zero_lose_no_digits() -> None:
    features = 1000 + Stream(0).normal(1500, 70) @ Stream(1).normal(70, 70)  # three blocks of rows, the last one short
    found = Moments.of(features)
    torch.testing.assert_close(found.mean, features.double().mean(0), rtol=1e-13, atol=0)
    torch.testing.assert_close(found.covariance, torch.cov(features.double().T), rtol=1e-11, atol=1e-10)


def test_the_norm_of_gradients_is_torchs() -> None:
    gradients = [Stream(k).normal(3 + k, 5) for k in range(4)]
    assert torch.equal(total_norm(gradients), torch.nn.utils.get_total_norm(gradients))
    assert total_norm([]) == 0
