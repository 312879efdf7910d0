"""Reads the tensors out of a pickled checkpoint without running anything in it.

Three forms of file: a zip and a row of pickles, as torch.save writes them, and one plain pickle that holds its tensors
and numpy's arrays, as the network files of StyleGAN and its kin are. Those hold programs as well, which are neither run
nor kept.

This file is run by itself, in its own process, with the standard library alone (see
``to_safetensors.py``). A pickle is a program for a small stack machine; here is that machine, able to
build numbers, texts, lists, tuples, dicts, storages and tensors, and nothing else. A name in the
file is never imported: a function that is not in ``BUILDERS`` is not called, and what it would
have made becomes an :class:`Opaque`, of which only the name and the parts are kept. It is one file
because an isolated interpreter can import none of its neighbours.

Usage: ``python -I -S unpickle.py CHECKPOINT WEIGHTS.safetensors FACTS.json [watched]``; a ``watched`` one ends with
whoever holds the other end of its standard input.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import mmap
import os
import pickletools
import struct
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

MAX_PICKLE = 64 << 20  # bytes of pickle, tensors not counted
MAX_ITEMS = 1_000_000  # values in the tree that it unfolds to
MAX_DEPTH = 100
MAX_STEPS = 20_000_000  # of the machine: some ten a tensor are usual
MAX_SECONDS = 600  # of processor time
MAX_WORK = 50_000_000  # values that are copied from one to another while the pickle is read
MAX_TEXT = 64 << 20  # characters of all names and texts that are written down
MAX_NAME = 4096  # characters of the name of a tensor
MAX_MEMBERS = 1_000_000  # of a zip file
WATCHED = "watched"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # how checkpoints older than the zip format begin
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
PERSISTENT = 6  # the version of torch_utils.persistence, of the authors of StyleGAN2 and its followers
SOURCES = frozenset({"module_src", "build_module_src"})  # programs in the file, of which the length alone is told

CELLS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}  # how a memoryview names widths


class Refused(Exception):
    """Why a file is not converted, in one line."""


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


# -- the machine --------------------------------------------------------------------------------------


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    dtype = next((DTYPES[r.name] for r in rest if isinstance(r, Name) and r.name in DTYPES), None)
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Storage) or len(size) != len(stride) or len(size) > 32:
        raise Refused("a tensor in it is not a view of a storage")
    if any(type(n) is not int or not 0 <= n < 1 << 62 for n in numbers):
        raise Refused("a tensor in it has an impossible size, offset or stride")
    made = Tensor(storage, dtype or storage.dtype, offset, tuple(size), tuple(stride))
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if made.count and (last + 1) * WIDTHS[made.dtype] > storage.count * WIDTHS[storage.dtype]:
        raise Refused(f"a tensor of size {made.size} in it reaches beyond its storage of {storage.count} elements")
    return made


def _storage(pid: Any) -> Storage:
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], Name):
        raise Refused("it refers to something outside that is not a storage")
    _, kind, key, _, count, *view = pid
    if kind.name not in STORAGES:
        raise Refused(f"it holds a {kind}, which safetensors cannot")
    if type(count) is not int or count < 0 or not isinstance(key, str) or any(v is not None for v in view):
        raise Refused("a storage in it is badly described")
    return Storage(key, STORAGES[kind.name], count)


def _kind(letters: Any, *rest: Any) -> Any:
    return Kind(letters) if isinstance(letters, str) else Opaque("numpy.dtype", [letters])


def _array(kind: Any, *rest: Any) -> Any:
    return Array()


def _number(kind: Any, data: Any = None) -> Any:
    """A single number of numpy's, as Python has it."""
    held = data.encode("latin-1") if isinstance(data, str) else data
    dtype = kind.dtype if isinstance(kind, Kind) else None
    if dtype is None or not isinstance(held, bytes) or len(held) != WIDTHS[dtype]:
        return Opaque("numpy scalar", [])
    return struct.unpack("<" + LETTERS[dtype], held)[0]


