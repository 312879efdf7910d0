"""The tensors as a safetensors file."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from .bounds import Refused
from .values import WIDTHS, Tensor

CELLS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}  # how a memoryview names widths


def contiguous_rows(tensor: Tensor, data: memoryview) -> Iterable[memoryview | bytes]:
    """The tensor's bytes in row-major order; ``data`` is the whole of its storage."""
    width = WIDTHS[tensor.dtype]
    dense, solid = 1, True
    for n, s in zip(reversed(tensor.size), reversed(tensor.stride), strict=True):
        solid &= n == 1 or s == dense
        dense *= n
    if solid or not tensor.count:
        yield data[tensor.offset * width : tensor.offset * width + tensor.bytes]
        return
    cells = data[: len(data) // width * width].cast(CELLS[width])
    *outer, (n, step) = zip(tensor.size, tensor.stride, strict=True)
    for place in itertools.product(*(range(count) for count, _ in outer)):
        start = tensor.offset + sum(k * s for k, (_, s) in zip(place, outer, strict=True))
        yield (
            cells[start : start + (n - 1) * step + 1 : step].tobytes()
            if step
            else cells[start : start + 1].tobytes() * n
        )


def write_tensors(
    tensors: Mapping[str, Tensor], data: memoryview, places: Mapping[str, tuple[int, int]], path: Path
) -> None:
    """A safetensors file: length of header, header as JSON, bytes; wide types first, so that all are aligned."""
    order = sorted(tensors.items(), key=lambda item: (-WIDTHS[item[1].dtype], item[0]))
    at, header = 0, {}
    for name, tensor in order:
        storage = tensor.storage
        place = places.get(storage.key) if storage.data is None else (0, len(storage.data))
        if place is None or place[1] < storage.count * WIDTHS[storage.dtype]:
            raise Refused(f"the storage of '{name}' is missing or cut short")
        span = [at, at + tensor.bytes]
        header[name] = {"dtype": tensor.dtype, "shape": tensor.size, "data_offsets": span}
        at += tensor.bytes
    if at > 4 * len(data) + (64 << 20):
        raise Refused(f"it unfolds to {at:,} bytes of tensors, far more than it holds")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in order:
            if tensor.storage.data is None:
                start, length = places[tensor.storage.key]
                held = data[start : start + length]
            else:
                held = memoryview(tensor.storage.data)
            for row in contiguous_rows(tensor, held):
                file.write(row)
