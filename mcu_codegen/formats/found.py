"""What reading a file of any format finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..graph import Graph, Tensor
from .refusals import Refusal

MAX_FILE_BYTES = 32 << 20
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"

NOT_SUPPORTED = "not supported"
"""Why an operator of an unknown kind is refused."""


class Listed(NamedTuple):
    """An operator as the file lists it, accepted or not."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    owner: str  # what errors call it


@dataclass(frozen=True)
class Found:
    """What a file holds: the graph of what can be read, and why the rest cannot."""

    graph: Graph
    tensors: list[Tensor]  # that `listing` indexes
    listing: list[list[Listed]]  # of every subgraph, the operators of the file
    refusals: list[Refusal]  # none where `graph` is all of it
    supported: tuple[str, ...]  # kinds of operators that this format may have

    def accepted(self, name: str) -> Graph:
        """The graph. Raises InputError naming the file `name` where something is refused."""
        if self.refusals:
            first, *others = self.refusals
            more = f" ({len(others)} more reasons: mcu-codegen inspect)" if others else ""
            raise InputError(f"{name}: {first}{more}")
        return self.graph


def load(path: Path | str) -> bytes:
    """The bytes of the file at `path`, up to one more than are accepted. Raises InputError naming the file."""
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def check_whole(data: bytes) -> None:
    """Refuse what is too large to be read, and what only stands for a file."""
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    if data.startswith(_LFS_POINTER):
        raise InputError("a Git LFS pointer, not the file itself; `git lfs pull` fetches it")