def _filled(array: Array, state: Any) -> None:
    """Give an array its contents: version, shape, kind, whether columns come first, bytes."""
    if (
        not isinstance(state, tuple)
        or len(state) != 5
        or not isinstance(state[2], Kind)
        or not isinstance(state[1], tuple)
    ):
        raise Refused("an array of numpy in it is badly described")
    _, shape, kind, columns_first, data = state
    held = data.encode("latin-1") if isinstance(data, str) else data
    dtype = kind.dtype
    if dtype is None or not isinstance(held, (bytes, bytearray)):
        return  # of texts, of objects, of another machine's order: nothing of a network
    if len(shape) > 32 or any(type(side) is not int or not 0 <= side < 1 << 62 for side in shape):
        raise Refused("an array of numpy in it has an impossible shape")
    stride, dense = [], 1
    sides = shape if columns_first else shape[::-1]
    for side in sides:
        stride.append(dense)
        dense *= side
    stride = stride if columns_first else stride[::-1]
    storage = Storage("", dtype, len(held) // WIDTHS[dtype], bytes(held))
    array.tensor = _tensor(storage, 0, tuple(shape), tuple(stride))


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> Array:
    """An array as protocol 5 has it."""
    array = Array()
    _filled(array, (1, shape, kind, order == "F", data))
    return array


def _persistent(meta: Any) -> Opaque:
    """An object of a class whose program the file holds: its state, without the program."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise Refused("an object in it that brings its own program is badly described")
    version = meta.get("version")
    if version != PERSISTENT:
        told = version if isinstance(version, int) and abs(version) < 1 << 31 else "unknown"
        raise Refused(f"it was written by version {told} of torch_utils.persistence; {PERSISTENT} is read")
    name = meta.get("class_name")
    return Opaque(f"persistent {name[:100] if isinstance(name, str) else 'object'}", [meta["state"]])


UTILS = "torch._utils"
BUILDERS: dict[Name, Callable[..., Any]] = {
    Name("collections", "OrderedDict"): lambda *args: _plain_dict(*args),
    Name("collections", "defaultdict"): lambda factory=None, *args: _plain_dict(*args),
    Name("builtins", "dict"): lambda *args: _plain_dict(*args),
    Name("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),  # how old pickles write bytes
    Name("torch", "Size"): tuple,
    Name(UTILS, "_rebuild_tensor"): _tensor,
    Name(UTILS, "_rebuild_tensor_v2"): _tensor,
    Name(UTILS, "_rebuild_tensor_v3"): _tensor,
    Name(UTILS, "_rebuild_parameter"): lambda data, *rest: data,
    Name(UTILS, "_rebuild_parameter_with_state"): lambda data, *rest: data,
    Name("builtins", "set"): lambda items=(): list(items),
    Name("__builtin__", "set"): lambda items=(): list(items),
    Name("dnnlib.util", "EasyDict"): lambda *args: _plain_dict(*args),
    Name("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    Name("numpy", "dtype"): _kind,
    **{
        Name(f"numpy.{core}.{name}", function): builder
        for core in ("core", "_core")
        for name, function, builder in (
            ("multiarray", "_reconstruct", _array),
            ("multiarray", "scalar", _number),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
    Name("torch._tensor", "_rebuild_from_type_v2"): lambda function, kind, args, state: call(function, args),
}


def call(function: Any, args: Any) -> Any:
    """What ``function(*args)`` makes, if it is one of ours; otherwise a note that it was not made."""
    if isinstance(function, Name) and function in BUILDERS:
        return BUILDERS[function](*args)
    return Opaque(called(function), [args])


def called(function: Any) -> str:
    """The name of a function or class, where it has one: anything else could be endless to write down."""
    return str(function) if isinstance(function, Name) else "an object"


def global_name(module: Any, name: Any) -> Name:
    if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > MAX_NAME:
        raise Refused(f"it names something by no text of at most {MAX_NAME} characters (bound: MAX_NAME)")
    return Name(module, name)


LOADED = Name("torch.storage", "_load_from_bytes")  # how a plain pickle holds a storage: a file within the file


@dataclass(slots=True)
class WorkBound:
    """What reading one file may take, files within it included: however it is divided, it is spent once.

    ``room`` counts the bytes of numbers that may yet be taken out of its pickles: no more than there are.
    """

    room: int
    work: int = 0

    def take(self, length: int) -> None:
        """Account for numbers that a pickle itself holds: a short one can name them over and over."""
        self.room -= length
        if self.room < 0:
            raise Refused("it names the same numbers over and over")

    def spend(self, values: int) -> None:
        """Account for ``values`` that are copied: a short file can have a long list copied over and over."""
        self.work += values
        if self.work > MAX_WORK:
            raise Refused(f"it takes more than {MAX_WORK:,} copied values to read (bound: MAX_WORK)")


class Machine:
    """The pickle machine. Every step is a method of this class; there is no way out of it.

    ``within``: it reads a file within the file, in which there is no other.
    """

    def __init__(self, bound: WorkBound, *, within: bool = False) -> None:
        self.bound, self.within = bound, within
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}  # those that it named, by key

    def run(self, stream: io.BufferedIOBase | mmap.mmap) -> Any:
        """The value of the pickle that ``stream`` is at; the stream is left behind it."""
        for steps, (op, arg, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if steps > MAX_STEPS:
                raise Refused(f"its pickle has more than {MAX_STEPS:,} steps (bound: MAX_STEPS)")
            if op.name == "STOP":
                return self.stack.pop()
            if op.name not in OPCODES:
                raise Refused(f"its pickle uses {op.name}, which no checkpoint needs")
            OPCODES[op.name](self, arg)
        raise Refused("its pickle has no end")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def call(self, function: Any, args: Any) -> Any:
        """See :func:`call`; what goes into it is accounted for."""
        if function == LOADED and isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], bytes):
            if self.within:
                raise Refused("a storage in it holds another file")
            self.bound.take(len(args[0]))
            return read_within(args[0], self.bound)
        if isinstance(args, (list, tuple)):
            self.bound.spend(sum(len(a) for a in args if isinstance(a, (str, bytes, list, tuple, dict))))
        made = call(function, args)
        if isinstance(made, Array):
            self.account(made)
        return made

    def account(self, array: Array) -> None:
        """Its contents were copied out of the pickle."""
        if array.tensor is not None and array.tensor.storage.data is not None:
            self.bound.take(len(array.tensor.storage.data))

    def swap(self, count: int, make: Callable[..., Any]) -> None:
        """Replace the top ``count`` values by what ``make`` makes of them."""
        if len(self.stack) < count:
            raise IndexError
        args = self.stack[len(self.stack) - count :]
        self.stack[len(self.stack) - count :] = [make(*args)]

    def since_mark(self) -> list[Any]:
        """Take what was pushed since the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def extend(self, values: list[Any]) -> None:
        """Append to the list, set or unmade object on top."""
        self.bound.spend(len(values))
        top = self.stack[-1]
        if isinstance(top, Opaque):
            top.parts.append(values)
        elif isinstance(top, list):
            top.extend(values)
        else:
            raise TypeError

    def update(self, values: list[Any]) -> None:
        """Set items of the dict or unmade object on top; ``values`` are keys and values in turn."""
        self.bound.spend(len(values))
        top, items = self.stack[-1], _pairs(values)
        if isinstance(top, Opaque):
            top.parts.append(items)
        elif isinstance(top, dict):
            top.update(items)
        else:
            raise TypeError

    def outside(self, _: Any) -> None:
        """What the file calls persistent: a storage, and nothing else."""
        self.swap(1, _storage)
        self.storages[self.stack[-1].key] = self.stack[-1]

    def build(self, _: Any) -> None:
        """Give the object on top its state: kept if it was not made, otherwise (``_metadata``) let go."""
        state = self.stack.pop()
        match self.stack[-1]:
            case Opaque() as top:
                top.parts.append(state)
            case Array() as top:
                _filled(top, state)
                self.account(top)
            case Kind() as top if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
                top.order = state[1]


PLAIN = (str, int, float, bool, bytes, Name, type(None))


def _pairs(values: list[Any]) -> dict[Any, Any]:
    return {_key(k): v for k, v in zip(values[::2], values[1::2], strict=True)}


def _key(key: Any) -> Any:
    """A key, or Refused: a tuple that holds itself thirty times over takes for ever to hash, a deep one ends Python."""
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) > MAX_DEPTH or not all(isinstance(part, PLAIN) for part in parts):
        raise Refused("a key in it is neither a text, a number nor a flat tuple of them, which no checkpoint needs")
    return key


