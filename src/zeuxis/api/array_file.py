"""Latents and directions in the arrays of numpy (.npy, .npz) that other programs write.

``projected_w.npz`` of the StyleGANs' own projector holds ``w``, (1, L, W); boundaries of InterFaceGAN are (1, W). They
do not say which generator they are of: what fits its latents in shape is believed. Nothing pickled is read.

Axes: N latents, L layers that are given a code each, W numbers of a code.
"""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.lib import format as layout
from torch import Tensor

from zeuxis.editing.space import DecodedSpace
from zeuxis.errors import DataError, NoSuchPath, UsageError
from zeuxis.files import read_bytes

ENDINGS = (".npy", ".npz")
CODES = "w"  # what the projectors call them
MOST_BYTES = 256 << 20


def is_array_file(path: Path) -> bool:
    """Whether its name says that it is one."""
    return path.suffix.lower() in ENDINGS


def rows_of(path: Path, space: DecodedSpace) -> Tensor:
    """The latents, or directions, of a file: float32 ``(N, ...)``, each as ``space`` has them or one code ``(W,)``.

    Raises:
        UsageError: no such file, or numbers of another shape than that of the space.
        DataError: damaged, or pickled.
    """
    found = _read(path)
    if found.dtype.kind not in "fiu":
        raise DataError(f"{path} holds {found.dtype}, and latents are plain numbers: save them as an array of float32")
    value = torch.from_numpy(np.ascontiguousarray(found.astype(np.float32)))
    shapes = [space.shape, space.shape[1:]] if space.layers else [space.shape]
    while value.ndim > len(space.shape) + 1 and value.shape[0] == 1:
        value = value[0]
    for shape in shapes:
        if tuple(value.shape) == shape:
            value = value[None]
        if tuple(value.shape[1:]) == shape and len(value):
            if not value.isfinite().all():
                raise DataError(f"{path} holds numbers that are not finite: make it anew")
            return value
    wanted = " or ".join("x".join(map(str, shape)) for shape in shapes)
    raise UsageError(
        f"{path} is of shape {'x'.join(map(str, found.shape)) or 'one number'}, and a latent of '{space.owner}' is "
        f"{wanted}: give one that was made with this model"
    )


def _read(path: Path) -> np.ndarray:
    try:
        content = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        raise NoSuchPath("file", path) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    try:
        return _array(content) if path.suffix.lower() == ".npy" else _only(content, path)
    except (ValueError, EOFError, BadZipFile, OSError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as an array of numpy ({error}): save it again with numpy") from None


def _only(content: bytes, path: Path) -> np.ndarray:
    """The array of an archive that holds one, or the one of the projectors' name."""
    with ZipFile(BytesIO(content)) as archive:
        names = {Path(one.filename).stem: one for one in archive.infolist() if one.filename.endswith(".npy")}
        chosen = names.get(CODES) or (next(iter(names.values())) if len(names) == 1 else None)
        if chosen is None:
            raise UsageError(
                f"{path} holds {', '.join(names) or 'no array'}: save the latents in it alone, or as '{CODES}'"
            )
        if chosen.file_size > MOST_BYTES:
            raise ValueError(f"{chosen.filename} is of {chosen.file_size:,} bytes")
        return _array(archive.read(chosen))


def _array(content: bytes) -> np.ndarray:
    """An array whose numbers are all there, so that no memory is taken for those that are only told of."""
    file = BytesIO(content)
    version = layout.read_magic(file)
    read = {(1, 0): layout.read_array_header_1_0, (2, 0): layout.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"it is of version {version[0]}.{version[1]}, and 1 and 2 are read")
    shape, _, kind = read(file)
    if kind.hasobject:
        raise ValueError("it holds pickled objects, which are not read")
    if math.prod(shape) * kind.itemsize > len(content) - file.tell():
        raise ValueError("it was cut short")
    file.seek(0)
    found: np.ndarray = layout.read_array(file, allow_pickle=False)
    return found
