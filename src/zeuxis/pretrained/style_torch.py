"""What the network files of the PyTorch programs hold: StyleGAN2, StyleGAN2-ADA and StyleGAN3, T and R.

Their settings are kept in nested objects, a generator ``G_ema`` and a discriminator ``D``; those that no system here
has are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.errors import WeightsError
from zeuxis.nn.upfirdn import BLUR
from zeuxis.pretrained.style_names import layer_names, layers_of_mapping
from zeuxis.pretrained.style_settings import READ, Piece, StyleFile, must_know, piece_of, renamed


def torch_parts(facts: Any) -> tuple[Piece, Piece] | None:
    if not isinstance(facts, dict):
        return None
    generator, discriminator = piece_of(facts.get("G_ema"), "G_ema"), piece_of(facts.get("D"), "D")
    return None if generator is None or discriminator is None else (generator, discriminator)


def of_torch(
    facts: Mapping[str, Any], parts: tuple[Piece, Piece], tensors: Mapping[str, Tensor], what: str
) -> StyleFile:
    """What a file of these ``parts`` holds. Raises :class:`WeightsError` for networks that no system here is."""
    generator, discriminator = parts
    public = renamed(tensors, {"G_ema.": "G.", "D.": "D."})
    pipe = piece_of(facts.get("augment_pipe"), f"{what}: augment_pipe")
    if "input" in generator.child("synthesis").parts:
        return _alias_free(generator, discriminator, public)
    return _smooth(generator, discriminator, public, pipe, tensors.get("augment_pipe.p"))


def _common(generator: Piece, discriminator: Piece, public: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments that both generators have. The discriminator is StyleGAN2's."""
    side = generator.side("img_resolution")
    discriminator.must_be(img_resolution=side, img_channels=generator.number("img_channels"))
    classes = generator.number("c_dim", least=0)
    discriminator.must_be(c_dim=classes)
    top, bottom = discriminator.child(f"b{side}"), discriminator.child("b4")
    top.must_be(architecture="resnet", activation="lrelu")
    bottom.must_be(mbstd_num_channels=1)
    _filters(public)
    width = generator.number("w_dim")
    must_know(public, width, classes)
    return {
        "condition": "label" if classes else "none",
        "nz": generator.number("z_dim"),
        "width": width,
        "mapping": layers_of_mapping(public, "G."),
        **({"judge_mapping": layers_of_mapping(public, "D.")} if classes else {}),
        "group": max(bottom.child("mbstd").number("group_size", 4, least=0), 1),
    }


def _filters(public: Mapping[str, Tensor]) -> None:
    """Raise :class:`WeightsError` where pictures were resampled by another filter than ours."""
    line = torch.tensor(BLUR)
    for key, taps in public.items():
        if key.endswith(".resample_filter") and not (
            taps.shape == (4, 4) and torch.outer(line, line).allclose(taps.float())
        ):
            raise WeightsError(f"{key} is another filter than [1, 3, 3, 1], which alone is read")


def _channels(part: Piece) -> tuple[int, int]:
    return part.number("channel_base", 32768), part.number("channel_max", 512)


def _smooth(
    generator: Piece, discriminator: Piece, public: Mapping[str, Tensor], pipe: Piece | None, p: Tensor | None
) -> StyleFile:
    """StyleGAN2, with adaptive augmentation where the file holds its state."""
    synthesis = generator.child("synthesis")
    side, channels = generator.side("img_resolution"), generator.number("img_channels")
    first = synthesis.child("b4")
    first.must_be(architecture="skip")
    first.child("conv1").must_be(use_noise=True, activation="lrelu")
    base, most = _channels(synthesis)
    discriminator.must_be(channel_base=base, channel_max=most, conv_clamp=synthesis.clamp)
    arguments = _common(generator, discriminator, public) | {
        "channel_base": base,
        "channel_max": most,
        "clamp": synthesis.clamp,
    }
    if pipe is not None and p is not None:
        geometry, colour = (bool(pipe.arguments.get(name)) for name in ("scale", "brightness"))
        start = min(max(float(p), 0.0), 1.0) if p.numel() == 1 and torch.isfinite(p).all() else 0.0
        arguments |= {"augment": "bgc" if colour else "bg" if geometry else "blit", "start": start}
    system = "stylegan2" if pipe is None or p is None else "stylegan2-ada"
    classes = generator.number("c_dim", least=0)
    return StyleFile(system, Shape(channels, side, side), classes, arguments, public)


def _alias_free(generator: Piece, discriminator: Piece, public: Mapping[str, Tensor]) -> StyleFile:
    """StyleGAN3, T or R."""
    synthesis = generator.child("synthesis")
    side, channels = generator.side("img_resolution"), generator.number("img_channels")
    synthesis.must_be(
        margin_size=10,
        output_scale=0.25,
        first_cutoff=2,
        first_stopband=2**2.1,
        last_stopband_rel=2**0.3,
        filter_size=6,
        lrelu_upsampling=2,
    )
    depth = synthesis.number("num_layers")
    if f"G.synthesis.{layer_names(public).get(depth)}.weight" not in public or depth + 1 != len(layer_names(public)):
        raise WeightsError(f"G_ema.synthesis is said to have {depth} layers, and has others: it is damaged")
    kernel, radial = synthesis.arguments.get("conv_kernel", 3), synthesis.arguments.get("use_radial_filters", False)
    systems = [
        name for *built, name in ((3, False, "stylegan3-t"), (1, True, "stylegan3-r")) if built == [kernel, radial]
    ]
    if not systems:
        raise WeightsError(f"kernels of {kernel} with radial filters {radial} are neither StyleGAN3-T nor R: {READ}")
    moved = public.get("G.synthesis.input.transform")
    if moved is not None and not torch.equal(moved.float(), torch.eye(3)):
        raise WeightsError("G_ema.synthesis.input.transform moves all of its pictures: save it with the identity")
    base, most = _channels(synthesis)
    judge_base, judge_most = _channels(discriminator)
    clamp = synthesis.clamp if "conv_clamp" in synthesis.arguments else 256
    discriminator.must_be(conv_clamp=clamp)
    arguments = _common(generator, discriminator, public) | {
        "depth": depth,
        "critical": synthesis.number("num_critical", least=0),
        "channel_base": base >> radial,  # R has twice as many by itself
        "channel_max": most >> radial,
        "judge_base": judge_base,
        "judge_max": judge_most,
        "clamp": clamp,
    }
    shape, classes = Shape(channels, side, side), generator.number("c_dim", least=0)
    return StyleFile(systems[0], shape, classes, arguments, public)
