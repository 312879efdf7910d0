"""A folder of pictures as it is understood: its splits, each with a listing, what is ignored, and a line that says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zeuxis.data.captions import BESIDE as TEXTS
from zeuxis.data.captions import METADATA, Metadata, Told, read_metadata, resolve
from zeuxis.data.class_file import Classes, read_classes
from zeuxis.data.layouts import Listing, SplitFiles, list_split
from zeuxis.data.pairs import halves_by_name
from zeuxis.data.scenes import among_scenes
from zeuxis.data.source import Skipped, tally
from zeuxis.data.splits import BESIDE, Home, Homes, homes_of, shard_splits
from zeuxis.data.survey import CLASS_FILE, TABLE_BESIDE, Survey, survey
from zeuxis.errors import DataError
from zeuxis.escaping import word
from zeuxis.files import at_home

TABLES = (".jsonl", ".csv")  # what may be metadata by another name


@dataclass
class Arranged:
    """What ``root`` holds: for every home the listing of what lies there."""

    root: Path
    parts: list[tuple[Home, Listing]]
    ignored: tuple[Skipped, ...]
    said: str
    tables: tuple[str, ...] = ()  # files of Parquet
    unread: tuple[Skipped, ...] = ()  # among what is ignored, what should say the classes or captions of pictures

    def given(self, letter: str) -> dict[str, tuple[Home, Listing]]:
        """The splits that have a home of their own, of one of two unpaired collections or of all ("")."""
        return {home.split: (home, listing) for home, listing in self.parts if home.letter == letter}

    @property
    def tabled(self) -> bool:
        """Whether it is tables of pictures, and no pictures by themselves."""
        return bool(self.tables) and not any(listing.examples or listing.skipped for _, listing in self.parts)

    @property
    def unpaired(self) -> bool:
        """Whether it is two collections without correspondence."""
        return {home.letter for home, _ in self.parts} == {"A", "B"}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Of files that should say what pictures are and could not be read, of splits that give something else beside
        their pictures than those to train on, and of pictures whose names say that they are pairs."""
        said = [f"{one.path} says nothing of the pictures: {one.reason}" for one in self.unread]
        said += [f"{path} is {TABLE_BESIDE}" for path in self.tables[:1]]
        for home, listing in self.parts:
            wanted = self.given(home.letter)["train"][1].gives
            if listing.examples and listing.gives != wanted:
                own, theirs = (" and ".join(sorted(each)) or "nothing" for each in (listing.gives, wanted))
                said.append(f"beside the pictures of {home.name}/ there is {own}, of those to train on {theirs}")
            alone = home.split == "train" and not listing.gives & {"source", "mask"}
            if alone and (two := halves_by_name([one.image for one in listing.examples])) is not None:
                said.append(
                    f"by their names {two[0]} and {two[1]} are a pair, and each is read by itself: pairs lie in two "
                    "folders, under equal names: gt/ and lq/, hr/ and lr/, images/ and masks/"
                )
        return tuple(said)

    @property
    def skipped(self) -> list[Skipped]:
        """Every picture that is not used, as far as names tell."""
        return [one for _, listing in self.parts for one in listing.skipped]

    def line(self, further: Sequence[Skipped] = ()) -> str:
        """How the folder was read and what is not used of it; ``further`` are what decoding found."""
        used = sum(len(listing.examples) for _, listing in self.parts) - len(further)
        return tally(self.said, used, (*self.skipped, *further), self.ignored)


def arrange(path: str | Path, factor: int | None = None) -> Arranged:
    """What the folder at ``path`` holds; of sources of several scales (``X2/``, ``X4/``) those of ``factor`` count.

    Raises:
        DataError: no folder, or one whose splits cannot be told.
    """
    root = at_home(path).resolve()
    if not root.is_dir():
        raise DataError(f"'{root}' is no folder: give a folder of pictures")
    if (root / "run.json").is_file() and (root / "model" / "model.json").is_file():
        raise DataError(
            f"'{root}' is the folder of a run, whose pictures are previews: give the data that it was trained on "
            f"(zeuxis info {word(root)} says which)"
        )
    found = survey(root)
    homes = homes_of([*found.pictures, *found.shards, *(one.path for one in found.skipped)])
    homes = among_scenes(homes, found.pictures) if found.pictures else shard_splits(homes, found.shards)
    return _Arranging(found, homes, factor).done()


