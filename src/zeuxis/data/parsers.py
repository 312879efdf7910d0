"""From files to arrays, one function per format of files. Fitting, splitting and caching come after."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zeuxis.data.fit import middle_box
from zeuxis.data.formats import read_cifar10_tar, read_idx
from zeuxis.data.source import Array, Values
from zeuxis.errors import DataError


@dataclass(frozen=True)
class Raw:
    """A dataset as its files hold it: the training part and, after it, the public test part if there is one."""

    images: Array  # uint8 (N, H, W) or (N, H, W, C)
    fields: Mapping[str, Values] = field(default_factory=dict)  # source, style and layout as images
    facts: Mapping[str, Any] = field(default_factory=dict)  # of DataSpec, where the entry does not have them
    groups: Sequence[str] | None = None  # what a split must not tear apart, per row
    test: Sequence[bool] | None = None  # which rows are the public test set


def arrays(path: Path) -> dict[str, Array]:
    """Every array of an ``.npz``, each read once; pickled objects are refused."""
    with np.load(path, allow_pickle=False) as npz:
        return {name: npz[name] for name in npz.files}


def decode_pictures(data: Array, offsets: Array, mode: str = "RGB") -> Array:
    """uint8 (N, H, W) or (N, H, W, 3): image ``i`` is the picture file ``data[offsets[i] : offsets[i + 1]]``."""
    ends = itertools.pairwise(offsets.tolist())
    return np.stack([np.asarray(Image.open(io.BytesIO(data[a:b].tobytes())).convert(mode)) for a, b in ends])


def _is_test(parts: Sequence[Array]) -> list[bool]:
    return [k > 0 for k, part in enumerate(parts) for _ in range(len(part))]


def carried(path: str, what: str) -> Path:
    """A file of scikit-learn's ``datasets``; importing the package for it would take most of a second.

    Raises :class:`DataError`, which calls it ``what``, where scikit-learn is not installed.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise DataError(f"{what} is carried by scikit-learn, which is not installed: pip install scikit-learn")
    return Path(found.origin).parent / "datasets" / path


# -- embedded ---------------------------------------------------------------------------------------


def digits() -> Raw:
    """scikit-learn's copy: 1,797 pictures of 8x8 pixels with 17 grey levels."""
    rows = np.loadtxt(carried("data/digits.csv.gz", "'digits'"), delimiter=",", dtype=np.uint8)
    images = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return Raw(images, {"label": rows[:, -1]})


# -- $ZEUXIS_DATA -----------------------------------------------------------------------------------


def grey_npz(folder: Path) -> Raw:
    """``x`` and ``y`` in ``train.npz`` and ``test.npz``."""
    parts = [arrays(folder / name) for name in ("train.npz", "test.npz")]
    images = [part["x"] for part in parts]
    return Raw(np.concatenate(images), {"label": np.concatenate([p["y"] for p in parts])}, test=_is_test(images))


def cifar10_npz(folder: Path) -> Raw:
    """``jpg``, ``off`` and ``y`` in ``train.npz`` and ``test.npz``."""
    parts = [arrays(folder / name) for name in ("train.npz", "test.npz")]
    images = [decode_pictures(part["jpg"], part["off"]) for part in parts]
    return Raw(np.concatenate(images), {"label": np.concatenate([p["y"] for p in parts])}, test=_is_test(images))


def labelled_jpg(folder: Path) -> Raw:
    """``jpg``, ``off`` and ``y`` in ``train.npz``."""
    npz = arrays(folder / "train.npz")
    return Raw(decode_pictures(npz["jpg"], npz["off"]), {"label": npz["y"]})


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def on_white(rgba: Array) -> Array:
    """Straight-alpha uint8 (..., 4) over white: (..., 3)."""
    alpha = rgba[..., 3:].astype(np.uint32)
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _groups(facts: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], Array]:
    """The kinds of emoji in alphabetical order, and each one's; those without a kind are "other"."""
    kinds = [fact["group"] or "other" for fact in facts]
    names = tuple(sorted(set(kinds)))
    return names, np.array([names.index(kind) for kind in kinds], np.uint8)


def fluent_emoji(folder: Path) -> Raw:
    """The rendered style as image, the flat one as source."""
    npz, facts = arrays(folder / "train.npz"), lines(folder / "train.jsonl")
    names, label = _groups(facts)
    captions = [fact["name"] for fact in facts]
    fields: dict[str, Values] = {"label": label, "caption": captions, "source": on_white(npz["flat"])}
    return Raw(on_white(npz["threed"]), fields, {"class_names": names})


def fluent_tones(folder: Path) -> Raw:
    """Edits: the default figure as source, a skin tone as instruction, the toned figure as image."""
    flat, facts = on_white(arrays(folder / "train.npz")["flat"]), lines(folder / "train.jsonl")
    default = {fact["name"]: row for row, fact in enumerate(facts) if not fact["tone"]}
    toned = [row for row, fact in enumerate(facts) if fact["tone"]]
    names = [facts[row]["name"] for row in toned]
    tones = [facts[row]["tone"] for row in toned]
    captions = [f"{name}, {tone}" for name, tone in zip(names, tones, strict=True)]
    fields: dict[str, Values] = {
        "source": flat[[default[name] for name in names]],
        "instruction": tones,
        "caption": captions,
    }
    return Raw(flat[toned], fields, groups=names)


