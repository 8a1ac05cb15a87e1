"""Tensors and operators that a rewrite makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..graph import NoOptions, Operator, StridedSlice, Tensor


class Made:
    """Tensors that a rewrite adds."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors

    def add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def integers(self, name: str, values: Sequence[int] | Sequence[Sequence[int]]) -> int:
        """Constant int32 values."""
        data = np.array(values, np.int32)
        return self.add(Tensor(name, data.shape, "int32", None, data))

    def like(self, index: int, name: str, shape: tuple[int, ...]) -> int:
        """An activation of `shape`, quantised as the tensor at `index`."""
        tensor = self.tensors[index]
        return self.add(Tensor(name, shape, tensor.dtype, tensor.quantization))

    def slice(self, source: int, output: int, begin: Sequence[int], end: Sequence[int], shrink: int = 0) -> Operator:
        """A STRIDED_SLICE of single steps."""
        name = self.tensors[output].name
        where = (
            self.integers(f"{name}/begin", begin),
            self.integers(f"{name}/end", end),
            self.integers(f"{name}/strides", [1] * len(begin)),
        )
        return Operator("STRIDED_SLICE", (source, *where), (output,), StridedSlice(shrink_axis_mask=shrink))

    def reshape(self, source: int, output: int) -> Operator:
        shape = self.tensors[output].shape
        return Operator(
            "RESHAPE", (source, self.integers(f"{self.tensors[output].name}/shape", shape)), (output,), NoOptions()
        )

    def constant(self, index: int, what: str) -> list[int]:
        """The values of a constant, which errors call `what`."""
        tensor = self.tensors[index]
        if tensor.data is None or not tensor.constant or tensor.dtype not in ("int32", "int64"):
            raise InputError(f"{what} '{tensor.name}' ({tensor.dtype}) is not a constant int32")
        return [int(value) for value in tensor.data.reshape(-1)]
