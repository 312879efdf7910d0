"""How folders are understood: the usual names in any case and word, and nothing passed over without a reason."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from folders import many, photo, put, told
from PIL import Image

import zeuxis as zx
from zeuxis.api.given import given
from zeuxis.data import preparing, survey
from zeuxis.data.arrange import arrange
from zeuxis.data.check import check
from zeuxis.data.folder import open_folder
from zeuxis.data.library import open_source
from zeuxis.data.source import Source
from zeuxis.errors import DataError, UnknownName, UsageError
from zeuxis.spec import DataSpec, Shape

NFD, NFC = (unicodedata.normalize(form, "é") for form in ("NFD", "NFC"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def plant(root: Path, *folders: str, n: int = 10, start: int = 0) -> None:
    for name in folders:
        many(root / name, n, start)


def parts(root: Path) -> dict[str, Source]:
    return {split: open_folder(root, 8, split) for split in ("train", "val", "test")}


def counts(found: dict[str, Source]) -> tuple[int, ...]:
    return tuple(len(found[split]) for split in ("train", "val", "test"))


# -- splits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Val", "Test"),
        ("TRAIN", "VALID", "TEST"),
        ("training", "validation", "testing"),
        ("train", "dev", "test"),
        ("Training_Set", "Validation_Set", "Test_Set"),
        ("train_images", "val_images", "test_images"),
        ("train2017", "val2017", "test2017"),
    ],
)
def test_splits_by_any_usual_word(root: Path, train: str, val: str, test: str) -> None:
    for name, n in ((train, 6), (val, 2), (test, 3)):
        plant(root / name, "cat", "dog", n=n)
    found = parts(root)
    assert counts(found) == (12, 4, 6)
    assert {s.spec.class_names for s in found.values()} == {("cat", "dog")}
    assert found["train"].remarks[0].startswith(f"read as splits {train}/, {val}/, {test}/; 2 classes")


@pytest.mark.parametrize("layout", [("gt", "lq"), ("images", "masks"), ("cat", "dog"), ("A", "B")])
def test_splits_within_the_folders_of_a_layout(root: Path, layout: tuple[str, str]) -> None:
    for name in layout:
        plant(root / name, "train", n=12)
        plant(root / name, "Test", n=3, start=50)
    found = parts(root)
    whole = 2 if layout == ("cat", "dog") else 1
    assert (len(found["train"]) + len(found["val"]), len(found["test"])) == (12 * whole, 3 * whole)


def test_two_folders_of_one_split_are_refused(root: Path) -> None:
    plant(root, "train", "val", "valid")
    with pytest.raises(DataError, match="both val/ and valid/ would be the split 'val'"):
        open_folder(root, 8)


def test_splits_without_one_to_train_on_are_refused(root: Path) -> None:
    plant(root, "test", "val")
    with pytest.raises(DataError, match="val/ are splits, and there is none to train on"):
        open_folder(root, 8)


def test_a_train_is_a_class_among_cars_and_ships(root: Path) -> None:
    plant(root, "car", "ship", "train")
    assert open_folder(root, 8).spec.class_names == ("car", "ship", "train")


def test_what_lies_beside_the_splits_is_listed(root: Path) -> None:
    plant(root, "train", "test", "extra")
    put(root / "loose.png", photo(0))
    found = open_folder(root, 8)
    assert [one.path for one in found.skipped if one.kind == "beside"][-1] == "loose.png" and len(found.skipped) == 11
    assert "not used: 11 beside" in found.remarks[0] and check(root).read == found.remarks[0]


def test_unpaired_collections_in_any_case(root: Path) -> None:
    plant(root, "TrainA", "train_B", n=12)
    plant(root, "testA", "TESTB", n=4)
    found = parts(root)
    assert counts(found) == (11, 1, 4) and found["train"].spec.provides == {"source"}
    assert len(told(found["train"])) == 1


# -- pairs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "source"),
    [("GT", "LQ"), ("HQ", "LQ"), ("hr", "lr"), ("HR", "LR"), ("target", "input"), ("Target", "Input"), ("B", "A"),
     ("clean", "noisy"), ("high", "low"), ("GroundTruth", "input"), ("set_HR", "set_LR")],
)  # fmt: skip
def test_pairs_by_any_usual_names(root: Path, target: str, source: str) -> None:
    for k in range(10):
        put(root / target / f"{k:03}.png", Image.new("L", (8, 8), 100 + k))
        put(root / source / f"{k:03}.png", Image.new("L", (8, 8), 10 + k))
    found = open_folder(root, 8)
    assert found.spec.provides == {"source"} and found.spec.class_names == () and found.skipped == ()
    batch = found.pixels(torch.arange(len(found)))
    assert batch.condition.source is not None and len(found) == 8
    assert (batch.image.long() - batch.condition.source.long() == 90).all(), "the target is what is learnt"
    assert f"pictures of {target}/ with their source in {source}/" in found.remarks[0]


def test_pairs_of_other_names_are_told_of(root: Path) -> None:
    for k in range(4):
        put(root / "A" / f"{k}.png", Image.new("L", (8, 8), 100 + k))
        put(root / "B" / f"other-{k}.png", Image.new("L", (8, 8), 10 + k))
    assert "2 classes, a folder each (and no pairs: " in check(root).read


@pytest.mark.parametrize("name", ["{k}_{folder}", "{folder}-{k}", "{k}.{folder}"])
@pytest.mark.parametrize(("target", "source"), [("B", "A"), ("sharp", "blur"), ("GT", "LQ")])
def test_pairs_whose_names_hold_their_folders(root: Path, target: str, source: str, name: str) -> None:
    for k in range(10):
        for top, light in ((target, 100), (source, 10)):
            put(root / top / f"{name.format(k=k, folder=top)}.png", Image.new("L", (8, 8), light + k))
    found = open_folder(root, 8)
    batch = found.pixels(torch.arange(len(found)))
    assert batch.condition.source is not None and len(found) == 8 and found.skipped == ()
    assert (batch.image.long() - batch.condition.source.long() == 90).all()


def test_names_that_hold_their_folders_are_said(root: Path) -> None:
    for k in range(4):
        for top in "AB":
            put(root / top / f"{k}_{top}.png", photo(k))
    said = "pictures of B/ with their source in A/, by names without those of their folders"
    assert said in check(root).read
    put(root / "A" / "5.png", photo(5))  # and then nothing says that all are named so
    assert "and no pairs: " in check(root).read


def test_names_that_are_equal_already_are_left_as_they_are(root: Path) -> None:
    for k in range(4):
        for top in "AB":
            put(root / top / f"{k}_A.png", photo(k))
    assert check(root).read.startswith("read as pictures of B/ with their source in A/:")


@pytest.mark.parametrize("scenes", [("a", "b"), ("a", "b", "c")])
def test_pairs_within_each_folder_of_a_scene(root: Path, scenes: tuple[str, ...]) -> None:
    """As GoPro's frames lie, of which ``blur_gamma`` is a third folder; classes they are not."""
    for k, scene in enumerate(scenes):
        for n in range(6):
            for kind, shade in (("sharp", 100), ("blur", 10), ("blur_gamma", 200)):
                put(root / "train" / scene / kind / f"{n}.png", Image.new("L", (8, 8), shade + 10 * k + n))
    put(root / "test" / "z" / "sharp" / "7.png", Image.new("L", (8, 8), 107))
    put(root / "test" / "z" / "blur" / "7.png", Image.new("L", (8, 8), 17))
    found, held_out = open_folder(root, 8), open_folder(root, 8, "test")
    assert found.spec.provides == held_out.spec.provides == {"source"} and found.spec.class_names == ()
    batch = found.pixels(torch.arange(len(found)))
    assert batch.condition.source is not None and len(held_out) == 1
    assert (batch.image.long() - batch.condition.source.long() == 90).all(), "of one scene, the sharp one is learnt"
    assert "pictures of sharp/ with their source in blur/ of every folder" in found.remarks[0]


