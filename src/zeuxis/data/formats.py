"""File formats of the official downloads, read into arrays without ever unpickling."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np

from zeuxis.data.source import Array
from zeuxis.errors import DataError

CIFAR_RECORD = 1 + 3 * 32 * 32  # a label, then red, green and blue planes


def read_idx(path: Path) -> Array:
    """A gzipped IDX file of bytes (MNIST's format): uint8, of the shape that it states.

    Raises:
        DataError: not such a file, or shorter or longer than it states.
    """
    try:
        with gzip.open(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{path}' cannot be unpacked ({error}): delete it, and it is fetched again") from error
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise DataError(f"'{path}' is no IDX file of bytes: delete it, and it is fetched again")
    axes = data[3]
    start = 4 + 4 * axes
    shape = tuple(np.frombuffer(data, ">u4", axes, offset=4).tolist()) if len(data) >= start else ()
    if len(shape) != axes or len(data) - start != int(np.prod(shape)):
        raise DataError(f"'{path}' does not hold the {shape} bytes it states: delete it, and it is fetched again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_cifar10_tar(path: Path) -> tuple[Array, Array, Array]:
    """CIFAR-10's binary archive: images uint8 (60000, 32, 32, 3), labels (60000,), and which rows are test.

    Members are read by their known names; nothing is unpacked to disk.
    """
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    try:
        with tarfile.open(path, "r:gz") as tar:
            parts = [_member(tar, f"cifar-10-batches-bin/{name}") for name in names]
    except (tarfile.TarError, KeyError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"'{path}' is not CIFAR-10's archive ({error}): delete it, and it is fetched again") from error
    records = np.concatenate(parts)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, records[:, 0], np.arange(len(records)) >= len(records) - len(parts[-1])


def _member(tar: tarfile.TarFile, name: str) -> Array:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file")
    return np.frombuffer(file.read(), np.uint8).reshape(-1, CIFAR_RECORD)
