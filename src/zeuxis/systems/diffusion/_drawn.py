"""What is asked of pictures before a latent diffusion model draws them, and what is checked of them afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Protocol

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.diffusion.editing import last_share
from zeuxis.errors import Unsupported, UsageError, ZeuxisError
from zeuxis.knobs import Sampling
from zeuxis.nn.controlnet import ControlBranch, controlled_by
from zeuxis.nn.footprint import Footprint, weights
from zeuxis.nn.kl_stage import KLStage
from zeuxis.nn.residence import Residence, at_work
from zeuxis.nn.reuse import context_read_once
from zeuxis.nn.unet import UNet

NOT_FINITE = (  # and the mend
    "half precision overflows (use --precision float32 or bfloat16), or the weights hold numbers that are not finite"
)
FAR_BELOW = -2.0  # black is -1, and a black picture may come out a little below
UNET_HOLDS, DECODER_HOLDS = 100, 10  # numbers for each cell (pixel) and channel of the finest level, at the largest


def check_divides(shape: Shape, stride: int) -> None:
    """Raise :class:`UsageError` unless pictures of ``shape`` have sides that are multiples of ``stride``."""
    if shape.height % stride or shape.width % stride:
        height, width = (max(stride, round(side / stride) * stride) for side in (shape.height, shape.width))
        raise UsageError(
            f"pictures of {shape.width}x{shape.height} pixels: both sides must be multiples of {stride}, such as "
            f"{width}x{height}"
        )


def captions_of(condition: Condition) -> tuple[str, ...]:
    """The captions; raises :class:`Unsupported` where there are none."""
    if condition.caption is None:
        raise Unsupported("this model obeys a caption and was given none: give one (an empty one will do)")
    return condition.caption


def edited(condition: Condition, shape: Shape, inpaints: bool) -> tuple[Tensor | None, Tensor | None]:
    """Source ``(B, C, H, W)`` and mask ``(B, 1, H, W)`` of an edit, if it is one; ``inpaints`` is of a network that
    was made for it alone. Raises :class:`UsageError` where they do not go together."""
    source, mask = condition.source, condition.mask
    if mask is not None and source is None:
        raise UsageError("a mask says what of a source is to be made again: give the source too (--source PICTURE)")
    if inpaints and (source is None or mask is None):
        raise UsageError("this network was made to inpaint: give --source PICTURE and --mask PICTURE")
    for name, given in (("source", source), ("mask", mask)):
        if given is not None:
            _check_size(name, given, shape)
    return source, mask


def walked(levels: Tensor, source: Tensor | None, how: Sampling, strength: float) -> Tensor:
    """Those of ``levels`` ``(N + 1,)`` that are walked: all, or the last ``strength`` of an edit's.

    Raises :class:`UsageError` where a strength was asked for and there is nothing to edit.
    """
    if source is not None:
        return last_share(levels, strength)
    if "strength" in how:
        raise UsageError(
            f"strength {strength:g} is of an edit, and no picture is given to be edited: give one (--source PICTURE), "
            "or leave strength out"
        )
    return levels


def _check_size(name: str, given: Tensor, shape: Shape) -> None:
    rows, columns = given.shape[2:]
    if (rows, columns) != (shape.height, shape.width):
        raise UsageError(
            f"the {name} is {columns}x{rows} pixels and the picture {shape.width}x{shape.height}: give one of that size"
        )


class LatentModel(Protocol):
    """What :func:`footprint_of` asks of a latent diffusion model."""

    shape: Shape
    residence: Residence | None

    @property
    def prompt(self) -> nn.Module: ...

    @property
    def network(self) -> UNet: ...

    @property
    def branch(self) -> ControlBranch | None: ...

    @property
    def first_stage(self) -> KLStage: ...


def footprint_of(model: LatentModel, n: int, knobs: SimpleNamespace) -> Footprint:
    """The memory of drawing ``n`` pictures at a time with these knobs."""
    dtype = next(p.dtype for p in model.network.parameters() if p.ndim > 1)
    if model.residence is not None:
        dtype = model.residence.dtype or torch.float32
    whole = torch.float32 if dtype == torch.float16 else dtype  # of the first stage
    stage = model.first_stage
    height, width = model.shape.height // stage.factor, model.shape.width // stage.factor
    side = knobs.tile or max(height, width)
    cells = min(height, side) * min(width, side) * stage.factor**2  # pixels decoded at a time
    passes = n if knobs.guidance in (0, 1) else 2 * n
    channels = int(model.network.get_parameter("stem.weight").shape[0])
    unet = passes * height * width * channels * UNET_HOLDS * dtype.itemsize
    steering = 0 if model.branch is None else weights(model.branch, dtype)
    return Footprint(
        {
            "text": weights(model.prompt, dtype),
            "U-Net": weights(model.network, dtype) + steering,
            "decoder": weights(stage, whole),
        },
        {"text": n << 24, "U-Net": unet, "decoder": n * cells * stage.width * DECODER_HOLDS * whole.itemsize},
        model.residence is None,
    )


@contextmanager
def steered(model: LatentModel, condition: Condition, knobs: SimpleNamespace) -> Iterator[None]:
    """Within this context the U-Net of ``model`` is steered by its ControlNet, if there is one."""
    if model.branch is None or condition.control is None:
        yield
        return
    _check_size("control", condition.control, model.shape)
    with at_work(model.residence, model.branch), context_read_once(model.branch):
        device = model.branch.hint.stem.weight.device
        features = model.branch.hint((condition.control.to(device) + 1) / 2)  # of a picture (B, C, H, W) in [0, 1]
        with controlled_by(model.network, model.branch, features, knobs.control_strength):
            yield


def decoded(stage: KLStage, latent: Tensor, tile: int) -> Tensor:
    """The pictures of latents, in [-1, 1]; raises :class:`ZeuxisError` where an overflow left none."""
    if not torch.isfinite(latent).all():
        raise ZeuxisError(f"the latents are not finite: {NOT_FINITE}")
    picture = stage.decode(latent, tile)
    if not torch.isfinite(picture).all():
        raise ZeuxisError(f"the decoded picture is not finite: {NOT_FINITE}")
    if (picture.amax((1, 2, 3)) <= FAR_BELOW).any():
        raise ZeuxisError(
            "a picture came out far below black, as an overflow leaves it: use --precision float32 or bfloat16"
        )
    return picture.clamp(-1, 1)
