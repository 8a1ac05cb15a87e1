"""The integer graph: tensors, operators and their quantisation, as plain data.

A graph holds what an int8 ``.tflite`` holds, plus three things the format has no good place for: several entry points
over shared tensors (enrolment beside inference), persistent tensors (streaming state) and a metadata dictionary (front
end, labels, decision). Nothing here computes; `lower` turns an operator's scales into integers, `execute` runs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import InputError


@dataclass(frozen=True)
class Quantization:
    """real = scale * (code - zero_point). One entry per tensor, or one per index along `axis`.

    Scales are float32 values (held as Python floats), as the file format stores them.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0

    @property
    def per_tensor(self) -> bool:
        return len(self.scale) == 1


@dataclass
class Tensor:
    """A value of fixed shape. Activations are NHWC; convolution weights OHWI, depthwise weights 1HWO (TFLite's orders).

    `data` is the value of a constant, or the initial value of a persistent tensor; None for an activation.
    A persistent tensor keeps its value between calls until the graph is reset, and never shares memory.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str  # NumPy's name: "int8", "int32", "uint8", "float32", ...
    quantization: Quantization | None = None
    data: np.ndarray | None = None
    persistent: bool = False

    @property
    def constant(self) -> bool:
        return self.data is not None and not self.persistent

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        return self.elements * np.dtype(self.dtype).itemsize

    @property
    def scale(self) -> float:
        """The scale of a tensor quantised as a whole."""
        return self._whole().scale[0]

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor quantised as a whole."""
        return self._whole().zero_point[0]

    def _whole(self) -> Quantization:
        if self.quantization is None or not self.quantization.per_tensor:
            found = "no quantisation" if self.quantization is None else f"{len(self.quantization.scale)} scales"
            raise InputError(f"tensor '{self.name}': {found}; one scale and zero point for the whole tensor are needed")
        return self.quantization


# Options of the operators. Field names are TFLite's; heights come before widths.


@dataclass(frozen=True)
class Conv2D:
    padding: str = "SAME"  # or "VALID"
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    activation: str = "NONE"  # "RELU", "RELU6", "RELU_N1_TO_1"


@dataclass(frozen=True)
class DepthwiseConv2D(Conv2D):
    depth_multiplier: int = 1


@dataclass(frozen=True)
class FullyConnected:
    activation: str = "NONE"
    keep_num_dims: bool = False


@dataclass(frozen=True)
class Pool2D:
    padding: str = "VALID"
    stride: tuple[int, int] = (1, 1)
    filter: tuple[int, int] = (1, 1)
    activation: str = "NONE"
    half_up: bool = False  # averages halfway between two codes; False: away from zero. True is of uint8 layers alone


@dataclass(frozen=True)
class Mean:
    """The axes are the operator's second input, a constant int32 tensor."""

    keep_dims: bool = False


@dataclass(frozen=True)
class Elementwise:
    """ADD, SUB, MUL, DIV."""

    activation: str = "NONE"


@dataclass(frozen=True)
class Softmax:
    beta: float = 1.0


@dataclass(frozen=True)
class Concatenation:
    axis: int = -1


@dataclass(frozen=True)
class LeakyRelu:
    alpha: float = 0.0


@dataclass(frozen=True)
class Resize:
    """Height and width of the output are the second input, a constant."""

    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class Pack:
    """The inputs, along a new axis."""

    axis: int = 0


@dataclass(frozen=True)
class Gather:
    """The indices along the axis are the second input, a constant."""

    axis: int = 0


@dataclass(frozen=True)
class StridedSlice:
    """Begin, end and strides are the operator's further inputs. Bit i of a mask is about axis i: its begin or end is
    left open, or the axis is left out of the output and only its begin counts."""

    begin_mask: int = 0
    end_mask: int = 0
    shrink_axis_mask: int = 0


@dataclass(frozen=True)
class Svdf:
    """Inputs are the values, the weights of filters, those of time, a bias, and the state."""

    rank: int = 1  # filters of a unit
    activation: str = "NONE"  # which the integers do not know: the output's quantisation is all that clamps


@dataclass(frozen=True)
class SequenceLstm:
    """Inputs are, as TFLite orders them, the values; the weights of values in the input, forget, cell and output gate;
    those of the hidden state; three peepholes; four biases; two of a projection; the hidden and the cell state."""

    cell_clip: float = 0.0  # of the cell state's values; 0: none
    time_major: bool = False


@dataclass(frozen=True)
class Table:
    """LOOKUP: any function of one int8 code, as other formats have them; no TFLite file holds it."""

    table: bytes  # for every byte of the input, the byte of the output


@dataclass(frozen=True)
class SlidingSum:
    """Of rows that enter a window, less those that leave it: `leaving` is the row of the window, before the new ones
    are shifted in, from which on as many leave as enter; all `axes` are summed up."""

    axes: tuple[int, ...]
    leaving: int


