"""The folder layouts that people already use, each recognised by what lies in the folder; names in any case.

    metadata.jsonl      lines of {"file_name": ..., "text": ...}, or metadata.csv with such columns: captions, with
                        "label" classes in their place or beside them, and with "conditioning_image" (or "source")
                        the pictures that they are made from
    gt/ lq/             pairs of the same name: image and degraded source (and hq/lq, hr/lr, target/input, B/A, ...);
                        sources may lie in folders that say how much smaller they are (X4/), and all of it in
                        folders of scenes (SCENE/sharp/, SCENE/blur/: `zeuxis.data.scenes`)
    images/ masks/      pictures, and masks of the same name that are light where there is something
    AB/                 aligned pairs side by side: source left, image right
    dataset.json        the class of every picture, as StyleGAN's datasets have it (`zeuxis.data.class_file`)
    *.tar               WebDataset shards (`zeuxis.data.shards`), where no pictures lie beside them
    NAME/ NAME/ ...     two or more folders of pictures and next to none beside them: a class each
    anything else       pictures, at any depth
    NAME.jpg NAME.txt   captions, in the last two and beside dataset.json

Files are listed in the order of their names, classes in natural order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zeuxis.data.captions import Told, captions_beside
from zeuxis.data.names import composed, in_natural_order, without_case
from zeuxis.data.pairs import partners, roles, without_folder
from zeuxis.data.shards import MOST_CLASSES, Member, read_shard
from zeuxis.data.source import Skipped
from zeuxis.data.splits import STRAY, Home

OTHER_SCALE = "of another scale"  # why a source is left out
SCALE = re.compile(r"[xX][2-9]/")  # where the sources of one scale lie, as DIV2K has them


@dataclass(frozen=True)
class Example:
    """The files and facts of one example. Paths are relative to the folder."""

    image: str
    source: str | None = None
    mask: str | None = None
    beside: bool = False  # image and source are the right and left half of one file
    label: int | None = None
    caption: str | None = None


@dataclass
class Listing:
    """What a folder holds, or one split of it; ``how`` it was read, in a few words."""

    examples: list[Example] = field(default_factory=list)
    class_names: tuple[str, ...] = ()
    skipped: list[Skipped] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)  # of examples in shards, by the name of the image
    texts: list[str] = field(default_factory=list)  # that were read as captions
    how: str = "pictures"

    @property
    def gives(self) -> frozenset[str]:
        """The fields of ``Condition`` that it holds."""
        fields = ("source", "mask", "label", "caption")
        found = {name for name in fields for e in self.examples if getattr(e, name) is not None}
        return frozenset(found | {"source" for e in self.examples if e.beside})

    def file(self, root: Path, name: str) -> Path:
        """The file on disk that holds the picture ``name``."""
        return self.members[name].shard if name in self.members else root / name

    def files(self, root: Path) -> list[Path]:
        """The files on disk of all examples, in order."""
        names = [name for e in self.examples for name in (e.image, e.source, e.mask) if name is not None]
        return [self.file(root, name) for name in names]


@dataclass(frozen=True)
class SplitFiles:
    """What lies in one split: the files of ``root`` at ``pictures``, ``shards`` and ``texts``, and all ``meant`` as
    pictures; ``classes`` are the names that count, where another split has settled them."""

    root: Path
    home: Home
    pictures: Sequence[str]
    shards: Sequence[str]
    texts: Sequence[str]
    meant: Sequence[str]
    captions: Sequence[Told] | None = None  # pictures and what metadata say of them, where there are any
    classes: tuple[str, ...] | None = None
    labels: Mapping[str, int] | None = None  # of each picture, where a file says that: none where there are no classes
    factor: int | None = None  # by which pictures are larger than the sources that are wanted

    def tops(self, paths: Iterable[str]) -> Counter[str]:
        """How many of ``paths`` lie in each folder of the layout; "" for those in none."""
        seen = (self.home.place(path) for path in paths)
        return Counter(path.partition("/")[0] if "/" in path else "" for path in seen)


def list_split(part: SplitFiles) -> Listing:
    """The listing of a part, by the first layout that recognises it."""
    for layout in (_with_metadata, _pairs, _side_by_side, _sharded):
        if (listing := layout(part)) is not None:
            return listing
    return _with_texts(part, _labelled(part) or _class_folders(part) or _flat(part))


def _with_metadata(part: SplitFiles) -> Listing | None:
    """Captions and classes from metadata; pictures that it does not name are not used."""
    if part.captions is None:
        return None
    sources = {told.source for told in part.captions if told.source is not None}
    names, numbers = _told_classes(part)
    listing = Listing(class_names=names)
    for told in part.captions:
        label = None if told.label is None else numbers.get(told.label)
        if names and label is None:
            known = "no class, where others have one" if told.label is None else None
            why = known or f"its class '{told.label}' is not among those to train on"
            listing.skipped.append(Skipped(told.picture, why, "unpaired"))
        else:
            listing.examples.append(Example(told.picture, told.source, label=label, caption=told.text or None))
    gives = ["captions"] * any(told.text for told in part.captions)
    gives += [f"{len(names)} class{'es' * (len(names) != 1)}"] * bool(names) + ["sources"] * bool(sources)
    listing.how = f"pictures with {' and '.join(gives)}" if gives else "pictures"
    if odd := [told.no_class for told in part.captions if told.no_class]:
        listing.how += (
            f" (what {len(odd)} have for a label is no class, such as {odd[0]}: a name or a number from 0 is)"
        )
    if part.classes is None:
        listing.how += _unmet(names, listing.examples) + _alike(names)
    if len(tops := part.tops(told.picture for told in part.captions)) > 1 and "" not in tops:
        listing.how += f" ({len(tops)} folders are no classes then)"
    named = {told.picture for told in part.captions} | sources
    listing.skipped += [
        Skipped(path, "not named in the metadata", "unnamed") for path in part.pictures if path not in named
    ]
    return listing


def _told_classes(part: SplitFiles) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes that metadata tell, and the number of each label as it is written.

    There are none where fewer than half of the pictures have one, or nearly each its own where no other split has
    settled what classes there are, nor where that settled on none. Numbers count from 0, as in
    dataset.json; names are in natural order.
    """
    told = part.captions or ()
    labels = [one.label for one in told if one.label is not None]
    if not labels or 2 * len(labels) < len(told) or part.classes == ():
        return (), {}
    if part.classes is None and 2 * len(set(labels)) > max(2, len(labels)):
        return (), {}
    numbered = all(label.isdecimal() for label in labels) and max(map(int, labels)) < MOST_CLASSES
    if part.classes is not None:
        names = part.classes
    else:
        names = tuple(map(str, range(max(map(int, labels)) + 1))) if numbered else in_natural_order(labels)
    places = {name: k for k, name in enumerate(names)}
    return names, {label: places[label] for label in set(labels) if label in places}