def test_folders_in_classes_are_no_pairs_where_names_differ(root: Path) -> None:
    for name in ("cats", "dogs"):
        plant(root, f"{name}/before")
        plant(root, f"{name}/after", start=20)
    assert open_folder(root, 8).spec.class_names == ("cats", "dogs")


@pytest.mark.parametrize(
    ("one", "other", "pair"),
    [("{}_HR", "{}_LR2", True), ("{}", "{}_mask001", True), ("s{}_GT_010", "s{}_NOISY_010", True),
     ("{}_left", "{}_right", False)],
)  # fmt: skip
def test_pairs_that_lie_in_one_folder_are_told_of(root: Path, one: str, other: str, pair: bool) -> None:
    for k in range(10):
        put(root / f"{one.format(k)}.png", photo(k))
        put(root / f"{other.format(k)}.png", photo(k + 10))
    said = [line for line in open_folder(root, 8).remarks if "are a pair" in line]
    assert len(said) == pair and all(f"{one.format(0)}.png and {other.format(0)}.png" in line for line in said)


@pytest.mark.parametrize(("size", "double"), [((32, 16), True), ((32, 17), False)])
def test_pictures_that_may_be_two_are_told_of(root: Path, size: tuple[int, int], double: bool) -> None:
    """As facades and maps are published, of which a recipe's own damage would be made."""
    for k in range(10):
        put(root / f"{k}.png", photo(k, size))
    assert any("--pair halves" in line for line in open_folder(root, 8).remarks) == double
    assert not any("--pair halves makes" in line for line in open_folder(root, 8, halves=True).remarks)


