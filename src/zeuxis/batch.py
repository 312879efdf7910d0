"""What flows between data, games and metrics.

Axis legend, used in shape comments everywhere:
    B images, C channels, H rows, W columns, T caption words, K classes,
    N items of a set or a sequence (pictures, tokens), D numbers of an item (its features, its width),
    F factors of which factor f has K_f values, d = C H W numbers of a picture, Z numbers of its code,
    h and w rows and columns of a smaller map that a network makes of it, n as many as the argument n says.
Images are float tensors ``(B, C, H, W)`` in [-1, 1] unless a docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zeuxis.conditions import FIELDS, FieldKind
from zeuxis.errors import Unsupported
from zeuxis.spec import Shape as Shape

Conditioning = Mapping[str, Tensor]  # what conditioners make of a condition, by the names of a network's arguments


class _Texts:
    """How a field of strings is batched: a tuple, one for each image."""

    @staticmethod
    def to(value: Any, device: torch.device | str) -> Any:
        return value

    @staticmethod
    def joined(values: Sequence[Any]) -> Any:
        return tuple(text for texts in values for text in texts)

    @staticmethod
    def repeated(value: Any, n: int) -> Any:
        return value * n


class _Tensors:
    """How a field of tensors is batched: along the first axis."""

    @staticmethod
    def to(value: Any, device: torch.device | str) -> Any:
        return value.to(device)

    @staticmethod
    def joined(values: Sequence[Any]) -> Any:
        return torch.cat(list(values))

    @staticmethod
    def repeated(value: Any, n: int) -> Any:
        return value.expand(n, *value.shape[1:])


BATCHED: Mapping[FieldKind, type[_Texts | _Tensors]] = {
    "class": _Tensors,
    "text": _Texts,
    "picture": _Tensors,
    "mask": _Tensors,
    "class map": _Tensors,
    "factors": _Tensors,
}


def _batched(name: str) -> type[_Texts | _Tensors]:
    return BATCHED[FIELDS[name].kind]


@dataclass(frozen=True, slots=True)
class Condition:
    """What steers a picture. Every field is optional; a system's card says which it needs.

    :data:`zeuxis.conditions.FIELDS` says of each what it means and of which kind it is.
    """

    label: Tensor | None = None  # (B,) int64 in [0, K)
    caption: tuple[str, ...] | None = None  # B strings
    negative: tuple[str, ...] | None = None  # B strings
    source: Tensor | None = None  # (B, C, H, W) in [-1, 1], of the source's own channels and size
    mask: Tensor | None = None  # (B, 1, H, W) in {0, 1}: 1 where the picture is to be made
    control: Tensor | None = None  # (B, C, H, W) in [-1, 1]
    layout: Tensor | None = None  # (B, H, W) int64: a class per pixel
    style: Tensor | None = None  # (B, C, H, W) in [-1, 1]
    instruction: tuple[str, ...] | None = None  # B strings
    factors: Tensor | None = None  # (B, F) int64: the value of each factor of a world

    @property
    def given(self) -> frozenset[str]:
        """The names of the fields that are set."""
        return frozenset(name for name in FIELDS if getattr(self, name) is not None)

    def required(self, name: str) -> Any:
        """The field of that name; raises :class:`Unsupported` where it is not set."""
        value = getattr(self, name)
        if value is None:
            raise Unsupported(f"this model obeys a {name} and was given none: give one, or use data that has it")
        return value

    def __len__(self) -> int:
        """The number of images that it is of; 0 for the empty condition."""
        return next((len(getattr(self, name)) for name in sorted(self.given)), 0)

    def __getitem__(self, rows: slice) -> Condition:
        """The same condition for some of the images."""
        given = self.given
        return replace(self, **{name: getattr(self, name)[rows] for name in given}) if given else self

    def only(self, names: frozenset[str]) -> Condition:
        """The same condition with no field outside ``names``."""
        return replace(self, **{name: None for name in self.given - names})

    def to(self, device: torch.device | str) -> Condition:
        """The same condition with its tensors on ``device``."""
        given = self.given
        return (
            replace(self, **{name: _batched(name).to(getattr(self, name), device) for name in given}) if given else self
        )

    def expand(self, n: int) -> Condition:
        """The same for ``n`` images, of each field that is given for one; ValueError where another number is."""
        many: dict[str, Any] = {}
        for name in self.given:
            value = getattr(self, name)
            if len(value) not in (1, n):
                raise ValueError(f"{len(value)} values of {name} for {n} images")
            many[name] = _batched(name).repeated(value, n) if len(value) == 1 else value
        return replace(self, **many)

    @staticmethod
    def joined(parts: Sequence[Condition]) -> Condition:
        """Several conditions with the same fields as one, image after image."""
        names = sorted(parts[0].given)
        return Condition(**{name: _batched(name).joined([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True, slots=True)
class Batch:
    """A minibatch: images and, where the data knows it, what describes them."""

    image: Tensor  # (B, C, H, W) in [-1, 1]; uint8 pixels on their way to a device, see ``floats``
    condition: Condition = Condition()
    index: Tensor | None = None  # (B,) int64: which examples of the source these are

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: slice) -> Batch:
        """The same batch for some of the images."""
        index = None if self.index is None else self.index[rows]
        return Batch(self.image[rows], self.condition[rows], index)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on ``device``."""
        index = None if self.index is None else self.index.to(device)
        return Batch(self.image.to(device), self.condition.to(device), index)

    def floats(self) -> Batch:
        """The same batch with pixels (uint8 in [0, 255]) as images in [-1, 1]; what is no pixels stays."""
        pictures: dict[str, Any] = {
            name: to_float(value)
            for name in self.condition.given
            if isinstance(value := getattr(self.condition, name), Tensor) and value.dtype == torch.uint8
        }
        image = to_float(self.image) if self.image.dtype == torch.uint8 else self.image
        return Batch(image, replace(self.condition, **pictures) if pictures else self.condition, self.index)


def joined(parts: Sequence[Batch]) -> Batch:
    """Several batches, whose conditions have the same fields, as one."""
    indices = [part.index for part in parts if part.index is not None]
    index = torch.cat(indices) if len(indices) == len(parts) else None
    condition = Condition.joined([part.condition for part in parts])
    return Batch(torch.cat([part.image for part in parts]), condition, index)


def to_float(pixels: Tensor) -> Tensor:
    """uint8 in [0, 255] to float32 in [-1, 1]."""
    return pixels.float().mul_(2 / 255).sub_(1)


def to_uint8(image: Tensor) -> Tensor:
    """Float in [-1, 1] (clamped) to uint8 in [0, 255], rounded to the nearest."""
    return image.detach().float().add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
