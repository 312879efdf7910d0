"""Latents and directions in the arrays of numpy (.npy, .npz) and the tensors of PyTorch (.pt) of other programs.

``projected_w.npz`` of the StyleGANs' own projector holds ``w``, (1, L, W); boundaries of InterFaceGAN are (1, W). They
do not say which generator they are of: what fits its latents in shape is believed. Tensors are read by
:mod:`zeuxis.pretrained.convert`, as hostile files are, and no pickled arrays.

Axes: N latents, L layers that are given a code each, W numbers of a code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.lib import format as layout
from safetensors.torch import load_file
from torch import Tensor

from zeuxis.api.card_file import MOST_BYTES, content_of
from zeuxis.editing.space import DecodedSpace
from zeuxis.errors import DataError, NoSuchPath, UsageError
from zeuxis.pretrained.convert import convert

NUMPY, TORCH = (".npy", ".npz"), (".pt", ".pth")
CODES = ("w", "latent", "latents")  # what the projectors call them
SOME = 5  # names that a message lists


def is_array_file(path: Path) -> bool:
    """Whether its name says that it is one."""
    return path.suffix.lower() in NUMPY + TORCH


def rows_of(path: Path, space: DecodedSpace) -> Tensor:
    """The latents, or directions, of a file: float32 ``(N, ...)``, each as ``space`` has them or one code ``(W,)``.

    Raises:
        UsageError: no such file, or numbers of another shape than that of the space.
        DataError: damaged, or pickled.
    """
    read = _tensor if path.suffix.lower() in TORCH else _numbers
    value = read(path)
    given = tuple(value.shape)
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
        f"{path} is of shape {'x'.join(map(str, given)) or 'one number'}, and a latent of '{space.owner}' is "
        f"{wanted}: give one that was made with this model"
    )


def _tensor(path: Path) -> Tensor:
    """The tensor of a file that torch.save wrote."""
    if not path.is_file():
        raise NoSuchPath("file", path)
    with TemporaryDirectory(prefix="zeuxis-") as draft:
        found = load_file(convert(path, Path(draft, "read.safetensors")).weights)
    names = {name: name for name in found} if len(found) == 1 else _called(found)
    value = found[_one(path, names, found)]
    if value.dtype == torch.bool or value.is_complex():
        raise DataError(f"{path} holds {value.dtype}, and latents are plain numbers: save them as float32")
    return value.float()


def _called(names: Iterable[str]) -> dict[str, str]:
    """Those that are called as projectors call latents; theirs may lie within something else."""
    return {name: name for name in names if name.rpartition(".")[2] in CODES}


def _one(path: Path, chosen: Mapping[str, str], every: Iterable[str]) -> str:
    """The only one ``chosen``; raises :class:`UsageError` naming those that there are."""
    if len(chosen) != 1:
        held = [*every]
        some = ", ".join(sorted(held)[:SOME]) + (f" and {len(held) - SOME} more" if len(held) > SOME else "")
        raise UsageError(f"{path} holds {some or 'no array'}: save the latents in it alone, or as '{CODES[0]}'")
    return next(iter(chosen.values()))


def _numbers(path: Path) -> Tensor:
    """The array of a file of numpy."""
    found = _read(path)
    if found.dtype.kind not in "fiu":
        raise DataError(f"{path} holds {found.dtype}, and latents are plain numbers: save them as an array of float32")
    return torch.from_numpy(np.ascontiguousarray(found.astype(np.float32)))


def _read(path: Path) -> np.ndarray:
    content = content_of(path)
    try:
        return _array(content) if path.suffix.lower() == ".npy" else _only(content, path)
    except (ValueError, EOFError, BadZipFile, OSError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as an array of numpy ({error}): save it again with numpy") from None


def _only(content: bytes, path: Path) -> np.ndarray:
    """The array of an archive that holds one, or the one of the projectors' name."""
    with ZipFile(BytesIO(content)) as archive:
        names = {Path(one.filename).stem: one for one in archive.infolist() if one.filename.endswith(".npy")}
        chosen = names[_one(path, {name: name for name in names} if len(names) == 1 else _called(names), names)]
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