def test_sources_of_a_folder_that_damage_replaces_are_told_of(root: Path) -> None:
    plant(root, "gt", "lq")
    assert any("holds are not used: 'grey' makes" in line for line in open_source(f"{root} | grey", 8).remarks)


def test_grey_pictures_in_files_of_colours_are_told_of(root: Path) -> None:
    for k in range(10):
        put(root / f"{k}.png", photo(k, mode="L").convert("RGB"))
    assert any("every picture is grey" in line for line in open_folder(root, 8).remarks)
    put(root / "a.png", photo(8))
    assert not any("every picture is grey" in line for line in open_folder(root, 8).remarks)


@pytest.mark.parametrize("masks", ["masks", "Masks", "labels", "MASK", "SegmentationClass"])
def test_masks_by_any_usual_name(root: Path, masks: str) -> None:
    plant(root, "Images", masks)
    assert open_folder(root, 8).spec.provides == {"mask"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("é1.png", "é1.jpg"), (f"{NFD}1.png", f"{NFC}1.png"), ("IMG1.PNG", "img1.png"), ("0001.png", "0001x4.png"),
     ("cell.png", "cell_mask.png"), ("a b#%.png", "a b#%.webp")],
)  # fmt: skip
def test_partners_in_another_form_of_the_name(root: Path, one: str, other: str) -> None:
    put(root / "gt" / one, photo(1))
    put(root / "lq" / other, photo(2))
    assert check(root).usable == 1


def test_two_files_of_one_name_in_a_paired_folder_are_listed(root: Path) -> None:
    plant(root, "gt", "lq", n=40)
    put(root / "lq" / "003.jpg", photo(99))  # gt/003.png goes with lq/003.png
    (root / "lq" / "004.png").unlink()
    for suffix in ("bmp", "jpg"):  # which of them is meant?
        put(root / "lq" / f"004.{suffix}", photo(98))
    found = check(root)
    out = {f.path: f.message for f in found.findings if f.left_out}
    assert sorted(out) == ["gt/004.png", "lq/003.jpg", "lq/004.bmp", "lq/004.jpg"] and found.usable == 39
    assert out["lq/004.bmp"] == "two files of that name: 004.bmp, 004.jpg"


def test_names_that_differ_by_case_alone_are_two_pairs(root: Path) -> None:
    for folder_ in ("gt", "lq"):
        for name in ("A.png", "a.png"):
            put(root / folder_ / name, photo(len(name)))
    if len(list((root / "gt").iterdir())) == 2:  # a file system that tells them apart
        assert check(root).usable == 2


