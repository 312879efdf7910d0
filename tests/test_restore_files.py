"""Published restoration checkpoints: the architecture is read off names and shapes, and what is unknown is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle, prelu, relu

from zeuxis.errors import UsageError, WeightsError, ZeuxisError
from zeuxis.nn.rrdb import RRDBNet
from zeuxis.pretrained.kind import unwrapped
from zeuxis.pretrained.restorer_files import holds_restorer, load_restorer_file, look_of
from zeuxis.pretrained.restorer_keys import is_restorer, read_public

Layers = dict[str, tuple[int, int]]  # name -> inputs and outputs of a 3x3 convolution


def tensors(layers: Layers, slopes: Mapping[str, int] = {}) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    found = {}
    for name, (inputs, outputs) in layers.items():
        found[f"{name}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=rng) * 0.2
        found[f"{name}.bias"] = torch.randn(outputs, generator=rng) * 0.2
    for name, width in slopes.items():
        found[f"{name}.weight"] = torch.rand(width, generator=rng)
    return found


def dense(pattern: str, blocks: int, width: int, growth: int) -> Layers:
    return {
        pattern.format(b, r, k): (width + (k - 1) * growth, growth if k < 5 else width)
        for b in range(blocks)
        for r in (1, 2, 3)
        for k in range(1, 6)
    }


W, G = 6, 4
NEW = dense("body.{}.rdb{}.conv{}", 2, W, G) | {
    "conv_first": (3, W), "conv_body": (W, W), "conv_up1": (W, W), "conv_up2": (W, W), "conv_hr": (W, W),
    "conv_last": (W, 3),
}  # fmt: skip
PLAIN = dense("RRDB_trunk.{}.RDB{}.conv{}", 2, W, G) | {
    "conv_first": (3, W), "trunk_conv": (W, W), "upconv1": (W, W), "upconv2": (W, W), "HRconv": (W, W),
    "conv_last": (W, 3),
}  # fmt: skip
OLD = dense("model.1.sub.{}.RDB{}.conv{}.0", 2, W, G) | {
    "model.0": (3, W), "model.1.sub.2": (W, W), "model.3": (W, W), "model.6": (W, W), "model.8": (W, W),
    "model.10": (W, 3),
}  # fmt: skip
OLD_2 = {k: v for k, v in OLD.items() if k not in ("model.6", "model.8", "model.10")} | {
    "model.5": (W, W), "model.7": (W, 3)
}  # fmt: skip
SR_4 = {f"body.{k}.conv{j}": (W, W) for k in range(3) for j in (1, 2)} | {
    "conv_first": (3, W), "upconv1": (W, 4 * W), "upconv2": (W, 4 * W), "conv_hr": (W, W), "conv_last": (W, 3)
}  # fmt: skip
SR_3 = {k: v for k, v in SR_4.items() if k != "upconv2"} | {"upconv1": (W, 9 * W)}
COMPACT = {"body.0": (3, W), "body.2": (W, W), "body.4": (W, 3 * 16)}
DNCNN = {"model.0": (1, W)} | {f"model.{2 * k}": (W, W) for k in range(1, 16)} | {"model.32": (W, 1)}


def by_hand(t: Mapping[str, Tensor], x: Tensor, kind: str) -> Tensor:
    """What the authors' programs compute, written down once more, straight from their names."""

    def conv(name: str, h: Tensor, slope: float | None = None) -> Tensor:
        made = conv2d(h, t[f"{name}.weight"], t[f"{name}.bias"], padding=1)
        return made if slope is None else leaky_relu(made, slope)

    match kind:
        case "sr":
            h = conv("conv_first", x, 0.1)
            for k in range(3):
                h = h + conv(f"body.{k}.conv2", relu(conv(f"body.{k}.conv1", h)))
            scale = 1
            for name in ("upconv1", "upconv2"):
                if f"{name}.weight" in t:
                    step = 3 if len(t[f"{name}.weight"]) == 9 * W else 2
                    h, scale = leaky_relu(pixel_shuffle(conv(name, h), step), 0.1), scale * step
            large = interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
            return conv("conv_last", conv("conv_hr", h, 0.1)) + large
        case "compact":
            h = x
            for k in (0, 2):
                h = prelu(conv(f"body.{k}", h), t[f"body.{k + 1}.weight"])
            return pixel_shuffle(conv("body.4", h), 4) + interpolate(x, scale_factor=4)
        case "dncnn":
            h = x
            for k in range(16):
                h = relu(conv(f"model.{2 * k}", h))
            return x - conv("model.32", h)
        case _:
            spelling = {
                "new": ("conv_first", "body.{}.rdb{}.conv{}", "conv_body", ("conv_up1", "conv_up2"), "conv_hr"),
                "plain": ("conv_first", "RRDB_trunk.{}.RDB{}.conv{}", "trunk_conv", ("upconv1", "upconv2"), "HRconv"),
                "old": ("model.0", "model.1.sub.{}.RDB{}.conv{}.0", "model.1.sub.2", ("model.3", "model.6"), "model.8"),
                "old2": ("model.0", "model.1.sub.{}.RDB{}.conv{}.0", "model.1.sub.2", ("model.3",), "model.5"),
            }
            first, block, trunk, ups, fine = spelling[kind]
            last = {"old": "model.10", "old2": "model.7"}.get(kind, "conv_last")
            h = begun = conv(first, x)
            for b in range(2):
                outer = h
                for r in (1, 2, 3):
                    seen = [h]
                    for k in range(1, 5):
                        seen.append(conv(block.format(b, r, k), torch.cat(seen, 1), 0.2))
                    h = h + 0.2 * conv(block.format(b, r, 5), torch.cat(seen, 1))
                h = outer + 0.2 * h
            h = begun + conv(trunk, h)
            for up in ups:
                h = conv(up, interpolate(h, scale_factor=2), 0.2)
            return conv(last, conv(fine, h, 0.2))


