"""What the network files of the PyTorch programs hold: StyleGAN2, StyleGAN2-ADA and StyleGAN3, T and R.

Their settings are kept in nested objects, a generator ``G_ema`` and a discriminator ``D``; those that no system here
has are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.errors import WeightsError
from zeuxis.nn.upfirdn import BLUR
from zeuxis.pretrained.style_names import layer_names, layers_of_mapping
from zeuxis.pretrained.style_settings import READ, Piece, StyleFile, must_know, piece_of, renamed

ALONE = "generator"  # what a generator is called in messages that is all that a file holds


def torch_parts(facts: Any) -> tuple[Piece, Piece | None] | None:
    """The generator and the discriminator in a file.

    Some are cut down to the average, and what tunes a generator to one picture (PTI) saves it by itself: both do
    without a discriminator.
    """
    if not isinstance(facts, dict):
        return None
    generator = piece_of(facts.get("G_ema"), "G_ema")
    if generator is None and str(facts.get("object", "")).startswith("persistent "):
        generator = piece_of(facts, ALONE)
        if generator is None or not {"synthesis", "mapping"} <= set(generator.parts):
            return None
    return None if generator is None else (generator, piece_of(facts.get("D"), "D"))


def of_torch(
    facts: Mapping[str, Any], parts: tuple[Piece, Piece | None], tensors: Mapping[str, Tensor], what: str
) -> StyleFile:
    """What a file of these ``parts`` holds. Raises :class:`WeightsError` for networks that no system here is.

    A discriminator of another architecture, as the files of CIFAR-10 have it, is left out: it draws nothing.
    """
    generator, discriminator = parts
    dropped: tuple[str, ...] = ()
    if discriminator is not None and not _residual(discriminator, generator.side("img_resolution")):
        discriminator, dropped = None, tuple(sorted(key for key in tensors if key.startswith("D.")))
    public = renamed(tensors, {"" if generator.what == ALONE else "G_ema.": "G."})
    public |= renamed(tensors, {"D.": "D."}) if discriminator is not None else {}
    pipe = piece_of(facts.get("augment_pipe"), f"{what}: augment_pipe")
    if "input" in generator.child("synthesis").parts:
        return replace(_alias_free(generator, discriminator, public), dropped=dropped)
    return replace(_smooth(generator, discriminator, public, pipe, tensors.get("augment_pipe.p")), dropped=dropped)


def _residual(discriminator: Piece, side: int) -> bool:
    """Whether it is StyleGAN2's, of residual blocks."""
    top: str = discriminator.child(f"b{side}").told("architecture", "resnet")
    return top == "resnet"


def _common(generator: Piece, discriminator: Piece | None, public: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments that both generators have. The discriminator is StyleGAN2's."""
    side = generator.side("img_resolution")
    classes = generator.number("c_dim", least=0)
    _filters(public)
    width = generator.number("w_dim")
    must_know(public, width, classes)
    judged: dict[str, Any] = {}
    if discriminator is not None:
        discriminator.must_be(img_resolution=side, img_channels=generator.number("img_channels"), c_dim=classes)
        top, bottom = discriminator.child(f"b{side}"), discriminator.child("b4")
        top.must_be(activation="lrelu")
        bottom.must_be(mbstd_num_channels=1)
        judged["group"] = max(bottom.child("mbstd").number("group_size", 4, least=0), 1)
        judged |= {"judge_mapping": layers_of_mapping(public, "D.")} if classes else {}
    return {
        "condition": "label" if classes else "none",
        "nz": generator.number("z_dim"),
        "width": width,
        "mapping": layers_of_mapping(public, "G."),
        **judged,
    }


def _absent(discriminator: Piece | None) -> tuple[str, ...]:
    """What our state has that the file leaves out."""
    return ("discriminator.",) if discriminator is None else ()


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
    generator: Piece, discriminator: Piece | None, public: Mapping[str, Tensor], pipe: Piece | None, p: Tensor | None
) -> StyleFile:
    """StyleGAN2, with adaptive augmentation where the file holds its state."""
    synthesis = generator.child("synthesis")
    side, channels = generator.side("img_resolution"), generator.number("img_channels")
    first = synthesis.child("b4")
    first.must_be(architecture="skip")
    first.child("conv1").must_be(use_noise=True, activation="lrelu")
    base, most = _channels(synthesis)
    if discriminator is not None:
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
    shape, absent = Shape(channels, side, side), _absent(discriminator)
    return StyleFile(system, shape, classes, arguments, public, absent=absent)


def _alias_free(generator: Piece, discriminator: Piece | None, public: Mapping[str, Tensor]) -> StyleFile:
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
    judge_base, judge_most = _channels(discriminator or synthesis)
    clamp = synthesis.clamp if "conv_clamp" in synthesis.arguments else 256
    if discriminator is not None:
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
    return StyleFile(systems[0], shape, classes, arguments, public, absent=_absent(discriminator))