def test_letters_are_classes_where_they_are_no_pair(root: Path) -> None:
    plant(root, "A", "B", "C")
    assert open_folder(root, 8).spec.class_names == ("A", "B", "C")
    shutil.rmtree(root / "C")
    assert open_folder(root, 8).spec.provides == {"source"}
    shutil.rmtree(root / "B")
    plant(root, "B", start=50)
    assert open_folder(root, 8).spec.class_names == ("A", "B")


# -- classes ------------------------------------------------------------------------------------------


def test_classes_are_in_natural_order_and_a_number_means_one_thing(root: Path) -> None:
    for k in range(12):
        for name in ("1.png", "2.png"):
            put(root / str(k) / name, Image.new("L", (8, 8), 20 * k))
    found = open_folder(root, 8)
    assert found.spec.class_names == tuple(map(str, range(12)))
    batch = found.pixels(torch.arange(len(found)))
    assert batch.condition.label is not None
    assert batch.image[:, 0, 0, 0].tolist() == [20 * k for k in batch.condition.label.tolist()]


def test_class_folders_in_another_form_of_the_name_are_one_class(root: Path) -> None:
    plant(root / "train", f"{NFC}1", "Dog", n=12)
    many(root / "train" / f"{NFD}1", 3, 40)
    plant(root / "test", f"{NFD}1", "dog", "emu", n=4)
    train, test = open_folder(root, 8), check(root)
    assert train.spec.class_names == ("Dog", f"{NFC}1") and len(train) + len(open_folder(root, 8, "val")) == 27
    assert {f.path for f in test.findings if f.left_out} == {f"test/emu/{k:03}.png" for k in range(4)}
    for name in ("Cat", "cat"):
        many(root / "train" / name, 3)
    if len(list((root / "train").iterdir())) == 5:  # a file system that tells them apart
        assert "4 classes, a folder each (1 of them differs from another by case alone)" in check(root).read


@pytest.mark.parametrize(
    ("names", "number", "index"),
    [
        (("0", "1", "2", "10"), 2, 2),
        (("1", "2", "10"), 2, 1),
        (("1", "2", "10"), 10, 2),
        (("007", "008"), 8, 1),
        (("ant", "bee", "cow"), 2, 2),
        (("ant", "2"), 0, 0),
    ],
)
def test_a_label_means_the_same_from_python_in_a_command_and_in_a_replay(
    names: tuple[str, ...], number: int, index: int
) -> None:
    label = given("label", DataSpec(Shape(3, 8, 8), class_names=names), "mine")
    for value in (number, str(number), names[index]):
        assert label.read([value]).tolist() == [index], value
    recorded = label.plain(label.read([number]))
    assert recorded == {"number": index, "name": names[index]}
    assert label.read([label.again(recorded, None)]).tolist() == [index]
    assert label.read([label.again(index, None)]).tolist() == [index], "as older records have it"


def test_a_number_that_no_folder_is_called_by_is_refused() -> None:
    label = given("label", DataSpec(Shape(3, 8, 8), class_names=("1", "2", "10")), "mine")
    for value in (0, "0", 3):
        with pytest.raises(UnknownName, match="unknown class"):
            label.read([value])


def test_nine_pictures_train(root: Path, tmp_path: Path) -> None:
    many(root, 9)
    run = zx.train("gaussian", data=root, out=tmp_path / "run", size=8, quiet=True)
    assert run.preview is not None and run.skipped == 0
    assert "read as pictures: 9 used; not used: none" in run.notes


@dataclass(frozen=True)
class Planted:
    """What is done to two classes of ten, and what becomes of it."""

    do: Callable[[Path], object]
    classes: tuple[str, ...] = ("ant", "bee")
    kinds: tuple[str, ...] = ()
    used: int = 20


def linked(root: Path, into: Path) -> None:
    into.symlink_to(root / "ant")


