"""The names of the tensors in the PyTorch programs' network files, and of ours.

mapping.fc{i} -> generator.mapping.layers.{i}    synthesis.b{R} -> generator.synthesis.blocks.{k}, R = 4 << k
synthesis.L{i}_{size}_{channels} -> generator.synthesis.convolutions.{i}    b{R} of a discriminator -> blocks
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.pretrained.kind import check_keys
from zeuxis.pretrained.style_settings import READ, StyleFile

_OURS = (
    (r"generator\.mean", "G.mapping.w_avg"),
    (r"(generator|discriminator)\.mapping\.layers\.(\d+)\.(\w+)", r"\1.mapping.fc\2.\3"),
    (r"(generator|discriminator)\.mapping\.embed\.(\w+)", r"\1.mapping.embed.\2"),
    (r"generator\.synthesis\.input\.frequencies", "G.synthesis.input.freqs"),
    (r"generator\.synthesis\.input\.(.+)", r"G.synthesis.input.\1"),
    (r"generator\.synthesis\.blocks\.(\d+)\.pixels\.(.+)", r"G.synthesis.b{up}.torgb.\2"),
    (r"generator\.synthesis\.blocks\.(\d+)\.(.+)\.strength", r"G.synthesis.b{up}.\2.noise_strength"),
    (r"generator\.synthesis\.blocks\.(\d+)\.(.+)\.noise", r"G.synthesis.b{up}.\2.noise_const"),
    (r"generator\.synthesis\.blocks\.(\d+)\.(.+)", r"G.synthesis.b{up}.\2"),
    (r"generator\.synthesis\.convolutions\.(\d+)\.magnitude", r"G.synthesis.{layer}.magnitude_ema"),
    (r"generator\.synthesis\.convolutions\.(\d+)\.(.+)", r"G.synthesis.{layer}.\2"),
    (r"discriminator\.pixels\.(\w+)", r"D.b{top}.fromrgb.\1"),
    (r"discriminator\.blocks\.(\d+)\.(.+)", r"D.b{down}.\2"),
    (r"discriminator\.conv\.(\w+)", r"D.b4.conv.\1"),
    (r"discriminator\.hidden\.(\w+)", r"D.b4.fc.\1"),
    (r"discriminator\.out\.(\w+)", r"D.b4.out.\1"),
)
# Of the PyTorch program's buffers and settings: what is the same for all, or follows from the sizes.
_NEEDLESS = re.compile(r".*\.(resample_filter|up_filter|down_filter|in_size|out_size|input\.size|input\.transform)")


def ours(file: StyleFile, own: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors of the system whose state is ``own``, those that a file holds.

    Raises :class:`WeightsError` naming tensors that are missing, left over or of another shape.
    """
    if file.renamed:
        wanted = set(own)
        check_keys(what, wanted, set(file.public), READ)
        names = {name: name for name in wanted}
        return _fitting(file, own, names, what)
    layers = layer_names(file.public)
    held = [name for name in own if not name.startswith(file.absent)]
    names = {name: theirs for name in held if (theirs := _theirs(name, file.shape.height, layers)) is not None}
    given = {key for key in file.public if not _NEEDLESS.fullmatch(key)}
    check_keys(what, set(names.values()), given, READ)
    return _fitting(file, own, names, what)


def _fitting(file: StyleFile, own: Mapping[str, Tensor], names: Mapping[str, str], what: str) -> dict[str, Tensor]:
    for name, key in names.items():
        if own[name].shape != file.public[key].shape:
            found, wanted = tuple(file.public[key].shape), tuple(own[name].shape)
            raise WeightsError(f"{what}: {key} is of shape {found}, and as the rest of it says {wanted}")
    return {name: file.public[key].to(own[name].dtype).contiguous() for name, key in names.items()}


def layer_names(public: Mapping[str, Tensor]) -> dict[int, str]:
    """What the layers of StyleGAN3 are called in a file, by their numbers."""
    found = (re.match(r"G\.synthesis\.(L(\d{1,6})_\d+_\d+)\.", key) for key in public)
    return {int(m[2]): m[1] for m in found if m}


def _theirs(name: str, side: int, layers: Mapping[int, str]) -> str | None:
    """What the PyTorch program calls a tensor of ours; None for what its files do not hold."""
    for pattern, key in _OURS:
        found = re.fullmatch(pattern, name)
        if found:
            k = int(found[1]) if found.groups() and found[1].isdigit() else 0
            sides = {"up": 4 << k, "down": side >> k, "top": side, "layer": layers.get(k, f"L{k}")}
            return found.expand(key).format(**sides).replace("generator.", "G.").replace("discriminator.", "D.")
    return None


def layers_of_mapping(public: Mapping[str, Tensor], prefix: str) -> int:
    """How many layers the mapping has whose names begin with ``prefix``."""
    return sum(1 for key in public if re.fullmatch(rf"{prefix}mapping\.fc\d+\.weight", key))
