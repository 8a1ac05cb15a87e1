"""int8 ``.tflite`` files to graphs and back.

Reading trusts nothing: `flatbuffer` checks the container, this module checks what it says, so that whoever works on the
graph meets tensors that exist, shapes that their data fill, and operators whose inputs were written before. Whether an
operator's shapes and scales fit each other is for `lower` to say.

Adding an operator is one row in `_OPERATORS` (and its options: a class in graph.py, a table in tflite_schema.py, and a
line in `_OPTION_FIELDS` for each field name that is new).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..graph import OPTIONS, Entry, Graph, Operator, Quantization, Tensor
from . import flatbuffer
from .normalize import FILE_ONLY, replace_splits, without_float_edges
from .tflite_schema import ACTIVATIONS, BUILTIN_OPERATORS, IDENTIFIER, PADDINGS, SCHEMA, TENSOR_TYPES, VERSION

# Far above what a microcontroller holds, far below what a file may make this program allocate.
MAX_FILE_BYTES = 32 << 20
MAX_TENSOR_BYTES = 256 << 20  # all tensors together
MAX_METADATA_BYTES = 1 << 20
MAX_RANK = 8
MAX_OPERANDS = 4096  # of an operator or a subgraph
MAX_OPTION = 65535

METADATA = "mcu_codegen"
"""Name of the metadata block that holds front end, labels, decision, gates, exits and the like as JSON."""
_METADATA_TYPES = {
    "front_end": str,
    "labels": list,
    "decision": dict,
    "gates": list,
    "model": str,
    "words": list,
    "exits": dict,
    "streaming": bool,
}
# + the tensor's index: the initial value of a persistent tensor, since LiteRT refuses a variable with a buffer
_INITIAL = METADATA + ".initial."


@dataclasses.dataclass(frozen=True)
class _OperatorRow:
    version: int  # the lowest that LiteRT wants for int8
    options: str  # table in the schema; "" where the operator has none
    inputs: tuple[int, int]  # at least, at most; those beyond "at least" may be left out as -1
    outputs: int = 1  # at most
    fixed: dict[str, int] = dataclasses.field(default_factory=dict)  # options that are accepted with this value only
    # options that follow from the first input and the output
    derived: Callable[[Tensor, Tensor], dict[str, Any]] = lambda source, output: {}


def _squeezed(source: Tensor, output: Tensor) -> dict[str, Any]:
    """The axes that SQUEEZE leaves out."""
    left = list(output.shape)
    axes = []
    for axis, size in enumerate(source.shape):
        if left[:1] == [size]:
            del left[0]
        else:
            axes.append(axis)
    return {"squeeze_dims": axes}


_OPERATORS: dict[str, _OperatorRow] = {
    "CONV_2D": _OperatorRow(3, "Conv2DOptions", (2, 3)),
    "DEPTHWISE_CONV_2D": _OperatorRow(3, "DepthwiseConv2DOptions", (2, 3)),
    "FULLY_CONNECTED": _OperatorRow(4, "FullyConnectedOptions", (2, 3), fixed={"weights_format": 0}),
    "AVERAGE_POOL_2D": _OperatorRow(2, "Pool2DOptions", (1, 1)),
    "MAX_POOL_2D": _OperatorRow(2, "Pool2DOptions", (1, 1)),
    "MEAN": _OperatorRow(2, "ReducerOptions", (2, 2)),
    "ADD": _OperatorRow(2, "AddOptions", (2, 2)),
    "SUB": _OperatorRow(2, "SubOptions", (2, 2)),
    "MUL": _OperatorRow(2, "MulOptions", (2, 2)),
    "RELU": _OperatorRow(2, "", (1, 1)),
    "RELU6": _OperatorRow(2, "", (1, 1)),
    "LOGISTIC": _OperatorRow(2, "", (1, 1)),
    "TANH": _OperatorRow(2, "", (1, 1)),
    "HARD_SWISH": _OperatorRow(1, "HardSwishOptions", (1, 1)),
    "QUANTIZE": _OperatorRow(2, "QuantizeOptions", (1, 1)),
    "DEQUANTIZE": _OperatorRow(2, "DequantizeOptions", (1, 1)),
    "SOFTMAX": _OperatorRow(2, "SoftmaxOptions", (1, 1)),
    "RESHAPE": _OperatorRow(1, "ReshapeOptions", (1, 2), derived=lambda _, output: {"new_shape": output.shape}),
    "SQUEEZE": _OperatorRow(1, "SqueezeOptions", (1, 1), derived=_squeezed),
    "EXPAND_DIMS": _OperatorRow(1, "ExpandDimsOptions", (2, 2)),
    "TRANSPOSE": _OperatorRow(2, "TransposeOptions", (2, 2)),
    "STRIDED_SLICE": _OperatorRow(
        2, "StridedSliceOptions", (4, 4), fixed={"ellipsis_mask": 0, "new_axis_mask": 0, "offset": 0}
    ),
    "SPLIT": _OperatorRow(2, "SplitOptions", (2, 2), outputs=MAX_OPERANDS),
    "CONCATENATION": _OperatorRow(2, "ConcatenationOptions", (1, MAX_OPERANDS), fixed={"fused_activation_function": 0}),
    "PAD": _OperatorRow(2, "PadOptions", (2, 2)),
}


class _OptionField(NamedTuple):
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
            elif not self.names and not isinstance(value, bool) and not 0 < value <= MAX_OPTION:
                raise InputError(f"{field} is {value}; above 0 and up to {MAX_OPTION} is accepted")
        if self.names:
            return self.names[values[0]]
        return values[0] if len(values) == 1 else values

    def write(self, value: Any) -> dict[str, Any]:
        if self.names:
            value = self.names.index(value)
        return dict(zip(self.fields, value if isinstance(value, tuple) else (value,), strict=True))


_MASKS = (0, 2**MAX_RANK - 1)
_OPTION_FIELDS = {
    "padding": _OptionField(("padding",), PADDINGS),
    "activation": _OptionField(("fused_activation_function",), ACTIVATIONS),
    "stride": _OptionField(("stride_h", "stride_w")),
    "dilation": _OptionField(("dilation_h_factor", "dilation_w_factor")),
    "filter": _OptionField(("filter_height", "filter_width")),
    "depth_multiplier": _OptionField(("depth_multiplier",)),
    "keep_num_dims": _OptionField(("keep_num_dims",)),
    "keep_dims": _OptionField(("keep_dims",)),
    "beta": _OptionField(("beta",)),
    "axis": _OptionField(("axis",), ends=(-MAX_RANK, MAX_RANK - 1)),
    "parts": _OptionField(("num_splits",)),
    "begin_mask": _OptionField(("begin_mask",), ends=_MASKS),
    "end_mask": _OptionField(("end_mask",), ends=_MASKS),
    "shrink_axis_mask": _OptionField(("shrink_axis_mask",), ends=_MASKS),
}


def read(path: Path | str) -> Graph:
    """The graph in the file at `path`. Raises InputError naming the file."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return read_bytes(data, str(path))


