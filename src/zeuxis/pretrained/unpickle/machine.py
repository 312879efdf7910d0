"""The small stack machine that a pickle is a program for: it can build values, and nothing else."""

from __future__ import annotations

import io
import mmap
import pickletools
from collections.abc import Callable
from typing import Any

from .bounds import MAX_STEPS, Refused, WorkBound
from .builders import call, called, filled, global_name, pairs, storage
from .values import Array, Kind, Name, Opaque, Storage

ReadWithin = Callable[[bytes, WorkBound], Storage]
LOADED = Name("torch.storage", "_load_from_bytes")  # how a plain pickle holds a storage: a file within the file


class Machine:
    """The pickle machine. Every step is a method of this class; there is no way out of it.

    ``read_within`` reads a storage that is a file within the file; in such a file there is no other: None.
    """

    def __init__(self, bound: WorkBound, read_within: ReadWithin | None = None) -> None:
        self.bound, self.read_within = bound, read_within
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
            if self.read_within is None:
                raise Refused("a storage in it holds another file")
            self.bound.take(len(args[0]))
            return self.read_within(args[0], self.bound)
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
        top, items = self.stack[-1], pairs(values)
        if isinstance(top, Opaque):
            top.parts.append(items)
        elif isinstance(top, dict):
            top.update(items)
        else:
            raise TypeError

    def outside(self, _: Any) -> None:
        """What the file calls persistent: a storage, and nothing else."""
        self.swap(1, storage)
        self.storages[self.stack[-1].key] = self.stack[-1]

    def build(self, _: Any) -> None:
        """Give the object on top its state: kept if it was not made, otherwise (``_metadata``) let go."""
        state = self.stack.pop()
        match self.stack[-1]:
            case Opaque() as top:
                top.parts.append(state)
            case Array() as top:
                filled(top, state)
                self.account(top)
            case Kind() as top if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
                top.order = state[1]


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
    "DICT": lambda m, a: m.push(pairs(m.since_mark())),
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