class _Arranging:
    """The steps from what was found to what is listed."""

    def __init__(self, found: Survey, homes: Homes, factor: int | None) -> None:
        self.found, self.homes, self.factor = found, homes, factor
        self.train = next(home for home in homes.homes if home.split == "train")
        self.used_texts: set[str] = set()
        self.unread: list[Skipped] = []
        self.unneeded: list[Skipped] = []

    def done(self) -> Arranged:
        parts: list[tuple[Home, Listing]] = []
        classes: dict[str, tuple[str, ...]] = {}
        shared = self._metadata({"", "".join(f"{name}/" for name in self.train.above)})
        said, lost = resolve(self.found.root, shared, self.found.pictures, self.found.skipped)
        labels = self._classes({"", "".join(f"{name}/" for name in self.train.above)})
        for home in self.homes.homes:
            part, misnamed = self._part(home, said if shared else None)
            part = replace(part, labels=None if labels is None else labels.of, factor=self.factor)
            part = replace(part, classes=classes.get(home.letter) if home.split != "train" else None)
            listing = list_split(part)
            if labels is not None:  # of which the file itself has something to say
                told_of = {one.path for one in labels.skipped}
                listing.skipped = [one for one in listing.skipped if one.path not in told_of]
            listing.skipped += misnamed
            if home.split == "train":
                classes[home.letter] = listing.class_names
            unusable = [one for one in self.found.skipped if home.holds(one.path)]
            if part.captions is not None:  # nothing is lost by what nobody named
                named = {one.path for one in (*lost, *misnamed)}
                unusable = [replace(one, kind="unnamed") for one in unusable if one.path not in named]
            listing.skipped += unusable
            if part.shards and part.pictures:
                listing.skipped += [Skipped(path, "a shard beside pictures", "beside") for path in part.shards]
            self.used_texts |= set(listing.texts)
            parts.append((home, listing))
        first = next(listing for home, listing in parts if home is self.train)
        first.skipped += [*lost, *([] if labels is None else labels.skipped)]
        first.skipped += [Skipped(path, BESIDE, "beside") for path in self.homes.beside]
        texts = [
            Skipped(path, self._why_unused(path), "text") for path in self.found.texts if path not in self.used_texts
        ]
        tables = [Skipped(path, TABLE_BESIDE, "table") for path in self.found.tables]
        not_asked = [*self.found.ignored, *tables, *self.unread, *self.unneeded, *texts]
        ignored = sorted(not_asked, key=lambda one: one.path)
        said_of_it = self.homes.said + first.how
        return Arranged(
            self.found.root, parts, tuple(ignored), said_of_it, tuple(self.found.tables), tuple(self.unread)
        )

    def _part(self, home: Home, said: list[Told] | None) -> tuple[SplitFiles, list[Skipped]]:
        """What lies in ``home``; ``said`` is what metadata beside all splits say of pictures."""
        pictures, shards = ([p for p in paths if home.holds(p)] for paths in (self.found.pictures, self.found.shards))
        skipped = [one.path for one in self.found.skipped if home.holds(one.path)]
        own = self._metadata({f"{'/'.join((*home.above, home.name))}/"}) if home.at == home.around else []
        captions = [told for told in said or () if home.holds(told.picture)]
        more, lost = resolve(self.found.root, own, pictures, self.found.skipped)
        known = bool(captions or own or (said is not None and home.split == "train"))
        meant = [*pictures, *skipped] if pictures else [*shards, *skipped]
        told = [*captions, *more] if known else None
        return SplitFiles(self.found.root, home, pictures, shards, self.found.texts, meant, told), lost

    def _why_unused(self, path: str) -> str:
        """Why a text is not used."""
        stem, dot, ending = path.rpartition(".")
        others = [f"{stem}{dot}{other[1:]}" for other in TEXTS if other[1:] != ending.lower()]
        if taken := [other for other in others if other in self.used_texts]:
            return f"{taken[0].rpartition('/')[2]} is read"
        if f".{ending.lower()}" in TABLES:
            return f"no name of a table that is read: call it {' or '.join(METADATA[:2])}"
        return "says nothing of a picture that is used"

    def _classes(self, folders: set[str]) -> Classes | None:
        """What the file of classes says in the first of ``folders`` that has one."""
        for path in self.found.texts:
            if path.rpartition("/")[2].lower() != CLASS_FILE or path[: path.rfind("/") + 1] not in folders:
                continue
            self.used_texts.add(path)
            read = read_classes(self.found.root, path, [*self.found.pictures, *(o.path for o in self.found.skipped)])
            if not read.unread:
                return read
            self.unread.append(Skipped(path, read.unread, "text"))
        return None

    def _metadata(self, folders: set[str]) -> list[Metadata]:
        """The files of metadata in ``folders``, of each the first kind that is there."""
        read: list[Metadata] = []
        for folder in sorted(folders):
            first = len(read)
            here = [path for path in self.found.texts if path[: path.rfind("/") + 1] == folder]
            named = [path for kind in METADATA for path in here if path[len(folder) :].lower() == kind]
            for path in named:
                self.used_texts.add(path)
                file = read_metadata(self.found.root, path)
                if file.unread:
                    self.unread.append(Skipped(path, file.unread, "text"))
                elif len(read) > first:
                    self.unneeded.append(Skipped(path, f"{read[-1].path} is read", "text"))
                else:
                    read.append(file)
        return read
