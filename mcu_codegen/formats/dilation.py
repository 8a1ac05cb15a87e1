"""Dilation as old converters write it: SPACE_TO_BATCH_ND, a convolution, BATCH_TO_SPACE_ND.

The images of the batch are the input's phases; convolving each without padding is convolving the input with holes
between the taps. The paddings and crops around become the convolution's own padding, or a PAD before it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Entry, NoOptions, Operator, Tensor

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def join_dilated(tensors: list[Tensor], entry: Entry) -> list[Operator]:
    """The operators of `entry`, where each three that mean a dilated convolution are one. New tensors are added."""
    readers: dict[int, list[Operator]] = {}
    for operator in entry.operators:
        for index in operator.inputs:
            readers.setdefault(index, []).append(operator)

    def only_reader(operator: Operator) -> Operator | None:
        index = operator.outputs[0]
        return readers[index][0] if len(readers.get(index, [])) == 1 and index not in entry.outputs else None

    gone: set[int] = set()  # outputs of operators that are joined
    joined: dict[int, list[Operator]] = {}  # by output of the last of three
    for first in entry.operators:
        middle = only_reader(first) if first.kind == "SPACE_TO_BATCH_ND" else None
        last = only_reader(middle) if middle is not None and middle.kind in _CONVOLUTIONS else None
        if middle is None or last is None or last.kind != "BATCH_TO_SPACE_ND" or middle.inputs[0] != first.outputs[0]:
            continue
        dilated = _dilated(tensors, first, middle, last)
        if dilated is not None:
            gone |= {first.outputs[0], middle.outputs[0]}
            joined[last.outputs[0]] = dilated
    return [
        new
        for operator in entry.operators
        if operator.outputs[0] not in gone
        for new in joined.get(operator.outputs[0], [operator])
    ]


def _dilated(tensors: list[Tensor], first: Operator, middle: Operator, last: Operator) -> list[Operator] | None:
    """A dilated convolution, behind a PAD where its own padding is neither SAME nor VALID; None where they are more."""
    source, inner, filters = (tensors[index] for index in (first.inputs[0], first.outputs[0], middle.inputs[1]))
    before, after, output = (tensors[index] for index in (middle.outputs[0], last.inputs[0], last.outputs[0]))
    constants = [tensors[index].data for index in (*first.inputs[1:], *last.inputs[1:])]
    images = (source, inner, filters, before, after, output)
    if any(value is None for value in constants) or any(len(tensor.shape) != 4 for tensor in images):
        return None
    block, pads, block_after, crops = (np.asarray(value).astype(np.int64) for value in constants)
    shapes = ((2,), (2, 2), (2,), (2, 2))
    if tuple(each.shape for each in (block, pads, block_after, crops)) != shapes or np.any(block != block_after):
        return None
    options = middle.options
    pads = pads - crops
    plain = options.padding == "VALID" and options.stride == (1, 1) and options.dilation == (1, 1)
    same_codes = source.quantization == inner.quantization and before.quantization == output.quantization
    if not plain or not same_codes or np.any(pads < 0) or np.any(block < 1) or np.any(block > 65535):
        return None
    reach = (np.array(filters.shape[1:3]) - 1) * block
    size = np.array(source.shape[1:3])
    if np.any(size + pads.sum(axis=1) - reach != output.shape[1:3]):
        return None
    options = replace(options, dilation=tuple(block.tolist()))
    same = np.stack([reach // 2, reach - reach // 2], axis=1)
    if not np.any(pads):
        return [Operator(middle.kind, (first.inputs[0], *middle.inputs[1:]), last.outputs, options)]
    if np.array_equal(pads, same):
        options = replace(options, padding="SAME")
        return [Operator(middle.kind, (first.inputs[0], *middle.inputs[1:]), last.outputs, options)]
    shape = (source.shape[0], *(size + pads.sum(axis=1)).tolist(), source.shape[3])
    paddings = np.array([(0, 0), *pads, (0, 0)], np.int32)
    tensors.append(Tensor(f"{inner.name}/paddings", paddings.shape, "int32", None, paddings))
    tensors.append(Tensor(f"{inner.name}/padded", shape, source.dtype, source.quantization))
    padded = len(tensors) - 1
    return [
        Operator("PAD", (first.inputs[0], padded - 1), (padded,), NoOptions()),
        Operator(middle.kind, (padded, *middle.inputs[1:]), last.outputs, options),
    ]