def _unmet(names: Sequence[str], examples: Sequence[Example]) -> str:
    """What there is to say of numbered classes of which there is no picture."""
    held = {example.label for example in examples}
    empty = [name for k, name in enumerate(names) if k not in held]
    if not empty:
        return ""
    some = ", ".join(empty[:8]) + (f" and {len(empty) - 8} more" if len(empty) > 8 else "")
    return f" (no picture of {some}, which nothing is learnt of: classes count from 0)"


def _alike(names: Sequence[str]) -> str:
    """What there is to say of classes whose names are perhaps one."""
    alike = len(names) - len(set(map(without_case, names)))
    return f" ({alike} of them differ{'s' * (alike == 1)} from another by case alone)" if alike else ""


def _pairs(part: SplitFiles) -> Listing | None:
    """Two folders whose pictures have the same names (suffixes may differ)."""
    tops = part.tops(part.meant)
    for image, other, role, sure in roles(tops):
        large = _within(part, image)
        small, scaled = of_scale(large, _within(part, other), part.factor)
        sides, named = [large, small], ""
        matched, twice, alone = partners(*sides)
        if 2 * len(matched) < min(map(len, sides)):
            bare = [without_folder(side, top) for side, top in zip(sides, (image, other), strict=True)]
            found = partners(*bare)
            if len(found[0]) > len(matched):
                (matched, twice, alone), sides, named = found, bare, ", by names without those of their folders"
        if not sure and 2 * len(matched) < min(map(len, sides)):
            continue
        everywhere = " of every folder" if part.home.scenes else ""
        listing = Listing(how=f"pictures of {image}/ with their {role} in {other}/{everywhere}{named}")
        for one, partner in matched:
            listing.examples.append(
                Example(one, partner if role == "source" else None, partner if role == "mask" else None)
            )
        listing.skipped += [Skipped(path, f"two files of that name: {both}", "unpaired") for path, both in twice]
        for path in alone:
            missing = other if path in sides[0].values() else image
            listing.skipped.append(Skipped(path, f"no partner in {missing}/", "unpaired"))
        listing.skipped += scaled
        return _rest_beside(part, listing, {image, other})
    return None