def read_bytes(data: bytes, name: str) -> Graph:
    """The graph in `data`, which errors call `name`. The graph's name is the stem of `name` as a C identifier.

    Subgraph 0 becomes the entry ``invoke``, further subgraphs further entries. A tensor of subgraph 0 keeps its index.
    A further subgraph with the very same tensors shares them; otherwise its own follow.
    """
    try:
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
        model = flatbuffer.read(data, SCHEMA, IDENTIFIER)
        if model["version"] != VERSION:
            raise InputError(f"schema version {model['version']}; {VERSION} is accepted")
        if not model["subgraphs"]:
            raise InputError("no subgraph")
        return _Model(model).graph(_identifier(Path(name).stem), hashlib.sha256(data).hexdigest())
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


class _Model:
    """A decoded model whose container is sound and whose contents are not yet trusted."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.model = model
        self.blocks = {block["name"]: block["buffer"] for block in model["metadata"]}
        self.tensors: list[Tensor] = []
        self.tensor_bytes_left = MAX_TENSOR_BYTES

    def graph(self, name: str, sha256: str) -> Graph:
        entries: list[Entry] = []
        names: set[str] = set()
        for position, raw in enumerate(self.model["subgraphs"]):
            entries.append(self.entry(position, raw, names))
            names.add(entries[-1].name)
        graph = Graph(name, self.tensors, entries, self.metadata(), sha256)
        replace_splits(graph)
        return graph

    def buffer(self, index: int) -> np.ndarray:
        """uint8[n]; empty where the buffer holds nothing."""
        buffers = self.model["buffers"]
        if index >= len(buffers):
            raise InputError(f"buffer {index} is wanted, {len(buffers)} are there")
        if buffers[index]["size"]:
            raise InputError(f"buffer {index} is stored outside the flatbuffer")
        return buffers[index]["data"]

    def metadata(self) -> dict[str, Any]:
        if METADATA not in self.blocks:
            return {}
        block = self.buffer(self.blocks[METADATA])
        if len(block) > MAX_METADATA_BYTES:
            raise InputError(f"metadata {METADATA}: larger than {MAX_METADATA_BYTES} bytes")
        try:
            values = json.loads(bytes(block))
            json.dumps(values, ensure_ascii=False, allow_nan=False).encode()  # refuses NaN, infinity, lone surrogates
        except (ValueError, RecursionError) as error:
            raise InputError(f"metadata {METADATA}: not JSON ({_printable(str(error))})") from None
        if not isinstance(values, dict):
            raise InputError(f"metadata {METADATA}: {type(values).__name__}; an object is accepted")
        for key, kind in _METADATA_TYPES.items():
            if key in values and not isinstance(values[key], kind):
                raise InputError(
                    f"metadata {METADATA}: {key} is {type(values[key]).__name__}; {kind.__name__} is accepted"
                )
        if not all(isinstance(label, str) for label in values.get("labels", [])):
            raise InputError(f"metadata {METADATA}: a label is not a string")
        return values

    def entry(self, position: int, raw: dict[str, Any], names: set[str]) -> Entry:
        """The entry of the subgraph at `position`; `names` are those of earlier entries."""
        try:
            tensors = [self.tensor(tensor, index) for index, tensor in enumerate(raw["tensors"])]
            shared = len(tensors) == len(self.tensors) and all(map(_same, tensors, self.tensors))
            first = 0 if shared else len(self.tensors)
            self.tensors[first:] = tensors
            inputs, outputs = (self.indices(raw[side], first, side) for side in ("inputs", "outputs"))
            operators = [self.operator(index, operator, first) for index, operator in enumerate(raw["operators"])]
            if not inputs or not outputs or not operators:
                raise InputError("inputs, outputs or operators are missing")
            self.check_order(inputs, outputs, operators)
            entry = without_float_edges(self.tensors, Entry("", inputs, outputs, operators))
            self.check_order(entry.inputs, entry.outputs, entry.operators)
        except InputError as error:
            raise InputError(f"subgraph {position}: {error}" if position else str(error)) from None
        name = _identifier(raw["name"] or "entry") if position else "invoke"
        entry.name = f"{name}_{position}" if name in names else name
        return entry

    def indices(self, values: np.ndarray, first: int, owner: str) -> tuple[int, ...]:
        """Tensor indices of a subgraph as indices of the graph; -1 stays."""
        count = len(self.tensors) - first
        if len(values) > MAX_OPERANDS:
            raise InputError(f"{owner}: {len(values)} tensors; up to {MAX_OPERANDS} are accepted")
        wrong = values[(values < -1) | (values >= count)]
        if len(wrong):
            raise InputError(f"{owner}: tensor {wrong[0]} is wanted, {count} are there")
        return tuple(int(value) + first if value >= 0 else -1 for value in values)

    def tensor(self, raw: dict[str, Any], index: int) -> Tensor:
        name = _printable(raw["name"]) or f"tensor_{index}"
        try:
            return self.checked_tensor(raw, name, f"{_INITIAL}{index}")
        except InputError as error:
            raise InputError(f"tensor '{name}': {error}") from None

    def checked_tensor(self, raw: dict[str, Any], name: str, initial: str) -> Tensor:
        if raw["type"] not in TENSOR_TYPES:
            raise InputError(f"type code {raw['type']}; {', '.join(TENSOR_TYPES.values())} can be read")
        dtype = np.dtype(TENSOR_TYPES[raw["type"]]).newbyteorder("<")
        if len(raw["shape"]) > MAX_RANK or np.any(raw["shape"] < 1):
            raise InputError(f"shape {raw['shape'][: MAX_RANK + 1].tolist()}; up to {MAX_RANK} fixed sizes from 1 on")
        shape = tuple(raw["shape"].tolist())
        size = math.prod(shape) * dtype.itemsize
        self.tensor_bytes_left -= size
        if self.tensor_bytes_left < 0:
            raise InputError(f"shape {shape}: all tensors together exceed {MAX_TENSOR_BYTES >> 20} MiB")
        if raw["sparsity"] is not None or raw["external_buffer"]:
            raise InputError("sparse or external data are not supported")
        content = self.buffer(raw["buffer"])
        if raw["is_variable"] and initial in self.blocks:
            content = self.buffer(self.blocks[initial])
        if len(content) not in (0, size):
            raise InputError(f"{len(content)} bytes of data; shape {shape} of {dtype.name} takes {size}")
        quantization = _quantization(raw["quantization"], shape, dtype)
        data = content.view(dtype).reshape(shape) if len(content) else None
        if raw["is_variable"] and data is None:
            data = _reset_value(shape, dtype.name, quantization)
        return Tensor(name, shape, dtype.name, quantization, data, bool(raw["is_variable"]))

    def operator(self, position: int, raw: dict[str, Any], first: int) -> Operator:
        codes = self.model["operator_codes"]
        if raw["opcode_index"] >= len(codes):
            raise InputError(f"operator {position}: code {raw['opcode_index']} is wanted, {len(codes)} are there")
        kind = _kind(codes[raw["opcode_index"]])
        owner = f"operator {position} ({kind})"
        inputs, outputs = (self.indices(raw[side], first, f"{owner} {side}") for side in ("inputs", "outputs"))
        if outputs and outputs[0] >= 0:
            owner = f"operator {position} ({kind}, tensor '{self.tensors[outputs[0]].name}')"
        if kind not in _OPERATORS:
            raise InputError(f"{owner} is not supported; {', '.join(sorted(_OPERATORS))} are")
        try:
            row = _OPERATORS[kind]
            least, most = row.inputs
            if not least <= len(inputs) <= most or -1 in inputs[:least]:
                raise InputError(f"inputs {raw['inputs'][: most + 1].tolist()}; {least} to {most} are accepted")
            if not 1 <= len(outputs) <= row.outputs or -1 in outputs:
                raise InputError(f"outputs {raw['outputs'][: row.outputs + 1].tolist()}; 1 to {row.outputs} accepted")
            for index in (*inputs, *outputs):
                if kind in ("QUANTIZE", "DEQUANTIZE"):
                    continue  # float at the edges is for `without_float_edges` to judge
                if index >= 0 and self.tensors[index].dtype.startswith("float"):
                    tensor = self.tensors[index]
                    raise InputError(f"tensor '{tensor.name}' is {tensor.dtype}: a float model; int8 is accepted")
            return Operator(kind, _listed(inputs), outputs, _read_options(kind, raw))
        except InputError as error:
            raise InputError(f"{owner}: {error}") from None

    def check_order(self, inputs: tuple[int, ...], outputs: tuple[int, ...], operators: list[Operator]) -> None:
        """Every tensor is written once, before it is read. Persistent tensors hold a value from the start."""
        written = set(inputs)
        if -1 in inputs or len(written) < len(inputs) or any(self.tensors[i].data is not None for i in inputs):
            raise InputError("an input is left out, listed twice, constant or persistent")
        for position, operator in enumerate(operators):
            owner = f"operator {position} ({operator.kind})"
            for index in operator.inputs:
                if index >= 0 and index not in written and self.tensors[index].data is None:
                    raise InputError(f"{owner} reads tensor '{self.tensors[index].name}', which nothing wrote before")
            for index in operator.outputs:
                if index in written or self.tensors[index].constant:
                    raise InputError(f"{owner} writes tensor '{self.tensors[index].name}', which has its value already")
                written.add(index)
        for index in outputs:
            if index not in written or index in inputs:
                raise InputError(f"output {'-1' if index < 0 else self.tensors[index].name!r}: no operator writes it")


def _same(first: Tensor, second: Tensor) -> bool:
    if dataclasses.replace(first, data=None) != dataclasses.replace(second, data=None):
        return False
    if first.data is None or second.data is None:
        return first.data is second.data
    return np.array_equal(first.data, second.data)


def _kind(code: dict[str, Any]) -> str:
    # files from before 2020 use only the first field, new codes only the second
    builtin = max(code["deprecated_builtin_code"], code["builtin_code"])
    if not 0 <= builtin < len(BUILTIN_OPERATORS):
        return f"builtin operator {builtin}"
    kind = BUILTIN_OPERATORS[builtin]
    return f"CUSTOM '{_printable(code['custom_code'])}'" if kind == "CUSTOM" else kind


def _read_options(kind: str, raw: dict[str, Any]) -> Any:
    row = _OPERATORS[kind]
    if raw["builtin_options_type"] not in (0, _options_code(row)):
        raise InputError(f"options of type {raw['builtin_options_type']}; {_options_code(row)} is accepted")
    table = raw["builtin_options"]
    if table is None:
        table = flatbuffer.defaults(SCHEMA, row.options) if row.options else {}
    for field, wanted in row.fixed.items():
        if table[field] != wanted:
            raise InputError(f"{field} is {table[field]}; {wanted} is accepted")
    options = (OPTIONS | FILE_ONLY)[kind]
    fields = dataclasses.fields(options)
    return options(**{field.name: _OPTION_FIELDS[field.name].read(table) for field in fields})


def _listed(inputs: tuple[int, ...]) -> tuple[int, ...]:
    """`inputs` without a -1 at the end: not every kernel of LiteRT takes an optional input that is listed so."""
    while inputs and inputs[-1] < 0:
        inputs = inputs[:-1]
    return inputs


def _options_code(row: _OperatorRow) -> int:
    """The kind of the union that holds the options; 0 where there are none."""
    return next((code for code, name in SCHEMA.unions["BuiltinOptions"].items() if name == row.options), 0)


def _quantization(raw: dict[str, Any] | None, shape: tuple[int, ...], dtype: np.dtype) -> Quantization | None:
    if raw is None:
        return None
    if raw["details_type"]:
        raise InputError("custom or blockwise quantisation; scales per tensor or channel are accepted")
    scale, zero_point, axis = raw["scale"], raw["zero_point"], raw["quantized_dimension"]
    if not len(scale):
        return None
    if len(scale) > 1 and not (0 <= axis < len(shape) and len(scale) == shape[axis]):
        raise InputError(f"{len(scale)} scales along axis {axis} of shape {shape}")
    if not np.all(np.isfinite(scale)) or np.any(scale < 0):
        raise InputError("a scale is negative or not finite")
    if not len(zero_point):
        zero_point = np.zeros(len(scale), np.int64)
    codes = np.iinfo(dtype if dtype.kind in "iu" else "int32")
    if len(zero_point) != len(scale) or np.any((zero_point < codes.min) | (zero_point > codes.max)):
        raise InputError(f"{len(zero_point)} zero points for {len(scale)} scales, or one outside {codes.dtype}")
    return Quantization(tuple(scale.tolist()), tuple(zero_point.tolist()), axis if len(scale) > 1 else 0)


def _reset_value(shape: tuple[int, ...], dtype: str, quantization: Quantization | None) -> np.ndarray:
    """What LiteRT resets a variable tensor to: the code of zero."""
    return np.full(shape, quantization.zero_point[0] if dtype == "int8" and quantization else 0, dtype)


def _printable(text: str) -> str:
    """`text`, escaped where it has control characters: names go into one-line errors and into C comments."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _identifier(text: str) -> str:
    cleaned = re.sub(r"\W", "_", text, flags=re.ASCII)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"model_{cleaned}"