PLANTED = {
    "a stray picture": Planted(lambda r: put(r / "stray.png", photo(1)), kinds=("stray",)),
    "a system's folders": Planted(lambda r: plant(r, "__MACOSX", "@eaDir", ".thumbs"), kinds=("hidden",) * 3),
    "a Mac's notes": Planted(lambda r: put(r / "ant" / "._000.png", data=b"x"), kinds=("hidden",)),
    "a folder of texts": Planted(lambda r: put(r / "docs" / "a.txt", data=b"x"), kinds=("text",)),
    "a film": Planted(lambda r: put(r / "ant" / "a.mp4", data=b"x"), kinds=("no picture",)),
    "a class of phone pictures": Planted(
        lambda r: put(r / "cow" / "a.heic", data=b"x"), ("ant", "bee", "cow"), ("unsupported",)
    ),
    "an empty picture": Planted(lambda r: put(r / "ant" / "a.png", data=b""), kinds=("damaged",)),
    "a class that is damaged": Planted(
        lambda r: put(r / "Cow" / "a.png", data=b""), ("Cow", "ant", "bee"), ("damaged",)
    ),
    "a link in a circle": Planted(lambda r: (r / "ant" / "again").symlink_to(r), kinds=("link",)),
    "a class that is a link inside": Planted(
        lambda r: (r / "cow").symlink_to(r / "ant"), ("ant", "bee", "cow"), used=30
    ),
    "a class that is a link to nowhere": Planted(
        lambda r: (r / "bat").symlink_to(r / "gone"), ("ant", "bat", "bee"), ("no file",)
    ),
    "uppercase suffixes": Planted(lambda r: put(r / "ant" / "X.JPEG", photo(3)), used=21),
    "deeper folders": Planted(lambda r: put(r / "ant" / "x" / "y" / "1.png", photo(3)), used=21),
    "an archive": Planted(lambda r: put(r / "all.tar.gz", data=b"x"), kinds=("archive",)),
    "a shard": Planted(lambda r: put(r / "all.tar", data=b"x"), kinds=("beside",)),
    "no suffix": Planted(lambda r: shutil.copy(r / "ant" / "000.png", r / "ant" / "000"), kinds=("unsupported",)),
}


