"""Layouts of checkpoints: where a file keeps the tensors of a backbone, under which prefix, and what else it has.

timm, DeiT, DINO, DINOv2, MAE, MoCo and Lightning nest them in mappings beside optimizers, averages and students, and
put prefixes before their names. The names of the backbone's own tensors tell which of them are meant. No PyTorch.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

# Keys of nested mappings down to a tensor, and its own name.
TensorPath = tuple[str, ...]

# Bounds of what is looked through.
_MAX_LEVELS, _MOST_ENTRIES, _LONGEST_NAME = 6, 100_000, 500

# Parts of names that DataParallel, torch.compile and sharded training put in.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})

# Keys under which checkpoints keep their tensors, for those of a network that has other names than ours.
_KNOWN_KEYS = ("state_dict", "model", "teacher", "state_dict_ema")

# Of several networks of one architecture the one that its project evaluates comes first: averages, then teachers.
_RANKS = {"ema": 0, "teacher": 1, "target": 1, "student": 3, "momentum": 3}
_PLAIN_RANK = 2

# DINOv2 trains its blocks in chunks, and their number comes before a block's.
_CHUNKED = re.compile(r"(^|\.)blocks\.\d+\.(\d+)\.")

# First part of names of layers after the last token, and of what only pretraining needs.
_HEADS = re.compile(
    r"head\w*|\w+_head\w*|fc\d*|classifier\w*|pre_logits|mask_token|masked_embed|\w*decoder\w*|\w*predictor\w*"
    r"|proj|proj_\w+|projection\w*|projector\w*|prototypes?|criterion|loss\w*|\w+_loss|queue\w*"
)

# Distilled models: sizes by channels, grids by the side of the view.
_SIZES = {192: "tiny", 384: "small", 768: "base"}
_GRIDS = {224: 14, 384: 24}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Tensors of a file that belong to a network.

    Attributes:
        paths: path of each tensor in the file, by its name in the network.
        prefix: what stands before the names in the file; empty for none.
        left_out: other groups of tensors in the file, by the beginning of their names.
    """

    paths: Mapping[str, TensorPath]
    prefix: str
    left_out: tuple[str, ...]


def tensor_paths(content: Mapping[str, object], is_tensor: Callable[[object], bool]) -> dict[TensorPath, object]:
    """Return all tensors in nested mappings, by their paths.

    Raises:
        ValueError: mappings that contain one another again and again, or names that no network has.
    """
    tensors: dict[TensorPath, object] = {}
    waiting: list[tuple[TensorPath, object]] = [((), content)]
    visited = 0
    while waiting:
        path, value = waiting.pop()
        visited += 1
        if visited > _MOST_ENTRIES or sum(map(len, path)) > _LONGEST_NAME:
            raise ValueError(f"more than {_MOST_ENTRIES:,} entries, or a name of more than {_LONGEST_NAME} characters")
        if is_tensor(value):
            tensors[path] = value
        elif isinstance(value, dict) and len(path) < _MAX_LEVELS:
            waiting += [((*path, str(key)), each) for key, each in reversed(value.items())]
    return tensors


def find_layout(paths: Iterable[TensorPath], *, expected: Collection[str], at_least: int) -> Layout:
    """Find the tensors of a network in a file.

    Args:
        paths: all tensors of the file.
        expected: names of tensors of the network.
        at_least: so many of them must be there; otherwise the file's only, or known, mapping is taken as it is.
    """
    names = {path: _name(path, expected) for path in paths}
    prefixes = Counter(prefix for name in names.values() for prefix in _prefixes(name, expected))
    most = max(prefixes.values(), default=0)
    if most < max(at_least, 1):
        return _known_layout(names)
    prefix = min((each for each, count in prefixes.items() if count == most), key=lambda each: (_rank(each), each))
    mappings = {path[:-1] for path, name in names.items() if prefix in _prefixes(name, expected)}
    chosen = {
        name.removeprefix(prefix): path
        for path, name in names.items()
        if name.startswith(prefix) and path[:-1] in mappings
    }
    return _layout(chosen, names, prefix)


def without_heads(names: Iterable[str], *, expected: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the names without classifiers, projections and decoders, and the first parts of these, each once."""
    kept, left_out = [], dict[str, None]()
    for name in names:
        first = name.partition(".")[0]
        if name not in expected and _HEADS.fullmatch(first):
            left_out[first] = None
        else:
            kept.append(name)
    return kept, list(left_out)


def _name(path: TensorPath, expected: Collection[str]) -> str:
    """Return the dotted name of a tensor, without what wraps a network."""
    name = ".".join(part for part in ".".join(path).split(".") if part not in _WRAPPERS)
    dechunked = _CHUNKED.sub(r"\1blocks.\2.", name)
    return name if dechunked == name or any(_CHUNKED.search(each) for each in expected) else dechunked


def _prefixes(name: str, expected: Collection[str]) -> list[str]:
    """Return what may stand before a name of the network: nothing, or up to one of the dots."""
    starts = [0, *(match.end() for match in re.finditer(r"\.", name))]
    return [name[:start] for start in starts if name[start:] in expected]


def _rank(prefix: str) -> int:
    words = re.split(r"[._]", prefix.lower())
    return next((rank for word, rank in _RANKS.items() if word in words), _PLAIN_RANK)


def _known_layout(names: Mapping[TensorPath, str]) -> Layout:
    """Return the tensors of the file's own level, or of the first mapping under a known key."""
    above: TensorPath = ()
    for key in _KNOWN_KEYS:
        if any(path[: len(above) + 1] == (*above, key) and len(path) > len(above) + 1 for path in names):
            above = (*above, key)
    depth = len(above)
    chosen = {
        path[-1].removeprefix("module."): path for path in names if path[:depth] == above and len(path) == depth + 1
    }
    return _layout(chosen, names, ".".join((*above, "")))


def _layout(chosen: Mapping[str, TensorPath], names: Mapping[TensorPath, str], prefix: str) -> Layout:
    used = set(chosen.values())
    left_out = dict.fromkeys(_group(name, prefix) for path, name in names.items() if path not in used)
    return Layout(paths=chosen, prefix=prefix, left_out=tuple(left_out))


def _group(name: str, prefix: str) -> str:
    """Return the beginning of a name, up to the first part in which it differs from a prefix."""
    parts, others = name.split("."), prefix.split(".")
    same = 0
    while same < min(len(parts), len(others)) and parts[same] == others[same]:
        same += 1
    return ".".join(parts[: same + 1])


def distilled_backbone(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the name of the backbone for weights with a distillation token beside the class token, else nothing."""
    positions, token = shapes.get("pos_embed", ()), shapes.get("cls_token", ())
    side = next((side for side, grid in _GRIDS.items() if positions[1:2] == (grid**2 + 2,)), None)
    if "dist_token" not in shapes and (side is None or "reg_token" in shapes or "register_tokens" in shapes):
        return ""
    size = _SIZES.get(token[-1] if token else 0, "base")
    return f"deit_{size}_distilled_patch16_{side or 224}"