CASES = {
    "new": (tensors(NEW), "new", "ESRGAN", 4),
    "plain": (tensors(PLAIN), "plain", "ESRGAN (plain names)", 4),
    "old": (tensors(OLD), "old", "ESRGAN (old names)", 4),
    "old, twice": (tensors(OLD_2), "old2", "ESRGAN (old names)", 2),
    "real": ({f"params_ema.{k}": v for k, v in tensors(NEW).items()}, "new", "ESRGAN", 4),
    "both": (
        {f"{p}.{k}": v * (p == "params_ema") for p in ("params", "params_ema") for k, v in tensors(NEW).items()},
        "new",
        "ESRGAN",
        4,
    ),
    "sr": (tensors(SR_4), "sr", "SRResNet", 4),
    "sr, by 3": (tensors(SR_3), "sr", "SRResNet", 3),
    "compact": (tensors(COMPACT, {"body.1": W, "body.3": W}), "compact", "Real-ESRGAN compact", 4),
    "parallel, params": ({f"module.params.{k}": v for k, v in tensors(NEW).items()}, "new", "ESRGAN", 4),
    "a game": (
        {f"{p}.{k}": v * (p == "netG") for p in ("netG", "netD") for k, v in tensors(NEW).items()},
        "new",
        "ESRGAN",
        4,
    ),
    "dncnn": ({f"module.{k}": v for k, v in tensors(DNCNN).items()}, "dncnn", "DnCNN", 1),
}