def _plain_dict(*args: Any) -> dict[Any, Any]:
    """What ``dict(*args)`` makes of a dict or of pairs."""
    items = args[0] if args else ()
    pairs = items.items() if isinstance(items, dict) else items
    return {_key(k): v for k, v in pairs}


def _name(text: str) -> Name:
    return global_name(*text.split(" ", 1))


Opcode = Callable[[Machine, Any], Any]
CONSTANTS = (
    "INT LONG LONG1 LONG4 BININT BININT1 BININT2 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
OPCODES: dict[str, Opcode] = {
    **dict.fromkeys(CONSTANTS.split(), Machine.push),
    **dict.fromkeys(["PROTO", "FRAME"], lambda m, a: None),
    **dict.fromkeys(["PUT", "BINPUT", "LONG_BINPUT"], lambda m, a: m.memo.__setitem__(a, m.stack[-1])),
    **dict.fromkeys(["GET", "BINGET", "LONG_BINGET"], lambda m, a: m.push(m.memo[a])),
    "MEMOIZE": lambda m, a: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "POP": lambda m, a: m.stack.pop(),
    "POP_MARK": lambda m, a: m.since_mark(),
    "DUP": lambda m, a: m.push(m.stack[-1]),
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_SET": lambda m, a: m.push([]),  # sets become lists: their members need not be hashable here
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "LIST": lambda m, a: m.push(m.since_mark()),
    "FROZENSET": lambda m, a: m.push(m.since_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.since_mark())),
    "DICT": lambda m, a: m.push(_pairs(m.since_mark())),
    "TUPLE1": lambda m, a: m.swap(1, lambda *v: v),
    "TUPLE2": lambda m, a: m.swap(2, lambda *v: v),
    "TUPLE3": lambda m, a: m.swap(3, lambda *v: v),
    "APPEND": lambda m, a: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, a: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, a: m.extend(m.since_mark()),
    "SETITEM": lambda m, a: m.update([m.stack.pop(), m.stack.pop()][::-1]),
    "SETITEMS": lambda m, a: m.update(m.since_mark()),
    "GLOBAL": lambda m, a: m.push(_name(a)),
    "STACK_GLOBAL": lambda m, a: m.swap(2, global_name),
    "INST": lambda m, a: m.push(m.call(_name(a), m.since_mark())),
    "OBJ": lambda m, a: m.push((lambda values: m.call(values[0], values[1:]))(m.since_mark())),
    "REDUCE": lambda m, a: m.swap(2, m.call),
    "NEWOBJ": lambda m, a: m.swap(2, m.call),
    "NEWOBJ_EX": lambda m, a: m.swap(3, lambda kind, args, words: Opaque(called(kind), [args, words])),
    "BUILD": Machine.build,
    "BINPERSID": Machine.outside,
}


