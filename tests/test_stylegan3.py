"""What is particular to StyleGAN3: filters, bands, moved and turned input, and how equivariance is measured.

That its networks are the public ones: ``test_style_files.py``, on files as the public program writes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from scipy import signal, special
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu, pad

from zeuxis.batch import Batch, Shape
from zeuxis.catalog.build import build
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import System, Turn
from zeuxis.metrics.equivariance import EQUIVARIANCES, Draw, bandlimit, equivariance, moved, rotations, turned
from zeuxis.nn.fourier import FourierInput
from zeuxis.nn.lowpass import blurred, filtered_leaky_relu, jinc, kaiser
from zeuxis.nn.stylegan3 import bands
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec

SMALL = {"nz": 8, "width": 8, "depth": 4, "channel_base": 128, "channel_max": 12, "judge_base": 64, "judge_max": 8}


def built(name: str, side: int = 32, **options: object) -> System:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(name, DataSpec(Shape(1, side, side)), options)


# -- filters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "cutoff", "half_width", "rate"), [(12, 2.0, 6.0, 32), (24, 5.3, 2.7, 128), (12, 8, 30, 64)]
)
def test_filters_are_kaiser_s(n: int, cutoff: float, half_width: float, rate: int) -> None:
    wanted = signal.firwin(n, cutoff, width=2 * half_width, fs=rate)
    torch.testing.assert_close(torch.tensor(kaiser(n, cutoff, half_width, rate)), torch.tensor(wanted).float())
    square = torch.tensor(jinc(n, cutoff, half_width, rate), dtype=torch.float64)
    x = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / rate
    r = torch.hypot(x[:, None], x).numpy()
    window = torch.from_numpy(
        signal.windows.kaiser(n, signal.kaiser_beta(signal.kaiser_atten(n, 4 * half_width / rate)))
    )
    ideal = torch.from_numpy(special.j1(2 * math.pi * cutoff * r) / r) * torch.outer(window, window)
    torch.testing.assert_close(square, ideal / ideal.sum())
    for other in (square.T, square.flip(0), square.rot90()):
        torch.testing.assert_close(square, other)
    assert kaiser(1, cutoff, half_width, rate) == (1.0,)


def test_the_leaky_relu_between_filters_is_its_steps() -> None:
    rng = Stream(0)
    x, bias = rng.normal(2, 3, 9, 9), rng.normal(3)
    up, round_filter = kaiser(12, 2.0, 2.0, 32), jinc(12, 2.0, 2.0, 32)

    def filtered(y: Tensor, taps: Sequence[object]) -> Tensor:
        kernel = torch.tensor(taps)
        kernel = torch.outer(kernel, kernel) if kernel.ndim == 1 else kernel
        return conv2d(y, kernel.expand(3, 1, *kernel.shape), groups=3)

    wide = torch.zeros(2, 3, 18, 18)
    wide[:, :, ::2, ::2] = x + bias[:, None, None]
    for down in (up, round_filter):
        found = filtered_leaky_relu(x, bias, up, down, up=2, down=2, padding=(9, 10), gain=1.5, slope=0.2, clamp=1.0)
        inner = (leaky_relu(filtered(pad(wide, (9, 10) * 2), up) * 4, 0.2) * 1.5).clamp(-1, 1)
        torch.testing.assert_close(found, filtered(inner, down)[:, :, ::2, ::2], rtol=1e-4, atol=1e-5)


def test_the_bands_are_those_published() -> None:
    plan = bands(1024, 3, 14, 2, 32768, 512)
    sizes = "36 36 52 52 84 148 148 276 276 532 1044 1044 1044 1024 1024"
    assert [b.size for b in plan] == list(map(int, sizes.split()))
    assert [b.channels for b in plan] == [512, 512, 512, 512, 512, 512, 512, 323, 203, 128, 81, 51, 32, 32, 3]
    assert plan[0].cutoff == 2 and plan[-1].cutoff == 512 and all(b.half_width > 0 for b in plan[:-3])
    with pytest.raises(UsageError, match=r"2 layers cannot hold 2 critical ones"):
        built("stylegan3-t", depth=2)


# -- the input ----------------------------------------------------------------------------------------


def test_waves_are_moved_and_turned_as_they_are_asked() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        waves = FourierInput(6, 36, 16, 2.0, None)
    code = torch.zeros(1, 1)
    plain = waves(code)
    assert (waves.frequencies.norm(dim=1) <= 2).all()
    right = torch.eye(3)
    right[0, 2] = -3 / 16  # three samples to the right
    torch.testing.assert_close(waves(code, right)[..., 3:], plain[..., :-3], rtol=1e-4, atol=1e-4)
    quarter = waves(code, rotations(torch.tensor([-math.pi / 2])))
    torch.testing.assert_close(quarter, plain.rot90(1, (2, 3)), rtol=1e-4, atol=1e-4)


def test_what_becomes_too_fast_fades_out() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        waves = FourierInput(6, 36, 16, 2.0, None)
    smaller = torch.diag(torch.tensor([20.0, 20.0, 1.0]))  # a twentieth of the size: frequencies of up to 40
    waves.frequencies.copy_(torch.full((6, 2), 1.0))
    assert torch.equal(waves(torch.zeros(1, 1), smaller), torch.zeros(1, 6, 36, 36))


def test_the_learnt_transformation_follows_the_code() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        waves = FourierInput(6, 36, 16, 2.0, 4)
    codes = Stream(0).normal(3, 4)
    torch.testing.assert_close(waves.placed(codes), torch.eye(3).expand(3, 3, 3))  # at first the identity
    assert waves.affine is not None
    with torch.no_grad():
        waves.affine.weight.normal_(generator=torch.Generator().manual_seed(0))
    matrix = waves.placed(codes).detach()
    torch.testing.assert_close(matrix[:, :2, :2].det(), torch.ones(3))  # a rotation, whatever is told
    assert not torch.equal(matrix[0], matrix[1])


# -- equivariance -------------------------------------------------------------------------------------


def waves_of(codes: Tensor, transform: Tensor | None, side: int = 48) -> Tensor:
    """Low waves, known everywhere: a generator that is exactly equivariant. Codes are frequencies and phases."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
    points = torch.stack([at.expand(side, side), at[:, None].expand(side, side), torch.ones(side, side).double()], -1)
    eye = torch.eye(3).double().expand(len(codes), 3, 3)
    from_where = torch.einsum("bij,hwj->bhwi", eye if transform is None else transform.double(), points)
    x, y, phase = codes.double().unbind(1)
    angle = from_where[..., 0] * x[:, None, None] + from_where[..., 1] * y[:, None, None] + phase[:, None, None]
    return (2 * math.pi * angle).sin()[:, None].float()


