"""From files to arrays, one reader per layout of files. Fitting, splitting and caching come after."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from zeuxis.data.formats import read_cifar10_tar, read_idx
from zeuxis.data.source import Array


@dataclass(frozen=True)
class Raw:
    """A dataset as its files hold it: the training part and, after it, the public test part if there is one."""

    images: Array  # uint8 (N, H, W) or (N, H, W, C)
    fields: Mapping[str, Array | Sequence[str]] = field(default_factory=dict)  # source, style and layout as images
    class_names: tuple[str, ...] = ()  # where the entry does not give them
    factors: tuple[tuple[str, int], ...] = ()
    groups: Sequence[str] | None = None  # what a split must not tear apart, per row
    test: Sequence[bool] | None = None  # which rows are the public test set


def arrays(path: Path) -> dict[str, Array]:
    """Every array of an ``.npz``, each read once; pickled objects are refused."""
    with np.load(path, allow_pickle=False) as npz:
        return {name: npz[name] for name in npz.files}


def decode(data: Array, offsets: Array, mode: str = "RGB") -> list[Image.Image]:
    """Image ``i`` is the file of bytes ``data[offsets[i] : offsets[i + 1]]``."""
    ends = zip(offsets[:-1], offsets[1:], strict=True)
    return [Image.open(io.BytesIO(data[start:end].tobytes())).convert(mode) for start, end in ends]


def _is_test(parts: Sequence[Array]) -> list[bool]:
    return [k > 0 for k, part in enumerate(parts) for _ in range(len(part))]


# -- embedded ---------------------------------------------------------------------------------------


def digits() -> Raw:
    """scikit-learn's copy: 1,797 pictures of 8x8 pixels with 17 grey levels."""
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return Raw(images, {"label": bunch.target.astype(np.uint8)})


# -- $ZEUXIS_DATA -----------------------------------------------------------------------------------


def grey_npz(folder: Path) -> Raw:
    """``x`` and ``y`` in ``train.npz`` and ``test.npz``."""
    parts = [arrays(folder / name) for name in ("train.npz", "test.npz")]
    images = [part["x"] for part in parts]
    return Raw(np.concatenate(images), {"label": np.concatenate([p["y"] for p in parts])}, test=_is_test(images))


def cifar10_npz(folder: Path) -> Raw:
    """``jpg``, ``off`` and ``y`` in ``train.npz`` and ``test.npz``."""
    parts = [arrays(folder / name) for name in ("train.npz", "test.npz")]
    images = [np.stack([np.asarray(one) for one in decode(part["jpg"], part["off"])]) for part in parts]
    return Raw(np.concatenate(images), {"label": np.concatenate([p["y"] for p in parts])}, test=_is_test(images))


# -- official downloads -----------------------------------------------------------------------------


def grey_idx(folder: Path) -> Raw:
    """MNIST's four files."""
    images = [read_idx(folder / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")]
    labels = [read_idx(folder / f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")]
    return Raw(np.concatenate(images), {"label": np.concatenate(labels)}, test=_is_test(images))


def cifar10_tar(folder: Path) -> Raw:
    """The binary archive."""
    images, labels, test = read_cifar10_tar(folder / "cifar-10-binary.tar.gz")
    return Raw(images, {"label": labels}, test=test.tolist())


EMBEDDED: Mapping[str, Callable[[], Raw]] = {"digits": digits}
LOCAL: Mapping[str, Callable[[Path], Raw]] = {"grey": grey_npz, "cifar10": cifar10_npz}
REMOTE: Mapping[str, Callable[[Path], Raw]] = {"grey": grey_idx, "cifar10": cifar10_tar}
