"""A published network that makes a better picture of a picture, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zeuxis.degrade.language import parse_chain
from zeuxis.degrade.mask import Uncrop
from zeuxis.nn.dncnn import DnCNNNet
from zeuxis.nn.fidelity import Fidelity
from zeuxis.nn.picture_network import PictureNetwork


@dataclass(frozen=True, eq=False)
class Restorer:
    """``task`` is what it was trained for: ``enlarge:4``, ``denoise``, or ``restore`` where nothing tells."""

    name: str  # as the user gave it
    network: PictureNetwork
    task: str
    sha256: str  # of its file, or files
    licence: str  # of its weights, as far as is known
    mask: Path | None = None  # of what is to be made, for a network that takes one; or a folder of one for each picture
    knobs: tuple[tuple[str, bool | int | float | str], ...] = ()  # that were turned, by name
    fidelity: Fidelity | None = None  # how near it is held to what it is given; None leaves it alone
    ensemble: bool = False  # whether it is asked of a picture in its eight orientations; the network does so
    seed: int = 0  # from which it draws, if it does
    extends: float | None = None  # the share of a picture that it learnt to draw at one of its sides, if it did
    colours_at: tuple[int, int] | None = None  # rows and columns of the whole pictures that it learnt to colour
    factor: float | None = None  # by how much the picture is to become wider, of a panorama
    notes: tuple[str, ...] = ()  # on how its file was read, for the user to know


TASKS = {  # what a degradation calls for, by its name
    **dict.fromkeys(("noise", "blind-noise", "shot", "sensor", "grain"), "denoise"),
    **dict.fromkeys(("blur", "smear", "motion", "defocus", "blind-blur"), "deblur"),
    **dict.fromkeys(("mask", "hole", "strokes", "outpaint", "uncrop"), "inpaint"),
    **dict.fromkeys(("grey", "film"), "colorize"),
    **dict.fromkeys(("jpeg", "blind-jpeg", "soft-jpeg"), "jpeg"),
}


def task_against(data: str, network: PictureNetwork) -> str:
    """What a network is for that was trained on ``data``, whose name ends in what damaged them.

    Noise and compression that come after another damage are what every camera adds: ``blur | noise`` is for blur.
    """
    tasks = [TASKS.get(part.strip().partition(":")[0], "restore") for part in data.split("|")[1:]]
    of_cameras = {"denoise", "jpeg"}
    apart = {task for place, task in enumerate(tasks) if place == 0 or task not in of_cameras}
    plain = network.scale == 1 and network.side is None
    return apart.pop() if plain and len(apart) == 1 else task_of(network)


def extended_by(data: str) -> float | None:
    """The share of a picture that was hidden at one of its sides, of data whose name says so (``uncrop:0.5``)."""
    for name in (part.strip() for part in data.split("|")[1:]):
        if name.partition(":")[0] == Uncrop.name:
            (part,) = parse_chain(name).parts
            assert isinstance(part, Uncrop)
            return part.share if part.share < 1 else None
    return None


def task_of(network: PictureNetwork) -> str:
    """What a network is for, as far as its form tells."""
    if network.side is not None:
        return "face"
    if network.scale > 1:
        return f"enlarge:{network.scale}"
    return "denoise" if isinstance(network, DnCNNNet) else "restore"