# -- the two forms of file ----------------------------------------------------------------------------


def read_zip(data: mmap.mmap) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The value in a zip checkpoint, and where each storage lies: (first byte, bytes)."""
    with zipfile.ZipFile(io.BufferedReader(_Window(data))) as archive:
        there = [i for i in archive.infolist() if not i.is_dir()]
        if len(there) > MAX_MEMBERS:
            raise Refused(f"it has {len(there):,} members, and at most {MAX_MEMBERS:,} are read (bound: MAX_MEMBERS)")
        if sum(i.file_size for i in there) > len(data):
            raise Refused("its members overlap, so that reading them takes longer than the file is long")
        members = {i.filename: _place(data, i) for i in there}
    roots = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise Refused("it is a zip file, but not one that torch.save wrote")
    root = roots[0].removesuffix("data.pkl")
    if f"{root}byteorder" in members:
        start, length = members[f"{root}byteorder"]
        if data[start : start + min(length, 16)] != b"little":
            raise Refused("it was written on a big-endian machine")
    start, length = members[roots[0]]
    if length > MAX_PICKLE:
        raise Refused(f"its pickle is longer than {MAX_PICKLE >> 20} MiB")
    places = {name.removeprefix(f"{root}data/"): place for name, place in members.items()}
    return Machine(WorkBound(length)).run(io.BytesIO(data[start : start + length])), places


class _Window(io.RawIOBase):
    """The mapped file as a stream, for ``zipfile``, which wants to close what it reads."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self.at, len(self.data))[whence]
        if at < 0:
            raise OSError("a seek before the start")
        self.at = at
        return at

    def readinto(self, buffer: Any) -> int:
        part = self.data[self.at : self.at + len(buffer)]
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)


