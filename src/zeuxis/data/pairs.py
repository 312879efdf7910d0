"""Which two folders hold the halves of pairs, and which of their pictures belong together: by names alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import PurePosixPath
from typing import Literal

from zeuxis.data.names import composed, without_case, without_tail

Role = Literal["source", "mask"]
# The halves of pairs, in any case; those that are DOUBTFUL, and A/ and B/, only where most of their names match.
TARGETS = ("gt", "hq", "hr", "target", "targets", "groundtruth", "ground_truth", "output")
SOURCES = ("lq", "lr", "input", "inputs", "source")
CONTROLS = (
    "conditioning_images",
    "conditioning_image",
    "conditioning",
    "conditions",
    "control",
    "controls",
    "control_images",
    "hint",
    "hints",
)  # of ControlNets: beside the targets, or beside what is called images/
DOUBTFUL = [
    ("B", "A"),
    ("clean", "noisy"),
    ("sharp", "blur"),
    ("sharp", "blurred"),
    ("high", "low"),
    ("after", "before"),
]
SIDE_OF = {  # what a word of a file's name says of it, where pictures and what belongs to them lie together
    **dict.fromkeys(("gt", "hr", "hq", "clean", "sharp", "target", "groundtruth"), "target"),
    **dict.fromkeys(("lr", "lq", "noisy", "blur", "blurred", "blurry", "input", "degraded"), "source"),
    **dict.fromkeys(("mask", "masks"), "mask"),
}
WORD = re.compile(r"[ _.-]+|(?<=[A-Z][A-Z])(?=[a-z])")  # between the words of a folder's name
IMAGES = ("images", "image", "imgs", "img", "pictures", "photos", "jpegimages")
PAIRS = [(one, other) for one in TARGETS for other in (*SOURCES, *CONTROLS)]
PAIRS += [(one, other) for one in IMAGES for other in CONTROLS]
MASKS = ("masks", "mask", "labels", "label", "annotations", "segmentations", "segmentationclass", "layouts",
         "layout", "label_maps", "labelmaps")  # fmt: skip


def roles(folders: Collection[str]) -> Iterator[tuple[str, str, Role, bool]]:
    """Folders of pictures and of what belongs to them, of ``folders``, with what that is, and whether the names alone
    leave no doubt."""
    low = {name if name in ("A", "B") else name.lower(): name for name in sorted(folders, reverse=True) if name}
    low = {key: name for key, name in low.items() if key not in ("a", "b")}  # as classes are called
    alone = not low.keys() - {"A", "B", "ab"}  # letters may be classes
    for image, other in (*PAIRS, *DOUBTFUL):
        if image in low and other in low and (image != "B" or alone):
            yield low[image], low[other], "source", (image, other) in PAIRS
    for image in IMAGES:
        for other in MASKS:
            if image in low and other in low:
                yield low[image], low[other], "mask", True
    for image, other in permutations(low, 2):
        if len(low) == 2 and _named_alike(low[image], low[other]):
            yield low[image], low[other], "source", False


def _named_alike(image: str, other: str) -> bool:
    """Whether the words of two names say that they are halves of pairs: ``set5_HR``, ``set5_LR``; ``GTmod12``,
    ``LRbicx4``."""
    words = [{word.lower() for word in WORD.split(name)} for name in (image, other)]
    return bool(words[0] & set(TARGETS) and words[1] & set(SOURCES)) and not words[0] & set(SOURCES)


def halves_by_name(files: Sequence[str]) -> tuple[str, str] | None:
    """Two of ``files`` that words of their names tell to be one pair, where most are: ``a_HR.png`` and ``a_LR2.png``;
    ``a.png`` and ``a_mask001.png``."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for file in files:
        path = PurePosixPath(file)
        words = [word for word in WORD.split(path.stem) if word]
        sides = [SIDE_OF.get(word.lower().rstrip("0123456789"), "") for word in words]
        rest = (str(path.parent), *(word for word, side in zip(words, sides, strict=True) if not side))
        found.setdefault(rest, {})[max(sides, default="")] = file
    wanted = (("target", "source"), ("", "mask"))
    pairs = [(two[a], two[b]) for two in found.values() for a, b in wanted if a in two and b in two]
    return pairs[0] if pairs and 4 * len(pairs) > len(files) else None


def partners(
    images: Mapping[str, str], others: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[str]]:
    """Pairs of equal names; files of which there are two, with the names of both; and those that remain alone."""
    matched: dict[str, tuple[str, str]] = {}
    twice: list[tuple[str, str]] = []
    left = [dict(images), dict(others)]
    for form in (composed, without_case, without_tail):
        groups: list[dict[str, list[str]]] = []
        for side in left:
            table: dict[str, list[str]] = {}
            for name in side:
                table.setdefault(form(str(PurePosixPath(name).with_suffix(""))), []).append(name)
            groups.append(table)
        for key in groups[0].keys() & groups[1].keys():
            one, other = groups[0][key], groups[1][key]
            if len(one) == len(other) == 1:
                matched[one[0]] = left[0].pop(one[0]), left[1].pop(other[0])
            elif form is composed:
                both = ", ".join(PurePosixPath(name).name for name in (one if len(one) > 1 else other))
                if len(same := sorted(set(one) & set(other))) == 1:  # these two are meant, and the rest is listed
                    matched[same[0]] = left[0].pop(same[0]), left[1].pop(same[0])
                twice += [(side.pop(name), both) for side, names in zip(left, (one, other), strict=True)
                          for name in names if name in side]  # fmt: skip
    return [matched[name] for name in sorted(matched)], sorted(twice), sorted([*left[0].values(), *left[1].values()])


def without_folder(places: Mapping[str, str], folder: str) -> dict[str, str]:
    """The same files by names that do not end, or begin, in the name of their folder: ``A/1_A.png`` is 1.

    As they are where not all do so, or two would have one name.
    """
    word = re.escape(without_case(folder))
    own = re.compile(rf"^{word}[ ._-]+|[ ._-]+{word}$")
    found: dict[str, str] = {}
    for place, path in places.items():
        inside = PurePosixPath(place)
        stem = own.sub("", without_case(inside.stem), count=1)
        if not stem or stem == without_case(inside.stem):
            return dict(places)
        found[str(inside.with_name(f"{stem}{inside.suffix}"))] = path
    return found if len(found) == len(places) else dict(places)
