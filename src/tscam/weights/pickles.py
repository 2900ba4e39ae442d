"""Reads the pickles of `torch.save` as an index: names, shapes and sizes. Calls nothing that a file names; no PyTorch.

The instructions are those that `torch.load(weights_only=True)` takes. It also calls a few functions with arguments of
the file: a file of a few bytes may ask for any amount of memory. So what is to be called is checked here first.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

from tscam.errors import shown

# Bytes of a pickle, and its instructions: an index of 3,000 tensors takes a tenth of them. More would take long.
MAX_PICKLE, _MAX_INSTRUCTIONS = 2**21, 500_000

MAX_AXES = 16  # of a tensor

# Objects of other libraries that checkpoints contain beside their tensors; they are dropped.
DROPPED = frozenset(
    f"{module}.{name}"
    for module, names in {
        "argparse": ("Namespace",),
        "numpy": ("dtype", "ndarray"),
        "numpy.core.multiarray": ("scalar", "_reconstruct"),
        "numpy._core.multiarray": ("scalar", "_reconstruct"),
        "pathlib": ("Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
        "pathlib._local": ("Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    }.items()
    for name in names
)

# Bytes of a number of each type.
_SIZES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexDouble": 16, "ComplexFloat": 8,
}  # fmt: skip
_STORAGES = {f"torch.{name}Storage": size for name, size in _SIZES.items()} | {"torch.storage.UntypedStorage": 1}
_DTYPES = {
    f"torch.{name}": size
    for size, names in {
        1: ("bool", "int8", "uint8", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
        2: ("float16", "bfloat16", "int16", "uint16"),
        4: ("float32", "int32", "uint32"),
        8: ("float64", "int64", "uint64", "complex64"),
        16: ("complex128",),
    }.items()
    for name in names
}

# Functions of PyTorch that make other tensors than dense ones in the memory of the CPU.
_OTHER_TENSORS = {
    "_rebuild_sparse_tensor": "sparse", "_rebuild_sparse_csr_tensor": "sparse", "_rebuild_qtensor": "quantized",
    "_rebuild_meta_tensor_no_storage": "meta", "_rebuild_nested_tensor": "nested",
    "_rebuild_wrapper_subclass": "wrapped", "_rebuild_device_tensor_from_numpy": "device",
    "_rebuild_device_tensor_from_cpu_tensor": "device",
}  # fmt: skip


class ForeignObjectError(Exception):
    """A file contains an object that is neither a tensor nor a plain value; the message names it."""


class BadPickleError(Exception):
    """A file is corrupt, or asks for more than it contains; the message says why."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file: its shape and the bytes of its numbers."""

    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Storage:
    """Numbers of a file that tensors are views of: key, bytes of each number, and how many there are."""

    key: str
    item_bytes: int
    items: int


@dataclass(frozen=True)
class _Name:
    """A name of a class, a function or a type in a file; it is not looked up."""

    text: str


class _Opaque:
    """Stands for an object that is dropped."""