def _place(data: mmap.mmap, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a member's bytes lie. Nothing is unpacked: torch.save stores members as they are."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
        raise Refused("a member of it is compressed or encrypted, which torch.save never does")
    head = data[info.header_offset : info.header_offset + 30]
    if len(head) < 30 or head[:4] != b"PK\3\4":
        raise Refused("its zip directory is damaged")
    start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
    if start + info.file_size > len(data):
        raise Refused("it is cut short")
    # A checksum of 0 is what torch.save writes when it is set not to compute any.
    if info.CRC and zlib.crc32(memoryview(data)[start : start + info.file_size]) != info.CRC:
        raise Refused("it is damaged: a checksum in it is wrong")
    return start, info.file_size


def read_pickles(data: mmap.mmap) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The same for the other forms: one pickle that holds all, or those of :func:`read_legacy`."""
    bound = WorkBound(len(data))
    first = Machine(bound).run(data)
    return read_legacy(data, len(data), bound) if first == MAGIC else (first, {})


def read_within(content: bytes, bound: WorkBound) -> Storage:
    """The storage in a file within the file, which torch.save wrote."""
    stream = io.BytesIO(content)
    if Machine(bound, within=True).run(stream) != MAGIC:
        raise Refused("what it says is a storage was not written by torch.save")
    value, places = read_legacy(stream, len(content), bound, within=True)
    if not isinstance(value, Storage) or value.key not in places:
        raise Refused("what it says is a storage is none")
    start, length = places[value.key]
    return Storage("", value.dtype, value.count, memoryview(content)[start : start + length])


def read_legacy(
    data: mmap.mmap | io.BytesIO, size: int, bound: WorkBound, *, within: bool = False
) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The older form, behind its first pickle: others one after the other, then the storages in the order they name."""
    if Machine(bound, within=within).run(data) != PROTOCOL:
        raise Refused("it is a pickle, but not one that torch.save wrote")
    Machine(bound, within=within).run(data)  # what machine wrote it
    machine = Machine(bound, within=within)
    value = machine.run(data)
    places = {}
    for key in Machine(bound, within=within).run(data):
        (count,) = struct.unpack("<q", data.read(8))
        length = count * WIDTHS[machine.storages[key].dtype]
        if count < 0 or data.tell() + length > size:
            raise Refused("it is cut short")
        places[key] = (data.tell(), length)
        data.seek(length, io.SEEK_CUR)
    return value, places


# -- the tree that it unfolds to ----------------------------------------------------------------------

# Levels of a pickled module that its state dict lacks, and of a network of dnnlib's.
PLUMBING = frozenset({"_modules", "_parameters", "_buffers", "components"})


def _named(value: Any) -> dict[str, Any] | None:
    """Variables of a network of dnnlib's by their names, if ``value`` is a list of such pairs."""
    pairs = value if isinstance(value, list) else []
    if not pairs or not all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in pairs):
        return None
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