def write(graph: Graph) -> bytes:
    """The bytes of a ``.tflite`` file that LiteRT accepts. The same graph always gives the same bytes.

    Reading them gives an equal graph again, with the SHA-256 of these bytes, unless an operator lists an optional input
    as -1 at the end. So that entries can share tensors, the subgraph of each entry holds all tensors of the graph.
    """
    kinds = list(dict.fromkeys(operator.kind for entry in graph.entries for operator in entry.operators))
    codes = [_operator_code(kind) for kind in kinds]
    buffers: dict[bytes, int] = {b"": 0}  # content to index; buffer 0 is empty by convention

    def buffer(content: bytes) -> int:
        return buffers.setdefault(content, len(buffers))

    tensors = [_tensor(tensor, buffer(_content(tensor)) if tensor.constant else 0) for tensor in graph.tensors]
    metadata = [
        {"name": f"{_INITIAL}{index}", "buffer": buffer(_content(tensor))}
        for index, tensor in enumerate(graph.tensors)
        if tensor.persistent
        and tensor.data is not None
        and not np.array_equal(tensor.data, _reset_value(tensor.shape, tensor.dtype, tensor.quantization))
    ]
    if graph.metadata:
        content = json.dumps(graph.metadata, sort_keys=True, allow_nan=False).encode()
        metadata.append({"name": METADATA, "buffer": buffer(content)})
    subgraphs = [
        {
            "tensors": tensors,
            "inputs": entry.inputs,
            "outputs": entry.outputs,
            "operators": [_operator(graph, operator, kinds) for operator in entry.operators],
            "name": entry.name,
        }
        for entry in graph.entries
    ]
    return flatbuffer.write(
        {
            "version": VERSION,
            "operator_codes": codes,
            "subgraphs": subgraphs,
            "description": METADATA,
            "buffers": [{"data": np.frombuffer(content, np.uint8)} for content in buffers],
            "metadata": metadata,
        },
        SCHEMA,
        IDENTIFIER,
    )