class PickleIndex:
    """Reads one pickle after the other from the beginning of `content`.

    Attributes:
        storages: the storages that the tensors of the file are views of, by key.
        dropped: libraries whose objects are dropped.
        tensor_bytes: bytes of all tensors; several may be views of one storage.
    """

    def __init__(self, content: bytes) -> None:
        self.storages: dict[str, Storage] = {}
        self.dropped: set[str] = set()
        self.tensor_bytes = 0
        self.position = 0
        self._content = content
        self._instructions = self._copied = 0
        self._memo: dict[int, object] = {}
        self._stack: list[object] = []
        self._marks: list[int] = []

    def load(self) -> object:
        """Return the content of the next pickle: plain values, and `StoredTensor` for each tensor.

        Raises:
            ForeignObjectError: it contains something else.
            BadPickleError: it is corrupt, too large, or asks for more than it contains.
        """
        self._memo, self._stack, self._marks = {}, [], []
        try:
            while (instruction := self._take(1)[0]) != _STOP:
                self._instructions += 1
                if self._instructions > _MAX_INSTRUCTIONS:
                    raise BadPickleError(f"more than {_MAX_INSTRUCTIONS:,} values; save the state dict alone")
                if instruction not in _INSTRUCTIONS:
                    raise ForeignObjectError(f"pickle instruction {chr(instruction)!r}")
                _INSTRUCTIONS[instruction](self)
            return self._stack.pop()
        except (LookupError, struct.error, UnicodeDecodeError, ValueError, TypeError, OverflowError) as fault:
            raise BadPickleError(f"it is corrupt at byte {self.position}") from fault

    def _take(self, count: int) -> bytes:
        piece = self._content[self.position : self.position + count]
        if len(piece) < count:
            raise BadPickleError("its index is cut off, or too large; save the state dict alone")
        self.position += count
        return piece

    def _number(self, layout: str) -> int:
        (number,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        return int(number)

    def _line(self) -> str:
        end = self._content.index(b"\n", self.position)
        return self._take(end + 1 - self.position)[:-1].decode()

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _since_mark(self) -> list[object]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _spend(self, count: int) -> None:
        """Count what `torch.load` copies; repeated copies of one value could take any amount of memory."""
        self._copied += count
        if self._copied > MAX_PICKLE:
            raise BadPickleError("it copies its values again and again")

    def _spend_on(self, values: Iterable[object]) -> None:
        self._spend(sum(len(value) for value in values if isinstance(value, dict | tuple | list)))

    def _push_name(self) -> None:
        name = ".".join((self._line(), self._line()))
        name = name.replace("__builtin__.", "builtins.", 1) if name.startswith("__builtin__.") else name
        if name in DROPPED:
            self.dropped.add(name.partition(".")[0])
        elif name not in _CALLS and name not in _STORAGES and name not in _DTYPES and name not in _OTHER_CALLS:
            raise ForeignObjectError(shown(name))
        self._push(_Name(name))

    def _call(self) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise BadPickleError("it calls what is no function")
        self._push(self._result(name.text, arguments))

    def _result(self, name: str, arguments: tuple[object, ...]) -> object:
        if name in DROPPED:
            return _Opaque()
        if name in _OTHER_CALLS:
            raise BadPickleError(f"it contains a {_OTHER_CALLS[name]} tensor; only dense ones of the CPU are read")
        if name not in _CALLS:
            raise BadPickleError(f"it calls {shown(name)}")
        return _CALLS[name](self, *arguments)

    def _build(self) -> None:
        state = self._stack.pop()
        if not isinstance(self._stack[-1], dict | _Opaque):
            raise BadPickleError("it changes what is no object")
        self._spend_on([state])

    def _append(self, items: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise BadPickleError("it appends to what is no list")
        target.extend(items)

    def _set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise BadPickleError("it sets items of what is no mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            _require_plain_key(key)
            target[key] = value

    def _storage(self) -> None:
        reference = self._stack.pop()
        match reference:
            case ("storage", _Name(text=kind), str(key), str(), int(items), *rest) if len(rest) <= 1:
                pass
            case _:
                raise BadPickleError("it refers to what is no storage")
        if kind not in _STORAGES or items < 0 or isinstance(items, bool):
            raise BadPickleError("it refers to what is no storage")
        storage = Storage(key, _STORAGES[kind], items)
        if self.storages.setdefault(key, storage) != storage and items:
            raise BadPickleError("it states two sizes of one storage")
        self._push(storage)


def _require_plain_key(key: object) -> None:
    """Refuse a key other than text and numbers, which may need any depth of stack, and integers of one hash."""
    if not isinstance(key, str | int | float | None) or (isinstance(key, int) and abs(key) >= 2**60):
        raise BadPickleError("a key of a mapping is neither text nor a number")


def _tensor(index: PickleIndex, storage: object, *view: object) -> object:
    if not isinstance(storage, Storage):
        raise BadPickleError("a tensor without a storage")
    return _view(index, storage, *view[:3], item_bytes=storage.item_bytes)


def _typed_tensor(index: PickleIndex, storage: object, *view: object) -> object:
    """Return a tensor of bytes whose type is stated: after offset, shape, strides, gradient and hooks."""
    dtype = view[5]
    if not (isinstance(storage, Storage) and isinstance(dtype, _Name) and dtype.text in _DTYPES):
        raise BadPickleError("a tensor without a storage or a type")
    return _view(index, storage, *view[:3], item_bytes=_DTYPES[dtype.text])


def _view(
    index: PickleIndex, storage: Storage, offset: object, shape: object, strides: object, *, item_bytes: int
) -> StoredTensor:
    """Return a tensor that is a view of a storage; refuse one with more numbers than the storage has."""
    sizes, steps = _sizes(shape), _sizes(strides)
    (first,) = _sizes((offset,))
    if len(sizes) != len(steps) or len(sizes) > MAX_AXES:
        raise BadPickleError("a tensor whose shape and strides differ")
    numbers, stored = prod(sizes), storage.items * storage.item_bytes // item_bytes
    last = first + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    if numbers and (numbers > stored or last >= stored):
        raise BadPickleError(f"a tensor of {numbers:,} numbers is stored as {stored:,}; only whole ones are read")
    index._spend(len(sizes))
    index.tensor_bytes += numbers * item_bytes
    return StoredTensor(sizes, numbers * item_bytes)


def _sizes(values: object) -> tuple[int, ...]:
    sizes = values if isinstance(values, tuple) else (None,)
    if not all(type(size) is int and 0 <= size < 2**62 for size in sizes):
        raise BadPickleError("a tensor whose shape is no list of sizes")
    return sizes


def _from_type(index: PickleIndex, function: object, _: object, arguments: object, *state: object) -> object:
    index._spend_on(state)
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise BadPickleError("a tensor that no function makes")
    return index._result(function.text, arguments)


def _parameter(index: PickleIndex, tensor: object, *state: object) -> object:
    index._spend_on(state)
    return tensor


def _mapping(index: PickleIndex, *arguments: object) -> object:
    """Return an ordered mapping: empty, or from a list of pairs, as Python 2 wrote it."""
    (items,) = arguments or ([],)
    pairs = list(items.items()) if isinstance(items, dict) else items
    if not isinstance(pairs, list | tuple):
        raise BadPickleError("a mapping of what is no list of pairs")
    index._spend(len(pairs))
    result: dict[object, object] = {}
    for pair in pairs:
        key, value = pair if isinstance(pair, list | tuple) else (None, None)
        _require_plain_key(key)
        result[key] = value
    return result


def _items(index: PickleIndex, items: object = (), *_: object) -> object:
    if not isinstance(items, list | tuple):
        raise BadPickleError("a list of what is no list")
    index._spend(len(items))
    for item in items:
        _require_plain_key(item)
    return items


def _bytes(index: PickleIndex, text: object = "", encoding: object = "latin1") -> object:
    """Return what stands for bytes, which pickles write as text."""
    if not isinstance(text, str | _Opaque) or encoding not in ("latin1", "latin-1"):
        raise BadPickleError("bytes of what is no text")
    index._spend(len(text) if isinstance(text, str) else 0)
    return _Opaque()


def _plain(_: PickleIndex, *arguments: object) -> object:
    if not all(isinstance(argument, str | int | float) for argument in arguments):
        raise BadPickleError("a value of what is no number")
    return _Opaque()


_CALLS: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.Size": _items,
    "torch.device": _plain,
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "builtins.set": _items,
    "builtins.bytearray": _bytes,
    "builtins.complex": _plain,
    "_codecs.encode": _bytes,
}
_OTHER_CALLS = {f"torch._utils.{name}": kind for name, kind in _OTHER_TENSORS.items()}


def _integer(index: PickleIndex) -> None:
    index._push(int.from_bytes(index._take(index._take(1)[0]), "little", signed=True))


def _text(index: PickleIndex, length: int) -> None:
    index._push(index._take(length).decode("utf-8", "surrogatepass"))


def _new_object(index: PickleIndex) -> None:
    arguments, name = index._stack.pop(), index._stack.pop()
    if not isinstance(name, _Name) or name.text not in DROPPED or not isinstance(arguments, tuple):
        raise BadPickleError("it makes an object of what is no class")
    index._push(_Opaque())


def _tuple(index: PickleIndex, length: int) -> None:
    items = tuple(index._stack[-length:])
    if len(items) < length:
        raise BadPickleError("it is cut off")
    del index._stack[-length:]
    index._push(items)


_STOP = ord(".")

# By the byte that Python's `pickletools` lists for each instruction.
_INSTRUCTIONS: dict[int, Callable[[PickleIndex], object]] = {
    ord(letter): act
    for letter, act in {
        "\x80": lambda index: index._take(1),
        "c": PickleIndex._push_name,
        "R": PickleIndex._call,
        "\x81": _new_object,
        "b": PickleIndex._build,
        "a": lambda index: index._append([index._stack.pop()]),
        "e": lambda index: index._append(index._since_mark()),
        "s": lambda index: index._set_items([index._stack.pop(-2), index._stack.pop()]),
        "u": lambda index: index._set_items(index._since_mark()),
        "(": lambda index: index._marks.append(len(index._stack)),
        "t": lambda index: index._push(tuple(index._since_mark())),
        "\x85": lambda index: _tuple(index, 1),
        "\x86": lambda index: _tuple(index, 2),
        "\x87": lambda index: _tuple(index, 3),
        "N": lambda index: index._push(None),
        "\x88": lambda index: index._push(True),
        "\x89": lambda index: index._push(False),
        ")": lambda index: index._push(()),
        "]": lambda index: index._push([]),
        "}": lambda index: index._push({}),
        "\x8f": lambda index: index._push(()),
        "J": lambda index: index._push(index._number("<i")),
        "K": lambda index: index._push(index._take(1)[0]),
        "M": lambda index: index._push(index._number("<H")),
        "G": lambda index: index._push(struct.unpack(">d", index._take(8))[0]),
        "X": lambda index: _text(index, index._number("<I")),
        "U": lambda index: _text(index, index._take(1)[0]),
        "\x8a": _integer,
        "Q": PickleIndex._storage,
        "h": lambda index: index._push(index._memo[index._take(1)[0]]),
        "j": lambda index: index._push(index._memo[index._number("<I")]),
        "q": lambda index: index._memo.__setitem__(index._take(1)[0], index._stack[-1]),
        "r": lambda index: index._memo.__setitem__(index._number("<I"), index._stack[-1]),
    }.items()
}
