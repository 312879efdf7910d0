"""The Inception network that published Fréchet distances are measured in.

Szegedy et al. 2015 (1512.00567) as frozen in TensorFlow's graph "inception-2015-12-05", which Heusel et al.
(2017, 1706.08500) chose for the FID. It differs from the paper's: average pools leave the padding out, the
last block pools by maximum, and there are 1008 classes. Names and shapes of the weights are those of the
public PyTorch ports, whose file is read once it has been converted to safetensors.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from zeuxis.errors import UsageError, WeightsError
from zeuxis.escaping import word
from zeuxis.files import require_regular, why_no_tensors

SIDE = 299  # pixels a side of the network's input
WIDTH = 2048  # features
IMAGENET_CLASSES = 1008


class Conv(NamedTuple):
    """One convolution: its name among the weights, its channels, its kernel; at stride 2 without padding."""

    name: str
    outputs: int
    rows: int = 1
    columns: int = 1
    stride: int = 1


Branch = tuple[tuple[Conv, ...], ...]  # one after another, groups of steps side by side


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, step: Conv, *, pad: bool = True) -> None:
        super().__init__()
        kernel = (step.rows, step.columns)
        padding = (step.rows // 2, step.columns // 2) if pad and step.stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inputs, step.outputs, kernel, step.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(step.outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches side by side, and a pooled branch last, which a 1x1 convolution follows if it has channels."""

    def __init__(self, inputs: int, branches: tuple[Branch, ...], pool: nn.Module, pooled: int = 0) -> None:
        super().__init__()
        self.branches, self.pool = branches, pool
        for branch in branches:
            width = inputs
            for group in branch:
                for step in group:
                    self.add_module(step.name, ConvNorm(width, step))
                width = sum(step.outputs for step in group)
        self.branch_pool = ConvNorm(inputs, Conv("branch_pool", pooled)) if pooled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch in self.branches:
            h = x
            for group in branch:
                h = torch.cat([self.get_submodule(step.name)(h) for step in group], 1)
            outputs.append(h)
        return torch.cat([*outputs, self.branch_pool(self.pool(x))], 1)


def _chain(*steps: Conv) -> Branch:
    return tuple((step,) for step in steps)


_average = partial(nn.AvgPool2d, 3, stride=1, padding=1, count_include_pad=False)
_halve = partial(nn.MaxPool2d, 3, stride=2)


def _block_a(inputs: int, pooled: int) -> Mixed:
    """35 x 35 (Figure 5)."""
    three = "branch3x3dbl_"
    branches = (
        _chain(Conv("branch1x1", 64)),
        _chain(Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5, 5)),
        _chain(Conv(three + "1", 64), Conv(three + "2", 96, 3, 3), Conv(three + "3", 96, 3, 3)),
    )
    return Mixed(inputs, branches, _average(), pooled)


def _block_b(inputs: int) -> Mixed:
    """35 x 35 to 17 x 17 (Figure 10)."""
    three = "branch3x3dbl_"
    branches = (
        _chain(Conv("branch3x3", 384, 3, 3, 2)),
        _chain(Conv(three + "1", 64), Conv(three + "2", 96, 3, 3), Conv(three + "3", 96, 3, 3, 2)),
    )
    return Mixed(inputs, branches, _halve())


def _block_c(inner: int) -> Mixed:
    """17 x 17 (Figure 6)."""
    one, two = "branch7x7_", "branch7x7dbl_"
    branches = (
        _chain(Conv("branch1x1", 192)),
        _chain(Conv(one + "1", inner), Conv(one + "2", inner, 1, 7), Conv(one + "3", 192, 7, 1)),
        _chain(
            Conv(two + "1", inner),
            Conv(two + "2", inner, 7, 1),
            Conv(two + "3", inner, 1, 7),
            Conv(two + "4", inner, 7, 1),
            Conv(two + "5", 192, 1, 7),
        ),
    )
    return Mixed(768, branches, _average(), 192)


def _block_d(inputs: int) -> Mixed:
    """17 x 17 to 8 x 8."""
    seven = "branch7x7x3_"
    branches = (
        _chain(Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, 3, 2)),
        _chain(
            Conv(seven + "1", 192),
            Conv(seven + "2", 192, 1, 7),
            Conv(seven + "3", 192, 7, 1),
            Conv(seven + "4", 192, 3, 3, 2),
        ),
    )
    return Mixed(inputs, branches, _halve())


