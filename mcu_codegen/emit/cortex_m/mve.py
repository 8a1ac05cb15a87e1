"""Kernels for cores with MVE (Helium) integer instructions: Cortex-M55.

Products come from VMLADAV, sixteen a vector, summed up in a general register. Eight accumulators (all the registers
that it can name) are moved into two vectors and requantised together: VQRDMULH rounds half up, and VRSHL, after a
correction of negative values, half away from zero. Where the zero point is the lowest code the correction is left out,
for negative values saturate to that code either way. Constants lie in one stream, in the order of reading.

A layer for which this is not proven (`assembly.requantizes`), or whose shape has no kernel here, is rendered as
portable C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from ... import lower
from ...memory import Demand
from ..portable.renderer import OPTIMIZE, Array, Kernel, Site, fill, positions
from .addition import PARAMETERS, Addition, about
from .assembly import Assembly, folded_bias, packed, requantizes, scaling, words
from .blocks import BlockRenderer, Gathering, Product

_VECTOR = 16  # bytes
_LOOPED = 4  # vectors of a row in a round of its loop
_PITCH = 6  # bytes between the rows of a strip: three rows of three taps then span 15 bytes, or 16 shifted by one
_OFFSETS = 1 << 16  # what a vector of 16-bit offsets reaches
_ACCUMULATORS = ("r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr")  # VMLADAV names even registers only


class MveRenderer(Addition, BlockRenderer):
    """Cortex-M55."""

    granule = 1
    added = (1, 1)  # the loop counts elements by itself
    unrolled = (8, _LOOPED)  # vectors of a row
    # clang (seen in 22.1) makes one vector of a short loop and, where its length falls by one from round to round
    # of the loop around it, predicates that one by it: DLSTP then ends the outer loop after its first round
    before_loop = "#if defined(__clang__)\n#pragma clang loop vectorize(disable)\n#endif\n"

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers |= {"copy": _COPY.helper("copy"), "fill": _FILL.helper("fill")}

    def multiplies(self, op: lower.Convolution | lower.FullyConnected, channels: int, depth: int) -> bool:
        return requantizes(op) and channels > 1 and self.block * channels < _OFFSETS

    def product(self, op: lower.Convolution | lower.FullyConnected, depth: int, channels: int, rows: int) -> Product:
        pack, multiply = f"pack_{depth}x{rows}", f"multiply_{depth}x{rows}_{channels}{_rounding(op)}"
        self.helpers[pack] = _pack(depth, rows).helper(pack)
        self.helpers[multiply] = _multiply(depth, channels, rows, _half_up(op), self.most).helper(multiply)
        return Product(pack, multiply, _vectors(depth) * _VECTOR * rows)

    def stream(self, op: lower.Convolution | lower.FullyConnected, weights: np.ndarray) -> Array:
        """Per pair of channels: a vector of weights of each by turns, the rows filled up with zeros; both tails and
        the zero point."""
        channels, depth = weights.shape
        pairs = channels // 2
        filled = np.pad(weights, ((0, 0), (0, -depth % _VECTOR)))
        turns = filled.reshape(pairs, 2, -1, _VECTOR).transpose(0, 2, 1, 3).reshape(pairs, -1)
        constants = _tails(op, folded_bias(op, weights)).reshape(pairs, 6)
        return words(packed(turns), constants, np.full((pairs, 1), op.requantization.zero_point))

    def gathering(self, op: lower.Convolution, site: Site) -> Gathering:
        """Copies the rows under one row of output into a band with padding, and windows out of the band."""
        _, rows, columns, depth = site.inputs[0].shape
        _, height, width, _ = op.weights.shape
        pitch = ((site.output.shape[2] - 1) * op.stride[1] + width) * depth
        top, _, left, _ = op.pads
        band_bytes = -(-(height * pitch + _VECTOR) // _VECTOR) * _VECTOR
        window = f"window_{height}x{width * depth}_{pitch}"
        self.helpers[window] = _window(height, width * depth, pitch).helper(window)
        return Gathering(
            f"{site.prefix}_fill(scratch, {op.input_zero_point}, {band_bytes});",
            fill(
                """
                for (int32_t i = 0; i < $height; i++) {
                    const int32_t row = y * $stride_y - $top + i;
                    int8_t *const to = scratch + (i * $pitch + $left);

                    if (row < 0 || row >= $rows) {
                        ${prefix}_fill(to, $zero_point, $inside);
                    } else {
                        ${prefix}_copy(to, input + row * $row_bytes, $inside);
                    }
                }
                """,
                prefix=site.prefix,
                height=height,
                stride_y=op.stride[0],
                top=top,
                pitch=pitch,
                left=left * depth,
                rows=rows,
                zero_point=op.input_zero_point,
                inside=min(columns * depth, pitch - left * depth),
                row_bytes=columns * depth,
            ),
            f"{site.prefix}_{window}(scratch + x * {op.stride[1] * depth}, next);",
            band_bytes,
            ("fill", "copy", window),
        )

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Copies one channel's plane into padded strips of a few columns, where a whole window lies in one vector."""
        _, height, width, channels = op.weights.shape
        _, rows, columns, _ = site.inputs[0].shape
        _, output_rows, output_columns, _ = site.output.shape
        if (
            (height, width, op.dilation, op.depth_multiplier) != (3, 3, (1, 1), 1)
            or max(op.stride) > 2
            or not requantizes(op)
            or 8 * max(output_columns, _PITCH) * channels >= _OFFSETS
        ):
            return super().depthwise(op, site)
        top, _, left, right = op.pads
        # the right padding of a row is the left padding of the next, so that five columns fit too
        shared = (columns, op.stride[1], left, right) == (5, 1, 1, 1)
        size = min(output_columns, 5 if shared else (_PITCH - width) // op.stride[1] + 1)
        strip_rows = (output_rows - 1) * op.stride[0] + height
        strip_bytes = -(-(strip_rows * _PITCH + _VECTOR) // _VECTOR) * _VECTOR
        inside = min(rows, strip_rows - top)
        together = 8 // gcd(8, size)
        kernel = _Rows(size, op.stride, channels, output_columns, _half_up(op))
        helpers: dict[str, Assembly] = {}
        gathers, calls = [], []
        for strip, first in enumerate(range(0, output_columns, size)):
            start = min(first, output_columns - size)  # the last strip may overlap the one before
            begin = start * op.stride[1] - left
            end = min(begin + (size - 1) * op.stride[1] + width, columns)
            gather = f"gather_{end - max(begin, 0)}_{channels}_{columns * channels}"
            helpers[gather] = _gather(end - max(begin, 0), channels, columns * channels)
            at = strip * strip_bytes + top * _PITCH + max(-begin, 0)
            gathers.append(f"{site.prefix}_{gather}(input + {max(begin, 0) * channels}, scratch + {at}, {inside});")
            done = 0
            for taken, times in ((together, output_rows // together), (output_rows % together, 1)):
                if taken and times:
                    name = kernel.name(taken)
                    helpers[name] = kernel.assembly(taken)
                    calls.append(
                        f"{site.prefix}_{name}(scratch + {strip * strip_bytes + done * op.stride[0] * _PITCH},"
                        f" stream + 9 * channel, output + {(done * output_columns + start) * channels}, {times});"
                    )
                    done += taken * times
        self.helpers |= {name: assembly.helper(name) for name, assembly in helpers.items()}
        scratch_bytes = len(gathers) * strip_bytes
        return Kernel(
            fill(
                """
                ${prefix}_fill(scratch, $zero_point, $scratch_bytes);
                $each_channel
                    $gathers
                    $calls
                }
                """,
                prefix=site.prefix,
                scratch_bytes=scratch_bytes,
                zero_point=op.input_zero_point,
                each_channel=self.each_channel(channels, "input++", "output++"),
                gathers="\n".join(gathers),
                calls="\n".join(calls),
            ),
            # written over its input, a channel's output reaches only that channel's input, which has been copied
            Demand(scratch_bytes=scratch_bytes, in_place=True),
            arrays=(_depthwise_stream(op),),
            helpers=("fill", *helpers),
            macs=positions(site) * op.weights.size,
        )

    def add_codes(self, shift: int, elements: int) -> Assembly:
        """Four elements a vector. r4, r5 and r6 are the stream's constants, lr counts.

        The shift goes in two steps that saturate. They round, for GNU as (seen in 2.40) takes VQSHRNB for VQRSHRNB, and
        the addend makes up for it.
        """
        steps = (min(shift - 1, 16), max(1, shift - 16))
        return Assembly(
            about(shift),
            PARAMETERS,
            [
                "push {r4-r6, lr}",
                "ldm r3, {r4, r5, r6, r12}",
                *(f"sub r6, r6, #{1 << (bits - 1)}" for bits in (steps[0], shift)),
                "vdup.32 q2, r4",
                "wlstp.32 lr, r12, 2f",
                "1:",
                "vldrb.s32 q0, [r0], #4",
                "vldrb.s32 q1, [r1], #4",
                "vmlas.s32 q0, q2, r6",
                "vmla.s32 q0, q1, r5",
                *(f"vqrshrnb.s{size} q0, q0, #{step}" for size, step in zip((32, 16), steps, strict=True)),
                "vstrb.32 q0, [r2], #4",
                "letp lr, 1b",
                "2:",
                "pop {r4-r6, pc}",
            ],
        )

    def image_sums(self, each: str, arrays: tuple[Array, ...], helpers: tuple[str, ...], site: Site) -> Kernel:
        """Sums of all channels first, in scratch."""
        _, rows, columns, channels = site.inputs[0].shape
        sums = f"sums_{channels}"
        self.helpers[sums] = _sums(channels).helper(sums)
        return Kernel(
            fill(
                """
                const int32_t *const sums = (const int32_t *)(const void *)scratch;

                ${prefix}_$sums(input, scratch, $pixels);
                for (int32_t channel = 0; channel < $channels; channel++) {
                    const int32_t sum = sums[channel];

                    $each
                }
                """,
                prefix=site.prefix,
                sums=sums,
                pixels=rows * columns,
                channels=channels,
                each=each,
            ),
            Demand(scratch_bytes=4 * channels),
            arrays=arrays,
            helpers=(*helpers, sums),
        )


def _vectors(size: int) -> int:
    """Vectors that hold `size` bytes."""
    return -(-size // _VECTOR)


def _half_up(op: lower.Convolution | lower.FullyConnected) -> bool:
    """Whether half away from zero may be half up: where no negative value survives saturation."""
    return op.requantization.zero_point == -128


def _rounding(op: lower.Convolution | lower.FullyConnected) -> str:
    return "_up" if _half_up(op) else ""


def _tails(op: lower.Convolution | lower.FullyConnected, bias: np.ndarray) -> np.ndarray:
    """int64 (channels, 3): bias, multiplier, left shift (not positive)."""
    multipliers, shifts = scaling(op, len(bias))
    return np.stack([bias, multipliers, -shifts], axis=1)


def _depthwise_stream(op: lower.Convolution) -> Array:
    """Per channel, nine words: a word of zeros, the window's vector of weights, the tail, the zero point.

    The weights one byte later are read from one byte before.
    """
    channels = op.weights.shape[3]
    taps = op.weights.reshape(9, channels).T
    vectors = np.zeros((channels, 4 + _VECTOR), np.int8)
    for row in range(3):
        vectors[:, 4 + row * _PITCH : 7 + row * _PITCH] = taps[:, 3 * row : 3 * row + 3]
    zero_points = np.full((channels, 1), op.requantization.zero_point)
    return words(packed(vectors), _tails(op, folded_bias(op, taps)), zero_points)


def _requantize(vector: str, constants: Sequence[str], half_up: bool, spare: str) -> list[str]:
    """Accumulators to values before the zero point, in place. `constants` hold bias, multiplier and left shift."""
    bias, multiplier, shift = constants
    away = [] if half_up else [f"vshr.s32 {spare}, {vector}, #31", f"vadd.i32 {vector}, {vector}, {spare}"]
    return [
        f"vadd.i32 {vector}, {vector}, {bias}",
        f"vqrdmulh.s32 {vector}, {vector}, {multiplier}",
        *away,
        f"vrshl.s32 {vector}, {shift}",
    ]


def _codes(even: str, odd: str, zero_point: str) -> list[str]:
    """Two vectors of values to int8 codes by turns, in the 16-bit lanes of `even`."""
    return [
        f"vqmovnb.s32 {even}, {even}",
        f"vqmovnt.s32 {even}, {odd}",
        f"vqadd.s16 {even}, {even}, {zero_point}",
        f"vqmovnb.s16 {even}, {even}",
    ]


def _to_lanes(vector: str, registers: Sequence[str]) -> list[str]:
    """Two, three or four registers; lanes beyond them hold whatever they may."""
    a, b, c, d = (*registers, *registers)[:4]
    return [f"vmov {vector}[2], {vector}[0], {a}, {c}", f"vmov {vector}[3], {vector}[1], {b}, {d}"]


def _offsets(vector: str, spare: str, group: int, row: int, column: int) -> list[str]:
    """Lane i of 16 bits becomes i / group * row + i % group * column; `group` is 1, 2, 4 or 8. Spoils r0."""
    lines = ["mov r0, #0", f"vidup.u16 {vector}, r0, #1"]
    if group < 8:
        lines += [
            f"vshr.u16 {spare}, {vector}, #{group.bit_length() - 1}" if group > 1 else f"vmov {spare}, {vector}",
            f"movw r0, #{row - group * column}",
            f"vmul.i16 {spare}, {spare}, r0",
        ]
    lines += [f"movw r0, #{column}", f"vmul.i16 {vector}, {vector}, r0"]
    return [*lines, f"vadd.i16 {vector}, {vector}, {spare}"] if group < 8 else lines


_COPY = Assembly(
    "Copies bytes, sixteen at a time.",
    ("int8_t *to", "const int8_t *from", "int32_t count"),
    [
        "push {r7, lr}",
        "wlstp.8 lr, r2, 2f",
        "1:",
        "vldrb.u8 q0, [r1], #16",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 1b",
        "2:",
        "pop {r7, pc}",
    ],
)


_FILL = Assembly(
    "Fills bytes, sixteen at a time.",
    ("int8_t *to", "int8_t value", "int32_t count"),
    [
        "push {r7, lr}",
        "vdup.8 q0, r1",
        "wlstp.8 lr, r2, 2f",
        "1:",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 1b",
        "2:",
        "pop {r7, pc}",
    ],
)


def _pack(depth: int, rows: int) -> Assembly:
    pointers = ["r0", "r2", "r3", "r12"][:rows]
    vectors = [f"q{row}" for row in range(rows)]
    stores = [f"vstrb.8 {vector}, [r1], #16" for vector in vectors]
    full, rest = divmod(depth, _VECTOR)
    lines = ["push {r7, lr}"]
    for row, pointer in enumerate(pointers[1:], start=1):
        lines += [f"movw {pointer}, #{row * depth}", f"add {pointer}, {pointer}, r0"]
    if full:
        loads = [f"vldrb.u8 {vector}, [{pointer}], #16" for vector, pointer in zip(vectors, pointers, strict=True)]
        lines += [f"movw lr, #{full}", "dls lr, lr", "1:", *loads, *stores, "le lr, 1b"]
    if rest:
        # lanes that are not loaded become zeros, though nothing but zeros is ever multiplied with them
        loads = [f"vldrbt.u8 {vector}, [{pointer}]" for vector, pointer in zip(vectors, pointers, strict=True)]
        lines += [f"mov lr, #{rest}", "vctp.8 lr", f"vps{'t' * rows}", *loads, *stores]
    return Assembly(
        f"Lays {rows} x {depth} inputs side by side, a vector of each row by turns.",
        ("const int8_t *input", "void *wide"),
        [*lines, "pop {r7, pc}"],
    )


def _window(height: int, row_bytes: int, pitch: int) -> Assembly:
    """The last vector of a row may hold more than the row; the next row is written over it."""
    lines = []
    for row in range(height):
        for _ in range(_vectors(row_bytes)):
            lines += ["vldrb.u8 q0, [r0], #16", "vstrb.8 q0, [r1], #16"]
        back = _vectors(row_bytes) * _VECTOR
        if row < height - 1:
            lines += _add("r0", pitch - back) + _add("r1", row_bytes - back)
    return Assembly(
        f"Copies {height} rows of {row_bytes} bytes, {pitch} bytes apart, side by side; 15 bytes more may be touched.",
        ("const int8_t *band", "int8_t *to"),
        [*lines, "bx lr"],
    )


def _add(register: str, value: int, spare: str = "r3") -> list[str]:
    if value == 0:
        return []
    operation, size = ("add", value) if value > 0 else ("sub", -value)
    if size <= 4095:
        return [f"{operation} {register}, {register}, #{size}"]
    return [f"movw {spare}, #{size}", f"{operation} {register}, {register}, {spare}"]


def _multiply(depth: int, channels: int, rows: int, half_up: bool, most: int) -> Assembly:
    """r1 reads the stream, r3 the inputs, r5 writes, r7 counts pairs; q3-q6 hold the first vectors of input."""
    first, second = _ACCUMULATORS[:rows], _ACCUMULATORS[4 : 4 + rows]
    vectors = _vectors(depth)
    unrolled = vectors if vectors <= most else (vectors - 1) % _LOOPED + 1
    rounds = (vectors - unrolled) // _LOOPED
    held = {(k, row): f"q{3 + k * rows + row}" for k in range(unrolled) for row in range(rows) if k * rows + row < 4}

    def step(load: Sequence[str], inputs: Sequence[str], form: str) -> list[str]:
        lines = ["vldrw.u32 q0, [r1], #16", "vldrw.u32 q1, [r1], #16"]
        for row in range(rows):
            lines += [line for line in [load[row]] if line]
            lines += [f"{form}.s8 {a}, {inputs[row]}, {w}" for a, w in ((first[row], "q0"), (second[row], "q1"))]
        return lines

    at = [[(k * rows + row) * _VECTOR for row in range(rows)] for k in range(unrolled)]
    body = []
    for k in range(unrolled):
        loads = ["" if (k, row) in held else f"vldrw.u32 q2, [r3, #{at[k][row]}]" for row in range(rows)]
        body += step(loads, [held.get((k, row), "q2") for row in range(rows)], "vmladava" if k else "vmladav")
    if rounds:
        turn = step(["vldrw.u32 q2, [r11], #16"] * rows, ["q2"] * rows, "vmladava") * _LOOPED
        body += [f"add r11, r3, #{unrolled * rows * _VECTOR}", f"mov r9, #{rounds}"]
        body += ["2:", *turn, "subs r9, #1", "bne 2b"]
    if rows == 1:
        lanes = ["vmov.32 q0[0], r0", "vmov.32 q1[0], r8"]
        offsets = []
        store = ["vmov.32 r0, q0[0]", "strb r0, [r5], #1", "lsrs r0, r0, #16", "strb r0, [r5], #1"]
    else:
        lanes = [*_to_lanes("q0", first), *_to_lanes("q1", second)]
        offsets = _offsets("q7", "q0", 2, channels, 1)
        some = [f"mov r0, #{2 * rows}", "vctp.16 r0", "vpst", "vstrbt.16 q0, [r5, q7]"]
        store = [*(["vstrb.16 q0, [r5, q7]"] if rows == 4 else some), "adds r5, #2"]
    return Assembly(
        f"{rows} packed x {depth} inputs times pairs of channels. The outputs of a row are {channels} bytes.",
        ("const void *wide", "const uint32_t *stream", "int8_t *output", "int32_t pairs"),
        [
            "push {r4-r11, lr}",
            "vpush {d8-d15}",
            "mov r5, r2",
            "mov r7, r3",
            "mov r3, r0",
            *offsets,
            *(f"vldrw.u32 {vector}, [r3, #{at[k][row]}]" for (k, row), vector in held.items()),
            "1:",
            *body,
            *lanes,
            "ldm r1!, {r0, r2, r4, r6, r8, r10, r12}",
            *_requantize("q0", ("r0", "r2", "r4"), half_up, "q2"),
            *_requantize("q1", ("r6", "r8", "r10"), half_up, "q2"),
            *_codes("q0", "q1", "r12"),
            *store,
            "subs r7, #1",
            "bne 1b",
            "vpop {d8-d15}",
            "pop {r4-r11, pc}",
        ],
    )


def _gather(columns: int, channels: int, row_bytes: int) -> Assembly:
    return Assembly(
        f"One channel of {columns} columns of every row as rows of a strip. A pixel has {channels} bytes.",
        ("const int8_t *input", "int8_t *strip", "int32_t rows"),
        [
            "push {r7, lr}",
            "mov r12, #0",
            "vidup.u16 q1, r12, #1",
            f"movw r3, #{channels}",
            "vmul.i16 q1, q1, r3",
            f"mov r3, #{columns}",
            "vctp.16 r3",
            f"movw r3, #{row_bytes}",
            "dls lr, r2",
            "1:",
            "vpstt",
            "vldrbt.u16 q0, [r0, q1]",
            f"vstrbt.16 q0, [r1], #{_PITCH}",
            "add r0, r0, r3",
            "le lr, 1b",
            "pop {r7, pc}",
        ],
    )


@dataclass(frozen=True)
class _Rows:
    """The depthwise kernel of `size` output columns of a strip; outputs are computed eight at a time, in order."""

    size: int
    stride: tuple[int, int]
    channels: int
    output_columns: int
    half_up: bool

    def name(self, rows: int) -> str:
        stride = "_".join(map(str, self.stride))
        return f"rows_{rows}x{self.size}_{stride}_{self.channels}_{self.output_columns}{'_up' if self.half_up else ''}"

    def assembly(self, rows: int) -> Assembly:
        """q0 and q1 hold the weights, the latter one byte later, q6 zero points, q7 the offsets of eight outputs."""
        whole = self.size == self.output_columns
        row_bytes = self.output_columns * self.channels
        offsets = (
            _offsets("q7", "q2", 8, 0, self.channels)
            if whole
            else _offsets("q7", "q2", self.size, row_bytes, self.channels)
        )
        outputs = [(row, column) for row in range(rows) for column in range(self.size)]
        groups = [outputs[start : start + 8] for start in range(0, len(outputs), 8)]
        body = []
        for group in groups:
            advance = len(group) * self.channels if whole else 8 // self.size * row_bytes
            body += [*self._group(group), *_add("r3", advance, "r0")]
        return Assembly(
            f"Times {rows} rows of {self.size} outputs of one channel of a 3 x 3 depthwise convolution.",
            ("const int8_t *strip", "const uint32_t *stream", "int8_t *output", "int32_t times"),
            [
                "push {r4-r11, lr}",
                "vpush {d8-d15}",
                "vldrb.u8 q0, [r1, #4]",
                "vldrb.u8 q1, [r1, #3]",
                "add r1, #20",
                "ldm r1, {r5, r7, r9, r12}",
                "vdup.16 q6, r12",
                "mov r1, r0",
                "mov r11, r3",
                "mov r3, r2",
                *offsets,
                "1:",
                *body,
                *_add("r1", rows * self.stride[0] * _PITCH),
                "subs r11, #1",
                "bne 1b",
                "vpop {d8-d15}",
                "pop {r4-r11, pc}",
            ],
        )

    def _group(self, outputs: Sequence[tuple[int, int]]) -> list[str]:
        lines, loaded = [], -2
        for register, (row, column) in zip(_ACCUMULATORS, outputs, strict=False):
            at = row * self.stride[0] * _PITCH + column * self.stride[1]
            if at != loaded + 1:
                lines.append(f"vldrb.u8 q2, [r1, #{at}]")
                loaded = at
            lines.append(f"vmladav.s8 {register}, q2, q{at - loaded}")
            if at != loaded:
                loaded = -2  # used up
        lines += [*_to_lanes("q3", _ACCUMULATORS[0::2]), *_to_lanes("q4", _ACCUMULATORS[1::2])]
        for vector in ("q3", "q4"):
            lines += _requantize(vector, ("r5", "r7", "r9"), self.half_up, "q2")
        lines += _codes("q3", "q4", "q6")
        if len(outputs) == 8:
            return [*lines, "vstrb.16 q3, [r3, q7]"]
        return [*lines, f"mov r0, #{len(outputs)}", "vctp.16 r0", "vpst", "vstrbt.16 q3, [r3, q7]"]


def _sums(channels: int) -> Assembly:
    totals = ["q0", "q1"] if channels % 8 == 0 else ["q0"]
    adds = [(f"vldrb.s32 q2, [r3, #{4 * part}]", f"vadd.i32 {total}, {total}, q2") for part, total in enumerate(totals)]
    return Assembly(
        f"The sums of {channels} channels, int32, over all pixels.",
        ("const int8_t *input", "void *sums", "int32_t pixels"),
        [
            "push {r4, r5, r6, lr}",
            f"movw r4, #{channels // (4 * len(totals))}",
            f"movw r5, #{channels}",
            "1:",
            "mov r3, r0",
            *(f"vmov.i32 {total}, #0" for total in totals),
            "dls lr, r2",
            "2:",
            *(line for pair in adds for line in pair),
            "add r3, r3, r5",
            "le lr, 2b",
            *(f"vstrw.32 {total}, [r1], #16" for total in totals),
            f"adds r0, #{4 * len(totals)}",
            "subs r4, #1",
            "bne 1b",
            "pop {r4, r5, r6, pc}",
        ],
    )
