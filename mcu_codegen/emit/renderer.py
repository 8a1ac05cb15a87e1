"""Lowered operators to C function bodies: portable C99.

One method renders one lowered type; an instruction set is a subclass that overrides methods, helpers and includes. A
body is C text over local names: the pointers in `Kernel.parameters`, one pointer per array (bound by its role, such as
``weights``), and ``scratch``. Shapes, strides, zero points and clamps are literals in it.

Input zero points are folded into the bias, so a padded position must hold the zero point: it reads from the array
``padding``, one pixel of zero points. The C assumes, as gcc, clang, armclang and IAR define it, that a right shift of a
negative integer is arithmetic and that conversion to a signed type wraps; it has no undefined behaviour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from string import Template
from textwrap import dedent, indent

import numpy as np

from .. import lower
from ..graph import Tensor
from ..memory import Demand


@dataclass(frozen=True)
class Array:
    """Constants of a layer: the body reads them through a pointer called `role`."""

    role: str
    ctype: str
    values: np.ndarray


@dataclass(frozen=True)
class Kernel:
    """How a layer is computed: the body of its C function and what the body needs around it."""

    body: str
    demand: Demand = field(default_factory=Demand)
    parameters: tuple[str, ...] = ("input",)  # names of the pointers to the activations, in the operator's order
    arrays: tuple[Array, ...] = ()
    helpers: tuple[str, ...] = ()  # keys of Renderer.helpers
    macs: int = 0  # multiply-accumulates of one call, padded positions included


@dataclass(frozen=True)
class Site:
    """Where an operator stands: its activations, and the prefix of every helper's name."""

    prefix: str
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass(frozen=True)
class Helper:
    """A C function shared by layers, with ``$prefix`` before every helper's name, and the helpers that it calls."""

    text: str
    uses: tuple[str, ...] = ()


HELPERS = {
    "high_multiply": Helper("""\
/* a * b / 2^31, rounded half up; b is not negative. Right shifts of negative numbers are arithmetic here and below. */
static inline int32_t ${prefix}_high_multiply(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + 1073741824) >> 31);
}
"""),
    "rounding_shift": Helper("""\
/* value / 2^exponent, rounded half away from zero; exponent is 0..31. */
static inline int32_t ${prefix}_rounding_shift(int32_t value, int32_t exponent)
{
    const int32_t mask = (int32_t)((1u << exponent) - 1u);

    return (value >> exponent) + ((value & mask) > (mask >> 1) + (value < 0));
}
"""),
    "requantize": Helper(
        """\
/* accumulator * multiplier * 2^(shift - 31), rounded twice as TFLite's reference kernels do; a left shift wraps. */
static inline int32_t ${prefix}_requantize(int32_t accumulator, int32_t multiplier, int32_t shift)
{
    const int32_t shifted = shift > 0 ? (int32_t)((uint32_t)accumulator << shift) : accumulator;

    return ${prefix}_rounding_shift(${prefix}_high_multiply(shifted, multiplier), shift < 0 ? -shift : 0);
}
""",
        ("high_multiply", "rounding_shift"),
    ),
    "quantize": Helper(
        """\
/* The int8 code, in low..high, of an accumulator. */
static inline int8_t ${prefix}_quantize(int32_t accumulator, int32_t multiplier, int32_t shift, int32_t zero_point,
                                        int32_t low, int32_t high)
{
    const int32_t value = ${prefix}_requantize(accumulator, multiplier, shift);

    /* compared before the zero point is added, for value can be near the ends of int32 */
    return (int8_t)(value < low - zero_point ? low : value > high - zero_point ? high : value + zero_point);
}
""",
        ("requantize",),
    ),
    "dot4": Helper("""\
/* sums[k] = bias[k] + a[0] * b[k] + a[1] * b[4 + k] + ...: four output channels, whose weights lie side by side. */
static inline void ${prefix}_dot4(int32_t *sums, const int32_t *bias, const int8_t *a, const int8_t *b, int32_t count)
{
    int32_t sum0 = bias[0], sum1 = bias[1], sum2 = bias[2], sum3 = bias[3];

    while (count-- > 0) {
        const int32_t value = *a++;

        sum0 += value * b[0];
        sum1 += value * b[1];
        sum2 += value * b[2];
        sum3 += value * b[3];
        b += 4;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
"""),
    "copy": Helper("""\
static void ${prefix}_copy(int8_t *to, const int8_t *from, int32_t count)
{
    while (count-- > 0) {
        *to++ = *from++;
    }
}
"""),
    "reciprocal": Helper(
        """\
/* r with 1 / total = r * 2^-*bits: total is Q12.19 and positive, r Q0.31. Three Newton steps. */
static int32_t ${prefix}_reciprocal(uint32_t total, int32_t *bits)
{
    int32_t half, x;

    for (*bits = 12; total < 2147483648u; --*bits) {
        total <<= 1;
    }
    half = (int32_t)(total >> 1);
    x = 1515870810 - ${prefix}_high_multiply(half, 1010580540); /* 48/17 - 32/17 * half */
    for (int step = 0; step < 3; step++) {
        x += ${prefix}_high_multiply(x, 536870912 - ${prefix}_high_multiply(half, x)) * 4;
    }
    return x >= 1073741824 ? 2147483647 : x * 2;
}
""",
        ("high_multiply",),
    ),
}


