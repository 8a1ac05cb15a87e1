"""Operators whose codes are wider than a byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ..graph import Tensor

Narrow = TypeVar("Narrow")


@dataclass(frozen=True)
class Int16(Generic[Narrow]):
    """`operator`, of which some input or output is int16: the same integers, but no kernel for bytes computes them."""

    operator: Narrow


def on_int16(operator: Narrow, *tensors: Tensor) -> Narrow | Int16[Narrow]:
    """`operator`, in an `Int16` where one of its `tensors` is int16."""
    return Int16(operator) if any(tensor.dtype == "int16" for tensor in tensors) else operator
