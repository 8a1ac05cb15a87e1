"""Generated C as a shared library on this host."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from .. import files
from ..errors import BuildError, InputError
from .toolchain import WARNINGS


def cache_folder() -> Path:
    """Where compiled libraries are kept: kws-mcu in XDG_CACHE_HOME, by default in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kws-mcu"


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command of the host's C compiler: `cc` where there is one, else the ziglang wheel's clang."""
    system = shutil.which("cc")
    if system is not None:
        return (system,)
    if importlib.util.find_spec("ziglang") is None:
        raise InputError("no C compiler for this host: neither `cc` on PATH nor the Python package ziglang was found")
    return (sys.executable, "-m", "ziglang", "cc")


def build_shared_library(
    sources: Mapping[str, str],
    *,
    defines: Iterable[str] = (),
    sanitize: Iterable[str] = (),
    command: tuple[str, ...] | None = None,
) -> Path:
    """Compile every .c of `sources` (file name to text) and return the library, kept in the cache folder.

    `defines` are macros ("NAME" or "NAME=VALUE"); `sanitize` names sanitisers, whose findings end the process;
    `command` is a compiler other than `compiler()`. Raises BuildError, also for a warning: our C has none.
    """
    command = command or compiler()
    options = [
        *("-std=c99", "-O3", "-g0", "-fPIC", "-shared", *WARNINGS),
        *(f"-D{define}" for define in defines),
        *_sanitizers(",".join(sanitize), "ziglang" in command),
    ]
    digest = hashlib.sha256(repr((command, options, sorted(sources.items()))).encode()).hexdigest()
    library = cache_folder() / f"{digest[:32]}.so"
    if library.exists():
        return library
    with tempfile.TemporaryDirectory() as folder:
        files.write_all(Path(folder), sources)
        inputs = [name for name in sources if name.endswith(".c")]
        done = subprocess.run(
            [*command, *options, "-I.", "-o", "library.so", *inputs], cwd=folder, capture_output=True, text=True
        )
        if done.returncode:
            raise BuildError(command[0], done.stderr)
        files.write_whole(library, (Path(folder) / "library.so").read_bytes())
    return library


def _sanitizers(names: str, zig: bool) -> tuple[str, ...]:
    if not names:
        return ("-fno-sanitize=all",)  # zig has some on by itself
    # zig would first build its runtime for messages, which takes longer than most suites; a trap needs none
    return (f"-fsanitize={names}", f"-fsanitize-trap={names}" if zig else "-fno-sanitize-recover=all")