def noto_emoji(folder: Path) -> Raw:
    """One style, with names and kinds."""
    facts = lines(folder / "train.jsonl")
    names, label = _groups(facts)
    images = on_white(arrays(folder / "train.npz")["x"])
    return Raw(images, {"label": label, "caption": [fact["label"] for fact in facts]}, {"class_names": names})


def nouns32(folder: Path) -> Raw:
    """Pixel characters with their five parts, and captions that name the parts."""
    npz = arrays(folder / "train.npz")
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    template = vocab.pop("caption_template")
    values = np.stack([npz[part] for part in vocab], 1)
    captions = [
        template.format(**{part: vocab[part][k] for part, k in zip(vocab, row, strict=True)}) for row in values.tolist()
    ]
    factors = tuple((part, len(names)) for part, names in vocab.items())
    return Raw(npz["x"], {"factors": values, "caption": captions}, {"factors": factors})


def grocery64(folder: Path) -> Raw:
    """Photos in the shop, with the product's name."""
    npz, kinds = arrays(folder / "train.npz"), lines(folder / "classes.jsonl")
    names = tuple(kind["name"] for kind in kinds)
    label = npz["y"]
    fields: dict[str, Values] = {"label": label, "caption": [names[k] for k in label.tolist()]}
    return Raw(decode_pictures(npz["jpg"], npz["off"]), fields, {"class_names": names})


def nuclei128(folder: Path) -> Raw:
    """Microscopy with maps of where nuclei are; the caption names the kind of microscopy."""
    npz = arrays(folder / "train.npz")
    kinds = ("fluorescence", "brightfield", "stained tissue")
    captions = [f"{kinds[k]} microscopy of nuclei" for k in npz["modality"].tolist()]
    fields: dict[str, Values] = {"layout": (npz["instances"] > 0).astype(np.uint8), "caption": captions}
    return Raw(decode_pictures(npz["jpg"], npz["off"]), fields)


def camvid_layout(folder: Path) -> Raw:
    """Street frames and their label maps; stretches of twenty seconds of one drive stay together."""
    npz = arrays(folder / "train.npz")
    found = [re.fullmatch(r"(\w+?)_f?(\d+)", name) for name in npz["ids"].tolist()]
    stretches = [f"{one[1]}/{int(one[2]) // 600}" for one in found if one]
    return Raw(decode_pictures(npz["jpg"], npz["off"]), {"layout": npz["label"]}, groups=stretches)


def faces_gray64(folder: Path) -> Raw:
    """Grey faces with emotions; a person's pictures stay together. The 32 without an emotion are left out."""
    npz = arrays(folder / "train.npz")
    known = npz["emotion"] < len(npz["emotions"])
    images = decode_pictures(npz["jpg"], npz["off"], "L")[known]
    return Raw(images, {"label": npz["emotion"][known]}, groups=[str(person) for person in npz["person"][known]])


def photos_bsds200(folder: Path) -> Raw:
    """Photos that lie or stand, 481x321: the centred square of 321x321."""
    npz = arrays(folder / "train.npz")
    ends = itertools.pairwise(npz["off"].tolist())
    files = [Image.open(io.BytesIO(npz["jpg"][a:b].tobytes())) for a, b in ends]
    return Raw(np.stack([np.asarray(file.convert("RGB").crop(middle_box(file.size, (1, 1)))) for file in files]))


def polyu_real_noise(folder: Path) -> Raw:
    """The mean of many shots as image, one shot as source; crops of one subject stay together."""
    npz = arrays(folder / "train.npz")
    fields: dict[str, Values] = {"source": decode_pictures(npz["noisy_jpg"], npz["noisy_off"])}
    subjects = [name.split("_")[4] for name in npz["ids"].tolist()]
    return Raw(decode_pictures(npz["clean_jpg"], npz["clean_off"]), fields, groups=subjects)


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
LOCAL: Mapping[str, Callable[[Path], Raw]] = {
    "grey": grey_npz,
    "cifar10": cifar10_npz,
    "labelled-jpg": labelled_jpg,
    "fluent-emoji": fluent_emoji,
    "fluent-tones": fluent_tones,
    "noto-emoji": noto_emoji,
    "nouns32": nouns32,
    "grocery64": grocery64,
    "nuclei128": nuclei128,
    "camvid-layout": camvid_layout,
    "faces-gray64": faces_gray64,
    "photos-bsds200": photos_bsds200,
    "polyu-real-noise": polyu_real_noise,
}
REMOTE: Mapping[str, Callable[[Path], Raw]] = {"grey": grey_idx, "cifar10": cifar10_tar}
