"""Operators as rows: how a ``.tflite`` holds each kind that can be read or written.

Adding an operator is one row in `OPERATORS` (and its options: a class in graph.py, a table in tflite_schema.py, and a
line in `OPTION_FIELDS` for each field name that is new; one that no file holds has none).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import InputError
from ..graph import OPTIONS, Tensor
from . import flatbuffer
from .names import printable
from .normalize import FILE_ONLY
from .tflite_schema import ACTIVATIONS, BUILTIN_OPERATORS, PADDINGS, SCHEMA, TENSOR_TYPES

MAX_RANK = 8
MAX_OPERANDS = 4096  # of an operator or a subgraph
MAX_OPTION = 65535


@dataclasses.dataclass(frozen=True)
class OperatorRow:
    version: int  # the lowest that LiteRT wants for int8
    options: str  # table in the schema; "" where the operator has none
    inputs: tuple[int, int]  # at least, at most; those beyond "at least" may be left out as -1
    outputs: int = 1  # at most
    fixed: dict[str, int | str] = dataclasses.field(
        default_factory=dict
    )  # options that are accepted with this value only
    intermediates: int = 0  # tensors that LiteRT wants listed: what lies inside, all on the scale of the output
    every: bool = False  # LiteRT wants every input listed, left out or not
    # options that follow from the inputs and the output
    derived: Callable[[list[Tensor], Tensor], dict[str, Any]] = lambda sources, output: {}


def _squeezed(sources: list[Tensor], output: Tensor) -> dict[str, Any]:
    """The axes that SQUEEZE leaves out."""
    left = list(output.shape)
    axes = []
    for axis, size in enumerate(sources[0].shape):
        if left[:1] == [size]:
            del left[0]
        else:
            axes.append(axis)
    return {"squeeze_dims": axes}


def _output_type(field: str) -> Callable[[list[Tensor], Tensor], dict[str, Any]]:
    return lambda _, output: {field: next(code for code, dtype in TENSOR_TYPES.items() if dtype == output.dtype)}


def _any_scale(_: list[Tensor], output: Tensor) -> dict[str, Any]:
    return {"pot_scale_int16": False} if output.dtype == "int16" else {}


OPERATORS: dict[str, OperatorRow] = {
    "CONV_2D": OperatorRow(3, "Conv2DOptions", (2, 3)),
    "DEPTHWISE_CONV_2D": OperatorRow(3, "DepthwiseConv2DOptions", (2, 3)),
    "FULLY_CONNECTED": OperatorRow(4, "FullyConnectedOptions", (2, 3), fixed={"weights_format": 0}),
    "AVERAGE_POOL_2D": OperatorRow(2, "Pool2DOptions", (1, 1)),
    "MAX_POOL_2D": OperatorRow(2, "Pool2DOptions", (1, 1)),
    "MEAN": OperatorRow(2, "ReducerOptions", (2, 2)),
    "ADD": OperatorRow(2, "AddOptions", (2, 2), derived=_any_scale),
    "SUB": OperatorRow(2, "SubOptions", (2, 2), derived=_any_scale),
    "MUL": OperatorRow(2, "MulOptions", (2, 2)),
    "DIV": OperatorRow(2, "DivOptions", (2, 2)),
    "RELU": OperatorRow(2, "", (1, 1)),
    "RELU6": OperatorRow(2, "", (1, 1)),
    "LOGISTIC": OperatorRow(2, "", (1, 1)),
    "TANH": OperatorRow(2, "", (1, 1)),
    "HARD_SWISH": OperatorRow(1, "HardSwishOptions", (1, 1)),
    "RELU_N1_TO_1": OperatorRow(1, "", (1, 1)),
    "RELU_0_TO_1": OperatorRow(1, "", (1, 1)),
    "LEAKY_RELU": OperatorRow(2, "LeakyReluOptions", (1, 1)),
    "ABS": OperatorRow(1, "AbsOptions", (1, 1)),
    "SQRT": OperatorRow(1, "", (1, 1)),
    "EXP": OperatorRow(1, "ExpOptions", (1, 1)),
    "LOG": OperatorRow(1, "", (1, 1)),
    "ELU": OperatorRow(1, "", (1, 1)),
    "PRELU": OperatorRow(1, "", (2, 2)),
    "MAXIMUM": OperatorRow(2, "MaximumMinimumOptions", (2, 2)),
    "MINIMUM": OperatorRow(2, "MaximumMinimumOptions", (2, 2)),
    "REDUCE_MAX": OperatorRow(2, "ReducerOptions", (2, 2)),
    "ARG_MAX": OperatorRow(2, "ArgMaxOptions", (2, 2), derived=_output_type("output_type")),
    "ARG_MIN": OperatorRow(2, "ArgMinOptions", (2, 2), derived=_output_type("output_type")),
    "RESIZE_NEAREST_NEIGHBOR": OperatorRow(2, "ResizeNearestNeighborOptions", (2, 2)),
    "RESIZE_BILINEAR": OperatorRow(2, "ResizeBilinearOptions", (2, 2)),
    "TRANSPOSE_CONV": OperatorRow(3, "TransposeConvOptions", (3, 4)),
    "QUANTIZE": OperatorRow(2, "QuantizeOptions", (1, 1)),
    "DEQUANTIZE": OperatorRow(2, "DequantizeOptions", (1, 1)),
    "SOFTMAX": OperatorRow(2, "SoftmaxOptions", (1, 1)),
    "RESHAPE": OperatorRow(1, "ReshapeOptions", (1, 2), derived=lambda _, output: {"new_shape": output.shape}),
    "SQUEEZE": OperatorRow(1, "SqueezeOptions", (1, 1), derived=_squeezed),
    "EXPAND_DIMS": OperatorRow(1, "ExpandDimsOptions", (2, 2)),
    "TRANSPOSE": OperatorRow(2, "TransposeOptions", (2, 2)),
    "STRIDED_SLICE": OperatorRow(
        2, "StridedSliceOptions", (4, 4), fixed={"ellipsis_mask": 0, "new_axis_mask": 0, "offset": 0}
    ),
    "SPLIT": OperatorRow(2, "SplitOptions", (2, 2), outputs=MAX_OPERANDS),
    "CONCATENATION": OperatorRow(2, "ConcatenationOptions", (1, MAX_OPERANDS), fixed={"fused_activation_function": 0}),
    "SPLIT_V": OperatorRow(2, "SplitVOptions", (3, 3), outputs=MAX_OPERANDS),
    "SLICE": OperatorRow(2, "SliceOptions", (3, 3)),
    "TILE": OperatorRow(1, "TileOptions", (2, 2)),
    "UNPACK": OperatorRow(2, "UnpackOptions", (1, 1), outputs=MAX_OPERANDS),
    "PACK": OperatorRow(2, "PackOptions", (1, MAX_OPERANDS), derived=lambda sources, _: {"values_count": len(sources)}),
    "GATHER": OperatorRow(2, "GatherOptions", (2, 2), fixed={"batch_dims": 0}),
    "SHAPE": OperatorRow(1, "ShapeOptions", (1, 1), derived=_output_type("out_type")),
    "FILL": OperatorRow(1, "FillOptions", (2, 2)),
    "CAST": OperatorRow(1, "CastOptions", (1, 1)),
    "DENSIFY": OperatorRow(1, "DensifyOptions", (1, 1)),
    "REDUCE_PROD": OperatorRow(1, "ReducerOptions", (2, 2)),
    "PAD": OperatorRow(2, "PadOptions", (2, 2)),
    "SVDF": OperatorRow(3, "SVDFOptions", (3, 5)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": OperatorRow(
        1,
        "UnidirectionalSequenceLSTMOptions",
        (1, 24),
        fixed={"fused_activation_function": ACTIVATIONS.index("TANH")},
        intermediates=5,
        every=True,
    ),
    "CALL_ONCE": OperatorRow(1, "CallOnceOptions", (0, 0), outputs=0),
    "VAR_HANDLE": OperatorRow(1, "VarHandleOptions", (0, 0), fixed={"container": ""}),
    "READ_VARIABLE": OperatorRow(1, "", (1, 1)),
    "ASSIGN_VARIABLE": OperatorRow(1, "", (2, 2), outputs=0),
    "SPACE_TO_BATCH_ND": OperatorRow(2, "SpaceToBatchNDOptions", (3, 3)),
    "BATCH_TO_SPACE_ND": OperatorRow(2, "BatchToSpaceNDOptions", (3, 3)),
}


class OptionField(NamedTuple):
    """How a field of an options class is held in the file: one schema field, or a pair (height, width)."""

    fields: tuple[str, ...]
    names: tuple[str, ...] = ()  # of an enumeration
    ends: tuple[int, int] = (0, -1)  # lowest and highest; otherwise above 0 and up to MAX_OPTION

    def read(self, table: dict[str, Any]) -> Any:
        values = tuple(table[field] for field in self.fields)
        for field, value in zip(self.fields, values, strict=True):
            if self.names and not 0 <= value < len(self.names):
                raise InputError(f"{field} is {value}; 0..{len(self.names) - 1} is accepted")
            low, high = self.ends
            if low <= high:
                if not low <= value <= high:
                    raise InputError(f"{field} is {value}; {low}..{high} is accepted")
            # `not` also catches NaN
            elif not self.names and not isinstance(value, (bool, str)) and not 0 < value <= MAX_OPTION:
                raise InputError(f"{field} is {value}; above 0 and up to {MAX_OPTION} is accepted")
        if self.names:
            return self.names[values[0]]
        return values[0] if len(values) == 1 else values

    def write(self, value: Any) -> dict[str, Any]:
        if self.names:
            value = self.names.index(value)
        return dict(zip(self.fields, value if isinstance(value, tuple) else (value,), strict=True))


_MASKS = (0, 2**MAX_RANK - 1)
OPTION_FIELDS = {
    "padding": OptionField(("padding",), PADDINGS),
    "activation": OptionField(("fused_activation_function",), ACTIVATIONS),
    "stride": OptionField(("stride_h", "stride_w")),
    "dilation": OptionField(("dilation_h_factor", "dilation_w_factor")),
    "filter": OptionField(("filter_height", "filter_width")),
    "depth_multiplier": OptionField(("depth_multiplier",)),
    "keep_num_dims": OptionField(("keep_num_dims",)),
    "keep_dims": OptionField(("keep_dims",)),
    "beta": OptionField(("beta",)),
    "alpha": OptionField(("alpha",), ends=(0, MAX_OPTION)),
    "align_corners": OptionField(("align_corners",)),
    "half_pixel_centers": OptionField(("half_pixel_centers",)),
    "rank": OptionField(("rank",)),
    "cell_clip": OptionField(("cell_clip",), ends=(0, MAX_OPTION)),
    "time_major": OptionField(("time_major",)),
    "axis": OptionField(("axis",), ends=(-MAX_RANK, MAX_RANK - 1)),
    "parts": OptionField(("num_splits",)),
    "count": OptionField(("num",)),
    "subgraph": OptionField(("init_subgraph_index",), ends=(1, MAX_OPTION)),
    "variable": OptionField(("shared_name",)),
    "begin_mask": OptionField(("begin_mask",), ends=_MASKS),
    "end_mask": OptionField(("end_mask",), ends=_MASKS),
    "shrink_axis_mask": OptionField(("shrink_axis_mask",), ends=_MASKS),
}


def kind_of(code: dict[str, Any]) -> str:
    """What errors call the operators of a code of the file."""
    # files from before 2020 use only the first field, new codes only the second
    builtin = max(code["deprecated_builtin_code"], code["builtin_code"])
    if not 0 <= builtin < len(BUILTIN_OPERATORS):
        return f"builtin operator {builtin}"
    kind = BUILTIN_OPERATORS[builtin]
    return f"CUSTOM '{printable(code['custom_code'])}'" if kind == "CUSTOM" else kind


def read_options(kind: str, raw: dict[str, Any]) -> Any:
    row = OPERATORS[kind]
    if raw["builtin_options_type"] not in (0, options_code(row)):
        raise InputError(f"options of type {raw['builtin_options_type']}; {options_code(row)} is accepted")
    table = raw["builtin_options"]
    if table is None:
        table = flatbuffer.defaults(SCHEMA, row.options) if row.options else {}
    for field, wanted in row.fixed.items():
        if table[field] != wanted:
            raise InputError(f"{field} is {table[field]}; {wanted} is accepted")
    options = (OPTIONS | FILE_ONLY)[kind]
    fields = dataclasses.fields(options)
    held = (field.name for field in fields if field.name in OPTION_FIELDS)
    return options(**{name: OPTION_FIELDS[name].read(table) for name in held})


def options_code(row: OperatorRow) -> int:
    """The kind of the union that holds the options; 0 where there are none."""
    return next((code for code, name in SCHEMA.unions["BuiltinOptions"].items() if name == row.options), 0)


def listed(inputs: tuple[int, ...]) -> tuple[int, ...]:
    """`inputs` without a -1 at the end: not every kernel of LiteRT takes an optional input that is listed so."""
    while inputs and inputs[-1] < 0:
        inputs = inputs[:-1]
    return inputs
