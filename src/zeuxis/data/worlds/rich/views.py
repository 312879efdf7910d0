"""Rich scenes in pairs of another kind: in a style, beside their depth, and as light with its exposures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition
from zeuxis.counter import uniforms
from zeuxis.data.worlds.rich import light, styles
from zeuxis.data.worlds.rich.arrange import arrange
from zeuxis.data.worlds.rich.facts import FACTORS
from zeuxis.data.worlds.rich.sources import RichScenes
from zeuxis.data.worlds.world import World
from zeuxis.spec import DataSpec, Shape


class SceneStyles(World):
    """A scene as it is (``source``), another scene in some manner (``style``), and the first in that manner (image).

    ``label`` is the manner, into ``styles.STYLES``.
    """

    name = "scenes-styles"
    natural = DataSpec(
        Shape(3, 64, 64),
        source_shape=Shape(3, 64, 64),
        class_names=tuple(styles.STYLES),
        factors=FACTORS,
        provides=frozenset({"source", "style", "label", "factors"}),
    )

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000) -> None:
        super().__init__(size, split, length)
        self.scenes = RichScenes(size, split, 2 * length)  # even ones are shown, odd ones give the style

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        label = (uniforms(self.key, self.checked(index), 1)[:, 0] * self.spec.classes).long()
        shown, other = self.scenes.arranged(2 * index), self.scenes.arranged(2 * index + 1)
        size = self.size
        source = styles.styled(shown, size, "flat")
        image, style = torch.empty_like(source), torch.empty_like(source)
        for k, name in enumerate(styles.STYLES):
            for row in (label == k).nonzero()[:, 0].tolist():  # one at a time: strokes take much memory
                image[row] = styles.styled(shown.rows(slice(row, row + 1)), size, name)[0]
                style[row] = styles.styled(other.rows(slice(row, row + 1)), size, name)[0]
        return Batch(image, Condition(source=source, style=style, label=label, factors=shown.factors), index)


class SceneDepth(World):
    """How far everything is (``source``, one channel: -1 at the camera, 1 in the sky), and the scene (image)."""

    name = "scenes-depth"
    natural = replace(
        RichScenes.natural, source_shape=Shape(1, 64, 64), provides=RichScenes.natural.provides | {"source"}
    )

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000) -> None:
        super().__init__(size, split, length)
        self.scenes = RichScenes(size, split, length)

    def stated_factors(self, factors: Tensor) -> Tensor:
        return self.scenes.stated_factors(factors)

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        scene = self.scenes.batch(self.checked(index))
        depth = 2 * self.scenes.depth(index) - 1
        return replace(scene, condition=replace(scene.condition, source=depth))


class SceneLight(World):
    """Radiance (the image, compressed by ``light.compress``) and three exposures of it (``source``, nine channels).

    With ``moving`` things have moved between the exposures; the radiance is that of the middle one.
    """

    natural = DataSpec(
        Shape(3, 64, 64),
        source_shape=Shape(3 * len(light.STOPS), 64, 64),
        factors=FACTORS,
        provides=frozenset({"source", "factors"}),
    )

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000, *, moving: bool = False) -> None:
        self.name = "scenes-light-moving" if moving else "scenes-light"
        super().__init__(size, split, length)
        self.moving = moving
        self.scenes = RichScenes(size, split, length)

    def moments(self, index: Tensor) -> list[Tensor]:
        """Linear light ``(B, 3, H, W)`` at the three exposures."""
        return self._moments(index, self.scenes.rows(self.checked(index)))

    def _moments(self, index: Tensor, rows: Tensor) -> list[Tensor]:
        times = (-1.0, 0.0, 1.0) if self.moving else (0.0,)
        made = [light.radiance(arrange(rows, self.scenes.placing, index, time), self.size) for time in times]
        return made if self.moving else made * len(light.STOPS)  # what stands still is drawn once

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        rows = self.scenes.rows(self.checked(index))
        moments = self._moments(index, rows)
        return Batch(light.compress(moments[1]), Condition(source=light.brackets(moments), factors=rows), index)