class Renderer:
    """Portable C99 for any core."""

    includes: tuple[str, ...] = ("stdint.h",)
    helpers: dict[str, Helper] = HELPERS

    def render(self, lowered: lower.Lowered, site: Site) -> Kernel:
        """The kernel of `lowered` at `site`. Raises InputError where C cannot compute it."""
        kernel: Kernel = getattr(self, _METHODS[type(lowered)])(lowered, site)
        return kernel

    def convolution(self, op: lower.Convolution, site: Site) -> Kernel:
        """Gathers each window in scratch, then multiplies it with every output channel's weights."""
        if op.depthwise:
            return self.depthwise(op, site)
        _, height, width, depth = op.weights.shape
        if (height, width) == (1, 1) and op.stride == (1, 1) and not any(op.pads):
            return self.pointwise(op, site)
        multiply, arrays = self.dots(op, "scratch", site)
        return Kernel(
            fill(
                """
                for (int32_t y = 0; y < $rows; y++) {
                    for (int32_t x = 0; x < $columns; x++) {
                        int8_t *next = scratch;

                        $gather
                        $multiply
                    }
                }
                """,
                rows=site.output.shape[1],
                columns=site.output.shape[2],
                gather=self.taps(op, site, f"for (int32_t k = 0; k < {depth}; k++) {{\n    *next++ = tap[k];\n}}"),
                multiply=multiply,
            ),
            Demand(scratch_bytes=height * width * depth),
            arrays=(*arrays, *_padding(op, depth)),
            helpers=("dot4", "quantize"),
            macs=positions(site) * op.weights.size,
        )

    def pointwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """A 1x1 convolution: each pixel is a row."""
        return self.matrix(op, positions(site), site)

    def fully_connected(self, op: lower.FullyConnected, site: Site) -> Kernel:
        return self.matrix(op, site.output.bytes // len(op.weights), site)

    def matrix(self, op: lower.Convolution | lower.FullyConnected, rows: int, site: Site) -> Kernel:
        """`rows` rows of input, each multiplied with every output channel's weights."""
        multiply, arrays = self.dots(op, "input", site)
        return Kernel(
            fill(
                """
                for (int32_t row = 0; row < $rows; row++) {
                    $multiply
                    input += $depth;
                }
                """,
                rows=rows,
                multiply=multiply,
                depth=op.weights.size // len(op.weights),
            ),
            arrays=arrays,
            helpers=("dot4", "quantize"),
            macs=rows * op.weights.size,
        )

    def dots(
        self, op: lower.Convolution | lower.FullyConnected, source: str, site: Site
    ) -> tuple[str, tuple[Array, ...]]:
        """C that multiplies the values at `source` with the weights of all output channels, and the arrays it reads.

        Weights lie in blocks of four channels, the last filled up with zeros, so that every value is loaded once for
        four.
        """
        channels = len(op.weights)
        missing = -channels % 4
        rows = np.pad(op.weights.reshape(channels, -1), ((0, missing), (0, 0)))
        bias = np.pad(_folded_bias(op, channel_axis=0), (0, missing))
        code, arrays = self.quantize(op.requantization, "sums[channel - block]", site)
        text = fill(
            """
            for (int32_t block = 0; block < $channels; block += 4) {
                int32_t sums[4];

                ${prefix}_dot4(sums, bias + block, $source, weights + $offset, $count);
                for (int32_t channel = block; channel < $end; channel++) {
                    *output++ = $code;
                }
            }
            """,
            prefix=site.prefix,
            channels=channels,
            source=source,
            offset=_times("block", rows.shape[1]),
            count=rows.shape[1],
            end=f"block + 4{f' && channel < {channels}' if channels % 4 else ''}",
            code=code,
        )
        blocks = rows.reshape(-1, 4, rows.shape[1]).transpose(0, 2, 1)
        return text, (Array("weights", "int8_t", blocks), Array("bias", "int32_t", bias), *arrays)

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Finds the pixel under each tap of the window once (one pointer a tap, on the stack), then goes through the
        channels."""
        _, height, width, channels = op.weights.shape
        copies = op.depth_multiplier
        code, arrays = self.quantize(op.requantization, "sum", site)
        return Kernel(
            fill(
                """
                for (int32_t y = 0; y < $rows; y++) {
                    for (int32_t x = 0; x < $columns; x++) {
                        const int8_t *taps[$taps];
                        const int8_t **next = taps;

                        $find
                        for (int32_t channel = 0; channel < $channels; channel++) {
                            int32_t sum = bias[channel];

                            for (int32_t tap = 0; tap < $taps; tap++) {
                                sum += taps[tap][$source] * weights[tap * $channels + channel];
                            }
                            *output++ = $code;
                        }
                    }
                }
                """,
                rows=site.output.shape[1],
                columns=site.output.shape[2],
                taps=height * width,
                find=self.taps(op, site, "*next++ = tap;"),
                channels=channels,
                source="channel" if copies == 1 else f"channel / {copies}",
                code=code,
            ),
            arrays=(
                Array("weights", "int8_t", op.weights),
                Array("bias", "int32_t", _folded_bias(op, channel_axis=3)),
                *arrays,
                *_padding(op, channels // copies),
            ),
            helpers=("quantize",),
            macs=positions(site) * op.weights.size,
        )

    def taps(self, op: lower.Convolution, site: Site, visit: str) -> str:
        """Loops over the window of output position (y, x) that point ``tap`` at each pixel and do `visit`."""
        _, rows, columns, depth = site.inputs[0].shape
        tests = ("row >= 0", f"row < {rows}", "column >= 0", f"column < {columns}")
        row_start = _times("row", columns)
        inside = " && ".join(test for test, pad in zip(tests, op.pads, strict=True) if pad)
        pixel = f"input + {_times(f'({row_start} + column)', depth)}"
        return fill(
            """
            for (int32_t i = 0; i < $height; i++) {
                const int32_t row = $row;

                for (int32_t j = 0; j < $width; j++) {
                    const int32_t column = $column;
                    const int8_t *const tap =
                        $tap

                    $visit
                }
            }
            """,
            height=op.weights.shape[1],
            width=op.weights.shape[2],
            row=f"{_times('y', op.stride[0])} + {_times('i', op.dilation[0])}{_plus(-op.pads[0])}",
            column=f"{_times('x', op.stride[1])} + {_times('j', op.dilation[1])}{_plus(-op.pads[2])}",
            tap=f"{inside} ? {pixel} : padding;" if inside else f"{pixel};",
            visit=visit,
        )

    def average_pool(self, op: lower.AveragePool, site: Site) -> Kernel:
        """Sums over the part of each window that lies inside the image."""
        _, rows, columns, channels = site.inputs[0].shape
        top, bottom = _span("y", op.stride[0], op.filter[0], op.pads[:2], rows)
        left, right = _span("x", op.stride[1], op.filter[1], op.pads[2:], columns)
        return Kernel(
            fill(
                """
                for (int32_t y = 0; y < $rows; y++) {
                    const int32_t top = $top, bottom = $bottom;

                    for (int32_t x = 0; x < $columns; x++) {
                        const int32_t left = $left, right = $right;
                        const int32_t count = $count;

                        for (int32_t channel = 0; channel < $channels; channel++) {
                            int32_t sum = 0;
                            int32_t mean;

                            for (int32_t row = top; row < bottom; row++) {
                                for (int32_t column = left; column < right; column++) {
                                    sum += input[(row * $width + column) * $channels + channel];
                                }
                            }
                            mean = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
                            *output++ = (int8_t)(mean < $low ? $low : mean > $high ? $high : mean);
                        }
                    }
                }
                """,
                rows=site.output.shape[1],
                columns=site.output.shape[2],
                top=top,
                bottom=bottom,
                left=left,
                right=right,
                count="(bottom - top) * (right - left)" if any(op.pads) else op.filter[0] * op.filter[1],
                channels=channels,
                width=columns,
                low=op.low,
                high=op.high,
            )
        )

    def mean(self, op: lower.Mean, site: Site) -> Kernel:
        """One loop per run of kept or reduced axes; the output is written in order."""
        runs = _axis_runs(site.inputs[0].shape, op.axes)
        kept = [(f"i{n}", size, stride) for n, (size, stride, reduced) in enumerate(runs) if not reduced]
        summed = [(f"i{n}", size, stride) for n, (size, stride, reduced) in enumerate(runs) if reduced]
        index = " + ".join(_times(name, stride) for name, _, stride in kept + summed) or "0"
        code, arrays = self.quantize(op.requantization, "sum", site)
        each = fill(
            """
            int32_t sum = $start;

            $add
            *output++ = $code;
            """,
            start=-op.input_zero_point * op.count,
            add=_nest(summed, f"sum += input[{index}];"),
            code=code,
        )
        return Kernel(_nest(kept, each), arrays=arrays, helpers=("quantize",))

    def add(self, op: lower.Add, site: Site) -> Kernel:
        code, arrays = self.quantize(op.requantization, "a + b", site)
        values = [
            f"{site.prefix}_requantize(({name}[i]{_plus(-zero_point)}) * {1 << op.left_shift}, {multiplier}, {shift})"
            for name, zero_point, multiplier, shift in zip(
                ("first", "second"), op.zero_points, op.multipliers, op.shifts, strict=True
            )
        ]
        return Kernel(
            fill(
                """
                for (int32_t i = 0; i < $count; i++) {
                    const int32_t a = $a;
                    const int32_t b = $b;

                    output[i] = $code;
                }
                """,
                count=site.output.bytes,
                a=values[0],
                b=values[1],
                code=code,
            ),
            Demand(in_place=True),
            parameters=("first", "second"),
            arrays=arrays,
            helpers=("requantize", "quantize"),
        )

    def softmax(self, op: lower.Softmax, site: Site) -> Kernel:
        """Exponentials come from a table over the distance to the row's maximum; beyond its end they are nothing."""
        size = site.output.shape[-1]
        return Kernel(
            fill(
                """
                for (int32_t row = 0; row < $rows; row++) {
                    int32_t maximum = -128;
                    uint32_t total = 0;
                    int32_t inverse, bits;

                    for (int32_t i = 0; i < $size; i++) {
                        if (input[i] > maximum) {
                            maximum = input[i];
                        }
                    }
                    for (int32_t i = 0; i < $size; i++) {
                        const int32_t distance = maximum - input[i];

                        if (distance < $entries) {
                            total += (uint32_t)${prefix}_rounding_shift(exponentials[distance], 12);
                        }
                    }
                    inverse = ${prefix}_reciprocal(total, &bits);
                    for (int32_t i = 0; i < $size; i++) {
                        const int32_t distance = maximum - input[i];
                        int32_t share = 0;

                        if (distance < $entries) {
                            share = ${prefix}_high_multiply(exponentials[distance], inverse);
                            share = $scaled;
                        }
                        output[i] = (int8_t)(share > 255 ? 127 : share - 128);
                    }
                    input += $size;
                    output += $size;
                }
                """,
                prefix=site.prefix,
                rows=site.output.bytes // size,
                size=size,
                entries=len(op.exponentials),
                # a row of 512 or more can sum to 2^28 or more: then bits is above 8, and the share below a half
                scaled=("bits > 8 ? 0 : " if size > 511 else "") + f"{site.prefix}_rounding_shift(share, bits + 23)",
            ),
            Demand(in_place=True),
            arrays=(Array("exponentials", "int32_t", op.exponentials),),
            helpers=("rounding_shift", "high_multiply", "reciprocal"),
        )

    def copy(self, op: lower.Copy, site: Site) -> Kernel:
        """RESHAPE, where the memory plan does not let the output take the input's place."""
        return Kernel(
            f"{site.prefix}_copy(output, input, {site.output.bytes});", Demand(in_place=True), helpers=("copy",)
        )

    def quantize(self, op: lower.Requantization, accumulator: str, site: Site) -> tuple[str, tuple[Array, ...]]:
        """The C expression of the int8 code of `accumulator`, and the arrays over ``channel`` that it reads."""
        multiplier, multipliers = _per_channel("multiplier", "int32_t", op.multiplier)
        shift, shifts = _per_channel("shift", "int8_t", op.shift)
        return (
            f"{site.prefix}_quantize({accumulator}, {multiplier}, {shift}, {op.zero_point}, {op.low}, {op.high})",
            multipliers + shifts,
        )


_METHODS = {
    lower.Convolution: "convolution",
    lower.FullyConnected: "fully_connected",
    lower.AveragePool: "average_pool",
    lower.Mean: "mean",
    lower.Add: "add",
    lower.Softmax: "softmax",
    lower.Copy: "copy",
}
"""The Renderer method of each lowered type."""

def fill(text: str, **values: object) -> str:
    """`text`, dedented, with every ``$name`` replaced; a value alone on its line is indented as the line is."""
    text = dedent(text).strip("\n")
    text = re.sub(r"^( *)\$(\w+)$", lambda m: indent(str(values[m[2]]), m[1]), text, flags=re.MULTILINE)
    return Template(text).substitute({name: str(value) for name, value in values.items()})


def positions(site: Site) -> int:
    """Pixels, or rows, of the output."""
    return site.output.bytes // site.output.shape[-1]


def _times(name: str, factor: int) -> str:
    return name if factor == 1 else f"{name} * {factor}"


def _plus(value: int) -> str:
    """`` + 3``, `` - 3`` or nothing."""
    return f" {'+' if value > 0 else '-'} {abs(value)}" if value else ""


def _folded_bias(op: lower.Convolution | lower.FullyConnected, channel_axis: int) -> np.ndarray:
    """int64, one per output channel: the bias with the input zero point's share of every accumulator in it.

    `op.bound` holds for every partial sum from it, because no zero point is farther from 0 than a code can be from it.
    """
    others = tuple(axis for axis in range(op.weights.ndim) if axis != channel_axis)
    return op.bias.astype(np.int64) - op.input_zero_point * op.weights.astype(np.int64).sum(axis=others)


def _padding(op: lower.Convolution, depth: int) -> tuple[Array, ...]:
    """One pixel of zero points, where the convolution pads."""
    return (Array("padding", "int8_t", np.full(depth, op.input_zero_point, np.int8)),) if any(op.pads) else ()


def _per_channel(role: str, ctype: str, values: np.ndarray) -> tuple[str, tuple[Array, ...]]:
    """An expression over ``channel``: a literal where all channels agree."""
    if np.all(values == values[0]):
        return str(values[0]), ()
    return f"{role}[channel]", (Array(role, ctype, values),)


def _span(at: str, stride: int, window: int, pads: tuple[int, ...], size: int) -> tuple[str, str]:
    """(first, end) of a window along one axis, cut at the image's edges where it can cross them."""
    start = f"{_times(at, stride)}{_plus(-pads[0])}"
    end = f"{_times(at, stride)}{_plus(window - pads[0])}"
    return (
        f"{start} < 0 ? 0 : {start}" if pads[0] else start,
        f"{end} > {size} ? {size} : {end}" if pads[1] else end,
    )


def _axis_runs(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[int, int, bool]]:
    """(size, stride, reduced) of each run of neighbouring axes that are all kept or all reduced; size 1 left out."""
    runs: list[tuple[int, int, bool]] = []
    stride = 1
    for axis in reversed(range(len(shape))):
        reduced = axis in axes
        if shape[axis] > 1:
            if runs and runs[0][2] == reduced:
                runs[0] = (runs[0][0] * shape[axis], runs[0][1], reduced)
            else:
                runs.insert(0, (shape[axis], stride, reduced))
        stride *= shape[axis]
    return runs


def _nest(loops: list[tuple[str, int, int]], inside: str) -> str:
    """`inside` in nested loops of (index, size, _)."""
    for index, size, _ in reversed(loops):
        inside = fill("for (int32_t $i = 0; $i < $size; $i++) {\n    $inside\n}", i=index, size=size, inside=inside)
    return inside
