"""The world of faces: are the pictures what the factors say, and the same every time?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zeuxis.batch import to_float, to_uint8
from zeuxis.data.source import Source
from zeuxis.data.worlds.face import FACTORS, JITTER, PROPORTIONS, face
from zeuxis.data.worlds.faces import PICTURES, WORDS, Faces, caption, descriptions
from zeuxis.data.worlds.portrait import HAIR, PARTS, SKIN, FaceCanvas, paint
from zeuxis.data.worlds.world import SPLITS, of_split
from zeuxis.errors import UnknownName, UsageError
from zeuxis.metrics.oracle import UNSAID
from zeuxis.rng import Stream


@pytest.fixture(scope="module")
def faces() -> Faces:
    return Faces(64)


def drawn(size: int = 64, n: int = 1, seed: int = 0, **stated: str) -> tuple[Tensor, Tensor]:
    """``n`` faces of one person with the factors that are said, and the first value of the others."""
    row = [values.index(stated.get(name, values[0])) for name, values in FACTORS.items()]
    person = Stream(seed).uniform(1, PROPORTIONS).expand(n, -1)
    look = Stream(seed, "look").uniform(1, JITTER).expand(n, -1)
    return paint(face(torch.tensor(row).expand(n, -1), person, look), size)


def share(layout: Tensor, part: str) -> float:
    return float((layout == PARTS.index(part)).float().mean())


def test_a_face_does_not_depend_on_its_company_or_the_run(faces: Faces) -> None:
    index = torch.tensor([3, 999_999, 17, 4])
    together, alone = faces.batch(index), faces.batch(index[2:3])
    assert torch.equal(together.image[2:3], alone.image)
    assert together.condition.layout is not None and alone.condition.layout is not None
    assert torch.equal(together.condition.layout[2:3], alone.condition.layout)
    assert Faces(64).fingerprint() == faces.fingerprint() != Faces(64, "val").fingerprint()
    odd = Faces(37)  # rows that no vector width divides
    assert torch.equal(odd.batch(torch.arange(70)).image[65:66], odd.batch(torch.tensor([65])).image)
    assert len(faces.batch(torch.arange(0))) == 0


def test_it_is_a_source_and_pixels_survive_a_file(faces: Faces) -> None:
    source: Source = faces
    batch = source.batch(torch.arange(16))
    assert batch.condition.given == source.spec.provides
    assert batch.image.shape == (16, 3, 64, 64) and batch.image.abs().max() <= 1
    assert torch.equal(to_float(to_uint8(batch.image)), batch.image)
    assert len(source) == 1_000_000 and source.spec.factors[0] == ("age", 3)
    for wrong in (lambda: Faces(4), lambda: Faces(64, length=0)):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(UnknownName):
        Faces(64, "tests")
    with pytest.raises(IndexError):
        faces.batch(torch.tensor([1_000_000]))


def test_splits_share_no_factors_and_no_person() -> None:
    sizes = [len(values) for values in FACTORS.values()]
    parts = {split: {tuple(r) for r in of_split(descriptions(), sizes, split).tolist()} for split in SPLITS}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(descriptions()) == 51_840
    persons = {split: Faces(16, split).faces(torch.arange(0, 800, PICTURES)).width for split in SPLITS}
    together = torch.cat(list(persons.values()))
    grown = torch.cat([Faces(16, s).faces(torch.arange(0, 800, PICTURES)).nose for s in SPLITS])
    assert len({*zip(together.tolist(), grown.tolist(), strict=True)}) == 300
    for split, rows in parts.items():
        seen = Faces(16, split).batch(torch.arange(200)).condition.factors
        assert seen is not None and {tuple(r) for r in seen.tolist()} <= rows


def test_every_value_occurs(faces: Faces) -> None:
    factors = faces.faces(torch.arange(4000)).factors
    for k, values in enumerate(FACTORS.values()):
        counts = torch.bincount(factors[:, k], minlength=len(values)) / 4000
        assert (counts - 1 / len(values)).abs().max() < 0.05


def test_a_person_is_met_again_with_other_factors(faces: Faces) -> None:
    index = torch.arange(3 * PICTURES)
    met = faces.faces(index)
    assert faces.person(index).tolist() == [k for k in range(3) for _ in range(PICTURES)]
    for numbers in (met.eyes, met.mouth, met.brow):  # proportions that no factor touches
        assert len(numbers[:PICTURES].unique()) == 1 and len(numbers.unique()) == 3
    assert len({tuple(r) for r in met.factors[:PICTURES].tolist()}) > 1


def test_values_of_a_factor_never_overlap(faces: Faces) -> None:
    many = faces.faces(torch.arange(3000))
    for factor, numbers in (("age", many.years), ("smile", many.curve), ("pose", many.turn), ("light", many.light)):
        by_value = [numbers[many.value(factor) == k] for k in range(3)]
        assert by_value[0].max() < by_value[1].min() and by_value[1].max() < by_value[2].min()


def test_each_factor_shows() -> None:
    base, layout = drawn()
    assert share(drawn(glasses="yes")[1], "glasses") > 0.01 > share(layout, "glasses")
    assert share(drawn(beard="yes")[1], "beard") > 0.02 > share(layout, "beard")
    assert share(drawn(hat="yes")[1], "hat") > 0.05 > share(layout, "hat")
    hair = [share(drawn(hair_style=style)[1], "hair") for style in FACTORS["hair_style"]]
    assert hair[0] == 0 and 0.03 < hair[1] < hair[2] and hair[1] < hair[3]
    old = drawn(age="old")[0]
    assert (old - drawn(age="grown")[0]).abs().mean() > 0.001
    for name, values in FACTORS.items():
        pictures = torch.cat([drawn(**{"hair_style": "long", name: value})[0] for value in values])
        for a in range(len(values)):
            for b in range(a):
                assert (pictures[a] - pictures[b]).abs().amax(0).gt(0.1).float().mean() > 0.004, f"{name}: {values[a]}"
    assert (base - drawn(seed=1)[0]).abs().mean() > 0.01


def test_no_factor_hides_another() -> None:
    """Not even a bald head hides the colour of its hair (the brows have it): every factor is always to be read."""
    rng = Stream(3)
    factors = torch.stack([rng.integers(len(values), 48) for values in FACTORS.values()], 1)
    factors[:24, 4], factors[:24, 6] = 0, 0  # bald and beardless
    person, look = rng.uniform(48, PROPORTIONS), rng.uniform(48, JITTER)
    plain = paint(face(factors, person, look), 64)[0]
    for k, (name, values) in enumerate(FACTORS.items()):
        for step in range(1, len(values)):
            other = factors.clone()
            other[:, k] = (other[:, k] + step) % len(values)
            apart = (paint(face(other, person, look), 64)[0] - plain).mul(127.5).abs().flatten(1).amax(1)
            assert apart.min() > 8, (
                f"{name} of face {int(apart.argmin())} shows by {float(apart.min()):.0f} grey levels"
            )


def test_smile_pose_and_light_go_the_way_they_say() -> None:
    def column(part: str, **stated: str) -> Tensor:
        layout = drawn(128, **stated)[1][0]
        return (layout == PARTS.index(part)).nonzero().float()  # rows of (y, x)

    def ends_above_middle(mood: str) -> float:
        mouth = column("mouth", smile=mood, pose="ahead")
        middle = mouth[:, 1].median()
        far = (mouth[:, 1] - middle).abs()
        return float(mouth[far < far.max() / 4, 0].mean() - mouth[far > 0.75 * far.max(), 0].mean())

    assert ends_above_middle("sad") < -1 and ends_above_middle("smiling") > 1
    nose = [float(column("nose", pose=pose)[:, 1].mean()) for pose in FACTORS["pose"]]
    assert nose[0] + 5 < nose[1] < nose[2] - 5
    for side, sign in (("left", -1), ("front", 0), ("right", 1)):
        image, layout = drawn(128, light=side, pose="ahead")
        skin = (layout[0, 40:70] == PARTS.index("skin")).float()
        grey = image[0, :, 40:70].mean(0)
        half = 64
        left = (grey[:, :half] * skin[:, :half]).sum() / skin[:, :half].sum()
        right = (grey[:, half:] * skin[:, half:]).sum() / skin[:, half:].sum()
        assert (right - left) * sign > 0.05 if sign else abs(right - left) < 0.1


def test_colours_are_those_of_the_factors() -> None:
    for k, colour in enumerate(FACTORS["hair_colour"]):
        image, layout = drawn(hair_colour=colour, hair_style="short")
        pixels = (image[0].permute(1, 2, 0)[layout[0] == PARTS.index("hair")] + 1) / 2
        assert (pixels.median(0).values - HAIR[k]).abs().max() < 0.02
    for k, tone in enumerate(FACTORS["skin"]):
        image, layout = drawn(skin=tone, light="front", age="grown")
        pixels = (image[0].permute(1, 2, 0)[layout[0] == PARTS.index("skin")] + 1) / 2
        assert (pixels.median(0).values - SKIN[k]).abs().max() < 0.12


def test_sizes_show_the_same_face(faces: Faces) -> None:
    small, large = faces.batch(torch.arange(8)).image, Faces(256).batch(torch.arange(8)).image
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    assert (small - shrunk).abs().mean() < 0.02


def test_captions_tell_the_factors_in_known_words(faces: Faces) -> None:
    batch = faces.batch(torch.arange(300))
    assert batch.condition.caption is not None and batch.condition.factors is not None
    for text, row in zip(batch.condition.caption, batch.condition.factors, strict=True):
        assert set(text.split()) <= set(WORDS)
        for name, values in FACTORS.items():
            value = values[int(row[list(FACTORS).index(name)])]
            if name in ("glasses", "beard", "hat"):
                assert (name in text.split()) == (value == "yes")
            elif name in ("age", "smile", "pose") or (name == "hair_style" and value != "bald"):
                assert value in text.split()
    assert caption(torch.zeros(10, dtype=torch.int64)) == "a young sad face with no hair looking left"
    assert len({w for t in batch.condition.caption for w in t.split()}) == len(WORDS)


def test_what_a_caption_leaves_open_is_not_asked_of_its_picture() -> None:
    world = Faces(32, "test")
    rows = world.batch(torch.arange(400)).condition.factors
    assert rows is not None
    stated = world.stated_factors(rows)
    names = list(FACTORS)
    unstated = {name: (stated[:, k] == UNSAID) for k, name in enumerate(names)}
    bald = rows[:, names.index("hair_style")] == FACTORS["hair_style"].index("bald")
    assert unstated.pop("skin").all() and unstated.pop("light").all()
    assert torch.equal(unstated.pop("hair_colour"), bald) and 0 < bald.sum() < len(bald)
    assert not torch.stack(list(unstated.values())).any()
    assert torch.equal(torch.where(stated == UNSAID, rows, stated), rows)
    # Two faces that differ only in what is not told have one caption.
    assert {caption(row) for row in torch.where(stated == UNSAID, 0, rows)} == {caption(row) for row in rows}


@pytest.mark.parametrize("size", [16, 32, 45, 64, 128])
def test_looking_at_some_rows_only_changes_no_pixel(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = Faces(size, "val").faces(torch.arange(120 if size < 128 else 40))
    image, layout = paint(faces, size)
    monkeypatch.setattr(FaceCanvas, "band", lambda self, top, foot: self)
    whole, parts = paint(faces, size)
    assert torch.equal(image, whole) and torch.equal(layout, parts)