def _block_e(inputs: int, pool: nn.Module) -> Mixed:
    """8 x 8, branches that fork (Figure 7)."""
    one, two = "branch3x3_", "branch3x3dbl_"
    branches: tuple[Branch, ...] = (
        _chain(Conv("branch1x1", 320)),
        (*_chain(Conv(one + "1", 384)), (Conv(one + "2a", 384, 1, 3), Conv(one + "2b", 384, 3, 1))),
        (
            *_chain(Conv(two + "1", 448), Conv(two + "2", 384, 3, 3)),
            (Conv(two + "3a", 384, 1, 3), Conv(two + "3b", 384, 3, 1)),
        ),
    )
    return Mixed(inputs, branches, pool, 192)


class Inception(nn.Module):
    """Images ``(B, 3, H, W)`` in [-1, 1] (or grey ones, ``(B, 1, H, W)``) to logits ``(B, 1008)``."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, Conv("", 32, 3, 3, 2))
        self.Conv2d_2a_3x3 = ConvNorm(32, Conv("", 32, 3, 3), pad=False)
        self.Conv2d_2b_3x3 = ConvNorm(32, Conv("", 64, 3, 3))
        self.Conv2d_3b_1x1 = ConvNorm(64, Conv("", 80))
        self.Conv2d_4a_3x3 = ConvNorm(80, Conv("", 192, 3, 3), pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_a(192, 32), _block_a(256, 64), _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b, self.Mixed_6c = _block_c(128), _block_c(160)
        self.Mixed_6d, self.Mixed_6e = _block_c(160), _block_c(192)
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b = _block_e(1280, _average())
        self.Mixed_7c = _block_e(2048, nn.MaxPool2d(3, stride=1, padding=1))  # as in that graph; average in the paper
        self.fc = nn.Linear(WIDTH, IMAGENET_CLASSES)

    def features(self, image: Tensor) -> Tensor:
        """The last average pool, ``(B, 2048)``: what the FID is measured in. Resizes to 299 as TensorFlow 1 did."""
        if image.shape[1] not in (1, 3):
            raise UsageError(f"Inception reads 3 channels or 1, not {image.shape[1]}: convert the images to RGB")
        bytes_ = image.expand(-1, 3, -1, -1) * 127.5 + 127.5
        x = (tf1_bilinear(bytes_, SIDE) - 128) / 128  # the graph's own scale of [0, 255]
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = F.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (B, 192, 71, 71)
        x = F.max_pool2d(x, 3, 2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (B, 288, 35, 35)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # (B, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (B, 2048, 8, 8)
        return x.mean((2, 3))

    def classify(self, features: Tensor) -> tuple[Tensor, ...]:
        """Features ``(B, 2048)`` to logits: one head, ``(B, 1008)``."""
        return (self.fc(features),)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.classify(self.features(image))


def tf1_bilinear(image: Tensor, side: int) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C, side, side)`` by TensorFlow 1's bilinear filter: pixel i is read at
    ``i * H / side``, without the half-pixel shift of later libraries, and without anti-aliasing."""
    for axis in (2, 3):
        n = image.shape[axis]
        where = torch.arange(side, device=image.device, dtype=torch.float32) * (n / side)
        low = where.long()  # below n, for i < side
        part = (where - low).to(image.dtype).unsqueeze(-1) if axis == 2 else (where - low).to(image.dtype)
        here, there = image.index_select(axis, low), image.index_select(axis, (low + 1).clamp(max=n - 1))
        image = here + (there - here) * part
    return image


def load_inception(path: str | Path) -> Inception:
    """The network with weights from a safetensors file under the public ports' names, frozen and in evaluation mode.

    Raises :class:`WeightsError` for a pickle, which is never opened here, and for a file that does not fit.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"'{path}' is not safetensors: a pickle is never opened here; run `zeuxis convert {word(path)}`"
        )
    try:
        require_regular(path)
        state = load_file(path)
    except (OSError, SafetensorError) as e:
        raise WeightsError(f"'{path}' cannot be read as safetensors: {why_no_tensors(path, e)}") from e
    net = Inception()
    wanted = net.state_dict()
    for name in wanted:
        if name.endswith("num_batches_tracked"):  # the oldest files have none, and nothing reads it
            state.setdefault(name, wanted[name])
    wrong = sorted(state.keys() ^ wanted.keys()) or [n for n in wanted if state[n].shape != wanted[n].shape]
    if wrong:
        raise WeightsError(
            f"'{path}' is not Inception 2015-12-05: {len(wrong)} tensors do not fit, '{wrong[0]}' for one; "
            "convert the public file pt_inception-2015-12-05"
        )
    net.load_state_dict(state)
    return net.requires_grad_(False).eval()