def _within(part: SplitFiles, top: str) -> dict[str, str]:
    """The pictures in a folder of the layout, in the order of their places there: by their path, what they are."""
    found = {}
    for path in part.pictures:
        place = part.home.place(path)
        if place.startswith(f"{top}/"):
            found[place[len(top) + 1 :]] = path
    return found


def of_scale(
    large: Mapping[str, str], small: dict[str, str], factor: int | None
) -> tuple[dict[str, str], list[Skipped]]:
    """What may be sources of ``large`` among ``small``, and what may not: where all of these lie in folders that tell
    by how much they are smaller (``X2/``, ``X4/``), those of ``factor``, or of the one that there is."""
    if not small or not all(map(SCALE.match, small)) or any(map(SCALE.match, large)):
        return small, []
    scales = {place[:2].lower() for place in small}
    wanted = min(scales) if factor is None and len(scales) == 1 else f"x{factor}"
    why, kind = f"{OTHER_SCALE} than {factor}", "beside"
    if factor is None:
        why, kind = f"of one of {len(scales)} scales: --pair enlarge:4 takes those of X4/", "unpaired"
    kept = {place[3:]: path for place, path in small.items() if place[:2].lower() == wanted}
    return kept, [Skipped(path, why, kind) for place, path in small.items() if place[:2].lower() != wanted]


def _side_by_side(part: SplitFiles) -> Listing | None:
    """``AB/``: two pictures in one file."""
    tops = part.tops(part.meant)
    found = [name for name in tops if name.lower() == "ab"]
    if len(found) != 1 or tops.keys() - {"", *found} - {name for name in tops if name.lower() in ("a", "b")}:
        return None
    listing = Listing(how=f"pairs side by side in {found[0]}/")
    listing.examples = [Example(path, beside=True) for path in sorted(_within(part, found[0]).values())]
    return _rest_beside(part, listing, {found[0]})


def _rest_beside(part: SplitFiles, listing: Listing, used: set[str]) -> Listing:
    """Pictures beside the folders of the layout are listed."""
    for path in part.pictures:
        place = part.home.place(path)
        if "/" not in place or place.partition("/")[0] not in used:
            listing.skipped.append(Skipped(path, f"beside {' and '.join(sorted(used))}", "beside"))
    return listing


def _labelled(part: SplitFiles) -> Listing | None:
    """Classes that a file says, by number; folders are none then."""
    if part.labels is None:
        return None
    if not part.labels:
        return Listing([Example(path) for path in part.pictures], how="pictures, of no classes by dataset.json")
    highest = max(part.labels.get(path, -1) for path in part.pictures) if part.pictures else -1
    names = tuple(map(str, range(highest + 1))) if part.classes is None else part.classes
    listing = Listing(class_names=names, how=f"{len(names)} class{'es' * (len(names) != 1)} by dataset.json")
    for path in part.pictures:
        label = part.labels.get(path)
        if label is None:
            listing.skipped.append(Skipped(path, "not named in dataset.json", "unnamed"))
        elif label < len(names):
            listing.examples.append(Example(path, label=label))
        else:
            listing.skipped.append(Skipped(path, f"its class {label} is not among those to train on"))
    if part.classes is None:
        listing.how += _unmet(names, listing.examples)
    return listing