@pytest.mark.parametrize(
    ("name", "around"),
    [*((name, around) for name in PLANTED for around in ("", "photos/all of them")), ("a stray picture", "photos")],
)
def test_labels_stay_and_nothing_is_lost_in_silence(
    root: Path, name: str, around: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(preparing.VARIABLE, "0.2")
    inner = root / around
    plant(inner, "ant", "bee")
    PLANTED[name].do(inner)
    found, source = check(root), open_folder(root, 8)
    left = {f.path: f.kind for f in found.findings if f.left_out}
    assert sorted(left.values()) == sorted(PLANTED[name].kinds)
    assert source.spec.class_names == PLANTED[name].classes and found.usable == PLANTED[name].used
    assert {one.path: one.kind for one in (*source.skipped, *source.ignored)} == left
    assert told(source) == (found.read,) and f"{found.usable} used" in found.read
    on_disk = {os.path.relpath(Path(at, f), root) for at, folders, names in os.walk(root) for f in names}
    listed = {path for path in on_disk if any(path == p or (p[-1] == "/" and f"{path}/".startswith(p)) for p in left)}
    used = {example.image for _, listing in arrange(root).parts for example in listing.examples} - left.keys()
    assert len(used) == found.usable and used & on_disk == on_disk - listed, "each file is used or listed, and not both"


def test_a_class_that_is_a_link_elsewhere_is_not_lost_in_silence(root: Path, tmp_path: Path) -> None:
    plant(root, "ant")
    many(tmp_path / "elsewhere", 10)
    (root / "bee").symlink_to(tmp_path / "elsewhere")
    found = check(root)
    assert (found.pictures, found.usable, found.refused) == (20, 10, True)
    assert {f.kind for f in found.findings} >= {"outside"}
    with pytest.raises(DataError, match=r"10 of 20 .*bee/000\.png \(leads outside the folder: copy the file in\)"):
        open_folder(root, 8)


def test_a_folder_elsewhere_decides_nothing_by_what_it_holds(root: Path, tmp_path: Path) -> None:
    many(root, 40)
    for name in ("train/ant", "train/bee", "test/ant", "gt", "lq"):
        many(tmp_path / "elsewhere" / name, 2)
    (root / "more").symlink_to(tmp_path / "elsewhere")
    found, source = check(root), open_folder(root, 8)
    assert source.spec.provides == frozenset() and source.spec.class_names == () and found.usable == 40
    ((path, message),) = [(f.path, f.message) for f in found.findings if f.left_out]
    assert path == "more/" and "10 pictures in its folders, which are not read" in message


def test_of_a_folder_elsewhere_no_more_is_looked_at_than_is_worth_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(root, 40)
    many(tmp_path / "elsewhere", 3)
    many(tmp_path / "elsewhere" / "deep" / "deeper", 3)
    for k in range(50):
        (tmp_path / "elsewhere" / f"empty-{k:02}").mkdir()
    (root / "more").symlink_to(tmp_path / "elsewhere")
    looked, real = [], os.scandir

    def counted(path: Path) -> Iterator[os.DirEntry[str]]:
        looked.append(Path(path))
        return real(path)

    monkeypatch.setattr(survey.os, "scandir", counted)
    paths = []
    for most in (60, 54):
        monkeypatch.setattr(survey, "MOST_ELSEWHERE", most)
        looked.clear()
        paths.append({f.path: f.message for f in check(root).findings if f.left_out})
        assert len(looked) <= most + 2
    assert [sorted(each) for each in paths] == [["more/", *(f"more/{k:03}.png" for k in range(3))]] * 2
    assert "(3 pictures in its folders" in paths[0]["more/"] and "(more than 0 pictures" in paths[1]["more/"]


def test_a_class_that_cannot_be_looked_into_keeps_its_label(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ant", "bee", "cow"):
        many(root / name, 20)
    real = os.scandir

    def refusing(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "bee":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(survey.os, "scandir", refusing)
    source = open_folder(root, 8)
    assert source.spec.class_names == ("ant", "bee", "cow")
    label = source.batch(torch.arange(len(source))).condition.label
    assert label is not None and set(label.tolist()) == {0, 2}
    assert [(one.path, one.kind) for one in source.skipped] == [("bee/", "unreadable")]
    assert "no picture that can be used in bee" in source.remarks[0]


def test_pictures_that_may_not_be_read_are_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(root, 30)
    monkeypatch.setattr(survey.os, "access", lambda path, mode: Path(path).name != "003.png")
    assert [(one.path, one.kind) for one in open_folder(root, 8).skipped] == [("003.png", "unreadable")]


def test_many_pictures_beside_folders_are_no_classes_and_that_is_said(root: Path) -> None:
    plant(root, "holiday", "family", n=5)
    many(root, 20, start=50)
    source = open_folder(root, 8)
    assert source.spec.class_names == () and check(root).usable == 30
    assert "20 beside 2 folders, which are no classes then" in source.remarks[0]


@pytest.mark.parametrize("name", ["photo.heic", "photo.avifx", "photo.CR2"])
def test_a_folder_of_nothing_that_is_read_says_so(root: Path, name: str) -> None:
    put(root / name, data=b"x")
    found = check(root)
    assert found.refused and found.usable == 0 and [f.path for f in found.findings] == [name]
    with pytest.raises(DataError, match=r"no pictures|1 of 1 pictures"):
        open_folder(root, 8)


def test_an_archive_alone_is_pointed_at(root: Path) -> None:
    put(root / "all.zip", data=b"PK")
    with pytest.raises(DataError, match=r"no pictures in .*'all\.zip' is an archive: unpack it"):
        open_folder(root, 8)


def test_the_share_that_may_be_of_no_use_can_be_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(root, 10)
    put(root / "bad.png", data=b"")
    with pytest.raises(DataError, match=r"1 of 11 .*more than 5 %.*or allow more with ZEUXIS_MOST_SKIPPED=0\.1"):
        open_folder(root, 8)
    monkeypatch.setenv(preparing.VARIABLE, "0.1")
    assert len(open_folder(root, 8)) == 8 and not check(root).refused
    for wrong in ("much", "2", "nan"):
        monkeypatch.setenv(preparing.VARIABLE, wrong)
        with pytest.raises(UsageError, match="a share from 0"):
            check(root)


@pytest.mark.parametrize(("train", "test"), [("data", "data"), ("train", "test"), ("a/b", "x/y")])
def test_folders_around_all_within_a_split_are_passed(root: Path, train: str, test: str) -> None:
    plant(root / "train" / train, "ant", "bee")
    plant(root / "test" / test, "ant", "bee", n=3)
    assert open_folder(root, 8, "test").spec.class_names == open_folder(root, 8).spec.class_names == ("ant", "bee")


@pytest.mark.parametrize("inner", [("ant", "bee"), ("gt", "lq"), ("train", "test")])
def test_a_stray_picture_beside_the_folder_around_all(root: Path, inner: tuple[str, str]) -> None:
    plant(root / "photos", *inner)
    put(root / "stray.png", photo(3))
    found, source = check(root), open_folder(root, 8)
    assert {f.path: f.kind for f in found.findings if f.left_out} == {"stray.png": "beside"} and not found.refused
    gives = {"ant": {"label"}, "gt": {"source"}, "train": set()}
    assert source.spec.provides == gives[inner[0]] and "within photos/, " in source.remarks[0]


def test_one_class_of_the_test_pictures_is_not_taken_for_a_folder_around(root: Path) -> None:
    plant(root / "train", "ant", "bee")
    plant(root / "test", "bee", n=3)
    label = open_folder(root, 8, "test").batch(torch.arange(3)).condition.label
    assert label is not None and label.tolist() == [1, 1, 1]


def test_a_split_that_gives_something_else_is_told(root: Path) -> None:
    plant(root / "train", "ant", "bee")
    plant(root, "test", n=5)
    remark = "beside the pictures of test/ there is nothing, of those to train on label"
    assert told(open_folder(root, 8))[1:] == check(root).remarks == (remark,)


def test_a_folder_that_holds_nothing_is_no_root_of_the_disk(root: Path) -> None:
    assert [(f.path, f.kind) for f in check(root).findings] == [("./", "empty")]


def test_an_empty_folder_is_listed(root: Path) -> None:
    plant(root, "ant", "bee")
    (root / "cow").mkdir()
    found = check(root)
    assert [(f.path, f.kind) for f in found.findings if f.left_out] == [("cow/", "empty")] and "1 empty" in found.read
    assert open_folder(root, 8).spec.class_names == ("ant", "bee")


@pytest.mark.parametrize("n", [1, 3, 9])
def test_few_pictures_are_enough_to_train_on(root: Path, n: int) -> None:
    many(root, n)
    assert (len(open_folder(root, 8)), len(open_folder(root, 8, "val"))) == (n, n)
    assert "too few pictures to hold any out" in told(open_folder(root, 8, "val"))[-1]
    with pytest.raises(DataError, match="too few pictures to set any apart for 'test'"):
        open_folder(root, 8, "test")


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("trainA", "trainB")])
def test_grey_beside_colour_is_one_decision(root: Path, one: str, other: str) -> None:
    for k in range(10):
        put(root / one / f"{k}.png", photo(k, mode="L"))
        put(root / other / f"{k}.png", photo(k))
    first, second = open_folder(root, 8), open_folder(root, 8, "test")
    assert first.spec.shape == second.spec.shape == (3, 8, 8)
    assert first.spec.source_shape in (None, (3, 8, 8))
    for path in (root / other).iterdir():
        put(path, photo(1, mode="L"))
    assert open_folder(root, 8).spec.shape == open_folder(root, 8, "test").spec.shape == (1, 8, 8)


@pytest.mark.parametrize(("source", "smaller"), [((8, 6), True), ((24, 18), False), ((20, 15), False)])
def test_sources_that_are_smaller_by_a_factor_are_told_of(root: Path, source: tuple[int, int], smaller: bool) -> None:
    """They are enlarged to the pictures' size, which is not what a network that enlarges should learn from."""
    for k in range(12):
        put(root / "hr" / f"{k}.png", photo(k))
        put(root / "lr" / f"{k}.png", photo(k, source))
    first, *more = told(parts(root)["train"])
    assert "hr/ with their source in lr/" in first
    assert ["--pair enlarge:3" in remark for remark in more] == [True] * smaller


# -- dataset.json -------------------------------------------------------------------------------------


def style_dataset(root: Path, labels: object, n: int = 24) -> None:
    for k in range(n):
        put(root / f"{k // 12:05d}" / f"img{k:08d}.png", photo(k))
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))


