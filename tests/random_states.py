"""Random state between other operators: windows of rows, and variables that are read and assigned."""

from __future__ import annotations

import math

import numpy as np
from random_builder import LARGEST, Builder
from single_operators import Draw

from mcu_codegen.graph import NoOptions, Tensor


class Keeping(Builder):
    """What it draws comes from `draw`."""

    draw: Draw

    def begin(self) -> None:
        """Of an entry: what it assigns when all else is done, by variable."""
        self.assigned: dict[int, int] = {}

    def keep(self, values: list[int]) -> int:
        """What one of `values` was in steps before, and in this one where it is a window."""
        source = values[self.draw.integer(0, len(values) - 1)]
        way, small = self.draw.integer(0, 3), math.prod(self.tensors[source].shape) <= LARGEST // 4
        return self.window_of(source) if way > 1 and small else self.variable(source, copied=way > 0)

    def window_of(self, source: int) -> int:
        """SHIFT_IN, along an axis before which all have one element."""
        shape = self.tensors[source].shape
        axis = self.draw.integer(0, next((n for n, size in enumerate(shape) if size > 1), len(shape) - 1))
        longer = shape[axis] * self.draw.integer(1, 3) + self.draw.integer(1, 3)
        window = self.state(source, (*shape[:axis], longer, *shape[axis + 1 :]))
        self.states.append(window)
        return self.append("SHIFT_IN", (window, source), window, NoOptions())

    def variable(self, source: int, copied: bool) -> int:
        """The value of the step before, `copied` or where it lies until the entry ends."""
        state = self.state(source, self.tensors[source].shape)
        if not copied:
            self.assigned[state] = source
            return state
        before = self.activation(self.tensors[source].shape, self.tensors[source].quantization)
        self.append("RESHAPE", (state,), before, NoOptions())
        self.states.append(state)
        self.append("RESHAPE", (source,), state, NoOptions())
        return before

    def state(self, source: int, shape: tuple[int, ...]) -> int:
        """A persistent tensor for codes of `source`."""
        first = self.draw.rng.integers(-128, 128, shape).astype(np.int8)
        return self.new("state", Tensor("", shape, "int8", self.tensors[source].quantization, first, persistent=True))

    def end(self) -> None:
        """Of an entry."""
        for state, source in self.assigned.items():
            self.append("RESHAPE", (source,), state, NoOptions())
        self.states += self.assigned