class Tree:
    """A value unfolded: its tensors by dotted name, its other leaves as JSON, the names of what was not made."""

    def __init__(self, value: Any) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.unmade: set[str] = set()
        self.items = self.text = 0
        self.facts = self.walk(value, ())

    def walk(self, value: Any, path: tuple[str, ...]) -> Any:
        """The facts in ``value``; its tensors are put aside under ``path``."""
        self.items += 1
        if self.items > MAX_ITEMS or len(path) > MAX_DEPTH:
            bound = "MAX_ITEMS" if self.items > MAX_ITEMS else "MAX_DEPTH"
            raise Refused(f"it unfolds to more than {MAX_ITEMS:,} values or {MAX_DEPTH} levels (bound: {bound})")
        match value:
            case Tensor():
                name = ".".join(path) or "tensor"
                if len(name) > MAX_NAME:
                    raise Refused(f"the name of a tensor in it has more than {MAX_NAME} characters (bound: MAX_NAME)")
                self.write(len(name))
                if self.tensors.setdefault(name, value) is not value:
                    raise Refused(f"two tensors in it would be called '{name}'")
                return None
            case Array():
                return "<array>" if value.tensor is None else self.walk(value.tensor, path)
            case dict():
                return {self.spelt(k): self.walk(v, (*path, str(k))) for k, v in value.items()}
            case list() | tuple():
                return [self.walk(v, (*path, str(k))) for k, v in enumerate(value)]
            case Opaque():
                self.unmade.add(value.name)
                self.write(len(value.name))
                return {"object": value.name, "parts": [self.part(p, path) for p in value.parts]}
            case str():
                self.write(len(value))
                return value
            case bool() | None:
                return value
            case int() if abs(value) < 1 << 63:
                return value
            case float() if math.isfinite(value):
                return value
            case float():
                return str(value)
            case Name():
                return str(value)
            case bytes() | bytearray():
                return f"<{len(value)} bytes>"
            case _:
                return f"<{type(value).__name__.lower()}>"

    def part(self, part: Any, path: tuple[str, ...]) -> Any:
        """A part of an object that was not made: a pickled module's levels are left out of its tensors' names."""
        if not isinstance(part, dict):
            return self.walk(part, (*path, "parts"))
        found = {}
        for k, v in part.items():
            if k in SOURCES and isinstance(v, str):
                found[self.spelt(k)] = f"<{len(v)} characters>"
            else:
                named = _named(v) if k == "variables" else None
                found[self.spelt(k)] = self.walk(named or v, path if k in PLUMBING or named else (*path, str(k)))
        return found

    def spelt(self, key: Any) -> str:
        """A key as JSON has it."""
        text = str(key)
        self.write(len(text))
        return text

    def write(self, characters: int) -> None:
        """Account for text that is written down: a short file can name a long text over and over."""
        self.text += characters
        if self.text > MAX_TEXT:
            raise Refused(f"it unfolds to more than {MAX_TEXT >> 20} million characters of text (bound: MAX_TEXT)")


# -- writing ------------------------------------------------------------------------------------------


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


def limit(size: int) -> None:
    """Bounds that hold even against a mistake in this file; systems without them rely on the parent's clock."""
    with suppress(ImportError):
        import resource  # noqa: PLC0415  (POSIX only)

        bounds = {
            resource.RLIMIT_AS: 2 * size + (1 << 30),
            resource.RLIMIT_CPU: MAX_SECONDS,
            resource.RLIMIT_FSIZE: 4 * size + (192 << 20),
            resource.RLIMIT_CORE: 0,
        }
        for kind, bound in bounds.items():
            with suppress(ValueError, OSError):  # some systems do not let themselves be limited so
                resource.setrlimit(kind, (bound, bound))


def to_safetensors(source: Path, weights: Path, facts: Path) -> None:
    """Read ``source``; write its tensors and its facts."""
    size = source.stat().st_size
    if size == 0:
        raise Refused("it is empty")
    limit(size)
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            value, places = read_zip(data) if data[:4] == b"PK\3\4" else read_pickles(data)
            tree = Tree(value)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError, OverflowError,
                zipfile.BadZipFile, struct.error, NotImplementedError) as error:  # fmt: skip
            detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise Refused(f"it is damaged or no checkpoint ({detail})") from None
        except (MemoryError, RecursionError):
            raise Refused("it unfolds to more than there is room for") from None
        if not tree.tensors:
            raise Refused("there are no tensors in it")
        with memoryview(data) as view:
            write_tensors(tree.tensors, view, places, weights)
    found = {"facts": tree.facts, "not_made": sorted(tree.unmade)}
    facts.write_text(json.dumps(found, indent=1), encoding="ascii")


def end_with_parent() -> None:
    """End this process when whoever started it has ended: its end of the pipe on our standard input is closed then."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    if sys.argv[4:] == [WATCHED]:
        end_with_parent()
    try:
        to_safetensors(*map(Path, sys.argv[1:4]))
    except Refused as reason:
        sys.exit(str(reason))
