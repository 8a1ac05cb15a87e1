"""Files appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .errors import InputError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write beside `path`, then rename. Raises InputError where the folder cannot be written."""
    write_all(path.parent, {path.name: content})


def write_all(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write every file of `contents` (name to content) into `folder`: all beside their places first, then renamed."""
    beside = {folder / name: folder / f".{name}.{os.getpid()}.part" for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part, content in zip(beside.values(), contents.values(), strict=True):
            part.write_bytes(content.encode() if isinstance(content, str) else content)
        for target, part in beside.items():
            part.replace(target)
    except OSError as error:
        raise InputError(f"{folder}: cannot write ({error.strerror or error})") from None
    finally:
        for part in beside.values():
            with suppress(OSError):
                part.unlink()
