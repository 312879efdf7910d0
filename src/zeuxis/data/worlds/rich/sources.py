"""Sources of rich scenes: plain, of unseen combinations, and pairs under an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from zeuxis.batch import Batch, Condition
from zeuxis.counter import uniforms
from zeuxis.data.worlds.rich import instruct, paint, wording
from zeuxis.data.worlds.rich.arrange import Arrangement, arrange
from zeuxis.data.worlds.rich.facts import COUNTS, FACTORS, SHAPES, SLOTS, Pairs, corners, draw_factors
from zeuxis.data.worlds.world import World, draw_split
from zeuxis.errors import UnknownName
from zeuxis.rng import derive_seed
from zeuxis.spec import DataSpec, Shape

CHUNK = 1 << 18  # pixels that are painted together
BRIEF = 0.15  # the share of training captions that leave textures and setting out


class RichScenes(World):
    """One to five objects in four corners; example ``i`` of a split is the same scene on every run and at every size.

    ``label`` is the shape of the first object in reading order; ``layout`` has the classes ``paint.CLASSES``;
    ``factors`` are ``facts.FACTORS``. The splits share no scene description. By ``pairs`` none has an object in its
    shape's held-out colour ("seen"), or each has one ("unseen": test descriptions all), or any may ("all").
    """

    name = "scenes-rich"
    natural = DataSpec(
        Shape(3, 64, 64),
        class_names=SHAPES,
        layout_names=paint.CLASSES,
        words=wording.words(),
        factors=FACTORS,
        provides=frozenset({"label", "caption", "layout", "factors"}),
    )

    def __init__(self, size: int = 64, split: str = "train", length: int = 1_000_000, *, pairs: Pairs = "seen") -> None:
        super().__init__(size, split, length)
        self.pairs: Pairs = pairs
        if pairs != "seen":
            self.name = f"scenes-rich-{pairs}"
        self.split = "test" if pairs == "unseen" else split
        self.key = derive_seed(0, "scenes-rich", split, pairs)
        self.placing = derive_seed(self.key, "placing")
        self.brief = BRIEF if split == "train" else 0.0

    def rows(self, index: Tensor) -> Tensor:
        """The factors ``(B, F)`` of the examples ``index`` (B,)."""
        return draw_split(
            self.key, self.checked(index), partial(draw_factors, pairs=self.pairs), SLOTS, COUNTS, self.split
        )

    def arranged(self, index: Tensor, rows: Tensor | None = None) -> Arrangement:
        """The scenes of ``index``, placed and lit; with ``rows`` these factors in the same places."""
        return arrange(self.rows(index) if rows is None else rows, self.placing, index)

    def captions(self, index: Tensor, rows: Tensor) -> tuple[str, ...]:
        """The captions of the examples ``index`` (B,) with factors ``rows`` (B, F)."""
        u = uniforms(derive_seed(self.key, "words"), index, wording.DRAWS + 1).tolist()
        return tuple(wording.caption(row, v[1:], v[0] < self.brief) for row, v in zip(rows.tolist(), u, strict=True))

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        scene = self.arranged(index)
        image, layout = painted(scene, self.size)
        condition = Condition(
            label=first_shape(scene.factors),
            caption=self.captions(index, scene.factors),
            layout=layout,
            factors=scene.factors,
        )
        return Batch(image, condition, index)

    def instances(self, index: Tensor) -> Tensor:
        """Whose each pixel is, ``(B, H, W)`` int64; see :func:`paint.instances`."""
        scene = self.arranged(index)
        return paint.instances(scene, paint.layers(scene, self.size))

    def depth(self, index: Tensor) -> Tensor:
        """How far each pixel is, ``(B, 1, H, W)`` in [0, 1]."""
        scene = self.arranged(index)
        return paint.depth(scene, paint.instances(scene, paint.layers(scene, self.size)))

    def edges(self, index: Tensor) -> Tensor:
        """Where objects end, bool ``(B, 1, H, W)``."""
        return paint.edges(self.instances(index))

    def graphs(self, index: Tensor) -> list[list[tuple[int, str, int]]]:
        """The scene graphs: true (subject, relation, object) by the numbers of :meth:`instances`."""
        return [wording.graph(row) for row in self.rows(index).tolist()]


class SceneEdits(World):
    """A scene (``source``), what to change in it (``instruction``), and the scene in which that is done (the image).

    ``kinds`` are those of ``instruct.EDIT_KINDS`` that are drawn. ``factors`` are those of the image.
    """

    name = "scenes-edits"
    natural = DataSpec(
        Shape(3, 64, 64),
        source_shape=Shape(3, 64, 64),
        layout_names=paint.CLASSES,
        words=wording.words(),
        factors=FACTORS,
        provides=frozenset({"source", "instruction", "layout", "factors"}),
    )

    def __init__(
        self,
        size: int = 64,
        split: str = "train",
        length: int = 1_000_000,
        *,
        kinds: Sequence[str] = instruct.EDIT_KINDS,
    ) -> None:
        super().__init__(size, split, length)
        for kind in kinds:
            if kind not in instruct.EDIT_KINDS:
                raise UnknownName("kind of instruction", kind, instruct.EDIT_KINDS)
        self.kinds = tuple(kinds)
        self.before = RichScenes(size, split, length)

    def instructions(self, index: Tensor) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Factors before and after ``(B, F)``, and the instructions."""
        rows = self.before.rows(self.checked(index))
        u = uniforms(self.key, index, instruct.DRAWS).tolist()
        made = [instruct.instruct(row, v, self.kinds) for row, v in zip(rows.tolist(), u, strict=True)]
        after = torch.tensor([row for _, row in made], device=index.device).view(-1, len(FACTORS))
        return rows, after, tuple(text for text, _ in made)

    def batch(self, index: Tensor) -> Batch:
        """The examples ``index`` (B,) int64, on the index's device."""
        rows, after, instructions = self.instructions(index)
        size = self.size
        before, _ = painted(self.before.arranged(index, rows), size)
        image, layout = painted(self.before.arranged(index, after), size)
        return Batch(image, Condition(source=before, instruction=instructions, layout=layout, factors=after), index)


def painted(scene: Arrangement, size: int) -> tuple[Tensor, Tensor]:
    """Pictures ``(B, 3, size, size)`` and layouts ``(B, size, size)``, some at a time: more do not fit the cache."""
    some = max(1, CHUNK // size**2)
    images, layouts = [], []
    for k in range(0, max(1, len(scene)), some):
        part = scene.rows(slice(k, k + some))
        made = paint.layers(part, size)
        images.append(paint.picture(part, made))
        layouts.append(paint.layout(part, paint.instances(part, made)))
    return torch.cat(images), torch.cat(layouts)


def first_shape(rows: Tensor) -> Tensor:
    """The shape ``(B,)`` of the first main object in reading order, into ``facts.SHAPES``."""
    shapes = corners(rows)[..., 0]  # (B, 4), 0 for none
    first = (shapes > 0).int().argmax(1, keepdim=True)  # argmax gives the first of equals
    return shapes.gather(1, first)[:, 0] - 1
