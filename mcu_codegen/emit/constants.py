"""The constants of a model, as they are collected while C is printed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .kernel import Array, ctype
from .plan import Layer, Plan
from .text import array, described


@dataclass
class Pool:
    """The constants of a model; equal ones are kept once, under the name of the first layer that uses them."""

    attribute: str
    arrays: dict[tuple[str, bytes], tuple[str, Array, list[str]]] = field(default_factory=dict)

    def name(self, each: Array, layer: Layer) -> str:
        """The C name of a layer's array."""
        return self._keep(each, f"{layer.function}_{each.role}", f"{layer.name}: {each.role}")

    def constant(self, plan: Plan, index: int) -> str:
        """The C name of the value of a tensor, in elements of its `ctype`."""
        tensor = plan.graph.tensors[index]
        assert tensor.data is not None
        each = Array("tensor", ctype(tensor), tensor.data.view(np.int8) if tensor.dtype == "uint8" else tensor.data)
        return self._keep(each, f"{plan.name}_tensor_{index}", f"value of {described(tensor)}")

    def initial(self, plan: Plan, index: int) -> tuple[str, int]:
        """The C name of what the initial value of a persistent tensor repeats, and how many bytes that is."""
        tensor = plan.graph.tensors[index]
        assert tensor.data is not None
        octets = np.ascontiguousarray(tensor.data).reshape(-1).view(np.int8)
        sizes = (size for size in range(1, len(octets) + 1) if len(octets) % size == 0)
        period = next(size for size in sizes if np.all(octets.reshape(-1, size) == octets[:size]))
        each = Array("tensor", "int8_t", octets[:period])
        return self._keep(each, f"{plan.name}_tensor_{index}", f"initial value of {described(tensor)}"), period

    def _keep(self, each: Array, name: str, about: str) -> str:
        key = (each.ctype, np.asarray(each.values, np.int64).tobytes())
        name, _, users = self.arrays.setdefault(key, (name, each, []))
        if about not in users:
            users.append(about)
        return name

    def text(self) -> str:
        return "#include <stdint.h>\n\n" + "\n".join(
            array(each.ctype, name, each.values, about=f"{'; '.join(users)}.", attribute=self.attribute)
            for name, each, users in self.arrays.values()
        )
