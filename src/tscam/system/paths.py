"""Paths that every system takes; others would be an error of the system wherever they are first looked for."""

import os
from pathlib import Path

from tscam.errors import ConfigError

# In bytes, of a name and of a path, on Linux, macOS and Windows alike.
_LONGEST_NAME, _LONGEST_PATH = 255, 4096


def require_path(path: str | Path, *, name: str) -> None:
    """Refuse a path that no file can have.

    Args:
        path: a path of the user's.
        name: name of the flag or setting, for the message.

    Raises:
        ConfigError: it is empty, too long, or has characters that no system takes.
    """
    text = str(path)
    if not text.strip():
        raise ConfigError(f"{name} is empty; name a file or folder")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise ConfigError(f"{name}: characters that no name of a file has; choose another one")
    if max(map(len, encoded.split(os.sep.encode()))) > _LONGEST_NAME:
        raise ConfigError(f"{name}: a name of more than {_LONGEST_NAME} bytes; choose a shorter one")
    if len(encoded) > _LONGEST_PATH:
        raise ConfigError(f"{name}: a path of more than {_LONGEST_PATH} bytes; choose a shorter one")


def require_utf8(path: Path, *, name: str) -> None:
    """Refuse a path for weights that is not UTF-8: safetensors opens no file there.

    Args:
        path: a path of the user's.
        name: name of the flag or setting, for the message.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as fault:
        raise ConfigError(
            f"{name} {str(path)!r}: not UTF-8, so weights cannot be read there; choose another name"
        ) from fault