def style_names(n: int = 24) -> list[str]:
    return [f"{k // 12:05d}/img{k:08d}.png" for k in range(n)]


def test_the_classes_of_a_style_dataset_are_those_of_its_file(root: Path) -> None:
    style_dataset(root, [[name, k % 3] for k, name in enumerate(style_names())])
    found = parts(root)
    for source in found.values():
        assert source.spec.class_names == ("0", "1", "2")
    assert "3 classes by dataset.json: 24 used; not used: none" in found["train"].remarks[0]
    listing = arrange(root).parts[0][1]
    assert [(e.image, e.label) for e in listing.examples[:2]] == [(style_names()[0], 0), (style_names()[1], 1)]


def test_a_style_dataset_without_labels_has_no_classes(root: Path) -> None:
    style_dataset(root, None)
    assert parts(root)["train"].spec.provides == frozenset()
    assert "pictures, of no classes by dataset.json: 24 used" in arrange(root).line()


def test_what_a_file_of_classes_leaves_out_or_names_in_vain_is_listed(root: Path) -> None:
    style_dataset(root, [*([name, 1] for name in style_names()[:-1]), ["00000/none.png", 0]])
    (_, listing), *_ = arrange(root).parts
    assert [(s.path, s.kind) for s in listing.skipped] == [
        (style_names()[-1], "unnamed"),
        ("00000/none.png", "missing"),
    ]


