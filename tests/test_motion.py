"""The world of motion: frames against the closed form, and words against what is seen."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.batch import to_float, to_uint8
from zeuxis.data.worlds import motion
from zeuxis.data.worlds.motion import FACTORS, Motion, MotionClips

MANY = torch.arange(300)
NAMES = [name for name, _ in FACTORS]


def column(factors: Tensor, name: str) -> Tensor:
    return factors[:, NAMES.index(name)]


def test_an_example_does_not_depend_on_its_company() -> None:
    world = Motion(33, "val")
    index = torch.tensor([5, 999_999, 0, 17])
    together = world.batch(index)
    assert together.condition.source is not None and together.condition.source.shape == (4, 9, 33, 33)
    for k in range(len(index)):
        alone = world.batch(index[k : k + 1])
        assert torch.equal(alone.image[0], together.image[k])
        assert alone.condition.source is not None
        assert torch.equal(alone.condition.source[0], together.condition.source[k])
        assert alone.condition.caption == together[slice(k, k + 1)].condition.caption


def test_frames_are_pictures_and_a_batch_is_the_beginning_of_a_clip() -> None:
    world = Motion(32)
    clip, batch = world.clip(MANY[:8], 6), world.batch(MANY[:8])
    assert clip.shape == (8, 6, 3, 32, 32) and torch.equal(to_float(to_uint8(clip)), clip)
    assert torch.equal(clip[:, 3], batch.image)
    assert batch.condition.source is not None
    assert torch.equal(clip[:, :3].flatten(1, 2), batch.condition.source)


def test_the_first_step_goes_where_the_caption_says() -> None:
    world = Motion(64)
    course = world.course(MANY)
    moved = course.centre(1) - course.centre(0)
    captions = world.batch(MANY).condition.caption
    assert captions is not None
    words = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "upper": (1, -1), "down": (1, 1), "lower": (1, 1)}
    for b, caption in enumerate(captions):
        parts = caption.split(" and a ")
        assert len(parts) == int((course.shape[b] >= 0).sum())
        for which, part in enumerate(parts):
            said = [
                words[w.removesuffix("wards")]
                for w in part.split("moving")[1].split()
                if w.removesuffix("wards") in words
            ]
            way = [0.0, 0.0]
            for axis, sign in said:
                way[axis] = float(sign)
            step = moved[b, which]
            length = motion.STEPS[" fast " in part]
            wanted = torch.tensor(way) / torch.tensor(way).norm() * length
            assert torch.allclose(step, wanted, atol=1e-5), caption


def test_things_bounce_and_never_leave_the_frame() -> None:
    course = Motion(64).course(MANY)
    at = torch.stack([course.centre(t) for t in range(200)])
    assert (at - course.radius[..., None]).min() > -1e-5 and (at + course.radius[..., None]).max() < 1 + 1e-5
    velocity = at[1:] - at[:-1]
    fast = course.step.norm(dim=-1) > 0.05
    turns = ((velocity[1:] * velocity[:-1]) < 0).any(0)[fast]  # (N, axis)
    assert turns.any(1).all()  # whatever moves fast has bounced by then
    assert velocity.norm(dim=-1).max() < max(motion.STEPS) + 1e-5


def test_what_is_seen_is_where_the_course_says() -> None:
    world = Motion(64)
    course = world.course(MANY)
    alone = (course.shape[:, 1] < 0) & (course.shape[:, 0] == 0)  # single circles: their centroid is their centre
    rows = alone.nonzero()[:, 0]
    assert len(rows) > 10
    at = (torch.arange(64) + 0.5) / 64
    still = world.course(MANY[rows])
    for t in range(4):
        image = motion.paint(still, t, 64)
        gone = motion.paint(replace(still, shape=torch.full_like(still.shape, -1)), t, 64)
        odd = (image != gone).any(1).float()  # (N, H, W): the circle
        total = odd.sum((1, 2))
        x, y = (odd * at).sum((1, 2)) / total, (odd * at[:, None]).sum((1, 2)) / total
        assert torch.allclose(torch.stack([x, y], 1), course.centre(t)[rows, 0], atol=0.01)


def test_the_splits_share_no_motion_and_every_value_occurs() -> None:
    found = {split: Motion(32, split).course(torch.arange(3000)).factors for split in ("train", "val", "test")}
    rows = {split: set(map(tuple, factors.tolist())) for split, factors in found.items()}
    assert not rows["train"] & rows["val"] and not rows["val"] & rows["test"] and not rows["train"] & rows["test"]
    for k, (name, size) in enumerate(FACTORS):
        assert found["train"][:, k].unique().tolist() == list(range(size)), name
    single = column(found["train"], "shape_2") == 0
    assert 0.45 < single.float().mean() < 0.55
    assert (found["train"][single][:, 6:] == 0).all()


def test_captions_use_known_words() -> None:
    captions = Motion(32).batch(torch.arange(500)).condition.caption
    assert captions is not None
    assert {word for caption in captions for word in caption.split()} == set(Motion.natural.words)


def test_of_two_objects_only_one_order_is_meant() -> None:
    rows = Motion(32).course(torch.arange(3000)).factors
    two = rows[:, 6] > 0
    first, second = rows[two, 1:6].tolist(), (rows[two, 6:] - 1).tolist()
    assert all(a <= b for a, b in zip(first, second, strict=True))
    times = rows[:, 0].float().mean()
    assert 0.45 < times < 0.55


def test_objects_start_apart() -> None:
    course = Motion(32).course(MANY)
    gap = (course.start[:, 0] - course.start[:, 1]).abs()
    ring = torch.minimum(gap, 1 - gap)
    assert ring.min() >= motion.APART - 1e-6


def test_a_clip_is_its_frames_one_upon_the_other() -> None:
    clips = MotionClips(32, "val")
    batch = clips.batch(MANY[:5])
    assert clips.spec.shape == batch.image.shape[1:] == (12, 32, 32) and batch.condition.source is None
    assert torch.equal(batch.image, clips.clip(MANY[:5]).flatten(1, 2))
