"""The datasets that are known by name: plain facts, no heavy imports, so that listing is quick.

``may_ship`` says whether weights trained on a set, and pictures made from it, may be published
with this project; from the others only figures are. The ``local`` files are the layout that is
looked for under ``$ZEUXIS_DATA``; the ``remote`` ones are the official files, where there are any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zeuxis.data.cache import data_dir
from zeuxis.errors import UnknownName


@dataclass(frozen=True)
class LocalFile:
    """A file under ``$ZEUXIS_DATA/<folder>``."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class RemoteFile:
    """An official file: its address and the checksum that its publisher (or its readers) made known."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Entry:
    """One dataset.

    ``shape`` is the natural one (channels, rows, columns); ``splits`` the number of examples in
    each. Where no public test set exists, test and validation examples are set apart by a stable
    rule (`zeuxis.data.split`). ``background`` is the grey level around the subject, for padding.
    """

    name: str
    title: str
    reader: str  # which of `zeuxis.data.datasets.READERS` understands the files
    shape: tuple[int, int, int]
    splits: Mapping[str, int]
    licence: str
    may_ship: bool
    citation: str
    homepage: str
    provides: tuple[str, ...] = ()  # fields of Condition
    class_names: tuple[str, ...] = ()
    folder: str = ""  # under $ZEUXIS_DATA; "" for a set that needs no file
    local: tuple[LocalFile, ...] = ()
    remote: tuple[RemoteFile, ...] = ()
    background: int | None = None
    note: str = ""
    pictures_of: str = ""  # the set whose pictures these are too, so that what reads those reads these


DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EMOJI = (
    "activities", "animals & nature", "flags", "food & drink", "objects", "other", "people & body",
    "smileys & emotion", "symbols", "travel & places",
)  # fmt: skip
NOTO = (*EMOJI[:2], "components", *EMOJI[2:])
CLOTHING = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")
CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    "unlabelled",
)  # fmt: skip
FACE_PARTS = (
    "background", "clothes", "skin", "hair", "beard", "eye", "brow", "nose", "mouth", "glasses", "hat",
)  # fmt: skip
RICH_SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "moon")
PHANTOMS = (
    "background", "scalp", "skull", "fluid", "grey matter", "white matter", "deep grey", "ventricle", "lesion",
)  # fmt: skip
MNIST_AT = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_AT = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


def _world(
    name: str,
    title: str,
    side: int,
    provides: tuple[str, ...],
    class_names: tuple[str, ...] = (),
    note: str = "",
    pictures_of: str = "",
    channels: int = 3,
) -> Entry:
    """A world of this project, whose natural size is ``side`` pixels."""
    return Entry(
        name,
        title,
        reader="world",
        shape=(channels, side, side),
        splits={"train": 1_000_000, "val": 1_000_000, "test": 1_000_000},
        licence="Apache-2.0",
        may_ship=True,
        citation="Zeuxis",
        homepage="drawn on demand, at any size",
        provides=provides,
        class_names=class_names,
        note=note,
        pictures_of=pictures_of,
    )


_ALL = (
    Entry(
        "digits",
        "Handwritten digits of the UCI repository, as carried by scikit-learn",
        reader="digits",
        shape=(1, 8, 8),
        splits={"train": 1439, "val": 179, "test": 179},
        licence="CC BY 4.0",
        may_ship=True,
        citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
        homepage="https://archive.ics.uci.edu/dataset/80",
        provides=("label",),
        class_names=DIGITS,
        background=0,
    ),
    Entry(
        "mnist",
        "Handwritten digits",
        reader="grey",
        shape=(1, 28, 28),
        splits={"train": 55000, "val": 5000, "test": 10000},
        licence="CC BY-SA 3.0",
        may_ship=True,
        citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "
        "Gradient-based learning applied to document recognition, Proc. IEEE, 1998",
        homepage="http://yann.lecun.com/exdb/mnist/",
        provides=("label",),
        class_names=DIGITS,
        folder="mnist",
        local=(
            LocalFile("train.npz", 9851278, "11bf48d67d8e90b9d940549ce9565b4921ad2ec150e4491e0c670aeb165169a9"),
            LocalFile("test.npz", 1639219, "3ba302235efdc3e7e4e84db9ce6a6d6cbc9dd1162d4e79dd0b6a606afc745423"),
        ),
        remote=(
            RemoteFile(MNIST_AT + "train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            RemoteFile(MNIST_AT + "train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            RemoteFile(MNIST_AT + "t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
            RemoteFile(MNIST_AT + "t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
        background=0,
        note="downloaded from the mirror that the original page's readers agreed on; same checksums",
    ),
    Entry(
        "fashion-mnist",
        "Articles of clothing",
        reader="grey",
        shape=(1, 28, 28),
        splits={"train": 55000, "val": 5000, "test": 10000},
        licence="MIT",
        may_ship=True,
        citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017",
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        provides=("label",),
        class_names=FASHION,
        folder="fashion_mnist",
        local=(
            LocalFile("train.npz", 26444823, "dd5e5d61927426068b9e7fd8f7ba7c407c2218f986f512aacb47925567ba949f"),
            LocalFile("test.npz", 4425696, "78fef5e3d15b6dc0abcfdc54fd3422d573c2e4b88b55912e5e80fd7e0bae716d"),
        ),
        remote=(
            RemoteFile(FASHION_AT + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            RemoteFile(FASHION_AT + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            RemoteFile(FASHION_AT + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            RemoteFile(FASHION_AT + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        background=0,
    ),
    Entry(
        "cifar10",
        "Small photographs of ten kinds of things",
        reader="cifar10",
        shape=(3, 32, 32),
        splits={"train": 45000, "val": 5000, "test": 10000},
        licence="none formal; research use",
        may_ship=False,
        citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        provides=("label",),
        class_names=CIFAR10,
        folder="cifar10",
        local=(
            LocalFile("train.npz", 15344849, "ed973be62d562e33905363752c20bb3d1fc868c20790b7eeeb9c618c8f5613ed"),
            LocalFile("test.npz", 3071719, "8c8ebfcfdc0a30f58e3fddb9a2d8305646de93d20e94dade15a86f37e676b5af"),
        ),
        remote=(
            RemoteFile("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
        ),
        note="the files looked for under ZEUXIS_DATA went through JPEG: figures on them are not comparable "
        "with published ones; the official download is lossless",
    ),
    Entry(
        "fluent-emoji",
        "Emoji rendered in relief, with the same ones drawn flat",
        reader="fluent-emoji",
        shape=(3, 64, 64),
        splits={"train": 1135, "val": 141, "test": 141},
        licence="MIT",
        may_ship=True,
        citation="Microsoft, Fluent UI Emoji, 2022; tags: emojibase",
        homepage="https://github.com/microsoft/fluentui-emoji",
        provides=("label", "caption", "source"),
        class_names=EMOJI,
        folder="fluent_emoji",
        local=(
            LocalFile("train.npz", 12619984, "19bb98c6754abe1ba87756934ad7b86942b030991ec3ebdabb3d1b6c7a0008d1"),
            LocalFile("train.jsonl", 281737, "24991ed861b2fe4d0ee0d513a438dc88bbe44a2662a52c331c67d3a3a3109a79"),
        ),
        note="composited on white; source is the flat drawing, image the rendered one",
    ),
    Entry(
        "fluent-tones",
        "Flat emoji and the same in five skin tones",
        reader="fluent-tones",
        shape=(3, 64, 64),
        splits={"train": 1155, "val": 140, "test": 140},
        licence="MIT",
        may_ship=True,
        citation="Microsoft, Fluent UI Emoji, 2022",
        homepage="https://github.com/microsoft/fluentui-emoji",
        provides=("source", "instruction", "caption"),
        folder="fluent_tones",
        local=(
            LocalFile("train.npz", 1832207, "ae2401cf948eb78592548548b71aae8ca7ac2685d0c36a535e45f47ab3d39a8f"),
            LocalFile("train.jsonl", 404738, "c62f44ca29920e296f7b514c232bfb2dd5f60b78fa487339556b1b7f5bac1541"),
        ),
        note="composited on white; pairs of before and after an edit; a figure's tones stay in one split",
    ),
    Entry(
        "noto-emoji",
        "Emoji of one drawn style, with names",
        reader="noto-emoji",
        shape=(3, 64, 64),
        splits={"train": 1191, "val": 148, "test": 148},
        licence="Apache-2.0",
        may_ship=True,
        citation="Google, Noto Emoji; tags: emojibase",
        homepage="https://github.com/googlefonts/noto-emoji",
        provides=("label", "caption"),
        class_names=NOTO,
        folder="noto_emoji",
        local=(
            LocalFile("train.npz", 6295595, "d9ddf2267ba365ad239931cb2c317922776f04f47fae8342f70c08fac6fea50c"),
            LocalFile("train.jsonl", 295002, "6a872c17908fa42d8bbc658358e1d49436015b1e205bc3ce0d7f4e9794c2efec"),
        ),
        note="composited on white; flags are in the public domain or exempt",
    ),
    Entry(
        "nouns32",
        "Pixel characters of five parts, with captions",
        reader="nouns32",
        shape=(3, 32, 32),
        splits={"train": 8000, "val": 1000, "test": 1000},
        licence="CC0-1.0",
        may_ship=True,
        citation="Nouns DAO, Nouns artwork, 2021",
        homepage="https://nouns.wtf",
        provides=("factors", "caption"),
        folder="nouns32",
        local=(
            LocalFile("train.npz", 1625469, "60c037d2ccc0f55e7a6da6d8983725e4e2f6f5221aac7c5ad2bcc63c0c1fa2fc"),
            LocalFile("vocab.json", 5977, "563ff686ef7ed4f94800d468accca37834937ecef23ba11993c2e697d6bb7d20"),
        ),
        note="composites of the original layers of artwork",
    ),
    Entry(
        "clothing96",
        "Photographs of clothing",
        reader="labelled-jpg",
        shape=(3, 96, 96),
        splits={"train": 2639, "val": 329, "test": 329},
        licence="CC0-1.0",
        may_ship=True,
        citation="A. Grigorev, Clothing dataset (small), 2020",
        homepage="https://github.com/alexeygrigorev/clothing-dataset-small",
        provides=("label",),
        class_names=CLOTHING,
        folder="clothing96",
        local=(LocalFile("train.npz", 10024092, "ae72cba8a533cd0aa01586b43e95f5773cffbfa064b6b99e6d7d18c25bd04b34"),),
        note="the centred square of each photograph",
    ),
    Entry(
        "grocery64",
        "Photographs of fruit, vegetables and cartons in shops, with names",
        reader="grocery64",
        shape=(3, 64, 64),
        splits={"train": 3827, "val": 478, "test": 478},
        licence="MIT",
        may_ship=True,
        citation="M. Klasson, C. Zhang and H. Kjellström, "
        "A Hierarchical Grocery Store Image Dataset with Visual and Semantic Labels, WACV 2019",
        homepage="https://github.com/marcusklasson/GroceryStoreDataset",
        provides=("label", "caption"),
        folder="grocery64",
        local=(
            LocalFile("train.npz", 10046208, "e5a5cab0c489487243e89eb925342c5e9566fcb2f7af01c09fb05539a27873e9"),
            LocalFile("classes.jsonl", 24265, "3fe99df99b4472fd3dab59f12c23c7adcbe7138c33b1735d8296358cae842385"),
        ),
        note="81 classes; neighbours on a shelf were photographed several times, so splits hold near-duplicates",
    ),
    Entry(
        "nuclei128",
        "Microscopy of cell nuclei with maps of where they are",
        reader="nuclei128",
        shape=(3, 128, 128),
        splits={"train": 472, "val": 59, "test": 59},
        licence="CC0-1.0",
        may_ship=True,
        citation="J. Caicedo et al., "
        "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, Nature Methods, 2019",
        homepage="https://bbbc.broadinstitute.org/BBBC038",
        provides=("layout", "caption"),
        class_names=("background", "nucleus"),
        folder="nuclei128",
        local=(LocalFile("train.npz", 2216383, "141be900b92a067a6c84a10cd5779746f15745e600eff564aaa623cddbf310eb"),),
    ),
    Entry(
        "camvid-layout",
        "Street scenes with a class per pixel",
        reader="camvid-layout",
        shape=(3, 144, 192),
        splits={"train": 377, "val": 45, "test": 46},
        licence="academic research use",
        may_ship=False,
        citation="G. Brostow, J. Fauqueur and R. Cipolla, "
        "Semantic object classes in video, Pattern Recognition Letters, 2009",
        homepage="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
        provides=("layout",),
        class_names=CAMVID,
        folder="camvid_layout",
        local=(LocalFile("train.npz", 4842009, "f34254d7b87ecff8a48e22b8bffcb63c51366f0ac2fcaafe1c9b728c83d9ef6d"),),
        note="stretches of twenty seconds stay in one split",
    ),
    Entry(
        "faces-gray64",
        "Grey press photographs of real faces, with emotions",
        reader="faces-gray64",
        shape=(1, 64, 64),
        splits={"train": 9158, "val": 1144, "test": 1144},
        licence="research use",
        may_ship=False,
        citation="G. Huang et al., Labeled Faces in the Wild, 2007; emotions: muxspace/facial_expressions",
        homepage="https://github.com/muxspace/facial_expressions",
        provides=("label",),
        class_names=("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
        folder="faces_gray64",
        local=(LocalFile("train.npz", 12409591, "ffa6255908d018129ee5271ee08ce26fe1f713f4843dc3df4f95d2e1dee66b32"),),
        note="real, identifiable people: no weights and no pictures are published from it, only figures; "
        "a person stays in one split",
    ),
    Entry(
        "photos-bsds200",
        "Photographs of many subjects",
        reader="photos-bsds200",
        shape=(3, 321, 321),
        splits={"train": 160, "val": 20, "test": 20},
        licence="non-commercial research and education",
        may_ship=False,
        citation="P. Arbelaez, M. Maire, C. Fowlkes and J. Malik, "
        "Contour Detection and Hierarchical Image Segmentation, PAMI, 2011",
        homepage="https://github.com/BIDS/BSDS500",
        folder="photos_bsds200",
        local=(LocalFile("train.npz", 14558348, "0de0caf94524c0c6e370938ef56806a916d1fc6bd7d8d922912b30ea997c788d"),),
        note="the centred square of each photograph",
    ),
    Entry(
        "polyu-real-noise",
        "Real noisy photographs and the mean of many shots of the same",
        reader="polyu-real-noise",
        shape=(3, 512, 512),
        splits={"train": 52, "val": 6, "test": 6},
        licence="non-commercial",
        may_ship=False,
        citation="J. Xu et al., Real-world Noisy Image Denoising: A New Benchmark, arXiv:1804.02603, 2018",
        homepage="https://github.com/csjunxu/PolyU-Real-World-Noisy-Images-Dataset",
        provides=("source",),
        folder="polyu_real_noise",
        local=(LocalFile("train.npz", 3048901, "c021f02e73ff68995c3a84c3bafe3b4cf70ea131917fb9ff032a0904b2303972"),),
        note="source is the noisy shot; crops of one subject stay in one split",
    ),
    _world(
        "scenes",
        "A world: one or two coloured shapes by day or at night, with captions and exact labels",
        32,
        provides=("label", "caption", "layout", "factors"),
        class_names=("circle", "square", "triangle", "star", "ring"),
        note="the splits share no scene",
    ),
    _world(
        "scenes-day-night",
        "A world: scenes at night, beside unrelated scenes by day",
        32,
        provides=("source", "factors"),
        note="unpaired translation whose truth is known: all factors but the time should stay",
        pictures_of="scenes",
    ),
    _world(
        "scenes-rich",
        "A world: one to five objects with texture, season, weather and depth, told in many words",
        64,
        provides=("label", "caption", "layout", "factors"),
        class_names=RICH_SHAPES,
        note="the splits share no scene; eight pairs of shape and colour never occur, see scenes-rich-unseen",
        pictures_of="scenes-rich-all",
    ),
    _world(
        "scenes-rich-unseen",
        "A world: rich scenes, each with a pair of shape and colour that scenes-rich never shows",
        64,
        provides=("label", "caption", "layout", "factors"),
        class_names=RICH_SHAPES,
        note="to test what a model makes of known words in a new combination: its splits are all of test scenes",
        pictures_of="scenes-rich-all",
    ),
    _world(
        "scenes-rich-all",
        "A world: rich scenes with any pair of shape and colour",
        64,
        provides=("label", "caption", "layout", "factors"),
        class_names=RICH_SHAPES,
        note="what readers learn from, who are to read new combinations too; no model that is to be tested on those "
        "may be trained on it",
    ),
    _world(
        "scenes-edits",
        "A world: rich scenes, an instruction, and the same scenes with it followed",
        64,
        provides=("source", "instruction", "layout", "factors"),
        class_names=("sky", "ground", *RICH_SHAPES),
        note="remove, recolour, reshape, add; another weather, season or time of day; all else stays bit for bit",
        pictures_of="scenes-rich-all",
    ),
    _world(
        "scenes-styles",
        "A world: rich scenes and the same ones flat, sketched, in brush strokes or as a mosaic",
        64,
        provides=("source", "style", "label", "factors"),
        class_names=("flat", "sketch", "brush", "mosaic"),
        note="the style is another scene in the manner that the label names",
    ),
    _world(
        "scenes-light",
        "A world: rich scenes with lamps as radiance, and three exposures of each",
        64,
        provides=("source", "factors"),
        note="the image is mu-law compressed radiance, the source three exposures as nine channels",
    ),
    _world(
        "scenes-light-moving",
        "A world: the same with things that move between the exposures",
        64,
        provides=("source", "factors"),
        note="the image is the radiance at the middle exposure",
    ),
    _world(
        "motion",
        "A world: shapes that move and bounce, with their directions and speeds told",
        64,
        provides=("source", "caption", "factors"),
        note="the source is three frames as nine channels, the image is the fourth; clips of any length in Python",
    ),
    _world(
        "motion-clips",
        "A world: clips of moving shapes, four frames as the twelve channels of one picture",
        64,
        provides=("caption", "factors"),
        note="for what draws or reads a whole clip at once",
        channels=12,
    ),
    _world(
        "faces",
        "A world: drawn faces with age, mood, pose, hair, glasses, beard, hat, skin and light, and persons met again",
        64,
        provides=("caption", "layout", "factors"),
        class_names=FACE_PARTS,
        note="examples 8k to 8k + 7 show person k; the splits share no person and no row of factors",
    ),
    _world(
        "faces-pairs",
        "A world: drawn faces, each beside another picture of the same person",
        64,
        provides=("caption", "source", "layout", "factors"),
        class_names=FACE_PARTS,
        note="example k shows person k of 'faces', and source shows that person with factors drawn anew",
        pictures_of="faces",
    ),
    _world(
        "plants",
        "A world: plants whose growth five dice decide, with the throw at every node",
        64,
        provides=("label", "factors"),
        class_names=("nothing", "pair", "two pairs", "three", "straight", "full house", "four", "five"),
        note="the label is the rarest throw of the plant",
    ),
    _world(
        "terrain",
        "A world: land from fractal noise, with what grows where",
        64,
        provides=("layout",),
        class_names=("deep water", "shallows", "sand", "grass", "forest", "rock", "snow"),
    ),
    _world(
        "phantoms",
        "A world: slices of drawn heads, T1-weighted (source) and T2-weighted (image) by the physics of spin echoes",
        64,
        provides=("source", "layout", "factors"),
        class_names=PHANTOMS,
        note="paired to the pixel; examples 4k to 4k + 3 show subject k from low to high; the splits share no subject",
        channels=1,
    ),
    _world(
        "phantoms-pd",
        "A world: the same slices, T1- and T2-weighted (two channels of source) and PD-weighted (image)",
        64,
        provides=("source", "layout", "factors"),
        class_names=PHANTOMS,
        note="many contrasts to one; otherwise as phantoms",
        channels=1,
    ),
)

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _ALL}


def names() -> list[str]:
    """Every dataset and world that has a name."""
    return sorted(ENTRIES)


def giving(field: str) -> list[str]:
    """The names of those that give a field of ``Condition``."""
    return [name for name in names() if field in ENTRIES[name].provides]


def may_show(name: str) -> bool:
    """Whether pictures made from ``name`` may be published: a user's own data is the user's own affair."""
    entry = ENTRIES.get(name.partition("|")[0].strip())
    return entry is None or entry.may_ship


def kin(name: str) -> tuple[str, ...]:
    """``name`` without what degrades it, and the set whose pictures it shows, if there is such a set."""
    clean = name.partition("|")[0].strip()
    entry = ENTRIES.get(clean)
    return (clean, entry.pictures_of) if entry is not None and entry.pictures_of else (clean,)


def describe(name: str) -> dict[str, Any]:
    """A dataset's card, as plain values: what it is, gives and may be used for, and where it would come from."""
    if name not in ENTRIES:
        raise UnknownName("dataset", name, ENTRIES)
    entry = ENTRIES[name]
    return {
        "name": entry.name,
        "title": entry.title,
        "shape": list(entry.shape),
        "splits": dict(entry.splits),
        "provides": list(entry.provides),
        "class_names": list(entry.class_names),
        "licence": entry.licence,
        "may_ship": entry.may_ship,
        "citation": entry.citation,
        "homepage": entry.homepage,
        "note": entry.note,
        "comes_from": _comes_from(entry),
    }


def _comes_from(entry: Entry) -> str:
    root = data_dir()
    if not entry.folder:
        return "built in"
    if root is not None and (root / entry.folder).is_dir():
        return str(root / entry.folder)
    if entry.remote:
        return f"downloaded when first used, from {entry.remote[0].url.rpartition('/')[0]}"
    return f"not here: get it from {entry.homepage} and set ZEUXIS_DATA to the folder that holds '{entry.folder}/'"