@dataclass(frozen=True)
class MeanOfSums:
    count: int  # of the codes in each sum


@dataclass(frozen=True)
class NoOptions:
    """The tensors say all."""


OPTIONS: dict[str, type] = {
    "CONV_2D": Conv2D,
    "DEPTHWISE_CONV_2D": DepthwiseConv2D,
    "FULLY_CONNECTED": FullyConnected,
    "AVERAGE_POOL_2D": Pool2D,
    "MAX_POOL_2D": Pool2D,
    "MEAN": Mean,
    "ADD": Elementwise,
    "SUB": Elementwise,
    "MUL": Elementwise,
    "DIV": Elementwise,
    "RELU": NoOptions,
    "RELU6": NoOptions,
    "LOGISTIC": NoOptions,
    "TANH": NoOptions,
    "HARD_SWISH": NoOptions,
    "ARG_MAX": NoOptions,
    "ARG_MIN": NoOptions,
    "QUANTIZE": NoOptions,
    "LEAKY_RELU": LeakyRelu,
    "RELU_N1_TO_1": NoOptions,
    "RELU_0_TO_1": NoOptions,
    "ABS": NoOptions,
    "SQRT": NoOptions,
    "EXP": NoOptions,
    "LOG": NoOptions,
    "ELU": NoOptions,
    "PRELU": NoOptions,
    "MAXIMUM": NoOptions,
    "MINIMUM": NoOptions,
    "RESIZE_NEAREST_NEIGHBOR": Resize,
    "RESIZE_BILINEAR": Resize,
    "SOFTMAX": Softmax,
    "RESHAPE": NoOptions,
    "SQUEEZE": NoOptions,
    "EXPAND_DIMS": NoOptions,
    "TRANSPOSE": NoOptions,
    "STRIDED_SLICE": StridedSlice,
    "CONCATENATION": Concatenation,
    "PACK": Pack,
    "GATHER": Gather,
    "PAD": NoOptions,
    "SPACE_TO_BATCH_ND": NoOptions,
    "BATCH_TO_SPACE_ND": NoOptions,
    "SVDF": Svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": SequenceLstm,
}
"""Operator kinds (TFLite's builtin names) that the whole chain supports, with the class of their options."""

STEPPING: dict[str, type] = {"SHIFT_IN": NoOptions, "SLIDING_SUM": SlidingSum, "MEAN_OF_SUMS": MeanOfSums}
"""Kinds that only a step has (`listen.step`), and no TFLite file. The first two update a persistent tensor in place.

SHIFT_IN (window, rows): the rows come in at the window's end, and as many fall out at its start. SLIDING_SUM (sums,
window, rows): int32 sums over a window's rows. MEAN_OF_SUMS (sums): what MEAN gives of the rows summed up.
"""

RENAMING = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
"""Kinds whose output is the very bytes of the first input under another shape."""


STATES: dict[str, tuple[int, ...]] = {"SVDF": (4,), "UNIDIRECTIONAL_SEQUENCE_LSTM": (18, 19)}
"""Which inputs of a kind are its state: persistent tensors that it updates, and that follow its output for it."""


@dataclass(frozen=True)
class Operator:
    """One step. `inputs` and `outputs` index the graph's tensors; -1 stands for an optional input left out.

    The first output is the value, for whoever reads it; others are `STATES`.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass
class Entry:
    """A function of the generated C: operators in the order of their execution, between inputs and outputs."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[Operator]


@dataclass(frozen=True)
class Step:
    """What a graph hears that is a step of a network (`listen.step`), in frames of its input."""

    frames: int  # new ones that it takes
    window: int  # the last ones, which its outputs are about


@dataclass
class Graph:
    """`entries[0]` is the entry `invoke`, or `step`; all entries share the tensors. `sha256` is that of the `.tflite`
    file."""

    name: str
    tensors: list[Tensor]
    entries: list[Entry]
    metadata: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    step: Step | None = None

    @property
    def main(self) -> Entry:
        return self.entries[0]

    def entry(self, name: str | None = None) -> Entry:
        """The entry called `name`; the main one where there is no name. Raises InputError."""
        for entry in self.entries:
            if name in (None, entry.name):
                return entry
        accepted = ", ".join(entry.name for entry in self.entries)
        raise InputError(f"model '{self.name}' has no entry '{name}'; accepted are {accepted}")

    def layers(self, entry: Entry | None = None) -> Iterator[tuple[str, Operator]]:
        """(layer name, operator) in order. The name is what reports, C functions and errors call the layer:

        the operator's position, its kind and its output tensor, as in ``02_conv_2d``.
        """
        for position, operator in enumerate((entry or self.main).operators):
            yield f"{position:02d}_{operator.kind.lower()}", operator

    def tensor(self, index: int) -> Tensor | None:
        """The tensor at `index`, or None where an optional input is left out."""
        return None if index < 0 else self.tensors[index]
