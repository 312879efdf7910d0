"""GFP-GAN: the published network, by the authors' names and numbers, and the system that is trained here."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.cli import main
from zeuxis.degrade.language import parse_chain
from zeuxis.errors import Unsupported, UsageError, WeightsError
from zeuxis.game import System, Turn
from zeuxis.nn.gfpgan import FaceNet, channel_split
from zeuxis.pretrained.restorer_files import load_restorer_file
from zeuxis.pretrained.restorer_keys import is_restorer, read_public
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec

WIDTHS, CODE, MAPPING = (12, 12, 8, 4), 6, 2  # of a small published network, of 32 pixels a side


def public_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the authors' clean program (GFPGANv1Clean) at those sizes, half of whose widths its U-Net has."""
    half, found = [w // 2 for w in WIDTHS], {}

    def conv(name: str, inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> None:
        found[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        if bias:
            found[f"{name}.bias"] = (outputs,)

    def block(name: str, inputs: int, outputs: int) -> None:
        conv(f"{name}.conv1", inputs, inputs)
        conv(f"{name}.conv2", inputs, outputs)
        conv(f"{name}.skip", inputs, outputs, 1, bias=False)

    def modulated(name: str, inputs: int, outputs: int, kernel: int) -> None:
        found[f"{name}.modulated_conv.weight"] = (1, outputs, inputs, kernel, kernel)
        found[f"{name}.modulated_conv.modulation.weight"] = (inputs, CODE)
        found[f"{name}.modulated_conv.modulation.bias"] = (inputs,)
        found[f"{name}.bias"] = (1, outputs, 1, 1)

    conv("conv_body_first", 3, half[-1], 1)
    conv("final_conv", half[0], half[0])
    found |= {"final_linear.weight": (8 * CODE, 16 * half[0]), "final_linear.bias": (8 * CODE,)}
    top = len(WIDTHS) - 1
    for k in range(top):
        block(f"conv_body_down.{k}", half[top - k], half[top - k - 1])
        block(f"conv_body_up.{k}", half[k], half[k + 1])
        conv(f"toRGB.{k}", half[k + 1], 3, 1)
        for name in ("condition_scale", "condition_shift"):
            conv(f"{name}.{k}.0", half[k + 1], half[k + 1])
            conv(f"{name}.{k}.2", half[k + 1], half[k + 1])
    decoder = "stylegan_decoder"
    for k in range(MAPPING):
        found |= {
            f"{decoder}.style_mlp.{2 * k + 1}.weight": (CODE, CODE),
            f"{decoder}.style_mlp.{2 * k + 1}.bias": (CODE,),
        }
    found[f"{decoder}.constant_input.weight"] = (1, WIDTHS[0], 4, 4)
    ends = [(WIDTHS[0], WIDTHS[0], 4)]
    for k in range(top):
        ends += [(WIDTHS[k], WIDTHS[k + 1], 8 << k), (WIDTHS[k + 1], WIDTHS[k + 1], 8 << k)]
    for k, (inputs, outputs, side) in enumerate(ends):
        name = f"{decoder}.style_convs.{k - 1}" if k else f"{decoder}.style_conv1"
        modulated(name, inputs, outputs, 3)
        found |= {f"{name}.weight": (1,), f"{decoder}.noises.noise{k}": (1, 1, side, side)}
    for k, width in enumerate(WIDTHS):
        modulated(f"{decoder}.to_rgbs.{k - 1}" if k else f"{decoder}.to_rgb1", width, 3, 1)
    return found


def public_state() -> dict[str, Tensor]:
    """Such a checkpoint, of random numbers that its names decide."""
    found = {}
    for name, shape in public_shapes().items():
        drawn = Stream(0, name).normal(*shape)
        matrix = len(shape) > 1 and "noises" not in name and math.prod(shape[1:]) > 1
        found[name] = drawn / math.prod(shape[1:] if shape[0] > 1 else shape[2:]) ** 0.5 if matrix else 0.3 * drawn
        if name.endswith("modulation.bias"):
            found[name] += 1
    return found


# -- the published network -------------------------------------------------------------------------


def test_the_published_network_makes_what_the_authors_program_makes() -> None:
    """Numbers that the program made of these tensors, with the noise that lies among them."""
    network, kind = read_public({f"params_ema.{name}": value for name, value in public_state().items()}, "it")
    assert kind == "GFPGAN" and isinstance(network, FaceNet) and network.side == 32
    face = Stream(1).uniform(2, 3, 32, 32)
    wanted = [[-7.43976, -6.51224, -6.39952], [-2.63159, -2.90038, -2.60454], [-2.05771, -3.32215, -3.13748]]
    made = 2 * network(face) - 1
    torch.testing.assert_close(made[1, :, ::11, 5], torch.tensor(wanted), atol=1e-4, rtol=0)
    _, _, maps = network.removal(2 * face - 1)
    seen = network.removal.pictures(maps)[1][0, 0, :4, 3]
    torch.testing.assert_close(seen, torch.tensor([0.36103, 0.41938, 0.53115, 0.57467]), atol=1e-4, rtol=0)
    code = network.generator.codes(Stream(2).normal(1, CODE))[0]
    wanted_code = torch.tensor([-0.12372, 0.19995, -0.17345, -0.12014, 0.86199, -0.60772])
    torch.testing.assert_close(code, wanted_code, atol=1e-4, rtol=0)


def test_the_published_sizes_have_the_published_counts() -> None:
    with torch.device("meta"):
        network = FaceNet([512, 512, 512, 512, 512, 256, 128, 64])
    counts = [sum(p.numel() for p in part.parameters()) for part in (network, network.generator)]
    assert counts == [86_444_252, 30_276_583] and network.side == 512  # of versions 1.2, 1.3 and 1.4


def test_a_published_file_is_converted_and_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"params_ema": public_state()}, tmp_path / "GFPGANv1.4.pth")
    assert main(["convert", str(tmp_path / "GFPGANv1.4.pth")]) == 0
    assert "zeuxis restore PICTURE --model" in capsys.readouterr().out
    found = load_restorer_file(tmp_path / "GFPGANv1.4.safetensors")
    assert found.task == "face" and found.network.side == 32
    shapes = public_shapes()
    assert is_restorer(shapes)
    assert not is_restorer({name: shape for name, shape in shapes.items() if name != "toRGB.0.bias"})
    assert not is_restorer(shapes | {"condition_scale.0.2.weight": (12, 6, 3, 3)})  # which is not half of the channels
    with pytest.raises(WeightsError, match="compiled operations"):
        read_public({"stylegan_decoder.style_conv1.activate.bias": torch.zeros(4)}, "it")


# -- the system ------------------------------------------------------------------------------------

STYLE = {"nz": 4, "width": 6, "mapping": 1, "channel_base": 64, "channel_max": 8}
SMALL = {"judge_base": 64, "judge_max": 4, "gamma": 0.0}
SHAPE = Shape(3, 16, 16)


def prior(shape: Shape = SHAPE, **model: object) -> System:
    return build("stylegan2", DataSpec(shape), STYLE | model)


def restorer(**model: object) -> System:
    given = {"base": prior(), **SMALL, **model}
    return build("gfpgan", DataSpec(SHAPE, source_shape=SHAPE), given)


def turn(progress: float = 0.0) -> Turn:
    image, source = (Stream(k).uniform(2, *SHAPE) * 2 - 1 for k in (0, 1))
    return Turn(Batch(image, Condition(source=source)), Stream(2), 0, progress)


def test_half_of_the_channels_are_modulated() -> None:
    x, alpha, beta = Stream(0).normal(1, 5, 2, 2), torch.full((1, 2, 2, 2), 3.0), torch.ones(1, 2, 2, 2)
    changed = channel_split(x, (alpha, beta))
    assert torch.equal(changed[:, :3], x[:, :3])
    torch.testing.assert_close(changed[:, 3:], 3 * x[:, 3:] + 1)


def test_without_modulation_it_draws_what_the_given_generator_draws() -> None:
    found = restorer()
    network = found.network  # type: ignore[union-attr]
    with torch.no_grad():
        for row, value in ((network.alpha, 1.0), (network.beta, 0.0)):
            for two in row:
                two[2].weight.zero_()
                two[2].bias.fill_(value)
        source = turn().batch.condition.source
        made, _ = found.made_of(source, "constant")  # type: ignore[operator]
        codes, _, _ = network(source)
        wanted = found.base.generator.synthesis(codes, "constant")  # type: ignore[union-attr, operator]
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)
    assert not any(p.requires_grad for p in found.base.parameters())  # type: ignore[union-attr]


