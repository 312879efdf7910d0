"""EfficientNet-Lite0, whose inner maps are a feature space of photographs.

Tan & Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks" (arXiv:1905.11946), table 1,
of inverted bottlenecks (Sandler et al. 2018, arXiv:1801.04381, table 1); Lite0 is the authors' variant without squeeze
and excitation, and with ReLU6. 4,652,008 parameters. Paddings are TensorFlow's "same", by which the published weights
were trained.

Axes: E channels of an expansion; h and w sides of a map.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-3  # of the norms
STEM, HEAD, CLASSES = 32, 1280, 1000
STAGES = (  # blocks, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
TAPS = (1, 3, 5, 8, 11)  # blocks whose expansion is a map: the last before a side is halved or a stage ends
MEAN, DEVIATION = 127.0, 128.0  # of the 255 levels that the network takes
MAPS = 1 + len(TAPS)
SIDE = 224  # pixels of the pictures that it was trained on


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, of which an odd pixel lies at the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (max(-(-side // stride) * stride - stride + kernel - side, 0) for side in x.shape[2:])
        padded = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(padded, self.weight, stride=self.stride, groups=self.groups)


class InvertedBottleneck(nn.Module):
    """Expand by 1x1, filter each channel by itself, project by 1x1; ``(B, C, h, w)`` to ``(B, C', h / s, w / s)``."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion  # E
        self.expanded = expansion > 1
        if self.expanded:
            self.expand, self.expand_norm = SameConv(inputs, wide, 1), _norm(wide)
        self.filter, self.filter_norm = SameConv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self.project, self.project_norm = SameConv(wide, outputs, 1), _norm(outputs)
        self.skips = stride == 1 and inputs == outputs

    def widened(self, x: Tensor) -> Tensor:
        """The expansion ``(B, E, h, w)``; ``x`` itself where there is none."""
        return F.relu6(self.expand_norm(self.expand(x))) if self.expanded else x

    def forward(self, x: Tensor, wide: Tensor | None = None) -> Tensor:
        """``wide`` is the expansion of ``x``, where it is known."""
        h = F.relu6(self.filter_norm(self.filter(self.widened(x) if wide is None else wide)))
        h = self.project_norm(self.project(h))
        return x + h if self.skips else h


class EfficientNetLite0(nn.Module):
    """Pictures ``(B, 3, H, W)`` in [-1, 1] to the logits ``(B, 1000)`` of ImageNet's classes, or to inner maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = SameConv(3, STEM, 3, 2), _norm(STEM)
        blocks, inputs = [], STEM
        for count, kernel, stride, expansion, outputs in STAGES:
            for k in range(count):
                blocks.append(InvertedBottleneck(inputs, outputs, kernel, 1 if k else stride, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head, self.head_norm = SameConv(inputs, HEAD, 1), _norm(HEAD)
        self.classes = nn.Linear(HEAD, CLASSES)

    def maps(self, image: Tensor, most: int = MAPS) -> tuple[Tensor, ...]:
        """The first ``most`` of six maps after ReLU6, fine to coarse.

        Of 32, 96, 144, 240, 480 and 672 channels, at a half, a half, a quarter, an eighth and twice a sixteenth of the
        sides.
        """
        found = [x := self._stem(image)]
        for k, block in enumerate(self.blocks):
            assert isinstance(block, InvertedBottleneck)
            if len(found) == most:
                break
            wide = block.widened(x)
            if k in TAPS:
                found.append(wide)
            x = block(x, wide)
        return tuple(found)

    def pooled(self, image: Tensor) -> Tensor:
        """What the classes are read off: the means over places of the last map ``(B, 1280)``."""
        x = self._stem(image)
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.head_norm(self.head(x))).mean((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.pooled(image))
        return logits

    def _stem(self, image: Tensor) -> Tensor:
        levels = (image + 1) * 127.5
        return F.relu6(self.stem_norm(self.stem((levels - MEAN) / DEVIATION)))


def in_three(image: Tensor) -> Tensor:
    """Grey pictures ``(B, 1, H, W)`` in three equal channels; those in colour as they are."""
    return image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)
