"""A published network that makes a better picture of a picture, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from zeuxis.nn.dncnn import DnCNNNet
from zeuxis.nn.picture_network import PictureNetwork


@dataclass(frozen=True, eq=False)
class Restorer:
    """``task`` is what it was trained for: ``enlarge:4``, ``denoise``, or ``restore`` where the file does not tell."""

    name: str  # as the user gave it
    network: PictureNetwork
    task: str
    sha256: str  # of its file, or files
    licence: str  # of its weights, as far as is known


def task_of(network: PictureNetwork) -> str:
    """What a network is for, as far as its form tells."""
    if network.scale > 1:
        return f"enlarge:{network.scale}"
    return "denoise" if isinstance(network, DnCNNNet) else "restore"
