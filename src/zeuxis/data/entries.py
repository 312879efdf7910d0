"""The datasets that are known by name: plain facts, no heavy imports, so that listing is quick.

``may_ship`` says whether weights trained on a set, and pictures made from it, may be published
with this project; from the others only figures are. The ``local`` files are the layout that is
looked for under ``$ZEUXIS_DATA``; the ``remote`` ones are the official files, where there are any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    gives: tuple[str, ...] = ()  # fields of Condition
    class_names: tuple[str, ...] = ()
    folder: str = ""  # under $ZEUXIS_DATA; "" for a set that needs no file
    local: tuple[LocalFile, ...] = ()
    remote: tuple[RemoteFile, ...] = ()
    background: int | None = None
    note: str = ""


DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MNIST_AT = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_AT = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

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
        gives=("label",),
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
        gives=("label",),
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
        gives=("label",),
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
        gives=("label",),
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
)

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _ALL}