@pytest.mark.parametrize("name", CASES)
def test_every_spelling_is_read_and_computes_what_its_program_does(name: str) -> None:
    file, kind, called, scale = CASES[name]
    network, found = read_public(file, "the file")
    assert (found, network.scale) == (called, scale) and is_restorer(shapes_of(file))
    place, keys = unwrapped(file)
    inside = {key.removeprefix(place): file[key] for key in keys}
    x = torch.rand(1, network.channels, 7, 10, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(x), by_hand(inside, x, kind), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scale", "inputs"), [(2, 12), (1, 48)])
def test_real_esrgans_smaller_scales_put_pixels_together_first(scale: int, inputs: int) -> None:
    file = tensors(NEW | {"conv_first": (inputs, W)})
    network, _ = read_public(file, "the file")
    assert isinstance(network, RRDBNet) and network.scale == scale
    x = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    wanted = by_hand(file, pixel_unshuffle(x, 4 // scale), "new")
    torch.testing.assert_close(network(x), wanted, rtol=1e-5, atol=1e-5)
    odd = network(x[..., :5, :7])  # no multiple
    assert odd.shape == (1, 3, 5 * scale, 7 * scale)


def test_the_counts_of_the_published_sizes() -> None:
    with torch.device("meta"):
        full = {"new": tensors_of_shape(dense("body.{}.rdb{}.conv{}", 23, 64, 32) | {
            "conv_first": (3, 64), "conv_body": (64, 64), "conv_up1": (64, 64), "conv_up2": (64, 64),
            "conv_hr": (64, 64), "conv_last": (64, 3)}),
            "sr": tensors_of_shape({f"body.{k}.conv{j}": (64, 64) for k in range(16) for j in (1, 2)} | {
            "conv_first": (3, 64), "upconv1": (64, 256), "upconv2": (64, 256), "conv_hr": (64, 64),
            "conv_last": (64, 3)}),
            "dncnn": tensors_of_shape({"model.0": (1, 64), "model.32": (64, 1)} | {
            f"model.{2 * k}": (64, 64) for k in range(1, 16)})}  # fmt: skip
    counts = {"new": 16_697_987, "sr": 1_517_571, "dncnn": 555_137}
    for name, file in full.items():
        network, _ = read_public(file, name)
        assert sum(value.numel() for value in network.parameters()) == counts[name]


def shapes_of(file: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in file.items()}


def tensors_of_shape(layers: Layers) -> dict[str, Tensor]:
    found = {f"{name}.weight": torch.empty(outputs, inputs, 3, 3) for name, (inputs, outputs) in layers.items()}
    return found | {f"{name}.bias": torch.empty(outputs) for name, (_, outputs) in layers.items()}


ODD: dict[str, tuple[dict[str, Tensor], str]] = {
    "nothing": ({}, "it has 0 tensors"),
    "a classifier": ({"fc.weight": torch.zeros(10, 4)}, "1 tensors, fc.weight 10x4 first"),
    "SwinIR": ({"layers.0.residual_group.blocks.0.norm1.weight": torch.zeros(4)}, "it looks like SwinIR"),
    "GFPGAN": ({"params_ema.stylegan_decoder.style_mlp.1.weight": torch.zeros(4, 4)}, "it looks like GFPGAN"),
    "FFDNet": (tensors(DNCNN | {"model.0": (5, W), "model.32": (W, 4)}), "it looks like FFDNet"),
    "IRCNN": (tensors({f"model.{2 * k}": (W if k else 1, W if k < 6 else 1) for k in range(7)}), "it looks like IRCNN"),
    "EDSR": (tensors(SR_4 | {"conv_after_body": (W, W)}), "also holds conv_after_body.bias.*it looks like EDSR"),
    "one missing": (
        {k: v for k, v in tensors(NEW).items() if k != "body.1.rdb3.conv5.bias"},
        "lacks body.1.rdb3.conv5",
    ),
    "another shape": (tensors(NEW | {"conv_hr": (W, W + 1)}), "conv_hr.weight has the shape"),
    "a row cut": (tensors({k: v for k, v in OLD.items() if k != "model.6"}), "no ESRGAN that is known"),
    "no first": (tensors({k: v for k, v in NEW.items() if k != "conv_first"}), "no convolution conv_first"),
    "empty layers": (tensors(NEW | {"conv_first": (3, 0)}), "no convolution conv_first"),
    "a long number": (tensors({"body.0": (3, W), f"body.{'9' * 5000}": (W, W)}), "last layer makes|lacks"),
    "leaky": (tensors(COMPACT), "lacks body.1.weight"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_known_is_answered_with_what_it_looks_like(name: str) -> None:
    file, words = ODD[name]
    with pytest.raises(WeightsError, match=words) as found:
        read_public(file, "the file")
    assert "\n" not in str(found.value)
    assert not is_restorer(shapes_of(file))  # so that nobody is sent to restore with it


def test_files_are_safetensors_and_pickles_are_sent_to_convert(tmp_path: Path) -> None:
    save_file({f"params.{k}": v.half() for k, v in tensors(SR_4).items()}, tmp_path / "sr.safetensors")
    found = load_restorer_file(tmp_path / "sr.safetensors")
    assert found.task == "enlarge:4" and len(found.sha256) == 64 and holds_restorer(tmp_path / "sr.safetensors")
    assert all(value.dtype == torch.float32 for value in found.network.parameters())
    save_file(tensors(DNCNN), tmp_path / "dn.safetensors")
    assert load_restorer_file(tmp_path / "dn.safetensors").task == "denoise"
    (tmp_path / "sr.pth").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(UsageError, match=r"zeuxis convert .*sr\.pth"):
        load_restorer_file(tmp_path / "sr.pth")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_restorer_file(tmp_path / "bad.safetensors")
    with pytest.raises(UsageError, match="there is no file"):
        load_restorer_file(tmp_path / "absent.safetensors")
    assert not holds_restorer(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.onnx", b"\x08\x07", "it is ONNX, which is not read: give the checkpoint of PyTorch"),
        ("m.safetensors", b"", "it is empty: fetch it again"),
        ("n.bin", bytes(4), r"holds the numbers of ncnn: give n\.param beside it"),
    ],
)
def test_a_file_that_holds_no_checkpoint_is_answered(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "n.param").write_text("7767517\n")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ZeuxisError, match=words):
        load_restorer_file(tmp_path / name)


def test_a_generator_among_the_players_of_its_training_is_read_and_said(tmp_path: Path) -> None:
    game = {f"net_g.{k}": v for k, v in tensors(SR_4).items()} | {"net_d.conv0.weight": torch.zeros(3)}
    save_file(game, tmp_path / "game.safetensors")
    found = load_restorer_file(tmp_path / "game.safetensors")
    assert found.task == "enlarge:4" and holds_restorer(tmp_path / "game.safetensors")
    (note,) = found.notes
    assert "'net_g.' is stripped" in note and note.endswith("left unused: net_d.conv0.weight")
    save_file(tensors(SR_4), tmp_path / "plain.safetensors")
    assert load_restorer_file(tmp_path / "plain.safetensors").notes == ()
    with pytest.raises(WeightsError, match=r"its names without 'params.', is of no kind"):
        read_public({"params.strange": torch.zeros(2)}, "it")


def test_a_network_may_lie_under_any_prefix() -> None:
    """As training programs keep it: ``{"model": ..., "optimizer": ...}``, or in a module of a module."""
    plain, average = tensors(NEW), {key: value * 2 for key, value in tensors(NEW).items()}
    wanted = read_public(plain, "it")[0].state_dict()
    for prefix in ("model.", "net.", "lightning.model.", "state_dict.net."):
        beside = {"optimizer.state.0.exp_avg": torch.zeros(3)}
        public = {f"{prefix}{key}": value for key, value in plain.items()} | beside
        found = read_public(public, "it")[0].state_dict()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
        assert is_restorer({key: tuple(value.shape) for key, value in public.items()})
    for one, other in (("model", "model_ema"), ("state_dict.generator", "state_dict.generator_ema")):
        both = {f"{one}.{k}": v for k, v in plain.items()} | {f"{other}.{k}": v for k, v in average.items()}
        found = read_public(both, "it")[0].state_dict()
        assert torch.equal(found["first.weight"], 2 * wanted["first.weight"]), "the average goes before"


def test_what_is_stripped_is_said(tmp_path: Path) -> None:
    save_file({f"model.{key}": value for key, value in tensors(NEW).items()}, tmp_path / "a.safetensors")
    assert "'model.' is stripped" in load_restorer_file(tmp_path / "a.safetensors").notes[0]
    save_file({"net.layers.0.residual_group.blocks.0.attn.qkv.weight": torch.zeros(3)}, tmp_path / "b.safetensors")
    assert look_of(tmp_path / "b.safetensors") is None and not holds_restorer(tmp_path / "b.safetensors")
    save_file({"params.layers.0.residual_group.weight": torch.zeros(3)}, tmp_path / "c.safetensors")
    assert look_of(tmp_path / "c.safetensors") == "SwinIR or HAT"
