"""Random operators that move codes."""

from __future__ import annotations

import math

import numpy as np
from random_builder import Builder

from mcu_codegen.graph import Concatenation, Gather, NoOptions, Pack, StridedSlice


class Moving(Builder):
    """One method draws one operator, or one of a few alike."""

    def transpose(self, source: int, _values: list[int]) -> int:
        tensor = self.tensors[source]
        order = self.rng.permutation(len(tensor.shape))
        output = self.activation(tuple(tensor.shape[axis] for axis in order), tensor.quantization)
        return self.append("TRANSPOSE", (source, self.constant("order", order.astype(np.int32))), output, NoOptions())

    def strided_slice(self, source: int, _values: list[int]) -> int | None:
        """Steps back too, open ends, and the axes of one element left out by chance."""
        tensor = self.tensors[source]
        shape, rank = tensor.shape, len(tensor.shape)
        if rank == 4 and self.chance(0.3):
            return self.crop(source)
        begins = np.array([self.integer(-size, size - 1) for size in shape], np.int32)
        steps = self.rng.choice([-2, -1, 1, 1, 2], rank).astype(np.int32)
        ends = np.array([self.integer(-size - 2, size + 2) for size in shape], np.int32)
        shrink = int(self.rng.integers(1 << rank)) if rank > 2 and self.chance(0.3) else 0
        open_begin, open_end = ((int(self.rng.integers(1 << rank)) & ~shrink) for _ in range(2))
        out = []
        for axis, size in enumerate(shape):
            if shrink >> axis & 1:
                steps[axis], ends[axis] = 1, begins[axis] + 1
                continue
            first = None if open_begin >> axis & 1 else int(begins[axis])
            last = None if open_end >> axis & 1 else int(ends[axis])
            out.append(len(range(*slice(first, last, int(steps[axis])).indices(size))))
        if 0 in out or not out:
            return None
        constants = (self.constant(name, data) for name, data in zip("bes", (begins, ends, steps), strict=True))
        output = self.activation(tuple(out), tensor.quantization)
        options = StridedSlice(open_begin, open_end, shrink)
        return self.append("STRIDED_SLICE", (source, *constants), output, options)

    def crop(self, source: int) -> int:
        """A slice along the first axis of an image: bytes that lie together."""
        tensor = self.tensors[source]
        begin = self.integer(0, tensor.shape[1] - 1)
        end = self.integer(begin + 1, tensor.shape[1])
        shape = (tensor.shape[0], end - begin, *tensor.shape[2:])
        values = ((0, begin, 0, 0), (tensor.shape[0], end, *tensor.shape[2:]), (1, 1, 1, 1))
        constants = (self.constant(name, np.array(data, np.int32)) for name, data in zip("bes", values, strict=True))
        return self.append(
            "STRIDED_SLICE", (source, *constants), self.activation(shape, tensor.quantization), StridedSlice()
        )

    def concatenation(self, source: int, values: list[int]) -> int | None:
        """Of what has the same quantisation and fits along some axis, or the tensor with itself or a constant."""
        tensor = self.tensors[source]
        axis = self.integer(0, len(tensor.shape) - 1)

        def others(shape: tuple[int, ...]) -> tuple[int, ...]:
            return (*shape[:axis], *shape[axis + 1 :])

        fitting = [
            index
            for index in values
            if len(self.tensors[index].shape) == len(tensor.shape)
            and others(self.tensors[index].shape) == others(tensor.shape)
            and self.tensors[index].quantization == tensor.quantization
        ]
        inputs = [source, *(self.one(fitting) for _ in range(self.integer(0, 2)))]
        if self.chance(0.3):
            data = self.rng.integers(-128, 128, tensor.shape).astype(np.int8)
            inputs.insert(self.integer(0, 1), self.constant("part", data, tensor.quantization))
        length = sum(self.tensors[index].shape[axis] for index in inputs)
        shape = (*tensor.shape[:axis], length, *tensor.shape[axis + 1 :])
        if math.prod(shape) > self.largest:
            return None
        output = self.activation(shape, tensor.quantization)
        axis -= len(shape) if self.chance(0.5) else 0
        return self.append("CONCATENATION", tuple(inputs), output, Concatenation(axis))

    def pad(self, source: int, _values: list[int]) -> int | None:
        tensor = self.tensors[source]
        paddings = self.rng.choice([0, 0, 1, 2], (len(tensor.shape), 2)).astype(np.int32)
        shape = tuple(int(size + before) for size, before in zip(tensor.shape, paddings.sum(axis=1), strict=True))
        if math.prod(shape) > self.largest:
            return None
        output = self.activation(shape, tensor.quantization)
        return self.append("PAD", (source, self.constant("paddings", paddings)), output, NoOptions())

    def rename(self, source: int, _values: list[int]) -> int:
        """RESHAPE, SQUEEZE or EXPAND_DIMS."""
        tensor = self.tensors[source]
        kind = self.kind("RESHAPE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "EXPAND_DIMS")
        if kind == "SQUEEZE":
            shape = tuple(size for size in tensor.shape if size > 1) or (1,)
            return self.append(kind, (source,), self.activation(shape, tensor.quantization), NoOptions())
        if kind == "EXPAND_DIMS" and len(tensor.shape) < 4:
            shape = (1, *tensor.shape)
            axis = self.constant("axis", np.array([self.one([0, -len(shape)])], np.int32))
            return self.append(kind, (source, axis), self.activation(shape, tensor.quantization), NoOptions())
        count = math.prod(tensor.shape)
        height = self.one([factor for factor in range(1, count + 1) if count % factor == 0])
        width = self.one([factor for factor in range(1, count + 1) if (count // height) % factor == 0])
        shape = (1, height, width, count // height // width) if self.chance(0.6) else (1, count)
        shape_tensor = self.constant("shape", np.array(shape, np.int32))
        output = self.activation(shape, tensor.quantization)
        return self.append("RESHAPE", (source, shape_tensor), output, NoOptions())

    def pack(self, source: int, values: list[int]) -> int | None:
        """Of tensors of the same shape and quantisation, mostly the same one twice."""
        tensor = self.tensors[source]
        alike = [
            index
            for index in values
            if self.tensors[index].shape == tensor.shape and self.tensors[index].quantization == tensor.quantization
        ]
        inputs = [source, *(self.one(alike) for _ in range(self.integer(0, 2)))]
        axis = self.integer(0, len(tensor.shape))
        shape = (*tensor.shape[:axis], len(inputs), *tensor.shape[axis:])
        if len(shape) > 6 or math.prod(shape) > self.largest:
            return None
        return self.append("PACK", tuple(inputs), self.activation(shape, tensor.quantization), Pack(axis))

    def gather(self, source: int, _values: list[int]) -> int | None:
        tensor = self.tensors[source]
        axis = self.integer(0, len(tensor.shape) - 1)
        indices = self.rng.integers(0, tensor.shape[axis], self.integer(1, 6)).astype(np.int32)
        shape = (*tensor.shape[:axis], len(indices), *tensor.shape[axis + 1 :])
        if math.prod(shape) > self.largest:
            return None
        output = self.activation(shape, tensor.quantization)
        return self.append("GATHER", (source, self.constant("indices", indices)), output, Gather(axis))

    def phases(self, source: int, _values: list[int]) -> int | None:
        """SPACE_TO_BATCH_ND, which leaves a batch, or BATCH_TO_SPACE_ND of one."""
        tensor = self.tensors[source]
        if len(tensor.shape) != 4:
            return None
        images, *size, depth = tensor.shape
        block = [self.integer(1, 3), self.integer(1, 2)]
        if images % math.prod(block) == 0 and images > 1:
            kind, edges = "BATCH_TO_SPACE_ND", [(self.integer(0, 1), 0) for _ in size]
            inner = [length * step - edge[0] for length, step, edge in zip(size, block, edges, strict=True)]
            shape = (images // math.prod(block), *inner, depth)
        else:
            kind, edges = "SPACE_TO_BATCH_ND", []
            for length, step in zip(size, block, strict=True):
                before = self.integer(0, 1)
                edges.append((before, -(length + before) % step))
            inner = [(length + sum(edge)) // step for length, step, edge in zip(size, block, edges, strict=True)]
            shape = (images * math.prod(block), *inner, depth)
        if min(shape) < 1 or math.prod(shape) > self.largest:
            return None
        constants = (
            self.constant("block", np.array(block, np.int32)),
            self.constant("edges", np.array(edges, np.int32)),
        )
        return self.append(kind, (source, *constants), self.activation(shape, tensor.quantization), NoOptions())
