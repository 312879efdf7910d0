"""The functions that a checkpoint may call, and what each makes: no other is ever called."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from .bounds import MAX_DEPTH, MAX_NAME, Refused
from .values import DTYPES, LETTERS, STORAGES, WIDTHS, Array, Kind, Name, Opaque, Storage, Tensor

PERSISTENT = 6  # the version of torch_utils.persistence, of the authors of StyleGAN2 and its followers
PLAIN = (str, int, float, bool, bytes, Name, type(None))  # what a key is made of


def pairs(values: list[Any]) -> dict[Any, Any]:
    return {_key(k): v for k, v in zip(values[::2], values[1::2], strict=True)}


def _key(key: Any) -> Any:
    """A key, or Refused: a tuple that holds itself thirty times over takes for ever to hash, a deep one ends Python."""
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) > MAX_DEPTH or not all(isinstance(part, PLAIN) for part in parts):
        raise Refused("a key in it is neither a text, a number nor a flat tuple of them, which no checkpoint needs")
    return key


def plain_dict(*args: Any) -> dict[Any, Any]:
    """What ``dict(*args)`` makes of a dict or of pairs."""
    items = args[0] if args else ()
    pairs = items.items() if isinstance(items, dict) else items
    return {_key(k): v for k, v in pairs}


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


def storage(pid: Any) -> Storage:
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


def filled(array: Array, state: Any) -> None:
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
    filled(array, (1, shape, kind, order == "F", data))
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
    Name("collections", "OrderedDict"): lambda *args: plain_dict(*args),
    Name("collections", "defaultdict"): lambda factory=None, *args: plain_dict(*args),
    Name("builtins", "dict"): lambda *args: plain_dict(*args),
    Name("_codecs", "encode"): lambda text, encoding: text.encode("latin-1"),  # how old pickles write bytes
    Name("torch", "Size"): tuple,
    Name(UTILS, "_rebuild_tensor"): _tensor,
    Name(UTILS, "_rebuild_tensor_v2"): _tensor,
    Name(UTILS, "_rebuild_tensor_v3"): _tensor,
    Name(UTILS, "_rebuild_parameter"): lambda data, *rest: data,
    Name(UTILS, "_rebuild_parameter_with_state"): lambda data, *rest: data,
    Name("builtins", "set"): lambda items=(): list(items),
    Name("__builtin__", "set"): lambda items=(): list(items),
    Name("dnnlib.util", "EasyDict"): lambda *args: plain_dict(*args),
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
