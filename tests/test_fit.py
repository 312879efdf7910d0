"""Pictures of mixed shapes: what is kept of them, windows chosen anew, and buckets."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zeuxis.api.contact import contact_sheet
from zeuxis.api.evaluate import evaluate
from zeuxis.api.model import load
from zeuxis.api.pictures import sheet
from zeuxis.api.runs import train
from zeuxis.batch import Batch, Shape, joined, to_uint8
from zeuxis.catalog.assemble import build_for
from zeuxis.cli import main
from zeuxis.cli.options import recipe_of
from zeuxis.data import decode
from zeuxis.data.batches import Batches
from zeuxis.data.bucketed import BucketBatches, endless
from zeuxis.data.fit import SQUARE, Buckets, Crop, Patch, Square, fit_picture, middle_box, parse_fit
from zeuxis.data.library import open_source
from zeuxis.data.ragged import Bucket
from zeuxis.data.source import ArraySource, Source
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError
from zeuxis.recipe import Train, load_recipe

SIZES = ((48, 32), (32, 48), (40, 40), (90, 30), (33, 64), (64, 48), (200, 32))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


def plaid(width: int, height: int, blue: int = 0) -> Image.Image:
    """Red grows to the right and green downwards, by one level a pixel: a window tells where it was cut."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.full_like(x, blue)], -1).astype(np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """70 pictures of seven sizes, blue telling which; beside them a damaged one."""
    made = tmp_path / "pictures"
    made.mkdir()
    for k in range(70):
        plaid(*SIZES[k % len(SIZES)], blue=k).save(made / f"{k:02}.png")
    (made / "bad.png").write_bytes(b"")
    return made


def blues(batch: Batch) -> list[int]:
    """Which pictures those of a batch are."""
    return [int(p[2, p.shape[1] // 2, p.shape[2] // 2]) for p in to_uint8(batch.image)]


def taken(stream: Batches | BucketBatches, n: int) -> list[Batch]:
    return [stream.next() for _ in range(n)]


# -- the spelling, and what is kept -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("square", Square()),
        ("crop", Crop(1.125)),
        ("crop:1.5", Crop(1.5)),
        ("patch", Patch(2048)),
        ("patch:640", Patch(640)),
        ("bucket", Buckets()),
        ("bucket:32", Buckets(32)),
    ],
)
def test_a_fit_is_spelled_as_it_is_read(text: str, fit: object) -> None:
    assert parse_fit(text) == fit and parse_fit(str(fit)) == fit


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("crop:0.5", "1 .none. to 4 times"),
        ("crop:nan", "1 .none. to 4 times"),
        ("crop:a", "'a' is no number"),
        ("patch:0", "1 to 16384 pixels"),
        ("patch:1.5", "'1.5' is no number"),
        ("bucket:1.5", "'1.5' is no number"),
        ("bucket:0", "multiples of 1 or more"),
        ("square:2", "write square, crop:ROOM"),
        ("stretch", "unknown fit 'stretch'"),
    ],
)
def test_a_fit_that_makes_no_sense_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_fit(text)


@pytest.mark.parametrize("size", [32, 64, 96, 128, 256, 512, 1024])
@pytest.mark.parametrize("step", [None, 8])
def test_bucket_shapes_have_about_the_pixels_of_the_square(size: int, step: int | None) -> None:
    shapes = Buckets(step).shapes(size)
    assert shapes[0] == (size, size) and len(set(shapes)) == len(shapes) >= 3
    assert {(h, w) for w, h in shapes} == set(shapes), "lying and standing alike"
    for width, height in shapes:
        assert width % 8 == height % 8 == 0 and 0.7 * size**2 < width * height <= size**2
        assert max(width, height) <= 2 * min(width, height)
    if step is None:
        assert len(shapes) <= 9, "a few"


@pytest.mark.parametrize(("fit", "size"), [(Buckets(), 100), (Buckets(16), 32), (Buckets(7), 64), (Buckets(), 101)])
def test_sizes_that_leave_no_choice_of_shapes_are_refused_and_the_mends_work(fit: Buckets, size: int) -> None:
    with pytest.raises(UsageError) as refused:
        fit.shapes(size)
    words = str(refused.value).split()
    assert len(fit.shapes(int(words[words.index("--size") + 1]))) >= 3
    mended = parse_fit(words[-1])
    assert isinstance(mended, Buckets) and len(mended.shapes(size)) >= 3


def test_what_is_kept_of_a_picture() -> None:
    assert SQUARE.kept(300, 200, 64) == (64, 64)
    assert Crop(1.25).kept(300, 200, 64) == (120, 80)  # the shorter side 1.25 times 64
    assert Crop(1.25).kept(200, 300, 64) == (80, 120)
    assert Crop(1.25).kept(90, 70, 64) == (90, 70)  # less room: nothing is enlarged to make it
    assert Crop(1.25).kept(30, 20, 64) == (96, 64)  # smaller than the size: enlarged to it
    assert Crop(1).kept(1_000_000, 10, 64) == (192, 64)  # never more elongated than 3:1
    assert Buckets(8).kept(400, 300, 64) == (72, 56)
    assert Buckets(8).kept(300, 400, 64) == (56, 72)
    assert Buckets(8).kept(1600, 900, 64) == Buckets(8).kept(9000, 10, 64) == (80, 48)
    assert Buckets(8).kept(101, 100, 64) == (64, 64)


@pytest.mark.parametrize("target", [(64, 64), (80, 48), (48, 80), (1, 3)])
def test_the_middle_is_cut_with_the_right_proportions(target: tuple[int, int]) -> None:
    for size in ((100, 100), (301, 200), (7, 500), (1, 1), (2, 9)):
        left, top, right, bottom = middle_box(size, target)
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        assert right - left == size[0] or bottom - top == size[1], "no more is cut than must be"
        assert abs(left - (size[0] - right)) <= 1 and abs(top - (size[1] - bottom)) <= 1
        if min(size) > 5:
            wanted = (bottom - top) * target[0] / target[1]
            assert abs(right - left - wanted) <= 1 or abs(bottom - top - (right - left) * target[1] / target[0]) <= 1


@pytest.mark.parametrize("fit", [Crop(1.2), Buckets(8)])
def test_a_disc_stays_a_disc(fit: Crop | Buckets) -> None:
    y, x = np.mgrid[:200, :300]
    disc = Image.fromarray(np.where((x - 149.5) ** 2 + (y - 99.5) ** 2 < 60**2, 255, 0).astype(np.uint8))
    kept = np.asarray(fit_picture(disc, fit.kept(300, 200, 64))) > 127
    assert kept.any(0).sum() == pytest.approx(kept.any(1).sum(), abs=1)
    assert kept.any(0).sum() > 30


# -- windows ------------------------------------------------------------------------------------------


def opened(root: Path, fit: str, size: int = 32, split: str = "train") -> Source:
    return open_source(root, size, split, fit)


def test_windows_are_chosen_anew_each_epoch_and_hold_untouched_pixels(root: Path) -> None:
    source = opened(root, "crop:1.25")
    assert source.spec.shape == Shape(3, 32, 32) and source.buckets == ()
    index = torch.arange(len(source))
    seen = [to_uint8(source.at(epoch).batch(index).image) for epoch in range(30)]
    assert torch.equal(seen[3], to_uint8(source.at(3).batch(index).image))
    for k, n in enumerate(blues(source.batch(index))):
        width, height = SIZES[n % len(SIZES)]
        if (width, height) != (40, 40):  # of 40x40 all is kept as it was: 1.25 times 32
            continue
        corners = {(int(s[k, 0, 0, 0]), int(s[k, 1, 0, 0])) for s in seen}
        assert len(corners) > 15 and all(0 <= c <= 8 for corner in corners for c in corner)
        assert {0, 8} <= {c for corner in corners for c in corner}, "windows reach both edges"
        for s in seen:
            left, top = int(s[k, 0, 0, 0]), int(s[k, 1, 0, 0])
            assert torch.equal(s[k, 0], torch.arange(left, left + 32, dtype=torch.uint8).expand(32, 32))
            assert torch.equal(s[k, 1].T, torch.arange(top, top + 32, dtype=torch.uint8).expand(32, 32))


def test_patches_are_of_pictures_at_their_own_resolution(root: Path) -> None:
    """Red counts columns and green rows: of a picture that was resized neighbours would not differ by 1."""
    source = opened(root, "patch")
    index = torch.arange(len(source))
    corners: dict[int, set[tuple[int, int]]] = {}
    for epoch in range(40):
        batch = source.at(epoch).batch(index)
        for picture, n in zip(to_uint8(batch.image), blues(batch), strict=True):
            width, height = SIZES[n % len(SIZES)]
            if min(width, height) < 32:  # is enlarged until the window fits
                continue
            left, top = int(picture[0, 0, 0]), int(picture[1, 0, 0])
            assert torch.equal(picture[0], torch.arange(left, left + 32, dtype=torch.uint8).expand(32, 32))
            assert torch.equal(picture[1].T, torch.arange(top, top + 32, dtype=torch.uint8).expand(32, 32))
            corners.setdefault(n % len(SIZES), set()).add((left, top))
    for which, found in corners.items():
        width, height = SIZES[which]
        assert max(x for x, _ in found) >= (width - 32) * 0.9 and max(y for _, y in found) >= (height - 32) * 0.9


def test_held_out_patches_are_the_middle_at_the_same_resolution(root: Path) -> None:
    unseen = opened(root, "patch", split="val")
    batch = unseen.batch(torch.arange(len(unseen)))
    assert torch.equal(batch.image, unseen.at(7).batch(torch.arange(len(unseen))).image)
    checked = 0
    for picture, n in zip(to_uint8(batch.image), blues(batch), strict=True):
        width, height = SIZES[n % len(SIZES)]
        if min(width, height) >= 32:
            assert (int(picture[0, 0, 0]), int(picture[1, 0, 0])) == ((width - 32) // 2, (height - 32) // 2)
            assert int(picture[0, 0, 31]) - int(picture[0, 0, 0]) == 31
            checked += 1
    assert checked


def test_the_longest_side_of_patches_is_bounded() -> None:
    fit = Patch(1000)
    assert fit.kept(800, 600, 64) == (800, 600) and fit.kept(4000, 2000, 64) == (1000, 500)
    assert fit.kept(20000, 100, 64) == (12800, 64), "but a patch fits in"
    assert fit.kept(40, 30, 64) == (85, 64), "and what is smaller is enlarged, not stretched"
    assert fit.kept(1, 60000, 64) == (64, 16384), "of a line of pixels the middle, or it would take 700 MB"


@pytest.mark.parametrize(("fit", "told"), [("patch", True), ("crop", False), ("square", False)])
def test_pictures_that_are_smaller_than_a_patch_are_told_of(fit: str, told: bool, tmp_path: Path) -> None:
    for k, size in enumerate([(20, 40)] * 3 + [(40, 40)] * 9):
        plaid(*size, blue=k).save(tmp_path / f"{k}.png")
    remarks = " ".join(open_source(tmp_path, 32, fit=fit).remarks)
    assert ("of 12 pictures 3 are smaller than a window of 32" in remarks) == told
    assert "smaller than a window" not in " ".join(open_source(tmp_path, 16, fit=fit).remarks)


def test_a_window_does_not_depend_on_its_company(root: Path) -> None:
    source = opened(root, "crop").at(5)
    whole = source.batch(torch.arange(len(source))).image
    for k in (0, 7, len(source) - 1):
        assert torch.equal(source.batch(torch.tensor([k])).image[0], whole[k])
    assert torch.equal(source.batch(torch.tensor([9, 2])).image, whole[[9, 2]])


def test_pairs_and_masks_are_cut_where_their_pictures_are(tmp_path: Path) -> None:
    for folders in (("gt", "lq"), ("images", "masks")):
        home = tmp_path / folders[0]
        for k in range(6):
            picture = plaid(60, 40, blue=k)
            for folder, half in zip(folders, (1, 2), strict=True):
                (home / folder).mkdir(parents=True, exist_ok=True)
                scaled = picture.resize((60 // half, 40 // half), Image.Resampling.BOX)
                if folder == "masks":  # light in the right half
                    scaled = Image.fromarray(np.where(np.asarray(picture)[..., 0] >= 30, 255, 0).astype(np.uint8))
                scaled.save(home / folder / f"{k}.png")
        source = opened(home, "crop:1.25")
        for epoch in range(4):
            batch = source.at(epoch).batch(torch.arange(len(source)))
            image = to_uint8(batch.image).int()
            if folders[0] == "gt":
                assert batch.condition.source is not None
                other = to_uint8(batch.condition.source).int()
                assert (image[:, :2] - other[:, :2]).abs().float().mean() < 1
                assert image[:, 0, 0, 0].unique().numel() > 1
            else:
                assert batch.condition.mask is not None
                assert torch.equal(batch.condition.mask[:, 0] == 1, image[:, 0] >= 30)


@pytest.mark.parametrize("taken_first", range(0, 12, 3))
def test_a_stream_of_windows_goes_on_bit_equal(root: Path, taken_first: int) -> None:
    whole = Batches(opened(root, "crop"), 24, seed=3)
    taken(whole, taken_first)
    resumed = Batches(opened(root, "crop"), 24, seed=3)
    resumed.restore(json.loads(json.dumps(whole.state())))
    for a, b in zip(taken(whole, 8), taken(resumed, 8), strict=True):
        assert torch.equal(a.image, b.image)
        assert a.index is not None and b.index is not None and torch.equal(a.index, b.index)


def test_a_batch_over_the_end_of_an_epoch_has_the_windows_of_both(root: Path) -> None:
    source = opened(root, "crop")
    n = len(source)
    stream = Batches(source, n + 5, seed=0)
    first = stream.next()
    assert first.index is not None
    expected = joined([source.at(0).batch(first.index[:n]), source.at(1).batch(first.index[n:])])
    assert torch.equal(first.image, expected.image)
    assert expected.index is not None and torch.equal(first.index, expected.index)


def test_degraded_and_unpaired_pictures_are_cut_anew_too(root: Path, tmp_path: Path) -> None:
    index = torch.arange(20)
    degraded = open_source(f"{root} | shrink:2", 32, "train", "crop:1.25")
    a, b = (degraded.at(epoch).batch(index) for epoch in (0, 1))
    assert a.condition.source is not None and b.condition.source is not None
    assert not torch.equal(a.image, b.image) and not torch.equal(a.condition.source, b.condition.source)
    small = torch.nn.functional.avg_pool2d(a.image, 2)  # the source is made of the very window
    assert (small - a.condition.source).abs().mean() < 0.01 < (small - b.condition.source).abs().mean()
    for name in ("trainA", "trainB"):
        (tmp_path / "two" / name).mkdir(parents=True)
        for k in range(20):
            plaid(60, 40, k).save(tmp_path / "two" / name / f"{k}.png")
    unpaired = opened(tmp_path / "two", "crop")
    a, b = (unpaired.at(epoch).batch(torch.arange(len(unpaired))) for epoch in (0, 1))
    assert blues(a) == blues(b) and not torch.equal(a.image, b.image)
    with pytest.raises(UsageError, match="use --fit crop"):
        opened(tmp_path / "two", "bucket")


# -- buckets ------------------------------------------------------------------------------------------


class Shaped(ArraySource):
    """Numbered examples in buckets of given sizes."""

    def __init__(self, *sizes: int) -> None:
        n = sum(sizes)
        super().__init__("shaped", np.zeros((n, 1, 2, 2), np.uint8))
        order = torch.arange(n).flip(0).split(list(sizes))
        self.buckets = tuple(Bucket(Shape(1, 2, 2 + k), members) for k, members in enumerate(order))


def indices(stream: BucketBatches, n: int) -> list[Tensor]:
    return [b.index for b in taken(stream, n) if b.index is not None]


def test_a_folder_falls_into_buckets_and_loses_nothing(root: Path) -> None:
    source = opened(root, "bucket:8", 64)
    assert source.spec.shape == Shape(3, 64, 64)
    shapes = Buckets(8).shapes(64)
    assert {(b.shape.width, b.shape.height) for b in source.buckets} <= set(shapes)
    assert sorted(k for b in source.buckets for k in b.members.tolist()) == list(range(len(source)))
    for bucket in source.buckets:
        batch = source.batch(bucket.members)
        assert Shape(*batch.image.shape[1:]) == bucket.shape
        for n in blues(batch):
            assert Buckets(8).kept(*SIZES[n % len(SIZES)], 64) == (bucket.shape.width, bucket.shape.height)
    with pytest.raises(ValueError, match="take a batch from one bucket"):
        source.batch(torch.arange(len(source)))
    assert [one.path for one in source.skipped] == ["bad.png"]


def test_a_batch_is_full_and_of_one_bucket() -> None:
    source = Shaped(10, 7, 3)
    of = {int(k): b for b, bucket in enumerate(source.buckets) for k in bucket.members}
    for index in indices(BucketBatches(source, 4, seed=1), 100):
        assert len(index) == 4 and len({of[int(k)] for k in index}) == 1


def test_every_example_is_met_equally_often_and_no_rest_is_dropped() -> None:
    source, size = Shaped(10, 7, 3, 1), 4
    stream = BucketBatches(source, size, seed=2)
    met: Counter[int] = Counter()
    batches = 0
    for epoch in range(1, 13):
        wanted = sum(epoch * len(b.members) // size for b in source.buckets)
        for index in indices(stream, wanted - batches):
            met.update(index.tolist())
        batches = wanted
        assert stream.epoch == epoch - 1
        for bucket in source.buckets:
            counts = [met[int(k)] for k in bucket.members]
            assert max(counts) - min(counts) <= 1
            assert sum(counts) == epoch * len(bucket.members) // size * size
    assert all(met[k] == 12 for k in range(21)), "twelve epochs are a whole number of batches of every bucket"


def test_buckets_and_their_examples_are_shuffled_by_the_seed() -> None:
    def order(seed: int, n: int = 30) -> list[list[int]]:
        return [i.tolist() for i in indices(BucketBatches(Shaped(40, 40), 4, seed), n)]

    assert order(1) == order(1) != order(2)
    first = [min(i) >= 40 for i in order(1, 20)]
    assert first not in (sorted(first), sorted(first, reverse=True)), "buckets come mixed"
    met = [k for i in order(1, 40) for k in i if k < 40]
    assert sorted(met[:40]) == sorted(met[40:]) == list(range(40)) and met[:40] != met[40:]


@pytest.mark.parametrize("taken_first", range(0, 14, 2))
def test_a_stream_of_buckets_goes_on_where_it_was(taken_first: int) -> None:
    whole = BucketBatches(Shaped(10, 7, 3), 4, seed=5)
    taken(whole, taken_first)
    resumed = BucketBatches(Shaped(10, 7, 3), 4, seed=5)
    resumed.restore(json.loads(json.dumps(whole.state())))
    assert [i.tolist() for i in indices(whole, 20)] == [i.tolist() for i in indices(resumed, 20)]
    assert whole.state() == resumed.state()


def test_other_buckets_batches_or_seeds_are_not_resumed() -> None:
    state = BucketBatches(Shaped(10, 7), 4, seed=5).state()
    for stream in (BucketBatches(Shaped(7, 10), 4, seed=5), BucketBatches(Shaped(10, 7), 8, seed=5)):
        with pytest.raises(DataError, match="start a new run"):
            stream.restore(state)
    with pytest.raises(DataError, match="seed 5"):
        BucketBatches(Shaped(10, 7), 4, seed=6).restore(state)
    with pytest.raises(DataError, match="start a new run"):  # the state of a stream without buckets
        BucketBatches(Shaped(10, 7), 4, seed=5).restore({"epoch": 0, "position": 0, "seed": 5, "length": 17})


def test_each_source_has_its_stream() -> None:
    assert isinstance(endless(Shaped(10, 7), 4, 0), BucketBatches)
    plain = ArraySource("plain", np.zeros((3, 1, 2, 2), np.uint8))
    assert isinstance(endless(plain, 4, 0), Batches)
    with pytest.raises(ValueError, match="no buckets"):
        BucketBatches(plain, 4, 0)
    with pytest.raises(ValueError, match="has buckets"):
        Batches(Shaped(10, 7), 4, 0)


# -- the doors ----------------------------------------------------------------------------------------


def test_held_out_pictures_are_centred_squares_whatever_the_fit(root: Path) -> None:
    for split in ("val", "test"):
        square = opened(root, "square", split=split)
        for fit in ("crop", "bucket:8"):
            other = opened(root, fit, split=split)
            assert other.fingerprint() == square.fingerprint() and other.buckets == ()
    prints = {opened(root, fit).fingerprint() for fit in ("square", "crop", "crop:1.5", "bucket:8")}
    assert len(prints) == 4


def test_a_fit_is_refused_where_it_has_nothing_to_do(root: Path) -> None:
    with pytest.raises(UsageError, match="to which size"):
        open_source(root, None, "train", "crop")
    for name in ("digits", "scenes", "digits | blur"):
        with pytest.raises(UsageError, match="for folders and hub datasets"):
            open_source(name, 32, "train", "crop")
    with pytest.raises(UnknownName, match="did you mean crop"):
        open_source(root, 32, "val", "corp")


def test_threads_change_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "cut.png").write_bytes((root / "03.png").read_bytes()[:60])
    found = []
    for workers, at_once in ((1, 256), (4, 256), (3, 7)):
        monkeypatch.setattr(decode, "WORKERS", workers)
        monkeypatch.setattr(decode, "AT_ONCE", at_once)
        monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / f"cache-{workers}"))
        for fit in ("square", "crop", "bucket:8"):
            opened(root, fit)
        kept = sorted((tmp_path / f"cache-{workers}" / "prepared").iterdir())
        files = sorted(file for folder in kept for file in folder.iterdir())
        found.append([(f.parent.name, f.name, f.read_bytes()) for f in files])
    assert found[0] == found[1] == found[2] and len(found[0]) > 15
    lines = [text for _, name, text in found[0] if name == "skipped.jsonl"]
    assert all(b"bad.png" in text and b"cut.png" in text for text in lines) and len(lines) == 3


# -- systems ------------------------------------------------------------------------------------------

SMALL = {
    "ddpm": {"width": 8, "multiples": [1, 2], "blocks": 1, "chain": 10},
    "vqgan": {"width": 8, "multiples": [1, 1, 2], "blocks": 1, "attention": [4], "codes": 16, "latent": 8,
              "code_width": 8, "ndf": 4, "layers": 2, "critic_start": 0.3},
    "flow-matching": {"network": {"kind": "unet", "width": 8, "multiples": [1, 2], "blocks": 1}},
}  # fmt: skip


ROUNDS = 4


def small(system: str, root: Path, fit: str = "bucket:8", **model: object):
    recipe = load_recipe(system)
    return recipe.model_copy(
        update={
            "data": str(root),
            "size": 32,
            "fit": fit,
            "model": {**SMALL.get(system, {}), **model},
            "players": {},
            "sample": {"steps": 1} if system in ("ddpm", "flow-matching") else {},
            "train": Train(iterations=ROUNDS, batch=4, ema=0.9, save_minutes=60, preview_minutes=60),
        }
    )


@pytest.mark.parametrize("system", SMALL)
def test_systems_of_convolutions_are_trained_on_several_shapes(system: str, root: Path, tmp_path: Path) -> None:
    recipe = small(system, root)
    run = train(recipe, out=tmp_path / "run")
    assert run.clock.round == ROUNDS and not run.clock.notes.get("bad_steps")
    assert json.loads((run.folder / "run.json").read_text())["recipe"]["fit"] == "bucket:8"
    model = load(run.folder)
    assert model.card["fit"] == "bucket:8" and tuple(model.system.shape) == (3, 32, 32)
    shapes = {tuple(b.image.shape[1:]) for b in taken(endless(opened(root, "bucket:8"), 4, recipe.train.seed), ROUNDS)}
    assert len(shapes) > 1, "the rounds met several shapes"


def test_others_refuse_buckets_and_name_the_mend(root: Path) -> None:
    source = opened(root, "bucket:8")
    for recipe in (
        small("dcgan", root),
        small("flow-matching", root, network={"kind": "dit"}),
        small("gaussian", root),
    ):
        with pytest.raises(Unsupported, match="use --fit crop or --fit square"):
            build_for(recipe, source)
    with pytest.raises(UsageError, match=r"multiples of 16, .*use --fit bucket:16"):
        build_for(small("ddpm", root, multiples=[1, 1, 1, 1, 1], attention=[]), source)


def test_a_crop_is_recorded_and_gone_on_with(root: Path, tmp_path: Path) -> None:
    recipe = small("vqgan", root, "crop", critic_start=0.0)  # nothing that depends on the length of the budget
    whole = train(recipe, out=tmp_path / "whole")
    half = recipe.model_copy(update={"train": recipe.train.model_copy(update={"iterations": ROUNDS // 2})})
    train(half, out=tmp_path / "parts")
    run_json = json.loads((tmp_path / "parts" / "run.json").read_text())
    run_json["recipe"]["train"]["iterations"] = ROUNDS  # the budget grows; all else is the same training
    (tmp_path / "parts" / "run.json").write_text(json.dumps(run_json))
    parts = train(recipe, out=tmp_path / "parts")
    assert parts.clock.round == whole.clock.round == ROUNDS
    model = load(parts.folder)
    assert model.weights_sha256 == load(whole.folder).weights_sha256
    assert model.card["fit"] == "crop" and model.card["reference"] == opened(root, "crop").fingerprint()
    with pytest.raises(UsageError, match="holds a run of another recipe"):
        train(recipe.model_copy(update={"fit": "square"}), out=tmp_path / "parts")
    figure = evaluate(model, metrics=("psnr",), samples=4)[0]
    square = opened(root, "square", split="test")
    assert figure.as_dict()["reference"] == f"{square.fingerprint()}/test/4"


def test_the_command_line_shows_sheet_and_buckets(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "sheet.png"
    line = ["data", str(root), "--size", "64", "--fit", "bucket:8", "--out", str(page)]
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    source = opened(root, "bucket:8", 64)
    assert found["shape"] == [3, 64, 64] and found["examples"] == len(source)
    sizes = [(b["width"], b["height"], b["examples"]) for b in found["buckets"]]
    assert sizes == [(b.shape.width, b.shape.height, len(b.members)) for b in source.buckets]
    widest, tallest = max(w for w, _, _ in sizes), max(h for _, h, _ in sizes)
    with Image.open(page) as sheet:
        assert sheet.width > 7 * widest and sheet.height > 7 * tallest
    assert main(line) == 0
    out = capsys.readouterr().out
    assert f"{len(sizes)} buckets" in out and all(f"{w}x{h}" in out for w, h, _ in sizes)
    for wrong in (
        ["data", "--fit", "crop"],
        ["data", "--check", str(root), "--fit", "crop"],
        ["data", str(root), "--fit", "crop"],
    ):
        assert main(wrong) == 2 and "--fit" in capsys.readouterr().err


def test_pictures_of_several_shapes_are_not_stretched_on_a_sheet(root: Path) -> None:
    source = opened(root, "bucket:8", 64)
    sheet = np.asarray(contact_sheet(source, 16)).astype(int)
    inside = (sheet != 255).all(-1)
    step = (sheet[:, 1:, 1] - sheet[:, :-1, 1])[inside[:, 1:] & inside[:, :-1]]
    assert (step == 0).mean() > 0.9, "rows of a plaid stay rows"
    columns = inside.sum(0).max(), inside.sum(1).max()
    assert all(0 < c < n for c, n in zip(columns, sheet.shape, strict=False)), "white shows around the pictures"


def test_pictures_of_several_shapes_keep_them_side_by_side() -> None:
    page = np.asarray(sheet([Image.new("RGB", (40, 20), "red"), Image.new("RGB", (10, 20), "blue")], 2, 2, gap=0))
    red, blue = ((page == colour).all(-1) for colour in ((255, 0, 0), (0, 0, 255)))
    assert page.shape == (40, 160, 3) and red[:, :80].all() and not blue[:, :110].any()
    assert blue[:, 110:130].all() and blue.sum() == 40 * 20, "as high as there is room, in the middle"


def test_the_command_line_passes_it_on(root: Path) -> None:
    assert recipe_of("dcgan", data=str(root), size=32, fit="crop:1.5").fit == "crop:1.5"
    assert recipe_of("dcgan").fit == "square"