@pytest.mark.parametrize(
    "labels",
    [
        *([["a.png", label]] for label in (-1, True, [0.5, 1], [1, 1], [], [0, 0], 10**9, 1.5, "cat")),
        *("x", []),
    ],
)
def test_a_file_of_classes_that_says_none_is_told_of(root: Path, labels: object) -> None:
    style_dataset(root, labels)
    found = arrange(root)
    assert any(s.path == "dataset.json" and "numbers of classes" in s.reason for s in found.ignored)
    for said in (found.remarks, told(parts(root)["train"])[1:]):  # not among thousands of files: in a line of its own
        assert len(said) == 1 and said[0].startswith("dataset.json says nothing of the pictures: wants")


def test_classes_may_be_real_numbers_and_rows_with_a_single_1(root: Path) -> None:
    names = style_names()
    style_dataset(root, [*([name, 2.0] for name in names[:-1]), [names[-1], [0.0, 1.0, 0.0]]])
    (_, listing), *_ = arrange(root).parts
    assert [e.label for e in listing.examples] == [2] * 23 + [1]


def test_the_entry_that_says_no_class_is_told(root: Path) -> None:
    style_dataset(root, [*([name, 0] for name in style_names()), ["00000/img.png", [0.1, 0.2]]])
    (said,) = arrange(root).remarks
    assert 'entry 25 is ["00000/img.png", [0.1, 0.2]]' in said


def test_a_picture_that_a_file_gives_two_classes_is_of_none(root: Path) -> None:
    names = style_names()
    style_dataset(root, [*([name, k % 2] for k, name in enumerate(names)), [names[0], 0], [names[1], 0]])
    (_, listing), *_ = arrange(root).parts
    assert [e.image for e in listing.examples] == [names[0], *names[2:]]
    (out,) = listing.skipped
    assert out.path == names[1] and out.fault and "of class 0 and 1 by dataset.json" in out.reason


def test_classes_that_no_picture_has_are_told_of(root: Path) -> None:
    style_dataset(root, [[name, 1 + k % 2] for k, name in enumerate(style_names())])
    assert "3 classes by dataset.json (no picture of 0, which nothing is learnt of" in arrange(root).line()