def deaf(codes: Tensor, transform: Tensor | None) -> Tensor:
    """A generator whose pictures stay where they are."""
    return waves_of(codes, None)


CODES = 3 * (2 * Stream(8).uniform(10, 3) - 1)


@pytest.mark.parametrize(("name", "least"), [("eq-t", 100), ("eq-t-frac", 50), ("eq-r", 50)])
def test_an_equivariant_generator_is_told_from_one_that_is_not(name: str, least: float) -> None:
    def measured(draw: Draw) -> float:
        return equivariance(name, draw, CODES, Stream(1))

    assert measured(waves_of) > least
    assert measured(deaf) < 15
    wrong_way = measured(lambda codes, t: waves_of(codes, None if t is None else torch.linalg.inv(t)))
    assert wrong_way < 15


def test_the_figure_is_the_ratio_over_the_known_pixels() -> None:
    """By hand, for pictures that do not move."""
    rng = Stream(1)
    moves = ((2 * rng.uniform(2, 2).double() - 1) * 0.125 * 48).round().long()
    plain, error, known = waves_of(CODES[:2], None).double()[:, 0], 0.0, 0
    for picture, (x, y) in zip(plain, moves.tolist(), strict=True):
        for row in range(48):
            for column in range(48):
                if 0 <= row - y < 48 and 0 <= column - x < 48:
                    error += float((picture[row, column] - picture[row - y, column - x]) ** 2)
                    known += 1
    wanted = 10 * math.log10(4 / (error / known))
    assert equivariance("eq-t", deaf, CODES[:2], Stream(1)) == pytest.approx(wanted, abs=1e-4)


def test_a_quarter_turn_and_whole_pixels_lose_nothing() -> None:
    low = waves_of(CODES[:1], None)
    ((picture, mask),) = turned(low, torch.tensor([math.pi / 2], dtype=torch.float64))
    torch.testing.assert_close(picture * mask, (low.rot90(1, (2, 3))[0]) * mask, rtol=0, atol=0.02)
    assert mask.sum() > 1000
    ((picture, mask),) = moved(low, torch.tensor([[5 / 48, -2 / 48]], dtype=torch.float64))
    assert torch.equal(picture[:, :-2, 5:], low[0, :, 2:, :-5]) and int(mask.sum()) == 46 * 43
    assert bandlimit(0.4, 1).sum() == pytest.approx(1) and bandlimit(0.4, 4).sum() == pytest.approx(16)


def test_what_cannot_be_measured_is_said() -> None:
    proofs = built("stylegan2", **{"nz": 8, "width": 8, "channel_base": 64, "channel_max": 8}).proofs()
    assert tuple(proofs) == EQUIVARIANCES
    with pytest.raises(Unsupported, match="input_maps 'fourier'"):
        proofs["eq-t"].measure(2, Stream(0))
    with pytest.raises(Unsupported, match="12 pixels a side"):
        equivariance("eq-r", lambda codes, t: waves_of(codes, t, 12), CODES, Stream(0))
    with pytest.raises(UsageError, match="input_maps"):
        built("stylegan2", input_maps="waves")