def _class_folders(part: SplitFiles) -> Listing | None:
    """A folder per class, also where nothing in it can be used: no label depends on what is damaged."""
    tops = part.tops(part.meant)
    loose = tops.pop("", 0)
    if part.classes == () or (part.classes is None and len(tops) < 2) or not tops:
        return None
    if loose > STRAY * (loose + tops.total()):
        return None
    names = part.classes or in_natural_order(map(composed, tops))
    numbers = _numbers(tops, names, known=part.classes is not None)
    listing = Listing(class_names=names, how=f"{len(names)} classes, a folder each")
    for path in part.pictures:
        place = part.home.place(path)
        top = place.partition("/")[0]
        if "/" not in place:
            listing.skipped.append(Skipped(path, "beside the class folders: of no class", "stray"))
        elif top in numbers:
            listing.examples.append(Example(path, label=numbers[top]))
        else:
            listing.skipped.append(Skipped(path, f"its class '{top}' is not among those to train on"))
    held = {example.label for example in listing.examples}
    if part.classes is None and (pair := next(roles(tops), None)) is not None:
        listing.how += f" (and no pairs: {pair[0]}/ and {pair[1]}/ hold too few pictures of the same names)"
    if part.classes is None and (empty := [name for k, name in enumerate(names) if k not in held]):
        listing.how += f" (no picture that can be used in {', '.join(empty)})"
    if part.classes is None:
        listing.how += _alike(names)
    return listing


def _numbers(folders: Iterable[str], names: Sequence[str], known: bool) -> dict[str, int]:
    """The class of every folder: that of its name, however its accents are written; in splits beside the training
    pictures (``known``) also where the case differs, if only one is meant."""
    places = {name: k for k, name in enumerate(names)}
    loose: dict[str, list[int]] = {}
    for name, k in places.items():
        loose.setdefault(without_case(name), []).append(k)
    found = {folder: places[composed(folder)] for folder in folders if composed(folder) in places}
    for folder in folders if known else ():
        if folder not in found and len(one := loose.get(without_case(folder), [])) == 1:
            found[folder] = one[0]
    return found


def _sharded(part: SplitFiles) -> Listing | None:
    """Tar files of pictures with captions or classes."""
    if not part.shards or part.pictures:
        return None
    listing = Listing(how=f"{len(part.shards)} shard{'s' * (len(part.shards) > 1)}")
    for tar in part.shards:
        read = read_shard(part.root / tar, tar, listing.skipped)
        for key, found in sorted(read.items()):
            if len(found.pictures) != 1:
                reason = "several pictures of one name" if found.pictures else "no picture of that name"
                listing.skipped.append(Skipped(f"{tar}/{key}", reason, "unpaired"))
                continue
            ((inside, member),) = found.pictures.items()
            name = f"{tar}/{inside}"
            listing.members[name] = member
            listing.examples.append(Example(name, label=found.label, caption=found.caption))
    labels = [e.label for e in listing.examples if e.label is not None]
    if part.classes == ():  # those to train on have none
        listing.examples = [replace(e, label=None) for e in listing.examples]
    elif labels:
        listing.class_names = part.classes or tuple(map(str, range(max(labels) + 1)))
        kept: list[Example] = []
        for one in listing.examples:
            if one.label is None:
                listing.skipped.append(Skipped(one.image, "no class, where others have one", "unpaired"))
            elif one.label >= len(listing.class_names):
                listing.skipped.append(Skipped(one.image, f"its class {one.label} is not among those to train on"))
            else:
                kept.append(one)
        listing.examples = kept
    return listing


def _flat(part: SplitFiles) -> Listing:
    """Pictures, and nothing known of them."""
    tops = part.tops(part.pictures)
    loose, folders = tops.pop("", 0), len(tops)
    how = "pictures"
    if folders > 1 or (folders and loose):
        how += f" at any depth ({loose} beside {folders} folder{'s' * (folders > 1)}, which are no classes then)"
    return Listing([Example(path) for path in part.pictures], how=how)


def _with_texts(part: SplitFiles, listing: Listing) -> Listing:
    """Captions in files beside the pictures."""
    beside = captions_beside(part.root, [example.image for example in listing.examples], part.texts)
    if beside.said:
        out = {one.path for one in beside.bad}
        kept = [example for example in listing.examples if example.image not in out]
        listing.how += f", captions of {len(beside.said)} in texts of their names"
        listing.examples = [replace(example, caption=beside.said.get(example.image, "")) for example in kept]
        listing.skipped += beside.bad
        listing.texts = beside.texts
    elif beside.unused:
        listing.how += f" ({beside.unused})"
    return listing
