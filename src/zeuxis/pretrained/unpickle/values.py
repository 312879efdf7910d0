"""What a pickle can be made into here: names, storages, tensors and arrays as descriptions, and what was not made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
          "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip
STORAGES = {"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
            "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
            "ByteStorage": "U8", "BoolStorage": "BOOL", "UntypedStorage": "U8"}  # fmt: skip
DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
          "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
          "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}  # fmt: skip

NUMPY = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8", "u8": "U64",
         "u4": "U32", "u2": "U16", "u1": "U8", "b1": "BOOL"}  # fmt: skip
LETTERS = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i", "I16": "h", "I8": "b", "U64": "Q", "U32": "I",
           "U16": "H", "U8": "B", "BOOL": "?"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """``module.name`` as the file writes it: a name, never the thing."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Storage:
    """A part of the file that holds the numbers of tensors."""

    key: str
    dtype: str
    count: int
    data: bytes | memoryview | None = field(default=None, repr=False, compare=False)  # those that the pickle holds


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage; offset and stride count elements."""

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.size)

    @property
    def bytes(self) -> int:
        return self.count * WIDTHS[self.dtype]


@dataclass(slots=True, eq=False)
class Opaque:
    """An object that was not made: what it was called, and the parts that it would have been made of."""

    name: str
    parts: list[Any] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Kind:
    """A kind of number as numpy writes it: its letter and width, and the order of its bytes."""

    letters: str
    order: str = "|"

    @property
    def dtype(self) -> str | None:
        """Its name in safetensors, if it has one."""
        return NUMPY.get(self.letters) if self.order in "<|=" else None


@dataclass(slots=True, eq=False)
class Array:
    """An array of numpy, of which the file tells the contents after it has been named."""

    tensor: Tensor | None = None