def test_levels_are_asked_for_pictures_at_first_alone() -> None:
    found = restorer(pyramid_until=0.5, pyramid=100.0)
    first, later = (found.restore(turn(progress)).item() for progress in (0.5, 0.6))  # type: ignore[operator]
    _, maps = found.made_of(turn().batch.condition.source, "none")  # type: ignore[operator]
    levels = found.levelled(maps, turn().batch.image).item()  # type: ignore[operator]
    assert len(maps) == 2 and first - later == pytest.approx(100 * levels, rel=1e-3)


def test_a_face_of_the_same_person_costs_no_identity() -> None:
    judge = build("identity", DataSpec(Shape(3, 8, 8), source_shape=Shape(3, 8, 8)), {"widths": (4,), "embedding": 4})
    found = restorer(identity=judge, pixel=0.0)
    image, other = (Stream(k).uniform(2, *SHAPE) for k in (0, 1))
    assert found.content(image, image) == 0  # type: ignore[operator]
    wanted = (judge.encode(pooled(image)) - judge.encode(pooled(other))).abs().mean()
    torch.testing.assert_close(found.content(image, other), 10 * wanted, atol=1e-4, rtol=1e-3)  # type: ignore[operator]


def pooled(image: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(image, (8, 8), mode="bilinear", antialias=True)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ({"base": "other size"}, UsageError, "draws pictures of 3x32x32"),
        ({"base": "no generator"}, Unsupported, "no generator of styles"),
        ({"pyramid_until": 2.0}, UsageError, "pyramid_until is 2.0"),
        ({"r1_every": 0}, UsageError, "r1_every is 1 or more"),
    ],
)
def test_what_cannot_be_steered_is_refused(model: dict[str, object], error: type[Exception], message: str) -> None:
    others = {"other size": prior(Shape(3, 32, 32)), "no generator": build("vae", DataSpec(SHAPE), {})}
    given = {key: others.get(str(value), value) for key, value in model.items()}
    with pytest.raises(error, match=message):
        restorer(**given)
    with pytest.raises(Unsupported, match="give it a source"):
        restorer().sample(Condition(), ImageRng.counting(0, 1))


def test_its_damage_is_of_random_strength_and_keeps_the_size() -> None:
    image = torch.nn.functional.interpolate(Stream(0).uniform(4, 3, 8, 8) * 2 - 1, (32, 32), mode="bicubic").clamp(
        -1, 1
    )
    made = parse_chain("blind-face")(image, ImageRng.counting(0, 4))
    error = (made - image).abs().mean((1, 2, 3))
    assert made.shape == image.shape and error.max() > 1.5 * error.min() > 0
    milder = parse_chain("blind-face:0.2")(image, ImageRng.counting(0, 4))
    assert (milder - image).abs().mean() < 0.5 * error.mean()