@torch.no_grad()
def settled(name: str, **options: object) -> System:
    """A generator of random weights whose layers know their magnitudes."""
    system = built(name, **(SMALL | options)).eval()
    codes = system.styles(Stream(0).normal(4, 8))  # type: ignore[operator]
    for _ in range(6):
        synthesis = system.generator.synthesis  # type: ignore[union-attr]
        synthesis.follow(synthesis.measured(codes)[1], 0.0)  # type: ignore[operator,union-attr]
    return system


def test_generators_move_and_turn_as_their_paper_says() -> None:
    """Before they have learnt anything: what they can keep is built in."""
    options = {"nz": 8, "width": 8, "channel_base": 128, "channel_max": 12, "input_maps": "fourier"}
    systems = {
        "two": built("stylegan2", **options).eval(),
        "t": settled("stylegan3-t"),
        "r": settled("stylegan3-r"),
    }
    with torch.no_grad():
        found = {
            (who, name): system.proofs()[name].measure(3, Stream(0))
            for who, system in systems.items()
            for name in EQUIVARIANCES
        }
    assert found["t", "eq-t"] > 60 and found["r", "eq-t"] > 60 and found["two", "eq-t"] < 30
    assert found["t", "eq-t-frac"] > 45 and found["r", "eq-t-frac"] > 45 and found["two", "eq-t-frac"] < 30
    assert found["r", "eq-r"] > max(45, found["t", "eq-r"] + 15) and found["two", "eq-r"] < 25


# -- the game -----------------------------------------------------------------------------------------


def test_magnitudes_follow_the_round_however_it_was_cut() -> None:
    game = built("stylegan3-t", **SMALL, half_life=3.0)
    parts = [Turn(Batch(torch.zeros(n, 1, 32, 32)), Stream(0), 0, 0.0) for n in (1, 2)]
    for k, part in enumerate(parts):
        part.linked = parts
        part.memo = {"code": torch.zeros(len(part.batch), 8), "squares": torch.full((len(part.batch), 5), 3.0 * k)}
    game.after_round(parts[-1])
    magnitude = [float(value) for name, value in game.state_dict().items() if name.endswith("magnitude")]
    assert magnitude == [pytest.approx(0.5 * 1 + 0.5 * 2)] * 5  # three pictures: half of what was known is left
    turn = Turn(Batch(torch.zeros(4, 1, 32, 32)), Stream(0), 0, 0.0)
    game.generate(turn)  # type: ignore[operator]
    assert turn.memo["squares"].shape == (4, 5)
    first = game.state_dict()["generator.synthesis.convolutions.0.magnitude"]
    assert float(first) == pytest.approx(1.5)  # not before the round is over


def test_the_size_of_what_a_layer_is_given_is_divided_out() -> None:
    system = settled("stylegan3-t")
    layer = system.get_submodule("generator.synthesis.convolutions.1")
    x, code = Stream(0).normal(2, layer.affine.weight.shape[0], 36, 36), Stream(1).normal(2, 8)  # type: ignore
    with torch.no_grad():
        layer.magnitude.fill_(1.0)  # type: ignore[operator,union-attr]
        one = layer(x, code)
        layer.magnitude.fill_(10_000.0)  # type: ignore[operator,union-attr]
        torch.testing.assert_close(layer(100 * x, code), one, rtol=1e-4, atol=1e-5)


def test_the_blur_of_the_beginning_fades() -> None:
    game, image = built("stylegan3-r", **SMALL, blur=2.0, fade=10), Stream(0).normal(2, 1, 32, 32)
    shown = [
        game.shown(image, Turn(Batch(image), Stream(0), k, 0.0))  # type: ignore[operator]
        for k in (0, 5, 9, 10, 999)
    ]
    rough = [float(x.diff(dim=3).abs().mean()) for x in shown]
    assert rough[0] < 0.3 * rough[1] < rough[2] and torch.equal(shown[3], image) and torch.equal(shown[4], image)
    x = torch.arange(-6, 7).double()
    line = 2 ** -((x / 2) ** 2)
    wanted = torch.outer(line, line) / line.sum() ** 2
    dot = torch.zeros(1, 1, 15, 15)
    dot[..., 7, 7] = 1
    torch.testing.assert_close(blurred(dot, 2.0)[0, 0, 1:-1, 1:-1], wanted.float())
    assert blurred(image, 0.3) is image
    with pytest.raises(UsageError, match="fade is 0"):
        built("stylegan3-r", **SMALL, fade=0)
    with pytest.raises(UsageError, match="blur is -1"):
        built("stylegan3-r", **SMALL, blur=-1.0)


def test_only_the_discriminator_is_corrected_for_its_penalty() -> None:
    generator, discriminator = built("stylegan3-t", **SMALL).players()
    assert (generator.lr, generator.betas) == (2.5e-3, (0.0, 0.99))
    assert discriminator.lr == pytest.approx(2e-3 * 16 / 17) and discriminator.betas[1] == pytest.approx(
        0.99 ** (16 / 17)
    )