def _operator_code(kind: str) -> dict[str, Any]:
    if kind not in _OPERATORS:
        raise InputError(f"operator {kind} cannot be written; {', '.join(sorted(_OPERATORS))} can")
    code = BUILTIN_OPERATORS.index(kind)
    return {"deprecated_builtin_code": min(code, 127), "builtin_code": code, "version": _OPERATORS[kind].version}


def _operator(graph: Graph, operator: Operator, kinds: list[str]) -> dict[str, Any]:
    row = _OPERATORS[operator.kind]
    options = dict(row.fixed) | row.derived(graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]])
    for field in dataclasses.fields(operator.options):
        options |= _OPTION_FIELDS[field.name].write(getattr(operator.options, field.name))
    return {
        "opcode_index": kinds.index(operator.kind),
        "inputs": _listed(operator.inputs),
        "outputs": operator.outputs,
        "builtin_options_type": _options_code(row),
        "builtin_options": options if row.options else None,
    }


def _tensor(tensor: Tensor, buffer: int) -> dict[str, Any]:
    quantization = tensor.quantization
    return {
        "shape": tensor.shape,
        "type": next(code for code, dtype in TENSOR_TYPES.items() if dtype == tensor.dtype),
        "buffer": buffer,
        "name": tensor.name,
        "quantization": quantization
        and {
            "scale": quantization.scale,
            "zero_point": quantization.zero_point,
            "quantized_dimension": quantization.axis,
        },
        "is_variable": tensor.persistent,
    }


def _content(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.data, np.dtype(tensor.dtype).newbyteorder("<")).tobytes()
