"""Windows over images: strides, dilations and the many ways in which ONNX says padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from .onnx_builder import Builder
from .onnx_file import Node
from .onnx_layout import Layout
from .onnx_values import Codes
from .operators import MAX_OPTION

_ORDERS = {3: (0, 2, 1), 4: (0, 2, 3, 1)}
"""By rank, channels behind."""


@dataclass(frozen=True)
class Axis:
    """One spatial axis; `after` is how far windows reach beyond it there, whatever padding the file says."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    output: int

    @property
    def valid(self) -> bool:
        return self.before == self.after == 0

    @property
    def same(self) -> bool:
        total = max((self.output - 1) * self.stride + (self.kernel - 1) * self.dilation + 1 - self.size, 0)
        fits = self.output == -(-self.size // self.stride)
        return fits and (self.before, self.after) == (total // 2, total - total // 2)


_NONE = Axis(1, 1, 1, 1, 0, 0, 1)


@dataclass(frozen=True)
class Windows:
    """Of rows and of columns; a signal, of rank 3, is an image of one column."""

    rows: Axis
    columns: Axis
    rank: int

    @property
    def kernel(self) -> tuple[int, int]:
        return self.rows.kernel, self.columns.kernel

    @property
    def stride(self) -> tuple[int, int]:
        return self.rows.stride, self.columns.stride

    @property
    def dilation(self) -> tuple[int, int]:
        return self.rows.dilation, self.columns.dilation

    @property
    def padding(self) -> str | None:
        """SAME or VALID; None where it is neither."""
        if self.rows.valid and self.columns.valid:
            return "VALID"
        return "SAME" if self.rows.same and self.columns.same else None

    @property
    def whole(self) -> bool:
        """Whether there is one, which covers the image and nothing else."""
        return all(axis.valid and axis.kernel == axis.size and axis.dilation == 1 for axis in (self.rows, self.columns))

    def output(self, images: int, channels: int) -> tuple[int, ...]:
        """The shape in the graph."""
        return images, self.rows.output, self.columns.output, channels

    def value(self, images: int, channels: int) -> Layout:
        """The layout of an output in the file's terms, held as in the graph."""
        return image_layout((images, channels, *(self.rows.output, self.columns.output)[: self.rank - 2]))


def image(build: Builder, node: Node, codes: Codes) -> int:
    """The tensor of an image or a signal as (images, rows, columns, channels)."""
    shape = codes.shape
    sizes = (*shape[2:], 1)[:2]
    return build.arranged(node, codes, _ORDERS[len(shape)], (shape[0], *sizes, shape[1]))


def image_layout(shape: tuple[int, ...]) -> Layout:
    """Of an image or a signal that is held as `image` gives it."""
    return Layout.of(shape, _ORDERS[len(shape)])


def check_image(shape: tuple[int, ...]) -> None:
    if len(shape) not in _ORDERS:
        raise InputError(f"input of shape {shape}; (images, channels, rows, columns) or a signal is accepted")


def windows(node: Node, shape: tuple[int, ...], kernel: Sequence[int]) -> Windows:
    """Those that `node` moves over an image of `shape`. Raises InputError."""
    sizes = shape[2:]
    count = len(sizes)
    strides = _values(node, "strides", count, (1,) * count)
    dilations = _values(node, "dilations", count, (1,) * count)
    pads = node.integers("pads", (0,) * 2 * count)
    if len(kernel) != count or not all(1 <= each <= MAX_OPTION for each in kernel):
        raise InputError(f"kernel {tuple(kernel)} over {sizes}")
    if pads is None or len(pads) != 2 * count or not all(0 <= pad <= MAX_OPTION for pad in pads):
        raise InputError(f"pads {pads}; {2 * count} of 0 to {MAX_OPTION} are accepted")
    way, ceiling = node.text("auto_pad", "NOTSET"), node.integer("ceil_mode", 0) != 0
    axes = []
    for axis, (size, taps, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        reach = (taps - 1) * dilation + 1
        before, after = _pads(way, size, reach, stride, (pads[axis], pads[axis + count]))
        positions, rest = divmod(size + before + after - reach, stride)
        # a last window may reach beyond the padding, but not begin there
        output = positions + 1 + int(ceiling and rest > 0 and (positions + 1) * stride < size + before)
        if size + before + after < reach:
            raise InputError(f"a window of {reach} does not fit into {size} and padding of {before} and {after}")
        met = max((output - 1) * stride + reach - size - before, 0)
        axes.append(Axis(size, taps, stride, dilation, before, met, output))
    return Windows(axes[0], axes[1] if count == 2 else _NONE, count + 2)


def _values(node: Node, name: str, count: int, default: tuple[int, ...]) -> tuple[int, ...]:
    values = node.integers(name, default)
    if values is None or len(values) != count or not all(1 <= value <= MAX_OPTION for value in values):
        raise InputError(f"{name} {values}; {count} of 1 to {MAX_OPTION} are accepted")
    return values


def _pads(way: str, size: int, reach: int, stride: int, given: tuple[int, int]) -> tuple[int, int]:
    if way == "NOTSET":
        return given
    if way == "VALID":
        return 0, 0
    if way not in ("SAME_UPPER", "SAME_LOWER"):
        raise InputError(f"auto_pad {way!r}; NOTSET, VALID, SAME_UPPER and SAME_LOWER are accepted")
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if way == "SAME_UPPER" else (more, less)


def padded(build: Builder, node: Node, source: int, over: Windows) -> tuple[int, str]:
    """(tensor, padding): `source`, with the code of 0 around it where windows need what is neither SAME nor VALID."""
    if over.padding is not None:
        return source, over.padding
    tensor = build.tensors[source]
    pads = [(0, 0), (over.rows.before, over.rows.after), (over.columns.before, over.columns.after), (0, 0)]
    shape = [size + sum(pad) for size, pad in zip(tensor.shape, pads, strict=True)]
    assert tensor.quantization is not None
    paddings = build.integers(f"{node.name}/pads", pads)
    return build.operator(node, "PAD", (source, paddings), shape, tensor.quantization), "VALID"
