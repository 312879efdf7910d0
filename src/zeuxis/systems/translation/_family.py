"""What translators share: the picture or the layout that is translated, brought to the form that networks take.

Axes: C_s channels of a source.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from zeuxis.batch import Condition, Shape
from zeuxis.errors import Unsupported, UsageError
from zeuxis.nn.patch_gan import PATCHES, map_side


def source_at(condition: Condition, shape: Shape, system: str) -> Tensor:
    """The sources ``(B, C_s, H, W)`` at the pictures' size, to which those of another are brought bilinearly.

    Raises :class:`Unsupported` where there are none.
    """
    if condition.source is None:
        raise Unsupported(f"'{system}' translates a picture and was given none: give it a source (--source FILE)")
    return resized(condition.source, shape.height, shape.width)


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    """Pictures at another size, bilinearly; those that have it as they are."""
    if tuple(picture.shape[2:]) == (height, width):
        return picture
    return F.interpolate(picture, size=(height, width), mode="bilinear", antialias=True)


def one_hot(condition: Condition, classes: int, system: str) -> Tensor:
    """The layouts as ``(B, K, H, W)`` of ones and zeros.

    Raises :class:`Unsupported` where there are none, :class:`UsageError` for a class outside ``classes``.
    """
    if condition.layout is None:
        raise Unsupported(f"'{system}' paints a layout and was given none: give it one (--layout FILE)")
    highest = int(condition.layout.max())
    if highest >= classes or int(condition.layout.min()) < 0:
        raise UsageError(f"'{system}' knows {classes} classes, 0 to {classes - 1}, and the layout holds {highest}")
    return F.one_hot(condition.layout, classes).movedim(3, 1).float()


def check_sides(system: str, shape: Shape, stride: int, least: int = 1, keyword: str | None = None) -> None:
    """Refuse pictures whose sides the generator cannot halve and double again, or leaves fewer than ``least`` of."""
    if shape.height % stride or shape.width % stride or min(shape.height, shape.width) < least * stride:
        near = [max(least, round(side / stride)) * stride for side in (shape.width, shape.height)]
        raise UsageError(
            f"'{system}' takes sides that are multiples of {stride}, from {least * stride} pixels, and not pictures of "
            f"{shape.width}x{shape.height}: give --size {near[0]}x{near[1]}"
            + ("" if keyword is None else f", or a smaller model.{keyword}")
        )


def check_counts(system: str, least: int, counts: Mapping[str, int]) -> None:
    """Refuse arguments of ``system`` that count something and are below ``least``."""
    for name, count in counts.items():
        if count < least:
            raise UsageError(f"'{system}' has no network with model.{name}={count}: give {least} or more")


def check_patch(system: str, shape: Shape, patch: int) -> None:
    """Refuse a receptive field that there is not, or one whose critic has no room in the pictures."""
    if patch not in PATCHES:
        raise UsageError(f"'{system}' has critics that see {', '.join(map(str, PATCHES))} pixels a side, not {patch}")
    side = min(shape.height, shape.width)
    if PATCHES[patch] and map_side(side, PATCHES[patch]) < 1:
        able = [str(one) for one, layers in PATCHES.items() if not layers or map_side(side, layers) > 0]
        raise UsageError(
            f"a critic that sees {patch} pixels has no room in pictures of {shape.width}x{shape.height}: give "
            f"model.patch={' or '.join(able)}"
        )
